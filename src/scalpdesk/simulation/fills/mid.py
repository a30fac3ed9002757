"""Fill at the mid, whole and at once.

Conditions
- a market order fills at the mid of a two-sided quote, its full quantity.
- a limit order fills at the mid when the mid is at or better than its limit.

No trader gets this in life. It is for comparing with calculations that ignore the spread, and for an
upper bound.
"""

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import exact
from scalpdesk.instruments.contract import Instrument
from scalpdesk.simulation.fills.base import Match, Resting


class MidFill:
    """No spread, no size limit."""

    name = "mid"

    def match(self, resting: Resting, quote: QuoteEvent, instrument: Instrument) -> Match | None:  # noqa: ARG002
        """Fill at the mid."""
        mid = quote.mid
        if not mid > 0:
            return None
        limit = resting.limit_price
        if limit is not None and (mid - float(limit)) * resting.sign > 1e-9:
            return None
        return resting.leaves, exact(mid)
