"""Orders in doubt: what the account shows of them, a person's word, and the venue's own execution at last."""

import asyncio
from dataclasses import replace as replaced
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.enums import Mode
from scalpdesk.core.errors import StopError
from scalpdesk.core.events import OrderFilled, OrderSettled, QuoteEvent
from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.instruments.fees import ALPACA_FEES, NO_FEES, trade_date
from scalpdesk.live.differences import Gap
from scalpdesk.live.doubt import Doubt, Market, fills_shown
from scalpdesk.live.recovery import known_orders
from scalpdesk.live.sessions import StopMode
from scalpdesk.live.status import ask
from scalpdesk.orders.order import Order, OrderState
from scalpdesk_testing.kit.desk import build_engine, wanting
from scalpdesk_testing.kit.desk import order as intent_of
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.live import OPTIONS, Life, RunnerBench

D = Decimal
SHARE, CALL, PUT = 0, 1, 2
BOOK = straddle_book()
MIDS = {SHARE: D("500.00"), CALL: D("6.00"), PUT: D("5.50")}
NOW_NS = 1_709_566_200 * 10**9
PATIENT = replaced(OPTIONS, reconcile_seconds=2.0)


def market(fees=NO_FEES):
    quotes = {
        number: QuoteEvent(number, NOW_NS, NOW_NS, float(mid) - 0.02, float(mid) + 0.02, 10.0, 10.0)
        for number, mid in MIDS.items()
    }
    return Market(BOOK, quotes, fees)


def doubted(number=SHARE, quantity=1, side=Side.BUY, limit=None, name="sd-1", filled=0):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    sent = SubmitOrder(
        name, number, side, D(quantity), kind, limit and D(limit), TimeInForce.DAY, Purpose.HEDGE
    )
    found = Order(sent, NOW_NS, OrderState.UNKNOWN)
    if filled:
        found.fill("x", D(filled), MIDS[number])
    return found


def gap_of(*moved):
    """Return the gap of fills: number, signed units, price, fee."""
    units, cash = {}, D(0)
    for number, signed, price, fee in moved:
        units[number] = units.get(number, D(0)) + signed
        cash += BOOK[number].cash_flow(D(signed), D(price)) - D(fee)
    return Gap({number: each for number, each in units.items() if each}, cash)


# what the account shows -------------------------------------------------------------------------------------


@given(
    number=st.sampled_from([SHARE, CALL, PUT]),
    quantity=st.integers(1, 40),
    side=st.sampled_from([Side.BUY, Side.SELL]),
    ticks=st.integers(-9, 9),
    off=st.sampled_from(["0", "0.004", "-0.003"]),
)
def test_price_and_fee_of_a_fill_follow_from_the_cash_to_the_cent(number, quantity, side, ticks, off):
    order, price = doubted(number, quantity, side), MIDS[number] + D("0.01") * ticks
    scheduled = ALPACA_FEES.on(trade_date(NOW_NS)).fee(BOOK[number], side, D(quantity), price)
    fee = scheduled + D(off) * quantity  # the venue's own is not quite the schedule's
    gap = gap_of((number, quantity * side.sign, price, fee))
    (found,) = fills_shown([Doubt(order)], gap, market(ALPACA_FEES), NOW_NS)
    assert gap.without([found]) == Gap({}, D(0))
    assert (found.event.quantity, found.event.price) == (quantity, price)
    assert found.event.fee == fee


@pytest.mark.rows(
    ("doubts", "gap"),
    [
        # somebody else's share beside it
        ([Doubt(doubted())], gap_of((SHARE, 1, 500, 0), (CALL, 1, 6, 0))),
        ([Doubt(doubted())], gap_of((SHARE, 2, 500, 0))),
        ([Doubt(doubted())], gap_of((SHARE, -1, 500, 0))),
        # the positions lag behind what the venue counts
        ([Doubt(doubted(quantity=4), D(4))], gap_of((SHARE, 3, 500, 0))),
        ([Doubt(doubted(), D(1)), Doubt(doubted(CALL, name="b"), D(1))], gap_of((SHARE, 1, 500, 0))),
        # no price that it can have had
        ([Doubt(doubted())], gap_of((SHARE, 1, 50_000, 0))),
        ([Doubt(doubted())], gap_of((SHARE, 1, 5, 0))),
        ([Doubt(doubted(limit="499.00"))], gap_of((SHARE, 1, "499.50", 0))),
        ([Doubt(doubted(side=Side.SELL, limit="501.00"))], gap_of((SHARE, -1, "500.50", 0))),
        # the cash has not moved yet
        ([Doubt(doubted())], Gap({SHARE: D(1)}, D(0))),
        ([Doubt(doubted(CALL))], Gap({CALL: D(1)}, D(0))),
    ],
)
def test_what_is_not_the_order_s_alone_settles_nothing(doubts, gap):
    assert fills_shown(doubts, gap, market(), NOW_NS) == []


