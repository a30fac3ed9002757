"""Exact numbers and deterministic ids of protocol v1.

Times of protocol v1: ISO-8601 with an offset, and how fresh an event must be.
"""

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
"""Of ``event_id`` and ``intent_id``; matched to the very end, so that no newline follows."""
ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,127}\Z")
LONGEST_DECIMAL = 400
"""Characters of a number's text: what a double can hold written out, and no more."""
_FOREIGN = re.compile(r"[^A-Za-z0-9_-]")


def to_decimal(value: object) -> Decimal:
    """Read a number of a message as the exact decimal it is written as.

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
        raise ArgumentError("not a number", where="value", value=value, fix="hand in a number or its text")
    try:
        number = value if isinstance(value, Decimal) else Decimal(_text(value))
    except (InvalidOperation, ValueError) as error:
        raise ArgumentError("not a number", where="value", value=str(value)[:80]) from error
    if not number.is_finite():
        raise ArgumentError("a number must be finite", where="value", value=value)
    return number


def _text(value: Any) -> str:
    if isinstance(value, float):
        return float.__repr__(value)  # of a subclass too, whatever its own repr looks like
    if isinstance(value, int):
        return str(int(value))
    text = str(value)
    if len(text) > LONGEST_DECIMAL or "_" in text:
        raise ValueError(text[:20])
    return text


def decimal_text(value: object) -> str:
    """Return a number as text without an exponent and without trailing zeros.

    Raises
    ------
    ArgumentError
        When it is no finite number, or would fill more than 400 characters.

    Examples
    --------
    >>> [decimal_text(x) for x in ("7.00", 650, 0.1, "-0.0", "1E+3")]
    ['7', '650', '0.1', '0', '1000']
    """
    number = to_decimal(value)
    if abs(number.adjusted()) > LONGEST_DECIMAL:
        raise ArgumentError("a number too large or too small to be written out", where="value", value=value)
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
    """Return the id of an intent: the same question always gets the same id.

    ``kind_symbol_hex12`` where ``hex12`` begins the SHA-256 of
    ``v1|strategy|kind|event_id|symbol|side|qty|seq``. A replay names every intent the same, and a
    repeated one can be told from a new one.

    Parameters
    ----------
    kind
        What the intent is for: ``hedge``, ``exit``; letters, digits, ``_`` and ``-``.
    symbol
        Instrument; in the id other characters than those become ``_``.
    strategy, event_id, side
        Who asks, in answer to which event, ``buy`` or ``sell``.
    qty
        Quantity; counts without trailing zeros (7.0 is 7).
    seq
        Tells apart equal intents that answer one event.

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
        raise ArgumentError(
            "not text that UTF-8 can carry", where="symbol", value=ascii(text)[:80]
        ) from error
    name = f"{kind}_{_FOREIGN.sub('_', symbol)}_{digest}"
    if not ID.match(name):
        raise ArgumentError(
            "no valid intent id comes of this",
            where="kind, symbol",
            value=name[:160],
            fix="a kind of letters and digits, and at most 128 characters in all",
        )
    return name


MAX_AGE_KEY = "STRATEGY_EVENT_MAX_AGE_SECONDS"
MAX_FUTURE_KEY = "STRATEGY_EVENT_MAX_FUTURE_SKEW_SECONDS"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def parse_ts(text: object) -> datetime:
    """Return the instant that a message's ``ts`` names, in UTC.

    Parameters
    ----------
    text
        ISO-8601 with ``Z`` or an offset. Digits beyond microseconds are cut off.

    Raises
    ------
    ArgumentError
        When it is no such text, or names no offset: a time without one is no instant.

    Examples
    --------
    >>> parse_ts("2025-12-30T09:30:00-05:00").isoformat()
    '2025-12-30T14:30:00+00:00'
    """
    try:
        instant = datetime.fromisoformat(text)  # type: ignore[arg-type]  # anything but text is refused below
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise _no_time(text) from error
    raise _no_time(text)


def _no_time(text: object) -> ArgumentError:
    return ArgumentError(
        "not an instant",
        where="ts",
        value=str(text)[:80],
        fix='write ISO-8601 in UTC: "2025-12-30T14:30:00Z"',
    )


def ts_ns(text: object) -> int:
    """Return the instant of a ``ts`` in UTC nanoseconds since 1970.

    Raises
    ------
    ArgumentError
        As :func:`parse_ts`.
    """
    return (parse_ts(text) - _EPOCH) // _MICROSECOND * 1000


def ts_text(at_ns: int) -> str:
    """Return UTC nanoseconds since 1970 as the protocol writes them, to the microsecond.

    >>> ts_text(1_767_105_000_250_000_000)
    '2025-12-30T14:30:00.250000Z'
    """
    instant = _EPOCH + timedelta(microseconds=at_ns // 1000)
    return instant.replace(tzinfo=None).isoformat() + "Z"


class FreshnessGuard(msgspec.Struct, frozen=True):
    """Refuses events too old to act on, or from the future. Off in a replay.

    Parameters
    ----------
    max_age_seconds
        Oldest event that is fresh.
    max_future_seconds
        Furthest ahead of the clock that a source's clock may be.
    """

    max_age_seconds: float = 30.0
    max_future_seconds: float = 5.0

    def verdict(self, ts: object, now_ns: int) -> str:
        """Return ``ok``, ``invalid_ts``, ``stale_ts`` or ``future_ts`` for an event's ``ts`` at ``now_ns``.

        A text that is no instant is ``invalid_ts``; it is never taken for now.
        """
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
    """Return the guard that the environment asks for.

    Raises
    ------
    ConfigError
        When a limit is no number of zero or more.
    """
    guard = FreshnessGuard()
    age = _limit(environ, MAX_AGE_KEY, guard.max_age_seconds)
    return FreshnessGuard(age, _limit(environ, MAX_FUTURE_KEY, guard.max_future_seconds))


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
