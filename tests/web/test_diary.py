"""The journal: page, API, terminal, SQL and Python have the same figures, those of the report."""

import json
import shutil
import sqlite3
from decimal import Decimal

import msgspec
import pytest

from scalpdesk.cli.main import main
from scalpdesk.core.clock import SystemClock
from scalpdesk.records.store import STORE_FILE
from scalpdesk.records.tables import TradeRow
from scalpdesk.report.figures import Shown
from scalpdesk.report.pnl_calendar import calendar_of_report
from scalpdesk.report.trade_edge import MarkedBook
from scalpdesk.report.trades import Trade
from scalpdesk.research.stored_run import read_stored
from scalpdesk.web.diary import diary_of
from scalpdesk.web.feed import DeskFeed
from scalpdesk.web.tear_sheet import read_run, sheet_document

TABLES = ("days", "months", "weekdays", "hours", "days_to_expiry", "regimes")
KEY = {"authorization": "Bearer viewer-token"}


def test_page_terminal_sql_and_python_agree(ended_runs, client_of, capsys, python_run):
    folder, summary = ended_runs
    capsys.readouterr()
    assert main(["diary", "last", "--json", "--set", f"desk.runs_dir={folder}"]) == 0
    terminal = json.loads(capsys.readouterr().out)
    page = client_of(DeskFeed(folder, None, SystemClock())).get("/api/diary", headers=KEY).json()
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
    assert (shown["worth_after_5"], shown["forecast_vol"]) == (own.worth_after_5, own.forecast_vol)
    assert own.vol_in == pytest.approx(own.implied_level, rel=0.05)  # one clock, the gate's and the marks'
    with sqlite3.connect(folder / STORE_FILE) as connection:
        (days,) = connection.execute("SELECT sum(CAST(pnl AS REAL)) FROM sessions").fetchone()
        (trades,) = connection.execute("SELECT sum(CAST(pnl AS REAL)) FROM trades").fetchone()
    assert days == trades == pytest.approx(float(terminal["total"]))


def test_a_field_of_a_trade_is_on_every_reader(ended_runs, client_of, capsys, tmp_path):
    """Name, unit and format stand at the field alone: what is added there is on all of them."""
    folder, summary = ended_runs
    runs = ["--set", f"desk.runs_dir={folder}"]
    capsys.readouterr()
    shown = Shown.of(Trade)
    for command in ("report", "diary"):
        assert main([command, "last", *runs]) == 0
        lines = capsys.readouterr().out.splitlines()
        (heads,) = [line for line in lines if all(each.head in line for each in shown)]
        assert [each.head for each in shown] == sorted((each.head for each in shown), key=heads.index)
    client = client_of(DeskFeed(folder, None, SystemClock()))
    page = client.get("/api/diary", headers=KEY).json()
    described = client.get("/openapi.json", headers=KEY).json()["components"]["schemas"]["JournalTrade"]
    assert described["properties"].keys() == {"run_id", *Trade.__struct_fields__} == page["trades"][0].keys()
    sheet = sheet_document(read_run(folder / summary["run_id"]))
    assert page["trade_columns"] == sheet["trade_columns"]
    assert [each["name"] for each in page["trade_columns"]] == [each.name for each in shown]
    assert sheet["trades"][0].keys() >= {each.name for each in shown}
    assert main(["report", "last", "--csv", str(tmp_path), *runs]) == 0
    head, _ = (tmp_path / "trades.csv").read_text("utf-8").splitlines()
    assert {each.name for each in shown} <= set(head.split(","))
    assert {each.name for each in shown} <= set(TradeRow.__table__.columns.keys())


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
    assert found == pytest.approx(float(worth), abs=0.01)  # fills are in cents, a carried mark is not
    assert trade.worth_after_1 == pytest.approx(-float(trade.cash_in), rel=0.05)
    assert (trade.worth_after_30, trade.vol_out, trade.exit) == (None, None, None)
    assert "30 min" in trade.worth_note
    assert trade.days_to_expiry == 39


def test_of_an_older_store_the_rows_are_made_from_the_journal(ended_runs):
    folder, summary = ended_runs
    diary_of(folder, ["last"])
    with sqlite3.connect(folder / STORE_FILE) as connection:
        connection.execute("DELETE FROM sessions")
        connection.execute("DELETE FROM trades")
    found = diary_of(folder, ["last"])
    assert (found["total"], len(found["trades"])) == (summary["pnl"]["total"], 1)


