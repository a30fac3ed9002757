"""Risk of a book: value at risk and expected shortfall of past moves, stress days, scenario grid.

Every figure is a full repricing of every option. The P&L is that of the book as it is held: nothing is hedged
or closed within the scenario.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from scalpdesk.core.errors import DataError
from scalpdesk.core.units import DAY_NS, count_text
from scalpdesk.datasets.daily_history import (
    STALE_DAYS,
    DailyHistory,
    find_history,
    packaged_history,
    packaged_vix,
)
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.portfolio.risk_book import GRID_MOVES, GRID_POINTS, STEPS, LowestCell, RiskBook, worst_case
from scalpdesk.pricing.base import Floats
from scalpdesk.research.risk_options import RiskOptions
from scalpdesk.research.value_at_risk import expected_shortfall, value_at_risk
from scalpdesk.volatility.filtered_moves import (
    SEED_MOVES,
    conditional_variances,
    ewma_correlation,
    filtered_moves,
)

CONFIDENCES = (0.99, 0.975)
_LEAST_MOVES = 250
"""Fewer daily moves than this give no value at risk of 99 %: two or three days would decide."""
_LONGEST_STEP_DAYS = 5
"""Calendar days between two closes beyond which the move between them is no daily one."""
_USUAL = RiskOptions()
_SERIES_OF = {
    **dict.fromkeys(("SPY", "SPX", "XSP", "ES", "MES"), "sp500"),
    **dict.fromkeys(("QQQ", "NDX", "NQ"), "nasdaq"),
}
"""Packaged series whose daily moves are those of an underlying."""
VIX = "VIX"
_WORST_DAYS = 5


class StressMove(NamedTuple):
    """Published move of one day: closes of the S&P 500, the NASDAQ Composite and Cboe's volatility index."""

    day: date
    label: str
    sp500: tuple[float, float]
    """From and to, index points."""
    nasdaq: tuple[float, float] | None
    """None where the other figures are extremes within the session: it moves as the S&P 500 then."""
    volatility: tuple[float, float]
    """Volatility index from and to: VIX, in 1987 VXO."""
    source: str


_CLOSES = "S&P Dow Jones Indices and Nasdaq, closes; Cboe, VIX history, closes"
_WITHIN = "S&P Dow Jones Indices, close before and low; Cboe, VIX history, close before and high"
STRESS_MOVES = (
    StressMove(
        date(1987, 10, 19),
        "Black Monday",
        (282.70, 224.84),
        (406.33, 360.21),
        (36.37, 150.19),
        "S&P Dow Jones Indices and Nasdaq, closes; Cboe, VXO history (the former VIX, computed back), closes",
    ),
    StressMove(
        date(2010, 5, 6), "Flash crash", (1165.87, 1128.15), (2402.29, 2319.64), (24.91, 32.80), _CLOSES
    ),
    StressMove(date(2010, 5, 6), "Flash crash, its worst", (1165.87, 1065.79), None, (24.91, 40.71), _WITHIN),
    StressMove(
        date(2015, 8, 24),
        "China devaluation",
        (1970.89, 1893.21),
        (4706.04, 4526.25),
        (28.03, 40.74),
        _CLOSES,
    ),
    StressMove(
        date(2015, 8, 24), "China devaluation, its worst", (1970.89, 1867.01), None, (28.03, 53.29), _WITHIN
    ),
    StressMove(
        date(2018, 2, 5),
        "End of short-volatility notes",
        (2762.13, 2648.94),
        (7240.95, 6967.53),
        (17.31, 37.32),
        _CLOSES,
    ),
    StressMove(
        date(2020, 3, 16), "Pandemic", (2711.02, 2386.13), (7874.88, 6904.59), (57.83, 82.69), _CLOSES
    ),
    StressMove(
        date(2024, 8, 5),
        "Yen carry unwind",
        (5346.56, 5186.33),
        (16776.16, 16200.08),
        (23.39, 38.57),
        _CLOSES,
    ),
    StressMove(
        date(2024, 8, 5), "Yen carry unwind, its worst", (5346.56, 5119.26), None, (23.39, 65.73), _WITHIN
    ),
)
"""Moves that a book is put through at once. Extremes within a session did not come at one instant; their P&L
is a bound."""


