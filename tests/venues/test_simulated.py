"""The simulated venue: a played session's time, and what its gateway answers beside orders."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from scalpdesk.core.clock import FollowingClock
from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import DataError
from scalpdesk.core.events import (
    GammaExposureEvent,
    OrderAccepted,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    PositionChanged,
    QuoteEvent,
)
from scalpdesk.core.intents import CancelOrder, OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.account_messages import cleared_ns
from scalpdesk.instruments.sessions import next_session, session_on
from scalpdesk.marketdata.tape import CashDividend
from scalpdesk.simulation.connection import OVER
from scalpdesk.venues.contract import KnownOrder, Notice, NoticeKind
from scalpdesk.venues.simulated import PlayedSession, SimulatedGateway
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder, at
from scalpdesk_testing.virtual_time import VirtualLoop

SESSION = session_on(DAY)


def played(*exposures_at):
    tape = TapeBuilder().spot("10:00", 500.0).spot("10:02", 502.0).build()
    exposures = [GammaExposureEvent("SPY", ns, ns, 1.0, "chain") for ns in exposures_at]
    return PlayedSession(tape, connect(tape.instruments, is_open=False), exposures=exposures)


def order(name="a", limit=None):
    kind, price = (OrderType.MARKET, None) if limit is None else (OrderType.LIMIT, Decimal(limit))
    return SubmitOrder(
        name, InstrumentId(0), Side.BUY, Decimal(1), kind, price, TimeInForce.DAY, Purpose.HEDGE
    )


def test_dealer_gamma_comes_at_its_own_time_after_the_quotes_of_that_instant():
    venue = played(at("10:00"), at("10:01"))
    seen = []
    while not venue.is_over:
        seen += [(type(event), venue.now_ns) for event in venue.step()]
    times = {kind: [ns for found, ns in seen if found is kind] for kind in (GammaExposureEvent, QuoteEvent)}
    assert times[GammaExposureEvent] == [at("10:00"), at("10:01")]
    assert times[QuoteEvent] == [at("10:00")] * 3 + [at("10:02")] * 3
    first = next(place for place, (kind, _) in enumerate(seen) if kind is GammaExposureEvent)
    assert first == 3
    assert venue.now_ns == SESSION.close_ns


def test_the_market_of_a_run_that_is_resumed_goes_on_where_the_run_stood():
    tape = TapeBuilder().spot("10:00", 500.0).spot("10:02", 502.0).build()
    gamma = [GammaExposureEvent("SPY", ns, ns, 1.0, "chain") for ns in (at("10:00"), at("10:01:30"))]
    venue = PlayedSession(tape, connect(tape.instruments, is_open=False), gamma, from_ns=at("10:01"))
    assert venue.clock().now_ns == at("10:01")
    venue.take(order())
    seen = steps(venue)
    assert seen[0] == ("OrderAccepted", at("10:01"))
    (fill,) = (event for event in venue.record.history["a"] if isinstance(event, OrderFilled))
    assert (fill.ts_event_ns, round(fill.price)) == (at("10:01"), 500)  # at the last quote before
    assert [ns for name, ns in seen if name == "GammaExposureEvent"] == [at("10:01:30")]
    assert [ns for name, ns in seen if name == "QuoteEvent"] == [at("10:02")] * 3


@pytest.mark.parametrize(("from_ns", "paid"), [(0, 110), (at("10:00"), 0)])
def test_a_dividend_that_the_journal_has_booked_is_not_paid_again(from_ns, paid):
    tape = TapeBuilder().spot("10:00", 500.0).build()
    tape = replace(tape, dividends=(CashDividend("SPY", DAY, Decimal("1.10")),))
    connection = connect(tape.instruments, is_open=False, positions={0: (Decimal(100), Decimal(500))})
    before = connection.account.cash
    PlayedSession(tape, connection, from_ns=from_ns)
    assert connection.account.cash - before == paid


def test_a_run_that_is_resumed_after_the_close_finds_the_session_over():
    tape = TapeBuilder().spot("10:00", 500.0).build()
    venue = PlayedSession(tape, connect(tape.instruments, is_open=False), from_ns=SESSION.close_ns)
    assert steps(venue) == []
    assert venue.is_over


def test_the_clock_shows_the_session_and_after_it_the_next():
    venue, following = played(), next_session(DAY)
    shown = venue.clock()
    assert (shown.now_ns, shown.is_open) == (SESSION.open_ns, True)
    assert (shown.next_open_ns, shown.next_close_ns) == (following.open_ns, SESSION.close_ns)
    while not venue.is_over:
        venue.step()
    shown = venue.clock()
    assert (shown.is_open, shown.next_close_ns) == (False, following.close_ns)


def test_questions_beside_orders_are_answered_from_the_tape():
    venue = played()
    gateway = SimulatedGateway(venue, FollowingClock())
    contracts = [contract for _, contract in venue.tape.instruments.options("SPY")]
    venue.tape.open_interest[contracts[0].symbol] = 7
    expiry = contracts[0].expiry

    async def asked():
        before = await gateway.quotes([InstrumentId(0)])
        while 0 not in {event.instrument_id for event in venue.step() if isinstance(event, QuoteEvent)}:
            pass
        bars = [await ask(0, DAY, DAY) for ask in (gateway.daily_bars, gateway.minute_bars)]
        listed = [await gateway.discover("SPY", DAY, day) for day in (expiry, expiry - timedelta(days=1))]
        return before, await gateway.quotes([InstrumentId(0), InstrumentId(99)]), bars, listed

    before, after, bars, (found, none) = asyncio.run(asked())
    assert (before, [quote.mid for quote in after], bars, none) == ((), [500.0], [(), ()], ())
    assert [(one.contract, one.open_interest_contracts, one.is_tradable) for one in found] == [
        (contract, 7 if contract is contracts[0] else 1_000, True) for contract in contracts
    ]


async def waiting(gateway):
    """Return what the desk can take now."""
    found, events = [], gateway.events()
    with suppress(TimeoutError):
        while True:
            found.append(await asyncio.wait_for(anext(events), 0.01))
    return found


def test_at_a_pace_of_sixty_a_market_minute_takes_a_second():
    loop = VirtualLoop()

    async def scenario():
        gateway = SimulatedGateway(played(), FollowingClock(), pace=60.0)
        await gateway.connect()
        await gateway.subscribe([InstrumentId(0)])
        came = [loop.time() async for item in gateway.events() if isinstance(item, QuoteEvent)]
        await gateway.close()
        return came

    try:
        assert loop.run_until_complete(scenario()) == pytest.approx([30.0] * 3 + [32.0] * 3)  # 10:00, 10:02
    finally:
        loop.close()


def test_a_line_that_is_cut_loses_commands_and_counts_them():
    async def scenario():
        gateway = SimulatedGateway(played(), FollowingClock())
        await gateway.connect()
        before = gateway.health()
        gateway.cut = True
        gateway.send(order())
        gateway.send(CancelOrder("a"))
        await gateway.query_order("a")
        shown = await waiting(gateway)
        return before, gateway.health(), shown

    before, after, shown = asyncio.run(scenario())
    assert (before.streams["orders"], after.streams["orders"]) == (True, False)
    assert (before.counters, after.counters) == ({}, {"lost_commands": 2})
    assert shown[0].kind is NoticeKind.CONNECTED
    assert [type(event) for event in shown[1:]] == [OrderNotFound]


# the session, event by event ------------------------------------------------------------------------


def steps(venue):
    """Play to the end; return the kind of each event, with the venue's time at it."""
    seen = []
    while not venue.is_over:
        seen += [(type(event).__name__, venue.now_ns) for event in venue.step()]
    return seen


