"""Market data over the TWS socket: lines that follow quotes and trades, with Greeks of options."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from scalpdesk.core.events import QuoteEvent, TradeEvent
from scalpdesk.core.units import (
    DAY_NS,
    DAY_SECONDS,
    DAYS_PER_YEAR,
    NANOS_PER_SECOND,
    InstrumentId,
    years_between,
)
from scalpdesk.exchange.market import Published, SimulatedMarket, StatusChange
from scalpdesk.instruments.contract import OptionContract, Style
from scalpdesk.instruments.sessions import expiry_instant_ns, to_new_york
from scalpdesk.pricing.scalar import implied_vol_scalar, option_greeks
from scalpdesk_ibkr import messages
from scalpdesk_ibkr.served.contracts import ContractBook, read_query
from scalpdesk_ibkr.served.layouts import error_message
from scalpdesk_ibkr.served.wire import Message, Reader, TwsError, size_of

LIVE, FROZEN, DELAYED, DELAYED_FROZEN = 1, 2, 3, 4
"""Types of market data."""
BID, ASK, LAST, HIGH, LOW, CLOSE, OPEN = 1, 2, 4, 6, 7, 9, 14
_SIZES = {BID: 0, ASK: 3, LAST: 5}
"""Type of the size beside each type of price."""
VOLUME, _LAST_TIME, HALTED = 8, 45, 49
_BID_GREEKS, _ASK_GREEKS, _LAST_GREEKS, _MODEL_GREEKS = 10, 11, 12, 13
_CALL_OPEN_INTEREST, _PUT_OPEN_INTEREST = 27, 28
_DELAYED = "0:69 1:66 2:67 3:70 4:68 5:71 6:72 7:73 8:74 9:75 14:76 10:80 11:81 12:82 13:83 45:88 49:90"
DELAYED_TYPES = {int(live): int(late) for live, _, late in (pair.partition(":") for pair in _DELAYED.split())}
"""Type that delayed data have in place of each type of live data."""
_OPEN_INTEREST_LIST = "101"
"""Generic tick by which a client asks for open interest."""
_COMBO_TICK = Decimal("0.01")


@dataclass(slots=True)
class DataTerms:
    """Entitlements of the login, shared by its connections."""

    live: bool = True
    delayed: bool = True
    """``live``, ``delayed``: Entitlement to live data, and to delayed data."""
    competes: bool = False
    """Another session of this login receives the live data."""
    lines: int = 100
    """Largest number of market-data lines of all connections."""


@dataclass(slots=True)
class _MarketLine:
    """One subscription and what it has sent, by type of tick."""

    request_id: int
    legs: tuple[tuple[InstrumentId, int], ...]
    """Instruments with their signed ratio; a single one with ratio 1."""
    is_combo: bool
    is_delayed: bool
    sent: dict[int, tuple[float, float]] = field(default_factory=dict)
    volume: float = 0.0
    greeks: dict[int, Message] = field(default_factory=dict)

    @property
    def number(self) -> InstrumentId:
        """The first instrument."""
        return self.legs[0][0]

    def kind(self, live: int) -> int:
        """Return the type of a tick on this line."""
        return DELAYED_TYPES.get(live, live) if self.is_delayed else live


class MarketLines:
    """Market data of one client.

    ``count``: Returns the number of lines of all connections.
    """

    def __init__(
        self,
        version: int,
        world: SimulatedMarket,
        contracts: ContractBook,
        terms: DataTerms,
        count: Callable[[], int],
    ) -> None:
        self._version, self._world, self._contracts = version, world, contracts
        self._terms, self._count = terms, count
        self._type = LIVE
        self.lines: dict[int, _MarketLine] = {}
        """By request id."""

    def choose(self, data_type: int) -> None:
        """Set the type of data of later requests (59)."""
        if data_type not in (LIVE, FROZEN, DELAYED, DELAYED_FROZEN):
            raise TwsError(321, f"Error validating request:-'{data_type}' : is no type of market data")
        self._type = data_type

    def follow(self, request_id: int, reader: Reader) -> Iterator[Message]:
        """Yield the present ticks of a contract, and follow it unless a snapshot is asked for (1)."""
        if request_id in self.lines:
            raise TwsError(322, "Error processing request:-'ticker' : Duplicate ticker id")
        query = read_query(reader)
        is_combo = query.kind == messages.COMBO
        if is_combo:
            legs = tuple(
                (leg.number, int(leg.ratio) * leg.side.sign)
                for leg in self._contracts.read_legs(reader, in_order=False)
            )
        else:
            legs = ((self._contracts.only(query), 1),)
        if reader.flag("deltaNeutralContract"):
            raise TwsError(321, "Error validating request: delta-neutral contracts are not served")
        generic, is_snapshot = reader.text().split(","), reader.flag("snapshot")
        if not is_snapshot and self._count() >= self._terms.lines:
            raise TwsError(101, "Max number of tickers has been reached.")
        wants_delayed = self._type in (DELAYED, DELAYED_FROZEN)
        if self._terms.competes and not wants_delayed:
            raise TwsError(10197, "No market data during competing live session")
        if not self._terms.live:
            if not (wants_delayed and self._terms.delayed):
                also = "Delayed market data is available." if self._terms.delayed else ""
                raise TwsError(354, f"Requested market data is not subscribed.{also}")
            text = "Requested market data is not subscribed. Displaying delayed market data."
            yield error_message(self._version, request_id, 10167, text)
        line = _MarketLine(request_id, legs, is_combo, wants_delayed)
        is_frozen = self._type in (FROZEN, DELAYED_FROZEN) and not self._world.broker.is_open
        shown = (DELAYED_FROZEN if is_frozen else DELAYED) if wants_delayed else FROZEN if is_frozen else LIVE
        self.lines[request_id] = line
        for number, _ in legs:
            self._world.quote(number)
        item = self._world.ledger.instruments[line.number]
        yield 58, 1, request_id, shown
        yield 81, request_id, _COMBO_TICK if is_combo else item.tick_rule.below, "a60001", 3
        if not is_combo and not is_snapshot:
            yield 45, 6, request_id, line.kind(HALTED), int(line.number in self._world.ledger.halted)
        yield from self._quote_ticks(line)
        if not is_combo:
            yield from self._day_ticks(line)
            yield from self._last_ticks(line, self._world.last_trades.get(line.number))
            if _OPEN_INTEREST_LIST in generic and item.is_option:
                yield from self._open_interest(line, item)
        if is_snapshot:
            del self.lines[request_id]
            yield 57, 1, request_id

    def cancel(self, request_id: int) -> None:
        """End a line (2)."""
        if self.lines.pop(request_id, None) is None:
            raise TwsError(300, f"Can't find EId with tickerId:{request_id}")

    def ticks_of(self, event: Published) -> Iterator[Message]:
        """Yield the ticks that an event brings to the lines of its instrument."""
        for line in tuple(self.lines.values()):
            if all(number != event.instrument_id for number, _ in line.legs):
                continue
            if isinstance(event, QuoteEvent):
                yield from self._quote_ticks(line)
                if not line.is_combo:
                    yield from self._last_ticks(line, self._world.last_trades.get(line.number))
            elif isinstance(event, TradeEvent) and not line.is_combo:
                line.volume += event.size
                yield from self._last_ticks(line, event, is_print=True)
                yield from self._size(line, VOLUME, line.volume)
            elif isinstance(event, StatusChange):
                yield 45, 6, line.request_id, line.kind(HALTED), int(event.is_halted)

    # ticks ------------------------------------------------------------------------------------------

    def _price(self, line: _MarketLine, kind: int, price: float, size: float) -> Iterator[Message]:
        """Yield a price with its size, or the size alone where only that is new."""
        before, now = line.sent.get(kind), (price, size)
        if before == now:
            return
        line.sent[kind] = now
        shown, volume = round(price, 6), size_of(size, self._version)
        if before is None or before[0] != price:
            yield 1, 6, line.request_id, line.kind(kind), shown, volume, int(kind in (BID, ASK))
        if kind in _SIZES and (before is None or before[1] != size):
            yield 2, 6, line.request_id, line.kind(_SIZES[kind]), volume

    def _size(self, line: _MarketLine, kind: int, size: float) -> Iterator[Message]:
        if line.sent.get(kind) != (size, size):
            line.sent[kind] = (size, size)
            yield 2, 6, line.request_id, line.kind(kind), size_of(size, self._version)

    def _quote_ticks(self, line: _MarketLine) -> Iterator[Message]:
        """Yield bid and ask, -1 with size 0 where a side is empty; an index has neither."""
        quotes = [self._world.ledger.quotes.get(number) for number, _ in line.legs]
        item = self._world.ledger.instruments[line.number]
        if item.is_index and not line.is_combo:
            return
        for kind, is_bid in ((BID, True), (ASK, False)):
            sides = [
                _side(quote, is_bid=is_bid is (ratio > 0))
                for quote, (_, ratio) in zip(quotes, line.legs, strict=True)
            ]
            if any(size <= 0 for _, size in sides):
                if any(quote is not None for quote in quotes):
                    yield from self._price(line, kind, -1.0, 0.0)
                continue
            price = sum(ratio * price for (price, _), (_, ratio) in zip(sides, line.legs, strict=True))
            size = min(size // abs(ratio) for (_, size), (_, ratio) in zip(sides, line.legs, strict=True))
            yield from self._price(line, kind, price, size)
        quote = quotes[0]
        if item.is_option and not line.is_combo and quote is not None:
            yield from self._greeks(line, item, _MODEL_GREEKS, quote.mid)
            yield from self._greeks(line, item, _BID_GREEKS, quote.bid)
            yield from self._greeks(line, item, _ASK_GREEKS, quote.ask)

    def _last_ticks(
        self, line: _MarketLine, trade: TradeEvent | None, *, is_print: bool = False
    ) -> Iterator[Message]:
        """Yield the last trade, and a new high or low of the day; a print has its time in any case."""
        if trade is None or not math.isfinite(trade.price):
            return
        item = self._world.ledger.instruments[line.number]
        before, size = line.sent.get(LAST), 0.0 if item.is_index else trade.size
        yield from self._price(line, LAST, trade.price, size)
        if is_print or before is None or before[0] != trade.price:
            second = trade.ts_event_ns // NANOS_PER_SECOND
            yield 46, 6, line.request_id, line.kind(_LAST_TIME), str(second)
            if item.is_option:
                yield from self._greeks(line, item, _LAST_GREEKS, trade.price)
        for kind, sign in ((OPEN, 0), (HIGH, 1), (LOW, -1)):
            known = line.sent.get(kind)
            if known is None or sign * trade.price > sign * known[0]:
                yield from self._price(line, kind, trade.price, 0.0)

    def _day_ticks(self, line: _MarketLine) -> Iterator[Message]:
        """Yield open, high, low and volume of the day, and the close of the day before."""
        world, number = self._world, line.number
        day = to_new_york(world.now_ns).date()
        today = [bar for bar in world.bars.minutes(number) if to_new_york(bar.start_ns).date() == day]
        if today:
            yield from self._price(line, OPEN, today[0].open, 0.0)
            yield from self._price(line, HIGH, max(bar.high for bar in today), 0.0)
            yield from self._price(line, LOW, min(bar.low for bar in today), 0.0)
            line.volume = sum(bar.volume for bar in today)
            if not world.ledger.instruments[number].is_index:
                yield from self._size(line, VOLUME, line.volume)
        close = float(world.closes.get(number, 0))
        if not close:
            symbol = world.ledger.instruments[number].symbol
            days = world.source.history(symbol, DAY_SECONDS, world.now_ns - 10 * DAY_NS, world.now_ns)
            before = [bar for bar in days if to_new_york(bar.start_ns).date() < day]
            close = before[-1].close if before else 0.0
        if close:
            yield from self._price(line, CLOSE, close, 0.0)

    def _open_interest(self, line: _MarketLine, item: OptionContract) -> Iterator[Message]:
        count = float(self._world.open_interest.get(item.symbol, 0))
        for kind, is_own in ((_CALL_OPEN_INTEREST, item.is_call), (_PUT_OPEN_INTEREST, not item.is_call)):
            yield 2, 6, line.request_id, kind, size_of(count if is_own else 0.0, self._version)

    def _greeks(self, line: _MarketLine, item: OptionContract, kind: int, price: float) -> Iterator[Message]:
        """Yield volatility and Greeks at a price of an option: theta a day, vega a point."""
        world = self._world
        if item.underlying not in world.ledger.instruments or not (math.isfinite(price) and price > 0.0):
            return
        under = world.ledger.instruments.id_of(item.underlying)
        world.quote(under)
        spot, years = float(world.ledger.mark(under)), years_between(world.now_ns, expiry_instant_ns(item))
        if not (spot > 0.0 and years > 0.0):
            return
        rate = world.source.rate_curve.rate_at(years * DAYS_PER_YEAR)
        carry = rate if item.is_on_future else world.source.dividend_yield  # Black (1976)
        american = item.style is Style.AMERICAN and bool(rate or carry)
        terms = spot, float(item.strike), years
        vol, status = implied_vol_scalar(price, *terms, item.is_call, rate, carry, american=american)
        if status != "ok":
            return
        at = option_greeks(*terms, vol, item.is_call, rate, carry, american=american)
        theta, vega = at.theta / DAYS_PER_YEAR, at.vega / 100.0
        figures = (vol, at.delta, price, 0.0, at.gamma, vega, theta, spot)
        message = 21, line.request_id, line.kind(kind), 1, *(round(figure, 6) for figure in figures)
        if line.greeks.get(kind) != message:
            line.greeks[kind] = message
            yield message


def _side(quote: QuoteEvent | None, *, is_bid: bool) -> tuple[float, float]:
    """Return price and size of a side; size 0 where it is empty."""
    if quote is None:
        return -1.0, 0.0
    price, size = (quote.bid, quote.bid_size) if is_bid else (quote.ask, quote.ask_size)
    return (price, size) if math.isfinite(price) and price > 0.0 and size > 0.0 else (-1.0, 0.0)
