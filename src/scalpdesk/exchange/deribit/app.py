"""Deribit's JSON-RPC interface: methods, sessions with their channels, tokens, and errors by their codes.

Synchronous: a server hands in frames and sends what :attr:`RpcSession.send` is given. One function answers a
method over a websocket and over REST. Of the venue it follows the shapes in which public clients read it.
"""

import base64
import binascii
import hashlib
import hmac
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import structs

from scalpdesk.core.clock import Clock
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import OrderType, Side, TimeInForce
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.exchange.alpaca.app import Keyring
from scalpdesk.exchange.market import Published, SimulatedMarket
from scalpdesk.exchange.source import TapeSource, combine
from scalpdesk.instruments.contract import Instrument, OptionContract
from scalpdesk.instruments.deribit import DERIBIT_FEES, OPTION_STEPS, expiry_name, option_name
from scalpdesk.instruments.sessions import coin_session, expiry_instant_ns
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.pricing.scalar import coin_greeks
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.orders import (
    BrokerOrder,
    Cause,
    Changes,
    Execution,
    LegRequest,
    OrderRequest,
    OrderUpdate,
    Refused,
    Status,
    Structure,
)

API_PATH = "/api/v2"
SOCKET_PATH = "/ws/api/v2"
MS = 1_000_000
TOKEN_SECONDS = 900
LEAST_HEARTBEAT_SECONDS = 10
PRICE_BAND = Decimal("0.05")
"""How far a limit of a perpetual may lie beyond its mark."""
MOST_LEGS = 4
FAR_FUTURE_MS = 32_503_708_800_000
ZERO, DAYS_PER_YEAR = Decimal(0), 365.0
MINUTE_SECONDS, MOST_ROWS = 60, 1_000
CHART_MINUTES = {str(count): count for count in (1, 3, 5, 10, 15, 30, 60, 120, 180, 360, 720)} | {"1D": 1_440}
"""Lengths of a chart's bars by their name at the venue."""
DAY_NS = 86_400 * 1_000_000_000
MATCHING = frozenset({"buy", "sell", "edit", "cancel", "close", "create"})
"""Verbs of the methods that reach the matching engine."""
FILLS = frozenset({"fill", "partial_fill"})
SHOWN = frozenset({"new", "canceled", "expired", "rejected", *FILLS})
"""Updates of the broker that the venue shows; an edited order goes on under its id."""


@dataclass(slots=True)
class Credits:
    """Requests that an account has left, refilled with time: the lowest tier's limits."""

    a_second: float
    most: float
    """``a_second``, ``most``: Requests a second that are granted for ever, and at once after a rest."""
    left: float = field(init=False)
    at_ns: int = 0

    def __post_init__(self) -> None:
        self.left = self.most

    def take(self, now_ns: int) -> bool:
        """Spend one request; return False where none is left."""
        self.left = min(self.left + self.a_second * (now_ns - self.at_ns) / 1e9, self.most)
        self.at_ns = now_ns
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True


class RpcFault(Exception):  # noqa: N818 - an answer, not an error of ours
    """An error answer of the venue.

    Parameters
    ----------
    code, message
        Of the venue.
    data
        More on it.
    """

    def __init__(self, code: int, message: str, **data: str) -> None:
        self.code, self.message, self.data = code, message, data
        super().__init__(message)


CODES: dict[Cause, tuple[int, str]] = {
    Cause.BUYING_POWER: (10009, "not_enough_funds"),
    Cause.QUANTITY: (10021, "invalid_amount"),
    Cause.MALFORMED: (10021, "invalid_amount"),
    Cause.UNKNOWN_ASSET: (10020, "invalid_or_unsupported_instrument"),
    Cause.INACTIVE_ASSET: (10012, "book_closed"),
    Cause.UNKNOWN_ORDER: (10004, "order_not_found"),
    Cause.CLOSED_ORDER: (11044, "not_open_order"),
    Cause.NOT_SENT_YET: (11044, "not_open_order"),
    Cause.ACCOUNT_BLOCKED: (13021, "forbidden"),
    Cause.OUTSIDE_HOURS: (10012, "book_closed"),
}
OTHER_REJECT = (11030, "other_reject")
LOG_TYPES = {
    "INT": "settlement",
    "OPCSH": "delivery",
    "OPEXP": "delivery",
    "FEE": "delivery",
    "JNLC": "transfer",
}
"""Types of the transaction log by the kinds of the broker's activities."""
STATES = {
    Status.FILLED: "filled",
    Status.CANCELED: "cancelled",
    Status.EXPIRED: "cancelled",
    Status.REPLACED: "cancelled",
    Status.REJECTED: "rejected",
}
LIFETIMES = {
    "good_til_cancelled": TimeInForce.GTC,
    "good_til_day": TimeInForce.DAY,
    "immediate_or_cancel": TimeInForce.IOC,
    "fill_or_kill": TimeInForce.FOK,
}
NAMES_OF_LIFETIMES = {value: name for name, value in LIFETIMES.items()}


@dataclass(slots=True)
class AccessToken:
    """Access to an account for a time."""

    account: str
    expires_ns: int
    """By the wall clock, UTC nanoseconds."""


@dataclass(slots=True, eq=False)
class RpcSession:
    """One websocket connection, or one REST request."""

    send: Callable[[str], None]
    close: Callable[[], None]
    account: str | None = None
    token_expires_ns: int = 0
    channels: set[str] = field(default_factory=set)
    heartbeat_seconds: int = 0
    is_tested: bool = False
    """Whether a test request waits for its ``public/test``."""
    cancels_on_disconnect: bool = False
    orders: list[str] = field(default_factory=list)
    """Ids of the orders that came over this connection."""
    is_ended: bool = False
    """Whether it is closed after its next answer: it has asked too often."""


def _is_true(value: Any) -> bool:
    """Return whether a flag is set, in JSON or in a query."""
    return value in (True, "true", "True")


def plain_number(value: Decimal | float | None) -> int | float:
    """Return an exact number as JSON's, whole where it is; 0 for none."""
    if value is None:
        return 0
    found = float(value)
    return int(found) if found.is_integer() and abs(found) < 2**53 else found


def _has_leg(trade: dict[str, Any], execution: Execution) -> bool:
    """Return whether an execution is that of a leg in a combo's trade."""
    return any(leg["trade_id"] == execution.execution_id for leg in trade["legs"])


