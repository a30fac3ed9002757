from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.instruments.classes import MultiplierError, us_option
from scalpdesk.instruments.contract import (
    Equity,
    Instruments,
    Right,
    Settlement,
    Style,
    occ_symbol,
    parse_occ,
)
from scalpdesk.instruments.ticks import CENT_TICK, NICKEL_DIME, PENNY_NICKEL
from scalpdesk_testing.kit.instruments import option, share, straddle_book


@given(
    root=st.from_regex(r"[A-Z][A-Z0-9.]{0,5}", fullmatch=True).filter(lambda root: len(root) <= 6),
    expiry=st.dates(date(2000, 1, 1), date(2099, 12, 31)),
    right=st.sampled_from(Right),
    thousandths=st.integers(1, 99_999_999),
)
def test_an_occ_symbol_reads_back_as_what_was_written(root, expiry, right, thousandths):
    strike = Decimal(thousandths) / 1000
    symbol = occ_symbol(root, expiry, right, strike)
    assert len(symbol) == len(root) + 15
    assert parse_occ(symbol) == (root, expiry, right, strike)
    assert parse_occ(root.ljust(6) + symbol[len(root) :]) == (root, expiry, right, strike)


def test_strikes_are_thousandths():
    assert occ_symbol("AAPL", date(2025, 5, 16), Right.PUT, Decimal("207.5")) == "AAPL250516P00207500"
    assert parse_occ("SPXW210104C03700000")[3] == Decimal(3700)
    assert str(parse_occ("SPXW210104C03700000")[3]) == "3700"


@pytest.mark.rows(
    "symbol",
    [
        "",
        "AAPL",
        "AAPL250516X00207500",
        "AAPL250516P0020750",
        "TOOLONG250516P00207500",
        "aapl250516P00207500",
    ],
)
def test_what_is_no_occ_symbol_is_refused(symbol):
    with pytest.raises(ArgumentError, match="not an OCC"):
        parse_occ(symbol)


def test_a_day_that_does_not_exist_is_refused():
    with pytest.raises(ArgumentError, match="does not exist"):
        parse_occ("AAPL250231P00207500")


@pytest.mark.rows("strike", ["0", "-5", "100000", "1.2345"])
def test_a_strike_that_does_not_fit_is_refused(strike):
    with pytest.raises(ArgumentError, match="strike"):
        occ_symbol("AAPL", date(2025, 5, 16), Right.PUT, Decimal(strike))


def test_a_root_that_does_not_fit_is_refused():
    with pytest.raises(ArgumentError, match="root"):
        occ_symbol("toolong", date(2025, 5, 16), Right.PUT, Decimal(1))


@pytest.mark.rows(
    ("symbol", "underlying", "style", "settlement", "tick_rule"),
    [
        ("SPY240419C00500000", "SPY", Style.AMERICAN, Settlement.PHYSICAL, CENT_TICK),
        ("AAPL240419C00500000", "AAPL", Style.AMERICAN, Settlement.PHYSICAL, PENNY_NICKEL),
        ("SPX240419C05000000", "SPX", Style.EUROPEAN, Settlement.CASH_AM, NICKEL_DIME),
        ("SPXW240419C05000000", "SPX", Style.EUROPEAN, Settlement.CASH_PM, NICKEL_DIME),
        ("XSP240419C00500000", "XSP", Style.EUROPEAN, Settlement.CASH_PM, CENT_TICK),
        ("RUTW240419P02000000", "RUT", Style.EUROPEAN, Settlement.CASH_PM, NICKEL_DIME),
        ("VIX240417C00020000", "VIX", Style.EUROPEAN, Settlement.CASH_AM, PENNY_NICKEL),
    ],
)
def test_each_root_brings_the_rules_of_its_class(symbol, underlying, style, settlement, tick_rule):
    contract = us_option(symbol)
    assert (contract.underlying, contract.style, contract.settlement) == (underlying, style, settlement)
    assert contract.tick_rule == tick_rule
    assert contract.multiplier == 100


@pytest.mark.parametrize(("symbol", "stated"), [("SPY240419C00500000", 10), ("SPXW240419C05000000", 1)])
def test_the_multiplier_is_that_of_the_class_and_another_is_refused(symbol, stated):
    assert us_option(symbol, multiplier=Decimal(100)).multiplier == 100
    with pytest.raises(MultiplierError) as caught:
        us_option(symbol, multiplier=Decimal(stated))
    assert (caught.value.where, caught.value.value) == ("multiplier", symbol)
    assert share().multiplier == 1
    assert option("C").is_call
    assert not option("P").is_call


def test_a_book_numbers_instruments_in_order_and_once():
    book = Instruments([share("SPY"), share("QQQ")])
    assert [book.id_of("SPY"), book.id_of("QQQ"), book.add(share("SPY"))] == [0, 1, 0]
    assert len(book) == 2
    assert [one.symbol for one in book] == ["SPY", "QQQ"]
    assert "SPY" in book
    assert "IWM" not in book
    assert book[1].symbol == "QQQ"


def test_two_instruments_cannot_share_a_symbol():
    book = Instruments([share("SPY")])
    with pytest.raises(ArgumentError, match="share one symbol"):
        book.add(Equity("SPY", currency="EUR"))


def test_a_symbol_that_is_not_there_names_the_nearest():
    with pytest.raises(ArgumentError) as caught:
        straddle_book().id_of("SPYY")
    assert caught.value.nearest == "SPY"


def test_a_book_finds_the_options_of_one_underlying():
    book = straddle_book(490, 500)
    book.add(option("C", 100, root="QQQ"))
    assert [number for number, _ in book.options("SPY")] == [1, 2, 3, 4]
    assert [one.symbol for _, one in book.options("QQQ")] == ["QQQ240419C00100000"]
