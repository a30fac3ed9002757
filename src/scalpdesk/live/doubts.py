"""Orders whose state is not known: whom to ask about, and when."""

from collections.abc import Iterator
from dataclasses import dataclass

from scalpdesk.orders.order import Order, OrderState

SLOWEST = 10
"""Questions about one order come at most so many times slower than the first."""


@dataclass(slots=True)
class _Asked:
    next_at: float = 0.0
    times: int = 0


class Doubts:
    """Keeps the doubted orders and spaces the questions about each.

    Parameters
    ----------
    live
        The desk's live orders by client order id.
    resolve_seconds
        Between the first two questions about one order.
    """

    def __init__(self, live: dict[str, Order], resolve_seconds: float) -> None:
        self._live = live
        self._resolve_seconds = resolve_seconds
        self._asked: dict[str, _Asked] = {}
        self.may_prove_absence_at = 0.0
        """Before this time of the event loop, an order without the venue's name is not asked about: the
        venue could still come to accept what the run before sent last."""

    def add(self, client_order_id: str) -> None:
        """Ask about this order too."""
        self._asked.setdefault(client_order_id, _Asked())

    def settle(self, client_order_id: str) -> None:
        """There was proof; the order is forgotten unless it is still in doubt."""
        order = self._live.get(client_order_id)
        if order is None or order.state is not OrderState.UNKNOWN:
            self._asked.pop(client_order_id, None)

    def due(self, now: float) -> Iterator[str]:
        """Yield the orders to ask about now; ``now`` is the event loop's time."""
        for name, order in self._live.items():
            if order.state is OrderState.UNKNOWN:
                self.add(name)
        for name in [name for name in self._asked if name not in self._live]:
            del self._asked[name]
        for name, one in self._asked.items():
            unnamed = not self._live[name].venue_order_id
            if now < one.next_at or (unnamed and now < self.may_prove_absence_at):
                continue
            one.times += 1
            one.next_at = now + self._resolve_seconds * min(one.times, SLOWEST)
            yield name
