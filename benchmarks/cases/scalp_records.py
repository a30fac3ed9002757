"""The questions behind the options scalper's tabs, over a table of many scalps."""

from functools import partial
from typing import Any

from measuring import SMOKE_EVENTS, BenchmarkError, Context, Result, alone

SCALPS = 100_000
TARGET_MS = 50.0

TITLE = "Records: the options scalper's tabs"
SUBJECT = ("src/scalpdesk/records",)

ABOUT = f"""\
{SCALPS:,} scalps of two years in a SQLite file, one in two thousand open. Each figure is the slowest
statement of a question, from the statement to its last row, read once before: the scalps that are open; the
last hundred that are over; the performance by ticker, hour, conviction and session with best and worst. The
sums are checked against those of the rows that were written. Timed in processor time: SQLite works in the
process. The target of each statement is {TARGET_MS:.0f} ms.
"""
QUESTIONS = ("open", "history", "performance")


def measure(context: Context) -> list[Result]:
    """Ask each question in every round."""
    count = SMOKE_EVENTS if context.smoke else SCALPS

    def run() -> dict[str, Any]:
        found = context.run_ours("scalp_records.py", count)
        if not found["agrees"]:
            raise BenchmarkError("the performance is not that of the scalps that were written")
        return found

    runs = context.interleave({"sqlite": partial(run)})["sqlite"]
    return [
        alone(f"scalp_records_{name}", "ms", [each["ms"][name] for each in runs], target=TARGET_MS)
        for name in QUESTIONS
    ]
