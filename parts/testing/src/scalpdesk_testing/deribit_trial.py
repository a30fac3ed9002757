"""Trials over Deribit's protocol: the same desk, market, faults and laws, with JSON-RPC between them.

A connection keeps its frames and their order while it stands: where a schedule loses an answer or
a request, the connection breaks before or behind it. The market is the small one of shares and a straddle; an
amount is then a number of shares or contracts.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
from aiohttp import WSMsgType

from scalpdesk.base import Side
from scalpdesk.config.schema import Secret
from scalpdesk.exchange import Fault, Frame, Keyring
from scalpdesk.venues import VenueClock, VenueSetup
from scalpdesk_deribit.gateway import DeribitGateway
from scalpdesk_deribit.served.app import DeribitApi
from scalpdesk_deribit.served.rpc import RpcFault, RpcSession
from scalpdesk_testing.line import Line, LineConnection, LineNetwork, Socket, WebSocket, frame_bytes
from scalpdesk_testing.schedule import ASSIGNED, CORRECTION, Schedule, draw_schedule
from scalpdesk_testing.trial import KEY, SECRET, Trial
from scalpdesk_testing.wire_laws import ORDERS_PATH

_NEVER_HERE = frozenset(
    {
        "bust",
        "correct",
        "auto_liquidation",
        "assignment",
        ASSIGNED,
        "dividend",
        "manual_trade",
        "trading_halt",
        "halt",
        CORRECTION,
    }
)
"""Faults of a share's market, and changes of an account of shares: Deribit has no message for them."""
_LOOK = frozenset(
    {
        "private/get_account_summary",
        "private/get_positions",
        "private/get_open_orders_by_currency",
        "private/get_user_trades_by_currency_and_time",
    }
)
"""Requests with which a look at the account begins."""
_BEFORE = frozenset({"drop_request", "disconnect_before"})
_BEHIND = frozenset({"disconnect_after", "truncated_answer"})
_LATER = frozenset({"server_error", "unavailable", "gateway_timeout"})


class _RpcLine(Line):
    """All connections between one desk and one exchange that speaks JSON-RPC."""

    def __init__(self, trial: Trial, keyring: Keyring) -> None:
        super().__init__(
            trial.loop,
            trial.clock,
            trial.world,
            latency_seconds=trial.schedule.latency_seconds,
        )
        self.rpc = DeribitApi(trial.world, keyring, _TrueClock(trial), has_limits=True)

    def open_socket(self, connection: LineConnection, path: str, headers: Mapping[str, str]) -> Socket:
        """Open a connection."""
        del path, headers
        return _RpcSocket(self, connection)

    def as_request(self, frame: dict[str, Any]) -> tuple[str, str, bytes]:
        """Return verb, path and body of a request in the words that schedules and laws know."""
        name, params = frame["method"], frame.get("params") or {}
        if name in ("private/buy", "private/sell"):
            side = Side(name.rpartition("/")[2])
            combo = self.rpc.names.combos.get(params["instrument_name"])
            order = {
                "client_order_id": params["label"],
                "symbol": params["instrument_name"],
                "side": side.value,
                "qty": str(params["amount"]),
                "limit_price": None if params.get("price") is None else str(params["price"]),
                "legs": [
                    {
                        "symbol": leg.instrument_name,
                        "side": "buy" if Decimal(str(leg.amount)) * side.sign > 0 else "sell",
                        "ratio_qty": str(abs(Decimal(str(leg.amount)))),
                    }
                    for leg in (() if combo is None else combo.legs or ())
                ],
            }
            return "POST", ORDERS_PATH, msgspec.json.encode(order)
        if name == "private/cancel":
            return "DELETE", f"{ORDERS_PATH}/{params['order_id']}", b""
        if name == "private/cancel_by_label":
            (account,) = self.world.ledger.accounts.values()
            order_of = account.by_client_id.get(params["label"])
            return "DELETE", f"{ORDERS_PATH}/{order_of.order_id if order_of else ''}", b""
        return "GET", "/v2/account" if name in _LOOK else f"/{name}", b""


