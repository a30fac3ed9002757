"""Carries out the netting: crosses inside the desk, and orders that wait for one another.

The ways in which a new order of one member meets what another member has under way, best first:

1. The other's is on its way out in the same wake, or waits inside: both cross, at the mid of a good
   quote, or at the limit that forbids the mid when it lies within the quote.
2. The other's rests at the venue with a limit behind the market's far side: the new one becomes a
   limit order a tick before it. It trades at once and the two cannot meet.
3. The other's rests at the market: it is taken back, the new one waits; when it is off the book the
   two cross, and what is left of either goes out.
4. The other's is about to fill (at the market), or the quote is not good: the new one waits.
"""

from decimal import Decimal

import msgspec

from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.events import Event, OrderCancelled, OrderFilled, QuoteEvent
from scalpdesk.core.intents import CancelIntent, OrderIntent, OrderType, Purpose, Side
from scalpdesk.core.units import exact
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.orders.order import TERMINAL, Order, OrderState
from scalpdesk.portfolio.sub_books import SubBooks
from scalpdesk.strategies.contract import DeskView, Proposal
from scalpdesk.strategies.several.member import Member, Waiting
from scalpdesk.strategies.several.netting import (
    can_meet,
    cross_price,
    limit_beside,
    wish_of,
    within_holding,
)
from scalpdesk.strategies.several.outbox import Outbox, Outgoing, Piece

ZERO = Decimal(0)