def test_dealer_gamma_of_the_open_is_known_at_the_start_and_not_played():
    opens_ns = SESSION.open_ns
    venue = played(opens_ns - 1, opens_ns, opens_ns + 1, SESSION.close_ns - 1, SESSION.close_ns)
    assert [known.ts_recv_ns for known in venue.known_at_open] == [opens_ns - 1, opens_ns]
    kind = "GammaExposureEvent"
    assert [ns for name, ns in steps(venue) if name == kind] == [opens_ns + 1, SESSION.close_ns - 1]


def test_a_session_begins_at_the_open_and_names_its_next_event():
    venue = played()
    assert (venue.now_ns, venue.is_over, venue.session) == (SESSION.open_ns, False, SESSION)
    assert venue.next_ns == at("10:00")
    venue.take(order())
    assert venue.next_ns == SESSION.open_ns  # the acceptance of a market order without a quote
    (answer,) = venue.step()
    assert (type(answer), venue.now_ns) == (OrderAccepted, SESSION.open_ns)
    assert venue.next_ns == at("10:00")


def test_after_the_last_quote_the_close_comes_next():
    venue = played()
    for _ in range(6):
        venue.step()
    assert (venue.now_ns, venue.next_ns) == (at("10:02"), SESSION.close_ns + 1)
    assert venue.step() == []
    assert (venue.now_ns, venue.is_over) == (SESSION.close_ns, False)
    assert venue.step() == []
    assert (venue.now_ns, venue.is_over) == (SESSION.close_ns, True)


