"""Assembly of a live desk: gateway, account, journal, engine, runner; start and recovery are one path."""

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scalpdesk.assembly import (
    connect_broker,
    engine_from_header,
    fee_facts,
    gamma_events,
    implied_vol_recorders,
    load_market,
    require_tradable,
    starting_positions,
)
from scalpdesk.core.clock import Clock, FollowingClock, SystemClock
from scalpdesk.core.errors import ConfigError, JournalError, Notify, StopError
from scalpdesk.core.events import Event
from scalpdesk.core.intents import AskFolder, Decision, Output
from scalpdesk.core.owner_only import state_dir
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId, count_text
from scalpdesk.core.version import BUILD
from scalpdesk.datasets.embedded import USUAL_DAY
from scalpdesk.engine.timers import Timers
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.fees import NO_FEES
from scalpdesk.instruments.sessions import session_on, to_new_york
from scalpdesk.journal.codec import SCHEMA, JournalHeader
from scalpdesk.journal.log import JournalWriter, holder_of
from scalpdesk.journal.reader import JournalReader, peek_header, run_dirs, sorted_dirs
from scalpdesk.live.account_mode import AskedWhileStarting, ModeKeeper, ModeRecord, record_of, state_text
from scalpdesk.live.arming import AccountLock, DeskHolder, token_for
from scalpdesk.live.core import DecisionLog, FolderChannel, LiveCore
from scalpdesk.live.market import daily_update, first_market, listed_actions
from scalpdesk.live.options import SANDBOX, SIMULATED_ACCOUNTS, venue_name
from scalpdesk.live.plan import LivePlan, trades_options
from scalpdesk.live.recovery import Start, known_orders, rebuild
from scalpdesk.live.runner import LiveRunner
from scalpdesk.live.status import SOCKET_NAME, running_desks
from scalpdesk.live.watchdog import ACTED_FILE, WatchdogSupervisor
from scalpdesk.report.fold import RunFold
from scalpdesk.simulation.hours import ExchangeHours, TapeHours
from scalpdesk.strategies.contract import AsksFolders, members_of
from scalpdesk.strategies.registry import helper_facts, start_helper
from scalpdesk.venues.contract import (
    AccountFacts,
    EmergencyGateway,
    Gateway,
    LiveToken,
    VenueSetup,
    check_currency,
)
from scalpdesk.venues.registry import find_venue
from scalpdesk.venues.simulated import PlayedSession, SandboxGateway, SimulatedGateway


def build_gateway(
    plan: LivePlan, instruments: Instruments, clock: Clock, engine: TradingEngine | None = None
) -> Gateway:
    """Return the gateway of a plan; nothing is connected yet.

    ``engine``: Of a run that is resumed, None of a new one: an account in this process begins with its cash
    and positions.

    Raises ConfigError when keys are missing, or live trading is not armed.
    """
    if plan.is_played:
        return simulated_gateway(plan, clock, engine)
    if plan.venue == SANDBOX:
        return _sandbox_gateway(plan, instruments, clock, engine)
    return venue_gateway(plan, instruments, clock)


def venue_gateway(
    plan: LivePlan,
    instruments: Instruments,
    clock: Clock,
    *,
    venue: str | None = None,
    data_only: bool = False,
    is_watchdog: bool = False,
) -> EmergencyGateway:
    """Return the gateway to a venue (None: the plan's), or to a simulated exchange in its place.

    Raises ConfigError when there is no such venue, keys are missing, or live trading is not armed.
    """
    spec = find_venue(venue or plan.venue)
    keys = plan.settings.needed_keys(spec.other_keys) if spec.needs_keys else None
    section = plan.settings.config.venue
    setup = VenueSetup(
        instruments=instruments,
        clock=clock,
        keys=keys,
        currency=plan.settings.config.desk.currency,
        url=plan.url,
        live_token=_live_token(plan),
        options_level=2 if trades_options(plan.settings) else 0,
        timeout_seconds=section.timeout_seconds,
        acceptance_seconds=plan.runner.absent_after_seconds,
        requests_per_minute=section.requests_per_minute,
        heartbeat_seconds=section.heartbeat_seconds,
        data_only=data_only,
        is_watchdog=is_watchdog,
        fees=spec.fees,
    )
    return spec.build(setup, plan.settings.venue_settings(spec.name))


