"""The size of an entry, exact: by volatility, by the risk of the budget, or of straddles by a budget or edge.

Volatilities come in as floats (fractions a year) and are read as the decimals that they print as, so
that a boundary is a boundary: at 0.175 between 0.10 and 0.25 a size from 1 to 3 is 2, not 1.9999.
"""

import math
from decimal import ROUND_FLOOR, Decimal
from typing import Annotated, ClassVar, Literal, NamedTuple

from scalpdesk.core.bounds import BoundedSettings, above, at_least
from scalpdesk.core.errors import ArgumentError
from scalpdesk.entry.edge_gate import GatePasses
from scalpdesk.portfolio.vol_filter import VOL_OF_VOL

ONE = Decimal(1)


def size_by_vol(
    vol: float | None, *, low_vol: float = 0.10, high_vol: float = 0.25, least: int = 1, most: int = 3
) -> int:
    """Return the size in shares: ``most`` in calm markets, ``least`` in wild markets, linear between.

    floor(most − (vol − low)/(high − low)·(most − least)), bounds inclusive. Source: the seed's
    description of st0cka ("10 % vol = max size, 25 % vol = min size").

    Parameters
    ----------
    vol
        Annualised volatility as a fraction; None when it is not known, which gives ``least``.
    low_vol, high_vol
        Volatilities at and below (at and above) which the size is ``most`` (``least``).
    least, most
        Bounds in shares.

    Raises
    ------
    ArgumentError
        When the bounds are the wrong way round.

    Examples
    --------
    >>> [size_by_vol(vol) for vol in (0.08, 0.10, 0.12, 0.175, 0.25, None)]
    [3, 3, 2, 2, 1, 1]
    """
    if not low_vol < high_vol or not 0 < least <= most:
        raise ArgumentError(
            "bounds of a size the wrong way round",
            where="low_vol, high_vol, least, most",
            value=f"{low_vol}, {high_vol}, {least}, {most}",
            fix="low_vol < high_vol and 0 < least <= most",
        )
    if vol is None:
        return least
    level, low, high = exact_vol(vol), exact_vol(low_vol), exact_vol(high_vol)
    share = min(max((level - low) / (high - low), Decimal(0)), ONE)
    return int((most - share * (most - least)).to_integral_value(rounding=ROUND_FLOOR))


def size_by_risk(equity: Decimal, risk_per_unit: Decimal, *, equity_fraction: Decimal, most: int) -> int:
    """Return how many units the budget carries: floor(fraction x equity / risk), capped; at least 0.

    A unit that risks more than the budget is not bought: forcing one would break the budget exactly
    when the account is small.

    Parameters
    ----------
    equity, risk_per_unit
        Currency; of a bought option the whole premium is at risk.
    equity_fraction
        Fraction of the equity that one entry may risk.
    most
        Largest size.

    Examples
    --------
    >>> size_by_risk(Decimal(20_000), Decimal(85), equity_fraction=Decimal("0.01"), most=10)
    2
    """
    if risk_per_unit <= 0 or equity <= 0:
        return 0
    units = equity_fraction * equity / risk_per_unit
    return min(int(units.to_integral_value(rounding=ROUND_FLOOR)), most)


def exact_vol(value: float) -> Decimal:
    """Return a volatility as the decimal that it prints as."""
    if not value - value == 0.0:
        raise ArgumentError("a volatility must be finite", where="vol", value=value)
    return Decimal(repr(float(value)))


Sizing = Literal["fixed", "premium_fraction", "vega", "theta_budget", "kelly_fraction"]
"""Rules that set the number of straddles."""
_SHARES_OF_EQUITY: dict[Sizing, float] = {
    "fixed": 1.0,
    "premium_fraction": 0.05,
    "vega": 0.002,
    "theta_budget": 0.001,
    "kelly_fraction": 0.25,
}
"""Default of the share of the equity that each may use."""


_EquityShare = Annotated[float, above(0, 1, "a share of the equity: 0.05 is 5 %")]


class SizeConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of a size that is not fixed."""

    section = "size"
    fraction: _EquityShare | None = None
    """Share of the equity: paid as premium, lost a point of volatility, or lost to theta a session; of
    ``kelly_fraction`` the part of the Kelly size. None: 0.05, 0.002, 0.001 and 0.25.
    """
    max_premium_fraction: _EquityShare = 0.05
    """Largest share of the equity that all straddles together may cost."""
    max_straddles: Annotated[int, above(0, 10_000, "a number of straddles")] | None = None
    """Largest number; None for no such limit."""


_Bind = Literal["size", "premium", "cap", "buying_power", "stress"]
"""Limits that bind a number of straddles."""


class StraddleRisk(NamedTuple):
    """One straddle in US dollars (or the desk's currency): what its size is set by."""

    premium: float
    vega: float
    """A point of 30-day volatility, each leg by its expiry's weight."""
    theta: float
    """A session's, signed."""
    edge: float = 0.0
    stderr: float = 0.0
    """Standard error of the edge."""
    pnl_sd: float = 0.0
    """Standard deviation of the P&L to the horizon."""
    stress: float = 0.0
    """Loss by a large move of the spot and of its volatility in a session; 0 where nothing is lost by it."""


class _StraddleSize(NamedTuple):
    """Number of straddles, and what bounds it."""

    raw: float
    straddles: int
    bound_by: _Bind


def structure_size(
    sizing: Sizing,
    equity: float,
    risk: StraddleRisk,
    *,
    fixed: int = 1,
    config: SizeConfig | None = None,
    k_stderr: float = 1.0,
    buying_power: float | None = None,
) -> _StraddleSize:
    """Return how many straddles to buy: the size's floor, then the least of its limits; 0 to buy no straddle.

    ``kelly_fraction`` is fraction x equity x (edge less standard errors) / variance of the P&L (Kelly 1956;
    Thorp 2006).

    ``sizing``: What sets the size.
    ``equity``, ``buying_power``: Of the account, in its currency; None for no limit by the latter.
    ``risk``: One straddle.
    ``fixed``: Number of straddles of ``fixed``.
    ``config``: The limits.
    ``k_stderr``: Standard errors taken off the edge, for ``kelly_fraction``.

    Examples
    --------
    >>> risk = StraddleRisk(premium=1_180.0, vega=73.0, theta=-13.1)
    >>> structure_size("vega", 100_000.0, risk)
    _StraddleSize(raw=2.73972602739726, straddles=2, bound_by='size')
    """
    config = config or SizeConfig()
    share = config.fraction if config.fraction is not None else _SHARES_OF_EQUITY[sizing]
    budget = share * max(equity, 0.0)
    if sizing == "fixed":
        raw = float(fixed)
    elif sizing == "kelly_fraction":
        edge = max(risk.edge - k_stderr * risk.stderr, 0.0)
        raw = _ratio(budget * edge, risk.pnl_sd * risk.pnl_sd)
    else:
        measure = {"premium_fraction": risk.premium, "vega": risk.vega, "theta_budget": risk.theta}
        raw = _ratio(budget, abs(measure[sizing]))
    size = math.floor(raw + 1e-9)
    bound_by: _Bind = "size"
    limits: list[tuple[float, _Bind]] = [
        (_ratio(config.max_premium_fraction * max(equity, 0.0), risk.premium), "premium")
    ]
    if config.max_straddles is not None:
        limits.append((float(config.max_straddles), "cap"))
    if risk.stress > 0.0:  # whatever else binds, or does not: a day may not cost more than the account
        limits.append((_ratio(max(equity, 0.0), risk.stress), "stress"))
    if buying_power is not None:
        limits.append((_ratio(max(buying_power, 0.0), risk.premium), "buying_power"))
    for most, name in limits:
        if math.floor(most + 1e-9) < size:
            size, bound_by = math.floor(most + 1e-9), name
    return _StraddleSize(raw, size, bound_by)


def _ratio(budget: float, each: float) -> float:
    """Return how many of ``each`` a budget holds; 0 where ``each`` is not above 0."""
    return budget / each if each > 0.0 and math.isfinite(budget / each) else 0.0


class _PnlDeviation(NamedTuple):
    """Standard deviation of a hedged straddle's P&L to a horizon, in currency."""

    hedging: float
    """Deviation by hedging so many times instead of always (Derman and Kamal 1999)."""
    forecast: float
    """Deviation by the error of the forecast."""
    volatility: float
    """Deviation by the moves of implied volatility, at which the options are sold again."""

    @property
    def total(self) -> float:
        """All three, independent of one another."""
        return math.hypot(self.hedging, self.forecast, self.volatility)


def pnl_deviation(
    gamma_shares_per_usd: float,
    spot: float,
    vol: float,
    horizon_years: float,
    hedges: float,
    edge_stderr: float,
    vega_usd_per_point: float,
) -> _PnlDeviation:
    """Return the deviation of one straddle's P&L, which ends with its sale at the market's volatility.

    The logarithm of the volatility is a random walk of :data:`~scalpdesk.portfolio.vol_filter.VOL_OF_VOL`.

    ``gamma_shares_per_usd``, ``spot``: Of one straddle; currency.
    ``vol``, ``horizon_years``: Fraction a year and years, on the variance clock.
    ``hedges``: Expected number to the horizon; fewer than one count as one.
    ``edge_stderr``: Standard error of the edge, in currency.
    ``vega_usd_per_point``: Of one straddle, a point of 30-day volatility.

    Examples
    --------
    >>> round(pnl_deviation(5.4, 275.0, 0.16, 5 / 252, 60, 84.0, 73.0).total, 4)
    185.6946
    """
    variance = vol * vol * horizon_years
    hedging = 0.5 * abs(gamma_shares_per_usd) * spot * spot * variance * math.sqrt(2.0 / max(hedges, 1.0))
    points = 100.0 * vol * VOL_OF_VOL * math.sqrt(max(horizon_years, 0.0))
    return _PnlDeviation(hedging, abs(edge_stderr), abs(vega_usd_per_point) * points)


class ScaleConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Scaling of a held straddle with its edge."""

    section = "scale"
    max_multiple: Annotated[float, at_least(1, 100, "straddles over those bought first")] | None = None
    """Most straddles, in multiples of those bought first; 1 only takes off. None switches scaling off."""
    # below 0.4 the half that was sold could be bought back at the edge at which it was sold
    hysteresis: ClassVar[float] = 0.5
    """Part of what is held by which the size that the edge is worth must differ from it."""
    passes: ClassVar[int] = 3
    pass_seconds: ClassVar[float] = 60.0
    """``passes``, ``pass_seconds``: So many looks in a row must agree, at least so far apart."""


class ScaleRule:
    """The size of a held straddle, in proportion to its edge, traded once it is far enough off.

    The best size is proportional to the edge (Kelly 1956), but each change pays a spread: nothing is traded
    while the size that the edge is worth lies within ``hysteresis`` of what is held (the no-trade region of
    Davis and Norman 1990). Above it straddles are bought up to that size, below it half is sold. Since half
    of the edge must go before any is sold, noise of the edge is not paid for.

    ``config``: ``max_multiple`` must be set.
    ``straddles``: Those held at the first look.
    ``first``: Those bought first, whose multiple is the most; None for ``straddles``.

    Examples
    --------
    >>> rule = ScaleRule(ScaleConfig(max_multiple=3), 2)
    >>> [rule.wanted(at * 60_000_000_000, 2, edge) for at, edge in enumerate((20.0, 28.0, 35.0, 35.0, 35.0))]
    [2, 2, 2, 2, 3]
    """

    def __init__(self, config: ScaleConfig, straddles: int, first: int | None = None) -> None:
        self._held_at_first_look, self._hysteresis = straddles, config.hysteresis
        self._most = math.floor((config.max_multiple or 1.0) * (first or straddles) + 1e-9)
        self._up, self._down = (GatePasses(config.passes, config.pass_seconds) for _ in range(2))
        self.first_edge_usd: float | None = None
        """Edge at the first look: what the straddles held then were worth."""

    def is_due(self, now_ns: int) -> bool:
        """Return whether a look counts now."""
        return self._up.is_due(now_ns)

    @property
    def due_ns(self) -> int:
        """When the next look counts, UTC nanoseconds; 0 for at once."""
        return self._up.due_ns

    def wanted(self, now_ns: int, held: int, edge_usd: float | None) -> int:
        """Return how many straddles to hold: ``held`` while nothing is to be done.

        ``now_ns``: UTC nanoseconds.
        ``held``: Straddles held.
        ``edge_usd``: Edge of one before its spread, which is paid sooner or later; None where it is not
        known.
        """
        if self.first_edge_usd is None:
            self.first_edge_usd = edge_usd
        first = self.first_edge_usd
        if edge_usd is None or first is None or first <= 0.0:
            worth = float(held)
        else:
            worth = self._held_at_first_look * edge_usd / first
        more = min(math.floor(worth + 1e-9), self._most)
        is_grown = worth >= (1.0 + self._hysteresis) * held - 1e-9 and more > held
        is_shrunk = worth <= (1.0 - self._hysteresis) * held + 1e-9 and held > 1
        if self._up.note(now_ns, passed=is_grown):
            return more
        return held - held // 2 if self._down.note(now_ns, passed=is_shrunk) else held

    def forget(self) -> None:
        """Reset the counts, as after a change of size or a night."""
        self._up.forget()
        self._down.forget()
