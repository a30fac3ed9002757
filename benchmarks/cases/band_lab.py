"""The band lab's loop beside QuantLib's Greeks on the same loop."""

import json
import math
from functools import partial
from typing import Any

import numpy as np
from measuring import BenchmarkError, Context, Result, against, alone

QUANTLIB = "QuantLib, objects reused"
TITLE = "Band lab: a hedged straddle, 390 looks a day"
SUBJECT = ("src/scalpdesk/hedging", "src/scalpdesk/research/band_lab.py")

ABOUT = """\
A day is a path of 390 one-minute steps (geometric Brownian motion, 16 % a year, spot 400), a straddle of 30
days held along it and hedged in whole shares to zero beyond a fixed band of 5 to 40 shares, a cent of spread
paid. A combination is a day with one of 32 such bands, as many as `scalpdesk bands` compares; one thread,
processor time.

**Ours**: `greeks` computes delta and gamma at every look of every combination, as the peer does; `shared`
makes them once a path and walks all bands over them, as the lab does. Both include the logarithms and
roots of their columns. **QuantLib** through its Python wheel, two options with one process made once: a look
sets three quotes and asks both options for delta and gamma; the band's loop around it is Python.

**Right answer**: hedges must be equal band by band, P&L to 1e-6 of a dollar a day.
"""
WIDTHS = tuple(float(width) for width in np.geomspace(5.0, 40.0, 32).round(2))
LOOKS = 390
TARGET_A_SECOND = 60_000.0


def _paths(days: int) -> dict[str, Any]:
    step, vol, spot = 1.0 / 252.0 / LOOKS, 0.16, 400.0
    moves = np.random.default_rng(7).normal(-0.5 * vol**2 * step, vol * math.sqrt(step), (days, LOOKS))
    paths = spot * np.exp(np.concatenate((np.zeros((days, 1)), np.cumsum(moves, axis=1)), axis=1))
    years = 30.0 / 365.0 - np.arange(LOOKS) * step
    return {
        "spot": paths.tolist(),
        "strike": spot,
        "years": years.tolist(),
        "vol": vol,
        "rate": 0.03,
        "units": 100.0,
        "half_spread": 0.005,
        "widths": WIDTHS,
    }


def _a_second(runs: list[dict[str, Any]]) -> list[float]:
    return [run["combinations"] / run["seconds"] for run in runs]


def _check(ours: dict[str, Any], theirs: dict[str, Any], days: int) -> None:
    worst = max(abs(a - b) for a, b in zip(ours["pnl"], theirs["pnl"], strict=True))
    if ours["hedges"] != theirs["hedges"] or worst > 1e-6 * days:
        raise BenchmarkError(f"other hedges or P&L on the same paths: {worst:.3g} USD off")


def measure(context: Context) -> list[Result]:
    """Both ways of ours against each other, then QuantLib on some of the same paths."""
    many, few = (64, 2) if context.smoke else (1_000, 4)
    files = {}
    for days in (many, few):
        files[days] = context.scratch / f"paths-{days}.json"
        files[days].write_text(json.dumps(_paths(days)), encoding="utf-8")
    repeats = 2 if context.smoke else 7
    ours = {
        f"scalpdesk, {work}": partial(context.run_ours, "band_lab.py", files[many], work, repeats)
        for work in ("greeks", "shared")
    }
    peers = {QUANTLIB: partial(context.run_peer, "quantlib_band_lab.py", files[few], 1)}
    runs = context.interleave(ours if context.smoke else ours | peers)
    for apart, together in zip(runs["scalpdesk, greeks"], runs["scalpdesk, shared"], strict=True):
        _check(apart, together, many)
    greeks, shared = (_a_second(runs[f"scalpdesk, {work}"]) for work in ("greeks", "shared"))
    if context.smoke:
        return [alone("band_lab_greeks_each_look", "us_a_day", [1e6 / each for each in greeks], target=1e4)]
    same = context.run_ours("band_lab.py", files[few], "greeks", 1)
    _check(same, runs[QUANTLIB][0], few)
    theirs = _a_second(runs[QUANTLIB])
    floor = [TARGET_A_SECOND] * len(greeks)
    up = {"lower_is_better": False}
    return [
        against("band_lab_greeks_each_look", "days_per_s", greeks, QUANTLIB, theirs, **up, target=200.0),
        against(
            "band_lab_greeks_each_look", "days_per_s", greeks, "60,000 a second", floor, **up, target=1.0
        ),
        against("band_lab_shared_greeks", "days_per_s", shared, QUANTLIB, theirs, **up, target=4_000.0),
        against("band_lab_shared_greeks", "days_per_s", shared, "60,000 a second", floor, **up, target=20.0),
    ]