def _live_token(plan: LivePlan) -> LiveToken | None:
    """Return the proof of arming that ``--live`` needs; None without ``--live``."""
    if not plan.live:
        return None
    if plan.url is not None:
        raise ConfigError(
            "--live trades at the venue itself, not at another address",
            where="--url, venue.url",
            value=plan.url,
            fix="leave out --live or the address",
        )
    if plan.settings.config.desk.paper:
        raise ConfigError(
            "--live contradicts the configuration, which says paper; nothing was sent",
            where="desk.paper",
            value=True,
            fix="set desk.paper = false (IS_PAPER_TRADING=false) and arm again, or leave out --live",
        )
    folder = plan.state or state_dir(os.environ)
    return token_for(folder, plan.venue, *plan.settings.hashes)


def _sandbox_gateway(
    plan: LivePlan, instruments: Instruments, clock: Clock, engine: TradingEngine | None
) -> SandboxGateway:
    """Return a simulated account at live prices: as configured, or as a resumed journal has it."""
    config, hours = plan.settings.config, ExchangeHours()
    data = venue_gateway(plan, instruments, clock, venue=plan.market_venue, data_only=True)
    account = (config.simulation.starting_cash, {}) if engine is None else _account_of(engine)
    return SandboxGateway(data, connect_broker(config, instruments, hours, *account), clock, hours)


def _account_of(engine: TradingEngine) -> tuple[Decimal, dict[InstrumentId, tuple[Decimal, Decimal]]]:
    """Return the cash of a resumed desk, and quantity and average price of each position."""
    desk = engine.desk
    held = {each.instrument_id: (each.quantity, each.average_price) for each in desk.positions.held()}
    return desk.account.cash, held


def simulated_gateway(plan: LivePlan, clock: Clock, engine: TradingEngine | None = None) -> SimulatedGateway:
    """Return an in-process venue that plays a session; a resumed run goes on with its account and time."""
    settings = plan.settings
    simulation = settings.config.simulation
    day = plan.session or USUAL_DAY
    session_on(day)
    tape = load_market(
        settings, plan.data, underlying=",".join(plan.underlyings), start=day, end=day, seed=simulation.seed
    )
    positions = starting_positions(tape, settings.config)
    cash, from_ns = simulation.starting_cash, 0
    if engine is not None:
        (cash, positions), from_ns = _account_of(engine), engine.now_ns
    connection = connect_broker(settings.config, tape.instruments, TapeHours(tape.sessions), cash, positions)
    assert isinstance(clock, FollowingClock)
    venue = PlayedSession(tape, connection, exposures=gamma_events(tape, settings), from_ns=from_ns)
    return SimulatedGateway(venue, clock, pace=plan.pace)


_CODE_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True)
class LiveDesk:
    """A desk that is connected and ready to run."""

    header: JournalHeader
    run_dir: Path
    gateway: Gateway
    journal: JournalWriter
    runner: LiveRunner
    start: Start
    fold: RunFold
    lock: AccountLock | None
    folder: FolderChannel | None = None
    """Channel to a strategy folder; to be closed at the end."""

    @property
    def engine(self) -> TradingEngine:
        """The desk's engine."""
        return self.runner.core.engine


@dataclass(slots=True)
class _AssembledRun:
    """Journal and engine of a run, new or resumed."""

    run_dir: Path
    header: JournalHeader
    engine: TradingEngine
    journal: JournalWriter
    start: Start
    fold: RunFold
    timers: Timers = field(default_factory=Timers)
    events: int = 0
    asked: list[AskFolder] = field(default_factory=list)
    """Requests to a strategy folder so far."""
    decided: DecisionLog = field(default_factory=DecisionLog)


