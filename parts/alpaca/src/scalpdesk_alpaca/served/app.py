"""Alpaca's REST interface: authentication, rate limits and endpoints.

The server library's own router finds the endpoint of a path, for requests over a socket and for those that
tests hand in. It is asked synchronously: its coroutine waits for nothing.
"""

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from aiohttp import web
from yarl import URL

from scalpdesk.base import MINUTE_NS, NANOS_PER_SECOND, Refused
from scalpdesk.exchange import AnswerFaults, BrokerAccount, Fault, Keyring, Question, SimulatedMarket
from scalpdesk_alpaca.served.market_data import OPTION_VENUES, MarketData, Reference
from scalpdesk_alpaca.served.orders import AccountDesk, OrderDesk
from scalpdesk_alpaca.served.questions import emptied, falsified, question_of
from scalpdesk_alpaca.served.requests import (
    INTERNAL,
    NOT_FOUND,
    TOO_MANY,
    UNAUTHORIZED,
    Answer,
    ApiError,
    Request,
    from_refusal,
)

_WINDOW_NS = MINUTE_NS
_JSON_TYPE = {"Content-Type": "application/json; charset=UTF-8"}
_LIMITS_SHOWN = frozenset({"/v2/calendar", "/v2/clock"})
"""Paths of the trading interface whose answers show the rate limit; those of market data all do."""
UNSEEN = frozenset({"drop_request", "disconnect_before", "half_open"})
"""Faults that lose the request before the venue receives it."""


