"""The gamma scalper's states: what belongs to a state alone is a field of its object and ends with it.

A step returns the next state, which may be the same object, and the actions. Every step reads the book
afresh, so that a rejected, partial or late order can delay the desk but not wedge it: what is missing is
simply wanted again.
"""

import math
from collections.abc import Callable, Sequence

from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.events import Event
from scalpdesk.core.intents import SetTimer
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, NEVER_NS, money_text
from scalpdesk.entry.edge_gate import EdgeCourse, GatePasses
from scalpdesk.entry.selector import Candidate, Selection
from scalpdesk.entry.shapes import STRADDLE
from scalpdesk.instruments.structure import Structure, can_exchange, exchanged
from scalpdesk.marketdata.triggers import Wake
from scalpdesk.strategies.contract import Action, DeskView, Facts, Proposal, TradeStart
from scalpdesk.strategies.gamma_scalper.edge import cost_of_one, early_exercise_gain
from scalpdesk.strategies.gamma_scalper.trade import (
    NOT_KNOWN,
    ScalperTools,
    StraddleTrade,
    TradeSide,
    capital_at_risk,
    roll_credit,
    sold_delta,
    structure_held,
)
from scalpdesk.strategies.toolkit.entry_legs import ABANDONED, AGAIN_IN, entry_facts
from scalpdesk.strategies.toolkit.exits import (
    EdgeGone,
    PositionView,
    event_ahead,
    first_reason,
    quiet_of,
    shown,
)
from scalpdesk.strategies.toolkit.liquidation import Liquidation
from scalpdesk.strategies.toolkit.pursuit import Move, MoveStatus
from scalpdesk.strategies.toolkit.quiet import Quiet, QuietPosition, quiet_hedge, quiet_position
from scalpdesk.strategies.toolkit.resume import Adopted, Flat, Holdings, ResumeRefused, resume

PRICE, HEARTBEAT = Wake.PRICE, Wake.HEARTBEAT  # looking up an enum's member costs as much as a call
CLOSED = "closed for the session"
_LEFT_OVER = "shares are left over from an earlier session"
_SALE_NS = 5 * MINUTE_NS
"""Within which what is too much of a leg must be sold."""


class State:
    """A state of the scalper; its step returns the next state and the actions to take now."""

    def __init__(self, tools: ScalperTools, start: TradeStart) -> None:
        self.tools = tools
        self.start = start
        """Start of the present trade, else of the last: the P&L of an exit is measured from it."""
        self.phase = type(self).__name__.removesuffix("State").lower()
        """Its name, as ``holding``."""

    def step(self, view: DeskView, wake: Wake, event: Event) -> "Step":
        """Act on a wake within a session."""
        raise NotImplementedError

    def leave(self, view: DeskView, why: str, rests_in: "State | None" = None) -> "Step":
        """Begin to sell all that is held, and return the first step of it."""
        trade = self.trade if isinstance(self, TradingState) else None
        leaving = LeavingState(self.tools, self.start, trade, rests_in)
        entry = self.tools.config.entry
        leaving.liquidation.begin(view.now_ns, why, rest_seconds=entry.walk_steps * entry.order_ttl_seconds)
        return leaving.sell(view, None)


Step = tuple[State, Sequence[Action]]
"""The next state, and the actions to take now."""


class RestingState(State):
    """Without a straddle; what a late trade or a bust leaves behind is sold before anything else."""

    def __init__(self, tools: ScalperTools, start: TradeStart) -> None:
        super().__init__(tools, start)
        self.is_disturbed = False
        """Whether a trade after the last word, or one taken back, may have left something."""

    def step(self, view: DeskView, wake: Wake, event: Event | None) -> Step:
        """Get rid of what a late trade or a bust left after the end of a round, then come back."""
        del wake, event
        if not self.is_disturbed:
            return self, ()
        self.is_disturbed = False
        tools = self.tools
        if tools.held(view) or (tools.owns_shares and view.positions.quantity(view.hedge)):
            return self.leave(view, "a trade came late or was taken back", rests_in=self)
        return self, ()


class DoneState(RestingState):
    """After the session's last trade: no further straddle is opened until the next session."""

    def step(self, view: DeskView, wake: Wake, event: Event | None) -> Step:
        """Get rid of what a late trade left; of what it would take over, however it came back."""
        self.is_disturbed = self.is_disturbed or (self.tools.adopts and bool(self.tools.held(view)))
        return super().step(view, wake, event)


