"""Tables of a run: what it earned by session and period, its exposure, and the volatility that was realised.

Sessions are read from the marks of a run. A mark belongs to the New York date of its instant, or to its day
of account in a market that never closes; what a night moved belongs to the session after it. A session
without a position is a day of zero.
"""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import accumulate
from typing import Any

import msgspec
import numpy as np

from scalpdesk.core.units import MINUTE_NS, SESSIONS_PER_YEAR, ZERO, to_cents
from scalpdesk.engine.desk import REST
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.portfolio.explain import parts_in_cents
from scalpdesk.report.statistics import (
    Floats,
    bootstrap_interval,
    carries_ratio,
    drawdown,
    error_of_mean,
    sessions_traded,
    sharpe_ratio,
    sortino_ratio,
    trade_figures,
    varies,
)
from scalpdesk.volatility.variance_time import VarianceClock

VIX_BUCKETS = (13.0, 17.0, 22.0, 30.0)
"""Edges in points between calm and stress; the last bucket is open."""
ROLLING_SESSIONS = 20
"""Sessions of a rolling figure: a month."""
ENOUGH_SESSIONS = 5
"""Fewer say nothing about a ratio or its interval."""


class SessionSums:
    """P&L, its parts and the largest net delta of each session, as the marks of a run come.

    ``clock``: Of the run: it says whether its market ever closes.
    ``first``: First session: the instant of its opening is also the end of the day of account before it.
    """

    def __init__(self, clock: VarianceClock, first: date | None) -> None:
        self._clock, self._first = clock, first
        self._pnl: dict[date, Decimal] = {}
        self._parts: dict[date, dict[str, Decimal]] = {}
        self._largest: dict[date, float] = {}
        self._hours: dict[date, dict[int, Decimal]] = {}
        self._sum = self._peak = self._deepest = ZERO
        self._peak_ns: int | None = None
        self._fall: tuple[int | None, int, Decimal] | None = None
        """Of the deepest fall: instants of its peak (None: the start) and trough, and P&L at the peak."""

    def add(self, ts_ns: int, change: Decimal, parts: Mapping[str, Decimal], delta: float) -> None:
        """Add the interval that ends with a mark."""
        self._sum += change
        if self._sum > self._peak:
            self._peak, self._peak_ns = self._sum, ts_ns
        elif self._peak - self._sum > self._deepest:
            self._deepest = self._peak - self._sum
            self._fall = self._peak_ns, ts_ns, self._peak
        day = self._clock.session_day(ts_ns)
        if self._first is not None:
            day = max(day, self._first)
        self._pnl[day] = self._pnl.get(day, ZERO) + change
        if change:
            hours, hour = self._hours.setdefault(day, {}), to_new_york(ts_ns).hour
            hours[hour] = hours.get(hour, ZERO) + change
        own = self._parts.setdefault(day, {})
        for name, amount in parts.items():
            own[name] = own.get(name, ZERO) + amount
        self._largest[day] = max(self._largest.get(day, 0.0), abs(delta))

    def fall_of_marks(self, starting_nav: float) -> dict[str, Any]:
        """Return the deepest fall from one mark to a later one: within sessions, too, as limits see it.

        ``starting_nav``: Value of the book before the first mark, for the fraction.
        """
        peak_ns, trough_ns, earned = self._fall or (None, None, ZERO)
        peak, amount = starting_nav + float(earned), float(self._deepest)
        after, trough = (
            "start" if at_ns is None else f"{to_new_york(at_ns):%Y-%m-%d %H:%M:%S}"
            for at_ns in (peak_ns, trough_ns)
        )
        fraction = amount / peak if peak else 0.0
        return {"amount": amount, "fraction": fraction, "after": after, "trough": trough}

    def hours(self) -> dict[str, dict[int, Decimal]]:
        """Return by session what each hour earned, exact: that of the New York clock when it was marked."""
        return {day.isoformat(): dict(hours) for day, hours in self._hours.items()}

    def of_day(self, day: date) -> dict[str, Decimal]:
        """Return ``total`` and parts of a day, exact."""
        return {"total": self._pnl.get(day, ZERO)} | self._parts.get(day, {})

    def total(self) -> tuple[Decimal, dict[str, Decimal]]:
        """Return the P&L of all sessions, and its parts."""
        parts: dict[str, Decimal] = {}
        for own in self._parts.values():
            for name, amount in own.items():
                parts[name] = parts.get(name, ZERO) + amount
        return sum(self._pnl.values(), ZERO), parts

    def sessions(
        self, days: Iterable[date], vix_before: Callable[[date], float | None], decimals: int
    ) -> "list[SessionPnl]":
        """Return what each session earned.

        Amounts and net delta are rounded; those of a desk in coin are in coin.

        ``days``: Every session of the run, so that days without a mark count too.
        ``vix_before``: Last close of the VIX that was known on a day, in points.
        ``decimals``: Of the amounts and the net delta.
        """
        unit, found = Decimal(1).scaleb(-decimals), []
        for day in sorted({*days, *self._pnl}):
            own = self._parts.get(day, {})
            parts = parts_in_cents(dict(own), self._pnl.get(day, ZERO), unit)
            pnl, largest = parts.pop("total"), round(self._largest.get(day, 0.0), decimals)
            found.append(SessionPnl(day.isoformat(), pnl, parts if own else {}, largest, vix_before(day)))
        return found


