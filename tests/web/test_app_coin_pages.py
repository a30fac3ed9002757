"""Pages, tear sheet and alerts of a desk that counts in coin: its decimals, no dollar taken for a coin."""

import json
import math
from datetime import date
from decimal import Decimal
from io import StringIO
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist, mean, stdev

import numpy as np
import pytest
from rich.console import Console

from scalpdesk.alerts.rules import status_text
from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import replayed
from scalpdesk.cli import history
from scalpdesk.cli.main import main
from scalpdesk.cli.summary_view import LiveView
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.monitor import documents, order_documents, position_documents
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.monitor.held_book import held_book, worst_of
from scalpdesk.monitor.texts import signed
from scalpdesk.portfolio.risk_book import GRID_MOVES, GRID_POINTS
from scalpdesk.report.run_report import report_of
from scalpdesk.research.book_risk import risk_document
from scalpdesk.web.book_risk import risk_answer
from scalpdesk.web.feed import DeskFeed
from scalpdesk.web.routes.server import DeskCollector
from scalpdesk.web.runs import runs_page
from scalpdesk.web.tear_sheet import sheet_document
from scalpdesk_testing.field_formulas import expiry_payoff_coin
from tests.web.reading import amount, lines_of, played, read_whole

PARAMS = Path(__file__).parents[2] / "examples" / "btc-gamma-scalper" / "params.yaml"
DAY = date(2025, 3, 5)
MINUTE_NS = 60 * 10**9


@pytest.fixture(scope="module")
def coin(tmp_path_factory):
    """A run of an hour and a half on the reconstructed Bitcoin market, a straddle and its hedge held."""
    folder = tmp_path_factory.mktemp("coin")
    overrides = ("entry.gate=advise", "entry.min_edge_usd=-1", "hedge.band_settings.risk_aversion=0.25")
    settings = load_settings("gamma-scalper", config_file=PARAMS, overrides=overrides)
    tape = load_market(settings, "embedded-btc", underlying="BTC-PERPETUAL", start=DAY, end=DAY, seed=1)
    assert played(settings, tape, folder, 90) is None
    (run_dir,) = folder.iterdir()
    return read_whole(RunFollower(run_dir))


def test_the_risk_of_the_book_is_in_coin_and_that_of_the_ladder(coin):
    book = held_book(coin)
    moves, changes = (-0.1, 0.0, 0.05), (-0.1, 0.0, 0.06)
    found = book.ladder(moves, changes, smile="sticky-strike")
    spot = book.parts[0].spot
    expected = [[coin_pnl(coin, spot * (1 + move), change) for change in changes] for move in moves]
    assert found == pytest.approx(np.array(expected), abs=2e-6)
    assert abs(found).max() > 1e-3
    answer = risk_answer("run", risk_document(book, None))
    assert (answer["currency"], answer["stress"], answer["measures"]) == ("BTC", [], [])


def test_amounts_have_the_coins_decimals_and_sum_exactly(coin):
    head, page = documents.run_head(coin, is_running=False), documents.desk_page(coin)
    assert (head["currency"], head["limit"]) == ("BTC", "-0.10000000")
    parts = {row["name"]: Decimal(row["pnl"]) for row in page["parts"]}
    total = parts.pop("total")
    assert sum(parts.values()) == total != 0
    assert {part.as_tuple().exponent for part in (total, *parts.values())} == {-8}
    assert Decimal(page["pnl"]) == total
    answer = documents.performance(coin)
    assert Decimal(answer["pnl"]["total"]) == total == Decimal(answer["nav_change"])
    assert "E" not in "".join(answer["pnl"].values())  # zero is written out
    assert Decimal(answer["nav"]) == Decimal(2) + total
    sheet = sheet_document(coin)
    assert (amount(sheet["result"]), sheet["currency"]) == (total, "BTC")
    assert (sheet["delta_unit"], sheet["delta_decimals"]) == ("BTC", 4)
    assert f" BTC, worst case {signed(head['worst_pnl'], 4)}" in status_text(coin, is_running=False)


