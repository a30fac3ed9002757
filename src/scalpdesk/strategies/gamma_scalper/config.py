"""Every setting of the gamma scalper, with its unit and default."""

from datetime import time
from typing import Literal

import msgspec

from scalpdesk.core.bounds import Bound, check_bounds
from scalpdesk.core.errors import ConfigError
from scalpdesk.entry.straddle_selector import SelectionConfig
from scalpdesk.risk.exits import ExitConfig

_SECONDS = Bound(0, 3_600, "seconds, not milliseconds")
_VOL = Bound(0, 5, "a volatility as a fraction a year: 0.20 is 20 %")
_TRIGGERS = {
    "price_change_usd": Bound(0, 100, "currency per share", may_equal_low=True),
    "heartbeat_seconds": Bound(0, 600, "seconds, not milliseconds", may_equal_low=True),
}
_ENTRY = {
    "min_edge_usd": Bound(-1e6, 1e6, "currency a straddle"),
    "k_stderr": Bound(0, 10, "a number of standard errors", may_equal_low=True),
    "min_vol_ratio": Bound(0, 10, "forecast over implied volatility", may_equal_low=True),
    "horizon_days": Bound(0, 252, "trading days"),
    "forecast_vol": _VOL,
    "order_ttl_seconds": _SECONDS,
    "max_attempts": Bound(0, 100, "a number of orders"),
}
_HEDGE = {
    "threshold_shares": Bound(0, 100, "shares per straddle, which is never off by more", may_equal_low=True),
    "fixed_vol": _VOL,
    "order_ttl_seconds": _SECONDS,
}


class TriggersConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When to think.

    Parameters
    ----------
    price_change_usd
        Move of the underlying since the last thought (PRICE_CHANGE_THRESHOLD).
    heartbeat_seconds
        Longest silence (HEARTBEAT_TRIGGER_SECONDS).
    spread_filter
        Use only quotes whose spread is at most 1.5 times its running average as a price.
    """

    price_change_usd: float = 0.05
    heartbeat_seconds: float = 5.0
    spread_filter: bool = True

    def __post_init__(self) -> None:
        """Refuse figures out of bounds."""
        check_bounds(self, _TRIGGERS, "triggers")


class EntryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When to buy, and at what edge.

    Parameters
    ----------
    gate
        ``enforce`` buys only with an edge; ``advise`` states the verdict and buys; ``off`` does not ask.
    min_edge_usd, k_stderr, min_vol_ratio
        Of the gate: net edge a straddle in USD, standard errors it must exceed, forecast over implied.
    horizon_days
        Trading days over which the edge is counted.
    forecast_vol
        Use this volatility (fraction a year) instead of the run's forecast.
    not_before, not_after
        New York times (``HH:MM``) between which an entry may be made.
    order_ttl_seconds
        A leg's order that has not been filled by then is cancelled and priced anew.
    max_attempts
        So often; then what was bought is sold again.
    again_after_exit
        Look for another entry after an exit.
    """

    gate: Literal["enforce", "advise", "off"] = "enforce"
    min_edge_usd: float = 5.0
    k_stderr: float = 1.0
    min_vol_ratio: float = 1.05
    horizon_days: float = 5.0
    forecast_vol: float | None = None
    not_before: str = "09:35"
    not_after: str = "15:30"
    order_ttl_seconds: float = 15.0
    max_attempts: int = 5
    again_after_exit: bool = False

    def __post_init__(self) -> None:
        """Refuse figures out of bounds, times that are none, and a window that is empty."""
        check_bounds(self, _ENTRY, "entry")
        for key in ("not_before", "not_after"):
            try:
                time.fromisoformat(getattr(self, key))
            except ValueError as error:
                raise ConfigError(
                    "not a time of day", where=f"entry.{key}", value=getattr(self, key), fix="write HH:MM"
                ) from error
        if time.fromisoformat(self.not_after) < time.fromisoformat(self.not_before):
            raise ConfigError(
                "the entry window is empty: its end lies before its start",
                where="entry.not_after",
                value=self.not_after,
                fix=f"set entry.not_after to {self.not_before} (entry.not_before) or later",
            )


class HedgeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When and how to hedge.

    Parameters
    ----------
    band
        ``fixed``, ``whalley_wilmott``, ``zakamouline``, ``leland``, ``time_based``.
    threshold_shares
        Half width of the fixed band, shares per straddle (HEDGING_DELTA_THRESHOLD).
    band_settings
        Settings of the chosen band's own ``Config``.
    delta_vol
        Volatility of the hedge's delta: ``implied`` now, implied at ``entry``, ``forecast``, or
        ``fixed``. It decides how the profit arrives: at the implied one a little at a time and
        certain in sign, at the actual one certain in sum (Ahmad and Wilmott, 2005).
    fixed_vol
        For ``fixed``: a fraction a year.
    order_ttl_seconds
        A hedge order that has not been filled by then is cancelled and sized anew.
    """

    band: str = "fixed"
    threshold_shares: float = 2.0
    band_settings: dict[str, float | str] = msgspec.field(default_factory=dict)
    delta_vol: Literal["implied", "entry", "forecast", "fixed"] = "implied"
    fixed_vol: float | None = None
    order_ttl_seconds: float = 5.0

    def __post_init__(self) -> None:
        """Refuse figures out of bounds, and a fixed volatility that is not given."""
        check_bounds(self, _HEDGE, "hedge")
        if self.delta_vol == "fixed" and not (self.fixed_vol is not None and self.fixed_vol > 0):
            raise ConfigError(
                "hedging at a fixed volatility needs one",
                where="hedge.fixed_vol",
                value=self.fixed_vol,
                fix="set hedge.fixed_vol to a fraction a year, e.g. 0.20",
            )


class GammaScalperConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of the gamma scalper.

    Parameters
    ----------
    underlying
        What the straddle is on and what hedges it (HEDGING_ASSET).
    straddles
        Number of straddles (STRATEGY_MULTIPLIER).
    mode
        ``init`` closes what is held in the underlying and opens afresh; ``resume`` adopts it.
    selection, entry, triggers, hedge, exits
        See their own fields.
    """

    underlying: str = "SPY"
    straddles: int = 1
    mode: Literal["init", "resume"] = "init"
    selection: SelectionConfig = msgspec.field(default_factory=SelectionConfig)
    entry: EntryConfig = msgspec.field(default_factory=EntryConfig)
    triggers: TriggersConfig = msgspec.field(default_factory=TriggersConfig)
    hedge: HedgeConfig = msgspec.field(default_factory=HedgeConfig)
    exits: ExitConfig = msgspec.field(default_factory=ExitConfig)

    def __post_init__(self) -> None:
        """Refuse settings that contradict one another."""
        check_bounds(self, {"straddles": Bound(0, 10_000, "a number of straddles")}, "")
        least = self.exits.min_dte
        if least is not None and least >= self.selection.min_expiration_days:
            raise ConfigError(
                "a straddle bought at the near end of the expiry window would be sold at once",
                where="exits.min_dte",
                value=least,
                fix=f"set exits.min_dte below {self.selection.min_expiration_days}"
                " (selection.min_expiration_days), or to null to hold into expiry",
            )
