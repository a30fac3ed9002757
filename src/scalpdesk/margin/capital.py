"""Capital of one position or order on its own, without what it offsets: what the risk gate counts with."""

from decimal import Decimal

from scalpdesk.core.units import money_decimals
from scalpdesk.instruments.contract import FUTURE_INITIAL, Instrument
from scalpdesk.instruments.deribit import PERPETUAL_INITIAL

_SHARE_MARGIN = 0.5
"""Fraction of a share's value: Regulation T's initial margin (12 CFR 220)."""


def capital_of(instrument: Instrument, quantity: Decimal, price: float) -> float:
    """Return what a quantity ties up at a price, in currency: premium of options, margin of the rest."""
    margin = 1.0 if instrument.is_option else _SHARE_MARGIN
    if instrument.is_perpetual:
        margin = float(PERPETUAL_INITIAL)
    elif instrument.is_future:
        margin = float(FUTURE_INITIAL)
    return margin * instrument.notional(float(quantity), price)


def cash_of(instrument: Instrument, quantity: Decimal, price: float) -> Decimal:
    """Return what an order takes at a price: its cost, of a future or perpetual its margin."""
    taken = instrument.notional(float(quantity), price)
    if instrument.is_perpetual or instrument.is_future:
        taken = capital_of(instrument, quantity, price)
    return Decimal(f"{taken:.{money_decimals(instrument.currency)}f}")
