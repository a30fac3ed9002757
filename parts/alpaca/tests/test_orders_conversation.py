"""The gateway's reading of each answer that a venue may give, request by request."""

import asyncio
import json
from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.core.errors import RetryError
from scalpdesk.core.events import (
    CancelRejected,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderStatusUnknown,
)
from scalpdesk.core.intents import (
    CancelOrder,
    MultiLegOrder,
    OrderType,
    Purpose,
    ReplaceOrder,
    Side,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.venues.budget import Urgency
from scalpdesk.venues.contract import Notice, NoticeKind, VenueMinute
from scalpdesk_alpaca.account_messages import CLOCK
from scalpdesk_alpaca.order_messages import read_order
from scalpdesk_testing.kit import alpaca_wire as samples
from scalpdesk_testing.kit.scripted_venue import Conversation

D = Decimal
SHARE, CALL, PUT = (InstrumentId(number) for number in range(3))
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
BY_ID = "GET /v2/orders:by_client_order_id"
HISTORY = "GET /v2/account/activities/FILL"
NONE_LEFT = {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795185060"}
"""Headers of an answer after which no request is left: one comes back each second."""
ACCOUNT = {
    "GET /v2/orders": (200, []),
    HISTORY: (200, []),
    "GET /v2/account": (200, {"id": "mine", "status": "ACTIVE", "cash": "5"}),
    "GET /v2/positions": (200, []),
    "GET /v2/clock": (
        200,
        {
            "timestamp": samples.AT_TEXT,
            "is_open": True,
            "next_open": "2026-11-23T09:30:00-05:00",
            "next_close": "2026-11-20T16:00:00-05:00",
        },
    ),
    "GET /v2/account/activities": (200, []),
    f"GET /v2/assets/{samples.STOCK}": ABSENT,
}
"""Answers to a view of an account without anything."""
ORDER = f"/v2/orders/{samples.ORDER_ID}"


def book():
    return Instruments([Equity(samples.STOCK), us_option(samples.OPTION), us_option(samples.PUT)])


def order(name="sd-1", number=SHARE, quantity=10, purpose=Purpose.HEDGE, limit=None):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else D(limit)
    return SubmitOrder(name, number, Side.BUY, D(quantity), kind, price, TimeInForce.DAY, purpose)


LOOPS = []


@pytest.fixture(autouse=True)
def _loops_end_with_the_test():
    yield
    while LOOPS:
        LOOPS.pop().close()


def talk(answers, **options):
    """Answer by the request's line; a list is used up from its front, its last answer stays."""

    def answer(asked):
        found = answers[asked.line]
        if callable(found):
            return found(asked)
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found

    made = Conversation(book(), answer, samples.AT_NS, **options)
    LOOPS.append(made)
    return made


def kinds(said):
    return [one.name if isinstance(one, Notice) else type(one) for one in said]


def in_the_market(answers, headers=None, **options):
    """Return a conversation in which the order sd-1 works at the venue; ``headers`` are of its answer."""
    made = talk({"POST /v2/orders": (200, WORKING, headers or {}), **answers}, **options)
    assert kinds(made.send(order())) == [OrderAccepted]
    return made


# orders ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, WORKING), [OrderAccepted]),
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
    ],
)
def test_what_becomes_of_an_order_by_the_answer_to_it(answer, expected):
    made = talk({"POST /v2/orders": answer})
    assert kinds(made.send(order())) == expected
    assert made.health().in_flight == 0


@pytest.mark.parametrize("status", ["canceled", "expired", "rejected"])
def test_an_answer_that_shows_the_end_with_executions_unknown_asks_for_them_first(status):
    over = samples.order(status=status, filled_qty="4", filled_avg_price="185.14")
    made = talk({"POST /v2/orders": (200, over), BY_ID: (200, over), HISTORY: (200, [])})
    assert kinds(made.send(order())) == ["missing_execution", OrderStatusUnknown]
    assert made.run(lambda: made.gateway.query_order("sd-1")) is True
    _, filled, end = made.said()
    assert (filled.quantity, filled.price) == (4, D("185.14"))
    assert type(end) in (OrderCancelled, OrderExpired)


def test_an_answer_that_shows_the_whole_filled_leaves_the_executions_to_the_stream():
    assert kinds(talk({"POST /v2/orders": (200, FILLED)}).send(order())) == [OrderAccepted]


def test_the_answer_to_another_order_is_none_and_its_connection_is_given_up_at_once():
    made = talk({"POST /v2/orders": (200, samples.order(client_order_id="sd-9"))})
    began = made.loop.time()
    assert kinds(made.send(order())) == [OrderStatusUnknown]
    assert made.loop.time() - began < 1.0


def test_only_refused_keys_end_the_session():
    dead = talk({"POST /v2/orders": NO_KEYS}).send(order())
    assert [one.kind for one in dead if isinstance(one, Notice)] == [NoticeKind.DEAD]
    alive = talk({"POST /v2/orders": NO_OPTIONS}).send(order())
    assert [one for one in alive if isinstance(one, Notice)] == []
    assert alive[0].reason == "HTTP 403 40310000 account not authorized to trade options"


