"""The Runs page: runs on record, one run's curve, several side by side; from the store of runs."""

import math
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import msgspec

from scalpdesk.config.settings import changed_settings
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.units import NANOS_PER_SECOND, money_decimals, run_currency, to_cents
from scalpdesk.instruments.sessions import from_ns, to_new_york
from scalpdesk.journal.cut import is_written, sessions_begun
from scalpdesk.journal.reader import peek_header, run_dirs, run_named, written_ns
from scalpdesk.monitor import answers
from scalpdesk.records.notes import list_notes
from scalpdesk.records.projection import project_if_new, project_missing
from scalpdesk.records.scalps import open_scalps, plain_row, scalp_history, scalp_performance
from scalpdesk.records.store import Store, list_runs, load_tables, pnl_in_cents, read_runs
from scalpdesk.records.tables import RunRow
from scalpdesk.research.parity import PARITY_FILE

MOST_POINTS = 1_000
"""Points of a run's curve: of more, the lowest and the highest of each stretch are kept."""


class RunOrder(StrEnum):
    """Orders of the list of runs, each with the best or the newest first."""

    NEWEST = "newest"
    PNL = "pnl"
    SHARPE = "sharpe"
    DRAWDOWN = "drawdown"
    SESSIONS = "sessions"
    FILLS = "fills"


def runs_page(
    runs_dir: Path,
    limit: int,
    records_url: str | None = None,
    *,
    search: str = "",
    sort: RunOrder = RunOrder.NEWEST,
) -> answers.Runs:
    """Return the runs on record that a search finds, in an order; ``total`` counts them all."""
    if not run_dirs(runs_dir):
        return {"runs": [], "unreadable": {}, "empty": "No run yet. scalpdesk demo makes the first."}
    unreadable, rows = read_runs(runs_dir, lambda store: recorded_runs(store, runs_dir), records_url)
    rows.sort(key=lambda row: _rank(row, sort), reverse=True)
    listed = [listed_run(row, runs_dir) for row in rows]
    found = [run for run in listed if is_found(run, search)]
    return {
        "runs": found[:limit],
        "found": len(found),
        "total": len(rows),
        "unreadable": unreadable,
    }


def recorded_runs(store: Store, runs_dir: Path) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Return why runs cannot be read, by name, and all others, the one written last first.

    Each has ``notes``: what is noted of it, its days and its trades.
    """
    unreadable = project_missing(runs_dir, store)
    notes: dict[str, list[dict[str, Any]]] = {}
    for note in list_notes(store):
        notes.setdefault(note["run_id"], []).append(note)
    rows = [row.as_dict() | {"notes": notes.get(row.run_id, [])} for row in list_runs(store)]
    rows.sort(key=lambda row: (written_ns(runs_dir / row["run_id"]), row["run_id"]), reverse=True)
    return unreadable, rows


def notes_document(runs_dir: Path, run: str | None, records_url: str | None = None) -> answers.Notes:
    """Return what is noted of a run or of all.

    Raises DataError when no run or more than one goes by this name.
    """
    run_id = None if run is None else run_named(runs_dir, run).name
    if not run_dirs(runs_dir):
        return {"notes": []}
    rows: Any = read_runs(runs_dir, lambda store: list_notes(store, run_id), records_url)
    return {"notes": rows}


def _rank(row: dict[str, Any], sort: RunOrder) -> float:
    """Return what a run is sorted by; one without the figure comes last."""
    if sort is RunOrder.PNL:
        return float(pnl_in_cents(row)["total"])
    figures = _figures_of(row)
    known = {RunOrder.SHARPE: figures["sharpe"], RunOrder.SESSIONS: figures["sessions"]}
    known |= {RunOrder.DRAWDOWN: figures["drawdown_of_marks"], RunOrder.FILLS: row["fills"]}
    rank = known.get(sort, 0.0)
    if rank is None:
        return -math.inf
    return -rank if sort is RunOrder.DRAWDOWN else float(rank)


def _figures_of(row: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the figures of a stored run's sessions by its report, None where they are too few."""
    found = row["summary"].get("performance") or {}
    fall = found["drawdown"]["amount"] if found.get("sessions", 0) > 1 else None
    marks = found.get("drawdown_of_marks")
    return {
        "sessions": found.get("sessions_with_pnl"),
        "sharpe": found.get("sharpe"),
        "drawdown": fall,
        "drawdown_of_marks": fall if marks is None else marks["amount"],
    }


