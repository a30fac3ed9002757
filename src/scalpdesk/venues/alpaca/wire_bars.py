"""Bars of the past from Alpaca's data interface. Pure: no I/O."""

import math
from datetime import date, timedelta
from urllib.parse import urlencode

import msgspec

from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.venues.alpaca.fields import Malformed, decode, ns_of_text
from scalpdesk.venues.alpaca.wire_requests import Request
from scalpdesk.venues.history import DailyBar, MinuteBar

BARS_PER_PAGE = 10_000
Figures = tuple[float, float, float, float, float]
"""Open, high, low, close, volume."""


class _Bar(msgspec.Struct):
    t: str
    o: float
    h: float
    l: float  # noqa: E741 - the venue's own letter
    c: float
    v: float = 0.0


class _Page(msgspec.Struct):
    bars: dict[str, list[msgspec.Raw]] | None = None
    next_page_token: str | None = None


_PAGE = msgspec.json.Decoder(_Page).decode
_BAR = msgspec.json.Decoder(_Bar).decode


def daily_bars_request(
    symbol: str, first: date, last: date, feed: str, page_token: str | None = None
) -> Request:
    """Return the request for one page of the daily bars from ``first`` to ``last``, oldest first."""
    return _request(symbol, "1Day", (first, last), feed, page_token)


def minute_bars_request(
    symbol: str, first: date, last: date, feed: str, page_token: str | None = None
) -> Request:
    """Return the request for one page of the minutes of the days ``first`` to ``last``, oldest first."""
    return _request(symbol, "1Min", (first, last + timedelta(days=1)), feed, page_token)


def _request(
    symbol: str, timeframe: str, span: tuple[date, date], feed: str, page_token: str | None
) -> Request:
    query = {
        "symbols": symbol,
        "timeframe": timeframe,
        "start": span[0].isoformat(),
        "end": span[1].isoformat(),
        "adjustment": "split",
        "feed": feed,
        "limit": str(BARS_PER_PAGE),
        "sort": "asc",
    }
    if page_token:
        query["page_token"] = page_token
    return Request("GET", f"/v2/stocks/bars?{urlencode(query)}")


def read_daily_bars(raw: bytes, symbol: str) -> tuple[list[DailyBar], str | None]:
    """Return the bars of a page and the token of the next one (None: the last).

    Raises
    ------
    Malformed
        When a bar cannot be believed: a forecast with a hole in it is worse than none.
    """
    rows, token = _read(raw, symbol)
    return [DailyBar(to_new_york(start_ns).date(), *figures) for start_ns, figures in rows], token


def read_minute_bars(raw: bytes, symbol: str) -> tuple[list[MinuteBar], str | None]:
    """Return the minutes of a page and the token of the next one (None: the last).

    Raises
    ------
    Malformed
        When a bar cannot be believed.
    """
    rows, token = _read(raw, symbol)
    return [MinuteBar(start_ns, *figures) for start_ns, figures in rows], token


def _read(raw: bytes, symbol: str) -> tuple[list[tuple[int, Figures]], str | None]:
    """Return beginning and figures of each bar of a page, and the token of the next one."""
    page = decode(_PAGE, raw, "malformed_bars")
    found: list[tuple[int, Figures]] = []
    for part in (page.bars or {}).get(symbol, ()):
        one = decode(_BAR, bytes(part), "malformed_bar")
        prices = (one.o, one.h, one.l, one.c)
        if not all(math.isfinite(price) and price > 0 for price in prices) or not (
            one.l <= min(one.o, one.c) <= max(one.o, one.c) <= one.h
        ):
            raise Malformed("bad_bar", f"{one.t} {prices}")
        found.append((ns_of_text(one.t), (*prices, max(one.v, 0.0))))
    return found, page.next_page_token or None
