"""Orders in doubt for which the venue gives no proof: what else settles them.

The account's positions together with its cash are a proof (:func:`fills_shown`). A person's word is the last
(:class:`Testimony`). Both book executions under ids of the desk's own
(:data:`scalpdesk.orders.order.SETTLED`). The venue's own execution takes their place if it comes after all
(:func:`making_room`).
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, Protocol

from scalpdesk.core.errors import StopError
from scalpdesk.core.events import (
    Event,
    FillBusted,
    OrderCancelled,
    OrderFilled,
    OrderNotFound,
    OrderSettled,
    QuoteEvent,
)
from scalpdesk.core.units import ZERO, InstrumentId, number_text
from scalpdesk.instruments.contract import Instrument, Instruments
from scalpdesk.instruments.fees import FeeModel, trade_date
from scalpdesk.live.differences import Explained, Gap
from scalpdesk.orders.order import SETTLED, Order, OrderState
from scalpdesk.venues.execution_bounds import Misfit, misfit_of_fee, misfit_of_price

_DIGITS = 8
"""Decimals of a price where one sum of cash paid for several instruments."""


class Doubt(NamedTuple):
    """An order in doubt, and what the venue counts as filled of it where it shows the order as over."""

    order: Order
    over: Decimal | None = None

    @property
    def missing(self) -> Decimal:
        """Quantity that may be filled without the desk's knowledge."""
        order = self.order
        leaves = order.leaves if order.is_live else order.submitted.quantity - order.filled
        return leaves if self.over is None else min(max(self.over - order.filled, ZERO), leaves)


class QuotesByNumber(Protocol):
    """Latest quotes."""

    def __getitem__(self, number: InstrumentId, /) -> QuoteEvent | None:
        """Return an instrument's; None where there was none."""
        ...


class Market(NamedTuple):
    """Facts that tell which price and fee an order can have had."""

    instruments: Instruments
    quotes: QuotesByNumber
    fees: FeeModel

    def misfit(
        self, order: Order, quantity: Decimal, price: Decimal, fee: Decimal, at_ns: int, now_ns: int
    ) -> Misfit | None:
        """Return why an execution cannot be; ``at_ns`` is when it happened, as far as that is known."""
        sent = order.submitted
        instrument, quote = self.instruments[sent.instrument_id], self.quotes[sent.instrument_id]
        of_price = misfit_of_price(instrument, sent, price, at_ns, [quote], is_leg=bool(order.parent_id))
        scheduled = self.fee(order, quantity, max(price, ZERO), now_ns)
        return of_price or misfit_of_fee(
            instrument, quantity, price, fee, scheduled=scheduled, resting=scheduled
        )

    def fee(self, order: Order, quantity: Decimal, price: Decimal, now_ns: int) -> Decimal:
        """Return the schedule's fee."""
        sent = order.submitted
        day = self.fees.on(trade_date(now_ns))
        return day.fee(self.instruments[sent.instrument_id], sent.side, quantity, price)


# what the account shows -------------------------------------------------------------------------------------


def fills_shown(doubts: Sequence[Doubt], gap: Gap, market: Market, now_ns: int) -> list[Explained]:
    """Return the executions of orders in doubt that a gap shows: its units, at the price that its cash tells.

    Empty where the units are not theirs alone, fewer than the venue counts, or the cash is no price that they
    can have had.
    """
    parts: list[tuple[Order, Decimal]] = []
    rest = dict(gap.units)
    for order, over in sorted(doubts, key=lambda doubt: doubt.over is None):
        number, sign = order.submitted.instrument_id, order.submitted.side.sign
        missing = Doubt(order, over).missing
        quantity = min(max(rest.get(number, ZERO) * sign, ZERO), missing)
        if over is not None and quantity < missing:
            return []
        if quantity:
            parts.append((order, quantity))
            rest[number] -= quantity * sign
    if not parts or any(rest.values()):
        return []
    prices = _prices(parts, gap.cash, market, now_ns)
    found = []
    for (order, quantity), (price, fee) in zip(parts, prices, strict=bool(prices)):
        if market.misfit(order, quantity, price, fee, now_ns, now_ns) is not None:
            return []
        event = _fill(order, quantity, price, fee, now_ns)
        instrument, units = (
            market.instruments[order.submitted.instrument_id],
            quantity * order.submitted.side.sign,
        )
        text = f"{units:+f} {instrument.symbol} at {number_text(price)}, order {order.client_order_id}"
        cash = instrument.cash_flow(units, price) - fee
        found.append(
            Explained(
                None, f"by position and cash: {text}", event, order.submitted.instrument_id, units, cash
            )
        )
    return found