@pytest.mark.parametrize("code", [40010001, 42210000])
def test_an_id_that_was_used_is_looked_up_and_never_sent_again(code):
    duplicate = (422, {"code": code, "message": "client_order_id must be unique"})
    made = talk({"POST /v2/orders": duplicate, BY_ID: (200, FILLED), HISTORY: (200, [])})
    said = made.send(order())
    assert kinds(said) == [OrderStatusUnknown, OrderAccepted, OrderFilled]
    assert (said[2].quantity, said[2].price) == (10, D("185.14"))
    assert made.venue.count("POST /v2/orders") == 1


def test_a_refusal_of_an_order_that_the_stream_has_shown_at_the_venue_is_not_believed():
    # its request came twice on the line: the second was refused, the first order works on
    def shown_first(_asked):
        tracker = made.gateway._reports.tracker
        made.gateway._publisher.publish(tracker.accept(tracker.orders["sd-1"], "v-1", 1, 1))
        return REFUSAL

    made = talk({"POST /v2/orders": shown_first, BY_ID: (200, WORKING), HISTORY: (200, [])})
    assert kinds(made.send(order())) == [OrderAccepted, OrderStatusUnknown, OrderAccepted]


def test_nothing_is_sent_before_the_gateway_is_connected_or_while_the_line_is_down():
    made = talk({}, is_connected=False)
    said = made.send(order())
    assert kinds(said) == [OrderStatusUnknown, OrderNotFound]
    assert said[0].reason == "not sent: the gateway is not connected"
    made.gateway._path.is_open = True
    made.venue.is_down = True
    assert kinds(made.send(order("sd-2"))) == [OrderStatusUnknown, OrderNotFound]
    assert made.venue.asked == []


def test_a_fault_while_a_connection_is_made_is_not_waited_for():
    made = talk({})

    async def connect(_protocol):
        raise UnicodeError("label too long")

    made.venue.connect = connect
    said = made.send(order())
    assert kinds(said) == [OrderStatusUnknown, OrderNotFound]
    assert made.loop.time() < 1


def test_a_combo_that_is_refused_rejects_each_leg_and_one_without_an_answer_is_in_doubt():
    legs = (order("c", CALL, 2, Purpose.OPEN), order("p", PUT, 2, Purpose.OPEN))
    said = talk({"POST /v2/orders": NO_OPTIONS}).send(MultiLegOrder("m", legs, None))
    assert [(type(one), one.client_order_id) for one in said] == [(OrderRejected, "c"), (OrderRejected, "p")]
    made = talk({"POST /v2/orders": None, BY_ID: ABSENT}, absent_after_seconds=5.0)
    assert kinds(made.send(MultiLegOrder("m", legs, None))) == [OrderStatusUnknown] * 2
    made.loop.leap(6)
    assert made.run(lambda: made.gateway.query_order("p")) is True
    assert [(type(one), one.client_order_id) for one in made.said()] == [
        (OrderNotFound, "c"),
        (OrderNotFound, "p"),
    ]
    assert made.venue.asked[-1].query["client_order_id"] == "m"


LEGS = (order("c", CALL, 2, Purpose.OPEN), order("p", PUT, 2, Purpose.OPEN))
COMBO = MultiLegOrder("m", LEGS, None)


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


def by_leg(said):
    return [(type(one), one.client_order_id) for one in said]


@pytest.mark.parametrize("legs", [None, {"c": "0", "p": "0"}])
@pytest.mark.parametrize(("status", "end"), [("new", []), ("canceled", [OrderCancelled])])
def test_an_answer_to_a_combo_says_of_each_leg_what_it_says_of_the_whole(legs, status, end):
    made = talk({"POST /v2/orders": (200, whole(status, legs=legs))})
    kinds_of_leg = [OrderAccepted, *end]
    assert by_leg(made.send(COMBO)) == [(kind, name) for name in "cp" for kind in kinds_of_leg]
    ids = {name: one.venue_order_id for name, one in made.gateway._reports.tracker.orders.items()}
    assert ids == ({"c": "", "p": ""} if legs is None else {"c": "leg-c", "p": "leg-p"})
    made.send(CancelOrder("p"))
    if status == "new":  # a leg is cancelled with its combo
        assert made.venue.asked[-1].line == "DELETE /v2/orders/v-m"


def test_a_filled_combo_without_its_legs_is_left_to_the_stream():
    made = talk({"POST /v2/orders": (200, whole("filled", "2"))})
    assert made.send(COMBO) == []


def test_legs_are_caught_up_from_the_history_and_shown_with_their_combo():
    shown = whole("partially_filled", "1", {"c": "1", "p": "1"})
    row = {
        "id": "20261120093000123::e1", "activity_type": "FILL", "order_id": "leg-c",
        "symbol": samples.OPTION, "side": "buy", "qty": "1", "cum_qty": "1", "price": "7.3",
        "transaction_time": samples.AT_TEXT,
    }  # fmt: skip
    answers = {"POST /v2/orders": (200, whole()), BY_ID: (200, shown), HISTORY: (200, [row])}
    answers = {**ACCOUNT, **answers, "GET /v2/orders": (200, [shown])}
    made = talk({**answers, "DELETE /v2/orders/v-m": (204, None)})
    made.send(COMBO)
    assert made.run(lambda: made.gateway.query_order("p")) is True
    said = made.said()
    assert [(one.client_order_id, one.quantity) for one in said if isinstance(one, OrderFilled)] == [
        ("c", D(1)),
        ("p", D(1)),
    ]
    assert said[0].execution_id == "e1"
    asked = next(one for one in made.venue.asked if one.line == HISTORY)
    assert asked.query["after"] == "2026-11-20T14:29:59.123456789Z"  # a second before it was sent
    view = viewed(made).open_orders
    assert [(one.client_order_id, one.parent_id, one.filled) for one in view] == [
        ("c", "m", D(1)),
        ("p", "m", D(1)),
    ]
    assert made.run(lambda: made.gateway.cancel_at_venue("leg-p")) is True
    assert made.venue.asked[-1].line == "DELETE /v2/orders/v-m"


