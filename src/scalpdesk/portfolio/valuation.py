"""Value of one option, and the interface through which strategies ask for it."""

from collections.abc import Iterable
from typing import Protocol

from scalpdesk.core.structs import Leaf
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.portfolio.greeks import PositionGreeks
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.positions import Position
from scalpdesk.portfolio.strike_vols import ExpirySmile, StrikeVol
from scalpdesk.pricing.base import OptionGreeks

MODEL_DECIMALS = 8
"""Of a mark that the model gives: fine enough for a premium in coin."""


class Valuation(Leaf, gc=False):
    """Valuation of one option; prices in currency per unit of the underlying."""

    quoted: float | None
    """Mark that quotes give; None where it is the model's value."""
    spot: float
    years: float
    rate: float
    vol: float
    """Implied volatility of the mark as a fraction a year; the last known one when there is none."""
    vol_is_fresh: bool
    contract: OptionContract
    pricer: ContractPricer
    dividend_yield: float = 0.0
    """Continuous yield that with the rate carries the spot to the forward, a fraction a year."""
    own_greeks: OptionGreeks | None = None
    """At its own volatility, once they were asked for; see :attr:`greeks`."""
    is_modelled: bool = False
    """Whether the quote was lost or lacks a side: the volatility is the last known, or its strike's."""

    @property
    def mark(self) -> float:
        """Value of one unit, worked out when first asked for where the model gives it."""
        return round(self.greeks.price, MODEL_DECIMALS) if self.quoted is None else self.quoted

    def greeks_at(self, vol: float) -> OptionGreeks:
        """Return price and Greeks here and now at any volatility."""
        terms = self.contract, self.spot, self.years, vol, self.rate, self.dividend_yield
        return self.pricer.greeks(*terms)

    @property
    def greeks(self) -> OptionGreeks:
        """Price and Greeks at its own volatility, worked out when first asked for."""
        if self.own_greeks is None:
            self.own_greeks = self.greeks_at(self.vol)
        return self.own_greeks


class OptionValuer(Protocol):
    """Read-only interface of :class:`DeltaEngine`."""

    def value(self, instrument_id: InstrumentId, now_ns: int) -> Valuation | None:
        """Value one option; see :meth:`DeltaEngine.value`."""
        ...

    def value_at_kept_vol(self, instrument_id: InstrumentId, now_ns: int) -> Valuation | None:
        """Value one option at its last volatility; see :meth:`DeltaEngine.value_at_kept_vol`."""
        ...

    def value_together(self, numbers: Iterable[InstrumentId], now_ns: int) -> None:
        """Value options ahead of :meth:`value`; see :meth:`DeltaEngine.value_together`."""
        ...

    def greeks_at(self, instrument_id: InstrumentId, now_ns: int, vol: float) -> OptionGreeks | None:
        """Return the Greeks of an option at a given volatility."""
        ...

    def strike_vol(self, instrument_id: InstrumentId, now_ns: int) -> StrikeVol | None:
        """Return the volatility of an option's strike on the smile; see :meth:`DeltaEngine.strike_vol`."""
        ...

    def smile(self, instrument_id: InstrumentId, now_ns: int) -> ExpirySmile | None:
        """Return the smile of an option's expiry; see :meth:`StrikeVols.smile`."""
        ...

    def skew(self, instrument_id: InstrumentId, now_ns: int) -> float | None:
        """Return the slope of the volatility in ln(strike) at an option's strike."""
        ...

    def quoted_price(self, instrument_id: InstrumentId, now_ns: int) -> float | None:
        """Return what an option's mid is at the spot of now; see :meth:`DeltaEngine.quoted_price`."""
        ...

    def quoted_vol(self, instrument_id: InstrumentId) -> float | None:
        """Return the volatility of an option's mid at its quote; see :meth:`DeltaEngine.quoted_vol`."""
        ...

    def variance_years(self, start_ns: int, end_ns: int) -> float:
        """Return years of the run's variance clock between two instants (UTC nanoseconds)."""
        ...

    def rate(self, years: float) -> float:
        """Return the continuous rate for a maturity."""
        ...

    def position_greeks(self, held: Iterable[Position], now_ns: int) -> PositionGreeks:
        """Sum the Greeks of positions."""
        ...
