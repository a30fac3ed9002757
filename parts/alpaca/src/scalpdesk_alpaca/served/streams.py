"""Alpaca's websocket protocols, free of sockets: frames in, frames out.

``Hub`` publishes the events of a simulated market to the streams, with data faults.
"""

import struct
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from scalpdesk.base import NANOS_PER_SECOND, InstrumentId, QuoteEvent, TradeEvent
from scalpdesk.exchange.answers import AnswerFaults, Question, is_false, priced
from scalpdesk.exchange.documents import instant, is_asset
from scalpdesk.exchange.keyring import Keyring
from scalpdesk.exchange.market import ClosedBar, Published, SimulatedMarket, StatusChange
from scalpdesk.exchange.outbox import Frame
from scalpdesk.simulation.faults import Fault
from scalpdesk.simulation.orders import OrderUpdate
from scalpdesk_alpaca.messages import Authorized, Listening, StreamError, StreamFault, Welcome
from scalpdesk_alpaca.served.app import account_of
from scalpdesk_alpaca.served.market_data import bar_json, quote_json, trade_json
from scalpdesk_alpaca.served.questions import falsified
from scalpdesk_alpaca.served.requests import ApiError
from scalpdesk_alpaca.served.serializers import update_json

_MAX_MESSAGE = 1 << 20
_CHANNELS = (
    "trades",
    "quotes",
    "bars",
    "updatedBars",
    "dailyBars",
    "statuses",
    "lulds",
    "corrections",
    "cancelErrors",
)
_OPTION_CHANNELS = ("trades", "quotes")
ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    410: "invalid subscribe action for this feed",
    412: "option messages are only available in MsgPack format",
    413: "star subscription is not allowed for option quotes",
    500: "internal error",
}


Send = Callable[[Frame], None]
_DEPRECATED = (
    "this authentication format is being deprecated. "
    'Please use the format: {"action": "auth", "key": "x", "secret": "x"}'
)


def _timestamp_extension(ts_ns: int) -> msgspec.msgpack.Ext:
    """Return UTC nanoseconds as msgpack's Timestamp extension (type -1, 64 bits)."""
    seconds, nanos = divmod(ts_ns, NANOS_PER_SECOND)
    return msgspec.msgpack.Ext(-1, struct.pack(">Q", nanos << 34 | seconds))


class _Codec:
    """Encoding of the messages of a connection.

    ``packed``: Whether the client asked for msgpack.
    ``binary_json``: Whether JSON travels in binary frames.
    """

    def __init__(self, *, packed: bool, binary_json: bool = False) -> None:
        self.packed = packed
        self._binary_json = binary_json

    def when(self, ts_ns: int) -> Any:
        """Write an instant."""
        return _timestamp_extension(ts_ns) if self.packed else instant(ts_ns)

    def frame(self, message: Any) -> Frame:
        """Write a message."""
        if self.packed:
            return Frame(msgspec.msgpack.encode(message), is_text=False)
        return Frame(msgspec.json.encode(message), is_text=not self._binary_json)

    @staticmethod
    def read(frame: Frame) -> Any:
        """Read a message in either form. Raises msgspec.DecodeError when it is neither JSON nor msgpack."""
        if len(frame.data) > _MAX_MESSAGE:
            raise msgspec.DecodeError("the message is too long")
        if frame.is_text or frame.data[:1] in (b"{", b"["):
            return msgspec.json.decode(frame.data)
        return msgspec.msgpack.decode(frame.data)


class Wire:
    """Outgoing side of a connection, with the stream faults of the fault plan."""

    def __init__(self, world: SimulatedMarket, send: Send, close: Callable[[], None]) -> None:
        self._world = world
        self._send = send
        self.close = close
        self._mute = False
        self._held: Frame | None = None

    def plain(self, frame: Frame) -> None:
        """Send a protocol message, without faults."""
        if not self._mute:
            self._send(frame)

    def event(self, frame: Frame, about: str) -> None:
        """Send an event, subject to stream faults."""
        if self._mute:
            return
        fault = self._world.faults.take("stream", about)
        held, self._held = self._held, None
        name = "" if fault is None else fault.name
        if fault is None:
            self._send(frame)
        elif name == "stream_delay":
            due_ns = self._world.now_ns + int(fault.seconds * NANOS_PER_SECOND)
            self._world.ledger.at(due_ns, lambda: self.plain(frame))
        elif name == "stream_duplicate":
            self._send(frame)
            self._send(frame)
        elif name == "stream_reorder":
            self._held = frame
        elif name == "stream_truncated":
            self._send(Frame(frame.data[: int(len(frame.data) * fault.fraction)], frame.is_text))
        elif name == "stream_disconnect":
            self.close()
        elif name == "stream_half_open":
            self._mute = True
        if held is not None:
            self.plain(held)


