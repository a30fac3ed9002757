"""A live run's own stream through a backtest, under its conditions: latencies, fills, rejects and fees.

The stream is the run's journal without what its orders led to: the market, forecasts, the account as it
began, operator commands and timers come as the desk received them, in the same order. Orders go to a
simulated broker with the configured conditions, except those that :class:`LiveTerms` takes over.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from functools import partial
from hashlib import blake2b
from itertools import count
from pathlib import Path
from statistics import median_low
from typing import Any, Self

import msgspec

from scalpdesk.assembly import connect_broker, engine_from_header, settings_from_header
from scalpdesk.backtesting.runs import replay_of
from scalpdesk.core.enums import ChangeCause, SessionPhase
from scalpdesk.core.errors import DataError
from scalpdesk.core.events import (
    AccountSnapshot,
    CancelRejected,
    DividendEvent,
    Event,
    FillBusted,
    OrderCancelled,
    OrderEvent,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    PositionChanged,
    QuoteEvent,
    SessionEvent,
    TimerEvent,
    TradingHalt,
    UnmatchedOrderEvent,
    is_order_event,
)
from scalpdesk.core.intents import (
    CancelOrder,
    Decision,
    Mark,
    Output,
    SetTimer,
    Side,
    SubmitOrder,
    TimeInForce,
    VenueCommand,
    is_command,
    orders_of,
)
from scalpdesk.core.units import NANOS_PER_MS, NANOS_PER_SECOND, NEVER_NS, ZERO, InstrumentId
from scalpdesk.engine.timers import LOSS_TIMER, LossTimer
from scalpdesk.instruments.broker_terms import fees_named
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.fees import NO_FEES, DayFees, FeeModel, FeesSoFar
from scalpdesk.instruments.postings import Origin
from scalpdesk.instruments.sessions import Session, to_new_york
from scalpdesk.journal.reader import JournalReader
from scalpdesk.marketdata.tape import CashDividend
from scalpdesk.report.fold import RunFold
from scalpdesk.report.summary import run_summary
from scalpdesk.simulation.connection import AccountEvent
from scalpdesk.simulation.faults import Fault, FaultPlan
from scalpdesk.simulation.hours import TapeHours
from scalpdesk.simulation.ledger import Ledger
from scalpdesk.simulation.matching import Matcher
from scalpdesk.simulation.order_entry import AT_ONCE
from scalpdesk.simulation.orders import BrokerOrder, Status
from scalpdesk.simulation.staged_faults import Effect, StagedFaults, Swap

_SAME_ORDER_NS = 60 * NANOS_PER_SECOND
"""Within this time an order of one instrument and side may be the live run's order of another id."""
_CASH_BOOKINGS = frozenset({ChangeCause.FEE, ChangeCause.FUNDING, ChangeCause.INTEREST})
"""Causes for which a venue books cash alone; they count as fees."""


@dataclass(frozen=True, slots=True)
class LiveTerms:
    """Conditions of the live run that a backtest of its stream takes over."""

    latency: bool = False
    """Each order and each answer travels as long as it did."""
    fills: bool = False
    """Each order trades when, as much and at the prices that it did."""
    rejects: bool = False
    """Each order that the venue refused is refused."""
    fees: bool = False
    """Each execution costs what it did; the venue's bookings of cash are booked."""


class _PaidFees:
    """Fees of executions that stand, and cash that a venue booked without a trade, as a ledger has them."""

    def __init__(self) -> None:
        self.total = ZERO
        """Signed, in currency: negative for what was paid."""
        self._by_execution: dict[tuple[str, str], Decimal] = {}
        self._bookings: dict[str, Decimal] = {}
        """By reference."""

    def take(self, event: Event) -> None:
        """Take in an event that a desk has handled."""
        if type(event) is OrderFilled:
            key = event.client_order_id, event.execution_id
            if key not in self._by_execution:
                self._by_execution[key] = event.fee
                self.total -= event.fee
        elif type(event) is FillBusted:
            key = event.client_order_id, event.execution_id
            late = Origin.LATE_FEE + event.execution_id
            self.total += self._by_execution.get(key, ZERO) - self._bookings.get(late, ZERO)
            self._by_execution[key] = ZERO
            if late in self._bookings:
                self._bookings[late] = ZERO
        elif type(event) is PositionChanged and event.reference not in self._bookings:
            booked = event.cash_change if _is_cash_booking(event) else ZERO
            self._bookings[event.reference] = booked
            self.total += booked


