"""Import of one wide table of an option chain, as people have it: quotes beside the price of the underlying.

Columns are known by their usual names (ORATS, OptionsDX, Cboe, ThetaData, Polygon, IVolatility), calls and
puts may stand beside each other. Every cell is read as text, so that a refusal shows it with its line, and
all that is missing is named at once.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from scalpdesk.core.errors import DataError
from scalpdesk.core.units import count_text
from scalpdesk.datasets.importers import chain_cells as cells
from scalpdesk.datasets.importers.base import ImportReport, Progress, no_progress
from scalpdesk.datasets.importers.chain_columns import MAPPED, NAMES, SIDED, plain, sided
from scalpdesk.datasets.importers.staged import (
    EXCHANGE_ZONE,
    NO_VALUE,
    TableSource,
    mark_absent_sides,
    refuse_impossible_times,
    shown_shares,
    unreadable,
)
from scalpdesk.datasets.importers.tabular import ImportChoices, check_mapping, store_rows
from scalpdesk.datasets.importers.vendor_files import as_csv
from scalpdesk.datasets.importers.vendor_formats import INTEREST_TIME, OCC_TAIL
from scalpdesk.datasets.store import (
    NO_FIGURE,
    SCHEMAS,
    VALUE_COLUMNS,
    connect,
    duckdb_error,
    sql_name,
    sql_text,
)
from scalpdesk.instruments.classes import INDICES, UnknownClassError, underlying_of_root, us_option
from scalpdesk.instruments.contract import OptionContract

_FIGURES = (
    *("strike", "bid", "ask", "bid_size", "ask_size", "open_interest", "multiplier"),
    *("underlying_price", "underlying_bid", "underlying_ask"),
)
_THETA = {"msofday", "right"}
_THOUSANDTHS = 1000
"""Strikes of OCC and of ThetaData's old interface for one in dollars."""
_VENDORS = (
    {"quotereadtime", "underlyinglast"},
    {"expirdate", "strike"},
    {"quotedatetime", "optiontype", "underlyingbid"},
    _THETA,
    {"bidcondition", "askcondition"},
    {"impliedvol", "iverror"},
    {"siptimestamp"},
)
"""Columns by which vendors are known whose bid of 0 is the exchange's own: OptionsDX, ORATS, Cboe, ThetaData
(the old and the new interface), Polygon."""
_OCC = rf"^(O:)?[A-Z]{{1,6}}\d?\s*{OCC_TAIL}"
_COIN_OPTION = r"[A-Z0-9]+([-_]USD[CT]?)?-(\d{1,2}[A-Z]{3}\d{2}|\d{6}|\d{8})-[\dD.]+-[CP]"
"""Symbols of coin options on Deribit, OKX, Binance and Bybit."""
_STANDARD = "REGULAR"
"""Contract size of Yahoo's for the class's own."""
_FEW = 3
"""Known columns by which a line is taken for the heading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainChoices:
    """Properties of a wide table given by the user."""

    name: str
    underlying: str | None = None
    """None: as the table has it."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The table's column by the name here (:data:`MAPPED`)."""
    timezone: str | None = None
    dates: str | None = None
    """Order of dates that do not begin with their year: ``mdy`` or ``dmy``."""
    decimal: str | None = None
    """``comma`` or ``point``; None to see it from the figures."""
    time: str | None = None
    """New York time of day, ``HH:MM``, of rows that have a date alone."""
    default_size: int | None = None
    """Size of a quote without one, contracts or shares."""
    zero_bid: str | None = None
    """``none`` takes a bid of 0 for a missing quote, ``real`` for no buyer; None: by the format."""
    spread: float = 0.02
    """Spread of the quotes that are made of the underlying's price, currency per unit."""


class _ChainTable(NamedTuple):
    """The table as it was read, and where its columns stand."""

    connection: Any
    source: TableSource
    heading: Mapping[str, str]
    """Name of the heading's cell by the name here; of the sides of a row too."""
    sides: tuple[str, ...]
    """``call_`` and ``put_``, or an empty text for one contract a row."""
    lines_above: int
    """Lines above the heading."""
    unread: tuple[str, ...]


