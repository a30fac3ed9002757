"""Put a live desk together: gateway, account, journal, engine, runner. Start and recovery are one path."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scalpdesk.assembly import describe, engine_from_header, forecasts, load_market
from scalpdesk.backtesting.summary import Tally
from scalpdesk.core.clock import Clock, SystemClock
from scalpdesk.core.errors import ConfigError, JournalError
from scalpdesk.core.events import Event, OpenInterestEvent, OperatorEvent, RateEvent
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.core.version import VERSION
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.contract import Equity, InstrumentBook
from scalpdesk.instruments.fees import ALPACA_FEES, NO_FEES
from scalpdesk.instruments.sessions import session_on, to_new_york
from scalpdesk.journal.codec import SCHEMA, JournalHeader
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader, peek_header
from scalpdesk.journal.runs import run_dirs
from scalpdesk.live.account_lock import AccountLock, DeskHolder, state_dir
from scalpdesk.live.arming import token_for
from scalpdesk.live.core import LiveCore, Timers
from scalpdesk.live.recovery import Rebuilt, known_orders, rebuild
from scalpdesk.live.runner import LiveRunner, RunnerOptions, Start
from scalpdesk.live.simulated import SimulatedGateway, SimulatedVenue
from scalpdesk.settings import LoadedSettings
from scalpdesk.simulation.exchange import SimulatedAccount, SimulatedExchange
from scalpdesk.simulation.fills import fill_model
from scalpdesk.venues.base import AccountFacts, FollowingClock, Gateway, ListedContract

MOST_CONTRACTS = 200
"""Options that a live run knows unless told otherwise: what a basic market data plan streams at once."""
CODE_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class LivePlan:
    """What a live run is to be.

    Parameters
    ----------
    settings
        The configuration, with the strategy.
    venue
        ``simulated`` or ``alpaca``.
    live
        Real money; only when armed.
    resume
        Go on with the account's unfinished run.
    set_aside
        Begin a new run although one is unfinished.
    url
        Address of a simulated exchange that speaks the venue's protocol; None for the venue itself.
    contracts
        Most options that the run knows.
    runner
        Times of the loop and what is done at the end.
    session, data, pace
        Of the simulated venue: the day, the data set, market seconds a second (None: in step).
    state
        Machine-wide folder of locks and armings; None takes the user's own.
    """

    settings: LoadedSettings
    venue: str = "simulated"
    live: bool = False
    resume: bool = False
    set_aside: bool = False
    url: str | None = None
    contracts: int = MOST_CONTRACTS
    runner: RunnerOptions = field(default_factory=RunnerOptions)
    session: date | None = None
    data: str = "embedded"
    pace: float | None = None
    state: Path | None = None
    follows_venue: bool = False
    """The desk's time is the venue's: for a simulated exchange with a time of its own."""

    @property
    def trading(self) -> str:
        """``live``, ``paper`` or ``simulated``."""
        if self.venue == "simulated":
            return "simulated"
        return "live" if self.live else "paper"

    @property
    def runs_dir(self) -> Path:
        """Folder of the runs."""
        return Path(self.settings.config.desk.runs_dir)


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
    plan: LivePlan, clock: Clock, *, say: Say, gateway: Gateway | None = None, pulse: Any = None
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
    book = InstrumentBook(() if resumed is None else resumed.header.instruments)
    if gateway is None:
        gateway = build_gateway(plan, book, clock)
    lock = None
    try:
        known = () if resumed is None else known_orders(resumed.engine)
        facts = await gateway.connect(known)
        if plan.venue != "simulated":
            lock = _take_account(plan, facts, resumed)
        desk = await _desk(plan, clock, gateway, facts, book, resumed, tally, say, pulse)
    except BaseException:
        await gateway.close(graceful=False)
        if lock is not None:
            lock.release()
        if resumed is not None:
            resumed.journal.abandon()
        raise
    desk.lock = lock
    return desk


def _resume(plan: LivePlan, clock: Clock, tally: Tally, say: Say) -> _Resumed | None:
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
        rebuilt = rebuild(reader, engine, watch=tally.see)
        if rebuilt.unwritten:
            journal.add_outputs(rebuilt.unwritten)
    except BaseException:
        journal.abandon()
        raise
    cut = "" if journal.recovered is None else f"; {journal.recovered}"
    say("info", f"resumed {header.run_id}: {rebuilt.events} events replayed{cut}")
    return _Resumed(found, header, engine, rebuilt, journal)


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
    book: InstrumentBook,
    resumed: _Resumed | None,
    tally: Tally,
    say: Say,
    pulse: Any,
) -> LiveDesk:
    if resumed is not None:
        header, engine, journal = resumed.header, resumed.engine, resumed.journal
        run_dir, timers = resumed.run_dir, resumed.rebuilt.timers
        start = Start((), is_fresh=False, lapsed_stop=_was_stopped(resumed.rebuilt.last_operator))
    else:
        data, opening = await _market(plan, gateway, book, clock)
        data["account_id"], data["url"] = facts.account_id, plan.url
        header = live_header(plan, book, data, clock.now_ns())
        engine = engine_from_header(header)
        engine.desk.account.cash = facts.cash
        run_dir, timers = plan.runs_dir / header.run_id, Timers()
        journal = JournalWriter.create(run_dir, header)
        start = Start(opening)
    core = LiveCore(engine, journal, timers, watchers=(tally.see,))
    core.events = 0 if resumed is None else resumed.rebuilt.events
    runner = LiveRunner(core, gateway, clock, plan.runner, say=say, pulse=pulse)
    cut = None if resumed is None else resumed.rebuilt.cut
    return LiveDesk(header, run_dir, gateway, journal, runner, start, tally, None, cut)


def _was_stopped(last: OperatorEvent | None) -> bool:
    return last is not None and last.action == "halt" and last.reason.startswith("stop: ")


def live_header(plan: LivePlan, book: InstrumentBook, data: dict[str, Any], started_ns: int) -> JournalHeader:
    """Return the header of a new live run; it alone rebuilds the engine."""
    settings = plan.settings
    assert settings.strategy is not None
    second = started_ns // NANOS_PER_SECOND
    at = f"{to_new_york(started_ns):%Y%m%d-%H%M%S}"
    run_id = f"{at}-{settings.strategy}-{plan.trading}-{settings.config_hash[:6]}"
    count = 1
    while (plan.runs_dir / run_id).exists():
        count += 1
        run_id = f"{run_id.rpartition('+')[0] or run_id}+{count}"
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


# markets --------------------------------------------------------------------------------------------


async def _market(
    plan: LivePlan, gateway: Gateway, book: InstrumentBook, clock: Clock
) -> tuple[dict[str, Any], tuple[Event, ...]]:
    """Fill the book and return the header's data and what the engine is told first."""
    if isinstance(gateway, SimulatedGateway):
        tape = gateway.venue.tape
        for instrument in tape.instruments:
            book.add(instrument)
        data = describe(tape)
        at_ns = tape.sessions[0].open_ns
        told: list[Event] = [
            RateEvent(at_ns, at_ns, tuple(tape.rate_curve.days), tuple(tape.rate_curve.rates))
        ]
        told += [
            OpenInterestEvent(book.id_of(symbol), at_ns, at_ns, contracts)
            for symbol, contracts in sorted(tape.open_interest.items())
            if symbol in book
        ]
        return data, (*told, *forecasts(tape))
    symbol = str(getattr(plan.settings.strategy_config, "underlying", "SPY"))
    number = book.add(Equity(symbol))
    now_ns = clock.now_ns()
    today = to_new_york(now_ns).date()
    near, far = expiry_window(plan.settings.strategy_config)
    listed = await gateway.discover(symbol, today + timedelta(days=near), today + timedelta(days=far))
    quotes = await gateway.quotes([number])
    spot = quotes[0].mid if quotes else None
    chosen = choose_contracts(listed, spot, plan.contracts)
    if not chosen:
        raise ConfigError(
            "the venue lists no options that this strategy could trade; nothing was sent",
            where=f"{symbol}, {near} to {far} days to expiry",
            fix="look at selection.min_expiration_days and max_expiration_days of the strategy",
        )
    events: list[Event] = [
        RateEvent(now_ns, now_ns, (1.0,), (plan.settings.config.rates.default,)),
    ]
    for one in chosen:
        contract_id = book.add(one.contract)
        if one.open_interest_contracts is not None:
            events.append(OpenInterestEvent(contract_id, now_ns, now_ns, one.open_interest_contracts))
    data = {
        "name": plan.venue,
        "kind": "live",
        "session": today.isoformat(),
        "underlying": symbol,
        "notes": [f"{len(chosen)} of {len(listed)} listed options, nearest to {spot}"],
        "quote_seconds": 1.0,
        "dividend_yield": 0.0,
    }
    return data, tuple(events)


