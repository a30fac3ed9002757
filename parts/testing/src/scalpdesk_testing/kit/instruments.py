"""A share and options on it, by the numbers one thinks in."""

from datetime import date
from decimal import Decimal

from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments, OptionContract, Right, occ_symbol

DAY = date(2024, 3, 4)
"""A Monday with a full session, 09:30 to 16:00 New York (14:30 to 21:00 UTC)."""

EXPIRY = date(2024, 4, 19)
"""46 calendar days after :data:`DAY`."""


def share(symbol: str = "SPY") -> Equity:
    """Return a share quoted in cents."""
    return Equity(symbol)


def option(right: str, strike: str | int = 500, expiry: date = EXPIRY, root: str = "SPY") -> OptionContract:
    """Return a US listed option; ``right`` is ``C`` or ``P``.

    >>> option("C", 500).symbol
    'SPY240419C00500000'
    """
    return us_option(occ_symbol(root, expiry, Right(right), Decimal(strike)), [root])


def straddle_book(*strikes: int, expiry: date = EXPIRY, symbol: str = "SPY") -> Instruments:
    """Return a book of one share (number 0) and a call and a put per strike (1 and 2, 3 and 4, ...)."""
    book = Instruments([share(symbol)])
    for strike in strikes or (500,):
        book.add(option("C", strike, expiry, symbol))
        book.add(option("P", strike, expiry, symbol))
    return book
