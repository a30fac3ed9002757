"""The gamma scalper: own a straddle, hedge its delta with shares, earn what realised volatility pays.

Phases: ``waiting`` for an entry, ``entering`` (legs at the venue), ``holding`` (hedge, watch the
exits), ``leaving`` (options first, then the hedge; the hedge is never flattened while options are
held), ``done``. Every wake reads the book afresh, so that a rejected, partial or late order can
delay the desk but not wedge it: what is missing is simply wanted again.
"""

from collections.abc import Sequence
from datetime import date, time
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.events import Event, FillBusted, OrderFilled, OrderNotFound, OrderRejected
from scalpdesk.core.intents import CancelIntent, Intent, OrderIntent, Purpose, SetTimer, Side
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.entry.straddle_selector import StraddleSelector
from scalpdesk.instruments.contract import StraddlePair, options_in_order, straddle_pairs
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk.marketdata.quotes import SpreadFilter
from scalpdesk.marketdata.triggers import PriceMove, Trigger, Wake
from scalpdesk.orders.order import OrderState
from scalpdesk.risk.exits import ExitRules, ExitView
from scalpdesk.strategies.contract import Action, DeskView, Proposal, traded_symbol
from scalpdesk.strategies.gamma_scalper.config import GammaScalperConfig
from scalpdesk.strategies.gamma_scalper.edge import StraddleEdge
from scalpdesk.strategies.gamma_scalper.entering import entry_facts, missing_legs, pause_seconds
from scalpdesk.strategies.gamma_scalper.hedger import StraddleHedger, expired_orders

ZERO = Decimal(0)
LONGEST_BACK_OFF_SECONDS = 30.0


class Phase(StrEnum):
    """Where the scalper stands."""

    WAITING = "waiting"
    ENTERING = "entering"
    HOLDING = "holding"
    LEAVING = "leaving"
    DONE = "done"


