"""Far from exercise the American kernel neither computes with subnormal numbers nor adds what is no price."""

import ctypes
import ctypes.util
import platform
import sys

import numpy as np
import pytest

from scalpdesk.pricing import greeks
from scalpdesk.pricing.american import tables_for
from scalpdesk.pricing.base import checked_inputs
from scalpdesk.pricing.kernels.american import fill_american, sort_by_method
from scalpdesk.pricing.kernels.american_iv import fill_premiums, fill_table_iv
from scalpdesk.pricing.kernels.european import fill_european

UNDERFLOW = {"x86_64": 16, "aarch64": 8}.get(platform.machine())  # FE_UNDERFLOW of <fenv.h>
SMALLEST_NORMAL = sys.float_info.min


@pytest.fixture(scope="module", params=["chain", "random"])
def contracts(request):
    """Terms of a chain of 400 from an hour to sixty days, or of 1,000 random contracts, with their tables."""
    rng = np.random.default_rng(7)
    if request.param == "chain":
        days, strike, call = (
            axis.ravel()
            for axis in np.meshgrid([1 / 24, 1 / 6, 1, 3, 7, 14, 30, 60], np.linspace(80, 120, 25), [0, 1])
        )
        years, vol, rate, dividend_yield = days / 365.0, rng.uniform(0.12, 0.80, days.size), 0.04, 0.013
    else:
        count = 1000
        strike, call = 100.0 * np.exp(rng.normal(0.0, 0.25, count)), rng.random(count) < 0.5
        years, vol = 10.0 ** rng.uniform(-4.0, 0.5, count), 10.0 ** rng.uniform(-1.3, 0.3, count)
        rate = rng.choice([0.001, 0.02, 0.05, 0.1], count)
        dividend_yield = rng.choice([0.001, 0.013, 0.05, 0.12], count)
    inputs = checked_inputs(100.0, strike, years, vol, call == 1, rate=rate, dividend_yield=dividend_yield)
    terms = inputs.terms(futures=False)
    slots, remembered = np.empty(strike.size, dtype=np.int64), np.empty(strike.size)
    sort_by_method(terms, slots, remembered)
    tables, bounds = tables_for((*terms[:3], remembered, *terms[4:]), False, slots)
    assert slots.min() >= -1  # none is priced by finite differences
    return terms, slots, tables, bounds


def underflows(count, priced):
    """Return the contracts at which the processor itself notes a result too small for a normal number."""
    if UNDERFLOW is None or sys.platform == "win32":
        pytest.skip("the flags of this processor are unknown")
    flags = ctypes.CDLL(ctypes.util.find_library("m"))
    found = []
    for index in range(count):
        priced(slice(index, index + 1))
        flags.feclearexcept(UNDERFLOW)
        priced(slice(index, index + 1))
        if flags.fetestexcept(UNDERFLOW):
            found.append(index)
    return found


def test_no_price_or_greek_meets_a_subnormal_number(contracts):
    terms, slots, tables, bounds = contracts
    american, european = np.empty((9, slots.size)), np.empty((9, slots.size))

    def price_one(at):
        given = tuple(np.ascontiguousarray(values[at]) for values in terms)
        one = np.empty((9, 1))
        fill_european(given, False, one)
        european[:, at] = one
        fill_american(given, False, slots[at].copy(), tables, bounds, one)
        american[:, at] = one

    assert underflows(slots.size, price_one) == []
    for found in (american, european):
        size = np.abs(found[found != 0.0])
        assert size.min() >= SMALLEST_NORMAL


def test_no_implied_volatility_or_premium_meets_a_subnormal_number(contracts):
    (phi, spot, strike, years, vol, rate, dividend_yield), slots, tables, bounds = contracts
    terms = phi, spot, strike, years, vol, rate, dividend_yield
    columns = np.empty((9, slots.size))
    fill_american(terms, False, slots, tables, bounds, columns)
    with_time_value = np.flatnonzero(
        (columns[0] > np.maximum(phi * (spot - strike), 0.0) + 0.005) & (slots >= 0)
    )
    given = [
        np.ascontiguousarray(values[with_time_value])
        for values in (columns[0], phi, spot, strike, years, rate, dividend_yield, 1.02 * vol, slots, vol)
    ]
    found, verdict, premium = np.empty(1), np.zeros(1, dtype=np.int64), np.empty(1)

    def invert_one(at):
        price, side, s, k, t, r, q, first, slot, v = (values[at].copy() for values in given)
        fill_table_iv((price, side, s, k, t, r, q), first, slot, tables, bounds, found, verdict)
        fill_premiums((side, s, k, t, v, r, q), t, slot, tables, bounds, premium)

    assert with_time_value.size > 200
    assert underflows(with_time_value.size, invert_one) == []


@pytest.mark.rows("call", [True, False])
@pytest.mark.rows(("rate", "dividend_yield"), [(0.04, 0.013), (0.02, 0.07), (0.05, 0.05)])
@pytest.mark.rows("years", [1 / 8760, 2 / 365, 0.3])
def test_out_of_reach_of_exercise_an_option_is_european_and_just_within_it_to_1e_18(
    call, rate, dividend_yield, years
):
    # the boundary ends at the strike, or farther off at strike times rate over yield
    vol, sign = 0.3, 1.0 if call else -1.0
    ratio = rate / dividend_yield
    limit = 100.0 * (max(1.0, ratio) if call else min(1.0, ratio))
    deviation, drift = vol * np.sqrt(years), (abs(rate - dividend_yield) + 0.5 * vol**2) * years
    away = np.array([7.0, 9.0, 9.999, 10.001, 12.0, 30.0]) * deviation + drift
    terms = {"rate": rate, "dividend_yield": dividend_yield}
    american, european = (
        greeks(limit * np.exp(-sign * away), 100.0, years, vol, call, style=style, **terms)
        for style in ("american", "european")
    )
    for name in ("price", "delta", "gamma", "theta", "vega", "rho", "vanna", "volga", "charm"):
        apart = np.abs(getattr(american, name) - getattr(european, name))
        assert (apart[3:] == 0.0).all(), name
        assert apart[2] <= 1e-18, name
    if limit == 100.0:  # else the option is far in the money, and its last digit hides the premium
        assert american.price[0] > european.price[0]  # seven deviations off exercise is worth something
