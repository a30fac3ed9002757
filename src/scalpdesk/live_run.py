"""Carry a live run out: open the desk, answer the operator, guard it with a watchdog, end it in order."""

import asyncio
import gc
import getpass
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from scalpdesk.backtesting.summary import run_summary
from scalpdesk.core.clock import Clock, SystemClock
from scalpdesk.core.errors import ScalpdeskError
from scalpdesk.live.control import ControlServer
from scalpdesk.live.pulse import WatchdogLine
from scalpdesk.live.status import status, why
from scalpdesk.live_assembly import LiveDesk, LivePlan, open_desk
from scalpdesk.venues.base import FollowingClock, Gateway

Say = Callable[[str, str], None]
ACTIONS = ("halt", "flatten", "resume", "reduce")


def clock_of(plan: LivePlan) -> Clock:
    """Return the clock of a plan: a venue with a time of its own is followed, else the machine's."""
    if plan.venue == "simulated" or plan.follows_venue:
        return FollowingClock()
    return SystemClock()


async def carry_out(
    plan: LivePlan,
    *,
    say: Say,
    clock: Clock | None = None,
    gateway: Gateway | None = None,
    watchdog: WatchdogLine | None = None,
    on_ready: Callable[[LiveDesk], None] | None = None,
) -> dict[str, Any]:
    """Run a desk to its end and return its summary.

    Parameters
    ----------
    plan
        What is wanted.
    say
        Told what a person should know.
    clock, gateway
        For tests; None takes the plan's.
    watchdog
        A started watchdog to be told of the run; None runs without.
    on_ready
        Called once the desk is connected and its socket listens.

    Raises
    ------
    ScalpdeskError
        What kept the desk from starting, or stopped it.
    """
    began = time.perf_counter()
    desk = await open_desk(plan, clock or clock_of(plan), say=say, gateway=gateway, pulse=watchdog)
    # what exists now lives as long as the desk; walking it again would stall the loop for a tenth of a second
    gc.collect()
    gc.freeze()
    control = ControlServer(desk.run_dir, lambda request: answer(desk, request))
    ended = "failed"
    try:
        await control.start()
        _listen_to_signals(desk)
        if watchdog is not None:
            watchdog.begin(desk.run_dir)
        if on_ready is not None:
            on_ready(desk)
        ended = await desk.runner.run(desk.start)
        say("info", ended)
    finally:
        await control.close()
        if watchdog is not None:
            watchdog.end(clean=ended != "failed")
        summary = await _close(desk, began)
    return summary | {"ended": ended}


async def _close(desk: LiveDesk, began: float) -> dict[str, Any]:
    """Hang up and let go; a flat account seals the journal, anything else may be resumed."""
    runner = desk.runner
    with suppress(ScalpdeskError):
        await desk.gateway.close()
    seconds = time.perf_counter() - began
    summary = run_summary(desk.header, desk.engine, desk.tally, runner.core.events, seconds)
    summary["recovered_seconds"] = runner.state.recovered_seconds
    summary["differences"] = [str(one) for one in runner.reconciler.unexplained]
    engine = desk.engine
    is_flat = not engine.desk.orders.live and not engine.desk.positions.held()
    try:
        if is_flat and runner.state.reason:
            desk.journal.close(summary)
        else:
            desk.journal.abandon()
    finally:
        if desk.lock is not None:
            desk.lock.release()
    return summary | {"resumable": not (is_flat and bool(runner.state.reason))}


def _listen_to_signals(desk: LiveDesk) -> None:
    """End in order on an interrupt or a termination; a second interrupt ends at once, as ever."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        desk.runner.stop(desk.runner.options.stop)

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(RuntimeError, ValueError):  # not the main thread: whoever runs the loop stops it
            loop.add_signal_handler(number, stop)


async def answer(desk: LiveDesk, request: dict[str, Any]) -> dict[str, Any]:
    """Answer one request of the operator's socket."""
    do = request.get("do")
    if do == "status":
        return status(desk.header, desk.runner)
    if do == "why":
        what = request.get("what")
        return why(desk.runner, None if what is None else str(what))
    if do in ACTIONS:
        reason = str(request.get("reason") or "")
        if do == "resume" and not reason:
            return {"error": "going back to work needs a reason", "fix": "scalpdesk resume --reason TEXT"}
        began = time.perf_counter()
        said = await desk.runner.operate(str(do), reason or f"asked by {_who()}", _who())
        return said | {"milliseconds": round(1e3 * (time.perf_counter() - began), 3)}
    if do == "stop":
        how = str(request.get("how") or desk.runner.options.stop)
        if how not in ("leave", "hold", "flatten"):
            return {"error": "stop how?", "fix": "leave, hold or flatten"}
        desk.runner.stop(how, _who())
        return {"stopping": how}
    return {"error": f"unknown request {do!r}"}


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
