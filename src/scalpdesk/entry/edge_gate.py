"""Is there anything to earn: a straddle on the smile at the forecast's level, against what it costs.

A forecast of realised variance is a quantity of the variance swap. The market's smile is moved so that its
level is the forecast, its skew kept, and the straddle repriced on it: every strike then has the same edge per
vega, and skew alone has no edge. All volatilities are per root year of one variance clock.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Annotated, NamedTuple

import msgspec
import numpy as np

from scalpdesk.core.bounds import BoundedSettings, above, at_least
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import NANOS_PER_SECOND, money_text
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.pricing.smile_level import Level, Shift, Smile, horizon_level, level_of, shifted_smile
from scalpdesk.volatility.forecast import VolForecast

_VOL_STEP = 1e-4
LOOK_SECONDS = 600.0
"""A window counts one more independent look at the edge for so long each; see docs/forecasts.md."""


class Edge(msgspec.Struct, frozen=True):
    """Expected profit of one straddle, hedged, over a horizon."""

    gross_usd: float
    """Its value on the moved smile less the market's."""
    spread_usd: float
    fees_usd: float
    hedge_cost_usd: float
    """``spread_usd``, ``fees_usd``, ``hedge_cost_usd``: What is taken off."""
    net_usd: float
    """Edge after all costs."""
    stderr_usd: float
    """Standard error of it, from that of the forecast."""
    implied_level: float
    """Level of the market to the horizon, a fraction a year: the forecast is compared with it."""
    market_level: float
    target_level: float
    """``market_level``, ``target_level``: Level of the expiry, in the market and at the forecast."""
    implied_vol: float
    shifted_vol: float
    """``implied_vol``, ``shifted_vol``: Volatility of the strike, on the market's smile and the moved one."""


class EdgeInputs(msgspec.Struct, frozen=True, kw_only=True):
    """Inputs of one straddle's edge."""

    smile: Smile
    """The market's, of the straddle's expiry."""
    years: float
    """To expiry, on the clock of all volatilities; above 0."""
    log_moneyness: float
    """ln(strike / forward) of the straddle."""
    value: Callable[[float], float]
    """The straddle's price, currency per unit, at a volatility of its strike."""
    mid: float | None
    """The straddle's in the market at the spot of now, currency per unit; None takes its value on the smile.
    """
    half_spreads: float
    """Half spreads that are paid, both legs together, currency per unit."""
    hedge_cost_usd: float
    """Expected cost of hedging over the horizon, see :mod:`scalpdesk.hedging.expected_cost`."""
    multiplier: int
    """Units of the underlying in one contract."""
    fees: float = 0.0
    """Fees of the executions whose half spreads are paid, currency per unit."""
    currency: str = "USD"
    """Currency of all amounts."""
    horizon_years: float | None = None
    """Variance from now to there moves to the forecast, what lies behind stays the market's; None is expiry.
    """
    implied_to_horizon: float | None = None
    """The market's level to the horizon; None is that of the expiry."""
    level: Level = "swap"
    """Measure of the smile that the forecast is compared with."""
    shift: Shift = "standardised"
    """Move of the smile, see :func:`scalpdesk.pricing.smile_level.shifted_smile`."""


