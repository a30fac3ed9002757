"""Fields of Deribit's messages: what stands there, what is refused, and what its absence means."""

import json
import math
from contextlib import suppress
from decimal import Decimal
from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.intents import MultiLegOrder, OrderType, Purpose, Side, Stop, SubmitOrder, TimeInForce
from scalpdesk.instruments.contract import Instruments, LinearPerpetual
from scalpdesk.instruments.deribit import deribit_option, perpetual
from scalpdesk.instruments.ticks import TickRule
from scalpdesk.venues import Outcome, VenueActivity, VenueFill, VenueOrder, VenuePosition
from scalpdesk.venues.bounds import LATEST_NS
from scalpdesk_deribit import wire
from scalpdesk_deribit.wire import (
    ErrorMeaning,
    Heartbeat,
    HeldAtVenue,
    Notification,
    RpcError,
    RpcReply,
    VenueTrade,
    WireError,
)

D = Decimal
SWAP, CALL, PUT = perpetual("BTC"), *(deribit_option(f"BTC-14MAR25-90000-{right}") for right in "CP")


def order(name="sd-1", number=0, side=Side.BUY, quantity="50", limit=None, tif=TimeInForce.GTC):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else D(limit)
    return SubmitOrder(name, number, side, D(quantity), kind, price, tif, Purpose.HEDGE)


# errors -------------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("codes", "meaning"),
    [
        ((10004, 10010, 11008, 11044), ErrorMeaning.GONE),
        ((10000, 13004, 13009), ErrorMeaning.KEYS),
        ((10028, 10040, 10041, 10047, 11051), ErrorMeaning.LATER),
        ((10005, 10009, 10011, 10029, 10042, 10048, 11009, 11030, 11045, 11052), ErrorMeaning.REJECTED),
        ((-32602, -32601, -32000), ErrorMeaning.REJECTED),
        ((-32603, 10001, 11031, 11094, 13028, 13888), ErrorMeaning.UNKNOWN),
    ],
)
def test_each_code_of_an_error_has_its_meaning(codes, meaning):
    assert {wire.refusal_of(RpcError(code, "x")) for code in codes} == {meaning}
    is_refusal = {wire.is_refusal(RpcError(code, "x")) for code in codes}
    assert is_refusal == {meaning is not ErrorMeaning.UNKNOWN}
    assert wire.is_refusal(TimeoutError()) is False
    assert wire.TOKEN_ENDED == 13009


def test_an_error_keeps_its_code_and_message_and_shows_the_reason_where_there_is_one():
    plain, reasoned = RpcError(1, "no"), RpcError(2, "no", "why")
    assert (plain.code, plain.message, str(plain)) == (1, "no", "no (1)")
    assert (reasoned.code, reasoned.message, str(reasoned)) == (2, "no", "no (2): why")


# frames -------------------------------------------------------------------------------------------------


def test_frames_are_replies_notifications_and_heartbeats():
    assert wire.decode_frame('{"id":3,"result":["a"],"usIn":1}') == RpcReply(3, ["a"], None)
    note = wire.decode_frame('{"method":"subscription","params":{"channel":"c","data":1}}')
    assert note == Notification("c", 1)
    for kind, asks in (("heartbeat", False), ("test_request", True)):
        text = json.dumps({"method": "heartbeat", "params": {"type": kind}})
        assert wire.decode_frame(text) == Heartbeat(asks)
    error = {"code": 10009, "message": "not_enough_funds", "data": {"reason": "x"}}
    failed = wire.decode_frame(json.dumps({"id": 4, "error": error}))
    assert (failed.error.code, str(failed.error)) == (10009, "not_enough_funds (10009): x")


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_bytes_end_in_a_frame_or_a_refusal(raw):
    with suppress(WireError):
        assert isinstance(wire.decode_frame(raw), RpcReply | Notification | Heartbeat)


def refused(message, why):
    with pytest.raises(WireError, match=why):
        wire.decode_frame(message if isinstance(message, str) else json.dumps(message))


def test_a_refused_frame_is_named_by_what_is_wrong_with_it():
    refused("{", "not JSON")
    refused("7", "not an object")
    refused({"method": "subscription", "params": {"channel": ""}}, "channel is no text")
    refused([1], "not an object: .*1")
    refused({"method": "subscription"}, "params is no object: None")
    refused({"method": "subscription", "params": {}}, "channel is no text: None")
    refused({"method": "heartbeat", "params": 5}, "params is no object: 5")
    refused({"id": "7", "result": 1}, "neither a reply nor a notification")
    refused({"method": "other", "params": {}}, "neither a reply nor a notification")
    refused({"id": 7}, "neither result nor error")
    refused({"id": 7, "error": {}}, "code is no whole number: None")
    refused({"id": 7, "error": {"code": True}}, "code is no whole number: True")
    refused({"id": 7, "error": {"code": "5"}}, "code is no whole number: '5'")


