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
from scalpdesk.closing.worth import Excess, LegLeft, LegToClose, excesses, within_bounds
from scalpdesk.core.intents import (
    EXITS,
    CancelIntent,
    LegOrders,
    OrderIntent,
    OrderType,
    Purpose,
    Side,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO, InstrumentId, exact
from scalpdesk.hedging.sizing import up_to_zero
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.postings import UNASSIGNED
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.portfolio.positions import PositionManager

BOTH_TYPES = frozenset({OrderType.MARKET, OrderType.LIMIT})
_COVER_TRIES = 3
"""Tries to buy a sold option back after which what does not cover it is sold too."""
LIMITS_ALONE = frozenset({OrderType.LIMIT})
_AT_QUOTES = frozenset({Rung.MARKET, Rung.MID, Rung.LIMIT})
Memory = Mapping[tuple[str, InstrumentId], Tried]
"""What was tried so far, by owner and instrument."""


class TargetLine(NamedTuple):
    """What an owner holds of an instrument, and what it wants to hold, signed."""

    owner: str
    instrument_id: InstrumentId
    held: Decimal
    wanted: Decimal = ZERO
    within: Decimal = ZERO
    """What is held by less than this beside what is wanted is as good: a hedge is wanted in an interval."""
    purpose: Purpose | None = None
    """What an order is for; None: to open or to close."""
    limit: Decimal | None = None
    """Limit of an order; None: by what is seen."""
    loss_at_stop: Decimal | None = None
    """Largest loss of what opens at its stop, currency."""
    time_in_force: TimeInForce = TimeInForce.DAY

    @property
    def opens(self) -> bool:
        """Whether more is wanted than is held, on the same side, and that is no hedge."""
        grows = self.held * self.wanted >= 0 and abs(self.wanted) > abs(self.held)
        return grows and self.purpose is not Purpose.HEDGE

    @property
    def going(self) -> Decimal:
        """What of it is to go, signed as held."""
        goal = self.wanted if self.held * self.wanted >= 0 else ZERO
        return self.held - goal if abs(goal) < abs(self.held) else ZERO

    def is_of(self, order: Order) -> bool:
        """Return whether an order may fill what the line is about."""
        sent = order.submitted
        return sent.instrument_id == self.instrument_id and self.owner in ("", sent.owner)

    def missing(self, working: Iterable[Order]) -> Decimal:
        """Return what may be ordered, signed: whatever fills, across neither zero nor what is wanted."""
        change = self.wanted - self.held
        if abs(change) < self.within:
            return ZERO
        change, leaves = up_to_zero(change, self.held), [order.signed_leaves for order in working]
        if change > 0:
            return max(change - sum((each for each in leaves if each > 0), ZERO), ZERO)
        return min(change - sum((each for each in leaves if each < 0), ZERO), ZERO)

    def order(
        self, missing: Decimal, why: str, purpose: Purpose | None = None, limit: Decimal | None = None
    ) -> OrderIntent:
        """Return the order for what is missing; at the market without a limit."""
        return OrderIntent(
            self.instrument_id,
            Side.BUY if missing > 0 else Side.SELL,
            abs(missing),
            purpose or self.purpose or (Purpose.OPEN if self.opens else Purpose.CLOSE),
            why,
            OrderType.MARKET if limit is None else OrderType.LIMIT,
            limit,
            self.time_in_force,
            self.owner,
            self.loss_at_stop,
        )

    def next_order(self, why: str) -> OrderIntent:
        """Return the order of a line that goes by itself, up to zero: a lot's, or one asked for from outside.

        Nothing else works on it, and something is missing.
        """
        return self.order(self.missing(()), why, limit=self.limit)


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
    keeps_hedge: bool = True
    """Whether shares stay for as long as an option is held that they hedge."""
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
    left: Sequence[LegLeft] = ()
    """What has gone of the lines since the closing began."""


class Plan(NamedTuple):
    """Orders to send and to take off now, and when to look again."""

    cancels: tuple[CancelIntent, ...]
    orders: tuple[OrderIntent, ...]
    goes_as_one: bool
    """Whether the orders may go as one."""
    is_held_back: bool
    """Whether a sale waits for what it would leave uncovered."""
    is_hedged: bool
    """Whether shares stay for the options that they hedge."""
    is_given_up: bool
    """Whether an opening was tried as often as it may be."""
    due_ns: tuple[int, ...]
    """When the lines are due that wait, UTC nanoseconds."""
    memory: Memory
    excesses: tuple[Excess, ...] = ()
    """Sets that would be left for less than they can be worth: sent only where it is hurried."""


class _Step(NamedTuple):
    """What a line comes to: what was tried at it, what goes out now, and when it is due again."""

    leg: Tried
    due_ns: tuple[int, ...] = ()
    orders: tuple[OrderIntent, ...] = ()
    rung: Rung | None = None
    is_given_up: bool = False


def plan(target: Target, world: World, memory: Memory) -> Plan:
    """Return the orders that are due from what is held to what is wanted.

    ``target``: What is wanted; an exit wants nothing.
    ``world``: What is seen.
    ``memory``: Of the plan before, empty at first.
    """
    return _Planning(target, world, memory).plan()


class _Planning:
    def __init__(self, target: Target, world: World, memory: Memory) -> None:
        self.world, self.memory, self.tactics = world, memory, target.tactics
        self.options = [line for line in target.lines if world.instruments[line.instrument_id].is_option]
        # shares would outlive a bought option without a bid or a payoff
        self.is_hedged = (self.tactics.unwinds_shares and target.keeps_hedge) and not all(
            line.held > 0 and world.look(line.instrument_id).holds_up_no_hedge for line in self.options
        )
        self.target = target._replace(lines=self.options) if self.is_hedged else target
        self.allowed = LIMITS_ALONE if self.tactics.limits_only else target.allowed
        self.own = {line: [one for one in world.orders if line.is_of(one)] for line in self.target.lines}

    def plan(self) -> Plan:
        off = [(order, self._why_off(order)) for order in self.world.orders]
        steps = {line: self._step(line) for line in self.own}
        found = [order for step in steps.values() for order in step.orders]
        goes_as_one = self._goes_as_one(found, steps)
        orders = found if goes_as_one else self._in_sequence(found, steps)
        beyond = self._beyond(orders)  # a leg that waits for another counts at its quote
        if beyond and not self.target.is_hurried:
            goes_as_one, orders = False, self._without_waiting(orders, beyond)
        if not self.target.is_hurried and OrderType.LIMIT in self.allowed:
            orders = within_bounds(self._going(), orders, self.world.look, self.world.left)
            goes_as_one = goes_as_one and len({order.type_name for order in orders}) == 1
        kept = {_key(order) for order in found} - {_key(order) for order in orders}
        # what is not proposed was not tried
        legs = {line[:2]: self._tried(line) if line[:2] in kept else step.leg for line, step in steps.items()}
        for line, step in steps.items():
            if step.orders and any(line[:2] in each.legs for each in beyond) and line[:2] in kept:
                legs[line[:2]] = legs[line[:2]]._replace(not_before_ns=step.leg.not_before_ns)
        return Plan(
            tuple(CancelIntent(order.client_order_id, why) for order, why in off if why),
            tuple(orders),
            goes_as_one,
            is_held_back=bool(kept),
            is_hedged=self.is_hedged,
            is_given_up=any(step.is_given_up for step in steps.values()),
            due_ns=tuple(due_ns for step in steps.values() for due_ns in step.due_ns),
            memory={**self.memory, **legs},
            excesses=tuple(beyond),
        )

    def _beyond(self, found: Sequence[OrderIntent]) -> list[Excess]:
        """Return the sets that the orders would leave for less than they can be worth."""
        if not any(order.purpose is Purpose.CLOSE for order in found):
            return []
        return excesses(self._going(), found, self.world.look, self.world.left)

    def _going(self) -> list[LegToClose]:
        return [LegToClose(*line[:2], line.going) for line in self.options if line.going]

    def _without_waiting(self, found: list[OrderIntent], beyond: Sequence[Excess]) -> list[OrderIntent]:
        waiting = frozenset[tuple[str, InstrumentId]]().union(*(each.legs for each in beyond))
        return [order for order in found if order.purpose is not Purpose.CLOSE or _key(order) not in waiting]

    def _tried(self, line: TargetLine) -> Tried:
        return self.memory.get(line[:2]) or Tried(first_ns=self.world.now_ns)

    def _why_off(self, order: Order) -> str:
        """Return why an order is taken off: not wanted, or not filled in time."""
        is_doubted, tactics = order.state is OrderState.UNKNOWN, self.tactics
        if order.state is OrderState.PENDING_CANCEL or (is_doubted and order.is_unwanted):
            return ""
        if self._is_unwanted(order):  # in doubt it is asked for once, and not sent again
            return tactics.off
        if is_doubted or order.created_ns > self.world.now_ns - tactics.retry_ns:
            return ""
        if order.submitted.purpose not in EXITS:
            return f"not filled within {tactics.retry_seconds:g} s"
        return tactics.late if self._is_late(order) else ""

    def _is_unwanted(self, order: Order) -> bool:
        purpose = order.submitted.purpose
        if order.created_ns < self.target.since_ns or self.target.is_unwanted(order):
            return True
        if purpose is Purpose.HEDGE:
            return self.tactics.unwinds_shares and not self.is_hedged
        return purpose is Purpose.OPEN and not any(line.opens and line.is_of(order) for line in self.own)

    def _is_late(self, order: Order) -> bool:
        """Return whether an unfilled order of the time does not rest rightly."""
        sent, world, memory = order.submitted, self.world, self.memory
        rests = not self.tactics.walks and world.now_ns < self.target.mid_until_ns
        if sent.purpose not in EXITS or rests:
            return False
        leg = memory.get(_key(sent)) or memory.get(("", sent.instrument_id), Tried())
        return not leg.rests_rightly(order, world.look(sent.instrument_id), self.allowed)

    def _waits(self, line: TargetLine) -> bool:
        """Return whether a line waits: an order over several legs ends leg by leg, openings go together."""
        if not self.target.is_hurried and any(one.parent_id for each in self.own.values() for one in each):
            return True
        return line.opens and any(working for each, working in self.own.items() if each.opens)

    def _step(self, line: TargetLine) -> _Step:
        tactics, now_ns, retry_ns = self.tactics, self.world.now_ns, self.tactics.retry_ns
        leg, working = self._tried(line), self.own[line]
        missing = line.missing(working)
        tops_up = tactics.tops_up and missing and all(one.submitted.purpose in EXITS for one in working)
        if working and not tops_up:  # its end is an event, and the timer looks after it
            return _Step(leg, (now_ns + retry_ns - (now_ns - working[0].created_ns) % retry_ns,))
        if not missing or self._waits(line):
            return _Step(leg)
        seen = self.world.look(line.instrument_id)
        leg = leg.after_sight(seen)
        if seen.is_halted:  # nothing may be sent; tried at once when it trades again
            return _Step(leg._replace(not_before_ns=0))
        if now_ns < leg.not_before_ns:
            return _Step(leg, (leg.not_before_ns,))
        if line.opens and (leg.tries >= tactics.max_tries or not self.target.may_open):
            return _Step(leg, is_given_up=True)
        orders, rung = self._orders(line, missing, leg, seen)
        # counts as an attempt whatever its outcome: the gate may refuse it without an event
        has_come = self.world.has_sent(line.instrument_id, leg.sent_ns)
        side = Side.BUY if missing > 0 else Side.SELL
        leg = leg.after_try(seen, side, rung, tactics, is_opening=line.opens, has_come=has_come)
        leg = leg._replace(tries=leg.tries + (line.opens or bool(orders)))
        return _Step(leg, (leg.not_before_ns,), orders, rung)

    def _orders(
        self, line: TargetLine, missing: Decimal, leg: Tried, seen: Sight
    ) -> tuple[tuple[OrderIntent, ...], Rung | None]:
        """Return the next order and its rung; none while nothing can be sent, or it has no price."""
        target, side = self.target, Side.BUY if missing > 0 else Side.SELL
        purpose, allowed = self._purpose(line), self.allowed
        if purpose is Purpose.HEDGE:
            if not self.tactics.rests_near or seen.quote is None:
                return (line.order(missing, target.why),), Rung.MARKET
            near = exact(seen.quote.bid if side is Side.BUY else seen.quote.ask)
            return (line.order(missing, target.why, limit=near),), Rung.NEAR
        if purpose is Purpose.UNWIND_HEDGE:
            allowed = target.allowed
        rung, walked = self._rung(purpose, leg, seen, side, allowed), 0.0
        if rung is Rung.MID and self.tactics.walks:
            walked = (seen.now_ns - target.since_ns) / (target.mid_until_ns - target.since_ns)
        if rung is Rung.MARKET:
            return (line.order(missing, target.why, purpose),), rung
        ticks = 0 if line.opens else leg.tries + (OrderType.MARKET not in allowed)
        price = None if rung is None else leg.price(rung, seen, side, ticks=ticks, walked=walked)
        if price is None:
            return (), rung
        why = f"{target.why}; try {leg.tries + 1}"
        if line.opens:
            walk = f", {walked:.0%} of the way from the mid to" if rung is Rung.MID else " at"
            why = f"{target.name} leg{walk} the {'ask' if side is Side.BUY else 'bid'}"
        elif rung is Rung.MODEL:
            why = f"{why}, priced by the model: {seen.without_price}"
        return (line.order(missing, why, purpose, price),), rung

    def _purpose(self, line: TargetLine) -> Purpose:
        if line.purpose is not None:
            return line.purpose
        if line.opens:
            return Purpose.OPEN
        is_hedge = self.tactics.unwinds_shares and line not in self.options
        return Purpose.UNWIND_HEDGE if is_hedge else Purpose.CLOSE

    def _rung(
        self, purpose: Purpose, leg: Tried, seen: Sight, side: Side, allowed: Collection[str]
    ) -> Rung | None:
        is_hedge = purpose is Purpose.UNWIND_HEDGE
        is_patient = not (is_hedge or self.target.is_hurried) and seen.now_ns < self.target.mid_until_ns
        if purpose is Purpose.OPEN and seen.quote is not None:
            return Rung.MID if is_patient and seen.quote.bid > 0 else Rung.LIMIT
        most = math.inf if is_hedge else self.tactics.market_tries
        return leg.rung(seen, side, most, allowed, is_patient=is_patient)

    def _goes_as_one(self, orders: Sequence[OrderIntent], steps: Mapping[TargetLine, _Step]) -> bool:
        """Return whether all go as one order: in their ratios, of one type, each as often as the others."""
        target, tried = self.target, [step for step in steps.values() if step.orders]
        if target.leg_orders is LegOrders.LEGS or len(tried) != len(target.lines) or not tried:
            return False
        tries = {step.leg.tries for step in tried}
        is_quoted = all(step.rung in _AT_QUOTES for step in tried)
        if max(tries) > 1 and (len(tries) > 1 or not is_quoted or target.is_hurried):
            return False
        sets = {order.quantity / abs(target.ratios.get(order.instrument_id, 1)) for order in orders}
        return len(sets) == 1 and len({order.type_name for order in orders}) == 1

    def _in_sequence(self, orders: list[OrderIntent], steps: Mapping[TargetLine, _Step]) -> list[OrderIntent]:
        """Return orders without those that wait: purchases first where options are sold, covers last."""
        bought = [order for order in orders if order.side is Side.BUY]
        sold = [line for line in self.options if line.held < min(line.wanted, ZERO)]
        since_ns = self.world.now_ns - int(self.tactics.cover_seconds * NANOS_PER_SECOND)
        tried = [steps[line].leg for line in sold]
        is_patient = all(leg.tries <= _COVER_TRIES and (leg.first_ns or 0) > since_ns for leg in tried)
        if sold and is_patient and (bought or any(self.own[line] for line in sold)):
            return bought
        return self._covered(orders)

    def _covered(self, orders: list[OrderIntent]) -> list[OrderIntent]:
        """Return orders without sales that would leave more uncovered than is wanted."""
        if not any(line.held < 0 or line.wanted < 0 for line in self.options):
            return orders
        if any(line.held < line.wanted for line in self.options):  # what is sold to open waits for that
            orders = [one for one in orders if one.side is Side.BUY or one.purpose is not Purpose.OPEN]
        held = defaultdict[InstrumentId, Decimal](Decimal)
        wanted = held.copy()
        for line in self.options:
            held[line.instrument_id] += line.held
            wanted[line.instrument_id] += line.wanted
        for one in self.world.orders:
            held[one.submitted.instrument_id] += min(one.signed_leaves, ZERO)
        instruments = self.world.instruments
        return keep_covers(orders, held, instruments, uncovered(wanted, instruments))


def _key(order: OrderIntent | SubmitOrder) -> tuple[str, InstrumentId]:
    return order.owner, order.instrument_id


def closing_lines(
    held: Mapping[InstrumentId, Decimal], books: Mapping[str, PositionManager] | None
) -> list[TargetLine]:
    """Return what is to be closed: the account's positions, by strategy where several share it.

    What two strategies hold against each other is not at the venue: selling it for one and buying it
    for the other would only open what is to be closed. What no book holds belongs to no strategy.

    ``held``: Signed units by instrument.
    """
    if books is None:
        return [TargetLine("", number, units) for number, units in held.items()]
    left = dict(held)
    lines = []
    for owner, book in books.items():
        for position in book.held():
            at_venue = left.get(position.instrument_id, ZERO)
            if at_venue and (at_venue > 0) is (position.quantity > 0):
                part = min(position.quantity, at_venue, key=abs)
                left[position.instrument_id] = at_venue - part
                lines.append(TargetLine(owner, position.instrument_id, part))
    return lines + [TargetLine(UNASSIGNED, number, units) for number, units in left.items() if units]
