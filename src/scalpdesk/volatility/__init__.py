"""Realised volatility, volatility forecasts, variance clocks and regimes."""

from scalpdesk.core.doors import door

__getattr__, __dir__ = door(__name__, __file__)
