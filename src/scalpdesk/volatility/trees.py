"""Gradient-boosted trees on the HAR regressors.

The loss is the gamma deviance, which is QLIKE up to a constant: the trees minimise the loss that the
evaluation uses. scikit-learn does the fitting; it comes with the extra ``ml`` and is imported late.
"""

from importlib import import_module
from typing import Any

import msgspec
import numpy as np

from scalpdesk.core.errors import ConfigError
from scalpdesk.volatility.base import VarianceFit, ratios_of
from scalpdesk.volatility.har import MONTH, har_regressors, har_sample
from scalpdesk.volatility.ohlc import Array, Ohlc

_SETTINGS: dict[str, Any] = {
    "loss": "gamma",
    "learning_rate": 0.05,
    "max_iter": 120,
    "max_leaf_nodes": 6,
    "min_samples_leaf": 60,
    "l2_regularization": 1.0,
    "early_stopping": False,
    "random_state": 0,
}
"""Small trees with many days in a leaf: chosen once for the size of the sample, not tuned."""


class TreeEnsemble(msgspec.Struct, frozen=True):
    """Fitted trees, which forecast from any later day without refitting."""

    trees: Any
    scale: float
    floor: float
    daily_vol: float

    def expected(self, bars: Ohlc) -> Array:
        """Expected mean variance over the horizon after each bar, from the 22nd bar on (decimal)."""
        rows = har_regressors(bars, self.floor, self.daily_vol)[:, 1:]
        return np.asarray(self.scale * self.trees.predict(rows), dtype=np.float64)


def estimate_trees(bars: Ohlc, horizon: int) -> TreeEnsemble | str:
    """Fit trees for the mean range variance of the next periods, scaled to squared returns as HAR is.

    Returns them, or why they cannot be fitted. Raises ConfigError when scikit-learn is not installed.

    References
    ----------
    Friedman, J. H. (2001), Greedy function approximation: a gradient boosting machine, Annals of
    Statistics 29(5), 1189-1232.
    """
    sample = har_sample(bars, horizon)
    if isinstance(sample, str):
        return sample.replace("har needs", "trees needs")
    try:
        ensemble = import_module("sklearn.ensemble")
    except ImportError as missing:
        raise ConfigError(
            "the trees need scikit-learn, which is not installed",
            where="model",
            value="trees",
            fix='pip install "scalpdesk[ml]"',
        ) from missing
    ahead = np.exp(sample.ahead)
    # The boosting starts at 1 and variances are near 1e-4: divide by the mean, multiply it back later.
    unit = float(ahead.mean())
    trees = ensemble.HistGradientBoostingRegressor(**_SETTINGS).fit(sample.past[:, 1:], ahead / unit)
    return TreeEnsemble(trees, sample.scale * unit, sample.floor, sample.daily_vol)


def fit_trees(bars: Ohlc, horizon: int) -> VarianceFit | str:
    """Fit as :func:`estimate_trees` and forecast the mean variance of the next ``horizon`` periods.

    Trees have no parameter covariance: the standard error is the spread of the residuals over the root of
    the number of months in the sample, since neighbouring days are nearly the same observation.

    Where it fails, the reason. Raises ConfigError when scikit-learn is not installed.
    """
    fitted = estimate_trees(bars, horizon)
    if isinstance(fitted, str):
        return fitted
    expected = fitted.expected(bars)
    returns = np.diff(np.log(bars.close))
    sample = har_sample(bars, horizon)
    assert not isinstance(sample, str)
    misses = sample.ahead - np.log(expected[: len(sample.ahead)] / sample.scale)
    blocks = max(len(misses) / max(horizon, MONTH), 1.0)
    return VarianceFit(
        float(expected[-1]),
        float(misses.std()) / blocks**0.5,
        ratios_of(returns[MONTH - 1 :], expected, horizon),
        len(bars.close),
        {"trees": float(_SETTINGS["max_iter"]), "range_to_return_scale": sample.scale},
    )
