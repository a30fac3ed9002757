"""The gamma scalper: own a straddle, hedge its delta with shares, earn what realised volatility pays.

It waits for an entry, enters, holds, changes the straddle or its size, and leaves: each is a state of
:mod:`scalpdesk.strategies.gamma_scalper.states`.
"""

from collections.abc import Sequence

from scalpdesk.core.backoff import BackOff
from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.events import Event, FillBusted, OrderFilled, OrderNotFound, OrderRejected
from scalpdesk.core.intents import OrderIntent, SetTimer
from scalpdesk.hedging.bands.regime_threshold import RegimeThresholdBand
from scalpdesk.instruments.contract import options_in_order
from scalpdesk.instruments.events import why_unknown
from scalpdesk.marketdata.triggers import Trigger, Wake
from scalpdesk.strategies.contract import (
    Action,
    DeskView,
    HedgeTerms,
    StrategySpec,
    TradeStart,
    traded_symbol,
)
from scalpdesk.strategies.gamma_scalper.config import GammaScalperConfig
from scalpdesk.strategies.gamma_scalper.states import (
    DoneState,
    LeavingState,
    RestingState,
    State,
    TradingState,
    WaitingState,
)
from scalpdesk.strategies.gamma_scalper.trade import ScalperTools
from scalpdesk.strategies.several.strategy import one_for_each
from scalpdesk.strategies.toolkit.order_life import REJECTION_SECONDS, ReportOnce

NAME = "gamma-scalper"


class GammaScalper:
    """A structure of options, a long straddle unless settings have another, delta hedged with shares."""

    def __init__(self, config: GammaScalperConfig | None = None, name: str = NAME) -> None:
        self.config = config or GammaScalperConfig()
        self.name = name
        self.tools = ScalperTools(self.config)
        self.state: State = WaitingState(self.tools, TradeStart({}))
        self._rejected = BackOff(1.0, REJECTION_SECONDS)
        self._warnings = ReportOnce(DecisionKind.ALERT)

    @property
    def phase(self) -> str:
        """Name of its state, as ``holding``."""
        return type(self.state).__name__.removesuffix("State").lower()

    @property
    def is_done(self) -> bool:
        """Whether it opens no further straddle."""
        return isinstance(self.state, DoneState)

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """List the chain's straddles and wake on the underlying's price and on a heartbeat."""
        symbol, tools = traded_symbol(view, self.config.underlying, self.name), self.tools
        options = options_in_order(view.instruments, symbol)
        tools.learn(options, view)
        tick = view.instruments[view.underlying].tick_rule.below
        return (self.config.triggers.trigger(view.underlying, tick=tick),)

    def on_wake(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        """Act by the state."""
        if wake is Wake.SESSION:
            return self._on_session(view)
        tools, state = self.tools, self.state
        tools.edge.horizon.note_price(view)
        is_leaving = isinstance(state, LeavingState)
        kind = type(event)
        if (kind is OrderRejected or kind is OrderNotFound) and not is_leaving:  # not at once again
            until_ns = self._rejected.fail(view.now_ns)
            return (SetTimer("gamma-scalper: after a rejection", until_ns),)
        tools.hedger.note_fill(view, event)
        if kind is OrderFilled or kind is FillBusted:
            self._rejected.succeed()
            tools.abandoned.until_ns = 0
            if isinstance(state, RestingState):  # a trade after the last word, or one taken back
                state.is_disturbed = True
        if wake is Wake.BAR or view.mode is Mode.HALTED:
            return ()
        if not is_leaving and view.now_ns < max(self._rejected.until_ns, tools.abandoned.until_ns):
            return ()
        self.state, actions = state.step(view, wake, event)
        return actions

    def on_cut(self, view: DeskView, sent: Sequence[OrderIntent]) -> None:
        """Reduce the entry to the straddles that the risk gate allows."""
        if self.state.entry is not None:
            self.state.entry.note_cut(view, sent)

    def _on_session(self, view: DeskView) -> Sequence[Action]:
        session, state = view.session, self.state
        rests_in = state.rests_in if isinstance(state, LeavingState) else state
        if session is None or view.now_ns != session.open_ns:
            return rests_in.report(view) if isinstance(rests_in, WaitingState) else ()
        if isinstance(rests_in, WaitingState):
            rests_in.passes.forget()
        self.tools.edge.horizon.open_session(view)
        unknown = why_unknown(self.config.exits.before_event, session.day)
        warning = self._warnings.once("events", (f"exits.before_event: {unknown}",)) if unknown else []
        if isinstance(state, TradingState):
            state.trade.begin_session(session.day)
        if not isinstance(state, WaitingState):
            return warning
        self.state, actions = state.open_session(view)
        return [*warning, *actions]


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
    hedge_of=lambda config: HedgeTerms.of(config.hedge.instrument, config.hedge.beta),
    trades_underlying=lambda config: config.hedge.instrument is None,
    # one session long: it enters whatever the gate advises and ends flat
    demo_settings=("entry.gate=advise", "exits.edge_gone=false", "exits.flat_minutes_before_close=10"),
)
