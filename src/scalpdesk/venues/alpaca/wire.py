"""Alpaca's market-data streams: bytes to events, and what the desk says on them. Pure: no I/O.

One reader serves the stock streams (JSON or MessagePack) and the option streams (MessagePack only).
A frame is an array of messages; one that cannot be believed is a :class:`Refusal` and does not
harm its neighbours. Prices and sizes are passed on as they are: whether a quote is crossed, one-
sided or negative is for :mod:`scalpdesk.marketdata.quotes` to say.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec.msgpack import Ext

from scalpdesk.core.events import BarEvent, QuoteEvent, TradeEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.venues.alpaca.fields import LONGEST_SHOWN, UNREADABLE, Malformed, Refusal, ns_of, text

MINUTE_SECONDS = 60
NAN = float("nan")
LARGEST_FRAME_BYTES = 16 * 1024 * 1024
Stamp = Callable[[int | None], int]
"""Gives ``ts_recv_ns`` for a message of the given event time."""
Lookup = Callable[[str], InstrumentId | None]
"""Gives the desk's number of a venue symbol, None for one it does not know."""


class StreamFault(msgspec.Struct, frozen=True):
    """The server's error message on a data stream."""

    code: int
    message: str

    @property
    def is_final(self) -> bool:
        """True when trying again with the same keys and symbols cannot help."""
        return self.code in (401, 402, 405, 409, 410, 412, 413)


class Welcome(msgspec.Struct, frozen=True):
    """``connected`` or ``authenticated``."""

    message: str


class Subscribed(msgspec.Struct, frozen=True):
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
    is_trading: bool


MARKET_EVENTS = (QuoteEvent, TradeEvent, BarEvent)
MarketItem = QuoteEvent | TradeEvent | BarEvent | Welcome | Subscribed | StreamFault | TradingStatus | Refusal


class _Quote(msgspec.Struct, tag_field="T", tag="q", gc=False):
    S: str
    t: str | Ext
    bp: float
    ap: float
    bs: float = 0.0
    as_: float = msgspec.field(default=0.0, name="as")


class _Trade(msgspec.Struct, tag_field="T", tag="t", gc=False):
    S: str
    t: str | Ext
    p: float
    s: float


class _Bar(msgspec.Struct, tag_field="T", tag="b", gc=False):
    S: str
    t: str | Ext
    o: float
    h: float
    l: float  # noqa: E741 - the venue's own letter
    c: float
    v: float


class _Status(msgspec.Struct, tag_field="T", tag="s"):
    S: str
    t: str | Ext
    sc: str
    sm: str = ""


class _Success(msgspec.Struct, tag_field="T", tag="success"):
    msg: str


class _Error(msgspec.Struct, tag_field="T", tag="error"):
    code: int
    msg: str = ""


class _Subscription(msgspec.Struct, tag_field="T", tag="subscription"):
    quotes: tuple[str, ...] = ()
    trades: tuple[str, ...] = ()
    bars: tuple[str, ...] = ()


class _Kind(msgspec.Struct):
    T: str


_Message = _Quote | _Trade | _Bar | _Status | _Success | _Error | _Subscription
IGNORED_KINDS = frozenset({"u", "d", "l", "c", "x", "i", "n"})
"""Kinds that the desk never asks for: amended and daily bars, bands, corrections, imbalances, news."""
TRADING_CODES = frozenset({"T", "3", "4", "Q"})
"""Status codes that mean trading goes on or is resuming (tapes A/B: T; tape C: T, Q, 3, 4)."""


