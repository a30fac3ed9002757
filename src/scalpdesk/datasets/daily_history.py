"""Daily bars behind every volatility forecast: packaged series, a daily data set, or a file of the user's."""

import csv
from bisect import bisect_left
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from scalpdesk.core.errors import DataError
from scalpdesk.core.units import DAY_SECONDS, count_text
from scalpdesk.datasets.daily_checks import bar_day, sound_bars
from scalpdesk.datasets.embedded.days import index_rows, us_date
from scalpdesk.datasets.manifests import read_manifest
from scalpdesk.datasets.store import connect, day_file, day_files, duckdb_error, read_columns
from scalpdesk.instruments.deribit import coin_of, is_perpetual, lists_coin
from scalpdesk.volatility.ohlc import COLUMNS

PACKAGED = {"sp500": "S&P 500", "nasdaq": "NASDAQ Composite"}
"""Daily series inside the installed arch package, 1999 to 2018."""

VIX_CLOSES = 252
STALE_DAYS = 7
"""Calendar days after which a daily figure is no longer the latest."""


@dataclass(frozen=True, slots=True)
class DailyHistory:
    """Daily bars, oldest first, and where they are from."""

    source: str
    days: tuple[date, ...]
    bars: dict[str, list[float]]
    notes: tuple[str, ...] = ()

    def before(self, day: date, count: int | None = None) -> "DailyHistory":
        """Return the bars that end before ``day``: the last ``count`` of them, or all."""
        high = bisect_left(self.days, day)
        kept = slice(0 if count is None else max(high - count, 0), high)
        bars = {name: column[kept] for name, column in self.bars.items()}
        return DailyHistory(self.source, self.days[kept], bars, self.notes)

    def why_stale(self, day: date) -> str | None:
        """Return why the last bar is too old to forecast ``day`` from; None where it is not."""
        if not self.days or (day - self.days[-1]).days <= STALE_DAYS:
            return None
        return f"the daily history ends on {self.days[-1]}, {(day - self.days[-1]).days} days before {day}"


NO_HISTORY = DailyHistory("none", (), {name: [] for name in COLUMNS})


def packaged_history(series: str) -> DailyHistory:
    """Return ``sp500`` or ``nasdaq`` out of the arch package, read as text.

    Raises DataError when the package's files are not there.
    """
    rows = index_rows(series)
    bars = {name: [float(row[place]) for row in rows] for place, name in enumerate(COLUMNS, start=1)}
    return DailyHistory(
        f"arch.data.{series} ({PACKAGED[series]})", tuple(us_date(row[0]) for row in rows), bars
    )


def packaged_vix() -> DailyHistory:
    """Return the closes of the VIX out of the arch package, 2014 to 2018, in points.

    Raises DataError when the package's files are not there.
    """
    rows = [row for row in index_rows("vix") if row[1] not in {"", "."}]
    closes = [float(row[1]) for row in rows]
    return DailyHistory("arch.data.vix (VIX)", tuple(us_date(row[0]) for row in rows), {"close": closes})


def vix_before(day: date) -> float | None:
    """Return the last close of the VIX that was known on ``day``, in points to two decimals, or None."""
    known = vix_closes_before(day)
    return None if known is None else round(100 * known[1], 2)


def vix_closes_before(day: date) -> tuple[list[float], float] | None:
    """Return the VIX closes of the year before the last one known on ``day``, and that last one (fractions).

    None where the packaged series (2014 to 2018) has no value of the week before.
    """
    known = packaged_vix().before(day)
    if not known.days or (day - known.days[-1]).days > STALE_DAYS:
        return None
    levels = [points / 100.0 for points in known.bars["close"]]
    return levels[:-1][-VIX_CLOSES:], levels[-1]


def find_history(catalog: Path, data_set: str, symbol: str, given: str | None) -> DailyHistory:
    """Return the daily history of ``symbol``.

    ``given`` is a data set of the catalogue, or a CSV or Parquet file with columns date, open, high, low,
    close (and symbol). Without it ``NAME-daily`` of the catalogue is looked into (of ``NAME-second`` and
    ``NAME-hour`` too). Raises DataError when what was given is not there or has no such symbol or column.
    """
    if given is None:
        name = f"{data_set.removesuffix('-second').removesuffix('-hour')}-daily"
        there = (catalog / name / "trades" / _key(symbol)).is_dir()
        return _from_catalog(catalog, name, symbol) if there else NO_HISTORY
    path = Path(given)
    readers = {".csv": _from_csv, ".parquet": _from_parquet}
    read = readers.get(path.suffix.lower())
    if read is None:
        return _from_catalog(catalog, given, symbol)
    if not path.is_file():
        raise DataError("there is no such file", where="--history, data.daily_history", value=str(path))
    got = read(path, symbol)
    if not len(got["day"]):
        raise DataError(f"the file has no daily bar of {symbol}", where=str(path))
    return _adjusted(path.name, symbol, got, [])


