"""Hedge bands, one module each; a module's name is its band's name.

A module holds the band's ``Config``, the band, and ``PLUG``, the class that
:mod:`scalpdesk.hedging.base` makes by name.
"""
