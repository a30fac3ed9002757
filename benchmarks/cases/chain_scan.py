"""Straddles and strangles of a chain, selected and ranked, beside optopsy."""

import json
from functools import partial
from typing import Any

import numpy as np
from measuring import BenchmarkError, Context, Result, against, alone

from scalpdesk.pricing import greeks

CHAINS = {"5_expiries": ((2, 4, 11, 39, 74), 41), "15_expiries": (
    (2, 4, 7, 9, 11, 14, 18, 21, 25, 32, 39, 46, 60, 74, 88), 81
)}  # fmt: skip
"""Days to each expiry and strikes of an expiry, by the chain's name."""
SPOT = 500.0
SMOKE_STRIKES = 9
LEAST_RATIO = 12.0

TITLE = "Chain scan: every straddle and strangle, selected and ranked"
SUBJECT = tuple(
    f"src/scalpdesk/{part}" for part in ("research/scan.py", "marketdata/chain_surface.py", "pricing")
)

ABOUT = """\
Chains of a share at 500, all strikes within 10 % of the spot, calls and puts quoted on both sides: 5 expiries
of 41 strikes (410 options, 4,305 pairs) and 15 expiries of 81 strikes (2,430 options, 49,815 pairs).

* `chain_select`: every straddle and every strangle (call above put) with its cost at the mid: the same work
  on both sides.
* `chain_scan`: `rank` of `scalpdesk.research.scan`, which also prices every leg on the market's smile and on
  the smile at the forecast, costs the hedging, applies the entry gate and ranks all pairs by their net edge.
  The peer does none of that: its side is the same as above.
* `chain_scan_fit`: the one fit of the surface, with the forwards and all implied volatilities, before.

**optopsy** 2.2 runs `long_straddles` and `long_strangles` with `raw=True`. Its exit quotes are those of the
entry, on the day of expiry. Its frame is made beforehand, as our columns are.

The target of the ranking is that of the first chain. On the second the pricing of the legs, which the peer
does not do, is a third of our time.

**Same work, shown.** Both must select the same pairs of expiry, put strike and call strike, with the same sum
of costs; otherwise the run stops.
"""


def chain_rows(expiry_days: tuple[int, ...], strikes: int) -> list[tuple[float, float, bool, float, float]]:
    """Days, strike, right, bid and ask of every option, priced at volatilities with a skew."""
    found = []
    for days in expiry_days:
        strike = np.round(np.linspace(0.90 * SPOT, 1.10 * SPOT, strikes), 2)
        moneyness = np.log(strike / SPOT)
        vol = 0.18 - 0.25 * moneyness + 0.4 * moneyness**2
        for is_call in (True, False):
            price = greeks(SPOT, strike, days / 365.0, vol, is_call, rate=0.04).price
            bid = np.maximum(np.floor(100.0 * price) / 100.0, 0.02)
            rows = zip(strike.tolist(), bid.tolist(), (bid + 0.03).tolist(), strict=True)
            found += [(days, at, is_call, low, high) for at, low, high in rows]
    return found


def _check(ours: dict[str, Any], peer: dict[str, Any]) -> None:
    if ours["pairs"] != peer["pairs"] or ours["digest"] != peer["digest"]:
        raise BenchmarkError(f"we select {ours['pairs']} pairs, the peer {peer['pairs']}, or others")
    if abs(ours["cost"] - peer["cost"]) > 1e-6 * peer["cost"]:
        raise BenchmarkError(f"our pairs cost {ours['cost']:.4f} at the mid, the peer's {peer['cost']:.4f}")


def _of_chain(context: Context, name: str, expiry_days: tuple[int, ...], strikes: int) -> list[Result]:
    strikes = SMOKE_STRIKES if context.smoke else strikes
    chain = context.scratch / f"scan_{name}.json"
    chain.write_text(json.dumps(chain_rows(expiry_days, strikes)), encoding="utf-8")
    repeats = 2 if context.smoke else 15
    contenders = {
        f"scalpdesk, {work}": partial(context.run_ours, "chain_scan.py", chain, work, repeats)
        for work in ("select", "scan")
    }
    if not context.smoke:
        contenders["optopsy"] = partial(context.run_peer, "optopsy_chain.py", chain, repeats)
    runs = context.interleave(contenders)
    scans, selects = runs["scalpdesk, scan"], runs["scalpdesk, select"]
    expected = len(expiry_days) * strikes * (strikes + 1) // 2
    if any(run["pairs"] != expected for run in scans + selects):
        raise BenchmarkError(f"there are {expected} pairs, we selected {scans[0]['pairs']}")
    selected, scanned = ([1e3 * run["seconds"] for run in each] for each in (selects, scans))
    fit = alone(f"chain_scan_fit_{name}", "ms", [1e3 * run["fit_seconds"] for run in scans])
    if context.smoke:
        return [
            alone(f"chain_select_{name}", "ms", selected),
            alone(f"chain_scan_{name}", "ms", scanned),
            fit,
        ]
    for select, scan, peer in zip(selects, scans, runs["optopsy"], strict=True):
        _check(select, peer)
        _check(scan, peer)
    theirs = [1e3 * run["seconds"] for run in runs["optopsy"]]
    target = LEAST_RATIO if name == "5_expiries" else None
    return [
        against(f"chain_select_{name}", "ms", selected, "optopsy", theirs, target=LEAST_RATIO),
        against(f"chain_scan_{name}", "ms", scanned, "optopsy", theirs, target=target),
        fit,
    ]


def measure(context: Context) -> list[Result]:
    """Time both on each chain, and hold their selections against each other."""
    return [
        result
        for name, (days, strikes) in CHAINS.items()
        for result in _of_chain(context, name, days, strikes)
    ]
