"""Deribit's transaction log as a statement, and what others' readers stumbled over, each with its report."""

import json
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from scalpdesk.base import ChangeCause, DataError
from scalpdesk_deribit.statements import STATEMENTS

D = Decimal
UTC = ZoneInfo("UTC")
TRADE = {
    "id": 11,
    "user_seq": 101,
    "username": "me",
    "timestamp": 1_741_150_800_123,
    "type": "trade",
    "currency": "BTC",
    "instrument_name": "BTC-7MAR25-90000-C",
    "side": "open buy",
    "amount": 0.3,
    "contracts": 0.3,
    "price": 0.0213,
    "commission": 0.00009,
    "cashflow": -0.00639,
    "change": -0.00648,
    "balance": 1.99352,
    "position": 0.3,
    "trade_id": "BTC-777",
    "order_id": "BTC-42",
    "info": None,
}
SETTLED = {
    **TRADE,
    "id": 13,
    "user_seq": 103,
    "type": "settlement",
    "instrument_name": "BTC-PERPETUAL",
    "side": "long",
    "amount": 400,
    "price": 90_000.0,
    "commission": 0,
    "cashflow": -0.00030352,
    "total_interest_pl": 0.0000209,
    "change": -0.00030352,
    "balance": 1.99321648,
    "position": 400,
}


def read(*rows):
    raw = json.dumps({"result": {"logs": list(rows), "continuation": None}}).encode()
    (found,) = STATEMENTS.read(raw, UTC)
    return found


def test_an_option_counts_coins_and_its_fee_is_apart_from_its_premium():
    (trade,) = read(TRADE).trades
    assert (trade.execution, trade.order, trade.units) == ("BTC-777", "BTC-42", D("0.3"))
    assert (trade.price, trade.fee, trade.currency) == (D("0.0213"), D("0.00009"), "BTC")
    assert trade.ts_ns == 1_741_150_800_123_000_000


@pytest.mark.rows(
    ("side", "amount", "units"), [("open sell", 400, -40), ("close buy", 10, 1), ("buy", 30, 3)]
)
def test_an_inverse_perpetual_is_written_in_dollars(side, amount, units):
    """docs.deribit.com: amounts of perpetuals and inverse futures are USD, of options the coin."""
    row = {**TRADE, "instrument_name": "BTC-PERPETUAL", "side": side, "amount": amount, "position": -50}
    found = read(row)
    assert [trade.units for trade in found.trades] == [units]
    assert found.positions == {"BTC-PERPETUAL": -5}


def test_a_settlement_moves_the_funding_alone():
    """github.com/BittyTax/BittyTax/issues/373: the cash flow holds the funding already, and profits."""
    (line,) = read(SETTLED).movements
    assert (line.cause, line.cash, line.units) == (ChangeCause.FUNDING, D("0.0000209"), 0)


@pytest.mark.rows(
    ("price", "change", "cause"),
    [(0.01, 0.0029, ChangeCause.CASH_SETTLEMENT), (0, 0, ChangeCause.EXPIRED_WORTHLESS)],
)
def test_a_delivery_ends_an_option(price, change, cause):
    row = {**TRADE, "type": "delivery", "side": "close sell", "price": price, "change": change, "position": 0}
    (line,) = read({**row, "trade_id": None, "order_id": None}).movements
    assert (line.cause, line.units, line.cash) == (cause, D("-0.3"), D(str(change)))


def test_a_rebate_is_a_negative_fee():
    """github.com/ccxt/ccxt/issues/4074: signs of fees and rebates."""
    (trade,) = read({**TRADE, "commission": -0.00002}).trades
    assert trade.fee == D("-0.00002")


def test_a_type_that_is_new_is_kept_with_its_change():
    """docs.deribit.com: new types can be added at any time."""
    (line,) = read({**TRADE, "type": "socialized_fund", "change": -0.5}).movements
    assert (line.cause, line.cash) == (None, D("-0.5"))


@pytest.mark.rows(
    "changes",
    [{"type": "transfer", "change": 0}, {"type": "swap", "change": 0}, {"type": "swap", "change": None}],
)
def test_units_of_a_type_that_has_none_and_a_line_without_a_change_are_named(changes):
    assert len(read({**TRADE, **changes}).unread) == 1


def test_a_balance_that_does_not_follow_shows_that_lines_are_missing():
    before = {**TRADE, "id": 10, "user_seq": 100, "change": 0.0, "balance": 2.0, "timestamp": 1}
    after = {**SETTLED, "timestamp": TRADE["timestamp"]}
    assert read(after, TRADE, before, TRADE).unread == []
    (gap,) = read(after, before).unread
    assert "-0.00648" in gap


CSV = """ID,UserSeq,Date,Instrument,Type,Side,Amount,Base Amount,Position,Price,Mark Price,Index Price,Cash Flow,Funding,Fee Rate,Fee Charged,Fee Balance,Change,Balance,Equity,Trade ID,Order ID,Info,Note
13,103,5 Mar 2025 08:00:00,BTC-PERPETUAL,settlement,long,400,0.0044,400,90000.0,-,-,-0.00030352,0.0000209,-,0.0,0.0,-0.00030352,1.99321648,2.0,-,-,-,-
11,101,5 Mar 2025 05:00:00,BTC-7MAR25-90000-C,trade,open buy,0.3,0.3,0.3,0.0213,-,-,-0.00639,-,0.0003,0.00009,0.0,-0.00648,1.99352,2.0,777,BTC-42,-,-
"""  # noqa: E501 - one line each, as the site writes them


def test_the_sites_table_says_the_same_as_the_log():
    (found,) = STATEMENTS.read(CSV.encode(), UTC)
    (trade,), (line,) = found.trades, found.movements
    assert (trade.units, trade.price, trade.fee, trade.currency) == (
        D("0.3"),
        D("0.0213"),
        D("0.00009"),
        "BTC",
    )
    assert (line.cause, line.cash) == (ChangeCause.FUNDING, D("0.0000209"))
    assert found.positions == {"BTC-7MAR25-90000-C": D("0.3"), "BTC-PERPETUAL": 40}
    assert found.unread == []


def test_a_line_that_cannot_be_read_is_named_and_the_others_are_read():
    found = read({**TRADE, "side": "-"}, {**TRADE, "price": "x"}, {**TRADE, "timestamp": None}, TRADE)
    assert (len(found.trades), len(found.unread)) == (1, 3)


@pytest.mark.rows("raw", [b"[", b'{"error": {"code": 13009}}', b'[{"id": 1}]', b"a,b\n1,2\n", b"\xff"])
def test_what_is_no_log_is_refused(raw):
    with pytest.raises(DataError):
        STATEMENTS.read(raw, UTC)
