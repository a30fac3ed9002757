"""Contracts of TWS as the desk's instruments, and back."""

from datetime import date
from decimal import Decimal

import pytest
from ib_async import Contract

from scalpdesk.instruments.contract import Equity, Future, Index, Settlement, TickRule
from scalpdesk.venues.ibkr.contracts import future_named, instrument_of

D = Decimal


@pytest.mark.parametrize(
    ("local", "settlement", "style"),
    [
        ("SPXW  210104C03700000", Settlement.CASH_PM, "european"),
        ("SPX   210115P03700000", Settlement.CASH_AM, "european"),
        ("SPY   210115P00370000", Settlement.PHYSICAL, "american"),
    ],
)
def test_options_are_told_apart_by_their_class(local, settlement, style):
    contract = Contract(secType="OPT", localSymbol=local, multiplier="100", currency="USD")
    option = instrument_of(contract)
    assert (option.settlement, option.style.value, option.multiplier) == (settlement, style, 100)
    assert option.underlying == ("SPY" if local.startswith("SPY") else "SPX")


def test_a_future_has_its_month_in_its_name_and_its_terms_from_the_broker():
    details = Contract(
        secType="FUT",
        symbol="ES",
        lastTradeDateOrContractMonth="20210319",
        multiplier="50",
        currency="USD",
        localSymbol="ESH1",
    )
    tick = TickRule(D("0.25"), D("0.25"))
    assert instrument_of(details, 0.25) == Future("ES_202103", "ES", date(2021, 3, 19), tick, multiplier=50)
    named = future_named("ES_202103")
    assert (named.symbol, named.lastTradeDateOrContractMonth, named.exchange) == ("ES", "202103", "CME")


def test_shares_and_indices_go_by_their_symbols_and_other_money_is_not_traded():
    assert instrument_of(Contract(secType="STK", symbol="SPY", currency="USD")) == Equity("SPY")
    assert instrument_of(Contract(secType="IND", symbol="SPX", currency="USD")) == Index("SPX")
    assert instrument_of(Contract(secType="STK", symbol="SAP", currency="EUR")) is None
    assert instrument_of(Contract(secType="CASH", symbol="EUR", currency="USD")) is None
    assert instrument_of(Contract(secType="OPT", localSymbol="odd", multiplier="100", currency="USD")) is None
