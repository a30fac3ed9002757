"""Alpaca's REST interface: authentication, rate limits and routes."""

import base64
import binascii
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.exchange.alpaca.market_data import OPTION_VENUES, MarketData, Reference
from scalpdesk.exchange.alpaca.orders import OrderDesk, account_activities, body_object, portfolio_history
from scalpdesk.exchange.alpaca.serializers import (
    INTERNAL,
    NOT_FOUND,
    TOO_MANY,
    UNAUTHORIZED,
    Answer,
    ApiError,
    Request,
    account_json,
    from_refusal,
)
from scalpdesk.exchange.market import SimulatedMarket
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.faults import Fault
from scalpdesk.simulation.orders import Refused

WINDOW_NS = 60 * NANOS_PER_SECOND
JSON_TYPE = {"Content-Type": "application/json; charset=UTF-8"}
UNSEEN = frozenset({"drop_request", "disconnect_before", "half_open"})
"""Faults that lose the request before the venue receives it."""


@dataclass(frozen=True, slots=True)
class Credential:
    """API keys of an account."""

    key: str
    secret: str
    account: str

    def __repr__(self) -> str:
        return f"Credential(account={self.account!r})"


class Keyring:
    """Finds the account of API keys.

    Parameters
    ----------
    credentials
        All valid keys.
    """

    def __init__(self, credentials: list[Credential]) -> None:
        self._by_key = {credential.key: credential for credential in credentials}

    @property
    def credentials(self) -> list[Credential]:
        """All keys."""
        return list(self._by_key.values())

    def account_of(self, key: str, secret: str) -> str | None:
        """Return the account of a key and secret, or None."""
        found = self._by_key.get(key)
        if found is None or not hmac.compare_digest(found.secret.encode(), secret.encode()):
            return None
        return found.account

    def from_headers(self, headers: dict[str, str]) -> str | None:
        """Return the account of a request's headers.

        Raises
        ------
        ApiError
            403 without credentials.
        """
        key, secret = headers.get("apca-api-key-id"), headers.get("apca-api-secret-key")
        if key and secret:
            return self.account_of(key, secret)
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic" and rest:
            try:
                name, _, secret_text = base64.b64decode(rest, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return None
            return self.account_of(name, secret_text)
        if scheme.lower() == "bearer" and rest:
            for credential in self._by_key.values():
                if hmac.compare_digest(credential.secret.encode(), rest.encode()):
                    return credential.account
            return None
        raise ApiError(403, None, "forbidden.")


class RateLimiter:
    """Limits the requests of each account in windows of a minute.

    Parameters
    ----------
    per_minute
        Requests allowed; 0 for no limit.
    """

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._windows: dict[str, tuple[int, int]] = {}

    def count(self, account: str, at_ns: int) -> tuple[bool, dict[str, str]]:
        """Count a request; return whether it is within the limit, and the rate-limit headers."""
        if not self.per_minute:
            return True, {}
        start_ns, used = self._windows.get(account, (at_ns, 0))
        if at_ns - start_ns >= WINDOW_NS:
            start_ns, used = at_ns, 0
        used += 1
        self._windows[account] = (start_ns, used)
        headers = {
            "X-RateLimit-Limit": str(self.per_minute),
            "X-RateLimit-Remaining": str(max(self.per_minute - used, 0)),
            "X-RateLimit-Reset": str((start_ns + WINDOW_NS) // NANOS_PER_SECOND),
        }
        return used <= self.per_minute, headers


Handler = Callable[[BrokerAccount, Request, str], Any]


class AlpacaApi:
    """All REST endpoints of a simulated market.

    Parameters
    ----------
    world
        Market and broker.
    keyring
        Valid API keys.
    trading_limit, data_limit
        Requests a minute and account; 0 for no limit.
    """

    def __init__(
        self, world: SimulatedMarket, keyring: Keyring, *, trading_limit: int = 200, data_limit: int = 10_000
    ) -> None:
        self.world = world
        self.keyring = keyring
        self._trading, self._data = RateLimiter(trading_limit), RateLimiter(data_limit)
        self._orders = OrderDesk(world)
        self._reference = Reference(world)
        self._market = MarketData(world)
        self._settings: dict[str, dict[str, Any]] = {}
        self._closed_until: dict[str, int] = {}
        self._routes = self._table()

    def handle(self, request: Request) -> Answer:
        """Answer a request; its consequences are published when the market settles next."""
        fault = self.world.faults.take("http", f"{request.method} {request.path}")
        if fault is not None and fault.name in UNSEEN:
            return Answer(0, fault=fault)
        headers = dict(JSON_TYPE)
        try:
            account, more = self._admit(request, fault)
            headers.update(more)
            result = self._route(request)(account, request, _last(request.path))
            status, body = self._encode(request, result)
        except Refused as refused:
            status, body = _error(from_refusal(refused))
        except ApiError as problem:
            status, body = _error(problem)
            if problem.code == TOO_MANY:
                headers["Retry-After"] = "1"
        if fault is not None and fault.name == "gateway_timeout":
            status, body = _error(ApiError(504, INTERNAL, "gateway timeout"))
        if not body:
            headers.pop("Content-Type", None)
        return Answer(status, body, headers, fault)

    def _admit(self, request: Request, fault: Fault | None) -> tuple[BrokerAccount, dict[str, str]]:
        """Authenticate a request and apply the rate limit."""
        if fault is not None:
            self._turn_away(request, fault)
        name = self.keyring.from_headers(request.headers)
        if name is None or request.at_ns < self._closed_until.get(name, 0):
            raise ApiError(401, UNAUTHORIZED, "request is not authorized")
        is_data = request.path.startswith(("/v2/stocks/", "/v1beta1/", "/v1/"))
        within, headers = (self._data if is_data else self._trading).count(name, request.at_ns)
        if not within:
            raise ApiError(429, TOO_MANY, "too many requests.")
        return self.world.ledger.accounts[name], headers

    def _turn_away(self, request: Request, fault: Fault) -> None:
        match fault.name:
            case "too_many_requests":
                raise ApiError(429, TOO_MANY, "too many requests.")
            case "server_error":
                raise ApiError(500, INTERNAL, "internal server error occurred")
            case "unavailable" | "maintenance":
                raise ApiError(503, INTERNAL, "service is under maintenance")
            case "auth_loss":
                name = self.keyring.from_headers(request.headers)
                if name is not None:
                    until = request.at_ns + int(fault.seconds * NANOS_PER_SECOND)
                    self._closed_until[name] = max(until, request.at_ns + 1)
            case _:
                return

    @staticmethod
    def _encode(request: Request, result: Any) -> tuple[int, bytes]:
        if result is None:
            return 204, b""
        many = request.method == "DELETE" and isinstance(result, list)
        return (207 if many else 200), msgspec.json.encode(result)

    # routes -----------------------------------------------------------------------------------------

    def _table(self) -> dict[tuple[str, str], Handler]:
        orders, reference, market = self._orders, self._reference, self._market
        world = self.world
        return {
            ("GET", "/v2/account"): lambda a, _r, _x: account_json(a, world.ledger.figures(a)),
            ("GET", "/v2/account/configurations"): lambda a, _r, _x: self._configuration(a),
            ("PATCH", "/v2/account/configurations"): lambda a, r, _x: self._configure(a, r),
            ("GET", "/v2/account/portfolio/history"): lambda a, r, _x: portfolio_history(world, a, r),
            ("GET", "/v2/account/activities"): lambda a, r, _x: account_activities(a, r, ""),
            ("GET", "/v2/account/activities/*"): account_activities,
            ("POST", "/v2/orders"): lambda a, r, _x: orders.submit(a, r),
            ("GET", "/v2/orders"): lambda a, r, _x: orders.orders(a, r),
            ("DELETE", "/v2/orders"): lambda a, _r, _x: orders.cancel_all(a),
            ("GET", "/v2/orders:by_client_order_id"): lambda a, r, _x: orders.order_by_client_id(a, r),
            ("GET", "/v2/orders/*"): orders.order,
            ("PATCH", "/v2/orders/*"): orders.replace,
            ("DELETE", "/v2/orders/*"): lambda a, _r, x: orders.cancel(a, x),
            ("GET", "/v2/positions"): lambda a, _r, _x: orders.positions(a),
            ("DELETE", "/v2/positions"): lambda a, r, _x: orders.close_all(a, r),
            ("GET", "/v2/positions/*"): lambda a, _r, x: orders.position(a, x),
            ("DELETE", "/v2/positions/*"): orders.close,
            ("POST", "/v2/positions/*/exercise"): lambda a, _r, x: orders.exercise(a, x),
            ("GET", "/v2/assets"): lambda _a, r, _x: reference.assets(r),
            ("GET", "/v2/assets/*"): lambda _a, _r, x: reference.asset(x),
            ("GET", "/v2/clock"): lambda _a, _r, _x: reference.clock(),
            ("GET", "/v2/calendar"): lambda _a, r, _x: reference.calendar(r),
            ("GET", "/v2/options/contracts"): lambda _a, r, _x: reference.contracts(r),
            ("GET", "/v2/options/contracts/*"): lambda _a, _r, x: reference.contract(x),
            ("GET", "/v2/corporate_actions/announcements"): lambda _a, _r, _x: [],
            ("GET", "/v1/corporate-actions"): lambda _a, r, _x: reference.corporate_actions(r),
            ("GET", "/v2/stocks/quotes/latest"): lambda _a, r, _x: market.latest_quotes(r, options=False),
            ("GET", "/v2/stocks/trades/latest"): lambda _a, r, _x: market.latest_trades(r, options=False),
            ("GET", "/v2/stocks/bars/latest"): lambda _a, r, _x: market.latest_bars(r),
            ("GET", "/v2/stocks/bars"): lambda _a, r, _x: market.bars(r, options=False),
            ("GET", "/v2/stocks/quotes"): lambda _a, r, _x: market.past(r, "quotes", options=False),
            ("GET", "/v2/stocks/trades"): lambda _a, r, _x: market.past(r, "trades", options=False),
            ("GET", "/v2/stocks/snapshots"): lambda _a, r, _x: market.stock_snapshots(r),
            ("GET", "/v1beta1/options/quotes/latest"): lambda _a, r, _x: market.latest_quotes(
                r, options=True
            ),
            ("GET", "/v1beta1/options/trades/latest"): lambda _a, r, _x: market.latest_trades(
                r, options=True
            ),
            ("GET", "/v1beta1/options/bars"): lambda _a, r, _x: market.bars(r, options=True),
            ("GET", "/v1beta1/options/trades"): lambda _a, r, _x: market.past(r, "trades", options=True),
            ("GET", "/v1beta1/options/meta/exchanges"): lambda _a, _r, _x: OPTION_VENUES,
            ("GET", "/v1beta1/options/snapshots"): lambda _a, r, _x: market.option_snapshots(r),
            ("GET", "/v1beta1/options/snapshots/*"): lambda _a, r, x: market.chain(r, x),
        }

    def _route(self, request: Request) -> Handler:
        found = self._routes.get((request.method, request.path))
        if found is None:
            head, _, tail = request.path.rpartition("/")
            pattern = f"{head}/*"
            if tail == "exercise":
                pattern = f"{head.rpartition('/')[0]}/*/exercise"
            found = self._routes.get((request.method, pattern)) if tail else None
        if found is None:
            raise ApiError(404, NOT_FOUND, "endpoint not found.")
        return found

    def _configuration(self, account: BrokerAccount) -> dict[str, Any]:
        start: dict[str, Any] = {
            "dtbp_check": "entry",
            "fractional_trading": True,
            "max_margin_multiplier": str(account.multiplier),
            "no_shorting": not account.shorting_enabled,
            "pdt_check": "entry",
            "ptp_no_exception_entry": False,
            "suspend_trade": account.trading_blocked,
            "trade_confirm_email": "none",
            "max_options_trading_level": account.options_level,
        }
        return {**start, **self._settings.get(account.name, {})}

    def _configure(self, account: BrokerAccount, request: Request) -> dict[str, Any]:
        body = body_object(request)
        known = self._configuration(account)
        changes = {name: value for name, value in body.items() if name in known and value is not None}
        if isinstance(changes.get("no_shorting"), bool):
            account.shorting_enabled = not changes["no_shorting"]
        if isinstance(changes.get("suspend_trade"), bool):
            account.trading_blocked = changes["suspend_trade"]
        if isinstance(changes.get("max_options_trading_level"), int):
            account.options_level = min(max(changes["max_options_trading_level"], 0), 3)
        self._settings.setdefault(account.name, {}).update(changes)
        return self._configuration(account)


def _last(path: str) -> str:
    """Return the symbol or id at the end of a path."""
    parts = path.split("/")
    return parts[-2] if parts[-1] == "exercise" else parts[-1]


def _error(problem: ApiError) -> tuple[int, bytes]:
    return problem.status, msgspec.json.encode(problem.document())
