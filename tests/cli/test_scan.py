import json

import pytest
from click.testing import CliRunner

from scalpdesk.cli.main import main
from scalpdesk.cli.scan import scan

AT = ["SPY", "--start", "2018-02-05", "--time", "11:00", "--set", "entry.forecast_vol=0.3"]


@pytest.fixture(scope="module")
def document():
    done = CliRunner().invoke(scan, [*AT, "--json", "--top", "5"], catch_exceptions=False)
    return json.loads(done.stdout)


def test_the_document_ranks_positions_by_net_edge(document):
    rows, (chain,) = document["positions"], document["chains"]
    assert len(rows) == 5
    assert [row["edge_usd"] for row in rows] == sorted((row["edge_usd"] for row in rows), reverse=True)
    assert chain["straddles"] + chain["strangles"] > 1_000
    assert chain["forecast"]["vol"] == 0.3
    for row in rows:
        net = row["gross_usd"] - row["spread_usd"] - row["hedge_cost_usd"]
        assert row["edge_usd"] == pytest.approx(net)
        assert row["kind"] == ("straddle" if row["call_strike"] == row["put_strike"] else "strangle")


def test_the_table_says_what_passes(document, told_by):
    shown = told_by("scan", *AT, "--top", "5").out
    for row in document["positions"]:
        assert row["expiry"] in shown
        assert f"{row['edge_usd']:.2f}" in shown
    assert f"{document['chains'][0]['passing']} pass" in shown


@pytest.mark.parametrize("refused", [["--width", "0"], ["--top", "-1"], ["--max-age", "0"]])
def test_options_out_of_range_are_refused(refused, told_by):
    assert refused[0] in told_by("scan", *AT, *refused, code=2).err


def test_options_in_coin_are_refused_with_the_way_out(capsys):
    words = "scan BTC-PERPETUAL --data embedded-btc --start 2024-07-01 --set entry.forecast_vol=0.5"
    assert main(words.split()) != 0
    assert "BTC-PERPETUAL" in capsys.readouterr().err
