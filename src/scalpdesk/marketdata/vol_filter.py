"""Volatility of one strike and expiry through the day: each quote weighed by its bid–ask width.

A quote's mid lies anywhere within the spread, so the volatility it implies is a measurement with noise
(Hentschel 2003). A scalar Kalman filter over a random walk separates the two: a tight quote moves the state,
a wide one hardly. It is deterministic in the order of the quotes.
"""

import math
from typing import NamedTuple

from scalpdesk.pricing.kernels.black_iv import OK, european_iv
from scalpdesk.pricing.kernels.european import european_greeks

VOL_OF_VOL = 1.0
"""Log volatility's standard deviation per root year of the clock (S&P 500: 1 to 1.5)."""
GATE = 5.0
"""Standard deviations of an innovation beyond which a quote is passed over."""
REPEATS = 3
"""Quotes beyond the gate in a row of which the last starts the state anew."""


class QuotedVol(NamedTuple):
    """Volatilities (fractions a year) of a quote on the out-of-the-money side; None where there is none."""

    bid: float | None
    mid: float | None
    ask: float | None
    """``bid``, ``mid``, ``ask``: Of the three prices."""
    vega: float | None
    """At the mid, currency per 1.00 of volatility and unit of the underlying."""
    deviation: float | None
    """Standard deviation of the mid's volatility: the spread over 2·√3·vega."""


def quoted_vol(
    forward: float, strike: float, is_call: bool, bid: float, ask: float, years: float, discount: float = 1.0
) -> QuotedVol:
    """Return the volatilities of a European quote; an in-the-money one is turned over by parity first.

    Prices are currency per unit; ``years`` runs to expiry on the clock of the volatility.
    """
    over = discount * (forward - strike) * (1.0 if is_call else -1.0)
    if over > 0.0:
        bid, ask, is_call = bid - over, ask - over, not is_call
    phi = 1.0 if is_call else -1.0

    def implied(price: float) -> float | None:
        vol, status = european_iv(price / discount, phi, forward, strike, years, 0.0, 0.0)
        return vol if status == OK and price > 0.0 else None

    mid = implied(0.5 * (bid + ask))
    if mid is None:
        return QuotedVol(implied(bid), None, implied(ask), None, None)
    vega = discount * european_greeks(phi, forward, strike, years, mid, 0.0, 0.0)[4]
    return QuotedVol(implied(bid), mid, implied(ask), vega, (ask - bid) / (2.0 * math.sqrt(3.0) * vega))


class VolFilter:
    """Kalman filter of one volatility.

    Parameters
    ----------
    vol_of_vol
        Of its logarithm, per root year.
    gate
        Standard deviations of an innovation beyond which a measurement is passed over.
    repeats
        Measurements beyond the gate in a row of which the last is taken as a new start.

    Attributes
    ----------
    vol, deviation
        The state, a fraction a year, and its standard deviation; NaN before the first measurement.
    """

    __slots__ = ("_beyond", "_gate", "_repeats", "_variance", "_vol_of_vol", "vol")

    def __init__(self, vol_of_vol: float = VOL_OF_VOL, gate: float = GATE, repeats: int = REPEATS) -> None:
        self._vol_of_vol = vol_of_vol
        self._gate = gate
        self._repeats = repeats
        self._beyond = 0
        self._variance = 0.0
        self.vol = math.nan

    @property
    def deviation(self) -> float:
        """Standard deviation of the state."""
        return math.nan if math.isnan(self.vol) else math.sqrt(self._variance)

    def update(self, years: float, vol: float, deviation: float) -> bool:
        """Take a measurement; return whether it moved the state.

        ``years`` of the clock have passed since the measurement before; ``vol`` and its standard
        ``deviation`` are fractions a year.
        """
        noise = deviation * deviation
        if math.isnan(self.vol):
            self.vol, self._variance = vol, noise
            return True
        self._variance += (self._vol_of_vol * self.vol) ** 2 * years
        innovation = vol - self.vol
        if innovation * innovation > self._gate**2 * (self._variance + noise):
            self._beyond += 1
            if self._beyond < self._repeats:
                return False
            self.vol, self._variance, self._beyond = vol, noise, 0
            return True
        self._beyond = 0
        total = self._variance + noise
        gain = self._variance / total if total > 0.0 else 0.0
        self.vol += gain * innovation
        self._variance *= 1.0 - gain
        return True


class VolAverage(VolFilter):
    """Exponentially weighted mean of one volatility, whatever the width of its quotes.

    After ``half_life_seconds`` a quote's weight has halved.
    """

    __slots__ = ("_half_life_seconds",)

    def __init__(self, half_life_seconds: float) -> None:
        super().__init__()
        self._half_life_seconds = half_life_seconds

    def average(self, seconds: float, vol: float, deviation: float) -> None:
        """Take a measurement ``seconds`` after the one before; arguments as for the filter."""
        gain = (
            1.0 if math.isnan(self.vol) else -math.expm1(-math.log(2.0) * seconds / self._half_life_seconds)
        )
        self.vol = vol if gain == 1.0 else self.vol + gain * (vol - self.vol)
        self._variance = (1.0 - gain) ** 2 * self._variance + (gain * deviation) ** 2
