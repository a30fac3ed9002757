"""The clock for tests: it stands still until it is moved."""

from scalpdesk.core.errors import InvariantError


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Return UTC nanoseconds since 1970."""
        return self._now_ns

    def move_to(self, now_ns: int) -> None:
        """Set the time; it never runs backwards.

        Raises
        ------
        InvariantError
            When ``now_ns`` lies before the present.
        """
        if now_ns < self._now_ns:
            raise InvariantError("time cannot run backwards", where="now_ns", value=now_ns)
        self._now_ns = now_ns

    def advance(self, nanos: int) -> None:
        """Move the clock forward by ``nanos``."""
        self.move_to(self._now_ns + nanos)
