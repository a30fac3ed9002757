"""Quotes of stocks and options, bars of stocks: two streams, opened when needed, subscribed by difference."""

import asyncio
from collections.abc import Callable, Sequence

from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import InstrumentBook, OptionContract
from scalpdesk.venues.alpaca import wire
from scalpdesk.venues.alpaca.client_stream import Listen, Say, StreamConnection, StreamRefused
from scalpdesk.venues.alpaca.endpoints import Endpoints
from scalpdesk.venues.alpaca.fields import Refusal
from scalpdesk.venues.alpaca.sessions import Sessions
from scalpdesk.venues.base import Notice, NoticeKind, Revealable, Stamper
from scalpdesk.venues.outbox import Outbox

MSGPACK_HEADERS = {"Content-Type": "application/msgpack"}
CONNECTION_LIMIT = 406
"""Another connection of this account is still open; it may be our own, not yet noticed as dead."""


class DataStream:
    """One data stream and what it is subscribed to.

    Parameters
    ----------
    name, url
        ``stocks`` or ``options``, and the address.
    key, secret
        Sent in the hello.
    reader
        Reads the frames.
    with_statuses
        Also subscribe to minute bars, halts and pauses (stocks).
    outbox, stamper, count
        Where events go, their stamps, and named conditions.
    heartbeat_seconds
        Between pings.
    sessions
        Where connections come from; None is the network.
    """

    def __init__(
        self,
        name: str,
        url: str,
        key: Revealable,
        secret: Revealable,
        reader: wire.MarketReader,
        outbox: Outbox,
        stamper: Stamper,
        count: Callable[[str], None],
        *,
        with_statuses: bool,
        heartbeat_seconds: float,
        sessions: Sessions | None = None,
    ) -> None:
        self._key = key
        self._secret = secret
        self._reader = reader
        self._outbox = outbox
        self._put = outbox.put
        self._stamp = stamper.stamp
        self._count = count
        self._with_statuses = with_statuses
        self.wanted: tuple[str, ...] = ()
        self.confirmed: frozenset[str] = frozenset()
        """Symbols whose quotes the server says it sends."""
        self._changed = asyncio.Event()
        self._fault: wire.StreamFault | None = None
        self.connection = StreamConnection(
            name,
            url,
            MSGPACK_HEADERS,
            is_binary=True,
            hello=self._hello,
            on_frame=self._on_frame,
            on_up=self._on_up,
            on_down=self._on_down,
            heartbeat_seconds=heartbeat_seconds,
            sessions=sessions,
        )

    async def want(self, symbols: Sequence[str], timeout_seconds: float) -> None:
        """Stream the quotes of exactly these symbols; return once the server confirms.

        Raises
        ------
        ConfigError
            The server refuses the feed, the keys or the number of symbols.
        RetryError
            It does not confirm in time.
        """
        before, self.wanted = self.wanted, tuple(symbols)
        where = f"stream of {self.connection.name}"
        self._fault = None
        try:
            if not self.connection.is_up:
                await self.connection.start(timeout_seconds)
            else:
                gone = [one for one in before if one not in set(symbols)]
                fresh = [one for one in symbols if one not in set(before)]
                if gone:
                    await self.connection.say(self._message("unsubscribe", gone))
                if fresh:
                    await self.connection.say(self._message("subscribe", fresh))
            async with asyncio.timeout(timeout_seconds):
                await self._confirmed()
        except StreamRefused as refused:
            raise ConfigError(
                "the data stream turns this desk away",
                where=where,
                value=str(refused),
                fix="check the feed against the data plan of the account",
            ) from None
        except TimeoutError:
            raise RetryError(
                "the data stream does not confirm the subscription in time", where=where
            ) from None

    async def _confirmed(self) -> None:
        while not self.confirmed >= set(self.wanted):
            if self._fault is not None:
                raise StreamRefused(f"{self._fault.code} {self._fault.message}", is_final=True)
            self._changed.clear()
            await self._changed.wait()

    def _message(self, action: str, symbols: Sequence[str]) -> bytes:
        # options have neither halts nor bars in their stream; a share's bars carry the volume
        stocks = symbols if self._with_statuses else ()
        return wire.market_subscription(action, quotes=symbols, bars=stocks, statuses=stocks, is_msgpack=True)

    async def _hello(self, say: Say, listen: Listen) -> None:
        self.confirmed = frozenset()
        await say(wire.market_auth(self._key.reveal(), self._secret.reveal(), is_msgpack=True))
        while not await self._is_authenticated(listen):
            pass
        if self.wanted:
            await say(self._message("subscribe", self.wanted))

    async def _is_authenticated(self, listen: Listen) -> bool:
        for item in self._reader.read(await listen(), self._stamp):
            if isinstance(item, wire.StreamFault):
                said = f"{item.code} {item.message}"
                raise StreamRefused(said, is_final=item.is_final and item.code != CONNECTION_LIMIT)
            if isinstance(item, wire.Welcome) and item.message == "authenticated":
                return True
        return False

    def _on_frame(self, raw: bytes) -> None:
        for item in self._reader.read(raw, self._stamp):
            if isinstance(item, wire.MARKET_EVENTS):
                self._put(item)
            else:
                self._on_other(item)

    def _on_other(self, item: wire.MarketItem) -> None:
        name = self.connection.name
        if isinstance(item, wire.Subscribed):
            self.confirmed = frozenset(item.quotes)
            self._changed.set()
        elif isinstance(item, wire.StreamFault):
            self._fault = item
            self._changed.set()
            self._count(f"stream_fault_{item.code}")
            self._notice(NoticeKind.REFUSED, f"stream_fault_{item.code}", item.message)
        elif isinstance(item, wire.TradingStatus):
            kind = NoticeKind.TRADING if item.is_trading else NoticeKind.HALTED
            self._notice(kind, item.symbol, f"{item.code} {item.message}")
        elif isinstance(item, Refusal):
            self._count(item.name)
            self._notice(NoticeKind.REFUSED, item.name, f"{name}: {item.detail}")

    def _on_up(self, _name: str) -> None:
        self._notice(NoticeKind.CONNECTED, "connected", "")

    def _on_down(self, name: str, why: str, is_final: bool) -> None:
        self._count(f"{self.connection.name}_{name}")
        self._notice(NoticeKind.DEAD if is_final else NoticeKind.DISCONNECTED, name, why)

    def _notice(self, kind: NoticeKind, name: str, detail: str) -> None:
        self._put(Notice(kind, self._stamp(None), self.connection.name, name, detail))


