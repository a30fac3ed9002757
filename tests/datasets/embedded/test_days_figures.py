"""The recorded figures that the embedded market is set from, measured again from the recorded data."""

import importlib.util
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.special import ndtr

from scalpdesk.datasets.embedded import days as figures
from scalpdesk_testing.market_statistics import (
    RECORDED_HALF_HOUR_VARIANCE,
    RECORDED_SPY_DAYS,
    embedded_market_statistics,
)

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / ".." / "shared" / "data"

pytestmark = [
    pytest.mark.recorded,
    pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data is not beside the project"),
]


def page_script():
    spec = importlib.util.spec_from_file_location(
        "figures_script", ROOT / "docs" / "embedded_market_figures.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recorded(day):
    folder = DATA / "spy_seconds_2013-10"
    return embedded_market_statistics(page_script().recorded_tape(folder, "SPY", day, None))


@pytest.mark.parametrize("expected", RECORDED_SPY_DAYS, ids=lambda row: row.day)
def test_the_recorded_spy_sessions_show_what_is_written_down(expected):
    row = recorded(date.fromisoformat(expected.day))
    assert row.variance_ratio == pytest.approx(expected.variance_ratio, abs=0.006)
    assert row.half_hour_variance[0] == pytest.approx(expected.first_half_hour_share, abs=0.0006)
    assert row.minute_kurtosis == pytest.approx(expected.minute_kurtosis, abs=0.06)
    assert row.changed_seconds_share == pytest.approx(expected.changed_seconds_share, abs=0.006)
    assert row.spread_usd == pytest.approx(expected.median_spread_usd)
    assert row.size_shares == expected.median_size_shares


def test_the_u_shape_is_the_mean_of_the_recorded_sessions():
    profiles = [recorded(date.fromisoformat(row.day)).half_hour_variance for row in RECORDED_SPY_DAYS]
    assert np.mean(profiles, axis=0) == pytest.approx(RECORDED_HALF_HOUR_VARIANCE, abs=0.003)


def test_the_spy_options_of_2023_lie_on_the_spread_and_size_rules():
    rows = duckdb.execute(
        "select symbol, median(bid), median(ask - bid), median(bid_size) from read_parquet(?)"
        " where strftime(ts at time zone 'America/New_York', '%H:%M') between '10:30' and '15:50'"
        " group by symbol order by symbol",
        [str(DATA / "spy_2023-08-03" / "options_quote.parquet")],
    ).fetchall()
    spot, half_move = 449.5, 0.5 * 449.5 * 0.16 * np.sqrt(29 / 365)
    for symbol, bid, spread, size in rows:
        strike, is_call = int(symbol[-8:]) / 1000, symbol[-9] == "C"
        intrinsic = max(spot - strike if is_call else strike - spot, 0.0)
        deep = max(intrinsic - half_move, 0.0)
        rule = (
            figures.SPREAD_TICK_USD
            + figures.SPREAD_PER_PREMIUM * max(bid - intrinsic, 0.0)
            + figures.SPREAD_PER_INTRINSIC * deep
        )
        assert 0.5 * spread <= rule <= 2.0 * spread
        delta = 0.2 if intrinsic == 0 else 0.85
        median_size = figures.SIZE_AT_DELTA_20 * 10 ** (figures.SIZE_LOG10_SLOPE * (delta - 0.2))
        assert 0.6 * size <= median_size <= 1.6 * size


def implied(price, forward, strikes, years, sign):
    low, high = np.full(len(price), 0.01), np.full(len(price), 3.0)
    for _ in range(50):
        middle = 0.5 * (low + high)
        deviation = middle * np.sqrt(years)
        d1 = np.log(forward / strikes) / deviation + 0.5 * deviation
        value = sign * (forward * ndtr(sign * d1) - strikes * ndtr(sign * (d1 - deviation)))
        low, high = np.where(value < price, middle, low), np.where(value < price, high, middle)
    return 0.5 * (low + high)


def test_the_smile_is_that_of_the_spy_chains_of_2026():
    rows = duckdb.execute(
        "select session::varchar as session, date_diff('day', session, expiry) as dte, strike,"
        " \"right\" = 'C' as is_call, (bid + ask) / 2 as mid, ask - bid as spread from read_parquet(?)"
        " where underlying = 'SPY' and bid > 0 and ask > bid and dte between 28 and 65",
        [str(DATA / "eod_chains_2026" / "spy_qqq.parquet")],
    ).fetchnumpy()
    rows = {name: np.asarray(values) for name, values in rows.items()}
    fitted = []
    for session, days in sorted(set(zip(rows["session"], rows["dte"].tolist(), strict=True))):
        mine = (rows["session"] == session) & (rows["dte"] == days)
        strike, is_call, mid, spread = (rows[name][mine] for name in ("strike", "is_call", "mid", "spread"))
        calls = dict(zip(strike[is_call], mid[is_call], strict=True))
        gaps = {k: calls[k] - p for k, p in zip(strike[~is_call], mid[~is_call], strict=True) if k in calls}
        if len(gaps) < 30:
            continue
        forward = np.median([k + gaps[k] for k in sorted(gaps, key=lambda k: abs(gaps[k]))[:8]])
        good = ((strike >= forward) == is_call) & (mid > 0.03) & (spread < 0.3 * mid + 0.02)
        years, sign = days / 365, np.where(is_call[good], 1.0, -1.0)
        volatility = implied(mid[good], forward, strike[good], years, sign)
        k = np.log(strike[good] / forward)
        money = np.median(volatility[np.abs(k) < 0.01])
        shown = (k / (money * np.sqrt(years)) > -3.5) & (k / (money * np.sqrt(years)) < 2.5)

        def error(guess, k=k[shown], volatility=volatility[shown], years=years):
            rho, eta, level = guess
            x = eta * k / (level * np.sqrt(years))
            return level * np.sqrt(0.5 * (1 + rho * x + np.sqrt((x + rho) ** 2 + 1 - rho**2))) - volatility

        found = least_squares(error, [-0.5, 1.0, money], bounds=([-0.95, 0.1, 0.02], [0.5, 2.0, 1.0]))
        assert np.sqrt(np.mean(found.fun**2)) < 0.006
        fitted.append(found.x[:2])
    assert len(fitted) >= 12
    rho, eta = np.median(fitted, axis=0)
    assert rho == pytest.approx(figures.SMILE_RHO, abs=0.04)
    assert eta == pytest.approx(figures.SMILE_ETA, abs=0.04)
