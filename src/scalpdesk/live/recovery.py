"""The beginning of a run: the engine rebuilt from its journal, and the first events of either kind of run.

Start and recovery are one path: a desk that starts afresh has an empty journal to replay.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from scalpdesk.core.enums import Mode, OperatorAction, OperatorCause
from scalpdesk.core.errors import InvariantError, ScalpdeskError, StopError
from scalpdesk.core.events import (
    AccountComparison,
    AccountSnapshot,
    Event,
    FailedEvent,
    ModeKept,
    OperatorEvent,
    OrderFilled,
    OrderStatusUnknown,
    QuoteEvent,
)
from scalpdesk.core.intents import Output, acts_of
from scalpdesk.core.mode import AccountMode
from scalpdesk.core.units import ZERO
from scalpdesk.core.version import BUILD
from scalpdesk.engine.replica import Replica
from scalpdesk.engine.timers import Timers
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.journal.codec import first_difference
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.core import Watcher
from scalpdesk.live.quote_watch import QuoteWatch
from scalpdesk.live.supervision import describe
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.strategies.contract import TakesOver
from scalpdesk.venues.contract import Gateway, KnownOrder, VenueView


class _EventHandler(Protocol):
    """The part of the engine that a replay calls."""

    def handle(self, event: Event) -> tuple[Output, ...]:
        """Handle one event."""
        ...


@dataclass(frozen=True, slots=True)
class _Rebuilt:
    """State that a journal gave back beside the engine's own."""

    timers: Timers
    """Timers set and not fired."""
    unwritten: tuple[Output, ...]
    """Outputs of the very last event that were never written, and so never acted on; empty otherwise. They go
    into the journal first.
    """
    events: int
    """Events replayed."""
    failed: FailedEvent | None = None
    """An event on which the engine raised, and that no change of the mode has followed yet."""
    otherwise: str = ""
    """What this build decided otherwise first, from where on the journal led; empty where nothing."""


def rebuild(reader: JournalReader, engine: _EventHandler, watch: Watcher | None = None) -> _Rebuilt:
    """Replay a journal into a fresh engine; ``watch`` sees each event with what it led to.

    What reaches the venue, and the mode, is given again; words, facts and marks may be another build's. Where
    this build decides otherwise, the journal leads from there on, and the strategy takes over at its end.
    Raises InvariantError when it decides otherwise, and the strategy cannot take over. Raises StopError when
    an event raises what ended the run. Raises JournalError when the journal is damaged.
    """
    timers = Timers()
    events = 0
    failed: FailedEvent | None = None
    has_account = False
    unwritten: tuple[Output, ...] = ()
    led = _Led(reader, engine)
    for step, journaled in reader.steps():
        led.heed((), unwritten, events)
        produced: tuple[Output, ...] = ()
        for event in step:
            led.heed((), produced, events)
            try:
                produced = led.handle(event)
            except Exception as error:
                if not isinstance(error, ScalpdeskError):
                    raise StopError(
                        f"the event at which the run ended fails again, event {events + 1}:"
                        f" {describe(error)}; nothing was sent",
                        where=str(reader.run_dir),
                        fix="correct what raised it and resume, or begin another run with --new-run: it takes"
                        " over what the account holds",
                    ) from error
                raise
            if event is step[-1] and journaled:
                led.heed(journaled, produced, events + 1)
                produced = journaled if led.is_led else produced
            timers.note(event, produced)
            if type(event) is AccountSnapshot:
                has_account = True
            elif type(event) is FailedEvent:
                if not has_account:
                    raise _never_began(event, reader.run_dir)
                failed = event
            elif type(event) is OperatorEvent and event.cause is OperatorCause.FAULT:
                failed = None
            if watch is not None:
                watch(event, produced)
            events += 1
        unwritten = () if journaled else produced
    return _Rebuilt(timers, unwritten, events, failed, led.otherwise)


