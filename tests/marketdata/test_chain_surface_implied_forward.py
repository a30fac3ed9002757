import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.marketdata.chain_surface import (
    ForwardStatus,
    carried_forward,
    implied_forward,
)
from scalpdesk.marketdata.robust import weighted_median
from scalpdesk.pricing import greeks

STRIKES = np.arange(85.0, 116.0, 2.5)


def sides(style, *, years=0.25, rate=0.04, borrow=0.01, vol=0.3, spread=0.05, spot=100.0, dividends=None):
    prices = [
        greeks(
            spot,
            STRIKES,
            years,
            vol,
            is_call,
            rate=rate,
            dividend_yield=borrow,
            dividends=dividends,
            style=style,
        ).price
        for is_call in (True, False)
    ]
    call, put = prices
    return [call - spread / 2, call + spread / 2, put - spread / 2, put + spread / 2]


@pytest.mark.rows("style", ["european", "american"])
@pytest.mark.rows(("rate", "borrow"), [(0.04, 0.01), (0.05, 0.0), (0.0, 0.08), (0.03, 0.12), (0.01, 0.0097)])
def test_finds_the_forward_and_the_borrow(style, rate, borrow):
    found = implied_forward(
        STRIKES,
        *sides(style, rate=rate, borrow=borrow),
        spot=100.0,
        years=0.25,
        rate=rate,
        style=style,
    )
    assert found.status is ForwardStatus.OK
    assert found.forward == pytest.approx(100.0 * np.exp((rate - borrow) * 0.25), abs=2e-4)
    assert found.borrow == pytest.approx(borrow, abs=1e-5)
    assert found.pricing_spot == pytest.approx(100.0, abs=1e-12 if borrow else 1e-3)
    assert found.pricing_borrow == (found.borrow if borrow else 0.0)
    assert found.pairs_used == 9
    assert found.pairs_offered == len(STRIKES)


def test_american_parity_without_the_premium_taken_off_is_wrong():
    quotes = sides("american", rate=0.05, borrow=0.0)
    true = 100.0 * np.exp(0.05 * 0.25)
    raw = implied_forward(STRIKES, *quotes, spot=100.0, years=0.25, rate=0.05, style="european")
    right = implied_forward(STRIKES, *quotes, spot=100.0, years=0.25, rate=0.05, style="american")
    assert abs(raw.forward - true) > 50 * abs(right.forward - true)
    assert abs(raw.forward - true) > 0.02


