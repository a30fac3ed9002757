"""An account whose desk does not run: its mode, what it holds, and closing it past any desk."""

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path

from scalpdesk.config.settings import LoadedSettings
from scalpdesk.core.backoff import BackOff
from scalpdesk.core.clock import Clock, FollowingClock, SystemClock
from scalpdesk.core.enums import Mode, OperatorAction
from scalpdesk.core.errors import (
    ConfigError,
    InvariantError,
    JournalError,
    Notify,
    RetryError,
    ScalpdeskError,
    StopError,
)
from scalpdesk.core.events import (
    AccountSnapshot,
    OrderEvent,
    OrderFilled,
    PositionChanged,
    is_order_event,
)
from scalpdesk.core.intents import MultiLegOrder, SubmitOrder
from scalpdesk.core.mode import AccountMode
from scalpdesk.core.owner_only import state_dir
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.journal.reader import JournalReader, peek_header, run_dirs
from scalpdesk.live.account_mode import ModeRecord, WaitingCommand, record_of
from scalpdesk.live.arming import AccountLock, DeskHolder, account_holder
from scalpdesk.live.assembly import life_of, lock_account, venue_at, venue_gateway
from scalpdesk.live.emergency import CLEAR_SECONDS, EmergencyTrader, Log
from scalpdesk.live.options import SIMULATED_ACCOUNTS, RunOptions, venue_name
from scalpdesk.live.plan import LivePlan, plan_of
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.venues.contract import EmergencyGateway
from scalpdesk.venues.questions import BRIEF_SECONDS

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 10.0
"""Between two tries to connect."""
_FREE_SECONDS, _LOOK_SECONDS = 30.0, 0.2
"""Longest wait until nothing holds the account, and between two looks."""
_ORDERS_SHOWN = 5
"""Latest orders of a run by which the account is known, where the venue does not name it."""


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest run at a venue of a folder of runs."""

    run_dir: Path
    header: JournalHeader
    is_over: bool
    """It ended flat, and its journal is sealed."""

    @property
    def account_id(self) -> str:
        """The account's id at the venue."""
        return str(self.header.data.get("account_id", ""))

    @property
    def venue_at(self) -> str:
        """Name under which the account is filed."""
        return venue_at(venue_name(self.header.venue), self.header.data.get("url"))

    def record(self, state: Path) -> ModeRecord:
        """Return the record of the account's mode; ``state`` is the machine-wide folder."""
        return record_of(state, self.venue_at, self.account_id)


def last_runs(runs_dir: Path) -> list[LastRun]:
    """Return the newest run of each account of a venue whose runs lie in a folder, the newest last."""
    found: dict[tuple[str, str], LastRun] = {}
    for folder in run_dirs(runs_dir):
        with suppress(JournalError):
            header = peek_header(folder)
            run = LastRun(folder, header, is_over=False)
            known = found.get((run.venue_at, run.account_id))
            is_account = (
                header.mode in ("paper", "live") and venue_name(header.venue) not in SIMULATED_ACCOUNTS
            )
            if is_account and (known is None or known.header.started_ns <= header.started_ns):
                found[run.venue_at, run.account_id] = run
    latest = sorted(found.values(), key=lambda run: run.header.started_ns)
    return [replace(run, is_over=_is_sealed(run.run_dir)) for run in latest]


def _is_sealed(run_dir: Path) -> bool:
    try:
        return JournalReader(run_dir).sealed
    except JournalError:
        return False


def command_account(run: LastRun, state: Path, action: OperatorAction, reason: str, who: str) -> AccountMode:
    """Put an account without a desk into a mode: the next start, of whatever run, begins in it.

    Raises StopError when a desk trades the account, or the disk refuses.
    """
    record = run.record(state)
    now_ns = SystemClock().now_ns()
    holder = DeskHolder(os.getpid(), f"scalpdesk {action}", str(run.run_dir.parent), now_ns)
    lock = AccountLock(state, run.venue_at, run.account_id, holder)
    try:
        recorded = record.read()
        before = AccountMode() if recorded is None else recorded.state
        after = WaitingCommand(action, reason, who, now_ns).after(before)
        record.write(after)
    finally:
        lock.release()
    return after


