"""Alpaca's messages at the bounds of what is believed: lengths, sizes, absent fields; requests in full."""

import json
from datetime import date
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.intents import (
    MultiLegOrder,
    OrderType,
    Purpose,
    ReplaceOrder,
    Side,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Equity
from scalpdesk_alpaca import account_messages, order_messages
from scalpdesk_alpaca.fields import BadMessage, Malformed
from scalpdesk_alpaca.messages import Authorized, Listening, StreamError
from scalpdesk_alpaca.order_messages import (
    ReplyVerdict,
    TradeUpdate,
    judge,
    read_order,
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


# the account ----------------------------------------------------------------------------------------

ACCOUNT = {"id": "a", "status": "ACTIVE", "cash": "5"}


def account(**changes):
    return account_messages.read_account(AS_JSON(ACCOUNT | changes))


def test_an_account_that_names_little_has_nothing_and_no_rights_beyond_trading():
    facts = account()
    assert (facts.account_id, facts.status, facts.currency, facts.cash) == ("a", "ACTIVE", "USD", 5)
    assert (facts.equity, facts.buying_power, facts.options_buying_power) == (0, 0, 0)
    assert (facts.options_level, facts.may_trade, facts.may_short) == (0, True, False)
    full = account(
        currency="EUR", equity="6", buying_power="7", options_buying_power="8", options_approved_level=3
    )
    assert (full.currency, full.equity, full.buying_power, full.options_buying_power) == ("EUR", 6, 7, 8)
    assert full.options_level == 3
    assert account(options_approved_level=3, options_trading_level=0).options_level == 0


@pytest.mark.parametrize(("field", "longest"), [("id", 64), ("status", 40), ("currency", 8)])
def test_names_of_an_account_have_a_longest_length(field, longest):
    account(**{field: "x" * longest})
    with pytest.raises(Malformed):
        account(**{field: "x" * (longest + 1)})


ASSET = {
    "symbol": "A/B",
    "status": "active",
    "tradable": True,
    "shortable": True,
    "easy_to_borrow": True,
}


def test_a_share_may_be_sold_short_only_where_all_says_so():
    assert account_messages.asset_request("A/B").path == "/v2/assets/A%2FB"
    assert account_messages.asset_request("A/B").method == "GET"

    def read(changes):
        return account_messages.read_may_short(AS_JSON(ASSET | changes), "A/B")

    assert read({}) is True
    for changes in (
        {"status": "inactive"},
        {"tradable": False},
        {"shortable": False},
        {"easy_to_borrow": False},
    ):
        assert read(changes) is False
    assert account_messages.read_may_short(AS_JSON({"symbol": "A/B"}), "A/B") is False
    with pytest.raises(Malformed, match="wrong_symbol: C"):
        read({"symbol": "C"})


def position(symbol="SPY", **changes):
    row = {"symbol": symbol, "qty": "3", "avg_entry_price": "10"} | changes
    ((held),) = account_messages.read_positions(AS_JSON([row]), {"SPY": 0}.get)
    return held


@pytest.mark.parametrize(
    ("changes", "quantity"),
    [
        ({}, 3),
        ({"side": "short"}, -3),
        ({"side": "short", "qty": "-3"}, -3),
        ({"side": "short", "qty": "0"}, 0),
    ],
)
def test_a_position_is_negative_where_it_is_short(changes, quantity):
    held = position(**changes)
    assert (held.quantity, held.average_price, held.instrument_id) == (quantity, 10, 0)
    assert str(held.quantity) == str(quantity)


def test_a_holding_has_an_instrument_where_its_terms_are_known():
    assert position(asset_class="us_equity").instrument == Equity("SPY")
    assert position().instrument is None
    assert position("BTCUSD", asset_class="crypto").instrument is None
    option = position("SPY240419C00500000", asset_class="us_option").instrument
    assert (option.underlying, option.strike) == ("SPY", 500)
    assert position("SPY1240419C00500000", asset_class="us_option").instrument is None  # adjusted
    assert position("nonsense", asset_class="us_option").instrument is None
    assert position("x" * 32).symbol == "x" * 32
    with pytest.raises(Malformed, match="bad_symbol"):
        position("x" * 33)


# contracts and quotes -------------------------------------------------------------------------------

CONTRACT = {
    "symbol": "SPY240419C00500000",
    "expiration_date": "2024-04-19",
    "strike_price": "500",
    "underlying_symbol": "SPY",
}


def listed(**changes):
    page = {"option_contracts": [CONTRACT | changes]}
    found, token, bad = account_messages.read_contracts(AS_JSON(page))
    assert token is None
    return found[0] if found else bad[0].name


def test_a_contract_that_names_little_is_tradable_a_hundred_shares_of_unknown_interest():
    plain = listed()
    assert (plain.contract.multiplier, plain.open_interest_contracts, plain.is_tradable) == (100, None, True)
    assert listed(multiplier="100000").contract.multiplier == 100_000
    assert listed(open_interest="1000000000").open_interest_contracts == 10**9
    assert listed(multiplier="100001") == "bad_multiplier"
    assert listed(open_interest="1000000001") == "bad_open_interest"
    assert listed(open_interest="-1") == "bad_open_interest"
    assert listed(multiplier="0") == "bad_multiplier"
    assert listed(symbol="SPY240419C00500000".ljust(33, "x")) == "bad_symbol"


def test_requests_for_contracts_and_quotes_are_whole():
    asked = account_messages.contracts_request("SPY", date(2024, 4, 1), date(2024, 4, 30))
    parts = urlsplit(asked.path)
    assert (asked.method, parts.path) == ("GET", "/v2/options/contracts")
    assert parse_qs(parts.query) == {
        "underlying_symbols": ["SPY"],
        "status": ["active"],
        "expiration_date_gte": ["2024-04-01"],
        "expiration_date_lte": ["2024-04-30"],
        "limit": ["10000"],
    }
    for is_option, path in ((True, "/v1beta1/options/quotes/latest"), (False, "/v2/stocks/quotes/latest")):
        asked = account_messages.latest_quotes_request(["A", "B"], is_option=is_option, feed="iex")
        parts = urlsplit(asked.path)
        assert (parts.path, parse_qs(parts.query)) == (path, {"symbols": ["A,B"], "feed": ["iex"]})


@pytest.mark.parametrize(
    ("request_of", "path"),
    [
        (account_messages.fills_request, "/v2/account/activities/FILL"),
        (account_messages.activities_request, "/v2/account/activities"),
    ],
)
def test_requests_for_activities_are_a_hundred_oldest_first(request_of, path):
    parts = urlsplit(request_of("2024-03-01T00:00:00Z").path)
    query = parse_qs(parts.query)
    kinds = query.pop("activity_types", None)
    assert parts.path == path
    assert query == {"after": ["2024-03-01T00:00:00Z"], "direction": ["asc"], "page_size": ["100"]}
    assert (kinds is None) is (request_of is account_messages.fills_request)
    assert parse_qs(urlsplit(request_of("x", "next").path).query)["page_token"] == ["next"]


def activity(**changes):
    row = {"id": "a1", "activity_type": "OPASN", "date": "2024-03-04", "symbol": "SPY", "qty": "2"} | changes
    (found,), _ = account_messages.read_activities(AS_JSON([row]))
    return found


def test_an_activity_without_a_time_is_of_the_start_of_its_day():
    found = activity()
    assert found.ts_event_ns == 1_709_510_400 * 10**9
    assert (found.activity_id, found.kind, found.price, found.cash_change) == ("a1/OPASN", "OPASN", 0, 0)
    assert activity(symbol=None).symbol == ""
    assert activity(price="3").price == 3
    assert activity(activity_type="DIV", price="3").price == 0
    for bad in ({"price": "-3"}, {"id": "x" * 81}, {"symbol": "x" * 33}):
        with pytest.raises(Malformed):
            activity(**bad)
    assert activity(id="x" * 80).activity_id == "x" * 80 + "/OPASN"


@pytest.mark.parametrize(
    ("kinds", "cause"),
    [
        (("OPASN",), ChangeCause.ASSIGNMENT),
        (("OPEXC",), ChangeCause.EXERCISE),
        (("OPEXP",), ChangeCause.EXPIRED_WORTHLESS),
        (("OPCSH",), ChangeCause.CASH_SETTLEMENT),
        (("OPTRD",), ChangeCause.DELIVERY),
        (("ACATS", "JNLS", "ACATC", "CSD", "CSW", "JNLC"), ChangeCause.TRANSFER),
        (("SPLIT",), ChangeCause.CORPORATE_ACTION),
        (("CIL", "DIV", "DIVCGL", "DIVNRA", "DIVWH", "WH"), ChangeCause.DIVIDEND),
        (("INT", "INTPNL", "SWP"), ChangeCause.INTEREST),
        (("CFEE", "FEE", "PTC"), ChangeCause.FEE),
    ],
)
def test_each_kind_of_activity_has_its_cause(kinds, cause):
    assert {activity(activity_type=kind).cause for kind in kinds} == {cause}


@pytest.mark.parametrize("kind", ["MA", "NC", "REORG", "SPIN"])
def test_what_makes_another_share_of_a_share_is_passed_over_and_so_left_to_the_operator(kind):
    """A merger was booked as a sale of all shares for nothing."""
    line = {"id": "1", "activity_type": kind, "symbol": "XYZ", "qty": "-100", "date": "2024-06-10"}
    assert account_messages.read_activities(json.dumps([line]).encode()) == ([], None)


# orders ---------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("field", "longest", "name"),
    [("event", 40, "bad_event"), ("execution_id", 80, "bad_execution_id")],
)
def test_names_of_an_execution_have_a_longest_length(field, longest, name):
    def read(length):
        message = samples.fill_update()
        message["data"][field] = "x" * length
        if field == "event":
            message["data"] |= {"qty": None, "price": None}
        return read_update(AS_JSON(message))

    assert isinstance(read(longest), TradeUpdate)
    refused(read(longest + 1), name)


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
    ("field", "longest", "name"),
    [
        ("execution_id", 80, "bad_execution_id"),
        ("order_id", 64, "bad_order_id"),
        ("symbol", 32, "bad_symbol"),
    ],
)
def test_names_of_a_leg_have_a_longest_length(field, longest, name):
    def read(length):
        message = samples.combo_fill()
        message["data"]["legs"][0][field] = "x" * length
        return read_update(AS_JSON(message))

    assert isinstance(read(longest), TradeUpdate)
    refused(read(longest + 1), name)


