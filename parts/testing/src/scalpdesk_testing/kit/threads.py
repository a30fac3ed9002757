"""An event loop in a thread of its own, for what is served to a client that blocks."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LONGEST_CALL_SECONDS = 60.0


@contextmanager
def loop_in_thread(name: str = "served") -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a thread of a name while the block runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=name, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_LONGEST_CALL_SECONDS)
        loop.close()
