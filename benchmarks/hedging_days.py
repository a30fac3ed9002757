"""How steady the hedge is, and whether the explanation agrees with the market: ``hedging_days.py [DAYS]``.

Lone sessions of the embedded market, evenly over 2014–2018, each held from the open to ten minutes before the
close: one straddle, the same path, hedged in two ways. ``smile``: one volatility a strike and the Whalley–
Wilmott band, the defaults. ``legs``: each leg's own volatility and a fixed band of two shares, the defaults
before. Also counted, with the defaults: on how many days *realised against implied* has the sign of realised
minus implied variance, and what is left unexplained. Prints a table; a day takes about two seconds.
"""

import sys
from collections import defaultdict

import numpy as np

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.datasets.embedded.market import available_sessions

HELD = (
    "entry.gate=off",
    "exits.edge_gone=false",
    "exits.flat_minutes_before_close=10",
    "exits.stop_fraction=null",
    "exits.arm_fraction=null",
)
WAYS = {
    "smile": (),
    "legs": ("hedge.delta_vol=implied", "hedge.band=fixed", "hedge.threshold_shares=2"),
}
MEASURED = 200
"""Days of the comparison; the others of the counts alone."""


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 250
    every = available_sessions()
    days = [every[round(at)] for at in np.linspace(0, len(every) - 1, count)]
    ways = {name: load_settings("gamma-scalper", overrides=(*HELD, *own)) for name, own in WAYS.items()}
    found = {name: defaultdict(list) for name in ways}
    agree, plain, unexplained, close = [], [], [], []
    for number, day in enumerate(days):
        tape = load_market(ways["smile"], "embedded", underlying="SPY", start=day, end=day, seed=1)
        for name, settings in ways.items():
            if name == "legs" and number % 5 == 4 and count > MEASURED:
                continue
            summary = run_backtest(settings, tape, SystemClock(), seed=1).summary
            if not summary["fills"]:
                print(day, name, summary["verdict"], flush=True)
                continue
            pnl = {part: float(amount) for part, amount in summary["pnl"].items()}
            own = found[name]
            own["day"].append(day)
            own["hedges"].append(summary["hedges"])
            own["error"].append(pnl["delta"])
            own["hedged"].append(pnl["delta"] + pnl["gamma"])
            own["total"].append(pnl["total"])
            own["cost"].append(-pnl["spread"] - pnl["fees"] - pnl["slippage"])
            if name == "smile":
                seen = summary["explain"]["realised_against_implied"]
                earned = float(seen["total"])
                weighted = seen["realised_vol_weighted"] ** 2 - seen["implied_vol_weighted"] ** 2
                agree.append(earned * weighted > 0)
                plain.append(earned * (seen["realised_vol"] ** 2 - seen["implied_vol"] ** 2) > 0)
                close.append(abs(seen["realised_vol_weighted"] / seen["implied_vol_weighted"] - 1))
                left = summary["explain"]["unexplained"]
                noise = float(summary["explain"]["details"]["mark_noise"])
                gross = float(left["gross"])
                unexplained.append(max(abs(pnl["residual"]), abs(noise)) / gross if gross else 0.0)
                if not agree[-1]:
                    print(day, "sign differs", seen, flush=True)
        if number % 25 == 24:
            print(number + 1, "days", flush=True)
    both = set(found["smile"]["day"]) & set(found["legs"]["day"])
    print(f"{len(both)} days, the same paths         smile      legs")
    for label, key, figure in (
        ("P&L of what was unhedged, sd USD", "error", np.std),
        ("delta + gamma P&L, sd USD", "hedged", np.std),
        ("P&L of a day, sd USD", "total", np.std),
        ("P&L of a day, mean USD", "total", np.mean),
        ("spread and fees, mean USD", "cost", np.mean),
        ("hedges, mean", "hedges", np.mean),
    ):
        values = [
            figure([v for d, v in zip(own["day"], own[key], strict=True) if d in both])
            for own in (found["smile"], found["legs"])
        ]
        print(f"{label:36} {values[0]:9.2f} {values[1]:9.2f}")
    print(f"sign of realised against implied: weighted {np.mean(agree):.1%}, plain {np.mean(plain):.1%}")
    print(
        f"of {len(agree)} days; nearest to equal where it differs:",
        [round(c, 4) for c, a in zip(close, agree, strict=True) if not a],
    )
    print(
        f"residual and mark noise of the gross: 95 % of sessions below {np.quantile(unexplained, 0.95):.3%}"
    )
    print(f"sessions below 2 %: {np.mean(np.array(unexplained) < 0.02):.1%}")


if __name__ == "__main__":
    main()
