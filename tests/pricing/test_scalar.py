import math

import numpy as np
import pytest

from scalpdesk.pricing import greeks, implied_vol
from scalpdesk.pricing.scalar import boundary_table, implied_vol_scalar, option_greeks, vols_and_greeks

CASES = [
    (strike, years, vol, is_call, rate, dividend_yield)
    for strike, years, vol in [
        (97.0, 0.08, 0.22),
        (103.0, 1.0 / 8760.0, 0.35),
        (100.0, 0.5, 0.25),  # on the seams of the tables, in time and in volatility
        (110.0, 0.9, 0.6),
        (60.0, 0.3, 0.15),
    ]
    for is_call in (True, False)
    for rate, dividend_yield in [(0.04, 0.013), (0.04, 0.0), (0.01, 0.06), (0.0, 0.0), (-0.02, -0.04)]
]


@pytest.mark.rows(("strike", "years", "vol", "is_call", "rate", "dividend_yield"), CASES)
def test_one_option_alone_agrees_with_the_arrays(strike, years, vol, is_call, rate, dividend_yield):
    one = option_greeks(100.0, strike, years, vol, is_call, rate, dividend_yield)
    many = greeks(100.0, strike, years, vol, is_call, rate=rate, dividend_yield=dividend_yield)
    assert one.price == pytest.approx(float(many.price), abs=1e-5)
    assert one.delta == pytest.approx(float(many.delta), abs=3e-6)
    assert one.gamma == pytest.approx(float(many.gamma), rel=1e-4, abs=1e-9)
    for name in ("theta", "vega", "rho", "vanna", "volga", "charm"):
        assert getattr(one, name) == pytest.approx(float(getattr(many, name)), rel=1e-3, abs=1e-2), name


@pytest.mark.parametrize("is_call", [True, False])
def test_a_european_alone_is_the_same_to_the_bit(is_call):
    one = option_greeks(100.0, 97.0, 0.08, 0.22, is_call, 0.04, 0.013, american=False)
    g = greeks(100.0, 97.0, 0.08, 0.22, is_call, rate=0.04, dividend_yield=0.013, style="european")
    assert one._asdict() == {name: float(getattr(g, name)) for name in one._fields}


def test_what_was_asked_before_does_not_change_an_answer():
    asked = [(100.0, 100.0, years, vol, False, 0.04, 0.01) for years in (0.1, 0.02) for vol in (0.2, 0.26)]
    boundary_table.cache_clear()
    forward = [option_greeks(*each) for each in asked]
    boundary_table.cache_clear()
    backward = [option_greeks(*each) for each in reversed(asked)]
    assert forward == backward[::-1]


def test_expired_certain_and_worthless_options_need_no_table():
    boundary_table.cache_clear()
    assert option_greeks(90.0, 100.0, 0.0, 0.2, False, 0.04).price == 10.0
    assert option_greeks(90.0, 100.0, 1.0, 0.0, False, 0.04).price == 10.0
    assert option_greeks(0.0, 100.0, 1.0, 0.2, False, 0.04).price == 100.0
    assert option_greeks(90.0, 0.0, 1.0, 0.2, False, 0.04).price == 0.0
    assert boundary_table.cache_info().currsize == 0


def test_the_price_of_one_option_moves_smoothly_across_the_seams():
    for years, vol in ((0.5, 0.2), (0.3, 0.25)):
        for nudge in (1e-9, -1e-9):
            at = option_greeks(100.0, 102.0, years * (1 + nudge), vol * (1 + nudge), False, 0.05, 0.02)
            on = option_greeks(100.0, 102.0, years, vol, False, 0.05, 0.02)
            assert at.price == pytest.approx(on.price, abs=1e-5)
            assert at.delta == pytest.approx(on.delta, abs=3e-6)


