"""Every setting of st0ckg, with its unit and default."""

from datetime import time
from decimal import Decimal
from typing import Literal

import msgspec

from scalpdesk.core.errors import ConfigError
from scalpdesk.entry.scalp_contract import ContractConfig
from scalpdesk.instruments.deadlines import venue_cutoff
from scalpdesk.signals.base import Scoring, find_signal
from scalpdesk.strategies.st0ckg.exits import ScalpExitConfig

SEVEN = (
    "gamma_squeeze",
    "vwap_reclaim",
    "opening_drive",
    "liquidity_vacuum",
    "options_pin",
    "dark_pool_flow",
    "dealer_gamma",
)


class FilterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a signal may be traded. The filters are asked in this order.

    Parameters
    ----------
    window_from, window_until
        New York times, both included.
    skip_opening_minutes
        Nothing is bought so soon after the open: with the window above from 10:00 on.
    min_seconds_between_trades
        Since the last entry was filled.
    max_open_positions
        Scalps held or being bought.
    max_trades_per_session
        Entries filled.
    min_seconds_same_signal
        Since an entry on the same signal was filled.
    trend_filter
        Calls only while the fast average of 5-minute closes lies above the slow one, puts only below.
    trend_fast, trend_slow
        Periods of the two exponential averages, in 5-minute bars; earlier sessions count.
    """

    window_from: str = "09:40"
    window_until: str = "10:30"
    skip_opening_minutes: float = 30.0
    min_seconds_between_trades: float = 1800.0
    max_open_positions: int = 2
    max_trades_per_session: int = 5
    min_seconds_same_signal: float = 300.0
    trend_filter: bool = True
    trend_fast: int = 20
    trend_slow: int = 50

    def __post_init__(self) -> None:
        """Refuse times that are none and averages the wrong way round."""
        for key in ("window_from", "window_until"):
            try:
                time.fromisoformat(getattr(self, key))
            except ValueError as error:
                raise ConfigError(
                    "not a time of day", where=f"filters.{key}", value=getattr(self, key), fix="write HH:MM"
                ) from error
        if not 0 < self.trend_fast < self.trend_slow:
            raise ConfigError(
                "the fast average must be shorter than the slow one",
                where="filters.trend_fast",
                value=self.trend_fast,
            )


class St0ckgConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of st0ckg.

    Parameters
    ----------
    underlying
        What the signals are about and the options are on.
    signals
        Names of the signals asked, as their files are called.
    scoring
        ``measured`` or ``original``: which definition of each signal.
    choose
        ``primary``: the strongest signal of all, and if it may not be traded on, none. ``tradable``: the
        strongest of those that may.
    venue
        Whose last orders in expiring contracts the exit has to precede; empty for the run's own venue. A
        venue whose rule is not known here counts as one that stops 45 minutes before the close.
    volume_sessions
        Earlier sessions that a volume is compared with.
    exposure_symbol
        Dealer gamma is taken from the desk's events on this symbol; the underlying's own by default.
    exposure_p90_usd, near_exposure_p90_usd
        90 % quantile over 60 sessions of its absolute value, USD of delta per 1 %: of the whole chain and
        of the strikes within half a per cent. Unset, the sessions of the run are counted once there are
        ``exposure_sessions``.
    exposure_sessions
        Sessions it takes for such a quantile.
    filters, contract, exits
        See their own fields.
    order_ttl_seconds
        An entry that has not been filled by then is cancelled; what was filled is kept.
    price_change_usd, heartbeat_seconds
        Move of the underlying and longest silence after which open scalps are looked at.
    """

    underlying: str = "SPY"
    signals: tuple[str, ...] = SEVEN
    scoring: Scoring = Scoring.MEASURED
    choose: Literal["primary", "tradable"] = "primary"
    venue: str = ""
    volume_sessions: int = 20
    exposure_symbol: str = ""
    exposure_p90_usd: float | None = None
    near_exposure_p90_usd: float | None = None
    exposure_sessions: int = 20
    filters: FilterConfig = msgspec.field(default_factory=FilterConfig)
    contract: ContractConfig = msgspec.field(default_factory=ContractConfig)
    exits: ScalpExitConfig = msgspec.field(default_factory=ScalpExitConfig)
    order_ttl_seconds: float = 15.0
    price_change_usd: float = 0.02
    heartbeat_seconds: float = 2.0

    def __post_init__(self) -> None:
        """Refuse unknown signals and venues, and thresholds that cannot be met."""
        for name in self.signals:
            find_signal(name)
        if not self.signals:
            raise ConfigError("at least one signal", where="signals", value=[])
        if self.venue:
            venue_cutoff(self.venue)
        if self.contract.equity_fraction <= Decimal(0) or self.contract.max_contracts < 1:
            raise ConfigError(
                "the budget of an entry must be above zero",
                where="contract.equity_fraction",
                value=str(self.contract.equity_fraction),
            )