def import_chain(
    catalog: Path, path: Path, choices: ChainChoices, progress: Progress = no_progress
) -> list[ImportReport]:
    """Read a wide table into the data set; rows of a symbol between its first and last new one are replaced.

    Raises DataError, naming all that is missing or unreadable, each with its cell and line.
    """
    with as_csv(path) as file:
        table = _read(path, file, choices)
    report = ImportReport(choices.name, files_read=1)
    problems = _Problems(path)
    _leave_out_lines(table, report)
    _stage(table, catalog, choices, problems, report)
    problems.refuse()
    connection, source = table.connection, table.source
    symbols = [row[0] for row in connection.execute("SELECT DISTINCT base FROM chain ORDER BY 1").fetchall()]
    for base in symbols:
        _compare_terms(table, base, catalog, choices, problems)
    problems.refuse()
    for base in symbols:
        _say_what_is_made(table, base, choices, report)
        own = ImportChoices(choices.name, base, is_share=base not in INDICES)
        for kind, select in _parts(table, base, choices):
            known = {"bid", "ask", "bid_size", "ask_size"} if kind == "quotes" else set(VALUE_COLUMNS[kind])
            typed = ", ".join(
                f"{name if name in known else 'NULL'}::{SCHEMAS[kind][name]} AS {sql_name(name)}"
                for name in VALUE_COLUMNS[kind]
            )
            connection.execute(
                "CREATE OR REPLACE TEMP TABLE incoming AS SELECT ts, NULL::TIMESTAMPTZ AS bar_start, "  # noqa: S608 - our own words
                f"written, NULL::BIGINT AS seconds, file_row, {typed} FROM ({select})"
            )
            if not connection.execute("SELECT count(*) FROM incoming").fetchone()[0]:
                continue
            refuse_impossible_times(connection, source)
            if kind == "quotes":
                mark_absent_sides(connection, report)
            store_rows(connection, catalog, source, own, kind, report, progress, whole_days=False)
    if table.unread:
        report.note(f"not read: {', '.join(table.unread)}")
    return [report]


class _Problems:
    """Missing columns and unreadable cells, with the correction of each."""

    def __init__(self, path: Path) -> None:
        self._path, self._found, self._fixes = path, list[str](), dict[str, None]()
        self._first: tuple[int, object] | None = None

    def add(self, what: str, fix: str, *, row: int | None = None, value: object = None) -> None:
        """Note a problem; ``row`` is its line."""
        cell = "" if row is None else f" (line {row}: {value!r})"
        self._found.append(what + cell)
        self._fixes[fix] = None
        if self._first is None and row is not None:
            self._first = row, value

    def refuse(self) -> None:
        """Raise DataError where there is a problem."""
        if not self._found:
            return
        what, fix = "; ".join(self._found), "; ".join(self._fixes)
        if self._first is None:
            raise DataError(what, where=str(self._path), fix=fix)
        row, value = self._first
        raise DataError(what, where=f"{self._path}:{row}", value=value, fix=fix)


def _read(path: Path, file: Path, choices: ChainChoices) -> _ChainTable:
    """Read every cell as text into the table ``wide``, and find the columns."""
    connection = connect()
    is_parquet = file.suffix == ".parquet"
    above, options = 0, ""
    if not is_parquet:
        above, options = _layout(connection, path, file, choices)
    source = TableSource(path, "Parquet" if is_parquet else "CSV")
    nothing = ", ".join(map(sql_text, NO_VALUE))
    reader = "read_parquet(?)" if is_parquet else f"read_csv(?, {options})"
    try:
        connection.execute(
            f"CREATE TEMP TABLE wide AS SELECT row_number() OVER () + {above} AS file_row, "  # noqa: S608 - our own reader
            f"CASE WHEN trim(COLUMNS(*)::VARCHAR) NOT IN ({nothing}) THEN trim(COLUMNS(*)::VARCHAR) END "
            f"FROM {reader}",
            [str(file)],
        )
    except duckdb_error() as error:
        raise unreadable(source, error) from error
    found = [row[0] for row in connection.execute("DESCRIBE wide").fetchall()][1:]
    _refuse_coins(connection, found, path)
    heading, unread = _columns(connection, found, choices.columns)
    sides = tuple(
        f"{side}_" for side in ("call", "put") if f"{side}_bid" in heading or f"{side}_ask" in heading
    )
    return _ChainTable(connection, source, heading, sides or ("",), above, unread)


def _refuse_coins(connection: Any, found: Sequence[str], path: Path) -> None:
    """Refuse a chain of options on a coin: it would become options on 100 shares.

    Raises DataError with the first contract.
    """
    for column in found:
        row, cell, share = connection.execute(
            f"SELECT min(file_row) FILTER (is_coin), arg_min(cell, file_row) FILTER (is_coin), "  # noqa: S608 - quoted names
            f"avg(is_coin::INTEGER) FROM (SELECT file_row, {sql_name(column)} AS cell, "
            f"regexp_full_match(upper(trim({sql_name(column)})), {sql_text(_COIN_OPTION)}) AS is_coin "
            "FROM wide LIMIT 1000) WHERE cell IS NOT NULL"
        ).fetchone()
        if share is not None and share > 0.5:
            raise DataError(
                "these are options on a coin; this reader makes options on 100 shares of what it reads",
                where=f"{path}:{row}",
                value=cell,
                fix="take coin data by scalpdesk data download deribit, or record it: scalpdesk data record",
            )


