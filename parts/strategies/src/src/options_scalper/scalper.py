"""Names of PRD-136's ``scalper.py``."""

from scalpdesk_strategies.ema_scalper import OptionsScalper, ScalpPosition

__all__ = ["OptionsScalper", "ScalpPosition"]
