"""The watchdog: a process that outlives the desk, with a connection of its own to the venue.

It reads heartbeats from a pipe. When the pipe ends without a clean end of the run, or no heartbeat comes
in time, it kills the desk if that still runs, cancels every open order of the account and, when it is set
to, closes the positions. Started by the desk: ``python -m scalpdesk.live.watchdog_program``.
"""

import asyncio
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType

import msgspec

from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import FollowingClock, SystemClock
from scalpdesk.core.errors import (
    EXIT_FAILED,
    EXIT_USAGE,
    ConfigError,
    RetryError,
    ScalpdeskError,
    StopError,
)
from scalpdesk.core.events import OrderFilled, QuoteEvent, is_order_event
from scalpdesk.core.intents import OrderType, Purpose, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.engine.flattening import ClosingLine, Flattener
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import from_ns
from scalpdesk.journal.reader import peek_header
from scalpdesk.live.assembly import venue_gateway
from scalpdesk.live.plan import plan_of
from scalpdesk.live.reconciliation import settle_queue
from scalpdesk.live.supervision import describe
from scalpdesk.live.watchdog import ACTED_FILE, STARTING_SECONDS, DeskMessage, HeartbeatChannel, MessageKind
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.venues.contract import EmergencyGateway, KnownOrder, VenueOrder, VenueView

STALL_SECONDS = 3.0
START_STALL_SECONDS = 60.0
"""Without a heartbeat from the beginning of a run until it follows its market: the desk may compile, and the
machine be busy."""
Log = Callable[[str], None]
ZERO = Decimal(0)


