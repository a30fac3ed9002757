"""The broker's price and value of an option when its quote is of another spot."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.instruments.contract import Style
from scalpdesk.instruments.sessions import next_session, session_on
from scalpdesk.simulation.option_values import credible_price, least_value, value_without_quote
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import at
from scalpdesk_testing.kit.tape import quote as quote_at

D = Decimal
SHARE, CALL, PUT = 0, 1, 2
BOOK = straddle_book(500)


def quote(number, when, bid, ask, day=DAY):
    return quote_at(number, at(when, day), bid, ask)


def share(when, spot, day=DAY):
    return quote(SHARE, when, spot - 0.01, spot + 0.01, day=day)


@pytest.mark.rows(
    ("bid", "ask", "option_at", "price", "sign", "found"),
    [
        ("8.00", "8.10", "10:00", "8.00", -1, None),  # the whole quote is worth less than exercise
        ("8.00", "8.10", "10:00", "8.10", 1, None),  # a payoff of 20 is not sold for 8
        ("19.80", "20.20", "10:00", "19.80", -1, "19.80"),  # in the money bids lie below the payoff
        ("19.80", "20.20", "09:58", "19.80", -1, None),  # two minutes older than the share
        ("15.30", "30.00", "10:00", "15.30", -1, None),  # a spread of two thirds is no price
        ("20.40", "20.60", "10:00", "15.30", -1, "20.40"),  # who pays 20.40 does not get it for 15.30
        ("20.40", "20.60", "09:58", "20.40", -1, "20.40"),
        ("20.40", "20.60", "10:00", "20.60", 1, "20.60"),
    ],
)
def test_a_trade_in_a_put_that_pays_20_is_at_a_price_of_this_spot(bid, ask, option_at, price, sign, found):
    quoted = quote(PUT, option_at, float(bid), float(ask))
    assert credible_price(BOOK[PUT], quoted, share("10:00", 480.01), D(price), sign) == (
        None if found is None else D(found)
    )


def test_an_ask_at_the_payoff_to_the_last_digit_is_a_price_of_this_spot():
    spot = quote(SHARE, "10:00", 498.75, 499.0)
    assert least_value(BOOK[PUT], spot) == 1.0
    quoted, below = quote(PUT, "10:00", 0.875, 1.0), quote(PUT, "10:00", 0.875, 0.9375)
    assert credible_price(BOOK[PUT], quoted, spot, D("0.90"), -1) == D("0.90")
    assert credible_price(BOOK[PUT], below, spot, D("0.90"), -1) is None


def test_without_a_price_of_the_underlying_no_trade_is_judged_and_nothing_is_worth_anything():
    quoted, one_sided = quote(PUT, "10:00", 8.00, 8.10), quote(SHARE, "10:00", float("nan"), float("nan"))
    assert credible_price(BOOK[PUT], quoted, None, D("8.00"), -1) == 8
    assert value_without_quote(BOOK[PUT], one_sided, 0.20, at("10:00")) == 0.0
    payoff = value_without_quote(BOOK[PUT], share("10:00", 480.0), None, at("10:00"))
    assert payoff == pytest.approx(20, abs=0.02)


@given(st.floats(300, 700), st.floats(0.01, 5))
def test_what_is_at_least_worth_is_the_payoff_at_the_far_side(spot, spread):
    quoted = quote(SHARE, "10:00", spot - spread / 2, spot + spread / 2)
    assert least_value(BOOK[CALL], quoted) == pytest.approx(max(spot - spread / 2 - 500, 0.0))
    assert least_value(BOOK[PUT], quoted) == pytest.approx(max(500 - spot - spread / 2, 0.0))


def test_a_european_put_may_lie_below_its_payoff_by_its_interest():
    put = BOOK[PUT]
    assert put.style is Style.AMERICAN
    index_put = replace(put, style=Style.EUROPEAN)
    american, european = (least_value(each, share("10:00", 400.0)) for each in (put, index_put))
    years = (put.expiry - DAY).days / 365
    assert american - european == pytest.approx(0.10 * 500 * years, abs=0.10)


def test_the_broker_values_a_put_without_a_quote_at_its_last_volatility_and_the_present_spot():
    market = connect(BOOK, cash=100_000, positions={PUT: 1})
    ledger = market.broker.ledger
    market.on_quote(share("15:59", 500.0))
    market.on_quote(quote(PUT, "15:59", 8.00, 8.10))
    assert ledger.mark(PUT) == D("8.05")
    market.close_session(session_on(DAY).close_ns)
    later = next_session(DAY)
    market.open_session(later.open_ns, later.close_ns)
    market.on_quote(share("09:31", 500.0, later.day))
    assert float(ledger.mark(PUT)) == pytest.approx(8.05, abs=0.35)  # a night has gone by
    market.on_quote(share("09:32", 470.0, later.day))
    assert 30.0 <= float(ledger.mark(PUT)) < 33.0  # its payoff and some time value, not 8.05
    market.on_quote(quote(PUT, "09:33", 31.0, 31.2, day=later.day))
    assert ledger.mark(PUT) == D("31.1")
    market.on_quote(share("09:33:30", 460.0, later.day))
    assert ledger.mark(PUT) == D("39.99")  # an ask of 31.20 is of another spot
