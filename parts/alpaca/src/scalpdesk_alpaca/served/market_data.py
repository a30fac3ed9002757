"""Market data and reference data over REST.

Quotes, trades, bars and snapshots with prices and sizes as JSON numbers; assets, option contracts, clock,
calendar and corporate actions.
"""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np

from scalpdesk.core.events import QuoteEvent, TradeEvent
from scalpdesk.core.units import DAY_NS, DAY_SECONDS, DAYS_PER_YEAR, InstrumentId, years_between
from scalpdesk.exchange import Bar, SimulatedMarket, between, combine
from scalpdesk.exchange.documents import asset_class, asset_id, instant, is_asset
from scalpdesk.instruments.contract import OptionContract, Style
from scalpdesk.instruments.corporate_actions import ActionKind, CorporateAction
from scalpdesk.instruments.sessions import expiry_instant_ns, next_session, to_new_york
from scalpdesk.marketdata.tape import CashDividend
from scalpdesk.pricing.implied import implied_vol
from scalpdesk.pricing.models import greeks
from scalpdesk_alpaca.messages import ClockMessage, document
from scalpdesk_alpaca.served.requests import (
    MALFORMED,
    NOT_FOUND,
    ApiError,
    Request,
    coming_weekend,
    query_date,
    query_ns,
    timeframe_seconds,
)
from scalpdesk_alpaca.served.serializers import asset_json, contract_json, is_penny, new_york_instant

Item = TypeVar("Item")
_MAX_CALENDAR_DAYS = 3_700
_FIRST_DAY, LAST_DAY = date(1995, 1, 10), date(2030, 12, 20)
"""Range of the exchange calendar."""
_MOST_SHARES_BEFORE = 1_000
"""A split's ratio is shown as the simplest fraction with no more shares of before than this."""


def _page_of(
    items: Sequence[Item], request: Request, default: int, maximum: int
) -> tuple[Sequence[Item], str | None]:
    """Return a page of a list and the token of the next page, None at the end."""
    text = request.query.get("limit")
    if text and (not text.isdigit() or not 1 <= int(text) <= maximum):
        raise ApiError(422, MALFORMED, f"limit must be between 1 and {maximum}")
    limit = int(text) if text else default
    start = 0
    token = request.query.get("page_token")
    if token:
        try:
            start = int(base64.urlsafe_b64decode(token.encode()).decode())
        except ValueError as error:
            raise ApiError(422, MALFORMED, "invalid page_token") from error
    end = start + limit
    rest = base64.urlsafe_b64encode(str(end).encode()).decode() if end < len(items) else None
    return items[start:end], rest


