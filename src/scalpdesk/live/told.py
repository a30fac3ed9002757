"""What the venue has said: the same words once, with how often and when last."""

from typing import NamedTuple

from scalpdesk.venues.contract import Notice
from scalpdesk.venues.words import is_severe, likeness

_MOST_WORDS = 50


class Told(NamedTuple):
    """Words of the venue; UTC nanoseconds."""

    stream: str
    words: str
    last_ns: int
    times: int

    @property
    def is_severe(self) -> bool:
        """Whether they speak of margin, liquidation or a blocked account."""
        return is_severe(self.words)


class ToldWords:
    """Words of the venue, those said last at the end."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], Told] = {}

    def note(self, notice: Notice) -> None:
        """Take in what the venue said."""
        key = notice.stream, likeness(notice.detail)
        before = self._told.pop(key, None)
        times = 1 if before is None else before.times + 1
        self._told[key] = Told(notice.stream, notice.detail, notice.ts_recv_ns, times)
        if len(self._told) > _MOST_WORDS:
            self._told.pop(next(iter(self._told)))

    def latest(self, most: int) -> list[Told]:
        """Return what was said last, the newest at the end."""
        return list(self._told.values())[-most:]