class TradeStream:
    """``/stream``: order updates of an account."""

    def __init__(self, world: SimulatedMarket, keyring: Keyring, wire: Wire, *, packed: bool = False) -> None:
        self._world = world
        self._keyring = keyring
        self.wire = wire
        self._codec = _Codec(packed=packed, binary_json=True)
        self.account: str | None = None
        self._streams: list[str] = []
        self._answers = AnswerFaults[None](lambda: world.faults)

    def receive(self, frame: Frame) -> None:
        """Handle a message of the client."""
        try:
            message = self._codec.read(frame)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._fail("invalid syntax")
            return
        action = message.get("action") if isinstance(message, dict) else None
        if action in ("authenticate", "auth"):
            self._authenticate(message)
        elif action == "listen" and self.account is not None:
            data = message.get("data")
            wanted = data.get("streams") if isinstance(data, dict) else None
            names = [str(name) for name in wanted] if isinstance(wanted, list) else []
            self._streams = [name for name in names if name == "trade_updates"]
            self._reply({"stream": "listening", "data": Listening(tuple(self._streams))})
        elif self.account is None:
            self._authorization("unauthorized", "listen")
            self.wire.close()
        else:
            self._fail("unknown action")

    def _authenticate(self, message: dict[str, Any]) -> None:
        data = message.get("data")
        inner = data if isinstance(data, dict) else {}
        key = str(inner.get("key_id") or message.get("key") or "")
        secret = str(inner.get("secret_key") or message.get("secret") or "")
        self.account = self._keyring.account_of(key, secret)
        if self.account is None:
            self._authorization("unauthorized", "authenticate")
            self.wire.close()
        else:
            hint = _DEPRECATED if message["action"] == "authenticate" else UNSET
            self._authorization("authorized", "authenticate", hint)

    @property
    def is_listening(self) -> bool:
        """Whether the client asked for updates."""
        return bool(self._streams)

    def publish(self, update: OrderUpdate) -> None:
        """Send an update of this account to a listening client."""
        if update.account != self.account or not self._streams or update.event == "triggered":
            return
        data = update_json(self._world, update)
        fault = None if update.execution is None else self._answers.strike(Question.FILLS)
        if fault is not None and is_false(fault):
            data = {**falsified(Question.FILLS, fault.name, {**data, "order": None}), "order": data["order"]}
        frame = self._codec.frame({"stream": "trade_updates", "data": data})
        if fault is not None and fault.name == "answer_late":
            due_ns = self._world.now_ns + int(fault.seconds * NANOS_PER_SECOND)
            self._world.ledger.at(due_ns, lambda: self.wire.plain(frame))
        elif fault is None or is_false(fault):
            self.wire.event(frame, f"/stream {update.event}")

    def _fail(self, why: str) -> None:
        """Report an error, which ends the connection."""
        self._reply({"action": "error", "data": StreamError(why)})
        self.wire.close()

    def _authorization(self, status: str, action: str, hint: str | UnsetType = UNSET) -> None:
        self._reply({"stream": "authorization", "data": Authorized(status, action, hint)})

    def _reply(self, message: dict[str, Any]) -> None:
        self.wire.plain(self._codec.frame(message))


