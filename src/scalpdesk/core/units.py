"""Units in types, and the one place where exact and floating numbers meet.

Paid amounts are exact (``Decimal`` or ``int``); estimates are ``float``. A float becomes an
exact price only through :func:`exact`, and only with the decimals its instrument quotes in.
"""

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import Any, NewType

from scalpdesk.core.errors import ArgumentError

InstrumentId = NewType("InstrumentId", int)
"""Position of an instrument in the desk's :class:`~scalpdesk.instruments.contract.Instruments`."""

NANOS_PER_SECOND = 1_000_000_000
NANOS_PER_MS = 1_000_000
MINUTE_NS = 60 * NANOS_PER_SECOND
HOUR_NS = 60 * MINUTE_NS
DAY_SECONDS = 86_400
DAY_NS = DAY_SECONDS * NANOS_PER_SECOND
NEVER_NS = 2**62 - 1
"""An instant that never comes, UTC nanoseconds: in 2116, for compiled modules keep 63 bits unboxed."""
DAYS_PER_YEAR = 365.0
SECONDS_PER_YEAR = DAYS_PER_YEAR * DAY_SECONDS
"""ACT/365 fixed: the day count of every ``years`` argument unless it says otherwise."""
SESSIONS_PER_YEAR = 252
"""Trading days of a year of US sessions."""

ZERO = Decimal(0)
CENT = Decimal("0.01")
SATOSHI = Decimal("0.00000001")
"""Smallest amount of an account in coin."""


def exact(value: float, decimals: int = 4) -> Decimal:
    """Turn a quoted float into the exact price it stands for.

    Parameters
    ----------
    value
        Price in the quote currency per unit.
    decimals
        Decimals that the instrument can quote (4 for US shares and options; mids included).

    Raises
    ------
    ArgumentError
        When the value is not finite.

    Examples
    --------
    >>> exact(0.1 + 0.2)
    Decimal('0.3000')
    """
    if not -1e300 < value < 1e300:
        raise ArgumentError("a price must be finite", where="value", value=value)
    return Decimal(f"{value:.{decimals}f}")


def to_cents(amount: Decimal, unit: Decimal = CENT) -> Decimal:
    """Round an amount of money to cents (or to the account's own unit), halves away from zero.

    >>> to_cents(Decimal("-2.675"))
    Decimal('-2.68')
    """
    return amount.quantize(unit, rounding=ROUND_HALF_UP)


def rounded_text(value: float | Decimal, decimals: int, form: str = ",") -> str:
    """Return a figure with so many decimals, halves away from zero: as `to_cents` rounds what is booked.

    A float counts as the shortest decimal number that stands for it: 66.445 is 66.45, although the binary
    fraction behind it lies below. Python's format would give 66.44, and for an exact 66.445 too.

    ``value``: A finite figure, or NaN or infinity, which are shown as they are.
    ``form``: Sign and grouping as in a format: ``","``, ``"+,"``.

    >>> rounded_text(66.445, 2), rounded_text(Decimal("66.4450"), 2), rounded_text(-0.125, 2, "+")
    ('66.45', '66.45', '-0.13')
    """
    exact_value = value if isinstance(value, Decimal) else Decimal(str(float(value)))
    if not exact_value.is_finite() or abs(exact_value) >= _MOST_ROUNDED:
        return f"{value:{form}.{decimals}f}"
    return f"{to_cents(exact_value, Decimal(1).scaleb(-decimals)):{form}f}"


_MOST_ROUNDED = Decimal(10) ** 15
"""From here on a cent lies beyond the digits that a double has."""


def money_decimals(currency: str) -> int:
    """Return the decimals of an account's amounts: two of dollars and dollar coins, eight of another coin.

    >>> money_decimals("USDC"), money_decimals("BTC")
    (2, 8)
    """
    return 2 if currency.startswith("USD") else -int(SATOSHI.as_tuple().exponent)


def run_currency(config: Mapping[str, Any]) -> str:
    """Return the currency of a run from its stored configuration; USD without ``desk.currency``.

    >>> run_currency({"desk": {"currency": "BTC"}}), run_currency({})
    ('BTC', 'USD')
    """
    return str(config.get("desk", {}).get("currency", "USD"))


def money_text(amount: float, currency: str) -> str:
    """Return an amount as a sentence names it: to the cent, or a coin to a hundred-thousandth.

    >>> money_text(12.5, "USD"), money_text(-0.00123, "BTC")
    ('12.50 USD', '-0.00123 BTC')
    """
    return f"{amount:.{2 if money_decimals(currency) == 2 else 5}f} {currency}"


def number_text(value: Decimal) -> str:
    """Return an exact number as text, without exponent and needless zeros.

    >>> number_text(Decimal("10.50")), number_text(Decimal("1E+2")), number_text(Decimal("-0.00"))
    ('10.5', '100', '0')
    """
    text = str(value)  # half the time of a format
    if "E" in text:
        text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def count_text(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural unless it is 1.

    >>> count_text(1, "row"), count_text(0, "row"), count_text(1200, "row")
    ('1 row', '0 rows', '1,200 rows')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def round_half_away(value: float | Decimal) -> int:
    """Round to the nearest whole number, ties away from zero.

    A hedge of 2.5 shares is 3, of -2.5 is -3; Python's own ``round`` would give 2. A float is read
    with a guard of 1e-9 so that 2.4999999999 from a sum of floats counts as the tie it stands for.

    >>> [round_half_away(x) for x in (2.5, -2.5, 0.49, 2.4999999999999)]
    [3, -3, 0, 3]
    """
    number = value if isinstance(value, Decimal) else Decimal(f"{value:.9f}")
    return int(number.to_integral_value(rounding=ROUND_HALF_UP))


def round_to_tick(price: Decimal, tick: Decimal, side: str = "nearest") -> Decimal:
    """Round a price to the tick grid.

    ``price``, ``tick``: In the quote currency per unit.
    ``side``: ``up``, ``down`` or ``nearest`` (ties to even ticks).
    Raises ArgumentError when the tick is not positive or the side is unknown.

    Examples
    --------
    >>> round_to_tick(Decimal("590.025"), Decimal("0.01"), "up")
    Decimal('590.03')
    """
    if tick <= 0:
        raise ArgumentError("a tick must be positive", where="tick", value=tick)
    modes = {"up": ROUND_CEILING, "down": ROUND_FLOOR, "nearest": ROUND_HALF_EVEN}
    if side not in modes:
        raise ArgumentError("unknown rounding side", where="side", value=side, fix="use up, down or nearest")
    return (price / tick).to_integral_value(rounding=modes[side]) * tick


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """Round toward zero to a multiple of ``step`` (an order size to its minimum increment)."""
    return (value / step).to_integral_value(rounding=ROUND_DOWN) * step


def exceeds(value: float, threshold: float) -> bool:
    """Return whether ``value`` is strictly above ``threshold``, with a guard of 1e-12.

    0.3 / 0.1 is 2.9999999999999996 in floats; a dead band of exactly 3 must read it as equal.
    """
    return value - threshold > 1e-12 * max(1.0, abs(threshold))


def years_between(start_ns: int, end_ns: int) -> float:
    """ACT/365 years from ``start_ns`` to ``end_ns`` (UTC nanoseconds), never below zero."""
    return max(end_ns - start_ns, 0) / NANOS_PER_SECOND / SECONDS_PER_YEAR


def finite(value: float) -> float | None:
    """Return the value, or None where JSON has no number for it."""
    return float(value) if abs(value) < float("inf") else None
