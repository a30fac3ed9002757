"""The configuration of a desk: its sections, their defaults, and how the sources are laid over them.

Later sources win: defaults, ``scalpdesk.toml`` (or ``params.yaml``, or ``--config FILE``), ``.env``,
the environment, ``--set KEY=VALUE``. Every value keeps the place it came from.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import time
from decimal import Decimal
from functools import lru_cache
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from scalpdesk.config.history import (
    is_constant,
    is_kept_by_runs,
    path_of_today,
    put_constants,
    to_earlier,
    to_former_defaults,
)
from scalpdesk.config.schema import Schema, Secret, located, plain, raise_all
from scalpdesk.config.sources import (
    LEGACY_NAMES,
    OVERRIDE,
    Entry,
    KeyPath,
    dotted,
    find_config_file,
    is_secret,
    leaves,
    read_dotenv,
    read_environment,
    read_file,
    read_override,
    refuse_open_keys,
)
from scalpdesk.core.bounds import BoundedSettings, NonNegative, Positive, above, at_least
from scalpdesk.core.enums import Quality
from scalpdesk.core.errors import ConfigError, nearest_name
from scalpdesk.core.units import DAY_SECONDS
from scalpdesk.instruments.broker_terms import fees_named
from scalpdesk.instruments.classes import OptionClass
from scalpdesk.instruments.deadlines import ExpiryRule
from scalpdesk.marketdata.dealer_gamma import ExposureSettings
from scalpdesk.risk.limits import RiskLimits, check_account, check_sizes
from scalpdesk.strategies.registry import (
    SEVERAL,
    bound_config,
    canonical_name,
    find_strategy,
    member_names,
)
from scalpdesk.strategies.toolkit.exits import PremiumExits
from scalpdesk.venues.registry import find_venue

KeyPair = tuple[str, str]
"""Fields of ``[credentials]`` that open an account together: key and secret."""

Requests = Annotated[int, Meta(ge=10)]
Folder = Annotated[str, Meta(min_length=1)]
Units = Annotated[int | Decimal, at_least(-(10**8), 10**8, "shares or contracts")]


_FIRST_EXITS = {"exits": ("rules", "stop_fraction", "arm_fraction", "giveback_fraction"), "exit": ("rules",)}
"""A structure's stops and targets that were there at first, by section: others count where they are set."""
_FOLDERS = (("desk", "runs_dir"), ("data", "catalog"))
"""Keys that say where files lie: what a run does is the same for each."""


class VenueSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The venue of ``scalpdesk run``: address, limits and times."""

    url: str | None = None
    """Address of a simulated exchange that speaks the venue's protocol, instead of the venue (``--url``)."""
    exchange_time: bool = False
    """The desk's time is that of the exchange at ``url`` (``--exchange-time``)."""
    contracts: Annotated[int, Meta(ge=2)] = 200
    """Most options that a run knows (``--contracts``); a basic data plan streams 200."""
    on_stop: Literal["leave", "hold", "flatten"] = "hold"
    """At the end: leave all as it is, hold positions without orders, or flatten (``--on-stop``)."""
    sandbox_quotes: str | UnsetType = UNSET
    """Venue at whose live quotes the sandbox fills; ``alpaca`` where it is not set."""
    roll: bool = True
    """Begin the next day as a run of its own, with the contracts listed then, when the book is flat."""
    forecast: bool = True
    """Forecast volatility from the venue's own daily bars where ``data.daily_history`` is not set."""
    watchdog: bool = True
    """Guard the desk by a second process (``--watchdog``)."""
    watchdog_flatten: bool = False
    """The watchdog also closes the positions (``--watchdog-flatten``)."""
    reconcile_seconds: Positive | None = None
    """Between two views of the account; None is 60, with ``exchange_time`` 5."""
    confirm_seconds: NonNegative = 1.0
    """Between the two views that must agree on a difference."""
    resolve_seconds: Positive = 1.0
    """Between the first two questions about an order in doubt."""
    absent_after_seconds: Positive | None = None
    """Time in which the venue may accept an order after its request ended; None: 10, or 2 with ``url``."""
    silent_seconds: NonNegative = 60.0
    """A data stream silent for this long in a session is reconnected, and a share, perpetual, or held option
    is asked for again; 0: never.
    """
    heartbeat_seconds: Positive = 10.0
    """Between pings of a stream; half of it without the pong ends the connection."""
    timeout_seconds: Positive = 5.0
    """Time-out of a request on the order path; queries may take four times as long."""
    requests_per_minute: Requests | None = None
    """Limit of the trading interface; the venue's headers correct it. None: 200, Deribit 300."""
    deadline_margin_seconds: NonNegative = 300.0
    """Time before the venue's cut-off at which the desk begins to close expiring options."""
    flatten_seconds: Positive = 120.0
    """Longest wait of a stop with ``flatten`` until the venue shows a flat account."""


