"""The weights of the session clock and the U shape, measured again on recorded bars."""

from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pytest

from scalpdesk.volatility.variance_time import US_SESSIONS
from tests.golden.intraday_profile import IntradayBars, intraday_profile

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
NEW_YORK = ZoneInfo("America/New_York")
WEIGHTS = US_SESSIONS.weights
SMOOTHED_SESSIONS = 43

FOMC_2013_2019 = {
    2013: "01-30 03-20 05-01 06-19 07-31 09-18 10-30 12-18",
    2014: "01-29 03-19 04-30 06-18 07-30 09-17 10-29 12-17",
    2015: "01-28 03-18 04-29 06-17 07-29 09-17 10-28 12-16",
    2016: "01-27 03-16 04-27 06-15 07-27 09-21 11-02 12-14",
    2017: "02-01 03-15 05-03 06-14 07-26 09-20 11-01 12-13",
    2018: "01-31 03-21 05-02 06-13 08-01 09-26 11-08 12-19",
    2019: "01-30 03-20 05-01 06-19 07-31 09-18 10-30 12-11",
}
"""Days of scheduled statements, as the Board published them."""

pytestmark = [
    pytest.mark.recorded,
    pytest.mark.skipif(not DATA.is_dir(), reason="the recorded data is not beside the project"),
]


def rows_of(path, columns, where="true"):
    with duckdb.connect() as connection:
        query = f"SELECT {columns} FROM read_parquet(?) WHERE {where} ORDER BY 1"
        return connection.execute(query, [str(DATA / path)]).fetchall()


def level(values):
    """Mean of the sessions around each, fewer at the ends of the sample but over the same count."""
    return np.convolve(values, np.ones(SMOOTHED_SESSIONS) / SMOOTHED_SESSIONS, "same")


def test_nights_weekends_and_holidays():
    rows = rows_of("daily_history/equity_daily.parquet", "date, open, close", "symbol = 'SPY'")
    days = [row[0] for row in rows]
    opens, closes = np.array([row[1:] for row in rows]).T
    normal = level(np.square(np.log(closes / opens)))
    squares = np.square(np.log(opens[1:] / closes[:-1])) / normal[1:]
    lengths = np.array([(after - before).days for before, after in pairwise(days)])
    fridays = np.array([day.weekday() == 4 for day in days[:-1]])
    # SPY goes ex-dividend on the third Friday of a quarter's last month; prices are unadjusted
    paying = np.array([d.month % 3 == 0 and d.weekday() == 4 and 15 <= d.day <= 21 for d in days[1:]])
    night, weekend = lengths == 1, (lengths == 3) & fridays
    longer = (lengths == 2) | ((lengths >= 4) & (lengths <= 6))
    for kind, weight, standard_error in (
        (night, WEIGHTS.night, 0.018),
        (weekend, WEIGHTS.weekend, 0.063),
        (longer, WEIGHTS.holiday, 0.114),
    ):
        measured = squares[kind & ~paying]
        assert measured.mean() == pytest.approx(weight, abs=0.005)
        assert measured.std() / len(measured) ** 0.5 == pytest.approx(standard_error, abs=0.001)


def hourly():
    """Day -> hour -> (open, close), New York."""
    by_day = {}
    for start, opened, closed in rows_of(
        "daily_history/spy_hourly.parquet", "epoch_us(bar_start), open, close"
    ):
        at = datetime.fromtimestamp(start / 1e6, UTC).astimezone(NEW_YORK)
        by_day.setdefault(at.date(), {})[at.hour] = (opened, closed)
    return by_day


def squares_by_hour(hours, bars):
    """Squared returns hour by hour, the first from the open."""
    closes = [bars[hour][1] for hour in hours]
    return np.square(np.diff(np.log([bars[hours[0]][0], *closes])))


def test_the_profile_by_hour_and_half_days():
    by_day = hourly()
    whole = [bars for bars in by_day.values() if set(bars) == set(range(9, 16))]
    squares = np.array([squares_by_hour(range(9, 16), bars) for bars in whole])
    normal = level(squares.sum(axis=1))
    shares = (squares / normal[:, None]).mean(axis=0)
    np.testing.assert_allclose(shares / shares.sum(), WEIGHTS.profile, atol=0.0015)
    days = [day for day, bars in by_day.items() if set(bars) == set(range(9, 16))]
    short = {day: bars for day, bars in by_day.items() if set(bars) == {9, 10, 11, 12}}
    near = np.searchsorted(days, list(short)) - 1
    sums = [squares_by_hour(range(9, 13), bars).sum() for bars in short.values()]
    assert len(short) == 29
    assert (np.array(sums) / normal[near]).mean() == pytest.approx(WEIGHTS.half_day, abs=0.01)


def test_fomc_statements():
    by_day = hourly()
    statements = {
        date.fromisoformat(f"{year}-{day}") for year, days in FOMC_2013_2019.items() for day in days.split()
    }
    days = [day for day, bars in by_day.items() if set(bars) == set(range(9, 16))]
    squares = np.array([squares_by_hour(range(9, 16), by_day[day]) for day in days])
    relative = squares / level(squares.sum(axis=1))[:, None]
    on = np.array([day in statements for day in days])
    off = np.array([2013 <= day.year <= 2019 for day in days]) & ~on
    assert on.sum() == 56
    added = relative[on].mean(axis=0) - relative[off].mean(axis=0)
    # the hour from 14:00 and the last one; before the statement the market waits
    assert added[5] == pytest.approx(0.83, abs=0.01)
    assert added[6] == pytest.approx(0.22, abs=0.01)
    assert added[:5].sum() < -0.2
    assert sum(WEIGHTS.announcement) == pytest.approx(added.sum(), abs=0.01)
    assert WEIGHTS.announcement[0] / WEIGHTS.announcement[1] == pytest.approx(added[5] / added[6], rel=0.06)


def test_six_sessions_of_minutes_show_the_same_shape():
    by_day = {}
    for start, *prices in rows_of(
        "spy_bars_2013-10/underlying_trade.parquet", "epoch_us(bar_start), open, high, low, close"
    ):
        at = datetime.fromtimestamp(start / 1e6, UTC).astimezone(NEW_YORK)
        minute = at.hour * 60 + at.minute - 570
        if 0 <= minute < 390:
            by_day.setdefault(at.date(), []).append((minute, *prices))
    sessions = []
    for rows in by_day.values():
        minutes, *columns = zip(*rows, strict=True)
        sessions.append(
            IntradayBars(minutes, dict(zip(("open", "high", "low", "close"), columns, strict=True)))
        )
    profile = intraday_profile(sessions)
    assert profile.sessions == 6
    assert profile.dropped == ()
    by_hour = [profile.shares[0], *profile.shares[1:].reshape(6, 2).sum(axis=1)]
    np.testing.assert_allclose(by_hour, WEIGHTS.profile, atol=0.06)
    assert profile.shares[0] > 1.5 / 13
    assert profile.shares[4:9].mean() < 1.0 / 13
