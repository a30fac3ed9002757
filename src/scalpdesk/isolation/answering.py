"""The strategy folder of a run: starting it, answering its requests, and its channel to a live desk."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import msgspec

from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import ConfigError, StopError
from scalpdesk.core.events import Event, FolderAnswered
from scalpdesk.core.intents import AskFolder, Output
from scalpdesk.isolation.folder import FolderInProcess, folder_digest
from scalpdesk.isolation.harness import FolderBackend
from scalpdesk.isolation.process import FolderLimits, FolderProcess
from scalpdesk.strategies.external.strategy import ExternalConfig, no_folder_given

_encode = msgspec.json.Encoder().encode


class FolderAnswerer:
    """Answers requests, one after the other."""

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


class FolderChannel:
    """Carries a live desk's requests to its strategy folder, and the answers to the desk's queue.

    Whatever goes wrong while an answer is made is an answer that refuses the request.

    With ``in_step`` it answers at once, before anything else happens: for a market that waits. Otherwise the
    folder answers in a thread of its own and holds nothing up.
    """

    def __init__(self, answerer: FolderAnswerer, clock: Clock, *, in_step: bool) -> None:
        self._answerer = answerer
        self._clock = clock
        self._thread = None if in_step else ThreadPoolExecutor(1, "strategy-folder")
        self._put: Callable[[FolderAnswered], None] = lambda _answer: None
        self._is_closed = False

    def deliver_to(self, put: Callable[[FolderAnswered], None]) -> None:
        """Set where the answers go: the queue of the live runner."""
        self._put = put

    def recall(self, asks: Iterable[AskFolder], awaited: Collection[int] = ()) -> None:
        """Let a folder that starts afresh see what the one before it saw.

        ``asks`` are all requests of the run so far, in order; answers to those ``awaited`` are delivered, the
        others are known already.
        """
        for ask in asks:
            answer = self._answer(ask, self._clock.now_ns())
            if ask.request in awaited:
                self._put(answer)

    def see(self, event: Event, outputs: tuple[Output, ...]) -> None:
        """Post the folder requests among the outputs of an event; the live core calls it after each."""
        for output in outputs:
            if type(output) is not AskFolder or self._is_closed:
                continue
            if self._thread is None:
                self._put(self._answer(output, event.ts_recv_ns))
            else:
                loop = asyncio.get_running_loop()
                work = loop.run_in_executor(self._thread, self._answer, output, self._clock.now_ns())
                work.add_done_callback(self._deliver)

    def close(self) -> None:
        """End the folder's process; an answer under way is not waited for."""
        self._is_closed = True
        if self._thread is not None:
            self._answerer.abort()
            self._thread.shutdown(wait=True, cancel_futures=True)
        self._answerer.close()

    def _answer(self, ask: AskFolder, now_ns: int) -> FolderAnswered:
        try:
            return self._answerer.answer(ask, now_ns)
        except Exception as error:  # noqa: BLE001 - the strategy must not wait for ever, nor the desk end
            failure = f"request: {type(error).__name__}: {error}"[:300]
            return FolderAnswered(
                now_ns, now_ns, ask.request, (), (failure,), owner=ask.owner, is_given_up=True
            )

    def _deliver(self, work: "asyncio.Future[FolderAnswered]") -> None:
        if not self._is_closed and not work.cancelled():
            now_ns = self._clock.now_ns()
            self._put(msgspec.structs.replace(work.result(), ts_event_ns=now_ns, ts_recv_ns=now_ns))


EXTERNAL = "external"


def external_config(strategy: str, sections: Mapping[str, Any]) -> ExternalConfig | None:
    """Return the settings of a run's strategy folder, or None without a folder.

    Settings are plain data by strategy; the names of several strategies are joined by ``+``.
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


def start_folder(strategy: str, sections: Mapping[str, Any], runs_dir: Path) -> FolderAnswerer | None:
    """Load the strategy folder of a run, in a process of its own unless configured otherwise.

    Its process does not reach ``runs_dir``, the folder of the runs.

    Raises
    ------
    ConfigError
        When the strategy needs a folder and no folder is named, it cannot be loaded, or it is to be confined
        and cannot be.
    """
    chosen = external_config(strategy, sections)
    if chosen is None:
        if EXTERNAL in strategy.split("+"):
            raise no_folder_given()
        return None
    if chosen.must_be_confined and not chosen.isolate:
        raise ConfigError(
            "a strategy folder in the desk's own process is not confined",
            where="strategies.external.must_be_confined",
            value=True,
            fix="set strategies.external.isolate = true",
        )
    limits = FolderLimits(
        chosen.time_limit_seconds,
        chosen.memory_limit_mb,
        wrapper=chosen.wrapper,
        readable_paths=chosen.readable_paths,
        writable_paths=chosen.writable_paths,
        connect_ports=chosen.connect_ports,
        private_paths=(str(runs_dir),),
        must_be_confined=chosen.must_be_confined,
    )
    return FolderAnswerer.start(Path(chosen.folder), isolate=chosen.isolate, limits=limits)
