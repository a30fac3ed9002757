"""Is there anything to earn: a structure on the smiles at the forecast's level, against what it costs.

A forecast of realised variance is a quantity of the variance swap. The market's smiles are moved so that the
variance to the horizon is the forecast's, their skew kept, and each leg is repriced on its expiry's: every
strike then has the same edge per vega, and skew alone has no edge. At a forecast that is the market's own
level the edge before costs is 0, whichever side is taken. All volatilities are per root year of one variance
clock.
"""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Annotated, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.bounds import BoundedSettings, above, at_least
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import NANOS_PER_SECOND, money_text
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.pricing.base import Floats
from scalpdesk.pricing.smile_level import Level, Shift, Smile, horizon_level, level_of, shifted_smile
from scalpdesk.volatility.forecast import VolForecast

_VOL_STEP = 1e-4
MOST_VOL_RATIO = 2.0
"""Forecast over the market's level from which the forecast is taken to be wrong."""
MOST_OF_PREMIUM = 1.0
"""Gross edge as a part of what bought options cost, from which the forecast is taken to be wrong."""
LOOK_SECONDS = 600.0
"""A window counts one more independent look for so long each (docs/strategies/gamma-scalper-entry.md)."""


class Edge(msgspec.Struct, frozen=True):
    """Expected profit of one set of a structure, hedged, over a horizon."""

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
    """``market_level``, ``target_level``: Level of the first expiry, in the market and at the forecast."""
    implied_vol: float
    shifted_vol: float
    """``implied_vol``, ``shifted_vol``: Volatility of the first leg's strike, on the market's smile and the
    moved one.
    """
    is_long_vol: bool = True
    """Whether a higher forecast makes it worth more."""
    premium_usd: float | None = None
    """Cost of the options on the market's smiles where all are bought; else None."""


class EdgeExpiry(NamedTuple):
    """Legs of one expiry on its smile."""

    smile: Smile
    """The market's."""
    years: float
    """To expiry, on the clock of all volatilities; above 0."""
    log_moneyness: Floats
    """ln(strike / forward) of each leg, or of the strike that all have."""
    value: Callable[[Floats], float]
    """Price of the legs together, bought less sold, currency per unit, at volatilities of their strikes."""


class EdgeInputs(msgspec.Struct, frozen=True, kw_only=True):
    """Inputs of the edge of one set of a structure."""

    expiries: tuple[EdgeExpiry, ...]
    """Legs by expiry, the nearest expiry first: the edge counts to it at the latest."""
    half_spreads: float
    """Half spreads that are paid, all legs together, currency per unit."""
    hedge_cost_usd: float
    """Expected cost of hedging over the horizon, see :mod:`scalpdesk.hedging.expected_cost`."""
    multiplier: int
    """Units of the underlying in one contract."""
    all_bought: bool = True
    """Whether no leg is sold: a higher volatility is worth more then."""
    mid: float | None = None
    """Price in the market at the spot of now, bought legs less sold legs, currency per unit. None takes the
    value on the smiles: what a strike's quote is off its smile stays, and is no edge.
    """
    fees: float = 0.0
    """Fees of the executions whose half spreads are paid, currency per unit."""
    currency: str = "USD"
    """Currency of all amounts."""
    horizon_years: float | None = None
    """Variance from now to there moves to the forecast, what lies behind stays the market's; None is the
    nearest expiry.
    """
    implied_to_horizon: float | None = None
    """The market's level to the horizon; None is that of the nearest expiry."""
    level: Level = "swap"
    """Measure of the smile that the forecast is compared with."""
    shift: Shift = "standardised"
    """Move of the smile, see :func:`scalpdesk.pricing.smile_level.shifted_smile`."""


class LevelMove(NamedTuple):
    """A market's smile moved to the forecast; volatilities are fractions a year."""

    market_level: float
    """Level of the expiry in the market."""
    implied_level: float
    """Level of the market to the horizon: the forecast is compared with it."""
    target_level: float
    """Level of the expiry at the forecast."""
    to_target: float
    """Change of ``target_level`` with the forecast: only the variance to the horizon is the forecast's."""
    step: float
    """Step of the level by which the slope of a value is measured."""
    move: Callable[[float], Smile]
    """Returns the smile moved to a level."""


