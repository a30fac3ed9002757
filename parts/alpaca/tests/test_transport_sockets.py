"""REST over kept-alive connections against servers that behave badly, on sockets of this machine."""

import asyncio

import pytest

from scalpdesk_alpaca.order_messages import RestRequest
from scalpdesk_alpaca.transport import NoAnswer, NotSent, RestClient

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
ASK = RestRequest("POST", "/v2/orders", b'{"a":1}')
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
SECRET = "canary-5f3a"


async def read_request(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return head, await reader.readexactly(length)


def run(serve, ask, *, connections=1, timeout_seconds=60.0):
    """Serve each connection with ``serve`` and return what ``ask`` makes of it."""

    serving = []

    async def serve_and_close(reader, writer):
        serving.append(asyncio.current_task())
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the desk hung up
        finally:
            writer.close()

    async def scenario():
        server = await asyncio.start_server(serve_and_close, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        path = RestClient(
            f"http://127.0.0.1:{port}",
            {"APCA-API-SECRET-KEY": SECRET},
            connections=connections,
            timeout_seconds=timeout_seconds,
        )
        try:
            return await asyncio.wait_for(ask(path), 120)
        finally:
            await path.close()
            server.close()
            await asyncio.wait_for(asyncio.gather(*serving), 60)

    return asyncio.run(scenario())


def test_a_request_carries_its_headers_and_body_and_the_answer_comes_back(socket_enabled):
    seen = []

    async def serve(reader, writer):
        seen.append(await read_request(reader))
        writer.write(OK)

    reply = run(serve, lambda path: path.ask(ASK))
    assert (reply.status, reply.body) == (200, b"{}")
    head, body = seen[0]
    assert body == ASK.body
    assert head.startswith(b"POST /v2/orders HTTP/1.1\r\n")
    assert f"APCA-API-SECRET-KEY: {SECRET}".encode() in head


def test_one_connection_serves_many_requests_in_turn(socket_enabled):
    connections = []

    async def serve(reader, writer):
        connections.append(writer)
        while True:
            await read_request(reader)
            writer.write(OK)

    async def ask(path):
        return await asyncio.gather(*(path.ask(ASK) for _ in range(20)))

    assert len(run(serve, ask)) == 20
    assert len(connections) == 1


def test_a_connection_that_breaks_after_the_request_is_no_answer(socket_enabled):
    async def serve(reader, writer):
        await read_request(reader)
        writer.write(OK[:20])
        writer.close()

    with pytest.raises(NoAnswer) as caught:
        run(serve, lambda path: path.ask(ASK))
    assert SECRET not in str(caught.value)


def test_a_server_that_closes_after_each_answer_is_connected_to_again(socket_enabled):
    async def serve(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async def ask(path):
        return [(await path.ask(ASK)).status for _ in range(3)]

    assert run(serve, ask) == [200, 200, 200]


def chunked(*pieces, trailer=b""):
    chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n"


def answering(*answers, pieces=1):
    """Serve each request of a connection with the next answer, in so many pieces."""

    async def serve(reader, writer):
        for raw in answers:
            await read_request(reader)
            size = -(-len(raw) // pieces)
            for start in range(0, len(raw), size):
                writer.write(raw[start : start + size])
                await writer.drain()
                await asyncio.sleep(0)

    return serve


@pytest.mark.parametrize("pieces", [1, 7, 40])
@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (b"HTTP/1.1 422 Fine\r\nContent-Length: 3\r\nX-RateLimit-Limit:  200 \r\n\r\nabc", 422, b"abc"),
        (chunked(b"ab", b"c" * 40), 200, b"ab" + b"c" * 40),
        (chunked(b"ab", trailer=b"Digest: x\r\n"), 200, b"ab"),
        (b"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n", 204, b""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, 200, b"{}"),
    ],
)
def test_an_answer_in_any_form_and_any_pieces_keeps_the_connection(socket_enabled, raw, status, body, pieces):
    async def ask(path):
        first, second = await path.ask(ASK), await path.ask(ASK)
        assert first.headers == second.headers
        return first

    reply = run(answering(raw, raw, pieces=pieces), ask)
    assert (reply.status, reply.body) == (status, body)
    assert reply.headers.get("x-ratelimit-limit", "200") == "200"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        OK[:-1],
        chunked(b"abc")[:-3],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        chunked(b"a") + b"more",
        b"x" * 65_537,
    ],
)
def test_bytes_that_are_no_whole_answer_are_no_answer(socket_enabled, raw):
    with pytest.raises(NoAnswer):
        run(answering(raw), lambda path: path.ask(ASK))


def test_a_host_that_is_not_there_means_not_sent(socket_enabled):
    async def scenario():
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        path = RestClient(f"http://127.0.0.1:{port}", {"X": SECRET}, connections=2, timeout_seconds=60.0)
        with pytest.raises(NotSent, match="cannot be reached") as caught:
            await path.ask(ASK)
        assert SECRET not in str(caught.value)
        assert SECRET not in repr(path)
        await path.close()

    asyncio.run(scenario())
