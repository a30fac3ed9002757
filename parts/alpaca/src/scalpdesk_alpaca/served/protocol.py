"""Alpaca's protocol on the exchange's server: REST with its delivery faults, trade and data streams."""

import asyncio

from aiohttp import web

from scalpdesk.exchange import ExchangeHost, ExchangeProtocol, MarketTerms, Outbox, ProtocolSpec
from scalpdesk.instruments.fees import ALPACA_FEES
from scalpdesk.simulation.order_entry import ALPACA_RULES
from scalpdesk_alpaca.served.app import AlpacaApi
from scalpdesk_alpaca.served.requests import Answer, Request
from scalpdesk_alpaca.served.streams import DataStream, Hub, TradeStream, Wire

_DATA_PATHS = ("/v2/iex", "/v2/sip", "/v2/delayed_sip", "/v2/test", "/v1beta1/indicative", "/v1beta1/opra")
_AUTH_SECONDS = 10.0
_SILENCE_SECONDS = 300.0
"""After so long a question without an answer loses its connection: every client has given up."""


class _AlpacaProtocol(ExchangeProtocol):
    """REST and streams of one server."""

    def __init__(self, host: ExchangeHost) -> None:
        self._host = host
        options = host.options
        self.api = AlpacaApi(
            host.world, host.keyring, trading_limit=options.trading_limit, data_limit=options.data_limit
        )
        self.hub = Hub(host.world)

    def mount(self, router: web.UrlDispatcher) -> None:
        """Add the streams by their paths, and REST below every other path."""
        router.add_get("/stream", self._trade_stream)
        for path in _DATA_PATHS:
            router.add_get(path, self._data_stream)
        router.add_route("*", "/{rest:.*}", self._rest)

    @property
    def open_count(self) -> int:
        """Number of open streams."""
        return self.hub.open_count

    @property
    def ready_count(self) -> int:
        """Number of streams that are authenticated and follow something."""
        return self.hub.ready_count

    def close_all(self) -> None:
        """End every stream."""
        self.hub.close_all()

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        host = self._host
        with host.answering():
            host.keep_up()
            asked = Request(
                request.method,
                request.path,
                dict(request.query),
                {name.lower(): value for name, value in request.headers.items()},
                await request.read(),
                host.clock.now_ns(),
            )
            answer = self.api.handle(asked)
            # what the request brings about reaches the streams after this answer is written
            asyncio.get_running_loop().call_soon(host.world.settle)
            return await _deliver(request, answer)

    async def _trade_stream(self, request: web.Request) -> web.WebSocketResponse:
        outbox = Outbox()
        wire = Wire(self._host.world, outbox.put, outbox.close)
        stream = TradeStream(self._host.world, self._host.keyring, wire, packed=_is_packed(request))
        return await self._host.serve_socket(
            request,
            outbox,
            stream.receive,
            on_open=lambda: self.hub.add(stream),
            on_close=lambda: self.hub.remove(stream),
        )

    async def _data_stream(self, request: web.Request) -> web.WebSocketResponse:
        outbox, host = Outbox(), self._host
        stream = DataStream(
            request.path,
            host.world,
            host.keyring,
            Wire(host.world, outbox.put, outbox.close),
            packed=_is_packed(request),
            headers={name.lower(): value for name, value in request.headers.items()},
            is_free=self.hub.is_free,
            symbol_limit=host.options.symbol_limit if request.path.startswith("/v1beta1/") else 0,
        )
        stream.open()
        timer = asyncio.get_running_loop().call_later(_AUTH_SECONDS, stream.time_out)

        def close() -> None:
            timer.cancel()
            self.hub.remove(stream)

        return await host.serve_socket(
            request,
            outbox,
            stream.receive,
            on_open=lambda: self.hub.add(stream),
            on_close=close,
            on_backlog=stream.too_slow,
        )


async def _deliver(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Write an answer, subject to the faults of its delivery."""
    fault = answer.fault
    name = "" if fault is None else fault.name
    transport = request.transport
    if fault is not None and name in ("delay", "slow_answer", "half_open", "answer_late"):
        await asyncio.sleep(fault.seconds)
    elif name == "answer_missing":
        await asyncio.sleep(_SILENCE_SECONDS)
    if name in ("drop_request", "disconnect_before", "disconnect_after", "half_open", "answer_missing"):
        if transport is not None:
            transport.abort()
        return web.Response(status=503)
    if fault is not None and name == "truncated_answer" and transport is not None:
        part = answer.body[: int(len(answer.body) * fault.fraction)]
        head = f"HTTP/1.1 {answer.status} OK\r\nContent-Type: application/json\r\n"
        transport.write(f"{head}Content-Length: {len(answer.body)}\r\n\r\n".encode() + part)
        transport.close()
        return web.Response(status=503)
    return web.Response(status=answer.status, body=answer.body, headers=answer.headers)


def _is_packed(request: web.Request) -> bool:
    return "msgpack" in request.headers.get("Content-Type", "")


PROTOCOL = ProtocolSpec(
    name="alpaca", build=_AlpacaProtocol, terms=MarketTerms(fees=ALPACA_FEES, rules=ALPACA_RULES)
)
