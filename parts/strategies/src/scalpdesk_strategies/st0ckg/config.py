"""Settings of st0ckg."""

from typing import Annotated, Literal

import msgspec

from scalpdesk.base import BoundedSettings, ConfigError, above, venue_cutoff
from scalpdesk.plugins import Scoring
from scalpdesk.signals.base import find_signal
from scalpdesk.strategies.toolkit.exits import ScalpExitConfig
from scalpdesk_strategies.st0ckg.filters import FilterConfig
from scalpdesk_strategies.st0ckg.scalp_selector import ContractConfig

_SEVEN = (
    "gamma_squeeze",
    "vwap_reclaim",
    "opening_drive",
    "liquidity_vacuum",
    "options_pin",
    "dark_pool_flow",
    "dealer_gamma",
)


Count = Annotated[int, above(0, 10**9, "a number")]
Number = Annotated[float, above(0, 1e9, "a number")]


class St0ckgConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of st0ckg."""

    underlying: str = "SPY"
    """Underlying of the signals and of the options; of several with commas between them each is traded for
    itself.
    """
    signals: tuple[str, ...] = _SEVEN
    """Names of the signals asked, as their files are called."""
    scoring: Scoring = Scoring.MEASURED
    """``measured`` or ``original``: which definition of each signal."""
    choose: Literal["primary", "tradable"] = "primary"
    """``primary``: the strongest signal of all, and no trade if it may not be traded on. ``tradable``: the
    strongest of those that may.
    """
    venue: str = ""
    """Venue whose last orders in expiring contracts the exit has to precede; empty for the run's own. A venue
    whose rule is not known here counts as one that stops 45 minutes before the close.
    """
    volume_sessions: Count = 20
    """Earlier sessions that a volume is compared with."""
    exposure_symbol: str = ""
    """Dealer gamma is taken from the desk's events on this symbol; the underlying's own by default."""
    exposure_p90_usd: Number | None = None
    near_exposure_p90_usd: Number | None = None
    """``exposure_p90_usd``, ``near_exposure_p90_usd``: 90 % quantile over 60 sessions of its absolute value,
    USD of delta per 1 %: of the whole chain and of the strikes within half a per cent. Unset, the sessions of
    the run are counted once there are ``exposure_sessions``.
    """
    exposure_sessions: Count = 20
    """Sessions it takes for such a quantile."""
    filters: FilterConfig = msgspec.field(default_factory=FilterConfig)
    contract: ContractConfig = msgspec.field(default_factory=ContractConfig)
    exits: ScalpExitConfig = msgspec.field(default_factory=ScalpExitConfig)
    """``filters``, ``contract``, ``exits``: See their own fields."""
    order_ttl_seconds: Number = 15.0
    """An entry that has not been filled by then is cancelled; what was filled is kept."""
    price_change_usd: Number = 0.02
    heartbeat_seconds: Number = 2.0
    """``price_change_usd``, ``heartbeat_seconds``: Move of the underlying and longest silence after which
    open scalps are looked at.
    """

    def __post_init__(self) -> None:
        """Refuse unknown signals and venues."""
        super().__post_init__()
        for name in self.signals:
            find_signal(name)
        if not self.signals:
            raise ConfigError(
                "at least one signal", where="signals", value=[], fix=f"name some of {', '.join(_SEVEN)}"
            )
        if self.venue:
            venue_cutoff(self.venue)
