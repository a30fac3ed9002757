"""The followed run: its pages, its charts, its stream of states, its alerts."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.journal.reader import run_named
from scalpdesk.monitor import answers, documents
from scalpdesk.monitor.answers import NoRun
from scalpdesk.monitor.cards import cards
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.monitor.market import picker_page, volatility_page
from scalpdesk.monitor.order_documents import fills_document, orders_page, why_page
from scalpdesk.monitor.position_documents import (
    contracts_document,
    flatten_plan,
    greeks_document,
    position_page,
    positions,
)
from scalpdesk.monitor.texts import span
from scalpdesk.web.access import Role
from scalpdesk.web.answering import NO_RUN, Feed, as_json, errors, needs
from scalpdesk.web.feed import CLIENT_SECONDS, MOST_CLIENTS, DeskFeed, columns_since
from scalpdesk.web.today import LastDesk, today_page

router = APIRouter(tags=["desk"], dependencies=[needs(Role.VIEWER)])
RunName = Annotated[str, Query(max_length=255, description="Another run than the followed one, by its name.")]


def _add(path: str, summary: str, kind: Any, make: Callable[[RunFollower], Any]) -> None:
    def answer(feed: Feed, run: RunName = "") -> Response:
        return _of(feed, run, make)

    answer.__name__ = path.strip("/").replace("/", "_")
    router.get(path, summary=summary, response_model=kind | NoRun, responses=errors(401, 404))(answer)


def _of(feed: DeskFeed, run: str, make: Callable[[RunFollower], Any]) -> Response:
    """Answer with a document of the followed run or, by its name, of another."""
    found = feed.read(make, run)
    return as_json(NO_RUN if found is None else found)


_add(
    "/api/performance",
    "Trading results: P&L by part, round trips, fills.",
    answers.Performance | answers.Unread,
    documents.performance,
)
_add("/api/positions", "Positions with entry, mark and Greeks.", answers.Positions, positions)
_add("/api/greeks", "Greeks of the whole book.", answers.BookGreeks | answers.NoGreeks, greeks_document)
_add(
    "/api/contracts",
    "Contracts that a leg of the Position page can be.",
    answers.ListedContracts,
    contracts_document,
)
_add(
    "/api/volatility",
    "Volatility page: smiles, term structure, forecast, dealer gamma.",
    answers.VolatilityPage | answers.Empty,
    volatility_page,
)
_add(
    "/api/picker",
    "Strike picker: the nearest chain, and why each refused strike is.",
    answers.PickerPage | answers.Empty,
    picker_page,
)
_add("/api/cards", "Cards that installed packages add to the Desk page.", answers.Cards, cards)
_add("/api/fills", "Executions in order, for the price chart.", answers.Fills, fills_document)


@router.get(
    "/api/risk",
    summary="Risk of the book: value at risk, expected shortfall, stress days, scenario grid.",
    response_model=answers.BookRisk | answers.Empty | NoRun,
    responses=errors(401, 404),
)
def risk(request: Request, feed: Feed, run: RunName = "") -> Response:
    """Return the newest risk of the book; another thread computes it, once for each version of the book."""
    followed = feed.follower
    picked = run_named(feed.runs_dir, run) if run else None
    if picked is not None and (followed is None or followed.run_dir != picked):
        return as_json(answers.Empty(empty="Risk is computed of the followed run only: scalpdesk risk."))
    return as_json(request.app.state.risk.answer() or NO_RUN)


@router.get(
    "/api/flatten",
    summary="The orders that flattening would send, and their estimated cost.",
    response_model=answers.FlattenPlan | NoRun,
    responses=errors(401),
)
def flatten(feed: Feed) -> Response:
    """Return the plan, or why the run takes no commands."""
    found = feed.read(lambda follower: feed.refusal or flatten_plan(follower))
    return as_json(NO_RUN if found is None else found)


@router.get(
    "/api/desk",
    summary="Desk page with its header.",
    response_model=answers.DeskDocument | NoRun,
    responses=errors(401, 404),
)
def desk(feed: Feed, run: RunName = "") -> Response:
    """Return the Desk page."""

    def page(follower: RunFollower) -> answers.DeskDocument:
        head = documents.run_head(follower, is_running=feed.runs(follower))
        return {"head": head, "desk": documents.desk_page(follower)}

    return _of(feed, run, page)


@router.get(
    "/api/today",
    summary="Today page: the morning of the desk; the account itself is asked by scalpdesk today.",
    response_model=answers.TodayPage | answers.Empty | NoRun,
    responses=errors(401, 404),
)
def today(feed: Feed, run: RunName = "") -> Response:
    """Return the Today page."""

    def page(follower: RunFollower) -> answers.TodayPage | answers.Empty:
        if follower.engine is None or follower.header is None:
            return {"empty": follower.unread}
        return today_page(
            LastDesk(follower.run_dir, follower.header),
            follower,
            feed.clock.now_ns(),
            is_running=feed.runs(follower),
            why_no_look="Whether it is as it was left, scalpdesk today asks the venue: a page asks none.",
        )

    return _of(feed, run, page)


@router.get(
    "/api/position",
    summary="Position page: legs, payoff, ladder; at a later date, with legs added for a look.",
    response_model=answers.PositionPage | answers.Empty | NoRun,
    responses=errors(401, 404),
)
def position(
    feed: Feed,
    run: RunName = "",
    days: Annotated[float, Query(ge=0.0, le=20_000.0)] = 0.0,
    leg: Annotated[list[Annotated[str, Query(max_length=80)]] | None, Query(max_length=20)] = None,
    smile: Literal["sticky-delta", "sticky-strike"] = "sticky-delta",
    vol: Annotated[float, Query(ge=-50.0, le=100.0)] = 0.0,
) -> Response:
    """Return the Position page."""
    return _of(feed, run, lambda follower: position_page(follower, days, leg or (), smile, vol))


@router.get(
    "/api/orders",
    summary="Orders of any run by group, unknown orders first.",
    response_model=answers.OrdersPage | NoRun,
    responses=errors(401, 404),
)
def orders(
    feed: Feed,
    limit: Annotated[int, Query(ge=1, le=5_000)] = 100,
    before: Annotated[list[Annotated[str, Query(max_length=200)]] | None, Query(max_length=4)] = None,
    search: Annotated[str, Query(max_length=100)] = "",
    run: RunName = "",
) -> Response:
    """Return the Orders page."""
    found = feed.read_run(run, lambda follower: orders_page(follower, limit, before or (), search))
    return as_json(found or NO_RUN)


@router.get(
    "/api/decisions",
    summary="Decisions of any run, newest first, equal skips folded.",
    response_model=answers.DecisionsPage | NoRun,
    responses=errors(401, 404),
)
def decisions(
    feed: Feed,
    search: Annotated[str, Query(max_length=100)] = "",
    kind: Annotated[str, Query(max_length=40)] = "",
    taken: bool | None = None,
    limit: Annotated[int, Query(ge=1, le=2_000)] = 100,
    before: Annotated[int | None, Query(ge=1)] = None,
    run: RunName = "",
) -> Response:
    """Return the Why page."""

    def page(follower: RunFollower) -> answers.DecisionsPage:
        return why_page(follower, search=search, kind=kind, taken=taken, limit=limit, before=before)

    return as_json(feed.read_run(run, page) or NO_RUN)


@router.get(
    "/api/series",
    summary="Columns of the charts from a position on.",
    response_model=answers.Series,
    responses=errors(401, 404),
)
def series(feed: Feed, since: Annotated[int, Query(ge=0)] = 0, run: RunName = "") -> Response:
    """Return what was added to the charts."""
    found = feed.read(lambda follower: columns_since(follower, since), run)
    return as_json(found or {"run": None, "generation": 0, "from": 0, "columns": {}})


@router.get(
    "/api/alerts",
    summary="Open alerts of the desk, and the latest messages.",
    response_model=answers.Alerts,
    responses=errors(401),
)
def alerts(feed: Feed) -> Response:
    """Return the alerts of the followed run."""
    found = feed.alerts() or {"open": [], "sent": [], "is_sent": None}
    now_ns = feed.clock.now_ns()

    def age(at_ns: int) -> str:
        return span(max(now_ns - at_ns, 0) / NANOS_PER_SECOND)

    return as_json(
        {
            **found,
            "open": [{**each, "held": age(each["since_ns"])} for each in found["open"]],
            "sent": [{**each, "ago": age(each["ts_ns"])} for each in found["sent"][::-1]],
        }
    )


class BoundedStream(StreamingResponse):
    """A stream that ends when its client takes nothing for :data:`CLIENT_SECONDS`."""

    media_type = "text/event-stream"

    async def stream_response(self, send: Any) -> None:
        """Send chunk by chunk; each must be taken in time."""

        async def send_in_time(message: Any) -> None:
            async with asyncio.timeout(CLIENT_SECONDS):
                await send(message)

        try:
            await super().stream_response(send_in_time)
        except TimeoutError:
            return


@router.get(
    "/api/state", summary="The newest state.", response_model=answers.StreamState, responses=errors(401, 404)
)
def state(feed: Feed, run: RunName = "") -> Response:
    """Return once what the stream sends after each change; of another run all of its charts."""
    if run:
        return as_json(feed.state_of_run(run) or NO_RUN)
    if not feed.encoded:
        feed.publish()
    return Response(feed.encoded, media_type="application/json", headers={"cache-control": "no-store"})


@router.get(
    "/api/events",
    summary="Server-sent events: the newest state at once and after each change, at most 10 a second.",
    description="The data of each event is what `/api/state` answers.",
    response_class=BoundedStream,
    responses=errors(401, 503),
)
async def events(feed: Feed) -> Response:
    """Send states until the client leaves."""
    if feed.clients >= MOST_CLIENTS:
        return as_json({"error": f"{MOST_CLIENTS} streams are open"}, 503)
    return BoundedStream(feed.states(), headers={"cache-control": "no-store", "x-accel-buffering": "no"})
