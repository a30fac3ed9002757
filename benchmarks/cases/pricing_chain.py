"""American prices and Greeks of a chain beside QuantLib's engines."""

from functools import partial
from typing import Any

import chain
from measuring import BenchmarkError, Context, Result, against, alone, us_each

FAST, PYBAW = "QuantLib QdFp fast", "pybaw, an approximation"
TITLE = "Pricing: a chain of 400 American options"
SUBJECT = ("src/scalpdesk/pricing",)

ABOUT = """\
Eight expiries from an hour to sixty days, 25 strikes from 80 to 120 % of the spot, calls and puts, 4 % rate,
1.3 % yield, each contract a volatility of its own between 12 and 80 %; one thread.

**Ours** is `scalpdesk.pricing.greeks` as a user calls it: arguments checked, arrays broadcast, the price and
all eight Greeks, so nothing is left out of the four-Greek target. `warm` has its boundary tables, as every
tick after the first of a day does; `rebuilt` throws all of them away before every chain. `10 contracts` and
`10,000 contracts` are single calls; below some hundred contracts the fixed cost of a call shows. `two_legs`
are two at-the-money options as the gamma scalper asks for them on a trigger, sixty days before expiry;
`two_legs_0dte` the same an hour before it.

**QuantLib** goes through its Python wheel with options, engines, processes and quotes made beforehand.
Price, delta, gamma, theta and vega take five prices a contract (theta from the pricing equation), of the tree
two trees. Its dates know whole days, so a contract of T years at r, q and v is given to it as one of a year
at rT, qT and v·sqrt(T): the same number by the same work.

**pybaw** is the approximation of Barone-Adesi and Whaley, compiled. It takes the same five prices a contract;
`chain_price` beside it is its largest error on the chain, against ours.

**Right answer**: `chain_price` is our largest difference from QdFp high precision on this chain, per 100 of
spot. Before anything is timed our price, delta and gamma must be within 1e-5, 2e-6 and (relative) 1e-3 of
the 981 golden rows, five minutes to two years, 8 to 120 % volatility; the figures are their largest errors.
"""


def _us(runs: list[dict[str, Any]]) -> list[float]:
    return us_each(runs, "contracts")


def measure(context: Context) -> list[Result]:
    """All engines on the chain in turn, after our numbers have been held to the golden rows."""
    golden = chain.golden_errors()
    contracts = context.scratch / "chain.json"
    chain.write_chain(contracts, 5 if context.smoke else 25)
    repeats = 3 if context.smoke else 40
    ours = {
        f"scalpdesk, {work}": partial(context.run_ours, "pricing_chain.py", contracts, work, repeats)
        for work in ("greeks", "rebuilt", "ten", "big", "legs", "legs_0dte")
    }
    peers = {
        f"QuantLib, {engine}": partial(
            context.run_peer, "quantlib_chain.py", contracts, engine, "greeks", turns
        )
        for engine, turns in (
            ("qdfp_fast", 5),
            ("qdfp_accurate", 1),
            ("crr_801", 1),
            ("bjerksund_stensland", 5),
        )
    }
    peers["pybaw"] = partial(context.run_peer, "pybaw_chain.py", contracts, "greeks", 5)
    runs = context.interleave(ours if context.smoke else ours | peers)
    warm, rebuilt = _us(runs["scalpdesk, greeks"]), _us(runs["scalpdesk, rebuilt"])
    results = [
        alone(f"golden_{name}", "error", [error], target=chain.LIMITS[name]) for name, error in golden.items()
    ]
    results += [
        alone("pricing_10_contracts", "us_per_contract", _us(runs["scalpdesk, ten"])),
        against(
            "pricing_10000_contracts",
            "us_per_contract",
            _us(runs["scalpdesk, big"]),
            "400 contracts",
            warm,
            target=0.9,
        ),
        *(
            alone(
                f"two_{work}",
                "us_a_pair",
                [1e6 * run["seconds"] for run in runs[f"scalpdesk, {work}"]],
                target=100.0,
            )
            for work in ("legs", "legs_0dte")
        ),
    ]
    if context.smoke:
        return results
    truth = context.run_peer("quantlib_chain.py", contracts, "qdfp_high_precision", "greeks", 1)["prices"]
    errors, approximate = (
        [max(abs(a - b) for a, b in zip(run["prices"], truth, strict=True)) for run in runs[name]]
        for name in ("scalpdesk, greeks", "pybaw")
    )
    if max(errors) > 1e-3:
        raise BenchmarkError(f"our chain is off by {max(errors):.2g}: not the same options")
    fast = _us(runs["QuantLib, qdfp_fast"])
    results += [
        alone("chain_price", "error", errors, target=chain.LIMITS["price"]),
        against("chain_price", "error", errors, PYBAW, approximate),
        against("pricing_warm", "us_per_contract", warm, FAST, fast, target=25.0),
        against("pricing_warm", "us_per_contract", warm, PYBAW, _us(runs["pybaw"])),
        against("pricing_rebuilt", "us_per_contract", rebuilt, FAST, fast, target=8.0),
    ]
    for engine, name in (
        ("qdfp_accurate", "QuantLib QdFp accurate"),
        ("crr_801", "QuantLib CRR 801"),
        ("bjerksund_stensland", "QuantLib Bjerksund–Stensland"),
    ):
        results.append(
            against("pricing_warm", "us_per_contract", warm, name, _us(runs[f"QuantLib, {engine}"]))
        )
    return results
