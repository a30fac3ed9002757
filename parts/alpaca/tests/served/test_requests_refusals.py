"""Every refusal that Alpaca's users meet, with status, code and text."""

import msgspec
import pytest

from scalpdesk_testing.kit.exchange import Bench, generated

FORBIDDEN, MALFORMED, UNPROCESSABLE = 40310000, 40010001, 42210000
STOP_IOC = {"type": "stop", "stop_price": 700, "time_in_force": "ioc"}
NO_TRAIL = "trailing stop orders must specify one of trail_price or trail_percent"
STOP_ONLY = "stop orders require only stop price"
NO_EXITS = "bracket orders require take_profit.limit_price and stop_loss.stop_price"
LONG_ID = "client_order_id must be no more than 128 characters"
NO_INTENT = {"symbol": None, "order_class": "mleg", "legs": [{"symbol": "SPY", "side": "buy"}]}
EXITS_CROSSED = {
    "order_class": "bracket", "take_profit": {"limit_price": 500}, "stop_loss": {"stop_price": 550},
}  # fmt: skip
EXITS_OF_A_SALE_CROSSED = {
    "order_class": "bracket", "take_profit": {"limit_price": 550}, "stop_loss": {"stop_price": 500},
    "side": "sell",
}  # fmt: skip
FRACTION = {"qty": 1.5, "order_class": "oto", "take_profit": {"limit_price": 900}}
LIMIT_AND_STOP = {"type": "limit", "limit_price": 5, "stop_price": 4}
LIMIT_NOTIONAL = {"notional": 10, "qty": None, "type": "limit", "limit_price": 1}


def test_no_keys_and_wrong_keys(bench):
    none = bench.ask("GET", "/v2/account", headers={})
    assert (none.status, none.json()) == (403, {"message": "forbidden."})
    wrong = bench.ask("GET", "/v2/account", headers={"apca-api-key-id": "PKX", "apca-api-secret-key": "x"})
    assert (wrong.status, wrong.json()["code"]) == (401, 40110000)


def test_bearer_and_basic_keys_are_let_in(bench):
    import base64

    one = bench.credentials[0]
    basic = base64.b64encode(f"{one.key}:{one.secret}".encode()).decode()
    for header in (f"Bearer {one.secret}", f"Basic {basic}"):
        assert bench.ask("GET", "/v2/account", headers={"authorization": header}).status == 200
    assert bench.ask("GET", "/v2/account", headers={"authorization": "Basic ???"}).status == 401


@pytest.mark.rows(
    ("body", "expected"),
    [
        ({"type": "limit"}, (422, MALFORMED, "limit orders require only limit price")),
        ({"type": "stop"}, (422, MALFORMED, "stop orders require stop price")),
        ({"type": "stop", "stop_price": 0}, (422, MALFORMED, "stop_price must be > 0")),
        ({"type": "stop", "stop_price": 1, "limit_price": 1}, (422, MALFORMED, STOP_ONLY)),
        ({"type": "stop_limit", "stop_price": 1}, (422, MALFORMED, "stop limit orders require limit price")),
        ({"type": "stop_limit", "limit_price": 1}, (422, MALFORMED, "stop limit orders require stop price")),
        ({"stop_price": 1}, (422, MALFORMED, "market orders require no stop or limit price")),
        ({"qty": 0}, (422, MALFORMED, "qty must be > 0")),
        ({"qty": -1}, (422, MALFORMED, "qty must be > 0")),
        ({"qty": None}, (422, MALFORMED, "qty or notional is required, but not both")),
        ({"qty": True}, (422, MALFORMED, "qty is not a number")),
        ({"qty": "NaN"}, (422, MALFORMED, "qty is out of range")),
        ({"qty": "1e99"}, (422, MALFORMED, "qty is out of range")),
        ({"side": None}, (422, MALFORMED, "side is required")),
        ({"side": "long"}, (422, MALFORMED, "invalid side")),
        ({"type": "iceberg"}, (422, MALFORMED, "invalid order type")),
        ({"time_in_force": None}, (422, MALFORMED, "time_in_force is required")),
        ({"symbol": "NOPE"}, (422, MALFORMED, 'asset "NOPE" not found')),
        ({"limit_price": 1}, (422, MALFORMED, "market orders require no stop or limit price")),
        (
            {"type": "limit", "limit_price": 500.123},
            (
                422,
                UNPROCESSABLE,
                "invalid limit_price 500.123. sub-penny increment does not fulfill minimum pricing criteria",
            ),
        ),
        (
            {"extended_hours": True},
            (422, UNPROCESSABLE, "extended hours order must be DAY limit orders"),
        ),
        ({"qty": 10_000}, (403, FORBIDDEN, "insufficient buying power")),
        (LIMIT_NOTIONAL, (422, MALFORMED, "notional orders must be DAY market orders")),
        ({"side": "sell", "qty": 0.5}, (422, UNPROCESSABLE, 'asset "SPY" cannot be sold short')),
        ({"type": "trailing_stop"}, (422, MALFORMED, NO_TRAIL)),
        (STOP_IOC, (422, MALFORMED, "ioc orders must be market or limit orders")),
        ({"order_class": "bracket"}, (422, MALFORMED, NO_EXITS)),
        ({"client_order_id": "x" * 129}, (422, MALFORMED, LONG_ID)),
        ({"position_intent": "sell_to_open"}, (422, MALFORMED, "position_intent does not match side")),
        (LIMIT_AND_STOP, (422, MALFORMED, "limit orders require only limit price")),
        (FRACTION, (422, UNPROCESSABLE, "fractional orders must be simple orders")),
        (EXITS_CROSSED, (422, UNPROCESSABLE, "take_profit.limit_price must be > stop_loss.stop_price")),
        (
            EXITS_OF_A_SALE_CROSSED,
            (422, UNPROCESSABLE, "take_profit.limit_price must be < stop_loss.stop_price"),
        ),
        ({"order_class": "mleg"}, (422, MALFORMED, "symbol is not allowed for mleg order")),
        (NO_INTENT, (422, UNPROCESSABLE, "leg.0 position intent is required")),
    ],
)  # fmt: skip
def test_orders_that_no_market_takes(bench, body, expected):
    assert bench.refused(**body) == expected
    assert bench.get("/v2/orders", status="all") == []


