"""From a request to an order: form first, then the market's rules, then the account's means."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from msgspec import structs

from scalpdesk.core.intents import OrderType, Side, Stop, TimeInForce, Trailing
from scalpdesk.core.order_types import TRAITS
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.core.units import NEVER_NS, ZERO, InstrumentId, number_text
from scalpdesk.instruments.classes import last_trading_ns
from scalpdesk.instruments.contract import Instrument, OptionContract
from scalpdesk.instruments.deadlines import ALPACA_CUTOFF, NoticeCutoff, VenueCutoff, order_cutoff_ns
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.margin.holdings import Holding
from scalpdesk.portfolio.positions import exact_price
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.hours import Hours
from scalpdesk.simulation.ledger import Ledger
from scalpdesk.simulation.orders import (
    BrokerKind,
    BrokerOrder,
    Changes,
    OrderClass,
    OrderRequest,
    PositionIntent,
    Status,
)

# looking up an enum's member costs as much as a call
DAY, BUY, SELL, MARKET = TimeInForce.DAY, Side.BUY, Side.SELL, OrderType.MARKET
_SIMPLE, OCO = OrderClass.SIMPLE, OrderClass.OCO
PENDING_NEW = Status.PENDING_NEW
MAX_CLIENT_ID = 128
_PENNY_PRICE = Decimal(1)
_CLOSING = frozenset({PositionIntent.BUY_TO_CLOSE, PositionIntent.SELL_TO_CLOSE})
AT_ONCE = frozenset({TimeInForce.IOC, TimeInForce.FOK})


@dataclass(frozen=True, slots=True)
class VenueRules:
    """Rules of one venue beside those of the market and the account."""

    cutoff: VenueCutoff | None = None
    """Orders in expiring contracts are refused from here to their end; None: never."""
    liquidation: bool = False
    """Expiring positions that an account cannot take delivery of are closed before the end."""
    wash_trades: bool = False
    """An order that could trade with an opposite one of the same account is refused."""
    penny_prices: bool = False
    """Prices have two decimals from 1 on, four below."""
    contract_ticks: bool = False
    """Prices of options and futures are multiples of their contract's tick."""
    option_lifetimes: bool = False
    """Orders in options live for the day, or with a limit until cancelled."""
    index_orders: bool = False
    """An index is bought and sold at its level."""
    notices: tuple[NoticeCutoff, ...] = (NoticeCutoff(date.min, 0.0),)
    """Until when exercise notices and contrary instructions are taken; expiring options wait for them."""
    turns: bool = False
    """An order may be larger than the opposite holding, and turn it round."""
    pairs_with_held: bool = False
    """A sold leg may be covered by a bought one that is held; else only by one of its own order."""


ALPACA_RULES = VenueRules(
    cutoff=ALPACA_CUTOFF,
    liquidation=True,
    wash_trades=True,
    penny_prices=True,
    contract_ticks=True,
    option_lifetimes=True,
)
"""Orders that Alpaca refuses, and positions that it closes by itself."""


DERIBIT_RULES = VenueRules(turns=True)
"""Rules of Deribit beside the margin."""


