"""The one way to any venue: an order passes every risk check that concerns it, or is refused."""

from collections.abc import Sequence
from decimal import Decimal

from scalpdesk.core.enums import Mode
from scalpdesk.core.events import AccountLimits
from scalpdesk.core.intents import OrderType, Side
from scalpdesk.core.mode import DeskMode
from scalpdesk.core.units import InstrumentId
from scalpdesk.portfolio.positions import ClosedTrades
from scalpdesk.risk.checks import CHECKS
from scalpdesk.risk.context import EVERY_ORDER, SCOPES, Check, OrderContext, OrderKey
from scalpdesk.risk.counters import OrderCounters
from scalpdesk.risk.limits import RiskLimits


class RiskGate:
    """Asks the risk checks about orders and keeps the counts that they need."""

    def __init__(self, limits: RiskLimits, checks: Sequence[Check] = CHECKS) -> None:
        self._all_checks = tuple(checks)
        self._checks: dict[tuple[object, ...], tuple[Check, ...]] = {}
        self.desk_mode = DeskMode()
        self.closed_trades = ClosedTrades()
        self.venue_limits: AccountLimits | None = None
        """The venue's last report of the account's permissions."""
        self.cash_at_report = Decimal(0)
        """Cash of the desk at that moment."""
        self.is_compared = True
        """False from the start of a resumed run until its account has been compared with the journal."""
        self.halted: dict[InstrumentId, int] = {}
        """Instruments in which the exchanges have halted trading, and since when (UTC nanoseconds)."""
        self.status_ns: dict[InstrumentId, int] = {}
        """Instant of each instrument's latest trading status, UTC nanoseconds: one may come late."""
        self.set_limits(limits)
        self.counters = self._new_counters()

    @property
    def mode(self) -> Mode:
        """Trading mode of the desk."""
        return self.desk_mode.mode

    @property
    def kept_mode(self) -> Mode:
        """The account's mode, whether its run is stopping or not."""
        return self.desk_mode.kept

    def set_limits(self, limits: RiskLimits) -> None:
        """Hold orders to other limits from now on."""
        self.limits = limits
        self.resolved = limits.resolve()
        self._checks.clear()

    def _new_counters(self) -> OrderCounters:
        return OrderCounters(self.limits.size_window_seconds, self.limits.reject_window_seconds)

    def new_session(self) -> None:
        """Start the session's counts at zero."""
        self.closed_trades.new_session()
        self.counters = self._new_counters()

    def refusals(self, context: OrderContext) -> tuple[str, ...]:
        """Return every reason why the order may not go; empty lets it pass."""
        intent, kind = context.intent, context.intent.order_type
        key = (
            intent.purpose,
            kind if kind.__class__ is OrderType else intent.type_name,  # the names of both are their values
            context.mode,
            context.is_option,
            context.venue_limits is not None,
            context.live_orders > 0,
            context.is_halted,
            context.is_compared,
            context.instrument.is_index,
        )
        checks = self._checks.get(key)
        if checks is None:
            checks = self._checks[key] = self._compile(OrderKey(*key))
        for check in checks:
            if check(context) is not None:
                return _all_reasons(checks, context)
        return ()

    def _compile(self, key: OrderKey) -> tuple[Check, ...]:
        """Choose the checks that concern orders of one kind, in the order in which they are asked."""
        limits = self.limits
        return tuple(c for c in self._all_checks if SCOPES.get(c, EVERY_ORDER).contains(key, limits))

    def why_disable(
        self, now_ns: int, instrument_id: InstrumentId, side: Side, held_before: Decimal
    ) -> str | None:
        """Count an order's first execution; return why the desk should only reduce from now on, or None.

        A program that went wrong trades the same way again and again, or in and out of flat.
        """
        repeats, flips = self.counters.note_execution(now_ns, instrument_id, side, held_before)
        most = self.resolved.repeats_per_minute
        if repeats > most:
            return (
                f"{repeats} executions in a row to {side.value} within a minute,"
                f" limit {most} (risk.max_repeats_per_minute)"
            )
        most = self.resolved.flips_per_minute
        if flips > most:
            return f"{flips} departures from flat within a minute, limit {most} (risk.max_flips_per_minute)"
        return None


def _all_reasons(checks: Sequence[Check], context: OrderContext) -> tuple[str, ...]:
    reasons = []
    for check in checks:
        reason = check(context)
        if reason is not None:
            reasons.append(reason)
            if not context.intent.quantity.is_finite():  # nothing further can be worked out from such a size
                break
    return tuple(reasons)
