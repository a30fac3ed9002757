from scalpdesk.backtesting.runs import RunResult as RunResult
from scalpdesk.backtesting.simulate import (BacktestConfig as BacktestConfig,
    BacktestResult as BacktestResult, PreparedMarket as PreparedMarket, simulate as simulate)
from scalpdesk.config.settings import CredentialsSection as CredentialsSection, DeskConfig as DeskConfig
from scalpdesk.core.version import VERSION as __version__
from scalpdesk.datasets.coin_data import research_tables as research_tables
from scalpdesk.datasets.embedded.coin import daily_bars_before as daily_bars_before
from scalpdesk.datasets.embedded.days import available_sessions as available_sessions
from scalpdesk.datasets.embedded.market import reconstruct as reconstruct, session_ohlc as session_ohlc
from scalpdesk.live.market import ExposureWatch as ExposureWatch, live_source as live_source
from scalpdesk.marketdata.chain_gamma import price_tape as price_tape
from scalpdesk.marketdata.chain_surface import chain_quotes_at as chain_quotes_at, fit_chain as fit_chain
from scalpdesk.marketdata.dealer_gamma import gamma_exposure as gamma_exposure, gamma_flip as gamma_flip
from scalpdesk.marketdata.tape import MarketTape as MarketTape
from scalpdesk.notebook import (backtest as backtest, bands as bands, load_data as load_data,
    load_run as load_run, parity as parity, premium_history as premium_history, run_desk as run_desk,
    sweep as sweep, tear_sheet as tear_sheet, walk_forward as walk_forward)
from scalpdesk.pricing.implied import implied_vol as implied_vol
from scalpdesk.pricing.models import greeks as greeks
from scalpdesk.pricing.scalar import coin_greeks as coin_greeks, implied_vol_scalar as implied_vol_scalar
from scalpdesk.report.fold import Fill as Fill, SentOrder as SentOrder
from scalpdesk.report.run_report import Hedge as Hedge, RunReport as RunReport
from scalpdesk.report.session_tables import SessionPnl as SessionPnl
from scalpdesk.report.trades import Trade as Trade, TradeLeg as TradeLeg
from scalpdesk.research.band_lab import BandReport as BandReport, BandRow as BandRow
from scalpdesk.research.folds import FoldPlan as FoldPlan
from scalpdesk.research.parity import ParityResult as ParityResult
from scalpdesk.research.session_model import BandTerms as BandTerms, SessionModel as SessionModel
from scalpdesk.research.sweep import SweepResult as SweepResult, SweepRow as SweepRow
from scalpdesk.research.volatility import PremiumHistory as PremiumHistory
from scalpdesk.research.walk_forward import (WalkForwardReport as WalkForwardReport,
    WalkForwardResult as WalkForwardResult)
from scalpdesk.strategies.contract import Strategy as Strategy
from scalpdesk.volatility.forecast import forecast_vol as forecast_vol
from scalpdesk.volatility.realised import realized_vol as realized_vol
