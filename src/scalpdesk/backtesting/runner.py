"""Feeds a tape to the engine, carries its commands to the simulated broker, journals both.

The order at one instant: what the broker reports, then timers, then the market. A command goes into the
journal before it goes to the broker; so does every other output of the engine.
"""

from collections import deque
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, Protocol

from scalpdesk.core.enums import SessionPhase
from scalpdesk.core.events import Event, QuoteEvent, SessionEvent, TimerEvent
from scalpdesk.core.intents import COMMANDS, AskFolder, Output, SetTimer
from scalpdesk.engine.timers import Timers
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.sessions import Session
from scalpdesk.marketdata.tape import MarketTape, session_bars
from scalpdesk.simulation.connection import BrokerConnection
from scalpdesk.simulation.hours import NEVER_NS
from scalpdesk.simulation.tape_reader import opening_events, session_quotes

Watcher = Callable[[Event, tuple[Output, ...]], None]
"""Sees each event that led to outputs, after the outputs are journaled."""
Answerer = Callable[[AskFolder, int], Event]
"""Returns the answer of a strategy folder as an event of the given time (UTC nanoseconds)."""


class Journal(Protocol):
    """What the runner writes to."""

    append: Callable[[Event], None]
    """The cheapest way to add an event; whoever uses it calls :meth:`write_if_full` now and then."""

    def write_if_full(self) -> None:
        """Write what has been appended once it is a batch."""
        ...

    def add_event(self, event: Event) -> None:
        """Add one input of the engine."""
        ...

    def add_outputs(self, outputs: tuple[Output, ...]) -> None:
        """Add what the engine gave for the last event."""
        ...


class NoJournal:
    """Keeps nothing: for sweeps and benchmarks."""

    # a queue without room forgets an event in a fifth of the time of a method that does nothing
    append = add_event = add_outputs = staticmethod(deque[Any](maxlen=0).append)

    def write_if_full(self) -> None:
        """There is nothing to write."""


