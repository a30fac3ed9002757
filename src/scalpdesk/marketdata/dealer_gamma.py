"""Dealer gamma exposure of an option chain, the hedging thresholds that depend on it, and its settings.

The exposure is ``Σ s·Γ·OI·multiplier·S²·0.01``: the dollars of delta that dealers gain when the underlying
moves 1 %, with ``s = +1`` for calls and ``-1`` for puts. The sign assumes that customers sell calls and buy
puts: a convention that cannot be observed, for everything built on it as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from scalpdesk.core.bounds import Positive
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import GammaExposureEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import OptionContract

Floats = NDArray[np.float64]

NEAR_MONEY = 0.005
"""Strikes this close to the underlying, as a fraction of it, are near the money."""
_MIN_COVERAGE = 0.80
"""Smallest share of a chain's rows with a gamma and an open interest for a meaningful sum."""
FLIP_SPAN = 0.15
"""Half width of the search for a flip level, as a fraction of the spot."""
FLIP_STEP = 0.0025
MIN_YEARS = 1.0 / 8_760.0
"""One hour: on the last day gamma concentrates on one strike, and a shorter time would be noise."""
_ONE_PERCENT = 0.01
_BISECTIONS = 80


@dataclass(frozen=True, slots=True)
class ExposureRows:
    """Options of one underlying as columns of equal length, one row an option.

    Raises ArgumentError when the columns differ in length.
    """

    strike: Floats
    is_call: NDArray[np.bool_]
    """``strike``, ``is_call``: Strike in currency per unit of the underlying, and the right."""
    gamma: Floats
    """Change of delta per 1.00 of the underlying, for one unit; NaN where unknown."""
    open_interest: Floats
    """Contracts at the end of the previous session; NaN where not published."""
    multiplier: Floats
    """Units of the underlying in one contract."""
    expiry: tuple[date, ...] = ()
    """Dates, one a row."""
    vol: Floats | None = None
    """Implied volatility per year, for repricing; NaN where it is not known."""
    years: Floats | None = None
    """Time to expiry in years, for repricing."""

    def __post_init__(self) -> None:
        """Refuse columns of unequal length."""
        rows = len(self.strike)
        for name in ("is_call", "gamma", "open_interest", "multiplier", "expiry", "vol", "years"):
            column = getattr(self, name)
            optional = name in {"expiry", "vol", "years"}
            if optional and (column is None or not len(column)):
                continue
            if len(column) != rows:
                raise ArgumentError(
                    f"every column has one value a row: {rows}", where=name, value=len(column)
                )

    def __len__(self) -> int:
        return len(self.strike)


@dataclass(frozen=True, slots=True)
class StrikeExposure:
    """Exposure of all options of one strike, in USD per move of 1 %; puts are negative."""

    strike: float
    call_usd: float
    put_usd: float

    @property
    def net_usd(self) -> float:
        """Calls plus puts."""
        return self.call_usd + self.put_usd


@dataclass(frozen=True, slots=True)
class _GammaExposure:
    """Dealer gamma exposure of a chain."""

    spot: float
    """Underlying at which the gammas were computed."""
    sum_usd: float
    """Sum over the counted rows, in USD of delta per move of 1 %."""
    rows_listed: int
    rows_counted: int
    """``rows_listed``, ``rows_counted``: Rows of the chain, and those with both a gamma and an open interest.
    """
    by_strike: tuple[StrikeExposure, ...]
    """In order of the strike."""
    by_expiry: tuple[tuple[date, float], ...]
    """Date and sum, in order of the date."""
    call_wall: float | None
    """Strike with the largest exposure of calls; None without one."""
    put_wall: float | None
    """Strike with the most negative exposure of puts; None without one. The lower of two equal strikes."""

    @property
    def coverage(self) -> float:
        """Share of counted rows; 0 for an empty chain."""
        return self.rows_counted / self.rows_listed if self.rows_listed else 0.0

    @property
    def reason(self) -> str:
        """Why the exposure is unknown; empty when it is known."""
        if not self.rows_listed:
            return "no options"
        if self.coverage < _MIN_COVERAGE:
            return f"coverage {self.coverage:.0%} is below {_MIN_COVERAGE:.0%}"
        if self.call_wall is None and self.put_wall is None:
            return "no contract has open interest: a chain without it says nothing of dealers"
        return ""

    @property
    def net_usd(self) -> float | None:
        """The sum, or None where it is not known: :attr:`reason`."""
        return None if self.reason else self.sum_usd


