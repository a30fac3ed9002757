"""How fast a live desk answers on loopback, and what the disk takes of it."""

from pathlib import Path
from typing import Any

from measuring import BenchmarkError, Context, Result, alone

TITLE = "Live on loopback: quote in, order out"
NEEDS = ("aiohttp",)
MINUTES, SMOKE_MINUTES = 90.0, 5.0

ABOUT = """\
A desk as `scalpdesk run` makes it trades the embedded market at `scalpdesk exchange`, another process of the
same machine, over real sockets. Settings make it hedge at nearly every move. The exchange waits until the
desk has read each quote and three milliseconds longer, so quotes do not queue up.

`answer` runs from the arrival of the bytes of a quote in the process to the return of the write of the order
it caused: websocket, decoding, queue, journal, Greeks of the two legs, decision, risk gate, order, request.
The time in which the disk made the intent durable is taken out and stands apart as `sync`. The desk is
mostly idle between quotes, so its caches are cold, as they are in a quiet market.

`stall` is how long one turn of the event loop keeps all else waiting, over all turns; `beyond_sync` is the
same less the disk's time. `intent_over_bare_sync` puts the run's own intents on disk once more, each in turn
with a bare append of as many bytes to a preallocated file and its `fdatasync`. `noise` is what fixed work of
some 100 µs takes on this machine beyond its quickest: nothing above can be steadier than that.
"""


def measure(context: Context) -> list[Result]:
    """Trade once a round."""
    minutes = SMOKE_MINUTES if context.smoke else MINUTES
    folder = context.scratch / "live"
    folder.mkdir(exist_ok=True)

    def live() -> dict[str, Any]:
        run = context.run_ours("live_latency.py", Path(folder), minutes)
        if run["measured"] < minutes / 2 or run["orders"] != run["fills"]:
            raise BenchmarkError(f"the desk did not trade as it should: {run}")
        return run

    runs = context.interleave({"scalpdesk": live})["scalpdesk"]

    def each(name: str, which: str) -> list[float]:
        return [run[f"{name}_us"][which] for run in runs]

    ratios = {
        which: [
            ours / bare for ours, bare in zip(each("intent", which), each("bare_sync", which), strict=True)
        ]
        for which in ("p50", "p99")
    }
    return [
        alone("live_answer", "p50_us", each("answer", "p50"), target=150.0),
        alone("live_answer", "p99_us", each("answer", "p99"), target=1_000.0),
        alone("live_sync", "p50_us", each("sync", "p50")),
        alone("live_sync", "p99_us", each("sync", "p99")),
        alone("live_stall", "p99_us", each("stall", "p99"), target=1_000.0),
        alone("live_stall_beyond_sync", "p99_us", each("stall_beyond_sync", "p99")),
        alone("intent_over_bare_sync", "p50_ratio", ratios["p50"], target=1.3),
        alone("intent_over_bare_sync", "p99_ratio", ratios["p99"], target=1.3),
        alone("machine_noise", "p99_us", each("noise", "p99")),
    ]
