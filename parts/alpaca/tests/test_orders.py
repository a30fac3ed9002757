"""Orders at Alpaca: what each reply, each message of the stream and each line of the history means for them.

What a reply's fate means for an order holds at every venue: ``tests/venues/test_order_path.py``.
"""

import asyncio
import json
from decimal import Decimal

import pytest

from scalpdesk.base import (
    InstrumentId,
    MultiLegOrder,
    OrderFilled,
    OrderRejected,
    OrderType,
    Purpose,
    RetryError,
    Side,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.events import (
    CancelRejected,
    FillBusted,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderNotFound,
    OrderStatusUnknown,
)
from scalpdesk.core.intents import CancelOrder
from scalpdesk.venues import KnownOrder, Notice, NoticeKind, TrackedOrder
from scalpdesk_alpaca.order_messages import read_order
from scalpdesk_alpaca.orders import ends
from scalpdesk_alpaca.stream import StreamRefused
from scalpdesk_testing.kit import alpaca_wire as samples

D = Decimal
REFUSAL = (422, {"code": 42210000, "message": "order parameters are not changed"})
DUPLICATE = (422, {"code": 40010001, "message": "client_order_id must be unique"})
TOO_LATE = (422, {"code": 42210000, "message": 'order is already in "filled" state'})
BROKEN = (500, {"code": 50010000, "message": "internal server error occurred"})
LIMITED = (429, {"code": 42910000, "message": "rate limit exceeded"})
ABSENT = (404, {"code": 40410000, "message": "order not found for sd-1"})
NO_KEYS = (401, {"code": 40110000, "message": "request is not authorized"})
NO_OPTIONS = (403, {"code": 40310000, "message": "account not authorized to trade options"})
WORKING = samples.order()
FILLED = samples.order(status="filled", filled_qty="10", filled_avg_price="185.14")
POST, BY_ID, HISTORY = (
    "POST /v2/orders",
    "GET /v2/orders:by_client_order_id",
    "GET /v2/account/activities/FILL",
)
CANCEL = f"DELETE /v2/orders/{samples.ORDER_ID}"
NONE_LEFT = {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795185060"}
"""Headers of an answer after which no request is left: one comes back each second."""
MISSED = {
    "id": "20261120093000123::e1", "activity_type": "FILL", "order_id": samples.ORDER_ID,
    "symbol": samples.STOCK, "side": "buy", "qty": "4", "cum_qty": "4", "price": "185.00",
    "transaction_time": samples.AT_TEXT,
}  # fmt: skip
"""A part of the order, as the account's history has it."""


def order(name="sd-1", number=0, quantity=10, purpose=Purpose.HEDGE, limit=None):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else D(limit)
    number = InstrumentId(number)
    return SubmitOrder(name, number, Side.BUY, D(quantity), kind, price, TimeInForce.DAY, purpose)


LEGS = (order("c", 1, 2, Purpose.OPEN), order("p", 2, 2, Purpose.OPEN))
COMBO = MultiLegOrder("m", LEGS, None)
KNOWN_LEGS = [KnownOrder(leg, parent_id="m") for leg in LEGS]


def whole(status="new", filled="0", legs=None, **changes):
    """Return an order for the combo as the venue shows it; ``legs`` by name and what each has filled."""
    parts = None if legs is None else [
        samples.order(
            id=f"leg-{name}", client_order_id=f"v-{name}", symbol=symbol, asset_class="us_option", qty="2",
            filled_qty=part, filled_avg_price="7.3" if part != "0" else None, status=status,
            order_class="mleg", type="", order_type="", ratio_qty="1",
        )
        for (name, part), symbol in zip(legs.items(), (samples.OPTION, samples.PUT), strict=True)
    ]  # fmt: skip
    return samples.order(
        id="v-m", client_order_id="m", symbol="", asset_class="", asset_id="", side="", order_class="mleg",
        qty="2", filled_qty=filled, filled_avg_price="15.4" if filled != "0" else None, status=status,
        legs=parts, **changes,
    )  # fmt: skip


def hear(made, *messages, known=()):
    """Return what is said after messages on the order stream."""

    async def scenario():
        made.gateway._path.adopt(known)
        for message in messages:
            made.gateway._stream._handler.on_frame(samples.as_json(message))

    made.run(scenario)
    return made.said()


def query(made, name="sd-1", again=None):
    return made.run(lambda: made.gateway.query_order(name, again))


def viewed(made, since_ns=None):
    return made.run(lambda: made.gateway.snapshot(fills_since_ns=since_ns))


def kinds(said):
    return [one.name if isinstance(one, Notice) else type(one) for one in said]


def notices(said):
    return [one.name for one in said if isinstance(one, Notice)]


def named(said):
    return [(type(one), one.client_order_id) for one in said if not isinstance(one, Notice)]


def fills(said):
    return [
        (one.client_order_id, one.execution_id, one.quantity, one.price)
        for one in said
        if isinstance(one, OrderFilled)
    ]


# replies --------------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("answer", "expected"),
    [
        ((200, WORKING), [OrderAccepted]),
        ((200, FILLED), [OrderAccepted]),  # the executions come by the stream
        (NO_OPTIONS, [OrderRejected]),
        (REFUSAL, [OrderRejected]),
        (NO_KEYS, ["unauthorized", OrderRejected]),
        (LIMITED, ["rate_limited", OrderRejected]),
        (BROKEN, [OrderStatusUnknown]),
        (None, [OrderStatusUnknown]),
        ((200, b"<html>"), [OrderStatusUnknown]),
        ((200, b'{"client_order_id":"sd-1"}'), ["malformed_order", OrderStatusUnknown]),
        ((200, samples.order(client_order_id="sd-2")), [OrderStatusUnknown]),
        ((200, samples.order(status="?")), ["unknown_status", OrderStatusUnknown]),
        ((200, samples.order(side="?")), ["bad_side", OrderStatusUnknown]),
        (DUPLICATE, [OrderStatusUnknown, OrderAccepted, OrderFilled]),  # looked up, and not sent again
    ],
)
def test_what_becomes_of_an_order_by_the_answer_to_it(talk, answer, expected):
    made = talk({POST: answer, BY_ID: (200, FILLED), HISTORY: (200, [])})
    began, said = made.loop.time(), made.send(order())
    assert kinds(said) == expected
    assert (made.health().in_flight, made.venue.count(POST)) == (0, 1)
    assert made.loop.time() - began < 1.0  # a connection with the answer to another order is given up
    assert [one.kind for one in said if isinstance(one, Notice) and "malformed" not in one.name][:1] == (
        {"unauthorized": [NoticeKind.DEAD], "rate_limited": [NoticeKind.LIMITED]}.get(expected[0])
        or [NoticeKind.REFUSED] * (expected[0] in ("unknown_status", "bad_side"))
    )
    if answer is NO_OPTIONS:
        assert said[0].reason == "HTTP 403 40310000 account not authorized to trade options"


@pytest.mark.rows(("status", "end"), [("canceled", OrderCancelled), ("expired", OrderExpired)])
def test_an_answer_that_shows_the_end_with_executions_unknown_asks_for_them_first(talk, status, end):
    over = samples.order(status=status, filled_qty="4", filled_avg_price="185.14")
    made = talk({POST: (200, over), BY_ID: (200, over), HISTORY: (200, [])})
    assert kinds(made.send(order())) == ["missing_execution", OrderStatusUnknown]
    assert query(made) is True
    said = made.said()
    assert kinds(said)[1:] == [OrderFilled, end]
    assert fills(said)[0][2:] == (4, D("185.14"))


def test_nothing_is_sent_before_the_gateway_is_connected_or_while_the_line_is_down(talk):
    made = talk(is_connected=False)
    said = made.send(order())
    assert kinds(said) == [OrderStatusUnknown, OrderNotFound]
    assert said[0].reason == "not sent: the gateway is not connected"
    made.gateway._path.is_open = made.venue.is_down = True
    assert kinds(made.send(order("sd-2"))) == [OrderStatusUnknown, OrderNotFound]
    for quantity in ("1.5", "0"):  # no venue takes it
        said = made.send(order(f"sd-{quantity}", 1, quantity), MultiLegOrder(f"m-{quantity}", LEGS[:1], None))
        assert kinds(said) == [OrderStatusUnknown, OrderNotFound] * 2
    assert made.venue.asked == []


@pytest.mark.rows("legs", [None, {"c": "0", "p": "0"}])
@pytest.mark.rows(("status", "end"), [("new", []), ("canceled", [OrderCancelled])])
def test_an_answer_to_a_combo_says_of_each_leg_what_it_says_of_the_whole(talk, legs, status, end):
    made = talk({POST: (200, whole(status, legs=legs)), "DELETE /v2/orders/v-m": BROKEN})
    assert named(made.send(COMBO)) == [(kind, name) for name in "cp" for kind in [OrderAccepted, *end]]
    ids = {name: one.venue_order_id for name, one in made.gateway._reports.tracker.orders.items()}
    assert ids == ({"c": "", "p": ""} if legs is None else {"c": "leg-c", "p": "leg-p"})
    if status == "new":  # a leg is cancelled with its combo, and is in doubt alone
        assert named(made.send(CancelOrder("p"))) == [(OrderStatusUnknown, "p")]
        assert made.venue.asked[-1].line == "DELETE /v2/orders/v-m"
    assert talk({POST: (200, whole("filled", "2"))}).send(COMBO) == []  # left to the stream


def test_a_combo_is_asked_for_by_its_own_id(talk):
    made = talk({POST: None, BY_ID: ABSENT}, absent_after_seconds=5.0)
    assert kinds(made.send(COMBO)) == [OrderStatusUnknown] * 2
    made.loop.leap(6)
    assert query(made, "p") is True
    assert named(made.said()) == [(OrderNotFound, "c"), (OrderNotFound, "p")]
    assert made.venue.asked[-1].query["client_order_id"] == "m"


def test_legs_are_caught_up_from_the_history_and_shown_with_their_combo(talk, account):
    shown = whole("partially_filled", "1", {"c": "1", "p": "1"})
    row = MISSED | {"order_id": "leg-c", "symbol": samples.OPTION, "qty": "1", "cum_qty": "1", "price": "7.3"}
    answers = {POST: (200, whole()), BY_ID: (200, shown), HISTORY: (200, [row])}
    made = talk(account | answers | {"GET /v2/orders": (200, [shown]), "DELETE /v2/orders/v-m": (204, None)})
    made.send(COMBO)
    assert query(made, "p") is True
    found = fills(made.said())
    assert [(name, quantity) for name, _, quantity, _ in found] == [("c", D(1)), ("p", D(1))]
    assert found[0][1] == "e1"
    asked = next(one for one in made.venue.asked if one.line == HISTORY)
    assert asked.query["after"] == "2026-11-20T14:29:59.123456789Z"  # a second before it was sent
    view = [(one.client_order_id, one.parent_id, one.filled) for one in viewed(made).open_orders]
    assert view == [("c", "m", D(1)), ("p", "m", D(1))]
    assert made.run(lambda: made.gateway.cancel_at_venue("leg-p")) is True
    assert made.venue.asked[-1].line == "DELETE /v2/orders/v-m"


# cancels and replacements ---------------------------------------------------------------------------------


@pytest.mark.rows(
    ("answer", "shown", "expected"),
    [
        ((204, None), ABSENT, []),
        (ABSENT, ABSENT, [CancelRejected]),
        (NO_OPTIONS, ABSENT, [CancelRejected]),
        (BROKEN, ABSENT, [OrderStatusUnknown]),
        (None, ABSENT, [OrderStatusUnknown]),
        (TOO_LATE, (200, FILLED), [OrderFilled]),
        (TOO_LATE, BROKEN, [CancelRejected]),
        ([LIMITED, (204, None)], ABSENT, ["rate_limited"]),
        ([LIMITED, BROKEN], ABSENT, ["rate_limited", OrderStatusUnknown]),
        (LIMITED, ABSENT, ["rate_limited"] * 5 + [CancelRejected]),  # tried five times and no more
    ],
)
def test_what_becomes_of_a_cancel_by_the_answer_to_it(talk, answer, shown, expected):
    made = talk({CANCEL: answer, BY_ID: shown, HISTORY: (200, [])}, working=order())
    said = made.send(CancelOrder("sd-1"))
    assert kinds(said) == expected
    if answer is LIMITED:
        assert said[-1].reason == "the venue's rate limit"
    elif answer is BROKEN:
        assert said[0].reason == "cancel: HTTP 500 50010000 internal server error occurred"


@pytest.mark.rows("is_combo", [False, True])
def test_a_cancel_that_the_venue_took_and_dropped_is_refused_once_the_order_is_shown_at_work(talk, is_combo):
    shown = whole(legs={"c": "0", "p": "0"}) if is_combo else WORKING
    answers = {
        POST: (200, shown),
        BY_ID: (200, shown),
        CANCEL: (204, None),
        "DELETE /v2/orders/v-m": (204, None),
    }
    made = talk(answers)
    made.send(COMBO if is_combo else order())
    name = "p" if is_combo else "sd-1"

    async def scenario():
        made.gateway.send(CancelOrder(name))
        await asyncio.sleep(20.0)

    made.run(scenario)
    assert named(made.said()) == [(CancelRejected, name)]
    assert made.venue.count(BY_ID) == 1


def test_a_cancel_for_which_no_request_is_left_waits_for_one(talk):
    asked_at = []
    answers = {CANCEL: lambda _asked: asked_at.append(made.loop.time()) or (204, None)}
    made = talk(answers, working=order(), headers=NONE_LEFT)
    assert made.health().requests_left == 0
    answered_at = made.loop.time()
    assert made.send(CancelOrder("sd-1")) == []
    assert asked_at == [pytest.approx(answered_at + 1.0, abs=0.05)]


def test_what_the_venue_does_not_know_yet_is_asked_for_twice_and_not_cancelled(talk):
    made = talk({POST: None, BY_ID: ABSENT}, absent_after_seconds=60.0)
    assert kinds(made.send(order())) == [OrderStatusUnknown]
    began = made.loop.time()
    (refused,) = made.send(CancelOrder("sd-1"))
    assert (type(refused), refused.reason) == (CancelRejected, "its order is not known at the venue yet")
    assert (made.venue.count(BY_ID), round(made.loop.time() - began)) == (2, 1)


@pytest.mark.rows(
    ("answer", "is_taken"),
    [((204, None), True), (ABSENT, True), (TOO_LATE, True), (BROKEN, False), (LIMITED, False), (None, False)],
)
def test_a_cancel_by_the_venues_id_says_whether_the_venue_took_it(talk, answer, is_taken):
    made = talk({"DELETE /v2/orders/v-1": answer})
    assert made.run(lambda: made.gateway.cancel_at_venue("v-1")) is is_taken


def test_an_order_that_was_replaced_by_hand_ends_and_its_successor_is_nobodys(talk):
    new_id = "7c5f3ad0-8f3e-4b52-9f0e-2f1b3f5d9a10"
    made = talk({})
    old = samples.order(status="replaced", replaced_by=new_id, filled_qty="0")
    successor = samples.order(id=new_id, client_order_id="by-hand", replaces=samples.ORDER_ID)
    said = hear(
        made,
        samples.update("replaced", old),
        samples.update("new", successor),
        known=[KnownOrder(order(), venue_order_id=samples.ORDER_ID)],
    )
    assert named(said)[-1] == (OrderCancelled, "sd-1")
    assert f"replaced by {new_id}" in [getattr(one, "reason", "") for one in said]
    assert notices(said) == ["unknown_order"]


# proof ----------------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("shown", "history", "told"),
    [
        (samples.order(status="?"), (200, []), ["unknown_status", OrderStatusUnknown]),
        (samples.order(side="?"), (200, []), ["bad_side"]),
        (FILLED, (200, [{"id": 7}]), []),  # executions that cannot be read
        (FILLED, BROKEN, []),
        (samples.order(client_order_id="other"), (200, []), []),
        (whole(legs={"c": "0", "p": "0"}), (200, []), []),  # a combo from elsewhere
    ],
)
def test_an_answer_that_cannot_be_believed_is_no_proof(talk, shown, history, told):
    made = talk({BY_ID: (200, shown), HISTORY: history}, working=order())
    assert query(made) is False
    assert kinds(made.said()) == told