def test_buying_power_names_its_figures(bench):
    bench.quote("SPY")
    answer = bench.ask(
        "POST",
        "/v2/orders",
        {
            "symbol": "SPY",
            "qty": 10_000,
            "side": "buy",
            "type": "limit",
            "limit_price": 600,
            "time_in_force": "day",
        },
    )
    assert answer.json() == {
        "code": FORBIDDEN,
        "message": "insufficient buying power",
        "buying_power": "400000",
        "cost_basis": "6000000",
    }


def test_a_body_that_is_no_object(bench):
    for body in (b"", b"[]", b"{", b'"x"'):
        assert bench.ask("POST", "/v2/orders", body).status == 400
    assert bench.ask("POST", "/v2/orders", b" " * 65_536).status == 400
    assert bench.ask("POST", "/v2/orders", b" " * 65_537).status == 413


def test_a_holding_is_not_turned_round_in_one_order(bench):
    bench.order(qty=5)
    assert bench.refused(qty=6, side="sell") == (
        403,
        FORBIDDEN,
        "insufficient qty available for order (requested: 6, available: 5)",
    )
    bench.order(qty=5, side="sell")
    bench.order(qty=3, side="sell")
    assert (
        bench.refused(qty=4, side="buy")[2]
        == "insufficient qty available for order (requested: 4, available: 3)"
    )


def test_open_closing_orders_hold_the_position(bench):
    bench.order(qty=5)
    bench.order(qty=4, side="sell", type="limit", limit_price=700)
    position = bench.get("/v2/positions/SPY")
    assert (position["qty"], position["qty_available"]) == ("5", "1")
    assert bench.ask("DELETE", "/v2/positions/SPY").status == 403
    assert bench.refused(qty=2, side="sell")[2].endswith("(requested: 2, available: 1)")


@pytest.mark.rows("percentage", ["1", "50", "99.5", "100"])
def test_a_percentage_of_a_position_is_closed(bench, percentage):
    bench.order(qty=100)
    answer = bench.ask("DELETE", "/v2/positions/SPY", percentage=percentage)
    assert (answer.status, answer.json()["qty"]) == (200, percentage)


@pytest.mark.rows("query", [{"percentage": 0}, {"percentage": 100.1}, {"percentage": 5, "qty": 1}])
def test_what_is_no_part_of_a_position_is_not_closed(bench, query):
    bench.order(qty=100)
    assert bench.ask("DELETE", "/v2/positions/SPY", **query).status == 422
    assert bench.get("/v2/positions/SPY")["qty"] == "100"


