"""A live run from start to end: open the desk, serve the operator, keep the watchdog, close in order."""

import asyncio
import gc
import getpass
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec import structs

from scalpdesk.backtesting.simulate import Assembled
from scalpdesk.core.clock import Clock
from scalpdesk.core.enums import OperatorAction, OperatorCause
from scalpdesk.core.errors import Notify, RetryError, ScalpdeskError, StopError
from scalpdesk.core.events import GammaExposureEvent, OperatorEvent
from scalpdesk.core.owner_only import state_dir
from scalpdesk.datasets.daily_history import vix_before
from scalpdesk.datasets.dealer_gamma import ExposureSource
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.live.account_mode import AskedWhileStarting
from scalpdesk.live.arming import DeskMark, here, marked_as_running, marked_as_starting
from scalpdesk.live.assembly import LiveDesk, open_desk
from scalpdesk.live.consumer import OperationResult
from scalpdesk.live.market import ExposureWatch, live_source
from scalpdesk.live.plan import LivePlan
from scalpdesk.live.runner import LiveRunner
from scalpdesk.live.sessions import RunEnd, StopMode
from scalpdesk.live.starts import note_start
from scalpdesk.live.status import ControlServer, status, why
from scalpdesk.live.supervision import RESTART, FaultHistory, describe, is_fault
from scalpdesk.live.watchdog import WatchdogSupervisor, startup_heartbeat
from scalpdesk.live.without_desk import leave_if_asked
from scalpdesk.orders.order import OrderState
from scalpdesk.pricing.warming import warm_up
from scalpdesk.report.run_report import report_of
from scalpdesk.report.summary import run_summary
from scalpdesk.venues.contract import Gateway

