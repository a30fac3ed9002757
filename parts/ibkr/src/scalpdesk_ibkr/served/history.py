"""Historical bars over the TWS socket, and the pace at which they may be asked for."""

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import time, timedelta

from scalpdesk.core.units import DAY_NS, DAY_SECONDS, NANOS_PER_SECOND, InstrumentId
from scalpdesk.exchange.market import Published, SimulatedMarket
from scalpdesk.exchange.source import Bar, bar_start, between, combine
from scalpdesk.instruments.sessions import FIRST_DAY, new_york_ns, to_new_york
from scalpdesk_ibkr import messages
from scalpdesk_ibkr.served.contracts import ContractBook, instant_of, read_query, time_text
from scalpdesk_ibkr.served.wire import Field, Message, Reader, TwsError, size_of

_WIDTHS = {
    **{f"{count} min{'s' * (count > 1)}": 60 * count for count in (1, 2, 3, 5, 10, 15, 20, 30)},
    **{f"{count} hour{'s' * (count > 1)}": 3_600 * count for count in (1, 2, 3, 4, 8)},
    "1 day": DAY_SECONDS,
}
"""Seconds of each size of bars that is served."""
TRADED = frozenset({"TRADES", "ADJUSTED_LAST", "AGGTRADES"})
_QUOTED = frozenset({"MIDPOINT", "BID", "ASK", "BID_ASK"})
"""Kinds of bars with and without a volume; both are made of the market's one series."""
_CALENDAR_DAYS = {"W": 7, "M": 30, "Y": 365}
_MOST_DAYS = 3_650
_DURATION = re.compile(r"(\d{1,6}) ([SDWMY])")
_NO_DATA = "Historical Market Data Service error message:HMDS query returned no data: "
_TOO_FAST = "Historical Market Data Service error message:Historical data request pacing violation"
WINDOWS = ((600 * NANOS_PER_SECOND, 60, False), (2 * NANOS_PER_SECOND, 5, True))
"""Length in wall time (nanoseconds), most requests in it, and whether of one contract and kind."""


@dataclass(slots=True)
class _BarLine:
    """Bars that are kept up to date."""

    number: InstrumentId
    seconds: int
    as_text: bool
    is_traded: bool
    sent: Message = ()