def test_an_order_that_is_still_wanted_goes_out_again_under_its_id_and_may_be_smaller(talk):
    small = samples.order(status="filled", qty="4", filled_qty="4", filled_avg_price="185.14")
    shown = [ABSENT, ABSENT, (200, small)]
    made = talk({POST: [None, (200, small)], BY_ID: shown, HISTORY: (200, [])})
    made.send(order())
    assert query(made, again=order(quantity=4)) is False
    assert made.venue.count(POST) == 1
    made.loop.leap(20.0)
    assert query(made, again=order(quantity=4)) is False
    assert query(made, again=order(quantity=4)) is True
    said = [one for one in made.said() if not isinstance(one, Notice)]
    assert kinds(said) == [OrderAccepted, OrderFilled, OrderCancelled]
    assert [quantity for _, _, quantity, _ in fills(said)] == [4]
    first, second = (asked.body for asked in made.venue.asked if asked.line == POST)
    assert second == first | {"qty": "4"}


def test_without_requests_left_nothing_is_asked_about_cancelled_or_sent_again(talk):
    made = talk(working=order(), headers=NONE_LEFT)
    assert query(made) is False
    assert made.run(lambda: made.gateway.cancel_at_venue("v-1")) is False
    assert [asked.line for asked in made.venue.asked] == [POST]
    made = talk({POST: None, BY_ID: (*ABSENT, NONE_LEFT)}, absent_after_seconds=10.0)
    made.send(order())
    made.loop.leap(10.1)
    assert query(made, again=order()) is False
    assert (made.venue.count(POST), kinds(made.said())) == (1, ["budget"])


