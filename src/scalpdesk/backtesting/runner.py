"""Feeds a tape to the engine, carries its commands to the simulated broker, journals both.

The order at one instant: what the broker reports, then timers, then a quote, then the fills that it makes at
the broker: the desk knows the quote that its order was filled at. A command goes into the journal before it
goes to the broker; so does every other output of the engine.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import Any, Protocol

import numpy as np

from scalpdesk.core.enums import SessionPhase
from scalpdesk.core.events import Event, OperatorEvent, QuoteEvent, SessionEvent, TimerEvent
from scalpdesk.core.intents import COMMANDS, AskFolder, Output, SetTimer
from scalpdesk.core.units import NANOS_PER_SECOND, NEVER_NS, InstrumentId
from scalpdesk.engine.timers import LossTimer, Timers
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.sessions import Session
from scalpdesk.journal.codec import TapeRows
from scalpdesk.marketdata.latest_quotes import InstrumentRows, LatestQuotes, SessionRows, are_options
from scalpdesk.marketdata.quotes import GOOD, judge_quote
from scalpdesk.marketdata.tape import NO_QUOTES, MarketTape, session_bars
from scalpdesk.simulation.connection import BrokerConnection
from scalpdesk.simulation.tape_reader import opening_events, quote_events, session_quotes

Watcher = Callable[[Event, tuple[Output, ...]], None]
"""Sees each event that led to outputs, after the outputs are journaled."""
Answerer = Callable[[AskFolder, int], Event]
"""Returns the answer of a strategy folder as an event of the given time (UTC nanoseconds)."""


WINDOW_ROWS, CHOSEN_ROWS, FIRST_ROWS = 4_096, 32_768, 512
"""Rows turned into events at a time where every quote is handed over, where some are, and fewest.

A window keeps conversion out of the inner loop and its events in the processor's cache. After a
window that ends early because the working orders changed, the next has the fewest rows.
"""
SKIP_FROM_A_SECOND = 4.0
"""Quote rate from which a search for the next waking quote costs less than a test of each.