def _amount(value: float | None, unit: Decimal) -> str | None:
    return None if value is None else f"{to_cents(Decimal(value), unit):f}"


def is_found(run: Mapping[str, Any], search: str) -> bool:
    """Return whether a run of the list has every word of a search: in its name, settings, state, tags, notes.

    A tag is also found as ``#tag``.

    >>> is_found({"strategy": "gamma-scalper", "settings": ["seed=7"], "pnl": None}, "Gamma seed=7")
    True
    """
    texts = [part for value in run.values() for part in (value if isinstance(value, list) else [value])]
    seed, tags = f"seed={run.get('seed')}", [f"#{tag}" for tag in run.get("tags", ())]
    text = " ".join((seed, *tags, *(part for part in texts if isinstance(part, str)))).casefold()
    return all(word in text for word in search.casefold().split())


def _state_of(row: Mapping[str, Any], run_dir: Path) -> str:
    """Return how a stored run stands: ended, cut short, running, or not over and resumable."""
    if row["sealed"]:
        return "ended"
    if row["summary"].get("cut"):
        return "cut short"
    return "running" if is_written(run_dir) else "not over"


def _played(row: Mapping[str, Any]) -> str | None:
    """Return the market time of a run from its first to its last event, in New York."""
    if row["first_event_ns"] is None or row["last_event_ns"] is None:
        return None
    first, last = to_new_york(row["first_event_ns"]), to_new_york(row["last_event_ns"])
    if first.date() == last.date():
        return f"{first:%Y-%m-%d %H:%M} to {last:%H:%M}"
    return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"


def listed_run(row: dict[str, Any], runs_dir: Path) -> answers.ListedRun:
    """Return a stored run as the list of runs shows it."""
    parts, figures = pnl_in_cents(row), cast(Any, _figures_of(row))
    total = parts.pop("total")
    decimals = money_decimals(run_currency(row["config"]))
    unit = Decimal(1).scaleb(-decimals)
    noted = [
        (note["kind"], f"{note['name']}:", *(f"#{tag}" for tag in note["tags"]), note["note"])
        for note in row["notes"]
        if note["kind"] != "run"
    ]
    try:
        changed = changed_settings(row["strategy"], row["config"])
    except ConfigError:  # a strategy that is not installed any more
        changed = {}
    return {
        "run_id": row["run_id"],
        "started": f"{from_ns(row['started_ns']):%Y-%m-%d %H:%M}",
        "played": _played(row),
        "state": _state_of(row, runs_dir / row["run_id"]),
        "sessions_traded": figures["sessions"],
        "sharpe": figures["sharpe"],
        "drawdown": _amount(figures["drawdown"], unit),
        "drawdown_of_marks": _amount(figures["drawdown_of_marks"], unit),
        "underlying": row["underlying"],
        "strategy": row["strategy"],
        "mode": row["mode"],
        "market": f"{row['data_name']} ({row['data_kind']})" if row["data_name"] else row["venue"],
        "session": row["session"],
        "hedges": row["hedges"],
        "fills": row["fills"],
        "currency": run_currency(row["config"]),
        "decimals": decimals,
        "pnl": f"{total:f}",
        "parts": {name: f"{amount:f}" for name, amount in parts.items()},
        "sealed": row["sealed"],
        "cut": row["summary"]["verdict"] if row["summary"].get("cut") else None,
        "seed": row["seed"],
        "settings": [f"{key}={value}" for key, value in changed.items() if key != "desk.runs_dir"],
        "decision_hash": row["decision_hash"],
        "tags": [tag for note in row["notes"] if note["kind"] == "run" for tag in note["tags"]],
        "note": "".join(note["note"] for note in row["notes"] if note["kind"] == "run"),
        "noted": [" ".join(filter(None, words)) for words in noted],
    }


