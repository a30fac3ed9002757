"""The contract of hedge bands: their inputs and verdicts, shared limits, and bands by name.

A band decides *when* to hedge and *where to* bring the net delta. :mod:`scalpdesk.hedging.sizing` turns
that into shares; the strategy sends them. A band is found because its module lies in
``hedging/bands``, or by entry point.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, ClassVar, Literal, NamedTuple, Protocol, cast, runtime_checkable

import msgspec
import numpy as np
import numpy.typing as npt

from scalpdesk.core.bounds import BoundedSettings, above, at_least
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import GammaExposureEvent
from scalpdesk.core.plugins import configured
from scalpdesk.core.sockets import HEDGE_BANDS
from scalpdesk.core.units import NANOS_PER_SECOND, NEVER_NS, SECONDS_PER_YEAR, SESSIONS_PER_YEAR, exceeds
from scalpdesk.hedging.kernels.rules import (
    held_between,
    is_last_hour,
    rehedge_target,
    whole_position,
)
from scalpdesk.instruments.deribit import delta_unit

TRADING_YEAR_SECONDS = SESSIONS_PER_YEAR * 6.5 * 3600.0
"""Seconds of a year's sessions of a stock exchange."""
Array = npt.NDArray[np.float64]
Numbers = float | Array
RehedgeTo = Literal["edge", "zero"]
"""Where a delta outside the band is brought: to the nearer edge of the band, or to zero."""


class HedgeInputs(msgspec.Struct, frozen=True):
    """One position at one moment, as a band sees it."""

    net_delta_shares: float
    """Options plus shares owned plus shares in flight, signed, whole position."""
    gamma_shares_per_usd: float
    """Gamma of the options, whole position: shares of delta gained per 1 USD of spot."""
    spot: float
    """Price of the underlying, USD per share."""
    years: float
    """ACT/365 years to the option's close."""
    vol: float
    """Volatility at which the position is hedged, per year (0.20 is 20 %)."""
    rate: float
    """Continuous rate, per year."""
    straddles: int
    """Number of straddles held, 1 or more."""
    multiplier: int
    """Units of the underlying in one contract."""
    seconds_since_hedge: float
    """Trading seconds since the last hedge (or since entry before the first)."""
    own_cost_fraction: float
    """One-way proportional cost of trading the underlying: (half spread + fees) / spot."""
    now_ns: int = 0
    """UTC nanoseconds; 0 where a band is asked outside of a session."""
    underlying: str = ""
    """Its symbol."""
    dealer_gamma: Mapping[str, GammaExposureEvent] = {}
    """Latest dealer gamma exposure by symbol."""
    trading_year_seconds: float = TRADING_YEAR_SECONDS
    """Trading seconds of a year: of sessions, or of days that never stop."""
    smallest_hedge: float = 1.0
    """Smallest trade of what hedges: a share, or the coins that one contract of a perpetual is worth."""


class BandVerdict(msgspec.Struct, frozen=True):
    """A band's answer."""

    half_width_shares: float
    """Half the width of the no-trade zone, whole position; ``inf`` while the clock alone forbids a hedge."""
    target_delta_shares: float
    """Net delta to aim at: the present one while ``inside``, else the band's edge or zero."""
    inside: bool
    """Whether nothing is to be done."""
    reason: str
    """Reason of a hedge, in plain words with its numbers; empty for a band of a width while ``inside``."""
    facts: dict[str, str | float | int] = {}
    """Figures of the band's own, for the hedge's record."""


class HedgeBand(Protocol):
    """A hedge band: when to hedge, and to which delta. One module each in :mod:`scalpdesk.hedging.bands`."""

    name: ClassVar[str]

    def judge(self, inputs: HedgeInputs) -> BandVerdict:
        """Return whether the net delta may stay, and where to bring it when it may not."""
        ...


@runtime_checkable
class ClockBand(Protocol):
    """A band that hedges at spaced times, whatever the delta."""

    def interval_seconds(self, inputs: HedgeInputs) -> float:
        """Trading seconds between two hedges."""
        ...


