"""The watchdog: a process that outlives the desk, with a connection of its own to the venue.

It reads heartbeats from a pipe. When the pipe ends without a clean end of the run, or no heartbeat comes
in time, it kills the desk if that still runs, cancels every open order of the account and, when it is set
to, closes the positions. Started by the desk: ``python -m scalpdesk.live.watchdog_program``.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TextIO

import msgspec

from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import Clock, FollowingClock, SystemClock
from scalpdesk.core.errors import (
    EXIT_FAILED,
    EXIT_USAGE,
    ConfigError,
    ScalpdeskError,
    StopError,
)
from scalpdesk.core.intents import SubmitOrder
from scalpdesk.core.owner_only import hide_memory, own_file
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import from_ns
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.journal.reader import peek_header
from scalpdesk.live.arming import AccountLock
from scalpdesk.live.assembly import life_of, lock_account, venue_gateway
from scalpdesk.live.emergency import EmergencyTrader, Log
from scalpdesk.live.options import RunOptions
from scalpdesk.live.plan import LivePlan, plan_of
from scalpdesk.live.supervision import describe
from scalpdesk.live.watchdog import (
    ACTED_FILE,
    ANSWER,
    LOG_FILE,
    STARTING_SECONDS,
    DeskMessage,
    HeartbeatChannel,
    MessageKind,
)
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.venues.contract import EmergencyGateway

_STALL_SECONDS = 3.0
_START_STALL_SECONDS = 60.0
"""Without a heartbeat from the beginning of a run until it follows its market: the desk may compile, and the
machine be busy."""
_PART_SECONDS = 0.5
"""Longest stretch that counts towards a stall at once: two heartbeats."""
_ENDING_SECONDS = 10.0
"""Time for a desk that reported an unclean end to disconnect before it is killed."""
_DRAIN_SECONDS = 1.0
"""Time for which the rest of the pipe is read after the desk was killed."""
LOCK_PAUSE_SECONDS = 0.2
LOCK_TRIES_BEFORE_LOG = 10
"""``LOCK_PAUSE_SECONDS``, ``LOCK_TRIES_BEFORE_LOG``: For an account's lock that another process holds."""
_CLOSE_SECONDS = 5.0
"""Longest time to end the connections; the process ends then all the same."""
_NO_PREFIX = "wd"
"""Begins the ids of the watchdog's orders when the run's header is not known."""


class WatchdogSettings(msgspec.Struct, frozen=True):
    """The watchdog's first line: what it needs to connect.

    ``keys``: Those that the desk took from its environment, by name; they pass through the pipe and nowhere
    else. The rest comes from the same sources as the desk's.
    ``stall_seconds``: Without a heartbeat for so long, the desk counts as hanging.
    ``flatten``: Close the positions too.
    ``leaves_foreign``: Leave open orders that the run did not send.
    ``state``: Folder of armings, empty for the user's own.
    ``started_ns``: When this watchdog was started, UTC nanoseconds.
    """

    strategy: str
    venue: str
    live: bool
    desk_pid: int
    config_file: str | None = None
    overrides: tuple[str, ...] = ()
    url: str | None = None
    keys: dict[str, str] = {}
    stall_seconds: float = _STALL_SECONDS
    flatten: bool = False
    leaves_foreign: bool = False
    state: str = ""
    started_ns: int = 0


class _Refusal(msgspec.Struct, frozen=True):
    """Why a watchdog failed to start: printed in place of ``ready``."""

    what: str
    where: str | None = None
    fix: str | None = None
    exit_code: int = EXIT_FAILED


def start_watchdog(
    settings: WatchdogSettings,
    log: Path,
    *,
    command: Sequence[str] = (sys.executable, "-m", "scalpdesk.live.watchdog_program"),
    clock: Clock | None = None,
) -> HeartbeatChannel:
    """Start the watchdog of this process and wait for its own connection.

    ``clock``: Times its start; None is the machine's.

    Raises StopError when it does not come up in time. Raises ConfigError when keys or settings are wrong: the
    watchdog's own message, since the desk would meet the same.
    """
    settings = msgspec.structs.replace(settings, started_ns=(clock or SystemClock()).now_ns())
    line = HeartbeatChannel(command, msgspec.to_builtins(settings), log)
    try:
        line.wait_until_ready()
    except StopError as error:
        line.kill()
        try:
            refusal = msgspec.json.decode(str(error.value or ""), type=_Refusal)
        except msgspec.DecodeError:  # it ended without a message, or with another
            raise error from None
        kind = ConfigError if refusal.exit_code == EXIT_USAGE else StopError
        raise kind(refusal.what, where=refusal.where, fix=refusal.fix) from error
    return line