class WaitingState(RestingState):
    """Looking for a straddle to buy."""

    def __init__(self, tools: ScalperTools, start: TradeStart) -> None:
        super().__init__(tools, start)
        entry = tools.config.entry
        self.passes = GatePasses(
            *((entry.passes, entry.pass_seconds) if entry.gate == "enforce" else (1, 0.0))
        )
        self.course = EdgeCourse()

    def open_session(self, view: DeskView) -> Step:
        """Close what the account holds, or take it over, as ``mode`` has it."""
        tools = self.tools
        if tools.adopts:
            left_over = tools.owns_shares and not tools.held(view) and view.positions.quantity(view.hedge)
            if left_over and view.mode is not Mode.HALTED:  # delivered yesterday, or not unwound
                return self.leave(view, _LEFT_OVER, rests_in=self)
            return (self, ()) if view.mode is Mode.HALTED else self.step(view, Wake.SESSION, None)
        if tools.config.mode != "init":
            return self._adopt(view)
        held = tools.held(view)
        self.start = view.begin_trade((*held, view.hedge))
        if held or view.positions.quantity(view.hedge):
            return self.leave(view, "init: start flat")
        return self, ()

    def _adopt(self, view: DeskView) -> Step:
        """Take over what the account holds: exactly one call and one put, long, a straddle, N of each."""
        tools, config = self.tools, self.tools.config
        is_fixed, scales = config.sizing == "fixed", config.scale.max_multiple is not None
        quantity = view.positions.quantity

        def wrong(held: Holdings) -> str:
            structure = tools.lister.recognise(held)
            if structure is None:
                if tools.name == STRADDLE.name:
                    return "not one call and one put of equal strike and expiry"
                return f"not the legs of one {tools.name}, {config.structure.side}"
            sets = structure.sets_held(quantity)
            is_whole = sets > 0 and not any(structure.missing(sets, quantity).values())
            if is_whole and (sets == config.straddles or scales or not is_fixed):
                return ""
            if structure.all_bought:
                return f"not {config.straddles} long of each leg"
            return f"not {config.straddles} sets of {structure}"

        match resume(view, tools.options, wrong):
            case ResumeRefused(proposal):
                return DoneState(tools, self.start), (proposal,)
            case Adopted(held):
                structure = tools.lister.recognise(held)
                assert structure is not None
                trade = StraddleTrade(view, structure, structure.sets_held(quantity), had_edge=True)
                if is_fixed:  # of any other size nothing tells what was bought first
                    trade.first_straddles = config.straddles
                trade.begin_holding(view, tools)
                reason = f"resumed {structure}"
                if tools.name == STRADDLE.name:
                    reason = f"resumed {structure.lead.contract.symbol} and its put"
                return HoldingState(tools, trade), (Proposal(DecisionKind.ENTRY, (reason,)),)
            case Flat():
                return self, ()

    def _take_over(self, view: DeskView) -> Step | None:
        """Take over any options that are held, whatever their legs; None while there are no such options."""
        tools = self.tools
        found = resume(view, tools.options)
        if not isinstance(found, Adopted):
            return None
        why = tools.must_leave(view)
        if why:
            return self.leave(view, why)
        structure, quantity = tools.lister.recognise(found.held), view.positions.quantity
        if structure is None or structure.sets_held(quantity) <= 0 or not structure.is_whole(quantity):
            structure = None
        legs = structure or structure_held(view, tuple(found.held))
        trade = StraddleTrade(view, legs, legs.sets_held(quantity), had_edge=True)
        trade.is_adopted, trade.is_of_shape = True, structure is not None
        trade.begin_holding(view, tools)
        state, held = HoldingState(tools, trade).hold(view)
        why, facts = f"adopted {found.names}", Facts(options=len(found.held))
        return state, [Proposal(DecisionKind.ENTRY, (why,), facts), *held]

    def step(self, view: DeskView, wake: Wake, event: Event | None) -> Step:
        """Clear up after a late trade, else take over what is held, else look for an entry."""
        if self.is_disturbed:
            return super().step(view, wake, event)
        taken_over = self._take_over(view) if self.tools.adopts else None
        if taken_over is not None:
            return taken_over
        reported = self.report(view, view.now_ns)
        state, actions = self._look(view)
        return state, [*reported, *actions]

    def _look(self, view: DeskView) -> Step:
        """Buy the best straddle, where it may be bought now and passes the gate."""
        tools, session = self.tools, view.session
        config = tools.config
        if session is None or view.mode is not Mode.ACTIVE or not self.passes.is_due(view.now_ns):
            return self, ()
        if config.mode == "adopt_only" or not tools.may_enter(view.now_ns):
            return self, ()
        opens_ns = session.clock_ns(config.entry.not_before)
        closes_ns = session.clock_ns(config.entry.not_after)
        spot = view.market.mark(view.underlying)
        # at the minute in which the day's straddle is sold none is bought
        if not opens_ns <= view.now_ns <= closes_ns or view.now_ns >= tools.leaves_ns(session):
            return self, ()
        if spot is None or view.is_halted(view.underlying):
            return self, ()
        ahead = event_ahead(config.exits, view.now_ns, session, tools.ex_dividends_ns(view))
        if ahead:
            self.passes.note(view.now_ns, passed=False)
            return self, tools.refuse("event", f"entry waits for an event: {ahead}", {})
        if tools.edge.is_far(view):
            self.passes.note(view.now_ns, passed=False)
            return self, ()
        listed = tools.structures(view)
        selection = tools.selector.select(listed, view.market, view.delta_engine, spot, view.now_ns)
        why_none = "" if selection.best is not None else tools.why_none(selection)
        refused_by = selection.refused_by
        if selection.best is not None and config.exits.early_exercise:
            found = early_exercise_gain(view, selection.best.structure, tools.partners)
            if found[0] > 0.0:  # it would be left again at once
                why_none = (
                    f"a leg of the best is worth {found[0]:.2f} more exercised than held over the night"
                )
                refused_by = "early exercise"
        if selection.best is None or why_none:
            self.passes.note(view.now_ns, passed=False)
            return self, tools.refuse(refused_by, why_none, dict(selection.removed))
        return self._judge(view, selection, selection.best, spot)

    def _judge(self, view: DeskView, selection: Selection, best: Candidate, spot: float) -> Step:
        """Buy a straddle that passes the gate often enough, in a size above zero."""
        tools = self.tools
        verdict = tools.edge.judge(best, view, tools.hedger)
        facts = entry_facts(best, spot) | verdict.facts
        if tools.config.entry.window_seconds and verdict.edge is not None:
            self.course.note(view.now_ns, verdict.edge.net_usd, verdict.needed_usd)
        is_enough = self.passes.note(view.now_ns, passed=verdict.passed)
        if not verdict.passed:
            return self, tools.refuse(verdict.refused_by, "; ".join(verdict.reasons), facts)
        if not is_enough:
            count, needed = self.passes.count, self.passes.needed
            reason = f"the entry gate passes: {count} of {needed} in a row"
            return self, tools.refuse("passes in a row", reason, facts)
        straddles, sizes, figures = tools.size(best, view, verdict.edge)
        facts |= figures
        if not straddles:
            return self, tools.refuse("size", "; ".join(sizes), facts)
        trade = StraddleTrade(view, best.structure, straddles, had_edge=verdict.has_edge)
        vols = (each.vol for each in best.states)
        trade.entry_vols = dict(zip(best.structure.option_ids, vols, strict=True))
        move = tools.move(best.structure, straddles, walks=True)
        reasons = (
            selection.why_best(),
            *tools.lister.named.get(best.structure, ()),
            *sizes,
            *verdict.reasons,
        )

        def entered(now: DeskView) -> StraddleTrade:
            tools.entries += 1
            trade.straddles = trade.first_straddles = move.sets
            trade.begin_holding(now, tools)
            return trade

        state = ChangingState(tools, trade, "entering", move, entered)
        return state, [*move.start(view, reasons, facts), *self.report(view)]

    def report(self, view: DeskView, due_ns: int | None = None) -> Sequence[Action]:
        """Put the edge's course on record: once it is due, or whatever there is without ``due_ns``."""
        found = self.course.take(view.instruments[view.underlying].currency, due_ns)
        if found is None:
            return ()
        return (Proposal(DecisionKind.EDGE, (found[0],), {**found[1]}, carried_out=True),)


