"""``scalpdesk note``: tags and notes on runs, days and trades."""

from pathlib import Path
from typing import Any

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.output import new_table, print_json, print_table
from scalpdesk.core.errors import ArgumentError


@desk_command(
    "note",
    example=(
        "scalpdesk note last 'held through the auction' --tag fomc",
        "scalpdesk note last 'exit was late' --trade 2 --tag mistake",
        "scalpdesk note last --day 2018-02-05 --tag vol-spike",
        "scalpdesk note --json",
    ),
)
@click.argument("run", required=False)
@click.argument("text", required=False)
@click.option("--day", default=None, metavar="YYYY-MM-DD", help="Note a day of the run.")
@click.option("--trade", type=int, default=None, metavar="N", help="Note a trade by its number in `report`.")
@click.option("--tag", "tags", multiple=True, metavar="WORD", help="Add a tag. May be repeated.")
@click.option("--untag", "untagged", multiple=True, metavar="WORD", help="Take a tag away. May be repeated.")
@click.option("--clear", is_flag=True, help="Take note and tags away.")
@settings_options
def note(
    *,
    as_json: bool,
    run: str | None,
    text: str | None,
    day: str | None,
    trade: int | None,
    tags: tuple[str, ...],
    untagged: tuple[str, ...],
    clear: bool,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Tag and note a run, a day or a trade, or list what is noted. RUN is an id, its beginning, or last.

    TEXT replaces the note. Notes are in the store of the runs, in no journal.
    """
    config = settings_from(config_file, overrides).config
    runs_dir = Path(config.desk.runs_dir)
    is_change = text is not None or clear or bool(tags or untagged)
    if text is not None and not text.strip():
        fix = "write a note, or --clear to take it away"
        raise ArgumentError("an empty note says nothing", where="TEXT", value=text, fix=fix)
    if not is_change and (day, trade) == (None, None):
        _list(runs_dir, run, config.records_url, as_json=as_json)
        return
    if run is None:
        raise ArgumentError("a note is of a run", where="RUN", fix="scalpdesk note last --tag WORD")
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
    if as_json:
        print_json(kept)
    else:
        click.echo(f"{run_dir.name}{_subject(kept)}: {_said(kept) or 'nothing noted'}")


def _list(runs_dir: Path, run: str | None, records_url: str | None, *, as_json: bool) -> None:
    """List what is noted of a run or of all."""
    from scalpdesk.journal.reader import run_named
    from scalpdesk.records.notes import list_notes
    from scalpdesk.records.store import read_runs

    run_id = None if run is None else run_named(runs_dir, run).name
    is_there = runs_dir.is_dir()
    rows = read_runs(runs_dir, lambda store: list_notes(store, run_id), records_url) if is_there else []
    if as_json:
        print_json({"runs_dir": str(runs_dir), "notes": rows})
        return
    if not rows:
        click.echo("nothing is noted; scalpdesk note last 'TEXT' --tag WORD notes the first")
        return
    table = new_table("run", "of", "tags", "note", left=4, text=("note",))
    for row in rows:
        table.add_row(row["run_id"], _subject(row).strip() or "run", " ".join(row["tags"]), row["note"])
    print_table(table)


def _subject(row: dict[str, Any]) -> str:
    return f" {row['kind']} {row['name']}" if row["name"] else ""


def _said(row: dict[str, Any]) -> str:
    return " ".join([*(f"#{tag}" for tag in row["tags"]), row["note"]]).strip()
