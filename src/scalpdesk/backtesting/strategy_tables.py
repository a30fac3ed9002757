"""The tables of a run that several strategies share, divided: fills, decisions, marks and changes of each.

Orders and decisions name their strategy. The journal does not hold each
book's value or the division of exercises and settlements, so the run is replayed to find them.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from scalpdesk.assembly import engine_from_header
from scalpdesk.backtesting.runs import rows_reader
from scalpdesk.core.intents import Mark
from scalpdesk.core.units import ZERO, to_cents
from scalpdesk.engine.desk import REST
from scalpdesk.instruments.postings import Posting
from scalpdesk.journal.reader import JournalReader
from scalpdesk.portfolio.book import Book

Rows = list[dict[str, Any]]


class StrategyRecord(msgspec.Struct):
    """Rows of one strategy in the tables of a shared run, in order."""

    marks: Rows = msgspec.field(default_factory=list)
    """At each mark of the account ``ts_ns``, ``nav_change``, ``parts``, ``spot`` of its own underlying and
    ``net_delta_shares``.
    """
    changes: list[Posting] = msgspec.field(default_factory=list)
    fills: Rows = msgspec.field(default_factory=list)
    """Its executions."""
    decisions: Rows = msgspec.field(default_factory=list)
    """Its own, and the desk's."""


class _BookMarks:
    """Reads one book's change between the marks of the account."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._change = ZERO
        self._totals = dict.fromkeys(book.attribution.totals, ZERO)

    def row(self, mark: Mark) -> dict[str, Any]:
        attribution, last = self._book.attribution, self._book.last_mark
        change, totals = attribution.nav_change, dict(attribution.totals)
        row = {
            "ts_ns": mark.ts_ns,
            "nav_change": change - self._change,
            "parts": {name: amount - self._totals[name] for name, amount in totals.items()},
            "spot": mark.spot if last is None else last.spot,
            "net_delta_shares": 0.0 if last is None else last.net_delta_shares,
        }
        self._change, self._totals = change, totals
        return row


def strategy_records(
    run_dir: Path,
    fills: Iterable[dict[str, Any]],
    decisions: Sequence[dict[str, Any]],
    owners: Mapping[str, str],
) -> dict[str, StrategyRecord]:
    """Return trades and P&L of each strategy of a shared run; positions without a strategy have a key.

    The marks of all of them sum to the account's. The run is replayed.

    Parameters
    ----------
    run_dir
        Folder of the journal.
    fills, decisions
        Of the whole run, in order.
    owners
        Strategy by client order id.

    Raises
    ------
    ScalpdeskError
        When the run cannot be replayed: its tape or a strategy is not there any more.
    """
    records = _replayed(run_dir)
    for fill in fills:
        records[owners.get(fill["client_order_id"]) or REST].fills.append(fill)
    for decision in decisions:
        facts = decision["facts"]
        for name, record in records.items():
            if facts.get("strategy", name) == name:
                record.decisions.append(decision)
    return records


def _replayed(run_dir: Path) -> dict[str, StrategyRecord]:
    reader = JournalReader(run_dir)
    engine = engine_from_header(reader.header)
    assert engine.desk.books is not None
    books = engine.desk.books.books
    readers = {name: _BookMarks(book) for name, book in books.items()}
    records = {name or REST: StrategyRecord() for name in books}
    for step, _ in reader.steps(rows_reader(reader.header)):
        for event in step:
            produced = engine.handle(event)
            marks = [output for output in produced if type(output) is Mark] if produced else ()
            if marks:
                for name, book_marks in readers.items():
                    records[name or REST].marks.append(book_marks.row(marks[-1]))
    for posting in engine.desk.books.changes:
        records[posting.owner or REST].changes.append(posting)
    return records


def divided_to_cents(amounts: Mapping[str, Decimal], total: Decimal, unit: Decimal) -> dict[str, str]:
    """Return amounts in cents that sum to ``total``, which is in cents; the largest takes the half cents.

    The row without a strategy is left out while it is zero.

    Examples
    --------
    >>> divided_to_cents({"a": Decimal("1.005"), "b": Decimal("0.005")}, Decimal("1.01"), Decimal("0.01"))
    {'a': '1.00', 'b': '0.01'}
    """
    cents = {name: to_cents(amount, unit) for name, amount in amounts.items()}
    cents[max(cents, key=lambda name: abs(cents[name]))] += total - sum(cents.values(), ZERO)
    return {name: f"{amount + ZERO:f}" for name, amount in cents.items() if amount or name != REST}