def test_the_quotes_of_the_close_itself_are_played_and_settle():
    book = straddle_book(500, expiry=DAY)
    tape = TapeBuilder(book).spot("15:59", 499.0).quote(0, "16:00", 503.99, 504.01).build()
    venue = PlayedSession(tape, connect(book, is_open=False, positions={1: (Decimal(1), Decimal(9))}))
    seen = steps(venue)
    assert [name for name, ns in seen if ns == SESSION.close_ns] == ["QuoteEvent"]
    assert [name for name, ns in seen if ns == cleared_ns(SESSION.close_ns)] == ["PositionChanged"] * 2
    assert [(one.symbol, one.quantity) for one in venue.record.positions()] == [("SPY", 100)]


def with_latency(latency_ns, *, last="10:02"):
    tape = TapeBuilder().spot("10:00", 500.0).spot(last, 502.0).build()
    return PlayedSession(tape, connect(tape.instruments, is_open=False, latency_ns=latency_ns))


def test_an_answer_that_is_due_with_a_quote_comes_before_it():
    venue = with_latency(NANOS_PER_SECOND)
    venue.now_ns = at("10:01:58")
    for _ in range(3):
        venue.step()
    venue.now_ns = at("10:01:58")
    venue.take(order())
    seen = [name for name, ns in steps(venue) if ns == at("10:02")]
    assert seen == ["OrderAccepted", "OrderFilled", "QuoteEvent", "QuoteEvent", "QuoteEvent"]


def test_an_order_of_the_last_second_is_answered_when_the_session_ends():
    venue = with_latency(NANOS_PER_SECOND, last="15:59:59")
    for _ in range(6):
        venue.step()
    venue.take(order("in time", limit="400"))
    venue.now_ns += 1
    venue.take(order("too late", limit="400"))
    seen = steps(venue)
    assert {ns for _, ns in seen} == {SESSION.close_ns}
    kinds = {name: [type(one) for one in sent] for name, sent in venue.record.history.items()}
    assert kinds == {"in time": [OrderAccepted, OrderExpired], "too late": [OrderRejected]}


def test_the_desk_hears_of_its_exercise_after_its_orders_of_the_day_have_ended():
    book = straddle_book(500, expiry=DAY)
    tape = TapeBuilder(book).spot("10:00", 500.0).spot("15:59", 510.0).build()
    venue = PlayedSession(tape, connect(book, is_open=False, positions={1: (Decimal(1), Decimal(9))}))
    venue.take(order(limit="400"))
    while venue.now_ns < SESSION.close_ns:
        assert not any(isinstance(each, PositionChanged) for each in venue.step())
    ended, exercise, delivery = venue.step()
    assert (type(ended), ended.client_order_id) == (OrderExpired, "a")
    assert {exercise.ts_recv_ns, delivery.ts_recv_ns} == {cleared_ns(SESSION.close_ns)}
    assert (exercise.cause, exercise.quantity_change) == (ChangeCause.EXERCISE, -1)
    assert (delivery.cause, delivery.quantity_change, delivery.price) == (ChangeCause.DELIVERY, 100, 500)


