import dataclasses
import math
from datetime import date, time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.deribit import deribit_option
from scalpdesk.instruments.sessions import new_york_ns, session_on
from scalpdesk.portfolio.risk_book import SMILES, RiskBook, RiskLeg, RiskPart, risk_leg, step_instants
from scalpdesk.pricing import greeks
from scalpdesk.volatility.filtered_moves import term_loading
from scalpdesk.volatility.variance_time import CALENDAR, US_SESSIONS

YEARS = (0.1, 0.096, 0.08)
MOVES = np.linspace(-0.1, 0.1, 9)


def leg(**changes):
    """Return a call over ten shares' worth of contracts, its terms changed."""
    terms = {
        "symbol": "call",
        "strike": 102.0,
        "is_call": True,
        "units": 1_000.0,
        "vol": 0.2,
        "forward": 100.0,
        "years": YEARS,
        "clock_years": YEARS,
        "rate": 0.03,
        "dividend_yield": 0.01,
    }
    return RiskLeg(**{**terms, **changes})


def part(*legs, **changes):
    return RiskPart(**{"underlying": "SPY", "spot": 100.0, "legs": legs, **changes})


def skew(log_moneyness):
    return 0.2 - 0.5 * log_moneyness


@pytest.mark.rows("style", ["american", "european"])
@pytest.mark.rows("is_call", [True, False])
def test_pnl_is_that_of_the_options_priced_there(style, is_call):
    option = leg(style=style, is_call=is_call)

    def worth(spots, years, vol):
        terms = {"rate": 0.03, "dividend_yield": 0.01, "style": style}
        return 1_000.0 * greeks(spots, 102.0, years, vol, is_call, **terms).price - 300.0 * spots

    spots = 100.0 * (1 + MOVES)
    for change in (-0.05, 0.0, 0.1):
        for step in (0, 1):
            found = part(option, shares=-300.0).pnl(
                spots, np.zeros(1), step=step, smile="sticky-strike", vol_points=change
            )
            expected = worth(spots, YEARS[step], 0.2 + change * (30.0 / 365.0 / YEARS[0]) ** 0.5) - worth(
                np.array(100.0), 0.1, 0.2
            )
            assert found == pytest.approx(expected, abs=1e-6)


@settings(max_examples=20)
@given(st.floats(-5_000, 5_000), st.sampled_from(SMILES), st.floats(0.05, 0.8))
def test_a_book_unmoved_earns_nothing_and_one_n_times_as_large_n_times_as_much(units, smile, vol):
    book = part(leg(units=units, vol=vol, smile=skew), shares=units)
    assert book.pnl(100.0, 0.0, smile=smile)[0] == pytest.approx(0.0, abs=1e-9)
    twice = part(leg(units=2 * units, vol=vol, smile=skew), shares=2 * units)
    moved, vols = 100.0 * (1 + MOVES), np.full(len(MOVES), 0.1)
    assert twice.pnl(moved, vols, smile=smile) == pytest.approx(
        2 * book.pnl(moved, vols, smile=smile), abs=1e-6
    )


def test_a_delta_one_book_earns_its_exposure_times_the_return():
    returns = np.array([-0.05, 0.0, 0.02])
    book = RiskBook(as_of_ns=0, parts=(part(shares=30.0), part(underlying="QQQ", spot=50.0, shares=-10.0)))
    found = book.pnl([returns, -returns], np.full(3, 0.4))
    assert found == pytest.approx(3_000.0 * np.expm1(returns) - 500.0 * np.expm1(-returns))


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0.02, 50.0), st.floats(-900, 900), st.floats(-900, 900), st.sampled_from([2.0, 100.0, 4_000.0])
)
def test_the_greeks_of_a_book_are_the_slopes_of_its_worth_while_all_its_underlyings_move_alike(
    ratio, shares, units, main
):
    spot, step = 100.0 * ratio, 1e-4
    other = leg(strike=97.0 * ratio, forward=spot, units=units / ratio, is_call=False, style="european")
    parts = (
        part(leg(style="european"), shares=shares),
        part(other, underlying="QQQ", spot=spot, shares=-units),
    )
    book, still = RiskBook(as_of_ns=0, parts=parts), np.zeros(2)
    delta, gamma, _, vega = book.greeks(0, main, "sticky-strike")
    up, down = book.pnl([np.log1p([step, -step])] * 2, still, smile="sticky-strike")
    near = pytest.approx
    assert delta * main == near((up - down) / (2 * step), rel=1e-3, abs=50.0)
    assert gamma * main**2 == near((up + down) / step**2, rel=1e-3, abs=50.0)
    higher, lower = book.pnl([still] * 2, still, smile="sticky-strike", vol_points=np.array([step, -step]))
    assert vega * 100.0 == near((higher - lower) / (2 * step), rel=1e-3, abs=1.0)


