"""A finished run on record: its report, and what only the store of runs knows of it."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from scalpdesk.backtesting.runs import RunResult, replayed
from scalpdesk.core.errors import ScalpdeskError
from scalpdesk.core.units import money_decimals, run_currency
from scalpdesk.datasets.daily_history import vix_before
from scalpdesk.records.projection import Projection, project_journal
from scalpdesk.records.store import Store, load_run, load_tables, pnl_in_cents, read_runs
from scalpdesk.report.run_report import report_of
from scalpdesk.volatility.variance_time import VarianceClock, clock_of


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun(RunResult):
    """A run on record."""

    run: dict[str, Any]
    """Its row in the store."""
    positions: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    """What a person noted of the run, its days and its trades."""
    undivided: str = ""
    """Why a shared run could not be divided any more; empty where it was."""

    @property
    def clock(self) -> VarianceClock:
        """The run's variance clock."""
        return clock_of(self.run["data"])

    @property
    def is_cut(self) -> bool:
        """Whether it is a backtest that was cut short."""
        return bool(self.summary.get("cut"))

    @property
    def currency(self) -> str:
        """Currency of the run."""
        return run_currency(self.run["config"])

    @property
    def decimals(self) -> int:
        """Decimals of its amounts."""
        return money_decimals(self.currency)

    @property
    def unit(self) -> Decimal:
        """Smallest amount of its account."""
        return Decimal(1).scaleb(-self.decimals)


def read_stored(run_dir: Path, records_url: str | None = None) -> StoredRun:
    """Return a run, projected from its journal into the store of the runs."""

    def projected(
        store: Store,
    ) -> tuple[Projection, dict[str, Any], dict[str, list[dict[str, Any]]]]:
        projection = project_journal(run_dir, store)
        run_id = projection.header.run_id
        return projection, load_run(store, run_id).as_dict(), load_tables(store, run_id, "positions", "notes")

    projection, row, tables = read_runs(run_dir.parent, projected, records_url)
    summary = dict(row["summary"]) if row["sealed"] else _unended_summary(row)
    fold, undivided = projection.fold, ""
    if any(line.owner for line in fold.orders) or "strategies" in summary:  # also where no order was sent
        try:
            fold = replayed(run_dir)
        except ScalpdeskError as error:
            undivided = error.what
    report = report_of(projection.header, fold, summary, vix_before)
    return StoredRun(summary, run_dir, report, run=row, **tables, undivided=undivided)


def _unended_summary(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the store knows of a run that did not end, as the run summary has it."""
    return {
        **{name: row[name] for name in ("run_id", "strategy", "venue", "events", "decisions")},
        **{name: row[name] for name in ("orders", "fills", "hedges", "end_positions", "decision_hash")},
        "data": row["data"],
        "pnl": {name: f"{amount:f}" for name, amount in pnl_in_cents(row).items()},
        "currency": run_currency(row["config"]),
        "verdict": "this run is not over",
        "cut": None,
        **{name: value for name, value in row["summary"].items() if name != "performance"},
    }
