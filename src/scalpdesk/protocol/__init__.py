"""Protocol v1 between the desk and a strategy folder: market events in, order intents out, as JSON.

The names for a strategy folder (see ``docs/strategies/protocol.md``)::

    from scalpdesk.protocol import intent_id, log_message, order_intent, parse_ts, to_decimal
"""

from scalpdesk.protocol.messages import log_message, market_event, order_intent
from scalpdesk.protocol.validation import (
    OK,
    event_verdict,
    intent_verdict,
    log_verdict,
    shutdown_verdict,
)
from scalpdesk.protocol.values import decimal_text, intent_id, parse_ts, to_decimal, ts_text

__all__ = [
    "OK",
    "decimal_text",
    "event_verdict",
    "intent_id",
    "intent_verdict",
    "log_message",
    "log_verdict",
    "market_event",
    "order_intent",
    "parse_ts",
    "shutdown_verdict",
    "to_decimal",
    "ts_text",
]
