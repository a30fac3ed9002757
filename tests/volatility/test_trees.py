import math
import sys

import numpy as np
import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.volatility import forecast_vol


def walk(seed, days, vol=0.01):
    """Daily bars whose volatility swings slowly between half and twice ``vol``."""
    rng = np.random.default_rng(seed)
    log_price, rows = math.log(100.0), []
    for day in range(days):
        size = vol * 2.0 ** math.sin(day / 60.0)
        path = log_price + np.cumsum(rng.standard_normal(30)) * size / math.sqrt(30)
        rows.append((log_price, max(log_price, path.max()), min(log_price, path.min()), path[-1]))
        log_price = path[-1]
    return dict(zip(("open", "high", "low", "close"), np.exp(np.array(rows)).T, strict=True))


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(ConfigError) as refusal:
        forecast_vol(walk(1, 400), "trees")
    assert refusal.value.fix == 'pip install "scalpdesk[ml]"'


def test_with_too_few_bars_the_average_stands_in_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    got = forecast_vol(walk(1, 200), "trees")
    assert (got.model, got.reason) == ("ewma", "trees needs 276 bars for 5 days, has 200")


def test_trees_follow_the_volatility_and_repeat_themselves():
    pytest.importorskip("sklearn", reason="the extra ml is not installed")
    days = walk(2, 1500)
    for end in (1130, 1320):  # near a crest and near a trough of the swing
        now = 0.01 * 2.0 ** math.sin(end / 60.0) * math.sqrt(252)
        bars = {name: column[:end] for name, column in days.items()}
        got = forecast_vol(bars, "trees")
        assert got.vol == pytest.approx(now, rel=0.3)
        assert got.low < got.vol < got.high
        assert got == forecast_vol(bars, "trees")
