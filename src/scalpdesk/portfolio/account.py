"""Cash, and what the whole account is worth. Everything here is exact."""

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache

from scalpdesk.core.units import exact
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.position_manager import Position

ZERO = Decimal(0)

exact_price = lru_cache(maxsize=8_192)(exact)
"""`exact` with a memory: quotes lie on a grid, and a day meets the same few hundred prices again."""


class Account:
    """Cash in the quote currency. Signed; a short sale adds to it."""

    def __init__(self, cash: Decimal = ZERO) -> None:
        self.cash = cash
        self.fees_paid = ZERO

    def pay_for(self, signed_quantity: Decimal, price: Decimal, multiplier: int, fee: Decimal) -> None:
        """Move the cash of one execution: bought units cost, sold ones bring."""
        self.cash -= signed_quantity * price * multiplier + fee
        self.fees_paid += fee


def mark_decimal(state: MarketState, position: Position) -> Decimal:
    """Return the exact value of one unit: the latest mark, or the average price when never quoted."""
    value = state.mark(position.instrument_id)
    return position.average_price if value is None else exact_price(value)


def net_asset_value(account: Account, held: Iterable[Position], state: MarketState) -> Decimal:
    """Return cash plus all positions at their marks, in the quote currency."""
    total = account.cash
    for position in held:
        total += position.quantity * position.multiplier * mark_decimal(state, position)
    return total
