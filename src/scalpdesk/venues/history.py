"""A venue's daily bars: what a volatility forecast is fitted to when nothing better is at hand."""

from datetime import date

import msgspec


class DailyBar(msgspec.Struct, frozen=True):
    """One session of one instrument; prices in the quote currency per unit, volume in units.

    Prices are adjusted for splits, not for dividends.
    """

    day: date
    open: float
    high: float
    low: float
    close: float
    volume: float