def _layout(connection: Any, path: Path, file: Path, choices: ChainChoices) -> tuple[int, str]:
    """Return the number of lines above the heading, and how DuckDB reads the file."""
    with file.open("rb") as opened:
        start = opened.read(4)
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    try:
        lines = connection.execute(
            "SELECT * FROM read_csv(?, header = false, delim = '\x01', quote = '', escape = '', "  # noqa: S608 - our own words
            f"encoding = '{encoding}', strict_mode = false, auto_detect = false, "
            "columns = {'line': 'VARCHAR'}) LIMIT 30",
            [str(file)],
        ).fetchall()
    except duckdb_error() as error:
        raise unreadable(TableSource(path, "CSV"), error) from error
    known = {name for names in NAMES.values() for name in names.split()}
    best = (0, 0, ",")
    for number, (line,) in enumerate(lines):
        for sign in ",;\t|":
            heads = str(line or "").split(sign)
            count = sum(plain(each) in known or sided(plain(each)) is not None for each in heads)
            count += sum(each.strip(' "') in choices.columns.values() for each in heads)
            if count > best[0]:
                best = (count, number, sign)
    count, above, sign = best
    if count < _FEW:
        raise DataError(
            f"no heading of a chain: {count_text(count, 'column')} of it known",
            where=f"{path}:1",
            value=str(lines[0][0])[:200] if lines else "",
            fix="name the columns: --map NAME=COLUMN with NAME of " + ", ".join(MAPPED),
        )
    nulls = ", ".join(map(sql_text, (*NO_VALUE, "NaN", "nan")))
    return above, (
        f"header = true, all_varchar = true, delim = '{sign}', quote = '\"', escape = '\"', skip = {above}, "
        f"null_padding = true, strict_mode = false, encoding = '{encoding}', nullstr = [{nulls}]"
    )


