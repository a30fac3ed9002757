"""Capital of one position or order on its own, without what it offsets: what the risk gate counts with."""

from decimal import Decimal

from scalpdesk.core.units import money_decimals
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.deribit import PERPETUAL_INITIAL

SHARE_MARGIN = 0.5
"""Fraction of a share's value: Regulation T's initial margin (12 CFR 220)."""


def capital_of(instrument: Instrument, quantity: Decimal, price: float) -> float:
    """Return what a quantity ties up at a price, in currency: premium of options, margin of the rest."""
    margin = 1.0 if instrument.is_option else SHARE_MARGIN
    if instrument.is_perpetual:
        margin = float(PERPETUAL_INITIAL)
    return margin * instrument.notional(float(quantity), price)


def cash_of(instrument: Instrument, quantity: Decimal, price: float) -> Decimal:
    """Return the cash or buying power that an order takes at a price: its cost, of a perpetual its margin."""
    taken = instrument.notional(float(quantity), price)
    if instrument.is_perpetual:
        taken = capital_of(instrument, quantity, price)
    return Decimal(f"{taken:.{money_decimals(instrument.currency)}f}")
