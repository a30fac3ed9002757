"""The gamma scalper's trade in a straddle, and what all of its states work with."""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.closing.leg import Tactics
from scalpdesk.core.backoff import BackOff
from scalpdesk.core.enums import Mode
from scalpdesk.core.intents import LegOrders, SetTimer
from scalpdesk.core.units import NEVER_NS, ZERO, InstrumentId, exact, money_text
from scalpdesk.entry.edge_gate import Edge, GatePasses
from scalpdesk.entry.selector import Candidate, Selection, StructureSelector
from scalpdesk.entry.shapes import STRADDLE, QuotedChain, ShapeLister
from scalpdesk.hedging.base import HedgeBand
from scalpdesk.hedging.delta_models import DeltaModel
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import Session, expiry_instant_ns, final_close_ns, to_new_york
from scalpdesk.instruments.structure import Structure, StructureLeg, bounds_of, least_worth
from scalpdesk.margin.holdings import Holding
from scalpdesk.marketdata.triggers import PriceMove
from scalpdesk.portfolio.stress import StressLine, worths_of_day
from scalpdesk.strategies.contract import Action, DeskView, Facts, TradeStart
from scalpdesk.strategies.gamma_scalper.config import GammaScalperConfig
from scalpdesk.strategies.gamma_scalper.edge import StraddleEdge, option_fees
from scalpdesk.strategies.gamma_scalper.horizon import days_a_year
from scalpdesk.strategies.toolkit.exits import (
    RISK_HALT,
    Basis,
    ExitConfig,
    ExitRule,
    PositionView,
    StopLoss,
    first_reason,
    minutes_before,
    quiet_of,
    shown,
    stops,
    structure_rules,
)
from scalpdesk.strategies.toolkit.hedger import DeltaHedger
from scalpdesk.strategies.toolkit.order_life import ReportOnce, surplus_cancels
from scalpdesk.strategies.toolkit.pursuit import Move
from scalpdesk.strategies.toolkit.quiet import USUAL, Quiet, QuietPosition, spare_calls
from scalpdesk.strategies.toolkit.resume import cost_of, held_of
from scalpdesk.strategies.toolkit.sizing import ScaleRule, structure_size
from scalpdesk.strategies.toolkit.watch import PositionWatch

_EDGE_SECONDS = 60.0
"""Between two looks at the edge of a held straddle."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 30.0, 600.0
"""After an abandoned entry: its cause (the risk gate, a thin market) seldom passes within seconds."""


class Manner(NamedTuple):
    """Names and words of a scalper's timers and decisions."""

    label: str = "gamma-scalper"
    """Begins the names of its timers."""
    gone: str = "the options are gone (expired or settled)"
    """Reason to leave where no option of the trade is held any more."""
    has_figures: bool = True
    """Whether a refusal has the counts of its filters, and an exit order the P&L so far."""
    deadline: Callable[[DeskView, Iterable[OptionContract]], int] | None = None
    """By when to be out of options that trade last in the session, UTC nanoseconds, whatever the state of the
    trade. They alone are traded then, whatever their date: other options of the account are left alone, and
    what is left of an earlier session's trade is closed at the open. Entries are tried again where what
    refused one may pass, the first hedge waits for no time since the last, and none is sent on a leg whose
    latest quote is absent, crossed or no number. None: options of any expiry are traded.
    """
    retry_seconds: float | None = None
    """Age at which an exit order that is not filled gets a new price; None is ``entry.order_ttl_seconds``."""
    alert_after: int = 3
    """So many tries of one leg that came to nothing are an alert."""


OWN_MANNER = Manner()


class _AtRisk(NamedTuple):
    """Capital at risk, of which stops and targets are fractions."""

    amount: Decimal
    """Currency."""
    basis: Basis
    most_loss: Decimal | None = None
    """What can be lost at all, in currency; None without a bound."""

    def facts(self) -> Facts:
        """Return it for the record of an exit; nothing while it is not known."""
        return {"at_risk_usd": float(self.amount), "at_risk_is": str(self.basis)} if self.amount else {}