def test_a_leg_without_a_time_was_filled_with_the_whole():
    message = samples.combo_fill()
    message["data"]["timestamp"] = "1970-01-01T00:00:05Z"
    message["data"]["legs"][0].pop("timestamp")
    message["data"]["legs"][1]["timestamp"] = "1970-01-01T00:00:06Z"
    assert [leg.ts_event_ns for leg in read_update(AS_JSON(message)).legs] == [5 * 10**9, 6 * 10**9]


@pytest.mark.parametrize(
    ("field", "longest", "name"),
    [
        ("id", 64, "bad_order_id"),
        ("client_order_id", 128, "bad_client_order_id"),
        ("symbol", 32, "bad_symbol"),
    ],
)
def test_names_of_an_order_have_a_longest_length(field, longest, name):
    assert isinstance(updated(**{field: "x" * longest}), TradeUpdate)
    refused(updated(**{field: "x" * (longest + 1)}), name)


def test_an_order_shows_every_field():
    order = read_order(
        AS_JSON(
            samples.order(
                qty="10",
                filled_qty="10",
                filled_avg_price="0",
                status="filled",
                side="sell_short",
                limit_price="5.5",
                replaces="r1",
                replaced_by="r2",
                submitted_at="1970-01-01T00:00:02Z",
                updated_at="1970-01-01T00:00:03Z",
                created_at="1970-01-01T00:00:01Z",
            )
        )
    )
    assert (order.venue_order_id, order.client_order_id, order.symbol) == (samples.ORDER_ID, "sd-1", "NVDA")
    assert (order.side, order.quantity, order.filled, order.average_price) == (Side.SELL, 10, 10, 0)
    assert (order.status, order.is_open, order.limit_price) == ("filled", False, D("5.5"))
    assert (order.submitted_ns, order.updated_ns) == (2 * 10**9, 3 * 10**9)
    assert (order.replaces, order.replaced_by, order.legs) == ("r1", "r2", ())


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


