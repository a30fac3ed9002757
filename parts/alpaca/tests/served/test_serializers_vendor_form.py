"""The exchange's answers have the fields, types and codes of the vendor's.

They are compared with rows of our own in the vendor's form, and with what the vendor sent where that lies
beside the project.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scalpdesk.exchange.market import Pace
from scalpdesk.simulation.faults import Fault
from scalpdesk_alpaca.served.serializers import event_id
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.exchange import Bench, generated

FOLDER = Path(__file__).parent / "../../../../../shared/data/alpaca_samples"
FORMS = Path(__file__).parents[1] / "vendor_forms.json"
ORDER = (
    "id client_order_id created_at updated_at submitted_at filled_at expired_at canceled_at failed_at "
    "replaced_at replaced_by replaces asset_id symbol asset_class notional qty filled_qty filled_avg_price "
    "order_class order_type type side time_in_force limit_price stop_price status extended_hours legs "
    "trail_percent trail_price hwm expires_at"
)
FIELDS = {
    "account": "id account_number status crypto_status crypto_tier currency created_at cash equity "
    "last_equity portfolio_value long_market_value short_market_value position_market_value initial_margin "
    "maintenance_margin last_maintenance_margin sma accrued_fees pending_reg_taf_fees intraday_adjustments "
    "bod_dtbp buying_power effective_buying_power daytrading_buying_power regt_buying_power "
    "non_marginable_buying_power options_buying_power multiplier pending_transfer_in pending_transfer_out "
    "trading_blocked transfers_blocked account_blocked trade_suspended_by_user shorting_enabled "
    "pattern_day_trader daytrade_count options_approved_level options_trading_level balance_asof "
    "admin_configurations user_configurations",
    "account_configurations": "disable_overnight_trading dtbp_check fractional_trading max_margin_multiplier "
    "no_shorting pdt_check ptp_no_exception_entry suspend_trade trade_confirm_email "
    "max_options_trading_level",
    "asset": "id class exchange symbol name status tradable marginable shortable easy_to_borrow fractionable "
    "maintenance_margin_requirement margin_requirement_long margin_requirement_short attributes",
    "calendar": "date open close session_open session_close settlement_date",
    "clock": "timestamp is_open next_open next_close",
    "fill": "id activity_type transaction_time type price qty side symbol leaves_qty cum_qty order_id "
    "order_status",
    "activity": "id account_id activity_type date created_at net_amount description symbol qty status "
    "group_id currency",
    "position": "asset_id symbol exchange asset_class asset_marginable qty qty_available side "
    "avg_entry_price market_value cost_basis unrealized_pl unrealized_plpc unrealized_intraday_pl "
    "unrealized_intraday_plpc current_price lastday_price change_today",
    "order": f"{ORDER} position_intent subtag source",
    "parent": f"{ORDER} subtag source",
    "leg": f"{ORDER} position_intent ratio_qty subtag source",
    "update": "event event_id timestamp at order",
    "fill_update": "event event_id timestamp at order price qty position_qty execution_id swap_rate "
    "settle_date",
    "combo_update": "event event_id timestamp at order price qty legs position_qtys swap_rate settle_date",
    "stream_order": f"{ORDER} position_intent subtag source cancel_requested_at",
    "contract": "id symbol name status tradable expiration_date root_symbol underlying_symbol "
    "underlying_asset_id type style strike_price ppind multiplier size open_interest open_interest_date "
    "close_price close_price_date",
    "stock_quote": "t ax ap as bx bp bs c z",
    "option_quote": "t ax ap as bx bp bs c",
    "stock_trade": "t x p s c i z",
    "option_trade": "t x p s c",
    "bar": "t o h l c v n vw",
    "stream q": "T S t ax ap as bx bp bs c z",
    "stream t": "T S t x p s c i z",
    "stream b": "T S t o h l c v n vw",
    "stream s": "T S t sc sm rc rm z",
    "stream option q": "T S t ax ap as bx bp bs c",
    "stream success": "T msg",
    "stream error": "T code msg",
    "cancelled": "id status body",
    "closed": "symbol status body",
    "snapshot": "greeks impliedVolatility latestQuote latestTrade",
    "dividend": "id symbol cusip rate special foreign process_date ex_date record_date payable_date",
}
NOT_OFFERED = {
    "commission": "of brokers who charge one; of the documentation of brokers' accounts",
    "swap_rate": "of fills in currency pairs in the history",
    "u": "of corrected trades: the exchange keeps the latest only",
    "cusip": "of contracts, it repeats the symbol",
    "price": "of deliveries only; the exchange's own test holds it",
    "per_share_amount": "of dividends only",
    "activity_sub_type": "the exchange charges one fee for all of them",
    "legs": "older orders of the list had none",
}


def sort_of(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return type(value).__name__


@pytest.fixture(scope="module")
def shown() -> dict[str, dict[str, Any]]:
    """One answer of each kind, after a share and a straddle were bought and a call was exercised."""
    bench = Bench(generated(), trading_limit=0, data_limit=0)
    line = bench.trade_stream()
    line.messages()
    call, put = (bench.option(right=right) for right in ("call", "put"))
    share = bench.order(qty=3)
    legs = [
        {"symbol": symbol, "ratio_qty": "1", "side": "buy", "position_intent": "buy_to_open"}
        for symbol in (call, put)
    ]
    bench.order(symbol=None, side=None, order_class="mleg", legs=legs)
    bench.advance(61)
    updates = [message["data"] for message in line.messages()]
    parent = bench.get("/v2/orders", status="all", nested="true")[0]
    bench.ask("POST", f"/v2/positions/{call}/exercise")
    quotes = bench.get("/v1beta1/options/quotes/latest", symbols=call)["quotes"]
    stocks = {"symbols": "SPY"}
    by_event = {update["event"] + update["order"]["symbol"]: update for update in updates}
    activities = bench.get("/v2/account/activities")
    bench.order(symbol="NVDA", type="limit", limit_price=1)
    return {
        **streamed(call),
        "cancelled": bench.ask("DELETE", "/v2/orders").json()[0],
        "account": bench.get("/v2/account"),
        "account_configurations": bench.get("/v2/account/configurations"),
        "asset": bench.get("/v2/assets/SPY"),
        "calendar": bench.get("/v2/calendar")[0],
        "clock": bench.get("/v2/clock"),
        "fill": bench.get("/v2/account/activities/FILL")[0],
        "activity": next(one for one in activities if one["activity_type"] == "OPEXC"),
        "delivery": next(one for one in activities if one["activity_type"] == "OPTRD"),
        "position": bench.get(f"/v2/positions/{put}"),
        "order": bench.seen(share),
        "parent": parent,
        "leg": parent["legs"][0],
        "update": by_event["pending_newSPY"],
        "new_update": by_event["newSPY"],
        "fill_update": by_event["fillSPY"],
        "combo_update": by_event["fill"],
        "stream_order": by_event["fillSPY"]["order"],
        "contract": bench.get("/v2/options/contracts", underlying_symbols="SPY")["option_contracts"][0],
        "stock_quote": bench.get("/v2/stocks/quotes/latest", **stocks)["quotes"]["SPY"],
        "option_quote": quotes[call],
        "stock_trade": bench.get("/v2/stocks/trades/latest", **stocks)["trades"]["SPY"],
        "option_trade": bench.get("/v1beta1/options/trades/latest", symbols=call)["trades"][call],
        "bar": bench.get("/v2/stocks/bars/latest", **stocks)["bars"]["SPY"],
        "snapshot": bench.get("/v1beta1/options/snapshots", symbols=call)["snapshots"][call],
        "dividend": bench.get("/v1/corporate-actions", symbols="SPY", start="2026-01-01", end="2026-11-18")[
            "corporate_actions"
        ]["cash_dividends"][0],
        "closed": bench.ask("DELETE", "/v2/positions").json()[0],
    }


def streamed(call: str) -> dict[str, dict[str, Any]]:
    """One message of each kind of the data streams."""
    bench = Bench(generated(), trading_limit=0, data_limit=0)
    stocks, options = bench.data_stream(), bench.data_stream("/v1beta1/opra", packed=True)
    channels = {name: ["SPY"] for name in ("quotes", "trades", "bars", "statuses")}
    stocks.say({"action": "subscribe", **channels})
    options.say({"action": "subscribe", "quotes": [call]})
    bench.advance(61)
    bench.world.halt(bench.world.ledger.instruments.id_of("SPY"))
    stocks.say({"action": "nothing"})
    found = {f"stream {one['T']}": one for (one,) in stocks.messages()}
    return found | {f"stream option {one['T']}": one for (one,) in options.messages() if one["T"] == "q"}


@pytest.mark.rows("kind", FIELDS)
def test_an_answer_has_the_vendors_fields_and_no_others(kind, shown):
    assert set(shown[kind]) == set(FIELDS[kind].split())


PLACES = {
    "order_list": {"order": "*"},
    "order_oco": {"order": ""},
    "order_mleg": {"parent": "", "leg": "legs *"},
    "position_list": {"position": "*"},
    "fill_list": {"fill": "*"},
    "calendar": {"calendar": "*"},
    "option_contract": {"contract": ""},
    "option_contract_page": {"contract": "option_contracts *"},
    "stock_latest_quotes": {"stock_quote": "quotes *"},
    "option_latest_quotes": {"option_quote": "quotes *"},
    "option_latest_trades": {"option_trade": "trades *"},
    "stock_trades": {"stock_trade": "trades * *"},
    "stock_bars": {"bar": "bars * *"},
    "option_bars": {"bar": "bars * *"},
    "option_snapshots": {"snapshot": "snapshots *"},
    "option_chain": {"snapshot": "snapshots *"},
    "cancel_all_orders": {"cancelled": "*"},
    "close_all_positions": {"closed": "*"},
    "corporate_actions": {"dividend": "corporate_actions cash_dividends *"},
    **{kind: {kind: ""} for kind in ("account", "account_configurations", "asset", "clock", "order")},
}
"""Where in a sample lies what the exchange shows under which name; a star is each of a list or object."""
ACTIVITIES = {"OPTRD": "delivery", "OPASN": "activity", "OPEXC": "activity", "OPEXP": "activity"}
EVENTS = {"new": "new_update", "fill": "fill_update", "partial_fill": "fill_update"}


def inside(body: Any, path: list[str]) -> Iterator[Any]:
    if not path:
        yield body
    elif path[0] == "*":
        for one in body.values() if isinstance(body, dict) else body:
            yield from inside(one, path[1:])
    else:
        yield from inside(body[path[0]], path[1:])


def parts(sample: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the parts of a sample under the name of what the exchange shows of their kind."""
    kind = sample["kind"]
    if kind == "activity_list":
        for row in sample["body"]:
            if row["activity_type"] in ACTIVITIES:
                yield ACTIVITIES[row["activity_type"]], row
    elif kind in ("stock_stream", "option_stream", "stream_success", "stream_error"):
        name = "stream option" if kind == "option_stream" else "stream"
        yield from ((f"{name} {one['T']}", one) for one in sample["frame"] if one["T"] not in "udlcxin")
    elif kind == "trade_update" and sample["frame"]["data"]["order"].get("order_class") != "mleg":
        data = sample["frame"]["data"]
        yield "stream_order", data["order"]
        yield EVENTS.get(data["event"], "update"), data
    for name, path in PLACES.get(kind, {}).items():
        yield from ((name, one) for one in inside(sample["body"], path.split()))


