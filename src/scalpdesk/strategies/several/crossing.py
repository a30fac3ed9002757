"""Nets the orders of several strategies that share one account.

An account that trades with itself makes a wash trade: venues refuse it, regulators ask about it. So
two strategies' opposite wishes never rest at the venue where they could meet. A new order of one
strategy meets what another has under way in one of these ways, best first:

1. The other's is on its way out in the same wake, or waits inside: both cross, at the mid of a good
   quote, or at the limit that forbids the mid when it lies within the quote.
2. The other's rests at the venue with a limit behind the market's far side: the new one becomes a
   limit order a tick before it. It trades at once and the two cannot meet.
3. The other's rests at the market: it is taken back, the new one waits; when it is off the book the
   two cross, and what is left of either goes out.
4. The other's is about to fill (at the market), or the quote is not good: the new one waits.

The venue settles an expired option that the account holds; of one strategy's long against another's
short it knows nothing. They settle inside, at the intrinsic value by the underlying's mark.
"""

from decimal import Decimal
from typing import NamedTuple

import msgspec

from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.events import Event, OrderCancelled, OrderFilled, QuoteEvent
from scalpdesk.core.intents import (
    EXITS,
    AskFolder,
    CancelIntent,
    Intent,
    OrderIntent,
    OrderType,
    Purpose,
    SetTimer,
    Side,
    SubmitOrder,
)
from scalpdesk.core.units import ZERO, InstrumentId, exact
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.orders.order import TERMINAL, Order, OrderState
from scalpdesk.portfolio.sub_books import SubBooks
from scalpdesk.strategies.contract import Action, DeskView, Proposal
from scalpdesk.strategies.several.member import Member, Waiting


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


def can_meet(item: Wish, other: Wish) -> bool:
    """Return whether a venue could match the two with each other."""
    if item.instrument_id != other.instrument_id or item.side is other.side:
        return False
    buy, sell = (item, other) if item.side is Side.BUY else (other, item)
    return buy.limit_price is None or sell.limit_price is None or buy.limit_price >= sell.limit_price


def cross_price(item: Wish, other: Wish, quote: QuoteEvent) -> Decimal | None:
    """Return the price at which the two cross inside, currency per unit; None for no fair one.

    The mid of the quote; where a limit forbids it, the limit, as long as it lies within the quote.
    ``quote`` must be a good one, and the two must be able to meet.
    """
    buy, sell = (item, other) if item.side is Side.BUY else (other, item)
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


class Piece(msgspec.Struct):
    """An order on its way out; ``left`` is what of it is not crossed inside."""

    member: Member
    intent: OrderIntent
    left: Decimal


class Outgoing(msgspec.Struct):
    """A member's proposal while it is netted."""

    member: Member
    proposal: Proposal
    notes: list[str] = msgspec.field(default_factory=list)
    pieces: list[Piece] = msgspec.field(default_factory=list)
    cancels: list[CancelIntent] = msgspec.field(default_factory=list)
    is_done_inside: bool = False
    """Something of it was done without the venue."""

    def as_proposal(self) -> Proposal:
        """Return the proposal as it goes to the engine."""
        name = self.member.name
        intents: list[Intent] = [
            msgspec.structs.replace(piece.intent, quantity=piece.left, owner=name)
            for piece in self.pieces
            if piece.left > 0
        ]
        return Proposal(
            self.proposal.kind,
            (*self.proposal.reasons, *self.notes),
            {"strategy": name, **self.proposal.facts},
            (*self.cancels, *intents),
            self.proposal.all_or_none,
            carried_out=self.is_done_inside,
            leg_orders=self.proposal.leg_orders,
        )


