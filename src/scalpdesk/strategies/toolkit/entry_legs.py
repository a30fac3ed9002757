"""Words and figures of an entry, for its records."""

from scalpdesk.entry.selector import Candidate
from scalpdesk.strategies.contract import Facts

ABANDONED = "entry abandoned"
"""Begins the reason of an entry that was given up."""
AGAIN_IN = "again_in_seconds"
"""Fact of an entry that was given up: when the next one is looked for."""
ENTRY_GATE = "entry gate"
"""Begins what refuses an entry that the gate of the edge refuses."""

STRADDLE_DELTA = "straddle_delta_of_100"
"""Fact of a decision to buy a straddle: its delta, shares of 100."""


def entry_facts(best: Candidate, spot: float) -> Facts:
    """Return the figures behind the choice of a structure; prices in currency per unit."""
    structure = best.structure
    legs: Facts = {"legs": str(structure)}
    if structure.is_straddle:
        legs = {name: leg.contract.symbol for name, leg in zip(("call", "put"), structure.legs, strict=True)}
    return {
        "spot": spot,
        "strike": float(structure.lead.contract.strike),
        "forward": best.forward,
        STRADDLE_DELTA: 100.0 * best.delta,
        "expiry": structure.first_expiry.isoformat(),
        **legs,
        "implied_vol": best.vol,
        "breakeven_move_usd": best.score.breakeven_move or 0.0,
        "spread_usd_per_unit": best.spread,
    }