class MarketReader:
    """Reads the frames of one data stream.

    Parameters
    ----------
    lookup
        Number of a symbol.
    is_msgpack
        Codec of the connection.
    """

    def __init__(self, lookup: Lookup, *, is_msgpack: bool) -> None:
        self._lookup = lookup
        if is_msgpack:
            self._whole = msgspec.msgpack.Decoder(list[_Message]).decode
            self._parts = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
            self._one = msgspec.msgpack.Decoder(_Message).decode
            self._kind = msgspec.msgpack.Decoder(_Kind).decode
        else:
            self._whole = msgspec.json.Decoder(list[_Message]).decode
            self._parts = msgspec.json.Decoder(list[msgspec.Raw]).decode
            self._one = msgspec.json.Decoder(_Message).decode
            self._kind = msgspec.json.Decoder(_Kind).decode

    def read(self, raw: bytes, stamp: Stamp) -> list[MarketItem]:
        """Return what a frame says, in its order; refusals stand where the messages stood."""
        if len(raw) > LARGEST_FRAME_BYTES:
            return [Refusal("frame_too_large", f"{len(raw)} bytes")]
        items: list[MarketItem] = []
        try:
            messages: Iterable[_Message | Refusal] = self._whole(raw)
        except UNREADABLE:
            messages = self._one_by_one(raw)
        for message in messages:
            if type(message) is Refusal:
                items.append(message)
                continue
            try:
                items.append(self._item(message, stamp))  # type: ignore[arg-type]  # refusals are out
            except Malformed as refused:
                items.append(Refusal(refused.name, refused.detail))
        return items

    def _one_by_one(self, raw: bytes) -> Iterable[_Message | Refusal]:
        """Read what can be read of a frame that is not whole as expected."""
        try:
            parts = self._parts(raw)
        except UNREADABLE as error:
            return (_refusal("malformed_frame", f"{error} in {raw[:60]!r}"),)
        found: list[_Message | Refusal] = []
        for part in parts:
            try:
                found.append(self._one(part))
            except UNREADABLE as error:
                refusal = self._why_not(bytes(part), str(error))
                if refusal is not None:
                    found.append(refusal)
        return found

    def _why_not(self, part: bytes, error: str) -> Refusal | None:
        try:
            kind = self._kind(part).T
        except UNREADABLE:
            return _refusal("malformed_message", f"{error} in {part[:60]!r}")
        if kind in IGNORED_KINDS:
            return None
        name = "malformed_message" if kind in ("q", "t", "b", "s") else "unknown_message"
        return _refusal(name, f"{kind[:20]!r}: {error}")

    def _item(self, message: _Message, stamp: Stamp) -> MarketItem:
        if type(message) is _Quote:
            return self._quote(message, stamp)
        if type(message) is _Trade:
            return self._trade(message, stamp)
        if type(message) is _Bar:
            return self._bar(message, stamp)
        if type(message) is _Status:
            at_ns = ns_of(message.t)
            stamp(at_ns)
            code = text(message.sc, "status_code", 8)
            return TradingStatus(
                text(message.S, "symbol", 32), at_ns, code, message.sm[:80], code in TRADING_CODES
            )
        if type(message) is _Success:
            return Welcome(message.msg[:40])
        if type(message) is _Error:
            return StreamFault(message.code, message.msg[:120])
        if type(message) is _Subscription:
            return Subscribed(message.quotes, message.trades, message.bars)
        raise Malformed("unknown_message", type(message).__name__)

    def _number(self, symbol: str) -> InstrumentId:
        number = self._lookup(symbol)
        if number is None:
            raise Malformed("unknown_symbol", repr(symbol))
        return number

    def _quote(self, message: _Quote, stamp: Stamp) -> QuoteEvent:
        number = self._number(message.S)
        at_ns = ns_of(message.t)
        bid, bid_size = side(message.bp, message.bs)
        ask, ask_size = side(message.ap, message.as_)
        return QuoteEvent(number, at_ns, stamp(at_ns), bid, ask, bid_size, ask_size)

    def _trade(self, message: _Trade, stamp: Stamp) -> TradeEvent:
        number = self._number(message.S)
        at_ns = ns_of(message.t)
        if not (0 < message.p < math.inf and 0 <= message.s < math.inf):
            raise Malformed("bad_trade", f"{message.s} at {message.p}")
        return TradeEvent(number, at_ns, stamp(at_ns), message.p, message.s)

    def _bar(self, message: _Bar, stamp: Stamp) -> BarEvent:
        number = self._number(message.S)
        end_ns = ns_of(message.t) + MINUTE_SECONDS * NANOS_PER_SECOND  # the venue stamps the start
        low, high = message.l, message.h
        sane = 0 < low <= min(message.o, message.c) and max(message.o, message.c) <= high < math.inf
        if not (sane and 0 <= message.v < math.inf):
            raise Malformed("bad_bar", f"{message.o} {high} {low} {message.c} {message.v}")
        received_ns = stamp(end_ns)
        return BarEvent(
            number, end_ns, received_ns, MINUTE_SECONDS, message.o, high, low, message.c, message.v
        )


def _refusal(name: str, detail: str) -> Refusal:
    return Refusal(name, detail[:LONGEST_SHOWN])


def side(price: float, size: float) -> tuple[float, float]:
    """Return one side of a quote in the desk's form: a side that is not there is NaN with size 0.

    Alpaca writes 0 for a missing ask and for a missing bid; a bid of 0 means just that.
    """
    if price == 0 or math.isnan(price):
        return NAN, 0.0
    return price, size if 0 <= size < math.inf else 0.0


# what the desk says -----------------------------------------------------------------------------


def market_auth(key: str, secret: str, *, is_msgpack: bool) -> bytes:
    """Return the authentication message of a data stream."""
    return _encode({"action": "auth", "key": key, "secret": secret}, is_msgpack)


def market_subscription(
    action: str,
    *,
    quotes: Sequence[str] = (),
    trades: Sequence[str] = (),
    bars: Sequence[str] = (),
    statuses: Sequence[str] = (),
    is_msgpack: bool,
) -> bytes:
    """Return a ``subscribe`` or ``unsubscribe`` message; empty channels are left out."""
    channels = {"quotes": quotes, "trades": trades, "bars": bars, "statuses": statuses}
    said = {name: list(symbols) for name, symbols in channels.items() if symbols}
    return _encode({"action": action, **said}, is_msgpack)


def _encode(message: dict[str, object], is_msgpack: bool) -> bytes:
    return msgspec.msgpack.encode(message) if is_msgpack else msgspec.json.encode(message)
