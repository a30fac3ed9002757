"""Messages of protocol v1: building valid messages, and reading them from lines of NDJSON.

The reader is strict, because a line may become an order: UTF-8 only, no NaN or infinity, no number
beyond a double or 64 bits, no duplicate name in an object.
"""

import json
from collections.abc import Callable, Mapping
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
    """Build a market event.

    Raises
    ------
    ArgumentError
        When a field is not valid; ``value`` is the verdict.
    """
    fields = {"event_id": event_id, "ts": ts, "symbol": symbol, "source": source, "payload": dict(payload)}
    return _validated({"protocol": PROTOCOL, "type": "market_event", **fields}, event_verdict)


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
    """Build the intent that answers ``event``, with a deterministic id.

    Parameters
    ----------
    event
        The market event; its ``event_id`` and ``ts`` become the intent's.
    kind, strategy, seq
        See :func:`scalpdesk.protocol.intent_id`.
    symbol, side, qty, order_type, limit_price, time_in_force, client_tag
        Fields of the order; None is left out.
    metadata
        Facts behind it; ``Decimal`` becomes text.

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
    optional: dict[str, Any] = {
        "limit_price": None if limit_price is None else float(to_decimal(limit_price)),
        "time_in_force": time_in_force,
        "client_tag": client_tag,
        "metadata": None
        if metadata is None
        else {key: str(value) if isinstance(value, Decimal) else value for key, value in metadata.items()},
    }
    message |= {name: value for name, value in optional.items() if value is not None}
    return _validated(message, intent_verdict)


def log_message(ts: str, level: str, message: str) -> dict[str, Any]:
    """Build a log message; ``level`` is ``debug``, ``info``, ``warn`` or ``error``.

    Raises
    ------
    ArgumentError
        When a field is not valid; ``value`` is the verdict.
    """
    fields = {"protocol": PROTOCOL, "type": "log", "ts": ts, "level": level, "message": message}
    return _validated(fields, log_verdict)


def _validated(message: dict[str, Any], judge: Callable[[object], str]) -> dict[str, Any]:
    verdict = judge(message)
    if verdict != OK:
        raise ArgumentError("not a valid message", where=str(message["type"]), value=verdict)
    return message


def exact_qty(message: Mapping[str, Any]) -> Decimal:
    """Return the exact quantity of a valid intent."""
    return to_decimal(decimal_text(message["qty"]))


LONGEST_LINE_BYTES = 1 << 20


def read_message(line: bytes) -> dict[str, Any]:
    """Decode the JSON object of a line, with or without its newline.

    Raises DataError when the line is no JSON object of the protocol.
    """
    if len(line) > LONGEST_LINE_BYTES:
        raise DataError("the line is longer than 1 MiB", where="message", value=len(line))
    try:
        message = _DECODER.decode(line.decode("utf-8").strip(" \t\r\n"))
    except UnicodeDecodeError as error:
        raise DataError("not UTF-8", where=f"byte {error.start + 1}") from error
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg}", where=f"column {error.colno}") from error
    except ValueError as error:
        raise DataError(f"JSON that is not accepted: {error}", where="message") from error
    except RecursionError as error:
        raise DataError("JSON that is not accepted: nested too deep", where="message") from error
    if not isinstance(message, dict):
        raise DataError("not a JSON object", where="message", value=type(message).__name__)
    if b"\\u" in line:
        try:
            msgspec.json.encode(message)
        except UnicodeEncodeError as error:
            raise DataError("an escape of a lone surrogate", where="message") from error
    return message


def read_event(line: bytes) -> dict[str, Any] | None:
    """Decode and validate the market event of a line; None for a shutdown.

    Raises DataError when it is neither; ``value`` is the verdict of an invalid event.
    """
    message = read_message(line)
    if message.get("type") == "shutdown" and shutdown_verdict(message) == OK:
        return None
    verdict = event_verdict(message)
    if verdict != OK:
        fault, _, name = verdict.partition(":")
        words = {"missing": "is missing", "type": "has the wrong type"}.get(fault, "has no valid value")
        raise DataError(f"its field {name} {words}", where="message", value=verdict)
    return message


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("duplicate name in an object")
    return fields


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _float(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("number beyond the range of a double")
    return number


def _int(text: str) -> int:
    if len(text) > 20 or not -(1 << 63) <= (number := int(text)) < 1 << 64:
        raise ValueError("integer beyond 64 bits")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
)