def shifted_edge(inputs: EdgeInputs, forecast_vol: float, stderr: float = 0.0) -> Edge:
    """Return the edge of one straddle at a forecast volatility.

    ``multiplier · (V(σ′) − mid − half spreads − fees) − hedging`` with σ′ the strike's volatility once
    moved. For a flat smile and a horizon short against the expiry the gross edge is to first order
    ``multiplier · ½ · Γ · S² · (σf² − σi²) · H``.

    Parameters
    ----------
    inputs
        The straddle and its market.
    forecast_vol, stderr
        To the horizon, fractions a year, and its standard error.

    Raises
    ------
    ArgumentError
        When a number is not finite or out of its range.
    """
    for name in ("years", "half_spreads", "fees", "hedge_cost_usd"):
        _refuse_bad(name, getattr(inputs, name), zero_allowed=name != "years")
    _refuse_bad("forecast_vol", forecast_vol, zero_allowed=False)
    years, level = inputs.years, inputs.level
    horizon = years if inputs.horizon_years is None else min(inputs.horizon_years, years)
    _refuse_bad("horizon_years", horizon, zero_allowed=False)
    market_level = level_of(inputs.smile, years, level)
    implied = inputs.implied_to_horizon
    at = np.array([inputs.log_moneyness])

    def target_of(forecast: float) -> float:
        if horizon >= years:
            return forecast
        return max(horizon_level(market_level, years, horizon, forecast, implied), _VOL_STEP)

    def vol_of(target: float) -> float:
        moved = shifted_smile(
            inputs.smile, years, target, level=level, shift=inputs.shift, own_level=market_level
        )
        return float(moved(at)[0])

    target, implied_vol = target_of(forecast_vol), float(inputs.smile(at)[0])
    shifted_vol = vol_of(target)
    step, slope = min(_VOL_STEP, 0.5 * target), 0.0
    if stderr:
        slope = (inputs.value(vol_of(target + step)) - inputs.value(vol_of(target - step))) / (2.0 * step)
    # only the variance to the horizon is the forecast's
    to_target = forecast_vol * horizon / (target * years)
    mid = inputs.value(implied_vol) if inputs.mid is None else inputs.mid
    gross = inputs.multiplier * (inputs.value(shifted_vol) - mid)
    spread, fees = inputs.multiplier * inputs.half_spreads, inputs.multiplier * inputs.fees
    return Edge(
        gross_usd=gross,
        spread_usd=spread,
        fees_usd=fees,
        hedge_cost_usd=inputs.hedge_cost_usd,
        net_usd=gross - spread - fees - inputs.hedge_cost_usd,
        stderr_usd=inputs.multiplier * abs(slope * to_target) * stderr,
        implied_level=market_level if implied is None or horizon >= years else implied,
        market_level=market_level,
        target_level=target,
        implied_vol=implied_vol,
        shifted_vol=shifted_vol,
    )


def _refuse_bad(name: str, value: float, *, zero_allowed: bool) -> None:
    if not (math.isfinite(value) and (value > 0.0 or (zero_allowed and value == 0.0))):
        bound = "zero or more" if zero_allowed else "above zero"
        raise ArgumentError(f"{name} must be a finite number, {bound}", where=name, value=value)


def bar_over_looks(k_stderr: float, window_seconds: float) -> float:
    """Return the standard errors that noise reaches in a window as often as ``k_stderr`` at one look.

    When an edge of zero is looked at again and again, the highest look counts. With n independent looks
    each may pass by chance with ``1 - (1 - α)^(1/n)``, α that of one look (Šidák 1967); n is one and one
    more for each :data:`LOOK_SECONDS` of the window.

    Examples
    --------
    >>> [round(bar_over_looks(1.0, minutes * 60.0), 2) for minutes in (0, 60, 355)]
    [1.0, 1.97, 2.6]
    """
    if not k_stderr or not window_seconds:
        return k_stderr
    looks = 1.0 + window_seconds / LOOK_SECONDS
    by_chance = 0.5 * math.erfc(k_stderr / math.sqrt(2.0))
    return -NormalDist().inv_cdf(-math.expm1(math.log1p(-by_chance) / looks))


class EdgeGateConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True):
    """Settings of the gate."""

    min_edge_usd: Annotated[float, above(-math.inf, math.inf, "USD a straddle")] = 5.0
    """Net edge per straddle that is worth the trouble."""
    k_stderr: Annotated[float, at_least(0, math.inf, "a number of standard errors")] = 1.0
    """The net edge must also be this many of its own standard errors, at one look."""
    min_vol_ratio: Annotated[float, at_least(0, math.inf, "forecast over implied volatility")] = 1.05
    """Forecast over the market's level to the horizon must reach this."""
    window_seconds: Annotated[float, at_least(0, math.inf, "seconds")] = 0.0
    """Time for which the gate is asked until it passes; see :func:`bar_over_looks`."""


