"""Liquidation of a position by a deadline: options first, then their hedge, retried until filled.

A first try goes at the market; what a venue refuses or does not fill is priced anew as a limit that
the other side's quote meets, every few seconds. An option without a good quote is offered at the model's
value, then in steps, each twice as long, down to what is least for it: its payoff at the present spot, and no
less than 95 % of the model's value. There the offer rests until the option is quoted again or the spot has
moved away; what must go today is sold at the market. What nobody bids for rests at 95 % of its payoff, or at
the smallest price; where the venue refuses that too, it is offered after ever longer pauses, and at once when
it is bid for. A leg counts as closed when its position is gone, and not before. While options that could not
be left are still held, their hedge is kept.
A strategy that sends limit orders alone begins with such a limit, a tick beyond the other side's quote, or
rests at the mid for a while. One that walks begins with limits that go from the mid to the other side.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.events import Event, OrderNotFound, OrderRejected
from scalpdesk.core.intents import (
    EXITS,
    CancelIntent,
    Intent,
    LegOrders,
    OrderIntent,
    OrderType,
    Purpose,
    SetTimer,
    Side,
)
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, ZERO, InstrumentId, exact
from scalpdesk.instruments.contract import OptionContract, Settlement, underlying_of
from scalpdesk.instruments.deadlines import is_past_cutoff, must_go_now
from scalpdesk.marketdata.quotes import TRADABLE, QuoteVerdict
from scalpdesk.marketdata.state import holds_up_no_hedge
from scalpdesk.orders.order import Order
from scalpdesk.strategies.contract import Action, DeskView, Facts, Proposal
from scalpdesk.strategies.toolkit.hedger import DeltaHedger
from scalpdesk.strategies.toolkit.order_life import UNCERTAIN, has_rejected_combo

LONGEST_PAUSE_SECONDS = 15.0
LONGEST_REFUSED_SECONDS = 60.0
ALERT_AFTER_SECONDS, LONGEST_ALERT_SECONDS = 30.0, 1_800.0
"""Into the exit, and the longest time between two alerts, which doubles with each."""
MODEL_STEPS = 4
"""From the model's value of an option without a quote to the least that is asked for it."""
MOVED_AWAY = 0.05
"""Of a resting limit: it is offered anew once the least price is so far better, or for long so far worse."""
PATIENCE_NS = 30 * MINUTE_NS
LAST_CALL_NS = MINUTE_NS
"""Before the close: a hedge of options that are settled in cash would be naked after it."""
DEEPEST = Decimal("0.95")
"""A limit asks for no less than this part of the bid, and pays no more than its inverse of the ask."""


def _must_go(view: DeskView, contract: OptionContract) -> bool:
    """Return whether an option is to be left whatever it brings: flattening, or in its last hour."""
    return view.mode is Mode.FLATTENING or must_go_now(contract, view.session, view.now_ns)