def _is_cash_booking(event: PositionChanged) -> bool:
    """Return whether a change is a booking of cash alone that counts as a fee."""
    return event.cause in _CASH_BOOKINGS and not event.quantity_change


@dataclass(slots=True)
class _LiveOrder:
    """Course of one order of a live run."""

    command: SubmitOrder
    sent_ns: int
    arrived_ns: int | None = None
    """When the venue answered first, by its own clock; None without an answer."""
    back_ns: dict[type, int] = field(default_factory=dict)
    """Time that the first answer of each kind travelled."""
    fills: list[OrderFilled] = field(default_factory=list)
    """Executions that stand."""
    rejected: str | None = None
    """Reason of a refusal."""
    cancel_sent_ns: int | None = None
    cancel_out_ns: int | None = None
    """``cancel_sent_ns``, ``cancel_out_ns``: When the desk first asked for its end, and how long that
    travelled to the venue; None where it did not ask, and without an answer.
    """

    @property
    def out_ns(self) -> int | None:
        """Time that the order travelled to the venue."""
        return None if self.arrived_ns is None else max(self.arrived_ns - self.sent_ns, 0)

    @property
    def filled(self) -> Decimal:
        """Quantity that was filled."""
        return sum((fill.quantity for fill in self.fills), ZERO)

    def note(self, event: Any) -> None:
        """Take in an event of this order."""
        if self.arrived_ns is None:
            self.arrived_ns = event.ts_event_ns
        self.back_ns.setdefault(type(event), max(event.ts_recv_ns - event.ts_event_ns, 0))
        if type(event) is OrderFilled:
            if all(fill.execution_id != event.execution_id for fill in self.fills):
                self.fills.append(event)
        elif type(event) is FillBusted:
            self.fills = [fill for fill in self.fills if fill.execution_id != event.execution_id]
        elif type(event) is OrderRejected:
            self.rejected = event.reason
        elif type(event) is OrderNotFound:
            self.rejected = "the order did not reach the venue"
        elif type(event) in (OrderCancelled, CancelRejected) and self.cancel_sent_ns is not None:
            self.cancel_out_ns = max(event.ts_event_ns - self.cancel_sent_ns, 0)


class _DecisionTrail:
    """Digest of decisions and their orders in their sequence, without the times."""

    def __init__(self) -> None:
        self.count = 0
        self._hasher = blake2b(digest_size=16)

    def add(self, outputs: Iterable[Output]) -> None:
        """Add the outputs of one event."""
        for output in outputs:
            if type(output) is Decision:
                self.count += 1
                self._hasher.update(f"{output.kind}|{output.taken};".encode())
            for order in orders_of(output):
                terms = order.instrument_id, order.side, order.quantity, order.order_type
                self._hasher.update(f"{terms};".encode())

    def hex(self) -> str:
        """Return the digest so far, 32 hexadecimal digits."""
        return self._hasher.hexdigest()


