"""The 0DTE gamma scalper: hedge the options that expire today, and be out before the venue closes them.

The options are those that the account holds, or a straddle bought when asked for. Every wake reads
the book afresh: a rejected, partial or late order delays the strategy and does not wedge it. From the
deadline on it only leaves; what a late fill or a broken trade brings back is left again.
"""

from collections.abc import Sequence
from datetime import date, time, timedelta
from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from scalpdesk.core.backoff import BackOff
from scalpdesk.core.bounds import BoundedSettings, at_least, time_of_day
from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.errors import ConfigError, nearest_name
from scalpdesk.core.events import Event, OrderFilled, OrderNotFound, OrderRejected
from scalpdesk.core.intents import LegOrders, OrderIntent, SetTimer
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.entry.shapes import QuotedChain, ShapeLister, StructureConfig
from scalpdesk.entry.straddle_selector import MAX_STRADDLE_DELTA, SelectionConfig, StraddleSelector
from scalpdesk.hedging.bands.regime_threshold import RegimeThresholdBand, RegimeThresholdConfig
from scalpdesk.hedging.base import HedgeBand, make_band
from scalpdesk.hedging.delta_models import DeltaModel
from scalpdesk.instruments.contract import OptionContract, options_in_order
from scalpdesk.instruments.deadlines import (
    BUFFER_MINUTES,
    EXIT_MINUTES,
    contract_deadline_ns,
    cutoff_names,
    venue_cutoff,
)
from scalpdesk.instruments.sessions import REGULAR_CLOSE, final_close_ns, to_new_york
from scalpdesk.instruments.structure import Structure
from scalpdesk.marketdata.triggers import Trigger, Wake
from scalpdesk.strategies.contract import (
    Action,
    Beta,
    DeskView,
    Facts,
    HedgeTerms,
    Proposal,
    StrategySpec,
    TradeStart,
    traded_symbol,
)
from scalpdesk.strategies.several.strategy import one_for_each
from scalpdesk.strategies.toolkit.entry_legs import EntryStatus, LegEntry, entry_facts
from scalpdesk.strategies.toolkit.exits import PluginRules, RiskHalt, TradeView, first_reason, most_pnl
from scalpdesk.strategies.toolkit.hedger import DeltaHedger, HedgedPosition
from scalpdesk.strategies.toolkit.liquidation import Liquidation
from scalpdesk.strategies.toolkit.order_life import (
    REJECTION_SECONDS,
    ReportOnce,
    surplus_cancels,
    without_figures,
)
from scalpdesk.strategies.toolkit.resume import Adopted, cost_of, held_of, resume
from scalpdesk.strategies.toolkit.triggers import TriggersConfig
from scalpdesk.strategies.zero_dte.watch import ExposureAlerts, HedgeMeter, ZeroDteWatch

NAME = "zero-dte"
DEADLINE_TIMER = "zero-dte: deadline"
ENTRY_TIMER = "zero-dte: entry"
RETRY_TIMER = "zero-dte: exit again"
LEFT_OVER = "shares are left over from an earlier session"
BLIND_SECONDS = 60.0
"""Without a delta to hedge on for so long, a person should know."""


AUTO = "auto"
EXIT_AT = "15:45"
TODAY = SelectionConfig(min_expiration_days=0, max_expiration_days=1, min_open_interest=-1)
"""Selection of what trades last today: options that are dated a Saturday among it."""


OrderSeconds = Annotated[float, at_least(0.1, 3_600, "seconds, not milliseconds")]


