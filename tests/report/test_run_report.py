"""One run, read from the terminal, the pages, SQL and Python: no figure differs."""

import json
import sqlite3
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import date
from decimal import Decimal
from io import StringIO

import pytest

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import replay
from scalpdesk.cli.main import main
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ArgumentError
from scalpdesk.monitor import documents
from scalpdesk.notebook import backtest
from scalpdesk.portfolio.explain import PARTS
from scalpdesk.records.store import STORE_FILE
from scalpdesk.research.stored_run import read_stored
from scalpdesk.web.runs import run_page, runs_page
from scalpdesk.web.tear_sheet import read_run, sheet_document
from scalpdesk_testing.kit.clock import ManualClock

D = Decimal
QUARTER_HOUR_NS = 900 * 10**9
TABLES = ("orders", "fills", "decisions", "sessions", "trades", "hedges")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The first quarters of an hour of five sessions of the gamma scalper: enough for a ratio."""
    folder = tmp_path_factory.mktemp("runs")
    settings = {
        "entry.gate": "off",
        "entry.again_after_exit": True,
        "entry.not_before": "09:31",
        "exits.close_at": "09:38",
        "simulation.fees": "alpaca",
    }
    loaded = load_settings(None, cwd=folder)
    days = {"start": date(2018, 2, 1), "end": date(2018, 2, 7)}
    tape = load_market(loaded, "embedded", underlying="SPY", seed=1, **days)
    short = [replace(each, close_ns=each.open_ns + QUARTER_HOUR_NS) for each in tape.sessions]
    tape = replace(tape, sessions=tuple(short))
    return backtest(
        "gamma-scalper", tape, settings=settings, runs_dir=folder, seed=1, clock=ManualClock(10**18)
    )


@pytest.fixture(scope="module")
def follower(run):
    """The replica that pages and tear sheet read."""
    return read_run(run.run_dir)


@pytest.fixture(scope="module")
def terminal(run):
    """What ``report --json`` prints."""
    out = StringIO()
    with redirect_stdout(out):
        main(["report", run.run_dir.name, "--json", "--set", f"desk.runs_dir={run.run_dir.parent}"])
    return json.loads(out.getvalue())


def cents(text):
    """Return an amount of a page, which has commas and a true minus sign."""
    return D(text.replace("−", "-").replace(",", "").lstrip("+"))


def of_python(run):
    performance = run.report.performance
    return {
        "pnl": {name: str(amount) for name, amount in run.report.pnl.items()},
        "sessions": [(each.session, str(each.pnl)) for each in run.sessions],
        "traded": sum(bool(each.pnl) for each in run.sessions),
        "trades": len(run.trades),
        "orders": len(run.orders),
        "fills": sum(not fill.busted for fill in run.fills),
        "hedges": len(run.hedges),
        "decisions": len(run.decisions),
        "deepest fall": performance["drawdown"]["amount"],
        "sharpe": performance["sharpe"],
    }


def of_terminal(told):
    return {
        "pnl": told["pnl"],
        "sessions": [(each["session"], each["pnl"]) for each in told["sessions"]],
        "traded": told["performance"]["sessions_with_pnl"],
        "trades": len(told["trades"]),
        "orders": told["orders"],
        "fills": told["fills"],
        "hedges": len(told["hedge_explain"]),
        "decisions": told["decisions"],
        "deepest fall": told["performance"]["drawdown"]["amount"],
        "sharpe": told["performance"]["sharpe"],
    }


def of_page(run_dir, follower):
    """What the Runs page's API gives; and of the tear sheet, which has the trades."""
    page, sheet = run_page(run_dir.parent, run_dir.name), sheet_document(follower)
    summary = page["summary"]
    figures = {row["name"]: row["pnl"] for row in sheet["parts"]}
    assert {name: f"{cents(text):f}" for name, text in page["parts"].items()} | {
        "total": f"{cents(page['pnl']):f}"
    } == figures
    return {
        "pnl": figures,
        "sessions": [(row["day"], str(cents(row["pnl"]))) for row in sheet["sessions"]],
        "traded": summary["performance"]["sessions_with_pnl"],
        "trades": len(sheet["trades"]),
        "orders": summary["orders"],
        "fills": page["fills"],
        "hedges": len(sheet["hedges"]),
        "decisions": len(sheet["hedges"]) + sum(count for *_, count in sheet["decisions"]),
        "deepest fall": summary["performance"]["drawdown"]["amount"],
        "sharpe": summary["performance"]["sharpe"],
    }


