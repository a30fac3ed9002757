"""Messages in the vendor's form: the parsers read each, and every field comes out as it was written.

``vendor_forms.json`` has values of our own in the form of the vendor's pages, each row with its page. What
the vendor sent lies beside the project, and is read too where it is there.
"""

import json
import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgpack
import pytest

from scalpdesk.base import BarEvent, QuoteEvent, Side, TradeEvent
from scalpdesk.venues import VenueMinute
from scalpdesk_alpaca import account_messages, history, market_data, order_messages
from scalpdesk_alpaca.account_messages import MOVES, PAYMENTS
from scalpdesk_alpaca.market_data import MarketReader, Subscribed, TradingStatus
from scalpdesk_alpaca.messages import Authorized, Listening, StreamError, StreamFault, Welcome
from scalpdesk_alpaca.order_messages import (
    ReplyVerdict,
    TradeUpdate,
    WireOrder,
    judge,
    rate_limit,
    read_update,
)

FOLDER = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "alpaca_samples"
FORMS = Path(__file__).with_name("vendor_forms.json")
SAMPLES = [
    pytest.param(sample, id=sample["id"], marks=() if path == FORMS else pytest.mark.recorded)
    for path in (FORMS, *sorted(FOLDER.glob("*.json")))
    for sample in json.loads(path.read_text())
]
NOT_READ = {
    "account_configurations": "the desk asks the account what it may do, not for its settings",
    "calendar": "the desk has its own calendar of sessions",
    "nta_event": "the stream of a broker's back office: no account of a user sends it",
    "option_latest_trades": "the desk decides by quotes",
    "option_chain": "the desk computes volatility and Greeks itself",
    "option_snapshots": "the desk computes volatility and Greeks itself",
    "stock_snapshots": "the desk decides by quotes",
    "stock_trades": "the desk decides by quotes",
}
D = Decimal


def in_nanoseconds(stamp: str) -> int:
    """Read a stamp in another way than the product does."""
    whole, fraction, zone = re.fullmatch(r"(.{19})(?:\.(\d+))?(.*)", stamp).groups()
    return int(datetime.fromisoformat(whole + zone).timestamp()) * 10**9 + int(
        (fraction or "0").ljust(9, "0")
    )


def decimal_or_none(value: Any) -> Decimal | None:
    return None if value is None else D(str(value))


def raw(value: Any) -> bytes:
    return json.dumps(value).encode()


# orders ------------------------------------------------------------------------------------------------


def same_order(order: WireOrder, body: dict[str, Any], *, is_leg: bool = False) -> None:
    legs = body.get("legs") or []
    is_parent = body.get("order_class") == "mleg" and not is_leg
    submitted_ns = in_nanoseconds(body["submitted_at"])
    assert order.venue_order_id == body["id"]
    assert order.client_order_id == body["client_order_id"]
    assert order.symbol == (body["symbol"] or "")
    assert order.side is {"buy": Side.BUY, "": None}.get(body["side"], Side.SELL)
    assert order.quantity == decimal_or_none(body.get("qty"))
    assert order.filled == D(str(body["filled_qty"]))
    assert order.average_price == decimal_or_none(body["filled_avg_price"])
    assert order.status == body["status"]
    assert order.is_open is (body["status"] not in ("filled", "canceled", "expired", "replaced", "rejected"))
    assert order.limit_price == decimal_or_none(body["limit_price"])
    assert order.submitted_ns == submitted_ns
    assert order.updated_ns == in_nanoseconds(body.get("updated_at") or body["submitted_at"])
    assert order.replaces == (body.get("replaces") or "")
    assert order.replaced_by == (body.get("replaced_by") or "")
    assert len(order.legs) == len(legs)
    assert not is_parent or not order.symbol
    for leg, shown in zip(order.legs, legs, strict=True):
        same_order(leg, shown, is_leg=True)


def check_order(sample: dict[str, Any]) -> None:
    same_order(order_messages.read_order(raw(sample["body"])), sample["body"])


def check_orders(sample: dict[str, Any]) -> None:
    orders, refusals = order_messages.read_orders(raw(sample["body"]))
    assert refusals == []
    for order, body in zip(orders, sample["body"], strict=True):
        same_order(order, body)


