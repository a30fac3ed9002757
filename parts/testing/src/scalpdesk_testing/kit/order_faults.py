"""Faults that strike orders, requests and streams while an account is being closed, drawn at random."""

import numpy as np

from scalpdesk.simulation.faults import Fault, FaultPlan


class FaultsLater(FaultPlan):
    """A plan of faults that strike once it is armed: the positions are there first."""

    is_armed = False

    def take(self, place: str, about: str = "") -> Fault | None:
        return super().take(place, about) if self.is_armed else None


_REQUEST_FAULTS = (
    "delay", "slow_answer", "drop_request", "half_open", "disconnect_before", "disconnect_after",
    "truncated_answer", "too_many_requests", "server_error", "unavailable", "gateway_timeout",
)  # fmt: skip
_ORDER_FAULTS = ("reject", "late_reject", "late_ack", "fill_before_ack", "partial_fill", "cancel_too_late")
_STREAM_FAULTS = ("stream_drop", "stream_delay", "stream_duplicate", "stream_reorder", "stream_disconnect")


def rules_of(dice: np.random.Generator) -> tuple[Fault, ...]:
    """Draw what goes wrong: most of it hits the orders and the cancels."""
    rules = []
    for name in dice.choice(_REQUEST_FAULTS, 3, replace=False):
        match = str(dice.choice(["POST /v2/orders", "POST /v2/orders", "DELETE /v2/orders", ""]))
        rules.append(
            Fault(
                str(name),
                probability=float(dice.uniform(0.3, 1.0)),
                times=int(dice.integers(1, 6)),
                match=match,
                seconds=round(float(dice.uniform(0.3, 6.0)), 3),
            )
        )
    rules.extend(
        Fault(
            str(name),
            probability=float(dice.uniform(0.3, 1.0)),
            times=int(dice.integers(1, 4)),
            seconds=round(float(dice.uniform(0.2, 8.0)), 3),
            fraction=round(float(dice.uniform(0.1, 0.9)), 3),
        )
        for name in (*dice.choice(_ORDER_FAULTS, 2, replace=False), *dice.choice(_STREAM_FAULTS, 1))
    )
    return tuple(rules)
