from types import SimpleNamespace

import pytest

from scalpdesk.core import clock as clock_
from scalpdesk.core.clock import SteadyClock, SystemClock
from scalpdesk.core.errors import InvariantError
from scalpdesk_testing.kit.clock import ManualClock


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


HOUR = 3_600.0


@pytest.mark.rows(
    ("moves", "shown"),
    [
        # seconds that pass, by which the machine's time moves, and what it then lies behind
        ([(10, 10, 0)], 10),
        ([(10, 10 - HOUR, HOUR), (10, 10, HOUR)], 20),  # set back an hour: it goes on
        ([(10, 10 - HOUR, HOUR), (10, 10 + HOUR, 0)], 20),  # and set right again
        ([(10, 10 - HOUR, HOUR), (10, 10 + 2 * HOUR, 0)], 20 + HOUR),
        ([(10, 10 + HOUR, 0), (10, 10 - HOUR, HOUR)], 20 + HOUR),
        ([(0, 8 * HOUR, 0)], 8 * HOUR),  # suspended: no second has passed
        ([(10, 9.5, 0), (10, 10, 0)], 19.5),  # a correction by network time is followed
        ([(10, 9.5, 0), (10, 9.5, 0), (10, 9.5, 0)], 28.5),
    ],
)
def test_a_steady_clock_goes_on_where_the_machines_is_set_back(monkeypatch, moves, shown):
    """It stood still until the machine's had caught up, and with it every timer, deadline and wait."""
    passed, utc, begins = 0.0, 0.0, 1_800_000_000 * 10**9
    machine = SimpleNamespace(
        time_ns=lambda: begins + int(utc * 1e9), monotonic_ns=lambda: 77 + int(passed * 1e9)
    )
    monkeypatch.setattr(clock_, "time", machine)
    clock = SteadyClock()
    assert clock.now_ns() == begins
    for seconds, by, behind in moves:
        passed, utc = passed + seconds, utc + by
        now_ns = clock.now_ns()
        assert clock.behind_ns == behind * 1e9
    assert now_ns == begins + shown * 1e9
