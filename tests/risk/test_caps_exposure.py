import math
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Future
from scalpdesk.instruments.deribit import deribit_option, perpetual
from scalpdesk.instruments.ticks import CENT_TICK
from scalpdesk.portfolio.delta_engine import OptionState
from scalpdesk.pricing.base import OptionGreeks
from scalpdesk.risk.caps import (
    GreekExposure,
    HeldAndWorking,
    Marks,
    UnknownExposure,
    cut_to_caps,
    exposure_of,
    largest_within,
    rooms,
)
from scalpdesk.risk.limits import RiskLimits
from scalpdesk_testing.kit.instruments import option, share

CALL, PUT, SHARE = option("C"), option("P"), share()
FIGURES = st.floats(-1e7, 1e7, allow_nan=False)
EXPOSURES = st.builds(GreekExposure, FIGURES, FIGURES, FIGURES, FIGURES)
FRACTIONS = st.none() | st.floats(0.001, 1.0)
LIMITS = st.builds(
    lambda delta, gamma, vega, theta: RiskLimits(
        max_net_delta_fraction=delta,
        max_bought_delta_fraction=None,
        max_gamma_fraction=gamma,
        max_bought_gamma_fraction=None if gamma is None else 2 * gamma,
        max_vega_fraction=vega,
        max_theta_fraction=theta,
    ),
    *[FRACTIONS] * 4,
)


def valued(delta=0.5, gamma=0.01, theta=-20.0, vega=60.0, *, mark=10.0, spot=500.0, years=0.1):
    greeks = OptionGreeks(
        price=mark, delta=delta, gamma=gamma, theta=theta, vega=vega, rho=0.0, vanna=0.0, volga=0.0, charm=0.0
    )
    return OptionState(
        mark,
        spot,
        years,
        0.0,
        0.2,
        vol_is_fresh=True,
        contract=None,
        pricer=None,
        known_vol=0.2,
        known_greeks=greeks,
    )


def exposure(lines, valuation=None, mark=500.0, betas=None):
    return exposure_of(lines, Marks(lambda _: valuation, lambda _: mark), betas or {})


# what is counted -----------------------------------------------------------------------------------


def test_options_and_shares_are_added_up_in_currency():
    found = exposure([(1, CALL, 2.0), (0, SHARE, -40.0)], valued())
    assert found.delta_usd == pytest.approx(2 * 100 * 0.5 * 500 - 40 * 500)
    assert found.gamma_usd_per_percent == pytest.approx(2 * 100 * 0.01 * 500**2 / 100)
    assert found.vega_usd_per_point == pytest.approx(
        2 * 100 * 0.60 * (30.0 / 36.5) ** 0.5
    )  # of 36.5 days to 30
    assert found.theta_usd_per_day == pytest.approx(-2 * 100 * 20 / 365)


@pytest.mark.rows(
    ("days", "weight"), [(120.0, 0.5), (30.0, 1.0), (7.5, 2.0), (1.0, 30.0**0.5), (0.1, 30.0**0.5)]
)
def test_vegas_of_unlike_expiries_are_summed_by_the_root_of_time(days, weight):
    far, near = valued(vega=60.0, years=days / 365), valued(vega=60.0, years=30 / 365)
    lines = [(1, CALL, 3.0), (2, PUT, -1.0)]
    found = exposure_of(lines, Marks({1: far, 2: near}.get, lambda _: 500.0), {})
    assert found.vega_usd_per_point == pytest.approx(100 * 0.60 * (3.0 * weight - 1.0))


def test_a_beta_weighs_delta_once_and_gamma_twice():
    plain, weighted = (exposure([(1, CALL, 1.0)], valued(), betas=one) for one in ({}, {"SPY": 2.0}))
    assert weighted.delta_usd == 2 * plain.delta_usd
    assert weighted.gamma_usd_per_percent == 4 * plain.gamma_usd_per_percent
    assert weighted.vega_usd_per_point == plain.vega_usd_per_point
    assert exposure([(0, SHARE, 3.0)], betas={"SPY": 1.5}).delta_usd == 3 * 500 * 1.5


