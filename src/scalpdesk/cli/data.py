"""``scalpdesk data``: list, verify and measure the catalogue of recorded markets; options of its commands."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalpdesk.cli.command import Body, LazyGroup, desk_command, settings_from
from scalpdesk.cli.market import load_tape, read_span, span_options
from scalpdesk.cli.output import print_answer, print_json, print_table, table_of
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK, ArgumentError, DataError
from scalpdesk.core.units import count_text
from scalpdesk.datasets.embedded import COIN_MARKETS, EMBEDDED, RECONSTRUCTED
from scalpdesk.instruments.deribit import coin_of, perpetual_symbol

if TYPE_CHECKING:
    from scalpdesk.datasets.importers.base import ImportReport
    from scalpdesk.datasets.verify import VerifyReport

_EMBEDDED_SESSION, _COIN_SESSION = date(2018, 2, 5), date(2025, 3, 5)
"""Session of a reconstructed market that is checked when none is named."""

COMMANDS: dict[str, tuple[str, str]] = {
    "actions": ("scalpdesk.cli.data_import:actions", "Book splits and dividends of a data set."),
    "download": ("scalpdesk.cli.data_download:download", "Fill the catalogue from a venue's history."),
    "example": ("scalpdesk.cli.data_import:example", "Write a CSV file of quotes to try the import with."),
    "import": (
        "scalpdesk.cli.data_import:import_",
        "Fill the catalogue from files: LEAN's folder, CSV, Parquet.",
    ),
    "ls": ("scalpdesk.cli.data:ls", "List the data sets, the embedded market first."),
    "process": (
        "scalpdesk.cli.data:process",
        "Measure a coin market: realised volatility, IV term structure, variance premium.",
    ),
    "record": ("scalpdesk.cli.data_download:record", "Keep a venue's live market data in the catalogue."),
    "verify": (
        "scalpdesk.cli.data:verify",
        "Check market data: crossed quotes, gaps, intrinsic value, parity, session times and more.",
    ),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def data() -> None:
    """Market data: ls, verify, import, download, record."""


def catalog_option(body: Body) -> Body:
    """Add ``--catalog DIR`` (``catalog: Path``); without it ``data.catalog`` of the configuration counts."""

    def configured(_ctx: click.Context, _param: click.Parameter, value: Path | None) -> Path:
        return Path(settings_from().config.data.catalog) if value is None else value

    return click.option(
        "--catalog",
        metavar="DIR",
        type=click.Path(path_type=Path),
        callback=configured,
        help="Folder of the catalogue [default: data.catalog, SCALPDESK_CATALOG, ./catalog].",
    )(body)


raw_option = click.option(
    "--catalog",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("data/raw"),
    show_default=True,
    help="Folder of raw data: a catalogue, which --set data.catalog=DIR trades on.",
)


def show_imports(reports: "Sequence[ImportReport]", catalog: Path, *, as_json: bool) -> None:
    """Print what has come into the catalogue, data set by data set, and the command that checks it."""
    if as_json:
        print_json({"catalog": str(catalog), "data_sets": [report.as_dict() for report in reports]})
        return
    for report in reports:
        count, rows_read = report.files_read, sum(report.rows.values())
        files = f"{count_text(count, 'file')}, " if count else ""  # a record reads no file
        click.echo(f"{report.name}: {files}{count_text(rows_read, 'row')} in {catalog}/")
        for table, rows in sorted(report.rows.items()):
            click.echo(f"  {table:<28} {rows:>12,}")
        for error in report.unreadable:
            click.echo(f"  not imported: {error.where}: {error.what}")
        for note in report.notes[:10]:
            click.echo(f"  note: {note}")
        if len(report.notes) > 10:
            click.echo(f"  note: and {len(report.notes) - 10} more (see --json)")
    elsewhere = "" if str(catalog) == settings_from().config.data.catalog else f" --catalog {catalog}"
    click.echo(f"next: scalpdesk data verify {reports[0].name}{elsewhere}")


@desk_command("ls", example=("scalpdesk data ls", "scalpdesk data ls --json"))
@catalog_option
def ls(*, as_json: bool, catalog: Path) -> int:
    """List the data sets, the embedded market first.

    A data set whose manifest is damaged is named below the others, and the exit code is 1.
    """
    from scalpdesk.datasets.catalog import list_data_sets

    rows: list[dict[str, Any]] = list(_embedded())
    manifests, damaged = list_data_sets(catalog)
    for manifest in manifests:
        rows.extend(
            {
                "name": manifest.name,
                "kind": manifest.kind,
                "underlying": underlying,
                "sessions": len(part.sessions),
                "first": min(part.sessions, default=None),
                "last": max(part.sessions, default=None),
                "instruments": part.instruments,
                "rows": part.rows,
                "tables": part.tables,
                "bar_seconds": manifest.bar_seconds,
                "source": manifest.source,
            }
            for underlying, part in manifest.underlyings.items()
        )
    code = EXIT_FAILED if damaged else EXIT_OK
    if as_json:
        problems = [{"name": name, **error.as_dict()} for name, error in damaged.items()]
        print_json({"catalog": str(catalog), "data_sets": rows, "damaged": problems})
        return code
    columns = "name|kind|underlying|sessions|from={first}|to={last}|symbols={instruments:,}|rows:,"
    table = table_of(rows, f"{columns}|bar s={{bar_seconds:,}}", left=6)
    print_table(table, first_to_go=("bar s", "symbols", "kind", "rows"))
    if not damaged and all(row["name"] in RECONSTRUCTED for row in rows):
        click.echo(f"\nNothing recorded in {catalog}/ yet: scalpdesk data import lean PATH")
    for name, error in damaged.items():
        click.echo(f"\nnot listed: {name}: {error.render()}")
    return code


def _embedded() -> Iterator[dict[str, Any]]:
    """Yield the lines of the reconstructed markets."""
    from importlib import import_module
    from importlib.util import find_spec

    if find_spec("scalpdesk.datasets.embedded.market") is None:
        return
    days = import_module("scalpdesk.datasets.embedded.market").available_sessions()
    shares = import_module("scalpdesk.datasets.embedded.days").SHARES
    from scalpdesk.datasets.embedded.coin import available_days

    begin, end = available_days()
    real = "real daily prices of its index and VIX, intraday path reconstructed"
    drawn = "nothing recorded: drawn from measured statistics"
    for name, underlying, count, first, last, source in (
        *((EMBEDDED, symbol, len(days), min(days), max(days), real) for symbol in shares),
        *((name, symbol, (end - begin).days + 1, begin, end, drawn) for name, symbol in COIN_MARKETS.items()),
    ):
        yield {
            "name": name,
            "kind": "reconstructed",
            "underlying": underlying,
            "sessions": count,
            "first": str(first),
            "last": str(last),
            "instruments": None,
            "rows": None,
            "tables": {},
            "bar_seconds": None,
            "source": source,
        }


@desk_command(
    "verify",
    example=(
        "scalpdesk data verify",
        "scalpdesk data verify lean --underlying GOOG",
        "scalpdesk data verify embedded --start 2018-02-05",
        "scalpdesk data verify embedded-btc",
    ),
)
@click.argument("name", required=False)
@click.option("--underlying", metavar="SYMBOL", help="Only this underlying.")
@click.option(
    "--start",
    "session",
    metavar="DATE",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Only this session's quotes.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed of the embedded market."
)
@catalog_option
def verify(
    *, as_json: bool, name: str | None, underlying: str | None, session: Any, seed: int, catalog: Path
) -> int:
    """Check market data: crossed quotes, gaps, intrinsic value, parity, session times and more.

    Without NAME every recorded data set is checked. Exits 1 when a check fails; warnings are figures
    to know and do not fail.
    """
    day = None if session is None else session.date()
    if name in RECONSTRUCTED:
        reports = [_verify_reconstructed(name, day, seed, underlying)]
    else:
        reports = _verify_recorded(catalog, name, underlying, day, as_json=as_json)
    ok = all(report.ok for report in reports)
    document = {"ok": ok, "reports": [report.as_dict() for report in reports]}
    print_answer(document, lambda: _show_verdicts(reports, ok=ok), as_json=as_json)
    return EXIT_OK if ok else EXIT_FAILED


def _verify_reconstructed(name: str, day: date | None, seed: int, underlying: str | None) -> "VerifyReport":
    from scalpdesk.datasets.embedded.coin import reconstruct_coin
    from scalpdesk.datasets.embedded.market import reconstruct
    from scalpdesk.datasets.verify import verify_tape

    if name in COIN_MARKETS:
        first = day or _COIN_SESSION
        return verify_tape(reconstruct_coin(first, first, seed=seed, underlying=COIN_MARKETS[name]))
    return verify_tape(reconstruct(day or _EMBEDDED_SESSION, seed=seed, underlying=underlying or "SPY"))


def _verify_recorded(
    catalog: Path, name: str | None, underlying: str | None, day: date | None, *, as_json: bool
) -> list["VerifyReport"]:
    from scalpdesk.datasets.manifests import data_set_names, read_manifest
    from scalpdesk.datasets.verify import unread_data_set, verify_data_set

    def underlyings_of(data_set: str) -> list[str]:
        return [underlying] if underlying else sorted(read_manifest(catalog, data_set).underlyings)

    names = [name] if name else data_set_names(catalog)
    if not names:
        raise DataError(
            "there is no recorded data to verify",
            where=str(catalog),
            fix="scalpdesk data import lean PATH, or scalpdesk data verify embedded",
        )
    reports, todo = [], list[tuple[str, str]]()
    for each in names:
        try:
            todo += [(each, symbol) for symbol in underlyings_of(each)]
        except DataError as error:
            if name:
                raise
            reports.append(unread_data_set(each, error))
    with progress_bar(as_json=as_json) as report_progress:
        for done, (each, symbol) in enumerate(todo):
            report_progress(done, len(todo), f"{each} {symbol}")
            reports.append(verify_data_set(catalog, each, symbol, session=day))
    return reports


def _show_verdicts(reports: list["VerifyReport"], *, ok: bool) -> None:
    for report in reports:
        days = [day.isoformat() for day in report.sessions]
        held = count_text(len(days), "session")
        covered = f"{days[0]} to {days[-1]} ({held})" if days else "no sessions by day"
        title = f"{report.name} {report.underlying}".rstrip() + f": {covered}"
        columns = "={verdict.value}|check={name}|checked:,|found:,|detail"
        print_table(table_of(report.checks, columns, left=2, text=("check", "detail"), title=title))
        if report.ok and report.missing:
            uses = ", ".join(report.fit_for) or "nothing"
            click.echo(f"fit for {uses}; not to trade on: no {report.missing}")
        click.echo()
    failed = sum(check.verdict.value == "failed" for report in reports for check in report.checks)
    warned = sum(check.verdict.value == "warning" for report in reports for check in report.checks)
    untradable = [f"{report.name} {report.underlying}" for report in reports if report.missing]
    verdict = "fit to trade on" if ok else "NOT fit to trade on"
    if ok and untradable:
        verdict = f"sound, but not to trade on ({', '.join(untradable)})"
    click.echo(f"{verdict}: {failed} failed, {warned} warnings")


@desk_command(
    "process",
    example=(
        "scalpdesk data process embedded-btc --start 2025-03-05 --end 2025-03-14 --windows 3",
        "scalpdesk data process deribit --start 2026-01-05 --end 2026-03-05 --every-hours 4",
    ),
)
@click.argument("name")
@span_options()
@click.option(
    "--underlying", default=perpetual_symbol("BTC"), show_default=True, metavar="SYMBOL", help="Whose."
)
@click.option(
    "--every-hours", type=click.IntRange(1, 24), default=24, show_default=True, help="Between two smiles."
)
@click.option("--windows", default="7,30", show_default=True, help="Days of realised volatility, by commas.")
@click.option("--seed", type=click.IntRange(0), help="Seed of the reconstructed market.")
@click.option(
    "--to",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("data/processed"),
    show_default=True,
    help="Where the tables go: DIR/NAME.",
)
@raw_option
def process(
    *, as_json: bool, name: str, start: str, end: str | None, underlying: str, windows: str, **choices: Any
) -> None:
    """Measure a coin market: realised volatility, IV term structure, variance premium, as Parquet tables."""
    from scalpdesk.datasets.coin_data import index_closes, research_tables, write_processed

    try:
        spans = [int(text) for text in windows.split(",")]
    except ValueError:
        spans = []
    if not spans or min(spans) < 1:
        raise ArgumentError("not a list of days", where="--windows", value=windows, fix="write 7,30")
    first, last = read_span(start, end)
    catalog, folder, seed, symbol = choices["catalog"], choices["folder"], choices["seed"], underlying.upper()
    settings = settings_from(None, (f"data.catalog={catalog}",))
    tape = load_tape(settings, name, symbol, first, last=last, seed=seed)
    index = {} if name in RECONSTRUCTED else index_closes(catalog, name, coin_of(symbol))
    with progress_bar(as_json=as_json) as show:
        hours = choices["every_hours"]
        tables = research_tables(tape, every_hours=hours, windows=spans, index=index, progress=show)
    rows = write_processed(folder / name, tables)
    if as_json:
        print_json({"folder": str(folder / name), "kind": tape.kind, "rows": rows})
        return
    click.echo(f"{name} ({tape.kind}): {count_text(len(tape.sessions), 'day')} in {folder / name}/")
    for table, count in rows.items():
        click.echo(f"  {table + '.parquet':<28} {count:>12,}")
