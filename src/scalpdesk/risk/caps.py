"""Caps on the exposure of the book, and the largest part of a trade that keeps within them.

The legs of one trade are cut together, so that their ratio holds: a trade is a whole number of sets,
and the largest number within every cap is what goes.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from scalpdesk.core.intents import OPENING, OrderIntent, Side
from scalpdesk.core.structs import FrozenLeaf
from scalpdesk.core.units import DAYS_PER_YEAR, ZERO, InstrumentId, money_decimals
from scalpdesk.hedging.sizing import up_to_zero
from scalpdesk.instruments.contract import Instrument, underlying_of
from scalpdesk.portfolio.delta_engine import OptionState
from scalpdesk.portfolio.greeks import GreekSum
from scalpdesk.risk.limits import RiskLimits

_ONE_PERCENT = 0.01
BETAS: Mapping[str, float] = {"QQQ": 1.14}
"""Betas of underlyings that ``risk.betas`` does not name; 1 for all others. QQQ: slope of the daily log
returns of the NASDAQ Composite on those of the S&P 500, 2014 to 2018 (1.136, correlation 0.944)."""
_SLACK = 1e-9
"""Relative room for the rounding of a sum; far below one contract of anything."""
_LEAST_FACTOR = 0.25


class GreekExposure(NamedTuple):
    """Greeks of a book or a trade in the account's currency, signed."""

    delta_usd: float = 0.0
    """Beta-weighted: gain for a move of 100 % in the index, linearly; of an account in coin, coins."""
    gamma_usd_per_percent: float = 0.0
    """Change of ``delta_usd`` for a move of 1 %."""
    vega_usd_per_point: float = 0.0
    theta_usd_per_day: float = 0.0
    """Decay over a calendar day, at most the remaining time value."""


class CapRoom(FrozenLeaf, frozen=True, gc=False):
    """Lowest and highest value that one Greek may have after a trade, and the key that sets them."""

    low: float
    high: float
    name: str
    key: str


BookLine = tuple[InstrumentId, Instrument, float]
"""Instrument id, instrument and signed contracts or shares."""


class HeldAndWorking(NamedTuple):
    """Positions and working orders, apart from the trade under check."""

    held: Sequence[BookLine] = ()
    """Positions, and the hedges on their way."""
    opening: Sequence[BookLine] = ()
    """Working orders that open; they count as filled."""
    exits: Sequence[BookLine] = ()
    """Working exits. Each may stay unfilled, so that it counts only where it leaves the trade less room."""

    def of(self, symbol: str, hedges: Mapping[InstrumentId, str]) -> "HeldAndWorking":
        """Return the lines of one underlying, with what hedges in its place."""
        return HeldAndWorking(
            *[
                [line for line in lines if (hedges.get(line[0]) or underlying_of(line[1])) == symbol]
                for lines in self
            ]
        )


class UnknownExposure(NamedTuple):
    """An exposure that cannot be worked out, and why."""

    why: str


class Marks(NamedTuple):
    """Where exposures take their values from."""

    value: Callable[[InstrumentId], OptionState | None]
    """Values an option as of now; None when it cannot."""
    mark: Callable[[InstrumentId], float | None]
    """Value of one share in currency; None when it was never quoted."""


class SizeCut(NamedTuple):
    """Sets of a trade that the caps allow, and the reason for fewer."""

    sets: int
    reason: str


# the Greeks caps ----------------------------------------------------------------------------------


