"""The Zakamouline band: a fit to the numerically solved optimum of who sold a call, at costs about 1 %."""

from typing import ClassVar

import msgspec
import numpy as np

from scalpdesk.hedging.bands.whalley_wilmott import whalley_wilmott_band
from scalpdesk.hedging.base import (
    Array,
    AversionBand,
    AversionColumns,
    HedgeInputs,
    Numbers,
    refuse_below,
)
from scalpdesk.hedging.kernels.columns import raise_to_limit
from scalpdesk.hedging.kernels.rules import no_narrower_than_limit


class ZakamoulineTerms(msgspec.Struct, frozen=True):
    """The parts of the Zakamouline strategy."""

    h0: Numbers
    """Half width that stays where gamma is zero."""
    h1: Numbers
    """Half width that comes with gamma."""
    band: Numbers
    """``h0 + h1``."""
    variance_shift: Numbers
    """K of the modified variance ``σ²(1 + K)``; its sign differs between papers, so it informs only."""
    modified_vol: Numbers
    """``σ·√(1 + K)``, NaN where ``1 + K`` is negative."""


def zakamouline_terms(
    gamma: Numbers,
    spot: Numbers,
    years: Numbers,
    vol: Numbers,
    cost_fraction: Numbers,
    risk_aversion: Numbers,
    *,
    rate: Numbers = 0.0,
) -> ZakamoulineTerms:
    """Both parts of the Zakamouline band and the modified volatility.

    ``H0 = λ / (a·S·σ²·τ)``, ``H1 = 1.12·λ^0.31·τ^0.05·(e^(−rτ)/σ)^0.25·(|Γ|/a)^0.5``,
    ``K = −4.76·λ^0.78·τ^−0.02·(e^(−rτ)/σ)^0.25·(a·S²·|Γ|)^0.15``.

    ``gamma``: Units of the underlying per USD; a position's gamma gives shares of the position (H1 grows with
    size to the power 1/2).
    ``spot``, ``years``, ``vol``, ``risk_aversion``: Each above 0: USD per share, years to expiry, per year,
    1/USD.
    ``cost_fraction``: λ, one-way proportional cost, 0 or more.
    ``rate``: Continuous rate per year.
    Raises ArgumentError when an argument is not finite or out of its range.

    References
    ----------
    Zakamouline, V. (2006), Efficient analytic approximation of the optimal hedging strategy for a
    European call option with transaction costs, Quantitative Finance 6(5), 435-445.
    """
    refuse_below(0.0, strict=True, spot=spot, years=years, vol=vol, risk_aversion=risk_aversion)
    gamma_size = np.abs(gamma)
    refuse_below(0.0, strict=False, cost_fraction=cost_fraction, gamma=gamma_size)
    over_vol = (np.exp(-np.multiply(rate, years)) / vol) ** 0.25
    h0 = cost_fraction / (risk_aversion * spot * np.square(vol) * years)
    h1 = (
        1.12
        * np.power(cost_fraction, 0.31)
        * np.power(years, 0.05)
        * over_vol
        * np.sqrt(gamma_size / risk_aversion)
    )
    shift = (
        -4.76
        * np.power(cost_fraction, 0.78)
        * np.power(years, -0.02)
        * over_vol
        * np.power(risk_aversion * np.square(spot) * gamma_size, 0.15)
    )
    with np.errstate(invalid="ignore"):
        modified = vol * np.sqrt(1.0 + shift)
    return ZakamoulineTerms(_plain(h0), _plain(h1), _plain(h0 + h1), _plain(shift), _plain(modified))


def _plain(value: Numbers) -> Numbers:
    return value if isinstance(value, np.ndarray) and value.ndim else float(value)


def zakamouline_band(
    gamma: Numbers,
    spot: Numbers,
    years: Numbers,
    vol: Numbers,
    cost_fraction: Numbers,
    risk_aversion: Numbers,
    *,
    rate: Numbers = 0.0,
) -> Numbers:
    """Half width ``H0 + H1`` of the Zakamouline band; see :func:`zakamouline_terms` for the arguments.

    Raises ArgumentError when an argument is not finite or out of its range.

    >>> round(zakamouline_band(0.02, 5000.0, 0.25, 0.2, 0.0005, 1.0), 7)
    0.0209537
    """
    return zakamouline_terms(gamma, spot, years, vol, cost_fraction, risk_aversion, rate=rate).band


class ZakamoulineBand(AversionBand):
    """No trade inside the Zakamouline band of the whole position; back to its edge beyond it.

    The paper fits a sold call at costs about 1 %: at a share's it is a third of the optimum, and the buyer's
    optimum is wider than the seller's. So the band is no narrower than Whalley and Wilmott's, which is the
    optimum as costs vanish, times ``1 + 2x`` when long gamma and over it when short, where
    ``x = λ·√(a·S²·|Γ|)`` is the number of Barles and Soner (1998). Within 10 % of the solved optimum at the
    paper's example (``tests/hedging/test_bands_optimal.py``). The delta is the caller's own: the paper's
    modified volatility is not applied.
    """

    name: ClassVar[str] = "zakamouline"
    title: ClassVar[str] = "Zakamouline"

    def half_width(self, inputs: HedgeInputs) -> tuple[float, str]:
        """Return the band of the position's gamma; the vol must be above zero."""
        gamma, spot, cost = inputs.gamma_shares_per_usd, inputs.spot, inputs.own_cost_fraction
        aversion, rate = self.config.risk_aversion, inputs.rate
        fitted = zakamouline_band(gamma, spot, inputs.years, inputs.vol, cost, aversion, rate=rate)
        limit = whalley_wilmott_band(gamma, spot, inputs.years, cost, aversion, rate=rate)
        width = no_narrower_than_limit(float(fitted), float(limit), gamma, spot, cost, aversion)
        return width, f"vol {inputs.vol:.4g}, "

    def widths(self, inputs: AversionColumns) -> Array:
        """Return the band at each row of columns, to the last digit that of ``half_width``."""
        gamma, spot, years, vol, cost, rate = np.broadcast_arrays(*inputs)
        aversion = self.config.risk_aversion
        found = np.array(zakamouline_band(gamma, spot, years, vol, cost, aversion, rate=rate))
        limit = np.asarray(whalley_wilmott_band(gamma, spot, years, cost, aversion, rate=rate))
        raise_to_limit(found.ravel(), limit.ravel(), gamma.ravel(), spot.ravel(), cost.ravel(), aversion)
        return found


PLUG = ZakamoulineBand
