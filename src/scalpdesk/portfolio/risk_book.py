"""A book as its risk is measured: options with their smile and time to come, repriced in full in a scenario.

A leg is repriced by its own exercise style, in its own currency. In a scenario the spot moves, the whole
smile moves with it (``sticky-delta``) or stays with the strikes (``sticky-strike``), its level moves with
the volatility index, and time passes on the variance clock.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from scipy.interpolate import RectBivariateSpline

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import DAY_SECONDS, DAYS_PER_YEAR, NANOS_PER_SECOND, years_between
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns, new_york_ns, next_session, to_new_york
from scalpdesk.pricing.base import Dividends, Floats, Greeks, after
from scalpdesk.pricing.models import greeks
from scalpdesk.volatility.filtered_moves import term_loading, vega_weight

SMILES = ("sticky-delta", "sticky-strike")
"""Whether the smile goes with the spot, or stays with the strikes."""
GRID_MOVES = tuple(round(0.02 * step, 2) for step in range(-5, 6))
"""Moves of the spot in the ladder, fractions."""
GRID_POINTS = (-0.10, -0.05, -0.02, 0.0, 0.02, 0.05, 0.10)
"""Changes of 30-day volatility in the ladder, 0.01 a point; each expiry moves by its :func:`vega_weight`."""
WORST_CASE = (
    "lowest P&L of the ladder now, {smile}: spot within 10 %, 30-day volatility within 10 points and every"
    " expiry by the root of time, nothing"
    " hedged or closed; with what is held, or with working orders filled as well, whichever is lower"
)
"""What the worst case is, wherever it is shown."""
_VARIANCE_REVERSION_PER_YEAR = 12.0
"""Speed at which variance reverts, as in the embedded market: a half life of three weeks."""
_LEAST_VOL, _LARGEST_VOL = 0.01, 10.0
"""Bounds of a volatility in a scenario, a fraction a year."""
_SPOT_NODES, _VOL_NODES = 25, 9
"""Nodes for the premium of early exercise of an option with cash dividends, which takes a fifth of a ms."""
STEPS = {"now": 0, "next session": 1, "in 5 sessions": 5}
"""Times of a scenario, and the sessions until then."""
CHUNK = 512
"""Scenarios priced in one call: the compiled code holds the interpreter's lock for about a millisecond."""

TermWeight = Callable[[float], float]
"""Points by which the volatility of an expiry moves for one of 30 days, by its calendar years."""
SmileShape = Callable[[Floats], Floats]
"""Volatilities at ln(strike / forward); only their ratio to that of the leg itself counts."""


_POINT = 0.01
_SHOCK_POINTS = 2.0
"""Rise of 30-day volatility in each shape, points."""
_SLOPE_PER_LOG = 1.0 / math.log(30.0 / 7.0)
"""A slope lifts a week by as many points as it is told, leaves 30 days, and lowers what is longer."""


def _slope(years: float) -> float:
    return _SLOPE_PER_LOG * math.log(30.0 / max(years * DAYS_PER_YEAR, 1.0))


