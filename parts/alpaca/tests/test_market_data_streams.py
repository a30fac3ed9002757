"""Subscribing and losing the two data streams, message by message, in virtual time."""

import msgpack
import pytest

from scalpdesk.base import ConfigError, InstrumentId, QuoteEvent, RetryError, TradingHalt
from scalpdesk.config.schema import Secret as Key
from scalpdesk.venues import EventPublisher, Notice, NoticeKind
from scalpdesk_alpaca.market_data import MarketReader, MarketStream, MarketStreams
from scalpdesk_alpaca.stream import StreamRefused, StreamTarget
from scalpdesk_alpaca.transport import ApiKeys
from scalpdesk_testing.kit import alpaca_wire as samples
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.instruments import option, share
from scalpdesk_testing.virtual_time import VirtualLoop

CONNECTED = {"T": "success", "msg": "connected"}
WELCOME = {"T": "success", "msg": "authenticated"}
AUTH = {"action": "auth", "key": "id", "secret": "word"}
NUMBERS = {samples.STOCK: InstrumentId(0), samples.OPTION: InstrumentId(1)}


def subscribed(*symbols):
    return {"T": "subscription", "quotes": list(symbols)}


def fault(code, message="no"):
    return {"T": "error", "code": code, "msg": message}


def asking(verb, *symbols, is_stock=True):
    more = {"bars": list(symbols), "statuses": list(symbols)} if is_stock else {}
    return {"action": verb, "quotes": list(symbols), **more}


class Server:
    """A stream on a connection that the test holds; ``frames`` are read in the hello, one after the other."""

    def __init__(self, loop, name="stocks", frames=([CONNECTED], [WELCOME])):
        self.loop, self.frames, self.sent, self.starts = loop, list(frames), [], []
        self.is_up = self.is_closed = False
        self.failure = ""
        self.publisher = EventPublisher(ManualClock(samples.AT_NS + 2_000_000))
        self.stream = MarketStream(
            StreamTarget(name, "wss://data.test"),
            keys=ApiKeys(Key("id"), Key("word")),
            reader=MarketReader(NUMBERS.get, is_msgpack=True),
            publisher=self.publisher,
        )
        self.stream.connection = self

    async def start(self, timeout_seconds):
        self.starts.append(timeout_seconds)
        await self.stream.hello(self.send, self._receive)
        self.is_up = True
        self.stream.on_up()

    async def _receive(self):
        return msgpack.packb(self.frames.pop(0))

    async def send(self, message):
        self.sent.append(msgpack.unpackb(message))

    async def close(self):
        self.is_closed = True

    def come(self, *messages):
        self.stream.on_frame(msgpack.packb(list(messages)))

    def subscribe(self, symbols, *later, timeout_seconds=3.0):
        """Subscribe while frames come after so many seconds; return the seconds that it took."""

        async def whole():
            began = self.loop.time()
            for seconds, messages in later:
                self.loop.call_later(seconds, self.come, *messages)
            await self.stream.subscribe(symbols, timeout_seconds)
            return round(self.loop.time() - began, 6)

        return self.loop.run_until_complete(whole())

    def said(self):
        found = []
        while (item := self.publisher.queue.take()) is not None:
            found.append(item)
        return found

    def notices(self):
        return [(each.kind, each.name, each.detail) for each in self.said() if isinstance(each, Notice)]


@pytest.fixture
def serve():
    loop = VirtualLoop()
    yield lambda *args, **kwargs: Server(loop, *args, **kwargs)
    loop.close()


@pytest.mark.rows("name", ["stocks", "options"])
def test_a_stream_logs_in_subscribes_and_waits_until_the_server_confirms(serve, name):
    server = serve(name)
    took = server.subscribe(["A", "B"], (0.5, [subscribed("A")]), (1.0, [subscribed("B", "A", "C")]))
    assert (took, server.starts) == (1.0, [3.0])
    assert server.sent == [AUTH, asking("subscribe", "A", "B", is_stock=name == "stocks")]
    assert server.stream.confirmed == {"A", "B", "C"}
    assert server.notices() == [(NoticeKind.CONNECTED, "connected", "")]


