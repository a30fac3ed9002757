"""A book of postings: cash by currency, units, and round trips."""

from decimal import Decimal

import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.intents import Purpose
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.deribit import perpetual
from scalpdesk.instruments.postings import of_bust, of_change, of_fill
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.book import Book
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk_testing.kit.tape import quote

D = Decimal
LISTED = Instruments([Equity("SPY"), Equity("SAP", currency="EUR"), perpetual("BTC"), perpetual("ETH")])
PRICES = 500.0, 120.0, 50_000.0, 2_500.0


@pytest.fixture
def book():
    """Return a book of 100,000 dollars over shares in dollars and euros, and two coins."""
    state = MarketState(LISTED)
    for number, price in enumerate(PRICES):
        state.apply_quote(quote(number, 1, price - 0.5, price + 0.5))
    made = Book(
        "", LISTED, state, DeltaEngine(LISTED, state, ContractPricer()), InstrumentId(0), cash=D(100_000)
    )
    made.begin(1)
    return made


def fill(book, number, units, price, reference, fee="0"):
    """Book an execution."""
    held = InstrumentId(number)
    posting = of_fill(LISTED[held], held, D(units), D(price), D(fee), Purpose.OPEN, reference, 2)
    book.apply(posting)
    return posting


def test_each_currency_has_its_cash_and_none_counts_as_another(book):
    """A thousand euros were a thousand dollars, and a share in euros counted among the dollars' worth."""
    fill(book, 0, 10, 500, "usd", "1")
    fill(book, 1, 10, 120, "eur", "2")
    fill(book, 2, 100, 50_000, "btc")
    fill(book, 3, 2_500, 2_500, "eth", "0.01")
    assert book.account.cash == 94_999
    assert book.account.others == {"EUR": -1_202, "BTC": D("0.02"), "ETH": D("0.99")}
    book.mark(3)
    assert book.attribution.nav == book.attribution.current_nav() == 99_999
    assert (book.attribution.totals["fees"], book.attribution.totals["residual"]) == (-1, 0)


def test_a_dividend_and_a_bust_in_euros_change_the_euros_alone(book):
    bought = fill(book, 1, 10, 120, "eur", "2")
    paid = PositionChanged(InstrumentId(1), 3, 3, ChangeCause.DIVIDEND, D(0), D(0), D(15), "d")
    book.apply(of_change(LISTED[1], paid))
    assert (book.account.cash, book.account.others) == (100_000, {"EUR": -1_187})
    book.apply(of_bust(bought, 4))
    assert (book.account.cash, book.account.others) == (100_000, {"EUR": 15})
    assert (book.quantity(InstrumentId(1)), book.positions.positions[1].fees) == (0, 0)
    book.mark(5)
    assert (book.attribution.nav, set(book.attribution.totals.values())) == (100_000, {0})
