"""Daily history of 30-day implied volatility: kept, read back, and handed to the desk without look-ahead."""

import fcntl
import os
from datetime import date, timedelta

import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.core.events import TimerEvent
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.datasets import store
from scalpdesk.datasets.daily_history import vix_closes_before
from scalpdesk.datasets.embedded import market
from scalpdesk.datasets.implied_vols import (
    FILE,
    DailyImpliedVol,
    ImpliedVolHistory,
    ImpliedVolRecorder,
    implied_vol_at_close,
    implied_vol_event,
)
from scalpdesk.instruments.contract import Instruments
from scalpdesk_testing.kit.desk import HandDesk, Scripted
from scalpdesk_testing.kit.instruments import DAY as TODAY
from scalpdesk_testing.kit.instruments import option, share

DAY = date(2018, 2, 5)


def days(count, symbol="NVDA", last=DAY):
    """Return so many days up to one before ``last``, the volatility rising by 0.1 points a day."""
    first = last - timedelta(days=count)
    return [
        DailyImpliedVol(symbol, first + timedelta(days=place), round(0.2 + place / 1000, 6), "test")
        for place in range(count)
    ]


def test_what_is_kept_comes_back_and_a_later_value_replaces_an_earlier_one(tmp_path):
    history = ImpliedVolHistory(tmp_path / "catalog")
    kept = days(5)
    assert history.keep(kept) == 5
    assert history.read("NVDA") == kept
    again = DailyImpliedVol("NVDA", kept[2].session, 0.5, "other")
    assert history.keep([again]) == 5
    assert history.read("NVDA")[2] == again
    assert history.read("SPY") == []


@pytest.mark.parametrize("hangs", [False, True])
def test_desks_that_keep_a_day_at_one_close_lose_no_line_and_wait_a_second_at_most(
    tmp_path, monkeypatch, hangs
):
    history, waited = ImpliedVolHistory(tmp_path), []
    history.keep(days(3))
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)  # another desk has read the file and is about to write it

    def sleep(seconds):
        waited.append(seconds)
        if not hangs and len(waited) == 3:
            lines = history.path.read_text().splitlines()
            history.path.write_text("\n".join([*lines, "QQQ,2018-02-05,0.3,test", ""]))
            fcntl.flock(other, fcntl.LOCK_UN)

    monkeypatch.setattr(store, "sleep", sleep)
    assert history.keep([DailyImpliedVol("NVDA", DAY, 0.4, "test")]) == (4 if hangs else 5)
    assert [row.vol for row in history.read("QQQ")] == ([] if hangs else [0.3])
    assert sum(waited) == pytest.approx(1.0 if hangs else 0.03)
    os.close(other)


def test_the_event_has_the_year_before_the_last_close_and_nothing_of_the_day(tmp_path):
    history = ImpliedVolHistory(tmp_path)
    history.keep([*days(300), DailyImpliedVol("NVDA", DAY, 9.0, "of the day itself")])
    event = implied_vol_event(tmp_path, 3, "NVDA", DAY, 77, market="alpaca")
    vols = [row.vol for row in days(300)]
    assert (event.instrument_id, event.ts_recv_ns, event.source) == (3, 77, "NVDA")
    assert event.vol == vols[-1]
    assert event.history == tuple(vols[-253:-1])


def test_the_vix_stands_in_for_the_sp_500_alone_and_says_so(tmp_path):
    event = implied_vol_event(tmp_path, 0, "SPY", DAY, 1, market="alpaca")
    assert event.source == "VIX"
    assert (list(event.history), event.vol) == vix_closes_before(DAY)
    assert event.vol == pytest.approx(0.1731)  # the close of 2018-02-02, not the 37.32 of the day
    assert implied_vol_event(tmp_path, 0, "NVDA", DAY, 1, market="alpaca") is None
    ImpliedVolHistory(tmp_path).keep(days(2, "SPY"))
    assert implied_vol_event(tmp_path, 0, "SPY", DAY, 1, market="alpaca").source == "SPY"


def test_a_value_older_than_a_week_is_none(tmp_path):
    ImpliedVolHistory(tmp_path).keep(days(5))
    last = DAY - timedelta(days=1)
    assert implied_vol_event(tmp_path, 0, "NVDA", last + timedelta(days=7), 1, market="alpaca") is not None
    assert implied_vol_event(tmp_path, 0, "NVDA", last + timedelta(days=8), 1, market="alpaca") is None
    assert vix_closes_before(date(2019, 1, 7)) is not None
    assert vix_closes_before(date(2021, 1, 4)) is None


