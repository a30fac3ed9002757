"""A ledger of the trial's own, from the desk's events alone: what the desk's books have to say.

It shares no code with the desk's positions, accounts and sub-books. A trade is kept with its reference, and
each figure is worked out from all of them when it is asked for: a trade that is taken back is left out, as if
it had never been.
"""

from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.base import Event, InstrumentId, OrderFilled
from scalpdesk.core.enums import SessionPhase
from scalpdesk.core.events import AccountSnapshot, FillBusted, PositionChanged, SessionEvent, TimerEvent
from scalpdesk.engine.desk import Desk
from scalpdesk.portfolio.sub_books import SubBooks

ZERO = Decimal(0)
_EXACT = Decimal("1e-9")
"""Tolerance of amounts that are the same but for the last digits of a quotient."""
_ROUNDED = Decimal("0.05")
"""Tolerance of values at the marks of a few hundred units, whose last decimals are rounded."""
_MARK_ROUNDED = Decimal("0.00005")
"""By which the books round the mark of a unit, currency."""
_NO_TRADES = frozenset({"exercise", "assignment"})
"""Changes of a position that end with the delivery that follows them."""


class Trade(NamedTuple):
    """A change of a holding at a price; ``quantity`` is signed contracts or shares, ``fee`` in currency."""

    quantity: Decimal
    price: Decimal
    fee: Decimal = ZERO


class Figures(NamedTuple):
    """Totals of a holding; amounts in currency, ``matched`` by first in, first out."""

    quantity: Decimal
    cost: Decimal
    realised: Decimal
    fees: Decimal
    income: Decimal
    matched: Decimal