NOT_KNOWN = _AtRisk(ZERO, Basis.PREMIUM)


class ScalperTools:
    """Tools of all states: settings, chain, edge, hedger, and pauses that outlive a trade.

    ``config``: The trader's settings.
    ``band``: Hedge band; None for that of the settings.
    ``manner``: Names and words.
    """

    def __init__(
        self, config: GammaScalperConfig, band: HedgeBand | None = None, manner: Manner = OWN_MANNER
    ) -> None:
        self.config = config
        self.manner = manner
        self.trigger: PriceMove | None = None
        """Calls the strategy, where it may be told which calls are spared."""
        self.adopts = config.mode in ("adopt", "adopt_only")
        """Whether any options that are held are its position."""
        self.owns_shares = not self.adopts
        """Whether shares that are held are its hedge."""
        self.lister = ShapeLister(config.structure)
        shape = self.lister.shape
        self.name = shape.name.replace("_", " ")
        self.selector = StructureSelector(
            config.selection,
            config.straddles,
            max_delta_shares=config.entry.max_straddle_delta,
            shape=shape,
        )
        self.edge = StraddleEdge(config.entry, config.straddles, is_neutral=shape.is_neutral)
        hedge = config.hedge
        self.hedger = DeltaHedger(
            hedge.make_band() if band is None else band,
            DeltaModel(hedge.delta_vol, hedge.fixed_vol, hedge.delta_model, hedge.minimum_variance),
            least_fraction=hedge.least_fraction,
            order_ttl_seconds=hedge.order_ttl_seconds,
            passive_seconds=hedge.passive_seconds,
            forecast_vol=self.edge.horizon.vol,
            strict_quotes=manner.deadline is not None,
        )
        self.watch = PositionWatch(config.watch) if config.watch.is_on or manner.deadline else None
        """Watch over the position; None where nothing is to be reported."""
        self.is_watched = config.watch.asks_looks
        """Whether its figures are taken at every look."""
        self.deadline_ns: int | None = None
        """By when to be out in this session, UTC nanoseconds; None without a deadline."""
        self.entries = 0
        """Entries of this session that were filled."""
        self.again_ns = 0
        """No entry before this instant, after an exit."""
        self._listed: Sequence[tuple[InstrumentId, OptionContract]] = ()
        self.options: frozenset[InstrumentId] = frozenset()
        self.partners: dict[InstrumentId, InstrumentId] = {}
        """The other option of an option's root, expiry and strike."""
        self.abandoned = BackOff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        self.no_more = BackOff(300.0, 3_600.0)
        """After straddles that could not be added."""
        self.edge_looks = GatePasses(1, _EDGE_SECONDS)
        self.strike_looks = GatePasses(1, config.recentre.check_seconds)
        """When the straddle is compared with the straddle at the money again."""
        self._refusals = ReportOnce()

    def learn(self, options: Sequence[tuple[InstrumentId, OptionContract]], view: DeskView) -> None:
        """Note the options of the underlying."""
        self._listed = options
        self._trade_in(options)
        for pair in STRADDLE.at(options):
            call, put = pair.option_ids
            self.partners |= {call: put, put: call}
        if self.config.entry.asks_edge or self.config.recentre.gamma_fraction is not None:
            self.edge.learn(options, view)

    def _trade_in(self, options: Sequence[tuple[InstrumentId, OptionContract]]) -> None:
        self.options = frozenset(number for number, _ in options)
        self.lister.learn(options)

    def begin_session(self, view: DeskView) -> Sequence[Action]:
        """Find the options of the day and by when to be out of them."""
        session, deadline = view.session, self.manner.deadline
        assert session is not None
        self.entries = self.again_ns = 0
        self._refusals.forget()  # each session says anew why it opens nothing
        if self.config.entry.again_next_session:
            self.abandoned.succeed()
            self.no_more.succeed()
        expiring = []
        if deadline is not None:
            expiring = sorted(
                (number, contract)
                for number, contract in self._listed
                if session.open_ns < final_close_ns(contract) <= session.close_ns
            )
            self._trade_in(expiring)
        if self.watch is not None:
            self.watch.begin(view.begin_trade((*self.options, view.hedge)))
        self.deadline_ns = None
        if deadline is None or not expiring:
            return ()
        self.deadline_ns = deadline(view, [contract for _, contract in expiring])
        return (SetTimer(f"{self.manner.label}: deadline", self.deadline_ns),)

    def must_leave(self, view: DeskView) -> str:
        """Return why nothing may be held now, whatever the state of a trade; empty where it may."""
        if self.deadline_ns is not None and view.now_ns >= self.deadline_ns:
            return f"deadline {to_new_york(self.deadline_ns):%H:%M:%S} New York"
        return RISK_HALT if view.mode is Mode.FLATTENING else ""

    def may_enter(self, now_ns: int) -> bool:
        """Return whether another entry of this session is allowed now."""
        most = self.config.entry.max_entries
        is_early = self.deadline_ns is None or now_ns < self.deadline_ns
        return is_early and now_ns >= self.again_ns and (most is None or self.entries < most)

    def spare(self, view: DeskView, quiet: QuietPosition | None) -> None:
        """Let the trigger pass over the calls that would find nothing due."""
        if self.trigger is None or quiet is None or view.session is None:
            return
        until_ns = NEVER_NS if self.deadline_ns is None else self.deadline_ns
        if self.config.exits.edge_gone:
            until_ns = min(until_ns, self.edge_looks.due_ns)
        spare_calls(self.trigger, view, quiet, until_ns)

    def hedge(self, view: DeskView, legs: Sequence[InstrumentId]) -> list[Action]:
        """Take off what would add to the position, and hedge it."""
        if self.watch is None:
            return [*surplus_cancels(view), *self.hedger.step(view, legs)]
        return self.watch.hedge(view, legs, self.hedger)

    @property
    def usual(self) -> tuple[int, float]:
        """Until when, and to what multiple of the band's half width, no net delta is unusual."""
        return USUAL if self.watch is None else self.watch.usual

    def structures(self, view: DeskView) -> Sequence[Structure]:
        """Return the structures that could be traded now."""
        selection, today = self.config.selection, to_new_york(view.now_ns).date()
        days = (
            today + timedelta(days=selection.min_expiration_days),
            today + timedelta(days=selection.max_expiration_days),
        )
        chain = QuotedChain(view.market, view.delta_engine, view.now_ns, selection.min_open_interest)
        return self.lister.list_now(chain, view.now_ns, days)

    def why_none(self, selection: Selection) -> str:
        """Return why no structure is traded, in one sentence."""
        return "; ".join(filter(None, (selection.why_none(), self.lister.unmet)))

    def held(self, view: DeskView) -> list[InstrumentId]:
        """Return the options held, in the order of their first trade."""
        return held_of(view, self.options)

    def leaves_ns(self, session: Session) -> int:
        """Return when a session's minutes before the close begin, in which everything is left."""
        return minutes_before(session.close_ns, self.config.exits.flat_minutes_before_close or 0.0)

    def refuse(self, refused_by: str, reason: str, facts: Facts) -> list[Action]:
        """Report a refusal when another thing refuses than before: the figures change at every look."""
        return self._refusals.report(refused_by, (reason,), facts if self.manner.has_figures else {})

    def ex_dividends_ns(self, view: DeskView) -> tuple[int, ...]:
        """Return when the underlying goes ex, where a rule asks for it."""
        if not self.config.exits.before_event:
            return ()
        return tuple(item.ts_ex_ns for item in view.market.dividends if item.instrument_id == view.underlying)

    def move(
        self,
        structure: Structure,
        sets: int,
        *,
        gone: Sequence[InstrumentId] = (),
        as_one: bool = True,
        walks: bool = False,
    ) -> Move:
        """Return the move to so many sets of a structure; with ``walks`` it opens from the mid on."""
        entry = self.config.entry
        ttl, steps = entry.order_ttl_seconds, entry.walk_steps if walks else 0
        tactics = Tactics(
            retry_seconds=ttl,
            pause_seconds=ttl,
            opening_pause_seconds=ttl if self.manner.deadline else 0.0,
            max_tries=entry.max_attempts + steps + 1,
            walks=True,
        )
        return Move(
            structure,
            sets,
            gone,
            tactics,
            rest_seconds=steps * ttl,
            timer=f"{self.manner.label}: entry" if self.manner.deadline else "",
            leg_orders=entry.orders if as_one else LegOrders.LEGS,
            name=self.name,
        )

    def size(
        self, best: Candidate, view: DeskView, edge: Edge | None, fixed: int | None = None
    ) -> tuple[int, tuple[str, ...], Facts]:
        """Return how many straddles to hold, in words and figures; ``fixed`` is wanted of a fixed size."""
        config = self.config
        if config.sizing == "fixed" and fixed is None:
            return config.straddles, (), {}
        equity, risk = float(view.nav), self.edge.risk_of(best, view, edge)
        found = structure_size(
            config.sizing,
            equity,
            risk,
            fixed=fixed or 1,
            config=config.size,
            k_stderr=config.entry.k_stderr,
            buying_power=equity,
        )
        name = config.sizing.replace("_", " ")
        why = f"size: {found.straddles} straddles by {name} ({found.raw:.2f}), bound by {found.bound_by}"
        if not found.straddles:
            premium = money_text(risk.premium, best.structure.lead.contract.currency)
            why = f"size: one straddle of {premium} is too many by {name} ({found.raw:.2f})"
            why += "" if found.bound_by == "size" else f", bound by {found.bound_by}"
        figures: Facts = {
            "size_raw": found.raw,
            "size_bound_by": found.bound_by,
            "premium_usd": risk.premium,
            "vega_usd_per_point": risk.vega,
            "theta_usd_per_session": risk.theta,
            "pnl_sd_usd": risk.pnl_sd,
            "stress_usd": risk.stress,
        }
        return found.straddles, (why,), figures


