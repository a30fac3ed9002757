import json
from datetime import date
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest

from scalpdesk.base import NICKEL_DIME, ChangeCause, Equity, QuoteEvent
from scalpdesk.instruments.ticks import CENT_TICK, PENNY_NICKEL
from scalpdesk.venues.bounds import LARGEST_COUNT
from scalpdesk_alpaca import account_messages
from scalpdesk_alpaca.fields import Malformed
from scalpdesk_testing.kit import alpaca_wire as samples

NUMBERS = {samples.STOCK: 0, samples.OPTION: 1}

ACCOUNT = {
    "id": "904837e3-3b76-47ec-b432-046db621571b",
    "account_number": "PA1",
    "status": "ACTIVE",
    "currency": "USD",
    "cash": "100000.5",
    "equity": "100100.25",
    "buying_power": "400000",
    "options_buying_power": "100000",
    "options_approved_level": 3,
    "options_trading_level": 2,
    "trading_blocked": False,
    "account_blocked": False,
    "trade_suspended_by_user": False,
    "shorting_enabled": True,
}
CONTRACT = {
    "id": "6e58f870-fe73-4583-81e4-b9a37892c36f",
    "symbol": samples.OPTION,
    "status": "active",
    "tradable": True,
    "expiration_date": "2026-12-18",
    "root_symbol": "NVDA",
    "underlying_symbol": "NVDA",
    "type": "call",
    "style": "american",
    "strike_price": "185",
    "multiplier": "100",
    "size": "100",
    "open_interest": "1234",
}


def as_json(body):
    return json.dumps(body).encode()


@pytest.mark.rows(
    ("kept", "equity", "fraction"),
    [("4710.00", "100000.5", "0.0471"), ("0", "100000.5", "0"), (None, "1000", None), ("5", "0", None)],
)
def test_the_maintenance_margin_that_the_account_reports(kept, equity, fraction):
    told = {} if kept is None else {"maintenance_margin": kept}
    facts = account_messages.read_account(as_json({**ACCOUNT, "equity": equity, **told}))
    assert facts.margin_fraction == (None if fraction is None else Decimal(fraction))


@pytest.mark.rows(
    "change",
    [
        {"status": "ACCOUNT_CLOSED"},
        {"trading_blocked": True},
        {"account_blocked": True},
        {"trade_suspended_by_user": True},
    ],
)
def test_a_blocked_account_may_not_trade(change):
    assert not account_messages.read_account(as_json({**ACCOUNT, **change})).may_trade


def test_a_holding_of_reinvested_dividends_has_sixteen_decimals():
    line = {"symbol": "SPY ", "qty": "201.9617035750071243", "avg_entry_price": "300.1", "side": "long"}
    (held,), _ = account_messages.read_positions(as_json([line]), NUMBERS.get)
    assert (held.symbol, held.quantity) == ("SPY", Decimal("201.9617035750071243"))


@pytest.mark.rows("change", [{"cash": "NaN"}, {"cash": None}, {"id": ""}, {"status": 5}])
def test_an_account_that_cannot_be_believed_is_refused(change):
    with pytest.raises(Malformed):
        account_messages.read_account(as_json({**ACCOUNT, **change}))


@pytest.mark.parametrize("bad", [{"symbol": "QQQ"}, {"symbol": "QQQ", "qty": "NaN", "avg_entry_price": "1"}])
def test_one_bad_line_of_positions_is_named_and_the_others_are_read(bad):
    lines = [bad, {"symbol": samples.STOCK, "qty": "1", "avg_entry_price": "1"}]
    (held,), (refused,) = account_messages.read_positions(as_json(lines), NUMBERS.get)
    assert (held.symbol, held.quantity) == (samples.STOCK, 1)
    assert "QQQ" in refused.detail


def test_a_page_of_contracts():
    strange = {**CONTRACT, "strike_price": "190"}
    dateless = {**CONTRACT, "expiration_date": "soon"}
    unknown = {**CONTRACT, "open_interest": None, "tradable": False}
    page = {"option_contracts": [CONTRACT, strange, dateless, unknown], "next_page_token": "abc"}
    found, token, refusals = account_messages.read_contracts(as_json(page))
    assert token == "abc"
    assert [(one.contract.symbol, one.open_interest_contracts, one.is_tradable) for one in found] == [
        (samples.OPTION, 1234, True),
        (samples.OPTION, None, False),
    ]
    assert found[0].contract.multiplier == 100
    assert [one.name for one in refusals] == ["contradictory_contract", "bad_expiration_date"]


