from scalpdesk_strategies.ema_scalper.config import ScalpConfig as ScalpConfig
from scalpdesk_strategies.ema_scalper.greeks_gate import GreeksGate as GreeksGate
from scalpdesk_strategies.ema_scalper.model import (ChainRow as ChainRow, GreeksDecision as GreeksDecision,
    OptionsChain as OptionsChain, ScalpPosition as ScalpPosition, ScalpResult as ScalpResult,
    StrikeSelection as StrikeSelection, TradeSignal as TradeSignal)
from scalpdesk_strategies.ema_scalper.scalper import (OptionsScalper as OptionsScalper,
    OrderRouter as OrderRouter, RoutedFill as RoutedFill, RoutedOrder as RoutedOrder)
from scalpdesk_strategies.ema_scalper.sizing import ScalpSizer as ScalpSizer
from scalpdesk_strategies.ema_scalper.strategy import PLUG as PLUG
from scalpdesk_strategies.ema_scalper.strike_selector import StrikeSelector as StrikeSelector