@pytest.mark.rows("text", ["[" + "1," * 200 + "1]", json.dumps({"id": "x" * 200})])
def test_of_a_frame_that_is_refused_eighty_characters_are_shown(text):
    with pytest.raises(WireError) as caught:
        wire.decode_frame(text)
    assert str(caught.value).endswith(repr(text[:80]))


def test_a_reply_has_a_result_or_an_error_that_may_lack_a_reason():
    nothing = wire.decode_frame('{"id":7,"result":null}')
    assert (nothing.request_id, nothing.result, nothing.error) == (7, None, None)
    assert wire.decode_frame('{"id":7,"error":null,"result":1}').result == 1
    for data in (None, "text", {}, {"reason": ""}):
        reply = wire.decode_frame(json.dumps({"id": 8, "error": {"code": 3, "message": "m", "data": data}}))
        assert (reply.request_id, reply.result, str(reply.error)) == (8, None, "m (3)")
    assert str(wire.decode_frame('{"id":8,"error":{"code":3}}').error) == " (3)"


def test_what_comes_on_a_channel_may_be_nothing():
    note = wire.decode_frame('{"method":"subscription","params":{"channel":"a"}}')
    assert (note.channel, note.data) == ("a", None)


# numbers ------------------------------------------------------------------------------------------------


def test_exact_numbers_go_out_as_numbers():
    text = wire.encode_request(2, "private/buy", {"amount": D("0.30"), "price": D("0.0345"), "label": "a"})
    assert '"amount":0.30,' in text
    params = {"amount": 0.3, "price": 0.0345, "label": "a"}
    assert json.loads(text) == {"jsonrpc": "2.0", "id": 2, "method": "private/buy", "params": params}


@pytest.mark.rows(("value", "found"), [(5, "5"), (0.1, "0.1"), ("0.30", "0.30"), (-2, "-2"), (0, "0")])
def test_an_exact_number_is_read_as_it_was_written(value, found):
    assert str(wire.exact(value, "x")) == found
    assert str(wire.exact(value, "x", D(9))) == found


@pytest.mark.rows("value", [None, True, False, [], {}, "abc", ""])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(WireError, match="x is no number"):
        wire.exact(value, "x")


@pytest.mark.rows("value", ["NaN", "Infinity", math.inf, math.nan])
def test_a_number_that_is_not_finite_is_refused(value):
    with pytest.raises(WireError, match="x is not finite"):
        wire.exact(value, "x", D(1))


def test_the_default_stands_for_an_absent_number_only():
    assert wire.exact(None, "x", D(9)) == 9
    assert wire.exact(None, "x", D(0)) == 0
    with pytest.raises(WireError):
        wire.exact("abc", "x", D(9))


def test_a_float_is_nan_where_it_is_null_and_refused_where_it_is_none():
    assert (wire.figure(2, "x"), wire.figure(0.5, "x")) == (2.0, 0.5)
    assert type(wire.figure(2, "x")) is float
    assert math.isnan(wire.figure(None, "x"))
    for value in (True, "1", [], {}):
        with pytest.raises(WireError, match="x is no number"):
            wire.figure(value, "x")


def test_times_are_milliseconds_and_whole():
    assert wire.instant_ns(5, "t") == 5_000_000
    for value in (1.5, True, None, "5"):
        with pytest.raises(WireError, match="t is no whole number"):
            wire.instant_ns(value, "t")


def test_a_list_holds_objects_only():
    assert wire.rows([{"a": 1}, {}], "legs") == [{"a": 1}, {}]
    assert wire.rows([], "legs") == []
    for value in (None, {}, "x", [1], [{}, None]):
        with pytest.raises(WireError, match="legs is no list of objects"):
            wire.rows(value, "legs")
    with pytest.raises(WireError) as caught:
        wire.rows("x" * 200, "legs")
    assert str(caught.value).endswith(": " + "x" * 80)


# instruments --------------------------------------------------------------------------------------------

FUTURE = {
    "instrument_name": "SOL_USDC-PERPETUAL",
    "kind": "future",
    "settlement_period": "perpetual",
    "quote_currency": "USDC",
    "tick_size": 0.01,
}