def test_an_expiry_without_a_level_of_its_close_stops_the_session():
    book = straddle_book(500, expiry=DAY)
    tape = TapeBuilder(book).spot("10:00", 500.0).spot("15:44", 510.0).build()
    venue = PlayedSession(tape, connect(book, is_open=False, positions={1: (Decimal(1), Decimal(9))}))
    with pytest.raises(DataError) as stopped:
        steps(venue)
    assert venue.now_ns == SESSION.close_ns
    assert stopped.value.value == "last known level: 510.00 of 2024-03-04 15:44"


def test_what_is_sent_at_the_close_is_refused_at_once():
    venue = played()
    for _ in range(7):
        venue.step()
    venue.take(order())
    (answer,) = venue.step()
    assert (type(answer), answer.reason, venue.is_over) == (OrderRejected, OVER, False)
    assert venue.step() == []
    assert venue.is_over


def test_a_late_refusal_never_turns_the_clock_back():
    venue = played()
    steps(venue)
    assert venue.refuse_late(SESSION.close_ns - 5) == []
    assert venue.now_ns == SESSION.close_ns
    assert venue.refuse_late(SESSION.close_ns + 5) == []
    assert venue.now_ns == SESSION.close_ns + 5


@pytest.mark.parametrize(("after_open_ns", "is_open"), [(-1, False), (0, True)])
def test_the_session_is_open_from_its_first_nanosecond_to_its_last(after_open_ns, is_open):
    venue = played()
    venue.now_ns = SESSION.open_ns + after_open_ns
    assert venue.clock().is_open is is_open
    venue.now_ns = SESSION.close_ns + after_open_ns
    assert venue.clock().is_open is not is_open


# the gateway ----------------------------------------------------------------------------------------


def gateway_of(venue, **how):
    clock = FollowingClock()
    return SimulatedGateway(venue, clock, **how), clock


def test_of_the_journals_orders_those_that_live_are_caught_up_with():
    venue = played()
    for name in ("lives", "ended"):
        venue.take(order(name))
        while len(venue.record.history.get(name, ())) < 2:
            venue.step()

    async def scenario():
        gateway, clock = gateway_of(venue)
        facts = await gateway.connect([KnownOrder(order("ended"), is_live=False), KnownOrder(order("lives"))])
        return facts, await waiting(gateway), clock.now_ns()

    facts, (*caught_up, notice), now_ns = asyncio.run(scenario())
    assert caught_up == venue.record.history["lives"]
    assert (notice.kind, notice.stream, notice.name) == (NoticeKind.CONNECTED, "orders", "connected")
    assert notice.ts_recv_ns == now_ns == venue.now_ns
    assert facts == venue.record.facts()


def test_the_market_waits_for_the_first_subscription_and_ends_with_a_notice():
    venue = played()

    async def scenario():
        gateway, clock = gateway_of(venue)
        await gateway.connect()
        stream = gateway.events()
        first = await anext(stream)
        reading = asyncio.ensure_future(anext(stream))
        for _ in range(5):
            await asyncio.sleep(0)
        waited = not reading.done(), venue.now_ns, gateway.health().streams
        await gateway.subscribe([])
        came = [await reading] + [item async for item in stream]
        return first, waited, came, gateway.health(), clock.now_ns()

    first, waited, came, health, now_ns = asyncio.run(scenario())
    assert waited == (True, SESSION.open_ns, {"orders": True, "market": False})
    assert [type(one).__name__ for one in came] == ["QuoteEvent"] * 6 + ["Notice"]
    end = came[-1]
    assert (end.kind, end.stream, end.name) == (NoticeKind.DISCONNECTED, "stocks", "end_of_market")
    assert end.ts_recv_ns == SESSION.close_ns + 1
    assert first.kind is NoticeKind.CONNECTED
    assert health.streams == {"orders": True, "market": True}
    assert health.silent_seconds == {"orders": 0.0, "market": 0.0}
    assert (health.in_flight, health.unknown, health.requests_left) == (0, (), 1_000)
    assert now_ns == at("10:02")  # the desk's clock follows what it was sent


