"""Quotes that cannot wake a strategy: found in columns, and passed over in bulk.

A backtest skips them where a trigger declares which quotes it lets pass (:class:`Quiet`). What a trigger
declares may be narrower than what it lets pass in the end: a quote that is not passed over goes the way of
every event, and the trigger judges it there.
"""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.units import NEVER_NS, InstrumentId
from scalpdesk.marketdata.quotes import SpreadFilter
from scalpdesk.pricing.kernels.quiet_rows import first_to_see

Floats = NDArray[np.float64]


class Quiet(NamedTuple):
    """Quotes that wake nobody: a mid strictly between two prices, received before an instant."""

    low: float
    """Currency per unit."""
    high: float
    """Currency per unit."""
    until_ns: int
    """UTC nanoseconds."""
    filters: tuple[SpreadFilter, ...] = ()
    """Filters that learn from each of these quotes."""

    def also(self, other: "Quiet") -> "Quiet":
        """Return what is quiet for both."""
        return Quiet(
            max(self.low, other.low),
            min(self.high, other.high),
            min(self.until_ns, other.until_ns),
            self.filters + other.filters,
        )


ALWAYS_QUIET = Quiet(-math.inf, math.inf, NEVER_NS)


@runtime_checkable
class DeclaresQuiet(Protocol):
    """A trigger that says which quotes it need not see one by one."""

    def quiet(self) -> Quiet | None:
        """Return the quotes that wake nobody until the trigger or the strategy changes; None for none."""
        ...

    def passed(self, low: float, high: float, last: float) -> None:
        """Take in quotes that were passed over: their lowest, highest and last mid, currency per unit."""
        ...


class Passed(NamedTuple):
    """Quotes that were passed over."""

    upto: int
    """The first one that was not."""
    loss_due_ns: int
    """When the session's loss is judged next, UTC nanoseconds."""
    low: float
    """Lowest mid, currency per unit."""
    high: float
    """Highest mid, currency per unit."""
    locked: int
    """How many had a bid equal to the ask."""


class InstrumentRows:
    """Quotes of one instrument in one session, as columns.

    Parameters
    ----------
    number
        The instrument.
    rows
        Their rows among the session's quotes, ascending.
    ts_ns, bid, ask
        Their columns, contiguous.
    """

    def __init__(
        self,
        number: InstrumentId,
        rows: memoryview,
        ts_ns: NDArray[np.int64],
        bid: Floats,
        ask: Floats,
    ) -> None:
        self.number = number
        self.rows = rows
        self._columns = ts_ns, bid, ask
        self._stamps, self._bids, self._asks = ts_ns.data, bid.data, ask.data
        self._averages = [np.zeros((0, 3))]
        """Of so many filters: average (NaN before the first quote), bound of what is learnt, and tick."""

    def __len__(self) -> int:
        return len(self.rows)

    def ts_ns(self, at: int) -> int:
        """Return when a quote is known, UTC nanoseconds."""
        stamp: int = self._stamps[at]
        return stamp

    def mid(self, at: int) -> float:
        """Return the mid of a quote, currency per unit."""
        bid: float = self._bids[at]
        ask: float = self._asks[at]
        return 0.5 * (bid + ask)

    def pass_over(
        self,
        first: int,
        last: int,
        until_ns: int,
        quiet: Quiet,
        loss_due_ns: int,
        loss_every_ns: int,
        safe: tuple[float, float],
    ) -> Passed:
        """Pass over the quiet quotes from ``first`` up to before ``last`` and before an instant.

        ``loss_due_ns`` is when the session's loss is judged next: at the first quote not before it, and again
        ``loss_every_ns`` later. Such a quote is passed over only with a mid strictly between the two prices
        ``safe``, where no loss is near its limit.
        """
        filters = quiet.filters
        while len(self._averages) <= len(filters):
            self._averages.append(np.zeros((len(self._averages), 3)))
        averages = self._averages[len(filters)]
        for place, item in enumerate(filters):
            known = math.nan if item.average is None else item.average
            averages[place] = known, item.learn_below, item.tick
        until_ns = until_ns if until_ns <= quiet.until_ns else quiet.until_ns  # noqa: FURB136 - a call less
        found = first_to_see(
            *self._columns,
            first,
            last,
            until_ns,
            quiet.low,
            quiet.high,
            averages,
            loss_due_ns,
            loss_every_ns,
            *safe,
        )
        for place, item in enumerate(filters):
            average = float(averages[place, 0])
            item.average = None if math.isnan(average) else average
        return Passed(*found)
