"""Public history and live tickers of Deribit as rows of the catalogue: downloads, records and raw captures.

A row is a mapping by column; times are UTC nanoseconds under ``ts``, volatilities and rates fractions a year,
amounts as the venue counts them (coins of an option, US dollars of an inverse perpetual).
"""

import asyncio
import gzip
import math
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from scalpdesk.base import NANOS_PER_SECOND, DataError, RetryError
from scalpdesk.core.units import HOUR_NS, NANOS_PER_MS, NEVER_NS
from scalpdesk.instruments.deribit import is_perpetual
from scalpdesk.venues import Network, RequestBudget, Urgency
from scalpdesk_deribit import wire
from scalpdesk_deribit.messages import (
    TICKER,
    Chart,
    FundingMessage,
    GreeksMessage,
    Listing,
    PublicTrade,
    RpcFrame,
    SettlementMessage,
    SettlementPage,
    Ticker,
    TickMessage,
    TradePage,
    VolatilityIndexPage,
)
from scalpdesk_deribit.rpc import Disconnected, RpcConnection, RpcEvents, RpcTarget
from scalpdesk_deribit.wire import Raw, WireError, figure, id_text, instant_ns, read, text, whole

Row = dict[str, Any]
_REQUESTS_PER_MINUTE, _REQUESTS_AT_ONCE = 1_200, 100
"""Credits of the lowest tier for what does not reach the matching engine: 20 requests a second."""
HISTORY_URL, TEST_HISTORY_URL = "https://history.deribit.com/api/v2", "https://test.deribit.com/api/v2"
_TIMEOUT_SECONDS = 30.0
RETRY_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
PAGE = 1_000
_MS_PER_HOUR = 3_600_000
RESOLUTIONS = {"minute": ("1", 60), "hour": ("60", 3_600), "day": ("1D", 86_400)}
"""Lengths of bars that can be asked for: the venue's name and the seconds."""
NO_STEP = TickMessage(above_price=None, tick_size=None)
NO_GREEKS = GreeksMessage(delta=None, gamma=None, vega=None, theta=None, rho=None)
GREEKS = ("delta", "gamma", "vega", "theta", "rho")
Bars = list[tuple[int, tuple[float, float, float, float, float]]]


def read_chart(chart: Any) -> Bars:
    """Return the bars of a chart: the start of each and its open, high, low, close and volume.

    Raises WireError when it is no chart.
    """
    try:
        found = read(chart, Chart)
        columns = found.ticks, found.open, found.high, found.low, found.close, found.volume
        return [
            (instant_ns(int(tick), "ticks"), (float(o), float(h), float(lo), float(c), float(v)))
            for tick, o, h, lo, c, v in zip(*columns, strict=True)
        ]
    except (TypeError, ValueError, OverflowError) as problem:
        raise WireError(f"not a chart: {problem!r}") from None


def _above_zero(value: float | None, name: str, unit: float = 1.0) -> float:
    """Return a price or a volatility; NaN for 0, which the venue sends for a missing price."""
    value = figure(value, name)
    return value / unit if value > 0.0 else math.nan


def _head(message: Ticker | PublicTrade | SettlementMessage) -> Row:
    symbol = text(message.instrument_name, "instrument_name")
    return {"ts": instant_ns(message.timestamp, "timestamp"), "symbol": symbol}


def _floats(message: Any, names: Iterable[str]) -> Row:
    """Return columns that have the names of a message's fields."""
    return {name: figure(getattr(message, name), name) for name in names}


def ticker_row(message: Raw | Ticker) -> Row:
    """Read a ticker; a side without a price is NaN with amount 0."""
    ticker = read(message, Ticker)
    greeks = ticker.greeks or NO_GREEKS
    row = _head(ticker)
    row["bid"], row["ask"] = (
        _above_zero(price, "price") for price in (ticker.best_bid_price, ticker.best_ask_price)
    )
    row["bid_amount"] = figure(ticker.best_bid_amount, "best_bid_amount")
    row["ask_amount"] = figure(ticker.best_ask_amount, "best_ask_amount")
    row["mark_iv"] = _above_zero(ticker.mark_iv, "mark_iv", 100.0)
    row["bid_iv"] = _above_zero(ticker.bid_iv, "bid_iv", 100.0)
    row["ask_iv"] = _above_zero(ticker.ask_iv, "ask_iv", 100.0)
    names = ("mark_price", "underlying_price", "index_price", "open_interest")
    return row | _floats(ticker, names) | _floats(greeks, GREEKS)


