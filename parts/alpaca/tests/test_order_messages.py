from decimal import Decimal

import pytest

from fakes import alpaca_wire as samples
from scalpdesk.core.intents import Side
from scalpdesk.venues.tracker import Outcome
from scalpdesk_alpaca.fields import BadMessage, Malformed
from scalpdesk_alpaca.messages import Authorized, Listening, StreamError
from scalpdesk_alpaca.order_messages import (
    MOST_LEG_EXECUTIONS,
    TradeUpdate,
    read_order,
    read_orders,
    read_update,
)


def test_a_fill_update():
    said = read_update(samples.as_json(samples.fill_update("4", "4", "185.14")))
    assert isinstance(said, TradeUpdate)
    assert (said.event, said.quantity, said.price) == ("partial_fill", Decimal(4), Decimal("185.14"))
    assert said.execution_id == "e-4"
    assert said.ts_event_ns == samples.AT_NS
    assert said.order.filled == Decimal(4)
    assert said.order.side is Side.BUY
    assert said.order.is_open


def test_numbers_for_amounts_are_as_good_as_texts():
    body = samples.order(qty=10, filled_qty=2.5, filled_avg_price=185.14)
    order = read_order(samples.as_json(body))
    assert (order.quantity, order.filled, order.average_price) == (
        Decimal(10),
        Decimal("2.5"),
        Decimal("185.14"),
    )


def test_authorization_and_listening():
    yes = {"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}}
    no = {"stream": "authorization", "data": {"status": "unauthorized", "action": "authenticate"}}
    listening = {"stream": "listening", "data": {"streams": ["trade_updates"]}}
    assert read_update(samples.as_json(yes)) == Authorized("authorized")
    assert read_update(samples.as_json(no)) == Authorized("unauthorized")
    assert read_update(samples.as_json(listening)) == Listening(("trade_updates",))
    too_early = {"stream": "authorization", "data": {"status": "unauthorized", "action": "listen"}}
    assert read_update(samples.as_json(too_early)) == Authorized("unauthorized", "listen")


def test_the_servers_error_names_no_stream():
    message = {"action": "error", "data": {"error_message": "auth timeout"}}
    assert read_update(samples.as_json(message)) == StreamError("auth timeout")


def test_a_fill_of_a_whole_carries_the_executions_of_its_legs():
    said = read_update(samples.as_json(samples.combo_fill()))
    assert isinstance(said, TradeUpdate)
    assert (said.execution_id, said.quantity, said.price) == ("", None, None)
    assert [(leg.execution_id, leg.venue_order_id, leg.symbol) for leg in said.legs] == [
        ("e-call", "leg-call", samples.OPTION),
        ("e-put", "leg-put", samples.PUT),
    ]
    assert [(leg.quantity, leg.price, leg.ts_event_ns) for leg in said.legs] == [
        (Decimal(2), Decimal("7.3"), samples.AT_NS),
        (Decimal(2), Decimal("8.1"), samples.AT_NS),
    ]


def test_a_leg_by_itself_keeps_its_symbol():
    leg = samples.order(order_class="mleg", symbol=samples.OPTION, type="", order_type="")
    order = read_order(samples.as_json(leg))
    assert (order.symbol, order.side) == (samples.OPTION, Side.BUY)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"qty": "0"}, "bad_qty"),
        ({"price": "-1"}, "bad_price"),
        ({"execution_id": ""}, "bad_execution_id"),
        ({"order_id": ""}, "bad_order_id"),
        ({"symbol": ""}, "bad_symbol"),
    ],
)
def test_a_leg_that_cannot_be_believed_spoils_the_message(change, name):
    message = samples.combo_fill()
    message["data"]["legs"][1] |= change
    said = read_update(samples.as_json(message))
    assert isinstance(said, BadMessage)
    assert said.name == name


