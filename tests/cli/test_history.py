import json
import math
import sys
from datetime import date
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from msgspec import structs
from rich.console import Console

from scalpdesk.backtesting.runs import RunResult
from scalpdesk.cli.history import _settings
from scalpdesk.cli.main import main
from scalpdesk.cli.summary_view import (
    LiveView,
    show_performance,
    show_runs,
    show_summary,
)
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ScalpdeskError, naming_file
from scalpdesk.core.events import RateEvent
from scalpdesk.core.intents import MARK_STATE, Mark
from scalpdesk.core.units import HOUR_NS
from scalpdesk.datasets.store import write_rows
from scalpdesk.instruments.contract import Equity
from scalpdesk.instruments.sessions import session_on
from scalpdesk.journal.log import JournalWriter, RunLock
from scalpdesk.journal.reader import JournalReader
from scalpdesk.portfolio.explain import PARTS
from scalpdesk.research.stored_run import read_stored
from scalpdesk.volatility.variance_time import CALENDAR, EMBEDDED_SESSIONS
from scalpdesk.web.runs import run_page
from scalpdesk_testing.kit.journaled_run import journal_header

SESSION = session_on(date(2018, 2, 5))
RUN = "20180205-093000-st0cka+gamma-scalper-simulated-6d5292"


ROW = {
    "run_id": RUN,
    "end": "ended",
    "started_ns": 0,
    "strategy": "st0cka+gamma-scalper",
    "data_name": "embedded",
    "data_kind": "reconstructed",
    "session": "2018-02-05",
    "hedges": 0,
    "fills": 2,
    "nav_change": "801.21",
    "pnl": "801.21",
    "settings": ["seed=3", "hedge.band=zakamouline"],
}


@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_a_run_is_listed_with_its_whole_id_however_narrow_the_terminal(width):
    out = Console(file=StringIO(), width=width, force_terminal=True, color_system=None)
    show_runs(out, [dict(ROW)], {}, Path("runs"))
    shown = out.file.getvalue()
    assert RUN in shown
    assert ("+801.21" in shown) != (", P&L USD" in shown)
    assert ("zakamouline" in shown) != ("settings" in shown.partition("left out")[2])


def test_in_a_pipe_a_run_is_one_line():
    out = Console(file=StringIO(), width=100)
    show_runs(out, [dict(ROW)], {}, Path("runs"))
    (line,) = [line for line in out.file.getvalue().splitlines() if RUN in line]
    assert line.split()[-3:] == ["+801.21", "seed=3,", "hedge.band=zakamouline"]


def test_a_runs_settings_are_those_that_are_not_the_default():
    told = load_settings("gamma-scalper", overrides=["straddles=3", "simulation.latency_ms=7"])
    config = json.loads(json.dumps(told.effective(), default=str))
    row = {"strategy": "gamma-scalper", "seed": 4, "config": config}
    assert set(_settings(row)) == {"seed=4", "straddles=3", "simulation.latency_ms=7.0"}
    usual = json.loads(json.dumps(load_settings("gamma-scalper").effective(), default=str))
    assert _settings(row | {"seed": None, "config": usual}) == []
    assert _settings(row | {"seed": None, "strategy": "gone"}) == []


def summary(fills: int, amount: str):
    pnl = dict.fromkeys(PARTS, "0.00") | {"delta": amount, "total": amount}
    return ROW | {
        "data": {"kind": "reconstructed", "name": "embedded", "underlying": "SPY", "session": "2018-02-05"},
        "verdict": "no trade: the gate refuses",
        "fills": fills,
        "pnl": pnl,
        "pnl_detail": {},
        "theta_paid": "0.00",
        "end_positions": {},
        "mode": "ACTIVE",
        "events": 10,
        "wall_seconds": 1.0,
        "orders": fills,
        "decision_hash": "00",
    }


@pytest.mark.parametrize(
    ("fills", "amount", "is_shown"), [(0, "0.00", False), (2, "0.00", True), (0, "1.00", True)]
)
def test_a_run_without_a_trade_shows_no_table_of_zeros(fills, amount, is_shown):
    out = Console(file=StringIO(), width=100)
    show_summary(out, summary(fills, amount), [])
    shown = out.file.getvalue()
    assert "no trade: the gate refuses" in shown
    assert ("where it came from" in shown) is is_shown


def looked(ts_ns, spot=100.0, net_delta_shares=0.0):
    state = {"spot": spot, "net_delta_shares": net_delta_shares, "implied_vol": 0.5}
    state = dict.fromkeys((*MARK_STATE, "gamma_rent", "theta_paid"), 0.0) | state
    return Mark(ts_ns=ts_ns, nav=Decimal(1), nav_change=Decimal(0), parts={}, **state)


