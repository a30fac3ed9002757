"""Queries of market and reference data: bounds, order, pages, omitted rows."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest

from scalpdesk.core.events import TradeEvent
from scalpdesk.core.units import NEVER_NS
from scalpdesk.exchange.market import ClosedBar, StatusChange
from scalpdesk.exchange.source import TapeSource
from scalpdesk.instruments.corporate_actions import ActionKind, CorporateAction
from scalpdesk.marketdata.tape import BarColumns, CashDividend
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk_testing.kit.exchange import DAY_TEXT, Bench, generated
from scalpdesk_testing.kit.tape import TapeBuilder, at

TODAY = date.fromisoformat(DAY_TEXT)


@pytest.fixture(scope="module")
def bench():
    return Bench(generated(), trading_limit=0, data_limit=0)


def contracts(bench, **query):
    page = bench.get("/v2/options/contracts", limit=10_000, expiration_date_gte=TODAY, **query)
    return page["option_contracts"]


def chain(bench, **query):
    return bench.get("/v1beta1/options/snapshots/SPY", limit=1_000, **query)["snapshots"]


@pytest.fixture(scope="module")
def listed(bench):
    return contracts(bench, underlying_symbols="SPY")


def test_expiries_and_strikes_are_bounded_on_both_sides_the_bounds_included(bench, listed):
    expiries = sorted({one["expiration_date"] for one in listed})
    third, fifth = expiries[2], expiries[4]
    found = bench.get(
        "/v2/options/contracts",
        underlying_symbols="SPY",
        expiration_date_gte=third,
        expiration_date_lte=fifth,
        limit=10_000,
    )["option_contracts"]
    assert sorted({one["expiration_date"] for one in found}) == expiries[2:5]
    exact = bench.get("/v2/options/contracts", underlying_symbols="SPY", expiration_date=third, limit=10_000)
    assert {one["expiration_date"] for one in exact["option_contracts"]} == {third}
    strikes = sorted({float(one["strike_price"]) for one in exact["option_contracts"]})
    low, high = strikes[3], strikes[6]
    span = {"strike_price_gte": low, "strike_price_lte": high}
    of_contracts = {float(one["strike_price"]) for one in contracts(bench, underlying_symbols="SPY", **span)}
    assert (min(of_contracts), max(of_contracts)) == (low, high)
    found = chain(bench, expiration_date=third, **span)
    assert len(found) == 2 * 4  # calls and puts of four strikes
    both = chain(bench, expiration_date_gte=third, expiration_date_lte=third)
    assert set(both) == set(chain(bench, expiration_date=third))
    assert {symbol[3:9] for symbol in both} == {third.replace("-", "")[2:]}


def test_right_root_style_status_and_underlying_narrow_a_search(bench, listed):
    assert {one["type"] for one in contracts(bench, type="call")} == {"call"}
    assert {one["type"] for one in contracts(bench, type="put")} == {"put"}
    assert {one["root_symbol"] for one in contracts(bench, root_symbol="NVDA")} == {"NVDA"}
    assert contracts(bench, root_symbol="QQQ") == []
    assert contracts(bench, style="european") == []
    assert len(contracts(bench, style="american", underlying_symbols="SPY")) == len(listed)
    assert contracts(bench, status="inactive") == []
    assert {one["underlying_symbol"] for one in contracts(bench)} == {"SPY", "NVDA"}
    assert all("C" in symbol[9:10] for symbol in chain(bench, type="call"))
    assert chain(bench, root_symbol="NVDA") == {}
    order = [(one["expiration_date"], one["type"], float(one["strike_price"])) for one in listed]
    assert order == sorted(order)


def test_pages_cover_everything_once_and_then_end(bench, listed):
    seen, query = [], {}
    while True:
        page = bench.get(
            "/v2/options/contracts",
            underlying_symbols="SPY",
            expiration_date_gte=TODAY,
            limit=len(listed) // 3,
            **query,
        )
        seen += [one["symbol"] for one in page["option_contracts"]]
        if page["next_page_token"] is None:
            break
        query = {"page_token": page["next_page_token"]}
    assert seen == [one["symbol"] for one in listed]


def test_bars_run_either_way_and_end_where_they_are_asked_to():
    bench = Bench(generated("SPY"), data_limit=0)
    bench.advance(600)
    span = {"symbols": "SPY", "timeframe": "1Min", "start": f"{DAY_TEXT}T15:01:00Z"}
    forward = bench.get("/v2/stocks/bars", **span, end=f"{DAY_TEXT}T15:04:00Z")["bars"]["SPY"]
    assert [bar["t"][11:16] for bar in forward] == ["15:01", "15:02", "15:03", "15:04"]
    backward = bench.get("/v2/stocks/bars", **span, end=f"{DAY_TEXT}T15:04:00Z", sort="desc")["bars"]["SPY"]
    assert backward == forward[::-1]
    five = bench.get("/v2/stocks/bars", symbols="SPY", timeframe="5Min", start=f"{DAY_TEXT}T15:00:00Z")
    whole = five["bars"]["SPY"][0]
    minutes = bench.get(
        "/v2/stocks/bars",
        symbols="SPY",
        timeframe="1Min",
        start=f"{DAY_TEXT}T15:00:00Z",
        end=f"{DAY_TEXT}T15:04:00Z",
    )["bars"]["SPY"]
    assert (whole["o"], whole["c"]) == (minutes[0]["o"], minutes[-1]["c"])
    assert whole["h"] == max(bar["h"] for bar in minutes)
    assert whole["l"] == min(bar["l"] for bar in minutes)
    assert whole["v"] == pytest.approx(sum(bar["v"] for bar in minutes))
    assert whole["vw"] == pytest.approx(sum(bar["v"] * bar["vw"] for bar in minutes) / whole["v"], abs=1e-4)
    assert whole["n"] == sum(bar["n"] for bar in minutes)


def test_dividends_lie_within_their_dates_and_kinds(bench):
    def found(**query):
        answer = bench.get("/v1/corporate-actions", symbols="SPY", **query)
        return [one["ex_date"] for one in answer["corporate_actions"].get("cash_dividends", ())]

    year = {"start": TODAY - timedelta(365), "end": TODAY}
    assert found(**year) == ["2025-12-18", "2026-03-18", "2026-06-18", "2026-09-18"]
    assert found(**year, sort="desc") == found(**year)[::-1]
    assert found(start="2026-03-18", end="2026-06-18") == ["2026-03-18", "2026-06-18"]
    assert found(start="2026-03-19", end="2026-06-17") == []
    assert found(**year, types="forward_split") == []
    assert found(**year, types="cash_dividend,forward_split") == found(**year)
    assert bench.get("/v1/corporate-actions", symbols="QQQ", **year)["corporate_actions"] == {}


def test_assets_by_class_exchange_and_attribute(bench):
    def found(**query):
        return {one["symbol"] for one in bench.get("/v2/assets", **query)}

    assert found() == {"SPY", "NVDA"}
    assert found(exchange="ARCA") == {"SPY"}
    assert found(attributes="has_options") == {"SPY", "NVDA"}
    assert found(attributes="has_options,overnight_tradable") == set()
    assert found(status="inactive") == set()
    assert len(found(asset_class="us_option")) > 1_000


def test_a_quote_of_the_past_lies_within_the_span_asked_for():
    bench = Bench(TapeSource(TapeBuilder().spot("09:30", 500.0).spot("09:40", 501.0).build()), data_limit=0)
    bench.world.advance_to(at("09:41"))

    def found(what, start, end):
        answer = bench.get(f"/v2/stocks/{what}", symbols="SPY", start=start, end=end)
        return len(answer[what].get("SPY", ()))

    instant = "2024-03-04T14:40:00Z"
    for what in ("quotes", "trades"):
        assert found(what, instant, instant) == 1
        assert found(what, "2024-03-04T14:40:01Z", "2024-03-04T14:50:00Z") == 0
        assert found(what, "2024-03-04T14:30:00Z", "2024-03-04T14:39:59Z") == 0


def test_time_ends_with_the_last_event():
    bench = Bench(TapeSource(TapeBuilder().spot("09:30", 500.0).build()))
    while bench.world.step():
        assert bench.world.now_ns < NEVER_NS
    last_ns = bench.world.now_ns
    assert bench.world.next_ns == NEVER_NS
    assert not bench.world.step()
    assert bench.world.now_ns == last_ns


def test_a_cash_account_may_not_sell_short_and_a_margin_account_may(bench):
    bench = Bench(generated("SPY"))
    bench.world.ledger.accounts.clear()
    bench.world.open_account(AccountTerms(name="account-1", cash=Decimal(100_000), multiplier=1))
    assert bench.refused(side="sell") == (403, 40310000, "account is not allowed to short")
    assert bench.get("/v2/account")["multiplier"] == "1"
    bench.world.ledger.accounts.clear()
    bench.world.open_account(AccountTerms(name="account-1", cash=Decimal(100_000), shortable=frozenset()))
    assert bench.refused(side="sell") == (422, 42210000, 'asset "SPY" cannot be sold short')


def test_all_keys_open_their_own_account_only():
    bench = Bench(generated("SPY"), accounts=3)
    assert [one.account for one in bench.keyring.credentials] == ["account-1", "account-2", "account-3"]
    ids = [bench.ask("GET", "/v2/account", account=number).json()["id"] for number in range(3)]
    assert len(set(ids)) == 3


@pytest.mark.rows(
    ("ratio", "kind", "rates"),
    [
        (Decimal(4), "forward_splits", (4, 1)),
        (Decimal("1.5"), "forward_splits", (3, 2)),
        (Decimal("0.1"), "reverse_splits", (1, 10)),
        (Decimal(1) / 3, "reverse_splits", (1, 3)),
    ],
)
def test_splits_stand_beside_dividends_in_the_vendors_fields(ratio, kind, rates):
    tape = TapeBuilder().spot("09:30", 500.0).build()
    split = CorporateAction(symbol="SPY", ex_date=date(2024, 3, 5), kind=ActionKind.SPLIT, ratio=ratio)
    paid = CashDividend("SPY", date(2024, 3, 6), Decimal("1.50"))
    bench = Bench(TapeSource(replace(tape, actions=(split,), dividends=(paid,))), data_limit=0)

    def found(**query):
        span = {"start": "2024-03-01", "end": "2024-03-31", **query}
        return bench.get("/v1/corporate-actions", symbols="SPY", **span)["corporate_actions"]

    (listed,) = found()[kind]
    assert (listed["new_rate"], listed["old_rate"]) == rates
    assert (listed["symbol"], listed["ex_date"]) == ("SPY", "2024-03-05")
    assert listed.keys() >= {"id", "process_date", "record_date", "payable_date"}
    assert set(found()) == {kind, "cash_dividends"}
    assert set(found(types="cash_dividend")) == {"cash_dividends"}
    assert set(found(types="forward_split,reverse_split")) == {kind}
    assert found(end="2024-03-04") == found(start="2024-03-07") == {}
    assert bench.get("/v1/corporate-actions", symbols="QQQ", start="2024-03-01", end="2024-03-31") == {
        "corporate_actions": {},
        "next_page_token": None,
    }


def test_bars_adjusted_for_splits_have_the_scale_of_today():
    monday, tuesday = date(2024, 3, 4), date(2024, 3, 5)
    builder = TapeBuilder(days=(monday, tuesday)).spot("09:31", 400.0, day=monday)
    tape = builder.spot("09:31", 101.0, day=tuesday).spot("09:32", 101.0, day=tuesday).build()
    split = CorporateAction(symbol="SPY", ex_date=tuesday, kind=ActionKind.SPLIT, ratio=Decimal(4))
    bench = Bench(TapeSource(replace(tape, actions=(split,))), data_limit=0)

    def closes(**how):
        query = {"symbols": "SPY", "timeframe": "1Day", "start": "2024-03-04", **how}
        return [bar["c"] for bar in bench.get("/v2/stocks/bars", **query)["bars"]["SPY"]]

    bench.world.advance_to(at("15:00", monday))
    assert closes(adjustment="split") == [400.0]  # it has not gone ex yet
    bench.world.advance_to(at("09:33", tuesday))
    assert closes() == closes(adjustment="raw") == [400.0, 101.0]
    assert closes(adjustment="split") == closes(adjustment="all") == [100.0, 101.0]


def test_nothing_is_printed_in_a_halt_though_its_minute_began_before():
    """The bar of the minute in which a halt began came with a trade at its end, within the halt."""
    ends, ones = np.array([at("09:36"), at("09:37")]), np.full(2, 500.0)
    bars = BarColumns(ends, np.zeros(2, np.int32), np.full(2, 60, np.int32), *([ones] * 5))
    tape = replace(TapeBuilder().spot("09:30", 500.0).spot("09:50", 501.0).build(), bars=bars)
    bench = Bench(TapeSource(tape), data_limit=0)
    seen = []
    bench.world.on_market(seen.append)
    bench.world.advance_to(at("09:35:30"))
    bench.world.halt(bench.world.ledger.instruments.id_of("SPY"))
    bench.world.advance_to(at("09:40"))
    begun = next(place for place, each in enumerate(seen) if isinstance(each, StatusChange))
    assert not any(isinstance(each, TradeEvent) for each in seen[begun:])
    closed = [each for each in seen[begun:] if isinstance(each, ClosedBar)]
    assert len(closed) == 1  # of the minute in which it began
