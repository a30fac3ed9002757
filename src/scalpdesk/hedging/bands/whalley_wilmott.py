"""The Whalley–Wilmott band: optimal for small proportional costs under exponential utility."""

from typing import ClassVar, overload

import numpy as np

from scalpdesk.hedging.base import (
    Array,
    BandVerdict,
    HedgeInputs,
    Numbers,
    RehedgeTo,
    WidthLimits,
    check_inputs,
    last_hour_verdict,
    limited,
    positive,
    refuse_below,
    verdict_of_width,
)


@overload
def whalley_wilmott_band(
    gamma: float, spot: float, years: float, cost_fraction: float, risk_aversion: float, *, rate: float = 0.0
) -> float: ...
@overload
def whalley_wilmott_band(
    gamma: Numbers,
    spot: Numbers,
    years: Numbers,
    cost_fraction: Numbers,
    risk_aversion: Numbers,
    *,
    rate: Numbers = 0.0,
) -> Numbers: ...
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

    Parameters
    ----------
    gamma
        Gamma, units of the underlying per USD. The band comes in the same units: per-share gamma
        gives shares per share of option, a position's gamma gives shares of the position (the band
        grows with size to the power 2/3, so a per-share band must not be multiplied up).
    spot
        USD per share, above 0.
    years
        Years to expiry, 0 or more.
    cost_fraction
        λ, one-way proportional cost of trading the underlying, 0 or more.
    risk_aversion
        a, absolute risk aversion in 1/USD, above 0.
    rate
        Continuous rate per year.

    Returns
    -------
    float or ndarray
        Half width; arrays broadcast. 0 where gamma or the cost is 0.

    Raises
    ------
    ArgumentError
        When an argument is not finite or out of its range.

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
    cubed = 1.5 * np.exp(-np.multiply(rate, years)) * cost_fraction * spot * np.square(gamma) / risk_aversion
    width: Array = np.cbrt(cubed)
    return width if np.ndim(width) else float(width)


class WhalleyWilmottConfig(WidthLimits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the Whalley–Wilmott band.

    Parameters
    ----------
    risk_aversion
        Absolute risk aversion, 1/USD; smaller means wider. 0.001 gives some three shares for one
        SPY straddle (gamma 2 shares/USD) at a cost of 0.1 basis point.
    rehedge_to
        ``edge`` (the theory) or ``zero``.
    floor_shares_per_straddle, cap_fraction, last_hour_shares_per_straddle
        As in :class:`scalpdesk.hedging.base.WidthLimits`.
    """

    risk_aversion: float = 0.001
    rehedge_to: RehedgeTo = "edge"

    def __post_init__(self) -> None:
        WidthLimits.__post_init__(self)
        positive("risk_aversion", self.risk_aversion)


class WhalleyWilmottBand:
    """No trade inside the Whalley–Wilmott band of the whole position; back to its edge beyond it."""

    name: ClassVar[str] = "whalley_wilmott"
    Config = WhalleyWilmottConfig

    def __init__(self, config: WhalleyWilmottConfig | None = None) -> None:
        self.config = WhalleyWilmottConfig() if config is None else config
        self.rehedge_to: RehedgeTo = self.config.rehedge_to

    def judge(self, inputs: HedgeInputs) -> BandVerdict:
        """Return the verdict of the band at the position's gamma, within the limits."""
        check_inputs(inputs)
        config = self.config
        last_hour = last_hour_verdict(inputs, config)
        if last_hour is not None:
            return last_hour
        raw = whalley_wilmott_band(
            inputs.gamma_shares_per_usd,
            inputs.spot,
            inputs.years,
            inputs.own_cost_fraction,
            config.risk_aversion,
            rate=inputs.rate,
        )
        width, bitten = limited(raw, inputs, config)
        why = (
            f"Whalley–Wilmott, gamma {inputs.gamma_shares_per_usd:.3g} shares/USD, spot {inputs.spot:.2f}, "
            f"cost {inputs.own_cost_fraction * 1e4:.3g} bp, aversion {config.risk_aversion:g}/USD{bitten}"
        )
        return verdict_of_width(inputs, width, config.rehedge_to, why)


PLUG = WhalleyWilmottBand
