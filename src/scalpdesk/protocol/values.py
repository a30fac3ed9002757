"""Values of protocol v1: exact numbers, deterministic ids, instants, and the freshness of events."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Any

import msgspec

from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.core.units import NANOS_PER_SECOND

PROTOCOL = "v1"
ID_PATTERN = r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,127}$"
"""Pattern of ``event_id`` and ``intent_id`` in the schema."""
ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,127}\Z")
"""The same, with ``\\Z`` for ``$``: no newline may follow."""
_LONGEST_DECIMAL = 400
"""Longest text of a number: enough for any double written out."""
_FOREIGN = re.compile(r"[^A-Za-z0-9_-]")


def to_decimal(value: object) -> Decimal:
    """Convert a number of a message to the exact decimal of its text.

    Parameters
    ----------
    value
        An ``int``, ``float`` (its shortest text), ``Decimal`` or decimal text.

    Raises
    ------
    ArgumentError
        For a bool, anything that is no number, NaN and the infinities.

    Examples
    --------
    >>> to_decimal(0.65) * to_decimal(10)
    Decimal('6.50')
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise ArgumentError("not a number", where="value", value=value, fix="give a number or its text")
    try:
        number = value if isinstance(value, Decimal) else Decimal(_text(value))
    except (InvalidOperation, ValueError) as error:
        raise ArgumentError("not a number", where="value", value=str(value)[:80]) from error
    if not number.is_finite():
        raise ArgumentError("a number must be finite", where="value", value=value)
    return number


def _text(value: Any) -> str:
    if isinstance(value, float):
        return float.__repr__(value)  # a subclass may have a repr of its own
    if isinstance(value, int):
        return str(int(value))
    text = str(value)
    if len(text) > _LONGEST_DECIMAL or "_" in text:
        raise ValueError(text[:20])
    return text


def decimal_text(value: object) -> str:
    """Return a number as text without an exponent and without trailing zeros.

    Raises
    ------
    ArgumentError
        When it is no finite number, or longer than 400 characters.

    Examples
    --------
    >>> [decimal_text(x) for x in ("7.00", 650, 0.1, "-0.0", "1E+3")]
    ['7', '650', '0.1', '0', '1000']
    """
    number = to_decimal(value)
    if abs(number.adjusted()) > _LONGEST_DECIMAL:
        raise ArgumentError("number too large or too small for decimal text", where="value", value=value)
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def intent_id(
    kind: str,
    symbol: str,
    *,
    strategy: str,
    event_id: str,
    side: str,
    qty: object,
    seq: int = 0,
) -> str:
    """Return the deterministic id of an intent, so that a replay gives every intent the same id.

    ``kind_symbol_hex12``, where ``hex12`` are the first digits of the SHA-256 of
    ``v1|strategy|kind|event_id|symbol|side|qty|seq``.

    Parameters
    ----------
    kind
        Purpose: ``hedge``, ``exit``; letters, digits, ``_`` and ``-``.
    symbol
        Instrument; other characters than these become ``_``.
    strategy, event_id, side
        Name of the strategy, the event that it answers, ``buy`` or ``sell``.
    qty
        Quantity, hashed without trailing zeros (7.0 is 7).
    seq
        Distinguishes equal intents that answer one event.

    Raises
    ------
    ArgumentError
        When the result would be no valid id, or ``qty`` is no number.

    Examples
    --------
    >>> intent_id("hedge", "SPY", strategy="0dte_gamma_scalper", event_id="evt_12345", side="sell", qty=7)
    'hedge_SPY_b330d6012b4c'
    """
    text = f"v1|{strategy}|{kind}|{event_id}|{symbol}|{side}|{decimal_text(qty)}|{seq}"
    try:
        digest = sha256(text.encode()).hexdigest()[:12]
    except UnicodeEncodeError as error:
        raise ArgumentError("not valid UTF-8 text", where="symbol", value=ascii(text)[:80]) from error
    name = f"{kind}_{_FOREIGN.sub('_', symbol)}_{digest}"
    if not ID.match(name):
        raise ArgumentError(
            "not a valid intent id",
            where="kind, symbol",
            value=name[:160],
            fix="use letters and digits in the kind, and at most 128 characters in all",
        )
    return name


_MAX_AGE_KEY = "STRATEGY_EVENT_MAX_AGE_SECONDS"
_MAX_FUTURE_KEY = "STRATEGY_EVENT_MAX_FUTURE_SKEW_SECONDS"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_ts(text: object) -> datetime:
    """Parse the ``ts`` of a message: ISO-8601 with ``Z`` or an offset, truncated to microseconds, in UTC.

    Raises
    ------
    ArgumentError
        When it is no such text, or has no offset.

    Examples
    --------
    >>> parse_ts("2025-12-30T09:30:00-05:00").isoformat()
    '2025-12-30T14:30:00+00:00'
    """
    problem: Exception | None = None
    try:
        instant = datetime.fromisoformat(text) if isinstance(text, str) else None
        if instant is not None and instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        problem = error
    raise ArgumentError(
        "not an instant",
        where="ts",
        value=str(text)[:80],
        fix='write ISO-8601 in UTC: "2025-12-30T14:30:00Z"',
    ) from problem


def ts_ns(text: object) -> int:
    """Parse a ``ts`` to UTC nanoseconds since 1970; raises as :func:`parse_ts`."""
    return (parse_ts(text) - _EPOCH) // timedelta(microseconds=1) * 1000


def ts_text(at_ns: int) -> str:
    """Format UTC nanoseconds since 1970 as a ``ts``, to the microsecond.

    >>> ts_text(1_767_105_000_250_000_000)
    '2025-12-30T14:30:00.250000Z'
    """
    instant = _EPOCH + timedelta(microseconds=at_ns // 1000)
    return instant.replace(tzinfo=None).isoformat() + "Z"


class FreshnessGuard(msgspec.Struct, frozen=True):
    """Age limits of events; not used in a replay."""

    max_age_seconds: float = 30.0
    """Greatest age of an event."""
    max_future_seconds: float = 5.0
    """Greatest lead of the source's clock."""

    def verdict(self, ts: object, now_ns: int) -> str:
        """Return ``ok``, ``invalid_ts``, ``stale_ts`` or ``future_ts`` for a ``ts`` at ``now_ns``."""
        try:
            age_ns = now_ns - ts_ns(ts)
        except ArgumentError:
            return "invalid_ts"
        if age_ns > self.max_age_seconds * NANOS_PER_SECOND:
            return "stale_ts"
        if -age_ns > self.max_future_seconds * NANOS_PER_SECOND:
            return "future_ts"
        return "ok"


def freshness_from(environ: Mapping[str, str]) -> FreshnessGuard:
    """Read the age limits from the environment.

    Raises ConfigError when a limit is not a number of zero or more.
    """
    guard = FreshnessGuard()
    age = _limit(environ, _MAX_AGE_KEY, guard.max_age_seconds)
    return FreshnessGuard(age, _limit(environ, _MAX_FUTURE_KEY, guard.max_future_seconds))


def _limit(environ: Mapping[str, str], key: str, default: float) -> float:
    text = environ.get(key, "").strip()
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds < 1e9:
        raise ConfigError(
            "not a number of seconds", where=key, value=text, fix=f"unset {key}, or set e.g. 30"
        )
    return seconds
