"""Faults on request: what the client is told, and that the venue's own books stay right."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.simulation.faults import Fault, FaultPlan, seeded_faults
from scalpdesk_testing.kit.exchange import Bench, generated


def inject(bench, name, **figures):
    bench.world.faults.inject(Fault(name, **figures))


def followed(bench, *symbols):
    line = bench.data_stream(packed=True)
    line.say({"action": "subscribe", "quotes": list(symbols or ("SPY",))})
    line.messages()
    return line


@pytest.mark.rows(
    ("name", "status", "taken"),
    [
        ("too_many_requests", 429, False),
        ("server_error", 500, False),
        ("unavailable", 503, False),
        ("maintenance", 503, False),
        ("gateway_timeout", 504, True),
        ("auth_loss", 401, False),
        ("disconnect_before", 0, False),
        ("drop_request", 0, False),
        ("half_open", 0, False),
        ("disconnect_after", 200, True),
        ("truncated_answer", 200, True),
        ("delay", 200, True),
    ],
)
def test_requests_that_go_wrong(bench, name, status, taken):
    inject(bench, name)
    body = {"symbol": "SPY", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"}
    answer = bench.ask("POST", "/v2/orders", {**body, "client_order_id": "c1"})
    assert answer.status == status
    if status >= 500:
        assert answer.json()["code"] == 50010000
    bench.clock_ns += 2_000_000_000
    found = bench.ask("GET", "/v2/orders:by_client_order_id", client_order_id="c1")
    assert found.status == (200 if taken else 404)
    assert bench.world.faults.hits[name] == 1


@pytest.mark.rows(
    ("reason", "status"),
    [
        ("insufficient_buying_power", 403),
        ("insufficient_quantity", 403),
        ("wash_trade", 403),
        ("uncovered_call", 403),
        ("shorting_not_allowed", 422),
        ("sub_penny", 422),
        ("unknown_order", 404),
    ],
)
def test_reject_reasons(bench, reason, status):
    inject(bench, "reject", reason=reason)
    assert bench.refused()[0] == status
    assert "status" in bench.order()


def test_late_reject_comes_by_the_stream(bench):
    line = bench.trade_stream()
    line.messages()
    inject(bench, "late_reject", reason="price collar")
    order = bench.order()
    assert order["status"] == "pending_new"
    assert line.events() == ["pending_new", "rejected"]
    assert bench.seen(order)["status"] == "rejected"
    assert bench.world.ledger.orders[order["id"]].reject_reason == "price collar"


@pytest.mark.rows(
    ("name", "bids"),
    [
        ("gap", []),
        ("duplicate", ["b1", "b1"]),
        ("crossed", ["a1"]),
        ("zero_bid", [0.0]),
        ("negative", ["-b1"]),
        ("one_sided", ["b1"]),
    ],
)
def test_quotes_that_arrive_spoiled(bench, name, bids):
    line = followed(bench)
    inject(bench, name, seconds=0.5)
    bench.advance(1)
    true = bench.quote("SPY")
    words = {"b1": true.bid, "a1": true.ask, "-b1": -true.bid, 0.0: 0.0}
    assert [one[0]["bp"] for one in line.messages()] == [words[one] for one in bids]
    assert 0 < true.bid < true.ask


def test_nan_stale_skewed_and_foreign_quotes(bench):
    line = followed(bench)
    inject(bench, "nan")
    bench.advance(1)
    (bad,) = line.messages()[0]
    assert bad["bp"] != bad["bp"]
    bench.advance(1)
    (before,) = line.messages()[0]
    inject(bench, "stale", seconds=2.5)
    bench.advance(3)
    (old,) = line.messages()[0]
    assert old["t"] == before["t"]
    assert line.messages() == []
    inject(bench, "wrong_symbol")
    bench.advance(1)
    assert line.messages()[0][0]["S"] == "SPYX"
    inject(bench, "clock_skew", seconds=30)
    bench.advance(1)
    (skewed,) = line.messages()[0]
    assert (skewed["t"] - old["t"]).total_seconds() < 0
    inject(bench, "out_of_order")
    bench.advance(2)
    stamps = [one[0]["t"] for one in line.messages()]
    assert stamps == sorted(stamps, reverse=True)
    assert len(stamps) == 2


def test_frames_that_get_lost_doubled_late_or_cut(bench):
    line = followed(bench)
    inject(bench, "stream_drop")
    bench.advance(1)
    assert line.messages() == []
    inject(bench, "stream_duplicate")
    bench.advance(1)
    assert len(line.messages()) == 2
    inject(bench, "stream_reorder")
    bench.advance(2)
    stamps = [one[0]["t"] for one in line.messages()]
    assert stamps == sorted(stamps, reverse=True)
    inject(bench, "stream_truncated", fraction=0.5)
    bench.advance(1)
    with pytest.raises(msgspec.DecodeError):
        line.messages()
    line.frames.clear()
    inject(bench, "stream_delay", seconds=1.5)
    bench.advance(1)
    assert line.messages() == []
    bench.advance(1.5)
    late = [one[0]["t"] for one in line.messages()]
    assert late == sorted(late, reverse=True)
    assert len(late) == 2
    inject(bench, "stream_half_open")
    bench.advance(3)
    assert line.messages() == []
    assert not line.is_closed


def test_a_stream_that_breaks(bench):
    line = followed(bench)
    inject(bench, "stream_disconnect")
    bench.advance(1)
    assert line.is_closed


@pytest.mark.rows(
    ("first", "second", "is_lifted", "lasts"),
    [
        (10, 60, False, 65),
        (60, 10, False, 60),
        (None, 10, False, None),
        (10, 60, True, 65),
        (10, None, True, None),
    ],
)
def test_a_halt_during_or_after_another_lasts_as_long_as_it_says(bench, first, second, is_lifted, lasts):
    share = bench.world.ledger.instruments.id_of("SPY")
    bench.world.halt(share, seconds=first)
    bench.advance(5)
    if is_lifted:
        bench.world.resume(share)
    bench.world.halt(share, seconds=second)
    order = bench.order()
    bench.advance((lasts or 600) - 6)
    assert bench.seen(order)["status"] == "new"
    bench.advance(2)
    assert bench.seen(order)["status"] == ("filled" if lasts else "new")


def test_halt_as_a_fault(bench):
    bench.world.strike_market_fault(Fault("halt", match="SPY", seconds=5))
    order = bench.order()
    assert bench.seen(order)["status"] == "new"
    bench.advance(6)
    assert bench.seen(order)["status"] == "filled"


# plans ---------------------------------------------------------------------------------------------


def test_a_rule_waits_matches_and_ends():
    plan = FaultPlan([Fault("server_error", after=1, times=2, match="/v2/orders")])
    asked = [
        plan.take("http", path) for path in ("POST /v2/orders", "GET /v2/clock", *["POST /v2/orders"] * 4)
    ]
    assert [one is not None for one in asked] == [False, False, True, True, False, False]
    assert plan.hits == {"server_error": 2}


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_whatever_goes_wrong_the_venue_keeps_its_books(seed):
    bench = Bench(generated("NVDA"), faults=tuple(seeded_faults(seed, 14)), options={"seed": seed})
    lines = [bench.data_stream(packed=True), bench.trade_stream()]
    lines[0].say({"action": "subscribe", "quotes": ["NVDA"]})
    for step in range(12):
        side = "buy" if step % 3 else "sell"
        price = {"type": "limit", "limit_price": round(bench.quote("NVDA").mid + (step % 5 - 2) / 50, 2)}
        body = {"symbol": "NVDA", "qty": 10 + step, "side": side, "time_in_force": "day", **price}
        bench.ask("POST", "/v2/orders", {**body, "client_order_id": f"c{step}"})
        if step % 4 == 3:
            bench.ask("DELETE", "/v2/orders")
        bench.advance(1)
    bench.world.faults.heal()
    bench.advance(10)
    account = bench.world.ledger.accounts["account-1"]
    for order in account.orders.values():
        mine = sum((one.quantity for one in account.executions if one.order_id == order.order_id), Decimal(0))
        assert order.filled == mine <= order.quantity
    paid = sum((one.quantity * one.side.sign * one.price for one in account.executions), Decimal(0))
    assert account.cash == Decimal(100_000) - paid
    assert len({one.execution_id for one in account.executions}) == len(account.executions)


def test_a_trade_is_corrected_under_a_new_id(bench):
    line = bench.trade_stream()
    bench.order(qty=2)
    account = bench.world.ledger.accounts["account-1"]
    first = account.executions[0]
    line.messages()
    assert bench.world.broker.staged.correct(first, first.price + 1)
    bench.world.flush()
    (data,) = [one["data"] for one in line.messages()]
    assert data["event"] == "trade_correct"
    assert data["previous_execution_id"] == first.execution_id
    assert Decimal(data["price"]) == first.price + 1
    assert account.cash == Decimal(100_000) - 2 * (first.price + 1)
    assert [one.quantity for one in account.executions] == [Decimal(2)]
    assert data["order"]["filled_qty"] == "2"


@pytest.mark.parametrize(("name", "event"), [("bust", "trade_bust"), ("correct", "trade_correct")])
def test_trades_spoiled_by_plan(name, event):
    bench = Bench(generated(), faults=(Fault(name, seconds=2),))
    line = bench.trade_stream()
    bench.order()
    bench.advance(3)
    assert line.events() == ["pending_new", "new", "fill", event]


def test_market_faults_by_plan():
    bench = Bench(generated(), faults=(Fault("halt", match="SPY", after=3, seconds=2),))
    line = bench.data_stream()
    line.say({"action": "subscribe", "statuses": ["*"]})
    line.messages()
    bench.advance(10)
    assert [one[0]["sc"] for one in line.messages()] == ["2", "3"]
