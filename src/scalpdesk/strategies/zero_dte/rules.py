"""The rules of the 0DTE gamma scalper, exact and without a market: net delta, threshold, hedge.

Deltas are in *contract deltas*: one share of the underlying is ``1 / multiplier`` of one. With a
multiplier of 1 a quantity is in share-equivalents, as in the document's own replay; 10 at a delta of
0.65 then are 6.5 shares, and with a multiplier of 100 they are 650.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

import msgspec

from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.marketdata.dealer_gamma import STANDARD_THRESHOLD, TIGHT_THRESHOLD, threshold_by_dealers
from scalpdesk.protocol import to_decimal

ZERO = Decimal(0)
ONE = Decimal(1)
LARGEST = Decimal("1e9")
"""No delta, quantity or price is larger; a number that is belongs to no market."""
SMALLEST = Decimal("1e-18")
"""Nor smaller, unless it is nought."""

HedgeReason = Literal["delta_hedge", "within_threshold", "rate_limited", "rounds_to_zero"]


class HedgeRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the net delta is hedged.

    Parameters
    ----------
    threshold
        Contract deltas that the net delta may be off by, inclusive.
    threshold_negative_gex
        The same while dealers are known to be short gamma.
    seconds_between_hedges
        Shortest time between two hedges, in the time of the events.
    stale_delta_seconds
        Age at which a delta that came without an update is too old to hedge on.
    """

    threshold: Decimal = STANDARD_THRESHOLD
    threshold_negative_gex: Decimal = TIGHT_THRESHOLD
    seconds_between_hedges: float = 60.0
    stale_delta_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for key in ("threshold", "threshold_negative_gex"):
            value = getattr(self, key)
            if not value.is_finite() or not 0 < value <= LARGEST:
                raise ConfigError(
                    "a hedging threshold is above zero",
                    where=f"hedge.{key}",
                    value=str(value),
                    fix="the document's are 0.15, and 0.10 where dealers are short gamma",
                )
        if self.threshold_negative_gex > self.threshold:
            raise ConfigError(
                "the threshold while dealers are short gamma is the tighter one",
                where="hedge.threshold_negative_gex",
                value=str(self.threshold_negative_gex),
                fix=f"at most hedge.threshold, which is {self.threshold}",
            )
        for key in ("seconds_between_hedges", "stale_delta_seconds"):
            seconds = getattr(self, key)
            if not 0 <= seconds <= 86_400:
                raise ConfigError("a number of seconds within a day", where=f"hedge.{key}", value=seconds)


class HedgeVerdict(msgspec.Struct, frozen=True):
    """What the rule says, and on what."""

    net_delta: Decimal
    """Contract deltas."""
    threshold: Decimal
    quantity_shares: int
    """Signed: above zero is a buy. 0 unless ``reason`` is ``delta_hedge``."""
    reason: HedgeReason


def number_in(value: object) -> Decimal | None:
    """Return a JSON number (or the text of one) exactly as it is written; None when it is none.

    A float is read by its shortest text: 0.65 is 0.65, not its binary neighbour. Booleans, NaN,
    infinities and numbers beyond :data:`LARGEST` or below :data:`SMALLEST` are no numbers here.

    >>> number_in(0.65), number_in(float("nan")), number_in(True)
    (Decimal('0.65'), None, None)
    """
    try:
        number = to_decimal(value)
    except ArgumentError:
        return None
    size = abs(number)
    return number if not size or SMALLEST <= size <= LARGEST else None


def net_delta(
    positions: Iterable[tuple[Decimal, Decimal]], hedge_shares: Decimal, multiplier: int
) -> Decimal:
    """Return the net delta in contract deltas: options, and the shares that hedge them.

    Parameters
    ----------
    positions
        Delta per unit and signed quantity of each option position.
    hedge_shares
        Signed shares of the underlying held or on their way; each has a delta of one.
    multiplier
        Units of the underlying in one contract; 1 where quantities are share-equivalents.

    Raises
    ------
    ArgumentError
        When the multiplier is below one.

    Examples
    --------
    >>> net_delta([(Decimal("0.65"), Decimal(10))], Decimal(-650), 100)
    Decimal('0.00')
    """
    if multiplier < 1:
        raise ArgumentError("a contract has at least one unit", where="multiplier", value=multiplier)
    options = sum((delta * quantity for delta, quantity in positions), ZERO)
    return options + hedge_shares / multiplier if hedge_shares else options


def hedge_shares_for(net: Decimal, multiplier: int) -> int:
    """Return the signed shares that neutralise ``net`` contract deltas, ties away from zero.

    >>> hedge_shares_for(Decimal("6.5"), 1), hedge_shares_for(Decimal("-6.5"), 1)
    (-7, 7)
    """
    return int((-net * multiplier).quantize(ONE, rounding=ROUND_HALF_UP))


def threshold_for(gex: Decimal | None, rules: HedgeRules) -> Decimal:
    """Return the threshold: the tight one only where dealers are known to be short gamma.

    Parameters
    ----------
    gex
        Dealer gamma exposure in USD, None when it is not known or too old.
    rules
        Both thresholds.
    """
    known = None if gex is None else float(gex)
    return threshold_by_dealers(known, standard=rules.threshold, tight=rules.threshold_negative_gex)


def judge_hedge(
    net: Decimal,
    multiplier: int,
    threshold: Decimal,
    since_hedge_ns: int | None,
    seconds_between_hedges: float = 60.0,
) -> HedgeVerdict:
    """Say whether to hedge now, and by how many shares.

    The net delta must be beyond the threshold, not at it; the last hedge at least so many seconds
    ago (exactly as many is enough); and the shares must round to one at least.

    Parameters
    ----------
    net
        Net delta in contract deltas, the shares held included.
    multiplier
        Units of the underlying in one contract.
    threshold
        Contract deltas.
    since_hedge_ns
        Nanoseconds of event time since the last hedge; None when there was none.
    seconds_between_hedges
        Shortest time between two hedges.
    """
    if abs(net) <= threshold:
        return HedgeVerdict(net, threshold, 0, "within_threshold")
    if since_hedge_ns is not None and since_hedge_ns < seconds_between_hedges * NANOS_PER_SECOND:
        return HedgeVerdict(net, threshold, 0, "rate_limited")
    shares = hedge_shares_for(net, multiplier)
    if not shares:
        return HedgeVerdict(net, threshold, 0, "rounds_to_zero")
    return HedgeVerdict(net, threshold, shares, "delta_hedge")
