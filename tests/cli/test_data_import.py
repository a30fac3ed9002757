"""The sample file of ``data example``: imported and traded by the commands that it prints."""

import shlex

from scalpdesk.cli.main import main


def test_the_printed_commands_import_the_sample_and_trade_it(tmp_path, monkeypatch, document_of):
    monkeypatch.chdir(tmp_path)
    sample = document_of("data", "example", "quotes.csv")
    steps = [shlex.split(line)[1:] for line in sample["next"]]
    (imported,) = document_of(*steps[0])["data_sets"]
    assert sum(imported["rows"].values()) == sample["rows"]
    summary = document_of(*steps[1])
    assert summary["fills"] > 2
    assert summary["data"]["session"] == "2018-02-05"
    assert summary["data"]["underlying"] == "SPY"


def test_a_backtest_takes_symbol_and_sessions_from_the_data_set_unless_they_are_given(
    tmp_path, monkeypatch, document_of
):
    monkeypatch.chdir(tmp_path)
    header = "ts,symbol,bid,ask,bid_size,ask_size\n"
    days = ("2015-12-22", "2015-12-23")
    rows = [f"{day}T{hour}:31:00Z,XYZ,100.0,100.2,300,200\n" for day in days for hour in (15, 16)]
    (tmp_path / "q.csv").write_text(header + "".join(rows))
    document_of("data", "import", "csv", "q.csv", "--name", "mine", "--underlying", "XYZ")
    words = ("backtest", "gamma-scalper", "--data", "mine")
    whole = document_of(*words)["data"]
    assert (whole["session"], whole["underlying"]) == ("2015-12-22..2015-12-23", "XYZ")
    assert document_of(*words, "--start", "2015-12-23")["data"]["session"] == "2015-12-23"
    assert main([*words, "--set", "underlying=SPY", "--json"]) == 2
