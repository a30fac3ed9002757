"""The Deribit gateway beside a simulated exchange that serves it on this machine, hours in seconds."""

from datetime import date
from decimal import Decimal
from functools import cache
from typing import ClassVar

import msgspec

from fakes.alpaca_bench import ExchangeTruth, Key
from scalpdesk.core.clock import FollowingClock, SystemClock
from scalpdesk.datasets.embedded.coin import reconstruct_coin
from scalpdesk.exchange.launch import LaunchPlan, build_server
from scalpdesk.exchange.source import TapeSource
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.deribit import perpetual
from scalpdesk.simulation.faults import Fault
from scalpdesk.venues.contract import VenueSetup
from scalpdesk_deribit.gateway import DeribitGateway, build_gateway
from scalpdesk_deribit.served.rpc import RpcFault

D = Decimal
DAY, EXPIRY = date(2025, 3, 5), date(2025, 3, 14)
SPEED = 300.0
"""Market seconds a second; the market has a step a minute."""
FAULTS = {"reject": Fault("reject"), "partial": Fault("partial_fill", fraction=0.5)}
ANSWERS = {
    "server_error": RpcFault(11094, "internal_server_error"),
    "rate_limit": RpcFault(10028, "too_many_requests"),
}
TAKEN = {"lost_answer", "server_error"}
"""Of what goes wrong on the wire that where the venue has taken the order."""


@cache
def coin_day():
    return reconstruct_coin(DAY, DAY)


class DeribitBench:
    cannot_be_asked: ClassVar = {
        "an_order_sent_twice_under_one_name_is_one_order": "the venue takes a label twice",
    }

    def __init__(self):
        plan = LaunchPlan(
            TapeSource(coin_day()), protocol="deribit", speed=SPEED, cash=2.0, currency="BTC", trading_limit=0
        )
        self.server = build_server(plan, SystemClock())
        self.server.world.advance_to(self.server.world.now_ns + 300 * 10**9)
        listed = [one for one in self.world.ledger.instruments if isinstance(one, OptionContract)]
        near = [one for one in listed if one.expiry == EXPIRY]
        spot = float(self.world.ledger.mark(0))
        strike = min((one.strike for one in near), key=lambda strike: abs(float(strike) - spot))
        pair = sorted((one for one in near if one.strike == strike), key=lambda one: not one.is_call)
        self.book = Instruments([perpetual("BTC"), *pair])
        self.share, self.call, self.put = range(3)
        self.struck, self.tasks = [], set()
        api = self.server.protocol.api
        self.receive, api.receive = api.receive, self._receive

    @property
    def world(self):
        return self.server.world

    async def start(self):
        await self.server.start()

    async def stop(self):
        await self.server.stop()

    def gateway(self) -> DeribitGateway:
        key = self.server.keyring.credentials[0]
        self.made = build_gateway(
            VenueSetup(
                instruments=self.book,
                clock=FollowingClock(),
                keys=(Key(key.key), Key(key.secret)),
                currency="BTC",
                url=self.server.url,
                timeout_seconds=5.0,
                acceptance_seconds=0.4,
                requests_per_minute=60_000,
            )
        )
        return self.made

    def truth(self):
        (account,) = self.world.ledger.accounts.values()
        listed = self.world.ledger.instruments
        return ExchangeTruth(
            account.cash,
            {listed[number].symbol: held.quantity for number, held in account.holdings.items()},
            [(one.client_order_id, one.quantity, one.price) for one in account.executions],
        )

    def strike(self, what):
        if what in FAULTS:
            self.world.faults.inject(FAULTS[what])
        else:
            self.struck.append(what)

    def heal(self):
        self.struck.clear()
        self.world.faults.heal()

    def _receive(self, session, text):
        """Let what was struck befall the next order, or the messages about it.

        Orders outlive their connection here: the next one may come before the venue has cancelled them.
        """
        session.cancels_on_disconnect = False
        frame = msgspec.json.decode(text)
        if not self.struck or frame.get("method") not in ("private/buy", "private/sell"):
            self.receive(session, text)
            return
        what = self.struck.pop(0)
        if what in ("repeated_update", "swapped_updates"):
            self._befall_updates(session, what)
            self.receive(session, text)
            return
        send = session.send
        if what in TAKEN:
            session.send = lambda _: None
            self.receive(session, text)
            session.send = send
        if what in ANSWERS:
            send(self.server.protocol.api.refused(frame["id"], ANSWERS[what]))
        else:
            session.close()

    @staticmethod
    def _befall_updates(session, what):
        """Repeat the messages about the next order, or let its first two change places."""
        send, held = session.send, []

        def befall(text):
            if '"subscription"' not in text:
                send(text)
            elif what == "repeated_update":
                send(text)
                send(text)
            elif not held:
                held.append(text)
            else:
                send(text)
                send(held[0])
                session.send = send

        session.send = befall

    def lose_quotes(self, number):
        channel = f"ticker.{self.book[number].symbol}.100ms"
        for session in self.server.protocol.api._sessions:
            session.channels.pop(channel, None)

    async def cut_order_stream(self, gateway):
        await gateway._orders.drop()

    def far_below(self, number):
        bid = D(str(self.world.ledger.quotes[number].bid))
        return self.book[number].tick_rule.round(bid * D("0.97"), "down")