def unfinished_run(plan: LivePlan) -> Path | None:
    """Return the newest run of this venue and strategy that did not end cleanly, or None.

    A run whose journal can no longer be read counts when its control socket shows that it had begun. Raises
    ConfigError when a folder that may be this run cannot be read.
    """
    if not plan.set_aside:
        for folder, why in sorted_dirs(plan.runs_dir)[1].items():
            if f"-{plan.settings.strategy}-{plan.trading}-" in folder.name:
                raise ConfigError(
                    f"{why}; it may be a run of this strategy that did not end; nothing was sent",
                    where=str(folder),
                    fix=f"chmod u+rwx {folder}, or --new-run to leave it and begin another",
                )
    newest_ns, newest, unreadable = -1, list[Path](), []
    for folder in run_dirs(plan.runs_dir):
        if (folder / "set-aside").exists():
            continue
        try:
            header = peek_header(folder)
        except JournalError:
            if (
                f"-{plan.settings.strategy}-{plan.trading}-" in folder.name
                and (folder / SOCKET_NAME).exists()
            ):
                unreadable.append(folder)
            continue
        found = (venue_name(header.venue), header.mode, header.strategy, header.data.get("url"))
        wanted = (plan.venue, plan.trading, plan.settings.strategy, plan.url)
        if found != wanted or header.started_ns < newest_ns:
            continue
        if header.started_ns > newest_ns:
            newest_ns, newest = header.started_ns, []
        newest.append(folder)  # runs of one simulated session all start at its open
    if unreadable and (not newest or unreadable[-1].name > newest[-1].name):
        return unreadable[-1]
    return next((folder for folder in reversed(newest) if not JournalReader(folder).sealed), None)


async def open_desk(
    plan: LivePlan,
    clock: Clock,
    *,
    notify: Notify,
    gateway: Gateway | None = None,
    watchdog: WatchdogSupervisor | None = None,
) -> LiveDesk:
    """Connect, lock the account, and rebuild or begin the run; nothing is sent.

    ``gateway``: Use this one (tests); None builds the plan's.

    Raises ConfigError where keys, account, arming or configuration are wrong. Raises StopError when another
    desk holds the account, or the journal is damaged. Raises RetryError when the venue does not answer.
    """
    resumed = resume_run(plan, clock, notify)
    instruments = Instruments(() if resumed is None else resumed.header.instruments)
    async with AsyncExitStack() as undo:  # what was opened is closed again unless the desk stands
        if resumed is not None:
            undo.callback(resumed.journal.abandon)
        if gateway is None:
            gateway = build_gateway(plan, instruments, clock, None if resumed is None else resumed.engine)
        undo.push_async_callback(gateway.close, graceful=False)
        # one that cannot be loaded is refused before the venue is asked
        folder = _folder_channel(plan, clock)
        if folder is not None:
            undo.callback(folder.close)
        facts = await _connect(plan, gateway, resumed)
        lock = None
        if plan.venue not in SIMULATED_ACCOUNTS:
            lock = _take_account(plan, facts, resumed)
            undo.callback(lock.release)
        if resumed is not None:  # a watchdog that still acts has refused the account
            _report_watchdog(resumed.run_dir, notify)
        run = resumed or await _new_run(plan, clock, gateway, facts, instruments)
        runner = LiveRunner(
            _core_of(plan, run, folder, notify),
            gateway,
            clock,
            plan.runner,
            notify=notify,
            watchdog=watchdog,
            daily_update=None if plan.is_played else partial(daily_update, plan, gateway, instruments, clock),
            splits=partial(listed_actions, gateway, instruments, clock),
            fees=NO_FEES if plan.venue in SIMULATED_ACCOUNTS else find_venue(plan.venue).fees,
        )
        if folder is not None:
            folder.deliver_to(runner.put)
            if resumed is not None:
                _recall(plan, resumed, folder, notify)
        undo.pop_all()
    return LiveDesk(run.header, run.run_dir, gateway, run.journal, runner, run.start, run.fold, lock, folder)


async def _connect(plan: LivePlan, gateway: Gateway, resumed: _AssembledRun | None) -> AccountFacts:
    """Connect; refuse an account in another currency, or one whose orders the run does not know."""
    facts = await gateway.connect(() if resumed is None else known_orders(resumed.engine))
    check_currency(facts, plan.settings.config.desk.currency)
    if resumed is not None and await gateway.is_taken(next_id := resumed.engine.desk.orders.next_id):
        raise StopError(
            "the account has orders of this run that its journal does not hold: this folder is an older"
            " copy; nothing was sent",
            where=next_id,
            fix="restore the newest copy, or begin another run with --new-run: it takes over what the"
            " account holds",
        )
    return facts


