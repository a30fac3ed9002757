"""Prices of a closing order: from the mid over the other side's quote and the model down to the least."""

from decimal import Decimal
from typing import NamedTuple

from scalpdesk.core.intents import Side
from scalpdesk.core.units import exact
from scalpdesk.instruments.contract import Instrument

DEEPEST = Decimal("0.95")
"""A limit asks for no less than this part of the bid, and pays no more than its inverse of the ask."""
LEAST_PART = Decimal("0.5")
"""A desk sells an option without a price for no less than this part of its value by the model."""


class PriceLadder(NamedTuple):
    """Limit prices of a closing order on one quote, on the instrument's tick."""

    instrument: Instrument
    side: Side
    bid: float
    ask: float
    """``bid``, ``ask``: Currency per unit; a side that is not above zero is missing."""
    spot: float | None = None
    """Price of an option's underlying; None while it is not known."""

    def meeting(self, ticks: int) -> Decimal | None:
        """Return a limit so many ticks beyond the other side's quote; None while that side is missing.

        >>> from scalpdesk.instruments.contract import Equity
        >>> PriceLadder(Equity("SPY"), Side.SELL, 500.0, 500.1).meeting(2)
        Decimal('499.9800')
        """
        rule, is_sale = self.instrument.tick_rule, self.side is Side.SELL
        near = self.bid if is_sale else self.ask
        if not near > 0:
            return None
        best = exact(near)
        if is_sale:
            return max(rule.moved(best, -ticks), min(rule.round(best * DEEPEST, "up"), best), rule.below)
        return min(rule.moved(best, ticks), max(rule.round(best / DEEPEST, "down"), best))

    def between(self, walked: float) -> Decimal:
        """Return a limit between the mid (0) and the other side's quote (1)."""
        far = exact(self.bid if self.side is Side.SELL else self.ask)
        mid = (exact(self.bid) + exact(self.ask)) / 2
        return self._round(mid + (far - mid) * exact(walked, 8))

    def by_model(self, value: float, payoff: float, step: float, least_part: Decimal = DEEPEST) -> Decimal:
        """Return a limit between an option's value by the model (0) and the least for that (1).

        The least of a sale is the payoff, and no less than ``least_part`` of the value, per unit; 95 % of
        the payoff where less than that part of the value would do. A purchase pays no more than 1/95 % of the
        value: more would be beyond every price collar.
        """
        part = float(least_part)
        if self.side is Side.SELL:
            floor = payoff if least_part >= DEEPEST else payoff * float(DEEPEST)
            price = max(value + (max(floor, value * part) - value) * step, floor)
        else:
            price = value + (value / float(DEEPEST) - value) * step
        return max(self._round(exact(price, 8)), self.instrument.tick_rule.below)

    def least(self) -> Decimal:
        """Return the least to ask for without a bid: 95 % of the payoff, or a tick."""
        if self.spot is None or not self.instrument.is_option:
            return self.instrument.tick_rule.below
        return self.instrument.least_offer(self.spot)

    def is_least(self, limit: Decimal) -> bool:
        """Return whether a limit is within a tick, or 5 %, of the least to ask for."""
        if self.spot is None or not self.instrument.is_option:
            return limit <= self.instrument.tick_rule.tick_at(limit)
        return self.instrument.is_least_offer(limit, self.spot)

    def _round(self, price: Decimal) -> Decimal:
        return self.instrument.tick_rule.round(price, "up" if self.side is Side.SELL else "down")
