"""Checks of market data: a tape as the desk would see it, and the files of a data set.

A failed check means that results on this data would be wrong; a warning is a figure to know.

Intrinsic value and put-call parity are tested against the weakest form of the bound, whatever the rate
between zero and the tape's own, for American and European options alike (Merton 1973, "Theory of rational
option pricing", Bell Journal of Economics 4).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import DataError
from scalpdesk.core.plugins import resolved
from scalpdesk.core.units import (
    DAY_SECONDS,
    MINUTE_NS,
    NANOS_PER_SECOND,
    NEVER_NS,
    SECONDS_PER_YEAR,
    count_text,
)
from scalpdesk.datasets.booked_actions import known_actions, unbooked_action
from scalpdesk.datasets.catalog import (
    COIN_TAPE,
    MOST_MISSING,
    find_underlying,
    holes_between,
    load_tape,
    longest_hole,
)
from scalpdesk.datasets.daily_history import find_history
from scalpdesk.datasets.store import (
    COIN_TABLES,
    DATED_TABLES,
    connect,
    day_files,
    impossible_figures,
    impossible_times,
    is_readable,
    missing_columns,
    read_columns,
)
from scalpdesk.instruments.contract import OptionContract, Settlement, Style
from scalpdesk.instruments.sessions import (
    expiry_instant_ns,
    from_ns,
    is_known,
    is_session,
    session_on,
)
from scalpdesk.instruments.settlement import MEAN_MINUTES
from scalpdesk.instruments.ticks import TickRule
from scalpdesk.marketdata.tape import FLAT_ZERO, MarketTape
from scalpdesk.pricing.kernels.triggers import are_tradable

_MOST_BROKEN = 0.25
"""Part of the rows that break a bound above which the data is unfit, whatever the size of a break."""
_QUOTED_TO_END, _QUOTED_FROM_START = "options quoted to the end", "options quoted from the start"
_SIDES_TO_END, _WORTH_AT_EXPIRY = "sides quoted to the end", "options end at their intrinsic value"
_BY_CONTRACT = frozenset({_QUOTED_TO_END, _QUOTED_FROM_START, _SIDES_TO_END, _WORTH_AT_EXPIRY})
"""Checks that count contracts: some of each day come late or are given up early, so that the part of all days
counts."""
_LEAST_BID = 0.25
"""Bid, currency per unit, from which a bid does not fall to nothing unseen."""
_FEW_CROSSED = 20
"""Crossed rows of a file that two moments of a bar may explain."""
_AT_EXPIRY_SECONDS, _NEAR_MONEY, _TIME_VALUE = 120.0, 0.005, 0.0015
"""Time to expiry, distance of the strike and time value, both as a share of the spot, at which it is over: a
minute before it an option at 100 % a year is worth 0.0006 of the spot, a day before it one at 10 % 0.002."""
_LAGS_MINUTES = (-5, 5, -15, 15, -30, 30, *(sign * 60 * hours for hours in range(1, 7) for sign in (-1, 1)))
"""Minutes by which the times of options and underlying may be apart."""
_EARLY_SECONDS = 900.0
"""Time before the underlying's last quote at which an option has stopped being quoted, and after its first at
which one has begun late."""
_MOMENTS_APART = 5e-4
"""Allowance, as a share of the spot: the closes of one bar may be a bar apart, and five basis points
are one standard deviation of a minute at 15 % a year."""


@dataclass(frozen=True, slots=True)
class OptionRows:
    """Option quotes beside what the underlying was quoted at; one row each."""

    ts_ns: NDArray[np.int64]
    pair: NDArray[np.int64]
    """Number of the (root, expiry, strike) that the option shares with its twin."""
    is_call: NDArray[np.bool_]
    is_american: NDArray[np.bool_]
    strike: NDArray[np.float64]
    discount: NDArray[np.float64]
    """Present value of one dollar at expiry, at the tape's rate."""
    payouts: NDArray[np.float64]
    """Dividends until expiry and the yield's share of the spot, currency per unit."""
    bid: NDArray[np.float64]
    ask: NDArray[np.float64]
    spot_bid: NDArray[np.float64]
    spot_ask: NDArray[np.float64]
    tolerance: NDArray[np.float64]
    """One tick of the option and the allowance for closes of different moments."""

    def __len__(self) -> int:
        return len(self.ts_ns)


@dataclass(frozen=True, slots=True)
class _BoundBreaks:
    """Numbers of rows tested and of rows that broke the bound, and the worst break."""

    checked: int
    found: int
    worst: float
    """Currency per unit beyond the tolerance; 0 when nothing was found."""
    tolerance: float
    """Median tolerance that was allowed."""


