"""Price a chain with QuantLib, or invert its prices, some number of times; prints one JSON line.

``quantlib_chain.py CONTRACTS ENGINE WORK REPEATS`` with WORK greeks or iv. Options, engines, processes and
quotes are made before the clock starts. A contract of T years at r, q and v is given to QuantLib as one of
a year at rT, qT and v·sqrt(T): the same number by the same work, as its dates know whole days only.
"""

import json
import sys
from pathlib import Path

import QuantLib as ql  # noqa: N813 - the name its own examples use
from contender import median_seconds, tell

TODAY = ql.Date(2, 1, 2024)
COUNT = ql.Actual365Fixed()
SPOT_BUMP = 0.01  # of v·sqrt(T), as part of the spot
VOL_BUMP = 0.01  # of the volatility
ENGINES = {
    "qdfp_fast": lambda p: ql.QdFpAmericanEngine(p, ql.QdFpAmericanEngine.fastScheme()),
    "qdfp_accurate": lambda p: ql.QdFpAmericanEngine(p, ql.QdFpAmericanEngine.accurateScheme()),
    "qdfp_high_precision": lambda p: ql.QdFpAmericanEngine(p, ql.QdFpAmericanEngine.highPrecisionScheme()),
    "crr_801": lambda p: ql.BinomialVanillaEngine(p, "crr", 801),
    "bjerksund_stensland": ql.BjerksundStenslandApproximationEngine,
}


def option(engine, spot, strike, years, vol, is_call, rate, dividend_yield):
    deviation = ql.SimpleQuote(vol * years**0.5)
    process = ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(spot)),
        ql.YieldTermStructureHandle(ql.FlatForward(TODAY, dividend_yield * years, COUNT)),
        ql.YieldTermStructureHandle(ql.FlatForward(TODAY, rate * years, COUNT)),
        ql.BlackVolTermStructureHandle(
            ql.BlackConstantVol(TODAY, ql.NullCalendar(), ql.QuoteHandle(deviation), COUNT)
        ),
    )
    payoff = ql.PlainVanillaPayoff(ql.Option.Call if is_call else ql.Option.Put, strike)
    made = ql.VanillaOption(payoff, ql.AmericanExercise(TODAY, TODAY + 365))
    made.setPricingEngine(ENGINES[engine](process))
    return made, deviation


def bumped(engine, row):
    """The options whose prices make price, delta, gamma, theta (from the pricing equation) and vega."""
    spot, strike, years, vol, *rest = row
    step = SPOT_BUMP * vol * years**0.5 * spot
    if engine == "crr_801":  # a tree has its own delta, gamma and theta: one more for vega
        cases = [(spot, vol), (spot, vol * (1 + VOL_BUMP))]
    elif engine == "qdfp_high_precision":  # the truth for prices
        cases = [(spot, vol)]
    else:
        cases = [
            (spot, vol),
            (spot + step, vol),
            (spot - step, vol),
            (spot, vol * (1 + VOL_BUMP)),
            (spot, vol * (1 - VOL_BUMP)),
        ]
    return [option(engine, s, strike, years, v, *rest)[0] for s, v in cases]


def main():
    rows = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    engine, work, repeats = sys.argv[2], sys.argv[3], int(sys.argv[4])
    ql.Settings.instance().evaluationDate = TODAY
    answer = {"version": ql.__version__}
    if work == "greeks":
        options = [bumped(engine, row) for row in rows]

        def run():
            prices = []
            for variants in options:
                for variant in variants:
                    variant.recalculate()  # prices at once
                prices.append(variants[0].NPV())
            return prices

        answer |= {"contracts": len(rows), "prices": run()}
    else:
        asked = []
        for row in rows:
            made, deviation = option(engine, *row)
            asked.append((made, deviation, made.NPV(), row[3] * row[2] ** 0.5, row[2] ** 0.5))
        solver = ql.Brent()

        def run():
            found = []
            for made, deviation, price, start, root in asked:

                def gap(trial, made=made, deviation=deviation, price=price):
                    deviation.setValue(trial)
                    return made.NPV() - price

                # from 20 % off, within 1 % to 300 % a year
                try:
                    found.append(solver.solve(gap, 1e-9, 1.2 * start, 0.01 * root, 3.0 * root))
                except RuntimeError:  # no volatility in that range has this price
                    found.append(None)
            return found

        answer["contracts"] = len(asked)
    tell(**answer, seconds=median_seconds(run, repeats))


main()
