"""Cross the spread: a marketable order fills at the far side, up to what is displayed there.

Conditions
- market, or limit at or through the far side: filled at the far side's price, at most its
  displayed size; the rest waits for the next quote (new size).
- a resting limit is filled when the far side comes to its price, at its own limit price.
"""

from scalpdesk.core.events import QuoteEvent
from scalpdesk.instruments.contract import Instrument
from scalpdesk.portfolio.positions import exact_price
from scalpdesk.simulation.fills.base import Match, Resting, displayed, takes_liquidity


class CrossFill:
    """The honest default: pay the spread, and no more size than was shown."""

    name = "cross"

    def match(self, resting: Resting, quote: QuoteEvent, instrument: Instrument) -> Match | None:  # noqa: ARG002
        """Fill at the far side."""
        if not takes_liquidity(resting, quote):
            return None
        limit = resting.limit_price
        far_side = exact_price(quote.ask if resting.sign > 0 else quote.bid)
        price = far_side if limit is None or resting.tries == 0 else limit
        return displayed(resting, quote), price
