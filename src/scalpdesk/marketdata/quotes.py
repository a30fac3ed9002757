"""Quality of quotes: verdicts, mark prices, and a filter of abnormal spreads."""

import math
from enum import StrEnum

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import Side
from scalpdesk.pricing.kernels.triggers import is_tradable


class QuoteVerdict(StrEnum):
    """Fault of a quote, or ``good``."""

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
    CONTRADICTED = "contradicted"
    """An underlying's sides lie too far apart, or its options tell another price: it leaps and they do not
    follow, or they move and it stands still.
    """


GOOD, LOCKED = QuoteVerdict.GOOD, QuoteVerdict.LOCKED  # looking up an enum's member costs as much as a call

KEPT = frozenset({GOOD, LOCKED, QuoteVerdict.ZERO_BID, QuoteVerdict.ONE_SIDED})
"""Verdicts of an option's quotes that replace the last one; crossed and invalid quotes are only counted."""
TRADABLE = frozenset({GOOD, LOCKED})
"""Verdicts of quotes on which every order may go, and of those that replace what is no option's last one.

Half an ask is no price of a share; an option without a bid is worth little.
"""
_UNUSABLE = frozenset(
    {
        QuoteVerdict.ABSENT,
        QuoteVerdict.CROSSED,
        QuoteVerdict.NON_FINITE,
        QuoteVerdict.NEGATIVE,
        QuoteVerdict.CONTRADICTED,
    }
)
"""Verdicts of quotes on which nothing may be closed."""
LEAP = 0.005
"""Fraction of its price by which an underlying may always be quoted elsewhere than before."""
_WIDE_PART = 0.35
"""Sides that are this part of their mid apart show a price to a sixth, whatever they are in currency."""
WIDEST = 1.1
"""What is no option shows a price up to an ask of so many bids: its mid is off by a twentieth at most.

Exchanges stop the trade in a liquid share that is 5 % off, and bind its market makers to 8 % around the best
price. In a thin one that is quoted wider before the open, hedging waits.
"""
WIDE_STRIKES, WIDE_TICKS = 0.001, 5
"""Sides also show a price while they are a thousandth of the strike (for an inverse option: of a coin) or
five ticks apart. That is half a dollar on SPY, where wings are quoted 0.05 by 0.30.
"""
_WIDE_UNBID = 0.25
"""Part of that distance up to which an ask without a bid shows a price: six cents on SPY.

Half of a larger ask is no price, but the zero that a vendor writes for a missing side.
"""


def judge_quote(bid: float, ask: float) -> QuoteVerdict:
    """Return the verdict on a pair of prices, the worst fault first.

    A NaN side is missing; a bid of zero means that there is no bid.

    >>> judge_quote(1.2, 1.1).value, judge_quote(0.0, 0.05).value
    ('crossed', 'zero_bid')
    """
    if is_tradable(bid, ask):
        return LOCKED if bid == ask else GOOD
    if math.isinf(bid) or math.isinf(ask):
        return QuoteVerdict.NON_FINITE
    if bid < 0 or ask < 0:
        return QuoteVerdict.NEGATIVE
    if math.isnan(bid) or math.isnan(ask) or ask == 0:
        return QuoteVerdict.ONE_SIDED
    return QuoteVerdict.ZERO_BID if bid == 0 else QuoteVerdict.CROSSED


def may_trade(verdict: QuoteVerdict, side: Side, *, is_option: bool, opens: bool) -> bool:
    """Return whether an order may go by a quote, unless the quote :func:`is_stub`.

    An option that is bought to open needs an ask alone: the far wing of a structure often has no bidder.
    What closes needs any quote that tells a price, however old.

    >>> zero_bid = QuoteVerdict.ZERO_BID
    >>> [may_trade(zero_bid, side, is_option=True, opens=True) for side in Side]
    [True, False]
    """
    if verdict in TRADABLE:
        return True
    if not opens:
        return verdict not in _UNUSABLE
    return is_option and side is Side.BUY and verdict is QuoteVerdict.ZERO_BID


def is_stub(quote: QuoteEvent, widest: float) -> bool:
    """Return whether an option's sides lie so far apart that its price lies anywhere between.

    Further than ``widest`` (currency per unit) and than :data:`_WIDE_PART` of their mid: a market maker's
    stub, or a vendor's zero for a side that is missing. A bid that is missing counts as zero.
    """
    bid, ask = quote.bid, quote.ask
    if not bid > 0.0:
        return ask > _WIDE_UNBID * widest
    width = ask - bid
    return width > widest and width > _WIDE_PART * 0.5 * (bid + ask)


def shows_price(quote: QuoteEvent, widest: float) -> bool:
    """Return whether a quote tells what an option is worth: both sides are known, and it :func:`is_stub` not.

    A bid of zero near the ask is a side: the market says that there is no bidder.
    """
    bid, ask = quote.bid, quote.ask
    if not (bid >= 0.0 and ask > 0.0):  # NaN compares with nothing
        return False
    return (bid > 0.0 and ask - bid <= widest) or not is_stub(quote, widest)


def mark_price(quote: QuoteEvent) -> float:
    """Return the mark of one unit: the mid; with one side missing, the other.

    An option without a bid is worth between zero and its ask. NaN never enters the value of a position.
    """
    bid, ask = quote.bid, quote.ask
    if bid >= 0.0 and ask > 0.0:
        return 0.5 * (bid + ask)
    return ask if ask > 0.0 else max(0.0, bid)  # in this order: 0 of NaN


class SpreadFilter:
    """Average spread of an underlying's quotes, beside which those with an abnormal spread are left out.

    The exponential average starts with the first quote, which is left out itself. A quote is used when its
    spread is at most 1.5 times the average; every spread below ``learn_below``, used or not, updates the
    average with a weight of a tenth. The average is at least one tick: a run of zero spreads would otherwise
    leave out every later quote. The rules are in :mod:`scalpdesk.pricing.kernels.triggers`.

    ``learn_below``: Spreads of this size (currency) and above do not update the average.
    ``tick``: Smallest average, in currency.
    ``average``: In currency; NaN before the first quote.
    """

    def __init__(self, learn_below: float = 0.5, tick: float = 0.01, average: float = math.nan) -> None:
        self.learn_below = learn_below
        self.tick = tick
        self.average = average


ANY_SPREAD = SpreadFilter(-math.inf, average=math.inf)
"""Leaves out no quote and learns nothing."""
