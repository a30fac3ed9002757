"""The smallest strategy of protocol v1: buy one share when the price first reaches a level.

It sees one event at a time and answers with order intents, log messages, or nothing.
"""

from decimal import Decimal
from typing import Any

from scalpdesk.protocol import log_message, order_intent, to_decimal

NAME = "hello"
LEVEL = Decimal("270.00")
"""Currency per share."""

_state = {"bought": False}


def reset() -> None:
    """Begin afresh; called once before the first event."""
    _state["bought"] = False


def on_market_event(event: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Answer one market event."""
    payload = event["payload"]
    if "delta" in payload or "price" not in payload:
        return None  # an option, or nothing to compare
    price = to_decimal(payload["price"])
    if _state["bought"] or price < LEVEL:
        return None
    _state["bought"] = True
    return [
        order_intent(
            event,
            kind="entry",
            strategy=NAME,
            symbol=event["symbol"],
            side="buy",
            qty=1,
            client_tag="hello_entry",
            metadata={"reason": "price_reached_level", "price": price, "level": LEVEL},
        ),
        log_message(event["ts"], "info", f"{event['symbol']} at {price}: bought one share"),
    ]
