"""``scalpdesk tax``: a year of journals as tables for the accountant."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.flags import options
from scalpdesk.cli.output import print_answer, print_table, table_of
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.flags import Flag, Options
from scalpdesk.core.units import count_text

SHOWN = {
    "form_8949": ("description", "acquired", "sold", "box", "proceeds", "cost", "code", "adjustment", "gain"),
    "form_6781": ("description", "opened", "ended", "loss", "gain"),
    "schedule_d": ("term", "line", "of", "proceeds", "cost", "adjustment", "gain"),
    "income": ("cause", "symbol", "cash"),
    "lots": ("symbol", "units", "acquired", "held_since", "cost"),
    "disposals": ("symbol", "units", "opened", "ended", "currency", "result"),
}
"""Columns of each table in the terminal; the files have all."""
_TITLES = {
    "form_8949": "Form 8949",
    "form_6781": "Form 6781, part I",
    "schedule_d": "Schedule D",
    "income": "Income",
    "lots": "Open at the end of the year",
    "disposals": "Disposals",
}
MOST_LINES = 30


class TaxOptions(Options, frozen=True, kw_only=True):
    """Lots and files of a year's tables."""

    method: Annotated[Literal["fifo", "highest-cost", "specific"], Flag("Lots that a sale ends first.")] = (
        "fifo"
    )
    specific: Annotated[
        str | None, Flag("Lots identified at the sale: CSV disposal,lot,quantity, by execution id.", "FILE")
    ] = None
    carry: Annotated[
        str | None, Flag("Lots held before the first run: CSV symbol,units,cost,acquired.", "FILE")
    ] = None
    marks: Annotated[
        str | None,
        Flag("Prices of section 1256 contracts at the end of years: CSV year,symbol,price.", "FILE"),
    ] = None
    plain: Annotated[bool, Flag("Lots and disposals alone, in their currency: for accounts in coin.")] = False
    facts: Annotated[bool, Flag("Show the facts of law that the tables follow, and end.")] = False
    csv: Annotated[str | None, Flag("Also write each table into this folder.", "DIR")] = None


@desk_command(
    "tax",
    example=(
        "scalpdesk tax 2025",
        "scalpdesk tax 2018 last --method highest-cost --csv taxes",
        "scalpdesk tax --facts",
    ),
)
@click.argument("year", type=click.IntRange(2000, 2100), required=False)
@click.argument("runs", metavar="[RUN ...]", nargs=-1)
@options(TaxOptions)
@settings_options
def tax(
    *,
    as_json: bool,
    year: int | None,
    runs: tuple[str, ...],
    options: TaxOptions,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Show the tables of YEAR for the accountant: Form 8949, Form 6781, Schedule D, lots. No advice.

    RUN is a run by id or "last"; without any, all live runs on record. Name the runs of one account from the
    first purchase on: lots are carried from run to run, and what two runs have counts once.
    """
    from scalpdesk.accounting.accountant import by_symbol, keep_books
    from scalpdesk.accounting.files import read_chosen, read_lots, read_marks, write_tables
    from scalpdesk.accounting.forms import plain_disposals, plain_lots, tax_year
    from scalpdesk.accounting.journals import read_day_book
    from scalpdesk.accounting.law import FACTS, NO_ADVICE

    if options.facts:
        table = table_of(FACTS, "fact={name}|says|source", text=("says", "source"))
        document = {"note": NO_ADVICE, "facts": [fact._asdict() for fact in FACTS]}
        if not as_json:
            click.echo(NO_ADVICE)
        print_answer(document, lambda: print_table(table), as_json=as_json)
        return
    year, lot_method = _checked(year, options.method, options.specific)
    settings = settings_from(config_file, overrides)
    folders = run_folders(Path(settings.config.desk.runs_dir), runs)
    book = read_day_book(folders)
    marks = book.marks | ({} if options.marks is None else read_marks(Path(options.marks)))
    books = keep_books(
        book.entries,
        until=year,
        method=lot_method,
        chosen=None if options.specific is None else read_chosen(Path(options.specific)),
        marks=by_symbol(marks),
        carried=() if options.carry is None else read_lots(Path(options.carry)),
        known_until=book.known_until,
    )
    tables: dict[str, Sequence[dict[str, Any]]]
    if options.plain:
        tables = {"disposals": plain_disposals(books, year), "lots": plain_lots(books, year)}
        flags: Sequence[str] = [what for when, what in books.flags if when == year]
    else:
        found = tax_year(books, book.income, year)
        tables, flags = found.tables(), found.flags
    flags = [*flags, *(f"not booked: {each}" for each in book.unread)]
    if options.csv is not None:
        for path in write_tables(Path(options.csv), tables):
            click.echo(f"{path}", err=True)
    names = [each.name for each in folders]
    shown = {"year": year, "runs": names, "method": options.method, "note": NO_ADVICE, "flags": list(flags)}
    head = f"{year}, {count_text(len(names), 'run')}, lots {options.method}; {NO_ADVICE}"
    print_answer({**shown, **tables}, lambda: _print(head, tables, flags), as_json=as_json)


def _checked(year: int | None, method: str, specific_file: str | None) -> tuple[int, Any]:
    from scalpdesk.accounting.lots import LotMethod

    if year is None:
        raise ConfigError("the year is missing", where="scalpdesk tax", fix="scalpdesk tax 2025")
    found = LotMethod(method)
    if (found is LotMethod.SPECIFIC) != (specific_file is not None):
        raise ConfigError(
            "identified lots take the method specific, and a file of them",
            where="--method",
            value=method,
            fix="--method specific --specific FILE",
        )
    return year, found


def run_folders(runs_dir: Path, runs: Sequence[str], *, venue: str | None = None) -> list[Path]:
    """Return the folders of the runs that are named, or of all live ones at a venue (None: any)."""
    from scalpdesk.journal.reader import find_run_dir, peek_header, run_dirs

    if runs:
        return [find_run_dir(runs_dir, run) for run in dict.fromkeys(runs)]
    headers = {path: peek_header(path) for path in run_dirs(runs_dir)}
    found = [path for path, each in headers.items() if each.mode == "live" and venue in (None, each.venue)]
    if not found:
        raise ConfigError(
            "there is no live run on record" + ("" if venue is None else f" at {venue}"),
            where=str(runs_dir),
            fix="name runs; scalpdesk runs lists them",
        )
    return found


def _print(head: str, tables: dict[str, Sequence[dict[str, Any]]], flags: Sequence[str]) -> None:
    click.echo(head)
    for name, rows in tables.items():
        if not rows:
            continue
        columns, title = "|".join(f"{each}={{{each}}}" for each in SHOWN[name]), f"\n{_TITLES[name]}"
        print_table(table_of(rows[:MOST_LINES], columns, unknown="", title=title, is_tight=True))
        if len(rows) > MOST_LINES:
            click.echo(f"… and {len(rows) - MOST_LINES:,} more: --csv DIR writes all")
    click.echo("")
    for flag in flags:
        click.echo(f"! {flag}")
