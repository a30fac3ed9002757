"""Tests of plug-ins, fault trials, the rehearsal of disasters and worked cases (``drill``, ``selftest``)."""

from scalpdesk.core.doors import door

__getattr__, __dir__ = door(__name__, __file__)
