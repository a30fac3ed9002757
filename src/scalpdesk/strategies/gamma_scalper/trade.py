"""The gamma scalper's trade in a straddle, and what all of its states work with."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from scalpdesk.core.backoff import BackOff
from scalpdesk.core.intents import LegOrders
from scalpdesk.core.units import ZERO, InstrumentId, money_text
from scalpdesk.entry.edge_gate import GatePasses
from scalpdesk.entry.meta_model import read_meta_model
from scalpdesk.entry.shapes import STRADDLE, QuotedChain, ShapeLister
from scalpdesk.entry.straddle_selector import Candidate, StraddleSelector
from scalpdesk.hedging.delta_models import DeltaModel
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import Session, expiry_instant_ns, to_new_york
from scalpdesk.instruments.structure import Structure
from scalpdesk.strategies.contract import Action, DeskView, Facts, Proposal
from scalpdesk.strategies.gamma_scalper.config import GammaScalperConfig
from scalpdesk.strategies.gamma_scalper.edge import StraddleEdge
from scalpdesk.strategies.toolkit.entry_legs import LegEntry
from scalpdesk.strategies.toolkit.exits import ExitRule, StraddleView, minutes_before, straddle_rules
from scalpdesk.strategies.toolkit.hedger import DeltaHedger
from scalpdesk.strategies.toolkit.liquidation import Liquidation
from scalpdesk.strategies.toolkit.order_life import ReportOnce, without_figures
from scalpdesk.strategies.toolkit.resume import cost_of, held_of
from scalpdesk.strategies.toolkit.sizing import ScaleRule, straddle_size

EDGE_SECONDS = 60.0
"""Between two looks at the edge of a held straddle."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 30.0, 600.0
"""After an abandoned entry: its cause (the risk gate, a thin market) seldom passes within seconds."""