class WatchdogSettings(msgspec.Struct, frozen=True):
    """The watchdog's first line: what it needs to connect.

    Parameters
    ----------
    strategy, config_file, overrides
        As the desk was started.
    venue, live, url
        Where the account is.
    desk_pid
        The desk's process.
    keys
        Those that the desk took from its environment, by name; they pass through the pipe and nowhere else.
        The rest comes from the same sources as the desk's.
    stall_seconds
        Without a heartbeat for so long, the desk counts as hanging.
    flatten
        Close the positions too.
    leaves_foreign
        Leave open orders that the run did not send.
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
    keys: dict[str, str] = {}
    stall_seconds: float = STALL_SECONDS
    flatten: bool = False
    leaves_foreign: bool = False
    state: str = ""


class _Refusal(msgspec.Struct, frozen=True):
    """What kept a watchdog from coming up: its one line instead of ``ready``."""

    what: str
    where: str | None = None
    fix: str | None = None
    exit_code: int = EXIT_FAILED


def start_watchdog(settings: WatchdogSettings, log: Path) -> HeartbeatChannel:
    """Start the watchdog of this process and wait for its own connection.

    Raises
    ------
    StopError
        When it does not come up in time.
    ConfigError
        When keys or settings are wrong: the watchdog's own message, since the desk would meet the same.
    """
    command = [sys.executable, "-m", "scalpdesk.live.watchdog_program"]
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
    live: dict[str, SubmitOrder] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    """Id of the combo by the id of its leg."""

    def apply(self, message: DeskMessage) -> None:
        """Follow one message."""
        match message.kind:
            case MessageKind.BEGIN:
                self.run_dir, self.has_begun, self.has_started = message.run_dir, True, False
            case MessageKind.STARTED:
                self.has_started = True
            case MessageKind.ORDER_SENT if message.order is not None:
                self.live[message.order.client_order_id] = message.order
                self.parents[message.order.client_order_id] = message.parent
            case MessageKind.ORDER_ENDED:
                self.live.pop(message.name, None)
            case MessageKind.END:
                self.has_ended = message.clean


async def watch(
    reader: asyncio.StreamReader,
    stall_seconds: float,
    watched: Watched,
    *,
    start_stall_seconds: float = START_STALL_SECONDS,
) -> str | None:
    """Read the pipe until it ends; return why the desk needs help, None when it ended well."""
    while True:
        limit = stall_seconds if watched.has_started else max(start_stall_seconds, stall_seconds)
        if not watched.has_begun:
            limit = STARTING_SECONDS
        try:
            line = await asyncio.wait_for(reader.readline(), limit)
        except TimeoutError:
            return f"no heartbeat for {limit:g} s: the desk hangs"
        if not line:
            return None if watched.has_ended else "the desk died"
        try:
            watched.apply(msgspec.json.decode(line, type=DeskMessage))
        except msgspec.MsgspecError:
            continue
        if watched.has_ended:
            return None


def fence(desk_pid: int, log: Log) -> None:
    """Kill a desk that hangs, so that it cannot wake up and send while its orders are cancelled."""
    if desk_pid > 1 and os.getppid() == desk_pid:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(desk_pid, signal.SIGKILL)
            log(f"the hanging desk (process {desk_pid}) was killed")


FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 2.0
"""Between two rounds; they grow apart, for the venue counts requests."""
CLEAR_SECONDS = 600.0
"""The last resort goes on for so long: a venue that limits requests may take minutes."""
REPEAT_CANCEL_SECONDS = 2.0
CONFIRM_SECONDS = 0.15
"""A view of the positions is confirmed by an equal one after so long."""
LAG_SECONDS = 10.0
"""A view that lacks executions which the venue has reported is late; after so long it is believed."""
NO_QUOTE = QuoteEvent(InstrumentId(0), 0, 0, float("nan"), float("nan"), 0.0, 0.0)


class EmergencyTrader:
    """Cancels every open order of an account and closes its positions, on any venue that may lose requests.

    Nothing new is sent in an instrument until the last order there is over, or proven absent; the size is
    the position less what works. Orders are placed by the engine's :class:`Flattener`, which names them by
    run, instrument and attempt, so that no repetition can fill twice. Orders from elsewhere are cancelled
    by the venue's id.

    Parameters
    ----------
    gateway
        Connected; nobody else reads its events.
    instruments
        Of the run, which the gateway shares; what the account holds beside them is added.
    flattener
        Of this run.
    limits
        Largest orders and allowed order types.
    log
        Takes messages.
    only_ids
        Beginning of the ids of the run's orders: open orders with other ids are left. None leaves none.
    """

    def __init__(
        self,
        *,
        gateway: EmergencyGateway,
        instruments: Instruments,
        flattener: Flattener,
        limits: RiskLimits,
        log: Log,
        only_ids: str | None = None,
    ) -> None:
        self._gateway = gateway
        self._instruments = instruments
        self._flattener = flattener
        self._limits = limits
        self._log = log
        self._only_ids = only_ids
        self._orders = OrderManager("")
        self._events = 0
        self._cancelled: dict[str, float] = {}
        """When the cancel of an order was sent last, by venue id; the loop's time."""
        self._trusted: dict[InstrumentId, Decimal] | None = None
        """Positions that were believed last."""
        self._filled: defaultdict[InstrumentId, Decimal] = defaultdict(Decimal)
        """Signed executions since then."""
        self._seen: tuple[dict[InstrumentId, Decimal], float] | None = None
        """The positions shown last, and since when they have been the same."""
        self._lines: list[ClosingLine] = []
        self._next_step_at = 0.0
        self._logged: set[str] = set()

    async def clear(
        self,
        desk_orders: Iterable[SubmitOrder],
        *,
        flatten: bool,
        parents: Mapping[str, str] = MappingProxyType({}),
    ) -> bool:
        """Cancel every open order, close the positions when ``flatten``; return whether the venue shows it.

        Parameters
        ----------
        desk_orders
            Orders of the desk without a known end: each may be at the venue, on its way, or absent.
        flatten
            Close the positions: options first, then shares.
        parents
            Id of the combo by the id of its leg.
        """
        loop = asyncio.get_running_loop()
        commands = tuple(desk_orders)
        for command in commands:
            self._follow(Order(msgspec.structs.replace(command, owner=""), 0, OrderState.UNKNOWN))
        self._gateway.adopt(
            KnownOrder(command, parent_id=parents.get(command.client_order_id, "")) for command in commands
        )
        following = loop.create_task(self._follow_events())
        ends, pause = loop.time() + CLEAR_SECONDS, FIRST_PAUSE_SECONDS
        try:
            while loop.time() < ends:
                try:
                    if await self._round(flatten=flatten):
                        return True
                except Exception as error:  # noqa: BLE001 - the next round tries again, whatever it was
                    self._log(f"not done yet: {describe(error)}")
                await asyncio.sleep(pause)
                pause = min(1.1 * pause, LONGEST_PAUSE_SECONDS)
            return False
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    # orders ---------------------------------------------------------------------------------------

    def _follow(self, order: Order) -> None:
        name = order.submitted.client_order_id
        self._orders.orders[name] = self._orders.live[name] = order

    async def _follow_events(self) -> None:
        async for item in self._gateway.events():
            if not is_order_event(item):
                continue
            order = self._orders.orders.get(item.client_order_id)
            if order is None:
                continue
            self._events += 1
            try:
                before = order.filled
                self._orders.apply(item)
                self._filled[order.submitted.instrument_id] += (
                    order.filled - before
                ) * order.submitted.side.sign
            except StopError as error:
                self._log(f"{type(item).__name__} of {item.client_order_id} was not applied: {error.what}")
            if isinstance(item, OrderFilled):
                symbol = self._instruments[order.submitted.instrument_id].symbol
                self._log(f"{order.submitted.side} {item.quantity:f} {symbol} filled at {item.price}")

    async def _query_missing(self, shown: frozenset[str]) -> None:
        """Ask what became of the orders that are not over and that the venue does not show as open."""
        for name in [name for name in self._orders.live if name not in shown]:
            await self._gateway.query_order(name)
        await settle_queue()

    async def _cancel_open(self, view: VenueView) -> None:
        """Cancel all that is open but the orders placed here."""
        now = asyncio.get_running_loop().time()
        due = [
            order
            for order in view.open_orders
            if not (self._is_own(order.client_order_id) or self._is_left(order))
            and now >= self._cancelled.get(order.venue_order_id, -1e9) + REPEAT_CANCEL_SECONDS
        ]
        for order in due:
            self._cancelled[order.venue_order_id] = now
            self._log_once(
                f"cancelling {order.side} {order.quantity:f} {order.symbol} {order.client_order_id}"
            )
        results = await asyncio.gather(
            *(self._gateway.cancel_at_venue(order.venue_order_id) for order in due), return_exceptions=True
        )
        for order, result in zip(due, results, strict=True):
            if result is not True:
                self._log(f"the cancel of {order.client_order_id} was not taken: trying again")

    def _is_own(self, client_order_id: str) -> bool:
        order = self._orders.live.get(client_order_id)
        return order is not None and bool(order.created_ns)

    def _is_left(self, order: VenueOrder) -> bool:
        """Return whether an open order is from elsewhere and such orders are left."""
        name, only = order.client_order_id, self._only_ids
        return only is not None and not name.startswith(only) and name not in self._orders.orders

    # rounds ---------------------------------------------------------------------------------------

    async def _round(self, *, flatten: bool) -> bool:
        """Look at the account and do what is next; return whether all is done."""
        events = self._events
        view = await self._gateway.snapshot()
        await self._cancel_open(view)
        shown = frozenset(order.client_order_id for order in view.open_orders)
        await self._query_missing(shown)
        left = [order for order in view.open_orders if self._is_left(order)]
        if left:
            names = ", ".join(f"{order.symbol} {order.client_order_id}" for order in left)
            self._log_once(f"open orders from elsewhere are left (--foreign-orders leave): {names}")
        is_clear = len(left) == len(view.open_orders) and not self._orders.live
        if not flatten:
            if is_clear:
                self._log("no order is open")
            return is_clear
        if self._events != events or self._add_held(view) or not self._believes(view):
            return False
        assert self._trusted is not None
        lines = [ClosingLine("", number, quantity) for number, quantity in self._trusted.items()]
        if not lines and is_clear:
            others = ", ".join(str(held) for held in view.positions if held.quantity)
            if others:
                self._log_once(f"not flat, and nothing here can close it: {others}")
                return False
            self._log("the account is flat")
            return True
        await self._close(lines, view)
        return False

    def _add_held(self, view: VenueView) -> bool:
        """Add what is held and the run did not know; True when there was any."""
        new = [
            held.instrument
            for held in view.positions
            if held.quantity and held.instrument_id is None and held.instrument is not None
        ]
        for instrument in new:
            self._instruments.add(instrument)
        return bool(new)

    def _believes(self, view: VenueView) -> bool:
        """Decide whether the positions shown are the account's, and keep them.

        They are when they are those believed before plus the executions since. Otherwise they must be
        shown again: shortly after when something from outside moved them, for long when they lack
        executions that were reported: the venue's positions may lag behind its order stream.
        """
        now = asyncio.get_running_loop().time()
        held: dict[InstrumentId, Decimal] = {}
        for position in view.positions:
            number = position.instrument_id
            if number is not None and position.quantity:
                held[number] = held.get(number, ZERO) + position.quantity
        if self._seen is None or self._seen[0] != held:
            self._seen = held, now
        if self._trusted is not None:
            numbers = self._trusted.keys() | self._filled.keys()
            expected = {
                number: quantity
                for number in numbers
                if (quantity := self._trusted.get(number, ZERO) + self._filled[number])
            }
            wait = LAG_SECONDS if any(self._filled.values()) else CONFIRM_SECONDS
        else:
            expected, wait = None, CONFIRM_SECONDS
        if held != expected and now - self._seen[1] < wait:
            return False
        self._trusted = held
        self._filled.clear()
        return True

    async def _close(self, lines: list[ClosingLine], view: VenueView) -> None:
        """Send the next closing orders, at growing intervals while the same positions stay."""
        now = asyncio.get_running_loop().time()
        if lines == self._lines and now < self._next_step_at:
            return
        shown = {order.client_order_id for order in view.open_orders}
        own = [order for name, order in self._orders.live.items() if self._is_own(name) or name not in shown]
        held = {line.instrument_id: line.quantity for line in lines}
        working = own + [
            stand_in for order in view.open_orders if (stand_in := self._closer(order, held, view.ts_recv_ns))
        ]
        step = self._flattener.step(view.ts_recv_ns, lines, working, await self._quotes(lines), self._limits)
        for cancel in step.cancels:
            command = self._orders.cancel(cancel.client_order_id)
            if command is not None:
                self._gateway.send(command)
        busy = {order.submitted.instrument_id for order in own}
        orders = [order for order in step.orders if order.instrument_id not in busy]
        for submit in self._flattener.name_orders(orders):
            self._log(
                f"{submit.side} {submit.quantity:f} {self._instruments[submit.instrument_id].symbol}"
                f" {submit.client_order_id}"
            )
            self._follow(Order(submit, max(view.ts_recv_ns, 1)))
            self._gateway.send(submit)
        if orders:
            self._lines, self._next_step_at = lines, now + (step.again_in_seconds or 0.0)

    def _closer(self, order: VenueOrder, held: dict[InstrumentId, Decimal], now_ns: int) -> Order | None:
        """Return an order from elsewhere that may still close part of a position, as one that works."""
        number = order.instrument_id
        if (
            number is None
            or self._is_own(order.client_order_id)
            or order.side.sign * held.get(number, ZERO) >= 0
        ):
            return None
        submitted = SubmitOrder(
            order.client_order_id,
            number,
            order.side,
            order.quantity,
            OrderType.MARKET,
            None,
            TimeInForce.DAY,
            Purpose.CLOSE,
        )
        return Order(submitted, now_ns, OrderState.PENDING_CANCEL, filled=order.filled)

    async def _quotes(self, lines: list[ClosingLine]) -> dict[InstrumentId, QuoteEvent]:
        """Return quotes where limits are needed; a market order goes without."""
        quotes: defaultdict[InstrumentId, QuoteEvent] = defaultdict(lambda: NO_QUOTE)
        if OrderType.MARKET not in self._limits.allowed_order_types:
            with suppress(RetryError):
                for quote in await self._gateway.quotes([line.instrument_id for line in lines]):
                    quotes[quote.instrument_id] = quote
        return quotes

    def _log_once(self, text: str) -> None:
        if text not in self._logged:
            self._logged.add(text)
            self._log(text)