def _key(symbol: str) -> str:
    """Return the folder of a symbol; of a perpetual its coin's, where the instruments of a coin are."""
    return coin_of(symbol) if is_perpetual(symbol) else symbol


def _from_catalog(catalog: Path, name: str, symbol: str) -> DailyHistory:
    manifest = read_manifest(catalog, name)
    files = day_files(catalog, name, "trades", _key(symbol))
    if not files or manifest.bar_seconds < DAY_SECONDS:
        raise DataError(
            f"this data set has no daily bars of {symbol}",
            where="--history, data.daily_history",
            value=name,
            fix="import daily bars (scalpdesk data import lean PATH makes NAME-daily), or name a CSV file",
        )
    with connect() as connection:
        got = read_columns(
            connection,
            files,
            # a bar is stamped with its start; its end can fall on the next UTC day
            "SELECT strftime(bar_start, '%Y-%m-%d') AS day, open, high, low, close FROM rows "
            "WHERE symbol = ? OR NOT ? ORDER BY ts",
            [symbol, is_perpetual(symbol)],
        )
        splits = _splits(connection, catalog, name, symbol)
    return _adjusted(f"{name} ({symbol})", symbol, got, splits)


def _splits(connection: Any, catalog: Path, name: str, symbol: str) -> list[tuple[date, float]]:
    path = day_file(catalog, name, "corporate_actions", symbol, "all")
    if not path.is_file():
        return []
    select = (
        "SELECT strftime(ex_date, '%Y-%m-%d') AS day, amount::DOUBLE AS factor FROM rows "
        "WHERE action = 'split' ORDER BY ex_date"
    )
    got = read_columns(connection, [path], select)
    return [
        (date.fromisoformat(day), float(factor))
        for day, factor in zip(got["day"], got["factor"], strict=True)
    ]


def _adjusted(
    source: str, symbol: str, got: dict[str, Any], splits: list[tuple[date, float]]
) -> DailyHistory:
    """Return the bars adjusted for the booked splits, and checked."""
    days = tuple(date.fromisoformat(str(day)[:10]) for day in got["day"])
    factors = [1.0] * len(days)
    for ex_date, factor in splits:
        factors = [held * factor if day < ex_date else held for day, held in zip(days, factors, strict=True)]
    bars = {
        name: [float(price) * factor for price, factor in zip(got[name], factors, strict=True)]
        for name in COLUMNS
    }
    notes = (f"adjusted for {count_text(len(splits), 'split')}; dividends are not",) if splits else ()
    sound = sound_bars(symbol, source, days, bars, trades_daily=lists_coin(coin_of(symbol)))
    return DailyHistory(source, sound.days, sound.bars, (*notes, *sound.notes))


def _from_parquet(path: Path, symbol: str) -> dict[str, Any]:
    with connect() as connection:
        try:
            described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
            names = {row[0].lower() for row in described}
            _refuse_missing(names, path)
            where, parameters = ("WHERE upper(symbol) = ?", [symbol]) if "symbol" in names else ("", [])
            got: dict[str, Any] = connection.execute(
                "SELECT strftime(date, '%Y-%m-%d') AS day, open::DOUBLE AS open, high::DOUBLE AS high, "  # noqa: S608 - our own SQL, values are parameters
                f"low::DOUBLE AS low, close::DOUBLE AS close FROM read_parquet(?) {where} ORDER BY date",
                [str(path), *parameters],
            ).fetchnumpy()
        except duckdb_error() as error:
            raise DataError(
                f"cannot read daily bars: {str(error).splitlines()[0]}", where=str(path)
            ) from error
    return got


def _from_csv(path: Path, symbol: str) -> dict[str, Any]:
    with path.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines)
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        _refuse_missing(set(reader.fieldnames), path)
        got: dict[str, list[Any]] = {"day": [], **{name: [] for name in COLUMNS}}
        for row in reader:
            if row.get("symbol", symbol).upper() != symbol:
                continue
            try:
                got["day"].append(bar_day(row["date"]).isoformat())
                for name in COLUMNS:
                    got[name].append(float(row[name]))
            except (ValueError, TypeError, AttributeError) as problem:
                raise DataError(
                    f"not a daily bar: {problem}",
                    where=f"{path}:{reader.line_num}",
                    fix="write lines of date,open,high,low,close with dates as 2018-02-05",
                ) from problem
    order = sorted(range(len(got["day"])), key=got["day"].__getitem__)
    return {name: [column[i] for i in order] for name, column in got.items()}


def _refuse_missing(names: set[str], path: Path) -> None:
    missing = [name for name in ("date", *COLUMNS) if name not in names]
    if missing:
        raise DataError(
            f"the file has no column {missing[0]}",
            where=str(path),
            value=sorted(names),
            fix="daily bars have the columns date, open, high, low, close",
        )
