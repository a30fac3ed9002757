import math

import pytest

from scalpdesk.cli.main import main
from scalpdesk.pricing import greeks

MARKET = ["--spot", "100", "--strike", "105", "--days", "73", "--rate", "4%"]


def test_price_gives_the_models_own_numbers_raw(document_of):
    document = document_of("price", *MARKET, "--vol", "0.25", "--put", "--style", "european")
    g = greeks(100.0, 105.0, 0.2, 0.25, False, rate=0.04, style="european")
    assert "call" not in document
    for name, unit in document["units"].items():
        assert math.isclose(document["put"][name], float(getattr(g, name)), rel_tol=1e-12), unit


def test_the_table_is_in_traders_units(capsys):
    assert main(["price", *MARKET, "--vol", "25%", "--call", "--style", "european"]) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()[2:]}
    g = greeks(100.0, 105.0, 0.2, 0.25, True, rate=0.04, style="european")
    assert float(lines["theta"][1]) == pytest.approx(float(g.theta) / 365, abs=1e-6)
    assert float(lines["vega"][1]) == pytest.approx(float(g.vega) / 100, abs=1e-6)
    assert lines["theta"][2:] == ["per", "calendar", "day"]


def test_percent_and_fraction_are_the_same(document_of):
    documents = [document_of("price", *MARKET, "--vol", vol) for vol in ("25%", "0.25")]
    assert documents[0] == documents[1]
    assert documents[0]["inputs"]["rate"] == 0.04


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--vol", "high"], "is not a fraction"),
        (["--vol", "0.2", "--years", "1"], "give the time to expiry once"),
        (["--vol", "0.2", "--dividend", "3"], "is not DAYS:AMOUNT"),
        (["--vol", "0.2", "--model", "black76", "--dividend", "3:1"], "a forward already carries"),
    ],
)
def test_wrong_arguments_are_refused(words, told, told_by):
    assert told in told_by("price", *MARKET, *words, code=2).err


def test_a_dividend_lowers_the_call(document_of):
    words = ("price", *MARKET, "--vol", "0.25")
    without, paid = document_of(*words), document_of(*words, "--dividend", "30:1.5")
    assert 0.3 < without["call"]["price"] - paid["call"]["price"] < 1.0


def test_iv_turns_a_price_back(told_by, document_of):
    quoted = float(greeks(100.0, 105.0, 0.2, 0.25, False, rate=0.04).price)
    document = document_of("price", *MARKET, "--put", "--paid", str(quoted))
    assert document["status"] == "ok"
    assert document["vol"] == pytest.approx(0.25, abs=1e-7)
    assert "25.0000%" in told_by("price", *MARKET, "--put", "--paid", str(quoted)).out


def test_iv_without_an_answer_says_why_and_fails(told_by, document_of):
    words = ["iv", "--spot", "100", "--strike", "80", "--days", "30", "--price", "5"]
    assert document_of(*words, code=1) == {"vol": None, "status": "below_intrinsic"}
    assert "below the option's intrinsic value" in told_by(*words, code=1).out


def test_a_contract_shows_its_class_and_an_unknown_root_is_refused_until_it_is_named(
    capsys, told_by, document_of
):
    document = document_of("contract", "spx260320c06000000")
    assert (document["settlement"], document["last trade"][:16]) == ("cash_am", "2026-03-19T16:15")
    assert document["hours of 2026-03-19"] == "Wed 20:15 to 09:25, Thu 09:30 to 16:15"
    unknown = ["contract", "VXEEM260318C00020000"]
    assert "[classes.VXEEM]" in told_by(*unknown, code=2).err
    own = ("kind=volatility", "settlement=cash_am", "tick=0.05", "closes=16:15:00")
    assert main([*unknown, *(word for each in own for word in ("--set", f"classes.VXEEM.{each}"))]) == 0
    assert "cash_am" in capsys.readouterr().out
    assert main(unknown) == 2  # the rows of one command are not those of the next
