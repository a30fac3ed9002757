"""Hedges of one underlying with several instruments compared, and the basis of one instrument measured.

The basis of a hedge is what the instrument earned beyond what the underlying itself would have on the same
dollar delta: dollars x (return of the instrument - return of the underlying / beta), from one trade of the
hedge to the next. It is a line of the P&L explain; here it is also measured without options, by the minute.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from scalpdesk.backtesting.simulate import BacktestResult
from scalpdesk.core.errors import DataError
from scalpdesk.core.units import MINUTE_NS, to_cents
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.portfolio.explain import BASIS

_LEAST_RETURNS = 3
"""Returns of a session below which it tells no beta."""


class HedgedRun(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one backtest under one hedge; amounts in currency.

    ``pnl`` is ``options`` plus ``hedge_pnl``, and ``hedge_pnl`` is ``underlying_gain`` plus ``basis`` plus
    ``hedge_cost``, to the cent.
    """

    hedge: str
    pnl: Decimal
    options: Decimal
    """From the options' fills, fees and settlements."""
    hedge_pnl: Decimal
    """From the hedge's fills and fees, and the dividends on it."""
    underlying_gain: Decimal
    """Gain of the underlying on the dollar delta of the hedge, from each of its trades to the next."""
    basis: Decimal
    """Gain of the instrument beyond that."""
    hedge_cost: Decimal
    """Spread, fees and slippage of hedges; negative when paid."""
    basis_by_day: dict[str, Decimal]
    hedges: int
    largest_delta: float
    """Largest net delta at a mark, units of the underlying."""


def hedged_run(hedge: str, result: BacktestResult) -> HedgedRun:
    """Return what a backtest came to with a hedge."""
    costs = result.document.get("gamma_paying") or {}
    zero = Decimal("0.00")
    cost, basis = Decimal(str(costs.get("hedging", zero))), result.pnl.get(BASIS, zero)
    data = result.document["data"]
    hedges_with = data.get("hedge") or data["underlying"]
    options = to_cents(sum((v for k, v in result.pnl_by_symbol.items() if k != hedges_with), zero))
    hedge_pnl = result.pnl["total"] - options
    return HedgedRun(
        hedge=hedge,
        pnl=result.pnl["total"],
        options=options,
        hedge_pnl=hedge_pnl,
        underlying_gain=hedge_pnl - basis - cost,
        basis=basis,
        hedge_cost=cost,
        basis_by_day={str(day): round(parts.get(BASIS, zero), 2) for day, parts in result.daily().items()},
        hedges=int(result.document["hedges"]),
        largest_delta=max((abs(mark.net_delta_shares) for mark in result.marks), default=0.0),
    )


class SessionBasis(msgspec.Struct, frozen=True, kw_only=True):
    """Basis of a hedge in one session, for a dollar delta held through it."""

    session: str
    basis: float
    """Over the session, dollars."""
    per_minute: float
    """Standard deviation of its minutes, dollars."""
    beta: float
    """Slope of the underlying's minute returns on those of the instrument."""
    correlation: float
    minutes: int


def measure_basis(
    underlying: MarketTape, hedge: MarketTape, dollars: float, beta: float = 1.0
) -> list[SessionBasis]:
    """Return the basis of a constant dollar delta in each session, from the mids of the same minutes.

    ``underlying``, ``hedge``: Markets of the two, each with its own instrument as the main one.
    ``dollars``: Dollar delta that the hedge stands for.
    ``beta``: Return of the underlying for one of the instrument.

    Raises DataError when no session has quotes of both in the same minutes.
    """
    found = []
    for session in underlying.sessions:
        (_, spots), (_, prices) = mids = [
            _minute_mids(tape, session.open_ns, session.close_ns) for tape in (underlying, hedge)
        ]
        _, left, right = np.intersect1d(mids[0][0], mids[1][0], return_indices=True)
        own, other = np.diff(np.log(spots[left])), np.diff(np.log(prices[right]))
        if len(own) < _LEAST_RETURNS:
            continue
        each = dollars * (np.expm1(other) - np.expm1(own) / beta)
        covariance = np.cov(own, other)
        found.append(
            SessionBasis(
                session=session.day.isoformat(),
                basis=float(each.sum()),
                per_minute=float(each.std(ddof=1)),
                beta=float(covariance[0, 1] / covariance[1, 1]),
                correlation=float(covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1])),
                minutes=len(own),
            )
        )
    if not found:
        raise DataError(
            "no session has quotes of both in the same minutes",
            where=f"{underlying.name}: {underlying.underlying}, {hedge.name}: {hedge.underlying}",
            fix="choose sessions that both have; scalpdesk data ls shows them",
        )
    return found


def _minute_mids(tape: MarketTape, from_ns: int, to_ns: int) -> tuple[Any, Any]:
    """Return the minutes of a session in which an instrument was quoted, and its last mid in each."""
    rows = tape.quotes.between(from_ns, to_ns)
    stamps, mids = rows.mids(tape.instruments.id_of(tape.underlying))
    minutes = stamps // MINUTE_NS
    last = np.flatnonzero(np.append(minutes[1:] != minutes[:-1], True)) if len(minutes) else minutes
    return minutes[last], mids[last]


def spread_of(days: Sequence[Decimal]) -> float:
    """Return the standard deviation of daily amounts; NaN of fewer than two."""
    return float(np.std([float(each) for each in days], ddof=1)) if len(days) > 1 else math.nan
