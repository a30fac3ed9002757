"""The 0DTE gamma scalper: its rules, its ledger of protocol events, and the strategy."""

from scalpdesk.strategies.zero_dte.strategy import PLUG

__all__ = ["PLUG"]