def test_a_search_sums_runs_and_names_none_twice(ended_runs):
    folder, summary = ended_runs
    assert diary_of(folder, [], "gamma 2017-07-03")["runs"] == [summary["run_id"]]
    nothing = diary_of(folder, [], "no such word")
    assert (nothing["runs"], nothing["days"], nothing["currency"]) == ([], [], "")
    assert diary_of(folder / "nothing", [])["runs"] == []
    assert main(["diary", "last", "--search", "x", "--set", f"desk.runs_dir={folder}"]) == 2


def add_run(folder, of, run_id, pnl, *, session=None, **changes):
    """Add a run to the store: that of ``of`` with other columns, session and P&L."""
    with sqlite3.connect(folder / STORE_FILE) as connection:
        for table in ("runs", "sessions", "trades"):
            cursor = connection.execute(f"SELECT * FROM {table} WHERE run_id = ?", [of])
            names = [column[0] for column in cursor.description]
            for values in cursor.fetchall():
                row = dict(zip(names, values, strict=True)) | {"run_id": run_id}
                row |= changes if table == "runs" else {"pnl": pnl}
                row |= {"session": session} if session and table == "sessions" else {}
                row |= {"hours": json.dumps({"10": pnl})} if table == "sessions" else {}
                marks = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {table} VALUES ({marks})", list(row.values()))


@pytest.fixture
def desks(ended_runs, tmp_path):
    """A folder of runs of several accounts beside a backtest that was written last."""
    folder, summary = ended_runs
    diary_of(folder, ["last"])
    own = tmp_path / "runs"
    shutil.copytree(folder, own)
    of = summary["run_id"]
    live = {"mode": "live", "venue": "alpaca", "data_name": None}
    for number, (day, pnl) in enumerate([("2026-11-02", "100.25"), ("2026-11-03", "68.91")]):
        add_run(own, of, f"live-{number}", pnl, session=day, **live)
    add_run(own, of, "live-again", "0.09", session="2026-11-03", **live)
    add_run(own, of, "paper-1", "397.33", session="2026-11-02", mode="paper", venue="alpaca")
    add_run(own, of, "ibkr-1", "-50.00", session="2026-11-02", mode="live", venue="ibkr")
    for number in range(3):
        add_run(own, of, f"backtest-{number}", "7.00")
    return own, summary


def test_live_paper_and_backtest_are_never_added_and_each_that_is_left_out_is_named(desks):
    """`--search alpaca` finds a backtest by its fees, and runs of three accounts by their venue."""
    folder, summary = desks
    found = diary_of(folder, [], "gamma-scalper")
    assert (found["runs"], found["total"]) == ([summary["run_id"]], summary["pnl"]["total"])
    assert found["left_out"].keys() >= {"live-0", "paper-1", "ibkr-1"}
    assert found["account"] == "backtest, USD"
    live = diary_of(folder, [], "live- alpaca")
    assert sorted(live["runs"]) == ["live-0", "live-1", "live-again"]
    assert live["total"] == "169.25"
    assert live["said"] == "live at alpaca, USD: 3 runs, 2 sessions, 2026-11-02 to 2026-11-03"
    assert diary_of(folder, [], "paper-1")["total"] == "397.33"


def test_a_session_that_was_played_again_counts_once_and_parts_of_a_live_one_are_summed(desks):
    folder, summary = desks
    found = diary_of(folder, [], "gamma-scalper")
    assert [row["pnl"] for row in found["days"]] == [summary["pnl"]["total"]]
    assert {run: why for run, why in found["left_out"].items() if run.startswith("backtest")} == {
        f"backtest-{number}": f"2017-07-03: counted from {summary['run_id']}" for number in range(3)
    }
    assert len(found["trades"]) == 1
    (_, second) = diary_of(folder, [], "live-")["days"]
    assert (second["name"], second["pnl"]) == ("2026-11-03", "69.00")


@pytest.mark.rows(
    ("search", "total", "days"),
    [
        ("live- 2026-11-02", "100.25", 1),
        ("live- 2026-11", "169.25", 2),
        ("live- 2026-11-03..", "69.00", 1),
        ("live- ..2026-11-02", "100.25", 1),
        ("live- 2026-10..2026-11-02", "100.25", 1),
        ("live- 2026-12", "0", 0),
    ],
)
def test_dates_of_a_search_bound_the_sessions(desks, search, total, days):
    found = diary_of(desks[0], [], search)
    assert (found["total"], len(found["days"])) == (total, days)
    assert bool(found["runs"]) is bool(days)


def test_the_terminal_says_which_runs_are_summed_in_its_first_line(desks, capsys):
    folder, _ = desks
    capsys.readouterr()
    assert main(["diary", "--search", "live-", "--set", f"desk.runs_dir={folder}"]) == 0
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == diary_of(folder, [], "live-")["said"]