def run_page(runs_dir: Path, name: str, records_url: str | None = None) -> answers.Run:
    """Return one run with its equity, spot and net delta at the marks; ``t`` in UTC seconds.

    A run that the store lacks, or holds unfinished, is read from its journal first.

    Raises DataError when no run or more than one goes by this name. Raises JournalError when its journal is
    damaged.
    """
    run_dir = run_named(runs_dir, name)

    def read(store: Store) -> tuple[RunRow, list[dict[str, Any]], list[dict[str, Any]]]:
        row = project_if_new(run_dir, store)
        marks = load_tables(store, row.run_id, "marks")["marks"]
        return row, marks, list_notes(store, row.run_id)

    row, marks, notes = read_runs(runs_dir, read, records_url)
    listed, summary = listed_run(row.as_dict() | {"notes": notes}, runs_dir), dict(row.summary)
    start = Decimal(marks[0]["nav"]) - Decimal(marks[0]["nav_change"]) if marks else Decimal(0)
    pnl = [float(Decimal(mark["nav"]) - start) for mark in marks]
    kept, parity = thinned(pnl, MOST_POINTS), None
    with suppress(OSError, msgspec.DecodeError):  # the last comparison with its backtest, if any was made
        parity = msgspec.json.decode((run_dir / PARITY_FILE).read_bytes(), type=answers.RunParity)
    return {
        **listed,
        "parity": parity,
        "summary": summary,
        "columns": {
            "t": [marks[i]["ts_ns"] / NANOS_PER_SECOND for i in kept],
            "pnl": [pnl[i] for i in kept],
            "spot": [marks[i]["spot"] or None for i in kept],
        },
        "sessions": [
            session.day.isoformat() for session in sessions_begun(peek_header(run_dir), row.last_event_ns)
        ],
    }


def scalps_document(
    runs_dir: Path, run: str | None, records_url: str | None = None, *, refresh: bool
) -> answers.ScalpsPage:
    """Return the options scalps on record, of a run or of all: open scalps, history, performance.

    With ``refresh``, or of a run, the journals that the store lacks, or holds unfinished, are read first.
    ``run`` is an id, its beginning, or ``last``.

    Raises DataError when no run or more than one goes by this name.
    """
    run_id = None if run is None else run_named(runs_dir, run).name
    if not run_dirs(runs_dir):
        return {"open": [], "history": [], "performance": None}

    def read(store: Store) -> answers.ScalpsPage:
        if refresh or run_id is not None:
            project_missing(runs_dir, store)
        return {
            "open": [plain_row(row) for row in open_scalps(store, run_id)],
            "history": [plain_row(row) for row in scalp_history(store, run_id)],
            "performance": scalp_performance(store, run_id),
        }

    return read_runs(runs_dir, read, records_url)


def thinned(values: list[float], most: int) -> list[int]:
    """Return positions that keep a curve's look: of each stretch its lowest and its highest value.

    >>> thinned([0.0, 5.0, 1.0, 2.0, -3.0, 0.0], 4)
    [0, 1, 4, 5]
    """
    if len(values) <= most:
        return list(range(len(values)))
    stretches = max(most // 2, 1)
    kept = {0, len(values) - 1}
    for number in range(stretches):
        low = number * len(values) // stretches
        high = max((number + 1) * len(values) // stretches, low + 1)
        kept.add(min(range(low, high), key=values.__getitem__))
        kept.add(max(range(low, high), key=values.__getitem__))
    return sorted(kept)
