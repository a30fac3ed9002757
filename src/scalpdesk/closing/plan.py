"""From what is held to what is wanted: one plan for entries, changes, exits and the last resort.

A plan is made afresh at each look, from what is held, what works and what was tried. What is filled in part,
rejected, in doubt, halted or not quoted is an input, and no state of its own.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.closing.covers import keep_covers, uncovered
from scalpdesk.closing.leg import HasSent, Look, Rung, Sight, Tactics, Tried
from scalpdesk.core.intents import EXITS, CancelIntent, LegOrders, OrderIntent, OrderType, Purpose, Side
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, ZERO, InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.orders.order import UNCERTAIN, Order
from scalpdesk.portfolio.positions import PositionManager

BOTH_TYPES = frozenset({OrderType.MARKET, OrderType.LIMIT})
COVER_TRIES = 3
"""Tries to buy a sold option back after which what does not cover it is sold too."""
LIMITS_ALONE = frozenset({OrderType.LIMIT})
AT_QUOTES = frozenset({Rung.MARKET, Rung.MID, Rung.LIMIT})
Memory = Mapping[tuple[str, InstrumentId], Tried]
"""What was tried so far, by owner and instrument."""


class TargetLine(NamedTuple):
    """What an owner holds of an instrument, and what it wants to hold, signed."""

    owner: str
    instrument_id: InstrumentId
    held: Decimal
    wanted: Decimal = ZERO

    @property
    def opens(self) -> bool:
        """Whether more is wanted than is held, on the same side."""
        return self.held * self.wanted >= 0 and abs(self.wanted) > abs(self.held)

    def is_of(self, order: Order) -> bool:
        """Return whether an order may fill what the line is about."""
        sent = order.submitted
        return sent.instrument_id == self.instrument_id and self.owner in ("", sent.owner)

    def missing(self, working: Iterable[Order]) -> Decimal:
        """Return what may be ordered, signed: whatever fills, across neither zero nor what is wanted."""
        goal = self.wanted if self.held * self.wanted >= 0 else ZERO
        leaves = [order.signed_leaves for order in working]
        if goal > self.held:
            return max(goal - self.held - sum((each for each in leaves if each > 0), ZERO), ZERO)
        return min(goal - self.held - sum((each for each in leaves if each < 0), ZERO), ZERO)


class Target(NamedTuple):
    """What is wanted, and how to get there."""

    lines: Sequence[TargetLine]
    tactics: Tactics
    why: str
    """Reason of the orders that close."""
    name: str = ""
    """What is opened, in words."""
    ratios: Mapping[InstrumentId, int] = {}
    """Contracts of one set by option, where the lines are a structure."""
    leg_orders: LegOrders = LegOrders.LEGS
    """Whether the lines may go as one order."""
    allowed: Collection[str] = BOTH_TYPES
    """Order types that may be sent."""
    since_ns: int = 0
    """Orders that were sent before are taken off."""
    mid_until_ns: int = 0
    """Until when orders rest at the mid, or walk from it."""
    may_open: bool = True
    is_hurried: bool = False
    """Whether nothing rests at the mid, and no leg waits for another."""
    is_unwanted: Callable[[Order], bool] = lambda _: False
    """Whether an order is taken off whatever the lines say."""


class World(NamedTuple):
    """All else that a plan may know."""

    now_ns: int
    instruments: Instruments
    look: Look
    orders: Sequence[Order]
    """All of the owners that may still fill: a line waits for those of its owner, without one for all."""
    has_sent: HasSent = lambda *_: True
    """Whether an earlier try became an order: the risk gate refuses without an event."""


class Plan(NamedTuple):
    """Orders to send and to take off now, and when to look again."""

    cancels: tuple[CancelIntent, ...]
    orders: tuple[OrderIntent, ...]
    goes_as_one: bool
    """Whether the orders may go as one."""
    is_held_back: bool
    """Whether a sale waits for what it would leave uncovered."""
    is_given_up: bool
    """Whether an opening was tried as often as it may be."""
    due_ns: tuple[int, ...]
    """When the lines are due that wait, UTC nanoseconds."""
    memory: Memory


def plan(target: Target, world: World, memory: Memory) -> Plan:
    """Return the orders that are due from what is held to what is wanted.

    Parameters
    ----------
    target
        What is wanted; an exit wants nothing.
    world
        What is seen.
    memory
        Of the plan before, empty at first.
    """
    tactics, now_ns = target.tactics, world.now_ns
    own = {line: [order for order in world.orders if line.is_of(order)] for line in target.lines}
    opening = {line.instrument_id for line in target.lines if line.opens}
    cancels = tuple(
        CancelIntent(order.client_order_id, why)
        for order in world.orders
        if (why := _why_off(order, target, world, memory, opening))
    )
    # an order over several legs ends leg by leg; what opens is tried together
    holds_all = not target.is_hurried and any(order.parent_id for each in own.values() for order in each)
    holds_opening = any(own[line] for line in target.lines if line.opens)
    legs, tried, due_ns, is_given_up = dict(memory), list[tuple[OrderIntent, Rung]](), list[int](), False
    for line, working in own.items():
        key, retry_ns = (line.owner, line.instrument_id), tactics.retry_ns
        leg = legs[key] = memory.get(key) or Tried(first_ns=now_ns)
        tops_up = tactics.tops_up and all(order.submitted.purpose in EXITS for order in working)
        missing = line.missing(working)
        if working and not (tops_up and missing):  # its end is an event, and the timer looks after it
            due_ns.append(now_ns + retry_ns - (now_ns - working[0].created_ns) % retry_ns)
        elif missing and not (holds_all or (line.opens and holds_opening)):
            seen = world.look(line.instrument_id)
            leg = leg.after_sight(seen)
            is_due = now_ns >= leg.not_before_ns
            if seen.is_halted:  # nothing may be sent; tried at once when it trades again
                leg = leg._replace(not_before_ns=0)
            elif is_due and line.opens and (leg.tries >= tactics.max_tries or not target.may_open):
                is_given_up = True
            else:
                if is_due:
                    leg, order, rung = _try(leg, line, missing, seen, target, world)
                    tried += [] if order is None or rung is None else [(order, rung)]
                due_ns.append(leg.not_before_ns)
        legs[key] = leg
    goes_as_one = _goes_as_one(tried, target, legs)
    orders = [order for order, _ in tried]
    if not goes_as_one:
        orders = _in_sequence(orders, target, world, own, legs)
    sent = {(order.owner, order.instrument_id) for order in orders}
    for order, _ in tried:
        key = order.owner, order.instrument_id
        if key not in sent:  # what is not proposed was not tried
            legs[key] = memory.get(key) or Tried(first_ns=now_ns)
    is_held_back = len(orders) < len(tried)
    return Plan(cancels, tuple(orders), goes_as_one, is_held_back, is_given_up, tuple(due_ns), legs)


def _why_off(
    order: Order, target: Target, world: World, memory: Memory, opening: Collection[InstrumentId]
) -> str:
    """Return why an order is taken off: not wanted, or not filled in time where it does not rest rightly."""
    sent, tactics = order.submitted, target.tactics
    if order.state in UNCERTAIN:
        return ""
    opens = sent.purpose is Purpose.OPEN
    is_foreign = order.created_ns < target.since_ns or target.is_unwanted(order)
    if is_foreign or (opens and sent.instrument_id not in opening):
        return tactics.off
    if order.created_ns > world.now_ns - tactics.retry_ns:
        return ""
    if opens:
        return f"not filled within {tactics.retry_seconds:g} s"
    if sent.purpose not in EXITS or (not tactics.walks and world.now_ns < target.mid_until_ns):
        return ""
    leg = memory.get((sent.owner, sent.instrument_id)) or memory.get(("", sent.instrument_id), Tried())
    allowed = LIMITS_ALONE if tactics.limits_only else target.allowed
    return "" if leg.rests_rightly(order, world.look(sent.instrument_id), allowed) else tactics.late


def _try(
    leg: Tried, line: TargetLine, missing: Decimal, seen: Sight, target: Target, world: World
) -> tuple[Tried, OrderIntent | None, Rung | None]:
    """Return a leg after a try, the order and its rung; without an order while it has no price."""
    order, rung = _order(leg, line, missing, seen, target)
    # counts as an attempt whatever its outcome: the gate may refuse it without an event
    is_sent = leg.sent_ns is None or world.has_sent(line.instrument_id, leg.sent_ns)
    pause = target.tactics.opening_pause_seconds if line.opens else target.tactics.pause_seconds
    leg = leg.after_try(seen, rung, pause, is_sent=is_sent)
    return leg._replace(tries=leg.tries + (line.opens or order is not None)), order, rung


def _order(
    leg: Tried, line: TargetLine, missing: Decimal, seen: Sight, target: Target
) -> tuple[OrderIntent | None, Rung | None]:
    """Return the next order at a leg, and its rung; None while nothing can be sent, or it has no price."""
    tactics, side = target.tactics, Side.BUY if missing > 0 else Side.SELL
    is_hedge = tactics.unwinds_shares and not seen.instrument.is_option
    is_patient = not (is_hedge or target.is_hurried) and seen.now_ns < target.mid_until_ns
    allowed = target.allowed if is_hedge or not tactics.limits_only else LIMITS_ALONE
    most = math.inf if is_hedge else tactics.market_tries
    rung = leg.rung(seen, side, most, allowed, is_patient=is_patient)
    if line.opens and seen.quote is not None:
        rung = Rung.MID if is_patient and seen.quote.bid > 0 else Rung.LIMIT
    if rung is None or seen.quote is None:
        return None, None
    purpose = Purpose.OPEN if line.opens else Purpose.UNWIND_HEDGE if is_hedge else Purpose.CLOSE
    terms, why = (line.instrument_id, side, abs(missing), purpose), target.why
    if rung is Rung.MARKET:
        return OrderIntent(*terms, why, owner=line.owner), rung
    walked = 0.0
    if tactics.walks and is_patient:
        walked = (seen.now_ns - target.since_ns) / (target.mid_until_ns - target.since_ns)
    ticks = 0 if line.opens else leg.tries + (OrderType.MARKET not in allowed)
    price = leg.price(rung, seen, side, ticks=ticks, walked=walked)
    if price is None:
        return None, rung
    if line.opens:
        far = "ask" if side is Side.BUY else "bid"
        why = f"{target.name} leg at the {far}"
        if rung is Rung.MID:
            why = f"{target.name} leg, {walked:.0%} of the way from the mid to the {far}"
    else:
        why = f"{why}; try {leg.tries + 1}"
    if rung is Rung.MODEL:
        minutes = (seen.now_ns - seen.quote.ts_recv_ns) / MINUTE_NS
        known = f"no quote for {minutes:.0f} minutes"
        if seen.shows_no_price:
            known = f"the quote of {seen.quote.bid:g} by {seen.quote.ask:g} shows no price"
        why += f", priced by the model: {known}"
    return OrderIntent(*terms, why, OrderType.LIMIT, price, owner=line.owner), rung


def _goes_as_one(tried: Sequence[tuple[OrderIntent, Rung]], target: Target, legs: Memory) -> bool:
    """Return whether all lines go as one order: in their ratios, of one type, each as often as the others."""
    if target.leg_orders is LegOrders.LEGS or len(tried) != len(target.lines) or not tried:
        return False
    tries = {legs[order.owner, order.instrument_id].tries for order, _ in tried}
    is_quoted = all(rung in AT_QUOTES for _, rung in tried)
    if max(tries) > 1 and (len(tries) > 1 or not is_quoted or target.is_hurried):
        return False
    sets = {order.quantity / abs(target.ratios.get(order.instrument_id, 1)) for order, _ in tried}
    return len(sets) == 1 and len({order.type_name for order, _ in tried}) == 1


def _in_sequence(
    orders: Sequence[OrderIntent],
    target: Target,
    world: World,
    own: Mapping[TargetLine, Sequence[Order]],
    legs: Memory,
) -> list[OrderIntent]:
    """Return orders without those that wait: purchases go first where options are sold, covers go last."""
    lines = [line for line in target.lines if world.instruments[line.instrument_id].is_option]
    sold = [line for line in lines if line.held < min(line.wanted, ZERO)]
    if not sold and not any(line.wanted < 0 for line in lines):
        return list(orders)
    is_under_way = any(own[line] for line in sold) or any(order.side is Side.BUY for order in orders)
    since_ns = world.now_ns - int(target.tactics.cover_seconds * NANOS_PER_SECOND)
    tried = [legs[line.owner, line.instrument_id] for line in sold]
    is_patient = all(leg.tries <= COVER_TRIES and (leg.first_ns or 0) > since_ns for leg in tried)
    if sold and is_under_way and is_patient:
        return [order for order in orders if order.side is Side.BUY]
    held, wanted = defaultdict[InstrumentId, Decimal](Decimal), defaultdict[InstrumentId, Decimal](Decimal)
    for line in lines:
        held[line.instrument_id] += line.held
        wanted[line.instrument_id] += line.wanted
    for one in world.orders:
        held[one.submitted.instrument_id] += min(one.signed_leaves, ZERO)
    # whatever is sold to open waits for all that is bought
    is_buying = bool(sold) or any(line.opens and line.wanted > 0 for line in lines)
    waiting = (Purpose.OPEN, Side.SELL) if is_buying else None
    due = [order for order in orders if (order.purpose, order.side) != waiting]
    return keep_covers(due, held, world.instruments, uncovered(wanted, world.instruments))


def closing_lines(
    positions: PositionManager, books: Mapping[str, PositionManager] | None
) -> list[TargetLine]:
    """Return what is to be closed: the account's positions, by strategy where several share it.

    What two strategies hold against each other is not at the venue: selling it for one and buying it
    for the other would only open what is to be closed.
    """
    held = positions.held()
    if books is None:
        return [TargetLine("", position.instrument_id, position.quantity) for position in held]
    left = {position.instrument_id: position.quantity for position in held}
    lines = []
    for owner, book in books.items():
        for position in book.held():
            at_venue = left.get(position.instrument_id, ZERO)
            if at_venue and (at_venue > 0) is (position.quantity > 0):
                part = min(position.quantity, at_venue, key=abs)
                left[position.instrument_id] = at_venue - part
                lines.append(TargetLine(owner, position.instrument_id, part))
    return lines