def end_desk(run: LastRun, state: Path, log: Log) -> None:
    """End a desk that holds the account and does not answer, or only starts; wait until nothing holds it.

    A watchdog that acts is waited for: it cancels, and closes where it is set to. A desk of another run is
    left alone, and the account's lock refuses what follows.
    """
    ended, deadline = False, time.monotonic() + _FREE_SECONDS
    while (holder := account_holder(state, run.venue_at, run.account_id)) is not None:
        if time.monotonic() >= deadline:
            return
        is_of_run = holder.run_id == run.run_dir.name and not holder.watchdog_log
        if is_of_run and not ended:
            ended = True
            log(f"the desk that does not answer (process {holder.pid}) is ended")
            with suppress(ProcessLookupError, PermissionError):
                os.kill(holder.pid, signal.SIGKILL)
        elif not is_of_run and not holder.watchdog_log:
            return
        time.sleep(_LOOK_SECONDS)


async def close_everything(
    run: LastRun,
    settings: LoadedSettings,
    state: Path,
    log: Log,
    *,
    gateway_of: Callable[[LivePlan, Instruments, Clock], EmergencyGateway] | None = None,
) -> bool:
    """Cancel every order of an account and close its positions at the venue, as the watchdog does.

    ``state``: Machine-wide folder of locks and armings.
    ``gateway_of``: Builds the connection; None takes the venue's, under the watchdog's client id.

    Returns whether the venue shows a flat account.

    Raises ConfigError when the keys belong to another account. Raises StopError when a desk, or a watchdog
    that acts, holds the account.
    """
    header = run.header
    is_live, url = header.mode == "live", header.data.get("url")
    plan = plan_of(settings, RunOptions(venue=header.venue, live=is_live, url=url, exchange_time=False))
    plan = replace(plan, state=state)
    gateway_of = gateway_of or partial(venue_gateway, is_watchdog=True)
    journaled = _journaled(run.run_dir)
    lock = lock_account(plan, run.account_id, "scalpdesk flatten --now")
    try:
        gateway, instruments, account_id = await _connected(partial(gateway_of, plan), plan, log)
        try:
            for instrument in header.instruments:
                instruments.add(instrument)
            await _check_account(gateway, run, account_id, journaled)
            return await _clear(gateway, instruments, settings, header, journaled, log)
        finally:
            await gateway.close(graceful=False)
    finally:
        lock.release()


async def leave_if_asked(
    plan: LivePlan,
    notify: Notify,
    *,
    gateway_of: Callable[[LivePlan, Instruments, Clock], EmergencyGateway] | None = None,
) -> bool:
    """Close the account of a start that does not come up, where a flatten is pending; return whether one was.

    A desk that runs would leave by the venue's positions; so does one that cannot start.
    """
    state = plan.state or state_dir(os.environ)
    for run in reversed(last_runs(plan.runs_dir)):
        recorded = run.record(state).read()
        is_of_plan = run.venue_at == venue_at(plan.venue, plan.url)
        if not is_of_plan or recorded is None or recorded.state.mode is not Mode.FLATTENING:
            continue
        notify("alarm", "the desk does not start, and a flatten is pending: closing what the positions show")
        try:
            done = await close_everything(
                run, plan.settings, state, lambda text: notify("info", text), gateway_of=gateway_of
            )
            why = ""
        except ScalpdeskError as error:
            done, why = False, f" ({error.what})"
        text = "the venue shows it flat" if done else "NOT flat: act by hand on the venue's own pages"
        notify("warning" if done else "alarm", f"left without a start: {text}{why}")
        return True
    return False


async def _connected(
    gateway_of: Callable[[Instruments, Clock], EmergencyGateway], plan: LivePlan, log: Log
) -> tuple[EmergencyGateway, Instruments, str]:
    """Connect, again and again while no order could be sent; return the account's id as the venue says it."""
    loop, said = asyncio.get_running_loop(), ""
    ends, pauses = loop.time() + CLEAR_SECONDS, BackOff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
    while True:
        instruments = Instruments()
        gateway = gateway_of(instruments, FollowingClock() if plan.url is not None else SystemClock())
        try:
            return gateway, instruments, await gateway.connect_to_leave()
        except RetryError as error:
            if loop.time() >= ends:
                raise
            if error.what != said:
                said = error.what
                log(f"{error.what}; trying again for {ends - loop.time():.0f} s")
        await asyncio.sleep(pauses.pause())


