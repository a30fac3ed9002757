"""The messages of protocol v1 as JSON Schema (draft 2020-12), made from what the validation uses."""

from collections.abc import Iterable
from typing import Any

from scalpdesk.protocol.numbers import ID_PATTERN, PROTOCOL
from scalpdesk.protocol.validation import LEVELS, ORDER_TYPES, PRICED, SIDES, TIMES_IN_FORCE

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def _text(about: str) -> Schema:
    return {"type": "string", "minLength": 1, "description": about}


def _id(about: str) -> Schema:
    return {"type": "string", "pattern": ID_PATTERN, "description": about}


def _choice(values: Iterable[str], about: str) -> Schema:
    return {"enum": sorted(values), "description": about}


_PROTOCOL: Schema = {"const": PROTOCOL}
_TS: Schema = {
    "type": "string",
    "format": "date-time",
    "description": "Instant in ISO-8601 with Z or an offset; a time without one is refused.",
}
_NUMBER: Schema = {"type": "number"}


def _object(title: str, about: str, required: Iterable[str], properties: dict[str, Schema]) -> Schema:
    return {
        "$schema": DIALECT,
        "title": title,
        "description": about,
        "type": "object",
        "required": list(required),
        "properties": properties,
    }


def market_event_schema() -> Schema:
    """Return the schema of a market event."""
    # what a payload holds is the strategy's to judge: said here, not demanded
    payload = {
        "delta": {"description": "Of one unit; an event with a delta is about an option."},
        "quantity": {"description": "Held, signed, 1 when left out; 0 takes the position away. Also qty."},
        "price": {"description": "Currency per unit. Also mid or last."},
        "underlying_price": {"description": "Currency per unit."},
        "bid": {"description": "Currency per unit."},
        "ask": {"description": "Currency per unit."},
        "gamma": {"description": "Of one unit, per 1.00 of price."},
        "theta": {"description": "Of one unit, per calendar day."},
    }
    return _object(
        "MarketEvent",
        "Something happened in the market; the strategy is asked what to do.",
        ("protocol", "type", "event_id", "ts", "symbol", "source", "payload"),
        {
            "protocol": _PROTOCOL,
            "type": {"const": "market_event"},
            "event_id": _id("Unique; an event seen before is not handed on."),
            "ts": _TS,
            "symbol": _text("Of a share, or OCC symbol of an option."),
            "source": _text("Where it comes from."),
            "payload": {
                "type": "object",
                "properties": payload,
                "description": "Numbers, or their text. All optional; NaN and infinities are refused.",
            },
        },
    )


def order_intent_schema() -> Schema:
    """Return the schema of an order intent."""
    schema = _object(
        "OrderIntent",
        "The strategy wants an order.",
        ("protocol", "type", "intent_id", "event_id", "ts", "symbol", "side", "qty", "order_type"),
        {
            "protocol": _PROTOCOL,
            "type": {"const": "order_intent"},
            "intent_id": _id("Unique; a repeated one is refused. Derive it, so that a replay repeats it."),
            "event_id": _id("Of the event that it answers."),
            "ts": _TS,
            "symbol": _text("Of a share, or OCC symbol of an option."),
            "side": _choice(SIDES, "Direction."),
            "qty": _NUMBER | {"exclusiveMinimum": 0, "description": "Finite."},
            "order_type": _choice(ORDER_TYPES, "How it is priced."),
            "limit_price": _NUMBER | {"description": "Currency per unit."},
            "time_in_force": _choice(TIMES_IN_FORCE, "How long it lives."),
            "client_tag": _text("The strategy's own word for it."),
            "metadata": {"type": "object", "description": "Facts behind it; exact numbers as text."},
        },
    )
    priced: Schema = {"properties": {"order_type": {"enum": sorted(PRICED)}}, "required": ["order_type"]}
    above_zero: Schema = {"properties": {"limit_price": {"exclusiveMinimum": 0}}, "required": ["limit_price"]}
    return schema | {"if": priced, "then": above_zero}


def log_schema() -> Schema:
    """Return the schema of a log message."""
    return _object(
        "Log",
        "The strategy, or the harness, says something.",
        ("type", "ts", "level", "message"),
        {
            "protocol": _PROTOCOL,
            "type": {"const": "log"},
            "ts": _TS,
            "level": _choice(LEVELS, "How grave it is."),
            "message": _text("One line."),
        },
    )


def shutdown_schema() -> Schema:
    """Return the schema of a shutdown message."""
    return _object(
        "Shutdown", "No more events come.", ("type",), {"protocol": _PROTOCOL, "type": {"const": "shutdown"}}
    )


SCHEMAS = (market_event_schema, order_intent_schema, log_schema, shutdown_schema)
"""Of every message, in the order in which the page shows them."""
