"""Assume the worst that the quotes allow.

Conditions
- a market order waits for the next quote after its arrival and pays the worse of the two far
  sides plus one tick.
- a limit order fills only when the market trades through its price: the far side must be better
  than the limit by at least one tick; it fills at its limit.
- at most half of the displayed size (a single unit is filled); the whole where no sizes are known.
"""

from decimal import Decimal

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import exact
from scalpdesk.instruments.contract import Instrument
from scalpdesk.simulation.fills.base import Match, Resting


class AdverseFill:
    """Fills late, a tick worse than quoted, and limits only when the market trades through: a lower bound."""

    name = "adverse"

    def match(self, resting: Resting, quote: QuoteEvent, instrument: Instrument) -> Match | None:
        """Fill late and worse."""
        sign = resting.sign
        far = quote.ask if sign > 0 else quote.bid
        if not far > 0:
            return None
        limit = resting.limit_price
        tick = instrument.tick_rule.tick_at(exact(far))
        size = quote.ask_size if sign > 0 else quote.bid_size
        half = max(Decimal(int(size)) // 2, Decimal(1)) if size > 0 else resting.leaves
        quantity = min(resting.leaves, half)
        if limit is None:
            if resting.tries == 0:
                resting.seen_size = far  # the far side at arrival; the next quote decides
                return None
            worse = max(far, resting.seen_size) if sign > 0 else min(far, resting.seen_size)
            return quantity, instrument.tick_rule.moved(exact(worse), sign)
        through = (float(limit) - far) * sign
        if through < float(tick) - 1e-9:
            return None
        return quantity, limit
