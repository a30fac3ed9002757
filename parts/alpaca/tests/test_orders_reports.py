"""The gateway's reading of messages on the order stream, handed in without a line."""

import asyncio
import json
from decimal import Decimal

import msgspec
import pytest

from scalpdesk.core.clock import FollowingClock
from scalpdesk.core.events import (
    CancelRejected,
    FillBusted,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderNotFound,
    OrderStatusUnknown,
)
from scalpdesk.core.intents import MultiLegOrder, OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.fees import NO_FEES
from scalpdesk.venues.budget import RequestBudget, loop_ns
from scalpdesk.venues.contract import KnownOrder, Notice, NoticeKind
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.tracker import OrderTracker, TrackedOrder
from scalpdesk_alpaca.market_data import MarketReader, MarketStream
from scalpdesk_alpaca.order_messages import read_order
from scalpdesk_alpaca.order_sender import OrderSender
from scalpdesk_alpaca.orders import OrderReports, OrderStream, ends
from scalpdesk_alpaca.queries import BudgetedClient
from scalpdesk_alpaca.stream import StreamConnection, StreamRefused, StreamTarget
from scalpdesk_alpaca.transport import ApiKeys, RestClient
from scalpdesk_testing.kit import alpaca_wire as samples
from scalpdesk_testing.kit.clock import ManualClock

D = Decimal
BOOK = Instruments([Equity(samples.STOCK), us_option(samples.OPTION), us_option(samples.PUT)])


ACCEPTANCE_NS = 10 * 10**9


class Key:
    def reveal(self):
        return "k"


def order(name="sd-1", number=0, quantity=10, purpose=Purpose.HEDGE):
    return SubmitOrder(
        name,
        InstrumentId(number),
        Side.BUY,
        Decimal(quantity),
        OrderType.MARKET,
        None,
        TimeInForce.DAY,
        purpose,
    )


class OrderPath:
    """The gateway's order path without a connection: what reads its stream, follows its orders and sends."""

    def __init__(self, clock=None):
        self.publisher = EventPublisher(clock or ManualClock(samples.AT_NS + 1))
        self.budget = RequestBudget(10)
        self.client = RestClient("http://127.0.0.1:9", {}, connections=1, timeout_seconds=5.0)
        client = BudgetedClient(self.client, self.budget, self.publisher)
        self.tracker = OrderTracker(BOOK, NO_FEES)
        self.reports = OrderReports(
            instruments=BOOK,
            tracker=self.tracker,
            publisher=self.publisher,
            client=client,
        )
        self.path = OrderSender(
            client, self.reports, timeout_seconds=5.0, acceptance_seconds=ACCEPTANCE_NS / 1e9
        ).path
        self.stream = OrderStream(ApiKeys(Key(), Key()), self.reports, self.publisher)


def said_of(*messages, known=(), before=None):
    """Return all that the gateway says after messages on its order stream."""

    async def scenario():
        path = OrderPath()
        path.path.adopt(known)
        if before is not None:
            before(path)
        for message in messages:
            path.stream.on_frame(samples.as_json(message))
        await path.path.close(graceful=False)
        await path.client.close()
        path.publisher.queue.close()
        return [item async for item in path.publisher.queue.items()]

    return asyncio.run(scenario())


def names(said):
    return [one.name for one in said if isinstance(one, Notice)]


def test_an_execution_from_elsewhere_asks_for_a_look_at_the_account():
    assert names(said_of(samples.update("new", samples.order()))) == ["unknown_order"]
    said = said_of(samples.fill_update())
    assert names(said) == ["unknown_order", "foreign_execution"]
    assert [one.asks_for_reconciliation for one in said] == [False, True]


def test_a_message_under_our_name_about_another_symbol_is_a_contradiction():
    body = samples.order(symbol="AMD")
    said = said_of(samples.update("new", body), known=[KnownOrder(order())])
    assert names(said) == ["contradictory_order", "contradictory_order"]
    assert [one.kind for one in said] == [NoticeKind.REFUSED, NoticeKind.GAP]


