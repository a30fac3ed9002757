"""Fault trials, the rehearsal of disasters and worked cases: the commands ``drill`` and ``selftest``."""
