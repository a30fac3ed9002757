"""A trading halt that TWS names (ticks 49 and 90) reaches the desk, and no quote of it is fresh."""

from itertools import dropwhile

import pytest

from scalpdesk.base import MINUTE_NS, NANOS_PER_SECOND, QuoteEvent, TradingHalt
from scalpdesk.venues import Listener
from scalpdesk_testing.kit.served import between

pytestmark = pytest.mark.usefixtures("socket_enabled")

GENERIC, STRING = "45", "46"
HALTED, DELAYED_HALTED, LAST_TIME = "49", "90", "45"
QUOTES = ("1", "2", "21", "46")
"""Messages of prices, sizes, Greeks and times."""
STATUSES = [("1", True), ("2", True), ("1.0", True), ("0", False), ("-1", False)]
"""Values of the status: 0 trades, and below 0 TWS does not know."""


async def following(bench, *numbers, section=None):
    gateway = bench.gateway(section=section)
    await gateway.connect()
    desk = Listener(bench, gateway)
    await gateway.subscribe(numbers)
    await desk.until(lambda: {each.instrument_id for each in desk.of(QuoteEvent)} >= set(numbers))
    return desk


def line_of(line, number):
    """Return the request id of the latest line of the n-th contract that was asked for."""
    return [fields[2] for fields in line.asked if fields[0] == "1"][number]


def halts(desk):
    """The statuses from the first halt on: a trade on a fresh line may tell before that it trades."""
    return list(dropwhile(lambda status: not status.is_halted, desk.of(TradingHalt)))


def ages(quotes):
    return [each.ts_recv_ns - each.ts_event_ns for each in quotes]


def test_a_halt_and_its_end_are_told_and_quotes_of_it_age():
    async def halted(bench, _line):
        desk = await following(bench, bench.share, bench.call)
        bench.server.world.halt(bench.server.world.ledger.instruments.id_of("SPY"))
        await desk.until(lambda: bool(halts(desk)))
        before = len(desk.events)
        await desk.until(lambda: len(desk.events) > before + 30)
        quotes = [each for each in desk.events[before:] if isinstance(each, QuoteEvent)]
        assert {each.instrument_id for each in quotes} == {bench.share, bench.call}
        (began,) = {each.ts_event_ns for each in quotes}  # an option is halted with its share
        assert began == halts(desk)[0].ts_event_ns
        asked = await desk.gateway.quotes([bench.share, bench.put])
        assert {each.ts_event_ns for each in asked} == {began}
        bench.server.world.resume(bench.server.world.ledger.instruments.id_of("SPY"))
        await desk.until(lambda: len(halts(desk)) == 2)
        told = halts(desk)
        assert [(each.instrument_id, each.is_halted) for each in told] == [
            (bench.share, True),
            (bench.share, False),
        ]
        before = len(desk.events)
        await desk.until(lambda: len(desk.events) > before + 10)
        fresh = [each for each in desk.events[before:] if isinstance(each, QuoteEvent)]
        assert set(ages(fresh)) == {0}
        await desk.close()

    between(halted)


def test_a_line_that_opens_in_a_halt_brings_no_fresh_quote():
    async def opened(bench, _line):
        bench.server.world.halt(bench.server.world.ledger.instruments.id_of("SPY"))
        desk = await following(bench, bench.share, bench.call)
        assert [each.instrument_id for each in halts(desk) if each.is_halted] == [bench.share]
        await desk.until(lambda: len(desk.of(QuoteEvent)) > 10)
        assert min(ages(desk.of(QuoteEvent))) >= 15 * MINUTE_NS
        assert min(ages(await desk.gateway.quotes([bench.share, bench.call]))) >= 15 * MINUTE_NS
        await desk.close()

    between(opened)


@pytest.mark.rows(("value", "is_told"), STATUSES)
def test_a_status_is_told_once_and_an_unknown_one_ends_no_halt(value, is_told):

    async def named(bench, line):
        desk = await following(bench, bench.share)
        line.tell(GENERIC, 6, line_of(line, 0), HALTED, value)
        line.tell(GENERIC, 6, line_of(line, 0), HALTED, value)
        before = len(desk.events)
        await desk.until(lambda: len(desk.events) > before + 5)
        assert [each.is_halted for each in halts(desk) if each.is_halted] == [True] * is_told
        line.tell(GENERIC, 6, line_of(line, 0), HALTED, "-1")  # not known any more: still halted
        before = len(desk.events)
        await desk.until(lambda: len(desk.events) > before + 5)
        assert desk.gateway.health().counters["lines_halted"] == is_told
        line.tell(GENERIC, 6, line_of(line, 0), HALTED, "0")
        if is_told:
            await desk.until(lambda: [each.is_halted for each in halts(desk)] == [True, False])
        await desk.close()

    between(named)


