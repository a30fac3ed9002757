"""``scalpdesk diary``: the calendar of P&L, trades with their edge; tags and notes."""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.output import fields_of, print_answer, print_json, print_table, table_of
from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.core.units import money_decimals

if TYPE_CHECKING:
    from scalpdesk.config.settings import DeskConfig

_TITLES = {
    "days": "Day",
    "months": "Month",
    "weekdays": "Weekday",
    "hours": "Hour, New York",
    "days_to_expiry": "Days to expiry",
    "regimes": "Regime",
}


@desk_command(
    "diary",
    example=(
        "scalpdesk diary last",
        "scalpdesk diary --search 'gamma-scalper paper 2026-11..2026-12'",
        "scalpdesk diary last --json",
        "scalpdesk diary --note last 'held through the auction' --tag fomc",
        "scalpdesk diary --note last 'exit was late' --trade 2 --tag mistake",
        "scalpdesk diary --note last --day 2018-02-05 --tag vol-spike",
        "scalpdesk diary --note --json",
    ),
)
@click.argument("runs", metavar="[RUN ...]", nargs=-1)
@click.option(
    "--search",
    default="",
    metavar="WORDS",
    help="Runs of one account with every word; dates are bounds.",
)
@click.option("--note", is_flag=True, help="Note TEXT on RUN (--note RUN TEXT), or list what is noted.")
@click.option("--day", metavar="YYYY-MM-DD", help="--note: of a day of the run.")
@click.option("--trade", type=int, metavar="N", help="--note: a trade by its number in `report`.")
@click.option("--tag", "tags", multiple=True, metavar="WORD", help="--note: add a tag. May be repeated.")
@click.option("--untag", "untagged", multiple=True, metavar="WORD", help="--note: take a tag away.")
@click.option("--clear", is_flag=True, help="--note: take note and tags away.")
@settings_options
def diary(
    *,
    as_json: bool,
    runs: tuple[str, ...],
    search: str,
    note: bool,
    config_file: str | None,
    overrides: tuple[str, ...],
    **of_note: Any,
) -> None:
    """Show P&L by day, month, weekday, hour, days to expiry and regime, each trade's edge, and notes.

    RUN is an id, its beginning, or last; without one it is the run written last. Of several runs those of
    one account are summed, a session that was played again once. TEXT of --note replaces the note. Notes are
    in the store of the runs, in no journal.
    """
    if note and len(runs) <= 2 and not search:
        run, text = (*runs, None, None)[:2]
        _note(settings_from(config_file, overrides).config, run, text, as_json=as_json, **of_note)
        return
    if note or any(of_note.values()):
        raise ArgumentError("a note is of one run", where="--note", fix="scalpdesk diary --note RUN TEXT")
    if runs and search.strip():
        raise ConfigError(
            "runs are named or searched", where="RUN, --search", value=search, fix="leave out one of the two"
        )
    from scalpdesk.web.diary import diary_of

    config = settings_from(config_file, overrides).config
    found = diary_of(Path(config.desk.runs_dir), runs, search, config.records_url)
    if as_json:
        print_json(found)
        return
    if not found["runs"]:
        click.echo("no run; scalpdesk demo makes the first, scalpdesk runs lists them")
        return
    click.echo(found["said"])
    for name, title in _TITLES.items():
        if found[name]:
            _show(title, found[name], found["currency"])
    if found["trades"]:
        _show_trades(found["trades"], found["currency"])
    for row in found["notes"]:
        click.echo(f"{row['run_id']} {_subject(row).strip() or 'run'}: {_said(row)}")
    for run_id, why in found["left_out"].items():
        click.echo(f"left out: {run_id}, {why}", err=True)


def _show(title: str, rows: list[dict[str, Any]], currency: str) -> None:
    counts = [name for name in ("sessions", "trades") if rows[0][name] is not None]
    shown = [row for row in rows if Decimal(row["pnl"]) or counts]  # of days and hours those that moved
    columns = "|".join((f"{title}={{name}}", f"P&L {currency}={{pnl}}", *counts))
    print_table(table_of(shown, columns, {"pnl": lambda row: _exact(Decimal(row["pnl"]))}))


