"""The page of benchmarks keeps each processor's figures, and says first where a peer is ahead."""

import importlib
import json
import re
import sys
from datetime import date

import pytest

from tests.docs.page_commands import ROOT

EPYC, XEON = "AMD EPYC", "Intel Xeon"


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield {name: importlib.import_module(name) for name in ("measuring", "report")}
    sys.path.remove(str(ROOT / "benchmarks"))
    for name in ("measuring", "report"):
        del sys.modules[name]


@pytest.fixture
def run(bench):
    """Replace one case's figure on a processor: ours against a peer's, in microseconds."""
    against = bench["measuring"].against

    def replaced(records, processor, case, ours, peers, peer="QuantLib fast"):
        found = {case: [against(case, "us", [ours], peer, [peers], target=5.0)]}
        bench["report"].replace(
            records, processor, {"cores": "2"}, {"QuantLib": "1.44"}, found, "2026-11-27, commit 1"
        )

    return replaced


def cells(page, name):
    """Return the cells of the first row that begins with a name."""
    row = re.search(rf"^\| {name} \|(.+)\|$", page, re.MULTILINE)
    return [cell.strip() for cell in row[1].split("|")]


def test_a_run_replaces_its_own_case_on_its_own_processor_alone(bench, run, tmp_path):
    records = {"machines": {}, "results": []}
    run(records, EPYC, "chain", 0.7, 80.0)
    run(records, EPYC, "iv", 1.7, 160.0)
    run(records, XEON, "chain", 2.4, 70.0)
    run(records, EPYC, "chain", 0.5, 80.0)
    bench["report"].write_json(tmp_path / "results.json", records)
    again = bench["report"].load(tmp_path / "results.json")
    assert again == records
    assert {(row["processor"], row["case"]): row["value"] for row in again["results"]} == {
        (EPYC, "chain"): 0.5,
        (EPYC, "iv"): 1.7,
        (XEON, "chain"): 2.4,
    }


def test_each_processor_has_columns_of_its_own(bench, run, tmp_path):
    records = {"machines": {}, "results": []}
    run(records, EPYC, "chain", 0.5, 80.0)
    run(records, XEON, "chain", 20.0, 70.0)
    run(records, XEON, "iv", 2.0, 160.0)
    bench["report"].write_page(tmp_path / "page.md", records, [("chain", "A", "a"), ("iv", "B", "b")])
    page = (tmp_path / "page.md").read_text("utf-8")
    assert cells(page, "what")[3:] == [
        f"{column}, {name}"
        for name in (EPYC, XEON)
        for column in ("ours", "peer's", "ratio or spread", "measured")
    ]
    amd, intel = cells(page, "chain")[3:7], cells(page, "chain")[7:]
    assert amd == ["0.5", "80", "160 × (160 – 160)", "2026-11-27, 1"]
    assert intel == ["20", "70", "3.5 × (3.5 – 3.5) **missed**", "2026-11-27, 1"]
    assert cells(page, "iv")[3:] == ["2", "160", "80 × (80 – 80)", "2026-11-27, 1"]  # run on the Xeon alone


def test_a_peer_that_is_ahead_stands_above_every_table(bench, run, tmp_path):
    records = {"machines": {}, "results": []}
    run(records, EPYC, "chain", 0.5, 80.0)
    run(records, EPYC, "tree", 3.0, 1.5)
    run(records, EPYC, "many", 0.8, 0.7, peer="400 contracts")
    assert [row["name"] for row in bench["report"].peers_ahead(records)] == ["tree"]
    bench["report"].write_page(tmp_path / "page.md", records, [("tree", "A", "a")])
    first = (tmp_path / "page.md").read_text("utf-8").partition("| what |")[0]
    assert "1.5 against 3" in first
    assert "openquanter" in first


def test_the_page_is_that_of_the_results_on_record(bench, tmp_path):
    report = bench["report"]
    names = sorted(path.stem for path in (ROOT / "benchmarks" / "cases").glob("*.py"))
    cases = [(name, importlib.import_module(f"cases.{name}")) for name in names]
    report.write_page(
        tmp_path / "page.md",
        report.load(ROOT / "benchmarks" / "results.json"),
        [(name, case.TITLE, case.ABOUT) for name, case in cases],
        json.loads((ROOT / "benchmarks" / "seconds.json").read_text("utf-8")),
    )
    assert (tmp_path / "page.md").read_text("utf-8") == (ROOT / "docs/evidence/benchmarks.md").read_text(
        "utf-8"
    )


def test_figures_from_before_their_subject_changed_or_of_a_month_ago_are_marked(bench, run, tmp_path):
    records = {"machines": {}, "results": []}
    run(records, EPYC, "chain", 0.5, 80.0)
    run(records, EPYC, "iv", 1.7, 160.0)
    mark = bench["report"].mark_old
    subjects = {"chain": ["src/a"], "iv": ["src/b"]}

    def shown(day):
        mark(records, subjects, day, changed=lambda commit, paths: (commit, paths) == ("1", ["src/a"]))
        bench["report"].write_page(tmp_path / "page.md", records, [("chain", "A", "a"), ("iv", "B", "b")])
        page = (tmp_path / "page.md").read_text("utf-8")
        return [cells(page, name)[-1] for name in ("chain", "iv")]

    older = "2026-11-27, 1, **older than its subject**"
    assert shown(date(2026, 12, 28)) == [older, "2026-11-27, 1"]
    assert shown(date(2026, 12, 29)) == [older, "2026-11-27, 1, **older than a month**"]


def test_a_commit_outside_the_history_counts_as_before_the_last_change(bench):
    changed = bench["report"].changed_since
    assert changed("0" * 40, ["README.md"])
    assert not changed("HEAD", ["README.md"])
    assert not changed("HEAD", ["no/such/file"])
