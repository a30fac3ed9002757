"""What an answer of Alpaca's REST interface proves, and what it leaves open. Pure: no I/O.

One code of Alpaca stands for unrelated causes, so an answer is judged by its HTTP status and its
text together. Only the venue's own refusal ends an order; everything that leaves open whether the
order was taken is :attr:`Verdict.DOUBT`.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from scalpdesk.venues.alpaca.fields import UNREADABLE


class Verdict(StrEnum):
    """What an answer means for the request that it answers."""

    DONE = "done"
    REFUSED = "refused"
    """The venue's final word: it did not do it and will not."""
    DUPLICATE = "duplicate"
    """The client order id was used before: proof that the first request arrived."""
    NOT_FOUND = "not_found"
    """No such order, position or asset."""
    TOO_LATE = "too_late"
    """The order is over, or not yet at the exchange: it cannot be cancelled or replaced now."""
    LIMITED = "limited"
    """Too many requests; this one was not carried out."""
    UNAUTHORIZED = "unauthorized"
    """The keys are not accepted."""
    DOUBT = "doubt"
    """Nobody knows whether it was carried out."""


class Answer(msgspec.Struct, frozen=True):
    """A judged answer; ``reason`` is the venue's own text with its code, fit for a person."""

    verdict: Verdict
    reason: str = ""


class RateLimit(msgspec.Struct, frozen=True):
    """The venue's own count of requests."""

    limit: int
    remaining: int
    reset_s: int
    """When the window ends, UTC seconds since 1970."""


class _Error(msgspec.Struct):
    code: int | str | None = None
    message: str | None = None


_ERROR = msgspec.json.Decoder(_Error).decode
_LONGEST_REASON = 200
_DUPLICATE_TEXT = "client_order_id must be unique"
_TOO_LATE_TEXTS = ("order is already in", "isn't sent to exchange yet", "is not cancelable", "not open")
LARGEST_RATE = 10**9


def judge(status: int, body: bytes) -> Answer:
    """Return what an answer proves.

    Parameters
    ----------
    status
        HTTP status.
    body
        The answer's bytes; an error's ``code`` and ``message`` are read where there are any.
    """
    if 200 <= status < 300:
        return Answer(Verdict.DONE)
    reason = _reason(status, body)
    said = reason.lower()
    if status == 401 or (status == 403 and ("not authorized" in said or "forbidden." in said)):
        return Answer(Verdict.UNAUTHORIZED, reason)
    if status == 429:
        return Answer(Verdict.LIMITED, reason)
    if status == 404:
        return Answer(Verdict.NOT_FOUND, reason)
    if status == 422 and _DUPLICATE_TEXT in said:
        return Answer(Verdict.DUPLICATE, reason)
    if status == 422 and any(known in said for known in _TOO_LATE_TEXTS):
        return Answer(Verdict.TOO_LATE, reason)
    if status in (400, 403, 405, 415, 422):
        return Answer(Verdict.REFUSED, reason)
    return Answer(Verdict.DOUBT, reason)  # 408, 409, 5xx, redirects and what nobody has seen yet


def _reason(status: int, body: bytes) -> str:
    try:
        error = _ERROR(body)
    except UNREADABLE:
        return f"HTTP {status}"
    message = "".join(one for one in (error.message or "") if one.isprintable())
    parts = [f"HTTP {status}", "" if error.code is None else str(error.code)[:12], message]
    return " ".join(part for part in parts if part)[:_LONGEST_REASON]


def rate_limit(headers: Mapping[str, str]) -> RateLimit | None:
    """Return the rate limit that headers state (names in small letters), None for none to believe."""
    try:
        limit, remaining, reset_s = (
            int(headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset")
        )
    except (KeyError, ValueError):
        return None
    if not (0 < limit < LARGEST_RATE and 0 <= remaining <= limit and 0 <= reset_s < 4_102_444_800):
        return None
    return RateLimit(limit, remaining, reset_s)
