"""A socket between a client of TWS and the served exchange, which changes, drops or adds messages."""

import asyncio
import contextlib

from scalpdesk_ibkr.served.wire import encode, read_frame
from scalpdesk_testing.kit.ibkr_bench import PATIENCE_SECONDS, IbkrBench


class Between:
    """Passes the frames of each connection through ``server`` and ``client``.

    Both take the fields of a message and return the messages to pass on in its place.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream, self.port = upstream, 0
        self.server = self.client = lambda fields: [fields]
        self.asked: list[list[str]] = []
        """Messages of the client, in order."""
        self._to_clients: list[asyncio.StreamWriter] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._listening: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._listening is not None
        self._listening.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(each.wait_closed() for each in self._writers), return_exceptions=True)

    def tell(self, *fields: object) -> None:
        """Send a message of the server's to every client."""
        for writer in self._to_clients:
            writer.write(encode(*map(str, fields)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        up_writer.write(await reader.readexactly(4))  # API and its end
        body = await read_frame(reader)
        assert body is not None
        up_writer.write(len(body).to_bytes(4, "big") + body)
        answer = await read_frame(up_reader)
        assert answer is not None
        writer.write(len(answer).to_bytes(4, "big") + answer)
        self._to_clients.append(writer)
        self._writers += [writer, up_writer]
        for source, sink, change in (
            (reader, up_writer, self._from_client),
            (up_reader, writer, self._from_server),
        ):
            task = asyncio.create_task(self._pass(source, sink, change))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _from_client(self, fields):
        self.asked.append(fields)
        return self.client(fields)

    def _from_server(self, fields):
        return self.server(fields)  # a test may change it while the connection stands

    async def _pass(self, source, sink, change) -> None:
        with contextlib.suppress(ConnectionError):
            while (body := await read_frame(source)) is not None:
                for fields in change(body.decode().split("\0")[:-1]):
                    sink.write(encode(*fields))
                await sink.drain()
        sink.close()


def between(scenario):
    """Run a scenario with a served market and a socket before it, through which its gateways connect."""

    async def run():
        bench = IbkrBench()
        await bench.start()
        line = Between(bench.server.protocol.port)
        await line.start()
        address = f"tws://127.0.0.1:{line.port}"
        bench.setup = lambda **changes: IbkrBench.setup(bench, **({"url": address} | changes))
        try:
            await asyncio.wait_for(scenario(bench, line), PATIENCE_SECONDS)
        finally:
            for gateway in bench.gateways:
                await gateway.close(graceful=False)
            await line.stop()
            await bench.stop()

    asyncio.run(run())
