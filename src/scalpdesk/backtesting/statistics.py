"""Statistics of a run: what it earned by session and period, ratios, drawdown, and their intervals.

Sessions are read from the marks of a run. A mark belongs to the New York date of its instant; what a night
moved belongs to the session after it. A session without a position is a day of zero.

The other functions take amounts per period (USD a day, or USD a trade) and annualise where `periods` says so.

References
----------
Lo, A. (2002), "The Statistics of Sharpe Ratios", Financial Analysts Journal 58(4).
Politis, D. and Romano, J. (1994), "The Stationary Bootstrap", JASA 89.
Patton, A., Politis, D. and White, H. (2009), correction to "Automatic Block-Length Selection for the
Dependent Bootstrap", Econometric Reviews 28(4).
Newey, W. and West, K. (1987), Econometrica 55(3).
Bailey, D. and López de Prado, M. (2012, 2014), "The Sharpe Ratio Efficient Frontier" and "The Deflated
Sharpe Ratio".
"""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import accumulate, pairwise, zip_longest
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.volatility.variance_time import US_SESSIONS

Floats = npt.NDArray[np.float64]
Amounts = Sequence[float] | Floats

TRADING_DAYS = 252
DRAWS = 2_000
"""Bootstrap samples behind an interval."""

VIX_BUCKETS = (13.0, 17.0, 22.0, 30.0)
"""Edges in points between calm and stress; the last bucket is open."""

ENOUGH_SESSIONS = 5
"""Fewer say nothing about a ratio or its interval."""

MarkRow = Mapping[str, Any]
"""A mark as the run store keeps it: ``ts_ns``, ``nav``, ``nav_change``, ``parts`` and the Greeks."""

_NORMAL = NormalDist()
_EULER_MASCHERONI = 0.5772156649015329


@dataclass(frozen=True, slots=True, kw_only=True)
class SharpeRatio:
    """A Sharpe ratio per period and annual, with what autocorrelation does to it.

    `annual` is None where the autocorrelations leave no positive variance of a year (a taper of 1 always
    leaves one), `annual_independent` where the amounts do not vary.
    """

    per_period: float
    annual_independent: float
    annual: float | None
    scale: float | None
    """What the ratio per period is multiplied by for a year: √periods where nothing is correlated."""
    lags: int
    error: float
    """Standard error of `annual_independent` for independent normal amounts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawdown:
    """The deepest fall of an equity curve from its peak; positions count from 0."""

    amount: float
    fraction: float
    """Of the peak."""
    peak: int
    trough: int
    recovered: int | None
    """First position after the trough at or above the peak; None where there is none yet."""
    longest_under_water: int
    """Most periods in a row below the last peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFigures:
    """What trades earned: zeros count in `number` and `expectancy`, not in `hit_rate`."""

    number: int
    hit_rate: float | None
    expectancy: float
    profit_factor: float | None
    """Sum of the gains over the sum of the losses; None without a loss."""
    payoff: float | None
    """Mean gain over mean loss; None without one of each."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends of an interval of confidence."""

    low: float
    high: float


def _amounts(values: Amounts, at_least: int, what: str) -> Floats:
    amounts = np.asarray(values, dtype=np.float64)
    if amounts.ndim != 1 or len(amounts) < at_least or not np.isfinite(amounts).all():
        raise ValueError(f"{what}: {at_least} or more finite amounts in one row are needed")
    return amounts


def automatic_lags(number: int) -> int:
    """Return the lags that Newey and West's rule takes for `number` observations."""
    return int(4 * (number / 100) ** (2 / 9))


def _autocovariance(deviations: Floats, lag: int) -> float:
    number = len(deviations)
    return float(deviations[: number - lag] @ deviations[lag:]) / number