def test_a_straddle_s_legs_share_the_cash_and_a_part_is_a_part():
    call, put = doubted(CALL, 3, name="c"), doubted(PUT, 3, name="p", filled=1)
    gap = gap_of((CALL, 2, "6.03", "0.30"), (PUT, 2, "5.51", "0.30"))
    found = fills_shown([Doubt(call), Doubt(put)], gap, market(), NOW_NS)
    assert gap.without(found) == Gap({}, D(0))
    assert [(each.event.client_order_id, each.event.quantity) for each in found] == [("c", 2), ("p", 2)]
    assert [abs(each.event.price - mid) < D("0.05") for each, mid in zip(found, (6, D("5.5")), strict=True)]


def test_what_the_venue_counts_as_over_goes_before_what_may_still_come():
    over, other = doubted(quantity=2, name="over"), doubted(quantity=5, name="other")
    gap = gap_of((SHARE, 4, "500.01", 0))
    found = fills_shown([Doubt(other), Doubt(over, D(2))], gap, market(), NOW_NS)
    assert {each.event.client_order_id: each.event.quantity for each in found} == {"over": 2, "other": 2}
    assert {each.event.price for each in found} == {D("500.01")}


# a desk that runs -------------------------------------------------------------------------------------------


def hedging(quantity=1, limit=None):
    """Return a strategy that buys shares once, and a call when it is woken again by a quote of the share."""
    return wanting(intent_of(Side.BUY, quantity, limit, Purpose.HEDGE))


def fill_unseen(bench, order, price, quantity=None, fee=0):
    """Let an order be filled at the venue without a word of it."""
    units = (order.quantity if quantity is None else D(quantity)) * order.side.sign
    held = bench.gateway.holdings
    held[order.instrument_id] = held.get(order.instrument_id, D(0)) + units
    bench.gateway.cash += bench.book[order.instrument_id].cash_flow(units, D(price)) - D(fee)
    bench.gateway.working.pop(order.client_order_id, None)


def counted_over(bench, **filled):
    """Let the venue count orders as over in each view."""
    over = {name.replace("_", "-"): D(units) for name, units in filled.items()}
    bench.gateway.compared = lambda view: msgspec.structs.replace(view, over=over)


def equal(bench):
    desk, gateway = bench.engine.desk, bench.gateway
    held = {each.instrument_id: each.quantity for each in desk.positions.held()}
    return held == {number: units for number, units in gateway.holdings.items() if units} and (
        desk.account.cash == gateway.cash
    )


@pytest.mark.rows(("is_over", "seconds"), [(True, 3.0), (False, 18.0)])
def test_a_fill_of_which_no_word_comes_is_booked_by_position_and_cash(is_over, seconds):
    bench = RunnerBench(hedging(), options=PATIENT)

    async def play():
        order = await bench.order()
        bench.gateway.lose_track(order.client_order_id)
        fill_unseen(bench, order, "500.02")
        if is_over:
            counted_over(bench, **{order.client_order_id.replace("-", "_"): 1})
        bench.gateway.notice("gap")
        await bench.wait(seconds)
        (fill,) = bench.fed(OrderFilled)
        assert (fill.quantity, fill.price, fill.fee) == (1, D("500.02"), 0)

    bench.play(play)
    assert equal(bench)
    assert bench.engine.desk.orders.live == {}
    assert bench.engine.desk.gate.is_compared


def test_what_is_left_of_an_order_that_is_over_ends_with_its_fill():
    bench = RunnerBench(hedging(3), options=PATIENT)

    async def play():
        order = await bench.order()
        bench.gateway.lose_track(order.client_order_id)
        fill_unseen(bench, order, "500.02", quantity=2)
        counted_over(bench, **{order.client_order_id.replace("-", "_"): 2})
        bench.gateway.notice("gap")
        await bench.wait(4.0)

    bench.play(play)
    (order,) = bench.engine.desk.orders.orders.values()
    assert (order.state, order.filled) == (OrderState.CANCELLED, 2)
    assert equal(bench)


