"""Checks of daily bars: what a history must be before volatility, forecasts and risk are worked out of it.

Bars that come twice and days without a session are left out, splits of the built-in table are adjusted for,
and each is named. What cannot be told is refused: several bars of one day that differ, bars of a week or a
month, more holes than a history has, and a jump as of a split that is not booked.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import DataError
from scalpdesk.core.units import count_text
from scalpdesk.datasets.booked_actions import known_actions
from scalpdesk.instruments.classes import INDICES
from scalpdesk.instruments.sessions import FIRST_DAY, LAST_DAY, SATURDAY, session_days, to_new_york, to_ns
from scalpdesk.volatility.ohlc import COLUMNS

_MOST_APART = 1.5
"""Median of the days between two daily bars, from which they are of more than a day."""
_FEW = 5
"""Bars too few to tell how far apart they lie."""
_EQUAL = 1e-6
"""Part of a price by which equal ones may differ that were once of single precision."""
_LONG_HOLE = 5
"""Sessions missing in a row, after which a history begins anew."""
_MOST_MISSING = 0.05
"""Part of the sessions whose lack a history survives."""
_RATIOS = (1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50, 100, 1000)
"""Ratios of a split, or of two units, that a price alone shows."""
_BOOKED_MOVE = 0.12
"""Log move of a night beside a split of the built-in table."""
_NIGHTS, _RANGES, _LEAST_NIGHT = 4.0, 3.0, 0.02
"""Usual nights and ranges of a day within which a jump is the ratio's alone; and the least such night."""
_NO_MOVE = 8
"""Ratio over a night that no market makes."""
_NEAR = 0.15
"""Part of a ratio's log by which a jump is off it at most."""
_USUAL = 60
"""Bars before a night that say what is usual."""


class SoundBars(NamedTuple):
    """Daily bars, oldest first, and what was done to them."""

    days: tuple[date, ...]
    bars: dict[str, list[float]]
    notes: tuple[str, ...]


def bar_day(text: str) -> date:
    """Return the session of a daily bar, of a date or of a time as vendors write it.

    A midnight of whatever zone stands for its own date; another time with a zone is that instant in New York.
    Raises ValueError for any other text.

    >>> bar_day("2018-02-05 00:00:00-05:00"), bar_day("2018-02-05T21:00:00Z")
    (datetime.date(2018, 2, 5), datetime.date(2018, 2, 5))
    """
    moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is None or moment.time() == datetime.min.time():
        return moment.date()
    return to_new_york(to_ns(moment)).date()


def sound_bars(
    symbol: str, where: str, days: Sequence[date], bars: Mapping[str, Sequence[float]], *, trades_daily: bool
) -> SoundBars:
    """Return daily bars as a history needs them.

    ``where``: File or data set, for errors.
    ``days``, ``bars``: Oldest first; prices per unit by column.
    ``trades_daily``: Whether the market never closes; otherwise sessions are those of the US exchanges.

    Raises DataError, naming the day, when the bars are not of days, contradict one another, or jump as by a
    split.
    """
    prices = np.array([[float(price) for price in bars[name]] for name in COLUMNS]).reshape(4, -1)
    at = np.array([day.toordinal() for day in days], dtype=np.int64)
    notes: list[str] = []
    kept = _once(symbol, where, at, prices, notes)
    at, prices = at[kept], prices[:, kept]
    if len(at) > _FEW and float(np.median(np.diff(at))) > _MOST_APART:
        raise DataError(
            f"the bars of {symbol} lie {np.median(np.diff(at)):g} days apart: they are not of days",
            where=where,
            value=f"{_day(at[-2])}, {_day(at[-1])}",
            fix="take daily bars",
        )
    if not trades_daily:
        kept = _in_sessions(at, notes)
        at, prices = at[kept], prices[:, kept]
    first = _after_holes(symbol, where, at, notes, trades_daily=trades_daily)
    at, prices = at[first:], prices[:, first:]
    _adjust_known_splits(symbol, at, prices, notes)
    if symbol not in INDICES and not trades_daily:  # only a share is split
        _refuse_jump(symbol, where, at, prices)
    columns = {name: prices[row].tolist() for row, name in enumerate(COLUMNS)}
    return SoundBars(tuple(map(_day, at)), columns, tuple(notes))


def _day(ordinal: int) -> date:
    return date.fromordinal(int(ordinal))


def _once(
    symbol: str, where: str, at: NDArray[np.int64], prices: NDArray[np.float64], notes: list[str]
) -> NDArray[np.bool_]:
    """Return which bars are the first of their day; refuse those that contradict it."""
    again = np.diff(at, prepend=-1) == 0
    single: NDArray[np.bool_] = ~again
    if not again.any():
        return single
    first = np.maximum.accumulate(np.where(again, 0, np.arange(len(at))))
    equal = np.isclose(prices, prices[:, first], rtol=_EQUAL, equal_nan=True)
    differ = again & ~equal.all(axis=0)
    if differ.any():
        row = int(np.argmax(differ))
        column = int(np.argmin(equal[:, row]))
        one, other = prices[column, first[row]], prices[column, row]
        raise DataError(
            f"{symbol} has several bars of one day with other prices: {count_text(int(differ.sum()), 'row')}",
            where=where,
            value=f"{_day(at[row])}: {COLUMNS[column]} {one:.8g} and {other:.8g}",
            fix="keep one bar a day; bars within a day are not daily bars",
        )
    notes.append(
        f"{count_text(int(again.sum()), 'day')} of {symbol} twice with equal prices: one of each counts"
    )
    return single


