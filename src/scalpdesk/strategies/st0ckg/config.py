"""Every setting of st0ckg, with its unit and default."""

import math
from datetime import time
from decimal import Decimal
from typing import Any, Literal

import msgspec

from scalpdesk.core.errors import ConfigError
from scalpdesk.entry.scalp_selector import ContractConfig
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
        if time.fromisoformat(self.window_from) >= time.fromisoformat(self.window_until):
            raise ConfigError(
                "a window must end after it begins",
                where="filters.window_until",
                value=self.window_until,
                fix=f"after filters.window_from, which is {self.window_from}",
            )
        if not 0 < self.trend_fast < self.trend_slow:
            raise ConfigError(
                "the fast average must be shorter than the slow one",
                where="filters.trend_fast",
                value=self.trend_fast,
                fix=f"above 0 and below filters.trend_slow, which is {self.trend_slow}",
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
            raise ConfigError(
                "at least one signal", where="signals", value=[], fix=f"name some of {', '.join(SEVEN)}"
            )
        if self.venue:
            venue_cutoff(self.venue)
        for key, (least, most) in BOUNDS.items():
            value = self
            for name in key.split("."):
                value = getattr(value, name)
            _refuse_beyond(key, value, least, most)
        for name in ("exposure_p90_usd", "near_exposure_p90_usd"):
            given = getattr(self, name)
            if given is not None and not given > 0:
                raise ConfigError("above 0", where=name, value=given, fix="leave it out to have it counted")


ONE = Decimal(1)
LEAST = Decimal("1e-9")
"""What is to be above zero is at least this."""
BOUNDS: dict[str, tuple[Decimal, Decimal | None]] = {
    "contract.equity_fraction": (LEAST, ONE),
    "contract.max_contracts": (ONE, None),
    "contract.target_delta": (LEAST, ONE),
    "contract.delta_tolerance": (Decimal(0), ONE),
    "contract.max_spread_fraction": (LEAST, ONE),
    "contract.limit_fraction": (Decimal(0), ONE),
    "contract.min_volume_contracts": (Decimal(0), None),
    "contract.min_open_interest_contracts": (Decimal(0), None),
    "exits.stop_fraction": (Decimal(0), ONE),
    "exits.flat_minutes_before_close": (Decimal(0), None),
    "filters.skip_opening_minutes": (Decimal(0), None),
    "filters.min_seconds_between_trades": (Decimal(0), None),
    "filters.min_seconds_same_signal": (Decimal(0), None),
    "filters.max_open_positions": (ONE, None),
    "filters.max_trades_per_session": (ONE, None),
    "volume_sessions": (ONE, None),
    "exposure_sessions": (ONE, None),
    "order_ttl_seconds": (LEAST, None),
    "price_change_usd": (LEAST, None),
    "heartbeat_seconds": (LEAST, None),
}
"""Least and most that a key takes."""


def _refuse_beyond(key: str, value: Any, least: Decimal, most: Decimal | None) -> None:
    if math.isfinite(value) and least <= value and (most is None or value <= most):
        return
    low = "above 0" if least == LEAST else f"at least {least}"
    bounds = low if most is None else f"{low} and at most {most}"
    raise ConfigError(f"this key takes {bounds}", where=key, value=str(value), fix=f"change {key}")
