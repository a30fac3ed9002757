"""Price a chain, or invert its prices, some number of times; prints one JSON line.

``pricing_chain.py CONTRACTS WORK REPEATS`` with WORK one of greeks, rebuilt, ten (ten contracts a call), big
(the chain 25 times over in one call), legs, legs_0dte (two at-the-money options of the last expiry and of the
first), iv, european_iv. ``seconds`` is the median of a repeat, in processor time.
"""

import json
import sys
from pathlib import Path

import numpy as np
from contender import median_seconds, tell

from scalpdesk.pricing import greeks, implied_vol
from scalpdesk.pricing.american import boundary_table, stacked_tables
from scalpdesk.pricing.scalar import option_greeks


def main():
    rows = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    work, repeats = sys.argv[2], int(sys.argv[3])
    spot, strike, years, vol, call, rate, dividend_yield = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    terms = {"rate": rate, "dividend_yield": dividend_yield}
    answer = {"contracts": len(rows)}
    if work in {"iv", "european_iv"}:
        style = "american" if work == "iv" else "european"
        price = greeks(spot, strike, years, vol, call, style=style, **terms).price

        def run():
            return implied_vol(price, spot, strike, years, call, style=style, **terms).vol

        found = run()
        known = np.isfinite(found)
        without = greeks(spot, strike, years, 0.0, call, style=style, **terms).price
        if (price > without)[~known].any():
            raise SystemExit("a price with time value has no volatility")
        again = greeks(spot, strike, years, np.where(known, found, 0.0), call, style=style, **terms).price
        answer["residual"] = float(np.abs(again - price).max())
        answer["without"] = int((~known).sum())
    elif work in {"legs", "legs_0dte"}:
        expiry = years[-1] if work == "legs" else years[0]
        at_the_money = [
            (100.0, 100.0, expiry, 0.3, is_call, rate[0], dividend_yield[0]) for is_call in (True, False)
        ]
        answer["contracts"] = 2

        def run():
            return [option_greeks(*leg) for leg in at_the_money]
    else:
        pick = np.arange(len(rows))
        if work == "ten":
            pick = np.linspace(0, len(rows) - 1, 10).astype(np.int64)
        elif work == "big":
            pick = np.tile(pick, 25)
        answer["contracts"] = len(pick)
        given = [values[pick] for values in (spot, strike, years, vol, call)]
        terms = {name: values[pick] for name, values in terms.items()}

        def run():
            if work == "rebuilt":
                stacked_tables.cache_clear()
                boundary_table.cache_clear()
            return greeks(*given, **terms)

        answer["prices"] = run().price.tolist()
    tell(**answer, seconds=median_seconds(run, repeats))


main()