class OutsideLedger:
    """Follows the events of one life of the desk.

    ``desk``: Whose orders name instrument and side of an execution, and whose marks value a holding.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._multipliers = [Decimal(each.multiplier) for each in desk.instruments.by_id]
        self._trades: dict[InstrumentId, dict[str, Trade]] = {}
        """Trades of an instrument, in the order of their bookings, by reference."""
        self._owned: dict[tuple[str, InstrumentId], Decimal] = {}
        """Units by the strategy whose orders traded them."""
        self._divided: set[InstrumentId] = set()
        """Instruments of which something came without an order: the desk divides it among its strategies."""
        self._income: dict[InstrumentId, Decimal] = {}
        self._known: set[str] = set()
        """References of executions and changes that were booked, or taken back before they came."""
        self.cash: Decimal | None = None
        """Cash of the account; None until it was adopted."""
        self.fees_paid = ZERO
        """Since the account was adopted: of every execution, less those of what was taken back."""
        self._late_fees: dict[str, Decimal] = {}
        """Cash by which a fee was corrected after its fill, by execution."""
        self.carried = ZERO
        """Cash that was paid beside trades, deliveries and transfers."""
        self._session_equity: Decimal | None = None
        self._brought = ZERO
        """Value of what the owner moved since the start of the session."""
        self._round_trips: list[Decimal] | None = []
        """Profit of each trade from flat to flat; None once one was taken back."""
        self._flat_cash = ZERO
        self._figures: dict[InstrumentId, Figures] = {}

    # what happened --------------------------------------------------------------------------------------

    def follow(self, event: Event) -> None:
        """Book an event that the desk has handled."""
        if type(event) is OrderFilled:
            self._fill(event)
        elif type(event) is FillBusted:
            self._bust(event)
        elif type(event) is PositionChanged:
            self._change(event)
        elif type(event) is AccountSnapshot:
            self._adopt(event)
        elif type(event) is SessionEvent and event.phase is not SessionPhase.CLOSE and self.cash is not None:
            self._session_equity, self._brought = self.nav(), ZERO

    def _fill(self, event: OrderFilled) -> None:
        reference = f"{event.client_order_id}/{event.execution_id}"
        if reference in self._known or self.cash is None:
            return
        sent = self._desk.orders.orders[event.client_order_id].submitted
        filled = sum(
            (
                abs(trade.quantity)
                for name, trade in self._trades.get(sent.instrument_id, {}).items()
                if name.startswith(f"{event.client_order_id}/")
            ),
            event.quantity,
        )
        if filled > sent.quantity:
            return  # no venue fills more than was ordered
        signed = event.quantity if sent.side.value == "buy" else -event.quantity
        self._add(sent.instrument_id, reference, Trade(signed, event.price, event.fee))
        self._own(sent.owner, sent.instrument_id, signed)
        self.cash -= signed * event.price * self._multipliers[sent.instrument_id] + event.fee
        self.fees_paid += event.fee
        self._count_round_trip()

    def _bust(self, event: FillBusted) -> None:
        reference = f"{event.client_order_id}/{event.execution_id}"
        self._known.add(reference)
        sent = self._desk.orders.orders[event.client_order_id].submitted
        number = sent.instrument_id
        trades = self._trades.get(number, {})
        gone = trades.get(reference)
        if gone is not None:  # of equal trades the desk takes the last one out of its order
            last = [name for name, trade in trades.items() if trade == gone][-1]
            kept = {name: trade for name, trade in trades.items() if name != last}
            self._trades[number] = {last if name == reference else name: kept[name] for name in kept}
        if gone is not None and self.cash is not None:
            self._figures.pop(number, None)
            self._own(sent.owner, number, -gone.quantity)
            self.cash += gone.quantity * gone.price * self._multipliers[number] + gone.fee
            self.fees_paid -= gone.fee
            late = self._late_fees.pop(event.execution_id, ZERO)
            self.cash -= late
            self.carried -= late
            self._round_trips = None

    def _change(self, event: PositionChanged) -> None:
        if event.reference in self._known or self.cash is None:
            return
        self._known.add(event.reference)
        number, units = event.instrument_id, event.quantity_change
        assert event.source is None, "no conversion within a trial"
        self.cash += event.cash_change
        if event.cause == "fee":
            self._late_fees[event.reference.removeprefix("fee/")] = event.cash_change
        paid = units * event.price * self._multipliers[number]
        if event.cause in ("dividend", "interest", "funding", "fee"):
            self.carried += event.cash_change
        has_traded = number in self._trades
        if event.cause == "transfer":
            self._brought += event.cash_change + paid
            self._flat_cash += event.cash_change
        elif units or (event.cause in ("dividend", "funding") and has_traded):
            self._income[number] = self._income.get(number, ZERO) + event.cash_change + paid
        if units:
            self._divided.add(number)
            self._add(number, event.reference, Trade(units, event.price))
            if event.cause not in _NO_TRADES:
                self._count_round_trip()
        elif event.cause != "transfer" and self.is_flat():
            self._flat_cash += event.cash_change
        self._figures.pop(number, None)

    def _adopt(self, event: AccountSnapshot) -> None:
        self.cash = event.cash
        for line in event.positions:
            name = f"snapshot-{line.instrument_id}"
            self._divided.add(line.instrument_id)
            if name not in self._known:
                self._add(line.instrument_id, name, Trade(line.quantity, line.average_price))
        self._session_equity = self._flat_cash = self.nav()
        self._brought = ZERO

    def _own(self, owner: str, number: InstrumentId, units: Decimal) -> None:
        self._owned[owner, number] = self._owned.get((owner, number), ZERO) + units

    def owned(self, owner: str, number: InstrumentId) -> Decimal | None:
        """Return the signed units that a strategy's own orders traded; None where others' are among them."""
        return None if number in self._divided else self._owned.get((owner, number), ZERO)

    def _add(self, number: InstrumentId, reference: str, trade: Trade) -> None:
        self._known.add(reference)
        self._trades.setdefault(number, {})[reference] = trade
        self._figures.pop(number, None)

    def _count_round_trip(self) -> None:
        if self._round_trips is not None and self.is_flat() and self.cash is not None:
            self._round_trips.append(self.cash - self._flat_cash)
            self._flat_cash = self.cash

    # what it comes to -----------------------------------------------------------------------------------

    def figures(self, number: InstrumentId) -> Figures:
        """Return what the trades of an instrument come to."""
        known = self._figures.get(number)
        if known is None:
            trades = self._trades.get(number, {}).values()
            known = self._figures[number] = self._worked_out(number, tuple(trades))
        return known

    def _worked_out(self, number: InstrumentId, trades: Iterable[Trade]) -> Figures:
        multiplier = self._multipliers[number]
        quantity = cost = paid = fees = matched = ZERO
        lots: deque[list[Decimal]] = deque()
        for trade in trades:
            after = quantity + trade.quantity
            if quantity * trade.quantity >= 0:  # more of the same side
                cost += trade.quantity * trade.price
            elif quantity * after > 0:  # a part of it goes, at its mean cost
                cost = cost * after / quantity
            else:  # all of it goes, and what is beyond begins at this price
                cost = after * trade.price
            quantity = after
            paid += trade.quantity * trade.price
            fees += trade.fee
            left = trade.quantity
            while left and lots and lots[0][0] * left < 0:
                part = min(abs(left), abs(lots[0][0])).copy_sign(lots[0][0])
                matched += part * (trade.price - lots[0][1])
                lots[0][0] -= part
                left += part
                if not lots[0][0]:
                    lots.popleft()
            if left:
                lots.append([left, trade.price])
        income = self._income.get(number, ZERO)
        realised = (cost - paid) * multiplier
        return Figures(quantity, cost * multiplier, realised, fees, income, matched)

    def is_flat(self) -> bool:
        """Return whether nothing is held."""
        return not any(self.figures(number).quantity for number in self._trades)

    def nav(self) -> Decimal:
        """Return cash and holdings at the desk's marks, in currency; at their cost where none is known."""
        total = ZERO if self.cash is None else self.cash
        for number in self._trades:
            held = self.figures(number)
            mark = self._desk.view.mark(number)
            if held.quantity and mark is None:
                total += held.cost
            elif held.quantity:
                total += held.quantity * Decimal(f"{mark:.6f}") * self._multipliers[number]
        return total

    def loss(self) -> Decimal:
        """Return what the session has lost so far at the desk's marks, in currency, above 0 for a loss."""
        return ZERO if self._session_equity is None else self._session_equity + self._brought - self.nav()

    # what the desk says ---------------------------------------------------------------------------------

    def differs(self, event: Event) -> str | None:
        """Return the law and in words what the desk's books have that this ledger does not."""
        desk = self._desk
        if self.cash is None or type(event) not in _LOOKED_AT:
            return None
        if desk.account.cash != self.cash:
            return f"8 cash_is_conserved: cash {desk.account.cash}, outside {self.cash}"
        for number in map(InstrumentId, range(len(self._multipliers))):
            why = self._differs_in(number)
            if why is not None:
                return f"15 positions_are_the_trials_own: {desk.instruments[number].symbol} {why}"
        if self._session_equity is not None and desk.view.session is not None:
            equity = self._session_equity + self._brought
            if abs(desk.session_equity - equity) > _ROUNDED:
                return f"15 session_start: the session began with {desk.session_equity}, outside {equity}"
        units = sum(abs(self.figures(number).quantity) * self._multipliers[number] for number in self._trades)
        if abs(desk.view.nav - self.nav()) > _ROUNDED + _MARK_ROUNDED * units:
            return f"15 net_asset_value: {desk.view.nav}, outside {self.nav()}"
        if desk.books is not None:
            why = self._parts_differ(desk.books)
            return None if why is None else f"15 sub_books_add_up: {why}"
        if self._round_trips is not None and desk.gate.closed_trades.results != self._round_trips:
            return f"15 round_trips: {desk.gate.closed_trades.results}, outside {self._round_trips}"
        return None

    def _differs_in(self, number: InstrumentId) -> str | None:
        position = self._desk.positions.positions.get(number)
        ours = self.figures(number)
        if position is None:
            return f"nothing booked, outside {ours.quantity}" if number in self._trades else None
        lots = self._desk.positions.scalps.get(number)
        pairs = (
            ("holds", position.quantity, ours.quantity),
            ("cost", position.cost, ours.cost),
            ("realised", position.realized, ours.realised),
            ("fees", position.fees, ours.fees),
            ("income", position.income, ours.income),
            ("scalps", ours.matched if lots is None else lots.realized, ours.matched),
        )
        for what, theirs, mine in pairs:
            if abs(theirs - mine) > _EXACT:
                return f"{what} {theirs}, outside {mine}"
        return None

    def _parts_differ(self, books: SubBooks) -> str | None:
        """Return what the books of the strategies do not add up to."""
        parts = books.books.values()
        cash = sum((book.account.cash for book in parts), ZERO)
        if self.cash is None or abs(cash - self.cash) > _EXACT:
            return f"the strategies' cash adds up to {cash}, outside {self.cash}"
        for number in self._trades:
            for owner, book in books.books.items():
                mine, theirs = self.owned(owner, number), book.quantity(number)
                if mine is not None and mine != theirs:
                    return f"{owner or 'no strategy'} holds {theirs} of {number}, its orders traded {mine}"
            held = [book.positions.positions[number] for book in parts if number in book.positions.positions]
            ours = self.figures(number)
            for what, total, mine in (
                ("holdings", sum((each.quantity for each in held), ZERO), ours.quantity),
                ("fees", sum((each.fees for each in held), ZERO), ours.fees),
            ):
                if abs(total - mine) > _EXACT:
                    return f"the strategies' {what} in {number} add up to {total}, outside {mine}"
        return None


_LOOKED_AT = (OrderFilled, FillBusted, PositionChanged, AccountSnapshot, SessionEvent, TimerEvent)
"""Events after which the books are compared."""
