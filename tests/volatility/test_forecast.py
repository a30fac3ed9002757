import math

import numpy as np
import pytest

from scalpdesk import volatility
from scalpdesk.core.errors import ArgumentError
from scalpdesk.datasets.daily_history import packaged_history
from scalpdesk.volatility import forecast_vol
from scalpdesk.volatility.base import ratios_of
from scalpdesk.volatility.forecast import ewma_path
from scalpdesk.volatility.garch import egarch_path, garch_long_run, garch_path
from scalpdesk.volatility.ohlc import read_ohlc
from scalpdesk.volatility.rolling import rolling_forecasts

MODELS = ("ewma", "garch", "gjr", "egarch", "har", "combined")
FITTED = ("garch", "gjr", "egarch")


def market(seed, days, *, omega=2e-6, alpha=0.08, beta=0.90, steps=40):
    """Daily bars whose variance follows a GARCH(1,1); each day is walked so that it has a range."""
    rng = np.random.default_rng(seed)
    variance, log_price, rows = omega / (1 - alpha - beta), math.log(100.0), []
    for _ in range(days):
        path = log_price + np.cumsum(rng.standard_normal(steps)) * math.sqrt(variance / steps)
        rows.append((log_price, max(log_price, path.max()), min(log_price, path.min()), path[-1]))
        variance = omega + alpha * (path[-1] - log_price) ** 2 + beta * variance
        log_price = path[-1]
    columns = np.exp(np.array(rows)).T
    return dict(zip(("open", "high", "low", "close"), columns, strict=True)), math.sqrt(252 * variance)


@pytest.fixture(scope="module")
def bars():
    return market(1, 1500)[0]


@pytest.mark.rows("model", MODELS)
def test_comes_near_the_vol_that_the_market_will_have(model):
    days, next_vol = market(2, 2000)
    got = forecast_vol(days, model, horizon_days=1)
    assert got.model == got.requested == model
    assert got.reason is None
    assert got.vol == pytest.approx(next_vol, rel=0.2)
    assert got.low < got.vol < got.high
    assert 0 < got.stderr < got.high - got.low


@pytest.mark.rows("model", MODELS)
def test_sees_nothing_behind_the_last_bar_and_repeats_itself(model, bars):
    upto = {name: column[:900] for name, column in bars.items()}
    torn = {name: column.copy() for name, column in bars.items()}
    for column in torn.values():
        column[900:] *= 7.0
    cut = {name: column[:900] for name, column in torn.items()}
    assert forecast_vol(upto, model) == forecast_vol(cut, model)


@pytest.mark.rows("model", FITTED)
def test_far_horizons_return_to_the_long_run(model, bars):
    near, far = forecast_vol(bars, model, 1), forecast_vol(bars, model, 1000)
    unconditional = np.diff(np.log(bars["close"])).std() * math.sqrt(252)
    assert abs(far.vol - unconditional) < 0.15 * unconditional
    assert far.high - far.low < near.high - near.low


def test_finds_the_parameters_that_made_the_market():
    days, _ = market(3, 6000)
    fit = forecast_vol(days, "garch").fit
    assert fit["alpha"] == pytest.approx(0.08, abs=0.025)
    assert fit["beta"] == pytest.approx(0.90, abs=0.03)
    assert garch_long_run(fit["omega"], fit["alpha"] + fit["beta"]) == pytest.approx(1e-4, rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("horizon", "coverage"), [(1, 0.89), (5, 0.86), (22, 0.83)])