def print_row(message: Raw) -> Row:
    """Read one public trade."""
    trade = read(message, PublicTrade)
    names = ("price", "amount", "mark_price", "index_price")
    texts = {
        "trade_id": text(id_text(trade.trade_id), "trade_id"),
        "side": text(trade.direction, "direction"),
    }
    return _head(trade) | texts | _floats(trade, names) | {"iv": _above_zero(trade.iv, "iv", 100.0)}


def settlement_row(message: Raw) -> Row:
    """Read the settlement of a future or the delivery of an option."""
    row = read(message, SettlementMessage)
    names = ("index_price", "mark_price", "position", "funding")
    return _head(row) | {"type": text(row.type, "type")} | _floats(row, names)


def listing_row(message: Raw) -> Row:
    """Read the terms of an instrument."""
    listing = read(message, Listing)
    step = listing.tick_size_steps[0] if listing.tick_size_steps else NO_STEP
    # of a perpetual the year 3000
    ends_ns = whole(listing.expiration_timestamp, "expiration_timestamp") * NANOS_PER_MS
    return {
        "symbol": text(listing.instrument_name, "instrument_name"),
        "kind": text(listing.kind, "kind"),
        "currency": text(listing.settlement_currency or listing.base_currency, "base_currency"),
        "created": instant_ns(listing.creation_timestamp, "creation_timestamp"),
        "expires": ends_ns if ends_ns < NEVER_NS else None,
        "right": (listing.option_type or "")[:1].upper(),
        "tick_size_above": figure(step.tick_size, "tick_size"),
        "above_price": figure(step.above_price, "above_price"),
        "min_amount": figure(listing.min_trade_amount, "min_trade_amount"),
        "maker_fee": figure(listing.maker_commission, "maker_commission"),
        "taker_fee": figure(listing.taker_commission, "taker_commission"),
    } | _floats(listing, ("strike", "tick_size", "contract_size"))


def readable(row_of: Callable[[Any], Row], messages: Any, what: str) -> list[Row]:
    """Read a list of messages. Raises DataError when one of them is not of its form."""
    try:
        return [row_of(message) for message in messages]
    except (WireError, TypeError) as problem:  # of the other type no list
        raise DataError(f"the venue's {what} cannot be read", value=str(problem)[:200]) from None


def _page(message: Any, form: type[wire.M]) -> wire.M:
    """Return a page of an answer. Raises DataError when it is none."""
    try:
        return read(message, form)
    except WireError as problem:
        raise DataError("the venue's answer cannot be read", value=str(problem)[:200]) from None


