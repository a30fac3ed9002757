"""The sandbox: live quotes of a served exchange, orders inside the process."""

import asyncio
from decimal import Decimal

import pytest

from conformance import venue as conformance
from fakes.alpaca_bench import AlpacaBench, ExchangeTruth
from fakes.broker import connect
from fakes.clock import ManualClock
from fakes.instruments import DAY, EXPIRY, straddle_book
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.events import (
    CancelRejected,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    PositionChanged,
    QuoteEvent,
    TradingHalt,
)
from scalpdesk.core.intents import (
    CancelOrder,
    OrderType,
    Purpose,
    Side,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.sessions import next_session, session_on
from scalpdesk.simulation.hours import AlwaysOpen, ExchangeHours
from scalpdesk.venues.contract import Gateway, KnownOrder, Notice, NoticeKind
from scalpdesk.venues.simulated import SandboxGateway

D = Decimal
SHARE, CALL, PUT = InstrumentId(0), InstrumentId(1), InstrumentId(2)
OPEN_NS = session_on(DAY).open_ns
CHECKS = (
    conformance.an_order_is_accepted_and_filled_and_adds_up,
    conformance.options_and_shares_both_ways_add_up,
    conformance.a_resting_order_is_cancelled,
    conformance.a_cancel_sent_at_once_waits_for_its_order,
    conformance.a_cancel_that_comes_too_late_is_refused_and_the_fill_counts,
    conformance.the_snapshot_is_the_exchanges_own_view,
    conformance.a_replacement_takes_the_place_of_its_order,
    conformance.a_replacement_of_what_is_over_is_refused,
    conformance.both_legs_of_a_straddle_are_filled_together,
    conformance.quotes_stream_for_what_is_subscribed_and_nothing_else,
    conformance.the_latest_quotes_come_by_query,
    conformance.contracts_are_discovered_within_their_window,
)
"""What asks for faults on the line has no place here: there is no line."""


class SandboxBench(AlpacaBench):
    """The same questions, orders in the sandbox."""

    def gateway(self) -> Gateway:
        hours = AlwaysOpen()
        connection = connect(self.book, hours=hours, is_open=False)
        self.sandbox = SandboxGateway(super().gateway(), connection, SystemClock(), hours)
        return _Subscribed(self.sandbox, [self.share, self.call, self.put])

    def truth(self):
        record = self.sandbox.record
        return ExchangeTruth(
            record.account.cash,
            {one.symbol: one.quantity for one in record.positions()},
            [(one.client_order_id, one.quantity, one.price) for one in record.account.executions],
        )


class _Subscribed:
    """A gateway whose broker has seen a quote of each instrument before the first order."""

    def __init__(self, gateway, numbers):
        self._gateway = gateway
        self._numbers = numbers

    def __getattr__(self, name):
        return getattr(self._gateway, name)

    async def connect(self, known=()):
        facts = await self._gateway.connect(known)
        for quote in await self._gateway.quotes(self._numbers):
            self._gateway.take_quote(quote)
        return facts


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check, socket_enabled):
    conformance.run_check(check, SandboxBench)


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_nothing_is_ever_sent_to_the_real_venue_and_old_orders_have_ended(socket_enabled):
    async def scenario():
        bench = SandboxBench()
        await bench.start()
        try:
            gateway = bench.gateway()
            await gateway.connect([KnownOrder(order("old"))])
            gateway.send(order("new"))
            assert await gateway.query_order("new")
            await gateway.close()
            said = [item async for item in gateway.events()]
            assert bench.server.admin.orders() == []
            return said
        finally:
            await bench.stop()

    said = asyncio.run(scenario())
    assert [one.client_order_id for one in said if isinstance(one, OrderCancelled)] == ["old"]
    assert [one.client_order_id for one in said if isinstance(one, OrderFilled)] == ["new"]


# the clock of the sandbox ---------------------------------------------------------------------------


def order(name="a", number=SHARE, quantity=10, side=Side.BUY, *, limit=None, purpose=Purpose.HEDGE):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else D(limit)
    return SubmitOrder(name, number, side, D(quantity), kind, price, TimeInForce.DAY, purpose)


def quote(number, at_ns, bid, ask):
    return QuoteEvent(number, at_ns, at_ns, bid, ask, 100.0, 100.0)


class NoData:
    """A data gateway that brings nothing."""

    async def connect(self):
        return None

    async def events(self):
        return
        yield

    closed = None

    async def close(self, *, graceful):
        self.closed = graceful


def sandbox(now_ns, positions=None):
    """A gateway that is connected at an instant, without its tasks."""
    hours = ExchangeHours()
    connection = connect(straddle_book(500), cash=100_000, positions=positions, hours=hours, is_open=False)
    gateway = SandboxGateway(NoData(), connection, ManualClock(now_ns), hours)
    gateway._begin(now_ns)
    return gateway


def kinds(events):
    return [type(event) for event in events]


def sent(gateway, command, now_ns):
    gateway.record.take(command, now_ns)
    return gateway.record.collect(now_ns)


class BrokenData(NoData):
    async def events(self):
        yield quote(SHARE, OPEN_NS, 500.00, 500.02)
        raise KeyError("a fault of the data gateway")


