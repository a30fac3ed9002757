"""Market, broker and time of the served exchange, and the pace of that time.

A simulated market neither waits nor draws random numbers of its own: its driver moves its time.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import partial

from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import BarEvent, QuoteEvent, TradeEvent
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, NEVER_NS, InstrumentId
from scalpdesk.exchange.source import Bar, BarBook, MarketSource
from scalpdesk.instruments.fees import NO_FEES, FeeModel
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.margin.holdings import MarginModel
from scalpdesk.simulation.accounts import AccountTerms, BrokerAccount
from scalpdesk.simulation.assignment import AssignmentTerms, EarlyAssignment
from scalpdesk.simulation.broker import Broker
from scalpdesk.simulation.faults import Fault, FaultPlan
from scalpdesk.simulation.fills import fill_model
from scalpdesk.simulation.ledger import Ledger, uuid_ids
from scalpdesk.simulation.order_entry import VenueRules
from scalpdesk.simulation.orders import Booking, OrderUpdate


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketTerms:
    """Fees, margin and order rules of the venue that a simulated market stands for."""

    fees: FeeModel
    charges_always: bool = False
    """Whether fees are charged without being asked for (:attr:`MarketOptions.fees`)."""
    rules: VenueRules
    margin: Callable[[], MarginModel] | None = None
    """Makes the margin of an account; None: Regulation T."""


@dataclass(frozen=True, slots=True)
class MarketOptions:
    """Behaviour of the exchange."""

    seed: int = 0
    """Seed of ids and faults."""
    latency_ms: float = 0.0
    """Time from a request to its effect, milliseconds."""
    fill_model: str = "cross"
    share_fill_model: str = "cross"
    """``fill_model``, ``share_fill_model``: Fill models of options and of everything else."""
    fees: bool = False
    """Whether regulatory fees are charged."""
    cutoff: bool = True
    liquidation: bool = True
    """``cutoff``, ``liquidation``: Whether the rules for expiring contracts apply."""
    early_assignment: EarlyAssignment = "worth"
    after_close_move: float = 0.0
    """``early_assignment``, ``after_close_move``: See :class:`~.AssignmentTerms`."""
    salt: str = ""
    """Mixed into the ids beside the seed. Two exchanges with one salt give the same ids: right for a test
    that runs twice, wrong for a client that remembers ids over a restart of the exchange.
    """


@dataclass(frozen=True, slots=True)
class StatusChange:
    """Halt or resumption of trading in an instrument."""

    instrument_id: InstrumentId
    ts_ns: int
    is_halted: bool


@dataclass(frozen=True, slots=True)
class ClosedBar:
    """Closed minute bar of an instrument."""

    instrument_id: InstrumentId
    ts_ns: int
    bar: Bar


Published = QuoteEvent | TradeEvent | ClosedBar | StatusChange
_Watcher = Callable[[Published], None]
_UpdateWatcher = Callable[[OrderUpdate], None]
_BookingWatcher = Callable[[Booking], None]


class SimulatedMarket:
    """Simulated market: a market source with a broker, by the terms of a protocol's venue."""

    def __init__(
        self,
        source: MarketSource,
        terms: MarketTerms,
        options: MarketOptions | None = None,
        faults: FaultPlan | None = None,
    ) -> None:
        chosen = options or MarketOptions()
        self.source = source
        self.options = chosen
        self.faults = faults if faults is not None else FaultPlan(seed=chosen.seed)
        rules = replace(
            terms.rules,
            cutoff=terms.rules.cutoff if chosen.cutoff else None,
            liquidation=terms.rules.liquidation and chosen.liquidation,
        )
        self.broker = Broker(
            source.instruments,
            source.hours,
            fill_model(chosen.fill_model),
            fill_model(chosen.share_fill_model),
            margin=None if terms.margin is None else terms.margin(),
            fees=terms.fees if chosen.fees or terms.charges_always else NO_FEES,
            rules=rules,
            assignment=AssignmentTerms(chosen.early_assignment, chosen.after_close_move, chosen.seed),
            effect_latency_ns=int(chosen.latency_ms * 1e6),
            faults=self.faults,
            ids=uuid_ids(f"{chosen.seed}{chosen.salt}"),
            keeps_history=True,
        )
        self.ledger: Ledger = self.broker.ledger
        self.ledger.now_ns = source.start_ns
        self.broker.expiry.settlement_of = source.settlement
        self.broker.assignment.published = source.published
        self.broker.actions.schedule = (*source.dividends, *source.actions)
        for rate in source.funding:
            self.ledger.at(rate.ts_ns, partial(self.broker.actions.pay_funding, rate))
        self.bars = BarBook()
        self._interest: tuple[date, Mapping[str, int]] = date.min, {}
        self.last_trades: dict[InstrumentId, TradeEvent] = {}
        self.closes: dict[InstrumentId, Decimal] = {}
        """Mark at the last close, by instrument."""
        self._market_watchers: list[_Watcher] = []
        self._update_watchers: list[_UpdateWatcher] = []
        self._booking_watchers: list[_BookingWatcher] = []
        self._boundary_ns = source.hours.next_boundary_ns(source.start_ns)
        session = source.hours.session_at(source.start_ns)
        if session is not None:
            self.broker.open_session(session.open_ns, session.close_ns)
        self._has_trades: set[InstrumentId] = set()
        self._asked_second = -1
        self._halted_ns: dict[InstrumentId, int] = {}
        """When each halt under way began, UTC nanoseconds."""
        self._halt_ends_ns: dict[InstrumentId, int] = {}
        """When each halt under way ends by itself, UTC nanoseconds: of several halts the last end counts."""

    # watching ---------------------------------------------------------------------------------------

    def on_market(self, watcher: _Watcher) -> None:
        """Publish every quote, trade, closed bar and halt to ``watcher``."""
        self._market_watchers.append(watcher)

    def on_update(self, watcher: _UpdateWatcher) -> None:
        """Publish every order update to ``watcher``."""
        self._update_watchers.append(watcher)

    def on_booking(self, watcher: _BookingWatcher) -> None:
        """Publish to ``watcher`` what happens to an account without an order."""
        self._booking_watchers.append(watcher)

    def _publish(self, event: Published) -> None:
        for watcher in self._market_watchers:
            watcher(event)

    def flush(self) -> None:
        """Publish the updates of the broker."""
        while waiting := self.broker.drain():
            for update in waiting:
                if not isinstance(update, OrderUpdate):
                    for watch in self._booking_watchers:
                        watch(update)
                    continue
                if update.event in ("fill", "partial_fill") and not self.faults.is_quiet:
                    self._spoil_fill(update)
                for watcher in self._update_watchers:
                    watcher(update)

    def _spoil_fill(self, update: OrderUpdate) -> None:
        execution = update.execution
        if execution is None or execution.instrument_id is None:
            return
        fault = self.faults.take("fill", update.order.request.symbol)
        if fault is not None:
            self.broker.staged.after_fill(execution, fault)

    def _spoil_market(self) -> None:
        """Draw faults of the market and the accounts, once a second of market time."""
        second = self.now_ns // NANOS_PER_SECOND
        if second == self._asked_second:
            return
        self._asked_second = second
        fault = self.faults.take("market")
        if fault is not None:
            self.strike_market_fault(fault)

    # time -------------------------------------------------------------------------------------------

    @property
    def open_interest(self) -> Mapping[str, int]:
        """Contracts open of each option, as published on the morning of now."""
        day = to_new_york(self.now_ns).date()
        if self._interest[0] != day:
            self._interest = day, self.source.published(day).open_interest
        return self._interest[1]

    @property
    def now_ns(self) -> int:
        """Present market time, UTC nanoseconds."""
        return self.ledger.now_ns

    @property
    def next_ns(self) -> int:
        """Time of the next event, UTC nanoseconds."""
        return min(self.source.next_ns(), self.broker.due_ns, self._boundary_ns)

    def settle(self) -> None:
        """Carry out what is due now, and publish it."""
        self.broker.advance(self.ledger.now_ns)
        self.flush()

    def advance_to(self, target_ns: int, *, most_instants: int | None = None) -> bool:
        """Advance to ``target_ns``, by ``most_instants`` instants at most; return whether it was reached.

        Time never runs backwards.
        """
        source, ledger, broker = self.source, self.ledger, self.broker
        instants = 0
        while True:
            market_ns = source.next_ns()
            due_ns = min(market_ns, broker.due_ns, self._boundary_ns)
            if due_ns > target_ns:
                break
            if instants == most_instants:
                return False
            instants += 1
            ledger.now_ns = max(ledger.now_ns, due_ns)
            if market_ns == due_ns and self._boundary_ns != due_ns:
                self._play()
            elif self._boundary_ns == due_ns:
                self._cross_boundary(market_ns == due_ns)
            broker.advance(due_ns)
            if not self.faults.is_quiet:
                self._spoil_market()
            if ledger.updates:
                self.flush()
        ledger.now_ns = max(ledger.now_ns, target_ns)
        return True

    def step(self) -> bool:
        """Advance to the next event; return whether there is one."""
        due_ns = self.next_ns
        if due_ns >= NEVER_NS:
            return False
        self.advance_to(due_ns)
        return True

    def _play(self) -> None:
        for event in self.source.take_next():
            if isinstance(event, QuoteEvent):
                self._take_quote(event)
            elif isinstance(event, TradeEvent):
                if self.ledger.is_halted(event.instrument_id):
                    continue
                self._has_trades.add(event.instrument_id)
                self.last_trades[event.instrument_id] = event
                self._print(event.instrument_id, event.ts_recv_ns, event.price, event.size)
                self._publish(event)
            else:
                self._take_bar(event)

    def _take_quote(self, quote: QuoteEvent, *, publish: bool = True) -> None:
        self.broker.on_quote(quote)
        number = quote.instrument_id
        may_trade = not self.ledger.is_halted(number) and number not in self.source.barred
        if may_trade and number not in self._has_trades:
            mid = quote.mid
            if math.isfinite(mid) and quote.bid > 0:
                price = round(mid, 4)
                self.last_trades[number] = TradeEvent(number, quote.ts_event_ns, quote.ts_recv_ns, price, 1.0)
                self._print(number, quote.ts_recv_ns, price, 0.0)
        if publish:
            self._publish(quote)

    def _print(self, number: InstrumentId, ts_ns: int, price: float, size: float) -> None:
        closed = self.bars.add_print(number, ts_ns, price, size)
        if closed is not None:
            self._publish(ClosedBar(number, ts_ns, closed))

    def _take_bar(self, event: BarEvent) -> None:
        number = event.instrument_id
        start_ns = event.ts_event_ns - event.bar_seconds * NANOS_PER_SECOND
        if self._halted_ns and start_ns >= self._halted_since(number):
            return  # nothing trades in a halt: who sees a bar made in it takes the halt for over
        prices = (event.open, event.high, event.low, event.close)
        trades = max(int(event.volume // 100), 1)
        bar = Bar.of_prices(start_ns, event.bar_seconds, prices, event.volume, trades)
        self.bars.add_bar(number, bar)
        if not self.ledger.is_halted(number):  # of the minute in which the halt began no trade is as late
            trade = TradeEvent(number, event.ts_event_ns, event.ts_recv_ns, event.close, event.volume)
            self.last_trades[number] = trade
            self._publish(trade)
        self._publish(ClosedBar(number, event.ts_recv_ns, bar))

    def _halted_since(self, number: InstrumentId) -> int:
        """Return when the halt of an instrument or of its underlying began, UTC nanoseconds."""
        instruments = self.ledger.instruments
        contract, since_ns = instruments[number], self._halted_ns.get(number, NEVER_NS)
        if contract.is_option and contract.underlying in instruments:
            since_ns = min(since_ns, self._halted_ns.get(instruments.id_of(contract.underlying), NEVER_NS))
        return since_ns

    def _cross_boundary(self, market_too: bool) -> None:
        """Open or close a session; quotes of the closing instant come before it."""
        now_ns = self._boundary_ns
        hours = self.source.hours
        opening = hours.session_at(now_ns)
        if market_too and opening is None:
            self._play()
        if self.broker.is_open:
            self.closes = {number: self.ledger.mark(number) for number in self.ledger.quotes}
            self.broker.close_session(now_ns)
        self._boundary_ns = hours.next_boundary_ns(now_ns)
        if opening is not None:
            self.broker.open_session(now_ns, opening.close_ns)

    def quote(self, number: InstrumentId) -> QuoteEvent | None:
        """Return the present quote of an instrument, and watch it from now on."""
        fresh = self.source.watch(number)
        if fresh is not None and number not in self.ledger.quotes:
            self._take_quote(fresh, publish=False)
        return self.ledger.quotes.get(number)

    def halt(self, number: InstrumentId, *, seconds: float | None = None) -> None:
        """Stop trading in an instrument and its options, for ``seconds`` or until it is resumed."""
        self.broker.halt(number)
        self._halted_ns.setdefault(number, self.now_ns)
        self._publish(StatusChange(number, self.now_ns, is_halted=True))
        ends_ns = NEVER_NS if seconds is None else self.now_ns + int(seconds * 1e9)
        self._halt_ends_ns[number] = max(ends_ns, self._halt_ends_ns.get(number, 0))
        if seconds is not None:
            self.ledger.at(ends_ns, partial(self._end_halt, number))

    def _end_halt(self, number: InstrumentId) -> None:
        """End a halt whose time is over, unless another one goes on."""
        if self._halt_ends_ns.get(number, NEVER_NS) <= self.now_ns:
            self.resume(number)

    def resume(self, number: InstrumentId) -> None:
        """Resume trading in an instrument."""
        if number not in self.ledger.halted:
            return
        del self._halted_ns[number], self._halt_ends_ns[number]
        self._publish(StatusChange(number, self.now_ns, is_halted=False))
        self.broker.resume(number)

    def strike_market_fault(self, fault: Fault) -> None:
        """Carry out a fault of the market or the account: halt, liquidation, assignment."""
        for number, instrument in enumerate(self.ledger.instruments):
            if fault.match and fault.match not in instrument.symbol:
                continue
            if fault.name == "halt" and not instrument.is_option:
                self.halt(InstrumentId(number), seconds=fault.seconds)
            for account in self.ledger.accounts.values():
                held = account.quantity(InstrumentId(number))
                if fault.name == "auto_liquidation" and held:
                    self.broker.expiry.force_close(account, InstrumentId(number))
                if fault.name == "assignment" and held < 0:
                    self.broker.expiry.assign(account.name, InstrumentId(number), Decimal(10**9))
        self.settle()

    def open_account(self, terms: AccountTerms) -> BrokerAccount:
        """Open an account at the broker."""
        return self.broker.open_account(terms)


_MAX_SLICE_NS = MINUTE_NS
"""Market time played in one step at full speed, so that the event loop gets its turn."""


_FASTEST = 1e9
"""Market seconds a second beyond which only ``max`` is a speed."""


def read_speed(value: object, where: str) -> float:
    """Read a pace: market seconds a second, 0 to pause, ``max`` for full speed (infinity).

    Raises ArgumentError when it is no such number; names the field ``where``.
    """
    try:
        speed = math.inf if value in ("max", math.inf) else float(str(value))
    except ValueError:
        speed = -1.0
    if not (0.0 <= speed <= _FASTEST or speed == math.inf) or isinstance(value, bool):
        raise ArgumentError(
            "a speed is a number of market seconds a second, 0 or more, or max",
            where=where,
            value=value,
            fix="write 1 for the pace of the wall, 0 to stand still, or max",
        )
    return speed


@dataclass(slots=True)
class Pace:
    """Converts wall time to market time."""

    clock: Clock
    """Wall clock."""
    world_start_ns: int
    wall_start_ns: int
    """``world_start_ns``, ``wall_start_ns``: Market time, and the wall time that corresponds to it, UTC
    nanoseconds.
    """
    speed: float = 1.0
    """Market seconds a second; 0 pauses (steps still advance it), infinity runs at full speed."""

    @property
    def is_wall_time(self) -> bool:
        """Whether market time is wall time."""
        return self.speed == 1.0 and self.world_start_ns == self.wall_start_ns

    def target_ns(self, world_now_ns: int) -> int:
        """Return the market time that corresponds to now, UTC nanoseconds."""
        if self.speed == 0.0:
            return world_now_ns
        if self.speed == float("inf"):
            return world_now_ns + _MAX_SLICE_NS
        gone_ns = self.clock.now_ns() - self.wall_start_ns
        return self.world_start_ns + int(gone_ns * self.speed)

    def wait_seconds(self, next_ns: int, world_now_ns: int) -> float:
        """Return the wait for the next event, wall seconds."""
        if self.speed in (0.0, float("inf")):
            return 0.0 if self.speed else 3_600.0
        return max(next_ns - self.target_ns(world_now_ns), 0) / self.speed / 1e9

    def change(self, speed: float, world_now_ns: int) -> None:
        """Continue from here at another speed."""
        self.world_start_ns, self.wall_start_ns = world_now_ns, self.clock.now_ns()
        self.speed = speed
