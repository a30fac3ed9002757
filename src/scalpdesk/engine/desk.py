"""The parts that one engine works with, how a fill is booked across them, and results by strategy."""

import math
from collections.abc import Callable, Sequence
from datetime import date
from decimal import ROUND_DOWN, Decimal
from typing import Any

from scalpdesk.core.enums import ChangeCause, DecisionKind, Mode
from scalpdesk.core.events import (
    AccountComparison,
    AccountLimits,
    AccountSnapshot,
    ExerciseNotice,
    FillBusted,
    HoldingsShown,
    OrderFilled,
    PositionChanged,
    PriceAdjustmentEvent,
    SessionEvent,
)
from scalpdesk.core.intents import Decision, Side, SubmitOrder
from scalpdesk.core.units import ZERO, InstrumentId, exact, number_text
from scalpdesk.engine.margins import Margins, margin_model, used_fraction
from scalpdesk.instruments.contract import Instruments, underlying_of
from scalpdesk.instruments.postings import (
    UNASSIGNED,
    Origin,
    Posting,
    of_bust,
    of_change,
    of_fill,
    of_late_fee_gone,
    of_snapshot,
)
from scalpdesk.instruments.sessions import Session, ex_instant_ns
from scalpdesk.margin.coin import coin_requirement
from scalpdesk.margin.holdings import Holding
from scalpdesk.margin.liquidation import MarginDistance
from scalpdesk.margin.regulation_t import SPREADS
from scalpdesk.marketdata.state import MarketState
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.portfolio.book import Book
from scalpdesk.portfolio.delta_engine import DeltaEngine, OptionState
from scalpdesk.portfolio.positions import Position, balance_of, mark_decimal
from scalpdesk.portfolio.quoted_vols import OptionFacts
from scalpdesk.portfolio.sub_books import SubBooks
from scalpdesk.risk.gate import RiskGate
from scalpdesk.strategies.contract import WritableDeskView
from scalpdesk.volatility.correlation import ReturnCorrelation

BUY = Side.BUY
LOSS_MODES = (Mode.ACTIVE, Mode.REDUCING)
"""Modes that the session's loss ends."""
_LOSS_SLACK = 1e-9
"""Fraction of the equity: far above the float error of a book's sum."""


