"""A sweep as a whole: processor time, time, memory of all its processes, and a digest of its table.

``python benchmarks/ours/sweep.py CONFIGURATIONS LAST_DAY WORKERS ENGINE``
"""

import json
import os
import sys
import threading
import time
from datetime import date
from hashlib import sha256
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from tempfile import TemporaryDirectory

FIRST_DAY = "2018-02-01"
SAMPLE_SECONDS = 0.5
MOST_STRADDLES = 10


def children(pid: int) -> list[int]:
    """All processes below one."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found


def memory_mb(pid: int) -> tuple[float, float]:
    """Memory of a process: its part of what is shared (PSS), and its own (private, not of a file)."""
    figures = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size = line.split(":")
        figures[name] = int(size.split()[0]) / 1024.0
    return figures["Pss"], figures["Anonymous"]


class Memory(threading.Thread):
    """Highest memory of this process and all below it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most_pss = self.most_own = self.most_of_one = 0.0
        self.ends = threading.Event()

    def run(self) -> None:
        while not self.ends.wait(SAMPLE_SECONDS):
            every = []
            for pid in (os.getpid(), *children(os.getpid())):
                try:
                    every.append(memory_mb(pid))
                except (OSError, KeyError, ValueError):  # it has just ended
                    continue
            self.most_pss = max(self.most_pss, sum(pss for pss, _ in every))
            self.most_own = max(self.most_own, sum(own for _, own in every))
            self.most_of_one = max(self.most_of_one, *(own for _, own in every))


def cpu_seconds() -> float:
    """User and system time of this process and of those that have ended below it."""
    both = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
    return sum(each.ru_utime + each.ru_stime for each in both)


def main() -> None:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command does
    from scalpdesk import PreparedMarket, load_data, sweep

    number, last_day, workers, engine = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    straddles = min(MOST_STRADDLES, number)
    thresholds = number // straddles
    params = {
        "straddles": [str(each) for each in range(1, straddles + 1)],
        "hedge.threshold_shares": "5" if thresholds == 1 else f"1:20:log:{thresholds}",
    }
    memory = Memory()
    memory.start()
    began = time.perf_counter()
    tape = load_data(start=FIRST_DAY, end=date.fromisoformat(last_day))
    with TemporaryDirectory() as out:
        found = sweep(
            "gamma-scalper",
            PreparedMarket(tape),
            params,
            settings={"entry.gate": "advise"},
            seed=1,
            engine=engine,
            workers=workers,
            out=out,
        )
    seconds = time.perf_counter() - began
    memory.ends.set()
    memory.join()
    problems = [row.problem for row in found.rows if row.problem]
    table = sorted((row.config_hash, row.decision_hash, row.pnl, row.daily) for row in found.rows)
    print(
        json.dumps(
            {
                "configurations": len(found.rows),
                "sessions": len(tape.sessions),
                "problems": problems,
                "table": sha256(json.dumps(table).encode()).hexdigest(),
                "fills": sum(row.fills for row in found.rows),
                "seconds": seconds,
                "rows_cpu_seconds": sum(row.cpu_seconds for row in found.rows),
                "cpu_seconds": cpu_seconds(),
                "pss_mb": memory.most_pss,
                "own_mb": memory.most_own,
                "own_mb_of_one": memory.most_of_one,
            }
        )
    )


if __name__ == "__main__":
    main()