class Reference:
    """Reference data endpoints of a simulated market."""

    def __init__(self, world: SimulatedMarket) -> None:
        self._world = world

    def assets(self, request: Request) -> list[dict[str, Any]]:
        """``GET /v2/assets``."""
        if request.query.get("status") == "inactive":
            return []
        wanted = request.query.get("asset_class") or "us_equity"
        exchange = request.query.get("exchange")
        found = [
            asset_json(instrument)
            for instrument in self._world.ledger.instruments
            if asset_class(instrument) == wanted and is_asset(instrument)
        ]
        attributes = set(request.listed("attributes"))
        return [
            asset
            for asset in found
            if (not exchange or asset["exchange"] == exchange) and attributes <= set(asset["attributes"])
        ]

    def asset(self, request: Request) -> dict[str, Any]:
        """``GET /v2/assets/{symbol or id}``."""
        text = request.name
        for instrument in self._world.ledger.instruments:
            if text in (instrument.symbol, asset_id(instrument.symbol)) and is_asset(instrument):
                return asset_json(instrument)
        raise ApiError(404, NOT_FOUND, f"asset not found for {text}")

    def clock(self, _request: Request) -> dict[str, Any]:
        """``GET /v2/clock``."""
        hours, now_ns = self._world.source.hours, self._world.now_ns
        return document(
            ClockMessage(
                timestamp=new_york_instant(now_ns),
                is_open=hours.session_at(now_ns) is not None,
                next_open=new_york_instant(hours.next_open_ns(now_ns)),
                next_close=new_york_instant(hours.next_close_ns(now_ns)),
            )
        )

    def calendar(self, request: Request) -> list[dict[str, Any]]:
        """``GET /v2/calendar``."""
        today = to_new_york(self._world.now_ns).date()
        start = query_date(request, "start") or today
        end = query_date(request, "end") or today + timedelta(days=30)
        if end < start or (end - start).days > _MAX_CALENDAR_DAYS:
            raise ApiError(
                422, MALFORMED, "start must not be after end, and not more than ten years before it"
            )
        start, end = max(start, _FIRST_DAY), min(end, LAST_DAY)
        hours = self._world.source.hours
        days: list[dict[str, Any]] = []
        if end < start:
            return days
        for session in hours.calendar(start, end):
            opens, closes = to_new_york(session.open_ns), to_new_york(session.close_ns)
            all_day = closes.date() != session.day
            days.append(
                {
                    "date": session.day.isoformat(),
                    "open": f"{opens:%H:%M}",
                    "close": "23:59" if all_day else f"{closes:%H:%M}",
                    "session_open": "0000" if all_day else "0400",
                    "session_close": "2359" if all_day else "2000",
                    "settlement_date": next_session(session.day).day.isoformat(),
                }
            )
        return days

    # contracts --------------------------------------------------------------------------------------

    def _status(self, contract: OptionContract) -> str:
        return "active" if expiry_instant_ns(contract) > self._world.now_ns else "inactive"

    def contracts(self, request: Request) -> dict[str, Any]:
        """``GET /v2/options/contracts``."""
        query = request.query
        underlyings = set(request.listed("underlying_symbols"))
        status = query.get("status") or "active"
        spans = ("expiration_date", "expiration_date_gte", "expiration_date_lte")
        latest = None
        if not any(query.get(name) for name in spans):
            latest = coming_weekend(to_new_york(self._world.now_ns).date())
        is_wanted = _contract_filter(request)
        found = [
            contract
            for contract in self._world.ledger.instruments
            if contract.is_option
            and (not underlyings or contract.underlying in underlyings)
            and self._status(contract) == status
            and (latest is None or contract.expiry <= latest)
            and query.get("style", contract.style.value) == contract.style.value
            and ("ppind" not in query or request.flag("ppind") is is_penny(contract))
            and is_wanted(contract)
        ]
        found.sort(
            key=lambda contract: (contract.underlying, contract.expiry, not contract.is_call, contract.strike)
        )
        page, token = _page_of(found, request, 100, 10_000)
        return {
            "option_contracts": [
                contract_json(self._world, contract, self._status(contract)) for contract in page
            ],
            "next_page_token": token,
        }

    def contract(self, request: Request) -> dict[str, Any]:
        """``GET /v2/options/contracts/{symbol or id}``."""
        text = request.name
        for contract in self._world.ledger.instruments:
            if contract.is_option and text in (contract.symbol, asset_id(contract.symbol)):
                return contract_json(self._world, contract, self._status(contract))
        raise ApiError(404, NOT_FOUND, f"option contract not found for {text}")

    def announcements(self, _request: Request) -> list[dict[str, Any]]:
        """``GET /v2/corporate_actions/announcements``: empty; :meth:`corporate_actions` took its place."""
        return []

    def corporate_actions(self, request: Request) -> dict[str, Any]:
        """``GET /v1/corporate-actions``."""
        symbols = set(request.listed("symbols"))
        types = {name.removesuffix("s") for name in request.listed("types")}
        today = to_new_york(self._world.now_ns).date()
        start = query_date(request, "start") or today
        end = query_date(request, "end") or today
        source = self._world.source
        listed = [
            ("cash_dividend", each.symbol, each.ex_date, _dividend_json(each)) for each in source.dividends
        ]
        for action in source.actions:
            if action.kind is ActionKind.SPLIT:
                name = "forward_split" if action.ratio > 1 else "reverse_split"
                listed.append((name, action.symbol, action.ex_date, _split_json(action)))
        found = [
            (name, ex_date, fields)
            for name, symbol, ex_date, fields in listed
            if (not symbols or symbol in symbols) and start <= ex_date <= end and (not types or name in types)
        ]
        found.sort(key=itemgetter(1), reverse=request.query.get("sort") == "desc")
        page, token = _page_of(found, request, 100, 1_000)
        answer: dict[str, list[dict[str, Any]]] = {}
        for name, _, fields in page:
            answer.setdefault(f"{name}s", []).append(fields)
        return {"corporate_actions": answer, "next_page_token": token}


