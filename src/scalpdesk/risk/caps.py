"""What the book is exposed to, in currency, and the largest trade that keeps it within its caps.

How much of a trade may go: its size cut to the caps, to the volatility, to what may be sold.

The legs of one trade are cut together, so that their ratio holds: a trade is a whole number of sets,
and the largest number within every cap is what goes.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec

from scalpdesk.core.intents import OrderIntent, Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instrument, OptionContract, Perpetual
from scalpdesk.portfolio.delta_engine import DAYS_PER_YEAR, Valuation
from scalpdesk.risk.context import OPENING
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


LEAST_FACTOR = 0.25
ZERO = Decimal(0)


class SizeCut(NamedTuple):
    """How many sets of a trade may go, and why not all."""

    sets: int
    reason: str = ""


def sets_of(quantities: Sequence[Decimal]) -> int:
    """Return into how many equal sets of whole units a trade divides.

    >>> sets_of([Decimal(4), Decimal(6)])
    2
    """
    finest = max((-int(one.as_tuple().exponent) for one in quantities), default=0)
    scale = 10 ** max(finest, 0)
    return math.gcd(*(int(one * scale) for one in quantities)) if quantities else 0


def cut_to(intents: Sequence[OrderIntent], sets: int, of: int) -> tuple[OrderIntent, ...]:
    """Return the intents cut to ``sets`` of their ``of`` sets; none when nothing is left."""
    if sets == of:
        return tuple(intents)
    if not sets:
        return ()
    return tuple(msgspec.structs.replace(one, quantity=_plain(one.quantity / of * sets)) for one in intents)


def _plain(quantity: Decimal) -> Decimal:
    whole = quantity.to_integral_value()
    return whole if whole == quantity else quantity.normalize()


def volatility_factor(target_vol: float, vol: float) -> float:
    """Return what sizes are multiplied with: target over actual, from a quarter to one.

    >>> volatility_factor(0.15, 0.30)
    0.5
    """
    return min(max(target_vol / vol, LEAST_FACTOR), 1.0)


def cut_by_volatility(
    intents: Sequence[OrderIntent], sets: int, target_vol: float, vol: float | None
) -> SizeCut:
    """Cut an opening trade to the volatility; nothing opens while that is not known.

    Parameters
    ----------
    intents
        The trade's orders.
    sets
        How many sets it has.
    target_vol, vol
        Fractions a year; ``vol`` is the forecast, None when there is none.
    """
    if not any(one.purpose in OPENING for one in intents):
        return SizeCut(sets)
    if vol is None or not math.isfinite(vol) or vol <= 0.0:
        return SizeCut(0, "risk.target_vol is set and no volatility is known")
    allowed = math.floor(sets * volatility_factor(target_vol, vol) + 1e-12)
    if allowed == sets:
        return SizeCut(sets)
    return SizeCut(allowed, f"volatility {vol:.1%} is above the target {target_vol:.1%} (risk.target_vol)")


def cut_to_caps(before: Exposure, trade: Exposure, sets: int, caps: tuple[Room, ...]) -> SizeCut:
    """Cut a trade to the Greeks caps.

    Parameters
    ----------
    before, trade
        Exposure of the book and of the whole trade.
    sets
        How many sets the trade has.
    caps
        From :func:`scalpdesk.risk.caps.rooms`.
    """
    per_set = Exposure(*(figure / sets for figure in trade))
    allowed, binding = largest_within(before, per_set, sets, caps)
    if allowed == sets:
        return SizeCut(sets)
    after = before.plus(trade)
    reasons = []
    for start, end, room in zip(before, after, caps, strict=True):
        if room in binding:
            cap = room.high if end > 0 else -room.low
            reasons.append(f"{room.name} would be {end:.0f} (now {start:.0f}), cap {cap:.0f} ({room.key})")
    return SizeCut(allowed, "; ".join(reasons))


def cut_to_holding(intent: OrderIntent, held: Decimal, selling: Decimal, why: str) -> tuple[Decimal, str]:
    """Cut a sale of shares that may not be sold short to what is held; return quantity and reason.

    Parameters
    ----------
    intent
        The order.
    held
        Signed shares held.
    selling
        Shares that orders at the venue already sell.
    why
        Why they may not be sold short.
    """
    if intent.side is Side.BUY:
        return intent.quantity, ""
    most = min(intent.quantity, max(held - selling, ZERO))
    if most == intent.quantity:
        return most, ""
    return most, f"{why}: {intent.quantity - most} shares stay unhedged"
