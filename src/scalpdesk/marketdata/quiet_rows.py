"""Quotes that cannot wake a strategy: found in columns, and passed over in bulk.

A backtest skips them where a trigger declares which quotes it lets pass (:class:`Quiet`). What a trigger
declares may be narrower than what it lets pass in the end: a quote that is not passed over goes the way of
every event, and the trigger judges it there.
"""

import math
from typing import Protocol, runtime_checkable

import msgspec

from scalpdesk.core.units import NEVER_NS
from scalpdesk.marketdata.quotes import SpreadFilter


class Quiet(msgspec.Struct, frozen=True, gc=False):
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
