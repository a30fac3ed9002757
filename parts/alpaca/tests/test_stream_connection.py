"""One websocket kept open: frames, causes of its end, pauses before the next try; in virtual time."""

import asyncio
from contextlib import asynccontextmanager
from itertools import pairwise
from types import SimpleNamespace

import aiohttp
import pytest

from scalpdesk_alpaca.stream import StreamConnection, StreamRefused, StreamTarget
from scalpdesk_testing.virtual_time import VirtualLoop

TEXT, BINARY, CLOSED = aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.CLOSED


def frame(kind, data=None, extra=None):
    return SimpleNamespace(type=kind, data=data, extra=extra)


class Socket:
    """Gives its frames, each after a second, and then stays silent or is closed."""

    def __init__(self, frames=(), code=None):
        self.frames, self.code, self.sent, self.closed = list(frames), code, [], False
        self.ended = asyncio.Event()

    @property
    def close_code(self):
        return self.code

    async def receive(self):
        if self.frames:
            await asyncio.sleep(1.0)
            found = self.frames.pop(0)
            if isinstance(found, Exception):
                raise found
            return found
        if self.code is None:
            await self.ended.wait()
            self.code = 1000
        return frame(CLOSED)

    async def send_str(self, text):
        self.sent.append(text)

    async def send_bytes(self, data):
        self.sent.append(data)

    async def close(self):
        self.closed = True
        self.ended.set()


class Handler:
    """Notes what it is told; its hello may fail."""

    def __init__(self, hellos=()):
        self.hellos, self.told, self.failed = list(hellos), [], []

    async def hello(self, send, receive):
        del receive
        await send(b"hello")
        found = self.hellos.pop(0) if self.hellos else None
        if found is not None:
            raise found

    def on_frame(self, raw):
        self.told.append(raw)

    def on_up(self):
        self.told.append("up")

    def on_down(self, name, why, *, is_final):
        self.told.append((name, why, is_final))

    def on_failed(self, name, why):
        self.failed.append((name, why))


class Line:
    """A stream's connection whose sockets a test has written down; ``opened`` notes each try."""

    def __init__(self, *sockets, hellos=(), is_binary=False):
        self.loop = VirtualLoop()
        self.sockets, self.opened = list(sockets), []
        self.handler = Handler(hellos)
        target = StreamTarget(
            "stocks", "wss://x/stream", {"a": "b"}, is_binary=is_binary, heartbeat_seconds=7.0
        )
        self.connection = StreamConnection(target, self.handler, self)

    @asynccontextmanager
    async def websockets(self, timeout_seconds):
        assert timeout_seconds == 10.0
        yield self

    @asynccontextmanager
    async def ws_connect(self, url, **how):
        self.opened.append(round(self.loop.time(), 3))
        assert (url, how["headers"], how["heartbeat"]) == ("wss://x/stream", {"a": "b"}, 7.0)
        assert (how["max_msg_size"], how["autoclose"]) == (16 * 1024 * 1024, True)
        found = self.sockets.pop(0) if self.sockets else Socket()
        if isinstance(found, Exception):
            raise found
        yield found

    def run(self, scenario):
        async def whole():
            try:
                return await scenario(self.connection)
            finally:
                await self.connection.close()

        try:
            return self.loop.run_until_complete(whole())
        finally:
            self.loop.close()


def made(*frames, code=None):
    """Return a socket."""
    return Socket(frames, code)


def handshake(status):
    return aiohttp.WSServerHandshakeError(SimpleNamespace(real_url="x"), (), status=status)


HALF_OPEN = ("half_open", "no message, ping or pong in time", False)


@pytest.mark.rows(("is_binary", "sent"), [(False, ["hello", "more"]), (True, [b"hello", b"more"])])
def test_frames_come_as_bytes_and_go_out_as_the_stream_wants_them_while_it_is_up(is_binary, sent):
    socket = made(frame(TEXT, "one"), frame(BINARY, b"two"))
    line = Line(socket, is_binary=is_binary)

    async def fails(_):
        raise ConnectionResetError

    async def scenario(connection):
        assert connection.silent_seconds() == 0.0
        found = [await connection.send(b"early")]
        await connection.start()
        state = connection.is_up, connection.connections, connection.reconnects
        await asyncio.sleep(5.0)
        found.append(await connection.send(b"more"))
        took, socket.send_str, socket.send_bytes = list(socket.sent), fails, fails
        found.append(await connection.send(b"not taken"))
        socket.closed = True
        found.append(await connection.send(b"late"))
        return found, took, state, connection.silent_seconds()

    assert line.run(scenario) == ([False, True, False, False], sent, (True, 1, 0), 3.0)
    assert line.handler.told == ["up", b"one", b"two"]
    assert line.connection.is_up is False