def _dividend_json(dividend: CashDividend) -> dict[str, Any]:
    return {
        "id": asset_id(f"dividend|{dividend.symbol}|{dividend.ex_date}"),
        "symbol": dividend.symbol,
        "cusip": _cusip(dividend.symbol),
        "rate": float(dividend.amount),
        "special": False,
        "foreign": False,
        "process_date": dividend.ex_date.isoformat(),
        "ex_date": dividend.ex_date.isoformat(),
        "record_date": dividend.ex_date.isoformat(),
        "payable_date": (dividend.ex_date + timedelta(days=14)).isoformat(),
    }


def _split_json(split: CorporateAction) -> dict[str, Any]:
    """Return a split as the venue lists it: ``new_rate`` shares for ``old_rate``, both whole."""
    ratio = Fraction(split.ratio).limit_denominator(_MOST_SHARES_BEFORE)
    before = _cusip(split.symbol)
    is_forward = split.ratio > 1
    # a reverse split gives the share a new CUSIP
    cusips = (
        {"cusip": before} if is_forward else {"old_cusip": before, "new_cusip": _cusip(f"{split.symbol}*")}
    )
    day = split.ex_date.isoformat()
    return {
        "id": asset_id(f"split|{split.symbol}|{day}"),
        "symbol": split.symbol,
        **cusips,
        "new_rate": ratio.numerator,
        "old_rate": ratio.denominator,
        "process_date": day,
        "ex_date": day,
        "record_date": day,
        "payable_date": day,
    }


def _cusip(symbol: str) -> str:
    return asset_id(symbol).replace("-", "")[:9].upper()


def _strike_bound(request: Request, name: str) -> Decimal | None:
    """Return a strike bound of the query, currency."""
    text = request.query.get(name)
    if not text:
        return None
    try:
        bound = Decimal(text)
    except InvalidOperation as error:
        raise ApiError(422, MALFORMED, f"invalid {name}: {text}") from error
    if not bound.is_finite():
        raise ApiError(422, MALFORMED, f"invalid {name}: {text}")
    return bound


def _contract_filter(request: Request) -> Callable[[OptionContract], bool]:
    """Return whether a contract is wanted by the expiries, strikes, right and root of a query."""
    query = request.query
    exact, low, high = (
        query_date(request, name)
        for name in ("expiration_date", "expiration_date_gte", "expiration_date_lte")
    )
    least, most = _strike_bound(request, "strike_price_gte"), _strike_bound(request, "strike_price_lte")
    right, root = query.get("type"), query.get("root_symbol")

    def is_wanted(contract: OptionContract) -> bool:
        return (
            (exact is None or contract.expiry == exact)
            and (low is None or contract.expiry >= low)
            and (high is None or contract.expiry <= high)
            and (least is None or contract.strike >= least)
            and (most is None or contract.strike <= most)
            and (root is None or contract.root == root)
            and (right is None or right == ("call" if contract.is_call else "put"))
        )

    return is_wanted


_STOCK_FEEDS = ("iex", "sip", "delayed_sip", "boats", "overnight", "otc")
_OPTION_FEEDS = ("indicative", "opra")
OPTION_VENUES = {
    "A": "AMEX - NYSE American",
    "C": "CBOE",
    "N": "NYSE Arca",
    "Q": "NASDAQ Options",
    "X": "PHLX",
}
_MAX_SNAPSHOT_SYMBOLS = 100
_MAX_BARS = 10_000

When = Callable[[int], Any]
"""Writes an instant: text in JSON, an extension in msgpack."""


def clean(value: float) -> float:
    """Return a price, 0 where the side is missing."""
    return value if math.isfinite(value) else 0.0


