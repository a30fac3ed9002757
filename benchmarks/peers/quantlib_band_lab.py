"""Hedge straddles along given paths with QuantLib's Greeks at every look; prints one JSON line.

``quantlib_band_lab.py PATHS REPEATS``. Two options, one process and their quotes are made once: a look sets
spot, deviation and rate, and asks both options for delta and gamma. Its dates know whole days, so a contract
of T years at r and v is given to it as one of a year at rT and v·sqrt(T): the same number by the same work.
"""

import json
import sys
from math import floor
from pathlib import Path

import QuantLib as ql  # noqa: N813 - the name its own examples use
from contender import median_seconds, tell

TODAY = ql.Date(2, 1, 2024)
COUNT = ql.Actual365Fixed()


def main():
    terms = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    repeats = int(sys.argv[2])
    ql.Settings.instance().evaluationDate = TODAY
    spot, deviation, rate = (ql.SimpleQuote(1.0) for _ in range(3))
    process = ql.BlackScholesMertonProcess(
        ql.QuoteHandle(spot),
        ql.YieldTermStructureHandle(ql.FlatForward(TODAY, 0.0, COUNT)),
        ql.YieldTermStructureHandle(ql.FlatForward(TODAY, ql.QuoteHandle(rate), COUNT)),
        ql.BlackVolTermStructureHandle(
            ql.BlackConstantVol(TODAY, ql.NullCalendar(), ql.QuoteHandle(deviation), COUNT)
        ),
    )
    engine, legs = ql.AnalyticEuropeanEngine(process), []
    for kind in (ql.Option.Call, ql.Option.Put):
        leg = ql.VanillaOption(ql.PlainVanillaPayoff(kind, terms["strike"]), ql.EuropeanExercise(TODAY + 365))
        leg.setPricingEngine(engine)
        legs.append(leg)
    call, put = legs
    units, half_spread, vol, flat = terms["units"], terms["half_spread"], terms["vol"], terms["rate"]
    looks = [(years, vol * years**0.5, flat * years) for years in terms["years"]]

    def hedge(path, width):
        owned, gross, cost, hedges, gamma = 0.0, 0.0, 0.0, 0, 0.0
        for price, (_, wide, accrued) in zip(path, looks, strict=False):
            spot.setValue(price)
            deviation.setValue(wide)
            rate.setValue(accrued)
            net = units * (call.delta() + put.delta()) + owned
            gamma = units * (call.gamma() + put.gamma())
            if abs(net) - width > 1e-12 * max(1.0, width):
                quantity = floor(abs(net) + 0.5) * (-1.0 if net > 0.0 else 1.0)
                owned += quantity
                gross -= quantity * price
                cost += abs(quantity) * half_spread
                hedges += 1
        gross += owned * path[-1]
        cost += abs(owned) * half_spread
        return hedges, gross - cost, gamma

    def run():
        found = [[hedge(path, width) for path in terms["spot"]] for width in terms["widths"]]
        return [[sum(each[part] for each in row) for row in found] for part in (0, 1)]

    hedges, pnl = run()
    tell(
        version=ql.__version__,
        combinations=len(terms["spot"]) * len(terms["widths"]),
        seconds=median_seconds(run, repeats),
        hedges=hedges,
        pnl=pnl,
    )


main()
