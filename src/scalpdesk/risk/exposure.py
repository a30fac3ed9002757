"""What the book is exposed to, in currency, and the largest trade that keeps it within its caps."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instrument, OptionContract, Perpetual
from scalpdesk.portfolio.delta_engine import DAYS_PER_YEAR, Valuation
from scalpdesk.risk.limits import RiskLimits

ONE_PERCENT = 0.01
SLACK = 1e-9
"""Relative room for the rounding of a sum; far below one contract of anything."""


class Exposure(NamedTuple):
    """Greeks of a book or a trade in the account's currency, signed."""

    delta_usd: float = 0.0
    """Beta-weighted: gain for a move of 100 % in the index, linearly."""
    gamma_usd_per_percent: float = 0.0
    """Change of ``delta_usd`` for a move of 1 %."""
    vega_usd_per_point: float = 0.0
    theta_usd_per_day: float = 0.0
    """Of a calendar day; what decays is at most the time value that is left."""

    def plus(self, other: "Exposure", times: float = 1.0) -> "Exposure":
        """Return the sum with ``times`` the other."""
        return Exposure(*(a + times * b for a, b in zip(self, other, strict=True)))

    @property
    def is_known(self) -> bool:
        """Whether every figure is a number."""
        return all(math.isfinite(figure) for figure in self)


class Room(NamedTuple):
    """Lowest and highest value that one Greek may have after a trade, and the key that says so."""

    low: float
    high: float
    name: str
    key: str


Line = tuple[InstrumentId, Instrument, float]
"""Number, instrument and signed contracts or shares."""


class Unknown(NamedTuple):
    """An exposure that cannot be worked out, and why."""

    why: str


def exposure_of(
    lines: Iterable[Line],
    value: Callable[[InstrumentId], Valuation | None],
    mark: Callable[[InstrumentId], float | None],
    betas: Mapping[str, float],
) -> Exposure | Unknown:
    """Add up what these lines are exposed to.

    Parameters
    ----------
    lines
        Number, instrument, signed contracts or shares.
    value
        Values an option as of now; None when it cannot.
    mark
        Value of one share in currency; None when it was never quoted.
    betas
        Beta by symbol of the underlying; 1 where it is not named.

    Returns
    -------
    Exposure or Unknown
        The sum, or which line has no Greeks.
    """
    delta = gamma = vega = theta = 0.0
    for number, one, quantity in lines:
        if not isinstance(one, OptionContract):
            price = mark(number)
            if price is None:
                return Unknown(f"{one.symbol} was never quoted")
            notional = quantity * (one.contract_usd if isinstance(one, Perpetual) else price * one.multiplier)
            delta += notional * betas.get(one.symbol, 1.0)
            continue
        valued = value(number)
        if valued is None:
            return Unknown(f"the Greeks of {one.symbol} are not known")
        greeks, spot = valued.greeks, valued.spot
        units = quantity * one.multiplier
        beta = betas.get(one.underlying, 1.0)
        delta += units * greeks.delta * spot * beta
        # a move of 1 % of the index moves the underlying by beta times 1 %, and its delta counts beta times
        gamma += units * greeks.gamma * spot * spot * ONE_PERCENT * beta * beta
        vega += units * greeks.vega / 100.0
        theta += units * _decay(one, valued)
    found = Exposure(delta, gamma, vega, theta)
    return found if found.is_known else Unknown("the Greeks of the book are not numbers")


def _decay(one: OptionContract, valued: Valuation) -> float:
    """Theta of one unit over a day: near expiry a rate per day promises more than there is to lose."""
    strike = float(one.strike)
    intrinsic = max(valued.spot - strike if one.is_call else strike - valued.spot, 0.0)
    return max(valued.greeks.theta / DAYS_PER_YEAR, -max(valued.mark - intrinsic, 0.0))


def rooms(limits: RiskLimits, equity: float, *, only_buys_options: bool) -> tuple[Room, ...]:
    """Return the caps as one room per Greek, in the order of :class:`Exposure`.

    Parameters
    ----------
    limits
        The account's limits; a cap that is None leaves its Greek unbounded.
    equity
        Of the account, currency.
    only_buys_options
        Whether the trade only buys options: the delta that it may leave is then the wider one, for
        what it can lose ends at the premium.
    """
    delta_key = "max_bought_delta_fraction" if only_buys_options else "max_net_delta_fraction"
    delta = _amount(getattr(limits, delta_key), equity)
    vega = _amount(limits.max_vega_fraction, equity)
    written, bought = (
        _amount(limits.max_gamma_fraction, equity),
        _amount(limits.max_bought_gamma_fraction, equity),
    )
    gamma_key = "max_bought_gamma_fraction" if only_buys_options else "max_gamma_fraction"
    return (
        Room(-delta, delta, "net delta", f"risk.{delta_key}"),
        Room(-written, bought, "gamma per 1 %", f"risk.{gamma_key}"),
        Room(-vega, vega, "vega per point", "risk.max_vega_fraction"),
        Room(
            -_amount(limits.max_theta_fraction, equity), math.inf, "theta per day", "risk.max_theta_fraction"
        ),
    )


def _amount(fraction: float | None, equity: float) -> float:
    return math.inf if fraction is None else fraction * max(equity, 0.0)


def largest_within(
    before: Exposure, per_set: Exposure, sets: int, caps: tuple[Room, ...]
) -> tuple[int, tuple[Room, ...]]:
    """Return how many of ``sets`` may be traded, and the caps that allow no more.

    A Greek whose size the trade does not raise never binds, however far beyond its cap it is.

    Parameters
    ----------
    before
        Exposure of the book, working orders counted as filled.
    per_set
        What one set adds.
    sets
        How many are wanted.
    caps
        Rooms in the order of :class:`Exposure`.
    """
    allowed, binding = sets, []
    for start, step, room in zip(before, per_set, caps, strict=True):
        most = _most(start, step, room, sets)
        if most >= sets:
            continue
        allowed = min(allowed, most)
        binding.append((most, room))
    return allowed, tuple(room for most, room in binding if most == allowed)


def _most(start: float, step: float, room: Room, sets: int) -> int:
    size = abs(start)
    high, low = max(room.high, size), min(room.low, -size)
    if low <= start + sets * step <= high:
        return sets
    left = (high - start if step > 0.0 else start - low) / abs(step)
    return sets if left >= sets else max(math.floor(left * (1.0 + SLACK) + SLACK), 0)