def _core_of(plan: LivePlan, run: _AssembledRun, folder: FolderChannel | None, notify: Notify) -> LiveCore:
    """Return the core of a run, in the account's mode and with all that watches its events."""
    modes = _begin_in_its_mode(plan, run, notify)
    watchers = (
        *(() if folder is None else (folder.see,)),
        *implied_vol_recorders(
            plan.settings,
            run.engine.desk,
            plan.underlyings,
            plan.data if plan.is_played else plan.venue,
            is_live=not plan.is_played,
            say=notify,
        ),
    )
    core = LiveCore(run.engine, run.journal, run.timers, watchers, run.decided, modes, run.fold.see)
    core.events = run.events
    return core


def _is_blank(run_dir: Path) -> bool:
    """Return whether a run ended before its first event: nothing was decided, and no account adopted."""
    try:
        return not JournalReader(run_dir).totals.events
    except JournalError:
        return False


def _run_to_resume(plan: LivePlan) -> Path | None:
    """Return the unfinished run to go on with, or None for a new one; refuse where neither is asked for."""
    found = unfinished_run(plan)
    if found is not None and found in running_desks(plan.runs_dir):
        if not plan.set_aside:
            raise ConfigError(
                "a desk trades this strategy here and now; nothing was sent",
                where=str(found),
                value=holder_of(found),
                fix="scalpdesk status shows it, Ctrl-C in its terminal ends it; --new-run begins another"
                " beside it where the account is its own",
            )
        return None  # it goes on: its account is its own, or the lock of the account refuses this one
    if plan.set_aside and found is not None:
        (found / "set-aside").touch()
        return None
    if found is None:
        if plan.resume and not plan.may_begin:
            raise ConfigError(
                "there is no unfinished run to go on with",
                where=str(plan.runs_dir),
                fix="leave --resume out: a new run takes over what the account holds",
            )
        return None
    if not plan.resume and not _is_blank(found):
        raise ConfigError(
            "a run on this venue did not end; nothing was sent",
            where=str(found),
            fix="add --resume to go on with it, or --new-run to leave it and begin another",
        )
    return found


def resume_run(plan: LivePlan, clock: Clock, notify: Notify) -> _AssembledRun | None:
    """Rebuild the unfinished run, when there is one and it is wanted.

    Raises ConfigError when there is such a run and neither to resume nor to leave it is asked for, when no
    run can be resumed, or it began with another configuration. Raises JournalError when its journal is
    damaged.
    """
    found = _run_to_resume(plan)
    if found is None:
        return None
    header = peek_header(found)
    if header.config_hash not in plan.settings.hashes and not _is_blank(found):
        raise ConfigError(
            "the configuration is not the one that this run began with; nothing was sent",
            where=f"{header.run_id}: {header.config_hash[:8]}",
            value=plan.settings.config_hash[:8],
            fix="put the configuration back (scalpdesk config show), or begin another run with --new-run",
        )
    journal = JournalWriter.reopen(found, started_ns=clock.now_ns())
    try:
        engine = engine_from_header(header)
        fold = RunFold.of_desk(header, engine.desk)
        asked: list[AskFolder] = []
        decided = DecisionLog()

        def watch(event: Event, outputs: tuple[Output, ...]) -> None:
            fold.see(event, outputs)
            asked.extend(output for output in outputs if type(output) is AskFolder)
            for output in outputs:
                if type(output) is Decision:
                    decided.note(output)

        rebuilt = rebuild(JournalReader(found), engine, watch=watch)
        if rebuilt.unwritten:
            journal.add_outputs(rebuilt.unwritten)
    except BaseException:
        journal.abandon()
        raise
    if not rebuilt.events:
        # it died before its first event: nothing was decided, and the account has yet to be adopted
        journal.close()
        _report_watchdog(found, notify)
        notify("info", f"{header.run_id} had not begun: a new run takes its place")
        return None
    truncated = "" if journal.recovered is None else f"; {journal.recovered}"
    notify("info", f"resumed {header.run_id}: {count_text(rebuilt.events, 'event')} replayed{truncated}")
    if rebuilt.otherwise:
        notify(
            "warning",
            f"build {BUILD} decides otherwise than {header.build}, which wrote the journal: the journal"
            f" stands, and the strategy takes over what the account holds (first: {rebuilt.otherwise})",
        )
    return _AssembledRun(
        found,
        header,
        engine,
        journal,
        Start(
            is_fresh=False,
            fault=plan.fault or ("" if rebuilt.failed is None else rebuilt.failed.why),
            halts=plan.halts,
        ),
        fold,
        rebuilt.timers,
        rebuilt.events,
        asked,
        decided,
    )


