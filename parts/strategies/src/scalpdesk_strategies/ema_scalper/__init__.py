"""EMA-cloud options scalper (PRD-136): options of today or tomorrow on flips of the fast cloud."""

from scalpdesk_strategies.ema_scalper.config import ScalpConfig
from scalpdesk_strategies.ema_scalper.greeks_gate import GreeksGate
from scalpdesk_strategies.ema_scalper.model import (
    ChainRow,
    GreeksDecision,
    OptionsChain,
    ScalpPosition,
    ScalpResult,
    StrikeSelection,
    TradeSignal,
)
from scalpdesk_strategies.ema_scalper.scalper import OptionsScalper, OrderRouter, RoutedFill, RoutedOrder
from scalpdesk_strategies.ema_scalper.sizing import ScalpSizer
from scalpdesk_strategies.ema_scalper.strategy import PLUG
from scalpdesk_strategies.ema_scalper.strike_selector import StrikeSelector

__all__ = [
    "PLUG",
    "ChainRow",
    "GreeksDecision",
    "GreeksGate",
    "OptionsChain",
    "OptionsScalper",
    "OrderRouter",
    "RoutedFill",
    "RoutedOrder",
    "ScalpConfig",
    "ScalpPosition",
    "ScalpResult",
    "ScalpSizer",
    "StrikeSelection",
    "StrikeSelector",
    "TradeSignal",
]