class Crossing:
    """Nets what the members of one desk want.

    Parameters
    ----------
    books
        Where crosses are booked.
    members
        By name, in their order.
    """

    def __init__(self, books: SubBooks, members: dict[str, Member]) -> None:
        self._books = books
        self._members = members
        self.waiting: list[Waiting] = []
        self._taken_back: set[str] = set()
        """Orders cancelled to let another member's pass; their owners do not learn of it."""
        self._crosses = 0

    # placing ----------------------------------------------------------------------------------------

    def in_the_way(
        self, view: DeskView, member: Member, intents: list[OrderIntent], box: Outbox
    ) -> list[str]:
        """Return why legs that belong together cannot go: another member's orders they would meet."""
        found = []
        for intent in intents:
            others = [piece.member.name for piece in box.meeting(member, intent)]
            others += [one.member.name for one in self._waiting_against(member, intent)]
            others += [order.submitted.owner for order in _resting_against(view, member, intent)]
            symbol = view.instruments[intent.instrument_id].symbol
            found += [f"an order of {name} for {symbol} is in the way" for name in dict.fromkeys(others)]
            if self._free(view, intent, box) < intent.quantity:
                found.append(f"the account holds {symbol} the other way: one order cannot cross zero")
        return found

    def place(
        self,
        view: DeskView,
        member: Member,
        intent: OrderIntent,
        going: Outgoing,
        box: Outbox,
        created_ns: int | None = None,
    ) -> None:
        """Let one order go out, cross, or wait; in parts where it must."""
        since_ns = view.now_ns if created_ns is None else created_ns
        if view.mode is Mode.HALTED:  # the risk gate refuses it, with its reason
            going.pieces.append(Piece(member, intent, intent.quantity))
            return
        quote = _good_quote(view, intent)
        left, intent = self._cross_inside(view, member, intent, going, box, quote)
        if left is None:
            self._wait(member, intent, intent.quantity, since_ns, going, "another strategy's order meets it")
            return
        if not left:
            return
        intent = msgspec.structs.replace(intent, quantity=left)
        for order in _resting_against(view, member, intent):
            if not can_meet(wish_of(intent), wish_of(order.submitted)):  # its limit has been moved away
                continue
            limit = None
            if quote is not None:
                tick = view.instruments[intent.instrument_id].tick_rule.tick_at(exact(quote.mid))
                limit = limit_beside(wish_of(intent), wish_of(order.submitted), quote, tick)
            if limit is not None:
                intent = msgspec.structs.replace(intent, order_type=OrderType.LIMIT, limit_price=limit)
                going.notes.append(
                    f"limit {limit}, short of {order.submitted.owner}'s order at"
                    f" {order.submitted.limit_price}"
                )
                continue
            self._take_back(order, going, intent)
            why = f"{order.submitted.owner}'s {order.client_order_id} would meet it"
            self._wait(member, intent, intent.quantity, since_ns, going, why)
            return
        self._send(view, member, intent, since_ns, going, box)

    def _send(
        self,
        view: DeskView,
        member: Member,
        intent: OrderIntent,
        since_ns: int,
        going: Outgoing,
        box: Outbox,
    ) -> None:
        """Send what the account may trade in one order; the rest waits until the holding is zero."""
        held = view.positions.quantity(intent.instrument_id)
        now = self._free(view, intent, box)
        if now:
            going.pieces.append(Piece(member, intent, now))
        if now < intent.quantity:
            why = f"the account holds {held:+f}: it first goes to zero"
            self._wait(member, intent, intent.quantity - now, since_ns, going, why)

    @staticmethod
    def _free(view: DeskView, intent: OrderIntent, box: Outbox) -> Decimal:
        """Return how much of an order may go before the account's holding crosses zero."""
        number = intent.instrument_id
        sells, buys = box.signed(number)
        for order in view.orders.live_for(number):
            leaves = order.signed_leaves
            sells, buys = sells + min(leaves, ZERO), buys + max(leaves, ZERO)
        held = view.positions.quantity(number)
        return abs(within_holding(intent.signed_quantity, held, sells, buys))

    def _cross_inside(
        self,
        view: DeskView,
        member: Member,
        intent: OrderIntent,
        going: Outgoing,
        box: Outbox,
        quote: QuoteEvent | None,
    ) -> tuple[Decimal | None, OrderIntent]:
        """Cross with what is on its way out or waits; None for what is left says that it must wait."""
        left = intent.quantity
        against: list[Piece | Waiting] = [
            *box.meeting(member, intent),
            *self._waiting_against(member, intent),
        ]
        for other in against:
            if not left:
                break
            wish, theirs = wish_of(intent), wish_of(other.intent)
            if not can_meet(wish, theirs):
                continue
            price = None if quote is None else cross_price(wish, theirs, quote)
            if price is None:
                tick = view.instruments[intent.instrument_id].tick_rule.tick_at(
                    Decimal(1) if quote is None else exact(quote.mid)
                )
                limit = None if quote is None else limit_beside(wish, theirs, quote, tick)
                if limit is None:
                    return None, msgspec.structs.replace(intent, quantity=left)
                intent = msgspec.structs.replace(intent, order_type=OrderType.LIMIT, limit_price=limit)
                continue
            assert quote is not None
            units = min(left, other.left)
            box.add(self._cross(view, (member, intent), (other.member, other.intent), units, price, quote))
            left -= units
            going.is_done_inside = True
            going.notes.append(f"{units} crossed with {other.member.name} at {price}")
            if isinstance(other, Piece):
                other.left -= units
                box.note_crossed(other, f"{units} crossed with {member.name} at {price}")
            elif units == other.left:
                self.waiting.remove(other)
                other.member.orders.stop_waiting(other.order, "crossed inside the desk")
            else:
                other.order.submitted = msgspec.structs.replace(
                    other.order.submitted, quantity=other.order.submitted.quantity - units
                )
        return left, intent

    def _cross(
        self,
        view: DeskView,
        one: tuple[Member, OrderIntent],
        other: tuple[Member, OrderIntent],
        units: Decimal,
        price: Decimal,
        quote: QuoteEvent,
    ) -> Proposal:
        """Book a cross in both books; let both learn of it; return it as a decision."""
        buyer, seller = (one, other) if one[1].side is Side.BUY else (other, one)
        self._crosses += 1
        number = one[1].instrument_id
        reference = f"cross-{self._crosses:06d}"
        self._books.cross(
            (buyer[0].name, buyer[1].purpose),
            (seller[0].name, seller[1].purpose),
            number,
            units,
            price,
            reference,
            view.now_ns,
        )
        for member, intent in (buyer, seller):
            order = member.orders.make(intent, units, view.now_ns, "cross")
            order.fill(reference, units, price)
            word = OrderFilled(order.client_order_id, view.now_ns, view.now_ns, reference, units, price, ZERO)
            member.letters.append(word)
        symbol = view.instruments[number].symbol
        reason = (
            f"{seller[0].name} sells {units} {symbol} to {buyer[0].name} at {price} inside the desk:"
            " their orders would have met at the venue"
        )
        facts: dict[str, str | float | int] = {
            "symbol": symbol,
            "buyer": buyer[0].name,
            "seller": seller[0].name,
            "quantity": float(units),
            "price": float(price),
            "bid": quote.bid,
            "ask": quote.ask,
            "reference": reference,
        }
        return Proposal(DecisionKind.CROSS, (reason,), facts, carried_out=True)

    # waiting ----------------------------------------------------------------------------------------

    def _waiting_against(self, member: Member, intent: OrderIntent) -> list[Waiting]:
        wish = wish_of(intent)
        return [
            one
            for one in self.waiting
            if one.member is not member and can_meet(wish, wish_of(one.intent)) and one.left > 0
        ]

    def _wait(
        self,
        member: Member,
        intent: OrderIntent,
        units: Decimal,
        since_ns: int,
        going: Outgoing,
        why: str,
    ) -> None:
        order = member.orders.make(intent, units, since_ns, "waiting")
        member.orders.wait_for(order)
        self.waiting.append(Waiting(member, msgspec.structs.replace(intent, quantity=units), order))
        going.is_done_inside = True
        going.notes.append(f"{units} waits: {why}")

    def _take_back(self, order: Order, going: Outgoing, intent: OrderIntent) -> None:
        """Ask for a resting order's end so that its rest can cross inside."""
        if not _is_leaving(order):
            self._taken_back.add(order.client_order_id)
            why = f"to cross inside with {intent.side.value} {intent.quantity}"
            going.cancels.append(CancelIntent(order.client_order_id, why))

    def leave_off(self, client_order_id: str) -> None:
        """Let an order that was taken back end for good: its owner wants it no more."""
        self._taken_back.discard(client_order_id)

    def note(self, view: DeskView, event: Event, box: Outbox) -> bool:
        """Follow the venue's word on an order that was taken back; return whether its owner is told.

        Once it is off the book, what is left of it is wanted anew in its owner's name: it crosses with
        what waits for it, and the rest of it goes out again.
        """
        name = getattr(event, "client_order_id", "")
        order = view.orders.orders.get(name)
        if name not in self._taken_back or order is None or order.state not in TERMINAL:
            return True
        self._taken_back.discard(name)
        if not isinstance(event, OrderCancelled):
            return True
        submitted = order.submitted
        left = submitted.quantity - order.filled
        member = self._members[submitted.owner]
        member.orders.orders[name] = order
        intent = OrderIntent(
            submitted.instrument_id,
            submitted.side,
            left,
            submitted.purpose,
            "taken back to cross inside",
            submitted.order_type,
            submitted.limit_price,
            submitted.time_in_force,
        )
        reason = f"{name} is off the book: what is left of it crosses, or goes out again"
        going = Outgoing(member, Proposal(DecisionKind.NETTING, (reason,), {"left": float(left)}))
        box.add(going)
        member.look(view)
        self.place(view, member, intent, going, box)
        return False

    def try_waiting(self, view: DeskView, box: Outbox) -> None:
        """Try again, in order, what waits; it may wait on."""
        if not self.waiting:
            return
        if view.mode in (Mode.HALTED, Mode.FLATTENING):
            self.end_waiting(
                box, f"the desk is {view.mode.lower()}", opening_only=view.mode is not Mode.HALTED
            )
        for one in tuple(self.waiting):
            if one not in self.waiting or self._is_blocked(view, one, box):
                continue
            self.waiting.remove(one)
            member = one.member
            units = one.left
            member.orders.stop_waiting(one.order, "tried again")
            going = Outgoing(member, Proposal(DecisionKind.NETTING, (f"waited: {one.intent.reason}",)))
            box.add(going)
            intent = msgspec.structs.replace(one.intent, quantity=units)
            self.place(view, member, intent, going, box, one.order.created_ns)

    def _is_blocked(self, view: DeskView, one: Waiting, box: Outbox) -> bool:
        """Whether nothing has changed for what waits: then it is not even tried."""
        intent, quote = one.intent, _good_quote(view, one.intent)
        inside = [*box.meeting(one.member, intent), *self._waiting_against(one.member, intent)]
        if inside:
            return quote is None
        resting = _resting_against(view, one.member, intent)
        if resting:
            return all(_is_leaving(order) for order in resting)
        return not self._free(view, intent, box)

    def drop(self, order: Order, why: str) -> None:
        """Forget an order that waits."""
        for one in tuple(self.waiting):
            if one.order is order:
                self.waiting.remove(one)
        self._members[order.submitted.owner].orders.stop_waiting(order, why)

    def end_waiting(self, box: Outbox, why: str, *, opening_only: bool = False) -> None:
        """Forget everything that waits, or what of it would open."""
        if not opening_only:
            self._taken_back.clear()
        for one in tuple(self.waiting):
            if opening_only and one.intent.purpose is not Purpose.OPEN:
                continue
            self.drop(one.order, why)
            reason = f"{one.intent.side.value} {one.left or one.intent.quantity} no longer waits: {why}"
            box.add(Outgoing(one.member, Proposal(DecisionKind.NETTING, (reason,))))


def _good_quote(view: DeskView, intent: OrderIntent) -> QuoteEvent | None:
    """Return the instrument's quote when it is a good one and the market is open."""
    session = view.session
    number = intent.instrument_id
    if session is None or not session.open_ns <= view.now_ns <= session.close_ns:
        return None
    return (
        view.market.quotes[number] if view.market.verdict(number, view.now_ns) is QuoteVerdict.GOOD else None
    )


def _is_leaving(order: Order) -> bool:
    """Whether an order is about to be off the book anyway: at the market, being cancelled, or in doubt."""
    is_resting = order.submitted.order_type is OrderType.LIMIT
    return not is_resting or order.state in (OrderState.PENDING_CANCEL, OrderState.UNKNOWN)


def _resting_against(view: DeskView, member: Member, intent: OrderIntent) -> list[Order]:
    """Return other members' live orders at the venue that this one could meet, oldest first."""
    wish = wish_of(intent)
    return [
        order
        for order in view.orders.live_for(intent.instrument_id)
        if order.submitted.owner != member.name and can_meet(wish, wish_of(order.submitted))
    ]
