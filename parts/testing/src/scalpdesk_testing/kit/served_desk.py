"""A running desk as other processes see it: the folder of a run, and a control socket."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scalpdesk.journal.codec import SCHEMA, JournalHeader
from scalpdesk.journal.log import JournalWriter
from scalpdesk.live.status import ControlServer


class _ServedDesk:
    """The requests to a desk, and its answer to all of them."""

    def __init__(self, runs_dir: Path, run_id: str) -> None:
        self.run_dir = runs_dir / run_id
        header = JournalHeader(
            SCHEMA, self.run_dir.name, "scripted", "alpaca", "paper", {}, "c", "t", (), (), {}, 1
        )
        JournalWriter.create(self.run_dir, header).abandon()
        self.asked: list[dict[str, Any]] = []
        self.answer: dict[str, Any] = {}

    async def _answered(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request)
        return self.answer


@contextmanager
def served_desk(runs_dir: Path, run_id: str = "20240304-093000-scripted-paper-abc") -> Iterator[_ServedDesk]:
    """Serve a desk's control socket from a thread."""
    desk, loop, is_up = _ServedDesk(runs_dir, run_id), asyncio.new_event_loop(), threading.Event()
    over = asyncio.Event()

    async def serve() -> None:
        server = ControlServer(desk.run_dir, desk._answered)
        await server.start()
        is_up.set()
        await over.wait()
        server.close()
        for _ in range(10):  # connections that were just accepted are closed by their handlers
            await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert is_up.wait(60.0)
    try:
        yield desk
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()