def test_a_perpetual_that_is_quoted_in_another_currency_is_linear():
    linear = wire.read_instrument(FUTURE | {"settlement_currency": "ETH"})
    assert linear == LinearPerpetual("SOL_USDC-PERPETUAL", TickRule(D("0.01")), currency="ETH")
    assert wire.read_instrument(FUTURE) == LinearPerpetual(
        "SOL_USDC-PERPETUAL", TickRule(D("0.01")), currency="USDC"
    )


@pytest.mark.rows(
    "changes", [{"kind": "spot"}, {"settlement_period": "week"}, {"settlement_period": None}, {"kind": None}]
)
def test_what_the_desk_does_not_trade_is_left_out(changes):
    assert wire.read_instrument(FUTURE | changes) is None


DOLLARS = FUTURE | {
    "instrument_name": "BTC-PERPETUAL",
    "quote_currency": "USD",
    "base_currency": "BTC",
    "contract_size": 10,
    "tick_size": 0.5,
}


def test_a_perpetual_in_dollars_has_its_contract_size_and_coin():
    made = wire.read_instrument(DOLLARS | {"contract_size": 1, "tick_size": 2.5})
    assert (made.contract_usd, made.currency, made.tick_rule.below) == (1, "BTC", D("2.5"))
    with pytest.raises(WireError, match="base_currency is no text"):
        wire.read_instrument(FUTURE | {"quote_currency": "USD", "contract_size": 10})


@pytest.mark.rows("steps", [None, []])
def test_without_steps_the_tick_is_the_same_at_every_price(steps):
    made = wire.read_instrument(FUTURE | {"tick_size_steps": steps})
    assert made.tick_rule == TickRule(D("0.01"))


def test_the_type_of_an_instrument_goes_before_the_currency_that_it_is_quoted_in():
    odd = {"instrument_type": "linear", "settlement_currency": "USDC"}
    assert isinstance(wire.read_instrument(DOLLARS | odd), LinearPerpetual)
    assert wire.read_instrument(DOLLARS | {"instrument_type": "reversed", "quote_currency": "USDX"}) == SWAP


STEP = {"above_price": 0.005, "tick_size": 0.0005}


@pytest.mark.rows(
    ("changes", "why"),
    [
        ({"contract_size": 0}, "no whole number of dollars: 0"),
        ({"contract_size": 2.5}, "no whole number of dollars: 2.5"),
        ({"contract_size": 10**12}, "contract_size"),
        ({"tick_size": 0}, "tick_size: .*, 0"),
        ({"tick_size": -0.5}, "tick_size: .*, -0.5"),
        ({"tick_size_steps": [STEP, STEP]}, "tick_size_steps: .*0.005"),
        ({"tick_size_steps": [STEP, STEP | {"above_price": 0.004}]}, "tick_size_steps: .*0.004"),
        ({"tick_size_steps": [STEP | {"tick_size": 0}]}, "tick_size_steps: .*, 0"),
        ({"tick_size_steps": [STEP | {"tick_size": "1e400"}]}, "tick_size is beyond all bounds"),
        ({"tick_size_steps": [STEP | {"above_price": -1}]}, "tick_size_steps: .*, -1"),
        ({"tick_size_steps": [STEP | {"above_price": "Infinity"}]}, "above_price"),
        ({"tick_size_steps": [{"above_price": 1 + k, "tick_size": 1} for k in range(65)]}, "tick_size_steps"),
        ({"tick_size_steps": [{"tick_size": 1}]}, "above_price"),
        ({"tick_size_steps": STEP}, "tick_size_steps"),
        ({"kind": "option", "instrument_name": "BTC-14MAR25"}, "BTC-14MAR25"),
    ],
)
def test_an_instrument_whose_terms_make_no_sense_is_refused(changes, why):
    with pytest.raises(WireError, match=why):
        wire.read_instrument(DOLLARS | changes)


@given(st.integers(1, 10**6).map(D))
def test_contracts_are_dollars_at_the_venue(contracts):
    assert wire.amount_of(SWAP, contracts) == contracts * 10
    assert wire.quantity_of(SWAP, contracts * 10) == contracts
    assert wire.amount_of(CALL, contracts / 10) == wire.quantity_of(CALL, contracts / 10) == contracts / 10


def test_dollars_that_are_no_whole_contracts_are_refused():
    with pytest.raises(WireError, match="no whole contracts"):
        wire.quantity_of(SWAP, D(15))


