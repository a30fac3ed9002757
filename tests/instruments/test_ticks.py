"""The valid prices of an instrument, and the ways from one to the next."""

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scalpdesk.closing.ladder import PriceLadder
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.intents import Side
from scalpdesk.instruments.deribit import COIN_OPTION_TICK, deribit_option
from scalpdesk.instruments.ticks import CENT_TICK, NICKEL_DIME, PENNY_NICKEL, TickRule, TickStep

D = Decimal
VENDOR = TickRule(D("0.0005"), (TickStep(D(120), D("0.001")), TickStep(D(200), D("0.003"))))
"""The example of Deribit's page ``public/get_instrument``: 200 is no multiple of 0.003."""
FARTHEST = 1_000
"""Units up to which the laws look for a valid price."""


@pytest.mark.rows(
    ("rule", "price", "side", "rounded"),
    [
        (NICKEL_DIME, "2.97", "nearest", "2.95"),
        (NICKEL_DIME, "2.99", "up", "3.00"),
        (NICKEL_DIME, "3.00", "up", "3.00"),
        (NICKEL_DIME, "3.04", "up", "3.10"),
        (PENNY_NICKEL, "2.991", "up", "3.00"),
        (PENNY_NICKEL, "3.02", "down", "3.00"),
        (PENNY_NICKEL, "3.03", "nearest", "3.05"),
        (CENT_TICK, "500.004", "nearest", "500.00"),
        (COIN_OPTION_TICK, "0.00501", "up", "0.0055"),
        (COIN_OPTION_TICK, "0.00501", "down", "0.005"),
        (VENDOR, "200.0005", "down", "200"),
        (VENDOR, "200.0006", "nearest", "200.001"),
        (VENDOR, "200.002", "up", "200.004"),
    ],
)
def test_a_price_is_rounded_with_the_tick_that_applies_where_it_lands(rule, price, side, rounded):
    assert rule.round(D(price), side) == D(rounded)


@pytest.mark.rows(
    ("price", "tick"),
    [("119.9995", "0.0005"), ("120", "0.0005"), ("120.001", "0.001"), ("200", "0.001"), ("200.001", "0.003")],
)
def test_at_the_price_of_a_step_the_tick_below_it_applies(price, tick):
    assert VENDOR.tick_at(D(price)) == D(tick)
    assert VENDOR.is_valid(D(price))


@pytest.mark.rows(
    ("price", "ticks", "moved"),
    [
        ("119.9995", 1, "120"),
        ("119.9995", 2, "120.001"),
        ("120.001", -2, "119.9995"),
        ("200", 1, "200.001"),
        ("200.001", -2, "199.999"),
        ("120", 0, "120"),
    ],
)
def test_a_price_walks_through_a_step(price, ticks, moved):
    assert VENDOR.moved(D(price), ticks) == D(moved)


@pytest.mark.rows(
    ("below", "steps"),
    [
        ("0", ()),
        ("-0.5", ()),
        ("NaN", ()),
        ("1e13", ()),
        ("0.1", [("5", "0")]),
        ("0.1", [("0", "0.5")]),
        ("0.1", [("Infinity", "0.5")]),
        ("0.1", [("1e-13", "0.5")]),
        ("0.1", [("5", "0.5"), ("5", "1")]),
        ("0.1", [("5", "0.5"), ("4", "1")]),
        ("0.1", [(str(price), "1") for price in range(1, 66)]),
    ],
)
def test_what_is_no_price_grid_is_refused(below, steps):
    with pytest.raises(ArgumentError):
        TickRule(D(below), tuple(TickStep(D(price), D(tick)) for price, tick in steps))


@st.composite
def rules(draw):
    """Draw a rule in whole units: steps at any price, also where a tick fits nowhere between two."""
    prices = sorted(draw(st.sets(st.integers(1, 300), max_size=4)))
    ticks = st.integers(1, 40).map(D)
    return TickRule(draw(ticks), tuple(TickStep(D(price), draw(ticks)) for price in prices))


def valid_prices(rule):
    """List the valid prices by trying each: an independent reading of the vendor's sentence."""
    found = []
    for price in range(FARTHEST):
        tick = rule.below
        for step in rule.steps:
            if price > step.above_price:
                tick = step.tick
        if price % tick == 0:
            found.append(price)
    return found


HALVES = st.integers(0, 800).map(lambda halves: D(halves) / 2)


@given(rules(), HALVES)
def test_rounding_up_or_down_finds_the_next_valid_price(rule, price):
    valid = valid_prices(rule)
    assert rule.round(price, "up") == min(each for each in valid if each >= price)
    assert rule.round(price, "down") == max(each for each in valid if each <= price)


@given(rules(), HALVES)
def test_rounding_to_the_nearest_finds_no_farther_price_than_another(rule, price):
    rounded = rule.round(price)
    assert rule.is_valid(rounded)
    assert abs(rounded - price) == min(abs(each - price) for each in valid_prices(rule))


@given(rules(), st.integers(0, 400).map(D), st.integers(-6, 6))
def test_walking_goes_from_one_valid_price_to_the_next(rule, price, ticks):
    start, valid = rule.round(price, "up"), valid_prices(rule)
    place = valid.index(start) + ticks
    assume(place >= 0)
    assert rule.moved(start, ticks) == valid[place]
    assert rule.moved(rule.moved(start, ticks), -ticks) == start


@given(rules(), st.sampled_from(Side), st.integers(1, 300), st.integers(0, 8), st.integers(0, 40))
def test_a_closing_limit_is_valid_through_every_step_and_never_worse_than_the_far_side(
    rule, side, best, ticks, spread
):
    bid = rule.round(D(best), "up")
    ask = rule.moved(bid, 1 + spread)
    ladder = PriceLadder(deribit_option("BTC-6MAR26-87000-P", rule), side, float(bid), float(ask))
    limit, mid = ladder.meeting(ticks), ladder.between(0.0)
    assert rule.is_valid(limit)
    assert rule.is_valid(mid)
    assert bid <= mid <= ask
    assert limit <= bid if side is Side.SELL else limit >= ask
