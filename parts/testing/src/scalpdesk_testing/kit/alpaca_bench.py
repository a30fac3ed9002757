"""The Alpaca gateway beside a simulated exchange that serves it on this machine."""

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from scalpdesk.core.clock import SystemClock
from scalpdesk.exchange.generated import GeneratedSource
from scalpdesk.exchange.launch import LaunchPlan, build_server
from scalpdesk.instruments.contract import Equity, Instruments, OptionContract
from scalpdesk.simulation.faults import Fault
from scalpdesk.venues.contract import Gateway
from scalpdesk_alpaca.gateway import AlpacaGateway
from scalpdesk_alpaca.transport import ApiKeys, Endpoints, GatewayOptions

D = Decimal
FAULTS = {
    "lost_answer": Fault("disconnect_after", match="POST /v2/orders"),
    "lost_order": Fault("disconnect_before", match="POST /v2/orders"),
    "server_error": Fault("server_error", match="POST /v2/orders"),
    "rate_limit": Fault("too_many_requests", match="POST /v2/orders"),
    "reject": Fault("reject"),
    "partial": Fault("partial_fill", fraction=0.5),
    "repeated_update": Fault("stream_duplicate", times=3),
    "swapped_updates": Fault("stream_reorder"),
    "cancel_too_late": Fault("cancel_too_late"),
}

PATIENT = {"timeout_seconds": 20.0, "most_clock_skew_seconds": 60.0}
"""Options of a gateway whose exchange may be slow to answer: both share one loop, and it may be busy."""


class Key:
    """A key that does not show itself."""

    def __init__(self, text):
        self._text = text

    def reveal(self):
        return self._text

    def __repr__(self):
        return "***"


@dataclass
class ExchangeTruth:
    cash: Decimal
    positions: dict[str, Decimal]
    fills: list[tuple[str, Decimal, Decimal]]


class AlpacaBench:
    cannot_be_asked: ClassVar = {}

    def __init__(self):
        start_ns = SystemClock().now_ns()
        self.source = GeneratedSource(["SPY"], start_ns, seed=3, step_ms=50)
        plan = LaunchPlan(self.source, trading_limit=0, data_limit=0)
        self.server = build_server(plan, SystemClock())
        listed = [one for one in self.source.instruments if isinstance(one, OptionContract)]
        expiry = sorted({one.expiry for one in listed})[4]
        near = [one for one in listed if one.expiry == expiry]
        strike = min((one.strike for one in near), key=lambda strike: abs(strike - 600))
        pair = sorted((one for one in near if one.strike == strike), key=lambda one: not one.is_call)
        self.book = Instruments([Equity("SPY"), *pair])
        self.share, self.call, self.put = range(3)

    async def start(self):
        await self.server.start()

    async def stop(self):
        await self.server.stop()

    def gateway(self) -> Gateway:
        key = self.server.keyring.credentials[0]
        options = GatewayOptions(
            options_level=3, absent_after_seconds=0.4, requests_per_minute=60_000, **PATIENT
        )
        return AlpacaGateway(
            endpoints=Endpoints.at(self.server.url),
            keys=ApiKeys(Key(key.key), Key(key.secret)),
            instruments=self.book,
            clock=SystemClock(),
            options=options,
        )

    def truth(self):
        admin = self.server.admin
        (account,) = admin.state()["accounts"]
        parents = {one["id"]: one for one in admin.orders()}
        return ExchangeTruth(
            D(account["cash"]),
            {one["symbol"]: D(one["qty"]) for one in admin.positions()},
            [
                (parents[one["order_id"]]["client_order_id"], D(one["qty"]), D(one["price"]))
                for one in admin.fills()
            ],
        )

    def strike(self, what):
        self.server.world.faults.inject(FAULTS[what])

    def heal(self):
        self.server.world.faults.heal()

    def lose_quotes(self, number):
        for stream in self.server.protocol.hub._data_streams:
            stream.symbols["quotes"].discard(self.book[number].symbol)

    async def cut_order_stream(self, gateway):
        await gateway._stream.drop()

    def far_below(self, number):
        return D("450.00")


@contextmanager
def served():
    """Serve a bench from a thread: the library blocks."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    bench = AlpacaBench()
    try:
        asyncio.run_coroutine_threadsafe(bench.start(), loop).result(10)
        yield bench
    finally:
        asyncio.run_coroutine_threadsafe(bench.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
