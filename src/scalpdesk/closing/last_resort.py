"""Closing everything that is held, step by step, from positions and working orders alone.

A strategy's own exit comes first, for it knows its legs; while its exit orders work, they are waited
for. What then is still held is closed here, options before their hedge, again and again until nothing
is left. A step asks no strategy and keeps no orders, and what works already is never sent a second time.
An option without a bid, or whose quote is a stub, is offered at 95 % of what its exercise would pay, or at
the smallest price, and left to rest there. What is held as it was before is offered again after ever longer
pauses, at most fifteen seconds, without a bid or past the venue's cut-off half an hour; at once when a part
went, or when it is bid for. An option out of the money without a bid holds up no hedge: the shares would
outlive it.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec

from scalpdesk.closing.leg import Sight, Tactics, Tried
from scalpdesk.closing.plan import Memory, Target, TargetLine, World, plan
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import (
    EXITS,
    CancelIntent,
    MultiLegOrder,
    OrderIntent,
    Side,
    SubmitOrder,
)
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.deadlines import NO_CUTOFF, VenueCutoff
from scalpdesk.marketdata.state import QuoteBook, unbid_option
from scalpdesk.orders.order import Order
from scalpdesk.orders.order_manager import command_of
from scalpdesk.risk.limits import RiskLimits

GRACE_SECONDS = 10.0
"""The strategy's own time to begin its exit."""
STEP_SECONDS = 2.0
_PATIENCE_SECONDS = 15.0
"""An exit order that has not been filled by then is cancelled and sent again."""
AT_THE_MARKET = Tactics(
    retry_seconds=_PATIENCE_SECONDS,
    pause_seconds=STEP_SECONDS,
    longest_pause_seconds=_PATIENCE_SECONDS,
    market_tries=math.inf,
    unwinds_shares=True,
    tops_up=True,
    cover_seconds=20.0,
    late="flattening",
    off="flattening",
)


class _FlattenStep(NamedTuple):
    """Orders to send and to take off now, and why."""

    cancels: tuple[CancelIntent, ...]
    orders: tuple[OrderIntent, ...]
    reasons: tuple[str, ...]


