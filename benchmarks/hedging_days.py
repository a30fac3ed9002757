"""The frontier of hedging, spread against cost, and how days are explained: ``hedging_days.py FILE [MORE]``.

200 lone sessions of the embedded market, evenly over 2014–2018: one straddle from the open to ten minutes
before the close, the same path hedged in every one of :data:`WAYS`. Days that FILE (JSON lines) does not have
yet are run, at most MORE of them; then the table over the days that it has is printed. A day takes five
seconds of processor time.

The error of a way is the P&L of its shares less that of a hedge at every look of the desk, the limit in which
the straddle is replicated: before costs, on the same path, with the same options bought and sold. What the
options earn, and what their volatility does, cancels.
"""

import json
import sys
from pathlib import Path

import numpy as np

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.datasets.embedded.market import available_sessions

DAYS = 200
HELD = (
    "entry.gate=off",
    "exits.edge_gone=false",
    "exits.flat_minutes_before_close=10",
    "exits.stop_fraction=null",
    "exits.arm_fraction=null",
)


def fixed(shares, *own):
    return ("hedge.band=fixed", f"hedge.threshold_shares={shares}", *own)


def aversion(per_usd):
    return (f"hedge.band_settings.risk_aversion={per_usd}",)


LEGS = "hedge.delta_vol=implied"
NEVER, ALWAYS, BEFORE, DEFAULT = "no hedge", "each look", "fixed 2, legs", "aversion 0.25"
WAYS = {
    NEVER: fixed(100),
    ALWAYS: fixed(0),
    BEFORE: fixed(2, LEGS),
    "fixed 4, legs": fixed(4, LEGS),
    **{f"fixed {shares}": fixed(shares) for shares in (2, 4)},
    **{f"aversion {per_usd}": aversion(per_usd) for per_usd in (0.001, 0.005, 0.02, 0.05, 0.15, 0.25, 0.5)},
}


def measured(day):
    """Return the figures of every way on one day, as JSON keeps them."""
    settings = {name: load_settings("gamma-scalper", overrides=(*HELD, *own)) for name, own in WAYS.items()}
    tape = load_market(settings[DEFAULT], "embedded", underlying="SPY", start=day, end=day, seed=1)
    found = {"day": day.isoformat()}
    for name, loaded in settings.items():
        summary = run_backtest(loaded, tape, SystemClock(), seed=1).summary
        if not summary["fills"]:
            return found | {"refused": summary["verdict"]}
        pnl = {part: float(amount) for part, amount in summary["pnl"].items()}
        cost = -pnl["spread"] - pnl["fees"] - pnl["slippage"]
        explain = summary["explain"]
        found[name] = {
            "hedges": summary["hedges"],
            "cost": cost,
            "before_cost": pnl["total"] + cost,
            "total": pnl["total"],
            "delta_gamma": pnl["delta"] + pnl["gamma"],
        }
        if name == DEFAULT:
            found["implied"] = explain["realised_against_implied"]
            gross = float(explain["unexplained"]["gross"])
            noise = float(explain["details"]["mark_noise"])
            found["unexplained"] = max(abs(pnl["residual"]), abs(noise)) / gross if gross else 0.0
    return found


def table(days):
    """Print the frontier, and the counts of the explanation."""
    print(f"{len(days)} days, USD a day: hedges, cost of hedging, error, error's share of no hedge's, total")

    def of(name, key):
        return np.array([day[name][key] for day in days])

    unhedged = np.std(of(NEVER, "before_cost") - of(ALWAYS, "before_cost"))
    for name in WAYS:
        error = np.std(of(name, "before_cost") - of(ALWAYS, "before_cost"))
        cost = np.mean(of(name, "cost") - of(NEVER, "cost"))
        gamma = np.std(of(name, "delta_gamma"))
        print(
            f"{name:16} {np.mean(of(name, 'hedges')):7.1f} {cost:7.3f} {error:7.2f} {error / unhedged:7.1%}"
            f" {np.std(of(name, 'total')):7.2f} {np.mean(of(name, 'total')):7.2f} {gamma:7.2f}"
        )
    implied = [day["implied"] for day in days]
    weighted = [
        float(each["total"]) * (each["realised_vol_weighted"] ** 2 - each["implied_vol_weighted"] ** 2) > 0
        for each in implied
    ]
    print(f"realised against implied has the sign of its variances on {np.mean(weighted):.1%}")
    unexplained = np.array([day["unexplained"] for day in days])
    print(
        f"residual and mark noise: 95 % of days below {np.quantile(unexplained, 0.95):.3%} of the gross,"
        f" {np.mean(unexplained < 0.02):.1%} below 2 %"
    )


def main():
    path, more = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else DAYS
    kept = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    every = available_sessions()
    days = [every[round(at)] for at in np.linspace(0, len(every) - 1, DAYS)]
    # spread over the years from the first on: a part of the days is a sample too
    order = np.random.default_rng(1).permutation(DAYS)
    have = {day["day"] for day in kept}
    for number in [number for number in order if days[number].isoformat() not in have][:more]:
        kept.append(measured(days[number]))
        with path.open("a") as file:
            file.write(json.dumps(kept[-1]) + "\n")
    table([day for day in kept if "refused" not in day])


if __name__ == "__main__":
    main()
