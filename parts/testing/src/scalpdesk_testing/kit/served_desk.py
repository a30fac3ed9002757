"""A running desk as other processes see it: the folder of a run, and a control socket."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scalpdesk.journal.log import JournalWriter
from scalpdesk.live.status import ControlServer
from scalpdesk_testing.kit.journaled_run import journal_header
from scalpdesk_testing.kit.threads import loop_in_thread


class _ServedDesk:
    """The requests to a desk, and its answer to all of them."""

    def __init__(self, runs_dir: Path, run_id: str) -> None:
        self.run_dir = runs_dir / run_id
        header = journal_header(run_id=run_id, venue="alpaca", mode="paper")
        JournalWriter.create(self.run_dir, header).abandon()
        self.asked: list[dict[str, Any]] = []
        self.answer: dict[str, Any] = {}

    async def _answered(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request)
        return self.answer


@contextmanager
def served_desk(runs_dir: Path, run_id: str = "20240304-093000-scripted-paper-abc") -> Iterator[_ServedDesk]:
    """Serve a desk's control socket from a thread."""
    desk = _ServedDesk(runs_dir, run_id)
    server = ControlServer(desk.run_dir, desk._answered)

    async def close() -> None:
        server.close()
        for _ in range(10):  # connections that were just accepted are closed by their handlers
            await asyncio.sleep(0)

    with loop_in_thread() as loop:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(60.0)
        try:
            yield desk
        finally:
            asyncio.run_coroutine_threadsafe(close(), loop).result(60.0)
