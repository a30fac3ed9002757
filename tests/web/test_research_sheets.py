"""Tear sheets of many backtests: the result's own figures, nothing from outside, names that stay text."""

import json
import re
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

import scalpdesk
from scalpdesk.core.errors import ArgumentError, RefusalFacts
from scalpdesk.research.folds import FoldPlan
from scalpdesk.research.overfitting import Measure, OverfittingReport, judge_rows
from scalpdesk.research.sweep import SweepResult, SweepRow
from scalpdesk.research.walk_forward import (
    FoldResult,
    SpanPnl,
    WalkForwardReport,
    WalkForwardResult,
)
from scalpdesk.web.research_sheets import DRAWING, research_sheet
from scalpdesk.web.tear_sheet import tear_sheet

DAYS = [date(2018, 2, 1) + timedelta(day) for day in range(20)]
ABOUT = {"strategy": "gamma-scalper", "data": {"name": "mine", "kind": "recorded", "underlying": "SPY"}}


def row(place, daily, **settings):
    """Return a row whose P&L is the sum of its sessions."""
    by_day = {day.isoformat(): f"{amount:.2f}" for day, amount in zip(DAYS, daily, strict=False)}
    total = sum(map(Decimal, by_day.values()))
    pnl = {"total": str(total), "gamma": "30.00", "theta": "-20.00"}
    return SweepRow(
        config_hash=f"hash {place}",
        settings=settings,
        pnl=pnl,
        daily=by_day,
        sessions=len(by_day),
        sharpe=1.0,
    )


def grid(**more):
    """Return a sweep of three parameters: 4 × 3 × 2 rows, with losses and gains."""
    rows = [
        row(i, np.random.default_rng(i).normal(a - 4.0 + b, 3.0, 12), a=str(a), b=str(b), c=c)
        for i, (a, b, c) in enumerate((a, b, c) for a in (1, 2, 5, 10) for b in (0, 1, 2) for c in "xy")
    ]
    ordered = sorted(rows, key=lambda each: each.rank)
    return SweepResult((*ordered, *more.pop("failed", ())), len(rows), None, ABOUT | more)


def data_of(document):
    """Return the figures that stand in the file of a document."""
    page = tear_sheet(document, DRAWING)
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    return json.loads(data)


def number(text):
    return float(text.replace("−", "-").replace(",", ""))


def test_the_sheet_of_a_sweep_has_its_rows_their_intervals_and_the_judgement():
    found = grid()
    shown = data_of(research_sheet(found))
    assert shown["values"] == [each.total for each in found.rows]
    assert list(map(number, shown["texts"])) == shown["values"]
    named = [
        {axis["key"]: axis["labels"][at] for axis, at in zip(shown["parameters"], places, strict=True)}
        for places in shown["places"]
    ]
    assert named == [each.settings for each in found.rows]
    assert shown["outcomes"]["pnl"] == shown["values"]
    for each, low, high in zip(found.rows, shown["outcomes"]["low"], shown["outcomes"]["high"], strict=True):
        assert (low, high) == (each.interval().low, each.interval().high)
        assert low < each.total < high
    judged = judge_rows(found.rows)
    assert shown["luck"]["deflated_sharpe"] == judged.deflated_sharpe == found.overfitting.deflated_sharpe
    assert shown["luck"]["pbo"] == judged.pbo is not None
    assert [number(each["pnl"]) for each in shown["best"]] == shown["values"]
    assert number(shown["result"]) == max(shown["values"])
    assert shown["currency"] == "USD"


def test_an_interval_of_pnl_is_as_wide_as_its_sessions_vary():
    amounts = np.random.default_rng(5).normal(1.0, 4.0, 19)
    found = row(0, amounts).interval()
    normal = 2 * 1.96 * np.std(amounts, ddof=1) * np.sqrt(19)
    assert 0.5 * normal < found.high - found.low < 1.5 * normal
    assert row(0, [2.0] * 5).interval().low == row(0, [2.0] * 5).interval().high == 10.0
    assert row(0, [2.0] * 2).interval() is None