def listed_rows(
    listed: Sequence[tuple[InstrumentId, OptionContract]],
    gamma: Sequence[float],
    interest: Mapping[InstrumentId, float],
) -> ExposureRows:
    """Return the rows of listed options: each one's gamma, and the contracts of it that are open.

    ``listed``: Number and contract of each option.
    ``gamma``: Of each option, change of delta per 1.00 of the underlying; NaN where unknown.
    ``interest``: Contracts at the end of the previous session; an option without is unknown.
    """
    return ExposureRows(
        strike=np.array([float(contract.strike) for _, contract in listed]),
        is_call=np.array([contract.is_call for _, contract in listed]),
        gamma=np.array(gamma),
        open_interest=np.array([float(interest.get(number, np.nan)) for number, _ in listed]),
        multiplier=np.array([float(contract.multiplier) for _, contract in listed]),
        expiry=tuple(contract.expiry for _, contract in listed),
    )


def covered(exposure: _GammaExposure, day: date) -> dict[str, int | None]:
    """Return what of the chain is counted: contracts, those listed, and days to its first and last expiry."""
    days = [(expiry - day).days for expiry, _ in exposure.by_expiry]
    return {
        "contracts": exposure.rows_counted,
        "listed": exposure.rows_listed,
        "first_days": min(days, default=None),
        "last_days": max(days, default=None),
    }


def covered_text(exposure: _GammaExposure, day: date) -> str:
    """Return the same in words."""
    found = covered(exposure, day)
    text = f"{found['contracts']} of {found['listed']} contracts"
    return text if found["first_days"] is None else f"{text}, {found['first_days']}–{found['last_days']} days"


def exposures(rows: ExposureRows, spot: float) -> Floats:
    """Return the signed exposure of every row, in USD of delta per move of 1 %.

    Returns NaN where the gamma or the open interest is missing. An option without open interest counts as 0
    with or without a gamma. Raises ArgumentError when the spot is not a positive number.
    """
    _check_spot(spot)
    sign = np.where(rows.is_call, 1.0, -1.0)
    values = sign * rows.gamma * rows.open_interest * rows.multiplier * spot * spot * _ONE_PERCENT
    values = np.where(rows.open_interest == 0.0, 0.0, values)
    return np.where(np.isfinite(values), values, np.nan)


def gamma_exposure(rows: ExposureRows, spot: float) -> _GammaExposure:
    """Sum a chain's exposure by strike, by expiry and in total.

    Rows without a gamma or an open interest are left out and lower the coverage.

    Raises
    ------
    ArgumentError
        When the spot is not a positive number.
    """
    by_row = exposures(rows, spot)
    counts = np.isfinite(by_row)
    value = by_row[counts]
    strikes, place = np.unique(rows.strike[counts], return_inverse=True)
    is_call = rows.is_call[counts]
    calls = np.bincount(place[is_call], weights=value[is_call], minlength=len(strikes))
    puts = np.bincount(place[~is_call], weights=value[~is_call], minlength=len(strikes))
    by_expiry: dict[date, float] = {}
    for row in np.flatnonzero(counts) if rows.expiry else ():
        by_expiry[rows.expiry[row]] = by_expiry.get(rows.expiry[row], 0.0) + float(by_row[row])
    # argmax and argmin give the first of equals: the lower strike
    call_wall = float(strikes[np.argmax(calls)]) if len(strikes) and calls.max() > 0.0 else None
    put_wall = float(strikes[np.argmin(puts)]) if len(strikes) and puts.min() < 0.0 else None
    return _GammaExposure(
        spot=spot,
        sum_usd=float(value.sum()),
        rows_listed=len(rows),
        rows_counted=int(counts.sum()),
        by_strike=tuple(
            StrikeExposure(float(k), float(c), float(p)) for k, c, p in zip(strikes, calls, puts, strict=True)
        ),
        by_expiry=tuple(sorted(by_expiry.items())),
        call_wall=call_wall,
        put_wall=put_wall,
    )


