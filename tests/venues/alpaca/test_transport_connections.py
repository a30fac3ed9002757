"""A client's use of its connections, byte by byte and second by second, in virtual time."""

import asyncio

import pytest

from fakes.scripted_venue import Key
from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.venues.alpaca import transport
from scalpdesk.venues.alpaca.transport import (
    ApiKeys,
    Endpoints,
    GatewayOptions,
    NoAnswer,
    NotSent,
    RestClient,
    RestRequest,
    TcpNetwork,
)
from scalpdesk.venues.contract import LiveToken
from scalpdesk_testing.virtual_time import VirtualLoop

URL = "https://venue.test:8443"
ASK = RestRequest("GET", "/v2/clock?a=1")
ORDER = RestRequest("POST", "/v2/orders", b'{"a":1}', "sd-1")
SHORT = RestRequest("POST", "/v2/orders", b"{}")


def http(body=b"{}", status=200, extra=b""):
    return b"HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s" % (status, extra, len(body), body)


class Line:
    """One connection: what was written on it and when, and the client's end of it."""

    def __init__(self, network, protocol):
        self.network, self.protocol, self.written, self.is_lost = network, protocol, [], False
        protocol.connection_made(self)

    def write(self, data):
        assert not self.is_lost
        loop = asyncio.get_running_loop()
        self.written.append((loop.time(), data))
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


class Network:
    """Answers each request by the next answer (bytes, seconds and bytes, None); ``faults`` hit connects."""

    def __init__(self, answers=(), faults=()):
        self.answers, self.faults = list(answers), list(faults)
        self.lines, self.tries = [], []

    async def connect(self, make, url):
        assert url == URL
        self.tries.append(round(asyncio.get_running_loop().time(), 6))
        fault = self.faults.pop(0) if self.faults else 0.0
        if isinstance(fault, Exception):
            raise fault
        await asyncio.sleep(fault)
        self.lines.append(Line(self, make()))
        return self.lines[-1].protocol


@pytest.fixture
def on_line():
    """Run a scenario against a client of a network; the loop is closed with the test."""
    loop = VirtualLoop()

    def run(scenario, network, *, connections=1, timeout_seconds=5.0):
        async def whole():
            client = RestClient(
                URL, {"K": "v"}, connections=connections, timeout_seconds=timeout_seconds, network=network
            )
            try:
                return await scenario(client)
            finally:
                await client.close()

        return loop.run_until_complete(whole())

    yield run
    loop.close()


async def outcome(future):
    """Return status and body, or the error with what it says of the cause."""
    try:
        reply = await future
    except RetryError as error:
        return type(error), error.value
    return reply.status, reply.body


def now():
    return round(asyncio.get_running_loop().time(), 6)


ARMED = LiveToken("account", "hash", 1, "operator")
HEAD = b"Host: venue.test:8443\r\nAccept: application/json\r\nK: v\r\n"


@pytest.mark.parametrize(
    ("request_", "written"),
    [
        (ASK, b"GET /v2/clock?a=1 HTTP/1.1\r\n" + HEAD + b"\r\n"),
        (
            ORDER,
            b"POST /v2/orders HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n"
            b'Content-Length: 7\r\n\r\n{"a":1}',
        ),
    ],
)
def test_the_bytes_of_a_request(on_line, request_, written):
    network = Network([http(b"sd-1")])
    assert on_line(lambda client: outcome(client.start(request_)), network) == (200, b"sd-1")
    assert network.lines[0].written == [(0.0, written)]


def test_a_page_is_asked_for_by_its_token():
    first, later = (RestRequest.page("/v2/x", {"q": "a b", "n": "1"}, token) for token in (None, "t="))
    assert (first.method, first.path, first.body) == ("GET", "/v2/x?q=a+b&n=1", None)
    assert later.path == "/v2/x?q=a+b&n=1&page_token=t%3D"


