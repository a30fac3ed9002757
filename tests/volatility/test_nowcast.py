import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.units import SESSIONS_PER_YEAR
from scalpdesk.volatility.nowcast import nowcast

VOL = st.floats(0.03, 1.5)
SHARE = st.floats(0.01, 1.0)
LAWS = settings(max_examples=60, deadline=None, derandomize=True)


def test_a_days_volatility_goes_from_the_forecast_to_what_was_realised():
    a_day = 0.02**2
    assert nowcast(0.16, 0.0, 0.0) == (pytest.approx(0.16), 0.0, 0.16)
    assert nowcast(0.16, a_day, 1.0).day_vol == pytest.approx(0.02 * math.sqrt(252))
    half = nowcast(0.16, a_day, 0.5).day_vol
    assert half == pytest.approx(math.sqrt(252 * (a_day + 0.5 * 0.16**2 / 252)))


@LAWS
@given(VOL, SHARE)
def test_a_day_that_goes_as_forecast_leaves_the_forecast(vol, share):
    found = nowcast(vol, vol**2 / SESSIONS_PER_YEAR * share, share)
    assert found.day_vol == pytest.approx(vol)
    assert found.rest_vol == pytest.approx(vol)


@LAWS
@given(VOL, VOL, SHARE, st.floats(0.05, 5.0))
def test_the_rest_of_the_day_lies_between_the_forecast_and_the_pace_so_far(vol, pace, share, reaction):
    found = nowcast(vol, pace**2 / SESSIONS_PER_YEAR * share, share, reaction=reaction)
    low, high = sorted((vol, pace))
    assert low * (1.0 - 1e-12) <= found.rest_vol <= high * (1.0 + 1e-12)
    # a faster reaction leaves it nearer to the pace
    quicker = nowcast(vol, pace**2 / SESSIONS_PER_YEAR * share, share, reaction=reaction / 2.0)
    assert abs(quicker.rest_vol - pace) <= abs(found.rest_vol - pace) + 1e-12


def test_the_fifth_of_february_2018_is_no_calm_day():
    # forecast 15.7 %, a third of the day gone at a pace of 34 %: more than 22 % is expected of the rest
    found = nowcast(0.157, 0.34**2 / SESSIONS_PER_YEAR / 3.0, 1.0 / 3.0)
    assert found.rest_vol**2 == pytest.approx(0.157**2 + 0.4 * (0.34**2 - 0.157**2))
