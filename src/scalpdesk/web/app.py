"""The dashboard's server: pages, API, event stream, commands, metrics.

Documents are made in worker threads and read under the follower's lock; the loop itself only passes on bytes
that were encoded once for all clients.
"""

import asyncio
import html
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

import h11
import msgspec
import uvicorn
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from uvicorn.protocols.http.h11_impl import H11Protocol

from scalpdesk.core.errors import ArgumentError, ConfigError, ScalpdeskError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.core.version import VERSION
from scalpdesk.monitor import documents
from scalpdesk.monitor.market import picker_page, volatility_page
from scalpdesk.monitor.order_documents import fills_document, order_latency, orders_page, why_page
from scalpdesk.monitor.position_documents import (
    contracts_document,
    currency_of,
    flatten_plan,
    greeks_document,
    position_page,
    positions,
)
from scalpdesk.monitor.texts import json_safe, span
from scalpdesk.web.access import PAGES, Access, Guard, Refusal, Role
from scalpdesk.web.feed import (
    CLIENT_SECONDS,
    MOST_CLIENTS,
    DeskFeed,
    acknowledge,
    empty_head,
    resident_bytes,
)
from scalpdesk.web.runs import run_page, runs_page, scalps_document
from scalpdesk.web.static_files import static_file, static_files

STATIC_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
ACTIONS = ("halt", "flatten", "resume")
NO_RUN = {"error": "there is no run yet", "fix": "scalpdesk demo"}
SEND_BUFFER_BYTES = 256 * 1024
REQUEST_SECONDS = 10.0
REFRESH_SECONDS = 30.0
"""Least time between two readings of journals into the store of runs, for the page of scalps."""


class Command(BaseModel):
    """A command for the desk."""

    key: str = Field(min_length=8, max_length=100, description="Chosen by the sender; sent once per key.")
    reason: str = Field(default="", max_length=500, description="Kept in the journal.")
    run: str = Field(
        default="",
        max_length=255,
        description="Id of the run that is meant; it is refused when another one is followed by now.",
    )


class Acknowledgement(BaseModel):
    """Alerts that a person has seen to."""

    key: str = Field(default="", max_length=200, description="Beginning of their keys; all when empty.")


class Login(BaseModel):
    """A token, typed or from the address that the command line printed."""

    token: str = Field(min_length=1, max_length=200)


class DeskCollector(Collector):
    """Metrics of the followed desk for Prometheus, read when they are asked for."""

    def __init__(self, feed: DeskFeed) -> None:
        self._feed = feed

    def collect(self) -> Any:
        """Yield the families; without a run only those of the server."""
        feed = self._feed
        yield GaugeMetricFamily("scalpdesk_dashboard_clients", "Open event streams.", value=feed.clients)
        yield GaugeMetricFamily(
            "scalpdesk_dashboard_resident_memory_bytes", "Memory of this process.", value=resident_bytes()
        )
        dropped = CounterMetricFamily(
            "scalpdesk_dashboard_dropped_states", "States that slow clients never got."
        )
        dropped.add_metric([], feed.dropped)
        yield dropped
        with feed.lock:
            follower = feed.follower
            if follower is None or follower.engine is None:
                return
            desk, taken, skipped = follower.desk, dict(follower.taken), dict(follower.skipped)
            greeks, unit = follower.greeks(), currency_of(follower).lower()
            gauges = {
                f"nav_{unit}": ("Net asset value at the last mark.", float(desk.attribution.nav)),
                f"session_pnl_{unit}": (
                    "P&L of the session at the last mark.",
                    float(desk.attribution.nav - desk.session_equity),
                ),
                "net_delta_shares": ("Net delta of the book.", greeks.net_delta_shares),
                "gamma_shares_per_usd": ("Gamma of the book.", greeks.gamma_shares_per_usd),
                f"theta_{unit}_per_day": ("Theta of a calendar day.", greeks.theta_usd_per_day),
                f"vega_{unit}_per_point": ("Vega of one volatility point.", greeks.vega_usd_per_point),
                "data_age_seconds": ("Age of the underlying's last quote.", follower.age_seconds),
                "live_orders": ("Orders that may still fill.", float(len(desk.orders.live))),
                "up": ("1 while the desk runs.", float(feed.is_running)),
            }
            events, records = follower.events, follower.tail.read_bytes
            fills, orders = len(follower.fills), len(desk.orders.orders)
            totals = {name: float(amount) for name, amount in desk.attribution.totals.items()}
            mode = desk.gate.kept_mode.value
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"scalpdesk_{name}", text, value=value)
        parts = GaugeMetricFamily(f"scalpdesk_pnl_{unit}", "P&L of the run by source.", labels=["part"])
        for name, value in totals.items():
            parts.add_metric([name], value)
        yield parts
        state = GaugeMetricFamily("scalpdesk_mode", "1 for the mode that the desk is in.", labels=["mode"])
        for name in ("ACTIVE", "REDUCING", "FLATTENING", "HALTED"):
            state.add_metric([name], float(name == mode))
        yield state
        counts = {
            "events": ("Events of the journal.", events),
            "journal_read_bytes": ("Bytes of the journal read.", records),
            "fills": ("Executions.", fills),
            "orders": ("Orders sent.", orders),
        }
        for name, (text, count) in counts.items():
            family = CounterMetricFamily(f"scalpdesk_{name}", text)
            family.add_metric([], count)
            yield family
        decided = CounterMetricFamily(
            "scalpdesk_decisions", "Decisions by kind and outcome.", labels=["kind", "outcome"]
        )
        for outcome, found in (("taken", taken), ("skipped", skipped)):
            for name, count in found.items():
                decided.add_metric([name, outcome], count)
        yield decided