@dataclass(slots=True)
class Watched:
    """The desk as its messages show it."""

    run_dir: str = ""
    has_begun: bool = False
    has_started: bool = False
    has_ended: bool = False
    is_ending: bool = False
    """It has reported an end with something left to do."""
    is_gone: bool = False
    """It has disconnected after such an end: nothing of it is left that could send."""
    keeps_positions: bool = False
    """The run ended with orders at work, and was to keep its positions."""
    flatten: bool = False
    """An operator wants the positions closed."""
    header: JournalHeader | None = None
    """Header of the run, read as it begins: when the watchdog acts, the disk may be gone."""
    live: dict[str, SubmitOrder] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    """Id of the combo by the id of its leg."""
    held: dict[str, Decimal] = field(default_factory=dict)
    """Signed units by symbol, complete once the run has started."""

    def apply(self, message: DeskMessage) -> None:
        """Follow one message."""
        match message.kind:
            case MessageKind.BEGIN:
                self.flatten = self.flatten and message.run_dir == self.run_dir
                self.run_dir, self.has_begun, self.has_started = message.run_dir, True, False
                self.held = {}
                self.header, _ = _read_header(message.run_dir)
            case MessageKind.STARTED:
                self.has_started = True
            case MessageKind.ORDER_SENT if message.order is not None:
                self.live[message.order.client_order_id] = message.order
                self.parents[message.order.client_order_id] = message.parent
            case MessageKind.ORDER_ENDED:
                self.live.pop(message.name, None)
            case MessageKind.HELD:
                self.held[message.name] = message.units
            case MessageKind.FLATTEN:
                self.flatten = message.flatten
            case MessageKind.END:
                self.has_ended, self.is_ending = message.clean, not message.clean
                self.keeps_positions = message.keeps_positions


def _read_header(run_dir: str) -> tuple[JournalHeader | None, str]:
    """Return the header of a run, or None and the reason why it cannot be read."""
    try:
        return peek_header(Path(run_dir)), ""
    except Exception as error:  # noqa: BLE001 - whatever it is, orders are cancelled without a header too
        return None, describe(error)


async def watch(
    reader: asyncio.StreamReader,
    stall_seconds: float,
    watched: Watched,
    *,
    start_stall_seconds: float = _START_STALL_SECONDS,
    answer: Callable[[], None] = lambda: None,
) -> str | None:
    """Read the pipe until it ends; return why the desk needs help, None when it ended well.

    ``answer`` is called for each heartbeat.
    """
    while True:
        limit = stall_seconds if watched.has_started else max(start_stall_seconds, stall_seconds)
        if not watched.has_begun:
            limit = STARTING_SECONDS
        if watched.is_ending:
            limit = _ENDING_SECONDS
        try:
            line = await _next_line(reader, limit)
        except TimeoutError:
            if watched.is_ending:
                return f"the run did not end in order, and the desk is still there after {limit:g} s"
            return f"no heartbeat for {limit:g} s: the desk hangs"
        if not line:
            watched.is_gone = watched.is_ending
            return "the run did not end in order" if watched.is_ending else "the desk died"
        try:
            message = msgspec.json.decode(line, type=DeskMessage)
        except msgspec.MsgspecError:
            continue
        watched.apply(message)
        if message.kind is MessageKind.BEAT:
            answer()
        if watched.has_ended:
            return None


async def _next_line(reader: asyncio.StreamReader, seconds: float) -> bytes:
    """Read a line; raise TimeoutError after so many seconds without one.

    They are waited for in parts, each of which counts no more than its length: a watchdog that was stopped
    itself, alone or with the desk (a frozen container or machine), reads first what came meanwhile.
    """
    left = seconds
    while True:
        try:
            async with asyncio.timeout(min(left, _PART_SECONDS)):
                return await reader.readline()
        except TimeoutError:
            left -= _PART_SECONDS
            if left <= 0:
                raise


