"""How working orders meet quotes: stops wake, orders fill, exits cancel one another."""

import math
from decimal import Decimal

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import exact, floor_to
from scalpdesk.portfolio.positions import exact_price
from scalpdesk.simulation.broker.books import Books
from scalpdesk.simulation.broker.orders import (
    MATCHABLE,
    ZERO,
    Execution,
    Kind,
    Lifetime,
    Status,
    Structure,
    VenueOrder,
)

SHARE_STEP = Decimal("0.000000001")


class Matcher:
    """Applies quotes to the working orders of the books.

    Parameters
    ----------
    books
        State of the broker.
    """

    def __init__(self, books: Books) -> None:
        self._books = books
        self.held_back: dict[str, Decimal] = {}
        """By order id: how much of it may trade for now (a partial fill on purpose)."""

    def on_quote(self, quote: QuoteEvent) -> None:
        """Take a quote in and match what works on its instrument."""
        books = self._books
        number = quote.instrument_id
        books.quotes[number] = quote
        for order in tuple(books.working.get(number, ())):
            self.match(order)
        if books.combos:
            for combo in tuple(books.combos):
                if any(leg.instrument_id == number for leg in combo.legs):
                    self.match(combo)

    def match(self, order: VenueOrder, *, closing: bool = False) -> None:
        """Let one order trade against the present quote, if it may."""
        books = self._books
        if order.status not in MATCHABLE or (order.lifetime is Lifetime.CLS and not closing):
            return
        if order.instrument_id is None:
            self._match_legs(order)
            return
        quote = books.quotes.get(order.instrument_id)
        if quote is None or order.instrument_id in books.halted or order.resting is None:
            return
        if quote.ts_recv_ns < books.session_open_ns:
            return
        if order.waits_for_stop and not self._wake(order, quote):
            return
        if order.request.notional is not None and not order.quantity:
            self._size_by_notional(order, quote)
            if not order.quantity:
                return
        found = books.model_of(order.instrument_id).match(
            order.resting, quote, books.instruments[order.instrument_id]
        )
        order.resting.tries += 1
        if found is None or found.quantity <= 0:
            return
        if order.lifetime is Lifetime.FOK and found.quantity < order.leaves:
            return
        quantity = min(found.quantity, order.leaves)
        if order.order_id in self.held_back:
            quantity = min(quantity, self.held_back[order.order_id])
            self.held_back[order.order_id] -= quantity
        if quantity > 0:
            self.fill(order, quantity, found.price)

    def fill(self, order: VenueOrder, quantity: Decimal, price: Decimal) -> None:
        """Book an execution of one order, tell it, and settle what hangs on the order."""
        books = self._books
        execution = books.trade(order, quantity, price)
        account = books.accounts[order.account]
        assert order.instrument_id is not None
        held = account.quantity(order.instrument_id)
        if order.leaves > 0:
            if order.status is Status.NEW:
                order.status = Status.PARTIALLY_FILLED
            books.emit(order, "partial_fill", execution, held)
            self._shrink_sibling(order)
            return
        order.status = Status.FILLED
        order.filled_ns = books.now_ns
        books.leave(order)
        books.emit(order, "fill", execution, held)
        self._after_fill(order)

    def _wake(self, order: VenueOrder, quote: QuoteEvent) -> bool:
        """Look whether a stop's price has come; a trailing stop follows the mid."""
        mid = quote.mid
        if not math.isfinite(mid):
            return False
        price, sign = exact(mid), order.side.sign
        if order.kind is Kind.TRAILING_STOP:
            best = order.high_water
            order.high_water = price if best is None or (best - price) * sign > 0 else best
            trail = order.trail_price
            if trail is None:
                assert order.trail_percent is not None
                trail = order.high_water * order.trail_percent / 100
            order.stop_price = exact(float(order.high_water + sign * trail), 2)
        assert order.stop_price is not None
        if (price - order.stop_price) * sign < 0:
            return False
        order.triggered = True
        return True

    @staticmethod
    def _size_by_notional(order: VenueOrder, quote: QuoteEvent) -> None:
        """Turn an amount of money into shares at the far side."""
        far = quote.ask if order.side.sign > 0 else quote.bid
        if not far > 0:
            return
        assert order.request.notional is not None
        order.quantity = floor_to(order.request.notional / exact_price(far), SHARE_STEP)
        if order.resting is not None:
            order.resting.leaves = order.leaves

    def _after_fill(self, order: VenueOrder) -> None:
        """Wake the exits of an entry; cancel the other of two exits."""
        books = self._books
        structure = order.request.structure
        if order.parent is None and structure in (Structure.BRACKET, Structure.OTO):
            for leg in order.legs:
                self.release(leg)
            return
        for other in self.siblings(order):
            if other.is_open:
                books.end(other, Status.CANCELED)

    def release(self, leg: VenueOrder) -> None:
        """Let a held exit work."""
        if leg.status is not Status.HELD:
            return
        leg.status = Status.NEW
        self._books.join(leg)
        self._books.emit(leg, "new")
        self.match(leg)

    def siblings(self, order: VenueOrder) -> list[VenueOrder]:
        """Return the orders that end when this one fills."""
        books = self._books
        if order.parent is not None:
            parent = books.orders[order.parent]
            others = [leg for leg in parent.legs if leg is not order]
            return [*others, parent] if parent.request.structure is Structure.OCO else others
        if order.request.structure is Structure.OCO:
            return list(order.legs)
        return []

    def _shrink_sibling(self, order: VenueOrder) -> None:
        """After a part of one exit the other covers the rest only."""
        for other in self.siblings(order):
            if other.is_open and other.leaves > order.leaves:
                other.quantity = other.filled + order.leaves
                if other.resting is not None:
                    other.resting.leaves = other.leaves

    def _match_legs(self, combo: VenueOrder) -> None:
        """Trade all legs at their far sides at once, or none."""
        books = self._books
        units, net = combo.leaves, ZERO
        prices: list[Decimal] = []
        for leg in combo.legs:
            number = leg.instrument_id
            quote = books.quotes.get(number) if number is not None else None
            if quote is None or number in books.halted or quote.ts_recv_ns < books.session_open_ns:
                return
            buys = leg.side.sign > 0
            far, size = (quote.ask, quote.ask_size) if buys else (quote.bid, quote.bid_size)
            if not far > 0:
                return
            price = exact_price(far)
            prices.append(price)
            net += leg.side.sign * leg.ratio * price
            if size > 0:
                units = min(units, Decimal(int(size)) // leg.ratio)
        if units <= 0 or (combo.limit_price is not None and net > combo.limit_price):
            return
        for leg, price in zip(combo.legs, prices, strict=True):
            books.trade(leg, units * leg.ratio, price)
            done = leg.leaves == 0
            leg.status = Status.FILLED if done else Status.PARTIALLY_FILLED
            leg.updated_ns = books.now_ns
            leg.filled_ns = books.now_ns if done else 0
        combo.filled += units
        combo.value += units * net
        whole = combo.leaves == 0
        combo.status = Status.FILLED if whole else Status.PARTIALLY_FILLED
        if whole:
            combo.filled_ns = books.now_ns
            books.leave(combo)
        execution = Execution(
            books.new_id("execution"),
            combo.account,
            combo.order_id,
            combo.client_order_id,
            None,
            combo.side,
            units,
            net,
            ZERO,
            books.now_ns,
        )
        books.emit(combo, "fill" if whole else "partial_fill", execution, None)
