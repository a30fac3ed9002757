"""Right of way between the orders of several strategies that share one account.

An account that trades with itself makes a wash trade: venues refuse or cancel it, and FINRA rule 5210
forbids it. So opposite orders of two strategies never work at once where they could meet.

1. An opening order gives way: the risk gate refuses it while another strategy's order is in its way, and it
   is refused here while another strategy's hedge or exit waits. Its strategy decides again at its next wake.
2. A hedge or an exit goes first: the other strategy's order in its way is cancelled, and the hedge or exit is
   sent as soon as that is off the book. Until then it waits here, and its strategy sees it as its own order.
"""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.intents import (
    EXITS,
    OPENING,
    AskFolder,
    CancelIntent,
    Intent,
    OrderIntent,
    OrderType,
    SetTimer,
    Side,
    SubmitOrder,
)
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO, InstrumentId
from scalpdesk.hedging.sizing import up_to_zero
from scalpdesk.marketdata.quotes import may_trade
from scalpdesk.orders.order import UNCERTAIN, Order
from scalpdesk.risk.checks import prices_meet
from scalpdesk.strategies.contract import Action, DeskView, Proposal
from scalpdesk.strategies.several.member import Member, Waiting

ABOUT_TO_FILL_NS = 5 * NANOS_PER_SECOND
"""Age at which another strategy's order at the market is cancelled too; a younger one is waited for.

So is a hedge or exit that rests, where the other one has a limit as well: without it two exits at prices that
meet would cancel each other in turns without a pause.
"""


def _can_meet(item: OrderIntent | SubmitOrder, other: OrderIntent | SubmitOrder) -> bool:
    """Return whether a venue could match the two with each other."""
    return (
        item.instrument_id == other.instrument_id
        and item.side is not other.side
        and prices_meet(item.side, item.limit_price, other.limit_price)
    )


class Outgoing(msgspec.Struct):
    """A member's proposal with the orders and cancels of it that go to the engine."""

    member: Member
    proposal: Proposal
    notes: list[str] = msgspec.field(default_factory=list)
    intents: list[OrderIntent] = msgspec.field(default_factory=list)
    cancels: list[CancelIntent] = msgspec.field(default_factory=list)
    is_done_inside: bool = False
    """Something of it was done without the venue."""

    def as_proposal(self) -> Proposal:
        """Return the proposal as it goes to the engine."""
        name = self.member.name
        intents: list[Intent] = [msgspec.structs.replace(item, owner=name) for item in self.intents]
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

    def _outgoing(self) -> list[Outgoing]:
        return [item for item in self._entries if isinstance(item, Outgoing)]

    def meets(self, member: Member, intent: OrderIntent) -> bool:
        """Return whether an order could meet another member's on its way out."""
        return any(
            _can_meet(intent, other)
            for item in self._outgoing()
            if item.member is not member
            for other in item.intents
        )

    def withdraw_openings(self, member: Member, intent: OrderIntent) -> None:
        """Do not send other members' opening orders that a hedge or an exit would meet."""
        for item in self._outgoing():
            if item.member is not member and any(
                other.purpose in OPENING and _can_meet(intent, other) for other in item.intents
            ):
                item.intents.clear()
                item.notes.append(f"not sent: {_goes_first(member, intent)}")

    def signed(self, number: InstrumentId) -> tuple[Decimal, Decimal]:
        """Return the units of an instrument on their way out: sold (zero or below) and bought."""
        signed = [
            intent.signed_quantity
            for item in self._outgoing()
            for intent in item.intents
            if intent.instrument_id == number
        ]
        return sum((min(units, ZERO) for units in signed), ZERO), sum((max(u, ZERO) for u in signed), ZERO)