class DataStream:
    """A market data stream of shares or of options.

    ``path``: Endpoint, such as ``/v2/iex``.
    ``world``, ``keyring``, ``wire``: Market, valid API keys, outgoing side of the connection.
    ``packed``: Whether the connection asked for msgpack; option streams accept nothing else.
    ``symbol_limit``: Quotes that a connection may follow; 0 for no limit.
    """

    def __init__(
        self,
        path: str,
        world: SimulatedMarket,
        keyring: Keyring,
        wire: Wire,
        *,
        packed: bool,
        headers: dict[str, str] | None = None,
        is_free: Callable[[str, str], bool] = lambda _path, _account: True,
        symbol_limit: int = 0,
    ) -> None:
        self.path = path
        self.is_options = path.startswith("/v1beta1/")
        self.codec = _Codec(packed=packed)
        self.account: str | None = None
        self.symbols: dict[str, set[str]] = {name: set() for name in _CHANNELS}
        self.wire = wire
        self._world = world
        self._keyring = keyring
        self._is_free = is_free
        self._limit = symbol_limit
        self._headers = headers or {}

    def open(self) -> None:
        """Greet the client; authenticate it by its headers if they carry keys."""
        self._reply([Welcome("connected")])
        if self.is_options and not self.codec.packed:
            self._fail(412)
            self.wire.close()
            return
        if "apca-api-key-id" in self._headers or "authorization" in self._headers:
            try:
                self._admit(account_of(self._keyring, self._headers))
            except ApiError:
                self._admit(None)

    def receive(self, frame: Frame) -> None:
        """Handle a message of the client."""
        try:
            message = self.codec.read(frame)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._fail(400)
            return
        if not isinstance(message, dict):
            self._fail(400)
            return
        action = message.get("action")
        if action == "auth":
            if self.account is not None:
                self._fail(403)
                return
            self._admit(self._keyring.account_of(str(message.get("key", "")), str(message.get("secret", ""))))
        elif self.account is None:
            self._fail(401)
        elif action in ("subscribe", "unsubscribe"):
            self._change(message, adds=action == "subscribe")
        else:
            self._fail(400)

    def time_out(self) -> None:
        """End a connection that did not authenticate in time."""
        if self.account is None:
            self._fail(404)
            self.wire.close()

    def too_slow(self) -> None:
        """End a connection whose client does not read."""
        self._fail(407)
        self.wire.close()

    def _admit(self, account: str | None) -> None:
        if account is None:
            self._fail(402)
            self.wire.close()
        elif not self._is_free(self.path, account):
            self._fail(406)
            self.wire.close()
        else:
            self.account = account
            self._reply([Welcome("authenticated")])

    def _change(self, message: dict[str, Any], *, adds: bool) -> None:
        wanted: dict[str, set[str]] = {}
        allowed = _OPTION_CHANNELS if self.is_options else _CHANNELS
        for name, value in message.items():
            if name == "action" or not value:
                continue
            if name not in allowed:
                self._fail(410 if name in _CHANNELS else 400)
                return
            if not isinstance(value, list):
                self._fail(400)
                return
            wanted[name] = {str(symbol) for symbol in value}
        if self.is_options and adds and "*" in wanted.get("quotes", ()):
            self._fail(413)
            return
        after = self.symbols["quotes"] | wanted.get("quotes", set())
        if adds and self._limit and len(after) > self._limit:
            self._fail(405)
            return
        for name, symbols in wanted.items():
            if adds:
                self.symbols[name] |= symbols
            else:
                self.symbols[name] -= symbols
        if adds:
            self._follow(wanted)
        self._reply([self._subscription()])

    def _follow(self, wanted: dict[str, set[str]]) -> None:
        """Request quotes of the subscribed symbols from the market."""
        instruments = self._world.ledger.instruments
        for symbols in wanted.values():
            for symbol in sorted(symbols):
                if symbol in instruments:
                    self._world.quote(instruments.id_of(symbol))

    def _subscription(self) -> dict[str, Any]:
        names = _OPTION_CHANNELS if self.is_options else _CHANNELS
        return {"T": "subscription", **{name: sorted(self.symbols[name]) for name in names}}

    def wants(self, channel: str, symbol: str) -> bool:
        """Return whether the client follows a symbol."""
        followed = self.symbols[channel]
        return symbol in followed or "*" in followed

    def publish(self, message: dict[str, Any], symbol: str) -> None:
        """Send an event."""
        self.wire.event(self.codec.frame([message]), f"{self.path} {symbol}")

    def _reply(self, message: list[Any]) -> None:
        self.wire.plain(self.codec.frame(message))

    def _fail(self, code: int) -> None:
        self._reply([StreamFault(code, ERRORS[code])])


_NAN = float("nan")


