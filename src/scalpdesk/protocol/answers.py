"""What a strategy answered, sorted: valid new intents, log messages, and refusals with their verdicts."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from scalpdesk.protocol.messages import log_message
from scalpdesk.protocol.validation import OK, intent_verdict, log_verdict

MOST_IDS = 1_000_000
"""Ids that are remembered; the oldest go first."""


class Refusal(msgspec.Struct, frozen=True):
    """A message that is not passed on."""

    verdict: str
    """As the validation names it, or ``duplicate:intent_id``."""
    message: Any


class Answers(msgspec.Struct, frozen=True):
    """The answers to one event."""

    intents: tuple[dict[str, Any], ...] = ()
    logs: tuple[dict[str, Any], ...] = ()
    refusals: tuple[Refusal, ...] = ()


class IdBook:
    """Remembers which ids have been seen.

    Parameters
    ----------
    most
        How many are remembered.
    """

    def __init__(self, most: int = MOST_IDS) -> None:
        self._seen: dict[str, None] = {}
        self._most = most

    def is_new(self, name: str) -> bool:
        """Return whether an id is seen for the first time, and remember it."""
        seen = self._seen
        if name in seen:
            return False
        seen[name] = None
        if len(seen) > self._most:
            del seen[next(iter(seen))]
        return True


def sort_answers(messages: Sequence[Any], known: IdBook) -> Answers:
    """Judge what a strategy returned for one event.

    Parameters
    ----------
    messages
        What it returned, decoded.
    known
        Intent ids so far; those passed on are added.
    """
    intents: list[dict[str, Any]] = []
    logs: list[dict[str, Any]] = []
    refusals: list[Refusal] = []
    for message in messages:
        if isinstance(message, dict) and message.get("type") == "log":
            verdict = log_verdict(message)
            if verdict == OK:
                logs.append(message)
                continue
        else:
            verdict = intent_verdict(message)
            if verdict == OK:
                if known.is_new(message["intent_id"]):
                    intents.append(message)
                    continue
                verdict = "duplicate:intent_id"
        refusals.append(Refusal(verdict, message))
    return Answers(tuple(intents), tuple(logs), tuple(refusals))


def refusal_log(event: Mapping[str, Any], refusal: Refusal) -> dict[str, Any]:
    """Return the log message that says a strategy's answer was refused."""
    message = refusal.message
    name = message.get("intent_id") if isinstance(message, dict) else None
    which = f" {name!r}"[:140] if name is not None else ""
    return log_message(
        event["ts"], "error", f"event {event['event_id']}: intent{which} refused: {refusal.verdict}"
    )