def test_a_stream_that_is_up_is_told_only_what_changes(serve):
    server = serve()
    server.subscribe(["A", "B"], (0.1, [subscribed("A", "B")]))
    server.sent.clear()
    assert server.subscribe(["B", "C"], (0.5, [subscribed("B")]), (0.7, [subscribed("B", "C")])) == 0.7
    assert server.sent == [asking("unsubscribe", "A"), asking("subscribe", "C")]
    server.sent.clear()
    assert server.subscribe(["B", "C"]) == 0.0
    assert server.sent == []
    assert server.subscribe([]) == 0.0
    assert server.sent == [asking("unsubscribe", "B", "C")]
    assert len(server.starts) == 1


def test_a_new_connection_asks_again_for_what_is_wanted_and_knows_nothing_as_confirmed(serve):
    server = serve()
    server.subscribe(["A"], (0.1, [subscribed("A")]))
    server.frames = [[{**WELCOME, "msg": "connected"}], [subscribed(), WELCOME]]
    server.sent.clear()
    server.loop.run_until_complete(server.stream.hello(server.send, server._receive))
    assert server.sent == [AUTH, asking("subscribe", "A")]
    assert (server.frames, server.stream.confirmed) == ([], frozenset())


def test_a_login_without_a_wish_subscribes_to_nothing(serve):
    server = serve()
    server.loop.run_until_complete(server.start(1.0))
    assert server.sent == [AUTH]


@pytest.mark.rows(("code", "is_final"), [(402, True), (406, False), (409, True), (500, False)])
def test_a_login_that_is_refused_says_whether_to_try_again(serve, code, is_final):
    server = serve(frames=[[CONNECTED], [fault(code, "why")]])
    with pytest.raises(StreamRefused, match=f"{code} why") as refused:
        server.loop.run_until_complete(server.start(1.0))
    assert refused.value.is_final is is_final
    assert server.sent == [AUTH]


def test_a_refused_subscription_is_a_matter_of_the_configuration(serve):
    server = serve()
    with pytest.raises(ConfigError, match="refuses this connection") as caught:
        server.subscribe(["A"], (0.5, [fault(405, "too many")]))
    assert (caught.value.where, caught.value.value) == ("stream of stocks", "405 too many")
    refusal = (NoticeKind.TOLD, "stream_fault_405", "405 too many")
    assert server.notices() == [(NoticeKind.CONNECTED, "connected", ""), refusal]
    # an old fault does not end the next try
    server.stream.wanted = ()
    assert server.subscribe(["A"], (0.2, [subscribed("A")])) == 0.2


def test_a_confirmation_that_does_not_come_in_time_may_be_asked_for_again(serve):
    server = serve()
    with pytest.raises(RetryError, match="does not confirm") as caught:
        server.subscribe(["A"], (1.0, [subscribed()]), (3.5, [subscribed("A")]))
    assert (caught.value.where, server.loop.time()) == ("stream of stocks", 3.0)


@pytest.mark.rows("wanted", [["A", "RENAMED"], ["RENAMED", "A", "B"]])
def test_a_symbol_that_the_server_does_not_confirm_is_named_and_the_others_go_on(serve, wanted):
    server = serve()
    known = [symbol for symbol in wanted if symbol != "RENAMED"]
    assert server.subscribe(wanted, (0.5, [subscribed(*known)])) == 3.0
    (_, (kind, name, words)) = server.notices()
    assert (kind, name) == (NoticeKind.TOLD, "not_confirmed")
    assert "RENAMED" in words
    assert server.stream.wanted == tuple(wanted)


def test_while_the_stream_does_not_come_up_the_refusal_says_why(serve):
    server = serve()
    server.failure = "refused: 406 connection limit exceeded"
    with pytest.raises(RetryError, match="does not confirm") as caught:
        server.subscribe(["A"])
    assert "406 connection limit exceeded" in str(caught.value.value)


