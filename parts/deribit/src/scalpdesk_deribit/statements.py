"""Statements of Deribit: the transaction log, as ``private/get_transaction_log`` or the site's CSV gives it.

Amounts are those of the account's coin. Of a settlement the desk's cash has the funding alone: the session's
profit of a future is in its value already, and the log's ``cashflow`` holds both.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from scalpdesk.base import ZERO, ArgumentError, DataError, to_ns
from scalpdesk.core.units import NANOS_PER_MS, SATOSHI
from scalpdesk.instruments.deribit import inverse_perpetual
from scalpdesk.plugins import Movement, Statement, StatementSpec, StatementTrade, json_rows
from scalpdesk_deribit.messages import LogLine, LogPage
from scalpdesk_deribit.wire import (
    LOGGED,
    TRADES,
    WireError,
    exact,
    id_text,
    instant_ns,
    known_ns,
    quantity_of,
    read_log,
    text,
)
from scalpdesk_deribit.wire import read as read_message

Row = Mapping[str, Any]

KNOWN = frozenset({*LOGGED, "delivery"})
"""Types whose cause the desk knows."""
_HAVE_UNITS = frozenset({"settlement", "delivery"})
"""Types of movements whose amount is read, or is what they are made on."""
COLUMNS = {
    "ID": "id",
    "UserSeq": "user_seq",
    "Date": "timestamp",
    "Instrument": "instrument_name",
    "Type": "type",
    "Side": "side",
    "Size": "amount",
    "Base Amount": "amount",
    "Amount": "amount",
    "Position": "position",
    "Price": "price",
    "Funding": "total_interest_pl",
    "Fee Paid": "commission",
    "Fee Charged": "commission",
    "Change": "change",
    "Balance": "balance",
    "Trade ID": "trade_id",
    "Order ID": "order_id",
}
"""Columns of the site's download over the years, by the log's own names; of two amounts the later counts."""
NOTHING = frozenset({"", "-"})
"""Cells without a value."""


def read(raw: bytes, zone: ZoneInfo) -> list[Statement]:
    """Read a transaction log, each account a statement.

    Raises DataError when it is no transaction log.
    """
    is_json = raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{")
    accounts: dict[str, list[LogLine]] = {}
    asked = "private/get_transaction_log"
    rows = (
        json_rows(raw, ["type", "currency"], answers=asked, listed=_listed) if is_json else _of_csv(raw, zone)
    )
    unread: dict[str, list[str]] = {}
    for row in rows:
        name = str(row.get("username") or row.get("user_id") or "")
        lines, problems = accounts.setdefault(name, []), unread.setdefault(name, [])
        try:
            lines.append(read_message(row, LogLine, f"line {row.get('id')} of the log"))
        except WireError as problem:
            problems.append(str(problem))
    return [_statement(name, lines, unread[name]) for name, lines in accounts.items()]


def _statement(name: str, lines: Sequence[LogLine], unread: Sequence[str]) -> Statement:
    found = Statement(account=name)
    found.unread += unread
    ordered = sorted(lines, key=_place)
    for line in ordered:
        try:
            _take(line, found)
        except (WireError, ArgumentError) as problem:
            found.unread.append(f"line {line.id} of the log: {str(problem).splitlines()[0]}")
    found.unread += _gaps(ordered)
    return found


def _place(line: LogLine) -> tuple[int, int]:
    """Return the place of a line: its time, and within a millisecond the account's own count."""
    count = str(line.user_seq or line.id or 0)
    return known_ns(line.timestamp), int(count) if count.isdigit() else 0


def _take(line: LogLine, found: Statement) -> None:
    kind, symbol = str(line.type), line.instrument_name or ""
    if kind in TRADES:
        found.trades.append(_trade(line, symbol))
    elif line.change is None:
        raise WireError(f"{kind} without a change of the balance")
    else:
        found.movements.append(_movement(line, kind) if kind in KNOWN else _unknown(line, kind, symbol))
        if symbol and kind not in _HAVE_UNITS and (amount := exact(line.amount, "amount", ZERO)):
            found.unread.append(f"line {line.id} of the log: the {amount:f} {symbol} of {kind}")
    if symbol and line.position is not None:
        found.positions[symbol] = _units(symbol, exact(line.position, "position"))


def _trade(line: LogLine, symbol: str) -> StatementTrade:
    side = (line.side or "").rpartition(" ")[2]
    if side not in ("buy", "sell"):
        raise WireError(f"side is neither buy nor sell: {line.side!r}")
    amount = _units(symbol, abs(exact(line.amount, "amount")))
    return StatementTrade(
        execution=id_text(line.trade_id),
        order=id_text(line.order_id),
        symbol=symbol,
        units=amount if side == "buy" else -amount,
        price=exact(line.price, "price"),
        fee=exact(line.commission, "commission", ZERO),
        currency=text(line.currency, "currency"),
        ts_ns=instant_ns(line.timestamp, "timestamp"),
    )