@dataclass(slots=True)
class _Journaled:
    """What a run's journal says that helps to leave: its orders, and what it took over and holds."""

    orders: OrderManager
    adopted: dict[InstrumentId, Decimal]
    held: dict[InstrumentId, Decimal] | None
    """None where the journal cannot be read to its end."""


def _journaled(run_dir: Path) -> _Journaled:
    """Return what a run's journal says, as far as it can be read."""
    held: dict[InstrumentId, Decimal] = defaultdict(Decimal)
    found = _Journaled(OrderManager(""), {}, None)
    with suppress(JournalError, InvariantError):
        for events, outputs in JournalReader(run_dir).steps():
            for event in events:
                if is_order_event(event) and event.client_order_id in found.orders.orders:
                    order = found.orders.orders[event.client_order_id]
                    before = order.filled
                    _follow(found.orders, event)
                    held[order.submitted.instrument_id] += order.submitted.side.sign * (order.filled - before)
                elif isinstance(event, PositionChanged):
                    held[event.instrument_id] += event.quantity_change
                    if event.source is not None:
                        held[event.source] -= event.source_change
                elif isinstance(event, AccountSnapshot):
                    found.adopted = {line.instrument_id: line.quantity for line in event.positions}
                    held = defaultdict(Decimal, found.adopted)
            for output in outputs:
                if isinstance(output, SubmitOrder | MultiLegOrder):
                    found.orders.restore(output, 0)
        found.held = held
    return found


def _follow(orders: OrderManager, event: OrderEvent) -> None:
    if not isinstance(event, OrderFilled):
        orders.apply(event)
    elif not orders.orders[event.client_order_id].has_seen(event.execution_id):
        orders.fill(orders.orders[event.client_order_id], event)


async def _check_account(
    gateway: EmergencyGateway, run: LastRun, account_id: str, journaled: _Journaled
) -> None:
    """Refuse keys of another account than the run's.

    Where the venue does not name it, it is known by an order of the run; by a holding where it sent none.

    Raises ConfigError for those. Raises StopError where nothing shows whose account it is.
    """
    where = f"run {run.header.run_id}: account {run.account_id}"
    if account_id == run.account_id:
        return
    if account_id:
        raise ConfigError(
            "the keys belong to another account than the run; nothing was sent",
            where=where,
            value=account_id,
            fix="put in the keys of that account",
        )
    sent = [order.parent_id or name for name, order in journaled.orders.orders.items()]
    latest = tuple(dict.fromkeys(reversed(sent[-_ORDERS_SHOWN:])))
    if any(await asyncio.gather(*(_is_taken(gateway, name) for name in latest))):
        return
    if not sent:
        held = {line.instrument_id: line.quantity for line in (await gateway.shown_positions()).positions}
        if any(held.get(number, ZERO) * units > 0 for number, units in journaled.adopted.items()):
            return
    raise StopError(
        "the venue does not say whose account the keys open, and shows nothing of the run; nothing was sent",
        where=where,
        fix="try again, or close the positions on the venue's own pages",
    )


async def _is_taken(gateway: EmergencyGateway, name: str) -> bool:
    with suppress(RetryError, TimeoutError):
        async with asyncio.timeout(BRIEF_SECONDS):
            return await gateway.is_taken(name)
    return False


async def _clear(
    gateway: EmergencyGateway,
    instruments: Instruments,
    settings: LoadedSettings,
    header: JournalHeader,
    journaled: _Journaled,
    log: Log,
) -> bool:
    name = f"{header.data['order_prefix']}-{life_of(os.getpid(), SystemClock().now_ns())}"
    trader = EmergencyTrader(
        gateway=gateway,
        instruments=instruments,
        name=name,
        limits=settings.config.risk,
        log=log,
        books=journaled.held,
    )
    open_still = journaled.orders.live.values()
    return await trader.clear_twice(
        (order.submitted for order in open_still),
        flatten=True,
        parents={order.client_order_id: order.parent_id for order in open_still if order.parent_id},
    )
