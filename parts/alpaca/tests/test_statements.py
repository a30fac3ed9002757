"""Activities of Alpaca as a statement, and what others' readers stumbled over, each with its report."""

import json
from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from scalpdesk.accounting.statements import without_repeats
from scalpdesk.base import ChangeCause, DataError, to_new_york
from scalpdesk_alpaca.statements import STATEMENTS

D = Decimal
FILL = {
    "id": "20210127144930176::ddc0a142-ebfd-4890-9021-641d33e58742",
    "activity_type": "FILL",
    "transaction_time": "2021-01-27T19:49:30.176Z",
    "type": "partial_fill",
    "price": "31.6",
    "qty": "100",
    "side": "buy",
    "symbol": "QQQJ",
    "leaves_qty": "131",
    "order_id": "ee8058e5-41a0-48fd-8156-915ae0af6d17",
    "cum_qty": "869",
}
FEE = {
    "id": "20240722000000000::a1",
    "account_id": "acc-1",
    "activity_type": "FEE",
    "date": "2024-07-22",
    "net_amount": "-0.01",
    "description": "TAF fee for proceed of 48 shares (9 trades) on 2024-07-19 by 123",
    "status": "executed",
}


def read(*pages):
    raw = "\n".join(json.dumps(page) for page in pages).encode()
    (found,) = STATEMENTS.read(raw, ZoneInfo(STATEMENTS.zone))
    return found


def test_partial_fills_of_one_millisecond_are_all_there_in_whatever_order():
    """github.com/alpacahq/Alpaca-API/issues/170."""
    last = {**FILL, "id": "20210127144930176::0ef90479", "type": "fill", "qty": "30", "cum_qty": "1000"}
    first = {**FILL, "id": "20210127144930176::b68ca618", "qty": "51", "cum_qty": "970"}
    found = read([last, FILL, first])
    assert [trade.execution for trade in found.trades] == [
        "0ef90479", "ddc0a142-ebfd-4890-9021-641d33e58742", "b68ca618",
    ]  # fmt: skip
    assert sum(trade.units for trade in found.trades) == 181
    assert {trade.order for trade in found.trades} == {FILL["order_id"]}


def test_pages_may_overlap():
    """github.com/alpacahq/Alpaca-API/issues/176: whoever asks again with care has lines twice."""
    other = {**FILL, "id": "20210127144930177::x"}
    found = without_repeats(read([FILL, other], [other, FEE], []))
    assert (len(found.trades), len(found.movements), len(found.notes)) == (2, 1, 1)


def test_fees_of_trades_belong_to_the_day_of_the_trades():
    """github.com/alpacahq/user-docs/pull/133, bennycode/trading-signals/pull/1351: a line a day and kind."""
    (fee,) = read([FEE]).movements
    assert (fee.cause, fee.cash, fee.charges_day) == (ChangeCause.FEE, D("-0.01"), date(2024, 7, 19))
    (plain,) = read([{**FEE, "description": "REG fee"}]).movements
    assert plain.charges_day == date(2024, 7, 22)
    assert to_new_york(plain.ts_ns).hour == 0
    assert read([FEE]).fees_apart


def test_a_kind_that_no_reader_knows_is_kept_with_its_cash():
    """github.com/alpacahq/alpaca-trade-api-csharp/issues/610: a missing kind lost the fees."""
    (line,) = read([{**FEE, "activity_type": "NEWFEE"}]).movements
    assert (line.kind, line.cause, line.cash) == ("NEWFEE", None, D("-0.01"))


def test_ends_of_options_move_units_and_a_pending_line_nothing():
    ended = {
        "id": "20240304000000000::g1", "account_id": "acc-1", "activity_type": "OPASN", "date": "2024-03-04",
        "net_amount": "0", "symbol": "SPY240304C00500000", "qty": "-2", "status": "executed",
    }  # fmt: skip
    shares = {**ended, "activity_type": "OPTRD", "symbol": "SPY", "qty": "-200", "net_amount": "100000",
              "price": "500"}  # fmt: skip
    found = read([ended, shares, {**shares, "id": "x::g2", "status": "pending"}])
    assert [(line.cause, line.units, line.cash) for line in found.movements] == [
        (ChangeCause.ASSIGNMENT, 2, 0),
        (ChangeCause.DELIVERY, -200, 100_000),
    ]
    assert len(found.notes) == 1
    assert len({line.reference for line in found.movements}) == 2


def test_a_fee_in_units_keeps_them_and_a_line_without_an_amount_is_named():
    """A fee in a coin has net_amount 0; what neither reads nor names a line would agree with anything."""
    coin = {**FEE, "activity_type": "CFEE", "net_amount": "0", "symbol": "ETHUSD", "qty": "-0.0002"}
    (line,) = read([coin]).movements
    assert (line.cause, line.symbol, line.units) == (None, "ETHUSD", D("-0.0002"))
    for kind in ("DIV", "NEWFEE", "OPASN"):
        found = read([{**FEE, "activity_type": kind, "net_amount": None, "amount": "-7"}])
        assert (len(found.movements), len(found.unread)) == (0, 1)


def test_a_short_sale_is_a_sale():
    (trade,) = read([{**FILL, "side": "sell_short"}]).trades
    assert trade.units == -100


def test_an_activity_that_cannot_be_read_is_named_and_the_others_are_read():
    found = read([{**FILL, "price": "cheap"}, {**FEE, "net_amount": "x"}, {**FEE, "date": "soon"}, FILL])
    assert (len(found.trades), len(found.unread)) == (1, 3)


def test_accounts_of_one_file_stay_apart():
    raw = json.dumps([FEE, {**FEE, "account_id": "acc-2"}]).encode()
    assert [each.account for each in STATEMENTS.read(raw, ZoneInfo("UTC"))] == ["acc-1", "acc-2"]


@pytest.mark.rows("raw", [b"{", b"\xff", b'{"message": "forbidden"}', b'[{"id": 1}]', b"[[]]"])
def test_what_is_no_list_of_activities_is_refused(raw):
    with pytest.raises(DataError):
        STATEMENTS.read(raw, ZoneInfo("UTC"))
