"""Pauses that double."""

from scalpdesk.core.backoff import BackOff
from scalpdesk.core.units import NANOS_PER_SECOND


def test_a_pause_doubles_up_to_the_longest_however_often_it_failed():
    """After 1,024 failures in a row the doubling was no double any more, and the desk stopped."""
    pause = BackOff(1.0, 60.0)
    waited = [pause.fail(0) / NANOS_PER_SECOND for _ in range(1_100)]
    assert waited[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert set(waited[7:]) == {60}
