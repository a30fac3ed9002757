"""Worked cases of the 0DTE gamma scalper, its protocol and dealer gamma (area E of the case file)."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.deadlines import MINUTE_NS, exit_deadline_ns
from scalpdesk.protocol import intent_id, intent_verdict
from scalpdesk.strategies.zero_dte.rules import HedgeRules, judge_hedge, net_delta, threshold_for

Answer = dict[str, Any]


def _e_hedge(
    pos: Sequence[Sequence[float]], shares: float, M: int, gex: float | None, since: float | None
) -> Answer:
    exactly = [(Decimal(str(delta)), Decimal(str(quantity))) for delta, quantity in pos]
    verdict = judge_hedge(
        net_delta(exactly, Decimal(str(shares)), M),
        M,
        threshold_for(None if gex is None else Decimal(str(gex)), HedgeRules()),
        None if since is None else int(since * NANOS_PER_SECOND),
    )
    quantity = verdict.quantity_shares
    order = {"side": "buy" if quantity > 0 else "sell", "qty": abs(quantity)} if quantity else None
    return {
        "net_delta": verdict.net_delta,
        "threshold": verdict.threshold,
        "order": order,
        "reason": verdict.reason,
    }


def _deadline(close: str, exit_off: float, cut_off: float, buf: float) -> Answer:
    hours, minutes = (int(part) for part in close.split(":"))
    at_ns = exit_deadline_ns(
        (60 * hours + minutes) * MINUTE_NS,
        exit_minutes=exit_off,
        cutoff_minutes=cut_off,
        buffer_minutes=buf,
    )
    return {"result": "{:02d}:{:02d}".format(*divmod(at_ns // MINUTE_NS, 60))}


def _intent_id(kind: str, symbol: str, strategy: str, event_id: str, side: str, qty: str) -> Answer:
    return {"result": intent_id(kind, symbol, strategy=strategy, event_id=event_id, side=side, qty=qty)}


def _validate_intent(msg: object) -> Answer:
    return {"result": intent_verdict(msg)}


BINDINGS: dict[str, Callable[..., Answer]] = {
    "e_hedge": _e_hedge,
    "deadline": _deadline,
    "intent_id": _intent_id,
    "validate_intent": _validate_intent,
}
"""Function of the case file to the adapter that answers it."""