# quotes -------------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("price", "size", "there"),
    [(0.03, 5.0, True), (0.0, 5.0, False), (0.03, 0.0, False), (None, 5.0, False), (-0.1, 1.0, False)],
)
@pytest.mark.rows("side", ["bid", "ask"])
def test_a_side_is_there_with_a_price_and_a_size_above_zero(side, price, size, there):
    ticker = {"timestamp": 3}
    for name in ("bid", "ask"):
        ticker |= {f"best_{name}_price": 0.05, f"best_{name}_amount": 7.0}
    ticker |= {f"best_{side}_price": price, f"best_{side}_amount": size}
    quote = wire.read_quote(ticker, 4, CALL, 99)
    mine = (quote.bid, quote.bid_size) if side == "bid" else (quote.ask, quote.ask_size)
    other = (quote.ask, quote.ask_size) if side == "bid" else (quote.bid, quote.bid_size)
    assert other == (0.05, 7.0)
    if there:
        assert mine == (price, size)
    else:
        assert math.isnan(mine[0])
        assert mine[1] == 0.0
    assert (quote.instrument_id, quote.ts_event_ns, quote.ts_recv_ns) == (4, 3_000_000, 99)


# orders -------------------------------------------------------------------------------------------------


def test_an_order_goes_out_in_the_venues_words():
    limited = order(side=Side.SELL, limit="90100.5", tif=TimeInForce.IOC)
    assert wire.order_request(limited, SWAP, 1_700) == (
        "private/sell",
        {
            "instrument_name": "BTC-PERPETUAL",
            "amount": D(500),
            "type": "limit",
            "price": D("90100.5"),
            "label": "sd-1",
            "time_in_force": "immediate_or_cancel",
            "valid_until": 1_700,
        },
    )
    method, params = wire.order_request(order(quantity="0.3"), CALL, 1)
    assert (method, params["amount"], "price" in params) == ("private/buy", D("0.3"), False)


@pytest.mark.rows(
    ("limit", "named"),
    [(None, {"type": "stop_market"}), ("89000", {"type": "stop_limit", "price": D("89000")})],
)
def test_a_stop_goes_out_with_its_trigger_on_the_mark(limit, named):
    stop = msgspec.structs.replace(order(side=Side.SELL, limit=limit), order_type=Stop(D("89500.5")))
    assert wire.order_request(stop, SWAP, 1_700) == (
        "private/sell",
        {
            "instrument_name": "BTC-PERPETUAL",
            "amount": D(500),
            "label": "sd-1",
            "time_in_force": "good_til_cancelled",
            "valid_until": 1_700,
            "trigger": "mark_price",
            "trigger_price": D("89500.5"),
        }
        | named,
    )


@pytest.mark.rows(
    ("tif", "name"),
    [
        (TimeInForce.DAY, "good_til_day"),
        (TimeInForce.GTC, "good_til_cancelled"),
        (TimeInForce.IOC, "immediate_or_cancel"),
        (TimeInForce.FOK, "fill_or_kill"),
    ],
)
def test_lifetimes_have_the_venues_names(tif, name):
    _, params = wire.order_request(order(tif=tif), SWAP, 1)
    assert params["time_in_force"] == name


def test_an_order_that_the_venue_has_not_is_refused_with_its_kind():
    with pytest.raises(WireError, match="no market order for opg here"):
        wire.order_request(order(tif=TimeInForce.OPG), SWAP, 1)
    with pytest.raises(WireError, match="a label has at most 64 characters"):
        wire.order_request(order("x" * 65), SWAP, 1)
    assert wire.order_request(order("x" * 64), SWAP, 1)[1]["label"] == "x" * 64


@pytest.mark.rows(
    ("name", "combo"),
    [
        ("BTC-STRD-14MAR25-90000", True),
        ("BTC-PS-X", True),
        ("BTC-PERPETUAL", False),
        ("BTC-14MAR25", False),
        ("BTC-14MAR25-90000-C", False),
        (None, False),
    ],
)
def test_a_combo_is_known_by_its_name(name, combo):
    assert wire.is_combo(name) is combo


@pytest.fixture
def options():
    return Instruments([CALL, PUT])


def combo(*quantities, net="0.03"):
    legs = tuple(
        order(f"sd-{number}", number, Side.SELL if text[0] == "-" else Side.BUY, text.lstrip("-"))
        for number, text in enumerate(quantities)
    )
    return MultiLegOrder("whole", legs, None if net is None else D(net), TimeInForce.IOC)