class OrderEntry:
    """Makes orders of requests, or refuses them."""

    def __init__(self, ledger: Ledger, hours: Hours, rules: VenueRules) -> None:
        self.is_open = False
        self.closes_ns: Any = 0  # an int, one object for all orders of a session
        """End of the session that is open, UTC nanoseconds."""
        self._ledger = ledger
        self._hours = hours
        self._rules = rules
        self._ends: dict[InstrumentId, int] = {}

    def single(self, account: BrokerAccount, request: OrderRequest) -> BrokerOrder:
        """Make an order in one instrument, with its exits. Raises Refused when a rule forbids it."""
        instruments = self._ledger.instruments
        symbol, side, number, kind = request.symbol, request.side, request.instrument_id, request.kind
        if number is None:
            if symbol not in instruments:
                raise Refused(Cause.UNKNOWN_ASSET, symbol=symbol)
            number = instruments.id_of(symbol)
        if side is None:
            raise Refused(Cause.MALFORMED, "side is required")
        instrument = instruments.by_id[number]
        quantity = request.quantity if request.quantity is not None else ZERO
        if quantity <= ZERO and request.notional is None:
            raise Refused(Cause.MALFORMED, "qty must be > 0")
        if instrument.is_option:
            self._check_option(request, number, instrument)
        elif instrument.is_index and not self._rules.index_orders:
            raise Refused(Cause.INACTIVE_ASSET, symbol=instrument.symbol)
        elif quantity % instrument.step:
            _check_fraction(request, quantity, instrument)
        if self._rules.contract_ticks:
            _check_ticks(instrument, request.limit_price, kind.trigger_price(None, 1))
        if request.intent is not None:
            _check_intent(request.intent, side, account.quantity(number))
        if self._rules.turns:
            held = account.quantity(number)
            closes = held * side.sign < 0 and quantity <= abs(held)
        else:
            closes = check_available(account, number, symbol, side, quantity)
        is_oco = request.structure is OCO
        limit = request.limit_price or (request.take_profit_limit if is_oco else None)
        if self._rules.wash_trades and request.structure is _SIMPLE:
            _check_wash(account, number, side, limit if kind is not MARKET else None)
        price = withholds = ZERO
        if not closes:
            trigger = None if kind is MARKET else kind.trigger_price(None, side.sign)
            price = request.limit_price or trigger or self.far_price(number, side)
            withholds = self._check_means(account, request, instrument, side, price)
        elif side is SELL:
            self._check_cover(account, number, instrument, quantity)
        intent = request.intent or _INTENTS[side, closes]
        order = self.new_order(
            account, request, number, side, quantity, OrderType.LIMIT if is_oco else kind, intent
        )
        order.limit_price, order.withholds = limit, withholds
        order.is_unpriced = not closes and not price
        if request.structure is not _SIMPLE:
            self._add_exits(account, order)
        return order

    def _check_means(
        self,
        account: BrokerAccount,
        request: OrderRequest,
        instrument: Instrument,
        side: Side,
        price: Decimal,
    ) -> Decimal:
        """Refuse what the account may not open; return the cash that each unit withholds."""
        quantity = request.quantity
        if quantity is None:
            assert request.notional is not None
            quantity = request.notional / price if price else ZERO
        is_option = instrument.is_option
        if not is_option and side is SELL and quantity % instrument.step:
            raise Refused(Cause.SHORTING, symbol=request.symbol)
        wanted = Holding(instrument, quantity if side is BUY else -quantity, price)
        margin = self._ledger.margin
        if not margin.fits(account, wanted):
            refused = margin.refusal(account, (wanted,))
            if refused is not None:
                raise refused
            if is_option and side is SELL:
                return margin.need(account, (wanted,)) / quantity
        return price * instrument.multiplier if is_option else ZERO

    def _check_cover(
        self, account: BrokerAccount, number: InstrumentId, instrument: Instrument, quantity: Decimal
    ) -> None:
        """Refuse to sell what covers a sold option, with what open orders sell of it."""
        by_id = self._ledger.instruments.by_id
        for held, position in account.holdings.items():
            if position.quantity < ZERO and by_id[held].is_option:
                break
        else:
            return
        leaves = quantity + account.held_for_orders(number)
        order = Holding(instrument, -leaves, self.far_price(number, SELL))
        refused = self._ledger.margin.uncovers(account, order)
        if refused is not None:
            raise refused

    def check_replacement(self, old: BrokerOrder, changes: Changes, total: Decimal) -> Decimal:
        """Refuse what a replacement asks for beyond its order; return the cash that each unit withholds.

        Raises Refused when the account may not open, or does not hold, what is more or dearer.
        """
        for name in ("limit_price", "stop_price"):
            price = getattr(changes, name)
            if price is not None:
                self.check_increment(name, price)
        extra, number = total - old.quantity, old.instrument_id
        if self._rules.contract_ticks and number is not None:
            _check_ticks(self._ledger.instruments[number], changes.limit_price, changes.stop_price)
        account, closes = self._ledger.accounts[old.account], old.intent in _CLOSING
        if extra > 0 and number is not None:
            symbol = self._ledger.instruments[number].symbol
            closes = check_available(account, number, symbol, old.side, extra)
        is_same = extra <= 0 and changes.limit_price is None and changes.stop_price is None
        if closes or is_same or old.is_unpriced:
            return old.withholds
        left = total - old.filled
        account.unended.pop(old.order_id, None)  # what it reserves itself is not in its way
        try:
            if number is None:
                lines = [
                    Holding(
                        leg.instrument,
                        leg.side.sign * left * leg.ratio,
                        self.far_price(leg.instrument_id, leg.side),
                    )
                    for leg in old.legs
                    if leg.instrument is not None and leg.instrument_id is not None
                ]
                return self._combo_means(account, lines, left, changes.limit_price or old.limit_price)[0]
            price = (
                changes.limit_price
                or old.working_limit
                or changes.stop_price
                or old.stop_price
                or self.far_price(number, old.side)
            )
            whole = structs.replace(old.request, quantity=left, notional=None)
            return self._check_means(account, whole, self._ledger.instruments[number], old.side, price)
        finally:
            account.unended[old.order_id] = old

    def _combo_means(
        self, account: BrokerAccount, lines: list[Holding], quantity: Decimal, limit: Decimal | None
    ) -> tuple[Decimal, list[Holding]]:
        """Refuse a combo that the account may not open; return what a unit withholds, and the legs."""
        if limit is not None:
            # the net limit is what the legs cost: the difference goes to the first
            first, *others = lines
            net = sum((line.quantity * line.price for line in lines), ZERO) / quantity
            shift = (limit - net) * quantity / first.quantity
            lines = [structs.replace(first, price=first.price + shift), *others]
        margin = self._ledger.margin
        refused = margin.refusal(account, lines)
        if refused is not None:
            raise refused
        return margin.need(account, lines) / quantity, lines

    def far_price(self, number: InstrumentId, side: Side) -> Decimal:
        """Return the price of the quote's other side, currency per unit; the mark without one."""
        quote = self._ledger.latest(number)
        far = 0.0 if quote is None else (quote.ask if side is BUY else quote.bid)
        return exact_price(far) if far > 0 else self._ledger.mark(number)  # NaN is not above 0 either

    def legs(self, account: BrokerAccount, request: OrderRequest) -> BrokerOrder:
        """Make an order over several contracts: a parent and its legs.

        Raises Refused when a rule forbids it.
        """
        instruments, quantity = self._ledger.instruments, request.quantity
        assert quantity is not None
        found = []
        for leg in request.legs:
            if leg.symbol not in instruments:
                raise Refused(Cause.UNKNOWN_ASSET, symbol=leg.symbol)
            if leg.client_order_id is not None and leg.client_order_id in account.by_client_id:
                raise Refused(Cause.DUPLICATE_CLIENT_ID)
            number = instruments.id_of(leg.symbol)
            contract = instruments[number]
            if not contract.is_option:
                raise Refused(Cause.MALFORMED, "mleg orders are for option contracts only")
            self._check_option(request, number, contract)
            if leg.intent is not None:
                _check_intent(leg.intent, leg.side, account.quantity(number))
            price = self.far_price(number, leg.side)
            found.append((leg, number, Holding(contract, leg.side.sign * quantity * leg.ratio, price)))
        withholds, lines = self._combo_means(
            account, [line for _, _, line in found], quantity, request.limit_price
        )
        intent = request.intent or PositionIntent.BUY_TO_OPEN
        parent = self.new_order(
            account, request, None, request.side or Side.BUY, quantity, request.kind, intent
        )
        parent.withholds = withholds
        parent.is_unpriced = not all(line.price for line in lines)
        for leg, number, line in found:
            child = self.new_order(
                account,
                request,
                number,
                leg.side,
                abs(line.quantity),
                request.kind,
                leg.intent or position_intent(leg.side, account.quantity(number)),
                parent=parent,
                client_order_id=leg.client_order_id,
            )
            child.ratio = leg.ratio
        return parent

    def new_order(
        self,
        account: BrokerAccount,
        request: OrderRequest,
        number: InstrumentId | None,
        side: Side,
        quantity: Decimal,
        kind: BrokerKind,
        intent: PositionIntent,
        *,
        parent: BrokerOrder | None = None,
        client_order_id: str | None = None,
    ) -> BrokerOrder:
        """Make one order and file it; nothing is checked here."""
        ledger = self._ledger
        now_ns: Any = ledger.now_ns  # one object, not one for each use
        mine = client_order_id or (request.client_order_id if parent is None else None)
        order = BrokerOrder(
            ledger.ids.order(),
            mine or ledger.ids.client(),
            account.name,
            ledger.order_count,
            request,
            number,
            None if number is None else ledger.instruments.by_id[number],
            side,
            quantity,
            kind,
            request.lifetime,
            PENDING_NEW if parent is None else Status.HELD,
            intent,
            now_ns,
            now_ns,
            request.limit_price,
            None if kind is MARKET else kind.trigger_price(None, side.sign),
            self.closes_ns if self.is_open and request.lifetime is DAY else self._end_of(request.lifetime),
            None if parent is None else parent.order_id,
        )
        ledger.order_count += 1
        ledger.orders[order.order_id] = account.orders[order.order_id] = order
        account.unended[order.order_id] = account.by_client_id[order.client_order_id] = order
        if parent is not None:
            parent.legs = (*parent.legs, order)
        return order

    def _end_of(self, lifetime: TimeInForce) -> int:
        """When an order sent now ends by itself, UTC nanoseconds; one for the opening after the next."""
        if lifetime is TimeInForce.GTC:
            return NEVER_NS
        if self.is_open and lifetime is not TimeInForce.OPG:
            return int(self.closes_ns)
        now_ns, hours = self._ledger.now_ns, self._hours
        return hours.next_close_ns(hours.next_open_ns(now_ns) if lifetime is TimeInForce.OPG else now_ns)

    def _add_exits(self, account: BrokerAccount, entry: BrokerOrder) -> None:
        """Make the exits of a bracket, one-triggers-other or one-cancels-other order; they are held."""
        request = entry.request
        is_oco = request.structure is OrderClass.OCO
        side = entry.side if is_oco else (Side.SELL if entry.side is Side.BUY else Side.BUY)
        intent = PositionIntent.SELL_TO_CLOSE if side is Side.SELL else PositionIntent.BUY_TO_CLOSE
        made: list[tuple[BrokerKind, Decimal | None]] = []
        if request.take_profit_limit is not None and not is_oco:
            made.append((OrderType.LIMIT, request.take_profit_limit))
        if request.stop_loss_stop is not None:
            made.append((Stop(request.stop_loss_stop), request.stop_loss_limit))
        for kind, limit in made:
            leg = self.new_order(
                account, request, entry.instrument_id, side, entry.quantity, kind, intent, parent=entry
            )
            leg.limit_price = limit

    def replacement(
        self, old: BrokerOrder, changes: Changes, total: Decimal, withholds: Decimal
    ) -> BrokerOrder:
        """Make the order that takes the place of ``old`` and asks for ``total`` less what is filled.

        ``withholds`` is from :meth:`check_replacement`.
        """
        account, kind = self._ledger.accounts[old.account], old.kind
        if isinstance(kind, Trailing):
            kind = structs.replace(kind, distance=changes.trail or kind.distance)
        elif isinstance(kind, Stop):
            kind = Stop(changes.stop_price or kind.trigger)
        new = self.new_order(
            account,
            old.request,
            old.instrument_id,
            old.side,
            total - old.filled,
            kind,
            old.intent,
            client_order_id=changes.client_order_id or self._ledger.ids.client(),
        )
        new.lifetime = changes.lifetime or old.lifetime
        new.expires_ns = self._end_of(new.lifetime)
        new.limit_price = changes.limit_price if changes.limit_price is not None else old.limit_price
        new.high_water, new.triggered = old.high_water, old.triggered
        new.stop_price = kind.trigger_price(old.high_water, old.side.sign)
        new.replaces, new.parent = old.order_id, old.parent
        new.withholds, new.is_unpriced = withholds, old.is_unpriced
        new.legs = old.legs
        new.filled_before = old.filled
        return new

    def _check_option(self, request: OrderRequest, number: InstrumentId, instrument: OptionContract) -> None:
        """Refuse what an option's own rules forbid at this instant."""
        if request.quantity is None:
            raise Refused(Cause.MALFORMED, "notional is not supported for options orders")
        if request.quantity % instrument.step:
            raise Refused(Cause.MALFORMED, "qty must be an integer for options orders")
        if request.extended_hours:
            raise Refused(Cause.EXTENDED_HOURS)
        if request.structure not in (OrderClass.SIMPLE, OrderClass.MLEG):
            raise Refused(Cause.MALFORMED, "complex orders are not supported for options trading")
        if isinstance(request.kind, Trailing):
            raise Refused(Cause.MALFORMED, "invalid order type for options trading")
        if (
            self._rules.option_lifetimes
            and request.lifetime is not TimeInForce.DAY
            and (request.lifetime is not TimeInForce.GTC or request.kind is OrderType.MARKET)
        ):
            raise Refused(Cause.MALFORMED, "order_time_in_force provided not supported for options trading")
        now_ns = self._ledger.now_ns
        ends_ns = self._ends.get(number)
        if ends_ns is None:
            ends_ns = min(last_trading_ns(instrument), expiry_instant_ns(instrument))  # settled at the close
            self._ends[number] = ends_ns
        if now_ns >= ends_ns:
            raise Refused(Cause.INACTIVE_ASSET, symbol=instrument.symbol)
        cutoff = self._rules.cutoff
        if cutoff is not None and now_ns >= order_cutoff_ns(instrument, cutoff):
            raise Refused(Cause.EXPIRING_CONTRACT, symbol=instrument.symbol)
        if request.kind is OrderType.MARKET and not self.is_open:
            raise Refused(Cause.OUTSIDE_HOURS)

    def check_form(self, request: OrderRequest) -> None:
        """Refuse a request that no market could take."""
        _check_sizes(request)
        self._check_prices(request)
        if request.client_order_id is not None and len(request.client_order_id) > MAX_CLIENT_ID:
            raise Refused(Cause.MALFORMED, f"client_order_id must be no more than {MAX_CLIENT_ID} characters")
        if request.extended_hours and not (
            request.kind is OrderType.LIMIT and request.lifetime is TimeInForce.DAY
        ):
            raise Refused(Cause.EXTENDED_HOURS)
        if request.lifetime not in TRAITS[request.kind.name_with(request.limit_price)].lifetimes:
            raise Refused(Cause.MALFORMED, f"{request.lifetime.value} orders must be market or limit orders")
        if request.structure is OrderClass.MLEG:
            _check_legs(request)
        elif request.structure is not OrderClass.SIMPLE:
            _check_bracket(request)

    def _check_prices(self, request: OrderRequest) -> None:
        kind = request.kind
        if kind is OrderType.MARKET:
            if request.limit_price is not None:
                raise Refused(Cause.MALFORMED, "market orders require no stop or limit price")
            if request.structure is OrderClass.SIMPLE:
                return
        if kind is OrderType.LIMIT and request.limit_price is None:
            raise Refused(Cause.MALFORMED, "limit orders require only limit price")
        if isinstance(kind, Trailing) and kind.distance <= 0:
            raise Refused(Cause.MALFORMED, "trail must be > 0")
        for name, price in (
            ("limit_price", request.limit_price),
            ("stop_price", kind.trigger_price(None, 1)),
            ("take_profit_limit", request.take_profit_limit),
            ("stop_loss_stop", request.stop_loss_stop),
            ("stop_loss_limit", request.stop_loss_limit),
        ):
            if price is None:
                continue
            if price <= 0 and not (name == "limit_price" and request.structure is OrderClass.MLEG):
                raise Refused(Cause.MALFORMED, f"{name} must be > 0")
            self.check_increment(name, price)

    def check_increment(self, name: str, price: Decimal) -> None:
        """Refuse more than two decimals from 1 on, more than four below, where the venue does."""
        decimals = 2 if abs(price) >= _PENNY_PRICE else 4
        if self._rules.penny_prices and price != round(price, decimals):
            raise Refused(Cause.SUB_PENNY, name=name, price=number_text(price))


