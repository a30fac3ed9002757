"""A daily history is checked as a tape is: doubles, closed days, holes, bars of weeks, unbooked splits."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.daily_checks import bar_day, sound_bars
from scalpdesk.datasets.daily_history import find_history, packaged_history
from scalpdesk.instruments.sessions import session_days
from scalpdesk.volatility import forecast_vol


@pytest.fixture(scope="module")
def history():
    whole = packaged_history("sp500").before(date(2018, 2, 3), 900)
    return list(whole.days), {name: np.array(column) for name, column in whole.bars.items()}


def sound(days, bars, symbol="SPY", *, trades_daily=False):
    return sound_bars(symbol, "daily.csv", days, bars, trades_daily=trades_daily)


def taken(bars, rows):
    return {name: column[rows] for name, column in bars.items()}


def forecast(made):
    return forecast_vol(made.bars).vol


def test_a_sound_history_stays_as_it_is(history):
    days, bars = history
    made = sound(days, bars)
    assert made.days == tuple(days)
    assert made.notes == ()
    assert all(made.bars[name] == column.tolist() for name, column in bars.items())


def test_days_that_come_twice_count_once(history):
    days, bars = history
    rows = np.sort(np.r_[np.arange(len(days)), np.arange(len(days) - 60, len(days))])
    made = sound([days[row] for row in rows], taken(bars, rows))
    assert made.days == tuple(days)
    assert "60 days" in made.notes[0]
    assert forecast(made) == forecast(sound(days, bars))


def test_two_bars_of_one_day_that_differ_are_refused(history):
    days, bars = history
    rows = np.r_[np.arange(len(days)), len(days) - 1]
    other = taken(bars, rows)
    other["close"][-1] *= 1.001
    with pytest.raises(DataError) as refused:
        sound([days[row] for row in rows], other)
    assert str(days[-1]) in str(refused.value.value)


def filled(days, bars):
    """Every day of the calendar, the last session's close on those without one, as some vendors write it."""
    rows, all_days = [], []
    for row, day in enumerate(days):
        while all_days and all_days[-1] + timedelta(days=1) < day:
            all_days.append(all_days[-1] + timedelta(days=1))
            rows.append(row - 1)
        all_days.append(day)
        rows.append(row)
    made = taken(bars, np.array(rows))
    stale = np.array([day not in set(days) for day in all_days])
    for name in ("open", "high", "low"):
        made[name][stale] = made["close"][stale]
    return all_days, made


def test_filled_week_ends_are_left_out_of_a_share_and_stay_in_a_coin(history):
    days, bars = history
    all_days, made = filled(days, bars)
    found = sound(all_days, made)
    assert found.days == tuple(days)
    assert forecast(found) == forecast(sound(days, bars))
    assert found.notes
    assert sound(all_days, made, "BTC", trades_daily=True).days == tuple(all_days)


@pytest.mark.rows("step", (5, 21))
def test_bars_of_weeks_and_months_are_no_days(step, history):
    days, bars = history
    rows = np.arange(0, len(days), step)
    with pytest.raises(DataError, match="not of days"):
        sound([days[row] for row in rows], taken(bars, rows))


def test_a_history_begins_after_a_long_hole(history):
    days, bars = history
    rows = np.r_[np.arange(300), np.arange(315, len(days))]
    made = sound([days[row] for row in rows], taken(bars, rows))
    assert made.days == tuple(days[315:])
    assert "15 sessions" in made.notes[0]


def test_short_holes_are_counted_and_too_many_refused(history):
    days, bars = history
    few = np.delete(np.arange(len(days)), [100, 101, 400])
    assert "3 sessions" in sound([days[row] for row in few], taken(bars, few)).notes[0]
    many = np.delete(np.arange(len(days)), np.arange(3, len(days), 7))
    with pytest.raises(DataError, match="are missing"):
        sound([days[row] for row in many], taken(bars, many))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.sampled_from([1 / 20, 0.1, 0.25, 1 / 3, 0.5, 2 / 3, 1.5, 2.0, 10.0, 100.0]),
    st.integers(65, 880),
)
def test_an_unbooked_split_is_refused_on_its_day(ratio, place):
    whole = packaged_history("sp500").before(date(2018, 2, 3), 900)
    days, bars = whole.days, {name: np.array(column) for name, column in whole.bars.items()}
    for column in bars.values():
        column[place:] *= ratio
    ranges = np.log(bars["high"] / bars["low"])
    if ranges[place] > 3.0 * np.median(ranges[place - 60 : place]):
        return  # a wild day: it may be a crash
    with pytest.raises(DataError) as refused:
        sound(days, bars, "XYZ")
    assert refused.value.value == str(days[place])


