"""The one way to any venue: every intent passes all checks or comes back with all its reasons."""

from collections import deque
from collections.abc import Sequence
from decimal import Decimal

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.risk.checks import CHECKS, Check, OrderContext
from scalpdesk.risk.limits import RiskLimits

_MINUTE_NS = 60 * NANOS_PER_SECOND
ZERO = Decimal(0)


class RiskGate:
    """Judges intents and keeps the tallies that the checks need.

    Parameters
    ----------
    limits
        The account's limits.
    checks
        What is asked, in order.
    """

    def __init__(self, limits: RiskLimits, checks: Sequence[Check] = CHECKS) -> None:
        self.limits = limits
        self.mode = "ACTIVE"
        self.consecutive_losses = 0
        self._checks = tuple(checks)
        self._sent_ns: deque[int] = deque()

    def new_session(self) -> None:
        """Start the day's tallies afresh."""
        self.consecutive_losses = 0
        self._sent_ns.clear()

    def note_closed_trade(self, pnl: Decimal) -> None:
        """Count a closed trade; exactly zero neither counts nor resets."""
        if pnl < 0:
            self.consecutive_losses += 1
        elif pnl > 0:
            self.consecutive_losses = 0

    def orders_last_minute(self, now_ns: int) -> int:
        """Orders let through in the 60 seconds up to now."""
        sent = self._sent_ns
        while sent and now_ns - sent[0] >= _MINUTE_NS:
            sent.popleft()
        return len(sent)

    def reasons_against(self, context: OrderContext) -> tuple[str, ...]:
        """Return every reason why the intent may not go; empty lets it pass."""
        found = []
        for check in self._checks:
            reason = check(context)
            if reason is not None:
                found.append(reason)
        return tuple(found)

    def note_sent(self, now_ns: int) -> None:
        """Count an order that goes out."""
        self._sent_ns.append(now_ns)
