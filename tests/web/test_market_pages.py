"""Volatility page, strike picker and runs page against second calculations."""

from decimal import Decimal

import numpy as np
import pytest

from scalpdesk.cli.history import read_stored
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.portfolio.explain import PARTS
from scalpdesk.pricing import implied_vol
from scalpdesk.strategies.ema_scalper.config import ScalpConfig
from scalpdesk.web.market import picker_page, volatility_page
from scalpdesk.web.runs import _listed, run_page, runs_page, thinned
from scalpdesk.web.texts import json_safe


@pytest.fixture(scope="module")
def page(held):
    return json_safe(volatility_page(held))


def test_smile_is_the_implied_volatility_of_each_quoted_mid(held, page):
    smile = next(each for each in page["smiles"] if each["days"] == 4)
    desk = held.desk
    spot = desk.market.mark(desk.view.underlying)
    for number, contract in enumerate(desk.instruments):
        if not isinstance(contract, OptionContract) or contract.expiry.isoformat() != smile["expiry"]:
            continue
        strike = float(contract.strike)
        if (strike >= spot) != contract.is_call or strike not in smile["strikes"]:
            continue
        years, mark = desk.delta_engine.years(contract, held.now_ns), desk.market.mark(number)
        found = implied_vol(mark, spot, strike, years, contract.is_call, style="american")
        shown = smile["vols"][smile["strikes"].index(strike)]
        # the page keeps the volatility of an option's last quote; the spot has moved since
        assert shown == pytest.approx(100 * float(found.vol), rel=0.05), contract.symbol


def test_term_structure_at_the_money_lies_between_its_neighbours(page):
    for smile, at in zip(page["smiles"], page["term"], strict=False):
        spot = float(page["spot"])
        right = int(np.searchsorted(smile["strikes"], spot))
        around = smile["vols"][right - 1 : right + 1]
        assert min(around) <= 100 * at["atm"] <= max(around)


def test_dealer_gamma_by_strike_sums_to_what_the_page_says(held, page):
    whole = held.desk.market.open_interest
    assert len(whole) > 300
    shares = [row["share"] for row in page["gex"]["strikes"]]
    assert max(map(abs, shares)) == pytest.approx(1.0)
    assert page["gex"]["net"] is not None
    assert {"−", "+"} >= {page["gex"]["net"][0]}


def test_sentence_holds_implied_against_the_forecast(page):
    implied, forecast = (float(page[name].rstrip(" %")) for name in ("implied", "forecast"))
    word = "rich" if implied > forecast else "cheap"
    assert page["sentence"].startswith(f"Options are {word}: implied {page['implied']}")
    assert page["regime"] in {"low", "normal", "high"}


def test_picker_gives_each_strike_a_score_or_the_rule_that_refuses_it(held):
    rows = json_safe(picker_page(held))["rows"]
    config = ScalpConfig()
    assert [float(row["strike"]) for row in rows] == sorted(float(row["strike"]) for row in rows)
    for row in rows:
        for side in ("call", "put"):
            cell = row[side]
            assert (cell["score"] is None) == bool(cell["why"])
            interest = float(cell["open_interest"].replace(",", ""))
            if cell["score"] is not None:
                assert config.target_delta_min <= cell["heat"] <= config.target_delta_max
                assert interest > config.min_open_interest
            elif "open or fewer" in cell["why"]:
                assert interest <= config.min_open_interest


def test_runs_page_lists_what_the_store_holds_and_a_runs_curve_ends_at_its_result(ended_runs):
    folder, summary = ended_runs
    listed = runs_page(folder, 10)
    (row,) = listed["runs"]
    assert row["run_id"] == summary["run_id"]
    assert row["pnl"].replace("−", "-").lstrip("+") == summary["nav_change"]
    assert row["decision_hash"] == summary["decision_hash"]
    assert listed["unreadable"] == {}
    one = run_page(folder, "last")
    assert one["columns"]["pnl"][-1] == pytest.approx(float(summary["nav_change"]))
    assert one["summary"]["pnl"] == summary["pnl"]
    assert one["columns"]["t"] == sorted(one["columns"]["t"])


def test_the_parts_of_a_listed_run_sum_to_its_cents_as_those_of_its_summary_do(ended_runs):
    """Each was rounded alone: the residual was 0.00 where the summary's is 0.01."""
    folder, summary = ended_runs
    row = read_stored(folder / summary["run_id"]).run
    row |= {f"pnl_{name}": Decimal(0) for name in PARTS}
    row |= {"pnl_delta": Decimal("-223.735773"), "pnl_vega": Decimal("-39.865258")}
    row |= {"pnl_residual": Decimal("0.001031"), "nav_change": Decimal("-263.6000")}
    listed = _listed(row)
    assert (listed["pnl"], listed["parts"]["delta"], listed["parts"]["vega"]) == (
        "−263.60",
        "−223.74",
        "−39.87",
    )
    assert listed["parts"]["residual"] == "+0.01"


def test_a_run_page_reads_what_the_store_lacks_or_holds_unfinished(ended_runs, tmp_path):
    folder, summary = ended_runs
    (journal,) = (folder / summary["run_id"]).glob("journal-*.sdj")
    run_dir = tmp_path / summary["run_id"]
    run_dir.mkdir()
    whole = journal.read_bytes()
    (run_dir / journal.name).write_bytes(whole[: len(whole) // 2])  # as a run that goes on leaves it
    half = run_page(tmp_path, "last")
    assert not half["sealed"]
    (run_dir / journal.name).write_bytes(whole)
    one = run_page(tmp_path, "last")
    assert one["sealed"]
    assert one["columns"]["t"][-1] > half["columns"]["t"][-1]
    assert one["columns"]["pnl"][-1] == pytest.approx(float(summary["nav_change"]))


def test_empty_folder_of_runs_says_how_the_first_is_made(tmp_path):
    assert runs_page(tmp_path, 10)["empty"] == "No run yet. scalpdesk demo makes the first."


def test_thinning_keeps_the_ends_and_every_stretchs_extremes():
    values = [float(value) for value in np.random.default_rng(3).normal(size=10_000).cumsum()]
    kept = thinned(values, 1_000)
    assert kept[0] == 0
    assert kept[-1] == 9_999
    assert len(kept) <= 1_002
    shown = [values[place] for place in kept]
    assert (min(shown), max(shown)) == (min(values), max(values))
    assert thinned([1.0, 2.0], 10) == [0, 1]