class StraddleTrade:
    """A structure from the decision to open it until it is closed."""

    def __init__(self, view: DeskView, structure: Structure, straddles: int, *, had_edge: bool) -> None:
        self.structure = structure
        self.start = view.begin_trade((*structure.option_ids, view.hedge))
        self.expires_ns = min(expiry_instant_ns(leg.contract) for leg in structure.legs)
        self.straddles = straddles
        """Straddles to hold: fewer than configured once the risk gate has cut the entry."""
        self.first_straddles = straddles
        """Those bought first: what a change of size or of straddles leaves as it is."""
        self.is_adopted = False
        """Whether it was taken over as it was held, whatever its legs."""
        self.sides: list[TradeSide] = []
        """Calls and puts, where each has a stop of its own."""
        self.is_of_shape = True
        """Whether it has the shape of the settings, and may be moved, rolled or resized."""
        self.had_edge = had_edge
        """Whether the gate saw an edge at entry; of a straddle taken over it is supposed."""
        self.entry_vols: dict[InstrumentId, float] = {}
        self.entry_session: date | None = None
        """None until the straddle is whole."""
        self.sessions_held = 0
        self.at_risk = NOT_KNOWN
        self.exits: Sequence[ExitRule[PositionView]] = ()
        self.scale: ScaleRule | None = None

    def begin_holding(self, view: DeskView, tools: ScalperTools) -> None:
        """Note that the straddle is whole, and what its exits, its size and its hedges go by."""
        assert view.session is not None
        config = tools.config
        tools.abandoned.succeed()
        tools.owns_shares = True
        self.entry_session = view.session.day
        self.at_risk = NOT_KNOWN
        self.measure(view)
        for leg in self.structure.option_ids:
            if leg not in self.entry_vols:
                valuation = view.delta_engine.state(leg, view.now_ns)
                self.entry_vols[leg] = valuation.vol if valuation is not None else 0.0
        since_ns = None if tools.manner.deadline else view.now_ns
        tools.hedger.begin(since_ns, entry_vols=self.entry_vols, sets=self.straddles)
        self.sides = _sides_of(self.structure, self.start, config.exits)
        self.exits = structure_rules(config.exits, had_edge=self.had_edge)
        if config.scale.max_multiple is not None:
            self.scale = ScaleRule(config.scale, self.straddles, self.first_straddles)

    def measure(self, view: DeskView) -> None:
        """Note the capital at risk once its options have values."""
        if self.at_risk is NOT_KNOWN:
            self.at_risk = capital_at_risk(view, self.structure)

    def regroup(self, view: DeskView, tools: ScalperTools, legs: Sequence[InstrumentId]) -> None:
        """Go on with what is held, where that is other legs or in other ratios."""
        if set(legs) == set(self.structure.option_ids) and self.structure.is_whole(view.positions.quantity):
            return
        self.structure = structure_held(view, legs)
        self.straddles = self.structure.sets_held(view.positions.quantity)
        self.is_adopted, self.is_of_shape = True, False
        self.at_risk = NOT_KNOWN
        self.sides = _sides_of(self.structure, self.start, tools.config.exits)
        tools.hedger.resize(self.straddles)

    def stopped_side(self, view: DeskView) -> "tuple[TradeSide, str] | None":
        """Return a side whose own stop says to close it, with the reason."""
        for side in self.sides:
            reason = side.reason(view)
            if reason is not None:
                return side, reason
        return None

    def without(self, side: "TradeSide") -> "StraddleTrade":
        """Go on without a side that was closed: the P&L and what it is measured by stay the whole trade's."""
        rest = [leg for leg in self.structure.legs if leg.option_id not in side.structure.ratios]
        self.structure = Structure(tuple(rest))
        self.sides = [each for each in self.sides if each is not side]
        self.is_of_shape = False
        return self

    def begin_session(self, day: date) -> None:
        """Count a night held, and restart the counts of a change of size."""
        if self.scale is not None:
            self.scale.forget()
        if self.entry_session is not None and self.entry_session != day:
            self.sessions_held += 1


