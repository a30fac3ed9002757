import math
from dataclasses import replace
from datetime import date
from functools import cache

import numpy as np
import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.embedded.chain import listed_expiries
from scalpdesk.datasets.embedded.market import reconstruct
from scalpdesk_testing.market_statistics import embedded_market_statistics

pytestmark = pytest.mark.second

SESSIONS = [
    date(2015, 8, 24), date(2018, 2, 5), date(2014, 10, 15), date(2016, 6, 24), date(2018, 12, 26),
    date(2017, 5, 1), date(2017, 7, 25), date(2017, 10, 5), date(2017, 11, 22), date(2018, 1, 3),
    date(2014, 11, 28), date(2015, 12, 24), date(2018, 7, 3), date(2017, 11, 24),
    date(2014, 1, 3), date(2014, 6, 6), date(2015, 3, 18), date(2016, 3, 10), date(2016, 11, 9),
    date(2018, 10, 10),
]  # fmt: skip
HALF_DAYS = {date(2014, 11, 28), date(2015, 12, 24), date(2018, 7, 3), date(2017, 11, 24)}


@cache
def measured(day):
    """With the longest expiry alone: the path is the same and the tape is built in a third of the time."""
    return embedded_market_statistics(reconstruct(day, expiries=listed_expiries(day)[-1:]))


@cache
def whole(day):
    return embedded_market_statistics(reconstruct(day))


def all_measured():
    return [measured(day) for day in SESSIONS]


def standard_error(row, minutes):
    """Standard error of a realised-variance ratio: 2·Σr⁴/3 over (Σr²)², with Σr⁴ = kurtosis·(Σr²)²/n."""
    return math.sqrt(2.0 / 3.0 * row.minute_kurtosis / minutes)


def test_realised_variance_agrees_with_garman_klass_within_sampling_error():
    scores = []
    for day in SESSIONS:
        row = measured(day)
        scores.append((row.variance_ratio - 1.0) / standard_error(row, 210 if day in HALF_DAYS else 390))
    scores = np.array(scores)
    assert np.abs(scores).max() < 4.0
    assert abs(scores.mean()) < 3.5 / math.sqrt(len(scores))
    assert 0.4 < scores.std() < 1.4


def test_intraday_variance_is_u_shaped():
    profile = np.mean([row.half_hour_variance for row in all_measured()], axis=0)
    assert profile.sum() == pytest.approx(1.0)
    middle = profile[4:9].mean()
    assert profile[0] > 1.8 * middle
    assert profile[-1] > 1.2 * middle
    assert profile[0] > profile[1] > profile[2]


def test_minute_returns_are_fat_tailed_and_cluster():
    rows = all_measured()
    assert np.mean([row.minute_kurtosis for row in rows]) > 3.6
    assert np.mean([row.minute_kurtosis > 3.0 for row in rows]) > 0.9
    assert 0.0 < np.mean([row.absolute_return_autocorrelation for row in rows]) < 0.25


def test_implied_volatility_moves_against_the_share():
    rows = all_measured()
    correlations = np.array([row.spot_volatility_correlation for row in rows])
    assert np.isfinite(correlations).all()
    assert -0.95 < np.median(correlations) < -0.65
    assert correlations.max() < -0.3


def test_seconds_are_neither_frozen_nor_bouncing():
    rows = all_measured()
    assert 0.9 < np.mean([row.second_over_minute_variance for row in rows]) < 1.2
    calm = [measured(day).changed_seconds_share for day in SESSIONS if day.year == 2015]
    assert np.mean(calm) > 0.15


def test_quotes_look_like_the_recorded_ones():
    row = whole(date(2016, 3, 10))
    assert row.spread_usd == pytest.approx(0.01)
    assert 3_900 <= row.size_shares <= 6_700
    assert 0.95 <= row.quotes_per_second <= 0.99
    assert 0.005 < row.near_options.median_spread_usd <= 0.04
    assert row.near_options.mean_seconds_between_quotes < 15.0
    assert row.far_options.mean_seconds_between_quotes > row.near_options.mean_seconds_between_quotes
    assert row.far_options.median_size_contracts > row.near_options.median_size_contracts


def test_spreads_widen_when_the_vix_is_high():
    calm, wild = whole(date(2017, 5, 1)), whole(date(2018, 2, 5))
    assert wild.near_options.median_spread_usd > 2.0 * calm.near_options.median_spread_usd
    assert wild.near_options.median_size_contracts < calm.near_options.median_size_contracts


@pytest.mark.second
def test_parity_never_fails_beyond_the_spreads():
    assert max(row.worst_parity_error_usd for row in all_measured()) <= 0.0


def test_statistics_are_of_one_session_with_its_underlying():
    market = reconstruct(date(2014, 11, 28))
    with pytest.raises(DataError, match="one session"):
        embedded_market_statistics(replace(market, sessions=market.sessions * 2))
    without = replace(market, underlying=next(iter(market.instruments.options("SPY")))[1].symbol)
    no_options = embedded_market_statistics(without)
    assert no_options.near_options is None


def test_a_known_path_gives_known_figures():
    market = reconstruct(date(2014, 11, 28))
    quotes = market.quotes
    share = quotes.instrument_id == 0
    # Replace the mids by one that alternates by one part in a thousand from minute to minute.
    minute = (quotes.ts_ns - market.sessions[0].open_ns) // 60_000_000_000
    level = np.where(minute % 2 == 0, 200.0, 200.2)
    known = replace(
        quotes,
        bid=np.where(share, level - 0.005, quotes.bid),
        ask=np.where(share, level + 0.005, quotes.ask),
    )
    row = embedded_market_statistics(replace(market, quotes=known, bars=None))
    one_step = math.log(200.2 / 200.0) ** 2
    garman_klass = 0.5 * one_step - (2 * math.log(2) - 1) * one_step  # the last minute is the higher level
    assert row.minute_kurtosis == pytest.approx(1.0, abs=0.02)
    assert row.variance_ratio == pytest.approx(209 * one_step / garman_klass, rel=0.02)
    assert row.changed_seconds_share == pytest.approx(209 / 12_600, rel=0.01)
