"""Compilation of the pricing kernels ahead of the first run and of the trading day: no decision waits for it.

Each step calls what it compiles; machine code is cached on disk. ``python -m scalpdesk.pricing.warming
every-day`` (or ``all``) compiles the steps that a second process takes.
"""

import sys
from collections.abc import Callable, Iterator

import numpy as np

from scalpdesk.pricing.exercise_premium import exercise_premium
from scalpdesk.pricing.kernels.cash_premium import (
    SLAB_SHAPE,
    fill_slabs,
    held_greeks,
    is_worth_exercising,
    quoted_start,
    tabled_greeks,
    worth_ahead,
)
from scalpdesk.pricing.kernels.triggers import are_tradable, average_after, next_call
from scalpdesk.pricing.scalar import (
    PricedState,
    corner_prices,
    implied_vol_scalar,
    option_greeks,
    vols_and_greeks,
)
from scalpdesk.pricing.smile_level import SviVols, swap_vol
from scalpdesk.pricing.svi import SmileFit

_STRIKES = np.array([95.0, 100.0])


def _numbers(*, american: bool, rate: float = 0.04, dividend_yield: float = 0.01) -> None:
    option = option_greeks(100.0, 100.0, 0.1, 0.2, True, rate, dividend_yield, american=american)
    implied_vol_scalar(option.price, 100.0, 100.0, 0.1, True, rate, dividend_yield, american=american)
    rows = np.outer((option.price, 100.0, 100.0, 0.1, rate, dividend_yield), np.ones(2))
    vols_and_greeks(rows[0], np.array([True, True]), *rows[1:], american=american)
    state = PricedState(100.0, 0.2, 0.1, 0.1)
    corner_prices(100.0, True, state, state, 100.0, 100.0, american=american)


def _smiles() -> None:
    k = np.linspace(-0.2, 0.2, 9)
    fit = SmileFit(k, 0.19 - 0.1 * k, 0.21 - 0.1 * k, 0.1)
    smile, _ = fit.without_arbitrage(fit.free(), None)
    swap_vol(SviVols(smile, 0.1), 0.1)


def _triggers() -> None:
    nothing = np.zeros(0)
    bounds = 0.0, 0.0, 0, 0.0, 0.0, 0.0, 0.0, 0, 0.0, 0.0, 0.0, 0, 0
    next_call(np.zeros(0, np.int64), nothing, nothing, 0, 0, *bounds)
    average_after(nothing, nothing, 0, 0, 0.0, 0.0, 0.0)
    are_tradable(nothing, nothing)


def _forwards() -> None:
    exercise_premium(100.0, _STRIKES, 0.1, np.array([0.2, 0.2]), True, rate=0.04, dividend_yield=0.01)


def _dividends() -> None:
    ex_date, parts, table = np.array([0.05]), np.array([0.005]), np.empty(SLAB_SHAPE)
    option, carry = (-1.0, 100.0, 100.0, 0.1, 0.2), (0.03, 0.0)
    worth_ahead(0.1, 0.03, ex_date, parts)
    is_worth_exercising(-1.0, *carry, ex_date, parts)
    quoted_start(3.0, *option[:4], *carry, 0.5, True)
    held_greeks(*option, *carry, ex_date, parts)
    strike, vol, tables = np.array([100.0]), np.array([0.2]), table[None]
    fill_slabs(-1.0, strike, vol, *carry, ex_date, 100.0 * parts, -4, tables)
    tabled_greeks(*option, *carry, ex_date, parts, -4, -19, (table, table, table, table))


_EVERY_DAY: tuple[Callable[[], None], ...] = (
    lambda: _numbers(american=False),
    lambda: _numbers(american=True, rate=0.0, dividend_yield=0.0),  # never exercised early
    _triggers,
    _smiles,
)
STEPS = {
    "every-day": _EVERY_DAY,
    "all": (
        *_EVERY_DAY,
        lambda: _numbers(american=True),
        _forwards,
        _dividends,
    ),
}
_ELSEWHERE = {"every-day": 1, "all": 2}
"""The last steps take about as long as those before them: a second process may compile them meanwhile."""


def warm_up() -> None:
    """Run each fast path of pricing once; machine code is cached on disk.

    Finite differences for whole columns (yields below a negative rate) compile on first use: no decision of
    the engine waits for them.
    """
    for step in STEPS["all"]:
        step()


def warm_up_steps(which: str, before_the_last: Callable[[], object]) -> Iterator[int]:
    """Carry out the steps of ``STEPS[which]``; yield how many are done.

    ``before_the_last`` is called before the steps that a second process may have compiled.
    """
    for done, step in enumerate(STEPS[which]):
        if done == len(STEPS[which]) - _ELSEWHERE[which]:
            before_the_last()
        step()
        yield done + 1


if __name__ == "__main__":
    for last in STEPS[sys.argv[1]][: -_ELSEWHERE[sys.argv[1]] - 1 : -1]:
        last()
