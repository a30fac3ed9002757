"""Alpaca's messages on orders: what is believed of them, requests in full, and what a reply proves."""

import json
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.intents import (
    MultiLegOrder,
    OrderType,
    Purpose,
    Side,
    Stop,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.classes import us_option
from scalpdesk.venues.tracker import Outcome
from scalpdesk_alpaca import order_messages
from scalpdesk_alpaca.fields import BadMessage, Malformed
from scalpdesk_alpaca.messages import Authorized, Listening, StreamError
from scalpdesk_alpaca.order_messages import (
    MOST_LEG_EXECUTIONS,
    JudgedReply,
    RateLimit,
    ReplyVerdict,
    TradeUpdate,
    judge,
    rate_limit,
    read_order,
    read_orders,
    read_update,
)
from scalpdesk_testing.kit import alpaca_wire as samples
from scalpdesk_testing.kit.instruments import straddle_book

D = Decimal
AS_JSON = samples.as_json
SHARE, CALL, PUT = InstrumentId(0), InstrumentId(1), InstrumentId(2)


def updated(**changes):
    return read_update(AS_JSON(samples.update(order_body=samples.order(**changes))))


def refused(said, name):
    assert isinstance(said, BadMessage)
    assert said.name == name
    return said


def of_order(field, value):
    return samples.update(order_body=samples.order(**{field: value}))


def of_execution(field, value):
    message = samples.fill_update()
    message["data"][field] = value
    if field == "event":
        message["data"] |= {"qty": None, "price": None}
    return message


def of_leg(field, value):
    message = samples.combo_fill()
    message["data"]["legs"][1][field] = value
    return message


@pytest.mark.rows(
    ("made", "field", "longest", "name"),
    [
        (of_order, "id", 64, "bad_order_id"),
        (of_order, "client_order_id", 128, "bad_client_order_id"),
        (of_order, "symbol", 32, "bad_symbol"),
        (of_execution, "event", 40, "bad_event"),
        (of_execution, "execution_id", 80, "bad_execution_id"),
        (of_leg, "execution_id", 80, "bad_execution_id"),
        (of_leg, "order_id", 64, "bad_order_id"),
        (of_leg, "symbol", 32, "bad_symbol"),
    ],
)
def test_names_have_a_longest_length_and_are_not_empty(made, field, longest, name):
    assert isinstance(read_update(AS_JSON(made(field, "x" * longest))), TradeUpdate)
    refused(read_update(AS_JSON(made(field, "x" * (longest + 1)))), name)
    refused(read_update(AS_JSON(made(field, ""))), name)


def test_a_leg_by_itself_keeps_its_symbol():
    leg = samples.order(order_class="mleg", symbol=samples.OPTION, type="", order_type="")
    order = read_order(AS_JSON(leg))
    assert (order.symbol, order.side) == (samples.OPTION, Side.BUY)


def test_a_message_holds_so_many_executions_and_no_more():
    message = samples.combo_fill()
    message["data"]["legs"] *= MOST_LEG_EXECUTIONS // 2
    assert isinstance(read_update(AS_JSON(message)), TradeUpdate)
    message["data"]["legs"].append(message["data"]["legs"][0])
    assert isinstance(read_update(AS_JSON(message)), BadMessage)


@pytest.mark.rows(
    ("message", "name"),
    [
        (samples.update(order_body=samples.order(status="")), "bad_status"),
        (samples.update(order_body=samples.order(side="up")), "bad_side"),
        (samples.update(order_body=samples.order(qty="-3")), "bad_order_qty"),
        (samples.update(order_body=samples.order(qty="NaN")), "bad_order_qty"),
        (samples.update(order_body=samples.order(qty="sNaN")), "bad_order_qty"),
        (samples.update(order_body=samples.order(qty="1e400")), "bad_order_qty"),
        (samples.update(order_body=samples.order(qty="1e-400")), "bad_order_qty"),
        (samples.update(order_body=samples.order(qty="1", filled_qty="2")), "overfilled"),
        (samples.update(order_body=samples.order(limit_price="Infinity")), "bad_limit_price"),
        (samples.fill_update(qty="NaN"), "bad_qty"),
        (samples.fill_update(qty=None), "no_qty"),
        (of_leg("qty", "1e400"), "bad_qty"),
        (of_leg("price", "NaN"), "bad_price"),
        (samples.fill_update(price="Infinity"), "bad_price"),
        ({"stream": "gossip", "data": {}}, "unknown_stream"),
        ({"stream": "trade_updates", "data": 5}, "malformed_update"),
        ({"stream": "trade_updates"}, "malformed_frame"),
    ],
)
def test_what_cannot_be_believed_is_refused_by_name(message, name):
    refused(read_update(AS_JSON(message)), name)


def test_a_list_keeps_what_can_be_read():
    orders, refusals = read_orders(AS_JSON([samples.order(), samples.order(side="?")]))
    assert [one.venue_order_id for one in orders] == [samples.ORDER_ID]
    assert [one.name for one in refusals] == ["bad_side"]


@pytest.mark.rows("stamp", ["soon", "2026-11-20", None])
def test_what_happened_at_a_time_that_cannot_be_read_happened(stamp):
    body = samples.order(submitted_at=stamp, created_at=stamp, updated_at=stamp)
    order = read_order(AS_JSON(body))
    assert (order.submitted_ns, order.updated_ns, order.is_open) == (0, 0, True)
    message = samples.combo_fill()
    message["data"]["legs"][1]["timestamp"] = stamp
    said = read_update(AS_JSON(message))
    assert said.legs[1].ts_event_ns == said.ts_event_ns > 0
    filled = samples.fill_update()
    filled["data"]["timestamp"] = stamp or "soon"
    assert read_update(AS_JSON(filled)).ts_event_ns == 0


@pytest.mark.rows(
    ("status", "outcome", "is_open"),
    [
        ("done_for_day", Outcome.OPEN, True),
        ("calculated", Outcome.OPEN, True),
        ("pending_cancel", Outcome.CANCELLING, True),
        ("replaced", Outcome.CANCELLED, False),
        ("dreaming", Outcome.UNKNOWN, True),
    ],
)
def test_a_status_is_final_by_the_venues_pages_alone(status, outcome, is_open):
    order = read_order(AS_JSON(samples.order(status=status)))
    assert (order.status, order.outcome, order.is_open) == (status, outcome, is_open)


@pytest.mark.rows(
    ("label", "side"),
    [("buy_minus", Side.BUY), ("sell_plus", Side.SELL), ("sell_short_exempt", Side.SELL)],
)
def test_the_rarer_names_of_a_side_are_read(label, side):
    assert read_order(AS_JSON(samples.order(side=label))).side is side


def test_an_order_without_a_word_on_its_fills_has_none():
    body = samples.order(filled_qty=None, filled_avg_price=None)
    assert read_order(AS_JSON(body)).filled == 0


def test_an_order_that_is_not_one_is_malformed():
    with pytest.raises(Malformed, match="malformed_order"):
        read_order(b"[]")


def test_an_update_may_be_a_megabyte_long():
    message = samples.update()
    padded = AS_JSON(message)
    room = order_messages.LARGEST_UPDATE_BYTES - len(padded)
    assert order_messages.LARGEST_UPDATE_BYTES == 1_048_576
    assert isinstance(read_update(padded + b" " * room), TradeUpdate)
    said = refused(read_update(padded + b" " * (room + 1)), "frame_too_large")
    assert said.detail == "1048577 bytes"


def test_texts_of_the_stream_are_cut():
    authorization = {"stream": "authorization", "data": {"status": "x", "action": "y" * 99}}
    assert read_update(AS_JSON(authorization)) == Authorized("x", "y" * 99)
    error = {"action": "error", "data": {"error_message": "z" * 300}}
    assert read_update(AS_JSON(error)) == StreamError("z" * 160)
    assert read_update(AS_JSON({"stream": "listening", "data": {}})) == Listening(())
    said = refused(read_update(AS_JSON({"stream": "s" * 200, "data": {}})), "unknown_stream")
    assert said.detail == repr("s" * 200)[:80]


def test_an_update_brings_what_the_message_holds():
    said = read_update(AS_JSON(samples.update("canceled", reason="r" * 200, previous_execution_id="e0")))
    assert (said.event, said.execution_id, said.previous_execution_id) == ("canceled", "", "e0")
    assert (said.quantity, said.price, said.reason, said.legs) == (None, None, "r" * 120, ())
    bare = samples.update(order_body=samples.order(updated_at="1970-01-01T00:00:01Z"))
    del bare["data"]["timestamp"]
    said = read_update(AS_JSON(bare))
    assert (said.ts_event_ns, said.previous_execution_id, said.reason) == (10**9, "", "")


@pytest.mark.rows(
    ("event", "needs_id", "needs_figures"),
    [
        ("fill", True, True),
        ("partial_fill", True, True),
        ("trade_correct", True, True),
        ("trade_bust", True, False),
        ("new", False, False),
    ],
)
def test_executions_busts_and_corrections_are_named_and_executions_have_figures(
    event, needs_id, needs_figures
):
    body = samples.order(filled_qty="4", filled_avg_price="5")

    def read(**changes):
        fields = {"execution_id": "e", "qty": "4", "price": "5"} | changes
        return read_update(AS_JSON(samples.update(event, body, **fields)))

    whole = read()
    assert (whole.quantity, whole.price) == ((4, 5) if needs_figures else (None, None))
    assert whole.execution_id == "e"
    assert isinstance(read(execution_id=None), BadMessage) is needs_id
    assert isinstance(read(qty=None), BadMessage) is needs_figures
    assert isinstance(read(price=None), BadMessage) is needs_figures


def test_a_leg_without_a_time_was_filled_with_the_whole():
    message = samples.combo_fill()
    message["data"]["timestamp"] = "1970-01-01T00:00:05Z"
    message["data"]["legs"][0].pop("timestamp")
    message["data"]["legs"][1]["timestamp"] = "1970-01-01T00:00:06Z"
    assert [leg.ts_event_ns for leg in read_update(AS_JSON(message)).legs] == [5 * 10**9, 6 * 10**9]


def test_an_order_may_leave_fields_out():
    order = read_order(AS_JSON(samples.order(submitted_at=None, updated_at=None, qty=None, status="held")))
    assert (order.submitted_ns, order.updated_ns) == (samples.AT_NS, samples.AT_NS)
    assert (order.quantity, order.limit_price, order.replaces, order.replaced_by) == (None, None, "", "")
    assert (order.is_open, order.average_price) == (True, None)
    assert updated(submitted_at=None, created_at=None).order.submitted_ns == 0


def test_a_parent_has_up_to_four_legs_and_a_leg_has_none():
    leg = samples.order(symbol=samples.OPTION)
    parent = {"order_class": "mleg", "symbol": "", "side": ""}
    assert len(updated(**parent, legs=[leg] * 4).order.legs) == 4
    refused(updated(**parent, legs=[leg] * 5), "bad_legs")
    refused(updated(**parent, legs=[leg | {"legs": [leg]}]), "bad_legs")
    named = updated(order_class="mleg", symbol="NVDA", side="sell", legs=[leg]).order
    assert (named.symbol, named.side) == ("", Side.SELL)
    lonely = updated(order_class="mleg", symbol="", side="").order
    assert (lonely.symbol, lonely.side) == ("", None)
    refused(updated(order_class="", symbol="", legs=[leg]), "bad_symbol")
    refused(updated(order_class="mleg", symbol="NVDA", side=""), "bad_side")


def test_fills_of_a_parent_need_no_price_and_those_of_an_order_do():
    parent = {"order_class": "mleg", "symbol": "", "side": ""}
    assert updated(**parent, filled_qty="2").order.average_price is None
    assert updated(**parent, filled_qty="2", filled_avg_price="-1").order.average_price == -1
    refused(updated(filled_qty="2"), "no_filled_avg_price")
    refused(updated(filled_qty="2", filled_avg_price="-1"), "bad_filled_avg_price")
    refused(updated(filled_qty="-1"), "bad_filled_qty")
    assert updated(qty="2", filled_qty="2", filled_avg_price="1").order.filled == 2


# requests -------------------------------------------------------------------------------------------

BOOK = straddle_book(500)


def order(
    number=SHARE, quantity="10", name="sd-1", purpose=Purpose.HEDGE, *, side=Side.BUY, limit=None, stop=None
):
    plain = OrderType.MARKET if limit is None else OrderType.LIMIT
    kind = plain if stop is None else Stop(D(stop))
    price = None if limit is None else D(limit)
    return SubmitOrder(name, number, side, D(quantity), kind, price, TimeInForce.DAY, purpose)


def combo(*legs, net=None):
    return MultiLegOrder("m", legs, None if net is None else D(net), TimeInForce.DAY)


def body(request):
    return json.loads(request.body)


@pytest.mark.rows(
    ("wanted", "prices"),
    [
        ({"stop": "495.50"}, '"type":"stop",{},"stop_price":"495.5"'),
        (
            {"stop": "495.50", "limit": "495"},
            '"type":"stop_limit",{},"limit_price":"495","stop_price":"495.5"',
        ),
        ({}, '"type":"market",{}'),
        ({"limit": "495"}, '"type":"limit",{},"limit_price":"495"'),
    ],
)
def test_the_bytes_of_each_type_of_order(wanted, prices):
    for number, symbol, rest in (
        (SHARE, "SPY", "}"),
        (CALL, "SPY240419C00500000", ',"position_intent":"sell_to_close"}'),
    ):
        command = order(number, side=Side.SELL, purpose=Purpose.CLOSE, **wanted)
        request = order_messages.submit_request(command, BOOK)
        fields = prices.replace("{}", '"time_in_force":"day","client_order_id":"sd-1"')
        assert request.body.decode() == f'{{"symbol":"{symbol}","qty":"10","side":"sell",{fields}{rest}'
        assert (request.method, request.path, request.about) == ("POST", "/v2/orders", "sd-1")


def test_what_an_option_order_does_to_the_position_is_said_where_the_account_is_not_shared():
    for purpose in Purpose:
        for side in Side:
            one = order(CALL, "1", purpose=purpose, side=side)
            effect = {Purpose.OPEN: "open", Purpose.CLOSE: "close"}.get(purpose)
            said = None if effect is None else f"{side.value}_to_{effect}"
            assert order_messages.position_intent(one) == said
            assert body(order_messages.submit_request(one, BOOK)).get("position_intent") == said
            shared = msgspec.structs.replace(one, owner="st0cka")
            assert order_messages.position_intent(shared) is None
    share = order_messages.submit_request(order(quantity="1.5", purpose=Purpose.OPEN), BOOK)
    assert (body(share)["qty"], "position_intent" in body(share)) == ("1.5", False)


@pytest.mark.rows(
    ("number", "quantity"), [(CALL, "1.5"), (CALL, "0.5"), (SHARE, "0"), (SHARE, "-1"), (SHARE, "NaN")]
)
def test_a_quantity_that_no_venue_takes_never_leaves(number, quantity):
    with pytest.raises(ArgumentError, match="quantity") as caught:
        order_messages.submit_request(order(number, quantity), BOOK)
    assert (caught.value.where, caught.value.value) == ("order sd-1", quantity)


def test_a_limit_order_without_a_price_never_leaves():
    command = msgspec.structs.replace(order(), order_type=OrderType.LIMIT)
    with pytest.raises(ArgumentError, match="needs a price") as caught:
        order_messages.submit_request(command, BOOK)
    assert caught.value.where == "order sd-1"


@pytest.mark.rows("owner", ["", "st0cka"])
@pytest.mark.rows("net", [None, "-3.50"])
def test_a_combo_is_in_sets_and_ratios_at_the_market_or_at_its_net_price(net, owner):
    legs = (
        order(CALL, "4", "a", Purpose.CLOSE, side=Side.SELL),
        order(PUT, "6", "b", Purpose.HEDGE, side=Side.SELL),
    )
    legs = tuple(msgspec.structs.replace(leg, owner=owner) for leg in legs)
    request = order_messages.combo_request(combo(*legs, net=net), BOOK)
    sent = body(request)
    assert (request.method, request.path, request.about) == ("POST", "/v2/orders", "m")
    assert sent.pop("limit_price", None) == (None if net is None else "-3.5")
    shown = [
        (leg["symbol"], leg["ratio_qty"], leg["side"], leg["position_intent"]) for leg in sent.pop("legs")
    ]
    assert shown == [
        ("SPY240419C00500000", "2", "sell", "sell_to_close"),
        ("SPY240419P00500000", "3", "sell", "sell_to_open"),
    ]
    assert sent == {
        "order_class": "mleg",
        "qty": "2",
        "type": "market" if net is None else "limit",
        "time_in_force": "day",
        "client_order_id": "m",
    }


def test_a_combo_has_two_to_four_whole_legs_in_different_contracts():
    book = straddle_book(500)
    for strike in ("00490000", "00510000", "00520000"):
        book.add(us_option(f"SPY240419C{strike}"))
    legs = tuple(order(InstrumentId(number), "1", str(number)) for number in range(1, 6))
    assert len(body(order_messages.combo_request(combo(*legs[:4]), book))["legs"]) == 4
    for wrong, why in (
        (legs, "2 to 4 legs"),
        (legs[:1], "2 to 4 legs"),
        ((legs[0], order(CALL, "1", "b")), "2 to 4 legs"),
        ((order(CALL, "1.5", "a"), legs[1]), "whole"),
    ):
        with pytest.raises(ArgumentError, match=why):
            order_messages.combo_request(combo(*wrong), book)


def test_orders_are_cancelled_and_asked_for_by_request():
    cancel = order_messages.cancel_request("v/1")
    assert (cancel.method, cancel.path) == ("DELETE", "/v2/orders/v%2F1")
    asked = order_messages.order_by_client_id_request("a&status=all#?/..")
    assert (asked.method, asked.about) == ("GET", "a&status=all#?/..")
    assert asked.path == (
        "/v2/orders:by_client_order_id?client_order_id=a%26status%3Dall%23%3F%2F..&nested=true"
    )
    first = urlsplit(order_messages.open_orders_request().path)
    assert first.path == "/v2/orders"
    expected = {"status": ["open"], "limit": ["500"], "direction": ["asc"], "nested": ["true"]}
    assert parse_qs(first.query) == expected
    later = urlsplit(order_messages.open_orders_request("2024-03-01T00:00:00Z").path)
    assert parse_qs(later.query) == expected | {"after": ["2024-03-01T00:00:00Z"]}


# replies --------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("status", "code", "message", "verdict"),
    [
        (403, None, "forbidden.", ReplyVerdict.UNAUTHORIZED),
        (403, 40310000, "potential wash trade detected. use complex orders", ReplyVerdict.REFUSED),
        (403, 40310000, "account not eligible to trade uncovered option contracts", ReplyVerdict.REFUSED),
        (403, 40310000, "cannot open a short sell while a long buy order is open", ReplyVerdict.REFUSED),
        (403, 40310100, "trade denied due to pattern day trading protection", ReplyVerdict.REFUSED),
        (403, 40310000, "trading in forbidden. symbols", ReplyVerdict.REFUSED),
        (403, 40110000, "request is not authorized", ReplyVerdict.UNAUTHORIZED),
        (403, None, "access key verification failed : no such key", ReplyVerdict.UNAUTHORIZED),
        (422, 40010001, "qty must be > 0", ReplyVerdict.REFUSED),
        (422, 42210000, "order parameters are not changed", ReplyVerdict.REFUSED),
        (422, 42210000, "unable to replace order, order isn't sent to exchange yet", ReplyVerdict.TOO_LATE),
        (422, 42210000, "order already replaced", ReplyVerdict.TOO_LATE),
        (422, 42210000, "unable to replace order in current state", ReplyVerdict.TOO_LATE),
        (422, 42210000, "only open orders can be replaced", ReplyVerdict.TOO_LATE),
        (429, 42910000, "too many requests.", ReplyVerdict.LIMITED),
    ],
)
def test_an_answer_proves_what_its_status_and_text_say_together(status, code, message, verdict):
    answer = judge(status, json.dumps({"code": code, "message": message}).encode())
    assert answer.verdict is verdict