def test_an_execution_that_overtakes_the_answer_tells_the_orders_id_at_the_venue():
    ids = []

    def note(path):
        path.path.adopt([KnownOrder(order())])
        ids.append(path.tracker.orders["sd-1"])

    said_of(samples.fill_update(), before=note)
    assert ids[0].venue_order_id == samples.ORDER_ID


def test_the_end_of_an_order_comes_after_the_executions_that_it_counts():
    # told before them it frees a quantity that is filled: the desk would buy it again
    ended = samples.update(
        "canceled", samples.order(status="canceled", filled_qty="4", filled_avg_price="185.14")
    )
    said = said_of(ended, known=[KnownOrder(order())])
    assert [type(one) for one in said] == [Notice, OrderStatusUnknown]
    assert said[0].asks_for_reconciliation
    whole = samples.update("canceled", samples.order(status="canceled"))
    said = said_of(whole, known=[KnownOrder(order())])
    assert [type(one) for one in said] == [OrderAccepted, OrderCancelled]


def test_an_execution_larger_than_the_whole_is_refused():
    said = said_of(samples.fill_update("7", "4"), known=[KnownOrder(order())])
    assert names(said) == ["contradictory_fill"]


def test_a_refused_cancel_is_told():
    message = samples.update("order_cancel_rejected", reason="too late")
    (said,) = said_of(message, known=[KnownOrder(order(), venue_order_id=samples.ORDER_ID)])
    assert isinstance(said, CancelRejected)
    assert said.reason == "too late"


def test_a_correction_of_an_execution_from_before_is_a_gap():
    message = samples.fill_update(previous_execution_id="older")
    message["data"]["event"] = "trade_correct"
    said = said_of(message, known=[KnownOrder(order())])
    assert names(said) == ["unknown_execution", "unknown_execution"]


@pytest.mark.parametrize("status", ["new", "filled"])
@pytest.mark.parametrize("order_class", ["", "simple", "mleg"])
def test_an_order_under_an_id_of_the_venues_own_is_no_leg_of_the_desks(status, order_class):
    # the broker's liquidation sold what an unanswered combo was to sell: it was booked as the combo's leg
    legs = (order("c", 1, 2, Purpose.OPEN), order("p", 2, 2, Purpose.OPEN))
    known = [KnownOrder(leg, parent_id="m") for leg in legs]
    filled = "2" if status == "filled" else "0"
    body = samples.order(
        id="liquidation", client_order_id="venue-made", symbol=samples.PUT, qty="2", filled_qty=filled,
        filled_avg_price="8.1", status=status, order_class=order_class,
    )  # fmt: skip
    event = "fill" if status == "filled" else "new"
    said = said_of(samples.update(event, body, execution_id="x", qty="2", price="8.1"), known=known)
    assert [one for one in said if isinstance(one, OrderFilled | OrderAccepted)] == []
    gaps = ["foreign_execution"] if status == "filled" else []
    assert [name for name in names(said) if name.startswith("foreign")] == gaps


STRADDLES = (order("c", 1, 2, Purpose.OPEN), order("p", 2, 2, Purpose.OPEN))


def fills_of(said):
    return [
        (one.client_order_id, one.execution_id, one.quantity, one.price)
        for one in said
        if isinstance(one, OrderFilled)
    ]


def test_the_legs_of_a_whole_are_filled_by_their_own_executions():
    known = [KnownOrder(leg, parent_id="m") for leg in STRADDLES]
    said = said_of(samples.combo_fill(), samples.combo_fill(), known=known)
    assert fills_of(said) == [("c", "e-call", D(2), D("7.3")), ("p", "e-put", D(2), D("8.1"))]
    assert names(said) == []


def test_a_leg_that_filled_in_two_parts_has_two_executions():
    message = samples.combo_fill()
    first, second = ({**message["data"]["legs"][0], "qty": "1", "execution_id": name} for name in "ab")
    message["data"]["legs"][:1] = [{**first, "price": "7.2"}, {**second, "price": "7.4"}]
    said = said_of(message, known=[KnownOrder(leg, parent_id="m") for leg in STRADDLES])
    assert fills_of(said)[:2] == [("c", "a", D(1), D("7.2")), ("c", "b", D(1), D("7.4"))]


