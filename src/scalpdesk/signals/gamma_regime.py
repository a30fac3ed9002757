"""Which hedging threshold a regime asks for: by the dealers' gamma, or by the desk's own."""

from decimal import Decimal

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import GammaExposureEvent
from scalpdesk.core.units import NANOS_PER_SECOND

STANDARD_THRESHOLD = Decimal("0.15")
TIGHT_THRESHOLD = Decimal("0.10")
MAX_AGE_SECONDS = 900.0
"""A quarter of an hour: an older word on dealer gamma is none."""
BY_HAND = "environment"
"""Source of a value that a person set: it is meant to stand, however old."""


def known_exposure_usd(
    event: GammaExposureEvent | None, now_ns: int, *, max_age_seconds: float = MAX_AGE_SECONDS
) -> float | None:
    """Return the dealers' exposure where it is known and fresh, else None.

    Parameters
    ----------
    event
        The latest word; None when there was none.
    now_ns
        UTC nanoseconds.
    max_age_seconds
        Age at which it is stale, by its source's own stamp. What a person set does not age.

    Returns
    -------
    float or None
        USD of delta per move of 1 %.
    """
    # NaN is no value, and neither is an infinite one
    if event is None or not -1e300 < event.exposure_usd < 1e300:
        return None
    stale = now_ns - event.ts_event_ns > max_age_seconds * NANOS_PER_SECOND
    return None if stale and event.source != BY_HAND else event.exposure_usd


def threshold_by_dealers(
    exposure_usd: float | None,
    *,
    standard: Decimal = STANDARD_THRESHOLD,
    tight: Decimal = TIGHT_THRESHOLD,
) -> Decimal:
    """Return the threshold of net delta: tight while dealers are short gamma, else standard.

    Parameters
    ----------
    exposure_usd
        Dealers' exposure; None when it is not known, which is the standard case.
    standard, tight
        In the unit of the net delta; ``tight`` is the smaller.

    Raises
    ------
    ArgumentError
        When a threshold is negative or the tight one is the larger.
    """
    _check(standard, tight)
    return tight if exposure_usd is not None and exposure_usd < 0.0 else standard


def threshold_by_own_gamma(
    gamma_shares_per_usd: float | None,
    *,
    standard: Decimal = STANDARD_THRESHOLD,
    tight: Decimal = TIGHT_THRESHOLD,
) -> Decimal:
    """Return the threshold of net delta: tight while the desk itself is short gamma, else standard.

    Who is short gamma loses on every move that is not hedged, whatever dealers hold; who is long gains on
    it and can afford to wait. A trending market (dealers short) rewards a long desk for waiting, which the
    rule by dealers' gamma takes away.

    Parameters
    ----------
    gamma_shares_per_usd
        Of the whole position, signed; None when it is not known, which is the standard case.
    standard, tight
        In the unit of the net delta; ``tight`` is the smaller.

    Raises
    ------
    ArgumentError
        When a threshold is negative or the tight one is the larger.
    """
    _check(standard, tight)
    return tight if gamma_shares_per_usd is not None and gamma_shares_per_usd < 0.0 else standard


def _check(standard: Decimal, tight: Decimal) -> None:
    if not 0 <= tight <= standard:
        raise ArgumentError(
            "the tight threshold lies between 0 and the standard one",
            where="standard, tight",
            value=(str(standard), str(tight)),
        )
