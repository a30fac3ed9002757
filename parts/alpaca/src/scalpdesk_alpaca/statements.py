"""Statements of Alpaca: the answers of ``GET /v2/account/activities``, page after page.

The venue charges fees of trades by the day, rounded up once for each kind, in lines of their own.
"""

import json
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from scalpdesk.base import ZERO, to_ns
from scalpdesk.plugins import Movement, Statement, StatementSpec, StatementTrade, json_rows
from scalpdesk_alpaca.account_messages import MOVES, NOT_HAPPENED, PAYMENTS, read_activities, read_fills
from scalpdesk_alpaca.fields import Malformed, ns_of_text

Row = Mapping[str, Any]


def read(raw: bytes, zone: ZoneInfo) -> list[Statement]:
    """Read the activities of accounts, each a statement.

    Raises DataError when it holds no list of activities.
    """
    found: dict[str, Statement] = {}
    rows = json_rows(raw, ["activity_type"], answers="GET /v2/account/activities", listed=_listed)
    account = next((row["account_id"] for row in rows if row.get("account_id")), "")
    for row in rows:
        name = str(row.get("account_id") or account)  # an execution does not name its account
        statement = found.setdefault(name, Statement(account=name, fees_apart=True))
        try:
            _take(row, statement, zone)
        except Malformed as problem:
            statement.unread.append(f"activity {row.get('id')}: {problem}")
    return list(found.values())


def _listed(page: Any) -> Any:
    return page if isinstance(page, list) else [page]


def _take(row: Row, statement: Statement, zone: ZoneInfo) -> None:
    kind = str(row["activity_type"])
    if row.get("status") in NOT_HAPPENED:
        statement.notes.append(f"{kind} {row.get('id')} is {row['status']}: it moved nothing")
    elif kind == "FILL":
        statement.trades.append(_trade(row))
    elif row.get("net_amount") is None and row.get("qty") is None:
        raise Malformed("no_amount", f"{kind} has neither net_amount nor qty")
    # a payment in units, as a fee in a coin, moves those: the desk knows none such
    elif kind in MOVES or (kind in PAYMENTS and (_amount(row, "net_amount") or not _amount(row, "qty"))):
        statement.movements.append(_movement(row, kind, zone))
    else:
        statement.movements.append(_unknown(row, kind, zone))


def _trade(row: Row) -> StatementTrade:
    ((fill,), _) = read_fills(_as_page(row))
    return StatementTrade(
        execution=fill.execution_id,
        order=fill.venue_order_id,
        symbol=fill.symbol,
        units=fill.side.sign * fill.quantity,
        price=fill.price,
        currency="USD",
        ts_ns=fill.ts_event_ns,
    )


def _movement(row: Row, kind: str, zone: ZoneInfo) -> Movement:
    ((activity,), _) = read_activities(_as_page(row))
    ts_ns = activity.ts_event_ns
    if not row.get("created_at"):  # the day alone is that of New York
        ts_ns = _midnight_ns(str(row.get("date")), zone)
    return Movement(
        reference=activity.activity_id,
        kind=kind,
        cause=activity.cause,
        symbol=activity.symbol,
        units=activity.quantity_change,
        cash=activity.cash_change,
        currency=str(row.get("currency") or "USD"),
        ts_ns=ts_ns,
        has_time=bool(row.get("created_at")),
        charges_day=activity.charges_day,
    )


def _unknown(row: Row, kind: str, zone: ZoneInfo) -> Movement:
    """Keep an activity of a kind that the desk does not know."""
    day, at = row.get("date"), row.get("created_at") or row.get("transaction_time")
    return Movement(
        reference=f"{row.get('id')}/{kind}",
        kind=kind,
        cause=None,
        symbol=str(row.get("symbol") or ""),
        units=_amount(row, "qty"),
        cash=_amount(row, "net_amount"),
        currency=str(row.get("currency") or "USD"),
        ts_ns=ns_of_text(str(at)) if at else _midnight_ns(str(day), zone),
        has_time=bool(at),
    )


def _amount(row: Row, name: str) -> Decimal:
    try:
        return Decimal(str(row.get(name) or ZERO))
    except InvalidOperation:
        raise Malformed(f"bad_{name}", str(row.get(name))) from None


def _midnight_ns(day: str, zone: ZoneInfo) -> int:
    try:
        return to_ns(datetime.combine(date.fromisoformat(day), time(), tzinfo=zone))
    except ValueError:
        raise Malformed("bad_date", day) from None


def _as_page(row: Row) -> bytes:
    return json.dumps([row], default=str).encode()


STATEMENTS = StatementSpec(
    name="alpaca",
    summary="answers of GET /v2/account/activities in JSON, one page after another",
    zone="America/New_York",
    read=read,
)
