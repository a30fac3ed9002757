"""The frontier of hedging, spread against cost, and how days are explained: ``hedging_days.py FILE [MORE]``.

``hedging_days.py FILE six`` measures the orders of a day instead: six days of three seeds, the straddle at
the strike nearest the money.

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
from datetime import date
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


def aversion(per_usd, least=0.35):
    return f"hedge.band_settings.risk_aversion={per_usd}", f"hedge.least_fraction={least}"


LEGS = "hedge.delta_vol=implied"
NEVER, ALWAYS, BEFORE, DEFAULT = "no hedge", "each look", "fixed 2, legs", "default"
WAYS = {
    NEVER: fixed(100),
    ALWAYS: fixed(0),
    BEFORE: fixed(2, LEGS),
    "fixed 4, legs": fixed(4, LEGS),
    **{f"fixed {shares}": fixed(shares) for shares in (2, 4)},
    **{f"aversion {per_usd}": aversion(per_usd) for per_usd in (0.001, 0.005, 0.02, 0.05, 0.15, 0.25, 0.5)},
    DEFAULT: (),
}


SIX_DAYS = ("2014-12-16", "2015-08-31", "2016-03-10", "2017-05-01", "2018-02-05", "2018-10-10")
SEEDS = (1, 2, 3)
ORDERS = {
    **{name: WAYS[name] for name in (NEVER, ALWAYS)},
    **{f"fixed {shares}": fixed(shares) for shares in (2, 3, 5, 10)},
    **{f"aversion {per_usd}": aversion(per_usd) for per_usd in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.25)},
    **{
        f"aversion {per_usd}, least {part}": aversion(per_usd, part)
        for per_usd in (0.01, 0.02)
        for part in (0.0, 0.5, 1.0)
    },
    **{
        f"aversion {per_usd}, to zero": (*aversion(per_usd), "hedge.band_settings.rehedge_to=zero")
        for per_usd in (0.005, 0.01)
    },
}
"""Ways whose orders are counted."""


def nearest_the_money(tape):
    """Return the settings that name the straddle of the first monthly expiry at the strike nearest 09:35."""
    (session,) = tape.sessions
    at_ns, share = session.clock_ns("09:35"), tape.instruments.id_of("SPY")
    spot = tape.quotes.until(at_ns).mids(share)[1][-1]
    listed = {(each.expiry, each.strike) for each in tape.instruments if hasattr(each, "strike")}
    expiry = min(day for day, _ in listed if (day - session.day).days >= 30)
    strike = min(
        (strike for day, strike in listed if day == expiry), key=lambda price: abs(float(price) - spot)
    )
    return f"selection.expiry={expiry}", f"selection.strike={strike}"


def measured(day, ways=WAYS, choice=lambda _: (), seed=1):
    """Return the figures of every way on one day, as JSON keeps them."""
    first = load_settings("gamma-scalper", overrides=HELD)
    tape = load_market(first, "embedded", underlying="SPY", start=day, end=day, seed=seed)
    held = (*HELD, *choice(tape))
    settings = {name: load_settings("gamma-scalper", overrides=(*held, *own)) for name, own in ways.items()}
    found = {"day": day.isoformat()}
    for name, loaded in settings.items():
        summary = run_backtest(loaded, tape, SystemClock(), seed=seed).summary
        if not summary["fills"]:
            return found | {"refused": summary["verdict"]}
        pnl = {part: float(amount) for part, amount in summary["pnl"].items()}
        cost = -pnl["spread"] - pnl["fees"] - pnl["slippage"]
        explain = summary["pnl_detail"]
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


def orders_table(kept):
    """Print how many orders each way sends on each day, and what they cost and leave."""
    paths = [kept[f"{day} {seed}"] for seed in SEEDS for day in SIX_DAYS]

    def of(key, name):
        return np.array([path[name][key] for path in paths]).reshape(len(SEEDS), len(SIX_DAYS))

    print(
        *SIX_DAYS,
        ": hedges; a day: hedges, cost of hedging, error (root mean square) and its interval of 68 %,",
    )
    print("and its interval of 68 %, P&L, its deviation between seeds")
    drawn = np.random.default_rng(1).integers(0, len(paths), (2_000, len(paths)))
    for name in ORDERS:
        hedges, total = of("hedges", name), of("total", name)
        error = (of("before_cost", name) - of("before_cost", ALWAYS)).ravel()
        low, high = np.quantile(np.sqrt(np.mean(np.square(error[drawn]), axis=1)), (0.16, 0.84))
        cost = of("cost", name) - of("cost", NEVER)
        among = np.sum(np.square(total - total.mean(axis=0))) / ((len(SEEDS) - 1) * len(SIX_DAYS))
        print(
            f"{name:26}",
            *(f"{count:6.1f}" for count in hedges.mean(axis=0)),
            f"{hedges.mean():8.1f} {cost.mean():7.3f} {np.sqrt(np.mean(np.square(error))):7.2f}",
            f"({low:.1f} to {high:.1f}) {total.mean():8.2f} {np.sqrt(among):7.2f}",
        )


def six_days(path):
    """Measure what is not yet kept of the six days, and print their orders."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    for seed in SEEDS:
        for day in SIX_DAYS:
            found = kept.setdefault(f"{day} {seed}", {})
            missing = {name: own for name, own in ORDERS.items() if name not in found}
            if missing:
                found |= measured(date.fromisoformat(day), missing, nearest_the_money, seed)
                path.write_text(json.dumps(kept))
    orders_table(kept)


def main():
    if sys.argv[2:] == ["six"]:
        six_days(Path(sys.argv[1]))
        return
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
