"""The gateway to Interactive Brokers beside a simulated exchange that speaks TWS on this machine."""

import asyncio
from decimal import Decimal
from typing import ClassVar

from fakes.alpaca_bench import ExchangeTruth
from fakes.tws_proxy import TwsProxy
from scalpdesk.core.clock import SystemClock
from scalpdesk.exchange.generated import GeneratedSource
from scalpdesk.exchange.launch import LaunchPlan, build_server
from scalpdesk.instruments.contract import Equity, Instruments, OptionContract
from scalpdesk.simulation.faults import Fault
from scalpdesk.venue_conformance import Listener
from scalpdesk.venues.contract import Gateway, VenueSetup
from scalpdesk_ibkr.gateway import build_gateway
from scalpdesk_ibkr.settings import IbkrSettings
from scalpdesk_ibkr.venue import VENUE

D = Decimal
FAULTS = {
    "lost_answer": Fault("disconnect_after", match="message 3"),
    "lost_order": Fault("disconnect_before", match="message 3"),
    "reject": Fault("reject"),
    "partial": Fault("partial_fill", fraction=0.5),
    "cancel_too_late": Fault("cancel_too_late"),
}


class IbkrBench:
    """A served market and gateways to it, by way of a :class:`TwsProxy` where ``rules`` are given."""

    cannot_be_asked: ClassVar = {
        "a_server_error_is_never_a_rejection": "TWS answers no request",
        "a_rate_limit_is_said_and_a_cancel_still_goes_through": "TWS limits messages by breaking the line",
        "repeated_and_swapped_messages_change_nothing": "TWS keeps the order of its messages",
    }

    def __init__(self, rules=None):
        self.proxy = None if rules is None else TwsProxy(rules)
        self.gateways = []
        self.source = GeneratedSource(["SPY"], SystemClock().now_ns(), seed=3, step_ms=50)
        self.server = build_server(LaunchPlan(self.source, protocol="tws"), SystemClock())
        listed = [one for one in self.source.instruments if isinstance(one, OptionContract)]
        expiry = sorted({one.expiry for one in listed})[4]
        near = [one for one in listed if one.expiry == expiry]
        strike = min((one.strike for one in near), key=lambda strike: abs(strike - 600))
        pair = sorted((one for one in near if one.strike == strike), key=lambda one: not one.is_call)
        self.book = Instruments([Equity("SPY"), *pair])
        self.share, self.call, self.put = range(3)

    async def start(self):
        await self.server.start()
        if self.proxy is not None:
            await self.proxy.start(self.server.protocol.port)

    async def stop(self):
        if self.proxy is not None:
            await self.proxy.stop()
        await self.server.stop()

    @property
    def url(self):
        protocol = self.server.protocol
        return protocol.url if self.proxy is None else f"tws://127.0.0.1:{self.proxy.port}"

    def setup(self, **changes) -> VenueSetup:
        usual = {"fees": VENUE.fees, "timeout_seconds": 5.0, "acceptance_seconds": 0.4}
        usual |= {"clock": SystemClock(), "url": self.url}
        return VenueSetup(instruments=self.book, **(usual | changes))

    def settings(self, account="") -> IbkrSettings:
        return IbkrSettings(port=self.server.protocol.port, account=account)

    def gateway(self, client_id=None, section=None, **changes) -> Gateway:
        """Return a gateway under the desk's client id, or under another one while that is connected."""
        is_taken = any(each.health().streams["orders"] for each in self.gateways)
        settings = IbkrSettings(client_id=client_id or (2 if is_taken else 1), **(section or {}))
        made = build_gateway(self.setup(**changes), settings)
        self.gateways.append(made)
        return made

    def truth(self):
        admin = self.server.admin
        (account,) = admin.state()["accounts"]
        names = {one["id"]: one["client_order_id"] for one in admin.orders()}
        return ExchangeTruth(
            D(account["cash"]),
            {one["symbol"]: D(one["qty"]) for one in admin.positions()},
            [(names[one["order_id"]], D(one["qty"]), D(one["price"])) for one in admin.fills()],
        )

    def strike(self, what):
        self.server.world.faults.inject(FAULTS[what])

    def heal(self):
        self.server.world.faults.heal()

    def lose_quotes(self, number):
        listed = self.server.world.ledger.instruments.id_of(self.book[number].symbol)
        for session in self.server.protocol.market.clients.values():
            lines = session.lines.lines
            for request_id in [name for name, line in lines.items() if line.number == listed]:
                del lines[request_id]

    async def cut_order_stream(self, gateway):
        self.server.protocol.close_all()

    def far_below(self, number):
        return D("450.00")


PATIENCE_SECONDS = 60


def against(scenario, rules=None):
    """Run a scenario beside a served market."""

    async def run():
        bench = IbkrBench(rules)
        await bench.start()
        try:
            await asyncio.wait_for(scenario(bench), PATIENCE_SECONDS)
        finally:
            await bench.stop()

    asyncio.run(run())


def with_desk(scenario, entitlements=None, rules=None, **plan):
    """Run a scenario with a connected gateway beside a served market."""

    async def connected(bench):
        if entitlements is not None:
            bench.server.protocol.entitle(entitlements)
        gateway = bench.gateway(**plan)
        await gateway.connect()
        desk = Listener(bench, gateway)
        await scenario(bench, desk)
        await desk.close()

    against(connected, rules)
