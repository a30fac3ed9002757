"""Interpolated par yields, and forwards implied by put-call parity."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scalpdesk.core.errors import ArgumentError


def parity_implied_forward(
    strike: ArrayLike,
    call_bid: ArrayLike,
    call_ask: ArrayLike,
    put_bid: ArrayLike,
    put_ask: ArrayLike,
    discount_factor: ArrayLike = 1.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the forward implied by a call and a put of one strike and expiry, and its uncertainty.

    European put-call parity, Stoll (1969), "The relationship between put and call option prices",
    Journal of Finance 24. For American options early exercise widens it to an inequality.

    ``strike``, ``call_bid``, ``call_ask``, ``put_bid``, ``put_ask``: Arrays of one shape (or broadcast to
    one), in currency per unit of the underlying. NaN where a side is missing: the result is NaN there.
    ``discount_factor``: Present value of one unit of currency at expiry; 1 (no discounting) is right within a
    tick for options that expire within days.

    Returns ``K + (mid(C) - mid(P)) / DF`` and the half-width of the band that the two spreads leave,
    ``(half-spread(C) + half-spread(P)) / DF``; both in currency per unit.

    Raises ArgumentError when a discount factor is not positive.

    >>> forward, uncertainty = parity_implied_forward(3700.0, 65.0, 67.0, 0.5, 0.5)
    >>> float(forward), float(uncertainty)
    (3765.5, 1.0)
    """
    discount = np.asarray(discount_factor, dtype=np.float64)
    if not bool(np.all(discount > 0.0)):
        raise ArgumentError("a discount factor must be above 0", where="discount_factor")
    strikes = np.asarray(strike, dtype=np.float64)
    sides = [np.asarray(side, dtype=np.float64) for side in (call_bid, call_ask, put_bid, put_ask)]
    c_bid, c_ask, p_bid, p_ask = sides
    forward = strikes + ((c_bid + c_ask) / 2.0 - (p_bid + p_ask) / 2.0) / discount
    uncertainty = ((c_ask - c_bid) / 2.0 + (p_ask - p_bid) / 2.0) / discount
    return forward, uncertainty


@dataclass(frozen=True, slots=True)
class ParityLevels:
    """Underlying levels implied by option pairs, one row an instant, sorted by ``ts_ns``."""

    ts_ns: NDArray[np.int64]
    """UTC nanoseconds."""
    strike: NDArray[np.float64]
    """Strike of the pair with the tightest spreads at that instant."""
    level: NDArray[np.float64]
    uncertainty: NDArray[np.float64]
    """Half-width of the band around ``level`` from the pair's spreads, in the same unit."""

    def __len__(self) -> int:
        return len(self.ts_ns)


def tightest_parity_levels(
    ts_ns: NDArray[np.int64],
    strike: NDArray[np.float64],
    forward: NDArray[np.float64],
    uncertainty: NDArray[np.float64],
) -> ParityLevels:
    """Select, for every instant, the pair with the smallest combined half-spread.

    Ties go to the lower strike. An instant without a complete pair (its forward is NaN) has no level.
    """
    whole = np.isfinite(forward) & np.isfinite(uncertainty)
    ts, strikes, levels, widths = ts_ns[whole], strike[whole], forward[whole], uncertainty[whole]
    order = np.lexsort((strikes, widths, ts))
    ts = ts[order]
    first = np.ones(len(ts), dtype=np.bool_)
    first[1:] = ts[1:] != ts[:-1]
    chosen = order[first]
    return ParityLevels(ts[first], strikes[chosen], levels[chosen], widths[chosen])
