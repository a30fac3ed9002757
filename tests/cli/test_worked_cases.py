import json
import math
from pathlib import Path

import pytest

from scalpdesk_testing.selftest import judge
from scalpdesk_testing.worked_cases import BINDINGS, agrees

REFERENCE = Path(__file__).resolve().parents[2] / ".." / "shared" / "reference"
CASES = REFERENCE / "worked_cases.json"
TRADE_CASES = REFERENCE / "worked_cases_trade.json"


@pytest.mark.parametrize(
    ("got", "expected", "same"),
    [
        (1.0, 1.0 + 5e-10, True),
        (1.0, 1.0 + 5e-9, False),
        (0.0, 0.0, True),
        (1e-6, 0.0, False),
        (None, None, True),
        (0.0, None, False),
        (None, 0.0, False),
        (True, True, True),
        (1, True, False),
        (True, 1, False),
        (math.inf, "inf", True),
        (1.0, "inf", False),
        (math.nan, 1.0, False),
        ("a", "a", True),
        ("a", "b", False),
        ("1", 1, False),
        ([1, 2], [1, 2], True),
        ([1, 2], [1, 2, 3], False),
        ((1, None), [1, None], True),
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"b": 2}, {"a": 1}, False),
    ],
)
def test_agrees(got, expected, same):
    assert agrees(got, expected) is same


@pytest.mark.skipif(not CASES.is_file(), reason="the worked cases lie beside the project")
def test_all_cases_of_areas_a_g_and_h_pass():
    cases = [case for case in json.loads(CASES.read_text()) if case["area"] in {"A", "G", "H"}]
    verdicts = {case["id"]: judge(case)["verdict"] for case in cases}
    assert len(verdicts) >= 40
    assert {name for name, verdict in verdicts.items() if verdict != "passed"} == set()


@pytest.mark.skipif(not TRADE_CASES.is_file(), reason="the worked cases lie beside the project")
def test_all_bound_cases_of_the_trade_pass():
    cases = [case for case in json.loads(TRADE_CASES.read_text()) if case["function"] in BINDINGS]
    verdicts = {case["id"]: judge(case)["verdict"] for case in cases}
    assert len(verdicts) >= 60
    assert {name for name, verdict in verdicts.items() if verdict != "passed"} == set()
