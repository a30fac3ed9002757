"""Make messages of protocol v1. What is made here is valid, or refused with the field's verdict."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from scalpdesk.core.errors import ArgumentError
from scalpdesk.protocol.numbers import PROTOCOL, decimal_text, intent_id, to_decimal
from scalpdesk.protocol.validation import OK, event_verdict, intent_verdict, log_verdict


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
