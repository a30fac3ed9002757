"""The entry into a straddle: what is said of the choice, and the orders for its legs."""

from collections.abc import Sequence

from scalpdesk.core.intents import Intent, OrderIntent, OrderType, Purpose, Side
from scalpdesk.core.units import InstrumentId, exact
from scalpdesk.entry.straddle_selector import Candidate
from scalpdesk.strategies.contract import DeskView

FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 600.0


def pause_seconds(abandoned: int) -> float:
    """Return how long to wait after so many abandoned entries in a row: 30, 60 … 600 seconds.

    What kept the desk out (the risk gate, a thin market) is seldom gone a second later.
    """
    return min(FIRST_PAUSE_SECONDS * 2.0 ** (abandoned - 1), LONGEST_PAUSE_SECONDS)


def entry_facts(view: DeskView, best: Candidate, spot: float) -> dict[str, str | float | int]:
    """Return the figures behind the choice of a straddle; prices in currency per unit."""
    return {
        "spot": spot,
        "strike": float(best.pair.strike),
        "expiry": best.pair.expiry.isoformat(),
        "call": view.instruments[best.pair.call_id].symbol,
        "put": view.instruments[best.pair.put_id].symbol,
        "implied_vol": 0.5 * (best.call.vol + best.put.vol),
        "score": best.score.score or 0.0,
        "legacy_score": best.score.legacy_score or 0.0,
        "breakeven_move_usd": best.score.breakeven_move or 0.0,
        "spread_usd_per_unit": best.spread,
    }


def missing_legs(view: DeskView, legs: Sequence[InstrumentId], straddles: int) -> tuple[Intent, ...]:
    """Return orders for what is missing of each leg, at the ask."""
    intents = []
    for leg in legs:
        missing = straddles - view.exposure(leg)
        quote = view.market.quotes[leg]
        if missing > 0 and quote is not None and quote.ask > 0:
            intents.append(
                OrderIntent(
                    leg,
                    Side.BUY,
                    missing,
                    Purpose.OPEN,
                    "straddle leg at the ask",
                    OrderType.LIMIT,
                    exact(quote.ask),
                )
            )
    return tuple(intents)
