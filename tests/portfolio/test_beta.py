import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.portfolio.beta import (
    Holding,
    aligned_returns,
    beta_weighted_delta,
    estimate_beta,
    estimate_betas,
)
from scalpdesk.pricing import greeks, implied_vol

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
DAYS = [date(2020, 1, 1) + timedelta(days=n) for n in range(400)]


def market(beta, noise, count=300, seed=7):
    draw = np.random.default_rng(seed)
    reference = draw.normal(0, 0.01, count)
    return beta * reference + draw.normal(0, noise, count), reference


@pytest.mark.parametrize("beta", [-0.5, 0.0, 0.8, 1.0, 1.4])
def test_finds_the_slope_that_made_the_returns(beta):
    own, reference = market(beta, 0.004)
    found = estimate_beta(own, reference)
    assert abs(found.measured - beta) < 4 * found.stderr
    assert found.stderr == pytest.approx(0.004 / 0.01 / math.sqrt(300), rel=0.2)


def test_agrees_with_the_textbook():
    own, reference = market(1.3, 0.006)
    found = estimate_beta(own, reference)
    covariance = np.cov(own, reference)
    assert found.measured == pytest.approx(covariance[0, 1] / covariance[1, 1])
    assert found.correlation == pytest.approx(np.corrcoef(own, reference)[0, 1])
    slope, intercept = np.polyfit(reference, own, 1)
    left = own - slope * reference - intercept
    stderr = math.sqrt(left @ left / 298 / ((reference - reference.mean()) ** 2).sum())
    assert found.stderr == pytest.approx(stderr)


def test_many_quiet_returns_are_believed_and_few_noisy_ones_are_not():
    sure = estimate_beta(*market(1.8, 0.0005))
    assert sure.beta == pytest.approx(sure.measured, abs=1e-3)
    own, reference = market(1.8, 0.2, count=20)
    unsure = estimate_beta(own, reference)
    assert abs(unsure.beta - 1.0) < 0.2 * abs(unsure.measured - 1.0)


returns = st.lists(st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1)), min_size=20, max_size=60).map(
    np.array
)


@given(returns, st.floats(-2, 2), st.floats(0.05, 2))
def test_shrinkage_lies_between_prior_and_measured(rows, prior, spread):
    own, reference = rows[:, 0], rows[:, 1]
    assume(float(np.ptp(reference)) > 1e-4)
    found = estimate_beta(own, reference, prior=prior, prior_stdev=spread)
    low, high = sorted((prior, found.measured))
    assert low - 1e-9 <= found.beta <= high + 1e-9
    assert -1.0 <= found.correlation <= 1.0
    wider = estimate_beta(own, reference, prior=prior, prior_stdev=2 * spread)
    assert abs(wider.beta - found.measured) <= abs(found.beta - found.measured) + 1e-9


@given(returns, st.floats(0.1, 5))
def test_scaling_a_series_scales_its_beta(rows, factor):
    own, reference = rows[:, 0], rows[:, 1]
    assume(float(np.ptp(reference)) > 1e-4)
    once = estimate_beta(own, reference)
    scaled = estimate_beta(factor * own, reference)
    assert scaled.measured == pytest.approx(factor * once.measured, rel=1e-6, abs=1e-9)
    assert estimate_beta(own + 0.01, reference).measured == pytest.approx(once.measured, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("own", "reference"),
    [
        (np.zeros(19), np.arange(19.0)),
        (np.zeros(20), np.arange(21.0)),
        (np.arange(30.0), np.full(30, 0.1)),
        (np.full(30, np.nan), np.arange(30.0)),
        (np.zeros((5, 5)), np.zeros((5, 5))),
    ],
)
def test_what_gives_no_beta_is_refused(own, reference):
    with pytest.raises(ArgumentError):
        estimate_beta(own, reference)


def test_a_prior_without_spread_is_refused():
    with pytest.raises(ArgumentError):
        estimate_beta(*market(1.0, 0.01), prior_stdev=0.0)


def test_only_common_days_count_and_each_return_spans_them():
    closes = {
        "A": {DAYS[0]: 100.0, DAYS[1]: 110.0, DAYS[2]: 121.0},
        "B": {DAYS[0]: 50.0, DAYS[2]: 60.5, DAYS[3]: 70.0},
    }
    days, found = aligned_returns(closes)
    assert days == (DAYS[2],)
    assert found["A"][0] == pytest.approx(math.log(1.21))
    assert found["B"][0] == pytest.approx(math.log(1.21))


@pytest.mark.parametrize("closes", [{}, {"A": {DAYS[0]: 0.0}}, {"A": {DAYS[0]: math.nan}}])
def test_prices_that_are_none_are_refused(closes):
    with pytest.raises(ArgumentError):
        aligned_returns(closes)


