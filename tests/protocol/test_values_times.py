from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.protocol import parse_ts, ts_text
from scalpdesk.protocol.values import FreshnessGuard, freshness_from, ts_ns

NOW = ts_ns("2025-12-30T14:30:00Z")
ZONES = [
    ZoneInfo(name)
    for name in (
        *("UTC", "America/New_York", "America/St_Johns", "America/Caracas", "Europe/London", "Europe/Dublin"),
        *("Africa/Monrovia", "Africa/Casablanca", "Antarctica/Troll", "Asia/Kathmandu", "Asia/Tehran"),
        *("Asia/Pyongyang", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Chatham"),
    )
]
"""Offsets of minutes and of seconds, half-hour summer time, winter time below zero, a day left out."""


@pytest.mark.rows(
    "text",
    [
        "2025-12-30T14:30:00Z",
        "2025-12-30T14:30:00+00:00",
        "2025-12-30T09:30:00-05:00",
        "20251230T143000Z",
        "2025-12-30 14:30:00.000000Z",
    ],
)
def test_one_instant_in_many_spellings(text):
    assert parse_ts(text) == datetime(2025, 12, 30, 14, 30, tzinfo=UTC)
    assert ts_ns(text) == NOW


@pytest.mark.rows(
    "text",
    [
        "",
        "now",
        "2025-12-30",
        "2025-12-30T14:30:00",
        "2025-13-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        5,
        None,
    ],
)
def test_what_names_no_instant_is_refused(text):
    with pytest.raises(ArgumentError, match="not an instant"):
        parse_ts(text)


@given(st.integers(0, 4_000_000_000_000_000))
def test_text_and_nanoseconds_are_one(at_us):
    assert ts_ns(ts_text(at_us * 1000)) == at_us * 1000


@given(st.datetimes(timezones=st.sampled_from(ZONES)).filter(lambda moment: 1900 < moment.year < 2200))
def test_any_zone_is_read_as_its_instant(moment):
    assert parse_ts(moment.isoformat()) == moment.astimezone(UTC)


@pytest.mark.rows(
    ("seconds", "verdict"),
    [(0, "ok"), (-30, "ok"), (-30.001, "stale_ts"), (5, "ok"), (5.001, "future_ts")],
)
def test_freshness(seconds, verdict):
    at = datetime(2025, 12, 30, 14, 30, tzinfo=UTC) + timedelta(seconds=seconds)
    assert FreshnessGuard().verdict(at.isoformat(), NOW) == verdict


@pytest.mark.rows("text", ["yesterday", "", None, "2025-12-30T14:30:00"])
def test_a_text_that_is_no_instant_is_never_now(text):
    assert FreshnessGuard().verdict(text, NOW) == "invalid_ts"


def test_the_environment_sets_the_limits():
    guard = freshness_from(
        {"STRATEGY_EVENT_MAX_AGE_SECONDS": "2", "STRATEGY_EVENT_MAX_FUTURE_SKEW_SECONDS": "0.5"}
    )
    assert guard == FreshnessGuard(2.0, 0.5)
    assert guard.verdict("2025-12-30T14:30:00Z", NOW + 3 * NANOS_PER_SECOND) == "stale_ts"
    assert freshness_from({}) == FreshnessGuard(30.0, 5.0)


@pytest.mark.rows("text", ["soon", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number_is_refused(text):
    with pytest.raises(ConfigError, match="not a number of seconds"):
        freshness_from({"STRATEGY_EVENT_MAX_AGE_SECONDS": text})
