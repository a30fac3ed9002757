"""Laws of hedging on simulated paths: what must come out whatever the code looks like inside.

Sources: Hull, Options, Futures and Other Derivatives, chapter on the Greek letters (hedge performance by
rebalancing interval); Ahmad and Wilmott (2005), Which free lunch would you like today, sir?; Bertsimas,
Kogan and Lo (2000), When is time continuous? (error like 1/√N); Whalley and Wilmott (1997).
"""

import numpy as np
import pytest
from scipy.special import ndtr

from scalpdesk.hedging import whalley_wilmott_band
from scalpdesk.hedging.bands.fixed import FixedBand, FixedConfig
from scalpdesk.hedging.bands.time_based import TimeBasedBand, TimeBasedConfig
from scalpdesk.hedging.bands.whalley_wilmott import WhalleyWilmottBand
from scalpdesk.hedging.base import AversionConfig, HedgeInputs
from scalpdesk.hedging.sizing import quantity_to_target


def _d1(spot, strike, years, rate, vol):
    return (np.log(spot / strike) + (rate + 0.5 * vol**2) * years) / (vol * np.sqrt(years))


def _call(spot, strike, years, rate, vol):
    d1 = _d1(spot, strike, years, rate, vol)
    return spot * ndtr(d1) - strike * np.exp(-rate * years) * ndtr(d1 - vol * np.sqrt(years))


def _delta(spot, strike, years, rate, vol):
    return ndtr(_d1(spot, strike, years, rate, vol))


def _gamma(spot, strike, years, rate, vol):
    density = np.exp(-0.5 * _d1(spot, strike, years, rate, vol) ** 2) / np.sqrt(2 * np.pi)
    return density / (spot * vol * np.sqrt(years))


