# ruff: noqa: INP001, T201 - a script beside its page, not a package
"""Figures of docs/evidence/structures.md: earnings of structures, bought and sold.

Each trade is opened on one of the sessions of the embedded market, on every so many of them, with fees, with
the entry gate and without: closed within it, or with ``--held`` left to its exits over the next weeks.

    python docs/structure_figures.py [--every 10] [--begin 0] [--held] [--out FILE]
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import scalpdesk
from scalpdesk.datasets.embedded.market import available_sessions

STRUCTURES = (
    ("straddle", "long"),
    ("straddle", "short"),
    ("iron_fly", "short"),
    ("iron_condor", "short"),
    ("calendar", "long"),
)
LONG_HELD = tuple(each for each in STRUCTURES if each[0] != "iron_condor")
GATES = ("off", "enforce")
WITHIN = {"exits.flat_minutes_before_close": 10, "exits.edge_gone": False}
HELD_SESSIONS = 45
"""Sessions until which every structure that is held has reached one of its exits."""
SETTINGS: dict[str, Any] = {
    "selection.max_expiration_days": 60,
    "risk.max_short_contracts": 2,
    "simulation.options_level": 4,
    "simulation.fees": "alpaca",
}
DRAWS = 10_000


def trades(every: int, begin: int = 0, *, is_held: bool) -> Iterator[dict[str, Any]]:
    """Yield the result of each structure, gate and session."""
    days = list(available_sessions())
    for first in range(begin, len(days), every):
        held = days[first : first + HELD_SESSIONS]
        if is_held and len(held) < HELD_SESSIONS:
            return
        tape = scalpdesk.load_data("embedded", start=str(held[0]))
        for shape, side in LONG_HELD if is_held else STRUCTURES:
            for gate in GATES:
                settings = SETTINGS | {
                    "structure.shape": shape,
                    "structure.side": side,
                    "entry.gate": gate,
                }
                settings |= {"exits.edge_gone": gate != "off"} if is_held else WITHIN
                found = scalpdesk.backtest("gamma-scalper", tape, settings=settings).summary
                if is_held and found["orders"]:
                    weeks = scalpdesk.load_data("embedded", start=str(held[0]), end=str(held[-1]))
                    found = scalpdesk.backtest("gamma-scalper", weeks, settings=settings).summary
                yield {
                    "day": str(held[0]),
                    "shape": shape,
                    "side": side,
                    "gate": gate,
                    "orders": found["orders"],
                    "hedges": found["hedges"],
                    **{part: float(amount) for part, amount in found["pnl"].items()},
                }


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return trades, mean, interval of the mean (95 %, bootstrap) and parts by structure and gate, USD."""
    dice, found = np.random.default_rng(1), []
    for shape, side in STRUCTURES:
        for gate in GATES:
            own = [
                row
                for row in rows
                if (row["shape"], row["side"], row["gate"]) == (shape, side, gate) and row["orders"]
            ]
            totals = np.array([row["total"] for row in own])
            line: dict[str, Any] = {"structure": f"{side} {shape}", "gate": gate, "trades": len(own)}
            if len(own) > 1:
                means = dice.choice(totals, (DRAWS, len(totals))).mean(axis=1)
                low, high = np.quantile(means, (0.025, 0.975))
                line |= {
                    "mean": float(totals.mean()),
                    "low": float(low),
                    "high": float(high),
                    "worst": float(totals.min()),
                    "best": float(totals.max()),
                    "hedges": float(np.mean([row["hedges"] for row in own])),
                }
                for part in ("delta", "gamma", "theta", "vega", "higher_order", "spread", "fees"):
                    line[part] = float(np.mean([row[part] for row in own]))
            found.append(line)
    return found


def main() -> None:
    """Trade, and print the table as Markdown."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--every", type=int, default=10, help="trade every so many sessions")
    words.add_argument("--begin", type=int, default=0, help="at this session, counted from 0")
    words.add_argument("--held", action="store_true", help="leave a trade to its exits, over weeks")
    words.add_argument("--out", type=Path, default=None, help="keep each trade, JSON by line")
    given = words.parse_args()
    rows = []
    for row in trades(given.every, given.begin, is_held=given.held):
        rows.append(row)
        if given.out is not None:
            with given.out.open("a", encoding="utf-8") as kept:
                kept.write(json.dumps(row) + "\n")
        if len(rows) % 50 == 0:
            print(f"{len(rows)} trades, {row['day']}", file=sys.stderr)
    for line in table(rows):
        print(json.dumps(line))


if __name__ == "__main__":
    main()