def _report_watchdog(run_dir: Path, notify: Notify) -> None:
    """Report, once, what a watchdog did in a run's last life."""
    acted = run_dir / ACTED_FILE
    if acted.exists():
        lines = acted.read_text(encoding="utf-8").splitlines()
        notify("warning", f"the watchdog ended this run's last life: {'; '.join(lines[:1] + lines[-1:])}")
        acted.replace(acted.with_suffix(".reported"))


async def _new_run(
    plan: LivePlan, clock: Clock, gateway: Gateway, facts: AccountFacts, instruments: Instruments
) -> _AssembledRun:
    """Begin a run: its market, its header, an engine with the account's cash, an empty journal."""
    data, opening = await first_market(plan, gateway, instruments, clock)
    require_tradable(plan.settings, instruments, data)
    data["account_id"], data["url"] = facts.account_id, plan.url
    data["takes_combos"] = gateway.takes_combos
    assert plan.settings.strategy is not None
    data |= helper_facts(plan.settings.strategy, plan.settings.config.strategies)
    header = live_header(plan, instruments, data, clock.now_ns())
    engine = engine_from_header(header)
    engine.desk.account.cash = facts.cash
    run_dir = plan.runs_dir / header.run_id
    start = Start(opening, fault=plan.fault, halts=plan.halts)
    fold = RunFold.of_desk(header, engine.desk)
    return _AssembledRun(run_dir, header, engine, JournalWriter.create(run_dir, header), start, fold)


def _folder_channel(plan: LivePlan, clock: Clock) -> FolderChannel | None:
    """Load the strategy folder of a run that asks one."""
    assert plan.settings.strategy is not None
    answerer = start_helper(plan.settings.strategy, plan.settings.config.strategies, plan.runs_dir)
    if answerer is None:
        return None
    return FolderChannel(answerer, clock, in_step=plan.is_played)


def _awaited(engine: TradingEngine) -> list[int]:
    """Return the requests to a strategy folder that have no answer yet."""
    numbers = (
        member.open_request for member in members_of(engine.strategy) if isinstance(member, AsksFolders)
    )
    return [number for number in numbers if number is not None]


def _recall(plan: LivePlan, resumed: _AssembledRun, folder: FolderChannel, notify: Notify) -> None:
    """Show a fresh strategy folder what the one before the interruption saw."""
    header = resumed.header
    before = header.data.get("folder_sha256")
    if helper_facts(header.strategy, plan.settings.config.strategies).get("folder_sha256") != before:
        notify("warning", "the strategy folder's code is not the one that this run began with")
    folder.recall(resumed.asked, _awaited(resumed.engine))


def _take_account(plan: LivePlan, facts: AccountFacts, resumed: _AssembledRun | None) -> AccountLock:
    """Lock the account; it must be the one of the run that is resumed."""
    if resumed is not None and resumed.header.data.get("account_id") != facts.account_id:
        raise ConfigError(
            "the keys belong to another account than the run that is to go on; nothing was sent",
            where=f"run {resumed.header.run_id}: account {resumed.header.data.get('account_id')}",
            value=facts.account_id,
            fix="put in the keys of that account, or begin another run with --new-run",
        )
    run_id = "a new run" if resumed is None else f"run {resumed.header.run_id}"
    return lock_account(plan, facts.account_id, run_id)


