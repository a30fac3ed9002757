"""Deribit's protocol on the exchange's server: JSON-RPC over a websocket and over HTTP."""

import asyncio
from collections.abc import Mapping

from aiohttp import web

from scalpdesk.core.bounds import BoundedSettings
from scalpdesk.exchange.market import MarketTerms
from scalpdesk.exchange.outbox import Frame, Outbox
from scalpdesk.exchange.protocol import AdminCommand, ExchangeHost, ExchangeProtocol, ProtocolSpec
from scalpdesk.instruments.deribit import DERIBIT_FEES
from scalpdesk.margin.coin import CoinMargin
from scalpdesk.simulation.faults import Fault, check_in_coin
from scalpdesk.simulation.order_entry import DERIBIT_RULES
from scalpdesk_deribit.served.app import API_PATH, SOCKET_PATH, DeribitApi
from scalpdesk_deribit.served.rpc import RpcSession


class Lock(BoundedSettings, frozen=True):
    """Whether the market is closed for maintenance."""

    locked: bool


class _DeribitProtocol(ExchangeProtocol):
    """JSON-RPC of one server."""

    def __init__(self, host: ExchangeHost) -> None:
        self._host = host
        self.api = DeribitApi(host.world, host.keyring, host.clock, has_limits=host.options.trading_limit > 0)
        self._open: dict[Outbox, None] = {}

    def mount(self, router: web.UrlDispatcher) -> None:
        """Add the websocket, and each method below the HTTP path."""
        router.add_get(SOCKET_PATH, self._stream)
        router.add_route("*", f"{API_PATH}/{{scope}}/{{method}}", self._rest)

    @property
    def open_count(self) -> int:
        """Number of open connections."""
        return len(self._open)

    @property
    def ready_count(self) -> int:
        """Number of connections with a subscription."""
        return self.api.ready_count

    def close_all(self) -> None:
        """End every connection."""
        for outbox in tuple(self._open):
            outbox.close()

    @property
    def commands(self) -> Mapping[str, AdminCommand]:
        """``maintenance`` closes and opens the market."""
        return {"maintenance": (Lock, lambda command: self.api.lock(command.locked))}

    def check_fault(self, fault: Fault) -> None:
        """Refuse a fault of HTTP answers and of data streams."""
        check_in_coin(fault)

    async def _rest(self, request: web.Request) -> web.Response:
        """Answer one method over HTTP: parameters in the query, or in the body of a POST."""
        self._host.keep_up()
        session = RpcSession(send=lambda _: None, close=lambda: None)
        kind, _, rest = request.headers.get("Authorization", "").partition(" ")
        body = (await request.read()).decode()
        if kind == "Bearer":
            self.api.take_token(session, rest)
        elif kind == "Basic":
            self.api.take_basic(session, rest)
        elif kind == "deri-hmac-sha256":
            self.api.take_signature(session, rest, request.method, request.raw_path, body)
        method = f"{request.match_info['scope']}/{request.match_info['method']}"
        is_good, text = self.api.answer_rest(session, method, dict(request.query), body)
        return web.Response(status=200 if is_good else 400, text=text, content_type="application/json")

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection."""
        outbox = Outbox()
        session = RpcSession(
            send=lambda text: outbox.put(Frame(text.encode(), is_text=True)), close=outbox.close
        )
        tasks = set[asyncio.Task[None]]()

        def receive(frame: Frame) -> None:
            if frame.is_text:
                self._host.keep_up()
                self.api.receive(session, frame.data.decode())

        def open_() -> None:
            self._open[outbox] = None
            self.api.open(session)
            tasks.add(asyncio.create_task(self._beat(session)))

        def close() -> None:
            for task in tasks:
                task.cancel()
            self.api.leave(session)
            self._open.pop(outbox, None)

        return await self._host.serve_socket(request, outbox, receive, on_open=open_, on_close=close)

    async def _beat(self, session: RpcSession) -> None:
        """Ask a connection for a sign of life at the interval that its client set."""
        while True:
            await asyncio.sleep(session.heartbeat_seconds or 1.0)
            self.api.beat(session)


PROTOCOL = ProtocolSpec(
    name="deribit",
    build=_DeribitProtocol,
    terms=MarketTerms(fees=DERIBIT_FEES, charges_always=True, rules=DERIBIT_RULES, margin=CoinMargin),
    settles_in_coin=True,
    path=API_PATH,
)
