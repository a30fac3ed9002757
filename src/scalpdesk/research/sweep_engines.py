"""Engines of a sweep: they run its backtests in processes of this machine, or on a Ray cluster.

Whatever the engine, a row is the same: each backtest is ``simulate`` over the same shared rows.
"""

import fcntl
import os
import shutil
import signal
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import active_children, get_context, parent_process, resource_tracker
from multiprocessing.connection import wait as wait_for_any
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from scalpdesk.backtesting.shared_market import (
    Block,
    SharedMarket,
    head_of,
    pack,
    session_block,
    share_in_files,
)
from scalpdesk.backtesting.simulate import BacktestConfig, PreparedMarket
from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.core.frames import required
from scalpdesk.marketdata.tape import LazyQuotes
from scalpdesk.research.sweep import Job, SweepRow, priced_by, run_together

Report = Callable[[int, int], None]
"""Called with the sessions shared so far and all of them."""
_AHEAD = 2
"""Batches handed out for each worker."""
_LARGEST_BATCH = 8
"""Backtests that go through the market side by side in one process."""
_RESTARTS = 2
"""A pool whose process ended is started again as often, if no backtest ended in between."""
FOLDER_PREFIX, _LOCK_FILE = "scalpdesk-sweep-", "lock"


def batches(jobs: Iterable[Job], workers: int) -> list[list[Job]]:
    """Divide jobs into batches that run side by side, those that price alike together.

    The last batches are smaller, so that all workers end at about the same time.
    """
    waiting = sorted(jobs, key=priced_by)  # stable: jobs that price alike stay in order
    found = []
    while waiting:
        size = min(_LARGEST_BATCH, -(-len(waiting) // workers))
        found.append(waiting[:size])
        waiting = waiting[size:]
    return found


class SweepEngine(ABC):
    """Runs backtests; entered before the first and left after the last.

    It shares the market when the first backtest comes, and releases everything at the end.
    """

    def __init__(
        self, market: PreparedMarket, configs: Sequence[BacktestConfig] = (), report: Report | None = None
    ) -> None:
        self._market, self._configs, self._report = market, configs, report
        self._held = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.__exit__(kind, error, trace)

    @abstractmethod
    def run(self, jobs: Iterable[Job]) -> Iterator[SweepRow]:
        """Yield the row of each job as it ends."""


class LocalEngine(SweepEngine):
    """Runs backtests in processes of this machine.

    The rows of the market lie in files that all processes map: their memory holds them once, and gives them
    up where it is short. One worker runs in this process.

    ``configs``: Whose common preparation is worked out once.
    ``report``: Follows the sharing of the market.
    """

    def __init__(
        self,
        market: PreparedMarket,
        workers: int,
        configs: Sequence[BacktestConfig] = (),
        report: Report | None = None,
    ) -> None:
        super().__init__(market, configs, report)
        self._workers = workers
        self._shared: SharedMarket | None = None
        self._here: PreparedMarket | None = None
        self._pool: ProcessPoolExecutor | None = None

    def _share(self) -> SharedMarket:
        if self._shared is None:
            folder = self._held.enter_context(block_folder())
            self._shared = share_in_files(self._market, folder, configs=self._configs, report=self._report)
        return self._shared

    def _open_here(self) -> PreparedMarket:
        if self._here is None:
            # rows in memory are as good as rows in a file
            in_parts = isinstance(self._market.tape.quotes, LazyQuotes)
            self._here = self._share().open() if in_parts else self._market
        return self._here

    def _open_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._workers,
                mp_context=get_context("spawn"),
                initializer=_begin,
                initargs=(self._share(),),
            )
            self._held.push(partial(_end_pool, self._pool))
        return self._pool

    def run(self, jobs: Iterable[Job]) -> Iterator[SweepRow]:
        """Yield the row of each job as it ends.

        Raises RetryError when processes end in the middle again and again, for want of memory as a rule.
        """
        waiting, broken = batches(jobs, self._workers)[::-1], 0
        if self._workers == 1:
            while waiting:
                yield from run_together(waiting.pop(), self._open_here())
            return
        while waiting:
            running: dict[Future[list[SweepRow]], list[Job]] = {}
            try:
                pool = self._open_pool()
                while waiting or running:
                    while waiting and len(running) < _AHEAD * self._workers:
                        with deaf_to_interrupts():
                            running[pool.submit(_run_in_process, waiting[-1])] = waiting[-1]
                        waiting.pop()
                    ended, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in ended:
                        rows = future.result()
                        del running[future]
                        broken = 0
                        yield from rows
            except BrokenProcessPool as error:
                self._pool = None
                waiting += running.values()
                broken += 1
                if broken > _RESTARTS:
                    raise RetryError(
                        "a process of the sweep ended in the middle",
                        where="--workers",
                        value=self._workers,
                        fix="the same command goes on with the rest; with less memory give --workers 1",
                    ) from error


@contextmanager
def block_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a temporary folder for the rows of a market; remove it, and those that killed sweeps have left.

    It lies below ``parent``, or where TMPDIR says.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    for left in parent.glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError), (left / _LOCK_FILE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its sweep runs
            shutil.rmtree(left, ignore_errors=True)
    made = tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, dir=parent, ignore_cleanup_errors=True)
    with made as name, (Path(name) / _LOCK_FILE).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(name)


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Start processes that no Ctrl-C reaches, from their first instruction on: their parent ends them.

    A terminal interrupts the whole group. A blocked signal stays blocked in what is started meanwhile; here
    it is delivered afterwards.
    """
    resource_tracker.ensure_running()  # the first process would start it, and that unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_pool(
    pool: ProcessPoolExecutor,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
) -> None:
    """Release the processes of a pool, at once where the sweep was stopped in the middle."""
    del error, trace
    pool.shutdown(wait=False, cancel_futures=True)
    if kind is not None:
        for process in active_children():
            process.terminate()
    pool.shutdown(wait=True)


_market: PreparedMarket | None = None


def _begin(shared: SharedMarket) -> None:
    global _market  # noqa: PLW0603 - one market for each process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _market = shared.open()


def _end_with_parent() -> None:
    """End this process when the one that began it is gone: killed, it tells nobody."""
    parent = parent_process()
    if parent is not None:
        wait_for_any([parent.sentinel])
        os._exit(1)


def _run_in_process(jobs: list[Job]) -> list[SweepRow]:
    assert _market is not None
    return run_together(jobs, _market)


# Ray ------------------------------------------------------------------------------------------------

_RAY_RETRIES = 5
"""Times that Ray runs a backtest again whose worker has ended."""


@dataclass(frozen=True, slots=True)
class _RayBlocks:
    """Blocks of a market in the object store of a Ray cluster."""

    refs: tuple[Any, ...]

    def __call__(self, place: int) -> Block:
        """Return the block of the session in a place, in the store's shared memory."""
        import ray  # noqa: PLC0415 - an extra

        block: Block = ray.get(self.refs[place])
        return block


