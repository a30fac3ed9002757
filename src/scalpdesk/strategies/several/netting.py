"""When two orders of one account would meet, and what they are worth to each other.

An account that trades with itself makes a wash trade: venues refuse it, regulators ask about it. So
two strategies' opposite wishes never rest at the venue where they could meet. They cross inside, at
the mid of a good quote, or one of them keeps a tick away from the other.
"""

from decimal import Decimal
from typing import NamedTuple

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import OrderIntent, OrderType, Side, SubmitOrder
from scalpdesk.core.units import InstrumentId, exact


class Wish(NamedTuple):
    """The price of an order or intent: what of it decides whether it meets another."""

    instrument_id: InstrumentId
    side: Side
    limit_price: Decimal | None
    """Currency per unit; None takes any price."""


def wish_of(order: OrderIntent | SubmitOrder) -> Wish:
    """Return the price of an order or an intent."""
    limit = order.limit_price if order.order_type is OrderType.LIMIT else None
    return Wish(order.instrument_id, order.side, limit)


def can_meet(one: Wish, other: Wish) -> bool:
    """Return whether a venue could match the two with each other."""
    if one.instrument_id != other.instrument_id or one.side is other.side:
        return False
    buy, sell = (one, other) if one.side is Side.BUY else (other, one)
    return buy.limit_price is None or sell.limit_price is None or buy.limit_price >= sell.limit_price


def cross_price(one: Wish, other: Wish, quote: QuoteEvent) -> Decimal | None:
    """Return the price at which the two cross inside, currency per unit; None for no fair one.

    The mid of the quote; where a limit forbids it, the limit, as long as it lies within the quote.
    ``quote`` must be a good one, and the two must be able to meet.
    """
    buy, sell = (one, other) if one.side is Side.BUY else (other, one)
    price = exact(quote.mid)
    if sell.limit_price is not None:
        price = max(price, sell.limit_price)
    if buy.limit_price is not None:
        price = min(price, buy.limit_price)
    return price if exact(quote.bid) <= price <= exact(quote.ask) else None


def limit_beside(new: Wish, resting: Wish, quote: QuoteEvent, tick: Decimal) -> Decimal | None:
    """Return a limit for ``new`` that trades at once and still cannot meet ``resting``, or None.

    One tick short of the resting order's limit: possible while the market's far side lies before it.
    """
    if resting.limit_price is None:
        return None
    if new.side is Side.BUY:
        limit = resting.limit_price - tick
        return limit if limit >= exact(quote.ask) else None
    limit = resting.limit_price + tick
    return limit if limit <= exact(quote.bid) else None


def within_holding(signed: Decimal, held: Decimal, sells: Decimal, buys: Decimal) -> Decimal:
    """Return how much of an order may go before the account's holding crosses zero.

    Brokers take no order that closes a holding and opens its opposite. ``held`` is signed; ``sells``
    (zero or below) and ``buys`` (zero or above) are what live orders may still fill.
    """
    if held > 0 and signed < 0:
        free = max(held + sells, Decimal(0))
        return max(signed, -free)
    if held < 0 and signed > 0:
        free = max(-held - buys, Decimal(0))
        return min(signed, free)
    return signed
