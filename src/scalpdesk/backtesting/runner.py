"""Feeds a tape to the engine, carries its commands to the simulated broker, journals both.

The order at one instant: what the broker reports, then timers, then a quote, then the fills that it makes at
the broker: the desk knows the quote that its order was filled at. A command goes into the journal before it
goes to the broker; so does every other output of the engine.
"""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
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
from scalpdesk.marketdata.tape import NO_QUOTES, MarketTape, session_bars
from scalpdesk.marketdata.triggers import Trigger
from scalpdesk.pricing.kernels.triggers import is_tradable, next_call
from scalpdesk.simulation.connection import BrokerConnection
from scalpdesk.simulation.tape_reader import opening_events, session_quotes

Watcher = Callable[[Event, tuple[Output, ...]], None]
"""Sees each event that led to outputs, after the outputs are journaled."""
Answerer = Callable[[AskFolder, int], Event]
"""Returns the answer of a strategy folder as an event of the given time (UTC nanoseconds)."""


_FIRST_ROWS, _MOST_ROWS = 512, 4_096
"""Fewest and most rows of a stretch in which every quote of some instrument is handed over.

Its events stay in the processor's cache. After one that ends early because the working orders changed, the
next has the fewest rows.
"""
_NONE_SPARED = 0.0, 0, math.inf, -math.inf, math.inf, 0, -1
"""Of a search in which each move counts."""
_LOSS_ROWS = 256
"""Quotes ahead among which one is looked for that brings the loss near its limit; orders move that price."""


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

    ``tape``, ``engine``, ``broker``: The market, the engine, and the connection to the simulated broker. All
    use the same instrument ids.
    ``journal``: Log of inputs and outputs; None: no log.
    ``watchers``: Called with each event that led to outputs (views, recorders).
    ``known_at_open``: Events handed to the engine as the session opens at whose open they are stamped: the
    account's snapshot, volatility forecasts. One stamped within a session comes at that instant, after the
    quotes of it.
    ``answerer``: Asked for the answers of a strategy folder; they arrive at the instant of the question.
    ``rows_of``: Returns the quotes of a session, none of them known; None sorts the tape's.
    ``every_quote``: Hand every quote to the engine, also those that nothing waits for, and copy each to the
    journal, which otherwise names them by their place on the tape. The outputs are the same.
    ``fold``: Called with each event but the quotes that led to nothing, before the watchers.
    ``step_seconds``: Of market time between two steps of :meth:`steps`.
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
        self._rows_of = rows_of or (
            lambda session: SessionRows.of(session_quotes(tape, session), self._is_option)
        )
        self._every_quote = every_quote
        self._names_rows = journal is not None and not every_quote
        market, count = engine.desk.market, len(engine.desk.instruments)
        if not every_quote:
            market.read(LatestQuotes(count, valid=True))
        ledger = broker.broker.ledger
        ledger.keeps_filled = not ledger.faults.is_quiet  # a planned fault may come back to any order
        self._at_broker = LatestQuotes(count, valid=False)
        ledger.latest, ledger.keep = self._at_broker.__getitem__, self._at_broker.__setitem__
        ledger.sound = market.quotes.__getitem__
        self._is_option = are_options(engine.desk.instruments)
        self._rows = SessionRows.of(NO_QUOTES, self._is_option)
        self._own: dict[InstrumentId, InstrumentRows] = {}
        self._searched: list[tuple[Trigger, InstrumentRows]] = []
        """Triggers that find the next of their quotes among the rows that lie ahead."""
        self._whole: AbstractSet[InstrumentId] = frozenset()
        """Instruments of which every quote is handed over, besides those of working orders."""
        self._judged: AbstractSet[InstrumentId] = frozenset()
        """No options, with quotes that the desk judges one by one."""
        self._odd: Sequence[int] = ()
        """Rows that are not tradable, of what is no option or has a trigger, ascending."""
        self._is_whole = np.zeros(count, np.bool_)
        self._size = _FIRST_ROWS
        self._next_yield_ns = 0
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
        if sessions and sessions[-1].close_ns <= self._until_ns:
            cleared_ns = self.broker.clear_night(sessions[-1].close_ns)
            for change in () if cleared_ns is None else self.broker.take_due(cleared_ns):
                self._feed(change)

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
        if not is_first:
            for change in self.broker.take_due(session.open_ns - 1):
                self._feed(change)  # what the night has cleared
        for event in opening_events(self.tape, session, is_first=is_first):
            self._feed(event)
        for event in self._known_at_open:
            if event.ts_recv_ns == session.open_ns:
                self._feed(event)
        self._open(session)
        rows, is_cut = self._rows_of(session), self._until_ns < session.close_ns
        if is_cut:
            known = rows.columns.between(session.open_ns, self._until_ns)
            rows = SessionRows.of(known, self._is_option)
        self._follow(rows)
        columns = rows.columns
        self._day, self._digest, self._journaled = session.day.isoformat(), "", 0
        last_ns = int(columns.ts_ns[-1]) if len(columns) else 0
        # what comes after the last quote finds no market
        others: list[Event] = [
            event
            for event in (*session_bars(self.tape, session), *self._known_at_open)
            if session.open_ns < event.ts_recv_ns <= last_ns
        ]
        yield from self._run_rows(sorted(others, key=attrgetter("ts_recv_ns")))
        self._advance(min(session.close_ns, self._until_ns))
        if not is_cut:
            self._close(session)
        self.events += len(columns)

    def _forget(self, before_ns: int) -> None:
        """Let desk and broker forget the orders that were over before the last session (UTC nanoseconds).

        A run over years needs 0.8 KB less memory for each of its orders; the broker has dropped what was
        filled whole at once. Where faults are planned it may come back to an order, and all is kept.
        """
        ledger = self.broker.broker.ledger
        if not ledger.keeps_filled:
            ledger.forget(before_ns)
            self._engine.desk.forget(before_ns)

    def _follow(self, rows: SessionRows) -> None:
        """Move to the rows of a session, and see which of its quotes something may wait for."""
        market, triggers = self._engine.desk.market, self._engine.triggers
        self._rows, self._own = rows, {}
        market.follow(rows)
        self._at_broker.follow(rows)
        self._searched, whole, judged = [], set[InstrumentId](), set[InstrumentId]()
        is_odd = ~self._is_option
        for number in map(InstrumentId, rows.quoted):
            trigger, is_option = triggers[number], self._is_option[number]
            if self._every_quote:
                whole.add(number)
                continue
            if is_option and trigger is None:
                continue
            own = self._rows_of_one(number)
            if not is_option and own.leaps_from(market.quotes[number]):
                judged.add(number)
            if trigger is not None:
                is_odd[number] = True
                if trigger.skips:
                    self._searched.append((trigger, own))
                else:
                    whole.add(number)
        self._whole, self._judged = whole | judged, judged
        self._odd = () if self._every_quote else rows.untradable(is_odd).tolist()
        self._size = _FIRST_ROWS

    def _run_rows(self, others: list[Event]) -> Iterator[int]:
        """Feed a session's quotes that are waited for, and the other events among them, in order."""
        rows = self._rows
        last, stamps = len(rows), [event.ts_recv_ns for event in others]
        # each comes after so many rows
        places = [*np.searchsorted(rows.columns.ts_ns, stamps, side="right").tolist(), last]
        done = 0
        self._next_yield_ns = rows.ts_ns(0) + self._step_ns if last else NEVER_NS
        while True:
            stop = places[done]
            at = min(rows.first_at(self._planned_ns), stop)
            if self._next_yield_ns < NEVER_NS:
                at = min(at, rows.first_at(self._next_yield_ns) + 1)
            is_there = self._pass(at)
            now_ns = rows.ts_ns(rows.upto - 1) if rows.upto else 0
            if now_ns >= self._next_yield_ns:
                self._next_yield_ns = now_ns + self._step_ns
                self._count_odd()
                yield now_ns
            elif not is_there:
                continue
            elif at < stop:
                self._catch_up(rows.ts_ns(at), at)
            elif done < len(others):
                event = others[done]
                if self._due_ns > event.ts_recv_ns or not self._catch_up(event.ts_recv_ns, stop):
                    done += 1
                    rows.upto = stop
                    self._feed(event)
                    self._advance(event.ts_recv_ns)
            elif not self._catch_up(now_ns, last):
                break
        self._count_odd()

    def _count_odd(self) -> None:
        """Count the imperfect quotes for the desk, which does so itself where it is told each."""
        if not self._every_quote:
            self._rows.count_odd(self._engine.desk.market.oddities)

    def _pass(self, stop: int) -> bool:
        """Let the rows up to ``stop`` be known, and hand over those that something waits for.

        Return False where it may wait for others now: fewer rows are known then.
        """
        rows = self._rows
        if rows.upto == stop:
            return True
        picked, quotes, high = self._waited_for(rows.upto, stop)
        engine, broker, searched = self._engine, self.broker, self._searched
        working, judges = broker.working, bool(self._odd or self._judged)
        known, planned_ns, looks = frozenset(working), self._planned_ns, engine.evaluations
        copies = self.journal if self._every_quote else None
        for row, quote in zip(picked, quotes, strict=True):
            now_ns = quote.ts_recv_ns
            if self._due_ns <= now_ns and self._catch_up(now_ns, row):
                return False
            is_good = not judges or self._is_good(row, quote)
            rows.upto = row + 1
            if copies is not None:
                copies.add_event(quote)
            acted = quote.instrument_id in known
            if acted:
                broker.on_quote(quote)
            if searched:
                self._take_in(quote.instrument_id, row)
            outputs = engine.handle(quote) if is_good else ()
            if outputs:
                self._carry(quote, outputs)
            elif acted:
                self._advance(now_ns)  # the broker's answers to the quote
            if (outputs or acted) and (self._planned_ns != planned_ns or working.keys() != known):
                self._size = _FIRST_ROWS
                return False
            if searched and engine.evaluations != looks:
                return False
        last_ns = rows.ts_ns(high - 1)
        if self._due_ns <= last_ns and self._catch_up(last_ns, high):
            return False
        rows.upto = high
        return high == stop

    def _waited_for(self, low: int, high: int) -> tuple[Sequence[int], Sequence[QuoteEvent], int]:
        """Return the rows from ``low`` on that something waits for, their quotes, and the stretch's end."""
        rows, working = self._rows, self.broker.working
        columns, whole = rows.columns, self._whole | working.keys() if working else self._whole
        if whole and high - low > self._size:
            high, self._size = low + self._size, min(2 * self._size, _MOST_ROWS)
        found = -1
        for trigger, own in self._searched:
            if (spared := trigger.spared) is not None and spared.row < 0:
                shown = self._engine.desk.market.rows
                row = 0 if shown is None else shown.stand_until(spared.quotes)
                trigger.spared = spared._replace(row=row)
            first, last = own.place(low), own.place(high)
            if own.learnt < first:
                trigger.learn(own, own.learnt, first)
                own.learnt = first
            until = own.tradable_until(first, last)
            at = trigger.next_row(own, first, until) if first < until else until
            if at < last:
                found = own.row(at)
                high = found + 1
        odd = self._odd[bisect_left(self._odd, low) : bisect_left(self._odd, high)] if self._odd else ()
        if len(whole) >= len(rows.quoted):
            return range(low, high), columns.quotes(slice(low, high)), high
        if not whole and not odd:
            return ((), (), high) if found < 0 else ((found,), (rows.quote(found),), high)
        self._is_whole[:] = False
        self._is_whole[list(whole)] = True
        picked = {*odd, *(low + np.flatnonzero(self._is_whole[columns.instrument_id[low:high]])).tolist()}
        each = sorted(picked | {found} if found >= 0 else picked)
        return each, columns.quotes(np.array(each, np.int64)), high

    def _is_good(self, row: int, quote: QuoteEvent) -> bool:
        """Judge a quote before its row is known; return whether the desk's triggers are asked about it."""
        number = quote.instrument_id
        if is_tradable(quote.bid, quote.ask) and number not in self._judged:
            return True
        self._rows.upto = row
        return not self._is_option[number] and self._engine.desk.market.apply_row(quote)

    def _take_in(self, number: InstrumentId, row: int) -> None:
        """Let the trigger of an instrument take in its quotes before one that is handed over."""
        for trigger, own in self._searched:
            if own.number == number:
                at = own.place(row)
                trigger.learn(own, own.learnt, at)
                own.learnt = at + 1

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

        Return whether anything did, but that the loss was found below its limit.
        """
        rows, loss, planned_ns, acted = self._rows, self._loss, self._planned_ns, False
        while self._due_ns <= now_ns:
            row = rows.first_at(self._due_ns)
            is_skipped = row < limit
            rows.upto = row if is_skipped else limit
            until_ns = rows.ts_ns(row) if is_skipped else now_ns
            if self._due_ns < planned_ns and loss.passes(self._due_ns, until_ns):
                self._rest()
                self._due_ns = min(planned_ns, loss.due_ns)
                continue
            self._advance(until_ns)
            acted = True
            if is_skipped:
                break
            planned_ns = self._planned_ns
        return acted

    def _rest(self) -> None:
        """Judge no loss before a quote at which it may be near its limit, where one price decides."""
        quiet, rows, until_ns = self._engine.desk.quiet_price(), self._rows, self._planned_ns
        if quiet is None:
            return
        number, low, high = quiet
        if number is not None:
            own = self._rows_of_one(number)
            first = own.place(rows.upto)
            last = min(first + _LOSS_ROWS, len(own))
            terms = low, high, until_ns, math.inf, -math.inf, 0.0, *_NONE_SPARED
            at, *_ = next_call(own.ts_ns, own.bid, own.ask, first, last, *terms)
            if at < len(own):
                until_ns = min(until_ns, rows.ts_ns(own.row(at)) + 1)
        self._loss.rest(until_ns)

    def _rows_of_one(self, number: InstrumentId) -> InstrumentRows:
        own = self._own.get(number)
        if own is None:
            own = self._own[number] = self._rows.only(number)
        return own

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
