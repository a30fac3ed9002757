"""Distance of a coin's price to the prices at which the venue would close positions."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from scalpdesk.core.units import ZERO, exact
from scalpdesk.margin.coin import coin_requirement
from scalpdesk.margin.holdings import Holding
from scalpdesk.pricing.scalar import coin_greeks

FALLS, RISES = np.linspace(-0.025, -0.95, 38), np.geomspace(1.025, 5.0, 60) - 1.0
"""Moves of the price at which margin is looked at; between two of them the nearest is bisected."""


class ValuedOption(NamedTuple):
    """Inputs of the price of an option on a coin: forward, years to expiry, volatility (fraction a year)."""

    forward: float
    years: float
    vol: float


class MarginDistance(NamedTuple):
    """Distance of the price to those at which the venue would close positions of an account in coin."""

    used: Decimal
    """Maintenance margin over collateral."""
    fall: float | None
    """Smallest fall at which it exceeds the margin balance, a fraction of the price; None within 95 %."""
    rise: float | None
    """Smallest rise at which it does, a fraction; None within 400 %."""

    def text(self, spot: float) -> str:
        """Return the distances in words, with the prices from ``spot`` on."""
        ways = [
            f"{spot * (1.0 + move):,.0f} ({move:+.1%})" for move in (self.fall, self.rise) if move is not None
        ]
        where = f"at {' and '.join(ways)}" if ways else "at no price between a twentieth and five times it"
        return f"Maintenance margin is {self.used:.1%} of collateral; the venue would liquidate {where}."

    def row(self) -> dict[str, Any]:
        """Return margin and distances as numbers for status and API."""
        moves = {"liquidation_fall": self.fall, "liquidation_rise": self.rise}
        shown = {name: None if move is None else round(move, 6) for name, move in moves.items()}
        return {"maintenance_fraction": round(float(self.used), 6), **shown}


def liquidation_distance(
    used: Decimal,
    equity: Decimal,
    held: Sequence[tuple[Holding, ValuedOption | None]],
    spot_of: Callable[[str], Decimal],
) -> MarginDistance:
    """Return the smallest moves of the price at which the margin exceeds the margin balance.

    The venue compares its maintenance margin with the margin balance, cash and open profit of futures:
    bought options do not count, and sold options count in the margin, by their mark. What the venue asks
    the schedule is kept.

    Parameters
    ----------
    used
        Maintenance margin over collateral now, the venue's word or the schedule's.
    equity
        Of the account, in coin.
    held
        What is held in coin at its mark; with each option what it is priced from.
    spot_of
        Mark of an underlying by its symbol, US dollars.
    """

    def at(move: float) -> tuple[Decimal, Decimal, Decimal]:
        """Return what futures and options are worth, and what all is asked for, after a move."""
        futures, options, holdings, scale = ZERO, ZERO, [], exact(1.0 + move, 12)
        for now, known in held:
            contract, price = now.instrument, now.price * scale
            if known is not None and contract.is_option:
                forward, strike = known.forward * (1.0 + move), float(contract.strike)
                coin = coin_greeks(forward, strike, known.years, known.vol, contract.is_call)
                price = exact(max(coin.price, 0.0) * (1.0 if contract.is_inverse else forward), 12)
            holding = replace(now, price=price)
            futures += ZERO if holding.is_option else holding.value
            options += holding.value if holding.is_option else ZERO
            holdings.append(holding)
        asked = coin_requirement(holdings, lambda name: spot_of(name) * scale).maintenance
        return futures, options, asked

    futures_now, options_now, asked_now = at(0.0)
    cash = equity - futures_now - options_now
    more = max(used * (equity - max(options_now, ZERO)) - asked_now, ZERO)

    def left(move: float) -> Decimal:
        futures, _, asked = at(move)
        return cash + futures - asked - more

    def first(moves: Sequence[float]) -> float | None:
        good = 0.0
        for bad in moves:
            if left(bad) <= 0:
                break
            good = bad
        else:
            return None
        for _ in range(30):
            middle = 0.5 * (good + bad)
            good, bad = (good, middle) if left(middle) <= 0 else (middle, bad)
        return bad

    return MarginDistance(used, first(FALLS.tolist()), first(RISES.tolist()))
