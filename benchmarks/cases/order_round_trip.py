"""Cost of an order inside the engine, from the quote that causes it to the books after its fill."""

from pathlib import Path
from typing import Any

import work
from measuring import ENGINE, SMOKE_EVENTS, BenchmarkError, Context, Result, against, alone

TITLE = "One order round trip"
SUBJECT = ENGINE

ABOUT = """\
The dead-band work twice in turn: as it is, and with a band that is never left. The difference in time over
the number of fills is what one order costs: decision, risk gate, order manager, simulated exchange,
acceptance and fill back, a mark with its explain, ledger, and the strategy woken twice. No journal, no
latency. `order_round_trip_sources` is the same where nothing is compiled. nautilus_trader's figure is taken
in the same way from its own two runs.
"""


def measure(context: Context) -> list[Result]:
    """Take the work with and without trades in turn."""
    quotes = work.make_quotes(SMOKE_EVENTS if context.smoke else work.QUOTES)
    trading, idle = context.scratch / "trading.npz", context.scratch / "idle.npz"
    quotes.save(trading)
    quotes.save(idle, band_shares=1e9)
    expected = work.answer(quotes)

    def ours(columns: Path, *, pure: bool = False) -> dict[str, Any]:
        return context.run_ours("dead_band.py", columns, pure=pure)

    def nautilus(columns: Path) -> dict[str, Any]:
        return context.run_peer("nautilus_dead_band.py", columns)

    contenders = {
        "scalpdesk": lambda: ours(trading),
        "scalpdesk, never trades": lambda: ours(idle),
        "not compiled": lambda: ours(trading, pure=True),
        "not compiled, never trades": lambda: ours(idle, pure=True),
    }
    if not context.smoke:
        contenders |= {
            "nautilus_trader": lambda: nautilus(trading),
            "nautilus_trader, never trades": lambda: nautilus(idle),
        }
    runs = context.interleave(contenders)
    for name, rows in runs.items():
        fills = 0 if name.endswith("never trades") else expected.fills
        if any(run["fills"] != fills for run in rows):
            raise BenchmarkError(f"{name} did other work: {rows[0]['fills']} fills where {fills} is right")

    def per_order(name: str) -> list[float]:
        pairs = zip(runs[name], runs[f"{name}, never trades"], strict=True)
        return [
            1e6 * (with_orders["seconds"] - without["seconds"]) / expected.fills
            for with_orders, without in pairs
        ]

    mine = per_order("scalpdesk")
    results = [
        alone("order_round_trip", "us_per_order", mine, target=20.0),
        alone("order_round_trip_sources", "us_per_order", per_order("not compiled")),
    ]
    if not context.smoke:
        results.append(
            against("order_round_trip", "us_per_order", mine, "nautilus_trader", per_order("nautilus_trader"))
        )
    return results
