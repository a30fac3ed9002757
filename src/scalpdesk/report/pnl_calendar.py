"""The calendar of P&L of a run, or of several: by day, month, weekday, hour, days to expiry and regime.

Each table sums to the total of the days. Sessions and trades are those of the runs' reports.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from scalpdesk.core.units import ZERO
from scalpdesk.report.run_report import RunReport
from scalpdesk.report.session_tables import VIX_BUCKETS, SessionPnl, divided_to_cents, grouped, vix_bucket

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_EXPIRY_BUCKETS = ((0, 0), (1, 1), (2, 7), (8, 30), (31, 60))
"""Days from a trade's opening to its nearest expiry, first and last; more are the last bucket."""
NO_TRADE = "outside of trades"


class DayResult(NamedTuple):
    """What a session of a run earned."""

    session: str
    pnl: Decimal
    hours: Mapping[int, Decimal]
    """Exact, by the hour of the New York clock."""
    vix_before: float | None


_ExpiryResult = tuple[int, Decimal]
"""Days from a trade's opening to its nearest expiry, and what it earned."""


def calendar_of(days: Sequence[DayResult], trades: Iterable[_ExpiryResult], unit: Decimal) -> dict[str, Any]:
    """Return the tables of a calendar in JSON types, each row with ``name`` and ``pnl``.

    ``days``, ``trades``: Of one run or of several of one currency.
    ``unit``: Smallest unit of the account.
    """
    total = sum((day.pnl for day in days), ZERO)
    by_day: defaultdict[str, Decimal] = defaultdict(Decimal)
    vix = {day.session: day.vix_before for day in days}
    hours: defaultdict[int, Decimal] = defaultdict(Decimal)
    for day in days:
        by_day[day.session] += day.pnl
        for hour, pnl in day.hours.items():
            hours[hour] += pnl
    sessions = [SessionPnl(name, by_day[name], {}, 0.0, vix[name]) for name in sorted(by_day)]
    groups = grouped(sessions)
    return {
        "total": f"{total:f}",
        "days": [_row(each.session, each.pnl) for each in sessions],
        "months": _named(groups["month"], sorted(groups["month"])),
        "weekdays": _named(groups["weekday"], _WEEKDAYS),
        "hours": _shares({f"{hour:02d}:00": hours[hour] for hour in sorted(hours)}, total, unit),
        "days_to_expiry": _by_expiry(trades, total, unit),
        "regimes": _named(groups["vix"], [vix_bucket(level) for level in (0.0, *VIX_BUCKETS, None)]),
    }


def calendar_of_report(report: RunReport, unit: Decimal) -> dict[str, Any]:
    """Return the calendar of one run from its report."""
    days = [
        DayResult(each.session, each.pnl, report.hours.get(each.session, {}), each.vix_before)
        for each in report.sessions
    ]
    trades = [(each.days_to_expiry, each.pnl) for each in report.trades or ()]
    return calendar_of(days, trades, unit)


def _row(name: str, pnl: Decimal | str, **counted: Any) -> dict[str, Any]:
    """Return a row of a table; what it does not count is None."""
    counts = {"sessions": None, "trades": None, "hit_rate": None}
    return {"name": name, "pnl": f"{Decimal(pnl):f}"} | counts | counted


def _named(group: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> list[dict[str, Any]]:
    return [_row(name, **group[name]) for name in names if name in group]


def _shares(amounts: Mapping[str, Decimal], total: Decimal, unit: Decimal) -> list[dict[str, Any]]:
    """Return amounts, rounded so that they sum to the total."""
    if not amounts:
        return []
    rounded = divided_to_cents(amounts, total, unit)
    return [_row(name, pnl) for name, pnl in rounded.items()]


def _by_expiry(trades: Iterable[_ExpiryResult], total: Decimal, unit: Decimal) -> list[dict[str, Any]]:
    """Return P&L and number of trades by days to expiry; what was earned outside of trades has a row."""
    amounts: defaultdict[Hashable, Decimal] = defaultdict(Decimal)
    counts: defaultdict[Hashable, int] = defaultdict(int)
    for days, pnl in trades:
        name = _expiry_bucket(days)
        amounts[name] += pnl
        counts[name] += 1
    names = [_expiry_bucket(first) for first, _ in _EXPIRY_BUCKETS]
    names.append(_expiry_bucket(_EXPIRY_BUCKETS[-1][1] + 1))
    found = {name: amounts[name] for name in names if name in amounts}
    rest = total - sum(found.values(), ZERO)
    if abs(rest) >= unit:
        found[NO_TRADE] = rest
    return [row | {"trades": counts[row["name"]]} for row in _shares(found, total, unit)]


def _expiry_bucket(days: int) -> str:
    """Return the name of the bucket of so many days to expiry.

    >>> _expiry_bucket(0), _expiry_bucket(5), _expiry_bucket(90)
    ('0', '2 to 7', '61 and more')
    """
    for first, last in _EXPIRY_BUCKETS:
        if days <= last:
            return f"{first}" if first == last else f"{first} to {last}"
    return f"{_EXPIRY_BUCKETS[-1][1] + 1} and more"
