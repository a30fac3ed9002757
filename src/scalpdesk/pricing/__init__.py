"""Option prices, Greeks and implied volatilities of plain numbers and arrays."""

from scalpdesk.core.doors import door

__getattr__, __dir__ = door(__name__, __file__)
