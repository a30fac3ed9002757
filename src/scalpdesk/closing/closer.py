"""The driver that closes lines, one try at each leg after the other until nothing is left."""

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.closing.leg import ClosingLeg, ClosingStyle, HasSent, Look, Rung, Sight
from scalpdesk.core.intents import EXITS, OrderIntent, OrderType, Purpose, Side
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, ZERO, InstrumentId
from scalpdesk.orders.order import UNCERTAIN, Order
from scalpdesk.portfolio.positions import PositionManager

BOTH_TYPES = frozenset({OrderType.MARKET, OrderType.LIMIT})
COVER_TRIES = 3
"""Tries to buy a sold option back after which what does not cover it is sold too."""
LIMITS_ALONE = frozenset({OrderType.LIMIT})


class ClosingLine(NamedTuple):
    """A position to be closed: its owner, the instrument and the signed quantity held."""

    owner: str
    instrument_id: InstrumentId
    quantity: Decimal


class Tries(NamedTuple):
    """Orders to send now, and when the legs are due that wait, UTC nanoseconds."""

    orders: list[OrderIntent]
    due_ns: list[int]


class Closer:
    """Closes lines: each leg on the rung that fits what is seen of it.

    Parameters
    ----------
    style
        How it tries.
    allowed
        Order types that may be sent.
    """

    def __init__(self, style: ClosingStyle, allowed: Collection[str] = BOTH_TYPES) -> None:
        self.style = style
        self.allowed = allowed
        self.retry_ns = int(style.retry_seconds * NANOS_PER_SECOND)
        self._pause_ns = int(style.pause_seconds * NANOS_PER_SECOND)
        self._legs: dict[tuple[str, InstrumentId], ClosingLeg] = {}
        self._since_ns = self._mid_until_ns = 0
        """From when until when exit orders rest at the mid, or walk from it."""

    def begin(self, now_ns: int = 0, rest_seconds: float = 0.0) -> None:
        """Start without a memory of earlier tries; exits rest at the mid for so long."""
        self._legs.clear()
        self._since_ns, self._mid_until_ns = now_ns, now_ns + int(rest_seconds * NANOS_PER_SECOND)

    def leg(self, number: InstrumentId, owner: str = "") -> ClosingLeg:
        """Return what was tried at an instrument."""
        return self._legs.setdefault((owner, number), ClosingLeg())

    def is_patient(self, now_ns: int) -> bool:
        """Return whether exit orders may still rest at the mid, or walk from it."""
        return now_ns < self._mid_until_ns

    def is_late(self, order: Order, look: Look, now_ns: int) -> bool:
        """Return whether an exit order was not filled in time and does not rest where it should."""
        sent = order.submitted
        if sent.purpose not in EXITS or order.state in UNCERTAIN or order.created_ns > now_ns - self.retry_ns:
            return False
        if not self.style.walks and self.is_patient(now_ns):
            return False
        number = sent.instrument_id
        return not self.leg(number).rests_rightly(order, look(number), self.allowed)

    def tries(
        self,
        lines: Sequence[ClosingLine],
        working: Callable[[ClosingLine], Sequence[Order]],
        look: Look,
        why: str,
        *,
        has_sent: HasSent,
        is_hurried: bool = False,
    ) -> Tries:
        """Return the orders that are due for what is held and not on its way out.

        Parameters
        ----------
        lines
            What is to be closed.
        working
            Returns the orders that may still fill of a line: its owner's own alone hold it up.
        look
            Returns what is seen of an instrument.
        why
            Reason of the orders.
        has_sent
            Whether an earlier try became an order: the risk gate refuses without an event.
        is_hurried
            Whether nothing rests at the mid.
        """
        orders: list[OrderIntent] = []
        due_ns: list[int] = []
        for line in lines:
            number, own = line.instrument_id, working(line)
            seen, leg = look(number), self.leg(number, line.owner)
            left = line.quantity + sum((order.signed_leaves for order in own), ZERO)
            are_exits = all(order.submitted.purpose in EXITS for order in own)
            waits = own and not (self.style.tops_up and are_exits)
            if waits or left * line.quantity <= 0:  # an exit crosses no zero, whatever becomes of the rest
                if own:  # its end is an event, and the timer looks after it
                    age_ns = seen.now_ns - own[0].created_ns
                    due_ns.append(seen.now_ns + self.retry_ns - age_ns % self.retry_ns)
                continue
            if seen.is_halted:  # nothing may be sent; tried at once when it trades again
                leg.not_before_ns = 0
                continue
            leg.note_seen(seen)
            if seen.now_ns < leg.not_before_ns:
                due_ns.append(leg.not_before_ns)
                continue
            order = self._try(leg, line, left, seen, why, is_hurried=is_hurried)
            # counts as an attempt whatever its outcome: the gate may refuse it without an event
            is_sent = leg.sent_ns is None or has_sent(number, leg.sent_ns)
            leg.note_try(seen, self._pause_ns, is_sent=is_sent)
            due_ns.append(leg.not_before_ns)
            if order is not None:
                leg.tries += 1
                orders.append(order)
        return Tries(orders, due_ns)

    def _try(
        self, leg: ClosingLeg, line: ClosingLine, left: Decimal, seen: Sight, why: str, *, is_hurried: bool
    ) -> OrderIntent | None:
        """Return the next order at a leg; None while nothing can be sent."""
        side = Side.SELL if left > 0 else Side.BUY
        is_patient = not is_hurried and self.is_patient(seen.now_ns)
        rung = leg.rung(seen, side, self.style, self.allowed, is_patient=is_patient)
        if rung is None or seen.quote is None:
            return None
        is_hedge = self.style.unwinds_shares and not seen.instrument.is_option
        purpose = Purpose.UNWIND_HEDGE if is_hedge else Purpose.CLOSE
        if rung is Rung.MARKET:
            return OrderIntent(line.instrument_id, side, abs(left), purpose, why, owner=line.owner)
        walked = 0.0
        if self.style.walks and is_patient:
            walked = (seen.now_ns - self._since_ns) / (self._mid_until_ns - self._since_ns)
        ticks = leg.tries + (OrderType.MARKET not in self.allowed)
        price = leg.price(rung, seen, side, ticks=ticks, walked=walked)
        if price is None:
            return None
        why = f"{why}; try {leg.tries + 1}"
        if rung is Rung.MODEL:
            minutes = (seen.now_ns - seen.quote.ts_recv_ns) / MINUTE_NS
            known = f"no quote for {minutes:.0f} minutes"
            if seen.shows_no_price:
                known = f"the quote of {seen.quote.bid:g} by {seen.quote.ask:g} shows no price"
            why += f", priced by the model: {known}"
        limit = OrderType.LIMIT
        return OrderIntent(line.instrument_id, side, abs(left), purpose, why, limit, price, owner=line.owner)


def closing_lines(
    positions: PositionManager, books: Mapping[str, PositionManager] | None
) -> list[ClosingLine]:
    """Return what is to be closed: the account's positions, by strategy where several share it.

    What two strategies hold against each other is not at the venue: selling it for one and buying it
    for the other would only open what is to be closed.
    """
    held = positions.held()
    if books is None:
        return [ClosingLine("", position.instrument_id, position.quantity) for position in held]
    left = {position.instrument_id: position.quantity for position in held}
    lines = []
    for owner, book in books.items():
        for position in book.held():
            at_venue = left.get(position.instrument_id, ZERO)
            if at_venue and (at_venue > 0) is (position.quantity > 0):
                part = min(position.quantity, at_venue, key=abs)
                left[position.instrument_id] = at_venue - part
                lines.append(ClosingLine(owner, position.instrument_id, part))
    return lines
