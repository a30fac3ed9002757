import math
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.entry.edge_gate import (
    EdgeCourse,
    EdgeExpiry,
    EdgeGate,
    EdgeGateConfig,
    EdgeInputs,
    bar_over_looks,
    edge_amounts,
    shifted_edge,
)
from scalpdesk.instruments.sessions import session_on
from scalpdesk.portfolio.move_meter import MoveMeter
from scalpdesk.pricing.scalar import option_greeks
from scalpdesk.pricing.smile_level import swap_vol
from scalpdesk.volatility.forecast import VolForecast

SPOT, YEARS, VOL = 500.0, 30 / 252, 0.18
HORIZON = 5 / 252
PAGE = Path(__file__).resolve().parents[2] / "docs" / "evidence" / "forecasts.md"


def flat(k):
    return np.full_like(k, VOL)


def skewed(k):
    """SSVI with the embedded market's slope and curvature."""
    theta = VOL**2 * YEARS
    x = 1.13 * np.asarray(k) / math.sqrt(theta)
    return np.sqrt(0.5 * theta * (1.0 - 0.5 * x + np.sqrt((x - 0.5) ** 2 + 0.75)) / YEARS)


def straddle(strike=500.0, smile=flat, **changes):
    def value(vols):
        return sum(
            option_greeks(SPOT, strike, YEARS, vols[0], is_call, american=False).price
            for is_call in (True, False)
        )

    inputs = EdgeInputs(
        expiries=(EdgeExpiry(smile, YEARS, np.array([math.log(strike / SPOT)]), value),),
        half_spreads=0.12,
        hedge_cost_usd=8.0,
        multiplier=100,
        horizon_years=HORIZON,
    )
    return msgspec.structs.replace(inputs, **changes)


def forecast_of(vol=0.22, stderr=0.002, reason=None):
    return VolForecast(
        vol=vol,
        low=vol / 2,
        high=vol * 2,
        stderr=stderr,
        confidence=0.9,
        horizon_days=5,
        model="har",
        requested="har",
        reason=reason,
        fit={},
        observations=1000,
        dropped=(),
    )


def vega_of(inputs, vol):
    value = inputs.expiries[0].value
    return (value([vol + 1e-4]) - value([vol - 1e-4])) / 2e-4


# too good -----------------------------------------------------------------------------------------


@pytest.mark.rows("is_given", (False, True))
def test_an_edge_that_is_a_multiple_of_the_premium_is_no_edge(is_given):
    """Of a straddle over the whole horizon the premium grows with the forecast: at twice it, by itself."""
    inputs, gate = straddle(horizon_years=None), EdgeGate()
    for vol, passes in ((1.9 * VOL, True), (2.1 * VOL, is_given), (20.0 * VOL, is_given)):
        forecast = msgspec.structs.replace(forecast_of(vol), is_given=is_given)
        verdict = gate.judge(inputs, forecast)
        edge = verdict.edge
        assert verdict.passed is passes
        assert (edge.gross_usd > edge.premium_usd) is (vol > 2.0 * VOL)
        column = gate.passes(
            *(np.array([each]) for each in (edge.net_usd, edge.stderr_usd, verdict.vol_ratio)),
            np.array([edge.gross_usd / edge.premium_usd]),
            is_given=is_given,
        )
        assert column.tolist() == [passes]


def test_wings_that_cost_nothing_have_no_edge_of_ten_premiums():
    def value(vols):
        return option_greeks(SPOT, 640.0, YEARS, vols[0], True, american=False).price

    far = straddle(
        expiries=(EdgeExpiry(flat, YEARS, np.array([math.log(640.0 / SPOT)]), value),), horizon_years=None
    )
    verdict = EdgeGate(EdgeGateConfig(min_edge_usd=0.0)).judge(
        msgspec.structs.replace(far, half_spreads=0.0, hedge_cost_usd=0.0), forecast_of(1.9 * VOL)
    )
    assert verdict.edge.gross_usd > 10.0 * verdict.edge.premium_usd
    assert verdict.failed == ("multiple",)


