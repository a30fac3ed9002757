"""The live loop: everything that happens goes through one queue, in order.

Venue events, timers, sessions and operator commands are journaled and handled one at a time, and what
follows from each is on disk before it is sent. Nothing else touches the engine.
"""

import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

import msgspec

from scalpdesk.core.backoff import BackOff
from scalpdesk.core.clock import Clock
from scalpdesk.core.enums import Mode, OperatorAction, OperatorCause
from scalpdesk.core.errors import FixError, Notify, RetryError, StopError
from scalpdesk.core.events import (
    AccountComparison,
    Event,
    FillBusted,
    OperatorEvent,
    OrderFilled,
    OrderNotFound,
    PositionChanged,
    QuoteEvent,
)
from scalpdesk.core.intents import CancelOrder, MultiLegOrder, SubmitOrder, VenueCommand
from scalpdesk.core.units import (
    DAY_NS,
    NANOS_PER_MS,
    NANOS_PER_SECOND,
    NEVER_NS,
    InstrumentId,
    count_text,
    number_text,
)
from scalpdesk.instruments.deadlines import ExpiryRule
from scalpdesk.instruments.fees import NO_FEES, FeeModel
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.live.account_mode import WaitingCommand
from scalpdesk.live.consumer import (
    Consumer,
    Doubted,
    Ended,
    Item,
    ItemQueue,
    LateQuotes,
    Operation,
    OperationResult,
    Overdue,
)
from scalpdesk.live.core import LiveCore
from scalpdesk.live.doubt import Testimony, making_room
from scalpdesk.live.emergency import EmergencyTrader
from scalpdesk.live.kept_options import KeptOptions
from scalpdesk.live.last_looks import LastLooks
from scalpdesk.live.leaving import LEAVE_SECONDS, OVERDUE_SECONDS, ComparisonWatch, HoldingsSeen, Leaver
from scalpdesk.live.notices import NoticeTaker
from scalpdesk.live.quote_watch import QuoteWatch
from scalpdesk.live.reconciler import (
    AccountQueries,
    Reconciler,
    UnknownOrders,
    Viewed,
    holdings_of,
    settle_queue,
    still_wanted,
)
from scalpdesk.live.recovery import Start, adoption, continuation, doubts, quotes_of_holdings
from scalpdesk.live.sessions import (
    DailyRollover,
    DailyUpdate,
    OrderlyStop,
    RunEnd,
    RunPhase,
    SessionCalendar,
    StopMode,
    calendar_clock,
)
from scalpdesk.live.supervision import (
    RESTART_ONCE,
    RESTART_TWICE,
    StaleQuoteMonitor,
    StaleStreamMonitor,
    StandstillMonitor,
    Supervisor,
    describe,
    is_fault,
)
from scalpdesk.live.told import NoticeBoard
from scalpdesk.live.watchdog import WatchdogSupervisor
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.risk.limits import check_account
from scalpdesk.venues.contract import (
    EmergencyGateway,
    Gateway,
    HoldingsView,
    JudgesQuotes,
    Notice,
    NoticeKind,
    VenueView,
)

T = TypeVar("T")
NOT_FLAT = "not flat in time"
_UNCONFIRMED = "stopped; the venue has not confirmed every cancel"
_CLEARED = "stopped: hold; the venue shows no order of the desk any more"
LOOK_SECONDS = 0.2
"""Between two looks at the orders that are cancelled at the end."""
KEPT = "the desk is starting: the command is carried out once the venue has shown the account"
_KEPT_SECONDS = 1.0
"""Time that an operator waits for a starting desk."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 10.0
"""Between two tries of a step of the start that the venue did not answer."""
_MOST_LOOKS = 5
"""Looks in a row at a start that show the same holdings, after which cash may differ between the last two."""
_SHOW_SECONDS = 4.0
"""Longest wait for the account's cash before a person's word is booked."""
_CANCEL_AGAIN_SECONDS = 2.0
"""Between two cancels of an order at the end: a venue may drop one that it took."""
_WHAT_TO_DO = (
    "Look at the venue's status page and at the account there. scalpdesk flatten closes what the venue's"
    " positions show, whatever else it does not answer"
)
_MOVES = frozenset({OrderFilled, FillBusted, PositionChanged})
"""Events that move what is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOptions:
    """Settings of a runner; times in seconds."""

    reconcile_seconds: float = 60.0
    """Between two views of the account."""
    confirm_seconds: float = 1.0
    """Between the two views that must agree on a difference."""
    resolve_seconds: float = 1.0
    """Between two queries of one unknown order (grows to ten times as much)."""
    absent_after_seconds: float = 10.0
    """Time after a start in which the venue may still accept an order of the run before; within it a missing
    order proves nothing.
    """
    silent_seconds: float = 60.0
    """Without a message from a data stream in an open session, it is reconnected; 0 never."""
    flush_seconds: float = 1.0
    """Between two group commits of events that led to nothing."""
    tick_seconds: float = 0.05
    """Longest time in which a due timer is not looked at."""
    deadline_margin_seconds: float = 300.0
    """Time before the venue's cut-off at which the desk begins to close expiring options."""
    at_expiry: ExpiryRule = ExpiryRule.CLOSE
    """Treatment of options that no strategy has left by then."""
    flatten_seconds: float = 120.0
    """Longest wait of a stop until the venue shows a flat account."""
    hold_seconds: float = 5.0
    """Longest wait of a stop until the venue confirms the cancels."""
    most_waiting: int = 2_000
    """Items in the queue from which on the venue's stream waits; 1 keeps a simulated market in step."""
    rolls: bool = False
    """End before a later session when the desk holds nothing, for a run of its own to follow."""
    sessions: int | None = None
    """Stop after so many closes; None goes on until asked."""
    stop: StopMode = StopMode.HOLD
    """Treatment of positions and orders at the end."""


@dataclass(slots=True)
class RunnerState(NoticeBoard):
    """A runner's figures for ``status``."""

    reason: str = ""
    """Why the run ended; empty while it runs."""
    end: RunEnd = RunEnd.FAILED
    """End of the run; a run without a recorded end failed."""
    open_orders: tuple[str, ...] = ()
    """Client order ids of what may still work at the venue after the end."""
    stop_asked: StopMode | None = None
    """Set as soon as a stop is asked for; a run that has just ended does not get to it."""
    closes: int = 0
    recovered_seconds: float | None = None
    leaves_as: str = ""
    """Begins the ids of the orders by which a start leaves that never saw the account: no journal has them,
    for it took over nothing. Empty for any other run.
    """