def test_wash_trades(bench):
    bench.order(qty=5)
    bench.order(qty=1, side="sell", type="limit", limit_price=610)
    answer = bench.ask(
        "POST",
        "/v2/orders",
        {"symbol": "SPY", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"},
    )
    assert (answer.status, answer.json()) == (
        403,
        {
            "code": FORBIDDEN,
            "message": "potential wash trade detected. use complex orders",
            "reject_reason": "opposite side limit order exists",
        },
    )
    assert "status" in bench.order(qty=1, side="buy", type="limit", limit_price=580)


def test_covered_and_uncovered_options(bench):
    call, put = bench.option(), bench.option(right="put")
    status, code, message = bench.refused(symbol=call, side="sell")
    assert (status, code) == (403, FORBIDDEN)
    assert message == "insufficient underlying qty available for covered call (required: 100, available: 0)"
    bench.order(qty=100)
    assert bench.seen(bench.order(symbol=call, side="sell"))["status"] == "filled"
    assert bench.refused(symbol=call, side="sell")[2].endswith("(required: 100, available: 0)")
    assert bench.refused(symbol=put, side="sell", qty=2)[2].startswith(
        "insufficient options buying power for cash-secured put (required: "
    )
    legs = [
        {"symbol": call, "ratio_qty": "1", "side": "buy", "position_intent": "buy_to_close"},
        {"symbol": put, "ratio_qty": "1", "side": "sell", "position_intent": "sell_to_open"},
    ]
    refused = bench.refused(symbol=None, side=None, order_class="mleg", legs=legs)
    assert refused == (403, FORBIDDEN, "account not eligible to trade uncovered option contracts")


@pytest.mark.rows(
    ("level", "rights", "message"),
    [
        (0, ("call",), "account not authorized to trade options"),
        (1, ("call",), "account not eligible to trade long option contracts"),
        (2, ("call", "put"), "account not eligible to trade multi-leg option orders"),
    ],
)
def test_options_levels(level, rights, message):
    bench = Bench(generated(), options_level=level)
    symbol, *more = (bench.option(right=right) for right in rights)
    legs = [{"symbol": one, "ratio_qty": "1", "position_intent": "buy_to_open"} for one in (symbol, *more)]
    body = {"symbol": None, "side": None, "order_class": "mleg", "legs": legs} if more else {"symbol": symbol}
    assert bench.refused(**body) == (403, FORBIDDEN, message)
    assert bench.get("/v2/account")["options_trading_level"] == level


@pytest.mark.rows(
    ("body", "message"),
    [
        ({"qty": 1.5}, "qty must be an integer for options orders"),
        ({"notional": 100, "qty": None}, "notional is not supported for options orders"),
        ({"time_in_force": "ioc"}, "order_time_in_force provided not supported for options trading"),
        ({"time_in_force": "gtc"}, "order_time_in_force provided not supported for options trading"),
        ({"type": "trailing_stop", "trail_price": 1}, "invalid order type for options trading"),
        (
            {"order_class": "bracket", "take_profit": {"limit_price": 90}, "stop_loss": {"stop_price": 1}},
            "complex orders are not supported for options trading",
        ),
    ],
)
def test_orders_that_options_do_not_know(bench, body, message):
    assert bench.refused(symbol=bench.option(), **body) == (422, MALFORMED, message)


def test_options_take_gtc_limits(bench):
    order = bench.order(symbol=bench.option(), type="limit", limit_price=1, time_in_force="gtc")
    assert bench.seen(order)["status"] == "new"
    assert bench.seen(order)["expires_at"] is None


def test_orders_by_id(bench):
    assert bench.ask("GET", "/v2/orders/abc").json() == {"code": MALFORMED, "message": "order_id is missing"}
    assert bench.ask("DELETE", "/v2/orders/abc").status == 422
    unknown = "3f5f2e8e-3f0f-4c6e-9f5b-0d3f6f5a7b11"
    answer = bench.ask("GET", f"/v2/orders/{unknown}")
    assert answer.json() == {"code": 40410000, "message": f"order not found for {unknown}"}
    mine = bench.order(type="limit", limit_price=500)
    assert bench.ask("GET", f"/v2/orders/{mine['id']}", account=1).status == 404
    assert bench.ask("GET", "/v2/orders:by_client_order_id", client_order_id="none").status == 404


def test_replacements_that_are_refused():
    bench = Bench(generated(), options={"latency_ms": 100})
    waiting = bench.order(type="limit", limit_price=500)
    path = f"/v2/orders/{waiting['id']}"
    early = bench.ask("PATCH", path, {"qty": 2})
    assert early.json() == {
        "code": UNPROCESSABLE,
        "message": "unable to replace order, order isn't sent to exchange yet",
    }
    bench.advance(1)
    assert bench.ask("PATCH", path, {"limit_price": 500.001}).json()["code"] == UNPROCESSABLE
    bench.ask("DELETE", path)
    bench.advance(1)
    late = bench.ask("PATCH", path, {"qty": 2})
    assert late.json() == {
        "code": UNPROCESSABLE,
        "message": "cannot replace order in canceled status",
    }
    assert bench.ask("DELETE", path).json()["message"] == 'order is already in "canceled" state'
    old = bench.order(type="limit", limit_price=500)
    bench.advance(1)
    assert bench.ask("PATCH", f"/v2/orders/{old['id']}", {}).json() == {
        "code": UNPROCESSABLE,
        "message": "order parameters are not changed",
    }
    assert bench.ask("PATCH", f"/v2/orders/{old['id']}", {"qty": 2}).status == 200
    bench.advance(1)
    assert bench.ask("PATCH", f"/v2/orders/{old['id']}", {"qty": 3}).json()["message"] == (
        "order already replaced"
    )


def test_a_replacement_may_not_sell_one_share_more_than_is_held(bench):
    bench.order(qty=5)
    order = bench.order(qty=5, side="sell", type="limit", limit_price=700)
    path = f"/v2/orders/{order['id']}"
    more = bench.ask("PATCH", path, {"qty": 6})
    assert (more.status, more.json()["message"]) == (
        403,
        "insufficient qty available for order (requested: 1, available: 0)",
    )
    assert bench.ask("PATCH", path, {"qty": 4}).status == 200


def test_a_blocked_account_takes_no_orders(bench):
    changed = bench.ask("PATCH", "/v2/account/configurations", {"suspend_trade": True})
    assert changed.json()["suspend_trade"] is True
    assert bench.refused()[0] == 403


def test_rate_limit_counts_down_and_refuses():
    bench = Bench(generated(), trading_limit=3)
    answers = [bench.ask("GET", "/v2/clock") for _ in range(4)]
    assert [one.status for one in answers] == [200, 200, 200, 429]
    assert [one.headers["X-RateLimit-Remaining"] for one in answers[:3]] == ["2", "1", "0"]
    assert answers[0].headers["X-RateLimit-Limit"] == "3"
    assert answers[3].json()["code"] == 42910000
    assert bench.ask("GET", "/v2/stocks/quotes/latest", symbols="SPY").status == 200
    bench.clock_ns += 60_000_000_000
    assert bench.ask("GET", "/v2/clock").status == 200


def test_an_unknown_path_and_an_unknown_page(bench):
    assert bench.ask("GET", "/v2/nothing/here").status == 404
    assert bench.ask("GET", "/v2/options/contracts", page_token="!!").status == 422
    assert bench.ask("GET", "/v2/options/contracts", limit=0).status == 422
    assert bench.ask("GET", "/v2/stocks/bars", symbols="SPY", timeframe="7Foo").status == 400
    assert bench.ask("GET", "/v2/stocks/quotes/latest").status == 400
    for path in ("/v2/options/contracts", "/v1beta1/options/snapshots/SPY"):
        for bound in ("much", "nan", "inf"):
            assert bench.ask("GET", path, strike_price_gte=bound).status == 422
    for name in ("start", "end"):
        assert bench.ask("GET", "/v2/stocks/bars", symbols="SPY", **{name: "soon"}).status == 422


def test_a_client_that_keeps_microseconds_sees_each_order_once_page_by_page(bench):
    made = []
    for number in range(7):
        bench.world.ledger.now_ns += 1_000 + 137 * number
        made.append(bench.order(type="limit", limit_price=500)["id"])
    seen, query = [], {}
    while page := bench.get("/v2/orders", limit=2, direction="asc", **query):
        seen += [order["id"] for order in page]
        query = {"after": f"{page[-1]['submitted_at'][:26]}Z"}
    assert seen == made
    query, back = {}, []
    while page := bench.get("/v2/orders", limit=2, **query):
        back += [order["id"] for order in page]
        query = {"until": f"{page[-1]['submitted_at'][:26]}Z"}
    assert back == made[::-1]


def test_answers_are_json(bench):
    answer = bench.ask("GET", "/v2/account")
    assert answer.headers["Content-Type"].startswith("application/json")
    assert msgspec.json.decode(answer.body)["currency"] == "USD"
