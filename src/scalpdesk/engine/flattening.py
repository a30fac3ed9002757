"""Getting rid of everything: what the strategy leaves behind, the desk closes itself.

A strategy's own exit comes first, for it knows its legs; while its exit orders work, the desk waits.
What then is still held is closed here, options before their hedge, again and again until nothing is
left: the way of last resort asks no strategy.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.intents import CancelIntent, Intent, OrderIntent, OrderType, Purpose, Side
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId, exact
from scalpdesk.engine.desk import Desk
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.risk.context import EXITS
from scalpdesk.strategies.contract import Proposal

ZERO = Decimal(0)
GRACE_SECONDS = 10.0
"""The strategy's own time to begin its exit."""
STEP_SECONDS = 2.0
LONGEST_STEP_SECONDS = 30.0
PATIENCE_NS = 15 * NANOS_PER_SECOND
"""An exit order that has not been filled by then is taken back and sent anew."""
_ON_THE_WAY_OUT = (OrderState.PENDING_CANCEL, OrderState.UNKNOWN)


class Line(NamedTuple):
    """What is to go: whose, which, how much (signed)."""

    owner: str
    number: InstrumentId
    quantity: Decimal


class Step(NamedTuple):
    """What to do now and when to look again; None once nothing is left."""

    proposal: Proposal | None
    again_in_seconds: float | None


class Flattener:
    """Works out the next step towards a flat book.

    Parameters
    ----------
    desk
        The parts of the desk; nothing of them is changed.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._tried: tuple[Line, ...] = ()
        self._times = 0

    def begin(self) -> None:
        """Start anew: the desk has just begun to flatten."""
        self._tried, self._times = (), 0

    def step(self, now_ns: int) -> Step:
        """Return what to do now.

        Orders that open go first, then options, then shares with the hedges that still work; an
        order on its way is waited for. The same order is sent again at growing intervals.
        """
        lines = tuple(self._lines())
        live = self._desk.orders.live
        if not lines and not live:
            return Step(None, None)
        options = [line for line in lines if self._is_option(line.number)]
        cancels = tuple(self._cancels(now_ns, has_options=bool(options)))
        intents = () if cancels else tuple(self._orders(options or list(lines)))
        if not (cancels or intents):
            return Step(None, STEP_SECONDS)
        if intents:
            self._times = self._times + 1 if lines == self._tried else 0
            self._tried = lines
        names = ", ".join(
            f"{line.quantity:+f} {self._desk.instruments[line.number].symbol}" for line in lines
        )
        what = "take orders off the book" if cancels else "sell the options" if options else "unwind the rest"
        reason = f"flattening: still held: {names or 'nothing'}"
        proposal = Proposal(DecisionKind.EXIT, (reason, what), {}, cancels or intents, all_or_none=False)
        return Step(proposal, min(STEP_SECONDS * 2.0**self._times, LONGEST_STEP_SECONDS))

    def _is_option(self, number: InstrumentId) -> bool:
        return isinstance(self._desk.instruments[number], OptionContract)

    def _lines(self) -> Iterator[Line]:
        """Lines of the account, each strategy's own part where several share it.

        What two strategies hold against each other the venue does not know: selling the one's and buying
        the other's would only open what is to be closed.
        """
        desk = self._desk
        if desk.books is None:
            yield from (Line("", one.instrument_id, one.quantity) for one in desk.positions.held())
            return
        left = {one.instrument_id: one.quantity for one in desk.positions.held()}
        for owner, book in desk.books.books.items():
            for one in book.positions.held():
                at_venue = left.get(one.instrument_id, ZERO)
                if (at_venue > 0) is (one.quantity > 0) and at_venue:
                    part = min(one.quantity, at_venue, key=abs)
                    left[one.instrument_id] = at_venue - part
                    yield Line(owner, one.instrument_id, part)

    def _cancels(self, now_ns: int, *, has_options: bool) -> Iterator[Intent]:
        """Orders that would add to the book, and exits that nobody took."""
        for order in self._desk.orders.live.values():
            if order.state in _ON_THE_WAY_OUT:
                continue
            purpose = order.submitted.purpose
            if purpose in EXITS:
                is_due = order.created_ns <= now_ns - PATIENCE_NS
            else:  # a hedge is right for as long as there are options to hedge
                is_due = purpose is Purpose.OPEN or not has_options
            if is_due:
                yield CancelIntent(order.client_order_id, "flattening")

    def _orders(self, lines: list[Line]) -> Iterator[Intent]:
        desk = self._desk
        for line in lines:
            working = [order for order in desk.orders.live_for(line.number) if self._is_of(order, line.owner)]
            if any(order.submitted.purpose not in EXITS for order in working):
                continue
            left = line.quantity + sum((order.signed_leaves for order in working), ZERO)
            quote = desk.market.quotes[line.number]
            if quote is None or not left or (left > 0) is not (line.quantity > 0):
                continue
            side = Side.SELL if left > 0 else Side.BUY
            is_option, limits = self._is_option(line.number), desk.gate.limits
            purpose = Purpose.CLOSE if is_option else Purpose.UNWIND_HEDGE
            # a part at a time of what is larger than one order may be: the rest follows with the next step
            most = Decimal(limits.max_order_contracts if is_option else limits.max_order_shares)
            kind, limit = OrderType.MARKET, None
            if kind.value not in limits.allowed_order_types:
                price = quote.bid if side is Side.SELL else quote.ask
                if not price > 0:
                    continue
                kind, limit = OrderType.LIMIT, exact(price)
            units = min(abs(left), most)
            yield OrderIntent(line.number, side, units, purpose, "flattening", kind, limit, owner=line.owner)

    def _is_of(self, order: Order, owner: str) -> bool:
        return self._desk.books is None or order.submitted.owner == owner