def _prices(
    parts: Sequence[tuple[Order, Decimal]], cash: Decimal, market: Market, now_ns: int
) -> list[tuple[Decimal, Decimal]]:
    """Return price and fee of each part, which come to the cash exactly; empty where it does not tell them.

    Of one instrument the price is the tick that leaves about the schedule's fee. Where several share the
    cash, each price is its middle, moved by the same part of it.
    """
    numbers = {order.submitted.instrument_id for order, _ in parts}
    if any(market.instruments[number].is_future for number in numbers):
        return []  # a future's price moves no cash before its settlement
    if len(numbers) > 1:
        return _shared_prices(parts, cash, market, now_ns)
    (number,) = numbers
    instrument = market.instruments[number]
    sent, total = parts[0][0].submitted, sum((quantity for _, quantity in parts), ZERO)
    if sent.limit_price is None and market.quotes[number] is None:
        return []  # any price would do
    signed = total * sent.side.sign
    with_fee = _price_of(instrument, signed, -cash)
    if with_fee <= 0 and not instrument.is_option:
        return []
    fee = market.fee(parts[0][0], total, max(with_fee, ZERO), now_ns)
    price = instrument.tick_rule.round(max(_price_of(instrument, signed, -cash - fee), ZERO), "nearest")
    paid = [price] * len(parts)
    fees = [ZERO] * len(parts)
    fees[0] = instrument.cash_flow(signed, price) - cash
    return list(zip(paid, fees, strict=True))


def _shared_prices(
    parts: Sequence[tuple[Order, Decimal]], cash: Decimal, market: Market, now_ns: int
) -> list[tuple[Decimal, Decimal]]:
    middles: list[Decimal] = []
    flow = traded = ZERO
    for order, quantity in parts:
        sent = order.submitted
        instrument, quote = market.instruments[sent.instrument_id], market.quotes[sent.instrument_id]
        if quote is None or not quote.mid > 0.0 or instrument.is_inverse_future:
            return []
        middles.append(Decimal(str(quote.mid)))
        flow += instrument.cash_flow(quantity * sent.side.sign, middles[-1])
        flow -= market.fee(order, quantity, middles[-1], now_ns)
        traded += abs(instrument.value(quantity, middles[-1]))
    worse = (flow - cash) / traded  # than at the middles, a part of them
    found, left = [], cash
    for (order, quantity), middle in zip(parts, middles, strict=True):
        sent = order.submitted
        price = round(middle * (1 + sent.side.sign * worse), _DIGITS)
        fee = market.fee(order, quantity, middle, now_ns)
        left -= market.instruments[sent.instrument_id].cash_flow(quantity * sent.side.sign, price) - fee
        found.append((price, fee))
    (price, fee), *others = found
    return [(price, fee - left), *others]


def _price_of(instrument: Instrument, units: Decimal, worth: Decimal) -> Decimal:
    """Return the price at which units are worth an amount, currency per unit."""
    if instrument.is_inverse_future:
        return units * instrument.value(Decimal(1), Decimal(1)) / worth if worth else ZERO
    return worth / instrument.value(units, Decimal(1))


