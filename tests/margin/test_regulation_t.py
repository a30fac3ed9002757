"""Published margin figures (FINRA 4210, Cboe Margin Manual 2000, Alpaca's options levels) and their laws."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.intents import Side
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity
from scalpdesk.margin.holdings import Holding
from scalpdesk.margin.pairing import Pairing
from scalpdesk.margin.regulation_t import (
    UNCOVERED,
    RegulationT,
    buying_power,
    cash_requirement,
    least_options_level,
)
from scalpdesk_testing.field_formulas import requirement
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import quote

D = Decimal
SHARE = Equity("XYZ")


def share(quantity, price):
    return Holding(SHARE, D(quantity), D(str(price)))


def option(right, strike, quantity, price, *, root="XYZ", expiry="261218"):
    return Holding(
        us_option(f"{root}{expiry}{right}{int(strike * 1000):08d}", [root]), D(quantity), D(str(price))
    )


def asked(spot, *lines):
    return requirement(lines, lambda _symbol: D(str(spot)))


@pytest.mark.rows(
    ("spot", "lines", "initial", "maintenance"),
    [
        (275, [share(200, 275)], 27_500, 13_750),
        (275, [share(-42, 275)], 5_775, 3_465),
        (12, [share(-100, 12)], 600, 500),  # five dollars a share at least
        (4, [share(-100, 4)], 400, 400),
        (2, [share(-100, 2)], 250, 250),
        (275, [option("C", 275, 1, 11.8)], 1_180, 0),
        (275, [option("C", 285, -1, 2.1)], 4_710, 4_710),
        (45, [option("P", 36, -1, 0.4)], 400, 400),
        (3_900, [option("C", 4_000, -1, 22, root="SPXW")], 50_700, 50_700),  # broad index: 15 %
        (275, [share(100, 275), option("C", 285, -1, 3)], 13_750, 6_875),
        (45, [option("C", 47, -1, 2.1), option("P", 43, -1, 1.2)], 1_030, 1_030),
        (275, [option("P", 270, -1, 3.4), option("P", 265, 1, 2.2)], 720, 500),
        (275, [option("C", 285, -1, 2.1), option("C", 280, 1, 3.9)], 390, 0),
        (275, [share(100, 275), option("P", 275, 1, 5.9)], 14_340, 2_750),
        # one put protects one of two lots
        (275, [share(100, 275), share(100, 275), option("P", 275, 1, 5.9)], 28_090, 9_625),
        (265, [option("C", 275, 1, 9), option("P", 275, 1, 8.4), share(62, 265)], 9_955, 1_705),
        (283, [option("C", 275, 1, 9), option("P", 275, 1, 7), share(-130, 283)], 19_995, 5_297),
    ],
)
def test_published_requirements_of_a_margin_account(spot, lines, initial, maintenance):
    assert asked(spot, *lines) == (initial, maintenance)
    assert asked(spot, *reversed(lines)) == (initial, maintenance)


def test_a_bought_option_that_ends_earlier_covers_nothing():
    sold = option("C", 285, -1, 2.1)
    assert asked(275, sold, option("C", 280, 1, 3.9, expiry="261120")).maintenance == 4_710
    assert asked(275, sold, option("C", 280, 1, 3.9, expiry="270115")).maintenance == 0


def test_shares_cover_each_sold_call_once():
    held = [share(100, 275), option("C", 285, -2, 2.1)]
    assert asked(275, *held) == (13_750 + 4_710, 6_875 + 4_710)


def test_of_shares_that_a_sold_call_will_take_the_gain_beyond_its_strike_is_withheld():
    covered = Pairing([share(150, 275), option("C", 255, -1, 22)], D(275))
    assert (covered.withheld, covered.uncovered) == (100 * 20, [])


def test_a_wide_spread_asks_no_more_than_the_sold_option_alone():
    sold = option("C", 285, -1, 2.1)
    assert asked(275, sold, option("C", 500, 1, 0)).maintenance == asked(275, sold).maintenance


@given(
    st.lists(st.tuples(st.sampled_from("CP"), st.integers(200, 350), st.integers(-3, 3)), max_size=6),
    st.integers(-300, 300),
)
def test_pairing_never_asks_more_than_each_position_alone(legs, shares):
    lines = [option(right, strike, quantity, 5) for right, strike, quantity in legs if quantity]
    if shares:
        lines.append(share(shares, 275))
    together, alone = asked(275, *lines), [asked(275, one) for one in lines]
    assert together.initial <= sum(one.initial for one in alone)
    assert 0 <= together.maintenance <= sum(one.maintenance for one in alone)


@given(
    st.tuples(st.integers(-200, 200), st.integers(0, 5), st.integers(0, 5)),
    st.sampled_from([3, 8, 40, 500]),
    st.integers(0, 200_000),
    st.sampled_from([(0, 1), (0, -1), (1, 1), (2, 1)]),
    st.integers(1, 800),
    st.sampled_from([2, 4]),
)
def test_what_the_quick_bound_lets_through_is_never_refused(held, spot, cash, asked_for, size, multiplier):
    number, sign = asked_for
    connection = connect(
        straddle_book(),
        cash=cash,
        positions={n: quantity for n, quantity in enumerate(held) if quantity},
        multiplier=multiplier,
    )
    for n, price in enumerate((spot, 9, 8)):
        connection.on_quote(quote(n, 1, price - 0.5, price + 0.5))
    instrument = connection.broker.ledger.instruments[number]
    wanted = Holding(instrument, D(sign * size), D(spot if number == 0 else 9))
    model = RegulationT()
    if model.fits(connection.account, wanted):
        assert model.refusal(connection.account, (wanted,)) is None


@pytest.mark.rows(
    ("lines", "need"),
    [
        ([option("P", 270, -1, 3.4)], 27_000),
        ([option("C", 275, 2, 4)], 800),
        ([share(100, 275), option("C", 285, -1, 2)], 27_500),
        ([option("C", 285, -1, 2)], None),
        ([share(99, 275), option("C", 285, -1, 2)], None),
        ([share(-1, 275)], None),
    ],
)
def test_a_cash_account_pays_in_full_and_sells_covered_options_only(lines, need):
    assert cash_requirement(lines) == need


def test_buying_power_is_twice_overnight_and_four_times_within_the_day():
    figures = D(30_000), D(12_000), D(5_000)
    assert buying_power(*figures) == (36_000, 18_000)
    assert buying_power(*figures, multiplier=4) == (100_000, 18_000)
    assert buying_power(*figures, multiplier=1, settled_cash=D(8_000)) == (8_000, 8_000)
    assert buying_power(D(10_000), D(12_000), D(11_000), multiplier=4) == (0, 0)


def test_below_the_uncovered_level_a_sold_put_is_secured_with_its_whole_strike_by_day_and_by_night():
    connection = connect(straddle_book(), positions={2: -1}, multiplier=4, options_level=3)
    for number, mid in enumerate((500, 9, 8)):
        connection.on_quote(quote(number, 1, mid - 0.5, mid + 0.5))
    free = 100_000 - 500 * 100
    figures = RegulationT().figures(connection.account)
    assert (figures.buying_power, figures.options_buying_power) == (4 * free, free)


@pytest.mark.rows(
    ("legs", "shares", "together", "level"),
    [
        ([("buy", "C", 1), ("buy", "P", 1)], 0, False, 2),
        ([("buy", "C", 1), ("buy", "P", 1)], 0, True, 3),
        ([], 0, False, 0),
        ([], 0, True, 3),
        ([("sell", "C", 1)], 100, False, 1),
        ([("sell", "C", 1)], 99, False, UNCOVERED),
        ([("sell", "C", 1), ("buy", "P", 1)], 100, False, 2),
        ([("sell", "C", 1), ("buy", "P", 1)], 100, True, UNCOVERED),
        ([("sell", "C", 2)], 100, False, UNCOVERED),
        ([("sell", "P", 1)], 0, False, 1),
        ([("sell", "C", 1), ("buy", "C", 1)], 0, True, 3),
        ([("sell", "P", 2), ("buy", "P", 1)], 0, True, UNCOVERED),
    ],
)
def test_the_least_options_level(legs, shares, together, level):
    wanted = [(Side(side), option(right, 275, 1, 1).instrument, D(count)) for side, right, count in legs]
    assert least_options_level(wanted, D(shares), as_one_order=together) == level


@pytest.mark.rows(
    ("spot", "lines", "initial", "maintenance"),
    [
        # five sold, three of them covered five points away; 47.10 a share for the others
        (275, [option("C", 285, -5, 2.1), option("C", 290, 3, 1)], 300 + 1_500 + 9_420, 1_500 + 9_420),
        # the nearer strike is covered first
        (
            275,
            [option("C", 285, -1, 2.1), option("C", 280, -1, 2.1), option("C", 282, 1, 3)],
            300 + 200 + 4_710,
            200 + 4_710,
        ),
        # puts: the higher strike first, by the cover next below it
        (
            275,
            [option("P", 270, -2, 3), option("P", 265, 1, 2), option("P", 260, 1, 1)],
            300 + 500 + 1_000,
            500 + 1_000,
        ),
        # straddles: the greater side whole, of the other the premium
        (45, [option("C", 47, -2, 2.1), option("P", 43, -1, 1.2)], 1_940, 1_940),
        (45, [option("C", 47, -1, 2.1), option("P", 43, -3, 1.2)], 2_670, 2_670),
        # one call beside two puts of less: one of them stands alone
        (45, [option("C", 30, -1, 16), option("P", 36, -2, 0.4)], 2_940, 2_940),
        # a call of 9.10 beside three puts of 4.50: two of them stand alone, whichever side is more in all
        (45, [option("C", 47, -1, 2.1), option("P", 40, -3, 0.5)], 910 + 50 + 900, 910 + 50 + 900),
        # the dearest are paired: 9.10 with 8.20, the put of 4.50 stands alone
        (
            45,
            [option("C", 47, -1, 2.1), option("P", 40, -1, 0.5), option("P", 43, -1, 1.2)],
            910 + 120 + 450,
            910 + 120 + 450,
        ),
        # the put that the 9.10 leaves is paired with one of the two calls of 7.00, the other stands alone
        (
            45,
            [option("C", 47, -1, 2.1), option("C", 48, -2, 1), option("P", 43, -2, 1.2)],
            910 + 120 + 820 + 100 + 700,
            910 + 120 + 820 + 100 + 700,
        ),
        # 9.10 on either side: the greater of both premiums is added, be it the call's or the put's
        (45, [option("C", 47, -1, 2.1), option("P", 45, -1, 0.1)], 910 + 210, 910 + 210),
        (45, [option("C", 45, -1, 0.1), option("P", 43, -1, 2.1)], 910 + 210, 910 + 210),
        # shares sold short cover a sold put
        (275, [share(-100, 275), option("P", 265, -1, 4)], 13_750, 8_250),
        # a call protects a hundred of the shares that are sold short
        (283, [share(-150, 283), option("C", 275, 1, 9)], 900 + 21_225, 2_750 + 4_245),
        # two puts fifteen points below protect two hundred shares
        (290, [share(250, 290), option("P", 275, 2, 3)], 600 + 36_250, 8_500 + 3_625),
        # far below, the plain margin is less
        (290, [share(100, 290), option("P", 200, 1, 1)], 100 + 14_500, 7_250),
        # an option of the share's own direction protects nothing
        (290, [share(100, 290), option("C", 275, 1, 20)], 2_000 + 14_500, 7_250),
    ],
)
def test_requirements_of_several_lots(spot, lines, initial, maintenance):
    assert asked(spot, *lines) == (initial, maintenance)
    assert asked(spot, *reversed(lines)) == (initial, maintenance)


@pytest.mark.rows(
    ("lines", "spot", "intrinsic"),
    [
        ([share(-100, 275), option("P", 265, -1, 4)], 255, 1_000),
        ([share(-100, 275), option("P", 265, -1, 4)], 275, 0),
        ([share(-250, 275), option("P", 265, -2, 4)], 260, 1_000),
        ([share(300, 275), option("C", 255, -2, 22)], 275, 4_000),
        ([share(99, 275), option("C", 255, -1, 22)], 275, 0),
    ],
)
def test_what_covered_options_are_in_the_money_is_withheld(lines, spot, intrinsic):
    assert Pairing(lines, D(spot)).withheld == intrinsic


@pytest.mark.rows(("positions", "free"), [({0: 1}, 100_000), ({0: "0.5"}, 100_000), ({1: 1}, 100_000)])
def test_a_cash_accounts_single_unit_takes_nothing_of_its_cash(positions, free):
    connection = connect(straddle_book(), positions=positions, multiplier=1)
    for number, mid in enumerate((500, 9, 8)):
        connection.on_quote(quote(number, 1, mid - 0.5, mid + 0.5))
    figures = RegulationT().figures(connection.account)
    assert (figures.buying_power, figures.overnight_buying_power, figures.options_buying_power) == (free,) * 3


@pytest.mark.parametrize(("held", "level"), [(1, None), (0, "uncovered_option")])
def test_a_single_contract_that_is_held_may_be_sold_with_another_leg(held, level):
    connection = connect(straddle_book(), positions={1: held} if held else {}, options_level=3)
    for number, mid in enumerate((500, 9, 8)):
        connection.on_quote(quote(number, 1, mid - 0.5, mid + 0.5))
    book = connection.broker.ledger.instruments
    legs = (Holding(book[1], D(-1), D(9)), Holding(book[2], D(1), D(8)))
    refused = RegulationT().refusal(connection.account, legs)
    assert (None if refused is None else refused.cause.value) == level
