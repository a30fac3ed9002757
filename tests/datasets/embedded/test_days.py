from datetime import date

import numpy as np
import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.embedded import days as figures
from scalpdesk.datasets.embedded.days import available_sessions, market_day
from scalpdesk.instruments.sessions import sessions_between
from scalpdesk.risk.caps import BETAS


def test_every_session_of_2014_to_2018_from_the_first_vix_is_there():
    expected = tuple(s.day for s in sessions_between(date(2014, 1, 3), date(2018, 12, 31)))
    assert available_sessions() == expected


def test_a_day_carries_the_published_figures():
    day = market_day(date(2018, 2, 5))
    assert (day.open, day.high, day.low, day.close) == (2741.060059, 2763.389893, 2638.169922, 2648.939941)
    assert (day.vix, day.previous_vix) == (37.32, 17.31)
    assert day.previous_close == 2762.129883


def test_the_first_day_has_no_vix_before_it_and_uses_its_own():
    day = market_day(date(2014, 1, 3))
    assert day.previous_vix == day.vix == 13.76
    assert day.previous_close == 1831.979980  # the index goes back further than the VIX


def test_garman_klass_of_a_hand_computed_day():
    # ln(2763.389893/2638.169922) = 0.0463730, ln(2648.939941/2741.060059) = -0.0341855
    assert market_day(date(2018, 2, 5)).garman_klass_variance == pytest.approx(6.23775e-4, rel=1e-4)


@pytest.mark.parametrize(
    ("day", "near"),
    [
        (date(2018, 2, 4), "2018-02-02 or 2018-02-05"),
        (date(2013, 10, 7), "2014-01-03"),
        (date(2023, 8, 3), "2018-12-31"),
    ],
)
def test_another_day_is_refused_with_range_and_neighbours(day, near):
    assert day not in available_sessions()
    with pytest.raises(DataError) as caught:
        market_day(day)
    message = str(caught.value)
    assert "2014-01-03 to 2018-12-31" in message
    assert near in message
    assert day.isoformat() in message


def closes(symbol):
    return np.diff(np.log([market_day(day, symbol).close for day in available_sessions()]))


def test_the_second_index_moves_as_its_figures_say():
    first, second = closes("SPY"), closes("QQQ")
    assert second.std() / first.std() == pytest.approx(figures.NASDAQ_VIX_MULTIPLE, abs=0.005)
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(figures.NASDAQ_CORRELATION, abs=0.001)
    assert np.cov(first, second)[0, 1] / first.var(ddof=1) == pytest.approx(BETAS["QQQ"], abs=0.005)


def test_a_day_of_the_second_index_has_its_prices_and_a_multiple_of_the_vix():
    day = market_day(date(2018, 2, 5), "QQQ")
    assert (day.open, day.close) == pytest.approx((7165.96, 6967.53), abs=0.01)
    assert day.vix == pytest.approx(1.2 * market_day(date(2018, 2, 5)).vix)