def option_rows(tape: MarketTape) -> OptionRows | None:
    """Line up the options' quotes with the underlying's last quote before or at the same instant.

    Prices of inverse options, in coin, become US dollars. Returns None when the tape has no option rows after
    the underlying's first quote.
    """
    quotes = tape.quotes.whole()
    root_id = int(tape.instruments.id_of(tape.underlying))
    options = [o if o.is_option else None for o in tape.instruments]
    is_option = np.array([o is not None for o in options], dtype=np.bool_)
    spot_rows = np.flatnonzero(
        (quotes.instrument_id == root_id) & (quotes.bid > 0.0) & np.isfinite(quotes.ask)
    )
    # what settles at a mean is worth no payoff at the spot once a part of that mean is fixed
    fixes_ns = np.array([NEVER_NS if o is None else _fixes_from_ns(o) for o in options])
    rows = np.flatnonzero(is_option[quotes.instrument_id] & (quotes.ts_ns < fixes_ns[quotes.instrument_id]))
    if not len(rows) or not len(spot_rows):
        return None
    spot_at = np.searchsorted(quotes.ts_ns[spot_rows], quotes.ts_ns[rows], side="right") - 1
    spot_ts = quotes.ts_ns[spot_rows][np.maximum(spot_at, 0)]
    fresh = (spot_at >= 0) & (
        quotes.ts_ns[rows] - spot_ts <= round(2 * tape.quote_seconds * NANOS_PER_SECOND)
    )
    rows, spot_at = rows[fresh], spot_at[fresh]
    if not len(rows):
        return None
    ids, ts = quotes.instrument_id[rows], quotes.ts_ns[rows]
    terms = _terms(tape, options)[ids]
    years = np.maximum(terms["expiry_ns"] - ts, 0) / NANOS_PER_SECOND / SECONDS_PER_YEAR
    spot_bid, spot_ask = quotes.bid[spot_rows][spot_at], quotes.ask[spot_rows][spot_at]
    rate = np.array([tape.rate_curve.rate_at(days) for days in range(int(years.max() * 365) + 2)])
    discount = np.exp(-rate[(years * 365).astype(np.int64)] * years)
    payouts = terms["dividends"] + spot_ask * -np.expm1(-tape.dividend_yield * years)
    bid = quotes.bid[rows]
    tick = _ticks([None if o is None else o.tick_rule for o in options], ids, np.nan_to_num(bid))
    in_coin = np.array([o is not None and o.is_inverse for o in options], dtype=np.bool_)[ids]
    unit = np.where(in_coin, 0.5 * (spot_bid + spot_ask), 1.0)
    return OptionRows(
        ts,
        terms["pair"],
        terms["is_call"],
        terms["is_american"],
        terms["strike"],
        discount,
        payouts,
        bid * unit,
        quotes.ask[rows] * unit,
        spot_bid,
        spot_ask,
        tick * unit + _MOMENTS_APART * spot_bid,
    )


def _fixes_from_ns(option: OptionContract) -> int:
    """Return from when on a part of what settles an option is fixed, UTC nanoseconds."""
    if option.settlement is not Settlement.CASH_MEAN:
        return NEVER_NS
    return expiry_instant_ns(option) - MEAN_MINUTES * MINUTE_NS


def intrinsic_findings(rows: OptionRows) -> _BoundBreaks:
    """Count asks below what the option is worth at once (or at expiry, for a European one)."""
    paid_out = np.where(rows.is_american, 0.0, rows.payouts)
    paid_in = np.where(rows.is_american, 1.0, rows.discount)
    call_floor = rows.spot_bid - paid_out - rows.strike
    put_floor = rows.strike * paid_in - rows.spot_ask
    floor = np.maximum(np.where(rows.is_call, call_floor, put_floor), 0.0)
    quoted = np.isfinite(rows.ask)
    short = (floor - rows.ask - rows.tolerance)[quoted]
    return _finding(short, rows.tolerance[quoted])


def parity_findings(rows: OptionRows) -> _BoundBreaks:
    """Count pairs whose quotes break ``S - D - K <= C - P <= S - K DF`` even at their best sides."""
    c, p = _twins(rows)
    lowest, highest = rows.bid[c] - rows.ask[p], rows.ask[c] - rows.bid[p]
    floor = rows.spot_bid[c] - rows.payouts[c] - rows.strike[c]
    ceiling = rows.spot_ask[c] - rows.strike[c] * rows.discount[c]
    broken_by = np.maximum(floor - highest, lowest - ceiling) - rows.tolerance[c] - rows.tolerance[p] / 2
    return _finding(broken_by, rows.tolerance[c])


def _twins(rows: OptionRows) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of calls and of their puts that are quoted on both sides at the same instant."""
    whole = (rows.bid > 0.0) & np.isfinite(rows.ask)
    calls, puts = np.flatnonzero(whole & rows.is_call), np.flatnonzero(whole & ~rows.is_call)
    _, moment = np.unique(rows.ts_ns, return_inverse=True)
    key = moment.astype(np.int64) * (int(rows.pair.max()) + 1) + rows.pair
    _, at_call, at_put = np.intersect1d(key[calls], key[puts], return_indices=True)
    return calls[at_call], puts[at_put]


def _finding(excess: NDArray[np.float64], tolerance: NDArray[np.float64]) -> _BoundBreaks:
    bad = excess > 0.0
    return _BoundBreaks(
        checked=len(excess),
        found=int(bad.sum()),
        worst=float(excess[bad].max()) if bool(bad.any()) else 0.0,
        tolerance=float(np.median(tolerance)) if len(tolerance) else 0.0,
    )


_TERMS = np.dtype(
    [
        *((name, np.int64) for name in ("pair", "expiry_ns")),
        *((name, np.bool_) for name in ("is_call", "is_american")),
        *((name, np.float64) for name in ("strike", "dividends")),
    ]
)
"""A contract's terms by instrument number; zeros for what is no option."""


def _terms(tape: MarketTape, options: list[OptionContract | None]) -> NDArray[np.void]:
    first_day = from_ns(tape.sessions[0].open_ns).date()
    pairs: dict[tuple[str, date, Decimal], int] = {}
    paid: dict[date, float] = {}
    terms = np.zeros(len(options), _TERMS)
    for number, option in enumerate(options):
        if option is None:
            continue
        if option.expiry not in paid:
            ahead = (d.amount for d in tape.dividends if first_day < d.ex_date <= option.expiry)
            paid[option.expiry] = float(sum(ahead, Decimal(0)))
        terms[number] = (
            pairs.setdefault((option.root, option.expiry, option.strike), len(pairs)),
            expiry_instant_ns(option),
            option.is_call,
            option.style is Style.AMERICAN,
            option.strike,
            paid[option.expiry],
        )
    return terms