def test_an_order_in_doubt_holds_up_the_comparison_no_longer_than_its_bound():
    bench = RunnerBench(hedging(), options=PATIENT)

    async def play():
        order = await bench.order()
        bench.gateway.lose_track(order.client_order_id)
        del bench.gateway.working[order.client_order_id]
        bench.gateway.notice("gap")
        await bench.wait(8.0)
        assert not bench.engine.desk.gate.is_compared
        assert bench.engine.desk.gate.mode is Mode.ACTIVE
        await bench.wait(12.0)
        assert bench.engine.desk.gate.is_compared
        assert bench.engine.desk.orders.orders[order.client_order_id].state is OrderState.UNKNOWN
        assert bench.engine.desk.gate.mode is Mode.REDUCING
        alarms = [text for text in bench.notified("alarm") if "scalpdesk settle" in text]
        assert len(alarms) == 1
        assert order.client_order_id in alarms[0]

    bench.play(play)


# a person's word --------------------------------------------------------------------------------------------


def settled(bench, **words):
    """Let an order be in doubt for good, and a person settle it; return his answer and the order."""
    found = {}
    usual = {"filled": D(1), "price": D("500.03"), "fee": None, "reason": "seen at the broker", "who": "ann"}

    async def play():
        order = await bench.order()
        bench.gateway.lose_track(order.client_order_id)
        bench.gateway.working.pop(order.client_order_id)
        await bench.wait(1.0)
        words_of = words.pop("happens", None)
        if words_of is not None:
            words_of(order)
        try:
            found["answer"] = await bench.runner.settle(
                words.pop("order", order.client_order_id), **(usual | words)
            )
        except StopError as error:
            found["refused"] = error
        await bench.wait(2.0)

    bench.play(play)
    (found["order"],) = bench.engine.desk.orders.orders.values()
    return found


def test_a_fill_that_a_person_saw_is_booked_with_his_words_and_the_fee_that_the_cash_shows():
    bench = RunnerBench(hedging(), options=PATIENT)
    found = settled(bench, happens=lambda order: fill_unseen(bench, order, "500.03", fee="1.00"))
    assert found["answer"]["state"] == "filled"
    (words,), (fill,) = bench.fed(OrderSettled), bench.fed(OrderFilled)
    assert (words.reason, words.who, words.filled) == ("seen at the broker", "ann", 1)
    assert (fill.price, fill.fee) == (D("500.03"), D("1.00"))
    assert equal(bench)
    assert any("seen at the broker" in text for _, text in bench.said)


@pytest.mark.rows(
    ("quantity", "words", "state", "filled"),
    [
        (1, {"filled": D(0), "price": None}, OrderState.REJECTED, 0),  # never arrived
        (3, {"filled": D(2)}, OrderState.CANCELLED, 2),  # the rest is gone
        (3, {"filled": D(3)}, OrderState.FILLED, 3),
    ],
)
def test_a_person_s_word_ends_the_order(quantity, words, state, filled):
    bench = RunnerBench(hedging(quantity), options=PATIENT)
    found = settled(
        bench, happens=lambda order: fill_unseen(bench, order, "500.03", quantity=filled), **words
    )
    assert (found["order"].state, found["order"].filled) == (state, filled)
    assert equal(bench)
    assert bench.runner.reconciler.unexplained == ()


@pytest.mark.rows(
    ("words", "where"),
    [
        ({"filled": D(2)}, "--filled"),
        ({"filled": D(-1)}, "--filled"),
        ({"filled": D("NaN")}, "--filled"),
        ({"filled": D("0.5")}, "--filled"),
        ({"price": None}, "--price"),
        ({"price": D(-500)}, "--price"),
        ({"price": D(0)}, "--price"),
        ({"price": D("NaN")}, "--price"),
        ({"price": D(50_003)}, "--price"),
        ({"fee": D(400)}, "--fee"),
        ({"fee": D("Infinity")}, "--fee"),
        ({"order": "nowhere"}, "ORDER"),
        ({"order": ""}, "ORDER"),
    ],
)
def test_words_that_cannot_be_true_are_refused_and_book_nothing(words, where):
    bench = RunnerBench(hedging(), options=PATIENT)
    found = settled(bench, **words)
    assert found["refused"].where == where
    assert found["refused"].fix
    assert bench.fed(OrderSettled) == []
    assert found["order"].state is OrderState.UNKNOWN


def test_beyond_its_limit_no_price_is_taken():
    bench = RunnerBench(hedging(1, "500.50"), options=PATIENT)
    assert settled(bench, price=D("501.00"))["refused"].where == "--price"


