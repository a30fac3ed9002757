"""Mishaps in the life of an order, staged on request: late answers, fills before them and after cancels."""

from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_DOWN, Decimal

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.simulation.broker.books import Books
from scalpdesk.simulation.broker.matching import Matcher
from scalpdesk.simulation.broker.orders import MATCHABLE, Execution, Status, VenueOrder
from scalpdesk.simulation.broker.refusals import Cause, Refused
from scalpdesk.simulation.faults import Fault

Effect = Callable[[VenueOrder], None]
Swap = Callable[[VenueOrder, VenueOrder, Status], None]


class StagedFaults:
    """Carries out the faults of orders.

    Parameters
    ----------
    books, matcher
        State of the broker and its matching.
    """

    def __init__(self, books: Books, matcher: Matcher) -> None:
        self._books = books
        self._matcher = matcher

    @staticmethod
    def refusal(fault: Fault) -> Refused:
        """Return the refusal that a fault asks for."""
        known = {cause.value: cause for cause in Cause}
        cause = known.get(fault.reason, Cause.BUYING_POWER)
        return Refused(cause, "refused by the fault plan")

    def activate(self, order: VenueOrder, fault: Fault | None, effect: Effect) -> None:
        """Let an order reach the exchange, or what the fault makes of it."""
        if fault is None:
            effect(order)
            return
        delay_ns = int(fault.seconds * NANOS_PER_SECOND)
        if fault.name == "late_ack":
            self._books.at(self._books.now_ns + delay_ns, lambda: effect(order))
        elif fault.name == "late_reject":
            order.reject_reason = fault.reason
            self._books.end(order, Status.REJECTED)
        elif fault.name == "partial_fill":
            part = (order.quantity * Decimal(str(fault.fraction))).to_integral_value(ROUND_DOWN)
            self._matcher.held_back[order.order_id] = max(part, Decimal(1))
            self._books.at(self._books.now_ns + delay_ns, lambda: self._let_go(order))
            effect(order)
        else:
            self._fill_before_ack(order, effect)

    def _let_go(self, order: VenueOrder) -> None:
        self._matcher.held_back.pop(order.order_id, None)
        self._matcher.match(order)

    def _fill_before_ack(self, order: VenueOrder, effect: Effect) -> None:
        """Tell the fills first and the acknowledgement after them."""
        books = self._books
        start = len(books.updates)
        effect(order)
        told = books.updates[start:]
        fills = [one for one in told if one.execution is not None]
        books.updates[start:] = fills + [one for one in told if one.execution is None]

    def cancel(self, order: VenueOrder, fault: Fault | None, effect: Effect) -> None:
        """Take an order off, or let a fill come first or after."""
        books = self._books
        name = "" if fault is None else fault.name
        if fault is not None and name == "cancel_stuck":
            books.at(books.now_ns + int(fault.seconds * NANOS_PER_SECOND), lambda: effect(order))
            return
        if name == "cancel_too_late":
            self._fill_at_quote(order)
        effect(order)
        if fault is not None and name == "late_fill_after_cancel" and order.status is Status.CANCELED:
            books.at(books.now_ns + int(fault.seconds * NANOS_PER_SECOND), lambda: self._late_fill(order))

    def _fill_at_quote(self, order: VenueOrder) -> None:
        """Fill what is left at the order's own price, or at the far side."""
        if order.instrument_id is None or order.status not in MATCHABLE or order.leaves <= 0:
            return
        price = order.working_limit or self._books.mark(order.instrument_id)
        if price > 0:
            self._matcher.fill(order, order.leaves, price)

    def _late_fill(self, order: VenueOrder) -> None:
        """Report a trade that took place before the cancel, after its confirmation."""
        if order.instrument_id is None or order.leaves <= 0:
            return
        price = order.working_limit or self._books.mark(order.instrument_id)
        execution = self._books.trade(order, order.leaves, price)
        order.status, order.filled_ns = Status.FILLED, self._books.now_ns
        held = self._books.accounts[order.account].quantity(order.instrument_id)
        self._books.emit(order, "fill", execution, held)

    def replace(
        self, old: VenueOrder, new: VenueOrder, before: Status, fault: Fault | None, effect: Swap
    ) -> None:
        """Swap two orders, or let the old one fill first."""
        if fault is not None and fault.name == "replace_too_late":
            self._fill_at_quote(old)
        effect(old, new, before)

    def correct(self, execution: Execution, price: Decimal) -> bool:
        """Change the price of an execution: it is taken back and booked again under a new id.

        The order keeps its state; the client hears ``trade_correct``.
        """
        order = self._books.orders[execution.order_id]
        if not self.bust(execution, tells=False):
            return False
        order.busted -= execution.quantity  # the trade in its place takes the quantity up again
        again = self._books.trade(order, execution.quantity, price)
        assert order.instrument_id is not None
        held = self._books.accounts[order.account].quantity(order.instrument_id)
        self._books.emit(order, "trade_correct", replace(again, corrects=execution.execution_id), held)
        return True

    def bust(self, execution: Execution, *, tells: bool = True) -> bool:
        """Take an execution back from account and order; return whether it was there."""
        books = self._books
        account = books.accounts[execution.account]
        number = execution.instrument_id
        if execution not in account.executions or number is None:
            return False
        instrument = books.instruments[number]
        account.executions.remove(execution)
        signed = -execution.quantity * execution.side.sign
        cash = -signed * execution.price * instrument.multiplier + execution.fee
        account.book(number, signed, execution.price, cash)
        order = books.orders[execution.order_id]
        order.filled -= execution.quantity
        order.busted += execution.quantity
        order.value -= execution.quantity * execution.price
        # its line leaves the history of fills: whoever asks later must not find it among them
        account.activities[:] = [one for one in account.activities if one.execution != execution]
        books.note(account, "JNLC", instrument.symbol, signed, execution.price, cash, text="trade bust")
        if tells:
            books.emit(order, "trade_bust", execution, account.quantity(number))
        return True

    def after_fill(self, execution: Execution, fault: Fault) -> None:
        """Bust or correct a trade some time after it was reported."""
        due_ns = self._books.now_ns + int(fault.seconds * NANOS_PER_SECOND)
        if fault.name == "correct":
            price = execution.price + Decimal("0.01") * execution.side.sign
            self._books.at(due_ns, lambda: self._only(self.correct(execution, price)))
        else:
            self._books.at(due_ns, lambda: self._only(self.bust(execution)))

    @staticmethod
    def _only(_done: bool) -> None:
        """A timer has no use for the answer."""
