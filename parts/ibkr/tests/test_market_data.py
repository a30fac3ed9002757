"""Lines of quotes from TWS: by turns, with its own Greeks, and data that are not live."""

import pytest

from scalpdesk.base import MINUTE_NS, NANOS_PER_SECOND, Purpose, QuoteEvent
from scalpdesk.core.events import OpenInterestEvent
from scalpdesk.venues import NoticeKind
from scalpdesk_ibkr.served.protocol import Entitlements
from scalpdesk_testing.kit.served import with_desk

pytestmark = pytest.mark.usefixtures("socket_enabled")


def seen(desk):
    return {each.instrument_id for each in desk.of(QuoteEvent)}


def test_the_chain_shares_its_lines_by_turns_and_what_is_held_keeps_one():
    async def turned(bench, desk):
        await desk.gateway.subscribe([bench.share, bench.call, bench.put])
        counters = desk.gateway.health().counters
        assert (counters["lines"], counters["lines_waiting"]) == (2, 1)
        await desk.until(lambda: seen(desk) == {bench.share, bench.call, bench.put})
        order = await desk.submit(bench.put, 1, purpose=Purpose.OPEN)
        await desk.over(order)
        before = len(desk.of(QuoteEvent))

        def of_puts():
            return [each for each in desk.of(QuoteEvent)[before:] if each.instrument_id == bench.put]

        await desk.until(lambda: len(of_puts()) > 20)  # longer than a turn
        assert bench.call not in {each.instrument_id for each in desk.of(QuoteEvent)[before + 20 :]}
        assert desk.gateway.health().counters["lines"] == 2
        assert bench.server.protocol.market.line_count() == 2

    with_desk(turned, Entitlements(lines=2), section={"lines": 2, "turn_seconds": 0.2})


def test_an_option_comes_with_open_interest_and_the_brokers_own_greeks():
    async def quoted(bench, desk):
        await desk.gateway.subscribe([bench.call, bench.put])
        await desk.until(lambda: desk.gateway.model_greeks(bench.put) is not None)
        await desk.until(lambda: {each.instrument_id for each in desk.of(OpenInterestEvent)} == {1, 2})
        call, put = (desk.gateway.model_greeks(number) for number in (bench.call, bench.put))
        assert 0.0 < call.delta < 1.0
        assert -1.0 < put.delta < 0.0
        assert call.impliedVol == pytest.approx(put.impliedVol, abs=0.05)
        assert call.delta - put.delta == pytest.approx(1.0, abs=0.05)  # parity
        assert desk.gateway.health().counters["lines_with_greeks"] == 2

    with_desk(quoted)


def test_delayed_data_are_named_and_as_old_as_they_are():
    async def delayed(bench, desk):
        await desk.gateway.subscribe([bench.share])
        await desk.until(lambda: bool(desk.of(QuoteEvent)))
        await desk.until(lambda: any(each.name == "delayed_data" for each in desk.notices))
        assert all(each.ts_recv_ns - each.ts_event_ns == 15 * MINUTE_NS for each in desk.of(QuoteEvent))
        assert desk.gateway.health().counters["lines_delayed"] == 1

    with_desk(delayed, Entitlements(live=False), section={"data": "delayed"})


@pytest.mark.rows(
    ("terms", "name"),
    [
        (Entitlements(live=False, delayed=False), "no_data_subscription"),
        (Entitlements(competes=True), "competing_session"),
    ],
)
def test_a_line_without_data_has_a_name(terms, name):
    async def nothing(bench, desk):
        await desk.gateway.subscribe([bench.share])
        await desk.until(lambda: desk.gateway.health().counters["lines_without_data"] == 1)
        (notice,) = [each for each in desk.notices if each.kind is NoticeKind.LIMITED]
        assert (notice.stream, notice.name) == ("quotes", name)
        assert desk.of(QuoteEvent) == []

    with_desk(nothing, terms)


def test_live_quotes_are_as_old_as_their_way():
    async def live(bench, desk):
        await desk.gateway.subscribe([bench.share])
        await desk.until(lambda: len(desk.of(QuoteEvent)) > 2)
        assert all(0 <= each.ts_recv_ns - each.ts_event_ns < NANOS_PER_SECOND for each in desk.of(QuoteEvent))

    with_desk(live)
