import math

import numpy as np
import pytest

from scalpdesk.core.errors import ArgumentError
from tests.golden.intraday_profile import IntradayBars, intraday_profile

MINUTES = np.arange(390)
SHAPE = 1.0 + 2.0 * np.square(MINUTES / 194.5 - 1.0)


def session(seed, shape=SHAPE, day_vol=0.01):
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal(390) * np.sqrt(shape / shape.sum()) * day_vol
    close = 100.0 * np.exp(np.cumsum(steps))
    opened = np.concatenate(([100.0], close[:-1]))
    bars = {
        "open": opened,
        "high": np.maximum(opened, close),
        "low": np.minimum(opened, close),
        "close": close,
    }
    return IntradayBars(MINUTES.tolist(), bars)


def test_finds_the_u_shape_that_made_the_sessions():
    profile = intraday_profile([session(seed, day_vol=0.005 + 0.001 * seed) for seed in range(60)])
    true = SHAPE.reshape(13, 30).sum(axis=1) / SHAPE.sum()
    assert profile.sessions == 60
    assert (np.abs(profile.shares - true) < 4.0 * profile.standard_errors).all()
    assert profile.shares[0] > 2.0 * profile.shares[6] < profile.shares[12]


def test_shares_sum_to_one():
    profile = intraday_profile([session(1), session(2)], bucket_minutes=65)
    assert profile.shares.sum() == pytest.approx(1.0)
    assert math.isnan(intraday_profile([session(1)]).standard_errors[0])


def test_a_wild_session_counts_as_much_as_a_calm_one():
    calm, wild = session(3, day_vol=0.002), session(4, day_vol=0.08)
    both = intraday_profile([calm, wild]).shares
    apart = 0.5 * (intraday_profile([calm]).shares + intraday_profile([wild]).shares)
    np.testing.assert_allclose(both, apart)


def test_bad_bars_are_dropped_and_reported_and_their_bucket_is_scaled_up():
    whole, torn = session(5), session(5)
    torn.bars["high"][200] = 0.0
    profile = intraday_profile([whole, torn])
    ((position, bad),) = profile.dropped
    assert position == 1
    assert [bar.position for bar in bad] == [200]
    # the bar and the return after it are gone: 28 of 30 minutes speak for the bucket
    squares = np.square(np.diff(np.log(torn.bars["close"]), prepend=math.log(100.0)))
    squares[[200, 201]] = 0.0
    sums = squares.reshape(13, 30).sum(axis=1)
    sums[6] *= 30 / 28
    np.testing.assert_allclose(intraday_profile([torn]).shares, sums / sums.sum())


def refuse(match, **changes):
    made = session(6)
    given = {"minutes": made.minutes, "bars": made.bars} | changes
    with pytest.raises(ArgumentError, match=match):
        intraday_profile([IntradayBars(**given)])


def test_what_cannot_be_is_refused():
    refuse("each bar needs its minute", minutes=[0, 1])
    refuse("minutes rise", minutes=[*range(389), 389 + 60])
    refuse("minutes rise", minutes=[0, 0, *range(2, 390)])
    still = {name: np.full(390, 5.0) for name in ("open", "high", "low", "close")}
    refuse("no session moved", bars=still)
    morning = {name: column[:100] for name, column in session(7).bars.items()}
    refuse("has no return", minutes=list(range(100)), bars=morning)
    with pytest.raises(ArgumentError, match="divide"):
        intraday_profile([session(1)], bucket_minutes=31)