def test_a_combo_is_asked_for_by_the_legs_of_one_set(options):
    assert wire.combo_trades(combo("0.2", "-0.4"), options) == [
        {"instrument_name": CALL.symbol, "amount": D(1), "direction": "buy"},
        {"instrument_name": PUT.symbol, "amount": D(2), "direction": "sell"},
    ]
    legs = [
        {"instrument_name": CALL.symbol, "amount": 1},
        {"instrument_name": PUT.symbol, "amount": -2},
    ]
    assert wire.read_combo({"id": "BTC-X", "legs": legs}) == ("BTC-X", {CALL.symbol: D(1), PUT.symbol: D(-2)})


@pytest.mark.rows(
    ("quantities", "sets"),
    [(("0.5", "0.5"), "0.5"), (("0.2", "-0.4"), "0.2"), (("0.3", "1"), "0.1"), (("20", "10.0"), "10")],
)
def test_an_order_has_the_most_sets_that_leave_whole_legs(quantities, sets):
    assert combo(*quantities).sets == D(sets)


@pytest.mark.rows(
    ("quantities", "legs", "side"),
    [
        (("0.5", "0.5"), (1, 1), Side.BUY),
        (("-0.5", "-0.5"), (1, 1), Side.SELL),
        (("0.2", "-0.4"), (-1, 2), Side.SELL),
        (("0.5", "-0.5"), (1, 1), None),
        (("0.5", "0.5"), (1, 2), None),
    ],
)
def test_a_combo_is_bought_or_sold_as_its_legs_want_it(options, quantities, legs, side):
    amounts = dict(zip((CALL.symbol, PUT.symbol), map(D, legs), strict=True))
    assert wire.side_of_combo(combo(*quantities), options, amounts) is side


@pytest.mark.rows("message", [None, [], {"id": "x"}, {"id": "", "legs": []}, {"id": "x", "legs": [1]}])
def test_a_combo_that_cannot_be_read_is_refused(message):
    with pytest.raises(WireError):
        wire.read_combo(message)


@pytest.mark.rows(
    ("net", "side", "price"),
    [("0.03", Side.BUY, "0.03"), ("0.03", Side.SELL, "-0.03"), (None, Side.BUY, None)],
)
def test_the_limit_of_a_combo_is_that_of_the_side_it_is_traded_on(options, net, side, price):
    method, params = wire.combo_request(combo("0.2", "-0.4", net=net), options, "BTC-X", side, 8)
    assert method == f"private/{side.value}"
    assert params == {
        "instrument_name": "BTC-X",
        "amount": D("0.2"),
        "type": "market" if net is None else "limit",
        "label": "whole",
        "time_in_force": "immediate_or_cancel",
        "valid_until": 8,
    } | ({} if price is None else {"price": D(price)})


STATE = {
    "order_id": "B-1",
    "order_state": "open",
    "label": "sd-1",
    "amount": 4.0,
    "filled_amount": 2.0,
    "average_price": 0.05,
    "last_update_timestamp": 2,
    "creation_timestamp": 1,
    "direction": "buy",
    "order_type": "limit",
    "price": 0.06,
}


@pytest.mark.rows(
    ("changes", "average"),
    [({}, "0.05"), ({"filled_amount": 0}, None), ({"average_price": 0}, None), ({"average_price": -1}, None)],
)
def test_an_average_price_needs_a_fill_and_a_price_above_zero(changes, average):
    report = wire.read_report(STATE | changes, CALL)
    assert report.average_price == (None if average is None else D(average))


def test_a_report_may_lack_fills_a_label_and_a_reason():
    bare = {name: STATE[name] for name in ("order_id", "order_state", "last_update_timestamp")}
    report = wire.read_report(bare, SWAP)
    assert (report.client_order_id, report.filled, report.average_price, report.reason) == ("", 0, None, "")
    assert wire.read_report(bare | {"cancel_reason": "user"}, SWAP).reason == "user"
    assert wire.read_report(bare | {"reject_reason": "late"}, SWAP).reason == "late"
    odd = wire.read_report(bare | {"order_state": "archived", "last_update_timestamp": "soon"}, SWAP)
    assert (odd.outcome, odd.ts_event_ns) == (Outcome.UNKNOWN, 0)
    assert "archived" in odd.reason


def test_of_a_combo_the_report_is_in_sets_whatever_a_contract_is():
    assert wire.read_report(STATE | {"filled_amount": 15}, None).filled == 15
    with pytest.raises(WireError, match="no whole contracts"):
        wire.read_report(STATE | {"filled_amount": 15}, SWAP)


