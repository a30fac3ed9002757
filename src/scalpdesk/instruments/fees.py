"""Commissions and regulatory fees, as exact amounts in the quote currency."""

from collections.abc import Mapping
from decimal import ROUND_UP, Decimal
from typing import Protocol

import msgspec

from scalpdesk.core.intents import Side
from scalpdesk.core.units import CENT
from scalpdesk.instruments.contract import Instrument, OptionContract


class FeeModel(Protocol):
    """Fees of a venue."""

    def fee(self, instrument: Instrument, side: Side, quantity: Decimal, price: Decimal) -> Decimal:
        """Return the fee of one execution in the instrument's currency; ``quantity`` is unsigned."""
        ...

    def delivery(self, instrument: Instrument, payoff: Decimal) -> Decimal:
        """Return the fee of the settlement of one option that pays ``payoff``, in the same currency."""
        ...


class FeeSchedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Commissions and regulatory fees of one venue."""

    per_share: Decimal = Decimal(0)
    per_contract: Decimal = Decimal(0)
    """``per_share``, ``per_contract``: Commission in USD a share and a contract."""
    per_future: Mapping[str, Decimal] = {}
    """Commission, exchange and clearing fees in USD a contract and side, of futures by root."""
    minimum_per_order: Decimal = Decimal(0)
    """Smallest commission of one execution in USD."""
    section_31_per_million: Decimal = Decimal(0)
    """SEC fee in USD per million USD sold (shares and options, sells only)."""
    taf_per_share: Decimal = Decimal(0)
    taf_per_contract: Decimal = Decimal(0)
    """``taf_per_share``, ``taf_per_contract``: FINRA trading activity fee in USD, sells only."""
    taf_cap: Decimal = Decimal(0)
    """Largest TAF of one execution in USD (shares)."""
    orf_per_contract: Decimal = Decimal(0)
    """Options regulatory fee in USD, both sides."""

    def fee(self, instrument: Instrument, side: Side, quantity: Decimal, price: Decimal) -> Decimal:
        """Return the fee of one execution in USD, with the regulatory part rounded up to the cent.

        ``quantity`` is unsigned contracts or shares, ``price`` per unit of the underlying.
        """
        if instrument.is_future:
            return quantity * self.per_future.get(instrument.root, Decimal(0))
        is_option = isinstance(instrument, OptionContract)
        commission = quantity * (self.per_contract if is_option else self.per_share)
        commission = max(commission, self.minimum_per_order)
        regulatory = quantity * self.orf_per_contract if is_option else Decimal(0)
        if side is Side.SELL:
            notional = quantity * price * instrument.multiplier
            regulatory += notional * self.section_31_per_million / 1_000_000
            taf = quantity * (self.taf_per_contract if is_option else self.taf_per_share)
            regulatory += min(taf, self.taf_cap) if self.taf_cap and not is_option else taf
        return commission + regulatory.quantize(CENT, rounding=ROUND_UP)

    def delivery(self, instrument: Instrument, payoff: Decimal) -> Decimal:
        """Return 0: an exercise or settlement is free."""
        del instrument, payoff
        return Decimal(0)


NO_FEES = FeeSchedule()

ALPACA_FEES = FeeSchedule(
    section_31_per_million=Decimal("27.80"),
    taf_per_share=Decimal("0.000166"),
    taf_per_contract=Decimal("0.00279"),
    taf_cap=Decimal("8.30"),
    orf_per_contract=Decimal("0.02915"),
)
"""No commission; the regulatory fees that brokers pass on (SEC, FINRA and OCC rates of 2025)."""

IBKR_FEES = FeeSchedule(
    per_share=Decimal("0.005"),
    per_contract=Decimal("0.65"),
    per_future={"ES": Decimal("2.25"), "MES": Decimal("0.62")},
    minimum_per_order=Decimal(1),
    section_31_per_million=ALPACA_FEES.section_31_per_million,
    taf_per_share=ALPACA_FEES.taf_per_share,
    taf_per_contract=ALPACA_FEES.taf_per_contract,
    taf_cap=ALPACA_FEES.taf_cap,
    orf_per_contract=ALPACA_FEES.orf_per_contract,
)
"""Fixed prices of Interactive Brokers in the US; the minimum, which is that of an order, applies to each
execution here.
"""
