"""Put a live desk together: gateway, account, journal, engine, runner. Start and recovery are one path.

The other side of a live run: its gateway.
"""

import os
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scalpdesk.assembly import engine_from_header, gamma_words, load_market
from scalpdesk.backtesting.summary import Tally
from scalpdesk.core.clock import Clock, SystemClock
from scalpdesk.core.errors import ConfigError, JournalError, Notify
from scalpdesk.core.events import Event, OperatorEvent
from scalpdesk.core.intents import AskFolder, Output
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.core.version import VERSION
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.fees import ALPACA_FEES, NO_FEES
from scalpdesk.instruments.sessions import session_on, to_new_york
from scalpdesk.isolation.answering import folder_facts, start_folder
from scalpdesk.journal.codec import SCHEMA, JournalHeader
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader, peek_header, run_dirs
from scalpdesk.live.arming import AccountLock, DeskHolder, state_dir, token_for
from scalpdesk.live.core import LiveCore, Timers
from scalpdesk.live.folder_line import FolderLine
from scalpdesk.live.market import first_market, learn_anew
from scalpdesk.live.plan import LivePlan, trades_options
from scalpdesk.live.recovery import Rebuilt, known_orders, rebuild
from scalpdesk.live.runner import LiveRunner, Start
from scalpdesk.live.simulated import SimulatedGateway, SimulatedVenue
from scalpdesk.simulation.exchange import SimulatedAccount, SimulatedExchange
from scalpdesk.simulation.fills import fill_model
from scalpdesk.venues.contract import AccountFacts, FollowingClock, Gateway
from scalpdesk.venues.paper import PaperGateway
from scalpdesk.venues.paper_venue import PaperTerms

if TYPE_CHECKING:
    from scalpdesk.venues.alpaca.transport import Endpoints


def build_gateway(
    plan: LivePlan, book: Instruments, clock: Clock, engine: TradingEngine | None = None
) -> Gateway:
    """Return the gateway of a plan; nothing is connected yet.

    Parameters
    ----------
    plan
        What is wanted.
    book
        Instruments of the run; it may still grow.
    clock
        Stamps what is received.
    engine
        Of the run that goes on, None of a new one: a paper account begins with what it remembers.

    Raises
    ------
    ConfigError
        When keys are missing, or live trading is not armed.
    """
    if plan.venue == "simulated":
        return simulated_gateway(plan, clock)
    if plan.venue == "alpaca":
        return alpaca_gateway(plan, book, clock)
    if plan.venue == "paper":
        data = alpaca_gateway(plan, book, clock, data_only=True)
        return PaperGateway(data, book, paper_terms(plan, engine), clock)
    raise ConfigError(
        "this venue cannot be traded yet",
        where="--venue",
        value=plan.venue,
        fix="use simulated, paper or alpaca",
    )


def alpaca_gateway(plan: LivePlan, book: Instruments, clock: Clock, *, data_only: bool = False) -> Gateway:
    """Return the gateway to Alpaca, or to a simulated exchange in its place.

    Raises
    ------
    ConfigError
        When keys are missing, or live trading is not armed.
    """
    from scalpdesk.venues.alpaca.gateway import AlpacaGateway  # noqa: PLC0415 - an extra
    from scalpdesk.venues.alpaca.transport import GatewayOptions  # noqa: PLC0415 - an extra

    keys = plan.settings.venue_keys()
    if keys is None:
        raise ConfigError(
            "the venue needs a key and a secret; nothing was sent",
            where="credentials.trading_api_key, credentials.trading_api_secret",
            fix="put TRADING_API_KEY and TRADING_API_SECRET into .env (scalpdesk init writes .env.example)",
        )
    venue = plan.settings.config.venue
    options = GatewayOptions(
        options_level=2 if trades_options(plan.settings) else 0,
        timeout_seconds=venue.timeout_seconds,
        absent_after_seconds=plan.runner.absent_after_seconds,
        requests_per_minute=venue.requests_per_minute,
        data_requests_per_minute=venue.data_requests_per_minute,
        heartbeat_seconds=venue.heartbeat_seconds,
        fees=ALPACA_FEES if plan.live else NO_FEES,
        data_only=data_only,
    )
    return AlpacaGateway(_endpoints(plan), *keys, book, clock, options)