class DeribitHistory:
    """Public data of the venue, without keys; a context manager.

    ``url``: Whole address of the websocket.
    ``http_url``: Base of the methods over HTTP, which trades are asked for: the websocket gives the last
    day's only.
    ``network``: Where the websocket comes from; None is TCP.
    """

    def __init__(self, url: str, http_url: str, network: Network | None = None) -> None:
        self._url, self._http_url = url, http_url
        self.latest: dict[str, Ticker] = {}
        """Last ticker of each instrument on a subscribed channel."""
        self.notices: list[str] = []
        """Connections lost, and messages that could not be read."""
        target = RpcTarget(name="history", url=url, timeout_seconds=_TIMEOUT_SECONDS)
        events = RpcEvents(
            on_notification=self._on_ticker,
            on_up=lambda: None,
            on_down=lambda name, why, _: self.notices.append(f"{name}: {why}"),
            on_refused=lambda name, why: self.notices.append(f"{name}: {why}"),
        )
        self._connection = RpcConnection(target, events, network)
        self._budget = RequestBudget(_REQUESTS_PER_MINUTE, _REQUESTS_AT_ONCE)

    async def __aenter__(self) -> Self:
        try:
            await self._connection.start()
        except (TimeoutError, OSError):
            await self._connection.close()
            raise RetryError(
                "the venue cannot be reached", where=self._url, fix="check the address and the network"
            ) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.close()

    def _on_ticker(self, note: wire.Notification) -> None:
        if note.channel.startswith(TICKER):
            try:
                ticker = read(note.data, Ticker, "ticker")
            except WireError as problem:
                self.notices.append(str(problem)[:200])
            else:
                self.latest[str(ticker.instrument_name)] = ticker

    async def ask(self, method: str, **params: Any) -> Any:
        """Return the result of a public method, within the venue's credits; tried again when it is lost.

        Raises RetryError when the venue refuses, or does not answer after several attempts.
        """
        return await self._tried(method, lambda: self._connection.request(f"public/{method}", params))

    async def _tried(self, method: str, send: Callable[[], Awaitable[Any]]) -> Any:
        loop, why = asyncio.get_running_loop(), ""
        for pause in (*RETRY_PAUSES_SECONDS, None):
            while not self._budget.take(Urgency.CANCEL, round(loop.time() * NANOS_PER_SECOND)):
                wait = self._budget.wait_ns(Urgency.CANCEL, round(loop.time() * NANOS_PER_SECOND))
                await asyncio.sleep(wait / NANOS_PER_SECOND)
            try:
                return await send()
            except wire.RpcError as error:
                why = str(error)
                if wire.refusal_of(error) is not wire.ErrorMeaning.LATER:
                    break
            except (Disconnected, OSError) as error:  # a time-out is an OSError
                why = str(error) or "no answer in time"
            if pause is not None:
                await asyncio.sleep(pause)
        raise RetryError(
            "the venue does not give its history",
            where=method,
            value=why[:200],
            fix="start the command again: it goes on where it stopped",
        )

    def _get(self, method: str, params: Row) -> Any:
        """Return the result of a public method over HTTP; it blocks."""
        url = f"{self._http_url}/public/{method}?{urllib.parse.urlencode(params)}"
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - as configured
                body = answer.read()
        except urllib.error.HTTPError as refused:
            body = refused.read()  # the venue's errors have the same form
        try:
            return wire.result_of(msgspec.json.decode(body, type=RpcFrame))
        except (msgspec.DecodeError, WireError) as problem:
            raise OSError(f"not an answer of the venue: {problem}") from None

    # history ----------------------------------------------------------------------------------------

    async def listings(self, coin: str, *, expired: bool = True) -> list[Row]:
        """Return the terms of the instruments of a coin, those that have expired too."""
        found = []
        for is_over in (False, True) if expired else (False,):
            listed = await self.ask("get_instruments", currency=coin, expired=is_over)
            found += readable(listing_row, listed, "instruments")
        return list({row["symbol"]: row for row in found}.values())

    async def prints(self, coin: str, start_ms: int, end_ms: int) -> list[Row]:
        """Return the trades of all instruments of a coin from ``start_ms`` to before ``end_ms``, by time."""
        found: dict[str, Row] = {}
        while start_ms < end_ms:
            params = {"currency": coin, "start_timestamp": start_ms, "end_timestamp": end_ms - 1}
            params |= {"count": PAGE, "sorting": "asc"}
            name = "get_last_trades_by_currency_and_time"
            asked = await self._tried(name, partial(asyncio.to_thread, self._get, name, params))
            page = _page(asked, TradePage)
            rows, before = readable(print_row, page.trades, "trades"), len(found)
            found |= {row["trade_id"]: row for row in rows}
            if not page.has_more or not rows:
                break
            last_ms = rows[-1]["ts"] // NANOS_PER_MS
            # a page of one millisecond alone would come again for ever
            start_ms = last_ms if len(found) > before else last_ms + 1
        return sorted(found.values(), key=lambda row: (row["ts"], row["trade_id"]))

    async def bars(self, symbol: str, start_ms: int, end_ms: int, *, length: str = "minute") -> list[Row]:
        """Return the trade bars of an instrument that begin from ``start_ms`` to before ``end_ms``."""
        name, seconds = RESOLUTIONS[length]
        chart = await self.ask(
            "get_tradingview_chart_data",
            instrument_name=symbol,
            start_timestamp=start_ms,
            end_timestamp=end_ms - 1,
            resolution=name,
        )
        columns = ("open", "high", "low", "close", "volume")
        try:
            bars = read_chart(chart)
        except WireError as problem:
            raise DataError("the venue's bars cannot be read", where=symbol, value=str(problem)) from None
        return [
            {"ts": at + seconds * NANOS_PER_SECOND, "bar_start": at, "symbol": symbol}
            | dict(zip(columns, figures, strict=True))
            for at, figures in bars
        ]

    async def settlements(self, coin: str, start_ms: int, end_ms: int) -> list[Row]:
        """Return the settlements and deliveries of a coin from ``start_ms`` to before ``end_ms``."""
        found: list[Row] = []
        for kind in ("settlement", "delivery"):
            params: Row = {
                "currency": coin,
                "type": kind,
                "count": PAGE,
                "search_start_timestamp": end_ms - 1,
            }
            while True:
                asked = await self.ask("get_last_settlements_by_currency", **params)
                page = _page(asked, SettlementPage)
                rows = readable(settlement_row, page.settlements, "settlements")
                found += [row for row in rows if row["ts"] >= start_ms * NANOS_PER_MS]
                more = page.continuation
                is_past = bool(rows) and rows[-1]["ts"] < start_ms * NANOS_PER_MS
                if not rows or is_past or more in (None, "", "none", params.get("continuation")):
                    break
                params["continuation"] = more
        return sorted(found, key=lambda row: (row["ts"], row["symbol"]))

    async def volatility_index(self, coin: str, start_ms: int, end_ms: int) -> list[Row]:
        """Return the hours of the coin's volatility index (DVOL) that begin in the span, fractions."""
        found: dict[int, Row] = {}
        until: int | None = end_ms - 1
        while until is not None and until >= start_ms:
            asked = await self.ask(
                "get_volatility_index_data",
                currency=coin,
                start_timestamp=start_ms,
                end_timestamp=until,
                resolution="3600",
            )
            try:
                page = read(asked, VolatilityIndexPage)
                for at, *levels in page.data:
                    o, h, lo, c = (float(level) / 100.0 for level in levels)
                    bar_start = int(at) * NANOS_PER_MS
                    row = {"bar_start": bar_start, "ts": bar_start + HOUR_NS}
                    names = {"symbol": f"DVOL-{coin}", "open": o, "high": h, "low": lo, "close": c}
                    found[bar_start] = row | names
            except (TypeError, ValueError) as problem:
                raise DataError("the venue's volatility index cannot be read", value=repr(problem)) from None
            following = page.continuation
            until = int(following) if following is not None and following < until else None
        return [found[at] for at in sorted(found)]

    async def funding(self, symbol: str, start_ms: int, end_ms: int) -> list[Row]:
        """Return the hourly funding of a perpetual from ``start_ms`` to before ``end_ms``."""
        rows = await self.ask(
            "get_funding_rate_history",
            instrument_name=symbol,
            start_timestamp=start_ms,
            end_timestamp=end_ms - 1,
        )

        def funding_row(message: Raw) -> Row:
            rate = read(message, FundingMessage)
            return {
                "ts": instant_ns(rate.timestamp, "timestamp"),
                "symbol": symbol,
                "rate_8h": figure(rate.interest_8h, "interest_8h"),
                "rate_1h": figure(rate.interest_1h, "interest_1h"),
                "index_price": figure(rate.index_price, "index_price"),
            }

        return readable(funding_row, rows, "funding rates")

    # live -------------------------------------------------------------------------------------------

    async def chains(
        self, coin: str, stopped: asyncio.Event, *, every_seconds: float, seconds: float | None = None
    ) -> AsyncIterator[list[Row]]:
        """Yield, each ``every_seconds``, the tickers that have changed of the perpetual and all options.

        It ends after ``seconds``, or when ``stopped`` is set. What is newly listed is followed from the next
        full hour on.
        """
        loop = asyncio.get_running_loop()
        began, hour, is_over = loop.time(), int(await self.ask("get_time")) // _MS_PER_HOUR, False
        written: dict[str, int] = {}
        await self._follow(coin)
        while not is_over:
            left = math.inf if seconds is None else began + seconds - loop.time()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(min(every_seconds, left), 0.0)):
                    await stopped.wait()
            is_over = stopped.is_set() or (seconds is not None and loop.time() - began >= seconds)
            try:
                now_ms = int(await self.ask("get_time"))  # all that was sent before its answer has arrived
            except RetryError as lost:  # the connection comes back by itself
                self.notices.append(f"no answer: {lost.value}")
                continue
            rows = readable(ticker_row, list(self.latest.values()), "tickers")
            changed = [row for row in rows if written.get(row["symbol"], 0) < row["ts"]]
            written |= {row["symbol"]: row["ts"] for row in changed}
            yield changed
            if now_ms // _MS_PER_HOUR != hour:
                hour = now_ms // _MS_PER_HOUR
                await self._follow(coin)

    async def _follow(self, coin: str) -> None:
        listed = await self.listings(coin, expired=False)
        wanted = [row["symbol"] for row in listed if row["kind"] == "option" or is_perpetual(row["symbol"])]
        channels = [f"ticker.{symbol}.agg2" for symbol in wanted]
        try:
            await self._connection.subscribe(channels)
        except (wire.RpcError, Disconnected, TimeoutError) as problem:
            self.notices.append(f"not subscribed: {problem!r}"[:200])