class EdgeVerdict(msgspec.Struct, frozen=True):
    """Verdict of the entry gate."""

    passed: bool
    """Whether to enter."""
    reasons: tuple[str, ...]
    """Every test with its numbers when passed; every test that failed when not."""
    edge: Edge | None
    """None when it could not be computed."""
    vol_ratio: float | None
    """Forecast over the market's level."""


class Recentring(NamedTuple):
    """Gain of moving a held straddle to a new strike, in currency."""

    gamma_fraction: float
    """Gamma that is left over the gamma at the new strike."""
    earn_old: float
    earn_new: float
    gain: float
    """After the cost."""

    def is_due(self, least_fraction: float) -> bool:
        """Return whether gamma has fallen below a fraction of the new strike's and moving there pays."""
        return self.gamma_fraction < least_fraction and self.gain > 0.0


def recentring(
    spot: float,
    gammas: tuple[float, float],
    vols: tuple[float, float],
    forecast_vol: float,
    horizon_years: float,
    cost: float,
) -> Recentring:
    """Compare the straddle that is held with one at a new strike: each earns ½ΓS²(σ_f² − σ²)·τ.

    Parameters
    ----------
    spot
        Currency per unit.
    gammas, vols
        Of the old and the new straddle, both of one size: shares per unit of currency; fractions a year.
    forecast_vol, horizon_years
        On the clock of ``vols``.
    cost
        Of two sales and two purchases: half spreads and fees, in currency.

    Examples
    --------
    >>> round(recentring(265.0, (0.776, 2.819), (0.155, 0.21), 0.3, 5 / 252, 22.0).gain, 1)
    32.5
    """
    old, new = (
        0.5 * gamma * spot * spot * (forecast_vol * forecast_vol - vol * vol) * horizon_years
        for gamma, vol in zip(gammas, vols, strict=True)
    )
    fraction = gammas[0] / gammas[1] if gammas[1] > 0.0 else math.inf
    return Recentring(fraction, old, new, new - old - cost)


class GatePasses:
    """Counts evaluations that pass in a row, at least so far apart: one tick's noise buys nothing.

    Parameters
    ----------
    needed
        Passes in a row that let an entry through.
    spacing_seconds
        Least time between two evaluations; what is asked sooner does not count.

    Examples
    --------
    >>> passes = GatePasses(2, 60.0)
    >>> [passes.is_due(at) and passes.note(at, passed=True) for at in (0, 14 * 10**9, 60 * 10**9)]
    [False, False, True]
    """

    def __init__(self, needed: int, spacing_seconds: float) -> None:
        self.needed = needed
        self._spacing_ns = int(spacing_seconds * NANOS_PER_SECOND)
        self.count = 0
        """Passes in a row so far."""
        self._next_ns: int | None = None

    def is_due(self, now_ns: int) -> bool:
        """Return whether an evaluation counts now."""
        return self._next_ns is None or now_ns >= self._next_ns

    def note(self, now_ns: int, *, passed: bool) -> bool:
        """Count an evaluation; return whether enough in a row have passed."""
        self._next_ns = now_ns + self._spacing_ns
        self.count = self.count + 1 if passed else 0
        return self.count >= self.needed

    def forget(self) -> None:
        """Reset the count, as after an entry or a night."""
        self.count, self._next_ns = 0, None