@dataclass(frozen=True, slots=True)
class JointMoves:
    """Daily log moves of several underlyings and of the volatility index on the same days."""

    days: tuple[date, ...]
    returns: dict[str, Floats]
    vol_moves: Floats
    """Log changes of the volatility index; zeros without one."""
    vol_levels: Floats
    """The index before each move, a fraction a year; empty without one."""
    sources: dict[str, str]
    """Series that each underlying's moves are from, and that of ``volatility``."""
    notes: tuple[str, ...] = ()
    is_stale: bool = False
    """Whether they end long before the book, so that the volatility of now is not known."""

    def filtered(self, model: str) -> "JointMoves":
        """Return the moves scaled to the volatility of the last day: each series by its own variances.

        The days stay together, so that what moved together still does (Barone-Adesi, Giannopoulos and Vosper
        1999). The first moves, from which the filter starts, are left out.
        """

        def scaled(moves: Floats) -> Floats:
            return filtered_moves(moves, conditional_variances(moves, model))[SEED_MOVES:]

        return replace(
            self,
            days=self.days[SEED_MOVES:],
            returns={symbol: scaled(moves) for symbol, moves in self.returns.items()},
            vol_moves=scaled(self.vol_moves) if len(self.vol_levels) else self.vol_moves[SEED_MOVES:],
            vol_levels=self.vol_levels[SEED_MOVES:],
        )

    def of(self, symbols: Sequence[str]) -> list[Floats]:
        """Return the log returns of underlyings in this order."""
        return [self.returns[symbol] for symbol in symbols]


def joint_moves(
    histories: Mapping[str, DailyHistory], volatility: DailyHistory | None, before: date | None
) -> JointMoves:
    """Return the moves from close to close on the days that every series has, up to the day before.

    Where too few lie before the day, every day counts, also those after it, and a note says so.

    ``volatility``: Daily bars of the volatility index, in points; None leaves volatilities where they are.
    ``before``: Day of the book; None takes all.

    Raises DataError when the series share too few days.
    """
    series = [*histories.values(), *filter(None, (volatility,))]
    closes = [dict(zip(each.days, each.bars["close"], strict=True)) for each in series]
    shared = sorted(set.intersection(*(set(each) for each in closes)))
    logs = np.log([[each[day] for each in closes] for day in shared]).reshape(-1, len(closes))
    is_daily = np.array(
        [(later - day).days <= _LONGEST_STEP_DAYS for day, later in pairwise(shared)], dtype=bool
    )
    moves, levels = np.diff(logs, axis=0)[is_daily], np.exp(logs[:-1, -1][is_daily]) / 100.0
    days = [day for day, is_kept in zip(shared[1:], is_daily, strict=True) if is_kept]
    notes = []
    known = len(days) if before is None else sum(day < before for day in days)
    if known < _LEAST_MOVES <= len(days):
        notes.append(
            f"only {count_text(known, 'daily move')} lie before {before}: days up to {days[-1]} are used,"
            " also those after it"
        )
        known = len(days)
    if known < _LEAST_MOVES:
        raise DataError(
            f"the histories share too few days: {_LEAST_MOVES} moves are needed",
            where=", ".join((*histories, "volatility")),
            value=known,
            fix="give longer daily bars: --history FILE for the underlyings, --vix FILE for the VIX",
        )
    age = 0 if before is None else (before - days[known - 1]).days
    if age > STALE_DAYS:
        notes.append(
            f"the history ends {days[known - 1]}, {age} days before the book: no filter, as the"
            " volatility of now is unknown (--history, --vix take newer bars)"
        )
    has_vol = volatility is not None
    sources = {symbol: each.source for symbol, each in histories.items()}
    return JointMoves(
        days=tuple(days[:known]),
        returns={symbol: moves[:known, place] for place, symbol in enumerate(histories)},
        vol_moves=moves[:known, -1] if has_vol else np.zeros(known),
        vol_levels=levels[:known] if has_vol else np.zeros(0),
        sources=sources if volatility is None else {**sources, "volatility": volatility.source},
        notes=tuple(notes),
        is_stale=age > STALE_DAYS,
    )


