"""Count the calls that an order takes: the same on every machine, where its time is not.

A call here is one of Python's own, in the product or in a library that it calls, or one that such a frame
makes to C. What drives the desk from outside is not counted; the simulated broker is where the whole trip is.
"""

import gc
import sys
from decimal import Decimal

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import OrderAccepted, OrderFilled, QuoteEvent
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.hedging.bands.fixed import FixedBand, FixedConfig
from scalpdesk.hedging.delta_models import DeltaModel
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.triggers import EveryQuote
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk.simulation.broker import Broker
from scalpdesk.simulation.connection import BrokerConnection
from scalpdesk.simulation.fills import fill_model
from scalpdesk.simulation.hours import AlwaysOpen
from scalpdesk.strategies.contract import Proposal
from scalpdesk.strategies.toolkit.hedger import DeltaHedger
from scalpdesk_testing.kit.desk import HandDesk, Scripted, orders

SHARES = {0: (20, "500")}
STRADDLE = SHARES | {1: (4, "9"), 2: (4, "9")}
DRIVERS = ("/benchmarks/", "/scalpdesk_testing/")


class CallCounter:
    """Counts the calls of all frames but the drivers' while it is entered."""

    def __init__(self):
        self.python = self.c = 0

    def __call__(self, frame, event, arg):
        del arg
        if not any(part in frame.f_code.co_filename for part in DRIVERS):
            self.python += event == "call"
            self.c += event == "c_call"

    def __enter__(self):
        gc.disable()  # a collection calls its listeners
        sys.setprofile(self)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)
        gc.enable()


def minute_later(desk):
    """Let a minute pass, so that nothing of the last order is left in a window; return the time."""
    return desk.wait(61).now_ns


def round_trip(desk, counter):
    """Hedge one share on a quote, and let the venue accept and fill it."""
    now_ns = minute_later(desk)
    with counter:
        outputs = desk.engine.handle(QuoteEvent(0, now_ns, now_ns, 499.99, 500.01, 100.0, 100.0))
    (order,) = orders(outputs)
    accepted = OrderAccepted(order.client_order_id, now_ns, now_ns, "v-1")
    price, fee = Decimal("500.01"), Decimal("0.00")
    filled = OrderFilled(order.client_order_id, now_ns, now_ns, "x-1", order.quantity, price, fee)
    with counter:
        desk.engine.handle(accepted)
        desk.engine.handle(filled)
    return order


def whole_trip(desk, connection, counter):
    """Hedge one share on a quote at the simulated broker, and bring its answers to the desk."""
    now_ns = minute_later(desk)
    quote = QuoteEvent(0, now_ns, now_ns, 499.99, 500.01, 100.0, 100.0)
    connection.broker.ledger.quotes[0] = quote
    with counter:
        outputs = desk.engine.handle(quote)
    (order,) = orders(outputs)
    with counter:
        connection.send(order, now_ns)
        for answer in connection.take_due(now_ns):
            desk.engine.handle(answer)
    return order


class Hedger(Scripted):
    """Buys and sells one share in turn."""

    def __init__(self):
        super().__init__(self.hedge, triggers=[EveryQuote(0)])
        self.is_awake = False
        self.side = Side.BUY

    def hedge(self, view, wake, event):
        del view, wake
        if type(event) is not QuoteEvent or not self.is_awake:
            return ()
        self.side = Side.SELL if self.side is Side.BUY else Side.BUY
        intent = OrderIntent(0, self.side, Decimal(1), Purpose.HEDGE, "test")
        return (Proposal(DecisionKind.HEDGE, ("test",), {}, (intent,)),)


def of_a_hedge(held):
    """Return the calls from a quote to the fill of the share that it makes the desk buy."""
    desk = _hedging(held)
    for _ in range(5):
        round_trip(desk, CallCounter())
    counter = CallCounter()
    round_trip(desk, counter)
    return counter


def of_the_whole_trip():
    """Return the same with the simulated broker between."""
    desk = _hedging(SHARES)
    parts = desk.engine.desk
    broker = Broker(parts.instruments, AlwaysOpen(), fill_model("cross"), fill_model("cross"))
    terms = AccountTerms(cash=Decimal(100_000), positions={0: (Decimal(20), Decimal(500))})
    connection = BrokerConnection(broker, broker.open_account(terms))
    connection.open_session(desk.now_ns, parts.view.session.close_ns)
    for _ in range(6):
        whole_trip(desk, connection, CallCounter())
    counter = CallCounter()
    whole_trip(desk, connection, counter)
    return counter


def _hedging(held):
    expiry_instant_ns.cache_clear()
    desk = HandDesk(Hedger())
    desk.adopt(held)
    desk.open()
    desk.market(500.0)
    desk.strategy.is_awake = True
    return desk


def of_a_decision():
    """Return the calls from a quote to the order, where a straddle is measured and hedged by a fixed band."""
    hedger = DeltaHedger(FixedBand(FixedConfig(threshold=0.1)), DeltaModel(), order_ttl_seconds=30.0)

    def hedge(view, wake, event):
        del wake
        return hedger.step(view, [1, 2]) if type(event) is QuoteEvent and event.instrument_id == 0 else ()

    def quote_and_fill(bid, ask):
        for order in orders(desk.wait(61).quote(0, bid, ask)):
            desk.accept(order)
            desk.fill(order, price=ask)

    desk = HandDesk(Scripted(hedge, triggers=[EveryQuote(0)]))
    desk.adopt({0: (20, "500"), 1: (4, "9"), 2: (4, "9")})
    desk.open()
    hedger.begin()
    for order in orders(desk.market(500.0)):
        desk.fill(order, price=500.0)
    for spot in (500.0, 500.5, 501.0, 500.5, 500.0):
        quote_and_fill(spot - 0.01, spot + 0.01)
    now_ns = desk.wait(61).now_ns
    counter = CallCounter()
    with counter:
        desk.engine.handle(QuoteEvent(0, now_ns, now_ns, 500.49, 500.51, 100.0, 100.0))
    return counter


if __name__ == "__main__":
    rows = {
        "shares alone: quote to fill": of_a_hedge(SHARES),
        "beside a straddle": of_a_hedge(STRADDLE),
        "the simulated broker between": of_the_whole_trip(),
        "measuring and hedging a straddle": of_a_decision(),
    }
    for what, counted in rows.items():
        print(f"{what:34}{counted.python:6d} of Python {counted.c:6d} of C")