class TradingState(State):
    """A state of a trade: the straddle is bought, held or changed."""

    def __init__(self, tools: ScalperTools, trade: StraddleTrade) -> None:
        super().__init__(tools, trade.start)
        self.trade = trade


class HoldingState(TradingState):
    """The straddle is held: hedge it, watch its exits, change it where that is due."""

    quiet: QuietPosition | None = None
    """Where a look would find what the last one found."""

    def step(self, view: DeskView, wake: Wake, event: Event | None) -> Step:
        """Hold the straddle while it is whole."""
        del event
        tools, quiet = self.tools, self.quiet
        if quiet is not None and (wake is PRICE or wake is HEARTBEAT) and quiet.holds(view, tools.hedger):
            reason = self._edge_gone(view) if view.now_ns >= tools.edge_looks.due_ns else None
            if reason is not None:
                return self.leave(view, reason)
            if quiet.is_inside(view):
                tools.spare(view, quiet)
                return self, ()
            hedges = tools.hedge(view, tools.held(view))
            quiet.band = quiet_hedge(view, quiet, tools.hedger, tools.usual)
            self.quiet = None if hedges else quiet
            tools.spare(view, self.quiet)
            return self, hedges
        self.quiet = None
        # of an expiry one leg is booked before the other: an account's change alone proves nothing
        if wake is Wake.ACCOUNT or tools.adopts or self.is_whole(view):
            return self.hold(view)
        return self.leave(view, f"the {tools.name} is not whole any more: a leg was taken away")

    def is_whole(self, view: DeskView) -> bool:
        """Return whether the legs are held in their ratios; half a straddle is a bet."""
        return self.trade.structure.is_whole(view.positions.quantity)

    def hold(self, view: DeskView) -> Step:
        """Leave for the first reason to, else change the straddle or its size, else hedge."""
        assert view.session is not None
        tools, trade = self.tools, self.trade
        legs = tools.held(view)
        if not legs:
            return self.leave(view, tools.manner.gone)
        if tools.adopts:
            trade.regroup(view, tools, legs)
        trade.measure(view)
        pnl = view.trade_pnl(trade.start)
        quoted_ns, most_pnl = shown(view, trade.structure.option_ids, pnl)
        edge_usd, slack_usd = self._edge_left(view)
        seen = PositionView(
            now_ns=view.now_ns,
            session=view.session,
            mode=view.mode,
            expiry=trade.structure.first_expiry,
            expires_ns=trade.expires_ns,
            premium_paid=trade.at_risk.amount,
            basis=trade.at_risk.basis,
            most_loss=trade.at_risk.most_loss,
            pnl=pnl,
            most_pnl=most_pnl,
            sessions_held=trade.sessions_held,
            edge_usd=edge_usd,
            edge_slack_usd=slack_usd,
            currency=trade.structure.lead.contract.currency,
            exercise_gain=self._exercise_gain(view),
            quoted_ns=quoted_ns,
            ex_dividends_ns=tools.ex_dividends_ns(view),
        )
        reason = first_reason(trade.exits, seen)
        if reason is not None:
            return self.leave(view, reason)
        stopped = trade.stopped_side(view) if trade.sides else None
        if stopped is not None:
            return self._close_side(view, *stopped)
        if not trade.is_of_shape:
            return self, tools.hedge(view, legs)
        state, moves = self._change_straddle(view)
        if not moves:
            state, moves = self._change_size(view)
        if moves:
            return state, moves
        hedges = tools.hedge(view, legs)
        if not hedges:
            self.quiet = self._quiet(view, seen)
            tools.spare(view, self.quiet)
        return self, hedges

    def _quiet(self, view: DeskView, seen: PositionView) -> QuietPosition | None:
        """Return where exits, changes and hedges have nothing to do after a look without any."""
        tools, trade, recentre = self.tools, self.trade, self.tools.config.recentre
        is_known = trade.at_risk is not NOT_KNOWN and seen.quoted_ns is not None and view.mode is Mode.ACTIVE
        if not is_known or tools.is_watched or view.orders.live:
            return None
        found, way, until_ns = quiet_of(trade.exits, seen), math.inf, NEVER_NS
        for quiet, pnl in ((found, float(seen.pnl)), *((side.quiet, side.pnl_then) for side in trade.sides)):
            if quiet is None:
                return None
            way = min(way, pnl - quiet.least_pnl, quiet.most_pnl - pnl)
        assert found is not None
        if trade.is_of_shape:
            if recentre.is_on:
                until_ns = min(until_ns, tools.strike_looks.due_ns)
            if trade.scale is not None:
                until_ns = min(until_ns, trade.scale.due_ns)
        found = found.and_within(Quiet(until_ns=until_ns))
        position = quiet_position(view, trade.structure, self.start, tools.hedger, found, way, tools.partners)
        if position is not None:
            position.band = quiet_hedge(view, position, tools.hedger, tools.usual)
        return position

    def _exercise_gain(self, view: DeskView) -> tuple[float, bool] | None:
        """Return what exercising a leg gains over holding it, where an exit asks for it."""
        tools = self.tools
        if not tools.config.exits.early_exercise:
            return None
        return early_exercise_gain(view, self.trade.structure, tools.partners)

    def _close_side(self, view: DeskView, side: TradeSide, why: str) -> Step:
        """Close one side alone; the last that is left is the whole trade."""
        tools, trade = self.tools, self.trade
        if len(side.structure.legs) == len(trade.structure.legs):
            return self.leave(view, why)
        move = tools.move(side.structure, 0)
        facts: Facts = {"side": side.name, "side_pnl_usd": float(side.pnl(view)), **side.at_risk.facts()}
        state = ChangingState(
            tools,
            trade,
            "trimming",
            move,
            lambda _: trade.without(side),
            until_ns=view.now_ns + _SALE_NS,
            too_late=f"the {side.name} could not be closed alone",
        )
        return state, move.start(view, (why,), facts)

    def _edge_left(self, view: DeskView) -> tuple[float | None, float]:
        """Return the edge left and what of it is no reason to leave, once a minute.

        None in between, and where it is not known.
        """
        tools = self.tools
        if not tools.config.exits.edge_gone or not tools.edge_looks.is_due(view.now_ns):
            return None, 0.0
        tools.edge_looks.note(view.now_ns, passed=True)
        structure = self.trade.structure
        edge = tools.edge.left(structure, view, tools.hedger)
        if edge is None:
            return None, 0.0
        errors = tools.config.entry.k_stderr * edge.stderr_usd
        return edge.net_usd, max(errors, structure.nearest.multiplier * cost_of_one(view, structure))

    def _edge_gone(self, view: DeskView) -> str | None:
        """Return why to leave for the edge alone, or None."""
        edge_usd, slack_usd = self._edge_left(view)
        if edge_usd is None:
            return None
        currency = self.trade.structure.lead.contract.currency
        seen = PositionView(
            now_ns=view.now_ns, edge_usd=edge_usd, edge_slack_usd=slack_usd, currency=currency
        )
        return first_reason([rule for rule in self.trade.exits if isinstance(rule, EdgeGone)], seen)

    # another straddle -------------------------------------------------------------------------------

    def _change_straddle(self, view: DeskView) -> Step:
        """Sell the straddle and buy another, where that is due; else nothing."""
        tools, held = self.tools, self.trade.structure
        config = tools.config.recentre
        if not config.is_on or not tools.strike_looks.is_due(view.now_ns):
            return self, ()
        if view.mode is not Mode.ACTIVE or view.orders.live:
            return self, ()
        tools.strike_looks.note(view.now_ns, passed=True)
        assert view.session is not None
        if config.roll_dte is not None and (held.first_expiry - view.session.day).days <= config.roll_dte:
            return self._roll(view)
        delta = 0.0 if config.roll_delta is None else sold_delta(view, held)
        if config.roll_delta is not None and delta > config.roll_delta:
            return self._roll(view, delta)
        if config.gamma_fraction is None:
            return self, ()
        found = tools.edge.new_strike(held, tools.structures(view), view)
        if found is None or not found[1].is_due(config.gamma_fraction) or not can_exchange(held, found[0]):
            return self, ()
        structure, figures = found
        gain = money_text(figures.gain, structure.lead.contract.currency)
        why = (
            f"recentre from {held.strikes} to {structure.strikes}: gamma is {figures.gamma_fraction:.0%}"
            f" of the new strike's, moving earns {gain} more than it costs"
        )
        facts: Facts = {
            "gamma_fraction": figures.gamma_fraction,
            "earn_old_usd": figures.earn_old,
            "earn_new_usd": figures.earn_new,
            "gain_usd": figures.gain,
        }
        return self._move(view, structure, why, facts, had_edge=self.trade.had_edge)

    def _roll(self, view: DeskView, delta: float | None = None) -> Step:
        """Change to the best straddle of a later expiry that passes the gate.

        With the ``delta`` of a sold leg that is out of its bound, to the best of this expiry or a later one
        whose sold legs are within it.
        """
        tools, held = self.tools, self.trade.structure
        config = tools.config.recentre
        spot = view.market.mark(view.underlying)
        if spot is None:
            return self, ()
        listed = tools.structures(view)
        later = [each for each in listed if each.first_expiry > held.first_expiry]
        if delta is not None and config.roll_delta is not None:
            later = [
                each
                for each in listed
                if each.first_expiry >= held.first_expiry
                and can_exchange(held, each)
                and sold_delta(view, each) <= config.roll_delta
            ]
        if config.roll_for_credit:
            paying = [each for each in later if (roll_credit(view, *exchanged(held, each)) or 0.0) > 0.0]
            later = paying or later
        selection = tools.selector.select(later, view.market, view.delta_engine, spot, view.now_ns)
        if selection.best is None:
            why_none = f"roll: {tools.why_none(selection)}"
            return self, tools.refuse(f"roll: {selection.refused_by}", why_none, dict(selection.removed))
        verdict = tools.edge.judge(selection.best, view, tools.hedger)
        facts = entry_facts(selection.best, spot) | verdict.facts
        if not verdict.passed:
            reason = "roll: " + "; ".join(verdict.reasons)
            return self, tools.refuse(f"roll: {verdict.refused_by}", reason, facts)
        structure = selection.best.structure
        why = f"roll from {held.first_expiry} to {structure.first_expiry}, strike {structure.strikes}"
        if delta is not None:
            why = f"{why}: a sold leg has a delta of {delta:.2f}, beyond {config.roll_delta:g}"
            facts |= {"sold_delta": delta}
        if config.roll_for_credit:
            credit = roll_credit(view, *exchanged(held, structure))
            facts |= {"roll_credit_usd": credit or 0.0}
            text = "unknown" if credit is None else money_text(credit, structure.lead.contract.currency)
            if credit is None or credit <= 0.0:
                reason = f"roll: no credit, it brings {text} a set after its costs"
                return self, tools.refuse("roll: credit", reason, facts)
            why = f"{why}, for a credit of {text} a set"
        why = "; ".join((why, *tools.lister.named.get(structure, ())))
        return self._move(view, structure, why, facts, had_edge=verdict.has_edge)

    def _move(self, view: DeskView, structure: Structure, why: str, facts: Facts, *, had_edge: bool) -> Step:
        """Sell the old legs and buy the new."""
        tools, trade = self.tools, self.trade
        config, orders = tools.config.recentre, tools.config.entry
        seconds = max(config.check_seconds, orders.order_ttl_seconds * (orders.max_attempts + 1))
        until_ns = view.now_ns + int(seconds * NANOS_PER_SECOND)
        old = [leg.option_id for leg in exchanged(trade.structure, structure)[0]]
        move = tools.move(structure, trade.straddles, gone=old, as_one=False)

        def moved(now: DeskView) -> StraddleTrade:
            new = StraddleTrade(now, structure, move.sets, had_edge=had_edge)
            new.first_straddles = trade.first_straddles
            new.begin_holding(now, tools)
            new.sessions_held, new.entry_session = trade.sessions_held, trade.entry_session
            return new

        abandoned = "change of straddles abandoned: a leg could not be"
        late, no_more = f"{abandoned} sold", f"{abandoned} bought"
        state = ChangingState(
            *(tools, trade, "recentring", move, moved), until_ns=until_ns, too_late=late, gave_up=no_more
        )
        return state, move.start(view, (why,), facts)

    # another size -----------------------------------------------------------------------------------

    def _change_size(self, view: DeskView) -> Step:
        """Buy more of the straddle or sell part of it, where its edge has changed enough; else nothing."""
        tools, trade, rule = self.tools, self.trade, self.trade.scale
        if rule is None or not rule.is_due(view.now_ns) or view.mode is not Mode.ACTIVE or view.orders.live:
            return self, ()
        edge, held = tools.edge.left(trade.structure, view, tools.hedger), trade.straddles
        worth = None if edge is None else edge.gross_usd - edge.hedge_cost_usd
        wanted = rule.wanted(view.now_ns, held, worth)
        if wanted == held:
            return self, ()
        facts: Facts = {
            "edge_before_spread_usd": worth or 0.0,
            "first_edge_usd": rule.first_edge_usd or 0.0,
            "straddles_held": held,
        }
        currency = trade.structure.lead.contract.currency
        edges = [money_text(each or 0.0, currency) for each in (worth, rule.first_edge_usd)]
        now = "the edge of one is {} before its spread, {} at first".format(*edges)
        if wanted > held:
            return self._add(view, wanted, now, facts)
        why = f"scale out from {held} to {wanted} straddles: {now}"
        rule.forget()
        facts |= {"straddles_wanted": wanted}
        move = tools.move(trade.structure, wanted)
        state = self._scaling(move, view.now_ns + _SALE_NS)
        return state, move.start(view, (why,), facts)

    def _scaling(self, move: Move, until_ns: int = NEVER_NS) -> "ChangingState":
        tools, trade = self.tools, self.trade

        def scaled(view: DeskView) -> StraddleTrade:
            trade.straddles = move.sets
            found = capital_at_risk(view, trade.structure)
            trade.at_risk = max(trade.at_risk, found, key=lambda risk: risk.amount)
            tools.hedger.resize(move.sets)
            return trade

        return ChangingState(tools, trade, "scaling", move, scaled, until_ns=until_ns)

    def _add(self, view: DeskView, wanted: int, now: str, facts: Facts) -> Step:
        """Buy more of the straddle, if it would be bought afresh and its size leaves room."""
        tools, trade = self.tools, self.trade
        spot, session = view.market.mark(view.underlying), view.session
        closes_ns = 0 if session is None else session.clock_ns(tools.config.entry.not_after)
        if spot is None or not tools.no_more.until_ns <= view.now_ns <= closes_ns:
            return self, ()
        same = [trade.structure]
        selection = tools.selector.select(same, view.market, view.delta_engine, spot, view.now_ns)
        if selection.best is None:
            why_none = f"scale in: {selection.why_none()}"
            return self, tools.refuse(f"scale in: {selection.refused_by}", why_none, facts)
        verdict = tools.edge.judge(selection.best, view, tools.hedger)
        facts = facts | verdict.facts
        if not (verdict.passed and verdict.has_edge):
            reason = "scale in: " + "; ".join(verdict.reasons)
            return self, tools.refuse(f"scale in: {verdict.refused_by}", reason, facts)
        most, sizes, figures = tools.size(selection.best, view, verdict.edge, fixed=wanted)
        wanted, facts = min(wanted, most), facts | figures
        if wanted <= trade.straddles:
            return self, tools.refuse("scale in: size", "scale in: " + "; ".join(sizes), facts)
        why = f"scale in from {trade.straddles} to {wanted} straddles: {now}"
        assert trade.scale is not None
        trade.scale.forget()
        move = tools.move(trade.structure, wanted, walks=True)
        reasons = (why, *sizes, *verdict.reasons)
        facts |= {"straddles_wanted": wanted}
        return self._scaling(move), move.start(view, reasons, facts)


