"""Quotes from TWS within its market data lines: the strategy's own instruments first, the chain by turns.

An account has a number of lines (100 without more subscriptions). Underlyings, halted instruments, those with
a position or an order at work, and what was used last keep a line; the other instruments share the rest by
turns. TWS states no time of a quote: it is as old as the last message on its line. Data that TWS names
delayed or frozen, and those of a trading halt, are published with the age that they have, so that the desk's
own rule for old quotes keeps orders away from them.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from ib_async import OptionComputation, Ticker

from scalpdesk.core.errors import RetryError
from scalpdesk.core.events import Event, OpenInterestEvent, QuoteEvent, TradingHalt
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import is_session, previous_session, session_on, to_new_york, to_ns
from scalpdesk.venues import EventPublisher, NoticeKind, is_count
from scalpdesk_ibkr import codes
from scalpdesk_ibkr.connection import TwsConnection
from scalpdesk_ibkr.contracts import Contracts
from scalpdesk_ibkr.settings import DATA_TYPES, IbkrSettings

_CHANGES_A_SECOND = 8
"""Lines that change at most in a second: each takes two of the 45 messages a second that orders need too."""
_OPENS_A_SECOND = 20
_RETRY_SECONDS = 30.0
"""Until a line that brings nothing (10197, 354) is asked for again."""
_NAME_SECONDS = 60.0
"""Until TWS is asked again for the name of a contract that it does not know."""
_OPTION_TICKS = "101"
"""Generic tick of the open interest of an option."""
_DELAY_NS = 15 * MINUTE_NS
"""Age of delayed data (vendor's pages: 15 to 20 minutes)."""
LIVE, _FROZEN, _DELAYED, _DELAYED_FROZEN = 1, 2, 3, 4
_TYPE_NAMES = {LIVE: "live", _FROZEN: "frozen", _DELAYED: "delayed", _DELAYED_FROZEN: "delayed_frozen"}
_STATUS_TICKS = {49: 0, 90: _DELAY_NS}
"""Types of the tick that states whether a contract is halted, and its age, nanoseconds."""
_HALTS = {1: "general halt", 2: "volatility halt"}
"""Its values (vendor's pages, "Halted"); 0 is no halt, and below 0 TWS does not know."""
_TRADES_AGAIN_NS = 5 * NANOS_PER_SECOND
"""A trade so long after a halt was named shows that the halt is over; an earlier one may be reported late, or
by a clock that is off.
"""


class _KnownHalt(NamedTuple):
    """A trading halt; UTC nanoseconds."""

    named_ns: int
    """When TWS named it."""
    quoted_ns: int
    """When the quotes that TWS shows in it were made, at the latest."""


Sides = tuple[float, float, float, float]
"""Bid and ask, and their sizes."""


@dataclass(slots=True, eq=False)
class _QuoteLine:
    """One market data line."""

    number: InstrumentId
    ticker: Ticker
    since: float
    """When it was opened, the loop's time."""
    opened_ns: int
    """The same, UTC nanoseconds."""
    kind: int = LIVE
    """Type of data that TWS named last."""
    interest: int | None = None
    """Open interest that was published last."""
    quoted_ns: int = 0
    """When it last brought anything, its quote being known, UTC nanoseconds; 0 before."""
    quoted_at: float = 0.0
    """The same, the loop's time."""
    is_halted: bool | None = None
    """Status that TWS named last; None before."""
    is_refused: bool = False
    """Whether TWS has answered with an error, so that it brings nothing."""
    again_at: float | None = None
    """When it is asked for again unless it brings a quote before, the loop's time; None: not."""
    before: Sides | None = None
    """Last quote of the line in whose place it was opened: TWS begins with the same, however old it is."""
    sides: Sides | None = None
    """Its last quote."""


def _frozen_ns(now_ns: int) -> int:
    """Return the close from which frozen data are: the last one that is over."""
    day = to_new_york(now_ns).date()
    if is_session(day) and now_ns >= session_on(day).close_ns:
        return session_on(day).close_ns
    return previous_session(day).close_ns


class QuoteLines:
    """Streams quotes over the lines of one account.

    ``settings``: Lines and type of data.
    ``in_use``: Returns the instruments with a position or an order at work.
    """

    def __init__(
        self,
        connection: TwsConnection,
        contracts: Contracts,
        instruments: Instruments,
        publisher: EventPublisher,
        settings: IbkrSettings,
        *,
        in_use: Callable[[], Iterable[InstrumentId]],
    ) -> None:
        self._connection, self._contracts = connection, contracts
        self._instruments, self._publisher = instruments, publisher
        self._most, self._type, self._in_use = settings.lines, DATA_TYPES[settings.data], in_use
        self._turn_seconds = settings.turn_seconds
        self._wanted: tuple[InstrumentId, ...] = ()
        self._lines: dict[InstrumentId, _QuoteLine] = {}
        self._by_ticker: dict[int, _QuoteLine] = {}
        """Lines by their tickers' identity: tickers compare by what they show."""
        self._unnamed: list[InstrumentId] = []
        """Instruments that are wanted and that TWS does not name."""
        self._name_at = 0.0
        """When TWS is asked for their names again, the loop's time."""
        self._turn: deque[InstrumentId] = deque()
        """Wanted instruments without a line, the next one first."""
        self._named: set[str] = set()
        """Kinds of data, other than live, that a notice has named."""
        self._halts: dict[InstrumentId, _KnownHalt] = {}
        self._reported: set[InstrumentId] = set()
        """Instruments whose trading status was reported since the connection came up."""
        self._task: asyncio.Task[None] | None = None
        self._look_at = math.inf
        """When the lines are looked at after a farm came back, the loop's time."""
        self._opening = asyncio.Lock()
        self._last_at = 0.0
        """Time of the last tick, or of the first line after a silence, by the loop's clock."""
        connection.on_generic = self._on_generic
        connection.on_farm_back = self._doubt_lines
        connection.listen("pendingTickersEvent", self._on_tickers)
        connection.listen("errorEvent", self._on_error)

    # lines ------------------------------------------------------------------------------------------

    async def subscribe(self, numbers: Sequence[InstrumentId]) -> None:
        """Follow exactly these instruments, as far as lines allow at a time.

        Raises RetryError where TWS names nothing of what is traded: options alone are of no use.
        """
        every = tuple(dict.fromkeys(numbers))
        self._wanted = await self._known_among(every)
        self._unnamed = [number for number in every if number not in set(self._wanted)]
        self._name_at = asyncio.get_running_loop().time() + _NAME_SECONDS
        for number in [number for number in self._lines if number not in self._wanted]:
            self._end(number)
        await self._fill()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._take_turns())
        traded = [number for number in every if not self._instruments[number].is_option] or every
        if traded and not any(number in self._wanted for number in traded):
            symbols = ", ".join(self._instruments[number].symbol for number in traded)
            raise RetryError("TWS does not name the contracts", where="contracts", value=symbols)

    async def _known_among(self, numbers: Sequence[InstrumentId]) -> tuple[InstrumentId, ...]:
        """Return the instruments that TWS names; the others, renamed overnight for one, are told."""
        unnamed = await self._contracts.qualify(numbers)
        if unnamed:
            symbols = ", ".join(self._instruments[number].symbol for number in unnamed)
            self._publisher.tell(
                "quotes", "unknown_contract", f"TWS does not name {symbols}: no quotes of it"
            )
        return tuple(number for number in numbers if number not in set(unnamed))

    async def _name_again(self, now: float) -> None:
        """Ask again for what TWS did not name: it may have been loading its list of contracts."""
        if not self._unnamed or now < self._name_at:
            return
        self._name_at = now + _NAME_SECONDS
        with contextlib.suppress(RetryError):  # it does not answer: asked again in time
            found = await self._known_among(self._unnamed)
            self._unnamed = [number for number in self._unnamed if number not in found]
            self._wanted += found
            self._turn.extend(found)
            self.need(found)

    async def resume(self, *, has_lost_data: bool) -> None:
        """Open the lines again after a connection came back; those that TWS kept go on."""
        if not has_lost_data:
            return
        for number in tuple(self._lines):
            self._end(number)
        self._named.clear()
        self._reported.clear()
        if self._wanted:
            await self._fill()

    def close(self) -> None:
        """Turn no more lines."""
        if self._task is not None:
            self._task.cancel()

    def _first(self) -> list[InstrumentId]:
        """Return the wanted instruments that keep a line: underlyings, what is held or ordered, or halted."""
        wanted = set(self._wanted)
        base = [number for number in self._wanted if not self._instruments[number].is_option]
        others = dict.fromkeys((*self._in_use(), *self._halts))
        return [*base, *(each for each in others if each in wanted and each not in base)][: self._most]

    async def _fill(self) -> None:
        """Open lines while there are any: first what keeps one, then the rest in its order."""
        async with self._opening:
            if not self._connection.ib.isConnected():
                return
            if self._type != LIVE:
                self._connection.ib.reqMarketDataType(self._type)
            self._last_at = asyncio.get_running_loop().time()
            first = self._first()
            for count, number in enumerate(dict.fromkeys((*first, *self._wanted)), 1):
                if len(self._lines) >= self._most or not self._connection.ib.isConnected():
                    break
                if number not in self._lines:
                    self._open(number)
                    if count % _OPENS_A_SECOND == 0:
                        await asyncio.sleep(1.0)
            self._turn = deque(number for number in self._wanted if number not in self._lines)

    def _open(self, number: InstrumentId) -> None:
        contract = self._contracts.of(number)
        ticks = _OPTION_TICKS if self._instruments[number].is_option else ""
        # the library would show what an earlier line of the contract brought as this one's
        self._connection.ib.wrapper.tickers.pop(hash(contract), None)
        ticker = self._connection.ib.reqMktData(contract, ticks)
        opened_ns = self._publisher.timestamp()
        line = _QuoteLine(number, ticker, asyncio.get_running_loop().time(), opened_ns)
        self._lines[number] = self._by_ticker[id(ticker)] = line

    def _end(self, number: InstrumentId) -> None:
        line = self._lines.pop(number)
        self._by_ticker.pop(id(line.ticker), None)
        if self._connection.ib.isConnected():
            self._connection.ib.cancelMktData(self._contracts.of(number))

    def _open_again(self, number: InstrumentId) -> None:
        line = self._lines[number]
        before = line.sides or line.before
        self._publisher.count("lines_asked_again")
        self._end(number)
        self._open(number)
        self._lines[number].before = before

    def need(self, numbers: Iterable[InstrumentId]) -> None:
        """Give a line at once to wanted instruments that an order is about."""
        for number in numbers:
            is_waiting = number in self._turn and self._connection.ib.isConnected()
            if is_waiting and self._make_room():
                self._turn.remove(number)
                self._open(number)

    def _make_room(self) -> bool:
        """End the oldest line of the chain when all are taken; return whether a line is free."""
        if len(self._lines) < self._most:
            return True
        kept = set(self._first())
        oldest = next((number for number in self._lines if number not in kept), None)
        if oldest is None:
            return False
        self._end(oldest)
        self._turn.append(oldest)
        return True

    async def _take_turns(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            if not self._connection.ib.isConnected():
                continue
            self._ask_again(loop.time())
            await self._name_again(loop.time())
            if not self._turn or self._opening.locked():
                continue
            kept = set(self._first())
            self.need([number for number in self._turn if number in kept])
            due = [
                line.number
                for line in self._lines.values()
                if line.number not in kept and loop.time() - line.since >= self._turn_seconds
            ]
            for number in due[: min(_CHANGES_A_SECOND, len(self._turn))]:
                self._end(number)
                self._turn.append(number)
                self._open(self._turn.popleft())

    def _ask_again(self, now: float) -> None:
        """Ask again for lines that brought nothing: a competing session may be over, or a farm back."""
        if now >= self._look_at:
            late_at, self._look_at = now - 0.5 * self._turn_seconds, math.inf
            for line in self._lines.values():
                if line.again_at is None and max(line.since, line.quoted_at) < late_at:
                    line.again_at = now
        due = [line for line in self._lines.values() if line.again_at is not None and now >= line.again_at]
        kept = set(self._first()) if due else ()
        due.sort(key=lambda line: line.number not in kept)
        for line in due[:_CHANGES_A_SECOND]:
            self._open_again(line.number)

    def _doubt_lines(self) -> None:
        """Note that a farm of quotes is back: TWS may have dropped its lines.

        A line that brings nothing in the second half of a turn's time from now is asked for again.
        """
        self._look_at = asyncio.get_running_loop().time() + self._turn_seconds

    def renew(self, numbers: Iterable[InstrumentId]) -> None:
        """Open the lines of instruments again, but those that TWS refuses: they are asked for in time."""
        if self._connection.is_up:
            for number in numbers:
                line = self._lines.get(number)
                if line is not None and not line.is_refused:
                    self._open_again(number)
            self.need(numbers)

    # ticks ------------------------------------------------------------------------------------------

    def _on_tickers(self, tickers: Iterable[Ticker]) -> None:
        """Publish what a packet changed, in the order of the instruments: the library gives a set."""
        self._last_at = asyncio.get_running_loop().time()
        lines = [line for ticker in tickers if (line := self._by_ticker.get(id(ticker))) is not None]
        events: list[Event] = []
        for line in sorted(lines, key=lambda each: each.number):
            events += self._status_by_trade(line)
            quote = self.quote_of(line.number, line.ticker)
            if quote is not None:
                line.is_refused, line.again_at = False, None
                line.sides = quote.bid, quote.ask, quote.bid_size, quote.ask_size
                if line.sides != line.before:
                    line.before = None
                    line.quoted_ns, line.quoted_at = quote.ts_recv_ns, self._last_at
                    events.append(quote)
            events += self._interest(line)
            if line.ticker.marketDataType != line.kind:
                line.kind = line.ticker.marketDataType
                self._name_kind(line)
        self._publisher.publish(events)

    def quote_of(self, number: InstrumentId, ticker: Ticker, made_ns: int = 0) -> QuoteEvent | None:
        """Return bid and ask; a side that TWS gives as -1, or not yet, is empty. An index has its value.

        ``made_ns`` is when its line last brought anything, UTC nanoseconds; 0: now.
        """
        sides = []
        for price, size in ((ticker.bid, ticker.bidSize), (ticker.ask, ticker.askSize)):
            is_there = math.isfinite(price) and price > 0.0
            sides.append((price, size if math.isfinite(size) else 0.0) if is_there else (0.0, 0.0))
        (bid, bid_size), (ask, ask_size) = sides
        if not bid and not ask:
            if not self._instruments[number].is_index or not ticker.last > 0.0:
                return None
            bid = ask = ticker.last
        now_ns = self._publisher.timestamp()  # TWS states no time of a quote
        at_ns = made_ns or now_ns
        if ticker.marketDataType == _DELAYED:
            at_ns -= _DELAY_NS
        elif ticker.marketDataType in (_FROZEN, _DELAYED_FROZEN):
            at_ns = _frozen_ns(now_ns)
        if self._halts:
            at_ns = min([at_ns, *self._halted_quotes_ns(number)])
        return QuoteEvent(number, at_ns, now_ns, bid, ask, bid_size, ask_size)

    # trading halts ----------------------------------------------------------------------------------

    def _on_generic(self, request_id: int, kind: int, value: float) -> None:
        """Tell the desk of a halt, of its end, and once of a contract that is not halted."""
        line = self._by_ticker.get(id(self._connection.ib.wrapper.reqId2Ticker.get(request_id)))
        if kind not in _STATUS_TICKS or line is None or not value >= 0.0:
            return
        number, is_halted = line.number, value > 0.0
        is_repeated, line.is_halted = line.is_halted is is_halted, is_halted
        is_news = is_halted or number in self._halts or number not in self._reported
        if is_repeated or not is_news:
            return
        now_ns = self._publisher.timestamp()
        at_ns = now_ns - _STATUS_TICKS[kind]
        if is_halted and number not in self._halts:
            # of a line that opens in a halt nothing says since when, nor when its quote was made
            self._halts[number] = _KnownHalt(now_ns, at_ns if line.quoted_ns else at_ns - _DELAY_NS)
        reason = _HALTS.get(int(value), f"halt {value:g}") if is_halted else ""
        self._publisher.publish([self._noted(TradingHalt(number, at_ns, now_ns, is_halted, reason))])

    def _noted(self, status: TradingHalt) -> TradingHalt:
        self._reported.add(status.instrument_id)
        if not status.is_halted:
            self._halts.pop(status.instrument_id, None)
        return status

    def _status_by_trade(self, line: _QuoteLine) -> list[Event]:
        """Return the end of a halt that a trade shows; also of one that an earlier connection named."""
        halt, traded = self._halts.get(line.number), line.ticker.lastTimestamp
        if traded is None or (halt is None and line.number in self._reported):
            return []
        traded_ns, since_ns = to_ns(traded), line.opened_ns if halt is None else halt.named_ns
        if traded_ns <= since_ns + _TRADES_AGAIN_NS:
            return []
        now_ns = self._publisher.timestamp()
        return [self._noted(TradingHalt(line.number, traded_ns, now_ns, is_halted=False, reason="it trades"))]

    def _halted_quotes_ns(self, number: InstrumentId) -> list[int]:
        """Return when the quotes of a halt of an instrument or of an option's underlying were made."""
        item = self._instruments[number]
        halted = [number, self._instruments.find(item.underlying) if item.is_option else None]
        return [self._halts[each].quoted_ns for each in halted if each is not None and each in self._halts]

    # open interest and Greeks -----------------------------------------------------------------------

    def _interest(self, line: _QuoteLine) -> list[Event]:
        """Return the open interest of an option when it is new."""
        item, ticker = self._instruments[line.number], line.ticker
        if not item.is_option:
            return []
        found = ticker.callOpenInterest if item.is_call else ticker.putOpenInterest
        if not is_count(found) or int(found) == line.interest:
            return []
        line.interest, now_ns = int(found), self._publisher.timestamp()
        return [OpenInterestEvent(line.number, now_ns, now_ns, line.interest)]

    def model_greeks(self, number: InstrumentId) -> OptionComputation | None:
        """Return TWS's own volatility and Greeks of an option; None before it has sent them."""
        line = self._lines.get(number)
        return None if line is None else line.ticker.modelGreeks

    # data that are not live -------------------------------------------------------------------------

    def _name_kind(self, line: _QuoteLine) -> None:
        name = f"{_TYPE_NAMES.get(line.kind, str(line.kind))}_data"
        self._publisher.count(name)
        if name not in self._named:
            self._named.add(name)
            symbol = self._instruments[line.number].symbol
            if line.kind == LIVE:
                self._publisher.notice(NoticeKind.CONNECTED, "quotes", name, symbol)
                self._named = {name}
            else:
                detail = f"{symbol}: quotes are old, and are not traded on"
                self._publisher.notice(NoticeKind.LIMITED, "quotes", name, detail)

    def _on_error(self, request_id: int, code: int, text: str, contract: object) -> None:
        del contract
        ticker = self._connection.ib.wrapper.reqId2Ticker.get(request_id)
        line, name = self._by_ticker.get(id(ticker)), codes.name_of(code)
        if code not in codes.NO_DATA and code != codes.DELAYED:
            if line is not None and not codes.is_remark(code):
                self._refuse_line(line, code, text)
            return
        self._publisher.count(name)
        if line is not None and code in codes.NO_DATA:
            line.is_refused, line.again_at = True, asyncio.get_running_loop().time() + _RETRY_SECONDS
        if name not in self._named:
            self._named.add(name)
            symbol = "" if line is None else f"{self._instruments[line.number].symbol}: "
            self._publisher.notice(NoticeKind.LIMITED, "quotes", name, symbol + text)

    def _refuse_line(self, line: _QuoteLine, code: int, text: str) -> None:
        """Tell of a line that TWS refuses; a contract that it does not know any more is named anew."""
        number, symbol = line.number, self._instruments[line.number].symbol
        if code in codes.NAMES:  # the connection tells what no table lists
            self._publisher.tell("quotes", codes.name_of(code), f"{symbol}: {code} {text}")
        line.is_refused, line.again_at = True, asyncio.get_running_loop().time() + _RETRY_SECONDS
        if code == codes.UNKNOWN_CONTRACT:
            self._end(number)
            self._contracts.forget(number)
            self._wanted = tuple(each for each in self._wanted if each != number)
            self._unnamed.append(number)

    # by query ---------------------------------------------------------------------------------------

    async def quotes(self, numbers: Sequence[InstrumentId]) -> tuple[QuoteEvent, ...]:
        """Return the latest quote of each instrument that has one: of its line, else by a snapshot."""
        found: dict[InstrumentId, QuoteEvent] = {}
        for number in numbers:
            line = self._lines.get(number)
            quote = None if line is None else self.quote_of(number, line.ticker, line.quoted_ns)
            if quote is not None:
                found[number] = quote
        missing = [number for number in numbers if number not in found]
        ib, free = self._connection.ib, max(self._most - len(self._lines), 1)
        for begin in range(0, len(missing), free):
            some = await self._known_among(missing[begin : begin + free])
            contracts = [self._contracts.of(number) for number in some]
            tickers = await self._connection.question(partial(ib.reqTickersAsync, *contracts), "quotes")
            for number, ticker in zip(some, tickers, strict=True):
                quote = self.quote_of(number, ticker)
                if quote is not None:
                    found[number] = quote
        return tuple(found[number] for number in numbers if number in found)

    @property
    def silent_seconds(self) -> float:
        """Seconds since the last tick; 0 without lines."""
        return max(0.0, asyncio.get_running_loop().time() - self._last_at) if self._lines else 0.0

    def counts(self) -> dict[str, int]:
        """Return the lines, and how many of them bring delayed, frozen or no data."""
        lines = self._lines.values()
        return {
            "lines": len(lines),
            "lines_waiting": len(self._turn),
            "lines_delayed": sum(line.kind in (_DELAYED, _DELAYED_FROZEN) for line in lines),
            "lines_frozen": sum(line.kind in (_FROZEN, _DELAYED_FROZEN) for line in lines),
            "lines_without_data": sum(line.is_refused for line in lines),
            "lines_halted": sum(line.number in self._halts for line in lines),
            "lines_with_greeks": sum(line.ticker.modelGreeks is not None for line in lines),
        }