@pytest.mark.rows(
    ("symbol", "ppind", "rule"),
    [
        (samples.OPTION, True, PENNY_NICKEL),
        (samples.OPTION, False, NICKEL_DIME),
        (samples.OPTION, None, PENNY_NICKEL),
        ("SPY261218C00185000", True, CENT_TICK),
        ("SPY261218C00185000", False, NICKEL_DIME),
        ("XSP261218C00185000", None, CENT_TICK),
    ],
)
def test_the_penny_programme_indicator_decides_on_the_ticks(symbol, ppind, rule):
    row = CONTRACT | {"symbol": symbol} | ({} if ppind is None else {"ppind": ppind})
    (found,), _, refusals = account_messages.read_contracts(as_json({"option_contracts": [row]}))
    assert (found.contract.tick_rule, refusals) == (rule, [])


@pytest.mark.rows(
    ("change", "name"),
    [
        *(({"multiplier": value}, "implausible_number") for value in ("0.5", "0", "10", "2147483647")),
        ({"multiplier": "NaN"}, "bad_multiplier"),
        *(({"symbol": name}, "bad_symbol") for name in ("NVDA26", samples.OPTION.ljust(33, "x"))),
        *(({"open_interest": value}, "bad_open_interest") for value in ("-1", str(LARGEST_COUNT + 1))),
        ({"strike_price": "185.5"}, "contradictory_contract"),
    ],
)
def test_a_contract_that_cannot_be_believed_is_left_out_by_name(change, name):
    page = {"option_contracts": [CONTRACT | change], "next_page_token": None}
    found, _, refusals = account_messages.read_contracts(as_json(page))
    assert (found, [one.name for one in refusals]) == ([], [name])


@pytest.mark.rows(
    ("status", "tradable", "is_tradable"),
    [("active", True, True), ("inactive", True, False), ("active", False, False)],
)
def test_a_contract_is_tradable_where_it_is_active_and_its_multiplier_a_hundred_unless_told(
    status, tradable, is_tradable
):
    row = CONTRACT | {"status": status, "tradable": tradable, "multiplier": None, "open_interest": "0"}
    ((found,), _, _) = account_messages.read_contracts(
        as_json({"option_contracts": [row], "next_page_token": None})
    )
    assert (found.is_tradable, found.contract.multiplier) == (is_tradable, 100)
    assert found.open_interest_contracts == 0


def test_an_empty_token_ends_the_pages():
    page = {"option_contracts": [], "next_page_token": ""}
    assert account_messages.read_contracts(as_json(page)) == ([], None, [])


def test_a_latest_quote_without_sizes_offers_nothing():
    body = {"quotes": {samples.STOCK: {"t": samples.AT_TEXT, "ap": 185.14, "bp": 185.1}}}
    (quote,), refusals = account_messages.read_latest_quotes(
        as_json(body), NUMBERS.get, lambda _: samples.AT_NS
    )
    assert (quote.bid_size, quote.ask_size, list(refusals)) == (0.0, 0.0, [])


def test_latest_quotes():
    body = {
        "quotes": {
            samples.STOCK: {"t": samples.AT_TEXT, "ap": 185.14, "as": 2, "bp": 185.1, "bs": 3, "z": "C"},
            "AMD": {"t": samples.AT_TEXT, "ap": 1, "bp": 1},
            samples.OPTION: {"t": None},
        }
    }
    quotes, refusals = account_messages.read_latest_quotes(
        as_json(body), NUMBERS.get, lambda _: samples.AT_NS + 5
    )
    assert quotes == [QuoteEvent(0, samples.AT_NS, samples.AT_NS + 5, 185.1, 185.14, 3.0, 2.0)]
    assert [one.name for one in refusals] == ["unknown_symbol", "malformed_quote"]


