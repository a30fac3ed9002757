# ruff: noqa: INP001 - a script beside its page, not a package
"""Print the tables of ``evidence/embedded-market.md``: reconstructed sessions beside recorded sessions.

    .venv/bin/python docs/embedded_market_figures.py [folder with the recorded data]

Without the folder only the reconstructed half is printed.
"""

import sys
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import astuple
from datetime import date, timedelta
from pathlib import Path
from statistics import fmean, median
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from scalpdesk.datasets.embedded.days import available_sessions, market_day
from scalpdesk.datasets.embedded.market import reconstruct
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.sessions import session_on
from scalpdesk.marketdata.tape import MarketTape, QuoteColumns
from scalpdesk.report.statistics import bootstrap_interval
from scalpdesk_testing.market_statistics import MarketStatistics, OptionGroup, embedded_market_statistics

NANOS_PER_MICROSECOND = 1_000
SESSIONS = (
    "2015-08-24 2018-02-05 2014-10-15 2016-06-24 2018-12-26 2018-10-10 2016-03-10 2014-06-06 2015-03-18 "
    "2016-11-09 2017-05-01 2017-07-25 2017-10-05 2017-11-22 2018-01-03 2014-01-03 2014-11-28 2015-12-24 "
    "2017-11-24 2018-07-03"
)
SEEDS = (1, 2)
RECORDED = (
    ("SPY 2013-10-07", "spy_seconds_2013-10", "SPY", date(2013, 10, 7), None),
    ("SPY 2013-10-08", "spy_seconds_2013-10", "SPY", date(2013, 10, 8), None),
    ("SPY 2013-10-09", "spy_seconds_2013-10", "SPY", date(2013, 10, 9), None),
    ("SPY 2013-10-10", "spy_seconds_2013-10", "SPY", date(2013, 10, 10), None),
    ("SPY 2013-10-11", "spy_seconds_2013-10", "SPY", date(2013, 10, 11), None),
    ("SPY 2023-08-03", "spy_2023-08-03", "SPY", date(2023, 8, 3), date(2023, 9, 1)),
    ("GOOG 2015-12-24", "goog_2015-12", "GOOG", date(2015, 12, 24), date(2016, 1, 15)),
)