class ChangingState(TradingState):
    """What is held of the trade becomes what is wanted of it; a trade that was whole is hedged meanwhile.

    ``phase``: Its name.
    ``move``: From what is held to what is wanted.
    ``done``: Returns the trade that goes on once it is held.
    ``until_ns``, ``too_late``: By when that is, and why the whole trade is left then.
    ``gave_up``: Why the whole trade is left where an opening is given up; what is whole is kept without.
    """

    def __init__(
        self,
        tools: ScalperTools,
        trade: StraddleTrade,
        phase: str,
        move: Move,
        done: Callable[[DeskView], StraddleTrade],
        *,
        until_ns: int = NEVER_NS,
        too_late: str = "change of size abandoned: the straddle is not whole",
        gave_up: str = "",
    ) -> None:
        super().__init__(tools, trade)
        self.phase = phase
        self.move = move
        self._done = done
        self._until_ns, self._too_late, self._gave_up = until_ns, too_late, gave_up
        self._is_entry = trade.entry_session is None

    def step(self, view: DeskView, wake: Wake, event: Event | None) -> Step:
        """Follow the move until what is wanted is held."""
        tools, session = self.tools, view.session
        if self._is_entry and session is not None and view.now_ns >= tools.leaves_ns(session):
            return self.leave(view, f"{ABANDONED}: the minutes before the close have come")
        is_gone = not (tools.held(view) or self._gave_up)  # between two straddles there may be none
        if not self._is_entry and (is_gone or view.mode is Mode.FLATTENING):
            return HoldingState(tools, self.trade).hold(view)
        status, actions = self.move.step(view)
        if status is MoveStatus.GIVEN_UP:
            return self._give_up(view, wake, event)
        if status is MoveStatus.DONE:
            return self._hold(view, actions)
        if view.now_ns >= self._until_ns:
            return self.leave(view, self._too_late)
        is_moving = any(order.submitted.instrument_id != view.hedge for order in view.orders.live.values())
        if actions or is_moving or self._is_entry:
            return self, actions  # legs are on their way: what is left is hedged once they are through
        return self, tools.hedger.step(view, tools.held(view))

    def _hold(self, view: DeskView, actions: Sequence[Action]) -> Step:
        state, held = HoldingState(self.tools, self._done(view)).hold(view)
        return state, [*actions, *held]

    def _give_up(self, view: DeskView, wake: Wake, event: Event | None) -> Step:
        """Keep the sets that are whole, and sell what is left over; of an entry all, and look again later."""
        tools, structure, quantity = self.tools, self.trade.structure, view.positions.quantity
        sets, entry = structure.sets_held(quantity), tools.config.entry
        if self._gave_up:
            return self.leave(view, self._gave_up)
        if not self._is_entry:
            tools.no_more.fail(view.now_ns)
            self._until_ns = view.now_ns + _SALE_NS
            self.move.end_at(view, "change of size: sell what is left over", sets)
            return self.step(view, wake, event)
        if sets > 0 and structure.is_whole(quantity):
            why = f"{sets} of {self.trade.straddles} straddles could be bought"
            if not structure.is_straddle:
                why = f"{sets} of {self.trade.straddles} sets could be opened"
            self.move.sets = sets
            return self._hold(view, [Proposal(DecisionKind.ENTRY, (why,), {"straddles": sets})])
        if tools.held(view):
            return self.leave(view, f"{ABANDONED}: one leg could not be bought")
        why = f"{ABANDONED}: nothing was filled"
        if tools.manner.deadline is not None and not entry.again_after_exit:
            closed = Proposal(DecisionKind.ENTRY, (why, CLOSED))
            return DoneState(tools, self.start), (closed,)
        until_ns = tools.abandoned.fail(view.now_ns)
        wait_s = (until_ns - view.now_ns) / NANOS_PER_SECOND
        return WaitingState(tools, self.start), (
            Proposal(DecisionKind.ENTRY, (why, f"looks again in {wait_s:g} s"), {AGAIN_IN: wait_s}),
            SetTimer(f"{tools.manner.label}: after an abandoned entry", until_ns),
        )