@pytest.mark.rows(
    ("change", "name"),
    [
        ({"options_trading_level": 10**30}, "bad_options_level"),
        ({"options_trading_level": None, "options_approved_level": -1}, "bad_options_level"),
        ({"cash": "1e30"}, "bad_cash"),
        ({"equity": 1e300}, "bad_equity"),
        ({"maintenance_margin": "1e13"}, "bad_maintenance_margin"),
    ],
)
def test_a_figure_of_the_account_beyond_all_bounds_is_refused_by_name(change, name):
    with pytest.raises(Malformed) as caught:
        account_messages.read_account(as_json(ACCOUNT | change))
    assert caught.value.name == name


def test_a_margin_beside_next_to_nothing_is_a_number_still():
    row = ACCOUNT | {"equity": "1e-18", "maintenance_margin": "9999999999999"}
    assert account_messages.read_account(as_json(row)).margin_fraction == 1_000_000


BARE = {"id": "a", "status": "ACTIVE", "cash": "5"}


def account(**changes):
    return account_messages.read_account(as_json(BARE | changes))


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


@pytest.mark.rows(("field", "longest"), [("id", 64), ("status", 40), ("currency", 8)])
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
        return account_messages.read_share_rules(as_json(ASSET | changes), "A/B").may_be_shorted

    assert read({}) is True
    for name in ("status", "tradable", "shortable", "easy_to_borrow"):
        assert read({name: "inactive" if name == "status" else False}) is False
        told = {key: value for key, value in ASSET.items() if key != name}
        assert account_messages.read_share_rules(as_json(told), "A/B").may_be_shorted is False
    with pytest.raises(Malformed, match="wrong_symbol: C"):
        read({"symbol": "C"})
    for raw in (b"", b"[]", b'{"symbol": 5}', as_json(ASSET | {"shortable": "yes"})):
        with pytest.raises(Malformed):
            account_messages.read_share_rules(raw, "A/B")


def position(symbol="SPY", **changes):
    row = {"symbol": symbol, "qty": "3", "avg_entry_price": "10"} | changes
    found, refused = account_messages.read_positions(as_json([row]), {"SPY": 0}.get)
    if refused:
        raise Malformed(refused[0].name, refused[0].detail)
    return found[0]


@pytest.mark.rows(
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
    assert position("GME").instrument_id is None
    assert position("x" * 32).symbol == "x" * 32
    with pytest.raises(Malformed, match="bad_symbol"):
        position("x" * 33)


def test_a_contract_that_names_little_is_tradable_a_hundred_shares_of_unknown_interest():
    needed = ("symbol", "expiration_date", "strike_price", "underlying_symbol")
    plain = {name: CONTRACT[name] for name in needed}

    def listed(**changes):
        (found,), token, _ = account_messages.read_contracts(as_json({"option_contracts": [plain | changes]}))
        assert token is None
        return found

    found = listed()
    assert (found.contract.multiplier, found.open_interest_contracts, found.is_tradable) == (100, None, True)
    assert listed(multiplier="100.0").contract.multiplier == 100
    assert listed(open_interest=str(LARGEST_COUNT)).open_interest_contracts == LARGEST_COUNT


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
    paged = account_messages.contracts_request("SPY", date(2024, 4, 1), date(2024, 4, 30), "t/k")
    assert parse_qs(urlsplit(paged.path).query)["page_token"] == ["t/k"]
    for is_option, path in ((True, "/v1beta1/options/quotes/latest"), (False, "/v2/stocks/quotes/latest")):
        asked = account_messages.latest_quotes_request(["A", "B"], is_option=is_option, feed="iex")
        parts = urlsplit(asked.path)
        assert (parts.path, parse_qs(parts.query)) == (path, {"symbols": ["A,B"], "feed": ["iex"]})


@pytest.mark.rows(
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
    (found,), _ = account_messages.read_activities(as_json([row]))
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


@pytest.mark.rows(
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


@pytest.mark.rows("kind", ["MA", "NC", "REORG", "SPIN"])
def test_what_makes_another_share_of_a_share_is_passed_over_and_so_left_to_the_operator(kind):
    """A merger was booked as a sale of all shares for nothing."""
    line = {"id": "1", "activity_type": kind, "symbol": "XYZ", "qty": "-100", "date": "2024-06-10"}
    assert account_messages.read_activities(json.dumps([line]).encode()) == ([], None)
