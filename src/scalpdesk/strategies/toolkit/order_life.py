"""The life of a strategy's orders: time to live, cancels, and reports that are not repeated."""

from collections.abc import Collection, Iterable

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.intents import REFUSED_BY, CancelIntent, Purpose
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.orders.order import UNCERTAIN, Order, OrderState
from scalpdesk.strategies.contract import Action, DeskView, Facts, Proposal

REJECTION_SECONDS = 30.0
"""Longest pause after rejections by the venue: the next order may be an exit."""


def cancels_of(orders: Iterable[Order], why: str) -> tuple[CancelIntent, ...]:
    """Return a cancel for each of these orders that is not being cancelled or in doubt already."""
    return tuple(CancelIntent(order.client_order_id, why) for order in orders if order.state not in UNCERTAIN)


def take_back(kind: DecisionKind, orders: Iterable[Order], words: str, why: str = "") -> list[Action]:
    """Return the decision to cancel these orders, or nothing where no order can be cancelled."""
    intents = cancels_of(orders, why or words)
    return [Proposal(kind, (words,), {}, intents)] if intents else []


def has_rejected_combo(view: DeskView, legs: Collection[InstrumentId]) -> bool:
    """Return whether the venue has rejected an order of several legs, one of them of these."""
    return any(
        order.parent_id and order.state is OrderState.REJECTED and order.submitted.instrument_id in legs
        for order in view.orders.orders.values()
    )


def surplus_cancels(view: DeskView) -> list[Action]:
    """Take off what would still add to a position that is whole: a leg may fill after its cancel."""
    adding = [order for order in view.orders.live.values() if order.submitted.purpose is Purpose.OPEN]
    return take_back(DecisionKind.ENTRY, adding, "the position is whole: take off what would add to it")


class ReportOnce:
    """Reports a decision not to act when its key changes, not at every wake.

    ``kind``: Of the proposals.
    ``again_after_seconds``: A key reported within this time is not reported again even after a change; None:
    a change is always reported.
    """

    def __init__(
        self, kind: DecisionKind = DecisionKind.ENTRY, again_after_seconds: float | None = None
    ) -> None:
        self.kind = kind
        self._again_after_ns = (
            None if again_after_seconds is None else int(again_after_seconds * NANOS_PER_SECOND)
        )
        self.last = ""
        """Key reported (or held back) last."""
        self._reported_ns: dict[str, int] = {}

    def report(
        self, key: str, reasons: tuple[str, ...], facts: Facts | None = None, *, now_ns: int = 0
    ) -> list[Action]:
        """Return the report, or nothing when its key has been reported."""
        was, self.last = self.last, key
        at_ns = self._reported_ns.get(key)
        is_recent = (
            self._again_after_ns is not None and at_ns is not None and now_ns - at_ns < self._again_after_ns
        )
        if key == was or is_recent:
            return []
        self._reported_ns[key] = now_ns
        return [self._proposal(key, reasons, facts)]

    def once(self, key: str, reasons: tuple[str, ...], facts: Facts | None = None) -> list[Action]:
        """Return the report unless its key has ever been reported since the last :meth:`forget`."""
        if key in self._reported_ns:
            return []
        self._reported_ns[key] = 0
        return [self._proposal(key, reasons, facts)]

    def _proposal(self, key: str, reasons: tuple[str, ...], facts: Facts | None) -> Proposal:
        about: Facts = {REFUSED_BY: str(key)} if self.kind == DecisionKind.ENTRY else {}
        return Proposal(self.kind, reasons, (facts or {}) | about)

    @property
    def has_reported(self) -> bool:
        """Whether anything was reported since the last :meth:`forget`."""
        return bool(self._reported_ns)

    def forget(self) -> None:
        """Report everything again, as at the start of a session."""
        self.last = ""
        self._reported_ns.clear()
