"""The tear sheet: the run's own figures, one file, nothing from outside."""

import base64
import json
import re
from decimal import Decimal
from hashlib import sha256
from html import unescape

import pytest

from scalpdesk.assembly import journaled_market
from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import DataError
from scalpdesk.core.events import QuoteEvent
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.journal.codec import TapeRows
from scalpdesk.monitor.documents import cut_of
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.report.figures import json_safe
from scalpdesk.research.reruns import (
    OtherRun,
    carry_out,
    fill_model_reruns,
    path_reruns,
    settings_again,
)
from scalpdesk.research.stored_run import read_stored
from scalpdesk.web.tear_sheet import (
    read_run,
    sheet_document,
    tear_sheet,
)


def other(name, pnl, costs="-1.00", hedges=3):
    return OtherRun(name, Decimal(pnl), Decimal(costs), hedges)


@pytest.fixture(scope="module")
def run(ended_runs):
    folder, summary = ended_runs
    return read_run(folder / summary["run_id"])


@pytest.fixture(scope="module")
def stored(run):
    return read_stored(run.run_dir)


@pytest.fixture(scope="module")
def document(run):
    return json_safe(sheet_document(run))


def test_sheet_has_the_figures_of_the_summary(document, ended_runs):
    _, summary = ended_runs
    facts = dict(document["facts"])
    assert facts["Events"] == f"{summary['events']:,}"
    assert summary["decision_hash"].startswith(facts["Decisions"])
    assert document["columns"]["equity"][-1] == pytest.approx(float(summary["nav_change"]), abs=0.01)
    assert len(document["hedges"]) == summary["hedges"]
    assert max(document["columns"]["drawdown"]) == 0.0


def test_the_sheet_counts_every_decision_of_the_run(document, run, ended_runs):
    _, summary = ended_runs
    others = sum(count for *_, count in document["decisions"])
    assert others + len(document["hedges"]) == run.decision_count == summary["decisions"]
    assert run.decisions.maxlen is None


def test_trades_and_greeks_of_the_sheet_are_those_of_fills_and_marks(document, stored):
    (trade,) = document["trades"]
    assert f"{to_new_york(trade['opened_ns']):%Y-%m-%d %H}" == "2017-07-03 09"
    assert trade["closed_ns"] > trade["opened_ns"]
    assert trade["hedges"] == sum(fill.purpose == "hedge" for fill in stored.fills)
    legs = [fill for fill in stored.fills if fill.symbol != "SPY"]
    bought = sum(fill.quantity * fill.price * 100 for fill in legs if fill.side == "buy")
    assert trade["cash_in"] == f"{-bought:.2f}"
    greeks = document["greeks"]
    held = [mark for mark in stored.marks if mark.gamma_shares_per_usd]
    assert max(greeks["gamma_shares_per_usd"]) == pytest.approx(
        max(mark.gamma_shares_per_usd for mark in held), abs=1e-6
    )
    assert all(len(column) == len(greeks["t"]) for column in greeks.values())


def test_settings_from_the_journal_make_the_same_run_again(run, ended_runs):
    _, summary = ended_runs
    settings = settings_again(run.header)
    assert settings.config_hash == run.header.config_hash
    again = run_backtest(settings, journaled_market(run.header), SystemClock(), mode="demo", seed=1)
    assert again.summary["pnl"] == summary["pnl"]
    assert again.summary["decision_hash"] == summary["decision_hash"]


def test_other_fill_models_and_paths_are_runs_of_their_own(run, monkeypatch):
    asked = []

    class Result:
        def __init__(self, pnl):
            parts = dict.fromkeys(("spread", "fees", "slippage"), "-2.00")
            self.summary = {"pnl": {"total": pnl, **parts}, "hedges": 7}

    def fake(settings, tape, *_, seed, **__):
        asked.append((settings.config.simulation.fill_model, seed, tape.sessions[0].day.isoformat()))
        return Result("5.00")

    monkeypatch.setattr("scalpdesk.research.reruns.run_backtest", fake)
    told = []

    def report(*words):
        told.append(words)

    found = carry_out(fill_model_reruns(run.header, SystemClock()), report)
    assert told == [(0, 3, "fill model mid"), (1, 3, "fill model queue"), (2, 3, "fill model adverse")]
    assert [each.name for each in found] == ["mid", "queue", "adverse"]
    assert found[0] == other("mid", "5.00", "-6.00", 7)
    redrawn = carry_out(path_reruns(run.header, SystemClock(), 4), report)
    assert [each.name for each in redrawn] == ["seed 2", "seed 3", "seed 4"]
    day = "2017-07-03"
    models = [("mid", 1, day), ("queue", 1, day), ("adverse", 1, day)]
    assert asked == [*models, *(("cross", seed, day) for seed in (2, 3, 4))]


