"""Tables of a run: what it earned by session, straddle and period, its exposure, and the entry gate's record.

Sessions are read from the marks of a run. A mark belongs to the New York date of its instant, or to its day
of account in a market that never closes; what a night moved belongs to the session after it. A session
without a position is a day of zero.
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import accumulate, pairwise, zip_longest
from operator import itemgetter
from types import MappingProxyType
from typing import Any

import numpy as np

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.units import SESSIONS_PER_YEAR, ZERO, to_cents
from scalpdesk.engine.desk import REST
from scalpdesk.hedging.sizing import SHARES, unhedged_from
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.postings import Posting
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
MarkRow = Mapping[str, Any]
"""A mark as the run store keeps it: ``ts_ns``, ``nav``, ``nav_change``, ``parts`` and the Greeks."""


class SessionSums:
    """P&L, its parts and the largest net delta of each session, as the marks of a run come.

    Parameters
    ----------
    clock
        Of the run: it says whether its market ever closes.
    first
        First session: the instant of its opening is also the end of the day of account before it.
    """

    def __init__(self, clock: VarianceClock, first: date | None) -> None:
        self._clock, self._first = clock, first
        self._pnl: dict[date, Decimal] = {}
        self._parts: dict[date, dict[str, Decimal]] = {}
        self._largest: dict[date, float] = {}
        self._hours: dict[date, dict[int, Decimal]] = {}

    def add(self, ts_ns: int, change: Decimal, parts: Mapping[str, Decimal], delta: float) -> None:
        """Add the interval that ends with a mark."""
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

    def rows(
        self, sessions: Iterable[date], vix_before: Callable[[date], float | None], decimals: int
    ) -> list[dict[str, Any]]:
        """Return a row a session: P&L and its parts, largest net delta, VIX before it (points).

        Amounts and net delta are rounded; those of a desk in coin are in coin.

        Parameters
        ----------
        sessions
            Every session of the run, so that days without a mark count too.
        vix_before
            Last close of the VIX that was known on a day, in points.
        decimals
            Of the amounts and the net delta.
        """
        unit = Decimal(1).scaleb(-decimals)
        return [
            {
                "session": day.isoformat(),
                **amounts_in_cents(self._pnl.get(day, ZERO), self._parts.get(day, {}), unit),
                "largest_net_delta_shares": round(self._largest.get(day, 0.0), decimals),
                "vix_before": vix_before(day),
            }
            for day in sorted({*sessions, *self._pnl})
        ]


def amounts_in_cents(
    pnl: Decimal, parts: Mapping[str, Decimal], unit: Decimal
) -> dict[str, str | dict[str, str]]:
    """Return ``pnl`` and its ``parts`` as texts that sum, rounded to a unit; no parts where nothing was."""
    rounded = parts_in_cents(dict(parts), pnl, unit)
    total = rounded.pop("total")
    return {
        "pnl": f"{total:f}",
        "parts": {name: f"{amount:f}" for name, amount in rounded.items()} if parts else {},
    }


def divided_to_cents(amounts: Mapping[str, Decimal], total: Decimal, unit: Decimal) -> dict[str, str]:
    """Return amounts in cents that sum to ``total``, which is in cents; the largest takes the half cents.

    The row without a strategy is left out while it is zero.

    Examples
    --------
    >>> divided_to_cents({"a": Decimal("1.005"), "b": Decimal("0.005")}, Decimal("1.01"), Decimal("0.01"))
    {'a': '1.00', 'b': '0.01'}
    """
    cents = {name: to_cents(amount, unit) for name, amount in amounts.items()}
    cents[max(cents, key=lambda name: abs(cents[name]))] += total - sum(cents.values(), ZERO)
    return {name: f"{amount + ZERO:f}" for name, amount in cents.items() if amount or name != REST}


def straddle_rows(
    fills: Iterable[Mapping[str, Any]],
    marks: Iterable[MarkRow],
    decisions: Iterable[Mapping[str, Any]],
    options: Mapping[str, tuple[int, int]],
    clock: VarianceClock,
    changes: Sequence[Posting] = (),
    symbols: Sequence[str] = (),
    dividends: Sequence[tuple[int, float]] = (),
) -> list[dict[str, Any]]:
    """Return a row for each time options were held: when, what, its hedges, why it ended, P&L by part.

    A row's P&L reaches from its opening to the next one's, so that all rows together are the run.
    ``implied_vol`` is the volatility paid, from the entry's decision; ``realised_vol`` that of the underlying
    over the holding time, from its marks and per year of the run's variance clock, as in the P&L explain.
    ``costs`` are spread, fees and slippage, as their parts below zero when paid. ``edge_usd`` is what the
    entry's gate promised for all of it, with ``edge_stderr_usd``, ``forecast_vol`` and ``implied_level`` as
    it saw them.

    Parameters
    ----------
    fills, marks, decisions
        Of the run, in order.
    options
        By symbol: when the contract expires (UTC nanoseconds), and its multiplier.
    clock
        Of the run.
    changes
        What moved the holdings without an order, in order. Adjusted contracts are the same straddle's;
        options that came by a transfer, or were held at the start, are a straddle for which the run paid
        nothing.
    symbols
        Of the run's instruments, by their numbers.
    dividends
        Of the underlying: when it goes ex (UTC nanoseconds), and currency a share.
    """
    stamps, spots = _spots_of(marks)
    last_ns = stamps[-1] if stamps else 0
    rows = _rows_of_holdings(fills, options, changes, symbols, last_ns)
    entries, exits, hedged = _told_by(decisions)
    adjustments = [change.ts_ns for change in changes if change.source is not None]
    for row, following in zip_longest(rows, rows[1:]):
        end_ns = following["opened_ns"] if following else last_ns
        until_ns = row["closed_ns"] or end_ns
        reasons = [reason for ts_ns, reason in exits if row["opened_ns"] < ts_ns <= until_ns]
        row["why"] = reasons[-1] if reasons and row["closed_ns"] else None
        last = bisect_left(hedged, end_ns) if following else len(hedged)
        row["hedges"] = last - bisect_left(hedged, row["opened_ns"])
        row["legs"] = {name: f"{amount.normalize():f}" for name, amount in row["legs"].items()}
        at = bisect_right(entries, row["opened_ns"], key=itemgetter(0))
        row.update(_promised(row["legs"], entries[at - 1][1] if at else {}))
        first, end = bisect_left(stamps, row["opened_ns"]), bisect_right(stamps, until_ns)
        looks = zip(stamps[first:end], spots[first:end], strict=True)
        row["realised_vol"] = _realised_vol(looks, clock, adjustments, dividends)
    _add_pnl(rows, marks)
    return rows


def _spots_of(marks: Iterable[MarkRow]) -> "tuple[array[int], array[float]]":
    """Return when the run was marked, and at what price of the underlying."""
    stamps, spots = array("q"), array("d")
    for mark in marks:
        stamps.append(mark["ts_ns"])
        spots.append(mark.get("spot") or 0.0)
    return stamps, spots


def _rows_of_holdings(
    fills: Iterable[Mapping[str, Any]],
    options: Mapping[str, tuple[int, int]],
    changes: Sequence[Posting],
    symbols: Sequence[str],
    last_ns: int,
) -> list[dict[str, Any]]:
    """Return a row for each time options were held up to the last mark: when, what, paid and received."""
    held: dict[str, Decimal] = {}
    rows: list[dict[str, Any]] = []
    adjusted, waiting = set[str](), deque(changes)
    for fill in fills:
        now_ns, symbol = fill["ts_recv_ns"], fill["symbol"]
        while waiting and waiting[0].ts_ns <= now_ns:
            _change_held(held, rows, options, waiting.popleft(), symbols, adjusted)
        if fill["busted"]:
            continue
        _drop_expired(held, rows, options, now_ns)
        if symbol not in options:
            continue
        if not held:
            _open_row(rows, now_ns)
        held = _filled(rows[-1], held, fill, options[symbol][1], is_leg=symbol not in adjusted)
        if not held:
            rows[-1]["closed_ns"] = now_ns
    for change in waiting:
        _change_held(held, rows, options, change, symbols, adjusted)
    _drop_expired(held, rows, options, last_ns)
    return rows


def _filled(
    row: dict[str, Any],
    held: Mapping[str, Decimal],
    fill: Mapping[str, Any],
    multiplier: int,
    *,
    is_leg: bool,
) -> dict[str, Decimal]:
    """Count a fill in its row; return what is held after it."""
    symbol, is_buy = fill["symbol"], fill["side"] == "buy"
    row["paid" if is_buy else "received"] += fill["quantity"] * fill["price"] * multiplier
    amount = held.get(symbol, ZERO) + (fill["quantity"] if is_buy else -fill["quantity"])
    if is_leg:
        row["legs"][symbol] = max(row["legs"].get(symbol, ZERO), amount, key=abs)
    return {name: left for name, left in {**held, symbol: amount}.items() if left}


def _told_by(
    decisions: Iterable[Mapping[str, Any]],
) -> tuple[list[tuple[int, Mapping[str, Any]]], list[tuple[int, str]], list[int]]:
    """Return entries with their facts, exits with their reasons, and when it was hedged."""
    entries, exits, hedged = list[tuple[int, Mapping[str, Any]]](), list[tuple[int, str]](), list[int]()
    for each in decisions:
        entries += taken_entries((each,))
        if _is_exit(each):
            exits.append((each["ts_ns"], each["reasons"][0]))
        if is_hedge(each):
            hedged.append(each["ts_ns"])
    return entries, exits, hedged


def _promised(legs: Mapping[str, str], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the entry's gate saw, and its edge for all that was bought."""
    seen = {name: facts.get(name) for name in ("implied_vol", "forecast_vol", "implied_level")}
    size = float(max(abs(Decimal(amount)) for amount in legs.values()))
    edges = ("edge_usd", "edge_stderr_usd")
    return seen | {name: size * facts[name] if name in facts else None for name in edges}


