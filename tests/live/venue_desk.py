"""A desk at a served exchange, in one process: the runner, the gateway and the sockets between them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from scalpdesk.core.clock import SystemClock
from scalpdesk.core.events import Event, PositionChanged
from scalpdesk.journal.codec import SCHEMA, JournalHeader
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader
from scalpdesk.live.core import LiveCore
from scalpdesk.live.recovery import Start
from scalpdesk.live.runner import LiveRunner, RunnerOptions
from scalpdesk.live.sessions import StopMode
from scalpdesk.risk.limits import RiskLimits
from scalpdesk_testing.kit.desk import Scripted, build_engine
from scalpdesk_testing.kit.served import AlpacaBench

BRISK = RunnerOptions(
    reconcile_seconds=0.15,
    confirm_seconds=0.05,
    resolve_seconds=0.05,
    absent_after_seconds=0.2,
    tick_seconds=0.01,
    stop=StopMode.LEAVE,
)


class VenueDesk:
    """Runs a desk that decides nothing against a served exchange.

    Parameters
    ----------
    folder
        Of the journal.
    bench
        The exchange.
    options, parts
        Of the runner.
    """

    def __init__(
        self, folder: Path, bench: AlpacaBench, options: RunnerOptions = BRISK, **parts: Any
    ) -> None:
        self.run_dir = folder / "run"
        self.bench = bench
        self.said: list[tuple[str, str]] = []
        self.engine = build_engine(Scripted(), bench.book, limits=RiskLimits())
        self._options = options
        self._parts = parts

    @property
    def desk(self) -> Any:
        """The engine's desk."""
        return self.engine.desk

    def live(self, meanwhile: Callable[["VenueDesk"], Awaitable[None]]) -> None:
        """Live until ``meanwhile`` is through."""
        asyncio.run(asyncio.wait_for(self._live(meanwhile), 120))

    async def _live(self, meanwhile: Callable[["VenueDesk"], Awaitable[None]]) -> None:
        await self.bench.start()
        header = JournalHeader(
            SCHEMA, "run", "scripted", "alpaca", "paper", {}, "0" * 64, "test",
            tuple(self.bench.book), (), {"account_id": "a"}, 1,
        )  # fmt: skip
        journal = JournalWriter.create(self.run_dir, header)
        self.gateway = self.bench.gateway()
        try:
            facts = await self.gateway.connect()
            self.desk.account.cash = facts.cash
            core = LiveCore(self.engine, journal)
            self.runner = LiveRunner(
                core,
                self.gateway,
                SystemClock(),
                self._options,
                notify=lambda *words: self.said.append(words),
                **self._parts,
            )
            running = asyncio.create_task(self.runner.run(Start()))
            watched = asyncio.ensure_future(meanwhile(self))
            await asyncio.wait({running, watched}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                watched.cancel()
            else:
                self.runner.stop(StopMode.LEAVE)
            await running
            await watched
        finally:
            await self.gateway.close(graceful=False)
            journal.abandon()
            await self.bench.stop()

    def events(self, kind: type[Event] | Any = PositionChanged) -> list[Any]:
        """Return what the journal holds of a kind."""
        return [
            event
            for step, _ in JournalReader(self.run_dir).steps()
            for event in step
            if isinstance(event, kind)
        ]