def move_to_forecast(
    smile: Smile,
    years: float,
    forecast_vol: float,
    *,
    horizon_years: float | None = None,
    implied_to_horizon: float | None = None,
    level: Level = "swap",
    shift: Shift = "standardised",
) -> LevelMove:
    """Move an expiry's smile so that the variance to the horizon is the forecast's.

    ``forecast_vol``: To the horizon, a fraction a year.

    Raises ArgumentError when a number is not finite or out of its range.
    """
    _refuse_bad("years", years, zero_allowed=False)
    _refuse_bad("forecast_vol", forecast_vol, zero_allowed=False)
    horizon = years if horizon_years is None else min(horizon_years, years)
    _refuse_bad("horizon_years", horizon, zero_allowed=False)
    market_level = level_of(smile, years, level)
    target = forecast_vol
    if horizon < years:
        moved = horizon_level(market_level, years, horizon, forecast_vol, implied_to_horizon)
        target = max(moved, _VOL_STEP)

    def move(wanted: float) -> Smile:
        return shifted_smile(smile, years, wanted, level=level, shift=shift, own_level=market_level)

    return LevelMove(
        market_level=market_level,
        implied_level=(
            market_level if implied_to_horizon is None or horizon >= years else implied_to_horizon
        ),
        target_level=target,
        to_target=forecast_vol * horizon / (target * years),
        step=min(_VOL_STEP, 0.5 * target),
        move=move,
    )


N = TypeVar("N", float, Floats)


def price_in_market(on_smile: N, mid: N, half_spreads: N) -> N:
    """Return a position's price in the market: on the smile, held between bid and ask.

    A mid is known to its spread: where the smile lies between bid and ask it is the better price.

    ``on_smile``, ``mid``, ``half_spreads``: Price on the market's smile, mid, and half the spread, of all
    legs together, currency per unit; numbers or columns.
    """
    if isinstance(on_smile, np.ndarray):
        return np.minimum(np.maximum(on_smile, mid - half_spreads), mid + half_spreads)
    return min(max(on_smile, mid - half_spreads), mid + half_spreads)


class _EdgeAmounts(NamedTuple, Generic[N]):
    """Amounts of an edge in currency, of one position or of a column of them; see :class:`Edge`."""

    gross: N
    spread: N
    fees: N
    net: N
    stderr: N


def edge_amounts(
    multiplier: int,
    *,
    shifted: N,
    mid: N,
    half_spreads: N,
    fees: N,
    hedge_cost: N,
    slope: N,
    stderr: float,
) -> _EdgeAmounts[N]:
    """Return the edge of options: ``multiplier · (shifted − mid − half spreads − fees) − hedging``.

    Prices of sold options count negative, costs positive whatever the side.

    ``multiplier``: Units of the underlying in one contract.
    ``shifted``, ``mid``: Price on the moved smile and in the market, currency per unit; numbers or columns,
    as all amounts.
    ``half_spreads``, ``fees``: Of the executions that are paid, currency per unit.
    ``hedge_cost``: Expected cost of hedging, currency.
    ``slope``: Change of ``shifted`` with the forecast's volatility, currency per unit.
    ``stderr``: Standard error of the forecast, a fraction a year.
    """
    gross = multiplier * (shifted - mid)
    spread, paid = multiplier * half_spreads, multiplier * fees
    net = gross - spread - paid - hedge_cost
    return _EdgeAmounts(gross, spread, paid, net, multiplier * abs(slope) * stderr)


def shifted_edge(inputs: EdgeInputs, forecast_vol: float, stderr: float = 0.0) -> Edge:
    """Return the edge of one set of a structure at a forecast volatility.

    ``multiplier · (Σ ratio · V(σ′) − mid − half spreads − fees) − hedging`` with σ′ the volatility of each
    leg's strike once its expiry's smile is moved. For a flat smile and a horizon short against the expiry the
    gross edge is to first order ``multiplier · ½ · Γ · S² · (σf² − σi²) · H``.

    ``inputs``: The structure and its market.
    ``forecast_vol``, ``stderr``: To the horizon, fractions a year, and its standard error.

    Raises ArgumentError when a number is not finite or out of its range.
    """
    for name in ("half_spreads", "fees", "hedge_cost_usd"):
        _refuse_bad(name, getattr(inputs, name), zero_allowed=True)
    moves = _moves(inputs, forecast_vol)
    market = [each.smile(each.log_moneyness) for each in inputs.expiries]
    moved = [
        move.move(move.target_level)(each.log_moneyness)
        for each, move in zip(inputs.expiries, moves, strict=True)
    ]
    slope = 0.0
    if stderr or not inputs.all_bought:
        for each, move in zip(inputs.expiries, moves, strict=True):
            up, down = (
                each.value(move.move(move.target_level + by)(each.log_moneyness))
                for by in (move.step, -move.step)
            )
            slope += (up - down) / (2.0 * move.step) * move.to_target
    mid = _worth(inputs, market) if inputs.mid is None else inputs.mid
    amounts = edge_amounts(
        inputs.multiplier,
        shifted=_worth(inputs, moved),
        mid=mid,
        half_spreads=inputs.half_spreads,
        fees=inputs.fees,
        hedge_cost=inputs.hedge_cost_usd,
        slope=slope,
        stderr=stderr,
    )
    return Edge(
        gross_usd=amounts.gross,
        spread_usd=amounts.spread,
        fees_usd=amounts.fees,
        hedge_cost_usd=inputs.hedge_cost_usd,
        net_usd=amounts.net,
        stderr_usd=amounts.stderr,
        implied_level=moves[0].implied_level,
        market_level=moves[0].market_level,
        target_level=moves[0].target_level,
        implied_vol=float(market[0][0]),
        shifted_vol=float(moved[0][0]),
        is_long_vol=slope >= 0.0,
        premium_usd=inputs.multiplier * mid if inputs.all_bought else None,
    )