@pytest.mark.rows("state", ["working", "filled"])
def test_an_order_that_is_not_in_doubt_is_not_settled(state):
    bench = RunnerBench(hedging(), options=PATIENT)

    async def play():
        order = await bench.order()
        if state == "filled":
            bench.gateway.fill(order, "500.01")
        await bench.wait(1.0)
        with pytest.raises(StopError, match=state):
            await bench.runner.settle(order.client_order_id, D(1), D(500), None, "why", "ann")

    bench.play(play)
    assert bench.fed(OrderSettled) == []


def test_a_person_s_word_is_replayed():
    bench = RunnerBench(hedging(3), options=PATIENT)
    settled(bench, filled=D(2), happens=lambda order: fill_unseen(bench, order, "500.03", quantity=2))
    again = build_engine(hedging(3), bench.book, mark_seconds=1e9)
    for event in bench.journal.events:
        again.handle(event)
    ours, theirs = bench.engine.desk, again.desk
    assert ours.account.cash == theirs.account.cash
    assert [(each.state, each.filled) for each in ours.orders.orders.values()] == [
        (each.state, each.filled) for each in theirs.orders.orders.values()
    ]


# the venue's own execution at last --------------------------------------------------------------------------


@pytest.mark.rows(
    ("said", "came", "price"),
    [
        (1, [1], "500.03"),  # the same again
        (1, [1], "500.07"),  # at another price than was said
        (3, [2, 1], "500.03"),
        (2, [3], "500.03"),  # more than he saw
        (0, [1], "500.03"),  # it had arrived after all
    ],
)
def test_an_execution_of_the_venue_takes_the_place_of_what_a_person_said(said, came, price):
    quantity = max(said, sum(came))
    bench = RunnerBench(hedging(quantity), options=PATIENT)

    async def play():
        order = await bench.order()
        name = order.client_order_id
        bench.gateway.lose_track(name)
        bench.gateway.working.pop(name)
        await bench.wait(1.0)
        await bench.runner.settle(name, D(said), D("500.03") if said else None, D(0), "seen", "ann")
        fill_unseen(bench, order, price, quantity=sum(came))
        for number, units in enumerate(came):
            now_ns = bench.gateway.now_ns
            bench.gateway.put(OrderFilled(name, now_ns, now_ns, f"v{number}", D(units), D(price), D(0)))
        await bench.wait(4.0)

    bench.play(play)
    (order,) = bench.engine.desk.orders.orders.values()
    assert order.filled == sum(came)
    assert order.settled == {}
    assert equal(bench)
    assert bench.engine.desk.orders.unmatched == []
    assert bench.engine.desk.gate.mode is Mode.ACTIVE


def test_a_gateway_that_is_told_of_the_orders_does_not_take_a_person_s_word_for_the_venue_s():
    bench = RunnerBench(hedging(3), options=PATIENT)
    settled(bench, filled=D(2), happens=lambda order: fill_unseen(bench, order, "500.03", quantity=2))
    (known,) = known_orders(bench.engine)
    assert (known.filled, known.value, known.is_live) == (0, 0, False)
    assert all(quantity == 0 for quantity, _ in known.executions.values())


# over the control socket ------------------------------------------------------------------------------------


@pytest.fixture
def life(tmp_path, monkeypatch):
    return Life(tmp_path, monkeypatch)


def test_the_control_socket_takes_a_person_s_word_and_status_suggests_it(life):
    said = {}

    async def ask_desk(desk, **request):
        return await asyncio.to_thread(ask, desk.run_dir, request)

    async def meanwhile(desk):
        command = desk.engine.desk.orders.submit(intent_of(Side.BUY, 2), desk.engine.now_ns)
        name = command.client_order_id
        desk.gateway.lose_track(name)
        await asyncio.sleep(0.05)
        said["doubts"] = (await ask_desk(desk, do="status"))["doubts"]
        words = {"do": "settle", "order": name[-6:], "reason": "seen"}
        said["wrong"] = [
            await ask_desk(desk, **(words | wrong))
            for wrong in ({"filled": "3", "price": "9"}, {"filled": "x"}, {}, {"filled": "1", "reason": " "})
        ]
        said["done"] = await ask_desk(desk, **(words | {"filled": "0"}))
        said["again"] = await ask_desk(desk, **(words | {"filled": "0"}))
        desk.runner.stop(StopMode.LEAVE)

    life.run(meanwhile)
    (doubt,) = said["doubts"]
    assert said["done"]["order"] == doubt["order"]
    assert said["done"]["state"] == "rejected"
    wheres = [each["where"] for each in said["wrong"]]
    assert wheres == ["--filled", "--filled", "--filled", "--reason"]
    assert all(each["error"] and each["fix"] for each in said["wrong"])
    assert said["again"]["where"] == "ORDER"
