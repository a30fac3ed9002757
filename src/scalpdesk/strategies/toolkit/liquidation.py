"""Liquidation of a position by a deadline: options first, then their hedge, retried until filled.

A first try goes at the market; what a venue refuses or does not fill gets a new price every few seconds, on
the rungs of `scalpdesk.closing.leg`. A leg counts as closed when its position is gone, and not before. While
options that could not be left are still held, their hedge is kept.
A strategy that sends limit orders alone begins with such a limit, a tick beyond the other side's quote, or
rests at the mid for a while. One that walks begins with limits that go from the mid to the other side.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from scalpdesk.closing.leg import Tactics
from scalpdesk.closing.plan import TargetLine
from scalpdesk.core.backoff import BackOff
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import Event, OrderNotFound, OrderRejected
from scalpdesk.core.intents import EXITS, LegOrders, SetTimer
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, ZERO, InstrumentId
from scalpdesk.instruments.settlement import delivers_nothing
from scalpdesk.marketdata.quotes import TRADABLE
from scalpdesk.orders.order import Order
from scalpdesk.strategies.contract import Action, DeskView, Facts, Proposal
from scalpdesk.strategies.toolkit.hedger import DeltaHedger
from scalpdesk.strategies.toolkit.pursuit import Pursuit, sight_of

_LONGEST_PAUSE_SECONDS = 15.0
_ALERT_AFTER_SECONDS, _LONGEST_ALERT_SECONDS = 30.0, 1_800.0
"""Into the exit, and the longest time between two alerts, which doubles with each."""
_STALE_HEDGE_NS = MINUTE_NS
"""Into the exit; so long another instrument than the underlying is unwound only at a fresh quote."""
_LAST_CALL_NS = MINUTE_NS
"""Before the close: a hedge of options that are settled in cash would be naked after it."""


class Liquidation(Pursuit):
    """Closes a position: options first, then their hedge.

    ``hedger``: Keeps the hedge of options that cannot be closed yet; None for legs without a hedge, which are
    all that is closed then, and all whose orders are taken off.
    ``unwinds``: Whether shares are unwound after the options although no hedger keeps them.
    ``retry_seconds``: Age at which an exit order that is not filled is cancelled and gets a new price.
    ``alert_after``: Failed attempts at one leg before an alert.
    ``timer``: Name of the timer of the next attempt.
    ``leg_orders``: Whether the first try at all options may go as one order; later tries go leg by leg.
    ``limits_only``: Whether the first try is a limit as well.
    ``walks``: Whether the time at the mid is a walk from there to the other side.
    """

    def __init__(
        self,
        hedger: DeltaHedger | None,
        *,
        retry_seconds: float,
        unwinds: bool = False,
        alert_after: int = 3,
        timer: str,
        leg_orders: LegOrders = LegOrders.LEGS,
        limits_only: bool = False,
        walks: bool = False,
    ) -> None:
        self._unwinds = unwinds or hedger is not None
        tactics = Tactics(
            retry_seconds=retry_seconds,
            pause_seconds=retry_seconds,
            limits_only=limits_only,
            unwinds_shares=self._unwinds,
            walks=walks,
        )
        step = "" if hedger is None else "leave the options, then their hedge"
        super().__init__(tactics, timer=timer, leg_orders=leg_orders, step=step)
        self._hedger = hedger
        self._alert_after = alert_after
        self.forget()

    def forget(self) -> None:
        """Reset for the next session."""
        self._closed: set[InstrumentId] = set()
        """Legs so far, where there is no hedge."""
        self.why, self.since_ns, self._mid_until_ns, self._memory = "", None, 0, {}
        self._waiting, self._began = set(), {}
        self._are_left = False
        """Whether sets wait for better quotes, as of the last look."""
        self._alerts = BackOff(_ALERT_AFTER_SECONDS, _LONGEST_ALERT_SECONDS)
        self._hedged_for: dict[InstrumentId, Decimal] = {}

    def note_refused(self, view: DeskView, event: Event | None) -> list[Action]:
        """Wait 1, 2, 4 … seconds after an order that the event refuses; nothing for any other event.

        The pause is at most 15 s, and half an hour for a leg without a bid or past the venue's cut-off.
        """
        order = view.order_of(event) if isinstance(event, OrderRejected | OrderNotFound) else None
        if order is None:
            return []
        number = order.submitted.instrument_id
        seen, leg = sight_of(view, number), self.tried(number)
        leg = leg.after_refusal(seen, order.submitted.side, 1.0, _LONGEST_PAUSE_SECONDS)
        self._memory = {**self._memory, ("", number): leg}
        timer = SetTimer(self._timer, leg.not_before_ns)
        if order.submitted.purpose not in EXITS:
            return [timer]
        why = f"exit order refused: {order.reason or 'never reached the venue'}"
        return [Proposal(DecisionKind.EXIT, (why,), {"order": order.client_order_id}), timer]

    def step(
        self,
        view: DeskView,
        legs: Sequence[InstrumentId],
        facts: Facts | None = None,
        own: Mapping[InstrumentId, Decimal] | None = None,
    ) -> list[Action]:
        """Return the next orders; an empty list while orders are working and once all is closed.

        ``view``, ``legs``: The desk, and the options held.
        ``facts``: Figures of the trade, for the record of each exit order.
        ``own``: Signed quantities to close where the account holds more than the trade; all that is held is
        closed without.
        """
        self._closed.update(legs)
        held, retry_ns = view.positions.quantity, view.now_ns + self._tactics.retry_ns
        lines = [TargetLine("", leg, (own or {}).get(leg, held(leg))) for leg in legs]
        is_under_way, is_last_call = self._is_under_way(view, legs), self._is_last_call(view, legs)
        if (is_last_call or not is_under_way) and self._may_unwind(view):
            lines.append(TargetLine("", view.hedge, held(view.hedge)))
        found = self.plan(view, lines, self._live(view), keeps_hedge=not is_last_call)
        actions = self.exits(view, found, facts or {})
        self._are_left = bool(found.excesses) and not found.orders
        if legs or self._hedge_held(view):
            actions.append(SetTimer(self._timer, min(found.due_ns, default=retry_ns)))
            if found.is_hedged and not (found.orders or is_under_way):
                actions += self._keep_hedged(view, legs)
            if not self._are_left:
                actions += self._of_unbid(view, legs) or self._alert(view, legs)
        return actions

    def _is_under_way(self, view: DeskView, legs: Sequence[InstrumentId]) -> bool:
        """Return whether a sale is: hedging its half would be paid twice."""
        young_ns = view.now_ns - self._tactics.retry_ns
        return bool(legs) and (
            view.now_ns == self.since_ns
            or any(
                order.created_ns > young_ns and not sight_of(view, leg).is_unquoted
                for leg in legs
                for order in view.orders.live_for(leg)
            )
        )

    def _is_last_call(self, view: DeskView, legs: Sequence[InstrumentId]) -> bool:
        """Return whether the session ends, and what is held leaves nothing to hedge.

        It is paid in cash, or its legs expire today and deliver to one another.
        """
        if view.session is None or view.now_ns < view.session.close_ns - _LAST_CALL_NS:
            return False
        contracts = [(view.instruments[leg], view.positions.quantity(leg)) for leg in legs]
        if all(item.is_option and not item.delivers for item, _ in contracts):
            return True
        spot = view.market.mark(view.underlying)
        return self._are_left and delivers_nothing(contracts, spot, view.session.day)

    def _may_unwind(self, view: DeskView) -> bool:
        """Return whether shares are held, and quoted well enough for their time."""
        is_late = view.now_ns + self._tactics.retry_ns >= (self.since_ns or 0) + _STALE_HEDGE_NS
        is_fine = view.hedge == view.underlying or view.market.verdict(view.hedge, view.now_ns) in TRADABLE
        return bool(self._hedge_held(view)) and (is_late or is_fine)

    def _hedge_held(self, view: DeskView) -> Decimal:
        return view.positions.quantity(view.hedge) if self._unwinds else ZERO

    def is_flat(self, view: DeskView, legs: Sequence[InstrumentId]) -> bool:
        """Return whether nothing is held and nothing is on its way."""
        return not legs and not view.positions.quantity(view.hedge) and not view.orders.live

    def take_off(self, view: DeskView) -> Sequence[Action]:
        """Cancel what was bought or hedged before, and exit orders that stand unfilled."""
        return self.exits(view, self.plan(view, (), self._live(view)), {})

    def _live(self, view: DeskView) -> list[Order]:
        live = view.orders.live.values()
        return [each for each in live if self._unwinds or each.submitted.instrument_id in self._closed]

    def _keep_hedged(self, view: DeskView, legs: Sequence[InstrumentId]) -> Sequence[Action]:
        """Hedge what could not be left yet."""
        exposure = None if self._hedger is None else self._hedger.measure(view, legs)
        if self._hedger is None or exposure is None:
            return ()
        held = {leg: view.positions.quantity(leg) for leg in legs}
        at_once, self._hedged_for = held != self._hedged_for, held
        return self._hedger.step(view, legs, exposure, at_once=at_once)

    def _note(self, legs: Sequence[InstrumentId], **said: bool) -> None:
        told = {("", leg): self.tried(leg)._replace(**said) for leg in legs}
        self._memory = {**self._memory, **told}

    # alerts -------------------------------------------------------------------------------------

    def _rests(self, view: DeskView, leg: InstrumentId) -> bool:
        """Return whether an option without a bid is offered at the least."""
        tried, seen = self.tried(leg), sight_of(view, leg)
        return seen.has_no_bid and any(
            tried.rests_rightly(order, seen, ()) for order in view.orders.live_for(leg)
        )

    def _of_unbid(self, view: DeskView, legs: Sequence[InstrumentId]) -> Sequence[Action]:
        """Report once of a leg without a bid that it rests at the least, or that the venue takes no offer."""
        unbid = [leg for leg in sorted(legs) if sight_of(view, leg).has_no_bid]
        resting = [leg for leg in unbid if self._rests(view, leg)]
        news = [leg for leg in resting if not self.tried(leg).is_worthless]
        if news:
            self._note(news, is_worthless=True)
            why = f"no bid for {_names(view, news)}"
            why += ": offered at its payoff or the smallest price, else it expires"
            return (Proposal(DecisionKind.EXIT, (why,)),)
        most = self._alert_after
        unsold = [leg for leg in unbid if leg not in resting and self.tried(leg).tries > most]
        news = [leg for leg in unsold if not self.tried(leg).is_unsold]
        if news:
            self._note(news, is_unsold=True)
            why = f"no bid for {_names(view, news)}, and the venue takes no offer"
            why += ": sold when it is bid for, else it expires"
            return (Proposal(DecisionKind.ALERT, (why,), {"tries": most + 1}),)
        return ()

    def _alert(self, view: DeskView, legs: Sequence[InstrumentId]) -> Sequence[Action]:
        """Report what resists, and again later each time while it does."""
        legs = [leg for leg in legs if not (self._rests(view, leg) or self.tried(leg).is_unsold)]
        hedge = self._hedge_held(view)
        if not legs and not hedge:
            return ()
        worst = max((self.tried(leg).tries for leg in legs), default=0)
        seconds = (view.now_ns - (self.since_ns or view.now_ns)) / NANOS_PER_SECOND
        is_early = worst <= self._alert_after and seconds < _ALERT_AFTER_SECONDS
        if is_early or view.now_ns < self._alerts.until_ns:
            return ()
        self._alerts.fail(view.now_ns)
        held = [*legs, *([view.hedge] if hedge else [])]
        names = ", ".join(
            f"{view.positions.quantity(item):+f} {view.instruments[item].symbol}" for item in held
        )
        reason = f"still held {seconds:.0f} s into the exit, after {worst} tries: {names}"
        if view.is_halted(view.hedge):
            reason += f"; trading is halted in {view.instruments[view.hedge].symbol}"
        silent = [view.instruments[leg].symbol for leg in legs if sight_of(view, leg).is_unquoted]
        if silent:
            reason += f"; no quote of {', '.join(silent)}"
        return (Proposal(DecisionKind.ALERT, (reason,), {"tries": worst, "seconds": seconds}),)


def _names(view: DeskView, legs: Sequence[InstrumentId]) -> str:
    return ", ".join(view.instruments[leg].symbol for leg in legs)