def log(text: str) -> None:
    """Write a message with its time to standard error, which is the watchdog's log."""
    stamp = from_ns(SystemClock().now_ns()).isoformat(timespec="milliseconds")
    sys.stderr.write(f"{stamp} watchdog: {text}\n")
    sys.stderr.flush()


async def guard(settings: WatchdogSettings, reader: asyncio.StreamReader) -> int:
    """Connect, write ``ready``, watch, and act; return the exit code (0: the desk ended well)."""
    loaded = load_settings(
        settings.strategy,
        config_file=settings.config_file,
        overrides=settings.overrides,
        environ=os.environ | settings.keys,
        cwd=Path(),
        simulated_account=False,  # the run that it guards has been checked
    )
    plan = plan_of(loaded, settings.venue, live=settings.live, url=settings.url, exchange_time=False)
    plan = replace(plan, state=Path(settings.state) if settings.state else None)
    instruments = Instruments()
    clock = FollowingClock() if settings.url is not None else SystemClock()
    gateway = venue_gateway(plan, instruments, clock)
    await gateway.connect()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    watched = Watched()
    try:
        trouble = await _watch_beside(gateway, reader, settings.stall_seconds, watched)
        if trouble is None:
            return 0
        if not watched.has_begun:
            log(f"{trouble}; no run had begun, nothing is done")
            return 0
        return await _act(gateway, instruments, loaded.config.risk, settings, watched, trouble)
    finally:
        await gateway.close(graceful=False)


