"""Published margin figures (FINRA 4210, Cboe Margin Manual 2000, Alpaca's options levels) and their laws."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity
from scalpdesk.margin.holdings import Holding
from scalpdesk.margin.pairing import Pairing
from scalpdesk.margin.regulation_t import (
    RegulationT,
    buying_power,
    cash_requirement,
)
from scalpdesk_testing.field_formulas import day_trade_rule, requirement
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


@pytest.mark.rows(
    ("day", "facts", "regime", "flagged", "blocked"),
    [
        ((2026, 3, 2), {"day_trades": 4, "trades": 30}, "pattern_day_trader", True, True),
        ((2026, 6, 3), {"day_trades": 3, "trades": 4}, "pattern_day_trader", False, False),
        (
            (2026, 6, 3),
            {"day_trades": 4, "trades": 4, "equity": D(25_000)},
            "pattern_day_trader",
            True,
            False,
        ),
        (
            (2026, 6, 4),
            {"day_trades": 9, "trades": 30, "required": D(9_000)},
            "intraday_margin",
            False,
            False,
        ),
        ((2026, 6, 4), {"day_trades": 0, "trades": 0, "required": D(18_001)}, "intraday_margin", False, True),
        ((2027, 10, 20), {"day_trades": 4, "trades": 66, "adopted": False}, "pattern_day_trader", True, True),
        (
            (2026, 11, 20),
            {"day_trades": 4, "trades": 100, "adopted": False},
            "pattern_day_trader",
            False,
            False,
        ),
        ((2027, 10, 21), {"day_trades": 9, "trades": 9, "adopted": False}, "intraday_margin", False, False),
    ],
)
def test_the_day_trade_rule_of_a_day(day, facts, regime, flagged, blocked):
    verdict = day_trade_rule(dt.date(*day), **{"equity": D(18_000), **facts})
    assert (verdict.regime, verdict.flagged, verdict.blocked) == (regime, flagged, blocked)


def test_below_the_uncovered_level_a_sold_put_is_secured_with_its_whole_strike_by_day_and_by_night():
    connection = connect(straddle_book(), positions={2: -1}, multiplier=4, options_level=3)
    for number, mid in enumerate((500, 9, 8)):
        connection.on_quote(quote(number, 1, mid - 0.5, mid + 0.5))
    free = 100_000 - 500 * 100
    figures = RegulationT().figures(connection.account)
    assert (figures.buying_power, figures.options_buying_power) == (4 * free, free)


@pytest.mark.rows(
    ("lines", "spot", "intrinsic"),
    [
        ([share(-100, 275), option("P", 265, -1, 4)], 255, 1_000),
        ([share(-100, 275), option("P", 265, -1, 4)], 275, 0),
        ([share(-250, 275), option("P", 265, -2, 4)], 260, 1_000),
        ([share(300, 275), option("C", 255, -2, 22)], 275, 4_000),
        ([share(150, 275), option("C", 255, -1, 22)], 275, 2_000),
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