def test_a_leg_of_a_combo_fills_as_its_part_of_the_sets():
    report = wire.leg_report(STATE | {"cancel_reason": "user"}, order("p", quantity="0.4"), PUT.symbol)
    assert (report.client_order_id, report.venue_order_id) == ("p", f"B-1/{PUT.symbol}")
    assert (report.filled, report.average_price, report.reason) == (D("0.2"), None, "user")
    for amount in (0, -1):
        with pytest.raises(WireError, match=f"an order of {amount}"):
            wire.leg_report(STATE | {"amount": amount}, order(), PUT.symbol)
    assert wire.leg_report(STATE | {"amount": 0.5, "filled_amount": 0.5}, order(), PUT.symbol).filled == 50
    assert wire.order_id_of("B-1") == wire.order_id_of("B-1/X") == "B-1"


def test_an_open_order_is_shown_in_contracts_with_its_limit():
    message = STATE | {"amount": 40.0, "filled_amount": 20.0, "average_price": 90_000.5, "price": 90_001.0}
    assert wire.read_open_order(message, SWAP, 3) == VenueOrder(
        "sd-1", "B-1", SWAP.symbol, 3, Side.BUY, D(4), D(2), D("90000.5"), "open", True, D(90_001), 1_000_000
    )
    other = wire.read_open_order(
        message | {"order_type": "market", "order_state": "filled", "direction": "sell"}, SWAP, None
    )
    assert (other.limit_price, other.is_open, other.side, other.instrument_id) == (
        None,
        False,
        Side.SELL,
        None,
    )
    with pytest.raises(WireError, match="direction is neither buy nor sell: 'zero'"):
        wire.read_open_order(message | {"direction": "zero"}, SWAP, 3)


@pytest.mark.rows("direction", ["buy", "sell"])
def test_an_open_combo_is_shown_leg_by_leg_each_on_its_own_side(direction):
    shown = wire.legs_of_open_combo(STATE | {"direction": direction}, {CALL.symbol: D(1), PUT.symbol: D(-2)})
    call, put = shown
    sides = [Side.BUY, Side.SELL] if direction == "buy" else [Side.SELL, Side.BUY]
    assert [call.side, put.side] == sides
    assert (call.quantity, call.filled, put.quantity, put.filled) == (D(4), D(2), D(8), D(4))
    assert (put.client_order_id, put.venue_order_id) == (f"sd-1/{PUT.symbol}", f"B-1/{PUT.symbol}")
    assert (put.symbol, put.instrument_id, put.parent_id) == (PUT.symbol, None, "sd-1")
    assert (put.average_price, put.limit_price, put.status, put.is_open) == (None, None, "open", True)
    assert put.submitted_ns == 1_000_000
    ended = wire.legs_of_open_combo(STATE | {"order_state": "cancelled"}, {CALL.symbol: D(1)})
    assert ended[0].is_open is False


# executions and the log ---------------------------------------------------------------------------------

TRADE = {
    "trade_id": "7",
    "order_id": "B-1",
    "direction": "sell",
    "amount": 30.0,
    "price": 90_000.5,
    "fee": 0.00009,
    "fee_currency": "BTC",
    "timestamp": 5,
}


def test_an_execution_is_counted_in_contracts_and_becomes_a_line_of_the_history():
    assert wire.read_trade(TRADE, SWAP) == VenueTrade(
        VenueFill("7", "B-1", SWAP.symbol, Side.SELL, D(3), None, D("90000.5"), 5_000_000, D("0.00009")),
        label="",
        has_fee=True,
    )
    assert wire.read_trade(TRADE | {"label": "a"}, SWAP).label == "a"


def test_a_fee_in_another_currency_and_an_unreadable_time_leave_the_execution():
    elsewhere = wire.read_trade(TRADE | {"fee_currency": "USDC"}, SWAP)
    assert (elsewhere.fill.quantity, elsewhere.fill.fee, elsewhere.has_fee) == (3, 0, False)
    assert wire.read_trade(TRADE | {"timestamp": "soon"}, SWAP).fill.ts_event_ns == 0
    for spoilt in ({"price": "x"}, {"amount": None}, {"price": "NaN"}, {"amount": 1e30}):
        with pytest.raises(WireError, match=r"price|amount"):
            wire.read_trade(TRADE | spoilt, SWAP)
    assert wire.read_trade(TRADE | {"amount": 0.1, "price": 0.0001}, CALL).fill.price == D("0.0001")


