"""One run seen everywhere: the same figures on every surface, and its keys on no surface."""

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scalpdesk.alerts.book import AlertBook
from scalpdesk.alerts.rules import daily_summary, holdings, status_text
from scalpdesk.alerts.service import AlertService
from scalpdesk.cli.main import main
from scalpdesk.config.schema import Secret
from scalpdesk.config.settings import AlertSettings, load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.report.figures import json_safe
from scalpdesk.research.stored_run import read_stored
from scalpdesk.web.feed import DeskFeed
from scalpdesk.web.routes.pages import PAGES
from scalpdesk.web.tear_sheet import read_run, sheet_document, tear_sheet

NAME = re.compile(r"scalpdesk_\w+")


def amount(text):
    """Return an amount as a page prints it."""
    return Decimal(text.replace("−", "-").replace(",", ""))


def test_a_runs_result_is_one_on_every_surface(client_of, ended_feed, ended_runs, capsys):
    folder, summary = ended_runs
    api = client_of(ended_feed)
    stored = read_stored(folder / summary["run_id"])
    runs = ["--set", f"desk.runs_dir={folder}"]
    assert main(["report", "last", "--json", *runs]) == 0
    line = json.loads(capsys.readouterr().out)
    sheet = json_safe(sheet_document(read_run(folder / summary["run_id"])))
    performance, page = api.get("/api/performance").json(), api.get("/api/desk").json()
    alert = daily_summary(ended_feed.follower).text
    total = Decimal(summary["nav_change"])
    assert total != 0
    assert {
        "command line": Decimal(line["pnl"]["total"]),
        "API": Decimal(performance["nav_change"]),
        "page": amount(page["desk"]["pnl"]),
        "page's header": amount(page["head"]["pnl"]),
        "SQL": stored.run["nav_change"],
        "SQL, its marks": sum((mark.nav_change for mark in stored.marks), Decimal(0)),
        "tear sheet": amount(sheet["result"]),
        "alert": amount(alert.partition("P&L ")[2].partition(" ")[0]),
        "alert, /status": amount(
            status_text(ended_feed.follower, is_running=False).partition("session ")[2].partition(" ")[0]
        ),
        "list of runs": amount(api.get("/api/runs").json()["runs"][0]["pnl"]),
    } == dict.fromkeys(
        (
            "command line", "API", "page", "page's header", "SQL", "SQL, its marks", "tear sheet", "alert",
            "alert, /status", "list of runs",
        ),
        total,
    )  # fmt: skip
    for name, text in summary["pnl"].items():
        shown = next(row["pnl"] for row in page["desk"]["parts"] if row["name"] == name)
        on_sheet = next(row["pnl"] for row in sheet["parts"] if row["name"] == name)
        assert Decimal(line["pnl"][name]) == Decimal(performance["pnl"][name]) == Decimal(text), name
        assert shown == on_sheet == text, name
    orders = api.get("/api/orders?limit=5000").json()
    by_id = {row["id"]: (row["symbol"], row["side"], Decimal(row["filled"])) for row in orders["orders"]}
    assert by_id == {
        row.client_order_id: (row.symbol, row.side, row.filled_quantity) for row in stored.orders
    }
    assert orders["total"] == line["orders"] == performance["orders"] == stored.run["orders"]
    assert f"{orders['total']} orders and {line['fills']} fills" in alert
    assert dict(sheet["facts"])["Hedges"] == str(line["hedges"]) == str(performance["hedges"])


def test_what_is_held_is_one_on_every_surface(client_of, held_feed, held):
    api = client_of(held_feed)
    stored = read_stored(held.run_dir)
    in_sql = {row["symbol"]: row["quantity"] for row in stored.positions if row["quantity"]}
    assert len(in_sql) == 3  # call, put and the hedge
    shown = api.get("/api/positions").json()["positions"]
    assert {row["symbol"]: Decimal(row["quantity"]) for row in shown} == in_sql
    assert {k: Decimal(v) for k, v in api.get("/api/performance").json()["end_positions"].items()} == in_sql
    legs = api.get("/api/desk").json()["desk"]["position"]["legs"]
    by_label = {row["label"]: Decimal(row["quantity"]) for row in shown}
    assert {leg["label"]: amount(leg["quantity"]) for leg in legs} == by_label
    told = dict(reversed(part.split(" ", 1)) for part in holdings(held).split(", "))
    assert {label: amount(quantity) for label, quantity in told.items()} == by_label


