"""The live loop: one queue, one consumer. Everything that happens goes through it, in order.

Venue events, timers, sessions and a person's words are journaled, handled, and what follows is on
disk before it is sent. Nothing else touches the engine.

The one queue of a live desk and its one consumer: items are handled one at a time, in order.

What a desk looks after many times a second, beside the events: watchdog, doubts, silence, views, disk.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import msgspec

from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import Notify, ScalpdeskError, StopError
from scalpdesk.core.events import AccountLimits, Event, OperatorEvent, QuoteEvent
from scalpdesk.core.intents import CancelOrder, SubmitOrder, VenueCommand
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.live.core import (
    STOPS,
    Ended,
    Item,
    LiveCore,
    Operation,
    Pulse,
    RunnerOptions,
    RunnerState,
    Start,
    Viewed,
)
from scalpdesk.live.reconciliation import (
    AccountQueries,
    Reconciler,
    UnknownOrders,
    adoption,
    continuation,
    quotes_of_holdings,
)
from scalpdesk.live.sessions import HOLD_SECONDS, DailyRollover, Learn, OrderlyStop, SessionCalendar
from scalpdesk.live.supervision import LogThrottle, StaleStreamMonitor, Tasks
from scalpdesk.orders.order import OrderState
from scalpdesk.venues.contract import Gateway, Notice, NoticeKind, VenueView

ITEMS_A_TURN = 64
"""Items handled before other tasks of the process get a turn."""


class Consumer:
    """Takes items out of the queue and lets what follows from each leave before the next.

    Parameters
    ----------
    take
        Handles one item; returns commands that are on disk.
    hand_over
        Hands commands to the gateway.
    when_idle
        Called when nothing waits; returns the commands of what has become due meanwhile.
    most_waiting
        Length of the queue from which on the gateway is not read.
    """

    def __init__(
        self,
        take: Callable[[Item], list[VenueCommand]],
        hand_over: Callable[[list[VenueCommand]], None],
        when_idle: Callable[[], list[VenueCommand]],
        most_waiting: int,
    ) -> None:
        self._take = take
        self._hand_over = hand_over
        self._when_idle = when_idle
        self._most_waiting = most_waiting
        self._items: deque[Item] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._is_idle = False
        """Whether the consumer waits for something to do."""
        self._at_once = 0
        """Quotes handled where they were read since the consumer's last turn."""
        self._failure: Exception | None = None

    def put(self, item: Item) -> None:
        """Add an item to the queue."""
        self._items.append(item)
        self._wake.set()

    def wake(self) -> None:
        """Let the consumer look for what has become due."""
        self._wake.set()

    def take_at_once(self, quote: QuoteEvent) -> bool:
        """Handle a quote where it was read when there is nothing else to do; say whether.

        Three turns of the event loop lie between the socket and the consumer; an order does not wait
        for them. All else goes through the queue, and a quote never overtakes what is in it.
        """
        if not self._is_idle or self._items:
            return False
        self._is_idle = False  # what follows may put something in the queue: it is not taken in here
        try:
            commands = self._take(quote)
            if commands:
                self._hand_over(commands)
        except Exception as error:  # noqa: BLE001 - whoever read the quote must go on reading; the consumer raises it
            self._failure = error
            self._wake.set()
            return True
        self._at_once += 1
        self._is_idle = self._at_once < ITEMS_A_TURN
        if commands or not self._is_idle:
            self._wake.set()
        return True

    async def consume(self, until: Callable[[], bool]) -> None:
        """Handle items until a condition holds.

        Raises
        ------
        Exception
            Whatever handling an item raised.
        """
        items = self._items
        handled = 0
        while not until():
            if not items:
                self._room.set()
                await self.send(self._when_idle())
                if items or until():
                    continue
                await self._wait()
                handled = 0
                continue
            commands = self._take(items.popleft())
            if commands:
                await self.send(commands)
                handled = 0
            handled += 1
            if handled >= ITEMS_A_TURN:
                handled = 0
                if len(items) < self._most_waiting:
                    self._room.set()
                await asyncio.sleep(0)

    async def _wait(self) -> None:
        self._wake.clear()
        self._is_idle = True
        await self._wake.wait()
        self._is_idle = False
        self._at_once = 0
        if self._failure is not None:
            raise self._failure

    async def send(self, commands: list[VenueCommand]) -> None:
        """Hand journaled commands to the gateway and let it write them."""
        if commands:
            self._hand_over(commands)
            await asyncio.sleep(0)

    async def follow(self, events: AsyncIterator[Event | Notice]) -> None:
        """Move what the gateway says into the queue; wait while the consumer is behind."""
        try:
            async for item in events:
                self.put(item)
                if len(self._items) >= self._most_waiting:
                    self._room.clear()
                    await self._room.wait()
        finally:  # a desk without events is over, however that came about
            self.put(Ended("the venue's events ended"))