class TradeSide:
    """The calls of a structure, or its puts, with a stop of their own.

    ``name``: ``calls`` or ``puts``.
    ``structure``: Its legs.
    ``start``: From which its P&L counts.
    ``rules``: Its stops.
    """

    def __init__(self, name: str, structure: Structure, start: TradeStart, rules: Sequence[StopLoss]) -> None:
        self.name = name
        self.structure = structure
        self.at_risk = NOT_KNOWN
        self._start = start
        self._stops = rules
        self.quiet: Quiet | None = None
        self.pnl_then = 0.0
        """``quiet``, ``pnl_then``: Where its stops have no reason, and its P&L, as of the last look."""

    def pnl(self, view: DeskView) -> Decimal:
        """Return the P&L of its options, without a hedge, in currency."""
        return view.trade_pnl(self._start)

    def reason(self, view: DeskView) -> str | None:
        """Return why to close it now, or None."""
        pnl = self.pnl(view)
        quoted_ns, most_pnl = shown(view, self.structure.option_ids, pnl)
        if self.at_risk is NOT_KNOWN:
            self.at_risk = capital_at_risk(view, self.structure)
        seen = PositionView(
            now_ns=view.now_ns,
            session=view.session,
            mode=view.mode,
            expiry=self.structure.first_expiry,
            premium_paid=self.at_risk.amount,
            basis=self.at_risk.basis,
            most_loss=self.at_risk.most_loss,
            pnl=pnl,
            most_pnl=most_pnl,
            currency=self.structure.lead.contract.currency,
            quoted_ns=quoted_ns,
        )
        found, self.quiet = first_reason(self._stops, seen), quiet_of(self._stops, seen)
        self.pnl_then = float(pnl)
        return None if found is None else f"{self.name} alone, {found}"


