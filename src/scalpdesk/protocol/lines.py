"""A line of NDJSON becomes a message, or is refused for what is wrong with it.

Stricter than most readers, for a line may become an order: UTF-8 only, no NaN or infinity, no number
that a double or 64 bits cannot hold, no name twice in one object.
"""

import json
from math import isfinite
from typing import Any

import msgspec

from scalpdesk.core.errors import DataError
from scalpdesk.protocol.validation import OK, event_verdict, shutdown_verdict

LONGEST_LINE_BYTES = 1 << 20
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1


def read_message(line: bytes) -> dict[str, Any]:
    """Return the JSON object that a line holds.

    Parameters
    ----------
    line
        Bytes of one line, with or without its end.

    Raises
    ------
    DataError
        When it is no such object; says why.
    """
    if len(line) > LONGEST_LINE_BYTES:
        raise DataError("a line longer than a mebibyte", where="message", value=len(line))
    try:
        message = _DECODER.decode(line.decode("utf-8").strip(" \t\r\n"))
    except UnicodeDecodeError as error:
        raise DataError("not UTF-8", where=f"byte {error.start + 1}") from error
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg}", where=f"column {error.colno}") from error
    except ValueError as error:
        raise DataError(f"not JSON that can be taken over: {error}", where="message") from error
    except RecursionError as error:
        raise DataError("not JSON that can be taken over: nested too deep", where="message") from error
    if not isinstance(message, dict):
        raise DataError("not a JSON object", where="message", value=type(message).__name__)
    if b"\\u" in line:
        _refuse_half_characters(message)
    return message


def _refuse_half_characters(message: dict[str, Any]) -> None:
    """Refuse an escape that names half of a character: no UTF-8 can carry it on."""
    try:
        msgspec.json.encode(message)
    except UnicodeEncodeError as error:
        raise DataError("an escape that names half of a character", where="message") from error


def read_event(line: bytes) -> dict[str, Any] | None:
    """Return the valid market event that a line holds; None for a shutdown.

    Raises
    ------
    DataError
        When it is neither; ``value`` is the verdict where the fields were judged.
    """
    message = read_message(line)
    if message.get("type") == "shutdown" and shutdown_verdict(message) == OK:
        return None
    verdict = event_verdict(message)
    if verdict != OK:
        raise DataError("not a market event", where="message", value=verdict)
    return message


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("one name twice in an object")
    return made


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _float(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("a number beyond what a double holds")
    return number


def _int(text: str) -> int:
    if len(text) > 20 or not _LEAST <= (number := int(text)) <= _MOST:
        raise ValueError("a whole number beyond 64 bits")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
)
