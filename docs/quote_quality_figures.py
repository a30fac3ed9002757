# ruff: noqa: INP001 - a script beside its page, not a package
"""Count the faults of recorded option quotes: the figures of ``datasets/embedded/quality.toml``.

    .venv/bin/python docs/quote_quality_figures.py FOLDER

FOLDER holds the recorded days, one folder a product. Each line is a kind of fault in a product: its events,
the trials among which they were counted, and the mean length in minutes.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from scalpdesk.instruments.sessions import session_on

Floats = NDArray[np.float64]
Spell = tuple[int, int]
"""First minute, and the minute after the last one."""

PRODUCTS = {
    "GOOG": ("goog_2015-12", "underlying_quote", ("2015-12-23", "2015-12-24")),
    "SPXW": ("spxw_2021-01", "index_parity_DERIVED", tuple(f"2021-01-0{day}" for day in range(4, 9))),
    "SPX": ("spx_2021-01", "../spxw_2021-01/index_trade", ("2021-01-04", "2021-01-14")),
    "SPY": ("spy_2023-08-03", "underlying_quote", ("2023-08-03",)),
}
NULL_IS_NO_UPDATE = {"GOOG"}
"""Products in which a missing side of a minute means, as a rule, that the side was not updated."""
UNDERLYINGS = {
    "GOOG": ("goog_2015-12/underlying_quote.parquet", ("2015-12-23", "2015-12-24", "2015-12-28")),
    "SPX": ("spxw_2021-01/index_trade.parquet", ("2021-01-04", "2021-01-14")),
    "SPY 2013": (
        "spy_bars_2013-10/underlying_quote.parquet",
        ("2013-10-04", *(f"2013-10-{day:02}" for day in range(7, 12))),
    ),
    "SPY": ("spy_2023-08-03/underlying_quote.parquet", ("2023-08-03",)),
}
NEAR, LIVELY = 0.05, 0.02
"""Largest distance of a strike from the underlying at the open, a fraction: for all, for stale and lag."""
AROUND_MINUTES = 15
"""Minutes before and after one whose median mid is its usual one."""
WORTH = 0.3
"""Least usual mid of an option whose sides are judged, $."""
STALE_MINUTES, STALE_MOVE = 3, 0.001
JUMP_SIGMAS, LEAST_JUMP = 5.0, 0.0005
HALT_MINUTES = 5


@dataclass(frozen=True, slots=True)
class Count:
    """Events of a fault among trials, and the minutes that they lasted."""

    kind: str
    events: int
    trials: int
    minutes: int

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.kind,
            self.events + other.events,
            self.trials + other.trials,
            self.minutes + other.minutes,
        )


@dataclass(frozen=True, slots=True)
class Contract:
    """Minutes of one contract and session; NaN where a minute has no row or a row no such side."""

    strike: float
    has_row: NDArray[np.bool_]
    bid: Floats
    ask: Floats


@dataclass(frozen=True, slots=True)
class Day:
    """One product's session by minutes; the price of the underlying is carried over minutes without one."""

    product: str
    spot: Floats
    contracts: list[Contract]


def read_day(root: Path, product: str, text: str) -> Day:
    """Read a session's contracts within :data:`NEAR` of the underlying, at the end of each minute."""
    folder, underlying, _ = PRODUCTS[product]
    session = session_on(date.fromisoformat(text))
    count = (session.close_ns - session.open_ns) // 60_000_000_000
    first = session.open_ns // 60_000_000_000
    span = [first + 1, first + count]
    usual = "max((bid + ask) / 2)"
    price = {"index_parity_DERIVED": "median(implied_forward)", "../spxw_2021-01/index_trade": "max(close)"}
    spots = duckdb.execute(
        f"select epoch_us(ts) // 60000000 as at_minute, {price.get(underlying, usual)} price"  # noqa: S608
        " from read_parquet(?) where at_minute between ? and ? group by 1 order by 1",
        [str(root / folder / f"{underlying}.parquet"), *span],
    ).fetchnumpy()
    spot = np.full(count, np.nan)
    spot[np.asarray(spots["at_minute"]) - first - 1] = np.ma.filled(spots["price"], np.nan)
    known = np.flatnonzero(np.isfinite(spot))
    spot = spot[known[np.maximum(np.searchsorted(known, np.arange(count), side="right") - 1, 0)]]
    rows = duckdb.execute(
        "select symbol, strike, epoch_us(ts) // 60000000 as at_minute, bid, ask from read_parquet(?)"
        " where at_minute between ? and ? order by symbol, at_minute",
        [str(root / folder / "options_quote.parquet"), *span],
    ).fetchall()
    by_symbol = defaultdict(list)
    for symbol, *row in rows:
        by_symbol[symbol].append(row)
    contracts = []
    for kept in by_symbol.values():
        strike = kept[0][0]
        if abs(np.log(strike / spot[0])) > NEAR:
            continue
        at = np.array([row[1] for row in kept]) - first - 1
        has_row, bid, ask = np.zeros(count, np.bool_), np.full(count, np.nan), np.full(count, np.nan)
        has_row[at] = True
        bid[at] = [np.nan if row[2] is None else row[2] for row in kept]
        ask[at] = [np.nan if row[3] is None else row[3] for row in kept]
        contracts.append(Contract(strike, has_row, bid, ask))
    return Day(product, spot, contracts)