def test_a_stream_that_is_lost_after_a_fault_names_it_and_no_earlier_one(serve):
    server = serve()
    server.subscribe(["A"], (0.1, [subscribed("A")]))
    server.come(fault(407, "slow client"))
    server.stream.on_down("connection_lost", "closed", is_final=False)
    server.stream.on_down("connection_lost", "closed again", is_final=False)
    lost = [words for kind, _, words in server.notices() if kind is NoticeKind.DISCONNECTED]
    assert lost == ["407 slow client; closed", "closed again"]


def test_the_events_of_a_frame_are_published_in_their_order(serve):
    server = serve()
    status = {"T": "s", "S": samples.STOCK, "t": msgpack.Timestamp.from_unix_nano(samples.AT_NS), "sm": ""}
    server.come(
        samples.option_quote(),
        {**status, "sc": "H", "sm": "Halt "},
        {**status, "sc": "T"},
        {**status, "sc": "Q"},  # neither halted nor trading
        {**status, "sc": "H", "S": "OTHER"},
        samples.option_quote(S="OTHER"),
        WELCOME,
    )
    quote, halted, resumed, refused = server.said()
    at_ns = samples.AT_NS
    assert (type(quote), quote.instrument_id, quote.ts_event_ns) == (QuoteEvent, 1, at_ns)
    assert (type(halted), halted.instrument_id, halted.is_halted, halted.reason) == (
        TradingHalt,
        0,
        True,
        "H Halt",
    )
    assert (resumed.is_halted, resumed.reason, resumed.ts_event_ns) == (False, "T", at_ns)
    assert (refused.kind, refused.name) == (NoticeKind.REFUSED, "unknown_symbol")
    assert refused.detail == "stocks: 'OTHER'"
    assert server.publisher.counters["unknown_symbol"] == 1


@pytest.mark.rows("is_final", [False, True])
def test_a_lost_stream_is_counted_and_told(serve, is_final):
    server = serve("options")
    server.stream.on_down("half_open", "silent", is_final=is_final)
    kind = NoticeKind.DEAD if is_final else NoticeKind.DISCONNECTED
    assert server.notices() == [(kind, "half_open", "silent")]
    assert server.publisher.counters["options_half_open"] == 1


def test_instruments_go_to_the_stream_of_their_kind_and_unused_streams_stay_closed(serve):
    stocks, options = serve("stocks"), serve("options")
    call = option("C")
    both = MarketStreams(stocks.stream, options.stream, [share("NVDA"), call])
    loop = stocks.loop

    def subscribe(*numbers):
        loop.call_later(0.1, stocks.come, subscribed("NVDA"))
        loop.call_later(0.2, options.come, subscribed(call.symbol))
        loop.run_until_complete(both.subscribe(numbers, 2.0))
        return [server.stream.wanted for server in (stocks, options)]

    assert both.connections() == []
    assert subscribe(0) == [("NVDA",), ()]
    assert (both.connections(), options.starts) == ([stocks], [])
    assert subscribe(0, 1) == [("NVDA",), (call.symbol,)]
    assert (both.connections(), options.starts) == ([stocks, options], [2.0])
    assert subscribe(1) == [(), (call.symbol,)]
    assert stocks.sent[-1] == asking("unsubscribe", "NVDA")
    assert both.connections() == [options]
    loop.run_until_complete(both.close())
    assert stocks.is_closed
    assert options.is_closed


def test_frames_in_messagepack_are_read_message_by_message_when_one_is_bad(serve):
    server = serve()
    server.come(
        samples.option_quote(), {"T": "q", "S": 5}, {"T": "d"}, {"T": "?"}, {}, samples.option_quote()
    )
    kinds = [each.name if isinstance(each, Notice) else type(each) for each in server.said()]
    assert kinds == [
        QuoteEvent,
        "malformed_message",
        "unknown_message",
        "malformed_message",
        QuoteEvent,
    ]
    server.stream.on_frame(b"\xc1")
    assert [name for _, name, _ in server.notices()] == ["malformed_frame"]
