"""Is a price far below its day? The long-only mean reversion of st0cka.

Three readings must agree: the distance to the session's VWAP, the lower Bollinger band and the RSI.
All are of closed one-minute bars; the price itself is the one now.

The minute bars and the VWAP that mean reversion is read from, kept as the day goes on.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec

from scalpdesk.base import ArgumentError, BarEvent, Event, InstrumentId, QuoteEvent
from scalpdesk.strategies import Absent, DeskView, Facts, Timeframes, Wake


class MeanReversionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Readings below which a price counts as oversold."""

    vwap_deviation_threshold: float = 0.005
    """Distance below the session's VWAP as a fraction of it (reached counts)."""
    bollinger_period: int = 20
    bollinger_std: float = 2.0
    """``bollinger_period``, ``bollinger_std``: Closes in the band and its half width in population standard
    deviations.
    """
    rsi_period: int = 14
    rsi_oversold: float = 30.0
    """``rsi_period``, ``rsi_oversold``: Changes in the RSI (simple averages) and the level at or below which
    it counts.
    """

    @property
    def closes_needed(self) -> int:
        """Closes that both readings need."""
        return max(self.bollinger_period, self.rsi_period + 1)


class MeanReversion(msgspec.Struct, frozen=True):
    """The three readings and what they say."""

    vwap_deviation: float
    """(price − VWAP)/VWAP; below zero is below."""
    lower_band: float
    """Currency a share."""
    rsi: float
    """0 to 100."""
    is_entry: bool
    failing: dict[str, str]
    """Reasons against buying, with the figures, by reading; empty for an entry."""


def read_mean_reversion(
    price: float, vwap: float, closes: Sequence[float], config: MeanReversionConfig
) -> MeanReversion:
    """Judge a price by its session's VWAP and the closes up to now.

    ``price``, ``vwap``: Currency a share.
    ``closes``: Oldest first, the current one last; at least ``config.closes_needed`` of them.
    Raises ArgumentError when there are too few closes or a price is not above zero.
    """
    if len(closes) < config.closes_needed:
        raise ArgumentError(
            "too few closes", where="closes", value=len(closes), fix=f"{config.closes_needed}"
        )
    if not (price > 0 and vwap > 0):
        raise ArgumentError("prices must be above zero", where="price, vwap", value=f"{price}, {vwap}")
    deviation = (price - vwap) / vwap
    band = lower_bollinger_band(closes, config.bollinger_period, config.bollinger_std)
    rsi = simple_rsi(closes, config.rsi_period)
    failing = {}
    if not deviation <= -config.vwap_deviation_threshold:
        failing["vwap"] = (
            f"{deviation:+.2%} from the VWAP {vwap:.2f}, wanted {-config.vwap_deviation_threshold:.2%}"
        )
    if not price <= band:
        failing["bollinger"] = f"above the lower Bollinger band {band:.2f}"
    if not rsi <= config.rsi_oversold:
        failing["rsi"] = f"RSI {rsi:.0f}, wanted {config.rsi_oversold:g} or less"
    return MeanReversion(deviation, band, rsi, not failing, failing)


def lower_bollinger_band(closes: Sequence[float], period: int = 20, width_std: float = 2.0) -> float:
    """Return mean − ``width_std``·σ of the last ``period`` closes; σ of the population.

    Source: J. Bollinger, "Bollinger on Bollinger Bands" (2001).
    """
    window = closes[-period:]
    mean = math.fsum(window) / len(window)
    variance = math.fsum((close - mean) ** 2 for close in window) / len(window)
    return mean - width_std * math.sqrt(variance)


def simple_rsi(closes: Sequence[float], period: int = 14) -> float:
    """Return 100 − 100/(1 + gains/losses) over the last ``period`` changes, simple averages.

    No losses give 100; neither gains nor losses give 50. Source: J. W. Wilder, "New Concepts in
    Technical Trading Systems" (1978), with simple instead of smoothed averages.
    """
    window = closes[-period - 1 :]
    changes = [after - before for before, after in pairwise(window)]
    gains = math.fsum(change for change in changes if change > 0)
    losses = -math.fsum(change for change in changes if change < 0)
    if losses == 0.0:
        return 50.0 if gains == 0.0 else 100.0
    return 100.0 - 100.0 / (1.0 + gains / losses)


_MINUTE_SECONDS = 60


class ReversionTracker:
    """Follows one share's session and refuses a purchase that is not oversold."""

    def __init__(self, instrument_id: InstrumentId, config: MeanReversionConfig) -> None:
        self._number = instrument_id
        self._config = config
        self._frames = Timeframes(instrument_id, (_MINUTE_SECONDS,), kept_bars=max(config.closes_needed, 1))

    def see(self, view: DeskView, wake: Wake, event: Event) -> None:
        """Take in what the strategy was woken with."""
        if wake is Wake.SESSION:
            if view.session is not None and view.now_ns == view.session.open_ns:
                self._frames.open_session(view.session)
            else:
                self._frames.close_session()
        elif type(event) is BarEvent and event.instrument_id == self._number:
            self._frames.add_bar(event)
        elif type(event) is QuoteEvent and event.instrument_id == self._number:
            self._frames.add_quote(event)

    def against(self, price: float) -> tuple[Mapping[str, str], Facts]:
        """Return the reasons against buying at ``price`` by reading (none to buy), and the readings.

        A reading whose inputs are missing speaks against it, with the reason why they are.
        """
        vwap = self._frames.vwap()
        if isinstance(vwap, Absent):
            why = f"no VWAP: {vwap.reason}"
            return {why: why}, {}
        closes = self._frames.closes(_MINUTE_SECONDS, self._config.closes_needed, same_session=True)
        if isinstance(closes, Absent):
            return {"closes": closes.reason}, {}
        reading = read_mean_reversion(price, vwap, closes, self._config)
        facts: Facts = {
            "vwap": vwap,
            "vwap_deviation": reading.vwap_deviation,
            "bollinger_lower": reading.lower_band,
            "rsi": reading.rsi,
        }
        return reading.failing, facts