def test_a_fault_beside_the_desk_ends_the_session_and_is_named():
    async def scenario():
        hours = ExchangeHours()
        connection = connect(straddle_book(500), cash=100_000, hours=hours, is_open=False)
        gateway = SandboxGateway(BrokenData(), connection, ManualClock(OPEN_NS), hours)
        await gateway.connect()
        await asyncio.wait([gateway._tasks[0]])
        await gateway.close(graceful=False)
        assert gateway._data.closed is False
        return [item async for item in gateway.events()]

    first, second, third = asyncio.run(scenario())
    assert (first.kind, second.bid) == (NoticeKind.CONNECTED, 500.00)
    assert (third.kind, third.name) == (NoticeKind.DEAD, "internal_fault")
    assert "a fault of the data gateway" in third.detail


@pytest.mark.parametrize(("halts", "fills"), [([True], 0), ([True, False], 1)])
def test_a_halt_of_the_data_stops_the_broker_until_it_is_over(halts, fills):
    class HaltedData(NoData):
        async def events(self):
            yield quote(SHARE, OPEN_NS, 500.00, 500.02)
            for is_halted in halts:
                yield TradingHalt(SHARE, OPEN_NS, OPEN_NS, is_halted)

    async def scenario():
        made = sandbox(OPEN_NS)
        made._data = HaltedData()
        await made._pump()
        return sent(made, order(), OPEN_NS)

    assert kinds(asyncio.run(scenario())) == [OrderAccepted] + [OrderFilled] * fills


def test_of_the_real_venues_notices_those_about_its_orders_stay_out():
    streams = ("orders", "options", "orders")
    told = [Notice(NoticeKind.DISCONNECTED, OPEN_NS, stream, "half_open") for stream in streams]

    class NoticedData(NoData):
        async def events(self):
            for notice in told:
                yield notice

    async def scenario():
        made = sandbox(OPEN_NS)
        made._data = NoticedData()
        await made._pump()
        await made.close()
        return made, [item async for item in made.events()]

    made, came = asyncio.run(scenario())
    assert came == [told[1]]
    assert made._counters["passed_over"] == 2


def test_a_resting_order_is_filled_by_a_later_quote_before_the_desk_sees_it():
    made = sandbox(OPEN_NS)
    made.take_quote(quote(SHARE, OPEN_NS, 500.00, 500.02))
    assert kinds(sent(made, order(limit="499.50"), OPEN_NS)) == [OrderAccepted]
    assert [one.filled for one in made.record.open_orders()] == [0]
    assert kinds(made.take_quote(quote(SHARE, OPEN_NS + 5, 499.40, 499.45))) == [OrderFilled]
    assert made.record.open_orders() == ()
    facts = made.record.facts()
    assert (facts.cash, facts.equity) == (D("95005.00"), D("95005.00") + D("4994.25"))
    assert [(one.quantity, one.average_price) for one in made.record.positions()] == [(D(10), D("499.50"))]
    (fill,) = made.record.fills(OPEN_NS)
    assert (fill.quantity, fill.cumulative, fill.venue_order_id) == (10, 10, "sim-1")


def test_the_close_ends_orders_of_the_day_and_the_next_opening_begins_another_session():
    made = sandbox(OPEN_NS)
    made.take_quote(quote(SHARE, OPEN_NS, 500.00, 500.02))
    sent(made, order(limit="499.00"), OPEN_NS)
    close_ns = session_on(DAY).close_ns
    assert kinds(made.advance(close_ns + 10)) == [OrderExpired]
    assert kinds(sent(made, CancelOrder("a"), close_ns + 11)) == [CancelRejected]
    assert kinds(sent(made, order("b"), close_ns + 12)) == [OrderAccepted]
    opens_ns = next_session(DAY).open_ns
    assert made.advance(opens_ns) == []
    assert kinds(made.take_quote(quote(SHARE, opens_ns + 1, 500.00, 500.02))) == [OrderFilled]


def test_an_option_in_the_money_is_exercised_at_its_expiry():
    at_ns = session_on(EXPIRY).close_ns
    made = sandbox(session_on(EXPIRY).open_ns, positions={CALL: (D(2), D("9.00"))})
    made.take_quote(quote(SHARE, at_ns - 1, 510.00, 510.02))
    assert set(kinds(made.advance(at_ns + 1))) == {PositionChanged}
    assert [(one.symbol, one.quantity) for one in made.record.positions()] == [("SPY", D(200))]
    assert made.record.account.cash == D(100_000) - 200 * D(500)
    assert made.advance(at_ns + 2) == []


def test_an_option_that_expired_while_nobody_was_here_is_settled_at_the_first_quote_of_its_underlying():
    held = {CALL: (D(2), D("9.00")), PUT: (D(1), D("8.00"))}
    later_ns = next_session(EXPIRY).open_ns
    made = sandbox(later_ns, positions=held)
    assert made.advance(later_ns) == []
    assert set(kinds(made.take_quote(quote(SHARE, later_ns + 5, 510.00, 510.02)))) == {PositionChanged}
    assert [(one.symbol, one.quantity) for one in made.record.positions()] == [("SPY", D(200))]
    assert made.take_quote(quote(SHARE, later_ns + 6, 510.00, 510.02)) == []