def _moves(inputs: EdgeInputs, forecast_vol: float) -> list[LevelMove]:
    """Return the move of each expiry: all to one forecast, from one level of the market to the horizon."""
    first = inputs.expiries[0].years
    horizon = first if inputs.horizon_years is None else min(inputs.horizon_years, first)
    implied, found = inputs.implied_to_horizon, list[LevelMove]()
    for each in inputs.expiries:
        found.append(
            move_to_forecast(
                each.smile,
                each.years,
                forecast_vol,
                horizon_years=horizon,
                implied_to_horizon=implied,
                level=inputs.level,
                shift=inputs.shift,
            )
        )
        implied = found[0].implied_level
    return found


def _worth(inputs: EdgeInputs, vols: Sequence[Floats]) -> float:
    return sum((each.value(at) for each, at in zip(inputs.expiries, vols, strict=True)), 0.0)


def _refuse_bad(name: str, value: float, *, zero_allowed: bool) -> None:
    if not (math.isfinite(value) and (value > 0.0 or (zero_allowed and value == 0.0))):
        bound = "zero or more" if zero_allowed else "above zero"
        raise ArgumentError(f"{name} must be a finite number, {bound}", where=name, value=value)


def bar_over_looks(k_stderr: float, window_seconds: float) -> float:
    """Return the standard errors that noise reaches in a window as often as ``k_stderr`` at one look.

    When an edge of zero is looked at again and again, the highest look counts. With n independent looks
    each may pass by chance with ``1 - (1 - α)^(1/n)``, α that of one look (Šidák 1967); n is one and one
    more for each :data:`LOOK_SECONDS` of the window.

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
    """Forecast over the market's level to the horizon must reach this; the level over the forecast where a
    higher forecast is a loss.
    """
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
    """Forecast over the market's level, or the other way round of a structure that is short volatility."""
    failed: tuple[str, ...] = ()
    """The tests that failed by the setting of their bound, or what could not be known."""


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

    ``spot``: Currency per unit.
    ``gammas``, ``vols``: Of the old and the new straddle, both of one size: shares per unit of currency;
    fractions a year.
    ``forecast_vol``, ``horizon_years``: On the clock of ``vols``.
    ``cost``: Of two sales and two purchases: half spreads and fees, in currency.

    >>> round(recentring(265.0, (0.776, 2.819), (0.155, 0.21), 0.3, 5 / 252, 22.0).gain, 1)
    32.5
    """
    old, new = (
        0.5 * gamma * spot * spot * (forecast_vol * forecast_vol - vol * vol) * horizon_years
        for gamma, vol in zip(gammas, vols, strict=True)
    )
    fraction = gammas[0] / gammas[1] if gammas[1] else math.inf
    return Recentring(fraction, old, new, new - old - cost)


class GatePasses:
    """Counts evaluations that pass in a row, at least so far apart: one tick's noise buys nothing.

    ``needed``: Passes in a row that let an entry through.
    ``spacing_seconds``: Least time between two evaluations; what is asked sooner does not count.

    >>> passes = GatePasses(2, 60.0)
    >>> [passes.is_due(at) and passes.note(at, passed=True) for at in (0, 14 * 10**9, 60 * 10**9)]
    [False, False, True]
    """

    def __init__(self, needed: int, spacing_seconds: float) -> None:
        self.needed = needed
        self._spacing_ns = int(spacing_seconds * NANOS_PER_SECOND)
        self.count = 0
        """Passes in a row so far."""
        self.due_ns = 0
        """When the next evaluation counts, UTC nanoseconds; 0 for at once."""

    def is_due(self, now_ns: int) -> bool:
        """Return whether an evaluation counts now."""
        return now_ns >= self.due_ns

    def note(self, now_ns: int, *, passed: bool) -> bool:
        """Count an evaluation; return whether enough in a row have passed."""
        self.due_ns = now_ns + self._spacing_ns
        self.count = self.count + 1 if passed else 0
        return self.count >= self.needed

    def forget(self) -> None:
        """Reset the count, as after an entry or a night."""
        self.count = self.due_ns = 0


class EdgeCourse:
    """The edge at each look of a quarter of an hour against what it must be: equal refusals are folded."""

    def __init__(self) -> None:
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
        if not looks or (now_ns is not None and now_ns - self._first_ns < 900 * NANOS_PER_SECOND):
            return None
        self._looks = {}
        texts = {
            at: f"{money_text(edge, currency)} of {money_text(needed, currency)}"
            for at, (edge, needed) in looks.items()
        }
        highest = max(looks, key=lambda at: looks[at][0] - looks[at][1])
        first, *_, last = looks if len(looks) > 1 else (*looks, *looks)
        return f"edge from {first} to {last}: nearest to its bar {texts[highest]} at {highest}", texts


def _too_good(edge: Edge, ratio: float, compared: str, currency: str) -> dict[str, str]:
    """Return why a forecast is taken to be wrong: its edge is a multiple of what the market charges."""
    fix = "look at the daily history, or set entry.forecast_vol"
    if ratio > MOST_VOL_RATIO:
        return {"multiple": f"{compared} = {ratio:.3f} is above {MOST_VOL_RATIO:g}: {fix}"}
    if edge.premium_usd is not None and edge.gross_usd > MOST_OF_PREMIUM * edge.premium_usd:
        gross, premium = (money_text(each, currency) for each in (edge.gross_usd, edge.premium_usd))
        return {"multiple": f"edge before costs {gross} is above the premium of {premium}: {fix}"}
    return {}


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

    def passes(
        self, net: Floats, stderr: Floats, vol_ratio: Floats, of_premium: Floats, *, is_given: bool
    ) -> NDArray[np.bool_]:
        """Return which of a column of edges pass: net edge and its standard error in currency, vol ratio.

        ``of_premium``: Gross edge as a part of the premium.
        ``is_given``: Whether the trader set the forecast.

        The tests are those of :meth:`judge`; a figure that is not a number fails.
        """
        found = np.ones(np.shape(net), dtype=np.bool_)
        for value, least in self._tests(net, stderr, vol_ratio):
            found &= value >= least
        return found if is_given else found & (vol_ratio <= MOST_VOL_RATIO) & (of_premium <= MOST_OF_PREMIUM)

    def _tests(self, net: N, stderr: N, vol_ratio: N) -> tuple[tuple[N, N | float], ...]:
        """Return each figure with what it must reach."""
        config = self.config
        return (
            (net, config.min_edge_usd),
            (net, self.bar_stderr * stderr),
            (vol_ratio, config.min_vol_ratio),
        )

    def judge(self, inputs: EdgeInputs | None, forecast: VolForecast) -> EdgeVerdict:
        """Return whether a structure's edge is enough at this forecast.

        ``inputs``: The structure; None, where the market shows no smile, is a refusal, not an error.
        ``forecast``: To the horizon; an unknown one is a refusal with its reason.

        Raises ArgumentError when a number of the structure is not finite or out of its range.
        """
        unknown = {}
        if not forecast.known:
            unknown["forecast"] = f"no volatility forecast: {forecast.reason or 'it is not a number'}"
        if inputs is None:
            unknown["implied volatility"] = "no implied volatility of the straddle"
        if inputs is None or unknown:
            return EdgeVerdict(False, tuple(unknown.values()), None, None, tuple(unknown))
        config = self.config
        edge = shifted_edge(inputs, forecast.vol, forecast.stderr)
        ratio = forecast.vol / edge.implied_level
        compared = f"forecast {forecast.vol:.4f} / implied {edge.implied_level:.4f}"
        if not edge.is_long_vol:
            ratio = 1.0 / ratio
            compared = f"implied {edge.implied_level:.4f} / forecast {forecast.vol:.4f}"
        net = f"edge {money_text(edge.net_usd, inputs.currency)}"
        least, error = (money_text(each, inputs.currency) for each in (config.min_edge_usd, edge.stderr_usd))
        minutes = config.window_seconds / 60.0
        over = f" {config.k_stderr:g}, over {minutes:g} minutes" if minutes else ""
        texts = {
            "min_edge_usd": (net, f"{least} (min_edge_usd)"),
            "k_stderr": (net, f"{round(self.bar_stderr, 2):g} × {error} standard error (k_stderr{over})"),
            "min_vol_ratio": (f"{compared} = {ratio:.3f}", f"{config.min_vol_ratio:g} (min_vol_ratio)"),
        }
        tests = self._tests(edge.net_usd, edge.stderr_usd, ratio)
        failed = {
            name: f"{what} is below {bound}"
            for (value, needed), (name, (what, bound)) in zip(tests, texts.items(), strict=True)
            if not value >= needed
        }
        if edge.is_long_vol and not forecast.is_given:
            failed |= _too_good(edge, ratio, compared, inputs.currency)
        met = [f"{what} is at least {bound}" for what, bound in texts.values()]
        why = (forecast.reason,) if failed and forecast.reason else ()
        return EdgeVerdict(not failed, (*(failed.values() or met), *why), edge, ratio, tuple(failed))
