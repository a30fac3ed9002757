"""CSV and Parquet files as sources: rows of one kind, or one wide table of an option chain."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal
from zoneinfo import available_timezones

from scalpdesk.core.errors import ArgumentError, ConfigError, nearest_name
from scalpdesk.core.flags import Flag, Options
from scalpdesk.data_sources.contract import ImporterSpec, ImportRequest
from scalpdesk.datasets.importers.base import ImportReport


class TableFlags(Options, frozen=True, kw_only=True):
    """Flags of ``data import parquet``."""

    name: Annotated[str, Flag("Name of the data set; added to if it exists.")]
    underlying: Annotated[str, Flag("Underlying of the rows.", "SYMBOL")]
    columns: Annotated[
        tuple[str, ...],
        Flag(
            "The file's COLUMN is NAME of the catalogue; others are left out. May be repeated.",
            "NAME=COLUMN",
            "--map",
        ),
    ] = ()
    bar_seconds: Annotated[
        int | None, Flag("Length of a bar [default: from the file].", least=1, most=86_400)
    ] = None
    timezone: Annotated[
        str | None, Flag("Zone of timestamps without one, such as America/New_York.", "ZONE")
    ] = None


class CsvFlags(TableFlags, frozen=True, kw_only=True):
    """Flags of ``data import csv``."""

    dates: Annotated[
        Literal["mdy", "dmy"] | None,
        Flag("Order of dates like 12/23/2015 [default: the one in which all of them exist]."),
    ] = None


class WideFlags(Options, frozen=True, kw_only=True):
    """Flags of ``data import chain``."""

    name: Annotated[str, Flag("Name of the data set; added to if it exists.")] = "chain"
    underlying: Annotated[str | None, Flag("Underlying [default: as the table has it].", "SYMBOL")] = None
    columns: Annotated[
        tuple[str, ...],
        Flag("The file's COLUMN is NAME of a chain. May be repeated.", "NAME=COLUMN", "--map"),
    ] = ()
    timezone: Annotated[
        str | None,
        Flag("Zone of times without one [default: the only one that fits the exchange's hours].", "ZONE"),
    ] = None
    dates: Annotated[
        Literal["mdy", "dmy"] | None,
        Flag("Order of dates like 12/23/2015 [default: the one in which all of them exist]."),
    ] = None
    decimal: Annotated[
        Literal["comma", "point"] | None, Flag("Mark of decimals [default: as the figures show it].")
    ] = None
    time: Annotated[str | None, Flag("Time of day in New York of rows that have a date alone.", "HH:MM")] = (
        None
    )
    default_size: Annotated[
        int | None, Flag("Size of quotes without one, contracts or shares.", "N", least=1)
    ] = None
    zero_bid: Annotated[
        Literal["none", "real"] | None,
        Flag("Whether bids of 0 are real or missing [default: as the vendor of the columns means them]."),
    ] = None
    spread: Annotated[
        str, Flag("Spread of the quotes that are made of the underlying's price, USD.", "USD")
    ] = "0.02"


def _read_columns(words: Sequence[str]) -> dict[str, str]:
    """Return the file's column by name, as ``--map`` gives it."""
    columns = {}
    for word in words:
        name, _, column = word.partition("=")
        if not column:
            raise ArgumentError(
                "not a column and its name", where="--map", value=word, fix="write it as ts=quote_time"
            )
        columns[name.strip()] = column
    return columns


def _check_zone(zone: str | None) -> None:
    """Refuse a name of a time zone that is not known."""
    if zone not in {None, *available_timezones()}:
        raise ConfigError(
            "unknown time zone",
            where="--timezone",
            value=zone,
            nearest=nearest_name(str(zone), available_timezones()),
            fix="use a name such as UTC or America/New_York",
        )


def run(request: ImportRequest, flags: TableFlags) -> Sequence[ImportReport]:
    """Import the file by the names of its columns."""
    from scalpdesk.datasets.importers.tabular import ImportChoices, import_table

    columns = _read_columns(flags.columns)
    _check_zone(flags.timezone)
    is_csv = isinstance(flags, CsvFlags)
    chosen = ImportChoices(
        flags.name,
        flags.underlying,
        flags.bar_seconds,
        flags.timezone,
        columns,
        flags.dates if isinstance(flags, CsvFlags) else None,
    )
    file_format = "csv" if is_csv else "parquet"
    return [import_table(request.catalog, request.path, chosen, request.progress, file_format=file_format)]


def _run_chain(request: ImportRequest, flags: WideFlags) -> Sequence[ImportReport]:
    """Import the table, or each table of a folder."""
    from scalpdesk.datasets.importers.chain import ChainChoices, import_chain

    _check_zone(flags.timezone)
    try:
        spread = float(flags.spread)
    except ValueError:
        spread = -1.0
    if not 0 <= spread < 100:
        raise ArgumentError("not a spread", where="--spread", value=flags.spread, fix="write it as 0.02")
    if flags.time is not None and not re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", flags.time):
        raise ArgumentError("not a time of day", where="--time", value=flags.time, fix="write it as 15:45")
    choices = ChainChoices(
        name=flags.name,
        underlying=flags.underlying,
        columns=_read_columns(flags.columns),
        timezone=flags.timezone,
        dates=flags.dates,
        decimal=flags.decimal,
        time=flags.time,
        default_size=flags.default_size,
        zero_bid=flags.zero_bid,
        spread=spread,
    )
    return import_chain(request.catalog, request.path, choices, request.progress)


CSV = ImporterSpec(
    name="csv",
    summary="Import a CSV file with the columns of docs/howto/import-csv.md, or with yours and --map.",
    help="""Import a CSV file with the columns of docs/howto/import-csv.md, or with yours and --map.

    Options are named by a column symbol, or by expiry, strike and right. Empty cells and N/A are no value.
    scalpdesk data example writes a file to try it with.
    """,
    examples=(
        "scalpdesk data import csv quotes.csv --name mine --underlying GOOG",
        "scalpdesk data import csv quotes.csv --name mine --underlying GOOG --timezone America/New_York",
    ),
    flags=CsvFlags,
    run=run,
)
PARQUET = ImporterSpec(
    name="parquet",
    summary="Import a Parquet file with the columns of docs/howto/import-csv.md.",
    help="Import a Parquet file with the columns of docs/howto/import-csv.md.",
    examples=("scalpdesk data import parquet options_quote.parquet --name mine --underlying GOOG",),
    flags=TableFlags,
    run=run,
)
CHAIN = ImporterSpec(
    name="chain",
    summary="Import one wide table of a chain: quotes beside the price of the underlying.",
    help="""Import one wide CSV or Parquet table of a chain, with the price of the underlying in a column.

    Columns are known by their usual names (ORATS, OptionsDX, Cboe, ThetaData, Polygon, IVolatility), with
    calls and puts in rows or side by side. All that is missing is named at once.
    """,
    examples=(
        "scalpdesk data import chain wide.csv",
        "scalpdesk data import chain spy_15x.txt --underlying SPY --default-size 10 --map ask=Offer",
    ),
    flags=WideFlags,
    run=_run_chain,
)