def _paths(seed, paths, steps, years, drift, vol, spot):
    """Spots at the start and after each step, shape (steps + 1, paths); the second half mirrors the first."""
    draws = np.random.default_rng(seed).standard_normal((steps, paths // 2))
    moves = np.concatenate((draws, -draws), axis=1) * vol * np.sqrt(years / steps)
    logs = np.cumsum((drift - 0.5 * vol**2) * years / steps + moves, axis=0)
    return spot * np.exp(np.concatenate((np.zeros((1, moves.shape[1])), logs)))


# Hull: a bank writes a call, S 49, K 50, r 5 %, σ 20 %, 20 weeks, drift 13 %; performance is the standard
# deviation of the discounted cost of writing and hedging over the price. Figures: 200,000 paths.
HULL = {5.0: 0.4157, 4.0: 0.3754, 2.0: 0.2689, 1.0: 0.1917, 0.5: 0.137, 0.25: 0.0978}
SPOT, STRIKE, RATE, VOL, YEARS = 49.0, 50.0, 0.05, 0.2, 20 / 52


def _hull_performance(spots, deltas_of):
    steps = len(spots) - 1
    grow = np.exp(RATE * YEARS / steps)
    held, cost = np.zeros(spots.shape[1]), np.zeros(spots.shape[1])
    for step in range(steps):
        wanted = deltas_of(spots[step], YEARS * (1 - step / steps), held)
        cost = cost * grow + (wanted - held) * spots[step]
        held = wanted
    payoff = np.maximum(spots[-1] - STRIKE, 0.0)
    final = cost * grow + payoff - held * spots[-1]
    return (final * np.exp(-RATE * YEARS)).std() / _call(SPOT, STRIKE, YEARS, RATE, VOL)


@pytest.mark.rows(("weeks", "performance"), HULL.items())
def test_hedge_performance_by_rebalancing_interval(weeks, performance):
    spots = _paths(1, 40_000, round(20 / weeks), YEARS, 0.13, VOL, SPOT)
    got = _hull_performance(spots, lambda spot, years, held: _delta(spot, STRIKE, years, RATE, VOL))
    assert got == pytest.approx(performance, abs=0.02)


def test_hedge_performance_holds_in_whole_shares():
    shares = 100_000  # Hull's bank wrote calls on that many

    def traded(spot, years, held):
        options = -shares * _delta(spot, STRIKE, years, RATE, VOL)
        quantities = [
            quantity_to_target(delta + round(own * shares), 0.0)
            for delta, own in zip(options.tolist(), held.tolist(), strict=True)
        ]
        return held + np.array(quantities) / shares

    spots = _paths(2, 2_000, 20, YEARS, 0.13, VOL, SPOT)
    assert _hull_performance(spots, traded) == pytest.approx(HULL[1.0], abs=0.02)


def _long_call_profit(spots, years, price_paid, hedge_vol):
    """Profit at expiry of a call bought and delta-hedged at every step, no rates, no costs."""
    steps = len(spots) - 1
    profit = np.maximum(spots[-1] - 100.0, 0.0) - price_paid
    for step in range(steps):
        delta = _delta(spots[step], 100.0, years * (1 - step / steps), 0.0, hedge_vol)
        profit -= delta * (spots[step + 1] - spots[step])
    return profit


def test_hedging_at_the_actual_vol_earns_the_difference_of_values_on_every_path():
    actual, implied, years = 0.30, 0.20, 0.25
    worth = _call(100.0, 100.0, years, 0.0, actual)
    paid = _call(100.0, 100.0, years, 0.0, implied)
    spreads = []
    for steps in (100, 400, 1600):
        spots = _paths(3, 4_000, steps, years, 0.05, actual, 100.0)
        profit = _long_call_profit(spots, years, paid, actual)
        assert profit.mean() == pytest.approx(worth - paid, abs=0.05 * (worth - paid))
        spreads.append(profit.std() / (worth - paid))
    # Each quadrupling halves what is left to chance; in the limit every path gets the same.
    assert spreads[1] == pytest.approx(spreads[0] / 2, rel=0.1)
    assert spreads[2] == pytest.approx(spreads[1] / 2, rel=0.1)
    assert spreads[2] < 0.08


def test_hedging_at_the_implied_vol_never_loses_when_actual_is_above():
    actual, implied, years = 0.30, 0.20, 0.25
    paid = _call(100.0, 100.0, years, 0.0, implied)
    spots = _paths(4, 4_000, 3_000, years, 0.0, actual, 100.0)
    profit = _long_call_profit(spots, years, paid, implied)
    at_actual = _long_call_profit(spots, years, paid, actual)
    # The profit is a path's ½(σa² − σi²)∫S²Γ dt: positive, but not the same on every path.
    assert (profit > -0.1).all()
    assert profit.std() > 4 * at_actual.std()


def test_hedging_error_falls_like_one_over_the_square_root_of_the_number_of_hedges():
    counts = np.array([10, 20, 40, 80, 160, 320])
    paid = _call(100.0, 100.0, 0.25, 0.0, 0.2)
    errors = [
        _long_call_profit(_paths(5, 20_000, n, 0.25, 0.0, 0.2, 100.0), 0.25, paid, 0.2).std()
        for n in counts.tolist()
    ]
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.05)


# One long call on 100 shares, closed a tenth of its life before expiry, where theory and market part.
SHARES, COST = 100.0, 0.0005


def _risk_and_turnover(spots, years, wanted_of):
    """Standard deviation of the profit before costs, and the mean USD value traded."""
    steps = len(spots) - 1
    last = round(0.9 * steps)
    held, profit, traded = np.zeros(spots.shape[1]), np.zeros(spots.shape[1]), np.zeros(spots.shape[1])
    for step in range(last):
        left = years * (1 - step / steps)
        wanted = wanted_of(step, spots[step], left, SHARES * _delta(spots[step], 100.0, left, 0.0, 0.2), held)
        traded += np.abs(wanted - held) * spots[step]
        held = wanted
        profit += held * (spots[step + 1] - spots[step])
    profit += SHARES * _call(spots[last], 100.0, years * (1 - last / steps), 0.0, 0.2)
    return profit.std(), traded.mean()


def test_the_whalley_wilmott_band_trades_less_than_the_clock_at_equal_risk():
    spots = _paths(6, 4_000, 600, 0.25, 0.0, 0.2, 100.0)

    def band(step, spot, left, delta, held):
        gamma = SHARES * _gamma(spot, 100.0, left, 0.0, 0.2)
        width = whalley_wilmott_band(gamma, spot, left, COST, 0.02)
        net = delta + held
        return held + np.clip(net, -width, width) - net

    def clock(every):
        return lambda step, spot, left, delta, held: -delta if step % every == 0 else held

    risk, turnover = _risk_and_turnover(spots, 0.25, band)
    by_clock = np.array([_risk_and_turnover(spots, 0.25, clock(every)) for every in (1, 2, 4, 8, 16, 32)])
    assert by_clock[0, 0] < risk < by_clock[-1, 0]
    same_risk = np.exp(np.interp(np.log(risk), np.log(by_clock[:, 0]), np.log(by_clock[:, 1])))
    assert turnover < 0.75 * same_risk


def test_the_bands_as_built_keep_that_order_in_whole_shares():
    """The same comparison through ``judge`` and whole-share orders, on few paths."""
    spots = _paths(7, 60, 390, 0.25, 0.0, 0.2, 100.0)
    narrow = WhalleyWilmottBand(AversionConfig(risk_aversion=0.02, floor_shares_per_straddle=0.0))
    clock = TimeBasedBand(TimeBasedConfig(interval_seconds=1.0))
    fixed = FixedBand(FixedConfig(threshold=25.0))

    def through(judge):
        def wanted(step, spot, left, delta, held):
            gamma = SHARES * _gamma(spot, 100.0, left, 0.0, 0.2)
            quantities = []
            for net, g, s in zip((delta + held).tolist(), gamma.tolist(), spot.tolist(), strict=True):
                verdict = judge(HedgeInputs(net, g, s, left, 0.2, 0.0, 1, 100, 60.0, COST))
                quantities.append(
                    0 if verdict.inside else quantity_to_target(net, verdict.target_delta_shares)
                )
            return held + np.array(quantities)

        return wanted

    risks, turnovers = zip(
        *(_risk_and_turnover(spots, 0.25, through(band.judge)) for band in (clock, narrow, fixed)),
        strict=True,
    )
    assert risks[0] < risks[1] < risks[2]
    assert turnovers[0] > 1.5 * turnovers[1] > 1.5 * turnovers[2]
