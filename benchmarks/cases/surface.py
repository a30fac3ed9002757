"""Time to build a surface: forwards and implied volatilities, a cold fit, a refit from the minute before."""

import gc
import time
from datetime import date
from datetime import time as clock_time
from pathlib import Path

from measuring import ROOT, BenchmarkError, Context, Result, alone

from scalpdesk.datasets.catalog import load_tape
from scalpdesk.datasets.embedded.market import reconstruct
from scalpdesk.datasets.importers.lean import import_lean
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk.marketdata.chain_surface import ChainSurface, chain_quotes_at, fit_chain
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.pricing.surface import fit_surface

RECORDED = ROOT.parent / "shared" / "data" / "raw_lean" / "Data"
MS_PER_EXPIRY = 10.0

TITLE = "Volatility surface: fit and refit of a whole chain"
SUBJECT = ("src/scalpdesk/pricing", "src/scalpdesk/marketdata/chain_surface.py")

ABOUT = """\
Every expiry of a chain is fitted: at 11:01 on the recorded GOOG half day of 2015-12-24 (12 expiries, some 700
quotes used of 1,600; only where the recorded data is beside the project) and at 14:01 on the embedded SPY of
2018-02-05 (5 expiries). One thread.

* `surface_refit`: smiles of 11:01 from those of 11:00, arbitrage checks and repairs included, per expiry.
* `surface_cold`: the same without a fit before, per expiry.
* `surface_forwards_and_vols`: the whole way from quotes, with the forwards by put-call parity of American
  options and the implied volatility of every bid and ask, per expiry.

**Same work, shown.** A refit must leave no arbitrage and keep as large a share of the quotes inside bid and
ask as the cold fit, within two points; otherwise the run stops. No peer line: no package that installs beside
ours fits a chain of American options.
"""


def _pair(
    tape: MarketTape, day: date, hour: int, max_age_seconds: float
) -> tuple[ChainSurface, ChainSurface]:
    chains = [
        chain_quotes_at(tape, new_york_ns(day, clock_time(hour, minute)), max_age_seconds=max_age_seconds)
        for minute in (0, 1)
    ]
    first = fit_chain(chains[0])
    return first, fit_chain(chains[1], previous=first)


def _milliseconds(work: object, repeats: int) -> float:
    """Median of a few runs with the garbage collector out of the way."""
    assert callable(work)
    seen = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(repeats):
            start = time.perf_counter()
            work()
            seen.append(1e3 * (time.perf_counter() - start))
    finally:
        gc.enable()
    return sorted(seen)[len(seen) // 2]


def _tapes(context: Context) -> list[tuple[str, MarketTape, date, int, float]]:
    embedded = date(2018, 2, 5)
    found = [("embedded", reconstruct(embedded, seed=1, underlying="SPY"), embedded, 14, 30.0)]
    if RECORDED.is_dir() and not context.smoke:
        catalog = Path(context.scratch) / "surface-catalog"
        import_lean(catalog, RECORDED, name="lean")
        day = date(2015, 12, 24)
        tape = load_tape(catalog, "lean", underlying="GOOG", start=day, end=day)
        found.append(("goog", tape, day, 11, 150.0))
    return found


def measure(context: Context) -> list[Result]:
    """Time the three ways on each chain."""
    results = []
    for name, tape, day, hour, age in _tapes(context):
        first, second = _pair(tape, day, hour, age)
        quotes, spot, count = second.smile_quotes, second.surface.spot, len(second.surface.fitted)
        cold = fit_surface(quotes, spot)
        for surface in (second.surface, cold):
            if any(not expiry.left.is_free for expiry in surface.expiries):
                raise BenchmarkError(f"{name}: arbitrage was left in the surface")
        if second.surface.share_inside < cold.share_inside - 0.02:
            raise BenchmarkError(
                f"{name}: the refit has {second.surface.share_inside:.3f} of the quotes inside, "
                f"the cold fit {cold.share_inside:.3f}"
            )
        print(
            f"  {name}: {count} expiries, {sum(e.quotes_used for e in second.surface.expiries)} quotes, "
            f"inside {second.surface.share_inside:.3f} (cold {cold.share_inside:.3f})"
        )
        ways = {
            "surface_refit": lambda q=quotes, s=spot, f=first: fit_surface(q, s, previous=f.surface),
            "surface_cold": lambda q=quotes, s=spot: fit_surface(q, s),
            "surface_forwards_and_vols": lambda c=second.chain, f=first: fit_chain(c, previous=f),
        }
        for way, work in ways.items():
            values = [_milliseconds(work, 3 if context.smoke else 7) / count for _ in range(context.rounds)]
            target = MS_PER_EXPIRY if way == "surface_refit" else None
            results.append(alone(f"{way}_{name}", "ms_per_expiry", values, target=target))
    return results