@pytest.mark.rows(
    ("status", "verdict"),
    [
        (199, ReplyVerdict.UNKNOWN),
        (200, ReplyVerdict.DONE),
        (299, ReplyVerdict.DONE),
        (300, ReplyVerdict.UNKNOWN),
        *((status, ReplyVerdict.REFUSED) for status in (400, 403, 405, 415, 422)),
        *((status, ReplyVerdict.UNKNOWN) for status in (402, 406, 408, 409, 416, 423, 500)),
        (401, ReplyVerdict.UNAUTHORIZED),
        (404, ReplyVerdict.NOT_FOUND),
        (429, ReplyVerdict.LIMITED),
    ],
)
def test_a_status_alone_means_what_it_means(status, verdict):
    answer = judge(status, b"not json")
    assert (answer.verdict, answer.reason) == (
        verdict,
        "" if verdict is ReplyVerdict.DONE else f"HTTP {status}",
    )


@pytest.mark.rows("text", ["order is already in", "is not cancelable", "client_order_id must be unique"])
def test_texts_of_an_order_mean_nothing_at_another_status(text):
    assert judge(400, AS_JSON({"message": text})).verdict is ReplyVerdict.REFUSED
    assert judge(404, AS_JSON({"message": text})).verdict is ReplyVerdict.NOT_FOUND
    assert judge(422, AS_JSON({"message": text.upper()})).verdict is not ReplyVerdict.REFUSED


