"""Messages as Alpaca writes them, built field by field; each call gives new messages to spoil."""

import json
from typing import Any

import msgpack

STOCK, OPTION, PUT = "NVDA", "NVDA261218C00185000", "NVDA261218P00185000"
AT_TEXT = "2026-11-20T14:30:00.123456789Z"
AT_NS = 1_795_185_000_123_456_789
ORDER_ID = "61e69015-8549-4bfd-b9c3-01e75843f47d"


def stock_quote(**changes: Any) -> dict[str, Any]:
    quote = {
        "T": "q", "S": STOCK, "bx": "V", "bp": 185.10, "bs": 3, "ax": "V", "ap": 185.14, "as": 2,
        "c": ["R"], "t": AT_TEXT, "z": "C",
    }  # fmt: skip
    return {**quote, **changes}


def option_quote(**changes: Any) -> dict[str, Any]:
    quote = {
        "T": "q", "S": OPTION, "bx": "C", "bp": 7.2, "bs": 11, "ax": "N", "ap": 7.35, "as": 40,
        "c": "A", "t": msgpack.Timestamp.from_unix_nano(AT_NS),
    }  # fmt: skip
    return {**quote, **changes}


def trade(**changes: Any) -> dict[str, Any]:
    return {
        "T": "t", "S": STOCK, "i": 7, "x": "V", "p": 185.12, "s": 100, "c": ["@"], "t": AT_TEXT, "z": "C",
        **changes,
    }  # fmt: skip


def bar(**changes: Any) -> dict[str, Any]:
    return {
        "T": "b", "S": STOCK, "o": 185.0, "h": 186.0, "l": 184.5, "c": 185.5, "v": 1200, "n": 9, "vw": 185.2,
        "t": "2026-11-20T14:30:00Z", **changes,
    }  # fmt: skip


def order(**changes: Any) -> dict[str, Any]:
    body = {
        "id": ORDER_ID, "client_order_id": "sd-1", "created_at": AT_TEXT, "updated_at": AT_TEXT,
        "submitted_at": AT_TEXT, "filled_at": None, "expired_at": None, "canceled_at": None,
        "failed_at": None, "replaced_at": None, "replaced_by": None, "replaces": None,
        "asset_id": "4ce9353c-66d1-46c2-898f-fce867ab0247", "symbol": STOCK, "asset_class": "us_equity",
        "notional": None, "qty": "10", "filled_qty": "0", "filled_avg_price": None, "order_class": "",
        "order_type": "market", "type": "market", "side": "buy", "time_in_force": "day",
        "limit_price": None, "stop_price": None, "status": "new", "extended_hours": False, "legs": None,
        "trail_percent": None, "trail_price": None, "hwm": None, "position_intent": "buy_to_open",
    }  # fmt: skip
    return {**body, **changes}


def update(event: str = "new", order_body: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    data = {
        "event": event, "event_id": "01J", "timestamp": AT_TEXT, "order": order_body or order(), **changes,
    }  # fmt: skip
    return {"stream": "trade_updates", "data": data}


def fill_update(
    quantity: str = "4", cumulative: str = "4", average: str = "185.14", **changes: Any
) -> dict[str, Any]:
    status = "filled" if cumulative == "10" else "partially_filled"
    body = order(status=status, filled_qty=cumulative, filled_avg_price=average)
    event = "fill" if cumulative == "10" else "partial_fill"
    fields = {
        "execution_id": f"e-{cumulative}",
        "qty": quantity,
        "price": average,
        "position_qty": cumulative,
    }
    return update(event, body, **{**fields, **changes})  # a change concerns the execution alone


def combo_fill() -> dict[str, Any]:
    """Return the fill of two straddles, as the order ``m``: the executions are those of its legs."""
    legs = (("call", OPTION, "7.3"), ("put", PUT, "8.1"))
    parts = [
        order(
            id=f"leg-{name}", client_order_id=f"v-{name}", symbol=symbol, asset_class="us_option", qty="2",
            filled_qty="2", filled_avg_price=price, status="filled", order_class="mleg", type="",
            order_type="", ratio_qty="1",
        )
        for name, symbol, price in legs
    ]  # fmt: skip
    whole = order(
        client_order_id="m", symbol="", asset_class="", asset_id="", side="", order_class="mleg", qty="2",
        filled_qty="2", filled_avg_price="15.4", status="filled", legs=parts,
    )  # fmt: skip
    executions = [
        {
            "execution_id": f"e-{name}", "order_id": f"leg-{name}", "symbol": symbol, "qty": "2",
            "price": price, "timestamp": AT_TEXT,
        }
        for name, symbol, price in legs
    ]  # fmt: skip
    positions = {symbol: "2" for _, symbol, _ in legs}
    return update("fill", whole, qty="2", price="15.4", legs=executions, position_qtys=positions)


def as_json(message: Any) -> bytes:
    return json.dumps(message).encode()


def as_msgpack(message: Any) -> bytes:
    packed: bytes = msgpack.packb(message)
    return packed
