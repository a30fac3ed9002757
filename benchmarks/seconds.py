"""Hold processor seconds of compiled runs against an older commit: ``seconds.py [BASE [CASE ...]]``.

BASE, by default the last commit of the record, is checked out into a temporary worktree and compiled there.
Both run in turns, each run in a process of its own. What takes 1.1 times the seconds or the memory is named,
and the exit code is 1. Each commit measured has its row in ``seconds.json``, which the page of the benchmarks
shows. Seconds are of the processor, of a run after another one; a slow machine slows both sides, so a ratio
is told and no bound in seconds.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RECORD = HERE / "seconds.json"
ROUNDS = 3
DEARER = 1.1
OPEN = {"entry.gate": "off"}
HELD = OPEN | {"exits.close_at": None, "exits.edge_gone": False}


def day(first, last, settings):
    """Return a run over sessions of the embedded market, after another one."""
    import scalpdesk

    tape = scalpdesk.load_data(start=first, end=last)

    def run():
        scalpdesk.backtest("gamma-scalper", tape, settings=settings)

    run()
    return run


def sweep():
    """Return a sweep of eight configurations over two sessions."""
    import scalpdesk

    market = scalpdesk.PreparedMarket(scalpdesk.load_data(start="2018-02-05", end="2018-02-06"))
    grid = {"straddles": ["1", "2", "3", "4"], "exits.stop_fraction": ["0.25", "0.5"]}

    def run():
        with tempfile.TemporaryDirectory() as out:
            scalpdesk.sweep("gamma-scalper", market, grid, settings=OPEN, engine="local", workers=1, out=out)

    run()
    return run


def chain():
    """Return a thousand times American prices and Greeks of 400 contracts."""
    import numpy as np

    from scalpdesk.pricing import greeks

    years, strikes = (
        axis.ravel() for axis in np.meshgrid(np.geomspace(1, 1440, 8) / 8760, np.linspace(80, 120, 50))
    )
    vols, are_calls = np.linspace(0.12, 0.8, len(years)), np.arange(len(years)) % 2 == 0

    def run():
        for _ in range(1000):
            greeks(100.0, strikes, years, vols, are_calls, rate=0.04, dividend_yield=0.013, style="american")

    run()
    return run


CASES = {
    "traded day": lambda: day("2018-02-05", "2018-02-05", OPEN),
    "ten gate days": lambda: day("2014-01-03", "2014-01-16", {}),
    "twelve held days": lambda: day("2018-02-01", "2018-02-16", HELD),
    "sweep of 8": sweep,
    "American chain": chain,
}


def measured(case):
    """Return processor seconds and peak memory in MB of one run in this process."""
    run = CASES[case]()
    began = time.process_time()
    run()
    used = time.process_time() - began
    return {"seconds": round(used, 4), "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def asked(tree, case):
    """Measure a case with the compiled product of a tree."""
    environment = {**os.environ, "PYTHONPATH": str(tree / ".venv" / "compiled"), "PYTHONHASHSEED": "0"}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [str(tree / ".venv" / "bin" / "python"), __file__, "--one", case]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tree)
    if done.returncode:
        raise SystemExit(f"{case} in {tree}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def in_turns(old, new, case):
    """Return the medians of both sides, and that of the ratios of the rounds."""
    rows = {old: [], new: []}
    for number in range(ROUNDS):
        for tree in (old, new) if number % 2 == 0 else (new, old):
            rows[tree].append(asked(tree, case))
    before, after = ([row["seconds"] for row in rows[tree]] for tree in (old, new))
    return {
        "old": statistics.median(before),
        "new": statistics.median(after),
        "ratio": round(statistics.median(b / a for a, b in zip(before, after, strict=True)), 3),
        "mb": max(row["mb"] for row in rows[new]),
        "old_mb": max(row["mb"] for row in rows[old]),
    }


def said(*command, cwd=ROOT):
    return subprocess.check_output(command, text=True, cwd=cwd).strip()


def processor():
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def last_measured():
    """Return the last commit of the record without changes of its own; that before this one without any."""
    rows = json.loads(RECORD.read_text("utf-8"))
    return next((row["commit"] for row in reversed(rows) if not row["commit"].endswith("+")), "HEAD~1")


def keep(row):
    """Put a commit's row in the record."""
    rows = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else []
    others = [each for each in rows if (each["commit"], each["base"]) != (row["commit"], row["base"])]
    RECORD.write_text("[\n" + ",\n".join(json.dumps(each) for each in [*others, row]) + "\n]\n", "utf-8")


def main():
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measured(sys.argv[2])))
        return 0
    base, *cases = sys.argv[1:] or [last_measured()]
    commit, base = (said("git", "rev-parse", "--short=8", each) for each in ("HEAD", base))
    commit += "+" * bool(said("git", "status", "--porcelain", "--", "src"))
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / "old"
        said("git", "worktree", "add", "--detach", str(old), base)
        try:
            said("make", "compiled", cwd=old)
            found = {}
            for case in cases or CASES:
                found[case] = in_turns(old, ROOT, case)
                print(case, json.dumps(found[case]), flush=True)
        finally:
            said("git", "worktree", "remove", "--force", str(old))
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    keep({"commit": commit, "base": base, "date": today, "processor": processor(), "cases": found})
    ratios = {case: {"": row["ratio"], " memory": row["mb"] / row["old_mb"]} for case, row in found.items()}
    dearer = [
        f"{case}{what} {ratio:.2f}"
        for case, kinds in ratios.items()
        for what, ratio in kinds.items()
        if ratio > DEARER
    ]
    print(f"dearer than {DEARER} times {base}: {', '.join(dearer) or 'none'}")
    return 1 if dearer else 0


if __name__ == "__main__":
    raise SystemExit(main())