class Flattener:
    """Works out the next step towards a flat account.

    ``instruments``: All that can be held.
    ``run_prefix``: Begins the ids of :meth:`name_orders`; unique to the account and the run.
    """

    def __init__(self, instruments: Instruments, run_prefix: str = "") -> None:
        self._instruments = instruments
        self._prefix = run_prefix
        self._attempts: dict[InstrumentId, int] = {}
        self.begin()

    def begin(self) -> None:
        """Restart without a memory of earlier steps."""
        self._memory: Memory = {}
        self._held: dict[tuple[str, InstrumentId], Decimal] = {}

    def step(
        self,
        now_ns: int,
        lines: Sequence[TargetLine],
        working: Sequence[Order],
        quotes: Mapping[InstrumentId, QuoteEvent | None] | QuoteBook,
        limits: RiskLimits,
        cutoff: VenueCutoff = NO_CUTOFF,
        is_halted: Callable[[InstrumentId], bool] = lambda _: False,
    ) -> _FlattenStep | None:
        """Return what to do now; None once nothing is left.

        Orders that open are cancelled first, then options are sold, then shares with the hedges that
        still work. Of a holding that no try has changed the next one waits ever longer.

        ``now_ns``: UTC nanoseconds.
        ``lines``: What is held, read after the last execution of ``working`` and of every order before them.
        ``working``: Each order that is not proven to be over, those of unknown state included: the size of a
        closing order is the position less what works.
        ``quotes``: Latest quote by instrument; without one nothing is sent.
        ``limits``: Largest orders and allowed order types.
        ``cutoff``: The venue's last orders in expiring options.
        ``is_halted``: Whether trading in an instrument is halted: nothing in it is sent until it resumes.
        """
        if not lines and not working:
            return None

        def look(number: InstrumentId) -> Sight:
            unbid = unbid_option(self._instruments, quotes, number)
            return Sight(
                now_ns,
                self._instruments[number],
                quotes[number],
                spot=None if unbid is None else unbid[1],
                is_fine=True,
                has_no_bid=unbid is not None,
                is_halted=is_halted(number),
                cutoff=cutoff,
            )

        memory = self._remembered(lines)
        untried = {number for (_, number), leg in memory.items() if not leg.tries}
        target = Target(
            lines,
            AT_THE_MARKET,
            "flattening",
            allowed=limits.allowed_order_types,
            is_hurried=True,
            is_unwanted=lambda order: _opposes(order, lines),
        )
        world = World(now_ns, self._instruments, look, working, lambda number, _: number in untried)
        found = plan(target, world, memory)
        orders = () if found.cancels else tuple(self._part(order, limits) for order in found.orders)
        self._memory = memory if found.cancels else found.memory
        if not (found.cancels or orders):
            return _FlattenStep((), (), ())
        held = ", ".join(f"{line.held:+f} {self._instruments[line.instrument_id].symbol}" for line in lines)
        what = "sell the options" if found.is_hedged else "unwind the rest"
        what = "take orders off the book" if found.cancels else what
        costs = (
            each.words(look, is_sent=True) for each in found.excesses if each.amount and not found.cancels
        )
        reasons = (f"flattening: still held: {held or 'nothing'}", what, *costs)
        return _FlattenStep(found.cancels, orders, reasons)

    def _remembered(self, lines: Sequence[TargetLine]) -> dict[tuple[str, InstrumentId], Tried]:
        """Return what was tried so far; of a holding that has changed since, nothing."""
        before, self._held = self._held, {line[:2]: line.held for line in lines}
        return {
            key: leg if self._held.get(key) == before.get(key) else Tried(first_ns=leg.first_ns)
            for key, leg in self._memory.items()
        }

    def _part(self, order: OrderIntent, limits: RiskLimits) -> OrderIntent:
        """Return a part of what is larger than one order may be: the rest follows with the next step."""
        is_option = self._instruments[order.instrument_id].is_option
        most = limits.max_order_contracts if is_option else limits.max_order_shares
        return msgspec.structs.replace(order, quantity=min(order.quantity, Decimal(most)))

    def name_orders(self, orders: Sequence[OrderIntent]) -> tuple[SubmitOrder, ...]:
        """Return commands whose ids name the run, the instrument and the attempt.

        For a caller without an order manager: when it starts again and counts its attempts from the
        same orders, it gives the same ids, and the venue refuses the second of two.
        """
        commands = []
        for order in orders:
            attempt = self._attempts[order.instrument_id] = self._attempts.get(order.instrument_id, 0) + 1
            symbol = self._instruments[order.instrument_id].symbol
            commands.append(order.order(f"{self._prefix}-flat-{symbol}-{attempt}", order.owner))
        return tuple(commands)


def closing_again(
    legs: Sequence[Order], held: Callable[[InstrumentId], Decimal], live: Iterable[Order]
) -> SubmitOrder | MultiLegOrder | None:
    """Return the part of an order in doubt that still closes what is held; None where it closes nothing.

    Sent under the order's own id in place of another order beside it, it crosses no zero.

    ``legs``: The order on its own, or the legs of its combo, which closes all or nothing.
    ``held``: Returns the signed quantity of an instrument.
    ``live``: Orders that may still fill, oldest first: the quantities of older orders are left out.
    """
    working = tuple(live)

    def left(leg: Order) -> Decimal:
        sent, older = leg.submitted, working[: working.index(leg) if leg in working else None]
        line = TargetLine("", sent.instrument_id, held(sent.instrument_id))
        missing = line.missing([order for order in older if line.is_of(order)])
        return min(missing * sent.side.sign, sent.quantity)

    wanted = command_of(legs)
    if isinstance(wanted, SubmitOrder):
        most = left(legs[0])
        return msgspec.structs.replace(wanted, quantity=most) if most > 0 else None
    return wanted if all(left(leg) == leg.submitted.quantity for leg in legs) else None


def _opposes(order: Order, lines: Sequence[TargetLine]) -> bool:
    """Return whether an exit of one strategy is on the other side of what closes another's line."""
    sent = order.submitted
    return sent.purpose in EXITS and any(
        (line.instrument_id, line.held > 0) == (sent.instrument_id, sent.side is Side.BUY)
        for line in lines
        if line.owner != sent.owner
    )