class Desk:
    """Market, book, orders and gate of one account.

    ``instruments``, ``market``, ``delta_engine``: What is traded, the latest market and the pricing.
    ``underlying``: Number of the run's main underlying.
    ``cash``: Cash at the start, in the quote currency.
    ``options_level``: Of the account until the venue reports it.
    """

    def __init__(
        self,
        instruments: Instruments,
        market: MarketState,
        delta_engine: DeltaEngine,
        gate: RiskGate,
        orders: OrderManager,
        underlying: InstrumentId,
        cash: Decimal,
        *,
        options_level: int = SPREADS,
    ) -> None:
        self.instruments = instruments
        self.market = market
        self.delta_engine = delta_engine
        self.gate = gate
        self.orders = orders
        parts = (instruments, market, delta_engine, underlying)
        self.book = Book(UNASSIGNED, *parts, cash=cash, closed_trades=gate.closed_trades)
        self.account, self.positions = self.book.account, self.book.positions
        self.attribution = self.book.attribution
        self.margins = Margins(
            margin_model(instruments),
            options_level,
            instruments,
            market,
            delta_engine,
            self.positions,
            self.account,
            gate,
            orders,
        )
        self.view = WritableDeskView(
            instruments, market, delta_engine, self.positions, orders, self.account, underlying
        )
        self.view.halted, self.view.desk_mode = gate.halted, gate.desk_mode
        self.session_equity = cash
        self.rescaled_ns: dict[InstrumentId, int] = {}
        """When the latest corporate action in units of an instrument went ex, UTC nanoseconds."""
        self.lapsing: dict[InstrumentId, Decimal] = {}
        """Bought contracts that the venue is told not to exercise at their expiry."""
        self.shown: dict[InstrumentId, Decimal] | None = None
        """What the venue's positions showed, moved by the executions since: a flattening desk leaves by it
        while no comparison comes. None otherwise."""
        self.is_margined = False
        """Whether positions may be closed for want of margin: in coin, of an account that ever sold an option
        short, or where the venue says so."""
        self._instruments_seen = 0
        """Instruments that the last session's open knew: a listing of years has tens of thousands."""
        self._loss_limit_of: Decimal | None = None
        self._loss_limit = ZERO
        self._near_loss_nav = 0.0
        self._cash_of, self._cash = cash, float(cash)
        self._learns_of: Sequence[Position] = ()
        self._options: list[OptionFacts] = []
        """Options that are held, and the positions that they were read from."""
        self._units_of: Sequence[Position] = ()
        self._units: tuple[list[tuple[InstrumentId, float]], ...] = ([], [])
        """Signed units of what is held, the options that were bought apart."""
        self._judged_cash: Decimal | None = None
        """Cash as the session's loss was last found below its limit."""
        self.started = False
        self.takes_combos = False
        """Whether the venue takes several legs as one order."""
        self.books: SubBooks | None = None
        """The book divided among the strategies that share the desk; None with one strategy."""
        self.by_underlying: SubBooks | None = None
        """The book divided among several underlyings; None with one."""
        self.correlation: ReturnCorrelation | None = None
        """Correlation of the underlyings' returns from mark to mark."""
        self.divisions: list[SubBooks] = []
        """Both of these, where they are."""
        self._has_begun = False

    def cash(self) -> Decimal:
        """Return the cash balance, of a book with futures as a futures broker shows it."""
        own = self.account
        return balance_of(own, self.positions.held()) if self.positions.has_futures else own.cash

    def can_lose(self) -> bool:
        """Return whether the session's loss ends its trading and may differ from the last checked loss."""
        if self.gate.desk_mode.mode not in LOSS_MODES or self.view.session is None:
            return False
        return bool(self.positions.held()) or self.account.cash is not self._judged_cash

    def has_lost_too_much(self) -> bool:
        """Judge the session's loss at current marks: whether it is at the limit that ends its trading."""
        if self.is_near_loss_limit() and self.loss_at_limit(self.view.nav):
            self._judged_cash = None
            return True
        self._judged_cash = self.account.cash
        return False

    def is_near_loss_limit(self) -> bool:
        """Return whether the session's loss may be at its limit: summed in floats.

        Long options are left out first: their value is never below 0.
        """
        is_known = self.session_equity is self._loss_limit_of and self.positions.held() is self._units_of
        least = self._near_loss_nav if is_known else self._least_nav()
        value, mark = self._float_cash(), self.delta_engine.mark
        for part in self._units:
            for number, units in part:
                price = mark(number)
                if price is None:
                    return True
                value += units * price
            if value > least:
                return False
        return True

    def quiet_price(self) -> tuple[InstrumentId | None, float, float] | None:
        """Return an instrument and between which mids the loss is not near its limit, until more is booked.

        Without an instrument whatever the prices are; None where other prices decide, too.
        """
        spare, others = self._float_cash() - self._least_nav(), self._units[0]
        if not others:
            return (None, -math.inf, math.inf) if spare > 0.0 else None
        number, units = others[0]
        if len(others) > 1 or self.instruments.by_id[number].is_option or not units:
            return None
        edge = -spare / units
        slack, mid = _LOSS_SLACK * abs(edge), self.market.mark(number)
        low, high = (edge + slack, math.inf) if units > 0.0 else (-math.inf, edge - slack)
        return (number, low, high) if mid is not None and low < mid < high else None

    def _float_cash(self) -> float:
        if self.account.cash is not self._cash_of:
            self._cash_of, self._cash = self.account.cash, float(self.account.cash)
        return self._cash

    def _least_nav(self) -> float:
        """Return the net asset value at which the session's loss is near its limit, with the units of now."""
        if self._loss_limit_of is not self.session_equity:
            self._set_loss_limit()
        held = self.positions.held()
        if held is not self._units_of:  # another list once something is booked
            self._units_of, self._units = held, ([], [])
            for position in held:
                if position.instrument.currency != self.account.currency:
                    continue
                is_option = self.instruments.by_id[position.instrument_id].is_option
                # of an inverse future there is no such sum: it is always near
                is_inverse = position.instrument.is_inverse_future
                units = math.nan if is_inverse else position.float_quantity * position.multiplier
                self._units[is_option and units > 0.0].append((position.instrument_id, units))
        return self._near_loss_nav

    def _set_loss_limit(self) -> None:
        self._loss_limit_of, equity = self.session_equity, float(self.session_equity)
        self._loss_limit = self.gate.limits.daily_loss_limit(self.session_equity)
        self._near_loss_nav = equity + _LOSS_SLACK * abs(equity) - float(self._loss_limit)

    def loss_at_limit(self, nav: Decimal) -> str:
        """Return the session's loss in words once it ends the session's trading; empty while it does not."""
        if self._loss_limit_of is not self.session_equity:
            self._set_loss_limit()
        loss = nav - self.session_equity
        if loss > -self._loss_limit:
            return ""
        decimals = -int(self.attribution.unit.as_tuple().exponent)
        return f"daily loss: {loss:.{decimals}f} at the limit of {-self._loss_limit:.{decimals}f}"

    def learn(self, now_ns: int, of: InstrumentId | None = None, *, keeps: bool = False) -> None:
        """Take in the latest quotes of the options that are held; ``now_ns`` in UTC nanoseconds.

        With ``keeps`` for good: at timed marks and with what moves the account. Anybody's look has the quotes
        of now, and leaves nothing behind. Of those alone that share their underlying with ``of``: what is
        known of a strike hangs on no other's quotes or orders.
        """
        owner = None if of is None else self.attribution.legs.owners[of]
        held = self.positions.held()
        if held is not self._learns_of:  # another list once something is booked
            known = (self.delta_engine.vols.facts(each.instrument_id) for each in held)
            self._learns_of, self._options = held, [option for option in known if option is not None]
        options = self._options
        if owner is not None:
            options = [option for option in options if option.underlying == owner]
        self.delta_engine.learn(options, now_ns, owner, keeps=keeps)

    def doubt(self, number: InstrumentId, value: OptionState) -> tuple[Decimal, Decimal]:
        """Return by how much what is held of an option may be worth less, and more, than its mark."""
        position, mark = self.positions.positions[number], exact(value.mark)
        units = position.quantity * position.multiplier
        ends = units * (exact(value.low) - mark), units * (exact(value.high) - mark)
        return -min(ends), max(ends)

    def margin_fraction(self) -> Decimal | None:
        """Return maintenance margin over collateral: the venue's figure or a coin book's own, the larger one.

        An account in coin has the smaller of equity and margin balance for collateral, another cash and
        shares. Bought options do not count. Outside coin the venue's figure stands wherever it reports one.
        None without a report of the venue, without positions in coin and of an account that sold no option.
        """
        if not self.is_margined:
            return None
        reported = self.gate.venue_limits
        known = None if reported is None else reported.margin_fraction
        held = []
        for position in self.positions.held():
            instrument = position.instrument
            if instrument.is_coin:
                held.append(Holding(instrument, position.quantity, mark_decimal(self.delta_engine, position)))
        if not held:
            return used_fraction(self.margins.figures()) if known is None else known
        options = sum((holding.value for holding in held if holding.is_option), ZERO)
        asked, collateral = (
            coin_requirement(held, self.margins.spot).maintenance,
            self.view.nav - max(options, ZERO),
        )
        own = asked / collateral if collateral > 0 else Decimal(1)
        return own if known is None else max(own, known)

    def margin_distance(self) -> MarginDistance | None:
        """Return how far the price is from liquidation; None without a margin, or a price, of all held.

        Options are priced at their latest volatility, now. All underlyings move by the same fraction.
        """
        used = self.margin_fraction()
        if used is None or not self.positions.held():
            return None
        return self.margins.distance(used, self.view.now_ns)

    def margin_stage(self) -> tuple[Mode, str] | None:
        """Return the mode that the margin asks for, and why; None while it asks for nothing."""
        used, limits = self.margin_fraction(), self.gate.limits
        if used is None:
            return None
        for mode, most in (
            (Mode.FLATTENING, limits.flatten_margin_fraction),
            (Mode.REDUCING, limits.reduce_margin_fraction),
        ):
            if most is not None and float(used) >= most:  # a Decimal of 0.8 lies below the float
                return mode, f"maintenance margin is {used:.0%} of collateral, limit {most:.0%}"
        return None

    def divide(self, books: SubBooks) -> None:
        """Keep the book divided from now on; before anything is booked."""
        self.books, self.book.counts_trips = books, False
        self.divisions.insert(0, books)
        limits = self.gate.limits
        books.most_losses_in_a_row = limits.max_consecutive_losses
        books.largest_order_shares = Decimal(limits.max_order_shares)
        books.largest_order_contracts = Decimal(limits.max_order_contracts)

    def divide_by_underlying(self, symbols: Sequence[str]) -> None:
        """Explain the P&L of each underlying besides; before anything is booked."""
        equal, view = Decimal(1) / len(symbols), self.view
        self.correlation = ReturnCorrelation(len(symbols))
        self.by_underlying = SubBooks(
            self.instruments,
            self.market,
            self.delta_engine,
            view.underlying,
            dict.fromkeys(symbols, equal.quantize(Decimal("0.0001"), ROUND_DOWN)),
            own_underlying={symbol: self.instruments.id_of(symbol) for symbol in symbols},
            is_by_underlying=True,
        )
        self.divisions.append(self.by_underlying)

    def is_booked(self, action: PriceAdjustmentEvent) -> bool:
        """Return whether a corporate action in units of an instrument is in the desk's holdings."""
        return self.rescaled_ns.get(action.instrument_id, 0) >= action.ts_event_ns

    def _unbooked(self, open_ns: int) -> list[Position]:
        """Return the shares held whose split goes ex at an open and is left to the account."""
        numbers = {
            item.instrument_id
            for item in self.market.going_ex(open_ns)
            if item.volume_factor != 1.0 and not self.is_booked(item)
        }
        return [held for held in self.positions.held() if held.instrument_id in numbers]

    def settle_offsets(self, now_ns: int) -> list[Decision]:
        """Settle expired options that strategies hold against each other; return each as a decision."""
        decisions = []
        for posting in () if self.books is None else self.books.settle_offset_options(now_ns):
            symbol, owner = self.instruments[posting.instrument_id].symbol, posting.owner or REST
            why = f"{posting.cause}: {posting.units:+f} {symbol} of {owner}, held against another strategy"
            facts: dict[str, str | float | int] = {
                "strategy": owner,
                "symbol": symbol,
                "quantity": float(posting.units),
                "cash": float(posting.cash),
            }
            decisions.append(Decision(now_ns, DecisionKind.SESSION, True, (why,), facts))
        return decisions

    def open_session(self, event: SessionEvent) -> None:
        """Start the session's counts and its equity."""
        if not self._has_begun:  # an adopted account has begun already; what came since is explained
            self._begin(event.ts_recv_ns)
        self.view.session = Session(date.fromisoformat(event.session), event.open_ns, event.close_ns)
        listed = self.instruments.by_id
        for instrument in listed[self._instruments_seen :]:
            self.is_margined |= instrument.is_coin
            if instrument.is_option and (share := self.instruments.find(instrument.underlying)) is not None:
                self.market.keep_quotes(share)  # quotes before the first look, too, have their spot there
        self._instruments_seen = len(listed)
        self.gate.new_session()
        unbooked = [(held, mark_decimal(self.delta_engine, held)) for held in self._unbooked(event.open_ns)]
        going_ex = self.market.going_ex(event.open_ns)
        self.market.open_session(event.open_ns)
        if self.books is not None:
            self.books.carry_offset_shares(event.open_ns, event.ts_recv_ns, going_ex)
        for division in self.divisions:
            division.new_session()
        self.attribution.legs.open_session()
        if self.correlation is not None:
            self.correlation.forget_prices()
        self.session_equity = self.attribution.current_nav()
        for held, before in unbooked:  # units of before at the price of after: the account ends that
            self.session_equity -= held.quantity * (mark_decimal(self.delta_engine, held) - before)

    def forget(self, before_ns: int) -> None:
        """Forget orders sent before an instant (UTC nanoseconds) that are over.

        Positions, P&L and counts stay; a forgotten order's trade can no longer be busted. Only long backtests
        call it, and their broker forgets the same orders: live, a venue may still report on any order.
        """
        gone = [
            f"{order.client_order_id}/{execution_id}"
            for order in self.orders.forget(before_ns)
            for execution_id in (*order.executions, *order.busted)
        ]
        self.positions.forget(gone)
        for division in self.divisions:
            for book in division.books.values():
                book.positions.forget(gone)

    def book_fill(self, command: SubmitOrder, event: OrderFilled) -> None:
        """Book one execution: position, cash, its cost, and the count of closed trades."""
        number, purpose, price, fee = command.instrument_id, command.purpose, event.price, event.fee
        signed = event.quantity if command.side is BUY else -event.quantity
        # ids of executions are the venue's; the order's id keeps those of two venues apart
        reference, instrument = (
            f"{event.client_order_id}/{event.execution_id}",
            self.instruments.by_id[number],
        )
        self._post(
            of_fill(
                instrument, number, signed, price, fee, purpose, reference, event.ts_recv_ns, command.owner
            )
        )
        self._move_shown(number, signed)
        if signed < 0 and instrument.is_option and not self.is_margined:
            self.is_margined = self.positions.quantity(number) < 0

    def book_bust(self, event: FillBusted) -> None:
        """Take back exactly the execution that the venue took back, with what its late fee changed."""
        posting = self.positions.execution(f"{event.client_order_id}/{event.execution_id}")
        bust = of_bust(posting, event.ts_recv_ns)
        self._post(bust)
        self._move_shown(bust.instrument_id, bust.units)
        late = self.positions.booking(Origin.LATE_FEE + event.execution_id)
        if late is not None:
            self._post(of_late_fee_gone(late, event.ts_recv_ns))

    def book_change(self, event: PositionChanged) -> None:
        """Book an exercise, settlement, dividend or other change that no order caused."""
        instrument = self.instruments[event.instrument_id]
        posting = of_change(instrument, event)
        if event.cause is ChangeCause.CORPORATE_ACTION:
            self._carry_prices(event)
            self.market.changes += 1  # the other leg of a strike has another price at this instant
            self.delta_engine.vols.shared = None
        elif event.cause is ChangeCause.TRANSFER and instrument.currency == self.account.currency:
            self.session_equity += posting.income
        self._post(posting, more_follow=event.more_follow)

    def _post(self, posting: Posting, *, more_follow: bool = False) -> None:
        """Book a posting in the account's book and in those of its owners."""
        self.book.apply(posting)
        for division in self.divisions:
            division.apply(posting, more_follow=more_follow)

    def _carry_prices(self, event: PositionChanged) -> None:
        """Carry the last prices through a corporate action, before it is booked: its worth stays the same."""
        number, source, units = event.instrument_id, event.source, event.quantity_change
        at_ns = event.ts_event_ns
        held, carry = self.positions.quantity(number), self.market.carry_price
        if source is None or source == number:
            at_ns = self.rescaled_ns[number] = ex_instant_ns(at_ns)
            if held and held + units and not event.price:
                carry(number, number, float(held / (held + units)), at_ns)
            return
        before = self.positions.quantity(source)
        if not units or not before:
            return
        old, new = self.instruments[source], self.instruments[number]
        each = before * old.multiplier * event.cost_fraction / (units * new.multiplier)
        carry(source, number, float(each), at_ns)
        if old.is_option and new.is_option:
            # its underlying moves by what moved the strike, held or not
            spot = self.instruments.id_of(old.underlying)
            is_split = units != before or new.multiplier != old.multiplier
            factor = float(new.strike / old.strike) if is_split else 1.0
            carry(spot, spot, factor, at_ns, paid=0.0 if is_split else float(old.strike - new.strike))
        elif not event.source_change:
            carry(source, source, float(1 - event.cost_fraction), at_ns)

    def adopt(self, snapshot: AccountSnapshot) -> None:
        """Take what the venue reports that the account holds as the desk's own start."""
        self.account.cash = snapshot.cash
        for posting in of_snapshot(snapshot):
            if not self.positions.already_applied(posting.reference):
                self.positions.apply(posting)
                for division in self.divisions:
                    division.adopt(posting)
        if self.positions.has_futures:  # the balance that a futures broker shows does not hold their cost
            self.account.cash += snapshot.cash - self.cash()
        self._begin(snapshot.ts_recv_ns)

    def take_limits(self, event: AccountLimits) -> None:
        """Take over the account's limits as the venue reports them."""
        self.gate.venue_limits = event
        self.is_margined |= event.margin_fraction is not None
        self.gate.cash_at_report = self.cash()
        if self.is_margined or self.gate.limits.max_short_contracts:
            self.margins.take_report()

    def take_notice(self, event: ExerciseNotice) -> None:
        """Note what is not exercised of an option that expires."""
        self.lapsing[event.instrument_id] = event.contracts

    def take_comparison(self, event: AccountComparison) -> None:
        """Note whether the book is being compared with the venue's account.

        Positions shown before count no more: the account may have moved since unseen.
        """
        self.gate.is_compared = self.view.is_compared = event.is_compared
        if event.is_renewed:
            self.shown = None

    def take_holdings(self, event: HoldingsShown) -> None:
        """Leave by the venue's positions from now on, until the next comparison."""
        self.shown = {}
        for held in event.positions:
            if held.quantity:
                self.shown[held.instrument_id] = self.shown.get(held.instrument_id, ZERO) + held.quantity

    def _move_shown(self, number: InstrumentId, signed: Decimal) -> None:
        """Move a list by an execution, to zero at most: what lies beyond it, the next list has to show."""
        if self.shown is not None:
            before = self.shown.get(number, ZERO)
            after = before + signed
            self.shown[number] = after if before * after > 0 else ZERO

    def session_pnl(self) -> Decimal:
        """Return the P&L of the session at the quotes of now: what each reader of a running desk states.

        Parts and stored rows are of the last mark; the difference is :data:`SINCE_MARK`.
        """
        return self.attribution.current_nav() - self.session_equity

    @property
    def leaves_by_positions(self) -> bool:
        """Whether the desk closes what the venue's positions show, whatever its own book says."""
        return self.shown is not None and self.gate.desk_mode.mode is Mode.FLATTENING

    def to_close(self, number: InstrumentId) -> Decimal:
        """Return the signed units of an instrument that an exit may close."""
        if self.shown is not None and self.leaves_by_positions:
            return self.shown.get(number, ZERO)
        return self.positions.quantity(number)

    def _begin(self, now_ns: int) -> None:
        self.book.begin(now_ns)
        self.session_equity = self.attribution.nav
        self._has_begun = True
        for division in self.divisions:
            division.begin(now_ns, self.account.cash)