def past_moves(
    symbols: Sequence[str],
    catalog: Path,
    data_set: str,
    *,
    history: str | None = None,
    vix: str | None = None,
    before: date | None,
    is_coin: bool = False,
) -> tuple[JointMoves | None, tuple[str, ...]]:
    """Return the joint moves of underlyings before a day, or why there are no such moves.

    An underlying's daily bars are those of ``history``, else of the data set's own daily bars, else of the
    packaged index that it follows; the VIX is that of ``vix``, else the packaged one.

    ``symbols``: Underlyings.
    ``catalog``, ``data_set``: Folder of the catalogue, and the data set that the book is of.
    ``history``, ``vix``: A data set with daily bars, or a CSV or Parquet file with date, open, high, low,
    close (and symbol).
    ``before``: Day of the book; None takes all days.
    ``is_coin``: The VIX says nothing of a coin: without ``vix`` its volatilities stay.

    Raises DataError when what was given is not there, has no such symbol, or is too short.
    """
    histories = {}
    for symbol in symbols:
        found = find_history(catalog, data_set, symbol, history)
        if history is None and len(found.days) <= _LEAST_MOVES:
            series = _SERIES_OF.get(symbol)
            if series is None:
                return None, (
                    f"no value at risk: there are no daily bars of {symbol} (--history FILE takes them)",
                )
            found = packaged_history(series)
        histories[symbol] = found
    if vix is not None:
        return joint_moves(histories, find_history(catalog, data_set, VIX, vix), before), ()
    if is_coin:
        return joint_moves(histories, None, before), ("no history of volatility: it stays (--vix FILE)",)
    return joint_moves(histories, packaged_vix(), before), ()


