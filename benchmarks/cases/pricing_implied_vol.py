"""Implied volatilities of a chain beside QuantLib's quickest engine under Brent's method."""

from functools import partial
from typing import Any

import chain
from measuring import BenchmarkError, Context, Result, against, alone, us_each

PEER = "QuantLib QdFp fast + Brent"
RESIDUAL = 1e-9 * chain.SPOT
TITLE = "Implied volatility of the same chain"
SUBJECT = ("src/scalpdesk/pricing",)

ABOUT = """\
The whole chain above. A price without any time value, to the last digit, has no volatility: both sides find
that out in their own way, and `without_vol` says at how many of the American prices. **Ours** is
`scalpdesk.pricing.implied_vol` as a user calls it, boundary tables warm, American and European; a residual
above 1e-9 of the spot, or a price with time value and no volatility, stops the run. **QuantLib**:
`VanillaOption.impliedVolatility` ignores the engine that is set, so Brent's method runs on a volatility quote
of the option with the QdFp fast engine, from 20 % off, to 1e-9. It is the peer of both lines.
**pybaw** inverts the whole chain in one call, its own approximate prices by its own model.
"""


def measure(context: Context) -> list[Result]:
    """American and European inversions and QuantLib's in turn."""
    contracts = context.scratch / "chain.json"
    chain.write_chain(contracts, 5 if context.smoke else 25)
    repeats = 3 if context.smoke else 40
    contenders = {
        f"scalpdesk, {work}": partial(context.run_ours, "pricing_chain.py", contracts, work, repeats)
        for work in ("iv", "european_iv")
    }
    if not context.smoke:
        contenders["QuantLib, iv"] = partial(
            context.run_peer, "quantlib_chain.py", contracts, "qdfp_fast", "iv", 3
        )
        contenders["pybaw"] = partial(context.run_peer, "pybaw_chain.py", contracts, "iv", 5)
    runs = context.interleave(contenders)

    def us(name: str) -> list[float]:
        return us_each(runs[name], "contracts")

    def residual(name: str) -> list[float]:
        worst: list[float] = [run["residual"] for run in runs[name]]
        if not max(worst) <= RESIDUAL:
            raise BenchmarkError(f"{name}: a price comes back off by {max(worst):.2g}")
        return worst

    results = [
        alone("american_iv", "price_residual", residual("scalpdesk, iv"), target=RESIDUAL),
        alone("european_iv", "price_residual", residual("scalpdesk, european_iv"), target=RESIDUAL),
        alone("american_iv", "without_vol", [run["without"] for run in runs["scalpdesk, iv"]]),
    ]
    if not context.smoke:
        peer: Any = us("QuantLib, iv")
        results += [
            against("american_iv", "us_per_contract", us("scalpdesk, iv"), PEER, peer, target=30.0),
            against(
                "american_iv", "us_per_contract", us("scalpdesk, iv"), "pybaw, an approximation", us("pybaw")
            ),
            against("european_iv", "us_per_contract", us("scalpdesk, european_iv"), PEER, peer, target=450.0),
        ]
    return results
