import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.volatility.evaluation import confidence_set, diebold_mariano, qlike, score
from scalpdesk.volatility.forecast import forecast_vol
from scalpdesk.volatility.ohlc import read_ohlc
from scalpdesk.volatility.rolling import RollingForecasts, rolling_forecasts

DAYS = 760
FIRST = 600
ALL = ("ewma", "garch", "gjr", "egarch", "har", "combined")


def market(seed=5, days=DAYS):
    """Daily bars with clustered variance; each day is walked so that it has a range."""
    rng = np.random.default_rng(seed)
    variance, log_price, rows = 1e-4, math.log(100.0), []
    for _ in range(days):
        path = log_price + np.cumsum(rng.standard_normal(30)) * math.sqrt(variance / 30)
        rows.append((log_price, max(log_price, path.max()), min(log_price, path.min()), path[-1]))
        variance = 3e-6 + 0.10 * (path[-1] - log_price) ** 2 + 0.87 * variance
        log_price = path[-1]
    return dict(zip(("open", "high", "low", "close"), np.exp(np.array(rows)).T, strict=True))


@pytest.fixture(scope="module")
def days():
    return market()


@pytest.fixture(scope="module")
def rolled(days):
    return rolling_forecasts(read_ohlc(days), ALL, (1, 5), first=FIRST)


@given(st.floats(1e-8, 1e-2), st.floats(0.2, 5.0))
def test_qlike_is_least_at_the_truth(variance, factor):
    right, wrong = qlike(np.full(2, variance), np.array([variance, variance * factor]))
    assert right == pytest.approx(1.0 + math.log(variance * 1e4))
    assert wrong >= right - 1e-12
    assert wrong - right == pytest.approx(1.0 / factor + math.log(factor) - 1.0, abs=1e-9)


@pytest.mark.rows(
    ("realised", "forecast", "where"),
    [
        ([1e-4, 1e-4], [1e-4, 0.0], "forecast[1]"),
        ([1e-4, math.nan], [1e-4, 1e-4], "realised[1]"),
        ([-1e-4, 1e-4], [1e-4, 1e-4], "realised[0]"),
        ([1e-4], [1e-4, 1e-4], "realised, forecast"),
    ],
)
def test_qlike_refuses_what_is_no_variance(realised, forecast, where):
    with pytest.raises(ArgumentError) as refusal:
        qlike(np.array(realised), np.array(forecast))
    assert refusal.value.where == where


def test_diebold_mariano_by_hand():
    loss = np.array([1.0, 3.0, 2.0, 5.0, 4.0, 6.0, 2.0, 1.0, 3.0, 5.0])
    other = np.full(10, 2.0)
    d = loss - other
    c = d - d.mean()
    # n = 10 makes round(10^(1/3)) = 2 lags, with Bartlett weights 2/3 and 1/3
    long_run = (c @ c + 2 * (2 / 3) * (c[1:] @ c[:-1]) + 2 * (1 / 3) * (c[2:] @ c[:-2])) / 10
    got = diebold_mariano(loss, other)
    assert got.lags == 2
    assert got.mean_difference == pytest.approx(1.2)
    assert got.t == pytest.approx(1.2 / math.sqrt(long_run / 10))
    assert diebold_mariano(other, loss).t == pytest.approx(-got.t)
    assert diebold_mariano(loss, other, horizon=5).lags == 4


def test_diebold_mariano_has_its_size_under_no_difference():
    """Rejections at 5 % of 400 pairs of equal forecasters: 20 expected, standard deviation 4.4."""
    rng = np.random.default_rng(8)
    rejected = sum(abs(diebold_mariano(*np.abs(rng.standard_normal((2, 400)))).t) > 1.96 for _ in range(400))
    assert 5 <= rejected <= 40


def test_diebold_mariano_of_nothing_to_compare():
    same = diebold_mariano(np.ones(20), np.ones(20))
    assert (same.t, same.p_value) == (0.0, 1.0)
    with pytest.raises(ArgumentError, match="equal length"):
        diebold_mariano(np.ones(9), np.ones(9))
    with pytest.raises(ArgumentError, match="equal length"):
        diebold_mariano(np.ones(20), np.ones(21))


def test_the_confidence_set_drops_the_worse_and_keeps_the_equal():
    rng = np.random.default_rng(9)
    base = rng.standard_normal(800)
    losses = {
        "good": base + 0.1 * rng.standard_normal(800),
        "as good": base + 0.1 * rng.standard_normal(800),
        "bad": base + 0.3 + 0.1 * rng.standard_normal(800),
    }
    found = confidence_set(losses)
    assert found["bad"] < 0.01
    assert min(found["good"], found["as good"]) > 0.10
    assert confidence_set(losses) == found


