"""The watchdog's program: ``python -m scalpdesk.live.watchdog_program``, started by the desk it guards."""

import asyncio
import os
import sys
from pathlib import Path

import msgspec

from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import EXIT_FAILED, EXIT_USAGE, ConfigError, ScalpdeskError, StopError
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import from_ns
from scalpdesk.journal.reader import peek_header
from scalpdesk.live.assembly import build_gateway
from scalpdesk.live.plan import LivePlan
from scalpdesk.live.runner import RunnerOptions
from scalpdesk.live.watchdog import HeartbeatChannel, Watched, clear, fence, pipe_of_stdin, watch
from scalpdesk.venues.contract import FollowingClock, Gateway, KnownOrder

STALL_SECONDS = 3.0


class WatchdogOrders(msgspec.Struct, frozen=True):
    """The watchdog's first line: what it needs to connect. Keys come from the same sources as the desk's.

    Parameters
    ----------
    strategy, config_file, overrides
        As the desk was started.
    venue, live, url
        Where the account is.
    desk_pid
        The desk's process.
    stall_seconds
        Silence after which the desk counts as hanging.
    flatten
        Close the positions too.
    state
        Folder of armings, empty for the user's own.
    """

    strategy: str
    venue: str
    live: bool
    desk_pid: int
    config_file: str | None = None
    overrides: tuple[str, ...] = ()
    url: str | None = None
    stall_seconds: float = STALL_SECONDS
    flatten: bool = False
    state: str = ""


def start_watchdog(orders: WatchdogOrders, log: Path) -> HeartbeatChannel:
    """Start the watchdog of this process and wait for its own connection.

    Raises
    ------
    StopError
        When it does not come up.
    ConfigError
        When it says that keys or settings are wrong: its own words, since the desk would meet the same.
    """
    command = [sys.executable, "-m", "scalpdesk.live.watchdog_program"]
    line = HeartbeatChannel(command, msgspec.to_builtins(orders), log)
    try:
        line.wait_until_ready()
    except StopError as error:
        line.kill()
        raise _as_said(error) from error
    return line


class _Said(msgspec.Struct, frozen=True):
    """What kept a watchdog from coming up: its one line instead of ``ready``."""

    what: str
    where: str | None = None
    fix: str | None = None
    exit_code: int = EXIT_FAILED


def _as_said(error: StopError) -> ScalpdeskError:
    try:
        said = msgspec.json.decode(str(error.value or ""), type=_Said)
    except msgspec.DecodeError:  # it died without a word, or with another
        return error
    kind = ConfigError if said.exit_code == EXIT_USAGE else StopError
    return kind(said.what, where=said.where, fix=said.fix)


def say(text: str) -> None:
    """Write an alarm with its time to standard error, which is the watchdog's log."""
    stamp = from_ns(SystemClock().now_ns()).isoformat(timespec="milliseconds")
    sys.stderr.write(f"{stamp} watchdog: {text}\n")
    sys.stderr.flush()


async def guard(orders: WatchdogOrders, reader: asyncio.StreamReader) -> int:
    """Connect, say ``ready``, watch, and act; return the exit code (0: the desk ended well)."""
    settings = load_settings(
        orders.strategy,
        config_file=orders.config_file,
        overrides=orders.overrides,
        environ=os.environ,
        cwd=Path(),
        simulated_account=False,  # the run that it guards has been checked
    )
    state = Path(orders.state) if orders.state else None
    runner = RunnerOptions(absent_after_seconds=1.0)
    plan = LivePlan(settings, orders.venue, live=orders.live, url=orders.url, state=state, runner=runner)
    book = Instruments()

    async def connect(known: tuple[KnownOrder, ...]) -> Gateway:
        clock = FollowingClock() if orders.url is not None else SystemClock()
        gateway = build_gateway(plan, book, clock)
        await gateway.connect(known)
        return gateway

    gateway = await connect(())
    sink = asyncio.create_task(_swallow(gateway))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    watched = Watched()
    try:
        trouble = await watch(reader, orders.stall_seconds, watched)
        if trouble is None or not watched.has_begun:
            return 0
        say(f"ALARM: {trouble}; cancelling all orders")
        fence(orders.desk_pid, say)
        for instrument in peek_header(Path(watched.run_dir)).instruments:
            book.add(instrument)
        began = asyncio.get_running_loop().time()
        done = await clear(gateway, connect, watched, book, say, flatten=orders.flatten)
        seconds = asyncio.get_running_loop().time() - began
        say(f"{'done' if done else 'NOT DONE: act by hand'} after {seconds:.2f} s")
        return 3 if done else 4
    finally:
        await gateway.close(graceful=False)
        sink.cancel()
        await asyncio.gather(sink, return_exceptions=True)


async def _swallow(gateway: Gateway) -> None:
    async for _ in gateway.events():
        pass


async def _main() -> int:
    reader = await pipe_of_stdin()
    orders = msgspec.json.decode(await reader.readline(), type=WatchdogOrders)
    return await guard(orders, reader)


def main() -> int:
    """Run the watchdog; its exit code says how the desk ended."""
    try:
        return asyncio.run(_main())
    except ScalpdeskError as error:
        said = _Said(error.what, error.where, error.fix, error.exit_code)
        sys.stdout.write(f"{msgspec.json.encode(said).decode()}\n")
        say(error.render())
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
