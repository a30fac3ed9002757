"""Paper trading: live quotes of a served exchange, orders inside the process."""

import asyncio
from decimal import Decimal

import pytest

from conformance import venue as conformance
from fakes.alpaca_bench import AlpacaBench, ExchangeTruth
from fakes.instruments import DAY, EXPIRY, straddle_book
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.events import (
    CancelRejected,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    PositionChanged,
    QuoteEvent,
)
from scalpdesk.core.intents import (
    CancelOrder,
    MultiLegOrder,
    OrderType,
    Purpose,
    ReplaceOrder,
    Side,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.sessions import session_on
from scalpdesk.venues.contract import Gateway, KnownOrder, VenueClock
from scalpdesk.venues.paper import PaperGateway, exchange_hours
from scalpdesk.venues.paper_venue import PaperTerms, PaperVenue

D = Decimal
SHARE, CALL, PUT = InstrumentId(0), InstrumentId(1), InstrumentId(2)
OPEN_NS = session_on(DAY).open_ns
FOREVER = 2**62
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


class PaperBench(AlpacaBench):
    """The same questions, orders on paper."""

    def gateway(self) -> Gateway:
        self.paper = PaperGateway(
            super().gateway(),
            self.book,
            PaperTerms(D(100_000), {}),
            SystemClock(),
            lambda now_ns: VenueClock(now_ns, True, FOREVER, FOREVER),
        )
        return _Subscribed(self.paper, [self.share, self.call, self.put])

    def truth(self):
        venue = self.paper._venue()
        return ExchangeTruth(
            venue.account.cash,
            {one.symbol: one.quantity for one in venue.positions()},
            [(self._client_id(fill), fill.quantity, fill.price) for fill in venue.fills],
        )

    def _client_id(self, fill):
        ids = {venue_id: name for name, venue_id in self.paper._venue()._venue_ids.items()}
        return ids[fill.venue_order_id]


class _Subscribed:
    """A gateway whose venue has seen a quote of each instrument before the first order."""

    def __init__(self, gateway, numbers):
        self._gateway = gateway
        self._numbers = numbers

    def __getattr__(self, name):
        return getattr(self._gateway, name)

    async def connect(self, known=()):
        facts = await self._gateway.connect(known)
        for quote in await self._gateway.quotes(self._numbers):
            self._gateway._venue().take_quote(quote)
        return facts


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check, socket_enabled):
    async def scenario():
        bench = PaperBench()
        await bench.start()
        try:
            await asyncio.wait_for(check(bench), 30)
        finally:
            await bench.stop()

    asyncio.run(scenario())


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_nothing_is_ever_sent_to_the_real_venue_and_old_orders_have_ended(socket_enabled):
    async def scenario():
        bench = PaperBench()
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


# the venue alone --------------------------------------------------------------------------------


def order(name="a", number=SHARE, quantity=10, side=Side.BUY, *, limit=None, purpose=Purpose.HEDGE):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else D(limit)
    return SubmitOrder(name, number, side, D(quantity), kind, price, TimeInForce.DAY, purpose)


def quote(number, at_ns, bid, ask):
    return QuoteEvent(number, at_ns, at_ns, bid, ask, 100.0, 100.0)


def venue(positions=None, **terms):
    made = PaperVenue(straddle_book(500), PaperTerms(D(10_000), positions or {}, **terms), OPEN_NS)
    made.take_quote(quote(SHARE, OPEN_NS, 500.00, 500.02))
    made.take_quote(quote(CALL, OPEN_NS, 9.00, 9.10))
    made.take_quote(quote(PUT, OPEN_NS, 8.00, 8.10))
    return made


def kinds(events):
    return [type(event) for event in events]


def test_an_order_meets_the_latest_live_quote():
    made = venue()
    events = made.take(order(), OPEN_NS)
    assert kinds(events) == [OrderAccepted, OrderFilled]
    assert events[1].price == D("500.02")
    assert made.account.cash == D(10_000) - 10 * D("500.02")
    assert [(one.quantity, one.average_price) for one in made.positions()] == [(D(10), D("500.02"))]
    assert made.equity() == D(10_000) - 10 * D("500.02") + 10 * D("500.01")


def test_a_resting_order_is_filled_by_a_later_quote_before_the_desk_sees_it():
    made = venue()
    assert kinds(made.take(order(limit="499.50"), OPEN_NS)) == [OrderAccepted]
    assert [one.filled for one in made.open_orders()] == [0]
    assert kinds(made.take_quote(quote(SHARE, OPEN_NS + 5, 499.40, 499.45))) == [OrderFilled]
    assert list(made.open_orders()) == []