class SessionPnl(msgspec.Struct, frozen=True):
    """What a session earned; a night counts with the session after it."""

    session: str
    """Its day, ``YYYY-MM-DD``."""
    pnl: Decimal
    parts: dict[str, Decimal]
    """They sum to ``pnl``."""
    largest_net_delta_shares: float
    vix_before: float | None
    """Last close of the VIX before it, in points."""
    strategies: dict[str, Decimal] = {}
    """P&L of each, where several share the desk."""
    no_entry: str = ""
    """Why a session in which no option was held opened nothing."""


def divided_to_cents(amounts: Mapping[str, Decimal], total: Decimal, unit: Decimal) -> dict[str, Decimal]:
    """Return amounts in cents that sum to ``total``, which is in cents; the largest takes the half cents.

    The row without a strategy is left out while it is zero.

    Examples
    --------
    >>> divided_to_cents({"a": Decimal("1.005"), "b": Decimal("0.005")}, Decimal("1.01"), Decimal("0.01"))
    {'a': Decimal('1.00'), 'b': Decimal('0.01')}
    """
    cents = {name: to_cents(amount, unit) for name, amount in amounts.items()}
    cents[max(cents, key=lambda name: abs(cents[name]))] += total - sum(cents.values(), ZERO)
    return {name: amount + ZERO for name, amount in cents.items() if amount or name != REST}


def realised_path(looks: Iterable[tuple[int, float]], clock: VarianceClock) -> list[float | None]:
    """Return at each mark the volatility that the underlying realised over the half hour before it.

    A fraction a year of the run's variance clock, from the marks' spots; None where a session, or what is
    known of it, is shorter than half of that time.

    ``looks``: Marks of a run, in order: UTC nanoseconds, and the spot.
    ``clock``: Of the run.
    """
    span_ns = 30 * MINUTE_NS
    found: list[float | None] = []
    moves: deque[tuple[int, int, float]] = deque()
    last: tuple[int, float] | None = None
    for now_ns, spot in looks:
        if spot > 0.0:
            if last is not None and now_ns - last[0] > span_ns:
                moves.clear()  # a night
            elif last is not None and now_ns > last[0]:
                moves.append((last[0], now_ns, math.log(spot / last[1]) ** 2))
            last = now_ns, spot
        while moves and moves[0][0] < now_ns - span_ns:
            moves.popleft()
        enough = moves and now_ns - moves[0][0] >= span_ns // 2
        years = clock.years(moves[0][0], moves[-1][1]) if enough else 0.0
        found.append(math.sqrt(sum(move for *_, move in moves) / years) if years > 0.0 else None)
    return found