def test_on_the_sp500_har_beats_the_average_and_its_interval_holds(horizon, coverage):
    """Every 10th of 3,508 days, 2004-12 to 2018-11; loss as in Patton 2011. Measured on all of them."""
    from arch.data import sp500  # brings pandas, for this test alone

    table = sp500.load()
    days = {name.lower(): table[name].to_numpy() for name in ("Open", "High", "Low", "Close")}
    squares = np.square(np.diff(np.log(days["close"]), prepend=np.nan))
    losses, inside = {"har": [], "ewma": []}, {"har": [], "ewma": []}
    for end in range(table.index.get_loc("2004-12-22"), table.index.get_loc("2018-11-27") + 1, 10):
        realised = squares[end : end + horizon].mean()
        for model, its in losses.items():
            got = forecast_vol({name: column[:end] for name, column in days.items()}, model, horizon)
            variance = got.vol**2 / 252
            its.append(realised / variance + math.log(variance * 1e4))
            inside[model].append(got.low <= math.sqrt(252 * realised) <= got.high)
    assert np.mean(losses["har"]) < np.mean(losses["ewma"]) - 0.04
    for model, hits in inside.items():
        assert np.mean(hits) == pytest.approx(coverage, abs=0.04), model


@pytest.mark.rows(
    ("model", "days", "reason"),
    [
        ("har", 200, "har needs 276 bars for 5 days, has 200"),
        ("garch", 300, "garch needs 500 returns, has 299"),
        ("egarch", 300, "egarch needs 500 returns, has 299"),
    ],
)
def test_ewma_stands_in_where_there_is_too_little(model, days, reason, bars):
    got = forecast_vol({name: column[:days] for name, column in bars.items()}, model)
    assert (got.model, got.requested, got.reason) == ("ewma", model, reason)
    assert got.known
    plain = forecast_vol({name: column[:days] for name, column in bars.items()}, "ewma")
    assert got.vol == plain.vol


def test_har_begins_at_the_number_of_bars_it_names(bars):
    at = forecast_vol({name: column[:276] for name, column in bars.items()}, "har", 5)
    before = forecast_vol({name: column[:275] for name, column in bars.items()}, "har", 5)
    assert (at.model, before.model) == ("har", "ewma")


@pytest.mark.rows("model", MODELS)
def test_no_forecast_is_a_reason_and_not_a_number(model, bars):
    got = forecast_vol({name: column[:10] for name, column in bars.items()}, model)
    assert not got.known
    assert math.isnan(got.vol)
    assert "ewma needs 20 returns, has 9" in got.reason
    still = {name: np.full(800, 100.0) for name in bars}
    assert not forecast_vol(still, model).known
    assert "moved" in forecast_vol(still, model).reason


def test_dropped_bars_are_reported(bars):
    days = {name: column.copy() for name, column in bars.items()}
    days["high"][700] = 0.0
    got = forecast_vol(days, "har")
    assert [bar.position for bar in got.dropped] == [700]
    assert got.observations == 1499


def test_the_calendar_scales_everything(bars):
    stock, coin = (forecast_vol(bars, "har", periods_per_year=n) for n in (252, 365))
    for name in ("vol", "low", "high", "stderr"):
        assert getattr(coin, name) == pytest.approx(getattr(stock, name) * math.sqrt(365 / 252))
    assert float(coin) == coin.vol