@pytest.mark.parametrize(
    "files",
    [[FORMS], pytest.param(sorted(FOLDER.glob("*.json")), marks=pytest.mark.recorded)],
    ids=["our own", "the vendor's"],
)
def test_every_field_that_the_vendor_sent_is_there_in_its_type(files, shown):
    for sample in (sample for path in files for sample in json.loads(path.read_text())):
        # a field may be absent on either side, and older documentation writes some numbers plainly
        is_plain = sample["grade"] not in ("captured", "own values")
        for kind, theirs in parts(sample):
            ours = shown[kind]
            missing = set(theirs) - set(ours) - set(NOT_OFFERED)
            assert missing == set(), (sample["id"], kind)
            for name in set(theirs) & set(ours):
                pair = {sort_of(theirs[name]), sort_of(ours[name])}
                assert "NoneType" in pair or len(pair) == 1 or is_plain, (sample["id"], kind, name, pair)


# what the fields hold ----------------------------------------------------------------------------------


def test_a_combo_has_no_instrument_and_its_legs_no_type(shown):
    parent, leg = shown["parent"], shown["leg"]
    assert [parent[name] for name in ("asset_id", "symbol", "asset_class", "side")] == [""] * 4
    assert (leg["type"], leg["order_type"], leg["ratio_qty"]) == ("", "", "1")


