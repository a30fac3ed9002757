"""The gamma scalper. Its rules fill more than one file, so this strategy is a package of its own."""

from scalpdesk.strategies.gamma_scalper.strategy import PLUG

__all__ = ["PLUG"]