def of_sql(run_dir):
    """What another program reads of the store of runs."""
    store = sqlite3.connect(run_dir.parent / STORE_FILE)
    named = [run_dir.name]

    def one(what):
        return store.execute(f"SELECT {what} WHERE run_id = ?", named).fetchone()[0]

    columns = ", ".join(f"pnl_{name}" for name in (*PARTS, "basis"))
    exact = store.execute(f"SELECT nav_change, {columns} FROM runs WHERE run_id = ?", named).fetchone()
    exact = [D(amount) for amount in exact]
    summary = json.loads(one("summary FROM runs"))
    assert sum(exact[1:]) == exact[0]
    for name, amount in zip(("total", *PARTS), exact, strict=False):
        rounded = D("0.05") if name == "residual" else D("0.01")  # it takes what the others are rounded by
        assert D(summary["pnl"][name]) == pytest.approx(amount, abs=rounded), name
    for name in ("orders", "decisions", "hedges"):
        assert one(f"{name} FROM runs") == summary[name]
    assert one("count(*) FROM fills") == one("fills FROM runs") == summary["fills"]
    hedged = "taken AND kind = 'hedge' AND json_array_length(client_order_ids) > 0"
    by_day = "date(ts_ns / 1000000000, 'unixepoch', '-5 hours')"
    moved = store.execute(
        f"SELECT {by_day}, sum(CAST(nav_change AS REAL)) FROM marks WHERE run_id = ? GROUP BY 1", named
    ).fetchall()
    days = {each["session"]: each["pnl"] for each in summary["sessions"]}
    assert {day: pytest.approx(float(days[day]), abs=0.006) for day, _ in moved} == dict(moved)
    return {
        "pnl": summary["pnl"],
        "sessions": list(days.items()),
        "traded": summary["performance"]["sessions_with_pnl"],
        "trades": one("count(DISTINCT ts_ns) FROM decisions") and None,
        "orders": one("count(*) FROM orders"),
        "fills": one("sum(NOT busted) FROM fills"),
        "hedges": store.execute(
            f"SELECT count(*) FROM decisions WHERE run_id = ? AND {hedged}", named
        ).fetchone()[0],
        "decisions": one("count(*) FROM decisions"),
        "deepest fall": summary["performance"]["drawdown"]["amount"],
        "sharpe": summary["performance"]["sharpe"],
    }


def test_no_figure_differs_between_terminal_page_sql_and_python(run, terminal, follower):
    told = of_python(run)
    assert told["trades"] > told["traded"] == 5
    assert told["hedges"] > 5
    assert D(told["pnl"]["fees"]) < 0
    assert of_terminal(terminal) == told
    assert of_page(run.run_dir, follower) == told
    assert of_sql(run.run_dir) == told | {"trades": None}  # which no table has


def test_the_parts_sum_to_the_run_whoever_tells_them(run, terminal):
    total = D(run.summary["nav_change"])
    assert sum(each.pnl for each in run.sessions) == total
    assert sum(each.pnl for each in run.trades) == sum(mark.nav_change for mark in run.marks)
    for session in run.sessions:
        assert sum(session.parts.values()) == session.pnl
    for hedge in run.hedges:
        assert sum(hedge.parts.values()) == hedge.pnl
    assert sum(trade.hedges for trade in run.trades) == len(run.hedges)
    assert sum(fill.fee for fill in run.fills) == pytest.approx(-D(run.summary["pnl"]["fees"]), abs=D("0.01"))
    assert {name: D(amount) for name, amount in terminal["pnl"].items()} == run.report.pnl


@pytest.mark.second
def test_what_is_sealed_is_what_a_replay_and_the_journal_give_again(run, follower):
    stored = read_stored(run.run_dir)
    for found in (stored.report, follower.report()):
        assert found.document() == run.summary
        assert found.trades == run.trades
        assert found.hedges == run.hedges
        assert list(found.orders) == list(run.orders)
        assert list(found.fills) == list(run.fills)
        assert list(found.decisions) == list(run.decisions)
    again = replay(run.run_dir).summary
    for name in ("wall_seconds", "events_per_second"):
        del again[name]
    assert {name: run.summary[name] for name in again} == again
    shown = documents.performance(follower)
    assert [(each["session"], each["pnl"]) for each in shown["daily"]] == [
        (each["session"], each["pnl"]) for each in run.summary["sessions"]
    ]
    assert runs_page(run.run_dir.parent, 10)["runs"][0]["hedges"] == len(run.hedges)


def test_a_result_has_its_tables_without_a_journal(run):
    settings = load_settings("gamma-scalper", overrides=("entry.gate=off",))
    day = date(2018, 2, 5)
    tape = load_market(settings, "embedded", underlying="SPY", start=day, end=day, seed=1)
    alone = backtest("gamma-scalper", tape, settings={"entry.gate": "off"})
    assert alone.run_dir is None
    assert len(alone.trades) == len(alone.sessions) == 1
    sent = {name for decision in alone.decisions for name in decision.client_order_ids}
    assert {order.client_order_id for order in alone.orders} == sent
    assert all(order.history[-1][1] == order.state for order in alone.orders)
    for table in TABLES:
        assert len(alone.to_frame(table=table)) == len(getattr(alone, table)) > 0
    trades = run.to_frame(table="trades")
    assert trades["pnl"].sum() == pytest.approx(float(run.report.pnl["total"]), abs=0.01)
    assert trades["pnl_gamma"].sum() == pytest.approx(float(run.report.pnl["gamma"]), abs=0.01)
    with pytest.raises(ArgumentError, match="no such table"):
        run.to_frame(table="shares")
