"""Validation field by field, in the order of the protocol: the first failing field is named.

A verdict is ``ok``, ``missing:field`` (not there), ``type:field`` (of another type; null and bool are
no numbers) or ``value:field``. Fields that the protocol does not know are not looked at.

The messages of protocol v1 as JSON Schema (draft 2020-12), made from what the validation uses.
"""

from collections.abc import Iterable
from math import isfinite
from typing import Any

from scalpdesk.core.errors import ArgumentError
from scalpdesk.protocol.values import ID, ID_PATTERN, PROTOCOL, parse_ts

OK = "ok"
SIDES = frozenset({"buy", "sell"})
ORDER_TYPES = frozenset({"market", "limit", "stop", "stop_limit"})
PRICED = frozenset({"limit", "stop_limit"})
TIMES_IN_FORCE = frozenset({"day", "gtc", "ioc", "fok"})
LEVELS = frozenset({"debug", "info", "warn", "error"})
NOT_AN_OBJECT = "type:message"


def event_verdict(message: object) -> str:
    """Judge a market event.

    In order: ``protocol``, ``type``, ``event_id``, ``ts``, ``symbol``, ``source``, ``payload``. A number
    of the payload that is NaN or infinite is ``value:payload``.
    """
    if not isinstance(message, dict):
        return NOT_AN_OBJECT
    verdict = _heading(message, "market_event", ("event_id",))
    if verdict != OK:
        return verdict
    for field in ("symbol", "source"):
        verdict = _text(message, field)
        if verdict != OK:
            return verdict
    if "payload" not in message:
        return "missing:payload"
    payload = message["payload"]
    if not isinstance(payload, dict):
        return "type:payload"
    for value in payload.values():
        if isinstance(value, float) and not isfinite(value):
            return "value:payload"
    return OK


def intent_verdict(message: object) -> str:
    """Judge an order intent.

    In order: ``protocol``, ``type``, ``intent_id``, ``event_id``, ``ts``, ``symbol``, ``side``, ``qty``
    (finite, above zero), ``order_type``, then what is there of ``limit_price`` (above zero for a limit
    or stop-limit order, which need one), ``time_in_force``, ``client_tag``, ``metadata``.
    """
    if not isinstance(message, dict):
        return NOT_AN_OBJECT
    verdict = _heading(message, "order_intent", ("intent_id", "event_id"))
    if verdict != OK:
        return verdict
    verdict = _text(message, "symbol")
    if verdict != OK:
        return verdict
    verdict = _choice(message, "side", SIDES)
    if verdict != OK:
        return verdict
    if "qty" not in message:
        return "missing:qty"
    verdict = _number(message["qty"], "qty", must_be_positive=True)
    if verdict != OK:
        return verdict
    verdict = _choice(message, "order_type", ORDER_TYPES)
    return _optional_fields(message) if verdict == OK else verdict


def log_verdict(message: object) -> str:
    """Judge a log message: ``protocol`` where it is given, ``type``, ``ts``, ``level``, ``message``."""
    if not isinstance(message, dict):
        return NOT_AN_OBJECT
    verdict = _control(message, "log")
    if verdict != OK:
        return verdict
    verdict = _ts(message)
    if verdict != OK:
        return verdict
    verdict = _choice(message, "level", LEVELS)
    return _text(message, "message") if verdict == OK else verdict


def shutdown_verdict(message: object) -> str:
    """Judge a shutdown message: ``protocol`` where it is given, ``type``."""
    return _control(message, "shutdown") if isinstance(message, dict) else NOT_AN_OBJECT


def _control(message: dict[str, object], kind: str) -> str:
    if "protocol" in message:
        verdict = _choice(message, "protocol", (PROTOCOL,))
        if verdict != OK:
            return verdict
    return _choice(message, "type", (kind,))


def _heading(message: dict[str, object], kind: str, ids: tuple[str, ...]) -> str:
    """Judge the fields that events and intents have in common."""
    verdict = _choice(message, "protocol", (PROTOCOL,))
    if verdict != OK:
        return verdict
    verdict = _choice(message, "type", (kind,))
    if verdict != OK:
        return verdict
    for field in ids:
        verdict = _text(message, field)
        if verdict != OK:
            return verdict
        if ID.match(str(message[field])) is None:
            return f"value:{field}"
    return _ts(message)


def _ts(message: dict[str, object]) -> str:
    verdict = _text(message, "ts")
    if verdict != OK:
        return verdict
    try:
        parse_ts(message["ts"])
    except ArgumentError:
        return "value:ts"
    return OK


def _text(message: dict[str, object], field: str) -> str:
    if field not in message:
        return f"missing:{field}"
    value = message[field]
    if not isinstance(value, str):
        return f"type:{field}"
    return OK if value else f"value:{field}"


def _choice(message: dict[str, object], field: str, choices: "frozenset[str] | tuple[str, ...]") -> str:
    if field not in message:
        return f"missing:{field}"
    value = message[field]
    if not isinstance(value, str):
        return f"type:{field}"
    return OK if value in choices else f"value:{field}"


def _number(value: object, field: str, *, must_be_positive: bool) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"type:{field}"
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond what a double holds
        return f"value:{field}"
    if not isfinite(number) or (must_be_positive and number <= 0.0):
        return f"value:{field}"
    return OK


def _optional_fields(message: dict[str, object]) -> str:
    is_priced = message["order_type"] in PRICED
    if "limit_price" in message:
        verdict = _number(message["limit_price"], "limit_price", must_be_positive=is_priced)
        if verdict != OK:
            return verdict
    elif is_priced:
        return "value:limit_price"
    if "time_in_force" in message:
        verdict = _choice(message, "time_in_force", TIMES_IN_FORCE)
        if verdict != OK:
            return verdict
    if "client_tag" in message:
        verdict = _text(message, "client_tag")
        if verdict != OK:
            return verdict
    if "metadata" in message and not isinstance(message["metadata"], dict):
        return "type:metadata"
    return OK


DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def _schema_text(about: str) -> Schema:
    return {"type": "string", "minLength": 1, "description": about}


def _id(about: str) -> Schema:
    return {"type": "string", "pattern": ID_PATTERN, "description": about}


def _schema_choice(values: Iterable[str], about: str) -> Schema:
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
            "symbol": _schema_text("Of a share, or OCC symbol of an option."),
            "source": _schema_text("Where it comes from."),
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
            "symbol": _schema_text("Of a share, or OCC symbol of an option."),
            "side": _schema_choice(SIDES, "Direction."),
            "qty": _NUMBER | {"exclusiveMinimum": 0, "description": "Finite."},
            "order_type": _schema_choice(ORDER_TYPES, "How it is priced."),
            "limit_price": _NUMBER | {"description": "Currency per unit."},
            "time_in_force": _schema_choice(TIMES_IN_FORCE, "How long it lives."),
            "client_tag": _schema_text("The strategy's own word for it."),
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
            "level": _schema_choice(LEVELS, "How grave it is."),
            "message": _schema_text("One line."),
        },
    )


def shutdown_schema() -> Schema:
    """Return the schema of a shutdown message."""
    return _object(
        "Shutdown", "No more events come.", ("type",), {"protocol": _PROTOCOL, "type": {"const": "shutdown"}}
    )


SCHEMAS = (market_event_schema, order_intent_schema, log_schema, shutdown_schema)
"""Of every message, in the order in which the page shows them."""
