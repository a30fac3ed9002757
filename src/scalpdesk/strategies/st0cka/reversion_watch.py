"""The minute bars and the VWAP that mean reversion is read from, kept as the day goes on."""

from scalpdesk.core.events import BarEvent, Event, QuoteEvent
from scalpdesk.core.units import InstrumentId
from scalpdesk.marketdata.bars import Absent, Timeframes
from scalpdesk.marketdata.triggers import Wake
from scalpdesk.strategies.contract import DeskView
from scalpdesk.strategies.st0cka.mean_reversion import MeanReversionConfig, read_mean_reversion

MINUTE_SECONDS = 60
Facts = dict[str, str | float | int]


class ReversionWatch:
    """Watches one share's day and says what speaks against buying it as fallen too far.

    Parameters
    ----------
    instrument_id
        The share.
    config
        When it counts as that.
    """

    def __init__(self, instrument_id: InstrumentId, config: MeanReversionConfig) -> None:
        self._number = instrument_id
        self._config = config
        self._frames = Timeframes(instrument_id, (MINUTE_SECONDS,), kept_bars=max(config.closes_needed, 1))

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

    def against(self, price: float) -> tuple[str, Facts]:
        """Return what speaks against buying at ``price`` (empty: nothing) and the readings.

        A reading whose inputs are missing speaks against it, with the reason why they are.
        """
        vwap = self._frames.vwap()
        if isinstance(vwap, Absent):
            return f"no VWAP: {vwap.reason}", {}
        closes = self._frames.closes(MINUTE_SECONDS, self._config.closes_needed, same_session=True)
        if isinstance(closes, Absent):
            return closes.reason, {}
        reading = read_mean_reversion(price, vwap, closes, self._config)
        facts: Facts = {
            "vwap": vwap,
            "vwap_deviation": reading.vwap_deviation,
            "bollinger_lower": reading.lower_band,
            "rsi": reading.rsi,
        }
        return "; ".join(reading.failing), facts