def test_executions_of_legs_are_known_again_after_a_restart():
    known = [
        KnownOrder(leg, D(2), D(1), is_live=False, parent_id="m", executions={f"e-{name}": (D(2), D("0.5"))})
        for leg, name in zip(STRADDLES, ("call", "put"), strict=True)
    ]
    assert fills_of(said_of(samples.combo_fill(), known=known)) == []


def test_a_part_of_the_whole_that_was_missed_is_inferred_for_each_leg():
    message = samples.combo_fill()
    for leg in message["data"]["legs"]:
        leg["qty"] = "1"
    said = said_of(message, known=[KnownOrder(leg, parent_id="m") for leg in STRADDLES])
    booked = [(name, quantity) for name, _, quantity, _ in fills_of(said)]
    assert sorted(booked) == [("c", D(1)), ("c", D(1)), ("p", D(1)), ("p", D(1))]
    assert [execution for _, execution, _, _ in fills_of(said)][:2] == ["e-call", "e-put"]


def test_an_execution_in_a_contract_that_is_no_leg_is_put_aside():
    message = samples.combo_fill()
    message["data"]["legs"].append({**message["data"]["legs"][0], "symbol": samples.STOCK})
    said = said_of(message, known=[KnownOrder(leg, parent_id="m") for leg in STRADDLES])
    assert names(said) == ["unknown_order"]
    assert len(fills_of(said)) == 2


def test_a_message_about_the_whole_without_executions_is_spread_over_its_legs():
    message = samples.combo_fill()
    del message["data"]["legs"]
    said = said_of(message, message, known=[KnownOrder(leg, parent_id="m") for leg in STRADDLES])
    assert [(name, quantity, price) for name, _, quantity, price in fills_of(said)] == [
        ("c", D(2), D("7.3")),
        ("p", D(2), D("8.1")),
    ]


def test_the_servers_error_on_the_order_stream_is_reported_in_its_own_words():
    said = said_of({"action": "error", "data": {"error_message": "slow consumer"}})
    assert [(one.kind, one.name, one.detail) for one in said] == [
        (NoticeKind.REFUSED, "stream_error", "slow consumer")
    ]


def test_an_update_that_cannot_be_read_is_reported_and_nothing_is_booked():
    refused, gap = said_of({"stream": "trade_updates", "data": {"event": "fill", "qty": "many"}})
    assert (refused.kind, gap.kind) == (NoticeKind.REFUSED, NoticeKind.GAP)
    assert refused.name == gap.name
    assert refused.name.startswith("malformed")
    assert names(said_of({"stream": "gossip", "data": {}})) == ["unknown_stream"]


def test_an_execution_is_booked_whatever_its_time_or_the_label_of_its_order():
    update = samples.fill_update("4", "4")
    update["data"]["timestamp"] = "the day before"
    update["data"]["order"]["status"] = "dreaming"
    said = said_of(update, known=[KnownOrder(order())])
    (filled,) = [one for one in said if isinstance(one, OrderFilled)]
    assert (filled.quantity, filled.ts_event_ns) == (4, filled.ts_recv_ns)
    assert "unreadable_time" in names(said)
    state = samples.update("restated", samples.order(status="dreaming"))
    (told, doubt) = said_of(state, known=[KnownOrder(order())])
    assert (told.name, type(doubt)) == ("unknown_status", OrderStatusUnknown)


@pytest.mark.parametrize(("quantity", "is_over"), [(10, False), (13, True)])
def test_an_order_that_came_again_for_less_is_over_with_its_last_execution(quantity, is_over):
    fills = [samples.fill_update("4", "4"), samples.fill_update("6", "10")]
    said = said_of(*fills, known=[KnownOrder(order(quantity=quantity))])
    assert [one.quantity for one in said if isinstance(one, OrderFilled)] == [4, 6]
    assert isinstance(said[-1], OrderCancelled) is is_over


@pytest.mark.parametrize(("action", "is_final"), [("authenticate", True), ("listen", False)])
def test_keys_that_are_refused_on_the_standing_stream_end_it_for_good(action, is_final):
    data = {"status": "unauthorized", "action": action}
    with pytest.raises(StreamRefused) as refused:
        said_of({"stream": "authorization", "data": data})
    assert refused.value.is_final is is_final