def _endpoints(plan: LivePlan) -> "Endpoints":
    from scalpdesk.venues.alpaca.transport import Endpoints  # noqa: PLC0415 - an extra

    venue = plan.settings.config.venue
    feeds: dict[str, Any] = {"stock_feed": venue.stock_feed, "option_feed": venue.option_feed}
    if plan.url is not None:
        if plan.live:
            raise ConfigError(
                "--live trades at the venue itself, not at another address",
                where="--url, venue.url",
                value=plan.url,
                fix="leave out --live or the address",
            )
        return Endpoints.at(plan.url, **feeds)
    if not plan.live:
        return Endpoints.paper(**feeds)
    if plan.settings.config.desk.paper:
        raise ConfigError(
            "--live contradicts the configuration, which says paper; nothing was sent",
            where="desk.paper",
            value=True,
            fix="set desk.paper = false (IS_PAPER_TRADING=false) and arm again, or leave out --live",
        )
    folder = plan.state or state_dir(os.environ)
    return Endpoints.live(token_for(folder, plan.venue, plan.settings.config_hash), **feeds)


def paper_terms(plan: LivePlan, engine: TradingEngine | None) -> PaperTerms:
    """Return the paper account: as configured, or as a journal remembers it."""
    simulation = plan.settings.config.simulation
    cash, held = simulation.starting_cash, {}
    if engine is not None:
        cash = engine.desk.account.cash
        held = {one.instrument_id: (one.quantity, one.average_price) for one in engine.desk.positions.held()}
    return PaperTerms(
        cash,
        held,
        fill_model=simulation.fill_model,
        fees=ALPACA_FEES if simulation.fees == "alpaca" else NO_FEES,
        latency_ns=int(simulation.latency_ms * 1_000_000),
    )


def simulated_gateway(plan: LivePlan, clock: Clock) -> SimulatedGateway:
    """Return an in-process venue that plays one session."""
    settings = plan.settings
    simulation = settings.config.simulation
    day = plan.session or date(2018, 2, 5)
    session_on(day)
    underlying = str(getattr(settings.strategy_config, "underlying", "SPY"))
    tape = load_market(settings, plan.data, underlying=underlying, start=day, end=day, seed=simulation.seed)
    positions = {
        tape.instruments.id_of(symbol): Decimal(quantity) for symbol, quantity in simulation.positions.items()
    }
    exchange = SimulatedExchange(
        tape.instruments,
        SimulatedAccount(simulation.starting_cash, positions),
        fill_model(simulation.fill_model),
        fill_model(simulation.fill_model_hedge or simulation.fill_model),
        fees=ALPACA_FEES if simulation.fees == "alpaca" else NO_FEES,
        latency_ns=int(simulation.latency_ms * 1_000_000),
    )
    assert isinstance(clock, FollowingClock)
    venue = SimulatedVenue(tape, exchange, words=gamma_words(tape, settings))
    return SimulatedGateway(venue, clock, pace=plan.pace)


__all__ = ["LiveDesk", "LivePlan", "build_gateway", "live_header", "open_desk", "unfinished_run"]

IN_PROCESS = ("simulated", "paper")
"""Venues whose account lives and ends with the desk: nobody else can hold it."""
CODE_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True)
class LiveDesk:
    """A desk that is connected and ready to run."""

    header: JournalHeader
    run_dir: Path
    gateway: Gateway
    journal: JournalWriter
    runner: LiveRunner
    start: Start
    tally: Tally
    lock: AccountLock | None
    recovered: str | None = None
    """What was cut off the journal, in words."""
    folder: FolderLine | None = None
    """Line to a strategy folder; to be closed at the end."""

    @property
    def engine(self) -> TradingEngine:
        """What decides."""
        return self.runner.core.engine


@dataclass(slots=True)
class _Resumed:
    run_dir: Path
    header: JournalHeader
    engine: TradingEngine
    rebuilt: Rebuilt
    journal: JournalWriter
    asked: list[AskFolder]
    """What a strategy folder was asked."""


def unfinished_run(plan: LivePlan) -> Path | None:
    """Return the newest run of this venue and strategy that did not end cleanly, or None."""
    newest: tuple[int, Path] | None = None
    for folder in run_dirs(plan.runs_dir):
        try:
            header = peek_header(folder)
        except JournalError:
            continue
        mine = header.venue == plan.venue and header.mode == plan.trading
        mine = mine and header.strategy == plan.settings.strategy and header.data.get("url") == plan.url
        if mine and not (folder / "set-aside").exists() and (newest is None or header.started_ns > newest[0]):
            newest = header.started_ns, folder
    if newest is None or JournalReader(newest[1]).sealed:
        return None
    return newest[1]


