"""Backtest of value at risk: how often, and in what clusters, past sessions lost more than it had named."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import DAYS_PER_YEAR, SESSIONS_PER_YEAR
from scalpdesk.portfolio.risk_book import RiskBook, RiskLeg, RiskPart
from scalpdesk.pricing.base import Floats
from scalpdesk.research.book_risk import CONFIDENCES, JointMoves
from scalpdesk.research.value_at_risk import coverage_of, value_at_risk
from scalpdesk.volatility.filtered_moves import SEED_MOVES, ewma_variances
from scalpdesk.volatility.garch import LEAST_RETURNS, estimate_garch

_WINDOW = 500
"""Scenarios of each session's value at risk: the moves of the two years before it."""
_TESTED_SESSIONS = 1_257
"""Sessions of the embedded market, 2014 to 2018, less the first."""
_REFIT_SESSIONS = 63
"""Sessions between two fits of a GARCH, each to all moves before it."""
_STRADDLE_DAYS = 30.0
Progress = Callable[[int, int, str], None]


def straddle_book(vol: float, contracts: float) -> RiskBook:
    """Return straddles of 30 days at the money on an underlying at 100, worth ``vol``; without a rate."""
    years = _STRADDLE_DAYS / DAYS_PER_YEAR
    left = years, years - 1.0 / SESSIONS_PER_YEAR
    legs = tuple(
        RiskLeg(
            symbol="call" if is_call else "put",
            strike=100.0,
            is_call=is_call,
            units=contracts,
            vol=vol,
            forward=100.0,
            years=left,
            clock_years=left,
            style="european",
        )
        for is_call in (True, False)
    )
    return RiskBook(as_of_ns=0, parts=(RiskPart(underlying="index", spot=100.0, legs=legs),))


def coverage_document(
    moves: JointMoves,
    *,
    filters: Sequence[str],
    window: int = _WINDOW,
    sessions: int = _TESTED_SESSIONS,
    report: Progress | None = None,
    straddles_alone: bool = False,
) -> dict[str, Any]:
    """Return exceptions of the one-session value at risk of some books over the last sessions, and tests.

    Each session's value at risk knows the moves before it alone.

    ``moves``: Past moves; of two underlyings the second is sold against the first in one of the books. With a
    volatility index there are straddles at its level too.
    ``filters``: Beside the plain historical simulation: ``ewma``, ``garch``.
    ``sessions``: Sessions tested, fewer where the history is shorter.
    ``report``: Called with the steps done and their number.
    ``straddles_alone``: Leave out the books without an option.

    Raises ArgumentError when there is no session left to test.
    """
    count = min(sessions, len(moves.days) - window - SEED_MOVES)
    if count < 2:
        raise ArgumentError(
            "the history is too short for this window",
            where="window",
            value=window,
            fix=f"at most {len(moves.days) - SEED_MOVES - 2} of its {len(moves.days)} moves",
        )
    columns = np.column_stack(
        [*moves.returns.values(), *([moves.vol_moves] if len(moves.vol_levels) else [])]
    )
    first = len(columns) - count
    books = _books(() if straddles_alone else list(moves.returns), moves.vol_levels)
    methods = ("historical", *filters)
    variances = {name: _variances(columns, name, first, report) for name in filters}
    losses = {(book, name, c): np.zeros(count) for book in books for name in methods for c in CONFIDENCES}
    realised = {book: np.zeros(count) for book in books}
    for place in range(count):
        now = first + place
        past = columns[now - window : now]
        for book, pnl_of in books.items():
            realised[book][place] = pnl_of(columns[now : now + 1], now)[0]
        for name in methods:
            scenarios = past
            if name != "historical":
                known = variances[name](now)
                scenarios = past * np.sqrt(known[now] / known[now - window : now])
            for book, pnl_of in books.items():
                pnl = pnl_of(scenarios, now)
                for confidence in CONFIDENCES:
                    losses[book, name, confidence][place] = value_at_risk(pnl, confidence)
        if report is not None:
            report(place + 1, count, "sessions")
    rows = [
        {
            "book": book,
            "method": name,
            **coverage_of(-realised[book] > losses[book, name, confidence], confidence),
            "mean_var": float(losses[book, name, confidence].mean()),
        }
        for book in books
        for confidence in CONFIDENCES
        for name in methods
    ]
    return {
        "sources": moves.sources,
        "first": str(moves.days[first]),
        "last": str(moves.days[-1]),
        "sessions": count,
        "window": window,
        "rows": rows,
    }


_PnlOf = Callable[[Floats, int], Floats]
"""P&L of the scenarios in rows of joint moves, of a book opened before a move by its place."""


def _books(symbols: Sequence[str], levels: Floats) -> dict[str, _PnlOf]:
    """Return books that are opened at each close: 100 of the first underlying, a pair, straddles."""

    def linear(signs: Sequence[float]) -> _PnlOf:
        weights = 100.0 * np.array(signs)
        return lambda rows, _now: np.asarray(np.expm1(rows[:, : len(weights)]) @ weights)

    def straddles(contracts: float) -> _PnlOf:
        def pnl(rows: Floats, now: int) -> Floats:
            return straddle_book(float(levels[now]), contracts).pnl([rows[:, 0]], rows[:, -1], step=1)

        return pnl

    found: dict[str, _PnlOf] = {}
    if symbols:
        found = {f"long {symbols[0]}": linear([1.0]), f"short {symbols[0]}": linear([-1.0])}
    if len(symbols) > 1:
        found[f"long {symbols[0]}, short {symbols[1]}"] = linear([1.0, -1.0])
    if len(levels):
        found |= {"long straddle, 30 days": straddles(1.0), "short straddle, 30 days": straddles(-1.0)}
    return found


def _variances(columns: Floats, model: str, first: int, report: Progress | None) -> Callable[[int], Floats]:
    """Return the variances known before each move up to a place, by column; nothing later is in them."""
    if model == "ewma":
        path = np.column_stack([ewma_variances(column) for column in columns.T])
        return lambda now: path[: now + 1]
    starts = list(range(first, len(columns), _REFIT_SESSIONS))
    paths = []
    for done, start in enumerate(starts):
        end = min(start + _REFIT_SESSIONS, len(columns))
        paths.append(np.column_stack([_garch_variances(column, model, start, end) for column in columns.T]))
        if report is not None:
            report(done + 1, len(starts), "GARCH fits")
    return lambda now: paths[(now - first) // _REFIT_SESSIONS][: now + 1]


def _garch_variances(moves: Floats, model: str, start: int, end: int) -> Floats:
    """Return the variances of moves before ``end`` by a GARCH that was fitted to those before ``start``."""
    process = estimate_garch(moves[:start], model)
    if isinstance(process, str):
        raise ArgumentError(
            f"no filter: {process}",
            where="filter",
            value=model,
            fix=f"use ewma, or a history of {LEAST_RETURNS} moves before the first session",
        )
    return process.next_variances(moves[:end])
