"""Cancels that the venue takes with 204 and drops: the order works on there and says so."""

import asyncio
import json
from decimal import Decimal

import pytest

from scalpdesk.core.enums import DecisionKind
from scalpdesk.simulation.faults import Fault
from scalpdesk_alpaca.served.requests import Answer, Request
from scalpdesk_testing.kit.order_faults import FaultsLater
from scalpdesk_testing.line_desk import CHAIN, KEY, SECRET, LineDesk

HEADERS = {"apca-api-key-id": KEY, "apca-api-secret-key": SECRET}


class Dropping:
    """A venue that drops cancels of orders; ``left`` more of them."""

    def __init__(self, tmp_path):
        self.faults = FaultsLater((), 1)
        self.bench = LineDesk(tmp_path, {CHAIN[2]: 2, CHAIN[7]: 2, "SPY": 80}, self.faults)
        self.left, self.taken_at, self._handle = 0, [], self.bench.api.handle
        self.bench.api.handle = self.handle

    def handle(self, request):
        if request.method == "DELETE":
            self.taken_at.append(self.bench.loop.time())
            if self.left:
                self.left -= 1
                return Answer(204, b"")
        return self._handle(request)

    def open_orders(self):
        now_ns = self.bench.clock.true_ns()
        answer = self.bench.api.handle(Request("GET", "/v2/orders", {"status": "open"}, HEADERS, b"", now_ns))
        return [(found["side"], found["qty"], found["filled_qty"]) for found in json.loads(answer.body)]

    async def flattening(self, desk):
        """Flatten until an exit order rests half filled and its cancel is dropped."""
        await desk.following()
        await asyncio.sleep(3.0)
        self.faults._rules.append(Fault("partial_fill", times=1, fraction=0.5, seconds=1_500.0))
        self.faults.is_quiet, self.faults.is_armed, self.left = False, True, 1
        await desk.desk.runner.operate("flatten", "test", "me")
        await desk.until(self.open_orders, 100)
        assert self.open_orders() == [("sell", "2", "1")]
        assert self.left == 0
        self.taken_at.clear()

    def run(self, play):
        plan = self.bench.plan(
            "gamma-scalper",
            "selection.min_expiration_days=0",
            "exits.min_dte=null",
            "mode=resume",
            contracts=20,
        )
        self.bench.live(plan, play)

    def pauses(self):
        return [round(after - at) for at, after in zip(self.taken_at, self.taken_at[1:], strict=False)]


@pytest.fixture
def venue(tmp_path):
    made = Dropping(tmp_path)
    with made.bench:
        yield made


def test_a_halted_desk_cancels_again_what_the_venue_works_on_and_names_it_after_a_minute(venue):
    async def play(desk):
        await venue.flattening(desk)
        venue.left = 4
        assert (await desk.desk.runner.operate("halt", "test", "me"))["cancels"] == 1
        await desk.until(lambda: not venue.open_orders(), 300)
        await asyncio.sleep(1.0)
        engine = desk.engine
        assert dict(engine.desk.orders.live) == {}
        assert engine.desk.gate.mode == "HALTED"
        assert desk.truth() == {
            CHAIN[2]: Decimal(1),
            "SPY": Decimal(80),
        }  # nothing filled while it was halted
        # proofs come 5 s after the cancel of before the halt, then 10, 20 and 40 s after another one
        assert [pause // 5 * 5 for pause in venue.pauses()] == [5, 10, 20, 40]
        decisions = desk.desk.runner.core.decisions
        (alert,) = [found for _, found in decisions if found.kind is DecisionKind.ALERT]
        assert alert.facts["order"] == next(iter(engine.desk.orders.orders))
        assert alert.facts["seconds"] == 60

    venue.run(play)


def test_a_persons_repeated_halt_sends_the_cancel_at_once(venue):
    async def play(desk):
        await venue.flattening(desk)
        venue.left = 1
        for open_orders in ([("sell", "2", "1")], []):
            assert (await desk.desk.runner.operate("halt", "test", "me"))["cancels"] == 1
            await asyncio.sleep(1.0)
            assert venue.open_orders() == open_orders
        assert venue.pauses() == [1]

    venue.run(play)


def test_a_flattening_desk_gets_flat_though_the_cancels_of_its_exit_are_dropped(venue):
    async def play(desk):
        await venue.flattening(desk)
        venue.left = 2
        await desk.until(lambda: not desk.truth(), 120)
        assert len(venue.taken_at) == 3

    venue.run(play)
