"""The journal that a person keeps: calendar of P&L, trades with their edge, notes; of runs."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from sqlalchemy import select

from scalpdesk.core.units import money_decimals, number_text, run_currency
from scalpdesk.datasets.daily_history import vix_before
from scalpdesk.journal.reader import run_dirs, run_named
from scalpdesk.monitor import answers
from scalpdesk.monitor.texts import clock, day_of
from scalpdesk.records.notes import list_notes
from scalpdesk.records.projection import project_journal
from scalpdesk.records.store import Store, read_runs
from scalpdesk.records.tables import SessionRow, TradeRow
from scalpdesk.report.figures import json_safe
from scalpdesk.report.pnl_calendar import DayResult, calendar_of
from scalpdesk.report.trade_edge import MINUTES
from scalpdesk.web.runs import is_found, listed_run, recorded_runs


def journal_of(
    runs_dir: Path, names: Sequence[str], search: str = "", records_url: str | None = None
) -> dict[str, Any]:
    """Return calendar, trades and notes of runs in JSON types, amounts exact as text.

    ``names``: Runs by id, its beginning or ``last``. None of them and no search is the run written last.
    ``search``: Instead of names: all runs that have every word. Of several currencies those of the newest run
    count, and ``left_out`` says so of the others.
    Raises DataError when no run or more than one goes by a name.
    """
    chosen = [run_named(runs_dir, name).name for name in names]
    if not run_dirs(runs_dir):
        return {"runs": [], "left_out": {}, "currency": "", "trades": [], "notes": []} | calendar_of(
            [], [], Decimal(1)
        )
    found: dict[str, Any] = read_runs(
        runs_dir, lambda store: _journal(store, runs_dir, chosen, search), records_url
    )
    return found


def _journal(store: Store, runs_dir: Path, names: Sequence[str], search: str) -> dict[str, Any]:
    _, rows = recorded_runs(store, runs_dir)
    if names:
        chosen = [row for row in rows if row["run_id"] in names]
    elif search.strip():
        chosen = [row for row in rows if is_found(listed_run(row, runs_dir), search)]
    else:
        chosen = rows[:1]
    currency = run_currency(chosen[0]["config"]) if chosen else ""
    kept = [row["run_id"] for row in chosen if run_currency(row["config"]) == currency]
    left_out = {
        row["run_id"]: f"in {run_currency(row['config'])}" for row in chosen if row["run_id"] not in kept
    }
    sessions, trades = _rows_of(store, runs_dir, kept)
    days = [
        DayResult(
            row.session,
            row.pnl,
            {int(hour): Decimal(pnl) for hour, pnl in row.hours.items()},
            vix_before(date.fromisoformat(row.session)),
        )
        for row in sessions
    ]
    unit = Decimal(1).scaleb(-money_decimals(currency)) if currency else Decimal(1)
    by_expiry = [(trade["days_to_expiry"], trade["pnl"]) for trade in trades]
    notes = [note for note in list_notes(store) if note["run_id"] in kept]
    found = {"runs": kept, "left_out": left_out, "currency": currency}
    return {**found, **calendar_of(days, by_expiry, unit), "trades": trades, "notes": notes}


def _rows_of(
    store: Store, runs_dir: Path, run_ids: Sequence[str]
) -> tuple[list[SessionRow], list[dict[str, Any]]]:
    """Return sessions and trades of runs; rows of an older store are made from the journal first."""
    sessions: list[SessionRow] = []
    trades: list[dict[str, Any]] = []
    for run_id in run_ids:
        mine = select(SessionRow).where(SessionRow.run_id == run_id).order_by(SessionRow.session)
        if not store.rows(mine) and (runs_dir / run_id).is_dir():
            project_journal(runs_dir / run_id, store)
        sessions += store.rows(mine)
        own = select(TradeRow).where(TradeRow.run_id == run_id).order_by(TradeRow.number)
        trades += [row.as_dict() for row in store.rows(own)]
    return sessions, trades


def journal_page(
    runs_dir: Path, names: Sequence[str], search: str = "", records_url: str | None = None
) -> answers.JournalPage:
    """Return the Journal page: the figures of :func:`journal_of`, and how many decimals they have."""
    found = journal_of(runs_dir, names, search, records_url)
    currency = found["currency"]
    page: answers.JournalPage = json_safe(
        found
        | {
            "decimals": money_decimals(currency) if currency else 2,
            "trades": [_trade(row) for row in found["trades"]],
        }
    )
    return page


def _trade(row: Mapping[str, Any]) -> answers.JournalTrade:
    closed = row["closed_ns"]
    legs = ", ".join(f"{leg['quantity']} {leg['symbol']}" for leg in row["legs"])
    told = {name: row[name] for name in answers.JournalTrade.__annotations__ if name in row} | {
        "structure": row["structure"] or legs,
        "opened": f"{day_of(row['opened_ns'])} {clock(row['opened_ns'])}",
        "closed": None if closed is None else f"{day_of(closed)} {clock(closed)}",
        **{name: number_text(row[name]) for name in ("pnl", "cash_in", "cash_out")},
        "worth": [row[f"worth_after_{minutes}"] for minutes in MINUTES],
    }
    return cast(answers.JournalTrade, told)
