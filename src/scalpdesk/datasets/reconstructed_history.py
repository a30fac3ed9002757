"""What was before a session of the embedded market: daily bars of the index, minutes of the share."""

from datetime import date

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.events import SessionBarsEvent
from scalpdesk.core.units import InstrumentId
from scalpdesk.datasets.reconstructed import BAR_SECONDS, EMBEDDED, reconstruct_bars
from scalpdesk.datasets.reconstructed_days import available_sessions, index_rows, us_date
from scalpdesk.instruments.sessions import session_on
from scalpdesk.marketdata.tape import MarketTape


def daily_bars_before(session: date, count: int) -> dict[str, NDArray[np.float64]]:
    """Return up to ``count`` daily bars of the S&P 500 (index points) that end before ``session``.

    Columns ``open``, ``high``, ``low``, ``close``, oldest first; from 1999 on.
    """
    rows = [row for row in index_rows("sp500") if us_date(row[0]) < session][-count:]
    table = np.array([[float(text) for text in row[1:5]] for row in rows], dtype=np.float64).reshape(-1, 4)
    return {name: table[:, index].copy() for index, name in enumerate(("open", "high", "low", "close"))}


def minute_bars_before(
    session: date, count: int, number: InstrumentId, *, seed: int = 1
) -> tuple[SessionBarsEvent, ...]:
    """Return the minutes of up to ``count`` sessions before ``session``, oldest first.

    They are known as ``session`` opens, and are those that the sessions themselves show with this seed.

    Parameters
    ----------
    session
        A session of the embedded market.
    count
        How many before it; fewer where the embedded market begins.
    number
        The share's number in the run.
    seed
        Which of the possible paths.
    """
    known_ns = session_on(session).open_ns
    events = []
    for day in [day for day in available_sessions() if day < session][-count:] if count > 0 else []:
        bars, hours = reconstruct_bars(day, seed=seed), session_on(day)
        figures = (bars.open, bars.high, bars.low, bars.close, bars.volume)
        events.append(
            SessionBarsEvent(
                number,
                hours.close_ns,
                known_ns,
                day.isoformat(),
                hours.open_ns,
                hours.close_ns,
                BAR_SECONDS,
                tuple(bars.ts_ns.tolist()),
                *(tuple(column.tolist()) for column in figures),
            )
        )
    return tuple(events)


def minutes_before_tape(tape: MarketTape, count: int, *, seed: int = 1) -> tuple[SessionBarsEvent, ...]:
    """Return the minutes of up to ``count`` sessions before a tape's first, as known when it opens.

    Of recorded data nothing is read beyond the tape: what came before is not known there, and there is
    nothing to return.
    """
    if tape.name != EMBEDDED:
        return ()
    return minute_bars_before(tape.sessions[0].day, count, tape.instruments.id_of(tape.underlying), seed=seed)