def test_a_perpetual_counts_in_coin(coin):
    desk = coin.desk
    held = {desk.instruments[each.instrument_id].symbol: each for each in desk.positions.held()}
    perpetual = held["BTC-PERPETUAL"]
    mark = desk.market.mark(perpetual.instrument_id)
    dollars = float(perpetual.quantity) * 10  # a contract is ten dollars
    rows = {row["symbol"]: row for row in position_documents.positions(coin)["positions"]}
    row = rows["BTC-PERPETUAL"]
    gained = dollars * (1 / float(perpetual.average_price) - 1 / mark)
    assert float(row["open_pnl"]) == pytest.approx(gained, abs=1e-8)
    assert row["delta_shares"] == pytest.approx(dollars / mark)
    assert row["label"] == "BTC-PERPETUAL"
    assert row["entry"] == float(perpetual.average_price)
    greeks = coin.greeks()
    assert greeks.owned_shares == pytest.approx(dollars / mark)
    assert abs(greeks.net_delta_shares) < 0.2  # hedged, in coin: not thousands of contracts
    options = [symbol for symbol in held if symbol != "BTC-PERPETUAL"]
    for symbol in options:
        prices = desk.view.mark(held[symbol].instrument_id) - float(held[symbol].average_price)
        gained = prices * float(held[symbol].quantity)
        assert float(rows[symbol]["open_pnl"]) == pytest.approx(gained, abs=1e-8)
        assert rows[symbol]["price_decimals"] == 4
    plan = position_documents.flatten_plan(coin)
    assert plan["title"].endswith(f"unwind {abs(perpetual.quantity)} contracts")
    cost = float(plan["cost"].split()[2].rstrip(","))
    widths = {each: desk.market.quotes[held[each].instrument_id] for each in held}
    expected = sum(
        0.5 * (quote.ask - quote.bid) * abs(float(held[each].quantity))
        * (10 / (quote.bid * quote.ask) if each == "BTC-PERPETUAL" else 1)
        for each, quote in widths.items()
    )  # fmt: skip
    assert cost == pytest.approx(expected, abs=1e-8)


def test_prices_deltas_and_greeks_have_the_decimals_of_a_coin(coin):
    desk = coin.desk
    fills = {}
    for text in order_documents.fills_document(coin)["columns"]["text"]:
        fills.setdefault("-PERPETUAL at " in text, text)
    options = [
        order
        for order in desk.orders.orders.values()
        if order.submitted.instrument_id != desk.view.underlying
    ]
    paid = options[0].average_price
    assert 0.001 < paid < 0.1  # a premium of two decimals would be off by a tenth and more
    assert fills[False].endswith(f" at {paid:.4f}")
    assert len(fills[True].rpartition(".")[2]) == 2  # the perpetual's is in dollars
    rows = {row["id"]: row for row in order_documents.orders_page(coin)["orders"]}
    assert rows[options[0].client_order_id]["average"] == float(paid)
    for position, row in (
        (each, position_documents.leg_row(coin, each))
        for each in desk.positions.held()
        if each.multiplier == 1
    ):
        valuation = coin.value(position.instrument_id)
        if valuation is None:
            continue
        quantity = float(position.quantity)
        assert row["is_coin"]
        assert row["delta_shares"] == pytest.approx(quantity * valuation.greeks.delta)
        assert row["gamma_shares_per_usd"] == pytest.approx(quantity * valuation.greeks.gamma) != 0
    greeks = coin.greeks()
    net = next(
        line for line in status_text(coin, is_running=False).splitlines() if line.startswith("Net delta")
    )
    delta, theta = (amount(each.split()[-1]) for each in net.split(", "))
    assert float(delta) == pytest.approx(greeks.net_delta_shares, abs=5e-5)
    assert float(theta) == pytest.approx(greeks.theta_usd_per_day, abs=5e-9) != 0


def test_the_session_is_the_day_of_account_after_midnight_in_new_york_too(coin, monkeypatch):
    late_ns = coin.header.sessions[0].open_ns + 22 * 60 * MINUTE_NS  # 06:00 UTC, 01:00 in New York
    monkeypatch.setattr(RunFollower, "now_ns", late_ns)
    assert to_new_york(late_ns).date() > DAY
    assert documents.performance(coin)["session"] == DAY.isoformat()


def test_the_metrics_of_amounts_are_named_by_the_coin(coin):
    feed = DeskFeed(coin.run_dir.parent, None, SystemClock())
    feed.follower = coin
    found = {
        (sample.name, sample.labels.get("part")): sample.value
        for family in DeskCollector(feed).collect()
        for sample in family.samples
    }
    assert found["scalpdesk_nav_btc", None] == float(coin.desk.attribution.nav) < 2.1
    parts = [value for (name, _), value in found.items() if name == "scalpdesk_pnl_btc"]
    assert sum(parts) == pytest.approx(float(coin.desk.attribution.nav_change), abs=1e-9)
    assert found["scalpdesk_theta_btc_per_day", None] == coin.greeks().theta_usd_per_day
    in_dollars = [name for name, _ in found if "_usd" in name]
    assert in_dollars == ["scalpdesk_gamma_shares_per_usd"]  # of a dollar's move of the spot


