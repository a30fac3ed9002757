"""The slow facts beside the quotes: dividends, splits, rates, contract months."""

import calendar
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from scalpdesk.core.errors import DataError, nearest_name
from scalpdesk.datasets.store import day_file, read_columns
from scalpdesk.instruments.contract import Future, TickRule
from scalpdesk.marketdata.tape import CashDividend, RateCurve

FUTURES: dict[str, tuple[int, Decimal]] = {
    "ES": (50, Decimal("0.25")),
    "MES": (5, Decimal("0.25")),
    "NQ": (20, Decimal("0.25")),
    "MNQ": (2, Decimal("0.25")),
    "YM": (5, Decimal(1)),
    "RTY": (50, Decimal("0.10")),
}
"""Root to (US dollars an index point, tick in points), CME contract specifications."""


def future_contract(symbol: str) -> Future:
    """Build a dated index future from ``ROOT_yyyymm``; it expires on the month's third Friday.

    Raises
    ------
    DataError
        When the root's contract terms are not known or the symbol has another form.
    """
    root, _, month = symbol.partition("_")
    if root not in FUTURES or len(month) != 6 or not month.isdigit() or not 1 <= int(month[4:]) <= 12:
        raise DataError(
            f"a future is written ROOT_yyyymm with a root among {', '.join(FUTURES)}",
            where="symbol",
            value=symbol,
            nearest=nearest_name(root, FUTURES),
            fix="rename it in the file that is imported, e.g. ES_201312",
        )
    multiplier, tick = FUTURES[root]
    year, number = int(month[:4]), int(month[4:])
    fridays = [
        week[calendar.FRIDAY] for week in calendar.monthcalendar(year, number) if week[calendar.FRIDAY]
    ]
    return Future(symbol, root, date(year, number, fridays[2]), TickRule(tick, tick), multiplier=multiplier)


def upcoming_dividends(
    connection: Any, catalog: Path, name: str, symbol: str, first: date, last: date
) -> tuple[tuple[CashDividend, ...], list[str]]:
    """Return the dividends with ex-dates from ``first`` to ``last``, and notes on splits in between."""
    path = day_file(catalog, name, "corporate_actions", symbol, "all")
    if not path.is_file():
        return (), []
    got = read_columns(
        connection,
        [path],
        "SELECT strftime(ex_date, '%Y-%m-%d') AS day, action, amount::VARCHAR AS amount FROM rows "
        "WHERE ex_date BETWEEN ? AND ? ORDER BY ex_date, action",
        [first, last],
    )
    dividends: list[CashDividend] = []
    notes: list[str] = []
    for day, action, amount in zip(got["day"], got["action"], got["amount"], strict=True):
        if action == "dividend":
            dividends.append(CashDividend(symbol, date.fromisoformat(day), Decimal(amount).normalize() + 0))
        else:
            notes.append(
                f"{day}: {action} of {symbol}, factor {Decimal(amount).normalize()}; prices are unadjusted"
            )
    return tuple(dividends), notes


def rate_curve_on(connection: Any, path: Path, day: date) -> RateCurve | None:
    """Return the rate in force on ``day`` as a flat curve, or None when the set has no rates."""
    if not path.is_file():
        return None
    got = read_columns(
        connection, [path], "SELECT rate FROM rows WHERE date <= ? ORDER BY date DESC LIMIT 1", [day]
    )
    return RateCurve((1.0,), (float(got["rate"][0]),)) if len(got["rate"]) else None
