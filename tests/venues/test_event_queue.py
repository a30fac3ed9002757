import asyncio

from scalpdesk.core.clock import FollowingClock, Stamper
from scalpdesk.core.events import OrderAccepted, QuoteEvent
from scalpdesk.core.units import DAY_NS
from scalpdesk.venues.contract import Notice
from scalpdesk.venues.event_queue import EventQueue


def quote(number, at_ns, bid=1.0):
    return QuoteEvent(number, at_ns, at_ns, bid, bid + 1, 1, 1)


def drain(outbox):
    async def read():
        outbox.close()
        return [item async for item in outbox.items()]

    return asyncio.run(read())


def test_everything_comes_out_in_its_order():
    outbox = EventQueue()
    items = [quote(0, 1), OrderAccepted("a", 2, 2, "v"), quote(0, 3)]
    for item in items:
        outbox.publish(item)
    assert drain(outbox) == items


def test_a_slow_reader_gets_the_latest_quote_of_each_instrument_and_every_order_event():
    outbox = EventQueue(most_waiting=3)
    for at_ns in range(1, 11):
        outbox.publish(quote(at_ns % 2, at_ns, bid=float(at_ns)))
    outbox.publish(OrderAccepted("a", 11, 11, "v"))
    out = drain(outbox)
    assert [one.ts_recv_ns for one in out] == sorted(one.ts_recv_ns for one in out)
    assert [one.bid for one in out if isinstance(one, QuoteEvent)] == [1, 2, 3, 10, 9]
    assert sum(isinstance(one, OrderAccepted) for one in out) == 1
    (notice,) = [one for one in out if isinstance(one, Notice)]
    assert notice.name == "slow_consumer"
    assert outbox.merged == 5


def test_a_quote_that_waits_is_never_followed_by_an_older_one():
    outbox = EventQueue(most_waiting=1)
    outbox.publish(quote(0, 1, bid=1.0))
    outbox.publish(quote(0, 2, bid=2.0))
    assert outbox.take().bid == 1.0
    assert isinstance(outbox.take(), Notice)
    outbox.publish(quote(0, 3, bid=3.0))
    assert [one.bid for one in drain(outbox)] == [3.0]


def test_a_reader_that_waits_is_woken():
    async def scenario():
        outbox = EventQueue()

        async def read():
            return [item async for item in outbox.items()]

        reader = asyncio.create_task(read())
        await asyncio.sleep(0)
        outbox.publish(quote(0, 1))
        await asyncio.sleep(0)
        outbox.close()
        return await reader

    assert len(asyncio.run(scenario())) == 1


def test_stamps_never_run_backwards():
    class Jumping:
        def __init__(self):
            self.times = [5, 3, 9]

        def now_ns(self):
            return self.times.pop(0)

    stamper = Stamper(Jumping())
    assert [stamper.timestamp(), stamper.timestamp(), stamper.timestamp()] == [5, 5, 9]


def test_a_following_clock_stands_at_the_latest_instant_seen():
    clock = FollowingClock(100, latency_ns=7)
    stamper = Stamper(clock)
    assert stamper.timestamp() == 100
    assert stamper.timestamp(200) == 207
    assert stamper.timestamp(150) == 207
    assert clock.now_ns() == 207


def test_a_venues_time_is_followed_past_a_weekend_and_not_into_another_year():
    clock = FollowingClock()
    stamper = Stamper(clock)
    assert stamper.timestamp(1_000 * DAY_NS) == 1_000 * DAY_NS  # the first tells where the venue is
    assert stamper.timestamp(1_004 * DAY_NS) == 1_004 * DAY_NS
    for absurd in (1_370 * DAY_NS, 4_000 * DAY_NS, 2**63, 10**30):
        assert stamper.timestamp(absurd) < 1_005 * DAY_NS
    assert stamper.timestamp(1_004 * DAY_NS + 1) == 1_004 * DAY_NS + 1


def test_a_venues_time_is_followed_as_far_as_seconds_have_passed(monkeypatch):
    passed_ns = 0
    monkeypatch.setattr("time.monotonic_ns", lambda: passed_ns)
    clock = FollowingClock()
    clock.follow(1_000 * DAY_NS)
    clock.follow(1_011 * DAY_NS)
    assert clock.now_ns() == 1_000 * DAY_NS
    passed_ns = 10**9  # a fast exchange, whose line was down for a second
    clock.follow(1_011 * DAY_NS)
    assert clock.now_ns() == 1_011 * DAY_NS


def test_a_quote_goes_by_the_shortcut_only_while_nothing_waits():
    outbox = EventQueue()
    taken = []
    outbox.shortcut = lambda quote: taken.append(quote) is None
    outbox.publish(quote(0, 1))
    accepted = OrderAccepted("a", 2, 2, "v")
    outbox.publish(accepted)
    outbox.publish(quote(0, 3))
    assert taken == [quote(0, 1)]
    assert drain(outbox) == [accepted, quote(0, 3)]


def test_a_quote_that_the_shortcut_refuses_waits_in_the_queue():
    outbox = EventQueue()
    outbox.shortcut = lambda _quote: False
    outbox.publish(quote(0, 1))
    assert drain(outbox) == [quote(0, 1)]


def test_a_quote_does_not_overtake_those_that_wait_merged():
    outbox = EventQueue(most_waiting=1)
    taken = []
    outbox.shortcut = lambda quote: taken.append(quote) is None
    outbox.publish(OrderAccepted("a", 1, 1, "v"))
    outbox.publish(quote(0, 2))
    while outbox._items:  # the reader has taken what is not merged
        outbox.take()
    outbox.publish(quote(0, 3, bid=7.0))
    assert taken == []
    assert [one.bid for one in drain(outbox)] == [7.0]
