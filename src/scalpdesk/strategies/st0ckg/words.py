"""What st0ckg says of a signal and of a contract, in words and in figures."""

from scalpdesk.entry.scalp_selector import ScalpCandidate
from scalpdesk.signals.base import Reading
from scalpdesk.signals.composite import Survey

Facts = dict[str, str | float | int]


def without_figures(words: str) -> str:
    """Return a reason without its numbers: a score that wobbles is no news."""
    return "".join(letter for letter in words if not letter.isdigit())


def why_of(chosen: Reading) -> tuple[str, ...]:
    """Return a signal with its score, then what scored."""
    way = "up" if chosen.direction > 0 else "down"
    return (f"{chosen.name} {way}, score {chosen.score:.2f}, {chosen.confidence}", *chosen.reasons)


def shown_of(found: Survey, spot: float) -> Facts:
    """The scores of what exists, the composite and the price."""
    scores: Facts = {one.name: round(one.score, 4) for one in found.readings if one.score}
    return scores | {"composite": round(found.composite.total, 4), "spot": spot}


def facts_of(best: ScalpCandidate) -> Facts:
    """Return what a contract was chosen by."""
    return {
        "contract": best.contract.symbol,
        "contract_score": round(best.score, 3),
        "delta": round(best.delta, 4),
        "implied_vol": round(best.vol, 4),
        "bid": best.bid,
        "ask": best.ask,
        "open_interest_contracts": best.open_interest_contracts,
    }
