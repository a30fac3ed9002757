import math
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.units import SESSIONS_PER_YEAR
from scalpdesk.instruments.sessions import coin_session
from scalpdesk.volatility.nowcast import RealisedSoFar, nowcast
from scalpdesk.volatility.variance_time import CALENDAR

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


def test_a_whole_day_of_a_market_that_never_closes_counts_as_one():
    session, year = coin_session(date(2025, 3, 5)), CALENDAR.days_per_year
    seen = RealisedSoFar(CALENDAR.years, year)
    seen.open_session((session.open_ns, 100.0))
    for place in range(1, 289):
        seen.add(session.open_ns + place * 300 * 10**9, 100.0 * (1.002 if place % 2 else 1.0))
    assert seen.variance == pytest.approx(288 * math.log(1.002) ** 2)
    assert seen.share == pytest.approx(1.0)
    found = nowcast(0.55, seen.variance, seen.share, days_per_year=year)
    # two thirds of the surprise at the end of the day, and the day's own volatility by 365 days
    assert found.weight == pytest.approx(2.0 / 3.0)
    assert found.day_vol == pytest.approx(math.sqrt(365 * 288) * math.log(1.002))
    assert found.rest_vol**2 == pytest.approx(0.55**2 + 2.0 / 3.0 * (found.day_vol**2 - 0.55**2))
    # by the sessions of the US it would pass for 252 of 365 parts of a day
    wrong = RealisedSoFar(CALENDAR.years)
    wrong.open_session((session.open_ns, 100.0))
    wrong.add(session.close_ns, 100.0)
    assert nowcast(0.55, 0.0, wrong.share).weight == pytest.approx(252 / 365 / (252 / 365 + 0.5), abs=1e-9)
