"""Pauses that double: after a refusal wait longer each time, after a success not at all."""

from scalpdesk.core.units import NANOS_PER_SECOND

_MOST_DOUBLINGS = 60
"""A pause doubled so often outlasts any run; a double cannot hold it doubled 1,024 times."""


def doubled(first: float, times: int, longest: float) -> float:
    """Return a pause doubled so many times, at most the longest."""
    return min(first * 2.0 ** min(times, _MOST_DOUBLINGS), longest)


class BackOff:
    """Waits ``first_seconds`` after a failure, twice as long after each further one, up to a maximum.

    ``first_seconds``, ``longest_seconds``: First and longest pause.
    """

    def __init__(self, first_seconds: float, longest_seconds: float) -> None:
        self.first_seconds = first_seconds
        self.longest_seconds = longest_seconds
        self.failures = 0
        """In a row."""
        self.until_ns = 0
        """End of the pause; 0 without one."""

    def fail(self, now_ns: int, *, longest_seconds: float | None = None) -> int:
        """Count a failure and return the end of its pause, UTC nanoseconds."""
        self.until_ns = now_ns + int(self.pause(longest_seconds) * NANOS_PER_SECOND)
        return self.until_ns

    def pause(self, longest_seconds: float | None = None) -> float:
        """Count a failure and return its pause in seconds."""
        longest = self.longest_seconds if longest_seconds is None else longest_seconds
        seconds = doubled(self.first_seconds, self.failures, longest)
        self.failures += 1
        return seconds

    def succeed(self) -> None:
        """End the pause and forget the failures."""
        self.failures, self.until_ns = 0, 0
