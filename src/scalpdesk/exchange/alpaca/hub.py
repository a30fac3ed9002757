"""Brings what happens in a world to the streams that follow it, data faults included."""

from collections.abc import Callable
from typing import Any

import msgspec

from scalpdesk.core.events import QuoteEvent, TradeEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.exchange.alpaca.market_data import bar_json, quote_json, trade_json
from scalpdesk.exchange.alpaca.streams import DataStream, TradeStream
from scalpdesk.exchange.world import ClosedBar, Published, StatusChange, World
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.simulation.broker.orders import OrderUpdate
from scalpdesk.simulation.faults import Fault

NAN = float("nan")


class Hub:
    """All open streams of one world.

    Parameters
    ----------
    world
        What they follow.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._trade_streams: list[TradeStream] = []
        self._data_streams: list[DataStream] = []
        self._silent_until: dict[InstrumentId, int] = {}
        self._last: dict[InstrumentId, QuoteEvent] = {}
        self._held_back: dict[InstrumentId, QuoteEvent] = {}
        world.on_market(self._market)
        world.on_update(self._update)

    def add(self, stream: TradeStream | DataStream) -> None:
        """Let a stream take part."""
        if isinstance(stream, TradeStream):
            self._trade_streams.append(stream)
        else:
            self._data_streams.append(stream)

    def remove(self, stream: TradeStream | DataStream) -> None:
        """Let a stream go."""
        self._trade_streams = [one for one in self._trade_streams if one is not stream]
        self._data_streams = [one for one in self._data_streams if one is not stream]

    def is_free(self, path: str, account: str) -> bool:
        """Return whether an account has no connection to an endpoint yet."""
        return not any(one.path == path and one.account == account for one in self._data_streams)

    def close_all(self) -> None:
        """End every connection, as a venue that restarts does."""
        for wire in [
            *(one.wire for one in self._data_streams),
            *(one.wire for one in self._trade_streams),
        ]:
            wire.close()

    @property
    def open_count(self) -> int:
        """Connections."""
        return len(self._trade_streams) + len(self._data_streams)

    @property
    def ready_count(self) -> int:
        """Connections that follow something."""
        listening = sum(stream.is_listening for stream in self._trade_streams)
        return listening + sum(any(stream.symbols.values()) for stream in self._data_streams)

    def _update(self, update: OrderUpdate) -> None:
        for stream in tuple(self._trade_streams):
            stream.publish(update)

    def _market(self, event: Published) -> None:
        if not self._data_streams:
            return
        instrument = self._world.books.instruments[event.instrument_id]
        is_option = isinstance(instrument, OptionContract)
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
            one
            for one in self._data_streams
            if one.account is not None and one.is_options is is_option and one.wants(channel, symbol)
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
        """Return what the clients are told of a quote: itself, unless a fault spoils it."""
        number = quote.instrument_id
        if self._silent_until and quote.ts_recv_ns < self._silent_until.get(number, 0):
            return []
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
                return [(change(quote, ask=NAN, ask_size=0.0), symbol)]
            case "zero_bid":
                return [(change(quote, bid=0.0, bid_size=0.0), symbol)]
            case "nan":
                return [(change(quote, bid=NAN, ask=NAN), symbol)]
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
        "sc": "H" if halted else "T",
        "sm": "Trading Halt" if halted else "Trading Resumption",
        "rc": "LUDP" if halted else "",
        "rm": "Volatility Trading Pause" if halted else "",
        "z": "B",
    }