def test_a_fault_of_our_own_is_counted_and_asks_for_a_look_at_the_account(monkeypatch):
    made = talk({"POST /v2/orders": (200, WORKING)})

    def broken(*_, **__):
        raise ValueError("x" * 300)

    monkeypatch.setattr(made.gateway._reports, "apply", broken)
    (gap,) = made.send(order())
    assert (gap.kind, gap.name) == (NoticeKind.GAP, "internal_fault")
    assert gap.detail.startswith("ValueError('xxx")
    assert len(gap.detail) == 200
    assert made.health().counters["internal_fault"] == 1
    assert made.health().in_flight == 0


def test_a_fault_of_our_own_before_the_answer_leaves_an_order_in_doubt_that_absence_ends(monkeypatch):
    made = talk({"POST /v2/orders": (200, WORKING), BY_ID: ABSENT}, absent_after_seconds=10.0)
    sender = made.gateway._path.wire
    outcome = sender._client.outcome

    async def broken(answering):
        await outcome(answering)
        raise ValueError("odd")

    monkeypatch.setattr(sender._client, "outcome", broken)
    doubt, gap = made.send(order())
    assert (type(doubt), doubt.reason) == (
        OrderStatusUnknown,
        "its answer met a fault of our own: ValueError('odd')",
    )
    assert (gap.kind, gap.name) == (NoticeKind.GAP, "internal_fault")
    monkeypatch.undo()
    for wait_seconds, proof in ((9.0, False), (2.0, True)):
        made.run(lambda wait_seconds=wait_seconds: asyncio.sleep(wait_seconds))
        assert made.run(lambda: made.gateway.query_order("sd-1")) is proof
    assert kinds(made.said()) == [OrderNotFound]


# cancels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((204, None), []),
        (ABSENT, [CancelRejected]),
        (NO_OPTIONS, [CancelRejected]),
        (BROKEN, [OrderStatusUnknown]),
        (None, [OrderStatusUnknown]),
        ([LIMITED, (204, None)], ["rate_limited"]),
        ([LIMITED, BROKEN], ["rate_limited", OrderStatusUnknown]),
    ],
)
def test_what_becomes_of_a_cancel_by_the_answer_to_it(answer, expected):
    made = in_the_market({f"DELETE {ORDER}": answer})
    assert kinds(made.send(CancelOrder("sd-1"))) == expected


def asked_after(made, command, seconds):
    """Send a command and let time pass; return what was published, and when the venue was asked by id."""
    asked_at, answer = [], made.venue.answer
    began = made.loop.time()

    def note(asked):
        if asked.line == BY_ID:
            asked_at.append(round(made.loop.time() - began))
        return answer(asked)

    async def scenario():
        made.gateway.send(command)
        await asyncio.sleep(seconds)

    made.venue.answer = note
    made.run(scenario)
    return made.said(), asked_at


def test_a_cancel_that_the_venue_took_and_dropped_is_refused_after_five_seconds():
    made = in_the_market({f"DELETE {ORDER}": (204, None), BY_ID: (200, WORKING)})
    said, asked_at = asked_after(made, CancelOrder("sd-1"), 100.0)
    assert kinds(said) == [CancelRejected]
    assert said[0].reason == "the venue took the cancel and works the order on"
    assert asked_at == [5]
    said, asked_at = asked_after(made, CancelOrder("sd-1"), 100.0)  # tried again, and lost again
    assert (kinds(said), asked_at) == ([CancelRejected], [10])


def test_a_cancel_that_is_under_way_or_unanswered_is_asked_after_ever_more_seldom():
    pending, over = samples.order(status="pending_cancel"), samples.order(status="canceled")
    answers = [(200, pending), BROKEN, (200, pending), (200, over)]
    made = in_the_market({f"DELETE {ORDER}": (204, None), BY_ID: answers})
    said, asked_at = asked_after(made, CancelOrder("sd-1"), 500.0)
    assert kinds(said) == [OrderCancelled]
    assert asked_at == [5, 15, 35, 75]


def test_a_cancel_that_ends_its_order_is_not_asked_after():
    made = in_the_market({f"DELETE {ORDER}": (204, None)})

    async def scenario():
        made.gateway.send(CancelOrder("sd-1"))
        made.gateway.send(CancelOrder("sd-1"))
        await asyncio.sleep(1.0)
        made.gateway._reports.apply(
            made.gateway._reports.tracker.orders["sd-1"],
            read_order(json.dumps(samples.order(status="canceled")).encode()),
            infer=False,
        )
        await asyncio.sleep(100.0)

    made.run(scenario)
    assert kinds(made.said()) == [OrderCancelled]
    assert made.venue.count(BY_ID) == 0


