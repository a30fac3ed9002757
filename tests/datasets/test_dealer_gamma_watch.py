"""The thread beside the desk: what it posts, and that nothing it meets holds anybody up."""

import math
import queue
import threading

import pytest

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.datasets.dealer_gamma import ExposureGap, ExposureSource, ExposureUnknownError, StoredExposure
from scalpdesk.live.market import ExposureWatch
from scalpdesk_testing.kit.clock import ManualClock

AT_NS = 1_787_000_000 * NANOS_PER_SECOND
MINUTE_NS = 60 * NANOS_PER_SECOND
PATIENCE_SECONDS = 120.0
"""A test waits so long for an answer that must come."""


class Shelf:
    """A store that answers what it was told to."""

    name = "firestore"

    def __init__(self):
        self.answer = StoredExposure("SPX", -15_000.0, AT_NS)
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked = threading.Event()

    def read(self):
        self.asked.set()
        assert self.may_answer.wait(PATIENCE_SECONDS)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def clock():
    return ManualClock(AT_NS)


@pytest.fixture
def posted():
    return queue.Queue()


def watch_of(shelf, clock, posted, **more):
    return ExposureWatch(ExposureSource("SPX", store=shelf), clock, posted.put, **more)


def test_only_what_has_changed_is_posted(shelf, clock, posted):
    watch = watch_of(shelf, clock, posted)
    for _ in range(3):
        watch.look()
        clock.advance(MINUTE_NS)
    assert posted.qsize() == 1
    shelf.answer = StoredExposure("SPX", -15_000.0, AT_NS + MINUTE_NS)  # the same value, confirmed
    watch.look()
    assert posted.qsize() == 2


def test_a_failure_is_posted_once_and_so_is_its_end(shelf, clock, posted):
    watch = watch_of(shelf, clock, posted)
    good = shelf.answer
    for answer in (
        ExposureUnknownError(ExposureGap.SLOW),
        ExposureUnknownError(ExposureGap.UNREACHABLE),
        good,
        good,
    ):
        shelf.answer = answer
        watch.look()
        clock.advance(MINUTE_NS)
    events = [posted.get_nowait() for _ in range(posted.qsize())]
    assert [math.isnan(event.exposure_usd) for event in events] == [True, False]


def test_it_looks_at_once_and_again_and_ends_when_told(shelf, clock, posted):
    watch = watch_of(shelf, clock, posted, every_seconds=0.001)
    watch.start()
    assert posted.get(timeout=PATIENCE_SECONDS).exposure_usd == -15_000.0
    shelf.answer = StoredExposure("SPX", 7.0, AT_NS + MINUTE_NS)
    clock.advance(2 * MINUTE_NS)
    assert posted.get(timeout=PATIENCE_SECONDS).exposure_usd == 7.0
    watch.stop(PATIENCE_SECONDS)
    assert not any(thread.name == "gamma-exposure" for thread in threading.enumerate())


def test_between_two_looks_it_waits(shelf, clock, posted, monkeypatch):
    looks = []
    watch = watch_of(shelf, clock, posted, every_seconds=3_600.0)
    look = watch.look

    def counted():
        looks.append(1)
        look()

    monkeypatch.setattr(watch, "look", counted)
    watch.start()
    posted.get(timeout=PATIENCE_SECONDS)
    watch.stop(PATIENCE_SECONDS)
    assert len(looks) == 1


def test_a_store_that_hangs_keeps_nobody_from_ending_and_its_late_answer_is_not_posted(shelf, clock, posted):
    shelf.may_answer.clear()
    watch = watch_of(shelf, clock, posted)
    watch.start()
    assert shelf.asked.wait(PATIENCE_SECONDS)
    watch.stop(0.0)  # returns although the call is still under way
    assert posted.empty()
    shelf.may_answer.set()
    watch.stop(PATIENCE_SECONDS)
    assert posted.empty()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_its_own_is_said(shelf, clock, posted):
    said = queue.Queue()
    shelf.answer = RuntimeError("a fault of ours")
    watch = watch_of(shelf, clock, posted, notify=lambda level, text: said.put((level, text)))
    watch.start()
    assert said.get(timeout=PATIENCE_SECONDS)[0] == "alarm"
    watch.stop(PATIENCE_SECONDS)


def test_without_a_source_nothing_is_posted(clock, posted):
    watch = ExposureWatch(ExposureSource("SPX"), clock, posted.put)
    watch.look()
    assert posted.empty()
