"""The diary that a person keeps: calendar of P&L, trades with their edge, notes; of runs."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import select

from scalpdesk.core.units import count_text, money_decimals, run_currency
from scalpdesk.datasets.daily_history import vix_before
from scalpdesk.journal.reader import peek_header, run_dirs, run_named
from scalpdesk.live.options import SIMULATED_ACCOUNTS
from scalpdesk.monitor import answers
from scalpdesk.monitor.texts import day_of
from scalpdesk.records.notes import list_notes
from scalpdesk.records.projection import project_journal
from scalpdesk.records.store import Store, read_runs
from scalpdesk.records.tables import SessionRow, TradeRow
from scalpdesk.report.figures import json_safe
from scalpdesk.report.pnl_calendar import DayResult, calendar_of
from scalpdesk.report.trades import Trade
from scalpdesk.web.runs import is_found, listed_run, recorded_runs


def diary_of(
    runs_dir: Path, names: Sequence[str], search: str = "", records_url: str | None = None
) -> dict[str, Any]:
    """Return calendar, trades and notes of runs in JSON types, amounts exact as text.

    Runs of one account are summed, that of the newest run: real money, a paper account and simulated runs
    are never one, nor are two venues or currencies. Of simulated runs a session counts once, in the run
    that was written last; ``left_out`` says of which run something does not count, and why.

    ``names``: Runs by id, its beginning or ``last``. None of them and no search is the run written last.
    ``search``: Instead of names: all runs that have every word. Words that are days or months
    (``2026-11``, ``2026-11-02..2026-11-13``, ``2026-11..``) are bounds of the sessions that count.
    Raises DataError when no run or more than one goes by a name.
    """
    chosen = [run_named(runs_dir, name).name for name in names]
    if not run_dirs(runs_dir):
        nothing: dict[str, Any] = {"runs": [], "left_out": {}, "currency": "", "account": "", "said": ""}
        return nothing | {"trades": [], "notes": []} | calendar_of([], [], Decimal(1))
    found: dict[str, Any] = read_runs(
        runs_dir, lambda store: _journal(store, runs_dir, chosen, search), records_url
    )
    return found


def _journal(store: Store, runs_dir: Path, names: Sequence[str], search: str) -> dict[str, Any]:
    _, rows = recorded_runs(store, runs_dir)
    words, bounds = _bounds_of(search)
    if names:
        chosen = [row for row in rows if row["run_id"] in names]
    elif search.strip():
        chosen = [row for row in rows if is_found(listed_run(row, runs_dir), words)]
    else:
        chosen = rows[:1]
    of_run = {row["run_id"]: _rows_of(store, runs_dir, row["run_id"], bounds) for row in chosen}
    if bounds is not None:
        chosen = [row for row in chosen if of_run[row["run_id"]][0]]
    accounts = {row["run_id"]: account_of(row, runs_dir) for row in chosen}
    account = accounts[chosen[0]["run_id"]] if chosen else None
    left_out = {name: str(each) for name, each in accounts.items() if each != account}
    kept = [row for row in chosen if row["run_id"] not in left_out]
    sessions: list[SessionRow] = []
    trades: list[dict[str, Any]] = []
    counted: dict[str, str] = {}
    runs = []
    for name in [row["run_id"] for row in kept]:  # the run written last first
        days, own = of_run[name]
        twice = [day.session for day in days if day.session in counted]
        if twice and account is not None and account.is_played:
            span = twice[0] if len(twice) == 1 else f"{len(twice)} sessions from {twice[0]}"
            left_out[name] = f"{span}: counted from {counted[twice[0]]}"
            days = [day for day in days if day.session not in counted]
            own = [each for each in own if _day(each) not in twice]
        if days or not of_run[name][0]:
            runs.append(name)
        counted |= {day.session: name for day in days if day.session not in counted}
        sessions += days
        trades += own
    days_of = [
        DayResult(
            row.session,
            row.pnl,
            {int(hour): Decimal(pnl) for hour, pnl in row.hours.items()},
            vix_before(date.fromisoformat(row.session)),
        )
        for row in sessions
    ]
    currency = "" if account is None else account.currency
    unit = Decimal(1).scaleb(-money_decimals(currency)) if currency else Decimal(1)
    by_expiry = [(trade["days_to_expiry"], trade["pnl"]) for trade in trades]
    notes = [note for note in list_notes(store) if note["run_id"] in runs]
    found: dict[str, Any] = {"runs": runs, "left_out": left_out, "currency": currency}
    found |= {"account": "" if account is None else str(account)}
    unended = sum(not row["sealed"] for row in kept)
    found["said"] = _said(found["account"], runs, sorted({row.session for row in sessions}), unended)
    return {**found, **calendar_of(days_of, by_expiry, unit), "trades": trades, "notes": notes}


class AccountOfRun(NamedTuple):
    """What runs have in common whose P&L may be added."""

    kind: str
    """``live`` (real money), ``paper``, ``sandbox``, ``simulated``, ``backtest`` (a demo is one)."""
    venue: str
    account_id: str
    currency: str

    @property
    def is_played(self) -> bool:
        """Whether its sessions can be played again: parts of one live session in two runs are its sum."""
        return self.kind in {"backtest", "simulated"}

    def __str__(self) -> str:
        where = f" at {self.venue}" if self.kind in {"live", "paper"} else ""
        name = f", account {self.account_id}" if self.account_id else ""
        return f"{self.kind}{where}{name}, {self.currency}"


def account_of(row: Mapping[str, Any], runs_dir: Path) -> AccountOfRun:
    """Return the account of a stored run."""
    venue, currency = row["venue"], run_currency(row["config"])
    if venue in SIMULATED_ACCOUNTS:
        is_backtest = row["mode"] in {"backtest", "demo"}
        return AccountOfRun("backtest" if is_backtest else venue, venue, "", currency)
    run_dir = runs_dir / row["run_id"]
    account_id = peek_header(run_dir).data.get("account_id", "") if run_dir.is_dir() else ""
    return AccountOfRun(row["mode"], venue, str(account_id or ""), currency)


def _said(account: str, runs: Sequence[str], days: Sequence[str], unended: int) -> str:
    """Return which runs are summed, in a line, and that those without an end count up to their last mark."""
    if not runs:
        return ""
    span = "no session" if not days else days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    so_far = f"; {unended} not over, as of its last mark" if unended else ""
    return f"{account}: {count_text(len(runs), 'run')}, {count_text(len(days), 'session')}, {span}{so_far}"


def _day(trade: Mapping[str, Any]) -> str:
    return day_of(trade["opened_ns"])


_DATE = r"\d{4}-\d\d(?:-\d\d)?"
_BOUND = re.compile(rf"(?P<first>{_DATE})?(?P<dots>\.\.)?(?P<last>{_DATE})?")


def _bounds_of(search: str) -> tuple[str, tuple[str, str] | None]:
    """Return the words of a search, and the first and last day that its dates bound; None without any.

    >>> _bounds_of("live 2026-11 spy"), _bounds_of("2026-11-02..2026-12")
    (('live spy', ('2026-11', '2026-11~')), ('', ('2026-11-02', '2026-12~')))
    """
    words, bounds = [], []
    for word in search.split():
        found = _BOUND.fullmatch(word)
        if found is None or not (found["first"] or found["last"]):
            words.append(word)
            continue
        last = found["last"] if found["dots"] else found["first"]
        bounds.append((found["first"] or "", f"{last}~" if last else "~"))
    if not bounds:
        return search, None
    return " ".join(words), (max(first for first, _ in bounds), min(last for _, last in bounds))


def _rows_of(
    store: Store, runs_dir: Path, run_id: str, bounds: tuple[str, str] | None
) -> tuple[list[SessionRow], list[dict[str, Any]]]:
    """Return sessions and trades of a run; rows of an older store are made from the journal first."""
    mine = select(SessionRow).where(SessionRow.run_id == run_id).order_by(SessionRow.session)
    if not store.rows(mine) and (runs_dir / run_id).is_dir():
        project_journal(runs_dir / run_id, store)
    own = select(TradeRow).where(TradeRow.run_id == run_id).order_by(TradeRow.number)
    sessions, trades = list(store.rows(mine)), [row.as_dict() for row in store.rows(own)]
    if bounds is None:
        return sessions, trades
    first, last = bounds
    return (
        [row for row in sessions if first <= row.session <= last],
        [row for row in trades if first <= _day(row) <= last],
    )


def diary_page(
    runs_dir: Path, names: Sequence[str], search: str = "", records_url: str | None = None
) -> answers.DiaryPage:
    """Return the Diary page: the figures of :func:`diary_of`, and how many decimals they have."""
    found = diary_of(runs_dir, names, search, records_url)
    currency = found["currency"]
    page: answers.DiaryPage = json_safe(
        found
        | {
            "decimals": money_decimals(currency) if currency else 2,
            "trade_columns": answers.shown_fields(Trade),
            "trades": [_trade(row) for row in found["trades"]],
        }
    )
    return page


def _trade(row: Mapping[str, Any]) -> answers.JournalTrade:
    return msgspec.convert(row, answers.JournalTrade)