def test_a_combo_whose_cancel_was_dropped_is_known_by_the_leg_that_was_cancelled():
    shown = whole(legs={"c": "0", "p": "0"})
    made = talk({"POST /v2/orders": (200, shown), "DELETE /v2/orders/v-m": (204, None), BY_ID: (200, shown)})
    made.send(COMBO)
    said, asked_at = asked_after(made, CancelOrder("p"), 20.0)
    assert [(type(one), one.client_order_id) for one in said] == [(CancelRejected, "p")]
    assert asked_at == [5]


def test_a_cancel_that_comes_too_late_learns_the_orders_end_first():
    made = in_the_market({f"DELETE {ORDER}": TOO_LATE, BY_ID: (200, FILLED), HISTORY: (200, [])})
    assert kinds(made.send(CancelOrder("sd-1"))) == [OrderFilled]  # what is over needs no refusal
    made = in_the_market({f"DELETE {ORDER}": TOO_LATE, BY_ID: BROKEN})
    assert kinds(made.send(CancelOrder("sd-1"))) == [CancelRejected]


def test_a_cancel_is_tried_five_times_against_the_rate_limit_and_no_more():
    made = in_the_market({f"DELETE {ORDER}": LIMITED})
    said = made.send(CancelOrder("sd-1"))
    assert kinds(said) == ["rate_limited"] * 5 + [CancelRejected]
    assert said[-1].reason == "the venue's rate limit"
    assert made.venue.count(f"DELETE {ORDER}") == 5


def test_a_cancel_for_which_no_request_is_left_waits_for_one():
    asked_at = []
    answers = {f"DELETE {ORDER}": lambda _asked: asked_at.append(made.loop.time()) or (204, None)}
    made = in_the_market(answers, headers=NONE_LEFT)
    assert made.health().requests_left == 0
    answered_at = made.loop.time()
    assert made.send(CancelOrder("sd-1")) == []
    assert asked_at == [pytest.approx(answered_at + 1.0, abs=0.05)]


def test_a_cancel_of_an_order_that_the_venue_does_not_know_yet_asks_twice_a_second_apart():
    made = talk({"POST /v2/orders": None, BY_ID: ABSENT}, absent_after_seconds=60.0)
    assert kinds(made.send(order())) == [OrderStatusUnknown]
    began = made.loop.time()
    said = made.send(CancelOrder("sd-1"))
    assert kinds(said) == [CancelRejected]
    assert said[0].reason == "its order is not known at the venue yet"
    assert made.venue.count(BY_ID) == 2
    assert 1.0 <= made.loop.time() - began < 1.1


@pytest.mark.parametrize(
    ("answer", "is_taken"),
    [((204, None), True), (ABSENT, True), (TOO_LATE, True), (BROKEN, False), (LIMITED, False), (None, False)],
)
def test_a_cancel_by_the_venues_id_says_whether_the_venue_took_it(answer, is_taken):
    made = talk({"DELETE /v2/orders/v-1": answer})
    assert made.run(lambda: made.gateway.cancel_at_venue("v-1")) is is_taken


# replacements ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, samples.order(id="v-2", client_order_id="sd-2")), [OrderAccepted]),
        (REFUSAL, [OrderRejected, CancelRejected]),
        (BROKEN, [OrderStatusUnknown, OrderStatusUnknown]),
        (None, [OrderStatusUnknown, OrderStatusUnknown]),
        ((422, {"message": "client_order_id must be unique"}), [OrderStatusUnknown, OrderStatusUnknown]),
    ],
)
def test_what_becomes_of_a_replacement_by_the_answer_to_it(answer, expected):
    made = in_the_market({f"PATCH {ORDER}": answer})
    said = made.send(ReplaceOrder("sd-1", order("sd-2", quantity=12, limit="185")))
    assert kinds(said) == expected
    assert made.venue.asked[-1].body == {
        "qty": "12",
        "time_in_force": "day",
        "client_order_id": "sd-2",
        "limit_price": "185",
    }


@pytest.mark.parametrize(
    "text", ["cannot replace order in filled status", "order already replaced", "qty must be > filled_qty"]
)
def test_a_replacement_that_comes_too_late_rejects_the_new_order_and_learns_the_olds_end(text):
    answers = {
        f"PATCH {ORDER}": (422, {"code": 42210000, "message": text}),
        BY_ID: (200, FILLED),
        HISTORY: (200, []),
    }
    said = in_the_market(answers).send(ReplaceOrder("sd-1", order("sd-2")))
    assert [(type(one), one.client_order_id) for one in said] == [
        (OrderFilled, "sd-1"),
        (OrderRejected, "sd-2"),
    ]


def test_a_replacement_that_was_refused_and_yet_took_place_is_found():
    new_id = "7c5f3ad0-8f3e-4b52-9f0e-2f1b3f5d9a10"
    shown = {
        "sd-1": samples.order(status="replaced", replaced_by=new_id),
        "sd-2": samples.order(id=new_id, client_order_id="sd-2", replaces=samples.ORDER_ID),
    }
    answers = {
        f"PATCH {ORDER}": (422, {"code": 42210000, "message": "order already replaced"}),
        BY_ID: lambda asked: (200, shown[asked.query["client_order_id"]]),
        HISTORY: (200, []),
    }
    said = in_the_market(answers).send(ReplaceOrder("sd-1", order("sd-2")))
    assert [(type(one), one.client_order_id) for one in said] == [
        (OrderCancelled, "sd-1"),
        (OrderStatusUnknown, "sd-2"),
        (OrderAccepted, "sd-2"),
    ]