def create_app(feed: DeskFeed, access: Access) -> FastAPI:
    """Return the application; the caller starts the feed, unless the server's lifespan does."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        feed.start()
        try:
            yield
        finally:
            feed.stop()

    app = FastAPI(
        title="scalpdesk",
        version=VERSION,
        description="State and history of a desk. Amounts are strings with two decimals; times are UTC"
        " nanoseconds (`_ns`) or New York clock times. Null is not known, never zero.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Guard, access=access)
    app.add_exception_handler(RequestValidationError, _refuse_fields)
    _add_pages(app, feed, access)
    _add_documents(app, feed)
    _add_records(app, feed)
    _add_health(app, feed)
    _add_stream(app, feed)
    _add_commands(app, feed, access)
    return app


def _refuse_fields(_request: Request, error: Exception) -> Response:
    """Name each wrong field and what was wrong; its value is not sent back: it may be a token."""
    assert isinstance(error, RequestValidationError)
    return _json(
        {"detail": [{name: each[name] for name in ("type", "loc", "msg")} for each in error.errors()]}, 422
    )


def _json(document: Any, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(document),
        status,
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )


def _add_pages(app: FastAPI, feed: DeskFeed, access: Access) -> None:
    static = static_files()
    page = static_file("index.html").decode()
    docs = static_file("docs.html").decode()

    @app.get("/static/{name}", include_in_schema=False)
    def static_content(name: str) -> Response:
        content = static.get(name)
        if content is None:
            return JSONResponse({"error": "there is no such file"}, 404)
        kind = STATIC_TYPES.get(name.rpartition(".")[2], "application/octet-stream")
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    def render(name: str, request: Request) -> HTMLResponse:
        # the account stands in the markup itself: whatever fails in a script, it is never another one
        role, head = access.role_of(request.headers), None
        if role is not Role.NOBODY:
            head = feed.read(lambda follower: documents.run_head(follower, is_running=feed.is_running))
        head = head or empty_head()
        account = head["account"]
        values = {
            "page": name,
            "kind": account["kind"],
            "label": account["label"],
            "title": f"{'LIVE ' if account['kind'] == 'LIVE' else ''}scalpdesk",
            "role": role.value,
            "state": head["state"],
            "charts": "yes" if "uplot.js" in static else "no",
        }
        text = page
        for key, value in values.items():
            text = text.replace("{{" + key + "}}", html.escape(value))
        return HTMLResponse(text, headers={"cache-control": "no-store"})

    @app.get("/", include_in_schema=False)
    def home(request: Request) -> HTMLResponse:
        return render("desk", request)

    @app.get("/api/docs", include_in_schema=False)
    def api_docs() -> HTMLResponse:
        return HTMLResponse(docs)

    @app.get("/healthz", tags=["server"], summary="Whether the server answers, and what it follows.")
    def healthz() -> Response:
        follower = feed.follower
        is_well = not feed.problem and (follower is None or not follower.problem)
        return _json(
            {
                "ok": is_well,
                "run_id": None if follower is None else follower.run_dir.name,
                "running": feed.is_running,
                "problem": feed.problem or (follower.problem if follower is not None else "") or None,
            },
            200 if is_well else 503,
        )

    for name in PAGES[1:]:
        app.get(f"/{name}", include_in_schema=False)(partial(render, name))


def _add_documents(app: FastAPI, feed: DeskFeed) -> None:
    def add(path: str, summary: str, make: Callable[..., Any]) -> None:
        def answer() -> Response:
            found = feed.read(make)
            return _json(NO_RUN if found is None else found)

        answer.__name__ = path.strip("/").replace("/", "_")
        app.get(path, summary=summary, tags=["desk"])(answer)

    add("/api/performance", "Trading results: P&L by part, round trips, fills.", documents.performance)
    add("/api/positions", "Positions with entry, mark and Greeks.", positions)
    add("/api/greeks", "Greeks of the whole book.", greeks_document)
    add("/api/contracts", "What a leg can be added of on the Position page.", contracts_document)
    add(
        "/api/volatility", "Volatility page: smiles, term structure, forecast, dealer gamma.", volatility_page
    )
    add("/api/picker", "Strike picker: the nearest chain, and why each refused strike is.", picker_page)
    add(
        "/api/flatten",
        "What flattening would send, and its estimated cost.",
        lambda follower: feed.refusal or flatten_plan(follower),
    )
    add(
        "/api/fills",
        "Executions in order, for the price chart.",
        fills_document,
    )
    add(
        "/api/desk",
        "Desk page with its header.",
        lambda follower: {
            "head": documents.run_head(follower, is_running=feed.is_running),
            "desk": documents.desk_page(follower),
        },
    )

    @app.get(
        "/api/position",
        summary="Position page: legs, payoff, ladder; at a later date, with legs added for a look.",
        tags=["desk"],
    )
    def position(
        days: Annotated[float, Query(ge=0.0, le=20_000.0)] = 0.0,
        leg: Annotated[list[Annotated[str, Query(max_length=80)]] | None, Query(max_length=20)] = None,
    ) -> Response:
        try:
            found = feed.read(lambda follower: position_page(follower, days, leg or ()))
        except ArgumentError as error:
            return _json({"error": error.what, "fix": error.fix}, 422)
        return _json(found or NO_RUN)

    def of_run(run: str, make: Callable[..., dict[str, Any]]) -> Response:
        try:
            return _json(feed.read_run(run, make) or NO_RUN)
        except ScalpdeskError as error:
            return _json({"error": error.what, "fix": error.fix}, 404)

    @app.get("/api/orders", summary="Orders by group, unknown ones first; of any run.", tags=["desk"])
    def orders(
        limit: Annotated[int, Query(ge=1, le=5_000)] = 100,
        before: Annotated[list[Annotated[str, Query(max_length=200)]] | None, Query(max_length=4)] = None,
        run: Annotated[str, Query(max_length=255)] = "",
    ) -> Response:
        return of_run(run, lambda follower: orders_page(follower, limit, before or ()))

    @app.get(
        "/api/decisions", summary="Decisions, newest first, equal skips folded; of any run.", tags=["desk"]
    )
    def decisions(
        search: Annotated[str, Query(max_length=100)] = "",
        kind: Annotated[str, Query(max_length=40)] = "",
        taken: bool | None = None,
        limit: Annotated[int, Query(ge=1, le=2_000)] = 100,
        before: Annotated[int | None, Query(ge=1)] = None,
        run: Annotated[str, Query(max_length=255)] = "",
    ) -> Response:
        return of_run(
            run,
            lambda follower: why_page(
                follower, search=search, kind=kind, taken=taken, limit=limit, before=before
            ),
        )

    @app.get("/api/series", summary="Columns of the charts from a position on.", tags=["desk"])
    def series(since: Annotated[int, Query(ge=0)] = 0) -> Response:
        found = feed.read(
            lambda follower: {
                "run": follower.run_dir.name,
                "generation": follower.series.generation,
                "from": since,
                "columns": follower.series.since(since),
            }
        )
        return _json(found or {"run": None, "generation": 0, "from": 0, "columns": {}})


def _add_records(app: FastAPI, feed: DeskFeed) -> None:
    projected = [-REFRESH_SECONDS]

    @app.get("/api/scalps", summary="Options scalps: open, history, performance.", tags=["records"])
    def scalps(run: Annotated[str | None, Query(max_length=100)] = None) -> Response:
        is_due = time.monotonic() - projected[0] >= REFRESH_SECONDS
        try:
            found = scalps_document(feed.runs_dir, run, refresh=is_due)
        except ScalpdeskError as error:
            return _json({"error": error.what, "fix": error.fix}, 404)
        if is_due:
            projected[0] = time.monotonic()
        return _json(json_safe(found))

    @app.get("/api/runs", summary="Runs on record, the newest first.", tags=["records"])
    def runs(limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> Response:
        return _json(json_safe(runs_page(feed.runs_dir, limit)))

    @app.get("/api/runs/{run_id}", summary="One run: its summary and its series of marks.", tags=["records"])
    def one_run(run_id: str) -> Response:
        try:
            return _json(json_safe(run_page(feed.runs_dir, run_id)))
        except ScalpdeskError as error:
            return _json({"error": error.what, "fix": error.fix}, 404)


def _add_health(app: FastAPI, feed: DeskFeed) -> None:
    @app.get(
        "/api/metrics", summary="System performance: data age, journal, publishing, memory.", tags=["server"]
    )
    def metrics() -> Response:
        return _json(json_safe(system_metrics(feed)))

    @app.get("/api/alerts", summary="Open alerts of the desk, and the latest messages.", tags=["desk"])
    def alerts() -> Response:
        found = feed.alerts() or {"open": [], "sent": [], "is_sent": None}
        now_ns = feed.clock.now_ns()

        def age(at_ns: int) -> str:
            return span(max(now_ns - at_ns, 0) / NANOS_PER_SECOND)

        return _json(
            {
                **found,
                "open": [{**each, "held": age(each["since_ns"])} for each in found["open"]],
                "sent": [{**each, "ago": age(each["ts_ns"])} for each in found["sent"][::-1]],
            }
        )

    @app.get("/metrics", summary="Metrics for Prometheus.", tags=["server"], response_class=PlainTextResponse)
    def prometheus() -> Response:
        registry = CollectorRegistry()
        registry.register(DeskCollector(feed))
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


def system_metrics(feed: DeskFeed) -> dict[str, Any]:
    """Return how the system performs: the followed journal, the server, and the desk's own answer."""
    with feed.lock:
        follower = feed.follower
        run: dict[str, Any] | None = None
        if follower is not None:
            run = {
                "run_id": follower.run_dir.name,
                "running": feed.is_running,
                "sealed": follower.tail.sealed,
                "cut": None if (cut := documents.cut_of(follower)) is None else str(cut),
                "problem": follower.problem or None,
                "events": follower.events,
                "journal_bytes": follower.tail.read_bytes,
                "marks": follower.marks,
                "data_age_seconds": follower.age_seconds,
                "journal_age_seconds": follower.lag_seconds,
                "speed": follower.speed,
                "evaluations": None if follower.engine is None else follower.engine.evaluations,
                "quote_oddities": (
                    {} if follower.engine is None else dict(sorted(follower.desk.market.oddities.items()))
                ),
                "order_latency": None if follower.engine is None else order_latency(follower),
            }
        lags = sorted(feed.lags)
    return {
        "run": run,
        "server": {
            "version": VERSION,
            "clients": feed.clients,
            "dropped_states": feed.dropped,
            "published_states": feed.version,
            "publish_ms_p50": 1e3 * lags[len(lags) // 2] if lags else None,
            "publish_ms_p99": 1e3 * lags[int(len(lags) * 0.99)] if lags else None,
            "resident_bytes": resident_bytes(),
            "problem": feed.problem or None,
        },
        "desk": feed.desk_status(),
    }


def _add_stream(app: FastAPI, feed: DeskFeed) -> None:
    @app.get(
        "/api/events",
        summary="Server-sent events: the newest state at once and after each change, at most 10 a second.",
        tags=["desk"],
        response_class=StreamingResponse,
    )
    async def events() -> Response:
        if feed.clients >= MOST_CLIENTS:
            return JSONResponse({"error": f"{MOST_CLIENTS} streams are open"}, 503)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return BoundedStream(feed.states(), media_type="text/event-stream", headers=headers)


class BoundedStream(StreamingResponse):
    """A stream that ends when its client takes nothing for :data:`CLIENT_SECONDS`."""

    async def stream_response(self, send: Any) -> None:
        """Send chunk by chunk; each must be taken in time."""

        async def send_in_time(message: Any) -> None:
            async with asyncio.timeout(CLIENT_SECONDS):
                await send(message)

        try:
            await super().stream_response(send_in_time)
        except TimeoutError:
            return


class BoundedConnection(H11Protocol):
    """A connection that ends when its client brings no whole request within :data:`REQUEST_SECONDS`."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._await_request()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._await_request()
        super().on_response_complete()

    def _await_request(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._end_half_open)

    def _end_half_open(self) -> None:
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self.transport.abort()


def _add_commands(app: FastAPI, feed: DeskFeed, access: Access) -> None:
    @app.post("/login", summary="Exchange a token for a session of the page.", tags=["access"])
    def login(body: Login) -> Response:
        found = access.log_in(body.token)
        if isinstance(found, Refusal):
            headers = {"retry-after": str(found.retry_seconds)} if found.retry_seconds else None
            return JSONResponse({"error": found.why}, found.status, headers)
        role, session = found
        return JSONResponse({"role": role.value}, headers={"set-cookie": access.set_cookie(session)})

    @app.post("/logout", summary="End the session of the page.", tags=["access"])
    def logout(request: Request) -> Response:
        access.log_out(request.headers)
        return JSONResponse({"role": Role.NOBODY.value}, headers={"set-cookie": access.set_cookie("")})

    @app.post(
        "/api/alerts/acknowledge",
        summary="Acknowledge open alerts: the operator's token is needed.",
        tags=["commands"],
    )
    def acknowledge_alerts(body: Acknowledgement) -> Response:
        follower = feed.follower
        if follower is None:
            return JSONResponse(NO_RUN, 503)
        acknowledge(follower.run_dir, body.key, "operator on the dashboard")
        feed.judge()
        return _json({"acknowledged": body.key})

    @app.post(
        "/api/commands/{action}",
        summary="halt, flatten or resume the desk: the operator's token is needed.",
        tags=["commands"],
    )
    async def command(action: str, body: Command) -> Response:
        if action not in ACTIONS:
            return JSONResponse({"error": "unknown command", "fix": ", ".join(ACTIONS)}, 404)
        reason = body.reason or ("" if action == "resume" else f"{action} from the dashboard")
        try:
            answer = await run_in_threadpool(feed.command, action, body.key, reason, body.run)
        except ScalpdeskError as error:
            facts = {"error": error.what, "fix": f"scalpdesk {action}"}
            return JSONResponse(facts, 503)
        return _json(answer, 409 if "error" in answer else 200)


def listener_of(host: str, port: int) -> socket.socket:
    """Return a listening socket whose clients get a small send buffer, so that a slow one is noticed.

    Raises
    ------
    ConfigError
        When the port is taken, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"the dashboard cannot listen here: {error.strerror or error}",
            where="--host, --port",
            value=f"{host}:{port}",
            fix="another dashboard may run already; --port chooses another port",
        ) from error
    return listener


def serve(feed: DeskFeed, access: Access, listener: socket.socket) -> None:
    """Serve on a listening socket until interrupted."""
    app = create_app(feed, access)
    config = uvicorn.Config(
        app,
        http=BoundedConnection,
        log_level="warning",
        timeout_graceful_shutdown=1,
        access_log=False,
        ws="none",
    )
    uvicorn.Server(config).run([listener])