@pytest.mark.parametrize(
    "line", ["NVDA,2018-02-30,0.2,x", "NVDA,2018-02-05,-0.2,x", "NVDA,2018-02-05,nan,x", "a,b"]
)
def test_a_line_of_another_form_is_named(tmp_path, line):
    (tmp_path / FILE).write_text(f"symbol,session,implied_vol,source\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        ImpliedVolHistory(tmp_path).read("NVDA")
    assert str(caught.value.where).endswith(f"{FILE}:2")


def test_the_close_of_a_session_is_near_the_volatility_that_it_was_made_with():
    """The embedded chain of a wild day: at the money the smile lies below the VIX of 37.32."""
    assert 0.22 < implied_vol_at_close(market.reconstruct(DAY), DAY) < 0.3732


def test_what_a_reconstructed_market_left_counts_for_no_other(tmp_path):
    rows = [DailyImpliedVol(row.symbol, row.session, row.vol, "embedded") for row in days(30)]
    ImpliedVolHistory(tmp_path).keep(rows)
    assert implied_vol_event(tmp_path, 0, "NVDA", DAY, 1, market="alpaca") is None
    assert implied_vol_event(tmp_path, 0, "NVDA", DAY, 1, market="embedded").vol == rows[-1].vol


def test_a_reconstructed_market_and_a_real_one_keep_the_same_days_side_by_side(tmp_path):
    history, real = ImpliedVolHistory(tmp_path), days(30)
    history.keep(real)
    drawn = [DailyImpliedVol(row.symbol, row.session, row.vol + 0.1, "embedded") for row in real[10:]]
    assert history.keep(drawn) == 50
    events = [implied_vol_event(tmp_path, 0, "NVDA", DAY, 1, market=name) for name in ("alpaca", "embedded")]
    assert [event.vol for event in events] == [real[-1].vol, drawn[-1].vol]
    assert events[0].history == tuple(row.vol for row in real[:-1])
    assert events[1].history == tuple(row.vol for row in (*real[:10], *drawn[:-1]))
    assert history.keep([DailyImpliedVol("NVDA", real[-1].session, 0.5, "alpaca")]) == 50
    assert implied_vol_event(tmp_path, 0, "NVDA", DAY, 1, market="alpaca").vol == 0.5


def quoted_desk(*expiries):
    """Return a desk whose options of these expiries are all quoted at a volatility of 20 % at noon."""
    book = Instruments([share()])
    for expiry in expiries:
        for strike in range(480, 521, 5):
            for right in "CP":
                book.add(option(right, strike, expiry))
    desk = HandDesk(Scripted(), book)
    desk.open()
    desk.go_to("12:00").market(500.0)
    return desk


def seconds_before_close(desk, seconds):
    now_ns = desk.session.close_ns - seconds * NANOS_PER_SECOND
    return TimerEvent(now_ns, now_ns, "mark")


def test_a_desk_keeps_the_days_value_once_in_the_last_minute_of_its_session(tmp_path):
    desk = quoted_desk(*(TODAY + timedelta(days=days) for days in (24, 38)))
    said = []
    recorder = ImpliedVolRecorder(
        desk.engine.desk, ("SPY",), tmp_path, "alpaca", lambda *words: said.append(words)
    )
    history = ImpliedVolHistory(tmp_path)
    recorder.see(seconds_before_close(desk, 61), ())
    assert history.read("SPY") == []
    recorder.see(seconds_before_close(desk, 60), ())
    (row,) = history.read("SPY")
    assert (row.session, row.source) == (TODAY, "alpaca")
    assert row.vol == pytest.approx(0.20, abs=0.005)
    history.path.unlink()
    recorder.see(seconds_before_close(desk, 0), ())
    assert (history.read("SPY"), said) == ([], [])


def test_options_that_do_not_reach_to_a_month_are_reported_and_nothing_is_kept(tmp_path):
    desk = quoted_desk(TODAY + timedelta(days=7))
    said = []
    recorder = ImpliedVolRecorder(
        desk.engine.desk, ("SPY",), tmp_path, "alpaca", lambda *words: said.append(words)
    )
    recorder.see(seconds_before_close(desk, 30), ())
    assert ImpliedVolHistory(tmp_path).read("SPY") == []
    assert said == [("warning", "no options of SPY reach to 30 days: their IV rank is not recorded today")]
