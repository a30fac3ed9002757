"""One run, read from the terminal, the pages, SQL and Python: no figure differs."""

import json
import sqlite3
from contextlib import closing, redirect_stdout
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
from tests.web.reading import amount

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


def in_sql(run_dir):
    """Return what another program reads of the store of runs: summary, exact parts, counts, P&L by day."""
    columns = ", ".join(f"pnl_{name}" for name in (*PARTS, "basis"))
    hedged = "taken AND kind = 'hedge' AND json_array_length(client_order_ids) > 0"
    by_day = "date(ts_ns / 1000000000, 'unixepoch', '-5 hours')"
    with closing(sqlite3.connect(run_dir.parent / STORE_FILE)) as store:

        def rows(what, where="", then=""):
            statement = f"SELECT {what} WHERE run_id = ? {where} {then}"
            return store.execute(statement, [run_dir.name]).fetchall()

        ((summary, *exact),) = rows(f"summary, nav_change, {columns} FROM runs")
        counts = {
            "orders": rows("count(*) FROM orders"),
            "fills": rows("sum(NOT busted) FROM fills"),
            "hedges": rows("count(*) FROM decisions", f"AND {hedged}"),
            "decisions": rows("count(*) FROM decisions"),
        }
        days = rows(f"{by_day}, sum(CAST(nav_change AS REAL)) FROM marks", then="GROUP BY 1")
    return json.loads(summary), list(map(D, exact)), {name: row[0][0] for name, row in counts.items()}, days


def test_no_figure_differs_between_terminal_page_sql_and_python(run, terminal, follower):
    pnl = {name: str(amount) for name, amount in run.report.pnl.items()}
    sessions = [(each.session, str(each.pnl)) for each in run.sessions]
    busted, performance = sum(fill.busted for fill in run.fills), run.report.performance
    counts = {"orders": len(run.orders), "fills": len(run.fills) - busted, "hedges": len(run.hedges)}
    counts["decisions"] = len(run.decisions)
    assert len(run.trades) > performance["sessions_with_pnl"] == 5
    assert counts["hedges"] > 5
    assert D(pnl["fees"]) < 0
    stored, (total, *parts), counted, days = in_sql(run.run_dir)
    page, sheet = run_page(run.run_dir.parent, run.run_dir.name), sheet_document(follower)
    for told in (terminal, page["summary"], stored):
        assert (told["pnl"], {name: told[name] for name in counts}) == (pnl, counts)
        assert [(each["session"], each["pnl"]) for each in told["sessions"]] == sessions
        for name in ("sessions_with_pnl", "drawdown", "drawdown_of_marks", "sharpe"):
            assert told["performance"][name] == performance[name], name
    assert (len(terminal["trades"]), len(terminal["hedge_explain"])) == (len(run.trades), counts["hedges"])

    shown = page["parts"] | {"total": page["pnl"]}
    assert {name: f"{amount(text):f}" for name, text in shown.items()} == pnl
    assert {row["name"]: row["pnl"] for row in sheet["parts"]} == pnl
    assert [(row["day"], str(amount(row["pnl"]))) for row in sheet["sessions"]] == sessions
    assert (len(sheet["trades"]), len(sheet["hedges"])) == (len(run.trades), counts["hedges"])
    assert len(sheet["hedges"]) + sum(count for *_, count in sheet["decisions"]) == counts["decisions"]

    assert counted == counts
    assert sum(parts) == total
    for name, exact in zip(("total", *PARTS), (total, *parts), strict=False):
        rounded = D("0.05") if name == "residual" else D("0.01")  # it takes what the others are rounded by
        assert D(pnl[name]) == pytest.approx(exact, abs=rounded), name
    assert {day: pytest.approx(float(earned), abs=0.006) for day, earned in sessions} == dict(days)


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


def test_each_flat_session_of_a_run_says_why_it_opened_nothing(run, tmp_path):
    """Of days on which one gate refuses, the first alone had a reason."""
    assert [row.no_entry for row in run.report.sessions] == [""] * 5  # in each something was held
    loaded = load_settings(None, cwd=tmp_path)
    days = {"start": date(2018, 1, 31), "end": date(2018, 2, 2)}
    tape = load_market(loaded, "embedded", underlying="SPY", seed=1, **days)
    short = [replace(each, close_ns=each.open_ns + QUARTER_HOUR_NS) for each in tape.sessions]
    tape = replace(tape, sessions=tuple(short))
    settings = {"entry.not_before": "09:31"}
    flat = backtest(
        "gamma-scalper", tape, settings=settings, runs_dir=tmp_path, seed=1, clock=ManualClock(10**18)
    )
    told = [row.no_entry for row in flat.report.sessions]
    assert len(told) == 3
    assert all("min_edge_usd" in words for words in told)
    assert flat.report.document()["sessions"][1]["no_entry"] == told[1]
