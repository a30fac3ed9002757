"""The simulated exchange as a server: venues' own protocols over one broker and one market."""

from scalpdesk.core.doors import door

__getattr__, __dir__ = door(__name__, __file__)