class MemberActions:
    """Collects the actions of one wake in order."""

    def __init__(self) -> None:
        self._entries: list[Outgoing | Proposal | SetTimer | AskFolder] = []

    def add(self, entry: Outgoing | Proposal | SetTimer | AskFolder) -> None:
        """Put something at the end."""
        self._entries.append(entry)

    def actions(self) -> tuple[Action, ...]:
        """Return everything as the engine takes it."""
        return tuple(item.as_proposal() if isinstance(item, Outgoing) else item for item in self._entries)

    def pieces(self) -> list[Piece]:
        """Return the orders that are on their way out."""
        return [
            piece
            for item in self._entries
            if isinstance(item, Outgoing)
            for piece in item.pieces
            if piece.left > 0
        ]

    def meeting(self, member: Member, intent: OrderIntent) -> list[Piece]:
        """Return other strategies' orders on their way out that this one could meet."""
        wish = wish_of(intent)
        return [
            piece
            for piece in self.pieces()
            if piece.member is not member and can_meet(wish, wish_of(piece.intent))
        ]

    def signed(self, number: InstrumentId) -> tuple[Decimal, Decimal]:
        """Return the units of an instrument on their way out: sold (zero or below) and bought."""
        sells = buys = ZERO
        for piece in self.pieces():
            if piece.intent.instrument_id == number:
                signed = piece.left * piece.intent.side.sign
                sells, buys = sells + min(signed, ZERO), buys + max(signed, ZERO)
        return sells, buys

    def pieces_of(self, member: Member) -> list[Piece]:
        """Return the member's orders on their way out."""
        return [piece for piece in self.pieces() if piece.member is member]

    def note_crossed(self, piece: Piece, note: str) -> None:
        """Note on an order's proposal that part of it was crossed inside."""
        for item in self._entries:
            if isinstance(item, Outgoing) and any(own is piece for own in item.pieces):
                item.is_done_inside = True
                item.notes.append(note)


def settle_inside(view: DeskView, books: SubBooks) -> list[Proposal]:
    """Settle what has expired between the books; return each settlement as a decision."""
    found: list[Proposal] = []
    numbers = {item.instrument_id for book in books.books.values() for item in book.positions.held()}
    for number in sorted(numbers):
        contract = view.instruments[number]
        if not isinstance(contract, OptionContract) or view.positions.quantity(number):
            continue
        if expiry_instant_ns(contract) > view.now_ns:
            continue
        mark = view.market.mark(view.instruments.id_of(contract.underlying))
        if mark is not None:
            found += _settle(view, books, number, contract, exact(mark))
    return found


