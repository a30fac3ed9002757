"""Second-by-second path of the embedded market, given the day's open, high, low and close.

The model is a driftless diffusion with stochastic variance whose quadratic variation over the session is the
day's Garman-Klass estimate. It is conditioned in three steps: the close by bridging (exact), high and low by
drawing many bridges and selecting the one with the nearest extremes (approximate Bayesian computation, with
an error of a few hundredths of the day's deviation), and the remaining distance by a small piecewise linear
correction on the variance clock.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scalpdesk.datasets.embedded import days as figures
from scalpdesk.datasets.embedded.kernels import sticky_bids

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_COARSE_SECONDS = 15
_CANDIDATES, _BLOCK = 1500, 50
"""Bridges among which is chosen, and those that are drawn at once: they stay in the processor's cache."""
_REFINED = 8


@dataclass(frozen=True, slots=True)
class SessionCents:
    """Open, high, low and close of the share in whole cents."""

    open: int
    high: int
    low: int
    close: int


@dataclass(frozen=True, slots=True)
class UnderlyingPath:
    """Quotes of the share from second 0 (the open) to second n (the close)."""

    bid_cents: Ints
    ask_cents: Ints
    anchors: Ints
    """Seconds of open, high, low and close; the quote is two cents wide there."""
    variance_clock: Floats
    """Share of the session's variance up to each second, 0 to 1."""

    @property
    def mid(self) -> Floats:
        """Mid in currency per share."""
        return (self.bid_cents + self.ask_cents) / 200.0


def u_shape(elapsed_share: Floats) -> Floats:
    """Relative variance per unit of time at a share (0 to 1) of the session; not normalised.

    Source: :data:`~scalpdesk.datasets.embedded.days.U_SHAPE_FLOOR` and the constants beside it.
    """
    opening = figures.U_SHAPE_OPEN * np.exp(-elapsed_share / figures.U_SHAPE_OPEN_DECAY)
    closing = figures.U_SHAPE_CLOSE * np.exp(-(1.0 - elapsed_share) / figures.U_SHAPE_CLOSE_DECAY)
    return np.asarray(figures.U_SHAPE_FLOOR + opening + closing)


def expected_clock(elapsed_share: Floats) -> Floats:
    """Expected share of the session's variance up to ``elapsed_share``: the integral of :func:`u_shape`."""

    def integral(x: Floats) -> Floats:
        a, b, c, d, e = (
            figures.U_SHAPE_FLOOR,
            figures.U_SHAPE_OPEN,
            figures.U_SHAPE_OPEN_DECAY,
            figures.U_SHAPE_CLOSE,
            figures.U_SHAPE_CLOSE_DECAY,
        )
        return np.asarray(a * x + b * c * (1.0 - np.exp(-x / c)) + d * e * np.exp(-(1.0 - x) / e))

    start, end = integral(np.zeros(1))[0], integral(np.ones(1))[0]
    return np.asarray((integral(elapsed_share) - start) / (end - start))


@dataclass(frozen=True, slots=True)
class Leader:
    """A path drawn before, which another one moves with."""

    path: UnderlyingPath
    correlation: float
    """Correlation of the moves within steps of :data:`_COARSE_SECONDS`, once each has its own deviation."""

    def weights(self) -> Floats:
        """Return the share of the day's variance in each coarse step."""
        return np.diff(self.path.variance_clock[::_COARSE_SECONDS])

    def shocks(self) -> Floats:
        """Return the moves of the coarse steps about their drift, each in its own deviations."""
        moves = np.diff(np.log(self.path.mid[::_COARSE_SECONDS]))
        weights = self.weights()
        moves = (moves - moves.sum() * weights) / np.sqrt(weights)
        return np.asarray(moves / moves.std())


def draw_path(
    generator: np.random.Generator,
    seconds: int,
    cents: SessionCents,
    variance: float,
    leader: Leader | None = None,
) -> UnderlyingPath:
    """Draw a path through the four prices.

    ``generator``: Source of randomness; the path is a pure function of its state and the other arguments.
    ``seconds``: Length of the session, a multiple of 60.
    ``cents``: The four prices, which the path meets exactly.
    ``variance``: Quadratic variation of the log price over the session (a fraction squared, not annualised).
    ``leader``: Path whose quick and slow minutes and whose moves it shares; None for a path of its own.

    With ``seconds + 1`` points. The highest mid is ``cents.high``, the lowest ``cents.low``, the
    first ``cents.open`` and the last ``cents.close``; every other mid lies half a cent or more inside.
    """
    high, low, close = (math.log(x / cents.open) for x in (cents.high, cents.low, cents.close))
    steps = seconds // _COARSE_SECONDS
    weights = _variance_weights(generator, steps) if leader is None else leader.weights()
    clock = np.concatenate(([0.0], np.cumsum(weights)))
    nearest = np.empty((0, steps + 1))
    for coarse in _bridges(generator, weights * variance, clock, close, leader):
        both = np.concatenate((nearest, coarse[_by_distance(coarse, high, low)[:_REFINED]]))
        nearest = both[_by_distance(both, high, low)[:_REFINED]]
    fine = _refine(generator, nearest, weights * variance)
    log_path = fine[_by_distance(fine, high, low)[0]]
    fine_clock = np.interp(np.arange(seconds + 1) / _COARSE_SECONDS, np.arange(len(clock)), clock)
    log_path, at_high, at_low = _pin_extremes(log_path, fine_clock, high, low)
    anchors = np.array([0, at_high, at_low, seconds], dtype=np.int64)
    bid, ask = _quote_cents(cents.open * np.exp(log_path), anchors, cents)
    return UnderlyingPath(bid, ask, anchors, fine_clock)


