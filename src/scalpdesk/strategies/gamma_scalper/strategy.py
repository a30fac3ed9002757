"""The gamma scalper: own a straddle, hedge its delta with shares, earn what realised volatility pays.

It waits for an entry, enters, holds, changes the straddle or its size, and leaves: each is a state of
:mod:`scalpdesk.strategies.gamma_scalper.states`.
"""

from collections.abc import Sequence
from datetime import date

from scalpdesk.core.backoff import BackOff
from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.events import Event, FillBusted, OrderFilled, OrderNotFound, OrderRejected
from scalpdesk.core.intents import OrderIntent, SetTimer
from scalpdesk.hedging.bands.regime_threshold import RegimeThresholdBand
from scalpdesk.instruments.contract import options_in_order
from scalpdesk.instruments.events import why_unknown
from scalpdesk.marketdata.triggers import PriceMove, Trigger, Wake
from scalpdesk.strategies.contract import (
    Action,
    DeskView,
    HedgeTerms,
    Showcase,
    StrategySpec,
    TradeStart,
    traded_symbol,
)
from scalpdesk.strategies.gamma_scalper.config import GammaScalperConfig
from scalpdesk.strategies.gamma_scalper.states import (
    ChangingState,
    DoneState,
    LeavingState,
    RestingState,
    State,
    TradingState,
    WaitingState,
)
from scalpdesk.strategies.gamma_scalper.trade import ScalperTools
from scalpdesk.strategies.several.strategy import one_for_each
from scalpdesk.strategies.toolkit.order_life import REJECTION_SECONDS, ReportOnce, take_back

NAME = "gamma-scalper"