def _check_ticks(instrument: Instrument, limit: Decimal | None, trigger: Decimal | None) -> None:
    """Refuse prices of an option or a future that are no multiples of its tick."""
    if not (instrument.is_option or instrument.is_future):
        return
    for name, price in (("limit_price", limit), ("stop_price", trigger)):
        if price is not None and not instrument.tick_rule.is_valid(price):
            raise Refused(Cause.SUB_PENNY, name=name, price=number_text(price))


def _check_sizes(request: OrderRequest) -> None:
    if (request.quantity is None) == (request.notional is None):
        raise Refused(Cause.MALFORMED, "qty or notional is required, but not both")
    if request.quantity is not None and request.quantity <= 0:
        raise Refused(Cause.MALFORMED, "qty must be > 0")
    if request.notional is None:
        return
    if request.notional <= 0:
        raise Refused(Cause.MALFORMED, "notional must be > 0")
    if request.kind is not OrderType.MARKET or request.lifetime is not TimeInForce.DAY:
        raise Refused(Cause.MALFORMED, "notional orders must be DAY market orders")


def _check_fraction(request: OrderRequest, quantity: Decimal, instrument: Instrument) -> None:
    """Refuse what the rules for parts of a share forbid, and parts of the step of anything else."""
    if not instrument.is_share:
        raise Refused(Cause.MALFORMED, f"qty must be a multiple of {instrument.step}")
    if request.structure is not OrderClass.SIMPLE:
        raise Refused(Cause.UNPROCESSABLE, "fractional orders must be simple orders")
    if request.lifetime is not TimeInForce.DAY:
        raise Refused(Cause.MALFORMED, "fractional orders must be DAY orders")
    if quantity != round(quantity, 9):
        raise Refused(Cause.MALFORMED, "qty must have no more than 9 decimals")