REST = "nobody"
"""Name of the row for what belongs to no strategy."""


def by_strategy(desk: Desk) -> dict[str, dict[str, Any]] | None:
    """Return a row for each strategy, or None where one strategy has the desk to itself.

    ``nav`` and the parts of ``pnl`` are in the quote currency; the totals sum to the account's change
    of net asset value to its smallest unit, a cent of dollars. Positions without a strategy have a
    row only if there are any.
    """
    return None if desk.books is None else _rows(desk, desk.books, lambda owner, _: owner)


def by_underlying(desk: Desk) -> dict[str, dict[str, Any]] | None:
    """Return a row for each underlying as :func:`by_strategy` does, or None with a single underlying."""
    if desk.by_underlying is None:
        return None
    rows = _rows(desk, desk.by_underlying, lambda _, number: underlying_of(desk.instruments[number]))
    for row in rows.values():  # cash belongs to no underlying
        del row["budget"], row["nav"]
    return rows


def _rows(
    desk: Desk, books: SubBooks, name_of: Callable[[str, InstrumentId], str]
) -> dict[str, dict[str, Any]]:
    explained = books.explained(desk.attribution.nav_change)
    decimals = -int(desk.attribution.unit.as_tuple().exponent)
    counts = desk.orders.counts()
    live = [(order.client_order_id, order.submitted) for order in desk.orders.live.values()]
    rows: dict[str, dict[str, Any]] = {}
    for name, book in books.books.items():
        positions = {
            desk.instruments[position.instrument_id].symbol: number_text(position.quantity)
            for position in book.positions.held()
        }
        pnl = explained[name]
        if name == UNASSIGNED and not positions and not pnl["total"]:
            continue
        own = [count for whose, count in counts.items() if name_of(*whose) == name]
        rows[name or REST] = {
            "budget": None if name == UNASSIGNED else str(books.fractions[name]),
            "nav": f"{book.attribution.nav:.{decimals}f}",
            "pnl": {part: f"{amount:f}" for part, amount in pnl.items()},
            "positions": positions,
            "orders": sum(sent for sent, _ in own),
            "live_orders": [each for each, sent in live if name_of(sent.owner, sent.instrument_id) == name],
            "fills": sum(fills for _, fills in own),
        }
    return rows