def test_a_forecast_that_is_held_to_a_bound_says_so_where_it_is_refused():
    verdict = EdgeGate().judge(straddle(), forecast_of(0.10, reason="har says 676.3%: held"))
    assert verdict.reasons[-1] == "har says 676.3%: held"


# the edge -----------------------------------------------------------------------------------------


def test_to_first_order_the_edge_is_what_moving_earns_over_what_the_implied_volatility_charges():
    """The explain's own headline for a move by the forecast, at the money of a flat smile."""
    gamma = 2.0 * option_greeks(SPOT, 500.0, YEARS, VOL, True, american=False).gamma
    meter = MoveMeter()
    meter.add(gamma, SPOT, SPOT * 0.185 * math.sqrt(HORIZON), VOL, HORIZON)
    edge = shifted_edge(straddle(), 0.185)
    assert edge.gross_usd == pytest.approx(100.0 * (meter.gamma + meter.theta), rel=5e-3)
    assert edge.net_usd == edge.gross_usd - 12.0 - 8.0


def test_a_forecast_at_the_markets_level_leaves_the_costs():
    level = swap_vol(skewed, YEARS)
    edge = shifted_edge(straddle(510.0, skewed), level)
    assert edge.gross_usd == pytest.approx(0.0, abs=1e-6)
    assert edge.market_level == edge.implied_level == edge.target_level == pytest.approx(level)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.floats(0.12, 0.35), st.sampled_from([485.0, 495.0, 510.0, 520.0]))
def test_skew_is_no_edge(forecast, strike):
    """Every strike has the edge of its vega; the far strikes differ by their volga."""
    inputs, middle = straddle(strike, skewed), straddle(500.0, skewed)
    edge, at_money = shifted_edge(inputs, forecast), shifted_edge(middle, forecast)
    mean = 0.5 * (edge.implied_vol + edge.shifted_vol)
    mean_middle = 0.5 * (at_money.implied_vol + at_money.shifted_vol)
    per_vega = edge.gross_usd / vega_of(inputs, mean)
    assert per_vega == pytest.approx(at_money.gross_usd / vega_of(middle, mean_middle), rel=0.12, abs=1e-9)
    assert (edge.gross_usd > 0.0) == (at_money.gross_usd > 0.0)


def test_the_swap_of_a_skewed_smile_asks_for_more_than_the_money():
    swap = shifted_edge(straddle(500.0, skewed), 0.20)
    at_money = shifted_edge(straddle(500.0, skewed, level="atm"), 0.20)
    assert swap.implied_level > 1.15 * at_money.implied_level
    assert swap.gross_usd < 0.0 < at_money.gross_usd


def test_the_standard_error_is_the_change_of_the_edge_with_the_forecast():
    for horizon in (HORIZON, None):
        inputs = straddle(505.0, skewed, horizon_years=horizon)
        edge = shifted_edge(inputs, 0.22, stderr=0.01)
        up, down = (shifted_edge(inputs, 0.22 + step).net_usd for step in (1e-4, -1e-4))
        assert edge.stderr_usd == pytest.approx(0.01 * (up - down) / 2e-4, rel=1e-5)


def test_the_market_to_the_horizon_is_what_the_forecast_is_compared_with():
    """A market that charges little for the next days leaves more to earn in them."""
    cheap = shifted_edge(straddle(implied_to_horizon=0.15), 0.18)
    assert cheap.implied_level == 0.15
    assert cheap.gross_usd > shifted_edge(straddle(), 0.18).gross_usd + 10.0
    beyond = straddle(implied_to_horizon=0.15, horizon_years=1.0)
    assert shifted_edge(beyond, 0.18).implied_level == pytest.approx(VOL)


@given(scale=st.integers(1, 1000))
def test_the_edge_is_proportional_to_the_multiplier(scale):
    one = shifted_edge(straddle(multiplier=1), 0.2).gross_usd
    assert shifted_edge(straddle(multiplier=scale), 0.2).gross_usd == pytest.approx(scale * one)


