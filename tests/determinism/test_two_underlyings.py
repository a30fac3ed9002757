"""The gamma scalper on SPY and QQQ, one embedded day: backtest and simulated desk decide the same."""

import json

import pytest

from scalpdesk.backtesting.runs import replay
from scalpdesk.cli.main import main
from scalpdesk.core.intents import Decision
from scalpdesk.journal.reader import JournalReader

OPTIONS = (
    *("--symbols", "SPY,QQQ", "--json"),
    *("--set", "entry.gate=advise", "--set", "exits.edge_gone=false"),
    *("--set", "exits.flat_minutes_before_close=10"),
)


def decided(run_dir):
    """Return every decision but for the ids of its orders."""
    steps = JournalReader(run_dir).steps()
    found = [each for _, outputs in steps for each in outputs if isinstance(each, Decision)]
    return [(each.ts_ns, each.kind, each.taken, each.reasons, each.facts) for each in found]


@pytest.mark.slow
def test_a_backtest_and_a_simulated_desk_decide_the_same_of_both(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    for command in (["backtest", "gamma-scalper"], ["run", "gamma-scalper", "--speed", "max"]):
        runs = tmp_path / command[0]
        assert main([*command, *OPTIONS, "--set", f"desk.runs_dir={runs}"]) == 0
        summary = json.loads(capsys.readouterr().out)
        parts = [
            {name: row["pnl"] for name, row in summary[key].items()} for key in ("strategies", "underlyings")
        ]
        found.append((decided(runs / summary["run_id"]), summary["pnl"], parts, summary["exposure"]))
        assert replay(runs / summary["run_id"]).identical
    backtest, simulated = found
    assert len(backtest[0]) > 20
    assert simulated == backtest
