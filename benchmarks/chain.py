"""The chain that pricing is measured on, and what has to be right about our answer.

Eight expiries from an hour to sixty days, 25 strikes from 80 to 120 % of the spot, calls and puts: 400
American options at a rate of 4 % and a yield of 1.3 %, each with a volatility of its own between 12 and 80 %.
"""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from measuring import ROOT, BenchmarkError

from scalpdesk.pricing import greeks

SPOT, RATE, YIELD = 100.0, 0.04, 0.013
DAYS = (1 / 24, 4 / 24, 1, 3, 7, 14, 30, 60)
GOLDEN = ROOT / "tests" / "golden" / "pricing" / "american_yield.csv"
SEED = 1
LIMITS = {"price": 1e-5, "delta": 2e-6, "gamma": 1e-3}


def write_chain(path: Path, strikes: int) -> int:
    """Write the chain's contracts as JSON; return how many."""
    rng = np.random.default_rng(SEED)
    rows = [
        (SPOT, float(strike), days / 365.0, float(rng.uniform(0.12, 0.80)), is_call, RATE, YIELD)
        for days in DAYS
        for strike in np.linspace(80.0, 120.0, strikes)
        for is_call in (True, False)
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return len(rows)


def golden_errors() -> dict[str, float]:
    """Our largest errors on the golden rows: price, delta and gamma (relative) of 981 American options.

    Raises
    ------
    BenchmarkError
        When one is beyond its limit; a wrong number has no speed.
    """
    with GOLDEN.open(encoding="utf-8") as handle:
        rows: list[dict[str, Any]] = list(csv.DictReader(line for line in handle if line[0] != "#"))

    def column(name: str) -> Any:
        return np.array([float(row[name] or "nan") for row in rows])

    g = greeks(
        100.0,
        column("strike"),
        column("years"),
        column("vol"),
        column("call") == 1.0,
        rate=column("rate"),
        dividend_yield=column("yield"),
    )
    gamma = column("gamma")
    seen = gamma > 1e-6
    errors = {
        "price": float(np.abs(g.price - column("price")).max()),
        "delta": float(np.abs(g.delta - column("delta"))[column("rate") > 0.0].max()),
        "gamma": float(np.abs(g.gamma[seen] / gamma[seen] - 1.0).max()),
    }
    wrong = {name: error for name, error in errors.items() if not error <= LIMITS[name]}
    if wrong:
        raise BenchmarkError(f"our answer is wrong by {wrong} on the golden rows")
    return errors