@pytest.mark.rows(
    ("socket", "cause"),
    [
        (lambda: made(code=1006), HALF_OPEN),
        (
            lambda: made(code=1000),
            ("connection_lost", "ClientConnectionError: closed with code 1000", False),
        ),
        (
            lambda: made(frame(aiohttp.WSMsgType.CLOSE, 1001, "restarting"), code=1001),
            ("connection_lost", "ClientConnectionError: closed with code 1001: restarting", False),
        ),
        (
            lambda: made(ConnectionResetError("reset")),
            ("connection_lost", "ConnectionResetError: reset", False),
        ),
        (lambda: made(ValueError("x" * 400)), ("internal_fault", ("ValueError: " + "x" * 400)[:200], False)),
    ],
)
def test_a_connection_that_ends_says_why_and_comes_back(socket, cause):
    line = Line(socket())

    async def scenario(connection):
        await connection.start()
        await asyncio.sleep(3.0)
        return connection.is_up, connection.connections, connection.reconnects

    assert line.run(scenario) == (True, 2, 1)
    assert line.handler.told == ["up", cause, "up"]


@pytest.mark.rows("status", [401, 403])
def test_a_handshake_that_refuses_the_keys_is_final(status):
    line = Line(handshake(status))

    async def scenario(connection):
        with pytest.raises(StreamRefused, match=f"HTTP {status}") as caught:
            await connection.start()
        await asyncio.sleep(60.0)
        return caught.value.is_final

    assert line.run(scenario) is True
    assert (line.opened, line.handler.told) == ([0.0], [])


def test_pauses_double_up_to_ten_seconds_while_the_line_stays_down():
    line = Line(*[handshake(500)] * 9)

    async def scenario(connection):
        with pytest.raises(TimeoutError):
            await connection.start(5.0)
        await asyncio.sleep(60.0)
        return connection.reconnects, connection.connections

    assert line.run(scenario) == (9, 1)
    waits = [round(after - before, 3) for before, after in pairwise(line.opened)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert line.handler.told == ["up"]  # what never stood is not reported as lost
    assert line.handler.failed == [("handshake", "HTTP 500")] * 9
    assert line.connection.failure == ""


@pytest.mark.rows(
    ("hellos", "told", "is_up"),
    [
        ([StreamRefused("busy", is_final=False), None], ["up", HALF_OPEN, "up"], True),
        (
            [None, StreamRefused("no keys", is_final=True)],
            ["up", HALF_OPEN, ("refused", "no keys", True)],
            False,
        ),
    ],
)
def test_a_refusal_in_the_hello_may_pass_or_be_final(hellos, told, is_up):
    line = Line(*([made()] * (hellos[0] is not None)), made(code=1006), hellos=hellos)

    async def scenario(connection):
        await connection.start()
        await asyncio.sleep(5.0)
        return connection.is_up

    assert line.run(scenario) is is_up
    assert line.handler.told == told


@pytest.mark.rows(
    ("faults", "hellos", "why"),
    [
        (
            [],
            [StreamRefused("406 connection limit exceeded", is_final=False)] * 3,
            "406 connection limit exceeded",
        ),
        ([handshake(503)] * 3, [], "HTTP 503"),
        ([handshake(429)] * 3, [], "HTTP 429"),
        ([OSError("no route to host")] * 3, [], "OSError: no route to host"),
    ],
)
def test_why_a_stream_does_not_come_back_is_told_with_the_servers_words(faults, hellos, why):
    """Only the cause of the first cut was told, or at the start that nothing is confirmed."""
    line = Line(made(code=1006), *faults, hellos=[None, *hellos])

    async def scenario(connection):
        await connection.start()
        await asyncio.sleep(0.6)
        missing = connection.failure
        await asyncio.sleep(5.0)
        return missing, connection.failure, connection.is_up

    missing, failure, is_up = line.run(scenario)
    assert why in missing
    assert [why in text for _, text in line.handler.failed] == [True] * 3
    assert (failure, is_up) == ("", True)


def test_a_connection_that_is_dropped_reports_the_reason_that_it_was_given():
    line = Line()

    async def scenario(connection):
        await connection.drop("silent", "too early")
        await connection.start()
        await connection.drop("silent", "no message for 30 s")
        await asyncio.sleep(1.0)
        await connection.drop()
        await asyncio.sleep(1.0)

    line.run(scenario)
    lost = ("connection_lost", "ClientConnectionError: closed with code 1000", False)
    assert line.handler.told == ["up", ("silent", "no message for 30 s", False), "up", lost, "up"]


def test_a_hello_that_never_ends_is_given_up_after_ten_seconds():
    line, calls = Line(), []

    async def hangs(send, receive):
        del send, receive
        calls.append(line.loop.time())
        if len(calls) == 1:
            await asyncio.Event().wait()

    line.handler.hello = hangs
    line.run(lambda connection: connection.start(30.0))
    assert calls == pytest.approx([0.0, 10.1])