class DeribitApi:
    """Answers JSON-RPC from a simulated market.

    Parameters
    ----------
    world
        Market and broker; its accounts are in coin.
    keyring
        Client ids and secrets.
    clock
        Wall clock, for the life of tokens and for credits.
    has_limits
        Whether requests are limited.
    """

    def __init__(
        self, world: SimulatedMarket, keyring: Keyring, clock: Clock, *, has_limits: bool = False
    ) -> None:
        self._world = world
        self._has_limits = has_limits
        self._credits: dict[tuple[str, bool], Credits] = {}
        """By account, and whether a request reaches the matching engine."""
        self.is_locked = False
        """Whether the venue is in maintenance: it answers what is public and refuses the rest."""
        self._keyring = keyring
        self._clock = clock
        self._sessions: list[RpcSession] = []
        self._tokens: dict[str, AccessToken] = {}
        self._refresh: dict[str, str] = {}
        self._labels: dict[str, str] = {}
        """Label by order id; the venue takes one as often as it is sent."""
        self._edited: dict[str, str] = {}
        """First id of an order by those of what took its place: the venue keeps it over each edit."""
        self._combos: dict[str, dict[str, Any]] = {}
        """Combos as they are shown, by id; the amounts of their legs are those of one that is bought."""
        self._combo_of: dict[str, tuple[str, Side]] = {}
        """Combo and direction by order id."""
        self._combo_trades: dict[str, list[dict[str, Any]]] = {}
        """Trades of combos with those of their legs, by order id."""
        self._count = 0
        self._pricer = ContractPricer()
        self._methods: dict[str, Callable[[RpcSession, Mapping[str, Any]], Any]] = {
            "public/auth": self._public_auth,
            "public/test": self._public_test,
            "public/get_time": self._public_get_time,
            "public/set_heartbeat": self._public_set_heartbeat,
            "public/get_currencies": self._public_get_currencies,
            "public/get_instruments": self._public_get_instruments,
            "public/get_instrument": self._public_get_instrument,
            "public/ticker": self._public_ticker,
            "public/get_order_book": self._public_get_order_book,
            "public/get_index_price": self._public_get_index_price,
            "public/get_book_summary_by_currency": self._public_get_book_summary_by_currency,
            "public/get_tradingview_chart_data": self._public_get_tradingview_chart_data,
            "public/status": self._public_status,
            "public/get_last_trades_by_instrument": self._public_get_last_trades,
            "public/get_last_trades_by_instrument_and_time": self._public_get_last_trades,
            "public/get_last_trades_by_currency": self._public_get_last_trades,
            "public/get_last_trades_by_currency_and_time": self._public_get_last_trades,
            "public/get_last_settlements_by_currency": self._public_get_last_settlements,
            "public/get_volatility_index_data": self._public_get_volatility_index_data,
            "public/get_book_summary_by_instrument": self._public_get_book_summary_by_instrument,
            "public/get_combos": self._public_get_combos,
            "public/get_combo_ids": self._public_get_combo_ids,
            "public/get_combo_details": self._public_get_combo_details,
            "public/get_funding_rate_value": self._public_get_funding_rate_value,
            "public/get_funding_rate_history": self._public_get_funding_rate_history,
            "public/subscribe": self._public_subscribe,
            "private/subscribe": self._private_subscribe,
            "public/unsubscribe": self._public_unsubscribe,
            "private/unsubscribe": self._private_unsubscribe,
            "private/buy": self._private_buy,
            "private/sell": self._private_sell,
            "private/create_combo": self._private_create_combo,
            "private/edit": self._private_edit,
            "private/cancel": self._private_cancel,
            "private/cancel_all": self._private_cancel_all,
            "private/cancel_all_by_currency": self._private_cancel_all,
            "private/cancel_all_by_instrument": self._private_cancel_all,
            "private/edit_by_label": self._private_edit_by_label,
            "private/cancel_by_label": self._private_cancel_by_label,
            "private/get_order_state": self._private_get_order_state,
            "private/get_order_state_by_label": self._private_get_order_state_by_label,
            "private/get_open_orders_by_currency": self._private_get_open_orders_by_currency,
            "private/get_open_orders": self._private_get_open_orders,
            "private/get_open_orders_by_instrument": self._private_get_open_orders,
            "private/get_order_history_by_currency": self._private_get_order_history,
            "private/get_order_history_by_instrument": self._private_get_order_history,
            "private/get_position": self._private_get_position,
            "private/close_position": self._private_close_position,
            "private/get_transaction_log": self._private_get_transaction_log,
            "private/get_user_trades_by_order": self._private_get_user_trades_by_order,
            "private/get_user_trades_by_currency_and_time": self._private_get_user_trades,
            "private/get_user_trades_by_instrument": self._private_get_user_trades,
            "private/get_user_trades_by_currency": self._private_get_user_trades,
            "private/get_positions": self._private_get_positions,
            "private/get_account_summary": self._private_get_account_summary,
            "private/get_account_summaries": self._private_get_account_summaries,
            "private/enable_cancel_on_disconnect": self._private_enable_cancel_on_disconnect,
        }
        world.on_market(self._on_market)
        world.on_update(self._on_update)

    # frames -----------------------------------------------------------------------------------------

    def open(self, session: RpcSession) -> None:
        """Take a connection."""
        self._sessions.append(session)

    @property
    def ready_count(self) -> int:
        """Number of connections that follow channels."""
        return sum(bool(session.channels) for session in self._sessions)

    def lock(self, locked: bool) -> None:
        """Begin or end a maintenance."""
        self.is_locked = locked

    def leave(self, session: RpcSession) -> None:
        """End a connection; with cancel-on-disconnect its orders are cancelled."""
        if session in self._sessions:
            self._sessions.remove(session)
        if session.cancels_on_disconnect and session.account is not None:
            for order_id in session.orders:
                if self._world.ledger.orders[order_id].is_open:
                    self._world.broker.cancel(session.account, order_id)
            self._world.settle()

    def receive(self, session: RpcSession, text: str) -> None:
        """Answer one frame of a websocket."""
        try:
            frame = msgspec.json.decode(text)
            request_id, method = frame.get("id"), str(frame["method"])
            params = frame.get("params") or {}
        except (msgspec.DecodeError, AttributeError, KeyError, TypeError):
            session.send(self._envelope(None, error=RpcFault(-32700, "Parse error")))
            return
        session.send(self.answer(session, request_id, method, params))
        if session.is_ended:
            session.close()
        elif method.endswith("/subscribe") and session.account is not None:
            account = self._world.ledger.accounts[session.account]
            for channel in params.get("channels") or []:  # the account as it stands
                if channel in session.channels and channel.startswith("user.portfolio."):
                    self._notify(session, channel, self._summary(account))

    def answer(self, session: RpcSession, request_id: Any, method: str, params: Any) -> str:
        """Return the answer to one request as JSON."""
        try:
            return self._envelope(request_id, result=self.call(session, method, params))
        except RpcFault as fault:
            return self._envelope(request_id, error=fault)

    def answer_rest(
        self, session: RpcSession, method: str, query: Mapping[str, str], body: str
    ) -> tuple[bool, str]:
        """Return whether a request over HTTP is granted, and its answer; a body adds to the query."""
        params: dict[str, Any] = dict(query)
        if body:
            try:
                params |= msgspec.json.decode(body).get("params") or {}
            except (msgspec.DecodeError, AttributeError, TypeError):
                return False, self._envelope(None, error=RpcFault(-32700, "Parse error"))
        try:
            return True, self._envelope(None, result=self.call(session, method, params))
        except RpcFault as fault:
            return False, self._envelope(None, error=fault)

    def call(self, session: RpcSession, method: str, params: Any) -> Any:
        """Return the result of one request.

        Raises
        ------
        RpcFault
            When the venue answers with an error.
        """
        found = self._methods.get(method)
        if found is None:
            raise RpcFault(-32601, "Method not found")
        if not isinstance(params, Mapping):
            raise RpcFault(-32602, "Invalid params", reason="must be an object")
        if method.startswith("private/"):
            self._check_access(session, params)
            if self.is_locked:
                raise RpcFault(11051, "system_maintenance")
        if self._has_limits:
            self._spend(session, method)
        try:
            return found(session, params)
        except Refused as refused:
            code, words = CODES.get(refused.cause, OTHER_REJECT)
            raise RpcFault(code, words, reason=refused.reason) from None

    def refused(self, request_id: Any, fault: RpcFault) -> str:
        """Return the answer that refuses a request."""
        return self._envelope(request_id, error=fault)

    def _spend(self, session: RpcSession, method: str) -> None:
        """Spend a credit; without one the request is refused and its connection ends."""
        if method == "public/test":
            return
        matches = method.partition("/")[2].partition("_")[0] in MATCHING
        limits = (5.0, 20.0) if matches else (20.0, 100.0)
        payer = session.account or ""  # whoever has not logged in shares the credits of the address
        credits_left = self._credits.setdefault((payer, matches), Credits(*limits))
        if not credits_left.take(self._clock.now_ns()):
            session.is_ended = True
            raise RpcFault(10028, "too_many_requests")

    def _envelope(self, request_id: Any, *, result: Any = None, error: RpcFault | None = None) -> str:
        stamp = self._world.now_ns // 1_000
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": request_id, "testnet": True}
        if error is None:
            body |= {"result": result, "usIn": stamp, "usOut": stamp, "usDiff": 0}
        else:
            body["error"] = {"code": error.code, "message": error.message, "data": error.data}
        return msgspec.json.encode(body).decode()

    def beat(self, session: RpcSession) -> None:
        """Ask a connection for a sign of life; end it when the last one was not given."""
        if not session.heartbeat_seconds:
            return
        if session.is_tested:
            session.close()
            return
        session.is_tested = True
        params = {"type": "test_request"}
        session.send(
            msgspec.json.encode({"jsonrpc": "2.0", "method": "heartbeat", "params": params}).decode()
        )

    # access -----------------------------------------------------------------------------------------

    def _check_access(self, session: RpcSession, params: Mapping[str, Any]) -> None:
        token = params.get("access_token")
        if token is not None:
            self.take_token(session, str(token))
        if session.account is None or session.token_expires_ns <= self._clock.now_ns():
            raise RpcFault(13009, "unauthorized", reason="invalid_token")

    def take_token(self, session: RpcSession, token: str) -> None:
        """Give a session the account of an access token, where it is one."""
        known = self._tokens.get(token)
        if known is not None:
            session.account, session.token_expires_ns = known.account, known.expires_ns

    def take_basic(self, session: RpcSession, encoded: str) -> None:
        """Give a session the account of ``id:secret`` in base64."""
        try:
            key, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return
        account = self._keyring.account_of(key, secret)
        if account is not None:
            session.account, session.token_expires_ns = account, 2**63

    def take_signature(self, session: RpcSession, head: str, method: str, uri: str, body: str) -> None:
        """Give a session the account whose secret signed a request (``deri-hmac-sha256``)."""
        fields = dict(part.strip().partition("=")[::2] for part in head.split(","))
        text = f"{fields.get('ts')}\n{fields.get('nonce')}\n{method}\n{uri}\n{body}\n"
        self._take_signed(session, fields.get("id", ""), text, fields.get("sig", ""))

    def _take_signed(self, session: RpcSession, key: str, text: str, signature: str) -> bool:
        for known in self._keyring.credentials:
            if known.key != key:
                continue
            wanted = hmac.new(known.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
            if hmac.compare_digest(wanted, signature):
                session.account, session.token_expires_ns = known.account, 2**63
                return True
        return False

    def _public_auth(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        grant = params.get("grant_type")
        account = None
        if grant == "client_credentials":
            account = self._keyring.account_of(str(params.get("client_id")), str(params.get("client_secret")))
        elif grant == "refresh_token":
            account = self._refresh.pop(str(params.get("refresh_token")), None)
        elif grant == "client_signature":
            text = f"{params.get('timestamp')}\n{params.get('nonce')}\n{params.get('data', '')}"
            if self._take_signed(session, str(params.get("client_id")), text, str(params.get("signature"))):
                account = session.account
        if account is None:
            raise RpcFault(13004, "invalid_credentials")
        self._count += 1
        digest = hashlib.sha256(f"{account}|{self._count}|{self._clock.now_ns()}".encode()).hexdigest()
        access, refresh = digest[:32], digest[32:]
        expires_ns = self._clock.now_ns() + TOKEN_SECONDS * 1_000_000_000
        self._tokens[access], self._refresh[refresh] = AccessToken(account, expires_ns), account
        session.account, session.token_expires_ns = account, expires_ns
        return {
            "access_token": access,
            "refresh_token": refresh,
            "expires_in": TOKEN_SECONDS,
            "scope": "connection mainaccount trade:read_write",
            "token_type": "bearer",
            "enabled_features": [],
        }

    # the market -------------------------------------------------------------------------------------

    def _public_test(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        del params
        session.is_tested = False
        return {"version": "1.2.26"}

    def _public_get_time(self, session: RpcSession, params: Mapping[str, Any]) -> int:
        del session, params
        return self._world.now_ns // MS

    def _public_set_heartbeat(self, session: RpcSession, params: Mapping[str, Any]) -> str:
        interval = params.get("interval")
        if not isinstance(interval, int | float) or interval < LEAST_HEARTBEAT_SECONDS:
            raise RpcFault(-32602, "Invalid params", param="interval", reason="must be at least 10")
        session.heartbeat_seconds = int(interval)
        return "ok"

    def _public_get_currencies(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        del session, params
        coins = sorted({item.currency for item in self._world.ledger.instruments})
        return [
            {
                "currency": coin,
                "currency_long": coin,
                "coin_type": coin,
                "min_confirmations": 1,
                "fee_precision": 8,
            }
            for coin in coins
        ]

    def _public_get_instruments(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        del session
        kind, currency = params.get("kind", "any"), params.get("currency", "any")
        found = []
        for instrument in self._world.ledger.instruments:
            shown = self._instrument(instrument)
            is_wanted = kind in ("any", shown["kind"]) and currency in ("any", shown["base_currency"])
            if is_wanted and (shown["is_active"] or params.get("expired") in (True, "true")):
                found.append(shown)
        return found

    def _public_get_instrument(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        del session
        return self._instrument(self._world.ledger.instruments[self._number(params)])

    def _instrument(self, item: Instrument) -> dict[str, Any]:
        tick = item.tick_rule
        shown: dict[str, Any] = {
            "instrument_name": item.symbol,
            "base_currency": item.currency,
            "counter_currency": "USD",
            "settlement_currency": item.currency,
            "tick_size": plain_number(tick.below),
            "tick_size_steps": [],
            "price_index": f"{item.currency.lower()}_usd",
            "instrument_id": self._world.ledger.instruments.id_of(item.symbol) + 1,
            "creation_timestamp": self._world.source.start_ns // MS,
            "state": "open",
            "is_active": True,
        }
        if isinstance(item, OptionContract):
            expires_ns = expiry_instant_ns(item)
            if tick.above != tick.below:
                step = {"above_price": plain_number(tick.threshold), "tick_size": plain_number(tick.above)}
                shown["tick_size_steps"] = [step]
            return shown | {
                "kind": "option",
                "quote_currency": item.currency,
                "strike": plain_number(item.strike),
                "option_type": "call" if item.is_call else "put",
                "expiration_timestamp": expires_ns // MS,
                "settlement_period": "week",
                "min_trade_amount": plain_number(OPTION_STEPS.get(item.currency, Decimal("0.1"))),
                "contract_size": 1,
                "maker_commission": plain_number(DERIBIT_FEES.option_rate),
                "taker_commission": plain_number(DERIBIT_FEES.option_rate),
                "is_active": self._world.now_ns < expires_ns,
            }
        return shown | {
            "kind": "future",
            "quote_currency": "USD",
            "future_type": "reversed",
            "instrument_type": "reversed",
            "settlement_period": "perpetual",
            "expiration_timestamp": FAR_FUTURE_MS,
            "min_trade_amount": item.contract_usd,
            "contract_size": item.contract_usd,
            "max_leverage": 50,
            "maker_commission": 0.0,
            "taker_commission": plain_number(DERIBIT_FEES.perpetual_taker),
        }

    def _number(self, params: Mapping[str, Any]) -> InstrumentId:
        name = params.get("instrument_name")
        if not isinstance(name, str):
            raise RpcFault(-32602, "Invalid params", param="instrument_name", reason="is missing")
        if name not in self._world.ledger.instruments:
            raise RpcFault(10020, "invalid_or_unsupported_instrument")
        return self._world.ledger.instruments.id_of(name)

    def _public_ticker(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        del session
        return self.ticker(self._number(params))

    def ticker(self, number: InstrumentId) -> dict[str, Any]:
        """Return the ticker of an instrument."""
        item = self._world.ledger.instruments[number]
        quote = self._world.quote(number)
        size = item.contract_usd or 1
        mark = float(self._world.ledger.mark(number))
        index = self._index(item)

        def side(price: float, amount: float) -> tuple[float, float]:
            return (price, amount * size) if price > 0.0 else (0.0, 0.0)

        bid = side(quote.bid, quote.bid_size) if quote is not None else (0.0, 0.0)
        ask = side(quote.ask, quote.ask_size) if quote is not None else (0.0, 0.0)
        last = self._world.last_trades.get(number)
        shown: dict[str, Any] = {
            "instrument_name": item.symbol,
            "timestamp": (quote.ts_event_ns if quote is not None else self._world.now_ns) // MS,
            "state": "open",
            "best_bid_price": bid[0],
            "best_bid_amount": plain_number(bid[1]),
            "best_ask_price": ask[0],
            "best_ask_amount": plain_number(ask[1]),
            "mark_price": mark,
            "last_price": None if last is None else last.price,
            "index_price": index,
            "estimated_delivery_price": index,
            "settlement_price": mark,
            "min_price": round(mark * 0.95, 4),
            "max_price": round(mark * 1.05, 4),
            "open_interest": self._world.source.open_interest.get(item.symbol, 0),
            "stats": {"volume": 0.0, "volume_usd": 0.0, "price_change": None, "low": None, "high": None},
        }
        if not isinstance(item, OptionContract):
            return shown | {"funding_8h": 0.0, "current_funding": 0.0, "interest_value": 0.0}
        return shown | self._option_figures(item, quote, mark, index)

    def _option_figures(
        self, item: OptionContract, quote: QuoteEvent | None, mark: float, forward: float
    ) -> dict[str, Any]:
        left = max(expiry_instant_ns(item) - self._world.now_ns, 0)
        years = left / DAY_NS / DAYS_PER_YEAR
        figures: dict[str, Any] = {
            "underlying_price": forward,
            "underlying_index": f"SYN.{item.root}-PERPETUAL",
            "interest_rate": 0.0,
            "greeks": dict.fromkeys(("delta", "gamma", "vega", "theta", "rho"), 0.0),
        }

        def vol(price: float) -> float:
            if not (price > 0.0 and forward > 0.0 and years > 0.0):
                return 0.0
            return self._pricer.implied_vol(item, price, forward, years, 0.0, 0.0) or 0.0

        prices = (mark, quote.bid, quote.ask) if quote is not None else (mark, 0.0, 0.0)
        vols = [vol(price) for price in prices]
        for name, found in zip(("mark_iv", "bid_iv", "ask_iv"), vols, strict=True):
            figures[name] = round(100.0 * found, 2)
        if vols[0] > 0.0:
            coin = coin_greeks(forward, float(item.strike), years, vols[0], item.is_call)
            figures["greeks"] = {
                "delta": round(coin.delta + coin.price, 5),
                "gamma": round(coin.gamma + coin.delta / forward, 5),
                "vega": round(coin.vega * forward / 100.0, 5),
                "theta": round(coin.theta * forward / DAYS_PER_YEAR, 5),
                "rho": round(coin.rho * forward / 100.0, 5),
            }
        return figures

    def _index(self, item: Instrument) -> float:
        symbol = item.underlying if isinstance(item, OptionContract) else item.symbol
        number = self._world.ledger.instruments.id_of(symbol)
        return float(self._world.ledger.mark(number))

    def _public_get_order_book(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        del session
        found = self.ticker(self._number(params))
        levels = {
            name: [[found[f"best_{side}_price"], found[f"best_{side}_amount"]]]
            if found[f"best_{side}_price"]
            else []
            for name, side in (("bids", "bid"), ("asks", "ask"))
        }
        return found | levels | {"change_id": self._world.now_ns // MS}

    def _public_get_index_price(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        del session
        coin = str(params.get("index_name", "")).partition("_")[0].upper()
        for item in self._world.ledger.instruments:
            if item.contract_usd and item.currency == coin:
                price = self._index(item)
                return {"index_price": price, "estimated_delivery_price": price}
        raise RpcFault(-32602, "Invalid params", param="index_name")

    def _public_get_book_summary_by_currency(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        listed = self._public_get_instruments(session, params)
        return [self._summary_of_book(self._number(shown)) for shown in listed]

    def _public_get_book_summary_by_instrument(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        del session
        return [self._summary_of_book(self._number(params))]

    def _summary_of_book(self, number: InstrumentId) -> dict[str, Any]:
        found = self.ticker(number)
        return {
            "instrument_name": found["instrument_name"],
            "base_currency": self._world.ledger.instruments[number].currency,
            "mark_price": found["mark_price"],
            "mark_iv": found.get("mark_iv"),
            "bid_price": found["best_bid_price"] or None,
            "ask_price": found["best_ask_price"] or None,
            "open_interest": found["open_interest"],
            "underlying_price": found.get("underlying_price", found["index_price"]),
            "volume": 0.0,
            "creation_timestamp": found["timestamp"],
        }

    def _public_get_tradingview_chart_data(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        del session
        number = self._number(params)
        start, end = int(params.get("start_timestamp", 0)) * MS, int(params.get("end_timestamp", 0)) * MS
        length = str(params.get("resolution", "1"))
        if length not in CHART_MINUTES:
            raise RpcFault(-32602, "Invalid params", param="resolution")
        made = combine(self._world.bars.minutes(number), CHART_MINUTES[length] * 60, in_utc=True)
        bars = [bar for bar in made if start <= bar.start_ns <= end]
        return {
            "status": "ok" if bars else "no_data",
            "ticks": [bar.start_ns // MS for bar in bars],
            **{
                name: [getattr(bar, name) for bar in bars]
                for name in ("open", "high", "low", "close", "volume")
            },
        }

    def _public_status(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        del session, params
        return {"locked": "true" if self.is_locked else "false", "locked_indices": []}

    def _public_get_last_trades(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        """Return the executions of every account: nothing else trades here."""
        del session
        only = self._number(params) if "currency" not in params else None
        instruments, executions = self._world.ledger.instruments, []
        for account in self._world.ledger.accounts.values():
            for each in account.executions:
                number = each.instrument_id
                if number is None or (only is not None and number != only):
                    continue
                if only is not None or instruments[number].currency == params["currency"]:
                    executions.append(each)
        return self._page(sorted(executions, key=lambda each: each.ts_ns), params, own=False)

    def _settled(self, currency: Any) -> list[tuple[int, Instrument, float]]:
        """Return instant, underlying and price of the settlements of the tape until now, latest first."""
        source, found = self._world.source, []
        if isinstance(source, TapeSource):
            for (symbol, day), price in source.tape.settlement_prices.items():
                item, at_ns = source.instruments[source.instruments.id_of(symbol)], coin_session(day).open_ns
                if at_ns <= self._world.now_ns and currency in (None, "any", item.currency):
                    found.append((at_ns, item, price))
        return sorted(found, key=lambda each: -each[0])

    def _public_get_last_settlements(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        """Return the settlements of the perpetual and the deliveries of options, latest first."""
        del session
        kind, until = params.get("type"), int(params.get("search_start_timestamp", 2**62))
        rows = []
        for at_ns, underlying, price in self._settled(params.get("currency")):
            if at_ns // MS > until:
                continue
            row = {"timestamp": at_ns // MS, "index_price": price, "session_profit_loss": 0.0}
            if kind in (None, "settlement"):
                names = {"type": "settlement", "instrument_name": underlying.symbol}
                rows.append(row | names | {"mark_price": price, "position": 0.0, "funding": 0.0})
            ended = self._world.ledger.instruments.options(underlying.symbol)
            for _, option in ended if kind in (None, "delivery") else ():
                if expiry_instant_ns(option) == at_ns:
                    worth = max((price - float(option.strike)) * (1 if option.is_call else -1), 0.0) / price
                    held = self._world.source.open_interest.get(option.symbol, 0)
                    names = {"type": "delivery", "instrument_name": option.symbol}
                    rows.append(row | names | {"mark_price": round(worth, 8), "position": float(held)})
        first, most = int(params.get("continuation") or 0), min(int(params.get("count", 20)), MOST_ROWS)
        more = str(first + most) if len(rows) > first + most else None
        return {"settlements": rows[first : first + most], "continuation": more}

    def _public_get_volatility_index_data(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        """Return the 30-day volatility at the money of the tape, percent, at the end of each interval."""
        del session
        width = 86_400 if params.get("resolution") == "1D" else int(params.get("resolution", 3_600))
        source = self._world.source
        if not isinstance(source, TapeSource) or width < MINUTE_SECONDS:
            return {"data": [], "continuation": None}
        first = max(int(params.get("start_timestamp", 0)) * MS, source.start_ns + 1)  # quotes begin after it
        width *= NANOS_PER_SECOND
        last = min(int(params.get("end_timestamp", 2**62)) * MS, self._world.now_ns - width)
        starts = list(range(-(-first // width) * width, last + 1, width))
        ends = [at_ns + width for at_ns in starts[-1:]]
        levels = [self._vol_of_30_days(source.tape, at_ns) for at_ns in (*starts, *ends)]
        rows = [
            [at_ns // MS, before, max(before, after), min(before, after), after]
            for at_ns, (before, after) in zip(starts, pairwise(levels), strict=True)
        ]
        more = rows[-MOST_ROWS - 1][0] if len(rows) > MOST_ROWS else None
        return {"data": rows[-MOST_ROWS:], "continuation": more}

    def _vol_of_30_days(self, tape: MarketTape, at_ns: int) -> float:
        """Return the volatility at the money of 30 days, percent: total variance between two expiries."""
        quotes = tape.quotes.between(at_ns - 2 * MINUTE_SECONDS * NANOS_PER_SECOND, at_ns)
        mids = dict(
            zip(quotes.instrument_id.tolist(), (0.5 * (quotes.bid + quotes.ask)).tolist(), strict=True)
        )
        spot = mids.get(tape.instruments.id_of(tape.underlying), 0.0)
        curve: dict[float, float] = {}
        nearest: dict[float, float] = {}
        for number, item in tape.instruments.options(tape.underlying):
            years = (expiry_instant_ns(item) - at_ns) / DAY_NS / DAYS_PER_YEAR
            away, mid = abs(float(item.strike) - spot), mids.get(number, 0.0)
            if years > 0.0 and mid > 0.0 and away < nearest.get(years, spot):
                vol = self._pricer.implied_vol(item, mid, spot, years, 0.0, 0.0)
                if vol:
                    nearest[years], curve[years] = away, vol * vol * years
        wanted = 30.0 / DAYS_PER_YEAR
        known = sorted(curve)
        if not known:
            return 0.0
        after = min(max(sum(each < wanted for each in known), 1), len(known) - 1)
        low, high = known[after - 1], known[after]
        if low == high:
            return round(100.0 * math.sqrt(curve[low] / low), 4)
        share = (wanted - low) / (high - low)
        total = curve[low] + share * (curve[high] - curve[low])
        return round(100.0 * math.sqrt(max(total / wanted, 0.0)), 4)

    def _public_get_funding_rate_history(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        del session
        item = self._world.ledger.instruments[self._number(params)]
        start, end = int(params.get("start_timestamp", 0)), int(params.get("end_timestamp", 2**62))
        return [
            {
                "timestamp": rate.ts_ns // MS,
                "index_price": plain_number(rate.index),
                "interest_8h": plain_number(rate.rate),
                "interest_1h": plain_number(rate.rate / 8),
            }
            for rate in self._world.source.funding
            if rate.symbol == item.symbol
            and start <= rate.ts_ns // MS <= end
            and rate.ts_ns <= self._world.now_ns
        ]

    def _public_get_funding_rate_value(self, session: RpcSession, params: Mapping[str, Any]) -> float:
        """Return the funding over a span: the sum of its hours."""
        rows = self._public_get_funding_rate_history(session, params)
        return float(sum(row["interest_1h"] for row in rows))

    # channels ---------------------------------------------------------------------------------------

    def _public_subscribe(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        return self._subscribe(session, params, private=False)

    def _private_subscribe(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        return self._subscribe(session, params, private=True)

    def _subscribe(self, session: RpcSession, params: Mapping[str, Any], *, private: bool) -> list[str]:
        """Take the channels that there are; others are left out without an error."""
        accepted = []
        for name in params.get("channels") or []:
            parts = str(name).split(".")
            is_market = parts[0] in ("ticker", "quote", "book", "trades") and len(parts) > 1
            if (is_market and parts[1] in self._world.ledger.instruments) or (private and parts[0] == "user"):
                accepted.append(str(name))
                session.channels.add(str(name))
        return accepted

    def _public_unsubscribe(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        gone = [name for name in params.get("channels") or [] if name in session.channels]
        session.channels.difference_update(gone)
        return gone

    def _private_unsubscribe(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        return self._public_unsubscribe(session, params)

    def _on_market(self, event: Published) -> None:
        if not isinstance(event, QuoteEvent):
            return
        symbol = self._world.ledger.instruments[event.instrument_id].symbol
        shown: dict[str, Any] | None = None
        for session in self._sessions:
            for channel in session.channels:
                kind, _, rest = channel.partition(".")
                if kind not in ("ticker", "quote", "book") or rest.partition(".")[0] != symbol:
                    continue
                shown = shown or self.ticker(event.instrument_id)
                self._notify(session, channel, self._book(shown) if kind == "book" else shown)

    @staticmethod
    def _book(shown: dict[str, Any]) -> dict[str, Any]:
        """Return the best prices as a whole book of one level a side."""
        sides = {
            name: [["new", shown[f"best_{side}_price"], shown[f"best_{side}_amount"]]]
            if shown[f"best_{side}_price"]
            else []
            for name, side in (("bids", "bid"), ("asks", "ask"))
        }
        head = {key: shown[key] for key in ("timestamp", "instrument_name")}
        return {"type": "snapshot", "change_id": shown["timestamp"], **head, **sides}

    @staticmethod
    def _notify(session: RpcSession, channel: str, data: Any) -> None:
        body = {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}}
        session.send(msgspec.json.encode(body).decode())

    def _on_update(self, update: OrderUpdate) -> None:
        """Show a change of an order on its account's channels."""
        order = update.order
        if update.event not in SHOWN or not self._is_whole(order):
            return
        self._note_edit(order)
        trades, parts = [], order.legs or (order,)
        if update.execution is not None and update.event in FILLS:
            executions = update.leg_executions or (update.execution,)
            trades = [
                self._combo_trade(order, update.execution, update.leg_executions)
                if order.legs
                else self._trade(update.execution)
            ]
            for execution in executions:
                public = self._public_trade(execution)
                for session in self._sessions:
                    for channel in session.channels:
                        if channel.startswith(f"trades.{public['instrument_name']}."):
                            self._notify(session, channel, [public])
        shown = self._order(order)
        account = self._world.ledger.accounts[order.account]
        positions = [row for part in parts for row in self._positions(account, part.instrument_id)]
        for session in self._sessions:
            if session.account != order.account:
                continue
            for channel in session.channels:
                if not channel.startswith("user."):
                    continue
                if channel.startswith("user.changes."):
                    data: Any = {
                        "instrument_name": shown["instrument_name"],
                        "orders": [shown],
                        "trades": trades,
                        "positions": positions,
                    }
                elif channel.startswith("user.orders."):
                    data = shown
                elif channel.startswith("user.trades."):
                    if not trades:
                        continue
                    data = trades
                else:
                    data = self._summary(account)
                self._notify(session, channel, data)

    # orders -----------------------------------------------------------------------------------------

    def _private_buy(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        return self._place(session, params, Side.BUY)

    def _private_sell(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        return self._place(session, params, Side.SELL)

    def _place(self, session: RpcSession, params: Mapping[str, Any], side: Side) -> Any:
        combo = self._combos.get(str(params.get("instrument_name")))
        number = self._number(params if combo is None else combo["legs"][0])
        item = self._world.ledger.instruments[number]
        self._check_until(params)
        kinds = {"market": OrderType.MARKET, "limit": OrderType.LIMIT}
        kind = kinds.get(str(params.get("type", "limit")))
        if kind is None:
            raise RpcFault(-32602, "Invalid params", param="type", reason="only limit and market here")
        price = None
        if kind is OrderType.LIMIT:
            price = self._price(params, item, number, side) if combo is None else self._net(params, item)
        quantity = self._quantity(params, item)
        if combo is None:
            if price is not None and _is_true(params.get("post_only")):
                price = self._resting(number, item, side, price, params)
            if _is_true(params.get("reduce_only")):
                quantity = min(quantity, self._reducible(session, number, side))
        lifetime = LIFETIMES.get(str(params.get("time_in_force", "good_til_cancelled")))
        if lifetime is None:
            raise RpcFault(-32602, "Invalid params", param="time_in_force")
        assert session.account is not None
        label = str(params.get("label") or "")
        known = self._world.ledger.accounts[session.account].by_client_id
        request = OrderRequest(
            item.symbol,
            side,
            kind,
            lifetime,
            quantity,
            limit_price=price,
            client_order_id=label if label and label not in known else None,  # the broker takes a name once
        )
        if combo is not None:
            request = self._as_legs(request, combo)
        order = self._world.broker.submit(session.account, request)
        if combo is not None:
            self._combo_of[order.order_id] = combo["id"], side
        session.orders.append(order.order_id)
        self._labels[order.order_id] = label
        before = len(self._world.ledger.accounts[session.account].executions)
        self._world.settle()
        return self._outcome(order, before)

    def _as_legs(self, request: OrderRequest, combo: dict[str, Any]) -> OrderRequest:
        """Return an order for a combo as the broker takes it: its legs bought or sold, its limit paid."""
        side, price = request.side or Side.BUY, request.limit_price
        legs = tuple(
            LegRequest(
                leg["instrument_name"],
                Decimal(abs(leg["amount"])),
                Side.BUY if leg["amount"] * side.sign > 0 else Side.SELL,
            )
            for leg in combo["legs"]
        )
        return structs.replace(
            request,
            symbol="",
            side=Side.BUY,
            limit_price=None if price is None else side.sign * price,
            structure=Structure.MLEG,
            legs=legs,
        )

    def _net(self, params: Mapping[str, Any], item: Instrument) -> Decimal:
        """Return the limit of a combo, of either sign."""
        price = self._decimal(params, "price")
        if price % item.tick_rule.below:
            raise RpcFault(10043, "price_wrong_tick")
        return price

    def _private_create_combo(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        """Return the combo of these legs, made where there is none; its first leg by name is bought."""
        del session
        trades = params.get("trades")
        if not isinstance(trades, list) or not 2 <= len(trades) <= MOST_LEGS:
            raise RpcFault(-32602, "Invalid params", param="trades", reason="two to four legs")
        signed: dict[str, Decimal] = {}
        options = set()
        for trade in trades:
            item = self._world.ledger.instruments[self._number(trade)]
            if not isinstance(item, OptionContract) or trade.get("direction") not in ("buy", "sell"):
                raise RpcFault(-32602, "Invalid params", param="trades", reason="options to buy or sell")
            sign = 1 if trade["direction"] == "buy" else -1
            signed[item.symbol] = sign * self._quantity({"amount": 1, **trade}, item)
            options.add(item)
        unit = min(abs(amount) for amount in signed.values())
        if len({item.expiry for item in options}) > 1 or len(signed) < len(trades):
            raise RpcFault(-32602, "Invalid params", param="trades", reason="options of one expiry")
        if any(amount % unit for amount in signed.values()):
            raise RpcFault(10021, "invalid_amount", reason="no whole ratio")
        first = min(signed)
        unit = unit if signed[first] > 0 else -unit
        legs = [{"instrument_name": name, "amount": int(signed[name] / unit)} for name in sorted(signed)]
        for known in self._combos.values():
            if known["legs"] == legs:
                return known
        is_straddle = len({item.strike for item in options}) == 1 and all(leg["amount"] == 1 for leg in legs)
        coin, item = first.partition("-")[0], next(iter(options))
        name = option_name(f"{coin}-STRD", item.expiry, item.strike, item.right).rpartition("-")[0]
        if not is_straddle:
            name = f"{coin}-CUSTOM-{expiry_name(item.expiry)}-{len(self._combos) + 1}"
        made: dict[str, Any] = {
            "id": name,
            "instrument_id": 10**6 + len(self._combos),
            "state": "active",
            "legs": legs,
            "creation_timestamp": self._world.now_ns // MS,
            "state_timestamp": self._world.now_ns // MS,
        }
        return self._combos.setdefault(made["id"], made)

    def legs_of(self, name: str) -> list[dict[str, Any]]:
        """Return the legs of a combo; none of what is no combo."""
        return list(self._combos.get(name, {}).get("legs", ()))

    def _public_get_combos(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        del session
        coin = params.get("currency")
        return [each for name, each in self._combos.items() if coin in ("any", name.partition("-")[0])]

    def _public_get_combo_ids(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        return [each["id"] for each in self._public_get_combos(session, params)]

    def _public_get_combo_details(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        del session
        found = self._combos.get(str(params.get("combo_id")))
        if found is None:
            raise RpcFault(-32602, "Invalid params", param="combo_id", reason="there is none")
        return found

    def _combo_trade(self, order: BrokerOrder, net: Execution, legs: tuple[Execution, ...]) -> dict[str, Any]:
        """Return a trade of a combo with those of its legs."""
        combo, side = self._combo_of[order.order_id]
        parts = [self._trade(leg) | {"combo_trade_id": net.execution_id} for leg in legs]
        shared = "order_id state fee_currency label timestamp index_price order_type liquidity trade_seq"
        trade = {
            **{name: parts[0][name] for name in shared.split()},
            "trade_id": net.execution_id,
            "instrument_name": combo,
            "direction": side.value,
            "amount": plain_number(net.quantity),
            "price": plain_number(side.sign * net.price),
            "fee": plain_number(sum((leg.fee for leg in legs), ZERO)),
            "combo_id": combo,
            "legs": parts,
        }
        self._combo_trades.setdefault(order.order_id, []).append(trade)
        return trade

    def _check_until(self, params: Mapping[str, Any]) -> None:
        until = params.get("valid_until")
        if until is not None and self._world.now_ns // MS > int(until):
            raise RpcFault(11050, "bad_request", reason="valid_until is past")

    def _resting(
        self, number: InstrumentId, item: Instrument, side: Side, price: Decimal, params: Mapping[str, Any]
    ) -> Decimal:
        """Return the price at which a post-only order rests: short of the other side by a tick."""
        quote = self._world.quote(number)
        other = (quote.ask if side is Side.BUY else quote.bid) if quote is not None else 0.0
        if not other > 0.0 or (price < Decimal(str(other))) is (side is Side.BUY):
            return price
        if _is_true(params.get("reject_post_only")):
            raise RpcFault(11054, "post_only_reject")
        limit = Decimal(str(other))
        tick = item.tick_rule.tick_at(limit)
        return limit - tick if side is Side.BUY else limit + tick

    def _reducible(self, session: RpcSession, number: InstrumentId, side: Side) -> Decimal:
        """Return what an order that only reduces may trade."""
        assert session.account is not None
        held = self._world.ledger.accounts[session.account].quantity(number)
        if not held or (held > 0) is (side is Side.BUY):
            raise RpcFault(11030, "other_reject", reason="reduce_only")
        return abs(held)

    def _outcome(self, order: BrokerOrder, before: int) -> dict[str, Any]:
        account = self._world.ledger.accounts[order.account]
        trades = self._combo_trades.get(order.order_id) or [
            self._trade(each) for each in account.executions[before:] if each.order_id == order.order_id
        ]
        return {"order": self._order(order), "trades": trades}

    def _quantity(self, params: Mapping[str, Any], item: Instrument) -> Decimal:
        amount = self._decimal(params, "amount")
        if amount <= 0:
            raise RpcFault(10002, "qty_too_low")
        step = item.contract_usd or OPTION_STEPS.get(item.currency, Decimal("0.1"))
        if amount % step:
            raise RpcFault(10021, "invalid_amount", reason=f"must be a multiple of {step}")
        return amount / item.contract_usd if item.contract_usd else amount

    def _price(
        self, params: Mapping[str, Any], item: Instrument, number: InstrumentId, side: Side
    ) -> Decimal:
        price = self._decimal(params, "price")
        if price <= 0 or price % item.tick_rule.tick_at(price):
            raise RpcFault(10043, "price_wrong_tick")
        mark = self._world.ledger.mark(number)
        if item.contract_usd and mark:
            if side is Side.BUY and price > mark * (1 + PRICE_BAND):
                raise RpcFault(10007, "price_too_high")
            if side is Side.SELL and price < mark * (1 - PRICE_BAND):
                raise RpcFault(10005, "price_too_low")
        return price

    @staticmethod
    def _decimal(params: Mapping[str, Any], name: str) -> Decimal:
        try:
            found = Decimal(str(params[name]))
        except (KeyError, InvalidOperation):
            raise RpcFault(-32602, "Invalid params", param=name, reason="is missing or no number") from None
        if not found.is_finite():
            raise RpcFault(-32602, "Invalid params", param=name, reason="is not finite")
        return found

    def _find(self, session: RpcSession, params: Mapping[str, Any]) -> BrokerOrder:
        order_id = str(params.get("order_id"))
        order_id = next(
            (latest for latest, first in reversed(self._edited.items()) if first == order_id), order_id
        )
        assert session.account is not None
        found = self._world.ledger.accounts[session.account].orders.get(order_id)
        if found is None:
            raise RpcFault(10004, "order_not_found")
        return found

    def _private_edit(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        old = self._find(session, params)
        if old.instrument is None or old.instrument_id is None:
            raise RpcFault(11030, "other_reject", reason="combos are not edited here")
        self._check_until(params)
        changes = Changes(
            quantity=self._quantity(params, old.instrument) - self._filled_before(old),
            limit_price=self._price(params, old.instrument, old.instrument_id, old.side)
            if "price" in params
            else None,
        )
        before = len(self._world.ledger.accounts[old.account].executions)
        new = self._world.broker.replace(old.account, old.order_id, changes)
        self._note_edit(new)
        session.orders.append(new.order_id)
        self._world.settle()
        found = self._outcome(new, before)
        found["order"]["replaced"] = True
        return found

    def _note_edit(self, new: BrokerOrder) -> None:
        """Give what took an order's place its id and label."""
        old_id = new.replaces
        if old_id is None:
            return
        self._edited.setdefault(new.order_id, self._edited.get(old_id, old_id))
        self._labels[new.order_id] = self._labels.get(old_id, "")

    def _filled_before(self, order: BrokerOrder) -> Decimal:
        """Return what an order had filled before its edits."""
        total = ZERO
        while order.replaces:
            order = self._world.ledger.orders[order.replaces]
            total += order.filled
        return total

    def _private_edit_by_label(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        label = params.get("label")
        found = [each for each in self._open_orders(session) if self._labels.get(each.order_id) == label]
        if len(found) != 1:
            raise RpcFault(10004, "order_not_found")
        order_id = self._edited.get(found[0].order_id, found[0].order_id)
        return self._private_edit(session, {**params, "order_id": order_id})

    def _private_close_position(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        assert session.account is not None
        number = self._number(params)
        held = self._world.ledger.accounts[session.account].quantity(number)
        size = abs(held) * (self._world.ledger.instruments[number].contract_usd or 1)
        return self._place(session, {**params, "amount": size}, Side.SELL if held > 0 else Side.BUY)

    def _private_cancel(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        order = self._find(session, params)
        if not order.is_open:
            raise RpcFault(11044, "not_open_order")
        self._world.broker.cancel(order.account, order.order_id)
        self._world.settle()
        return self._order(order)

    def _open_orders(self, session: RpcSession) -> list[BrokerOrder]:
        assert session.account is not None
        return [
            order
            for order in self._world.ledger.accounts[session.account].open_orders()
            if self._is_whole(order)
        ]

    def _is_whole(self, order: BrokerOrder) -> bool:
        """Return whether an order is shown here: no leg of a combo, and no combo of another protocol."""
        if order.instrument is None:
            return order.order_id in self._combo_of
        return order.parent is None or order.parent not in self._combo_of

    def _symbol(self, order: BrokerOrder) -> str:
        """Return the name of an order's instrument or combo."""
        return self._combo_of[order.order_id][0] if order.instrument is None else order.instrument.symbol

    def _cancel_all(self, orders: list[BrokerOrder]) -> int:
        for order in orders:
            self._world.broker.cancel(order.account, order.order_id)
        self._world.settle()
        return len(orders)

    def _private_cancel_all(self, session: RpcSession, params: Mapping[str, Any]) -> int:
        name = params.get("instrument_name")
        return self._cancel_all(
            [order for order in self._open_orders(session) if name in (None, self._symbol(order))]
        )

    def _private_cancel_by_label(self, session: RpcSession, params: Mapping[str, Any]) -> int:
        label = params.get("label")
        return self._cancel_all(
            [order for order in self._open_orders(session) if self._labels.get(order.order_id) == label]
        )

    def _private_get_order_state(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        return self._order(self._find(session, params))

    def _private_get_order_state_by_label(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        assert session.account is not None
        label = params.get("label")
        orders = self._world.ledger.accounts[session.account].orders.values()
        return [
            self._order(order)
            for order in orders
            if self._labels.get(order.order_id) == label and order.status is not Status.REPLACED
        ]

    def _private_get_open_orders_by_currency(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        currency = params.get("currency")
        return [
            self._order(order)
            for order in self._open_orders(session)
            if currency in (None, "any", self._world.ledger.accounts[order.account].currency)
        ]

    def _private_get_open_orders(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        found = self._private_get_open_orders_by_currency(session, {"kind": params.get("kind")})
        name = params.get("instrument_name")
        return [order for order in found if name in (None, order["instrument_name"])]

    def _private_get_order_history(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        """Return ended orders, latest first; those without an execution where they are asked for."""
        assert session.account is not None
        name, wants_all = params.get("instrument_name"), _is_true(params.get("include_unfilled"))
        found = [
            self._order(order)
            for order in self._world.ledger.accounts[session.account].orders.values()
            if self._is_whole(order)
            and not order.is_open
            and order.status is not Status.REPLACED
            and (order.filled or wants_all)
            and name in (None, self._symbol(order))
        ]
        first = int(params.get("offset", 0))
        return found[::-1][first : first + int(params.get("count", 20))]

    def _order(self, order: BrokerOrder) -> dict[str, Any]:
        size = 1 if order.instrument is None else order.instrument.contract_usd or 1
        average, before, limit = self._average(order), self._filled_before(order), order.limit_price
        _, side = self._combo_of.get(order.order_id, ("", order.side))
        if side is not order.side and limit is not None:  # of a combo that is sold
            limit = -limit
        price: Any = "market_price" if order.kind is OrderType.MARKET else plain_number(limit)
        return {
            "order_id": self._edited.get(order.order_id, order.order_id),
            "order_state": STATES.get(order.status, "open"),
            "order_type": order.kind.value,
            "direction": side.value,
            "instrument_name": self._symbol(order),
            "amount": plain_number((order.quantity + before) * size),
            "contracts": plain_number(order.quantity + before),
            "filled_amount": plain_number((order.filled + before) * size),
            "average_price": plain_number(average),
            "price": price,
            "time_in_force": NAMES_OF_LIFETIMES.get(order.lifetime, "good_til_cancelled"),
            "post_only": False,
            "reduce_only": False,
            "label": self._labels.get(order.order_id, order.client_order_id),
            "creation_timestamp": order.created_ns // MS,
            "last_update_timestamp": order.updated_ns // MS,
            "max_show": plain_number(order.quantity * size),
            "commission": 0.0,
            "profit_loss": 0.0,
            "api": True,
            "web": False,
            "replaced": order.order_id in self._edited,
            "is_liquidation": False,
            "cancel_reason": "user_request" if order.status is Status.CANCELED else "",
            "mmp": False,
            "risk_reducing": False,
            "reject_reason": order.reject_reason or "",
        }

    def _average(self, order: BrokerOrder) -> Decimal | None:
        """Return the mean price: of inverse contracts the harmonic one, of combos that of the direction."""
        if order.instrument is None:
            _, side = self._combo_of[order.order_id]
            return None if order.average is None else side.sign * order.average
        if not order.instrument.contract_usd and not order.replaces:
            return order.average
        account, first = self._world.ledger.accounts[order.account], self._edited
        name = first.get(order.order_id, order.order_id)
        mine = [each for each in account.executions if first.get(each.order_id, each.order_id) == name]
        if not order.instrument.contract_usd:
            paid = sum((each.quantity * each.price for each in mine), ZERO)
            return paid / sum(each.quantity for each in mine) if mine else None
        coins = sum((each.quantity / each.price for each in mine), ZERO)
        return sum((each.quantity for each in mine), ZERO) / coins if coins else None

    def _trade(self, execution: Execution) -> dict[str, Any]:
        number = execution.instrument_id
        assert number is not None
        item = self._world.ledger.instruments[number]
        parent = self._world.ledger.orders[execution.order_id].parent
        parent = parent if parent in self._combo_of else None
        order_id = parent or self._edited.get(execution.order_id, execution.order_id)
        combo: dict[str, Any] = {}
        if parent is not None:
            trades = self._combo_trades.get(parent, ())
            whole = (trade["trade_id"] for trade in trades if _has_leg(trade, execution))
            combo = {"combo_id": self._combo_of[parent][0], "combo_trade_id": next(whole, "")}
        return {
            **combo,
            "trade_id": execution.execution_id,
            "trade_seq": self._world.ledger.accounts[execution.account].executions.index(execution) + 1,
            "order_id": order_id,
            "instrument_name": item.symbol,
            "direction": execution.side.value,
            "amount": plain_number(execution.quantity * (item.contract_usd or 1)),
            "price": plain_number(execution.price),
            "timestamp": execution.ts_ns // MS,
            "state": "open" if execution.leaves else "filled",
            "fee": plain_number(execution.fee),
            "fee_currency": item.currency,
            "liquidity": "T",
            "label": self._labels.get(parent or execution.order_id, ""),
            "index_price": self._index(item),
            "mark_price": float(self._world.ledger.mark(number)),
            "order_type": self._world.ledger.orders[execution.order_id].kind.value,
            "self_trade": False,
            "matching_id": None,
            "profit_loss": 0.0,
            "tick_direction": 0,
        }

    # the account ------------------------------------------------------------------------------------

    def _private_get_user_trades_by_order(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        assert session.account is not None
        wanted = str(params.get("order_id"))
        found = [self._trade(each) for each in self._world.ledger.accounts[session.account].executions]
        return [trade for trade in found if trade["order_id"] == wanted]

    def _private_get_user_trades(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        assert session.account is not None
        name = params.get("instrument_name")
        executions = [
            each
            for each in self._world.ledger.accounts[session.account].executions
            if each.instrument_id is not None
            and name in (None, self._world.ledger.instruments[each.instrument_id].symbol)
        ]
        return self._page(executions, params, own=True)

    def _page(self, executions: list[Execution], params: Mapping[str, Any], *, own: bool) -> dict[str, Any]:
        start, end = int(params.get("start_timestamp", 0)), int(params.get("end_timestamp", 2**62))
        most, show = min(int(params.get("count", 10)), MOST_ROWS), self._trade if own else self._public_trade
        trades = [show(each) for each in executions if start <= each.ts_ns // MS <= end]
        if params.get("sorting") != "asc":
            trades.reverse()
        return {"trades": trades[:most], "has_more": len(trades) > most}

    def _public_trade(self, execution: Execution) -> dict[str, Any]:
        shown = self._trade(execution)
        names = "trade_id trade_seq instrument_name direction amount price timestamp index_price mark_price"
        return {name: shown[name] for name in (*names.split(), "tick_direction")}

    def _private_get_transaction_log(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        """Return what moved the balance without a trade, latest first: funding, deliveries, transfers."""
        assert session.account is not None
        account = self._world.ledger.accounts[session.account]
        start, end = int(params.get("start_timestamp", 0)), int(params.get("end_timestamp", 2**62))
        rows = [
            {
                "id": place,
                "timestamp": activity.ts_ns // MS,
                "type": LOG_TYPES.get(activity.kind, "correction"),
                "currency": account.currency,
                "instrument_name": activity.symbol or None,
                "amount": plain_number(activity.quantity),
                "price": plain_number(activity.price),
                "change": plain_number(activity.net_amount),
                "cashflow": plain_number(activity.net_amount),
                "info": activity.activity_id,
            }
            for place, (before, activity) in enumerate(pairwise((None, *account.activities)), start=1)
            if activity is not None
            and activity.kind != "FILL"
            and not (activity.kind == "FEE" and before is not None and before.kind == "FILL")  # of that trade
            and start <= activity.ts_ns // MS <= end
        ][::-1]
        first, most = int(params.get("continuation") or 0), int(params.get("count", 100))
        more = first + most if len(rows) > first + most else None
        return {"logs": rows[first : first + most], "continuation": more}

    def _private_get_positions(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        assert session.account is not None
        kind = params.get("kind", "any")
        found = self._positions(self._world.ledger.accounts[session.account], None)
        return [row for row in found if kind in ("any", row["kind"])]

    def _private_get_position(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        assert session.account is not None
        number = self._number(params)
        found = self._positions(self._world.ledger.accounts[session.account], number)
        empty = {"instrument_name": params["instrument_name"], "direction": "zero", "size": 0}
        return found[0] if found else empty

    def _positions(self, account: BrokerAccount, only: InstrumentId | None) -> list[dict[str, Any]]:
        rows = []
        for number, held in account.holdings.items():
            if only is not None and number != only:
                continue
            item = self._world.ledger.instruments[number]
            mark = self._world.ledger.mark(number)
            size = held.quantity * (item.contract_usd or 1)
            floating = held.value(mark) - held.cost if mark else ZERO
            row: dict[str, Any] = {
                "instrument_name": item.symbol,
                "kind": "option" if isinstance(item, OptionContract) else "future",
                "direction": "buy" if size > 0 else "sell",
                "size": plain_number(size),
                "average_price": plain_number(held.average_price),
                "mark_price": float(mark),
                "index_price": self._index(item),
                "floating_profit_loss": float(floating),
                "realized_profit_loss": float(held.realized),
                "total_profit_loss": float(floating + held.realized),
                "delta": 0.0,
                "leverage": 50,
            }
            if item.contract_usd and mark:
                row["size_currency"] = row["delta"] = float(size / mark)
            rows.append(row)
        return rows

    def _private_get_account_summary(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        assert session.account is not None
        account = self._world.ledger.accounts[session.account]
        if params.get("currency") not in (None, account.currency):
            raise RpcFault(-32602, "Invalid params", param="currency")
        return self._summary(account)

    def _private_get_account_summaries(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        return {"summaries": [self._private_get_account_summary(session, {**params, "currency": None})]}

    def _summary(self, account: BrokerAccount) -> dict[str, Any]:
        figures = self._world.ledger.figures(account)
        instruments = self._world.ledger.instruments
        futures = sum(
            (held.cost for number, held in account.holdings.items() if instruments[number].contract_usd), ZERO
        )
        free = figures.options_buying_power
        return {
            "id": account.name,
            "username": account.name,
            "currency": account.currency,
            "balance": float(figures.cash + futures),
            "equity": float(figures.equity),
            "available_funds": float(free),
            "available_withdrawal_funds": float(free),
            "margin_balance": float(figures.equity - figures.long_value - figures.short_value),
            "initial_margin": float(figures.initial_margin),
            "maintenance_margin": float(figures.maintenance_margin),
            "options_value": float(figures.long_value + figures.short_value),
            "margin_model": "segregated_sm",
            "delta_total": 0.0,
        }

    def _private_enable_cancel_on_disconnect(self, session: RpcSession, params: Mapping[str, Any]) -> str:
        del params
        session.cancels_on_disconnect = True
        return "ok"
