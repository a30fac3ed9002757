"""One strategy folder, one embedded day: backtest, simulated desk and replays decide the same."""

import json
import shutil

import pytest

from scalpdesk.backtesting.runs import replay
from scalpdesk.cli.main import main
from scalpdesk.core.intents import Decision
from scalpdesk.journal.reader import JournalReader
from scalpdesk_testing.kit.folders import folder

HEDGER = """
    payload = event["payload"]
    def intent(kind, symbol, signed):
        return order_intent(event, kind=kind, strategy="hedger", symbol=symbol, qty=abs(signed),
                            side="buy" if signed > 0 else "sell", client_tag=kind)
    if "delta" in payload:
        deltas[event["symbol"]] = (payload["delta"], payload["quantity"] * payload["multiplier"])
        return None
    pictures.append(1)
    shares = payload["position_shares"] + payload["pending_shares"]
    if event["ts"] >= "2018-02-05T15:00":  # while the call has a bid: `run` leaves what is left by a deadline
        held = [(symbol, -units // 100) for symbol, (_, units) in deltas.items() if units]
        left = held or [(event["symbol"], -shares)] * bool(shares)
        return intent("exit", *left[0]) if left else None
    if not any(units for _, units in deltas.values()):
        if len(pictures) != 3:
            return None
        return intent("entry", min(deltas, key=lambda symbol: abs(abs(deltas[symbol][0]) - 0.5)), 1)
    net = sum(delta * units for delta, units in deltas.values()) + shares
    return intent("hedge", event["symbol"], -round(net)) if abs(net) > 5 else None
"""
BEFORE = "from scalpdesk.protocol import order_intent\ndeltas = {}\npictures = []\n"


def decided(run_dir):
    steps = JournalReader(run_dir).steps()
    return [
        (one.ts_ns, one.kind, one.taken, one.reasons, one.facts)
        for _, outputs in steps
        for one in outputs
        if isinstance(one, Decision)
    ]


@pytest.mark.slow
def test_a_backtest_and_a_simulated_desk_decide_the_same(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = folder(tmp_path, HEDGER, before=BEFORE)
    options = ["--strategy", str(made), "--set", "chain_contracts=4", "--json"]
    found = []
    for command in (["backtest", "external"], ["run", "external", "--speed", "max"]):
        runs = tmp_path / command[0]
        assert main([*command, *options, "--set", f"desk.runs_dir={runs}"]) == 0
        summary = json.loads(capsys.readouterr().out)
        found.append((decided(runs / summary["run_id"]), summary["nav_change"], runs / summary["run_id"]))
    shutil.rmtree(made)
    (backtest, profit, _), (simulated, same_profit, _) = found
    assert len(backtest) > 30
    assert simulated == backtest
    assert same_profit == profit
    for _, _, run_dir in found:
        assert replay(run_dir).identical
