"""How many shares, for how many cents, and whether a cent is left: st0cka's arithmetic, exact.

Volatilities come in as floats (fractions a year) and are read as the decimals that they print as,
so that a boundary is a boundary: at 0.175 between 0.10 and 0.25 the size is 2, not 1.9999.
"""

from decimal import Decimal

import msgspec

from scalpdesk.core.intents import Side
from scalpdesk.core.units import round_to_tick
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.fees import FeeSchedule
from scalpdesk.strategies.toolkit.sizing import exact_vol

ONE = Decimal(1)


def dynamic_target(vol: float | None, base: Decimal, *, reference_vol: float | None = 0.10) -> Decimal:
    """Return the profit target in currency a share: ``base``·max(1, vol/reference).

    ``reference_vol`` None, or an unknown ``vol``, leaves the base. Not rounded: :func:`sell_limit` is.

    >>> dynamic_target(0.25, Decimal("0.01"))
    Decimal('0.025')
    """
    if vol is None or reference_vol is None:
        return base
    return base * max(ONE, exact_vol(vol) / exact_vol(reference_vol))


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
