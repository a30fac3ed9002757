"""Recorded markets in coin: their rows in the catalogue, the tape of them, and tables for research.

A data set of a coin has the tables of :data:`scalpdesk.datasets.store.COIN_TABLES`, bars in ``trades`` and
``listings``. A file's day is a day of account: after 08:00 UTC to 08:00 UTC of the next, so that the delivery
that ends a day is in its file. What has been downloaded whole stands in
``downloaded.json`` beside its manifest.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from scalpdesk.core.errors import DataError
from scalpdesk.core.units import DAY_NS, DAYS_PER_YEAR, HOUR_NS, MINUTE_NS, NANOS_PER_SECOND
from scalpdesk.datasets.implied_vols import BEFORE_CLOSE_NS, implied_vol_30d
from scalpdesk.datasets.importers.base import ImportReport, Progress, no_progress
from scalpdesk.datasets.importers.staged import TableSource
from scalpdesk.datasets.importers.tabular import FORMATS, refuse_unclear_times
from scalpdesk.datasets.manifests import Coverage, Manifest, manifest_to_extend, update_manifest
from scalpdesk.datasets.store import (
    SCHEMAS,
    as_float,
    connect,
    day_file,
    day_files,
    duckdb_error,
    read_columns,
    replace_file,
    sql_text,
    write_table,
)
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.deribit import (
    coin_of,
    deribit_option,
    inverse_perpetual,
    perpetual,
    perpetual_symbol,
)
from scalpdesk.instruments.sessions import Session, account_day, coin_session, from_ns, to_ns
from scalpdesk.marketdata.chain_surface import ChainQuotes, ExpiryLabel, chain_quotes_at, fit_chain
from scalpdesk.marketdata.tape import FundingRate, MarketTape, QuoteColumns
from scalpdesk.volatility.realised import realized_vol
from scalpdesk.volatility.regime import variance_premium
from scalpdesk.volatility.variance_time import CALENDAR

Row = Mapping[str, Any]
_DOWNLOADED = "downloaded.json"
_SAMPLE_NS = 5 * MINUTE_NS
"""Interval of the returns that realised variance is summed from: long enough for the spread not to count."""
WINDOWS = (7, 30)
"""Days that a trailing realised volatility is taken over."""


# rows ---------------------------------------------------------------------------------------------------


def add_rows(
    catalog: Path, name: str, table: str, coin: str, rows: Sequence[Row], report: ImportReport
) -> None:
    """Add rows to the files of their days; those already there are not doubled.

    Raises DataError when the catalogue cannot be written to.
    """
    days: dict[str, list[Row]] = {}
    for row in rows:
        day = "all" if table == "listings" else account_day(row["ts"]).isoformat()
        if table == "trades" and row["ts"] - row["bar_start"] >= HOUR_NS:
            day = day[:4]  # bars of hours and days: one file a year
        days.setdefault(day, []).append(row)
    for day, members in days.items():
        write_day(catalog, name, table, coin, day, members)
    report.add(table, coin, len(rows))


def write_day(catalog: Path, name: str, table: str, coin: str, day: str, rows: Sequence[Row]) -> None:
    """Write one file: these rows and those that it has already, each once; of a listing the newest."""
    schema, path = SCHEMAS[table], day_file(catalog, name, table, coin, day)
    with connect() as connection:
        chosen = _registered(connection, schema, rows)
        parameters: list[object] = []
        if path.is_file():
            columns = ", ".join(f'"{column}"' for column in schema)
            old = f"SELECT {columns} FROM read_parquet(?)"  # noqa: S608 - columns of our own schema
            if table == "listings":
                old += " WHERE symbol NOT IN (SELECT symbol FROM incoming)"
            chosen, parameters = f"SELECT DISTINCT * FROM ({chosen} UNION ALL {old})", [str(path)]  # noqa: S608
        order = "ts, symbol" if "ts" in schema else "symbol"
        write_table(connection, f"{chosen} ORDER BY {order}", path, parameters=parameters)


def _registered(connection: Any, schema: Mapping[str, str], rows: Sequence[Row]) -> str:
    """Register rows as ``incoming``; return the query that gives them the types of a schema."""
    arrays: dict[str, Any] = {}
    picks = []
    for column, kind in schema.items():
        values = [row.get(column) for row in rows]
        if kind == "DOUBLE":
            arrays[column] = np.array([math.nan if v is None else v for v in values], dtype=np.float64)
            picks.append(f'CASE WHEN isnan("{column}") THEN NULL ELSE "{column}" END AS "{column}"')
        elif kind == "TIMESTAMPTZ":
            arrays[column] = np.array([-1 if v is None else v // 1_000 for v in values], dtype=np.int64)
            picks.append(f'make_timestamp(nullif("{column}", -1))::TIMESTAMPTZ AS "{column}"')
        else:
            arrays[column] = np.array([str(value) for value in values], dtype=object)
            picks.append(f'"{column}"::{kind} AS "{column}"')
    connection.register("incoming", arrays)
    return f"SELECT {', '.join(picks)} FROM incoming"  # noqa: S608 - columns of our own schema


def finish(catalog: Path, name: str, coins: Iterable[str], *, source: str, bar_seconds: int = 60) -> None:
    """Write the manifest of a data set after rows were added.

    Raises DataError when the data set holds bars of another length.
    """
    names = [(coin, perpetual_symbol(coin)) for coin in coins]
    with connect() as connection:
        update_manifest(
            connection,
            catalog,
            name,
            source=source,
            bar_seconds=bar_seconds,
            types={symbol: "coin" for _, symbol in names},
            keys={symbol: {coin} for coin, symbol in names},
        )


class Downloaded:
    """Days of a data set that have been downloaded whole, so that a download goes on where it stopped."""

    def __init__(self, catalog: Path, name: str) -> None:
        self._path = catalog / name / _DOWNLOADED
        try:
            text = self._path.read_text("utf-8") if self._path.is_file() else "[]"
            self._done = {(str(what), str(day)) for what, day in json.loads(text)}
        except ValueError as error:
            fix = "delete it: the days are then downloaded again"
            raise DataError(
                "the list of downloaded days is damaged", where=str(self._path), fix=fix
            ) from error

    def has(self, what: str, day: date) -> bool:
        """Return whether a day of a table and instrument is there."""
        return (what, str(day)) in self._done

    def add(self, what: str, day: date) -> None:
        """Keep that a day is there."""
        self._done.add((what, str(day)))
        replace_file(self._path, json.dumps(sorted(self._done), indent=0))


def import_coin_table(catalog: Path, path: Path, *, name: str) -> ImportReport:
    """Import tickers, prints or bars from a Parquet or CSV file whose columns bear the names of the tables.

    ``bid_size`` and ``ask_size`` are amounts; a volatility above 5 is percent; a bar of a ``date`` is known
    when that UTC day ends; a time without a zone is UTC. Bars go to NAME, NAME-second, NAME-hour or
    NAME-daily by their length. Raises DataError when the file cannot be read or has none of the tables, or a
    cell is no instant or number.
    """
    source = TableSource(path, FORMATS["parquet" if path.suffix.lower() == ".parquet" else "csv"])
    # a column is judged by all of its rows: after whole prices in the first rows a later 90000.5 became 90001
    relation = source.relation.replace("header = true", "header = true, sample_size = -1")
    with connect() as connection:
        try:
            table = connection.execute(f"SELECT * FROM {relation}", [str(path)])  # noqa: S608 - our own words
            columns, values = [each[0] for each in table.description], table.fetchall()
            if source.label == "CSV":
                types = {each[0]: str(each[1]) for each in table.description}
                refuse_unclear_times(connection, source, types)
        except duckdb_error() as error:
            raise DataError("the file cannot be read", where=str(path), value=str(error)[:200]) from error
    kinds = {"tickers": {"mark_iv"}, "prints": {"trade_id"}, "trades": {"open", "close"}}
    kind = next((kind for kind, needed in kinds.items() if needed <= set(columns)), None)
    needed = (
        [{"symbol", "ts"}, {"symbol", "date"}]
        if kind != "trades"
        else [{"symbol", "ts", "bar_start"}, {"symbol", "date"}]
    )
    if kind is None or not values or not any(each <= set(columns) for each in needed):
        raise DataError(
            "the columns are neither tickers nor prints nor bars",
            where=str(path),
            value=", ".join(columns),
            fix="all have symbol, tickers ts and mark_iv, prints ts and trade_id, "
            "bars open to close and date, or ts and bar_start; "
            "bars by other names: scalpdesk data import csv FILE --name NAME --underlying SYMBOL",
        )
    rows = [
        _typed(dict(zip(columns, line, strict=True)), kind, source.place(number))
        for number, line in enumerate(values, 1)
    ]
    lengths = {(row["ts"] - row["bar_start"]) // NANOS_PER_SECOND if kind == "trades" else 60 for row in rows}
    if len(lengths) > 1:
        raise DataError("a file has bars of one length", where=str(path), value=sorted(lengths)[:5])
    (seconds,) = lengths
    suffix = {1: "-second", 60: "", 3_600: "-hour", 86_400: "-daily"}.get(seconds, f"-{seconds}s")
    report = ImportReport(name + suffix, files_read=1)
    manifest_to_extend(catalog, report.name, seconds)
    coins = sorted({row["coin"] for row in rows})
    for coin in coins:
        add_rows(catalog, report.name, kind, coin, [row for row in rows if row["coin"] == coin], report)
    finish(catalog, report.name, coins, source=f"file {path.name}", bar_seconds=seconds)
    return report


def _typed(row: dict[str, Any], table: str, where: str) -> dict[str, Any]:
    """Return a row of a foreign file with the names and units of the catalogue."""
    made = {name.replace("_size", "_amount") if name in ("bid_size", "ask_size") else name: value
            for name, value in row.items()}  # fmt: skip
    for name in ("ts", "bar_start", "date"):
        if name in made:
            made[name] = _instant_ns(made[name], f"{where}: {name}")
    if "date" in made:
        start = made["date"] // DAY_NS * DAY_NS
        made |= {"bar_start": start, "ts": start + DAY_NS}
    for name, type_ in SCHEMAS[table].items():
        if type_ == "DOUBLE" and isinstance(made.get(name), str):
            raise DataError(
                "not a number", where=f"{where}: {name}", value=made[name], fix="correct the cell"
            )
    for name in ("mark_iv", "bid_iv", "ask_iv", "iv"):
        if made.get(name):
            made[name] = made[name] / 100.0 if made[name] > 5.0 else made[name]
        elif name in made:
            made[name] = None
    for name in ("bid", "ask"):
        if "mark_iv" in made and not made.get(name):
            made[name] = None  # the venue writes 0 where there is no such side
    symbol = str(made["symbol"])
    return made | {"coin": coin_of(symbol).removesuffix("USD")}


def _instant_ns(written: object, where: str) -> int:
    if not isinstance(written, date):
        raise DataError(
            "not an instant",
            where=where,
            value=written,
            fix="write times as 2026-01-05T12:00:00Z, dates as 2026-01-05",
        )
    at = written if isinstance(written, datetime) else datetime(written.year, written.month, written.day)  # noqa: DTZ001 - the zone follows
    return to_ns(at if at.tzinfo is not None else at.replace(tzinfo=UTC))


# the tape -----------------------------------------------------------------------------------------------


def coin_tape(
    catalog: Path, manifest: Manifest, underlying: str, coverage: Coverage, start: date, end: date
) -> MarketTape:
    """Return the tape of recorded tickers: the perpetual of a coin and its inverse options.

    Raises DataError when a day has no tickers of the perpetual.
    """
    swap = inverse_perpetual(underlying)
    coin = swap.currency
    sessions = tuple(coin_session(start + timedelta(days=n)) for n in range((end - start).days + 1))
    files = day_files(catalog, manifest.name, "tickers", coin, [s.day.isoformat() for s in sessions])
    missing = sorted({s.day.isoformat() for s in sessions} - {path.stem for path in files})
    got: dict[str, Any] = {}
    if not missing:
        got = read_columns(
            connect(),
            files,
            "SELECT epoch_ns(ts) AS ts, symbol, bid, ask, bid_amount, ask_amount, open_interest FROM rows "
            "WHERE starts_with(symbol, ?) ORDER BY ts, symbol = ?, symbol",  # the perpetual ends an instant
            [f"{coin}-", swap.symbol],
        )
    if missing or swap.symbol not in got["symbol"]:
        there = _days_with(catalog, manifest.name, coin, swap.symbol, coverage.sessions)
        raise DataError(
            f"the data set {manifest.name} has no tickers of {swap.symbol} "
            + ("in these days" if there else "at all: options alone make no market"),
            where="session",
            value=f"{start} to {end}" if end != start else str(start),
            nearest=min(there, key=lambda day: abs((date.fromisoformat(day) - start).days), default=None),
            fix=f"scalpdesk data record deribit {coin} keeps them; "
            "a download has trades, bars and settlements",
        )
    instruments = Instruments([swap])
    options = [deribit_option(symbol) for symbol in set(got["symbol"].tolist()) if symbol.count("-") == 3]
    for option in sorted(options, key=lambda o: (o.expiry, o.strike, o.right.value)):
        instruments.add(option)
    kept = np.isin(got["symbol"], [item.symbol for item in instruments])
    got = {column: values[kept] for column, values in got.items()}
    ids = np.array([instruments.id_of(symbol) for symbol in got["symbol"]], dtype=np.int32)
    unit = np.where(ids == 0, float(swap.contract_size), 1.0)
    sides = [as_float(got[name]) for name in ("bid", "ask")]
    sizes = [np.nan_to_num(as_float(got[f"{name}_amount"])) / unit for name in ("bid", "ask")]
    # the first that was seen: what is published later must not be known at the open
    interest = dict(zip(got["symbol"][::-1], as_float(got["open_interest"])[::-1].tolist(), strict=True))
    swap_ns = got["ts"][ids == 0]
    return MarketTape(
        name=manifest.name,
        kind=manifest.kind,
        underlying=swap.symbol,
        sessions=sessions,
        instruments=instruments,
        quotes=QuoteColumns(got["ts"].astype(np.int64), ids, *sides, *sizes),
        open_interest={
            str(symbol): int(held)
            for symbol, held in interest.items()
            if symbol != swap.symbol and math.isfinite(held)
        },
        funding=_funding(catalog, manifest.name, coin, sessions),
        variance_clock=CALENDAR.name,
        settlement_prices=_settlements(catalog, manifest.name, coin),
        quote_seconds=float(np.median(np.diff(swap_ns)) / 1e9) if len(swap_ns) > 1 else 60.0,
        notes=manifest.notes,
    )


def _days_with(catalog: Path, name: str, coin: str, symbol: str, days: Iterable[str]) -> list[str]:
    """Return which of the days have tickers of a symbol."""
    select, connection = "SELECT count(*) AS n FROM rows WHERE symbol = ?", connect()
    return [
        path.stem
        for path in day_files(catalog, name, "tickers", coin, days)
        if read_columns(connection, [path], select, [symbol])["n"][0]
    ]


def _stored(
    catalog: Path, name: str, table: str, coin: str, select: str, days: Iterable[str] | None = None
) -> list[tuple[Any, ...]]:
    """Return the rows that a query over ``rows`` finds in the files of a table; empty without a file."""
    files = day_files(catalog, name, table, coin, days)
    if not files:
        return []
    columns = read_columns(connect(), files, select)
    return list(zip(*(column.tolist() for column in columns.values()), strict=True))


def _funding(catalog: Path, name: str, coin: str, sessions: Sequence[Session]) -> tuple[FundingRate, ...]:
    symbol = perpetual(coin).symbol
    select = (
        f"SELECT epoch_ns(ts), rate_8h, index_price FROM rows WHERE symbol = {sql_text(symbol)} ORDER BY ts"  # noqa: S608
    )
    found = _stored(catalog, name, "funding", coin, select, [session.day.isoformat() for session in sessions])
    return tuple(
        FundingRate(symbol, at, Decimal(str(rate)), Decimal(str(index))) for at, rate, index in found
    )


def _settlements(catalog: Path, name: str, coin: str) -> dict[tuple[str, date], float]:
    """Return the price that each day's deliveries were settled at."""
    found = _stored(
        catalog, name, "settlements", coin, "SELECT epoch_ns(ts), max(index_price) FROM rows GROUP BY 1"
    )
    return {(perpetual(coin).symbol, from_ns(at).date()): price for at, price in found}


