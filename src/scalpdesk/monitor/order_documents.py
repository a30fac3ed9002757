"""Orders, fills and decisions of a run, as JSON documents: what was sent, and why."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import groupby

import numpy as np

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.intents import Decision, Side, likeness
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO, number_text
from scalpdesk.monitor import answers
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.monitor.held_book import currency_of
from scalpdesk.monitor.texts import clock, day_of, leg_label, plain
from scalpdesk.orders.order import TERMINAL, Order, OrderState
from scalpdesk.report.fold import Fill
from scalpdesk.report.order_results import FillResult

_LAST_DECISIONS = 7
GROUPS = {
    OrderState.UNKNOWN: "unknown",
    OrderState.REJECTED: "rejected",
    OrderState.FILLED: "done",
    OrderState.CANCELLED: "done",
    OrderState.EXPIRED: "done",
}
_GROUP_ORDER = ("unknown", "working", "rejected", "done")


def last_taken(decisions: Iterable[tuple[int, Decision]]) -> list[tuple[int, Decision]]:
    """Return the last decisions that were taken, and orders that were refused, newest first."""
    found = [
        (number, decision)
        for number, decision in decisions
        if decision.taken or (decision.kind is DecisionKind.EXIT and "order" in decision.facts)
    ]
    return found[: -_LAST_DECISIONS - 1 : -1]


def decision_row(follower: RunFollower, number: int, decision: Decision) -> answers.DecisionLine:
    """Return a decision as a row: when, what, why, spot."""
    orders = [
        order
        for name in decision.client_order_ids
        if (order := follower.desk.orders.orders.get(name)) is not None
    ]
    sides = {order.submitted.side for order in orders}
    what, way = decision.kind.value.replace("_", " "), ""
    if len(sides) == 1:
        side = sides.pop()
        way = "up" if side is Side.BUY else "down"
        quantity = sum((order.submitted.quantity for order in orders), ZERO)
        what = f"{'▲ buy' if side is Side.BUY else '▼ sell'} {number_text(quantity)}"
    elif not decision.taken:
        what = f"no {what}"
    why = decision.headline
    if orders and all(order.state is OrderState.REJECTED and not order.filled for order in orders):
        what += ", refused"
        why = f"the venue refuses: {orders[-1].reason or 'no reason given'}; wanted: {why}"
    spot = decision.facts.get("spot")
    return {
        "number": number,
        "ts_ns": decision.ts_ns,
        "time": clock(decision.ts_ns),
        "day": day_of(decision.ts_ns),
        "kind": decision.kind.value,
        "taken": decision.taken,
        "what": what,
        "way": way,
        "why": why.replace(" -", " −"),
        "reasons": list(decision.reasons),
        "spot": spot if isinstance(spot, float | int) else None,
        "orders": list(decision.client_order_ids),
    }


def orders_page(
    follower: RunFollower, limit: int = 100, before: Sequence[str] = (), search: str = ""
) -> answers.OrdersPage:
    """Return the orders by group, unknown orders first, the newest of each first.

    ``follower``: The run.
    ``limit``: Most orders of a group.
    ``before``: ``GROUP:ORDER`` for each group of which only what was sent before that order is wanted: what
    ``older`` of the page before gave.
    ``search``: Words that instrument, side, purpose, type, state, reason or number of an order must have, all
    of them; the counts are of every order.
    """
    if follower.engine is None:
        return {"empty": follower.unread, "orders": [], "counts": {}}
    groups: dict[str, list[tuple[int, Order]]] = {name: [] for name in _GROUP_ORDER}
    places: dict[str, int] = {}
    for place, order in enumerate(follower.desk.orders.orders.values()):
        places[order.client_order_id] = place
        groups[GROUPS.get(order.state, "working")].append((place, order))
    ends = dict(each.split(":", 1) for each in before if ":" in each)
    words = search.lower().split()
    shown: list[tuple[str, Order]] = []
    older: dict[str, str] = {}
    for group, members in groups.items():
        end = places.get(ends.get(group, ""), len(places))
        sent_before = (order for place, order in reversed(members) if place < end)
        wanted = [order for order in sent_before if _has_words(follower, order, words)]
        shown += [(group, order) for order in wanted[:limit]]
        if len(wanted) > limit:
            older[group] = wanted[limit - 1].client_order_id
    fills: dict[str, list[Fill]] = {order.client_order_id: [] for _, order in shown}
    for fill in follower.fold.fills:
        if fill.client_order_id in fills and not fill.busted:
            fills[fill.client_order_id].append(fill)
    counts = {name: len(members) for name, members in groups.items()}
    rows = [order_row(follower, order, group, fills[order.client_order_id]) for group, order in shown]
    doubt = counts["unknown"]
    return {
        "sentence": (
            f"{doubt} order{'s are' if doubt > 1 else ' is'} in doubt: each counts as one that may fill."
            if doubt
            else f"Nothing is in doubt: {counts['working']} working, {counts['done']} done,"
            f" {counts['rejected']} rejected."
        ),
        "counts": counts,
        "orders": rows,
        "folded": [_folded(follower, list(alike)) for _, alike in groupby(rows, key=_alike)],
        "older": older,
        "total": len(places),
        "latency": order_latency(follower),
        "totals": {  # of those too that the desk has forgotten
            **_money(follower, follower.results.total(), currency_of(follower)),
            "elsewhere": f"{follower.money(follower.results.elsewhere):f}",
        },
    }


def _money(follower: RunFollower, result: FillResult, currency: str) -> answers.OrderMoney:
    return {
        "realised": follower.amount(result.realised),
        "against_mid": follower.amount(result.against_mid),
        "fee": f"{follower.money(result.fee):f}",
        "currency": currency,
    }


def _has_words(follower: RunFollower, order: Order, words: Sequence[str]) -> bool:
    sent = order.submitted
    label = leg_label(follower.desk.instruments[sent.instrument_id])
    told = (sent.side.value, sent.purpose.value, sent.type_name, order.state.value)
    text = " ".join((label, *told, order.reason or "", order.client_order_id)).lower()
    return all(word in text for word in words)


def order_row(follower: RunFollower, order: Order, group: str, fills: Sequence[Fill]) -> answers.OrderLine:
    """Return one order with its fills, and its steps in ms after it was sent."""
    sent = order.submitted
    contract = follower.desk.instruments[sent.instrument_id]
    line, results = follower.fold.orders.open.get(order.client_order_id), follower.results
    mid = results.mids.get(order.client_order_id)
    history = () if line is None else line.history
    return {
        "id": order.client_order_id,
        "group": group,
        "state": order.state.value,
        "label": leg_label(contract),
        "symbol": contract.symbol,
        "way": "up" if sent.side is Side.BUY else "down",
        "what": f"{'▲ buy' if sent.side is Side.BUY else '▼ sell'} {number_text(sent.quantity)}",
        "side": sent.side.value,
        "quantity": str(sent.quantity),
        "filled": str(order.filled),
        "price_decimals": follower.places_of(contract),
        "average": float(order.average_price) if order.filled else None,
        "mid": None if mid is None else float(mid),
        **_money(follower, results.order(order.client_order_id), contract.currency),
        "fills": [
            {
                "time": clock(fill.ts_recv_ns),
                "quantity": number_text(fill.quantity),
                "price": float(fill.price),
                **_money(follower, results.fill(order.client_order_id, fill.execution_id), contract.currency),
                "fee": f"{follower.money(fill.fee):f}",
            }
            for fill in fills
        ],
        "type": sent.type_name,
        "limit": None if sent.limit_price is None else float(sent.limit_price),
        "trigger": None if sent.trigger_price is None else float(sent.trigger_price),
        "purpose": sent.purpose.value,
        "reason": order.reason,
        "venue_id": order.venue_order_id,
        "created_ns": order.created_ns,
        "time": clock(order.created_ns),
        "day": day_of(order.created_ns),
        "steps": [
            {
                "state": state,
                "time": clock(at_ns),
                "after_ms": round((at_ns - order.created_ns) / 1e6, 1),
                "reason": reason,
            }
            for at_ns, state, reason in history
        ],
    }


def _alike(row: answers.OrderLine) -> tuple[str, ...]:
    """Return what orders share that stand in one row: an order in doubt or at work stands by itself."""
    own = row["id"] if row["group"] in ("unknown", "working") else ""
    return (
        row["group"],
        row["symbol"],
        row["side"],
        row["purpose"],
        row["type"],
        row["state"],
        row["reason"],
        own,
    )


def _folded(follower: RunFollower, rows: Sequence[answers.OrderLine]) -> answers.FoldedOrders:
    filled = sum((Decimal(row["filled"]) for row in rows), ZERO)
    paid = sum(float(row["filled"]) * (row["average"] or 0.0) for row in rows)

    def total(amounts: Iterable[str | None]) -> str | None:
        known = [Decimal(each) for each in amounts if each is not None]
        return f"{follower.money(sum(known, ZERO)):f}" if known else None

    return {
        "orders": [row["id"] for row in rows],
        "quantity": number_text(sum((Decimal(row["quantity"]) for row in rows), ZERO)),
        "filled": number_text(filled),
        "fill_count": sum(len(row["fills"]) for row in rows),
        "average": paid / float(filled) if filled else None,
        "realised": total(row["realised"] for row in rows),
        "against_mid": total(row["against_mid"] for row in rows),
        "fee": total(row["fee"] for row in rows) or "0",
        "currency": rows[0]["currency"],
    }


def order_latency(follower: RunFollower) -> answers.Latency:
    """Return the median and the 99 % quantile of the time from an order to its last state, ms."""
    took = [
        (line.history[-1][0] - line.created_ns) / 1e6
        for line in follower.fold.orders
        if OrderState(line.state) in TERMINAL
    ]
    if not took:
        return {"p50_ms": None, "p99_ms": None}
    return {"p50_ms": round(float(np.median(took)), 3), "p99_ms": round(float(np.quantile(took, 0.99)), 3)}


def why_page(
    follower: RunFollower,
    *,
    search: str = "",
    kind: str = "",
    taken: bool | None = None,
    limit: int = 100,
    before: int | None = None,
) -> answers.DecisionsPage:
    """Return the decisions, newest first; like ones in a row are folded into one row with their count.

    Skips are alike by what refused them, taken ones by what they did and their words without the figures.

    ``first`` of a row is the oldest decision in it, which stays when a newer one is folded into it. With
    ``before`` the page begins with what was decided before that number: ``older`` of the page before.
    """
    if follower.engine is None:
        return {"empty": follower.unread, "decisions": []}
    fold, words = follower.fold, search.lower().split()
    rows: list[answers.FoldedDecision] = []
    found, older = 0, None
    for number, decision in reversed(follower.decisions):
        if (kind and decision.kind.value != kind) or (taken is not None and decision.taken is not taken):
            continue
        if words:
            text = " ".join((str(number), decision.kind.value, *decision.reasons, *decision.client_order_ids))
            if not all(word in text.lower() for word in words):
                continue
        found += 1
        if older is not None or (before is not None and number >= before):
            continue
        last = rows[-1] if rows else None
        if last is not None and _is_like(last, decision):
            line = decision_row(follower, number, decision) if decision.taken else None
            if line is None or line["way"] == last["way"]:
                last["count"] += 1
                last["first"], last["first_time"] = number, clock(decision.ts_ns)
                if line is not None:
                    last["members"].append(line)
                continue
        if last is not None and len(rows) >= limit:
            older = last["first"]
        else:
            line = decision_row(follower, number, decision)
            rows.append(
                {
                    **line,
                    "count": 1,
                    "members": [line] if decision.taken else [],
                    "first": number,
                    "first_time": clock(decision.ts_ns),
                    "facts": dict(decision.facts),
                }
            )
    return {
        "sentence": (
            f"{sum(fold.taken.values()):,} decisions taken, {sum(fold.skipped.values()):,} skipped."
        ),
        "by_kind": {
            name: {"taken": fold.taken[name], "skipped": fold.skipped[name]}
            for name in sorted(fold.taken.keys() | fold.skipped.keys())
        },
        "found": found,
        "older": older,
        "decisions": rows,
    }


def _is_like(last: answers.FoldedDecision, decision: Decision) -> bool:
    return (
        decision.taken is last["taken"]
        and last["kind"] == decision.kind.value
        and likeness(last["reasons"], last["facts"]) == decision.likeness
    )


def fills_document(follower: RunFollower) -> answers.Fills:
    """Return the executions in order; ``t`` in UTC seconds, ``side`` +1 bought, −1 sold."""
    rows: answers.FillColumns = {"t": [], "price": [], "side": [], "hedge": [], "text": []}
    if follower.engine is None:
        return {"run": follower.run_dir.name, "from": 0, "columns": rows}
    orders = follower.desk.orders.orders
    for fill in follower.fold.fills:
        order, at_ns = orders.get(fill.client_order_id), fill.ts_recv_ns
        if order is None or fill.busted:
            continue
        sent = order.submitted
        contract = follower.desk.instruments[sent.instrument_id]
        is_buy = sent.side is Side.BUY
        rows["t"].append(at_ns / NANOS_PER_SECOND)
        rows["price"].append(float(fill.price))
        rows["side"].append(1 if is_buy else -1)
        rows["hedge"].append(not contract.is_option)
        rows["text"].append(
            f"{clock(at_ns)} {'▲ bought' if is_buy else '▼ sold'} {number_text(fill.quantity)}"
            f" {leg_label(contract)} at {plain(fill.price, follower.places_of(contract))}"
        )
    return {"run": follower.run_dir.name, "from": 0, "columns": rows}