# captures -----------------------------------------------------------------------------------------------


def _frames(path: Path) -> Iterable[tuple[int, str]]:
    """Yield number and JSON text of each message that the venue sent; what the client sent is left out."""
    opened: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        first = lines.readline().strip()
        lines.seek(0)
        if first[:1] == "[" or (first[:1] == "{" and not _is_json(first)):
            document = msgspec.json.decode(lines.read())
            each = document if isinstance(document, list) else [document]
            yield from enumerate((msgspec.json.encode(one).decode() for one in each), 1)
            return
        for number, line in enumerate(lines, 1):
            head, brace, body = line.partition("{")
            if brace and "<-" not in head and not head.startswith("configuration"):
                yield number, brace + body


def _is_json(text: str) -> bool:
    with suppress(msgspec.DecodeError):
        msgspec.json.decode(text)
        return True
    return False


def read_capture(path: Path) -> tuple[Mapping[str, list[Row]], Counter[str]]:
    """Read a raw capture: lines with a JSON-RPC message each, whatever stands before it; gzip or plain.

    Or one JSON document: an answer over HTTP, an array of them, or of what stands in their results.

    Returns rows of ``tickers``, ``prints`` and ``listings``; and how many messages of each kind were read.
    Book changes are counted only: the tickers have the best prices. Raises DataError when a message cannot be
    read; names file and line.
    """
    found: dict[str, list[Row]] = {"tickers": [], "prints": [], "listings": []}
    kinds: Counter[str] = Counter()
    try:
        for number, text in _frames(path):
            try:
                kinds[_take_frame(text, found)] += 1
            except (WireError, KeyError, TypeError) as problem:
                raise DataError(
                    "a message of the capture cannot be read",
                    where=f"{path}:{number}",
                    value=str(problem)[:200],
                    fix="cut the line off, or import another capture",
                ) from None
    except (OSError, EOFError, UnicodeDecodeError, msgspec.DecodeError) as problem:
        raise DataError("the capture cannot be read", where=str(path), value=str(problem)) from None
    return found, kinds


