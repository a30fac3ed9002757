"""The volatility at which the delta of a hedge is computed."""

from collections.abc import Callable, Mapping
from typing import Literal

from scalpdesk.core.units import InstrumentId

DeltaVol = Literal["implied", "entry", "forecast", "fixed"]


class DeltaModel:
    """Chooses the volatility of the hedge's delta, leg by leg.

    Parameters
    ----------
    source
        ``implied`` now, implied at ``entry``, ``forecast``, or ``fixed``. It decides how the profit
        arrives: at the implied one a little at a time and certain in sign, at the actual one certain
        in sum (Ahmad and Wilmott, 2005).
    fixed_vol
        For ``fixed``: a fraction a year.
    """

    def __init__(self, source: DeltaVol = "implied", fixed_vol: float | None = None) -> None:
        self.source = source
        self._fixed_vol = fixed_vol
        self._entry_vols: dict[InstrumentId, float] = {}

    def begin(self, entry_vols: Mapping[InstrumentId, float]) -> None:
        """Remember the implied volatilities at entry."""
        self._entry_vols = dict(entry_vols)

    def vol(self, leg: InstrumentId, implied: float, forecast_vol: Callable[[], float | None]) -> float:
        """Return the volatility for a leg; its implied one where the chosen one is not known."""
        found: float | None = None
        if self.source == "entry":
            found = self._entry_vols.get(leg)
        elif self.source == "fixed":
            found = self._fixed_vol
        elif self.source == "forecast":
            found = forecast_vol()
        return found or implied