class RightOfWay:
    """Lets the members' hedges and exits go first, and keeps those that wait for it.

    ``members``: By name, in their order.
    """

    def __init__(self, members: dict[str, Member]) -> None:
        self._members = members
        self.waiting: list[Waiting] = []

    # placing ----------------------------------------------------------------------------------------

    def why_refused(
        self, view: DeskView, member: Member, intent: OrderIntent, box: MemberActions, *, is_leg: bool
    ) -> str | None:
        """Return why an opening order may not go now, or None.

        ``is_leg``: Whether it belongs together with others: a leg is sent whole or not at all.
        """
        symbol = view.instruments[intent.instrument_id].symbol
        for item in self.waiting:
            if item.member is not member and _can_meet(intent, item.intent):
                return f"{symbol}: {_goes_first(item.member, item.intent)}"
        if is_leg and self._free(view, intent, box) < intent.quantity:
            return f"the account holds {symbol} the other way: one order cannot cross zero"
        return None

    def place(
        self,
        view: DeskView,
        member: Member,
        intent: OrderIntent,
        going: Outgoing,
        box: MemberActions,
    ) -> None:
        """Send an order as far as it may go; what is left of a hedge or an exit waits."""
        if _is_held_back(view, intent.instrument_id):  # the risk gate refuses it, with its reason
            going.intents.append(intent)
            return
        if intent.purpose not in OPENING:
            box.withdraw_openings(member, intent)
            others = _in_the_way(view, member, intent)
            going.cancels += _cancels(others, intent, member, view.now_ns)
            if others or box.meets(member, intent):
                names = ", ".join(order.client_order_id for order in others) or "another strategy's order"
                self._wait(view, member, intent, going, f"{names} would meet it")
                return
        free = self._free(view, intent, box)
        if free:
            going.intents.append(msgspec.structs.replace(intent, quantity=free))
        left = intent.quantity - free
        if not left:
            return
        held = view.positions.quantity(intent.instrument_id)
        if _is_option_sale(view, intent):
            going.notes.append(f"{left} not sent: the account holds {held:+f}, the rest ends at the expiry")
        elif intent.purpose in OPENING:
            going.notes.append(f"{left} not sent: the account holds {held:+f}, one order cannot cross zero")
        else:
            rest = msgspec.structs.replace(intent, quantity=left)
            self._wait(view, member, rest, going, f"the account holds {held:+f}: it first goes to zero")

    @staticmethod
    def _free(view: DeskView, intent: OrderIntent, box: MemberActions) -> Decimal:
        """Return how much of an order may go before the account's holding crosses zero."""
        number = intent.instrument_id
        sells, buys = box.signed(number)
        for order in view.orders.live_for(number):
            leaves = order.signed_leaves
            sells, buys = sells + min(leaves, ZERO), buys + max(leaves, ZERO)
        held = view.positions.quantity(number)
        if _is_option_sale(view, intent):
            return min(intent.quantity, max(held + sells, ZERO))
        return abs(up_to_zero(intent.signed_quantity, held, buys if intent.side is Side.BUY else sells))

    # waiting ----------------------------------------------------------------------------------------

    def _wait(self, view: DeskView, member: Member, intent: OrderIntent, going: Outgoing, why: str) -> None:
        self.waiting.append(Waiting(member, intent, member.orders.wait_for(intent, view.now_ns)))
        going.is_done_inside = True
        going.notes.append(f"{intent.quantity} waits: {why}")

    def try_waiting(self, view: DeskView, box: MemberActions) -> None:
        """Send what waits and has nothing in its way any more; cancel what is still there and due.

        What may not be sent now ends: its strategy decides again by the market of then.
        """
        for item in tuple(self.waiting):
            member, intent = item.member, item.intent
            verdict = view.market.verdict(intent.instrument_id, view.now_ns)
            if _is_held_back(view, intent.instrument_id):
                self._end(item, box, "nothing may be sent now")
                continue
            is_option = view.instruments[intent.instrument_id].is_option
            opens = intent.purpose not in EXITS
            if not may_trade(verdict, intent.side, is_option=is_option, opens=opens):
                self._end(item, box, f"the quote is {verdict}")
                continue
            others = _in_the_way(view, member, intent)
            if others:
                cancels = _cancels(others, intent, member, view.now_ns)
                if cancels:
                    why = f"waits: {_goes_first(member, intent)}"
                    box.add(Outgoing(member, Proposal(DecisionKind.RIGHT_OF_WAY, (why,)), cancels=cancels))
                continue
            if box.meets(member, intent) or not self._free(view, intent, box):
                continue
            self.waiting.remove(item)
            member.orders.stop_waiting(item.order, "sent")
            going = Outgoing(member, Proposal(DecisionKind.RIGHT_OF_WAY, (f"waited: {intent.reason}",)))
            box.add(going)
            self.place(view, member, intent, going, box)

    def drop(self, order: Order, why: str) -> None:
        """Forget an order that waits."""
        self.waiting = [item for item in self.waiting if item.order is not order]
        self._members[order.submitted.owner].orders.stop_waiting(order, why)

    def end_waiting(self, box: MemberActions, why: str) -> None:
        """Forget everything that waits."""
        for item in tuple(self.waiting):
            self._end(item, box, why)

    def _end(self, item: Waiting, box: MemberActions, why: str) -> None:
        self.drop(item.order, why)
        reason = f"{item.intent.side.value} {item.intent.quantity} no longer waits: {why}"
        box.add(Outgoing(item.member, Proposal(DecisionKind.RIGHT_OF_WAY, (reason,))))


def _goes_first(member: Member, intent: OrderIntent) -> str:
    return f"{member.name}'s {intent.side.value} {intent.quantity} goes first"


def _is_held_back(view: DeskView, instrument_id: InstrumentId) -> bool:
    """Return whether nothing may be sent in an instrument now."""
    return view.mode is Mode.HALTED or not view.is_compared or view.is_halted(instrument_id)


def _is_option_sale(view: DeskView, intent: OrderIntent) -> bool:
    """Return whether an exit sells an option: beyond what the account holds it would write one."""
    is_sale = intent.side is Side.SELL and intent.purpose in EXITS
    return is_sale and view.instruments[intent.instrument_id].is_option


def _in_the_way(view: DeskView, member: Member, intent: OrderIntent) -> list[Order]:
    """Return other members' live orders at the venue that this one could meet, oldest first."""
    return [
        order
        for order in view.orders.live_for(intent.instrument_id)
        if order.submitted.owner != member.name and _can_meet(intent, order.submitted)
    ]


def _cancels(orders: Sequence[Order], intent: OrderIntent, member: Member, now_ns: int) -> list[CancelIntent]:
    """Return cancels of the orders that give way now: not those in doubt, nor those about to fill."""
    why, at_market = _goes_first(member, intent), OrderType.MARKET
    cancels = []
    for order in orders:
        sent = order.submitted
        gives_way = sent.purpose in OPENING or intent.order_type is at_market
        is_due = (gives_way and sent.order_type is not at_market) or (
            order.created_ns <= now_ns - ABOUT_TO_FILL_NS
        )
        if is_due and order.state not in UNCERTAIN:
            cancels.append(CancelIntent(order.client_order_id, why))
    return cancels
