"""Cancels that a venue took: the order is asked for until it is over, or the cancel proves lost."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from scalpdesk.core.units import NANOS_PER_MS, NANOS_PER_SECOND
from scalpdesk.venues.tracker import OrderTracker, TrackedOrder


class CancelFollower:
    """Asks for each order whose cancel the venue took, after ever longer pauses.

    A venue accepts a cancel before it carries it out (Alpaca answers 204), and may drop it: the order then
    goes from ``pending_cancel`` back to ``new``, and nothing says so.

    ``query``: Asks the venue for an order by its id at the desk; the answer comes out as events.
    """

    def __init__(
        self,
        *,
        tracker: OrderTracker,
        query: Callable[[str], Coroutine[Any, Any, object]],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._tracker = tracker
        self._query = query
        self._spawn = spawn
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def taken(self, order: TrackedOrder) -> None:
        """Follow an order whose cancel the venue took just now; one that is followed already goes on."""
        name = order.submitted.client_order_id
        if order.ended or name in self._timers:
            return
        loop = asyncio.get_running_loop()
        due_ns = self._tracker.cancel_taken(order, int(loop.time() * NANOS_PER_SECOND))
        # the loop's time is a float: a question that is some nanoseconds early would prove nothing
        self._timers[name] = loop.call_at((due_ns + NANOS_PER_MS) / NANOS_PER_SECOND, self._look, order)

    def close(self) -> None:
        """Follow no order any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _look(self, order: TrackedOrder) -> None:
        self._timers.pop(order.submitted.client_order_id, None)
        if order.awaits_cancel and not order.ended:
            self._spawn(self._ask(order))

    async def _ask(self, order: TrackedOrder) -> None:
        try:
            await self._query(order.submitted.client_order_id)
        finally:  # without an answer, or while the venue says that it is cancelling, again later
            if order.awaits_cancel:
                self.taken(order)