def risk_document(
    book: RiskBook,
    moves: JointMoves | None,
    options: RiskOptions = _USUAL,
    *,
    worst: LowestCell | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the risk of a book, ready for JSON; amounts in its currency, losses of VaR and ES positive.

    ``moves``: Past moves of its underlyings; without them there is no value at risk.
    ``options``: Filters of the moves, the smile, and whether a day passes in them.
    ``worst``: The worst case where orders work; that of the book alone when None.
    ``notes``: Remarks that are shown with it.
    """
    smile, step = options.smile, 0 if options.instant else 1
    symbols = [part.underlying for part in book.parts]
    document: dict[str, Any] = {
        "as_of": f"{to_new_york(book.as_of_ns):%Y-%m-%d %H:%M:%S}",
        "as_of_ns": book.as_of_ns,
        "currency": book.currency,
        "smile": smile,
        "horizon": list(STEPS)[step],
        "positions": [{"symbol": symbol, "quantity": quantity} for symbol, quantity in book.holdings],
        "structure": book.structure,
        "spots": {part.underlying: part.spot for part in book.parts},
        "history": None,
        "measures": [],
        "worst_days": [],
        "correlation": None,
        "alone": [],
        "stress": stress_rows(book, smile),
        "ladder": _ladder_document(book),
        "grid": _grid_document(book, smile),
        "worst_case": _worst_document(worst or worst_case(book, smile=smile)),
        "notes": [*notes],
    }
    strange = [symbol for symbol in symbols if symbol not in _SERIES_OF]
    if strange and document["stress"]:
        document["notes"].append(f"on the stress days {', '.join(strange)} moves as the S&P 500 did")
    if moves is None:
        return document
    document["notes"] += moves.notes
    document["history"] = {
        "sources": moves.sources,
        "moves": len(moves.days),
        "first": str(moves.days[0]),
        "last": str(moves.days[-1]),
    }
    methods = ("historical", *(() if moves.is_stale else options.filters))
    for method in methods:
        scenarios = moves if method == "historical" else moves.filtered(method)
        pnl = book.pnl(scenarios.of(symbols), scenarios.vol_moves, step=step, smile=smile)
        document["measures"] += [
            {
                "method": method,
                "confidence": confidence,
                "var": value_at_risk(pnl, confidence),
                "es": expected_shortfall(pnl, confidence),
                "scenarios": len(pnl),
            }
            for confidence in CONFIDENCES
        ]
        if method == methods[-1]:
            document["worst_days"] = _worst_days(scenarios, symbols, pnl, method)
            document["alone"] = _alone(book, scenarios, smile, step, method)
    if len(symbols) > 1:
        columns = np.column_stack(moves.of(symbols))
        document["correlation"] = {
            "symbols": symbols,
            "sample": np.corrcoef(columns.T).tolist(),
            "ewma": ewma_correlation(columns).tolist(),
        }
    return document


def _worst_days(
    scenarios: JointMoves, symbols: Sequence[str], pnl: Floats, method: str
) -> list[dict[str, Any]]:
    return [
        {
            "method": method,
            "day": str(scenarios.days[at]),
            "moves": {symbol: float(np.expm1(scenarios.returns[symbol][at])) for symbol in symbols},
            "volatility": float(np.expm1(scenarios.vol_moves[at])),
            "pnl": float(pnl[at]),
        }
        for at in np.argsort(pnl)[:_WORST_DAYS].tolist()
    ]


def _alone(book: RiskBook, scenarios: JointMoves, smile: str, step: int, method: str) -> list[dict[str, Any]]:
    """Return the VaR of each underlying's part by itself; their sum less that of the book is diversified."""
    if len(book.parts) < 2:
        return []
    rows = []
    for part in book.parts:
        spots = part.spot * np.exp(scenarios.returns[part.underlying])
        pnl = part.pnl(spots, scenarios.vol_moves, step=step, smile=smile)
        rows += [
            {
                "underlying": part.underlying,
                "method": method,
                "confidence": confidence,
                "var": value_at_risk(pnl, confidence),
            }
            for confidence in CONFIDENCES
        ]
    return rows


def stress_rows(book: RiskBook, smile: str = _USUAL.smile) -> list[dict[str, Any]]:
    """Return the P&L of the book in each of :data:`STRESS_MOVES`, at once; empty for a book on coins.

    A NASDAQ underlying moves as its index did, every other as the S&P 500.
    """
    if book.is_coin:
        return []
    rows = []
    for each in STRESS_MOVES:

        def ratio(symbol: str, day: StressMove = each) -> float:
            ends = day.nasdaq if _SERIES_OF.get(symbol) == "nasdaq" else None
            start, end = ends or day.sp500
            return end / start

        ratios = {part.underlying: ratio(part.underlying) for part in book.parts}
        returns = [np.array([np.log(move)]) for move in ratios.values()]
        vol_move = np.array([np.log(each.volatility[1] / each.volatility[0])])
        rows.append(
            {
                "day": str(each.day),
                "label": each.label,
                "moves": {symbol: move - 1.0 for symbol, move in ratios.items()},
                "index_from": each.volatility[0],
                "index_to": each.volatility[1],
                "pnl": float(book.pnl(returns, vol_move, smile=smile)[0]),
                "source": each.source,
            }
        )
    return rows


def _ladder_document(book: RiskBook) -> dict[str, Any]:
    """Return the Greeks by expiry, their sums, and what moves of the term structure cost."""
    found: dict[str, Any] = msgspec.to_builtins(book.by_expiry())
    for row in found["rows"]:
        row["expiry"] = f"{to_new_york(book.as_of_ns + round(row['days'] * DAY_NS)):%Y-%m-%d}"
    return found


def _grid_document(book: RiskBook, smile: str = _USUAL.smile) -> dict[str, Any]:
    """Return the ladder at each time: P&L at moves of the spot and changes of 30-day volatility.

    Every underlying moves by the same fraction. The centre of the first time is the book as it stands.
    """
    return {
        "moves": list(GRID_MOVES),
        "vol_points": list(GRID_POINTS),
        "times": list(STEPS),
        "pnl": [book.ladder(step=step, smile=smile).tolist() for step in range(len(STEPS))],
    }


def _worst_document(worst: LowestCell) -> dict[str, Any]:
    """Return the worst case ready for JSON, with what it is."""
    return {**worst._asdict(), "definition": worst.definition}