def _ticks(
    rules: list[TickRule | None], ids: NDArray[np.int32], prices: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the tick at each price, by the number of its instrument."""
    ticks = np.zeros(len(prices))
    for rule in {rule for rule in rules if rule is not None}:
        rows = np.array([each == rule for each in rules], dtype=np.bool_)[ids]
        edges = np.array([float(step.above_price) for step in rule.steps])
        sizes = np.array([float(rule.below), *(float(step.tick) for step in rule.steps)])
        ticks[rows] = sizes[np.searchsorted(edges, prices[rows])]
    return ticks


_QUOTE_TABLES = ("quotes", "option_quotes")

# A bar has two closes of possibly different moments. They may cross when the sides' ranges overlap,
# or when one side simply did not move since the bar before; a plain quote has no such excuse.
_CROSSED = """
SELECT symbol, strftime(ts, '%Y-%m-%d %H:%M:%SZ') AS moment, bid, ask,
       coalesce(bid_low <= ask_high, false)
       OR (bid_low IS NOT NULL
           AND (coalesce(bid = old_bid AND bid_size = old_bid_size, false)
                OR coalesce(ask = old_ask AND ask_size = old_ask_size, false))) AS explained
FROM (
  SELECT *, lag(bid) OVER w AS old_bid, lag(bid_size) OVER w AS old_bid_size,
         lag(ask) OVER w AS old_ask, lag(ask_size) OVER w AS old_ask_size
  FROM rows WINDOW w AS (PARTITION BY symbol, ts::DATE ORDER BY ts)
) WHERE bid > ask ORDER BY ts, symbol
"""


@dataclass(slots=True)
class _StoredFindings:
    """Counts over the files of one underlying."""

    files: int = 0
    rows: int = 0
    quote_rows: int = 0
    unreadable: list[str] = field(default_factory=list)
    """Files that are damaged or lack columns, with the reason."""
    unsorted: list[str] = field(default_factory=list)
    wrong_bar_length: int = 0
    """Rows that claim to be known at another instant than the end of their bar."""
    duplicates: int = 0
    contradicting: int = 0
    """Rows of a symbol and instant that another row has, those among them with other figures."""
    """Rows that repeat the symbol and instant of another."""
    impossible: int = 0
    first_impossible: str = ""
    """``impossible``, ``first_impossible``: Rows whose figures cannot be (a high below the low, a price, size
    or open interest below 0), and the first of them.
    """
    no_session: int = 0
    """Rows on days without a session, of what has sessions."""
    outside_hours: int = 0
    """Rows known before the open, after the close or on a day without a session."""
    crossed: int = 0
    swapped: list[str] = field(default_factory=list)
    """Files of which most rows are crossed."""
    crossed_unexplained: int = 0
    """Crossed rows that are not two moments of one bar."""
    first_crossed: str = ""


def _inspect_files(
    catalog: Path, name: str, keys: Sequence[str], bar_seconds: int, *, in_coin: bool = False
) -> _StoredFindings:
    """Read every file of the keys and count what is wrong with the rows as stored.

    A market in coin is open around the clock: none of its rows is outside hours.
    """
    connection = connect()
    found = _StoredFindings()
    for table in DATED_TABLES:
        for key in keys:
            for path in day_files(catalog, name, table, key):
                found.files += 1
                trouble = "not readable as Parquet"
                if is_readable(connection, path):
                    missing = missing_columns(connection, path)
                    trouble = f"lacks {', '.join(missing)}" if missing else impossible_times(connection, path)
                if trouble:
                    found.unreadable.append(f"{path}: {trouble}; delete it and import it again")
                    continue
                _inspect_figures(connection, path, found)
                if table not in COIN_TABLES:
                    _inspect(connection, path, bar_seconds, found, in_coin=in_coin)
                if table in _QUOTE_TABLES:
                    _inspect_quotes(connection, path, found)
    return found


def _inspect(connection: Any, path: Path, bar_seconds: int, found: _StoredFindings, *, in_coin: bool) -> None:
    columns = read_columns(
        connection, [path], "SELECT epoch_ns(ts) AS ts, epoch_ns(bar_start) AS bar_start FROM rows"
    )
    ts = np.ma.getdata(columns["ts"])
    found.rows += len(ts)
    if bool((np.diff(ts) < 0).any()):
        found.unsorted.append(str(path))
    if not in_coin and len(path.stem) == len("2015-12-23"):  # files of a whole year are not judged
        day = date.fromisoformat(path.stem)
        if _has_session(day):
            session = session_on(day)
            found.outside_hours += int(((ts <= session.open_ns) | (ts > session.close_ns)).sum())
        else:
            found.outside_hours += len(ts)
            found.no_session += len(ts)
    lengths = np.ma.filled(ts - columns["bar_start"], bar_seconds * NANOS_PER_SECOND)
    found.wrong_bar_length += int((lengths != bar_seconds * NANOS_PER_SECOND).sum())
    repeats = read_columns(
        connection,
        [path],
        "SELECT (SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM rows GROUP BY ts, symbol))"
        " AS extra, (SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM"
        " (SELECT DISTINCT * FROM rows) GROUP BY ts, symbol)) AS other",
    )
    found.duplicates += int(repeats["extra"][0])
    found.contradicting += int(repeats["other"][0])


def _has_session(day: date) -> bool:
    return is_known(day) and is_session(day)


def _inspect_figures(connection: Any, path: Path, found: _StoredFindings) -> None:
    """Count rows of figures that cannot be."""
    wrong = impossible_figures(path.parent.parent.name)
    if not wrong:
        return
    got = read_columns(
        connection,
        [path],
        "SELECT count(*) AS n, first(symbol) AS symbol, "  # noqa: S608 - our own conditions
        f"first(strftime(ts, '%Y-%m-%d %H:%M:%SZ')) AS moment FROM rows WHERE {' OR '.join(wrong)}",
    )
    found.impossible += int(got["n"][0])
    if got["n"][0] and not found.first_impossible:
        found.first_impossible = f"first: {got['symbol'][0]} {got['moment'][0]} in {path}"


def _inspect_quotes(connection: Any, path: Path, found: _StoredFindings) -> None:
    counted = read_columns(connection, [path], "SELECT count(*) AS n FROM rows")
    found.quote_rows += int(counted["n"][0])
    crossed = read_columns(connection, [path], _CROSSED)
    is_swapped = len(crossed["bid"]) > max(_FEW_CROSSED, _MOST_BROKEN * int(counted["n"][0]))
    # bars explain a few rows, not a file: there the columns are swapped
    unexplained = np.flatnonzero(~np.ma.getdata(crossed["explained"]).astype(np.bool_) | is_swapped)
    found.swapped += [str(path)] * is_swapped
    found.crossed += len(crossed["bid"])
    found.crossed_unexplained += len(unexplained)
    if len(unexplained) and not found.first_crossed:
        at = int(unexplained[0])
        symbol, moment = crossed["symbol"][at], crossed["moment"][at]
        found.first_crossed = f"{symbol} {moment} bid {crossed['bid'][at]:g} ask {crossed['ask'][at]:g}"


_GAP_INTERVALS = 5
"""An underlying that is silent for more than this many usual intervals has a gap."""


_TRADING = "trading"
_RESEARCH = {
    "prints": "trades",
    "option_trades": "trades of options",
    "trades": "realised volatility",
    "volatility_index": "implied volatility",
    "funding": "funding",
    "settlements": "deliveries",
}
"""Uses of the rows of a table beside trading."""


class CheckVerdict(StrEnum):
    """Result of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One question, how often it was asked, and how often the answer was bad."""

    name: str
    checked: int
    found: int
    verdict: CheckVerdict
    detail: str = ""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """All checks on one market."""

    name: str
    underlying: str
    sessions: tuple[date, ...]
    checks: tuple[Check, ...]
    uses: tuple[str, ...] = (_TRADING,)
    """Uses of sound rows of these kinds."""
    missing: str = ""
    """Data that the market lacks to be traded on."""

    @property
    def fit_for(self) -> tuple[str, ...]:
        """Uses of the market: empty where a check failed."""
        return self.uses if self.ok else ()

    @property
    def ok(self) -> bool:
        """True when no check failed; warnings are allowed."""
        return all(check.verdict is not CheckVerdict.FAILED for check in self.checks)

    def as_dict(self) -> dict[str, object]:
        """Return the report as plain values."""
        return {
            "name": self.name,
            "underlying": self.underlying,
            "sessions": [day.isoformat() for day in self.sessions],
            "ok": self.ok,
            "fit_for": self.fit_for,
            "missing": self.missing,
            "checks": [asdict(check) for check in self.checks],
        }


def verify_tape(tape: MarketTape) -> VerifyReport:
    """Check a market in memory.

    Time order, instruments, prices and sizes, crossed, locked and one-sided quotes, duplicates,
    session times, gaps of the underlying, prices below intrinsic value, put-call parity. Crossed
    quotes, unsorted time, unknown instruments and impossible prices are hard.
    """
    quotes, total = tape.quotes.whole(), len(tape.quotes.whole())
    backward = int((np.diff(quotes.ts_ns) < 0).sum())
    unknown = (quotes.instrument_id < 0) | (quotes.instrument_id >= len(tape.instruments))
    days = tuple(session.day for session in tape.sessions)
    checks = [
        _hard("time never runs backward", total, backward),
        _hard("instruments are in the book", total, int(unknown.sum())),
        _hard("prices and sizes are possible", total, _impossible(tape)),
        _hard("quotes not crossed", *_crossed(tape)),
    ]
    if bool(unknown.any()):
        return VerifyReport(tape.name, tape.underlying, days, tuple(checks))
    checks.extend(
        (
            _soft("quotes not locked", *_locked(tape)),
            _soft("both sides quoted", total, *_one_sided(tape)),
            _soft("one row an instrument and instant", total, *_duplicates(tape)),
            _soft("rows inside session times", total, *_outside_sessions(tape)),
            _soft("underlying without gaps", *_gaps(tape)),
            _hard("underlying keeps two sides", *_sideless(tape)),
        )
    )
    rows = option_rows(tape)
    if rows is not None:
        assumed = "; no rates known, zero assumed" if tape.rate_curve == FLAT_ZERO else ""
        cause = _likely_cause(rows)
        checks.append(_bound("asks not below intrinsic value", intrinsic_findings(rows), assumed, cause))
        checks.append(_bound("put-call parity", parity_findings(rows), assumed, cause))
        checks.append(_highest_asks(rows))
        checks.extend((*_first_and_last_quotes(tape), _last_sides(tape)))
        if (ends := _worth_at_expiry(tape)).checked:
            checks.append(ends)
    return VerifyReport(tape.name, tape.underlying, days, tuple(checks))


def verify_data_set(
    catalog: Path, name: str, underlying: str, *, session: date | None = None
) -> VerifyReport:
    """Check the files of one underlying of a data set, then the tape of each of its sessions.

    With ``session`` only that session becomes a tape; the files are checked all the same.

    A file that cannot be read is a hard finding that names the file, and ends the report there. Raises
    DataError when there is no such data set or underlying.
    """
    manifest, base, coverage, roots = find_underlying(catalog, name, underlying)
    keys = coverage.keys if base == underlying.upper() else (base, *roots)
    in_coin = coverage.type == "coin"
    stored = _inspect_files(catalog, name, keys, manifest.bar_seconds, in_coin=in_coin)
    checks = _stored_checks(stored)
    days = tuple(date.fromisoformat(day) for day in coverage.sessions if len(day) == 10)
    stocked = {table.partition("/")[0] for table, rows in coverage.tables.items() if rows}
    uses = tuple(use for table, use in _RESEARCH.items() if table in stocked)
    missing = f"{'tickers' if in_coin else 'quotes'} within a session"
    if not stored.unreadable and manifest.bar_seconds >= DAY_SECONDS and "trades" in stocked:
        checks.append(_daily_check(catalog, name, underlying))
    if stored.unreadable or manifest.bar_seconds >= DAY_SECONDS:  # a day's bar is known too late for a tape
        return VerifyReport(name, base, days, tuple(checks), uses, missing)
    found: list[tuple[date, Check]] = []
    for day in days if session is None else (session,):
        if session is None and not in_coin and not _has_session(day):
            continue
        try:
            if in_coin:
                tape = resolved(COIN_TAPE)(catalog, manifest, base, coverage, day, day)
            else:
                tape = load_tape(catalog, name, underlying=underlying, start=day, end=day)
        except DataError as error:
            if session is not None:
                raise
            found.append((day, _soft("the session makes a tape", 1, 1, error.what)))
            continue
        found.append((day, _soft("the session makes a tape", 1, 0)))
        if len(tape.quotes.whole()) and missing:
            uses, missing = (_TRADING, *uses), ""
        found.extend((day, check) for check in verify_tape(tape).checks)
    if len(days) > 1 and not in_coin:
        checks.append(_missing_sessions(days))
        if (hole := longest_hole(days)) is not None and hole.sessions > MOST_MISSING:
            uses = tuple(use for use in uses if use != _TRADING)
            missing = f"sessions from {hole.first} to {hole.last} (the days on one side of them are)"
        jump = unbooked_action(catalog, name, base, coverage.keys, min(days), max(days))
        detail = "" if jump is None else jump.words
        checks.append(
            _hard("splits and special dividends are booked", len(days) - 1, int(jump is not None), detail)
        )
    return VerifyReport(name, base, days, (*checks, *_summed(found)), uses, missing)


def _daily_check(catalog: Path, name: str, symbol: str) -> Check:
    """Return whether the daily bars make a history."""
    title = "daily bars make a history"
    try:
        history = find_history(catalog, name, symbol.upper(), name)
    except DataError as error:
        return _hard(title, 1, 1, f"{error.what}: {error.value}")
    return _soft(title, len(history.days), len(history.notes), "; ".join(history.notes))


def _missing_sessions(days: Sequence[date]) -> Check:
    """Return how many sessions of the exchange lie between those that are there.

    A warning: days apart are sound one by one. Beyond :data:`MOST_MISSING` in a row the set is not fit to
    trade on, and a run over them is refused.
    """
    found = holes_between(days)
    missing = sum(hole.sessions for hole in found)
    wanted = missing + len(set(days))
    if not found:
        return _soft("no session is missing", wanted, 0)
    longest = max(found, key=lambda hole: hole.sessions)
    detail = (
        f"{count_text(len(found), 'hole')}, the longest from {longest.first} to {longest.last}:"
        " no hedge of what is held"
    )
    return _soft("no session is missing", wanted, missing, detail)


def _stored_checks(stored: _StoredFindings) -> list[Check]:
    worst = _soft(
        "stored rows not crossed",
        stored.quote_rows,
        stored.crossed,
        "closes of different moments in one bar; the older side is withheld from the desk"
        if stored.crossed
        else "",
    )
    if stored.crossed_unexplained:
        why = f"{stored.crossed_unexplained} cannot be two moments of one bar"
        if stored.swapped:
            why = f"bid and ask are swapped in {count_text(len(stored.swapped), 'file')}"
        worst = replace(worst, verdict=CheckVerdict.FAILED, detail=f"{why}; first: {stored.first_crossed}")
    unsorted = "; ".join(stored.unsorted[:3])
    return [
        _hard("files can be read", stored.files, len(stored.unreadable), "; ".join(stored.unreadable[:3])),
        _hard("files are sorted by time known", stored.files, len(stored.unsorted), unsorted),
        _hard("rows are known when their bar ends", stored.rows, stored.wrong_bar_length),
        _soft(
            "stored rows are unique",
            stored.rows,
            stored.duplicates,
            _told_apart(stored.duplicates, stored.contradicting),
        ),
        Check(
            "stored rows inside regular hours",
            stored.rows,
            stored.outside_hours,
            CheckVerdict.OK,
            _outside_text(stored),
        ),
        _hard("stored figures are possible", stored.rows, stored.impossible, stored.first_impossible),
        worst,
    ]


def _outside_text(stored: _StoredFindings) -> str:
    if not stored.outside_hours:
        return ""
    closed = f"; {stored.no_session} of them on days without a session" if stored.no_session else ""
    return f"the others are kept out of the tape{closed}"


def unread_data_set(name: str, error: DataError) -> VerifyReport:
    """Return the report of a data set whose manifest cannot be read."""
    trouble = f"{error.where}: {error.what}; {error.fix}"
    return VerifyReport(name, "", (), (_hard("the manifest can be read", 1, 1, trouble),), (), "manifest")


def _hard(name: str, checked: int, found: int, detail: str = "") -> Check:
    return Check(name, checked, found, CheckVerdict.FAILED if found else CheckVerdict.OK, detail)


def _soft(name: str, checked: int, found: int, detail: str = "") -> Check:
    return Check(name, checked, found, CheckVerdict.WARNING if found else CheckVerdict.OK, detail)


def _bound(name: str, finding: _BoundBreaks, assumed: str, cause: str) -> Check:
    detail = f"allowed {finding.tolerance:.2f}"
    if finding.found:
        detail += f", worst {finding.worst:.2f} beyond it{assumed}"
    check = _share(name, finding.checked, finding.found, detail)
    return replace(check, detail=f"{cause}; {detail}") if check.verdict is CheckVerdict.FAILED else check


def _likely_cause(rows: OptionRows) -> str:
    """Return the likely reason why most quotes of options do not fit the underlying's."""
    spot = 0.5 * (rows.spot_bid + rows.spot_ask)
    scale = float(np.median(rows.strike / spot))
    if not 0.02 < scale < 50:
        return f"strikes are {scale:.3g} times the underlying: they are in another unit"
    calls, puts = _twins(rows)
    parity = 0.5 * (rows.bid + rows.ask)[calls] - 0.5 * (rows.bid + rows.ask)[puts]
    strikes = rows.strike[calls]
    unknown = "options and underlying are quoted at different moments, or terms of the options are wrong"
    if len(calls) < 2 or not float(np.ptp(strikes)):
        return unknown
    # C - P = F - K: prices in another unit change the slope, an adjusted share the forward
    slope, level = np.polyfit(strikes - strikes.mean(), parity, 1)
    if not 0.2 < -slope < 5:
        return f"prices of options are {-slope:.3g} times those of strikes: cents beside dollars"
    ratio = float((strikes.mean() - level / slope) / np.median(spot))
    if not 0.96 < ratio < 1.04:  # a forward of a year is as far from the price as rates are high
        return f"options are on {ratio:.3g} times the underlying's price: one is adjusted for a split"
    if minutes := _lag(rows, calls, parity + strikes, spot):
        side = "later" if minutes > 0 else "earlier"
        return (
            f"options show the underlying of {abs(minutes)} minutes {side}: times of one are in another zone"
        )
    return unknown


def _lag(
    rows: OptionRows, calls: NDArray[np.intp], forward: NDArray[np.float64], spot: NDArray[np.float64]
) -> int:
    """Return by how many minutes the underlying that the options show is ahead of its quotes; 0 where not."""
    times, first = np.unique(rows.ts_ns, return_index=True)
    path, at = spot[first], rows.ts_ns[calls]

    def apart(minutes: int) -> float:
        then = at + minutes * 60 * NANOS_PER_SECOND
        inside = (then >= times[0]) & (then <= times[-1])
        if np.count_nonzero(inside) < 0.25 * len(at):
            return math.inf
        gap = forward[inside] - path[np.searchsorted(times, then[inside], side="right") - 1]
        return float(np.median(np.abs(gap - np.median(gap))))

    best = min(_LAGS_MINUTES, key=apart)
    return best if apart(best) < 0.2 * apart(0) else 0


def _highest_asks(rows: OptionRows) -> Check:
    """Count asks far above the underlying and the strike: a vendor's mark of no price."""
    asks = np.isfinite(rows.ask)
    far = asks & (rows.ask > 1.5 * np.maximum(rows.spot_ask, rows.strike))
    detail = (
        f"highest {float(rows.ask[far].max()):g}: a mark of no price, such as 9999.99" if far.any() else ""
    )
    return _share("asks not above underlying and strike", int(asks.sum()), int(far.sum()), detail)


def _first_and_last_quotes(tape: MarketTape) -> list[Check]:
    """Count options that begin to be quoted after the underlying does, and those that stop before it."""
    quotes = tape.quotes.whole()
    early_ns = round(max(_EARLY_SECONDS, _GAP_INTERVALS * tape.quote_seconds) * NANOS_PER_SECOND)
    count, known = len(tape.instruments), np.isfinite(quotes.ask) | (quotes.bid > 0.0)
    last = np.full(count, -1, dtype=np.int64)
    first = np.full(count, np.iinfo(np.int64).max)
    np.maximum.at(last, quotes.instrument_id[known], quotes.ts_ns[known])
    np.minimum.at(first, quotes.instrument_id[known], quotes.ts_ns[known])
    base = int(tape.instruments.id_of(tape.underlying))
    options = np.array([each.is_option for each in tape.instruments], dtype=np.bool_) & (last >= 0)
    sides = {
        name: options & np.array([each.is_option and each.is_call is is_call for each in tape.instruments])
        for name, is_call in (("calls", True), ("puts", False))
    }
    late = ", ".join(
        f"the first of {n} at {_moment(int(first[w].min()))}" for n, w in sides.items() if w.any()
    )
    stop = ", ".join(f"the last of {n} at {_moment(int(last[w].max()))}" for n, w in sides.items() if w.any())
    return [
        _share(name, int(options.sum()), found, detail if found else "")
        for name, found, detail in (
            (_QUOTED_FROM_START, int((options & (first > first[base] + early_ns)).sum()), late),
            (_QUOTED_TO_END, int((options & (last < last[base] - early_ns)).sum()), stop),
        )
    ]


def _last_sides(tape: MarketTape) -> Check:
    """Count options of which a side vanishes while the other is quoted on."""
    quotes = tape.quotes.whole()
    last = np.full((3, len(tape.instruments)), -1, dtype=np.int64)
    has_bid, has_ask = quotes.bid > 0.0, np.isfinite(quotes.ask)
    for row, known in enumerate((has_bid, has_ask, has_bid | has_ask)):
        np.maximum.at(last[row], quotes.instrument_id[known], quotes.ts_ns[known])
    bid = np.zeros(len(tape.instruments))
    bid[quotes.instrument_id[has_bid]] = quotes.bid[has_bid]  # rows are in time: the last stays
    early = last[2] - round(max(_EARLY_SECONDS, _GAP_INTERVALS * tape.quote_seconds) * NANOS_PER_SECOND)
    options = np.array([each.is_option for each in tape.instruments], dtype=np.bool_) & (last[2] >= 0)
    gone = {
        "bid": options & (last[0] >= 0) & (last[0] < early) & (bid >= _LEAST_BID),
        "ask": options & (last[1] >= 0) & (last[1] < early),
    }
    symbols = [each.symbol for each in tape.instruments]
    first = {
        f"{symbols[at]} has no {side} after {_moment(int(last[row][at]))}"
        for row, (side, which) in enumerate(gone.items())
        for at in np.flatnonzero(which)[:1]
    }
    found = int((gone["bid"] | gone["ask"]).sum())
    return _share(_SIDES_TO_END, int(options.sum()), found, ", ".join(sorted(first)))


def _worth_at_expiry(tape: MarketTape) -> Check:
    """Count options near the money that have time value left when they expire."""
    quotes = tape.quotes.whole()
    share = quotes.instrument_id == int(tape.instruments.id_of(tape.underlying))
    share &= (quotes.bid > 0.0) & np.isfinite(quotes.ask)
    times, prices = quotes.ts_ns[share], 0.5 * (quotes.bid + quotes.ask)[share]
    checked, symbols = 0, []
    for option in tape.instruments:
        if not option.is_option or option.is_inverse:
            continue
        ends = expiry_instant_ns(option)
        within = ends - round(_AT_EXPIRY_SECONDS * NANOS_PER_SECOND)
        if not len(times) or not within <= times[-1]:
            continue
        own = quotes.instrument_id == int(tape.instruments.id_of(option.symbol))
        own &= (
            (quotes.ts_ns >= within) & (quotes.ts_ns <= ends) & (quotes.bid > 0.0) & np.isfinite(quotes.ask)
        )
        rows = np.flatnonzero(own)[-1:]
        spot_at = np.searchsorted(times, quotes.ts_ns[rows], side="right") - 1
        if not len(rows) or spot_at[0] < 0:
            continue
        spot, strike = float(prices[spot_at[0]]), float(option.strike)
        if abs(strike / spot - 1.0) > _NEAR_MONEY:
            continue
        checked += 1
        value = max((spot - strike) * (1.0 if option.is_call else -1.0), 0.0)
        if float(quotes.bid[rows[0]]) - value > _TIME_VALUE * spot:
            symbols.append(option.symbol)
    detail = (
        f"{symbols[0]} has time value left: the expiry is of another zone, a day early" if symbols else ""
    )
    return _share(_WORTH_AT_EXPIRY, checked, len(symbols), detail)


def _share(name: str, checked: int, found: int, detail: str = "") -> Check:
    """Return a check with the verdict that the part of its rows that are bad deserves."""
    return (_hard if found > _MOST_BROKEN * checked else _soft)(name, checked, found, detail)


def refuse_unbooked_action(
    catalog: Path, name: str, symbol: str, roots: Sequence[str], first: date, last: date
) -> None:
    """Refuse sessions over a split or a special dividend that the data set does not have.

    Raises DataError, which names the day, and how to book it.
    """
    found = unbooked_action(catalog, name, symbol, roots, first, last)
    if found is None:
        return
    known = any(each.ex_date == found.ex_date for each in known_actions().get(symbol, ()))
    file = f" FILE, with a line {symbol},{found.ex_date},{found.kind},{found.amount} by its announcement"
    raise DataError(
        f"a {found.kind.replace('_', ' ')} is not booked: {found.words}",
        where=f"{name} {symbol}",
        value=f"{first} to {last}",
        fix=f"scalpdesk data actions {name}{'' if known else file}; or end before",
    )


def _summed(checks: Iterable[tuple[date, Check]]) -> list[Check]:
    """Add up the checks of several sessions by name; the detail is that of the worst session."""
    severity = list(CheckVerdict)
    total: dict[str, Check] = {}
    worst: dict[str, int] = {}
    for day, check in checks:
        detail = f"most on {day}: {check.detail}" if check.found and check.detail else check.detail
        before = total.get(check.name)
        if before is None:
            total[check.name] = replace(check, detail=detail)
            worst[check.name] = check.found
            continue
        if check.found <= worst[check.name]:
            detail = before.detail
        worst[check.name] = max(worst[check.name], check.found)
        total[check.name] = Check(
            check.name,
            before.checked + check.checked,
            before.found + check.found,
            max(before.verdict, check.verdict, key=severity.index),
            detail,
        )
    return [
        _share(each.name, each.checked, each.found, each.detail) if each.name in _BY_CONTRACT else each
        for each in total.values()
    ]


def _impossible(tape: MarketTape) -> int:
    quotes = tape.quotes.whole()
    bad = np.zeros(len(quotes), dtype=np.bool_)
    for column in (quotes.bid, quotes.ask, quotes.bid_size, quotes.ask_size):
        bad |= (column < 0) | np.isinf(column)
    return int(bad.sum())


def _crossed(tape: MarketTape) -> tuple[int, int, str]:
    bid, ask = tape.quotes.whole().bid, tape.quotes.whole().ask
    crossed = np.flatnonzero(bid > ask)
    both = int(((bid > 0.0) & np.isfinite(ask)).sum())
    return both, len(crossed), _row_text(tape, crossed)


def _locked(tape: MarketTape) -> tuple[int, int, str]:
    """Count locked quotes; index levels are left out, whose bid and ask are equal by design."""
    quotes = tape.quotes.whole()
    is_level = np.array([each.is_index for each in tape.instruments], dtype=np.bool_)
    candidates = ~is_level[quotes.instrument_id] & (quotes.bid > 0.0) & np.isfinite(quotes.ask)
    locked = np.flatnonzero(candidates & (quotes.bid == quotes.ask) & (quotes.bid > 0))
    return int(candidates.sum()), len(locked), _row_text(tape, locked)


def _one_sided(tape: MarketTape) -> tuple[int, str]:
    no_bid, no_ask = ~(tape.quotes.whole().bid > 0.0), np.isnan(tape.quotes.whole().ask)
    found = int((no_bid | no_ask).sum())
    return found, f"no bid {int(no_bid.sum())}, no ask {int(no_ask.sum())}" if found else ""


def _duplicates(tape: MarketTape) -> tuple[int, str]:
    quotes = tape.quotes.whole()
    order = np.lexsort((quotes.ask, quotes.bid, quotes.instrument_id, quotes.ts_ns))
    ts, ids = quotes.ts_ns[order], quotes.instrument_id[order]
    again = (np.diff(ts) == 0) & (np.diff(ids) == 0)
    moved = (np.diff(quotes.bid[order]) != 0.0) | (quotes.ask[order][1:] != quotes.ask[order][:-1])
    count = int(again.sum())
    return count, _told_apart(count, int((again & moved).sum()))


def _told_apart(repeats: int, contradicting: int) -> str:
    """Return how many rows of a symbol and instant repeat another, and how many have other figures."""
    if not repeats:
        return ""
    equal = repeats - contradicting
    return f"{equal} equal to another, {contradicting} with other figures, of which the last counts"


def _outside_sessions(tape: MarketTape) -> tuple[int, str]:
    ts = tape.quotes.whole().ts_ns
    inside = np.zeros(len(ts), dtype=np.bool_)
    for session in tape.sessions:
        inside |= (ts >= session.open_ns) & (ts <= session.close_ns)
    outside = np.flatnonzero(~inside)
    return len(outside), _row_text(tape, outside)


def _gaps(tape: MarketTape) -> tuple[int, int, str]:
    """Count silences of the underlying (its bars where it has no quotes) from open to close."""
    quotes = tape.quotes.whole()
    columns = quotes if len(quotes) or tape.bars is None else tape.bars.whole()
    ts = columns.ts_ns[columns.instrument_id == int(tape.instruments.id_of(tape.underlying))]
    limit = round(_GAP_INTERVALS * tape.quote_seconds * NANOS_PER_SECOND)
    checked, found, longest, longest_at = 0, 0, 0, 0
    for session in tape.sessions:
        own = ts[(ts >= session.open_ns) & (ts <= session.close_ns)]
        marks: NDArray[np.int64] = np.concatenate(([session.open_ns], own, [session.close_ns]))
        silence = np.diff(marks)
        checked += len(silence)
        found += int((silence > limit).sum())
        if int(silence.max()) > longest:
            longest, longest_at = int(silence.max()), int(marks[int(silence.argmax())])
    if not found:
        return checked, 0, ""
    return checked, found, f"longest {longest / NANOS_PER_SECOND:g} s from {_moment(longest_at)}"


def _sideless(tape: MarketTape) -> tuple[int, int, str]:
    """Count the underlying's rows without two sides that end a session or last longer than a gap."""
    quotes = tape.quotes.whole()
    numbers = np.flatnonzero(quotes.instrument_id == int(tape.instruments.id_of(tape.underlying)))
    limit = round(_GAP_INTERVALS * tape.quote_seconds * NANOS_PER_SECOND)
    bad: list[int] = []
    for session in tape.sessions:
        ts = quotes.ts_ns[numbers]
        own = numbers[(ts >= session.open_ns) & (ts <= session.close_ns)]
        is_sound = are_tradable(quotes.bid[own], quotes.ask[own])
        runs = np.split(np.arange(len(own)), np.flatnonzero(np.diff(is_sound)) + 1)
        for run in runs:
            if len(run) and not is_sound[run[0]]:
                is_last = run[-1] == len(own) - 1
                until_ns = session.close_ns if is_last else int(quotes.ts_ns[own[run[-1] + 1]])
                if is_last or until_ns - int(quotes.ts_ns[own[run[0]]]) > limit:
                    bad.extend(own[run].tolist())
    return len(numbers), len(bad), _row_text(tape, bad)


def _row_text(tape: MarketTape, rows: Sequence[int] | NDArray[np.int64]) -> str:
    if not len(rows):
        return ""
    at, quotes = int(rows[0]), tape.quotes.whole()
    symbol = list(tape.instruments)[int(quotes.instrument_id[at])].symbol
    return f"first: {symbol} {_moment(int(quotes.ts_ns[at]))} bid {quotes.bid[at]:g} ask {quotes.ask[at]:g}"


def _moment(ts_ns: int) -> str:
    return from_ns(ts_ns).strftime("%Y-%m-%d %H:%M:%SZ")
