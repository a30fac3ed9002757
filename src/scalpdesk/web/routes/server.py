"""Performance of the server and of the followed desk, for people and for Prometheus."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from scalpdesk.core.version import BUILD
from scalpdesk.monitor import answers, documents
from scalpdesk.monitor.held_book import currency_of
from scalpdesk.monitor.order_documents import order_latency
from scalpdesk.web.access import Role
from scalpdesk.web.answering import Feed, as_json, errors, needs
from scalpdesk.web.feed import DeskFeed, resident_bytes

router = APIRouter(tags=["server"])


@router.get(
    "/healthz",
    summary="Whether the server answers, and what it follows.",
    response_model=answers.ServerHealth,
    responses=errors(503),
)
async def healthz(feed: Feed) -> Response:
    """Answer with 200 while the run can be followed, else with 503."""
    follower = feed.follower
    is_well = not feed.problem and (follower is None or not follower.problem)
    found: answers.ServerHealth = {
        "ok": is_well,
        "run_id": None if follower is None else follower.run_dir.name,
        "running": feed.is_running,
        "problem": feed.problem or (follower.problem if follower is not None else "") or None,
    }
    return as_json(found, 200 if is_well else 503)


@router.get(
    "/api/metrics",
    summary="System performance: data age, journal, publishing, memory.",
    dependencies=[needs(Role.VIEWER)],
    response_model=answers.Metrics,
    responses=errors(401),
)
def metrics(feed: Feed) -> Response:
    """Return how the system performs."""
    return as_json(system_metrics(feed))


@router.get(
    "/metrics",
    summary="Metrics for Prometheus.",
    dependencies=[needs(Role.VIEWER)],
    response_class=PlainTextResponse,
)
def prometheus(feed: Feed) -> Response:
    """Return the metrics as text."""
    registry = CollectorRegistry()
    registry.register(DeskCollector(feed))
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


def system_metrics(feed: DeskFeed) -> answers.Metrics:
    """Return how the system performs: the followed journal, the server, and the desk's own answer."""
    with feed.lock:
        follower = feed.follower
        run: answers.FollowedRun | None = None
        if follower is not None:
            run = {
                "run_id": follower.run_dir.name,
                "running": feed.is_running,
                "sealed": follower.tail.sealed,
                "cut": None if (cut := documents.cut_of(follower)) is None else str(cut),
                "problem": follower.problem or None,
                "events": follower.events,
                "journal_bytes": follower.tail.read_bytes,
                "marks": 0 if follower.engine is None else len(follower.fold.marks),
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
            "version": BUILD,
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


def _counter(name: str, text: str, count: float) -> CounterMetricFamily:
    family = CounterMetricFamily(f"scalpdesk_{name}", text)
    family.add_metric([], count)
    return family


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
        yield _counter("dashboard_dropped_states", "States that slow clients never got.", feed.dropped)
        with feed.lock:
            follower = feed.follower
            if follower is None or follower.engine is None:
                return
            desk, fold = follower.desk, follower.fold
            taken, skipped = dict(fold.taken), dict(fold.skipped)
            greeks, unit = follower.greeks(), currency_of(follower).lower()
            gauges = {
                f"nav_{unit}": ("Net asset value.", float(desk.attribution.current_nav())),
                f"session_pnl_{unit}": (
                    "P&L of the session.",
                    float(desk.session_pnl()),
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
            fills, orders = fold.fill_count, len(fold.orders)
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
            yield _counter(name, text, count)
        decided = CounterMetricFamily(
            "scalpdesk_decisions", "Decisions by kind and outcome.", labels=["kind", "outcome"]
        )
        for outcome, found in (("taken", taken), ("skipped", skipped)):
            for name, count in found.items():
                decided.add_metric([name, outcome], count)
        yield decided
