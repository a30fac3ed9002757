"""Hedging in columns against the desk's bands one look at a time, and against the laws of hedging."""

import math

import msgspec
import numpy as np
import pytest

from scalpdesk.hedging.base import HedgeInputs, make_band
from scalpdesk.hedging.kernels.columns import PARTS, fill_straddles, walk, walk_ladder
from scalpdesk.hedging.sizing import quantity_to_target
from scalpdesk.pricing import greeks
from scalpdesk.research.band_lab import EVERY_LOOK, LabBand, hedge_block
from scalpdesk.research.lab_markets import simulate_sessions
from scalpdesk.research.session_model import SessionModel

SESSION_DAYS = 365.0 / 252.0
"""Calendar days to expiry of an option that expires at the close of the simulated session."""


def one_block(**market):
    (block,) = simulate_sessions(SessionModel(**market))
    return block


def all_blocks(lab, step=0.0, **market):
    """P&L of options, and the walk's figures, over all sessions of a market."""
    blocks = list(simulate_sessions(SessionModel(**market)))
    walked = np.concatenate([hedge_block(lab, block, step=step)[0] for block in blocks])
    return np.concatenate([block.option_pnl for block in blocks]), walked


def test_the_greeks_of_the_columns_are_those_of_the_price_package():
    block = one_block(days=3, looks=40, dte=20.0, rate=0.03, vol=0.25)
    spot = block.spot[:, :-1].ravel()
    years = np.tile(block.years, 3)
    legs = [
        greeks(spot, block.strike, years, 0.25, is_call, rate=0.03, style="european")
        for is_call in (True, False)
    ]
    assert block.delta.ravel() == pytest.approx(100.0 * sum(leg.delta for leg in legs), abs=1e-9)
    assert block.gamma.ravel() == pytest.approx(100.0 * sum(leg.gamma for leg in legs), rel=1e-11)


BANDS = [
    LabBand("fixed", "", 0.0, make_band("fixed", {"threshold": 3.0})),
    LabBand(
        "fixed", "", 0.0, make_band("fixed", {"threshold": 3.0, "rehedge_to": "edge"}), least_fraction=0.5
    ),
    LabBand("time", "", 0.0, make_band("time_based", {"interval_seconds": 700.0})),
    LabBand("leland", "", 0.0, make_band("leland", {"number": 0.02})),
    LabBand("ww", "", 0.0, make_band("whalley_wilmott", {"risk_aversion": 0.02}), least_fraction=0.35),
    LabBand("zakamouline", "", 0.0, make_band("zakamouline", {"risk_aversion": 0.02})),
    LabBand(
        "own",
        "",
        0.0,
        make_band(
            "regime_threshold",
            {"regime": "own_gamma", "threshold": "0.06", "threshold_negative_gex": "0.03"},
        ),
    ),
]


@pytest.mark.rows("side", ["long", "short"])
@pytest.mark.rows("lab", BANDS)
def test_the_hedges_are_those_of_the_desks_band_asked_at_each_look(lab, side):
    market = SessionModel(days=1, looks=390, dte=7.0, vol=0.3, rate=0.02, side=side, straddles=2)
    (block,) = simulate_sessions(market)
    trace = np.empty((390, 2))
    _, hedges = hedge_block(lab, block, trace=trace)
    owned, last_ns, expected = 0, 0, []
    for i, now_ns in enumerate(block.now_ns.tolist()):
        inputs = HedgeInputs(
            net_delta_shares=float(block.delta[0, i]) + owned,
            gamma_shares_per_usd=float(block.gamma[0, i]),
            spot=float(block.spot[0, i]),
            years=float(block.years[i]),
            vol=float(block.vol[0, i]),
            rate=0.02,
            straddles=2,
            multiplier=100,
            seconds_since_hedge=(now_ns - last_ns) / 1e9,
            own_cost_fraction=float(block.half_spread[0, i] / block.spot[0, i]),
        )
        verdict = lab.band.judge(inputs)
        quantity = quantity_to_target(inputs.net_delta_shares, verdict.target_delta_shares)
        beyond = abs(inputs.net_delta_shares - verdict.target_delta_shares)
        if verdict.inside or not quantity or beyond < lab.least_fraction * verdict.half_width_shares:
            continue
        owned, last_ns = owned + quantity, now_ns
        expected.append((i, quantity))
    if lab.delta == "sticky_strike":
        assert [(int(look), int(shares)) for look, shares in trace[:hedges].tolist()] == expected
    assert hedges == len(expected) > 3