class LiveRunner:
    """Runs one desk on a gateway that is connected already."""

    def __init__(
        self,
        core: LiveCore,
        gateway: Gateway,
        clock: Clock,
        options: RunnerOptions | None = None,
        *,
        notify: Notify | None = None,
        watchdog: WatchdogSupervisor | None = None,
        daily_update: DailyUpdate | None = None,
        splits: DailyUpdate | None = None,
        fees: FeeModel = NO_FEES,
    ) -> None:
        self.core = core
        self.gateway = gateway
        self.options = options or RunnerOptions()
        self.state = RunnerState()
        self._clock = clock
        self._watchdog = watchdog
        self._notify: Notify = notify or (lambda _level, _text: None)
        self._queue = ItemQueue(self.options.most_waiting)
        self._consumer = Consumer(
            self._queue,
            take=self._take,
            hand_over=self._hand_over,
            when_idle=lambda: self._fire(clock.now_ns()),
        )
        self.supervisor = Supervisor(self._notify, self._queue.fail, self.state.counters)
        self._throttle = self.supervisor.throttle
        self.reconciler = Reconciler(core, self._notify, fees)
        self.queries = AccountQueries(
            gateway=gateway, reconciler=self.reconciler, supervisor=self.supervisor, put=self.put
        )
        self._comparison = ComparisonWatch(gateway=gateway, reconciler=self.reconciler, queries=self.queries)
        self._leaver = Leaver(
            engine=core.engine,
            gateway=gateway,
            supervisor=self.supervisor,
            put=self.put,
            notify=self._notify,
        )
        self._unknown = UnknownOrders(
            core.engine.desk.orders.live, self.options.resolve_seconds, self.options.absent_after_seconds
        )
        self._standstill = StandstillMonitor(gateway, clock, self._on_wake, self._on_set_back)
        self._notices = NoticeTaker(
            core=core,
            board=self.state,
            reconciler=self.reconciler,
            queries=self.queries,
            standstill=self._standstill,
            throttle=self._throttle,
            feed=self._feed,
            put=self.put,
            notify=self._notify_later,
        )
        core.on_refused = self._notices.event_refused
        self._stale_streams = StaleStreamMonitor(gateway, self.options.silent_seconds)
        self._stale_quotes = StaleQuoteMonitor(self.options.silent_seconds)
        self._quote_watch = QuoteWatch(core.engine.desk.market, self.options.silent_seconds)
        self._judges_quotes = True
        """Whether quotes are judged here, as the gateway brings all of them."""
        self._note_at_door: Callable[[QuoteEvent], object] = bool  # nobody holds executions to quotes
        self._stop = OrderlyStop(core.engine, self.queries.ask)
        self._rollover = DailyRollover(
            engine=core.engine,
            stop=self._stop,
            supervisor=self.supervisor,
            put=self.put,
            update=daily_update,
            splits=splits,
            rolls=self.options.rolls,
        )
        kept = KeptOptions(
            engine=core.engine,
            gateway=gateway,
            at_expiry=self.options.at_expiry,
            supervisor=self.supervisor,
            put=self.put,
            notify=self._notify,
            now_ns=clock.now_ns,
        )
        self.calendar = SessionCalendar(
            engine=core.engine,
            feed=self._feed,
            notify=self._notify,
            on_close=self._on_close,
            on_morning=self._on_morning,
            on_kept=None if self.options.at_expiry is ExpiryRule.CLOSE else kept.take,
            margin_seconds=self.options.deadline_margin_seconds,
        )
        self.has_begun = False
        """Whether the account was adopted, or the journal's is compared with it."""
        self._told_doubts: set[str] = set()
        """Orders of which an alarm has said that they are in doubt beyond their bound."""
        self._reported_orders = set(() if watchdog is None else watchdog.reported_orders)
        """Orders that the watchdog counts as live."""
        self._unanswered: set[asyncio.Future[OperationResult]] = set()
        """Answers to operator commands that are still to be carried out."""
        self._last_flush_at = 0.0
        self._leaves_at = math.inf
        """When a desk that starts leaves by the venue's positions alone, the event loop's time."""
        self._began_ns = core.engine.now_ns
        """Orders sent before are those of an earlier life of the run, UTC nanoseconds."""
        self._last_looks = LastLooks(
            engine=core.engine,
            queries=self.queries,
            confirm_seconds=self.options.confirm_seconds,
            usual=self.options.stop,
            stop=self.stop,
        )

    # in -------------------------------------------------------------------------------------------

    def put(self, item: Item) -> None:
        """Add an item to the queue."""
        self._queue.put(item)

    async def operate(self, action: str, reason: str, who: str, *, at_once: bool = False) -> OperationResult:
        """Carry out an operator command (``halt``, ``reduce``, ``resume``, ``flatten``).

        ``at_once``: A flatten waits for no comparison with the account, but closes what the positions show.

        Raises StopError for a resume while the order stream is down: a desk that hears of no fill does not
        trade. When the run ends before it gets to the command.
        """
        if self._is_over():
            raise self._too_late()
        if action == OperatorAction.RESUME and not self.gateway.health().streams.get("orders", True):
            raise StopError(
                "the desk hears nothing of its orders: the venue's order stream is down; it stays as it is",
                where="orders",
                fix="resume once status shows the stream up; when the venue has refused it for good, see to"
                " the keys, end the run (Ctrl-C) and go on with --resume",
            )
        if action == OperatorAction.RESUME and self.state.stop_asked is not None:
            raise StopError("the run is stopping", fix="go on with it by --resume, then resume the desk")
        modes = self.core.modes
        if action == OperatorAction.RESUME and modes is not None and modes.problem:
            raise StopError(
                f"a desk whose mode is not on disk is not set free: {modes.problem}",
                fix="free space or correct the rights of that folder, then resume",
            )
        answer: asyncio.Future[OperationResult] = asyncio.get_running_loop().create_future()
        self._unanswered.add(answer)
        answer.add_done_callback(self._unanswered.discard)
        if self._watchdog is not None:
            self._watchdog.flatten_asked(flatten=action == OperatorAction.FLATTEN)
        operation = Operation(action, reason, who, answer=answer, at_once=at_once)
        self._note_leaving(action == OperatorAction.FLATTEN, at_once=at_once)
        if modes is not None:  # on disk before it is acknowledged, whether it waits or not
            waiting = WaitingCommand(OperatorAction(action), reason, who, self._clock.now_ns())
            modes.waiting.append(waiting)
            modes.keep(self.core.engine.desk.gate.desk_mode.state)
            operation.waits_as = waiting
        self.put(operation)
        if self.phase is RunPhase.STARTING:
            await asyncio.wait({answer}, timeout=_KEPT_SECONDS)
            if not answer.done():
                answer.add_done_callback(asyncio.Future.exception)  # retrieved: its caller no longer waits
                mode = self.core.engine.desk.gate.kept_mode.value
                note = KEPT if modes is None or not modes.problem else f"{KEPT}; {modes.problem}"
                return OperationResult(was=mode, mode=mode, cancels=0, note=note)
        return await answer

    def _note_leaving(self, is_leaving: bool, *, at_once: bool) -> None:
        """Note whether a person wants to leave: a desk that starts then waits no longer than others."""
        loop = asyncio.get_running_loop()
        if not is_leaving:
            self._leaves_at = math.inf
        elif at_once:
            self._leaves_at = loop.time()
        else:
            self._leaves_at = min(self._leaves_at, loop.time() + LEAVE_SECONDS)

    def _too_late(self) -> StopError:
        return StopError(
            f"the run ended before it carried this out: {self._stop.reason or 'it failed'}",
            fix="scalpdesk status shows the run that follows it, where one does: give the command again",
        )

    @property
    def phase(self) -> RunPhase:
        """Whether the run starts, goes on or stops."""
        if self.state.stop_asked is not None:
            return RunPhase.STOPPING
        return RunPhase.STARTING if self.state.recovered_seconds is None else RunPhase.RUNNING

    def stop(self, mode: StopMode, who: str = "operator") -> None:
        """End the run in order."""
        self.state.stop_asked = mode
        self._note_leaving(mode is StopMode.FLATTEN, at_once=False)
        self.put(Operation(mode.action, f"stop: {mode}", who, mode))

    # the run --------------------------------------------------------------------------------------

    async def run(self, start: Start | None = None) -> str:
        """Run until the end; return why it ended.

        Raises StopError when going on would do harm: the disk refuses. Raises RetryError when the account's
        holdings changed while the desk started. Raises Exception for a fault of our own: handling an event
        raised, or supervised work failed for good. Working orders are cancelled before any error but a
        RetryError leaves.
        """
        began = asyncio.get_running_loop().time()
        self._unknown.may_prove_absence_at = began + self.options.absent_after_seconds
        self._comparison.began_at = began
        session = self.core.engine.desk.view.session
        self._quote_watch.is_in_session = session is not None and self._clock.now_ns() < session.close_ns
        self.supervisor.start(
            "the venue's event stream",
            lambda: self._queue.follow(self.gateway.events()),
            RESTART_TWICE,
            on_restart=self._stream_restarts,
        )
        self.gateway.shortcut(self._consumer.take_at_once)
        if isinstance(self.gateway, JudgesQuotes):
            self._judges_quotes = False
            self._note_at_door = self.gateway.judge_quotes(self._believes_at_door)
        self.supervisor.start("housekeeping", self._housekeeping, RESTART_ONCE)
        try:
            await self._begin(start or Start())
            await self._consumer.consume(lambda: self.reconciler.is_settled or self._is_over())
            await self._follow_market()
            if not self._is_over():
                self.state.recovered_seconds = asyncio.get_running_loop().time() - began
                if self._watchdog is not None:
                    self._watchdog.started()
            await self._consumer.consume(self._is_over)
            await self._take_orders_off()
        except (FixError, RetryError):
            raise
        except Exception as error:
            await self._cancel_everything()
            what = "a fault; its orders are cancelled" if is_fault(error) else "the desk stops"
            self._notify("alarm", f"{what}: {describe(error)}")
            raise
        finally:
            self.state.reason, self.state.end = self._stop.reason, self._stop.end
            self.core.inform_watchers()
            for answer in tuple(self._unanswered):
                if not answer.done():
                    answer.set_exception(self._too_late())
            await self.supervisor.end()
        return self.state.reason

    def _is_over(self) -> bool:
        return bool(self._stop.reason)

    async def _begin(self, start: Start) -> None:
        """Adopt the account when the run is fresh; compare it with the journal when it is resumed."""
        engine = self.core.engine
        since_ns = None if start.is_fresh else max(engine.now_ns - DAY_NS, 0)
        if start.kept is not None and start.kept.mode is Mode.FLATTENING:
            self._note_leaving(True, at_once=False)
        if not start.is_fresh:
            await self._doubt_orders()
        looked = await self._taken_over(since_ns, is_fresh=start.is_fresh)
        if looked is None and self._leaves_at <= asyncio.get_running_loop().time():
            await self._leave_without_a_start(start)
            return
        if looked is None:
            assert self.state.stop_asked is not None
            self._stop.mode = self.state.stop_asked
            end = RunEnd.NOT_FLAT if self._stop.mode is StopMode.FLATTEN else RunEnd.STOPPED
            self._stop.finish(f"stopped while starting: {self._stop.mode}", end)
            return
        view, from_ns = looked
        now_ns = max(view.ts_recv_ns, engine.now_ns)
        if start.is_fresh:
            check_account(engine.desk.gate.limits, view.account.equity, "the account's equity at the venue")
            self._note_holdings(view)
            # a venue lists what is after an instant, and may show an execution of this one only later
            self.reconciler.begin(from_ns - NANOS_PER_MS)
            marks = await quotes_of_holdings(self.gateway, view, self._quote_watch)
            quoted = {quote.instrument_id for quote in marks}
            unquoted = [held for held in view.positions if held.quantity and held.instrument_id not in quoted]
            if unquoted:
                names = ", ".join(held.symbol for held in unquoted)
                text = "valued at what was paid, neither hedged nor closed until it is quoted"
                self._notify("alarm", f"the venue has no quote of what the account holds: {names}: {text}")
            first = adoption(start, view, marks, now_ns)
            if view.open_orders:
                names = ", ".join(f"{order.symbol} {order.client_order_id}" for order in view.open_orders)
                self._notify("alarm", f"the account has open orders that this run did not send: {names}")
        else:
            self.reconciler.begin(since_ns or 0)
            self.calendar.has_closed = engine.desk.view.session is None
            first = continuation(engine, start, now_ns)
        for event in first:
            await self._consumer.send(self._feed(event))
        self._report_held()
        self.has_begun = True
        unheld = ", ".join(engine.desk.instruments[number].symbol for number in self._quote_watch.unheld())
        if unheld:
            text = "no earlier quote and no strike is known to hold its first quote against: it is believed"
            self._notify("info", f"{unheld}: {text}")
        self.put(Viewed(view, NEVER_NS if since_ns is None else since_ns))

    async def _doubt_orders(self) -> None:
        """Doubt what the venue had not answered as the run ended, before it is asked for anything."""
        engine = self.core.engine
        for name, order in engine.desk.orders.live.items():
            if order.state is OrderState.PENDING_CANCEL:
                # on disk before the end, perhaps never sent; a second cancel does no harm
                self.gateway.send(CancelOrder(name))
        for event in doubts(engine, max(self._clock.now_ns(), engine.now_ns)):
            await self._consumer.send(self._feed(event))

    async def _first_looks(self, since_ns: int | None, *, is_fresh: bool) -> tuple[VenueView, int] | None:
        """Return the account, and the venue's time since when it has been so; None when a stop was asked for.

        A fresh run takes over only what two looks agree on: a venue answers for positions and cash one after
        the other, and a trade between them is in one answer alone. Once taken over, nothing would explain it.
        """

        def gives_up() -> bool:
            return self.state.stop_asked is not None

        view = await self._insist("account", lambda: self.queries.first(since_ns), gives_up)
        if view is None or not is_fresh:
            return None if view is None else (view, view.ts_event_ns)
        least_cash, moving = self.core.engine.desk.attribution.unit, 0
        while True:
            await asyncio.sleep(self.options.confirm_seconds)
            again = None
            if not gives_up():
                again = await self._insist("account", lambda: self.queries.first(since_ns), gives_up)
            if again is None:
                return None
            moving = moving + 1 if holdings_of(view) == holdings_of(again) else 0
            is_still = moving and abs(view.account.cash - again.account.cash) <= least_cash
            if is_still or moving >= _MOST_LOOKS:  # cash alone moves on: funding accrues by the second
                return again, view.ts_event_ns
            self._throttle.warn(
                "still starting, account:",
                "two looks show different positions or cash; looking again",
                asyncio.get_running_loop().time(),
            )
            view = again

    async def _taken_over(self, since_ns: int | None, *, is_fresh: bool) -> tuple[VenueView, int] | None:
        """Return the account as :meth:`_first_looks`; None once a person wants to leave without it, too."""
        loop = asyncio.get_running_loop()
        began, is_said = loop.time(), False
        asking = asyncio.ensure_future(self._first_looks(since_ns, is_fresh=is_fresh))
        try:
            while not asking.done() and loop.time() < self._leaves_at:
                await asyncio.wait({asking}, timeout=LOOK_SECONDS)
                if not asking.done() and not is_said and loop.time() >= began + OVERDUE_SECONDS:
                    is_said = True
                    asked = self.queries.failure or ", ".join(self.gateway.waits_for()) or "account"
                    text = f"the venue does not show the account, nothing is sent: {asked}"
                    self._notify("alarm", f"{text}. {_WHAT_TO_DO}")
                    if is_fresh:
                        continue  # it took over nothing yet: its journal stays empty, and it begins anew
                    now_ns = max(self._clock.now_ns(), self.core.engine.now_ns)
                    late = AccountComparison(
                        now_ns, now_ns, is_compared=False, overdue=text, is_renewed=False
                    )
                    await self._consumer.send(self._feed(late))
            if not asking.done():
                return None
            return asking.result()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _leave_without_a_start(self, start: Start) -> None:
        """Close what the venue's positions show, though the account was never seen; the run ends with that.

        The desk has sent nothing in this life, and sends nothing: one seller is left.
        """
        desk, gateway = self.core.engine.desk, self.gateway
        if not isinstance(gateway, EmergencyGateway):
            self._stop.finish("stopped while starting: the venue does not show the account", RunEnd.NOT_FLAT)
            return
        self._notify("alarm", "the venue does not show the account: closing what its positions show")
        life = f"{os.getpid():x}{self._clock.now_ns() // NANOS_PER_SECOND:x}"
        self.state.leaves_as = f"{desk.orders.next_id.rpartition('-')[0]}-{life}"
        trader = EmergencyTrader(
            gateway=gateway,
            instruments=desk.instruments,
            name=self.state.leaves_as,
            limits=desk.gate.limits,
            log=lambda text: self._notify("info", text),
            events=self._queue.events,
            books=None
            if start.is_fresh
            else {line.instrument_id: line.quantity for line in desk.positions.held()},
        )
        live = tuple(desk.orders.live.values())
        parents = {order.client_order_id: order.parent_id for order in live if order.parent_id}
        sent = [order.submitted for order in live]
        is_flat = await self._until_stopped(trader.clear_twice(sent, flatten=True, parents=parents))
        text = "the venue shows it flat" if is_flat else "NOT flat: act by hand on the venue's own pages"
        self._notify("warning" if is_flat else "alarm", f"left without a start: {text}")
        keeps = self.state.stop_asked in (StopMode.HOLD, StopMode.LEAVE)
        end = RunEnd.STOPPED if is_flat or keeps else RunEnd.NOT_FLAT
        self._stop.finish(f"stopped while starting: {self.state.stop_asked or 'flatten'}; {text}", end)

    async def _until_stopped(self, leaving: Awaitable[bool]) -> bool:
        """Return whether all was closed: a stop ends it, one that flattens only in time."""
        loop = asyncio.get_running_loop()
        working, ends = asyncio.ensure_future(leaving), loop.time() + self.options.flatten_seconds
        try:
            while not working.done():
                await asyncio.wait({working}, timeout=LOOK_SECONDS)
                stop = self.state.stop_asked
                is_late = stop is StopMode.FLATTEN and loop.time() >= ends
                if is_late or stop in (StopMode.HOLD, StopMode.LEAVE):
                    break
            return working.done() and working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    def _note_holdings(self, view: VenueView) -> None:
        """Report what the account holds at the start; refuse what came since the run's market was loaded."""
        listed = ", ".join(str(held) for held in view.positions if held.quantity)
        if any(held.quantity and held.instrument_id is None for held in view.positions):
            raise RetryError(
                "the account's holdings changed while the desk started; nothing was sent",
                where="account",
                value=listed,
                fix="start again: a new run takes over what the account holds",
            )
        if listed:
            self._notify("info", f"taken over from the account: {listed}; a flatten closes all of it")

    async def _follow_market(self) -> None:
        """Subscribe to the quotes; whatever else comes meanwhile is handled."""
        numbers = [InstrumentId(number) for number in range(len(self.core.engine.desk.instruments))]
        subscribe = self._insist("quotes", lambda: self.gateway.subscribe(numbers), self._is_over)
        following = asyncio.ensure_future(subscribe)
        following.add_done_callback(lambda _: self._queue.wake())
        self._quote_watch.asked_at = asyncio.get_running_loop().time()
        try:
            await self._consumer.consume(lambda: following.done() or self._is_over())
        finally:
            if not following.done():
                following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            self._quote_watch.asked_at = None
        if not following.cancelled():
            following.result()

    async def _insist(
        self, what: str, ask: Callable[[], Awaitable[T]], gives_up: Callable[[], bool]
    ) -> T | None:
        """Ask the venue for a part of the start until it answers; None once ``gives_up`` says so."""
        pauses = BackOff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        while True:
            try:
                return await ask()
            except RetryError as error:
                now = asyncio.get_running_loop().time()
                why = f"{error.what} ({error.value})" if error.value else error.what
                self._throttle.warn(f"still starting, {what}:", f"{why}; asking again", now)
            await asyncio.sleep(pauses.pause())
            if gives_up():
                return None

    def _stream_restarts(self, error: BaseException) -> None:
        """Treat a failed event stream as a lost order stream: something may have been missed."""
        now_ns = max(self._clock.now_ns(), self.core.engine.now_ns)
        detail = describe(error)
        self.put(Notice(NoticeKind.DISCONNECTED, now_ns, "orders", "internal_fault", detail))
        self.put(Notice(NoticeKind.GAP, now_ns, "orders", "internal_fault", detail))

    def _hand_over(self, commands: list[VenueCommand]) -> None:
        for command in commands:
            if self._watchdog is not None:
                self._report_orders(command, self._watchdog)
            self.gateway.send(command)
        self.core.inform_watchers()

    def _report_orders(self, command: VenueCommand, watchdog: WatchdogSupervisor) -> None:
        if isinstance(command, SubmitOrder):
            watchdog.order_sent(command)
            self._reported_orders.add(command.client_order_id)
        elif isinstance(command, MultiLegOrder):
            for leg in command.legs:
                watchdog.order_sent(leg, command.client_order_id)
                self._reported_orders.add(leg.client_order_id)

    def _take(self, item: Item) -> list[VenueCommand]:
        if type(item) is QuoteEvent:
            return self._on_quote(item)
        if isinstance(item, Notice):
            times = self._notices.count(item)
            commands = self._fire(item.ts_recv_ns)
            if item.kind is not NoticeKind.TOLD:
                return [*commands, *self._notices.take(item, times)]
            return commands if self._is_over() else [*commands, *self._notices.hear(item)]
        if isinstance(item, Operation):
            return self._on_operation(item)
        if isinstance(item, Testimony | Doubted):
            return self._on_doubted() if isinstance(item, Doubted) else self._on_testimony(item)
        if isinstance(item, Viewed | HoldingsSeen | Overdue | LateQuotes):
            return self._on_look(item)
        if isinstance(item, Ended):
            is_late = item.end is RunEnd.NOT_FLAT
            self._stop.finish(item.why + (self._shown() if is_late else ""), item.end)
            return []
        commands = self._fire(item.ts_recv_ns)
        if self._is_over():
            return commands
        words = self._notices.words_on_order(item)
        if type(item) is OrderFilled:
            commands += self._make_room(item)
        elif type(item) is OrderNotFound:
            self.reconciler.absent.append(item.client_order_id)
        return [*commands, *self._feed(item), *([] if words is None else self._notices.hear(words))]

    def _on_quote(self, quote: QuoteEvent) -> list[VenueCommand]:
        now_ns = quote.ts_recv_ns
        if now_ns > self._standstill.limit_ns and self._standstill.is_late(now_ns):
            self.state.counters["quotes_passed_over"] += 1
            return self._fire(now_ns)
        late: tuple[QuoteEvent, ...] = ()
        if self._judges_quotes:
            if not self._believes(quote):
                return self._fire(now_ns)
            late = self._quote_watch.released(quote.instrument_id)
        if now_ns >= self.core.due_ns or now_ns >= self.calendar.due_ns:
            fired = self._fire(now_ns)
            if self._is_over():
                return fired
        else:
            fired = []
        return [*fired, *(command for each in (*late, quote) for command in self.core.feed(each))]

    def _believes(self, quote: QuoteEvent) -> bool:
        if self._quote_watch.believes(quote, asyncio.get_running_loop().time()):
            return True
        self.state.counters["quotes_not_believed"] += 1
        return False

    def _believes_at_door(self, quote: QuoteEvent) -> bool:
        """Judge a quote for the gateway; those that have waited for it come first."""
        is_believed = self._believes(quote)
        if is_believed and self._quote_watch.waiting:
            self._release(quote.instrument_id)
        return is_believed

    def _release(self, number: InstrumentId | None = None) -> None:
        late = self._quote_watch.released(number)
        if late:
            for quote in late:
                self._note_at_door(quote)
            self.put(LateQuotes(late))

    def _make_room(self, fill: OrderFilled) -> list[VenueCommand]:
        """Take back what was settled without the venue, where its own execution comes after all."""
        desk = self.core.engine.desk
        order = desk.orders.orders.get(fill.client_order_id)
        if order is None or not order.settled:
            return []
        booked = {name: desk.positions.booking(f"{fill.client_order_id}/{name}") for name in order.settled}
        fees = {name: -trade.income for name, trade in booked.items() if trade is not None}
        return [command for event in making_room(order, fill, fees) for command in self._feed(event)]

    def _shown(self) -> str:
        """Return what the venue showed last of the account, in words."""
        view = self.queries.latest
        held = [] if view is None else [str(held) for held in view.positions if held.quantity]
        return f": the venue shows {', '.join(held)}" if held else ""

    def _feed(self, event: Event) -> list[VenueCommand]:
        """Feed anything but a quote: it may have moved the account."""
        commands = list(self.core.feed(event))
        if type(event) in _MOVES:  # a look at the account may come late
            orders = self.core.engine.desk.orders.orders
            self._leaver.note_move(orders.get(event.client_order_id) if type(event) is OrderFilled else None)
            self._report_held()
            self.calendar.plan_deadline()
        if self._watchdog is not None and self._reported_orders:
            live = self.core.engine.desk.orders.live
            for name in [name for name in self._reported_orders if name not in live]:
                self._reported_orders.discard(name)
                self._watchdog.order_ended(name)
        self._stop.check(self.queries.latest)
        return commands

    def _report_held(self) -> None:
        """Tell the watchdog what the run holds."""
        if self._watchdog is not None:
            desk = self.core.engine.desk
            held = desk.positions.held()
            self._watchdog.holds(
                {desk.instruments[each.instrument_id].symbol: each.quantity for each in held}
            )

    def _fire(self, now_ns: int) -> list[VenueCommand]:
        """Carry out everything that is due by ``now_ns``, each at its own time; nothing once the run is over.

        A process that slept through the morning finds the end of its run and the next open due at once.
        """
        commands: list[VenueCommand] = []
        core, calendar = self.core, self.calendar
        while not self._is_over() and min(core.due_ns, calendar.due_ns) <= now_ns:
            if calendar.due_ns <= core.due_ns:
                commands += calendar.fire(now_ns)
            else:
                timer = core.next_timer(now_ns)
                if timer is not None:
                    commands += self._feed(timer)
        return commands

    def _on_close(self) -> list[VenueCommand]:
        self.state.closes += 1
        if self.options.sessions is not None and self.state.closes >= self.options.sessions:
            self.calendar.is_at_end = True
            self._last_looks.begin()
        else:
            self.queries.ask()
            self._rollover.learn_splits()
        return []

    def _on_morning(self) -> None:
        if not self._last_looks.are_due:  # else the run is at its end: no session follows
            self._rollover.before_open()

    def _notify_later(self, level: str, text: str) -> None:
        """Notify the operator once the commands of the event under way have been handed over."""
        asyncio.get_running_loop().call_soon(self._notify, level, text)

    # notices and views of the venue ---------------------------------------------------------------

    def _on_look(self, item: Viewed | HoldingsSeen | Overdue | LateQuotes) -> list[VenueCommand]:
        if isinstance(item, Viewed):
            return self._on_view(item)
        if isinstance(item, LateQuotes):
            return [command for quote in item.quotes for command in self.core.feed(quote)]
        return self._on_holdings(item) if isinstance(item, HoldingsSeen) else self._on_overdue()

    def _on_view(self, viewed: Viewed) -> list[VenueCommand]:
        view = viewed.view
        commands = self._fire(view.ts_recv_ns)
        # it was asked for before the account was adopted, or before the connection was back
        if view.ts_event_ns < self.reconciler.begins_ns or viewed.asked_at < self.reconciler.doubted_at:
            self.queries.ask(self.options.confirm_seconds)
            return commands
        now, due_at = asyncio.get_running_loop().time(), self._comparison.due_at()
        self.queries.take(view)
        self.reconciler.overdue = self._unknown.overdue(now)
        verdict = self.reconciler.judge(view, viewed.since_ns, asked_at=viewed.asked_at, now=now)
        self._comparison.looked(due_at, now)
        commands += verdict.commands
        for name in verdict.query:
            self._unknown.add(name)
        unwanted, self.reconciler.unwanted = self.reconciler.unwanted, ()
        for venue_order_id in unwanted:
            self.supervisor.spawn(f"the cancel of {venue_order_id}", self._cancel_at_venue(venue_order_id))
        if verdict.look_again:
            self.queries.ask(self.options.confirm_seconds)
        self._last_looks.looked(is_equal=not verdict.look_again)
        commands += self._note_limits(view)
        if not self.reconciler.is_open:
            commands += self._note_strange_units(view)
        self.calendar.plan(view.clock, view.ts_event_ns)
        self._stop.check(view)
        return commands

    def _note_strange_units(self, view: VenueView) -> list[VenueCommand]:
        """Let a flatten close what the venue shows while its units differ from the book's without a cause."""
        desk = self.core.engine.desk
        now_ns = max(view.ts_recv_ns, self.core.engine.now_ns)
        if not desk.gate.is_compared:
            return []
        if self.reconciler.has_strange_units:
            listed = self._leaver.differing(HoldingsView.of(view), asyncio.get_running_loop().time())
            if listed is None:
                return []
            shown = listed.as_event(now_ns)
            units = {line.instrument_id: line.quantity for line in shown.positions}
            is_known = desk.shown is not None and units == {each: n for each, n in desk.shown.items() if n}
            return [] if is_known else self._feed(shown)
        self._leaver.agrees()
        if desk.shown is None:
            return []
        overdue = desk.gate.desk_mode.overdue
        reason = "" if overdue is None else overdue.reason
        return self._feed(AccountComparison(now_ns, now_ns, is_compared=True, overdue=reason))

    async def _cancel_at_venue(self, venue_order_id: str) -> None:
        """Cancel an order that goes by another one's name; the next look at the account tells what came."""
        if not isinstance(self.gateway, EmergencyGateway):
            return
        is_taken = await self.gateway.cancel_at_venue(venue_order_id)
        done = "is cancelled" if is_taken else "could not be cancelled, and is tried again"
        self._notify("alarm", f"an order that nobody wants is open at the venue: {venue_order_id} {done}")
        self.queries.ask(self.options.confirm_seconds)

    def _note_limits(self, view: VenueView) -> list[VenueCommand]:
        """Feed the account's limits to the engine when they have changed; first that it has been compared."""
        gate = self.core.engine.desk.gate
        now_ns = max(view.ts_recv_ns, self.core.engine.now_ns)
        commands: list[VenueCommand] = []
        now = asyncio.get_running_loop().time()
        overdue, quotes = gate.desk_mode.overdue, self._quotes_overdue(now)
        if not gate.is_compared or (overdue is not None and not quotes):
            # a resumed run, or a connection that was lost: nothing is sent until then
            if not self.reconciler.is_settled or self._comparison.seconds(now) >= OVERDUE_SECONDS:
                return []
            compared = AccountComparison(view.ts_event_ns, now_ns, is_compared=True, overdue=quotes)
            commands += self.core.feed(compared)
        if overdue is not None and not quotes:
            seconds = (now_ns - overdue.since_ns) / NANOS_PER_SECOND
            text = f"the comparison with the venue's account has come, {seconds:.0f} s after the alarm"
            self._notify_later("warning", f"{text}; the desk is {gate.kept_mode}")
        known, limits = gate.venue_limits, view.limits(now_ns)
        if limits is None:
            return commands
        stamps = {"ts_event_ns": limits.ts_event_ns, "ts_recv_ns": limits.ts_recv_ns}
        if known is not None and limits == msgspec.structs.replace(known, **stamps):
            return commands
        return [*commands, *self.core.feed(limits)]

    def _overdue(self, now: float) -> str:
        """Return what is overdue, in words: the comparison or the quotes; empty when nothing is."""
        if self._comparison.seconds(now) >= OVERDUE_SECONDS:
            return f"the comparison with the venue's account is overdue: {self._comparison.why(now)}"
        return self._quotes_overdue(now)

    def _quotes_overdue(self, now: float) -> str:
        asked_at = self._quote_watch.asked_at
        if asked_at is not None and now - asked_at >= OVERDUE_SECONDS:
            return "quotes: the venue does not open their stream"
        return self._quote_watch.trouble

    def _on_overdue(self) -> list[VenueCommand]:
        """Reduce, with an alarm, while the comparison or the quotes are overdue; go on once they come."""
        now = asyncio.get_running_loop().time()
        gate, reason = self.core.engine.desk.gate, self._overdue(now)
        known = gate.desk_mode.overdue
        if not self.has_begun or bool(reason) is (known is not None) or not (reason or gate.is_compared):
            return []
        now_ns = max(self._clock.now_ns(), self.core.engine.now_ns)
        late = AccountComparison(
            now_ns, now_ns, is_compared=gate.is_compared, overdue=reason, is_renewed=False
        )
        if not reason:
            commands = self._feed(late)
            self._notify_later("warning", f"what was overdue has come; the desk is {gate.kept_mode}")
            return list(commands)
        sends = "hedges and exits go out" if gate.is_compared else "nothing is sent until it comes"
        self._notify_later("alarm", f"{reason}; {sends}. {_WHAT_TO_DO}")
        return self._feed(late)

    def _on_holdings(self, seen: HoldingsSeen) -> list[VenueCommand]:
        """Leave by the venue's positions: the comparison has not come in time."""
        desk, view, now = self.core.engine.desk, seen.view, asyncio.get_running_loop().time()
        now_ns = max(view.ts_recv_ns, self.core.engine.now_ns)
        commands = self._fire(now_ns)
        if self._is_over() or desk.gate.is_compared or not self._leaver.believes(seen, now):
            return commands
        if desk.view.session is None:
            is_coin = any(item.is_perpetual for item in desk.instruments)
            clock = view.clock or calendar_clock(now_ns, is_coin=is_coin)
            self.calendar.plan(clock, view.ts_event_ns)
            commands += self._fire(now_ns)
        commands += self._feed(self._leaver.lines(view).as_event(now_ns))
        self._stop.check_left(view, self._comparison.why(now))
        return commands

    def _on_wake(self, seconds: float, streams: tuple[str, ...]) -> None:
        text = f"the process stood still, or the clock was set forward, for {seconds:.0f} s"
        if streams:
            text += "; quotes from before are passed over, the data streams reconnect"
        self._notify("warning", text)
        for stream in streams:
            self.supervisor.spawn(f"the reconnection of {stream}", self.gateway.reconnect(stream))

    def _on_set_back(self, seconds: float) -> None:
        text = "the desk goes on with the time that passes; set it right, or end the run and start again"
        self._notify("alarm", f"the machine's clock was set back by {seconds:.0f} s: {text}")

    async def _resolve(self, client_order_id: str) -> None:
        order = self.core.engine.desk.orders.live.get(client_order_id)
        again = None if order is None else still_wanted(self.core.engine, order, self._began_ns)
        if await self.gateway.query_order(client_order_id, again):
            self.state.counters["doubts_resolved"] += 1
            await settle_queue()
            self._unknown.settle(client_order_id)
            if client_order_id in self.core.engine.desk.orders.live:
                self.queries.ask()

    # operator commands ----------------------------------------------------------------------------

    def _on_operation(self, item: Operation) -> list[VenueCommand]:
        now_ns = max(self._clock.now_ns(), self.core.engine.now_ns)
        commands = self._fire(now_ns)
        if self._is_over():  # it rolled: the mode of this run is not that of the next
            return commands
        if item.stop is not None:
            self._stop.mode = item.stop
            self._bound_stop(item.stop)
        gate, modes = self.core.engine.desk.gate, self.core.modes
        was = gate.kept_mode
        if modes is not None and item.waits_as is not None:
            modes.waiting.remove(item.waits_as)
        if item.action:
            cause = OperatorCause.PERSON if item.stop is None else OperatorCause.STOP
            commands += self._feed(
                OperatorEvent(now_ns, now_ns, OperatorAction(item.action), item.reason, item.who, cause)
            )
        if item.at_once:
            self._leaver.is_at_once = True
        if item.stop is StopMode.FLATTEN and self.calendar.is_at_end:
            self.calendar.is_at_end = False  # closing needs a session, where the market has another at once
            self.queries.ask()
        mode = gate.kept_mode
        if mode != was:
            self._notify_later("warning", f"{was} to {mode}: {item.reason} ({item.who})")
        if item.answer is not None and not item.answer.done():
            cancels = sum(isinstance(command, CancelOrder) for command in commands)
            result = OperationResult(was=was.value, mode=mode.value, cancels=cancels)
            if modes is not None and modes.problem:
                result["note"] = f"{was} to {mode}; {modes.problem}"
            item.answer.set_result(result)
        self._stop.check(self.queries.latest)
        return commands

    def _bound_stop(self, mode: StopMode) -> None:
        """End the run when a stop is not complete in time."""
        loop = asyncio.get_running_loop()
        if mode is StopMode.FLATTEN:
            loop.call_later(self.options.flatten_seconds, self.put, Ended(NOT_FLAT, RunEnd.NOT_FLAT))
        elif mode is StopMode.HOLD:
            loop.call_later(self.options.hold_seconds, self.put, Ended(_UNCONFIRMED, RunEnd.UNCONFIRMED))

    # a person's word on an order --------------------------------------------------------------------

    async def settle(
        self, order: str, filled: Decimal, price: Decimal | None, fee: Decimal | None, reason: str, who: str
    ) -> dict[str, str]:
        """Book what a person saw at the broker of an order in doubt; return what became of it.

        ``order``: Its id, or the end of it.
        ``filled``: Quantity filled of what is open, 0 where nothing was, or it never arrived.

        Raises StopError when the order is not in doubt, or the words cannot be true of it.
        """
        if self._is_over():
            raise self._too_late()
        if not self.has_begun:
            raise StopError(
                "the desk is starting and asks the venue for its orders first",
                fix="give the command again in a few seconds",
            )
        cash: Decimal | None = None
        if fee is None and filled:
            with suppress(RetryError, TimeoutError):
                async with asyncio.timeout(_SHOW_SECONDS):
                    cash = (await self.gateway.snapshot()).account.cash
        answer: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self.put(Testimony(order, filled, price, fee, reason, who, answer, cash))
        return await answer

    def _on_testimony(self, item: Testimony) -> list[VenueCommand]:
        now_ns = max(self._clock.now_ns(), self.core.engine.now_ns)
        commands = self._fire(now_ns)
        desk = self.core.engine.desk
        try:
            order = self._in_doubt(item.order)
            events = item.events(order, self.reconciler.market, desk.cash(), now_ns)
        except StopError as error:
            item.answer.set_exception(error)
            return commands
        for event in events:
            commands += self._feed(event)
        name, symbol = order.client_order_id, desk.instruments[order.submitted.instrument_id].symbol
        self._notify_later("warning", f"order {name} in {symbol} settled by {item.who}: {item.reason}")
        result = {"order": name, "state": order.state.value, "filled": number_text(order.filled)}
        item.answer.set_result(result | {"average": number_text(order.average_price)})
        self.queries.ask_anew()
        return commands

    def _in_doubt(self, wanted: str) -> Order:
        """Return the order that is meant; refuse one that is not in doubt."""
        orders, doubtful = self.core.engine.desk.orders, self._unknown.doubts()
        named = ", ".join(doubtful) or "none is in doubt"
        found = [orders.orders[wanted]] if wanted in orders.orders else []
        found = found or [order for name, order in orders.orders.items() if wanted and name.endswith(wanted)]
        if len(found) != 1:
            what = "more than one order goes" if found else "no order goes"
            raise StopError(
                f"{what} by {wanted}", where="ORDER", fix=f"name one that is in doubt by its id: {named}"
            )
        if found[0].client_order_id not in doubtful:
            state = found[0].state.value
            raise StopError(
                f"order {found[0].client_order_id} is not in doubt: it is {state}",
                where="ORDER",
                fix=f"a person's word counts only where the venue gives none; in doubt: {named}",
            )
        return found[0]

    def _on_doubted(self) -> list[VenueCommand]:
        """Reduce, with an alarm, once orders are in doubt beyond their bound; look at the account anew."""
        overdue = self._unknown.overdue(asyncio.get_running_loop().time())
        new = [name for name in overdue if name not in self._told_doubts]
        self._told_doubts = set(overdue)
        if not new:
            return []
        seconds = self._unknown.doubts()
        for name in new:
            self._notify_later("alarm", f"in doubt: {self._doubt_text(name, seconds[name])}")
        self.queries.ask()
        if not self.core.engine.desk.gate.desk_mode.state.is_free:
            return []
        now_ns, who = max(self._clock.now_ns(), self.core.engine.now_ns), OperatorCause.RECONCILIATION
        reason = f"the venue does not say what became of {', '.join(new)}"
        return self._feed(OperatorEvent(now_ns, now_ns, OperatorAction.REDUCE, reason, who.value, who))

    def unsellable(self) -> list[str]:
        """Return the parts of holdings that no order over the API can sell, in words."""
        view = self.queries.latest
        return [] if view is None else [str(part) for part in view.unsellable]

    def doubt_rows(self) -> list[dict[str, str | float]]:
        """Return the orders in doubt for ``status``: for how long, why, and what a person does."""
        return [
            {"order": name, "seconds": round(seconds, 1), "text": self._doubt_text(name, seconds)}
            for name, seconds in self._unknown.doubts().items()
        ]

    def _doubt_text(self, name: str, seconds: float) -> str:
        """Return an order in doubt with the question that fails, and what a person does beyond its bound."""
        desk = self.core.engine.desk
        order = desk.orders.live[name]
        sent = order.submitted
        symbol, why = desk.instruments[sent.instrument_id].symbol, order.reason
        what = f"{sent.side.value} {number_text(sent.quantity)} {symbol}"
        text = f"order {name} ({what}) for {seconds:.0f} s: {why or 'the venue does not show it'}"
        if seconds < self._unknown.bound_seconds:
            return text
        times = count_text(self._unknown.times(name), "time")
        return (
            f"{text}; asked {times} for the order and its executions, the venue gives no proof. Look at the"
            f" broker's own page: scalpdesk settle {name} --filled QUANTITY --price PRICE --reason TEXT books"
            " what was filled, --never-arrived in their place strikes it"
        )

    # housekeeping ---------------------------------------------------------------------------------

    async def _housekeeping(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.options.tick_seconds)
            self._keep_house(loop.time())

    def _keep_house(self, now: float) -> None:
        """Heartbeat, unknown orders, silent streams, the account on a timer, group commit, due timers."""
        if self._watchdog is not None:
            self._watchdog.beat()
            if not self._watchdog.is_alive:
                self._throttle.warn("no watchdog runs:", "nothing cancels orders if this desk fails", now)
        self._standstill.tick()
        gate, is_overdue = self.core.engine.desk.gate, bool(self._overdue(now))
        is_other = is_overdue is not (gate.desk_mode.overdue is not None)
        if self.has_begun and is_other and (is_overdue or gate.is_compared):
            self.put(Overdue())
        self._leaver.tick(now)
        for name in self._unknown.due(now):
            self.supervisor.spawn(f"the query of order {name}", self._resolve(name))
        if self.has_begun and not self._told_doubts.issuperset(self._unknown.overdue(now)):
            self.put(Doubted())
        is_open = self.core.engine.desk.view.session is not None
        for stream, seconds in self._stale_streams.due(now, is_open=is_open):
            detail = f"no message for {seconds:.0f} s in an open session; reconnecting"
            self._throttle.warn(f"{stream} silent:", detail, now)
            self.supervisor.spawn(f"the reconnection of {stream}", self.gateway.reconnect(stream))
            self._stale_quotes.begin()
        self._renew_quotes(now, is_open=is_open)
        if now - self.queries.last_at > self.options.reconcile_seconds:
            self.queries.last_at = now
            self.queries.ask()
        if now - self._last_flush_at > self.options.flush_seconds:
            self._last_flush_at = now
            if self.core.modes is not None and self.core.modes.problem:
                self.core.modes.keep(self.core.engine.desk.gate.desk_mode.state)
            try:
                self.core.journal.flush()
            except StopError as error:
                self._notify("alarm", error.what)  # the next event meets the same refusal, in the consumer
        self._queue.wake()

    def _renew_quotes(self, now: float, *, is_open: bool) -> None:
        """Ask again for the quotes of single instruments that come no more."""
        if not is_open:
            self._stale_quotes.begin()
            self._quote_watch.begin()
            return
        desk = self.core.engine.desk
        opened_ns = 0 if desk.view.session is None else desk.view.session.open_ns
        market = desk.market.quotes
        latest = {number: market[number] for number in self._stamps_of(self._traded())}
        # one of the evening is at another level where a split lies between
        quotes = {n: each if each and each.ts_event_ns >= opened_ns else None for n, each in latest.items()}
        if self._quote_watch.look(now, quotes):
            self._release()  # what waits for an underlying that is not quoted as often
        silent = dict(self._stale_quotes.due(now, self._stamps_that_matter))
        for number, seconds in silent.items():
            symbol = self.core.engine.desk.instruments[number].symbol
            detail = f"no new quote for {seconds:.0f} s while others come; asking for it again"
            self._throttle.warn(f"{symbol} silent:", detail, now)
        if silent:
            self.state.counters["quotes_renewed"] += len(silent)
            self.supervisor.spawn("the renewal of quotes", self.gateway.renew_quotes(tuple(silent)))

    def _stamps_that_matter(self) -> dict[InstrumentId, int]:
        """Return the time of the latest quote of all but options, and of options held or ordered.

        Nothing is expected of what is halted or has expired.
        """
        desk = self.core.engine.desk
        held = [position.instrument_id for position in desk.positions.held()]
        ordered = [order.submitted.instrument_id for order in desk.orders.live.values()]
        return self._stamps_of((*self._traded(), *held, *ordered))

    def _traded(self) -> list[InstrumentId]:
        """Return the instruments that are no options."""
        instruments = self.core.engine.desk.instruments
        return [InstrumentId(number) for number, item in enumerate(instruments) if not item.is_option]

    def _stamps_of(self, numbers: Iterable[InstrumentId]) -> dict[InstrumentId, int]:
        """Return the time of the latest quote of what trades, UTC nanoseconds; 0 before the first."""
        desk, now_ns = self.core.engine.desk, self.core.engine.now_ns
        stamps = {}
        for number in dict.fromkeys(numbers):
            item, quote = desk.instruments[number], desk.market.quotes[number]
            is_over = item.is_option and now_ns >= expiry_instant_ns(item)
            if not is_over and not desk.view.is_halted(number):
                stamps[number] = 0 if quote is None else quote.ts_recv_ns
        return stamps

    async def _take_orders_off(self) -> None:
        """Cancel what works after a stop, and wait until the venue shows none of it.

        The engine hears no more of it, for it would answer the end of an exit with the next one: a resume
        learns from the venue what came meanwhile.
        """
        live = self.core.engine.desk.orders.live
        # an end without a stop has no orders, or no venue any more
        if self._stop.mode is None or not live:
            return
        if self._stop.mode is StopMode.LEAVE:
            self._notify("info", f"orders that the desk leaves as they are: {', '.join(live)}")
            return
        loop = asyncio.get_running_loop()
        ends, view = loop.time() + self.options.hold_seconds, None
        self.state.open_orders = tuple(live)
        cancel_at = loop.time()
        while self.state.open_orders and loop.time() < ends:
            if loop.time() >= cancel_at:
                cancel_at += _CANCEL_AGAIN_SECONDS
                await self._cancel_everything(self.state.open_orders)
            await asyncio.sleep(LOOK_SECONDS)
            self._queue.items.clear()
            self._queue.make_room()
            try:
                async with asyncio.timeout(max(ends - loop.time(), LOOK_SECONDS)):
                    view = await self.gateway.shown_positions()
            except (RetryError, TimeoutError):
                continue
            if view.open_orders is None:
                continue
            shown = {name for order in view.open_orders for name in (order.client_order_id, order.parent_id)}
            # what was never acknowledged may still arrive
            self.state.open_orders = tuple(
                name
                for name, order in live.items()
                if name in shown or not order.venue_order_id or order.state is OrderState.UNKNOWN
            )
        if self.state.open_orders:
            names = ", ".join(self.state.open_orders)
            self._notify("alarm", f"orders may still work at the venue: {names}")
        elif self._stop.end is RunEnd.UNCONFIRMED:
            self._stop.reason, self._stop.end = _CLEARED, RunEnd.STOPPED

    async def _cancel_everything(self, names: Iterable[str] | None = None) -> None:
        """Cancel live orders (None: all), past a journal that can no longer be trusted; send nothing new."""
        for name in tuple(self.core.engine.desk.orders.live if names is None else names):
            try:
                self.gateway.send(CancelOrder(name))
            except Exception as error:  # noqa: BLE001 - the other orders are cancelled whatever this one meets
                self._notify("alarm", f"the cancel of {name} failed: {describe(error)}")
        await asyncio.sleep(0.1)