@pytest.mark.rows(
    ("body", "reason"),
    [
        (
            {"code": 40310000, "message": "insufficient", "related_orders": ["a", "b"]},
            "40310000 insufficient",
        ),
        ({"code": "c" * 20, "message": "a\nb" + "x" * 300}, "c" * 12 + " ab" + "x" * 176),
        ({"code": 0}, "0"),
        ({"message": "m"}, "m"),
    ],
)
def test_a_reason_is_the_venues_own_words_cut_and_printable(body, reason):
    assert judge(422, AS_JSON(body)) == JudgedReply(ReplyVerdict.REFUSED, f"HTTP 422 {reason}")


@given(st.text(max_size=60).filter(lambda text: text.lower() != "forbidden."))
def test_a_refusal_of_one_order_never_condemns_the_keys(message):
    body = json.dumps({"code": 40310000, "message": f"account {message}"}).encode()
    assert judge(403, body).verdict is ReplyVerdict.REFUSED


@given(st.integers(300, 599), st.binary(max_size=200))
def test_no_body_whatever_makes_a_failure_a_success_or_a_crash(status, body):
    answer = judge(status, body)
    assert answer.verdict is not ReplyVerdict.DONE
    assert answer.reason.isprintable()


@given(st.integers(500, 599), st.text(max_size=60))
def test_a_server_error_is_never_a_final_refusal(status, message):
    body = json.dumps({"code": 40310000, "message": message}).encode()
    assert judge(status, body).verdict is ReplyVerdict.UNKNOWN


@pytest.mark.rows(
    ("limit", "remaining", "reset", "is_believed"),
    [
        ("200", "17", "1795185060", True),
        ("1", "0", "0", True),
        ("200", "200", "1", True),
        ("999999999", "0", "0", True),
        ("1000000000", "0", "0", False),
        ("1", "1", "4102444799", True),
        ("1", "1", "4102444800", False),
        ("0", "0", "1", False),
        ("200", "201", "1", False),
        ("200", "-1", "1", False),
        ("x", "1", "1", False),
        ("200", "1", "1e9", False),
        ("200", "1", "-5", False),
    ],
)
def test_a_rate_limit_is_believed_where_it_makes_sense(limit, remaining, reset, is_believed):
    headers = {"x-ratelimit-limit": limit, "x-ratelimit-remaining": remaining, "x-ratelimit-reset": reset}
    stated = RateLimit(int(limit), int(remaining), int(reset)) if is_believed else None
    assert rate_limit(headers) == stated
    assert rate_limit({}) is None
