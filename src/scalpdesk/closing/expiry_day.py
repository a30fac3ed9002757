"""The expiry day of what is held: pins, cut-offs, notices, and what will be held tomorrow."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

from scalpdesk.core.structs import FrozenStruct
from scalpdesk.core.units import DAY_NS, MINUTE_NS, NANOS_PER_SECOND, SECONDS_PER_YEAR, ZERO, InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.deadlines import (
    NoticeCutoff,
    VenueCutoff,
    notice_deadline_ns,
    order_cutoff_ns,
    takes_notices,
)
from scalpdesk.instruments.sessions import effective_day, expiry_instant_ns, to_new_york
from scalpdesk.instruments.settlement import delivery

PIN_DEVIATIONS = 1.0
"""An option is pinned when its strike lies within so many standard deviations of the minutes left."""
AFTER_CLOSE_DEVIATION = 0.002
"""Standard deviation of a price from the close to the last notice, a fraction: what is left of a pin then. An
assumption for a broad fund on a quiet day.
"""

_NO_NUMBER = InstrumentId(0)
FARTHEST = 99.0
"""Standard deviations that are shown at most: nothing is left that could change it."""


class ExpiringLeg(FrozenStruct, frozen=True):
    """An option that is held, with what quotes say of it."""

    contract: OptionContract
    units: Decimal
    """Signed contracts."""
    spot: float | None = None
    mark: float | None = None
    """``spot``, ``mark``: Prices of the underlying and the option, currency per unit; None if unknown."""
    vol: float | None = None
    """Volatility a year, by the calendar."""


class LegAtExpiry(FrozenStruct, frozen=True):
    """One option on its last day."""

    symbol: str
    underlying: str
    units: Decimal
    expires_ns: int
    order_cutoff_ns: int
    """From when the broker takes no order in it."""
    notice_ns: int | None
    deadline_ns: int | None
    """``notice_ns``, ``deadline_ns``: Until when the broker, and the exchange, take an exercise notice or a
    contrary instruction; None where nothing is delivered. UTC nanoseconds, as all instants.
    """
    minutes: float
    """Until it expires, at least 0."""
    distance: float | None
    """Standard deviations of the minutes left by which it is in the money; negative out of it."""
    chance: float | None
    """Chance that it ends in the money, without drift."""
    is_pinned: bool
    exercised: float | None
    held: float | None
    """``exercised``, ``held``: Worth of the position exercised now, and at its mark; in its currency."""
    shares: Decimal
    """Signed units of the underlying that its exercise or assignment brings; 0 where it pays cash."""
    cash: Decimal
    """Signed currency that goes with them."""


class Tomorrow(FrozenStruct, frozen=True):
    """Units of an underlying on the next morning, signed."""

    underlying: str
    now: Decimal
    by_spot: Decimal | None
    """If every option ended as it stands at the present spot; None without one."""
    least: Decimal
    most: Decimal
    """``least``, ``most``: If each pinned option may be exercised or not."""
    exercised: dict[str, Decimal]
    not_exercised: dict[str, Decimal]
    """``exercised``, ``not_exercised``: By option, the others as they stand at the present spot."""


class ExpiryDay(FrozenStruct, frozen=True):
    """Everything held that expires today, and what it leaves behind."""

    legs: tuple[LegAtExpiry, ...]
    tomorrow: tuple[Tomorrow, ...]


def _is_last_day(contract: OptionContract, now_ns: int) -> bool:
    """Return whether an option expires on the day of an instant; on a coin within the next 24 hours."""
    if contract.is_coin:
        return 0 <= expiry_instant_ns(contract) - now_ns < DAY_NS
    return effective_day(contract.expiry) == to_new_york(now_ns).date()


def expiry_day(
    legs: Sequence[ExpiringLeg],
    shares: Mapping[str, Decimal],
    now_ns: int,
    *,
    cutoff: VenueCutoff,
    notices: Sequence[NoticeCutoff] = (),
    pin_deviations: float = PIN_DEVIATIONS,
) -> ExpiryDay:
    """Return the figures of an expiry day; options that expire later are left out.

    ``legs``: Options that are held.
    ``shares``: Signed units of their underlyings that are held.
    ``now_ns``: UTC nanoseconds.
    ``cutoff``, ``notices``: The venue's cut-off for orders, and for notices; the exchange's own without a
    row.
    ``pin_deviations``: See :data:`PIN_DEVIATIONS`.
    """
    today = [leg for leg in legs if leg.units and _is_last_day(leg.contract, now_ns)]
    found = tuple(_figures(leg, now_ns, cutoff, notices, pin_deviations) for leg in today)
    names = dict.fromkeys(leg.underlying for leg in found if leg.shares)
    return ExpiryDay(
        found,
        tuple(
            _tomorrow(name, shares.get(name, ZERO), [leg for leg in found if leg.underlying == name])
            for name in names
        ),
    )


def _figures(
    leg: ExpiringLeg,
    now_ns: int,
    cutoff: VenueCutoff,
    notices: Sequence[NoticeCutoff],
    pin_deviations: float,
) -> LegAtExpiry:
    option, units, spot = leg.contract, leg.units, leg.spot
    expires_ns, decides = expiry_instant_ns(option), takes_notices(option)
    distance = _distance(leg, now_ns)
    contracts = float(units) * option.multiplier
    shares = cash = ZERO
    if option.delivers:
        _, delivered = delivery(option, _NO_NUMBER, _NO_NUMBER, units, expires_ns, expires_ns)
        shares, cash = delivered.quantity_change, delivered.cash_change
    return LegAtExpiry(
        symbol=option.symbol,
        underlying=option.underlying,
        units=units,
        expires_ns=expires_ns,
        order_cutoff_ns=order_cutoff_ns(option, cutoff),
        notice_ns=notice_deadline_ns(option.expiry, notices) if decides else None,
        deadline_ns=notice_deadline_ns(option.expiry) if decides else None,
        minutes=max(expires_ns - now_ns, 0) / MINUTE_NS,
        distance=distance,
        chance=None if distance is None else 0.5 * math.erfc(-distance / math.sqrt(2.0)),
        is_pinned=distance is not None and abs(distance) <= pin_deviations,
        exercised=None if spot is None else contracts * option.payoff(spot),
        held=None if leg.mark is None else contracts * leg.mark,
        shares=shares,
        cash=cash,
    )


def _distance(leg: ExpiringLeg, now_ns: int) -> float | None:
    """Return by how many deviations of what is left the spot lies in the money.

    After the close what is delivered is still decided by its owners until the last notice.
    """
    option, spot = leg.contract, leg.spot
    if spot is None or not spot > 0.0:
        return None
    years = max(expiry_instant_ns(option) - now_ns, 0) / (SECONDS_PER_YEAR * NANOS_PER_SECOND)
    variance = (leg.vol or 0.0) ** 2 * years
    if leg.vol is None and years:
        return None
    if takes_notices(option) and now_ns < notice_deadline_ns(option.expiry):
        variance += AFTER_CLOSE_DEVIATION**2
    away = math.log(spot / float(option.strike)) * (1.0 if option.is_call else -1.0)
    if variance <= 0.0:
        return math.copysign(FARTHEST, away) if away else 0.0
    return min(max(away / math.sqrt(variance), -FARTHEST), FARTHEST)


def _tomorrow(underlying: str, now: Decimal, legs: Sequence[LegAtExpiry]) -> Tomorrow:
    delivers = [leg for leg in legs if leg.shares]
    ends = {leg.symbol: leg.shares if (leg.distance or 0.0) > 0.0 else ZERO for leg in delivers}
    open_ones = [leg for leg in delivers if leg.is_pinned or leg.distance is None]
    decided = now + sum(ends.values(), ZERO) - sum((ends[leg.symbol] for leg in open_ones), ZERO)
    by_spot = now + sum(ends.values(), ZERO)
    return Tomorrow(
        underlying=underlying,
        now=now,
        by_spot=None if any(leg.distance is None for leg in delivers) else by_spot,
        least=decided + sum((min(leg.shares, ZERO) for leg in open_ones), ZERO),
        most=decided + sum((max(leg.shares, ZERO) for leg in open_ones), ZERO),
        exercised={leg.symbol: by_spot - ends[leg.symbol] + leg.shares for leg in delivers},
        not_exercised={leg.symbol: by_spot - ends[leg.symbol] for leg in delivers},
    )