def _sides_of(structure: Structure, start: TradeStart, config: ExitConfig) -> list[TradeSide]:
    """Return the sides of a structure that have stops of their own; none of options of one right."""
    if config.side_credit_multiple is None and config.side_premium_fraction is None:
        return []
    calls = tuple(leg for leg in structure.legs if leg.contract.is_call)
    puts = tuple(leg for leg in structure.legs if not leg.contract.is_call)
    found = []
    for name, legs in (("calls", calls), ("puts", puts)):
        if not calls or not puts:
            continue
        side = Structure(legs)
        earned = {leg: start.earned.get(leg, ZERO) for leg in side.option_ids}
        rules = stops(config.side_premium_fraction, config.side_credit_multiple)
        found.append(TradeSide(name, side, TradeStart(earned), rules))
    return found


def capital_at_risk(view: DeskView, structure: Structure) -> _AtRisk:
    """Return what stops and targets of a structure that is held go by; not known while a leg has no value.

    The premium, where no more than it can be lost in a day of four deviations; the credit, where it is
    most of what can be gained then or more than can be lost; else the largest loss then. Never more than can
    be lost at all: where every sold option stands against a bought one, that counts in place of the day's
    loss, and in place of a premium or a credit that is not it.
    """
    paid = cost_of(view, structure.option_ids)
    if structure.all_bought:
        return _AtRisk(paid, Basis.PREMIUM)
    held = [(leg.contract, float(view.positions.quantity(leg.option_id))) for leg in structure.legs]
    least, is_covered = least_worth(held), bounds_of(held).is_covered
    most_loss = None if least is None else max(paid - exact(least, 8), ZERO)
    lines: list[StressLine] = []
    for leg, contract, _ in structure.legs:
        state = view.delta_engine.state(leg, view.now_ns)
        if state is None:
            return NOT_KNOWN
        holding = Holding(contract, view.positions.quantity(leg), exact(state.mark))
        lines.append(StressLine(holding, contract.underlying, 1.0, state))
    worths = worths_of_day(lines, days_a_year(view))
    loss, gain = paid - min(worths), max(worths) - paid
    if most_loss is not None and is_covered and (paid > 0 or -paid > most_loss):
        # a broken wing loses more than its premium, an iron fly at the money less than its credit
        amount, basis = most_loss, Basis.BOUND if paid > 0 else Basis.LESSER
        basis = Basis.PREMIUM if paid == most_loss else basis
    elif paid > 0 and paid >= loss:
        amount, basis = paid, Basis.PREMIUM
    elif paid < 0 and (-2 * paid >= gain or -paid >= loss):
        amount, basis = -paid, Basis.CREDIT
    else:
        amount, basis = loss, Basis.LOSS
    return _AtRisk(amount if most_loss is None else min(amount, most_loss), basis, most_loss)