async def drain(reader: asyncio.StreamReader, watched: Watched) -> None:
    """Read what a killed desk wrote last: an order that it reported in that moment may be on its way."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while line := await reader.readline():
                with suppress(msgspec.MsgspecError):  # the last one may be cut off
                    watched.apply(msgspec.json.decode(line, type=DeskMessage))


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogProcess:
    """The watchdog's process: its pipes, its parent, and its way to the venue."""

    stdin: TextIO = field(default_factory=lambda: sys.stdin)
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)
    parent: Callable[[], int] = os.getppid
    kill: Callable[[int, int], None] = os.kill
    gateway: Callable[[LivePlan, Instruments, Clock], EmergencyGateway] = field(
        default_factory=lambda: partial(venue_gateway, is_watchdog=True)
    )

    def answer(self, line: bytes) -> None:
        """Write a line for the desk to standard output, past its buffer; a dead desk reads nothing."""
        with suppress(OSError):
            os.write(self.stdout.fileno(), line)

    def log(self, text: str) -> None:
        """Write a message with its time to standard error, which is the watchdog's log.

        A log that takes nothing never keeps the watchdog from acting: it lies on the journal's disk.
        """
        stamp = from_ns(SystemClock().now_ns()).isoformat(timespec="milliseconds")
        with suppress(OSError, ValueError):  # ValueError: the file is closed
            self.stderr.write(f"{stamp} watchdog: {text}\n")
            self.stderr.flush()

    def fence(self, desk_pid: int, log: Log) -> None:
        """Kill a desk that hangs, so that it cannot wake up and send while its orders are cancelled."""
        if desk_pid > 1 and self.parent() == desk_pid:
            with suppress(ProcessLookupError, PermissionError):
                self.kill(desk_pid, signal.SIGKILL)
                log(f"the hanging desk (process {desk_pid}) was killed")


async def guard(settings: WatchdogSettings, reader: asyncio.StreamReader, process: WatchdogProcess) -> int:
    """Connect, write ``ready``, watch, and act; return the exit code (0: the desk ended well)."""
    loaded = load_settings(
        settings.strategy,
        config_file=settings.config_file,
        overrides=settings.overrides,
        environ=os.environ | settings.keys,
        cwd=Path(),
        simulated_account=False,  # the run that it guards has been checked
    )
    wanted = RunOptions(venue=settings.venue, live=settings.live, url=settings.url, exchange_time=False)
    plan = plan_of(loaded, wanted)
    plan = replace(plan, state=Path(settings.state) if settings.state else None)
    instruments = Instruments()
    clock = FollowingClock() if settings.url is not None else SystemClock()
    gateway = process.gateway(plan, instruments, clock)
    account_id = await gateway.connect_to_leave()
    process.answer(b"ready\n")
    watched = Watched()
    try:
        trouble = await _watch_beside(gateway, reader, settings.stall_seconds, watched, process)
        if trouble is None:
            return 0
        if not watched.has_begun:
            process.log(f"no run had begun, nothing to cancel ({trouble})")
            return 0
        run_id, where = Path(watched.run_dir).name, str(plan.runs_dir.resolve() / LOG_FILE)
        if not account_id and watched.header is not None:  # the venue did not say it
            account_id = str(watched.header.data.get("account_id", ""))
        holding = asyncio.get_running_loop().create_task(
            hold_account(lambda: lock_account(plan, account_id, run_id, watchdog_log=where), process.log)
        )
        try:
            limits = loaded.config.risk
            return await _act(gateway, reader, instruments, limits, settings, watched, trouble, process)
        finally:
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
    finally:
        with suppress(TimeoutError):  # one that does not close would keep the venue's place for a client
            async with asyncio.timeout(_CLOSE_SECONDS):
                await gateway.close(graceful=False)


