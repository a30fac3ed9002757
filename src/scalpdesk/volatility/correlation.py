"""Correlation of returns that are observed together, and amounts added by it."""

import math
from collections.abc import Sequence

_HALF_LIFE = 390.0
"""Observations after which one weighs half: a session of minutes."""
LEAST_OBSERVATIONS = 30
_Matrix = Sequence[Sequence[float]]


class ReturnCorrelation:
    """Running correlation of the log returns of several prices, about a mean of zero.

    ``half_life``: Observations after which one weighs half.
    """

    def __init__(self, count: int, half_life: float = _HALF_LIFE) -> None:
        self._decay = 0.5 ** (1.0 / half_life)
        self._logs: list[float] | None = None
        self._products = [[0.0] * count for _ in range(count)]
        self.observations = 0

    def forget_prices(self) -> None:
        """Drop the last prices: the gap to the next is not an interval like the others."""
        self._logs = None

    def add(self, prices: Sequence[float | None]) -> None:
        """Take in prices of one instant; without one of them the instant is left out."""
        known = [price for price in prices if price]
        if len(known) < len(prices):
            return
        logs, before = [math.log(price) for price in known], self._logs
        self._logs = logs
        if before is None:
            return
        returns = [now - then for now, then in zip(logs, before, strict=True)]
        for row, own in zip(self._products, returns, strict=True):
            for place, other in enumerate(returns):
                row[place] = self._decay * row[place] + own * other
        self.observations += 1

    def matrix(self) -> _Matrix | None:
        """Return the correlations; None before 30 observations, and while a price has not moved."""
        squares = [row[place] for place, row in enumerate(self._products)]
        if self.observations < LEAST_OBSERVATIONS or min(squares) <= 0.0:
            return None
        return [
            [value / math.sqrt(own * other) for value, other in zip(row, squares, strict=True)]
            for row, own in zip(self._products, squares, strict=True)
        ]


def combined(amounts: Sequence[float], correlations: _Matrix) -> float:
    """Return the size of amounts taken together, √(Σᵢⱼ ρᵢⱼ aᵢ aⱼ).

    Examples
    --------
    >>> [combined((3.0, 4.0), ((1.0, rho), (rho, 1.0))) for rho in (1.0, 0.0, -1.0)]
    [7.0, 5.0, 1.0]
    """
    rows = zip(amounts, correlations, strict=True)
    total = sum(own * sum(rho * other for rho, other in zip(row, amounts, strict=True)) for own, row in rows)
    return math.sqrt(max(total, 0.0))
