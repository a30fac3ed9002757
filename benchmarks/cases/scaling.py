"""Cost of a quote with many subscribed contracts, and the memory of a long replay."""

from functools import partial
from typing import Any

import work
from measuring import ENGINE, SMOKE_EVENTS, BenchmarkError, Context, Result, against, alone, us_each

FEW, MANY = 2, 200
EVENTS = 500_000
WIDE_BAND_SHARES = 185.25
TITLE = "Scaling: subscribed contracts, hours of market"
SUBJECT = ENGINE

ABOUT = f"""\
**Contracts.** {EVENTS:,} quotes spread over {FEW} or {MANY} option contracts (one quote in 101 is the
underlying's); the strategy's trigger looks at the underlying and stays quiet. The cost per event should not
depend on how many contracts there are; `ratio` is {FEW} contracts over {MANY}, 1 is flat.

**Memory.** A million quotes over two sessions, 13 hours of market, with a band of ±{WIDE_BAND_SHARES} shares
(some hundred orders, still more than a gamma scalper sends). `end_over_early` is the resident memory at the
end over that after the first half hour. The books keep every order for the whole run; `kb_per_order` says
what one costs, from the same market with the narrow band (about 8,900 orders).
"""


def measure(context: Context) -> list[Result]:
    """Few and many contracts in turn; then the replay with few and with many orders."""
    events = SMOKE_EVENTS if context.smoke else EVENTS

    def idle(contracts: int) -> dict[str, Any]:
        run = context.run_ours("idle_contracts.py", contracts, events)
        if run["applied"] != contracts + 1 or run["evaluations"] > 3:
            raise BenchmarkError(f"{contracts} contracts: did other work: {run}")
        return run

    quotes = work.make_quotes(SMOKE_EVENTS if context.smoke else work.QUOTES)
    narrow, wide = context.scratch / "narrow.npz", context.scratch / "wide.npz"
    quotes.save(narrow)
    quotes.save(wide, band_shares=WIDE_BAND_SHARES)

    runs = context.interleave(
        {
            "few": partial(idle, FEW),
            "many": partial(idle, MANY),
            "long replay": partial(context.run_ours, "long_replay.py", wide),
            "long replay, many orders": partial(context.run_ours, "long_replay.py", narrow),
        }
    )

    growth = [run["end_mb"] / run["early_mb"] for run in runs["long replay"]]
    kb_per_order = [
        1024 * (run["end_mb"] - run["early_mb"]) / max(run["orders"] - run["early_orders"], 1)
        for run in runs["long replay, many orders"]
    ]
    few, many = f"{FEW} contracts", f"{MANY}_contracts"
    return [
        against(f"idle_{many}", "us_per_event", us_each(runs["many"]), few, us_each(runs["few"]), target=0.9),
        alone("long_replay", "end_over_early", growth, target=1.05),
        alone("long_replay", "kb_per_order", kb_per_order),
    ]