def index_closes(catalog: Path, name: str, coin: str) -> dict[date, float]:
    """Return the venue's volatility index at the end of each day, fractions; empty without such a table."""
    select = "SELECT epoch_ns(ts), close FROM rows ORDER BY ts"
    return {account_day(at): vol for at, vol in _stored(catalog, name, "volatility_index", coin, select)}


# research -----------------------------------------------------------------------------------------------

_SMILE = ("days", "forward", "atm_vol", "risk_reversal", "butterfly")
_PREMIUM = ("iv_30d", "dvol", "window_days", "trailing_vol", "premium", "ratio", "later_vol")
_PROCESSED: dict[str, dict[str, str]] = {
    "realised_vol": {"day": "DATE"}
    | dict.fromkeys(("open", "high", "low", "close", "vol", "bipower"), "DOUBLE"),
    "term_structure": {"ts": "TIMESTAMPTZ", "expiry": "DATE"} | dict.fromkeys(_SMILE, "DOUBLE"),
    "variance_premium": {"day": "DATE"} | dict.fromkeys(_PREMIUM, "DOUBLE"),
}
"""Columns of the tables in ``data/processed``. Meaning and units: docs/howto/venue-data.md."""


def research_tables(
    tape: MarketTape,
    *,
    every_hours: int = 24,
    windows: Sequence[int] = WINDOWS,
    index: Mapping[date, float] | None = None,
    progress: Progress = no_progress,
) -> dict[str, list[dict[str, Any]]]:
    """Measure a coin market: realised volatility, term structure of implied volatility, variance premium.

    The last term structure of a day, and ``iv_30d``, are a minute before its end, or as of the last quote of
    a day that was recorded in part. ``windows`` are the days of the trailing and the later realised
    volatilities that the premium is taken against, ``index`` the venue's own volatility
    index at the end of each day, a fraction.
    """
    found: dict[str, list[dict[str, Any]]] = {table: [] for table in _PROCESSED}
    implied: dict[date, float] = {}
    for done, session in enumerate(tape.sessions):
        progress(done, len(tape.sessions), session.day.isoformat())
        found["realised_vol"] += _realised(tape, session)
        stamps = tape.quotes.between(session.open_ns, session.close_ns).ts_ns
        last_ns = session.close_ns - BEFORE_CLOSE_NS
        if len(stamps) and stamps[-1] + _SAMPLE_NS < last_ns:  # later, its options would have less time left
            last_ns = int(stamps[-1])
        at_ns = last_ns
        while at_ns > session.open_ns:
            chain = chain_quotes_at(tape, at_ns)
            found["term_structure"] += term_structure(chain)
            if at_ns == last_ns:
                implied[session.day] = implied_vol_30d(chain) or math.nan
            at_ns -= every_hours * HOUR_NS
    found["term_structure"].sort(key=lambda row: (row["ts"], row["expiry"]))
    variances = {row["day"]: row["vol"] ** 2 for row in found["realised_vol"]}
    for row in found["realised_vol"]:
        for window in windows:
            # a day without a volatility of its own leaves its windows without
            before, after = (
                [variances.get(row["day"] + timedelta(days=n), math.nan) for n in days]
                for days in (range(1 - window, 1), range(1, window + 1))
            )
            trailing, later = (math.sqrt(np.mean(part)) for part in (before, after))
            made = {"day": row["day"], "iv_30d": implied[row["day"]], "window_days": float(window)}
            made |= {"dvol": (index or {}).get(row["day"]), "trailing_vol": trailing, "later_vol": later}
            if math.isfinite(made["iv_30d"]) and trailing > 0.0:
                premium = variance_premium(made["iv_30d"], trailing)
                made |= {"premium": premium.variance, "ratio": premium.ratio}
            found["variance_premium"].append(made)
    return found


