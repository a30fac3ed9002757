"""Names of PRD-136's ``strike_selector.py``."""

from scalpdesk_strategies.ema_scalper import StrikeSelection, StrikeSelector

__all__ = ["StrikeSelection", "StrikeSelector"]