def _settle(
    view: DeskView, books: SubBooks, number: InstrumentId, contract: OptionContract, level: Decimal
) -> list[Proposal]:
    intrinsic = level - contract.strike if contract.is_call else contract.strike - level
    price = max(intrinsic, ZERO)
    found: list[Proposal] = []
    longs = [name for name, book in books.books.items() if book.quantity(number) > 0]
    for holder in longs:
        for writer, book in books.books.items():
            units = min(books.of(holder).quantity(number), -book.quantity(number))
            if units <= 0:
                continue
            reference = f"expiry-{contract.symbol}-{holder}-{writer}"
            books.cross(
                (writer, Purpose.CLOSE), (holder, Purpose.CLOSE), number, units, price, reference, view.now_ns
            )
            words = (
                f"{units} {contract.symbol} of {holder or 'nobody'} against {writer or 'nobody'} expired:"
                f" settled inside at {price}"
            )
            facts: dict[str, str | float | int] = {
                "symbol": contract.symbol,
                "buyer": writer,
                "seller": holder,
                "quantity": float(units),
                "price": float(price),
                "reference": reference,
            }
            found.append(Proposal(DecisionKind.CROSS, (words,), facts, carried_out=True))
    return found


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
        self, view: DeskView, member: Member, intents: list[OrderIntent], box: MemberActions
    ) -> list[str]:
        """Return why legs that belong together cannot go: another member's orders they would meet."""
        found = []
        for intent in intents:
            others = [piece.member.name for piece in box.meeting(member, intent)]
            others += [item.member.name for item in self._waiting_against(member, intent)]
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
        box: MemberActions,
        created_ns: int | None = None,
    ) -> None:
        """Send, cross or queue one order; in parts where necessary."""
        since_ns = view.now_ns if created_ns is None else created_ns
        # the risk gate refuses it, with its reason; nor is there a price to cross at while trading is halted
        if view.mode is Mode.HALTED or _is_held_back(view, intent.instrument_id):
            going.pieces.append(Piece(member, intent, intent.quantity))
            return
        if _is_owed_inside(view, intent):
            intent = msgspec.structs.replace(intent, order_type=OrderType.MARKET, limit_price=None)
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
        box: MemberActions,
    ) -> None:
        """Send what the account may trade in one order; the rest waits until the holding is zero."""
        held = view.positions.quantity(intent.instrument_id)
        now = self._free(view, intent, box)
        if now:
            going.pieces.append(Piece(member, intent, now))
        if now < intent.quantity:
            why = f"the account holds {held:+f}: it first goes to zero"
            if _is_owed_inside(view, intent):
                why = f"the account holds {held:+f}: it crosses with another strategy's exit, at the mid"
            self._wait(member, intent, intent.quantity - now, since_ns, going, why)

    @staticmethod
    def _free(view: DeskView, intent: OrderIntent, box: MemberActions) -> Decimal:
        """Return how much of an order may go before the account's holding crosses zero."""
        number = intent.instrument_id
        sells, buys = box.signed(number)
        for order in view.orders.live_for(number):
            leaves = order.signed_leaves
            sells, buys = sells + min(leaves, ZERO), buys + max(leaves, ZERO)
        if _is_owed_inside(view, intent):
            return ZERO  # a venue refuses to close what the account does not hold
        held = view.positions.quantity(number)
        return abs(within_holding(intent.signed_quantity, held, sells, buys))

    def _cross_inside(
        self,
        view: DeskView,
        member: Member,
        intent: OrderIntent,
        going: Outgoing,
        box: MemberActions,
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
        item: tuple[Member, OrderIntent],
        other: tuple[Member, OrderIntent],
        units: Decimal,
        price: Decimal,
        quote: QuoteEvent,
    ) -> Proposal:
        """Book a cross in both books; let both learn of it; return it as a decision."""
        buyer, seller = (item, other) if item[1].side is Side.BUY else (other, item)
        self._crosses += 1
        number = item[1].instrument_id
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
            item
            for item in self.waiting
            if item.member is not member and can_meet(wish, wish_of(item.intent)) and item.left > 0
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
        """Drop an order that was taken back: its owner has cancelled it."""
        self._taken_back.discard(client_order_id)

    def note(self, view: DeskView, event: Event, box: MemberActions) -> bool:
        """Follow an order that was taken back; return whether its owner is notified.

        Once it is off the book, what is left of it is wanted anew in its owner's name: it crosses with
        what waits for it, and the rest of it goes out again.
        """
        order = view.order_of(event)
        if order is None or order.client_order_id not in self._taken_back or order.state not in TERMINAL:
            return True
        name = order.client_order_id
        self._taken_back.discard(name)
        if not isinstance(event, OrderCancelled) or _is_held_back(view, order.submitted.instrument_id):
            return True
        left = order.submitted.quantity - order.filled
        member = self._members[order.submitted.owner]
        member.orders.orders[name] = order
        intent = intent_of(order.submitted, left, "taken back to cross inside")
        reason = f"{name} is off the book: what is left of it crosses, or goes out again"
        going = Outgoing(member, Proposal(DecisionKind.NETTING, (reason,), {"left": float(left)}))
        box.add(going)
        member.look(view)
        self.place(view, member, intent, going, box)
        return False

    def try_waiting(self, view: DeskView, box: MemberActions) -> None:
        """Try again, in order, what waits; it may wait on."""
        if not self.waiting:
            return
        if view.mode in (Mode.HALTED, Mode.FLATTENING):
            self.end_waiting(
                box, f"the desk is {view.mode.lower()}", opening_only=view.mode is not Mode.HALTED
            )
        for item in tuple(self.waiting):
            if item not in self.waiting or self._is_blocked(view, item, box):
                continue
            member = item.member
            units = item.left
            held = member.book.quantity(item.intent.instrument_id) * item.intent.side.sign
            if item.intent.purpose in EXITS and -held < units:  # a fill was busted meanwhile
                self.drop(item.order, "its owner holds less than it closes")
                continue
            self.waiting.remove(item)
            member.orders.stop_waiting(item.order, "tried again")
            going = Outgoing(member, Proposal(DecisionKind.NETTING, (f"waited: {item.intent.reason}",)))
            box.add(going)
            intent = msgspec.structs.replace(item.intent, quantity=units)
            self.place(view, member, intent, going, box, item.order.created_ns)

    def _is_blocked(self, view: DeskView, item: Waiting, box: MemberActions) -> bool:
        """Whether nothing has changed for what waits: then it is not even tried."""
        if _is_held_back(view, item.intent.instrument_id):
            return True
        intent, quote = item.intent, _good_quote(view, item.intent)
        inside = [*box.meeting(item.member, intent), *self._waiting_against(item.member, intent)]
        if inside:
            return quote is None
        resting = _resting_against(view, item.member, intent)
        if resting:
            return all(_is_leaving(order) for order in resting)
        if quote is None and intent.purpose not in EXITS:
            return True  # its owner would not send it on such a quote either
        return not self._free(view, intent, box)

    def awaits_exit(self, view: DeskView, order: Order) -> bool:
        """Whether an order waits for another strategy's exit alone: it has no price to renew."""
        return any(item.order is order and _is_owed_inside(view, item.intent) for item in self.waiting)

    def drop(self, order: Order, why: str) -> None:
        """Forget an order that waits."""
        for item in tuple(self.waiting):
            if item.order is order:
                self.waiting.remove(item)
        self._members[order.submitted.owner].orders.stop_waiting(order, why)

    def end_waiting(self, box: MemberActions, why: str, *, opening_only: bool = False) -> None:
        """Forget everything that waits, or what of it would open."""
        if not opening_only:
            self._taken_back.clear()
        for item in tuple(self.waiting):
            if opening_only and item.intent.purpose is not Purpose.OPEN:
                continue
            self.drop(item.order, why)
            reason = f"{item.intent.side.value} {item.left or item.intent.quantity} no longer waits: {why}"
            box.add(Outgoing(item.member, Proposal(DecisionKind.NETTING, (reason,))))


