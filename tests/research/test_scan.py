"""A scan is the entry gate's own figures, for every straddle and strangle of a chain at once."""

import math
from datetime import date, time

import numpy as np
import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.embedded.market import daily_bars_before, reconstruct
from scalpdesk.entry.edge_gate import (
    EdgeExpiry,
    EdgeInputs,
    bar_over_looks,
    price_in_market,
    shifted_edge,
)
from scalpdesk.entry.selector import structure_score
from scalpdesk.hedging.base import HedgeInputs, make_band
from scalpdesk.hedging.expected_cost import HedgedGroup, expected_cost, expected_costs
from scalpdesk.instruments.sessions import expiry_instant_ns, new_york_ns
from scalpdesk.pricing import greeks
from scalpdesk.pricing.smile_level import SviVols, level_between
from scalpdesk.research.scan import Legs, ranked_rows, scan_tape, select_pairs
from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig
from scalpdesk.volatility.variance_time import clock_named

DAY = date(2018, 2, 5)
FORECAST = 0.30


@pytest.fixture(scope="module")
def tape():
    return reconstruct(DAY, seed=1, underlying="SPY")


def scanned(tape, entry=None, **options):
    config = GammaScalperConfig(entry=entry or EntryConfig(forecast_vol=FORECAST))
    now_ns = new_york_ns(DAY, time(11, 0))
    bars = daily_bars_before(DAY, 1_500, "SPY")
    return scan_tape(tape, now_ns, bars=bars, config=config, max_age_seconds=30.0, **options)


@pytest.fixture(scope="module")
def found(tape):
    return scanned(tape)


def test_every_pair_of_call_above_put_is_ranked_once_best_first(found):
    ranking, facts = found
    legs = ranking.legs
    wanted = 0
    for place in range(len(ranking.expiries)):
        here = legs.expiry == place
        calls, puts = (legs.strike[here & (legs.is_call == right)] for right in (True, False))
        wanted += int((calls[:, None] >= puts[None, :]).sum())
    assert len(ranking) == wanted == facts["straddles"] + facts["strangles"]
    assert len(set(zip(ranking.call.tolist(), ranking.put.tolist(), strict=True))) == wanted
    assert (legs.expiry[ranking.call] == legs.expiry[ranking.put]).all()
    assert (np.diff(ranking.net[ranking.order]) <= 0.0).all()


def test_straddles_alone_are_those_of_one_strike(tape, found):
    ranking, facts = scanned(tape, strangles=False)
    assert facts["strangles"] == 0
    assert len(ranking) == found[1]["straddles"] == int(found[0].is_straddle.sum())


def test_a_straddles_edge_is_the_live_gates_own(tape, found):
    """Built again from the fitted smile for one straddle, as the strategy builds it."""
    ranking, _ = found
    now_ns, clock = new_york_ns(DAY, time(11, 0)), clock_named(tape.variance_clock)
    for place in ranking.order[ranking.is_straddle[ranking.order]][::17].tolist():
        call, put = int(ranking.call[place]), int(ranking.put[place])
        legs = ranking.legs
        expiry = ranking.expiries[int(legs.expiry[call])]
        strike = float(legs.strike[call])
        contract = next(
            each
            for _, each in tape.instruments.options("SPY")
            if each.expiry == expiry.label.expiry and float(each.strike) == strike
        )

        years = clock.years(now_ns, expiry_instant_ns(contract))
        to_calendar = math.sqrt(years / expiry.years)

        def value(vols, strike=strike, expiry=expiry, to_calendar=to_calendar):
            spot = expiry.forward  # rates and dividends of this market are zero
            both = greeks(spot, strike, expiry.years, vols[0] * to_calendar, np.array([True, False]))
            return float(both.price.sum())

        half = 0.5 * float((legs.ask - legs.bid)[[call, put]].sum())
        mid = 0.5 * float((legs.ask + legs.bid)[[call, put]].sum())
        k = math.log(strike / expiry.forward)
        smile = SviVols(expiry.smile, years)
        on_smile = value(smile(np.array([k])))
        inputs = EdgeInputs(
            expiries=(EdgeExpiry(smile, years, np.array([k]), value),),
            half_spreads=2.0 * half,
            hedge_cost_usd=float(ranking.hedge_cost[place]),
            multiplier=100,
            horizon_years=min(5 / 252, years),
            implied_to_horizon=float(FORECAST / ranking.vol_ratio[place]),
        )
        edge = shifted_edge(inputs, FORECAST)
        assert ranking.net[place] == pytest.approx(edge.net_usd, abs=0.02)
        assert ranking.gross[place] == pytest.approx(edge.gross_usd, abs=0.02)
        assert ranking.spread[place] == pytest.approx(edge.spread_usd)
        market = price_in_market(on_smile, mid, half)
        assert ranking.price[place] == pytest.approx(market, abs=2e-4)