def test_an_order_that_was_acknowledged_is_never_absent(talk):
    made = talk({BY_ID: ABSENT}, working=order(), absent_after_seconds=0.0)
    made.loop.leap(60)
    assert query(made) is False
    assert made.said() == []


def test_what_was_missed_is_taken_from_the_history_and_only_the_rest_is_inferred(talk):
    elsewhere = MISSED | {"id": "20261120093000123::e9", "order_id": "elsewhere"}
    made = talk({BY_ID: (200, FILLED), HISTORY: (200, [elsewhere, MISSED])}, working=order())
    assert query(made) is True
    first, second = (one for one in made.said() if isinstance(one, OrderFilled))
    assert (first.execution_id, first.quantity, first.price, second.quantity) == ("e1", 4, D("185.00"), 6)
    assert first.quantity * first.price + second.quantity * second.price == 10 * D("185.14")


def test_a_view_of_the_account_brings_the_executions_that_the_stream_has_missed(talk, account):
    untimed = MISSED | {"id": "20261120093000123::e2", "cum_qty": "8", "transaction_time": "soon"}
    made = talk(account | {HISTORY: (200, [MISSED, untimed])}, working=order())
    assert (viewed(made).fills, made.said()) == ((), [])  # executions were not asked for
    view, said = viewed(made, 0), made.said()
    assert kinds(said) == ["unreadable_time", OrderFilled, OrderFilled]
    assert fills(said)[0] == ("sd-1", "e1", 4, D(185))
    assert said[2].ts_event_ns >= said[1].ts_event_ns
    assert [(fill.execution_id, fill.cumulative) for fill in view.fills] == [("e1", 4), ("e2", 8)]
    assert view.account.cash == 5
    with pytest.raises(RetryError, match="does not return its executions"):
        viewed(talk(account | {HISTORY: BROKEN}), 0)


