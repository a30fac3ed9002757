import json

import pytest

from scalpdesk.cli.main import main

HEDGE = {
    "id": "A.hedge.x1",
    "area": "A",
    "function": "hedge",
    "inputs": {"opt_delta": 0.05, "N_": 1, "owned": 0, "pending": 0, "thr": 2.0},
    "expected": {"options_delta": 5.0, "net_delta_per_straddle": 5.0, "trade_qty": -5},
}
WRONG = HEDGE | {"id": "A.hedge.x2", "expected": {"trade_qty": -4}}
UNBOUND = HEDGE | {"id": "Z.nothing.x1", "area": "Z", "function": "nothing"}
MISFIT = HEDGE | {"id": "A.hedge.x3", "inputs": {"delta": 1}}


@pytest.fixture
def judged(tmp_path, capsys):
    def run(*cases, code=0):
        path = tmp_path / "cases.json"
        path.write_text(json.dumps(cases))
        assert main(["selftest", "--cases", str(path), "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return run


def test_passed_failed_and_unbound_are_told_apart(judged):
    document = judged(HEDGE, WRONG, UNBOUND, code=1)
    assert (document["passed"], document["failed"], document["unbound"]) == (1, 1, 1)
    assert [case["verdict"] for case in document["cases"]] == ["passed", "failed", "unbound"]
    failed = document["cases"][1]
    assert failed["got"]["trade_qty"] == -5
    assert failed["expected"] == {"trade_qty": -4}


def test_unbound_alone_does_not_fail(judged):
    assert judged(UNBOUND)["unbound"] == 1


def test_inputs_that_do_not_fit_fail_with_the_reason(judged):
    assert "from its inputs" in judged(MISFIT, code=1)["cases"][0]["got"]


def test_the_summary_names_what_failed_and_what_is_unbound(tmp_path, capsys):
    path = tmp_path / "cases.json"
    path.write_text(json.dumps([HEDGE, WRONG, UNBOUND]))
    assert main(["selftest", "--cases", str(path)]) == 1
    told = capsys.readouterr().out
    assert "area A: 1 passed, 1 failed" in told
    assert "FAILED A.hedge.x2" in told
    assert "not yet bound: nothing" in told


@pytest.mark.parametrize(
    ("text", "where"),
    [('[{"id": 1', "cases.json:1"), ('{"id": 1}', "cases.json"), ('[{"id": 1}]', "cases.json: case 0")],
)
def test_a_bad_file_names_the_place(tmp_path, capsys, text, where):
    path = tmp_path / "cases.json"
    path.write_text(text)
    assert main(["selftest", "--cases", str(path), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["where"] == where


def test_a_missing_file_names_its_neighbour(tmp_path, capsys):
    (tmp_path / "cases.json").write_text("[]")
    assert main(["selftest", "--cases", str(tmp_path / "case.json")]) == 2
    assert "nearest: cases.json" in capsys.readouterr().err


def test_without_cases_it_says_what_to_give(capsys):
    assert main(["selftest"]) == 2
    assert "--cases FILE" in capsys.readouterr().err