@pytest.mark.rows("own", ["M", "T"])
@pytest.mark.rows("liquidated", [None, "M", "T", "MT"])
def test_an_execution_is_of_a_liquidation_where_the_accounts_own_side_was_liquidated(own, liquidated):
    trade = wire.read_trade(TRADE | {"liquidity": own, "liquidation": liquidated}, SWAP)
    assert trade.fill.is_liquidation is (own in (liquidated or ""))


@pytest.mark.rows(
    "changes",
    [{"fee_currency": None}, {"fee": 0, "fee_currency": "USDC"}, {"fee": None, "fee_currency": "USDC"}],
)
def test_a_fee_of_nothing_or_without_a_currency_is_taken_as_it_is(changes):
    trade = wire.read_trade(TRADE | changes, SWAP)
    assert trade.has_fee
    assert trade.fill.fee == (D("0.00009") if "fee" not in changes else 0)


LINE = {"id": 12, "type": "transfer", "change": 0.5, "timestamp": 4}


@pytest.mark.rows("kind", ["trade", "maker", "taker"])
def test_trades_of_the_log_come_as_executions(kind):
    assert wire.read_log(LINE | {"type": kind}) is None


@pytest.mark.rows(
    ("kind", "cause"),
    [
        ("settlement", ChangeCause.FUNDING),
        ("transfer", ChangeCause.TRANSFER),
        ("deposit", ChangeCause.TRANSFER),
        ("withdrawal", ChangeCause.TRANSFER),
        ("usdc_reward", ChangeCause.FEE),
        ("delivery", ChangeCause.FEE),
    ],
)
def test_a_line_of_the_log_moves_cash_and_no_units(kind, cause):
    extra = {} if kind == "delivery" else {"amount": 3.0, "price": 7.0}
    found = wire.read_log(LINE | extra | {"type": kind, "instrument_name": "BTC-PERPETUAL"})
    assert found == VenueActivity("12", kind, cause, "BTC-PERPETUAL", D(0), D(0), D("0.5"), 4_000_000)


@pytest.mark.rows(
    ("price", "cause"), [(0.01, ChangeCause.CASH_SETTLEMENT), (0, ChangeCause.EXPIRED_WORTHLESS)]
)
def test_a_delivery_takes_the_contracts_at_what_they_were_worth(price, cause):
    found = wire.read_log(LINE | {"type": "delivery", "amount": -0.5, "price": price})
    assert (found.cause, found.quantity_change, found.price) == (cause, D("-0.5"), D(str(price)))
    assert (found.symbol, found.cash_change) == ("", D("0.5"))


def test_a_settlement_brings_its_funding_without_the_profit_of_the_session():
    """50,000 USD are bought at 100,000 and marked at 101,000: the cash changes by the funding alone."""
    profit, funding = D(50_000) / 100_000 - D(50_000) / 101_000, D("-0.0000125")
    held = {"instrument_name": SWAP.symbol, "size": 50_000.0, "mark_price": 101_000.0}
    swap = wire.read_position(held | {"average_price": 100_000.0}, SWAP, 1)
    summary = SUMMARY | {"equity": str(2 + profit + funding)}
    before = wire.read_account(summary | {"session_funding": float(funding)}, [swap])
    behind = wire.read_account(summary | {"session_funding": 0.0}, [swap])
    assert before.cash == pytest.approx(D("2.5"), abs=D("1e-20"))
    assert behind.cash - before.cash == funding
    line = {"side": "long", "change": str(profit + funding), "total_interest_pl": float(funding)}
    found = wire.read_log(LINE | line | {"type": "settlement", "instrument_name": SWAP.symbol})
    assert (found.cause, found.quantity_change, found.cash_change) == (ChangeCause.FUNDING, 0, funding)


def test_a_line_without_an_id_is_refused_as_it_could_not_be_told_from_another():
    with pytest.raises(WireError, match="a line of the log without an id: transfer"):
        wire.read_log({name: value for name, value in LINE.items() if name != "id"})
    assert wire.read_log(LINE | {"id": 0}).activity_id == "0"


# the account --------------------------------------------------------------------------------------------


