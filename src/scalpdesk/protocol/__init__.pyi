from scalpdesk.protocol.messages import (log_message as log_message, market_event as market_event,
    order_intent as order_intent)
from scalpdesk.protocol.validation import (OK as OK, event_verdict as event_verdict,
    intent_verdict as intent_verdict, log_verdict as log_verdict, shutdown_verdict as shutdown_verdict)
from scalpdesk.protocol.values import (decimal_text as decimal_text, intent_id as intent_id,
    parse_ts as parse_ts, to_decimal as to_decimal, ts_text as ts_text)
