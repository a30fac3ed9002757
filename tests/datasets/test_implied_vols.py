"""Daily history of 30-day implied volatility: kept, read back, and handed to the desk without look-ahead."""

from datetime import date, timedelta

import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.daily_history import vix_closes_before
from scalpdesk.datasets.embedded.market import reconstruct
from scalpdesk.datasets.implied_vols import (
    FILE,
    DailyImpliedVol,
    ImpliedVolHistory,
    implied_vol_at_close,
    implied_vol_event,
)

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


def test_the_event_has_the_year_before_the_last_close_and_nothing_of_the_day(tmp_path):
    history = ImpliedVolHistory(tmp_path)
    history.keep([*days(300), DailyImpliedVol("NVDA", DAY, 9.0, "of the day itself")])
    event = implied_vol_event(tmp_path, 3, "NVDA", DAY, 77)
    vols = [row.vol for row in days(300)]
    assert (event.instrument_id, event.ts_recv_ns, event.source) == (3, 77, "NVDA")
    assert event.vol == vols[-1]
    assert event.history == tuple(vols[-253:-1])


def test_the_vix_stands_in_for_the_sp_500_alone_and_says_so(tmp_path):
    event = implied_vol_event(tmp_path, 0, "SPY", DAY, 1)
    assert event.source == "VIX"
    assert (list(event.history), event.vol) == vix_closes_before(DAY)
    assert event.vol == pytest.approx(0.1731)  # the close of 2018-02-02, not the 37.32 of the day
    assert implied_vol_event(tmp_path, 0, "NVDA", DAY, 1) is None
    ImpliedVolHistory(tmp_path).keep(days(2, "SPY"))
    assert implied_vol_event(tmp_path, 0, "SPY", DAY, 1).source == "SPY"


def test_a_value_older_than_a_week_is_none(tmp_path):
    ImpliedVolHistory(tmp_path).keep(days(5))
    last = DAY - timedelta(days=1)
    assert implied_vol_event(tmp_path, 0, "NVDA", last + timedelta(days=7), 1) is not None
    assert implied_vol_event(tmp_path, 0, "NVDA", last + timedelta(days=8), 1) is None
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
    assert 0.22 < implied_vol_at_close(reconstruct(DAY), DAY) < 0.3732