def quote_json(
    quote: QuoteEvent, *, is_option: bool, when: When = instant, raw: bool = False
) -> dict[str, Any]:
    """Return a quote; a missing side has price and size 0, unless ``raw``."""
    data: dict[str, Any] = {
        "t": when(quote.ts_event_ns),
        "bp": quote.bid if raw else clean(quote.bid),
        "bs": int(clean(quote.bid_size)),
        "bx": "C" if is_option else "V",
        "ap": quote.ask if raw else clean(quote.ask),
        "as": int(clean(quote.ask_size)),
        "ax": "C" if is_option else "V",
    }
    if is_option:
        data["c"] = "A"
    else:
        data["c"], data["z"] = ["R"], "B"
    return data


def trade_json(trade: TradeEvent, *, is_option: bool, when: When = instant) -> dict[str, Any]:
    """Return a trade."""
    data: dict[str, Any] = {
        "t": when(trade.ts_event_ns),
        "p": trade.price,
        "s": max(int(trade.size), 1),
        "x": "C" if is_option else "V",
    }
    if is_option:
        data["c"] = "a"
    else:
        data["c"], data["z"], data["i"] = ["@"], "B", trade.ts_event_ns // 1_000_000
    return data


def bar_json(bar: Bar, when: When = instant) -> dict[str, Any]:
    """Return a bar with its start time."""
    return {
        "t": when(bar.start_ns),
        "o": bar.open,
        "h": bar.high,
        "l": bar.low,
        "c": bar.close,
        "v": bar.volume,
        "n": bar.trades,
        "vw": round(bar.vwap, 6),
    }


