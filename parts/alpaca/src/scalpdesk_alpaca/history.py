"""History and reference data of Alpaca through its own client library (extra ``alpaca``).

Thin on purpose: the library knows pages and parameters, this module checks each line like any other
message from the wire and gives values of the desk. It blocks; nothing of a running desk calls it.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import Any, Literal

import msgspec

from scalpdesk.core.errors import ArgumentError, ConfigError, DataError, RetryError, ScalpdeskError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.datasets.chain_snapshots import OptionSnapshot, ShareQuote
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.marketdata.tape import CashDividend
from scalpdesk.venues import RequestBudget, Revealable, Urgency
from scalpdesk_alpaca.account_messages import read_contracts
from scalpdesk_alpaca.fields import Malformed, day_of, not_negative, ns_of
from scalpdesk_alpaca.messages import BarRow, DividendRow, QuoteRow

BAR_SECONDS = {"minute": 60, "hour": 3_600}
"""Lengths of bars that can be asked for; a day's bar has the length of its session."""


class HistoricalBar(msgspec.Struct, frozen=True):
    """One bar of trades; prices in the quote currency per unit, volume in shares or contracts."""

    symbol: str
    ts_end_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class _Greeks(msgspec.Struct):
    delta: float | None = None
    gamma: float | None = None
    theta: float | None = None
    vega: float | None = None
    rho: float | None = None


class _LatestQuote(QuoteRow, frozen=True):
    bp: float = 0.0
    ap: float = 0.0

    def __post_init__(self) -> None:
        ns_of(self.t)
        if not all(0.0 <= figure < math.inf for figure in self.figures().values()):
            raise Malformed("bad_quote", str(self.figures()))

    def figures(self) -> dict[str, float]:
        """Return prices and sizes; a price of 0 is no such side, sizes are shares or contracts."""
        return {"bid": self.bp, "ask": self.ap, "bid_size": self.bs, "ask_size": self.as_}


class _Snapshot(msgspec.Struct):
    quote: _LatestQuote | None = msgspec.field(default=None, name="latestQuote")
    implied_volatility: float | None = msgspec.field(default=None, name="impliedVolatility")
    greeks: _Greeks | None = None


_TRADING_URLS = ("https://paper-api.alpaca.markets", "https://api.alpaca.markets")
"""Hosts of the trading interface; each knows the keys of its own accounts alone."""
_PAGE_OF_CHAIN, _PAGE_OF_BARS, _PAGE_OF_CONTRACTS = 1_000, 10_000, 10_000
_SYMBOLS_A_REQUEST = 100
"""Options asked for at once."""


