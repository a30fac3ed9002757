"""What is listed and when it trades: assets, contracts, clock, calendar, corporate actions."""

import base64
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from scalpdesk.exchange.alpaca.messages import MALFORMED, NOT_FOUND, ApiError, Request
from scalpdesk.exchange.alpaca.shapes import (
    asset_class,
    asset_id,
    asset_json,
    contract_json,
    new_york_instant,
)
from scalpdesk.exchange.alpaca.times import coming_weekend, query_date
from scalpdesk.exchange.world import World
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns, next_session, to_new_york

Item = TypeVar("Item")
COINS = frozenset({"BTC", "ETH"})
MAX_CALENDAR_DAYS = 3_700
FIRST_DAY, LAST_DAY = date(1995, 1, 10), date(2030, 12, 20)
"""What the exchange calendar knows."""


def page_of(
    items: Sequence[Item], request: Request, default: int, maximum: int
) -> tuple[Sequence[Item], str | None]:
    """Cut one page out of a list; return it and the token of the next, None at the end.

    Raises
    ------
    ApiError
        When the limit or the token is not one.
    """
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
    """Reference endpoints of one world.

    Parameters
    ----------
    world
        Market and broker.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def assets(self, request: Request) -> list[dict[str, Any]]:
        """``GET /v2/assets``."""
        if request.query.get("status") == "inactive":
            return []
        wanted = request.query.get("asset_class") or "us_equity"
        exchange = request.query.get("exchange")
        found = [
            asset_json(one)
            for one in self._world.books.instruments
            if asset_class(one) == wanted and one.symbol not in COINS
        ]
        attributes = set(request.listed("attributes"))
        return [
            one
            for one in found
            if (not exchange or one["exchange"] == exchange) and attributes <= set(one["attributes"])
        ]

    def asset(self, text: str) -> dict[str, Any]:
        """``GET /v2/assets/{symbol or id}``."""
        for one in self._world.books.instruments:
            if text in (one.symbol, asset_id(one.symbol)) and one.symbol not in COINS:
                return asset_json(one)
        raise ApiError(404, NOT_FOUND, f"asset not found for {text}")

    def clock(self) -> dict[str, Any]:
        """``GET /v2/clock``."""
        hours, now_ns = self._world.source.hours, self._world.now_ns
        return {
            "timestamp": new_york_instant(now_ns),
            "is_open": hours.session_at(now_ns) is not None,
            "next_open": new_york_instant(hours.next_open_ns(now_ns)),
            "next_close": new_york_instant(hours.next_close_ns(now_ns)),
        }

    def calendar(self, request: Request) -> list[dict[str, Any]]:
        """``GET /v2/calendar``."""
        today = to_new_york(self._world.now_ns).date()
        start = query_date(request, "start") or today
        end = query_date(request, "end") or today + timedelta(days=30)
        if end < start or (end - start).days > MAX_CALENDAR_DAYS:
            raise ApiError(
                422, MALFORMED, "start must not be after end, and not more than ten years before it"
            )
        start, end = max(start, FIRST_DAY), min(end, LAST_DAY)
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
        exact, low, high = (
            query_date(request, name)
            for name in ("expiration_date", "expiration_date_gte", "expiration_date_lte")
        )
        if exact is None and low is None and high is None:
            high = coming_weekend(to_new_york(self._world.now_ns).date())
        least, most = strike_bound(request, "strike_price_gte"), strike_bound(request, "strike_price_lte")
        found = [
            one
            for one in self._world.books.instruments
            if isinstance(one, OptionContract)
            and (not underlyings or one.underlying in underlyings)
            and self._status(one) == status
            and (exact is None or one.expiry == exact)
            and (low is None or one.expiry >= low)
            and (high is None or one.expiry <= high)
            and query.get("root_symbol", one.root) == one.root
            and query.get("type", "call" if one.is_call else "put") == ("call" if one.is_call else "put")
            and query.get("style", one.style.value) == one.style.value
            and (least is None or one.strike >= least)
            and (most is None or one.strike <= most)
        ]
        found.sort(key=lambda one: (one.underlying, one.expiry, not one.is_call, one.strike))
        page, token = page_of(found, request, 100, 10_000)
        return {
            "option_contracts": [contract_json(self._world, one, self._status(one)) for one in page],
            "next_page_token": token,
        }

    def contract(self, text: str) -> dict[str, Any]:
        """``GET /v2/options/contracts/{symbol or id}``."""
        for one in self._world.books.instruments:
            if isinstance(one, OptionContract) and text in (one.symbol, asset_id(one.symbol)):
                return contract_json(self._world, one, self._status(one))
        raise ApiError(404, NOT_FOUND, f"option contract not found for {text}")

    def corporate_actions(self, request: Request) -> dict[str, Any]:
        """``GET /v1/corporate-actions``."""
        symbols, types = set(request.listed("symbols")), set(request.listed("types"))
        today = to_new_york(self._world.now_ns).date()
        start = query_date(request, "start") or today
        end = query_date(request, "end") or today
        found = [
            one
            for one in self._world.source.dividends
            if (not symbols or one.symbol in symbols) and start <= one.ex_date <= end
        ]
        found.sort(key=lambda one: one.ex_date, reverse=request.query.get("sort") == "desc")
        if types and not types & {"cash_dividend", "cash_dividends"}:
            found = []
        page, token = page_of(found, request, 100, 1_000)
        dividends = [
            {
                "id": asset_id(f"dividend|{one.symbol}|{one.ex_date}"),
                "symbol": one.symbol,
                "cusip": asset_id(one.symbol).replace("-", "")[:9].upper(),
                "rate": float(one.amount),
                "special": False,
                "foreign": False,
                "process_date": one.ex_date.isoformat(),
                "ex_date": one.ex_date.isoformat(),
                "record_date": one.ex_date.isoformat(),
                "payable_date": (one.ex_date + timedelta(days=14)).isoformat(),
            }
            for one in page
        ]
        return {
            "corporate_actions": {"cash_dividends": dividends} if dividends else {},
            "next_page_token": token,
        }


def strike_bound(request: Request, name: str) -> Decimal | None:
    """Return a strike of the query, currency.

    Raises
    ------
    ApiError
        When it is no number.
    """
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
