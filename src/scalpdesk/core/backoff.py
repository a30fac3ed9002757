"""Pauses that double: after a refusal wait longer each time, after a success not at all."""

from scalpdesk.core.units import NANOS_PER_SECOND


class BackOff:
    """Waits ``first_seconds`` after a failure, twice as long after each further one, up to a maximum.

    Parameters
    ----------
    first_seconds, longest_seconds
        First and longest pause.
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
        longest = self.longest_seconds if longest_seconds is None else longest_seconds
        seconds = min(self.first_seconds * 2.0**self.failures, longest)
        self.failures += 1
        self.until_ns = now_ns + int(seconds * NANOS_PER_SECOND)
        return self.until_ns

    def succeed(self) -> None:
        """End the pause and forget the failures."""
        self.failures, self.until_ns = 0, 0