@pytest.mark.parametrize(
    ("answer", "expected", "is_kept"),
    [
        (http(b'"sd-1"'), (200, b'"sd-1"'), True),
        (http(b"no", 422), (422, b"no"), True),
        (http(b"no"), (NoAnswer, "an answer without the order's id"), False),
        (http(b"sd-1") + b"x", (NoAnswer, "bytes after the answer"), False),
        (b"ICY 200\r\n\r\n", (NoAnswer, "an answer that is not HTTP"), False),
        (http(b"sd-1", extra=b"Connection: close\r\n"), (200, b"sd-1"), False),
        (http(b"sd-1" + b"x" * 16), (200, b"sd-1" + b"x" * 16), True),
        (http(b"sd-1" + b"x" * 17), (NoAnswer, "the answer is too large"), False),
        (b"HTTP/1.1 100 Go on\r\n\r\n" + http(b"sd-1"), (200, b"sd-1"), True),
        (None, (NoAnswer, "no answer in time"), False),
        ((1.0, None), (NoAnswer, "the connection broke"), False),
        ((4.9, http(b"sd-1")), (200, b"sd-1"), True),
        ((5.1, http(b"sd-1")), (NoAnswer, "no answer in time"), False),
    ],
)
def test_what_becomes_of_an_order_and_its_connection_by_the_answer(
    on_line, monkeypatch, answer, expected, is_kept
):
    monkeypatch.setattr(transport, "LARGEST_BODY_BYTES", 20)
    network = Network([answer, http(b"again")])

    async def scenario(client):
        found = await outcome(client.start(ORDER))
        assert now() <= 5.0
        assert await outcome(client.start(SHORT)) == (200, b"again")  # nothing of the first is left over
        return found

    assert on_line(scenario, network) == expected
    assert [len(line.written) for line in network.lines] == ([2] if is_kept else [1, 1])


def test_an_error_says_what_was_asked_without_its_query(on_line):
    async def scenario(client):
        with pytest.raises(NoAnswer) as silent:
            await client.ask(ASK)
        assert silent.value.where == "GET https://venue.test:8443/v2/clock"

    on_line(scenario, Network([None]))


def test_headers_come_in_lower_case_and_each_answer_has_its_own(on_line):
    async def scenario(client):
        first = await client.ask(ASK)
        second = await client.ask(ASK)
        return [reply.headers.get("x-left") for reply in (first, second)]

    network = Network([http(extra=b"X-Left:  7 \r\n"), http()])
    assert on_line(scenario, network) == ["7", None]


def test_a_head_may_have_64_kilobytes(on_line):
    async def scenario(client):
        asked = client.start(SHORT)
        await asyncio.sleep(0.1)
        (line,) = network.lines
        start = b"HTTP/1.1 200 X\r\nY: "
        line.come(start + b"y" * (65_536 - len(start)))
        assert not line.is_lost
        line.come(b"y")
        assert line.is_lost
        return await outcome(asked)

    network = Network()
    assert on_line(scenario, network) == (NoAnswer, "an answer that is not HTTP")


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
    assert found == [(200, b"a"), (200, b"b"), (NoAnswer, "no answer in time")]
    assert [seconds for seconds, _ in network.lines[0].written] == [0.0, 2.0, 4.5]
    assert at == 15.0


def test_a_request_that_got_no_connection_in_time_was_not_sent(on_line):
    async def scenario(client):
        busy, waits = client.start(ASK), client.start(ASK)
        found = [await outcome(waits), await outcome(busy)]
        assert "came about in time" in str(waits.exception())
        await asyncio.sleep(1.0)
        assert network.tries == [0.0]  # no caller waits for another one
        return found, await outcome(client.start(ASK))

    network = Network([None, http()])
    found, after = on_line(scenario, network)
    assert (found, after) == ([(NotSent, None), (NoAnswer, "no answer in time")], (200, b"{}"))


@pytest.mark.parametrize(("asked", "opened"), [(1, 1), (2, 2), (5, 3)])
def test_only_as_many_connections_are_opened_as_requests_wait_for(on_line, asked, opened):
    async def scenario(client):
        await asyncio.gather(*(client.ask(ASK) for _ in range(asked)))
        await client.ask(ASK)
        return len(network.tries)

    network = Network([http()] * 6)
    assert on_line(scenario, network, connections=3) == opened


def test_a_warm_client_keeps_all_connections_and_opens_them_again(on_line):
    async def scenario(client):
        await client.warm(ASK)
        assert [len(line.written) for line in network.lines] == [1, 1, 1]
        network.lines[1].abort()  # it has answered: another follows at once
        await asyncio.sleep(1.0)
        assert network.tries == [0.0, 0.0, 0.0, 0.0]
        network.lines[3].abort()  # it has not: only after a pause
        await asyncio.sleep(1.0)
        return network.tries[4:]

    network = Network([http()] * 3)
    assert on_line(scenario, network, connections=3) == [1.1]
    assert len(network.lines) == 5


def test_a_warm_client_tries_again_ever_more_slowly(on_line):
    async def scenario(client):
        with pytest.raises(NotSent, match="cannot be reached") as refused:
            await client.warm(ASK)
        assert refused.value.value == "ConnectionRefusedError"
        await asyncio.sleep(30.0)
        return await outcome(client.start(ASK))

    network = Network([http()], [ConnectionRefusedError()] * 8)
    assert on_line(scenario, network) == (200, b"{}")
    assert network.tries == [0.0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 11.3, 16.3]