def test_a_position_is_worth_what_the_venue_marks_it_at():
    held = {"instrument_name": "X", "size": 30.0, "average_price": 2.0, "mark_price": 4.0}
    assert wire.read_position(held, None, None) == HeldAtVenue(VenuePosition("X", None, D(30), D(2)), D(0))
    assert wire.read_position(held, SWAP, 1) == HeldAtVenue(
        VenuePosition("X", 1, D(3), D(2), SWAP), D("-7.5")
    )
    assert wire.read_position(held, CALL, 1).value == D(120)
    assert wire.read_position(held | {"mark_price": 0}, SWAP, 1).value == 0
    assert wire.read_position(held | {"size": 0}, SWAP, 1) is None


SUMMARY = {"currency": "BTC", "equity": 2.0, "available_funds": 0.5, "maintenance_margin": 0.3}


@pytest.mark.rows(
    ("names", "shown"),
    [
        ({"id": 5, "username": "me"}, "5"),
        ({"username": "me"}, "me"),
        ({}, "BTC"),
    ],
)
def test_an_account_is_named_by_its_id_its_user_or_its_coin(names, shown):
    facts = wire.read_account(SUMMARY | names, [])
    assert (facts.account_id, facts.status, facts.currency) == (shown, "ACTIVE", "BTC")
    assert (facts.cash, facts.equity) == (D(2), D(2))
    assert (facts.buying_power, facts.options_buying_power, facts.options_level) == (D("0.5"), D("0.5"), 4)
    assert (facts.may_trade, facts.may_short) == (True, True)


@pytest.mark.rows(
    ("equity", "balance", "fraction"),
    [
        (2.0, None, "0.15"),
        (2.0, 3.0, "0.15"),
        (3.0, 2.0, "0.15"),
        (0.9, 2.0, "0.333333"),
        (0.1, 2.0, "3"),
        (0.0, 2.0, "1"),
        (-1.0, 2.0, "1"),
        (2.0, 0.0, "1"),
    ],
)
def test_the_margin_is_held_against_the_smaller_of_equity_and_balance(equity, balance, fraction):
    summary = SUMMARY | {"equity": equity} | ({} if balance is None else {"margin_balance": balance})
    assert wire.read_account(summary, []).margin_fraction == D(fraction)
    nothing = wire.read_account(summary | {"maintenance_margin": 0}, [])
    assert nothing.margin_fraction == (1 if fraction == "1" else 0)


def test_the_venue_never_closes():
    clock = wire.clock_of(5, 77)
    assert (clock.now_ns, clock.is_open, clock.next_open_ns, clock.next_close_ns) == (5_000_000, True, 77, 77)


# whatever stands in a field -----------------------------------------------------------------------------

NUMBERS = (1e30, -1e30, 1e308, 2**63, 2**64, 2**127 - 1, 10**300, -(10**18), 253_402_300_800_000, -1, 0, 0.5)
"""Numbers that a frame can carry, whatever the field means."""
ABSURD = (*NUMBERS, *map(str, NUMBERS), None, True, "", "x", [], [1], {}, math.nan)
TICKER = {
    "timestamp": 1_741_000_000_000,
    "best_bid_price": 0.01,
    "best_bid_amount": 5.0,
    "best_ask_price": 0.02,
    "best_ask_amount": 5.0,
}
ORDER = STATE | {"instrument_name": CALL.symbol}
HELD = {"instrument_name": CALL.symbol, "size": 1.0, "average_price": 0.01, "mark_price": 0.02}


@pytest.mark.rows(
    ("message", "read"),
    [
        (TICKER, lambda message: wire.read_quote(message, 1, CALL, 5)),
        (ORDER, lambda message: wire.read_report(message, CALL)),
        (ORDER, lambda message: wire.read_open_order(message, CALL, 1)),
        (TRADE | {"label": "sd-1"}, lambda message: wire.read_trade(message, CALL).fill),
        (
            LINE | {"type": "settlement", "amount": 1.0, "price": 9e4, "total_interest_pl": 0.01},
            wire.read_log,
        ),
        (HELD, lambda message: wire.read_position(message, CALL, 1)),
        (
            SUMMARY | {"id": 1, "margin_balance": 2.0, "session_funding": 0.0},
            lambda message: wire.read_account(message, ()),
        ),
    ],
)
def test_whatever_stands_in_a_field_the_journal_holds_what_is_read_or_it_is_refused_by_name(message, read):
    msgspec.msgpack.encode(read(message))
    for name, value in product(message, ABSURD):
        try:
            found = read(message | {name: value})
        except WireError:
            continue
        msgspec.msgpack.encode(found)
        stamps = [getattr(found, each) for each in ("ts_event_ns", "submitted_ns") if hasattr(found, each)]
        assert all(0 <= at_ns < LATEST_NS for at_ns in stamps)