class Housekeeping:
    """Goes round until it is cancelled.

    Parameters
    ----------
    core, gateway, options, pulse
        Of the runner.
    doubts, views, tasks, seldom, say
        Its parts.
    resolve
        Asks what became of an order.
    wake
        Lets the consumer look for timers that are due.
    """

    def __init__(
        self,
        core: LiveCore,
        gateway: Gateway,
        options: RunnerOptions,
        pulse: Pulse | None,
        *,
        doubts: UnknownOrders,
        views: AccountQueries,
        tasks: Tasks,
        seldom: LogThrottle,
        say: Notify,
        resolve: Callable[[str], Coroutine[Any, Any, None]],
        wake: Callable[[], None],
    ) -> None:
        self._core = core
        self._gateway = gateway
        self._options = options
        self._pulse = pulse
        self._doubts = doubts
        self._views = views
        self._tasks = tasks
        self._seldom = seldom
        self._say = say
        self._resolve = resolve
        self._wake = wake
        self._silence = StaleStreamMonitor(gateway, options.silent_seconds)
        self._last_flush_at = 0.0

    async def go(self) -> None:
        """Go round, some twenty times a second."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._options.tick_seconds)
            self.once(loop.time())

    def once(self, now: float) -> None:
        """Look after everything once; ``now`` is the event loop's time."""
        if self._pulse is not None:
            self._pulse.beat()
            if not self._pulse.is_alive:
                self._seldom.say("the watchdog is gone:", "nobody guards this desk", now)
        for name in self._doubts.due(now):
            self._tasks.spawn(self._resolve(name))
        is_open = self._core.engine.desk.view.session is not None
        for stream, seconds in self._silence.due(now, is_open=is_open):
            said = f"nothing for {seconds:.0f} s in an open session; connecting anew"
            self._seldom.say(f"{stream} silent:", said, now)
            self._tasks.spawn(self._gateway.reconnect(stream))
        if now - self._views.last_at > self._options.reconcile_seconds:
            self._views.last_at = now
            self._views.ask("timer")
        if now - self._last_flush_at > self._options.flush_seconds:
            self._last_flush_at = now
            try:
                self._core.journal.flush()
            except StopError as error:
                self._say("alarm", error.what)  # the next event meets the same refusal, in the consumer
        self._wake()


__all__ = ["STOPS", "LiveRunner", "Operation", "Pulse", "RunnerOptions", "RunnerState", "Start"]