def test_the_verdict_is_the_gates_with_the_largest_delta(found):
    ranking, facts = found
    config = EntryConfig(forecast_vol=FORECAST)
    bar = bar_over_looks(config.k_stderr, config.window_seconds)
    wanted = (
        (ranking.net >= config.min_edge_usd)
        & (ranking.net >= bar * ranking.stderr)
        & (ranking.vol_ratio >= config.min_vol_ratio)
        & (np.abs(ranking.delta) <= 0.10)
    )
    assert (ranking.passes == wanted).all()
    assert 0 < facts["passing"] == int(wanted.sum()) < len(ranking)


def test_a_higher_forecast_raises_every_edge(tape, found):
    higher, _ = scanned(tape, EntryConfig(forecast_vol=FORECAST + 0.02))
    assert (higher.gross >= found[0].gross).all()


def test_rows_hold_break_even_and_liquidity(found):
    ranking, facts = found
    row = ranked_rows(ranking, "SPY", facts["spot"], most=1)[0]
    place = int(ranking.order[0])
    legs = [int(ranking.call[place]), int(ranking.put[place])]
    theta, gamma = (float(getattr(ranking.greeks, name)[legs].sum()) for name in ("theta", "gamma"))
    spread = float((ranking.legs.ask - ranking.legs.bid)[legs].sum())
    score = structure_score(theta / 365, gamma, spread)
    assert row["breakeven_move"] == pytest.approx(score.breakeven_move)
    assert row["spread_usd"] == pytest.approx(100 * spread)
    low, high = row["breakeven_at_expiry"]
    assert high - row["call_strike"] == pytest.approx(row["put_strike"] - low) == pytest.approx(row["ask"])
    assert row["open_interest"] == int(ranking.legs.open_interest[legs].min())
    assert row["edge_usd"] == pytest.approx(row["gross_usd"] - row["spread_usd"] - row["hedge_cost_usd"])


def test_the_desks_own_forecast_comes_with_interval_and_record(tape):
    _, facts = scanned(tape, EntryConfig())
    forecast = facts["forecast"]
    assert forecast["low"] < forecast["vol_before_session"] < forecast["high"]
    assert forecast["past"]["forecasts"] == 250
    assert 0.5 < forecast["past"]["inside"] <= 1.0
    assert 0.0 < forecast["past"]["median_miss"] < 0.10
    assert forecast["vol"] > forecast["vol_before_session"]  # the morning of 2018-02-05 was wilder than usual


def test_no_forecast_and_no_history_is_refused(tape):
    now_ns, empty = (
        new_york_ns(DAY, time(11, 0)),
        {name: np.empty(0) for name in ("open", "high", "low", "close")},
    )
    with pytest.raises(DataError, match="forecast"):
        scan_tape(tape, now_ns, bars=empty, config=GammaScalperConfig(), max_age_seconds=30.0)


@pytest.mark.parametrize(
    ("band", "settings"),
    [("fixed", {}), ("whalley_wilmott", {}), ("zakamouline", {}), ("leland", {}), ("time_based", {}),
     ("regime_threshold", {})],
)  # fmt: skip
def test_costs_of_many_positions_are_those_of_each(band, settings):
    gammas, made = np.array([0.5, 2.0, 9.0]), make_band(band, settings)
    inputs = HedgeInputs(0.0, 1.0, 500.0, 0.1, 0.2, 0.04, 1, 100, 0.0, 2e-5)
    many = expected_costs(made, [HedgedGroup(inputs, gammas, 0.22, 5.0)], 0.01, least_fraction=0.5)[0]
    for gamma, cost in zip(gammas.tolist(), many.tolist(), strict=True):
        one = HedgeInputs(0.0, gamma, 500.0, 0.1, 0.2, 0.04, 1, 100, 0.0, 2e-5)
        assert cost == expected_cost(made, one, 0.22, 5.0, 0.01, least_fraction=0.5).cost_usd


def test_variance_between_two_expiries_is_linear_in_time():
    before, after = (0.01, 0.2**2 * 0.01), (0.05, 0.3**2 * 0.05)
    assert level_between(before, after, 0.01) == pytest.approx(0.2)
    assert level_between(before, after, 0.05) == pytest.approx(0.3)
    middle = level_between(before, after, 0.03)
    assert middle**2 * 0.03 == pytest.approx(0.5 * (before[1] + after[1]))


def test_pairs_of_several_expiries_do_not_mix():
    one = np.ones(4)
    legs = Legs(
        np.array([0, 0, 1, 1]),
        np.array([100.0, 100.0, 100.0, 105.0]),
        np.array([False, True, False, True]),
        *(one, 2 * one, one),
        np.zeros(4, np.int64),
    )
    call, put = select_pairs(legs)
    assert (call.tolist(), put.tolist()) == ([1, 3], [0, 2])
    assert legs.strike[call[1]] > legs.strike[put[1]]