def check_orders_within(sample: dict[str, Any]) -> None:
    """Check a list of results: an order, or why it is missing."""
    for line in sample["body"]:
        body = line.get("body")
        if body is not None and "message" in body:
            assert judge(line["status"], raw(body)).verdict is not ReplyVerdict.DONE
        elif body is not None:
            same_order(order_messages.read_order(raw(body)), body)


def check_cancelled(sample: dict[str, Any]) -> None:
    assert judge(sample["http_status"], b"").verdict is ReplyVerdict.DONE


def check_update(sample: dict[str, Any]) -> None:
    data = sample["frame"]["data"]
    update = read_update(raw(sample["frame"]))
    assert isinstance(update, TradeUpdate)
    assert update.event == data["event"]
    assert update.ts_event_ns == in_nanoseconds(data["timestamp"])
    assert update.execution_id == data.get("execution_id", "")
    same_order(update.order, data["order"])
    legs = data.get("legs") or []
    is_single = data["event"] in ("fill", "partial_fill") and not legs
    traded = (D(data["qty"]), D(data["price"])) if is_single else (None, None)
    assert (update.quantity, update.price) == traded
    for leg, shown in zip(update.legs, legs, strict=True):
        assert leg.ts_event_ns == in_nanoseconds(shown["timestamp"])
        assert (leg.execution_id, leg.venue_order_id) == (shown["execution_id"], shown["order_id"])
        assert (leg.symbol, leg.quantity, leg.price) == (
            shown["symbol"],
            D(shown["qty"]),
            D(shown["price"]),
        )


def check_order_stream(sample: dict[str, Any]) -> None:
    frame = sample["frame"]
    said, data = read_update(raw(frame)), frame["data"]
    match frame.get("stream"):
        case "authorization":
            assert said == Authorized(**data)
            assert said.is_authorized is (data["status"] == "authorized")
        case "listening":
            assert said == Listening(tuple(data["streams"]))
        case _:
            assert said == StreamError(data["error_message"])


def check_refusal(sample: dict[str, Any]) -> None:
    body = sample["body"]
    judged = judge(sample["http_status"], raw(body))
    assert judged.verdict == sample["means"]
    assert body is None or body["message"][:100] in judged.reason


def check_rate_limit(sample: dict[str, Any]) -> None:
    stated = rate_limit(sample["headers"])
    assert stated is not None
    assert [str(figure) for figure in (stated.limit, stated.remaining, stated.reset_s)] == [
        sample["headers"][f"x-ratelimit-{name}"] for name in ("limit", "remaining", "reset")
    ]
    assert judge(sample["http_status"], raw(sample["body"])).verdict == sample["means"]


# account -----------------------------------------------------------------------------------------------


def check_account(sample: dict[str, Any]) -> None:
    body = sample["body"]
    account = account_messages.read_account(raw(body))
    assert (account.account_id, account.status, account.currency) == (
        body["id"],
        body["status"],
        body["currency"],
    )
    for name in ("cash", "equity", "buying_power"):
        assert getattr(account, name) == D(body[name])
    assert account.options_buying_power == D(body.get("options_buying_power", "0"))
    assert account.options_level == body.get("options_trading_level", 0)
    assert account.may_short is body["shorting_enabled"]
    assert account.may_trade


def check_fills(sample: dict[str, Any]) -> None:
    fills, token = account_messages.read_fills(raw(sample["body"]))
    assert token is None
    for fill, row in zip(fills, sample["body"], strict=True):
        assert row["id"].endswith(f"::{fill.execution_id}")
        assert (fill.venue_order_id, fill.symbol) == (row["order_id"], row["symbol"])
        assert fill.side is (Side.BUY if row["side"] == "buy" else Side.SELL)
        assert (fill.quantity, fill.cumulative, fill.price) == (
            D(row["qty"]),
            D(row["cum_qty"]),
            D(row["price"]),
        )
        assert fill.ts_event_ns == in_nanoseconds(row["transaction_time"])


