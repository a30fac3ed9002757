"""What a trade's options were worth soon after its opening, and the volatility they were sold at.

Both are read from the marks of the run. A mark is made before the fills of its instant are booked, so that
one between fills knows all before it.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.postings import Posting
from scalpdesk.instruments.sessions import to_new_york

MINUTES = (1, 5, 30)
"""After the opening, at which a trade's options are valued."""
OLDEST_NS = 60 * NANOS_PER_SECOND
"""Of the mark that stands for an instant."""


class MarkedBook:
    """A book at its marks: what its options are worth by the change of its value and its fills.

    Parameters
    ----------
    marks, fills
        Of the book, in order.
    options
        By symbol: when the contract expires (UTC nanoseconds), and its multiplier.
    changes
        What moved units or cash without an order.
    symbols
        Of the run's instruments, by their numbers.
    underlying
        Symbol of the shares whose price the marks state; None where the hedge is none of shares.
    """

    def __init__(
        self,
        marks: Iterable[Mapping[str, Any]],
        fills: Iterable[Mapping[str, Any]],
        options: Mapping[str, tuple[int, int]],
        changes: Sequence[Posting],
        symbols: Sequence[str],
        underlying: str | None,
    ) -> None:
        self._stamps, self._value = array("q"), array("d")
        self._spots, self._vols = array("d"), array("d")
        value = 0.0
        for mark in marks:
            value += float(mark["nav_change"]) - float(mark["parts"].get("fees", 0))
            self._stamps.append(mark["ts_ns"])
            self._value.append(value)
            self._spots.append(mark.get("spot") or 0.0)
            self._vols.append(mark.get("implied_vol") or 0.0)
        self._changes = sorted(change.ts_ns for change in changes)
        self._underlying = underlying
        self._others = False
        self._flows: list[tuple[int, float, float]] = []
        """Instant, what was paid (fees apart) and the shares that came with it."""
        for fill in fills:
            if not fill["busted"]:
                self._add_fill(fill, options)
        for change in changes:
            if symbols[change.instrument_id] == underlying:
                self._flows.append((change.ts_ns, 0.0, float(change.units)))
        self._flows.sort()
        self._traded = {ts_ns for ts_ns, *_ in self._flows}

    def _add_fill(self, fill: Mapping[str, Any], options: Mapping[str, tuple[int, int]]) -> None:
        symbol, sign = fill["symbol"], 1.0 if fill["side"] == "buy" else -1.0
        units = sign * float(fill["quantity"])
        if symbol in options:
            self._flows.append((fill["ts_recv_ns"], units * float(fill["price"]) * options[symbol][1], 0.0))
        elif symbol == self._underlying:
            self._flows.append((fill["ts_recv_ns"], units * float(fill["price"]), units))
        else:
            self._others = True

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
        oldest_ns = max(at_ns - OLDEST_NS, opened_ns + 1)
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

    def exit_vol(self, opened_ns: int, closed_ns: int | None) -> float | None:
        """Return the implied volatility at the last mark of a trade that was closed; None where unknown."""
        if closed_ns is None:
            return None
        at = bisect_right(self._stamps, closed_ns) - 1
        while at >= 0 and self._stamps[at] > opened_ns and not self._vols[at]:
            at -= 1
        if at < 0 or self._stamps[at] <= opened_ns:
            return None
        return self._vols[bisect_left(self._stamps, self._stamps[at])] or self._vols[at]


def stamp_of(
    row: Mapping[str, Any], book: MarkedBook, options: Mapping[str, tuple[int, int]]
) -> dict[str, Any]:
    """Return what is stamped on a trade beside its P&L: days to expiry, volatility sold, worth soon after."""
    opened_ns, closed_ns = row["opened_ns"], row["closed_ns"]
    found: dict[str, Any] = {
        "days_to_expiry": days_to_expiry(opened_ns, [options[symbol][0] for symbol in row["legs"]]),
        "exit_vol": book.exit_vol(opened_ns, closed_ns),
    }
    notes = []
    for minutes in MINUTES:
        worth, why = book.worth_after(opened_ns, closed_ns, minutes)
        found[f"worth_after_{minutes}"] = None if worth is None else round(worth, 8)
        if why:
            notes.append(f"{minutes} min: {why}")
    return found | {"worth_note": "; ".join(notes) or None}


def bought_vol(row: Mapping[str, Any]) -> float | None:
    """Return the implied volatility that a trade paid: on the forecast's clock where its gate reckoned it."""
    level: float | None = row["implied_level"]
    paid: float | None = row["implied_vol"]
    return paid if level is None else level


def days_to_expiry(opened_ns: int, expiries_ns: Iterable[int]) -> int:
    """Return the days from an instant to the nearest expiry, by New York dates."""

    def day(ts_ns: int) -> date:
        return to_new_york(ts_ns).date()

    return min((day(expiry_ns) - day(opened_ns)).days for expiry_ns in expiries_ns)