def cut_to_caps(
    book: HeldAndWorking,
    trade: Sequence[tuple[OrderIntent, Instrument]],
    limits: RiskLimits,
    equity: float,
    marks: Marks,
    hedges: Mapping[InstrumentId, str] = MappingProxyType({}),
) -> SizeCut | None:
    """Cut a trade to the Greeks caps; None when all of it may go.

    A trade that lowers what is held of a Greek is never cut for it, whatever works at the venue.

    ``book``: What is held, and what works at the venue.
    ``trade``: The orders, each with its instrument.
    ``equity``: Net asset value of the account, in currency.
    ``hedges``: Underlyings by the instrument that hedges in their place: it counts with their options.
    """
    intent, share = trade[0]
    if len(trade) == 1 and share.is_share and not limits.betas and share.symbol not in BETAS:
        # Shares have no other Greek than delta. Most hedges end here, with every unit of the book taken
        # at a delta of one: no option is priced.
        fraction = limits.max_net_delta_fraction
        if fraction is None:
            return None
        price = marks.mark(intent.instrument_id)
        units = float(intent.quantity)
        for instrument_id, held, quantity in (*book.held, *book.opening, *book.exits):
            if instrument_id != intent.instrument_id and (
                not held.is_option or held.underlying != share.symbol
            ):
                break
            units += abs(quantity) * held.multiplier
        else:
            if price is not None and units * price <= fraction * equity:
                return None
    moves_delta_only = only_buys = True
    lines: list[BookLine] = []
    for order, instrument in trade:
        is_option = instrument.is_option
        moves_delta_only = moves_delta_only and not is_option
        only_buys = only_buys and is_option and order.side is Side.BUY
        lines.append((order.instrument_id, instrument, float(order.signed_quantity)))
    added = exposure_of(lines, marks, limits.betas, delta_only=moves_delta_only)
    if isinstance(added, UnknownExposure):
        return SizeCut(0, f"the exposure is not known: {added.why}")
    start = _start(book, added, marks, limits.betas, delta_only=moves_delta_only)
    if isinstance(start, UnknownExposure):
        return SizeCut(0, f"the exposure is not known: {start.why}")
    caps = rooms(limits, equity, only_buys_options=only_buys)
    cut, sets = None, sets_of([intent.quantity for intent, _ in trade])
    for worst, step, room in zip(start.worst, added, caps, strict=True):
        if step and not min(room.low, -abs(worst)) <= worst + step <= max(room.high, abs(worst)):
            cut = cut_exposure(start.worst, added, sets, caps, share.currency, held=start.held)
            break
    part, symbol = limits.max_underlying_fraction, hedges.get(intent.instrument_id) or underlying_of(share)
    alone_in = book.of(symbol, hedges)
    if part is None or (part == 1.0 and alone_in == book):
        return cut
    own = _start(alone_in, added, marks, limits.betas, delta_only=moves_delta_only)
    assert not isinstance(own, UnknownExposure)
    caps = rooms(limits, part * equity, only_buys_options=only_buys)
    alone = cut_exposure(own.worst, added, sets, caps, share.currency, held=own.held)
    if alone is None or (cut is not None and cut.sets <= alone.sets):
        return cut
    return SizeCut(alone.sets, f"{symbol} alone: {alone.reason} (risk.max_underlying_fraction {part:g})")


class _Start(NamedTuple):
    held: GreekExposure
    worst: GreekExposure
    """With the working orders that leave a trade the least room."""


def _start(
    book: HeldAndWorking, added: GreekExposure, marks: Marks, betas: Mapping[str, float], *, delta_only: bool
) -> _Start | UnknownExposure:
    """Return the exposure that a trade of ``added`` starts from."""
    held = exposure_of(book.held, marks, betas, delta_only=delta_only)
    if isinstance(held, UnknownExposure):
        return held
    worst = held
    for is_exit, lines in enumerate((book.opening, book.exits)):
        for line in lines:
            found = exposure_of((line,), marks, betas, delta_only=delta_only)
            if isinstance(found, UnknownExposure):
                return found
            columns = zip(worst, found, added, strict=True)
            worst = GreekExposure(
                *[at if is_exit and own * step <= 0.0 else at + own for at, own, step in columns]
            )
    return _Start(held, worst)