def test_a_replacement_of_an_order_that_the_venue_does_not_know_is_not_sent():
    made = talk({"POST /v2/orders": None, BY_ID: ABSENT}, absent_after_seconds=60.0)
    made.send(order())
    said = made.send(ReplaceOrder("sd-1", order("sd-2")))
    assert [(type(one), one.client_order_id) for one in said] == [
        (OrderStatusUnknown, "sd-2"),
        (OrderNotFound, "sd-2"),
        (CancelRejected, "sd-1"),
    ]


@pytest.mark.parametrize("why", ["replacement held back", "the venue cannot be reached"])
def test_a_replacement_that_never_left_leaves_the_old_order_as_it_is(why):
    is_held_back = why == "replacement held back"
    made = in_the_market({f"DELETE {ORDER}": None}, headers=NONE_LEFT if is_held_back else {})
    if not is_held_back:
        made.send(CancelOrder("sd-1"))  # the connection breaks
        made.venue.is_down = True
    said = made.send(ReplaceOrder("sd-1", order("sd-2")))
    assert [(type(one), one.client_order_id) for one in said if not isinstance(one, Notice)] == [
        (OrderStatusUnknown, "sd-2"),
        (OrderNotFound, "sd-2"),
        (CancelRejected, "sd-1"),
    ]
    assert said[-1].reason == why
    assert made.venue.count(f"PATCH {ORDER}") == 0


def test_without_requests_left_an_order_is_neither_asked_about_nor_cancelled_by_the_venues_id():
    made = in_the_market({}, headers=NONE_LEFT)
    assert made.run(lambda: made.gateway.query_order("sd-1")) is False
    assert made.run(lambda: made.gateway.cancel_at_venue("v-1")) is False
    assert [asked.line for asked in made.venue.asked] == ["POST /v2/orders"]


# proof -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "history", "told"),
    [
        (samples.order(status="?"), [], ["unknown_status", OrderStatusUnknown]),
        (samples.order(side="?"), [], ["bad_side"]),
        (FILLED, [{"id": 7}], []),  # executions that cannot be read
        (FILLED, BROKEN, []),
        (samples.order(client_order_id="other"), [], []),
        (whole(legs={"c": "0", "p": "0"}), [], []),  # a combo from elsewhere
    ],
)
def test_an_answer_that_cannot_be_believed_is_no_proof(shown, history, told):
    made = in_the_market({BY_ID: (200, shown), HISTORY: history if history is BROKEN else (200, history)})
    assert made.run(lambda: made.gateway.query_order("sd-1")) is False
    assert kinds(made.said()) == told


def test_an_order_that_is_still_wanted_goes_out_again_under_its_id_and_works():
    made = talk({"POST /v2/orders": [None, (200, WORKING)], BY_ID: ABSENT}, absent_after_seconds=10.0)
    made.send(order())
    for wait_seconds, posts in ((9.9, 1), (0.2, 2)):
        made.loop.leap(wait_seconds)
        assert made.run(lambda: made.gateway.query_order("sd-1", order())) is False
        assert made.venue.count("POST /v2/orders") == posts
    assert kinds(made.said()) == [OrderAccepted]
    first, second = (asked for asked in made.venue.asked if asked.line == "POST /v2/orders")
    assert first.body == second.body
    assert made.health().counters["order_sent_again"] == 1


@pytest.mark.parametrize(
    ("second", "shown", "expected"),
    [
        (DUPLICATE, (200, WORKING), [OrderStatusUnknown, OrderAccepted]),  # the first one came meanwhile
        (NO_OPTIONS, (200, WORKING), [OrderAccepted]),  # which may be why it is refused
        (NO_OPTIONS, ABSENT, []),  # the first one may still come, and not be refused
        (BROKEN, ABSENT, [OrderStatusUnknown]),
        (None, ABSENT, [OrderStatusUnknown]),
    ],
)
def test_what_the_answer_to_a_repeated_order_proves(second, shown, expected):
    absent_twice = [ABSENT, shown]
    made = talk({"POST /v2/orders": [None, second], BY_ID: absent_twice}, absent_after_seconds=10.0)
    made.send(order())
    made.loop.leap(10.1)
    assert made.run(lambda: made.gateway.query_order("sd-1", order())) is False
    assert kinds(made.said()) == expected


def test_a_repeated_order_that_is_refused_is_over_once_its_first_request_is_a_minute_old():
    made = talk({"POST /v2/orders": [None, NO_OPTIONS], BY_ID: ABSENT}, absent_after_seconds=10.0)
    made.loop.leap(1.0)
    made.send(order())
    ends = []
    for _ in range(7):
        made.loop.leap(10.1)
        made.run(lambda: made.gateway.query_order("sd-1", order()))
        ends.append(kinds(made.said()))
    assert ends == [[]] * 5 + [[OrderRejected], []]


def test_a_repeated_order_may_be_smaller_and_ends_when_that_is_filled():
    small = samples.order(status="filled", qty="4", filled_qty="4", filled_avg_price="185.14")
    shown = [ABSENT, (200, small)]
    made = talk({"POST /v2/orders": [None, (200, small)], BY_ID: shown, HISTORY: (200, [])})
    made.send(order())
    made.loop.leap(20.0)
    made.run(lambda: made.gateway.query_order("sd-1", order(quantity=4)))
    assert made.run(lambda: made.gateway.query_order("sd-1", order(quantity=4))) is True
    said = [one for one in made.said() if not isinstance(one, Notice)]
    assert kinds(said) == [OrderAccepted, OrderFilled, OrderCancelled]
    assert said[1].quantity == 4