def exposure_near(exposure: _GammaExposure) -> float:
    """Return the net exposure of the strikes near the money, in USD per 1 %."""
    reach = NEAR_MONEY * exposure.spot
    return sum(row.net_usd for row in exposure.by_strike if abs(row.strike - exposure.spot) <= reach)


def repriced_exposure(
    rows: ExposureRows,
    spots: Floats,
    *,
    rate: float | Floats = 0.0,
    dividend_yield: float | Floats = 0.0,
) -> Floats:
    """Return the net exposure of the chain at other levels of the underlying.

    Gamma is Black–Scholes–Merton's at each option's own volatility (sticky strike), with its variance over at
    least an hour.

    ``rows``: The chain with ``vol`` and ``years``; rows without volatility or open interest are left out.
    ``spots``: Levels of the underlying, all above 0.
    ``rate``, ``dividend_yield``: Continuously compounded, a year; a scalar or one value a row.

    Returns one sum a level, in USD of delta per move of 1 %.

    Raises ArgumentError when the chain has no volatilities or times.
    """
    if rows.vol is None or rows.years is None:
        raise ArgumentError("repricing needs the volatility and the time of every row", where="rows")
    weight = np.where(rows.is_call, 1.0, -1.0) * rows.open_interest * rows.multiplier
    use = np.isfinite(rows.vol) & (rows.vol > 0.0) & np.isfinite(weight) & (weight != 0.0)
    years = rows.years[use]
    dividend_yield = _per_row(dividend_yield, use)
    # the carry keeps the time that is left: it is measured over it
    deviation = rows.vol[use] * np.sqrt(np.maximum(years, MIN_YEARS))
    drift = (_per_row(rate, use) - dividend_yield) * years + 0.5 * deviation * deviation
    # Γ = e^{-qτ}·n(d₁)/(S·σ√τ); one S of the S² cancels
    scale = weight[use] * np.exp(-dividend_yield * years) / (deviation * np.sqrt(2.0 * np.pi)) * _ONE_PERCENT
    log_strike = np.log(rows.strike[use])
    sums = np.empty(len(spots))
    for i, level in enumerate(spots):
        d1 = (np.log(level) - log_strike + drift) / deviation
        sums[i] = level * float(scale @ np.exp(-0.5 * d1 * d1))
    return sums


def gamma_flip(
    rows: ExposureRows,
    spot: float,
    *,
    rate: float | Floats = 0.0,
    dividend_yield: float | Floats = 0.0,
) -> float | None:
    """Return the level nearest to the spot at which the repriced exposure changes its sign.

    The profile is repriced on a grid around the spot, and every change of sign refined by bisection. (A
    change of sign along the strikes at today's gammas is no level of the underlying.)

    ``rows``: The chain with ``vol`` and ``years``.
    ``spot``: Underlying, above 0.
    ``rate``, ``dividend_yield``: Continuously compounded, a year.

    Returns None where the sign does not change within :data:`FLIP_SPAN` of the spot.

    Raises ArgumentError when the spot is not positive, or the chain has no volatilities.
    """
    _check_spot(spot)
    carry = {"rate": rate, "dividend_yield": dividend_yield}
    steps = round(FLIP_SPAN / FLIP_STEP)
    grid = spot * (1.0 + np.arange(-steps, steps + 1, dtype=np.float64) * FLIP_STEP)
    profile = repriced_exposure(rows, grid, **carry)
    # far from every strike the sum is exactly 0: search for a change of sign across such a gap
    flips = []
    for low, high in pairwise(np.flatnonzero(profile != 0.0).tolist()):
        sign = np.sign(profile[low])
        if np.sign(profile[high]) == sign:
            continue
        below, above = float(grid[low]), float(grid[high])
        for _ in range(_BISECTIONS):
            middle = 0.5 * (below + above)
            if not below < middle < above:
                break
            value = float(repriced_exposure(rows, np.array([middle]), **carry)[0])
            if value == 0.0:
                below = above = middle
            elif np.sign(value) == sign:
                below = middle
            else:
                above = middle
        flips.append(0.5 * (below + above))
    return min(flips, key=lambda level: abs(level - spot), default=None)