_LOG = logging.getLogger(__name__)
_ACTIONS = ("halt", "flatten", "resume", "reduce")
_SETTLE = (
    'scalpdesk settle ORDER --filled QUANTITY --price PRICE --reason "…", or --never-arrived in their place'
)
_MOST_REFUSALS = 3
"""Failed tries to go on with a run after a fault, after which another run takes over what is held; after as
many failures of that the desk ends, and its watchdog acts."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def carry_out(
    plan: LivePlan,
    *,
    notify: Notify,
    clock: Clock | None = None,
    gateway: Gateway | None = None,
    watchdog: WatchdogSupervisor | None = None,
    on_ready: Callable[[LiveDesk], None] | None = None,
) -> dict[str, Any]:
    """Run a desk to its end and return its summary: of the last day's run when one followed another.

    Raises what kept the desk from starting, or stopped it.
    """
    clock = clock or plan.clock
    state, faults, refusals = plan.state or state_dir(os.environ), FaultHistory(), 0
    while True:
        try:
            with marked_as_running(state, plan.runs_dir) as mark:

                def ready(desk: LiveDesk, mark: DeskMark = mark) -> None:
                    mark.begin(desk.header.run_id)
                    note_start(state, desk.run_dir, desk.header)
                    if on_ready is not None:
                        on_ready(desk)

                summary = await _one_run(
                    plan, notify=notify, clock=clock, gateway=gateway, watchdog=watchdog, on_ready=ready
                )
        except Survived as fault:
            faults.note(asyncio.get_running_loop().time())
            plan, gateway, refusals = fault.plan_after(plan, halts=faults.halts), None, 0
            how = "HALTED: too many faults" if faults.halts else "REDUCING"
            notify("alarm", f"the desk goes on from its journal, {how}; scalpdesk resume sets it free")
            await _pause(plan, faults.pause(), watchdog, notify)
            continue
        except ScalpdeskError as error:
            refusals += not isinstance(error, RetryError)
            if not plan.fault or refusals >= 2 * _MOST_REFUSALS:
                raise
            how = "trying again"
            if refusals >= _MOST_REFUSALS:
                plan, how = replace(plan, resume=False, set_aside=True), "a new run takes over the account"
            notify("alarm", f"the desk cannot go on yet: {error.what}; {how}")
            await _pause(plan, faults.pause(), watchdog, notify)
            continue
        if summary["end"] is not RunEnd.ROLLED:
            if watchdog is not None:
                is_flat = summary["end"] is not RunEnd.NOT_FLAT
                watchdog.end(clean=is_flat and not summary["open_orders"], keeps_positions=is_flat)
                watchdog.leave()
            return summary
        notify("info", f"{summary['run_id']}: {summary['verdict']}; P&L {summary['pnl']['total']}")
        plan, gateway = next_day(plan, summary["sessions_closed"]), None


def next_day(plan: LivePlan, sessions_closed: int) -> LivePlan:
    """Return the plan of the run that follows one that rolled."""
    left = plan.runner.sessions
    runner = replace(plan.runner, sessions=None if left is None else left - sessions_closed)
    return replace(
        plan, runner=runner, resume=False, set_aside=False, is_later_day=True, fault="", halts=False
    )


class Survived(Exception):  # noqa: N818 - never leaves the module
    """A run met a fault of our own, and goes on in this process.

    ``runner``: Of the life that ended with it.
    """

    def __init__(self, error: Exception, runner: LiveRunner) -> None:
        self.what = describe(error)
        self._runner = runner
        super().__init__(self.what)

    def plan_after(self, plan: LivePlan, *, halts: bool) -> LivePlan:
        """Return the plan of the next life: the same run, with the stop that was asked for."""
        state, left = self._runner.state, plan.runner.sessions
        options = replace(plan.runner, sessions=None if left is None else left - state.closes)
        return replace(
            plan,
            runner=options,
            resume=True,
            may_begin=False,
            set_aside=False,
            fault=self.what,
            halts=halts,
            stops=state.stop_asked,
        )


async def _pause(plan: LivePlan, seconds: float, watchdog: WatchdogSupervisor | None, notify: Notify) -> None:
    """Wait before another life, under a heartbeat: the watchdog leaves the account alone."""
    beat = None if watchdog is None else watchdog.beat
    state = plan.state or state_dir(os.environ)
    with startup_heartbeat(beat, notify), marked_as_starting(state, plan.runs_dir):
        await asyncio.sleep(seconds)


async def _one_run(
    plan: LivePlan,
    *,
    notify: Notify,
    clock: Clock,
    gateway: Gateway | None,
    watchdog: WatchdogSupervisor | None,
    on_ready: Callable[[LiveDesk], None],
) -> dict[str, Any]:
    began = time.perf_counter()
    beat = None if watchdog is None else watchdog.beat
    source = _exposure_source(plan, notify)  # its settings are refused before anything is connected
    state = plan.state or state_dir(os.environ)
    with startup_heartbeat(beat, notify), marked_as_starting(state, plan.runs_dir):
        if watchdog is not None:  # compiled now, under a heartbeat that it cannot hold up
            await asyncio.to_thread(warm_up)
        desk = await _opened(plan, clock, notify=notify, gateway=gateway, watchdog=watchdog)
    # what exists now lives as long as the desk; walking it again would stall the loop for a tenth of a second
    gc.collect()
    gc.freeze()
    runner = desk.runner
    control = ControlServer(
        desk.run_dir,
        lambda request: answer(desk, request),
        lambda error: runner.supervisor.failed("a request of the operator", error),
    )
    exposure: ExposureWatch | None = None
    fault: Exception | None = None
    ended = ""
    try:
        await control.start()
        runner.supervisor.start("the control server", control.serve, RESTART)
        if source is not None:
            exposure = _watch_exposure(desk, source, clock, plan.settings.config.gex.cache_seconds)
        _listen_to_signals(desk)
        if watchdog is not None:
            watchdog.begin(desk.run_dir)
        await _take_what_was_asked(desk, AskedWhileStarting(state))
        if plan.stops is not None:
            runner.stop(plan.stops)
        on_ready(desk)
        try:
            ended = await runner.run(desk.start)
            notify("info", ended)
        except Exception as error:  # BLE001 - all but a fault of a run that has begun is raised again
            if not is_fault(error) or (desk.start.is_fresh and not runner.has_begun):
                raise
            fault = error  # of our own, in a run that has begun: it goes on in another life
    finally:
        gc.unfreeze()  # the process may outlive the desk; what is frozen is not freed even at its end
        if exposure is not None:
            exposure.stop()
        await runner.supervisor.end()
        control.close()
        _release_signals()
        is_over = fault is None
        if watchdog is not None and not is_over:
            watchdog.begin(desk.run_dir)  # it has the time of a start
        elif watchdog is not None and not ended:
            watchdog.end(clean=False)
        with startup_heartbeat(beat, notify):
            await _disconnect(desk)
            summary = _close(desk, began) if is_over else _set_down(desk)
        if watchdog is not None and is_over and not ended:
            watchdog.leave()
    if fault is not None:
        raise Survived(fault, runner) from fault
    end = runner.state.end
    if end is RunEnd.ROLLED and runner.state.stop_asked is not None:
        # asked for as the run ended by itself, flat and without orders: no other one follows
        ended, end = f"stopped: {runner.state.stop_asked}", RunEnd.STOPPED
    return summary | {"ended": ended, "end": end, "sessions_closed": runner.state.closes}


async def _opened(plan: LivePlan, clock: Clock, *, notify: Notify, **parts: Any) -> LiveDesk:
    """Open a desk; one that cannot start leaves where a flatten is pending, and fails all the same."""
    try:
        return await open_desk(plan, clock, notify=notify, **parts)
    except RetryError:
        await leave_if_asked(plan, notify)
        raise


async def _take_what_was_asked(desk: LiveDesk, asked: AskedWhileStarting) -> None:
    """Carry out commands that came between the look into the account's record and the control socket."""
    modes = desk.runner.core.modes
    account = "" if modes is None else modes.account
    for command in asked.read(account):
        with suppress(StopError):
            await desk.runner.operate(command.action.value, command.reason, command.who)
    asked.forget(account)


