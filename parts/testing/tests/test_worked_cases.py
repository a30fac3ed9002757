import json
import math
from pathlib import Path

import pytest

from scalpdesk_testing.selftest import judge
from scalpdesk_testing.worked_cases import BOUND, TABLE, agrees, evaluate, row_of

REFERENCE = Path(__file__).resolve().parents[3] / ".." / "shared" / "reference"
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


STRADDLE = {
    "K": 275.0,
    "S": 274.8,
    "tau": 0.1139,
    "ssvi": {"theta": 0.0027, "rho": -0.5, "eta": 1.13},
    "forecast": 0.2,
}
RECENTRE = {
    "S": 265.0,
    "K": 291.0,
    "K_new": 265.0,
    "iv": 0.155,
    "iv_new": 0.21,
    "tau": 1 / 9,
    "forecast": 0.3,
    "tau_h": 5 / 252,
}
EVENT = {"iv1": 0.145, "tau1": 3 / 252, "iv2": 0.172, "tau2": 8 / 252}
PUT_SOLD = [["sell", "P", 270.0, 1]]


@pytest.mark.parametrize(
    ("function", "inputs", "expected"),
    [  # by hand from the formula, or a relation to the answer without the argument
        ("sortino", {"returns": [3.0, -1.0], "periods": 1, "target": 1.0}, {"result": 0.0}),
        (
            "sortino",
            {"returns": [4.0, -1.0, 0.0], "periods": 4, "target": 0.5},
            {"result": 0.5 / math.sqrt(2.5 / 3.0) * 2.0},
        ),
        ("psr", {"sr": 0.08, "n": 250, "benchmark": 0.08}, {"result": 0.5}),
        (
            "sizing",
            {
                "mode": "kelly_fraction",
                "equity": 1e5,
                "premium_usd": 100.0,
                "edge_usd": 20.0,
                "pnl_sd_usd": 500.0,
            },
            {"raw": 2.0, "straddles": 2, "bound_by": "size"},
        ),
        (
            "sizing",
            {
                "mode": "kelly_fraction",
                "equity": 1e5,
                "premium_usd": 100.0,
                "edge_usd": 20.0,
                "stderr_usd": 5.0,
                "pnl_sd_usd": 500.0,
                "kappa": 0.5,
                "h": 2.0,
            },
            {"raw": 2.0, "straddles": 2, "bound_by": "size"},
        ),
        (
            "sizing",
            {"mode": "theta_budget", "equity": 1e5, "premium_usd": 100.0, "theta_session_usd": -20.0},
            {"raw": 5.0, "straddles": 5, "bound_by": "size"},
        ),
        (
            "event_variance",
            EVENT | {"base": 0.1},
            {"variance": 0.172**2 * 8 / 252 - 0.145**2 * 3 / 252 - 0.01 * 5 / 252},
        ),
        ("event_variance", EVENT | {"base": 0.145}, {"variance": 0.172**2 * 8 / 252 - 0.145**2 * 8 / 252}),
        ("recentre", RECENTRE, {"earn_old": 54.3886617858}),
        ("recentre", RECENTRE | {"straddles": 3}, {"earn_old": 3 * 54.3886617858}),
        ("reg_t_margin", {"kind": "long_option", "price": 11.8, "months": 10}, {"initial": 885.0}),
        ("reg_t_margin", {"kind": "long_option", "price": 11.8, "months": 9}, {"initial": 1180.0}),
        ("alpaca_level", {"legs": PUT_SOLD, "cash": 27_000.0}, {"result": 1}),
        ("alpaca_level", {"legs": PUT_SOLD, "cash": 26_999.0}, {"result": None}),
        ("alpaca_level", {"legs": PUT_SOLD}, {"result": 1}),
        (
            "hedge_noise",
            {
                "S": 275.0,
                "K": 282.0,
                "kind": "straddle",
                "tau": 0.11388888888888889,
                "sigma": 0.143,
                "iv_sd": 0.0043,
                "units": 100,
                "z": 1.0,
            },
            {"least_hedge": 2},
        ),
        ("iv_filter", {"dtau": [0.0, 0.0], "z": [0.1, 0.9], "sd": [0.1, 0.1]}, {"used": [True, False]}),
        (
            "iv_filter",
            {"dtau": [0.0, 0.0], "z": [0.1, 0.9], "sd": [0.1, 0.1], "gate": 6.0},
            {"used": [True, True]},
        ),
    ],
)
def test_optional_arguments_of_the_reference_functions_are_taken(function, inputs, expected):
    assert agrees(evaluate(function, inputs), expected)


def test_an_edge_without_costs_is_the_gross_edge():
    bare = evaluate("shifted_edge", STRADDLE)
    paid = evaluate("shifted_edge", STRADDLE | {"half_spreads": 0.045, "hedge_cost_usd": 2.4})
    assert bare["edge"] == bare["gross"]
    assert paid["edge"] == pytest.approx(bare["edge"] - 4.5 - 2.4)


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        ("fifo", {"fills": [["buy", 1]]}),  # too few values
        ("reg_t_margin", {"kind": "no_such_kind"}),
        ("mean_hac", {"returns": [], "lags": 0}),
        ("ww", {"gamma": "much"}),
    ],
)
def test_a_case_that_raises_is_a_failed_case(function, inputs):
    case = {"id": "x", "area": "A", "function": function, "inputs": inputs, "expected": {"result": 1.0}}
    assert judge(case)["verdict"] == "failed"


def test_every_name_in_a_row_is_an_input_a_step_or_the_products():
    assert all(row_of(function).steps for function in BOUND)


def test_a_row_with_an_unknown_name_says_which(monkeypatch):
    monkeypatch.setitem(TABLE, "odd", {"takes": "x", "result": "nobody(x)"})
    with pytest.raises(NameError, match=r"odd\.result: nobody is not known"):
        row_of("odd")


@pytest.mark.skipif(not CASES.is_file(), reason="the worked cases lie beside the project")
def test_all_cases_of_areas_a_g_and_h_pass():
    cases = [case for case in json.loads(CASES.read_text()) if case["area"] in {"A", "G", "H"}]
    verdicts = {case["id"]: judge(case)["verdict"] for case in cases}
    assert len(verdicts) >= 40
    assert {name for name, verdict in verdicts.items() if verdict != "passed"} == set()


@pytest.mark.skipif(not TRADE_CASES.is_file(), reason="the worked cases lie beside the project")
def test_all_bound_cases_of_the_trade_pass():
    cases = [case for case in json.loads(TRADE_CASES.read_text()) if case["function"] in BOUND]
    verdicts = {case["id"]: judge(case)["verdict"] for case in cases}
    assert len(verdicts) >= 60
    assert {name for name, verdict in verdicts.items() if verdict != "passed"} == set()