def spells(found: NDArray[np.bool_]) -> list[Spell]:
    """Return the runs of minutes that a mask marks."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], found, [False])).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def usual_mid(contract: Contract) -> Floats:
    """Return the median mid of the minutes around each, without the minute itself."""
    mid, count = 0.5 * (contract.bid + contract.ask), len(contract.bid)
    usual = np.full(count, np.nan)
    for minute in range(count):
        low = max(minute - AROUND_MINUTES, 0)
        around = np.delete(mid[low : minute + AROUND_MINUTES + 1], minute - low)
        around = around[np.isfinite(around)]
        if len(around) >= AROUND_MINUTES:
            usual[minute] = np.median(around)
    return usual


def late_open(contract: Contract) -> int | None:
    """Return the minutes before both sides have been quoted; None for a contract that never had both."""
    sides = [np.flatnonzero(np.isfinite(side)) for side in (contract.bid, contract.ask)]
    return max(int(side[0]) for side in sides) if all(map(len, sides)) else None


def faults(day: Day) -> Iterator[Count]:
    """Count the faults of each contract in a session."""
    change = np.concatenate(([0.0], np.diff(np.log(day.spot))))
    typical = 1.4826 * np.median(np.abs(change[1:]))
    jumps = np.flatnonzero(np.abs(change) >= max(JUMP_SIGMAS * typical, LEAST_JUMP))
    for each in day.contracts:
        start = late_open(each)
        if start is None:
            continue
        distance = abs(np.log(each.strike / day.spot[0]))
        left, usual = len(each.bid) - start, usual_mid(each)
        mid = 0.5 * (each.bid + each.ask)
        is_worth = usual >= WORTH
        no_bid = is_worth & each.has_row & np.isnan(each.bid) & np.isfinite(each.ask)
        no_ask = is_worth & each.has_row & np.isnan(each.ask) & np.isfinite(each.bid)
        yield Count("late_open", int(start > 0), 1, start)
        odd = is_worth & (each.bid <= 0.5 * usual) & (each.ask >= 1.5 * usual)
        yield _counted("stub", spells(odd), int(is_worth.sum()))
        yield _counted("crossed", spells(each.bid > each.ask), left)
        yield _counted("locked", spells(each.bid == each.ask), left)
        if day.product in NULL_IS_NO_UPDATE:
            yield _counted("one_sided", spells(no_bid | no_ask), int(is_worth.sum()))
        else:
            yield _counted("one_sided", [], int(is_worth.sum()))
            yield _counted("no_bid", spells(no_bid), int(is_worth.sum()))
            yield _counted("no_ask", spells(no_ask), int(is_worth.sum()))
        if distance <= LIVELY:
            silent = spells(~each.has_row & (np.arange(len(each.bid)) >= start))
            stale = [(a, b) for a, b in silent if is_worth[a - 1] and _is_stale(day.spot, a, b)]
            yield _counted("stale", stale, int(is_worth.sum()))
            asked = [minute for minute in jumps.tolist() if minute > start and is_worth[minute]]
            late = [minute for minute in asked if not each.has_row[minute] or mid[minute] == mid[minute - 1]]
            yield Count("lag", len(late), len(asked), len(late))


def _is_stale(spot: Floats, first: int, end: int) -> bool:
    around = spot[max(first - 1, 0) : end]
    return bool(end - first >= STALE_MINUTES and np.ptp(around) >= STALE_MOVE * around[0])


def halts(root: Path) -> Iterator[tuple[str, Count]]:
    """Count, by product, the sessions in which the underlying is silent for :data:`HALT_MINUTES`."""
    for product, (path, days) in UNDERLYINGS.items():
        for text in days:
            session = session_on(date.fromisoformat(text))
            stamps = duckdb.execute(
                "select distinct epoch_us(ts) * 1000 as known from read_parquet(?)"
                " where known > ? and known <= ? order by known",
                [str(root / path), session.open_ns, session.close_ns],
            ).fetchnumpy()["known"]
            edges = np.concatenate(([session.open_ns], stamps, [session.close_ns]))
            gaps = np.diff(edges) / 60e9
            yield product, Count("halt", int((gaps > HALT_MINUTES).any()), 1, 0)


def _counted(kind: str, found: list[Spell], trials: int) -> Count:
    return Count(kind, len(found), trials, sum(b - a for a, b in found))


def counted(root: Path) -> dict[tuple[str, str], Count]:
    """Return the counts by kind and product."""
    total: dict[tuple[str, str], Count] = {}
    found = list(halts(root))
    for product, (_, _, days) in PRODUCTS.items():
        found += [(product, each) for text in days for each in faults(read_day(root, product, text))]
    for product, each in found:
        key = each.kind, product
        total[key] = total[key] + each if key in total else each
    return total


def main() -> None:
    """Print the counts by kind and product."""
    sys.stdout.write("| fault | product | events | trials | mean minutes |\n|---|---|---:|---:|---:|\n")
    for (kind, product), each in sorted(counted(Path(sys.argv[1])).items()):
        mean = f"{each.minutes / each.events:.1f}" if each.events else ""
        sys.stdout.write(f"| {kind} | {product} | {each.events} | {each.trials} | {mean} |\n")


if __name__ == "__main__":
    main()