# a person's word --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Testimony:
    """What a person saw at the broker of an order in doubt; ``answer`` is done once it is booked, or refused.

    ``fee`` is None where he did not see it; ``cash`` is then the account's, where the venue shows it.
    """

    order: str
    filled: Decimal
    price: Decimal | None
    fee: Decimal | None
    reason: str
    who: str
    answer: "asyncio.Future[dict[str, str]]"
    cash: Decimal | None = None

    def events(self, order: Order, market: Market, own_cash: Decimal, now_ns: int) -> list[Event]:
        """Return what books it: his words, the execution, and the end of the order.

        ``own_cash``: The desk's cash before it.

        Raises StopError for a quantity that is not open, and for a price or fee that cannot be.
        """
        name = order.client_order_id
        fee = self._checked(order, market, own_cash, now_ns)
        price = ZERO if self.price is None else self.price
        found: list[Event] = [
            OrderSettled(name, now_ns, now_ns, self.filled, price, fee, self.reason, self.who)
        ]
        if self.filled:
            found.append(_fill(order, self.filled, price, fee, now_ns))
        if self.filled < order.leaves:
            is_strange = order.state is OrderState.UNKNOWN and not self.filled
            why = f"settled by {self.who}: {self.reason}"
            found.append(
                OrderNotFound(name, now_ns, now_ns)
                if is_strange
                else OrderCancelled(name, now_ns, now_ns, why)
            )
        return found

    def _checked(self, order: Order, market: Market, own_cash: Decimal, now_ns: int) -> Decimal:
        """Return the fee; refuse what cannot be."""
        sent, leaves, filled = order.submitted, order.leaves, self.filled
        instrument, name = market.instruments[sent.instrument_id], sent.client_order_id
        what = f"{sent.side.value} {number_text(sent.quantity)} {instrument.symbol}"
        if not filled.is_finite() or filled < 0 or filled > leaves:
            raise StopError(
                f"order {name} ({what}) has {number_text(leaves)} open",
                where="--filled",
                value=number_text(filled) if filled.is_finite() else str(filled),
                fix=f"from 0 to {number_text(leaves)}; what is booked already is not counted",
            )
        if filled % instrument.step and not sent.quantity % instrument.step:
            raise StopError(
                f"{instrument.symbol} trades in steps of {number_text(instrument.step)}",
                where="--filled",
                value=number_text(filled),
                fix="give the quantity as the broker shows it",
            )
        if not filled:
            return ZERO
        if self.price is None:
            raise StopError(
                "a fill needs its price", where="--price", fix="give the price a unit, as the broker shows it"
            )
        signed = filled * sent.side.sign
        if not self.price.is_finite():
            raise StopError(
                "the price is no number",
                where="--price",
                value=str(self.price),
                fix="give the price a unit, as the broker shows it",
            )
        fee = self.fee
        if fee is None:
            fee = scheduled = market.fee(order, filled, max(self.price, ZERO), now_ns)
            if self.cash is not None and not instrument.is_future:
                shown = instrument.cash_flow(signed, self.price) - (self.cash - own_cash)
                fits = market.misfit(order, filled, self.price, shown, 0, now_ns) is None
                fee = shown if fits else scheduled
        misfit = market.misfit(order, filled, self.price, fee, 0, now_ns)
        if misfit is not None:
            is_fee = misfit.field == "fee"
            raise StopError(
                f"the {misfit.field} of order {name} ({what}) cannot be {number_text(misfit.number)}",
                where="--fee" if is_fee else "--price",
                value=number_text(misfit.number),
                fix=f"expected is {misfit.expected}",
            )
        return fee


def _fill(order: Order, quantity: Decimal, price: Decimal, fee: Decimal, now_ns: int) -> OrderFilled:
    name, filled = order.client_order_id, order.filled
    span = f"{number_text(filled)}-{number_text(filled + quantity)}"
    return OrderFilled(name, now_ns, now_ns, f"{SETTLED}{name}/{span}", quantity, price, fee)


# the venue's own execution, after all -----------------------------------------------------------------------


def making_room(
    order: Order, event: OrderFilled, fee_of: Mapping[str, Decimal]
) -> Iterator[FillBusted | OrderFilled]:
    """Yield what takes back the settled executions in whose place the venue's own one comes.

    ``fee_of``: Fees booked with settled executions, by their ids.
    """
    left, name = event.quantity, event.client_order_id
    if event.execution_id.startswith(SETTLED) or order.has_seen(event.execution_id):
        return
    for settled, (quantity, price) in order.settled.items():
        if left <= 0:
            return
        stamps = event.ts_event_ns, event.ts_recv_ns
        yield FillBusted(name, *stamps, settled, "the venue reports it", is_corrected=True, more_follow=True)
        rest = quantity - left
        if rest > 0:
            fee = fee_of.get(settled, ZERO) * rest / quantity
            yield OrderFilled(name, *stamps, f"{settled}/{number_text(rest)}", rest, price, fee)
        left -= quantity