async def hold_account(lock: Callable[[], AccountLock], log: Log) -> None:
    """Hold the account's lock until cancelled, so that no desk starts beside the acting watchdog.

    The watchdog never waits for it: a desk that is being killed holds it for a moment longer, and one that
    was started again at once may have it for good.
    """
    tries = 0
    while True:
        try:
            held = lock()
            break
        except StopError as error:
            tries += 1
            if tries == LOCK_TRIES_BEFORE_LOG:
                log(f"acting without the account's lock: {error.what} ({error.value})")
        except OSError as error:
            log(f"acting without the account's lock: {describe(error)}")
            return
        await asyncio.sleep(LOCK_PAUSE_SECONDS)
    try:
        await asyncio.Event().wait()
    finally:
        held.release()


async def _watch_beside(
    gateway: EmergencyGateway,
    reader: asyncio.StreamReader,
    stall_seconds: float,
    watched: Watched,
    process: WatchdogProcess,
) -> str | None:
    """Watch, and pass over the account's events meanwhile."""

    async def pass_over() -> None:
        async for _ in gateway.events():
            pass

    passing = asyncio.get_running_loop().create_task(pass_over())
    try:
        return await watch(reader, stall_seconds, watched, answer=lambda: process.answer(ANSWER))
    finally:
        passing.cancel()
        await asyncio.gather(passing, return_exceptions=True)


async def _act(
    gateway: EmergencyGateway,
    reader: asyncio.StreamReader,
    instruments: Instruments,
    limits: RiskLimits,
    settings: WatchdogSettings,
    watched: Watched,
    trouble: str,
    process: WatchdogProcess,
) -> int:
    acted = Path(watched.run_dir) / ACTED_FILE

    def log_to_run(text: str) -> None:
        process.log(text)
        # the log stands even when the run's folder does not; a text may hold letters that the locale has not
        with suppress(OSError):
            own_file(acted)
        with suppress(OSError), acted.open("a", encoding="utf-8", errors="backslashreplace") as out:
            out.write(f"{text}\n")

    log_to_run(f"ALARM: {trouble}; cancelling all orders")
    if not watched.is_gone:  # one that is through with its end still prints what went wrong
        process.fence(settings.desk_pid, log_to_run)
        await drain(reader, watched)
    prefix, only_ids = _NO_PREFIX, None
    orders: tuple[SubmitOrder, ...] = ()
    books: dict[InstrumentId, Decimal] | None = None
    header, why = (watched.header, "") if watched.header is not None else _read_header(watched.run_dir)
    if header is None:
        # the desk's numbers of instruments mean nothing without it: its orders are those that the venue shows
        log_to_run(f"the run's header cannot be read ({why}): every open order counts as the run's")
    else:
        for instrument in header.instruments:
            instruments.add(instrument)
        prefix, orders = header.data["order_prefix"], tuple(watched.live.values())
        only_ids = prefix if settings.leaves_foreign else None
        if watched.has_started:
            books = {instruments.id_of(symbol): units for symbol, units in watched.held.items()}
    # of this life of the run alone: the venue would refuse an id that an earlier watchdog gave. In a
    # container every life has the same process id. At most 64 characters with the rest of an id (Deribit)
    life = life_of(settings.desk_pid, settings.started_ns)
    trader = EmergencyTrader(
        gateway=gateway,
        instruments=instruments,
        name=f"{prefix}-{life}",
        limits=limits,
        log=log_to_run,
        only_ids=only_ids,
        books=books,
    )
    flatten = (settings.flatten or watched.flatten) and not watched.keeps_positions
    began = asyncio.get_running_loop().time()
    # without the header nothing here follows the desk's last orders
    clear = trader.clear_twice if header is None and watched.live else trader.clear
    done = await clear(orders, flatten=flatten, parents=watched.parents)
    seconds = asyncio.get_running_loop().time() - began
    log_to_run(f"{'done' if done else 'NOT DONE: act by hand'} after {seconds:.2f} s")
    return 3 if done else 4


async def _main(process: WatchdogProcess) -> int:
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), process.stdin)
    return await guard(msgspec.json.decode(await reader.readline(), type=WatchdogSettings), reader, process)


def main(process: WatchdogProcess | None = None) -> int:
    """Run the watchdog; its exit code tells how the desk ended."""
    process = process or WatchdogProcess()
    hide_memory()
    try:
        return asyncio.run(_main(process))
    except ScalpdeskError as error:
        refusal = _Refusal(error.what, error.where, error.fix, error.exit_code)
        process.answer(msgspec.json.encode(refusal) + b"\n")
        process.log(error.render())
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