def bars_of(*rows):
    """Bars of sessions from 2024-03-18 on, of open, high, low and close."""
    days = session_days(date(2024, 3, 18), date(2024, 6, 28))[: len(rows)]
    columns = np.array(rows).T
    return list(days), dict(zip(("open", "high", "low", "close"), columns, strict=True))


def test_a_reverse_split_of_190_on_a_wild_day_is_no_move():
    """BCAN of 2024-03-22, as yfinance issue 2002 has it."""
    cents = [(0.021, 0.021, 0.018, 0.02), (0.024, 0.028, 0.019, 0.021), (0.021, 0.021, 0.018, 0.019)]
    days, bars = bars_of(*cents, (2.5, 2.69, 2.06, 2.51), (2.31, 2.43, 1.85, 1.96))
    with pytest.raises(DataError, match=r"131\.579"):
        sound(days, bars, "BCAN")


def test_a_day_in_pence_among_pounds_is_named():
    """PNL.L of 2021-10-25, as yfinance issue 1106 has it: high and close a hundred times the rest."""
    near = [(485.0 + n, 487.0 + n, 484.0 + n, 486.0 + n) for n in range(4)]
    days, bars = bars_of(*near, (488.5, 48754.21, 488.5, 48754.21), (496.0, 504.95, 493.0, 504.0))
    with pytest.raises(DataError, match="another unit"):
        sound(days, bars, "PNL")


def test_the_last_day_twice_in_single_precision_is_one_day():
    """IXIC of 2026-03-20, as FinanceDataReader issue 272 has it."""
    days, bars = bars_of(
        (21871.039062, 22187.060547, 21851.050781, 22090.689453),
        (21989.330078, 21997.089844, 21522.75, 21647.609375),
        (21989.332031, 21997.089844, 21522.75, 21647.611328),
    )
    assert len(sound([days[0], days[1], days[1]], bars, "IXIC").days) == 2


@pytest.mark.rows("fall", (0.5, 0.667, 0.75))
def test_a_crash_is_no_split(fall, history):
    """Its day is wild on the other side."""
    days, bars = history
    made = {name: column.copy() for name, column in bars.items()}
    for column in made.values():
        column[500:] *= fall
    made["low"][500] *= 0.93
    made["high"][500] *= 1.05
    assert sound(days, made, "XYZ").days == tuple(days)


def test_a_split_of_the_built_in_table_is_adjusted(history):
    """AAPL was split 4:1 on 2020-08-31; prices of earlier days stand on these."""
    _, bars = history
    days = session_days(date(2018, 1, 2), date(2021, 12, 31))[: len(bars["close"])]
    place = days.index(date(2020, 8, 31))
    split = {name: np.r_[column[:place] * 4.0, column[place:]] for name, column in bars.items()}
    made = sound(days, split, "AAPL")
    for name, column in bars.items():
        np.testing.assert_allclose(made.bars[name], column)
    assert "4 for 1" in made.notes[0]
    assert sound(days, bars, "AAPL").notes == ()


@pytest.mark.rows(
    ("text", "day"),
    [
        ("2018-02-05", date(2018, 2, 5)),
        ("2018-02-05 00:00:00-05:00", date(2018, 2, 5)),
        ("2018-02-05 00:00:00+00:00", date(2018, 2, 5)),
        ("2018-02-05T05:00:00+00:00", date(2018, 2, 5)),
        ("2018-02-05T21:00:00Z", date(2018, 2, 5)),
        ("2018-02-06T01:00:00Z", date(2018, 2, 5)),
        ("2018-02-05 16:00:00", date(2018, 2, 5)),
    ],
)
def test_the_day_of_a_bar_as_vendors_write_it(text, day):
    assert bar_day(text) == day


def test_a_file_of_hours_is_no_daily_history(tmp_path):
    rows = [
        f"2018-02-0{day} {hour}:30:00,{100 + hour},{101 + hour},{99 + hour},{100 + hour}"
        for day in (5, 6)
        for hour in (10, 11, 12)
    ]
    path = tmp_path / "hours.csv"
    path.write_text("\n".join(["Datetime,open,high,low,close".replace("Datetime", "date"), *rows]))
    with pytest.raises(DataError, match="several bars of one day"):
        find_history(tmp_path, "mine", "SPY", str(path))


def test_a_history_that_ended_long_ago_forecasts_nothing(history):
    history = packaged_history("sp500").before(date(2018, 2, 5))
    assert history.why_stale(date(2018, 2, 9)) is None
    assert "2018-02-02" in history.why_stale(date(2018, 3, 5))
