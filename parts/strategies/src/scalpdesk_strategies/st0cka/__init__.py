"""st0cka: the one-cent scalp in shares. Its rules fill more than one file, so it is a package of its own."""

from scalpdesk_strategies.st0cka.strategy import PLUG

__all__ = ["PLUG"]