def test_the_fill_of_a_combo_carries_the_execution_of_each_leg(shown):
    fill, parent = shown["combo_update"], shown["parent"]
    assert fill["order"]["asset_id"] == "00000000-0000-0000-0000-000000000000"
    assert fill["order"]["side"] == "buy"
    assert [(leg["order_id"], leg["symbol"], leg["price"]) for leg in fill["legs"]] == [
        (leg["id"], leg["symbol"], leg["filled_avg_price"]) for leg in parent["legs"]
    ]
    assert fill["position_qtys"] == {leg["symbol"]: "1" for leg in parent["legs"]}
    assert float(fill["price"]) == pytest.approx(sum(float(leg["price"]) for leg in fill["legs"]))


def test_an_execution_has_one_id_in_the_stream_and_in_the_history(shown):
    prefix, execution = shown["fill"]["id"].split("::")
    assert execution in {leg["execution_id"] for leg in shown["combo_update"]["legs"]}
    assert len(prefix) == len("20260204113509981")
    assert prefix.startswith("20261118100")  # New York's time; the transaction's own is UTC
    assert shown["fill"]["transaction_time"].startswith("2026-11-18T15:0")


def test_an_exercise_and_its_delivery_are_one_group(shown):
    exercise, delivery = shown["activity"], shown["delivery"]
    assert exercise["group_id"] == delivery["group_id"]
    assert exercise["id"] != delivery["id"]
    assert (exercise["qty"], delivery["qty"]) == ("-1", "100")
    assert float(delivery["net_amount"]) == -100 * float(delivery["price"])
    assert "price" not in exercise