def reference_exposure_usd(history_usd: Sequence[float]) -> float | None:
    """Return the size of a large exposure: the 90 % quantile of its absolute value over 60 sessions.

    The history has the net exposure of each session, oldest first; NaN for a session without one. None when
    fewer than 20 sessions of the window are known, or all exposures are zero.
    """
    last = np.abs(np.asarray(history_usd[-60:], dtype=np.float64))
    known = last[np.isfinite(last)]
    if len(known) < 20:
        return None
    size = float(np.quantile(known, 0.90))
    return size if size > 0.0 else None


def _per_row(value: float | Floats, use: NDArray[np.bool_]) -> Floats:
    column: Floats = np.broadcast_to(np.asarray(value, dtype=np.float64), use.shape)[use]
    return column


def _check_spot(spot: float) -> None:
    if not (np.isfinite(spot) and spot > 0.0):
        raise ArgumentError("the underlying must be a positive number", where="spot", value=spot)


STANDARD_THRESHOLD = Decimal("0.15")
TIGHT_THRESHOLD = Decimal("0.10")
MAX_AGE_SECONDS = 900.0
"""Age above which a dealer gamma exposure counts as unknown."""
BY_HAND = "environment"
"""Source of a value set by the operator, which does not age."""


def known_exposure_usd(
    event: GammaExposureEvent | None, now_ns: int, *, max_age_seconds: float = MAX_AGE_SECONDS
) -> float | None:
    """Return the exposure (USD of delta per move of 1 %) if it is known and fresh, else None.

    Its age counts by the source's timestamp; a value set by the operator does not age.
    """
    if event is None or not -1e300 < event.exposure_usd < 1e300:  # NaN and infinities too
        return None
    stale = now_ns - event.ts_event_ns > max_age_seconds * NANOS_PER_SECOND
    return None if stale and event.source != BY_HAND else event.exposure_usd


def threshold_by_dealers(
    exposure_usd: float | None,
    *,
    standard: Decimal = STANDARD_THRESHOLD,
    tight: Decimal = TIGHT_THRESHOLD,
) -> Decimal:
    """Return the net delta threshold: tight while dealers are short gamma, else (or unknown) standard.

    ``standard`` and ``tight`` are in the unit of the net delta. Raises ArgumentError when a threshold is
    negative or ``tight`` exceeds ``standard``.
    """
    if not 0 <= tight <= standard:
        raise ArgumentError(
            "the tight threshold lies between 0 and the standard one",
            where="standard, tight",
            value=(str(standard), str(tight)),
        )
    return tight if exposure_usd is not None and exposure_usd < 0.0 else standard


def threshold_by_own_gamma(
    gamma_shares_per_usd: float | None,
    *,
    standard: Decimal = STANDARD_THRESHOLD,
    tight: Decimal = TIGHT_THRESHOLD,
) -> Decimal:
    """Return the net delta threshold: tight while the desk's position is short gamma, else standard.

    A short position loses on every unhedged move, whatever dealers hold; a long one gains and can wait. A
    trending market (dealers short) rewards a long desk for waiting, unlike :func:`threshold_by_dealers`,
    whose arguments and errors apply here.
    """
    return threshold_by_dealers(gamma_shares_per_usd, standard=standard, tight=tight)


DEFAULT_DOCUMENT = "market_regime/SPX_GEX"
DEFAULT_SYMBOL = "SPX"
CACHE_SECONDS = 60.0
TIMEOUT_SECONDS = 3.0


class ExposureSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Dealer gamma exposure: where it comes from and when it is too old."""

    symbol: str = DEFAULT_SYMBOL
    """Underlying that ``marketdata.gex_value`` and the store's document are about."""
    store: Literal["auto", "firestore", "none"] = "auto"
    """Where a live desk asks; ``auto`` asks Firestore when a project or a local server is named."""
    document: str = DEFAULT_DOCUMENT
    """Path of the Firestore document."""
    cache_seconds: Positive = CACHE_SECONDS
    """Time for which an answer stands, and the pause between two questions."""
    max_age_seconds: Positive = MAX_AGE_SECONDS
    """Age of the document's last update at which its value counts as unknown."""
    timeout_seconds: Positive = TIMEOUT_SECONDS
    """Longest wait for an answer."""
    from_chain: bool = True
    """Compute it from the data's open interest where nothing better is there and the strategy reads it."""
    chain_minutes: Positive = 10.0
    """Minutes from one computation to the next."""