def test_a_message_holds_so_many_executions_and_no_more():
    message = samples.combo_fill()
    message["data"]["legs"] *= MOST_LEG_EXECUTIONS // 2
    assert isinstance(read_update(samples.as_json(message)), TradeUpdate)
    message["data"]["legs"].append(message["data"]["legs"][0])
    assert isinstance(read_update(samples.as_json(message)), BadMessage)


@pytest.mark.parametrize(
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
        (samples.update(order_body=samples.order(filled_qty="2")), "no_filled_avg_price"),
        (samples.update(order_body=samples.order(limit_price="Infinity")), "bad_limit_price"),
        (samples.update(order_body=samples.order(id="")), "bad_order_id"),
        (samples.update(order_body=samples.order(client_order_id="x" * 129)), "bad_client_order_id"),
        (samples.update(order_body=samples.order(legs=[samples.order()] * 5)), "bad_legs"),
        (samples.fill_update(qty="0"), "bad_qty"),
        (samples.fill_update(qty=None), "no_qty"),
        (samples.fill_update(price="-1"), "bad_price"),
        (samples.fill_update(execution_id=None), "bad_execution_id"),
        ({"stream": "gossip", "data": {}}, "unknown_stream"),
        ({"stream": "trade_updates", "data": 5}, "malformed_update"),
        ({"stream": "trade_updates"}, "malformed_frame"),
    ],
)
def test_what_cannot_be_believed_is_refused_by_name(message, name):
    said = read_update(samples.as_json(message))
    assert isinstance(said, BadMessage)
    assert said.name == name


def test_a_list_keeps_what_can_be_read():
    orders, refusals = read_orders(samples.as_json([samples.order(), samples.order(side="?")]))
    assert [one.venue_order_id for one in orders] == [samples.ORDER_ID]
    assert [one.name for one in refusals] == ["bad_side"]


@pytest.mark.parametrize("stamp", ["soon", "2026-11-20", None])
def test_what_happened_at_a_time_that_cannot_be_read_happened(stamp):
    body = samples.order(submitted_at=stamp, created_at=stamp, updated_at=stamp)
    order = read_order(samples.as_json(body))
    assert (order.submitted_ns, order.updated_ns, order.is_open) == (0, 0, True)
    message = samples.combo_fill()
    message["data"]["legs"][1]["timestamp"] = stamp
    said = read_update(samples.as_json(message))
    assert said.legs[1].ts_event_ns == said.ts_event_ns > 0
    filled = samples.fill_update()
    filled["data"]["timestamp"] = stamp or "soon"
    assert read_update(samples.as_json(filled)).ts_event_ns == 0


@pytest.mark.parametrize(
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
    order = read_order(samples.as_json(samples.order(status=status)))
    assert (order.status, order.outcome, order.is_open) == (status, outcome, is_open)


@pytest.mark.parametrize(
    ("label", "side"),
    [("buy_minus", Side.BUY), ("sell_plus", Side.SELL), ("sell_short_exempt", Side.SELL)],
)
def test_the_rarer_names_of_a_side_are_read(label, side):
    assert read_order(samples.as_json(samples.order(side=label))).side is side


def test_a_parent_of_legs_has_no_symbol_and_may_have_a_negative_price():
    legs = [samples.order(id="leg-1", symbol=samples.OPTION), samples.order(id="leg-2", symbol=samples.PUT)]
    body = samples.order(order_class="mleg", symbol="", side="", filled_avg_price="-1.25", legs=legs)
    order = read_order(samples.as_json(body))
    assert order.symbol == ""
    assert order.side is None
    assert order.average_price == Decimal("-1.25")
    assert [leg.symbol for leg in order.legs] == [samples.OPTION, samples.PUT]


def test_an_order_without_a_word_on_its_fills_has_none():
    body = samples.order(filled_qty=None, filled_avg_price=None)
    assert read_order(samples.as_json(body)).filled == 0


def test_an_order_that_is_not_one_is_malformed():
    with pytest.raises(Malformed, match="malformed_order"):
        read_order(b"[]")