@pytest.mark.rows("field", ["years", "half_spreads", "hedge_cost_usd", "horizon_years"])
def test_what_is_not_a_number_is_refused(field):
    inputs = straddle()
    if field == "years":
        inputs = straddle(expiries=(inputs.expiries[0]._replace(years=math.nan),))
    else:
        inputs = straddle(**{field: math.nan})
    with pytest.raises(ArgumentError) as refusal:
        shifted_edge(inputs, 0.22)
    assert refusal.value.where == field


# the gate -----------------------------------------------------------------------------------------


def test_a_good_edge_passes_with_every_test_in_numbers():
    verdict = EdgeGate().judge(straddle(), forecast_of())
    assert verdict.passed
    assert verdict.edge == shifted_edge(straddle(), 0.22, 0.002)
    assert verdict.vol_ratio == pytest.approx(0.22 / 0.18)
    assert len(verdict.reasons) == 3
    assert all("is at least" in reason for reason in verdict.reasons)


def test_every_failed_test_is_named():
    verdict = EdgeGate().judge(straddle(), forecast_of(vol=0.18, stderr=0.05))
    assert not verdict.passed
    named = [key for key in ("min_edge_usd", "k_stderr", "min_vol_ratio") if key in " ".join(verdict.reasons)]
    assert named == ["min_edge_usd", "k_stderr", "min_vol_ratio"]
    assert "edge -20.00 USD is below 5.00 USD" in verdict.reasons[0]


@pytest.mark.rows(
    ("inputs", "forecast", "named"),
    [
        (straddle(half_spreads=0.90), forecast_of(stderr=0.0), "min_edge_usd"),
        (straddle(), forecast_of(stderr=0.03), "k_stderr"),
        (straddle(multiplier=10_000, half_spreads=0.0), forecast_of(vol=0.185), "min_vol_ratio"),
    ],
)
def test_each_test_refuses_alone(inputs, forecast, named):
    verdict = EdgeGate().judge(inputs, forecast)
    assert not verdict.passed
    assert len(verdict.reasons) == 1
    assert named in verdict.reasons[0]


def test_an_unknown_forecast_or_smile_is_refused_with_its_reason():
    verdict = EdgeGate().judge(straddle(), forecast_of(vol=math.nan, reason="ewma needs 20 returns, has 3"))
    assert not verdict.passed
    assert verdict.edge is None
    assert verdict.reasons == ("no volatility forecast: ewma needs 20 returns, has 3",)
    assert EdgeGate().judge(None, forecast_of()).reasons == ("no implied volatility of the straddle",)


def test_bounds_are_included():
    exact = EdgeGate().judge(straddle(), forecast_of()).edge
    ratio = 0.22 / exact.implied_level
    gate = EdgeGate(EdgeGateConfig(min_edge_usd=exact.net_usd, k_stderr=0.0, min_vol_ratio=ratio))
    assert gate.judge(straddle(), forecast_of()).passed


def test_a_standard_error_that_is_not_known_does_not_pass():
    assert not EdgeGate().judge(straddle(), forecast_of(stderr=math.nan)).passed


# looks through a window --------------------------------------------------------------------------


def passed_by_chance(bar, minutes, noise):
    """Return the share of days on which an edge of zero passes three looks in a row, a minute apart.

    In standard errors of the forecast, whose error stays through the day; the market's noise beside it has
    the given variance and half an hour's memory, as measured on the embedded market.
    """
    rng, days = np.random.default_rng(3), 4_000
    memory = math.exp(-1.0 / 30.0)
    error, moving = rng.standard_normal(days), rng.standard_normal(days)
    in_a_row, passed = np.zeros(days, dtype=np.int64), np.zeros(days, dtype=np.bool_)
    for _ in range(minutes + 1):
        in_a_row = np.where(error + math.sqrt(noise) * moving >= bar, in_a_row + 1, 0)
        passed |= in_a_row >= 3
        moving = memory * moving + math.sqrt(1.0 - memory**2) * rng.standard_normal(days)
    return passed.mean()