def test_open_orders_are_shown_by_their_number_where_the_run_knows_the_symbol(talk, account):
    orders = [samples.order(), samples.order(symbol="GME", id="v2", limit_price="5")]
    first, second = viewed(talk(account | {"GET /v2/orders": (200, orders)})).open_orders
    assert (first.symbol, first.instrument_id, first.parent_id) == (samples.STOCK, 0, "")
    assert (second.symbol, second.instrument_id, second.limit_price) == ("GME", None, 5)


# the stream -----------------------------------------------------------------------------------------------

DREAMING, GONE = samples.order(status="dreaming"), {"status": "canceled"}
OTHER = samples.order(id="another-id", filled_qty="4", filled_avg_price="185.14")


def correction(**changes):
    message = samples.fill_update("4", "4", "185.20", previous_execution_id="e-4", execution_id="c-1")
    message["data"] |= {"event": "trade_correct", **changes}
    return message


def test_an_execution_beyond_what_its_order_counts_is_refused_by_name_and_asked_for(talk):
    said = hear(talk(), samples.fill_update("7", "4"), known=[KnownOrder(order())])
    assert kinds(said) == ["implausible_number"] * 2 + [OrderStatusUnknown, "missing_execution"]
    assert "sd-1" in said[0].detail
    assert "quantity 7" in said[0].detail
    assert "at most 4" in said[0].detail