def account_of(keyring: Keyring, headers: Mapping[str, str]) -> str | None:
    """Return the account of a request's headers, None for keys that are not known.

    Raises ApiError 403 without credentials.
    """
    key, secret = headers.get("apca-api-key-id"), headers.get("apca-api-secret-key")
    if key and secret:
        return keyring.account_of(key, secret)
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic" and rest:
        try:
            name, _, secret_text = base64.b64decode(rest, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return keyring.account_of(name, secret_text)
    if scheme.lower() == "bearer" and rest:
        for credential in keyring.credentials:
            if hmac.compare_digest(credential.secret.encode(), rest.encode()):
                return credential.account
        return None
    raise ApiError(403, None, "forbidden.")


class _RateLimiter:
    """Limits the requests of each account in windows of a minute.

    ``per_minute``: Requests allowed; 0 for no limit.
    """

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._windows: dict[str, tuple[int, int]] = {}

    def count(self, account: str, at_ns: int) -> tuple[bool, dict[str, str]]:
        """Count a request; return whether it is within the limit, and the rate-limit headers."""
        if not self.per_minute:
            return True, {}
        start_ns, used = self._windows.get(account, (at_ns, 0))
        if at_ns - start_ns >= _WINDOW_NS:
            start_ns, used = at_ns, 0
        used += 1
        self._windows[account] = (start_ns, used)
        headers = {
            "X-RateLimit-Limit": str(self.per_minute),
            "X-RateLimit-Remaining": str(max(self.per_minute - used, 0)),
            "X-RateLimit-Reset": str((start_ns + _WINDOW_NS) // NANOS_PER_SECOND),
        }
        return used <= self.per_minute, headers


Handler = Callable[[BrokerAccount, Request], Any]


class AlpacaApi:
    """All REST endpoints of a simulated market.

    ``world``: Market and broker.
    ``keyring``: Valid API keys.
    ``trading_limit``, ``data_limit``: Requests a minute and account; 0 for no limit.
    """

    def __init__(
        self, world: SimulatedMarket, keyring: Keyring, *, trading_limit: int = 200, data_limit: int = 10_000
    ) -> None:
        self.world = world
        self.keyring = keyring
        self._trading, self._data = _RateLimiter(trading_limit), _RateLimiter(data_limit)
        self._closed_until: dict[str, int] = {}
        self._router = web.UrlDispatcher()
        self._handlers: dict[web.AbstractRoute, Handler] = {}
        self._found = lru_cache(maxsize=256)(self._find)  # 2 us for 15: clients ask the same paths again
        self._answers = AnswerFaults[tuple[int, bytes]](lambda: world.faults)
        self._add_endpoints()

    def handle(self, request: Request) -> Answer:
        """Answer a request; its consequences are published when the market settles next."""
        fault = self.world.faults.take("http", f"{request.method} {request.path}")
        if fault is not None and fault.name in UNSEEN:
            return Answer(0, fault=fault)
        headers = dict(_JSON_TYPE)
        try:
            account, more = self._admit(request, fault)
            headers.update(more)
            status, body = self._answer(account, request)
        except ApiError as problem:
            status, body = _error(problem)
            if problem.code == TOO_MANY:
                headers["Retry-After"] = "1"
        if fault is not None and fault.name == "gateway_timeout":
            status, body = _error(ApiError(504, INTERNAL, "gateway timeout"))
        if fault is None and not self.world.faults.is_quiet:
            fault, status, body = self._spoil(request, status, body)
        if not body:
            headers.pop("Content-Type", None)
        return Answer(status, body, headers, fault)

    def _admit(self, request: Request, fault: Fault | None) -> tuple[BrokerAccount, dict[str, str]]:
        """Authenticate a request and apply the rate limit."""
        if fault is not None:
            self._turn_away(request, fault)
        name = account_of(self.keyring, request.headers)
        if name is None or request.at_ns < self._closed_until.get(name, 0):
            raise ApiError(401, UNAUTHORIZED, "request is not authorized")
        limiter = self._data if request.is_data else self._trading
        within, headers = limiter.count(name, request.at_ns)
        if not within:
            raise _too_many(request)
        shows_limit = request.is_data or request.path in _LIMITS_SHOWN
        return self.world.ledger.accounts[name], headers if shows_limit else {}

    def _turn_away(self, request: Request, fault: Fault) -> None:
        match fault.name:
            case "too_many_requests":
                raise _too_many(request)
            case "server_error":
                raise ApiError(500, INTERNAL, "internal server error occurred")
            case "unavailable" | "maintenance":
                raise ApiError(503, INTERNAL, "service is under maintenance")
            case "auth_loss":
                name = account_of(self.keyring, request.headers)
                if name is not None:
                    until = request.at_ns + int(fault.seconds * NANOS_PER_SECOND)
                    self._closed_until[name] = max(until, request.at_ns + 1)
            case _:
                return

    def _spoil(self, request: Request, status: int, body: bytes) -> tuple[Fault | None, int, bytes]:
        """Return the fault of an answer to a question, and what it leaves of the answer."""
        question = question_of(request.method, request.path)
        fault = self._answers.strike(question)
        if fault is None or question is None:
            return None, status, body
        if fault.name == "answer_refused":
            status, body = _error(ApiError(500, INTERNAL, "internal server error occurred"))
        elif fault.name == "answer_old":
            asked = request.path, *sorted(request.query.items())
            status, body = self._answers.earlier(question, asked, (status, body))
        elif fault.name == "answer_empty" and question is Question.ORDER_BY_ID:
            status, body = _error(ApiError(404, NOT_FOUND, f"order not found for {request.name}"))
        elif status == 200 and fault.name == "answer_empty":
            body = msgspec.json.encode(emptied(question, msgspec.json.decode(body)))
        elif status == 200 and fault.name.startswith("answer_wrong"):
            body = msgspec.json.encode(falsified(question, fault.name, msgspec.json.decode(body)))
        return fault, status, body

    def _answer(self, account: BrokerAccount, request: Request) -> tuple[int, bytes]:
        handler, request.name = self._found(request.method, request.path)
        if handler is None:
            raise ApiError(404, NOT_FOUND, "endpoint not found.")
        try:
            result = handler(account, request)
        except Refused as refused:
            raise from_refusal(refused, account) from None
        if result is None:
            return 204, b""
        many = request.method == "DELETE" and isinstance(result, list)
        return (207 if many else 200), msgspec.json.encode(result)

    # endpoints --------------------------------------------------------------------------------------

    def _find(self, method: str, path: str) -> tuple[Handler | None, str]:
        """Return what answers a request, and the variable part of its path."""
        # method and URL are all that the router reads of a request
        asked = SimpleNamespace(method=method, rel_url=URL.build(path=path))
        finding = self._router.resolve(cast("web.Request", asked))
        try:
            finding.send(None)
        except StopIteration as found:
            match: web.UrlMappingMatchInfo = found.value
        else:
            raise AssertionError("the router waits")
        return self._handlers.get(match.route), match.get("name", "")

    def _add_endpoints(self) -> None:
        desk, orders = AccountDesk(self.world), OrderDesk(self.world)
        for method, path, handler in (
            ("GET", "/v2/account", desk.account),
            ("GET", "/v2/account/configurations", desk.configuration),
            ("PATCH", "/v2/account/configurations", desk.configure),
            ("GET", "/v2/account/portfolio/history", desk.portfolio_history),
            ("GET", "/v2/account/activities", desk.activities),
            ("GET", "/v2/account/activities/{name}", desk.activities),
            ("POST", "/v2/orders", orders.submit),
            ("GET", "/v2/orders", orders.orders),
            ("DELETE", "/v2/orders", orders.cancel_all),
            ("GET", "/v2/orders:by_client_order_id", orders.order_by_client_id),
            ("GET", "/v2/orders/{name}", orders.order),
            ("PATCH", "/v2/orders/{name}", orders.replace),
            ("DELETE", "/v2/orders/{name}", orders.cancel),
            ("GET", "/v2/positions", orders.positions),
            ("DELETE", "/v2/positions", orders.close_all),
            ("GET", "/v2/positions/{name}", orders.position),
            ("DELETE", "/v2/positions/{name}", orders.close),
            ("POST", "/v2/positions/{name}/exercise", orders.exercise),
            ("POST", "/v2/positions/{name}/do-not-exercise", orders.do_not_exercise),
        ):
            self._add(method, path, handler)
        reference, market = Reference(self.world), MarketData(self.world)
        for path, read in (
            ("/v2/assets", reference.assets),
            ("/v2/assets/{name}", reference.asset),
            ("/v2/clock", reference.clock),
            ("/v2/calendar", reference.calendar),
            ("/v2/options/contracts", reference.contracts),
            ("/v2/options/contracts/{name}", reference.contract),
            ("/v2/corporate_actions/announcements", reference.announcements),
            ("/v1/corporate-actions", reference.corporate_actions),
            ("/v2/stocks/quotes/latest", market.latest_quotes),
            ("/v2/stocks/trades/latest", market.latest_trades),
            ("/v2/stocks/bars/latest", market.latest_bars),
            ("/v2/stocks/bars", market.bars),
            ("/v2/stocks/quotes", market.quotes),
            ("/v2/stocks/trades", market.trades),
            ("/v2/stocks/snapshots", market.stock_snapshots),
            ("/v1beta1/options/quotes/latest", market.latest_quotes),
            ("/v1beta1/options/trades/latest", market.latest_trades),
            ("/v1beta1/options/bars", market.bars),
            ("/v1beta1/options/trades", market.trades),
            ("/v1beta1/options/meta/exchanges", lambda _request: OPTION_VENUES),
            ("/v1beta1/options/snapshots", market.option_snapshots),
            ("/v1beta1/options/snapshots/{name}", market.chain),
        ):
            self._add("GET", path, _of_the_market(read))

    def _add(self, method: str, path: str, handler: Handler) -> None:
        self._handlers[self._router.add_route(method, path, _not_called)] = handler


async def _not_called(_request: web.Request) -> web.StreamResponse:
    """Stand for an endpoint in the router, whose own handlers answer over sockets alone."""
    raise AssertionError


def _of_the_market(read: Callable[[Request], Any]) -> Handler:
    """Return an endpoint that answers every account alike."""
    return lambda _account, request: read(request)


def _too_many(request: Request) -> ApiError:
    return ApiError(429, TOO_MANY, "too many requests." if request.is_data else "rate limit exceeded")


def _error(problem: ApiError) -> tuple[int, bytes]:
    return problem.status, msgspec.json.encode(problem.document())