def recorded_tape(folder: Path, symbol: str, day: date, expiry: date | None) -> MarketTape:
    """Load one recorded session: the underlying's quotes and, where asked, the options of one expiry."""
    session = session_on(day)
    parts: list[tuple[int, Path, str]] = [(0, folder / "underlying_quote.parquet", "")]
    book = Instruments([Equity(symbol)])
    connection = duckdb.connect()
    if expiry is not None:
        path = folder / "options_quote.parquet"
        names = connection.execute(
            "select distinct symbol from read_parquet(?) where expiry = ? order by symbol",
            [str(path), expiry],
        ).fetchall()
        parts.extend((book.add(us_option(name)), path, name) for (name,) in names)
    columns: list[list[NDArray[Any]]] = []
    for number, path, name in parts:
        rows = connection.execute(
            "select epoch_us(ts) ts, bid, ask, coalesce(bid_size, 0) bid_size, coalesce(ask_size, 0) ask_size"
            " from read_parquet(?) where epoch_us(ts) > ? and epoch_us(ts) <= ? and (? = '' or symbol = ?)",
            [str(path), session.open_ns // 1000, session.close_ns // 1000, name, name],
        ).fetchnumpy()
        bid, ask = (
            np.ma.filled(np.ma.asarray(rows[side], dtype=np.float64), np.nan) for side in ("bid", "ask")
        )
        if number:
            bid, ask = _filled_forward(bid), _filled_forward(ask)
        ids = np.full(len(bid), number, dtype=np.int32)
        sizes = [np.asarray(rows[side], dtype=np.float64) for side in ("bid_size", "ask_size")]
        columns.append([np.asarray(rows["ts"]) * NANOS_PER_MICROSECOND, ids, bid, ask, *sizes])
    merged = [np.concatenate(column) for column in zip(*columns, strict=True)]
    order = np.argsort(merged[0], kind="stable")
    quotes = QuoteColumns(*(column[order] for column in merged))
    return MarketTape(folder.name, "recorded", symbol, (session,), book, quotes)


def _filled_forward(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A side without an update in its minute keeps its last price."""
    place = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), 0))
    return values[place]


def _option(row: MarketStatistics, figure: Callable[[OptionGroup], float], form: str) -> str:
    group = row.near_options
    return "" if group is None else format(figure(group), form)


ROWS: tuple[tuple[str, Callable[[MarketStatistics], str]], ...] = (
    ("realised variance / Garman-Klass", lambda r: f"{r.variance_ratio:.2f}"),
    ("kurtosis of minute returns", lambda r: f"{r.minute_kurtosis:.1f}"),
    ("autocorrelation of absolute minute returns", lambda r: f"{r.absolute_return_autocorrelation:.2f}"),
    ("first thirteenth of the session, share of variance", lambda r: f"{r.half_hour_variance[0]:.3f}"),
    ("middle thirteenths, mean share", lambda r: f"{fmean(r.half_hour_variance[4:9]):.3f}"),
    ("last thirteenth", lambda r: f"{r.half_hour_variance[-1]:.3f}"),
    ("variance of seconds / of minutes", lambda r: _number(r.second_over_minute_variance, ".2f")),
    ("seconds in which the mid changes", lambda r: _number(r.changed_seconds_share, ".2f")),
    ("correlation share / at-the-money volatility", lambda r: _number(r.spot_volatility_correlation, ".2f")),
    ("spread of the share, $", lambda r: f"{r.spread_usd:.2f}"),
    ("displayed size, shares", lambda r: f"{r.size_shares:.0f}"),
    ("quotes of the share a second", lambda r: f"{r.quotes_per_second:.2f}"),
    ("options within 1 %: spread, $", lambda r: _option(r, lambda g: g.median_spread_usd, ".2f")),
    ("options within 1 %: spread / mid", lambda r: _option(r, lambda g: g.median_relative_spread, ".3f")),
    ("options within 1 %: contracts shown", lambda r: _option(r, lambda g: g.median_size_contracts, ".0f")),
    (
        "options within 1 %: seconds between quotes",
        lambda r: _option(r, lambda g: g.mean_seconds_between_quotes, ".0f"),
    ),
)


def _number(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else ""


def _table(columns: dict[str, MarketStatistics]) -> str:
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    lines += [
        f"| {label} | " + " | ".join(form(row) for row in columns.values()) + " |" for label, form in ROWS
    ]
    return "\n".join(lines)


def _summary(rows: list[MarketStatistics]) -> str:
    profile = np.mean([row.half_hour_variance for row in rows], axis=0)
    ratios = [row.variance_ratio for row in rows]
    kurtosis = fmean(row.minute_kurtosis for row in rows)
    correlation = median(row.spot_volatility_correlation for row in rows)
    shares = " ".join(f"{share:.3f}" for share in profile)
    return (
        f"{len(rows)} reconstructed sessions: variance ratio {fmean(ratios):.3f} ± {np.std(ratios):.3f},"
        f" kurtosis {kurtosis:.2f}, correlation {correlation:.2f} (median)\nprofile: {shares}"
    )


def variance_premiums() -> tuple[list[date], NDArray[Any], NDArray[Any]]:
    """Return, for each day with thirty more after it, VIX² and the realised variance of those (a year)."""
    days = available_sessions()
    closes = np.log([market_day(day).close for day in days])
    kept, implied, realised = [], [], []
    for place, day in enumerate(days):
        last = bisect_right(days, day + timedelta(days=30)) - 1
        if day + timedelta(days=30) > days[-1]:
            break
        kept.append(day)
        implied.append((market_day(day).vix / 100.0) ** 2)
        realised.append(float(np.sum(np.diff(closes[place : last + 1]) ** 2)) * 365.0 / 30.0)
    return kept, np.array(implied), np.array(realised)


def _premium_line() -> str:
    days, implied, realised = variance_premiums()
    points2, points = 1e4 * (implied - realised), 100.0 * (np.sqrt(implied) - np.sqrt(realised))
    parts = [f"{len(days)} days, positive on {(points2 > 0).mean():.0%}"]
    for name, values in (("variance, points²", points2), ("volatility, points", points)):
        low, high = astuple(bootstrap_interval(values, lambda drawn: float(drawn.mean())))
        parts.append(f"{name} {values.mean():.1f} ({low:.1f} to {high:.1f})")
    years = np.array([day.year for day in days])
    parts.append("by year " + " ".join(f"{points2[years == year].mean():.0f}" for year in np.unique(years)))
    return "; ".join(parts)


def main(arguments: list[str]) -> None:
    """Print all tables."""
    write = sys.stdout.write
    write(_premium_line() + "\n\n")
    shown = ("2018-02-05", "2015-08-24", "2016-03-10", "2017-05-01", "2018-07-03")
    rows = {
        (day, seed): embedded_market_statistics(reconstruct(date.fromisoformat(day), seed=seed))
        for day in SESSIONS.split()
        for seed in SEEDS
    }
    write(_table({day: rows[day, 1] for day in shown}) + "\n\n")
    write(_summary(list(rows.values())) + "\n\n")
    if arguments:
        found = {
            title: embedded_market_statistics(recorded_tape(Path(arguments[0]) / name, symbol, day, expiry))
            for title, name, symbol, day, expiry in RECORDED
        }
        write(_table(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
