"""What every hedge band is asked and what it answers.

A band decides *when* to hedge and *where to* bring the net delta. How many shares that takes is
:mod:`scalpdesk.hedging.orders_for_delta`'s business; sending them is the strategy's.
"""

import math
from typing import ClassVar, Literal, Protocol

import msgspec

from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.core.units import exceeds

RehedgeTo = Literal["edge", "zero"]
"""Where a delta outside the band is brought: to the nearer edge of the band, or to zero."""


class HedgeInputs(msgspec.Struct, frozen=True):
    """What a band sees of one position at one moment.

    Parameters
    ----------
    net_delta_shares
        Options plus shares owned plus shares in flight, signed, whole position.
    gamma_shares_per_usd
        Gamma of the options, whole position: shares of delta gained per 1 USD of spot.
    spot
        Price of the underlying, USD per share.
    years
        ACT/365 years to the option's close.
    vol
        Volatility at which the position is hedged, per year (0.20 is 20 %).
    rate
        Continuous rate, per year.
    straddles
        Number of straddles held, 1 or more.
    multiplier
        Units of the underlying in one contract.
    seconds_since_hedge
        Trading seconds since the last hedge (or since entry when there was none).
    own_cost_fraction
        One-way proportional cost of trading the underlying: (half spread + fees) / spot.
    """

    net_delta_shares: float
    gamma_shares_per_usd: float
    spot: float
    years: float
    vol: float
    rate: float
    straddles: int
    multiplier: int
    seconds_since_hedge: float
    own_cost_fraction: float


class BandVerdict(msgspec.Struct, frozen=True):
    """What a band answers.

    Parameters
    ----------
    half_width_shares
        Half the width of the no-trade zone, whole position; ``inf`` while the clock alone forbids a hedge.
    target_delta_shares
        Net delta to aim at: the present one while ``inside``, else the band's edge or zero.
    inside
        Whether nothing is to be done.
    reason
        The verdict in plain words, with its numbers.
    """

    half_width_shares: float
    target_delta_shares: float
    inside: bool
    reason: str


class HedgeBand(Protocol):
    """When to hedge, and how far. One band, one module of :mod:`scalpdesk.hedging.bands`."""

    name: ClassVar[str]

    def judge(self, inputs: HedgeInputs) -> BandVerdict:
        """Return whether the net delta may stay, and where to bring it when it may not."""
        ...


def check_inputs(inputs: HedgeInputs) -> None:
    """Refuse inputs on which no band can judge; a NaN delta must never pass for "inside".

    Raises
    ------
    ArgumentError
        When a number is not finite, the spot is not positive, the cost, the time or the vol is
        negative, or there is no straddle.
    """
    one = inputs
    total = one.net_delta_shares + one.gamma_shares_per_usd + one.rate + one.seconds_since_hedge
    if (  # nearly always; a sum of finite numbers and one that is not is not finite
        math.isfinite(total + one.spot + one.years + one.vol + one.own_cost_fraction)
        and one.spot > 0.0
        and min(one.years, one.vol, one.own_cost_fraction) >= 0.0
        and min(one.straddles, one.multiplier) >= 1
    ):
        return
    for field in (
        "net_delta_shares",
        "gamma_shares_per_usd",
        "spot",
        "years",
        "vol",
        "rate",
        "own_cost_fraction",
        "seconds_since_hedge",
    ):
        value = getattr(inputs, field)
        if not math.isfinite(value):
            raise ArgumentError(
                "a hedge band needs finite numbers",
                where=field,
                value=value,
                fix="skip the decision until the Greeks are known",
            )
    for field, lowest, strict in (
        ("spot", 0.0, True),
        ("years", 0.0, False),
        ("vol", 0.0, False),
        ("own_cost_fraction", 0.0, False),
        ("straddles", 1, False),
        ("multiplier", 1, False),
    ):
        value = getattr(inputs, field)
        if value < lowest or (strict and value == lowest):
            bound = "above" if strict else "at least"
            raise ArgumentError(f"{field} must be {bound} {lowest:g}", where=field, value=value)


def positive(key: str, value: float, *, zero_allowed: bool = False) -> None:
    """Refuse a band's setting that is not a finite number above zero (or zero, where that means something).

    Raises
    ------
    ConfigError
        Naming the key and the value.
    """
    if math.isfinite(value) and (value > 0.0 or (zero_allowed and value == 0.0)):
        return
    bound = "zero or more" if zero_allowed else "above zero"
    raise ConfigError(f"{key} must be a finite number, {bound}", where=key, value=value)


def verdict_of_width(inputs: HedgeInputs, half_width: float, rehedge_to: RehedgeTo, why: str) -> BandVerdict:
    """Judge the net delta against a half width: at the edge is still inside.

    Parameters
    ----------
    inputs
        The position.
    half_width
        Shares, whole position.
    rehedge_to
        Where a delta outside goes.
    why
        Where the width comes from, in words; becomes part of the reason.
    """
    net = inputs.net_delta_shares
    if not exceeds(abs(net), half_width):
        reason = f"net delta {net:+.2f} shares is within ±{half_width:.2f} ({why}): no hedge"
        return BandVerdict(half_width, net, inside=True, reason=reason)
    target = math.copysign(half_width, net) if rehedge_to == "edge" else 0.0
    reason = f"net delta {net:+.2f} shares is beyond ±{half_width:.2f} ({why}): hedge to {target:+.2f}"
    return BandVerdict(half_width, target, inside=False, reason=reason)
