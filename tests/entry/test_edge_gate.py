import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.entry.edge_gate import EdgeGate, EdgeGateConfig, EdgeInputs, edge_usd
from scalpdesk.volatility.forecast import VolForecast

STRADDLE = EdgeInputs(
    spot=500.0,
    gamma_per_usd=0.02,
    implied_vol=0.18,
    horizon_days=5,
    spread_usd=12.0,
    hedge_cost_usd=8.0,
    multiplier=100,
)


def _with(**changes):
    return msgspec.structs.replace(STRADDLE, **changes)


def _forecast(vol=0.22, stderr=0.002, reason=None):
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


def test_a_good_edge_passes_with_every_test_in_numbers():
    verdict = EdgeGate().judge(STRADDLE, _forecast())
    assert verdict.passed
    assert verdict.edge.net_usd == pytest.approx(59.3650793651)
    # 100 · ½ · 0.02 · 500² · 5/252 · 2 · 0.22 · 0.002
    assert verdict.stderr_usd == pytest.approx(4.36507936508)
    assert verdict.vol_ratio == pytest.approx(0.22 / 0.18)
    assert len(verdict.reasons) == 3
    assert all("is at least" in reason for reason in verdict.reasons)


def test_every_failed_test_is_named():
    verdict = EdgeGate().judge(STRADDLE, _forecast(vol=0.18, stderr=0.05))
    assert not verdict.passed
    assert [
        key for key in ("min_edge_usd", "k_stderr", "min_vol_ratio") if key in " ".join(verdict.reasons)
    ] == [
        "min_edge_usd",
        "k_stderr",
        "min_vol_ratio",
    ]
    assert "edge -20.00 USD is below 5.00 USD" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("inputs", "forecast", "named"),
    [
        (_with(spread_usd=70.0), _forecast(stderr=0.0005), "min_edge_usd"),
        (STRADDLE, _forecast(stderr=0.03), "k_stderr"),
        (_with(gamma_per_usd=1.0, implied_vol=0.215), _forecast(), "min_vol_ratio"),
    ],
)
def test_each_test_refuses_alone(inputs, forecast, named):
    verdict = EdgeGate().judge(inputs, forecast)
    assert not verdict.passed
    assert len(verdict.reasons) == 1
    assert named in verdict.reasons[0]


def test_an_unknown_forecast_is_refused_with_its_reason():
    verdict = EdgeGate().judge(STRADDLE, _forecast(vol=math.nan, reason="ewma needs 20 returns, has 3"))
    assert not verdict.passed
    assert verdict.edge is None
    assert verdict.reasons == ("no volatility forecast: ewma needs 20 returns, has 3",)


@pytest.mark.parametrize("implied", [math.nan, 0.0])
def test_an_unknown_implied_vol_is_refused(implied):
    verdict = EdgeGate().judge(_with(implied_vol=implied), _forecast())
    assert verdict.reasons == ("no implied volatility of the straddle",)
    assert not verdict.passed


def test_bounds_are_included():
    exact_edge = EdgeGate().judge(STRADDLE, _forecast()).edge.net_usd
    gate = EdgeGate(EdgeGateConfig(min_edge_usd=exact_edge, k_stderr=0.0, min_vol_ratio=0.22 / 0.18))
    assert gate.judge(STRADDLE, _forecast()).passed


def test_a_standard_error_that_is_not_known_does_not_pass():
    assert not EdgeGate().judge(STRADDLE, _forecast(stderr=math.nan)).passed


@given(scale=st.integers(1, 1000), forecast=st.floats(0, 2))
def test_gross_edge_is_proportional_to_the_multiplier(scale, forecast):
    one = edge_usd(_with(multiplier=1), forecast).gross_usd
    assert edge_usd(_with(multiplier=scale), forecast).gross_usd == pytest.approx(scale * one, abs=1e-9)


@pytest.mark.parametrize("field", ["spot", "gamma_per_usd", "horizon_days", "spread_usd", "hedge_cost_usd"])
def test_what_is_not_a_number_is_refused(field):
    with pytest.raises(ArgumentError) as refusal:
        edge_usd(_with(**{field: math.nan}), 0.22)
    assert refusal.value.where == field


@pytest.mark.parametrize(
    ("key", "value"), [("min_edge_usd", math.inf), ("k_stderr", -1.0), ("min_vol_ratio", math.nan)]
)
def test_settings_out_of_range_are_refused(key, value):
    with pytest.raises(ConfigError) as refusal:
        EdgeGateConfig(**{key: value})
    assert refusal.value.where == key
