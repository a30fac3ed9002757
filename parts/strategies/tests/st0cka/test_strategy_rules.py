"""Sizes, targets and viability: exact at every boundary."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.base import NO_FEES, ArgumentError, Equity
from scalpdesk.instruments.fees import ALPACA_FEES
from scalpdesk.instruments.ticks import CENT_TICK
from scalpdesk.strategies import size_by_vol
from scalpdesk_strategies.st0cka.strategy import dynamic_target, sell_limit, viability

D = Decimal


@pytest.mark.parametrize(
    ("vol", "size"),
    [
        (0.0, 3),
        (0.08, 3),
        (0.10, 3),
        (0.1000001, 2),
        (0.12, 2),
        (0.175, 2),
        (0.1750001, 1),
        (0.25, 1),
        (3.0, 1),
    ],
)
def test_the_size_falls_with_volatility_and_its_bounds_are_inclusive(vol, size):
    assert size_by_vol(vol) == size


def test_an_unknown_volatility_gives_the_smallest_size_and_target():
    assert size_by_vol(None, least=2, most=9) == 2
    assert dynamic_target(None, D("0.01")) == D("0.01")


@given(
    vol=st.integers(0, 5_000).map(lambda n: n / 10_000),
    least=st.integers(1, 20),
    extra=st.integers(0, 20),
)
def test_the_size_is_the_exact_floor_of_the_line(vol, least, extra):
    share = min(max((Fraction(repr(vol)) - Fraction(1, 10)) / Fraction(15, 100), Fraction(0)), Fraction(1))
    expected = (least + extra - share * extra).__floor__()
    assert size_by_vol(vol, least=least, most=least + extra) == expected


@pytest.mark.parametrize("bounds", [{"low_vol": 0.3, "high_vol": 0.2}, {"least": 0}, {"least": 4, "most": 3}])
def test_bounds_the_wrong_way_round_are_refused(bounds):
    with pytest.raises(ArgumentError, match="wrong way round"):
        size_by_vol(0.2, **bounds)


def test_a_volatility_that_is_none_is_refused():
    with pytest.raises(ArgumentError, match="finite"):
        size_by_vol(float("nan"))


@pytest.mark.parametrize(
    ("vol", "target", "limit"),
    [
        (0.25, "0.025", "590.03"),
        (0.08, "0.01", "590.01"),
        (0.10, "0.01", "590.01"),
        (0.1001, "0.01001", "590.02"),
    ],
)
def test_the_target_grows_with_volatility_and_its_limit_is_rounded_up(vol, target, limit):
    got = dynamic_target(vol, D("0.01"))
    assert got == D(target)
    assert sell_limit(D("590.00"), got, CENT_TICK) == D(limit)


def test_without_a_reference_the_target_is_constant():
    assert dynamic_target(0.9, D("0.01"), reference_vol=None) == D("0.01")


@given(
    entry=st.integers(100, 10_000_000).map(lambda n: D(n) / 10_000),
    target=st.integers(1, 5_000).map(lambda n: D(n) / 10_000),
)
def test_a_limit_is_whole_cents_and_never_less_than_the_target(entry, target):
    limit = sell_limit(entry, target, CENT_TICK)
    assert limit == limit.quantize(D("0.01"))
    assert entry + target <= limit < entry + target + D("0.01")


def test_a_one_cent_target_does_not_pay_a_one_cent_spread_and_the_fees_of_the_sale():
    schedule = ALPACA_FEES.on(date(2024, 6, 3))
    worth = viability(Equity("SPY"), D(3), D("167.00"), D("167.01"), D("167.02"), schedule)
    # sale: 501.06 USD * 27.80 a million and 3 * 0.000166, each rounded up to the cent
    assert (worth.target, worth.half_spread, worth.fees) == (D("0.03"), D("0.015"), D("0.03"))
    assert worth.net == D("-0.015")
    assert worth.in_words().startswith("unviable: expected net -0.015 USD")


def test_without_fees_half_a_cent_a_share_is_left():
    worth = viability(Equity("SPY"), D(2), D("167.00"), D("167.01"), D("167.02"), NO_FEES)
    assert worth.net == D("0.01")
    assert worth.in_words().startswith("viable")
