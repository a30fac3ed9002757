"""Leland's hedging: spaced times, and a volatility that carries the cost."""

import math
from typing import Annotated, ClassVar

from scalpdesk.core.bounds import BoundedSettings, above
from scalpdesk.core.errors import ConfigError
from scalpdesk.hedging.bands.time_based import quiet_of_clock, verdict_of_clock
from scalpdesk.hedging.base import BandVerdict, HedgeInputs, QuietBand, check_inputs, refuse_below
from scalpdesk.hedging.kernels.rules import between, leland_interval


def leland_number(cost_fraction: float, vol: float, interval_years: float) -> float:
    """Leland number: the hedging cost of one interval as a part of its variance.

    ``Le = √(8/π) · λ / (σ·√dt)``

    ``cost_fraction``: λ, half the proportional cost of a round trip, 0 or more.
    ``vol``: Per year, above 0.
    ``interval_years``: Years between hedges, above 0.
    Raises ArgumentError when an argument is not finite or out of its range.

    References
    ----------
    Leland, H. E. (1985), Option pricing and replication with transactions costs, Journal of Finance
    40(5), 1283-1301; Hoggard, Whalley and Wilmott (1994) for positions of either sign.

    Examples
    --------
    >>> round(leland_number(0.0005, 0.2, 1 / 252), 6)
    0.06333
    """
    refuse_below(0.0, strict=False, cost_fraction=cost_fraction)
    refuse_below(0.0, strict=True, vol=vol, interval_years=interval_years)
    return math.sqrt(8.0 / math.pi) * cost_fraction / (vol * math.sqrt(interval_years))


def leland_interval_years(cost_fraction: float, vol: float, number: float) -> float:
    """Years between hedges at which the Leland number is ``number`` (the inverse of :func:`leland_number`).

    Raises ArgumentError when an argument is not finite or out of its range.
    """
    refuse_below(0.0, strict=False, cost_fraction=cost_fraction)
    refuse_below(0.0, strict=True, vol=vol, number=number)
    return leland_interval(cost_fraction, vol, number)


def leland_vol(cost_fraction: float, vol: float, interval_years: float, *, long_gamma: bool) -> float | None:
    """Volatility at which to hedge: ``σ·√(1 − Le)`` when long gamma, ``σ·√(1 + Le)`` when short.

    None when long gamma at ``Le ≥ 1``: the costs eat all the variance, no such interval is valid.
    Raises ArgumentError as :func:`leland_number` does.
    """
    number = leland_number(cost_fraction, vol, interval_years)
    if not long_gamma:
        return vol * math.sqrt(1.0 + number)
    return vol * math.sqrt(1.0 - number) if number < 1.0 else None


class LelandConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True):
    """Settings of Leland's hedging."""

    number: Annotated[float, above(0, math.inf, "a number below 1")] = 0.1
    """The Leland number to keep to, in (0, 1): the part of the variance given to costs. Sets the interval
    between hedges.
    """
    shortest_seconds: Annotated[float, above(0, math.inf, "seconds")] = 60.0
    longest_seconds: Annotated[float, above(0, math.inf, "seconds")] = 23_400.0
    """``shortest_seconds``, ``longest_seconds``: Bounds on that interval, in trading seconds; the default
    longest is one session.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.number >= 1.0:
            raise ConfigError(
                "at a Leland number of 1 the costs eat all the variance",
                where="number",
                value=self.number,
                fix="use a number below 1; 0.1 is the default",
            )
        if self.shortest_seconds > self.longest_seconds:
            raise ConfigError(
                "the shortest interval is longer than the longest",
                where="shortest_seconds",
                value=self.shortest_seconds,
                fix=f"use at most longest_seconds = {self.longest_seconds:g}",
            )


class LelandBand:
    """Hedge to zero at the times that the Leland number allows; :meth:`delta_vol` is the vol to hedge at."""

    name: ClassVar[str] = "leland"
    Config = LelandConfig

    def __init__(self, config: LelandConfig | None = None) -> None:
        self.config = LelandConfig() if config is None else config

    def interval_seconds(self, inputs: HedgeInputs) -> float:
        """Trading seconds between hedges at the position's cost and vol, within the bounds."""
        config = self.config
        if inputs.vol <= 0.0:
            return config.longest_seconds
        years = leland_interval_years(inputs.own_cost_fraction, inputs.vol, config.number)
        seconds = years * inputs.trading_year_seconds  # trading years, as the volatility's
        return between(seconds, config.shortest_seconds, config.longest_seconds)

    def delta_vol(self, inputs: HedgeInputs) -> float | None:
        """Volatility at which this band wants the delta computed; None when the interval is not valid.

        Raises ArgumentError when the vol is not above zero.
        """
        years = self.interval_seconds(inputs) / inputs.trading_year_seconds
        long_gamma = inputs.gamma_shares_per_usd >= 0.0
        return leland_vol(inputs.own_cost_fraction, inputs.vol, years, long_gamma=long_gamma)

    def quiet(self, inputs: HedgeInputs, verdict: BandVerdict) -> QuietBand | None:
        """Return until when the clock forbids a hedge: a dearer one only makes it later."""
        return quiet_of_clock(inputs, verdict, self.interval_seconds(inputs))

    def judge(self, inputs: HedgeInputs) -> BandVerdict:
        """Return whether the interval has passed and there is enough to be traded."""
        check_inputs(inputs)
        interval = self.interval_seconds(inputs)
        why = (
            f"Leland number {self.config.number:g}, cost {inputs.own_cost_fraction * 1e4:.3g} bp, "
            f"vol {inputs.vol:.4g}: every {interval:.0f} s"
        )
        return verdict_of_clock(inputs, interval, why)


PLUG = LelandBand
