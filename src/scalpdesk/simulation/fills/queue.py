"""Wait in the queue: a resting limit order fills only after what stood in front of it is gone.

Conditions
- marketable orders: as in ``cross``.
- a resting order joins behind the size displayed at its price on its own side when it arrives, or when
  that price becomes the best; an order between the sides has nothing in front.
- the queue in front shrinks when the displayed size at that price shrinks; growth joins behind.
- when the near side moves from the price, or from a better one, away through it with nothing left in
  front, or the far side reaches it, the order fills at its limit, at most the far side's displayed size.
"""

import math

from scalpdesk.core.events import QuoteEvent
from scalpdesk.instruments.contract import Instrument
from scalpdesk.simulation.fills.base import Match, Resting, displayed, takes_liquidity
from scalpdesk.simulation.fills.cross import CrossFill


class QueueFill:
    """Queue position from displayed sizes.

    What leaves a price is taken to have stood in front, which is kind; while any of it is left nothing is
    filled when the price is left, which is not. Quotes alone say neither.
    """

    name = "queue"

    def __init__(self) -> None:
        self._cross = CrossFill()

    def match(self, resting: Resting, quote: QuoteEvent, instrument: Instrument) -> Match | None:
        """Fill across the spread, or at the limit once the queue in front is gone."""
        if takes_liquidity(resting, quote):
            return self._cross.match(resting, quote, instrument)
        limit = resting.limit_price
        if limit is None:
            return None
        buys = resting.sign > 0
        near, size = (quote.bid, quote.bid_size) if buys else (quote.ask, quote.ask_size)
        price = float(limit)
        if abs(near - price) < 1e-9:
            left = max(resting.queue_ahead - max(resting.seen_size - size, 0.0), 0.0)
            resting.queue_ahead = size if resting.queue_ahead < 0 else left
            resting.seen_size, resting.was_met = size, True
            return None
        is_best = near < price - 1e-9 if buys else near > price + 1e-9
        if is_best and resting.was_met and resting.queue_ahead <= 0.0:
            resting.was_met = False  # it has moved once: what is left waits until it comes back
            return displayed(resting, quote), limit
        if is_best:
            resting.queue_ahead = max(resting.queue_ahead, 0.0)
        else:
            resting.was_met = resting.was_met or not math.isnan(near)
        return None
