"""Sorting of a strategy's answers: valid new intents, log messages, refusals with their verdicts."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from scalpdesk.protocol import OK, intent_verdict, log_message, log_verdict


class RefusedAnswer(msgspec.Struct, frozen=True):
    """A refused message and its verdict."""

    verdict: str
    """Verdict of the validation, or ``duplicate:intent_id``."""
    message: Any


class Answers(msgspec.Struct, frozen=True):
    """Answers of a strategy to one event."""

    intents: tuple[dict[str, Any], ...] = ()
    logs: tuple[dict[str, Any], ...] = ()
    refusals: tuple[RefusedAnswer, ...] = ()


class SeenIds:
    """The last ``capacity`` ids; the oldest are forgotten first."""

    def __init__(self, capacity: int = 1_000_000) -> None:
        self._seen: dict[str, None] = {}
        self._capacity = capacity

    def add(self, key: str) -> bool:
        """Add an id; return whether it is new."""
        seen = self._seen
        if key in seen:
            return False
        seen[key] = None
        if len(seen) > self._capacity:
            del seen[next(iter(seen))]
        return True


def sort_answers(messages: Sequence[Any], seen: SeenIds) -> Answers:
    """Validate the decoded messages that a strategy returned for one event.

    Intent ids that are passed on are added to ``seen``.
    """
    intents: list[dict[str, Any]] = []
    logs: list[dict[str, Any]] = []
    refusals: list[RefusedAnswer] = []
    for message in messages:
        if isinstance(message, dict) and message.get("type") == "log":
            verdict = log_verdict(message)
            if verdict == OK:
                logs.append(message)
                continue
        else:
            verdict = intent_verdict(message)
            if verdict == OK:
                if seen.add(message["intent_id"]):
                    intents.append(message)
                    continue
                verdict = "duplicate:intent_id"
        refusals.append(RefusedAnswer(verdict, message))
    return Answers(tuple(intents), tuple(logs), tuple(refusals))


def refusal_log(event: Mapping[str, Any], refusal: RefusedAnswer) -> dict[str, Any]:
    """Return the log message for a refused answer."""
    message = refusal.message
    name = message.get("intent_id") if isinstance(message, dict) else None
    intent = "intent" if name is None else f"intent {name!r}"[:146]
    return log_message(
        event["ts"], "error", f"event {event['event_id']}: {intent} refused: {refusal.verdict}"
    )