class MarketData:
    """Market data endpoints of a simulated market."""

    def __init__(self, world: SimulatedMarket) -> None:
        self._world = world

    def _known(self, request: Request) -> list[tuple[str, InstrumentId]]:
        """Return the listed symbols of the query; unknown symbols are omitted."""
        names = request.listed("symbols")
        if not names:
            raise ApiError(400, 40010000, "symbols is required")
        feed = request.query.get("feed")
        options = request.is_options
        feeds = _OPTION_FEEDS if options else _STOCK_FEEDS
        if feed and feed not in feeds:
            raise ApiError(400, 40010000, f"invalid feed: {feed}")
        instruments = self._world.ledger.instruments
        found = []
        for name in dict.fromkeys(names):
            if name in instruments:
                number = instruments.id_of(name)
                if instruments[number].is_option is options and is_asset(instruments[number]):
                    self._world.quote(number)
                    found.append((name, number))
        return found

    def _present(self, request: Request, latest: Mapping[InstrumentId, Item]) -> list[tuple[str, Item]]:
        return [(symbol, latest[number]) for symbol, number in self._known(request) if number in latest]

    def latest_quotes(self, request: Request) -> dict[str, Any]:
        """``…/quotes/latest``."""
        found = self._present(request, self._world.ledger.quotes)
        return {"quotes": {s: quote_json(quote, is_option=request.is_options) for s, quote in found}}

    def latest_trades(self, request: Request) -> dict[str, Any]:
        """``…/trades/latest``."""
        found = self._present(request, self._world.last_trades)
        return {"trades": {s: trade_json(trade, is_option=request.is_options) for s, trade in found}}

    def latest_bars(self, request: Request) -> dict[str, Any]:
        """``/v2/stocks/bars/latest``."""
        found = [(s, self._world.bars.latest(n)) for s, n in self._known(request)]
        return {"bars": {symbol: bar_json(bar) for symbol, bar in found if bar is not None}}

    # series -----------------------------------------------------------------------------------------

    def series(
        self, symbol: str, number: InstrumentId, seconds: int, start_ns: int, end_ns: int
    ) -> list[Bar]:
        """Return bars of an instrument: history before the market began, then recorded minutes."""
        recorded = self._world.bars.minutes(number)
        if seconds != 60:
            recorded = combine(recorded, seconds)
        before = self._world.source.history(symbol, seconds, start_ns, end_ns)
        if not before and seconds > 60:
            before = combine(self._world.source.history(symbol, 60, start_ns, end_ns), seconds)
        made = [*before, *recorded]
        if before and recorded and before[-1].start_ns == recorded[0].start_ns:
            made = combine(made, seconds)
        return between(made, start_ns, end_ns)

    def bars(self, request: Request) -> dict[str, Any]:
        """``…/bars``: a page spans all symbols."""
        seconds = timeframe_seconds(request.query.get("timeframe") or "1Min")
        start_ns, end_ns = self._span(request)
        adjusts = request.query.get("adjustment") in ("split", "all")
        rows = []
        for symbol, number in sorted(self._known(request)):
            series = self.series(symbol, number, seconds, start_ns, end_ns)
            if adjusts:
                series = self._split_adjusted(symbol, series)
            rows += [(symbol, bar) for bar in self._sorted(series, request)]
        page, token = _page_of(rows, request, 1_000, _MAX_BARS)
        answer: dict[str, list[dict[str, Any]]] = {}
        for symbol, bar in page:
            answer.setdefault(symbol, []).append(bar_json(bar))
        return {"bars": answer, "next_page_token": token}

    def _split_adjusted(self, symbol: str, bars: list[Bar]) -> list[Bar]:
        """Return bars in the scale of today: of before the splits that have gone ex by now."""
        today = to_new_york(self._world.now_ns).date()
        for split in self._world.source.actions:
            if split.kind is not ActionKind.SPLIT or split.symbol != symbol or split.ex_date > today:
                continue
            ratio = float(split.ratio)
            bars = [
                replace(
                    bar,
                    open=bar.open / ratio,
                    high=bar.high / ratio,
                    low=bar.low / ratio,
                    close=bar.close / ratio,
                    vwap=bar.vwap / ratio,
                    volume=bar.volume * ratio,
                )
                if to_new_york(bar.start_ns).date() < split.ex_date
                else bar
                for bar in bars
            ]
        return bars

    def quotes(self, request: Request) -> dict[str, Any]:
        """``/v2/stocks/quotes``: this exchange keeps the latest only."""
        start_ns, end_ns = self._span(request)
        found = self._present(request, self._world.ledger.quotes)
        series = {
            symbol: [quote_json(quote, is_option=False)]
            for symbol, quote in found
            if start_ns <= quote.ts_event_ns <= end_ns
        }
        return {"quotes": series, "next_page_token": None}

    def trades(self, request: Request) -> dict[str, Any]:
        """``…/trades``: this exchange keeps the latest only."""
        start_ns, end_ns = self._span(request)
        found = self._present(request, self._world.last_trades)
        series = {
            symbol: [trade_json(trade, is_option=request.is_options)]
            for symbol, trade in found
            if start_ns <= trade.ts_event_ns <= end_ns
        }
        return {"trades": series, "next_page_token": None}

    def _span(self, request: Request) -> tuple[int, int]:
        now_ns = self._world.now_ns
        start_ns = query_ns(request, "start")
        end_ns = query_ns(request, "end")
        begin = now_ns - now_ns % DAY_NS if start_ns is None else start_ns
        return begin, min(now_ns if end_ns is None else end_ns, now_ns)

    @staticmethod
    def _sorted(bars: list[Bar], request: Request) -> list[Bar]:
        return bars[::-1] if request.query.get("sort") == "desc" else bars

    # snapshots --------------------------------------------------------------------------------------

    def stock_snapshots(self, request: Request) -> dict[str, Any]:
        """``/v2/stocks/snapshots``: no envelope."""
        answer: dict[str, Any] = {}
        world = self._world
        for symbol, number in self._known(request):
            quote, trade = world.ledger.quotes.get(number), world.last_trades.get(number)
            now_ns = world.now_ns
            minute = world.bars.latest(number)
            daily = self.series(symbol, number, DAY_SECONDS, now_ns - 10 * DAY_NS, now_ns)
            answer[symbol] = {
                "latestTrade": None if trade is None else trade_json(trade, is_option=False),
                "latestQuote": None if quote is None else quote_json(quote, is_option=False),
                "minuteBar": None if minute is None else bar_json(minute),
                "dailyBar": bar_json(daily[-1]) if daily else None,
                "prevDailyBar": bar_json(daily[-2]) if len(daily) > 1 else None,
            }
        return answer

    def option_snapshots(self, request: Request) -> dict[str, Any]:
        """``/v1beta1/options/snapshots``."""
        if len(request.listed("symbols")) > _MAX_SNAPSHOT_SYMBOLS:
            raise ApiError(400, 40010000, f"at most {_MAX_SNAPSHOT_SYMBOLS} symbols are allowed")
        found = sorted(self._known(request))
        page, token = _page_of(found, request, 100, 1_000)
        return {"snapshots": self._snapshots([number for _, number in page]), "next_page_token": token}

    def chain(self, request: Request) -> dict[str, Any]:
        """``/v1beta1/options/snapshots/{underlying}``."""
        now_ns, is_wanted = self._world.now_ns, _contract_filter(request)
        wanted = [
            (contract.symbol, number)
            for number, contract in self._world.ledger.instruments.options(request.name)
            if expiry_instant_ns(contract) > now_ns and is_wanted(contract)
        ]
        page, token = _page_of(sorted(wanted), request, 100, 1_000)
        for _, number in page:
            self._world.quote(number)
        return {"snapshots": self._snapshots([number for _, number in page]), "next_page_token": token}

    def _snapshots(self, numbers: list[InstrumentId]) -> dict[str, Any]:
        world = self._world
        with_greeks = self._greeks(numbers)
        answer: dict[str, Any] = {}
        for number in numbers:
            quote, trade = world.ledger.quotes.get(number), world.last_trades.get(number)
            snapshot: dict[str, Any] = {}
            if quote is not None:
                snapshot["latestQuote"] = quote_json(quote, is_option=True)
            if trade is not None:
                snapshot["latestTrade"] = trade_json(trade, is_option=True)
            snapshot.update(with_greeks.get(number, {}))
            answer[world.ledger.instruments[number].symbol] = snapshot
        return answer

    def _greeks(self, numbers: list[InstrumentId]) -> dict[InstrumentId, dict[str, Any]]:
        """Return implied volatility of the mid and Greeks: theta per day, vega and rho per point."""
        world = self._world
        rows = []
        for number in numbers:
            contract, quote = world.ledger.instruments[number], world.ledger.quotes.get(number)
            if not contract.is_option or quote is None or not quote.bid > 0:
                continue
            if contract.underlying not in world.ledger.instruments:
                continue
            share = world.ledger.instruments.id_of(contract.underlying)
            world.quote(share)
            spot = float(world.ledger.mark(share))
            years = years_between(world.now_ns, expiry_instant_ns(contract))
            if spot > 0 and years > 0 and math.isfinite(quote.mid):
                rate = world.source.rate_curve.rate_at(years * DAYS_PER_YEAR)
                rows.append((number, quote.mid, spot, float(contract.strike), years, contract.is_call, rate))
        if not rows:
            return {}
        first = world.ledger.instruments[rows[0][0]]
        american = first.is_option and first.style is Style.AMERICAN
        ids, mids, spots, strikes, spans, calls, rates = (list(column) for column in zip(*rows, strict=True))
        free = not any(rates) and not world.source.dividend_yield
        style = "american" if american and not free else "european"
        curve, carry = np.array(rates), world.source.dividend_yield
        found = implied_vol(mids, spots, strikes, spans, calls, rate=curve, dividend_yield=carry, style=style)
        vols = np.where(np.isfinite(found.vol), found.vol, 0.0)
        at = greeks(spots, strikes, spans, vols, calls, rate=curve, dividend_yield=carry, style=style)
        answer = {}
        for row, number in enumerate(ids):
            if found.status[row] != "ok":
                continue
            answer[number] = {
                "impliedVolatility": round(float(vols[row]), 6),
                "greeks": {
                    "delta": round(float(at.delta[row]), 6),
                    "gamma": round(float(at.gamma[row]), 6),
                    "theta": round(float(at.theta[row]) / DAYS_PER_YEAR, 6),
                    "vega": round(float(at.vega[row]) / 100.0, 6),
                    "rho": round(float(at.rho[row]) / 100.0, 6),
                },
            }
        return answer
