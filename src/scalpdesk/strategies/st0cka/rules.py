"""How many shares, for how many cents, and whether a cent is left: st0cka's arithmetic, exact.

Volatilities come in as floats (fractions a year) and are read as the decimals that they print as,
so that a boundary is a boundary: at 0.175 between 0.10 and 0.25 the size is 2, not 1.9999.
"""

from decimal import ROUND_FLOOR, Decimal

import msgspec

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.intents import Side
from scalpdesk.core.units import round_to_tick
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.fees import FeeSchedule

ONE = Decimal(1)


def volatility_size(
    vol: float | None, *, low_vol: float = 0.10, high_vol: float = 0.25, least: int = 1, most: int = 3
) -> int:
    """Return the size in shares: ``most`` in calm markets, ``least`` in wild ones, linear between.

    floor(most − (vol − low)/(high − low)·(most − least)), bounds inclusive. Source: the seed's
    description of st0cka ("10 % vol = max size, 25 % vol = min size").

    Parameters
    ----------
    vol
        Annualised volatility as a fraction; None when it is not known, which gives ``least``.
    low_vol, high_vol
        Volatilities at and below (at and above) which the size is ``most`` (``least``).
    least, most
        Bounds in shares.

    Raises
    ------
    ArgumentError
        When the bounds are the wrong way round.

    Examples
    --------
    >>> [volatility_size(vol) for vol in (0.08, 0.10, 0.12, 0.175, 0.25, None)]
    [3, 3, 2, 2, 1, 1]
    """
    if not low_vol < high_vol or not 0 < least <= most:
        raise ArgumentError(
            "bounds of a size the wrong way round",
            where="low_vol, high_vol, least, most",
            value=f"{low_vol}, {high_vol}, {least}, {most}",
            fix="low_vol < high_vol and 0 < least <= most",
        )
    if vol is None:
        return least
    level, low, high = _exactly(vol), _exactly(low_vol), _exactly(high_vol)
    share = min(max((level - low) / (high - low), Decimal(0)), ONE)
    return int((most - share * (most - least)).to_integral_value(rounding=ROUND_FLOOR))


def dynamic_target(vol: float | None, base: Decimal, *, reference_vol: float | None = 0.10) -> Decimal:
    """Return the profit target in currency a share: ``base``·max(1, vol/reference).

    ``reference_vol`` None, or an unknown ``vol``, leaves the base. Not rounded: :func:`sell_limit` is.

    >>> dynamic_target(0.25, Decimal("0.01"))
    Decimal('0.025')
    """
    if vol is None or reference_vol is None:
        return base
    return base * max(ONE, _exactly(vol) / _exactly(reference_vol))


def sell_limit(entry_price: Decimal, target: Decimal, tick: Decimal) -> Decimal:
    """Return the limit that takes the target, rounded up: shares are not quoted in parts of a cent.

    Source of the rule: SEC Regulation NMS, 17 CFR 242.612 (no sub-penny quotes at 1 USD and above).

    >>> sell_limit(Decimal("590.00"), Decimal("0.025"), Decimal("0.01"))
    Decimal('590.03')
    """
    return round_to_tick(entry_price + target, tick, "up")


class Viability(msgspec.Struct, frozen=True):
    """What a scalp brings when its target is reached. Currency, the whole lot."""

    target: Decimal
    """From the ask paid to the limit asked."""
    half_spread: Decimal
    """What the lot is worth less than was paid, the moment it is bought."""
    fees: Decimal
    """Of the purchase and of the sale."""

    @property
    def net(self) -> Decimal:
        """Target less half-spread and fees."""
        return self.target - self.half_spread - self.fees

    def in_words(self) -> str:
        """Return the sum as a reader checks it."""
        verdict = "viable" if self.net > 0 else "unviable"
        parts = f"target {self.target:.2f} - half-spread {self.half_spread:.3f} - fees {self.fees:.2f}"
        return f"{verdict}: expected net {self.net:.3f} USD ({parts})"


def viability(
    instrument: Instrument, size: Decimal, bid: Decimal, ask: Decimal, limit: Decimal, fees: FeeSchedule
) -> Viability:
    """Return what a lot bought at ``ask`` and sold at ``limit`` brings (prices in currency a share)."""
    paid = fees.fee(instrument, Side.BUY, size, ask) + fees.fee(instrument, Side.SELL, size, limit)
    return Viability(size * (limit - ask), size * (ask - bid) / 2, paid)


def _exactly(value: float) -> Decimal:
    if not value - value == 0.0:
        raise ArgumentError("a volatility must be finite", where="vol", value=value)
    return Decimal(repr(float(value)))