@given(st.lists(st.floats(0.01, 100.0).map(lambda each: f"{each:.4f}"), min_size=1, max_size=60))
@examples(max_examples=20)
def test_many_numbers_of_a_parameter_are_grouped_and_every_row_stays_in_its_group(values):
    rows = tuple(row(i, [1.0, 2.0], a=value, b=str(i % 2)) for i, value in enumerate(values))
    shown = research_sheet(SweepResult(rows, len(rows), None, ABOUT))
    for place, axis in enumerate(shown["parameters"]):
        places = [at[place] for at in shown["places"]]
        assert set(places) == set(range(len(axis["labels"])))
        if axis["key"] == "a":
            by_value = sorted(zip(map(float, values), places, strict=True))
            assert [at for _, at in by_value] == sorted(places)
            assert len(axis["labels"]) <= 16


def test_a_sweep_of_one_parameter_one_configuration_or_without_a_result_is_a_sheet():
    failed = SweepRow(config_hash="", settings={"a": "9"}, refusal=RefusalFacts("no such setting"))
    one = SweepResult(tuple(row(i, [i - 1.0] * 4, a=str(i)) for i in range(3)), 3)
    for result, parameters, values in (
        (one, ["a"], 3),
        (SweepResult(one.rows[:1], 1), [], 1),
        (SweepResult((failed,), 1), [], 0),
        (SweepResult((), 0), [], 0),
    ):
        shown = data_of(research_sheet(result))
        assert [axis["key"] for axis in shown["parameters"]] == parameters
        assert len(shown["values"]) == len(shown["outcomes"]["rank"]) == values
        assert shown["problems"] == [["a=9", each.problem] for each in result.rows if each.problem]


def test_rows_that_a_search_stopped_are_counted_and_not_compared():
    stopped = SweepRow(config_hash="s", settings={"a": "7"}, pnl={"total": "99.00"}, pruned=True)
    whole = row(0, [1.0, 2.0, 3.0], a="1")
    shown = research_sheet(SweepResult((whole, stopped), 2))
    assert shown["values"] == [6.0]
    assert "1 stopped" in shown["subtitle"]


def test_names_stay_text_and_the_file_names_no_address():
    hostile = "</script><script>alert(1)</script><b>&"
    failed = SweepRow(config_hash="", settings={"a": hostile}, refusal=RefusalFacts(hostile))
    document = research_sheet(grid(failed=(failed,), strategy=hostile), f"scalpdesk sweep '{hostile}'")
    page = tear_sheet(document, DRAWING)
    assert "<script>alert" not in page
    assert set(re.findall(r"https?://[\w./-]+", page)) <= {"https://github.com/leeoniya/uPlot"}
    assert not re.search(r"(src|href)=|@import|url\(", page.split("<style>")[0])
    assert not re.search(r"^\s*(import|export) ", page, flags=re.MULTILINE)
    shown = data_of(document)
    assert shown["problems"] == [[f"a={hostile}", hostile]]
    assert shown["command"].endswith(f"'{hostile}'")


def span(amounts):
    total = sum(amounts)
    return SpanPnl(
        sessions=len(amounts),
        traded=sum(amount != 0 for amount in amounts),
        total=f"{total:.2f}",
        per_session=total / len(amounts),
        sharpe_annual=None if len(amounts) < 3 else 1.5,
    )


def walked(plan):
    """Return a finished walk-forward test of made-up P&L over twenty sessions."""
    folds = plan.divide(DAYS)
    pnl = dict(zip(DAYS, np.random.default_rng(2).normal(0.0, 3.0, len(DAYS)).round(2), strict=True))
    results = tuple(
        FoldResult(
            train_first=fold.train[0],
            train_last=fold.train[-1],
            train_sessions=len(fold.train),
            test_first=fold.test[0],
            test_last=fold.test[-1],
            settings={"a": str(place)},
            in_sample=span([pnl[day] for day in fold.train]),
            out_of_sample=span([pnl[day] for day in fold.test]),
            rank=0.5,
        )
        for place, fold in enumerate(folds)
    )
    tested = {day.isoformat(): str(pnl[day]) for fold in folds for day in fold.test}
    report = WalkForwardReport(
        strategy="st0cka",
        data="embedded",
        currency="USD",
        measure=Measure.SHARPE,
        anchored=plan.anchored,
        purge=plan.purge,
        embargo=plan.embargo,
        one_run=False,
        combinations=3,
        folds=results,
        daily=tested,
        in_sample=span([float(each.in_sample.total) for each in results]),
        out_of_sample=span(list(map(float, tested.values()))),
        sharpe_low=-2.0,
        sharpe_high=4.0,
        sharpe_error=1.0,
        probabilistic_sharpe=0.6,
        degradation=0.25,
        overfitting=OverfittingReport(
            trials=3,
            compared=3,
            sessions=20,
            best={"a": "0"},
            sharpe_annual=1.0,
            luck_annual=1.5,
            deflated_sharpe=0.4,
        ),
        problems={},
    )
    return WalkForwardResult(report, (), folds)


