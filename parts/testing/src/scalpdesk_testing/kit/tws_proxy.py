"""A proxy before a TWS port that changes what the server sends, as the vendor's own servers do."""

import asyncio
import contextlib
import struct
from collections.abc import Callable

Fields = list[str]
Rule = Callable[[Fields], list[Fields]]
LARGEST_FRAME = 1 << 20


def frame(fields: Fields) -> bytes:
    """Return a message as TWS sends it."""
    body = "".join(f"{field}\0" for field in fields).encode("utf-8", "surrogateescape")
    return struct.pack(">I", len(body)) + body


class TwsProxy:
    """Passes every message through a rule: the messages that it returns are sent instead.

    Parameters
    ----------
    rule
        Takes the fields of a message of the server; the first one of a connection are version and time.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.writers: list[asyncio.StreamWriter] = []
        """Towards the clients."""
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, port: int) -> None:
        self._target = port
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        found = await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self.writers:
            writer.close()
        for problem in found:
            if isinstance(problem, Exception):  # a rule failed
                raise problem

    def send(self, *fields: object) -> None:
        """Send a message to the client that connected last, as the server would."""
        self.writers[-1].write(frame([str(field) for field in fields]))

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server, server = await asyncio.open_connection("127.0.0.1", self._target)
        self.writers.append(writer)
        for work in (self._copy(reader, server), self._filter(to_server, writer)):
            self._tasks.append(asyncio.create_task(work))

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(LARGEST_FRAME):
                writer.write(data)
        writer.close()

    async def _filter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (size,) = struct.unpack(">I", await reader.readexactly(4))
                text = (await reader.readexactly(size)).decode("utf-8", "surrogateescape")
                for fields in self.rule(text.split("\0")[:-1]):
                    writer.write(frame(fields))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
