"""Answer time of a live desk on loopback, and the disk's share of it."""

from functools import partial
from typing import Any

from measuring import BenchmarkError, Context, Result, alone

TITLE = "Live on loopback: quote in, order out"
SUBJECT = tuple(
    f"src/scalpdesk/{part}" for part in ("live", "engine", "core", "journal", "orders", "risk", "venues")
)
NEEDS = ("aiohttp",)
MINUTES, SMOKE_MINUTES = 60.0, 5.0
COIN_MINUTES_EACH = 10
"""Minutes of the coin market per minute of the shares': its perpetual is quoted every half minute."""
QUIET_MS = 3
WATCHED = ("--clients", 100, "--silent", 20)

ABOUT = """\
A desk as `scalpdesk run` makes it trades the embedded market at `scalpdesk exchange`, another process of the
same machine, over real sockets. Settings make it hedge at nearly every move. The exchange sends a quote when
the one before has been read: at once (`busy`), or three milliseconds later (`quiet`), when the processor has
gone to sleep and its caches have gone cold. `watched` is `busy` with the dashboard beside it and 100 open
streams of it, 20 of which read nothing. `deribit` is `busy` on the coin market over Deribit's protocol, where
the options are quoted together each minute and a quote waits for those that came in the same bytes.

`answer` runs from the arrival of the bytes of a quote in the process to the return of the write of the order
it caused: websocket, decoding, queue, journal, Greeks of the two legs, decision, risk gate, order, request.
The time in which the disk made the intent durable is taken out and stands apart as `sync`. The desk
has a core and the exchange has the others, where there is more than one. What
the first order meets (code not yet run, connections) is left out.

`stall` is how long one turn of the event loop keeps all else waiting, over all turns; `beyond_sync_p99_us` is
the same less the disk's time. `intent_over_bare_sync` puts the run's own intents on disk once more, each in
turn with a bare append of as many bytes to a preallocated file and its `fdatasync`. `machine_noise` is what
fixed work of some 100 µs takes on this machine beyond its quickest: nothing above can be steadier than that.
"""


def measure(context: Context) -> list[Result]:
    """Trade once a round."""
    minutes = SMOKE_MINUTES if context.smoke else MINUTES
    folder = context.scratch / "live"
    folder.mkdir(exist_ok=True)

    def live(lockstep_ms: float, *more: object, each: int = 1) -> dict[str, Any]:
        run = context.run_ours("live_latency.py", folder, each * minutes, lockstep_ms, *more)
        if run["measured"] < minutes / 2 or run["orders"] != run["fills"]:
            raise BenchmarkError(f"the desk did not trade as it should: {run}")
        return run

    runs = context.interleave(
        {
            "busy": partial(live, 0),
            "quiet": partial(live, QUIET_MS),
            "watched": partial(live, 0, *WATCHED),
            "deribit": partial(live, 0, "--venue", "deribit", each=COIN_MINUTES_EACH),
        }
    )

    def each(market: str, name: str, which: str) -> list[float]:
        return [run[f"{name}_us"][which] for run in runs[market]]

    def over_bare(which: str) -> list[float]:
        pairs = zip(each("busy", "intent", which), each("busy", "bare_sync", which), strict=True)
        return [ours / bare for ours, bare in pairs]

    results = []
    for market in runs:
        wanted = market in ("busy", "watched")
        results += [
            alone(
                f"live_answer_{market}",
                "p50_us",
                each(market, "answer", "p50"),
                target=1e3 if wanted else None,
            ),
            alone(
                f"live_answer_{market}",
                "p99_us",
                each(market, "answer", "p99"),
                target=3e3 if wanted else None,
            ),
            alone(f"live_sync_{market}", "p50_us", each(market, "sync", "p50")),
            alone(f"live_sync_{market}", "p99_us", each(market, "sync", "p99")),
            alone(
                f"live_stall_{market}",
                "p99_us",
                each(market, "stall", "p99"),
                target=1.5e3 if wanted else None,
            ),
            alone(f"live_stall_{market}", "beyond_sync_p99_us", each(market, "stall_beyond_sync", "p99")),
            alone(f"machine_noise_{market}", "p99_us", each(market, "noise", "p99")),
        ]
    return [
        *results,
        alone("intent_over_bare_sync", "p50_ratio", over_bare("p50"), target=1.3),
        alone("intent_over_bare_sync", "p99_ratio", over_bare("p99"), target=1.3),
    ]
