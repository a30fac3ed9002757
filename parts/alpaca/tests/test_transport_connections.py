"""A client's use of its connections, byte by byte and second by second, in virtual time."""

import asyncio
import gzip

import pytest

from scalpdesk.config.schema import Secret as Key
from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.venues.contract import LiveToken
from scalpdesk_alpaca.transport import (
    LARGEST_BODY_BYTES,
    ApiKeys,
    Endpoints,
    GatewayOptions,
    NoAnswer,
    NotSent,
    RestClient,
    RestRequest,
)
from scalpdesk_testing.line import MemoryConnector
from scalpdesk_testing.virtual_time import VirtualLoop

URL = "https://venue.test:8443"
SECRET = "canary-77ab"
ASK = RestRequest("GET", "/v2/clock?a=1")
ORDER = RestRequest("POST", "/v2/orders", b'{"a":1}', "sd-1")
OTHER = RestRequest("POST", "/v2/orders", b'{"a":2}', "sd-2")
SHORT = RestRequest("POST", "/v2/orders", b"{}")
CANCEL = RestRequest("DELETE", "/v2/orders/7")


def http(body=b"{}", status=200, extra=b""):
    return b"HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s" % (status, extra, len(body), body)


class Line(asyncio.Transport):
    """One connection: what was written on it and when, and the client's end of it."""

    def __init__(self, network, protocol):
        super().__init__()
        self.network, self.protocol, self.written, self.is_lost = network, protocol, [], False
        protocol.connection_made(self)

    def is_closing(self):
        return self.is_lost

    def write(self, data):
        assert not self.is_lost
        loop = asyncio.get_running_loop()
        self.written.append((round(loop.time(), 6), bytes(data)))
        answer = self.network.answers.pop(0) if self.network.answers else None
        if isinstance(answer, tuple):
            loop.call_later(answer[0], self.come, answer[1])
        elif answer is not None:
            loop.call_soon(self.come, answer)

    def come(self, data):
        """Bytes of the host; None is its end of the connection."""
        if data is None:
            self.abort()
        elif not self.is_lost:
            self.protocol.data_received(data)

    def abort(self):
        if not self.is_lost:
            self.is_lost = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    close = abort


class Network:
    """Answers each request by the next answer (bytes, seconds and bytes, None); ``faults`` hit connects."""

    def __init__(self, answers=(), faults=()):
        self.answers, self.faults = list(answers), list(faults)
        self.lines, self.tries = [], []

    def connector(self, connections):
        return MemoryConnector(connections, self.connect)

    async def connect(self, protocol):
        self.tries.append(round(asyncio.get_running_loop().time(), 6))
        fault = self.faults.pop(0) if self.faults else 0.0
        if isinstance(fault, Exception):
            raise fault
        await asyncio.sleep(fault)
        self.lines.append(Line(self, protocol))

    def written(self):
        """Return the number of requests on each connection."""
        return [len(line.written) for line in self.lines]


@pytest.fixture
def on_line():
    """Run a scenario against a client of a network; the loop is closed with the test."""
    loop = VirtualLoop()

    def run(scenario, network, *, connections=1, timeout_seconds=5.0):
        async def whole():
            client = RestClient(
                URL, {"K": SECRET}, connections=connections, timeout_seconds=timeout_seconds, network=network
            )
            try:
                return await scenario(client)
            finally:
                await client.close()

        return loop.run_until_complete(whole())

    yield run
    loop.close()


async def outcome(future):
    """Return status and body, or the class of the error, in whose text no key stands."""
    try:
        reply = await future
    except RetryError as error:
        return "shows the key" if SECRET in f"{error!r} {error} {error.__cause__!r}" else type(error)
    return reply.status, reply.body


def now():
    return round(asyncio.get_running_loop().time(), 6)


