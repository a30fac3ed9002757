"""The edge where a desk's requests meet its strategy folder: a request in, an event with the answer out.

The strategy folder of a run: whether it asks one, which code it is, and starting it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import msgspec

from scalpdesk.core.errors import StopError
from scalpdesk.core.events import FolderAnswered
from scalpdesk.core.intents import AskFolder
from scalpdesk.isolation.folder import FolderInProcess, folder_digest
from scalpdesk.isolation.harness import FolderBackend
from scalpdesk.isolation.process import FolderLimits, FolderProcess
from scalpdesk.strategies.external.config import ExternalConfig, no_folder_given

_encode = msgspec.json.Encoder().encode


class FolderAnswerer:
    """Answers requests, one after the other.

    Parameters
    ----------
    backend
        The folder, in process or isolated.
    """

    def __init__(self, backend: FolderBackend) -> None:
        self._backend = backend
        self._given_up = ""

    @classmethod
    def start(cls, folder: Path, *, isolate: bool, limits: FolderLimits) -> Self:
        """Load the folder.

        Raises
        ------
        ConfigError
            When it cannot be loaded.
        """
        return cls(FolderProcess(folder, limits) if isolate else FolderInProcess(folder))

    def answer(self, ask: AskFolder, now_ns: int) -> FolderAnswered:
        """Return the folder's answer, stamped ``now_ns`` (UTC nanoseconds)."""
        messages: list[str] = []
        failures: list[str] = []
        took_us = 0
        state_lost = False
        events = [msgspec.json.decode(text) for text in ask.events]
        try:
            if not self._given_up:
                for event, reply in zip(events, self._backend.ask_all(events), strict=True):
                    took_us += reply.took_us
                    state_lost = state_lost or reply.state_lost
                    if reply.failure is not None:
                        failures.append(f"event {event['event_id']}: {reply.failure}")
                    messages.extend(_encode(message).decode() for message in reply.messages)
        except StopError as error:
            self._given_up = error.what
            messages.clear()
        if self._given_up:
            failures.append(f"request: {self._given_up}")
        return FolderAnswered(
            now_ns, now_ns, ask.request, tuple(messages), tuple(failures), took_us, state_lost, ask.owner
        )

    def abort(self) -> None:
        """Cut short an answer under way in another thread; the folder is given up."""
        self._backend.abort()

    def close(self) -> None:
        """End the folder's process."""
        self._backend.close()


EXTERNAL = "external"


def external_config(strategy: str, sections: Mapping[str, Any]) -> ExternalConfig | None:
    """Return the settings of the strategy folder that a run asks, or None when it asks none.

    Parameters
    ----------
    strategy
        Of the run; several are joined by ``+``.
    sections
        Settings by strategy, as plain data.
    """
    if EXTERNAL not in strategy.split("+"):
        return None
    chosen = msgspec.convert(sections.get(EXTERNAL, {}), ExternalConfig, strict=False)
    return chosen if chosen.folder else None


def folder_facts(strategy: str, sections: Mapping[str, Any]) -> dict[str, str]:
    """Return what a run's header says of its strategy folder: a digest of the code; nothing without one.

    Raises
    ------
    ConfigError
        When there is no ``strategy.py`` in it.
    """
    chosen = external_config(strategy, sections)
    return {} if chosen is None else {"folder_sha256": folder_digest(Path(chosen.folder))}


def start_folder(strategy: str, sections: Mapping[str, Any]) -> FolderAnswerer | None:
    """Load the strategy folder of a run, in a process of its own unless told otherwise.

    Raises
    ------
    ConfigError
        When the strategy asks a folder and none is given, or it cannot be loaded.
    """
    chosen = external_config(strategy, sections)
    if chosen is None:
        if EXTERNAL in strategy.split("+"):
            raise no_folder_given()
        return None
    limits = FolderLimits(chosen.time_limit_seconds, chosen.memory_limit_mb)
    return FolderAnswerer.start(Path(chosen.folder), isolate=chosen.isolate, limits=limits)