async def _watch_beside(
    gateway: EmergencyGateway, reader: asyncio.StreamReader, stall_seconds: float, watched: Watched
) -> str | None:
    """Watch, and pass over the account's events meanwhile."""

    async def pass_over() -> None:
        async for _ in gateway.events():
            pass

    passing = asyncio.get_running_loop().create_task(pass_over())
    try:
        return await watch(reader, stall_seconds, watched)
    finally:
        passing.cancel()
        await asyncio.gather(passing, return_exceptions=True)


async def _act(
    gateway: EmergencyGateway,
    instruments: Instruments,
    limits: RiskLimits,
    settings: WatchdogSettings,
    watched: Watched,
    trouble: str,
) -> int:
    acted = Path(watched.run_dir) / ACTED_FILE

    def log_to_run(text: str) -> None:
        log(text)
        with suppress(OSError), acted.open("a") as out:  # the log stands even when the run's folder does not
            out.write(f"{text}\n")

    log_to_run(f"ALARM: {trouble}; cancelling all orders")
    fence(settings.desk_pid, log_to_run)
    header = peek_header(Path(watched.run_dir))
    for instrument in header.instruments:
        instruments.add(instrument)
    trader = EmergencyTrader(
        gateway=gateway,
        instruments=instruments,
        # the process tells the lives of a run apart: the second one's ids are not the first one's
        flattener=Flattener(instruments, f"{header.data['order_prefix']}-{settings.desk_pid}"),
        limits=limits,
        log=log_to_run,
        only_ids=header.data["order_prefix"] if settings.leaves_foreign else None,
    )
    began = asyncio.get_running_loop().time()
    done = await trader.clear(watched.live.values(), flatten=settings.flatten, parents=watched.parents)
    seconds = asyncio.get_running_loop().time() - began
    log_to_run(f"{'done' if done else 'NOT DONE: act by hand'} after {seconds:.2f} s")
    return 3 if done else 4


async def _main() -> int:
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return await guard(msgspec.json.decode(await reader.readline(), type=WatchdogSettings), reader)


def main() -> int:
    """Run the watchdog; its exit code tells how the desk ended."""
    try:
        return asyncio.run(_main())
    except ScalpdeskError as error:
        refusal = _Refusal(error.what, error.where, error.fix, error.exit_code)
        sys.stdout.write(f"{msgspec.json.encode(refusal).decode()}\n")
        log(error.render())
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