def _exposure_source(plan: LivePlan, notify: Notify) -> ExposureSource | None:
    """Return the source of dealer gamma; a simulated venue brings it with its market."""
    if plan.venue == "simulated":
        return None
    config = plan.settings.config
    loop = asyncio.get_running_loop()

    def from_thread(level: str, text: str) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(notify, level, text)

    source = live_source(config, history_folder=Path(config.data.catalog), notify=from_thread)
    return source if source.has_any else None


def _watch_exposure(
    desk: LiveDesk, source: ExposureSource, clock: Clock, pause_seconds: float
) -> ExposureWatch:
    """Poll in a thread of its own; what it finds comes through the desk's queue."""
    loop = asyncio.get_running_loop()

    def arrive(event: GammaExposureEvent) -> None:
        # stamped as it enters the queue: the answer may have taken seconds
        now_ns = max(clock.now_ns(), desk.engine.now_ns)
        desk.runner.put(structs.replace(event, ts_recv_ns=now_ns))

    def post(event: GammaExposureEvent) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(arrive, event)

    watch = ExposureWatch(source, clock, post, every_seconds=pause_seconds, notify=source.say)
    watch.start()
    return watch


async def _disconnect(desk: LiveDesk) -> None:
    with suppress(ScalpdeskError):
        await desk.gateway.close()
    if desk.folder is not None:
        desk.folder.close()


def _set_down(desk: LiveDesk) -> dict[str, Any]:
    """Release journal and account for the next life; an engine that raised has no summary."""
    try:
        desk.journal.abandon()
    finally:
        if desk.lock is not None:
            desk.lock.release()
    return {}


