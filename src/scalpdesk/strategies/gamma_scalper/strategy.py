"""The gamma scalper: own a straddle, hedge its delta with shares, earn what realised volatility pays.

Phases: ``waiting`` for an entry, ``entering`` (legs at the venue), ``holding`` (hedge, watch the exits),
``recentring`` (the straddle is sold and another bought), ``scaling`` (more of it is bought, or part sold),
``leaving`` (options first, then the hedge, which is never flattened while options are held), ``done``. Every
wake reads the book afresh, so that a rejected, partial or late order can delay the desk but not wedge it:
what is missing is simply wanted again.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

import msgspec

from scalpdesk.core.backoff import BackOff
from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.events import Event, FillBusted, OrderFilled, OrderNotFound, OrderRejected
from scalpdesk.core.intents import OrderIntent, Purpose, SetTimer, Side
from scalpdesk.core.units import (
    MINUTE_NS,
    NANOS_PER_SECOND,
    ZERO,
    InstrumentId,
    money_text,
    number_text,
)
from scalpdesk.entry.edge_gate import EdgeCourse, GatePasses
from scalpdesk.entry.straddle_selector import Candidate, StraddleSelector
from scalpdesk.hedging.bands.regime_threshold import RegimeThresholdBand
from scalpdesk.hedging.delta_models import DeltaModel
from scalpdesk.instruments.contract import (
    StraddlePair,
    options_in_order,
    straddle_pairs,
)
from scalpdesk.instruments.events import why_unknown
from scalpdesk.instruments.sessions import Session, expiry_instant_ns
from scalpdesk.marketdata.triggers import Trigger, Wake
from scalpdesk.strategies.contract import (
    Action,
    DeskView,
    Facts,
    Proposal,
    StrategySpec,
    TradeStart,
    traded_symbol,
)
from scalpdesk.strategies.gamma_scalper.config import GammaScalperConfig
from scalpdesk.strategies.gamma_scalper.edge import StraddleEdge, early_exercise_gain
from scalpdesk.strategies.toolkit.entry_legs import ABANDONED, AGAIN_IN, EntryStatus, LegEntry, entry_facts
from scalpdesk.strategies.toolkit.exits import (
    StraddleView,
    event_ahead,
    first_reason,
    minutes_before,
    quoted_ns,
    straddle_rules,
)
from scalpdesk.strategies.toolkit.hedger import DeltaHedger
from scalpdesk.strategies.toolkit.liquidation import Liquidation
from scalpdesk.strategies.toolkit.order_life import (
    REJECTION_SECONDS,
    ReportOnce,
    surplus_cancels,
    without_figures,
)
from scalpdesk.strategies.toolkit.resume import (
    Adopted,
    Flat,
    Holdings,
    ResumeRefused,
    cost_of,
    held_of,
    resume,
)
from scalpdesk.strategies.toolkit.sizing import ScaleRule, straddle_size

EDGE_SECONDS = 60.0
"""Between two looks at the edge of a held straddle."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 30.0, 600.0
"""After an abandoned entry: its cause (the risk gate, a thin market) seldom passes within seconds."""
SALE_NS = 5 * MINUTE_NS
"""Within which what is too much of a leg must be sold."""


class ScalperPhase(StrEnum):
    """Where the scalper stands."""

    WAITING = "waiting"
    ENTERING = "entering"
    HOLDING = "holding"
    RECENTRING = "recentring"
    SCALING = "scaling"
    LEAVING = "leaving"
    DONE = "done"


class _Size(NamedTuple):
    straddles: int
    reasons: tuple[str, ...]
    facts: Facts