class _Led:
    """An engine under recovery: the journal leads it where its strategy can take over, and refuses else."""

    def __init__(self, reader: JournalReader, engine: _EventHandler) -> None:
        self._replica: Replica | None = None
        if isinstance(engine, TradingEngine) and isinstance(engine.strategy, TakesOver):
            self._replica = Replica(engine)
        self._reader, self._engine = reader, engine
        self.otherwise = ""

    @property
    def is_led(self) -> bool:
        return self._replica is not None and self._replica.engine.is_led

    def handle(self, event: Event) -> tuple[Output, ...]:
        if self._replica is None:
            return self._engine.handle(event)
        self._replica.take(event)
        return self._replica.produced

    def heed(self, journaled: Sequence[Output], produced: Sequence[Output], events: int) -> None:
        """Compare the orders, cancels and modes of an event with the journal's."""
        if self._replica is not None:
            self._replica.heed(journaled)
        if not (journaled or produced) or acts_of(journaled) == acts_of(produced):
            return
        old, new = ([each for each in outputs if acts_of([each])] for outputs in (journaled, produced))
        where = f"event {events}: {first_difference(old, new)}"
        if self._replica is not None:
            self.otherwise = self.otherwise or where
            return
        raise InvariantError(
            "this build decides otherwise than the one that wrote the journal; nothing was sent",
            where=f"{self._reader.run_dir}, {where}",
            value=f"written by {self._reader.header.build}, this is {BUILD}",
            fix="resume with the build and configuration that wrote it, or start a new run with --new-run:"
            " it takes over what the account holds",
        )


def _never_began(event: FailedEvent, run_dir: Path) -> StopError:
    return StopError(
        f"the run failed as it took over its account: {event.why}; nothing was sent",
        where=str(run_dir),
        fix="correct what raised it, and begin another run with --new-run",
    )


def known_orders(engine: TradingEngine) -> tuple[KnownOrder, ...]:
    """Return the desk's orders for the gateway; no fill that is booked or left to the account comes again."""
    orders, quotes = engine.desk.orders, engine.desk.market.quotes
    return tuple(
        _known(
            order,
            [fill for fill in orders.left.values() if fill.client_order_id == name],
            quotes[order.submitted.instrument_id],
        )
        for name, order in orders.orders.items()
    )


def _known(order: Order, left: Sequence[OrderFilled], quote: QuoteEvent | None) -> KnownOrder:
    # the venue's own execution takes the place of what was settled without it
    settled = order.settled
    executions = {name: each for name, each in order.executions.items() if name not in settled}
    executions |= {fill.execution_id: (fill.quantity, fill.price) for fill in left}
    is_unproven = order.state is OrderState.UNKNOWN and not order.filled
    others = [each for name, each in order.executions.items() if name not in settled]
    known = [*others, *((fill.quantity, fill.price) for fill in left)]
    return KnownOrder(
        order.submitted,
        sum((quantity for quantity, _ in known), ZERO),
        sum((quantity * price for quantity, price in known), ZERO),
        order.is_live,
        "" if is_unproven else order.venue_order_id,
        order.parent_id,
        dict.fromkeys(order.busted, (ZERO, ZERO)) | executions,
        order.created_ns,
        quote,
    )


@dataclass(slots=True)
class Start:
    """Start of a run: fresh or resumed, with its first events."""

    opening: tuple[Event, ...] = ()
    """First events of a fresh run (rates, open interest, forecasts)."""
    is_fresh: bool = True
    """False when a journal was replayed."""
    kept: AccountMode | None = None
    """The mode that the account was left in, where the engine does not have it yet."""
    fault: str = ""
    """Error that ended the life before this one; empty without one."""
    halts: bool = False
    """Whether the desk trades no more after it."""

    def mode(self, now_ns: int) -> Iterator[ModeKept]:
        """Yield the event that brings the account's mode, where there is one."""
        if self.kept is not None:
            yield ModeKept(now_ns, now_ns, self.kept)

    def after_fault(self, now_ns: int, mode: Mode) -> Iterator[OperatorEvent]:
        """Yield the event that stops a desk after a fault; what flattens already goes on."""
        if self.fault:
            is_halted = self.halts and mode is not Mode.FLATTENING
            action = OperatorAction.HALT if is_halted else OperatorAction.REDUCE
            who = OperatorCause.FAULT
            yield OperatorEvent(now_ns, now_ns, action, self.fault, who.value, who)


