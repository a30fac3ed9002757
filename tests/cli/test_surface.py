import importlib.util
import json

import pytest
from click.testing import CliRunner

from scalpdesk.cli.main import main
from scalpdesk.cli.surface import surface

AT = ["SPY", "--session", "2018-02-05", "--time", "14:00", "--seed", "1"]


def run(capsys, *arguments):
    code = main(["surface", *arguments])
    return code, capsys.readouterr()


@pytest.fixture(scope="module")
def document():
    done = CliRunner().invoke(surface, [*AT, "--json", "--scenario"], catch_exceptions=False)
    return json.loads(done.stdout)


def test_the_document_is_in_raw_units(document):
    assert document["symbol"] == "SPY"
    assert document["data"] == {"name": "embedded", "kind": "reconstructed"}
    assert len(document["expiries"]) == 5
    for row in document["expiries"]:
        assert row["years"] == pytest.approx(row["days"] / 365)
        assert 0.05 < row["atm_vol"] < 1.5
        assert row["risk_reversal"] < 0.0
        assert row["forward"] == pytest.approx(document["spot"], abs=0.1)
        assert set(row["svi"]) == {"a", "b", "rho", "m", "s"}
        assert row["arbitrage_left"] == {"butterfly": 0.0, "calendar": 0.0}


def test_variance_adds_up_over_the_expiries(document):
    variance = clock_years = 0.0
    for row in document["expiries"]:
        variance += row["forward_vol"] ** 2 * (row["clock_years"] - clock_years)
        clock_years = row["clock_years"]
        assert row["atm_vol"] ** 2 * row["years"] == pytest.approx(variance)
        assert row["clock_years"] == pytest.approx(row["years"])


def test_time_may_be_session_variance(document, capsys):
    code, said = run(capsys, *AT, "--clock", "us-sessions", "--json")
    assert code == 0
    session = json.loads(said.out)
    assert session["clock"] == "us-sessions"
    for row, even in zip(session["expiries"], document["expiries"], strict=True):
        # the smile is the same; only the time it is spread over differs
        assert row["atm_vol"] == pytest.approx(even["atm_vol"])
        assert row["clock_years"] != pytest.approx(row["years"], rel=1e-3)
    # two hours of a session hold far more variance than two hours of the year
    assert session["expiries"][0]["clock_years"] > 2.0 * session["expiries"][0]["years"]


def test_the_embedded_market_is_fitted_inside_its_quotes(document):
    assert document["share_inside"] > 0.95


def test_the_ladder_is_a_long_straddle_s(document):
    ladder = document["scenario"]["ladder"]
    assert len(ladder) == 13
    middle = ladder[6]
    assert middle["spot"] == pytest.approx(document["spot"], abs=0.005)  # the last quotes' own spot
    assert middle["pnl_usd"] == pytest.approx(0.0, abs=1e-9)
    assert ladder[0]["pnl_usd"] > 0.0 < ladder[-1]["pnl_usd"]
    assert ladder[0]["delta_shares"] < 0.0 < ladder[-1]["delta_shares"]
    assert middle["theta_usd_per_day"] < 0.0 < middle["gamma_shares_per_usd"]
    # the straddle expires at this close: only what it is then worth is left
    strike, premium = document["scenario"]["strike"], document["scenario"]["premium_usd"]
    for row in ladder:
        assert row["pnl_usd_at_close"] == pytest.approx(100 * abs(row["spot"] - strike) - premium, abs=1e-6)


def test_the_table_is_in_points(capsys):
    code, said = run(capsys, *AT, "--scenario", "--expiry", "2018-02-09")
    assert code == 0
    assert "RR25" in said.out
    assert "long 1 straddle 2018-02-09" in said.out
    assert "volatility points a year" in said.out
    assert "reconstructed" in said.out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["SPY", "--max-age", "0"], "above 0 seconds"),
        (["SPY", "--max-age", "inf"], "above 0 seconds"),
        (["SPY", "--max-age", "0.001"], "no quote of an option"),
        ([*AT, "--scenario", "--expiry", "2018-02-08"], "no expiry with a smile"),
    ],
)
def test_a_wrong_call_says_what_to_do(capsys, arguments, part):
    code, said = run(capsys, *arguments)
    assert code == 2
    assert part in said.err
    assert "fix:" in said.err or "nearest:" in said.err or "value:" in said.err


def test_smiles_are_drawn(capsys, tmp_path):
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    file = tmp_path / "smiles.svg"
    code, _ = run(capsys, *AT, "--plot", str(file))
    assert code == 0
    assert file.read_text(encoding="utf-8").count("<svg") == 1
