"""The live loop: one queue, one consumer. Everything that happens goes through it, in order.

Venue events, timers, sessions and a person's words are journaled, handled, and what follows is on
disk before it is sent. Nothing else touches the engine.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import RetryError, ScalpdeskError, StopError
from scalpdesk.core.events import Event, OperatorEvent, OrderDoubted, QuoteEvent, SessionEvent
from scalpdesk.core.intents import CancelOrder, SubmitOrder, VenueCommand
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import Session, expiry_instant_ns
from scalpdesk.live.core import LiveCore
from scalpdesk.live.reconciler import Reconciler, Say
from scalpdesk.live.schedule import Agenda, deadline_ns, session_of
from scalpdesk.orders.order import OrderState
from scalpdesk.venues.base import Gateway, Notice, NoticeKind, VenueView

SAY_AGAIN_SECONDS = 10.0
ITEMS_A_TURN = 64
"""Items handled before other tasks of the process get a turn."""
STOPS = ("leave", "hold", "flatten")


class Pulse(Protocol):
    """The line to the watchdog."""

    def beat(self) -> None:
        """Say that the loop turns."""
        ...

    def sent(self, command: SubmitOrder) -> None:
        """Say that an order is about to leave."""
        ...

    def over(self, client_order_id: str) -> None:
        """Say that an order has ended."""
        ...


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """How a runner behaves; times in seconds.

    Parameters
    ----------
    reconcile_seconds
        Between two views of the account.
    confirm_seconds
        Between the two views that must agree on a difference.
    resolve_seconds
        Between two questions about one doubted order (grows to ten times as much).
    absent_after_seconds
        How long after a start an order of the run before may still come to be accepted: its absence
        proves nothing earlier.
    flush_seconds
        Between two group commits of what led to nothing.
    tick_seconds
        Longest time in which a due timer is not looked at.
    deadline_margin_seconds
        How long before the venue's cut-off expiring options begin to go.
    flatten_seconds
        How long a stop waits for the venue to show a flat account.
    most_waiting
        Items in the queue from which on the venue's stream waits; 1 keeps a simulated market in step.
    sessions
        Stop after so many closes; None goes on until asked.
    stop
        What is done with positions and orders at the end: ``leave``, ``hold`` or ``flatten``.
    """

    reconcile_seconds: float = 60.0
    confirm_seconds: float = 1.0
    resolve_seconds: float = 1.0
    absent_after_seconds: float = 10.0
    flush_seconds: float = 1.0
    tick_seconds: float = 0.05
    deadline_margin_seconds: float = 300.0
    flatten_seconds: float = 120.0
    most_waiting: int = 2_000
    sessions: int | None = None
    stop: str = "hold"


@dataclass(slots=True)
class Operation:
    """Something a person asks for; ``answer`` is done once it is handled."""

    action: str
    reason: str
    who: str
    answer: "asyncio.Future[dict[str, Any]] | None" = None


@dataclass(slots=True)
class Start:
    """What a run begins with.

    Parameters
    ----------
    opening
        Events that a fresh run is told first (rates, open interest, forecasts).
    is_fresh
        False when a journal was replayed.
    lapsed_stop
        True when the run before ended by an orderly stop: its halt is lifted by this start.
    who
        The person who starts.
    """

    opening: tuple[Event, ...] = ()
    is_fresh: bool = True
    lapsed_stop: bool = False
    who: str = "operator"


@dataclass(slots=True)
class _Viewed:
    view: VenueView
    why: str


@dataclass(slots=True)
class _Ended:
    why: str


@dataclass(slots=True)
class _Doubts:
    """Counts how often an order was asked about."""

    next_at: float = 0.0
    times: int = 0


Item = Event | Notice | Operation | _Viewed | _Ended


@dataclass(slots=True)
class RunnerState:
    """What a runner knows of itself, for ``status``."""

    reason: str = ""
    """Why the run ended; empty while it runs."""
    closes: int = 0
    order_events: int = 0
    last_view: VenueView | None = None
    counters: Counter[str] = field(default_factory=Counter)
    notices: deque[Notice] = field(default_factory=lambda: deque(maxlen=50))
    recovered_seconds: float | None = None


class LiveRunner:
    """Runs one desk on one gateway that is connected already.

    Parameters
    ----------
    core
        Engine, journal and timers.
    gateway
        The venue.
    clock
        Tells the desk's time when nothing arrives.
    options
        Times and the end.
    say
        Told what a person should know: a level and a sentence.
    pulse
        The line to the watchdog.
    """

    def __init__(
        self,
        core: LiveCore,
        gateway: Gateway,
        clock: Clock,
        options: RunnerOptions | None = None,
        *,
        say: Say | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        self.core = core
        self.gateway = gateway
        self.options = options or RunnerOptions()
        self.state = RunnerState()
        self.say: Say = say or (lambda _level, _text: None)
        self.reconciler = Reconciler(core, self.say)
        self.session: Session | None = None
        """The session under way or the next one, by the venue's clock."""
        self._clock = clock
        self._pulse = pulse
        self._agenda = Agenda()
        self._inbox: deque[Item] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._stopping: str | None = None
        self._ends = False
        self._doubts: dict[str, _Doubts] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._viewing = False
        self._last_view_at = 0.0
        self._last_flush_at = 0.0
        self._may_prove_absence_at = 0.0
        self._live_told: set[str] = set()
        self._said: dict[str, tuple[float, int]] = {}
        self._on_due: dict[str, Callable[[int], list[VenueCommand]]] = {
            "open": self._open_session,
            "close": self._close_session,
            "deadline": self._at_deadline,
        }

    # in -------------------------------------------------------------------------------------------

    def put(self, item: Item) -> None:
        """Add an item to the queue."""
        self._inbox.append(item)
        self._wake.set()

    async def operate(self, action: str, reason: str, who: str) -> dict[str, Any]:
        """Let a person act (``halt``, ``reduce``, ``resume``, ``flatten``); return what came of it."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.put(Operation(action, reason, who, answer))
        return await answer

    def stop(self, how: str, who: str = "operator") -> None:
        """End the run in order: ``leave`` all as it is, ``hold`` positions but no orders, ``flatten``."""
        self.put(Operation(f"stop-{how}", f"stop: {how}", who))

    # the run --------------------------------------------------------------------------------------

    async def run(self, start: Start | None = None) -> str:
        """Run until the end; return why it ended.

        Raises
        ------
        StopError
            When going on would do harm (the disk refuses, the ledger contradicts itself); working
            orders were cancelled first.
        RetryError
            When the venue does not answer at the start.
        """
        began = asyncio.get_running_loop().time()
        self._may_prove_absence_at = began + self.options.absent_after_seconds
        pump = asyncio.create_task(self._pump(), name="venue-events")
        ticker = asyncio.create_task(self._tick(), name="ticks")
        try:
            await self._begin(start or Start())
            await self._consume(lambda: self.reconciler.is_settled or self._ends)
            await self._follow_market()
            self.state.recovered_seconds = asyncio.get_running_loop().time() - began
            await self._consume(lambda: self._ends)
        except StopError as error:
            self.say("alarm", f"the desk stops: {error.what}")
            await self._cancel_everything()
            raise
        finally:
            for task in (pump, ticker, *self._tasks):
                task.cancel()
            await asyncio.gather(pump, ticker, *self._tasks, return_exceptions=True)
        return self.state.reason

    async def _begin(self, start: Start) -> None:
        """Meet the account: adopt it when the run is fresh, hold it against the journal when not."""
        self.reconciler.fills_since_ns = self._clock.now_ns() - 86_400 * NANOS_PER_SECOND
        since = None if start.is_fresh else self._replayed_since()
        view = await self.gateway.snapshot(fills_since_ns=since)
        self._last_view_at = asyncio.get_running_loop().time()
        now_ns = max(view.ts_recv_ns, self.core.engine.now_ns)
        if start.is_fresh:
            for event in (*start.opening, _at(view.as_event(), now_ns)):
                await self._send(self._feed(_at(event, now_ns)))
            if view.open_orders:
                names = ", ".join(f"{one.symbol} {one.client_order_id}" for one in view.open_orders)
                self.say("alarm", f"the account has open orders that this run did not send: {names}")
            self.reconciler.fills_since_ns = view.ts_event_ns
        else:
            await self._doubt_unproven(now_ns)
            if start.lapsed_stop and self.core.engine.desk.gate.mode == "HALTED":
                word = OperatorEvent(now_ns, now_ns, "resume", "the run goes on after its stop", start.who)
                await self._send(self._feed(word))
        self.put(_Viewed(view, "start"))

    def _replayed_since(self) -> int:
        return max(self.core.engine.now_ns - 86_400 * NANOS_PER_SECOND, 0)

    async def _doubt_unproven(self, now_ns: int) -> None:
        """Orders that were journaled and never acknowledged may have left or not: doubt them."""
        for name, order in tuple(self.core.engine.desk.orders.live.items()):
            if order.state is OrderState.PENDING_NEW and not order.venue_order_id:
                word = OrderDoubted(name, now_ns, now_ns, "the desk ended before the venue answered")
                await self._send(self._feed(word))
            elif order.state is OrderState.PENDING_CANCEL:
                # on disk before the end, perhaps never sent; a second cancel does no harm
                await self.gateway.send(CancelOrder(name))

    async def _follow_market(self) -> None:
        if self._ends:
            return
        instruments = self.core.engine.desk.instruments
        await self.gateway.subscribe([InstrumentId(number) for number in range(len(instruments))])

    async def _consume(self, until: Callable[[], bool]) -> None:
        """Handle items until a condition holds: the one consumer."""
        inbox = self._inbox
        handled = 0
        while not until():
            if not inbox:
                self._room.set()
                await self._send(self._fire(self._clock.now_ns()))
                if inbox or until():
                    continue
                self._wake.clear()
                await self._wake.wait()
                handled = 0
                continue
            commands = self._take(inbox.popleft())
            if commands:
                await self._send(commands)
                handled = 0
            handled += 1
            if handled >= ITEMS_A_TURN:
                handled = 0
                if len(inbox) < self.options.most_waiting:
                    self._room.set()
                await asyncio.sleep(0)

    async def _send(self, commands: list[VenueCommand]) -> None:
        """Hand journaled commands to the gateway and let it write them."""
        if not commands:
            return
        for command in commands:
            if self._pulse is not None and isinstance(command, SubmitOrder):
                self._pulse.sent(command)
                self._live_told.add(command.client_order_id)
            await self.gateway.send(command)
        await asyncio.sleep(0)

    def _take(self, item: Item) -> list[VenueCommand]:
        if type(item) is QuoteEvent:
            now_ns = item.ts_recv_ns
            if now_ns >= self.core.timers.due_ns or now_ns >= self._agenda.due_ns:
                return [*self._fire(now_ns), *self.core.feed(item)]
            return list(self.core.feed(item))
        if isinstance(item, Notice):
            return self._on_notice(item)
        if isinstance(item, Operation):
            return self._on_operation(item)
        if isinstance(item, _Viewed):
            return self._on_view(item)
        if isinstance(item, _Ended):
            self._end(item.why)
            return []
        fired = self._fire(item.ts_recv_ns)
        return [*fired, *self._feed(item)]

    def _feed(self, event: Event) -> list[VenueCommand]:
        """Feed anything but a quote: it may have moved the account."""
        self.state.order_events += 1
        commands = list(self.core.feed(event))
        if self._pulse is not None and self._live_told:
            live = self.core.engine.desk.orders.live
            for name in [name for name in self._live_told if name not in live]:
                self._live_told.discard(name)
                self._pulse.over(name)
        if self._stopping is not None:
            self._look_whether_done()
        return commands

    def _fire(self, now_ns: int) -> list[VenueCommand]:
        """Let everything happen that is due by ``now_ns``, each at its own time."""
        commands: list[VenueCommand] = []
        core, agenda = self.core, self._agenda
        while True:
            due_ns = min(core.timers.due_ns, agenda.due_ns)
            if due_ns > now_ns:
                return commands
            if agenda.due_ns <= core.timers.due_ns:
                due = agenda.pop(now_ns)
                if due is not None:
                    commands += self._on_due[due[0]](due[1])
            else:
                timer = core.next_timer(now_ns)
                if timer is not None:
                    commands += self._feed(timer)

    # sessions and deadlines -------------------------------------------------------------------------

    def _plan(self, view: VenueView) -> None:
        """Set the session's dates from the venue's clock."""
        found = session_of(view.clock)
        current = self.core.engine.desk.view.session
        if current is not None and view.ts_event_ns < current.close_ns:
            self._agenda.put("close", current.close_ns + 1)
            self.session = current
            return
        if current is not None:
            self._agenda.put("close", current.close_ns + 1)
        elif self.session is None or self.session.day != found.day or self.session.close_ns < found.close_ns:
            self._agenda.put("open", found.open_ns)
        self.session = found

    def _open_session(self, due_ns: int) -> list[VenueCommand]:
        session = self.session
        if session is None or self.core.engine.desk.view.session is not None:
            return []
        # whoever joins late has a session that begins with him
        del due_ns
        opens_ns = min(max(session.open_ns, self.core.engine.now_ns), session.close_ns - 1)
        self._agenda.put("close", session.close_ns + 1)  # after what happens at the close itself
        self.say("info", f"session {session.day} opens")
        commands = self._feed(
            SessionEvent(opens_ns, opens_ns, session.day.isoformat(), "open", opens_ns, session.close_ns)
        )
        self._plan_deadline()
        return commands

    def _close_session(self, due_ns: int) -> list[VenueCommand]:
        session = self.core.engine.desk.view.session
        if session is None:
            return []
        del due_ns
        at_ns = max(session.close_ns, self.core.engine.now_ns)
        self.say("info", f"session {session.day} closes")
        commands = self._feed(
            SessionEvent(
                session.close_ns, at_ns, session.day.isoformat(), "close", session.open_ns, session.close_ns
            )
        )
        self.state.closes += 1
        if self.options.sessions is not None and self.state.closes >= self.options.sessions:
            self.stop(self.options.stop, "the end of the session")
        return [*commands, *self._ask_view("session closed")]

    def _expiring(self) -> list[OptionContract]:
        """Held options whose payoff is fixed in the session under way."""
        desk = self.core.engine.desk
        session = desk.view.session
        if session is None:
            return []
        found = []
        for one in desk.positions.held():
            contract = desk.instruments[one.instrument_id]
            if isinstance(contract, OptionContract) and expiry_instant_ns(contract) <= session.close_ns:
                found.append(contract)
        return found

    def _plan_deadline(self) -> None:
        dates = [deadline_ns(one, self.options.deadline_margin_seconds) for one in self._expiring()]
        if dates and self.core.engine.desk.gate.mode in ("ACTIVE", "REDUCING"):
            self._agenda.put("deadline", min(dates))

    def _at_deadline(self, due_ns: int) -> list[VenueCommand]:
        expiring = self._expiring()
        if not expiring or self.core.engine.desk.gate.mode not in ("ACTIVE", "REDUCING"):
            return []
        names = ", ".join(one.symbol for one in expiring)
        reason = f"the venue takes no orders in expiring options much longer: {names}"
        self.say("alarm", f"deadline: {reason}")
        at_ns = max(due_ns, self.core.engine.now_ns)
        return self._feed(OperatorEvent(due_ns, at_ns, "flatten", reason, "deadline"))

    # what the gateway says of itself ------------------------------------------------------------------

    def _on_notice(self, notice: Notice) -> list[VenueCommand]:
        self.state.counters[f"{notice.kind}/{notice.stream}/{notice.name}"] += 1
        self.state.notices.append(notice)
        commands = self._fire(notice.ts_recv_ns)
        if notice.kind in (NoticeKind.DISCONNECTED, NoticeKind.LIMITED, NoticeKind.GAP):
            self._say_rarely(f"{notice.stream} {notice.kind}: {notice.name}", notice.detail)
        if notice.asks_for_reconciliation and self.reconciler.is_settled:
            commands += self._ask_view(f"{notice.stream} {notice.kind}")
        if notice.kind is NoticeKind.DEAD:
            self.say("alarm", f"the venue ended the session for good: {notice.name} {notice.detail}")
            now_ns = max(notice.ts_recv_ns, self.core.engine.now_ns)
            commands += self._feed(
                OperatorEvent(now_ns, now_ns, "halt", f"the venue ended the session: {notice.name}", "venue")
            )
        return commands

    def _say_rarely(self, what: str, detail: str) -> None:
        """Say something that may come in floods: again only after a while, with how often it came."""
        now = asyncio.get_running_loop().time()
        since, times = self._said.get(what, (-SAY_AGAIN_SECONDS, 0))
        if now - since < SAY_AGAIN_SECONDS:
            self._said[what] = since, times + 1
            return
        self._said[what] = now, 0
        again = f" ({times} times more since)" if times else ""
        self.say("warning", f"{what} {detail}{again}".rstrip())

    def _ask_view(self, why: str) -> list[VenueCommand]:
        """Ask for the account; the answer comes back through the queue."""
        if not self._viewing:
            self._viewing = True
            self._spawn(self._look(why, 0.0))
        return []

    async def _look(self, why: str, wait_seconds: float) -> None:
        try:
            if wait_seconds:
                await asyncio.sleep(wait_seconds)
            view = await self.gateway.snapshot(fills_since_ns=self.reconciler.fills_since_ns)
        except RetryError as error:
            self.state.counters["no_view"] += 1
            self.say("warning", f"the venue shows no account: {error.what}; asking again")
            self._spawn(self._look(why, 2.0))
            return
        for _ in range(3):  # what the question brought to light is in the queue before the view
            await asyncio.sleep(0)
        self._viewing = False
        self.put(_Viewed(view, why))

    def _on_view(self, item: _Viewed) -> list[VenueCommand]:
        view = item.view
        commands = self._fire(view.ts_recv_ns)
        self.state.last_view = view
        self._last_view_at = asyncio.get_running_loop().time()
        answered, ask_for, again = self.reconciler.judge(view, self.state.order_events)
        commands += answered
        for name in ask_for:
            self._doubts.setdefault(name, _Doubts())
        if again and not self._viewing:
            self._viewing = True
            self._spawn(self._look("to make sure", self.options.confirm_seconds))
        self._plan(view)
        self._plan_deadline()
        if self._stopping is not None:
            self._look_whether_done()
        return commands

    # doubts -----------------------------------------------------------------------------------------

    def _ask_about_doubts(self, now: float) -> None:
        """Ask the venue what became of each order whose state is not known."""
        live = self.core.engine.desk.orders.live
        for name, order in live.items():
            if order.state is OrderState.UNKNOWN:
                self._doubts.setdefault(name, _Doubts())
        for name in [name for name in self._doubts if name not in live]:
            del self._doubts[name]
        for name, doubt in self._doubts.items():
            if now < doubt.next_at:
                continue
            if not live[name].venue_order_id and now < self._may_prove_absence_at:
                continue
            doubt.times += 1
            doubt.next_at = now + self.options.resolve_seconds * min(doubt.times, 10)
            self._spawn(self._resolve(name))

    async def _resolve(self, client_order_id: str) -> None:
        proven = await self.gateway.resolve(client_order_id)
        if proven:
            self.state.counters["doubts_resolved"] += 1
            for _ in range(3):
                await asyncio.sleep(0)
            order = self.core.engine.desk.orders.live.get(client_order_id)
            if order is None or order.state is not OrderState.UNKNOWN:
                self._doubts.pop(client_order_id, None)
            if order is not None and not self._viewing:
                self._ask_view("doubt")

    # people -----------------------------------------------------------------------------------------

    def _on_operation(self, item: Operation) -> list[VenueCommand]:
        now_ns = max(self._clock.now_ns(), self.core.engine.now_ns)
        commands = self._fire(now_ns)
        action = item.action
        if action.startswith("stop-"):
            self._stopping = action.removeprefix("stop-")
            action = {"leave": "", "hold": "halt", "flatten": "flatten"}[self._stopping]
            if action == "flatten":
                loop = asyncio.get_running_loop()
                loop.call_later(self.options.flatten_seconds, self.put, _Ended("not flat in time"))
            elif action:
                left = _Ended("stopped; the venue has not confirmed every cancel")
                asyncio.get_running_loop().call_later(5.0, self.put, left)
        was = self.core.engine.desk.gate.mode
        if action:
            commands += self._feed(OperatorEvent(now_ns, now_ns, action, item.reason, item.who))
        mode = self.core.engine.desk.gate.mode
        if mode != was:
            self.say("warning", f"{was} to {mode}: {item.reason} ({item.who})")
        if item.answer is not None and not item.answer.done():
            cancels = sum(isinstance(one, CancelOrder) for one in commands)
            item.answer.set_result({"was": was, "mode": mode, "cancels": cancels})
        if self._stopping is not None:
            self._look_whether_done()
        return commands

    def _look_whether_done(self) -> None:
        """End a stop once what it asked for is so."""
        desk = self.core.engine.desk
        if self._stopping == "leave" or (self._stopping == "hold" and not desk.orders.live):
            self._end(f"stopped: {self._stopping}")
        elif self._stopping == "flatten" and not desk.orders.live and not desk.positions.held():
            view = self.state.last_view
            shown = view is not None and view.ts_recv_ns >= self._last_change_ns()
            if shown and view is not None and not view.open_orders and not _held(view):
                self._end("stopped: flat, and the venue shows it")
            else:
                self._ask_view("flatten")

    def _last_change_ns(self) -> int:
        """When the latest execution happened, UTC nanoseconds."""
        orders = self.core.engine.desk.orders.orders.values()
        return max((order.created_ns for order in orders), default=0)

    def _end(self, why: str) -> None:
        if not self._ends:
            self._ends = True
            self.state.reason = why
            self._wake.set()

    # the rest of the loop ---------------------------------------------------------------------------

    async def _pump(self) -> None:
        """Move what the gateway says into the queue; wait while the consumer is behind."""
        async for item in self.gateway.events():
            self.put(item)
            if len(self._inbox) >= self.options.most_waiting:
                self._room.clear()
                await self._room.wait()
        self.put(_Ended("the venue's events ended"))

    async def _tick(self) -> None:
        """Wake the consumer for timers, doubts, the group commit and the watchdog's beat."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.options.tick_seconds)
            now = loop.time()
            if self._pulse is not None:
                self._pulse.beat()
            self._ask_about_doubts(now)
            if now - self._last_view_at > self.options.reconcile_seconds:
                self._last_view_at = now
                self._ask_view("timer")
            if now - self._last_flush_at > self.options.flush_seconds:
                self._last_flush_at = now
                try:
                    self.core.journal.flush()
                except StopError as error:
                    self.say("alarm", error.what)  # the next event meets the same refusal, in the consumer
            self._wake.set()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._viewing = False
            self.state.counters["internal_fault"] += 1
            self.say("alarm", f"a task of the desk failed: {task.exception()!r}"[:300])

    async def _cancel_everything(self) -> None:
        """The journal can no longer be trusted: take all orders off the book and send nothing new."""
        for name in tuple(self.core.engine.desk.orders.live):
            try:
                await self.gateway.send(CancelOrder(name))
            except ScalpdeskError as error:
                self.say("alarm", f"cancel of {name} failed: {error.what}")
        await asyncio.sleep(0.1)


def _held(view: VenueView) -> bool:
    return any(one.quantity != Decimal(0) for one in view.positions if one.instrument_id is not None)


def _at(event: Any, now_ns: int) -> Any:
    """Return an event stamped as known now."""
    return msgspec.structs.replace(event, ts_recv_ns=now_ns)
