"""The simulated venue: a played session's time, and what its gateway answers beside orders."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from fakes.broker import connect
from fakes.instruments import DAY
from fakes.tape import TapeBuilder, at
from scalpdesk.core.clock import FollowingClock
from scalpdesk.core.events import (
    GammaExposureEvent,
    OrderAccepted,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    QuoteEvent,
)
from scalpdesk.core.intents import CancelOrder, OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.sessions import next_session, session_on
from scalpdesk.venues.contract import KnownOrder, NoticeKind
from scalpdesk.venues.simulated import PlayedSession, SimulatedGateway
from scalpdesk_testing.virtual_time import VirtualLoop

SESSION = session_on(DAY)


def played(*exposures_at):
    tape = TapeBuilder().spot("10:00", 500.0).spot("10:02", 502.0).build()
    exposures = [GammaExposureEvent("SPY", ns, ns, 1.0, "chain") for ns in exposures_at]
    return PlayedSession(tape, connect(tape.instruments, is_open=False), exposures=exposures)


def order(name="a"):
    return SubmitOrder(
        name, InstrumentId(0), Side.BUY, Decimal(1), OrderType.MARKET, None, TimeInForce.DAY, Purpose.HEDGE
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


def test_what_is_sent_after_the_close_is_refused():
    venue = played()
    while not venue.is_over:
        venue.step()
    venue.take(order())
    (answer,) = venue.refuse_late(SESSION.close_ns + 1)
    assert isinstance(answer, OrderRejected)
    assert venue.now_ns == SESSION.close_ns + 1


def test_an_id_that_is_sent_again_is_noted():
    venue = played()
    venue.take(order("a"))
    venue.take(order("b"))
    assert venue.record.duplicates == []
    venue.take(order("a"))
    assert venue.record.duplicates == ["a"]


def test_a_gateway_that_connects_learns_of_an_order_what_the_journal_has_not():
    venue = played()
    venue.take(order())
    while len(venue.record.history.get("a", ())) < 2:
        venue.step()
    accepted, filled = venue.record.history["a"]
    assert (type(accepted), type(filled)) == (OrderAccepted, OrderFilled)
    booked = {filled.execution_id: (filled.quantity, filled.price)}
    assert venue.record.missed(KnownOrder(order())) == [accepted, filled]
    assert venue.record.missed(KnownOrder(order(), venue_order_id="sim-1")) == [filled]
    assert venue.record.missed(KnownOrder(order(), venue_order_id="sim-1", executions=booked)) == []


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
        await gateway.close()
        waiting = list(gateway._waiting)
        return before, gateway.health(), waiting

    before, after, waiting = asyncio.run(scenario())
    assert (before.streams["orders"], after.streams["orders"]) == (True, False)
    assert (before.counters, after.counters) == ({}, {"lost_commands": 2})
    assert waiting[0].kind is NoticeKind.CONNECTED
    assert [type(event) for event in waiting[1:]] == [OrderNotFound]
