"""Venues: one package each, with messages read and written without I/O and a gateway that connects."""

from scalpdesk.core.doors import door

__getattr__, __dir__ = door(__name__, __file__)