class EdgeCourse:
    """The edge at each look against what it must be, reported together: equal refusals are folded.

    Parameters
    ----------
    seconds
        From the first look of a report to the report.
    """

    def __init__(self, seconds: float = 900.0) -> None:
        self._span_ns = int(seconds * NANOS_PER_SECOND)
        self._first_ns = 0
        self._looks: dict[str, tuple[float, float]] = {}
        """Edge and least edge by New York time, in currency."""

    def note(self, now_ns: int, edge_usd: float, needed_usd: float) -> None:
        """Keep a look."""
        if not self._looks:
            self._first_ns = now_ns
        self._looks[f"{to_new_york(now_ns):%H:%M}"] = edge_usd, needed_usd

    def take(self, currency: str, now_ns: int | None = None) -> tuple[str, dict[str, str]] | None:
        """Return the looks since the last report: in a sentence, and each by its time.

        None without any, and where ``now_ns`` is given also before a report is due.
        """
        looks = self._looks
        if not looks or (now_ns is not None and now_ns - self._first_ns < self._span_ns):
            return None
        self._looks = {}
        texts = {
            at: f"{money_text(edge, currency)} of {money_text(needed, currency)}"
            for at, (edge, needed) in looks.items()
        }
        highest = max(looks, key=lambda at: looks[at][0] - looks[at][1])
        first, *_, last = looks if len(looks) > 1 else (*looks, *looks)
        return f"edge from {first} to {last}: nearest to its bar {texts[highest]} at {highest}", texts


class EdgeGate:
    """Passes an entry whose edge exceeds its thresholds; refuses others with reasons."""

    Config = EdgeGateConfig

    def __init__(self, config: EdgeGateConfig | None = None) -> None:
        self.config = EdgeGateConfig() if config is None else config
        self.bar_stderr = bar_over_looks(self.config.k_stderr, self.config.window_seconds)
        """Standard errors that the edge must reach."""

    def needed_usd(self, edge: Edge) -> float:
        """Return what an edge must be, in currency."""
        return max(self.config.min_edge_usd, self.bar_stderr * edge.stderr_usd)

    def judge(self, inputs: EdgeInputs | None, forecast: VolForecast) -> EdgeVerdict:
        """Return whether the straddle's edge is enough at this forecast.

        Parameters
        ----------
        inputs
            The straddle; None, where the market shows no smile, is a refusal, not an error.
        forecast
            To the horizon; an unknown one is a refusal with its reason.

        Raises
        ------
        ArgumentError
            When a number of the straddle is not finite or out of its range.
        """
        unknown = []
        if not forecast.known:
            unknown.append(f"no volatility forecast: {forecast.reason or 'it is not a number'}")
        if inputs is None:
            unknown.append("no implied volatility of the straddle")
        if inputs is None or unknown:
            return EdgeVerdict(passed=False, reasons=tuple(unknown), edge=None, vol_ratio=None)
        config = self.config
        edge = shifted_edge(inputs, forecast.vol, forecast.stderr)
        ratio = forecast.vol / edge.implied_level
        net = f"edge {money_text(edge.net_usd, inputs.currency)}"
        least, error = (money_text(each, inputs.currency) for each in (config.min_edge_usd, edge.stderr_usd))
        minutes = config.window_seconds / 60.0
        over = f" {config.k_stderr:g}, over {minutes:g} minutes" if minutes else ""
        tests = (
            (edge.net_usd, config.min_edge_usd, net, f"{least} (min_edge_usd)"),
            (
                edge.net_usd,
                self.bar_stderr * edge.stderr_usd,
                net,
                f"{round(self.bar_stderr, 2):g} × {error} standard error (k_stderr{over})",
            ),
            (
                ratio,
                config.min_vol_ratio,
                f"forecast {forecast.vol:.4f} / implied {edge.implied_level:.4f} = {ratio:.3f}",
                f"{config.min_vol_ratio:g} (min_vol_ratio)",
            ),
        )
        failed = [f"{what} is below {bound}" for value, least, what, bound in tests if not value >= least]
        met = [f"{what} is at least {bound}" for _, _, what, bound in tests]
        return EdgeVerdict(passed=not failed, reasons=tuple(failed or met), edge=edge, vol_ratio=ratio)
