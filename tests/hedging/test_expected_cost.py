import msgspec
import numpy as np
import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk.hedging.base import HedgeInputs, make_band
from scalpdesk.hedging.expected_cost import cost_of_band, cost_of_clock, delta_speed, expected_cost


def test_a_wider_band_hedges_less_often_and_costs_less():
    narrow, wide = (cost_of_band(2.0, 500.0, 0.2, 5, b, 0.01) for b in (10.0, 20.0))
    assert narrow.rehedges == pytest.approx(4 * wide.rehedges)
    assert narrow.cost_usd == pytest.approx(2 * wide.cost_usd)


def test_a_short_position_costs_the_same():
    assert cost_of_band(-2.0, 500.0, 0.2, 5, 10.0, 0.01) == cost_of_band(2.0, 500.0, 0.2, 5, 10.0, 0.01)


def test_the_band_count_is_what_a_random_walk_of_the_delta_does():
    gamma, spot, vol, days, band = 2.0, 500.0, 0.2, 60.0, 40.0
    steps = 60 * 2000
    size = delta_speed(gamma, spot, vol) * np.sqrt(days / 252 / steps)
    walk = np.random.default_rng(5).standard_normal((steps, 40)) * size
    delta, hedges = np.zeros(40), np.zeros(40)
    for move in walk:
        delta += move
        beyond = np.abs(delta) > band
        hedges += beyond
        delta[beyond] = 0.0
    expected = cost_of_band(gamma, spot, vol, days, band, 0.01).rehedges
    assert hedges.mean() == pytest.approx(expected, rel=0.1)


def test_the_edge_takes_what_a_reflected_walk_of_the_delta_does():
    gamma, spot, vol, days, band = 2.0, 500.0, 0.2, 60.0, 40.0
    steps = 60 * 2000
    size = delta_speed(gamma, spot, vol) * np.sqrt(days / 252 / steps)
    walk = np.random.default_rng(7).standard_normal((steps, 40)) * size
    delta, traded = np.zeros(40), np.zeros(40)
    for move in walk:
        delta += move
        held = np.clip(delta, -band, band)
        traded += np.abs(delta - held)
        delta = held
    edge = cost_of_band(gamma, spot, vol, days, band, 0.01, rehedge_to="edge")
    assert 0.01 * traded.mean() == pytest.approx(edge.cost_usd, rel=0.1)
    assert edge.cost_usd == cost_of_band(gamma, spot, vol, days, band, 0.01).cost_usd / 2


def test_hedges_that_wait_for_a_part_of_the_width_are_those_of_the_desk():
    gamma, spot, vol, days, band, least = 2.0, 500.0, 0.2, 60.0, 40.0, 0.35
    steps = 60 * 2000
    size = delta_speed(gamma, spot, vol) * np.sqrt(days / 252 / steps)
    walk = np.random.default_rng(8).standard_normal((steps, 40)) * size
    delta, traded, hedges = np.zeros(40), np.zeros(40), np.zeros(40)
    for move in walk:
        delta += move
        beyond = np.abs(delta) - band
        whole = np.where(beyond >= least * band, np.floor(beyond + 0.5), 0.0)
        delta -= np.copysign(whole, delta)
        traded += whole
        hedges += whole > 0.0
    to_edge = {"rehedge_to": "edge"}
    cost = cost_of_band(gamma, spot, vol, days, band, 0.01, **to_edge, least_fraction=least)
    assert 0.01 * traded.mean() == pytest.approx(cost.cost_usd, rel=0.1)
    assert hedges.mean() == pytest.approx(cost.rehedges, rel=0.1)
    assert cost.shares_per_rehedge == pytest.approx(14.0)
    at_once = cost_of_band(gamma, spot, vol, days, band, 0.01, **to_edge)
    assert cost.cost_usd == pytest.approx(at_once.cost_usd / 1.175)
    # a part of less than half a share holds no whole share back
    assert cost_of_band(gamma, spot, vol, days, 1.0, 0.01, **to_edge, least_fraction=least) == cost_of_band(
        gamma, spot, vol, days, 1.0, 0.01, **to_edge
    )


def test_the_clock_size_is_the_mean_of_what_the_delta_moves():
    moves = np.random.default_rng(6).standard_normal(200_000) * delta_speed(2.0, 500.0, 0.2)
    expected = cost_of_clock(2.0, 500.0, 0.2, 5, 13, 0.01).shares_per_rehedge
    assert np.abs(moves * np.sqrt(1 / (252 * 13))).mean() == pytest.approx(expected, rel=0.01)


def test_hedges_to_the_edge_are_counted_in_contracts_of_the_perpetual():
    gamma, spot, vol, cost, year = 3.1e-5, 60_000.0, 0.5, 5.04e-4, 365.0 * 86_400.0
    held = HedgeInputs(0.0, gamma, spot, 30 / 365, vol, 0.0, 1, 1, 0.0, cost, trading_year_seconds=year)
    held = msgspec.structs.replace(held, smallest_hedge=10 / spot)
    band = make_band("whalley_wilmott")
    width = band.judge(held).half_width_shares
    expected = expected_cost(band, held, vol, 5 / 365 * 252, cost)
    coins = 5 / 365 * (gamma * spot * vol) ** 2 / (2 * width)
    assert expected.cost_usd == pytest.approx(coins * cost)
    assert expected.shares_per_rehedge == 10 / spot
    assert expected.rehedges == pytest.approx(coins * spot / 10)
    assert expected.rehedges > 500


def test_a_clock_that_never_stops_hedges_all_day():
    """Five days of a coin hedged each half hour, against a delta that moves at random round the clock."""
    gamma, spot, vol, cost, year = 3.1e-5, 57_775.0, 0.45, 5.04e-4, 365.0 * 86_400.0
    held = HedgeInputs(0.0, gamma, spot, 30 / 365, vol, 0.0, 1, 1, 0.0, cost, trading_year_seconds=year)
    band = make_band("time_based", {"interval_seconds": 1_800.0})
    expected = expected_cost(band, held, vol, 5 / 365 * 252, cost)
    moves = (
        np.random.default_rng(1).standard_normal((4_000, 240)) * gamma * spot * vol * np.sqrt(1_800 / year)
    )
    assert expected.rehedges == pytest.approx(240)
    assert expected.cost_usd == pytest.approx(np.abs(moves).sum(axis=1).mean() * cost, rel=0.005)


@pytest.mark.rows(
    ("changes", "where"),
    [({"spot": 0.0}, "spot"), ({"half_width_shares": 0.0}, "half_width_shares"), ({"vol": -0.1}, "vol"),
     ({"cost_usd_per_share": float("nan")}, "cost_usd_per_share")],
)  # fmt: skip
def test_what_cannot_be_is_refused(changes, where):
    good = {"gamma_shares_per_usd": 2.0, "spot": 500.0, "vol": 0.2, "horizon_days": 5,
            "half_width_shares": 10.0, "cost_usd_per_share": 0.01}  # fmt: skip
    with pytest.raises(ArgumentError) as refusal:
        cost_of_band(**(good | changes))
    assert refusal.value.where == where