@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_combo_in_doubt_goes_out_again_whole(is_wanted):
    made = talk({"POST /v2/orders": [None, (200, whole())], BY_ID: ABSENT}, absent_after_seconds=10.0)
    made.send(COMBO)
    made.loop.leap(10.1)
    wanted = COMBO if is_wanted else None
    assert made.run(lambda: made.gateway.query_order("p", wanted)) is not is_wanted
    assert kinds(made.said()) == ([OrderAccepted] if is_wanted else [OrderNotFound]) * 2


def test_without_requests_left_a_wanted_order_stays_in_doubt():
    made = talk({"POST /v2/orders": None, BY_ID: (*ABSENT, NONE_LEFT)}, absent_after_seconds=10.0)
    made.send(order())
    made.loop.leap(10.1)
    assert made.run(lambda: made.gateway.query_order("sd-1", order())) is False
    assert made.venue.count("POST /v2/orders") == 1
    assert kinds(made.said()) == ["budget"]


def test_an_order_that_was_acknowledged_is_never_absent():
    made = in_the_market({BY_ID: ABSENT}, absent_after_seconds=0.0)
    made.loop.leap(60)
    assert made.run(lambda: made.gateway.query_order("sd-1")) is False
    assert made.said() == []


MISSED = {
    "id": "20261120093000123::e1", "activity_type": "FILL", "order_id": samples.ORDER_ID,
    "symbol": samples.STOCK, "side": "buy", "qty": "4", "cum_qty": "4", "price": "185.00",
    "transaction_time": samples.AT_TEXT,
}  # fmt: skip
"""A part of the order, as the account's history has it."""


def test_what_was_missed_is_taken_from_the_history_and_only_the_rest_is_inferred():
    elsewhere = MISSED | {"id": "20261120093000123::e9", "order_id": "elsewhere"}
    made = in_the_market({BY_ID: (200, FILLED), HISTORY: (200, [elsewhere, MISSED])})
    assert made.run(lambda: made.gateway.query_order("sd-1")) is True
    first, second = (one for one in made.said() if isinstance(one, OrderFilled))
    assert (first.execution_id, first.quantity, first.price) == ("e1", 4, D("185.00"))
    assert second.quantity == 6
    assert first.quantity * first.price + second.quantity * second.price == 10 * D("185.14")


def viewed(made, since_ns=None):
    """Return the account as the gateway shows it."""
    return made.run(lambda: made.gateway.snapshot(fills_since_ns=since_ns))


def test_a_view_of_the_account_brings_the_executions_that_the_stream_has_missed():
    made = in_the_market({**ACCOUNT, HISTORY: (200, [MISSED])})
    assert viewed(made).fills == ()
    assert made.said() == []  # executions were not asked for
    view = viewed(made, 0)
    (filled,) = made.said()
    assert (filled.execution_id, filled.quantity, filled.price) == ("e1", 4, D(185))
    assert [(fill.execution_id, fill.cumulative) for fill in view.fills] == [("e1", 4)]
    assert view.account.cash == 5


def test_the_end_of_an_order_is_named_after_what_the_venue_says():
    for status, expected in (("canceled", OrderCancelled), ("replaced", OrderCancelled)):
        made = in_the_market({BY_ID: (200, samples.order(status=status, replaced_by="v-2"))})
        assert made.run(lambda made=made: made.gateway.query_order("sd-1"))
        assert kinds(made.said()) == [expected]


# questions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_venue_that_refuses_its_activities_is_asked_for_the_rest_all_the_same(status):
    made = talk({**ACCOUNT, "GET /v2/account/activities": (status, {"message": "no"})})
    assert viewed(made, samples.AT_NS).activities == ()
    assert kinds(made.said()) == ["activities_refused"]


@pytest.mark.parametrize("answer", [BROKEN, NO_OPTIONS, (200, b"[1]"), None])
def test_activities_that_do_not_come_leave_no_view_of_the_account(answer):
    made = talk({**ACCOUNT, "GET /v2/account/activities": answer})
    with pytest.raises(RetryError):
        viewed(made, samples.AT_NS)


def test_activities_are_asked_from_five_days_before():
    made = talk(ACCOUNT)
    viewed(made, samples.AT_NS)
    (asked,) = [asked for asked in made.venue.asked if asked.line == "GET /v2/account/activities"]
    assert asked.query["after"] == "2026-11-15T14:30:00.123456789Z"


def test_a_contract_that_cannot_be_read_is_left_out_and_named():
    page = {"option_contracts": [{"symbol": 7}], "next_page_token": None}
    made = talk({"GET /v2/options/contracts": (200, page)})
    asked = made.gateway.discover(samples.STOCK, date(2026, 11, 20), date(2026, 12, 18))
    assert made.run(lambda: asked) == ()
    assert kinds(made.said()) == ["malformed_contract"]


@pytest.mark.parametrize(("number", "kind"), [(SHARE, "/v2/stocks"), (CALL, "/v1beta1/options")])
def test_a_latest_quote_that_cannot_be_read_is_counted_and_named_as_an_answer(number, kind):
    symbol = book()[number].symbol
    made = talk({f"GET {kind}/quotes/latest": (200, {"quotes": {symbol: {"t": None}}})})
    assert made.run(lambda: made.gateway.quotes([number])) == ()
    assert [(one.kind, one.stream, one.name) for one in made.said()] == [
        (NoticeKind.REFUSED, "requests", "malformed_quote")
    ]
    assert made.health().counters["malformed_quote"] == 1


