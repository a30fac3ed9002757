"""An account at a venue in memory, for what acts when a desk is gone."""

import asyncio
from decimal import Decimal

from scalpdesk.core.errors import RetryError
from scalpdesk.core.events import OrderFilled, QuoteEvent, TradingHalt
from scalpdesk.core.intents import SubmitOrder
from scalpdesk.core.units import InstrumentId
from scalpdesk.live.emergency import EmergencyTrader
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.venues.contract import AccountFacts, HoldingsView, VenueClock, VenueOrder, VenuePosition
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.virtual_time import VirtualLoop

D = Decimal
SHARE = InstrumentId(0)
S = 10**9


class EmergencyVenue:
    """An account that answers at once, unless a test says otherwise."""

    takes_id_once = False

    def __init__(self, **positions):
        self.book = straddle_book(500)
        self.held = {self.book.id_of(symbol): D(quantity) for symbol, quantity in positions.items()}
        self.open = {}
        """Open orders by the venue's id."""
        self.looks, self.asked, self.cancels, self.sent, self.adopted, self.log = [], [], [], [], [], []
        self.subscribed, self.halted, self.fails_to_quote = [], set(), False
        self.failures = []
        """Errors that the looks at the account raise, in their order."""
        self.takes_cancels = True
        self.lag_seconds = 0.0
        self.on_send = self.fill
        self.on_query = lambda name: None
        self.loop = VirtualLoop()
        self._events = asyncio.Queue()

    @property
    def now(self):
        return round(self.loop.time(), 3)

    def tell(self, event):
        self._events.put_nowait(event)

    def rest(self, name, side, quantity, number=SHARE, venue_id=None):
        venue_id = venue_id or f"v-{name}"
        symbol = "BTCUSD" if number is None else self.book[number].symbol
        self.open[venue_id] = VenueOrder(
            name, venue_id, symbol, number, side, D(quantity), D(0), None, "new", True, None, 0
        )

    def fill(self, order, quantity=None, *, event=True):
        quantity = order.quantity if quantity is None else D(quantity)
        number, signed = order.instrument_id, order.side.sign * quantity
        self.loop.call_later(
            self.lag_seconds, lambda: self.held.update({number: self.held.get(number, D(0)) + signed})
        )
        if event:
            name, at = order.client_order_id, len(self.sent)
            self.tell(OrderFilled(name, 0, 0, f"{name}-{at}", quantity, D("500.25"), D(0)))

    # the gateway ----------------------------------------------------------------------------------

    async def connect(self):
        self.log.append("connected")
        return self.facts()

    async def connect_to_leave(self):
        return (await self.connect()).account_id

    async def close(self, *, graceful):
        self.log.append(f"closed, graceful {graceful}")

    def facts(self):
        return AccountFacts("a1", "ACTIVE", "USD", *[D(0)] * 4, 3, may_trade=True, may_short=True)

    def adopt(self, orders):
        self.adopted += orders

    async def events(self):
        while True:
            yield await self._events.get()

    async def shown_positions(self):
        self.looks.append(self.now)
        if self.failures:
            raise self.failures.pop(0)
        positions = tuple(
            VenuePosition(self.book[number].symbol, number, quantity, D(500))
            for number, quantity in self.held.items()
        )
        now_ns = S + int(self.loop.time() * S)
        clock = VenueClock(now_ns, True, now_ns, now_ns)
        return HoldingsView(now_ns, now_ns, positions, tuple(self.open.values()), clock)

    async def cancel_at_venue(self, venue_id):
        self.cancels.append((self.now, venue_id))
        if not self.takes_cancels:
            return False
        self.open.pop(venue_id, None)
        return True

    async def query_order(self, name, again=None):
        self.asked.append((self.now, name))
        self.on_query(name)

    async def subscribe(self, numbers):
        self.subscribed.append((self.now, tuple(numbers)))
        if self.fails_to_quote:
            raise RetryError("no stream", where="here")
        for number in numbers:
            if number in self.halted:
                self.tell(TradingHalt(number, S, S, is_halted=True))
            self.tell(QuoteEvent(number, S, S, 499.5, 500.5, 1.0, 1.0))

    async def quotes(self, numbers):
        if SHARE in numbers:
            return [QuoteEvent(SHARE, S, S, 499.5, 500.5, 1.0, 1.0)]
        raise RetryError("no quotes now", where="here")

    def send(self, command):
        self.sent.append((self.now, command))
        if isinstance(command, SubmitOrder):
            self.on_send(command)

    # the trader -----------------------------------------------------------------------------------

    def clear(self, *desk_orders, flatten=False, only_ids=None, limits=None, parents=None):
        trader = EmergencyTrader(
            gateway=self,
            instruments=self.book,
            name="wd",
            limits=limits or RiskLimits(),
            log=self.log.append,
            only_ids=only_ids,
        )
        try:
            return self.loop.run_until_complete(
                trader.clear(desk_orders, flatten=flatten, parents=parents or {})
            )
        finally:
            self.loop.close()

    def orders(self):
        return [
            (at, command.side.value, int(command.quantity), command.client_order_id)
            for at, command in self.sent
            if isinstance(command, SubmitOrder)
        ]
