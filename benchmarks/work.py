"""The work every event engine is given: one instrument, one dead band, and the exact answer.

A position is long gamma: its delta in shares rises linearly with the mid price. A hedger watches every quote
and, when the net delta (position plus hedge shares) leaves a dead band, sends one market order that brings it
to zero, rounded half away from zero. The order fills at the far side of the quote that caused it: no fee, no
latency, displayed size never a limit.

Everything here is integer arithmetic in ticks of one cent, so the expected fills are exact and any engine's
answer can be compared with ``==``. This module needs numpy only.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

SEED = 20_180_205
QUOTES = 1_000_000
FIRST_BID_TICKS = 40_000
"""The walk starts at 400.00 bid, 400.01 ask."""
PIVOT_HALF_TICKS = 2 * FIRST_BID_TICKS
"""Mid, in half ticks, at which the long-gamma position has no delta."""
DELTA_TENTHS_PER_HALF_TICK = 27
"""Slope of the position's delta: 2.7 shares per half tick, 540 shares per dollar."""
BAND_SHARES = 46.25
"""Never reached exactly (net delta moves in tenths), so no engine's rounding decides whether to trade."""
WIDE_BAND_SHARES = 202.25
"""A band as seldom left as a session's hedges come: about 0.05 % of the quotes trade."""
DISPLAYED_SHARES = 1_000_000
FIRST_QUOTE_NS = 1_517_841_000_000_000_000
"""2018-02-05 14:30:00 UTC."""
QUOTE_INTERVAL_NS = 23_400_000
"""A million quotes fill one session of six and a half hours."""


@dataclass(frozen=True, slots=True)
class Quotes:
    """Columns of one instrument's best bid and ask; the ask is one tick above the bid."""

    ts_ns: npt.NDArray[np.int64]
    bid_ticks: npt.NDArray[np.int64]
    ask_ticks: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ts_ns)

    def first(self, count: int) -> "Quotes":
        """The first `count` quotes."""
        return Quotes(self.ts_ns[:count], self.bid_ticks[:count], self.ask_ticks[:count])

    def save(self, path: Path, *, band_shares: float = BAND_SHARES) -> None:
        """Write the columns and the hedger's constants, for a program that cannot import this one."""
        np.savez(
            path,
            ts_ns=self.ts_ns,
            bid_ticks=self.bid_ticks,
            ask_ticks=self.ask_ticks,
            pivot_half_ticks=PIVOT_HALF_TICKS,
            delta_tenths_per_half_tick=DELTA_TENTHS_PER_HALF_TICK,
            band_shares=band_shares,
            displayed_shares=DISPLAYED_SHARES,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """Final state of a correct engine.

    `pnl_cents` is that of the hedge shares: cash from all fills plus the final holding at the side of the
    last quote at which it would be closed (bid when long, ask when short).
    """

    fills: int
    position: int
    pnl_cents: int


def make_quotes(count: int = QUOTES) -> Quotes:
    """The first `count` quotes of a seeded walk.

    Each moves a tick down, stays, or moves a tick up, with chances 5 : 4 : 5. A shorter series is a prefix
    of a longer one.
    """
    if not 1 <= count <= QUOTES:
        message = f"count must be between 1 and {QUOTES}, not {count}"
        raise ValueError(message)
    draws = np.random.default_rng(SEED).integers(0, 14, size=QUOTES, dtype=np.int64)[:count]
    steps = (draws >= 9).astype(np.int64) - (draws <= 4)
    steps[0] = 0
    bid_ticks = FIRST_BID_TICKS + np.cumsum(steps)
    ts_ns = FIRST_QUOTE_NS + QUOTE_INTERVAL_NS * np.arange(count, dtype=np.int64)
    return Quotes(ts_ns, bid_ticks, bid_ticks + 1)


def hedge_shares(half_ticks: int, held_shares: int) -> int:
    """Signed shares that bring the net delta at this mid to zero, rounded half away from zero."""
    net_tenths = DELTA_TENTHS_PER_HALF_TICK * (half_ticks - PIVOT_HALF_TICKS) + 10 * held_shares
    magnitude = (abs(net_tenths) + 5) // 10
    return -magnitude if net_tenths > 0 else magnitude


def answer(quotes: Quotes, *, band_shares: float = BAND_SHARES) -> Answer:
    """Fills, holding and profit of the dead-band hedger, in integers throughout.

    Raises
    ------
    ValueError
        If the last quote itself triggers a hedge: an engine that fills one bar later could not show it.
    """
    band_tenths = 10 * band_shares
    held = cash_ticks = fills = 0
    traded = False
    bid = ask = 0
    for bid, ask in zip(quotes.bid_ticks.tolist(), quotes.ask_ticks.tolist(), strict=True):
        half_ticks = bid + ask
        net_tenths = DELTA_TENTHS_PER_HALF_TICK * (half_ticks - PIVOT_HALF_TICKS) + 10 * held
        traded = abs(net_tenths) > band_tenths
        if traded:
            shares = hedge_shares(half_ticks, held)
            cash_ticks -= shares * (ask if shares > 0 else bid)
            held += shares
            fills += 1
    if traded:
        message = "the last quote triggers a hedge; take one quote more or less"
        raise ValueError(message)
    return Answer(fills=fills, position=held, pnl_cents=cash_ticks + held * (bid if held > 0 else ask))