@pytest.mark.parametrize("anchored", [False, True])
def test_the_sheet_of_a_walk_forward_has_each_session_of_each_fold_in_its_part(anchored):
    train = None if anchored else 6
    made = walked(FoldPlan(train=train, test=3, folds=4, purge=1, embargo=2, anchored=anchored))
    shown = data_of(research_sheet(made))
    days = [date.fromisoformat(day) for day in shown["days"]]
    for fold, result, drawn in zip(made.folds, made.report.folds, shown["folds"], strict=True):
        parts = {"train": [], "purge": [], "embargo": [], "test": []}
        for each in drawn["spans"]:
            parts[each["kind"]] += days[each["from"] : each["to"]]
            assert (each["first"], each["last"]) == (
                days[each["from"]].isoformat(),
                days[each["to"] - 1].isoformat(),
            )
        assert (tuple(parts["train"]), tuple(parts["test"])) == (fold.train, fold.test)
        before = [day for day in DAYS if day < fold.test[0]]
        assert parts["purge"] == before[-1:]
        earlier = [other.test[-1] for other in made.folds if other.test[0] < fold.test[0]]
        barred = {DAYS[DAYS.index(day) + after] for day in earlier for after in (1, 2)}
        assert set(parts["embargo"]) <= barred
        assert not barred & set(parts["train"])
        assert drawn["in_sample"]["per_session"] == result.in_sample.per_session
        assert number(drawn["out_of_sample"]["total"]) == float(result.out_of_sample.total)
        assert drawn["settings"] == f"a={result.settings['a']}"
    assert sum(shown["running"]["pnl"]) == pytest.approx(float(made.report.out_of_sample.total), abs=0.01)
    assert shown["running"]["starts"] == [0, 3, 6, 9]
    assert number(shown["result"]) == float(made.report.out_of_sample.total)
    assert (shown["degradation"], shown["luck"]["deflated_sharpe"]) == (0.25, 0.4)


@pytest.fixture(scope="module")
def bands():
    return scalpdesk.bands(days=60, names=["fixed", "whalley_wilmott", "time", "ladder"], delta_cap=8)


def test_the_sheet_of_a_comparison_has_every_band_and_marks_the_recommended(bands):
    shown = data_of(research_sheet(bands))
    for each, drawn in zip(bands.rows, shown["rows"], strict=True):
        assert (drawn["cost"], drawn["spread"]) == (each.cost, each.spread)
        assert drawn["spread_high"] - drawn["spread_low"] == pytest.approx(2 * 1.96 * each.spread_stderr)
        assert drawn["cost_high"] - drawn["cost_low"] == pytest.approx(2 * 1.96 * each.cost_stderr)
        assert (drawn["frontier"], drawn["eligible"]) == (each.on_frontier, each.eligible)
        assert number(drawn["texts"]["worth"]) == pytest.approx(each.certainty_equivalent, abs=0.0051)
    (chosen,) = (drawn for drawn in shown["rows"] if drawn["chosen"])
    assert chosen["setting"] == bands.recommendation.setting
    assert shown["settings"] == [
        f"--set {key}={value}" for key, value in bands.recommendation.settings.items()
    ]
    without = scalpdesk.bands(days=40, names=["ladder"], delta_cap=8)
    assert research_sheet(without)["advice"] is None
    assert not any(each["chosen"] for each in research_sheet(without)["rows"])


def test_python_writes_the_sheet_of_each_result_and_refuses_another(bands, tmp_path):
    for result in (bands, grid(), walked(FoldPlan(folds=2))):
        file = scalpdesk.tear_sheet(result, tmp_path / "sheet.html")
        assert file.read_text("utf-8").startswith("<!doctype html>")
    with pytest.raises(ArgumentError) as refused:
        scalpdesk.tear_sheet({}, tmp_path / "sheet.html")
    assert refused.value.where == "result"
    with pytest.raises(ArgumentError) as refused:
        scalpdesk.tear_sheet(bands, tmp_path)
    assert refused.value.value == str(tmp_path)