def test_an_account_in_coin_counts_coins():
    """A delta of an inverse option is coin already; a perpetual is its dollars over the price."""
    inverse = deribit_option("BTC-27MAR26-90000-C")
    of_call = valued(delta=0.45, gamma=5e-6, theta=-0.4, vega=0.1, mark=0.05, spot=90_000.0)
    found = exposure([(1, inverse, 2.0), (0, perpetual("BTC"), -4_500.0)], of_call, mark=90_000.0)
    assert found.delta_usd == pytest.approx(2 * 0.45 - 0.5)
    assert found.gamma_usd_per_percent == pytest.approx(2 * 5e-6 * 900.0)
    assert found.vega_usd_per_point == pytest.approx(2 * 0.001 * (30.0 / 36.5) ** 0.5)
    assert found.theta_usd_per_day == pytest.approx(-2 * 0.4 / 365)


def test_a_future_counts_its_currency_a_point():
    """Two contracts at 50 dollars a point move by 500,000 dollars times what the index does, at 5,000."""
    future = Future("ESH4", "ES", date(2024, 3, 15), CENT_TICK, multiplier=50)
    assert exposure([(0, future, 2.0)], mark=5_000.0).delta_usd == 2 * 50 * 5_000.0


@pytest.mark.rows(
    ("one", "mark", "spot", "most"),
    [(CALL, 10.0, 500.0, 10.0), (CALL, 10.0, 507.0, 3.0), (PUT, 10.0, 493.0, 3.0), (CALL, 2.0, 507.0, 0.0)],
)
def test_no_more_than_the_time_value_decays_in_a_day(one, mark, spot, most):
    found = exposure([(1, one, 1.0)], valued(theta=-365.0 * 1000, mark=mark, spot=spot))
    assert found.theta_usd_per_day == pytest.approx(-100 * most)


def test_what_has_no_greeks_or_price_is_unknown_and_named():
    assert exposure([(1, CALL, 1.0)]) == UnknownExposure(f"the Greeks of {CALL.symbol} are not known")
    assert exposure([(0, SHARE, 1.0)], mark=None) == UnknownExposure("SPY was never quoted")
    assert exposure([(1, CALL, 1.0)], valued(gamma=math.nan)) == UnknownExposure(
        "the Greeks of the book are not numbers"
    )
    assert exposure([]) == GreekExposure()


# caps ----------------------------------------------------------------------------------------------


def caps(only_buys=False, **limits):
    return rooms(RiskLimits(**limits), 100_000.0, only_buys_options=only_buys)


def test_the_caps_are_shares_of_equity():
    delta, gamma, vega, theta = caps()
    assert (delta.low, delta.high) == (-20_000, 20_000)
    assert (gamma.low, gamma.high) == (-10_000, 1_000_000)
    assert (vega.low, vega.high) == (-2_000, 2_000)
    assert (theta.low, theta.high) == (-1_000, math.inf)  # only a long book pays theta
    assert caps(only_buys=True)[0].high == 500_000


def test_a_cap_that_is_none_bounds_nothing_and_an_account_without_equity_allows_nothing():
    off = caps(max_vega_fraction=None)[2]
    assert (off.low, off.high) == (-math.inf, math.inf)
    broke = rooms(RiskLimits(), -5.0, only_buys_options=False)
    assert all(room.low == 0.0 for room in broke)


def test_the_tightest_cap_is_the_one_that_is_named():
    found = largest_within(GreekExposure(), GreekExposure(1_000.0, 0.0, 1_000.0, 0.0), 50, caps())
    assert (found[0], [one.key for one in found[1]]) == (2, ["risk.max_vega_fraction"])


FOLDS = st.floats(-2.0, 0.0)


@given(EXPOSURES, st.tuples(FOLDS, FOLDS, FOLDS, FOLDS), st.integers(1, 500), LIMITS, st.floats(0.0, 1e6))
def test_a_trade_that_raises_no_greek_always_passes(before, folds, sets, limits, equity):
    """From nothing at all up to turning the exposure round: no Greek is larger afterwards."""
    per_set = GreekExposure(*(start * fold / sets for start, fold in zip(before, folds, strict=True)))
    assert largest_within(before, per_set, sets, rooms(limits, equity, only_buys_options=False)) == (sets, ())


def fits(before, per_set, sets, limit_rooms):
    """Whether every Greek ends within its room, or no farther out than it was."""
    for start, step, room in zip(before, per_set, limit_rooms, strict=True):
        end = start + sets * step
        if not (room.low - 1e-6 <= end <= room.high + 1e-6 or abs(end) <= abs(start)):
            return False
    return True


WHOLE = st.integers(-100_000, 100_000).map(float)
WHOLE_EXPOSURES = st.builds(GreekExposure, WHOLE, WHOLE, WHOLE, WHOLE)