def _check_legs(request: OrderRequest) -> None:
    if request.quantity is None:
        raise Refused(Cause.MALFORMED, "qty is required for mleg orders")
    if not isinstance(request.kind, OrderType):
        raise Refused(Cause.MALFORMED, "mleg orders must be market or limit orders")
    if not 2 <= len(request.legs) <= 4:
        raise Refused(Cause.MALFORMED, "mleg orders must have between 2 and 4 legs")
    if len({leg.symbol for leg in request.legs}) != len(request.legs):
        raise Refused(Cause.MALFORMED, "mleg orders must have unique symbols")
    if any(leg.ratio <= 0 or leg.ratio != int(leg.ratio) for leg in request.legs):
        raise Refused(Cause.MALFORMED, "ratio_qty must be a whole number > 0")


def _check_bracket(request: OrderRequest) -> None:
    exits = (request.take_profit_limit is not None, request.stop_loss_stop is not None)
    if request.structure in (OrderClass.BRACKET, OrderClass.OCO) and not all(exits):
        raise Refused(
            Cause.MALFORMED,
            f"{request.structure.value} orders require take_profit.limit_price and stop_loss.stop_price",
        )
    if request.structure is OrderClass.OTO and sum(exits) != 1:
        raise Refused(Cause.MALFORMED, "oto orders require either take_profit or stop_loss")
    if request.lifetime not in (TimeInForce.DAY, TimeInForce.GTC):
        raise Refused(Cause.MALFORMED, f"{request.structure.value} orders must be DAY or GTC")
    if all(exits) and request.side is not None:
        profit, loss = request.take_profit_limit, request.stop_loss_stop
        assert profit is not None
        assert loss is not None
        entry_sign = request.side.sign if request.structure is not OrderClass.OCO else -request.side.sign
        if (profit - loss) * entry_sign <= 0:
            sign = ">" if entry_sign > 0 else "<"
            raise Refused(Cause.UNPROCESSABLE, f"take_profit.limit_price must be {sign} stop_loss.stop_price")


