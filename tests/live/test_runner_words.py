"""What the venue says reaches a person: standard error, status, the journal and its decisions, alerts."""

from decimal import Decimal

import msgspec
import pytest

from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.events import OrderCancelled, OrderRejected, VenueWords
from scalpdesk.core.intents import CancelOrder, Decision, OrderIntent, OrderType, Purpose, Side
from scalpdesk.venues.contract import Notice, NoticeKind
from scalpdesk_testing.kit.desk import wanting
from scalpdesk_testing.kit.live import RunnerBench

D = Decimal
LIQUIDATION_ONLY = "40310000 your account is set to liquidation only"


def resting():
    return wanting(OrderIntent(0, Side.BUY, D(10), Purpose.OPEN, "rest", OrderType.LIMIT, D("1.00")))


def told(bench, words, stream="orders", name="margin_warning"):
    bench.gateway.put(Notice(NoticeKind.TOLD, bench.gateway.now_ns, stream, name, words))


def decided(bench):
    """Return the venue's words among the decisions, as ``why`` has them."""
    found = [one for one in bench.journal.outputs if type(one) is Decision]
    return [one.reasons[0] for one in found if one.kind is DecisionKind.VENUE]


def journaled(bench):
    return [(one.words, one.times) for one in bench.journal.events if type(one) is VenueWords]


@pytest.mark.rows(
    ("words", "level"),
    [
        ("2148 equity with loan value no longer meets the margin requirement", "alarm"),
        ("2148 the account does not comply with Regulation T", "alarm"),
        ("2199 a message of this range that no table lists", "warning"),
        ("406 connection limit exceeded", "warning"),
        ("10009 account is restricted", "alarm"),
        ("your account was blocked", "alarm"),
    ],
)
def test_words_of_the_venue_reach_every_place_at_once(words, level):
    bench = RunnerBench()

    async def play():
        await bench.wait()
        told(bench, words)
        await bench.wait()

    bench.play(play)
    assert [text for _, text in bench.said if words in text] == bench.notified(level) != []
    assert [each.notice.detail for each in bench.runner.state.told.latest(5)] == [words]
    assert [notice.detail for notice in bench.runner.state.notices] == [words]
    assert journaled(bench) == [(words, 1)]
    assert [words in reason for reason in decided(bench)] == [True]
    assert bench.engine.desk.gate.mode is Mode.ACTIVE


def test_the_same_words_with_other_figures_are_summed_up():
    bench = RunnerBench()

    async def play():
        await bench.wait()
        for second in range(600):
            told(bench, f"order {second} of 5 shares: {LIQUIDATION_ONLY}")
            await bench.wait(1.0)

    bench.play(play)
    (row,) = bench.runner.state.told.latest(5)
    assert row.times == 600
    said = [text for _, text in bench.said if "liquidation only" in text]
    assert 2 <= len(said) <= 8  # pauses that double
    assert sum(times for _, times in journaled(bench)) >= 300
    assert len(journaled(bench)) == len(said)


def test_a_refused_order_is_told_with_the_venues_reason():
    bench = RunnerBench(resting())
    bench.gateway.accepts = False

    async def play():
        await bench.wait()
        bench.gateway.quote(499.99, 500.01)
        await bench.wait()
        (sent,) = bench.gateway.sent
        now_ns = bench.gateway.now_ns
        bench.gateway.put(OrderRejected(sent.client_order_id, now_ns, now_ns, LIQUIDATION_ONLY))
        await bench.wait()

    bench.play(play)
    assert any(LIQUIDATION_ONLY in text for text in bench.notified("alarm"))
    assert any(LIQUIDATION_ONLY in reason for reason in decided(bench))
    assert any(LIQUIDATION_ONLY in each.notice.detail for each in bench.runner.state.told.latest(5))


@pytest.mark.parametrize("is_asked", [False, True])
def test_an_order_that_the_venue_takes_off_the_book_unasked_is_told(is_asked):
    bench = RunnerBench(resting())
    bench.gateway.confirms = False

    async def play():
        await bench.wait()
        bench.gateway.quote(499.99, 500.01)
        await bench.wait()
        sent, now_ns = bench.gateway.sent[0], bench.gateway.now_ns
        if is_asked:
            await bench.runner.operate("halt", "enough", "me")
        bench.gateway.working.clear()
        bench.gateway.put(OrderCancelled(sent.client_order_id, now_ns, now_ns, "202 margin is not enough"))
        await bench.wait()

    bench.play(play)
    assert [bool(decided(bench)), bool(bench.runner.state.told.latest(5))] == [not is_asked] * 2


@pytest.mark.parametrize("is_tracked_first", [True, False])
def test_a_second_order_under_one_reference_is_known_and_cancelled(is_tracked_first):
    """The list of open orders was a dictionary by name: of two orders one was never seen."""
    bench = RunnerBench(resting())
    cancelled = []

    async def cancel_at_venue(venue_order_id):
        cancelled.append(venue_order_id)
        return True

    bench.gateway.cancel_at_venue = cancel_at_venue

    def doubled(view):
        seconds = tuple(
            msgspec.structs.replace(order, venue_order_id="v-second")
            for order in view.open_orders
            if "v-second" not in cancelled
        )
        orders = (*view.open_orders, *seconds) if is_tracked_first else (*seconds, *view.open_orders)
        return msgspec.structs.replace(view, open_orders=orders)

    async def play():
        await bench.wait()
        bench.gateway.quote(499.99, 500.01)
        await bench.wait()
        bench.gateway.compared = doubled
        bench.gateway.notice("gap")
        await bench.wait(5.0)
        assert cancelled == ["v-second"]
        assert bench.engine.desk.gate.kept_mode is Mode.REDUCING
        await bench.runner.operate("halt", "enough", "me")
        await bench.wait(3.0)
        assert bench.gateway.working == {}

    bench.play(play)
    assert any("v-second" in text for text in bench.notified("alarm"))
    assert any(isinstance(command, CancelOrder) for command in bench.gateway.sent)


def test_an_order_that_is_over_for_the_desk_and_open_at_the_venue_is_cancelled_there():
    bench = RunnerBench(resting())
    cancelled, kept = [], []

    async def cancel_at_venue(venue_order_id):
        cancelled.append(venue_order_id)
        kept.clear()
        return True

    bench.gateway.cancel_at_venue = cancel_at_venue

    async def play():
        await bench.wait()
        bench.gateway.quote(499.99, 500.01)
        await bench.wait()
        bench.gateway.notice("gap")
        await bench.wait(2.0)
        view = await bench.gateway.snapshot()
        kept.extend(view.open_orders)
        sent, now_ns = bench.gateway.sent[0], bench.gateway.now_ns
        bench.gateway.working.clear()
        bench.gateway.put(OrderCancelled(sent.client_order_id, now_ns, now_ns, "asked"))
        bench.gateway.compared = lambda view: msgspec.structs.replace(view, open_orders=tuple(kept))
        bench.gateway.notice("gap")
        await bench.wait(5.0)

    bench.play(play)
    assert cancelled == ["v-" + bench.gateway.sent[0].client_order_id]