def sharpe_ratio(
    pnl: Amounts, periods: int = TRADING_DAYS, lags: int | None = None, *, taper: bool = True
) -> SharpeRatio:
    """Return the Sharpe ratio of amounts per period, annual for correlated ones too (Lo 2002).

    Parameters
    ----------
    pnl
        Amounts per period, two or more.
    periods
        Periods of a year.
    lags
        Autocorrelations used; None takes `automatic_lags`.
    taper
        Weigh them by Bartlett's triangle, so that the variance of a year stays positive.

    Raises
    ------
    ValueError
        Fewer than two amounts, one that is not finite, or amounts that do not vary.
    """
    amounts = _amounts(pnl, 2, "Sharpe ratio")
    number = len(amounts)
    deviation = float(amounts.std(ddof=1))
    if not deviation > 0:
        raise ValueError("Sharpe ratio: the amounts do not vary")
    per_period = float(amounts.mean()) / deviation
    used = automatic_lags(number) if lags is None else lags
    centred = amounts - amounts.mean()
    variance = _autocovariance(centred, 0)
    of_a_year = periods + 2 * sum(
        (periods - lag) * ((1 - lag / (used + 1)) if taper else 1) * _autocovariance(centred, lag) / variance
        for lag in range(1, min(used, number - 1) + 1)
    )
    scale = periods / math.sqrt(of_a_year) if of_a_year > 0 else None
    return SharpeRatio(
        per_period=per_period,
        annual_independent=per_period * math.sqrt(periods),
        annual=None if scale is None else per_period * scale,
        scale=scale,
        lags=used,
        error=math.sqrt((1 + per_period**2 / 2) / number) * math.sqrt(periods),
    )


def sortino_ratio(pnl: Amounts, periods: int = TRADING_DAYS) -> float | None:
    """Return the annual mean over the downside deviation from 0; None without a loss."""
    amounts = _amounts(pnl, 1, "Sortino ratio")
    downside = math.sqrt(float((np.minimum(amounts, 0.0) ** 2).mean()))
    return float(amounts.mean()) / downside * math.sqrt(periods) if downside > 0 else None


def drawdown(equity: Amounts) -> Drawdown:
    """Return the deepest fall of an equity curve (USD); the first of equal ones."""
    curve = _amounts(equity, 1, "drawdown")
    peaks = np.maximum.accumulate(curve)
    trough = int(np.argmax(peaks - curve))
    peak = int(np.argmax(curve[: trough + 1]))
    back = np.flatnonzero(curve[trough:] >= curve[peak])
    longest = run = 0
    for below in curve < peaks:
        run = run + 1 if below else 0
        longest = max(longest, run)
    amount = float(curve[peak] - curve[trough])
    return Drawdown(
        amount=amount,
        fraction=amount / float(curve[peak]) if curve[peak] else 0.0,
        peak=peak,
        trough=trough,
        recovered=trough + int(back[0]) if len(back) else None,
        longest_under_water=longest,
    )


def trade_figures(pnl: Amounts) -> TradeFigures:
    """Return hit rate, expectancy, profit factor and payoff of trades (USD a trade)."""
    amounts = _amounts(pnl, 1, "trades")
    gains, losses = amounts[amounts > 0], -amounts[amounts < 0]
    decided = len(gains) + len(losses)
    return TradeFigures(
        number=len(amounts),
        hit_rate=len(gains) / decided if decided else None,
        expectancy=float(amounts.mean()),
        profit_factor=float(gains.sum() / losses.sum()) if len(losses) else None,
        payoff=float(gains.mean() / losses.mean()) if len(gains) and len(losses) else None,
    )


def stationary_indices(number: int, mean_block: float, uniforms: Amounts) -> npt.NDArray[np.int64]:
    """Return one sample's positions under the stationary bootstrap (Politis and Romano 1994).

    Parameters
    ----------
    number
        Observations, each a position from 0.
    mean_block
        Mean length of a block, 1 or more.
    uniforms
        Numbers in [0, 1): the start, then for each further step whether a new block begins (below
        ``1 / mean_block``) and where; ``2 * number - 1`` of them.
    """
    draws = np.asarray(uniforms, dtype=np.float64)
    if len(draws) != 2 * number - 1:
        raise ValueError(f"{number} positions need {2 * number - 1} uniforms, not {len(draws)}")
    positions = np.empty(number, np.int64)
    positions[0] = int(draws[0] * number)
    for step in range(1, number):
        switch, start = draws[2 * step - 1], draws[2 * step]
        positions[step] = (
            int(start * number) if switch < 1 / mean_block else (positions[step - 1] + 1) % number
        )
    return positions