_INTENTS = {
    (Side.BUY, False): PositionIntent.BUY_TO_OPEN,
    (Side.BUY, True): PositionIntent.BUY_TO_CLOSE,
    (Side.SELL, False): PositionIntent.SELL_TO_OPEN,
    (Side.SELL, True): PositionIntent.SELL_TO_CLOSE,
}
"""Effect of an order on a holding, by its side and whether it closes."""


def position_intent(side: Side, held: Decimal) -> PositionIntent:
    """Return what an order does to a holding, inferred from it."""
    return _INTENTS[side, held * side.sign < 0]


def check_available(
    account: BrokerAccount, number: InstrumentId, symbol: str, side: Side, quantity: Decimal
) -> bool:
    """Return whether the order closes a holding; refuse more than is free of it.

    A holding is never turned round in one order: what exceeds it is refused.
    """
    position = account.holdings.get(number)
    if position is None or (position.quantity > ZERO) is (side is BUY):
        return False
    reserved = ZERO
    available = held = abs(position.quantity)
    if account.unended:
        reserved = account.held_for_orders(number)
        available -= reserved
    if quantity > available:
        raise Refused(
            Cause.QUANTITY,
            symbol=symbol,
            requested=number_text(quantity),
            available=number_text(max(available, ZERO)),
            existing_qty=number_text(held),
            held_for_orders=number_text(reserved),
        )
    return True


