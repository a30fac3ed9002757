"""Several signals together: the weighted sum, and the one that is traded."""

from collections.abc import Mapping, Sequence

import msgspec

from scalpdesk.signals.base import Confidence, MarketFacts, Reading, Scoring, Signal, read_signal


class Composite(msgspec.Struct, frozen=True):
    """The weighted sum of some scores."""

    weighted: dict[str, float]
    """Score times weight over ten, by name, in the order given."""
    total: float
    """Their sum."""
    primary: str | None
    """Name of the largest weighted score; None when there is no score above zero."""


def composite(scores: Mapping[str, float], weights: Mapping[str, float]) -> Composite:
    """Weigh scores against one another.

    ``scores``: Score by signal.
    ``weights``: Weight by signal; a signal without a weight is an error of the caller (``KeyError``).

    >>> composite({"A": 7.0, "B": 7.0}, {"A": 8.5, "B": 7.0}).primary
    'A'
    """
    weighted = {name: score * weights[name] / 10.0 for name, score in scores.items()}
    above = {name: value for name, value in weighted.items() if value > 0.0}
    # of equals: the larger raw score, then the name, so that the order of the input decides nothing
    primary = min(above, key=lambda name: (-above[name], -scores[name], name)) if above else None
    return Composite(weighted, sum(weighted.values()), primary)


class Survey(msgspec.Struct, frozen=True):
    """Results of all signals at one instant."""

    readings: tuple[Reading, ...]
    """One for each signal, in the order of the signals."""
    composite: Composite
    """Composite of the signals that exist."""
    chosen: Reading | None
    """The reading to trade on, or None."""
    against: str = ""
    """Why nothing is to be traded on; empty when something is."""
    refused_by: str = ""
    """The signal and what it fails, the same at any score."""


def survey(
    signals: Sequence[Signal], facts: MarketFacts, scoring: Scoring, *, only_tradable: bool = False
) -> Survey:
    """Ask every signal and choose one.

    ``measured`` chooses the largest weighted score. ``original`` chooses the largest raw one, as that
    program did (it computed the composite and did not use it); of equals the first. What is chosen must
    reach its own least score and at least medium confidence, and have a direction.

    ``signals``: In the order in which they are shown.
    ``scoring``: Which definition.
    ``only_tradable``: Choose among the signals that may be traded on. Otherwise the choice is made first: a
    strong signal that falls short of its own least score then leaves nothing to weaker signals.
    """
    readings = tuple(read_signal(signal, facts, scoring) for signal in signals)
    weights = {signal.name: signal.weight for signal in signals}
    scores = {reading.name: reading.score for reading in readings if reading.exists and reading.score}
    weighed = composite(scores, weights)
    if weighed.primary is None:
        return Survey(readings, weighed, None, "no signal", "no signal")
    minima = {signal.name: signal.minimum for signal in signals}
    against = {item.name: _against(item, minima[item.name]) for item in readings if item.name in scores}
    running = {name: score for name, score in scores.items() if not (only_tradable and against[name])}
    if not running:
        running = scores
    primary = composite(running, weights).primary
    if primary is None or scoring is Scoring.ORIGINAL:
        primary = max(running, key=lambda name: running[name])
    chosen = next(reading for reading in readings if reading.name == primary)
    refused = against[primary]
    return Survey(readings, weighed, chosen if refused is None else None, *(refused or ("", "")))


def _against(reading: Reading, minimum: float) -> tuple[str, str] | None:
    """Return why a reading may not be traded on, and what it fails; None when it may."""
    score = reading.score or 0.0
    if score < minimum - 1e-12:
        return f"{reading.name} scores {score:.2f}, least {minimum:g}", f"{reading.name}: score"
    if reading.confidence is Confidence.LOW:
        return f"{reading.name} scores {score:.2f}: low confidence", f"{reading.name}: confidence"
    if not reading.direction:
        return f"{reading.name} scores {score:.2f} but has no direction", f"{reading.name}: direction"
    return None