def check_activities(sample: dict[str, Any]) -> None:
    body = sample["body"]
    found, token = account_messages.read_activities(raw(body))
    assert token is None
    known = [row for row in body if row["activity_type"] in {**MOVES, **PAYMENTS}]
    assert len({activity.activity_id for activity in found}) == len(found) == len(known)
    for activity, row in zip(found, known, strict=True):
        kind = row["activity_type"]
        moves = kind in MOVES
        assert (activity.kind, activity.symbol) == (kind, row.get("symbol", ""))
        assert activity.quantity_change == (D(row.get("qty", "0")) if moves else 0)
        assert activity.price == (D(row.get("price") or "0") if moves else 0)
        assert activity.cash_change == D(row["net_amount"])
        at = row.get("created_at") or f"{row['date']}T00:00:00Z"
        assert activity.ts_event_ns == in_nanoseconds(at)


def check_positions(sample: dict[str, Any]) -> None:
    held, _ = account_messages.read_positions(raw(sample["body"]), lambda _symbol: None)
    for position, row in zip(held, sample["body"], strict=True):
        assert position.symbol == row["symbol"].strip()
        signed = D(row["qty"]) if row["side"] == "long" else -abs(D(row["qty"]))
        assert (position.quantity, position.average_price) == (signed, D(row["avg_entry_price"]))


def check_asset(sample: dict[str, Any]) -> None:
    body = sample["body"]
    wanted = all(body[name] for name in ("tradable", "shortable", "easy_to_borrow"))
    rules = account_messages.read_share_rules(raw(body), body["symbol"])
    assert rules == (wanted and body["status"] == "active", body["fractionable"])


def check_clock(sample: dict[str, Any]) -> None:
    body, clock = sample["body"], account_messages.read_clock(raw(sample["body"]))
    assert clock.is_open is body["is_open"]
    assert (clock.now_ns, clock.next_open_ns, clock.next_close_ns) == tuple(
        in_nanoseconds(body[name]) for name in ("timestamp", "next_open", "next_close")
    )


def check_contract(sample: dict[str, Any]) -> None:
    body = sample["body"]
    page = body if "option_contracts" in body else {"option_contracts": [body]}
    found, token, refused = account_messages.read_contracts(raw(page))
    assert (refused, token) == ([], page.get("next_page_token"))
    for listed, row in zip(found, page["option_contracts"], strict=True):
        contract = listed.contract
        assert contract.symbol == row["symbol"]
        assert contract.root == row["root_symbol"]
        assert contract.underlying == row["underlying_symbol"]
        assert contract.expiry == date.fromisoformat(row["expiration_date"])
        assert (contract.strike, contract.multiplier) == (D(row["strike_price"]), int(row["size"]))
        assert ("call" if contract.is_call else "put", contract.style) == (row["type"], row["style"])
        interest = row.get("open_interest")
        assert listed.open_interest_contracts == (None if interest is None else int(interest))
        assert listed.is_tradable is (row["tradable"] and row["status"] == "active")


# the market --------------------------------------------------------------------------------------------


def check_latest_quotes(sample: dict[str, Any]) -> None:
    quotes = sample["body"]["quotes"]
    order = list(quotes)
    found, refused = account_messages.read_latest_quotes(
        raw(sample["body"]), order.index, lambda at_ns: at_ns
    )
    assert refused == []
    assert [(order[q.instrument_id], q.ts_event_ns, q.bid, q.bid_size, q.ask, q.ask_size) for q in found] == [
        (s, in_nanoseconds(q["t"]), q["bp"], q["bs"], q["ap"], q["as"]) for s, q in quotes.items()
    ]


def check_bars(sample: dict[str, Any]) -> None:
    for symbol, rows in sample["body"]["bars"].items():
        bars, token = market_data.read_bars(raw(sample["body"]), symbol, VenueMinute)
        assert token == sample["body"]["next_page_token"]
        assert [(b.start_ns, b.open, b.high, b.low, b.close, b.volume) for b in bars] == [
            (in_nanoseconds(row["t"]), *(row[name] for name in "ohlcv")) for row in rows
        ]


