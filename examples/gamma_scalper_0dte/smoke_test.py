"""Run the sample events through the folder in this process and check what comes out.

python examples/gamma_scalper_0dte/smoke_test.py
"""

import importlib.util
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Return 0 when hedge, exit and the silence after it are as the README says."""
    spec = importlib.util.spec_from_file_location("gamma_scalper_0dte", HERE / "strategy.py")
    assert spec is not None
    assert spec.loader is not None
    strategy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(strategy)
    strategy.reset()
    intents = {}
    for line in (HERE / "events.ndjson").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        intents[event["event_id"]] = strategy.on_market_event(event)
    hedge = intents["evt_12345"][0]
    checks = {
        "net delta of 10 at 0.65 is 6.50": hedge["metadata"]["net_delta_before"] == "6.50",
        "the hedge sells 7 SPY": (hedge["side"], hedge["qty"], hedge["symbol"]) == ("sell", 7.0, "SPY"),
        "at 15:45 ET the options and the hedge are left": [
            (order["side"], order["qty"]) for order in intents["evt_008"]
        ]
        == [("sell", 10.0), ("sell", 5.0), ("buy", 2.0)],
        "after the exit nothing follows": intents["evt_009"] == [],
    }
    for what, holds in checks.items():
        print(f"{'ok    ' if holds else 'FAILED'} {what}")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