def _variance_weights(generator: np.random.Generator, steps: int) -> Floats:
    """Share of the day's variance in each coarse step: U shape times a stochastic multiplier."""
    per_minute = 60 // _COARSE_SECONDS
    count = steps // per_minute
    pull = math.exp(-math.log(2.0) / figures.VOLATILITY_WAVE_HALF_LIFE_MINUTES)
    shocks = generator.standard_normal(count) * figures.VOLATILITY_WAVE_SD
    wave = np.empty(count)
    level = shocks[0]
    for i in range(count):
        level = level if i == 0 else pull * level + math.sqrt(1.0 - pull**2) * shocks[i]
        wave[i] = level
    own = generator.standard_normal(count) * figures.VOLATILITY_MINUTE_SD
    shape = u_shape((np.arange(steps) + 0.5) / steps)
    weights = shape * np.repeat(np.exp(wave + own), per_minute)
    return np.asarray(weights / weights.sum())


def _bridges(
    generator: np.random.Generator, variances: Floats, clock: Floats, close: float, leader: Leader | None
) -> Iterator[Floats]:
    """Many log paths from 0 to ``close`` on the coarse grid, in blocks of shape (BLOCK, steps + 1)."""
    deviations = np.sqrt(variances)
    shocks = np.zeros(0) if leader is None else leader.shocks()
    steps, paths = np.empty((_BLOCK, len(variances))), np.zeros((_BLOCK, len(variances) + 1))
    for _ in range(_CANDIDATES // _BLOCK):
        generator.standard_normal(out=steps)
        if leader is not None:
            steps *= math.sqrt(1.0 - leader.correlation**2)
            steps += leader.correlation * shocks
        steps *= deviations
        np.cumsum(steps, axis=1, out=paths[:, 1:])
        paths += (close - paths[:, -1:]) * clock
        paths[:, -1] = close
        yield paths


def _by_distance(paths: Floats, high: float, low: float) -> Ints:
    """Places of paths, from the one whose extremes are nearest to those wanted."""
    distance = np.hypot(paths.max(axis=1) - high, paths.min(axis=1) - low)
    return np.argsort(distance, kind="stable")


def _refine(generator: np.random.Generator, coarse: Floats, variances: Floats) -> Floats:
    """Fill the seconds between coarse points by Brownian bridges; shape (paths, seconds + 1)."""
    count, steps = coarse.shape[0], coarse.shape[1] - 1
    noise = generator.standard_normal((count, steps, _COARSE_SECONDS))
    noise *= np.sqrt(variances / _COARSE_SECONDS)[None, :, None]
    walk = np.cumsum(noise, axis=2)
    share = np.arange(1, _COARSE_SECONDS + 1) / _COARSE_SECONDS
    walk -= walk[:, :, -1:] * share
    line = coarse[:, :-1, None] + np.diff(coarse, axis=1)[:, :, None] * share
    fine = np.empty((count, steps * _COARSE_SECONDS + 1))
    fine[:, 0] = coarse[:, 0]
    fine[:, 1:] = (line + walk).reshape(count, -1)
    return fine


def _pin_extremes(path: Floats, clock: Floats, high: float, low: float) -> tuple[Floats, int, int]:
    """Correct the extremes of a path to ``high`` and ``low``; its ends stay."""
    last = len(path) - 1
    ends = (0.0, float(path[last]))
    # an extreme that is the open or the close is met there
    free_high, free_low = high > max(ends), low < min(ends)
    for _ in range(4):
        nodes = {0: 0.0, last: 0.0}
        for free, at, wanted in (
            (free_high, 1 + int(np.argmax(path[1:-1])), high),
            (free_low, 1 + int(np.argmin(path[1:-1])), low),
        ):
            if free or (path[at] > high or path[at] < low):
                nodes[at] = wanted - float(path[at])
        where = sorted(nodes)
        path = path + np.interp(clock, clock[where], [nodes[at] for at in where])
    # the remaining overshoot (a hundredth of the day's deviation) is reflected, not clipped
    path = np.where(path > high, 2.0 * high - path, path)
    path = np.where(path < low, 2.0 * low - path, path)
    path = np.clip(path, low, high)
    top = 1 + int(np.argmax(path[1:-1])) if free_high else ends.index(high) * last
    bottom = 1 + int(np.argmin(path[1:-1])) if free_low else ends.index(low) * last
    path[top], path[bottom] = high, low
    return path, top, bottom


def _quote_cents(value_cents: Floats, anchors: Ints, cents: SessionCents) -> tuple[Ints, Ints]:
    """Bid and ask in cents: one cent wide, following the value once it has left the displayed cent."""
    slack = figures.QUOTE_STICKINESS_CENTS
    lowest, highest = cents.low, cents.high - 1
    bid_cents = sticky_bids(value_cents, slack, lowest, highest)
    ask_cents = bid_cents + 1
    exact = np.array([cents.open, cents.high, cents.low, cents.close], dtype=np.int64)
    bid_cents[anchors] = exact - 1
    ask_cents[anchors] = exact + 1
    return bid_cents, ask_cents