@given(WHOLE_EXPOSURES, WHOLE_EXPOSURES, st.integers(1, 60), LIMITS)
def test_the_cut_is_the_largest_that_keeps_within_all_caps(before, per_set, sets, limits):
    limit_rooms = rooms(limits, 100_000.0, only_buys_options=False)
    allowed, binding = largest_within(before, per_set, sets, limit_rooms)
    assert allowed == max(count for count in range(sets + 1) if fits(before, per_set, count, limit_rooms))
    assert bool(binding) is (allowed < sets)


# one underlying beside others -----------------------------------------------------------------------


def cut(book, *, fraction=1.0, bought=5.0):
    """Return what is left of ten QQQ calls bought beside a book, on an account of 100,000."""
    limits = RiskLimits(
        max_bought_delta_fraction=bought,
        max_bought_gamma_fraction=None,
        max_gamma_fraction=None,
        max_vega_fraction=None,
        max_theta_fraction=None,
        max_underlying_fraction=fraction,
    )
    calls = OrderIntent(InstrumentId(9), Side.BUY, Decimal(10), Purpose.OPEN, "test")
    marks = Marks(lambda _: valued(), lambda _: 500.0)
    return cut_to_caps(HeldAndWorking(book), [(calls, option("C", root="QQQ"))], limits, 100_000.0, marks)


def test_what_one_underlying_takes_is_capped_however_another_offsets_it():
    per_call = 100 * 0.5 * 500.0 * 1.14  # beta-weighted: QQQ moves 1.14 times as the index
    room = 5.0 * 100_000.0
    assert 10 * per_call < room  # alone all go
    assert cut([]) is None
    held = (8, option("C", root="QQQ"), 15.0)
    offset = (1, PUT, 0.0), (0, SHARE, -15 * per_call / 500.0)
    alone = cut([held])
    assert alone.sets == int((room - 15 * per_call) / per_call) == 2
    beside = cut([held, *offset])
    assert beside.sets == 2
    assert beside.reason.startswith("QQQ alone: net delta would be")
    assert cut([held, *offset], fraction=None) is None
    assert cut([held], fraction=0.9).sets == int((0.9 * room - 15 * per_call) / per_call)


def test_both_underlyings_count_in_the_sum():
    per_call, room = 100 * 0.5 * 500.0 * 1.14, 5.0 * 100_000.0
    spy = (1, CALL, 15.0)
    left = (room - 15 * 100 * 0.5 * 500.0) / per_call
    assert cut([spy]).sets == int(left) == 4


# a hedge in shares ----------------------------------------------------------------------------------


class Priced:
    """Marks that count how often an option was valued."""

    def __init__(self, mark=500.0, **greeks):
        self.valued = 0
        self._mark, self._greeks = mark, greeks

    def marks(self):
        def value(_):
            self.valued += 1
            return valued(**self._greeks)

        return Marks(value, lambda _: self._mark)


def hedged(quantity, book=(), *, side=Side.BUY, one=SHARE, priced=None, equity=100_000.0, **limits):
    intent = OrderIntent(InstrumentId(0), side, Decimal(quantity), Purpose.HEDGE, "test")
    priced = priced or Priced()
    return cut_to_caps(
        HeldAndWorking(list(book)), [(intent, one)], RiskLimits(**limits), equity, priced.marks()
    )


def test_a_hedge_that_fits_with_every_unit_at_a_delta_of_one_prices_no_option():
    priced = Priced()
    book = [(1, CALL, 0.1), (2, PUT, -0.1), (0, SHARE, -10.0)]  # 10 and 10 and 10 shares, and 10 more: 20,000
    assert hedged(10, book, priced=priced) is None
    assert priced.valued == 0
    assert hedged(11, book, priced=priced) is None  # 0.5 of a call less 0.5 of a put, and one share
    assert priced.valued > 0


def test_a_hedge_beyond_the_cap_is_cut_to_it():
    assert hedged(40) is None  # 20 000 is a fifth of the equity
    cut = hedged(41)
    assert (cut.sets, cut.reason) == (
        40,
        "net delta would be 20500 (now 0), cap 20000 (risk.max_net_delta_fraction)",
    )
    assert hedged(41, side=Side.SELL).sets == 40
    assert hedged(41, side=Side.SELL, book=[(0, SHARE, 1.0)]) is None
    assert hedged(1_000, max_net_delta_fraction=None) is None
    assert hedged(40, equity=99_999.0).sets == 39


