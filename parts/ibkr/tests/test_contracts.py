"""Contracts of TWS as the desk's instruments, and back."""

from datetime import date
from decimal import Decimal

import pytest
from ib_async import Contract

from scalpdesk.base import Equity, InstrumentId, Instruments, Settlement, TickRule, us_option
from scalpdesk.instruments.contract import Future, Index
from scalpdesk_ibkr.contracts import Contracts, future_named, instrument_of
from scalpdesk_testing.kit.served import against

D = Decimal


@pytest.mark.rows(
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


@pytest.mark.parametrize("multiplier", ["10", "150"])
def test_an_option_of_another_multiplier_is_not_taken_for_the_listed_one(multiplier):
    local = "SPY   210115P00370000"
    contract = Contract(secType="OPT", localSymbol=local, multiplier=multiplier, currency="USD")
    assert getattr(instrument_of(contract), "multiplier", None) in (None, int(multiplier))


def test_a_future_has_its_month_in_its_name_and_its_terms_from_the_broker():
    details = Contract(
        secType="FUT",
        symbol="ES",
        lastTradeDateOrContractMonth="20210319",
        multiplier="50",
        currency="USD",
        localSymbol="ESH1",
    )
    tick = TickRule(D("0.25"))
    assert instrument_of(details, 0.25) == Future("ES_202103", "ES", date(2021, 3, 19), tick, multiplier=50)
    named = future_named("ES_202103")
    assert (named.symbol, named.lastTradeDateOrContractMonth, named.exchange) == ("ES", "202103", "CME")


def test_shares_and_indices_go_by_their_symbols_and_other_money_is_not_traded():
    assert instrument_of(Contract(secType="STK", symbol="SPY", currency="USD")) == Equity("SPY")
    assert instrument_of(Contract(secType="IND", symbol="SPX", currency="USD")) == Index("SPX")
    assert instrument_of(Contract(secType="STK", symbol="SAP", currency="EUR")) is None
    assert instrument_of(Contract(secType="CASH", symbol="EUR", currency="USD")) is None
    assert instrument_of(Contract(secType="OPT", localSymbol="odd", multiplier="100", currency="USD")) is None


@pytest.mark.rows(
    ("symbol", "local", "known", "unknown"),
    [
        ("BRK B", "BRKB  260320C00500000", "BRK.B", False),
        ("RDS A", "RDSA  210319C00040000", "RDS.A", True),
        ("KO", "KO    260320C00070000", "KO", True),
        ("VIX", "VIXW  260325C00020000", "VIX", False),
    ],
)
def test_an_option_is_on_a_share_where_a_row_or_the_details_say_so(symbol, local, known, unknown):
    contract = Contract(secType="OPT", symbol=symbol, localSymbol=local, multiplier="100", currency="USD")
    assert instrument_of(contract, is_on_share=True).underlying == known
    assert (instrument_of(contract) is None) is unknown
    share = Contract(secType="STK", symbol=symbol, currency="USD")
    assert instrument_of(share) == Equity(symbol.replace(" ", "."))


def test_a_share_class_and_a_morning_expiry_are_named_as_tws_writes_them():
    book = Instruments([us_option("BRKB260320C00500000"), us_option("SPX260320C06000000"), Equity("BRK.B")])
    share_class, morning, share = map(Contracts(None, book).of, map(InstrumentId, range(3)))
    assert (share_class.symbol, share_class.tradingClass, share.symbol) == ("BRK B", "BRKB", "BRK B")
    assert share_class.lastTradeDateOrContractMonth == "20260320"
    assert (morning.localSymbol, morning.lastTradeDateOrContractMonth) == ("SPX   260320C06000000", "")


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_an_option_whose_multiplier_is_not_its_own_is_asked_for_again_and_named(socket_enabled):
    changed = []

    def once(fields):
        if fields[0] == "10" and fields[3] == "OPT" and "100" in fields and not changed:
            changed.append(fields[11])
            place = fields.index("100")
            return [[*fields[:place], "10", *fields[place + 1 :]]]
        return [fields]

    async def scenario(bench):
        desk = bench.gateway()
        await desk.connect()
        days = bench.book[bench.call].expiry
        found = await desk.discover("SPY", days, days)
        told = desk.health().counters.get("implausible_number")
        await desk.close()
        assert changed
        assert {each.contract.multiplier for each in found} == {100}
        assert bench.book[bench.call].symbol in {each.contract.symbol for each in found}
        assert told == 1

    against(scenario, once)
