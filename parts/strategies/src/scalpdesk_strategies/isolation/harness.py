"""Run events through a strategy folder: valid new intents come out, everything else goes to the log."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from scalpdesk.protocol import log_message
from scalpdesk_strategies.answers import SeenIds, refusal_log, sort_answers
from scalpdesk_strategies.isolation.folder import WINDOW, FolderInProcess, FolderReply
from scalpdesk_strategies.isolation.process import FolderProcess

FolderBackend = FolderInProcess | FolderProcess
"""Runs a strategy folder: in this process, or in one of its own."""


class FolderOutcome(msgspec.Struct, frozen=True):
    """Intents and log messages that one event led to."""

    event: dict[str, Any]
    intents: tuple[dict[str, Any], ...] = ()
    logs: tuple[dict[str, Any], ...] = ()
    took_us: int = 0


def outcomes(
    backend: FolderBackend, events: Iterable[dict[str, Any]], *, window: int = WINDOW
) -> Iterator[FolderOutcome]:
    """Yield what came of each event, in order.

    An event whose ``event_id`` was seen before is not handed to the folder again.

    ``backend``: The folder, in process or isolated.
    ``events``: Valid market events.
    ``window``: Most events under way at once; 1 where the next one may be long in coming.
    """
    seen_events, seen_intents = SeenIds(), SeenIds()
    order: deque[tuple[dict[str, Any], bool]] = deque()

    def fresh() -> Iterator[dict[str, Any]]:
        for event in events:
            is_new = seen_events.add(event["event_id"])
            order.append((event, is_new))
            if is_new:
                yield event

    for reply in backend.ask_all(fresh(), window=window):
        yield from _repeated(order)
        event, _ = order.popleft()
        yield _outcome(event, reply, seen_intents)
    yield from _repeated(order)


def _repeated(order: deque[tuple[dict[str, Any], bool]]) -> Iterator[FolderOutcome]:
    while order and not order[0][1]:
        event, _ = order.popleft()
        text = f"event {event['event_id']}: seen before, not handed on again"
        yield FolderOutcome(event, logs=(log_message(event["ts"], "warn", text),))


def _outcome(event: dict[str, Any], reply: FolderReply, seen_intents: SeenIds) -> FolderOutcome:
    if reply.failure is not None:
        log = log_message(event["ts"], "error", f"event {event['event_id']}: {reply.failure}")
        return FolderOutcome(event, logs=(log,), took_us=reply.took_us)
    if not reply.messages:
        return FolderOutcome(event, took_us=reply.took_us)
    answers = sort_answers(reply.messages, seen_intents)
    refused = tuple(refusal_log(event, refusal) for refusal in answers.refusals)
    return FolderOutcome(event, answers.intents, answers.logs + refused, reply.took_us)