@pytest.mark.rows(
    ("message", "is_known", "expected"),
    [
        (samples.update("new", samples.order()), False, ["unknown_order"]),
        (samples.fill_update(), False, ["unknown_order", "foreign_execution"]),
        (samples.update("new", samples.order(symbol="AMD")), True, ["contradictory_order"] * 2),
        (samples.update("new", samples.order(side="sell")), True, ["contradictory_order"] * 2),
        (correction(previous_execution_id="older"), True, ["unknown_execution"] * 2),
        (samples.update("order_cancel_rejected", reason="too late"), True, [CancelRejected]),
        (samples.update("order_replace_rejected"), True, [CancelRejected]),
        ({"action": "error", "data": {"error_message": "slow consumer"}}, True, ["stream_error"]),
        ({"stream": "trade_updates", "data": {"event": "fill"}}, True, ["malformed_update"] * 2),
        ({"stream": "gossip", "data": {}}, True, ["unknown_stream"]),
        (samples.update("restated", DREAMING), True, ["unknown_status", OrderStatusUnknown]),
        # told before the executions that it counts, an end would free a quantity that is filled
        (samples.update("canceled", OTHER | GONE), True, ["missing_execution", OrderStatusUnknown]),
        (samples.update("canceled", samples.order(**GONE)), True, [OrderAccepted, OrderCancelled]),
        (samples.update("restated", OTHER), True, [OrderAccepted, "missing_execution"]),
        (samples.fill_update("4", "7"), True, [OrderAccepted, OrderFilled, "missing_execution"]),
    ],
)  # fmt: skip
def test_what_a_message_means(talk, message, is_known, expected):
    made = talk()
    said = hear(made, message, known=[KnownOrder(order())] if is_known else [])
    assert kinds(said) == expected
    counted = made.health().counters.get("missing_execution", 0)
    assert counted == expected.count("missing_execution")
    asks = ("foreign_execution", "contradictory_order", "unknown_execution", "malformed_update")
    gap = expected[-1] in asks or "missing_execution" in expected
    told = [one.asks_for_reconciliation for one in said if isinstance(one, Notice)]
    assert told == [False] * (len(told) - gap) + [True] * gap
    if expected[0] == "stream_error":
        assert said[0].detail == "slow consumer"
    if expected == [OrderAccepted, OrderFilled, "missing_execution"]:
        assert said[2].detail == "sd-1: 4 known of 7 filled"
    if expected == [CancelRejected]:
        assert said[0].reason == message["data"].get("reason", "order_replace_rejected")


