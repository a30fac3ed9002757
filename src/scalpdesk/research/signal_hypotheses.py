"""Does a signal earn after costs? Tests over its scalps, in backtests or in own runs.

A scalp's return is its P&L after fees and spreads, a fraction of the premium paid. Where the market's quotes
are at hand, the move of the underlying over the scalp's life, signed by its direction, says whether the
signal was right before costs; random signs by session are its control.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from msgspec.structs import replace

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.classes import us_option
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.research.significance import (
    FEWEST_SESSIONS,
    Finding,
    Floats,
    Labels,
    corrected,
    mean_by_session,
    sign_flip_p,
    slope_by_session,
)


@dataclass(frozen=True, slots=True)
class ScalpOutcome:
    """A scalp that is over."""

    signal: str
    session: str
    conviction: float | None
    """Points from 0 to 100, where its strategy states them."""
    return_fraction: float
    """P&L after fees, a fraction of the premium paid."""
    move: float | None = None
    """Return of the underlying from entry to exit, positive where the direction was right."""


def outcome_of(row: Mapping[str, Any], tape: MarketTape | None = None) -> ScalpOutcome | None:
    """Return a row of the scalps' table as an outcome; None for a scalp that is not over or cost nothing.

    ``tape`` has the quotes for the underlying's move.
    """
    paid = row["entry_premium"] * row["contracts"]
    if row["pnl"] is None or row["exit_time"] is None or paid <= 0.0:
        return None
    facts = json.loads(row["metadata_json"] or "{}")
    multiplier = us_option(row["option_symbol"], [row["ticker"]]).multiplier
    signal, conviction = facts.get("signal"), facts.get("conviction")
    sign = 1.0 if row["option_type"] == "call" else -1.0
    return ScalpOutcome(
        signal=str(signal) if signal else "EMA_CLOUD",
        session=row["entry_time"].date().isoformat(),
        conviction=float(conviction) if isinstance(conviction, int | float) else None,
        return_fraction=row["pnl"] / (paid * multiplier),
        move=None if tape is None else sign * _move(tape, row),
    )


def _move(tape: MarketTape, row: Mapping[str, Any]) -> float:
    ends = [utc_ns(row[name]) for name in ("entry_time", "exit_time")]
    session = next(each for each in tape.sessions if each.open_ns <= ends[0] <= each.close_ns)
    quotes = tape.quotes.between(session.open_ns, ends[1])
    own = quotes.take(quotes.instrument_id == tape.instruments.id_of(row["ticker"]))
    place = np.maximum(np.searchsorted(own.ts_ns, ends, side="right") - 1, 0)
    first, last = (0.5 * (own.bid + own.ask))[place]
    return float(last / first - 1.0)


def utc_ns(utc: datetime) -> int:
    """Return an instant of the scalps' table, UTC without a zone, as nanoseconds."""
    return round(utc.replace(tzinfo=UTC).timestamp() * NANOS_PER_SECOND)


def signal_findings(outcomes: Sequence[ScalpOutcome], names: Sequence[str] = ()) -> list[Finding]:
    """Test each signal's return and direction, and whether conviction tells the better scalps.

    ``names`` are listed though no scalp came of them.
    """
    rng = np.random.default_rng(1)
    found = []
    for name in dict.fromkeys([*names, *sorted(each.signal for each in outcomes)]):
        own = [each for each in outcomes if each.signal == name]
        returns = np.array([each.return_fraction for each in own])
        sessions = _numbered(own)
        earned = _bare(f"{name}: return after costs", "fraction of the premium", own)
        if not earned.problem:
            earned = earned.with_estimate(mean_by_session(returns, sessions))
        found.append(earned)
        moved = [each for each in own if each.move is not None]
        if moved:
            right = _bare(f"{name}: move in its direction", "basis points", moved)
            if not right.problem:
                moves = 1e4 * np.array([each.move for each in moved], dtype=np.float64)
                control_p = sign_flip_p(moves, _numbered(moved), rng)
                right = right.with_estimate(mean_by_session(moves, _numbered(moved)), control_p)
            found.append(right)
        judged = [each for each in own if each.conviction is not None]
        if judged:
            found.append(_conviction(name, judged))
    return corrected(found)


def _conviction(name: str, judged: Sequence[ScalpOutcome]) -> Finding:
    by_points = _bare(f"{name}: return for 10 points of conviction", "fraction of the premium", judged)
    points: Floats = np.array([each.conviction for each in judged], dtype=np.float64) / 10.0
    if by_points.problem:
        return by_points
    if np.ptp(points) == 0.0:
        return replace(by_points, problem="it was the same for every scalp")
    returns = np.array([each.return_fraction for each in judged])
    slope = slope_by_session(returns, points, np.empty((len(points), 0)), _numbered(judged))
    return by_points.with_estimate(slope)


def _bare(name: str, unit: str, outcomes: Sequence[ScalpOutcome]) -> Finding:
    sessions = len({each.session for each in outcomes})
    problem = "" if sessions >= FEWEST_SESSIONS else f"{sessions} sessions, at least {FEWEST_SESSIONS}"
    return Finding(name=name, unit=unit, observations=len(outcomes), sessions=sessions, problem=problem)


def _numbered(outcomes: Sequence[ScalpOutcome]) -> Labels:
    return np.unique([each.session for each in outcomes], return_inverse=True)[1].astype(np.int64)