def vix_bucket(level: float | None) -> str:
    """Return the name of the bucket of a level of the VIX."""
    if level is None:
        return "VIX unknown"
    low = max((edge for edge in VIX_BUCKETS if level >= edge), default=None)
    high = min((edge for edge in VIX_BUCKETS if level < edge), default=None)
    if low is None:
        return f"VIX below {high:.0f}"
    return f"VIX {low:.0f} and above" if high is None else f"VIX {low:.0f} to {high:.0f}"


def grouped(sessions: Iterable[SessionPnl]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return sessions, P&L and hit rate by week, month, weekday and VIX bucket."""
    names: dict[str, Callable[[date, SessionPnl], str]] = {
        "week": lambda day, _: f"{day.isocalendar().year}-W{day.isocalendar().week:02d}",
        "month": lambda day, _: f"{day:%Y-%m}",
        "weekday": lambda day, _: f"{day:%A}",
        "vix": lambda _, each: vix_bucket(each.vix_before),
    }
    groups: dict[str, dict[str, list[Decimal]]] = {kind: defaultdict(list) for kind in names}
    for each in sessions:
        day = date.fromisoformat(each.session)
        for kind, name in names.items():
            groups[kind][name(day, each)].append(each.pnl)
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


def rolling(pnl: Sequence[float], days_per_year: float = SESSIONS_PER_YEAR) -> list[list[float | None]]:
    """Return at each session the mean P&L and the Sharpe ratio of the last :data:`ROLLING_SESSIONS`.

    None before there are so many; the ratio also where fewer than five of them traded.
    """
    found: list[list[float | None]] = []
    for end in range(1, len(pnl) + 1):
        window = np.array(pnl[max(end - ROLLING_SESSIONS, 0) : end])
        if len(window) < ROLLING_SESSIONS:
            found.append([None, None])
            continue
        ratio = sharpe_ratio(window, days_per_year, lags=0) if carries_ratio(window) else None
        found.append([float(window.mean()), None if ratio is None else ratio.annual_independent])
    return found


def performance(
    sessions: Sequence[SessionPnl], starting_nav: float, days_per_year: float = SESSIONS_PER_YEAR
) -> dict[str, Any]:
    """Return the statistics of sessions: ratios with their 95 % intervals, drawdown, hit rate, exposure.

    ``sessions``: Of the run, in order.
    ``starting_nav``: Value of the book before the first session (USD), for the drawdown's fraction.
    ``days_per_year``: Sessions of a year, by which ratios are annualised: 365 where the market never closes.
    """

    def annual_sharpe(sample: Floats) -> float:
        ratio = sharpe_ratio(sample, days_per_year, lags=0) if varies(sample) else None
        return np.nan if ratio is None else ratio.annual_independent

    pnl = [float(each.pnl) for each in sessions]
    figures = trade_figures(pnl)
    curve = list(accumulate(pnl, initial=starting_nav))
    fall = drawdown(curve)
    days = ["start", *(each.session for each in sessions)]
    facts: dict[str, Any] = {
        "sessions": figures.number,
        "sessions_with_pnl": sessions_traded(pnl),
        "mean_pnl": figures.expectancy,
        "hit_rate": figures.hit_rate,
        "profit_factor": figures.profit_factor,
        "payoff": figures.payoff,
        "largest_net_delta_shares": max(each.largest_net_delta_shares for each in sessions),
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
        facts |= {"mean_pnl_interval": [mean.low, mean.high], "mean_pnl_error": error_of_mean(pnl)}
    if carries_ratio(np.array(pnl)):
        interval = bootstrap_interval(pnl, annual_sharpe)
        ratio = sharpe_ratio(pnl, days_per_year)
        facts |= {
            "sharpe": ratio.annual_independent,
            "sharpe_for_correlated_days": ratio.annual,
            "sharpe_interval": [interval.low, interval.high],
            "sortino": sortino_ratio(pnl, days_per_year),
        }
    return facts