async def open_desk(
    plan: LivePlan, clock: Clock, *, say: Notify, gateway: Gateway | None = None, pulse: Any = None
) -> LiveDesk:
    """Connect, take the account, and rebuild or begin the run; nothing is sent.

    Parameters
    ----------
    plan
        What is wanted.
    clock
        The machine's, or one that follows the venue.
    say
        Told what a person should know.
    gateway
        Use this one (tests); None builds the plan's.
    pulse
        Line to the watchdog.

    Raises
    ------
    ConfigError
        Keys, account, arming, configuration: what is wrong and what to do.
    StopError
        Another desk holds the account, or the journal is damaged.
    RetryError
        The venue does not answer.
    """
    tally = Tally()
    resumed = _resume(plan, clock, tally, say)
    book = Instruments(() if resumed is None else resumed.header.instruments)
    if gateway is None:
        gateway = build_gateway(plan, book, clock, None if resumed is None else resumed.engine)
    lock = folder = None
    try:
        folder = _folder_line(plan, clock)  # one that cannot be loaded is refused before anything is touched
        known = () if resumed is None else known_orders(resumed.engine)
        facts = await gateway.connect(known)
        if plan.venue not in IN_PROCESS:
            lock = _take_account(plan, facts, resumed)
        desk = await _desk(plan, clock, gateway, facts, book, resumed, tally, say, pulse, folder)
    except BaseException:
        if folder is not None:
            folder.close()
        await gateway.close(graceful=False)
        if lock is not None:
            lock.release()
        if resumed is not None:
            resumed.journal.abandon()
        raise
    desk.lock = lock
    return desk


def _resume(plan: LivePlan, clock: Clock, tally: Tally, say: Notify) -> _Resumed | None:
    """Rebuild the unfinished run, when there is one and it is wanted."""
    found = unfinished_run(plan)
    if plan.set_aside and found is not None:
        (found / "set-aside").touch()
        return None
    if found is None:
        if plan.resume:
            raise ConfigError(
                "there is no unfinished run to go on with",
                where=str(plan.runs_dir),
                fix="leave --resume out: a new run takes over what the account holds",
            )
        return None
    header = peek_header(found)
    if not plan.resume:
        raise ConfigError(
            "a run on this venue did not end; nothing was sent",
            where=str(found),
            fix="add --resume to go on with it, or --new-run to leave it and begin another",
        )
    if header.config_hash != plan.settings.config_hash:
        raise ConfigError(
            "the configuration is not the one that this run began with; nothing was sent",
            where=f"{header.run_id}: {header.config_hash[:8]}",
            value=plan.settings.config_hash[:8],
            fix="put the configuration back (scalpdesk config show), or begin another run with --new-run",
        )
    began_ns = clock.now_ns()
    journal = JournalWriter.reopen(found, started_ns=began_ns)
    try:
        reader = JournalReader(found)
        engine = engine_from_header(header)
        asked: list[AskFolder] = []

        def watch(event: Event, outputs: tuple[Output, ...]) -> None:
            tally.see(event, outputs)
            asked.extend(one for one in outputs if type(one) is AskFolder)

        rebuilt = rebuild(reader, engine, watch=watch)
        if rebuilt.unwritten:
            journal.add_outputs(rebuilt.unwritten)
    except BaseException:
        journal.abandon()
        raise
    if not rebuilt.events:
        # it died before its first event: nothing was decided, and the account has yet to be adopted
        journal.close()
        say("info", f"{header.run_id} had not begun: a new run takes its place")
        return None
    cut = "" if journal.recovered is None else f"; {journal.recovered}"
    say("info", f"resumed {header.run_id}: {rebuilt.events} events replayed{cut}")
    return _Resumed(found, header, engine, rebuilt, journal, asked)


def _folder_line(plan: LivePlan, clock: Clock) -> FolderLine | None:
    """Load the strategy folder of a run that asks one."""
    assert plan.settings.strategy is not None
    answerer = start_folder(plan.settings.strategy, plan.settings.config.strategies)
    return None if answerer is None else FolderLine(answerer, clock, in_step=plan.venue == "simulated")


