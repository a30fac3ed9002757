"""Several underlyings as one: betas from aligned returns, and a net delta in shares of a reference.

A share of QQQ is not a share of SPY: it moves more, and it costs another price. The beta-weighted delta
counts each holding as the shares of the reference that would lose and gain as much on a move of the
reference.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import ArgumentError, nearest_name

Floats = NDArray[np.float64]
MIN_OBSERVATIONS = 20
PRIOR_BETA = 1.0
PRIOR_STDEV = 0.5
"""How far betas of funds and large shares lie from one another before any is measured."""


class Beta(NamedTuple):
    """How much a symbol moves with the reference."""

    beta: float
    """Shrunk: the measured one where there are many returns, the prior where there are few."""
    measured: float
    stderr: float
    correlation: float
    observations: int


class Holding(NamedTuple):
    """The net delta in one underlying."""

    symbol: str
    delta_shares: float
    spot: float
    """Currency per share."""


def aligned_returns(
    closes: Mapping[str, Mapping[date, float]],
) -> tuple[tuple[date, ...], dict[str, Floats]]:
    """Return log returns over the days that all symbols have, from each common day to the next.

    Parameters
    ----------
    closes
        Close by day (or by any other ordered stamp) of each symbol, currency per share.

    Returns
    -------
    tuple
        The days at which a return ends, and the returns of each symbol, one a day.

    Raises
    ------
    ArgumentError
        When there is no symbol, or a price is not above zero.
    """
    if not closes:
        raise ArgumentError("no prices to align", where="closes", value=0)
    common = sorted(set.intersection(*(set(series) for series in closes.values())))
    returns: dict[str, Floats] = {}
    for symbol, series in closes.items():
        prices = np.array([series[day] for day in common], dtype=np.float64)
        if not bool(np.all(np.isfinite(prices) & (prices > 0.0))):
            raise ArgumentError("a price must be above zero", where=f"closes of {symbol}", value=symbol)
        returns[symbol] = np.diff(np.log(prices))
    return tuple(common[1:]), returns


def estimate_beta(
    returns: Sequence[float] | Floats,
    reference: Sequence[float] | Floats,
    *,
    prior: float = PRIOR_BETA,
    prior_stdev: float = PRIOR_STDEV,
) -> Beta:
    """Return the beta of one series of returns on another, shrunk towards a prior.

    The measured beta is the least-squares slope; its weight is the prior's variance over the sum of
    that and its own squared standard error (Vasicek, *A Note on Using Cross-Sectional Information in
    Bayesian Estimation of Security Betas*, Journal of Finance 28, 1973).

    Parameters
    ----------
    returns, reference
        Aligned returns, oldest first, of equal length.
    prior, prior_stdev
        Beta assumed before anything is measured, and how uncertain that is.

    Raises
    ------
    ArgumentError
        For unequal lengths, fewer than 20 returns, one that is not finite, a reference that does not
        move, or a prior that is none.
    """
    own, ref = np.asarray(returns, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if own.shape != ref.shape or own.ndim != 1:
        raise ArgumentError(
            "returns must be aligned", where="returns, reference", value=(own.shape, ref.shape)
        )
    if len(own) < MIN_OBSERVATIONS:
        raise ArgumentError(
            f"a beta needs {MIN_OBSERVATIONS} returns at least", where="returns", value=len(own)
        )
    if not bool(np.all(np.isfinite(own)) and np.all(np.isfinite(ref))):
        raise ArgumentError("a return must be finite", where="returns, reference", value="NaN")
    if not (math.isfinite(prior) and math.isfinite(prior_stdev) and prior_stdev > 0.0):
        raise ArgumentError("the prior needs a spread above zero", where="prior_stdev", value=prior_stdev)
    count = len(own)
    own_off, ref_off = own - own.mean(), ref - ref.mean()
    ref_squares, own_squares = float(ref_off @ ref_off), float(own_off @ own_off)
    # what rounding leaves of a constant series is no movement
    if ref_squares <= count * (1e-12 * max(float(np.abs(ref).max()), 1e-12)) ** 2:
        raise ArgumentError("the reference does not move", where="reference", value=ref_squares)
    both = float(own_off @ ref_off)
    measured = both / ref_squares
    unexplained = max(own_squares - measured * both, 0.0)
    stderr = math.sqrt(unexplained / (count - 2) / ref_squares)
    weight = prior_stdev**2 / (prior_stdev**2 + stderr**2)
    scale = math.sqrt(own_squares * ref_squares)
    correlation = min(max(both / scale, -1.0), 1.0) if scale > 0.0 else 0.0
    return Beta(weight * measured + (1.0 - weight) * prior, measured, stderr, correlation, count)


def estimate_betas(
    closes: Mapping[str, Mapping[date, float]], reference: str, **prior: float
) -> dict[str, Beta]:
    """Return the beta of each symbol on ``reference``, over the days that all of them have.

    Raises
    ------
    ArgumentError
        When the reference is not among the symbols, and as :func:`estimate_beta`.
    """
    if reference not in closes:
        raise ArgumentError(
            "no prices of the reference",
            where="reference",
            value=reference,
            nearest=nearest_name(reference, closes),
        )
    _, returns = aligned_returns(closes)
    against = returns[reference]
    found = {symbol: estimate_beta(own, against, **prior) for symbol, own in returns.items()}
    # of itself nothing is estimated
    found[reference] = Beta(1.0, 1.0, 0.0, 1.0, len(against))
    return found


def beta_weighted_delta(
    holdings: Iterable[Holding], betas: Mapping[str, float], reference_spot: float
) -> float:
    """Return the net delta of all holdings in shares of the reference: Σ β·Δ·S / S_ref.

    Parameters
    ----------
    holdings
        Net delta in shares and price of each underlying.
    betas
        Beta on the reference, by symbol; the reference's own is 1.
    reference_spot
        Price of the reference, currency per share.

    Raises
    ------
    ArgumentError
        When a symbol has no beta, or a figure is not finite: an unknown delta is no zero.

    Examples
    --------
    >>> beta_weighted_delta([Holding("SPY", 100.0, 600.0), Holding("QQQ", -80.0, 500.0)],
    ...                     {"SPY": 1.0, "QQQ": 1.2}, 600.0)
    20.0
    """
    if not (math.isfinite(reference_spot) and reference_spot > 0.0):
        raise ArgumentError("a price must be above zero", where="reference_spot", value=reference_spot)
    total = 0.0
    for one in holdings:
        if one.symbol not in betas:
            raise ArgumentError(
                "no beta for this symbol",
                where="betas",
                value=one.symbol,
                nearest=nearest_name(one.symbol, betas),
                fix="estimate it from returns aligned with the reference's, or hold it apart",
            )
        part = betas[one.symbol] * one.delta_shares * one.spot / reference_spot
        if not math.isfinite(part):
            raise ArgumentError("an unknown delta cannot be added up", where=one.symbol, value=part)
        total += part
    return total
