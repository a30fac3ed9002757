import pytest

from scalpdesk.core.intents import Side
from scalpdesk.venues.tracker import Outcome
from scalpdesk_alpaca.fields import BadMessage, Malformed
from scalpdesk_alpaca.order_messages import (
    MOST_LEG_EXECUTIONS,
    TradeUpdate,
    read_order,
    read_orders,
    read_update,
)
from scalpdesk_testing.kit import alpaca_wire as samples


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


def test_an_order_without_a_word_on_its_fills_has_none():
    body = samples.order(filled_qty=None, filled_avg_price=None)
    assert read_order(samples.as_json(body)).filled == 0


def test_an_order_that_is_not_one_is_malformed():
    with pytest.raises(Malformed, match="malformed_order"):
        read_order(b"[]")
