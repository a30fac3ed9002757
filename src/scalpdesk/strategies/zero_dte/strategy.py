"""The 0DTE gamma scalper: hedge the options that expire today, and be out before the venue closes them.

The options are those that the account holds, or a straddle bought when asked for. Every wake reads
the book afresh: a rejected, partial or late order delays the strategy and does not wedge it. From the
deadline on it only leaves; what a late fill or a broken trade brings back is left again.
"""

from collections.abc import Sequence
from datetime import date, time
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.events import Event, OrderFilled, OrderNotFound, OrderRejected
from scalpdesk.core.intents import Intent, OrderIntent, OrderType, Purpose, SetTimer, Side
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId, exact
from scalpdesk.instruments.contract import (
    Index,
    OptionContract,
    StraddlePair,
    options_in_order,
    straddle_pairs,
)
from scalpdesk.instruments.deadlines import CAUTIOUS, VENUE_CUTOFFS, exit_deadline_ns
from scalpdesk.instruments.sessions import last_trading_ns, new_york_ns, to_new_york
from scalpdesk.marketdata.quotes import SpreadFilter
from scalpdesk.marketdata.triggers import PriceMove, Trigger, Wake
from scalpdesk.strategies.contract import Action, DeskView, Proposal, traded_symbol
from scalpdesk.strategies.gamma_scalper.hedger import expired_orders
from scalpdesk.strategies.zero_dte.config import AUTO, ZeroDteConfig
from scalpdesk.strategies.zero_dte.hedger import FINE, Facts, ZeroDteHedger
from scalpdesk.strategies.zero_dte.leaving import Liquidation
from scalpdesk.strategies.zero_dte.watch import HedgeMeter, Watch

ZERO = Decimal(0)
DEADLINE_TIMER = "zero-dte: deadline"
ENTRY_TIMER = "zero-dte: entry"
LONGEST_BACK_OFF_SECONDS = 30.0
LEFT_OVER = "shares are left over from an earlier session"
BLIND_SECONDS = 60.0
"""Without a delta to hedge on for so long, a person should know."""


class Phase(StrEnum):
    """Where the session stands."""

    WAITING = "waiting"
    ENTERING = "entering"
    HOLDING = "holding"
    LEAVING = "leaving"
    CLOSED = "closed_for_session"


