"""A resumed run whose account was traded meanwhile: it sends nothing before the comparison, then goes on."""

import asyncio
import json
from decimal import Decimal

import pytest

from scalpdesk.simulation.faults import Fault
from scalpdesk_alpaca.served.requests import Answer, Request
from scalpdesk_testing.kit.order_faults import FaultsLater
from scalpdesk_testing.line_desk import CHAIN, KEY, SECRET, LineDesk

HEADERS = {"apca-api-key-id": KEY, "apca-api-secret-key": SECRET}
CALL, PUT = CHAIN[2], CHAIN[7]
HOLDINGS = {CALL: 2, PUT: 2, "SPY": 80}
SETTINGS = ("selection.min_expiration_days=0", "exits.min_dte=null", "mode=resume")
CONFIRM_SECONDS = 1.0
"""Between the two views that must agree on a difference."""
LATE_SECONDS = 25.0


class TwoLives:
    """An account that a desk trades in two lives; between them somebody else does."""

    def __init__(self, tmp_path):
        self.faults = FaultsLater((), 1)
        self.bench = LineDesk(tmp_path, HOLDINGS, self.faults)
        self.no_account_until = 0.0
        self._handle = self.bench.api.handle
        self.bench.api.handle = self.handle

    def handle(self, request):
        if request.path == "/v2/account" and self.bench.loop.time() < self.no_account_until:
            return Answer(503, b"")
        return self._handle(request)

    def sent(self):
        """Return the orders of this life: symbol, side and quantity."""
        orders = [json.loads(found.body) for found in self.bench.requests if found.method == "POST"]
        return [(order["symbol"], order["side"], Decimal(order["qty"])) for order in orders]

    def live(self, play, *, resume):
        self.bench.requests.clear()
        self.bench.live(self.bench.plan("gamma-scalper", *SETTINGS, contracts=20, resume=resume), play)

    def close_all(self):
        """Cancel and sell everything, as the watchdog does."""
        now_ns = self.bench.clock.true_ns()
        assert self._handle(Request("DELETE", "/v2/orders", {}, HEADERS, b"", now_ns)).status == 207
        for symbol, quantity in self.bench.truth().items():
            self.bench.place(symbol, "sell", int(quantity), f"watchdog-{symbol}")
        assert self.bench.truth() == {}


@pytest.fixture
def venue(tmp_path):
    made = TwoLives(tmp_path)
    with made.bench:
        yield made


def test_what_the_watchdog_closed_is_not_sold_again(venue):
    async def dies_half_flat(desk):
        await desk.following()
        await asyncio.sleep(3.0)
        venue.faults._rules.append(Fault("partial_fill", times=1, fraction=0.5, seconds=1_500.0))
        venue.faults.is_quiet, venue.faults.is_armed = False, True
        await desk.desk.runner.operate("flatten", "test", "me")
        await desk.until(lambda: desk.held().get(CALL) == 1, 100)

    async def goes_on(desk):
        await desk.until(lambda: desk.desk.runner.reconciler.is_settled)
        await asyncio.sleep(60)

    venue.live(dies_half_flat, resume=False)
    venue.close_all()
    venue.live(goes_on, resume=True)  # the end of its last order calls for the sale of the shares
    assert venue.sent() == []
    assert venue.bench.held() == venue.bench.truth() == {}


@pytest.mark.rows("difference", ["explained", "shown late", "unexplained"])
def test_a_flatten_given_before_the_comparison_is_carried_out_after_it(venue, difference):
    async def trades(desk):
        await desk.following()
        await asyncio.sleep(3.0)

    async def flattens_at_once(desk):
        gate = desk.engine.desk.gate
        await desk.until(lambda: desk.desk.runner.queries.latest is not None)
        assert not gate.is_compared
        began = desk.loop.time()
        if difference == "shown late":
            venue.no_account_until = began + LATE_SECONDS
        assert (await desk.desk.runner.operate("flatten", "test", "me"))["mode"] == "FLATTENING"
        await desk.until(lambda: gate.is_compared, LATE_SECONDS + 5)
        waited.append(desk.loop.time() - began)
        # what leaves waits for the comparison no longer than its bound
        assert bool(venue.sent()) is (difference == "shown late")
        await desk.until(lambda: not desk.truth(), 30)
        await asyncio.sleep(5)

    waited = []
    venue.live(trades, resume=False)
    if difference == "unexplained":
        venue.bench.account.cash += 5_000
    else:
        venue.bench.place("SPY", "sell", 30, "by-hand")
    venue.live(flattens_at_once, resume=True)
    shares = 80 if difference == "unexplained" else 50
    assert venue.sent() == [(CALL, "sell", 2), (PUT, "sell", 2), ("SPY", "sell", shares)]
    assert waited[0] > (LATE_SECONDS if difference == "shown late" else CONFIRM_SECONDS)
    assert venue.bench.held() == venue.bench.truth() == {}
    assert any("nothing explains it" in text for _, text in venue.bench.said) == (difference == "unexplained")
