"""The one way to any venue: every intent passes all checks or comes back with all its reasons."""

from collections.abc import Sequence
from decimal import Decimal

from scalpdesk.core.enums import Mode
from scalpdesk.core.events import AccountLimits
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.risk.checks import ASKED_OF, CHECKS
from scalpdesk.risk.context import EXITS, Check, OrderContext
from scalpdesk.risk.counters import OrderCounters
from scalpdesk.risk.limits import RiskLimits

EVERY_PURPOSE = frozenset(Purpose)


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
        self._most_repeats, self._most_flips = limits.repeats_per_minute, limits.flips_per_minute
        self.mode: Mode = Mode.ACTIVE
        self.consecutive_losses = 0
        self.account: AccountLimits | None = None
        """What the venue said last of what the account may do."""
        self.cash_when_told = Decimal(0)
        """Cash of the desk at that moment."""
        self.tallies = self._fresh_tallies()
        self.asks_all = checks is CHECKS
        """Whether exactly the product's own checks are asked."""
        self._checks = {
            purpose: tuple(check for check in checks if purpose in ASKED_OF.get(check, EVERY_PURPOSE))
            for purpose in Purpose
        }

    def _fresh_tallies(self) -> OrderCounters:
        limits = self.limits
        return OrderCounters(limits.size_window_seconds, limits.reject_window_seconds)

    def new_session(self) -> None:
        """Start the day's tallies afresh."""
        self.consecutive_losses = 0
        self.tallies = self._fresh_tallies()

    def note_closed_trade(self, pnl: Decimal) -> None:
        """Count a closed trade; exactly zero neither counts nor resets."""
        if pnl < 0:
            self.consecutive_losses += 1
        elif pnl > 0:
            self.consecutive_losses = 0

    def orders_last_minute(self, now_ns: int) -> int:
        """Orders let through in the 60 seconds up to now."""
        return self.tallies.orders_last_minute(now_ns)

    def refusals(self, context: OrderContext) -> tuple[str, ...]:
        """Return every reason why the intent may not go; empty lets it pass."""
        found = []
        for check in self._checks[context.intent.purpose]:
            reason = check(context)
            if reason is not None:
                found.append(reason)
        return tuple(found)

    def note_sent(self, now_ns: int, intent: OrderIntent | None = None, *, is_option: bool = False) -> None:
        """Count an order that goes out; an exit does not count towards the moving size."""
        if intent is None or intent.purpose in EXITS:
            self.tallies.note_order(now_ns)
        else:
            self.tallies.note_order(now_ns, intent.quantity, is_option=is_option)

    def why_disable(self, now_ns: int, number: InstrumentId, side: Side, held_before: Decimal) -> str | None:
        """Count an order's first execution; return why the desk should only reduce from now on, or None.

        A program that went wrong trades the same way again and again, or in and out of flat.
        """
        repeats, flips = self.tallies.note_execution(now_ns, number, side, held_before)
        if repeats > self._most_repeats:
            return (
                f"{repeats} executions in a row to {side.value} within a minute,"
                f" limit {self._most_repeats} (risk.max_repeats_per_minute)"
            )
        if flips > self._most_flips:
            return (
                f"{flips} departures from flat within a minute,"
                f" limit {self._most_flips} (risk.max_flips_per_minute)"
            )
        return None