class _TrueClock:
    """The exchange's clock, which no fault of the desk's machine moves."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    def now_ns(self) -> int:
        return self._trial.clock.true_ns()


class _RpcSocket(WebSocket):
    """The exchange's end of one connection."""

    is_mute = False
    line: _RpcLine

    def __init__(self, line: _RpcLine, connection: LineConnection) -> None:
        super().__init__(line, connection)
        self.session = RpcSession(send=self._notify, close=self.hang_up)
        line.rpc.open(self.session)
        self._beat_later()

    def _beat_later(self) -> None:
        self.line.loop.call_later(self.session.heartbeat_seconds or 1.0, self._beat)

    def _beat(self) -> None:
        if not self.closed:
            self.line.rpc.beat(self.session)
            self._beat_later()

    def _notify(self, text: str) -> None:
        """Send a notification, subject to the faults of a stream."""
        about = "/stream user" if '"channel":"user.' in text else "/v2 quotes"
        fault = None if self.is_mute else self.line.world.faults.take("stream", about)
        name = "" if fault is None else fault.name
        if name == "stream_disconnect":
            self.line.loop.call_soon(self.break_off)
        elif name == "stream_half_open":
            self.is_mute = True
        elif name != "stream_drop":
            late = fault.seconds if fault is not None and name == "stream_delay" else 0.0
            part = text[: int(len(text) * fault.fraction)] if fault and name == "stream_truncated" else text
            self._comes(part, late)
            if name == "stream_duplicate":
                self._comes(text)

    def _comes(self, text: str, late: float = 0.0) -> float:
        """Put a text on its way; return when it is due."""
        if self.is_mute or self.closed:
            return self.line.loop.time()
        return self.put(frame_bytes(WSMsgType.TEXT, self.line.on_coming(text.encode())), late)

    def leave(self) -> None:
        """Take the connection out of the exchange, which cancels its orders."""
        self.line.world.advance_to(self.line.clock.true_ns())
        self.line.rpc.leave(self.session)
        self.line.loop.call_soon(self.line.drive)

    def receive_frame(self, frame: Frame) -> tuple[float, Callable[[], None]]:
        """Note a request as it leaves the desk, by the names that schedules and laws know."""
        line, request = self.line, msgspec.json.decode(frame.data)
        method, path, body = line.as_request(request)
        fate = line.on_the_way(method, path)
        line.requests += 1
        line.on_sent(method, path, body)
        if request["method"].startswith("private/get_order_state"):
            params, (account,) = request["params"], line.world.ledger.accounts.values()
            known = account.orders.get(params.get("order_id", ""))
            line.on_asked(params.get("label", "") if known is None else known.client_order_id)
        return fate.held_seconds, partial(self.answer, request, method, path)

    def answer(self, frame: dict[str, Any], method: str, path: str) -> None:
        """Answer a request, or let a fault strike it."""
        line = self.line
        line.world.advance_to(line.clock.true_ns())
        fault = line.world.faults.take("http", f"{method} {path}")
        name = "" if fault is None else fault.name
        if name in _BEFORE:
            self.break_off()
            return
        if name == "half_open":
            self.is_mute = True
            return
        refusal = self._refusal(frame, name, fault)
        text, late = (
            (refusal, 0.0)
            if refusal is not None
            else line.rpc.answer(self.session, frame["id"], frame["method"], frame.get("params") or {})
        )
        if name in _BEHIND:
            self.break_off()
        elif not text:
            pass
        elif late:
            line.loop.call_later(late, self._comes, text)
        else:
            is_late = fault is not None and name in ("delay", "slow_answer")
            due = self._comes(text, fault.seconds if fault is not None and is_late else 0.0)
            if frame["method"] == "private/enable_cancel_on_disconnect":
                line.on_stream()
            if self.session.is_ended or name == "too_many_requests":
                line.loop.call_at(due, self.hang_up)
        line.answered(method, path)

    def _refusal(self, frame: dict[str, Any], name: str, fault: Fault | None) -> str | None:
        """Return the error of the venue's front door that stands for a fault, None without one."""
        rpc, is_private = self.line.rpc, frame["method"].startswith("private/")
        if name == "auth_loss":
            self.session.token_expires_ns = 0
        if fault is not None and name == "maintenance":
            rpc.lock(True)
            self.line.loop.call_later(fault.seconds, rpc.lock, False)
        if name == "too_many_requests":
            return rpc.refused(frame["id"], RpcFault(10028, name))
        if name in _LATER and is_private:
            return rpc.refused(frame["id"], RpcFault(10040, "retry"))
        return None


class _SessionGateway(DeribitGateway):
    """A gateway whose day of account is the trial's few minutes."""

    trial: Trial

    async def _venue_clock(self) -> VenueClock:
        clock = await super()._venue_clock()
        session = self.trial.market.session
        is_open = session.open_ns <= clock.now_ns < session.close_ns
        ends_ns = session.close_ns if is_open else session.open_ns + 86_400 * 10**9
        return msgspec.structs.replace(clock, is_open=is_open, next_close_ns=ends_ns)


class DeribitTrial(Trial):
    """Runs one schedule over Deribit's protocol."""

    STREAMS = 2
    HAS_OPTIONS_LEVELS = False
    CASH_TOLERANCE = Decimal("1e-8")
    TELLS_FORCED_ORDERS = True

    @staticmethod
    def draw(seed: int) -> Schedule:
        """Draw a schedule without the faults that this venue does not have."""
        return draw_schedule(seed).without(_NEVER_HERE)

    def make_line(self, keyring: Keyring) -> Line:
        """Return the line to the exchange."""
        return _RpcLine(self, keyring)

    def make_gateway(self) -> _SessionGateway:
        """Return a gateway of the account, not connected yet."""
        assert isinstance(self.line, _RpcLine)
        key, secret = Secret(KEY), Secret(SECRET)
        setup = VenueSetup(
            instruments=self.market.instruments,
            clock=self.clock,
            keys=(key, secret),
            timeout_seconds=2.0,
            acceptance_seconds=10.0,
            heartbeat_seconds=10.0,
            fees=self.world.broker.ledger.fees,
        )
        network = LineNetwork(self.line)
        made = _SessionGateway(url="ws://trial", key=key, secret=secret, setup=setup, network=network)
        made.trial = self
        return made