def test_the_tear_sheets_straddles_and_curves_have_the_coins_decimals(coin):
    stored = history.read_stored(coin.run_dir)
    sheet = sheet_document(coin)
    (trade,), (row,) = stored.trades, sheet["trades"]
    shown = [amount(text) for text in (row["cash_in"], row["cash_out"], row["pnl"])]
    assert shown == [round(each, 8) for each in (trade.cash_in, trade.cash_out, trade.pnl)]
    assert {each.as_tuple().exponent for each in (*shown, *map(amount, row["parts"]))} == {-8}
    assert row["pnl"] == sheet["sessions"][0]["pnl"]
    equity = [value for value in coin.series.columns["equity"] if value is not None]
    drawn = [value for value in sheet["columns"]["equity"] if value is not None]
    assert min(drawn) == pytest.approx(min(equity), abs=5e-9)
    peak = fall = 0.0
    for value in equity:
        peak = max(peak, value)
        fall = min(fall, value - peak)
    assert min(sheet["columns"]["drawdown"]) == pytest.approx(fall, abs=5e-9) != 0


def coin_pnl(follower, spot, change):
    """P&L in coin at a spot and a change of volatility, now: Black 1976 over the forward, A/S the hedge."""
    desk, total = follower.desk, 0.0
    now_spot = desk.market.mark(desk.view.underlying)
    for position in desk.positions.held():
        contract, quantity = desk.instruments[position.instrument_id], float(position.quantity)
        if not contract.is_option:
            total += quantity * contract.contract_usd * (1 / now_spot - 1 / spot)
            continue
        valuation = follower.value(position.instrument_id)
        strike = float(contract.strike)

        def premium(forward, vol, strike=strike, contract=contract, years=valuation.years):
            deviation = vol * math.sqrt(years)
            d1 = math.log(forward / strike) / deviation + deviation / 2
            cdf = NormalDist().cdf
            call = forward * cdf(d1) - strike * cdf(d1 - deviation)
            return (call if contract.is_call else call - forward + strike) / forward

        moved = valuation.spot * spot / now_spot
        points = change * math.sqrt(30 / max(365 * valuation.years, 1.0))
        vol = min(max(valuation.vol + points, 0.01), 10.0)
        total += quantity * (premium(moved, vol) - premium(valuation.spot, valuation.vol))
    return total


def test_ladder_payoff_and_worst_case_count_in_coin_and_say_what_it_is_in_dollars(coin):
    page = position_documents.position_page(coin, smile="sticky-strike")
    assert (page["currency"], len(page["legs"])) == ("BTC", 3)
    spot = page["spot"]
    expected = [[coin_pnl(coin, spot * (1 + move), change) for change in GRID_POINTS] for move in GRID_MOVES]
    assert np.array(page["ladder"]["pnl"]) == pytest.approx(np.array(expected), abs=2e-6)
    spots, now, end = (page["payoff"][name] for name in ("spots", "now", "expiry"))
    assert now == pytest.approx([coin_pnl(coin, each, 0.0) for each in spots], abs=2e-6)
    # at the expiry only intrinsic value over the price of the coin is left
    held = {coin.desk.instruments[each.instrument_id]: each for each in coin.desk.positions.held()}
    for at, value in zip(spots, end, strict=True):
        expected = 0.0
        for contract, position in held.items():
            quantity = float(position.quantity)
            if not contract.is_option:
                expected += quantity * contract.contract_usd * (1 / spot - 1 / at)
            else:
                strike = float(contract.strike)
                worth = expiry_payoff_coin(at, strike, contract.is_call)
                expected += quantity * (worth - coin.value(position.instrument_id).greeks.price)
        assert value == pytest.approx(expected, abs=2e-6)
    worst = min(coin_pnl(coin, spot * (1 + move), change) for move in GRID_MOVES for change in GRID_POINTS)
    assert worst_of(coin, "sticky-strike").pnl == pytest.approx(worst, abs=2e-6)
    shown = position_documents.worst_case(coin)
    assert shown["worst_pnl"] == pytest.approx(worst_of(coin).pnl)
    assert shown["worst_fraction"] == pytest.approx(-shown["worst_pnl"] / 0.1, abs=1e-3)
    assert " BTC (" in page["sentence"]
    # bought options and their hedge: the distance of status and API is the page's
    distance = coin.desk.margin_distance()
    assert page["sentence"].endswith(distance.text(spot))
    row = documents.risk_level(coin)["margin"]
    assert row == distance.row()
    assert row["maintenance_fraction"] == pytest.approx(float(coin.desk.margin_fraction()), abs=1e-6)
    assert row["liquidation_rise"] is None or row["liquidation_rise"] > 0.5
    assert documents.run_head(coin, is_running=False)["worst_pnl"] == shown["worst_pnl"]


