"""What the marks say of a trade: worth soon after its opening, and volatilities.

They are read from the marks of the run. A mark is made before the fills of its instant are booked, so
that one between fills knows all before it.
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from scalpdesk.core.intents import Mark
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.contract import Instrument, OptionContract
from scalpdesk.instruments.postings import Posting
from scalpdesk.report.fold import BookMark, Fill
from scalpdesk.report.trade_words import OpenedLeg, Opening, is_determined
from scalpdesk.volatility.variance_time import VarianceClock

MINUTES = (1, 5, 30)
"""After the opening, at which a trade's options are valued."""
_OLDEST_NS = 60 * NANOS_PER_SECOND
"""Of the mark that stands for an instant."""


class MarkedBook:
    """A book at its marks: what its options are worth by the change of its value and its fills; volatilities.

    ``marks``, ``fills``: Of the book, in order.
    ``listed``: Instruments of the run, by their numbers.
    ``changes``: What moved units or cash without an order.
    ``underlying``: Symbol of the shares whose price the marks state; None where the hedge is none of shares.
    """

    def __init__(
        self,
        marks: Iterable[Mark | BookMark],
        fills: Iterable[Fill],
        listed: Sequence[Instrument],
        changes: Sequence[Posting],
        underlying: str | None,
    ) -> None:
        self._stamps, self._value = array("q"), array("d")
        self._spots, self._vols = array("d"), array("d")
        value = 0.0
        for mark in marks:
            value += float(mark.nav_change) - float(mark.parts.get("fees", 0))
            self._stamps.append(mark.ts_ns)
            self._value.append(value)
            self._spots.append(mark.spot)
            self._vols.append(mark.implied_vol)
        self._changes = sorted(change.ts_ns for change in changes)
        self._underlying = underlying
        self._others = False
        self._flows: list[tuple[int, float, float]] = []
        """Instant, what was paid (fees apart) and the shares that came with it."""
        contracts = {each.symbol: each for each in listed if each.is_option}
        for fill in fills:
            if not fill.busted:
                self._add_fill(fill, contracts)
        for change in changes:
            if listed[change.instrument_id].symbol == underlying:
                self._flows.append((change.ts_ns, 0.0, float(change.units)))
        self._flows.sort()
        self._traded = {ts_ns for ts_ns, *_ in self._flows}

    def _add_fill(self, fill: Fill, contracts: Mapping[str, OptionContract]) -> None:
        units = float(fill.quantity if fill.side == "buy" else -fill.quantity)
        contract = contracts.get(fill.symbol or "")
        if contract is not None:
            self._flows.append((fill.ts_recv_ns, units * float(fill.price) * contract.multiplier, 0.0))
        elif fill.symbol == self._underlying:
            self._flows.append((fill.ts_recv_ns, units * float(fill.price), units))
        else:
            self._others = True

    def worths(self, opened_ns: int, closed_ns: int | None) -> dict[str, Any]:
        """Return what the options of a trade were worth soon after its opening, and why one is not known."""
        found, notes = dict[str, Any](), list[str]()
        for minutes in MINUTES:
            worth, why = self.worth_after(opened_ns, closed_ns, minutes)
            found[f"worth_after_{minutes}"] = None if worth is None else round(worth, 8)
            notes += [f"{minutes} min: {why}"] if why else []
        return found | {"worth_note": "; ".join(notes) or None}

    def worth_after(self, opened_ns: int, closed_ns: int | None, minutes: int) -> tuple[float | None, str]:
        """Return what the options of a trade were worth so long after its opening; else None and why."""
        at_ns = opened_ns + minutes * 60 * NANOS_PER_SECOND
        if self._others:
            return None, "something else than the underlying's shares was traded beside the options"
        if closed_ns is not None and closed_ns <= at_ns:
            return None, "closed by then"
        if not self._stamps or self._stamps[-1] < at_ns:
            return None, "the run has no mark so late"
        last = bisect_right(self._stamps, at_ns) - 1
        while last >= 0 and self._stamps[last] in self._traded:
            last -= 1
        oldest_ns = max(at_ns - _OLDEST_NS, opened_ns + 1)
        if last < 0 or self._stamps[last] < oldest_ns:
            return None, "no mark in the minute before"
        return self.worth_at(opened_ns, last)

    def worth_at(self, opened_ns: int, last: int) -> tuple[float | None, str]:
        """Return what options bought since ``opened_ns`` were worth at a mark, by its place."""
        base = bisect_left(self._stamps, opened_ns) - 1
        while base >= 0 and self._stamps[base] in self._traded:
            base -= 1
        from_ns, at_ns = self._stamps[base] if base >= 0 else 0, self._stamps[last]
        if bisect_right(self._changes, at_ns) > bisect_right(self._changes, from_ns) and base >= 0:
            return None, "the position changed without an order"
        before = self._value[base] if base >= 0 else 0.0
        held = sum(shares for ts_ns, _, shares in self._flows if ts_ns <= from_ns)
        flows = [(paid, shares) for ts_ns, paid, shares in self._flows if from_ns < ts_ns < at_ns]
        shares = held + sum(shares for _, shares in flows)
        if (shares and not self._spots[last]) or (held and not self._spots[base]):
            return None, "the underlying had no price yet"
        start = held * self._spots[base] if base >= 0 else 0.0
        paid = sum(paid for paid, _ in flows)
        return self._value[last] - before + paid - (shares * self._spots[last] - start), ""

    @property
    def last_ns(self) -> int:
        """Instant of the last mark, UTC nanoseconds; 0 without one."""
        return self._stamps[-1] if self._stamps else 0

    def spot_at(self, ts_ns: int) -> float | None:
        """Return the price of the last mark up to an instant that has one, else of the first after it."""
        place = bisect_right(self._stamps, ts_ns)
        near = (*reversed(self._spots[:place][-5:]), *self._spots[place : place + 5])
        return next((spot for spot in near if spot > 0.0), None)

    def vol_in(self, opening: Opening, until_ns: int) -> float | None:
        """Return the volatility at the first mark after an opening that knows all of its instant's fills."""
        for place in range(bisect_right(self._stamps, opening.ts_ns), bisect_right(self._stamps, until_ns)):
            if self._vols[place] and self._stamps[place] not in self._traded:
                return self._determined(place, opening.ts_ns, opening.legs)
        return None

    def vol_out(self, closing: Opening, opened_ns: int) -> float | None:
        """Return the volatility at the last mark before a closing."""
        place = bisect_right(self._stamps, closing.ts_ns) - 1
        while place >= 0 and self._stamps[place] > opened_ns and not self._vols[place]:
            place -= 1
        if place < 0 or self._stamps[place] <= opened_ns:
            return None
        return self._determined(place, closing.ts_ns, closing.legs)

    def _determined(self, place: int, ts_ns: int, legs: Sequence[OpenedLeg]) -> float | None:
        """Return the volatility of a mark; None where a leg's price determines none."""
        spot, vol = self._spots[place], self._vols[place]
        priced = [leg for leg in legs if leg.price is not None]
        return vol if spot > 0.0 and all(is_determined(leg, spot, ts_ns, vol) for leg in priced) else None

    def realised(
        self,
        from_ns: int,
        until_ns: int,
        clock: VarianceClock,
        adjustments: Sequence[int],
        dividends: Sequence[tuple[int, float]],
    ) -> float | None:
        """Return the volatility of the spots between two instants; None where too little is known.

        Dividends are added back. A step in which the terms of the share changed counts neither as move nor
        time.
        """
        first, end = bisect_left(self._stamps, from_ns), bisect_right(self._stamps, until_ns)
        looks = zip(self._stamps[first:end], self._spots[first:end], strict=True)
        known = [(ts_ns, spot) for ts_ns, spot in looks if spot > 0.0]
        years = clock.years(known[0][0], known[-1][0]) if len(known) > 1 else 0.0
        total = 0.0
        for (start_ns, before), (end_ns, after) in pairwise(known):
            if any(start_ns <= at_ns <= end_ns for at_ns in adjustments):
                years -= clock.years(start_ns, end_ns)
                continue
            paid = sum(amount for ex_ns, amount in dividends if start_ns < ex_ns <= end_ns)
            total += math.log((after + paid) / before) ** 2
        return math.sqrt(total / years) if years > 0.0 else None
