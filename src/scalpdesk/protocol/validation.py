"""Fields of the messages of protocol v1: their validation and their JSON Schema (draft 2020-12).

A verdict is ``ok``, or the first failing field in the order of the protocol: ``missing:field``,
``type:field`` (null and bool are no numbers) or ``value:field``. Unknown fields are ignored.
"""

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any

import msgspec

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.order_types import SENT, TRAITS
from scalpdesk.protocol.values import ID, ID_PATTERN, PROTOCOL, parse_ts

Schema = dict[str, Any]
OK = "ok"
_PRICED = tuple(name for name in SENT if TRAITS[name].needs_limit)
"""Order types that need a limit price above zero."""


class Field(msgspec.Struct, frozen=True):
    """One field of a message."""

    fault: Callable[[Any], str]
    """Returns ``type`` or ``value`` for a value that is not valid, else an empty text."""
    schema: Schema
    absent: str = "missing"
    """Fault of a message without the field; empty when the field is optional."""


def _text_fault(value: object) -> str:
    if not isinstance(value, str):
        return "type"
    return "" if value else "value"


def _id_fault(value: object) -> str:
    return _text_fault(value) or ("" if ID.match(str(value)) else "value")


def _ts_fault(value: object) -> str:
    fault = _text_fault(value)
    if not fault:
        try:
            parse_ts(value)
        except ArgumentError:
            return "value"
    return fault