class HistoricalBars:
    """Historical bars of one client.

    ``now_ns``: Returns the wall time, UTC nanoseconds; None: requests are not paced.
    """

    def __init__(
        self,
        version: int,
        world: SimulatedMarket,
        contracts: ContractBook,
        now_ns: Callable[[], int] | None,
    ) -> None:
        self._version, self._world, self._contracts, self._now_ns = version, world, contracts, now_ns
        self._asked: deque[tuple[int, tuple[InstrumentId, str]]] = deque()
        """Wall time, contract and kind of each request."""
        self.lines: dict[int, _BarLine] = {}
        """Bars that are kept up to date, by request id."""

    def answer(self, request_id: int, reader: Reader) -> Iterator[Message]:
        """Yield the bars that a request asks for (20)."""
        query = read_query(reader)
        if query.kind == messages.COMBO:
            raise TwsError(162, f"{_NO_DATA}combos have none")
        number = self._contracts.only(query)
        reader.text()
        end, size, duration = reader.texts(3)
        hours_only, shown, as_text = reader.flag("useRTH"), reader.text(), reader.whole("formatDate") != 2
        keeps_up = reader.flag("keepUpToDate")
        if request_id in self.lines:
            raise TwsError(322, "Error processing request:-'bars' : Duplicate ticker id")
        self._pace((number, shown))
        symbol = self._world.ledger.instruments[number].symbol
        if size not in _WIDTHS or shown not in TRADED | _QUOTED:
            raise TwsError(162, f"{_NO_DATA}{symbol} {size} {shown}")
        now_ns = self._world.now_ns
        end_ns = min(_end_of(end) if end else now_ns, now_ns) + (not end)  # the bar that begins now counts
        start_ns, seconds = self._start(duration, end_ns), _WIDTHS[size]
        bars = self._series(number, seconds, start_ns, end_ns - 1)
        if hours_only and seconds < DAY_SECONDS:
            bars = self._within_hours(bars)
        if not bars:
            raise TwsError(162, f"{_NO_DATA}{symbol} {duration} before {time_text(end_ns)}")
        line = _BarLine(number, seconds, as_text, shown in TRADED)
        rows = [field for bar in bars for field in self._row(line, bar)]
        yield 17, request_id, time_text(start_ns), time_text(end_ns), len(bars), *rows
        if keeps_up:
            self.lines[request_id] = line

    def head(self, request_id: int, reader: Reader) -> Message:
        """Return the time of the earliest bar of a contract (88)."""
        number = self._contracts.only(read_query(reader))
        reader.texts(3)
        as_text, now_ns = reader.whole("formatDate") != 2, self._world.now_ns
        for seconds in (DAY_SECONDS, 60):
            bars = self._series(number, seconds, 0, now_ns)
            if bars:
                return 88, request_id, _time(bars[0].start_ns, as_text=as_text)
        raise TwsError(162, f"{_NO_DATA}{self._world.ledger.instruments[number].symbol}")

    def cancel(self, request_id: int) -> None:
        """End the update of bars (25)."""
        if self.lines.pop(request_id, None) is None:
            raise TwsError(366, f"No historical data query found for ticker id:{request_id}")

    def updates_of(self, event: Published) -> Iterator[Message]:
        """Yield the newest bar (90) of the lines of an event's instrument, where it has changed."""
        for request_id, line in self.lines.items():
            if line.number != event.instrument_id:
                continue
            minutes = self._world.bars.minutes(line.number)
            start_ns = bar_start(self._world.now_ns, line.seconds)
            latest = combine(
                [bar for bar in minutes[-line.seconds // 60 :] if bar.start_ns >= start_ns], line.seconds
            )
            if latest:
                when, opened, high, low, close, volume, mean, count = self._row(line, latest[-1])
                message = 90, request_id, count, when, opened, close, high, low, mean, volume
                if message != line.sent:
                    line.sent = message
                    yield message

    def _pace(self, wanted: tuple[InstrumentId, str]) -> None:
        """Refuse a request that comes too fast."""
        if self._now_ns is None:
            return
        now_ns = self._now_ns()
        while self._asked and self._asked[0][0] <= now_ns - WINDOWS[0][0]:
            self._asked.popleft()
        for length_ns, most, of_one in WINDOWS:
            count = sum(
                at_ns > now_ns - length_ns and (not of_one or asked == wanted) for at_ns, asked in self._asked
            )
            if count >= most:
                raise TwsError(162, _TOO_FAST)
        self._asked.append((now_ns, wanted))

    def _start(self, duration: str, end_ns: int) -> int:
        """Return the start of a span that ends at an instant; days are trading days."""
        found = _DURATION.fullmatch(duration)
        if found is None:
            raise TwsError(
                321, f"Error validating request:-'{duration}' : Historical data duration is invalid"
            )
        count, unit = int(found[1]), found[2]
        if unit == "S":
            return end_ns - count * NANOS_PER_SECOND
        if unit in _CALENDAR_DAYS:
            return end_ns - min(count * _CALENDAR_DAYS[unit], _MOST_DAYS) * DAY_NS
        last = to_new_york(end_ns - 1).date()
        first = max(last - timedelta(days=min(2 * count + 10, _MOST_DAYS)), FIRST_DAY)
        days = [each for each in self._world.source.hours.calendar(first, last) if each.open_ns < end_ns]
        return bar_start(days[-count:][0].open_ns, DAY_SECONDS) if days else end_ns - count * DAY_NS

    def _series(self, number: InstrumentId, seconds: int, start_ns: int, end_ns: int) -> list[Bar]:
        """Return bars of an instrument that begin within a span: of before the market, then its own."""
        world = self._world
        symbol, own = world.ledger.instruments[number].symbol, world.bars.minutes(number)
        before = world.source.history(symbol, seconds, start_ns, end_ns)
        if not before and seconds > 60:
            before = world.source.history(symbol, 60, start_ns, end_ns)
        return between(combine([*before, *own], seconds), start_ns, end_ns)

    def _within_hours(self, bars: list[Bar]) -> list[Bar]:
        """Return the bars that overlap a session; the first of one begins with it."""
        if not bars:
            return bars
        first, last = (to_new_york(bar.start_ns).date() for bar in (bars[0], bars[-1]))
        sessions = {session.day: session for session in self._world.source.hours.calendar(first, last)}
        kept = []
        for bar in bars:
            session = sessions.get(to_new_york(bar.start_ns).date())
            ends_ns = bar.start_ns + bar.seconds * NANOS_PER_SECOND
            if session is not None and ends_ns > session.open_ns and bar.start_ns < session.close_ns:
                kept.append(replace(bar, start_ns=max(bar.start_ns, session.open_ns)))
        return kept

    def _row(self, line: _BarLine, bar: Bar) -> tuple[Field, ...]:
        is_daily = line.seconds >= DAY_SECONDS
        when = (
            f"{to_new_york(bar.start_ns):%Y%m%d}" if is_daily else _time(bar.start_ns, as_text=line.as_text)
        )
        prices = (round(price, 6) for price in (bar.open, bar.high, bar.low, bar.close))
        if not line.is_traded:
            return when, *prices, -1, -1, -1
        return when, *prices, size_of(bar.volume, self._version), round(bar.vwap, 6), bar.trades


def _time(ts_ns: int, *, as_text: bool) -> str:
    return time_text(ts_ns) if as_text else str(ts_ns // NANOS_PER_SECOND)


def _end_of(text: str) -> int:
    """Return the instant at which a request's bars end."""
    found = instant_of(text)
    if found is None:
        raise TwsError(10314, f"End Date/Time: The date, time, or time-zone entered is invalid: {text}")
    return max(found, new_york_ns(FIRST_DAY + timedelta(days=1), time()))
