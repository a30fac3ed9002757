"""The life of an order in Alpaca's words: its answers, its trade updates and its lists.

What the broker does with an order is asked of every protocol: ``tests/conformance/test_broker_drivers.py``.
"""

from decimal import Decimal

import pytest

from scalpdesk.exchange.source import TapeSource
from scalpdesk_testing.kit.exchange import Bench
from scalpdesk_testing.kit.instruments import DAY
from scalpdesk_testing.kit.tape import TapeBuilder, at


def tape_bench(builder: TapeBuilder, **plan):
    return Bench(TapeSource(builder.build()), **plan)


def go_to(bench, clock_time, day=DAY):
    bench.world.advance_to(at(clock_time, day))


@pytest.fixture
def steady():
    """SPY at 500 from 09:30 on, then 501 from 10:00, 499 from 11:00; one straddle beside it."""
    builder = TapeBuilder()
    for when, mid in (("09:30", 500.0), ("10:00", 501.0), ("11:00", 499.0)):
        builder.spot(when, mid)
    bench = tape_bench(builder)
    go_to(bench, "09:31")
    return bench


def test_reply_comes_before_acknowledgement_and_fill(bench):
    line = bench.trade_stream()
    line.messages()
    body = {"symbol": "SPY", "qty": "2", "side": "buy", "type": "market", "time_in_force": "day"}
    answer = bench.ask("POST", "/v2/orders", body, settle=False)
    assert answer.json()["status"] == "pending_new"
    assert line.events() == []
    bench.world.settle()
    assert line.events() == ["pending_new", "new", "fill"]


def test_partial_fills_add_up():
    small = (
        TapeBuilder()
        .spot("09:30", 500.0, size=40)
        .spot("09:40", 500.0, size=40)
        .spot("09:50", 500.0, size=40)
    )
    bench = tape_bench(small)
    go_to(bench, "09:31")
    line = bench.trade_stream()
    line.messages()
    order = bench.order(qty=100)
    assert bench.seen(order)["status"] == "partially_filled"
    assert bench.seen(order)["filled_qty"] == "40"
    go_to(bench, "10:00")
    messages = [m["data"] for m in line.messages()]
    assert [m["event"] for m in messages] == ["pending_new", "new", "partial_fill", "partial_fill", "fill"]
    assert [m["qty"] for m in messages[2:]] == ["40", "40", "20"]
    assert [m["position_qty"] for m in messages[2:]] == ["40", "80", "100"]
    assert len({m["execution_id"] for m in messages[2:]}) == 3
    assert [m["order"]["filled_qty"] for m in messages] == ["0", "0", "40", "80", "100"]


def test_a_trailing_stop_shows_its_high_and_its_stop(steady):
    steady.order()
    trailing = steady.order(side="sell", type="trailing_stop", trail_price=1.5)
    go_to(steady, "10:30")
    seen = steady.seen(trailing)
    assert (seen["status"], seen["hwm"], seen["stop_price"]) == ("new", "501", "499.5")
    go_to(steady, "11:30")
    assert steady.seen(trailing)["filled_avg_price"] == "498.99"


def test_a_bracket_cancelled_before_its_entry(steady):
    parent = steady.order(
        type="limit",
        limit_price=400,
        order_class="bracket",
        take_profit={"limit_price": 600},
        stop_loss={"stop_price": 300},
    )
    steady.ask("DELETE", f"/v2/orders/{parent['id']}")
    seen = steady.seen(parent, nested="true")
    assert [seen["status"], *(leg["status"] for leg in seen["legs"])] == ["canceled"] * 3


def test_nested_and_flat_lists(steady):
    steady.order(order_class="bracket", take_profit={"limit_price": 600}, stop_loss={"stop_price": 300})
    flat = steady.get("/v2/orders", status="all")
    assert [one["legs"] for one in flat] == [None, None, None]
    nested = steady.get("/v2/orders", status="all", nested="True")
    assert len(nested) == 1
    assert len(nested[0]["legs"]) == 2