def _exact(pnl: Decimal) -> str:
    return f"{pnl:+,f}" if pnl else f"{pnl:f}"


def _show_trades(rows: list[dict[str, Any]], currency: str) -> None:
    from scalpdesk.report.figures import Shown
    from scalpdesk.report.trades import Trade

    are_several = len({row["run_id"] for row in rows}) > 1
    columns = Shown.of(Trade)
    heads, made = fields_of(columns, money_decimals(currency))
    made["name"] = lambda row: msgspec.convert(row, Trade).name
    heads = f"{'run={run_id}|' if are_several else ''}trade={{name}}|{heads}"
    print_table(table_of(rows, heads, made, left=2 + are_several), first_to_go=Shown.first_to_go(columns))
    for row in rows:
        number = f"{row['run_id']} {row['number']}" if are_several else row["number"]
        click.echo(f"{number}: {'; '.join(filter(None, (row['entry'], row['exit'])))}")


def _note(
    config: "DeskConfig",
    run: str | None,
    text: str | None,
    *,
    as_json: bool,
    day: str | None,
    trade: int | None,
    tags: tuple[str, ...],
    untagged: tuple[str, ...],
    clear: bool,
) -> None:
    """Tag and note a run, a day or a trade, or list what is noted."""
    runs_dir = Path(config.desk.runs_dir)
    is_change = text is not None or clear or bool(tags or untagged)
    if text is not None and not text.strip():
        fix = "write a note, or --clear to take it away"
        raise ArgumentError("an empty note says nothing", where="TEXT", value=text, fix=fix)
    if not is_change and (day, trade) == (None, None):
        _list(runs_dir, run, config.records_url, as_json=as_json)
        return
    if run is None:
        raise ArgumentError("a note is of a run", where="RUN", fix="scalpdesk diary --note last --tag WORD")
    from scalpdesk.core.clock import SystemClock
    from scalpdesk.journal.reader import run_named
    from scalpdesk.records.notes import checked_tags, keep_note, list_notes, subject_in
    from scalpdesk.records.store import open_store, store_url

    run_dir = run_named(runs_dir, run)
    with open_store(config.records_url or store_url(runs_dir)) as store:
        subject = subject_in(run_dir, store, day, trade)
        if not is_change:
            where, fix = "--day" if trade is None else "--trade", "add TEXT, --tag WORD or --clear"
            raise ArgumentError("nothing is said of it", where=where, value=subject[1], fix=fix)
        known = (row for row in list_notes(store, run_dir.name) if (row["kind"], row["name"]) == subject)
        nothing: dict[str, Any] = {"tags": [], "note": ""}
        old = nothing if clear else next(known, nothing)
        away = checked_tags(untagged)
        left = [tag for tag in checked_tags([*old["tags"], *tags]) if tag not in away]
        said = old["note"] if text is None else text
        kept = keep_note(store, run_dir.name, subject, tags=left, note=said, now_ns=SystemClock().now_ns())
    print_answer(kept, f"{run_dir.name}{_subject(kept)}: {_said(kept) or 'nothing noted'}", as_json=as_json)


def _list(runs_dir: Path, run: str | None, records_url: str | None, *, as_json: bool) -> None:
    """List what is noted of a run or of all."""
    from scalpdesk.web.runs import notes_document

    rows = notes_document(runs_dir, run, records_url)["notes"]
    if as_json:
        print_json({"runs_dir": str(runs_dir), "notes": rows})
        return
    if not rows:
        click.echo("nothing is noted; scalpdesk diary --note last 'TEXT' --tag WORD notes the first")
        return
    made = {"of": lambda row: _subject(row).strip() or "run", "tags": lambda row: " ".join(row["tags"])}
    print_table(table_of(rows, "run={run_id}|of|tags|note", made, left=4, text=("note",)))


def _subject(row: dict[str, Any]) -> str:
    return f" {row['kind']} {row['name']}" if row["name"] else ""


def _said(row: dict[str, Any]) -> str:
    return " ".join([*(f"#{tag}" for tag in row["tags"]), row["note"]]).strip()
