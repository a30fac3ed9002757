import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.intents import (
    MultiLegOrder,
    OrderType,
    Purpose,
    ReplaceOrder,
    Side,
    Stop,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import InstrumentId, number_text
from scalpdesk.instruments.classes import us_option
from scalpdesk_alpaca import order_messages
from scalpdesk_testing.kit.instruments import straddle_book

BOOK = straddle_book(500)
SHARE, CALL, PUT = InstrumentId(0), InstrumentId(1), InstrumentId(2)


def order(
    number=SHARE, quantity="10", name="sd-1", *, side=Side.BUY, purpose=Purpose.HEDGE, limit=None, stop=None
):
    plain = OrderType.MARKET if limit is None else OrderType.LIMIT
    return SubmitOrder(
        name,
        number,
        side,
        Decimal(quantity),
        plain if stop is None else Stop(Decimal(stop)),
        None if limit is None else Decimal(limit),
        TimeInForce.DAY,
        purpose,
    )


def body_of(request):
    return json.loads(request.body)


def test_a_market_order_in_shares():
    request = order_messages.submit_request(order(), BOOK)
    assert (request.method, request.path) == ("POST", "/v2/orders")
    assert body_of(request) == {
        "symbol": "SPY",
        "qty": "10",
        "side": "buy",
        "type": "market",
        "time_in_force": "day",
        "client_order_id": "sd-1",
    }


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
    ("side", "purpose", "intent"),
    [
        (Side.BUY, Purpose.OPEN, "buy_to_open"),
        (Side.SELL, Purpose.OPEN, "sell_to_open"),
        (Side.SELL, Purpose.CLOSE, "sell_to_close"),
        (Side.BUY, Purpose.CLOSE, "buy_to_close"),
    ],
)
def test_an_option_order_says_what_it_does_to_the_position(side, purpose, intent):
    request = order_messages.submit_request(order(CALL, "2", side=side, purpose=purpose, limit="7.35"), BOOK)
    assert body_of(request)["position_intent"] == intent
    assert body_of(request)["limit_price"] == "7.35"
    assert body_of(request)["symbol"] == "SPY240419C00500000"


@pytest.mark.parametrize(("number", "quantity"), [(CALL, "1.5"), (SHARE, "0"), (SHARE, "-1"), (SHARE, "NaN")])
def test_a_quantity_that_no_venue_takes_never_leaves(number, quantity):
    with pytest.raises(ArgumentError, match="quantity"):
        order_messages.submit_request(order(number, quantity), BOOK)


def test_a_limit_order_without_a_price_never_leaves():
    command = SubmitOrder(
        "x", SHARE, Side.BUY, Decimal(1), OrderType.LIMIT, None, TimeInForce.DAY, Purpose.HEDGE
    )
    with pytest.raises(ArgumentError, match="price"):
        order_messages.submit_request(command, BOOK)


def test_a_straddle_in_one_order_is_in_sets_and_ratios():
    legs = (order(CALL, "4", "a", purpose=Purpose.OPEN), order(PUT, "6", "b", purpose=Purpose.OPEN))
    request = order_messages.combo_request(MultiLegOrder("m", legs, Decimal("14.70")), BOOK)
    body = body_of(request)
    assert (body["order_class"], body["qty"], body["limit_price"]) == ("mleg", "2", "14.7")
    assert [(leg["ratio_qty"], leg["side"], leg["position_intent"]) for leg in body["legs"]] == [
        ("2", "buy", "buy_to_open"),
        ("3", "buy", "buy_to_open"),
    ]
    assert "symbol" not in body


@pytest.mark.parametrize("owner", ["", "st0cka"])
@pytest.mark.parametrize(("purpose", "effect"), [(Purpose.OPEN, "to_open"), (Purpose.CLOSE, "to_close")])
def test_each_leg_names_its_effect_on_a_shared_account_too(owner, purpose, effect):
    legs = tuple(
        msgspec.structs.replace(order(number, "1", name, purpose=purpose), owner=owner)
        for number, name in ((CALL, "a"), (PUT, "b"))
    )
    body = body_of(order_messages.combo_request(MultiLegOrder("m", legs, None), BOOK))
    assert [leg["position_intent"] for leg in body["legs"]] == [f"buy_{effect}"] * 2


def test_one_leg_or_one_contract_twice_is_no_multi_leg_order():
    for legs in ((order(CALL, "1", "a"),), (order(CALL, "1", "a"), order(CALL, "1", "b"))):
        with pytest.raises(ArgumentError, match="2 to 4 legs"):
            order_messages.combo_request(MultiLegOrder("m", legs, None), BOOK)


def test_a_part_of_a_contract_is_no_leg():
    legs = (order(CALL, "1.5", "a"), order(PUT, "1", "b"))
    with pytest.raises(ArgumentError, match="whole"):
        order_messages.combo_request(MultiLegOrder("m", legs, None), BOOK)


def test_four_legs_are_the_most():
    book = straddle_book(500)
    for strike in ("00490000", "00510000", "00520000"):
        book.add(us_option(f"SPY240419C{strike}"))
    legs = tuple(order(InstrumentId(number), "1", str(number)) for number in range(1, 6))
    assert len(body_of(order_messages.combo_request(MultiLegOrder("m", legs[:4], None), book))["legs"]) == 4
    with pytest.raises(ArgumentError, match="2 to 4 legs"):
        order_messages.combo_request(MultiLegOrder("m", legs, None), book)


def test_a_replacement_counts_from_the_orders_beginning():
    new = order(SHARE, "6", "sd-2", limit="500.10")
    request = order_messages.replace_request(ReplaceOrder("sd-1", new), "v 1/2", Decimal(4))
    assert (request.method, request.path) == ("PATCH", "/v2/orders/v%201%2F2")
    assert body_of(request) == {
        "qty": "10",
        "time_in_force": "day",
        "client_order_id": "sd-2",
        "limit_price": "500.1",
    }


def test_a_replacement_moves_a_stop_and_its_limit():
    new = order(SHARE, "6", "sd-2", limit="490", stop="491.25")
    body = body_of(order_messages.replace_request(ReplaceOrder("sd-1", new), "v", Decimal(0)))
    assert (body["limit_price"], body["stop_price"]) == ("490", "491.25")


def test_ids_cannot_leave_their_place_in_an_address():
    request = order_messages.order_by_client_id_request("a&status=all#?/..")
    assert request.path == (
        "/v2/orders:by_client_order_id?client_order_id=a%26status%3Dall%23%3F%2F..&nested=true"
    )


@given(st.decimals(min_value="-1e9", max_value="1e9", allow_nan=False, places=6))
def test_an_amount_is_written_whole_and_without_exponent(value):
    written = number_text(value)
    assert Decimal(written) == value
    assert "E" not in written
    assert not written.endswith(".")