class QuietBand(NamedTuple):
    """What a verdict says of looks at another delta, at the same quotes and at no smaller cost."""

    width: float
    """Net delta, by its size, up to which nothing is done, shares; ``inf`` while the clock forbids it."""
    is_fixed: bool = True
    """Whether the width does not go by gamma."""
    to_edge: bool = False
    """Whether a delta beyond goes to the edge."""
    until_ns: int = NEVER_NS
    """UTC nanoseconds."""


@runtime_checkable
class StatesQuiet(Protocol):
    """A band that says where it has nothing to do; another is asked at every look."""

    def quiet(self, inputs: HedgeInputs, verdict: BandVerdict) -> QuietBand | None:
        """Return how far and how long the verdict on a position holds; None where that is not known."""
        ...


@runtime_checkable
class AdjustsVol(Protocol):
    """A band that hedges at a volatility of its own."""

    def delta_vol(self, inputs: HedgeInputs) -> float | None:
        """Return the volatility at which the delta is computed; None for the given one."""
        ...


@runtime_checkable
class KnowsWidths(Protocol):
    """A band that gives the half widths of many positions at once."""

    def half_widths(self, inputs: HedgeInputs, gammas: Array) -> Array:
        """Return the half width at each gamma (shares per USD, whole position); ``inputs`` are the rest."""
        ...


def half_widths_of(band: HedgeBand) -> Callable[[HedgeInputs, Array], Array]:
    """Return a function of a position and gammas: the band's half width at each gamma, shares."""
    if isinstance(band, KnowsWidths):
        return band.half_widths

    def judged(inputs: HedgeInputs, gammas: Array) -> Array:
        each = (msgspec.structs.replace(inputs, gamma_shares_per_usd=gamma) for gamma in gammas.tolist())
        return np.array([band.judge(other).half_width_shares for other in each], dtype=np.float64)

    return judged


def check_inputs(inputs: HedgeInputs) -> None:
    """Refuse inputs on which no band can judge; a NaN delta must never pass for "inside".

    Raises ArgumentError when a number is not finite, the spot is not positive, the cost, the time or the vol
    is negative, or there is no straddle.
    """
    item = inputs
    total = item.net_delta_shares + item.gamma_shares_per_usd + item.rate + item.seconds_since_hedge
    if (  # nearly always; a sum of finite numbers and one that is not is not finite
        math.isfinite(total + item.spot + item.years + item.vol + item.own_cost_fraction)
        and item.spot > 0.0
        and min(item.years, item.vol, item.own_cost_fraction) >= 0.0
        and min(item.straddles, item.multiplier) >= 1
    ):
        return
    for field, lowest in _LOWEST.items():
        value = getattr(item, field)
        if not math.isfinite(value):
            raise ArgumentError(
                "a hedge band needs finite numbers",
                where=field,
                value=value,
                fix="skip the decision until the Greeks are known",
            )
        if value < lowest or (field == "spot" and value == lowest):
            bound = "above" if field == "spot" else "at least"
            raise ArgumentError(f"{field} must be {bound} {lowest:g}", where=field, value=value)


_LOWEST = {
    "net_delta_shares": -math.inf,
    "gamma_shares_per_usd": -math.inf,
    "spot": 0.0,
    "years": 0.0,
    "vol": 0.0,
    "rate": -math.inf,
    "own_cost_fraction": 0.0,
    "seconds_since_hedge": -math.inf,
    "straddles": 1,
    "multiplier": 1,
}
"""Least value of each number; of the spot it is refused itself."""


@cache
def words_of_delta(underlying: str) -> tuple[str, int]:
    """Return what a position's delta counts, and the decimals in which its reasons show it."""
    unit, decimals = delta_unit(underlying)
    return unit, max(decimals, 2)


def verdict_of_width(
    inputs: HedgeInputs, half_width: float, rehedge_to: RehedgeTo, why: str | Callable[[], str]
) -> BandVerdict:
    """Judge the net delta against a half width: at the edge is still inside.

    ``half_width``: Shares, whole position.
    ``rehedge_to``: Where a delta outside goes.
    ``why``: Where the width comes from, in words, or what says so: asked for the reason of a hedge alone.
    """
    net = inputs.net_delta_shares
    if not exceeds(abs(net), half_width):
        return BandVerdict(half_width, net, inside=True, reason="")
    target = rehedge_target(net, half_width, rehedge_to == "edge")
    words = why if isinstance(why, str) else why()
    unit, n = words_of_delta(inputs.underlying)
    reason = (
        f"net delta {net:+.{n}f} {unit} is beyond ±{half_width:.{n}f} ({words}): hedge to {target:+.{n}f}"
    )
    return BandVerdict(half_width, target, inside=False, reason=reason)


