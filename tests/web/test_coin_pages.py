"""Pages, tear sheet and alerts of a desk that counts in coin: its decimals, no dollar taken for a coin."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from scalpdesk.alerts.rules import status_text
from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.web import documents
from scalpdesk.web.follower import RunFollower
from scalpdesk.web.tear_sheet import sheet_document

PARAMS = Path(__file__).parents[2] / "examples" / "btc-gamma-scalper" / "params.yaml"
DAY = date(2025, 3, 5)


class EnoughError(Exception):
    """Ends the run in the middle of its session."""


@pytest.fixture(scope="module")
def coin(tmp_path_factory):
    """A run of an hour and a half on the reconstructed Bitcoin market, a straddle and its hedge held."""
    folder = tmp_path_factory.mktemp("coin")
    overrides = ("entry.gate=advise", "entry.min_edge_usd=-1")
    settings = load_settings("gamma-scalper", config_file=PARAMS, overrides=overrides)
    tape = load_market(settings, "embedded-btc", underlying="BTC-PERPETUAL", start=DAY, end=DAY, seed=1)
    stop_ns = tape.sessions[0].open_ns + 90 * 60 * 10**9

    def observe(_run, now_ns):
        if now_ns > stop_ns:
            raise EnoughError

    with pytest.raises(EnoughError):
        run_backtest(settings, tape, SystemClock(), seed=1, runs_dir=folder, observer=observe)
    (run_dir,) = folder.iterdir()
    follower = RunFollower(run_dir)
    while follower.advance(1_000):
        pass
    follower.tail.close()
    return follower


def amount(text):
    return Decimal(text.replace("−", "-").replace(",", ""))


def test_amounts_have_the_coins_decimals_and_sum_exactly(coin):
    head, page = documents.run_head(coin, is_running=False), documents.desk_page(coin)
    assert (head["currency"], head["limit"]) == ("BTC", "−0.1000")
    parts = {row["name"]: amount(row["text"]) for row in page["parts"]}
    total = parts.pop("total")
    assert sum(parts.values()) == total != 0
    assert {part.as_tuple().exponent for part in (total, *parts.values())} == {-8}
    assert amount(page["pnl"]) == total
    assert page["pnl_tone"] == ("down" if total < 0 else "up")
    answer = documents.performance(coin)
    assert Decimal(answer["pnl"]["total"]) == total == Decimal(answer["nav_change"])
    assert "E" not in "".join(answer["pnl"].values())  # zero is written out
    assert Decimal(answer["nav"]) == Decimal(2) + total
    sheet = sheet_document(coin)
    assert (amount(sheet["result"]), sheet["currency"]) == (total, "BTC")
    assert " BTC, worst case ·" in status_text(coin, is_running=False)


def test_a_perpetual_counts_in_coin(coin):
    desk = coin.desk
    held = {desk.instruments[each.instrument_id].symbol: each for each in desk.positions.held()}
    perpetual = held["BTC-PERPETUAL"]
    mark = desk.market.mark(perpetual.instrument_id)
    dollars = float(perpetual.quantity) * 10  # a contract is ten dollars
    rows = {row["symbol"]: row for row in documents.positions(coin)["positions"]}
    row = rows["BTC-PERPETUAL"]
    gained = dollars * (1 / float(perpetual.average_price) - 1 / mark)
    assert float(amount(row["open_pnl"])) == pytest.approx(gained, abs=1e-8)
    assert float(amount(row["delta"])) == pytest.approx(dollars / mark, abs=0.051)
    assert row["label"] == "BTC-PERPETUAL"
    greeks = coin.greeks()
    assert greeks.owned_shares == pytest.approx(dollars / mark)
    assert abs(greeks.net_delta_shares) < 0.2  # hedged, in coin: not thousands of contracts
    options = [symbol for symbol in held if symbol != "BTC-PERPETUAL"]
    for symbol in options:
        prices = desk.market.mark(held[symbol].instrument_id) - float(held[symbol].average_price)
        assert float(amount(rows[symbol]["open_pnl"])) == pytest.approx(prices * float(held[symbol].quantity))
        assert len(rows[symbol]["mark"].partition(".")[2]) == 4
    plan = documents.flatten_plan(coin)
    assert plan["title"].endswith(f"unwind {abs(perpetual.quantity)} contracts")
    cost = float(plan["cost"].split()[2].rstrip(","))
    widths = {each: desk.market.quotes[held[each].instrument_id] for each in held}
    expected = sum(
        0.5 * (quote.ask - quote.bid) * abs(float(held[each].quantity))
        * (10 / (quote.bid * quote.ask) if each == "BTC-PERPETUAL" else 1)
        for each, quote in widths.items()
    )  # fmt: skip
    assert cost == pytest.approx(expected, abs=1e-8)


def test_what_is_not_worked_out_in_coin_is_not_shown(coin):
    assert documents.worst_case(coin)["worst"] is None
    page = documents.position_page(coin)
    assert len(page["legs"]) == 3
    assert page["note_ladder"] == "No payoff: payoffs of a desk in coin are not worked out here."