def greeted(*answers):
    """Return what the gateway sends in the hello of its order stream, given these answers."""
    sent = []

    async def scenario():
        handler = OrderPath().stream
        waiting = iter(answers)

        async def send(message):
            sent.append(json.loads(message))

        async def receive():
            return samples.as_json(next(waiting))

        await handler.hello(send, receive)

    asyncio.run(scenario())
    return sent


def answer(stream, **data):
    return {"stream": stream, "data": data}


AUTHORIZED = answer("authorization", status="authorized", action="authenticate", message="deprecated")


def test_the_hello_authenticates_as_the_vendor_asks_and_listens():
    assert greeted(AUTHORIZED, answer("listening", streams=["trade_updates"])) == [
        {"action": "auth", "key": "k", "secret": "k"},
        {"action": "listen", "data": {"streams": ["trade_updates"]}},
    ]


@pytest.mark.parametrize(
    ("answers", "is_final"),
    [
        ([{"action": "error", "data": {"error_message": "internal"}}], False),
        ([AUTHORIZED, answer("listening", streams=[])], False),
        ([answer("authorization", status="unauthorized", action="authenticate")], True),
        ([answer("authorization", status="unauthorized", action="listen")], False),
    ],
)
def test_a_hello_that_fails_is_tried_again_unless_the_keys_are_refused(answers, is_final):
    with pytest.raises(StreamRefused) as refused:
        greeted(*answers)
    assert refused.value.is_final is is_final


@pytest.mark.parametrize("last", [{"T": "success", "msg": "authenticated"}, {"T": "error", "code": 402}])
def test_a_data_stream_is_subscribed_to_once_the_keys_are_taken_and_not_before(last):
    sent, waiting = [], iter([{"T": "success", "msg": "connected"}, {"msg": "auth failed", **last}])

    async def scenario():
        stream = MarketStream(
            StreamTarget("stocks", "ws://127.0.0.1:9", is_binary=True),
            keys=ApiKeys(Key(), Key()),
            reader=MarketReader(BOOK.find, is_msgpack=True),
            publisher=EventPublisher(ManualClock(1)),
        )
        stream.wanted = (samples.STOCK,)

        async def send(message):
            sent.append(msgspec.msgpack.decode(message)["action"])

        async def receive():
            return msgspec.msgpack.encode([next(waiting)])

        await stream.hello(send, receive)

    if last["T"] == "success":
        asyncio.run(scenario())
        assert sent == ["auth", "subscribe"]
    else:
        with pytest.raises(StreamRefused, match="402"):
            asyncio.run(scenario())
        assert sent == ["auth"]


def test_nothing_is_sent_on_a_stream_without_a_connection():
    async def scenario():
        target = StreamTarget("orders", "ws://127.0.0.1:9")
        return await StreamConnection(target, OrderPath().stream).send(b"{}")

    assert asyncio.run(scenario()) is False


@pytest.mark.parametrize("quantity", [Decimal("1.5"), Decimal(0)])
def test_an_order_that_no_venue_takes_never_leaves(quantity):
    def send(path):
        path.path.is_open = True
        command = SubmitOrder(
            "odd", InstrumentId(1), Side.BUY, quantity, OrderType.MARKET, None, TimeInForce.DAY, Purpose.OPEN
        )
        path.path.send(command)
        path.path.send(MultiLegOrder("m", (order("leg", 1),), None))

    said = said_of(before=send)
    assert [type(one) for one in said] == [OrderStatusUnknown, OrderNotFound] * 2


# what is counted, and the ids that messages teach ------------------------------------------------------


def path_after(*messages, known=()):
    """Return an order path after messages on its stream, and all that it said."""
    kept = []
    said = said_of(*messages, known=known, before=kept.append)
    return kept[0], said


def counters_of(path):
    return {name: count for name, count in path.publisher.counters.items() if "execution" in name}


def correction(**changes):
    message = samples.fill_update("4", "4", "185.20", previous_execution_id="e-4", execution_id="c-1")
    message["data"] |= {"event": "trade_correct", **changes}
    return message


