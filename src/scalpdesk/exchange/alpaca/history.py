"""What has happened on an account: activities and the course of its equity."""

from typing import Any

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.exchange.alpaca.messages import MALFORMED, ApiError, Request
from scalpdesk.exchange.alpaca.shapes import activity_json
from scalpdesk.exchange.alpaca.times import query_ns
from scalpdesk.exchange.world import World
from scalpdesk.simulation.broker.accounts import BrokerAccount

MAX_PAGE = 100


def account_activities(account: BrokerAccount, request: Request, kind: str) -> list[dict[str, Any]]:
    """``GET /v2/account/activities[/{type}]``; the token of the next page is the last id."""
    kinds = {kind} if kind and kind != "activities" else set(request.listed("activity_types"))
    after, until = query_ns(request, "after"), query_ns(request, "until")
    found = [
        one
        for one in account.activities
        if (not kinds or one.kind in kinds)
        and (after is None or one.ts_ns > after)
        and (until is None or one.ts_ns < until)
    ]
    if request.query.get("direction", "desc") != "asc":
        found.reverse()
    token = request.query.get("page_token")
    if token:
        ids = [one.activity_id for one in found]
        if token not in ids:
            raise ApiError(422, MALFORMED, "invalid page_token")
        found = found[ids.index(token) + 1 :]
    size = request.query.get("page_size") or str(MAX_PAGE)
    if not size.isdigit() or not 1 <= int(size) <= MAX_PAGE:
        raise ApiError(422, MALFORMED, f"page_size must be between 1 and {MAX_PAGE}")
    return [activity_json(one) for one in found[: int(size)]]


def portfolio_history(world: World, account: BrokerAccount, request: Request) -> dict[str, Any]:
    """``GET /v2/account/portfolio/history``: the last close and now; arrays of numbers."""
    now = world.books.money(account).equity
    before = account.last_equity
    gain = now - before
    return {
        "timestamp": [account.created_ns // NANOS_PER_SECOND, world.now_ns // NANOS_PER_SECOND],
        "equity": [float(before), float(now)],
        "profit_loss": [0.0, float(gain)],
        "profit_loss_pct": [0.0, float(gain / before) if before else 0.0],
        "base_value": float(before),
        "timeframe": request.query.get("timeframe") or "1D",
    }
