"""EMA-cloud options scalper (PRD-136): options of today or tomorrow on flips of the fast cloud."""

from scalpdesk.core.doors import door

__getattr__, __dir__ = door(__name__, __file__)
