"""st0ckg: buys the option of the day that the strongest of seven signals points at."""

from scalpdesk_strategies.st0ckg.strategy import PLUG

__all__ = ["PLUG"]
