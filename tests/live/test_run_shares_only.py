"""``scalpdesk run st0cka`` at ``scalpdesk exchange``: a strategy in shares alone needs no chain."""

from itertools import pairwise

import pytest

from scalpdesk.core.events import BarEvent
from scalpdesk.core.intents import Decision, OrderType, Side, SubmitOrder
from scalpdesk.instruments.contract import Equity
from scalpdesk_testing.kit.live_session import Wanted, play

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"])]
ENDED = {"filled", "canceled", "expired", "rejected"}


@pytest.fixture(scope="module")
def morning(tmp_path_factory):
    """Twelve minutes of 5 February 2018."""
    wanted = Wanted(strategy="st0cka", overrides=("volatility=0.12",), minutes=12.0, streams=2)
    return play(tmp_path_factory.mktemp("shares"), wanted)


def test_the_run_knows_the_share_alone(morning):
    assert list(morning.header.instruments) == [Equity("SPY")]
    assert morning.header.data["notes"][0] == "no options: this strategy trades shares alone"


def test_the_shares_minutes_arrive_with_their_volume(morning):
    """Without them there is no VWAP at a venue."""
    bars = [one for one in morning.events if isinstance(one, BarEvent)]
    assert len(bars) >= 11
    assert {one.bar_seconds for one in bars} == {60}
    assert all(one.volume > 0 and one.ts_recv_ns >= one.ts_event_ns for one in bars)


def test_it_buys_and_offers_and_its_books_are_the_exchanges(morning):
    orders = [one for one in morning.outputs if isinstance(one, SubmitOrder)]
    purchases = [one for one in orders if one.side is Side.BUY]
    assert len(purchases) >= 5
    assert {(one.quantity, one.order_type) for one in purchases} == {(2, OrderType.LIMIT)}
    assert morning.desk_fills() == morning.truth_fills()
    assert len(morning.desk_fills()) >= 10
    assert morning.desk_positions() == morning.truth_positions()
    assert morning.desk_cash() == morning.truth_cash()
    assert set(morning.truth_orders().values()) <= ENDED


def test_every_purchase_is_half_a_minute_after_the_one_before(morning):
    times = [
        one.ts_ns
        for one in morning.outputs
        if isinstance(one, Decision) and one.taken and one.reasons[0].startswith("buy ")
    ]
    assert all(later - earlier >= 30e9 for earlier, later in pairwise(times))


def test_each_decision_has_its_reason(morning):
    decisions = [one for one in morning.outputs if isinstance(one, Decision)]
    assert all(one.reasons and all(one.reasons) for one in decisions)
    assert any(one.reasons == ("flat: target filled",) for one in decisions)
