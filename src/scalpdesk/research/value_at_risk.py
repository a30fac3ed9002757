"""Does a value at risk cover what it says? Tests of its exceptions, and a backtest over past sessions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing.base import Floats

_CRITICAL_1, _CRITICAL_2 = 3.841, 5.991
"""95th percentiles of the chi-squared distribution with one and two degrees of freedom."""

_LONGEST_CLUSTER_SESSIONS = 10


@dataclass(frozen=True, slots=True)
class _LikelihoodRatio:
    """Likelihood ratio of a test, and the probability of at least as much under its hypothesis."""

    statistic: float
    p_value: float
    is_rejected: bool
    """Whether it lies above the 95 % critical value."""


def kupiec(sessions: int, exceptions: int, rate: float) -> _LikelihoodRatio:
    """Test whether exceptions come as often as they should (unconditional coverage).

    ``LR = 2·ln[(1 − N/T)^(T−N)·(N/T)^N] − 2·ln[(1 − p)^(T−N)·p^N]``, chi-squared with one degree of freedom:
    rejected above 3.841 (Kupiec 1995, Journal of Derivatives 3(2)).

    ``rate``: p, e.g. 0.01 for a value at risk of 99 %.

    Raises ArgumentError when the counts or the rate are out of their range.

    >>> [kupiec(255, count, 0.01).is_rejected for count in (0, 1, 6, 7)]
    [True, False, False, True]
    """
    if not 0 <= exceptions <= sessions or not sessions:
        raise ArgumentError(
            "exceptions are at most the sessions, and there is a session",
            where="sessions, exceptions",
            value=(sessions, exceptions),
        )
    if not 0.0 < rate < 1.0:
        raise ArgumentError("a rate lies between 0 and 1", where="rate", value=rate, fix="0.01")
    calm, seen = sessions - exceptions, exceptions / sessions
    statistic = 2.0 * (_log_likelihood(calm, exceptions, seen) - _log_likelihood(calm, exceptions, rate))
    return _tested(statistic, 1, _CRITICAL_1)


def _log_likelihood(calm: int, exceptions: int, rate: float) -> float:
    """Return (T−N)·ln(1 − p) + N·ln p, where 0·ln 0 is 0."""
    return (calm * math.log1p(-rate) if calm else 0.0) + (exceptions * math.log(rate) if exceptions else 0.0)


def _tested(statistic: float, degrees: int, critical: float) -> _LikelihoodRatio:
    statistic = max(statistic, 0.0)
    return _LikelihoodRatio(statistic, float(chi2.sf(statistic, degrees)), statistic > critical)


@dataclass(frozen=True, slots=True)
class _Independence:
    """Tests of Christoffersen (1998): whether exceptions cluster, and coverage and independence together."""

    transitions: tuple[tuple[int, int], tuple[int, int]]
    """Sessions after a calm one: calm, exceptions; and after an exception: calm, exceptions."""
    independence: _LikelihoodRatio
    conditional_coverage: _LikelihoodRatio


def christoffersen(hits: Sequence[bool] | NDArray[np.bool_], rate: float) -> _Independence:
    """Test whether an exception makes the next more likely.

    With n(i,j) sessions in state j after state i, π(i) = n(i,1)/(n(i,0) + n(i,1)) and π that of both, ``LR =
    2·ln[Π (1 − π(i))^n(i,0)·π(i)^n(i,1)] − 2·ln[(1 − π)^(n00+n10)·π^(n01+n11)]``, chi-squared with one degree
    of freedom; with Kupiec's statistic on the same transitions added, two: rejected above 5.991
    (Christoffersen 1998, International Economic Review 39(4)). Raises ArgumentError with less than two
    sessions, or a rate out of its range.

    >>> christoffersen([False, True, True, False, False, True], 0.5).transitions
    ((1, 2), (1, 1))
    """
    states = np.asarray(hits, dtype=bool)
    if len(states) < 2:
        raise ArgumentError("a test of independence needs two sessions", where="hits", value=len(states))
    before, after = states[:-1], states[1:]
    n00, n01, n10, n11 = (
        int(np.count_nonzero((before == i) & (after == j))) for i in (False, True) for j in (False, True)
    )

    def fitted(calm: int, exceptions: int) -> float:
        return _log_likelihood(calm, exceptions, exceptions / max(calm + exceptions, 1))

    apart = fitted(n00, n01) + fitted(n10, n11)
    statistic = 2.0 * (apart - fitted(n00 + n10, n01 + n11))
    covered = kupiec(len(states) - 1, n01 + n11, rate).statistic
    return _Independence(
        ((n00, n01), (n10, n11)),
        _tested(statistic, 1, _CRITICAL_1),
        _tested(max(statistic, 0.0) + covered, 2, _CRITICAL_2),
    )


def value_at_risk(pnl: Floats, confidence: float) -> float:
    """Return the loss that P&L falls short of in at most 1 − confidence of equally likely scenarios.

    The smallest loss l with a share of at least ``confidence`` of losses up to it; negative for a book that
    gains even then. Raises ArgumentError when the confidence is not between 0.5 and 1, or the scenarios are
    too few for it.

    >>> value_at_risk(-np.arange(1.0, 101.0), 0.99), value_at_risk(-np.arange(1.0, 101.0), 0.975)
    (99.0, 98.0)
    """
    losses, rank = _ranked(pnl, confidence)
    return float(losses[rank])


def expected_shortfall(pnl: Floats, confidence: float) -> float:
    """Return the mean loss of the worst 1 − confidence of equally likely scenarios.

    The scenario at the value at risk counts with the part of it that lies in the tail (Rockafellar and
    Uryasev 2002, Journal of Banking & Finance 26(7)), so that it is never below the value at risk. Raises
    ArgumentError as :func:`value_at_risk` does.

    >>> expected_shortfall(-np.arange(1.0, 101.0), 0.975)
    99.2
    """
    losses, rank = _ranked(pnl, confidence)
    tail = len(losses) * (1.0 - confidence)
    worse = losses[rank + 1 :]
    return float((worse.sum() + (tail - len(worse)) * losses[rank]) / tail)


def _ranked(pnl: Floats, confidence: float) -> tuple[Floats, int]:
    """Return the losses in order, and the place of the value at risk among them."""
    if not 0.5 <= confidence < 1.0:
        raise ArgumentError(
            "a confidence lies between 0.5 and 1", where="confidence", value=confidence, fix="0.99"
        )
    losses = np.sort(-np.asarray(pnl, dtype=np.float64))
    if len(losses) * (1.0 - confidence) < 1.0 - 1e-9:
        least = math.ceil(1.0 / (1.0 - confidence) - 1e-9)
        raise ArgumentError(
            f"a value at risk of {confidence:.1%} needs {least} scenarios",
            where="scenarios",
            value=len(losses),
            fix="a longer history, or a lower confidence",
        )
    return losses, math.ceil(len(losses) * confidence - 1e-9) - 1


def coverage_of(hits: NDArray[np.bool_], confidence: float) -> dict[str, Any]:
    """Return exceptions of a series of sessions and the tests of them, ready for JSON."""
    rate, count = 1.0 - confidence, int(hits.sum())
    frequency, order = kupiec(len(hits), count, rate), christoffersen(hits, rate)
    within = np.convolve(hits.astype(np.int64), np.ones(_LONGEST_CLUSTER_SESSIONS, dtype=np.int64))
    return {
        "confidence": confidence,
        "sessions": len(hits),
        "exceptions": count,
        "expected": round(rate * len(hits), 2),
        "most_in_10_sessions": int(within.max()),
        "transitions": [list(row) for row in order.transitions],
        "kupiec": _row(frequency, _CRITICAL_1),
        "independence": _row(order.independence, _CRITICAL_1),
        "conditional_coverage": _row(order.conditional_coverage, _CRITICAL_2),
    }


def _row(found: _LikelihoodRatio, critical: float) -> dict[str, Any]:
    return {
        "statistic": round(found.statistic, 4),
        "critical": critical,
        "p_value": round(found.p_value, 6),
        "rejected": found.is_rejected,
    }
