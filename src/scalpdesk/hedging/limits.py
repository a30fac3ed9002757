"""Floors and caps for bands that come out of a formula.

An optimal-control formula knows nothing of whole shares, of a cost estimate of zero or of the last
hour. These limits keep its answer tradable; the fixed band is the operator's own number and has none.
"""

import msgspec

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.units import SECONDS_PER_YEAR
from scalpdesk.hedging.base import BandVerdict, HedgeInputs, RehedgeTo, positive, verdict_of_width

ONE_HOUR_YEARS = 3600.0 / SECONDS_PER_YEAR
"""ACT/365 years in one hour; below it the formulas diverge and the fixed band takes over."""


class WidthLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits on a computed half width; the config of every formula band begins with them.

    Parameters
    ----------
    floor_shares_per_straddle
        Never narrower: half a share is what rounding can still act on.
    cap_fraction
        Never wider than this part of ``multiplier × straddles``.
    last_hour_shares_per_straddle
        Fixed half width once less than one trading hour is left; beyond it the delta goes to zero.
    """

    floor_shares_per_straddle: float = 0.5
    cap_fraction: float = 0.25
    last_hour_shares_per_straddle: float = 2.0

    def __post_init__(self) -> None:
        positive("floor_shares_per_straddle", self.floor_shares_per_straddle, zero_allowed=True)
        positive("cap_fraction", self.cap_fraction)
        positive("last_hour_shares_per_straddle", self.last_hour_shares_per_straddle, zero_allowed=True)
        if self.cap_fraction > 1.0:
            raise ConfigError(
                "a band wider than the whole position never hedges",
                where="cap_fraction",
                value=self.cap_fraction,
                fix="use a number in (0, 1]; 0.25 is the default",
            )


def limited(half_width: float, inputs: HedgeInputs, limits: WidthLimits) -> tuple[float, str]:
    """Hold a half width (shares, whole position) within the limits; the second value says which one bit."""
    floor = limits.floor_shares_per_straddle * inputs.straddles
    cap = limits.cap_fraction * inputs.multiplier * inputs.straddles
    if half_width > cap:
        return cap, f", capped from {half_width:.2f}"
    if half_width < floor:
        return floor, f", raised from {half_width:.2f}"
    return half_width, ""


def last_hour_verdict(inputs: HedgeInputs, limits: WidthLimits) -> BandVerdict | None:
    """Return the fixed band's verdict when less than one trading hour is left, else None."""
    if inputs.years >= ONE_HOUR_YEARS:
        return None
    seconds = inputs.years * SECONDS_PER_YEAR
    width = limits.last_hour_shares_per_straddle * inputs.straddles
    rehedge_to: RehedgeTo = "zero"
    return verdict_of_width(
        inputs, width, rehedge_to, f"fixed band of the last hour, {seconds:.0f} s to expiry"
    )
