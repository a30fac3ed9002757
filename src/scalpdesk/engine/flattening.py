"""Closing everything that is held, step by step, from positions and working orders alone.

A strategy's own exit comes first, for it knows its legs; while its exit orders work, they are waited
for. What then is still held is closed here, options before their hedge, again and again until nothing
is left. A step asks no strategy and keeps no orders, and what works already is never sent a second time.
An option that nobody bids for is offered at 95 % of what its exercise would pay, or at the smallest price,
and left to rest there; where the venue does not take that, it is offered again after ever longer pauses, and
at once when it is bid for. So is what is still held past the venue's cut-off, bid for or not. An option out
of the money that nobody bids for holds up no hedge: the shares would outlive it.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import EXITS, CancelIntent, OrderIntent, OrderType, Purpose, Side, SubmitOrder
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO, InstrumentId, exact
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.deadlines import is_past_cutoff
from scalpdesk.marketdata.state import QuoteBook, holds_up_no_hedge, unbid_option
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.portfolio.positions import PositionManager
from scalpdesk.risk.limits import RiskLimits

GRACE_SECONDS = 10.0
"""The strategy's own time to begin its exit."""
STEP_SECONDS = 2.0
LONGEST_STEP_SECONDS = 30.0
PATIENCE_NS = 15 * NANOS_PER_SECOND
"""An exit order that has not been filled by then is cancelled and sent anew."""
LONGEST_UNSOLD_SECONDS = 1_800.0
"""Between two offers of what nobody on the other side takes, or the venue no longer."""
_ENDING = (OrderState.PENDING_CANCEL, OrderState.UNKNOWN)


class ClosingLine(NamedTuple):
    """A position to be closed: its owner, the instrument and the signed quantity held."""

    owner: str
    instrument_id: InstrumentId
    quantity: Decimal


class FlattenStep(NamedTuple):
    """What to do now, and when to look again; None once nothing is left."""

    cancels: tuple[CancelIntent, ...]
    orders: tuple[OrderIntent, ...]
    reasons: tuple[str, ...]
    again_in_seconds: float | None


