"""Questions about a valuation as the desk puts them: it observes the options first."""

from typing import Any

from scalpdesk.core.units import InstrumentId
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.explain import PnlExplain
from scalpdesk.portfolio.positions import PositionManager
from scalpdesk.portfolio.strike_vols import StrikeVol


class ObservedExplain(PnlExplain):
    """An explain whose options are observed before each mark, as the desk does."""

    valuer: DeltaEngine
    book: PositionManager

    def mark(self, now_ns: int, **how: Any) -> Any:
        held = [each.instrument_id for each in self.book.held() if each.instrument.is_option]
        self.valuer.observe(held, now_ns)
        return super().mark(now_ns, **how)


def observed_strike_vol(engine: DeltaEngine, number: int, now_ns: int) -> StrikeVol | None:
    """Return the volatility of an option's strike after its latest quotes were observed."""
    engine.observe([InstrumentId(number)], now_ns, strike=True)
    option = engine.vols.facts(InstrumentId(number))
    return None if option is None else engine.vols.strike_vol(option, now_ns)


def observed_skew(engine: DeltaEngine, number: int, now_ns: int) -> float | None:
    """Return the slope of the smile at an option's strike after its expiry was observed."""
    engine.observe([InstrumentId(number)], now_ns, smile=True)
    return engine.skew(InstrumentId(number), now_ns)
