"""Rehearsals: the whole live desk on the simulated exchange, on a virtual clock, with faults by seed."""
