from scalpdesk.core.events import (GammaExposureEvent as GammaExposureEvent,
    SessionBarsEvent as SessionBarsEvent, SessionEvent as SessionEvent)
from scalpdesk.core.intents import SetTimer as SetTimer
from scalpdesk.hedging.bands.regime_threshold import (HedgeVerdict as HedgeVerdict,
    RegimeThresholdConfig as RegimeThresholdConfig, judge_hedge as judge_hedge, net_delta as net_delta)
from scalpdesk.hedging.sizing import split_at_zero as split_at_zero
from scalpdesk.marketdata.bars import Absent as Absent, Timeframes as Timeframes
from scalpdesk.marketdata.dealer_gamma import (DEFAULT_SYMBOL as DEFAULT_SYMBOL,
    known_exposure_usd as known_exposure_usd, threshold_by_dealers as threshold_by_dealers)
from scalpdesk.marketdata.triggers import (EveryQuote as EveryQuote, PriceMove as PriceMove,
    Trigger as Trigger, Wake as Wake)
from scalpdesk.strategies.contract import (Action as Action, DeskView as DeskView, Facts as Facts,
    HedgeTerms as HedgeTerms, OfferedOption as OfferedOption, Pick as Pick, Proposal as Proposal,
    ReportsHedges as ReportsHedges, ReportsPhase as ReportsPhase, Showcase as Showcase, Strategy as Strategy,
    StrategySpec as StrategySpec, configured_underlyings as configured_underlyings,
    traded_symbol as traded_symbol)
from scalpdesk.strategies.toolkit.exits import (ExitAction as ExitAction, ExitConfig as ExitConfig,
    ExitRule as ExitRule, PositionView as PositionView, first_reason as first_reason)
from scalpdesk.strategies.toolkit.sizing import size_by_risk as size_by_risk, size_by_vol as size_by_vol