def test_executions_that_come_again_are_counted():
    path, _ = path_after(samples.fill_update(), samples.fill_update(), known=[KnownOrder(order())])
    assert counters_of(path) == {"repeated_execution": 1}
    path, said = path_after(samples.fill_update(), correction(), correction(), known=[KnownOrder(order())])
    assert counters_of(path) == {"repeated_execution": 1}
    assert [(one.quantity, one.price) for one in said if isinstance(one, OrderFilled)] == [
        (D(4), D("185.14")),
        (D(4), D("185.20")),
    ]


@pytest.mark.parametrize(("given", "shown"), [(None, "corrected"), ("price was wrong", "price was wrong")])
def test_a_correction_takes_back_the_execution_that_it_names_with_the_venues_reason(given, shown):
    reason = {} if given is None else {"reason": given}
    said = said_of(samples.fill_update(), correction(**reason), known=[KnownOrder(order())])
    (bust,) = [one for one in said if isinstance(one, FillBusted)]
    assert (bust.execution_id, bust.reason, bust.is_corrected) == ("e-4", shown, True)
    assert names(said) == []


def test_a_missing_execution_is_counted_and_named_with_what_is_known():
    path, said = path_after(samples.fill_update("4", "7"), known=[KnownOrder(order())])
    assert [type(one) for one in said[:2]] == [OrderAccepted, OrderFilled]
    assert counters_of(path) == {"missing_execution": 1}
    (gap,) = said[2:]
    assert (gap.detail, gap.asks_for_reconciliation) == ("sd-1: 4 known of 7 filled", True)


@pytest.mark.parametrize(
    ("status", "filled", "whole"),
    [("filled", "10", False), ("filled", "4", True), ("canceled", "10", True), ("new", "0", False)],
)
def test_an_order_ends_short_of_its_quantity_or_otherwise_than_filled(status, filled, whole):
    tracked = TrackedOrder(order(), 0)
    shown = read_order(
        json.dumps(samples.order(status=status, filled_qty=filled, filled_avg_price="1")).encode()
    )
    assert ends(tracked, shown) is whole


def test_an_id_that_is_known_is_not_learnt_again():
    other = samples.fill_update()
    other["data"]["order"]["id"] = "another-id"
    path, _ = path_after(other, known=[KnownOrder(order(), venue_order_id=samples.ORDER_ID)])
    assert path.tracker.orders["sd-1"].venue_order_id == samples.ORDER_ID


@pytest.mark.parametrize(
    ("sent_ago_seconds", "follows", "waits_seconds"),
    [
        (60.0, False, 0.0),  # its acceptance time-out is over
        (9.0, False, 6.0),  # 5 s of its request, 4 s of the 10 s after it
        (2.0, False, 10.0),  # its request may have ended just now
        (None, False, 10.0),
        (60.0, True, 10.0),  # the clock runs at another pace than the wall
    ],
)
def test_the_acceptance_time_out_of_an_order_from_before_counts_from_its_requests_end(
    sent_ago_seconds, follows, waits_seconds
):
    sent_ns = 0 if sent_ago_seconds is None else samples.AT_NS + 1 - int(sent_ago_seconds * 10**9)

    async def scenario():
        path = OrderPath(FollowingClock(samples.AT_NS + 1) if follows else None)
        path.path.adopt([KnownOrder(order(), sent_ns=sent_ns)])
        left = ACCEPTANCE_NS - (loop_ns() - path.tracker.orders["sd-1"].answered_ns)
        return max(left / 10**9, 0.0)

    assert asyncio.run(scenario()) == pytest.approx(waits_seconds, abs=0.5)


@pytest.mark.parametrize(("is_final", "kind"), [(True, NoticeKind.DEAD), (False, NoticeKind.DISCONNECTED)])
def test_the_end_of_the_order_stream_is_counted_and_told(is_final, kind):
    def lose(path):
        path.stream.on_down("half_open", "no pong", is_final=is_final)
        assert path.publisher.counters["orders_half_open"] == 1

    (notice,) = said_of(before=lose)
    assert (notice.kind, notice.stream, notice.name, notice.detail) == (
        kind,
        "orders",
        "half_open",
        "no pong",
    )