def test_a_delayed_halt_is_as_old_as_delayed_data():
    async def delayed(bench, line):
        desk = await following(bench, bench.share)
        line.tell(GENERIC, 6, line_of(line, 0), DELAYED_HALTED, "1")
        await desk.until(lambda: bool(halts(desk)))
        (halt,) = halts(desk)
        assert halt.ts_recv_ns - halt.ts_event_ns == 15 * MINUTE_NS
        await desk.close()

    between(delayed)


@pytest.mark.rows(("late_seconds", "is_over"), [(2, False), (60, True)])
def test_a_trade_after_a_halt_ends_it_where_its_end_was_missed(late_seconds, is_over):
    async def missed(bench, line):
        desk = await following(bench, bench.share)
        line.server = lambda fields: [] if fields[0] == STRING else [fields]
        line.tell(GENERIC, 6, line_of(line, 0), HALTED, "1")
        await desk.until(lambda: bool(halts(desk)))
        second = halts(desk)[0].ts_event_ns // NANOS_PER_SECOND + late_seconds
        line.tell(STRING, 6, line_of(line, 0), LAST_TIME, second)
        before = len(desk.events)
        await desk.until(lambda: len(desk.events) > before + 5)
        assert [each.is_halted for each in halts(desk)] == [True, False][: 1 + is_over]
        await desk.close()

    between(missed)


def test_a_halted_option_keeps_its_line_and_its_end_is_seen():
    async def kept(bench, line):
        section = {"lines": 2, "turn_seconds": 0.2}

        def named(fields):
            is_option = fields[0] == GENERIC and fields[2] != line_of(line, 0)
            return [*fields[:4], "2"] if is_option else fields

        desk = await following(bench, bench.share, bench.call, bench.put, section=section)
        line.server = lambda fields: [named(fields)]  # every option's line opens in a halt
        await desk.until(lambda: bool(halts(desk)))
        assert {each.instrument_id for each in halts(desk) if each.is_halted} <= {bench.call, bench.put}
        asked, before = len(line.asked), len(desk.of(QuoteEvent))
        await desk.until(lambda: len(desk.of(QuoteEvent)) > before + 20)  # several turns
        assert [fields for fields in line.asked[asked:] if fields[0] == "1"] == []
        await desk.close()

    between(kept)


def test_a_line_that_is_opened_again_shows_nothing_of_the_one_before():
    """The library keeps one ticker a contract: its old prices came as new prices with any other tick."""

    async def again(bench, line):
        desk = await following(bench, bench.share)
        line.server = lambda fields: [] if fields[0] in QUOTES else [fields]
        await desk.gateway.snapshot()  # all that was on its way has come
        await desk.gateway.renew_quotes([bench.share])
        await desk.gateway.snapshot()
        before = len(desk.of(QuoteEvent))
        line.tell(GENERIC, 6, line_of(line, -1), HALTED, "0")
        await desk.gateway.snapshot()
        assert desk.of(QuoteEvent)[before:] == []
        line.server = lambda fields: [fields]
        await desk.until(lambda: len(desk.of(QuoteEvent)) > before)
        await desk.close()

    between(again)


def test_a_line_that_is_opened_again_begins_with_no_news():
    """TWS sends a new line what stands, without its age: a quote of minutes ago came as one of now."""

    async def again(bench, line):
        desk = await following(bench, bench.share)
        line.server = lambda fields: [] if fields[0] in QUOTES else [fields]
        await desk.gateway.snapshot()  # all that was on its way has come
        last, before = desk.of(QuoteEvent)[-1], len(desk.of(QuoteEvent))
        await desk.gateway.renew_quotes([bench.share])
        await desk.gateway.snapshot()
        request_id = line_of(line, -1)
        for bid in (last.bid, last.bid - 0.05):
            for kind, price, size in ((1, bid, last.bid_size), (2, last.ask, last.ask_size)):
                line.tell(1, 6, request_id, kind, price, size, 0)
            await desk.gateway.snapshot()  # a packet for each
        bids = [each.bid for each in desk.of(QuoteEvent)[before:]]
        assert last.bid not in bids
        assert bids[-1] == pytest.approx(last.bid - 0.05)
        await desk.close()

    between(again)
