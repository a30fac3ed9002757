"""What a person notes of runs, their days and trades: in the store alone, in no journal and no seal."""

import re
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, insert, select

from scalpdesk.core.errors import ArgumentError
from scalpdesk.journal.reader import peek_header
from scalpdesk.records.projection import project_if_new
from scalpdesk.records.store import Store
from scalpdesk.records.tables import NoteRow, TradeRow

_MOST_CHARACTERS = 4_000
"""Of a note."""
_MOST_TAGS = 20
_TAG = re.compile(r"[\w.:/+-]{1,40}")


def subject_of(day: str | None, trade: int | None, days: Sequence[date] = ()) -> tuple[str, str]:
    """Return kind and name of what a note is of: the run, a day of it, or a trade by its number.

    ``days``: Sessions of the run; empty where they are not known.
    Raises ArgumentError when it is of a day and a trade at once, or there is no such day.
    """
    if day is not None and trade is not None:
        raise ArgumentError("a note is of a day or of a trade", where="--day, --trade", fix="leave out one")
    if trade is not None:
        if trade < 1:
            raise ArgumentError("trades are counted from 1", where="--trade", value=trade)
        return "trade", str(trade)
    return ("run", "") if day is None else ("day", _day(day, days))


def subject_in(run_dir: Path, store: Store, day: str | None, trade: int | None) -> tuple[str, str]:
    """Return the same of a run, whose sessions and trades it must be among; projects it where it is new.

    Raises ArgumentError when the run has no such day or trade.
    """
    subject = subject_of(day, trade, [session.day for session in peek_header(run_dir).sessions])
    if trade is not None:
        mine = TradeRow.run_id == project_if_new(run_dir, store).run_id
        (count,) = store.rows(select(func.count()).select_from(TradeRow).where(mine))
        if trade > count:
            fix = (
                f"1 to {count}, as scalpdesk report numbers them" if count else "note the run or a day of it"
            )
            raise ArgumentError("the run has no such trade", where="--trade", value=trade, fix=fix)
    return subject


def _day(text: str, days: Sequence[date]) -> str:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise ArgumentError("this is not a day", where="--day", value=text, fix="write YYYY-MM-DD") from error
    if days and day not in days:
        span = f"{min(days)} to {max(days)}"
        raise ArgumentError("no session of the run is of this day", where="--day", value=text, fix=span)
    return day.isoformat()


def keep_note(
    store: Store, run_id: str, subject: tuple[str, str], *, tags: Iterable[str], note: str, now_ns: int
) -> dict[str, Any]:
    """Replace what is noted of a subject, and return it; without tags and text nothing is kept.

    Raises ArgumentError when a tag is not one word, or there are too many, or the note is too long.
    """
    kind, name = subject
    row = {
        "run_id": run_id,
        "kind": kind,
        "name": name,
        "tags": checked_tags(tags),
        "note": _checked_note(note),
        "changed_ns": now_ns,
    }
    mine = (NoteRow.run_id == run_id, NoteRow.kind == kind, NoteRow.name == name)
    with store.engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(delete(NoteRow).where(*mine))
        if row["tags"] or row["note"]:
            connection.execute(insert(NoteRow), [row])
    return row


def checked_tags(tags: Iterable[str]) -> list[str]:
    """Return tags in order, each once, without a number sign before them.

    >>> checked_tags(["#cpi-day", "vol", "cpi-day"])
    ['cpi-day', 'vol']
    """
    found = list(dict.fromkeys(tag.strip().removeprefix("#") for tag in tags))
    for tag in found:
        if not _TAG.fullmatch(tag):
            raise ArgumentError(
                "a tag is one word", where="tags", value=tag, fix="letters, digits and -_.:/+, at most 40"
            )
    if len(found) > _MOST_TAGS:
        raise ArgumentError(f"more than {_MOST_TAGS} tags", where="tags", value=len(found))
    return found


def _checked_note(note: str) -> str:
    if len(note) > _MOST_CHARACTERS:
        raise ArgumentError(
            "the note is too long",
            where="note",
            value=len(note),
            fix=f"at most {_MOST_CHARACTERS:,} characters",
        )
    return note.strip()


def list_notes(store: Store, run_id: str | None = None) -> list[dict[str, Any]]:
    """Return what is noted of a run, or of all: of the run first, then its days, then its trades."""
    chosen = select(NoteRow) if run_id is None else select(NoteRow).where(NoteRow.run_id == run_id)
    rows = [row.as_dict() for row in store.rows(chosen)]
    ranks = ("run", "day", "trade")
    rows.sort(key=lambda row: (row["run_id"], ranks.index(row["kind"]), len(row["name"]), row["name"]))
    return rows
