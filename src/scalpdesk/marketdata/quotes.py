"""What a quote is worth: its verdict, and the filter that keeps odd spreads out of the spot price."""

import math
from enum import StrEnum

from scalpdesk.core.events import QuoteEvent


class QuoteVerdict(StrEnum):
    """The one thing that is wrong with a quote, or ``good``."""

    GOOD = "good"
    ABSENT = "absent"
    STALE = "stale"
    CROSSED = "crossed"
    LOCKED = "locked"
    ONE_SIDED = "one_sided"
    ZERO_BID = "zero_bid"
    NON_FINITE = "non_finite"
    NEGATIVE = "negative"
    OUT_OF_ORDER = "out_of_order"


def judge_quote(bid: float, ask: float) -> QuoteVerdict:
    """Return what is wrong with a pair of prices, worst first.

    A side that is NaN is missing; a bid of zero is a venue's way to say that nobody bids.

    >>> judge_quote(1.2, 1.1).value, judge_quote(0.0, 0.05).value
    ('crossed', 'zero_bid')
    """
    if math.isinf(bid) or math.isinf(ask):
        return QuoteVerdict.NON_FINITE
    if bid < 0 or ask < 0:
        return QuoteVerdict.NEGATIVE
    if math.isnan(ask) or ask == 0:
        return QuoteVerdict.ONE_SIDED
    if math.isnan(bid) or bid == 0:
        return QuoteVerdict.ZERO_BID
    if bid > ask:
        return QuoteVerdict.CROSSED
    if bid == ask:
        return QuoteVerdict.LOCKED
    return QuoteVerdict.GOOD


def mark_price(quote: QuoteEvent) -> float:
    """Return what one unit is valued at: the mid, with a missing bid read as zero.

    An option that nobody bids for is worth something between nothing and its ask; NaN must never
    travel from a quote into the value of the book. Without an ask the bid alone is the mark.
    """
    bid = quote.bid if quote.bid == quote.bid else 0.0  # NaN equals nothing
    return 0.5 * (bid + quote.ask) if quote.ask == quote.ask else bid


class SpreadFilter:
    """Accepts an underlying's quote only when its spread is near what it usually is.

    The exponential average of the spread starts with the first quote, which is never a price
    itself. A quote passes when its spread is at most ``tolerance`` times the average; every spread
    below ``learn_below`` moves the average, a rejected one too. The average never shrinks under one
    tick: a run of zero spreads would otherwise reject every quote that follows.

    Parameters
    ----------
    tolerance
        Largest accepted multiple of the average spread.
    learn_below
        Spreads of this size (currency) and above teach nothing.
    weight
        Weight of the newest spread.
    tick
        Smallest average, in currency.
    """

    def __init__(
        self, tolerance: float = 1.5, learn_below: float = 0.5, weight: float = 0.1, tick: float = 0.01
    ) -> None:
        self.tolerance = tolerance
        self.learn_below = learn_below
        self.weight = weight
        self.tick = tick
        self.average: float | None = None

    def accepts(self, spread: float) -> bool:
        """Judge one spread (currency) and learn from it."""
        average = self.average
        if average is None:
            if spread < self.learn_below:
                self.average = max(spread, self.tick)
            return False
        accepted = spread <= self.tolerance * average + 1e-12
        if spread < self.learn_below:
            self.average = max((1.0 - self.weight) * average + self.weight * spread, self.tick)
        return accepted