_TERM_SHAPES: dict[str, TermWeight] = {
    "parallel": lambda _: 1.0,
    "root of time": vega_weight,
    "slope": _slope,
}
"""By how many points the volatility of an expiry moves for one of the shock, by its calendar years."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskLeg:
    """Position in one option."""

    symbol: str
    strike: float
    is_call: bool
    units: float
    """Contracts times multiplier, signed."""
    vol: float
    """Implied volatility now, a fraction a year of the calendar."""
    forward: float
    """Forward of the expiry now: the smile lies about it, and moves with the spot."""
    years: tuple[float, ...]
    """Calendar years to expiry now, and after each step of the book's horizon; 0 once it has expired."""
    clock_years: tuple[float, ...]
    """The same on the variance clock: total variance runs down with it."""
    rate: float = 0.0
    dividend_yield: float = 0.0
    dividends: Dividends = ()
    """Cash dividends ahead as (years to the ex-date, amount, years to the last notice)."""
    style: str = "american"
    is_inverse: bool = False
    forward_premium: float = 0.0
    """ln(forward / spot) over the years, of an inverse option."""
    smile: SmileShape | None = None
    """None keeps the volatility of the strike."""

    def vols(
        self,
        spot: float,
        spots: Floats,
        vol_moves: Floats,
        step: int,
        smile: str,
        vol_points: Floats,
        weigh: TermWeight = vega_weight,
    ) -> Floats:
        """Return the volatility of each scenario, a fraction a year of the calendar."""
        vol = np.full(spots.shape, self.vol)
        left = self.clock_years[step] / self.clock_years[0] if self.clock_years[0] > 0.0 else 0.0
        passed = self.years[step] / self.years[0] if self.years[0] > 0.0 else 0.0
        if left > 0.0 and passed > 0.0:
            vol *= math.sqrt(left / passed)  # what is left of the variance, over the calendar years left
        if self.smile is not None and smile == "sticky-delta" and left > 0.0:
            here = math.log(self.strike / self.forward)
            there = (here - np.log(spots / spot)) / math.sqrt(left)
            vol *= self.smile(there) / self.smile(np.array([here]))[0]
        loading = term_loading(self.years[0], _VARIANCE_REVERSION_PER_YEAR)
        points = weigh(self.years[0]) * vol_points
        return np.clip(vol * np.exp(loading * vol_moves) + points, _LEAST_VOL, _LARGEST_VOL)

    def values(self, spots: Floats, vols: Floats, step: int) -> Floats:
        """Return the value of the position in each scenario, in its currency."""
        ahead = self._dividends_after(step)
        if ahead and self.style == "american" and len(spots) > _SPOT_NODES * _VOL_NODES:
            return self.units * self._with_exercise(spots, vols, step, ahead)
        return self.units * self._prices(spots, vols, step, ahead, self.style)

    def greeks(self, spot: float, spots: Floats, step: int, smile: str) -> Greeks:
        """Return price and Greeks of one unit at a time and at each of the spots, its level as it is."""
        nothing = np.zeros(spots.shape)
        vols = self.vols(spot, spots, nothing, step, smile, nothing)
        return self._priced(spots, vols, step, self._dividends_after(step), self.style)

    def _dividends_after(self, step: int) -> Dividends:
        gone = self.years[0] - self.years[step]
        return [after(each, gone) for each in self.dividends if gone < each[0] <= self.years[0]]

    def _prices(self, spots: Floats, vols: Floats, step: int, ahead: Dividends, style: str) -> Floats:
        found = [
            self._priced(spots[start : start + CHUNK], vols[start : start + CHUNK], step, ahead, style).price
            for start in range(0, len(spots), CHUNK)
        ]
        return np.concatenate(found)

    def _priced(self, spots: Floats, vols: Floats, step: int, ahead: Dividends, style: str) -> Greeks:
        return greeks(
            spots * math.exp(self.forward_premium * self.years[step]),
            self.strike,
            self.years[step],
            vols,
            self.is_call,
            rate=self.rate,
            dividend_yield=self.dividend_yield,
            dividends=ahead,
            style="european" if self.is_inverse else style,
            model="inverse" if self.is_inverse else "bsm",
        )

    def _with_exercise(self, spots: Floats, vols: Floats, step: int, ahead: Dividends) -> Floats:
        """Return European prices and the premium of early exercise, a spline over spot and volatility."""
        european = self._prices(spots, vols, step, ahead, "european")
        low, high = np.log(spots.min()), np.log(spots.max())
        least, most = np.log(vols.min()), np.log(vols.max())
        at = (
            np.linspace(low - 1e-6, high + 1e-6, _SPOT_NODES),
            np.linspace(least - 1e-6, most + 1e-6, _VOL_NODES),
        )
        node_spots, node_vols = (np.exp(axis).ravel() for axis in np.meshgrid(*at, indexing="ij"))
        premium = self._prices(node_spots, node_vols, step, ahead, self.style) - self._prices(
            node_spots, node_vols, step, ahead, "european"
        )
        spline = RectBivariateSpline(*at, premium.reshape(_SPOT_NODES, _VOL_NODES), kx=3, ky=3)
        return np.asarray(european + np.maximum(spline.ev(np.log(spots), np.log(vols)), 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskPart:
    """Positions of a book in one underlying."""

    underlying: str
    spot: float
    legs: tuple[RiskLeg, ...] = ()
    shares: float = 0.0
    """Units of the underlying held, signed."""
    inverse_usd: float = 0.0
    """US dollars held in inverse futures, signed: worth −A/S coins."""

    def pnl(
        self,
        spots: Floats,
        vol_moves: Floats,
        *,
        step: int = 0,
        smile: str = SMILES[0],
        vol_points: Floats | float = 0.0,
        weigh: TermWeight = vega_weight,
    ) -> Floats:
        """Return the P&L of each scenario against the book here and now, by full repricing.

        ``spots``: Price of the underlying in each scenario, above 0.
        ``vol_moves``: Log change of the 30-day volatility index; each leg moves by its :func:`term_loading`
        of it.
        ``step``: 0 for now, else the place of the time in the legs' ``years``.
        ``smile``: One of :data:`SMILES`.
        ``vol_points``: Change of 30-day volatility, 0.01 for a point, by its expiry's weight on each leg's.
        ``weigh``: That weight, by calendar years to expiry.

        Raises ArgumentError when a spot is not above 0, or the smile is unknown.
        """
        if smile not in SMILES:
            raise ArgumentError(
                "unknown move of the smile", where="smile", value=smile, fix=" or ".join(SMILES)
            )
        spots, vol_moves = np.atleast_1d(spots).astype(np.float64), np.atleast_1d(vol_moves)
        if not bool(np.all(np.isfinite(spots) & (spots > 0.0))):
            raise ArgumentError("a spot is above 0", where="spots", value=float(np.min(spots)))
        points = np.broadcast_to(np.asarray(vol_points, dtype=np.float64), spots.shape)
        total = self.shares * (spots - self.spot) - self.inverse_usd * (1.0 / spots - 1.0 / self.spot)
        here, nothing = np.array([self.spot]), np.zeros(1)
        for leg in self.legs:
            moved = np.broadcast_to(vol_moves, spots.shape)
            vols = leg.vols(self.spot, spots, moved, step, smile, points, weigh)
            now = leg.values(here, leg.vols(self.spot, here, nothing, 0, smile, nothing), 0)
            total += leg.values(spots, vols, step) - now
        return total

    def greeks(self, step: int, smile: str) -> tuple[float, float, float, float]:
        """Return delta and gamma in units of the underlying, theta a calendar day, weighted vega a point."""
        dollars = self.inverse_usd / self.spot
        delta, gamma, theta, vega = self.shares + dollars, -dollars / self.spot, 0.0, 0.0
        for leg in self.legs:
            found = leg.greeks(self.spot, np.array([self.spot]), step, smile)
            delta += leg.units * float(found.delta[0])
            gamma += leg.units * float(found.gamma[0])
            theta += leg.units * float(found.theta[0]) / DAYS_PER_YEAR
            vega += leg.units * float(found.vega[0]) * vega_weight(leg.years[step]) / 100.0
        return delta, gamma, theta, vega


class LadderRow(msgspec.Struct, frozen=True, kw_only=True):
    """Greeks of the options of one expiry, of all contracts; amounts in the currency of the book."""

    underlying: str
    days: float
    """Calendar days to expiry."""
    legs: int
    """Options that are held of it."""
    forward: float
    vega: float
    """For a point of this expiry's volatility."""
    weighted_vega: float
    """For a point of 30-day volatility: this expiry moves by the root of 30 over its days."""
    delta: float
    gamma: float
    """``delta``, ``gamma``: Units of the underlying, and that for a move of one."""
    theta: float
    """A calendar day."""
    vanna: float
    """Units of the underlying for a point of volatility."""
    volga: float
    """Change of vega for a point."""
    charm: float
    """Units of the underlying a calendar day."""
    vega_usd: float
    """US dollars a point: of an option in coin beside ``vega``, else the same."""


class TermShock(msgspec.Struct, frozen=True, kw_only=True):
    """P&L of a move of the term structure of volatility, by full repricing, and what vega and volga say."""

    shape: str
    points: float
    full: float
    first: float
    second: float
    rest: float
    """What neither of them explains."""


class VegaLadder(msgspec.Struct, frozen=True, kw_only=True):
    """Greeks of a book by expiry, vega beside its weighted one, and what moves of the term structure cost.

    A vega of one expiry is no vega of another: volatility of a week moves by more points than that of a
    quarter. Raw and weighted sums stand side by side; who hedges the raw sum of a calendar hedges the wrong
    way.
    """

    rows: list[LadderRow]
    total: dict[str, float]
    """Sums of what adds up across underlyings: currency, no units of one of them."""
    shocks: list[TermShock]


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskBook:
    """Positions at an instant, by underlying."""

    as_of_ns: int
    parts: tuple[RiskPart, ...]
    currency: str = "USD"
    is_coin: bool = False
    """Whether its underlyings are coins: no index of shares or of their volatility tells of them."""
    holdings: tuple[tuple[str, float], ...] = ()
    """Symbol and quantity of each position."""
    structure: str | None = None
    """Which shape its options form, in words; None where they form none."""

    def pnl(
        self,
        returns: Sequence[Floats],
        vol_moves: Floats,
        *,
        step: int = 0,
        smile: str = SMILES[0],
        vol_points: Floats | float = 0.0,
    ) -> Floats:
        """Return the P&L of joint scenarios: log returns of each part's underlying, one volatility move."""
        found = [
            part.pnl(part.spot * np.exp(moves), vol_moves, step=step, smile=smile, vol_points=vol_points)
            for part, moves in zip(self.parts, returns, strict=True)
        ]
        return np.asarray(np.sum(found, axis=0)) if found else np.zeros(len(vol_moves))

    def ladder(
        self,
        moves: Sequence[float] = GRID_MOVES,
        vol_points: Sequence[float] = GRID_POINTS,
        *,
        step: int = 0,
        smile: str = SMILES[0],
    ) -> Floats:
        """Return the P&L at each move of every spot (rows) and change of 30-day volatility (columns)."""
        axes = np.meshgrid(np.asarray(moves), np.asarray(vol_points), indexing="ij")
        spots, points = (axis.ravel() for axis in axes)
        returns = [np.log1p(spots)] * len(self.parts)
        found = self.pnl(returns, np.zeros(len(spots)), step=step, smile=smile, vol_points=points)
        return found.reshape(axes[0].shape)

    def greeks(self, step: int, main: float, smile: str = SMILES[0]) -> tuple[float, float, float, float]:
        """Return delta and gamma in units of what costs ``main``, theta a day, weighted vega a point."""
        total = np.zeros(4)
        for part in self.parts:
            scale = main / part.spot
            total += np.array(part.greeks(step, smile)) * (1.0 / scale, 1.0 / scale**2, 1.0, 1.0)
        delta, gamma, theta, vega = total.tolist()
        return delta, gamma, theta, vega

    def by_expiry(self) -> VegaLadder:
        """Return the Greeks of its options by underlying and expiry, the nearest first."""
        rows = [_row(part, legs) for part in self.parts for legs in _by_expiry(part)]
        total = {
            "vega": math.fsum(row.vega for row in rows),
            "weighted_vega": math.fsum(row.weighted_vega for row in rows),
            "theta": math.fsum(row.theta for row in rows),
            "volga": math.fsum(row.volga for row in rows),
            "vega_usd": math.fsum(row.vega_usd for row in rows),
        }
        return VegaLadder(
            rows=rows, total=total, shocks=[self.term_shock(shape) for shape in _TERM_SHAPES] if rows else []
        )

    def term_shock(
        self, shape: str, points: float = _SHOCK_POINTS, weigh: TermWeight | None = None
    ) -> TermShock:
        """Return what a move of the term structure costs; ``weigh`` stands for that of ``shape``.

        ``points``: Of volatility, by the weight of each expiry.
        """
        weigh = _TERM_SHAPES[shape] if weigh is None else weigh
        full = first = second = 0.0
        for part in self.parts:
            moved = part.pnl(np.array([part.spot]), np.zeros(1), vol_points=_POINT * points, weigh=weigh)
            full += float(moved[0])
            for legs in _by_expiry(part):
                row, change = _row(part, legs), points * weigh(legs[0].years[0])
                first += row.vega * change
                second += 0.5 * row.volga * change * change
        rest = full - first - second
        return TermShock(shape=shape, points=points, full=full, first=first, second=second, rest=rest)


class LowestCell(NamedTuple):
    """Lowest cell of the ladders of a book now, see :data:`WORST_CASE`."""

    pnl: float
    move: float
    vol_points: float
    orders_filled: bool
    """Whether it is that of the book with its working orders filled."""
    smile: str

    @property
    def definition(self) -> str:
        """What this figure is, in words."""
        return WORST_CASE.format(smile=self.smile)


def _by_expiry(part: RiskPart) -> Iterator[list[RiskLeg]]:
    found: dict[float, list[RiskLeg]] = {}
    for leg in part.legs:
        found.setdefault(leg.years[0], []).append(leg)
    yield from (found[years] for years in sorted(found))


def _row(part: RiskPart, legs: list[RiskLeg]) -> LadderRow:
    sums = dict.fromkeys(("delta", "gamma", "theta", "vega", "vanna", "volga", "charm"), 0.0)
    usd = 0.0
    for leg in legs:
        found = leg.greeks(part.spot, np.array([part.spot]), 0, "sticky-delta")
        for name in sums:
            sums[name] += leg.units * float(getattr(found, name)[0])
        usd += leg.units * float((found.usd if leg.is_inverse else found).vega[0])
    years = legs[0].years[0]
    return LadderRow(
        underlying=part.underlying,
        days=years * DAYS_PER_YEAR,
        legs=len(legs),
        forward=legs[0].forward,
        vega=_POINT * sums["vega"],
        weighted_vega=_POINT * sums["vega"] * vega_weight(years),
        delta=sums["delta"],
        gamma=sums["gamma"],
        theta=sums["theta"] / DAYS_PER_YEAR,
        vanna=_POINT * sums["vanna"],
        volga=_POINT * _POINT * sums["volga"],
        charm=sums["charm"] / DAYS_PER_YEAR,
        vega_usd=_POINT * usd,
    )


def worst_case(held: RiskBook, filled: RiskBook | None = None, smile: str = SMILES[0]) -> LowestCell:
    """Return the lowest P&L of the ladder of what is held, or of what is held once its orders are filled."""
    return min(_lowest(book, smile, is_filled=book is filled) for book in (held, filled) if book is not None)


def _lowest(book: RiskBook, smile: str, *, is_filled: bool) -> LowestCell:
    pnl = book.ladder(smile=smile)
    row, column = np.unravel_index(int(np.argmin(pnl)), pnl.shape)
    return LowestCell(float(pnl[row, column]), GRID_MOVES[row], GRID_POINTS[column], is_filled, smile)


def step_instants(now_ns: int, *, always_open: bool) -> tuple[int, ...]:
    """Return the instants of :data:`STEPS`: the same time of day, by New York's clock, not after the close.

    A market that never closes counts days.
    """
    if always_open:
        return tuple(now_ns + days * DAY_SECONDS * NANOS_PER_SECOND for days in STEPS.values())
    here, found = to_new_york(now_ns), []
    for sessions in STEPS.values():
        day, close_ns = here.date(), None
        for _ in range(sessions):
            session = next_session(day)
            day, close_ns = session.day, session.close_ns
        at_ns = now_ns if close_ns is None else new_york_ns(day, here.time())
        found.append(at_ns if close_ns is None else min(at_ns, close_ns))
    return tuple(found)


def risk_leg(
    contract: OptionContract,
    quantity: float,
    *,
    vol: float,
    spot: float,
    instants: Sequence[int],
    clock_years: Callable[[int, int], float],
    rate: float = 0.0,
    dividend_yield: float = 0.0,
    dividends: Dividends = (),
    forward: float | None = None,
    smile: SmileShape | None = None,
) -> RiskLeg:
    """Return a position in an option as a leg of a book.

    ``contract``, ``quantity``: The option, and the contracts held, signed.
    ``vol``: Implied volatility now, a fraction a year.
    ``instants``: Now, and the later times of the book (:func:`step_instants`), UTC nanoseconds.
    ``clock_years``: Years of the variance clock between two instants.
    ``rate``, ``dividend_yield``, ``dividends``: A year, continuous; cash dividends as (years to the ex-date,
    amount, years to the last exercise notice).
    ``forward``: That of its expiry, for an inverse option in dollars; carried from the spot when None.
    ``smile``: Volatilities at ln(strike / forward).
    """
    expires_ns = expiry_instant_ns(contract)
    years = tuple(max(years_between(at_ns, expires_ns), 0.0) for at_ns in instants)
    if forward is None:
        paid = sum(amount * math.exp(-rate * ahead) for ahead, amount, *_ in dividends if ahead <= years[0])
        forward = (spot - paid) * math.exp((rate - dividend_yield) * years[0])
    return RiskLeg(
        symbol=contract.symbol,
        strike=float(contract.strike),
        is_call=contract.is_call,
        units=quantity * contract.multiplier,
        vol=vol,
        forward=forward,
        years=years,
        clock_years=tuple(
            clock_years(at_ns, expires_ns) if at_ns < expires_ns else 0.0 for at_ns in instants
        ),
        rate=0.0 if contract.is_inverse else rate,
        dividend_yield=0.0 if contract.is_inverse else dividend_yield,
        dividends=dividends,
        style=contract.style.value,
        is_inverse=contract.is_inverse,
        forward_premium=math.log(forward / spot) / years[0] if contract.is_inverse and years[0] else 0.0,
        smile=smile,
    )
