"""``scalpdesk data``: list, verify and fill the catalogue of recorded markets."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from scalpdesk.cli.command import DeskGroup, desk_command
from scalpdesk.cli.output import console, print_json
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK

EMBEDDED = "embedded"
PROGRESS_AFTER_SECONDS = 2.0


@click.group(cls=DeskGroup)
def data() -> None:
    """The market data catalogue: list, verify, import."""


@click.group("import", cls=DeskGroup)
def import_() -> None:
    """Fill the catalogue from files: LEAN's folder, CSV, Parquet."""


data.add_command(import_)


def catalog_option(body: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--catalog DIR`` (``catalog: Path``)."""
    return click.option(
        "--catalog",
        metavar="DIR",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="SCALPDESK_CATALOG",
        default=Path("catalog"),
        show_default=True,
        show_envvar=True,
        help="Folder of the catalogue.",
    )(body)


@desk_command("ls", group=data, example=("scalpdesk data ls", "scalpdesk data ls --json"))
@catalog_option
def ls(*, as_json: bool, catalog: Path) -> None:
    """List the data sets, the embedded market first."""
    from scalpdesk.datasets.catalog import list_data_sets

    rows: list[dict[str, Any]] = list(_embedded())
    for manifest in list_data_sets(catalog):
        rows.extend(
            {
                "name": manifest.name,
                "kind": manifest.kind,
                "underlying": underlying,
                "sessions": len(part.sessions),
                "first": part.sessions[0],
                "last": part.sessions[-1],
                "instruments": part.instruments,
                "rows": part.rows,
                "bar_seconds": manifest.bar_seconds,
                "source": manifest.source,
            }
            for underlying, part in manifest.underlyings.items()
        )
    if as_json:
        print_json({"catalog": str(catalog), "data_sets": rows})
        return
    from rich.table import Table

    table = Table("name", "kind", "underlying", "sessions", "from", "to", box=None, pad_edge=False)
    for heading in ("instruments", "rows", "bar s"):
        table.add_column(heading, justify="right")
    for row in rows:
        figures = [row["instruments"], row["rows"], row["bar_seconds"]]
        table.add_row(
            row["name"],
            row["kind"],
            row["underlying"],
            str(row["sessions"]),
            row["first"],
            row["last"],
            *("-" if figure is None else f"{figure:,}" for figure in figures),
        )
    console().print(table)
    if not any(row["name"] != EMBEDDED for row in rows):
        click.echo(f"\nNothing recorded in {catalog}/ yet: scalpdesk data import lean PATH")


def _embedded() -> Iterator[dict[str, Any]]:
    """Yield the line of the embedded market."""
    from importlib import import_module
    from importlib.util import find_spec

    if find_spec("scalpdesk.datasets.reconstructed") is None:
        return
    days = import_module("scalpdesk.datasets.reconstructed").available_sessions()
    yield {
        "name": EMBEDDED,
        "kind": "reconstructed",
        "underlying": "SPY",
        "sessions": len(days),
        "first": str(min(days)),
        "last": str(max(days)),
        "instruments": None,
        "rows": None,
        "bar_seconds": None,
        "source": "real daily prices and VIX, intraday path reconstructed",
    }


@desk_command(
    "verify",
    group=data,
    example=("scalpdesk data verify", "scalpdesk data verify lean --underlying GOOG"),
)
@click.argument("name", required=False)
@click.option("--underlying", metavar="SYMBOL", help="Only this underlying.")
@catalog_option
def verify(*, as_json: bool, name: str | None, underlying: str | None, catalog: Path) -> int:
    """Check recorded data: crossed quotes, gaps, intrinsic value, parity, session times and more.

    Exits 1 when a check fails; warnings are figures to know and do not fail.
    """
    from scalpdesk.datasets.store import data_set_names, read_manifest
    from scalpdesk.datasets.verify import verify_data_set

    names = [name] if name else data_set_names(catalog)
    if not names:
        read_manifest(catalog, EMBEDDED if name is None else name)
    reports = []
    with progress_bar(as_json=as_json) as report_progress:
        todo = [(each, u) for each in names for u in _underlyings(catalog, each, underlying)]
        for done, (each, symbol) in enumerate(todo):
            report_progress(done, len(todo), f"{each} {symbol}")
            reports.append(verify_data_set(catalog, each, symbol))
    ok = all(report.ok for report in reports)
    if as_json:
        print_json({"ok": ok, "reports": [report.as_dict() for report in reports]})
        return EXIT_OK if ok else EXIT_FAILED
    from rich.table import Table

    for report in reports:
        days = [day.isoformat() for day in report.sessions]
        covered = f"{len(days)} sessions {days[0]} to {days[-1]}" if days else "no sessions by day"
        table = Table("", "check", box=None, pad_edge=False, title_justify="left")
        table.title = f"{report.name} {report.underlying}: {covered}"
        table.add_column("checked", justify="right")
        table.add_column("found", justify="right")
        table.add_column("", overflow="fold")
        for check in report.checks:
            table.add_row(
                check.verdict.value, check.name, f"{check.checked:,}", f"{check.found:,}", check.detail
            )
        console().print(table)
        click.echo()
    failed = sum(check.verdict.value == "failed" for report in reports for check in report.checks)
    warned = sum(check.verdict.value == "warning" for report in reports for check in report.checks)
    click.echo(f"{'fit to trade on' if ok else 'NOT fit to trade on'}: {failed} failed, {warned} warnings")
    return EXIT_OK if ok else EXIT_FAILED


def _underlyings(catalog: Path, name: str, underlying: str | None) -> list[str]:
    from scalpdesk.datasets.store import read_manifest

    return [underlying] if underlying else sorted(read_manifest(catalog, name).underlyings)


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
def lean(*, as_json: bool, path: Path, name: str, only: tuple[str, ...], catalog: Path) -> None:
    """Import LEAN's Data folder as it is.

    Minute bars go to the data set NAME; seconds, hours and days to NAME-second, NAME-hour and
    NAME-daily. Importing again replaces the same days.
    """
    from scalpdesk.datasets.importers.lean import import_lean

    with progress_bar(as_json=as_json) as report_progress:
        reports = import_lean(catalog, path, name=name, only=only, progress=report_progress)
    _show_reports(reports, catalog, as_json=as_json)


def _table_options(body: Callable[..., Any]) -> Callable[..., Any]:
    body = click.option(
        "--timezone", default="UTC", show_default=True, help="Zone of timestamps without one."
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
    from scalpdesk.datasets.importers.csv import import_csv

    _import_table(import_csv, path, catalog, choices, as_json=as_json)


@desk_command(
    "parquet",
    group=import_,
    example="scalpdesk data import parquet options_quote.parquet --name mine --underlying GOOG",
)
@_table_options
@catalog_option
def parquet(*, as_json: bool, path: Path, catalog: Path, **choices: Any) -> None:
    """Import a Parquet file with the columns of docs/data.md."""
    from scalpdesk.datasets.importers.parquet import import_parquet

    _import_table(import_parquet, path, catalog, choices, as_json=as_json)


def _import_table(
    importer: Callable[..., Any], path: Path, catalog: Path, choices: dict[str, Any], *, as_json: bool
) -> None:
    from zoneinfo import available_timezones

    from scalpdesk.core.errors import ConfigError, nearest_name
    from scalpdesk.datasets.importers.tabular import ImportChoices

    if choices["timezone"] not in available_timezones():
        raise ConfigError(
            "unknown time zone",
            where="--timezone",
            value=choices["timezone"],
            nearest=nearest_name(choices["timezone"], available_timezones()),
            fix="use a name such as UTC or America/New_York",
        )
    with progress_bar(as_json=as_json) as report_progress:
        report = importer(catalog, path, ImportChoices(**choices), report_progress)
    _show_reports([report], catalog, as_json=as_json)


def _show_reports(reports: list[Any], catalog: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"catalog": str(catalog), "data_sets": [report.as_dict() for report in reports]})
        return
    for report in reports:
        click.echo(
            f"{report.name}: {report.files_read} files, {sum(report.rows.values()):,} rows in {catalog}/"
        )
        for table, rows in sorted(report.rows.items()):
            click.echo(f"  {table:<28} {rows:>12,}")
        for note in report.notes[:10]:
            click.echo(f"  note: {note}")
        if len(report.notes) > 10:
            click.echo(f"  note: and {len(report.notes) - 10} more (see --json)")
    click.echo(f"next: scalpdesk data verify {reports[0].name}")


@contextmanager
def progress_bar(*, as_json: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Yield a progress function; a bar appears on stderr when the work takes over two seconds."""
    started = time.monotonic()
    shown: list[Any] = []

    def report(done: int, total: int, label: str) -> None:
        if not shown:
            if as_json or not sys.stderr.isatty() or time.monotonic() - started < PROGRESS_AFTER_SECONDS:
                return
            from rich.console import Console
            from rich.progress import Progress

            bar = Progress(console=Console(stderr=True), transient=True)
            bar.start()
            shown.extend((bar, bar.add_task("", total=total)))
        shown[0].update(shown[1], completed=done, total=total, description=label)

    try:
        yield report
    finally:
        if shown:
            shown[0].stop()