def mean_block_length(pnl: Amounts) -> float:
    """Return the mean block for the stationary bootstrap of these amounts.

    Patton, Politis and White's rule; for fewer than 20 amounts, or ones that do not vary, ``max(5, n^⅓)``.
    """
    amounts = _amounts(pnl, 1, "block length")
    number = len(amounts)
    if number >= 20 and float(amounts.std()) > 0:
        from arch.bootstrap import optimal_block_length  # noqa: PLC0415  arch takes half a second to load

        block = float(optimal_block_length(amounts)["stationary"].iloc[0])
        if math.isfinite(block):
            return float(min(max(block, 1.0), number))
    return float(min(max(5.0, number ** (1 / 3)), number))


def quantile_interval(values: Amounts, level: float = 0.95) -> Interval:
    """Return the middle `level` (a fraction) of the values, by linear interpolation."""
    low, high = np.quantile(np.asarray(values, dtype=np.float64), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def bootstrap_interval(
    pnl: Amounts,
    statistic: Callable[[Floats], float],
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 1,
) -> Interval:
    """Return the interval of a statistic under the stationary bootstrap, the same for the same seed.

    Parameters
    ----------
    pnl
        Amounts per period.
    statistic
        From a sample as long as `pnl` to a number; samples for which it is not finite are left out.
    level
        Fraction of the samples inside.
    draws
        Samples.
    seed
        Of the generator (NumPy's PCG64).
    """
    amounts = _amounts(pnl, 2, "bootstrap")
    block, generator, number = mean_block_length(amounts), np.random.default_rng(seed), len(amounts)
    # all samples step together: a step of 2,000 samples costs what a step of one does
    positions = np.empty((draws, number), np.int64)
    positions[:, 0] = generator.integers(number, size=draws)
    for step in range(1, number):
        fresh = generator.integers(number, size=draws)
        follow = (positions[:, step - 1] + 1) % number
        positions[:, step] = np.where(generator.random(draws) < 1 / block, fresh, follow)
    values = np.array([statistic(sample) for sample in amounts[positions]])
    return quantile_interval(values[np.isfinite(values)], level)


def bootstrap_error_of_mean(pnl: Amounts, mean_block: float) -> float:
    """Return the exact standard error of the mean under the stationary bootstrap (USD)."""
    amounts = _amounts(pnl, 2, "bootstrap")
    number, stay = len(amounts), 1 - 1 / mean_block
    centred = amounts - amounts.mean()
    variance = _autocovariance(centred, 0)
    for lag in range(1, number):
        weight = (1 - lag / number) * stay**lag + lag / number * stay ** (number - lag)
        variance += 2 * weight * _autocovariance(centred, lag)
    return math.sqrt(max(variance, 0.0) / number)


def error_of_mean(pnl: Amounts, lags: int | None = None) -> float:
    """Return the standard error of the mean of correlated amounts (Newey and West 1987, Bartlett)."""
    amounts = _amounts(pnl, 2, "error of the mean")
    number = len(amounts)
    used = automatic_lags(number) if lags is None else lags
    centred = amounts - amounts.mean()
    variance = _autocovariance(centred, 0)
    for lag in range(1, min(used, number - 1) + 1):
        variance += 2 * (1 - lag / (used + 1)) * _autocovariance(centred, lag)
    return math.sqrt(variance / number)


def probabilistic_sharpe(
    per_period: float, number: int, skew: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0
) -> float:
    """Return the probability that the true Sharpe ratio per period is above `benchmark`.

    Parameters
    ----------
    per_period
        Measured ratio per period, from `number` periods.
    number
        Periods, two or more.
    skew, kurtosis
        Of the amounts; 0 and 3 for normal ones.
    benchmark
        Ratio per period to beat.
    """
    spread = 1 - skew * per_period + (kurtosis - 1) / 4 * per_period**2
    return _NORMAL.cdf((per_period - benchmark) * math.sqrt(number - 1) / math.sqrt(spread))


def best_of_trials(trials: int, deviation: float) -> float:
    """Return the highest Sharpe ratio per period to expect of `trials` without any skill.

    Parameters
    ----------
    trials
        Independent variants tried, 1 or more.
    deviation
        Standard deviation of their ratios per period.
    """
    if trials == 1:
        return 0.0
    return deviation * (
        (1 - _EULER_MASCHERONI) * _NORMAL.inv_cdf(1 - 1 / trials)
        + _EULER_MASCHERONI * _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    )


def session_rows(
    marks: Iterable[MarkRow],
    sessions: Sequence[date],
    vix_before: Callable[[date], float | None],
    decimals: int = 2,
) -> list[dict[str, Any]]:
    """Return a row a session: P&L and its parts (USD), largest net delta (shares), VIX before it (points).

    Of a desk in coin the amounts are in coin.

    Parameters
    ----------
    marks
        Of the run, in order.
    sessions
        Every session of the run, so that days without a mark count too.
    vix_before
        Last close of the VIX that was known on a day, in points.
    decimals
        Of the amounts.
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
            "pnl": f"{amount:.{decimals}f}",
            "parts": {name: f"{value:.{decimals}f}" for name, value in parts[day].items()},
            "largest_net_delta_shares": round(largest[day], 2),
            "vix_before": vix_before(day),
        }
        for day, amount in sorted(pnl.items())
    ]


def straddle_rows(
    fills: Iterable[Mapping[str, Any]],
    marks: Sequence[MarkRow],
    decisions: Iterable[Mapping[str, Any]],
    options: Mapping[str, tuple[int, int]],
) -> list[dict[str, Any]]:
    """Return a row for each time options were held: when, what, its hedges, why it ended, P&L by part.

    A row's P&L reaches to the opening of the next, so that all rows together are the run. ``implied_vol`` is
    what was paid, as the entry's decision has it; ``realised_vol`` what the underlying moved while it was
    held, by its marks and per year of the sessions' variance clock, on which a night is less than a day.
    ``costs`` are spread, fees and slippage. ``edge_usd`` is what the entry's gate promised for all of it,
    with ``edge_stderr_usd``, ``forecast_vol`` and ``implied_level`` as it saw them.

    Parameters
    ----------
    fills, marks, decisions
        Of the run, in order.
    options
        By symbol: when the contract expires (UTC nanoseconds), and its multiplier.
    """
    held: dict[str, Decimal] = {}
    rows: list[dict[str, Any]] = []
    zero = Decimal(0)
    for fill in fills:
        now_ns, symbol = fill["ts_recv_ns"], fill["symbol"]
        if fill["busted"]:
            continue
        _drop_expired(held, rows, options, now_ns)
        if symbol not in options:
            if rows and fill["purpose"] == "hedge":
                rows[-1]["hedges"] += 1
            continue
        if not held:
            rows.append(
                {
                    "number": len(rows) + 1, "opened_ns": now_ns, "closed_ns": None, "legs": {},
                    "paid": zero, "received": zero, "hedges": 0, "why": None,
                }
            )  # fmt: skip
        row = rows[-1]
        is_buy = fill["side"] == "buy"
        quantity = fill["quantity"] if is_buy else -fill["quantity"]
        row["paid" if is_buy else "received"] += fill["quantity"] * fill["price"] * options[symbol][1]
        held[symbol] = held.get(symbol, zero) + quantity
        largest = row["legs"].get(symbol, zero)
        row["legs"][symbol] = max(largest, held[symbol], key=abs)
        held = {name: amount for name, amount in held.items() if amount}
        if not held:
            row["closed_ns"] = now_ns
    last_ns = marks[-1]["ts_ns"] if marks else 0
    _drop_expired(held, rows, options, last_ns)
    decisions = list(decisions)
    entries = [(each["ts_ns"], each["facts"]) for each in decisions if _is_entry(each)]
    exits = [(each["ts_ns"], each["reasons"][0]) for each in decisions if _is_exit(each)]
    for row, following in zip_longest(rows, rows[1:]):
        end_ns = following["opened_ns"] if following else last_ns
        until_ns = row["closed_ns"] or end_ns
        reasons = [reason for ts_ns, reason in exits if row["opened_ns"] < ts_ns <= until_ns]
        row["why"] = reasons[-1] if reasons and row["closed_ns"] else None
        row["legs"] = {name: f"{amount.normalize():f}" for name, amount in row["legs"].items()}
        start_ns = row["opened_ns"] if row["number"] > 1 else -1
        mine = [mark for mark in marks if start_ns < mark["ts_ns"] <= end_ns]
        names = mine[0]["parts"] if mine else ()
        seen = [facts for ts_ns, facts in entries if ts_ns <= row["opened_ns"]]
        facts = seen[-1] if seen else {}
        row |= {name: facts.get(name) for name in ("implied_vol", "forecast_vol", "implied_level")}
        size = max(abs(Decimal(amount)) for amount in row["legs"].values())
        for name in ("edge_usd", "edge_stderr_usd"):
            row[name] = float(size) * facts[name] if name in facts else None
        row["realised_vol"] = _realised_vol([mark for mark in mine if mark["ts_ns"] <= until_ns])
        row["pnl"] = sum((Decimal(mark["nav_change"]) for mark in mine), zero)
        row["parts"] = {name: sum((Decimal(mark["parts"][name]) for mark in mine), zero) for name in names}
        row["costs"] = -sum((row["parts"].get(name, zero) for name in ("spread", "fees", "slippage")), zero)
    return rows


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
        if promised.std() > 0.0 and pnl.std() > 0.0:
            found["correlation"] = float(np.corrcoef(promised, pnl)[0, 1])
    return found


def _is_entry(decision: Mapping[str, Any]) -> bool:
    return bool(decision["kind"] == "entry" and decision["taken"] and "implied_vol" in decision["facts"])


def _realised_vol(marks: Sequence[MarkRow]) -> float | None:
    """Return the volatility of the marks' spots, a fraction a year; None where too little is known."""
    known = [(mark["ts_ns"], mark["spot"]) for mark in marks if (mark.get("spot") or 0.0) > 0.0]
    years = US_SESSIONS.years(known[0][0], known[-1][0]) if len(known) > 1 else 0.0
    if not years > 0.0:
        return None
    return math.sqrt(
        sum(math.log(after / before) ** 2 for (_, before), (_, after) in pairwise(known)) / years
    )


def realised_path(marks: Sequence[MarkRow], minutes: float = 30.0) -> list[float | None]:
    """Return at each mark the volatility that the underlying realised over the time before it.

    A fraction a year of the sessions' variance clock, from the marks' spots; None where a session, or what is
    known of it, is shorter than half of that time.

    Parameters
    ----------
    marks
        Of a run, in order: ``ts_ns`` and ``spot``.
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
        years = US_SESSIONS.years(moves[0][0], moves[-1][1]) if enough else 0.0
        found.append(math.sqrt(sum(move for *_, move in moves) / years) if years > 0.0 else None)
    return found


def exposure(
    marks: Sequence[MarkRow],
    decisions: Iterable[Mapping[str, Any]],
    straddles: Iterable[Mapping[str, Any]],
    spans_ns: Sequence[tuple[int, int]],
) -> dict[str, float]:
    """Return how much of the sessions options were held, and how long of that beyond the hedge's band.

    ``unhedged_minutes`` counts from a mark beyond the half width that the hedge before it stated to the next
    mark of its session: what waits for a quote, an order or a fill.

    Parameters
    ----------
    marks, decisions
        Of the run, in order.
    straddles
        From `straddle_rows`.
    spans_ns
        Open and close of each session, UTC nanoseconds.
    """
    end_ns = spans_ns[-1][1]
    held = [(row["opened_ns"], row["closed_ns"] or end_ns) for row in straddles]
    whole = sum(closes - opens for opens, closes in spans_ns)
    shared = sum(
        max(min(closes, end) - max(opens, start), 0) for opens, closes in spans_ns for start, end in held
    )
    widths = [
        (each["ts_ns"], each["facts"]["half_width_shares"])
        for each in decisions
        if each["taken"] and "half_width_shares" in each["facts"]
    ]
    beyond = at = session = 0
    width = math.inf
    for mark, following in pairwise(marks):
        while at < len(widths) and widths[at][0] <= mark["ts_ns"]:
            width, at = widths[at][1], at + 1
        while spans_ns[session][1] < mark["ts_ns"] and session + 1 < len(spans_ns):
            session += 1
        if abs(mark["net_delta_shares"] or 0.0) > width:
            beyond += max(min(following["ts_ns"], spans_ns[session][1]) - mark["ts_ns"], 0)
    return {"exposure": shared / whole if whole else 0.0, "unhedged_minutes": beyond / 60e9}


def _is_exit(decision: Mapping[str, Any]) -> bool:
    return bool(decision["kind"] == "exit" and decision["taken"] and decision["client_order_ids"])


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