def test_no_forecast_depends_on_what_comes_after_it(days, rolled):
    """Bars from day 700 on are torn: forecasts from earlier bars stay as they were, later forecasts not."""
    torn = {name: column.copy() for name, column in days.items()}
    rng = np.random.default_rng(10)
    shocks = np.exp(np.cumsum(0.05 * rng.standard_normal(DAYS - 700)))
    for column in torn.values():
        column[700:] *= shocks
    again = rolling_forecasts(read_ohlc(torn), ALL, (1, 5), first=FIRST)
    # the forecast of return i knows bars 0 to i; bar 700 first enters the forecast of return 700
    untouched = 700 - FIRST
    for model in ALL:
        for horizon in (1, 5):
            one, other = rolled.variances[model][horizon], again.variances[model][horizon]
            np.testing.assert_allclose(one[:untouched], other[:untouched], rtol=1e-9, err_msg=model)
            assert (np.abs(one[untouched:] / other[untouched:] - 1.0) > 1e-6).mean() > 0.9, model


@pytest.mark.rows("model", ALL)
def test_on_a_day_of_refit_it_is_what_forecast_vol_says(model, days, rolled):
    known = {name: column[: FIRST + 1] for name, column in days.items()}
    said = forecast_vol(known, model, 5).vol ** 2 / 252
    # The optimiser stops where the likelihood is flat: returns that differ in their last bit move it.
    assert rolled.variances[model][5][0] == pytest.approx(said, rel=1e-2)


def test_what_came_is_the_mean_squared_return_ahead(days, rolled):
    returns = np.diff(np.log(days["close"]))
    assert rolled.origins[0] == FIRST
    assert rolled.realised[1][0] == pytest.approx(returns[FIRST] ** 2)
    assert rolled.realised[5][-1] == pytest.approx(np.square(returns[-6:-1]).mean())
    assert len(rolled.origins) == len(rolled.realised[1]) == len(rolled.variances["har"][5])


def test_the_combination_is_the_mean_of_its_parts(rolled):
    mean = 0.5 * (rolled.variances["gjr"][5] + rolled.variances["har"][5])
    np.testing.assert_allclose(rolled.variances["combined"][5], mean)


def test_scores_say_who_was_nearer_the_truth():
    rng = np.random.default_rng(11)
    true = np.exp(0.5 * rng.standard_normal(1500)) * 1e-4
    came = true * rng.standard_normal(1500) ** 2
    made = {"har": {1: true}, "garch": {1: np.full(1500, true.mean())}}
    har, garch = score(RollingForecasts(np.arange(1500), made, {1: came}))
    assert har.qlike < garch.qlike
    assert har.against_garch.t < -4.0
    assert garch.against_garch is None
    assert har.mcs_p > 0.9
    assert garch.mcs_p < 0.05
    assert har.bias == pytest.approx(1.0, abs=0.15)
    assert [har.days, har.horizon_days] == [1500, 1]


def test_progress_reaches_the_end(days):
    seen = []
    rolling_forecasts(read_ohlc(days), ("ewma",), (1,), first=700, progress=lambda *now: seen.append(now))
    assert seen[-1] == (58, 58)
    assert [done for done, _ in seen] == [21, 42, 58]


@pytest.mark.rows(
    ("arguments", "where"),
    [
        ({"models": ("hra",)}, "models"),
        ({"horizons": ()}, "horizons"),
        ({"horizons": (0,)}, "horizons"),
        ({"first": DAYS}, "first"),
        ({"first": 10}, "first"),
        ({"models": ("garch",), "first": 300}, "first"),
    ],
)
def test_what_cannot_be_rolled_is_refused(arguments, where, days):
    given = {"models": ("ewma",), "horizons": (1,), "first": 700} | arguments
    with pytest.raises(ArgumentError) as refusal:
        rolling_forecasts(read_ohlc(days), **given)
    assert refusal.value.where == where


def test_a_bad_bar_is_refused(days):
    bad = {name: column.copy() for name, column in days.items()}
    bad["high"][40] = 1.0
    with pytest.raises(ArgumentError) as refusal:
        rolling_forecasts(read_ohlc(bad), ("ewma",), (1,), first=700)
    assert refusal.value.where == "bars[40]"
