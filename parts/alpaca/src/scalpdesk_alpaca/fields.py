"""Fields of Alpaca's messages: amounts, times and texts, each checked before it is believed.

What fails its check raises :class:`Malformed`.
"""

import re
from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import TypeVar

import msgspec
from msgspec.msgpack import Ext

from scalpdesk.base import NANOS_PER_SECOND, Side
from scalpdesk.venues import is_amount, is_instant

P = TypeVar("P")
T = TypeVar("T")

_TIMESTAMP_EXT = -1
"""MessagePack's own extension type for timestamps."""
_FINEST_EXPONENT = -18
"""Amounts of more than 18 decimals are no amounts; reinvested dividends leave 16."""
MOST_OF_COLLATERAL = Decimal(1_000_000)
"""Largest part of the collateral that a margin is stated as."""
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Errors that decoding arbitrary bytes may raise; ``ValidationError`` is a ``DecodeError``."""
LONGEST_SHOWN = 160
_STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.(\d{1,12}))?"
    r"(?:[Zz]|([+-])(\d\d):([0-5]\d))",
    re.ASCII,
)


class Malformed(ValueError):  # noqa: N818 - it is caught by name inside this package and never leaves it
    """A message that cannot be believed.

    ``name``: The named condition, for counters.
    ``detail``: What was there instead; cut to a readable length.
    """

    def __init__(self, name: str, detail: str = "") -> None:
        self.name = name
        self.detail = detail[:LONGEST_SHOWN]
        super().__init__(f"{name}: {self.detail}" if detail else name)


class BadMessage(msgspec.Struct, frozen=True):
    """A message, or a part of a message, that was not believed."""

    name: str
    """The named condition, for counters."""
    detail: str = ""


def decode(decoder: Callable[[bytes], T], raw: bytes, name: str) -> T:
    """Decode ``raw``."""
    try:
        return decoder(raw)
    except UNREADABLE as error:
        raise Malformed(name, f"{error} in {raw[:80]!r}") from None


def amount(value: Decimal | None, name: str) -> Decimal:
    """Return a finite amount of believable size; the sign is the caller's to judge.

    Raises Malformed when it is missing, not finite, too large or too fine.
    """
    if value is None:
        raise Malformed(f"no_{name}")
    if not is_amount(value, _FINEST_EXPONENT):
        raise Malformed(f"bad_{name}", str(value))
    return value or Decimal(0)


def positive(value: Decimal | None, name: str) -> Decimal:
    """Return an amount above zero."""
    checked = amount(value, name)
    if checked <= 0:
        raise Malformed(f"bad_{name}", str(checked))
    return checked


def not_negative(value: Decimal | None, name: str) -> Decimal:
    """Return an amount of zero or more."""
    checked = amount(value, name)
    if checked < 0:
        raise Malformed(f"bad_{name}", str(checked))
    return checked


def text(value: str | None, name: str, longest: int = 128) -> str:
    """Return a printable text that is not empty.

    Raises Malformed when it is missing, empty, too long or holds control characters.
    """
    if not value or len(value) > longest or not value.isprintable():
        raise Malformed(f"bad_{name}", repr(value)[:LONGEST_SHOWN])
    return value


@lru_cache(maxsize=64)
def _day_seconds(day: str) -> int:
    """Seconds from 1970 to the start of a day ``YYYY-MM-DD`` in UTC; ValueError where it is not a day."""
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * 86_400


def ns_of_text(stamp: str) -> int:
    """Return UTC nanoseconds of an RFC 3339 text, to the nanosecond.

    Raises Malformed when it is not one with a zone, or lies outside 1970 to 2100.

    >>> ns_of_text("2026-11-20T14:30:00.123456789Z")
    1795185000123456789
    >>> ns_of_text("2026-11-20T09:30:00.5-05:00")
    1795185000500000000
    """
    match = _STAMP.fullmatch(stamp)
    if match is None:
        raise Malformed("bad_timestamp", repr(stamp[:60]))
    day, hour, minute, second, fraction, sign, zone_hours, zone_minutes = match.groups()
    try:
        seconds = _day_seconds(day) + int(hour) * 3_600 + int(minute) * 60 + int(second)
    except ValueError:  # the 30th of February
        raise Malformed("bad_timestamp", stamp) from None
    if sign is not None:
        offset = int(zone_hours) * 3_600 + int(zone_minutes) * 60
        seconds += -offset if sign == "+" else offset
    nanos = int(fraction[:9].ljust(9, "0")) if fraction else 0
    ns = seconds * NANOS_PER_SECOND + nanos
    if not is_instant(ns):
        raise Malformed("bad_timestamp", stamp)
    return ns


def ns_of_ext(stamp: Ext) -> int:
    """Return UTC nanoseconds of MessagePack's timestamp extension (4, 8 or 12 bytes)."""
    data = bytes(stamp.data)
    if stamp.code != _TIMESTAMP_EXT or len(data) not in (4, 8, 12):
        raise Malformed("bad_timestamp", f"extension {stamp.code} of {len(data)} bytes")
    if len(data) == 4:
        seconds, nanos = int.from_bytes(data, "big"), 0
    elif len(data) == 8:
        packed = int.from_bytes(data, "big")
        seconds, nanos = packed & 0x3_FFFF_FFFF, packed >> 34
    else:
        nanos, seconds = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:], "big", signed=True)
    ns = seconds * NANOS_PER_SECOND + nanos
    if nanos >= NANOS_PER_SECOND or not is_instant(ns):
        raise Malformed("bad_timestamp", f"{seconds} s {nanos} ns")
    return ns


def ns_of(stamp: str | Ext | None) -> int:
    """Return UTC nanoseconds of a stamp in either codec."""
    if type(stamp) is str:
        return ns_of_text(stamp)
    if type(stamp) is Ext:
        return ns_of_ext(stamp)
    raise Malformed("no_timestamp")


def known_ns(stamp: str | Ext | None) -> int:
    """Return UTC nanoseconds of a stamp; 0 where it cannot be read: what happened counts, whenever it was."""
    try:
        return ns_of(stamp)
    except Malformed:
        return 0


_SIDES = {
    "buy": Side.BUY,
    "buy_minus": Side.BUY,
    "sell": Side.SELL,
    "sell_plus": Side.SELL,
    "sell_short": Side.SELL,
    "sell_short_exempt": Side.SELL,
}
"""Sides by the venue's names (its pages, "Account Activities")."""


def side_of(value: str | None) -> Side:
    """Return the side of an order or execution; a short sale is a sale."""
    side = _SIDES.get(value or "")
    if side is None:
        raise Malformed("bad_side", repr(value))
    return side


def read_each(parts: Iterable[P], read: Callable[[P], T]) -> tuple[list[T], list[BadMessage]]:
    """Return what the parts of a list hold, and what of it could not be believed."""
    found: list[T] = []
    refusals: list[BadMessage] = []
    for part in parts:
        try:
            found.append(read(part))
        except Malformed as refused:
            refusals.append(BadMessage(refused.name, refused.detail))
    return found, refusals


def day_of(value: str | None, name: str) -> date:
    """Return the day of a ``YYYY-MM-DD`` text."""
    try:
        return date.fromisoformat(value or "")
    except ValueError:
        raise Malformed(f"bad_{name}", repr(value)) from None