def sold_delta(view: DeskView, structure: Structure) -> float:
    """Return the largest delta, by size, of the legs that are sold; 0 where no leg is, or none is valued."""
    states = [view.delta_engine.state(leg.option_id, view.now_ns) for leg in structure.legs if leg.ratio < 0]
    return max((abs(each.greeks.delta) for each in states if each is not None), default=0.0)


def roll_credit(
    view: DeskView, closed: Sequence[StructureLeg], opened: Sequence[StructureLeg]
) -> float | None:
    """Return what exchanging legs brings a set, spreads and fees paid, in currency; None without a quote."""
    total, trades = 0.0, [(leg, -leg.ratio) for leg in closed] + [(leg, leg.ratio) for leg in opened]
    for leg, quantity in trades:
        quote = view.market.quotes[leg.option_id]
        if quote is None or not quote.ask > 0.0:
            return None
        price = quote.ask if quantity > 0 else quote.bid
        total -= leg.contract.multiplier * quantity * price
    fees = [option_fees(view, Structure(tuple(legs))) for legs in (closed, opened)]
    return total - sum(fees) * opened[0].contract.multiplier


def structure_held(view: DeskView, legs: Sequence[InstrumentId]) -> Structure:
    """Return what is held of some options as a structure, in the largest number of equal sets."""
    held = {leg: int(view.positions.quantity(leg)) or 1 for leg in legs}
    sets = math.gcd(*held.values())
    made = []
    for leg, quantity in held.items():
        contract = view.instruments[leg]
        assert contract.is_option
        made.append(StructureLeg(leg, contract, quantity // sets))
    return Structure(tuple(made))
