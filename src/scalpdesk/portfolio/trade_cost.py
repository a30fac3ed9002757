"""Cost of one execution against the mark, from the execution and the quote alone."""

from decimal import Decimal

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.structs import FrozenLeaf
from scalpdesk.core.units import ZERO
from scalpdesk.instruments.contract import Instrument
from scalpdesk.portfolio.positions import exact_price


class TradeCost(FrozenLeaf, frozen=True, gc=False):
    """Cost of an execution beyond the mark, in currency; gains are negative."""

    spread: Decimal = ZERO
    slippage: Decimal = ZERO
    mark_noise: float = 0.0
    """By how much the mark is off the value that the cost is measured from."""
    better_by: Decimal = ZERO
    """Gain of a fill that beats the mark by more than the quote's near side and a tick; else zero."""


def trade_cost(
    instrument: Instrument,
    quote: QuoteEvent,
    signed_quantity: Decimal,
    price: Decimal,
    mark: Decimal,
    *,
    fair: Decimal | None = None,
    is_lost: bool = False,
) -> TradeCost:
    """Return what an execution cost beyond the mark.

    The distance from the mark to the far side of the quote is the spread cost, half the spread near the
    money; the rest of the distance between the price and the mark is slippage.

    ``instrument``, ``quote``, ``signed_quantity``: What was traded, its latest quote, and how much: negative
    for a sale.
    ``price``, ``mark``, ``fair``: Paid; the mark; the value that the cost is measured from, if it is not the
    mark; currency per unit.
    ``is_lost``: Whether the quote was lost: the whole distance to the mark is then mark noise.
    """
    worth = instrument.value
    worth_at_mark, paid = worth(signed_quantity, mark), worth(signed_quantity, price)
    if is_lost:
        return TradeCost(mark_noise=float(worth_at_mark - paid))
    spread, noise, better_by = ZERO, 0.0, ZERO
    far, near = (quote.ask, quote.bid) if signed_quantity > 0 else (quote.bid, quote.ask)
    if far > 0.0:  # a side that is missing is no number
        spread = max(worth(signed_quantity, exact_price(far)) - worth_at_mark, ZERO)
    if fair is not None:
        worth_at_fair = worth(signed_quantity, fair)
        mark, worth_at_mark, noise = fair, worth_at_fair, float(worth_at_mark - worth_at_fair)
    paid_over_mark = paid - worth_at_mark
    if paid_over_mark < spread:
        # a fill inside the quote (at mid, or resting) costs only the distance to the mid
        spread = max(paid_over_mark, ZERO)
    if paid_over_mark < ZERO:
        allowed = instrument.tick_rule.tick_at(mark)
        if near > 0.0:
            allowed += abs(exact_price(near) - mark)
        if paid_over_mark < -abs(worth(signed_quantity, mark + allowed) - worth_at_mark):
            better_by = -paid_over_mark
    return TradeCost(spread, paid_over_mark - spread, noise, better_by)