class LiveRecord:
    """Orders, timers and sessions of a live run, read from its journal as far as that goes now.

    Raises DataError when no session was traded. Raises JournalError when the journal is damaged.
    """

    def __init__(self, run_dir: Path) -> None:
        reader = self._reader = JournalReader(run_dir)
        """Reads up to what is written now: a run that goes on is compared to this point."""
        self.header, self.events = reader.header, reader.totals.events
        self.paid, self.last_ns = _PaidFees(), 0
        """Fees, and the time of the last event, UTC nanoseconds."""
        self.orders: dict[str, _LiveOrder] = {}
        self.timers: set[tuple[int, str]] = set()
        """Timers that fired, by instant and name."""
        self.trail = _DecisionTrail()
        self.marks: list[Mark] = []
        self.opening: AccountSnapshot | None = None
        sessions: dict[str, Session] = {}
        dividends: list[CashDividend] = []
        symbols = [each.symbol for each in self.header.instruments]
        for step, outputs in reader.steps():
            self.last_ns = step[-1].ts_recv_ns
            for event in step:
                self.paid.take(event)
                if is_order_event(event):
                    order = self.orders.get(event.client_order_id)
                    if order is not None:
                        order.note(event)
                elif type(event) is TimerEvent:
                    self.timers.add((event.ts_event_ns, event.name))
                elif type(event) is SessionEvent:
                    day = to_new_york(event.close_ns).date()
                    sessions.setdefault(event.session, Session(day, event.open_ns, event.close_ns))
                elif type(event) is AccountSnapshot and self.opening is None:
                    self.opening = event
                elif type(event) is DividendEvent:
                    ex_date = to_new_york(event.ts_ex_ns).date()
                    dividends.append(CashDividend(symbols[event.instrument_id], ex_date, event.amount))
            self.trail.add(outputs)
            for output in outputs:
                if type(output) is Mark:
                    self.marks.append(output)
                if type(output) is CancelOrder and output.client_order_id in self.orders:
                    cancelled = self.orders[output.client_order_id]
                    cancelled.cancel_sent_ns = cancelled.cancel_sent_ns or step[-1].ts_recv_ns
                for sent in orders_of(output):
                    self.orders[sent.client_order_id] = _LiveOrder(sent, step[-1].ts_recv_ns)
        self.sessions = tuple(sessions.values())
        self.dividends = tuple(dividends)
        if not self.sessions:
            raise DataError(
                "no session was opened in this run: there is nothing to compare",
                where=self.header.run_id,
                fix="name a run that traded: scalpdesk runs",
            )
        self.pnl = _pnl_of(reader.summary if reader.sealed else replay_of(reader, verify=False).summary)

    def stream(self) -> Iterator[Event]:
        """Yield the events of the journal in order."""
        for step, _ in self._reader.steps():
            yield from step

    def differing(self, terms: LiveTerms) -> LiveTerms:
        """Return conditions without those in which the run was as configured; a backtest is the same."""
        simulation = settings_from_header(self.header).config.simulation
        configured_ns = int(simulation.latency_ms * NANOS_PER_MS)
        orders = self.orders.values()
        times = {each.out_ns for each in orders} | {each.cancel_out_ns for each in orders}
        times |= {ns for each in orders for ns in each.back_ns.values()}
        return replace(
            terms,
            latency=terms.latency and not times <= {configured_ns, None},
            rejects=terms.rejects and any(each.rejected is not None for each in orders),
        )

    def median_out_ns(self) -> int:
        """Return the median time of an order to the venue, nanoseconds; 0 without orders."""
        return median_low([each.out_ns for each in self.orders.values() if each.out_ns is not None] or [0])

    def median_back_ns(self) -> int:
        """Return the median time of an answer to the desk, nanoseconds; 0 without answers."""
        return median_low([ns for each in self.orders.values() for ns in each.back_ns.values()] or [0])


def _pnl_of(summary: dict[str, Any]) -> Decimal:
    return Decimal(summary["pnl"]["total"])