def exposure_of(
    lines: Iterable[BookLine], marks: Marks, betas: Mapping[str, float], *, delta_only: bool = False
) -> GreekExposure | UnknownExposure:
    """Return the summed exposure of these lines, or which line has no Greeks.

    ``lines``, ``marks``: What is summed, and where values come from.
    ``betas``: Beta of an underlying by symbol; :data:`BETAS` where it is not named.
    ``delta_only``: Leave the other Greeks at zero: a trade in shares does not move them, and a hedge must not
    wait.
    """
    delta = gamma = vega = theta = 0.0
    betas = {**BETAS, **betas} if betas else BETAS
    sums: dict[str, GreekSum] = {}
    spots: dict[str, float] = {}
    worth: dict[str, float] = {}
    """Value of one unit of delta by underlying, in the account's currency."""
    for instrument_id, instrument, quantity in lines:
        if not instrument.is_option:
            price = marks.mark(instrument_id)
            if price is None:
                return UnknownExposure(f"{instrument.symbol} was never quoted")
            delta += quantity * instrument.notional(1.0, price) * betas.get(instrument.symbol, 1.0)
            continue
        valued = marks.value(instrument_id)
        if valued is None:
            return UnknownExposure(f"the Greeks of {instrument.symbol} are not known")
        units, underlying = quantity * instrument.multiplier, instrument.underlying
        total = sums.get(underlying)
        if total is None:
            total, spots[underlying] = sums.setdefault(underlying, GreekSum()), valued.spot
            # in coin a delta is an amount already
            worth[underlying] = 1.0 if instrument.is_inverse else valued.spot
        total.add(units, valued.greeks, valued.years)
        if delta_only:
            continue
        # near expiry a rate per day promises more than there is to lose
        to_lose = max(valued.mark - instrument.payoff(valued.spot), 0.0)
        theta += units * max(valued.greeks.theta / DAYS_PER_YEAR, -to_lose)
    for underlying, total in sums.items():
        spot, beta = spots[underlying], betas.get(underlying, 1.0)
        delta += total.delta * worth[underlying] * beta
        if delta_only:
            continue
        # a move of 1 % of the index moves the underlying by beta times 1 %, and its delta counts beta times
        gamma += total.gamma * worth[underlying] * spot * _ONE_PERCENT * beta * beta
        vega += total.weighted_vega / 100.0
    found = GreekExposure(delta, gamma, vega, theta)
    if math.isfinite(delta + gamma + vega + theta):
        return found
    return UnknownExposure("the Greeks of the book are not numbers")


def rooms(limits: RiskLimits, equity: float, *, only_buys_options: bool) -> tuple[CapRoom, ...]:
    """Return the caps as one room per Greek, in the order of :class:`GreekExposure`.

    ``limits``: The account's limits; a cap that is None leaves its Greek unbounded.
    ``equity``: Of the account, currency.
    ``only_buys_options``: Whether the trade only buys options: the delta that it may leave is then the wider
    one, for what it can lose ends at the premium.
    """
    delta_key = "max_bought_delta_fraction" if only_buys_options else "max_net_delta_fraction"
    gamma_key = "max_bought_gamma_fraction" if only_buys_options else "max_gamma_fraction"
    worth = max(equity, 0.0)
    delta, vega, written, bought, theta = [
        math.inf if fraction is None else fraction * worth
        for fraction in (
            limits.max_bought_delta_fraction if only_buys_options else limits.max_net_delta_fraction,
            limits.max_vega_fraction,
            limits.max_gamma_fraction,
            limits.max_bought_gamma_fraction,
            limits.max_theta_fraction,
        )
    ]
    return (
        CapRoom(-delta, delta, "net delta", f"risk.{delta_key}"),
        CapRoom(-written, bought, "gamma per 1 %", f"risk.{gamma_key}"),
        CapRoom(-vega, vega, "vega per point of 30 days", "risk.max_vega_fraction"),
        CapRoom(-theta, math.inf, "theta per day", "risk.max_theta_fraction"),
    )


def largest_within(
    before: GreekExposure,
    per_set: GreekExposure,
    sets: int,
    caps: tuple[CapRoom, ...],
    held: GreekExposure | None = None,
) -> tuple[int, tuple[CapRoom, ...]]:
    """Return how many of ``sets`` may be traded, and the caps that allow no more.

    A Greek whose size the trade does not raise never binds, however far beyond its cap it is.

    ``before``: Exposure of the book, working orders counted as filled.
    ``sets``: How many are wanted.
    ``caps``: Rooms in the order of :class:`GreekExposure`.
    ``held``: Exposure without working orders that may stay unfilled, where that is another.
    """
    allowed, binding = sets, []
    for start, own, step, room in zip(before, held or before, per_set, caps, strict=True):
        lowering = CapRoom(-abs(own), abs(own), room.name, room.key)
        most = max(_most(start, step, room, sets), _most(own, step, lowering, sets))
        if most >= sets:
            continue
        allowed = min(allowed, most)
        binding.append((most, room))
    return allowed, tuple(room for most, room in binding if most == allowed)


