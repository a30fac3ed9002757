"""The journal: page, API, terminal, SQL and Python have the same figures, those of the report."""

import json
import sqlite3
from decimal import Decimal

import msgspec
import pytest

from scalpdesk.cli.main import main
from scalpdesk.core.clock import SystemClock
from scalpdesk.records.store import STORE_FILE
from scalpdesk.report.pnl_calendar import calendar_of_report
from scalpdesk.report.trade_edge import MarkedBook
from scalpdesk.report.trades import Trade
from scalpdesk.research.stored_run import read_stored
from scalpdesk.web.feed import DeskFeed
from scalpdesk.web.journal import journal_of

TABLES = ("days", "months", "weekdays", "hours", "days_to_expiry", "regimes")
KEY = {"authorization": "Bearer viewer-token"}


def test_page_terminal_sql_and_python_agree(ended_runs, client_of, capsys, python_run):
    folder, summary = ended_runs
    capsys.readouterr()
    assert main(["journal", "last", "--json", "--set", f"desk.runs_dir={folder}"]) == 0
    terminal = json.loads(capsys.readouterr().out)
    page = client_of(DeskFeed(folder, None, SystemClock())).get("/api/journal", headers=KEY).json()
    report = read_stored(folder / summary["run_id"]).report
    stored = calendar_of_report(report, Decimal("0.01"))
    python = python_run.calendar()
    assert terminal["total"] == stored["total"] == python["total"] == summary["pnl"]["total"]
    assert Decimal(page["total"]) == Decimal(terminal["total"])
    for table in TABLES:
        assert terminal[table] == stored[table] == python[table], table
        assert [row["name"] for row in page[table]] == [row["name"] for row in terminal[table]]
        amounts = [Decimal(row["pnl"]) for row in terminal[table]]
        assert [Decimal(row["pnl"]) for row in page[table]] == amounts, table
        assert sum(amounts) == Decimal(terminal["total"]), table
    assert len(terminal["hours"]) > 1
    (trade,) = terminal["trades"]
    (own,) = report.trades
    assert msgspec.convert(trade, Trade) == own
    (shown,) = page["trades"]
    assert (shown["worth"][1], shown["forecast_vol"]) == (own.worth_after_5, own.forecast_vol)
    assert own.vol_in == pytest.approx(own.implied_level, rel=0.05)  # one clock, the gate's and the marks'
    with sqlite3.connect(folder / STORE_FILE) as connection:
        (days,) = connection.execute("SELECT sum(CAST(pnl AS REAL)) FROM sessions").fetchone()
        (trades,) = connection.execute("SELECT sum(CAST(pnl AS REAL)) FROM trades").fetchone()
    assert days == trades == pytest.approx(float(terminal["total"]))


def test_options_at_a_mark_are_worth_what_the_engine_says(held):
    """From the change of the book and its fills alone, against the marks of the engine's own book."""
    report, desk = held.report(), held.desk
    book = MarkedBook(report.marks, report.fills, desk.instruments.by_id, (), "SPY")
    (trade,) = report.trades
    marked = desk.attribution.marks
    worth = sum(
        position.instrument.value(position.quantity, Decimal(str(marked[number].mark)))
        for number, position in desk.positions.positions.items()
        if position.quantity and position.instrument.is_option
    )
    assert any(fill.purpose == "hedge" for fill in report.fills)
    found, _ = book.worth_at(trade.opened_ns, len(report.marks) - 1)
    assert found == pytest.approx(float(worth), abs=1e-6)
    assert trade.worth_after_1 == pytest.approx(-float(trade.cash_in), rel=0.05)
    assert (trade.worth_after_30, trade.vol_out, trade.exit) == (None, None, None)
    assert "30 min" in trade.worth_note
    assert trade.days_to_expiry == 39


def test_of_an_older_store_the_rows_are_made_from_the_journal(ended_runs):
    folder, summary = ended_runs
    journal_of(folder, ["last"])
    with sqlite3.connect(folder / STORE_FILE) as connection:
        connection.execute("DELETE FROM sessions")
        connection.execute("DELETE FROM trades")
    found = journal_of(folder, ["last"])
    assert (found["total"], len(found["trades"])) == (summary["pnl"]["total"], 1)


def test_a_search_sums_runs_and_names_none_twice(ended_runs):
    folder, summary = ended_runs
    assert journal_of(folder, [], "gamma 2017-07-03")["runs"] == [summary["run_id"]]
    nothing = journal_of(folder, [], "no such word")
    assert (nothing["runs"], nothing["days"], nothing["currency"]) == ([], [], "")
    assert journal_of(folder / "nothing", [])["runs"] == []
    assert main(["journal", "last", "--search", "x", "--set", f"desk.runs_dir={folder}"]) == 2
