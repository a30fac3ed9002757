"""Price grids: the tick that applies at a price, and the valid prices around it."""

from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import round_to_tick

_MOST_STEPS = 64
_LEAST_SIZE, _MOST_SIZE = Decimal("1e-12"), Decimal("1e12")
"""Bounds of a tick and of a step's price, so that every division of one by another stays exact."""


@dataclass(frozen=True, slots=True)
class TickStep:
    """A price above which another tick applies (currency per unit)."""

    above_price: Decimal
    tick: Decimal


@dataclass(frozen=True, slots=True)
class TickRule:
    """Minimum price increment: ``below`` up to the first step, then each step's own tick above its price.

    A price is valid when it is a multiple of the tick that applies at it. At the price of a step the tick
    below it applies still (Deribit, ``tick_size_steps``: "tick size to be used above the price"). An exchange
    that says "from 3 on" has the same valid prices, because 3 is a multiple of both its ticks. Raises
    ArgumentError when a tick or a price is not a finite number above 0 within bounds, or the prices do not
    ascend.
    """

    below: Decimal
    steps: tuple[TickStep, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no price grid."""
        if len(self.steps) > _MOST_STEPS:
            raise ArgumentError(f"more than {_MOST_STEPS} steps", where="steps", value=len(self.steps))
        sizes = [("below", self.below)]
        for step in self.steps:
            sizes += [("above_price", step.above_price), ("tick", step.tick)]
        for where, size in sizes:
            if not size.is_finite() or not _LEAST_SIZE <= size <= _MOST_SIZE:
                what = f"{where} is not from {_LEAST_SIZE:f} to {_MOST_SIZE:f}"
                raise ArgumentError(what, where=where, value=size)
        for lower, step in pairwise(self.steps):
            if step.above_price <= lower.above_price:
                what = f"above_price does not ascend: {step.above_price} after {lower.above_price}"
                raise ArgumentError(what, where="above_price", value=step.above_price)

    def tick_at(self, price: Decimal) -> Decimal:
        """Return the tick that applies at ``price``."""
        return self._tick(self._steps_below(price))

    def is_valid(self, price: Decimal) -> bool:
        """Return whether ``price`` is a multiple of the tick that applies at it."""
        return not price % self.tick_at(price)

    def round(self, price: Decimal, side: str = "nearest") -> Decimal:
        """Return a valid price: the next ``up`` or ``down``, or the ``nearest`` (ties to even ticks).

        >>> PENNY_NICKEL.round(Decimal("3.01"), "up"), PENNY_NICKEL.round(Decimal("3.01"), "down")
        (Decimal('3.05'), Decimal('3'))
        """
        if side == "nearest" and self.steps:
            return self._nearest(price)
        passed = self._steps_below(price)
        rounded = round_to_tick(price, self._tick(passed), side)
        if self._steps_below(rounded) == passed:
            return rounded
        return self._first_above(passed + 1) if side == "up" else self._last_up_to(passed)

    def moved(self, price: Decimal, ticks: int) -> Decimal:
        """Return the price so many ticks above ``price``, or below it where ``ticks`` is negative.

        A step on the way is passed at a valid price, and its tick applies from there on.

        >>> PENNY_NICKEL.moved(Decimal("2.99"), 2), PENNY_NICKEL.moved(Decimal("3.05"), -2)
        (Decimal('3.05'), Decimal('2.99'))
        """
        for _ in range(abs(ticks)):
            price = self._next_above(price) if ticks > 0 else self._next_below(price)
        return price

    def _steps_below(self, price: Decimal) -> int:
        return sum(step.above_price < price for step in self.steps)

    def _tick(self, passed: int) -> Decimal:
        return self.steps[passed - 1].tick if passed else self.below

    def _nearest(self, price: Decimal) -> Decimal:
        lower, upper, tick = self.round(price, "down"), self.round(price, "up"), self.tick_at(price)
        if upper - lower == tick:
            return round_to_tick(price, tick)
        return lower if price - lower <= upper - price else upper

    def _next_above(self, price: Decimal) -> Decimal:
        passed = self._steps_below(price)
        moved = price + self._tick(passed)
        return moved if self._steps_below(moved) == passed else self._first_above(passed + 1)

    def _next_below(self, price: Decimal) -> Decimal:
        passed = self._steps_below(price)
        moved = price - self._tick(passed)
        return moved if self._steps_below(moved) == passed else self._last_up_to(passed)

    def _first_above(self, passed: int) -> Decimal:
        """Return the least valid price beyond so many steps."""
        step = self.steps[passed - 1]
        price = round_to_tick(step.above_price, step.tick, "down") + step.tick
        return price if self._steps_below(price) == passed else self._first_above(passed + 1)

    def _last_up_to(self, passed: int) -> Decimal:
        """Return the largest valid price up to the last of so many steps."""
        return self.round(self.steps[passed - 1].above_price, "down")


def stepped(below: str, above: str, price: str = "3") -> TickRule:
    """Return a rule of one step: of options in the United States at 3 dollars.

    >>> stepped("0.01", "0.05").tick_at(Decimal("3.05"))
    Decimal('0.05')
    """
    steps = () if above == below else (TickStep(Decimal(price), Decimal(above)),)
    return TickRule(Decimal(below), steps)


CENT_TICK = TickRule(Decimal("0.01"))
NICKEL_DIME = stepped("0.05", "0.10")
PENNY_NICKEL = stepped("0.01", "0.05")
