"""The served exchange's Flex statement: its rows come to the account's cash and holdings."""

import json
from collections import Counter
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from scalpdesk_testing.kit.broker import give

pytest.importorskip("ib_async", reason='ib_async is not installed: pip install "scalpdesk[ibkr]"')

from scalpdesk.base import ChangeCause, OrderType, Side
from scalpdesk.exchange import OrderRequest
from scalpdesk_ibkr.statements import STATEMENTS
from scalpdesk_testing.kit.exchange import CALL, PUT, SPY, TwsBench

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("socket_enabled")]
D = Decimal


@pytest.fixture
def tws():
    bench = TwsBench(accounts=1)
    yield bench
    bench.stop()


@pytest.fixture
def account(tws):
    (only,) = tws.world.ledger.accounts.values()
    return only


def trade(tws, account, number, units):
    item, side = tws.world.ledger.instruments[number], Side.BUY if units > 0 else Side.SELL
    request = OrderRequest(item.symbol, side, OrderType.MARKET, quantity=D(abs(units)))
    tws.world.broker.submit(account.name, request)
    tws.advance()


def statement(tws):
    xml = tws.admin("tws/flex")["xml"]
    (found,) = STATEMENTS.read(xml.encode(), ZoneInfo(STATEMENTS.zone))
    assert found.unread == []
    return found


def check_that_it_is_the_accounts(tws, account, found, begun, held):
    instruments = tws.world.ledger.instruments
    cash, units = begun, Counter(held)
    for each in found.trades:
        cash += instruments[instruments.id_of(each.symbol)].cash_flow(each.units, each.price) - each.fee
        units[each.symbol] += each.units
    for line in found.movements:
        cash += line.cash
        units[line.symbol] += line.units
    assert cash == account.cash == found.cash["USD"]
    now = {instruments[number].symbol: line.quantity for number, line in account.holdings.items()}
    assert found.positions == now == {symbol: each for symbol, each in units.items() if each}


def test_trades_an_assignment_a_dividend_and_payments(tws, account):
    option = tws.world.ledger.instruments[CALL]
    give(account, CALL, -2, 9)
    begun = account.cash
    trade(tws, account, SPY, 200)
    trade(tws, account, PUT, 1)
    tws.admin("dividend", b'{"symbol": "SPY", "amount": "1.25"}')
    tws.admin("assign", json.dumps({"symbol": option.symbol, "contracts": 1}).encode())
    tws.admin("pay", b'{"kind": "FEE", "amount": "-1.50"}')
    tws.admin("pay", b'{"kind": "INT", "amount": "2.10"}')
    found = statement(tws)
    assert [line.cause for line in found.movements] == [
        ChangeCause.ASSIGNMENT,
        ChangeCause.DELIVERY,
        ChangeCause.DIVIDEND,
        ChangeCause.FEE,
        ChangeCause.INTEREST,
    ]
    assert len(found.trades) == 2
    check_that_it_is_the_accounts(tws, account, found, begun, {option.symbol: D(-2)})


def test_a_corrected_trade_counts_once_and_a_busted_one_not_at_all(tws, account):
    begun = account.cash
    trade(tws, account, SPY, 10)
    trade(tws, account, SPY, 20)
    first = tws.server.admin.fills()[0]
    tws.admin("correct", json.dumps({"execution_id": first["execution_id"], "price": "499.99"}).encode())
    trade(tws, account, PUT, 1)
    option = next(each for each in tws.server.admin.fills() if each["symbol"] != "SPY")
    tws.admin("bust", json.dumps({"execution_id": option["execution_id"]}).encode())
    found = statement(tws)
    assert sorted((each.symbol, each.units) for each in found.trades) == [("SPY", 10), ("SPY", 20)]
    assert D("499.99") in {each.price for each in found.trades}
    assert found.movements == []
    check_that_it_is_the_accounts(tws, account, found, begun, {})


def test_an_option_on_an_index_has_its_name_and_its_fee(tws, account):
    instruments, begun = tws.world.ledger.instruments, account.cash
    index = next(each for each in instruments if each.symbol.startswith("SPXW") and each.is_option)
    trade(tws, account, instruments.id_of(index.symbol), 1)
    found = statement(tws)
    assert [(each.symbol, each.fee > 0) for each in found.trades] == [(index.symbol, True)]
    check_that_it_is_the_accounts(tws, account, found, begun, {})


def test_another_login_is_refused(tws):
    status, answer = tws.server.admin.handle("POST", "tws/flex", b'{"account": "DU9"}')
    assert (status, answer["value"]) == (400, "'DU9'")
