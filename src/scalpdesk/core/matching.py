"""Matching a venue's lines with the books': which line here and which line there are the same thing.

A running desk matches the venue's list of executions, ``scalpdesk reconcile`` a broker's statement. Both go
from the surest key to the weakest, and a line that has found its partner is out of the search.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from decimal import Decimal
from functools import partial
from typing import Generic, TypeVar

from scalpdesk.core.units import DAY_NS

V = TypeVar("V")
"""A line of the venue."""
B = TypeVar("B")
"""A line of the books."""
_L = TypeVar("_L")


_ExecutionKeys = tuple[str, str, Hashable, Decimal]


class Matching(Generic[V, B]):
    """Lines of both sides that have no partner yet, and the pairs found.

    ``when_there``, ``when_here``: Time of a line of the venue and of the books, UTC nanoseconds.
    """

    def __init__(
        self,
        venue: Iterable[V],
        books: Iterable[B],
        when_there: Callable[[V], int],
        when_here: Callable[[B], int],
    ) -> None:
        self._when_there, self._when_here = when_there, when_here
        self.venue: list[V] = sorted(venue, key=when_there)
        self.books: list[B] = sorted(books, key=when_here)
        self.found: list[tuple[list[V], list[B]]] = []

    def pair(
        self,
        there: Callable[[V], Hashable | None],
        here: Callable[[B], Hashable | None],
        most_days: float | None = None,
    ) -> None:
        """Pair lines of the same key, one to one, the nearest in time; a line whose key is None waits."""
        waiting: dict[Hashable, list[B]] = defaultdict(list)
        for line in self.books:
            key = here(line)
            if key is not None:
                waiting[key].append(line)
        left = []
        for mine in self.venue:
            key = there(mine)
            theirs = None if key is None else self._nearest(mine, waiting.get(key, []), most_days)
            if theirs is None:
                left.append(mine)
            else:
                waiting[key].remove(theirs)
                self.found.append(([mine], [theirs]))
        self._keep(left)

    def _nearest(self, mine: V, among: list[B], most_days: float | None) -> B | None:
        at_ns = self._when_there(mine)

        def apart_ns(line: B) -> int:
            return abs(self._when_here(line) - at_ns)

        near = min(among, key=apart_ns, default=None)
        is_far = near is not None and most_days is not None and apart_ns(near) > most_days * DAY_NS
        return None if is_far else near

    def pair_groups(
        self,
        there: Callable[[V], Hashable | None],
        here: Callable[[B], Hashable | None],
        is_whole: Callable[[Sequence[V], Sequence[B]], bool],
    ) -> None:
        """Pair all lines of a key on one side with all on the other where they come to the same."""
        groups: dict[Hashable, tuple[list[V], list[B]]] = defaultdict(lambda: ([], []))
        for mine in self.venue:
            groups[there(mine)][0].append(mine)
        for theirs in self.books:
            groups[here(theirs)][1].append(theirs)
        for key, (some, others) in groups.items():
            if key is not None and some and others and is_whole(some, others):
                self.found.append((some, others))
        self._keep(self.venue)

    def pair_executions(
        self, there: Callable[[V], _ExecutionKeys], here: Callable[[B], _ExecutionKeys]
    ) -> None:
        """Pair executions: by their id, then by order, terms and price, then by order and terms.

        The last finds an execution that the venue has corrected: its id and its price are new.

        ``there``, ``here``: The venue's id of an execution and that of its order, each empty where this side
        has none; what was traded, by symbol and signed units; its price.
        """

        def name(keys: _ExecutionKeys) -> Hashable | None:
            return keys[0] or None

        def terms_at_price(keys: _ExecutionKeys) -> Hashable | None:
            return keys[1:] if keys[1] else None

        def terms(keys: _ExecutionKeys) -> Hashable | None:
            return keys[1:3] if keys[1] else None

        for key in (name, terms_at_price, terms):
            self.pair(partial(_key_of, key, there), partial(_key_of, key, here))

    def _keep(self, left: Iterable[V]) -> None:
        mine = {id(line) for some, _ in self.found for line in some}
        theirs = {id(line) for _, others in self.found for line in others}
        self.venue = [line for line in left if id(line) not in mine]
        self.books = [line for line in self.books if id(line) not in theirs]


def _key_of(
    key: Callable[[_ExecutionKeys], Hashable | None], of: Callable[[_L], _ExecutionKeys], line: _L
) -> Hashable | None:
    return key(of(line))