def test_a_hedge_beside_another_underlying_is_weighed_by_its_beta():
    """30 shares of QQQ at a beta of 1.14 are 17,100: 5 of SPY fit, and 40 of SPY alone fill their share."""
    priced = Priced()
    other = (5, share("QQQ"), 30.0)
    assert hedged(5, [other], priced=priced) is None
    assert hedged(6, [other]).sets == 5
    beta_of_one = hedged(11, [other], betas={"QQQ": 1.0})
    assert beta_of_one.sets == 10
    assert hedged(36, one=share("QQQ")).sets == 35  # 36 x 500 x 1.14 is more than 20 000
    assert hedged(35, one=share("QQQ")) is None


def test_what_hedges_in_an_underlying_s_place_counts_with_its_options():
    """Sold against 100 deltas of SPY: alone the 60 would be 30,000, beside them they lower the delta."""
    calls, fund = (1, CALL, 2.0), share("VOO")
    intent = OrderIntent(InstrumentId(5), Side.SELL, Decimal(60), Purpose.HEDGE, "test")
    priced = Priced()
    cuts = [
        cut_to_caps(
            HeldAndWorking([calls]), [(intent, fund)], RiskLimits(), 100_000.0, priced.marks(), hedges
        )
        for hedges in ({InstrumentId(5): "SPY"}, {})
    ]
    assert cuts[0] is None
    assert cuts[1].sets == 40


def test_a_hedge_of_what_was_never_quoted_does_not_go():
    cut = hedged(1, priced=Priced(mark=None))
    assert (cut.sets, cut.reason) == (0, "the exposure is not known: SPY was never quoted")
    unknown = cut_to_caps(
        HeldAndWorking(),
        [(OrderIntent(InstrumentId(1), Side.BUY, Decimal(1), Purpose.OPEN, "test"), CALL)],
        RiskLimits(),
        100_000.0,
        Marks(lambda _: None, lambda _: 500.0),
    )
    assert unknown.reason == f"the exposure is not known: the Greeks of {CALL.symbol} are not known"


def test_an_option_of_another_underlying_is_priced_for_a_hedge():
    priced = Priced(delta=-1.0)
    held = (5, option("P", root="QQQ"), 1.0)  # -100 x 500 x 1.14 dollars: 40 shares of SPY lower that
    assert hedged(40, [held], priced=priced) is None
    assert priced.valued > 0


def opened(intents, book=(), **limits):
    trade = [
        (OrderIntent(InstrumentId(number), side, Decimal(quantity), Purpose.OPEN, "test"), one)
        for number, one, side, quantity in intents
    ]
    marks = Marks(lambda _: valued(gamma=0.0, theta=0.0, vega=0.0), lambda _: 500.0)
    return cut_to_caps(HeldAndWorking(list(book)), trade, RiskLimits(**limits), 100_000.0, marks)


def test_a_trade_that_only_buys_options_may_leave_the_wider_delta():
    calls = [(1, CALL, Side.BUY, 4), (2, CALL, Side.BUY, 8)]  # 12 x 25 000 dollars of delta
    assert opened(calls) is None
    assert opened([(1, CALL, Side.BUY, 20)]) is None
    assert opened([(1, CALL, Side.BUY, 21)]).sets == 20
    assert opened([(1, CALL, Side.SELL, 1)]).sets == 0
    assert opened([(1, CALL, Side.BUY, 4), (0, SHARE, Side.BUY, 1)]).sets == 0
    assert opened([(1, CALL, Side.BUY, 4), (2, CALL, Side.SELL, 4)]) is None


def test_the_legs_of_a_trade_are_cut_together():
    cut = opened([(1, CALL, Side.BUY, 14), (2, CALL, Side.BUY, 28)])
    assert cut.sets == 6  # of 14: each set has three calls, of 75 000 dollars


def test_what_one_underlying_takes_may_be_less_than_all():
    half = opened([(1, CALL, Side.BUY, 12)], max_underlying_fraction=0.5)
    assert half.sets == 10
    assert half.reason == (
        "SPY alone: net delta would be 300000 (now 0), cap 250000 (risk.max_bought_delta_fraction)"
        " (risk.max_underlying_fraction 0.5)"
    )
    both = opened([(1, CALL, Side.BUY, 24)], max_underlying_fraction=1.0)
    assert (both.sets, both.reason.startswith("net delta")) == (20, True)
    beside = opened([(1, CALL, Side.BUY, 24)], [(0, share("QQQ"), 1.0)])
    assert (beside.sets, beside.reason.startswith("net delta")) == (19, True)
