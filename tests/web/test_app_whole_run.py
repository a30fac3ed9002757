"""One run seen everywhere: the same figures on every surface, and its keys on no surface."""

import csv
import json
import re
import sqlite3
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scalpdesk.alerts.rules import daily_summary, holdings, status_text
from scalpdesk.alerts.service import AlertService
from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.cli.main import main
from scalpdesk.config.schema import Secret
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.units import CENT
from scalpdesk.portfolio.explain import PARTS, parts_in_cents
from scalpdesk.records.store import STORE_FILE
from scalpdesk.report.figures import json_safe
from scalpdesk.research.stored_run import read_stored
from scalpdesk.web.routes.pages import PAGES
from scalpdesk.web.tear_sheet import read_run, sheet_document, tear_sheet
from tests.web.reading import amount, read_up

HALF_DAY = date(2017, 7, 3)
NAME = re.compile(r"scalpdesk_\w+")


@pytest.fixture(scope="module")
def condor(tmp_path_factory):
    """A folder with a run of half a day that sells an iron condor and pays fees, and its summary."""
    folder = tmp_path_factory.mktemp("condor")
    wanted = ("structure.shape=iron_condor", "structure.side=short", "risk.max_short_contracts=10")
    settings = load_settings(
        "gamma-scalper",
        overrides=(*wanted, "entry.gate=off", "exits.flat_minutes_before_close=10", "simulation.fees=alpaca"),
    )
    tape = load_market(settings, "embedded", underlying="SPY", start=HALF_DAY, end=HALF_DAY, seed=1)
    result = run_backtest(settings, tape, SystemClock(), mode="demo", seed=1, runs_dir=folder)
    return folder, json.loads(json.dumps(result.summary, default=str))


@pytest.fixture(params=["straddle", "condor"])
def seen(request, ended_runs, ended_feed, condor):
    """Folder, summary and feed of a run: a bought straddle, a sold iron condor."""
    if request.param == "straddle":
        return *ended_runs, ended_feed
    return *condor, read_up(condor[0])


def cents(value):
    """Return an amount, as a number or as a page prints it, to the cent."""
    return round(amount(value) if isinstance(value, str) else Decimal(value), 2) + 0


def tenths(fraction):
    """Return a volatility to a tenth of a per cent."""
    if not fraction:
        return None
    is_told = isinstance(fraction, str) and fraction.endswith("%")
    return amount(fraction.rstrip(" %")) if is_told else round(Decimal(100.0 * float(fraction)), 1)


def of_pnl(pnl):
    return {name: cents(pnl[name]) for name in ("total", *PARTS)}


def rounded(parts, total):
    """Return exact parts to the cent, as the report does: what is left of their sum is not explained."""
    exact = {name: Decimal(str(parts[name])) for name in PARTS}
    return parts_in_cents(exact, Decimal(str(total)), CENT)


def of_trade(trade, parts):
    """Return what every surface says of a trade, by its fields."""
    ends = {name: cents(trade[name]) for name in ("cash_in", "cash_out")}
    vols = {name: tenths(trade[name]) for name in ("vol_in", "vol_out")}
    words = {name: trade[name] or None for name in ("entry", "exit", "structure")}
    more = {"trade": cents(trade["pnl"]), "days to expiry": int(trade["days_to_expiry"])}
    return {f"trade's {name}": cents(parts[name]) for name in PARTS} | ends | vols | words | more


def in_the_terminal(text):
    """Return the figures of ``scalpdesk report`` as it prints them into a pipe."""
    lines = text.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("where it came from"))
    parts = lines[start + 1 :][: len(PARTS) + 1]
    amounts = [amount(re.search(r"[+-][0-9,]+\.[0-9]{2}", line)[0]) for line in parts]
    head, row = lines[lines.index(next(line for line in lines if line.startswith("trade  "))) :][:2]
    ends = {each[0]: each.span() for each in re.finditer(r"\S+( \S+)*", head)}  # figures stand to the right
    cells = {name: row[:end].rpartition("  ")[2].strip() for name, (_, end) in ends.items()}
    return {
        **dict(zip((*PARTS, "total"), amounts, strict=True)),
        **{name: cents(cells[name.replace("_", " ")]) for name in ("cash_in", "cash_out")},
        **{name: tenths(cells[name.replace("_", " ")]) for name in ("vol_in", "vol_out")},
        "structure": row[: ends["in (New York)"][0]].partition(": ")[2].strip(),
        "hedges": int(cells["hedges"]),
        "trade": cents(cells["P&L"]),
        "orders": int(re.search(r"([0-9,]+) orders", text)[1]),
        "fills": int(re.search(r"([0-9,]+) fills", text)[1]),
    }