def _in_sessions(at: NDArray[np.int64], notes: list[str]) -> NDArray[np.bool_]:
    """Return which bars lie on sessions of the exchange; those beyond its calendar lie on weekdays."""
    known = (at >= FIRST_DAY.toordinal()) & (at <= LAST_DAY.toordinal())
    is_open: NDArray[np.bool_] = (at - 1) % 7 < SATURDAY
    if known.any():
        is_open[known] &= np.isin(at[known], _sessions(_day(at[known][0]), _day(at[known][-1])))
    if not is_open.all():
        closed = np.flatnonzero(~is_open)
        notes.append(
            f"{count_text(len(closed), 'bar')} of days without a session left out: {_day(at[closed[0]])}, .."
        )
    return is_open


def _sessions(first: date, last: date) -> NDArray[np.int64]:
    return np.array([day.toordinal() for day in session_days(first, last)], dtype=np.int64)


def _after_holes(
    symbol: str, where: str, at: NDArray[np.int64], notes: list[str], *, trades_daily: bool
) -> int:
    """Return the bar after the last long hole; refuse a history that is full of short ones."""
    if len(at) < 2:
        return 0
    number = at
    if not trades_daily:
        known = at >= FIRST_DAY.toordinal()
        weeks, past = np.divmod(at - 1, 7)
        number = weeks * 5 + np.minimum(past, 4)  # before the calendar weekdays stand for sessions
        if known.any():
            there = _sessions(_day(at[known][0]), _day(at[known][-1]))
            number = np.where(known, np.searchsorted(there, at) + number[known][0], number)
    missing = np.diff(number) - 1
    long = np.flatnonzero(missing > _LONG_HOLE)
    first = int(long[-1]) + 1 if len(long) else 0
    if first:
        before, after = _day(at[first - 1]), _day(at[first])
        notes.append(
            f"{missing[first - 1]} sessions of {symbol} are missing between {before} and {after}: "
            "the history begins after them"
        )
    short = np.where(at[1:] > FIRST_DAY.toordinal(), missing, 0)[first:]
    lacking, total = int(short.sum()), int(number[-1] - number[first]) + 1
    if not lacking:
        return first
    row = first + int(np.argmax(short > 0))
    where_first = f"the first after {_day(at[row])}"
    if len(at) > _USUAL and lacking > _MOST_MISSING * total:
        raise DataError(
            f"{lacking} of {total} sessions of {symbol} are missing",
            where=where,
            value=where_first,
            fix="take a history with every session: a return over a hole is not a day's",
        )
    notes.append(f"{count_text(lacking, 'session')} of {symbol} missing, {where_first}")
    return first


def _adjust_known_splits(
    symbol: str, at: NDArray[np.int64], prices: NDArray[np.float64], notes: list[str]
) -> None:
    """Adjust the prices before a split of the built-in table that they show; adjusted ones show none."""
    for action in known_actions().get(symbol, ()):
        row = int(np.searchsorted(at, action.ex_date.toordinal()))
        if action.kind != "split" or not 0 < row < len(at):
            continue
        ratio = 1.0 / float(action.amount)
        if abs(math.log(prices[3, row - 1] / prices[0, row] / ratio)) < min(
            _BOOKED_MOVE, 0.5 * abs(math.log(ratio))
        ):
            prices[:, :row] /= ratio
            notes.append(f"adjusted for the split of {ratio:g} for 1 on {action.ex_date}; dividends are not")


def _refuse_jump(symbol: str, where: str, at: NDArray[np.int64], prices: NDArray[np.float64]) -> None:
    """Refuse a night over which the price changes as by a split, in a day that is as usual otherwise.

    A crash has a wild day on its other side, and no round ratio.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        opens, highs, lows, closes = np.log(prices)
    nights, ranges = opens[1:] - closes[:-1], highs - lows
    for place in np.flatnonzero(np.abs(nights) > 0.5 * math.log(_RATIOS[0])):
        night, since = float(nights[place]), max(int(place) - _USUAL, 0)
        ratio = min(_RATIOS, key=lambda each: abs(abs(night) - math.log(each)))
        usual_night = float(np.median(np.abs(nights[since:place]))) if place else 0.0
        usual_range = float(np.median(ranges[since : place + 1]))
        near = min(max(_NIGHTS * usual_night, _LEAST_NIGHT), _NEAR * math.log(ratio))
        is_near = abs(abs(night) - math.log(ratio)) <= near
        # where days range as far as that, the night is one of them (GME, January 2021)
        is_usual_day = (
            ranges[place + 1] <= max(_RANGES * usual_range, _LEAST_NIGHT)
            and abs(night) > _RANGES * usual_range
        )
        if abs(night) > math.log(_NO_MOVE):
            ratio, is_near, is_usual_day = round(math.exp(abs(night)), 3), True, True
        if is_near and is_usual_day:
            day, verb = _day(at[place + 1]), "divide" if night < 0.0 else "multiply"
            raise DataError(
                f"{symbol} goes from {prices[3, place]:g} to {prices[0, place + 1]:g} over a night: as by a "
                f"split of {ratio:g} to 1 that is not booked, or in another unit",
                where=where,
                value=str(day),
                fix=f"{verb} the prices before {day} by {ratio:g}, or take adjusted ones; in a data set: "
                "scalpdesk data actions NAME FILE",
            )
