"""Messages in the vendor's form: every field that the desk believes comes out as it was written.

``vendor_forms.json`` has values of our own in the form of the vendor's pages, each row with its page.
"""

import json
import math
from decimal import Decimal
from pathlib import Path

import pytest

from scalpdesk.instruments.deribit import deribit_option, perpetual
from scalpdesk_deribit import history, wire

FORMS = json.loads(Path(__file__).with_name("vendor_forms.json").read_text())
MS = 1_000_000


def exactly(number):
    return Decimal(str(number or 0))


def instrument_of(name):
    return perpetual("BTC") if name == "BTC-PERPETUAL" else deribit_option(name)


def check_ticker(body, _row):
    item = instrument_of(body["instrument_name"])
    quote, kept = wire.read_quote(body, 3, item, 5), history.ticker_row(body)
    assert (quote.instrument_id, quote.ts_event_ns, quote.ts_recv_ns) == (3, body["timestamp"] * MS, 5)
    for side, price, size in (("bid", quote.bid, quote.bid_size), ("ask", quote.ask, quote.ask_size)):
        said = body[f"best_{side}_price"] or math.nan
        assert (price, kept[side]) == pytest.approx((said, said), nan_ok=True)
        assert size == body[f"best_{side}_amount"] / item.contract_size
        assert kept[f"{side}_amount"] == body[f"best_{side}_amount"]
    assert wire.is_halted(body) is (body["state"] != "open")
    assert (kept["ts"], kept["symbol"]) == (body["timestamp"] * MS, item.symbol)
    for name in ("mark_price", "index_price", "underlying_price", "open_interest"):
        assert kept[name] == pytest.approx(body.get(name, math.nan), nan_ok=True)
    for name in ("mark_iv", "bid_iv", "ask_iv"):
        assert kept[name] == pytest.approx((body.get(name) or math.nan) / 100, nan_ok=True)
    for name in history.GREEKS:
        assert kept[name] == pytest.approx(body.get("greeks", {}).get(name, math.nan), nan_ok=True)


def check_order(body, _row):
    item = instrument_of(body["instrument_name"])
    report, shown = wire.read_report(body, item), wire.read_open_order(body, item, 3)
    filled = exactly(body["filled_amount"]) / item.contract_size
    average = exactly(body.get("average_price")) or None
    assert report.outcome.value == {"untriggered": "open"}.get(body["order_state"], body["order_state"])
    assert (report.client_order_id, report.venue_order_id) == (body.get("label", ""), body["order_id"])
    assert report.ts_event_ns == body["last_update_timestamp"] * MS
    assert (report.filled, report.average_price) == (filled, average)
    assert report.reason == (body.get("cancel_reason") or body.get("reject_reason") or "")
    assert (shown.symbol, shown.side.value) == (body["instrument_name"], body["direction"])
    assert (shown.quantity * item.contract_size, shown.filled) == (exactly(body["amount"]), filled)
    assert shown.limit_price == (None if body["price"] == "market_price" else exactly(body["price"]))
    assert shown.submitted_ns == body["creation_timestamp"] * MS
    assert shown.is_liquidation is body["is_liquidation"]
    assert shown.is_open is (body["order_state"] in ("open", "untriggered"))


def check_trade(body, _row):
    item = instrument_of(body["instrument_name"])
    fill, label, has_fee = wire.read_trade(body, item)
    assert (fill.execution_id, label, fill.symbol) == (body["trade_id"], body.get("label", ""), item.symbol)
    assert fill.venue_order_id == body["order_id"]
    assert (fill.side.value, fill.ts_event_ns) == (body["direction"], body["timestamp"] * MS)
    assert fill.quantity * item.contract_size == exactly(body["amount"])
    assert (fill.price, fill.fee, has_fee) == (exactly(body["price"]), exactly(body["fee"]), True)
    assert fill.is_liquidation is (body.get("liquidation") == body["liquidity"])


def check_position(body, _row):
    item = instrument_of(body["instrument_name"])
    held = wire.read_position(body, item, 3)
    if not body["size"]:
        assert held is None
        return
    assert held is not None
    assert held.position.quantity * item.contract_size == exactly(body["size"])
    assert held.position.average_price == exactly(body["average_price"])