class GammaScalper:
    """A long straddle, delta hedged with shares."""

    name = "gamma-scalper"

    def __init__(self, config: GammaScalperConfig | None = None) -> None:
        self.config = config or GammaScalperConfig()
        entry = self.config.entry
        self._selector = StraddleSelector(
            self.config.selection, self.config.straddles, max_delta_shares=entry.max_straddle_delta
        )
        self._edge = StraddleEdge(self.config.entry, self.config.straddles)
        hedge = self.config.hedge
        self.hedger = DeltaHedger(
            hedge.make_band(),
            DeltaModel(hedge.delta_vol, hedge.fixed_vol, hedge.delta_model, hedge.minimum_variance),
            least_fraction=hedge.least_fraction,
            order_ttl_seconds=hedge.order_ttl_seconds,
            passive_seconds=hedge.passive_seconds,
            forecast_vol=self._edge.forecast_vol,
        )
        self._leaving = Liquidation(
            self.hedger,
            retry_seconds=self.config.entry.order_ttl_seconds,
            timer="gamma-scalper: exit again",
            leg_orders=self.config.entry.orders,
            walks=True,
        )
        self._exits = straddle_rules(self.config.exits)
        self.phase = ScalperPhase.WAITING
        self._pairs: list[StraddlePair] = []
        self._options: frozenset[InstrumentId] = frozenset()
        self._pair: StraddlePair | None = None
        self._entry_vols: dict[InstrumentId, float] = {}
        self._trade = TradeStart({})
        self._entry_session: date | None = None
        self._premium = ZERO
        self._had_edge = True
        """Whether the gate saw an edge at entry; of a straddle taken over it is supposed."""
        self._straddles = self.config.straddles
        """Straddles of the current trade: fewer than configured once the risk gate has cut it."""
        self._first_straddles = self.config.straddles
        """Those bought first: what a change of size or of straddles leaves as it is."""
        self._sessions_held = 0
        self._passes = GatePasses(
            *((entry.passes, entry.pass_seconds) if entry.gate == "enforce" else (1, 0.0))
        )
        self._course = EdgeCourse()
        self._edge_left = GatePasses(1, EDGE_SECONDS)
        self._recentre_ns = 0
        """When the straddle is compared with one at the money again."""
        self._next_pair: StraddlePair | None = None
        self._scale: ScaleRule | None = None
        self._no_more = BackOff(300.0, 3_600.0)
        """After straddles that could not be added."""
        self._move_until_ns = 0
        """By when a recentring or a change of size is through, or given up."""
        self._entry: LegEntry | None = None
        self._abandoned = BackOff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._rejected = BackOff(1.0, REJECTION_SECONDS)
        self._refusals = ReportOnce()
        self._warnings = ReportOnce(DecisionKind.ALERT)
        self._rests_as: ScalperPhase | None = None
        """Phase to go back to once what a late trade left behind is gone."""

    @property
    def is_done(self) -> bool:
        """Whether it opens no further straddle."""
        return self.phase is ScalperPhase.DONE

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """Pair the chain and wake on the underlying's price and on a heartbeat."""
        symbol = traded_symbol(view, self.config.underlying, self.name)
        options = options_in_order(view.instruments, symbol)
        self._options = frozenset(number for number, _ in options)
        self._pairs = straddle_pairs(options)
        self._edge.learn(self._pairs, view)
        tick = view.instruments[view.underlying].tick_rule.below
        return (self.config.triggers.trigger(view.underlying, tick=tick),)

    def on_wake(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        """Act by the phase."""
        if wake is Wake.SESSION:
            return self._on_session(view)
        self._edge.note_price(view)
        is_leaving = self.phase is ScalperPhase.LEAVING
        kind = type(event)
        if (kind is OrderRejected or kind is OrderNotFound) and not is_leaving:  # not at once again
            until_ns = self._rejected.fail(view.now_ns)
            return (SetTimer("gamma-scalper: after a rejection", until_ns),)
        self.hedger.note_fill(view, event)
        if kind is OrderFilled or kind is FillBusted:
            self._rejected.succeed()
            self._abandoned.until_ns = 0
            if self.phase in (ScalperPhase.WAITING, ScalperPhase.DONE):
                # a trade after the last word, or one taken back: not flat after all
                self._rests_as = self.phase
        if wake is Wake.BAR or view.mode is Mode.HALTED:
            return ()
        if is_leaving:
            return self._leave(view, event)
        if view.now_ns < max(self._rejected.until_ns, self._abandoned.until_ns):
            return ()
        if self._rests_as is self.phase:
            return self._clear_up(view)
        if self.phase is ScalperPhase.HOLDING:
            # of an expiry one leg is booked before the other: an account's change alone proves nothing
            return self._hold(view) if wake is Wake.ACCOUNT or self._is_whole(view) else self._give_up(view)
        if self.phase is ScalperPhase.WAITING:
            return [*self._report_course(view, view.now_ns), *self._look_for_entry(view)]
        steps = {
            ScalperPhase.ENTERING: self._enter,
            ScalperPhase.RECENTRING: self._move,
            ScalperPhase.SCALING: self._resize,
        }
        return steps[self.phase](view) if self.phase in steps else ()

    # session, start ---------------------------------------------------------------------------------

    def _on_session(self, view: DeskView) -> Sequence[Action]:
        session = view.session
        if session is None or view.now_ns != session.open_ns:
            return self._report_course(view)
        self._passes.forget()
        if self._scale is not None:
            self._scale.forget()
        self._edge.open_session(view)
        unknown = why_unknown(self.config.exits.before_event, session.day)
        warning = self._warnings.once("events", (f"exits.before_event: {unknown}",)) if unknown else []
        return [*warning, *self._begin_session(view, session)]

    def _begin_session(self, view: DeskView, session: Session) -> Sequence[Action]:
        if self._entry_session is not None and self._entry_session != session.day:
            self._sessions_held += 1
        if self.phase is not ScalperPhase.WAITING:
            return ()
        if self.config.mode == "init":
            holds = held_of(view, self._options) or view.positions.quantity(view.underlying)
            self._trade = view.begin_trade((*held_of(view, self._options), view.underlying))
            return self._start_leaving(view, "init: start flat") if holds else ()
        return self._adopt(view)

    def _adopt(self, view: DeskView) -> Sequence[Action]:
        """Take over what the account holds: exactly one call and one put, long, a straddle, N of each."""
        wanted = Decimal(self.config.straddles)
        is_fixed, scales = self.config.sizing == "fixed", self.config.scale.max_multiple is not None
        pairs = {frozenset(pair.legs): pair for pair in self._pairs}

        def wrong(held: Holdings) -> str:
            if frozenset(held) not in pairs:
                return "not one call and one put of equal strike and expiry"
            if (scales or not is_fixed) and len(set(held.values())) == 1 and min(held.values()) > 0:
                return ""
            return "" if set(held.values()) == {wanted} else f"not {wanted} long of each leg"

        match resume(view, self._options, wrong):
            case ResumeRefused(proposal):
                self.phase = ScalperPhase.DONE
                return (proposal,)
            case Adopted(held):
                pair, self._had_edge = pairs[frozenset(held)], True
                self._straddles = int(next(iter(held.values())))
                # of a size that is not fixed nothing tells what was bought first
                self._first_straddles = self.config.straddles if is_fixed else self._straddles
                self._begin_trade(view, pair)
                self._note_entered(view)
                reason = f"resumed {view.instruments[pair.call_id].symbol} and its put"
                return (Proposal(DecisionKind.ENTRY, (reason,)),)
            case Flat():
                return ()

    # entry ------------------------------------------------------------------------------------------

    def _look_for_entry(self, view: DeskView) -> Sequence[Action]:
        session = view.session
        if session is None or view.mode is not Mode.ACTIVE or not self._passes.is_due(view.now_ns):
            return ()
        opens_ns = session.clock_ns(self.config.entry.not_before)
        closes_ns = session.clock_ns(self.config.entry.not_after)
        leaves_ns = minutes_before(session.close_ns, self.config.exits.flat_minutes_before_close or 0.0)
        spot = view.market.mark(view.underlying)
        # at the minute in which the day's straddle is sold none is bought
        if not opens_ns <= view.now_ns <= closes_ns or view.now_ns >= leaves_ns or spot is None:
            return ()
        if view.is_halted(view.underlying):
            return ()
        ahead = event_ahead(self.config.exits, view.now_ns, session, self._ex_dividends_ns(view))
        if ahead:
            self._passes.note(view.now_ns, passed=False)
            return self._refuse_entry(f"entry waits for an event: {ahead}", {})
        if self._edge.is_far(view):
            self._passes.note(view.now_ns, passed=False)
            return ()
        selection = self._selector.select(self._pairs, view.market, view.delta_engine, spot, view.now_ns)
        why_none = "" if selection.best is not None else selection.why_none()
        if selection.best is not None and self.config.exits.early_exercise:
            gain = early_exercise_gain(view, selection.best.pair)
            if gain is not None:  # the straddle would be left again at once
                why_none = f"a leg of the best is worth {gain:.2f} more exercised than held over the night"
        if selection.best is None or why_none:
            self._passes.note(view.now_ns, passed=False)
            return self._refuse_entry(why_none, dict(selection.removed))
        best = selection.best
        verdict = self._edge.judge(best, view, self.hedger)
        facts = entry_facts(view, best, spot) | verdict.facts
        if self.config.entry.window_seconds and "edge_usd" in facts:
            edges = float(facts["edge_usd"]), float(facts["edge_needed_usd"])
            self._course.note(view.now_ns, *edges)
        is_enough = self._passes.note(view.now_ns, passed=verdict.passed)
        if not verdict.passed:
            return self._refuse_entry("; ".join(verdict.reasons), facts)
        if not is_enough:
            count, needed = self._passes.count, self._passes.needed
            return self._refuse_entry(f"the entry gate passes: {count} of {needed} in a row", facts)
        size = self._size(best, view, verdict.facts)
        facts |= size.facts
        if not size.straddles:
            return self._refuse_entry("; ".join(size.reasons), facts)
        self._passes.forget()
        self._had_edge = verdict.has_edge
        self._begin_trade(view, best.pair)
        self._entry_vols = {best.pair.call_id: best.call.vol, best.pair.put_id: best.put.vol}
        self._straddles = size.straddles
        self._entry = self._new_entry(best.pair, size.straddles)
        self.phase = ScalperPhase.ENTERING
        reasons = (selection.why_best(), *size.reasons, *verdict.reasons)
        bought = Proposal(DecisionKind.ENTRY, reasons, facts)
        return [*self._entry.begin(view, bought), *self._report_course(view)]

    def _report_course(self, view: DeskView, due_ns: int | None = None) -> Sequence[Action]:
        """Put the edge's course on record: once it is due, or whatever there is without ``due_ns``."""
        found = self._course.take(view.instruments[view.underlying].currency, due_ns)
        if found is None:
            return ()
        return (Proposal(DecisionKind.EDGE, (found[0],), {**found[1]}, carried_out=True),)

    def _new_entry(self, pair: StraddlePair, straddles: int) -> LegEntry:
        entry = self.config.entry
        return LegEntry(
            pair.legs,
            straddles,
            ttl_seconds=entry.order_ttl_seconds,
            max_attempts=entry.max_attempts,
            leg_orders=entry.orders,
            walk_steps=entry.walk_steps,
        )

    def _size(self, best: Candidate, view: DeskView, facts: Facts, fixed: int | None = None) -> "_Size":
        """Return how many straddles to hold, in words and figures; ``fixed`` is wanted of a fixed size."""
        config = self.config
        if config.sizing == "fixed" and fixed is None:
            return _Size(config.straddles, (), {})
        equity, risk = float(view.nav), self._edge.risk_of(best, view, facts)
        found = straddle_size(
            config.sizing, equity, risk, fixed=fixed or 1, config=config.size, buying_power=equity
        )
        name = config.sizing.replace("_", " ")
        why = f"size: {found.straddles} straddles by {name} ({found.raw:.2f}), bound by {found.bound_by}"
        if not found.straddles:
            premium = money_text(risk.premium, view.instruments[best.pair.call_id].currency)
            why = f"size: one straddle of {premium} is too many by {name} ({found.raw:.2f})"
            why += "" if found.bound_by == "size" else f", bound by {found.bound_by}"
        figures: Facts = {
            "size_raw": found.raw,
            "size_bound_by": found.bound_by,
            "premium_usd": risk.premium,
            "vega_usd_per_point": risk.vega,
            "theta_usd_per_session": risk.theta,
            "pnl_sd_usd": risk.pnl_sd,
        }
        return _Size(found.straddles, (why,), figures)

    def _refuse_entry(self, reason: str, facts: dict[str, str | float | int]) -> Sequence[Action]:
        """Report a refusal when its kind changes."""
        return self._refusals.report(without_figures(reason), (reason,), facts)

    def on_cut(self, view: DeskView, sent: Sequence[OrderIntent]) -> None:
        """Reduce the entry to the straddles that the risk gate allows."""
        phases = (ScalperPhase.ENTERING, ScalperPhase.RECENTRING, ScalperPhase.SCALING)
        if self.phase in phases and self._entry is not None:
            self._entry.note_cut(view, sent)
            self._straddles = self._entry.quantity

    def _enter(self, view: DeskView) -> Sequence[Action]:
        """Follow the legs of the entry; give it up after too many attempts."""
        assert self._entry is not None
        status, actions = self._entry.step(view)
        if status is EntryStatus.FILLED:
            self._first_straddles = self._straddles
            self._note_entered(view)
            return [*actions, *self._hold(view)]
        if status is EntryStatus.ABANDONED:
            if held_of(view, self._options):
                return self._start_leaving(view, f"{ABANDONED}: one leg could not be bought")
            return self._pause(view)
        return actions

    def _pause(self, view: DeskView) -> Sequence[Action]:
        """Look for an entry again later, each time later."""
        self.phase = ScalperPhase.WAITING
        self._pair = None
        until_ns = self._abandoned.fail(view.now_ns)
        wait_s = (until_ns - view.now_ns) / NANOS_PER_SECOND
        why = f"{ABANDONED}: nothing was filled"
        return (
            Proposal(DecisionKind.ENTRY, (why, f"looks again in {wait_s:g} s"), {AGAIN_IN: wait_s}),
            SetTimer("gamma-scalper: after an abandoned entry", until_ns),
        )

    def _begin_trade(self, view: DeskView, pair: StraddlePair) -> None:
        self._pair = pair
        self._trade = view.begin_trade((*pair.legs, view.underlying))

    def _note_entered(self, view: DeskView) -> None:
        assert self._pair is not None
        assert view.session is not None
        self.phase = ScalperPhase.HOLDING
        self._abandoned.succeed()
        self._entry_session = view.session.day
        self._sessions_held = 0
        self._premium = cost_of(view, self._pair.legs)
        for leg in self._pair.legs:
            if leg not in self._entry_vols:
                valuation = view.delta_engine.value(leg, view.now_ns)
                self._entry_vols[leg] = valuation.vol if valuation is not None else 0.0
        self.hedger.begin(view.now_ns, entry_vols=self._entry_vols, straddles=self._straddles)
        self._exits = straddle_rules(self.config.exits, had_edge=self._had_edge)
        scale, sizes = self.config.scale, (self._straddles, self._first_straddles)
        self._scale = None if scale.max_multiple is None else ScaleRule(scale, *sizes)

    # holding ----------------------------------------------------------------------------------------

    def _hold(self, view: DeskView) -> Sequence[Action]:
        assert self._pair is not None
        assert view.session is not None
        legs = held_of(view, self._options)
        if not legs:
            return self._start_leaving(view, "the options are gone (expired or settled)")
        reason = first_reason(
            self._exits,
            StraddleView(
                now_ns=view.now_ns,
                session=view.session,
                mode=view.mode,
                expiry=self._pair.expiry,
                expires_ns=self._expires_ns(view),
                premium_paid=self._premium,
                pnl=view.trade_pnl(self._trade),
                sessions_held=self._sessions_held,
                edge_usd=self._left(view),
                currency=view.instruments.by_id[self._pair.call_id].currency,
                exercise_gain=early_exercise_gain(view, self._pair),
                quoted_ns=quoted_ns(view.market, self._pair.legs),
                ex_dividends_ns=self._ex_dividends_ns(view),
            ),
        )
        if reason is not None:
            return self._start_leaving(view, reason)
        moves = self._change_straddle(view) or self._change_size(view)
        if moves:
            return moves
        return [*surplus_cancels(view), *self.hedger.step(view, legs)]

    def _change_straddle(self, view: DeskView) -> Sequence[Action]:
        """Sell the straddle and buy another, where that is due; else nothing."""
        config = self.config.recentre
        if config.gamma_fraction is None and config.roll_dte is None:
            return ()
        if view.now_ns < self._recentre_ns or view.mode is not Mode.ACTIVE or view.orders.live:
            return ()
        self._recentre_ns = view.now_ns + int(config.check_seconds * NANOS_PER_SECOND)
        assert self._pair is not None
        assert view.session is not None
        if config.roll_dte is not None and (self._pair.expiry - view.session.day).days <= config.roll_dte:
            return self._roll(view)
        if config.gamma_fraction is None:
            return ()
        found = self._edge.new_strike(self._pair, self._pairs, view)
        if found is None or not found[1].is_due(config.gamma_fraction):
            return ()
        pair, figures = found
        old, new = (each.strike.normalize() for each in (self._pair, pair))
        gain = money_text(figures.gain, view.instruments[pair.call_id].currency)
        why = (
            f"recentre from {old:f} to {new:f}: gamma is {figures.gamma_fraction:.0%} of the new strike's,"
            f" moving earns {gain} more than it costs"
        )
        facts: Facts = {
            "gamma_fraction": figures.gamma_fraction,
            "earn_old_usd": figures.earn_old,
            "earn_new_usd": figures.earn_new,
            "gain_usd": figures.gain,
        }
        return self._sell_and_buy(view, pair, why, facts)

    def _roll(self, view: DeskView) -> Sequence[Action]:
        """Change to the best straddle of a later expiry, if it passes the gate."""
        assert self._pair is not None
        later = [pair for pair in self._pairs if pair.expiry > self._pair.expiry]
        spot = view.market.mark(view.underlying)
        if spot is None:
            return ()
        selection = self._selector.select(later, view.market, view.delta_engine, spot, view.now_ns)
        if selection.best is None:
            return self._refuse_entry(f"roll: {selection.why_none()}", dict(selection.removed))
        verdict = self._edge.judge(selection.best, view, self.hedger)
        facts = entry_facts(view, selection.best, spot) | verdict.facts
        if not verdict.passed:
            return self._refuse_entry("roll: " + "; ".join(verdict.reasons), facts)
        self._had_edge = verdict.has_edge
        pair = selection.best.pair
        why = f"roll from {self._pair.expiry} to {pair.expiry}, strike {number_text(pair.strike)}"
        return self._sell_and_buy(view, pair, why, facts)

    def _sell_and_buy(self, view: DeskView, pair: StraddlePair, why: str, facts: Facts) -> Sequence[Action]:
        config, entry = self.config.recentre, self.config.entry
        self._next_pair = pair
        self.phase = ScalperPhase.RECENTRING
        seconds = max(config.check_seconds, entry.order_ttl_seconds * (entry.max_attempts + 1))
        self._move_until_ns = view.now_ns + int(seconds * NANOS_PER_SECOND)
        self._entry = LegEntry(
            pair.legs,
            self._straddles,
            ttl_seconds=entry.order_ttl_seconds,
            max_attempts=entry.max_attempts,
        )
        sales = self._sales(view, why)
        bought = self._entry.begin(view, Proposal(DecisionKind.ENTRY, (why,), facts))
        return [Proposal(DecisionKind.EXIT, (why,), facts, sales, all_or_none=False), *bought]

    def _sales(self, view: DeskView, why: str, keep: int = 0) -> tuple[OrderIntent, ...]:
        """Return market orders for what is held of the straddle beyond ``keep`` and not on sale yet."""
        assert self._pair is not None
        return tuple(
            OrderIntent(leg, Side.SELL, held - keep, Purpose.CLOSE, why)
            for leg in self._pair.legs
            if (held := view.positions.quantity(leg)) > keep and not view.orders.live_for(leg)
        )

    def _sell_again(self, view: DeskView, why: str, keep: int = 0) -> list[Action]:
        sales = self._sales(view, why, keep)
        return [Proposal(DecisionKind.EXIT, (why,), {}, sales)] if sales else []

    # size of what is held ---------------------------------------------------------------------------

    def _change_size(self, view: DeskView) -> Sequence[Action]:
        """Buy more of the straddle or sell part of it, where its edge has changed enough; else nothing."""
        rule = self._scale
        if rule is None or not rule.is_due(view.now_ns) or view.mode is not Mode.ACTIVE or view.orders.live:
            return ()
        assert self._pair is not None
        edge, held = self._edge.left(self._pair, view, self.hedger), self._straddles
        worth = None if edge is None else edge.gross_usd - edge.hedge_cost_usd
        wanted = rule.wanted(view.now_ns, held, worth)
        if wanted == held:
            return ()
        facts: Facts = {
            "edge_before_spread_usd": worth or 0.0,
            "first_edge_usd": rule.first_edge_usd or 0.0,
            "straddles_held": held,
        }
        currency = view.instruments[self._pair.call_id].currency
        edges = [money_text(each or 0.0, currency) for each in (worth, rule.first_edge_usd)]
        now = "the edge of one is {} before its spread, {} at first".format(*edges)
        if wanted > held:
            return self._add(view, wanted, now, facts)
        why = f"scale out from {held} to {wanted} straddles: {now}"
        self._begin_resize(view, wanted)
        sales = self._sales(view, why, wanted)
        facts |= {"straddles_wanted": wanted}
        orders = self.config.entry.orders
        return [Proposal(DecisionKind.EXIT, (why,), facts, sales, all_or_none=False, leg_orders=orders)]

    def _add(self, view: DeskView, wanted: int, now: str, facts: Facts) -> Sequence[Action]:
        """Buy more of the straddle, if it would be bought afresh and its size leaves room."""
        assert self._pair is not None
        spot, session = view.market.mark(view.underlying), view.session
        closes_ns = 0 if session is None else session.clock_ns(self.config.entry.not_after)
        if spot is None or not self._no_more.until_ns <= view.now_ns <= closes_ns:
            return ()
        pairs = [self._pair]
        selection = self._selector.select(pairs, view.market, view.delta_engine, spot, view.now_ns)
        if selection.best is None:
            return self._refuse_entry(f"scale in: {selection.why_none()}", facts)
        verdict = self._edge.judge(selection.best, view, self.hedger)
        facts = facts | verdict.facts
        if not (verdict.passed and verdict.has_edge):
            return self._refuse_entry("scale in: " + "; ".join(verdict.reasons), facts)
        size = self._size(selection.best, view, verdict.facts, fixed=wanted)
        wanted, facts = min(wanted, size.straddles), facts | size.facts
        if wanted <= self._straddles:
            return self._refuse_entry("scale in: " + "; ".join(size.reasons), facts)
        why = f"scale in from {self._straddles} to {wanted} straddles: {now}"
        self._begin_resize(view, wanted)
        self._entry = self._new_entry(self._pair, wanted)
        reasons = (why, *size.reasons, *verdict.reasons)
        facts |= {"straddles_wanted": wanted}
        return self._entry.begin(view, Proposal(DecisionKind.ENTRY, reasons, facts))

    def _begin_resize(self, view: DeskView, wanted: int) -> None:
        assert self._scale is not None
        self._scale.forget()
        self.phase, self._straddles, self._entry = ScalperPhase.SCALING, wanted, None
        self._move_until_ns = view.now_ns + SALE_NS

    def _resize(self, view: DeskView) -> Sequence[Action]:
        """Follow a change of size: what cannot be bought is given up, and the straddle kept whole."""
        assert self._pair is not None
        if not held_of(view, self._options) or view.mode is Mode.FLATTENING:
            return self._hold(view)
        legs, actions = self._pair.legs, list[Action]()
        status = EntryStatus.FILLED
        if self._entry is not None:
            status, actions = self._entry.step(view)
        if status is EntryStatus.ABANDONED:
            self._entry, self._straddles = None, int(min(view.positions.quantity(leg) for leg in legs))
            self._no_more.fail(view.now_ns)
            self._move_until_ns = view.now_ns + SALE_NS
        if status is not EntryStatus.WORKING and {view.positions.quantity(leg) for leg in legs} == {
            self._straddles
        }:
            self.phase = ScalperPhase.HOLDING
            self._premium = max(self._premium, cost_of(view, self._pair.legs))
            self.hedger.resize(self._straddles)
            return [*actions, *self._hold(view)]
        if self._entry is None and view.now_ns >= self._move_until_ns:
            return self._start_leaving(view, "change of size abandoned: the straddle is not whole")
        live = view.orders.live.values()
        if actions or any(order.submitted.instrument_id != view.underlying for order in live):
            return actions  # legs are on their way: what is left is hedged once they are through
        if self._entry is None:
            actions = self._sell_again(view, "change of size: sell what is left over", self._straddles)
        return [*actions, *self.hedger.step(view, held_of(view, self._options))]

    def _move(self, view: DeskView) -> Sequence[Action]:
        """Follow a change of straddles: old legs out, new ones in, hedged meanwhile; leave where it fails."""
        assert self._pair is not None
        assert self._next_pair is not None
        assert self._entry is not None
        if view.mode is not Mode.ACTIVE:
            return self._start_leaving(view, "the desk opens nothing: the change of straddles is given up")
        status, actions = self._entry.step(view)
        if status is EntryStatus.ABANDONED:
            return self._start_leaving(view, "change of straddles abandoned: a leg could not be bought")
        if view.now_ns >= self._move_until_ns:
            return self._start_leaving(view, "change of straddles abandoned: a leg could not be sold")
        old = [leg for leg in self._pair.legs if view.positions.quantity(leg)]
        if status is EntryStatus.FILLED and not old:
            self._straddles = self._entry.quantity
            self._entry_vols = {}
            self._begin_trade(view, self._next_pair)
            sessions, since = self._sessions_held, self._entry_session
            self._note_entered(view)
            self._sessions_held, self._entry_session = sessions, since
            return self._hold(view)
        live = view.orders.live.values()
        if any(order.submitted.instrument_id != view.underlying for order in live):
            return actions  # legs are on their way: what is left is hedged once they are through
        hedges = self.hedger.step(view, held_of(view, self._options))
        return [*actions, *self._sell_again(view, "change of straddles: sell what is left"), *hedges]

    def _left(self, view: DeskView) -> float | None:
        """Return the edge left, once a minute; None in between, and where it is not known."""
        if not self.config.exits.edge_gone or not self._edge_left.is_due(view.now_ns):
            return None
        assert self._pair is not None
        self._edge_left.note(view.now_ns, passed=True)
        edge = self._edge.left(self._pair, view, self.hedger)
        return None if edge is None else edge.net_usd

    def _ex_dividends_ns(self, view: DeskView) -> tuple[int, ...]:
        """Return when the underlying goes ex, where a rule asks for it."""
        if not self.config.exits.before_event:
            return ()
        return tuple(item.ts_ex_ns for item in view.market.dividends if item.instrument_id == view.underlying)

    def _expires_ns(self, view: DeskView) -> int | None:
        """Return when the options expire, where a rule asks for it."""
        if self.config.exits.minutes_before_expiry is msgspec.UNSET or self._pair is None:
            return None
        contract = view.instruments[self._pair.call_id]
        assert contract.is_option
        return expiry_instant_ns(contract)

    # leaving ----------------------------------------------------------------------------------------

    def _start_leaving(self, view: DeskView, reason: str) -> Sequence[Action]:
        self.phase = ScalperPhase.LEAVING
        entry = self.config.entry
        self._leaving.begin(view.now_ns, reason, rest_seconds=entry.walk_steps * entry.order_ttl_seconds)
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
        if held_of(view, self._options) or view.positions.quantity(view.underlying):
            return self._start_leaving(view, "a trade came late or was taken back")
        self._rests_as = None
        return ()

    def _leave(self, view: DeskView, event: Event | None = None) -> Sequence[Action]:
        """Get rid of the options, then of their hedge; then done."""
        legs = held_of(view, self._options)
        refused = self._leaving.note_refused(view, event)
        if refused:
            return refused
        actions = self._leaving.step(view, legs, {"pnl_usd": float(view.trade_pnl(self._trade))})
        return actions if actions or not self._leaving.is_flat(view, legs) else self._finish(view)

    def _finish(self, view: DeskView) -> Sequence[Action]:
        """Flat: wait for the next entry when one is allowed, else stop."""
        started_flat = self._entry_session is None
        again = started_flat or self.config.entry.again_after_exit
        self.phase = ScalperPhase.WAITING if again and view.mode is Mode.ACTIVE else ScalperPhase.DONE
        if self._rests_as is not None:
            self.phase, self._rests_as = self._rests_as, None
        self._pair = None
        self._entry_vols = {}
        self._entry_session = None
        facts: Facts = {"pnl_usd": float(view.trade_pnl(self._trade))}
        why = f"flat: {self._leaving.why}"
        self._leaving.forget()
        return (Proposal(DecisionKind.EXIT, (why,), facts),)


PLUG = StrategySpec(
    name="gamma-scalper",
    config=GammaScalperConfig,
    build=GammaScalper,
    summary="a long straddle, delta hedged with shares",
    aliases=("gamma-scalping",),
    reads_dealer_gamma=lambda config: config.hedge.band == RegimeThresholdBand.name,
    expiry_days=lambda config: (
        config.selection.min_expiration_days,
        config.selection.max_expiration_days,
    ),
    # one session long: it enters whatever the gate advises and ends flat
    demo_settings=("entry.gate=advise", "exits.edge_gone=false", "exits.flat_minutes_before_close=10"),
)