class ScalperTools:
    """Tools of all states: settings, chain, edge, hedger, and pauses that outlive a trade."""

    def __init__(self, config: GammaScalperConfig) -> None:
        self.config = config
        self.lister = ShapeLister(config.structure)
        shape = self.lister.shape
        self.name = shape.name.replace("_", " ")
        self.selector = StraddleSelector(
            config.selection,
            config.straddles,
            max_delta_shares=config.entry.max_straddle_delta,
            shape=shape,
        )
        self.edge = StraddleEdge(config.entry, config.straddles, is_neutral=shape.is_neutral)
        path = config.entry.meta_model
        self.meta = read_meta_model(Path(path), "gamma-scalper") if isinstance(path, str) else None
        """Model that takes or leaves an entry; None unless one is set."""
        hedge = config.hedge
        self.hedger = DeltaHedger(
            hedge.make_band(),
            DeltaModel(hedge.delta_vol, hedge.fixed_vol, hedge.delta_model, hedge.minimum_variance),
            least_fraction=hedge.least_fraction,
            order_ttl_seconds=hedge.order_ttl_seconds,
            passive_seconds=hedge.passive_seconds,
            forecast_vol=self.edge.horizon.vol,
        )
        self.options: frozenset[InstrumentId] = frozenset()
        self.partners: dict[InstrumentId, InstrumentId] = {}
        """The other option of an option's root, expiry and strike."""
        self.abandoned = BackOff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self.no_more = BackOff(300.0, 3_600.0)
        """After straddles that could not be added."""
        self.edge_looks = GatePasses(1, EDGE_SECONDS)
        self.strike_looks = GatePasses(1, config.recentre.check_seconds)
        """When the straddle is compared with the straddle at the money again."""
        self._refusals = ReportOnce()

    def learn(self, options: Sequence[tuple[InstrumentId, OptionContract]], view: DeskView) -> None:
        """Note the options of the underlying."""
        self.options = frozenset(number for number, _ in options)
        for pair in STRADDLE.at(options):
            call, put = pair.option_ids
            self.partners |= {call: put, put: call}
        self.lister.learn(options)
        self.edge.learn(options, view)

    def structures(self, view: DeskView) -> Sequence[Structure]:
        """Return the structures that could be traded now."""
        selection, today = self.config.selection, to_new_york(view.now_ns).date()
        days = (
            today + timedelta(days=selection.min_expiration_days),
            today + timedelta(days=selection.max_expiration_days),
        )
        chain = QuotedChain(view.market, view.delta_engine, view.now_ns, selection.min_open_interest)
        return self.lister.list_now(chain, view.now_ns, days)

    def held(self, view: DeskView) -> list[InstrumentId]:
        """Return the options held, in the order of their first trade."""
        return held_of(view, self.options)

    def leaves_ns(self, session: Session) -> int:
        """Return when a session's minutes before the close begin, in which everything is left."""
        return minutes_before(session.close_ns, self.config.exits.flat_minutes_before_close or 0.0)

    def refuse(self, reason: str, facts: Facts) -> list[Action]:
        """Report a refusal when its kind changes."""
        return self._refusals.report(without_figures(reason), (reason,), facts)

    def ex_dividends_ns(self, view: DeskView) -> tuple[int, ...]:
        """Return when the underlying goes ex, where a rule asks for it."""
        if not self.config.exits.before_event:
            return ()
        return tuple(item.ts_ex_ns for item in view.market.dividends if item.instrument_id == view.underlying)

    def leg_entry(self, structure: Structure, straddles: int, *, walks: bool = False) -> LegEntry:
        """Return an entry at the ask, or with ``walks`` from the mid to there and as one order."""
        entry = self.config.entry
        return LegEntry(
            structure,
            straddles,
            ttl_seconds=entry.order_ttl_seconds,
            max_attempts=entry.max_attempts,
            leg_orders=entry.orders if walks else LegOrders.LEGS,
            walk_steps=entry.walk_steps if walks else 0,
            name=self.name,
        )

    def leg_sale(
        self, view: DeskView, structure: Structure, why: str, leg_orders: LegOrders = LegOrders.LEGS
    ) -> Liquidation:
        """Begin to close legs while the strategy stays."""
        seconds = self.config.entry.order_ttl_seconds
        sale = Liquidation(None, retry_seconds=seconds, timer="", step="", leg_orders=leg_orders)
        sale.ratios = structure.ratios
        sale.begin(view.now_ns, why)
        return sale

    def size(
        self, best: Candidate, view: DeskView, facts: Facts, fixed: int | None = None
    ) -> tuple[int, tuple[str, ...], Facts]:
        """Return how many straddles to hold, in words and figures; ``fixed`` is wanted of a fixed size."""
        config = self.config
        if config.sizing == "fixed" and fixed is None:
            return config.straddles, (), {}
        equity, risk = float(view.nav), self.edge.risk_of(best, view, facts)
        found = straddle_size(
            config.sizing, equity, risk, fixed=fixed or 1, config=config.size, buying_power=equity
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
        self.had_edge = had_edge
        """Whether the gate saw an edge at entry; of a straddle taken over it is supposed."""
        self.entry_vols: dict[InstrumentId, float] = {}
        self.entry_session: date | None = None
        """None until the straddle is whole."""
        self.sessions_held = 0
        self.premium = ZERO
        """Cost of the sets, currency; below zero where they were sold for a credit."""
        self.exits: Sequence[ExitRule[StraddleView]] = ()
        self.scale: ScaleRule | None = None

    def begin_holding(self, view: DeskView, tools: ScalperTools) -> None:
        """Note that the straddle is whole, and what its exits, its size and its hedges go by."""
        assert view.session is not None
        config = tools.config
        tools.abandoned.succeed()
        self.entry_session = view.session.day
        self.premium = cost_of(view, self.structure.option_ids)
        for leg in self.structure.option_ids:
            if leg not in self.entry_vols:
                valuation = view.delta_engine.state(leg, view.now_ns)
                self.entry_vols[leg] = valuation.vol if valuation is not None else 0.0
        tools.hedger.begin(view.now_ns, entry_vols=self.entry_vols, sets=self.straddles)
        self.exits = straddle_rules(config.exits, had_edge=self.had_edge, is_credit=self.premium < 0)
        if config.scale.max_multiple is not None:
            self.scale = ScaleRule(config.scale, self.straddles, self.first_straddles)

    def begin_session(self, day: date) -> None:
        """Count a night held, and restart the counts of a change of size."""
        if self.scale is not None:
            self.scale.forget()
        if self.entry_session is not None and self.entry_session != day:
            self.sessions_held += 1

    def sell(
        self, view: DeskView, sale: Liquidation, facts: Facts | None = None, keep: int = 0
    ) -> list[Action]:
        """Return orders for what is held of the straddle beyond ``keep`` and not on sale yet."""
        missing = self.structure.missing(keep, view.positions.quantity)
        over = {leg: -quantity for leg, quantity in missing.items()}
        ratios = self.structure.ratios
        legs = [leg for leg in over if over[leg] * ratios[leg] > 0]
        # without its timer: the next wake sells on, and hedges at its own time
        return [item for item in sale.step(view, legs, facts, over) if isinstance(item, Proposal)]
