"""Loss of a book when prices jump: every option is priced again."""

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.core.units import ZERO, exact
from scalpdesk.margin.holdings import Holding
from scalpdesk.portfolio.delta_engine import OptionState

STRESS_SIGMAS = 4.0
"""Move at which a book is priced again before an option is written, in standard deviations of a day."""
_LOWEST = -0.99
"""No price falls further."""
_MOVES = (-1.0, -0.5, 0.5, 1.0)
"""Parts of the largest move at which a book is priced: between two written strikes it may lose more."""


class StressLine(NamedTuple):
    """Holding in the book that is priced at other spots."""

    holding: Holding
    symbol: str
    """Underlying that it moves with."""
    beta: float
    """Move of the underlying for one of the holding: above 1 it moves less."""
    state: OptionState | None
    """Values an option; None for anything else."""


def day_moves(lines: Iterable[StressLine], days_per_year: float) -> dict[str, float]:
    """Return a large move of each underlying, a fraction: ``STRESS_SIGMAS`` of a day.

    By the volatility of its option nearest the money; an underlying without options is not in it.
    """
    nearest: dict[str, tuple[float, float]] = {}
    for line in lines:
        if line.state is not None:
            away = abs(math.log(line.state.spot / float(line.state.contract.strike)))
            nearest[line.symbol] = min(nearest.get(line.symbol, (math.inf, 0.0)), (away, line.state.vol))
    sigmas = STRESS_SIGMAS / math.sqrt(days_per_year)
    return {symbol: sigmas * vol for symbol, (_, vol) in nearest.items()}


def largest_loss(lines: Iterable[StressLine], moves: Mapping[str, float]) -> Decimal:
    """Return the most that a book loses, in currency, when prices move by these fractions, up or down.

    Every option is priced again at the moved spot and its own volatility, now. All underlyings move the same
    way; what has no move stays.
    """
    moving = [line for line in lines if line.symbol in moves]
    worst = ZERO
    for part in _MOVES:
        moved = [(line, max(part * moves[line.symbol] / line.beta, _LOWEST)) for line in moving]
        worst = min(worst, sum((_worth_at(line, move) - _worth_at(line, 0.0) for line, move in moved), ZERO))
    return -worst


def worths_of_day(lines: Sequence[StressLine], days_per_year: float) -> list[Decimal]:
    """Return what options on one underlying are worth after each move of such a day and none, currency."""
    moves = day_moves(lines, days_per_year)
    return [
        sum((_worth_at(line, max(part * moves[line.symbol], _LOWEST)) for line in lines), ZERO)
        for part in (0.0, *_MOVES)
    ]


def _worth_at(line: StressLine, move: float) -> Decimal:
    return line.holding.instrument.value(line.holding.quantity, exact(price_of(line, move), 12))


def price_of(line: StressLine, move: float) -> float:
    """Return the price of a holding, here and now, once its underlying has moved by a fraction.

    In currency per unit; of an option the model's, also where nothing has moved.
    """
    state = line.state
    if state is None:
        return float(line.holding.price) * (1.0 + move)
    terms = state.years, state.vol, state.rate, state.dividend_yield, state.dividends
    return max(state.pricer.greeks(state.contract, state.spot * (1.0 + move), *terms).price, 0.0)
