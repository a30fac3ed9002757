"""The order of the sources, the cache, the age of what is kept, and what is said of it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.datasets.dealer_gamma import (
    ExposureGap,
    ExposureSource,
    ExposureUnknownError,
    StoredExposure,
    by_hand,
)

AT_NS = 1_787_000_000 * NANOS_PER_SECOND
MINUTE_NS = 60 * NANOS_PER_SECOND


class Shelf:
    """A store that answers what it was told to, and counts."""

    name = "firestore"

    def __init__(self):
        self.answer = StoredExposure("SPX", -15_000.0, AT_NS)
        self.reads = 0

    def read(self):
        self.reads += 1
        if isinstance(self.answer, ExposureUnknownError):
            raise self.answer
        return self.answer


@pytest.fixture
def said():
    return []


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def source(shelf, said):
    return ExposureSource("SPX", store=shelf, say=lambda level, text: said.append((level, text)))


def test_what_is_kept_becomes_an_event(source, said):
    event = source.look(AT_NS + MINUTE_NS)
    assert (event.symbol, event.exposure_usd, event.source, event.reason) == (
        "SPX",
        -15_000.0,
        "firestore",
        "",
    )
    assert (event.ts_event_ns, event.ts_recv_ns) == (AT_NS, AT_NS + MINUTE_NS)
    assert said == []


def test_an_answer_stands_for_a_minute(source, shelf):
    for second in (0, 1, 59):
        source.look(AT_NS + second * NANOS_PER_SECOND)
    assert shelf.reads == 1
    source.look(AT_NS + MINUTE_NS)
    assert shelf.reads == 2


def test_a_refusal_stands_for_a_minute_too(source, shelf):
    shelf.answer = ExposureUnknownError(ExposureGap.UNREACHABLE)
    for second in range(60):
        assert math.isnan(source.look(AT_NS + second * NANOS_PER_SECOND).exposure_usd)
    assert shelf.reads == 1


def test_a_clock_that_was_set_back_asks_again(source, shelf):
    source.look(AT_NS + MINUTE_NS)
    source.look(AT_NS)
    assert shelf.reads == 2


def test_the_hand_wins_over_the_store(shelf):
    source = ExposureSource("SPX", value_by_hand="12.5", store=shelf)
    event = source.look(AT_NS)
    assert (event.exposure_usd, event.source) == (12.5, "environment")
    assert shelf.reads == 0


@pytest.mark.parametrize("text", ["", "much", "nan", "inf", "-Infinity", "1,000", "0x10"])
def test_a_hand_that_wrote_no_number_is_unknown_and_said_once(shelf, said, text):
    source = ExposureSource(
        "SPX", value_by_hand=text, store=shelf, say=lambda level, text: said.append((level, text))
    )
    for minute in range(3):
        event = source.look(AT_NS + minute * MINUTE_NS)
        assert math.isnan(event.exposure_usd)
        assert repr(text) in event.reason
    assert [level for level, _ in said] == ["warning"]
    assert shelf.reads == 0


@given(st.text(max_size=12))
def test_no_text_is_too_odd(text):
    event = by_hand(text, "SPX", AT_NS)
    assert math.isnan(event.exposure_usd) == bool(event.reason)


def test_without_a_source_there_is_no_word():
    source = ExposureSource("SPX")
    assert source.look(AT_NS) is None
    assert not source.has_any


def test_a_quarter_of_an_hour_is_old_enough(source, said):
    assert source.look(AT_NS + 15 * MINUTE_NS).reason == ""
    event = source.look(AT_NS + 15 * MINUTE_NS + 1)
    assert math.isnan(event.exposure_usd)
    assert "too old" in event.reason
    assert len(said) == 1


def test_what_is_cached_ages_all_the_same(said):
    shelf = Shelf()
    source = ExposureSource(
        "SPX", store=shelf, say=lambda level, text: said.append((level, text)), cache_seconds=3_600.0
    )
    assert source.look(AT_NS + 14 * MINUTE_NS).reason == ""
    assert source.look(AT_NS + 16 * MINUTE_NS).reason != ""
    assert shelf.reads == 1


def test_a_stamp_a_little_ahead_is_taken_for_now_and_one_far_ahead_for_none(source):
    assert source.look(AT_NS - 60 * NANOS_PER_SECOND).ts_event_ns == AT_NS - 60 * NANOS_PER_SECOND
    assert "future" in source.look(AT_NS - 61 * NANOS_PER_SECOND).reason


def test_a_failure_is_said_once_and_the_recovery_once(source, shelf, said):
    good = shelf.answer
    shelf.answer = ExposureUnknownError(ExposureGap.UNREACHABLE, "port closed")
    now_ns = AT_NS
    for _ in range(3):
        source.look(now_ns)
        now_ns += MINUTE_NS
    what = "dealer gamma of SPX is not known: the store cannot be reached (port closed)"
    assert said == [("warning", f"{what}; the standard threshold is used")]
    shelf.answer = good
    for _ in range(3):
        source.look(now_ns)
        now_ns += MINUTE_NS
    assert said[1:] == [("info", "dealer gamma of SPX is known again: -15,000 USD")]
    shelf.answer = ExposureUnknownError(ExposureGap.UNREACHABLE)
    source.look(now_ns)
    assert len(said) == 3


def test_failures_that_take_turns_are_each_said_once(source, shelf, said):
    for minute in range(6):
        shelf.answer = ExposureUnknownError(ExposureGap.SLOW if minute % 2 else ExposureGap.UNREACHABLE)
        source.look(AT_NS + minute * MINUTE_NS)
    assert len(said) == 2


def test_another_underlying_than_the_settings_is_said_once(source, shelf, said):
    shelf.answer = StoredExposure("SPY", 1.0, AT_NS)
    for minute in range(3):
        source.look(AT_NS + minute * MINUTE_NS)
    assert [level for level, _ in said] == ["warning"]
    assert "dealer gamma of SPY, not of SPX" in said[0][1]


def test_a_failure_is_about_the_underlying_that_was_read_before(source, shelf):
    shelf.answer = StoredExposure("SPY", 1.0, AT_NS)
    assert source.look(AT_NS).symbol == "SPY"
    shelf.answer = ExposureUnknownError(ExposureGap.NO_DOCUMENT)
    assert source.look(AT_NS + MINUTE_NS).symbol == "SPY"