def _take_frame(text: str, found: Mapping[str, list[Row]]) -> str:
    """Add the rows of one frame; return its kind."""
    try:
        message = msgspec.json.decode(text)
    except msgspec.DecodeError as problem:
        raise WireError(f"not JSON: {problem}") from None
    if not isinstance(message, dict):
        raise WireError(f"no message: {text[:80]}")
    if "method" not in message:  # an answer; over HTTP it has no id
        return _take_answer(message.get("result", message), found)
    frame = wire.decode_frame(text)
    if isinstance(frame, wire.Notification):
        kind = frame.channel.partition(".")[0]
        if kind == "ticker":
            found["tickers"].append(ticker_row(frame.data))
        elif kind == "trades":
            found["prints"] += [print_row(message) for message in wire.rows(frame.data, "trades")]
        return kind
    return "heartbeat"


def _take_answer(result: Any, found: Mapping[str, list[Row]]) -> str:
    """Add the rows of an answer's result; return their kind."""
    given = result.get("trades", result) if isinstance(result, dict) else result
    kinds = Counter(_take_result(each, found) for each in (given if isinstance(given, list) else [given]))
    return kinds.most_common(1)[0][0] if kinds else "reply"


def _take_result(row: Any, found: Mapping[str, list[Row]]) -> str:
    if not isinstance(row, dict) or "instrument_name" not in row:
        return "reply"
    if "trade_id" in row:
        found["prints"].append(print_row(row))
        return "trades"
    if "best_bid_price" in row:
        found["tickers"].append(ticker_row(row))
        return "ticker"
    if "kind" in row:
        found["listings"].append(listing_row(row))
        return "instruments"
    return "reply"
