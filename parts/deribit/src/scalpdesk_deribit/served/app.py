"""Deribit's JSON-RPC interface: sessions with their channels, tokens, credits, and errors by their codes.

Synchronous: a server hands in frames and sends what :attr:`RpcSession.send` is given. One function answers a
method over a websocket and over REST. It follows the shapes in which public clients read the venue.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import UNSET

from scalpdesk.base import NANOS_PER_SECOND, Cause, Clock, QuoteEvent, Refused
from scalpdesk.core.units import NEVER_NS
from scalpdesk.exchange.answers import AnswerFaults, Question, is_false
from scalpdesk.exchange.keyring import Keyring
from scalpdesk.exchange.market import Published, SimulatedMarket
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.faults import Fault
from scalpdesk.simulation.orders import BrokerOrder, Execution, OrderUpdate
from scalpdesk_deribit.messages import (
    HEARTBEAT,
    JSONRPC,
    SUBSCRIPTION,
    TEST_REQUEST,
    ChangesMessage,
    ChannelNote,
    ErrorAnswer,
    HeartbeatNote,
    RpcFrame,
    Ticker,
)
from scalpdesk_deribit.served.market_data import PublicMethods
from scalpdesk_deribit.served.orders import Orders
from scalpdesk_deribit.served.questions import QUESTION_OF, emptied, falsified, question_of_channel
from scalpdesk_deribit.served.rpc import NO_LEVELS, Method, RpcFault, RpcSession, ServedReply
from scalpdesk_deribit.served.serializers import (
    Messages,
    OrderNames,
    is_of_kind,
    without_legs,
)
from scalpdesk_deribit.served.shown import ShownAnswer, ShownPublicTrade, ShownTicker, ShownToken, ShownTrade

API_PATH = "/api/v2"
SOCKET_PATH = "/ws/api/v2"
TOKEN_SECONDS = 900
_LEAST_HEARTBEAT_SECONDS = 10
_MATCHING = frozenset({"buy", "sell", "edit", "cancel", "close", "create"})
"""Verbs of the methods that reach the matching engine."""
_QUOTED = ("ticker", "quote", "book")
"""Kinds of channels that follow the quotes of an instrument."""
_FILLS = frozenset({"fill", "partial_fill"})
SHOWN = frozenset({"new", "triggered", "canceled", "expired", "rejected", *_FILLS})
"""Updates of the broker that the venue shows; an edited order goes on under its id."""
_CODES: dict[Cause, tuple[int, str]] = {
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
_OTHER_REJECT = (11030, "other_reject")


def _text(frame: RpcFrame) -> str:
    return msgspec.json.encode(frame).decode()


@dataclass(slots=True)
class _Credits:
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


@dataclass(slots=True)
class _AccessToken:
    """Access to an account for a time."""

    account: str
    expires_ns: int
    """By the wall clock, UTC nanoseconds."""


def _for_anybody(answer: Callable[[Mapping[str, Any]], Any]) -> Method:
    """Return a public method, whose answer does not depend on the session."""
    return lambda _session, params: answer(params)


class DeribitApi:
    """Answers JSON-RPC from a simulated market.

    ``world``: Market and broker; its accounts are in coin.
    ``clock``: Wall clock, for the life of tokens and for credits.
    ``has_limits``: Whether requests are limited.
    """

    def __init__(
        self, world: SimulatedMarket, keyring: Keyring, clock: Clock, *, has_limits: bool = False
    ) -> None:
        self._world, self._keyring, self._clock = world, keyring, clock
        self._has_limits = has_limits
        self._credits: dict[tuple[str, bool], _Credits] = {}
        """By account, and whether a request reaches the matching engine."""
        self.is_locked = False
        """Whether the venue is in maintenance: it answers what is public and refuses the rest."""
        self._sessions: list[RpcSession] = []
        self._tokens: dict[str, _AccessToken] = {}
        self._refresh: dict[str, str] = {}
        self._count = 0
        self.names = OrderNames(world.ledger.orders)
        self._messages = Messages(world, self.names)
        self._answers = AnswerFaults[bytes](lambda: world.faults)
        self._methods: dict[str, Method] = {
            "public/auth": self._public_auth,
            "public/test": self._public_test,
            "public/set_heartbeat": self._public_set_heartbeat,
            "public/status": self._public_status,
            "public/subscribe": self._public_subscribe,
            "private/subscribe": self._private_subscribe,
            "public/unsubscribe": self._public_unsubscribe,
            "private/unsubscribe": self._private_unsubscribe,
            "private/enable_cancel_on_disconnect": self._private_enable_cancel_on_disconnect,
            **{
                name: _for_anybody(answer)
                for name, answer in PublicMethods(world, self._messages).methods.items()
            },
            **Orders(world, self._messages, self.names).methods,
        }
        world.on_market(self._on_market)
        world.on_update(self._on_update)

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
            frame = msgspec.json.decode(text, type=RpcFrame)
        except msgspec.DecodeError:
            frame = RpcFrame()
        if frame.method is UNSET:
            session.send(self._envelope(None, error=RpcFault(-32700, "Parse error")))
            return
        method, params = str(frame.method), frame.params or {}
        reply = self.answer(session, None if frame.id is UNSET else frame.id, method, params)
        if reply.late_seconds:
            due_ns = self._world.now_ns + int(reply.late_seconds * NANOS_PER_SECOND)
            self._world.ledger.at(due_ns, lambda: session.send(reply.text))
        elif reply.text:
            session.send(reply.text)
        if session.is_ended:
            session.close()
        elif method.endswith("/subscribe"):
            for channel in params.get("channels") or []:
                if channel in session.channels:
                    self._show_first(session, channel)

    def answer(self, session: RpcSession, request_id: Any, method: str, params: Any) -> ServedReply:
        """Return the answer to one request."""
        question = QUESTION_OF.get(method)
        fault = self._answers.strike(question)
        if fault is not None and question is Question.FILLS and not is_false(fault):
            fault = None  # the answer to an order stands
        if fault is not None and fault.name == "answer_missing":
            return ServedReply("")
        try:
            result = self.call(session, method, params)
            if fault is not None and question is not None:
                result = self._spoil(question, fault, (method, msgspec.json.encode(params)), result)
            text = self._envelope(request_id, result=result)
        except RpcFault as problem:
            text = self._envelope(request_id, error=problem)
        return ServedReply(text, fault.seconds if fault is not None and fault.name == "answer_late" else 0.0)

    def _spoil(self, question: Question, fault: Fault, asked: tuple[str, bytes], result: Any) -> Any:
        """Return what a fault leaves of a result. Raises RpcFault for one that is refused."""
        if fault.name == "answer_refused":
            raise RpcFault(13028, "temporarily_unavailable")
        if fault.name == "answer_old":
            return msgspec.json.decode(self._answers.earlier(question, asked, msgspec.json.encode(result)))
        if fault.name == "answer_empty" and question is Question.ORDER_BY_ID and isinstance(result, dict):
            raise RpcFault(10004, "order_not_found")
        if fault.name == "answer_empty":
            return emptied(result)
        return falsified(question, fault.name, result) if is_false(fault) else result

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
        """Return the result of one request as JSON has it.

        Raises RpcFault when the venue answers with an error.
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
            return msgspec.to_builtins(found(session, params))
        except Refused as refused:
            code, words = _CODES.get(refused.cause, _OTHER_REJECT)
            raise RpcFault(code, words, reason=refused.reason) from None

    def refused(self, request_id: Any, fault: RpcFault) -> str:
        """Return the answer that refuses a request."""
        return self._envelope(request_id, error=fault)

    def _spend(self, session: RpcSession, method: str) -> None:
        """Spend a credit; without one the request is refused and its connection ends."""
        if method == "public/test":
            return
        matches = method.partition("/")[2].partition("_")[0] in _MATCHING
        limits = (5.0, 20.0) if matches else (20.0, 100.0)
        payer = session.account or ""  # clients that have not logged in share the credits of the address
        credits_left = self._credits.setdefault((payer, matches), _Credits(*limits))
        if not credits_left.take(self._clock.now_ns()):
            session.is_ended = True
            raise RpcFault(10028, "too_many_requests")

    def _envelope(self, request_id: Any, *, result: Any = None, error: RpcFault | None = None) -> str:
        stamp = self._world.now_ns // 1_000
        if error is not None:
            told = ErrorAnswer(code=error.code, message=error.message, data=error.data)
            return _text(ShownAnswer(jsonrpc=JSONRPC, id=request_id, testnet=True, error=told))
        return _text(
            ShownAnswer(
                jsonrpc=JSONRPC, id=request_id, testnet=True, result=result, came=stamp, left=stamp, took=0
            )
        )

    def beat(self, session: RpcSession) -> None:
        """Ask a connection for a sign of life; end it when the last one was not given."""
        if not session.heartbeat_seconds:
            return
        if session.is_tested:
            session.close()
            return
        session.is_tested = True
        session.send(
            _text(RpcFrame(jsonrpc=JSONRPC, method=HEARTBEAT, params=HeartbeatNote(type=TEST_REQUEST)))
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
            session.account, session.token_expires_ns = account, NEVER_NS

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
                session.account, session.token_expires_ns = known.account, NEVER_NS
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
        expires_ns = self._clock.now_ns() + TOKEN_SECONDS * NANOS_PER_SECOND
        self._tokens[access], self._refresh[refresh] = _AccessToken(account, expires_ns), account
        session.account, session.token_expires_ns = account, expires_ns
        return ShownToken(
            access_token=access,
            refresh_token=refresh,
            expires_in=TOKEN_SECONDS,
            scope="connection mainaccount trade:read_write",
            token_type="bearer",  # noqa: S106 - the kind of token
            enabled_features=[],
        )

    def _public_test(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        del params
        session.is_tested = False
        return {"version": "1.2.26"}

    def _public_set_heartbeat(self, session: RpcSession, params: Mapping[str, Any]) -> str:
        interval = params.get("interval")
        if not isinstance(interval, int | float) or interval < _LEAST_HEARTBEAT_SECONDS:
            raise RpcFault(-32602, "Invalid params", param="interval", reason="must be at least 10")
        session.heartbeat_seconds = int(interval)
        return "ok"

    def _public_status(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        del session, params
        return {"locked": "true" if self.is_locked else "false", "locked_indices": []}

    def _private_enable_cancel_on_disconnect(self, session: RpcSession, params: Mapping[str, Any]) -> str:
        del params
        session.cancels_on_disconnect = True
        return "ok"

    # channels ---------------------------------------------------------------------------------------

    def _public_subscribe(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        return self._subscribe(session, params, private=False)

    def _private_subscribe(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        return self._subscribe(session, params, private=True)

    def _subscribe(self, session: RpcSession, params: Mapping[str, Any], *, private: bool) -> list[str]:
        """Take the channels that there are; others are left out without an error."""
        accepted = []
        for name in map(str, params.get("channels") or []):
            kind, _, rest = name.partition(".")
            if name.endswith(".raw") and session.account is None:
                raise RpcFault(13778, "raw_subscriptions_not_available_for_unauthorized")
            is_market = (
                kind in (*_QUOTED, "trades") and rest.partition(".")[0] in self._world.ledger.instruments
            )
            if is_market or (private and kind == "user"):
                accepted.append(name)
                session.channels[name] = NO_LEVELS
        return accepted

    def _show_first(self, session: RpcSession, channel: str) -> None:
        """Send what a channel begins with: the book or the account as it stands."""
        kind, _, rest = channel.partition(".")
        if kind == "book":
            number = self._world.ledger.instruments.id_of(rest.partition(".")[0])
            self._notify_quote(session, channel, self._messages.ticker(number))
        elif channel.startswith("user.portfolio.") and session.account is not None:
            account = self._world.ledger.accounts[session.account]
            self._notify(session, channel, self._messages.account(account))

    def _public_unsubscribe(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        gone = [name for name in params.get("channels") or [] if name in session.channels]
        for name in gone:
            session.channels.pop(name, None)
        return gone

    def _private_unsubscribe(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        return self._public_unsubscribe(session, params)

    def _on_market(self, event: Published) -> None:
        if not isinstance(event, QuoteEvent):
            return
        symbol = self._world.ledger.instruments[event.instrument_id].symbol
        shown: ShownTicker | None = None
        for session in self._sessions:
            for channel in session.channels:
                kind, _, rest = channel.partition(".")
                if kind in _QUOTED and rest.partition(".")[0] == symbol:
                    shown = shown or self._messages.ticker(event.instrument_id)
                    self._notify_quote(session, channel, shown)

    def _notify_quote(self, session: RpcSession, channel: str, shown: Ticker) -> None:
        """Show a ticker on a channel, as the book that it is where the channel is one of a book."""
        if not channel.startswith("book."):
            self._notify(session, channel, shown)
        elif channel.count(".") > 2:  # grouped and cut at a depth
            self._notify(session, channel, self._messages.book(shown))
        elif (change := self._messages.book_change(shown, session.channels[channel])) is not None:
            session.channels[channel] = self._messages.levels(shown)
            self._notify(session, channel, change)

    def _notify(self, session: RpcSession, channel: str, data: Any) -> None:
        question = None if self._world.faults.is_quiet else question_of_channel(channel, data)
        fault = self._answers.strike(question)
        if fault is not None and question is not None and is_false(fault):
            data = falsified(question, fault.name, msgspec.json.decode(msgspec.json.encode(data)))
        note = ChannelNote(channel=channel, data=data)
        text = _text(RpcFrame(jsonrpc=JSONRPC, method=SUBSCRIPTION, params=note))
        if fault is None or is_false(fault):
            session.send(text)
        elif fault.name == "answer_late":
            due_ns = self._world.now_ns + int(fault.seconds * NANOS_PER_SECOND)
            self._world.ledger.at(due_ns, lambda: session.send(text))

    def _on_update(self, update: OrderUpdate) -> None:
        """Show a change of an order on its account's channels."""
        order = update.order
        if update.event not in SHOWN or not self.names.is_whole(order):
            return
        self.names.note_edit(order)
        trade: ShownTrade | None = None
        if update.execution is not None and update.event in _FILLS:
            trade = (
                self._messages.combo_trade(order, update.execution, update.leg_executions)
                if order.legs
                else self._messages.trade(update.execution)
            )
            for execution in update.leg_executions or (update.execution,):
                self._notify_public_trade(self._messages.public_trade(execution))
        self._notify_change(order, trade)
        for execution in update.leg_executions if trade is not None else ():
            self._notify_leg(order, execution)

    def _notify_public_trade(self, trade: ShownPublicTrade) -> None:
        for session in self._sessions:
            for channel in session.channels:
                if channel.startswith(f"trades.{trade.instrument_name}."):
                    self._notify(session, channel, [trade])

    def _notify_change(self, order: BrokerOrder, trade: ShownTrade | None) -> None:
        """Show an order, and its trade: a combo's with its legs on the channels of combos alone."""
        shown, account = self._messages.order(order), self._world.ledger.accounts[order.account]
        trades = [] if trade is None else [without_legs(trade)]
        positions = [] if order.legs else self._messages.positions(account, order.instrument_id)
        name = str(shown.instrument_name)
        self._notify_account(
            account,
            name,
            {
                "changes": ChangesMessage(
                    instrument_name=name, orders=[shown], trades=trades, positions=positions
                ),
                "orders": shown,
                "trades": trades,
                "combo_trades": [trade] if trade is not None and order.legs else [],
                "portfolio": self._messages.account(account),
            },
        )

    def _notify_leg(self, order: BrokerOrder, execution: Execution) -> None:
        """Show what a combo's trade did in the instrument of a leg, of which no order is shown."""
        trade, account = self._messages.trade(execution), self._world.ledger.accounts[order.account]
        name = str(trade.instrument_name)
        change = ChangesMessage(
            instrument_name=name,
            orders=[],
            trades=[trade],
            positions=self._messages.positions(account, execution.instrument_id),
        )
        self._notify_account(account, name, {"changes": change, "trades": [trade]})

    def _notify_account(self, account: BrokerAccount, name: str, shown_by_kind: Mapping[str, Any]) -> None:
        """Show a change on the account's channels of an instrument or combo, or of its kind and coin."""
        for session in self._sessions:
            for channel in session.channels if session.account == account.name else ():
                scope, kind, *rest = (*channel.split("."), "")
                is_meant = kind == "portfolio" or rest[0] == name or is_of_kind(name, rest[0])
                if scope == "user" and is_meant and shown_by_kind.get(kind):
                    self._notify(session, channel, shown_by_kind[kind])
