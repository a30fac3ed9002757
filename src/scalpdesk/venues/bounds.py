"""Bounds of what a venue's message can mean: beyond them a number is a slip, or the vendor's "no value"."""

from decimal import Decimal

from scalpdesk.core.units import NANOS_PER_SECOND

LATEST_NS = 4_102_444_800 * NANOS_PER_SECOND
"""2100-01-01: a stamp from there on is a slip of digits."""
_LARGEST_AMOUNT = Decimal(10) ** 13
"""From 10 trillion on an amount, a price or a size is none."""
LARGEST_FIGURE = float(_LARGEST_AMOUNT)
LARGEST_COUNT = 10**9
"""Most contracts, open or in a multiplier."""


def is_instant(at_ns: int) -> bool:
    """Return whether UTC nanoseconds lie between 1970 and 2100."""
    return 0 <= at_ns < LATEST_NS


def is_amount(value: Decimal, finest: int = -40) -> bool:
    """Return whether a number is finite, of believable size, and of at most ``-finest`` decimals.

    >>> [is_amount(Decimal(text)) for text in ("-0.05", "1E+30", "NaN", "1E-999999")]
    [True, False, False, False]
    """
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        return False
    # adjusted() compares magnitudes without writing out the digits of 1e999999
    return not value or (value.adjusted() < _LARGEST_AMOUNT.adjusted() and exponent >= finest)


def is_figure(value: float) -> bool:
    """Return whether a price or a size is finite and of believable size.

    >>> is_figure(-1.0), is_figure(1e30), is_figure(float("nan"))
    (True, False, False)
    """
    return -LARGEST_FIGURE < value < LARGEST_FIGURE


def is_count(value: float | Decimal) -> bool:
    """Return whether a number of contracts is one.

    >>> is_count(12_345.0), is_count(2.0**127 - 1), is_count(float("nan")), is_count(-1)
    (True, False, False, False)
    """
    return 0 <= value <= LARGEST_COUNT
