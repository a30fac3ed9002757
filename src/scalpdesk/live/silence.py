"""Data streams whose connection stands while nothing comes: found in an open session, and renewed."""

from collections.abc import Iterator

from scalpdesk.venues.base import Gateway

LOOK_SECONDS = 1.0


class Silence:
    """Looks for silent data streams now and then.

    The order stream is left out: an account without orders is silent, and what it should have said is
    found by reconciliation.

    Parameters
    ----------
    gateway
        Whose streams they are.
    silent_seconds
        Of the wall, without any message; 0 never looks.
    """

    def __init__(self, gateway: Gateway, silent_seconds: float) -> None:
        self._gateway = gateway
        self._silent_seconds = silent_seconds
        self._next_at = 0.0

    def due(self, now: float, *, is_open: bool) -> Iterator[tuple[str, float]]:
        """Yield the streams to renew and for how long each has been silent.

        Parameters
        ----------
        now
            The event loop's time.
        is_open
            Whether a session is under way: outside of one nothing is expected.
        """
        if not self._silent_seconds or now < self._next_at or not is_open:
            return
        self._next_at = now + LOOK_SECONDS
        health = self._gateway.health()
        for stream, seconds in health.silent_seconds.items():
            if stream != "orders" and health.streams.get(stream) and seconds > self._silent_seconds:
                yield stream, seconds
