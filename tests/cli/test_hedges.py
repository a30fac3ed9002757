"""``scalpdesk research hedges`` and ``scalpdesk research basis``: tables, documents and refusals."""

from decimal import Decimal

from scalpdesk.cli.main import main

AMOUNTS = "pnl", "options", "hedge_pnl", "underlying_gain", "basis", "hedge_cost"
QQQ = [
    *("research", "hedges", "gamma-scalper", "--start", "2018-02-05"),
    *("--set", "underlying=QQQ", "--set", "entry.gate=off"),
    *("--set", "hedge.beta=1.14", "--set", "exits.flat_minutes_before_close=330"),
]


def test_a_straddle_on_one_fund_is_hedged_with_another_and_what_is_not_there_is_named(told_by, document_of):
    document = document_of(*QQQ, "--with", "spy", "--with", "ES")
    own, other = document["runs"]
    assert (own["hedge"], other["hedge"]) == ("none", "SPY")
    assert (float(own["basis"]), list(document["refused"])) == (0.0, ["ES"])
    for each in document["runs"]:
        amounts = {name: Decimal(each[name]) for name in AMOUNTS}
        assert amounts["pnl"] == amounts["options"] + amounts["hedge_pnl"]
        by_cause = amounts["underlying_gain"] + amounts["basis"] + amounts["hedge_cost"]
        assert amounts["hedge_pnl"] == by_cause
    shown = told_by(*QQQ, "--with", "SPY").out
    row = next(line for line in shown.splitlines() if line.startswith("SPY"))
    assert [Decimal(part.replace(",", "")) for part in row.split()[1:7]] == [
        Decimal(other[name]) for name in AMOUNTS
    ]


def test_the_basis_of_two_funds_of_the_embedded_market(told_by, document_of):
    words = ["research", "basis", "QQQ", "SPY", "--data", "embedded", "--start", "2018-02-05"]
    words += ["--beta", "1.14"]
    document = document_of(*words)
    (session,) = document["sessions"]
    assert document["hedge"] == "SPY"
    assert session["minutes"] == 389
    assert 0.5 < session["correlation"] <= 1.0
    assert "SPY against QQQ" in told_by(*words, "--dollars", "500000").out


def test_an_underlying_without_quotes_of_the_hedge_is_refused(capsys):
    assert main(["research", "basis", "SPY", "NVDA", "--data", "embedded", "--start", "2018-02-05"]) == 2
    assert "NVDA" in capsys.readouterr().err