def _check_intent(asked: PositionIntent, side: Side, held: Decimal) -> None:
    """Refuse an order that means to close where it would open, or to open where it would close."""
    inferred = position_intent(side, held)
    if asked is not inferred:
        raise Refused(Cause.INTENT, inferred=inferred.value, specified=asked.value)


def _check_wash(account: BrokerAccount, number: InstrumentId, side: Side, limit: Decimal | None) -> None:
    """Refuse an order that could trade with an opposite one of the same account."""
    for other in account.open_orders():
        if other.instrument_id != number or other.side is side or other.parent is not None:
            continue
        theirs = other.working_limit if not other.waits_for_stop else other.stop_price
        crosses = limit is None or theirs is None or (limit - theirs) * side.sign >= 0
        if crosses:
            kind = "market/stop" if other.working_limit is None else "limit"
            raise Refused(
                Cause.WASH_TRADE,
                existing_order_id=other.order_id,
                reject_reason=f"opposite side {kind} order exists",
            )


def check_replaceable(order: BrokerOrder) -> None:
    """Refuse to change an order that is at its end or not at the exchange yet."""
    if not order.is_open:
        raise Refused(Cause.CLOSED_ORDER, status=order.status.value)
    if order.status.value in ("pending_new", "accepted", "held"):
        raise Refused(Cause.NOT_SENT_YET)