class Flattener:
    """Works out the next step towards a flat account.

    Parameters
    ----------
    instruments
        All that can be held.
    run_prefix
        Begins the ids of :meth:`name_orders`; unique to the account and the run.
    """

    def __init__(self, instruments: Instruments, run_prefix: str = "") -> None:
        self._instruments = instruments
        self._prefix = run_prefix
        self._attempts: dict[InstrumentId, int] = {}
        self._tried: Sequence[ClosingLine] = ()
        self._times = 0
        self._unsold: dict[InstrumentId, tuple[int, int]] = {}
        """Offers in a row that nobody or no venue took, and when the next is due, UTC nanoseconds."""

    def begin(self) -> None:
        """Start anew, without a memory of earlier steps."""
        self._tried, self._times = (), 0
        self._unsold.clear()

    def step(
        self,
        now_ns: int,
        lines: Sequence[ClosingLine],
        working: Sequence[Order],
        quotes: Mapping[InstrumentId, QuoteEvent | None] | QuoteBook,
        limits: RiskLimits,
        venue: str = "none",
        is_halted: Callable[[InstrumentId], bool] = lambda _: False,
    ) -> FlattenStep:
        """Return what to do now.

        Orders that open are cancelled first, then options are sold, then shares with the hedges that
        still work. The same orders are sent again at growing intervals.

        Parameters
        ----------
        now_ns
            UTC nanoseconds.
        lines
            What is held, read after the last execution of ``working`` and of every order before them.
        working
            Each order that is not proven to be over, those of unknown state included: the size of a
            closing order is the position less what works.
        quotes
            Latest quote by instrument; without one nothing is sent.
        limits
            Largest orders and allowed order types.
        venue
            Whose cut-off for expiring options counts.
        is_halted
            Whether trading in an instrument is halted: nothing in it is sent until it resumes.
        """
        if not lines and not working:
            return FlattenStep((), (), (), None)
        options = [line for line in lines if self._is_option(line.instrument_id)]
        is_hedged = not all(
            holds_up_no_hedge(self._instruments, quotes, line.instrument_id, line.quantity)
            for line in options
        )
        cancels = self._cancels(now_ns, lines, working, quotes, has_options=is_hedged)
        due = [line for line in (options if is_hedged else lines) if not is_halted(line.instrument_id)]
        orders = () if cancels else self._orders(now_ns, due, working, quotes, limits, venue)
        if not (cancels or orders):
            return FlattenStep((), (), (), STEP_SECONDS)
        if orders:
            self._times = self._times + 1 if lines == self._tried else 0
            self._tried = lines
        held = ", ".join(
            [f"{line.quantity:+f} {self._instruments[line.instrument_id].symbol}" for line in lines]
        )
        rest = "sell the options" if is_hedged else "unwind the rest"
        what = "take orders off the book" if cancels else rest
        reasons = (f"flattening: still held: {held or 'nothing'}", what)
        again = min(STEP_SECONDS * 2.0**self._times, LONGEST_STEP_SECONDS)
        return FlattenStep(cancels, orders, reasons, again)

    def name_orders(self, orders: Sequence[OrderIntent]) -> tuple[SubmitOrder, ...]:
        """Return commands whose ids name the run, the instrument and the attempt.

        For a caller without an order manager: when it starts again and counts its attempts from the
        same orders, it gives the same ids, and the venue refuses the second of two.
        """
        commands = []
        for order in orders:
            attempt = self._attempts[order.instrument_id] = self._attempts.get(order.instrument_id, 0) + 1
            symbol = self._instruments[order.instrument_id].symbol
            commands.append(
                SubmitOrder(
                    client_order_id=f"{self._prefix}-flat-{symbol}-{attempt}",
                    instrument_id=order.instrument_id,
                    side=order.side,
                    quantity=order.quantity,
                    order_type=order.order_type,
                    limit_price=order.limit_price,
                    time_in_force=order.time_in_force,
                    purpose=order.purpose,
                    owner=order.owner,
                )
            )
        return tuple(commands)

    def _is_option(self, instrument_id: InstrumentId) -> bool:
        return self._instruments[instrument_id].is_option

    def _rests_unsold(
        self, order: Order, quotes: Mapping[InstrumentId, QuoteEvent | None] | QuoteBook
    ) -> bool:
        """Return whether an order is the least offer of an option that nobody bids for."""
        sent = order.submitted
        unbid, limit = unbid_option(self._instruments, quotes, sent.instrument_id), sent.limit_price
        if unbid is None or limit is None or sent.side is Side.BUY:
            return False
        contract, spot = unbid
        return contract.is_least_offer(limit, spot)

    def _cancels(
        self,
        now_ns: int,
        lines: Sequence[ClosingLine],
        working: Sequence[Order],
        quotes: Mapping[InstrumentId, QuoteEvent | None] | QuoteBook,
        *,
        has_options: bool,
    ) -> tuple[CancelIntent, ...]:
        """Cancel orders that would add to the account's holding, and exits that were not filled in time."""
        cancels = []
        for order in working:
            if order.state in _ENDING:
                continue
            purpose = order.submitted.purpose
            if purpose in EXITS:
                is_late = order.created_ns <= now_ns - PATIENCE_NS
                is_due = (is_late and not self._rests_unsold(order, quotes)) or _opposes(order, lines)
            else:  # a hedge is right for as long as there are options to hedge
                is_due = purpose is Purpose.OPEN or not has_options
            if is_due:
                cancels.append(CancelIntent(order.client_order_id, "flattening"))
        return tuple(cancels)

    def _waits_unsold(self, instrument_id: InstrumentId, now_ns: int) -> bool:
        """Return whether an offer that nobody takes is not due yet; count one that is."""
        times, due_ns = self._unsold.get(instrument_id, (0, now_ns))
        if now_ns < due_ns:
            return True
        pause_s = min(STEP_SECONDS * 2.0**times, LONGEST_UNSOLD_SECONDS)
        self._unsold[instrument_id] = times + 1, now_ns + int(pause_s * NANOS_PER_SECOND)
        return False

    def _orders(
        self,
        now_ns: int,
        lines: Sequence[ClosingLine],
        working: Sequence[Order],
        quotes: Mapping[InstrumentId, QuoteEvent | None] | QuoteBook,
        limits: RiskLimits,
        venue: str,
    ) -> tuple[OrderIntent, ...]:
        orders = []
        for line in lines:
            own = [
                order
                for order in working
                if order.submitted.instrument_id == line.instrument_id and order.submitted.owner == line.owner
            ]
            if any(order.submitted.purpose not in EXITS for order in own):
                continue
            left = line.quantity + sum((order.signed_leaves for order in own), ZERO)
            quote = quotes[line.instrument_id]
            if quote is None or not left or (left > 0) is not (line.quantity > 0):
                continue
            side = Side.SELL if left > 0 else Side.BUY
            is_option = self._is_option(line.instrument_id)
            purpose = Purpose.CLOSE if is_option else Purpose.UNWIND_HEDGE
            # a part at a time of what is larger than one order may be: the rest follows with the next step
            most = Decimal(limits.max_order_contracts if is_option else limits.max_order_shares)
            order_type, limit = OrderType.MARKET, None
            price = quote.bid if side is Side.SELL else quote.ask
            unbid = unbid_option(self._instruments, quotes, line.instrument_id) if side is Side.SELL else None
            # past the cut-off each offer is refused: what the last one left whole waits longer for the next
            is_refused = line in self._tried and is_past_cutoff(
                self._instruments[line.instrument_id], venue, now_ns
            )
            if unbid is None and not is_refused:
                self._unsold.pop(line.instrument_id, None)
            elif self._waits_unsold(line.instrument_id, now_ns):
                continue
            if unbid is not None and OrderType.LIMIT in limits.allowed_order_types:
                contract, spot = unbid
                order_type, limit = OrderType.LIMIT, contract.least_offer(spot)
            elif order_type not in limits.allowed_order_types:
                if not price > 0:
                    continue
                order_type, limit = OrderType.LIMIT, exact(price)
            orders.append(
                OrderIntent(
                    line.instrument_id,
                    side,
                    min(abs(left), most),
                    purpose,
                    "flattening",
                    order_type,
                    limit,
                    owner=line.owner,
                )
            )
        return tuple(orders)


def _opposes(order: Order, lines: Sequence[ClosingLine]) -> bool:
    """Return whether an exit of one strategy is on the other side of what closes another's line."""
    sent = order.submitted
    return any(
        (line.instrument_id, line.quantity > 0) == (sent.instrument_id, sent.side is Side.BUY)
        for line in lines
        if line.owner != sent.owner
    )


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