def test_options_at_the_market_only_in_hours():
    bench = tape_bench(TapeBuilder().spot("09:30", 500.0))
    go_to(bench, "16:30")
    assert bench.refused(symbol="SPY240419C00500000")[2] == (
        "options market orders are only allowed during market hours"
    )


def test_replacing_after_a_partial_fill_asks_for_the_rest():
    bench = tape_bench(TapeBuilder().spot("09:30", 500.0, size=40).spot("10:00", 501.0, size=500))
    go_to(bench, "09:31")
    old = bench.order(qty=100, type="limit", limit_price=500.5)
    line = bench.trade_stream()
    line.messages()
    assert bench.ask("PATCH", f"/v2/orders/{old['id']}", {"qty": 40}).json()["message"] == (
        "qty must be > filled_qty"
    )
    new = bench.ask("PATCH", f"/v2/orders/{old['id']}", {"qty": 120, "limit_price": 502}).json()
    assert new["qty"] == "80"
    assert line.events()[:3] == ["pending_replace", "replaced", "new"]
    go_to(bench, "10:01")
    assert bench.seen(new)["filled_qty"] == "80"
    assert bench.get("/v2/positions/SPY")["qty"] == "120"
    assert bench.seen(old)["filled_qty"] == "40"


def test_a_cancel_that_comes_too_late_changes_nothing():
    bench = tape_bench(TapeBuilder().spot("09:30", 500.0).spot("09:40", 490.0), options={"latency_ms": 1_000})
    go_to(bench, "09:31")
    old = bench.order(type="limit", limit_price=495)
    bench.world.advance_to(at("09:40") - 500_000_000)
    assert bench.ask("DELETE", f"/v2/orders/{old['id']}").status == 204
    assert bench.seen(old)["status"] == "pending_cancel"
    line = bench.trade_stream()
    bench.advance(5)
    assert line.events() == ["fill", "order_cancel_rejected"]
    assert bench.seen(old)["status"] == "filled"


def test_legs_wait_for_their_net_price(steady):
    call, put = "SPY240419C00500000", "SPY240419P00500000"
    legs = [{"symbol": one, "ratio_qty": 1, "position_intent": "buy_to_open"} for one in (call, put)]
    net = sum(steady.quote(one).ask for one in (call, put))
    order = steady.order(
        symbol=None,
        side=None,
        qty=3,
        order_class="mleg",
        legs=legs,
        type="limit",
        limit_price=round(net - 1, 2),
    )
    assert steady.seen(order)["status"] == "new"
    assert steady.get("/v2/positions") == []
    steady.ask("PATCH", f"/v2/orders/{order['id']}", {"limit_price": round(net + 1, 2)})
    assert steady.get("/v2/orders", status="all")[0]["status"] == "filled"
    assert {one["qty"] for one in steady.get("/v2/positions")} == {"3"}


def test_fractions_and_notional(bench):
    order = bench.seen(bench.order(qty=None, notional=1_000))
    assert order["qty"] is None
    assert order["notional"] == "1000"
    filled = Decimal(order["filled_qty"])
    assert filled * Decimal(order["filled_avg_price"]) <= 1_000
    half = bench.seen(bench.order(qty="0.5", symbol="NVDA"))
    assert half["filled_qty"] == "0.5"


def test_activities_tell_fills_by_page(bench):
    for n in range(5):
        bench.advance(1)
        bench.order(qty=n + 1)
    first = bench.get("/v2/account/activities/FILL", page_size=2)
    second = bench.get(
        "/v2/account/activities", activity_types="FILL", page_size=2, page_token=first[-1]["id"]
    )
    assert [one["qty"] for one in (*first, *second)] == ["5", "4", "3", "2"]
    history = bench.get("/v2/account/portfolio/history")
    assert len(history["equity"]) == len(history["timestamp"])
