"""A sweep beside one backtest alone: sessions a second, two workers beside one, memory, and Ray."""

import importlib.util
import os
import subprocess
import sys
import time
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

from measuring import ENGINE, BenchmarkError, Context, Result, alone, own_path

CONFIGURATIONS, LAST_DAY = 200, "2018-03-01"
FEW_CONFIGURATIONS = 40
SMALL = 4, "2018-02-02"
TITLE = "Sweep: many configurations over one market"
SUBJECT = (
    *ENGINE,
    "src/scalpdesk/research/sweep.py",
    "src/scalpdesk/research/sweep_engines.py",
    "src/scalpdesk/strategies/gamma_scalper",
)

ABOUT = f"""\
{CONFIGURATIONS} configurations of the gamma scalper (ten numbers of straddles, twenty hedge thresholds, gate
``advise``) over the twenty sessions of the embedded market from 2018-02-01 to {LAST_DAY}.

Two workers run all of them. One worker, two, and Ray with one and two run {FEW_CONFIGURATIONS} of them,
which takes minutes where all would take hours.

`sessions_per_cpu_second` counts user and system time of all processes, with loading, sharing and starting
workers. `times_alone` is that over the same of ``scalpdesk backtest`` with one of the configurations over
the same sessions: a process of its own, with journal and summary. `efficiency_2_workers` is the sessions a
second of two workers over twice those of one; it needs a machine with two free cores.
`cpu_efficiency_2_workers` compares processor time, which other work on the machine disturbs less. `own_mb`
is private memory of the largest process; `own_mb_growth` is that with {CONFIGURATIONS} configurations over
that with {FEW_CONFIGURATIONS}. All tables are equal, row by row, or the case fails. Ray's figures are there
where it is installed: `ray_overhead_seconds` is time beside the local engine with as many workers.
"""


def measure(context: Context) -> list[Result]:
    """Run the backtest alone and the sweep with each engine."""
    number, last_day = SMALL if context.smoke else (CONFIGURATIONS, LAST_DAY)
    few = SMALL[0] if context.smoke else FEW_CONFIGURATIONS
    backtest = _backtest(context, last_day)

    def run(configurations: int, workers: int, engine: str = "local") -> dict[str, Any]:
        found = context.run_ours("sweep.py", configurations, last_day, workers, engine)
        if found["problems"] or found["configurations"] != configurations or not found["fills"]:
            raise BenchmarkError(f"{engine}, {workers}: did other work: {found}")
        print(f"  {engine}, {workers} workers, {configurations} configurations: {found['seconds']:.1f} s")
        return found

    whole, single, pair = run(number, 2), run(few, 1), run(few, 2)
    if single["table"] != pair["table"]:
        raise BenchmarkError("one and two workers gave different tables")
    a_second = [
        each["configurations"] * each["sessions"] / each["cpu_seconds"] for each in (whole, single, pair)
    ]
    by_itself = single["sessions"] / backtest["cpu_seconds"]
    results = [
        alone("sweep", "sessions_per_cpu_second", a_second),
        alone("sweep", "times_alone", [each / by_itself for each in a_second]),
        alone("sweep", "efficiency_2_workers", [single["seconds"] / (2.0 * pair["seconds"])]),
        alone("sweep", "cpu_efficiency_2_workers", [single["cpu_seconds"] / pair["cpu_seconds"]]),
        alone("sweep", "own_mb", [whole["own_mb_of_one"]]),
        alone("sweep", "own_mb_growth", [whole["own_mb_of_one"] / pair["own_mb_of_one"]]),
    ]
    if importlib.util.find_spec("ray") is not None and not context.smoke:
        for workers, local in ((1, single), (2, pair)):
            there = run(few, workers, "ray")
            if there["table"] != single["table"]:
                raise BenchmarkError("Ray gave another table")
            overhead = there["seconds"] - local["seconds"]
            results.append(alone(f"sweep_ray_{workers}", "ray_overhead_seconds", [overhead]))
    return results


def _backtest(context: Context, last_day: str) -> dict[str, float]:
    """Processor time and time of one backtest as a command of its own."""
    settings = ["--set", "entry.gate=advise", "--set", "hedge.threshold_shares=5"]
    span = ["--start", "2018-02-01", "--end", last_day]
    command = [sys.executable, "-m", "scalpdesk", "backtest", "gamma-scalper", *span, *settings, "--json"]
    before, began = getrusage(RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": own_path()}
    done = subprocess.run(command, cwd=context.scratch, capture_output=True, check=False, env=environment)
    after = getrusage(RUSAGE_CHILDREN)
    if done.returncode:
        raise BenchmarkError(f"the backtest ended with {done.returncode}")
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_seconds": spent, "seconds": time.perf_counter() - began}