def test_result_is_ranked_among_its_paths_and_the_models_range_is_named(run):
    total = run.desk.attribution.nav_change.quantize(Decimal("0.01"))
    paths = [other(f"seed {n}", total + n) for n in range(1, 20)]
    models = [other("mid", total + 1), other("queue", total), other("adverse", -abs(total))]
    shown = sheet_document(run, models, paths)
    assert shown["result_note"].startswith("Lowest of 20 redrawn paths, 90 % of them ")
    spread = max(total + 1, total) + abs(total)
    assert f"Range {spread:,.2f}" in shown["models"]["note"]
    assert ("changes" in shown["models"]["note"]) == (total > 0)
    assert "Queue equals cross" in shown["models"]["note"]
    assert [row["name"] for row in shown["models"]["rows"]] == ["cross", "mid", "queue", "adverse"]
    assert sheet_document(run)["result_note"] == "one path; its luck is not known"


def test_file_is_small_names_no_address_and_runs_only_its_own_scripts(document):
    page = tear_sheet(document | {"title": "</script><b>&"})
    assert len(page) < 500_000
    addresses = set(re.findall(r"https?://[\w./-]+", page))
    assert addresses <= {"https://github.com/leeoniya/uPlot"}  # in the licence line of the chart library
    policy = unescape(re.search(r'Security-Policy" content="([^"]+)"', page).group(1))
    assert policy.startswith("default-src 'none'")
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert len(scripts) == 2
    styles = re.findall(r"<style>(.*?)</style>", page, flags=re.DOTALL)
    for text in (*scripts, *styles):
        digest = base64.b64encode(sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert not re.search(r"^(import|export) ", scripts[1], flags=re.MULTILINE)
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert "<" not in data
    assert json.loads(data)["title"] == "</script><b>&"
    assert json.loads(data)["parts"] == document["parts"]


@pytest.mark.parametrize("drawing", ["sheet.js", "research_sheet.js"])
def test_the_scripts_of_a_file_share_one_scope_and_each_name_in_it_stands_once(document, drawing):
    text = tear_sheet(document, drawing)
    (script,) = re.findall(r"<script>\(\(\) => \{\n(.*?)\n\}\)\(\);</script>", text, re.DOTALL)
    names = re.findall(r"^(?:const|let|(?:async )?function\*?|class) (\w+)", script, re.MULTILINE)
    assert len(names) > 50
    assert [name for name in set(names) if names.count(name) > 1] == []


def test_the_sheet_of_a_run_cut_short_is_of_what_was_played(held_feed):
    follower = held_feed.follower
    stored = read_stored(follower.run_dir)
    sheet = sheet_document(follower)
    assert sheet["cut"] == stored.summary["verdict"] == str(cut_of(follower))
    assert sheet["cut"] in sheet["warnings"][0]
    assert sheet["result"].replace("−", "-").lstrip("+") == stored.summary["pnl"]["total"]


def test_a_run_whose_market_is_gone_is_drawn_from_the_quotes_of_its_journal(tmp_path):
    """It was refused: a data set that was removed or changed took the sheets of its runs with it."""

    def gone(_rows):
        raise DataError("the data is not what this run was made with")
        yield

    follower, last = RunFollower(tmp_path), QuoteEvent(0, 5, 5, 1.0, 1.1, 1.0, 1.0)
    follower._read_rows = gone
    rows = TapeRows("2018-02-05", 0, 9, "", last)
    assert [list(each) for each in follower._quotes_of(rows)] == [[last]]
    assert follower.lacks_quotes == "the data is not what this run was made with"
