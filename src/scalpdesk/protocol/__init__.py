"""Protocol v1 between the desk and a strategy folder: market events in, order intents out, as JSON."""

from scalpdesk.core.doors import door

__getattr__, __dir__ = door(__name__, __file__)