def order(number=SHARE, quantity="10", name="sd-1", purpose=Purpose.HEDGE, limit=None, side=Side.BUY):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else D(limit)
    return SubmitOrder(name, number, side, D(quantity), kind, price, TimeInForce.GTC, purpose)


def body(request):
    return json.loads(request.body)


def test_a_request_is_about_the_order_that_it_sends():
    sent = order_messages.submit_request(order(CALL, "2"), BOOK)
    assert (sent.about, "position_intent" in body(sent), "limit_price" in body(sent)) == (
        "sd-1",
        False,
        False,
    )
    share = order_messages.submit_request(order(SHARE, "1.5", purpose=Purpose.OPEN, limit="5.50"), BOOK)
    assert (body(share)["qty"], body(share)["limit_price"]) == ("1.5", "5.5")
    assert "position_intent" not in body(share)
    for number, quantity in ((SHARE, "0"), (SHARE, "-1"), (CALL, "0.5")):
        with pytest.raises(ArgumentError) as caught:
            order_messages.submit_request(order(number, quantity), BOOK)
        assert (caught.value.where, caught.value.value) == ("order sd-1", quantity)
    with pytest.raises(ArgumentError, match="needs a price") as caught:
        order_messages.submit_request(
            SubmitOrder("x", SHARE, Side.BUY, D(1), OrderType.LIMIT, None, TimeInForce.DAY, Purpose.HEDGE),
            BOOK,
        )
    assert caught.value.where == "order x"


