"""An account whose desk does not run: its mode, what it holds, and closing it past any desk."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from scalpdesk.config.settings import LoadedSettings
from scalpdesk.core.clock import Clock, FollowingClock, SystemClock
from scalpdesk.core.enums import OperatorAction
from scalpdesk.core.errors import ConfigError, JournalError
from scalpdesk.core.mode import AccountMode
from scalpdesk.instruments.contract import Instruments
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.journal.reader import JournalReader, peek_header, run_dirs
from scalpdesk.live.account_mode import ModeRecord, WaitingCommand, record_of
from scalpdesk.live.arming import AccountLock, DeskHolder
from scalpdesk.live.assembly import life_of, lock_account, venue_at, venue_gateway
from scalpdesk.live.emergency import EmergencyTrader, Log
from scalpdesk.live.options import SIMULATED_ACCOUNTS, RunOptions, venue_name
from scalpdesk.live.plan import LivePlan, plan_of
from scalpdesk.live.watchdog_program import LATE_ORDER_SECONDS
from scalpdesk.venues.contract import EmergencyGateway


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
    instruments = Instruments()
    gateway = gateway_of(plan, instruments, FollowingClock() if plan.url is not None else SystemClock())
    facts = await gateway.connect()
    try:
        if facts.account_id != run.account_id:
            raise ConfigError(
                "the keys belong to another account than the run; nothing was sent",
                where=f"run {header.run_id}: account {run.account_id}",
                value=facts.account_id,
                fix="put in the keys of that account",
            )
        lock = lock_account(plan, facts.account_id, "scalpdesk flatten --now")
        try:
            return await _clear(gateway, instruments, settings, header, log)
        finally:
            lock.release()
    finally:
        await gateway.close(graceful=False)


async def _clear(
    gateway: EmergencyGateway,
    instruments: Instruments,
    settings: LoadedSettings,
    header: JournalHeader,
    log: Log,
) -> bool:
    for instrument in header.instruments:
        instruments.add(instrument)
    name = f"{header.data['order_prefix']}-{life_of(os.getpid(), SystemClock().now_ns())}"
    trader = EmergencyTrader(
        gateway=gateway, instruments=instruments, name=name, limits=settings.config.risk, log=log
    )
    await trader.clear((), flatten=True)
    await asyncio.sleep(LATE_ORDER_SECONDS)  # an order that the dead desk sent last arrives within that time
    return await trader.clear((), flatten=True)
