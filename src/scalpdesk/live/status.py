"""What a running desk says of itself: ``status`` and ``why``, in JSON types."""

from typing import Any

import msgspec

from scalpdesk.core.intents import Decision
from scalpdesk.engine.by_strategy import by_strategy
from scalpdesk.instruments.sessions import from_ns
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.live.runner import LiveRunner
from scalpdesk.orders.order import Order

NEWEST = 5


def status(header: JournalHeader, runner: LiveRunner) -> dict[str, Any]:
    """Return the state of the desk."""
    core = runner.core
    engine, desk = core.engine, core.engine.desk
    book = desk.instruments
    session = desk.view.session
    reconciler, state = runner.reconciler, runner.state
    health = runner.gateway.health()
    return {
        "run_id": header.run_id,
        "strategy": header.strategy,
        "venue": header.venue,
        "trading": header.mode,
        "account": header.data.get("account_id", ""),
        "config_hash": header.config_hash,
        "mode": desk.gate.mode,
        "phase": str(getattr(engine.strategy, "phase", "")),
        "now": from_ns(engine.now_ns).isoformat(),
        "session": None if session is None else session.day.isoformat(),
        "nav": str(desk.attribution.nav),
        "cash": str(desk.account.cash),
        "session_pnl": str(desk.attribution.nav - desk.session_equity),
        "positions": {
            book[one.instrument_id].symbol: {"quantity": str(one.quantity), "average": str(one.average_price)}
            for one in desk.positions.held()
        },
        "orders": [
            _order(order, book[order.submitted.instrument_id].symbol) for order in desk.orders.live.values()
        ],
        "strategies": by_strategy(desk),
        "events": core.events,
        "decisions": [_decision(number, one) for number, one in list(core.decisions)[-NEWEST:]],
        "reconciled": None if not reconciler.last_ns else from_ns(reconciler.last_ns).isoformat(),
        "differences": [str(one) for one in reconciler.unexplained],
        "adopted": reconciler.adopted[-NEWEST:],
        "quarantine": [one.why for one in core.quarantine[-NEWEST:]],
        "connection": msgspec.to_builtins(health),
        "counters": dict(state.counters | core.counters),
        "notices": [f"{one.kind} {one.stream} {one.name} {one.detail}".rstrip() for one in state.notices][
            -NEWEST:
        ],
        "recovered_seconds": state.recovered_seconds,
    }


def why(runner: LiveRunner, what: str | None) -> dict[str, Any]:
    """Return the decision that ``what`` names (its number or an order's id), the latest for None.

    The answer has ``error`` when there is none.
    """
    core = runner.core
    known = list(core.decisions)
    if not known:
        return {"error": "nothing has been decided yet"}
    if what is None:
        return _decision(*known[-1])
    if what.isdigit() and not what.startswith("0"):  # the tail of an order's id begins with zeros
        for number, one in known:
            if number == int(what):
                return _decision(number, one)
        return {"error": f"decision {what} is not among the latest {len(known)}", "nearest": known[-1][0]}
    orders = core.engine.desk.orders.orders
    fitting = [name for name in orders if name == what] or [name for name in orders if name.endswith(what)]
    if len(fitting) != 1:
        return {"error": f"no order, or more than one, goes by {what}", "orders": list(orders)[-NEWEST:]}
    order = orders[fitting[0]]
    symbol = core.engine.desk.instruments[order.submitted.instrument_id].symbol
    answer: dict[str, Any] = {"order": _order(order, symbol)}
    for number, one in reversed(known):
        if fitting[0] in one.client_order_ids:
            return answer | {"decision": _decision(number, one)}
    return answer


def _decision(number: int, one: Decision) -> dict[str, Any]:
    return {
        "number": number,
        "time": from_ns(one.ts_ns).isoformat(),
        "kind": one.kind,
        "taken": one.taken,
        "reasons": list(one.reasons),
        "facts": one.facts,
        "orders": list(one.client_order_ids),
    }


def _order(order: Order, symbol: str) -> dict[str, Any]:
    command = order.submitted
    return {
        "id": command.client_order_id,
        "venue_id": order.venue_order_id,
        "symbol": symbol,
        "side": command.side.value,
        "quantity": str(command.quantity),
        "filled": str(order.filled),
        "average": str(order.average_price),
        "limit": None if command.limit_price is None else str(command.limit_price),
        "state": order.state.value,
        "purpose": command.purpose.value,
        "reason": order.reason,
        "created": from_ns(order.created_ns).isoformat(),
    }