def _units(symbol: str, amount: Decimal) -> Decimal:
    """Return contracts or coins of the log's amount, which is in dollars for inverse futures."""
    try:
        return quantity_of(inverse_perpetual(symbol), amount)
    except ArgumentError:  # options and linear perpetuals count coins
        return amount


def _movement(line: LogLine, kind: str) -> Movement:
    activity = read_log(line)
    assert activity is not None
    return Movement(
        reference=activity.activity_id,
        kind=kind,
        cause=activity.cause,
        symbol=activity.symbol,
        units=activity.quantity_change,
        cash=activity.cash_change,
        currency=text(line.currency, "currency"),
        ts_ns=activity.ts_event_ns,
    )


def _unknown(line: LogLine, kind: str, symbol: str) -> Movement:
    return Movement(
        reference=id_text(line.id),
        kind=kind,
        cause=None,
        symbol=symbol,
        cash=exact(line.change, "change", ZERO),
        currency=text(line.currency, "currency"),
        ts_ns=instant_ns(line.timestamp, "timestamp"),
    )


def _gaps(lines: Sequence[LogLine]) -> list[str]:
    """Return where the balance does not follow from the line before it: lines are missing there."""
    found = []
    last: dict[str, tuple[LogLine, Decimal]] = {}
    for line in lines:
        try:
            balance, change = exact(line.balance, "balance"), exact(line.change, "change", ZERO)
        except WireError:
            continue
        before = last.get(str(line.currency))
        if before is not None and line.id == before[0].id:
            continue
        if before is not None and abs(balance - before[1] - change) > 2 * SATOSHI:
            jump = balance - before[1] - change
            found.append(
                f"the balance moves by {jump:+f} {line.currency} between the lines {before[0].id}"
                f" and {line.id}: lines are missing"
            )
        last[str(line.currency)] = line, balance
    return found


def _listed(page: Any) -> Any:
    body = page.get("result", page) if isinstance(page, dict) else page
    return read_message(body, LogPage).logs if isinstance(body, dict) else body


def _of_csv(raw: bytes, zone: ZoneInfo) -> list[Row]:
    try:
        table = csv.DictReader(io.StringIO(raw.decode("utf-8-sig")))
        lines = list(table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the file is no table: {error}", where="statement") from error
    missing = {"Date", "Type", "Instrument", "Change"} - {*(table.fieldnames or ())}
    if missing:
        raise DataError(
            f"the first line does not name {', '.join(sorted(missing))}",
            where="statement",
            fix="save the transaction log of the site as CSV",
        )
    return [_csv_row(line, zone) for line in lines]


def _csv_row(line: Mapping[str, str | None], zone: ZoneInfo) -> dict[str, Any]:
    """Return a line of the site's table under the log's own names."""
    row: dict[str, Any] = {}
    for column, name in COLUMNS.items():
        cell = (line.get(column) or "").strip()
        if cell not in NOTHING:
            row[name] = cell
    row["timestamp"] = _ms_of(str(row.get("timestamp")), zone)
    row["currency"] = _currency(line, str(row.get("instrument_name") or ""))
    row["side"] = row.get("side") or "-"
    return row


def _ms_of(text: str, zone: ZoneInfo) -> int:
    """Return milliseconds of a date of the table, which is written in two ways.

    >>> _ms_of("5 Mar 2025 08:00:00", ZoneInfo("UTC")) == _ms_of("2025-03-05 08:00:00", ZoneInfo("UTC"))
    True
    """
    for form in ("%d %b %Y %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%fZ"):
        try:
            moment = datetime.strptime(text, form).replace(tzinfo=UTC if text.endswith("Z") else zone)
        except ValueError:
            continue
        return to_ns(moment) // NANOS_PER_MS
    raise DataError(
        "a date cannot be read", where="statement, column Date", value=text, fix="2025-03-05 08:00:00"
    )


def _currency(line: Mapping[str, str | None], symbol: str) -> str:
    """Return the currency of a line: its own column, or the settlement currency of its instrument."""
    named = (line.get("Currency") or "").strip()
    head = symbol.partition("-")[0]
    return named or head.rpartition("_")[2] or "BTC"


STATEMENTS = StatementSpec(
    name="deribit",
    summary="the transaction log: answers of private/get_transaction_log in JSON, or the site's CSV",
    zone="UTC",
    read=read,
)
