"""The options scalper of PRD-136 under the path of its page."""

from scalpdesk.records.tables import OptionsScalpRecord
from scalpdesk_strategies.ema_scalper import (
    GreeksDecision,
    GreeksGate,
    OptionsScalper,
    ScalpConfig,
    ScalpPosition,
    ScalpSizer,
    StrikeSelection,
    StrikeSelector,
)

__all__ = [
    "GreeksDecision",
    "GreeksGate",
    "OptionsScalpRecord",
    "OptionsScalper",
    "ScalpConfig",
    "ScalpPosition",
    "ScalpSizer",
    "StrikeSelection",
    "StrikeSelector",
]