def test_open_orders_are_asked_page_by_page_and_each_comes_once():
    def page(asked):
        after = asked.query.get("after")
        numbers = range(500) if after is None else range(499, 700)
        stamp = "2026-11-20T14:30:00.000000000Z"
        return 200, [
            samples.order(id=f"v-{n}", client_order_id=f"o-{n}", submitted_at=stamp) for n in numbers
        ]

    made = talk({**ACCOUNT, "GET /v2/orders": page})
    found = viewed(made).open_orders
    assert [one.venue_order_id for one in found] == [f"v-{n}" for n in range(700)]
    asked = [one for one in made.venue.asked if one.line == "GET /v2/orders"]
    assert [one.query.get("after") for one in asked] == [None, "2026-11-20T14:29:59.999999000Z"]
    dreaming = samples.order(status="?", id="v-2", client_order_id="o-2")
    made = talk({**ACCOUNT, "GET /v2/orders": (200, [WORKING, dreaming])})
    assert [(one.status, one.is_open) for one in viewed(made).open_orders] == [("new", True), ("?", True)]
    made = talk({**ACCOUNT, "GET /v2/orders": (200, [WORKING, samples.order(side="?")])})
    with pytest.raises(RetryError, match="cannot be believed"):
        viewed(made)


def test_what_may_be_sold_short_is_asked_again_after_ten_minutes_and_after_a_failure():
    fine = {
        "symbol": samples.STOCK,
        "status": "active",
        "tradable": True,
        "shortable": True,
        "easy_to_borrow": True,
    }
    line = f"GET /v2/assets/{samples.STOCK}"
    made = talk({**ACCOUNT, line: [BROKEN, (200, fine)]})

    def asked():
        return viewed(made).shortable

    assert asked() == ()
    assert asked() == asked() == (SHARE,)
    assert made.venue.count(line) == 2
    made.loop.leap(599)
    asked()
    assert made.venue.count(line) == 2
    made.loop.leap(2)
    asked()
    assert made.venue.count(line) == 3


def test_bars_of_all_pages_in_order_each_once_and_pages_that_never_end_are_given_up():
    def bar(minute):
        return {"t": f"2026-11-20T14:{minute:02d}:00Z", "o": 1, "h": 3, "l": 1, "c": 2, "v": 5}

    def page(asked):
        token = asked.query.get("page_token")
        rows = [bar(32), bar(30)] if token is None else [bar(31), bar(30)]
        return 200, {"bars": {samples.STOCK: rows}, "next_page_token": "p2" if token is None else None}

    made = talk({"GET /v2/stocks/bars": page})
    found = made.run(lambda: made.gateway.minute_bars(SHARE, date(2026, 11, 20), date(2026, 11, 20)))
    assert [(one.start_ns - samples.AT_NS) // 60_000_000_000 for one in found] == [-1, 0, 1]
    assert found[0] == VenueMinute(found[0].start_ns, 1, 3, 1, 2, 5)
    endless = {"bars": {}, "next_page_token": "again"}
    made = talk({"GET /v2/stocks/bars": (200, endless)}, data_requests_per_minute=60_000)
    with pytest.raises(RetryError, match="do not end"):
        made.run(lambda: made.gateway.daily_bars(SHARE, date(2026, 11, 20), date(2026, 11, 20)))
    assert len(made.venue.asked) == 500


def test_splits_of_all_pages_by_their_ex_date_each_once():
    def split(day, new, old, symbol=samples.STOCK):
        return {"id": day, "symbol": symbol, "new_rate": new, "old_rate": old, "ex_date": day}

    def page(asked):
        assert asked.query["types"] == "forward_split,reverse_split"
        if asked.query.get("page_token") is None:
            rows = [split("2026-11-19", 3, 2), split("2026-11-17", 4, 1, "OTHER")]
            return 200, {"corporate_actions": {"forward_splits": rows}, "next_page_token": "p2"}
        rows = [split("2026-11-18", 1, 10), split("2026-11-21", 1, 2)]
        listed = {"forward_splits": [split("2026-11-19", 3, 2)], "reverse_splits": rows}
        return 200, {"corporate_actions": listed, "next_page_token": None}

    made = talk({"GET /v1/corporate-actions": page})
    found = made.run(lambda: made.gateway.splits(SHARE, date(2026, 11, 17), date(2026, 11, 20)))
    assert [(one.symbol, one.ex_date.day, one.ratio) for one in found] == [
        (samples.STOCK, 18, Decimal("0.1")),
        (samples.STOCK, 19, Decimal("1.5")),
    ]


@pytest.mark.parametrize(
    "wrong",
    [{"new_rate": 0}, {"old_rate": -1}, {"ex_date": "soon"}, {"new_rate": 10**9}, {"old_rate": None}],
)
def test_a_split_that_cannot_be_believed_is_no_split(wrong):
    row = {"symbol": samples.STOCK, "new_rate": 4, "old_rate": 1, "ex_date": "2026-11-19", **wrong}
    listed = {"corporate_actions": {"forward_splits": [row]}, "next_page_token": None}
    made = talk({"GET /v1/corporate-actions": (200, listed)})
    with pytest.raises(RetryError, match="cannot be believed"):
        made.run(lambda: made.gateway.splits(SHARE, date(2026, 11, 17), date(2026, 11, 20)))


def test_declared_dividends_are_read_a_page_at_a_time_and_a_special_one_is_left_out():
    def page(asked):
        assert asked.query["types"] == "cash_dividend"
        if asked.query.get("page_token") is None:
            rows = [paid("2026-12-18", 1.31), paid("2026-12-11", 9.0, special=True)]
            return 200, {"corporate_actions": {"cash_dividends": rows}, "next_page_token": "p2"}
        rows = [paid("2026-09-18", 1.25), paid("2026-09-18", 7.0, symbol="OTHER")]
        return 200, {"corporate_actions": {"cash_dividends": rows}, "next_page_token": None}

    def paid(day, rate, **more):
        return {"symbol": samples.STOCK, "rate": rate, "ex_date": day, "special": False, **more}

    made = talk({"GET /v1/corporate-actions": page})
    found = made.run(lambda: made.gateway.dividends(SHARE, date(2025, 11, 20), date(2027, 11, 20)))
    assert [(one.symbol, one.ex_date, one.amount) for one in found] == [
        (samples.STOCK, date(2026, 9, 18), Decimal("1.25")),
        (samples.STOCK, date(2026, 12, 18), Decimal("1.31")),
    ]


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"rate": -1}, {"ex_date": "soon"}, {"rate": None}])
def test_a_dividend_that_cannot_be_believed_is_no_dividend(wrong):
    row = {"symbol": samples.STOCK, "rate": 1.25, "ex_date": "2026-12-18", **wrong}
    listed = {"corporate_actions": {"cash_dividends": [row]}, "next_page_token": None}
    made = talk({"GET /v1/corporate-actions": (200, listed)})
    with pytest.raises(RetryError, match="cannot be believed"):
        made.run(lambda: made.gateway.dividends(SHARE, date(2026, 11, 17), date(2027, 11, 20)))