def _columns(
    connection: Any, found: Sequence[str], mapped: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the column of each name here, and the columns that are not read."""
    check_mapping(mapped, MAPPED, found, "a chain")
    by_plain = {plain(each): each for each in reversed(found) if each not in mapped.values()}
    heading = dict(mapped)
    taken = set(mapped.values())
    for name, usual in NAMES.items():
        fits = [by_plain[each] for each in usual.split() if each in by_plain]
        for column in fits:
            if name in heading or (column in taken and name != "root"):
                continue
            if _fits(connection, name, column):
                heading[name] = column
                taken.add(column)
    for title, column in by_plain.items():
        of_side = sided(title)
        if of_side and of_side not in heading and column not in taken:
            heading[of_side] = column
            taken.add(column)
    return heading, tuple(each for each in found if each not in taken)


def _fits(connection: Any, name: str, column: str) -> bool:
    """Return whether the first cells of a column may be of this name, where its title may mean several."""
    asked = {
        "symbol": f"regexp_matches(cell, {sql_text(_OCC)})",
        "ts": cells.has_time("cell"),
        "underlying": r"regexp_full_match(cell, '\^?[A-Z][A-Za-z0-9./]*([ -][A-Z])?')",
        "root": r"regexp_full_match(cell, '[A-Za-z]+\d?')",
        "underlying_price": r"regexp_full_match(cell, '[$\d.,\s]+')",
        "settlement": r"regexp_matches(lower(cell), 'am|pm|cash|phys|a\.m|p\.m')",
    }
    if name not in asked:
        return True
    return bool(
        connection.execute(
            f"SELECT coalesce(avg(({asked[name]})::INTEGER) > 0.5, false) FROM "  # noqa: S608 - our own words
            f"(SELECT {sql_name(column)} AS cell FROM wide WHERE {sql_name(column)} IS NOT NULL LIMIT 1000)"
        ).fetchone()[0]
    )


def _leave_out_lines(table: _ChainTable, report: ImportReport) -> None:
    """Leave out headings that come again and lines with one cell, such as a sum at the end."""
    found = [row[0] for row in table.connection.execute("DESCRIBE wide").fetchall()][1:]
    filled = " + ".join(f"({sql_name(each)} IS NOT NULL)::INTEGER" for each in found)
    for condition, words in (
        (f"{sql_name(found[0])} = {sql_text(found[0])}", "that repeat the heading: left out"),
        (f"{filled} < 2", "with one cell, such as a sum at the end: left out"),
    ):
        count, row = table.connection.execute(
            f"SELECT count(*), min(file_row) FROM wide WHERE {condition}"  # noqa: S608 - quoted names
        ).fetchone()
        if count:
            table.connection.execute(f"DELETE FROM wide WHERE {condition}")  # noqa: S608 - the same
            report.count(words, count, table.source.place(row))


def _stage(
    table: _ChainTable, catalog: Path, choices: ChainChoices, problems: _Problems, report: ImportReport
) -> None:
    """Write the table ``chain``, a row a contract (or the underlying) and instant, from ``wide``."""
    connection, heading = table.connection, table.heading
    cell = {name: sql_name(column) for name, column in heading.items()}
    order = _day_order(table, choices, problems)
    comma = _has_decimal_comma(table, choices, problems)
    _missing_columns(table, catalog, choices, problems)
    instant = _instant(table, order, choices.time)
    given = choices.underlying.upper() if choices.underlying else None
    selects = []
    for side in table.sides:
        values = {}
        for name in ("symbol", "root", "underlying", "expiry", "strike", "right", "style", "settlement"):
            values[name] = cell.get(name, "NULL")
        for name in _FIGURES:
            values[name] = cell.get(
                f"{side}{name}", cell.get(name, "NULL") if name not in SIDED or not side else "NULL"
            )
        values["multiplier"] = f"nullif(upper(trim({values['multiplier']})), {sql_text(_STANDARD)})"
        if side:
            values["right"] = sql_text(side[0].upper())
        sizes = cell.get(f"{side}sizes")
        if sizes and values["bid_size"] == "NULL":
            values["bid_size"] = f"nullif(trim(split_part({sizes}, 'x', 1)), '')"
            values["ask_size"] = f"nullif(trim(split_part({sizes}, 'x', 2)), '')"
        texts = ", ".join(f"{sql} AS {sql_name(name + '_text')}" for name, sql in values.items())
        selects.append(f"SELECT file_row, {instant} , {texts} FROM wide")  # noqa: S608 - quoted names
    numbers = ", ".join(
        f"{cells.number(sql_name(name + '_text'), comma=comma)} AS {name}" for name in _FIGURES
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE parsed AS SELECT *, "  # noqa: S608 - our own words
        rf"regexp_replace(upper(replace(symbol_text, ' ', '')), '^O:', '') AS occ, "
        f"{cells.day('expiry_text', order)} AS expiry, {cells.right('right_text')} AS side, {numbers}, "
        r"regexp_replace(ltrim(upper("
        rf"{sql_text(given) if given else 'underlying_text'}), '^'), '^([A-Z]+)[ /-]([A-Z])$', '\1.\2') "
        "AS written_base "
        f"FROM ({' UNION ALL '.join(selects)})"
    )
    _name_unreadable(table, problems)
    _name_scale(table, problems, report)
    _name_contracts(table, given)
    _give_zone(table, choices, problems, report)
    _fill_sizes(table, choices, problems)
    bid_none = (choices.zero_bid or ("real" if _is_of_opra(table) else "none")) == "none"
    if bid_none:
        count = connection.execute("SELECT count(*) FROM chain WHERE bid = 0 AND is_option").fetchone()[0]
        connection.execute("UPDATE chain SET bid = NULL WHERE bid = 0")
        connection.execute("UPDATE chain SET ask = NULL WHERE ask <= 0")
        if count:
            report.count("with a bid of 0: taken as missing (--zero-bid real keeps them)", count)
    beyond = f"open_interest NOT BETWEEN 0 AND {NO_FIGURE - 1}"
    count = connection.execute(f"SELECT count(*) FROM chain WHERE {beyond}").fetchone()[0]  # noqa: S608 - our own words
    if count:
        connection.execute(f"UPDATE chain SET open_interest = NULL WHERE {beyond}")  # noqa: S608 - the same
        report.count("with an open interest beyond sense: read as none", count)
    if given is None and connection.execute("SELECT count(*) FROM chain WHERE base IS NULL").fetchone()[0]:
        problems.add("the underlying is not named", "--underlying SYMBOL")


def _is_of_opra(table: _ChainTable) -> bool:
    titles = {plain(column) for column in (*table.heading.values(), *table.unread)}
    return any(each <= titles for each in _VENDORS)


def _day_order(table: _ChainTable, choices: ChainChoices, problems: _Problems) -> str:
    """Return the order of dates like 12/23/2015: the given one, or the only one in which all exist."""
    if choices.dates:
        return choices.dates
    names = [table.heading[name] for name in ("ts", "date", "expiry") if name in table.heading]
    if not names:
        return "mdy"
    rows = " UNION ALL ".join(f"SELECT file_row, {sql_name(name)} AS cell FROM wide" for name in names)  # noqa: S608 - quoted names
    parts = ", ".join(f"regexp_extract(cell, '{cells.MONTH_OR_DAY_FIRST}', {n})::INTEGER" for n in (1, 2))
    first, second, row, cell = table.connection.execute(
        f"SELECT max(p[1]), max(p[2]), min(file_row), arg_min(cell, file_row) FROM (SELECT *, [{parts}] AS p "  # noqa: S608 - our own words
        f"FROM ({rows}) WHERE regexp_matches(cell, '{cells.MONTH_OR_DAY_FIRST}'))"
    ).fetchone()
    if first is not None and max(first, second) <= 12:
        problems.add(
            "a date that can be read in two ways",
            "--dates mdy, or --dates dmy",
            row=_line(table, row),
            value=cell,
        )
    return "dmy" if first is not None and first > 12 else "mdy"


def _line(table: _ChainTable, row: int) -> int:
    return row + 1 if table.source.label == "CSV" else row


def _has_decimal_comma(table: _ChainTable, choices: ChainChoices, problems: _Problems) -> bool:
    """Return whether a comma marks the decimals; figures that may be both are named."""
    if choices.decimal:
        return choices.decimal == "comma"
    names = [
        c for n, c in table.heading.items() if n.rpartition("call_")[2].rpartition("put_")[2] in _FIGURES
    ]
    if not names:
        return False
    rows = " UNION ALL ".join(f"SELECT file_row, trim({sql_name(name)}) AS cell FROM wide" for name in names)  # noqa: S608 - quoted names
    kinds = {
        "comma": r"regexp_matches(cell, '^\D?0,|,(\d{1,2}|\d{4,})$|\.\d{3},')",
        "point": r"regexp_matches(cell, '\.(\d{1,2}|\d{4,})$|,\d{3}\.')",
        "either": r"regexp_matches(cell, ',\d{3}$')",
    }
    asked = ", ".join(
        f"min(file_row) FILTER ({sql}), arg_min(cell, file_row) FILTER ({sql})" for sql in kinds.values()
    )
    comma, cell, point, other, either, third = table.connection.execute(
        f"SELECT {asked} FROM ({rows})"  # noqa: S608 - our own words
    ).fetchone()
    if comma and point:
        problems.add(
            f"decimals with a point (line {_line(table, point)}: {other!r}) and with a comma",
            "--decimal comma, or --decimal point",
            row=_line(table, comma),
            value=cell,
        )
    elif either and not comma and not point:
        problems.add(
            "a comma that may mark thousands or decimals",
            "--decimal comma, or --decimal point",
            row=_line(table, either),
            value=third,
        )
    return comma is not None


def _missing_columns(table: _ChainTable, catalog: Path, choices: ChainChoices, problems: _Problems) -> None:
    """Name every column that a chain needs and the table lacks."""
    heading, has = table.heading, set(table.heading)
    wanted = {
        "times": "ts" in has or {"date", "time"} <= has or ("date" in has and choices.time is not None),
        "bids": bool(has & {"bid", "call_bid"}),
        "asks": bool(has & {"ask", "call_ask"}),
        "contracts": "symbol" in has
        or ({"expiry", "strike"} <= has and ("right" in has or table.sides != ("",))),
    }
    maps = {
        "times": "--map ts=COLUMN, or --map date=COLUMN --map time=COLUMN, or --time 15:45 where a row has a "
        "date alone",
        "bids": "--map bid=COLUMN",
        "asks": "--map ask=COLUMN",
        "contracts": "--map symbol=COLUMN, or --map expiry=COLUMN --map strike=COLUMN --map right=COLUMN",
    }
    halves = has & {"date", "time"}
    alone = () if len(halves) == 2 else (heading[each] for each in halves)
    columns = ", ".join((*table.unread, *alone))
    for what, is_there in wanted.items():
        if not is_there:
            problems.add(f"no column of {what}", maps[what], row=table.lines_above + 1, value=columns[:300])
    if not has & {"underlying_price", "underlying_ask"} and not _has_share(table, catalog, choices):
        problems.add(
            "no price of the underlying",
            "--map underlying_price=COLUMN, or import its quotes first: scalpdesk data import csv"
            f" --name {choices.name}",
            row=table.lines_above + 1,
            value=columns[:300],
        )


def _has_share(table: _ChainTable, catalog: Path, choices: ChainChoices) -> bool:
    """Return whether rows of the underlying are in the table, or its quotes in the data set."""
    terms = [sql_name(table.heading[each]) for each in ("expiry", "strike") if each in table.heading]
    if "symbol" in table.heading:
        terms = [f"nullif(regexp_matches({sql_name(table.heading['symbol'])}, {sql_text(_OCC)}), false)"]
    nothing = " AND ".join(f"{each} IS NULL" for each in terms) or "false"
    own = table.connection.execute(f"SELECT count(*) FROM wide WHERE {nothing}").fetchone()[0]  # noqa: S608 - quoted names
    return (
        bool(own)
        or bool(shown_shares(catalog, choices.name))
        or any((catalog / choices.name / "index_levels").glob("*"))
    )


def _instant(table: _ChainTable, order: str, clock: str | None) -> str:
    """Return the SQL of the columns ``ts_text``, ``local`` and ``zone``."""
    heading = table.heading
    if clock and "ts" not in heading and "date" in heading and "time" not in heading:
        text = sql_name(heading["date"])
        local = cells.moment(cells.day(text, order), cells.time_of_day(sql_text(clock)))
        return f"{text} AS ts_text, {local} AS local, {sql_text(EXCHANGE_ZONE)} AS zone"
    if "ts" in heading:
        text = sql_name(heading["ts"])
        return f"{text} AS ts_text, {cells.local_time(text, order)} AS local, {cells.zone(text)} AS zone"
    if not {"date", "time"} <= set(heading):
        return "NULL::VARCHAR AS ts_text, NULL::TIMESTAMP AS local, NULL::VARCHAR AS zone"
    date_text, time_text = (sql_name(heading[each]) for each in ("date", "time"))
    units = {"msofday": "ms", "quotetimehours": "hours"}
    seconds = cells.time_of_day(time_text, unit=units.get(plain(heading["time"]), ""))
    return (
        f"concat_ws(' ', {date_text}, {time_text}) AS ts_text, "
        f"{cells.moment(cells.day(date_text, order), seconds)} AS local, NULL::VARCHAR AS zone"
    )


def _name_unreadable(table: _ChainTable, problems: _Problems) -> None:
    """Name the first cell of each column that holds a text and no value."""
    zones = f"zone IS NULL OR zone = {sql_text(EXCHANGE_ZONE)} OR try_cast(zone AS INTEGER) IS NOT NULL"
    checks = {name: (f"{name}_text", f"{name} IS NULL") for name in ("expiry", *_FIGURES)}
    checks |= {
        "ts": ("ts_text", f"local IS NULL OR NOT ({zones})"),
        "right": ("right_text", "side IS NULL"),
    }
    for name, (text, bad) in checks.items():
        column = table.heading.get(name, name)
        _name_rows(
            table,
            problems,
            f"parsed WHERE {text} IS NOT NULL AND ({bad})",
            text,
            ("cell", f"of {column} cannot be read as {name}"),
            f"correct {column}, or --map another column",
        )
    if {"ts", "date"} & set(table.heading):
        bad, fix = "parsed WHERE ts_text IS NULL", "fill it in, or leave the row out"
        _name_rows(table, problems, bad, "''", ("row", "without a time"), fix)
    if "symbol" not in table.heading and {"expiry", "strike"} <= set(table.heading):
        terms = [f"{each} IS NULL" for each in ("expiry_text", "strike_text", "right_text")]
        terms = terms[:2] if table.sides != ("",) else terms
        _name_rows(
            table,
            problems,
            f"parsed WHERE ({' OR '.join(terms)}) AND NOT ({' AND '.join(terms)})",
            "''",
            ("row", "with a part of a contract only"),
            "give expiry, strike and right, or none of them for the underlying",
        )


def _name_rows(
    table: _ChainTable, problems: _Problems, bad: str, text: str, what: tuple[str, str], fix: str
) -> None:
    """Name the first of the rows that lie in ``bad``, a relation of SQL, and their number.

    ``text``: SQL of the cell to show.
    ``what``: What a row is, and what is wrong with it.
    """
    count, row, value = table.connection.execute(
        f"SELECT count(*), min(file_row), arg_min({text}, file_row) FROM {bad}"  # noqa: S608 - our own words
    ).fetchone()
    if count:
        noun, words = what
        problems.add(f"{count_text(count, noun)} {words}", fix, row=_line(table, row), value=value)


def _name_scale(table: _ChainTable, problems: _Problems, report: ImportReport) -> None:
    """Read strikes in thousandths of a dollar, and name those in another unit than the underlying's price."""
    row, text, ratio, is_thousandths = table.connection.execute(
        "SELECT min(file_row) FILTER (strike > 0), arg_min(strike_text, file_row) FILTER (strike > 0), "
        "median(strike) / median(coalesce(underlying_price, underlying_ask, "
        "CASE WHEN strike IS NULL THEN ask END)), avg((strike % 500 = 0)::INTEGER) > 0.5 FROM parsed"
    ).fetchone()
    if ratio is None:  # the old interface of ThetaData, without a price to tell by
        titles = {plain(column) for column in table.heading.values()}
        ratio = _THOUSANDTHS if is_thousandths and titles >= _THETA else 1.0
    if _THOUSANDTHS / 2 < ratio < 2 * _THOUSANDTHS:
        table.connection.execute(f"UPDATE parsed SET strike = strike / {_THOUSANDTHS}")  # noqa: S608 - a number
        report.note(f"strikes are thousandths of a dollar, such as {text}: read as dollars")
    elif not 0.02 < ratio < 50:
        problems.add(
            f"strikes are {ratio:.3g} times the price of the underlying: they are in another unit",
            "divide or multiply the column of strikes in the file",
            row=_line(table, row),
            value=text,
        )


def _name_contracts(table: _ChainTable, given: str | None) -> None:
    """Make the table ``chain`` of the parsed cells: contracts by OCC symbol, and whose they are."""
    connection = table.connection
    is_occ = f"regexp_matches(occ, '{OCC_TAIL}')"
    root = f"upper(coalesce(root_text, {sql_text(given) if given else 'written_base'}))"
    made = (
        f"replace({root}, '.', '') || strftime(expiry, '%y%m%d') || side "
        "|| printf('%08d', round(strike * 1000)::BIGINT)"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE chain AS SELECT *, written IS NOT NULL AS is_option, "  # noqa: S608 - our own words
        "NULL::TIMESTAMPTZ AS ts, "
        f"coalesce(written_base, regexp_replace(written, '{OCC_TAIL}', ''), occ) AS base "
        f"FROM (SELECT *, CASE WHEN {is_occ} THEN occ "
        f"WHEN expiry IS NOT NULL AND strike IS NOT NULL THEN {made} END AS written FROM parsed)"
    )
    found = connection.execute("SELECT DISTINCT base FROM chain WHERE base IS NOT NULL").fetchall()
    for (base,) in found:
        if (known := underlying_of_root(base)) != base:
            connection.execute("UPDATE chain SET base = ? WHERE base = ?", [known, base])


def _give_zone(table: _ChainTable, choices: ChainChoices, problems: _Problems, report: ImportReport) -> None:
    """Make instants of the local times: by their own zones, the given one, or the only one that fits."""
    connection = table.connection
    unzoned = connection.execute(
        "SELECT count(*) FROM chain WHERE local IS NOT NULL AND zone IS NULL"
    ).fetchone()[0]
    zone = choices.timezone
    if unzoned and zone is None:
        shares = {}
        for each in (EXCHANGE_ZONE, "UTC"):
            there = f"(local AT TIME ZONE '{each}' AT TIME ZONE '{EXCHANGE_ZONE}')"
            shares[each] = connection.execute(
                f"SELECT avg((isodow({there}) < 6 AND {there}::TIME BETWEEN '09:30' AND '16:15')::INTEGER) "  # noqa: S608 - our own zones
                "FROM chain WHERE zone IS NULL"
            ).fetchone()[0]
        likely = max(shares, key=lambda each: shares[each])
        other = min(shares.values())
        inside = ", ".join(f"read as {each} {share:.0%}" for each, share in shares.items())
        if shares[likely] >= 0.95 and other <= 0.75:
            zone = likely
            report.note(f"times without a zone read as {likely}: in the exchange's hours lie {inside}")
        else:
            problems.add(
                f"times without a zone; in the exchange's hours lie: {inside}",
                f"--timezone {likely}, or another zone",
            )
    connection.execute(
        "UPDATE chain SET ts = CASE WHEN try_cast(zone AS INTEGER) IS NOT NULL "
        "THEN (local - to_minutes(zone::INTEGER)) AT TIME ZONE 'UTC' "
        "ELSE local AT TIME ZONE coalesce(zone, ?) END "
        "WHERE zone IS NULL OR zone = ? OR try_cast(zone AS INTEGER) IS NOT NULL",
        [zone or EXCHANGE_ZONE, EXCHANGE_ZONE],
    )


def _fill_sizes(table: _ChainTable, choices: ChainChoices, problems: _Problems) -> None:
    """Give quotes without a size the chosen one; without a choice they are named."""
    connection = table.connection
    for side in ("bid", "ask"):
        lacks = f"{side}_size IS NULL AND {side} > 0"
        if choices.default_size is not None:
            connection.execute(f"UPDATE chain SET {side}_size = {choices.default_size} WHERE {lacks}")  # noqa: S608 - a whole number
            continue
        fix = "--default-size CONTRACTS, or --map bid_size=COLUMN --map ask_size=COLUMN"
        _name_rows(table, problems, f"chain WHERE {lacks}", side, ("quote", f"without {side} size"), fix)


def _compare_terms(
    table: _ChainTable, base: str, catalog: Path, choices: ChainChoices, problems: _Problems
) -> None:
    """Name roots without a class, and terms (style, settlement, multiplier) that are not those of theirs."""
    rows = table.connection.execute(
        f"SELECT regexp_replace(written, '{OCC_TAIL}', '') AS root, arg_min(written, file_row), "  # noqa: S608 - our own words
        "lower(style_text), lower(settlement_text), multiplier, min(file_row) FROM chain "
        "WHERE is_option AND base = ? GROUP BY 1, 3, 4, 5 ORDER BY 6",
        [base],
    ).fetchall()
    shares = shown_shares(catalog, choices.name) | (set() if base in INDICES else {base})
    named = set[str]()
    for root, symbol, style, settlement, multiplier, row in rows:
        option: OptionContract | None = None
        unknown = ""
        try:
            option = us_option(symbol, shares)
        except UnknownClassError as error:
            unknown = error.what
        stated: dict[str, object] = {}
        if style:
            stated["style"] = {"e": "european", "a": "american"}.get(style[0], style)
        if settlement and (word := _settlement(settlement, option)):
            stated["settlement"] = word
        if multiplier is not None:
            stated["multiplier"] = int(multiplier)
        known: dict[str, object] = {}
        if option is not None:
            known = {
                "style": option.style.value,
                "settlement": option.settlement.value,
                "multiplier": option.multiplier,
            }
        differing = {name: value for name, value in stated.items() if known.get(name) != value}
        if root in named or not (differing or unknown):
            continue
        named.add(root)
        lines = "".join(f", {name} = {value!r}".replace("'", '"') for name, value in stated.items())
        own = f'write into scalpdesk.toml [classes.{root}] with underlying = "{base}"{lines}'
        if unknown:
            problems.add(f"options of {root}: {unknown}", own, row=_line(table, row), value=symbol)
            continue
        differences = ", ".join(
            f"{name} {value} (its class: {known[name]})" for name, value in differing.items()
        )
        problems.add(
            f"the file says of {root}: {differences}",
            f"if the file is right, {own}; else correct the column",
            row=_line(table, row),
            value=symbol,
        )


def _settlement(text: str, option: OptionContract | None) -> str | None:
    """Return the catalogue's word for a settlement; ``am`` and ``pm`` say nothing of a physical one."""
    bare = re.sub(r"[^a-z]", "", text)
    if "phys" in bare:
        return "physical"
    is_am = bare.endswith("am") or bare.startswith("am")
    if option is not None and option.settlement.value == "physical" and "cash" not in bare:
        return "cash_am" if is_am else None
    return "cash_am" if is_am else "cash_pm" if "pm" in bare else None


def _say_what_is_made(table: _ChainTable, base: str, choices: ChainChoices, report: ImportReport) -> None:
    """Note of what the quotes of the underlying are made, and prices of one time that differ."""
    has = set(table.heading)
    if {"underlying_bid", "underlying_ask"} <= has or "underlying_price" not in has:
        return
    column = table.heading["underlying_price"]
    what = f"level of {base} is {column}"
    if base not in INDICES:
        what = f"quotes of {base} are made of {column}, {choices.spread:g} wide (--spread)"
    report.note(what)
    times, apart = table.connection.execute(
        "SELECT count(*), max(apart) FROM (SELECT max(underlying_price) - min(underlying_price) AS apart "
        "FROM chain WHERE base = ? GROUP BY ts HAVING apart > ?)",
        [base, choices.spread],
    ).fetchone()
    if times:
        report.note(
            f"{column} of {base} differs among rows of one time: at {count_text(times, 'time')}, "
            f"by up to {apart:.2f}; the last row of each counts"
        )


def _parts(table: _ChainTable, base: str, choices: ChainChoices) -> Iterator[tuple[str, str]]:
    """Yield the kind of rows and their SQL: the underlying first, so that its options have a class."""
    rows = f"FROM chain WHERE base = {sql_text(base)}"
    price = "underlying_price" in table.heading
    has_sides = {"underlying_bid", "underlying_ask"} <= set(table.heading)
    middle = "(underlying_bid + underlying_ask) / 2" if has_sides else "underlying_price"
    half = choices.spread / 2
    bid, ask = f"round({middle} - {half}, 4)", f"round({middle} + {half}, 4)"
    if has_sides:
        bid, ask = "underlying_bid", "underlying_ask"
    size = "NULL" if choices.default_size is None else str(choices.default_size)
    own = f"{sql_text(base)} AS written, file_row"
    last = f"{rows} AND {middle} > 0 QUALIFY row_number() OVER (PARTITION BY ts ORDER BY file_row DESC) = 1"
    quote = "bid, ask, bid_size, ask_size"
    if (price or has_sides) and base in INDICES:
        level = ", ".join(f"{middle} AS {name}" for name in ("open", "high", "low", "close"))
        yield "trades", f"SELECT ts, {own}, {level}, 0 AS volume {last}"
    elif price or has_sides:
        sizes = f"{size} AS bid_size, {size} AS ask_size"
        yield "quotes", f"SELECT ts, {own}, {bid} AS bid, {ask} AS ask, {sizes} {last}"
    elif base not in INDICES:
        yield "quotes", f"SELECT ts, {own}, {quote} {rows} AND NOT is_option"
    yield "quotes", f"SELECT ts, written, file_row, {quote} {rows} AND is_option"
    at = f"((ts AT TIME ZONE '{EXCHANGE_ZONE}')::DATE + TIME {INTEREST_TIME}) AT TIME ZONE '{EXCHANGE_ZONE}'"
    first = f"QUALIFY row_number() OVER (PARTITION BY written, {at} ORDER BY file_row) = 1"
    known = "is_option AND open_interest IS NOT NULL"
    yield (
        "open_interest",
        f"SELECT {at} AS ts, written, file_row, open_interest {rows} AND {known} {first}",
    )