class StructureScalper:
    """Trades a structure of options, delta hedged.

    ``name``: Its own.
    ``tools``: Settings, and what its states work with.
    """

    def __init__(self, name: str, tools: ScalperTools) -> None:
        self.name = name
        self.tools = tools
        self.state: State = WaitingState(self.tools, TradeStart({}))
        self._takes_over = False
        self._rejected = BackOff(1.0, REJECTION_SECONDS)
        self._warnings = ReportOnce(DecisionKind.ALERT)

    @property
    def phase(self) -> str:
        """Name of its state, as ``holding``."""
        return self.state.phase

    @property
    def is_done(self) -> bool:
        """Whether it opens no further straddle in this session."""
        return isinstance(self.state, DoneState)

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """List the chain's straddles and wake on the underlying's price and on a heartbeat."""
        symbol, tools = traded_symbol(view, self.tools.config.underlying, self.name), self.tools
        options = options_in_order(view.instruments, symbol)
        tools.learn(options, view)
        instrument = view.instruments[view.underlying]
        tick, is_index = instrument.tick_rule.below, instrument.is_index
        trigger = tools.config.triggers.trigger(view.underlying, is_index=is_index, tick=tick)
        # what is measured beside the hedges has each call
        tools.trigger = trigger if type(trigger) is PriceMove and tools.watch is None else None
        return (trigger,)

    def on_wake(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        """Act by the state, and measure the hedges where they are watched."""
        watch, trigger = self.tools.watch, self.tools.trigger
        if trigger is not None:
            if wake is Wake.PRICE or wake is Wake.HEARTBEAT:
                trigger.spared = None
            else:
                trigger.spare_none_from(view.now_ns)
        if watch is None:
            return self._act(view, wake, event)
        reported = watch.note_fill(view, event) if isinstance(event, OrderFilled) else ()
        actions = [*reported, *self._act(view, wake, event)]
        if actions:
            watch.meter.note_decided(view, actions)
        return actions

    def take_over(self, view: DeskView) -> None:
        """Hold and hedge what the account holds, whatever legs: no memory tells how it came."""
        tools = self.tools
        tools.adopts = self._takes_over = True
        self.state = WaitingState(tools, TradeStart({}))
        if view.session is not None:
            tools.begin_session(view)
            tools.edge.horizon.open_session(view)

    def _withdraw(self, view: DeskView) -> Sequence[Action]:
        """Take off what the build before this one left at the venue; once it is over, take over."""
        if not view.is_compared:
            return ()
        if view.orders.live:
            orders = view.orders.live.values()
            return take_back(DecisionKind.ENTRY, orders, "the strategy takes over: orders from before")
        self._takes_over = False
        assert isinstance(self.state, WaitingState)
        self.state, actions = self.state.open_session(view)
        return actions

    def _act(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        if self._takes_over and view.session is not None:
            return self._withdraw(view)
        if wake is Wake.SESSION:
            return self._on_session(view)
        tools, state = self.tools, self.state
        tools.edge.horizon.note_price(view)
        is_leaving = isinstance(state, LeavingState)
        kind = type(event)
        is_late = tools.deadline_ns is not None and view.now_ns >= tools.deadline_ns
        if is_late and isinstance(state, TradingState) and view.mode is not Mode.HALTED:
            self.state, actions = state.leave(view, tools.must_leave(view))
            return actions
        if (kind is OrderRejected or kind is OrderNotFound) and not is_leaving:  # not at once again
            until_ns = self._rejected.fail(view.now_ns)
            return (SetTimer(f"{tools.manner.label}: after a rejection", until_ns),)
        tools.hedger.note_fill(view, event)
        if kind is OrderFilled or kind is FillBusted:
            self._rejected.succeed()
            tools.abandoned.until_ns = 0
            if isinstance(state, RestingState):  # a trade after the last word, or one taken back
                state.is_disturbed = tools.owns_shares = True
        if wake is Wake.BAR or view.mode is Mode.HALTED:
            return ()
        if not is_leaving and view.now_ns < max(self._rejected.until_ns, tools.abandoned.until_ns):
            return ()
        self.state, actions = state.step(view, wake, event)
        return actions

    def on_cut(self, view: DeskView, sent: Sequence[OrderIntent]) -> None:
        """Reduce the entry to the straddles that the risk gate allows."""
        if isinstance(self.state, ChangingState):
            self.state.move.note_cut(view, sent)

    def _on_session(self, view: DeskView) -> Sequence[Action]:
        session, state, tools = view.session, self.state, self.tools
        rests_in = state.rests_in if isinstance(state, LeavingState) else state
        if session is None or view.now_ns != session.open_ns:
            last = () if session is None or tools.watch is None else tools.watch.last_word(view)
            return [*last, *rests_in.report(view)] if isinstance(rests_in, WaitingState) else last
        if isinstance(rests_in, WaitingState):
            rests_in.passes.forget()
        tools.edge.horizon.open_session(view)
        if is_afresh := self.tools.config.entry.again_next_session:
            self._rejected.succeed()
        unknown = why_unknown(self.tools.config.exits.before_event, session.day)
        warning = self._warnings.once("events", (f"exits.before_event: {unknown}",)) if unknown else []
        first = [*tools.begin_session(view), *self.session_words(view)]
        if isinstance(state, TradingState):
            state.trade.begin_session(session.day)
        is_new = isinstance(state, DoneState) and is_afresh
        if is_new or tools.manner.deadline is not None:  # what expired with its session is no trade any more
            state = self.state = WaitingState(tools, state.start)
        if not isinstance(state, WaitingState):
            return [*warning, *first]
        self.state, actions = state.open_session(view)
        return [*warning, *first, *actions]

    def session_words(self, view: DeskView) -> Sequence[Action]:
        """Return what is reported at the open of a session."""
        del view
        return ()


class GammaScalper(StructureScalper):
    """A structure of options, a long straddle unless settings have another, delta hedged with shares."""

    def __init__(self, config: GammaScalperConfig | None = None, name: str = NAME) -> None:
        self.config = config or GammaScalperConfig()
        super().__init__(name, ScalperTools(self.config))


PLUG = StrategySpec(
    name=NAME,
    config=GammaScalperConfig,
    build=lambda config: one_for_each(NAME, config, GammaScalper),
    summary="a long straddle, delta hedged with shares",
    aliases=("gamma-scalping",),
    reads_dealer_gamma=lambda config: config.hedge.band == RegimeThresholdBand.name,
    expiry_days=lambda config: (
        config.selection.min_expiration_days,
        config.selection.max_expiration_days + config.structure.days_behind,
    ),
    sells_contracts=lambda config: config.straddles * config.structure.most_sold,
    options_level=lambda config: 0 if config.mode == "adopt_only" else config.structure.options_level,
    chosen_expiry=lambda config: config.selection.expiry,
    hedge_of=lambda config: HedgeTerms.of(config.hedge.instrument, config.hedge.beta),
    trades_underlying=lambda config: config.hedge.instrument is None,
    # one session long: it enters whatever the gate advises and ends flat
    demo_settings=("entry.gate=advise", "exits.edge_gone=false", "exits.flat_minutes_before_close=10"),
    # a straddle of its last day; its gate decides, by the forecast and what the morning has realised
    showcase=Showcase(
        date(2018, 2, 9),
        (
            "selection.min_expiration_days=0",
            "selection.max_expiration_days=0",
            "entry.max_straddle_delta=30",
            "exits.min_dte=null",
            "exits.flat_minutes_before_close=10",
        ),
    ),
)
