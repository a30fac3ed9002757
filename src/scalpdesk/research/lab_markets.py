"""Sessions that the band lab hedges, in columns, and those that are simulated."""

import math
from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.units import NANOS_PER_SECOND, SESSIONS_PER_YEAR
from scalpdesk.hedging.base import TRADING_YEAR_SECONDS, HedgeInputs
from scalpdesk.hedging.kernels.columns import fill_straddles
from scalpdesk.pricing.base import Floats
from scalpdesk.research.session_model import SessionModel

_CHUNK_PATHS = 256
"""Paths of a block: its columns stay in a processor's cache."""
_SESSION_SECONDS = TRADING_YEAR_SECONDS / SESSIONS_PER_YEAR


class LabSessions(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions in columns: a row a path, a column a look; prices have one column more, the end."""

    now_ns: NDArray[np.int64]
    spot: Floats
    half_spread: Floats
    """Cost of a share one way, currency."""
    discount: Floats
    """Factor of each column to the start."""
    delta: Floats
    """Delta of the options alone, shares, at the volatility of the hedge."""
    gamma: Floats
    vol: Floats
    """A row for all paths, or each."""
    years: Floats
    """To expiry, one a look."""
    rate: Floats
    """One a look."""
    option_pnl: Floats
    """One a path."""
    least_steps: Floats
    inputs: HedgeInputs
    """At the first look: the size of the position, and when the first hedge counts from."""
    strike: float
    units: float
    """Straddles times shares of a contract, signed."""
    high: Floats
    low: Floats
    """``high``, ``low``: Extremes of the price between each look and the next."""
    exposure_usd: Floats | None = None
    """Dealer gamma at each look, NaN where unknown; a row for all paths, or each."""
    looked: tuple[HedgeInputs, ...] = ()
    """Inputs of a band at each look, of a day of a desk; the net delta is that of the options alone."""

    @property
    def cost_fraction(self) -> Floats:
        """Cost of a share one way over its price, at each look."""
        return np.asarray(self.half_spread[:, :-1] / self.spot[:, :-1])

    @property
    def since_ns(self) -> int:
        """Instant from which the time to the first hedge counts."""
        return int(self.now_ns[0]) - int(self.inputs.seconds_since_hedge * NANOS_PER_SECOND)


def simulate_sessions(market: SessionModel) -> Iterator[LabSessions]:
    """Yield the sessions of a market in blocks; equal settings give equal sessions."""
    generator = np.random.default_rng(market.seed)
    left = market.days
    while left > 0:
        paths = min(left, _CHUNK_PATHS)
        left -= paths
        yield _block(market, paths, generator)


def _block(market: SessionModel, paths: int, generator: np.random.Generator) -> LabSessions:
    looks, strike = market.looks, market.spot
    step = 1.0 / (SESSIONS_PER_YEAR * looks)
    passed = np.arange(looks + 1) * step
    left = np.maximum(market.dte / 365.0 - passed, 1e-12)
    log_spot, vol = _paths(market, paths, step, left, generator)
    log_spot += market.rate * passed
    spot = strike * np.exp(log_spot)
    root = np.sqrt(left)
    deviation, shift = vol * root, (market.rate / vol + 0.5 * vol) * root
    delta, gamma = np.empty((paths, looks)), np.empty((paths, looks))
    fill_straddles(
        spot,
        log_spot,
        np.ascontiguousarray(deviation[:, :-1]),
        np.ascontiguousarray(shift[:, :-1]),
        market.units,
        delta,
        gamma,
    )
    value = market.units * _straddle(spot, strike, deviation, shift, np.exp(-market.rate * left))
    discount = np.exp(-market.rate * passed)
    opening = market.opening()
    high, low = _extremes(spot, market.vol * math.sqrt(step), generator)
    flips = spot[:, :-1] >= market.spot  # the model of dealers: long gamma above the open, short below
    return LabSessions(
        now_ns=(np.arange(looks) * (_SESSION_SECONDS / looks * NANOS_PER_SECOND)).astype(np.int64),
        spot=spot,
        half_spread=spot * (market.cost_bp * 1e-4),
        discount=discount,
        delta=delta,
        gamma=gamma,
        vol=np.ascontiguousarray(vol[:, :-1]),
        years=left[:-1],
        rate=np.full(looks, market.rate),
        option_pnl=value[:, -1] * discount[-1] - value[:, 0],
        least_steps=np.ones(looks),
        inputs=opening,
        strike=strike,
        units=market.units,
        high=high,
        low=low,
        exposure_usd=np.where(flips, 1.0, -1.0),
    )


def _extremes(spot: Floats, deviation: float, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw the extremes between columns, of Brownian bridges with the mean volatility of a step."""
    before, after = spot[:, :-1], spot[:, 1:]
    variance = np.square(deviation * before)
    drawn = generator.exponential(size=(2, *before.shape))
    high, low = (np.sqrt(np.square(after - before) + 2.0 * variance * each) for each in drawn)
    return 0.5 * (before + after + high), 0.5 * (before + after - low)


def _straddle(spot: Floats, strike: float, deviation: Floats, shift: Floats, keep: Floats) -> Floats:
    """Return the value of a straddle of one share, at the first and the last column."""
    from scipy.special import ndtr  # noqa: PLC0415 - a tenth of a second that only simulations pay

    ends = [0, -1]
    at, wide = spot[:, ends], deviation[:, ends]
    d1 = np.log(at / strike) / wide + shift[:, ends]
    d2 = d1 - wide
    return np.asarray(at * (2.0 * ndtr(d1) - 1.0) - strike * keep[ends] * (2.0 * ndtr(d2) - 1.0))


HESTON_SPEED, HESTON_VOL, _HESTON_CORRELATION = 5.0, 0.3, -0.7
_JUMPS_PER_SESSION, _JUMP_PART, _JUMP_MEAN = 0.5, 0.5, -0.3
"""Jumps a session, their part of the variance, and their mean in standard deviations of a jump."""


def _paths(
    market: SessionModel, paths: int, step: float, left: Floats, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return the logarithms of price over start without the rate, and the implied volatility, by column."""
    shape, variance = (paths, market.looks), market.vol**2
    normal = generator.standard_normal(shape)
    implied = np.full((1, market.looks + 1), market.hedge_vol)
    if market.model == "gbm":
        moves = market.vol * math.sqrt(step) * normal - 0.5 * variance * step
        return _summed(moves), implied
    if market.model == "jumps":
        rest = (1.0 - _JUMP_PART) * variance
        rate = _JUMPS_PER_SESSION * SESSIONS_PER_YEAR
        size = math.sqrt(_JUMP_PART * variance / (rate * (1.0 + _JUMP_MEAN**2)))
        mean = _JUMP_MEAN * size
        counts = generator.poisson(rate * step, shape)
        jumps = counts * mean + np.sqrt(counts) * size * generator.standard_normal(shape)
        drift = -0.5 * rest - rate * math.expm1(mean + 0.5 * size**2)
        return _summed(math.sqrt(rest * step) * normal + jumps + drift * step), implied
    other = generator.standard_normal(shape)
    shocks = _HESTON_CORRELATION * normal + math.sqrt(1.0 - _HESTON_CORRELATION**2) * other
    now, moves = np.full(paths, variance), np.empty(shape)
    state = np.empty((paths, market.looks + 1))
    state[:, 0] = now
    for i in range(market.looks):  # full truncation (Lord, Koekkoek and van Dijk, 2010)
        held = np.maximum(now, 0.0)
        moves[:, i] = np.sqrt(held * step) * normal[:, i] - 0.5 * held * step
        now = now + HESTON_SPEED * (variance - held) * step + HESTON_VOL * np.sqrt(held * step) * shocks[:, i]
        state[:, i + 1] = np.maximum(now, 0.0)
    # the option's price has the mean variance that is expected to its expiry
    weight = -np.expm1(-HESTON_SPEED * left) / (HESTON_SPEED * left)
    premium = market.hedge_vol**2 - variance
    return _summed(moves), np.sqrt(np.maximum(variance + (state - variance) * weight + premium, 1e-8))


def _summed(moves: Floats) -> Floats:
    found = np.zeros((moves.shape[0], moves.shape[1] + 1))
    np.cumsum(moves, axis=1, out=found[:, 1:])
    return found