def _add_pnl(rows: Sequence[dict[str, Any]], marks: Iterable[MarkRow]) -> None:
    """Give each row the marks from its opening up to the next one's: those of that instant are its cost."""
    for row in rows:
        row |= {"pnl": ZERO, "parts": {}}
    at = 0
    for mark in marks if rows else ():
        while at + 1 < len(rows) and rows[at + 1]["opened_ns"] <= mark["ts_ns"]:
            at += 1
        row = rows[at]
        row["pnl"] += Decimal(mark["nav_change"])
        for name, amount in mark["parts"].items():
            row["parts"][name] = row["parts"].get(name, ZERO) + Decimal(amount)
    for row in rows:
        row["costs"] = sum((row["parts"].get(name, ZERO) for name in ("spread", "fees", "slippage")), ZERO)


def gate_record(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the entry gate promised against what its straddles earned, both in currency a trade.

    ``inside`` is the share of trades within two standard errors of the promise; those are of the forecast
    alone, the luck of the path comes on top. Trades still held and those without a promise are left out.

    Parameters
    ----------
    rows
        From `straddle_rows`, of any number of runs.
    """
    kept = [row for row in rows if row["closed_ns"] is not None and row["edge_usd"] is not None]
    if not kept:
        return {"straddles": 0}
    promised, stderr, pnl = (
        np.array([float(row[name]) for row in kept]) for name in ("edge_usd", "edge_stderr_usd", "pnl")
    )
    off = pnl - promised
    found: dict[str, Any] = {
        "straddles": len(kept),
        "promised": float(promised.mean()),
        "earned": float(pnl.mean()),
        "difference": float(off.mean()),
        "above_zero": float((pnl > 0.0).mean()),
        "inside": float((np.abs(off) <= 2.0 * stderr).mean()),
        "forecast_over_implied": float(np.mean([row["forecast_vol"] / row["implied_level"] for row in kept])),
        "realised_over_implied": None,
    }
    known = [row for row in kept if row["realised_vol"] is not None]
    if known:
        ratios = [row["realised_vol"] / row["implied_level"] for row in known]
        found["realised_over_implied"] = float(np.mean(ratios))
    if len(kept) >= ENOUGH_SESSIONS:
        ends = bootstrap_interval(off, np.mean)
        found["difference_interval"] = [ends.low, ends.high]
        if varies(promised) and varies(pnl):
            found["correlation"] = float(np.corrcoef(promised, pnl)[0, 1])
    return found


def is_hedge(decision: Mapping[str, Any]) -> bool:
    """Return whether a decision is a hedge, as the summary counts them: sent, and no second order of one."""
    return bool(decision["taken"] and decision["kind"] == "hedge" and decision["client_order_ids"])


def taken_entries(decisions: Iterable[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    """Return instant and facts of each decision that entered, in order: the last before a row is its own."""
    return [
        (each["ts_ns"], each["facts"])
        for each in decisions
        if each["kind"] == "entry" and each["taken"] and "implied_vol" in each["facts"]
    ]


def _realised_vol(
    looks: Iterable[tuple[int, float]],
    clock: VarianceClock,
    adjustments: Sequence[int],
    dividends: Sequence[tuple[int, float]],
) -> float | None:
    """Return the volatility of spots at instants, a fraction a year; None where too little is known.

    Dividends are added back. A step in which the terms of the share changed counts neither as move nor time.
    """
    known = [(ts_ns, spot) for ts_ns, spot in looks if spot > 0.0]
    years = clock.years(known[0][0], known[-1][0]) if len(known) > 1 else 0.0
    total = 0.0
    for (from_ns, before), (to_ns, after) in pairwise(known):
        if any(from_ns <= at_ns <= to_ns for at_ns in adjustments):
            years -= clock.years(from_ns, to_ns)
            continue
        paid = sum(amount for ex_ns, amount in dividends if from_ns < ex_ns <= to_ns)
        total += math.log((after + paid) / before) ** 2
    return math.sqrt(total / years) if years > 0.0 else None


def realised_path(
    marks: Iterable[MarkRow], clock: VarianceClock, minutes: float = 30.0
) -> list[float | None]:
    """Return at each mark the volatility that the underlying realised over the time before it.

    A fraction a year of the run's variance clock, from the marks' spots; None where a session, or what is
    known of it, is shorter than half of that time.

    Parameters
    ----------
    marks
        Of a run, in order: ``ts_ns`` and ``spot``.
    clock
        Of the run.
    minutes
        Length of the time looked back on.
    """
    span_ns = int(minutes * 60e9)
    found: list[float | None] = []
    moves: deque[tuple[int, int, float]] = deque()
    last: tuple[int, float] | None = None
    for mark in marks:
        now_ns, spot = mark["ts_ns"], mark["spot"] or 0.0
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


def exposure(
    marks: Iterable[MarkRow],
    decisions: Iterable[Mapping[str, Any]],
    straddles: Iterable[Mapping[str, Any]],
    spans_ns: Sequence[tuple[int, int]],
    *,
    hedges: Mapping[int, float] = MappingProxyType({}),
    least_fraction: float = 0.0,
    hedge: Instrument = SHARES,
) -> dict[str, float]:
    """Return how much of the sessions options were held, and how long of that beyond the hedge's band.

    ``unhedged_minutes`` counts from a mark beyond what the hedge before it leaves alone to the next mark of
    its session: what waits for a quote, an order or a fill.

    Parameters
    ----------
    marks, decisions
        Of the run, in order.
    straddles
        From `straddle_rows`.
    spans_ns
        Open and close of each session, UTC nanoseconds.
    hedges
        By instant (UTC nanoseconds): what the last hedge that was filled then did to the net delta. The mark
        of that instant is of before.
    least_fraction, hedge
        As for `scalpdesk.hedging.sizing.unhedged_from`.
    """
    end_ns = spans_ns[-1][1]
    held: list[tuple[int, int]] = []
    upto_ns = 0  # straddles of several strategies may overlap
    for row in straddles:
        closed_ns = row["closed_ns"] or end_ns
        held.append((max(row["opened_ns"], upto_ns), closed_ns))
        upto_ns = max(upto_ns, closed_ns)
    whole = sum(closes - opens for opens, closes in spans_ns)
    shared = sum(
        max(min(closes, end) - max(opens, start), 0) for opens, closes in spans_ns for start, end in held
    )
    stated = (
        (each["ts_ns"], unhedged_from(each["facts"], least_fraction, hedge))
        for each in decisions
        if each["taken"]
    )
    widths = [(ts_ns, width) for ts_ns, width in stated if width is not None]
    beyond = at = session = 0
    width = math.inf
    for mark, following in pairwise(marks):
        while at < len(widths) and widths[at][0] <= mark["ts_ns"]:
            width, at = widths[at][1], at + 1
        while spans_ns[session][1] < mark["ts_ns"] and session + 1 < len(spans_ns):
            session += 1
        if abs((mark["net_delta_shares"] or 0.0) + hedges.get(mark["ts_ns"], 0.0)) > width:
            beyond += max(min(following["ts_ns"], spans_ns[session][1]) - mark["ts_ns"], 0)
    return {"exposure": shared / whole if whole else 0.0, "unhedged_minutes": beyond / 60e9}


def _is_exit(decision: Mapping[str, Any]) -> bool:
    return bool(decision["kind"] == "exit" and decision["taken"] and decision["client_order_ids"])


def _open_row(rows: list[dict[str, Any]], now_ns: int) -> None:
    zero = Decimal(0)
    rows.append(
        {
            "number": len(rows) + 1, "opened_ns": now_ns, "closed_ns": None, "legs": {},
            "paid": zero, "received": zero, "why": None,
        }
    )  # fmt: skip


def _change_held(
    held: dict[str, Decimal],
    rows: list[dict[str, Any]],
    options: Mapping[str, tuple[int, int]],
    change: Posting,
    symbols: Sequence[str],
    adjusted: set[str],
) -> None:
    """Book position changes without an order; an adjusted contract replaces the old one."""
    _drop_expired(held, rows, options, change.ts_ns)
    symbol, units = symbols[change.instrument_id], change.units
    source = None if change.source is None else symbols[change.source]
    if source in held and symbol in options:
        held[source] += change.source_units
        held[symbol] = held.get(symbol, Decimal(0)) + units
        adjusted.add(symbol)
    elif symbol in held:
        held[symbol] += units
    elif units and symbol in options and change.cause is ChangeCause.TRANSFER:
        if not held:
            _open_row(rows, change.ts_ns)
        held[symbol] = rows[-1]["legs"][symbol] = units
    else:
        return
    for name in [name for name, left in held.items() if not left]:
        del held[name]
    if not held:
        rows[-1]["closed_ns"] = change.ts_ns


def _drop_expired(
    held: dict[str, Decimal], rows: list[dict[str, Any]], options: Mapping[str, tuple[int, int]], now_ns: int
) -> None:
    """Take what has expired by now out of what is held."""
    for symbol in [name for name in held if options[name][0] <= now_ns]:
        del held[symbol]
        if not held:
            rows[-1]["closed_ns"] = options[symbol][0]


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
    rows: Sequence[Mapping[str, Any]], starting_nav: float, days_per_year: float = SESSIONS_PER_YEAR
) -> dict[str, Any]:
    """Return the statistics of sessions: ratios with their 95 % intervals, drawdown, hit rate, exposure.

    Parameters
    ----------
    rows
        From `SessionSums.rows`.
    starting_nav
        Value of the book before the first session (USD), for the drawdown's fraction.
    days_per_year
        Sessions of a year, by which ratios are annualised: 365 where the market never closes.
    """

    def annual_sharpe(sample: Floats) -> float:
        ratio = sharpe_ratio(sample, days_per_year, lags=0) if varies(sample) else None
        return np.nan if ratio is None else ratio.annual_independent

    pnl = [float(row["pnl"]) for row in rows]
    figures = trade_figures(pnl)
    curve = list(accumulate(pnl, initial=starting_nav))
    fall = drawdown(curve)
    days = ["start", *(row["session"] for row in rows)]
    facts: dict[str, Any] = {
        "sessions": figures.number,
        "sessions_with_pnl": sessions_traded(pnl),
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