@pytest.mark.parametrize(
    ("fault", "what", "value", "at"),
    [
        (ConnectionRefusedError(), "cannot be reached", "ConnectionRefusedError", 0.0),
        (RuntimeError(), "no connection could be made", "RuntimeError", 0.0),
        (60.0, "came about in time", None, 5.0),
    ],
)
def test_a_connection_that_fails_is_not_tried_again_before_the_next_request(on_line, fault, what, value, at):
    async def scenario(client):
        with pytest.raises(NotSent, match=what) as caught:
            await client.ask(ASK)
        assert (caught.value.value, now()) == (value, at)
        await asyncio.sleep(5.0)
        assert len(network.tries) == 1
        return await outcome(client.start(ASK))

    network = Network([http()], [fault])
    assert on_line(scenario, network, connections=3) == (200, b"{}")
    assert len(network.tries) == 2


@pytest.mark.parametrize(
    ("request_", "ends", "expected", "opened"),
    [
        (ASK, 1, (200, b"{}"), 2),
        (ASK, 2, (NoAnswer, "the connection broke"), 2),
        (SHORT, 1, (NoAnswer, "the connection broke"), 1),
    ],
)
def test_only_a_question_on_a_stale_connection_is_sent_again_and_once(
    on_line, request_, ends, expected, opened
):
    async def scenario(client):
        await client.ask(ASK)
        asked = client.start(request_)
        for _ in range(ends):
            await asyncio.sleep(0.01)
            line = network.lines[-1]
            line.protocol.has_answered = True
            line.abort()
        return await outcome(asked)

    answers = [http(), *[None] * ends, http()]
    network = Network(answers)
    assert on_line(scenario, network) == expected
    assert len(network.lines) == opened


@pytest.mark.parametrize("begun", [b"HTTP/1.1 2", b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nabc"])
def test_a_question_whose_answer_had_begun_is_not_sent_again(on_line, begun):
    async def scenario(client):
        await client.ask(ASK)
        asked = client.start(ASK)
        await asyncio.sleep(0.01)
        network.lines[0].come(begun)
        network.lines[0].abort()
        return (await outcome(asked))[0]

    network = Network([http(), None, http()])
    assert on_line(scenario, network) is NoAnswer
    assert len(network.lines) == 1


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


def test_bytes_that_nobody_asked_for_end_the_connection(on_line):
    async def scenario(client):
        await client.ask(ASK)
        network.lines[0].come(http(b"late"))
        assert network.lines[0].is_lost
        await asyncio.sleep(0.0)
        return await outcome(client.start(ASK))

    network = Network([http(), http(b"mine")])
    assert on_line(scenario, network) == (200, b"mine")
    assert len(network.lines) == 2


def test_the_end_says_of_each_request_whether_it_left_and_opens_nothing_more(on_line):
    async def scenario(client):
        asked = [client.start(ASK) for _ in range(3)]
        await asyncio.sleep(0.5)  # the first has its connection, the second's still opens
        await client.close()
        assert all(line.is_lost for line in network.lines)
        assert [each.done() for each in asked] == [True, True, True]
        assert now() == 0.5
        found = [await outcome(each) for each in asked]
        assert "closed" in str(asked[1].exception())
        await asyncio.sleep(60.0)
        return found

    network = Network([None], [0.0, 3.0])
    found = on_line(scenario, network, connections=2)
    assert found == [(NoAnswer, "the desk closed the connection"), (NotSent, None), (NotSent, None)]
    assert network.tries == [0.0, 0.0]
    assert len(network.lines) == 1


@pytest.mark.parametrize(
    ("url", "host", "port", "is_tls"),
    [
        ("https://api.test", "api.test", 443, True),
        ("https://api.test:8443", "api.test", 8443, True),
        ("http://127.0.0.1", "127.0.0.1", 80, False),
        ("http://127.0.0.1:8080", "127.0.0.1", 8080, False),
    ],
)
def test_the_address_says_port_and_encryption(url, host, port, is_tls):
    loop = VirtualLoop()

    async def connection(make, *where, ssl):
        return "transport", (make, *where, ssl is not None)

    loop.create_connection = connection
    try:
        made = loop.run_until_complete(TcpNetwork().connect("make", url))
    finally:
        loop.close()
    assert made == ("make", host, port, is_tls)


def test_a_websocket_has_a_time_to_connect_in():
    async def scenario():
        async with TcpNetwork().websockets(3.5) as session:
            return session.timeout.sock_connect, session.timeout.total

    assert asyncio.run(scenario()) == (3.5, None)


# addresses -----------------------------------------------------------------------------------------------

DATA = "https://data.alpaca.markets"
STREAM = "wss://stream.data.alpaca.markets"


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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