def test_of_itself_nothing_is_estimated():
    own, reference = market(1.4, 0.004, count=100)
    closes = {
        name: dict(zip(DAYS, 100 * np.exp(np.cumsum(series)), strict=False))
        for name, series in (("QQQ", own), ("SPY", reference))
    }
    betas = estimate_betas(closes, "SPY")
    assert betas["SPY"].beta == 1.0
    assert abs(betas["QQQ"].measured - 1.4) < 0.3
    with pytest.raises(ArgumentError) as refusal:
        estimate_betas(closes, "SPYY")
    assert refusal.value.nearest == "SPY"


def test_a_hedged_pair_is_flat_in_the_reference():
    holdings = [Holding("QQQ", 120.0, 500.0), Holding("IWM", -90.0, 200.0)]
    betas = {"QQQ": 1.25, "IWM": 1.1, "SPY": 1.0}
    net = beta_weighted_delta(holdings, betas, 600.0)
    assert net == pytest.approx(1.25 * 120 * 500 / 600 - 1.1 * 90 * 200 / 600)
    assert beta_weighted_delta([*holdings, Holding("SPY", -net, 600.0)], betas, 600.0) == pytest.approx(0.0)


@given(st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(1, 1e4)), max_size=5), st.floats(1, 1e4))
def test_the_weighted_delta_earns_what_the_holdings_earn(rows, reference_spot):
    betas = {f"S{n}": 0.5 + 0.3 * n for n in range(len(rows))}
    holdings = [Holding(f"S{n}", delta, spot) for n, (delta, spot) in enumerate(rows)]
    move = 0.01  # of the reference; each symbol moves its beta times that
    earned = sum(one.delta_shares * one.spot * betas[one.symbol] * move for one in holdings)
    net = beta_weighted_delta(holdings, betas, reference_spot)
    assert net * reference_spot * move == pytest.approx(earned, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(
    ("holdings", "reference"),
    [
        ([Holding("QQQQ", 1.0, 1.0)], 600.0),
        ([Holding("QQQ", math.nan, 1.0)], 600.0),
        ([Holding("QQQ", 1.0, math.inf)], 600.0),
        ([], 0.0),
        ([], math.nan),
    ],
)
def test_an_unknown_delta_is_no_zero(holdings, reference):
    with pytest.raises(ArgumentError):
        beta_weighted_delta(holdings, {"QQQ": 1.2}, reference)


@pytest.mark.recorded
@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data is not beside the project")
@pytest.mark.parametrize("year", [2019, 2020])
def test_recorded_qqq_against_spy_is_what_the_page_says(year):
    import duckdb

    rows = duckdb.sql(
        f"select symbol, date, close from '{DATA / 'daily_history/equity_daily.parquet'}'"
        f" where symbol in ('SPY', 'QQQ') and year(date) = {year}"
    ).fetchall()
    closes = {}
    for symbol, day, close in rows:
        closes.setdefault(symbol, {})[day] = close
    found = estimate_betas(closes, "SPY")["QQQ"]
    page = (Path(__file__).resolve().parents[2] / "docs" / "zero-dte.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| QQQ {year} |"))
    stated = [float(cell) for cell in row.strip("|").split("|")[1:]]
    assert [found.observations, *(round(one, 3) for one in found[:4])] == [stated[0], *stated[1:]]


@pytest.mark.recorded
@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data is not beside the project")
def test_recorded_options_on_two_funds_are_the_pages_example():
    import duckdb

    rows = duckdb.sql(
        'select underlying, strike, "right", 0.5 * (bid + ask), spot_live, epoch(ts)'
        f" from '{DATA / 'eod_chains_2026/spy_qqq.parquet'}'"
        " where session = '2026-08-13' and expiry = '2026-08-14' and ((underlying, strike, \"right\") in"
        " (('SPY', 776.0, 'C'), ('QQQ', 729.0, 'P')))"
    ).fetchall()
    close = datetime(2026, 8, 14, 20, tzinfo=UTC).timestamp()
    holdings, spots = [], {}
    for symbol, strike, right, mid, spot, taken_at in rows:
        years = (close - taken_at) / 86_400 / 365
        vol = float(implied_vol(mid, spot, strike, years, right == "C").vol)
        delta = float(greeks(spot, strike, years, vol, right == "C").delta)
        holdings.append(Holding(symbol, 10 * 100 * delta, spot))
        spots[symbol] = spot
    found = [
        round(beta_weighted_delta(holdings, {"SPY": 1.0, "QQQ": beta}, spots["SPY"]))
        for beta in (1.0, 1.218, 0.993)
    ]
    assert sorted((one.symbol, round(one.delta_shares)) for one in holdings) == [("QQQ", -503), ("SPY", 543)]
    assert found == [70, -33, 73]
