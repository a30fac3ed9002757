"""Two strategies over a short embedded day: explained one by one, and the journal alone rebuilds them."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from fakes.clock import ManualClock
from scalpdesk.assembly import engine_from_header, load_market
from scalpdesk.backtesting.runs import replay, run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.recovery import rebuild

D = Decimal
DAY = date(2018, 2, 5)
FIRST_HOUR_NS = 3_600 * 10**9


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The first hour of the day, by st0cka and the gamma scalper."""
    folder = tmp_path_factory.mktemp("several")
    settings = load_settings(
        "st0cka+gamma-scalper",
        overrides=("entry.gate=advise", "budgets.fractions.st0cka=0.1"),
        cwd=folder,
    )
    tape = load_market(settings, "embedded", underlying="SPY", start=DAY, end=DAY, seed=1)
    session = tape.sessions[0]
    short = replace(session, close_ns=session.open_ns + FIRST_HOUR_NS)
    tape = replace(tape, sessions=(short,))
    return run_backtest(settings, tape, ManualClock(session.close_ns), seed=1, runs_dir=folder)


def test_each_strategy_has_its_row_and_they_sum_to_the_account(run):
    rows = run.summary["strategies"]
    assert list(rows)[:2] == ["st0cka", "gamma-scalper"]
    assert rows["st0cka"]["fills"] > 1
    assert rows["gamma-scalper"]["fills"] > 2
    assert sum(row["fills"] for row in rows.values()) == run.summary["fills"]
    assert sum(row["orders"] for row in rows.values()) == run.summary["orders"]
    total = sum(D(row["pnl"]["total"]) for row in rows.values())
    assert total == D(run.summary["nav_change"])
    for row in rows.values():
        parts = sum(D(amount) for name, amount in row["pnl"].items() if name != "total")
        assert parts == D(row["pnl"]["total"])
    held: dict[str, Decimal] = {}
    for row in rows.values():
        for symbol, quantity in row["positions"].items():
            held[symbol] = held.get(symbol, D(0)) + D(quantity)
    assert {symbol: quantity for symbol, quantity in held.items() if quantity} == {
        symbol: D(quantity) for symbol, quantity in run.summary["end_positions"].items()
    }


def test_a_replay_of_the_journal_gives_the_same(run):
    verdict = replay(run.run_dir)
    assert verdict.identical, verdict.difference
    assert verdict.summary["strategies"] == run.summary["strategies"]


def test_a_recovery_rebuilds_each_ones_book(run):
    reader = JournalReader(run.run_dir)
    engine = engine_from_header(reader.header)
    rebuild(reader, engine)
    for name, row in run.summary["strategies"].items():
        book = engine.desk.books.of(name)
        held = {
            engine.desk.instruments[one.instrument_id].symbol: str(one.quantity)
            for one in book.positions.held()
        }
        assert held == row["positions"]
        assert f"{book.attribution.nav:.2f}" == row["nav"]