@pytest.mark.parametrize(
    ("window", "minutes"),
    [
        ("an hour", 60),
        pytest.param("09:35 to 15:30", 355, marks=pytest.mark.second),
        pytest.param("03:30 to 23:30", 1_200, marks=pytest.mark.second),
    ],
)
def test_a_window_of_looks_passes_by_chance_as_often_as_one_look(window, minutes):
    """docs/evidence/forecasts.md states each row."""
    bar = bar_over_looks(1.0, 60.0 * minutes)
    unchanged, raised = (
        [100.0 * passed_by_chance(each, minutes, noise) for noise in (0.4, 0.75)] for each in (1.0, bar)
    )
    cells = (f"{low:.0f} to {high:.0f} %" for low, high in (unchanged, raised))
    assert f"| {window} | {bar:.2f} | {' | '.join(cells)} |" in PAGE.read_text(encoding="utf-8")
    assert passed_by_chance(bar, minutes, 0.6) == pytest.approx(0.159, abs=0.02)


def test_the_bar_is_that_of_one_look_without_a_window_and_off_at_zero():
    assert bar_over_looks(1.7, 0.0) == 1.7
    assert bar_over_looks(0.0, 21_300.0) == 0.0
    bars = [bar_over_looks(10.0, seconds) for seconds in (1.0, 600.0, 21_300.0)]
    assert 10.0 < bars[0] < bars[1] < bars[2] < 11.0


def test_an_edge_above_one_standard_error_does_not_pass_a_window_of_looks():
    """2018-12-26: 31.18 USD against one standard error of 30.03 at the seventeenth look."""
    edge = EdgeGate().judge(straddle(), forecast_of()).edge
    forecast = forecast_of(stderr=0.002 * edge.net_usd / edge.stderr_usd / 1.04)
    assert EdgeGate().judge(straddle(), forecast).passed
    gate = EdgeGate(EdgeGateConfig(window_seconds=21_300.0))
    verdict = gate.judge(straddle(), forecast)
    assert not verdict.passed
    assert "2.6 × " in verdict.reasons[0]
    assert gate.needed_usd(verdict.edge) == pytest.approx(2.596 * edge.net_usd / 1.04, rel=1e-3)


def test_the_course_of_the_edge_is_reported_each_quarter_of_an_hour():
    course, open_ns = EdgeCourse(), session_on(date(2018, 12, 26)).open_ns
    assert course.take("USD") is None
    for minute, edge in enumerate((-44.11, -13.77, 12.0, 3.5)):
        course.note(open_ns + 60 * 10**9 * minute, edge, 71.45)
    assert course.take("USD", open_ns + 900 * 10**9 - 1) is None
    reason, looks = course.take("USD", open_ns + 900 * 10**9)
    assert looks == {
        "09:30": "-44.11 USD of 71.45 USD",
        "09:31": "-13.77 USD of 71.45 USD",
        "09:32": "12.00 USD of 71.45 USD",
        "09:33": "3.50 USD of 71.45 USD",
    }
    assert "09:30" in reason
    assert "12.00 USD of 71.45 USD" in reason
    assert course.take("USD") is None


@given(*[st.floats(0.0, 10.0)] * 5)
def test_every_cost_lowers_the_edge(shifted, mid, half_spreads, fees, hedge_cost):
    costs = {"half_spreads": half_spreads, "fees": fees, "hedge_cost": hedge_cost}
    found = edge_amounts(100, shifted=shifted, mid=mid, **costs, slope=1.0, stderr=0.01)
    by_hand = 100.0 * (shifted - mid) - 100.0 * half_spreads - 100.0 * fees - hedge_cost
    assert found.net == pytest.approx(by_hand, abs=1e-9)


def test_the_nearest_look_is_that_nearest_to_its_own_bar():
    course, open_ns = EdgeCourse(), session_on(date(2024, 3, 20)).open_ns
    for minutes, edge, needed in ((0, 10.0, 90.0), (30, 40.0, 200.0), (60, 5.0, 50.0)):
        course.note(open_ns + minutes * 60 * 10**9, edge, needed)
    sentence, texts = course.take("USD")
    assert len(texts) == 3
    assert sentence.endswith("at 10:30")