def refuse_below(lowest: float, *, strict: bool, **arguments: Numbers) -> None:
    """Refuse any argument with an element that is not finite or is below ``lowest``.

    ``strict``: Whether the bound itself is refused too.
    ``**arguments``: The values by the names that the caller's caller knows them by.

    Raises ArgumentError, naming the first argument that fails.
    """
    for name, value in arguments.items():
        if (
            isinstance(value, float)
            and math.isfinite(value)
            and (value > lowest or (value == lowest and not strict))
        ):
            continue  # the decision path asks for one good number at a time
        numbers = np.asarray(value, dtype=np.float64)
        low = numbers <= lowest if strict else numbers < lowest
        bad = low | ~np.isfinite(numbers)
        if bad.any():
            bound = "above" if strict else "at least"
            raise ArgumentError(
                f"{name} must be finite and {bound} {lowest:g}",
                where=name,
                value=float(numbers[bad].flat[0]) if numbers.ndim else float(numbers),
            )


_HalfWidth = Annotated[float, at_least(0, math.inf, "shares per straddle")]


class WidthLimits(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits on a computed half width; the config of every formula band begins with them.

    Those in shares are of a straddle of a hundred shares, and in proportion of another: of one coin a
    hundredth.
    """

    floor_shares_per_straddle: _HalfWidth = 0.5
    """Never narrower: half a share is what rounding can still act on."""
    cap_fraction: Annotated[float, above(0, 1, "a part of the position")] = 0.25
    """Never wider than this part of ``multiplier × straddles``."""
    last_hour_shares_per_straddle: _HalfWidth = 2.0
    """Fixed half width once less than one trading hour is left; beyond it the delta goes to zero."""


def limited(half_width: float, inputs: HedgeInputs, limits: WidthLimits) -> tuple[float, str]:
    """Hold a half width (shares, whole position) within the limits; the second value says which one bit."""
    floor, cap = _width_bounds(inputs, limits)
    held = held_between(half_width, floor, cap)
    if held == half_width:
        return half_width, ""
    word = "capped" if half_width > cap else "raised"
    return held, f", {word} from {half_width:.{words_of_delta(inputs.underlying)[1]}f}"


def _width_bounds(inputs: HedgeInputs, limits: WidthLimits) -> tuple[float, float]:
    """Return the least and the largest half width, shares, whole position."""
    floor = whole_position(limits.floor_shares_per_straddle, inputs.straddles, inputs.multiplier)
    return floor, limits.cap_fraction * inputs.multiplier * inputs.straddles


def _last_hour_verdict(inputs: HedgeInputs, limits: WidthLimits) -> BandVerdict:
    """Return the fixed band's verdict, for the last trading hour."""
    seconds = inputs.years * SECONDS_PER_YEAR
    width = whole_position(limits.last_hour_shares_per_straddle, inputs.straddles, inputs.multiplier)
    return verdict_of_width(
        inputs, width, "zero", lambda: f"fixed band of the last hour, {seconds:.0f} s to expiry"
    )


class AversionConfig(WidthLimits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of a band that follows from an aversion to risk."""

    risk_aversion: Annotated[float, above(0, math.inf, "1/USD")] = 0.01
    """Absolute risk aversion, 1/USD; smaller means wider. 0.01 gives some one and a half shares for one SPY
    straddle (gamma 2 shares/USD) at a cost of 0.2 basis points, and some 30 hedges a day with the gamma
    scalper's ``hedge.least_fraction``; docs/evidence/hedging.md compares orders, costs and errors.
    """
    rehedge_to: RehedgeTo = "edge"
    """``edge`` (the theory) or ``zero``."""


class AversionColumns(NamedTuple):
    """Inputs of a formula's band at one moment as numbers, or at many as columns."""

    gamma: Numbers
    """Whole position: shares of delta per 1 USD of spot."""
    spot: Numbers
    years: Numbers
    vol: Numbers
    cost_fraction: Numbers
    rate: Numbers
    """``spot``, ``years``, ``vol``, ``cost_fraction``, ``rate``: As in :class:`HedgeInputs`."""


@runtime_checkable
class ColumnBand(Protocol):
    """A band whose formula takes whole columns, as the band lab asks."""

    config: "AversionConfig"

    def widths(self, inputs: AversionColumns) -> Numbers:
        """Return the formula's half width in shares at each row, before its limits."""
        ...


class AversionBand(ABC):
    """No trade inside a formula's band of the whole position; back to its edge beyond it."""

    title: ClassVar[str]
    """Name of the formula, in reasons."""
    Config = AversionConfig

    def __init__(self, config: AversionConfig | None = None) -> None:
        self.config = AversionConfig() if config is None else config
        self.rehedge_to: RehedgeTo = self.config.rehedge_to

    @abstractmethod
    def half_width(self, inputs: HedgeInputs) -> tuple[float, str]:
        """Return the formula's half width in shares, and the figures of its own in words."""

    def judge(self, inputs: HedgeInputs) -> BandVerdict:
        """Return the verdict of the band at the position's gamma, within the limits.

        Raises ArgumentError when an input is not finite or out of the formula's range.
        """
        check_inputs(inputs)
        config = self.config
        if is_last_hour(inputs.years):
            return _last_hour_verdict(inputs, config)
        raw, figures = self.half_width(inputs)
        width, bitten = limited(raw, inputs, config)

        def why() -> str:
            unit, _ = words_of_delta(inputs.underlying)
            return (
                f"{self.title}, gamma {inputs.gamma_shares_per_usd:.3g} {unit}/USD, "
                f"spot {inputs.spot:.2f}, "
                f"{figures}cost {inputs.own_cost_fraction * 1e4:.3g} bp, "
                f"aversion {config.risk_aversion:g}/USD{bitten}"
            )

        return verdict_of_width(inputs, width, config.rehedge_to, why)

    def quiet(self, inputs: HedgeInputs, verdict: BandVerdict) -> QuietBand | None:
        """Return the width, until the last hour; in it the fixed one."""
        if is_last_hour(inputs.years):
            return QuietBand(verdict.half_width_shares)
        last_hour_ns = inputs.now_ns + int((inputs.years * SECONDS_PER_YEAR - 3600.0) * NANOS_PER_SECOND)
        is_fixed, to_edge = False, self.rehedge_to == "edge"
        return QuietBand(verdict.half_width_shares, is_fixed, to_edge, last_hour_ns)

    def half_widths(self, inputs: HedgeInputs, gammas: Array) -> Array:
        """Return the half width within the limits at each gamma of the whole position, shares.

        Raises ArgumentError when an input is not finite or out of the formula's range.
        """
        check_inputs(inputs)
        refuse_below(-math.inf, strict=True, gamma_shares_per_usd=gammas)
        if is_last_hour(inputs.years):
            return np.full(gammas.shape, _last_hour_verdict(inputs, self.config).half_width_shares)
        if isinstance(self, ColumnBand):
            at, cost = inputs, inputs.own_cost_fraction
            raw = self.widths(AversionColumns(gammas, at.spot, at.years, at.vol, cost, at.rate))
        else:
            each = (msgspec.structs.replace(inputs, gamma_shares_per_usd=gamma) for gamma in gammas.tolist())
            raw = np.array([self.half_width(other)[0] for other in each], dtype=np.float64)
        return np.clip(raw, *_width_bounds(inputs, self.config))


def make_band(name: str, settings: Mapping[str, object] | None = None) -> HedgeBand:
    """Make a band from its name and the settings of its ``Config``.

    ``name``: One of ``HEDGE_BANDS.names()``.
    ``settings``: Keys and values of the band's ``Config``; the rest keep their defaults.

    Raises ConfigError when the name or a key is unknown, or a value is of the wrong kind or out of range.

    >>> make_band("fixed", {"threshold": 1.7}).name
    'fixed'
    """
    plug, where = HEDGE_BANDS.find(name), HEDGE_BANDS.where
    band = configured(plug, settings or {}, kind="band", name=name, where=where)
    return cast("HedgeBand", band)