def test_inverse_futures_are_worth_their_dollars_in_coin():
    held = part(spot=50_000.0, inverse_usd=100_000.0)
    assert held.pnl(55_000.0, 0.0)[0] == pytest.approx(100_000 * (1 / 50_000 - 1 / 55_000))
    delta, gamma, *_ = held.greeks(0, SMILES[0])
    assert (delta, gamma) == pytest.approx((2.0, -2.0 / 50_000))  # coins, and what a dollar takes of them


def test_an_inverse_option_is_priced_on_the_forward_that_goes_with_the_spot():
    at = new_york_ns(date(2025, 1, 6), time(12))
    contract = deribit_option("BTC-31JAN25-100000-C")
    option = risk_leg(
        contract,
        2.0,
        vol=0.6,
        spot=99_000.0,
        instants=(at,) * 3,
        clock_years=CALENDAR.years,
        forward=99_990.0,
    )
    found = part(option, spot=99_000.0).pnl(108_900.0, 0.0, smile="sticky-strike")[0]
    now, then = (
        greeks(forward, 100_000.0, option.years[0], 0.6, True, model="inverse", style="european").price
        for forward in (99_990.0, 109_989.0)
    )
    assert found == pytest.approx(2.0 * float(then - now), abs=1e-9)


def test_sticky_delta_moves_the_smile_with_the_spot_and_sticky_strike_does_not():
    option, spots, nothing = leg(smile=skew), 100.0 * (1 + MOVES), np.zeros(len(MOVES))
    here = math.log(1.02)
    moved = option.vols(100.0, spots, nothing, 0, "sticky-delta", nothing)
    assert moved == pytest.approx(0.2 * skew(here - np.log1p(MOVES)) / skew(here))
    assert option.vols(100.0, spots, nothing, 0, "sticky-strike", nothing) == pytest.approx(np.full(9, 0.2))
    flat = leg(smile=lambda k: np.full(np.shape(k), 0.3))
    moves = spots, np.full(9, 0.1)
    assert part(flat).pnl(*moves) == pytest.approx(part(flat).pnl(*moves, smile="sticky-strike"))


def test_the_level_of_the_smile_goes_by_the_term_of_the_option():
    at = np.array([0.3])
    for days in (2, 30, 200):
        years = (days / 365,) * 3
        found = leg(years=years, clock_years=years).vols(100.0, np.array([100.0]), at, 0, SMILES[0], at * 0)
        assert found[0] == pytest.approx(0.2 * math.exp(0.3 * term_loading(days / 365, 12.0)))


def test_time_takes_what_the_variance_clock_takes():
    """Over a weekend the calendar passes three days, the clock one session."""
    option = leg(years=(30 / 365, 27 / 365, 0.0), clock_years=(20 / 252, 19 / 252, 0.0))
    nothing = np.zeros(1)
    vol = option.vols(100.0, np.array([100.0]), nothing, 1, SMILES[0], nothing)[0]
    assert vol**2 * 27 / 365 == pytest.approx(0.2**2 * 30 / 365 * 19 / 20)
    expired = part(option).pnl(105.0, 0.0, step=2)[0]
    now = greeks(100.0, 102.0, 30 / 365, 0.2, True, rate=0.03, dividend_yield=0.01).price
    assert expired == pytest.approx(1_000 * (3.0 - float(now)))


