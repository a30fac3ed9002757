"""The strategy folder of a run: starting it, and answering its requests."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from scalpdesk.core.errors import ConfigError, StopError
from scalpdesk.core.events import FolderAnswered
from scalpdesk.core.intents import AskFolder
from scalpdesk_strategies.external.strategy import SAFEST, ExternalConfig, no_folder_given
from scalpdesk_strategies.isolation.folder import FolderInProcess, folder_digest
from scalpdesk_strategies.isolation.harness import FolderBackend
from scalpdesk_strategies.isolation.process import FolderLimits, FolderProcess
from scalpdesk_strategies.isolation.trial import Form, needs_of

_encode = msgspec.json.Encoder().encode


class FolderAnswerer:
    """Answers requests, one after the other.

    ``folder``: Where the strategy is.
    ``limits``: Of the folder's own process; None for the desk's.
    ``forms``: How the book may be shown to it, where its settings leave that open.
    Raises ConfigError when it cannot be loaded.
    """

    def __init__(self, folder: Path, limits: FolderLimits | None, forms: Sequence[Form] = SAFEST) -> None:
        self._folder = folder
        self._limits = limits
        self._forms = forms
        self._backend = self._begin(warns=True)
        self._given_up = ""

    def _begin(self, *, warns: bool = False) -> FolderBackend:
        if self._limits is None:
            return FolderInProcess(self._folder)
        return FolderProcess(self._folder, self._limits, warns=warns)

    def answer(self, ask: AskFolder, now_ns: int) -> FolderAnswered:
        """Return the folder's answer, stamped ``now_ns`` (UTC nanoseconds)."""
        messages: list[str] = []
        failures: list[str] = []
        took_us = 0
        state_lost = False
        events = [msgspec.json.decode(text) for text in ask.events]
        if ask.asks_needs:
            needs = needs_of(self._begin, self._folder, events, self._forms)
            if self._limits is None:  # the trial was in the folder's own modules
                self._backend = self._begin()
            return FolderAnswered(now_ns, now_ns, ask.request, (), owner=ask.owner, needs=needs)
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
            now_ns,
            now_ns,
            ask.request,
            tuple(messages),
            tuple(failures),
            took_us,
            state_lost,
            ask.owner,
            is_given_up=bool(self._given_up),
        )

    def abort(self) -> None:
        """Cut short an answer under way in another thread; the folder is given up."""
        self._backend.abort()

    def close(self) -> None:
        """End the folder's process."""
        self._backend.close()


class _FolderHelper:
    """Starts the strategy folder of a run of the strategy ``external``."""

    def facts(self, config: ExternalConfig) -> dict[str, str]:
        """Return a digest of the folder's code; nothing where no folder is named.

        Raises ConfigError when there is no ``strategy.py`` in it.
        """
        return {"folder_sha256": folder_digest(Path(config.folder))} if config.folder else {}

    def start(self, config: ExternalConfig, runs_dir: Path) -> FolderAnswerer:
        """Load the folder, in a process of its own unless configured otherwise.

        Its process does not reach ``runs_dir``, the folder of the runs.

        Raises ConfigError when no folder is named, it cannot be loaded, or it is to be confined and cannot
        be.
        """
        if not config.folder:
            raise no_folder_given()
        if config.must_be_confined and not config.isolate:
            raise ConfigError(
                "a strategy folder in the desk's own process is not confined",
                where="strategies.external.must_be_confined",
                value=True,
                fix="set strategies.external.isolate = true",
            )
        limits = FolderLimits(
            config.time_limit_seconds,
            config.memory_limit_mb,
            wrapper=config.wrapper,
            readable_paths=config.readable_paths,
            writable_paths=config.writable_paths,
            connect_ports=config.connect_ports,
            private_paths=(str(runs_dir),),
            must_be_confined=config.must_be_confined,
        )
        forms = [form for form in SAFEST if config.allows(*form)]
        return FolderAnswerer(Path(config.folder), limits if config.isolate else None, forms)


HELPER = _FolderHelper()
