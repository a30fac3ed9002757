"""``scalpdesk data import``: fill the catalogue from files."""

from pathlib import Path
from typing import Any

import click

from scalpdesk.cli.command import Body, DeskGroup, desk_command
from scalpdesk.cli.data import catalog_option, raw_option, show_imports
from scalpdesk.cli.output import progress_bar
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK


@click.group("import", cls=DeskGroup)
def import_() -> None:
    """Fill the catalogue from files: LEAN's folder, CSV, Parquet."""


@desk_command(
    "lean",
    group=import_,
    example=(
        "scalpdesk data import lean ~/Lean/Data",
        "scalpdesk data import lean ~/Lean/Data --only option --only equity --only goog",
    ),
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", default="lean", show_default=True, help="Name of the data set.")
@click.option(
    "--only",
    metavar="WORD",
    multiple=True,
    help="Security type, symbol, resolution or day (2015-12-23) to keep. May be repeated.",
)
@catalog_option
def lean(*, as_json: bool, path: Path, name: str, only: tuple[str, ...], catalog: Path) -> int:
    """Import LEAN's Data folder as it is.

    Minute bars go to the data set NAME; seconds, hours and days to NAME-second, NAME-hour and
    NAME-daily. Importing again replaces the same days. A damaged file is named and passed over, and the
    exit code is 1.
    """
    from scalpdesk.datasets.importers.lean import import_lean

    with progress_bar(as_json=as_json) as report_progress:
        reports = import_lean(catalog, path, name=name, only=only, progress=report_progress)
    show_imports(reports, catalog, as_json=as_json)
    return EXIT_FAILED if any(report.unreadable for report in reports) else EXIT_OK


def _table_options(body: Body) -> Body:
    body = click.option(
        "--timezone", metavar="ZONE", help="Zone of timestamps without one, such as America/New_York."
    )(body)
    body = click.option(
        "--bar-seconds", type=click.IntRange(1, 86_400), help="Length of a bar [default: from the file]."
    )(body)
    body = click.option("--underlying", metavar="SYMBOL", required=True, help="What the rows are about.")(
        body
    )
    body = click.option("--name", required=True, help="Name of the data set; added to if it exists.")(body)
    return click.argument("path", type=click.Path(path_type=Path))(body)


@desk_command(
    "csv", group=import_, example="scalpdesk data import csv quotes.csv --name mine --underlying GOOG"
)
@_table_options
@catalog_option
def csv(*, as_json: bool, path: Path, catalog: Path, **choices: Any) -> None:
    """Import a CSV file with the columns of docs/data.md."""
    _import_table("csv", path, catalog, choices, as_json=as_json)


@desk_command(
    "parquet",
    group=import_,
    example="scalpdesk data import parquet options_quote.parquet --name mine --underlying GOOG",
)
@_table_options
@catalog_option
def parquet(*, as_json: bool, path: Path, catalog: Path, **choices: Any) -> None:
    """Import a Parquet file with the columns of docs/data.md."""
    _import_table("parquet", path, catalog, choices, as_json=as_json)


def _import_table(
    file_format: str, path: Path, catalog: Path, choices: dict[str, Any], *, as_json: bool
) -> None:
    from zoneinfo import available_timezones

    from scalpdesk.core.errors import ConfigError, nearest_name
    from scalpdesk.datasets.importers.tabular import ImportChoices, import_table

    if choices["timezone"] not in {None, *available_timezones()}:
        raise ConfigError(
            "unknown time zone",
            where="--timezone",
            value=choices["timezone"],
            nearest=nearest_name(choices["timezone"], available_timezones()),
            fix="use a name such as UTC or America/New_York",
        )
    with progress_bar(as_json=as_json) as report_progress:
        chosen = ImportChoices(**choices)
        report = import_table(catalog, path, chosen, report_progress, file_format=file_format)
    show_imports([report], catalog, as_json=as_json)


@desk_command(
    "deribit",
    group=import_,
    example=(
        "scalpdesk data import deribit capture.gz",
        "scalpdesk data import deribit coinbase_btcusd_daily.parquet --name coinbase",
    ),
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", default="deribit", show_default=True, help="Name of the data set.")
@raw_option
def import_deribit(*, as_json: bool, path: Path, name: str, catalog: Path) -> None:
    """Import a raw capture of JSON-RPC messages (plain or .gz), or a Parquet or CSV file of a coin.

    Files hold tickers (ts, symbol, mark_iv …), prints (ts, trade_id, price …) or bars (ts and bar_start, or
    date; open to volume).
    """
    from scalpdesk.core.errors import DataError
    from scalpdesk.datasets.coin_data import add_rows, finish, import_coin_table
    from scalpdesk.datasets.importers.base import ImportReport
    from scalpdesk.instruments.deribit import coin_of

    if not path.is_file():
        raise DataError("no such file", where=str(path), fix="check the path")
    if path.name.lower().endswith((".parquet", ".csv", ".csv.gz")):
        show_imports([import_coin_table(catalog, path, name=name)], catalog, as_json=as_json)
        return
    from scalpdesk.datasets.manifests import manifest_to_extend
    from scalpdesk.venues.deribit.history import read_capture

    manifest_to_extend(catalog, name, 60)
    found, kinds = read_capture(path)
    if not kinds:
        raise DataError(
            "the file holds no JSON-RPC message",
            where=str(path),
            fix="name a capture, or a table that ends in .csv, .csv.gz or .parquet",
        )
    report = ImportReport(name, files_read=1)
    report.note("messages read: " + (", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())) or "none"))
    coins = sorted({coin_of(row["symbol"]) for rows in found.values() for row in rows})
    for table, rows in found.items():
        for coin in coins:
            mine = [row for row in rows if coin_of(row["symbol"]) == coin]
            if mine:
                add_rows(catalog, name, table, coin, mine, report)
    finish(catalog, name, coins, source=f"capture {path.name}")
    show_imports([report], catalog, as_json=as_json)
