"""Compare what the backtests of two commits do: ``make compare BASE=COMMIT``.

BASE is checked out into a temporary worktree and runs beside this tree, by the same packages. Each line
says whether decisions, orders, fills, P&L and its parts of a run are equal; a differing hash alone means
that words or ids differ. The exit code is 1 where a run differs. Nothing is kept.
"""

# ruff: noqa: T201 - a script that prints

import json
import os
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OPEN = "--set entry.gate=off --set exits.edge_gone=false"
SHORT = (
    "--set risk.max_short_contracts=10 --set simulation.starting_cash=1000000"
    " --set simulation.options_level=4"
)
COIN = (
    "--set desk.currency=BTC --set simulation.starting_cash=2 --set simulation.fees=deribit"
    " --set underlying=BTC-PERPETUAL --set selection.min_expiration_days=2"
    " --set selection.max_expiration_days=30 --set entry.gate=off --set entry.orders=legs"
    " --set entry.not_before=03:30 --set entry.not_after=23:30 --set exits.min_dte=none"
    " --set exits.minutes_before_expiry=60"
)
RUNS = (
    f"gamma-scalper --start 2018-02-05 {OPEN}",
    "gamma-scalper --start 2018-02-05",
    f"gamma-scalper --start 2018-02-09 {OPEN} --fill-model mid --set simulation.fees=alpaca",
    "gamma-scalper --start 2018-02-09",
    f"gamma-scalper --start 2014-01-06 {OPEN} --set hedge.band=whalley_wilmott",
    "gamma-scalper --start 2014-01-06 --fill-model adverse --seed 3",
    f"gamma-scalper --start 2018-02-08 --end 2018-02-09 {OPEN} --set exits.close_at=null",
    f"gamma-scalper --start 2018-02-09 {OPEN} --structure strangle --side long",
    f"gamma-scalper --start 2018-02-09 {OPEN} --structure strangle --side short {SHORT}",
    f"gamma-scalper --start 2018-02-09 {OPEN} --structure iron_fly --side long",
    f"gamma-scalper --start 2018-02-09 {OPEN} --structure iron_fly --side short {SHORT}",
    f"gamma-scalper --start 2018-02-09 {OPEN} --structure calendar --side long",
    f"gamma-scalper --data embedded-btc --start 2025-03-05 {COIN}",
    "zero-dte --start 2018-02-05 --set entry.mode=straddle",
    f"zero-dte --start 2018-02-05 --set entry.mode=straddle --structure iron_condor --side short {SHORT}",
    "st0cka --start 2018-02-09",
    "st0cka --start 2015-08-24 --fill-model queue --set simulation.latency_ms=100",
    "st0ckg --start 2018-02-09 --set filters.trend_filter=false",
    "hybrid --start 2018-02-05 --set strategies.gamma-scalper.entry.gate=off",
    "ema-scalper --start 2018-02-09",
)
FIGURES = ("decision_hash", "orders", "fills", "nav_change", "pnl", "end_positions", "mode")


def source_path(tree: Path) -> str:
    return os.pathsep.join(str(folder) for folder in (tree / "src", *sorted(tree.glob("parts/*/src"))))


def measure(tree: Path, run: str) -> dict[str, Any]:
    """Return the figures of a run, or why it ended without any."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCALPDESK")}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "scalpdesk.cli.main",
                "backtest",
                *shlex.split(run),
                "--no-journal",
                "--json",
            ],
            cwd=folder,
            env={**kept, "PYTHONPATH": source_path(tree), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        summary = json.loads(done.stdout)
        return {name: summary[name] for name in FIGURES}
    except (ValueError, KeyError):
        return {"refused": (done.stderr or done.stdout).strip()[-300:]}


def differences(before: dict[str, Any], after: dict[str, Any], at: str = "") -> list[str]:
    lines = []
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += differences(old, new, f"{at}{name}.")
        elif old != new:
            lines.append(f"    {at}{name}: {old} -> {new}")
    return lines


def told(found: dict[str, Any]) -> str:
    if "refused" in found:
        return f"NOT RUN: {found['refused']}"
    hashed = found["decision_hash"][:12]
    return f"{hashed} {found['orders']} orders {found['fills']} fills {found['nav_change']}"


def main(base: str) -> int:
    git = ("git", "-C", str(ROOT))
    differing = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "base"
        subprocess.run([*git, "worktree", "add", "--quiet", "--detach", str(tree), base], check=True)
        try:
            with ThreadPoolExecutor(max_workers=2) as pool:
                pairs = [
                    (run, pool.submit(measure, tree, run), pool.submit(measure, ROOT, run)) for run in RUNS
                ]
                for run, before, after in pairs:
                    lines = differences(before.result(), after.result())
                    is_equal = not lines and "refused" not in after.result()  # twice refused says nothing
                    differing += not is_equal
                    print(
                        f"{'equal' if is_equal else 'DIFFERENT':<9} {run}: {told(after.result())}", flush=True
                    )
                    print(*lines, sep="\n", end="\n" if lines else "")
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(tree)], check=True)
    print(f"{len(RUNS) - differing} of {len(RUNS)} runs equal to {base}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