@pytest.mark.parametrize("net", [None, "-3.50"])
def test_a_combo_is_at_the_market_or_at_its_net_price(net):
    legs = (
        order(CALL, "4", "a", Purpose.CLOSE, side=Side.SELL),
        order(PUT, "2", "b", Purpose.HEDGE, side=Side.SELL),
    )
    request = order_messages.combo_request(
        MultiLegOrder("m", legs, None if net is None else D(net), TimeInForce.DAY), BOOK
    )
    sent = body(request)
    assert (request.method, request.path, request.about) == ("POST", "/v2/orders", "m")
    assert sent.pop("limit_price", None) == (None if net is None else "-3.5")
    assert sent == {
        "order_class": "mleg",
        "qty": "2",
        "type": "market" if net is None else "limit",
        "time_in_force": "day",
        "client_order_id": "m",
        "legs": [
            {
                "symbol": "SPY240419C00500000",
                "ratio_qty": "2",
                "side": "sell",
                "position_intent": "sell_to_close",
            },
            {
                "symbol": "SPY240419P00500000",
                "ratio_qty": "1",
                "side": "sell",
                "position_intent": "sell_to_open",
            },
        ],
    }


def test_orders_are_replaced_cancelled_and_asked_for_by_request():
    at_market = order_messages.replace_request(ReplaceOrder("a", order(name="b")), "v/1", D("2.5"))
    assert (at_market.method, at_market.path, at_market.about) == ("PATCH", "/v2/orders/v%2F1", "b")
    assert body(at_market) == {"qty": "12.5", "time_in_force": "gtc", "client_order_id": "b"}
    cancel = order_messages.cancel_request("v/1")
    assert (cancel.method, cancel.path) == ("DELETE", "/v2/orders/v%2F1")
    asked = order_messages.order_by_client_id_request("sd-1")
    assert (asked.method, asked.about) == ("GET", "sd-1")
    first = urlsplit(order_messages.open_orders_request().path)
    assert first.path == "/v2/orders"
    expected = {"status": ["open"], "limit": ["500"], "direction": ["asc"], "nested": ["true"]}
    assert parse_qs(first.query) == expected
    later = urlsplit(order_messages.open_orders_request("2024-03-01T00:00:00Z").path)
    assert parse_qs(later.query) == expected | {"after": ["2024-03-01T00:00:00Z"]}


@pytest.mark.parametrize("purpose", [Purpose.HEDGE, Purpose.UNWIND_HEDGE])
def test_what_a_hedge_in_options_does_is_left_to_the_venue(purpose):
    assert order_messages.position_intent(order(CALL, "1", purpose=purpose)) is None


@pytest.mark.parametrize("purpose", list(Purpose))
def test_the_effect_on_a_shared_account_is_the_venues_to_infer(purpose):
    one = msgspec.structs.replace(order(CALL, "1", purpose=purpose), owner="st0cka")
    assert order_messages.position_intent(one) is None


def test_the_stream_is_told_keys_and_names():
    auth, listen = order_messages.stream_auth("K", "S"), order_messages.stream_listen(("trade_updates",))
    assert json.loads(auth) == {"action": "auth", "key": "K", "secret": "S"}
    assert json.loads(listen) == {"action": "listen", "data": {"streams": ["trade_updates"]}}


# replies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
    "text", ["order is already in", "is not cancelable", "client_order_id must be unique"]
)
def test_texts_of_an_order_mean_nothing_at_another_status(text):
    assert judge(400, AS_JSON({"message": text})).verdict is ReplyVerdict.REFUSED
    assert judge(404, AS_JSON({"message": text})).verdict is ReplyVerdict.NOT_FOUND
    assert judge(422, AS_JSON({"message": text.upper()})).verdict is not ReplyVerdict.REFUSED


def test_a_reason_is_cut_and_printable():
    answer = judge(422, AS_JSON({"code": "c" * 20, "message": "a\nb" + "x" * 300}))
    assert answer.reason == ("HTTP 422 " + "c" * 12 + " ab" + "x" * 300)[:200]
    assert judge(422, AS_JSON({"code": 0})).reason == "HTTP 422 0"
    assert judge(422, AS_JSON({"message": "m"})).reason == "HTTP 422 m"


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "believed"),
    [
        (999_999_999, 0, 0, True),
        (10**9, 0, 0, False),
        (1, 1, 4_102_444_799, True),
        (1, 1, 4_102_444_800, False),
        (1, 2, 0, False),
    ],
)
def test_a_rate_limit_is_believed_within_its_bounds(limit, remaining, reset, believed):
    headers = {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(reset),
    }
    assert (order_messages.rate_limit(headers) is not None) is believed