@pytest.mark.parametrize(
    ("underlying", "deltas", "shown"),
    [
        ("SPY", (-12.34, 8.0), "-12.3 to 8.0 shares"),
        ("BTC-PERPETUAL", (-0.12345, 0.05), "-0.1235 to 0.0500 BTC"),
    ],
)
def test_net_delta_is_shown_in_what_the_desk_hedges_with(underlying, deltas, shown):
    out = Console(file=StringIO(), width=100)
    found = summary(2, "1.00")
    found["data"]["underlying"] = underlying
    marks = [looked(ts_ns=place * 60 * 10**9, net_delta_shares=delta) for place, delta in enumerate(deltas)]
    show_summary(out, found, marks)
    assert shown in out.file.getvalue()
    largest = {"largest_net_delta_shares": deltas[0], "exposure": 0.5, "unhedged_minutes": 1.0}
    fall = {"amount": 0.0, "fraction": 0.0, "after": "", "trough": ""}
    show_performance(
        out, [], {}, largest | {"sessions": 1, "mean_pnl": 0.0, "drawdown": fall}, underlying=underlying
    )
    low, unit = shown.partition(" ")[0], shown.rpartition(" ")[2]
    assert f"largest net delta {low} {unit}" in " ".join(out.file.getvalue().split())


def test_the_realised_volatility_shown_is_by_the_runs_clock():
    moves = [*[1.0, 1.002] * 15, 1.0]
    marks = [
        looked(ts_ns=session_on(date(2018, 2, 5)).open_ns + place * 60 * 10**9, spot=100.0 * move)
        for place, move in enumerate(moves)
    ]
    shown = {}
    for name in (CALENDAR.name, EMBEDDED_SESSIONS.name):
        out = Console(file=StringIO(), width=100)
        found = summary(2, "1.00")
        found["data"]["variance_clock"] = name
        show_summary(out, found, marks)
        (line,) = [line for line in out.file.getvalue().splitlines() if line.startswith("RV ")]
        shown[name] = float(line.split()[-2])
    minute = math.log(1.002) ** 2
    assert shown[CALENDAR.name] == pytest.approx(100 * math.sqrt(minute * 365 * 1_440), abs=0.06)
    # the first half hour has 0.151089 of a session's variance, and a year 360 of those
    assert shown[EMBEDDED_SESSIONS.name] == pytest.approx(
        100 * math.sqrt(minute * 30 / 0.151089 * 360), abs=0.06
    )


def test_an_interrupted_demo_gives_the_cursor_back(monkeypatch):
    screen = StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(KeyboardInterrupt), LiveView("recorded"):
        raise KeyboardInterrupt
    shown = screen.getvalue()
    assert "\x1b[?25l" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def unfinished(*, has_mark=True, has_session=True, underlying="SPY", mode="simulated", sessions=(SESSION,)):
    """Write ``runs/short``, a run that ended without a seal, and return its folder.

    It has a mark at the open of its first session and an hour into its second.
    """
    day = SESSION.open_ns
    settings = load_settings("gamma-scalper")
    header = journal_header(
        [Equity("SPY")],
        run_id="short",
        strategy="gamma-scalper",
        mode=mode,
        config=settings.effective(),
        sessions=sessions if has_session else (),
        data={"underlying": underlying},
        started_ns=day,
        seed=1,
    )
    folder = Path("runs/short")
    journal = JournalWriter.create(folder, header, durability="none")
    journal.add_event(RateEvent(day, day, (1.0,), (0.01,)))
    if has_mark:
        state = dict.fromkeys((*MARK_STATE, "gamma_rent", "theta_paid"), 0.0)
        parts = dict.fromkeys(PARTS, Decimal(0))
        mark = Mark(ts_ns=day, nav=Decimal(1), nav_change=Decimal(0), parts=parts, **state)
        journal.add_outputs((mark,))
    for session in sessions[1:2]:
        now_ns = session.open_ns + HOUR_NS
        journal.add_event(RateEvent(now_ns, now_ns, (1.0,), (0.01,)))
        journal.add_outputs((structs.replace(mark, ts_ns=now_ns),))
    journal.flush()
    journal.abandon()
    return folder