A search costs as much as ten quotes; at a quote a second (the embedded market) every third quote wakes.
"""


class Journal(Protocol):
    """Takes the events and outputs of a run."""

    def add_rows(self, rows: TapeRows) -> None:
        """Add quotes of the tape by their place."""
        ...

    def flush(self) -> None:
        """Write everything pending, for a reader that follows the journal."""
        ...

    def add_event(self, event: Event) -> None:
        """Add one input of the engine."""
        ...

    def add_outputs(self, outputs: tuple[Output, ...]) -> None:
        """Add what the engine gave for the last event."""
        ...


class BacktestRunner:
    """Runs one tape through one engine and one simulated broker.

    It stays one class: which quotes are handed over follows from what is due, and what is due from the
    quotes that were.

    Parameters
    ----------
    tape, engine, broker
        The market, the engine, and the connection to the simulated broker. All use the same instrument ids.
    journal
        Log of inputs and outputs; None: no log.
    watchers
        Called with each event that led to outputs (views, recorders).
    known_at_open
        Events handed to the engine as the session opens at whose open they are stamped: the
        account's snapshot, volatility forecasts. One stamped within a session comes at that instant,
        after the quotes of it.
    answerer
        Asked for the answers of a strategy folder; they arrive at the instant of the question.
    rows_of
        Returns the quotes of a session, none of them known; None sorts the tape's.
    every_quote
        Hand every quote to the engine, also those that nothing waits for, and copy each to the journal,
        which otherwise names them by their place on the tape. The outputs are the same.
    fold
        Called with each event but the quotes that led to nothing, before the watchers.
    step_seconds
        Of market time between two steps of :meth:`steps`.
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
        *,
        rows_of: Callable[[Session], SessionRows] | None = None,
        every_quote: bool = False,
        step_seconds: float = 1.0,
        fold: Watcher | None = None,
    ) -> None:
        self._step_ns = int(step_seconds * NANOS_PER_SECOND)
        self.events = 0
        self.tape = tape
        self._engine = engine
        self.broker = broker
        self._send: Callable[[Any, int], None] = broker.send
        """Takes what is of a type in ``COMMANDS``."""
        broker.broker.play(tape)
        self.journal = journal
        self.watchers = watchers
        self._fold = fold
        self._known_at_open = known_at_open
        self._answerer = answerer
        self._rows_of = rows_of or self._sorted
        self._every_quote = every_quote
        self._names_rows = journal is not None and not every_quote
        count = len(engine.desk.instruments)
        self._all = frozenset(map(InstrumentId, range(count)))
        kept = dict.fromkeys(self._all)
        self._in_market = LatestQuotes(kept, count, valid=True)
        engine.read_quotes(self._in_market, kept)
        ledger = broker.broker.ledger
        ledger.keeps_filled = not ledger.faults.is_quiet  # a planned fault may come back to any order
        self._at_broker = LatestQuotes(ledger.quotes, count, valid=False)
        ledger.latest, ledger.sound = self._at_broker.__getitem__, self._in_market.__getitem__
        options = are_options(engine.desk.instruments)
        self._shown = frozenset(map(InstrumentId, np.flatnonzero(~options).tolist()))
        """Handed over for those who look on; one side alone of such a quote is told by its event."""
        self._is_chosen = np.zeros(count, np.bool_)
        self._working: AbstractSet[InstrumentId] = frozenset()
        self._chosen: AbstractSet[InstrumentId] = frozenset()
        self._rows = SessionRows(NO_QUOTES, np.zeros(count, np.bool_))
        self._own: dict[InstrumentId, InstrumentRows] = {}
        self._skipped_in: InstrumentId | None = None
        """The instrument whose quotes are passed over while none of them wakes the strategy."""
        self._shown_upto = self._next_yield_ns = 0
        self._day, self._digest, self._journaled = "", "", 0
        self._answers: deque[Event] = deque()
        self._timers = Timers()
        self._loss = LossTimer(engine.desk)
        self._due_ns = self._planned_ns = NEVER_NS
        """When the next of all is due, and without the loss timer, UTC nanoseconds."""
        self._until_ns = NEVER_NS
        self._advancing = False

    def run(self, until_ns: int = NEVER_NS) -> None:
        """Run all sessions to their end, or to an instant (UTC nanoseconds): then no session closes at it."""
        self._until_ns = until_ns
        for _ in self.sessions():
            pass

    def sessions(self) -> Iterator[Session]:
        """Run the sessions; yield each as it has closed."""
        self._step_ns = NEVER_NS  # no observer
        sessions = {session.close_ns: session for session in self.tape.sessions}
        for now_ns in self.steps():
            if now_ns in sessions:
                yield sessions[now_ns]

    def steps(self) -> Iterator[int]:
        """Run the sessions; yield the time after each chunk, for views and progress."""
        sessions = [session for session in self.tape.sessions if session.open_ns <= self._until_ns]
        for place, session in enumerate(sessions):
            if place:
                self._forget(sessions[place - 1].open_ns)
            yield from self._run_session(session, is_first=not place)
            yield session.close_ns

    def operate(self, event: OperatorEvent) -> None:
        """Feed a command of the operator between two steps; it is journaled as everything else."""
        self._feed(event)

    def flush_journal(self) -> None:
        """Write what is known by now to the journal, so that a dashboard sees it."""
        self._note_rows()
        if self.journal is not None:
            self.journal.flush()

    # one session --------------------------------------------------------------------------------

    def _run_session(self, session: Session, *, is_first: bool) -> Iterator[int]:
        for event in opening_events(self.tape, session, is_first=is_first):
            self._feed(event)
        for event in self._known_at_open:
            if event.ts_recv_ns == session.open_ns:
                self._feed(event)
        self._open(session)
        rows, is_cut = self._rows_of(session), self._until_ns < session.close_ns
        if is_cut:
            known = rows.columns.between(session.open_ns, self._until_ns)
            rows = SessionRows(known, are_options(self.tape.instruments))
        self._follow(rows)
        columns = self._rows.columns
        self._day, self._digest, self._journaled = session.day.isoformat(), "", 0
        self._choose()
        others: list[Event] = [*session_bars(self.tape, session), *self._known_within(session)]
        last_ns = int(columns.ts_ns[-1]) if len(columns) else 0
        # what comes after the last quote finds no market
        others = sorted(
            (event for event in others if event.ts_recv_ns <= last_ns), key=attrgetter("ts_recv_ns")
        )
        yield from self._run_rows(others)
        self._know(len(columns))
        self._advance(min(session.close_ns, self._until_ns))
        if not is_cut:
            self._close(session)
        self.events += len(columns) + len(others)

    def _forget(self, before_ns: int) -> None:
        """Let desk and broker forget the orders that were over before the last session (UTC nanoseconds).

        A run over years needs 0.8 KB less memory for each of its orders; the broker has dropped what was
        filled whole at once. Where faults are planned it may come back to an order, and all is kept.
        """
        ledger = self.broker.broker.ledger
        if not ledger.keeps_filled:
            ledger.forget(before_ns)
            self._engine.desk.forget(before_ns)

    def _sorted(self, session: Session) -> SessionRows:
        return SessionRows(session_quotes(self.tape, session), are_options(self.tape.instruments))

    def _follow(self, rows: SessionRows) -> None:
        self._engine.desk.market.leave_rows()
        self._rows, self._own = rows, {}
        self._in_market.follow(self._rows)
        self._at_broker.follow(self._rows)

    def _known_within(self, session: Session) -> list[Event]:
        return [
            event for event in self._known_at_open if session.open_ns < event.ts_recv_ns <= session.close_ns
        ]

    def _run_rows(self, others: list[Event]) -> Iterator[int]:
        """Feed a session's quotes that are waited for, and the other events among them, in order."""
        rows, engine, broker = self._rows, self._engine, self.broker
        working, kept, last = broker.working, broker.broker.ledger.quotes, len(rows)
        copies = self._every_quote
        stamps = [event.ts_recv_ns for event in others]
        before = np.searchsorted(rows.columns.ts_ns, stamps, side="right").tolist()
        low = done = 0
        size = FIRST_ROWS
        self._next_yield_ns = int(rows.columns.ts_ns[0]) + self._step_ns if last else 0
        while low < last or done < len(others) or (low := self._waited_for_again(last)) < last:
            high = min(low + size, last) if self._skipped_in is None else last
            attention_ns = min(self._due_ns, self._next_yield_ns)
            for event, upto in self._window(low, high, others, before, done):
                now_ns = event.ts_recv_ns
                acted = now_ns >= attention_ns  # only then may other orders work than before
                if acted and self._due_ns <= now_ns:
                    if self._catch_up(now_ns, upto - 1 if type(event) is QuoteEvent else upto):
                        break
                    attention_ns = min(self._due_ns, self._next_yield_ns)
                    acted = now_ns >= attention_ns
                if type(event) is QuoteEvent:
                    number = event.instrument_id
                    if working and number in working:
                        acted = True
                        rows.upto = upto - 1
                        broker.on_quote(event)
                    else:
                        kept[number] = event
                        if self._skipped_in is not None:
                            self._show(event)
                    rows.upto = upto
                    if copies and self.journal is not None:
                        self.journal.add_event(event)
                else:
                    done += 1
                    rows.upto = upto
                    if self.journal is not None:
                        self._note_rows()
                        self.journal.add_event(event)
                outputs = engine.handle(event)
                if outputs:
                    acted = True
                    self._carry(event, outputs)
                if acted:
                    self._advance(now_ns)  # the broker's answers to the quote among it
                    if now_ns >= self._next_yield_ns:
                        self._next_yield_ns = now_ns + self._step_ns
                        yield now_ns
                    if (working or self._working) and working.keys() != self._working:
                        break
                    attention_ns = min(self._due_ns, self._next_yield_ns)
            else:
                most = WINDOW_ROWS if self._chosen >= self._all else CHOSEN_ROWS
                low, size = high, min(2 * size, most)
                continue
            self._choose()
            low, size = rows.upto, FIRST_ROWS

    def _waited_for_again(self, last: int) -> int:
        """Execute events due among the last rows before the desk learns of these rows; no order awaited them.

        Return the row from which an order awaits them now; ``last`` without such an order.
        """
        if last and self._catch_up(int(self._rows.columns.ts_ns[-1]), last):
            self._choose()
            return self._rows.upto
        return last

    def _window(
        self, low: int, high: int, others: list[Event], before: list[int], done: int
    ) -> Iterable[tuple[Event, int]]:
        """Return events from row ``low`` to before ``high``, each with the number of rows known with it.

        ``before`` counts the rows ahead of each of ``others``; ``done`` of these are handed over already.
        """
        if self._skipped_in is not None:
            return self._first_wakes(self._skipped_in, others, before, done)
        columns = self._rows.columns
        known: Sequence[int]
        if self._chosen >= self._all:  # a slice costs less than rows by number
            events: list[Event] = [*quote_events(columns, slice(low, high))]
            known = range(low + 1, high + 1)
        else:
            picked = low + np.flatnonzero(self._is_chosen[columns.instrument_id[low:high]])
            events, known = [*quote_events(columns, picked)], (picked + 1).tolist()
        count = bisect_left(before, high if high < len(columns) else high + 1, done)
        if count > done:
            events, known = [*events, *others[done:count]], [*known, *before[done:count]]
            order = np.argsort(known, kind="stable").tolist()
            events, known = [events[place] for place in order], [known[place] for place in order]
        return zip(events, known, strict=True)

    def _first_wakes(
        self, number: InstrumentId, others: list[Event], before: list[int], done: int
    ) -> Iterator[tuple[Event, int]]:
        """Yield the events of :meth:`_window` for an instrument without the quotes that may be skipped.

        Each event decides where the next lies, so the search for the next begins when it was handled.
        """
        rows, trigger, own = self._rows, self._engine.trigger(number), self._own[number]
        assert trigger is not None
        places = own.rows
        at, count = bisect_left(places, rows.upto), len(own)
        stops = [*(bisect_left(places, known) for known in before), count]
        while True:
            stop, until_ns = stops[done], min(self._planned_ns, self._next_yield_ns)
            end = far = min(at + WINDOW_ROWS, stop)
            if at < far and own.known_ns(far - 1) >= until_ns:
                end = own.first_at(until_ns, at, far)
            end = own.tradable_until(at, end)
            if at < end:
                at = self._pass_over(own, at, trigger.next_row(own, at, end))
            if at == far < stop:
                continue
            if at < stop:
                row = own.row(at)
                at += 1
                self._shown_upto = own.row(at) if at < count else len(rows)
                yield rows.quote(row), row + 1
            elif done < len(others):
                done += 1
                yield others[done - 1], before[done - 1]
            else:
                return

    def _pass_over(self, own: InstrumentRows, first: int, last: int) -> int:
        """Take in an instrument's quotes from ``first`` to before ``last`` and judge the loss among them.

        Return ``last``, or the quote before which the loss is at its limit.
        """
        rows, loss, due_ns = self._rows, self._loss, self._loss.due_ns
        until_ns = min(self._planned_ns - 1, own.known_ns(last - 1)) if first < last else 0
        while due_ns <= until_ns:
            rows.upto = rows.first_at(due_ns)
            if not loss.passes(due_ns):
                last = own.first_at(due_ns, first, last)
                break
            due_ns = loss.due_ns
        self._engine.pass_over(rows, own, first, last)
        self._due_ns = min(self._planned_ns, due_ns)
        return last

    def _show(self, quote: QuoteEvent) -> None:
        """Show the broker and the market a quote that the desk receives while it skips others like it."""
        self._at_broker.show(quote, self._shown_upto)
        if judge_quote(quote.bid, quote.ask) is GOOD:
            self._in_market.show(quote, self._shown_upto)

    def _choose(self) -> None:
        """Choose the instruments whose quotes are handed over: those that something waits for.

        If exactly one instrument is watched, it is often quoted and no order works, only the quotes that its
        trigger finds.
        """
        self._working = frozenset(self.broker.working)
        self._know(self._rows.upto)
        watched = self._engine.watched
        self._skipped_in = None
        self._chosen = self._all if self._every_quote else self._shown | watched | self._working
        if len(watched) == 1 and self._chosen == watched and not (self._working or self._every_quote):
            (number,) = watched
            stamps = self._rows.columns.ts_ns
            seconds = (int(stamps[-1]) - int(stamps[0])) / NANOS_PER_SECOND if len(stamps) else 0.0
            is_dense = len(self._rows.rows_of(number, valid=False)) >= SKIP_FROM_A_SECOND * seconds
            trigger = self._engine.trigger(number)
            if is_dense and trigger is not None and trigger.skips:
                if number not in self._own:
                    self._own[number] = self._rows.only(number)
                self._skipped_in = None if self._own[number].leaps else number
        self._is_chosen[:] = False
        self._is_chosen[list(self._chosen)] = True
        whole = self._chosen if self._skipped_in is None else frozenset()
        self._in_market.hand_over(whole)
        self._at_broker.hand_over(whole)

    def _know(self, upto: int) -> None:
        """Let the engine and the broker see the rows before ``upto``, and count the imperfect among them."""
        self._rows.advance(upto, self._is_chosen, self._engine.desk.market.oddities)

    def _note_rows(self) -> None:
        """Journal the rows that are known by now."""
        upto = self._rows.upto
        if upto > self._journaled and self._names_rows and self.journal is not None:
            last = self._rows.quote(upto - 1)
            self._digest = self._digest or self._rows.columns.digest()
            self.journal.add_rows(TapeRows(self._day, self._journaled, upto, self._digest, last))
            self._journaled = upto

    def _catch_up(self, now_ns: int, limit: int) -> bool:
        """Let what is due by now happen at the first row, handed over or not, that is not before it.

        Return whether the working orders have changed: what is left waits then.
        """
        rows, loss, planned_ns = self._rows, self._loss, self._planned_ns
        while self._due_ns <= now_ns:
            row = rows.first_at(self._due_ns)
            is_skipped = row < limit
            rows.upto = row if is_skipped else limit
            until_ns = rows.ts_ns(row) if is_skipped else now_ns
            if self._due_ns < planned_ns and loss.passes(self._due_ns, until_ns):
                self._due_ns = min(planned_ns, loss.due_ns)
                continue
            self._advance(until_ns)
            if self.broker.working.keys() != self._working:
                return True
            planned_ns = self._planned_ns
        return False

    def _open(self, session: Session) -> None:
        """Open the session at the broker, with its dividends and corporate actions, then for the strategy."""
        broker, open_ns = self.broker, session.open_ns
        broker.open_session(open_ns, session.close_ns)
        for change in broker.take_due(open_ns):
            self._feed(change)
        broker.broker.expiry.check_levels()
        self._feed(_session_event(session, SessionPhase.OPEN))

    def _close(self, session: Session) -> None:
        """Settle what expires, let the strategy answer, close the session, end the day orders."""
        close_ns = session.close_ns
        self.broker.expire(close_ns)
        for change in self.broker.take_due(close_ns):
            self._feed(change)  # the strategy answers each in turn
        self._advance(close_ns)
        self._feed(_session_event(session, SessionPhase.CLOSE))
        self._timers.clear()
        self._loss.clear()
        # the strategy sleeps now: what the broker still reports is booked and provokes no order
        self.broker.close_session(close_ns)
        self._advance(close_ns)

    # events and what follows ---------------------------------------------------------------------

    def _feed(self, event: Event) -> None:
        self.events += 1
        if self.journal is not None:
            self._note_rows()
            self.journal.add_event(event)
        outputs = self._engine.handle(event)
        if outputs:
            self._carry(event, outputs)
        elif self._fold is not None and type(event) is not QuoteEvent:
            self._fold(event, outputs)

    def _carry(self, event: Event, outputs: tuple[Output, ...]) -> None:
        """Journal the outputs, then act on them."""
        if self.journal is not None:
            self._note_rows()
            self.journal.add_outputs(outputs)
        now_ns, send = event.ts_recv_ns, self._send
        for output in outputs:
            if type(output) in COMMANDS:
                send(output, now_ns)
            elif type(output) is SetTimer:
                self._timers.set(output)
            elif type(output) is AskFolder and self._answerer is not None:
                self._answers.append(self._answerer(output, now_ns))
        if self._fold is not None:
            self._fold(event, outputs)
        for watcher in self.watchers:
            watcher(event, outputs)
        if not self._advancing:
            self._advance(now_ns)

    def _advance(self, now_ns: int) -> None:
        """Let all that is due by ``now_ns`` happen, each at its own time: broker, timers, then the loss."""
        self._advancing = True  # what an answer causes waits its turn behind the answers before it
        while True:
            if self._answers:
                self._feed(self._answers.popleft())
                continue
            timer_ns, broker_ns, loss_ns = self._timers.due_ns, self.broker.due_ns, self._loss.due_ns
            due_ns = broker_ns if broker_ns <= timer_ns else timer_ns  # noqa: FURB136 - a call less
            if loss_ns < due_ns and loss_ns <= now_ns:
                lost = self._loss.judge(loss_ns)
                if lost is not None:
                    self._feed(lost)
                continue
            if due_ns > now_ns:
                self._loss.plan(now_ns)
                self._planned_ns, self._due_ns = due_ns, min(due_ns, self._loss.due_ns)
                self._advancing = False
                return
            if broker_ns <= timer_ns:
                for answer in self.broker.take_due(broker_ns):
                    self._feed(answer)
            else:
                self._feed(TimerEvent(due_ns, due_ns, self._timers.pop()[1]))


def _session_event(session: Session, phase: SessionPhase) -> SessionEvent:
    at_ns = session.open_ns if phase is SessionPhase.OPEN else session.close_ns
    return SessionEvent(at_ns, at_ns, session.day.isoformat(), phase, session.open_ns, session.close_ns)
