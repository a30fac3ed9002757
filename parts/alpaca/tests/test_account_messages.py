import json
from datetime import date
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest

from scalpdesk.core.events import QuoteEvent
from scalpdesk.instruments.ticks import CENT_TICK, NICKEL_DIME, PENNY_NICKEL
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


@pytest.mark.parametrize(
    ("kept", "equity", "fraction"),
    [("4710.00", "100000.5", "0.0471"), ("0", "100000.5", "0"), (None, "1000", None), ("5", "0", None)],
)
def test_the_maintenance_margin_that_the_account_reports(kept, equity, fraction):
    told = {} if kept is None else {"maintenance_margin": kept}
    facts = account_messages.read_account(as_json({**ACCOUNT, "equity": equity, **told}))
    assert facts.margin_fraction == (None if fraction is None else Decimal(fraction))


@pytest.mark.parametrize(
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
    (held,) = account_messages.read_positions(as_json([line]), NUMBERS.get)
    assert (held.symbol, held.quantity) == ("SPY", Decimal("201.9617035750071243"))


@pytest.mark.parametrize("change", [{"cash": "NaN"}, {"cash": None}, {"id": ""}, {"status": 5}])
def test_an_account_that_cannot_be_believed_is_refused(change):
    with pytest.raises(Malformed):
        account_messages.read_account(as_json({**ACCOUNT, **change}))


def test_an_account_without_levels_has_none():
    bare = {key: ACCOUNT[key] for key in ("id", "status", "cash")}
    assert account_messages.read_account(as_json(bare)).options_level == 0


def test_positions_are_signed_and_a_strange_symbol_stays_visible():
    lines = [
        {"symbol": samples.STOCK, "qty": "-12", "side": "short", "avg_entry_price": "185.1"},
        {"symbol": samples.OPTION, "qty": "2", "side": "short", "avg_entry_price": "7.3"},
        {"symbol": "GME", "qty": "1", "side": "long", "avg_entry_price": "20"},
    ]
    held = account_messages.read_positions(as_json(lines), NUMBERS.get)
    assert [(one.instrument_id, one.quantity) for one in held] == [
        (0, Decimal(-12)),
        (1, Decimal(-2)),
        (None, Decimal(1)),
    ]


def test_one_bad_line_spoils_the_positions():
    lines = [{"symbol": samples.STOCK, "qty": "1", "avg_entry_price": "1"}, {"symbol": samples.STOCK}]
    with pytest.raises(Malformed, match="malformed_position"):
        account_messages.read_positions(as_json(lines), NUMBERS.get)


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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"multiplier": "0.5"}, "bad_multiplier"),
        ({"multiplier": str(account_messages.LARGEST_MULTIPLIER + 1)}, "bad_multiplier"),
        ({"symbol": "NVDA26"}, "bad_symbol"),
        ({"strike_price": "185.5"}, "contradictory_contract"),
        ({"open_interest": str(LARGEST_COUNT + 1)}, "bad_open_interest"),
    ],
)
def test_a_contract_that_cannot_be_believed_is_left_out_by_name(change, name):
    page = {"option_contracts": [CONTRACT | change], "next_page_token": None}
    found, _, refusals = account_messages.read_contracts(as_json(page))
    assert (found, [one.name for one in refusals]) == ([], [name])


@pytest.mark.parametrize(
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


def test_the_question_for_contracts():
    first, last = date(2026, 12, 1), date(2026, 12, 31)
    request = account_messages.contracts_request("NVDA", first, last, "t/k")
    asked = parse_qs(urlsplit(request.path).query)
    assert asked["expiration_date_gte"] == ["2026-12-01"]
    assert asked["expiration_date_lte"] == ["2026-12-31"]
    assert asked["page_token"] == ["t/k"]
    assert asked["underlying_symbols"] == ["NVDA"]


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
