import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.volatility.regime import Regime, iv_percentile, iv_rank, regime_of, variance_premium


@pytest.mark.rows(
    ("vol", "regime"),
    [
        (0.0, Regime.LOW),
        (0.0999, Regime.LOW),
        (0.10, Regime.NORMAL),
        (0.25, Regime.NORMAL),
        (0.2501, Regime.HIGH),
    ],
)
def test_names_by_level(vol, regime):
    assert regime_of(vol) is regime


@given(st.lists(st.floats(0.01, 2), min_size=126, max_size=252), st.floats(0.01, 2))
def test_rank_and_percentile_lie_between_none_and_all(history, iv):
    rank, percentile = iv_rank(iv, history), iv_percentile(iv, history)
    assert rank is None or 0.0 <= rank <= 1.0
    assert 0.0 <= percentile <= 1.0
    assert iv_percentile(max(history), history) < 1.0


def test_half_a_year_is_needed():
    history = [0.1 + 0.001 * day for day in range(126)]
    assert iv_rank(0.15, history[:-1]) is None
    assert iv_percentile(0.15, history[:-1]) is None
    assert iv_rank(0.15, history) == pytest.approx(0.4)
    assert iv_rank(0.15, [*history[:-1], math.nan]) is None


def test_rank_is_clipped_where_today_is_beyond_the_past():
    history = [0.2, 0.3]
    assert iv_rank(0.5, history, min_observations=2) == 1.0
    assert iv_rank(0.1, history, min_observations=2) == 0.0


def test_premium_is_positive_where_options_are_dear():
    premium = variance_premium(0.20, 0.16)
    assert premium.variance == pytest.approx(0.0144)
    assert premium.ratio == pytest.approx(1.25)
    assert variance_premium(0.16, 0.20).variance < 0


@pytest.mark.rows("bad", [math.nan, -0.1, math.inf])
def test_what_is_no_vol_is_refused(bad):
    for ask in (
        lambda: regime_of(bad),
        lambda: iv_rank(bad, [0.1]),
        lambda: iv_percentile(bad, [0.1]),
        lambda: variance_premium(bad, 0.2),
        lambda: variance_premium(0.2, bad),
    ):
        with pytest.raises(ArgumentError):
            ask()
    with pytest.raises(ArgumentError, match="zero"):
        variance_premium(0.2, 0.0)