def check_summary(body, _row):
    account = wire.read_account(body, ())
    assert account.account_id == str(body.get("id") or body.get("username") or body["currency"])
    assert (account.currency, account.equity) == (body["currency"], exactly(body["equity"]))
    assert account.cash == exactly(body["equity"]) - exactly(body["session_funding"])
    assert account.buying_power == account.options_buying_power == exactly(body["available_funds"])
    least = min(body["equity"], body["margin_balance"])
    assert float(account.margin_fraction) == pytest.approx(body["maintenance_margin"] / least, abs=1e-6)
    assert wire.margin_model(body) == body["margin_model"]


def check_log(body, row):
    activity = wire.read_log(body)
    if row["cause"] is None:
        assert activity is None
        return
    assert activity is not None
    assert (activity.activity_id, activity.kind, activity.cause.value) == (
        str(body["id"]),
        body["type"],
        row["cause"],
    )
    assert (activity.symbol, activity.ts_event_ns) == (body["instrument_name"] or "", body["timestamp"] * MS)
    is_delivery = body["type"] == "delivery"
    sign = -1 if body["side"] == "close sell" else 1
    assert activity.quantity_change == (sign * exactly(body["amount"]) if is_delivery else 0)
    assert activity.price == (exactly(body["price"]) if is_delivery else 0)
    assert activity.cash_change == exactly(body.get("total_interest_pl", body["change"]))


def check_instrument(body, row):
    item, kept = wire.read_instrument(body), history.listing_row(body)
    assert type(item).__name__ == row["type"]
    assert (kept["symbol"], kept["kind"], kept["currency"]) == tuple(
        body[name] for name in ("instrument_name", "kind", "settlement_currency")
    )
    is_perpetual = body["settlement_period"] == "perpetual"
    assert kept["expires"] == (None if is_perpetual else body["expiration_timestamp"] * MS)
    assert (kept["maker_fee"], kept["taker_fee"]) == (body["maker_commission"], body["taker_commission"])
    if item is None:
        return
    assert (item.symbol, item.tick_rule.below) == (body["instrument_name"], exactly(body["tick_size"]))
    assert [(step.above_price, step.tick) for step in item.tick_rule.steps] == [
        (exactly(step["above_price"]), exactly(step["tick_size"])) for step in body["tick_size_steps"]
    ]
    assert item.currency == body["settlement_currency"]
    if item.is_option:
        assert (item.strike, item.is_call) == (body["strike"], body["option_type"] == "call")


def check_combo(body, _row):
    legs = {leg["instrument_name"]: exactly(leg["amount"]) for leg in body["legs"]}
    assert wire.read_combo(body) == (body["id"], legs)
    assert wire.is_combo(body["id"])


def check_print(body, _row):
    kept = history.print_row(body)
    assert (kept["ts"], kept["symbol"]) == (body["timestamp"] * MS, body["instrument_name"])
    assert (kept["trade_id"], kept["side"]) == (body["trade_id"], body["direction"])
    for name in ("price", "amount", "mark_price", "index_price"):
        assert kept[name] == body[name]
    assert kept["iv"] == pytest.approx(body["iv"] / 100)


def check_settlement(body, _row):
    kept = history.settlement_row(body)
    assert (kept["ts"], kept["symbol"], kept["type"]) == (
        body["timestamp"] * MS,
        body["instrument_name"],
        body["type"],
    )
    for name in ("index_price", "mark_price", "position", "funding"):
        assert kept[name] == pytest.approx(body.get(name, math.nan), nan_ok=True)


def check_error(body, row):
    reply = wire.decode_frame(json.dumps(body))
    assert isinstance(reply, wire.RpcReply)
    assert reply.error is not None
    assert (reply.request_id, reply.error.code) == (body["id"], body["error"]["code"])
    assert wire.refusal_of(reply.error) == row["means"]


def check_note(body, _row):
    note = wire.decode_frame(json.dumps(body))
    assert note == wire.Notification(body["params"]["channel"], body["params"]["data"])


@pytest.mark.parametrize("row", FORMS, ids=[row["id"] for row in FORMS])
def test_every_field_of_a_message_comes_out_as_it_was_written(row):
    globals()[f"check_{row['kind']}"](row["body"], row)
