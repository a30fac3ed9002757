"""What authors of every kind need: units, events, orders, instruments, sessions, errors."""

from scalpdesk.core.doors import door

__getattr__, __dir__ = door(__name__, __file__)
