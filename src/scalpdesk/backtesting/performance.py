"""What a run earned by session, week, month, weekday and volatility, and how sure its figures are.

Read from the marks of a run. A mark belongs to the New York date of its instant; what a night moved
belongs to the session after it. A session without a position is a day of zero.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import accumulate
from typing import Any

import numpy as np

from scalpdesk.backtesting.statistics import (
    Floats,
    bootstrap_interval,
    drawdown,
    error_of_mean,
    sharpe_ratio,
    sortino_ratio,
    trade_figures,
)
from scalpdesk.instruments.sessions import to_new_york

VIX_BUCKETS = (13.0, 17.0, 22.0, 30.0)
"""Edges in points between calm and stress; the last bucket is open."""

ENOUGH_SESSIONS = 5
"""Fewer say nothing about a ratio or its interval."""

MarkRow = Mapping[str, Any]
"""A mark as the run store keeps it: ``ts_ns``, ``nav``, ``nav_change``, ``parts`` and the Greeks."""


def session_rows(
    marks: Iterable[MarkRow], sessions: Sequence[date], vix_before: Callable[[date], float | None]
) -> list[dict[str, Any]]:
    """Return a row a session: P&L and its parts (USD), largest net delta (shares), VIX before it (points).

    Parameters
    ----------
    marks
        Of the run, in order.
    sessions
        Every session of the run, so that days without a mark count too.
    vix_before
        Last close of the VIX that was known on a day, in points.
    """
    pnl: dict[date, Decimal] = dict.fromkeys(sessions, Decimal(0))
    parts: dict[date, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    largest: dict[date, float] = defaultdict(float)
    for mark in marks:
        day = to_new_york(mark["ts_ns"]).date()
        pnl[day] = pnl.get(day, Decimal(0)) + Decimal(mark["nav_change"])
        for name, amount in mark["parts"].items():
            parts[day][name] += Decimal(amount)
        largest[day] = max(largest[day], abs(mark["net_delta_shares"] or 0.0))
    return [
        {
            "session": day.isoformat(),
            "pnl": f"{amount:.2f}",
            "parts": {name: f"{value:.2f}" for name, value in parts[day].items()},
            "largest_net_delta_shares": round(largest[day], 2),
            "vix_before": vix_before(day),
        }
        for day, amount in sorted(pnl.items())
    ]


def _vix_bucket(level: float | None) -> str:
    if level is None:
        return "VIX unknown"
    low = max((edge for edge in VIX_BUCKETS if level >= edge), default=None)
    high = min((edge for edge in VIX_BUCKETS if level < edge), default=None)
    if low is None:
        return f"VIX below {high:.0f}"
    return f"VIX {low:.0f} and above" if high is None else f"VIX {low:.0f} to {high:.0f}"


def grouped(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return sessions, P&L and hit rate by week, month, weekday and VIX bucket."""
    names: dict[str, Callable[[date, Mapping[str, Any]], str]] = {
        "week": lambda day, _: f"{day.isocalendar().year}-W{day.isocalendar().week:02d}",
        "month": lambda day, _: f"{day:%Y-%m}",
        "weekday": lambda day, _: f"{day:%A}",
        "vix": lambda _, row: _vix_bucket(row["vix_before"]),
    }
    groups: dict[str, dict[str, list[Decimal]]] = {kind: defaultdict(list) for kind in names}
    for row in rows:
        day = date.fromisoformat(row["session"])
        for kind, name in names.items():
            groups[kind][name(day, row)].append(Decimal(row["pnl"]))
    return {
        kind: {
            name: {
                "sessions": len(amounts),
                "pnl": str(sum(amounts, Decimal(0))),
                "hit_rate": trade_figures([float(amount) for amount in amounts]).hit_rate,
            }
            for name, amounts in by_name.items()
        }
        for kind, by_name in groups.items()
    }


def _annual_sharpe(sample: Floats) -> float:
    return sharpe_ratio(sample, lags=0).annual_independent if sample.std() > 0 else np.nan


def performance(rows: Sequence[Mapping[str, Any]], starting_nav: float) -> dict[str, Any]:
    """Return the statistics of sessions: ratios with their 95 % intervals, drawdown, hit rate, exposure.

    Parameters
    ----------
    rows
        From `session_rows`.
    starting_nav
        Value of the book before the first session (USD), for the drawdown's fraction.
    """
    pnl = [float(row["pnl"]) for row in rows]
    figures = trade_figures(pnl)
    curve = list(accumulate(pnl, initial=starting_nav))
    fall = drawdown(curve)
    days = ["start", *(row["session"] for row in rows)]
    facts: dict[str, Any] = {
        "sessions": figures.number,
        "sessions_with_pnl": sum(amount != 0 for amount in pnl),
        "mean_pnl": figures.expectancy,
        "hit_rate": figures.hit_rate,
        "profit_factor": figures.profit_factor,
        "payoff": figures.payoff,
        "largest_net_delta_shares": max(row["largest_net_delta_shares"] for row in rows),
        "drawdown": {
            "amount": fall.amount,
            "fraction": fall.fraction,
            "after": days[fall.peak],
            "trough": days[fall.trough],
            "recovered": None if fall.recovered is None else days[fall.recovered],
            "longest_under_water_sessions": fall.longest_under_water,
        },
    }
    if len(pnl) >= ENOUGH_SESSIONS and len(set(pnl)) > 1:
        mean = bootstrap_interval(pnl, np.mean)
        interval = bootstrap_interval(pnl, _annual_sharpe)
        ratio = sharpe_ratio(pnl)
        facts |= {
            "mean_pnl_interval": [mean.low, mean.high],
            "mean_pnl_error": error_of_mean(pnl),
            "sharpe": ratio.annual_independent,
            "sharpe_for_correlated_days": ratio.annual,
            "sharpe_interval": [interval.low, interval.high],
            "sortino": sortino_ratio(pnl),
        }
    return facts
