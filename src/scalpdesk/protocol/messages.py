"""Make messages of protocol v1. What is made here is valid, or refused with the field's verdict.

A line of NDJSON becomes a message, or is refused for what is wrong with it.

Stricter than most readers, for a line may become an order: UTF-8 only, no NaN or infinity, no number
that a double or 64 bits cannot hold, no name twice in one object.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

import msgspec

from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.protocol.validation import OK, event_verdict, intent_verdict, log_verdict, shutdown_verdict
from scalpdesk.protocol.values import PROTOCOL, decimal_text, intent_id, to_decimal


def market_event(
    event_id: str, ts: str, symbol: str, source: str, payload: Mapping[str, object]
) -> dict[str, Any]:
    """Return a market event.

    Raises
    ------
    ArgumentError
        When a field is not valid; ``value`` is the verdict.
    """
    message = {
        "protocol": PROTOCOL,
        "type": "market_event",
        "event_id": event_id,
        "ts": ts,
        "symbol": symbol,
        "source": source,
        "payload": dict(payload),
    }
    return _checked(message, event_verdict(message))


def order_intent(
    event: Mapping[str, Any],
    *,
    kind: str,
    strategy: str,
    symbol: str,
    side: str,
    qty: object,
    order_type: str = "market",
    limit_price: object | None = None,
    time_in_force: str | None = "day",
    client_tag: str | None = None,
    metadata: Mapping[str, object] | None = None,
    seq: int = 0,
) -> dict[str, Any]:
    """Return the intent that answers ``event``, with an id that a replay repeats.

    Parameters
    ----------
    event
        The market event; its ``event_id`` and ``ts`` become the intent's.
    kind, strategy, seq
        See :func:`scalpdesk.protocol.intent_id`.
    symbol, side, qty, order_type, limit_price, time_in_force, client_tag
        Of the order; what is None is left out.
    metadata
        Facts behind it; exact numbers become text, everything else stays.

    Raises
    ------
    ArgumentError
        When a field is not valid; ``value`` is the verdict.
    """
    message: dict[str, Any] = {
        "protocol": PROTOCOL,
        "type": "order_intent",
        "intent_id": intent_id(
            kind, symbol, strategy=strategy, event_id=str(event["event_id"]), side=side, qty=qty, seq=seq
        ),
        "event_id": event["event_id"],
        "ts": event["ts"],
        "symbol": symbol,
        "side": side,
        "qty": float(to_decimal(qty)),
        "order_type": order_type,
    }
    if limit_price is not None:
        message["limit_price"] = float(to_decimal(limit_price))
    if time_in_force is not None:
        message["time_in_force"] = time_in_force
    if client_tag is not None:
        message["client_tag"] = client_tag
    if metadata is not None:
        message["metadata"] = {
            key: str(value) if isinstance(value, Decimal) else value for key, value in metadata.items()
        }
    return _checked(message, intent_verdict(message))


def log_message(ts: str, level: str, message: str) -> dict[str, Any]:
    """Return a log message; ``level`` is ``debug``, ``info``, ``warn`` or ``error``.

    Raises
    ------
    ArgumentError
        When a field is not valid; ``value`` is the verdict.
    """
    made = {"protocol": PROTOCOL, "type": "log", "ts": ts, "level": level, "message": message}
    return _checked(made, log_verdict(made))


def _checked(message: dict[str, Any], verdict: str) -> dict[str, Any]:
    if verdict != OK:
        raise ArgumentError("not a valid message", where=str(message["type"]), value=verdict)
    return message


def exact_qty(message: Mapping[str, Any]) -> Decimal:
    """Return the exact quantity of a valid intent."""
    return to_decimal(decimal_text(message["qty"]))


LONGEST_LINE_BYTES = 1 << 20
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1


def read_message(line: bytes) -> dict[str, Any]:
    """Return the JSON object that a line holds.

    Parameters
    ----------
    line
        Bytes of one line, with or without its end.

    Raises
    ------
    DataError
        When it is no such object; says why.
    """
    if len(line) > LONGEST_LINE_BYTES:
        raise DataError("a line longer than a mebibyte", where="message", value=len(line))
    try:
        message = _DECODER.decode(line.decode("utf-8").strip(" \t\r\n"))
    except UnicodeDecodeError as error:
        raise DataError("not UTF-8", where=f"byte {error.start + 1}") from error
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg}", where=f"column {error.colno}") from error
    except ValueError as error:
        raise DataError(f"not JSON that can be taken over: {error}", where="message") from error
    except RecursionError as error:
        raise DataError("not JSON that can be taken over: nested too deep", where="message") from error
    if not isinstance(message, dict):
        raise DataError("not a JSON object", where="message", value=type(message).__name__)
    if b"\\u" in line:
        _refuse_half_characters(message)
    return message


def _refuse_half_characters(message: dict[str, Any]) -> None:
    """Refuse an escape that names half of a character: no UTF-8 can carry it on."""
    try:
        msgspec.json.encode(message)
    except UnicodeEncodeError as error:
        raise DataError("an escape that names half of a character", where="message") from error


def read_event(line: bytes) -> dict[str, Any] | None:
    """Return the valid market event that a line holds; None for a shutdown.

    Raises
    ------
    DataError
        When it is neither; ``value`` is the verdict where the fields were judged.
    """
    message = read_message(line)
    if message.get("type") == "shutdown" and shutdown_verdict(message) == OK:
        return None
    verdict = event_verdict(message)
    if verdict != OK:
        raise DataError("not a market event", where="message", value=verdict)
    return message


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("one name twice in an object")
    return made


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _float(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("a number beyond what a double holds")
    return number


def _int(text: str) -> int:
    if len(text) > 20 or not _LEAST <= (number := int(text)) <= _MOST:
        raise ValueError("a whole number beyond 64 bits")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
)