def test_answers_take_their_time():
    made = venue(latency_ns=1_000_000)
    assert made.take(order(), OPEN_NS) == []
    assert made.due_ns == OPEN_NS + 1_000_000
    assert kinds(made.advance(OPEN_NS + 2_000_000)) == [OrderAccepted, OrderFilled]


def test_the_same_name_twice_is_one_order():
    made = venue()
    made.take(order(), OPEN_NS)
    assert kinds(made.take(order(), OPEN_NS + 1)) == [OrderAccepted]
    assert len(made.fills) == 1


def test_two_legs_are_filled_within_their_net_limit_or_not_at_all():
    made = venue()
    legs = (order("c", CALL, 2, purpose=Purpose.OPEN), order("p", PUT, 2, purpose=Purpose.OPEN))
    assert kinds(made.take(MultiLegOrder("m", legs, D("17.19")), OPEN_NS)) == [OrderRejected] * 2
    legs = (order("c2", CALL, 2, purpose=Purpose.OPEN), order("p2", PUT, 2, purpose=Purpose.OPEN))
    assert kinds(made.take(MultiLegOrder("m2", legs, D("17.20")), OPEN_NS)).count(OrderFilled) == 2
    assert made.account.cash == D(10_000) - 2 * 100 * D("17.20")


def test_a_leg_without_a_price_keeps_all_legs_back():
    made = PaperVenue(straddle_book(500), PaperTerms(D(10_000), {}), OPEN_NS)
    made.take_quote(quote(CALL, OPEN_NS, 9.00, 9.10))
    legs = (order("c", CALL, 1), order("p", PUT, 1))
    assert kinds(made.take(MultiLegOrder("m", legs, None), OPEN_NS)) == [OrderRejected] * 2


def test_a_replacement_goes_in_once_the_old_order_is_out():
    made = venue()
    made.take(order("old", limit="499.00"), OPEN_NS)
    events = made.take(ReplaceOrder("old", order("new", limit="498.00")), OPEN_NS)
    assert kinds(events) == [OrderCancelled, OrderAccepted]
    assert [one.client_order_id for one in made.open_orders()] == ["new"]
    refused = made.take(ReplaceOrder("gone", order("newer", limit="498.00")), OPEN_NS)
    assert kinds(refused) == [OrderRejected, CancelRejected]


def test_an_option_in_the_money_is_exercised_at_its_expiry():
    made = venue(positions={CALL: (D(2), D("9.00"))})
    at_ns = session_on(EXPIRY).close_ns
    made.take_quote(quote(SHARE, at_ns - 1, 510.00, 510.02))
    events = made.advance(at_ns)
    assert set(kinds(events)) == {PositionChanged}
    assert [(one.symbol, one.quantity) for one in made.positions()] == [("SPY", D(200))]
    assert made.account.cash == D(10_000) - 200 * D(500)
    assert made.advance(at_ns + 1) == []


def test_an_option_that_expired_while_nobody_was_here_is_settled_at_the_first_quote_of_its_underlying():
    held = {CALL: (D(2), D("9.00")), PUT: (D(1), D("8.00"))}
    later_ns = session_on(EXPIRY).close_ns + 60 * 10**9
    made = PaperVenue(straddle_book(500), PaperTerms(D(10_000), held), later_ns)
    assert made.advance(later_ns) == []
    assert made.due_ns > later_ns
    events = made.take_quote(quote(SHARE, later_ns + 5, 510.00, 510.02))
    assert set(kinds(events)) == {PositionChanged}
    assert [(one.symbol, one.quantity) for one in made.positions()] == [("SPY", D(200))]
    assert made.take_quote(quote(SHARE, later_ns + 6, 510.00, 510.02)) == []


def test_the_end_of_the_day_ends_what_rests():
    made = venue()
    made.take(order(limit="499.00"), OPEN_NS)
    assert kinds(made.end_day(OPEN_NS + 10)) == [OrderCancelled]
    assert kinds(made.take(CancelOrder("a"), OPEN_NS + 11)) == [CancelRejected]


def test_hours_before_in_and_after_a_session():
    session = session_on(DAY)
    before, during, after = (
        exchange_hours(ns) for ns in (session.open_ns - 1, session.open_ns, session.close_ns)
    )
    assert (before.is_open, before.next_open_ns, before.next_close_ns) == (
        False,
        session.open_ns,
        session.close_ns,
    )
    assert (during.is_open, during.next_close_ns) == (True, session.close_ns)
    assert during.next_open_ns == after.next_open_ns > session.close_ns
    assert not after.is_open