def lock_account(plan: LivePlan, account_id: str, run_id: str, *, watchdog_log: str = "") -> AccountLock:
    """Lock the account of a plan for this process.

    ``run_id``: Shown to who comes second.

    Raises StopError when another process holds it.
    """
    folder, now_ns = str(plan.runs_dir.resolve()), SystemClock().now_ns()
    holder = DeskHolder(os.getpid(), run_id, folder, now_ns, watchdog_log)
    where = venue_at(plan.venue, plan.url)
    return AccountLock(plan.state or state_dir(os.environ), where, account_id, holder)


def venue_at(venue: str, url: str | None) -> str:
    """Return what accounts are filed under: the venue, or the exchange in its place."""
    return venue if url is None else f"{venue}-at-{urlsplit(url).netloc}"


def _mode_record(plan: LivePlan, account_id: str) -> ModeRecord | None:
    """Return the record of an account's mode; None where the account ends with its run.

    The sandbox's account is of this process, but its desk is run like another: the strategy and the folder of
    its runs stand for the account.
    """
    if plan.is_played:
        return None
    where = venue_at(plan.venue, plan.url)
    if plan.venue == SANDBOX:
        folder = sha256(os.fsencode(plan.runs_dir.resolve())).hexdigest()[:12]
        account_id = f"{plan.settings.strategy}-{folder}"
    return record_of(plan.state or state_dir(os.environ), where, account_id)


def _begin_in_its_mode(plan: LivePlan, run: _AssembledRun, notify: Notify) -> ModeKeeper:
    """Take up the account's mode as it was left, with what a person asked for while the desk started."""
    record = _mode_record(plan, str(run.header.data.get("account_id", "")))
    own = run.engine.desk.gate.desk_mode.state
    state = own
    if record is not None:
        record.run_id = run.header.run_id
        state = record.for_start(None if run.start.is_fresh else own)
    asked, keeper = AskedWhileStarting(plan.state or state_dir(os.environ)), ModeKeeper(record, notify)
    for command in asked.read(keeper.account):
        if not command.is_overtaken(state):
            notify("warning", f"asked for while the desk started: {command.text()}")
            state = command.after(state)
    keeper.keep(state)
    if not keeper.problem:
        asked.forget(keeper.account)
    if state != own:
        run.start.kept = state
    if text := state_text(state):
        notify("warning", f"the account is {text}")
    return keeper


def live_header(
    plan: LivePlan, instruments: Instruments, data: dict[str, Any], started_ns: int
) -> JournalHeader:
    """Return the header of a new live run; it alone rebuilds the engine."""
    settings = plan.settings
    assert settings.strategy is not None
    second = started_ns // NANOS_PER_SECOND
    at = f"{to_new_york(started_ns):%Y%m%d-%H%M%S}"
    run_id = first_id = f"{at}-{settings.strategy}-{plan.trading}-{settings.config_hash[:6]}"
    count = 1
    while (plan.runs_dir / run_id).exists():
        count += 1
        run_id = f"{first_id}+{count}"
    data["venue"] = plan.venue
    today = to_new_york(started_ns).date()
    data |= fee_facts(settings.config, today, today, plan.venue)
    if not plan.is_played:  # a replay needs no package of the venue
        cutoff = find_venue(plan.market_venue).cutoff
        data["cutoff"] = [cutoff.minutes, cutoff.minutes_broad_funds]
    # of the run, not of the clock at sending: a replay names every order the same
    data["order_prefix"] = f"sd{settings.config_hash[:4]}{base36(second)}{count if count > 1 else ''}"
    return JournalHeader(
        schema=SCHEMA,
        run_id=run_id,
        strategy=settings.strategy,
        venue=plan.venue,
        mode=plan.trading,
        config=settings.effective(),
        config_hash=settings.config_hash,
        build=BUILD,
        instruments=tuple(instruments),
        sessions=(),
        data=data,
        started_ns=started_ns,
        seed=None,
    )


def life_of(pid: int, at_ns: int) -> str:
    """Return what names a process in the ids of its orders; its number alone comes again."""
    return f"{base36(pid)}{base36(at_ns // NANOS_PER_SECOND)}"


def base36(number: int) -> str:
    """Return a number in few letters and digits, for ids that a venue bounds."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _CODE_DIGITS[digit] + digits
    return digits or "0"