def test_an_execution_tells_the_orders_id_at_the_venue_once_and_counts_once(talk):
    other = samples.fill_update("4", "8")
    other["data"]["order"]["id"] = "another-id"
    made = talk()
    said = hear(made, samples.fill_update(), samples.fill_update(), other, known=[KnownOrder(order())])
    assert made.gateway._reports.tracker.orders["sd-1"].venue_order_id == samples.ORDER_ID
    assert [name for _, name, _, _ in fills(said)] == ["e-4", "e-8"]
    assert made.health().counters["repeated_execution"] == 1


@pytest.mark.rows(("given", "shown"), [({}, "corrected"), ({"reason": "price was wrong"}, "price was wrong")])
def test_a_correction_takes_the_place_of_the_execution_that_it_names_once(talk, given, shown):
    made, message = talk(), correction(**given)
    said = hear(made, samples.fill_update(), message, message, known=[KnownOrder(order())])
    assert [(quantity, price) for *_, quantity, price in fills(said)] == [(4, D("185.14")), (4, D("185.20"))]
    (bust,) = [one for one in said if isinstance(one, FillBusted)]
    assert (bust.execution_id, bust.reason, bust.is_corrected) == ("e-4", shown, True)
    assert (notices(said), made.health().counters["repeated_execution"]) == ([], 1)
    busted = samples.update("trade_bust", samples.order(), execution_id="e-4", reason="off the market")
    (bust,) = [one for one in hear(talk(), samples.fill_update(), busted, known=[KnownOrder(order())])
               if isinstance(one, FillBusted)]  # fmt: skip
    assert (bust.execution_id, bust.reason, bust.is_corrected) == ("e-4", "off the market", False)


