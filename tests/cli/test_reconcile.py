"""``scalpdesk reconcile``: what it shows of a comparison, and what it refuses."""

import json

import pytest

from scalpdesk.cli.main import main
from scalpdesk_testing.kit.journaled_run import SHARE, Run

FLEX = """<FlexQueryResponse><FlexStatements>
<FlexStatement accountId="U1" fromDate="20240304" toDate="20240304"><Trades>
<Trade currency="USD" assetCategory="STK" symbol="KO" dateTime="20240304;100002" quantity="10"
 tradePrice="60.00" ibCommission="{fee}" ibExecID="x1" levelOfDetail="EXECUTION"/>
</Trades></FlexStatement>
{more}</FlexStatements></FlexQueryResponse>"""


@pytest.fixture
def runs_dir(tmp_path):
    run = Run(tmp_path / "runs", "a")
    run.fill(SHARE, "buy", 10, "60.00", "0.35")
    run.end()
    return tmp_path / "runs"


@pytest.fixture
def reconciled(tmp_path, runs_dir, capsys):
    def ask(*words, fee="-0.35", more="", broker="ibkr"):
        file = tmp_path / "flex.xml"
        file.write_text(FLEX.format(fee=fee, more=more), encoding="utf-8")
        code = main(["reconcile", str(file), "--broker", broker, "--runs-dir", str(runs_dir), *words])
        return code, capsys.readouterr()

    return ask


def document_of(shown):
    return json.loads(shown.out)


def test_the_exit_code_tells_whether_all_agree(reconciled):
    code, shown = reconciled("--json")
    found = document_of(shown)
    assert (code, found["agrees"], found["counts"], found["runs"]) == (0, True, {"agrees": 1}, ["a"])
    assert found["totals"] == {
        "USD": {"broker": "-600.35", "journal": "-600.35", "difference": "0", "closes": True}
    }
    code, shown = reconciled("--json", fee="-0.36")
    found = document_of(shown)
    assert (code, found["agrees"]) == (1, False)
    assert [line["differences"] for line in found["lines"]] == [{"cash": "-0.01", "fee": "0.01"}]
    assert found["totals"]["USD"]["difference"] == "-0.01"


def test_the_terminal_shows_what_differs_and_with_all_every_line(reconciled):
    _, shown = reconciled(fee="-0.36")
    assert "fee +0.01" in shown.out
    assert "x1" in shown.out
    _, shown = reconciled()
    assert "x1" not in shown.out
    _, shown = reconciled("--all")
    assert "x1" in shown.out


def test_days_bound_what_is_compared(reconciled):
    code, shown = reconciled("--json", "--start", "2024-03-05", "--end", "2024-03-06")
    found = document_of(shown)
    assert (code, found["counts"], found["journal_outside"]) == (0, {}, 1)


def test_the_zone_of_the_file_may_be_another(reconciled):
    code, shown = reconciled(
        "--json", "--zone", "Europe/Rome", "--start", "2024-03-04", "--end", "2024-03-04"
    )
    (line,) = document_of(shown)["lines"]
    assert (code, line["differences"]) == (1, {"seconds": str(-6 * 3600)})


TWO = {"more": '<FlexStatement accountId="U2"/>'}


def test_the_account_of_several_is_chosen(reconciled):
    code, shown = reconciled("--json", **TWO)
    assert (code, "--account" in document_of(shown)["error"]["fix"]) == (2, True)
    code, shown = reconciled("--json", "--account", "U1", **TWO)
    assert (code, document_of(shown)["account"]) == (0, "U1")


@pytest.mark.parametrize(
    ("words", "parts", "where"),
    [
        (("--zone", "Mars"), {}, "--zone"),
        (("--account", "U9"), {}, "flex.xml"),
        (("--account", "U2"), TWO, "flex.xml"),
        (("--run", "b"), {}, "runs"),
        ((), {"broker": "deribit"}, "statement"),
    ],
)
def test_what_is_missing_or_wrong_is_named(reconciled, words, parts, where):
    code, shown = reconciled("--json", *words, **parts)
    error = document_of(shown)["error"]
    assert code == 2
    assert where in error["where"]
    assert error["fix"]


def test_without_a_run_the_live_ones_of_the_broker_are_taken(reconciled, runs_dir, tmp_path, capsys):
    file = tmp_path / "log.json"
    file.write_text('[{"type": "deposit", "currency": "BTC", "id": 1, "timestamp": 1, "change": 1.0}]')
    code = main(["reconcile", str(file), "--broker", "deribit", "--runs-dir", str(runs_dir), "--json"])
    assert code == 2
    assert "no live run" in json.loads(capsys.readouterr().out)["error"]["what"]