def _finite_fault(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "type"
    try:
        return "" if isfinite(value) else "value"
    except OverflowError:  # an integer beyond the range of a double
        return "value"


def _above_zero_fault(value: Any) -> str:
    return _finite_fault(value) or ("" if value > 0 else "value")


def _object_fault(value: object) -> str:
    return "" if isinstance(value, dict) else "type"


def _payload_fault(value: object) -> str:
    if not isinstance(value, dict):
        return "type"
    is_finite = all(isfinite(item) for item in value.values() if isinstance(item, float))
    return "" if is_finite else "value"


def _text(description: str, absent: str = "missing") -> Field:
    return Field(_text_fault, {"type": "string", "minLength": 1, "description": description}, absent)


def _id(description: str) -> Field:
    return Field(_id_fault, {"type": "string", "pattern": ID_PATTERN, "description": description})


def _choice(values: Iterable[str], schema: Schema, absent: str = "missing") -> Field:
    choices = frozenset(values)

    def fault(value: object) -> str:
        if not isinstance(value, str):
            return "type"
        return "" if value in choices else "value"

    return Field(fault, schema, absent)


def _const(value: str, absent: str = "missing") -> Field:
    return _choice((value,), {"const": value}, absent)


def _enum(values: Iterable[str], description: str, absent: str = "missing") -> Field:
    choices = sorted(values)
    return _choice(choices, {"enum": choices, "description": description}, absent)


_TS = Field(
    _ts_fault,
    {
        "type": "string",
        "format": "date-time",
        "description": "Instant in ISO-8601 with Z or an offset; a time without one is refused.",
    },
)
_PAYLOAD: Schema = {
    "type": "object",
    "properties": {
        "delta": {"description": "Delta of one unit; an event with a delta is about an option."},
        "quantity": {"description": "Held, signed, 1 when left out; 0 takes the position away. Also qty."},
        "price": {"description": "Currency per unit. Also mid or last."},
        "underlying_price": {"description": "Currency per unit."},
        "bid": {"description": "Currency per unit."},
        "ask": {"description": "Currency per unit."},
        "gamma": {"description": "Gamma of one unit, per 1.00 of price."},
        "theta": {"description": "Theta of one unit, per calendar day."},
    },
    "description": "Numbers, or their text. All optional; NaN and infinities are refused.",
}
_SYMBOL = _text("Symbol of a share, or OCC symbol of an option.")
_QTY: Schema = {"type": "number", "exclusiveMinimum": 0, "description": "Finite."}
_LIMIT_PRICE: Schema = {"type": "number", "description": "Currency per unit."}
_METADATA: Schema = {"type": "object", "description": "Facts behind it; exact numbers as text."}

_MARKET_EVENT = {
    "protocol": _const(PROTOCOL),
    "type": _const("market_event"),
    "event_id": _id("Unique; an event seen before is not handed on."),
    "ts": _TS,
    "symbol": _SYMBOL,
    "source": _text("Where it comes from."),
    "payload": Field(_payload_fault, _PAYLOAD),
}
_ORDER_INTENT = {
    "protocol": _const(PROTOCOL),
    "type": _const("order_intent"),
    "intent_id": _id("Unique; a repeated id is refused. Derive it, so that a replay repeats it."),
    "event_id": _id("Id of the event that it answers."),
    "ts": _TS,
    "symbol": _SYMBOL,
    "side": _enum(("buy", "sell"), "Direction."),
    "qty": Field(_above_zero_fault, _QTY),
    "order_type": _enum(SENT, "Kind of price."),
    "limit_price": Field(_finite_fault, _LIMIT_PRICE, ""),
    "time_in_force": _enum(("day", "gtc", "ioc", "fok"), "Time in force.", ""),
    "client_tag": _text("The strategy's own word for it.", ""),
    "metadata": Field(_object_fault, _METADATA, ""),
}
_PRICED_INTENT = _ORDER_INTENT | {"limit_price": Field(_above_zero_fault, _LIMIT_PRICE, "value")}
_LOG = {
    "protocol": _const(PROTOCOL, ""),
    "type": _const("log"),
    "ts": _TS,
    "level": _enum(("debug", "info", "warn", "error"), "Severity."),
    "message": _text("One line."),
}
_SHUTDOWN = {"protocol": _const(PROTOCOL, ""), "type": _const("shutdown")}


def _verdict(message: object, fields: Mapping[str, Field]) -> str:
    if not isinstance(message, dict):
        return "type:message"
    for name, field in fields.items():
        fault = field.fault(message[name]) if name in message else field.absent
        if fault:
            return f"{fault}:{name}"
    return OK


def event_verdict(message: object) -> str:
    """Validate a market event; a NaN or infinite number in the payload is ``value:payload``."""
    return _verdict(message, _MARKET_EVENT)


def intent_verdict(message: object) -> str:
    """Validate an order intent; a limit or stop-limit order needs a ``limit_price`` above zero."""
    is_priced = isinstance(message, dict) and message.get("order_type") in _PRICED
    return _verdict(message, _PRICED_INTENT if is_priced else _ORDER_INTENT)


def log_verdict(message: object) -> str:
    """Validate a log message; ``protocol`` is optional."""
    return _verdict(message, _LOG)


def shutdown_verdict(message: object) -> str:
    """Validate a shutdown message; ``protocol`` is optional."""
    return _verdict(message, _SHUTDOWN)


def _schema(title: str, description: str, fields: Mapping[str, Field]) -> Schema:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "description": description,
        "type": "object",
        "required": [name for name, field in fields.items() if field.absent],
        "properties": {name: field.schema for name, field in fields.items()},
    }


SCHEMAS: tuple[Schema, ...] = (
    _schema(
        "MarketEvent", "Something happened in the market; the strategy is asked what to do.", _MARKET_EVENT
    ),
    _schema("OrderIntent", "The strategy wants an order.", _ORDER_INTENT)
    | {
        "if": {"properties": {"order_type": {"enum": sorted(_PRICED)}}, "required": ["order_type"]},
        "then": {"properties": {"limit_price": {"exclusiveMinimum": 0}}, "required": ["limit_price"]},
    },
    _schema("Log", "The strategy, or the harness, says something.", _LOG),
    _schema("Shutdown", "No more events come.", _SHUTDOWN),
)
"""JSON Schema of every message, in the order of the reference page."""