KEYS = {
    "TRADING_API_KEY": "canary-key-1",
    "TRADING_API_SECRET": "canary-secret-2",
    "SCALPDESK_CREDENTIALS__ALERT_URLS": "json://127.0.0.1:9/canary-hook-3",
    "SCALPDESK_CREDENTIALS__TELEGRAM_BOT_KEY": "4:canary-bot",
    "SCALPDESK_CREDENTIALS__ALERT_HEARTBEAT_URL": "http://127.0.0.1:9/canary-beat-5",
}


@pytest.mark.enable_socket
@pytest.mark.second
def test_a_key_appears_nowhere(client_of, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    assert load_settings("gamma-scalper", environ=KEYS).config.credentials.alert_urls == Secret(
        KEYS["SCALPDESK_CREDENTIALS__ALERT_URLS"]
    )  # the keys are taken in
    demo = ["demo", "--session", "2017-07-03", "--speed", "max", "--no-dashboard", "--debug"]
    for words in (demo, ["config", "show", "--json"], ["alerts", "test", "--debug"]):
        main(words)
    feed = DeskFeed(tmp_path / "runs", "last", SystemClock())
    feed.choose()
    while feed.follower.advance(1_000):
        pass
    feed.publish()
    seen = [feed.encoded, tear_sheet(json_safe(sheet_document(feed.follower))).encode()]
    service = AlertService(
        feed.follower.run_dir, load_settings("gamma-scalper", environ=KEYS).config, SystemClock(), print
    )
    while service.step():
        pass
    service.step()
    service.finish()
    seen.append(repr((service.book, service.__dict__)).encode())
    api = client_of(feed)
    routes = api.get("/openapi.json").json()["paths"]
    paths = [path for path in routes if "{" not in path and path != "/api/events"]
    for path in (*paths, *(f"/{name}" for name in PAGES[1:]), "/", "/api/runs/last"):
        answer = api.get(path)
        if "get" in routes.get(path, {"get": 1}):
            assert answer.status_code in (200, 503), path
        seen.append(answer.content)
    out, err = capfd.readouterr()
    seen += [out.encode(), err.encode()]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"desk.sqlite", "journal-000001.sdj", "alerts.json"} <= {path.name for path in files}
    seen += [path.read_bytes() for path in files]
    feed.follower.tail.close()
    assert not [text[max(0, at - 80) : at + 40] for text in seen if (at := text.find(b"canary")) >= 0]


def test_the_grafana_dashboard_asks_for_metrics_that_are_served(client_of, held_feed):
    text = (Path(__file__).parents[2] / "examples" / "grafana" / "scalpdesk.json").read_text("utf-8")
    panels = json.loads(text)["panels"]
    asked = {name for panel in panels for each in panel["targets"] for name in NAME.findall(each["expr"])}
    families = text_string_to_metric_families(client_of(held_feed).get("/metrics").text)
    served = {sample.name for family in families for sample in family.samples}
    assert asked <= served
    assert len(panels) == len({panel["title"] + panel["type"] for panel in panels}) == 17
    assert served - asked <= {"scalpdesk_journal_read_bytes_created"}  # nothing is served that it leaves out


def test_tear_sheet_and_alert_book_take_no_text_as_markup():
    hostile = "</script><script>alert(1)</script>"
    book = AlertBook(AlertSettings(), title=hostile)
    assert book.document() == {"open": [], "sent": []}
    assert "<script>alert" not in tear_sheet(json_safe({"title": hostile, "result": "0"}))
