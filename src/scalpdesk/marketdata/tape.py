"""Market tape: quotes and bars of one or more sessions as columns, from data sets to backtests.

Columns are sorted by the instant at which a row is known (``ts_ns``), never by the start of a bar.
"""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import DataError
from scalpdesk.core.events import BarEvent
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.corporate_actions import CorporateAction
from scalpdesk.instruments.sessions import Session


@dataclass(frozen=True, slots=True)
class QuoteColumns:
    """Quotes, one row each. A missing side is NaN with size 0."""

    ts_ns: NDArray[np.int64]
    """UTC nanoseconds at which the row is known."""
    instrument_id: NDArray[np.int32]
    bid: NDArray[np.float64]
    ask: NDArray[np.float64]
    bid_size: NDArray[np.float64]
    ask_size: NDArray[np.float64]
    """Displayed size in shares or contracts."""

    def __len__(self) -> int:
        return len(self.ts_ns)


@dataclass(frozen=True, slots=True)
class BarColumns:
    """Closed trade bars, one row each; ``ts_ns`` is the end of the bar."""

    ts_ns: NDArray[np.int64]
    instrument_id: NDArray[np.int32]
    bar_seconds: NDArray[np.int32]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ts_ns)


@dataclass(frozen=True, slots=True)
class CashDividend:
    """A dividend of ``amount`` in currency a share, ex at the open of ``ex_date``."""

    symbol: str
    ex_date: date
    amount: Decimal


@dataclass(frozen=True, slots=True)
class RateCurve:
    """Continuously compounded rates (fractions a year) by days to maturity; flat outside."""

    days: tuple[float, ...]
    rates: tuple[float, ...]

    def rate_at(self, days: float) -> float:
        """Return the rate for ``days`` to maturity, linear between the points."""
        if not self.rates[1:]:  # most curves are flat, and numpy takes ten times as long
            return self.rates[0]
        return float(np.interp(days, self.days, self.rates))


FLAT_ZERO = RateCurve((1.0,), (0.0,))


@dataclass(frozen=True, slots=True)
class MarketTape:
    """One or more consecutive sessions of one market.

    ``kind`` is ``recorded`` or ``reconstructed``: it follows the data into every result shown.
    """

    name: str
    kind: str
    underlying: str
    sessions: tuple[Session, ...]
    instruments: Instruments
    quotes: QuoteColumns
    bars: BarColumns | None = None
    open_interest: dict[str, int] = field(default_factory=dict)
    """Contracts by option symbol, as published before the first session."""
    dividends: tuple[CashDividend, ...] = ()
    actions: tuple[CorporateAction, ...] = ()
    """Splits, special dividends, spin-offs and mergers of these sessions."""
    rate_curve: RateCurve = FLAT_ZERO
    dividend_yield: float = 0.0
    """Continuous yield of the underlying, a fraction a year."""
    settlement_prices: dict[tuple[str, date], float] = field(default_factory=dict)
    """Official closing level by (underlying, session), where it is not the last quote's mid."""
    quote_seconds: float = 1.0
    """Typical time between two updates of a live instrument; staleness limits scale with it."""
    notes: tuple[str, ...] = ()
    """Caveats that are shown with results (derived index, missing sides ...)."""

    def __post_init__(self) -> None:
        """Refuse unsorted columns: they would give look-ahead."""
        for label, columns in (("quotes", self.quotes), ("bars", self.bars)):
            if columns is not None and len(columns) > 1 and bool(np.any(np.diff(columns.ts_ns) < 0)):
                at = int(np.argmax(np.diff(columns.ts_ns) < 0)) + 1
                raise DataError(
                    f"the {label} of a tape must be sorted by the time at which they are known",
                    where=f"{self.name}: {label} row {at}",
                    fix="sort the columns by ts_ns before building the tape",
                )


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
