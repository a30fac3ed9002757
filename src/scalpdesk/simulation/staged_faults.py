"""Order faults injected on request: late answers, fills before the acknowledgement and after a cancel."""

from collections.abc import Callable
from decimal import Decimal

from msgspec import structs

from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO, floor_to
from scalpdesk.instruments.postings import of_bust
from scalpdesk.simulation.faults import Fault
from scalpdesk.simulation.ledger import Ledger, posting_of
from scalpdesk.simulation.matching import Matcher
from scalpdesk.simulation.orders import (
    BUST_NOTE,
    MATCHABLE,
    BrokerOrder,
    Execution,
    OrderUpdate,
    Status,
)

Effect = Callable[[BrokerOrder], None]
Swap = Callable[[BrokerOrder, BrokerOrder], None]


class StagedFaults:
    """Carries out the faults of orders.

    ``ledger``, ``matcher``: State of the broker and its matching.
    """

    def __init__(self, ledger: Ledger, matcher: Matcher) -> None:
        self._ledger = ledger
        self._matcher = matcher

    @staticmethod
    def refusal(fault: Fault) -> Refused:
        """Return the refusal that a fault asks for."""
        known = {cause.value: cause for cause in Cause}
        cause = known.get(fault.reason, Cause.BUYING_POWER)
        return Refused(cause, "refused by the fault plan")

    def activate(self, order: BrokerOrder, fault: Fault | None, effect: Effect) -> None:
        """Deliver an order to the exchange, as the fault alters it."""
        if fault is None:
            effect(order)
            return
        delay_ns = int(fault.seconds * NANOS_PER_SECOND)
        if fault.name == "late_ack":
            self._ledger.at(self._ledger.now_ns + delay_ns, lambda: effect(order))
        elif fault.name == "late_reject":
            order.reject_reason = fault.reason
            self._ledger.end(order, Status.REJECTED)
        elif fault.name == "partial_fill":
            step = Decimal(1) if order.instrument is None else order.instrument.step
            part = floor_to(order.quantity * Decimal(str(fault.fraction)), step)
            least = step if fault.fraction else Decimal(0)  # nothing of it fills for now, with 0
            self._matcher.held_back[order.order_id] = max(part, least)
            self._ledger.at(self._ledger.now_ns + delay_ns, lambda: self._let_go(order))
            effect(order)
        else:
            self._fill_before_ack(order, effect)

    def heal(self) -> None:
        """Release every order that a fault holds back."""
        for order_id in tuple(self._matcher.held_back):
            self._let_go(self._ledger.orders[order_id])

    def _let_go(self, order: BrokerOrder) -> None:
        self._matcher.held_back.pop(order.order_id, None)
        self._matcher.match(order)

    def _fill_before_ack(self, order: BrokerOrder, effect: Effect) -> None:
        """Tell the fills first and the acknowledgement after them."""
        ledger = self._ledger
        start = len(ledger.updates)
        effect(order)
        reported = ledger.updates[start:]
        ledger.updates[start:] = sorted(
            reported, key=lambda held: not isinstance(held, OrderUpdate) or held.execution is None
        )

    def cancel(self, order: BrokerOrder, fault: Fault | None, effect: Effect) -> None:
        """Take an order off, or let a fill come first or after."""
        ledger = self._ledger
        name = "" if fault is None else fault.name
        if fault is not None and name == "cancel_stuck":
            ledger.at(ledger.now_ns + int(fault.seconds * NANOS_PER_SECOND), lambda: effect(order))
            return
        if name == "cancel_too_late":
            self._fill_at_quote(order)
        effect(order)
        if fault is not None and name == "late_fill_after_cancel" and order.status is Status.CANCELED:
            ledger.at(ledger.now_ns + int(fault.seconds * NANOS_PER_SECOND), lambda: self._late_fill(order))

    def _fill_at_quote(self, order: BrokerOrder) -> None:
        """Fill what is left at the order's own price, or at the far side."""
        if order.instrument_id is None or order.status not in MATCHABLE or order.leaves <= 0:
            return
        if order.waits_for_stop:
            return
        price = order.working_limit or self._ledger.mark(order.instrument_id)
        if price > 0:
            self._matcher.fill(order, order.leaves, price)

    def _late_fill(self, order: BrokerOrder) -> None:
        """Report a trade that took place before the cancel, after its confirmation."""
        if order.instrument_id is None or order.leaves <= 0 or order.waits_for_stop:
            return
        price = order.working_limit or self._ledger.mark(order.instrument_id)
        execution = self._ledger.trade(order, order.leaves, price)
        order.status, order.filled_ns = Status.FILLED, self._ledger.now_ns
        held = self._ledger.accounts[order.account].quantity(order.instrument_id)
        self._ledger.emit(order, "fill", execution, held)

    def replace(self, old: BrokerOrder, new: BrokerOrder, fault: Fault | None, effect: Swap) -> None:
        """Swap two orders, or let the old one fill first."""
        if fault is not None and fault.name == "replace_too_late":
            self._fill_at_quote(old)
        effect(old, new)

    def correct(self, execution: Execution, price: Decimal) -> bool:
        """Change the price of an execution: it is taken back and booked again under a new id.

        The order keeps its state; the client hears ``trade_correct``.
        """
        order = self._ledger.orders[execution.order_id]
        if not self.bust(execution, tells=False):
            return False
        order.busted -= execution.quantity  # the trade in its place takes the quantity up again
        again = self._ledger.trade(order, execution.quantity, price)
        assert order.instrument_id is not None
        held = self._ledger.accounts[order.account].quantity(order.instrument_id)
        self._ledger.emit(
            order, "trade_correct", structs.replace(again, corrects=execution.execution_id), held
        )
        return True

    def bust(self, execution: Execution, *, tells: bool = True) -> bool:
        """Take an execution back from account and order; return whether it was there."""
        ledger = self._ledger
        account = ledger.accounts[execution.account]
        number = execution.instrument_id
        if execution not in account.executions or number is None:
            return False
        account.executions.remove(execution)
        order = ledger.orders[execution.order_id]
        account.apply(of_bust(posting_of(execution, order), ledger.now_ns))
        order.filled -= execution.quantity
        order.busted += execution.quantity
        order.value -= execution.quantity * execution.price
        # its line leaves the history of fills: a later question must not find it among them. The line of its
        # fee stays, since it may be booked already, and the refund is one more: they give the account's cash
        account.activities[:] = [held for held in account.activities if held.execution != execution]
        if execution.fee and ledger.keeps_history:
            symbol = ledger.instruments[number].symbol
            ledger.note(account, "FEE", symbol, ZERO, ZERO, execution.fee, text=BUST_NOTE)
        if tells:
            ledger.emit(order, "trade_bust", execution, account.quantity(number))
        return True

    def after_fill(self, execution: Execution, fault: Fault) -> None:
        """Bust or correct a trade some time after it was reported."""
        due_ns = self._ledger.now_ns + int(fault.seconds * NANOS_PER_SECOND)
        if fault.name == "correct":
            price = execution.price + Decimal("0.01") * execution.side.sign
            self._ledger.at(due_ns, lambda: self._only(self.correct(execution, price)))
        else:
            self._ledger.at(due_ns, lambda: self._only(self.bust(execution)))

    @staticmethod
    def _only(_done: bool) -> None:
        """A timer has no use for the answer."""