def test_cash_dividends_are_repriced_to_a_fraction_of_a_cent_for_many_scenarios():
    dividends = ((0.05, 1.5),)
    option = leg(strike=100.0, dividends=dividends, dividend_yield=0.0, years=(0.1,) * 3)
    rng = np.random.default_rng(1)
    spots, vols = 100.0 * np.exp(0.02 * rng.standard_normal(260)), 0.1 * rng.standard_normal(260)
    many = part(option).pnl(spots, vols, smile="sticky-strike")
    few = part(option).pnl(spots[:10], vols[:10], smile="sticky-strike")
    assert many[:10] / 1_000 == pytest.approx(few / 1_000, abs=2e-4)
    exact = greeks(
        spots[0],
        100.0,
        0.1,
        0.2 * math.exp(vols[0] * term_loading(0.1, 12.0)),
        True,
        rate=0.03,
        dividends=dividends,
    )
    base = greeks(100.0, 100.0, 0.1, 0.2, True, rate=0.03, dividends=dividends)
    assert few[0] / 1_000 == pytest.approx(float(exact.price - base.price), abs=1e-9)


def test_cash_dividends_come_nearer_and_at_its_expiry_an_option_is_worth_its_payoff():
    years, spots, vols = (0.1, 0.06, 0.04, 0.0), 100.0 * (1 + MOVES), np.full(len(MOVES), 0.2)
    put = leg(is_call=False, dividends=((0.05, 3.0),), dividend_yield=0.0, years=years, clock_years=years)
    for step, left in enumerate(([(0.05, 3.0)], [(0.01, 3.0)], [], [])):
        expected = greeks(spots, 102.0, years[step], 0.2, False, rate=0.03, dividends=left).price
        assert put.values(spots, vols, step) == pytest.approx(1_000.0 * expected, abs=1e-6)


def test_the_next_session_is_the_same_time_of_day_and_not_after_its_close():
    friday = new_york_ns(date(2018, 2, 2), time(15))
    now, following, fifth = step_instants(friday, always_open=False)
    assert (now, following) == (friday, new_york_ns(date(2018, 2, 5), time(15)))
    assert fifth == new_york_ns(date(2018, 2, 9), time(15))
    before_half = new_york_ns(date(2017, 11, 22), time(15))
    assert step_instants(before_half, always_open=False)[1] == session_on(date(2017, 11, 24)).close_ns
    assert step_instants(friday, always_open=True)[1] == friday + 86_400 * 10**9


def test_a_leg_takes_its_terms_from_the_contract_and_the_clock():
    at = new_york_ns(date(2018, 2, 5), time(12))
    instants = step_instants(at, always_open=False)
    contract = us_option("SPY180206P00265000")
    option = risk_leg(
        contract, -3.0, vol=0.3, spot=264.0, instants=instants, clock_years=US_SESSIONS.years, rate=0.02
    )
    assert (option.units, option.strike, option.style) == (-300.0, 265.0, "american")
    assert option.years[1] == pytest.approx(4 / 24 / 365)
    assert option.years[2] == option.clock_years[2] == 0.0
    assert option.clock_years[0] > option.clock_years[1] > 0.0
    assert option.forward == pytest.approx(264.0 * math.exp(0.02 * option.years[0]))


def test_bad_scenarios_are_refused():
    for words in ({"spots": 0.0}, {"spots": math.nan}, {"spots": 100.0, "smile": "sticky"}):
        with pytest.raises(ArgumentError):
            part(leg()).pnl(**{"vol_moves": 0.0, **words})


def test_the_parts_of_a_book_are_fields_that_can_be_replaced():
    shares = dataclasses.replace(part(), shares=5.0)
    assert shares.pnl(101.0, 0.0)[0] == pytest.approx(5.0)
