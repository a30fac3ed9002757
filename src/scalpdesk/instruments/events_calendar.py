"""Scheduled announcements that a short-dated option trader plans around.

FOMC statement dates: Federal Reserve releases of 9 August 2024 (2025, 2026) and 5 September 2025
(2027, tentative); 2024 as published by the Board. Unscheduled meetings are not covered.
"""

from datetime import date, time

from scalpdesk.instruments.sessions import NEW_YORK, from_ns, new_york_ns

FOMC_STATEMENT_TIME = time(14, 0)
_FOMC = {
    2024: ("01-31", "03-20", "05-01", "06-12", "07-31", "09-18", "11-07", "12-18"),
    2025: ("01-29", "03-19", "05-07", "06-18", "07-30", "09-17", "10-29", "12-10"),
    2026: ("01-28", "03-18", "04-29", "06-17", "07-29", "09-16", "10-28", "12-09"),
    2027: ("01-27", "03-17", "04-28", "06-09", "07-28", "09-15", "10-27", "12-08"),
}
FOMC_STATEMENT_DAYS = frozenset(
    date.fromisoformat(f"{year}-{day}") for year, days in _FOMC.items() for day in days
)


def fomc_blocked(ts_ns: int, minutes: int = 30) -> bool:
    """Return whether ``ts_ns`` lies within ``minutes`` of an FOMC statement, both ends included."""
    day = from_ns(ts_ns).astimezone(NEW_YORK).date()
    if day not in FOMC_STATEMENT_DAYS:
        return False
    return abs(ts_ns - new_york_ns(day, FOMC_STATEMENT_TIME)) <= minutes * 60 * 1_000_000_000