def _awaited(engine: TradingEngine) -> list[int]:
    """Return the requests to a strategy folder that have no answer yet."""
    strategies = getattr(engine.strategy, "strategies", (engine.strategy,))
    numbers = (getattr(one, "open_request", None) for one in strategies)
    return [number for number in numbers if number is not None]


def _recall(plan: LivePlan, resumed: _Resumed, folder: FolderLine, say: Notify) -> None:
    """Show a fresh strategy folder what the one before the interruption saw."""
    header = resumed.header
    before = header.data.get("folder_sha256")
    if folder_facts(header.strategy, plan.settings.config.strategies).get("folder_sha256") != before:
        say("warning", "the strategy folder's code is not the one that this run began with")
    folder.recall(resumed.asked, _awaited(resumed.engine))


def _take_account(plan: LivePlan, facts: AccountFacts, resumed: _Resumed | None) -> AccountLock:
    """Lock the account; it must be the one of the run that goes on."""
    if resumed is not None and resumed.header.data.get("account_id") != facts.account_id:
        raise ConfigError(
            "the keys belong to another account than the run that is to go on; nothing was sent",
            where=f"run {resumed.header.run_id}: account {resumed.header.data.get('account_id')}",
            value=facts.account_id,
            fix="put in the keys of that account, or begin another run with --new-run",
        )
    run_id = "a new run" if resumed is None else f"run {resumed.header.run_id}"
    holder = DeskHolder(os.getpid(), run_id, str(plan.runs_dir.resolve()), SystemClock().now_ns())
    where = plan.venue if plan.url is None else f"{plan.venue}-at-{urlsplit(plan.url).netloc}"
    return AccountLock(plan.state or state_dir(os.environ), where, facts.account_id, holder)


async def _desk(
    plan: LivePlan,
    clock: Clock,
    gateway: Gateway,
    facts: AccountFacts,
    book: Instruments,
    resumed: _Resumed | None,
    tally: Tally,
    say: Notify,
    pulse: Any,
    folder: FolderLine | None,
) -> LiveDesk:
    if resumed is not None:
        header, engine, journal = resumed.header, resumed.engine, resumed.journal
        run_dir, timers = resumed.run_dir, resumed.rebuilt.timers
        start = Start((), is_fresh=False, lapsed_stop=_was_stopped(resumed.rebuilt.last_operator))
    else:
        data, opening = await first_market(plan, gateway, book, clock)
        data["account_id"], data["url"] = facts.account_id, plan.url
        assert plan.settings.strategy is not None
        data |= folder_facts(plan.settings.strategy, plan.settings.config.strategies)
        header = live_header(plan, book, data, clock.now_ns())
        engine = engine_from_header(header)
        engine.desk.account.cash = facts.cash
        run_dir, timers = plan.runs_dir / header.run_id, Timers()
        journal = JournalWriter.create(run_dir, header)
        start = Start(opening)
    core = LiveCore(
        engine, journal, timers, watchers=(tally.see,) if folder is None else (tally.see, folder.see)
    )
    core.events = 0 if resumed is None else resumed.rebuilt.events
    learn = None if plan.venue == "simulated" else partial(learn_anew, plan, gateway, book, clock)
    runner = LiveRunner(core, gateway, clock, plan.runner, say=say, pulse=pulse, learn=learn)
    if folder is not None:
        folder.deliver_to(runner.put)
        if resumed is not None:
            _recall(plan, resumed, folder, say)
    cut = None if resumed is None else resumed.rebuilt.cut
    return LiveDesk(header, run_dir, gateway, journal, runner, start, tally, None, cut, folder)


def _was_stopped(last: OperatorEvent | None) -> bool:
    return last is not None and last.action == "halt" and last.reason.startswith("stop: ")


def live_header(plan: LivePlan, book: Instruments, data: dict[str, Any], started_ns: int) -> JournalHeader:
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
    # of the run, not of the clock at sending: a replay names every order the same
    data["order_prefix"] = f"sd{settings.config_hash[:4]}{_code(second)}{count if count > 1 else ''}"
    return JournalHeader(
        schema=SCHEMA,
        run_id=run_id,
        strategy=settings.strategy,
        venue=plan.venue,
        mode=plan.trading,
        config=settings.effective(),
        config_hash=settings.config_hash,
        build=VERSION,
        instruments=tuple(book),
        sessions=(),
        data=data,
        started_ns=started_ns,
        seed=None,
    )


def _code(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = CODE_DIGITS[digit] + digits
    return digits or "0"