def test_an_order_that_turns_the_holding_is_split_at_zero():
    block = msgspec.structs.replace(one_block(days=1, looks=4), delta=np.array([[10.0, -5.0, -5.0, -5.0]]))
    trace, out = np.empty((9, 2)), np.empty((1, PARTS))
    looks = np.zeros((1, 4))
    hedges = walk(
        block.now_ns, block.spot, block.half_spread, block.discount, block.delta, looks, looks[0] > 0.0,
        looks, 0, False, 0.0, np.ones(4), 1.0, True, out, trace,
    )  # fmt: skip
    assert trace[:hedges].tolist() == [[0.0, -10.0], [1.0, 10.0], [1.0, 5.0]]
    assert out[0, 2:4].tolist() == [3.0, 25.0]


def test_without_costs_and_with_realised_as_implied_every_band_earns_nothing_on_average():
    for lab in (EVERY_LOOK, BANDS[0], BANDS[2], BANDS[4]):
        options, walked = all_blocks(lab, days=1_500, looks=60, cost_bp=0.0, rate=0.03, dte=10.0)
        pnl = options + walked[:, 0] - walked[:, 1]
        assert abs(pnl.mean()) < 3.5 * pnl.std() / math.sqrt(len(pnl))


def test_realised_above_implied_pays_what_gamma_says():
    """Mean P&L of a hedged straddle: half Γ·S²·(σ² − σ_i²) a session, to first order."""
    market = SessionModel(days=1_500, looks=60, cost_bp=0.0, vol=0.2, implied_vol=0.16, dte=60.0)
    options, walked = all_blocks(EVERY_LOOK, **msgspec.to_builtins(market))
    opening = market.opening()
    expected = 0.5 * opening.gamma_shares_per_usd * market.spot**2 * (0.2**2 - 0.16**2) / 252.0
    assert (options + walked[:, 0]).mean() == pytest.approx(expected, rel=0.04)


def test_the_spread_falls_with_the_root_of_the_hedges_as_derman_has_it():
    """σ(P&L) ≈ √(π/4)·vega·σ/√n for n hedges to expiry (Derman and Kamal 1999; Boyle and Emanuel 1980)."""
    spreads = {}
    for hedges in (40, 160):
        market = SessionModel(days=3_000, looks=hedges, cost_bp=0.0, dte=SESSION_DAYS, vol=0.2)
        options, walked = all_blocks(EVERY_LOOK, **msgspec.to_builtins(market))
        spreads[hedges] = float(np.std(options + walked[:, 0]))
        years = market.dte / 365.0
        vega = 2.0 * 100.0 * market.spot * math.sqrt(years) / math.sqrt(2.0 * math.pi)
        assert spreads[hedges] == pytest.approx(
            math.sqrt(math.pi / 4.0) * vega * 0.2 / math.sqrt(hedges), rel=0.08
        )
    assert spreads[40] / spreads[160] == pytest.approx(2.0, rel=0.07)


@pytest.fixture(scope="module")
def long_dated():
    """Sessions in which gamma hardly changes, looked at often: the delta is a Brownian motion from zero."""
    market = {"days": 2_048, "looks": 1_000, "dte": 730.0, "straddles": 100, "vol": 0.2, "cost_bp": 1.0}
    blocks = [
        msgspec.structs.replace(block, delta=block.delta - block.delta[:, :1])
        for block in simulate_sessions(SessionModel(**market))
    ]
    ideal = np.concatenate([hedge_block(EVERY_LOOK, block, step=0.0)[0][:, 0] for block in blocks])

    def loss(rehedge_to, widths):
        found = []
        for width in widths:
            band = make_band("fixed", {"threshold": float(width) / 100.0, "rehedge_to": rehedge_to})
            lab = LabBand("fixed", "", 0.0, band)
            walked = np.concatenate([hedge_block(lab, block, step=0.0)[0] for block in blocks])
            # without what it costs to close at the end, which is no band's doing
            found.append((0.05 * walked[:, 3].mean(), np.mean(np.square(walked[:, 0] - ideal))))
        return np.array(found).T

    return loss