class DataStreams:
    """The stock stream and the option stream of one gateway."""

    def __init__(
        self,
        endpoints: Endpoints,
        key: Revealable,
        secret: Revealable,
        book: InstrumentBook,
        outbox: Outbox,
        stamper: Stamper,
        count: Callable[[str], None],
        heartbeat_seconds: float,
        sessions: Sessions | None = None,
    ) -> None:
        self._book = book
        reader = wire.MarketReader(self._lookup, is_msgpack=True)

        def stream(name: str, url: str) -> DataStream:
            return DataStream(
                name,
                url,
                key,
                secret,
                reader,
                outbox,
                stamper,
                count,
                with_statuses=name == "stocks",
                heartbeat_seconds=heartbeat_seconds,
                sessions=sessions,
            )

        self._stocks = stream("stocks", endpoints.stocks_url)
        self._options = stream("options", endpoints.options_url)

    def _lookup(self, symbol: str) -> InstrumentId | None:
        return self._book.id_of(symbol) if symbol in self._book else None

    def connections(self) -> list[StreamConnection]:
        """Return the connections that were asked for."""
        return [one.connection for one in (self._stocks, self._options) if one.wanted]

    async def subscribe(self, instrument_ids: Sequence[InstrumentId], timeout_seconds: float = 15.0) -> None:
        """Stream quotes of exactly these instruments."""
        instruments = [self._book[number] for number in instrument_ids]
        stocks = [one.symbol for one in instruments if not isinstance(one, OptionContract)]
        options = [one.symbol for one in instruments if isinstance(one, OptionContract)]
        for stream, symbols in ((self._stocks, stocks), (self._options, options)):
            if symbols or stream.wanted:
                await stream.want(symbols, timeout_seconds)

    async def close(self) -> None:
        """End both streams."""
        for stream in (self._stocks, self._options):
            await stream.connection.close()
