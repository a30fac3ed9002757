"""The desk's account as a margin model reads it, and what its book may lose in a day of large moves."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from scalpdesk.core.intents import EXITS, OrderIntent, Purpose, Side, SubmitOrder
from scalpdesk.core.units import ZERO, InstrumentId, exact
from scalpdesk.instruments.contract import Instrument, Instruments, underlying_of
from scalpdesk.margin.coin import CoinMargin
from scalpdesk.margin.holdings import AccountFigures, Holding, MarginModel, merged
from scalpdesk.margin.liquidation import MarginDistance, liquidation_distance
from scalpdesk.margin.regulation_t import RegulationT
from scalpdesk.marketdata.state import MarketState
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.positions import Account, Position, PositionManager, exact_price
from scalpdesk.portfolio.stress import StressLine, day_moves, largest_loss, price_of
from scalpdesk.risk.context import Working, Written
from scalpdesk.risk.gate import RiskGate

_DAY_TRADER = 4
"""Leverage in shares within the day that the account is judged with; options do not depend on it."""


def margin_model(instruments: Iterable[Instrument]) -> MarginModel:
    """Return the margin model of an account that trades these, for the desk and for the simulated broker."""
    return CoinMargin() if any(instrument.is_coin for instrument in instruments) else RegulationT()


class _DeskAccount:
    """The desk's holdings at their marks, with opening and hedging orders as if all of them were filled.

    An order that closes may stay unfilled and frees nothing.

    ``mark``: Value of one unit, currency; None when never quoted: the average price stands for it.
    ``spot``: Mark of an underlying by its symbol; 0 where it is not known.
    ``working``: Orders that may still be filled, each with the price that it counts at.
    ``options_level``: What the account may trade; ``is_reported``: The venue says so. Venues that report
    one want each sold leg covered within its order.
    """

    multiplier = _DAY_TRADER
    day_trades_blocked = False
    unsettled = ZERO

    def __init__(
        self,
        account: Account,
        held: Iterable[Position],
        mark: Callable[[InstrumentId], float | None],
        spot: Callable[[str], Decimal],
        working: Sequence[tuple[Working, Decimal]],
        options_level: int,
        *,
        is_reported: bool = True,
    ) -> None:
        self.options_level, self.pairs_with_held = options_level, not is_reported
        self.spot = spot
        self._working = working
        positions = [each for each in held if each.instrument.currency == account.currency]
        self._held = {each.instrument.symbol: each.quantity for each in positions}
        lines: list[Holding] = []
        for each in positions:
            price = mark(each.instrument_id)
            at = each.average_price if price is None else exact_price(price)
            lines.append(Holding(each.instrument, each.quantity, at))
        opening = [
            Holding(order.instrument, order.signed_leaves, price)
            for order, price in working
            if order.purpose not in EXITS
        ]
        self._lines = merged(lines, opening)
        self.cash = account.cash - sum((order.value for order in opening), ZERO)

    def may_short(self, symbol: str) -> bool:
        """Return True: whether a share can be borrowed is another question of the gate."""
        del symbol
        return True

    def valued(self) -> Sequence[Holding]:
        """Return what is held once the opening orders are filled."""
        return self._lines

    def quantity_of(self, symbol: str) -> Decimal:
        """Return the signed units held of an instrument, without those of orders."""
        return self._held.get(symbol, ZERO)

    def free_shares(self, symbol: str) -> Decimal:
        """Return the shares that neither working sales nor sold calls need."""
        free = max(self._held.get(symbol, ZERO), ZERO)
        for order, _ in self._working:
            if order.instrument.symbol == symbol and order.side is Side.SELL:
                free -= order.leaves
        for line in self._lines:
            option = line.instrument
            if option.is_option and option.is_call and option.underlying == symbol and line.quantity < 0:
                free += line.quantity * option.multiplier
        return free

    def free_bound(self) -> Decimal | None:
        """Return None: the gate asks for no bound."""
        return None

    def long_shares(self) -> Decimal:
        """Return 0: it only serves the bound."""
        return ZERO

    def reserved(self) -> tuple[Decimal, Decimal]:
        """Return nothing: opening orders count as filled."""
        return ZERO, ZERO


class Margins:
    """The account's margin model, asked about the desk's book and about the orders that would change it.

    ``model``, ``options_level``: Of the account; a venue's report of the level takes its place.
    """

    def __init__(
        self,
        model: MarginModel,
        options_level: int,
        instruments: Instruments,
        market: MarketState,
        delta_engine: DeltaEngine,
        positions: PositionManager,
        account: Account,
        gate: RiskGate,
        orders: OrderManager,
    ) -> None:
        self._model, self._level = model, options_level
        self._instruments, self._market, self._delta_engine = instruments, market, delta_engine
        self._positions, self._account = positions, account
        self._gate, self._orders = gate, orders
        self.free_at_report = ZERO
        """Own funds that nothing tied up when the venue last reported its limits."""

    @property
    def options_level(self) -> int:
        """The account's options level."""
        reported = self._gate.venue_limits
        return self._level if reported is None else reported.options_level

    def account(self, working: Sequence[Working] = ()) -> _DeskAccount:
        """Return the account with these orders filled."""
        priced = [(order, self._price(order)) for order in working]
        held, mark = self._positions.held(), self._delta_engine.mark
        reported = self._gate.venue_limits is not None
        return _DeskAccount(
            self._account, held, mark, self.spot, priced, self.options_level, is_reported=reported
        )

    def spot(self, symbol: str) -> Decimal:
        """Return the mark of an underlying; 0 where it is not known."""
        instruments = self._instruments
        mark = self._market.mark(instruments.id_of(symbol)) if symbol in instruments else None
        return ZERO if mark is None else exact(mark)

    def figures(self, working: Sequence[Working] = ()) -> AccountFigures:
        """Return what the account is worth and may still use with these orders filled."""
        return self._model.figures(self.account(working))

    def has_written(self, working: Sequence[Working] = ()) -> bool:
        """Return whether an option is sold short, or would be once these orders are filled."""
        return any(line.is_option and line.quantity < 0 for line in self.account(working).valued())

    def writes(self, trade: Iterable[OrderIntent]) -> bool:
        """Return whether a trade sells more of an option than is held, working sales of it counted."""
        for intent in trade:
            if intent.side is Side.BUY or intent.purpose in EXITS:
                continue
            number = intent.instrument_id
            if not self._instruments.by_id[number].is_option:
                continue
            left = self._positions.quantity(number) - intent.quantity
            for order in self._orders.live.values():
                if order.submitted.instrument_id == number and order.submitted.side is Side.SELL:
                    left -= order.leaves
            if left < 0:
                return True
        return False

    def take_report(self) -> None:
        """Note what was free when the venue reported its own figure."""
        self.free_at_report = self.figures(self.at_venue()).free

    def at_venue(self) -> list[Working]:
        """Return the orders at the venue, oldest first."""
        live = self._orders.live.values()
        sent = [(each.submitted, each.leaves, each.created_ns) for each in live]
        return [working_order(self._instruments, *each) for each in sent]

    def written(self, others: Sequence[Working], trade: Sequence[Working], now_ns: int) -> Written:
        """Return what a trade asks of the account beside its other orders; see :class:`Written`.

        Sales among them that close may be filled or not: the case that leaves less counts.
        """
        both = [self._written(others, trade, now_ns)]
        if (sold := _once_sold(others)) != others:
            both.append(self._written(sold, trade, now_ns))
        return max(both, key=lambda each: (each.refusal is not None, each.need - each.free))

    def _written(self, others: Sequence[Working], trade: Sequence[Working], now_ns: int) -> Written:
        model, before = self._model, self.account(others)
        legs = [Holding(order.instrument, order.signed_leaves, self._price(order)) for order in trade]
        refused = model.permission(before, legs)
        after = model.figures(self.account([*others, *trade]))
        free, reported = model.figures(before).free, self._gate.venue_limits
        if reported is not None:  # the venue's own figure, less what was tied up since
            free = reported.options_buying_power + min(free - self.free_at_report, ZERO)
        return Written(
            None if refused is None else refused.reason,
            model.need(before, legs),
            free,
            self._day_loss(others, trade, now_ns),
            used_fraction(after),
        )

    def tied_up(self, working: Sequence[Working]) -> Decimal | None:
        """Return equity less what is free once orders are filled; None where no option is sold then."""
        if not self.has_written(working):
            return None
        both = self.figures(working), self.figures(_once_sold(working))
        return max(each.equity - each.free for each in both)

    def distance(self, used: Decimal, now_ns: int) -> MarginDistance | None:
        """Return how far prices are from the broker's liquidation; None while an option held has no value.

        ``used``: Maintenance margin over collateral now; what it is beyond the model's own is kept.
        ``now_ns``: UTC nanoseconds.
        """
        held = self._positions.held()
        lines = self._lines({each.instrument_id: each.quantity for each in held}, now_ns)
        if not lines:
            return None
        numbers = {line.holding.instrument.symbol: line for line in lines}
        by_id = self._instruments.by_id

        def figures_at(move: float) -> AccountFigures:
            scale = exact(1.0 + move, 12)

            def mark(number: InstrumentId) -> float:
                return price_of(numbers[by_id[number].symbol], move)

            def spot(symbol: str) -> Decimal:
                return self.spot(symbol) * scale

            return self._model.figures(_DeskAccount(self._account, held, mark, spot, (), self.options_level))

        now = figures_at(0.0)
        kept, against = now.maintenance_margin, now.maintenance_margin + now.excess
        more = max(used * min(now.equity, against) - kept, ZERO)
        return liquidation_distance(used, lambda move: figures_at(move).excess - more)

    def _price(self, order: Working) -> Decimal:
        if order.limit_price is not None:
            return order.limit_price
        quote = self._market.quotes[order.instrument_id]
        far = 0.0 if quote is None else quote.ask if order.side is Side.BUY else quote.bid
        mark = far if far > 0.0 else self._delta_engine.mark(order.instrument_id)
        return ZERO if mark is None else exact_price(mark)  # no order goes before its first quote

    def _day_loss(self, others: Sequence[Working], trade: Sequence[Working], now_ns: int) -> Decimal | None:
        """Return what the whole book loses at most in a day of large moves; 0 where a trade adds nothing."""
        units = {each.instrument_id: each.quantity for each in self._positions.held()}
        for order in others:
            if order.purpose not in EXITS:
                units[order.instrument_id] = units.get(order.instrument_id, ZERO) + order.signed_leaves
        before = self._lines(units, now_ns)
        for order in trade:
            units[order.instrument_id] = units.get(order.instrument_id, ZERO) + order.signed_leaves
        after = self._lines(units, now_ns)
        if before is None or after is None:
            return None
        moves = day_moves(after, self._delta_engine.terms.days_per_year)
        loss = largest_loss(after, moves)
        return loss if loss > largest_loss(before, moves) else ZERO

    def _lines(self, units: Mapping[InstrumentId, Decimal], now_ns: int) -> list[StressLine] | None:
        """Return a book as it is priced again; None while something of it has no value."""
        lines: list[StressLine] = []
        for number, quantity in units.items():
            instrument, state = self._instruments.by_id[number], None
            mark = self._delta_engine.mark(number)
            if instrument.currency != self._account.currency or not quantity:
                continue
            if mark is None:
                return None
            if instrument.is_option:
                state = self._delta_engine.state(number, now_ns)
                if state is None:
                    return None
            symbol, beta, proxy = underlying_of(instrument), 1.0, self._delta_engine.proxies.get(number)
            if proxy is not None:
                symbol, beta = self._instruments[proxy.underlying_id].symbol, proxy.beta
            holding = Holding(instrument, quantity, exact_price(mark))
            lines.append(StressLine(holding, symbol, beta, state))
        return lines


def _once_sold(working: Sequence[Working]) -> list[Working]:
    """Return orders with the sales that close as ones that count as filled: what they sell covers nothing."""
    return [
        each._replace(purpose=Purpose.HEDGE) if each.purpose in EXITS and each.side is Side.SELL else each
        for each in working
    ]


def working_order(
    instruments: Instruments, sent: SubmitOrder | OrderIntent, leaves: Decimal, created_ns: int
) -> Working:
    """Return an order that may still be filled, as the checks see it."""
    return Working(
        sent.instrument_id,
        instruments[sent.instrument_id],
        sent.side,
        leaves,
        sent.order_type,
        sent.limit_price,
        sent.purpose,
        created_ns,
        sent.quantity,
        sent.owner,
    )


def used_fraction(figures: AccountFigures) -> Decimal | None:
    """Return maintenance margin over what it is set against, 1 where that is used up; None without any."""
    kept, against = figures.maintenance_margin, figures.maintenance_margin + figures.excess
    if not kept:
        return None
    return kept / against if against > 0 else Decimal(1)
