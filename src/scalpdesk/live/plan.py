"""Plan of a live run: the settings and options that gateway, journal and runner are built from."""

from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from scalpdesk.config.settings import LoadedSettings, VenueSettings
from scalpdesk.core.clock import Clock, FollowingClock, SteadyClock
from scalpdesk.core.errors import ConfigError
from scalpdesk.live.options import SANDBOX, SIMULATED_ACCOUNTS, RunOptions
from scalpdesk.live.runner import RunnerOptions
from scalpdesk.live.sessions import StopMode
from scalpdesk.strategies.contract import configured_underlyings
from scalpdesk.strategies.registry import find_strategy
from scalpdesk.venues.registry import DEFAULT_VENUE, find_venue

_MOST_CONTRACTS = 200
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
    contracts: int = _MOST_CONTRACTS
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
    def is_played(self) -> bool:
        """Whether the market is a tape of another day."""
        return self.venue == "simulated"

    @property
    def trading(self) -> str:
        """``live``, ``paper`` or ``simulated``."""
        if self.is_played:
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
        return FollowingClock() if self.is_played or self.follows_venue else SteadyClock()


def plan_of(settings: LoadedSettings, options: RunOptions) -> LivePlan:
    """Return the plan of a run: the section ``[venue]``, overridden by what is given.

    Raises ConfigError when the desk is to follow an exchange's time and there is no exchange.
    """
    section, venue = settings.config.venue, options.place
    address, follows = _exchange_of(section, options)
    plan = LivePlan(
        settings,
        venue,
        live=options.live,
        resume=options.resume or options.resume_if_any,
        may_begin=options.resume_if_any,
        set_aside=options.new_run,
        url=address,
        contracts=section.contracts if options.contracts is None else options.contracts,
        runner=_runner_of(settings, options, has_address=address is not None, follows=follows),
        session=options.start,
        data=options.data_set,
        pace=options.pace,
        follows_venue=follows,
    )
    # no more options than the venue streams
    most = None if plan.is_played else find_venue(plan.market_venue).most_quotes
    return plan if most is None else replace(plan, contracts=min(plan.contracts, most))


def _exchange_of(section: VenueSettings, options: RunOptions) -> tuple[str | None, bool]:
    """Return the address of an exchange in the venue's place, and whether its time is followed."""
    if options.place == "simulated":
        return None, False
    address = section.url if options.url is None else options.url
    follows = section.exchange_time if options.exchange_time is None else options.exchange_time
    if address is not None:
        _check_address(address, "venue.url" if options.url is None else "--url")
    elif follows:
        raise ConfigError(
            "only a simulated exchange has a time of its own",
            where="--exchange-time, venue.exchange_time",
            value=True,
            fix="name the exchange's address with --url, or leave this out",
        )
    return address, follows


def _runner_of(
    settings: LoadedSettings, options: RunOptions, *, has_address: bool, follows: bool
) -> RunnerOptions:
    """Return the times of the loop and what happens at the end."""
    section, is_simulated = settings.config.venue, options.place == "simulated"
    return RunnerOptions(
        # a minute of the wall may be an hour of an exchange with a time of its own
        reconcile_seconds=section.reconcile_seconds or (5.0 if follows else 60.0),
        # an account in this process shows positions and cash of one instant
        confirm_seconds=0.0 if options.place in SIMULATED_ACCOUNTS else section.confirm_seconds,
        resolve_seconds=section.resolve_seconds,
        absent_after_seconds=section.absent_after_seconds or (2.0 if has_address else 10.0),
        silent_seconds=section.silent_seconds,
        deadline_margin_seconds=section.deadline_margin_seconds,
        at_expiry=settings.config.desk.at_expiry,
        flatten_seconds=section.flatten_seconds,
        most_waiting=1 if is_simulated and options.pace is None else 2_000,  # 1: in step
        sessions=options.sessions,
        stop=StopMode(options.on_stop or section.on_stop),
        rolls=section.roll and not is_simulated,
    )


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
