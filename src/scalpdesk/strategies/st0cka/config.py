"""Every setting of st0cka, with its unit and default."""

from datetime import time
from decimal import Decimal
from typing import Literal

import msgspec

from scalpdesk.core.errors import ConfigError
from scalpdesk.strategies.st0cka.mean_reversion import MeanReversionConfig


class St0ckaConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of st0cka. Names are those of its earlier configuration where it had one.

    Parameters
    ----------
    underlying
        The share.
    mode
        ``init`` sells what is held of it at the start; ``resume`` takes it as its open lot.
    profit_target
        Smallest target in USD a share.
    target_vol_ref
        Volatility (fraction a year) up to which the target stays at that; above it grows in proportion.
    use_volatility_sizing
        False: always ``position_size_min`` shares and always ``profit_target`` (--volatility-off).
    position_size_min, position_size_max
        Shares in wild and in calm markets.
    low_vol_threshold, high_vol_threshold
        Volatilities (fractions a year) at which the size is largest and smallest.
    volatility
        Use this one (fraction a year) instead of the run's forecast.
    use_mean_reversion
        Buy only what has fallen too far (--mean-reversion).
    mean_reversion
        What that means.
    buy_from, buy_until
        New York times between which it buys, both included.
    sell_from, sell_until
        Between which the target is offered; at the end what is left is sold at the market.
    entry_interval_seconds
        Least time between two purchases.
    order_ttl_seconds
        A purchase that has not been filled by then is cancelled; a sale at the market is sent again.
    stop_usd, stop_targets
        Sell at a loss a share of the larger of the two: USD, and so many targets.
    flat_minutes_before_close
        Sold by then whatever the windows say; half days have an early close.
    require_viable
        Do not buy when the target would not pay spread and fees; false only says so.
    fees
        What viability counts as fees: ``alpaca`` (the regulatory ones passed on at a sale) or ``none``.
    max_spread_fraction
        Buy only while the spread is at most this fraction of the price.
    price_change_usd, heartbeat_seconds
        Think again after such a move of the mid, or after such a silence.
    """

    underlying: str = "SPY"
    mode: Literal["init", "resume"] = "init"
    profit_target: Decimal = Decimal("0.01")
    target_vol_ref: float = 0.10
    use_volatility_sizing: bool = True
    position_size_min: int = 1
    position_size_max: int = 3
    low_vol_threshold: float = 0.10
    high_vol_threshold: float = 0.25
    volatility: float | None = None
    use_mean_reversion: bool = False
    mean_reversion: MeanReversionConfig = msgspec.field(default_factory=MeanReversionConfig)
    buy_from: str = "09:30"
    buy_until: str = "10:00"
    sell_from: str = "09:30"
    sell_until: str = "11:00"
    entry_interval_seconds: float = 30.0
    order_ttl_seconds: float = 3.0
    stop_usd: Decimal = Decimal("0.10")
    stop_targets: float = 5.0
    flat_minutes_before_close: float = 10.0
    require_viable: bool = False
    fees: Literal["alpaca", "none"] = "alpaca"
    max_spread_fraction: float = 0.002
    price_change_usd: float = 0.02
    heartbeat_seconds: float = 2.0

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        clocks = {key: _clock(key, getattr(self, key)) for key in _CLOCKS}
        for first, last in (("buy_from", "buy_until"), ("sell_from", "sell_until")):
            if clocks[first] >= clocks[last]:
                raise _refusal("a window must end after it begins", last, getattr(self, last))
        if clocks["sell_until"] < clocks["buy_until"]:
            raise _refusal("what is bought last could not be sold", "sell_until", self.sell_until)
        if not 0 < self.position_size_min <= self.position_size_max:
            raise _refusal(
                "sizes: at least 1, least before most", "position_size_min", self.position_size_min
            )
        if not 0 < self.low_vol_threshold < self.high_vol_threshold:
            raise _refusal("thresholds: low before high", "low_vol_threshold", self.low_vol_threshold)
        for key in _ABOVE_ZERO:
            value = getattr(self, key)
            if value is not None and not value > 0:
                raise _refusal("must be above zero", key, str(value))
        if self.max_spread_fraction > 1:
            raise _refusal(
                "a fraction of the price, at most 1", "max_spread_fraction", self.max_spread_fraction
            )


_CLOCKS = ("buy_from", "buy_until", "sell_from", "sell_until")
_ABOVE_ZERO = (
    "profit_target",
    "target_vol_ref",
    "volatility",
    "entry_interval_seconds",
    "order_ttl_seconds",
    "stop_usd",
    "stop_targets",
    "flat_minutes_before_close",
    "max_spread_fraction",
    "price_change_usd",
    "heartbeat_seconds",
)


def _clock(key: str, text: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError as error:
        raise ConfigError("not a time of day", where=key, value=text, fix="write HH:MM") from error


def _refusal(what: str, key: str, value: object) -> ConfigError:
    return ConfigError(what, where=key, value=str(value), fix=f"change {key}")
