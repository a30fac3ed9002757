"""Processes that run trials in batches: each with its own hash seed, ended and replaced where a batch hangs.

No bound in virtual time ends a trial that never gives the loop a turn, or one that hangs in compiled code. A
batch that is not over in time is run again seed by seed, so that only the seed that hangs is given up.
"""

import gc
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from scalpdesk.research.sweep_engines import deaf_to_interrupts

T = TypeVar("T")
Batch = Sequence[int]
"""Seeds that a process runs one after the other."""
LOOK_SECONDS = 1.0
"""Between two looks at the batches under way."""


@dataclass(frozen=True)
class _Raised:
    error: Exception


class Worker(Generic[T]):
    """One process that carries out batches.

    ``hash_seed``: By which the process hashes strings.
    ``work``: Carries out a batch; pickled.
    """

    def __init__(self, hash_seed: int, work: Callable[[Batch], T]) -> None:
        self._hash_seed = hash_seed
        self._work = work
        self.batch: Batch = ()
        """Batch under way; empty while the process waits."""
        self.began = 0.0
        """When it was given, on the clock of :func:`time.monotonic`."""
        self.connection, self._process = self._start()

    def _start(self) -> tuple[Connection, BaseProcess]:
        context = multiprocessing.get_context("spawn")
        mine, theirs = context.Pipe()
        before = os.environ.get("PYTHONHASHSEED")
        os.environ["PYTHONHASHSEED"] = str(self._hash_seed)
        try:
            process = context.Process(target=_serve, args=(theirs, self._work), daemon=True)
            with deaf_to_interrupts():
                process.start()
        finally:
            del os.environ["PYTHONHASHSEED"]
            if before is not None:
                os.environ["PYTHONHASHSEED"] = before
        theirs.close()
        return mine, process

    def give(self, batch: Batch) -> None:
        """Hand a batch over."""
        self.batch, self.began = batch, time.monotonic()
        self.connection.send(batch)

    def take(self) -> T:
        """Return what has come of the batch.

        Raises OSError, EOFError when the process died over it. Raises whatever the batch raised.
        """
        result: T | _Raised = self.connection.recv()
        self.batch = ()
        if isinstance(result, _Raised):
            raise result.error
        return result

    def replace(self) -> None:
        """End the process, whatever it does, and start another."""
        self.end()
        self.batch = ()
        self.connection, self._process = self._start()

    def end(self) -> None:
        """End the process."""
        self.connection.close()
        self._process.kill()
        self._process.join()


def _serve(connection: Connection, work: Callable[[Batch], T]) -> None:
    """Carry out batches until the connection ends."""
    gc.freeze()
    while True:
        try:
            batch = connection.recv()
        except EOFError:
            return
        try:
            answer: T | _Raised = work(batch)
        except Exception as error:  # noqa: BLE001 - the campaign raises it again
            answer = _Raised(error)
        connection.send(answer)


@dataclass(frozen=True)
class Finished(Generic[T]):
    """A batch that is over.

    ``worker``: Number of the process that ran it.
    ``result``: What came of it; None where its one seed was given up.
    ``why``: Reason why it was given up, in words; empty otherwise.
    """

    worker: int
    batch: Batch
    result: T | None
    why: str = ""


def run_batches(
    workers: Sequence[Worker[T]], next_batch: Callable[[int], Batch | None], *, wall_seconds: float
) -> Iterator[Finished[T]]:
    """Yield batches as they end.

    ``workers``: Idle processes.
    ``next_batch``: Returns the next batch of a process by its number; None for no more.
    ``wall_seconds``: Longest time of a batch.
    """
    alone: list[deque[Batch]] = [deque() for _ in workers]
    """By process: seeds of a batch that was not over in time, each a batch of its own."""

    def start(number: int) -> None:
        batch = alone[number].popleft() if alone[number] else next_batch(number)
        if batch is not None:
            workers[number].give(batch)

    for number in range(len(workers)):
        start(number)
    while any(worker.batch for worker in workers):
        busy = {worker.connection: number for number, worker in enumerate(workers) if worker.batch}
        ready = wait(tuple(busy), timeout=LOOK_SECONDS)
        now = time.monotonic()
        for connection, number in busy.items():
            worker = workers[number]
            batch, why = worker.batch, ""
            if connection in ready:
                try:
                    yield Finished(number, batch, worker.take())
                except (OSError, EOFError):
                    why = "the process died"
            elif now - worker.began > wall_seconds:
                why = f"it is not over after {wall_seconds:g} s"
            if why:
                worker.replace()
                if len(batch) > 1:
                    alone[number] += [(seed,) for seed in batch]
                else:
                    yield Finished(number, batch, None, why)
            if not worker.batch:
                start(number)