def _realised(tape: MarketTape, session: Session) -> list[dict[str, Any]]:
    """Return the volatility of a day from five-minute mids of the perpetual; nothing where it has too few."""
    quotes = tape.quotes.between(session.open_ns, session.close_ns)
    stamps, mids = quotes.mids(tape.instruments.id_of(tape.underlying))
    grid = np.arange(session.open_ns, session.close_ns + 1, _SAMPLE_NS)
    # after the last quote of a day that was recorded in part, its price stands still
    grid = grid[grid < stamps.max(initial=0) + _SAMPLE_NS]
    rows = np.searchsorted(stamps, grid, side="right") - 1
    closes = mids[rows[rows >= 0]]
    if len(closes) < 3:
        return []
    a_year = DAYS_PER_YEAR * DAY_NS / _SAMPLE_NS
    plain = realized_vol(closes, "close_to_close", None, a_year, zero_mean=True).vol
    bipower = realized_vol(closes, "bipower", None, a_year).vol
    edges = {"open": mids[0], "high": mids.max(), "low": mids.min(), "close": mids[-1]}
    return [{"day": session.day, **edges, "vol": plain, "bipower": bipower}]


def term_structure(chain: ChainQuotes) -> list[dict[str, Any]]:
    """Return a line an expiry: volatility at the forward, 25-delta risk reversal and butterfly, fractions."""
    return [
        {
            "ts": chain.ts_ns,
            "expiry": entry.label.expiry,
            "days": entry.years * DAYS_PER_YEAR,
            "forward": entry.forward,
            "atm_vol": entry.atm_vol,
            "risk_reversal": entry.risk_reversal,
            "butterfly": entry.butterfly,
        }
        for entry in fit_chain(chain).surface.expiries
        if entry.smile is not None and isinstance(entry.label, ExpiryLabel)
    ]


def write_processed(folder: Path, tables: Mapping[str, Sequence[Row]]) -> dict[str, int]:
    """Write research tables as Parquet files of their names; return their rows."""
    with connect() as connection:
        return {
            table: write_table(
                connection, _registered(connection, _PROCESSED[table], rows), folder / f"{table}.parquet"
            )
            for table, rows in tables.items()
        }