def expiry_window(strategy_config: Any) -> tuple[int, int]:
    """Return the days to expiry, nearest and farthest, that a strategy's options may have."""
    selection = getattr(strategy_config, "selection", None)
    near = getattr(selection, "min_expiration_days", 0)
    far = getattr(selection, "max_expiration_days", 45)
    return int(near), int(far)


def choose_contracts(
    listed: tuple[ListedContract, ...], spot: float | None, most: int
) -> list[ListedContract]:
    """Return the tradable contracts nearest to the money, at most ``most``, in the venue's order."""
    tradable = [one for one in listed if one.is_tradable]
    if len(tradable) > most and spot is not None and math.isfinite(spot):
        near = sorted(
            tradable, key=lambda one: (abs(float(one.contract.strike) - spot), one.contract.symbol)
        )[:most]
        kept = {one.contract.symbol for one in near}
        tradable = [one for one in tradable if one.contract.symbol in kept]
    return sorted(tradable[:most], key=lambda one: one.contract.symbol)


def build_gateway(plan: LivePlan, book: InstrumentBook, clock: Clock) -> Gateway:
    """Return the gateway of a plan; nothing is connected yet.

    Raises
    ------
    ConfigError
        When keys are missing, or live trading is not armed.
    """
    if plan.venue == "simulated":
        return simulated_gateway(plan, clock)
    if plan.venue != "alpaca":
        raise ConfigError(
            "this venue cannot be traded yet",
            where="--venue",
            value=plan.venue,
            fix="use simulated or alpaca",
        )
    from scalpdesk.venues.alpaca.client import AlpacaGateway  # noqa: PLC0415 - an extra
    from scalpdesk.venues.alpaca.endpoints import Endpoints  # noqa: PLC0415 - an extra
    from scalpdesk.venues.alpaca.options import GatewayOptions  # noqa: PLC0415 - an extra

    keys = plan.settings.config.credentials
    if keys.trading_api_key is None or keys.trading_api_secret is None:
        raise ConfigError(
            "the venue needs a key and a secret; nothing was sent",
            where="credentials.trading_api_key, credentials.trading_api_secret",
            fix="put TRADING_API_KEY and TRADING_API_SECRET into .env (scalpdesk init writes .env.example)",
        )
    if plan.url is not None:
        if plan.live:
            raise ConfigError(
                "--live trades at the venue itself, not at another address",
                where="--url",
                value=plan.url,
                fix="leave out --live or --url",
            )
        endpoints = Endpoints.at(plan.url)
    elif plan.live:
        if plan.settings.config.desk.paper:
            raise ConfigError(
                "--live contradicts the configuration, which says paper; nothing was sent",
                where="desk.paper",
                value=True,
                fix="set desk.paper = false (IS_PAPER_TRADING=false) and arm again, or leave out --live",
            )
        folder = plan.state or state_dir(os.environ)
        endpoints = Endpoints.live(token_for(folder, plan.venue, plan.settings.config_hash))
    else:
        endpoints = Endpoints.paper()
    options = GatewayOptions(
        options_level=2,
        absent_after_seconds=plan.runner.absent_after_seconds,
        fees=ALPACA_FEES if plan.live else NO_FEES,
    )
    return AlpacaGateway(endpoints, keys.trading_api_key, keys.trading_api_secret, book, clock, options)


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
    return SimulatedGateway(SimulatedVenue(tape, exchange), clock, pace=plan.pace)