class Hub:
    """All open streams of a simulated market."""

    def __init__(self, world: SimulatedMarket) -> None:
        self._world = world
        self._trade_streams: list[TradeStream] = []
        self._data_streams: list[DataStream] = []
        self._answers = AnswerFaults[None](lambda: world.faults)
        self._silent_until: dict[InstrumentId, int] = {}
        self._last: dict[InstrumentId, QuoteEvent] = {}
        self._held_back: dict[InstrumentId, QuoteEvent] = {}
        world.on_market(self._market)
        world.on_update(self._update)

    def add(self, stream: TradeStream | DataStream) -> None:
        """Add an open stream."""
        if isinstance(stream, TradeStream):
            self._trade_streams.append(stream)
        else:
            self._data_streams.append(stream)

    def remove(self, stream: TradeStream | DataStream) -> None:
        """Remove a closed stream."""
        self._trade_streams = [other for other in self._trade_streams if other is not stream]
        self._data_streams = [other for other in self._data_streams if other is not stream]

    def is_free(self, path: str, account: str) -> bool:
        """Return whether an account has no connection to an endpoint yet."""
        return not any(stream.path == path and stream.account == account for stream in self._data_streams)

    def close_all(self) -> None:
        """End every connection, as a venue that restarts does."""
        for wire in [
            *(stream.wire for stream in self._data_streams),
            *(stream.wire for stream in self._trade_streams),
        ]:
            wire.close()

    @property
    def open_count(self) -> int:
        """Number of connections."""
        return len(self._trade_streams) + len(self._data_streams)

    @property
    def ready_count(self) -> int:
        """Number of connections with a subscription."""
        listening = sum(stream.is_listening for stream in self._trade_streams)
        return listening + sum(any(stream.symbols.values()) for stream in self._data_streams)

    def _update(self, update: OrderUpdate) -> None:
        for stream in tuple(self._trade_streams):
            stream.publish(update)

    def _market(self, event: Published) -> None:
        if not self._data_streams:
            return
        instrument = self._world.ledger.instruments[event.instrument_id]
        if not is_asset(instrument):
            return
        is_option = instrument.is_option
        symbol = instrument.symbol
        match event:
            case QuoteEvent():
                followers = self._followers("quotes", symbol, is_option)
                for seen, name in self._seen(event, symbol) if followers else ():
                    self._send_quote(followers, name, seen, is_option=is_option)
            case TradeEvent():
                followers = self._followers("trades", symbol, is_option)
                self._send(
                    followers, symbol, "t", lambda when: trade_json(event, is_option=is_option, when=when)
                )
            case ClosedBar():
                followers = self._followers("bars", symbol, is_option)
                self._send(followers, symbol, "b", lambda when: bar_json(event.bar, when))
            case StatusChange():
                followers = self._followers("statuses", symbol, is_option)
                self._send(followers, symbol, "s", lambda when: _status(event, when))

    def _followers(self, channel: str, symbol: str, is_option: bool) -> list[DataStream]:
        return [
            stream
            for stream in self._data_streams
            if stream.account is not None and stream.is_options is is_option and stream.wants(channel, symbol)
        ]

    @staticmethod
    def _send(
        followers: list[DataStream],
        symbol: str,
        kind: str,
        body: Callable[[Callable[[int], Any]], dict[str, Any]],
    ) -> None:
        for stream in followers:
            stream.publish({"T": kind, "S": symbol, **body(stream.codec.when)}, symbol)

    @staticmethod
    def _send_quote(followers: list[DataStream], symbol: str, quote: QuoteEvent, *, is_option: bool) -> None:
        raw = quote.bid != quote.bid and quote.ask != quote.ask
        for stream in followers:
            body = quote_json(quote, is_option=is_option, when=stream.codec.when, raw=raw)
            stream.publish({"T": "q", "S": symbol, **body}, symbol)

    # data faults ------------------------------------------------------------------------------------

    def _seen(self, quote: QuoteEvent, symbol: str) -> list[tuple[QuoteEvent, str]]:
        """Return the quotes sent to clients for a quote, and their symbols: altered by data faults."""
        number = quote.instrument_id
        if self._silent_until and quote.ts_recv_ns < self._silent_until.get(number, 0):
            return []
        answer = self._answers.strike(Question.QUOTES)
        if answer is not None:
            return [(priced(quote, answer), symbol)] if is_false(answer) else []
        fault = self._world.faults.take("data", symbol)
        before = self._last.get(number)
        self._last[number] = quote
        late = self._held_back.pop(number, None)
        if fault is None:
            return [(quote, symbol)] if late is None else [(quote, symbol), (late, symbol)]
        if fault.name == "out_of_order":
            self._held_back[number] = quote
            return []
        return self._spoiled(quote, symbol, fault, before)

    def _spoiled(
        self, quote: QuoteEvent, symbol: str, fault: Fault, before: QuoteEvent | None
    ) -> list[tuple[QuoteEvent, str]]:
        change = msgspec.structs.replace
        number = quote.instrument_id
        shift_ns = int(fault.seconds * NANOS_PER_SECOND)
        match fault.name:
            case "gap" | "stale":
                self._silent_until[number] = quote.ts_recv_ns + shift_ns
                return [(before or quote, symbol)] if fault.name == "stale" else []
            case "crossed":
                return [(change(quote, bid=quote.ask, ask=quote.bid), symbol)]
            case "one_sided":
                return [(change(quote, ask=_NAN, ask_size=0.0), symbol)]
            case "zero_bid":
                return [(change(quote, bid=0.0, bid_size=0.0), symbol)]
            case "nan":
                return [(change(quote, bid=_NAN, ask=_NAN), symbol)]
            case "negative":
                return [(change(quote, bid=-abs(quote.bid)), symbol)]
            case "duplicate":
                return [(quote, symbol), (quote, symbol)]
            case "clock_skew":
                return [(change(quote, ts_event_ns=max(quote.ts_event_ns - shift_ns, 0)), symbol)]
            case _:
                return [(quote, f"{symbol}X")]


def _status(event: StatusChange, when: Callable[[int], Any]) -> dict[str, Any]:
    halted = event.is_halted
    return {
        "t": when(event.ts_ns),
        "sc": "2" if halted else "3",
        "sm": "Trading Halt" if halted else "Resume",
        "rc": "M" if halted else "",
        "rm": "Limit Up-Limit Down (LULD) Trading Pause" if halted else "",
        "z": "B",
    }
