import dataclasses
from datetime import date, time
from decimal import Decimal

import numpy as np
import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.embedded.coin import reconstruct_coin
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.sessions import expiry_instant_ns, new_york_ns
from scalpdesk.marketdata.tape import CashDividend
from scalpdesk.pricing import greeks
from scalpdesk.research.book_risk import stress_rows
from scalpdesk.research.quoted_book import quoted_book
from scalpdesk_testing.kit.tape import tape_of_rows

DAY, DAY_OF_COIN = date(2021, 1, 14), date(2025, 3, 5)
NOON = new_york_ns(DAY, time(12, 0))
STRIKES = range(90, 112, 2)


def skew(strike):
    return 0.3 - 0.4 * np.log(strike / 100.0)


@pytest.fixture(scope="module")
def tape():
    """Calls and puts on XYZ on a skew, one of them without a quote; SPX at its own level."""
    listed = Instruments([Equity("XYZ")])
    rows = [(NOON - 2, 0, 99.99, 100.01)]
    for strike in STRIKES:
        for right in "CP":
            contract = us_option(f"XYZ210219{right}{1_000 * strike:08d}", ["XYZ"])
            number = listed.add(contract)
            if (strike, right) == (104, "C"):
                continue
            years = (expiry_instant_ns(contract) - NOON) / (365 * 86_400 * 10**9)
            fair = float(greeks(100.0, strike, years, skew(strike), right == "C", rate=0.01).price)
            rows.append((NOON - 1, number, max(fair - 0.01, 0.01), fair + 0.01))
    listed.add(us_option("XYZ210113C00100000", ["XYZ"]))
    return tape_of_rows(listed, rows, DAY, 0.01)


def test_options_have_the_volatility_of_their_mid_or_of_the_smile(tape):
    given = [("XYZ210219P00096000", -5.0), ("XYZ210219C00104000", 2.0), ("XYZ", 100.0), ("XYZ", -30.0)]
    book = quoted_book(tape, given, NOON)
    (part,) = book.parts
    put, call = part.legs
    assert (part.underlying, part.spot, part.shares) == ("XYZ", pytest.approx(100.0), 70.0)
    assert put.vol == pytest.approx(skew(96), abs=1e-4)
    assert call.vol == pytest.approx(skew(104), abs=5e-3)
    assert (put.units, call.units) == (-500.0, 200.0)
    assert dict(book.holdings) == {"XYZ210219P00096000": -5.0, "XYZ210219C00104000": 2.0, "XYZ": 70.0}
    assert put.years[0] > put.years[1] > put.years[2] > 0.0


def test_the_smile_moves_with_the_spot(tape):
    (part,) = quoted_book(tape, [("XYZ210219P00096000", 1.0)], NOON).parts
    (put,) = part.legs
    spots, nothing = np.array([98.0]), np.zeros(1)
    moved = put.vols(part.spot, spots, nothing, 0, "sticky-delta", nothing)[0]
    assert moved == pytest.approx(skew(96 * 100.0 / 98.0), abs=4e-3)


def test_dividends_ahead_are_in_the_price(tape):
    paid = CashDividend("XYZ", date(2021, 2, 1), Decimal(2))
    dated = dataclasses.replace(tape, dividends=(paid,))
    (part,) = quoted_book(dated, [("XYZ210219P00096000", 1.0)], NOON).parts
    assert [amount for _, amount, _ in part.legs[0].dividends] == [2.0]
    assert part.legs[0].vol < skew(96)  # the same price, of a lower forward


@pytest.mark.parametrize("symbol", ["XYZ210219P00095000", "ABC", "XYZ210113C00100000"])
def test_what_is_not_listed_or_has_expired_is_refused_by_name(tape, symbol):
    with pytest.raises(DataError) as refusal:
        quoted_book(tape, [(symbol, 1.0)], NOON)
    assert refusal.value.value == symbol


def test_a_book_on_a_coin_is_in_the_coin_and_has_no_days_of_the_share_market():
    """Its losses were shown in US dollars, beside the worst days of the S&P 500."""
    coin = reconstruct_coin(DAY_OF_COIN, DAY_OF_COIN)
    now_ns = new_york_ns(DAY_OF_COIN, time(12, 0))
    book = quoted_book(coin, [("BTC-PERPETUAL", -100.0)], now_ns)
    assert (book.currency, book.is_coin) == ("BTC", True)
    assert stress_rows(book) == []


def test_a_book_of_shares_is_in_dollars(tape):
    book = quoted_book(tape, [("XYZ", 1.0)], NOON)
    assert (book.currency, book.is_coin) == ("USD", False)