def test_more_confidence_is_a_wider_interval(bars):
    narrow, wide = (forecast_vol(bars, "har", confidence=c) for c in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert wide.vol == narrow.vol


@pytest.mark.rows(
    ("arguments", "where"),
    [
        ({"model": "garhc"}, "model"),
        ({"horizon_days": 0}, "horizon_days"),
        ({"horizon_days": 1.5}, "horizon_days"),
        ({"confidence": 1.0}, "confidence"),
        ({"periods_per_year": -1}, "periods_per_year"),
    ],
)
def test_what_cannot_be_is_refused(arguments, where, bars):
    with pytest.raises(ArgumentError) as refusal:
        forecast_vol(bars, **arguments)
    assert refusal.value.where == where


def test_har_needs_ranges_and_the_others_closes(bars):
    assert forecast_vol(bars["close"].tolist(), "ewma").known
    with pytest.raises(ArgumentError, match="have no ranges"):
        forecast_vol(bars["close"].tolist(), "har")


def test_garch_path_starts_with_tomorrow_and_goes_to_the_long_run():
    path = garch_path(2e-6, 0.98, 2e-4, 5000)
    assert path[0] == 2e-4
    assert path[1] == pytest.approx(2e-6 + 0.98 * 2e-4)
    assert path[-1] == pytest.approx(1e-4)
    assert (np.diff(path) <= 0).all()


@pytest.mark.rows(("omega", "persistence", "horizon"), [(0.0, 0.9, 5), (1e-6, 1.0, 5), (1e-6, 0.9, 0)])
def test_garch_without_a_long_run_is_refused(omega, persistence, horizon):
    with pytest.raises(ArgumentError):
        garch_path(omega, persistence, 1e-4, horizon)


def test_egarch_path_is_the_mean_of_simulated_ones():
    omega, alpha, gamma, beta, start, horizon = -0.2, 0.15, -0.1, 0.97, 1e-3, 12
    draws = np.random.default_rng(11).standard_normal((horizon, 400_000))
    log_variance, means = np.full(400_000, math.log(start)), []
    for z in draws:
        means.append(np.exp(log_variance).mean())
        log_variance = omega + alpha * (np.abs(z) - math.sqrt(2 / math.pi)) + gamma * z + beta * log_variance
    np.testing.assert_allclose(egarch_path(omega, alpha, gamma, beta, start, horizon), means, rtol=5e-3)


def test_with_a_short_past_the_interval_is_that_of_normal_returns():
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(12).standard_normal(30) * 0.01))
    got = forecast_vol(closes, "ewma", 10, confidence=0.5)
    # The 25 % and 75 % points of a χ² of ten degrees are 6.737 and 12.549; the estimate's error widens them.
    assert got.low < got.vol * math.sqrt(6.737 / 10)
    assert got.high > got.vol * math.sqrt(12.549 / 10)
    widening = got.high / got.vol / math.sqrt(12.549 / 10)
    assert widening == pytest.approx(math.exp(0.6745 * got.stderr / got.vol), rel=1e-3)


def test_ratios_hold_every_start_whose_horizon_has_passed():
    returns = np.array([0.1, 0.2, 0.3, 0.4])
    expected = np.array([0.01, 0.02, 0.04, 0.08, 0.16])
    np.testing.assert_allclose(ratios_of(returns, expected, 2), [2.5, 3.25, 3.125])
    assert len(ratios_of(returns, expected, 5)) == 0


def test_ewma_forgets_by_its_decay():
    quiet = np.zeros(10)
    assert ewma_path(quiet, 1e-4, decay=0.9)[-1] == pytest.approx(1e-4 * 0.9**10)


def test_a_fit_that_does_not_converge_is_not_used(monkeypatch, bars):
    class Stuck:
        convergence_flag = 9

        def fit(self, **settings):
            return self

    monkeypatch.setattr("arch.arch_model", lambda *returns, **settings: Stuck())
    got = forecast_vol(bars, "garch")
    assert got.model == "ewma"
    assert got.reason == "garch did not converge on 1499 returns"


def test_a_variance_that_never_returns_is_not_forecast():
    rng = np.random.default_rng(13)
    vols = 0.01 * np.exp(np.cumsum(rng.standard_normal(1500)) * 0.1)
    closes = 100 * np.exp(np.cumsum(rng.standard_normal(1500) * vols))
    got = forecast_vol(closes, "garch")
    assert got.model == "ewma"
    assert "no long-run variance" in got.reason


def test_ranges_without_moves_from_close_to_close_are_no_forecast():
    flat = np.full(400, 100.0)
    days = {"open": flat, "high": flat * 1.01, "low": flat * 0.99, "close": flat}
    got = forecast_vol(days, "har")
    assert not got.known
    assert got.reason == "the closes never moved"


# bounds -------------------------------------------------------------------------------------------