@settings(deadline=None, max_examples=40)
@given(
    st.integers(3, len(STRIKES) - 4),
    st.integers(0, 3),
    st.floats(-8.0, 8.0),
    st.floats(0.2, 0.5),
    st.floats(-0.05, 0.1),
    st.sampled_from([0.01, 0.1, 0.4]),
)
def test_one_bad_quote_does_not_move_the_forward(at, side, error, vol, borrow, spread):
    quotes = sides("european", vol=vol, borrow=borrow, spread=spread)
    leg = 2 * (side // 2)
    # one leg, both sides: a stale quote that looks like any other
    quotes[leg][at] += error
    quotes[leg + 1][at] += error
    found = implied_forward(STRIKES, *quotes, spot=100.0, years=0.25, rate=0.04, style="european")
    assert found.forward == pytest.approx(100.0 * np.exp((0.04 - borrow) * 0.25), abs=0.25 * spread)


def test_one_bad_quote_does_not_move_an_american_forward():
    quotes = sides("american")
    quotes[0][6] += 2.0
    quotes[1][6] += 2.0
    found = implied_forward(STRIKES, *quotes, spot=100.0, years=0.25, rate=0.04)
    assert found.forward == pytest.approx(100.0 * np.exp(0.03 * 0.25), abs=2e-3)
    assert found.pairs_used == 8


def test_the_uncertainty_grows_with_the_spreads_and_the_scatter():
    def error(spread, noise=0.0):
        quotes = sides("european", spread=spread)
        shift = noise * np.random.default_rng(5).standard_normal(len(STRIKES))
        quotes[0] += shift
        quotes[1] += shift
        return implied_forward(
            STRIKES, *quotes, spot=100.0, years=0.25, rate=0.04, style="european"
        ).uncertainty

    assert error(0.02) < error(0.2)
    assert error(0.02) < error(0.02, noise=0.1)
    # nine pairs with the two half-spreads of each, a third of which counts as one standard deviation
    assert error(0.02) == pytest.approx(0.02 * np.exp(0.04 * 0.25) / 3.0 / 3.0, rel=1e-6)


def test_known_dividends_are_not_called_borrow():
    dividends = [(0.1, 1.5), (0.4, 9.0)]
    quotes = sides("european", borrow=0.02, dividends=dividends)
    found = implied_forward(
        STRIKES, *quotes, spot=100.0, years=0.25, rate=0.04, dividends=dividends, style="european"
    )
    assert found.borrow == pytest.approx(0.02, abs=1e-9)
    assert found.forward == pytest.approx((100.0 - 1.5 * np.exp(-0.004)) * np.exp(0.02 * 0.25), abs=1e-9)
    carried = carried_forward(100.0, 0.25, 0.04, dividends, 0.02)
    assert carried.forward == pytest.approx(found.forward, abs=1e-9)
    assert carried.status is ForwardStatus.ASSUMED


def test_missing_zero_and_crossed_sides_are_passed_over():
    quotes = sides("european")
    quotes[0][0], quotes[1][1], quotes[2][2] = np.nan, np.nan, 0.0
    quotes[2][3], quotes[3][3] = quotes[3][3], quotes[2][3]
    found = implied_forward(STRIKES, *quotes, spot=100.0, years=0.25, rate=0.04, style="european")
    assert found.pairs_offered == len(STRIKES) - 4
    nothing = implied_forward(STRIKES, *(side * np.nan for side in quotes), spot=100.0, years=0.25)
    assert nothing.status is ForwardStatus.NO_PAIRS
    assert np.isnan([nothing.forward, nothing.uncertainty, nothing.borrow]).all()


def test_one_pair_is_enough_in_the_last_minute():
    found = implied_forward([100.0], [0.10], [0.12], [0.05], [0.07], spot=100.04, years=60 / 365 / 86_400)
    assert found.forward == pytest.approx(100.05)
    assert found.uncertainty == pytest.approx(0.02)
    # a cent of difference between spot and forward is no borrow of minus 5000 % a year
    assert found.borrow < -50.0
    assert found.pricing_borrow == 0.0
    assert found.pricing_spot == pytest.approx(100.05, abs=1e-6)
    assert (found.pairs_used, found.pairs_offered) == (1, 1)


@pytest.mark.parametrize("spot", [98.0, 140.0])
def test_a_borrow_beyond_belief_is_a_spot_of_another_moment(spot):
    quotes = sides("european", borrow=0.0)
    found = implied_forward(STRIKES, *quotes, spot=spot, years=0.25, rate=0.04, style="european")
    assert not -0.05 <= found.borrow <= 1.0
    assert found.pricing_borrow == 0.0
    assert found.pricing_spot * np.exp(0.04 * 0.25) == pytest.approx(found.forward, rel=1e-12)


def test_early_exercise_knows_no_borrow_of_a_spot_that_is_late_in_the_last_hours():
    strikes, years = np.arange(765.0, 779.0), 5.0 / 24 / 365
    call, put = (
        greeks(771.0, strikes, years, 0.12, is_call, rate=0.037, style="american").price
        for is_call in (True, False)
    )
    quotes = call - 0.01, call + 0.01, put - 0.01, put + 0.01
    found = implied_forward(strikes, *quotes, spot=771.8, years=years, rate=0.037)
    assert found.borrow > 1.5
    # calls at a yield of 100 % are exercised, and have no gamma, from three dollars in the money on
    assert found.pricing_borrow == 0.0
    assert found.pricing_spot == pytest.approx(771.0, abs=0.01)


def test_the_weighted_median_is_where_half_the_weight_is():
    values = np.array([5.0, 1.0, 3.0])
    assert weighted_median(values, np.ones(3)) == 3.0
    assert weighted_median(values, np.array([10.0, 1.0, 1.0])) == 5.0
    assert weighted_median(values[:2], np.ones(2)) == 3.0


@pytest.mark.rows(("spot", "years"), [(0.0, 0.1), (100.0, 0.0), (float("nan"), 0.1), (100.0, -1.0)])
def test_a_spot_or_time_that_is_none_is_refused(spot, years):
    with pytest.raises(ArgumentError):
        implied_forward([100.0], [1.0], [1.1], [1.0], [1.1], spot=spot, years=years)


def test_lists_of_different_lengths_and_a_rate_that_is_none_are_refused_by_name():
    with pytest.raises(ArgumentError, match="put_bid"):
        implied_forward([100.0, 101.0], [1.0] * 2, [1.1] * 2, [1.0], [1.1] * 2, spot=100.0, years=0.1)
    with pytest.raises(ArgumentError, match="rate"):
        implied_forward([100.0], [1.0], [1.1], [1.0], [1.1], spot=100.0, years=0.1, rate=float("nan"))


@pytest.mark.parametrize("times", [1.03, 1.05])
def test_no_forward_is_known_where_no_pair_has_a_volatility_at_the_spot(times):
    """A stub quote of the share: every call is below what its exercise would pay, or every put."""
    strikes, vol, spot, years = np.arange(241.0, 247.0), 0.09, 243.5, 42 / 365
    call, put = (greeks(spot, strikes, years, vol, is_call, style="european").price for is_call in (1, 0))
    quotes = call - 0.01, call + 0.01, put - 0.01, put + 0.01
    found = implied_forward(strikes, *quotes, spot=spot * times, years=years)
    assert (found.status, found.pairs_offered) == (ForwardStatus.NO_PAIRS, 6)
    assert np.isnan([found.forward, found.uncertainty, found.borrow, found.pricing_spot]).all()


@given(
    rows=st.lists(
        st.tuples(st.floats(1.0, 400.0), *[st.floats(0.0, 300.0) | st.just(float("nan"))] * 4),
        min_size=1,
        max_size=6,
    ),
    spot=st.floats(0.01, 5_000.0),
    years=st.floats(1e-7, 3.0),
    rate=st.floats(-0.05, 0.3),
    paid=st.none() | st.tuples(st.floats(1e-6, 3.0), st.floats(0.0, 200.0)),
    style=st.sampled_from(["american", "european"]),
)
@settings(deadline=None)
def test_whatever_is_quoted_the_forward_is_above_zero_or_not_known(rows, spot, years, rate, paid, style):
    columns = np.array(rows).T
    dividends = None if paid is None else [paid]
    found = implied_forward(*columns, spot=spot, years=years, rate=rate, dividends=dividends, style=style)
    if found.status is ForwardStatus.NO_PAIRS:
        assert np.isnan(found.forward)
    else:
        assert min(found.forward, found.pricing_spot) > 0.0
        assert np.isfinite([found.uncertainty, found.borrow, found.pricing_borrow]).all()