_QuoteSeconds = Annotated[float, Meta(ge=0, le=600)]
"""Seconds, not milliseconds: an age of ten minutes is old in any market."""
Rate = Annotated[float, Meta(ge=-0.2, le=1)]
"""A fraction a year: 0.05 is 5 %."""


class DeskSection(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the desk keeps its runs and what its account is called."""

    runs_dir: Folder = "runs"
    """Folder of the run journals and of their database, relative to where the command starts."""
    account: str = "simulated"
    """Name of the account; one desk runs on one account."""
    currency: str = "USD"
    """Currency of all amounts: that in which the market of a run settles (``BTC`` for inverse contracts)."""
    paper: bool = True
    """Trade a venue's paper account; false is only looked at once the desk is armed."""
    strategy_mode: str | None = None
    """Strategy to run when the command names no strategy (STRATEGY_MODE)."""
    at_expiry: ExpiryRule = ExpiryRule.CLOSE
    """Options that no strategy has left by the venue's cut-off for orders on their last day. ``close``: the
    desk flattens before it. ``let_go``: they are kept, and nothing that was bought is exercised, by a
    contrary instruction. ``exercise``: they are kept, and the clearing house exercises what is in the money.
    """


class DataSection(Struct, frozen=True, forbid_unknown_fields=True):
    """The market data catalogue."""

    catalog: Folder = "catalog"
    """Folder of the Parquet catalogue."""
    max_side_age_seconds: Annotated[float, Meta(ge=0, le=604_800)] | None = None
    """Age up to which a missing side is filled from its last quote; None keeps the data set's limit."""
    daily_history: str | None = None
    """Daily bars for volatility forecasts: a data set or a CSV or Parquet file; None takes NAME-daily."""
    index_source: Literal["recorded", "parity"] = "recorded"
    """Where an index level comes from: recorded where there is one, or always put-call parity."""
    hours: Literal["regular", "globex"] = "regular"
    """Sessions of a future: those of the stock exchanges, or CME's around the clock."""
    hedge_set: str | None = None
    """Data set with the quotes of ``hedge.instrument``; None for that of the options."""
    assumed_spread_bps: Annotated[float, Meta(ge=0, le=1_000)] = 0.0
    """Spread, in basis points of the price, around a price that a data set has for both sides of what hedges
    (an index level, a last price). Fills, bands and the entry's edge all see it. 0 leaves the one price: a
    hedge there costs no spread, and the run's summary counts such fills. SPY's cent at 166
    (October 2013) is 0.6 basis points.
    """
    quality: Quality = "clean"
    """Quotes of the embedded market: as drawn, or ``real``, with the faults that recorded quotes have."""
    keep_implied_vols: Literal["live", "always", "never"] = "live"
    """Which runs of strategies that read the IV rank store the day's value at the close. With ``always``
    backtests store theirs too, so a later backtest knows more history."""


class SimulationSection(BoundedSettings, frozen=True, forbid_unknown_fields=True):
    """The simulated venue."""

    section = "simulation"
    fill_model: str = "cross"
    """``cross``, ``mid``, ``queue``, ``adverse``, or the name of an installed package's."""
    fill_model_hedge: str | None = None
    """Fill model of the hedges in the underlying; None is the same as ``fill_model``."""
    displayed_sizes: bool = True
    """Fill no more at once than a quote displays; false treats every size as unknown."""
    latency_ms: Annotated[float, Meta(ge=0, le=60_000)] = 0.0
    """One way, desk to exchange and back, in milliseconds."""
    starting_cash: Annotated[Decimal, above(0, 10**12, "an amount of money")] = Decimal(100_000)
    """Cash at the start, in the quote currency."""
    fees: str = "none"
    """``none``, or a venue's: ``alpaca`` (no commission, the regulatory fees that brokers pass on), ``ibkr``
    (fixed), ``ibkr_tiered``, ``deribit``, or the venue of an installed package. Each as of the trade date.
    """
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 1
    """Which of the possible paths of the embedded market."""
    positions: dict[str, Units] = msgspec.field(default_factory=dict)
    """Shares or contracts held at the start, by symbol."""
    early_assignment: Literal["off", "worth", "random"] = "worth"
    """Assignment of sold American options before their expiry. ``worth``: of those that are worth more
    exercised (a call before an ex-date, a deep put by the interest on its strike); ``random``: of some others
    in the money as well, drawn from ``seed`` in proportion to the open interest; ``off``: never.
    """
    after_close_move: Annotated[float, Meta(ge=0, le=0.2)] = 0.0
    """Standard deviation of an underlying's move between the close and the last exercise notice of an expiry
    day, as a fraction of its price, drawn from ``seed``: sold options that deliver shares are assigned by the
    price after it. 0: by the close.
    """
    day_trading_rule: Literal["intraday", "pattern"] = "intraday"
    """Rule for shares within the day from 2026-06-04 on: ``intraday`` margin, or ``pattern`` of a broker that
    keeps the day-trading rule, with its 25,000 USD, until 2027-10-20. Before that date it is ``pattern``.
    """
    options_level: Annotated[int, Meta(ge=0, le=4)] | None = None
    """Trades allowed to the simulated account: 0 no options, 1 covered calls and puts secured by cash, 2
    bought options, 3 several legs that cover one another, 4 uncovered. None: 4 if ``positions`` hold an
    uncovered call, else 3.
    """


class MarketDataSection(Struct, frozen=True, forbid_unknown_fields=True):
    """When a quote is too old to act on."""

    stale_seconds_underlying: _QuoteSeconds = 5.0
    """Age at which a quote of the underlying is stale; at least 2.5 times the pace of the data."""
    stale_seconds_option: _QuoteSeconds = 60.0
    """Age at which an option's quote is stale; at least 5 times the pace of the data."""
    floor_seconds: _QuoteSeconds = 1.0
    """Shortest time to expiry that options are priced with before they expire."""
    mark_seconds: Annotated[float, Meta(ge=0.001, le=3_600)] = 60.0
    """Interval between marks of the book, each with its P&L explained; every fill is marked too."""
    vol_half_life_seconds: Annotated[float, Meta(gt=0, le=3_600)] | None = None
    """Average each strike's volatility with this half life instead of filtering it by its quotes' widths."""
    gex_value: float | str | None = None
    """Dealer gamma exposure given by hand, in USD: a text that is not a number counts as unknown."""


class RatesSection(Struct, frozen=True, forbid_unknown_fields=True):
    """Interest rates, continuously compounded, as fractions a year."""

    flat: Rate | None = None
    """One rate for every maturity, instead of the data set's curve."""
    default: Rate = 0.05
    """Rate where the data set has no curve."""
    dividend_yields: dict[str, Rate] = {}
    """Continuous dividend yield by underlying; others use the data set's."""
    forward: Literal["parity", "configured"] = "parity"
    """Whether quotes of calls and puts correct the forward that rate and dividend yield give."""


class CredentialsSection(Struct, frozen=True, forbid_unknown_fields=True):
    """Keys of the venues and stores; best kept in ``.env``."""

    trading_api_key: Secret | None = None
    """Key id of the trading account (TRADING_API_KEY)."""
    trading_api_secret: Secret | None = None
    """Its secret (TRADING_API_SECRET)."""
    st0cka_key: Secret | None = None
    """Key id of the st0cka account (ST0CKAKEY)."""
    st0cka_secret: Secret | None = None
    """Its secret (ST0CKASECRET)."""
    st0ckg_key: Secret | None = None
    """Key id of the st0ckg account (ST0CKGKEY)."""
    st0ckg_secret: Secret | None = None
    """Its secret (ST0CKGSECRET)."""
    firebase_project_id: str | None = None
    """Project of the Firestore database (FIREBASE_PROJECT_ID)."""
    google_application_credentials: str | None = None
    """Path of the key file."""
    firestore_emulator_host: str | None = None
    """Host and port of a local Firestore (FIRESTORE_EMULATOR_HOST)."""
    records_url: Secret | None = None
    """Database of the runs, ``postgresql://user:password@host/desk`` (extra ``postgres``); None:
    ``desk.sqlite`` in ``desk.runs_dir``. No desk waits for it: its rows are read from the journals."""
    alert_urls: Secret | None = None
    """Where alerts go: apprise addresses, with spaces between them; they hold tokens."""
    alert_escalation_urls: Secret | None = None
    """Further address for alarms that were not acknowledged in time."""
    alert_heartbeat_url: Secret | None = None
    """Pinged while the desk is well; the service there alarms when the pings stop (dead-man switch)."""
    telegram_bot_key: Secret | None = None
    """Token of the Telegram bot that takes commands."""


def quiet_span(text: str) -> tuple[time, time] | None:
    """Return from and to of ``22:00-07:00``; None for an empty text.

    Raises ConfigError when it is not two times of day.
    """
    if not text.strip():
        return None
    try:
        start, end = (time.fromisoformat(part.strip()) for part in text.split("-"))
    except ValueError as error:
        raise ConfigError(
            "quiet hours are two times of day", where="alerts.quiet_hours", value=text, fix="22:00-07:00"
        ) from error
    return start, end


class AlertSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Which events raise an alert, and when it is sent; ``credentials.alert_urls`` holds the addresses."""

    level: Literal["info", "warning", "alarm"] = "warning"
    """Least level that is sent; the daily summary always is."""
    quiet_hours: str = ""
    """``22:00-07:00``: only alarms are sent in them, the rest when they end."""
    timezone: str = "America/New_York"
    """Time zone of the quiet hours."""
    group_seconds: ClassVar[float] = 10.0
    """Time for which notices, but not alarms, are collected into one message."""
    repeat_seconds: ClassVar[float] = 300.0
    """The same alert is not sent sooner again; how often it came is counted."""
    settle_seconds: ClassVar[float] = 15.0
    """A condition is over once it has been gone for so long."""
    escalate_seconds: Positive = 300.0
    """An unacknowledged alarm is sent again after this time, then after twice as long, and so on."""
    heartbeat_seconds: Positive = 60.0
    """Between two calls of ``credentials.alert_heartbeat_url``, while the desk is well."""
    summary: bool = True
    """Send the account of each session when it closes."""
    exit_refusals: Annotated[int, Meta(ge=1)] = 3
    """An exit refused so many times in a row is an alarm."""
    pin_deviations: NonNegative = 1.0
    """In the last hour of a sold option that delivers shares: an alert while its strike lies within so many
    standard deviations of what is left. 0: never."""
    unhedged_seconds: NonNegative = 60.0
    """Net delta outside of its band for so long is an alarm."""
    quote_seconds: NonNegative = 60.0
    """A held contract without a quote for so long is an alert, where no other of its underlying has one."""
    unknown_seconds: NonNegative = 30.0
    """An order in doubt for so long is an alert."""
    disconnect_seconds: NonNegative = 15.0
    """A stream of the venue that is down for so long is an alert."""
    silent_seconds: NonNegative = 10.0
    """A desk that does not answer for so long is an alarm."""
    residual_fraction: Annotated[float, Meta(ge=0, le=1)] = 0.05
    """A larger share of the P&L that the model does not explain is an alert."""
    residual_seconds: NonNegative = 60.0
    """It is one once the share has been as large for so long."""
    margin_fraction: Annotated[float, Meta(ge=0, le=1)] = 0.1
    """Less buying power than this share of the equity is an alarm."""
    telegram_operators: tuple[int, ...] = ()
    """Telegram users who may send /status, /halt and /flatten; an empty list switches commands off."""
    telegram_api: str = "https://api.telegram.org"
    """Server of the Telegram bot interface."""

    def __post_init__(self) -> None:
        """Refuse quiet hours that are not times, and an unknown time zone."""
        errors: list[ConfigError] = []
        try:
            quiet_span(self.quiet_hours)
        except ConfigError as error:
            errors.append(error)
        try:
            ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError):
            errors.append(
                ConfigError(
                    "this is no time zone",
                    where="alerts.timezone",
                    value=self.timezone,
                    nearest=nearest_name(self.timezone, available_timezones()),
                    fix="name one as America/New_York",
                )
            )
        raise_all(errors)


class DashboardSection(Struct, frozen=True, forbid_unknown_fields=True):
    """The dashboard behind a proxy that speaks TLS."""

    origins: tuple[str, ...] = ()
    """Addresses of the page as a browser shows them, scheme and all (``https://desk.example.com``). With one,
    reading needs a token too: every visitor of the proxy seems to be on this machine."""
    proxies: tuple[str, ...] = ()
    """Addresses or networks of the proxies (``127.0.0.1``, ``10.0.0.0/8``). Wrong tokens are then counted by
    the address in the X-Forwarded-For that they write, not by the proxy's own."""

    def __post_init__(self) -> None:
        """Refuse what no browser sends as an origin, and what is no network."""
        errors = [
            ConfigError(
                "this is no origin: scheme and name, with a port where it is not the usual one",
                where="dashboard.origins",
                value=origin,
                fix="write it as https://desk.example.com",
            )
            for origin in self.origins
            if not _is_origin(origin)
        ]
        for proxy in self.proxies:
            try:
                ip_network(proxy, strict=False)
            except ValueError:
                what, fix = "this is neither an address nor a network", "write it as 127.0.0.1 or 10.0.0.0/8"
                errors.append(ConfigError(what, where="dashboard.proxies", value=proxy, fix=fix))
        raise_all(errors)


def _is_origin(text: str) -> bool:
    """Return whether a text is an origin as browsers send it.

    >>> [_is_origin(text) for text in ("https://desk.lan:8443", "https://desk.lan:443", "https://desk.lan/")]
    [True, False, False]
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    usual = {"https": 443, "http": 80}
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    whole = f"{parts.scheme}://{name}" + ("" if port is None else f":{port}")
    return bool(parts.hostname) and usual.get(parts.scheme, port) != port and text.lower() == whole


class BudgetsSection(Struct, frozen=True, forbid_unknown_fields=True):
    """Division of the equity among strategies that share the desk."""

    fractions: dict[str, Decimal] = {}
    """Share of the equity (0 to 1) that a strategy may open risk with, by its name; those not named
    share the rest equally."""
    adopts: str | None = None
    """Strategy that takes over the account's positions at the start; unset: no strategy owns them."""


class DeskConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Every section of the configuration."""

    desk: DeskSection = DeskSection()
    data: DataSection = DataSection()
    simulation: SimulationSection = SimulationSection()
    marketdata: MarketDataSection = MarketDataSection()
    gex: ExposureSettings = ExposureSettings()
    risk: RiskLimits = RiskLimits()
    rates: RatesSection = RatesSection()
    venue: VenueSettings = VenueSettings()
    credentials: CredentialsSection = CredentialsSection()
    alerts: AlertSettings = AlertSettings()
    dashboard: DashboardSection = DashboardSection()
    budgets: BudgetsSection = BudgetsSection()
    venues: dict[str, Any] = {}
    """Settings by venue, each checked against the venue's own struct."""
    classes: dict[str, OptionClass] = {}
    """Contract classes by the root of their options, before those of the product's own table."""
    strategies: dict[str, Any] = {}
    """Settings by strategy, each checked against the strategy's own ``Config``."""

    @property
    def records_url(self) -> str | None:
        """URL of the database of the runs, with its password; None for the default."""
        url = self.credentials.records_url
        return None if url is None else url.reveal()


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Every section of the configuration, and the strategy that runs with it."""

    config: DeskConfig
    strategy: str | None
    strategy_config: Any
    """The strategy's ``Config``; None when no strategy was asked for."""

    def effective(self) -> dict[str, Any]:
        """Return every value as plain JSON-able data, secrets masked."""
        tree: dict[str, Any] = plain(self.config)
        return tree

    def venue_settings(self, venue: str) -> Struct:
        """Return the section of a venue as its own struct."""
        section: Struct = msgspec.convert(self.config.venues.get(venue, {}), find_venue(venue).settings)
        return section

    @property
    def config_hash(self) -> str:
        """SHA-256 over the desk's sections and the chosen strategy's, without keys; hexadecimal.

        Where files lie, who is alerted and how a page is reached does not change what a run does: it is left
        out.
        """
        return self._hashed(self.effective())

    @property
    def hashes(self) -> tuple[str, ...]:
        """Hash of this version, and of an earlier one: a default changed since counts as it was there."""
        tree = self.effective()
        to_former_defaults(tree, dict(leaves(plain(DeskConfig()))))
        return self.config_hash, self._hashed(tree)

    def _hashed(self, tree: dict[str, Any]) -> str:
        """Return the hash of a tree of every value, which it takes apart."""
        for section in ("credentials", "alerts", "dashboard"):
            tree.pop(section)
        for section, key in _FOLDERS:
            tree[section].pop(key)
        members = member_names(self.strategy) if self.strategy is not None else ()
        if len(members) < 2:  # one strategy alone: nothing is divided
            tree.pop("budgets")
        tree["strategies"] = {
            name: own for name, own in tree["strategies"].items() if name in (self.strategy, *members)
        }
        exits = [
            (("strategies", name, *path), default)
            for name in tree["strategies"]
            for path, default in _later_exits(_strategy_config_type(name))
        ]
        to_earlier(tree, exits)
        tree["venues"] = {name: own for name, own in tree["venues"].items() if own}
        for section in ("venues", "classes"):
            if not tree[section]:
                tree.pop(section)
        for own in tree["strategies"].values():
            hedge = own.get("hedge", {}) if isinstance(own, dict) else {}
            if isinstance(hedge, dict) and hedge.get("instrument", "") is None:
                del hedge["instrument"], hedge["beta"]
        for key in ("readable_paths", "writable_paths", "connect_ports", "must_be_confined"):
            if not tree["strategies"].get("external", {}).get(key, True):
                del tree["strategies"]["external"][key]
        text = json.dumps(tree, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def _later_exits(config: type[Struct]) -> Iterator[tuple[KeyPath, object]]:
    """Yield stops and targets that came later, with their defaults, of a strategy that trades structures."""
    for section in structs.fields(config):
        kind, first = section.type, _FIRST_EXITS.get(section.name)
        if first is not None and isinstance(kind, type) and issubclass(kind, PremiumExits):
            shared = [each for each in structs.fields(kind) if each.name in PremiumExits.__struct_fields__]
            yield from (
                ((section.name, each.name), each.default) for each in shared if each.name not in first
            )


@dataclass(frozen=True, slots=True)
class LoadedSettings(RunSettings):
    """Settings merged from all sources."""

    sources: dict[str, str] = field(repr=False)
    """Source of every key by its dotted path: ``default``, ``scalpdesk.toml:12``, ``--set`` …"""
    config_file: Path | None = None

    def located(self, error: ConfigError) -> ConfigError:
        """Return the refusal with the full path of its key and the place where it was set.

        For what only the strategy or the venue can check once it is put together, such as the
        settings of a hedge band: their refusals name a key relative to their own section.
        """
        for prefix in (f"strategies.{self.strategy}.", ""):
            words = f"{prefix}{error.where}".split(".")
            for length in range(len(words), prefix.count("."), -1):
                source = self.sources.get(".".join(words[:length]))
                if error.where is not None and source is not None:
                    return located(error, tuple(words), {}, source)
        return error

    def venue_keys(self, others: Sequence[KeyPair] = ()) -> tuple[Secret, Secret] | None:
        """Return key and secret of the account to trade; None without keys. See :meth:`keys_taken`."""
        pair = self.keys_taken(others)
        return None if pair is None else self._keys(pair)

    def needed_keys(self, others: Sequence[KeyPair] = ()) -> tuple[Secret, Secret]:
        """Return key and secret of the account to trade; raises ConfigError without keys."""
        keys = self.venue_keys(others)
        if keys is None:
            raise keys_missing("the venue needs a key and a secret; nothing was sent", self.strategy)
        return keys

    def keys_taken(self, others: Sequence[KeyPair] = ()) -> KeyPair | None:
        """Return which keys are taken: the strategy's own, else the trading keys, else others of the venue.

        ``others``: Pairs of another strategy that open an account at the venue, too.
        Returns fields of ``[credentials]``; None without keys.

        Raises ConfigError when one of a pair is there without the other.
        """
        for pair in (*key_pairs(self.strategy), *others):
            key, secret = (getattr(self.config.credentials, name) for name in pair)
            if key is not None and secret is not None:
                return pair
            if key is not None or secret is not None:
                missing = pair[0] if key is None else pair[1]
                raise ConfigError(
                    "a key needs its secret, and a secret its key; nothing was sent",
                    where=f"credentials.{missing}",
                    fix=f"put both of {' and '.join(dotenv_names(pair))} into .env, or neither",
                )
        return None

    def _keys(self, pair: KeyPair) -> tuple[Secret, Secret]:
        key, secret = (getattr(self.config.credentials, name) for name in pair)
        return key, secret


def key_pairs(strategy: str | None) -> list[KeyPair]:
    """Return the fields of ``[credentials]`` that are read: the strategy's own, then the common."""
    own = None if strategy is None else find_strategy(strategy).credentials
    return [*(() if own is None else (own,)), ("trading_api_key", "trading_api_secret")]


def dotenv_names(fields: Sequence[str]) -> list[str]:
    """Return the names that fields of ``[credentials]`` have in ``.env``.

    Examples
    --------
    >>> dotenv_names(("st0cka_key", "st0cka_secret"))
    ['ST0CKAKEY', 'ST0CKASECRET']
    """
    return [next(name for name, path in LEGACY_NAMES.items() if path == ("credentials", f)) for f in fields]


def keys_missing(what: str, strategy: str | None) -> ConfigError:
    """Return the refusal of a command that needs the keys of an account, with the names that are read."""
    own, *common = key_pairs(strategy)
    fix = f"put {' and '.join(dotenv_names(own))} into .env"
    for pair in common:
        fix += f", or the common {' and '.join(dotenv_names(pair))}"
    return ConfigError(what, where=", ".join(f"credentials.{name}" for name in own), fix=fix)


def load_settings(
    strategy: str | None = None,
    *,
    config_file: str | Path | None = None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    simulated_account: bool = True,
    reads_strategies: bool = True,
) -> LoadedSettings:
    """Read all sources and lay them over one another.

    ``strategy``: Strategy whose ``Config`` is wanted and to which ``--set`` keys belong first.
    ``config_file``: File to read instead of that found in ``cwd``.
    ``overrides``: ``KEY=VALUE`` texts of the command line.
    ``environ``: The process's environment; None: an empty one. Its names win over ``.env``.
    ``cwd``: Folder of ``scalpdesk.toml`` and ``.env``.
    ``simulated_account``: Whether ``simulation`` describes the account that will be traded, and limits are
    held against it; those of a venue's account are held against its equity as the run begins.
    ``reads_strategies``: Whether the sections of strategies count; what reads records needs none of them.
    Returns LoadedSettings. Raises ConfigError for an unknown key, a value of the wrong type, a file that does
    not parse: with the key's path, file and line, the nearest known key and the fix. Several come at once, as
    a ``ManyConfigError``.
    """
    folder = cwd or Path()
    strategy = canonical_name(strategy) if strategy is not None else None
    path = find_config_file(config_file, folder)
    in_file = read_file(path) if path is not None else []
    real = dict(environ or {})
    from_dotenv = {k: v for k, v in read_dotenv(folder / ".env").items() if k not in real}
    members = [] if strategy is None else [find_strategy(name) for name in member_names(strategy)]
    own_names = [
        {name: ("strategies", spec.name, *key) for name, key in spec.environment.items()} for spec in members
    ]
    entries = [
        *in_file,
        *read_environment(from_dotenv, ".env", own_names),
        *read_environment(real, members=own_names),
    ]
    if not reads_strategies:
        entries = [entry for entry in entries if entry.path[0] != "strategies"]
    errors: list[ConfigError] = []
    for text in overrides:
        try:
            entries.append(read_override(text))
        except ConfigError as error:
            errors.append(error)
    schema = Schema(DeskConfig, _strategy_config_type, lambda name: find_venue(name).settings, strategy)
    current, entries = entries, []
    for entry in current:
        owners = () if strategy is None or entry.source != OVERRIDE else (strategy, *member_names(strategy))
        paths = [
            entry.path,
            ("strategies", *entry.path),
            *(("strategies", name, *entry.path) for name in owners),
        ]
        now = next((path_of_today(path) for path in paths if path_of_today(path) != path), entry.path)
        try:
            if not any(is_constant(path, entry.value, entry.source) for path in paths):
                entries.append(replace(entry, path=now))
        except ConfigError as error:
            errors.append(error)
    if path is not None:
        keys = [each for each in in_file if each.value and is_secret(each.path) and schema.knows(each)]
        try:
            refuse_open_keys(path, [dotted(each.path) for each in keys])
        except ConfigError as error:
            errors.append(error)
    values: dict[KeyPath, Entry] = {}
    for entry in spread(entries, schema, strategy):
        try:
            placed = schema.place(entry)
        except ConfigError as error:
            if all(error.render() != known.render() for known in errors):  # an unknown section counts once
                errors.append(error)
        else:
            if placed is not None:
                values[placed.path] = placed
    raise_all(errors)
    return _lay_over(strategy, schema, values, path, simulated_account=simulated_account)


def changed_settings(strategy: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a run's stored configuration was not the default; the strategy's keys without its name.

    Keys of accounts and folders are left out; for a strategy that is not installed any more, everything is.
    """
    default = _defaults(strategy)
    if not default:
        return {}
    return {
        dotted(path).removeprefix(f"strategies.{strategy}."): value
        for path, value in leaves(config)
        if path[0] != "credentials"
        and path not in _FOLDERS
        and default.get(path) != value
        and not is_kept_by_runs(path)
    }


@lru_cache(maxsize=8)
def _defaults(strategy: str) -> dict[KeyPath, Any]:
    try:
        usual = load_settings(strategy, cwd=Path(os.devnull)).effective()
        put_constants(usual)
        return dict(leaves(json.loads(json.dumps(usual, default=str))))
    except ConfigError:
        return {}


def _strategy_config_type(name: str) -> type[Struct]:
    return find_strategy(name).config


def _lay_over(
    strategy: str | None,
    schema: Schema,
    values: dict[KeyPath, Entry],
    path: Path | None,
    *,
    simulated_account: bool,
) -> LoadedSettings:
    named = dict.fromkeys(path[1] for path in values if path[0] == "strategies" and len(path) > 1)
    names = dict.fromkeys([*named, *(member_names(strategy) if strategy else ())])
    _hand_down_exposure_age(values, schema, list(names))
    _follow_given(values, [name for name in names if SEVERAL not in name])
    tree = _tree(values)
    sections, venues = tree.pop("strategies", {}), tree.pop("venues", {})
    mode = tree.get("desk", {}).get("strategy_mode")
    if mode is not None:
        try:
            find_strategy(mode)
        except ConfigError as error:
            raise located(error, ("desk", "strategy_mode"), values) from error
    config = schema.convert(DeskConfig, {**tree, "strategies": sections}, (), values)
    for key, find, name in (
        (("simulation", "fees"), fees_named, config.simulation.fees),
        (("venue", "sandbox_quotes"), find_venue, config.venue.sandbox_quotes),
    ):
        try:
            if name:
                find(name)
        except ConfigError as error:
            raise located(error, key, values) from error
    for name, own in venues.items():
        schema.convert(find_venue(name).settings, own, ("venues", name), values)
    configs = {
        name: schema.convert(
            _strategy_config_type(name), sections.get(name, {}), ("strategies", name), values
        )
        for name in dict.fromkeys([*sections, *([strategy, *member_names(strategy)] if strategy else [])])
        if SEVERAL not in name
    }
    for name, chosen in configs.items():
        source = values.get(("strategies", name, "straddles"))
        check_sizes(config.risk, name, chosen, "default" if source is None else source.source)
    if simulated_account:
        try:
            check_account(config.risk, config.simulation.starting_cash, "simulation.starting_cash")
        except ConfigError as error:
            raise located(error, tuple(str(error.where).split(".")), values) from error
    config = structs.replace(
        config, strategies={name: plain(own) for name, own in configs.items()}, venues=venues
    )
    sources = {dotted(key): "default" for key, _ in leaves(plain(config))}
    sources |= {dotted(key): entry.source for key, entry in values.items()}
    shares = config.budgets
    own = None if strategy is None else bound_config(strategy, configs, shares.fractions, shares.adopts)
    return LoadedSettings(config, strategy, own, sources, path)


def _follow_given(values: dict[KeyPath, Entry], names: Sequence[str]) -> None:
    """Let keys of strategies that nobody set follow those that were."""
    for name in names:
        kind, own = _strategy_config_type(name), ("strategies", name)
        if not issubclass(kind, BoundedSettings):
            continue
        given = {path[2:]: entry.value for path, entry in values.items() if path[:2] == own}
        for path, (value, after) in kind.follow_given(given).items():
            if (*own, *path) not in values:
                values[*own, *path] = replace(values[*own, *after], path=(*own, *path), value=value)


def _hand_down_exposure_age(values: dict[KeyPath, Entry], schema: Schema, names: Sequence[str]) -> None:
    """Let ``gex.max_age_seconds`` hold for a strategy's hedge, too, where its own former key is not set.

    The key of the hedge, or of its band ``regime_threshold``, is in every stored configuration, and its hash:
    it stays, with its default.
    """
    given = values.get(("gex", "max_age_seconds"))
    if given is None:
        return
    try:
        seconds = min(float(given.value), DAY_SECONDS)
    except (TypeError, ValueError):  # refused where it was set
        return
    for name in names:
        hedge = ("strategies", name, "hedge")
        own = replace(given, path=(*hedge, "gex_max_age_seconds"), value=seconds)
        band = values.get((*hedge, "band"))
        if SEVERAL not in name and not schema.knows(own) and band and band.value == "regime_threshold":
            own = replace(own, path=(*hedge, "band_settings", "gex_max_age_seconds"))
        if own.path not in values and SEVERAL not in name and schema.knows(own):
            values[own.path] = own


def spread(entries: Sequence[Entry], schema: Schema, strategy: str | None) -> list[Entry]:
    """Return the entries, a ``--set`` key of several strategies once for each that knows it.

    ``st0cka.profit_target=0.02`` goes to the named strategy, ``underlying=QQQ`` to all that have the key.
    """
    members = () if strategy is None else member_names(strategy)
    if len(members) < 2:
        return list(entries)
    sections = tuple(dict.fromkeys((str(strategy), *members)))
    found: list[Entry] = []
    for entry in entries:
        placed = [entry]
        if entry.source == OVERRIDE:
            named = canonical_name(entry.path[0])
            if named in sections:
                placed = [replace(entry, path=("strategies", named, *entry.path[1:]))]
            else:
                own = [replace(entry, path=("strategies", name, *entry.path)) for name in sections]
                placed = [known for known in own if schema.knows(known)] or placed
        found += placed
    return found


def _tree(values: Mapping[KeyPath, Entry]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, entry in values.items():
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = entry.value
    return tree
