"""Names of PRD-136's ``greeks_gate.py``."""

from scalpdesk_strategies.ema_scalper import GreeksDecision, GreeksGate

__all__ = ["GreeksDecision", "GreeksGate"]
