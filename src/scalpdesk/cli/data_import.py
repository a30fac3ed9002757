"""``scalpdesk data import``: fill the catalogue from files."""

import math
from datetime import date
from pathlib import Path
from typing import Any

import click

from scalpdesk.cli.command import Body, DeskGroup, desk_command
from scalpdesk.cli.data import catalog_option, raw_option, show_imports
from scalpdesk.cli.output import print_json, progress_bar
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK
from scalpdesk.core.units import count_text


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
    body = click.option(
        "--map",
        "mapped",
        metavar="NAME=COLUMN",
        multiple=True,
        help="The file's COLUMN is NAME of the catalogue; others are left out. May be repeated.",
    )(body)
    body = click.option("--underlying", metavar="SYMBOL", required=True, help="What the rows are about.")(
        body
    )
    body = click.option("--name", required=True, help="Name of the data set; added to if it exists.")(body)
    return click.argument("path", type=click.Path(path_type=Path))(body)


@desk_command(
    "csv",
    group=import_,
    example=(
        "scalpdesk data import csv quotes.csv --name mine --underlying GOOG",
        "scalpdesk data import csv quotes.csv --name mine --underlying GOOG --map ts=time --map bid=best_bid",
    ),
)
@click.option(
    "--dates",
    type=click.Choice(["mdy", "dmy"]),
    default=None,
    help="Order of dates like 12/23/2015 [default: the one in which all of them exist].",
)
@_table_options
@catalog_option
def csv(*, as_json: bool, path: Path, catalog: Path, **choices: Any) -> None:
    """Import a CSV file with the columns of docs/data.md, or with yours and --map.

    Options are named by a column symbol, or by expiry, strike and right. Empty cells and N/A are no value.
    scalpdesk data example writes a file to try it with.
    """
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

    from scalpdesk.core.errors import ArgumentError, ConfigError, nearest_name
    from scalpdesk.datasets.importers.tabular import ImportChoices, import_table

    columns = {}
    for word in choices.pop("mapped"):
        name, _, column = word.partition("=")
        if not column:
            raise ArgumentError(
                "not a column and its name", where="--map", value=word, fix="write it as ts=quote_time"
            )
        columns[name.strip()] = column

    if choices["timezone"] not in {None, *available_timezones()}:
        raise ConfigError(
            "unknown time zone",
            where="--timezone",
            value=choices["timezone"],
            nearest=nearest_name(choices["timezone"], available_timezones()),
            fix="use a name such as UTC or America/New_York",
        )
    with progress_bar(as_json=as_json) as report_progress:
        chosen = ImportChoices(**choices, columns=columns)
        report = import_table(catalog, path, chosen, report_progress, file_format=file_format)
    show_imports([report], catalog, as_json=as_json)


EXAMPLE_COLUMNS = {
    "ts": "Quote Time",
    "expiry": "Expiry",
    "strike": "Strike",
    "right": "Call/Put",
    "bid": "Best Bid",
    "ask": "Best Ask",
    "bid_size": "Bid Size",
    "ask_size": "Ask Size",
}
"""Columns of the sample file as a vendor might name them, by the catalogue's name."""
EXAMPLE_SESSION = date(2018, 2, 5)


@desk_command("example", example=("scalpdesk data example", "scalpdesk data example quotes.csv --json"))
@click.argument("path", type=click.Path(path_type=Path), default=Path("example.csv"), metavar="[FILE]")
def example(*, as_json: bool, path: Path) -> None:
    """Write a CSV file of quotes as a vendor might: own column names, US dates, N/A; and how to import it.

    It holds a session of the embedded market: SPY and its options of one expiry.
    """
    import shlex

    rows = _example_rows()
    path.write_text("\n".join((",".join(EXAMPLE_COLUMNS.values()), *rows)) + "\n", encoding="utf-8")
    mapped = [word for name, column in EXAMPLE_COLUMNS.items() for word in ("--map", f"{name}={column}")]
    words = ("data", "import", "csv", str(path), "--name", "example", "--underlying", "SPY")
    zone = ("--timezone", "America/New_York", "--dates", "mdy")
    commands = (
        shlex.join(("scalpdesk", *words, *zone, *mapped)),
        "scalpdesk backtest gamma-scalper --data example --set entry.gate=off",
    )
    if as_json:
        print_json({"file": str(path), "rows": len(rows), "next": commands})
        return
    click.echo(f"{path}: {count_text(len(rows), 'row')}, SPY on {EXAMPLE_SESSION}, reconstructed")
    click.echo("next: " + "\n      ".join(commands))


def _example_rows() -> list[str]:
    """Return the quotes of a session as lines of a CSV file; a side that is absent is N/A."""
    from scalpdesk.datasets.embedded.chain import listed_expiries
    from scalpdesk.datasets.embedded.market import reconstruct
    from scalpdesk.instruments.sessions import to_new_york
    from scalpdesk.simulation.tape_reader import session_quotes

    day = EXAMPLE_SESSION
    expiry = next(each for each in listed_expiries(day) if (each - day).days >= 30)
    tape = reconstruct(day, expiries=(expiry,), quote_seconds=60.0)
    quotes = session_quotes(tape, tape.sessions[0])
    contracts = []
    for each in tape.instruments:
        if each.is_option:
            contracts.append(f"{each.expiry:%m/%d/%Y},{each.strike},{'Call' if each.is_call else 'Put'}")
        else:
            contracts.append("N/A,N/A,N/A")

    def shown(price: float) -> str:
        return f"{price:.2f}" if math.isfinite(price) else "N/A"

    columns = (quotes.ts_ns, quotes.instrument_id, quotes.bid, quotes.ask, quotes.bid_size, quotes.ask_size)
    return [
        f"{to_new_york(int(ts_ns)):%m/%d/%Y %H:%M:%S},{contracts[number]},"
        f"{shown(bid)},{shown(ask)},{bid_size:.0f},{ask_size:.0f}"
        for ts_ns, number, bid, ask, bid_size, ask_size in zip(*columns, strict=True)
    ]


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
