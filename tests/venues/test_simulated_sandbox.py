"""The sandbox: live quotes of a served exchange, orders inside the process."""

import asyncio
from decimal import Decimal

import pytest

from scalpdesk.core.events import (
    BarEvent,
    CancelRejected,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    PositionChanged,
    QuoteEvent,
    TradeEvent,
    TradingHalt,
)
from scalpdesk.core.intents import (
    CancelOrder,
    MultiLegOrder,
    OrderType,
    Purpose,
    Side,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.sessions import next_session, session_on
from scalpdesk.simulation.hours import ExchangeHours
from scalpdesk.venues.contract import Health, KnownOrder, Notice, NoticeKind
from scalpdesk.venues.simulated import SandboxGateway
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.instruments import DAY, EXPIRY, straddle_book
from scalpdesk_testing.kit.served import SandboxBench
from scalpdesk_testing.virtual_time import VirtualClock, VirtualLoop

D = Decimal
SHARE, CALL, PUT = InstrumentId(0), InstrumentId(1), InstrumentId(2)
OPEN_NS = session_on(DAY).open_ns


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


HEALTH = Health({"stocks": True, "orders": False}, {"stocks": 1.5}, 3, ("x",), 17, {"stale": 2})
"""A data gateway, whose own order path is not used."""


class Data:
    """A data gateway that brings these items, then nothing."""

    closed = None

    def __init__(self, *items):
        self.items = items

    async def connect(self):
        return None

    async def events(self):
        for item in self.items:
            if isinstance(item, Exception):
                raise item
            yield item

    def health(self):
        return HEALTH

    async def close(self, *, graceful):
        self.closed = graceful


def sandbox(now_ns, positions=None, *, data=None, latency_ns=0, clock=None):
    """Return a gateway that was connected at an instant, and whose tasks have ended."""
    hours = ExchangeHours()
    connection = connect(
        straddle_book(500),
        cash=100_000,
        positions=positions,
        hours=hours,
        is_open=False,
        latency_ns=latency_ns,
    )
    gateway = SandboxGateway(data or Data(), connection, clock or ManualClock(now_ns), hours)

    async def passes():
        await gateway.connect()
        await gateway.close()

    if clock is None:
        asyncio.run(passes())
    return gateway


def passed_on(*items, scenario=None, known=()):
    """Connect a sandbox in virtual time, let the data send these items and a scenario happen, then close it.

    Return the sandbox, and what the desk gets.
    """
    loop = VirtualLoop()
    data = Data(*items)
    made = sandbox(OPEN_NS, data=data, clock=VirtualClock(loop, OPEN_NS))

    async def whole():
        await made.connect(known)
        await asyncio.sleep(0.0)
        if scenario is not None:
            await scenario(made)
        await asyncio.sleep(0.0)
        await made.close(graceful=False)
        assert data.closed is False
        return [item async for item in made.events()]

    try:
        return made, loop.run_until_complete(whole())
    finally:
        loop.close()


def kinds(events):
    return [type(event) for event in events]


def sent(gateway, command, now_ns):
    gateway.record.take(command, now_ns)
    return gateway.record.collect(now_ns)


@pytest.mark.parametrize("text", ["a fault of the data gateway", "x" * 500])
def test_a_fault_beside_the_desk_ends_the_session_and_is_named(text):
    _, (first, second, third) = passed_on(quote(SHARE, OPEN_NS, 500.00, 500.02), KeyError(text))
    assert (first.kind, second.bid) == (NoticeKind.CONNECTED, 500.00)
    assert (third.kind, third.stream, third.name) == (NoticeKind.DEAD, "orders", "internal_fault")
    assert third.detail == repr(KeyError(text))[:200]


@pytest.mark.parametrize(("halts", "fills"), [([True], 0), ([True, False], 1)])
def test_a_halt_of_the_data_stops_the_broker_until_it_is_over(halts, fills):
    halted = [TradingHalt(SHARE, OPEN_NS, OPEN_NS, is_halted) for is_halted in halts]
    made, _ = passed_on(quote(SHARE, OPEN_NS, 500.00, 500.02), *halted)
    assert kinds(sent(made, order(), OPEN_NS)) == [OrderAccepted] + [OrderFilled] * fills


def test_a_halt_and_its_end_reach_the_desk_in_their_place_among_the_quotes():
    items = [
        TradingHalt(SHARE, OPEN_NS, OPEN_NS, is_halted=True),
        quote(SHARE, OPEN_NS + 1, 500.00, 500.02),
        TradingHalt(SHARE, OPEN_NS + 2, OPEN_NS + 2, is_halted=False),
        BarEvent(SHARE, OPEN_NS + 3, OPEN_NS + 3, 60, 500.0, 500.5, 499.5, 500.2, 900.0),
    ]

    made, (_, *came) = passed_on(*items)
    assert came == items
    assert made.health().counters == HEALTH.counters


def test_of_the_real_venues_notices_those_about_its_orders_stay_out():
    streams = ("orders", "options", "orders")
    told = [Notice(NoticeKind.DISCONNECTED, OPEN_NS, stream, "half_open") for stream in streams]

    made, (_, *came) = passed_on(*told)
    assert came == [told[1]]
    assert made.health().counters["passed_over"] == 2


def test_a_resting_order_is_filled_by_a_later_quote_that_the_desk_sees_first():
    made = sandbox(OPEN_NS)
    made.take_quote(quote(SHARE, OPEN_NS, 500.00, 500.02))
    assert kinds(sent(made, order(limit="499.50"), OPEN_NS)) == [OrderAccepted]
    assert [one.filled for one in made.record.open_orders()] == [0]
    assert kinds(made.take_quote(quote(SHARE, OPEN_NS + 5, 499.40, 499.45))) == [QuoteEvent, OrderFilled]
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
    assert kinds(made.take_quote(quote(SHARE, opens_ns + 1, 500.00, 500.02))) == [QuoteEvent, OrderFilled]


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
    seen, *booked = kinds(made.take_quote(quote(SHARE, later_ns + 5, 510.00, 510.02)))
    assert (seen, set(booked)) == (QuoteEvent, {PositionChanged})
    assert [(one.symbol, one.quantity) for one in made.record.positions()] == [("SPY", D(200))]
    assert kinds(made.take_quote(quote(SHARE, later_ns + 6, 510.00, 510.02))) == [QuoteEvent]


# what it answers beside orders -----------------------------------------------------------------------


def test_orders_that_live_in_the_journal_ended_with_the_process_and_others_are_left_alone():
    shown = []

    async def scenario(made):
        shown.append(made.health())

    known = [KnownOrder(order("ended"), is_live=False), KnownOrder(order("lived"))]
    made, (gone, notice) = passed_on(scenario=scenario, known=known)
    assert (gone.client_order_id, gone.ts_event_ns, gone.ts_recv_ns) == ("lived", OPEN_NS, OPEN_NS)
    assert gone.reason
    assert (notice.kind, notice.stream, notice.name) == (NoticeKind.CONNECTED, "orders", "connected")
    assert made.record.facts().account_id == "sandbox"
    assert [each.streams["orders"] for each in (*shown, made.health())] == [True, False]


def test_its_health_is_that_of_the_data_with_its_own_order_path():
    made, _ = passed_on(*[Notice(NoticeKind.GAP, OPEN_NS, "orders", "x")] * 5)
    shown = made.health()
    assert (shown.streams, shown.silent_seconds) == ({"stocks": True, "orders": False}, {"stocks": 1.5})
    assert (shown.in_flight, shown.unknown, shown.requests_left) == (0, (), 1_000_000)
    assert shown.counters == {"stale": 2, "passed_over": 5}


def test_an_order_that_is_asked_for_is_acknowledged_and_an_unknown_one_is_not_found():
    async def scenario(made):
        made.send(order("a", limit="400"))
        made.send(order("late", CALL, limit="-1"))
        assert [await made.query_order(name) for name in ("a", "nobody's", "late")] == [True] * 3

    _, (_, *came) = passed_on(scenario=scenario)
    assert [(type(each), each.client_order_id) for each in came[:2]] == [
        (OrderAccepted, "a"),
        (OrderRejected, "late"),
    ]
    assert came[2:] == [
        OrderAccepted("a", OPEN_NS, OPEN_NS, "sim-1"),
        OrderNotFound("nobody's", OPEN_NS, OPEN_NS),
    ]


def test_a_leg_that_is_asked_for_is_known_by_its_combos_id():
    async def scenario(made):
        made.send(MultiLegOrder("s", (order("c", CALL, 1), order("p", PUT, 1)), D("1.00")))
        await made.query_order("c")

    made, (*_, known) = passed_on(scenario=scenario)
    parent = made.record.account.by_client_id["c"].parent
    assert parent is not None
    assert known == OrderAccepted("c", OPEN_NS, OPEN_NS, parent)


@pytest.mark.parametrize("is_open", [True, False])
def test_the_snapshot_shows_the_exchanges_hours_and_the_account(is_open):
    now_ns = OPEN_NS if is_open else session_on(DAY).close_ns
    following, today = next_session(DAY), session_on(DAY)
    made = sandbox(now_ns, positions={SHARE: (D(3), D(500))})

    async def scenario():
        return await made.snapshot(), await made.snapshot(fills_since_ns=0)

    shown, with_fills = asyncio.run(scenario())
    assert (shown.clock.now_ns, shown.clock.is_open) == (now_ns, is_open)
    assert shown.clock.next_open_ns == following.open_ns
    assert shown.clock.next_close_ns == (today if is_open else following).close_ns
    assert shown == made.record.view(now_ns, shown.clock, None) == with_fills


def test_questions_about_the_market_go_to_the_real_venue():
    asked = []

    class AskedData(Data):
        def __getattr__(self, name):
            async def answer(*arguments):
                asked.append((name, *arguments))
                return name

            return answer

    async def scenario():
        made = sandbox(OPEN_NS, data=AskedData(), clock=ManualClock(OPEN_NS))
        answers = [
            await made.quotes([SHARE]),
            await made.daily_bars(SHARE, DAY, EXPIRY),
            await made.minute_bars(SHARE, DAY, EXPIRY),
            await made.discover("SPY", DAY, EXPIRY),
        ]
        await made.subscribe([CALL])
        await made.reconnect("stocks")
        return answers

    assert asyncio.run(scenario()) == ["quotes", "daily_bars", "minute_bars", "discover"]
    assert asked == [
        ("quotes", [SHARE]),
        ("daily_bars", SHARE, DAY, EXPIRY),
        ("minute_bars", SHARE, DAY, EXPIRY),
        ("discover", "SPY", DAY, EXPIRY),
        ("subscribe", [CALL]),
        ("reconnect", "stocks"),
    ]


def test_quotes_are_offered_to_the_short_cut():
    offered, shown = [], quote(SHARE, OPEN_NS, 500.00, 500.02)

    class Waits(Data):
        async def events(self):
            await asyncio.sleep(1.0)
            yield shown

    loop = VirtualLoop()
    made = sandbox(OPEN_NS, data=Waits(), clock=VirtualClock(loop, OPEN_NS))

    async def whole():
        await made.connect()
        events = made.events()
        await anext(events)
        made.shortcut(lambda each: offered.append(each) or True)
        await asyncio.sleep(2.0)
        await made.close()
        return [item async for item in events]

    assert (loop.run_until_complete(whole()), offered) == ([], [shown])
    loop.close()


def test_what_comes_late_from_the_data_is_received_when_it_is_reported():
    first, late = (quote(SHARE, OPEN_NS + ns, 500.00, 500.02) for ns in (7, 6))
    same = quote(PUT, OPEN_NS + 7, 8.00, 8.10)
    _, (_, *came) = passed_on(first, late, same)
    assert [each.ts_recv_ns for each in came] == [OPEN_NS + 7] * 3
    assert (came[0], came[1].ts_event_ns, came[2]) == (first, OPEN_NS + 6, same)


def test_prints_and_bars_reach_the_desk_and_account_events_of_the_data_do_not():
    trade = TradeEvent(SHARE, OPEN_NS, OPEN_NS, 500.0, 10.0)
    made, (_, *came) = passed_on(OrderAccepted("theirs", OPEN_NS, OPEN_NS, "9"), trade)
    assert came == [trade]
    assert made.health().counters["passed_over"] == 1


def test_a_quote_brings_what_is_due_before_it_and_what_it_fills():
    made = sandbox(OPEN_NS, latency_ns=10)
    made.take_quote(quote(SHARE, OPEN_NS, 500.00, 500.02))
    assert sent(made, order(), OPEN_NS) == []
    came = made.take_quote(quote(SHARE, OPEN_NS + 20, 501.00, 501.02))
    assert [(type(one), one.ts_recv_ns) for one in came] == [
        (OrderAccepted, OPEN_NS + 20),
        (OrderFilled, OPEN_NS + 20),
        (QuoteEvent, OPEN_NS + 20),
    ]
    assert came[1].price == D("500.02")


def test_at_the_opening_the_broker_is_open_at_the_close_it_is_not():
    made = sandbox(OPEN_NS - 1)
    broker, closes_ns = made.record.connection.broker, session_on(DAY).close_ns
    for at_ns, is_open in (
        (OPEN_NS - 1, False),
        (OPEN_NS, True),
        (closes_ns - 1, True),
        (closes_ns, False),
        (next_session(DAY).open_ns - 1, False),
        (next_session(DAY).open_ns, True),
    ):
        made.advance(at_ns)
        assert broker.is_open is is_open


def test_without_quotes_time_goes_on_at_least_each_second_and_sooner_where_something_is_due():
    loop, naps = VirtualLoop(), []
    hours = ExchangeHours()
    connection = connect(straddle_book(500), hours=hours, is_open=False, latency_ns=250_000_000)

    class Noting(SandboxGateway):
        def advance(self, now_ns):
            naps.append(round((now_ns - OPEN_NS) / 1e9, 3))
            return super().advance(now_ns)

    made = Noting(Data(), connection, VirtualClock(loop, OPEN_NS - 2_500_000_000), hours)

    async def scenario():
        await made.connect()
        await asyncio.sleep(2.6)
        made.send(order(limit="400"))
        await asyncio.sleep(0.6)
        await made.close()
        return [item async for item in made.events()]

    try:
        came = loop.run_until_complete(scenario())
    finally:
        loop.close()
    assert naps[:4] == [-2.5, -1.5, -0.5, 0.0]
    assert naps[4:] == [0.1, 0.35, 0.6]
    assert [type(each) for each in came[1:]] == [OrderAccepted]
