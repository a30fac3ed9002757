"""The Whalley–Wilmott band: optimal for small proportional costs under exponential utility."""

from typing import ClassVar

import numpy as np

from scalpdesk.hedging.base import AversionBand, AversionColumns, HedgeInputs, Numbers, refuse_below


def whalley_wilmott_band(
    gamma: Numbers,
    spot: Numbers,
    years: Numbers,
    cost_fraction: Numbers,
    risk_aversion: Numbers,
    *,
    rate: Numbers = 0.0,
) -> Numbers:
    """Half width of the Whalley–Wilmott no-trade band.

    ``H = (3/2 · e^(−r·τ) · λ · S · Γ² / a)^(1/3)``

    ``gamma``: Gamma, units of the underlying per USD. The band comes in the same units: per-share gamma gives
    shares per share of option, a position's gamma gives shares of the position (the band grows with size to
    the power 2/3, so a per-share band must not be multiplied up).
    ``spot``: USD per share, above 0.
    ``years``: Years to expiry, 0 or more.
    ``cost_fraction``: λ, one-way proportional cost of trading the underlying, 0 or more.
    ``risk_aversion``: a, absolute risk aversion in 1/USD, above 0.
    ``rate``: Continuous rate per year.
    Returns half width; arrays broadcast. 0 where gamma or the cost is 0. Raises ArgumentError when an
    argument is not finite or out of its range.

    References
    ----------
    Whalley, A. E. and Wilmott, P. (1997), An asymptotic analysis of an optimal hedging model for
    option pricing with transaction costs, Mathematical Finance 7(3), 307-324.

    Examples
    --------
    >>> round(whalley_wilmott_band(0.02, 5000.0, 0.25, 0.0005, 1.0), 6)
    0.114471
    """
    refuse_below(0.0, strict=True, spot=spot, risk_aversion=risk_aversion)
    refuse_below(0.0, strict=False, years=years, cost_fraction=cost_fraction, gamma=np.abs(gamma))
    # numpy's own functions of single numbers too: those of Python differ from them in the last digit
    return _width_of_discount(gamma, spot, cost_fraction, risk_aversion, np.exp(-(rate * years)))


def _width_of_discount(
    gamma: Numbers, spot: Numbers, cost_fraction: Numbers, risk_aversion: Numbers, discount: Numbers
) -> Numbers:
    """Return the half width at a known discount ``e^(−r·τ)``, of numbers that were checked before."""
    cubed: Numbers = 1.5 * discount * cost_fraction * spot * (gamma * gamma) / risk_aversion
    return float(np.cbrt(cubed)) if isinstance(cubed, float) else np.cbrt(cubed)


class WhalleyWilmottBand(AversionBand):
    """No trade inside the Whalley–Wilmott band of the whole position; back to its edge beyond it."""

    name: ClassVar[str] = "whalley_wilmott"
    title: ClassVar[str] = "Whalley–Wilmott"

    def half_width(self, inputs: HedgeInputs) -> tuple[float, str]:
        """Return the band of the position's gamma; the inputs were checked by ``judge``."""
        width = _width_of_discount(
            inputs.gamma_shares_per_usd,
            inputs.spot,
            inputs.own_cost_fraction,
            self.config.risk_aversion,
            float(np.exp(-(inputs.rate * inputs.years))),  # a number of Python costs a third of numpy's
        )
        return float(width), ""

    def widths(self, inputs: AversionColumns) -> Numbers:
        """Return the band at each row of columns, to the last digit that of ``half_width``."""
        discount = np.exp(-(inputs.rate * inputs.years))
        aversion = self.config.risk_aversion
        return _width_of_discount(inputs.gamma, inputs.spot, inputs.cost_fraction, aversion, discount)


PLUG = WhalleyWilmottBand
