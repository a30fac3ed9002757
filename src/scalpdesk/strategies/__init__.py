"""Trading strategies, and the contract and toolkit that they stand on."""

from scalpdesk.core.doors import door

__getattr__, __dir__ = door(__name__, __file__)
