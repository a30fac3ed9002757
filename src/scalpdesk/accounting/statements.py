"""What a broker's statement says, and the contract of those who read one.

A reader brings the broker's words into the desk's: its symbols, signed units, UTC nanoseconds, fees that are
positive where they were paid. What it does not know it keeps and names; it never guesses and never drops.
"""

import json
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import DataError
from scalpdesk.core.sockets import STATEMENTS
from scalpdesk.core.units import ZERO


class StatementTrade(msgspec.Struct, frozen=True, kw_only=True):
    """An execution as the broker booked it."""

    execution: str
    """The id that the venue's messages give it; empty where the statement names none."""
    order: str = ""
    """The broker's id of the order."""
    client_order: str = ""
    """The desk's id of the order, where the statement has it."""
    symbol: str
    units: Decimal
    """Signed contracts or shares."""
    price: Decimal
    fee: Decimal = ZERO
    """Paid by the account; a rebate is negative."""
    currency: str
    ts_ns: int
    has_time: bool = True
    """Whether the statement says more than the day."""


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """A line that is no trade: a dividend, interest, a fee, a deposit, the end of an option."""

    reference: str
    """The broker's id of the line; empty where it has none."""
    kind: str
    """The broker's own word."""
    cause: ChangeCause | None
    """None for a word that the reader does not know."""
    symbol: str = ""
    units: Decimal = ZERO
    """Signed contracts or shares that it moved."""
    cash: Decimal = ZERO
    """Signed, its fees included."""
    currency: str
    ts_ns: int
    has_time: bool = True
    charges_day: date | None = None
    """Of a fee for trades that stands apart from them: their day."""


@dataclass(kw_only=True, slots=True)
class Statement:
    """The statement of one account."""

    account: str = ""
    """The broker's name of it; empty where the file names none."""
    trades: list[StatementTrade] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    positions: dict[str, Decimal] = field(default_factory=dict)
    """Signed units at the end, by symbol."""
    has_all_positions: bool = False
    """Whether what ``positions`` does not name is flat; else only those are stated."""
    cash: dict[str, Decimal] = field(default_factory=dict)
    """At the end, by currency."""
    first: date | None = None
    last: date | None = None
    """``first``, ``last``: Days that it says it covers; None: from its first line to its last."""
    made_ns: int | None = None
    """When it was made, UTC nanoseconds: it cannot hold what came later."""
    fees_apart: bool = False
    """Whether fees of trades are lines of their own, for a day and not for a trade."""
    notes: list[str] = field(default_factory=list)
    """What the reader put together or left out, for people."""
    unread: list[str] = field(default_factory=list)
    """Lines that it cannot read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementSpec:
    """A reader of a broker's statements: ``scalpdesk reconcile FILE --broker NAME``."""

    name: str
    summary: str
    """Files that it reads."""
    zone: str
    """Zone of days, and of times without one, as ``America/New_York``."""
    read: Callable[[bytes, ZoneInfo], list[Statement]]
    """Reads a file, an account each; DataError for one that is no statement."""


def find_reader(name: str) -> StatementSpec:
    """Return the reader of a broker's statements.

    Raises ConfigError when no installed part brings one of the name.
    """
    return STATEMENTS.find_spec(StatementSpec, name)


T = TypeVar("T", StatementTrade, Movement)


def without_repeats(statement: Statement) -> Statement:
    """Take out lines that the file has twice, as where pages overlap, and note them."""
    statement.trades = _once(statement.trades, lambda each: each.execution, statement.notes)
    statement.movements = _once(statement.movements, lambda each: each.reference, statement.notes)
    return statement


def _once(lines: Iterable[T], name_of: Callable[[T], str], notes: list[str]) -> list[T]:
    """Return lines once; two that are equal without an id of their own are two."""
    seen: set[Hashable] = set()
    found = []
    for line in lines:
        if name_of(line) and line in seen:
            notes.append(f"line {name_of(line)} stands in the file twice and counts once")
            continue
        seen.add(line)
        found.append(line)
    return found


def json_rows(
    raw: bytes, fields: Collection[str], *, answers: str, listed: Callable[[Any], Any]
) -> list[Mapping[str, Any]]:
    """Return the lines of a statement in JSON, of all its pages.

    Parameters
    ----------
    raw
        The file.
    fields
        Names that every line has.
    answers
        The request whose answers the file holds, for the refusal of another one.
    listed
        Returns the list of lines of a page.

    Raises
    ------
    DataError
        When it is no JSON, or a page is no list of such lines.
    """
    found: list[Mapping[str, Any]] = []
    for page in _json_values(raw):
        rows = listed(page)
        if not isinstance(rows, list) or not all(_has(row, fields) for row in rows):
            raise DataError(
                f"the file holds no answers of {answers}",
                where="statement",
                value=str(page)[:80],
                fix=f"save the answers of {answers}",
            )
        found += rows
    return found


def _has(row: Any, fields: Collection[str]) -> bool:
    return isinstance(row, dict) and row.keys() >= {*fields}


def _json_values(raw: bytes) -> Iterator[Any]:
    """Yield the JSON values of a file, one page after another, numbers as they are written.

    Raises DataError when it is no JSON.
    """
    decoder = json.JSONDecoder(parse_float=Decimal)
    try:
        text = raw.decode("utf-8-sig").strip()
        while text:
            value, end = decoder.raw_decode(text)
            yield value
            text = text[end:].lstrip(" \t\r\n,")
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"the file is no JSON: {error}",
            where="statement",
            fix="save the answers as they came, one page after another",
        ) from error
