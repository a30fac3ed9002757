"""Bars from TWS: the days and minutes of the sessions.

TWS takes a span back from an end. A request of one-minute bars spans at most some days, and too many requests
in a short time are refused as a pacing violation (162): each of them then waits for its turn.
"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from ib_async import BarData

from scalpdesk.base import InstrumentId, to_new_york, to_ns
from scalpdesk.core.backoff import BackOff
from scalpdesk.venues import DailyBar, VenueMinute
from scalpdesk_ibkr.connection import TwsConnection, TwsRefusalError
from scalpdesk_ibkr.contracts import Contracts

_MOST_YEARS = 15
"""Years of daily bars that are asked for at most."""
_MINUTE_DAYS = 5
"""Days of one-minute bars in one request."""
_MOST_MINUTE_DAYS = 180
"""The broker keeps minutes of about half a year without a data package."""
_NO_HISTORY, _PACING = (162, 366), "pacing"
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, _PACED_TRIES = 2.0, 15.0, 4
_FORM_UTC = 2
"""Times in seconds since 1970."""


class History:
    """Asks for bars."""

    def __init__(self, connection: TwsConnection, contracts: Contracts) -> None:
        self._connection, self._contracts = connection, contracts

    async def daily(self, number: InstrumentId, first: date, last: date, now_ns: int) -> tuple[DailyBar, ...]:
        """Return the daily bars that end from ``first`` to ``last``, oldest first; adjusted for splits."""
        last = min(last, to_new_york(now_ns).date())
        if first > last:
            return ()
        days = (last - first).days + 1
        span = f"{days} D" if days <= 365 else f"{min(-(-days // 365), _MOST_YEARS)} Y"
        bars = await self._ask(number, last, span, "1 day")
        found = {_day_of(bar): bar for bar in bars}
        return tuple(
            DailyBar(day, bar.open, bar.high, bar.low, bar.close, float(bar.volume))
            for day, bar in sorted(found.items())
            if first <= day <= last
        )

    async def minutes(
        self, number: InstrumentId, first: date, last: date, now_ns: int
    ) -> tuple[VenueMinute, ...]:
        """Return the minutes of the sessions of the days ``first`` to ``last``, oldest first."""
        last = min(last, to_new_york(now_ns).date())
        first = max(first, last - timedelta(days=_MOST_MINUTE_DAYS))
        found: dict[int, VenueMinute] = {}
        for day in _ends(first, last):
            for bar in await self._ask(number, day, f"{_MINUTE_DAYS} D", "1 min"):
                if isinstance(bar.date, datetime) and first <= to_new_york(to_ns(bar.date)).date() <= last:
                    start_ns = to_ns(bar.date)
                    figures = bar.open, bar.high, bar.low, bar.close, float(bar.volume)
                    found[start_ns] = VenueMinute(start_ns, *figures)
        return tuple(found[start_ns] for start_ns in sorted(found))

    async def _ask(self, number: InstrumentId, last: date, span: str, size: str) -> list[BarData]:
        """Return the bars of a span that ends with a day; an empty list where TWS has no bars.

        Raises RetryError when TWS refuses, or does not answer.
        """
        contract = await self._contracts.named(number)
        end = datetime.combine(last + timedelta(days=1), time(0), UTC)
        client, pauses = self._connection.client, BackOff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)

        def send(request_id: int) -> None:
            client.reqHistoricalData(
                request_id,
                contract,
                f"{end:%Y%m%d-%H:%M:%S}",
                span,
                size,
                "TRADES",
                True,
                _FORM_UTC,
                False,
                [],
            )

        while True:
            try:
                bars: list[Any] = await self._connection.request(send, "bars")
            except TwsRefusalError as refused:
                is_paced = _PACING in str(refused.value).lower()
                if is_paced and pauses.failures < _PACED_TRIES:
                    await asyncio.sleep(pauses.pause())
                    continue
                if refused.code in _NO_HISTORY and not is_paced:
                    return []
                raise
            else:
                return bars


def _day_of(bar: BarData) -> date:
    return to_new_york(to_ns(bar.date)).date() if isinstance(bar.date, datetime) else bar.date


def _ends(first: date, last: date) -> Iterator[date]:
    """Yield the last days of the requests that cover the days ``first`` to ``last``, oldest first."""
    day = last
    ends = []
    while day >= first:
        ends.append(day)
        day -= timedelta(days=_MINUTE_DAYS)
    yield from reversed(ends)
