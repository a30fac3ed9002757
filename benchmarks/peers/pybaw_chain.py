"""Price a chain with pybaw, the approximation of Barone-Adesi and Whaley, or invert its prices.

``pybaw_chain.py CONTRACTS greeks|iv REPEATS``. It gives prices alone: price, delta, gamma, theta (from the
pricing equation) and vega take the same five prices a contract as QuantLib's engines without a tree, each a
call of its compiled function. It has a function that inverts the whole chain at once.
"""

import json
import math
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from contender import median_seconds, tell
from pybaw import baw_price, vectorized_baw_implied_vol

BUMP = 0.01


def terms(spot, strike, years, vol, is_call, rate, dividend_yield):
    """Spot, strike, discount, forward, deviation and right, as the package takes them."""
    forward = spot * math.exp((rate - dividend_yield) * years)
    return spot, strike, math.exp(-rate * years), forward, vol * math.sqrt(years), "c" if is_call else "p"


rows = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
work, repeats = sys.argv[2], int(sys.argv[3])
cases = [terms(*row) for row in rows]
prices = [baw_price(*case) for case in cases]
if work == "greeks":
    asked = []
    for (spot, *rest), (*_, deviation, _) in zip(rows, cases, strict=True):
        step, (strike, years, vol, *more) = BUMP * deviation * spot, rest
        asked += [terms(at, *rest) for at in (spot, spot + step, spot - step)]
        asked += [terms(spot, strike, years, vol * (1 + bump), *more) for bump in (BUMP, -BUMP)]

    def run():
        return [baw_price(*case) for case in asked]
else:
    spot, strike, discount, forward, _, flags = (list(column) for column in zip(*cases, strict=True))
    columns = [np.array(column) for column in (prices, spot, strike, discount, forward)]

    def run():
        return vectorized_baw_implied_vol(*columns, flags)


tell(contracts=len(rows), prices=prices, seconds=median_seconds(run, repeats), version=version("pybaw"))