def parts(data):
    """Return first line, headers and body of a request."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines), body


ARMED = LiveToken("account", "hash", 1, "operator")
HEAD = {
    "Host": "venue.test:8443",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "scalpdesk",
    "K": SECRET,
}


@pytest.mark.rows(
    ("request_", "first", "headers", "body"),
    [
        (ASK, "GET /v2/clock?a=1 HTTP/1.1", {}, b""),
        (
            ORDER,
            "POST /v2/orders HTTP/1.1",
            {"Content-Type": "application/json", "Content-Length": "7"},
            b'{"a":1}',
        ),
        (CANCEL, "DELETE /v2/orders/7 HTTP/1.1", {"Content-Length": "0"}, b""),
        (RestRequest("GET", "/v2/x?q=a+b%2F%20"), "GET /v2/x?q=a+b%2F%20 HTTP/1.1", {}, b""),
    ],
)
def test_a_request_is_one_write_with_these_headers_and_no_others(on_line, request_, first, headers, body):
    network = Network([http(b"sd-1")])
    assert on_line(lambda client: outcome(client.start(request_)), network) == (200, b"sd-1")
    ((at, data),) = network.lines[0].written
    assert (at, *parts(data)) == (0.0, first, HEAD | headers, body)


def test_a_page_is_asked_for_by_its_token():
    first, later = (RestRequest.page("/v2/x", {"q": "a b", "n": "1"}, token) for token in (None, "t="))
    assert (first.method, first.path, first.body) == ("GET", "/v2/x?q=a+b&n=1", None)
    assert later.path == "/v2/x?q=a+b&n=1&page_token=t%3D"


@pytest.mark.rows(
    ("answer", "expected", "is_kept"),
    [
        (http(b'"sd-1"'), (200, b'"sd-1"'), True),
        (http(b"no", 422), (422, b"no"), True),
        (http(b"no"), NoAnswer, False),
        (http(b"sd-1") + b"x", NoAnswer, False),
        (http(b"sd-1") + http(b"sd-1"), (200, b"sd-1"), False),
        (b"ICY 200\r\n\r\n", NoAnswer, False),
        (http(b"sd-1", extra=b"Connection: close\r\n"), (200, b"sd-1"), False),
        (b"HTTP/1.1 100 Go on\r\n\r\n" + http(b"sd-1"), (200, b"sd-1"), True),
        (None, NoAnswer, False),
        ((1.0, None), NoAnswer, False),
        ((4.9, http(b"sd-1")), (200, b"sd-1"), True),
        ((5.1, http(b"sd-1")), NoAnswer, False),
    ],
)
def test_what_becomes_of_an_order_and_its_connection_by_the_answer(on_line, answer, expected, is_kept):
    network = Network([answer, http(b"again")])

    async def scenario(client):
        found = await outcome(client.start(ORDER))
        assert now() <= 5.0
        assert await outcome(client.start(SHORT)) == (200, b"again")  # nothing of the first is left over
        return found

    assert on_line(scenario, network) == expected
    assert network.written() == ([2] if is_kept else [1, 1])


def chunked(*pieces, trailer=b""):
    chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n"


@pytest.mark.rows("size", [1, 9, 10_000])
@pytest.mark.rows(
    ("raw", "status", "body"),
    [
        (http(b"abc", 422), 422, b"abc"),
        (chunked(b"ab", b"c" * 40), 200, b"ab" + b"c" * 40),
        (chunked(b"ab", trailer=b"Digest: x\r\n"), 200, b"ab"),
        (b"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n", 204, b""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + http(), 200, b"{}"),
    ],
)
def test_an_answer_in_any_form_and_any_pieces_keeps_the_connection(on_line, raw, status, body, size):
    async def scenario(client):
        for _ in range(2):
            asked = client.start(SHORT)
            await asyncio.sleep(0.01)
            for begin in range(0, len(raw), size):
                network.lines[0].come(raw[begin : begin + size])
                await asyncio.sleep(0)
            assert await outcome(asked) == (status, body)

    network = Network()
    on_line(scenario, network)
    assert network.written() == [2]


@pytest.mark.rows(
    "raw",
    [
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        http()[:-1],
        chunked(b"abc")[:-3],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        chunked(b"a") + b"more",
        b"x" * 65_537,
    ],
)
def test_bytes_that_are_no_whole_answer_are_no_answer(on_line, raw):
    assert on_line(lambda client: outcome(client.start(SHORT)), Network([raw])) is NoAnswer


@pytest.mark.rows(("more", "expected"), [(0, 200), (1, NoAnswer)])
def test_an_answer_has_at_most_64_mebibytes(on_line, more, expected):
    network, size = Network(), LARGEST_BODY_BYTES + more

    async def scenario(client):
        asked = client.start(SHORT)
        await asyncio.sleep(0.1)
        network.lines[0].come(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n" % size)
        for begin in range(0, size, 1 << 23):
            network.lines[0].come(bytes(min(1 << 23, size - begin)))
            await asyncio.sleep(0.0)
        found = await outcome(asked)
        return found if found is NoAnswer else found[0]

    assert on_line(scenario, network) == expected
    assert network.lines[0].is_lost


def test_an_error_says_what_was_asked_without_its_query(on_line):
    async def scenario(client):
        with pytest.raises(NoAnswer) as silent:
            await client.ask(ASK)
        assert SECRET not in repr(client)
        assert silent.value.where == "GET https://venue.test:8443/v2/clock"

    on_line(scenario, Network([None]))


def test_headers_come_in_lower_case_and_each_answer_has_its_own(on_line):
    async def scenario(client):
        first = await client.ask(ASK)
        second = await client.ask(ASK)
        return [reply.headers.get("x-left") for reply in (first, second)]

    network = Network([http(extra=b"X-Left:  7 \r\n"), http()])
    assert on_line(scenario, network) == ["7", None]


def test_redirects_cookies_compression_and_proxies_are_left_alone(on_line, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:1")
    packed = gzip.compress(b"{}")
    network = Network(
        [
            http(b"", 307, b"Location: https://else.test/\r\nSet-Cookie: a=b\r\n"),
            http(packed, extra=b"Content-Encoding: gzip\r\n"),
        ]
    )

    async def scenario(client):
        return await outcome(client.start(SHORT)), await outcome(client.start(ASK))

    assert on_line(scenario, network) == ((307, b""), (200, packed))
    assert network.written() == [2]
    assert parts(network.lines[0].written[1][1])[1] == HEAD


def test_the_time_of_an_answered_request_ends_with_its_answer(on_line):
    async def scenario(client):
        first = await outcome(client.start(SHORT))
        await asyncio.sleep(3.0)
        second = await outcome(client.start(SHORT))  # under way when the first one's time would be over
        return first, second, now()

    network = Network([(1.0, http(b"1")), (2.0, http(b"2"))])
    assert on_line(scenario, network) == ((200, b"1"), (200, b"2"), 6.0)
    assert len(network.lines) == 1


def test_requests_beyond_the_connections_wait_in_order_and_not_for_ever(on_line):
    async def scenario(client):
        asked = [client.start(ASK) for _ in range(4)]
        asked[1].cancel()  # no caller waits for it: it never leaves
        found = [await outcome(asked[n]) for n in (0, 2, 3)]
        await asyncio.sleep(10.0)
        return found, now()

    network = Network([(2.0, http(b"a")), (2.5, http(b"b")), None])
    found, at = on_line(scenario, network)
    assert found == [(200, b"a"), (200, b"b"), NoAnswer]
    assert [seconds for seconds, _ in network.lines[0].written] == [0.0, 2.0, 4.5]
    assert at == 15.0


def test_a_request_that_got_no_connection_in_time_was_not_sent(on_line):
    async def scenario(client):
        busy, waits = client.start(ASK), client.start(ASK)
        found = [await outcome(waits), await outcome(busy)]
        await asyncio.sleep(1.0)
        assert network.tries == [0.0]  # no caller waits for another one
        return found, await outcome(client.start(ASK))

    network = Network([None, http()])
    found, after = on_line(scenario, network)
    assert (found, after) == ([NotSent, NoAnswer], (200, b"{}"))


@pytest.mark.rows(("asked", "opened"), [(1, 1), (2, 2), (5, 3)])
def test_only_as_many_connections_are_opened_as_requests_wait_for(on_line, asked, opened):
    async def scenario(client):
        await asyncio.gather(*(client.ask(ASK) for _ in range(asked)))
        await client.ask(ASK)
        return len(network.tries)

    network = Network([http()] * 6)
    assert on_line(scenario, network, connections=3) == opened


def test_warming_asks_on_all_connections_and_opens_those_again_that_the_host_closed(on_line):
    async def scenario(client):
        await client.warm(ASK)
        assert network.written() == [1, 1, 1]
        await asyncio.sleep(3600.0)  # an idle connection is kept
        network.lines[1].abort()
        await client.warm(ASK)
        return network.written()

    network = Network([http()] * 6)
    assert on_line(scenario, network, connections=3) == [2, 1, 2, 1]


@pytest.mark.rows(("fault", "at"), [(ConnectionRefusedError(), 0.0), (TimeoutError(), 0.0), (60.0, 5.0)])
def test_a_connection_that_fails_is_not_tried_again_before_the_next_request(on_line, fault, at):
    async def scenario(client):
        assert await outcome(client.start(ASK)) is NotSent
        assert now() == at
        await asyncio.sleep(5.0)
        assert len(network.tries) == 1
        return await outcome(client.start(ASK))

    network = Network([http()], [fault])
    assert on_line(scenario, network, connections=3) == (200, b"{}")
    assert len(network.tries) == 2


@pytest.mark.rows(
    ("request_", "ends", "fault", "expected", "tries"),
    [
        (ASK, 1, 0.0, (200, b"{}"), 2),
        (ASK, 2, 0.0, NoAnswer, 2),
        (
            ASK,
            1,
            OSError("down"),
            NoAnswer,
            2,
        ),  # it left once: the second try's failure does not take that back
        (SHORT, 1, 0.0, NoAnswer, 1),
        (CANCEL, 1, 0.0, NoAnswer, 1),
    ],
)
def test_only_a_question_is_sent_again_when_its_connection_breaks_and_once(
    on_line, request_, ends, fault, expected, tries
):
    async def scenario(client):
        await client.ask(ASK)
        asked = client.start(request_)
        for _ in range(ends):
            await asyncio.sleep(0.01)
            network.lines[-1].abort()
        return await outcome(asked)

    network = Network([http(), *[None] * ends, http()], [0.0, fault])
    assert on_line(scenario, network) == expected
    assert len(network.tries) == tries


def test_a_body_without_a_length_ends_with_its_connection(on_line):
    async def scenario(client):
        asked = client.start(SHORT)
        await asyncio.sleep(0.01)
        network.lines[0].come(b"HTTP/1.0 200 X\r\n\r\nabc")
        assert not asked.done()
        network.lines[0].abort()
        return await outcome(asked)

    network = Network()
    assert on_line(scenario, network) == (200, b"abc")


@pytest.mark.rows("late", [http(b"late"), http(b"late", 422), b"nonsense"])
def test_bytes_without_a_request_end_the_connection(on_line, late):
    async def scenario(client):
        await client.ask(ASK)
        network.lines[0].come(late)
        return await outcome(client.start(ASK))

    network = Network([http(), http(b"mine")])
    assert on_line(scenario, network) == (200, b"mine")
    assert network.written() == [1, 1]


@pytest.mark.rows("pause", [0.0, 0.2])
def test_an_answer_that_comes_twice_never_decides_a_later_order(on_line, pause):
    refusal = http(b"no buying power", 422)
    network = Network([http(b"sd-1"), (0.1, http(b"sd-1")), http(b"sd-1"), http(b"sd-1")])

    async def scenario(client):
        assert await outcome(client.start(ORDER)) == (200, b"sd-1")
        second = client.start(OTHER)  # the first answer comes again in the place of its own
        await asyncio.sleep(0.15)
        found = await outcome(second)
        third = client.start(ORDER)
        await asyncio.sleep(pause)
        network.lines[0].come(refusal)  # the second's own answer
        return found, await outcome(third)

    assert on_line(scenario, network) == (NoAnswer, (200, b"sd-1"))
    assert network.lines[0].is_lost


def test_the_end_says_of_each_request_whether_it_left_and_opens_nothing_more(on_line):
    async def scenario(client):
        asked = [client.start(ASK) for _ in range(3)]
        await asyncio.sleep(0.5)  # the first has its connection, the second's still opens
        asked.append(client.start(ASK))
        await client.close()
        assert all(line.is_lost for line in network.lines)
        assert [each.done() for each in asked] == [True] * 4
        assert now() == 0.5
        found = [await outcome(each) for each in asked]
        found.append(await outcome(client.start(ASK)))
        await asyncio.sleep(60.0)
        return found

    network = Network([None], [0.0, 3.0])
    assert on_line(scenario, network, connections=2) == [NoAnswer, *[NotSent] * 4]
    assert network.tries == [0.0, 0.0]
    assert len(network.lines) == 1


def test_a_caller_that_is_cancelled_is_not_held_up_by_its_request(on_line):
    async def scenario(client):
        caller = asyncio.ensure_future(client.ask(ASK))
        await asyncio.sleep(1.0)
        caller.cancel()
        await asyncio.wait([caller])
        return caller.cancelled(), now()

    assert on_line(scenario, Network([None])) == (True, 1.0)


# addresses -----------------------------------------------------------------------------------------------

DATA = "https://data.alpaca.markets"
STREAM = "wss://stream.data.alpaca.markets"


@pytest.mark.rows(
    ("made", "trading", "data", "orders", "stocks", "options", "is_live", "is_paper"),
    [
        (
            Endpoints.paper,
            "https://paper-api.alpaca.markets",
            DATA,
            "wss://paper-api.alpaca.markets/stream",
            f"{STREAM}/v2/iex",
            f"{STREAM}/v1beta1/indicative",
            False,
            True,
        ),
        (
            lambda: Endpoints.live(ARMED, stock_feed="sip", option_feed="opra"),
            "https://api.alpaca.markets",
            DATA,
            "wss://api.alpaca.markets/stream",
            f"{STREAM}/v2/sip",
            f"{STREAM}/v1beta1/opra",
            True,
            False,
        ),
        (
            lambda: Endpoints.at("http://localhost:80/http/"),
            "http://localhost:80/http",
            "http://localhost:80/http",
            "ws://localhost:80/http/stream",
            "ws://localhost:80/http/v2/iex",
            "ws://localhost:80/http/v1beta1/indicative",
            False,
            False,
        ),
    ],
)
def test_the_addresses_of_an_environment(
    made, trading, data, orders, stocks, options, is_live, is_paper
):  # fmt: skip
    found = made()
    assert (found.trading_url, found.data_url, found.orders_url) == (trading, data, orders)
    assert (found.stocks_url, found.options_url) == (stocks, options)
    assert (found.is_live, found.is_paper) == (is_live, is_paper)
    assert found.stocks_url.endswith(f"/{found.stock_feed}")
    assert found.options_url.endswith(f"/{found.option_feed}")


@pytest.mark.rows(
    ("trading", "orders", "why"),
    [
        ("http://desk.test", "wss://desk.test", "open line"),
        ("https://desk.test", "ws://desk.test", "open line"),
        ("https://api.alpaca.markets", "wss://desk.test", "armed"),
        ("https://API.alpaca.markets.", "wss://desk.test", "armed"),
        ("https://desk.test", "wss://api.alpaca.markets/stream", "armed"),
        ("https://desk.test", "wss://desk.test", None),
        ("http://127.0.0.1:1", "ws://[::1]:2", None),
    ],
)
def test_keys_go_only_where_they_may(trading, orders, why):
    def build():
        return Endpoints(trading, DATA, orders, STREAM, STREAM)

    if why is None:
        assert build().live_token is None
    else:
        with pytest.raises(ConfigError, match=why):
            build()


@pytest.mark.rows(
    ("endpoints", "key", "why"),
    [
        (Endpoints.paper(), "AK1", "a live key with paper"),
        (Endpoints.paper(), "PK1", None),
        (Endpoints.live(ARMED), "PK1", "a paper key with --live"),
        (Endpoints.live(ARMED), "AK1", None),
        (Endpoints.at("http://localhost"), "AK1", None),
        (Endpoints.at("http://localhost"), "PK1", None),
    ],
)
def test_a_key_of_the_other_environment_is_refused(endpoints, key, why):
    if why is None:
        endpoints.check_key(key)
    else:
        with pytest.raises(ConfigError, match=why) as refused:
            endpoints.check_key(key)
        assert key not in str(refused.value)


def test_keys_are_sent_under_the_venues_names():
    headers = ApiKeys(Key("id"), Key("word")).headers()
    assert headers == {"APCA-API-KEY-ID": "id", "APCA-API-SECRET-KEY": "word"}


def test_a_gateway_keeps_to_the_free_plans_rates():
    options = GatewayOptions()
    assert (options.requests_per_minute, options.data_requests_per_minute) == (200, 200)
    assert (options.options_level, options.data_only) == (0, False)  # asks for nothing, trades
