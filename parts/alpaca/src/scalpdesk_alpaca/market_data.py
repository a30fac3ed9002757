"""Alpaca's market data: frames of its streams to events, bars of the past, and the two streams.

One reader serves the stock streams (JSON or MessagePack) and the option streams (MessagePack only).
A frame is an array of messages; a message that cannot be believed is a :class:`BadMessage` and does not
harm its neighbours. Prices and sizes are passed on as they are: whether a quote is crossed, one-sided
or negative is for :mod:`scalpdesk.marketdata.quotes` to say.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import TypeVar

import msgspec
from msgspec.msgpack import Ext

from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.core.events import BarEvent, QuoteEvent, TradeEvent, TradingHalt
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.venues import DailyBar, EventPublisher, Network, NoticeKind
from scalpdesk.venues.bounds import LARGEST_FIGURE
from scalpdesk_alpaca.fields import LONGEST_SHOWN, UNREADABLE, BadMessage, Malformed, decode, ns_of, text
from scalpdesk_alpaca.messages import BarRow, Lookup, QuoteRow, Stamp, StreamFault, Welcome, number_of
from scalpdesk_alpaca.stream import Receive, Send, StreamConnection, StreamRefused, StreamTarget
from scalpdesk_alpaca.transport import ApiKeys, RestRequest

T = TypeVar("T")
_MINUTE_SECONDS = 60
LARGEST_FRAME_BYTES = 16 * 1024 * 1024


class Subscribed(msgspec.Struct, frozen=True, tag_field="T", tag="subscription"):
    """The whole of what the connection is subscribed to now."""

    quotes: tuple[str, ...] = ()
    trades: tuple[str, ...] = ()
    bars: tuple[str, ...] = ()


class TradingStatus(msgspec.Struct, frozen=True):
    """A symbol is halted, paused or trades again."""

    symbol: str
    ts_event_ns: int
    code: str
    message: str
    is_trading: bool | None
    """None where the code says neither."""


_MARKET_EVENTS = (QuoteEvent, TradeEvent, BarEvent)
_MarketItem = (
    QuoteEvent | TradeEvent | BarEvent | Welcome | Subscribed | StreamFault | TradingStatus | BadMessage
)


class _Quote(QuoteRow, frozen=True, tag_field="T", tag="q", kw_only=True, gc=False):
    S: str


class _Trade(msgspec.Struct, tag_field="T", tag="t", gc=False):
    S: str
    t: str | Ext
    p: float
    s: float


class _Bar(BarRow, frozen=True, tag_field="T", tag="b", kw_only=True, gc=False):
    S: str
    v: float


class _Status(msgspec.Struct, tag_field="T", tag="s"):
    S: str
    t: str | Ext
    sc: str
    sm: str = ""


class _Kind(msgspec.Struct):
    T: str


_Message = _Quote | _Trade | _Bar | _Status | Welcome | StreamFault | Subscribed
_IGNORED_KINDS = frozenset({"u", "d", "l", "c", "x", "i", "n"})
"""Kinds that the desk never asks for: amended and daily bars, bands, corrections, imbalances, news."""
TRADING_CODES = {"2": False, "3": True, "H": False, "P": False, "T": True}
"""Whether a symbol trades after a status code. Tapes A and B (CTA): 2 halt, 3 resume; tape C (UTP): H halt,
P volatility pause, T resume. Every other code leaves it as it is: indications, imbalances, short sale
restriction and price bands of CTA; Q of UTP, after which quotes come and trades not yet."""


class MarketReader:
    """Reads the frames of one data stream."""

    def __init__(self, lookup: Lookup, *, is_msgpack: bool) -> None:
        self.lookup = lookup
        codec = msgspec.msgpack if is_msgpack else msgspec.json
        self._whole = codec.Decoder(list[_Message]).decode
        self._parts = codec.Decoder(list[msgspec.Raw]).decode
        self._one = codec.Decoder(_Message).decode
        self._kind = codec.Decoder(_Kind).decode

    def read(self, raw: bytes, stamp: Stamp) -> list[_MarketItem]:
        """Return the content of a frame in its order; a bad message keeps its place."""
        if len(raw) > LARGEST_FRAME_BYTES:
            return [BadMessage("frame_too_large", f"{len(raw)} bytes")]
        items: list[_MarketItem] = []
        try:
            messages: Iterable[_Message | BadMessage] = self._whole(raw)
        except UNREADABLE:
            messages = self._one_by_one(raw)
        for message in messages:
            if type(message) is BadMessage:
                items.append(message)
                continue
            try:
                items.append(self._item(message, stamp))  # type: ignore[arg-type]  # refusals are out
            except Malformed as refused:
                items.append(BadMessage(refused.name, refused.detail))
        return items

    def _one_by_one(self, raw: bytes) -> Iterable[_Message | BadMessage]:
        """Read what can be read of a frame that is not whole as expected."""
        try:
            parts = self._parts(raw)
        except UNREADABLE as error:
            return (_refusal("malformed_frame", f"{error} in {raw[:60]!r}"),)
        found: list[_Message | BadMessage] = []
        for part in parts:
            try:
                found.append(self._one(part))
            except UNREADABLE as error:
                refusal = self._why_not(bytes(part), str(error))
                if refusal is not None:
                    found.append(refusal)
        return found

    def _why_not(self, part: bytes, error: str) -> BadMessage | None:
        try:
            kind = self._kind(part).T
        except UNREADABLE:
            return _refusal("malformed_message", f"{error} in {part[:60]!r}")
        if kind in _IGNORED_KINDS:
            return None
        name = "malformed_message" if kind in ("q", "t", "b", "s") else "unknown_message"
        return _refusal(name, f"{kind[:20]!r}: {error}")

    def _item(self, message: _Message, stamp: Stamp) -> _MarketItem:
        if isinstance(message, _Quote):
            return message.event(number_of(message.S, self.lookup), stamp)
        if isinstance(message, _Trade):
            return self._trade(message, stamp)
        if isinstance(message, _Bar):
            return self._bar(message, stamp)
        if isinstance(message, _Status):
            at_ns = ns_of(message.t)
            stamp(at_ns)
            code = text(message.sc, "status_code", 8)
            return TradingStatus(
                text(message.S, "symbol", 32), at_ns, code, message.sm[:80], TRADING_CODES.get(code)
            )
        return message

    def _trade(self, message: _Trade, stamp: Stamp) -> TradeEvent:
        number = number_of(message.S, self.lookup)
        at_ns = ns_of(message.t)
        if not (0 < message.p < LARGEST_FIGURE and 0 <= message.s < LARGEST_FIGURE):
            raise Malformed("bad_trade", f"{message.s} at {message.p}")
        return TradeEvent(number, at_ns, stamp(at_ns), message.p, message.s)

    def _bar(self, message: _Bar, stamp: Stamp) -> BarEvent:
        number = number_of(message.S, self.lookup)
        end_ns = ns_of(message.t) + _MINUTE_SECONDS * NANOS_PER_SECOND  # the venue stamps the start
        return BarEvent(number, end_ns, stamp(end_ns), _MINUTE_SECONDS, *message.figures())


def _refusal(name: str, detail: str) -> BadMessage:
    return BadMessage(name, detail[:LONGEST_SHOWN])


# messages to the server -----------------------------------------------------------------------------


def market_auth(key: str, secret: str, *, is_msgpack: bool) -> bytes:
    """Return the authentication message of a data stream."""
    return _encode({"action": "auth", "key": key, "secret": secret}, is_msgpack)


def market_subscription(
    action: str,
    *,
    quotes: Sequence[str] = (),
    bars: Sequence[str] = (),
    statuses: Sequence[str] = (),
    is_msgpack: bool,
) -> bytes:
    """Return a ``subscribe`` or ``unsubscribe`` message; empty channels are left out."""
    channels = {"quotes": quotes, "bars": bars, "statuses": statuses}
    wanted = {name: list(symbols) for name, symbols in channels.items() if symbols}
    return _encode({"action": action, **wanted}, is_msgpack)


def _encode(message: dict[str, object], is_msgpack: bool) -> bytes:
    return msgspec.msgpack.encode(message) if is_msgpack else msgspec.json.encode(message)


_BARS_PER_PAGE = 10_000


class _Page(msgspec.Struct):
    bars: dict[str, list[msgspec.Raw]] | None = None
    next_page_token: str | None = None


_PAGE = msgspec.json.Decoder(_Page).decode
_BAR = msgspec.json.Decoder(BarRow).decode


def bars_request(
    symbol: str, timeframe: str, first: date, last: date, feed: str, page_token: str | None = None
) -> RestRequest:
    """Return the request for one page of bars of the days ``first`` to ``last``, oldest first.

    ``timeframe`` is ``1Day`` or ``1Min``.
    """
    end = last if timeframe == "1Day" else last + timedelta(days=1)  # the venue's end is an instant
    query = {
        "symbols": symbol,
        "timeframe": timeframe,
        "start": first.isoformat(),
        "end": end.isoformat(),
        "adjustment": "split",
        "feed": feed,
        "limit": str(_BARS_PER_PAGE),
        "sort": "asc",
    }
    return RestRequest.page("/v2/stocks/bars", query, page_token)


def read_bars(raw: bytes, symbol: str, make: Callable[..., T]) -> tuple[list[T], str | None]:
    """Return the bars of a page and the token of the next one (None: the last).

    ``make`` is called with the beginning (UTC nanoseconds) and the figures of each bar. Raises Malformed when
    a bar cannot be believed: a missing forecast is better than a forecast with a hole.
    """
    page = decode(_PAGE, raw, "malformed_bars")
    rows = [decode(_BAR, bytes(part), "malformed_bar") for part in (page.bars or {}).get(symbol, ())]
    return [make(ns_of(row.t), *row.figures()) for row in rows], page.next_page_token or None


def daily_bar(start_ns: int, *figures: float) -> DailyBar:
    """Return the bar of the day in New York that begins at ``start_ns``."""
    return DailyBar(to_new_york(start_ns).date(), *figures)


MSGPACK_HEADERS = {"Content-Type": "application/msgpack"}


class MarketStream:
    """A data stream and its subscription; satisfies :class:`StreamHandler`."""

    def __init__(
        self,
        target: StreamTarget,
        *,
        keys: ApiKeys,
        reader: MarketReader,
        publisher: EventPublisher,
        network: Network | None = None,
    ) -> None:
        self.name = target.name
        self._keys = keys
        self._reader = reader
        self._publisher = publisher
        self._publish = publisher.queue.publish
        self._timestamp = publisher.stamper.timestamp
        self.wanted: tuple[str, ...] = ()
        self.confirmed: frozenset[str] = frozenset()
        """Symbols whose quotes the server says it sends."""
        self._changed = asyncio.Event()
        self._fault: StreamFault | None = None
        self.connection = StreamConnection(target, self, network)

    async def subscribe(self, symbols: Sequence[str], timeout_seconds: float) -> None:
        """Stream the quotes of exactly these symbols; return once the server confirms.

        Raises ConfigError when the server refuses the feed, the keys or the number of symbols. Raises
        RetryError when it does not confirm in time.
        """
        before, self.wanted = self.wanted, tuple(symbols)
        where = f"stream of {self.name}"
        self._fault = None
        try:
            if not self.connection.is_up:
                await self.connection.start(timeout_seconds)
            else:
                gone = [symbol for symbol in before if symbol not in set(symbols)]
                fresh = [symbol for symbol in symbols if symbol not in self.confirmed]
                if gone:
                    await self.connection.send(self._message("unsubscribe", gone))
                if fresh:
                    await self.connection.send(self._message("subscribe", fresh))
            await self._follow_confirmed(timeout_seconds)
        except StreamRefused as refused:
            raise ConfigError(
                "the data stream refuses this connection",
                where=where,
                value=str(refused),
                fix="check the feed against the data plan of the account",
            ) from None
        except TimeoutError:
            raise RetryError(
                "the data stream does not confirm the subscription in time",
                where=where,
                value=self.connection.failure or None,
            ) from None

    async def renew(self, symbols: Sequence[str]) -> None:
        """Subscribe again to some of the symbols; a stream that is down does so when it is up again."""
        again = [symbol for symbol in symbols if symbol in self.wanted]
        if again and self.connection.is_up:
            self._publisher.count(f"{self.name}_asked_again")
            for action in ("unsubscribe", "subscribe"):
                await self.connection.send(self._message(action, again))

    async def _follow_confirmed(self, timeout_seconds: float) -> None:
        """Wait until the server confirms; what it leaves out is named, and the others are followed."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._confirmed()
        except TimeoutError:
            missing = [symbol for symbol in self.wanted if symbol not in self.confirmed]
            if not self.connection.is_up or len(missing) == len(self.wanted):
                raise
            names = ", ".join(missing)
            self._publisher.tell(self.name, "not_confirmed", f"no quotes are confirmed of {names}")

    async def _confirmed(self) -> None:
        while not self.confirmed >= set(self.wanted):
            if self._fault is not None:
                raise StreamRefused(f"{self._fault.code} {self._fault.message}", is_final=True)
            self._changed.clear()
            await self._changed.wait()

    def _message(self, action: str, symbols: Sequence[str]) -> bytes:
        # options have neither halts nor bars in their stream; a share's bars carry the volume
        stocks = symbols if self.name == "stocks" else ()
        return market_subscription(action, quotes=symbols, bars=stocks, statuses=stocks, is_msgpack=True)

    async def hello(self, send: Send, receive: Receive) -> None:
        """Authenticate and subscribe to what is wanted."""
        self.confirmed = frozenset()
        await send(market_auth(self._keys.key.reveal(), self._keys.secret.reveal(), is_msgpack=True))
        while not await self._is_authenticated(receive):
            pass
        if self.wanted:
            await send(self._message("subscribe", self.wanted))

    async def _is_authenticated(self, receive: Receive) -> bool:
        for item in self._reader.read(await receive(), self._timestamp):
            if isinstance(item, StreamFault):
                why = f"{item.code} {item.message}"
                raise StreamRefused(why, is_final=item.is_final)
            if isinstance(item, Welcome) and item.message == "authenticated":
                return True
        return False

    def on_frame(self, raw: bytes) -> None:
        """Publish the events of a frame."""
        for item in self._reader.read(raw, self._timestamp):
            if isinstance(item, _MARKET_EVENTS):
                self._publish(item)
            else:
                self._on_other(item)

    def _on_other(self, item: _MarketItem) -> None:
        publisher, name = self._publisher, self.name
        if isinstance(item, Subscribed):
            self.confirmed = frozenset(item.quotes)
            self._changed.set()
        elif isinstance(item, StreamFault):
            self._fault = item
            self._changed.set()
            publisher.tell(name, f"stream_fault_{item.code}", f"{item.code} {item.message}")
        elif isinstance(item, TradingStatus):
            number = self._reader.lookup(item.symbol)
            if number is not None and item.is_trading is not None:
                halted, words = not item.is_trading, f"{item.code} {item.message}".rstrip()
                now_ns = self._timestamp(item.ts_event_ns)
                self._publish(TradingHalt(number, item.ts_event_ns, now_ns, halted, words))
        elif isinstance(item, BadMessage):
            publisher.refuse(name, item.name, f"{name}: {item.detail}")

    def on_up(self) -> None:
        """Publish that the stream is up."""
        self._publisher.notice(NoticeKind.CONNECTED, self.name, "connected")

    def on_down(self, name: str, why: str, *, is_final: bool) -> None:
        """Publish that the stream is down."""
        self._publisher.count(f"{self.name}_{name}")
        kind = NoticeKind.DEAD if is_final else NoticeKind.DISCONNECTED
        said = "" if self._fault is None else f"{self._fault.code} {self._fault.message}; "
        self._fault = None
        self._publisher.notice(kind, self.name, name, said + why)

    def on_failed(self, name: str, why: str) -> None:
        """Tell why the stream does not come up."""
        self._publisher.tell(self.name, f"{self.name}_not_up", f"the stream does not come up: {name} {why}")


