"""The real days under the embedded market: S&P 500 open, high, low, close and the VIX, 2014 to 2018.

Both series are files inside the installed ``arch`` package. They are read as text: importing ``arch``
costs seconds because it brings pandas and statsmodels.
"""

import csv
import gzip
import io
import math
from bisect import bisect_left
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from scalpdesk.core.errors import DataError

FIRST_YEAR, LAST_YEAR = 2014, 2018


@dataclass(frozen=True, slots=True)
class MarketDay:
    """One real day of the index."""

    day: date
    open: float
    high: float
    low: float
    close: float
    """Index points."""
    volume: float
    """Shares traded in the index members."""
    vix: float
    """Closing level of the VIX in points."""
    previous_close: float
    previous_vix: float
    """Levels at the close before; the day's own VIX on 2014-01-03, where the series begins."""

    @property
    def garman_klass_variance(self) -> float:
        """Variance of the session's log return after Garman and Klass (1980), from the four prices.

        ½·ln(H/L)² − (2·ln 2 − 1)·ln(C/O)²; an estimate for the open to the close, not annualised.
        """
        span, move = math.log(self.high / self.low), math.log(self.close / self.open)
        return 0.5 * span**2 - (2.0 * math.log(2.0) - 1.0) * move**2


def available_sessions() -> tuple[date, ...]:
    """Return every session that can be reconstructed, in order (2014-01-03 to 2018-12-31)."""
    return tuple(_days())


def is_available(session: date) -> bool:
    """Return whether ``session`` can be reconstructed."""
    return session in _days()


def market_day(session: date) -> MarketDay:
    """Return the real figures of ``session``.

    Raises
    ------
    DataError
        When the embedded market does not hold that day; names its range and the nearest sessions.
    """
    days = _days()
    found = days.get(session)
    if found is not None:
        return found
    known = tuple(days)
    place = bisect_left(known, session)
    around = [known[i].isoformat() for i in (place - 1, place) if 0 <= i < len(known)]
    raise DataError(
        f"the embedded market holds {len(known)} sessions, {known[0]} to {known[-1]}, and not this day",
        where="session",
        value=session.isoformat(),
        nearest=" or ".join(around),
        fix=f"use --session {around[-1]}, or import recorded data for the day you want",
    )


@lru_cache(maxsize=1)
def _days() -> dict[date, MarketDay]:
    """Read both files once; about 10 ms."""
    vix = {us_date(row[0]): float(row[1]) for row in index_rows("vix") if row[1] not in {"", "."}}
    days: dict[date, MarketDay] = {}
    previous_close, previous_vix = math.nan, math.nan
    for row in index_rows("sp500"):
        day = us_date(row[0])
        if not FIRST_YEAR <= day.year <= LAST_YEAR:
            continue
        opened, high, low, close = (float(text) for text in row[1:5])
        level = vix.get(day)
        if level is not None:
            days[day] = MarketDay(
                day, opened, high, low, close, float(row[6]), level,
                previous_close=opened if math.isnan(previous_close) else previous_close,
                previous_vix=level if math.isnan(previous_vix) else previous_vix,
            )  # fmt: skip
            previous_vix = level
        previous_close = close
    return days


def us_date(text: str) -> date:
    """Read a date written month/day/year."""
    month, day, year = text.split("/")
    return date(int(year), int(month), int(day))


def index_rows(name: str) -> list[list[str]]:
    """Rows of ``arch/data/<name>/<name>.csv.gz`` without the header."""
    spec = find_spec("arch")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    for place in places:
        path = Path(place) / "data" / name / f"{name}.csv.gz"
        if path.is_file():
            text = gzip.decompress(path.read_bytes()).decode("ascii")
            return list(csv.reader(io.StringIO(text)))[1:]
    raise DataError(
        "the daily figures under the embedded market are not installed",
        where=f"arch/data/{name}/{name}.csv.gz",
        fix="pip install 'arch>=7.0'",
    )