DAY_NS = 86_400 * NANOS_PER_SECOND


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
    learn
        What a run of several days is told before each further session.
    """

    def __init__(
        self,
        core: LiveCore,
        gateway: Gateway,
        clock: Clock,
        options: RunnerOptions | None = None,
        *,
        say: Notify | None = None,
        pulse: Pulse | None = None,
        learn: Learn | None = None,
    ) -> None:
        self.core = core
        self.gateway = gateway
        self.options = options or RunnerOptions()
        self.state = RunnerState()
        self.say: Notify = say or (lambda _level, _text: None)
        self.reconciler = Reconciler(core, self.say)
        self.day = SessionCalendar(
            core.engine,
            self._feed,
            self.say,
            self.options.deadline_margin_seconds,
            self._on_close,
            self._on_morning,
        )
        self._clock = clock
        self._pulse = pulse
        self._consumer = Consumer(
            self._take, self._hand_over, lambda: self._fire(clock.now_ns()), self.options.most_waiting
        )
        self._ending = OrderlyStop(core.engine, self._ask_view)
        self._doubts = UnknownOrders(core.engine.desk.orders.live, self.options.resolve_seconds)
        self._tasks = Tasks(self._on_failure)
        self._seldom = LogThrottle(self.say)
        self._morning = DailyRollover(
            core.engine, self._ending, learn, self.put, self._tasks.spawn, self.say, rolls=self.options.rolls
        )
        self._views = AccountQueries(gateway, self.reconciler, self._tasks, self.state, self.put, self.say)
        self._rounds = Housekeeping(
            core,
            gateway,
            self.options,
            pulse,
            doubts=self._doubts,
            views=self._views,
            tasks=self._tasks,
            seldom=self._seldom,
            say=self.say,
            resolve=self._resolve,
            wake=self._consumer.wake,
        )
        self._live_told: set[str] = set()

    # in -------------------------------------------------------------------------------------------

    def put(self, item: Item) -> None:
        """Add an item to the queue."""
        self._consumer.put(item)

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
        self._doubts.may_prove_absence_at = began + self.options.absent_after_seconds
        self._tasks.spawn(self._consumer.follow(self.gateway.events()))
        self.gateway.shortcut(self._consumer.take_at_once)
        self._tasks.spawn(self._rounds.go())
        try:
            await self._begin(start or Start())
            await self._consumer.consume(lambda: self.reconciler.is_settled or self._is_over())
            await self._follow_market()
            self.state.recovered_seconds = asyncio.get_running_loop().time() - began
            await self._consumer.consume(self._is_over)
        except StopError as error:
            self.say("alarm", f"the desk stops: {error.what}")
            await self._cancel_everything()
            raise
        finally:
            self.state.reason = self._ending.reason
            self.core.inform()
            await self._tasks.end()
        return self.state.reason

    def _is_over(self) -> bool:
        return bool(self._ending.reason)

    async def _begin(self, start: Start) -> None:
        """Meet the account: adopt it when the run is fresh, hold it against the journal when not."""
        engine = self.core.engine
        since_ns = None if start.is_fresh else max(engine.now_ns - DAY_NS, 0)
        view = await self._views.first(since_ns)
        now_ns = max(view.ts_recv_ns, engine.now_ns)
        if start.is_fresh:
            self.reconciler.fills_since_ns = view.ts_event_ns
            told = adoption(start, view, await quotes_of_holdings(self.gateway, view), now_ns)
            if view.open_orders:
                names = ", ".join(f"{one.symbol} {one.client_order_id}" for one in view.open_orders)
                self.say("alarm", f"the account has open orders that this run did not send: {names}")
        else:
            self.reconciler.fills_since_ns = since_ns or 0
            self.day.has_closed = engine.desk.view.session is None
            told = continuation(engine, start, now_ns)
            for name, order in engine.desk.orders.live.items():
                if order.state is OrderState.PENDING_CANCEL:
                    # on disk before the end, perhaps never sent; a second cancel does no harm
                    self.gateway.send(CancelOrder(name))
        for event in told:
            await self._consumer.send(self._feed(event))
        self.put(Viewed(view, "start"))

    async def _follow_market(self) -> None:
        if self._is_over():
            return
        instruments = self.core.engine.desk.instruments
        await self.gateway.subscribe([InstrumentId(number) for number in range(len(instruments))])

    def _hand_over(self, commands: list[VenueCommand]) -> None:
        for command in commands:
            if self._pulse is not None and isinstance(command, SubmitOrder):
                self._pulse.sent(command)
                self._live_told.add(command.client_order_id)
            self.gateway.send(command)
        self.core.inform()

    def _take(self, item: Item) -> list[VenueCommand]:
        if type(item) is QuoteEvent:
            now_ns = item.ts_recv_ns
            if now_ns >= self.core.timers.due_ns or now_ns >= self.day.due_ns:
                return [*self._fire(now_ns), *self.core.feed(item)]
            return list(self.core.feed(item))
        if isinstance(item, Notice):
            return self._on_notice(item)
        if isinstance(item, Operation):
            return self._on_operation(item)
        if isinstance(item, Viewed):
            return self._on_view(item)
        if isinstance(item, Ended):
            self._ending.finish(item.why)
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
        self._ending.look(self.state.last_view)
        return commands

    def _fire(self, now_ns: int) -> list[VenueCommand]:
        """Let everything happen that is due by ``now_ns``, each at its own time."""
        commands: list[VenueCommand] = []
        core, day = self.core, self.day
        while True:
            due_ns = min(core.timers.due_ns, day.due_ns)
            if due_ns > now_ns:
                return commands
            if day.due_ns <= core.timers.due_ns:
                commands += day.fire(now_ns)
            else:
                timer = core.next_timer(now_ns)
                if timer is not None:
                    commands += self._feed(timer)

    def _on_close(self) -> list[VenueCommand]:
        self.state.closes += 1
        if self.options.sessions is not None and self.state.closes >= self.options.sessions:
            self.stop(self.options.stop, "the end of the session")
        return self._ask_view("session closed")

    def _on_morning(self) -> None:
        self._morning.comes(flattened_by_deadline=self.day.flattened_by_deadline)

    # what the gateway says of itself ------------------------------------------------------------------

    def _on_notice(self, notice: Notice) -> list[VenueCommand]:
        self.state.counters[f"{notice.kind}/{notice.stream}/{notice.name}"] += 1
        self.state.notices.append(notice)
        commands = self._fire(notice.ts_recv_ns)
        if notice.kind in (NoticeKind.DISCONNECTED, NoticeKind.LIMITED, NoticeKind.GAP):
            now = asyncio.get_running_loop().time()
            self._seldom.say(f"{notice.stream} {notice.kind}: {notice.name}", notice.detail, now)
        if notice.asks_for_reconciliation and self.reconciler.is_settled:
            commands += self._ask_view(f"{notice.stream} {notice.kind}")
        if notice.kind is NoticeKind.DEAD:
            self.say("alarm", f"the venue ended the session for good: {notice.name} {notice.detail}")
            now_ns = max(notice.ts_recv_ns, self.core.engine.now_ns)
            commands += self._feed(
                OperatorEvent(now_ns, now_ns, "halt", f"the venue ended the session: {notice.name}", "venue")
            )
        return commands

    def _ask_view(self, why: str) -> list[VenueCommand]:
        """Ask for the account; the answer comes back through the queue."""
        self._views.ask(why)
        return []

    def _on_view(self, item: Viewed) -> list[VenueCommand]:
        view = item.view
        commands = self._fire(view.ts_recv_ns)
        self._views.take(view)
        answered, ask_for, again = self.reconciler.judge(view, self.state.order_events)
        commands += answered
        for name in ask_for:
            self._doubts.add(name)
        if again:
            self._views.ask("to make sure", self.options.confirm_seconds)
        commands += self._note_limits(view)
        self.day.plan(view)
        self.day.plan_deadline()
        self._ending.look(self.state.last_view)
        return commands

    def _note_limits(self, view: VenueView) -> list[VenueCommand]:
        """Tell the engine what the account may do, when that has changed."""
        known = self.core.engine.desk.gate.account
        told = view.limits(max(view.ts_recv_ns, self.core.engine.now_ns))
        if told is None or (known is not None and told == _stamped_as(known, told)):
            return []
        return list(self.core.feed(told))  # no order's word: the picture of the account stays settled

    async def _resolve(self, client_order_id: str) -> None:
        if await self.gateway.query_order(client_order_id):
            self.state.counters["doubts_resolved"] += 1
            for _ in range(3):  # the proof is in the queue before the doubt is settled
                await asyncio.sleep(0)
            self._doubts.settle(client_order_id)
            if client_order_id in self.core.engine.desk.orders.live:
                self._ask_view("doubt")

    # people -----------------------------------------------------------------------------------------

    def _on_operation(self, item: Operation) -> list[VenueCommand]:
        now_ns = max(self._clock.now_ns(), self.core.engine.now_ns)
        commands = self._fire(now_ns)
        action = item.action
        self.day.flattened_by_deadline = False
        if action.startswith("stop-"):
            action = self._ending.begin(action.removeprefix("stop-"))
            loop = asyncio.get_running_loop()
            if action == "flatten":
                loop.call_later(self.options.flatten_seconds, self.put, Ended("not flat in time"))
            elif action:
                left = Ended("stopped; the venue has not confirmed every cancel")
                loop.call_later(HOLD_SECONDS, self.put, left)
        was = self.core.engine.desk.gate.mode
        if action:
            commands += self._feed(OperatorEvent(now_ns, now_ns, action, item.reason, item.who))
        mode = self.core.engine.desk.gate.mode
        if mode != was:
            self.say("warning", f"{was} to {mode}: {item.reason} ({item.who})")
        if item.answer is not None and not item.answer.done():
            cancels = sum(isinstance(one, CancelOrder) for one in commands)
            item.answer.set_result({"was": was, "mode": mode, "cancels": cancels})
        self._ending.look(self.state.last_view)
        return commands

    # the rest of the loop ---------------------------------------------------------------------------

    def _on_failure(self, error: BaseException) -> None:
        self._views.is_asking = False
        self.state.counters["internal_fault"] += 1
        self.say("alarm", f"a task of the desk failed: {error!r}"[:300])

    async def _cancel_everything(self) -> None:
        """The journal can no longer be trusted: take all orders off the book and send nothing new."""
        for name in tuple(self.core.engine.desk.orders.live):
            try:
                self.gateway.send(CancelOrder(name))
            except ScalpdeskError as error:
                self.say("alarm", f"cancel of {name} failed: {error.what}")
        await asyncio.sleep(0.1)


def _stamped_as(known: AccountLimits, told: AccountLimits) -> AccountLimits:
    return msgspec.structs.replace(known, ts_event_ns=told.ts_event_ns, ts_recv_ns=told.ts_recv_ns)