def test_one_option_alone_refuses_what_is_no_number():
    with pytest.raises(ValueError, match="finite"):
        option_greeks(100.0, 97.0, 0.08, float("nan"), True)
    with pytest.raises(ValueError, match="at least 0"):
        option_greeks(-100.0, 97.0, 0.08, 0.2, True)


@pytest.mark.parametrize("american", [True, False])
def test_many_at_once_are_each_alone_to_the_last_digit(american):
    without = [(5.0, 120.0, 0.1, False), (101.0, 90.0, 0.1, True), (3.0, 100.0, 0.0, True)]
    asked = [(price, *rest, 0.04, 0.01) for price, *rest in without]
    # a drift that makes the far expiry unimportant, and two exercise boundaries
    cases = [*CASES, (100.0, 2.0, 0.03, False, 0.08, 0.0), (100.0, 0.5, 0.2, False, -0.02, -0.05)]
    for strike, years, vol, is_call, rate, dividend_yield in cases:
        price = option_greeks(
            100.0, strike, years, vol, is_call, rate, dividend_yield, american=american
        ).price
        asked.append((price, strike, years, is_call, rate, dividend_yield))
    price, strike, years, is_call, rate, dividend_yield = (
        np.array(column) for column in zip(*asked, strict=True)
    )
    spot = np.full(len(asked), 100.0)
    vols, columns = vols_and_greeks(
        price, is_call, spot, strike, years, rate, dividend_yield, american=american
    )
    found = 0
    for at, (price, strike, years, is_call, *carry) in enumerate(asked):
        vol, status = implied_vol_scalar(price, 100.0, strike, years, is_call, *carry, american=american)
        assert vols[at] == vol or (math.isnan(vols[at]) and status != "ok")
        if status == "ok":
            found += 1
            alone = option_greeks(100.0, strike, years, vol, is_call, *carry, american=american)
            assert tuple(columns[:, at]) == tuple(alone)
    assert found > 40


@pytest.mark.rows(("strike", "years", "vol", "is_call", "rate", "dividend_yield"), CASES)
def test_the_volatility_of_one_price_comes_back(strike, years, vol, is_call, rate, dividend_yield):
    g = greeks(100.0, strike, years, vol, is_call, rate=rate, dividend_yield=dividend_yield)
    alone, status = implied_vol_scalar(float(g.price), 100.0, strike, years, is_call, rate, dividend_yield)
    many = implied_vol(g.price, 100.0, strike, years, is_call, rate=rate, dividend_yield=dividend_yield)
    assert status == str(many.status)
    if status == "ok" and float(g.vega) > 1e-3:
        assert alone == pytest.approx(float(many.vol), abs=1e-5 / float(g.vega) + 1e-9)
        assert alone == pytest.approx(vol, abs=1e-5 / float(g.vega) + 1e-9)


@pytest.mark.parametrize("american", [True, False])
def test_one_price_alone_has_the_same_verdicts(american):
    style = "american" if american else "european"
    for price, spot, years in [
        (0.2, 95.0, 0.1),
        (102.0, 95.0, 0.1),
        (3.0, 95.0, 0.0),
        (float("nan"), 95.0, 0.1),
    ]:
        vol, status = implied_vol_scalar(price, spot, 101.0, years, False, 0.04, 0.01, american=american)
        many = implied_vol(price, spot, 101.0, years, False, rate=0.04, dividend_yield=0.01, style=style)
        assert math.isnan(vol)
        assert status == str(many.status) != "ok"


def test_a_high_price_in_the_money_is_searched_over_octaves():
    # the European answer is far above the American one here
    vols = np.array([0.11, 0.13, 0.2, 0.3])
    for vol in vols:
        g = greeks(88.0, 100.0, 1.0, vol, False, rate=0.08)
        if float(g.gamma) > 0.0:
            alone, status = implied_vol_scalar(float(g.price), 88.0, 100.0, 1.0, False, 0.08)
            assert status == "ok"
            assert alone == pytest.approx(vol, abs=1e-5)