def _most(start: float, step: float, room: CapRoom, sets: int) -> int:
    size = abs(start)
    high, low = max(room.high, size), min(room.low, -size)
    if low <= start + sets * step <= high:
        return sets
    left = (high - start if step > 0.0 else start - low) / abs(step)
    return sets if left >= sets else max(math.floor(left * (1.0 + _SLACK) + _SLACK), 0)


def cut_exposure(
    before: GreekExposure,
    added: GreekExposure,
    sets: int,
    caps: tuple[CapRoom, ...],
    currency: str = "USD",
    *,
    held: GreekExposure | None = None,
) -> SizeCut | None:
    """Cut a trade that adds ``added`` in so many ``sets`` to the caps; None when all of it may go."""
    per_set = GreekExposure(*[figure / sets for figure in added])
    allowed, binding = largest_within(before, per_set, sets, caps, held)
    if allowed == sets:
        return None
    reasons = []
    places = 0 if money_decimals(currency) == 2 else 5
    for start, step, room in zip(before, added, caps, strict=True):
        if room in binding:
            end = start + step
            cap = room.high if end > 0 else -room.low
            figures = [f"{each:.{places}f}" for each in (end, start, cap)]
            reasons.append("{} would be {} (now {}), cap {} ({})".format(room.name, *figures, room.key))
    return SizeCut(allowed, "; ".join(reasons))


# sets, volatility, shares that cannot be borrowed -------------------------------------------------


def sets_of(quantities: Sequence[Decimal]) -> int:
    """Return into how many equal sets of whole units a trade divides.

    >>> sets_of([Decimal(4), Decimal(6)])
    2
    """
    finest = max((-int(quantity.as_tuple().exponent) for quantity in quantities), default=0)
    scale = 10 ** max(finest, 0)
    return math.gcd(*(int(quantity * scale) for quantity in quantities)) if quantities else 0


def cut_to(intents: Sequence[OrderIntent], sets: int, of: int) -> tuple[OrderIntent, ...]:
    """Return the intents cut to ``sets`` of their ``of`` sets; empty when nothing is left."""
    if sets == of:
        return tuple(intents)
    if not sets:
        return ()
    return tuple(
        msgspec.structs.replace(intent, quantity=_plain(intent.quantity / of * sets)) for intent in intents
    )


def _plain(quantity: Decimal) -> Decimal:
    whole = quantity.to_integral_value()
    return whole if whole == quantity else quantity.normalize()


def volatility_factor(target_vol: float, vol: float) -> float:
    """Return what sizes are multiplied with: target over actual, from a quarter to one.

    >>> volatility_factor(0.15, 0.30)
    0.5
    """
    return min(max(target_vol / vol, _LEAST_FACTOR), 1.0)


def cut_by_volatility(intents: Sequence[OrderIntent], target_vol: float, vol: float | None) -> SizeCut | None:
    """Cut an opening trade to the volatility; nothing opens while that is not known.

    ``target_vol``, ``vol``: Fractions a year; ``vol`` is the forecast, None without a forecast.
    """
    if not any(intent.purpose in OPENING for intent in intents):
        return None
    if vol is None or not math.isfinite(vol) or vol <= 0.0:
        return SizeCut(0, "risk.target_vol is set and no volatility is known")
    sets = sets_of([intent.quantity for intent in intents])
    allowed = math.floor(sets * volatility_factor(target_vol, vol) + 1e-12)
    if allowed == sets:
        return None
    return SizeCut(allowed, f"volatility {vol:.1%} is above the target {target_vol:.1%} (risk.target_vol)")


def cut_to_holding(intent: OrderIntent, held: Decimal, selling: Decimal, why: str) -> tuple[Decimal, str]:
    """Cut a sale of shares that may not be sold short to what is held; return quantity and reason.

    ``held``: Signed shares held.
    ``selling``: Shares that orders at the venue already sell.
    ``why``: Why they may not be sold short.
    """
    if intent.side is Side.BUY:
        return intent.quantity, ""
    most = abs(up_to_zero(intent.signed_quantity, held, selling)) if held > 0 else ZERO
    if most == intent.quantity:
        return most, ""
    return most, f"{why}: {intent.quantity - most} shares stay unhedged"