class ZeroDteScalper:
    """See the module's text."""

    name: ClassVar[str] = "zero-dte"
    Config = ZeroDteConfig
    DEMO_SETTINGS: ClassVar[tuple[str, ...]] = ("entry.mode=straddle",)
    """A demo's account holds nothing: it buys the straddle that it hedges."""
    reads_gamma_exposure: ClassVar[bool] = True

    def __init__(self, config: ZeroDteConfig | None = None) -> None:
        self.config = config or ZeroDteConfig()
        self.phase = Phase.WAITING
        self.deadline_ns: int | None = None
        """By when to be out today; None on a day on which nothing expires."""
        self.hedger = ZeroDteHedger(self.config.hedge)
        self.meter = HedgeMeter()
        self._watch = Watch(self.config.watch)
        self._leaving = Liquidation(self.config.exit, self.hedger)
        self._options: dict[InstrumentId, OptionContract] = {}
        self._today: frozenset[InstrumentId] = frozenset()
        self._pairs: list[StraddlePair] = []
        self._pair: StraddlePair | None = None
        self._day: date | None = None
        self._attempts = 0
        self._next_attempt_ns = 0
        self._is_mine = False
        """Whether shares of the underlying are this strategy's hedge: it adopted or bought options."""
        self._start_nav = ZERO
        self._rejections = 0
        self._silent_until_ns = 0
        self._last_words: dict[str, str] = {}
        self._blind_since_ns: int | None = None

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """Know the chain and wake on the underlying's price and on a heartbeat.

        Raises
        ------
        ConfigError
            When the run's underlying is not the configured one.
        """
        instrument = view.instruments[view.underlying]
        traded_symbol(view, self.config.underlying, self.name)
        self._options = dict(options_in_order(view.instruments, instrument.symbol))
        triggers = self.config.triggers
        filtered = triggers.spread_filter and not isinstance(instrument, Index)
        return (
            PriceMove(
                view.underlying,
                triggers.price_change_usd,
                triggers.heartbeat_seconds,
                SpreadFilter() if filtered else None,
            ),
        )

    def on_wake(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        """Do what the session's phase asks for."""
        actions = self._think(view, wake, event)
        if actions:
            self.meter.note_decided(view, actions)
        return actions

    def _think(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        session = view.session
        if session is None:
            return ()
        actions: list[Action] = []
        if self._day != session.day:
            actions += self._new_session(view)
        if wake is Wake.SESSION and view.now_ns != session.open_ns:
            return [*actions, *self._last_word(view)]
        if isinstance(event, OrderFilled):
            self._rejections, self._silent_until_ns = 0, 0
            actions += self._report(view, event)
        if wake is Wake.BAR or view.mode is Mode.HALTED:
            return actions
        legs = self._held(view)
        self._notice(view, legs)
        if self.phase is Phase.LEAVING or self.phase is Phase.CLOSED:
            return [*actions, *self._leave(view, legs, event)]
        if isinstance(event, OrderRejected | OrderNotFound):  # not taken: not again at once
            return [*actions, *self._back_off(view)]
        if view.now_ns < self._silent_until_ns:
            return actions
        if self.phase is Phase.ENTERING:
            return [*actions, *self._enter(view, legs)]
        if self.phase is Phase.WAITING:
            actions += self._wait(view, legs)
        if self.phase is Phase.HOLDING:
            actions += self._hold(view, legs)
        return actions

    def hedge_summary(self) -> dict[str, str | int]:
        """Return what the run's hedges came to, for its summary."""
        return self.meter.whole_run.report()

    # the session ------------------------------------------------------------------------------------

    def _new_session(self, view: DeskView) -> list[Action]:
        """Open the latch, find what expires today and by when to be out of it."""
        session = view.session
        assert session is not None
        self._day = session.day
        self._today = frozenset(
            number
            for number, contract in self._options.items()
            if session.open_ns < last_trading_ns(contract) <= session.close_ns
        )
        self._pairs = straddle_pairs([(number, self._options[number]) for number in sorted(self._today)])
        self._pair, self._attempts = None, 0
        self._start_nav = view.nav
        self.hedger.begin()
        self.meter.begin()
        self._watch.begin()
        self._leaving.forget()
        self._last_words.clear()
        self._blind_since_ns = None
        self.phase = Phase.WAITING
        if self._is_mine and not self._held(view) and view.positions.quantity(view.underlying):
            self._begin_leaving(view, LEFT_OVER)  # delivered yesterday, or not unwound
        if not self._today:
            self.deadline_ns = None
            return [self._once(DecisionKind.ENTRY, "no option on the underlying expires today")]
        self.deadline_ns = self._deadline(view)
        timers: list[Action] = [SetTimer(DEADLINE_TIMER, self.deadline_ns)]
        if self.config.entry.mode == "straddle":
            timers.append(SetTimer(ENTRY_TIMER, self._clock_ns(view, self.config.entry.at)))
        by = to_new_york(self.deadline_ns)
        if not self._held(view) and self.config.entry.mode == "adopt":
            reason = "nothing that expires today is held, and entry.mode=adopt buys nothing"
            fix = "set entry.mode=straddle to buy"
            return [*timers, self._once(DecisionKind.ENTRY, f"{reason}; {fix}")]
        facts: Facts = {"options": len(self._today), "deadline": f"{by:%H:%M:%S} New York"}
        return [*timers, Proposal(DecisionKind.SESSION, (f"out by {by:%H:%M:%S} New York",), facts)]

    def _deadline(self, view: DeskView) -> int:
        """Return by when to be out: one's own time, the close's, the venue's; the earliest counts."""
        config = self.config.exit
        name = view.venue if config.venue == AUTO else config.venue
        cutoff = VENUE_CUTOFFS.get(name, CAUTIOUS)
        closes = min(last_trading_ns(self._options[number]) for number in self._today)
        symbol = view.instruments[view.underlying].symbol
        by_venue = exit_deadline_ns(
            closes,
            exit_minutes=config.minutes_before_close,
            cutoff_minutes=cutoff.of(symbol),
            buffer_minutes=config.buffer_minutes,
        )
        return min(by_venue, self._clock_ns(view, config.at))

    def _clock_ns(self, view: DeskView, text: str) -> int:
        assert view.session is not None
        return new_york_ns(view.session.day, time.fromisoformat(text))

    def _notice(self, view: DeskView, legs: Sequence[InstrumentId]) -> None:
        """Take over options that are held, and start to leave when it is time."""
        if legs:
            self._is_mine = True
        if self.phase in (Phase.LEAVING, Phase.CLOSED):
            return
        if self.deadline_ns is not None and view.now_ns >= self.deadline_ns:
            self._begin_leaving(view, f"deadline {to_new_york(self.deadline_ns):%H:%M:%S} New York")
        elif view.mode is Mode.FLATTENING:
            self._begin_leaving(view, "risk halt: the desk is flattening")

    def _begin_leaving(self, view: DeskView, why: str) -> None:
        self.phase = Phase.LEAVING
        self._leaving.begin(view.now_ns, why)

    def _last_word(self, view: DeskView) -> Sequence[Action]:
        """At the close say what the session's hedges came to."""
        facts = self.meter.totals.facts() | {"pnl_usd": float(view.nav - self._start_nav)}
        if not self.meter.totals.fills:
            return ()
        return (Proposal(DecisionKind.SUMMARY, ("hedges of the session",), facts),)

    # entry ------------------------------------------------------------------------------------------

    def _wait(self, view: DeskView, legs: Sequence[InstrumentId]) -> list[Action]:
        if legs:
            self.phase = Phase.HOLDING
            names = ", ".join(f"{view.positions.quantity(n):+f} {view.instruments[n].symbol}" for n in legs)
            return [Proposal(DecisionKind.ENTRY, (f"adopted {names}",), {"options": len(legs)})]
        if self.config.entry.mode == "straddle" and self._today and view.mode is Mode.ACTIVE:
            return self._look_for_entry(view)
        return []

    def _look_for_entry(self, view: DeskView) -> list[Action]:
        entry = self.config.entry
        opens, closes = self._clock_ns(view, entry.at), self._clock_ns(view, entry.not_after)
        if not opens <= view.now_ns <= min(closes, self.deadline_ns or closes):
            return []
        spot = view.market.mark(view.underlying)
        if spot is None:
            return []
        good = [
            pair
            for pair in self._pairs
            if all(view.market.verdict(leg, view.now_ns) in FINE for leg in (pair.call_id, pair.put_id))
        ]
        if not good:
            return [self._once(DecisionKind.ENTRY, "no straddle that expires today has two good quotes")]
        self._pair = min(good, key=lambda pair: (abs(float(pair.strike) - spot), pair.strike))
        self.phase = Phase.ENTERING
        self._attempts = 1
        facts: Facts = {
            "spot": spot,
            "strike": float(self._pair.strike),
            "call": view.instruments[self._pair.call_id].symbol,
            "put": view.instruments[self._pair.put_id].symbol,
        }
        chosen = f"straddle {self._pair.strike.normalize():f}, at the money of {len(good)}"
        return [Proposal(DecisionKind.ENTRY, (chosen,), facts, self._entry_intents(view)), self._pause(view)]

    def _entry_intents(self, view: DeskView) -> tuple[Intent, ...]:
        assert self._pair is not None
        intents = []
        for leg in (self._pair.call_id, self._pair.put_id):
            missing = self.config.entry.straddles - view.exposure(leg)
            quote = view.market.quotes[leg]
            if missing > 0 and quote is not None and quote.ask > 0:
                price = exact(quote.ask)
                why = "straddle leg at the ask"
                intents.append(OrderIntent(leg, Side.BUY, missing, Purpose.OPEN, why, OrderType.LIMIT, price))
        return tuple(intents)

    def _enter(self, view: DeskView, legs: Sequence[InstrumentId]) -> list[Action]:
        """Follow the legs: filled, still working, too old, or to be wanted again at today's ask."""
        assert self._pair is not None
        wanted = (self._pair.call_id, self._pair.put_id)
        if all(view.positions.quantity(leg) >= self.config.entry.straddles for leg in wanted):
            self.phase = Phase.HOLDING
            return self._hold(view, legs)
        cancels = expired_orders(view, wanted, self.config.entry.order_ttl_seconds)
        if cancels:
            return [Proposal(DecisionKind.ENTRY, ("leg not filled in time: price it again",), {}, cancels)]
        if any(view.orders.live_for(leg) for leg in wanted) or view.now_ns < self._next_attempt_ns:
            return []
        if self._attempts >= self.config.entry.max_attempts:
            return self._make_do(view, legs, wanted)
        self._attempts += 1
        intents = self._entry_intents(view)
        if not intents:
            return []
        facts: Facts = {"attempt": self._attempts}
        return [Proposal(DecisionKind.ENTRY, ("complete the straddle",), facts, intents), self._pause(view)]

    def _make_do(
        self, view: DeskView, legs: Sequence[InstrumentId], wanted: tuple[InstrumentId, InstrumentId]
    ) -> list[Action]:
        """Hold fewer straddles than wanted, or sell again what is none."""
        call, put = (view.positions.quantity(leg) for leg in wanted)
        if call != put or not call:
            self._begin_leaving(view, "entry abandoned: a leg could not be bought")
            return self._leave(view, legs, None)
        self.phase = Phase.HOLDING
        reason = f"{call} of {self.config.entry.straddles} straddles could be bought"
        return [Proposal(DecisionKind.ENTRY, (reason,), {"straddles": int(call)}), *self._hold(view, legs)]

    def _pause(self, view: DeskView) -> SetTimer:
        """Give the attempt just made its time: what refused it may pass, and not with the next quote."""
        pause_ns = int(self.config.entry.order_ttl_seconds * NANOS_PER_SECOND)
        self._next_attempt_ns = view.now_ns + pause_ns
        return SetTimer(ENTRY_TIMER, self._next_attempt_ns)

    def _back_off(self, view: DeskView) -> Sequence[Action]:
        """After a rejection order nothing for 1, 2, 4 … 30 seconds; a fill ends it."""
        self._rejections += 1
        wait_s = min(2.0 ** (self._rejections - 1), LONGEST_BACK_OFF_SECONDS)
        self._silent_until_ns = view.now_ns + int(wait_s * NANOS_PER_SECOND)
        return (SetTimer("zero-dte: after a rejection", self._silent_until_ns),)

    # holding and leaving ----------------------------------------------------------------------------

    def _hold(self, view: DeskView, legs: Sequence[InstrumentId]) -> list[Action]:
        if not legs:
            self._begin_leaving(view, "the options are gone: closed, settled or taken away")
            return self._leave(view, legs, None)
        exposure = self.hedger.exposure(view, legs)
        if exposure is None:
            return self._blind(view)
        self._blind_since_ns = None
        self._last_words.pop("alert", None)
        threshold, _ = self.hedger.threshold(view, exposure.gamma_shares_per_usd)
        said = self._watch.look(view, exposure, threshold)
        return [*said, *self.hedger.hedge(view, legs, exposure)]

    def _blind(self, view: DeskView) -> list[Action]:
        """Say once that there has been no delta to hedge on for a while."""
        since_ns = self._blind_since_ns = self._blind_since_ns or view.now_ns
        seconds = (view.now_ns - since_ns) / NANOS_PER_SECOND
        if seconds < BLIND_SECONDS or self.hedger.unusable == self._last_words.get("alert"):
            return []
        return [self._once(DecisionKind.ALERT, self.hedger.unusable)]

    def _leave(self, view: DeskView, legs: Sequence[InstrumentId], event: Event | None) -> list[Action]:
        if self.phase is Phase.CLOSED and self._leaving.is_flat(view, legs):
            return []
        if isinstance(event, OrderRejected | OrderNotFound):
            order = view.orders.orders[event.client_order_id]
            timer = self._leaving.note_refused(order.submitted.instrument_id, view.now_ns)
            why = f"exit order refused: {order.reason or 'never reached the venue'}"
            if order.submitted.purpose in (Purpose.CLOSE, Purpose.UNWIND_HEDGE):
                return [Proposal(DecisionKind.EXIT, (why,), {"order": event.client_order_id}), timer]
            return [timer]
        if not self._is_mine and not legs:  # nothing was ever held: shares, if any, are somebody's
            if not view.orders.live:
                self.phase = Phase.CLOSED
            return list(self._leaving.take_off(view))
        self.phase = Phase.LEAVING
        actions = self._leaving.step(view, legs)
        if actions or not self._leaving.is_flat(view, legs):
            return actions
        self.phase, self._is_mine, why = Phase.CLOSED, False, f"flat: {self._leaving.why}"
        facts = self.meter.totals.facts() | {"pnl_usd": float(view.nav - self._start_nav)}
        if self._leaving.why == LEFT_OVER and view.now_ns < (self.deadline_ns or 0):
            self.phase = Phase.WAITING  # today's own options are still to come
            self._leaving.forget()
            return [Proposal(DecisionKind.EXIT, (why,), facts)]
        return [Proposal(DecisionKind.EXIT, (why, "closed for the session"), facts)]

    # small questions --------------------------------------------------------------------------------

    def _held(self, view: DeskView) -> list[InstrumentId]:
        return [
            number
            for number, position in view.positions.positions.items()
            if position.quantity and number in self._today
        ]

    def _report(self, view: DeskView, event: OrderFilled) -> Sequence[Action]:
        facts = self.meter.note_fill(view, event)
        if facts is None or not self.config.watch.report_hedges:
            return ()
        reason = f"{facts['what']} filled: {facts['quantity_shares']:+d} at {facts['price']:.2f}"
        return (Proposal(DecisionKind.HEDGE_FILL, (reason,), facts),)

    def _once(self, kind: DecisionKind, reason: str) -> Proposal:
        self._last_words[kind] = reason
        return Proposal(kind, (reason,))
