from datetime import date, time

import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.units import MINUTE_NS
from scalpdesk.instruments.broker_terms import known_cutoff, venue_cutoff
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.deadlines import (
    NOTICE_CUTOFFS,
    NoticeCutoff,
    exit_deadline_ns,
    must_go_now,
    notice_deadline_ns,
    order_cutoff_ns,
)
from scalpdesk.instruments.deribit import deribit_option
from scalpdesk.instruments.sessions import (
    coin_session,
    final_close_ns,
    new_york_ns,
    previous_session,
    session_on,
    to_new_york,
)


def deadline_ns(symbol, venue, **how):
    contract = us_option(symbol, ["GOOG"])
    cutoff_minutes = venue_cutoff(venue).of(contract.underlying)
    return exit_deadline_ns(final_close_ns(contract), cutoff_minutes=cutoff_minutes, **how)


def at(symbol, venue, **how):
    return to_new_york(deadline_ns(symbol, venue, **how)).strftime("%H:%M")


@pytest.mark.rows(
    ("symbol", "venue", "clock"),
    [
        ("SPY251230C00690000", "none", "15:45"),
        ("SPY251230C00690000", "ibkr", "15:10"),
        ("SPY251230C00690000", "alpaca", "15:25"),
        ("NVDA251230C00190000", "alpaca", "15:10"),
        ("SPY250715C00620000", "alpaca", "15:25"),  # summer time
        ("GOOG151224C00750000", "alpaca", "12:10"),  # half day
        ("SPY151224C00205000", "alpaca", "12:25"),
        ("SPXW210104C03700000", "none", "15:45"),
    ],
)
def test_deadline_by_contract_venue_and_session(symbol, venue, clock):
    assert at(symbol, venue) == clock


def test_an_own_exit_that_is_earlier_wins():
    assert at("SPY251230C00690000", "alpaca", exit_minutes=60) == "15:00"


def test_deribit_takes_orders_until_an_options_settlement():
    option = deribit_option("BTC-6MAR26-87000-P")
    end_ns = coin_session(date(2026, 3, 5)).close_ns
    assert order_cutoff_ns(option, known_cutoff("deribit")) == end_ns
    assert order_cutoff_ns(option, known_cutoff("unheard-of")) == end_ns - 45 * MINUTE_NS


def test_am_settled_options_are_out_the_session_before():
    assert deadline_ns("SPX210115C03700000", "none") == new_york_ns(date(2021, 1, 14), time(15, 45))


@pytest.mark.rows(
    ("contract", "last"),
    [
        (us_option("SPY251230C00690000"), session_on(date(2025, 12, 30))),
        (us_option("SPY151224C00205000"), session_on(date(2015, 12, 24))),  # half day
        (us_option("SPX210115C03700000"), session_on(date(2021, 1, 14))),  # settled at the next open
        (us_option("SPY140118C00184000"), session_on(date(2014, 1, 17))),  # a Saturday
        (deribit_option("BTC-6MAR26-87000-P"), coin_session(date(2026, 3, 5))),
    ],
)
def test_an_option_must_go_in_the_last_hour_of_its_trading(contract, last):
    hour = 3_600 * 10**9
    assert must_go_now(contract, last, last.close_ns - hour)
    assert not must_go_now(contract, last, last.close_ns - hour - 1)
    is_coin = contract.underlying == "BTC-PERPETUAL"
    before = coin_session(date(2026, 3, 4)) if is_coin else previous_session(last.day)
    assert not must_go_now(contract, before, before.close_ns - 1)
    assert not must_go_now(contract, None, last.close_ns - 1)


def test_the_margin_holds_where_a_venue_takes_orders_to_the_end():
    close = session_on(date(2025, 12, 30)).close_ns
    assert exit_deadline_ns(close, exit_minutes=0.0) == close - 5 * 60 * 10**9


@pytest.mark.rows("minutes", [1.0, 15.0, 60.0])
def test_without_a_cutoff_the_own_exit_alone_counts(minutes):
    close = session_on(date(2025, 12, 30)).close_ns
    own = exit_deadline_ns(close, exit_minutes=minutes, cutoff_minutes=None, buffer_minutes=30.0)
    assert own == close - int(minutes * 60e9)
    assert to_new_york(exit_deadline_ns(close, cutoff_minutes=None)).time() == time(15, 45)


def test_unknown_venue_names_the_nearest():
    with pytest.raises(ConfigError) as refusal:
        venue_cutoff("alpacca")
    assert refusal.value.nearest == "alpaca"


@pytest.mark.rows(
    ("symbol", "venue", "day", "clock"),
    [
        ("SPY251230C00690000", "alpaca", date(2025, 12, 30), "15:30"),
        ("NVDA251230C00190000", "alpaca", date(2025, 12, 30), "15:15"),
        ("GOOG151224C00750000", "alpaca", date(2015, 12, 24), "12:15"),  # half day
        ("SPY251230C00690000", "simulated", date(2025, 12, 30), "16:00"),
        ("NVDA251230C00190000", "unheard of", date(2025, 12, 30), "15:15"),
        ("SPY251230C00690000", "ibkr", date(2025, 12, 30), "15:15"),
        ("SPX260320C06000000", "simulated", date(2026, 3, 19), "16:00"),  # settles at the next open
    ],
)
def test_the_last_orders_are_those_of_the_last_trading_day(symbol, venue, day, clock):
    assert order_cutoff_ns(us_option(symbol, ["GOOG"]), known_cutoff(venue)) == new_york_ns(
        day, time.fromisoformat(clock)
    )


@pytest.mark.rows(
    ("day", "venue", "when"),
    [
        (date(2024, 3, 4), "", "17:30"),
        (date(2024, 11, 29), "", "14:30"),  # a shortened day: an hour and a half after its close
        (date(2024, 3, 4), "ibkr", "17:25"),
        (date(2024, 3, 4), "alpaca", "16:00"),
        (date(2024, 11, 29), "alpaca", "13:00"),
        (date(2024, 3, 9), "", "17:30"),  # a Saturday: the Friday before
    ],
)
def test_notices_are_taken_until(day, venue, when):
    last = to_new_york(notice_deadline_ns(day, NOTICE_CUTOFFS.get(venue, ())))
    assert f"{last:%H:%M}" == when


def test_of_several_rows_the_last_one_that_has_begun_counts():
    rows = (NoticeCutoff(date(2024, 1, 1), 0.0), NoticeCutoff(date(2025, 1, 1), 60.0))
    found = [
        f"{to_new_york(notice_deadline_ns(date(year, 3, 4), rows)):%H:%M}" for year in (2022, 2024, 2025)
    ]
    assert found == ["16:00", "16:00", "17:00"]