def test_an_execution_is_booked_whatever_its_time_or_the_label_of_its_order(talk):
    update = samples.fill_update("4", "4")
    update["data"]["timestamp"] = "the day before"
    update["data"]["order"]["status"] = "dreaming"
    said = hear(talk(), update, known=[KnownOrder(order())])
    (filled,) = [one for one in said if isinstance(one, OrderFilled)]
    assert (filled.quantity, filled.ts_event_ns, notices(said)) == (4, filled.ts_recv_ns, ["unreadable_time"])


@pytest.mark.rows(("quantity", "is_over"), [(10, False), (13, True)])
def test_an_order_that_came_again_for_less_is_over_with_its_last_execution(talk, quantity, is_over):
    two = [samples.fill_update("4", "4"), samples.fill_update("6", "10")]
    said = hear(talk(), *two, known=[KnownOrder(order(quantity=quantity))])
    assert [one[2] for one in fills(said)] == [4, 6]
    assert isinstance(said[-1], OrderCancelled) is is_over


@pytest.mark.rows(
    ("status", "filled", "is_end"),
    [("filled", "10", False), ("filled", "4", True), ("canceled", "10", True), ("new", "0", False)],
)
def test_an_order_ends_short_of_its_quantity_or_otherwise_than_filled(status, filled, is_end):
    body = samples.order(status=status, filled_qty=filled, filled_avg_price="1")
    assert ends(TrackedOrder(order(), 0), read_order(json.dumps(body).encode())) is is_end


@pytest.mark.rows("status", ["new", "filled"])
@pytest.mark.rows("order_class", ["", "mleg"])
def test_an_order_under_an_id_of_the_venues_own_is_no_leg_of_the_desks(talk, status, order_class):
    # the broker's liquidation sold what an unanswered combo was to sell: it was booked as the combo's leg
    filled = "2" if status == "filled" else "0"
    body = samples.order(
        id="liquidation", client_order_id="venue-made", symbol=samples.PUT, qty="2", filled_qty=filled,
        filled_avg_price="8.1", status=status, order_class=order_class,
    )  # fmt: skip
    event = "fill" if status == "filled" else "new"
    said = hear(talk(), samples.update(event, body, execution_id="x", qty="2", price="8.1"), known=KNOWN_LEGS)
    assert kinds(said) == ["unknown_order"] + ["foreign_execution"] * (status == "filled")


CALL_LEG, PUT_LEG = samples.combo_fill()["data"]["legs"]
HALVES = [CALL_LEG | {"qty": "1", "execution_id": name, "price": f"7.{name}"} for name in "24"]
TWO = [("c", "e-call", D(2), D("7.3")), ("p", "e-put", D(2), D("8.1"))]