@dataclass(frozen=True, slots=True)
class _RayMarket:
    """Arguments of a task beside its jobs."""

    shared: SharedMarket
    name: str
    """Differs for each sweep of a cluster's workers."""
    folder: str
    """Working folder of the sweep, for paths of strategy folders."""


class RayEngine(SweepEngine):
    """Runs backtests as tasks of a Ray cluster; one on this machine without an address.

    Every node has scalpdesk of the same version. The rows of the market are put into the object store once
    and read there. A task whose worker ends runs again.

    ``workers``: Processors of the cluster that is started here; None: all. Without effect with an address.
    ``address``: Of a running cluster: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``.

    Raises ConfigError when Ray is not installed.
    """

    def __init__(
        self,
        market: PreparedMarket,
        workers: int | None = None,
        address: str | None = None,
        configs: Sequence[BacktestConfig] = (),
        report: Report | None = None,
    ) -> None:
        super().__init__(market, configs, report)
        self._ray = required("ray", "scalpdesk[ray]", "this engine needs a package that is not installed")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        self._workers, self._address = workers, address
        self._task: Any = None
        self._of_all: Any = None

    def _start(self) -> None:
        ray = self._ray
        if not ray.is_initialized():
            own = {"num_cpus": self._workers, "include_dashboard": False} if self._address is None else {}
            try:
                ray.init(address=self._address, log_to_driver=False, logging_level="error", **own)
            except (ConnectionError, ValueError) as error:
                raise ConfigError(
                    f"no Ray cluster answers: {error}",
                    where="--address",
                    value=self._address,
                    fix="ray start --head, then --address auto; without --address a cluster starts here",
                ) from error
            except Exception as error:
                if type(error) is Exception:  # Ray's class where a node is slow to start
                    what = f"Ray did not start: {str(error).partition(chr(10))[0]}"
                    fix = "give the command again when the machine is less busy"
                    raise RetryError(what, where="--engine ray", fix=fix) from error
                raise
            self._held.callback(ray.shutdown)
        market = self._market
        market.prepare(self._configs)
        refs, sessions = [], market.tape.sessions
        for place, session in enumerate(sessions):
            refs.append(ray.put(np.frombuffer(b"".join(pack(session_block(market, session))), np.uint8)))
            if self._report is not None:
                self._report(place + 1, len(sessions))
        shared = SharedMarket(head_of(market), _RayBlocks(tuple(refs)))
        self._of_all = ray.put(_RayMarket(shared, refs[0].hex(), str(Path.cwd())))
        self._task = ray.remote(num_cpus=1, max_retries=_RAY_RETRIES)(_run_on_ray)

    def run(self, jobs: Iterable[Job]) -> Iterator[SweepRow]:
        """Yield the row of each job as it ends.

        Raises RetryError when the worker of a backtest ends again and again, or the cluster is gone.
        """
        asked = list(jobs)
        if asked and self._task is None:
            self._start()
        workers = int(self._ray.cluster_resources().get("CPU", 1)) if asked else 1
        running = [self._task.remote(batch, self._of_all) for batch in batches(asked, workers)]
        while running:
            ended, running = self._ray.wait(running)
            for ref in ended:
                try:
                    yield from self._ray.get(ref)
                except self._ray.exceptions.RayError as error:
                    raise RetryError(
                        f"a backtest of the cluster has no result: {str(error).partition(chr(10))[0]}",
                        where="--engine ray",
                        fix="the same command goes on with the rest",
                    ) from error


_opened: dict[str, PreparedMarket] = {}


def _run_on_ray(jobs: Sequence[Job], market: _RayMarket) -> list[SweepRow]:
    """Run backtests in a worker of Ray, which opens the market once."""
    if market.name not in _opened:
        _opened.clear()
        with suppress(OSError):  # another node may not have it; only paths of strategy folders need it
            os.chdir(market.folder)
        _opened[market.name] = market.shared.open()
    return run_together(jobs, _opened[market.name])
