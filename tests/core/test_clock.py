import pytest

from fakes.clock import ManualClock
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import InvariantError


def test_a_manual_clock_stands_still_until_it_is_moved():
    clock = ManualClock(100)
    assert clock.now_ns() == 100
    assert clock.now_ns() == 100
    clock.advance(5)
    clock.move_to(105)
    assert clock.now_ns() == 105


def test_a_manual_clock_never_runs_backwards():
    clock = ManualClock(100)
    with pytest.raises(InvariantError, match="backwards"):
        clock.move_to(99)
    assert clock.now_ns() == 100


def test_the_system_clock_gives_nanoseconds_since_1970():
    first, second = SystemClock().now_ns(), SystemClock().now_ns()
    assert 1_700_000_000 * 10**9 < first <= second
