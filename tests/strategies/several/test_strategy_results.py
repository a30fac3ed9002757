"""The table of ``docs/evidence/results.md`` is what the runs come to."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest, run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.intents import Decision, Output
from scalpdesk.core.units import to_cents
from scalpdesk.datasets.importers.tabular import ImportChoices, import_table
from scalpdesk.engine.desk import by_strategy
from scalpdesk.journal.reader import JournalReader
from scalpdesk_testing.kit.clock import ManualClock

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "evidence" / "results.md").read_text(encoding="utf-8")
SETTINGS = ("entry.gate=advise", "exits.flat_minutes_before_close=10", "simulation.fees=alpaca")
NAKED_SHARES = 20.0
"""Far beyond the hedge's band, and below the fifty of a leg without the other or its hedge."""
BOTH = "st0cka+gamma-scalper"


def table(name: str) -> list[list[str]]:
    """Rows of the table below the comment ``rows: name``."""
    body = PAGE.partition(f"<!-- rows: {name} -->\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()[2:]]


ROWS = table("days")


def run(strategy: str, day: str, folder: Path) -> tuple[dict[str, Decimal], list[Decision]]:
    """Run a day; return what each strategy earned (and ``all``), and the decisions on who trades."""
    settings = load_settings(strategy, overrides=SETTINGS, cwd=folder)
    start = date.fromisoformat(day)
    tape = load_market(settings, "embedded", underlying="SPY", start=start, end=start, seed=1)
    header, engine = build_backtest(settings, tape, run_id="x", mode="backtest", started_ns=0, seed=1)
    made = assemble_backtest(settings, tape, header, engine, None)
    modes: list[Decision] = []
    handle = engine.handle

    def watch(event: object) -> tuple[Output, ...]:
        outputs = handle(event)  # type: ignore[arg-type]
        modes.extend(one for one in outputs if isinstance(one, Decision) and one.kind == "mode")
        return outputs

    engine.handle = watch  # type: ignore[method-assign, assignment]
    books = engine.desk.books
    assert books is not None
    for now_ns in made.runner.steps():
        scalper = books.of("gamma-scalper").positions.held()
        if scalper:  # hedged to its band at every moment, and under hybrid alone with its straddle
            greeks = engine.desk.delta_engine.position_greeks(scalper, now_ns)
            assert abs(greeks.net_delta_shares) < NAKED_SHARES
            assert strategy != "hybrid" or not books.of("st0cka").positions.held()
    rows = by_strategy(engine.desk)
    assert rows is not None
    assert not engine.desk.positions.held()
    earned = {name: Decimal(row["pnl"]["total"]) for name, row in rows.items()}
    assert sum(earned.values()) == to_cents(engine.desk.attribution.nav_change)
    return earned | {"all": sum(earned.values(), Decimal(0))}, modes


def row_of(day: str, folder: Path) -> list[str]:
    """Return the cells of one day."""
    side_by_side, _ = run(BOTH, day, folder)
    hybrid, modes = run("hybrid", day, folder)
    figures = [side_by_side["st0cka"], side_by_side["gamma-scalper"], side_by_side["all"], hybrid["all"]]
    handed = sum(one.reasons[0].startswith("handover") for one in modes)
    return [day, *(f"{one:.2f}" for one in figures), str(handed)]


def test_the_page_has_its_rows():
    assert len(ROWS) == 11


@pytest.mark.parametrize("row", [row for row in ROWS if row[0] == "2017-11-24"], ids=lambda row: row[0])
def test_a_half_day_is_as_the_page_says(row, tmp_path):
    assert row_of(row[0], tmp_path) == row


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in ROWS if row[0] != "2017-11-24"], ids=lambda row: row[0])
def test_a_day_is_as_the_page_says(row, tmp_path):
    assert row_of(row[0], tmp_path) == row


SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"


@pytest.mark.recorded
@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the recorded data is not here")
@pytest.mark.parametrize(
    ("threshold", "result", "calls"), [("0.20", "-3.59", 0), ("0.15", "-3.59", 0), ("0.03", "0.00", 5)]
)
def test_recorded_seconds_call_the_scalper_at_no_threshold_that_anybody_sets(
    threshold, result, calls, tmp_path
):
    """At 0.03, below any volatility, it is called at each open; it finds no straddle, and says so."""
    for kind in ("quote", "trade"):
        source = SHARED / "spy_seconds_2013-10" / f"underlying_{kind}.parquet"
        import_table(tmp_path, source, ImportChoices("spy-second", "SPY"), file_format="parquet")
    overrides = (
        "simulation.fees=alpaca",
        f"volatility_threshold_for_gamma={threshold}",
        f"data.catalog={tmp_path}",
        f"data.daily_history={SHARED / 'daily_history' / 'equity_daily.parquet'}",
    )
    settings = load_settings("hybrid", overrides=overrides, cwd=tmp_path)
    first, last = date(2013, 10, 7), date(2013, 10, 11)
    tape = load_market(settings, "spy-second", underlying="SPY", start=first, end=last, seed=1)
    made = run_backtest(settings, tape, ManualClock(0), runs_dir=tmp_path / "runs")
    assert made.summary["nav_change"] == result
    assert made.run_dir is not None
    said = [
        one.reasons[0]
        for _, outputs in JournalReader(made.run_dir).steps()
        for one in outputs
        if isinstance(one, Decision) and one.kind in ("mode", "entry") and "buy" not in one.reasons[0]
    ]
    handovers = [words.partition(":")[0] for words in said if words.startswith("handover")]
    assert handovers == calls * ["handover from st0cka to gamma-scalper"]  # each session begins with st0cka
    refused = "no straddle passes the filters: the chain holds no pair of call and put"
    assert said.count(refused) == calls
