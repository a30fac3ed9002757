"""The life of an order at the broker, told by the trade updates and by what the account then holds."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalpdesk.exchange.source import TapeSource
from scalpdesk_testing.kit.exchange import Bench, generated
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


def test_latency_lies_between_reply_and_effect():
    bench = Bench(generated(), options={"latency_ms": 250})
    order = bench.order()
    bench.advance(0.2)
    assert bench.seen(order)["status"] == "pending_new"
    bench.advance(0.1)
    assert bench.seen(order)["status"] == "filled"


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


def test_fok_takes_all_or_nothing():
    bench = tape_bench(TapeBuilder().spot("09:30", 500.0, size=40))
    go_to(bench, "09:31")
    assert bench.seen(bench.order(qty=41, time_in_force="fok"))["status"] == "canceled"
    assert bench.seen(bench.order(qty=40, time_in_force="fok"))["status"] == "filled"
    ioc = bench.seen(bench.order(qty=50, time_in_force="ioc"))
    assert (ioc["status"], ioc["filled_qty"]) == ("canceled", "40")


def test_a_resting_limit_fills_at_its_price(steady):
    order = steady.order(type="limit", limit_price=499.5)
    go_to(steady, "10:30")
    assert steady.seen(order)["status"] == "new"
    go_to(steady, "11:00")
    assert steady.seen(order)["filled_avg_price"] == "499.5"


def test_stop_stop_limit_and_trailing_stop(steady):
    steady.order(qty=3)
    stop = steady.order(side="sell", type="stop", stop_price=499.2)
    trailing = steady.order(side="sell", type="trailing_stop", trail_price=1.5)
    limit = steady.order(side="sell", type="stop_limit", stop_price=499.5, limit_price=499.3)
    go_to(steady, "10:30")
    seen = steady.seen(trailing)
    assert (seen["status"], seen["hwm"], seen["stop_price"]) == ("new", "501", "499.5")
    go_to(steady, "11:30")
    assert steady.seen(stop)["filled_avg_price"] == "498.99"
    assert steady.seen(trailing)["filled_avg_price"] == "498.99"
    assert steady.seen(limit)["status"] == "new"


@pytest.mark.parametrize(("profit", "loss", "filled"), [(500.9, 400, 0), (600, 499.5, 1)])
def test_one_exit_of_a_bracket_cancels_the_other(steady, profit, loss, filled):
    parent = steady.order(
        order_class="bracket", take_profit={"limit_price": profit}, stop_loss={"stop_price": loss}
    )
    go_to(steady, "12:00")
    legs = steady.seen(parent, nested="true")["legs"]
    assert legs[filled]["status"] == "filled"
    assert legs[1 - filled]["status"] == "canceled"
    assert steady.get("/v2/positions") == []


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


def test_day_orders_end_with_the_session_and_gtc_ones_do_not():
    days = (DAY, DAY.replace(day=5))
    builder = TapeBuilder(days=days)
    builder.spot("09:30", 500.0).spot("15:59", 500.0).spot("09:30", 480.0, day=days[1])
    bench = tape_bench(builder)
    go_to(bench, "09:31")
    day = bench.order(type="limit", limit_price=490)
    gtc = bench.order(type="limit", limit_price=489, time_in_force="gtc")
    cls = bench.order(type="market", time_in_force="cls")
    opg = bench.order(type="market", time_in_force="opg")
    go_to(bench, "16:30")
    states = [bench.seen(one)["status"] for one in (day, gtc, cls, opg)]
    assert states == ["expired", "new", "filled", "accepted"]
    assert not bench.get("/v2/clock")["is_open"]
    late = bench.order(qty=1)
    assert late["status"] == "accepted"
    go_to(bench, "09:31", days[1])
    assert [bench.seen(one)["filled_avg_price"] for one in (gtc, opg, late)] == ["489", "480.01", "480.01"]
    assert bench.get("/v2/account")["last_equity"] != "100000"


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


def test_a_replacement_that_comes_too_late_is_rejected():
    bench = tape_bench(TapeBuilder().spot("09:30", 500.0).spot("09:40", 490.0), options={"latency_ms": 1_000})
    go_to(bench, "09:31")
    old = bench.order(type="limit", limit_price=495)
    bench.advance(2)
    bench.world.advance_to(at("09:40") - 500_000_000)
    new = bench.ask("PATCH", f"/v2/orders/{old['id']}", {"qty": 2}).json()
    bench.advance(5)
    assert bench.seen(old)["status"] == "filled"
    assert bench.seen(new)["status"] == "rejected"
    assert bench.get("/v2/positions/SPY")["qty"] == "1"


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


def test_accounts_do_not_see_one_another(bench):
    bench.order(qty=5)
    assert bench.ask("GET", "/v2/positions", account=1).json() == []
    assert bench.ask("GET", "/v2/account", account=1).json()["cash"] == "100000"


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


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["buy", "sell"]),
            st.integers(1, 300),
            st.sampled_from(["market", "limit", "cancel", "replace", "wait"]),
            st.integers(-100, 100),
        ),
        max_size=25,
    ),
    st.integers(0, 40),
)
def test_cash_and_shares_are_conserved(steps, latency):
    bench = Bench(generated("NVDA"), options={"latency_ms": latency * 50})
    for side, quantity, what, offset in steps:
        price = round(bench.quote("NVDA").mid + offset / 100, 2)
        working = bench.get("/v2/orders")
        if what == "wait":
            bench.advance(1)
        elif what == "cancel" and working:
            bench.ask("DELETE", f"/v2/orders/{working[0]['id']}")
        elif what == "replace" and working:
            bench.ask("PATCH", f"/v2/orders/{working[0]['id']}", {"qty": quantity, "limit_price": price})
        elif what in ("market", "limit"):
            limit = {"limit_price": price} if what == "limit" else {}
            bench.order(symbol="NVDA", side=side, qty=quantity, type=what, **limit)
    bench.advance(3)
    account = bench.world.ledger.accounts["account-1"]
    held = sum((one.quantity * one.side.sign for one in account.executions), Decimal(0))
    paid = sum((one.quantity * one.side.sign * one.price for one in account.executions), Decimal(0))
    number = bench.world.ledger.instruments.id_of("NVDA")
    assert account.quantity(number) == held
    assert account.cash == Decimal(100_000) - paid
    for order in account.orders.values():
        mine = sum((one.quantity for one in account.executions if one.order_id == order.order_id), Decimal(0))
        assert order.filled == mine <= order.quantity
        assert (order.status.value == "filled") == (order.leaves == 0)


def test_the_same_seed_gives_the_same_ids_and_fills():
    def run():
        bench = Bench(generated())
        line = bench.trade_stream()
        for n in range(3):
            bench.order(qty=n + 1, client_order_id=f"c{n}")
            bench.advance(1)
        return [one.data for one in line.frames]

    assert run() == run()


def test_an_option_is_halted_with_its_underlying(bench):
    share, option = bench.world.ledger.instruments.id_of("SPY"), bench.option()
    bench.world.halt(share, seconds=60)
    order = bench.order(symbol=option)
    bench.advance(59)
    assert bench.seen(order)["status"] == "new"
    bench.advance(2)
    assert bench.seen(order)["status"] == "filled"


def test_a_halt_stops_the_matching(steady):
    number = steady.world.ledger.instruments.id_of("SPY")
    steady.world.halt(number)
    order = steady.order()
    go_to(steady, "10:01")
    assert steady.seen(order)["status"] == "new"
    steady.world.resume(number)
    assert steady.seen(order)["filled_avg_price"] == "501.01"
