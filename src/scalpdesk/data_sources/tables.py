"""CSV and Parquet files of quotes, trades, bars or chains as sources."""

from collections.abc import Sequence
from typing import Annotated, Literal
from zoneinfo import available_timezones

import msgspec

from scalpdesk.core.errors import ArgumentError, ConfigError, nearest_name
from scalpdesk.data_sources.contract import Flag, ImporterSpec, ImportRequest
from scalpdesk.datasets.importers.base import ImportReport


class TableFlags(msgspec.Struct, frozen=True, kw_only=True):
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


def read_columns(words: Sequence[str]) -> dict[str, str]:
    """Return the file's column by name, from the words of ``--map``."""
    columns = {}
    for word in words:
        name, _, column = word.partition("=")
        if not column:
            raise ArgumentError(
                "not a column and its name", where="--map", value=word, fix="write it as ts=quote_time"
            )
        columns[name.strip()] = column
    return columns


def check_zone(zone: str | None) -> None:
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

    columns = read_columns(flags.columns)
    check_zone(flags.timezone)
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