class Liquidation:
    """Closes a position: options first, then their hedge.

    Parameters
    ----------
    hedger
        Keeps the hedge of options that cannot be closed yet; None for legs without a hedge, which are all
        that is closed then, and all whose orders are taken off.
    retry_seconds
        Age at which an exit order that is not filled is cancelled and priced anew.
    alert_after
        Failed attempts at one leg before an alert.
    timer
        Name of the timer of the next attempt.
    step
        What it does, in words; empty where the reason says enough.
    leg_orders
        Whether the first try at all options may go as one order; later ones go leg by leg.
    limits_only
        Whether the first try is a limit as well.
    walks
        Whether the time at the mid is a walk from there to the other side.
    """

    def __init__(
        self,
        hedger: DeltaHedger | None,
        *,
        retry_seconds: float,
        alert_after: int = 3,
        timer: str,
        step: str = "leave the options, then their hedge",
        leg_orders: LegOrders = LegOrders.LEGS,
        limits_only: bool = False,
        walks: bool = False,
    ) -> None:
        self._hedger = hedger
        self._walks = walks
        self._limits_only = limits_only
        self._mid_until_ns = 0
        """Until then an exit order rests at the mid."""
        self._retry_ns = int(retry_seconds * NANOS_PER_SECOND)
        self._alert_after = alert_after
        self._timer = timer
        self._step = step
        self._leg_orders = leg_orders
        self._facts: Facts = {}
        self._own: Mapping[InstrumentId, Decimal] = {}
        self.forget()

    def forget(self) -> None:
        """Reset for the next session."""
        self._legs: set[InstrumentId] = set()
        """Legs so far, where there is no hedge."""
        self.why = ""
        self.since_ns: int | None = None
        """When leaving began; None while there is no reason to."""
        self._tries: dict[InstrumentId, int] = {}
        self._not_before: dict[InstrumentId, int] = {}
        self._sent_ns: dict[InstrumentId, int] = {}
        """When an exit order was proposed last."""
        self._refused: dict[InstrumentId, int] = {}
        """Proposals in a row of which the risk gate made no order."""
        self._offered: dict[InstrumentId, int] = {}
        """Limits proposed for an option without a quote."""
        self._alert_due_ns = 0
        self._alerts = 0
        self._worthless: set[InstrumentId] = set()
        """Options without a bid that are offered at their least price, as reported."""
        self._unsold: set[InstrumentId] = set()
        """Options without a bid of which the venue takes no sale, as reported."""
        self._hedged_for: dict[InstrumentId, Decimal] = {}

    def begin(self, now_ns: int, why: str, *, rest_seconds: float = 0.0) -> None:
        """Start to leave; a second reason changes nothing.

        With ``rest_seconds`` the first order rests at the mid for as long, or walks from it: for what can
        wait.
        """
        if self.since_ns is None:
            self.since_ns = now_ns
            self.why = why
            self._mid_until_ns = now_ns + int(rest_seconds * NANOS_PER_SECOND)

    def note_refused(self, view: DeskView, event: Event | None) -> list[Action]:
        """Wait 1, 2, 4 … seconds after an order that the event refuses; nothing for any other event.

        The pause is at most 15 s, and half an hour for what nobody bids for or past the venue's cut-off.
        """
        order = view.order_of(event) if isinstance(event, OrderRejected | OrderNotFound) else None
        if order is None:
            return []
        number = order.submitted.instrument_id
        tries = self._tries.get(number, 0)
        has_nobody = order.submitted.side is Side.SELL and self._has_no_bid(view, number)
        is_late = is_past_cutoff(view.instruments[number], view.venue, view.now_ns)
        longest = LONGEST_ALERT_SECONDS if has_nobody or is_late else LONGEST_PAUSE_SECONDS
        pause = min(2.0 ** max(tries - 1, 0), longest)
        due_ns = view.now_ns + int(pause * NANOS_PER_SECOND)
        self._not_before[number] = due_ns
        timer = SetTimer(self._timer, due_ns)
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

        Parameters
        ----------
        view, legs
            The desk, and the options held.
        facts
            Figures of the trade, for the record of each exit order.
        own
            Signed quantities to close where the account holds more than the trade; all that is held is
            closed without.
        """
        self._facts, self._own = facts or {}, own or {}
        self._legs.update(legs)
        actions: list[Action] = list(self.take_off(view))
        if legs:
            closing = self._close(view, legs)
            actions += closing
            # orders that go out now are counted from the next wake on
            if not any(isinstance(item, Proposal) for item in closing):
                actions += self._keep_hedged(view, legs)
        elif self._hedge_held(view):
            actions += self._unwind(view)
        if legs or self._hedge_held(view):
            actions += self._alert(view, legs)
        return actions

    def _hedge_held(self, view: DeskView) -> Decimal:
        return ZERO if self._hedger is None else view.positions.quantity(view.underlying)

    def is_flat(self, view: DeskView, legs: Sequence[InstrumentId]) -> bool:
        """Return whether nothing is held and nothing is on its way."""
        return not legs and not view.positions.quantity(view.underlying) and not view.orders.live

    # what is still working --------------------------------------------------------------------------

    def take_off(self, view: DeskView) -> Sequence[Action]:
        """Cancel what was bought or hedged before, and exit orders that stand unfilled."""
        since_ns = self.since_ns or 0
        late_ns = view.now_ns - self._retry_ns
        cancels: list[Intent] = []
        for order in view.orders.live.values():
            if order.state in UNCERTAIN:
                continue
            sent = order.submitted
            if self._hedger is None and sent.instrument_id not in self._legs:
                continue
            if sent.purpose is Purpose.OPEN or order.created_ns < since_ns:
                cancels.append(CancelIntent(order.client_order_id, "leaving"))
            elif sent.purpose in (Purpose.CLOSE, Purpose.UNWIND_HEDGE) and order.created_ns <= late_ns:
                if not self._walks and view.now_ns < self._mid_until_ns:
                    continue
                if self._rests_rightly(view, order):
                    continue
                cancels.append(CancelIntent(order.client_order_id, "exit not filled in time"))
        if not cancels:
            return ()
        return (
            Proposal(
                DecisionKind.EXIT, (self.why, "take back what is in the way of the exit"), {}, tuple(cancels)
            ),
        )

    def _rests_rightly(self, view: DeskView, order: Order) -> bool:
        """Return whether an unfilled exit order is left as it is.

        An option without a bid is offered at its least price and left to rest there; one without
        a quote at its least price, until that has moved away.
        """
        limit, number = order.submitted.limit_price, order.submitted.instrument_id
        if self._is_unquoted(view, number):
            if limit is None or self._goes_at_any_price(view, number):
                return limit is None
            if view.now_ns < self._not_before.get(number, 0):
                return order.created_ns >= self._sent_ns.get(number, 0)
            wanted = self._model_price(view, number, order.submitted.side)
            if self._offered.get(number, 0) <= MODEL_STEPS:
                return wanted == limit
            if wanted is None or abs(wanted - limit) <= limit * exact(MOVED_AWAY):
                return True
            is_too_good = wanted > limit if order.submitted.side is Side.SELL else wanted < limit
            return not is_too_good and view.now_ns - order.created_ns < PATIENCE_NS
        no_bid = self._has_no_bid(view, number)
        if not no_bid or limit is None:
            return False
        spot, contract = self._spot(view, number), view.instruments[number]
        if spot is None or not contract.is_option:
            return limit <= self._tick(view, number, limit)
        return contract.is_least_offer(limit, spot)

    def _is_worthless(self, view: DeskView, leg: InstrumentId) -> bool:
        """Return whether a held option rests at the smallest price because nobody bids."""
        return self._has_no_bid(view, leg) and any(
            order.state not in UNCERTAIN and self._rests_rightly(view, order)
            for order in view.orders.live_for(leg)
        )

    @staticmethod
    def _has_no_bid(view: DeskView, number: InstrumentId) -> bool:
        quote = view.market.quotes[number]
        return quote is not None and not quote.bid > 0

    @staticmethod
    def _spot(view: DeskView, number: InstrumentId) -> float | None:
        return view.market.mark(view.instruments.id_of(underlying_of(view.instruments[number])))

    def _least_offer(self, view: DeskView, number: InstrumentId) -> Decimal:
        """Return the least to ask for what nobody bids for; nothing is given away below its payoff."""
        spot, contract = self._spot(view, number), view.instruments[number]
        if spot is None or not contract.is_option:
            return self._tick(view, number, ZERO)
        return contract.least_offer(spot)

    # options ----------------------------------------------------------------------------------------

    def _close(self, view: DeskView, legs: Sequence[InstrumentId]) -> list[Action]:
        intents: list[Intent] = []
        facts = dict(self._facts)
        waits: list[int] = []
        for number in legs:
            working = view.orders.live_for(number)
            if working:  # its end wakes the strategy, and the timer looks after it
                age_ns = view.now_ns - working[0].created_ns
                waits.append(view.now_ns + self._retry_ns - age_ns % self._retry_ns)
                continue
            if view.is_halted(number):  # nothing may be sent; tried at once when it trades again
                self._not_before.pop(number, None)
                continue
            if number in self._offered and not self._is_unquoted(view, number):
                # quoted again: what was offered blind counts nothing, and is not waited for
                del self._offered[number]
                self._not_before.pop(number, None)
                self._tries.pop(number, None)
            if number in self._unsold and not self._has_no_bid(view, number):
                self._unsold.discard(number)
                self._not_before.pop(number, None)
                self._tries.pop(number, None)
            not_before = self._not_before.get(number, 0)
            if view.now_ns < not_before:
                waits.append(not_before)
                continue
            intent = self._close_order(view, number)
            # counts as an attempt whatever its outcome: the gate may refuse it without an event
            due_ns = view.now_ns + self._pause_ns(view, number)
            self._sent_ns[number] = view.now_ns
            self._not_before[number] = due_ns
            waits.append(due_ns)
            if intent is not None:
                self._tries[number] = self._tries.get(number, 0) + 1
                facts[f"try_{view.instruments[number].symbol}"] = self._tries[number]
                intents.append(intent)
        actions: list[Action] = []
        if intents:
            reasons = (self.why, self._step) if self._step else (self.why,)
            is_first = all(self._tries[leg] == 1 for leg in legs if leg in self._tries)
            is_whole = is_first or (self._is_patient(view) and not has_rejected_combo(view, legs))
            leg_orders = self._leg_orders if is_whole else LegOrders.LEGS
            actions.append(
                Proposal(
                    DecisionKind.EXIT,
                    reasons,
                    facts,
                    tuple(intents),
                    all_or_none=False,
                    leg_orders=leg_orders,
                )
            )
        if waits:
            actions.append(SetTimer(self._timer, min(waits)))
        return actions

    def _goes_at_any_price(self, view: DeskView, number: InstrumentId) -> bool:
        """Return whether an option without a quote goes at the market: in its last hour, or flattening."""
        contract = view.instruments[number]
        if self._limits_only or not contract.is_option or not self._is_unquoted(view, number):
            return False
        return _must_go(view, contract)

    @staticmethod
    def _is_unquoted(view: DeskView, number: InstrumentId) -> bool:
        """Return whether an option was quoted once, and for too long no more.

        What must go and had no bid when it was quoted last is still taken for an option without one.
        """
        contract = view.instruments[number]
        if not contract.is_option:
            return False
        if view.market.verdict(number, view.now_ns) is not QuoteVerdict.STALE:
            return False
        quote = view.market.quotes[number]
        has_nobody = quote is not None and not quote.bid > 0 and view.positions.quantity(number) > 0
        return not (has_nobody and _must_go(view, contract))

    def _model_price(self, view: DeskView, number: InstrumentId, side: Side) -> Decimal | None:
        """Return the limit for an option without a quote; None while the model has no value."""
        contract = view.instruments[number]
        assert contract.is_option
        valuation = view.delta_engine.value_at_kept_vol(number, view.now_ns)
        if valuation is None:
            return None
        # at the volatility of the marks: the risk gate holds the limit against the mark
        value = view.market.model_price(number) or valuation.greeks.price
        step = min(self._offered.get(number, 0), MODEL_STEPS) / MODEL_STEPS
        if side is Side.SELL:
            payoff = contract.payoff(valuation.spot)
            least = max(payoff, value * float(DEEPEST))
            limit = max(value + (least - value) * step, payoff)
            rounded = contract.tick_rule.round(exact(limit, 8), "up")
            return max(rounded, self._tick(view, number, ZERO))
        most = value / float(DEEPEST)
        rounded = contract.tick_rule.round(exact(value + (most - value) * step, 8), "down")
        return max(rounded, self._tick(view, number, ZERO))

    def _pause_ns(self, view: DeskView, number: InstrumentId) -> int:
        """Return how long an attempt is given: longer with each the gate lets not through or model price."""
        if self._is_unquoted(view, number):
            return int(self._retry_ns * 2.0 ** min(self._offered.get(number, 0), MODEL_STEPS + 1))
        sent_ns = self._sent_ns.get(number)
        if sent_ns is None or any(
            order.created_ns == sent_ns and order.submitted.instrument_id == number
            for order in view.orders.orders.values()
        ):
            self._refused[number] = 0
        else:
            self._refused[number] = self._refused.get(number, 0) + 1
        longest_ns = int(LONGEST_REFUSED_SECONDS * NANOS_PER_SECOND)
        return int(min(self._retry_ns * 2.0 ** self._refused[number], max(longest_ns, self._retry_ns)))

    def _close_order(self, view: DeskView, number: InstrumentId) -> OrderIntent | None:
        """At the market first, where that is allowed; otherwise, or without a good quote, as a limit."""
        held = self._own.get(number, view.positions.quantity(number))
        quote = view.market.quotes[number]
        side = Side.SELL if held > 0 else Side.BUY
        tries = self._tries.get(number, 0)
        fine = view.market.verdict(number, view.now_ns) in TRADABLE
        if self._goes_at_any_price(view, number):
            return OrderIntent(number, side, abs(held), Purpose.CLOSE, self.why)
        is_patient = fine and self._is_patient(view)
        if tries == 0 and fine and not self._limits_only and not is_patient:
            return OrderIntent(number, side, abs(held), Purpose.CLOSE, self.why)
        if quote is None:
            return None
        why = f"{self.why}; try {tries + 1}"
        if self._is_unquoted(view, number):
            price = self._model_price(view, number, side)
            self._offered[number] = self._offered.get(number, 0) + 1
            minutes = (view.now_ns - quote.ts_recv_ns) / MINUTE_NS
            why += f", priced by the model: no quote for {minutes:.0f} minutes"
        elif is_patient:
            self._offered.pop(number, None)
            walked = 0.0
            if self._walks and self.since_ns is not None:
                walked = (view.now_ns - self.since_ns) / (self._mid_until_ns - self.since_ns)
            far = exact(quote.bid if side is Side.SELL else quote.ask)
            mid = (exact(quote.bid) + exact(quote.ask)) / 2
            price = view.instruments[number].tick_rule.round(
                mid + (far - mid) * exact(walked, 8), "up" if side is Side.SELL else "down"
            )
        else:
            self._offered.pop(number, None)
            ticks = tries + 1 if self._limits_only else tries
            price = self._price(view, number, side, quote.bid, quote.ask, ticks)
        if price is None:
            return None
        return OrderIntent(number, side, abs(held), Purpose.CLOSE, why, OrderType.LIMIT, price)

    def _is_patient(self, view: DeskView) -> bool:
        """Return whether exit orders still rest at the mid, or walk from it."""
        return view.now_ns < self._mid_until_ns and view.mode is not Mode.FLATTENING

    def _price(
        self, view: DeskView, number: InstrumentId, side: Side, bid: float, ask: float, tries: int
    ) -> Decimal | None:
        """Return a limit that the other side meets, a tick further with each try; None without a side."""
        if side is Side.SELL:
            if not bid > 0:
                return self._least_offer(view, number)
            best = exact(bid)
            tick = self._tick(view, number, best)
            lowest = view.instruments[number].tick_rule.round(best * DEEPEST, "up")
            return max(best - tick * tries, min(lowest, best), tick)
        if not ask > 0:
            return None
        best = exact(ask)
        highest = view.instruments[number].tick_rule.round(best / DEEPEST, "down")
        return min(best + self._tick(view, number, best) * tries, max(highest, best))

    @staticmethod
    def _tick(view: DeskView, number: InstrumentId, price: Decimal) -> Decimal:
        return view.instruments[number].tick_rule.tick_at(price)

    # the hedge --------------------------------------------------------------------------------------

    def _keep_hedged(self, view: DeskView, legs: Sequence[InstrumentId]) -> Sequence[Action]:
        """Hedge what could not be left yet; at the last call drop the hedge of what is paid in cash."""
        if self._hedger is None:
            return ()
        session = view.session
        if session is not None and view.now_ns >= session.close_ns - LAST_CALL_NS:
            contracts = [view.instruments[leg] for leg in legs]
            if all(item.is_option and item.settlement is not Settlement.PHYSICAL for item in contracts):
                return self._unwind(view)
        young_ns = view.now_ns - self._retry_ns
        if any(
            order.created_ns > young_ns and not self._is_unquoted(view, leg)
            for leg in legs
            for order in view.orders.live_for(leg)
        ):
            return ()  # a sale is under way: hedging its half would be paid twice
        quotes, held = view.market.quotes, {leg: view.positions.quantity(leg) for leg in legs}
        if all(holds_up_no_hedge(view.instruments, quotes, leg, held[leg]) for leg in legs):
            return self._unwind(view)
        exposure = self._hedger.measure(view, legs)
        if exposure is None:
            return ()
        at_once = held != self._hedged_for
        self._hedged_for = held
        return self._hedger.step(view, legs, exposure, at_once=at_once)

    def _unwind(self, view: DeskView) -> Sequence[Action]:
        """Flatten the shares, whatever the threshold says."""
        number = view.underlying
        if view.is_halted(number):
            self._not_before.pop(number, None)
            return ()
        if view.orders.live_for(number) or view.now_ns < self._not_before.get(number, 0):
            return ()
        left = view.positions.quantity(number)
        verdict = view.market.verdict(number, view.now_ns)
        if not left or verdict in (QuoteVerdict.ABSENT, QuoteVerdict.NON_FINITE):
            return ()
        pause_ns = view.now_ns + self._retry_ns
        self._not_before[number] = pause_ns
        side = Side.SELL if left > 0 else Side.BUY
        intent = OrderIntent(number, side, abs(left), Purpose.UNWIND_HEDGE, self.why)
        facts: Facts = {**self._facts, "owned_shares": int(left)}
        # the timer looks after it: a fill wakes the strategy anyway, a refusal by the gate does not
        return (
            Proposal(DecisionKind.EXIT, (self.why, "unwind the hedge"), facts, (intent,)),
            SetTimer(self._timer, pause_ns),
        )

    # alerts -------------------------------------------------------------------------------------

    def _alert(self, view: DeskView, legs: Sequence[InstrumentId]) -> Sequence[Action]:
        """Report what resists, and again later each time while it does; once what nobody bids for."""
        resting = {leg for leg in legs if self._is_worthless(view, leg)}
        news = resting - self._worthless
        self._worthless |= news
        if news:
            names = ", ".join(view.instruments[leg].symbol for leg in sorted(news))
            reason = f"no bid for {names}: offered at its payoff or the smallest price, else it expires"
            return (Proposal(DecisionKind.EXIT, (reason,)),)
        stuck = {
            leg for leg in legs if self._has_no_bid(view, leg) and self._tries.get(leg, 0) > self._alert_after
        } - resting
        news = stuck - self._unsold
        self._unsold |= news
        if news:
            names = ", ".join(view.instruments[leg].symbol for leg in sorted(news))
            reason = (
                f"no bid for {names}, and the venue takes no offer: sold when it is bid for, else it expires"
            )
            return (Proposal(DecisionKind.ALERT, (reason,), {"tries": self._alert_after + 1}),)
        legs = [leg for leg in legs if leg not in resting and leg not in self._unsold]
        hedge = self._hedge_held(view)
        if not legs and not hedge:
            return ()
        worst = max((self._tries.get(leg, 0) for leg in legs), default=0)
        seconds = (view.now_ns - (self.since_ns or view.now_ns)) / NANOS_PER_SECOND
        if worst <= self._alert_after and seconds < ALERT_AFTER_SECONDS:
            return ()
        if view.now_ns < self._alert_due_ns:
            return ()
        wait_s = min(ALERT_AFTER_SECONDS * 2.0**self._alerts, LONGEST_ALERT_SECONDS)
        self._alerts += 1
        self._alert_due_ns = view.now_ns + int(wait_s * NANOS_PER_SECOND)
        held = [*legs, *([view.underlying] if hedge else [])]
        names = ", ".join(
            f"{view.positions.quantity(item):+f} {view.instruments[item].symbol}" for item in held
        )
        reason = f"still held {seconds:.0f} s into the exit, after {worst} tries: {names}"
        if view.is_halted(view.underlying):
            reason += f"; trading is halted in {view.instruments[view.underlying].symbol}"
        silent = [view.instruments[leg].symbol for leg in legs if self._is_unquoted(view, leg)]
        if silent:
            reason += f"; no quote of {', '.join(silent)}"
        return (Proposal(DecisionKind.ALERT, (reason,), {"tries": worst, "seconds": seconds}),)
