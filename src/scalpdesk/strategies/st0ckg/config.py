"""Settings of st0ckg."""

from typing import Literal

import msgspec

from scalpdesk.core.bounds import Bound, check_bounds
from scalpdesk.core.errors import ConfigError
from scalpdesk.entry.scalp_selector import ContractConfig
from scalpdesk.instruments.deadlines import venue_cutoff
from scalpdesk.signals.base import Scoring, find_signal
from scalpdesk.strategies.st0ckg.filters import FilterConfig
from scalpdesk.strategies.toolkit.exits import ScalpExitConfig

SEVEN = (
    "gamma_squeeze",
    "vwap_reclaim",
    "opening_drive",
    "liquidity_vacuum",
    "options_pin",
    "dark_pool_flow",
    "dealer_gamma",
)


class St0ckgConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of st0ckg."""

    underlying: str = "SPY"
    """What the signals are about and the options are on."""
    signals: tuple[str, ...] = SEVEN
    """Names of the signals asked, as their files are called."""
    scoring: Scoring = Scoring.MEASURED
    """``measured`` or ``original``: which definition of each signal."""
    choose: Literal["primary", "tradable"] = "primary"
    """``primary``: the strongest signal of all, and if it may not be traded on, none. ``tradable``: the
    strongest of those that may.
    """
    venue: str = ""
    """Whose last orders in expiring contracts the exit has to precede; empty for the run's own venue. A venue
    whose rule is not known here counts as one that stops 45 minutes before the close.
    """
    volume_sessions: int = 20
    """Earlier sessions that a volume is compared with."""
    exposure_symbol: str = ""
    """Dealer gamma is taken from the desk's events on this symbol; the underlying's own by default."""
    exposure_p90_usd: float | None = None
    near_exposure_p90_usd: float | None = None
    """``exposure_p90_usd``, ``near_exposure_p90_usd``: 90 % quantile over 60 sessions of its absolute value,
    USD of delta per 1 %: of the whole chain and of the strikes within half a per cent. Unset, the sessions of
    the run are counted once there are ``exposure_sessions``.
    """
    exposure_sessions: int = 20
    """Sessions it takes for such a quantile."""
    filters: FilterConfig = msgspec.field(default_factory=FilterConfig)
    contract: ContractConfig = msgspec.field(default_factory=ContractConfig)
    exits: ScalpExitConfig = msgspec.field(default_factory=ScalpExitConfig)
    """``filters``, ``contract``, ``exits``: See their own fields."""
    order_ttl_seconds: float = 15.0
    """An entry that has not been filled by then is cancelled; what was filled is kept."""
    price_change_usd: float = 0.02
    heartbeat_seconds: float = 2.0
    """``price_change_usd``, ``heartbeat_seconds``: Move of the underlying and longest silence after which
    open scalps are looked at.
    """

    def __post_init__(self) -> None:
        """Refuse unknown signals and venues, and thresholds that cannot be met."""
        for name in self.signals:
            find_signal(name)
        if not self.signals:
            raise ConfigError(
                "at least one signal", where="signals", value=[], fix=f"name some of {', '.join(SEVEN)}"
            )
        if self.venue:
            venue_cutoff(self.venue)
        for section, bounds in BOUNDS.items():
            check_bounds(getattr(self, section) if section else self, bounds, section)


COUNT = Bound(0, 1e9, "a number", may_equal_low=True)
SIZE = Bound(0, 1e9, "a number")
PART = Bound(0, 1, "a fraction", may_equal_low=True)
SHARE = Bound(0, 1, "a fraction")
BOUNDS = {
    "contract": {
        "equity_fraction": SHARE,
        "max_contracts": SIZE,
        "target_delta": SHARE,
        "delta_tolerance": PART,
        "max_spread_fraction": SHARE,
        "limit_fraction": PART,
        "min_volume_contracts": COUNT,
        "min_open_interest_contracts": COUNT,
    },
    "exits": {"stop_fraction": PART, "flat_minutes_before_close": COUNT},
    "filters": {
        "skip_opening_minutes": COUNT,
        "min_seconds_between_trades": COUNT,
        "min_seconds_same_signal": COUNT,
        "max_open_positions": SIZE,
        "max_trades_per_session": SIZE,
    },
    "": dict.fromkeys(
        (
            "volume_sessions",
            "exposure_sessions",
            "order_ttl_seconds",
            "price_change_usd",
            "heartbeat_seconds",
            "exposure_p90_usd",
            "near_exposure_p90_usd",
        ),
        SIZE,
    ),
}
"""What each key takes, by section."""
