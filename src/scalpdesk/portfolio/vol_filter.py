"""Volatility of one strike and expiry through the day: each quote weighed by its bid–ask width.

A quote's mid lies anywhere within the spread, so the volatility it implies is a measurement with noise
(Hentschel 2003). A scalar Kalman filter over a random walk separates the two: a tight quote moves the state,
a wide one hardly. It is deterministic in the order of the quotes.
"""

import math

VOL_OF_VOL = 1.0
"""Log volatility's standard deviation per root year of the clock (S&P 500: 1 to 1.5)."""
_GATE = 5.0
"""Standard deviations of an innovation beyond which a quote is passed over."""
REPEATS = 3
"""Quotes beyond the gate in a row of which the last restarts the state."""


class VolFilter:
    """Kalman filter of one volatility.

    A level that leaps is an outlier only where it follows another of the same session: from
    :meth:`begin_session` on, until a measurement agrees with the one before, each beyond the gate is a new
    start.

    ``vol_of_vol``: Of its logarithm, per root year.
    ``gate``: Standard deviations of an innovation beyond which a measurement is passed over.
    ``repeats``: Measurements beyond the gate in a row of which the last is taken as a new start.
    ``vol``, ``deviation``: The state, a fraction a year, and its standard deviation; NaN before the first
    measurement.
    """

    __slots__ = ("_beyond", "_gate", "_is_open", "_repeats", "_variance", "_vol_of_vol", "vol")

    def __init__(self, vol_of_vol: float = VOL_OF_VOL, gate: float = _GATE, repeats: int = REPEATS) -> None:
        self._vol_of_vol = vol_of_vol
        self._gate = gate
        self._repeats = repeats
        self._beyond = 0
        self._is_open = False
        self._variance = 0.0
        self.vol = math.nan

    def begin_session(self) -> None:
        """Let the level move as far as the next measurements say: over a night much may have happened."""
        self._is_open = True

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
            if self._beyond < self._repeats and not self._is_open:
                return False
            self.vol, self._variance, self._beyond = vol, noise, 0
            return True
        self._beyond, self._is_open = 0, False
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