class BacktestRunner:
    """Runs one tape through one engine and one simulated broker.

    Parameters
    ----------
    tape, engine, broker
        The market, the engine, and the connection to the simulated broker. All use the same instrument ids.
    journal
        Log of inputs and outputs; None keeps none.
    watchers
        Called with each event that led to outputs (tallies, views).
    known_at_open
        Events handed to the engine as the session opens at whose open they are stamped: the
        account's snapshot, volatility forecasts. One stamped within a session comes at that instant,
        after the quotes of it.
    answerer
        Asked for the answers of a strategy folder; they arrive at the instant of the question.
    """

    def __init__(
        self,
        tape: MarketTape,
        engine: TradingEngine,
        broker: BrokerConnection,
        journal: Journal | None = None,
        watchers: tuple[Watcher, ...] = (),
        known_at_open: tuple[Event, ...] = (),
        answerer: Answerer | None = None,
    ) -> None:
        self.events = 0
        self._tape = tape
        self._engine = engine
        self._handle = engine.handle
        self._broker = broker
        self._send: Callable[[Any, int], None] = broker.send
        """Takes what is of a type in ``COMMANDS``."""
        broker.broker.play(tape)
        self._journal: Journal = NoJournal() if journal is None else journal
        self._watchers = watchers
        self._known_at_open = known_at_open
        self._answerer = answerer
        self._answers: deque[Event] = deque()
        self._timers = Timers()
        self._due_ns = NEVER_NS
        self._advancing = False

    def run(self) -> None:
        """Run all sessions to their end."""
        for _ in self.steps():
            pass

    def steps(self) -> Iterator[int]:
        """Run all sessions; yield the time after each chunk of the market, for views and progress."""
        for index, session in enumerate(self._tape.sessions):
            yield from self._run_session(session, is_first=index == 0)

    # one session --------------------------------------------------------------------------------

    def _run_session(self, session: Session, *, is_first: bool) -> Iterator[int]:
        for event in opening_events(self._tape, session, is_first=is_first):
            self._feed(event)
        for event in self._known_at_open:
            if event.ts_recv_ns == session.open_ns:
                self._feed(event)
        self._open(session)
        bars: list[Event] = [*session_bars(self._tape, session), *self._known_within(session)]
        bars.sort(key=attrgetter("ts_recv_ns"))
        next_bar = 0
        for quotes in session_quotes(self._tape, session):
            stop_ns = quotes[-1].ts_recv_ns
            upto = next_bar
            while upto < len(bars) and bars[upto].ts_recv_ns <= stop_ns:
                upto += 1
            batch: list[Event] = [*quotes, *bars[next_bar:upto]]
            if upto > next_bar:
                next_bar = upto
                batch.sort(key=attrgetter("ts_recv_ns"))  # stable: quotes before bars of one instant
            yield from self._run_batch(batch)
        self._advance(session.close_ns)
        self._close(session)
        yield session.close_ns

    def _known_within(self, session: Session) -> list[Event]:
        return [
            event for event in self._known_at_open if session.open_ns < event.ts_recv_ns <= session.close_ns
        ]

    def _run_batch(self, batch: list[Event]) -> Iterator[int]:
        """Feed one chunk of the market; this loop is the hot path of every backtest."""
        handle = self._handle
        append = self._journal.append
        broker = self._broker
        quotes, working = broker.quotes, broker.working
        yield_every_ns = 1_000_000_000
        next_yield_ns = batch[0].ts_recv_ns + yield_every_ns if batch else 0
        due_ns = self._due_ns  # kept at hand: it changes only below
        for event in batch:
            now_ns = event.ts_recv_ns
            if now_ns >= due_ns:
                self._advance(now_ns)
                due_ns = self._due_ns
            if type(event) is QuoteEvent:
                number = event.instrument_id
                if number in working:
                    broker.on_quote(event)
                    self._due_ns = min(self._due_ns, broker.due_ns)
                    if self._due_ns <= now_ns:
                        self._advance(now_ns)
                    due_ns = self._due_ns
                else:
                    quotes[number] = event
            append(event)
            outputs = handle(event)
            if outputs:
                self._carry(event, outputs)
                due_ns = self._due_ns
            if now_ns >= next_yield_ns:
                next_yield_ns = now_ns + yield_every_ns
                yield now_ns
                due_ns = self._due_ns
        self._journal.write_if_full()
        self.events += len(batch)

    def _open(self, session: Session) -> None:
        """Open the session at the broker, with its dividends and corporate actions, then for the strategy."""
        broker, open_ns = self._broker, session.open_ns
        broker.open_session(open_ns, session.close_ns)
        for change in broker.take_due(open_ns):
            self._feed(change)
        broker.broker.expiry.check_levels()
        self._feed(_session_event(session, SessionPhase.OPEN))

    def _close(self, session: Session) -> None:
        """Settle what expires, let the strategy answer, close the session, end the day orders."""
        close_ns = session.close_ns
        self._broker.expire(close_ns)
        for change in self._broker.take_due(close_ns):
            self._feed(change)  # the strategy answers each in turn
        self._advance(close_ns)
        self._feed(_session_event(session, SessionPhase.CLOSE))
        self._timers.clear()
        # the strategy sleeps now: what the broker still reports is booked and provokes no order
        self._broker.close_session(close_ns)
        self._advance(close_ns)

    # events and what follows ---------------------------------------------------------------------

    def _feed(self, event: Event) -> None:
        self.events += 1
        self._journal.add_event(event)
        outputs = self._handle(event)
        if outputs:
            self._carry(event, outputs)

    def _carry(self, event: Event, outputs: tuple[Output, ...]) -> None:
        """Journal the outputs, then act on them."""
        self._journal.add_outputs(outputs)
        now_ns = event.ts_recv_ns
        for output in outputs:
            if type(output) in COMMANDS:
                self._send(output, now_ns)
            elif type(output) is SetTimer:
                self._timers.set(output)
            elif type(output) is AskFolder and self._answerer is not None:
                self._answers.append(self._answerer(output, now_ns))
        for watcher in self._watchers:
            watcher(event, outputs)
        if not self._advancing:
            self._advance(now_ns)

    def _advance(self, now_ns: int) -> None:
        """Let all that is due by ``now_ns`` happen, each at its own time: broker first, then timers."""
        self._advancing = True  # what an answer causes waits its turn behind the answers before it
        while True:
            if self._answers:
                self._feed(self._answers.popleft())
                continue
            timer_ns, broker_ns = self._timers.due_ns, self._broker.due_ns
            due_ns = min(broker_ns, timer_ns)
            if due_ns > now_ns:
                self._due_ns = due_ns
                self._advancing = False
                return
            if broker_ns <= timer_ns:
                for answer in self._broker.take_due(broker_ns):
                    self._feed(answer)
            else:
                self._feed(TimerEvent(due_ns, due_ns, self._timers.pop()[1]))


def _session_event(session: Session, phase: SessionPhase) -> SessionEvent:
    at_ns = session.open_ns if phase is SessionPhase.OPEN else session.close_ns
    return SessionEvent(at_ns, at_ns, session.day.isoformat(), phase, session.open_ns, session.close_ns)
