"""The short way of a hedge through the gate: a hedge cannot wait, and most have nothing against them.

It says yes only where every check and every cap would, and no where it does not know: the long way of
:mod:`scalpdesk.engine.admission` then decides, and finds the reasons.
"""

from collections.abc import Sequence
from decimal import Decimal

from scalpdesk.core.enums import Mode
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side
from scalpdesk.engine.desk import Desk
from scalpdesk.instruments.contract import Equity, OptionContract
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.risk.context import EXITS, OPENING
from scalpdesk.risk.limits import RiskLimits

BUY, SELL = Side.BUY, Side.SELL
HEDGE = Purpose.HEDGE
MARKET = OrderType.MARKET
GOOD = QuoteVerdict.GOOD
ZERO = Decimal(0)


class _Bounds:
    """What hedges are held to, worked out once."""

    __slots__ = ("limits", "most_messages", "most_orders", "position", "shares", "window")

    def __init__(self, limits: RiskLimits) -> None:
        self.limits = limits
        kept_back = 0.5 * limits.throttle_reserve_fraction
        orders, messages = limits.max_orders_per_minute, limits.messages_per_minute
        self.most_orders = orders - int(orders * kept_back)
        self.most_messages = messages - int(messages * kept_back)
        self.shares = limits.max_order_shares
        self.position = limits.position_shares
        self.window = limits.window_shares


class ShortWay:
    """Judges single orders in shares.

    Parameters
    ----------
    desk
        The parts of the desk; nothing of them is changed.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._bounds = _Bounds(desk.gate.limits)

    def lets_go(self, intent: OrderIntent, now_ns: int) -> bool:
        """Say whether a hedge at the market passes the gate and all caps; False says nothing."""
        desk = self._desk
        gate = desk.gate
        number = intent.instrument_id
        session = desk.view.session
        bounds = self._bounds
        if bounds.limits is not gate.limits:
            bounds = self._bounds = _Bounds(gate.limits)
        limits = bounds.limits
        if (
            intent.purpose is not HEDGE
            or intent.order_type is not MARKET
            or gate.mode is not Mode.ACTIVE
            or not gate.asks_all
            or session is None
            or not session.open_ns <= now_ns <= session.close_ns
            or desk.orders.live  # duplicates and orders of the other side are looked for the long way
            or limits.allowed_underlyings is not None
            or MARKET not in limits.allowed_order_types
            or type(desk.instruments[number]) is not Equity
            or desk.market.verdict(number, now_ns) is not GOOD
        ):
            return False
        quantity = intent.quantity
        if not quantity.is_finite() or not 0 < quantity <= bounds.shares:
            return False
        sent, cancelled, ordered = gate.tallies.lately(now_ns)
        if sent >= bounds.most_orders or sent + cancelled >= bounds.most_messages:
            return False
        if ordered + quantity > bounds.window:
            return False
        worst = desk.positions.quantity(number) + intent.signed_quantity
        if abs(worst) > bounds.position or (gate.account is not None and not self._is_paid_for(intent)):
            return False
        return self.fits_caps(intent, (), now_ns)

    def _is_paid_for(self, intent: OrderIntent) -> bool:
        """Say whether the account, by the venue's word, may trade and can pay with a little to spare."""
        desk = self._desk
        account = desk.gate.account
        assert account is not None
        if not account.may_trade:
            return False
        held = desk.positions.quantity(intent.instrument_id)
        covered = abs(held) if (held > 0) is (intent.side is SELL) else ZERO
        added = float(intent.quantity - covered)
        if added <= 0.0:
            return True
        quote = desk.market.quotes[intent.instrument_id]
        if quote is None:
            return False
        price = quote.ask if intent.side is BUY else quote.bid
        spent = min(float(desk.account.cash - desk.gate.cash_when_told), 0.0)
        return added * price + 1.0 <= float(account.buying_power) + spent

    def _may_be_sold(self, intent: OrderIntent) -> bool:
        """Say whether the shares of a sale are held, or lent by the venue."""
        account = self._desk.gate.account
        number = intent.instrument_id
        if intent.side is BUY or account is None or (account.may_short and number in account.shortable):
            return True
        return not self._desk.orders.live and intent.quantity <= self._desk.positions.quantity(number)

    def fits_caps(self, intent: OrderIntent, before: Sequence[OrderIntent], now_ns: int) -> bool:
        """Say whether no cap can cut this order in shares.

        Only the net delta can, and not while all units together, each at a delta of one, stay below
        its cap.
        """
        desk = self._desk
        limits = desk.gate.limits
        number = intent.instrument_id
        one = desk.instruments[number]
        fraction = limits.max_net_delta_fraction
        if type(one) is not Equity or before or limits.betas:
            return False
        opens = intent.purpose in OPENING
        if limits.target_vol is not None and opens:
            return False
        if not self._may_be_sold(intent):
            return False
        if fraction is None:
            return True
        price = desk.market.mark(number)
        if price is None or not price > 0.0:
            return False
        room = fraction * float(desk.attribution.nav) / price
        shares = float(intent.quantity) if intent.side is BUY else -float(intent.quantity)
        delta = 0.0
        for order in desk.orders.live.values():
            if order.submitted.instrument_id != number:
                return False
            if not opens or order.submitted.purpose not in EXITS:  # an exit may never be filled
                delta += float(order.signed_leaves)
        units = abs(delta) + abs(shares)
        options = []
        for position in desk.positions.positions.values():
            if not position.quantity:
                continue
            held = float(position.quantity) * position.multiplier
            units += abs(held)
            if position.instrument_id == number:
                delta += held
                continue
            option = desk.instruments[position.instrument_id]
            if type(option) is not OptionContract or option.underlying != one.symbol:
                return False
            options.append((position.instrument_id, held))
        if units <= room:
            return True
        value = desk.delta_engine.value
        for option_id, held in options:
            valued = value(option_id, now_ns, fresh=False)
            if valued is None:
                return False
            delta += held * valued.greeks.delta
        return abs(delta + shares) <= max(room, abs(delta))
