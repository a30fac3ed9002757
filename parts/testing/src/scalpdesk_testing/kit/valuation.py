"""Questions about a valuation that has learnt from the latest quotes, as an engine lets it at each mark."""

from typing import Any

from scalpdesk.core.units import InstrumentId
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.explain import PnlExplain
from scalpdesk.portfolio.positions import PositionManager
from scalpdesk.portfolio.strike_vols import StrikeVol


def learn(engine: DeltaEngine, now_ns: int, *numbers: int, keeps: bool = True) -> None:
    """Let a valuation learn from the latest quotes of options, as if they were held."""
    known = (engine.vols.facts(InstrumentId(number)) for number in numbers)
    engine.learn([option for option in known if option is not None], now_ns, keeps=keeps)


def seen_by(engine: DeltaEngine, now_ns: int, *numbers: int) -> None:
    """Let somebody look at options."""
    learn(engine, now_ns, *numbers, keeps=False)


class ObservedExplain(PnlExplain):
    """An explain whose options are learnt before each mark, as the desk does."""

    valuer: DeltaEngine
    book: PositionManager

    def mark(self, now_ns: int, **how: Any) -> Any:
        learn(self.valuer, now_ns, *(each.instrument_id for each in self.book.held()))
        return super().mark(now_ns, **how)


def observed_strike_vol(engine: DeltaEngine, number: int, now_ns: int) -> StrikeVol | None:
    """Return the volatility of an option's strike after its latest quotes were learnt."""
    learn(engine, now_ns, number)
    option = engine.vols.facts(InstrumentId(number))
    return None if option is None else engine.vols.strike_vol(option, now_ns)


def observed_skew(engine: DeltaEngine, number: int, now_ns: int) -> float | None:
    """Return the slope of the smile at an option's strike after its expiry was learnt."""
    engine.follow([InstrumentId(number)], now_ns, smile=True)
    learn(engine, now_ns, number)
    return engine.skew(InstrumentId(number), now_ns)
