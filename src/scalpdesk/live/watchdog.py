"""The watchdog: a process of its own, with its own line to the venue, that outlives the engine.

It reads beats from a pipe. When the pipe ends without a farewell, or no beat comes for a while, it
stops the engine for good if it still stands, cancels every order, closes the positions when it was
told to, and says so.

The engine's end of the line to the watchdog: beats and live orders down a pipe that never blocks.

Keeps a watchdog beside the desk: when the one it has dies or hangs, another is started.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from scalpdesk.core.errors import Notify, ScalpdeskError, StopError
from scalpdesk.core.intents import CancelOrder, OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.venues.contract import Gateway, KnownOrder, VenueOrder, VenueView

BEAT_SECONDS = 0.25
START_SECONDS = 30.0


class LiveOrders(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line to the watchdog.

    Parameters
    ----------
    kind
        ``begin`` (with ``run_dir``), ``beat``, ``sent`` (with ``order``), ``over`` (with ``name``) or
        ``end`` (with ``clean``).
    """

    kind: str
    run_dir: str = ""
    order: SubmitOrder | None = None
    name: str = ""
    clean: bool = False


class HeartbeatChannel:
    """A watchdog process and the pipe to it.

    The pipe ends with this process, however it ends: that is what the watchdog waits for.

    Parameters
    ----------
    command
        Program of the watchdog; it reads lines of :class:`LiveOrders` from its standard input and writes
        ``ready`` once it is connected to the venue.
    settings
        Its first line: what it needs to connect; no keys.
    log
        File that takes what it says.
    """

    def __init__(self, command: Sequence[str], settings: dict[str, Any], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self._failed = False
        self._has_ended = False
        self._next_beat = 0.0
        with log.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin.fileno()
        os.set_blocking(self._pipe, False)
        self._write(msgspec.json.encode(settings))

    def wait_until_ready(self) -> None:
        """Wait for the watchdog's own connection.

        Raises
        ------
        StopError
            When it does not come up: the desk does not start unguarded.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line.strip() != b"ready":
            with suppress(OSError):
                self._process.kill()
            raise StopError(
                "the watchdog does not come up; nothing was sent",
                where=str(self.log),
                value=line.decode("utf-8", "replace").strip() or None,
                fix="read its log; --no-watchdog runs unguarded",
            )

    @property
    def is_alive(self) -> bool:
        """False when the watchdog died or its pipe is full: the desk runs unguarded."""
        return not self._failed and self._process.poll() is None

    def begin(self, run_dir: Path) -> None:
        """Tell which run it is."""
        self._tell(LiveOrders("begin", run_dir=str(run_dir.resolve())))

    def beat(self) -> None:
        """Say that the loop turns; cheap to call often."""
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + BEAT_SECONDS
            self._tell(LiveOrders("beat"))

    def order_sent(self, command: SubmitOrder) -> None:
        """Say that an order is about to leave."""
        self._tell(LiveOrders("sent", order=command))

    def order_ended(self, client_order_id: str) -> None:
        """Say that an order has ended."""
        self._tell(LiveOrders("over", name=client_order_id))

    def end(self, *, clean: bool) -> None:
        """Say that the run has ended; after an unclean end the watchdog takes the orders off the book.

        A second call does nothing: the first word stands.
        """
        if self._has_ended:
            return
        self._tell(LiveOrders("end", clean=clean))
        self._has_ended = True
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def kill(self) -> None:
        """End it without a word: it hangs, and a desk goes on that it would take for dead."""
        self._failed = self._has_ended = True
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what it was never told is lost with it
                assert pipe is not None
                pipe.close()

    def wait(self, timeout_seconds: float) -> int | None:
        """Wait for the watchdog's end; return its exit code, None when it still runs."""
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None

    def _tell(self, told: LiveOrders) -> None:
        self._write(msgspec.json.encode(told))

    def _write(self, line: bytes) -> None:
        if self._has_ended:  # the pipe is closed and its number may be another file's by now
            return
        try:
            os.write(self._pipe, line + b"\n")  # below PIPE_BUF: whole or not at all
        except OSError:  # dead, or it has not read for a long time
            self._failed = True


ROUNDS = 40
Log = Callable[[str], None]
Connect = Callable[[tuple[KnownOrder, ...]], Awaitable[Gateway]]
"""Builds a gateway of the account and connects it with these orders known."""


@dataclass(slots=True)
class Watched:
    """What the watchdog knows of the desk."""

    run_dir: str = ""
    has_begun: bool = False
    has_ended: bool = False
    live: dict[str, SubmitOrder] = field(default_factory=dict)

    def take(self, told: LiveOrders) -> None:
        """Take one line in."""
        if told.kind == "begin":
            self.run_dir, self.has_begun = told.run_dir, True
        elif told.kind == "sent" and told.order is not None:
            self.live[told.order.client_order_id] = told.order
        elif told.kind == "over":
            self.live.pop(told.name, None)
        elif told.kind == "end":
            self.has_ended = told.clean


async def watch(reader: asyncio.StreamReader, stall_seconds: float, watched: Watched) -> str | None:
    """Read the pipe until it ends; return why the desk needs help, None when it ended well.

    Beats count from ``begin`` on: connecting may take its time.
    """
    while True:
        try:
            line = await asyncio.wait_for(reader.readline(), stall_seconds if watched.has_begun else None)
        except TimeoutError:
            return f"no beat for {stall_seconds:g} s: the desk hangs"
        if not line:
            return None if watched.has_ended else "the desk died"
        try:
            watched.take(msgspec.json.decode(line, type=LiveOrders))
        except msgspec.MsgspecError:
            continue
        if watched.has_ended:
            return None


def fence(desk_pid: int, say: Log) -> None:
    """End a desk that hangs, so that it cannot wake up and send while its orders are taken away."""
    if desk_pid > 1 and os.getppid() == desk_pid:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(desk_pid, signal.SIGKILL)
            say(f"the hanging desk (process {desk_pid}) was ended")


async def clear(
    gateway: Gateway, connect: Connect, watched: Watched, book: Instruments, say: Log, *, flatten: bool
) -> bool:
    """Cancel every open order, close what is held when ``flatten``; return whether the venue shows it.

    Parameters
    ----------
    gateway
        The line that stood all the time.
    connect
        Opens a line that knows the orders to cancel.
    watched
        Orders that the desk told of: one of them may be on its way and not shown yet.
    book
        Instruments of the run; grows by what the account holds.
    say
        The alarm.
    flatten
        Close the positions after the orders: options first, then shares.
    """
    view = await _view(gateway)
    known = tuple(_known(order) for order in view.open_orders if order.instrument_id is not None)
    shown = {one.submitted.client_order_id for one in known}
    known += tuple(KnownOrder(order) for name, order in watched.live.items() if name not in shown)
    hand = await connect(known)
    sink = asyncio.create_task(_swallow(hand))
    try:
        for one in known:
            hand.send(CancelOrder(one.submitted.client_order_id))
        cleared = await _until_gone(gateway, hand, say)
        say(f"{len(known)} orders cancelled" if cleared else "the venue still shows open orders")
        if flatten and cleared:
            return await _flatten(gateway, hand, watched, book, say)
        return cleared
    finally:
        await hand.close()
        sink.cancel()
        await asyncio.gather(sink, return_exceptions=True)


async def _swallow(gateway: Gateway) -> None:
    async for _ in gateway.events():
        pass


async def _view(gateway: Gateway) -> VenueView:
    for _ in range(ROUNDS):
        try:
            return await gateway.snapshot()
        except ScalpdeskError:
            await asyncio.sleep(0.25)
    return await gateway.snapshot()


async def _until_gone(gateway: Gateway, hand: Gateway, say: Log) -> bool:
    """Ask until the venue shows no open order; cancel again what stays."""
    for round_number in range(ROUNDS):
        view = await _view(gateway)
        if not view.open_orders:
            return True
        if round_number % 8 == 7:
            for order in view.open_orders:
                say(f"still open: {order.symbol} {order.client_order_id}")
                hand.send(CancelOrder(order.client_order_id))
        await asyncio.sleep(0.1)
    return False


async def _flatten(gateway: Gateway, hand: Gateway, watched: Watched, book: Instruments, say: Log) -> bool:
    """Close options, then shares, at the market; each order under a name of its own."""
    count = 0
    for _ in range(ROUNDS):
        view = await _view(gateway)
        held = [one for one in view.positions if one.instrument_id is not None and one.quantity]
        if not held:
            say("the account is flat")
            return True
        options = [one for one in held if isinstance(book[one.instrument_id], OptionContract)]  # type: ignore[index]
        if not view.open_orders:
            for one in options or held:
                assert one.instrument_id is not None
                count += 1
                purpose = Purpose.CLOSE if options else Purpose.UNWIND_HEDGE
                side = Side.SELL if one.quantity > 0 else Side.BUY
                name = f"wd{abs(hash_of(watched.run_dir)):x}-{view.ts_recv_ns:x}-{count}"
                order = SubmitOrder(
                    name,
                    one.instrument_id,
                    side,
                    abs(one.quantity),
                    OrderType.MARKET,
                    None,
                    TimeInForce.DAY,
                    purpose,
                )
                say(f"closing {one.quantity:+f} {one.symbol}")
                hand.send(order)
        await asyncio.sleep(0.25)
    return False


def hash_of(text: str) -> int:
    """Return a small number that names a run, the same in every process."""
    return sum((index + 1) * byte for index, byte in enumerate(text.encode())) % 65_521


def _known(order: VenueOrder) -> KnownOrder:
    assert order.instrument_id is not None
    kind = OrderType.MARKET if order.limit_price is None else OrderType.LIMIT
    command = SubmitOrder(
        order.client_order_id,
        order.instrument_id,
        order.side,
        order.quantity,
        kind,
        order.limit_price,
        TimeInForce.DAY,
        Purpose.CLOSE,
    )
    value = order.filled * (order.average_price or Decimal(0))
    return KnownOrder(command, order.filled, value, venue_order_id=order.venue_order_id)


async def pipe_of_stdin() -> asyncio.StreamReader:
    """Return standard input as a stream of lines."""
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


class WatchdogSupervisor:
    """A watchdog that comes back; a :class:`scalpdesk.live.core.Pulse` to the runner.

    Starting one takes seconds (a process, imports, a connection of its own): that happens in a thread,
    and the desk's loop only looks whether it is done.

    Parameters
    ----------
    line
        The watchdog that runs now.
    start
        Starts another and returns once it is connected; blocks, and raises ScalpdeskError when it
        does not come up.
    say
        Told what a person should know.
    pause_seconds
        Before the second try; doubled up to a minute.
    """

    def __init__(
        self,
        line: HeartbeatChannel,
        start: Callable[[], HeartbeatChannel],
        say: Notify,
        *,
        pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self.line = line
        self.restarts = 0
        self._start = start
        self._say = say
        self._first_pause = self._pause = pause_seconds
        self._next_try = 0.0
        self._run_dir: Path | None = None
        self._live: dict[str, SubmitOrder] = {}
        self._starting: threading.Thread | None = None
        self._started: HeartbeatChannel | None = None
        self._refusal = ""
        self._has_ended = False

    @property
    def is_alive(self) -> bool:
        """False while nobody watches."""
        return self.line.is_alive

    def begin(self, run_dir: Path) -> None:
        """Tell which run it is."""
        self._run_dir = run_dir
        self.line.begin(run_dir)

    def beat(self) -> None:
        """Say that the loop turns, and see to it that somebody hears it; cheap to call often."""
        if self.line.is_alive:
            self.line.beat()
        elif not self._has_ended:
            self._replace()

    def order_sent(self, command: SubmitOrder) -> None:
        """Say that an order is about to leave."""
        self._live[command.client_order_id] = command
        self.line.order_sent(command)

    def order_ended(self, client_order_id: str) -> None:
        """Say that an order has ended."""
        self._live.pop(client_order_id, None)
        self.line.order_ended(client_order_id)

    def end(self, *, clean: bool) -> None:
        """Say that the run has ended; the first word stands."""
        self._has_ended = True
        if self._starting is not None:
            self._starting.join()
            self._take_over()
        self.line.end(clean=clean)

    def wait(self, timeout_seconds: float) -> int | None:
        """Wait for the watchdog's end; return its exit code, None when it still runs."""
        return self.line.wait(timeout_seconds)

    def _replace(self) -> None:
        """Begin to start another, or take it over once it stands."""
        if self._starting is None:
            now = time.monotonic()
            if now < self._next_try:
                return
            self._next_try = now + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            self.line.kill()  # one that hangs would take the end of its pipe for the end of the desk
            self._starting = threading.Thread(target=self._bring_up, name="watchdog-start", daemon=True)
            self._starting.start()
        elif not self._starting.is_alive():
            self._take_over()

    def _bring_up(self) -> None:
        try:
            self._started = self._start()
        except (ScalpdeskError, OSError) as error:
            self._refusal = str(error)

    def _take_over(self) -> None:
        """Let the new one know what the old one knew."""
        self._starting = None
        line, self._started = self._started, None
        if line is None:
            self._say("alarm", f"the watchdog cannot be started, nobody guards this desk: {self._refusal}")
            return
        self.line = line
        self.restarts += 1
        self._pause = self._first_pause
        if self._run_dir is not None:
            line.begin(self._run_dir)
        for command in self._live.values():
            line.order_sent(command)
        self._say("warning", "the watchdog had died; another one guards this desk now")