def with_day(bars, low, close):
    """The bars and one day more, which opens at the last close and has these as parts of it."""
    last = bars["close"][-1]
    day = {
        "open": last,
        "high": last * max(1.0, close),
        "low": last * min(1.0, low, close),
        "close": last * close,
    }
    return {name: np.append(column, day[name]) for name, column in bars.items()}


@pytest.fixture(scope="module")
def calm(bars):
    return {name: column[:900] for name, column in bars.items()}


@pytest.mark.rows("model", MODELS)
@pytest.mark.rows("close", (0.93, 0.88, 0.76, 1.3, 0.4))
def test_no_model_leaves_its_sample_after_a_crash(model, close, calm):
    """The S&P 500 fell 20.5 % on 1987-10-19, SPY 10.9 % on 2020-03-16: har said 676 %, EWMA 81."""
    torn = with_day(calm, close - 0.002, close)
    got, average = forecast_vol(torn, model), forecast_vol(torn, "ewma")
    assert 0.5 * average.vol <= got.vol <= 2.0001 * average.vol
    if got.held_from is not None:
        assert got.reason
        assert got.held_from > got.vol
        # known no better than the distance to what it said itself
        assert got.stderr >= 0.999 * got.vol * math.log(got.held_from / got.vol)


def test_a_bad_low_is_no_crash(calm):
    """Closes do not confirm it."""
    got = forecast_vol(with_day(calm, 0.72, 0.999), "har")
    plain = forecast_vol(with_day(calm, 0.99, 0.999), "har")
    assert got.held_from > 2.0 * got.vol
    assert got.vol < 2.5 * plain.vol


def test_a_day_without_a_range_is_no_calm(calm):
    still = calm
    for _ in range(22):
        still = with_day(still, 1.0, 1.0)
    got, average = forecast_vol(still, "har"), forecast_vol(still, "ewma")
    assert got.vol >= 0.4999 * average.vol


@pytest.mark.rows("model", MODELS)
def test_within_its_sample_a_model_says_its_own(model, calm):
    got = forecast_vol(calm, model)
    assert got.held_from is None
    assert got.reason is None


def test_a_rolled_forecast_is_held_as_the_desks_is(calm):
    torn = with_day(calm, 0.75, 0.76)
    for _ in range(7):
        torn = with_day(torn, 0.99, 1.005)
    rolled = rolling_forecasts(read_ohlc(torn), ("har", "ewma"), (5,), first=900)
    har, average = (rolled.variances[name][5] for name in ("har", "ewma"))
    assert rolled.origins[0] == 900
    assert har[0] <= 4.0 * average[0]
    upto = {name: column[:901] for name, column in torn.items()}
    assert har[0] == pytest.approx(forecast_vol(upto, "har", 5).vol ** 2 / 252)


@pytest.mark.rows("model", FITTED)
@pytest.mark.rows("unit", (100.0, 0.01, 3.7, 1 / 7))
def test_the_unit_of_the_price_changes_nothing(model, unit, calm):
    """700 closes of the S&P 500 gave egarch .087 to .099, by the currency they were written in."""
    closes = packaged_history("sp500").bars["close"][1028:1728]
    one, other = (forecast_vol(np.array(closes) * by, model) for by in (1.0, unit))
    assert (one.model, one.reason) == (other.model, other.reason)
    assert other.vol == pytest.approx(one.vol, rel=1e-6)


def test_a_model_without_a_bound_is_not_used(monkeypatch, calm):
    monkeypatch.setattr("scalpdesk.volatility.garch._mean_of_shock", lambda *_: math.exp(1e4))
    got = forecast_vol(calm, "egarch")
    assert got.model == "ewma"
    assert "without bound" in got.reason


def test_the_package_has_only_the_names_it_says():
    with pytest.raises(AttributeError, match="forecast_volume"):
        _ = volatility.forecast_volume