def test_a_run_on_record_keeps_the_coins_decimals_in_lists_report_and_comparison(coin, capsys):
    folder, name = coin.run_dir.parent, coin.run_dir.name
    total = documents.performance(coin)["nav_change"]
    (listed,) = runs_page(folder, 10)["runs"]
    assert (f"{amount(listed['pnl']):f}", listed["currency"]) == (total, "BTC")
    assert sum(map(amount, listed["parts"].values())) == pytest.approx(
        amount(listed["pnl"]), abs=Decimal("1e-7")
    )
    words = [f"--set=desk.runs_dir={folder}"]
    assert main(["report", name, "--json", *words]) == 0
    report = json.loads(capsys.readouterr().out)
    (straddle,) = report["trades"]
    hedges = report["hedge_explain"]
    (session,) = report["sessions"]
    amounts = [straddle["pnl"], *straddle["parts"].values(), session["pnl"]]
    amounts += [each["pnl"] for each in hedges]
    assert {len(each.partition(".")[2]) for each in amounts} == {8}
    assert session["pnl"] == straddle["pnl"] == total
    assert main(["report", "--compare", name, name, "--json", *words]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert compared["pnl"]["total"] == [total, total]
    assert compared["facts"]["currency"] == ["BTC", "BTC"]
    assert compared["pnl_differences"]["gamma"] == ["0.00000000", "0.00000000"]
    assert main(["report", "--compare", name, name, *words]) == 0
    assert f"{Decimal(total):+.8f}" in capsys.readouterr().out
    assert main(["runs", *words]) == 0
    assert f"{Decimal(total):+.8f} BTC" in capsys.readouterr().out


def test_the_terminals_view_counts_a_perpetual_in_coin(coin):
    held, now_ns = coin.desk.positions.held(), coin.now_ns
    options = [position for position in held if position.instrument.is_option]
    (swap,) = (position for position in held if not position.instrument.is_option)
    valuer = coin.desk.delta_engine
    delta = sum(float(leg.quantity) * valuer.state(leg.instrument_id, now_ns).greeks.delta for leg in options)
    coins = float(swap.quantity) * 10 / coin.desk.market.mark(swap.instrument_id)
    assert abs(float(swap.quantity)) > 10.0
    assert abs(delta + coins) < 1.0
    out = Console(width=150, height=40, file=StringIO(), force_terminal=True, color_system=None)
    view = LiveView("reconstructed", out)
    view.draw(coin.engine, "gamma-scalper", 0, None)
    (line,) = (text for text in lines_of(view, out) if "net delta" in text)
    assert f"net delta  {delta + coins:+.4f} BTC" in line
    assert coin.greeks().owned_shares == pytest.approx(coins)


def test_the_report_of_a_coin_is_of_365_days_and_by_the_calendar(coin):
    stored = history.read_stored(coin.run_dir)
    (trade,), (session,) = stored.trades, stored.sessions
    assert session.session == DAY.isoformat()
    looks = [(mark.ts_ns, mark.spot) for mark in stored.marks if mark.ts_ns >= trade.opened_ns]
    squares = sum(math.log(after / before) ** 2 for (_, before), (_, after) in pairwise(looks))
    years = (looks[-1][0] - looks[0][0]) / (365 * 86_400e9)
    assert trade.realised_vol == pytest.approx(math.sqrt(squares / years))
    fold, pnl = replayed(coin.run_dir), [float(session.pnl)]
    for n, made in enumerate(("-0.00649052", "0.0011", "-0.0007", "0.0004", "0.0002"), start=1):
        fold.sums.add(looks[-1][0] + n * 86_400 * 10**9, Decimal(made), {}, 0.0)
        pnl.append(float(made))
    figures = stored.summary | {"cut": None}
    found = report_of(coin.header, fold, figures, lambda _: None).performance
    assert found["sharpe"] == pytest.approx(mean(pnl) / stdev(pnl) * math.sqrt(365))


def test_the_break_even_of_a_day_is_the_move_at_which_the_hedged_straddle_earns_its_theta(coin):
    block = position_documents.position_block(coin)
    gamma = theta = 0.0
    for number in coin.desk.positions.positions:
        value, contract = coin.value(number), coin.desk.instruments[number]
        if value is None:  # the perpetual
            continue
        width = value.vol * math.sqrt(value.years)
        d1 = math.log(value.spot / float(contract.strike)) / width + 0.5 * width
        slope = NormalDist().pdf(d1)
        gamma += slope / (value.spot * width)
        theta -= 0.5 * value.spot * slope * value.vol / math.sqrt(value.years) / 365
    even = math.sqrt(-2 * theta / gamma) / coin.desk.market.mark(coin.desk.view.underlying)
    assert block["break_even"] == pytest.approx(even, rel=1e-3)
    assert block["greeks"]["gamma_shares_per_usd"] > 1e-5  # coins a dollar: two decimals would show zero
    assert (block["delta_decimals"], block["money_decimals"]) == (4, 8)