class LeavingState(State):
    """Options first, then the hedge, which is never flattened while options are held."""

    def __init__(
        self, tools: ScalperTools, start: TradeStart, trade: StraddleTrade | None, rests_in: State | None
    ) -> None:
        super().__init__(tools, start)
        entry = tools.config.entry
        structure = None if trade is None or trade.is_adopted else trade.structure
        has_sold = structure is not None and not structure.all_bought
        self.at_risk = NOT_KNOWN if trade is None else trade.at_risk
        self.entered = trade is not None and trade.entry_session is not None
        """Whether a whole straddle was held: after it ``entry.again_after_exit`` decides."""
        self.rests_in = rests_in
        """The state to go back to, where a late trade is cleared up."""
        self.liquidation = Liquidation(
            tools.hedger,
            retry_seconds=tools.manner.retry_seconds or entry.order_ttl_seconds,
            alert_after=tools.manner.alert_after,
            timer=f"{tools.manner.label}: exit again",
            leg_orders=entry.orders,
            limits_only=has_sold,  # one order has one type, and a quote may be too old for the market
            walks=True,
        )
        self.liquidation.ratios = {} if structure is None else structure.ratios

    def step(self, view: DeskView, wake: Wake, event: Event | None) -> Step:
        """Get rid of the options, then of their hedge."""
        del wake
        return self.sell(view, event)

    def sell(self, view: DeskView, event: Event | None) -> Step:
        """Return the next orders; once flat wait for the next entry where one is allowed, else stop."""
        legs, tools, liquidation = self.tools.held(view), self.tools, self.liquidation
        tools.owns_shares = tools.owns_shares or bool(legs)
        refused = liquidation.note_refused(view, event)
        if refused:
            return self, refused
        if not legs and not tools.owns_shares:  # nothing was ever held: shares, if any, are somebody's
            taken_off = list(liquidation.take_off(view))
            return self if view.orders.live else self._next(view), taken_off
        facts = self.at_risk.facts()
        if tools.manner.has_figures:
            facts = Facts(pnl_usd=float(view.trade_pnl(self.start))) | facts
        actions = liquidation.step(view, legs, facts)
        if actions or not liquidation.is_flat(view, legs):
            return self, actions
        tools.owns_shares, after = not tools.adopts, self._next(view)
        if self.entered:
            tools.again_ns = view.now_ns + int(tools.config.entry.again_minutes * MINUTE_NS)
        reasons = [f"flat: {liquidation.why}"]
        if isinstance(after, DoneState) and tools.manner.deadline is not None:
            reasons.append(CLOSED)
        hedges: Facts = {} if tools.watch is None else tools.watch.meter.totals.facts()
        facts = hedges | {"pnl_usd": float(view.trade_pnl(self.start))}
        return after, (Proposal(DecisionKind.EXIT, tuple(reasons), facts),)

    def _next(self, view: DeskView) -> State:
        """Return the state after the exit: waiting for another entry, or done."""
        tools, entry = self.tools, self.tools.config.entry
        if self.rests_in is not None:
            return self.rests_in
        again = entry.again_after_exit or not (self.entered or tools.manner.deadline is not None)
        may_hold = view.mode is Mode.ACTIVE and not tools.must_leave(view)
        return (WaitingState if again and may_hold else DoneState)(tools, self.start)