def test_a_run_has_one_set_of_figures_on_every_surface(client_of, seen, capsys, tmp_path):
    folder, summary, feed = seen
    run_id, runs = summary["run_id"], ["--set", f"desk.runs_dir={folder}"]
    api, stored = client_of(feed), read_stored(folder / summary["run_id"])
    assert main(["report", "last", "--csv", str(tmp_path), *runs]) == 0
    capsys.readouterr()
    assert main(["report", "last", *runs]) == 0
    terminal = in_the_terminal(capsys.readouterr().out)
    assert main(["report", "last", "--json", *runs]) == 0
    line = json.loads(capsys.readouterr().out)
    sheet = json_safe(sheet_document(read_run(folder / run_id)))
    performance, page = api.get("/api/performance").json(), api.get("/api/desk").json()
    listed, whole = api.get("/api/runs").json()["runs"][0], api.get(f"/api/runs/{run_id}").json()
    journal, alert = api.get("/api/diary").json(), daily_summary(feed.follower).text
    orders = api.get("/api/orders?limit=5000").json()
    (trade,), (told,), (drawn,) = line["trades"], journal["trades"], sheet["trades"]
    counts = ("orders", "fills", "hedges")
    (run,) = csv.DictReader((tmp_path / "runs.csv").read_text("utf-8").splitlines())
    (row,) = csv.DictReader((tmp_path / "trades.csv").read_text("utf-8").splitlines())
    with closing(sqlite3.connect(folder / STORE_FILE)) as connection:
        connection.row_factory = sqlite3.Row
        (in_sql,) = connection.execute("SELECT * FROM trades")
    status = status_text(feed.follower, is_running=False).partition("session ")[2]
    surfaces = {
        "summary": of_pnl(summary["pnl"]) | {name: summary[name] for name in counts},
        "terminal": terminal,
        "--json": {
            **of_pnl(line["pnl"]),
            **of_trade(trade, trade["parts"]),
            **{name: line[name] for name in counts},
            "sessions": sum(cents(each["pnl"]) for each in line["sessions"]),
            "hash": line["decision_hash"],
        },
        "results page": {
            **of_pnl(performance["pnl"]),
            **{name: performance[name] for name in counts},
            "sessions": sum(cents(each["pnl"]) for each in performance["daily"]),
        },
        "card": {each["name"]: cents(each["pnl"]) for each in page["desk"]["parts"]}
        | {name: page["desk"][name] for name in ("fills", "hedges")},
        "header": {"total": cents(page["head"]["pnl"])},
        "list of runs": {
            **of_pnl(listed["parts"] | {"total": listed["pnl"]}),
            **{name: listed[name] for name in ("fills", "hedges")},
            "hash": listed["decision_hash"],
        },
        "one run": of_pnl(whole["summary"]["pnl"]),
        "orders page": {"orders": orders["total"]},
        "diary": {
            "total": cents(journal["total"]),
            "sessions": sum(cents(each["pnl"]) for each in journal["days"]),
            **of_trade(told, trade["parts"]),
        },
        "tear sheet": {
            "total": cents(sheet["result"]),
            **{each["name"]: cents(each["pnl"]) for each in sheet["parts"]},
            "sessions": sum(cents(each["pnl"]) for each in sheet["sessions"]),
            "hedges": int(drawn["hedges"]),
            "fills": len(sheet["fills"]["t"]),
            "trade": cents(drawn["pnl"]),
            **{name: cents(drawn[name]) for name in ("cash_in", "cash_out")},
            **{name: tenths(drawn[name]) for name in ("vol_in", "vol_out")},
            **{name: drawn[name] for name in ("entry", "exit")},
            **{f"trade's {name}": cents(each) for name, each in zip(PARTS, drawn["parts"], strict=True)},
        },
        "CSV": {
            **rounded({name: run[f"pnl_{name}"] for name in PARTS}, run["nav_change"]),
            **of_trade(row, rounded({name: row[f"pnl_{name}"] for name in PARTS}, row["pnl"])),
            **{name: int(run[name]) for name in counts},
            "hash": run["decision_hash"],
        },
        "SQL": {
            **rounded({name: stored.run[f"pnl_{name}"] for name in PARTS}, stored.run["nav_change"]),
            **of_trade(in_sql, rounded(json.loads(in_sql["parts"]), in_sql["pnl"])),
            **{name: stored.run[name] for name in counts},
            "hash": stored.run["decision_hash"],
        },
        "marks": rounded(
            {name: sum(mark.parts[name] for mark in stored.marks) for name in PARTS},
            sum(mark.nav_change for mark in stored.marks),
        ),
        "alert": {"total": cents(alert.partition("P&L ")[2].partition(" ")[0])},
        "alert, /status": {"total": cents(status.partition(" ")[0])},
    }
    curve = feed.follower.series.columns["theta"][-1]
    assert (curve > 0.0) is (Decimal(summary["pnl"]["theta"]) > 0)
    figures = {name for surface in surfaces.values() for name in surface} - {"since_last_mark"}
    assert len(figures) > 30
    for name in sorted(figures):
        values = {where: found[name] for where, found in surfaces.items() if name in found}
        assert len(values) > 1, name
        assert len(set(values.values())) == 1, (name, values)
    assert terminal["total"] != 0
    assert (terminal["fees"] < 0) == (summary["fee_schedule"] == "alpaca")
    is_credit = terminal["structure"].startswith("short")
    assert (surfaces["SQL"]["cash_in"] > 0) == is_credit
    assert ("credit" in trade["entry"]) == is_credit
    assert f"{orders['total']} orders and {line['fills']} fills" in alert
    assert dict(sheet["facts"])["Hedges"] == str(line["hedges"])
    by_id = {row["id"]: (row["symbol"], row["side"], Decimal(row["filled"])) for row in orders["orders"]}
    assert by_id == {
        row.client_order_id: (row.symbol, row.side, row.filled_quantity) for row in stored.orders
    }


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
    feed = read_up(tmp_path / "runs")
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
