"""``scalpdesk data``: list, verify and measure the catalogue of recorded markets; options of its commands."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from scalpdesk.cli.command import Body, LazyGroup, desk_command, settings_from
from scalpdesk.cli.flags import options
from scalpdesk.cli.market import load_tape, span_of
from scalpdesk.cli.output import print_answer, print_json, print_table, table_of
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK, ArgumentError, DataError
from scalpdesk.core.flags import Flag, Options
from scalpdesk.core.units import count_text
from scalpdesk.datasets.embedded import COIN_MARKETS, EMBEDDED, RECONSTRUCTED, USUAL_COIN_DAY, USUAL_DAY
from scalpdesk.instruments.deribit import coin_of, perpetual_symbol

if TYPE_CHECKING:
    from scalpdesk.datasets.importers.base import ImportReport
    from scalpdesk.datasets.verify import VerifyReport

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


class VerifyOptions(Options, frozen=True, kw_only=True):
    """What is checked."""

    underlying: Annotated[str | None, Flag("Only this underlying.", "SYMBOL")] = None
    session: Annotated[date | None, Flag("Only this session's quotes.", "DATE", "--start")] = None
    seed: Annotated[int, Flag("Seed of the embedded market.", least=0)] = 1


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
@options(VerifyOptions)
@catalog_option
def verify(*, as_json: bool, name: str | None, options: VerifyOptions, catalog: Path) -> int:
    """Check market data: crossed quotes, gaps, intrinsic value, parity, session times and more.

    Without NAME every recorded data set is checked. Exits 1 when a check fails; warnings are figures
    to know and do not fail.
    """
    if name in RECONSTRUCTED:
        reports = [_verify_reconstructed(name, options)]
    else:
        reports = _verify_recorded(catalog, name, options, as_json=as_json)
    ok = all(report.ok for report in reports)
    document = {"ok": ok, "reports": [report.as_dict() for report in reports]}
    print_answer(document, lambda: _show_verdicts(reports, ok=ok), as_json=as_json)
    return EXIT_OK if ok else EXIT_FAILED


def _verify_reconstructed(name: str, wanted: VerifyOptions) -> "VerifyReport":
    from scalpdesk.datasets.embedded.coin import reconstruct_coin
    from scalpdesk.datasets.embedded.market import reconstruct
    from scalpdesk.datasets.verify import verify_tape

    if name in COIN_MARKETS:
        day = wanted.session or USUAL_COIN_DAY
        return verify_tape(reconstruct_coin(day, day, seed=wanted.seed, underlying=COIN_MARKETS[name]))
    day, symbol = wanted.session or USUAL_DAY, wanted.underlying or "SPY"
    return verify_tape(reconstruct(day, seed=wanted.seed, underlying=symbol))


def _verify_recorded(
    catalog: Path, name: str | None, wanted: VerifyOptions, *, as_json: bool
) -> list["VerifyReport"]:
    from scalpdesk.datasets.manifests import data_set_names, read_manifest
    from scalpdesk.datasets.verify import unread_data_set, verify_data_set

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
            own = [wanted.underlying] if wanted.underlying else [*read_manifest(catalog, each).underlyings]
            todo += [(each, symbol) for symbol in sorted(own)]
        except DataError as error:
            if name:
                raise
            reports.append(unread_data_set(each, error))
    with progress_bar(as_json=as_json) as report_progress:
        for done, (each, symbol) in enumerate(todo):
            report_progress(done, len(todo), f"{each} {symbol}")
            reports.append(verify_data_set(catalog, each, symbol, session=wanted.session))
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


class ProcessOptions(Options, frozen=True, kw_only=True):
    """What is measured, and where its tables go."""

    start: Annotated[date, Flag("First day.", "DATE")]
    end: Annotated[date | None, Flag("Last day [default: the first].", "DATE")] = None
    underlying: Annotated[str, Flag("Whose.", "SYMBOL")] = perpetual_symbol("BTC")
    every_hours: Annotated[int, Flag("Between two smiles.", least=1, most=24)] = 24
    windows: Annotated[str, Flag("Days of realised volatility, by commas.")] = "7,30"
    seed: Annotated[int | None, Flag("Seed of the reconstructed market.", least=0)] = None
    folder: Annotated[str, Flag("Where the tables go: DIR/NAME.", "DIR", "--to")] = "data/processed"


@desk_command(
    "process",
    example=(
        "scalpdesk data process embedded-btc --start 2025-03-05 --end 2025-03-14 --windows 3",
        "scalpdesk data process deribit --start 2026-01-05 --end 2026-03-05 --every-hours 4",
    ),
)
@click.argument("name")
@options(ProcessOptions)
@raw_option
def process(*, as_json: bool, name: str, options: ProcessOptions, catalog: Path) -> None:
    """Measure a coin market: realised volatility, IV term structure, variance premium, as Parquet tables."""
    from scalpdesk.datasets.coin_data import index_closes, research_tables, write_processed

    windows = options.windows
    try:
        spans = [int(text) for text in windows.split(",")]
    except ValueError:
        spans = []
    if not spans or min(spans) < 1:
        raise ArgumentError("not a list of days", where="--windows", value=windows, fix="write 7,30")
    first, last = span_of(options.start, options.end)
    folder, symbol, hours = Path(options.folder) / name, options.underlying.upper(), options.every_hours
    settings = settings_from(None, (f"data.catalog={catalog}",))
    tape = load_tape(settings, name, symbol, first, last=last, seed=options.seed)
    index = {} if name in RECONSTRUCTED else index_closes(catalog, name, coin_of(symbol))
    with progress_bar(as_json=as_json) as show:
        tables = research_tables(tape, every_hours=hours, windows=spans, index=index, progress=show)
    rows = write_processed(folder, tables)
    if as_json:
        print_json({"folder": str(folder), "kind": tape.kind, "rows": rows})
        return
    click.echo(f"{name} ({tape.kind}): {count_text(len(tape.sessions), 'day')} in {folder}/")
    for table, count in rows.items():
        click.echo(f"  {table + '.parquet':<28} {count:>12,}")