def test_the_venues_own_count_of_requests_is_believed():
    headers = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "1795185060"}
    made = talk({**ACCOUNT, "GET /v2/clock": (429, {"message": "rate limit exceeded"}, headers)})
    with pytest.raises(RetryError, match="does not answer"):
        viewed(made)
    assert made.health().requests_left == 0
    assert made.health().counters["rate_limited"] == 1
    made.loop.leap(60)
    assert made.health().requests_left == 100


def test_an_open_order_is_shown_with_its_number_where_the_run_knows_the_symbol():
    orders = [samples.order(), samples.order(symbol="GME", id="v2", limit_price="5")]
    first, second = viewed(talk({**ACCOUNT, "GET /v2/orders": (200, orders)})).open_orders
    assert (first.symbol, first.instrument_id, first.parent_id) == (samples.STOCK, SHARE, "")
    assert (second.symbol, second.instrument_id, second.limit_price) == ("GME", None, 5)


def test_a_question_waits_until_the_budget_allows_it():
    made = talk({"GET /v2/clock": (200, {})}, requests_per_minute=60)
    while made.gateway._budget.take(Urgency.CANCEL, 0):
        pass
    client, naps = made.gateway._queries._trading, []
    waits, pause = made.gateway._budget.wait_ns(Urgency.QUERY, 0) / 1e9, client.pause

    async def counted(urgency):
        naps.append(urgency)
        await pause(urgency)

    client.pause = counted
    assert made.run(lambda: client.ask(CLOCK, Urgency.QUERY)).status == 200
    assert made.loop.time() == pytest.approx(waits, abs=0.5)
    assert waits > 10.0
    assert set(naps) == {Urgency.QUERY}
    assert len(naps) <= 3  # it sleeps, and does not turn round and round


# what closes -------------------------------------------------------------------------------------------


def test_closing_waits_for_answers_under_way_and_leaves_no_task_behind():
    made = talk({"POST /v2/orders": (200, WORKING)})

    async def scenario():
        made.gateway._warmer = asyncio.get_running_loop().create_task(made.gateway._keep_warm())
        made.gateway.send(order())
        await made.gateway.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        return left, [item async for item in made.gateway.events()]

    left, said = made.run(scenario)
    assert left == set()
    assert kinds(said) == [OrderAccepted]


def test_closing_at_once_ends_what_it_does_not_wait_for():
    made = talk({"POST /v2/orders": (200, WORKING)})

    async def scenario():
        before = asyncio.all_tasks()
        made.gateway.send(order())
        in_flight = made.gateway.health().in_flight
        await made.gateway._path.close(graceful=False)
        return in_flight, made.gateway.health().in_flight, asyncio.all_tasks() - before

    assert made.run(scenario) == (1, 0, set())


def test_idle_order_connections_are_used_every_25_seconds_and_a_failure_is_counted():
    made = talk({"GET /v2/clock": [(200, {}), None, None, (200, {})]}, order_connections=1)

    async def scenario():
        warmer = asyncio.get_running_loop().create_task(made.gateway._keep_warm())
        await asyncio.sleep(24.9)
        before = len(made.venue.asked)
        await asyncio.sleep(60)
        warmer.cancel()
        await made.gateway.close(graceful=False)
        return before

    assert made.run(scenario) == 0
    assert made.venue.count("GET /v2/clock") == 4  # a question on a stale connection is asked again once
    assert made.health().counters["keep_warm_failed"] == 1