class GammaScalper:
    """See the module's text."""

    name: ClassVar[str] = "gamma-scalper"
    Config = GammaScalperConfig
    DEMO_SETTINGS: ClassVar[tuple[str, ...]] = (
        "entry.gate=advise",
        "exits.edge_gone=false",
        "exits.flat_minutes_before_close=10",
    )
    """A demo is one session long: it enters whatever the gate advises and ends flat."""

    def __init__(self, config: GammaScalperConfig | None = None) -> None:
        self.config = config or GammaScalperConfig()
        self._selector = StraddleSelector(self.config.selection, self.config.straddles)
        self._edge = StraddleEdge(self.config.entry, self.config.straddles)
        self._hedger = StraddleHedger(self.config.hedge, self.config.straddles, self._edge.forecast_vol)
        self._exits = ExitRules(self.config.exits)
        self.phase = Phase.WAITING
        self._pairs: list[StraddlePair] = []
        self._options: frozenset[InstrumentId] = frozenset()
        self._pair: StraddlePair | None = None
        self._entry_vols: dict[InstrumentId, float] = {}
        self._entry_nav = ZERO
        self._entry_session: date | None = None
        self._premium = ZERO
        self._straddles = self.config.straddles
        """How many the trade under way has: fewer than configured once the risk gate cut it."""
        self._sessions_held = 0
        self._attempts = 0
        self._abandoned = 0
        """Entries in a row of which nothing was filled."""
        self._why_leaving = ""
        self._last_refusal = ""
        self._rejections = 0
        self._silent_until_ns = 0
        self._rests_as: Phase | None = None
        """Phase to go back to once what a late trade left behind is gone."""

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """Pair the chain and wake on the underlying's price and on a heartbeat.

        Raises
        ------
        ConfigError
            When the run's underlying is not the configured one.
        """
        symbol = traded_symbol(view, self.config.underlying, self.name)
        options = options_in_order(view.instruments, symbol)
        self._options = frozenset(number for number, _ in options)
        self._pairs = straddle_pairs(options)
        triggers = self.config.triggers
        return (
            PriceMove(
                view.underlying,
                triggers.price_change_usd,
                triggers.heartbeat_seconds,
                SpreadFilter() if triggers.spread_filter else None,
            ),
        )

    def on_wake(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        """Do what the phase asks for."""
        if wake is Wake.SESSION:
            return self._on_session(view)
        if isinstance(event, OrderRejected | OrderNotFound):  # not taken, or never sent: not again at once
            return self._back_off(view)
        if isinstance(event, OrderFilled | FillBusted):
            self._rejections, self._silent_until_ns = 0, 0
        if self.phase in (Phase.WAITING, Phase.DONE) and isinstance(event, OrderFilled | FillBusted):
            self._rests_as = self.phase  # a trade after the last word, or one taken back: not flat after all
        if wake is Wake.BAR or view.mode is Mode.HALTED or view.now_ns < self._silent_until_ns:
            return ()
        if self._rests_as is self.phase:
            return self._clear_up(view)
        if self.phase is Phase.HOLDING:
            # of an expiry one leg is booked before the other: an account's change alone proves nothing
            return self._hold(view) if wake is Wake.ACCOUNT or self._is_whole(view) else self._give_up(view)
        if self.phase is Phase.WAITING:
            return self._look_for_entry(view)
        if self.phase is Phase.ENTERING:
            return self._enter(view)
        if self.phase is Phase.LEAVING:
            return self._leave(view)
        return ()

    def _back_off(self, view: DeskView) -> Sequence[Action]:
        """After a rejection order nothing for 1, 2, 4 … 30 seconds, then think again; a fill ends it."""
        self._rejections += 1
        wait_s = min(2.0 ** (self._rejections - 1), LONGEST_BACK_OFF_SECONDS)
        self._silent_until_ns = view.now_ns + int(wait_s * NANOS_PER_SECOND)
        return (SetTimer("gamma-scalper: after a rejection", self._silent_until_ns),)

    # session, start ---------------------------------------------------------------------------------

    def _on_session(self, view: DeskView) -> Sequence[Action]:
        session = view.session
        if session is None or view.now_ns != session.open_ns:
            return ()
        if self._entry_session is not None and self._entry_session != session.day:
            self._sessions_held += 1
        if self.phase is not Phase.WAITING:
            return ()
        if self.config.mode == "init":
            holds = self._held_options(view) or view.positions.quantity(view.underlying)
            return self._start_leaving(view, "init: start flat") if holds else ()
        return self._adopt(view) if self._held_options(view) else ()

    def _adopt(self, view: DeskView) -> Sequence[Action]:
        """Take over what the account holds: exactly one call and one put, long, a straddle, N of each."""
        held = self._held_options(view)
        pair = next((pair for pair in self._pairs if {pair.call_id, pair.put_id} == set(held)), None)
        wanted = Decimal(self.config.straddles)
        wrong = None
        if pair is None:
            wrong = "not one call and one put of equal strike and expiry"
        elif any(view.positions.quantity(leg) != wanted for leg in held):
            wrong = f"not {wanted} long of each leg"
        if wrong is not None or pair is None:
            self.phase = Phase.DONE
            names = ", ".join(
                f"{view.positions.quantity(leg):+f} {view.instruments[leg].symbol}" for leg in held
            )
            return (
                Proposal(
                    DecisionKind.ENTRY, (f"resume refused: {wrong}: {names}; use mode=init to start flat",)
                ),
            )
        self._pair = pair
        self._entry_nav = view.nav
        self._note_entered(view)
        return (
            Proposal(DecisionKind.ENTRY, (f"resumed {view.instruments[pair.call_id].symbol} and its put",)),
        )

    # entry ------------------------------------------------------------------------------------------

    def _look_for_entry(self, view: DeskView) -> Sequence[Action]:
        session = view.session
        if session is None or view.mode is not Mode.ACTIVE:
            return ()
        opens_ns = new_york_ns(session.day, time.fromisoformat(self.config.entry.not_before))
        closes_ns = new_york_ns(session.day, time.fromisoformat(self.config.entry.not_after))
        spot = view.market.mark(view.underlying)
        if not opens_ns <= view.now_ns <= min(closes_ns, session.close_ns) or spot is None:
            return ()
        selection = self._selector.select(self._pairs, view.market, view.delta_engine, spot, view.now_ns)
        if selection.best is None:
            return self._refuse_entry(selection.why_none(), dict(selection.removed))
        best = selection.best
        verdict = self._edge.judge(best, view, self._hedger.band)
        facts = entry_facts(view, best, spot) | verdict.facts
        if not verdict.passed:
            return self._refuse_entry("; ".join(verdict.reasons), facts)
        self._pair = best.pair
        self._entry_vols = {best.pair.call_id: best.call.vol, best.pair.put_id: best.put.vol}
        self._attempts = 0
        self._straddles = self.config.straddles
        self._entry_nav = view.nav
        self.phase = Phase.ENTERING
        strike = f"{best.pair.expiry} {best.pair.strike.normalize():f}"
        chosen = f"straddle {strike}, best of {selection.candidates}, score {best.rank:.2f}"
        legs = (best.pair.call_id, best.pair.put_id)
        intents = missing_legs(view, legs, self._straddles)
        return (Proposal(DecisionKind.ENTRY, (chosen, *verdict.reasons), facts, intents),)

    def _refuse_entry(self, reason: str, facts: dict[str, str | float | int]) -> Sequence[Action]:
        """Record a refusal once, not at every tick: again only when its kind changes."""
        kind = "".join(letter for letter in reason if not letter.isdigit())
        if kind == self._last_refusal:
            return ()
        self._last_refusal = kind
        return (Proposal(DecisionKind.ENTRY, (reason,), facts),)

    def on_cut(self, view: DeskView, sent: Sequence[OrderIntent]) -> None:
        """Be content with the straddles that the risk gate allows."""
        del sent
        if self.phase is Phase.ENTERING and self._pair is not None:
            self._straddles = int(min(view.exposure(self._pair.call_id), view.exposure(self._pair.put_id)))

    def _enter(self, view: DeskView) -> Sequence[Action]:
        """Follow the legs: filled, still working, too old, or to be wanted again at today's ask."""
        assert self._pair is not None
        legs = (self._pair.call_id, self._pair.put_id)
        if all(view.positions.quantity(leg) >= self._straddles for leg in legs):
            self._note_entered(view)
            return self._hold(view)
        cancels = expired_orders(view, legs, self.config.entry.order_ttl_seconds)
        if cancels:
            return (Proposal(DecisionKind.ENTRY, ("leg not filled in time: price it again",), {}, cancels),)
        if any(view.orders.pending(leg) for leg in legs):
            return ()
        self._attempts += 1
        if self._attempts > self.config.entry.max_attempts:
            if self._held_options(view):
                return self._start_leaving(view, "entry abandoned: one leg could not be bought")
            return self._pause(view)
        intents = missing_legs(view, legs, self._straddles)
        return (
            (Proposal(DecisionKind.ENTRY, ("complete the straddle",), {"attempt": self._attempts}, intents),)
            if intents
            else ()
        )

    def _pause(self, view: DeskView) -> Sequence[Action]:
        """Nothing could be bought: look again later, each time later; a fill ends it."""
        self.phase = Phase.WAITING
        self._pair = None
        self._abandoned += 1
        wait_s = pause_seconds(self._abandoned)
        self._silent_until_ns = view.now_ns + int(wait_s * NANOS_PER_SECOND)
        why = "entry abandoned: nothing was filled"
        return (
            Proposal(DecisionKind.ENTRY, (why, f"looks again in {wait_s:g} s")),
            SetTimer("gamma-scalper: after an abandoned entry", self._silent_until_ns),
        )

    def _note_entered(self, view: DeskView) -> None:
        assert self._pair is not None
        assert view.session is not None
        self.phase = Phase.HOLDING
        self._abandoned = 0
        self._entry_session = view.session.day
        self._sessions_held = 0
        self._premium = ZERO
        for leg in (self._pair.call_id, self._pair.put_id):
            position = view.positions.positions[leg]
            self._premium += position.quantity * position.average_price * position.multiplier
            if leg not in self._entry_vols:
                valuation = view.delta_engine.value(leg, view.now_ns)
                self._entry_vols[leg] = valuation.vol if valuation is not None else 0.0
        self._hedger.begin(self._entry_vols, view.now_ns, self._straddles)
        self._exits = ExitRules(self.config.exits)

    # holding ----------------------------------------------------------------------------------------

    def _hold(self, view: DeskView) -> Sequence[Action]:
        assert self._pair is not None
        assert view.session is not None
        if not self._held_options(view):
            return self._start_leaving(view, "the options are gone (expired or settled)")
        reason = self._exits.reason(
            ExitView(
                now_ns=view.now_ns,
                session=view.session,
                mode=view.mode,
                expiry=self._pair.expiry,
                premium_paid=self._premium,
                pnl=view.nav - self._entry_nav,
                sessions_held=self._sessions_held,
                edge_usd=self._edge.left(self._pair, view, self._hedger.band)
                if self.config.exits.edge_gone
                else None,
            )
        )
        if reason is not None:
            return self._start_leaving(view, reason)
        return self._hedger.hedge(view, self._held_options(view))

    # leaving ----------------------------------------------------------------------------------------

    def _start_leaving(self, view: DeskView, reason: str) -> Sequence[Action]:
        self.phase = Phase.LEAVING
        self._why_leaving = reason
        return self._leave(view)

    def _is_whole(self, view: DeskView) -> bool:
        """Return whether as many calls as puts are held; half a straddle is a bet."""
        assert self._pair is not None
        held = view.positions.quantity
        return held(self._pair.call_id) == held(self._pair.put_id)

    def _give_up(self, view: DeskView) -> Sequence[Action]:
        return self._start_leaving(view, "the straddle is not whole any more: a leg was taken away")

    def _clear_up(self, view: DeskView) -> Sequence[Action]:
        """Get rid of what a late trade or a bust left after the end of a round."""
        if self._held_options(view) or view.positions.quantity(view.underlying):
            return self._start_leaving(view, "a trade came late or was taken back")
        self._rests_as = None
        return ()

    def _leave(self, view: DeskView) -> Sequence[Action]:
        """Sell the options; once the book shows none, unwind the hedge; then done.

        What was still being bought or hedged is taken off the book first: an exit is sized by what is
        held, and must not meet an order of the other side.
        """
        legs = self._held_options(view)
        targets = legs or ([view.underlying] if view.positions.quantity(view.underlying) else [])
        ttl = self.config.entry.order_ttl_seconds
        cancels = expired_orders(view, (*legs, view.underlying), ttl)
        if cancels:
            return (
                Proposal(DecisionKind.EXIT, ("exit order not filled in time: send it again",), {}, cancels),
            )
        if not targets:
            return self._finish(view)
        in_the_way = [
            order
            for order in view.orders.live.values()
            if order.submitted.purpose in (Purpose.OPEN, Purpose.HEDGE)
        ]
        blocked = {order.submitted.instrument_id for order in in_the_way}
        intents: list[Intent] = [
            CancelIntent(order.client_order_id, "leaving")
            for order in in_the_way
            if order.state not in (OrderState.PENDING_CANCEL, OrderState.UNKNOWN)
        ]
        for number in targets:
            left = ZERO if number in blocked else view.exposure(number)
            if not left:
                continue
            purpose = Purpose.CLOSE if legs else Purpose.UNWIND_HEDGE
            side = Side.SELL if left > 0 else Side.BUY
            if view.market.quotes[number] is not None:
                intents.append(OrderIntent(number, side, abs(left), purpose, self._why_leaving))
        if not intents:
            return ()
        facts: dict[str, str | float | int] = {"pnl_usd": float(view.nav - self._entry_nav)}
        step = "sell the options" if legs else "unwind the hedge"
        return (
            Proposal(DecisionKind.EXIT, (self._why_leaving, step), facts, tuple(intents), all_or_none=False),
        )

    def _finish(self, view: DeskView) -> Sequence[Action]:
        """Flat: wait for the next entry when one is allowed, else stop."""
        if view.orders.live:
            return ()
        started_flat = self._entry_session is None
        again = started_flat or self.config.entry.again_after_exit
        self.phase = Phase.WAITING if again and view.mode is Mode.ACTIVE else Phase.DONE
        if self._rests_as is not None:
            self.phase, self._rests_as = self._rests_as, None
        self._pair = None
        self._entry_vols = {}
        self._entry_session = None
        return (
            Proposal(
                DecisionKind.EXIT,
                (f"flat: {self._why_leaving}",),
                {"pnl_usd": float(view.nav - self._entry_nav)},
            ),
        )

    # small questions --------------------------------------------------------------------------------

    def _held_options(self, view: DeskView) -> list[InstrumentId]:
        return [
            number
            for number, position in view.positions.positions.items()
            if position.quantity and number in self._options
        ]