def test_what_the_desk_sends_at_the_end_of_the_market_is_answered_before_the_stream_ends():
    venue = played()
    steps(venue)

    async def scenario():
        gateway, _ = gateway_of(venue)
        await gateway.subscribe([])
        came = []
        async for item in gateway.events():
            came.append(item)
            if isinstance(item, Notice):
                gateway.send(order())
        return came

    notice, answer = asyncio.run(scenario())
    assert notice.name == "end_of_market"
    assert (type(answer), answer.ts_recv_ns) == (OrderRejected, SESSION.close_ns)
    assert venue.now_ns == SESSION.close_ns + 1


def test_a_market_that_ended_later_is_reported_at_that_time():
    venue = played()
    steps(venue)
    venue.refuse_late(SESSION.close_ns + 77)

    async def scenario():
        gateway, _ = gateway_of(venue)
        await gateway.subscribe([])
        return [item.ts_recv_ns async for item in gateway.events()]

    assert asyncio.run(scenario()) == [SESSION.close_ns + 77]


def test_a_gateway_that_is_closed_ends_its_stream():
    async def scenario():
        gateway, _ = gateway_of(played())
        reading = asyncio.ensure_future(anext(gateway.events(), None))
        await asyncio.sleep(0)
        await gateway.close()
        return await reading

    assert asyncio.run(scenario()) is None


def test_a_line_that_is_cut_loses_the_market_and_the_answers_too():
    venue = played()

    async def scenario():
        gateway, _ = gateway_of(venue)
        await gateway.subscribe([])
        gateway.cut = True
        return [item async for item in gateway.events()]

    (end,) = asyncio.run(scenario())
    assert end.name == "end_of_market"
    assert venue.is_over


def test_at_a_pace_no_pause_is_longer_than_an_hour_and_none_is_negative():
    async def nap(before_seconds):
        """Return the pause before an event that is due so long after the venue's time."""
        gateway, _ = gateway_of(played(), pace=0.1)
        gateway.venue.now_ns = at("10:00") - before_seconds * NANOS_PER_SECOND
        await gateway.subscribe([])
        await anext(gateway.events())
        return asyncio.get_running_loop().time()

    naps = []
    for before_seconds in (359, 361, 0, -5):
        loop = VirtualLoop()
        naps.append(loop.run_until_complete(nap(before_seconds)))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    assert naps == [3_590.0, 3_600.0, 0.0, 0.0]


def test_an_order_that_is_asked_for_is_played_until_the_broker_answers():
    venue = with_latency(10 * NANOS_PER_SECOND)

    async def scenario():
        gateway, _ = gateway_of(venue)
        gateway.send(order())
        found = await gateway.query_order("a")
        return found, await waiting(gateway)

    found, shown = asyncio.run(scenario())
    assert (found, venue.now_ns) == (True, SESSION.open_ns + 20 * NANOS_PER_SECOND)
    assert [type(one) for one in shown] == [OrderAccepted, OrderAccepted]  # as played, and as asked for
    assert shown[0].venue_order_id == shown[1].venue_order_id


def test_an_order_that_never_reached_the_venue_is_not_found():
    async def scenario():
        gateway, _ = gateway_of(played())
        found = await gateway.query_order("nobody's")
        return found, await waiting(gateway)

    found, shown = asyncio.run(scenario())
    assert (found, shown) == (True, [OrderNotFound("nobody's", SESSION.open_ns, SESSION.open_ns)])


def test_the_snapshot_is_the_accounts_own_view_at_the_sessions_time():
    venue = played()
    venue.take(order())
    while len(venue.record.history.get("a", ())) < 2:
        venue.step()

    async def scenario():
        gateway, _ = gateway_of(venue)
        return await gateway.snapshot(), await gateway.snapshot(fills_since_ns=0)

    without, full = asyncio.run(scenario())
    assert without == venue.record.view(venue.now_ns, venue.clock(), None)
    assert full == venue.record.view(venue.now_ns, venue.clock(), 0)
    assert (len(without.fills), len(full.fills)) == (0, 1)
