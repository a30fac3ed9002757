"""The demo that is given neither day nor settings: its gate decides, and gamma wins."""

import json
import shlex
from decimal import Decimal

import pytest

from scalpdesk.cli.main import main
from scalpdesk.journal.reader import JournalReader, peek_header
from scalpdesk.research.reruns import command_again
from scalpdesk.research.stored_run import read_stored
from scalpdesk.strategies.registry import find_strategy

WORDS = ("--speed", "max", "--no-dashboard", "--json")


def demo(folder, capsys, monkeypatch, *words):
    """Return the summary of a demo, and the folder of its run."""
    monkeypatch.chdir(folder)
    assert main(["demo", *WORDS, *words]) == 0
    summary = json.loads(capsys.readouterr().out)
    return summary, folder / "runs" / summary["run_id"]


@pytest.mark.parametrize("seed", ["1", "3"])
@pytest.mark.second
def test_the_gate_approves_the_showcase_by_what_it_knows_and_gamma_wins(seed, tmp_path, capsys, monkeypatch):
    summary, run_dir = demo(tmp_path, capsys, monkeypatch, "--seed", seed)
    showcase = find_strategy("gamma-scalper").showcase
    assert summary["data"]["session"] == showcase.day.isoformat()
    assert summary["data"]["kind"] == "reconstructed"
    assert peek_header(run_dir).config["strategies"]["gamma-scalper"]["entry"]["gate"] == "enforce"
    looks = [each for each in read_stored(run_dir).report.decisions if each.kind == "entry"]
    assert [each.taken for each in looks] == [False] * (len(looks) - 1) + [True]
    assert len(looks) > 3  # it refused first
    entry = looks[-1].facts
    assert entry["edge_usd"] > 5.0
    assert entry["forecast_vol"] > 0.0
    pnl = {name: Decimal(amount) for name, amount in summary["pnl"].items()}
    assert pnl["gamma"] > abs(pnl["vega"]) > 0
    assert pnl["gamma"] + pnl["theta"] + pnl["spread"] + pnl["fees"] > 50
    assert pnl["total"] > 50
    met = summary["gamma_paying"]
    assert met["realised_vol"] > 1.2 * met["implied_vol"]
    assert JournalReader(run_dir).header.seed == int(seed)


def test_a_day_of_ones_own_is_entered_whatever_the_gate_says(tmp_path, capsys, document_of, monkeypatch):
    summary, run_dir = demo(tmp_path, capsys, monkeypatch, "--start", "2018-02-05", "--seed", "1")
    assert summary["data"]["session"] == "2018-02-05"
    assert summary["hedges"] == 51
    command = shlex.split(command_again(peek_header(run_dir)))
    again = document_of(*command[1:])
    assert again["decision_hash"] == summary["decision_hash"]
    assert again["pnl"] == summary["pnl"]
