"""Record what four embedded days take in calls and allocations: figures that no other work disturbs.

``calls.py`` runs the days with the product that PYTHONPATH names and puts one line for its commit into
``calls.json``. A record, no gate.

Calls are cProfile's, of Python and of C, in a run after two others, the garbage collector off. Blocks are
what that run leaves allocated (`sys.getallocatedblocks`): orders, marks, decisions. Both repeated
within about 0.1 %, two or three runs of each day. The order path is that of the sources; another
minor version of Python counts otherwise.
"""

import cProfile
import gc
import json
import os
import pstats
import subprocess
import sys
from pathlib import Path

from measuring import HERE

CALLS = HERE / "calls.json"
COIN = {  # of examples/btc-gamma-scalper
    "desk.currency": "BTC", "simulation.starting_cash": 2, "simulation.fees": "deribit",
    "underlying": "BTC-PERPETUAL", "selection.min_expiration_days": 2, "selection.max_expiration_days": 30,
    "entry.gate": "off", "entry.orders": "legs", "entry.not_before": "03:30", "entry.not_after": "23:30",
    "exits.min_dte": None, "exits.minutes_before_expiry": 60.0,
}  # fmt: skip
DAYS = {
    "traded": ("gamma-scalper", "embedded", "SPY", "2018-02-05", {"entry.gate": "off"}),
    "quiet": ("gamma-scalper", "embedded", "SPY", "2014-01-06", {"entry.gate": "off"}),
    "0DTE": ("zero-dte", "embedded", "SPY", "2018-02-05", {"entry.mode": "straddle"}),
    "coin": ("gamma-scalper", "embedded-btc", "BTC-PERPETUAL", "2025-03-05", COIN),
}


def counted(strategy, data, underlying, day, settings):
    """Return calls, blocks, fills and P&L of one day."""
    import scalpdesk

    tape = scalpdesk.load_data(data, start=day, end=day, underlying=underlying)

    def run():
        return scalpdesk.backtest(strategy, tape, settings=settings)

    run()
    run()
    profile = cProfile.Profile()
    gc.collect()
    gc.disable()  # a collection calls its listeners
    before = sys.getallocatedblocks()
    found = profile.runcall(run)
    blocks = sys.getallocatedblocks() - before
    summary = found.summary
    return {
        "calls": pstats.Stats(profile).total_calls,
        "blocks": blocks,
        "fills": summary["fills"],
        "pnl": str(summary["pnl"]["total"]),
    }


def main():
    if len(sys.argv) > 1:  # one day in a process of its own
        print(json.dumps(counted(*DAYS[sys.argv[1]])))
        return
    import scalpdesk

    product = Path(scalpdesk.__file__).parent
    git = ["git", "-C", str(product)]
    commit, date = subprocess.check_output(
        [*git, "log", "-1", "--abbrev=8", "--format=%h %cs"], text=True
    ).split()
    commit += "+" * bool(subprocess.check_output([*git, "status", "--porcelain", "--", "."]))
    row = {"commit": commit, "date": date, "python": "{}.{}".format(*sys.version_info)}
    for name in DAYS:
        environment = {**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, __file__, name], capture_output=True, text=True, check=False, env=environment
        )
        row[name] = json.loads(done.stdout) if done.returncode == 0 else None
        print(commit, name, row[name] or done.stderr[-500:], flush=True)
    kept = (
        [each for each in json.loads(CALLS.read_text("utf-8")) if each["commit"] != commit]
        if CALLS.exists()
        else []
    )
    rows = sorted([*kept, row], key=lambda each: each["date"])
    CALLS.write_text("[\n" + ",\n".join(json.dumps(each) for each in rows) + "\n]\n", "utf-8")


if __name__ == "__main__":
    main()
