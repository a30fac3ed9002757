"""The bars of a tape as events."""

from scalpdesk.core.events import BarEvent
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.sessions import Session
from scalpdesk.marketdata.tape import MarketTape


def session_bars(tape: MarketTape, session: Session) -> list[BarEvent]:
    """Return the session's closed bars in order."""
    columns = tape.bars
    if columns is None:
        return []
    inside = (columns.ts_ns > session.open_ns) & (columns.ts_ns <= session.close_ns)
    return [
        BarEvent(InstrumentId(number), ts_ns, ts_ns, seconds, o, h, low, c, volume)
        for number, ts_ns, seconds, o, h, low, c, volume in zip(
            columns.instrument_id[inside].tolist(),
            columns.ts_ns[inside].tolist(),
            columns.bar_seconds[inside].tolist(),
            columns.open[inside].tolist(),
            columns.high[inside].tolist(),
            columns.low[inside].tolist(),
            columns.close[inside].tolist(),
            columns.volume[inside].tolist(),
            strict=True,
        )
    ]
