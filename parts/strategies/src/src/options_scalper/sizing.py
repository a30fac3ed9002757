"""Names of PRD-136's ``sizing.py``."""

from scalpdesk_strategies.ema_scalper import ScalpSizer

__all__ = ["ScalpSizer"]
