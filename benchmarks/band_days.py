"""Hold the band lab's hedges to the desk's, day by day: ``band_days.py [DAYS]`` or ``band_days.py CATALOG``.

Without a folder: so many sessions of the embedded market (50), evenly over its years. With the folder of a
catalogue into which ``scalpdesk data import lean`` has written the recorded data: every recorded day with
options and their underlying. Each day is looked at once without a hedge for each delta, and
run with every setting of :data:`WAYS`; instant and shares of each hedge must be equal.
"""

import sys
import time
from datetime import date

import numpy as np

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.simulate import PreparedMarket, assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import DataError
from scalpdesk.core.intents import Purpose
from scalpdesk.datasets.embedded.market import available_sessions
from scalpdesk.hedging.base import make_band
from scalpdesk.research.band_lab import HELD, LabBand, columns_settings, hedges_of
from scalpdesk.research.hedge_looks import record_looks


def way(name, least=0.0, delta="sticky_strike", **settings):
    """A lab band, and the settings of a desk that hedges so."""
    value = float(settings.get("number", 0.0))
    lab = LabBand(name, "", value, make_band(name, settings), delta, least)
    own = [f"hedge.band={name}", f"hedge.least_fraction={least}"]
    own += [f"hedge.band_settings.{key}={value}" for key, value in settings.items()]
    if delta == "minimum_variance":
        own.append("hedge.delta_model=minimum_variance")
    return lab, tuple(own)


WAYS = {
    "fixed 2": way("fixed", threshold=2.0),
    "fixed 5 to the edge": way("fixed", threshold=5.0, rehedge_to="edge"),
    "time 30 min": way("time_based", interval_seconds=1800.0),
    "Leland 0.02": way("leland", delta="leland", number=0.02),
    "Whalley-Wilmott 0.01": way("whalley_wilmott", 0.5, risk_aversion=0.01),
    "Zakamouline 0.05": way("zakamouline", 0.35, risk_aversion=0.05),
    "regime 0.05, own gamma": way(
        "regime_threshold", regime="own_gamma", threshold="0.05", threshold_negative_gex="0.03"
    ),
    "least variance 0.02": way("whalley_wilmott", 0.5, "minimum_variance", risk_aversion=0.02),
}


def desk_hedges(settings, market, seed):
    """Instant and signed shares of each hedge that the desk sends."""
    header, engine = build_backtest(settings, market, run_id="", mode="backtest", started_ns=0, seed=seed)
    run = assemble_backtest(settings, market, header, engine, None)
    run.runner.run()
    orders = engine.desk.orders.orders.values()
    return [
        (order.created_ns, int(order.submitted.quantity) * order.submitted.side.sign)
        for order in orders
        if order.submitted.purpose is Purpose.HEDGE
    ]


def compare_day(settings_of, market, seed=1):
    """Ways whose hedges differ on a day, and the number of hedges of all ways."""
    blocks, differ, hedges = {}, [], 0
    for name, (lab, own) in WAYS.items():
        if lab.columns not in blocks:
            blocks[lab.columns] = record_looks(settings_of(columns_settings(lab)), market, seed=seed)
        ours = hedges_of(lab, blocks[lab.columns])
        theirs = desk_hedges(settings_of(own), market, seed)
        theirs = [each for each in theirs if each[0] <= int(blocks[lab.columns].now_ns[-1])]
        hedges += len(theirs)
        if ours != theirs:
            first = next((a, b) for a, b in zip([*ours, None], [*theirs, None], strict=False) if a != b)
            differ.append(f"{name}: {len(ours)} and {len(theirs)}, first {first}")
    return differ, hedges


def main():
    started, equal, total, hedges = time.monotonic(), 0, 0, 0
    argument = sys.argv[1] if len(sys.argv) > 1 else "50"
    for label, settings_of, market in embedded(int(argument)) if argument.isdigit() else recorded(argument):
        try:
            differ, sent = compare_day(settings_of, market)
        except DataError as error:
            print(label, error.what, sep="; ", flush=True)
            continue
        total += len(WAYS)
        equal += len(WAYS) - len(differ)
        hedges += sent
        print(label, f"{sent} hedges", *(differ or ["equal"]), sep="; ", flush=True)
    print(f"{equal} of {total} equal, {hedges} hedges, {time.monotonic() - started:.0f} s")
    raise SystemExit(equal != total)


def embedded(number):
    """Yield days of the embedded market with their settings."""
    every = available_sessions()
    for place in np.linspace(0, len(every) - 1, number):
        day = every[round(place)]
        base = load_settings("gamma-scalper", overrides=HELD)
        tape = load_market(base, "embedded", underlying="SPY", start=day, end=day, seed=1)
        yield (
            day.isoformat(),
            lambda own: load_settings("gamma-scalper", overrides=(*HELD, *own)),
            PreparedMarket(tape),
        )


RECORDED = (
    "data.index_source=parity",
    "data.max_side_age_seconds=86400",
    "selection.min_expiration_days=0",
    "selection.max_expiration_days=60",
    "selection.min_open_interest=-1",
    "entry.max_straddle_delta=none",
    "exits.min_dte=null",
    "simulation.displayed_sizes=false",
    "simulation.starting_cash=100000000",
    "risk.max_order_shares=1000000",
)
"""Takes whatever straddle was recorded."""
DAYS = {
    "GOOG": ("2015-12-23", "2015-12-24", "2015-12-28"),
    "SPXW": ("2021-01-04", "2021-01-05", "2021-01-06", "2021-01-07", "2021-01-08"),
}


def recorded(catalog):
    """Yield the recorded days that have options and their underlying."""
    for underlying, days in DAYS.items():
        for day in map(date.fromisoformat, days):
            more = (*HELD, *RECORDED, f"data.catalog={catalog}", f"underlying={underlying}")

            def settings_of(own, more=more):
                return load_settings("gamma-scalper", overrides=(*more, *own))

            tape = load_market(settings_of(()), "lean", underlying=underlying, start=day, end=day, seed=1)
            yield f"{underlying} {day}", settings_of, PreparedMarket(tape)


if __name__ == "__main__":
    main()