def intent_of(submitted: SubmitOrder, units: Decimal, reason: str = "") -> OrderIntent:
    """Return the intent that wants so many units of a submitted order anew."""
    return OrderIntent(
        submitted.instrument_id,
        submitted.side,
        units,
        submitted.purpose,
        reason,
        submitted.order_type,
        submitted.limit_price,
        submitted.time_in_force,
    )


def _good_quote(view: DeskView, intent: OrderIntent) -> QuoteEvent | None:
    """Return the instrument's quote when it is a good one and the market is open."""
    session = view.session
    number = intent.instrument_id
    if session is None or not session.open_ns <= view.now_ns <= session.close_ns:
        return None
    return (
        view.market.quotes[number] if view.market.verdict(number, view.now_ns) is QuoteVerdict.GOOD else None
    )


def _is_held_back(view: DeskView, instrument_id: InstrumentId) -> bool:
    """Whether nothing may trade in an instrument now, inside the desk or at the venue."""
    return not view.is_compared or view.is_halted(instrument_id)


def _is_owed_inside(view: DeskView, intent: OrderIntent) -> bool:
    """Whether an exit closes an option that only another strategy holds against it, not the account."""
    number = intent.instrument_id
    is_exit = intent.purpose in EXITS and isinstance(view.instruments[number], OptionContract)
    return is_exit and view.positions.quantity(number) * intent.signed_quantity >= 0


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