WIDTHS = np.geomspace(30.0, 170.0, 11)
AVERSION = 2.4e-4
STEP = 352.0 / math.sqrt(1_000.0)
"""Standard deviation of the delta from one look to the next, shares."""


def test_to_the_edge_costs_a_fifth_less_than_to_the_centre(long_dated):
    """1 - 2^(-1/3) = 20.6 %, each at its own best width.

    With v the speed of the delta, costs k·v²/2b to the edge against k·v²/b to the centre, and squared net
    deltas b²/3 against b²/6.
    """
    edge, centre = (
        np.min(cost + 0.5 * AVERSION * variance)
        for cost, variance in (long_dated("edge", WIDTHS), long_dated("zero", 1.6 * WIDTHS))
    )
    assert 1.0 - edge / centre == pytest.approx(1.0 - 2.0 ** (-1.0 / 3.0), abs=0.035)


def test_the_best_band_grows_with_the_cube_root_of_the_cost(long_dated):
    cost, variance = long_dated("edge", WIDTHS)
    # looked at step by step a barrier lies further out (Broadie, Glasserman and Kou 1997)
    felt, best = np.log(WIDTHS + 0.5826 * STEP), []
    for factor in (0.125, 1.0):  # the cost of a walk is proportional to the cost of a share
        losses = factor * cost + 0.5 * AVERSION * variance
        at = int(np.argmin(losses))
        assert 0 < at < len(WIDTHS) - 1
        nearby = slice(max(at - 2, 0), at + 3)
        a, b, _ = np.polyfit(felt[nearby], losses[nearby], 2)
        best.append(math.exp(-0.5 * b / a))
    assert best[1] / best[0] == pytest.approx(8.0 ** (1.0 / 3.0), rel=0.1)


def ladder(prices, delta, gamma, width, rung, *, half_spread=0.0, through=0.0):
    looks = len(prices) - 1
    spot, out = np.array([prices]), np.empty((1, PARTS))
    before, after = spot[:, :-1], spot[:, 1:]
    walk_ladder(
        spot, np.maximum(before, after), np.minimum(before, after), np.full((1, looks + 1), half_spread),
        np.ones(looks + 1), np.array([delta]), np.full((1, looks), gamma), np.full((1, looks), width), rung,
        through, out,
    )  # fmt: skip
    return out[0]


def test_a_rung_of_the_ladder_fills_where_the_delta_meets_the_edge():
    # gamma 2: the delta is at 4 where the price is 102, and again after each further dollar
    gross, cost, hedges, shares, _ = ladder([100.0, 103.5], [0.0], 2.0, 4.0, 2.0)
    assert (hedges, shares, cost) == (2.0, 4.0, 0.0)
    assert gross == pytest.approx(2.0 * 102.0 + 2.0 * 103.0 - 4.0 * 103.5)


def test_a_rung_waits_until_the_mid_is_half_a_spread_through_it():
    assert ladder([100.0, 102.05], [0.0], 2.0, 4.0, 2.0, half_spread=0.1, through=1.0)[2] == 0.0
    gross, cost, hedges, _, _ = ladder([100.0, 102.2], [0.0], 2.0, 4.0, 2.0, half_spread=0.1, through=1.0)
    assert hedges == 1.0
    # sold at 102, when the mid was 102.1; bought back at the end across half a spread
    assert gross - cost == pytest.approx(2.0 * 102.0 - 2.0 * 102.3)


def test_short_gamma_crosses_the_spread_instead_of_resting():
    out = ladder([100.0, 103.0, 103.0], [0.0, -6.0], -2.0, 4.0, 2.0, half_spread=0.1)
    assert out[2:4].tolist() == [1.0, 2.0]
    assert out[1] == pytest.approx(2.0 * 0.1 + 2.0 * 0.1)


def test_columns_of_one_volatility_serve_every_path():
    spot = np.array([[100.0, 101.0], [99.0, 100.0]])
    delta, gamma = np.empty((2, 2)), np.empty((2, 2))
    fill_straddles(
        spot, np.log(spot / 100.0), np.full((1, 2), 0.1), np.full((1, 2), 0.05), 100.0, delta, gamma
    )
    assert delta[0, 0] == pytest.approx(delta[1, 1], rel=1e-12)