class MarketStreams:
    """The stock stream and the option stream of one gateway, opened when needed."""

    def __init__(self, stocks: MarketStream, options: MarketStream, instruments: Instruments) -> None:
        self._stocks = stocks
        self._options = options
        self._instruments = instruments

    def connections(self) -> list[StreamConnection]:
        """Return the connections of the streams that were subscribed."""
        return [stream.connection for stream in (self._stocks, self._options) if stream.wanted]

    async def subscribe(self, instrument_ids: Sequence[InstrumentId], timeout_seconds: float = 15.0) -> None:
        """Stream quotes of exactly these instruments."""
        for stream, symbols in self._symbols(instrument_ids):
            if symbols or stream.wanted:
                await stream.subscribe(symbols, timeout_seconds)

    async def renew(self, instrument_ids: Sequence[InstrumentId]) -> None:
        """Subscribe again to the quotes of some instruments."""
        for stream, symbols in self._symbols(instrument_ids):
            await stream.renew(symbols)

    def _symbols(self, instrument_ids: Sequence[InstrumentId]) -> list[tuple[MarketStream, list[str]]]:
        """Return both streams, each with the symbols of its instruments."""
        instruments = [self._instruments[instrument_id] for instrument_id in instrument_ids]
        return [
            (stream, [item.symbol for item in instruments if item.is_option is has_options])
            for stream, has_options in ((self._stocks, False), (self._options, True))
        ]

    async def close(self) -> None:
        """End both streams."""
        for stream in (self._stocks, self._options):
            await stream.connection.close()
