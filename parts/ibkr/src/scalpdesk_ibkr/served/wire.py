"""Frames of the TWS socket: a length, then text fields that end in NUL, laid out by the server version."""

import asyncio
import re
import struct
from collections.abc import Iterator
from decimal import Decimal

from scalpdesk.core.units import number_text

_OLDEST_VERSION, _NEWEST_VERSION = 157, 178
"""Server versions whose layouts are known; from 201 on messages are protobuf."""
_SKIPPED_VERSION = 158
"""ib_async reads a duration in its openOrder from 159 on, the official client from 158."""
DECIMAL_SIZES = 163
"""Version from which sizes may have decimals."""
MOST_BYTES = 1 << 20
LARGEST = 1e12
"""Largest number that a request may state."""
_UNSET = frozenset({"", "1.7976931348623157e+308", "1.7976931348623157E308", "2147483647"})
"""Texts of a field without a value."""
_OFFER = re.compile(rb"v(\d{3})\.\.(\d{3})")

Field = str | int | float | Decimal | None
"""Value of a field; None is an empty one."""
Message = tuple[Field, ...]
"""Fields of a message, its id first."""


class TwsError(Exception):
    """A request that cannot be read or served."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def _text_of(value: Field) -> str:
    """Return the text of a field: a flag as 0 or 1, a number without an exponent and without needless zeros.

    >>> [_text_of(value) for value in (None, True, 25.0, Decimal("25.50"), "SPY")]
    ['', '1', '25', '25.5', 'SPY']
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return number_text(value if isinstance(value, Decimal) else Decimal(str(value + 0)))


def size_of(value: float | Decimal, version: int) -> Field:
    """Return a size; whole below :data:`DECIMAL_SIZES`, where a client reads no other number."""
    return value if version >= DECIMAL_SIZES else round(value)


def encode(*fields: Field) -> bytes:
    """Return the frame of a message; ASCII without backslashes, since clients decode escapes."""
    body = "".join(f"{_text_of(field)}\0" for field in fields)
    data = body.replace("\\", "?").encode("ascii", "replace")
    return struct.pack(">I", len(data)) + data


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """Return the next frame's body; None at the end of the connection and at an impossible length."""
    try:
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        return await reader.readexactly(length) if 0 < length <= MOST_BYTES else None
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def agreed_version(offer: bytes) -> int | None:
    """Return the newest version that both ends know; None without one.

    >>> agreed_version(b"v157..178"), agreed_version(b"v100..157 +PACEAPI"), agreed_version(b"v201..210")
    (178, 157, None)
    """
    found = _OFFER.match(offer)
    if found is None:
        return None
    oldest, newest = int(found[1]), min(int(found[2]), _NEWEST_VERSION)
    if newest == _SKIPPED_VERSION:
        newest -= 1
    return newest if newest >= max(oldest, _OLDEST_VERSION) else None


def number_of(text: str, name: str) -> Decimal | None:
    """Return the number of a field's text, None when it is unset.

    Raises TwsError when it is no finite number; names the field ``name``.
    """
    if not text:
        return None
    try:
        value = Decimal(text)
    except ArithmeticError:
        value = Decimal("NaN")
    if not value.is_finite() or abs(value) > LARGEST:
        raise TwsError(321, f"Error validating request: {name} is no number within {LARGEST:e}")
    return value


class Reader:
    """The fields of one request, read in their order."""

    def __init__(self, body: bytes) -> None:
        self._fields: Iterator[str] = iter(body.decode("utf-8", "replace").split("\0")[:-1])

    def text(self) -> str:
        """Return the next field. Raises TwsError when there is no other field."""
        found = next(self._fields, None)
        if found is None:
            raise TwsError(320, "Server error when reading an API client request: a field is missing")
        return "" if found in _UNSET else found

    def texts(self, count: int) -> list[str]:
        """Return the next ``count`` fields."""
        return [self.text() for _ in range(count)]

    def rest(self) -> list[str]:
        """Return all further fields."""
        return list(self._fields)

    def number(self, name: str) -> Decimal | None:
        """Return the next field as a number, None when it is unset; ``name`` is for the error."""
        return number_of(self.text(), name)

    def whole(self, name: str) -> int:
        """Return the next field as an integer, 0 when it is unset; ``name`` is for the error."""
        value = self.number(name)
        return int(value) if value is not None else 0

    def flag(self, name: str) -> bool:
        """Return the next field as a flag, false when it is unset."""
        return bool(self.whole(name))
