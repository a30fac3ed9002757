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
from scalpdesk_deribit.wire import LOGGED, WireError, exact_field, known_ns, quantity_of, read_log, time_ns

Row = Mapping[str, Any]

TRADES = frozenset({"trade", "maker", "taker"})
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
    "Cash Flow": "cashflow",
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
    accounts: dict[str, list[Row]] = {}
    asked = "private/get_transaction_log"
    rows = (
        json_rows(raw, ["type", "currency"], answers=asked, listed=_listed) if is_json else _of_csv(raw, zone)
    )
    for row in rows:
        accounts.setdefault(str(row.get("username") or row.get("user_id") or ""), []).append(row)
    return [_statement(name, rows) for name, rows in accounts.items()]


def _statement(name: str, rows: Sequence[Row]) -> Statement:
    found = Statement(account=name)
    ordered = sorted(rows, key=_place)
    for row in ordered:
        try:
            _take(row, found)
        except (WireError, ArgumentError) as problem:
            found.unread.append(f"line {row.get('id')} of the log: {str(problem).splitlines()[0]}")
    found.unread += _gaps(ordered)
    return found


def _place(row: Row) -> tuple[int, int]:
    """Return the place of a line: its time, and within a millisecond the account's own count."""
    count = str(row.get("user_seq") or row.get("id") or 0)
    return known_ns(row, "timestamp"), int(count) if count.isdigit() else 0


def _take(row: Row, found: Statement) -> None:
    kind = str(row.get("type"))
    symbol = str(row.get("instrument_name") or "")
    if kind in TRADES:
        found.trades.append(_trade(row, symbol))
    elif row.get("change") is None:
        raise WireError(f"{kind} without a change of the balance")
    else:
        found.movements.append(_movement(row, kind) if kind in KNOWN else _unknown(row, kind, symbol))
        if symbol and kind not in _HAVE_UNITS and (amount := exact_field(row, "amount", ZERO)):
            found.unread.append(f"line {row.get('id')} of the log: the {amount:f} {symbol} of {kind}")
    if symbol and row.get("position") is not None:
        found.positions[symbol] = _units(symbol, exact_field(row, "position"))


def _trade(row: Row, symbol: str) -> StatementTrade:
    side = str(row.get("side") or "").rpartition(" ")[2]
    if side not in ("buy", "sell"):
        raise WireError(f"side is neither buy nor sell: {row.get('side')!r}")
    amount = _units(symbol, abs(exact_field(row, "amount")))
    return StatementTrade(
        execution=str(row.get("trade_id") or ""),
        order=str(row.get("order_id") or ""),
        symbol=symbol,
        units=amount if side == "buy" else -amount,
        price=exact_field(row, "price"),
        fee=exact_field(row, "commission", ZERO),
        currency=str(row["currency"]),
        ts_ns=time_ns(row, "timestamp"),
    )


def _units(symbol: str, amount: Decimal) -> Decimal:
    """Return contracts or coins of the log's amount, which is in dollars for inverse futures."""
    try:
        return quantity_of(inverse_perpetual(symbol), amount)
    except ArgumentError:  # options and linear perpetuals count coins
        return amount


def _movement(row: Row, kind: str) -> Movement:
    activity = read_log(row)
    assert activity is not None
    return Movement(
        reference=activity.activity_id,
        kind=kind,
        cause=activity.cause,
        symbol=activity.symbol,
        units=activity.quantity_change,
        cash=activity.cash_change,
        currency=str(row["currency"]),
        ts_ns=activity.ts_event_ns,
    )


def _unknown(row: Row, kind: str, symbol: str) -> Movement:
    return Movement(
        reference=str(row.get("id") or ""),
        kind=kind,
        cause=None,
        symbol=symbol,
        cash=exact_field(row, "change", ZERO),
        currency=str(row["currency"]),
        ts_ns=time_ns(row, "timestamp"),
    )


def _gaps(rows: Sequence[Row]) -> list[str]:
    """Return where the balance does not follow from the line before it: lines are missing there."""
    found = []
    last: dict[str, tuple[Row, Decimal]] = {}
    for row in rows:
        try:
            balance, change = exact_field(row, "balance"), exact_field(row, "change", ZERO)
        except WireError:
            continue
        before = last.get(str(row["currency"]))
        if before is not None and row.get("id") == before[0].get("id"):
            continue
        if before is not None and abs(balance - before[1] - change) > 2 * SATOSHI:
            jump = balance - before[1] - change
            found.append(
                f"the balance moves by {jump:+f} {row['currency']} between the lines {before[0].get('id')}"
                f" and {row.get('id')}: lines are missing"
            )
        last[str(row["currency"])] = row, balance
    return found


def _listed(page: Any) -> Any:
    body = page.get("result", page) if isinstance(page, dict) else page
    return body.get("logs") if isinstance(body, dict) else body


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