def test_parts_of_an_order_and_opening_sales_are_named_as_the_vendor_names_them(bench):
    bench.world.faults.inject(Fault("partial_fill", fraction=0.4))
    bench.order(qty=10, side="sell")
    bench.advance(2)
    rows = bench.get("/v2/account/activities/FILL", direction="asc")
    assert [(row["side"], row["type"], row["order_status"], row["leaves_qty"]) for row in rows] == [
        ("sell_short", "partial_fill", "partially_filled", "6"),
        ("sell_short", "fill", "filled", "0"),
    ]
    bench.order(qty=10)
    assert bench.get("/v2/account/activities/FILL")[0]["side"] == "buy"


def test_what_is_held_for_orders_is_named(bench):
    bench.order(qty=3)
    resting = bench.order(qty=3, side="sell", type="limit", limit_price=900)
    body = {"symbol": "SPY", "qty": 1, "side": "sell", "type": "market", "time_in_force": "day"}
    assert bench.ask("POST", "/v2/orders", body).json() == {
        "code": 40310000,
        "message": "insufficient qty available for order (requested: 1, available: 0)",
        "symbol": "SPY",
        "available": "0",
        "existing_qty": "3",
        "held_for_orders": "3",
        "related_orders": [resting["id"]],
    }


def test_closing_everything_lists_the_cancelled_orders_too(bench):
    bench.order(qty=3)
    resting = bench.order(qty=3, side="sell", type="limit", limit_price=900)
    answer = bench.ask("DELETE", "/v2/positions", cancel_orders="True")
    assert answer.status == 207
    assert [(one["symbol"], one["status"]) for one in answer.json()] == [(resting["id"], 200), ("SPY", 200)]
    assert bench.get("/v2/positions") == []