@pytest.mark.parametrize("has_mark", [False, True])
@pytest.mark.parametrize("has_session", [False, True])
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_run_that_ended_before_its_first_mark_or_session_is_reported(
    tmp_path, monkeypatch, capsys, has_mark, has_session, words
):
    monkeypatch.chdir(tmp_path)
    unfinished(has_mark=has_mark, has_session=has_session)
    assert main(["report", "last", *words]) == 0
    told = capsys.readouterr()
    assert not words or json.loads(told.out)["cut"] is None
    assert told.err == ""


def test_a_backtest_that_was_cut_short_is_marked_and_has_no_statistics(
    tmp_path, monkeypatch, told_by, document_of
):
    monkeypatch.chdir(tmp_path)
    week = tuple(session_on(date(2018, 2, day)) for day in (5, 6, 7, 8, 9, 12))
    unfinished(mode="backtest", sessions=week)
    cut = {"at": "2018-02-06 10:30", "sessions_played": 1, "sessions": 6}

    report = document_of("report", "last")
    assert report["cut"] == cut
    assert [row["session"] for row in report["sessions"]] == ["2018-02-05", "2018-02-06"]
    assert report["performance"] == {}
    (listed,) = document_of("runs")["runs"]
    assert listed["cut"] == listed["summary"]["cut"] == cut
    assert document_of("report", "--compare", "short", "last")["facts"]["cut"] == [report["verdict"]] * 2
    shown = told_by("report", "last").out
    assert report["verdict"] in shown
    assert "2018-02-07" not in shown
    assert "Sharpe" not in shown
    assert report["verdict"] in told_by("runs").out
    page = run_page(Path("runs"), "last")
    assert page["sessions"] == ["2018-02-05", "2018-02-06"]
    assert page["cut"] == report["verdict"]


def test_a_backtest_that_still_runs_is_not_cut(tmp_path, monkeypatch, document_of):
    monkeypatch.chdir(tmp_path)
    folder = unfinished(mode="backtest", sessions=(SESSION, session_on(date(2018, 2, 6))))
    writer = RunLock(folder, 0)
    assert document_of("runs")["runs"][0]["cut"] is None
    writer.release()
    assert document_of("runs")["runs"][0]["cut"]["sessions"] == 2


@pytest.mark.parametrize(("underlying", "unit"), [("SPY", "shares"), ("BTC-PERPETUAL", "contracts")])
def test_hedges_of_a_run_that_goes_on_are_in_what_its_desk_hedges_with(
    tmp_path, monkeypatch, underlying, unit
):
    monkeypatch.chdir(tmp_path)
    unfinished(underlying=underlying)
    shown = []
    monkeypatch.setattr("scalpdesk.cli.summary_view.show_hedges", lambda *words: shown.append(words[-1]))
    assert main(["report", "last"]) == 0
    assert shown == [unit]


def test_a_run_that_goes_on_is_drawn(tmp_path, monkeypatch, told_by):
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    monkeypatch.chdir(tmp_path)
    unfinished()
    assert told_by("report", "last", "--plot", "p.png").err == ""
    assert Path("p.png").read_bytes()[:4] == b"\x89PNG"


def test_a_report_goes_through_its_journal_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, walked = unfinished(), []
    steps = JournalReader.steps

    def counted(reader, *args):
        walked.append(reader.run_dir)
        return steps(reader, *args)

    monkeypatch.setattr(JournalReader, "steps", counted)
    read_stored(folder)
    assert walked == [folder]


def test_a_folder_of_results_that_cannot_be_written_is_refused_before_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["backtest", "gamma-scalper", "--out", "/dev/null"]) == 2
    assert "where: --out\n  value: '/dev/null'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--html", "t.html", "--csv", "tables"], "leave out --csv"),
        (["--plot", "p.png", "--html", "t.html", "--parquet", "tables"], "leave out --plot, --parquet"),
        (["--compare", "last", "--csv", "tables"], "leave out --csv"),
    ],
)
def test_a_report_refuses_what_it_would_leave_out(words, told, tmp_path, monkeypatch, told_by):
    monkeypatch.chdir(tmp_path)
    assert told in told_by("report", "last", *words, code=2).err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_table_that_cannot_be_written_names_its_file(tmp_path, form):
    path = tmp_path / f"x.{form}"
    path.mkdir()
    with pytest.raises((ScalpdeskError, OSError), match=str(path)):
        write_rows(path, [{"a": 1}])


def test_a_write_that_fails_is_given_the_name_of_its_file(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught, naming_file(tmp_path / "x"):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path / "x")


def test_a_plot_without_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ScalpdeskError) as refused:
        RunResult({"strategy": "x", "pnl": {"total": "0.00"}, "data": {}}, None, None).plot()
    assert "[plots]" in refused.value.fix