class _OrderMatching:
    """Finds a backtest's orders among those of the live run.

    The same id in the same instrument and side is the same order. Where the runs have parted it is the order
    nearest in time, within a minute, that no other has taken.
    """

    def __init__(self, record: LiveRecord) -> None:
        self._orders = record.orders
        self._found: dict[str, _LiveOrder | None] = {}
        self._free: dict[tuple[InstrumentId, Side], list[_LiveOrder]] = {}
        for order in record.orders.values():
            self._free.setdefault((order.command.instrument_id, order.command.side), []).append(order)
        self._out_ns, self._back_ns = record.median_out_ns(), record.median_back_ns()

    @property
    def matched(self) -> int:
        """Number of orders found."""
        return sum(each is not None for each in self._found.values())

    def note(self, command: VenueCommand, now_ns: int) -> None:
        """Find the live run's orders of a command that is sent now."""
        for order in orders_of(command):
            free = self._free.get((order.instrument_id, order.side), [])
            same = self._orders.get(order.client_order_id)
            if same is None or same not in free:
                near = min(free, key=lambda each: abs(each.sent_ns - now_ns), default=None)
                same = near if near is not None and abs(near.sent_ns - now_ns) <= _SAME_ORDER_NS else None
            if same is not None:
                free.remove(same)
            self._found[order.client_order_id] = same

    def of(self, client_order_id: str) -> _LiveOrder | None:
        """Return the live run's order of an order that was noted."""
        return self._found.get(client_order_id)

    def out_ns(self, command: VenueCommand) -> int:
        """Return how long a command travelled in the live run; the median without a counterpart.

        A cancel without an answer takes the time of its order, which it cannot overtake.
        """
        orders = tuple(orders_of(command))
        same = self.of(orders[0].client_order_id if orders else command.client_order_id)
        found = None if same is None else same.out_ns
        if same is not None and not orders and same.cancel_out_ns is not None:
            found = same.cancel_out_ns
        return self._out_ns if found is None else found

    def back_ns(self, event: OrderEvent) -> int:
        """Return how long an answer of this kind travelled in the live run; the median without one."""
        same = self.of(event.client_order_id)
        return self._back_ns if same is None else same.back_ns.get(type(event), self._back_ns)


class _EveryOrder(FaultPlan):
    """Sends every order through :class:`_RecordedOutcomes`."""

    def __init__(self) -> None:
        super().__init__()
        self.is_quiet = False

    def take(self, place: str, about: str = "") -> Fault | None:
        """Answer for every order that is submitted."""
        del about
        return Fault("late_ack") if place == "submit" else None


class _RecordedFees:
    """The configured schedule, and in its place the fee of an execution of the live run."""

    def __init__(self, schedule: FeeModel) -> None:
        self._schedule = schedule
        self._day: DayFees = NO_FEES
        self.per_unit: dict[str, Decimal] = {}
        """Fees of the execution that is booked now, by symbol."""

    def on(self, day: date) -> Self:
        """Take the configured schedule of a trade date."""
        self._day = self._schedule.on(day)
        return self

    def fee(
        self,
        instrument: Instrument,
        side: Side,
        quantity: Decimal,
        price: Decimal,
        *,
        order: str = "",
        so_far: FeesSoFar | None = None,
        is_maker: bool = False,
    ) -> Decimal:
        """Return the fee of one execution."""
        if instrument.symbol in self.per_unit:
            return self.per_unit[instrument.symbol] * quantity
        return self._day.fee(instrument, side, quantity, price, order=order, so_far=so_far, is_maker=is_maker)

    def free_side(self, legs: Sequence[tuple[Instrument, Side, Decimal, Decimal]]) -> Side | None:
        """Return the side of a combo that pays nothing."""
        return None if self.per_unit else self._day.free_side(legs)

    def delivery(self, instrument: Instrument, payoff: Decimal) -> Decimal:
        """Return the fee of the settlement of one option."""
        return self._day.delivery(instrument, payoff)