class AlpacaHistory:
    """Downloads with the user's keys.

    ``key``, ``secret``: Reveal themselves only to the client library.
    ``base_url``: Another address than the venue's data host, for a simulated exchange.
    ``trading_urls``: Hosts of the trading interface; the first that knows the keys is asked.
    ``requests_per_minute``: Limit of the data host; pages of chains, option bars and contracts are asked for
    within it.
    ``now_ns``, ``sleep``: Clock that never runs backwards, in nanoseconds, and what waits for so many
    seconds.

    Raises ConfigError when the extra is not installed.
    """

    def __init__(
        self,
        key: Revealable,
        secret: Revealable,
        *,
        base_url: str | None = None,
        trading_urls: Sequence[str] = (),
        requests_per_minute: int = 200,
        now_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        try:
            with warnings.catch_warnings():
                # the library's own talk with its websocket package, not our caller's concern
                warnings.simplefilter("ignore", DeprecationWarning)
                from alpaca.data.historical import (  # noqa: PLC0415 - an extra, and slow to import
                    OptionHistoricalDataClient,
                    StockHistoricalDataClient,
                )
                from alpaca.data.historical.corporate_actions import (  # noqa: PLC0415 - the same
                    CorporateActionsClient,
                )
                from alpaca.trading.client import TradingClient  # noqa: PLC0415 - the same
        except ModuleNotFoundError as missing:
            raise ConfigError(
                "downloads from Alpaca need a package that is not installed",
                where=missing.name,
                fix='pip install "scalpdesk[alpaca]"',
            ) from missing
        keys = (key.reveal(), secret.reveal())
        self._stocks = StockHistoricalDataClient(*keys, raw_data=True, url_override=base_url)
        self._options = OptionHistoricalDataClient(*keys, raw_data=True, url_override=base_url)
        self._actions = CorporateActionsClient(*keys, raw_data=True, url_override=base_url)
        self._trading = [
            TradingClient(*keys, raw_data=True, url_override=url)
            for url in trading_urls or (_TRADING_URLS if base_url is None else (base_url,))
        ]
        self._budget = RequestBudget(requests_per_minute)
        self._now_ns, self._sleep = now_ns, sleep

    def stock_bars(
        self, symbols: Sequence[str], start: datetime, end: datetime, *, length: str = "minute"
    ) -> Iterator[HistoricalBar]:
        """Yield the bars of shares, symbol by symbol, oldest first.

        Raises ArgumentError when the length is not ``minute`` or ``hour``, or a bound has no time zone.
        Raises DataError when a bar cannot be believed. Raises RetryError when the venue does not answer.
        """
        from alpaca.data.requests import StockBarsRequest  # noqa: PLC0415 - an extra

        asked = StockBarsRequest(**self._span(symbols, start, end, length))
        return _bars(_answer(lambda: self._stocks.get_stock_bars(asked)), BAR_SECONDS[length])

    def option_bars(
        self, symbols: Sequence[str], start: datetime, end: datetime, *, length: str = "minute"
    ) -> Iterator[HistoricalBar]:
        """Yield the bars of options, symbol by symbol, oldest first; raises as :meth:`stock_bars`."""
        from alpaca.data.requests import OptionBarsRequest  # noqa: PLC0415 - an extra

        asked = OptionBarsRequest(**self._span(symbols, start, end, length))
        return _bars(_answer(lambda: self._options.get_option_bars(asked)), BAR_SECONDS[length])

    def pages_of_option_bars(
        self, symbols: Sequence[str], start: datetime, end: datetime, *, length: str = "minute"
    ) -> Iterator[HistoricalBar]:
        """Yield the bars of any number of options page by page, within the limit of requests.

        Raises as :meth:`stock_bars`.
        """
        frame = {"minute": "1Min", "hour": "1Hour"}[length]
        for first in range(0, len(symbols), _SYMBOLS_A_REQUEST):
            asked = {
                "symbols": ",".join(symbols[first : first + _SYMBOLS_A_REQUEST]),
                "timeframe": frame,
                "start": start.isoformat(),
                "end": end.isoformat(),
                "limit": _PAGE_OF_BARS,
            }
            for page in self._pages(self._options, "/options/bars", asked):
                yield from _bars(_table(page, "bars"), BAR_SECONDS[length])

    def contracts(self, underlying: str, first: date, last: date) -> list[OptionContract]:
        """Return the options on an underlying that expire from ``first`` to ``last``, expired options too.

        A contract that cannot be believed is left out. Raises DataError when a page cannot be believed.
        Raises RetryError when the venue does not answer, or no trading host knows the keys.
        """
        found: dict[str, OptionContract] = {}
        for status in ("active", "inactive"):
            asked = {
                "underlying_symbols": underlying,
                "status": status,
                "expiration_date_gte": first.isoformat(),
                "expiration_date_lte": last.isoformat(),
                "limit": _PAGE_OF_CONTRACTS,
            }
            for page in self._trading_pages("/options/contracts", asked):
                try:
                    listed, _, _ = read_contracts(msgspec.json.encode(page))
                except Malformed as error:
                    raise DataError("a page of contracts cannot be believed", value=str(error)) from None
                found |= {each.contract.symbol: each.contract for each in listed}
        return sorted(found.values(), key=lambda each: each.symbol)

    def chain(
        self,
        underlying: str,
        *,
        feed: Literal["indicative", "opra"] = "indicative",
        last_expiry: date | None = None,
        strikes: tuple[float, float] | None = None,
        page_lines: int = _PAGE_OF_CHAIN,
    ) -> list[OptionSnapshot]:
        """Return a snapshot of each option on an underlying that has a quote and a name, page by page.

        An adjusted contract has no name of its own.

        ``underlying``: A share.
        ``feed``: ``indicative`` is free and not the exchanges' best, ``opra`` is.
        ``last_expiry``: Options that expire by then; None for all.
        ``strikes``: Lowest and highest strike; None for all.
        ``page_lines``: Options a page, 100 to 1000.

        Raises DataError when a snapshot cannot be believed. Raises RetryError when the venue does not answer.
        """
        asked: dict[str, Any] = {"feed": feed, "limit": page_lines}
        if last_expiry is not None:
            asked["expiration_date_lte"] = last_expiry.isoformat()
        if strikes is not None:
            asked |= {"strike_price_gte": f"{strikes[0]:.3f}", "strike_price_lte": f"{strikes[1]:.3f}"}
        found: list[OptionSnapshot] = []
        for page in self._pages(self._options, f"/options/snapshots/{underlying}", asked):
            for symbol, line in _table(page, "snapshots").items():
                try:
                    row = msgspec.convert(line, _Snapshot)
                    if row.quote is not None:
                        found += _snapshots(underlying, symbol, row, row.quote)
                except (Malformed, msgspec.ValidationError) as error:
                    raise DataError("a snapshot cannot be believed", where=symbol, value=str(error)) from None
        return found

    def latest_quote(self, symbol: str, *, feed: Literal["iex", "sip"] = "iex") -> ShareQuote | None:
        """Return the latest quote of a share, None without a quote; raises as :meth:`chain`."""
        asked = {"symbols": symbol, "feed": feed}
        page = self._page(self._stocks, "/stocks/quotes/latest", asked)
        line = _table(page, "quotes").get(symbol)
        if line is None:
            return None
        try:
            return ShareQuote(symbol=symbol, **msgspec.convert(line, _LatestQuote).figures())
        except (Malformed, msgspec.ValidationError) as error:
            raise DataError("a quote cannot be believed", where=symbol, value=str(error)) from None

    def _pages(self, client: Any, path: str, asked: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Yield page after page, each within the limit of requests."""
        token = None
        while True:
            page = self._page(client, path, {**asked, **({"page_token": token} if token else {})})
            yield page
            token = page.get("next_page_token")
            if not token:
                return

    def _page(self, client: Any, path: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        while not self._budget.take(Urgency.QUERY, self._now_ns()):
            self._sleep(self._budget.wait_ns(Urgency.QUERY, self._now_ns()) / NANOS_PER_SECOND)
        return _answer(lambda: client.get(path, dict(asked)))

    def _trading_pages(self, path: str, asked: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Yield the pages of the trading host that knows the keys."""
        try:
            yield from self._pages(self._trading[0], path, asked)
        except RetryError as refusal:
            if len(self._trading) == 1 or refusal.value not in ("HTTP 401", "HTTP 403"):
                raise
            del self._trading[0]
            yield from self._pages(self._trading[0], path, asked)

    def cash_dividends(self, symbol: str, first: date, last: date) -> list[CashDividend]:
        """Return the cash dividends with an ex-date from ``first`` to ``last``, oldest first.

        Raises DataError when a dividend cannot be believed. Raises RetryError when the venue does not answer.
        """
        from alpaca.data.enums import CorporateActionsType  # noqa: PLC0415 - an extra
        from alpaca.data.requests import CorporateActionsRequest  # noqa: PLC0415 - an extra

        asked = CorporateActionsRequest(
            symbols=[symbol], types=[CorporateActionsType.CASH_DIVIDEND], start=first, end=last
        )
        found = _answer(lambda: self._actions.get_corporate_actions(asked))
        lines = [_dividend(row) for row in found.get("cash_dividends", ())]
        return sorted((row for row in lines if first <= row.ex_date <= last), key=lambda row: row.ex_date)

    @staticmethod
    def _span(symbols: Sequence[str], start: datetime, end: datetime, length: str) -> dict[str, Any]:
        from alpaca.data.timeframe import TimeFrame, TimeFrameUnit  # noqa: PLC0415 - an extra

        units = {"minute": TimeFrameUnit.Minute, "hour": TimeFrameUnit.Hour}
        if length not in units:
            raise ArgumentError("no such length of a bar", where="length", value=length, fix="minute or hour")
        for name, moment in (("start", start), ("end", end)):
            if moment.tzinfo is None:
                raise ArgumentError("a moment needs a time zone", where=name, value=moment.isoformat())
        frame = TimeFrame(1, units[length])
        return {"symbol_or_symbols": list(symbols), "timeframe": frame, "start": start, "end": end}


def _answer(ask: Callable[[], Any]) -> Mapping[str, Any]:
    import requests  # noqa: PLC0415 - comes with the extra
    from alpaca.common.exceptions import APIError  # noqa: PLC0415 - an extra

    try:
        found = ask()
    except (APIError, requests.RequestException) as error:
        # the text of a request's error may hold its headers: only its kind is shown
        status = error.status_code if isinstance(error, APIError) else None
        raise RetryError(
            "the venue does not give its history",
            value=type(error).__name__ if status is None else f"HTTP {status}",
            fix="check the keys and the data plan of the account, then try again",
        ) from None
    if not isinstance(found, Mapping):
        raise DataError("the venue's history is not of its form", value=type(found).__name__)
    return found


def _bars(found: Mapping[str, Any], seconds: int) -> Iterator[HistoricalBar]:
    for symbol, lines in sorted(found.items()):
        for line in lines or ():
            try:
                row = msgspec.convert(line, BarRow)
                figures = row.figures()
                end_ns = ns_of(row.t) + seconds * NANOS_PER_SECOND
            except (Malformed, msgspec.ValidationError) as error:
                raise DataError("a bar cannot be believed", where=symbol, value=str(error)) from None
            yield HistoricalBar(symbol, end_ns, *figures)


def _dividend(line: Any) -> CashDividend:
    try:
        row = msgspec.convert(line, DividendRow)
        return CashDividend(row.symbol, day_of(row.ex_date, "ex_date"), not_negative(row.rate, "rate"))
    except (Malformed, msgspec.ValidationError) as error:
        raise DataError("a dividend cannot be believed", value=str(error)) from None


def _table(page: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the part of an answer that is keyed by symbol."""
    found = page.get(name)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise DataError("the venue's answer is not of its form", where=name, value=type(found).__name__)
    return found


def _snapshots(underlying: str, symbol: str, row: _Snapshot, quote: _LatestQuote) -> Iterator[OptionSnapshot]:
    """Yield the snapshot of an option; nothing of one without a name of its own."""
    figures, quote_ns = quote.figures(), ns_of(quote.t)
    values = {"implied_volatility": row.implied_volatility, **msgspec.structs.asdict(row.greeks or _Greeks())}
    given = {name: value for name, value in values.items() if value is not None}
    with suppress(ScalpdeskError):
        contract = us_option(symbol, [underlying])
        yield OptionSnapshot(contract=contract, quote_ns=quote_ns, **figures, **given)