class ZeroDteEntry(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the options come from."""

    section = "entry"
    mode: Literal["adopt", "straddle"] = "adopt"
    """``adopt`` hedges what the account holds and buys nothing; ``straddle`` opens the structure of
    ``structure``, a straddle at the strike nearest the forward unless another is named, where no option that
    expires today is held already.
    """
    straddles: Annotated[int, at_least(1, 100_000, "a number of straddles")] = 1
    """So many, for ``straddle``."""
    max_straddle_delta: Annotated[float, at_least(0.1, 100, "shares of 100")] | None = MAX_STRADDLE_DELTA
    """Largest delta of a straddle at entry, shares of 100; the strike nearest the forward is awaited until it
    has no more. None takes any.
    """
    at: str = "09:45"
    not_after: str = "14:00"
    """``at``, ``not_after``: New York times (``HH:MM``) between which they are bought."""
    order_ttl_seconds: OrderSeconds = 15.0
    """A leg's order that has not been filled by then is cancelled and gets a new price."""
    max_attempts: Annotated[int, at_least(1, 1_000, "a number of orders")] = 5
    """So often; then what was bought is sold again."""
    orders: LegOrders = LegOrders.AUTO
    """Orders of a straddle's legs, in and out: ``combo`` is one order, ``legs`` an order for each leg,
    ``auto`` one order where the venue takes it, as the simulated broker of a backtest does.
    """

    def __post_init__(self) -> None:
        """Refuse texts that are no times or numbers."""
        super().__post_init__()
        first, last = time_of_day("entry.at", self.at), time_of_day("entry.not_after", self.not_after)
        if last < first:
            raise ConfigError(
                "the last time to buy lies before the first",
                where="entry.not_after",
                value=self.not_after,
                fix=f"after entry.at, which is {self.at}",
            )


class ZeroDteHedge(RegimeThresholdConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Delta hedge: the settings of the threshold by regime, or another band.

    Parameters
    ----------
    threshold, threshold_negative_gex, seconds_between_hedges, regime, gex_symbol, gex_max_age_seconds, \
    macro_widening
        See :class:`~scalpdesk.hedging.bands.regime_threshold.RegimeThresholdConfig`.
    order_ttl_seconds
        A hedge order that has not been filled by then is cancelled and gets a new size.
    band, band_settings
        Another hedge band by name, with its own settings.
    instrument, beta
        What hedges in the underlying's place, a share or a future, and the underlying's return for one of it.
    """

    section = "hedge"
    order_ttl_seconds: OrderSeconds = 5.0
    band: str = "regime_threshold"
    band_settings: dict[str, float | str] = msgspec.field(default_factory=dict)
    instrument: str | None = None
    beta: Beta = 1.0

    def make_band(self) -> HedgeBand:
        """Return the chosen band with its settings."""
        if self.band != RegimeThresholdBand.name:
            return make_band(self.band, self.band_settings)
        own = {name: getattr(self, name) for name in RegimeThresholdConfig.__struct_fields__}
        return make_band(self.band, own | self.band_settings)


class ZeroDteExit(PluginRules, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Deadline and orders of the exit."""

    section = "exit"
    at: str = EXIT_AT
    """New York time (``HH:MM``). One later than 15:45 needs ``minutes_before_close`` lower, too."""
    minutes_before_close: Annotated[float, at_least(1, 390, "minutes; a session has 390")] = EXIT_MINUTES
    """Before the session's own close: what half days go by."""
    venue: str = AUTO
    """Venue whose last order in an expiring contract counts: a name, or ``auto`` for the one traded at."""
    buffer_minutes: Annotated[float, at_least(1, 120, "minutes")] = BUFFER_MINUTES
    """Margin before that last order."""
    retry_seconds: Annotated[float, at_least(0.1, 60, "seconds, not milliseconds")] = 2.0
    """An exit order that has not been filled by then is cancelled and gets a new price."""
    alert_after: Annotated[int, at_least(1, 100, "a number of tries")] = 3
    """So many tries of one leg that came to nothing are an alert."""

    def __post_init__(self) -> None:
        """Refuse texts that are no times, and unknown venues."""
        super().__post_init__()
        at = time_of_day("exit.at", self.at)
        minutes = max(self.minutes_before_close, self.buffer_minutes)
        last = _minutes(REGULAR_CLOSE) - minutes
        if self.at != EXIT_AT and _minutes(at) > last:
            raise ConfigError(
                f"this time is never reached: the exit is {minutes:g} minutes before the close at the latest",
                where="exit.at",
                value=self.at,
                fix=f"lower exit.minutes_before_close, which is {self.minutes_before_close:g}, and "
                f"exit.buffer_minutes, which is {self.buffer_minutes:g}, too",
            )
        if self.venue != AUTO and self.venue not in (known := cutoff_names()):
            raise ConfigError(
                "no last-order rule is known for this venue",
                where="exit.venue",
                value=self.venue,
                nearest=nearest_name(self.venue, known),
                fix=f"use {AUTO} or one of {', '.join(known)}",
            )


class ZeroDteConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of the 0DTE gamma scalper."""

    underlying: str = "SPY"
    """Underlying of the options and of their hedge; several with commas between them have a scalper each,
    with equal parts of the equity.
    """
    structure: StructureConfig = msgspec.field(default_factory=StructureConfig)
    entry: ZeroDteEntry = msgspec.field(default_factory=ZeroDteEntry)
    hedge: ZeroDteHedge = msgspec.field(default_factory=ZeroDteHedge)
    exit: ZeroDteExit = msgspec.field(default_factory=ZeroDteExit)
    triggers: TriggersConfig = msgspec.field(default_factory=TriggersConfig)
    watch: ZeroDteWatch = msgspec.field(default_factory=ZeroDteWatch)
    """``structure``, ``entry``, ``hedge``, ``exit``, ``triggers``, ``watch``: See their own fields."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict one another."""
        if time_of_day("entry.not_after", self.entry.not_after) >= time_of_day("exit.at", self.exit.at):
            raise ConfigError(
                "options bought at the last moment would be sold at once",
                where="entry.not_after",
                value=self.entry.not_after,
                fix=f"before exit.at, which is {self.exit.at}",
            )


class ZeroDtePhase(StrEnum):
    """Where the session stands."""

    WAITING = "waiting"
    ENTERING = "entering"
    HOLDING = "holding"
    LEAVING = "leaving"
    CLOSED = "closed_for_session"


class DeadlineView(TradeView, frozen=True, kw_only=True):
    """Options of the day with their hedge."""

    deadline_ns: int | None


class PastDeadline:
    """Exit at the session's deadline."""

    def reason(self, trade: DeadlineView) -> str | None:
        """Return why to exit, or None."""
        if trade.deadline_ns is None or trade.now_ns < trade.deadline_ns:
            return None
        return f"deadline {to_new_york(trade.deadline_ns):%H:%M:%S} New York"


class ZeroDteScalper:
    """Hedges options that expire today and closes them before the deadline."""

    is_done = False

    def __init__(self, config: ZeroDteConfig | None = None, name: str = NAME) -> None:
        self.config = config or ZeroDteConfig()
        self.name = name
        self.phase = ZeroDtePhase.WAITING
        self.deadline_ns: int | None = None
        """By when to be out today; None on a day on which nothing expires."""
        hedge = self.config.hedge
        self.hedger = DeltaHedger(
            hedge.make_band(), DeltaModel(), order_ttl_seconds=hedge.order_ttl_seconds, strict_quotes=True
        )
        self._lister = ShapeLister(self.config.structure)
        shape = self._lister.shape
        self._structure_name = shape.name.replace("_", " ")
        self._selector = StraddleSelector(
            TODAY, max_delta_shares=self.config.entry.max_straddle_delta, shape=shape
        )
        self.meter = HedgeMeter()
        self._watch = ExposureAlerts(self.config.watch)
        leave = self.config.exit
        self._leaving = Liquidation(
            self.hedger,
            retry_seconds=leave.retry_seconds,
            alert_after=leave.alert_after,
            timer=RETRY_TIMER,
            leg_orders=self.config.entry.orders,
            limits_only=self.config.entry.mode == "straddle" and self.config.structure.most_sold > 0,
        )
        self._is_clearing_up = False
        """It leaves shares that are left over from an earlier session."""
        self._options: dict[InstrumentId, OptionContract] = {}
        self._today: frozenset[InstrumentId] = frozenset()
        self._day: date | None = None
        self._entry: LegEntry | None = None
        self._plugin_rules = self.config.exit.plugin_rules()
        self._is_mine = False
        """Whether shares of the underlying are this strategy's hedge: it adopted or bought options."""
        self._trade = TradeStart({})
        self._rejected = BackOff(1.0, REJECTION_SECONDS)
        self._refusals = ReportOnce()
        self._blindness = ReportOnce(DecisionKind.ALERT)
        self._blind_since_ns: int | None = None

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """Read the chain; wake on the underlying's price and on a heartbeat."""
        instrument = view.instruments[view.underlying]
        traded_symbol(view, self.config.underlying, self.name)
        self._options = dict(options_in_order(view.instruments, instrument.symbol))
        is_index = instrument.is_index
        return (self.config.triggers.trigger(view.underlying, is_index=is_index),)

    def on_wake(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        """Act by the session's phase."""
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
        self.hedger.note_fill(view, event)
        if isinstance(event, OrderFilled):
            self._rejected.succeed()
            actions += self._report(view, event)
        if wake is Wake.BAR or view.mode is Mode.HALTED:
            return actions
        legs = held_of(view, self._today)
        self._notice(view, legs)
        if self.phase is ZeroDtePhase.LEAVING or self.phase is ZeroDtePhase.CLOSED:
            return [*actions, *self._leave(view, legs, event)]
        if isinstance(event, OrderRejected | OrderNotFound):  # not taken: not again at once
            until_ns = self._rejected.fail(view.now_ns)
            return [*actions, SetTimer("zero-dte: after a rejection", until_ns)]
        if view.now_ns < self._rejected.until_ns:
            return actions
        if self.phase is ZeroDtePhase.ENTERING:
            return [*actions, *self._enter(view, legs)]
        if self.phase is ZeroDtePhase.WAITING:
            actions += self._wait(view)
        if self.phase is ZeroDtePhase.HOLDING:
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
            if session.open_ns < final_close_ns(contract) <= session.close_ns
        )
        self._lister.learn([(number, self._options[number]) for number in sorted(self._today)])
        self._entry = None
        self._trade = view.begin_trade((*self._today, view.hedge))
        self.hedger.begin()
        self.meter.begin()
        self._watch.begin()
        self._leaving.forget()
        self._plugin_rules = self.config.exit.plugin_rules()
        self._refusals.forget()
        self._blindness.forget()
        self._blind_since_ns = None
        self.phase = ZeroDtePhase.WAITING
        if self._is_mine and not held_of(view, self._today) and view.positions.quantity(view.hedge):
            self._begin_leaving(view, LEFT_OVER, clears_up=True)  # delivered yesterday, or not unwound
        if not self._today:
            self.deadline_ns = None
            return [Proposal(DecisionKind.ENTRY, ("no option on the underlying expires today",))]
        self.deadline_ns = self._deadline(view)
        timers: list[Action] = [SetTimer(DEADLINE_TIMER, self.deadline_ns)]
        if self.config.entry.mode == "straddle":
            timers.append(SetTimer(ENTRY_TIMER, session.clock_ns(self.config.entry.at)))
        by = to_new_york(self.deadline_ns)
        if not held_of(view, self._today) and self.config.entry.mode == "adopt":
            reason = "nothing that expires today is held, and entry.mode=adopt buys nothing"
            fix = "set entry.mode=straddle to buy"
            return [*timers, Proposal(DecisionKind.ENTRY, (f"{reason}; {fix}",))]
        facts: Facts = {"options": len(self._today), "deadline": f"{by:%H:%M:%S} New York"}
        return [*timers, Proposal(DecisionKind.SESSION, (f"out by {by:%H:%M:%S} New York",), facts)]

    def _deadline(self, view: DeskView) -> int:
        """Return by when to be out: one's own time, the close's, the venue's; the earliest counts."""
        config, session = self.config.exit, view.session
        assert session is not None
        cutoff = view.cutoff if config.venue == AUTO else venue_cutoff(config.venue)
        by_venue = min(
            contract_deadline_ns(
                self._options[number],
                cutoff,
                exit_minutes=config.minutes_before_close,
                buffer_minutes=config.buffer_minutes,
            )
            for number in self._today
        )
        return min(by_venue, session.clock_ns(config.at))

    def _notice(self, view: DeskView, legs: Sequence[InstrumentId]) -> None:
        """Take over options that are held, and start to leave when it is time."""
        if legs:
            self._is_mine = True
        if self.phase in (ZeroDtePhase.LEAVING, ZeroDtePhase.CLOSED):
            return
        trade = DeadlineView(now_ns=view.now_ns, mode=view.mode, deadline_ns=self.deadline_ns)
        why = first_reason((PastDeadline(), RiskHalt()), trade)
        if why is None and self._plugin_rules and legs:
            pnl = view.trade_pnl(self._trade)
            most = None if all(map(view.market.is_valid, legs)) else most_pnl(view, legs, pnl)
            seen = msgspec.structs.replace(trade, pnl=pnl, premium_paid=cost_of(view, legs), most_pnl=most)
            why = first_reason(self._plugin_rules, seen)
        if why is not None:
            self._begin_leaving(view, why)

    def _begin_leaving(self, view: DeskView, why: str, *, clears_up: bool = False) -> None:
        self.phase = ZeroDtePhase.LEAVING
        if self._leaving.since_ns is None:
            self._is_clearing_up = clears_up
        self._leaving.begin(view.now_ns, why)

    def _last_word(self, view: DeskView) -> Sequence[Action]:
        """At the close say what the session's hedges came to."""
        facts = self.meter.totals.facts() | {"pnl_usd": float(view.trade_pnl(self._trade))}
        if not self.meter.totals.fills:
            return ()
        return (Proposal(DecisionKind.SUMMARY, ("hedges of the session",), facts),)

    # entry ------------------------------------------------------------------------------------------

    def _wait(self, view: DeskView) -> list[Action]:
        found = resume(view, self._today)
        if isinstance(found, Adopted):
            self.phase = ZeroDtePhase.HOLDING
            return [Proposal(DecisionKind.ENTRY, (f"adopted {found.names}",), {"options": len(found.held)})]
        if self.config.entry.mode == "straddle" and self._today and view.mode is Mode.ACTIVE:
            return self._look_for_entry(view)
        return []

    def _look_for_entry(self, view: DeskView) -> list[Action]:
        entry = self.config.entry
        assert view.session is not None
        opens, closes = view.session.clock_ns(entry.at), view.session.clock_ns(entry.not_after)
        if not opens <= view.now_ns <= min(closes, self.deadline_ns or closes):
            return []
        spot = view.market.mark(view.underlying)
        if spot is None or view.is_halted(view.underlying):
            return []
        today = to_new_york(view.now_ns).date()
        days = (today, today + timedelta(days=TODAY.max_expiration_days))
        chain = QuotedChain(view.market, view.delta_engine, view.now_ns)
        listed = self._lister.list_now(chain, view.now_ns, days)
        selection = self._selector.select(listed, view.market, view.delta_engine, spot, view.now_ns)
        if selection.best is None:
            why = selection.why_none()
            key = "delta" if selection.lopsided is not None else without_figures(why)
            return self._refusals.report(key, (why,))
        self.phase = ZeroDtePhase.ENTERING
        self._entry = LegEntry(
            selection.best.structure,
            entry.straddles,
            ttl_seconds=entry.order_ttl_seconds,
            max_attempts=entry.max_attempts - 1,
            timer=ENTRY_TIMER,
            leg_orders=entry.orders,
            name=self._structure_name,
        )
        self._leaving.ratios = selection.best.structure.ratios
        facts = entry_facts(selection.best, spot)
        return self._entry.begin(view, Proposal(DecisionKind.ENTRY, (selection.why_best(),), facts))

    def on_cut(self, view: DeskView, sent: Sequence[OrderIntent]) -> None:
        """Reduce the entry to the straddles that the risk gate allows."""
        if self.phase is ZeroDtePhase.ENTERING and self._entry is not None:
            self._entry.note_cut(view, sent)

    def _enter(self, view: DeskView, legs: Sequence[InstrumentId]) -> list[Action]:
        """Follow the legs of the entry; after too many attempts keep whole straddles only."""
        assert self._entry is not None
        status, actions = self._entry.step(view)
        if status is EntryStatus.ABANDONED:
            return self._keep_whole(view, legs, self._entry.structure)
        if status is EntryStatus.FILLED:
            self.phase = ZeroDtePhase.HOLDING
            return self._hold(view, legs)
        return actions

    def _keep_whole(self, view: DeskView, legs: Sequence[InstrumentId], wanted: Structure) -> list[Action]:
        """Keep the whole straddles that were bought; sell a leg without its partner."""
        sets = wanted.sets_held(view.positions.quantity)
        if not sets or not wanted.is_whole(view.positions.quantity):
            self._begin_leaving(view, "entry abandoned: a leg could not be bought")
            return self._leave(view, legs, None)
        self.phase = ZeroDtePhase.HOLDING
        reason = f"{sets} of {self.config.entry.straddles} straddles could be bought"
        if not wanted.is_straddle:
            reason = f"{sets} of {self.config.entry.straddles} sets could be opened"
        return [Proposal(DecisionKind.ENTRY, (reason,), {"straddles": sets}), *self._hold(view, legs)]

    # holding and leaving ----------------------------------------------------------------------------

    def _hold(self, view: DeskView, legs: Sequence[InstrumentId]) -> list[Action]:
        if not legs:
            self._begin_leaving(view, "the options are gone: closed, settled or taken away")
            return self._leave(view, legs, None)
        exposure = self.hedger.measure(view, legs)
        if exposure is None:
            return self._blind(view)
        self._blind_since_ns = None
        self._blindness.forget()
        threshold = self.hedger.band.judge(exposure.inputs).half_width_shares / exposure.inputs.multiplier
        alerts = self._watch.check(view, exposure, threshold)
        hedges = self.hedger.step(view, legs, exposure)
        hedges = [_with_greeks(hedge, exposure, len(legs)) for hedge in hedges]
        return [*alerts, *surplus_cancels(view), *hedges]

    def _blind(self, view: DeskView) -> list[Action]:
        """Report once that there has been no delta to hedge on for a minute."""
        since_ns = self._blind_since_ns = self._blind_since_ns or view.now_ns
        seconds = (view.now_ns - since_ns) / NANOS_PER_SECOND
        if not self.hedger.unusable or seconds < BLIND_SECONDS:
            return []
        return self._blindness.report(self.hedger.unusable, (self.hedger.unusable,))

    def _leave(self, view: DeskView, legs: Sequence[InstrumentId], event: Event | None) -> list[Action]:
        if self.phase is ZeroDtePhase.CLOSED and self._leaving.is_flat(view, legs):
            return []
        refused = self._leaving.note_refused(view, event)
        if refused:
            return refused
        if not self._is_mine and not legs:  # nothing was ever held: shares, if any, are somebody's
            if not view.orders.live:
                self.phase = ZeroDtePhase.CLOSED
            return list(self._leaving.take_off(view))
        self.phase = ZeroDtePhase.LEAVING
        actions = self._leaving.step(view, legs)
        if actions or not self._leaving.is_flat(view, legs):
            return actions
        self.phase, self._is_mine, why = ZeroDtePhase.CLOSED, False, f"flat: {self._leaving.why}"
        facts = self.meter.totals.facts() | {"pnl_usd": float(view.trade_pnl(self._trade))}
        if self._is_clearing_up and view.now_ns < (self.deadline_ns or 0):
            self.phase = ZeroDtePhase.WAITING  # today's own options are still to come
            self._leaving.forget()
            return [Proposal(DecisionKind.EXIT, (why,), facts)]
        return [Proposal(DecisionKind.EXIT, (why, "closed for the session"), facts)]

    def _report(self, view: DeskView, event: OrderFilled) -> Sequence[Action]:
        facts = self.meter.note_fill(view, event)
        if facts is None or not self.config.watch.report_hedges:
            return ()
        reason = f"{facts['what']} filled: {facts['quantity_shares']:+d} at {facts['price']:.2f}"
        return (Proposal(DecisionKind.HEDGE_FILL, (reason,), facts),)


def _with_greeks(hedge: Proposal, exposure: HedgedPosition, options: int) -> Proposal:
    """Add the position's other Greeks to a hedge's figures."""
    if not hedge.facts:  # a cancel
        return hedge
    inputs, greeks = exposure.inputs, exposure.greeks
    facts: Facts = {
        "half_spread": inputs.own_cost_fraction * inputs.spot,
        "theta_usd_per_day": greeks.theta_usd_per_day,
        "vega_usd_per_point": greeks.vega_usd_per_point,
        "options": options,
    }
    return msgspec.structs.replace(hedge, facts=hedge.facts | facts)


def _minutes(clock: time) -> float:
    return 60 * clock.hour + clock.minute + clock.second / 60


PLUG = StrategySpec(
    name=NAME,
    config=ZeroDteConfig,
    build=lambda config: one_for_each(NAME, config, ZeroDteScalper),
    summary="hedges options that expire today and closes them before the deadline",
    reads_dealer_gamma=True,
    expiry_days=lambda _: (0, 0),
    sells_contracts=lambda config: (
        config.entry.straddles * config.structure.most_sold if config.entry.mode == "straddle" else 0
    ),
    hedge_of=lambda config: HedgeTerms.of(config.hedge.instrument, config.hedge.beta),
    trades_underlying=lambda config: config.hedge.instrument is None,
    takes_over=lambda contract, day: to_new_york(final_close_ns(contract)).date() == day,
    demo_settings=("entry.mode=straddle",),  # its account holds nothing
)