def check_option_bars(sample: dict[str, Any]) -> None:
    for symbol, rows in sample["body"]["bars"].items():
        bars = list(history._bars({symbol: rows}, 60))
        assert [(b.ts_end_ns - 60 * 10**9, b.open, b.high, b.low, b.close, b.volume) for b in bars] == [
            (in_nanoseconds(row["t"]), *(row[name] for name in "ohlcv")) for row in rows
        ]


def check_dividends(sample: dict[str, Any]) -> None:
    for row in sample["body"]["corporate_actions"].get("cash_dividends", ()):
        line = history._dividend(row)
        assert (line.symbol, line.ex_date.isoformat(), line.amount) == (
            row["symbol"],
            row["ex_date"],
            D(str(row["rate"])),
        )


def packed(message: Any) -> bytes:
    """Write stamps as the extension that the vendor uses in MessagePack."""
    lines = [
        {
            name: msgpack.Timestamp.from_unix_nano(in_nanoseconds(value)) if name == "t" else value
            for name, value in line.items()
        }
        for line in message
    ]
    done: bytes = msgpack.packb(lines)
    return done


def check_stream(sample: dict[str, Any]) -> None:
    frame = sample["frame"]
    is_msgpack = sample.get("codec") == "msgpack"
    reader = MarketReader(lambda _symbol: 7, is_msgpack=is_msgpack)
    items = reader.read(packed(frame) if is_msgpack else raw(frame), lambda at_ns: at_ns)
    for item, message in zip(items, [line for line in frame if line["T"] not in "udlcxin"], strict=True):
        at_ns = in_nanoseconds(message["t"]) if "t" in message else 0
        match message["T"]:
            case "q":
                assert isinstance(item, QuoteEvent)
                assert (item.ts_event_ns, item.bid, item.bid_size, item.ask, item.ask_size) == (
                    at_ns,
                    *(message[name] for name in ("bp", "bs", "ap", "as")),
                )
            case "t":
                assert isinstance(item, TradeEvent)
                assert (item.ts_event_ns, item.price, item.size) == (at_ns, message["p"], message["s"])
            case "b":
                assert isinstance(item, BarEvent)
                assert item.ts_event_ns == at_ns + 60 * 10**9
                figures = (item.open, item.high, item.low, item.close, item.volume)
                assert figures == tuple(message[name] for name in "ohlcv")
            case "s":
                shown = (message["S"], at_ns, message["sc"], message["sm"])
                assert item == TradingStatus(*shown, {"H": False, "T": True}[message["sc"]])
            case "success":
                assert item == Welcome(message["msg"])
            case "subscription":
                lists = (tuple(message.get(name, ())) for name in ("quotes", "trades", "bars"))
                assert item == Subscribed(*lists)
            case "error":
                assert item == StreamFault(message["code"], message["msg"])
                assert "means" not in sample or item.is_final is (sample["means"] == "final")
            case _:
                pytest.fail(f"what is {message}?")


CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "account": check_account,
    "activity_list": check_activities,
    "asset": check_asset,
    "cancel_accepted": check_cancelled,
    "cancel_all_orders": check_orders_within,
    "clock": check_clock,
    "close_all_positions": check_orders_within,
    "corporate_actions": check_dividends,
    "error": check_refusal,
    "fill_list": check_fills,
    "option_bars": check_option_bars,
    "option_contract": check_contract,
    "option_contract_page": check_contract,
    "option_latest_quotes": check_latest_quotes,
    "option_stream": check_stream,
    "order": check_order,
    "order_list": check_orders,
    "order_mleg": check_order,
    "order_oco": check_order,
    "position_list": check_positions,
    "rate_limit_headers": check_rate_limit,
    "stock_bars": check_bars,
    "stock_latest_quotes": check_latest_quotes,
    "stock_stream": check_stream,
    "stream_error": check_stream,
    "stream_subscription": check_stream,
    "stream_success": check_stream,
    "trade_stream_authorization": check_order_stream,
    "trade_stream_error": check_order_stream,
    "trade_stream_listening": check_order_stream,
    "trade_update": check_update,
}


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_field_of_a_message_comes_out_as_the_vendor_wrote_it(sample):
    if sample["kind"] in NOT_READ:
        return
    CHECKS[sample["kind"]](sample)
