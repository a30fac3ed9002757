"""A venue whose answers a test writes, for the gateway's own HTTP client: no sockets, virtual time."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import h11

from scalpdesk.base import Clock, Event, Instruments
from scalpdesk.config.schema import Secret
from scalpdesk.venues import Health, Network, Notice
from scalpdesk.venues.network import CleanConnector
from scalpdesk_testing.kit.exchange import part
from scalpdesk_testing.line import MemoryConnector
from scalpdesk_testing.virtual_time import VirtualClock, VirtualLoop


class Asked:
    """One request as the venue reads it."""

    def __init__(self, method: str, target: str, body: bytes) -> None:
        parts = urlsplit(target)
        self.method, self.path, self.query = method, parts.path, dict(parse_qsl(parts.query))
        self.body = json.loads(body) if body else None

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]] | None
"""Status, body and headers; None is no answer: the connection breaks."""


class _Transport(asyncio.Transport):
    def __init__(self, venue: "ScriptedVenue", protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._venue, self._protocol, self._http = venue, protocol, h11.Connection(h11.SERVER)
        self._is_closing = False

    def is_closing(self) -> bool:
        return self._is_closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._http.receive_data(bytes(data))
        request, body = self._http.next_event(), b""
        assert isinstance(request, h11.Request)
        while isinstance(event := self._http.next_event(), h11.Data):
            body += event.data
        asked = Asked(request.method.decode(), request.target.decode(), body)
        self._venue.asked.append(asked)
        asyncio.get_running_loop().call_later(0.01, self._answer, self._venue.answer(asked))

    def _answer(self, answer: Answer) -> None:
        if self._is_closing:
            return
        if answer is None:
            self.abort()
            return
        status, body, headers = (*answer, {})[:3]
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        lines = [*headers.items(), ("Content-Length", str(len(raw)))]
        http = self._http
        data = http.send(h11.Response(status_code=status, headers=lines)) or b""
        data += (http.send(h11.Data(data=raw)) or b"") + (http.send(h11.EndOfMessage()) or b"")
        http.start_next_cycle()
        self._protocol.data_received(data)

    def abort(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    close = abort


class ScriptedVenue(Network):
    """Answers each request by ``answer``, and keeps what was asked; stands where the network stands."""

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.is_down = False

    def connector(self, connections: int) -> CleanConnector:
        return MemoryConnector(connections, self.connect)

    async def connect(self, protocol: asyncio.Protocol) -> None:
        if self.is_down:
            raise ConnectionRefusedError
        protocol.connection_made(_Transport(self, protocol))

    def count(self, line: str) -> int:
        """Return how often it was asked."""
        return sum(asked.line == line for asked in self.asked)


async def settled(gateway: Any) -> None:
    """End a gateway's requests under way as its close does: each has a minute to be answered."""
    gateway._path._cancels.close()
    await gateway._path.under_way.end(60.0)


class Conversation:
    """A gateway and a scripted venue, as if connected.

    ``at_ns``: Time at the beginning, UTC nanoseconds.
    ``is_connected``: Whether orders may be sent.
    """

    def __init__(
        self,
        book: Instruments,
        answer: Callable[[Asked], Answer],
        at_ns: int,
        *,
        is_connected: bool = True,
        **options: Any,
    ) -> None:
        self.loop = VirtualLoop()
        self.clock: Clock = VirtualClock(self.loop, at_ns)
        self.venue = ScriptedVenue(answer)
        transport = part("scalpdesk_alpaca.transport")
        self.gateway = part("scalpdesk_alpaca.gateway").AlpacaGateway(
            endpoints=transport.Endpoints.at("http://127.0.0.1:9"),
            keys=transport.ApiKeys(Secret("k"), Secret("s")),
            instruments=book,
            clock=self.clock,
            options=transport.GatewayOptions(**options),
            network=self.venue,
        )
        if is_connected:
            self.gateway._path.is_open = True

    def run(self, scenario: Callable[[], Any]) -> Any:
        """Run a scenario, then the loop until no request is under way; return its result."""
        asyncio.set_event_loop(self.loop)

        async def whole() -> Any:
            found = await scenario()
            await settled(self.gateway)
            return found

        try:
            return self.loop.run_until_complete(whole())
        finally:
            asyncio.set_event_loop(None)

    def close(self) -> None:
        """Close the connections and the loop."""

        async def ended() -> None:
            for client in self.gateway._clients:
                await client.close()

        self.loop.run_until_complete(ended())
        self.loop.close()

    def send(self, *commands: Any) -> list[Event | Notice]:
        """Send commands, each after the one before is settled; return what came of all."""

        async def scenario() -> None:
            for command in commands:
                self.gateway.send(command)
                await settled(self.gateway)

        self.run(scenario)
        return self.said()

    def health(self) -> Health:
        """Return the gateway's state."""

        async def scenario() -> Health:
            found: Health = self.gateway.health()
            return found

        found: Health = self.run(scenario)
        return found

    def said(self) -> list[Event | Notice]:
        """Return what the gateway has published since the last time."""
        queue, found = self.gateway._publisher.queue, []
        while (item := queue.take()) is not None:
            found.append(item)
        return found
