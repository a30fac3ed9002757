"""Combined premium of the options that are held, and its mean over the session.

The premium of one set is the sum over its legs of signed ratio times mid, in the currency of the quotes for
one unit of the underlying; what a sold structure would cost to buy back is negative. Its mean is the same sum
over the legs' means: by volume (VWAP) where trades of every leg are known, and by time (TWAP) of the quotes.
"""

import math
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import NamedTuple

from scalpdesk.core.enums import SessionPhase
from scalpdesk.core.events import BarEvent, Event, QuoteEvent, SessionEvent, TradeEvent
from scalpdesk.core.units import SATOSHI, InstrumentId
from scalpdesk.instruments.contract import Instruments, underlying_of
from scalpdesk.portfolio.positions import Position

Ratios = Mapping[InstrumentId, int]
"""Signed quantity of each leg in one set of a structure."""


class Premium(NamedTuple):
    """Premium of one set now, and its means from the session's open on; NaN where a leg's is not known."""

    mid: float
    vwap: float
    """Of prints, or of bars with their volumes by the mean of high, low and close."""
    twap: float


UNKNOWN = Premium(math.nan, math.nan, math.nan)


class _OptionMeans:
    """Prices of one option since the session's open."""

    __slots__ = ("bars", "counted_ns", "mid", "prints", "since_ns", "weighted")

    def __init__(self) -> None:
        self.mid = math.nan
        self.since_ns = self.counted_ns = 0
        self.weighted = 0.0
        self.prints, self.bars = [0.0, 0.0], [0.0, 0.0]
        """Turnover and volume."""

    def turn(self, mid: float, now_ns: int) -> None:
        if self.mid == self.mid:  # else a side was missing
            stood = now_ns - self.since_ns
            self.weighted += self.mid * stood
            self.counted_ns += stood
        self.mid, self.since_ns = mid, now_ns

    def twap(self, now_ns: int) -> float:
        stood = now_ns - self.since_ns if self.mid == self.mid else 0
        counted = self.counted_ns + stood
        return (self.weighted + (self.mid * stood if stood else 0.0)) / counted if counted else self.mid

    def vwap(self) -> float:
        turnover, volume = self.prints if self.prints[1] else self.bars
        return turnover / volume if volume else math.nan


class PremiumFold:
    """Keeps mid, time-weighted and volume-weighted mean of each option, from each event in order."""

    def __init__(self, instruments: Instruments) -> None:
        self._options = [number for number, each in enumerate(instruments) if each.is_option]
        self._means: dict[int, _OptionMeans] = {}
        """Of the options, while a session is open; those of the last one stay."""
        self._open: dict[int, _OptionMeans] = {}
        """The same between open and close, else empty."""

    def quote(self, event: QuoteEvent) -> None:
        """Take a quote."""
        means = self._open.get(event.instrument_id)
        if means is not None and (mid := 0.5 * (event.bid + event.ask)) != means.mid:
            means.turn(mid, event.ts_recv_ns)

    def take(self, event: Event) -> None:
        """Take what is no quote."""
        if isinstance(event, SessionEvent):
            self._turn(event)
        elif isinstance(event, TradeEvent):
            self._trade(event.instrument_id, event.price, event.size, is_print=True)
        elif isinstance(event, BarEvent):
            typical = (event.high + event.low + event.close) / 3.0
            self._trade(event.instrument_id, typical, event.volume, is_print=False)

    def _turn(self, event: SessionEvent) -> None:
        if event.phase is SessionPhase.OPEN:
            self._open = self._means = {number: _OptionMeans() for number in self._options}
            return
        self._open = {}
        for means in self._means.values():
            means.turn(math.nan, event.ts_recv_ns)

    def _trade(self, number: InstrumentId, price: float, size: float, *, is_print: bool) -> None:
        means = self._open.get(number)
        if means is None or not (size > 0.0 and math.isfinite(price)):
            return
        sums = means.prints if is_print else means.bars
        sums[0] += price * size
        sums[1] += size

    def premium(self, ratios: Ratios, now_ns: int) -> Premium:
        """Return the premium of one set of a structure at an instant of the session, UTC nanoseconds."""
        legs = [(ratio, self._means.get(number)) for number, ratio in ratios.items()]
        found = [(ratio, means) for ratio, means in legs if means is not None]
        if not legs or len(found) < len(legs):  # no session has begun
            return UNKNOWN
        return Premium(
            sum(ratio * means.mid for ratio, means in found),
            sum(ratio * means.vwap() for ratio, means in found),
            sum(ratio * means.twap(now_ns) for ratio, means in found),
        )


def held_ratios(held: Iterable[Position]) -> Ratios | None:
    """Return the options that are held as one set; empty without any.

    None where they are of several underlyings or contract sizes: such legs have no premium in common.
    """
    legs = [each for each in held if each.instrument.is_option]
    kinds = {(underlying_of(each.instrument), each.multiplier) for each in legs}
    if len(kinds) > 1:
        return None
    units = {each.instrument_id: int(each.quantity / SATOSHI) for each in legs}
    sets = reduce(math.gcd, units.values(), 0)
    return {number: count // sets for number, count in units.items()}
