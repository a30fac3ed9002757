"""Decisions: a strategy's proposal becomes orders and cancels, or a record of every reason against it."""

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import ArgumentError, nearest_name
from scalpdesk.core.intents import (
    EXITS,
    REFUSED_BY,
    RISK_GATE,
    CancelIntent,
    Decision,
    LegOrders,
    MultiLegOrder,
    OrderIntent,
    SubmitOrder,
)
from scalpdesk.core.units import ZERO
from scalpdesk.engine.admission import OrderAdmission
from scalpdesk.engine.cancels import Cancels
from scalpdesk.engine.desk import Desk
from scalpdesk.engine.turn import Turn
from scalpdesk.orders.order_manager import net_limit
from scalpdesk.strategies.contract import OnSizeCut, Proposal, Strategy

_LEGS = LegOrders.LEGS


class Decisions:
    """Decides on proposals: what the gate admits is sent, and each decision is recorded."""

    def __init__(self, desk: Desk, turn: Turn, cancels: Cancels, strategy: Strategy) -> None:
        self._desk = desk
        self._turn = turn
        self._cancels = cancels
        self._admission = OrderAdmission(desk)
        self._on_cut = strategy.on_cut if isinstance(strategy, OnSizeCut) else None

    def decide(self, proposal: Proposal) -> None:
        """Turn a proposal into a decision: taken with its orders, or skipped with every reason."""
        if self._turn.is_led:
            return
        desk, now_ns, out = self._desk, self._turn.now_ns, self._turn.out
        manager, counters, instruments = desk.orders, desk.gate.counters, desk.instruments.by_id
        kind = proposal.kind
        if kind.__class__ is not DecisionKind:  # a plug-in's plain text
            kind = _kind_of(kind)
        orders: list[OrderIntent] = []
        cancels: list[str] = []
        for intent in proposal.intents:
            if type(intent) is not CancelIntent:
                orders.append(intent)
            elif manager.may_cancel(intent.client_order_id, now_ns):
                cancels.append(intent.client_order_id)
        if proposal.intents and not orders and not cancels and not proposal.carried_out:
            return  # only cancels, all refused a moment ago
        admitted = self._admission.judge(orders, now_ns, all_or_none=proposal.all_or_none)
        commands: list[SubmitOrder | MultiLegOrder] = []
        ids: list[str] = []
        combo: MultiLegOrder | None = None
        if proposal.leg_orders is not _LEGS and self._admission.may_combine(
            admitted.intents, proposal.leg_orders
        ):
            combo = manager.submit_combo(admitted.intents, net_limit(admitted.intents), now_ns)
            commands.append(combo)
            ids += [leg.client_order_id for leg in combo.legs]
        for order in admitted.intents:
            if combo is None:
                command = manager.submit(order, now_ns)
                commands.append(command)
                ids.append(command.client_order_id)
            is_option = instruments[order.instrument_id].is_option
            size = ZERO if order.purpose in EXITS else order.quantity
            counters.note_order(now_ns, size, is_option=is_option)
        if admitted.notes and self._on_cut is not None:
            self._on_cut(desk.view, admitted.intents)
        for client_order_id in cancels:
            self._cancels.send(client_order_id)
        taken = bool(commands or cancels) or proposal.carried_out
        reasons = proposal.reasons + admitted.notes + admitted.refusals
        facts = proposal.facts
        if admitted.refusals and not taken:
            facts = facts | {REFUSED_BY: RISK_GATE}
        out.append(Decision(now_ns, kind, taken, reasons, facts, tuple(ids)))
        out += commands


def _kind_of(text: str) -> DecisionKind:
    """Return a decision's kind by its name; a journal could not be read back with any other name."""
    try:
        return DecisionKind(text)
    except ValueError:
        names = [kind.value for kind in DecisionKind]
        raise ArgumentError(
            "a proposal has a kind that is not known",
            where="Proposal.kind",
            value=text,
            nearest=nearest_name(text, names),
            fix=f"use one of {', '.join(names)}",
        ) from None
