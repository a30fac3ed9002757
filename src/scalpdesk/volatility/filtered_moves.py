"""Historical moves scaled to the volatility of today: EWMA and GARCH filters, and the EWMA correlation.

A move of a calm year says little of a wild day. The filter divides each move by the volatility that was
known before it, and multiplies it by the volatility known now (Hull and White 1998, Journal of Risk 1(1);
Barone-Adesi, Giannopoulos and Vosper 1999, Journal of Futures Markets 19).
"""

import math

import numpy as np

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import DAYS_PER_YEAR
from scalpdesk.volatility.garch import estimate_garch
from scalpdesk.volatility.ohlc import Array

FILTERS = ("ewma", "garch", "gjr")
_EWMA_DECAY = 0.94
_WEIGHT_DAYS = 30.0
"""Expiry whose volatility is the one that a weighted vega is for, days."""
"""Weight of yesterday's variance for daily moves: RiskMetrics Technical Document (J.P. Morgan 1996)."""
SEED_MOVES = 30
"""First moves, whose mean square starts the EWMA; they are no scenarios, as they know their own variance."""


def ewma_variances(moves: Array, decay: float = _EWMA_DECAY) -> Array:
    """Return the variance of each move as known before it, and of the one after the last.

    ``v(t+1) = λ·v(t) + (1 − λ)·r(t)²`` about a mean of zero, from the mean square of the first
    :data:`SEED_MOVES` on.

    ``moves``: Moves of equal intervals, oldest first.
    ``decay``: λ, between 0 and 1.
    ``ndarray``: Shape ``(len(moves) + 1,)``, per interval.

    Raises ArgumentError when λ is out of its range, or there are no moves.

    >>> [round(float(v), 6) for v in ewma_variances(np.array([0.01, -0.02]), decay=0.9)]
    [0.00025, 0.000235, 0.000251]
    """
    if not 0.0 < decay < 1.0:
        raise ArgumentError(
            "the decay of an EWMA lies between 0 and 1", where="decay", value=decay, fix="0.94"
        )
    if not len(moves):
        raise ArgumentError("an EWMA needs a move", where="moves", value=0)
    squares = np.square(np.asarray(moves, dtype=np.float64))
    variance = float(squares[:SEED_MOVES].mean())
    found = [variance]
    for square in squares.tolist():
        variance = decay * variance + (1.0 - decay) * square
        found.append(variance)
    return np.array(found)


def conditional_variances(moves: Array, model: str) -> Array:
    """Return the variances of :func:`ewma_variances`, or those of a GARCH or GJR fitted to all of the moves.

    Raises ArgumentError for an unknown filter, or moves that no GARCH can be fitted to.
    """
    if model == "ewma":
        return ewma_variances(moves)
    if model not in FILTERS:
        raise ArgumentError("unknown filter", where="filter", value=model, fix=f"use {' or '.join(FILTERS)}")
    process = estimate_garch(np.asarray(moves, dtype=np.float64), model)
    if isinstance(process, str):
        raise ArgumentError(f"no filter: {process}", where="filter", value=model, fix="use ewma")
    return process.next_variances(np.asarray(moves, dtype=np.float64))


def filtered_moves(moves: Array, variances: Array) -> Array:
    """Return each move times the volatility of now over that of its own day.

    ``moves``: Oldest first, shape ``(days,)``.
    ``variances``: Variance of each as known before it and, last, that of now: shape ``(days + 1,)``.

    Raises ArgumentError when a variance is not above 0, or the shapes do not fit.
    """
    if len(variances) != len(moves) + 1 or not bool(np.all(variances > 0.0)):
        raise ArgumentError(
            "a filter needs a variance above 0 for each move and one for now",
            where="variances",
            value=f"{len(variances)} of {len(moves)} moves, the least {float(np.min(variances)):g}",
        )
    return np.asarray(moves * np.sqrt(variances[-1] / variances[:-1]))


def ewma_correlation(moves: Array, decay: float = _EWMA_DECAY) -> Array:
    """Return the correlation of columns of moves with weights that fall by ``decay`` a day, mean zero.

    ``moves``: Shape ``(days, series)``, oldest first; a row holds the moves of one day.
    ``decay``: λ, between 0 and 1.

    >>> float(ewma_correlation(np.array([[0.01, 0.02], [-0.01, -0.02]]))[0, 1])
    1.0
    """
    weights = decay ** np.arange(len(moves) - 1, -1, -1.0)
    products = (moves * weights[:, None]).T @ moves
    deviations = np.sqrt(np.diag(products))
    return np.asarray(products / np.outer(deviations, deviations))


def vega_weight(years: float) -> float:
    """Return how many points the volatility of an expiry moves for one of 30 days, the root of 30 / days.

    Vegas of several expiries are a sum of like things only with it: a short expiry moves by more points than
    a long one. Within the last day it is that of a day. A prior (Taleb 1997, *Dynamic Hedging*, chapter 9).

    ``years``: Calendar years to expiry.

    >>> [round(vega_weight(days / 365), 2) for days in (0.2, 1, 7, 30, 90, 365)]
    [5.48, 5.48, 2.07, 1.0, 0.58, 0.29]
    """
    return math.sqrt(_WEIGHT_DAYS / max(years * DAYS_PER_YEAR, 1.0))


def term_loading(years: float, reversion_per_year: float, years_of_index: float = 30.0 / 365.0) -> float:
    """Return the change of an option's log volatility for that of the 30-day volatility index.

    Variance that reverts at κ a year to its long run has a mean over T years that moves by
    (1 − e^−κT)/(κT) of a shock to it: a short option moves more than the index, a long one less
    (Stein 1989, Journal of Finance 44, equation 6, in continuous time).

    >>> [round(term_loading(days / 365, 12.0), 2) for days in (1, 7, 30, 90, 365)]
    [1.55, 1.41, 1.0, 0.5, 0.13]
    """

    def mean_response(span: float) -> float:
        x = reversion_per_year * max(span, 0.0)
        return 1.0 if x < 1e-9 else -math.expm1(-x) / x

    return mean_response(years) / mean_response(years_of_index)