class _RecordedOutcomes(StagedFaults):
    """Fills and refuses orders as the live run's venue did."""

    def __init__(
        self,
        ledger: Ledger,
        matcher: Matcher,
        *,
        orders: _OrderMatching,
        terms: LiveTerms,
        fees: _RecordedFees,
    ) -> None:
        super().__init__(ledger, matcher)
        self._books, self._match, self._orders = ledger, matcher, orders
        self._numbers = count()
        self._terms, self._fees = terms, fees
        self.planned: list[tuple[int, int, Callable[[], None]]] = []
        """Executions to come: when, a number that keeps their order, and what books them."""

    def _plan(self, due_ns: int, book: Callable[[], None]) -> None:
        heapq.heappush(self.planned, (due_ns, next(self._numbers), book))

    def activate(self, order: BrokerOrder, fault: Fault | None, effect: Effect) -> None:
        """Deliver an order to the exchange, where it goes as it went in the live run."""
        del fault
        live = self._counterpart(order)
        if live is not None and live.rejected is not None and self._terms.rejects:
            order.reject_reason = live.rejected
            self._books.end(order, Status.REJECTED)
            return
        if live is None or not self._terms.fills or live.rejected is not None:
            effect(order)
            return
        self._match.held_back[order.order_id] = ZERO
        lifetime, order.lifetime = order.lifetime, TimeInForce.DAY
        effect(order)
        order.lifetime = lifetime
        self._plan_fills(order)
        if lifetime in AT_ONCE and order.is_open:
            self._books.end(order, Status.CANCELED)

    def replace(self, old: BrokerOrder, new: BrokerOrder, fault: Fault | None, effect: Swap) -> None:
        """Swap two orders; the new one goes as it went in the live run."""
        live = self._counterpart(new)
        holds = live is not None and self._terms.fills and live.rejected is None
        if holds:
            self._match.held_back[new.order_id] = ZERO
        super().replace(old, new, fault, effect)
        if holds:
            self._plan_fills(new)

    def _counterpart(self, order: BrokerOrder) -> _LiveOrder | None:
        return self._orders.of((order.legs[0] if order.legs else order).client_order_id)

    def _plan_fills(self, order: BrokerOrder) -> None:
        """Schedule the executions of the live run: each as long after the arrival as it was."""
        now_ns = self._books.now_ns
        if order.instrument_id is None:
            self._plan_combo(order)
            return
        live = self._counterpart(order)
        assert live is not None
        start_ns = live.arrived_ns or live.sent_ns
        for place, fill in enumerate(live.fills):
            is_last = place == len(live.fills) - 1 and live.filled >= live.command.quantity
            after_ns = max(fill.ts_event_ns - start_ns, 0)
            if not after_ns:
                self._fill(order, fill, is_last=is_last)
            else:
                self._plan(now_ns + after_ns, partial(self._fill, order, fill, is_last=is_last))

    def _fill(self, order: BrokerOrder, fill: OrderFilled, *, is_last: bool) -> None:
        """Book an execution; the last of an order that was filled whole fills what is left."""
        if not order.is_open or order.leaves <= ZERO:
            return
        quantity = order.leaves if is_last else min(fill.quantity, order.leaves)
        if self._terms.fees:
            assert order.instrument is not None
            self._fees.per_unit = {order.instrument.symbol: fill.fee / fill.quantity}
        self._match.fill(order, quantity, fill.price)
        self._fees.per_unit = {}

    def _plan_combo(self, combo: BrokerOrder) -> None:
        """Schedule one execution of all legs, when the last leg of the live run's order traded."""
        lives = [self._orders.of(leg.client_order_id) for leg in combo.legs]
        known = [live for live in lives if live is not None and live.fills]
        if len(known) < len(combo.legs):
            return
        units = min(live.filled // leg.ratio for live, leg in zip(known, combo.legs, strict=True))
        if not units:
            return
        start_ns = known[0].arrived_ns or known[0].sent_ns
        after_ns = max(0, *(fill.ts_event_ns - start_ns for live in known for fill in live.fills))
        done = partial(self._fill_combo, combo, known, units)
        if after_ns:
            self._plan(self._books.now_ns + after_ns, done)
        else:
            done()

    def _fill_combo(self, combo: BrokerOrder, lives: list[_LiveOrder], units: Decimal) -> None:
        units = min(units, combo.leaves)
        if not combo.is_open or units <= ZERO:
            return
        totals = [sum((fill.quantity * fill.price for fill in live.fills), ZERO) for live in lives]
        if self._terms.fees:
            self._fees.per_unit = {
                leg.instrument.symbol: sum((fill.fee for fill in live.fills), ZERO) / live.filled
                for leg, live in zip(combo.legs, lives, strict=True)
                if leg.instrument is not None
            }
        self._match.fill_legs(
            combo, units, [total / live.filled for total, live in zip(totals, lives, strict=True)]
        )
        self._fees.per_unit = {}


class Counterfactual:
    """A backtest of a live run's stream on some of its conditions.

    ``terms``: Conditions taken over; the others are those of the configuration.
    """

    def __init__(self, record: LiveRecord, terms: LiveTerms) -> None:
        header, opening = record.header, record.opening
        config = settings_from_header(header).config
        self.terms = terms
        self.orders = _OrderMatching(record)
        self.engine = engine_from_header(header)
        self.fold = RunFold.of_desk(header, self.engine.desk)
        self.trail = _DecisionTrail()
        self.paid = _PaidFees()
        self._header = header
        cash = config.simulation.starting_cash if opening is None else opening.cash
        self.engine.desk.account.cash = cash
        held = () if opening is None else opening.positions
        fees = _RecordedFees(fees_named(config.simulation.fees))
        self._broker = connect_broker(
            config,
            self.engine.desk.instruments,
            TapeHours(record.sessions),
            cash,
            {each.instrument_id: (each.quantity, each.average_price) for each in held},
            fees=fees,
            faults=_EveryOrder(),
            delays=self.orders.out_ns if terms.latency else None,
        )
        broker = self._broker.broker
        broker.actions.schedule = record.dividends
        outcomes = _RecordedOutcomes(
            broker.ledger, broker.matcher, orders=self.orders, terms=terms, fees=fees
        )
        broker.staged, self._planned = outcomes, outcomes.planned
        self._upcoming = set(record.timers)
        self._timers: dict[tuple[int, str], None] = {}
        self._timer_ns = NEVER_NS
        """Instant of the next timer that the live run's stream does not bring."""
        self._answers: list[tuple[int, int, OrderEvent]] = []
        """Answers under way to the desk, as long as they were in the live run."""
        self._answer_count = 0
        self._loss = LossTimer(self.engine.desk)
        self._has_begun = False
        self.events = 0

    def take(self, event: Event) -> None:
        """Take the next event of the live run's journal.

        An answer that arrives at the instant of another event comes where the live run's came: as its journal
        shows an answer.
        """
        now_ns = event.ts_recv_ns
        if type(event) is QuoteEvent:
            self._advance(now_ns, now_ns - 1)
            if event.instrument_id in self._broker.working:
                self._broker.on_quote(event)
            else:
                self._broker.broker.ledger.quotes[event.instrument_id] = event
            if self._feed(event):
                self._advance(now_ns, now_ns - 1)
            return
        is_answer = is_order_event(event) or type(event) is UnmatchedOrderEvent
        self._advance(now_ns, now_ns - (not is_answer))
        if not self._is_given(event):
            return
        if type(event) is TimerEvent:
            self._upcoming.discard((event.ts_event_ns, event.name))
            if (event.ts_event_ns, event.name) in self._timers:
                self._timers.pop((event.ts_event_ns, event.name))
                self._feed(event)
            self._look_ahead()
        elif type(event) is SessionEvent:
            self._begin_or_end(event)
        else:
            if type(event) is TradingHalt:
                halted = self._broker.broker.ledger.halted
                (halted.add if event.is_halted else halted.discard)(event.instrument_id)
            self._feed(event)
        self._advance(now_ns, now_ns - 1)

    def pnl(self) -> Decimal:
        """Return the P&L so far, as a run summary has it; in the desk's currency."""
        return _pnl_of(run_summary(self._header, self.engine, self.fold, self.events, 0.0))

    def _is_given(self, event: Event) -> bool:
        """Return whether an event came to the desk from outside, and not from its own orders."""
        if type(event) is AccountSnapshot:
            if self._has_begun:
                return False
            self._has_begun = True
            return True
        if type(event) is PositionChanged:
            return self.terms.fees and _is_cash_booking(event)
        if type(event) is TimerEvent:
            return event.name != LOSS_TIMER
        return not is_order_event(event) and type(event) is not UnmatchedOrderEvent

    def _begin_or_end(self, event: SessionEvent) -> None:
        now_ns, broker = event.ts_recv_ns, self._broker
        if event.phase is SessionPhase.OPEN:
            broker.open_session(now_ns, event.close_ns)
            for change in broker.take_due(now_ns):
                self._feed(change)
            self._feed(event)
            return
        broker.expire(now_ns)
        for change in broker.take_due(now_ns):
            self._receive(change)
        self._advance(now_ns, now_ns)
        self._feed(event)
        self._timers.clear()
        self._look_ahead()
        self._loss.clear()
        broker.close_session(now_ns)

    def _feed(self, event: Event) -> bool:
        """Let the engine handle an event and act on its outputs; return whether there were any."""
        self.events += 1
        self.paid.take(event)
        outputs = self.engine.handle(event)
        self.fold.see(event, outputs)
        if not outputs:
            return False
        self.trail.add(outputs)
        now_ns = event.ts_recv_ns
        for output in outputs:
            if is_command(output):
                self.orders.note(output, now_ns)
                self._broker.send(output, now_ns)
            elif type(output) is SetTimer:
                self._timers.setdefault((output.due_ns, output.name))
                self._look_ahead()
        return True

    def _look_ahead(self) -> None:
        self._timer_ns = min((key[0] for key in self._timers if key not in self._upcoming), default=NEVER_NS)

    def _receive(self, answer: AccountEvent) -> None:
        """Let the desk have what the broker reports, or send it on its way as the live run's was."""
        if not (self.terms.latency and is_order_event(answer)):
            self._feed(answer)
            return
        recv_ns = answer.ts_event_ns + self.orders.back_ns(answer)
        self._answer_count += 1
        arriving = msgspec.structs.replace(answer, ts_recv_ns=recv_ns)
        heapq.heappush(self._answers, (recv_ns, self._answer_count, arriving))

    def _advance(self, now_ns: int, answers_ns: int) -> None:
        """Let all that is due by ``now_ns`` happen, each at its own time: broker, timers, then the loss.

        Executions of the live run happen, and answers under way arrive, up to ``answers_ns``.
        """
        while True:
            broker_ns, timer_ns, loss_ns = self._broker.due_ns, self._timer_ns, self._loss.due_ns
            answer_ns = self._answers[0][0] if self._answers else NEVER_NS
            due_ns = min(broker_ns, timer_ns)
            planned_ns = self._planned[0][0] if self._planned else NEVER_NS
            if planned_ns <= answers_ns and planned_ns <= min(due_ns, answer_ns, loss_ns):
                self._broker.broker.ledger.at(planned_ns, heapq.heappop(self._planned)[2])
                for change in self._broker.take_due(planned_ns):
                    self._receive(change)
            elif answer_ns <= answers_ns and answer_ns <= min(due_ns, loss_ns):
                answer = heapq.heappop(self._answers)[2]
                at_ns = max(answer.ts_recv_ns, self.engine.now_ns)
                self._feed(msgspec.structs.replace(answer, ts_recv_ns=at_ns))
            elif loss_ns < due_ns and loss_ns <= now_ns:
                lost = self._loss.judge(loss_ns)
                if lost is not None:
                    self._feed(lost)
            elif due_ns > now_ns:
                self._loss.plan(now_ns)
                return
            elif broker_ns <= timer_ns:
                for change in self._broker.take_due(broker_ns):
                    self._receive(change)
            else:
                key = next(key for key in self._timers if key[0] == timer_ns and key not in self._upcoming)
                self._timers.pop(key)
                self._look_ahead()
                self._feed(TimerEvent(key[0], max(key[0], self.engine.now_ns), key[1]))