@pytest.mark.rows(
    ("legs", "booked", "told"),
    [
        ([CALL_LEG, PUT_LEG], TWO, []),
        ([*HALVES, PUT_LEG], [("c", "2", D(1), D("7.2")), ("c", "4", D(1), D("7.4")), TWO[1]], []),
        ([CALL_LEG, PUT_LEG, CALL_LEG | {"symbol": samples.STOCK}], TWO, ["unknown_order"]),
        (None, [("c", None, D(2), D("7.3")), ("p", None, D(2), D("8.1"))], []),  # spread over the legs
        # what was missed of each is inferred
        ([HALVES[0], PUT_LEG], [("c", "2", D(1), D("7.2")), TWO[1], ("c", None, D(1), D("7.4"))], []),
    ],
)
def test_the_legs_of_a_whole_are_filled_by_their_own_executions_once(talk, legs, booked, told):
    message = samples.combo_fill()
    message["data"]["legs"] = legs
    if legs is None:
        del message["data"]["legs"]
    made = talk()
    said = hear(made, message, message, known=KNOWN_LEGS)
    for found, expected in zip(fills(said), booked, strict=True):
        assert found == (expected if expected[1] else (expected[0], found[1], *expected[2:]))
    assert notices(said)[: len(told) or None] == told
    restarted = [
        KnownOrder(leg, D(2), D(1), is_live=False, parent_id="m", executions={f"e-{name}": (D(2), D("0.5"))})
        for leg, name in zip(LEGS, ("call", "put"), strict=True)
    ]
    assert fills(hear(talk(), message, known=restarted)) == []


@pytest.mark.rows(("action", "is_final"), [("authenticate", True), ("listen", False)])
def test_keys_that_are_refused_on_the_standing_stream_end_it_for_good(talk, action, is_final):
    data = {"status": "unauthorized", "action": action}
    with pytest.raises(StreamRefused) as refused:
        hear(talk(), {"stream": "authorization", "data": data})
    assert refused.value.is_final is is_final


def answer(stream, **data):
    return {"stream": stream, "data": data}


AUTHORIZED = answer("authorization", status="authorized", action="authenticate", message="deprecated")


@pytest.mark.rows(
    ("answers", "is_final"),
    [
        ([AUTHORIZED, answer("listening", streams=["trade_updates"])], None),
        ([{"action": "error", "data": {"error_message": "internal"}}], False),
        ([AUTHORIZED, answer("listening", streams=[])], False),
        ([answer("authorization", status="unauthorized", action="authenticate")], True),
        ([answer("authorization", status="unauthorized", action="listen")], False),
    ],
)
def test_the_hello_authenticates_and_listens_and_is_tried_again_unless_the_keys_are_refused(
    talk, answers, is_final
):
    made, sent, waiting = talk(), [], iter(answers)

    async def send(message):
        sent.append(json.loads(message))

    async def receive():
        return samples.as_json(next(waiting))

    handler = made.gateway._stream._handler
    if is_final is None:
        made.run(lambda: handler.hello(send, receive))
        assert sent == [
            {"action": "auth", "key": "k", "secret": "s"},
            {"action": "listen", "data": {"streams": ["trade_updates"]}},
        ]
        return
    with pytest.raises(StreamRefused) as refused:
        made.run(lambda: handler.hello(send, receive))
    assert refused.value.is_final is is_final


@pytest.mark.rows(("is_final", "kind"), [(True, NoticeKind.DEAD), (False, NoticeKind.DISCONNECTED)])
def test_the_end_of_the_order_stream_is_counted_and_told(talk, is_final, kind):
    made = talk()
    made.gateway._stream._handler.on_down("half_open", "no pong", is_final=is_final)
    (told,) = made.said()
    assert (told.kind, told.stream, told.name, told.detail) == (kind, "orders", "half_open", "no pong")
    assert made.health().counters["orders_half_open"] == 1
