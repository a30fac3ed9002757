"""What the venue has said: the same words once, with how often and when last."""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import NamedTuple

from scalpdesk.venues.contract import Notice

_MOST_WORDS = 50


class WordsOfVenue(NamedTuple):
    """What the venue said last of its kind, and how often."""

    notice: Notice
    times: int


class ToldWords:
    """Words of the venue, those said last at the end."""

    def __init__(self) -> None:
        self._told: dict[str, WordsOfVenue] = {}

    def note(self, notice: Notice) -> None:
        """Take in what the venue said."""
        before = self._told.pop(notice.likeness, None)
        self._told[notice.likeness] = WordsOfVenue(notice, 1 if before is None else before.times + 1)
        if len(self._told) > _MOST_WORDS:
            self._told.pop(next(iter(self._told)))

    def latest(self, most: int) -> list[WordsOfVenue]:
        """Return what was said last, the newest at the end."""
        return list(self._told.values())[-most:]


@dataclass(slots=True)
class NoticeBoard:
    """What the venue made known, as ``status`` shows it."""

    counters: Counter[str] = field(default_factory=Counter)
    notices: deque[Notice] = field(default_factory=lambda: deque(maxlen=50))
    told: ToldWords = field(default_factory=ToldWords)