def test_an_account_without_shorting_and_without_money_for_options():
    bench = Bench(generated(), cash=1_000)
    bench.world.ledger.accounts["account-1"].shorting_enabled = False
    assert bench.refused(side="sell") == (403, 40310000, "account is not allowed to short")
    body = {"symbol": bench.option(), "qty": 10, "side": "buy", "type": "market", "time_in_force": "day"}
    answer = bench.ask("POST", "/v2/orders", body).json()
    assert (answer["code"], answer["message"]) == (40310000, "insufficient options buying power")
    assert set(answer) == {"code", "message", "options_buying_power", "cost_basis"}


def test_exercises_that_are_refused(bench):
    def exercised(symbol):
        answer = bench.ask("POST", f"/v2/positions/{symbol}/exercise")
        return answer.status, answer.json()["code"], answer.json()["message"]

    call = bench.option()
    assert exercised("SPY") == (422, 42210000, "invalid symbol")
    assert exercised(call) == (403, 40310000, "no available position for the specified contract")
    bench.order(qty=100)
    bench.order(symbol=call, side="sell")
    assert exercised(call) == (404, 40410000, f"long position not found: {call}")


def test_an_unknown_kind_of_activity_is_refused(bench):
    answer = bench.ask("GET", "/v2/account/activities/INVALID")
    assert (answer.status, answer.json()) == (
        422,
        {"code": 40010001, "message": "invalid activity type: INVALID"},
    )
    assert bench.get("/v2/account/activities", activity_types="FILL,DIV") == []


def test_only_market_data_clock_and_calendar_show_the_rate_limit():
    bench = Bench(generated(), trading_limit=5, data_limit=1)
    shows = {
        path: "X-RateLimit-Remaining" in bench.ask("GET", path, symbols="SPY").headers
        for path in ("/v2/clock", "/v2/calendar", "/v2/account", "/v2/orders", "/v2/stocks/quotes/latest")
    }
    assert shows == {
        "/v2/clock": True,
        "/v2/calendar": True,
        "/v2/account": False,
        "/v2/orders": False,
        "/v2/stocks/quotes/latest": True,
    }
    assert (
        bench.ask("GET", "/v2/stocks/quotes/latest", symbols="SPY").json()["message"] == "too many requests."
    )
    bench.ask("GET", "/v2/account")
    assert bench.ask("GET", "/v2/account").json() == {"code": 42910000, "message": "rate limit exceeded"}


def test_an_event_id_is_a_ulid_of_its_time_and_counts_on():
    letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

    def value(text):
        found = 0
        for letter in text:
            found = found * 32 + letters.index(letter)
        return found

    at_ns = 1_795_185_000_123_456_789
    first, second = (event_id(at_ns, number) for number in (7, 8))
    assert len(first) == 26
    assert value(first) >> 80 == at_ns // 1_000_000
    assert value(first) & ((1 << 80) - 1) == 7
    assert first < second < event_id(at_ns + 1_000_000, 1)


def test_numbers_and_names_of_the_account(shown):
    account = shown["account"]
    assert account["account_number"][:2] == "PA"
    assert len(account["account_number"]) == 12
    assert account["balance_asof"] == "2026-11-17"
    assert shown["position"]["asset_marginable"] is True


def test_a_paused_market_waits_and_one_at_full_speed_does_not():
    clock = ManualClock(0)
    waits = {speed: Pace(clock, 0, 0, speed).wait_seconds(10**9, 0) for speed in (0.0, 2.0, float("inf"))}
    assert waits == {0.0: 3_600.0, 2.0: 0.5, float("inf"): 0.0}