def _close(desk: LiveDesk, began: float) -> dict[str, Any]:
    """Release the account; a flat account seals the journal, anything else may be resumed."""
    runner = desk.runner
    seconds = time.perf_counter() - began
    summary = run_summary(desk.header, desk.engine, desk.fold, runner.core.events, seconds)
    summary["recovered_seconds"] = runner.state.recovered_seconds
    summary["open_orders"] = list(runner.state.open_orders)
    summary["differences"] = [str(difference) for difference in runner.reconciler.unexplained]
    try:
        summary = report_of(desk.header, desk.fold, summary, vix_before).document()
        is_over = end_journal(desk, summary)
    finally:
        if desk.lock is not None:
            desk.lock.release()
    return summary | {"resumable": not is_over}


def end_journal(desk: LiveDesk, summary: dict[str, Any]) -> bool:
    """Seal the journal of a run that ended flat, whatever its mode; leave any other to be resumed."""
    book = desk.engine.desk
    is_over = not book.orders.live and not book.positions.held() and bool(desk.runner.state.reason)
    if is_over:
        desk.journal.close(summary)
    else:
        desk.journal.abandon()
    return is_over


def _listen_to_signals(desk: LiveDesk) -> None:
    """End in order on an interrupt, a termination or a terminal that closes; a second interrupt ends at once.

    A desk that was started to outlive its terminal (``nohup``) does.
    """
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
        desk.runner.stop(desk.runner.options.stop)

    def hang_up() -> None:
        # shell and kernel may both say that the terminal is gone, the second while the run closes already
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        desk.runner.stop(desk.runner.options.stop)

    with suppress(RuntimeError, ValueError):  # not the main thread: the loop's owner stops it
        for number in _SIGNALS:
            loop.add_signal_handler(number, stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            loop.add_signal_handler(signal.SIGHUP, hang_up)


def _release_signals() -> None:
    """Between two runs an interrupt ends the process, as it does before the first."""
    loop = asyncio.get_running_loop()
    for number in (*_SIGNALS, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            with suppress(RuntimeError, ValueError):
                loop.remove_signal_handler(number)


async def answer(desk: LiveDesk, request: dict[str, Any]) -> dict[str, Any]:
    """Answer one request of the control socket."""
    do = request.get("do")
    if do == "status":
        return status(desk.header, desk.runner)
    if do == "why":
        what = request.get("what")
        return why(desk.runner, None if what is None else str(what))
    if do in _ACTIONS:
        at_once = request.get("do") == "flatten" and bool(request.get("now"))
        act = partial(desk.runner.operate, at_once=at_once)
        return await operate(request, act) | whose(desk.header, desk.run_dir)
    if do == "settle":
        return await settle(desk, request) | whose(desk.header, desk.run_dir)
    if do == "stop":
        how = str(request.get("how") or desk.runner.options.stop)
        if how not in tuple(StopMode):
            return {"error": "stop how?", "fix": "leave, hold or flatten"}
        desk.runner.stop(StopMode(how), operator_name())
        return {"stopping": how}
    return {"error": f"unknown request {do!r}"}


def whose(header: JournalHeader, run_dir: Path) -> dict[str, str]:
    """Return which desk answers: run, venue, account, and the folder in which it was started."""
    return {
        "run_id": header.run_id,
        "venue": header.venue,
        "account": str(header.data.get("account_id", "")),
        "folder": str(here() or run_dir.parent),
    }


async def settle(desk: LiveDesk, request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request that says what became of an order in doubt."""
    reason, order = (str(request.get(name) or "").strip() for name in ("reason", "order"))
    if not reason or not order:
        where = "ORDER" if reason else "--reason"
        return {"error": "an order is settled by its id and your words", "where": where, "fix": _SETTLE}
    numbers: dict[str, Decimal | None] = {}
    for name in ("filled", "price", "fee"):
        text = request.get(name)
        try:
            numbers[name] = None if text is None else Decimal(str(text))
        except ArithmeticError:
            return {"error": f"{text} is no number", "where": f"--{name}", "fix": _SETTLE}
    filled = numbers["filled"]
    if filled is None:
        return {"error": "what was filled of it?", "where": "--filled", "fix": _SETTLE}
    try:
        return {
            **await desk.runner.settle(
                order, filled, numbers["price"], numbers["fee"], reason, operator_name()
            )
        }
    except StopError as error:
        return {"error": error.what, "where": error.where, "fix": error.fix}


async def operate(
    request: dict[str, Any], act: Callable[[str, str, str], Awaitable[OperationResult]]
) -> dict[str, Any]:
    """Answer a request that changes the mode; ``act`` takes action, reason and who asked."""
    action, reason = str(request.get("do")), str(request.get("reason") or "").strip()
    if action == "resume" and not reason:
        return {"error": "going back to work needs a reason", "fix": "scalpdesk resume --reason TEXT"}
    began = time.perf_counter()
    try:
        result = await act(action, reason or f"asked by {operator_name()}", operator_name())
    except StopError as error:
        return {"error": error.what, "where": error.where, "fix": error.fix}
    return {**result, "milliseconds": round(1e3 * (time.perf_counter() - began), 3)}


def operator_name(name_of: Callable[[], str] = getpass.getuser) -> str:
    """Return who runs this process, by name where the system knows one."""
    try:
        return name_of()
    except (KeyError, OSError):
        return str(os.getuid())


FLUSH_SECONDS = 0.05
"""Interval at which a demo's journal is written for the page."""


class DemoControl:
    """Halt, flatten and resume for a demo, on the control socket that a live desk has.

    The socket is served in a thread; a command is fed to the engine between two steps of the market.
    """

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._tasks = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._tasks.get_loop()
        self._commands: deque[tuple[str, str, str, asyncio.Future[OperationResult]]] = deque()
        self._thread: threading.Thread | None = None
        self._stop = asyncio.Event()
        self._flushed = 0.0
        self._whose: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        self._tasks.close()

    def on_step(self, run: Assembled, now_ns: int) -> None:
        """Carry out what was asked since the last step, and write the journal for the page."""
        if self._thread is None:
            run_dir = self._runs_dir / run.header.run_id
            self._whose = whose(run.header, run_dir)
            self._thread = threading.Thread(target=self._serve, args=(run_dir,), daemon=True)
            self._thread.start()
        while self._commands:
            action, reason, who, answer = self._commands.popleft()
            gate, orders = run.engine.desk.gate, run.engine.desk.orders
            was = gate.mode.value
            run.runner.operate(
                OperatorEvent(now_ns, now_ns, OperatorAction(action), reason, who, OperatorCause.PERSON)
            )
            cancels = sum(order.state is OrderState.PENDING_CANCEL for order in orders.live.values())
            result = OperationResult(was=was, mode=gate.mode.value, cancels=cancels)
            self._loop.call_soon_threadsafe(answer.set_result, result)
        wall = time.monotonic()
        if wall - self._flushed >= FLUSH_SECONDS:
            self._flushed = wall
            run.runner.flush_journal()

    def _serve(self, run_dir: Path) -> None:
        self._tasks.run(self._serve_until_stopped(ControlServer(run_dir, self._answer)))

    async def _serve_until_stopped(self, server: ControlServer) -> None:
        try:
            await server.start()
            await self._stop.wait()
        except StopError as error:
            _LOG.warning("%s", error)
        finally:
            server.close()

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("do") in _ACTIONS:
            return await operate(request, self._act) | self._whose
        return {"error": "a demo takes halt, reduce, flatten and resume", "fix": "its page shows its state"}

    async def _act(self, action: str, reason: str, who: str) -> OperationResult:
        answer: asyncio.Future[OperationResult] = self._loop.create_future()
        self._commands.append((action, reason, who, answer))
        return await answer
