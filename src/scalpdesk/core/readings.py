"""What a person may mean by a number, a time or a day that nothing takes: ``30%``, ``100k``, ``3:30pm``."""

import re
from calendar import monthrange
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal

_NUMBER = re.compile(r"([-+]?)\s*[$€£]?\s*(\d[\d,_ ]*\.?\d*|\.\d+)\s*(%|[a-z]+)?\.?", re.IGNORECASE)
_UNITS: dict[str, Decimal] = {
    "": Decimal(1),
    "%": Decimal("0.01"),
    "pct": Decimal("0.01"),
    "percent": Decimal("0.01"),
    "bp": Decimal("0.0001"),
    "bps": Decimal("0.0001"),
    "k": Decimal(1_000),
    "m": Decimal(1_000_000),
    "mm": Decimal(1_000_000),
    "mio": Decimal(1_000_000),
}
_BARE = ("ms", "s", "sec", "secs", "second", "seconds", "min", "mins", "minute", "minutes", "h", "d", "day")
_BARE_UNITS = frozenset((*_BARE, "days", "dte", "usd", "dollar", "dollars", "x", "shares", "contracts"))
"""Units that a key has already: the number alone is written."""
_TIME = re.compile(r"(\d{1,2})(?:[:.h]?(\d{2}))?\s*([ap]\.?m\.?)?", re.IGNORECASE)


_DAY = re.compile(r"(\d{1,4})[-./ ](\d{1,2})[-./ ](\d{1,4})")


def date_meant(text: str) -> date | None:
    """Return the day that a text means; None where it means none.

    With slashes the month comes first, with dots the day. A day that its month does not have is its last.

    Examples
    --------
    >>> [str(date_meant(text)) for text in ("05.02.2018", "2/5/18", "2018/2/5", "2018-02-30", "soon")]
    ['2018-02-05', '2018-02-05', '2018-02-05', '2018-02-28', 'None']
    """
    found = _DAY.fullmatch(text.strip())
    if found is None:
        return None
    first, second, third = (int(each) for each in found.groups())
    if first > 31:
        year, month, day = first, second, third
    elif "/" in text and first <= 12:
        year, month, day = third, first, second
    else:
        year, month, day = third, second, first
    year += 2_000 if year < 100 else 0
    if not (1 <= month <= 12 and 1 <= day <= 31 and 1 <= year <= 9_999):
        return None
    return date(year, month, min(day, monthrange(year, month)[1]))


def number_readings(value: object) -> Iterator[Decimal]:
    """Yield what a value may mean as a number, likeliest first: as written, without its sign, as percent.

    Examples
    --------
    >>> [str(each) for each in number_readings("$50,000")][0]
    '50000'
    >>> [str(each) for each in number_readings(-30)]
    ['-30', '30', '0.3']
    """
    found = _NUMBER.fullmatch(str(value).strip())
    if found is None:
        return
    sign, digits, unit = found[1], re.sub(r"[,_ ]", "", found[2]), (found[3] or "").lower()
    factor = Decimal(1) if unit in _BARE_UNITS else _UNITS.get(unit)
    if factor is None:
        return
    size = Decimal(digits) * factor
    yield from ((-size, size) if sign == "-" else (size,))
    if size >= 1 and factor == 1:  # what has a unit is no bare per cent
        yield size / 100


def number_meant(value: object, fits: Callable[[Decimal], bool]) -> str | None:
    """Return the likeliest reading that fits, as it is typed; None where none does."""
    return next((number_text(each) for each in number_readings(value) if fits(each)), None)


def number_text(number: Decimal) -> str:
    """Return a number without an exponent and without zeros behind its last digit.

    Examples
    --------
    >>> [number_text(Decimal(text)) for text in ("1E+5", "0.2500", "30")]
    ['100000', '0.25', '30']
    """
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def time_meant(text: object) -> str | None:
    """Return the time of day that a text means, as ``HH:MM``; None where it means none.

    Examples
    --------
    >>> [time_meant(text) for text in ("3:30pm", "9.35 am", "0945", "9h30", "10", "25:00")]
    ['15:30', '09:35', '09:45', '09:30', '10:00', None]
    """
    found = _TIME.fullmatch(str(text).strip())
    if found is None:
        return None
    hour, minute, half = int(found[1]), int(found[2] or 0), (found[3] or "").lower()
    if half:
        hour = hour % 12 + (12 if half.startswith("p") else 0)
    return f"{hour:02}:{minute:02}" if hour < 24 and minute < 60 else None