async def quotes_of_holdings(gateway: Gateway, view: VenueView, watch: QuoteWatch) -> tuple[QuoteEvent, ...]:
    """Return the latest quotes of what the account holds, as far as they are believed.

    Those of the underlyings of options are asked for with them, and tell whether they are.

    An account is adopted at market: at the prices once paid, all that was gained or lost since would count as
    this session's, and might be taken for its daily loss. A contract that the streams never quote could be
    neither valued nor hedged nor closed without its latest quote. Raises RetryError when the venue does not
    answer.
    """
    held = [
        position.instrument_id
        for position in view.positions
        if position.instrument_id is not None and position.quantity
    ]
    instruments = watch.market.instruments
    options = (instruments[number] for number in held)
    spots = (instruments.find(each.underlying) for each in options if each.is_option)
    asked = dict.fromkeys([*held, *(number for number in spots if number is not None)])
    found = await gateway.quotes(tuple(asked)) if held else ()
    return tuple(quote for quote in watch.at_a_start(found) if quote.instrument_id in held)


def adoption(start: Start, view: VenueView, marks: tuple[QuoteEvent, ...], now_ns: int) -> Iterator[Event]:
    """Yield the first events of a new run: its mode, its market, the prices of what is held, the account."""
    yield from start.mode(now_ns)
    yield from start.after_fault(now_ns, Mode.ACTIVE if start.kept is None else start.kept.mode)
    for event in (*start.opening, *marks, view.as_event()):
        yield msgspec.structs.replace(event, ts_recv_ns=now_ns)


def doubts(engine: TradingEngine, now_ns: int) -> Iterator[Event]:
    """Yield the events that come before all others in a resumed run, whatever the venue answers.

    Nothing is sent until the account has been compared, or its positions are shown anew: the watchdog, or a
    person, may have closed meanwhile what the journal holds. Orders that were journaled and never
    acknowledged may have left or not: their status is unknown, also of those whose cancel was under way.
    """
    # as they are before the first event: a strategy that hears of one doubt may cancel the next order
    sent = [(name, order.state, order.venue_order_id) for name, order in engine.desk.orders.live.items()]
    gate = engine.desk.gate
    if gate.is_compared:
        yield AccountComparison(now_ns, now_ns, is_compared=False)
    elif engine.desk.shown is not None:  # it left by positions of before, and still says what is missing
        missing = "" if gate.desk_mode.overdue is None else gate.desk_mode.overdue.reason
        yield AccountComparison(now_ns, now_ns, is_compared=False, overdue=missing)
    for name, state, venue_order_id in sent:
        if state is not OrderState.UNKNOWN and not venue_order_id:
            yield OrderStatusUnknown(name, now_ns, now_ns, "the desk ended before the venue answered")


def continuation(engine: TradingEngine, start: Start, now_ns: int) -> Iterator[Event]:
    """Yield the events of a resumed run once the venue has shown the account.

    The mode comes first that the account was left in. After an orderly stop the desk has the mode from before
    it.
    """
    yield from start.mode(now_ns)
    yield from start.after_fault(now_ns, engine.desk.gate.kept_mode)
    if engine.desk.gate.desk_mode.stop is not None:
        yield OperatorEvent(
            now_ns,
            now_ns,
            OperatorAction.RESUME,
            "the run goes on after its stop",
            "operator",
            OperatorCause.STOP,
        )
