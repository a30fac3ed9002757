"""Plan of a live run: the settings and options that gateway, journal and runner are built from."""

from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from scalpdesk.config.settings import LoadedSettings
from scalpdesk.core.clock import Clock, FollowingClock, SteadyClock
from scalpdesk.core.errors import ConfigError
from scalpdesk.live.runner import RunnerOptions
from scalpdesk.live.sessions import StopMode
from scalpdesk.strategies.contract import configured_underlyings
from scalpdesk.strategies.registry import find_strategy
from scalpdesk.venues.registry import DEFAULT_VENUE, find_venue

SANDBOX = "sandbox"
"""The venue of live quotes and simulated fills."""
IN_PROCESS = ("simulated", SANDBOX)
"""Venues whose account lives and ends with the desk: no other desk can hold it."""
FORMER_NAMES = {"paper": SANDBOX}
"""Names under which a venue was known: on the command line, and in the journals of that time."""
MOST_CONTRACTS = 200
"""Default for the options that a live run knows: what a basic market data plan streams at once."""


@dataclass(frozen=True, slots=True)
class LivePlan:
    """Settings and options of a live run."""

    settings: LoadedSettings
    """The configuration, with the strategy."""
    venue: str = "simulated"
    """``simulated``, ``sandbox`` or the name of a venue."""
    live: bool = False
    """Real money; only when armed."""
    resume: bool = False
    """Go on with the account's unfinished run."""
    may_begin: bool = False
    """Begin a new run if there is no unfinished one: a service starts the same way every time."""
    set_aside: bool = False
    """Begin a new run although one is unfinished."""
    url: str | None = None
    """Address of a simulated exchange that speaks the venue's protocol; None for the venue itself."""
    contracts: int = MOST_CONTRACTS
    """Most options that the run knows."""
    runner: RunnerOptions = field(default_factory=RunnerOptions)
    """Times of the loop and what happens at the end."""
    session: date | None = None
    data: str = "embedded"
    pace: float | None = None
    """``session``, ``data``, ``pace``: the simulated venue's day, data set, market seconds a second
    (None: in step).
    """
    state: Path | None = None
    """Machine-wide folder of locks and armings; None takes the user's own."""
    follows_venue: bool = False
    """The desk's time is the venue's: for a simulated exchange with a time of its own."""
    fault: str = ""
    """Error that ended the run's last life in this process; empty without one."""
    halts: bool = False
    """Whether the desk is to trade no more after the fault."""
    stops: StopMode | None = None
    """The stop that was asked for before the fault."""
    is_later_day: bool = False
    """Another run of one command came before: a day without options to trade is waited out, not refused."""

    @property
    def trading(self) -> str:
        """``live``, ``paper`` or ``simulated``."""
        if self.venue == "simulated":
            return "simulated"
        return "live" if self.live else "paper"

    @property
    def market_venue(self) -> str:
        """Venue whose market is traded: of the sandbox the one at whose quotes it fills."""
        if self.venue != SANDBOX:
            return self.venue
        return self.settings.config.venue.sandbox_quotes or DEFAULT_VENUE

    @property
    def runs_dir(self) -> Path:
        """Folder of the runs."""
        return Path(self.settings.config.desk.runs_dir)

    @property
    def underlyings(self) -> tuple[str, ...]:
        """Symbols that the strategy trades, the main one first."""
        return configured_underlyings(self.settings.strategy_config)

    @property
    def clock(self) -> Clock:
        """A new clock: one that follows a venue with a time of its own, else the machine's."""
        return FollowingClock() if self.venue == "simulated" or self.follows_venue else SteadyClock()


def venue_name(name: str) -> str:
    """Return a venue's name for one that it may have gone by."""
    return FORMER_NAMES.get(name, name)


def plan_of(
    settings: LoadedSettings,
    venue: str,
    *,
    live: bool = False,
    resume: bool = False,
    resume_if_any: bool = False,
    new_run: bool = False,
    url: str | None = None,
    exchange_time: bool | None = None,
    contracts: int | None = None,
    on_stop: str | None = None,
    sessions: int | None = None,
    session: date | None = None,
    data: str = "embedded",
    pace: float | None = None,
) -> LivePlan:
    """Return the plan of a run: the section ``[venue]``, overridden by what is given.

    Parameters
    ----------
    venue, live, resume, new_run, sessions, session, data, pace
        As in :class:`LivePlan` and :class:`scalpdesk.live.runner.RunnerOptions`.
    resume_if_any
        Go on with an unfinished run, or begin a new one.
    url, exchange_time, contracts, on_stop
        None takes the section's.

    Raises
    ------
    ConfigError
        When the desk is to follow an exchange's time and there is no exchange.
    """
    venue = venue_name(venue)
    section = settings.config.venue
    address = section.url if url is None else url
    follows = section.exchange_time if exchange_time is None else exchange_time
    if venue == "simulated":
        address, follows = None, False
    if address is not None:
        _check_address(address, "venue.url" if url is None else "--url")
    if follows and address is None:
        raise ConfigError(
            "only a simulated exchange has a time of its own",
            where="--exchange-time, venue.exchange_time",
            value=True,
            fix="name the exchange's address with --url, or leave this out",
        )
    in_step = venue == "simulated" and pace is None
    absent = section.absent_after_seconds or (10.0 if address is None else 2.0)
    # a minute of the wall may be an hour of an exchange with a time of its own
    reconcile = section.reconcile_seconds or (5.0 if follows else 60.0)
    runner = RunnerOptions(
        reconcile_seconds=reconcile,
        confirm_seconds=section.confirm_seconds,
        resolve_seconds=section.resolve_seconds,
        absent_after_seconds=absent,
        silent_seconds=section.silent_seconds,
        deadline_margin_seconds=section.deadline_margin_seconds,
        at_expiry=settings.config.desk.at_expiry,
        flatten_seconds=section.flatten_seconds,
        most_waiting=1 if in_step else 2_000,
        sessions=sessions,
        stop=StopMode(section.on_stop if on_stop is None else on_stop),
        rolls=section.roll and venue != "simulated",
    )
    plan = LivePlan(
        settings,
        venue,
        live=live,
        resume=resume or resume_if_any,
        may_begin=resume_if_any,
        set_aside=new_run,
        url=address,
        contracts=section.contracts if contracts is None else contracts,
        runner=runner,
        session=session,
        data=data,
        pace=pace,
        follows_venue=follows,
    )
    # no more options than the venue streams
    most = None if venue == "simulated" else find_venue(plan.market_venue).most_quotes
    return plan if most is None else replace(plan, contracts=min(plan.contracts, most))


def trades_options(settings: LoadedSettings) -> bool:
    """Return whether the strategy needs an option chain."""
    assert settings.strategy is not None
    return find_strategy(settings.strategy).trades_options


def _check_address(address: str, where: str) -> None:
    if "@" in address:
        raise ConfigError(
            "an address holds no keys",
            where=where,
            fix="put them into .env: TRADING_API_KEY, TRADING_API_SECRET",
        )
    try:
        parts = urlsplit(address)
        is_address = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 host that cannot be
        is_address = False
    if not is_address:
        raise ConfigError(
            "this is no address of an exchange",
            where=where,
            value=address,
            fix="write it as scalpdesk exchange prints it: http://127.0.0.1:PORT",
        )
