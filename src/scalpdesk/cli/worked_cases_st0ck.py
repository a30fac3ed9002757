"""Worked cases of the st0ck family: the names of the case file, and the desk's own functions behind them."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from scalpdesk.core.units import CENT
from scalpdesk.strategies.hybrid import HIGH, LOW, HybridConfig, who_trades
from scalpdesk.strategies.st0cka.config import St0ckaConfig
from scalpdesk.strategies.st0cka.mean_reversion import read_mean_reversion
from scalpdesk.strategies.st0cka.rules import dynamic_target, sell_limit, volatility_size

Answer = dict[str, Any]

DEFAULTS = St0ckaConfig()


def _vol_size(v: float) -> Answer:
    return {"result": volatility_size(v)}


def _target(v: float, entry: float) -> Answer:
    target = dynamic_target(v, DEFAULTS.profit_target, reference_vol=DEFAULTS.target_vol_ref)
    return {"target_per_share": target, "limit_price": sell_limit(Decimal(str(entry)), target, CENT)}


def _mean_rev(price: float, vwap: float, closes: Sequence[float]) -> Answer:
    reading = read_mean_reversion(price, vwap, closes, DEFAULTS.mean_reversion)
    return {
        "vwap_dev": reading.vwap_deviation,
        "bb_lower": reading.lower_band,
        "rsi": reading.rsi,
        "entry": reading.is_entry,
    }


def _hybrid(vols: Sequence[float], hyst: float) -> Answer:
    """The case's name for the gamma scalper is the earlier program's."""
    now, found = LOW, []
    for vol in vols:
        now = who_trades(now, vol, HybridConfig().volatility_threshold_for_gamma, hyst)
        found.append("gamma_scalping" if now == HIGH else now)
    return {"result": found}


BINDINGS: dict[str, Callable[..., Answer]] = {
    "vol_size": _vol_size,
    "target": _target,
    "mean_rev": _mean_rev,
    "hybrid": _hybrid,
}
