"""Bounds of an execution: its quantity, price and fee, held to the order, the quotes and the fee schedule.

A number beyond them is not false for that: a fast market trades far from the last quote. It counts once a
second answer of the venue says the same; what no order can mean (a quantity beyond the order) never does.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import Side, SubmitOrder
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO
from scalpdesk.instruments.contract import Instrument

_FRESH_NS = 60 * NANOS_PER_SECOND
"""A quote of so long before or after an execution says where the market was."""
_OPTION_BAND, _OPTION_BAND_STALE = Decimal("0.5"), Decimal(2)
_BAND, _BAND_STALE = Decimal("0.02"), Decimal("0.25")
"""Widths of the bands beside the quotes, fractions of the price: of options and of all else, beside a fresh
quote and beside an older one."""
_OF_UNDERLYING = Decimal("0.001")
"""Least width of an option's band, a fraction of its strike (of one coin where it is quoted in coin)."""
_TIMES_SCHEDULE = 4
_UNSCHEDULED, _REBATE = Decimal("0.002"), Decimal("0.0001")
"""Largest fee without a schedule, and largest rebate: fractions of what is traded."""
_SMALL_FEE = Decimal(2)
"""Fee in dollars that is no slip for any execution: the minimum of an order, an exchange's own fee."""


class Misfit(NamedTuple):
    """A number of an execution that does not fit its order."""

    field: str
    number: Decimal
    expected: str
    may_be: bool = True
    """Whether a second answer that says the same makes it true."""

    def __str__(self) -> str:
        return f"{self.field} {self.number:f}, expected {self.expected}"


def misfit_of_quantity(quantity: Decimal, start: Decimal, end: Decimal, most: Decimal) -> Misfit | None:
    """Return why a quantity cannot be an execution of an order.

    ``start``, ``end``: Filled quantity of the order before and after it.
    ``most``: Largest filled quantity that the order can have.
    """
    if not quantity.is_finite() or quantity <= 0:
        return Misfit("quantity", quantity, "a number above 0", may_be=False)
    if start < 0:
        return Misfit("quantity", quantity, f"at most {end:f}: so much is filled after it", may_be=False)
    if end > most:
        return Misfit(
            "quantity", quantity, f"at most {max(most - start, ZERO):f}: no more is open", may_be=False
        )
    return None


def misfit_of_price(
    instrument: Instrument,
    order: SubmitOrder,
    price: Decimal,
    at_ns: int,
    quotes: Iterable[QuoteEvent | None],
    *,
    is_leg: bool = False,
) -> Misfit | None:
    """Return why a price does not fit an order.

    Parameters
    ----------
    instrument, order
        The order and its instrument.
    price
        Price of the execution, currency per unit.
    at_ns
        When it happened, UTC nanoseconds.
    quotes
        Quotes of the instrument when the order was sent and now; None where there was none.
    is_leg
        Whether the order is the leg of a combo, whose own limit is not looked at.
    """
    if not price.is_finite() or price < 0 or (not price and not instrument.is_option):
        least = "0 or more" if instrument.is_option else "above 0"
        return Misfit("price", price, f"a number {least}", may_be=False)
    limit = None if is_leg else order.limit_price
    if limit is not None:
        tick, is_buy = instrument.tick_rule.tick_at(limit), order.side is Side.BUY
        if price > limit + tick if is_buy else price < limit - tick:
            word = "at most" if is_buy else "at least"
            return Misfit("price", price, f"{word} {limit:f}, the limit of the {order.side.value}")
    found = [quote for quote in quotes if quote is not None]
    prices = [Decimal(str(side)) for quote in found for side in (quote.bid, quote.ask) if side > 0.0]
    if not prices:
        return None
    prices += [known for known in (limit, order.trigger_price) if known is not None]
    is_fresh = any(abs(at_ns - quote.ts_event_ns) <= _FRESH_NS for quote in found)
    if instrument.is_option:
        width = _OPTION_BAND if is_fresh else _OPTION_BAND_STALE
        least_width = _OF_UNDERLYING * (1 if instrument.is_inverse else instrument.strike)
    else:
        width, least_width = _BAND if is_fresh else _BAND_STALE, instrument.tick_rule.below
    low, high = min(prices), max(prices)
    low, high = low - max(low * width, least_width), high + max(high * width, least_width)
    if low <= price <= high:
        return None
    return Misfit("price", price, f"{max(low, ZERO):f} to {high:f}, by the quotes at its time")


def misfit_of_net_price(
    legs: Iterable[tuple[Instrument, SubmitOrder, Decimal]], sets: Decimal, limit: Decimal
) -> Misfit | None:
    """Return why the prices of a combo's legs do not fit its net limit.

    ``legs`` are instrument, order and mean price of each leg; ``limit`` is what a set may cost, below 0 what
    it must bring.
    """
    net = tolerance = ZERO
    for instrument, order, price in legs:
        ratio = order.quantity / sets
        net += order.side.sign * ratio * price
        tolerance += ratio * instrument.tick_rule.tick_at(price)
    if net <= limit + tolerance:
        return None
    return Misfit("net price", net, f"at most {limit:f} a set, the limit of the combo")


def misfit_of_fee(
    instrument: Instrument,
    quantity: Decimal,
    price: Decimal,
    fee: Decimal,
    *,
    scheduled: Decimal,
    resting: Decimal,
) -> Misfit | None:
    """Return why a fee does not fit its execution.

    ``scheduled``, ``resting``: The schedule's fee, and that of an order that rested in the book.
    """
    traded = abs(instrument.value(quantity, price))
    most = _TIMES_SCHEDULE * max(scheduled, resting, ZERO)
    if not most:
        unit = (
            price if not instrument.is_option else Decimal(1) if instrument.is_inverse else instrument.strike
        )
        most = _UNSCHEDULED * max(traded, abs(instrument.value(quantity, unit)))
    if not instrument.is_coin:
        most += _SMALL_FEE
    least = _TIMES_SCHEDULE * min(resting, ZERO) - _REBATE * traded
    if fee.is_finite() and least <= fee <= most:
        return None
    return Misfit("fee", fee, f"{least:.8f} to {most:.8f}, by the schedule", may_be=fee.is_finite())
