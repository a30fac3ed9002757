"""Protocol v1: events a second through a strategy folder, in process and isolated."""

from functools import partial
from typing import Any

from measuring import SMOKE_EVENTS, BenchmarkError, Context, Result, alone, us_each

EVENTS = 100_000

TITLE = "Strategy folders: protocol v1 through the harness"
SUBJECT = ("src/scalpdesk/protocol", "parts/strategies/src")

ABOUT = f"""\
{EVENTS:,} market events, half of them options with Greeks, each a line of JSON, through a small strategy
folder that keeps a ledger of deltas in `Decimal` and answers every tenth event with an order intent. Timed on
the wall, from the first line to the last judged intent: reading the line strictly (UTF-8, no `NaN`, no name
twice), validating it field by field, the folder, its answer through JSON, validating and sorting the intents.
Not timed: starting Python and the folder.

`in_process` calls the folder; `isolated` runs it in a process of its own with limits of time and memory, up
to 256 events under way; `isolated_one_by_one` asks for the next event only after the reply, as a desk does.
The targets are 20,000, 5,000 and no figure, given as microseconds an event.
"""

WAYS = {
    "in_process": ("here", 50.0),
    "isolated": ("isolated", 200.0),
    "isolated_one_by_one": ("one-by-one", None),
}


def measure(context: Context) -> list[Result]:
    """Run the three ways in turn."""
    count = SMOKE_EVENTS if context.smoke else EVENTS

    def run(how: str) -> dict[str, Any]:
        return context.run_ours("strategy_folder.py", count, how)

    runs = context.interleave({name: partial(run, how) for name, (how, _) in WAYS.items()})
    results = []
    for name, (_, target) in WAYS.items():
        for run in runs[name]:
            if run["intents"] != count // 10:
                raise BenchmarkError(f"{name} gave {run['intents']} intents where {count // 10} are right")
        results.append(alone(f"strategy_folder_{name}", "us_per_event", us_each(runs[name]), target=target))
    return results
