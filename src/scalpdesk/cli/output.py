"""Output of a command: one JSON document or text on stdout, everything else on stderr."""

import io
import json
import logging
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any

import click

from scalpdesk.core.errors import ArgumentError, ScalpdeskError
from scalpdesk.core.units import rounded_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column, Table

    from scalpdesk.report.figures import Shown

EXIT_INTERRUPTED = 130

FORMER_OPTIONS = {"--price": "--paid", "--session": "--start"}
"""Options by the name that they had in some commands; it still works, and no help shows it."""


def print_json(document: object) -> None:
    """Write ``document`` as the one JSON document on stdout; exact amounts become strings."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False, default=_plain))


def print_answer(document: object, text: str | Callable[[], object], *, as_json: bool) -> None:
    """Give the answer of a command: its document for ``--json``, else its text or what prints that."""
    if as_json:
        print_json(document)
    elif isinstance(text, str):
        click.echo(text)
    else:
        text()


def write_utf8() -> None:
    """Let stdout and stderr write UTF-8, also into a file on a system with another encoding."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)


def print_error(error: ScalpdeskError, *, as_json: bool) -> None:
    """Show a refusal: its lines on stderr, or ``{"error": …}`` on stdout for ``--json``."""
    if as_json:
        facts = error.as_dict()
        print_json({"error": {"type": facts.pop("error"), **facts}})
    else:
        click.echo(f"error: {error.render()}", err=True)


def console() -> "Console":
    """Return a rich console on stdout; without a terminal it is 100 columns wide and uncoloured."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 100, highlight=False)


def new_table(
    *columns: str,
    left: int = 1,
    is_tight: bool = False,
    text: Collection[str] = (),
    title: str | None = None,
) -> "Table":
    """Return a table without a frame, its first ``left`` columns set to the left, the others to the right.

    A tight one has one blank between its many columns. Cells of the columns ``text`` may be broken into
    lines, and are set to the left; all others never are.
    """
    from rich.table import Table

    padding = (0, 1, 0, 0) if is_tight else (0, 1)
    table = Table(
        box=None, pad_edge=False, header_style="bold", padding=padding, title=title, title_justify="left"
    )
    for place, name in enumerate(columns):
        to_left, breaks = place < left or name in text, name in text
        table.add_column(name, justify="left" if to_left else "right", no_wrap=not breaks, overflow="fold")
    return table


def money(amount: float, decimals: int = 2) -> str:
    """Format an amount with its sign and two decimals (or the account's), coloured by it."""
    colour = "green" if amount > 0 else "red" if amount < 0 else "dim"
    return f"[{colour}]{rounded_text(amount, decimals, '+,')}[/]"


Made = Mapping[str, Callable[[Any], object]]
"""What a table makes of a row, by the name that its columns have for it."""


class _Cells(Formatter):
    """Fills templates with the fields of a row: a struct's, a document's, or made of the row."""

    def __init__(self, made: Made, unknown: str) -> None:
        self._made, self._unknown = made, unknown

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        del kwargs
        row = args[0]
        if isinstance(key, int):
            return row
        if key in self._made:
            return self._made[key](row)
        return row[key] if isinstance(row, Mapping) else getattr(row, key)

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None:
            return self._unknown
        if format_spec.endswith("$"):
            return money(float(value), int(format_spec[1:-1]))
        digits, is_share, sign = format_spec.partition("p")
        return f"{100.0 * value:{digits}f}{sign}" if is_share else format(value, format_spec)


def table_of(
    rows: Iterable[Any],
    columns: str,
    made: Made | None = None,
    *,
    unknown: str = "-",
    **look: Any,
) -> "Table":
    """Return a table with a line for each row; ``look`` is that of :func:`new_table`.

    ``columns`` are parted by ``|``: each a heading and a template of Python's, ``worth={pnl:.2f}``, or a
    field alone with its format, ``pnl:.2f``. ``made`` has functions of the row by the name of a field. The
    format ``.1p`` gives a fraction in per cent, with a sign as in ``.1p %``, ``.2$`` an amount coloured by
    its sign; ``unknown`` stands for None.
    """
    parts = [each.partition("=") for each in columns.split("|")]
    heads = [head if sign else head.partition(":")[0].replace("_", " ") for head, sign, _ in parts]
    templates = [template if sign else f"{{{head}}}" for head, sign, template in parts]
    table, cells = new_table(*heads, **look), _Cells(made or {}, unknown)
    for row in rows:
        table.add_row(*(cells.format(template, row) for template in templates))
    return table


def fields_of(columns: "Iterable[Shown]", decimals: int) -> tuple[str, dict[str, Callable[[Any], str]]]:
    """Return columns of a report's struct for :func:`table_of`: headings with templates, and what fills them.

    ``decimals``: Of amounts in the account's currency.
    """
    from scalpdesk.instruments.sessions import to_new_york

    forms: dict[str, Callable[[Any], str]] = {
        "amount": lambda value: money(value, decimals),
        "worth": lambda value: rounded_text(value, decimals),
        "volatility": lambda value: f"{value:.1%}",
        "count": str,
        "time": lambda value: f"{to_new_york(value):%Y-%m-%d %H:%M}",
        "text": str,
    }

    def cell(form: Callable[[Any], str], name: str, row: Any) -> str:
        value = row[name] if isinstance(row, Mapping) else getattr(row, name)
        return "" if value is None else form(value)

    chosen = list(columns)
    heads = "|".join(f"{each.head}={{{each.name}}}" for each in chosen)
    return heads, {each.name: partial(cell, forms[each.kind], each.name) for each in chosen}


def print_table(table: "Table", out: "Console | None" = None, *, first_to_go: Sequence[str] = ()) -> None:
    """Print a table whole, as far as it fits: a figure is never cut and never broken into lines.

    In a pipe or a file every column is shown, and no text is broken into lines. In a terminal that is too
    narrow columns are left out, those of ``first_to_go`` (headings) and then from the right; a line below the
    table names them.
    """
    out = out or console()
    for column in () if out.is_terminal else table.columns:
        column.no_wrap = True
    kept, gone = list(table.columns), list[str]()
    order = [*first_to_go, *(column.header for column in reversed(table.columns[1:]))]
    for name in dict.fromkeys(str(heading) for heading in order):
        if not out.is_terminal or _width_of(table, kept) <= out.width:
            break
        kept = [column for column in kept if column.header != name]
        gone.append(name.replace("\n", " "))
    before = out.width
    out.width = max(before, _width_of(table, kept))
    out.print(_only(table, kept) if gone else table)
    out.width = before
    if any(gone):
        left_out = ", ".join(name for name in gone if name.strip())
        out.print(f"left out in {before} columns: {left_out}; --json has all", markup=False, soft_wrap=True)


def _width_of(table: "Table", columns: "Sequence[Column]") -> int:
    """Return how wide these columns are when nothing in them is cut."""
    from rich.text import Text

    def need(column: "Column") -> int:
        texts = [Text.from_markup(str(cell)) for cell in (column.header, *column.cells)]
        mark = "\n" if column.no_wrap else " "
        return max((part.cell_len for text in texts for part in text.split(mark)), default=0)

    _, right, _, left = table.padding
    return sum(map(need, columns)) + (left + right) * max(len(columns) - 1, 0)


def _only(table: "Table", columns: "Sequence[Column]") -> "Table":
    """Return the table with these of its columns."""
    found = new_table(title=table.title if isinstance(table.title, str) else None)
    found.padding = table.padding
    for column in columns:
        found.add_column(
            column.header,
            justify=column.justify,
            style=column.style,
            no_wrap=column.no_wrap,
            overflow="fold",
        )
    cells = [list(column.cells) for column in columns]
    for place, row in enumerate(table.rows):
        found.add_row(*(column[place] for column in cells), end_section=row.end_section)
    return found


def cell(value: float | None, decimals: int, factor: float = 1.0) -> str:
    """Return a figure as a table shows it, ``-`` where it is not known."""
    return "-" if value is None else f"{value * factor:.{decimals}f}"


def moment_of(stamp: str | None) -> str:
    """Return the stamp of a JSON document, ISO in UTC, as people read it: in New York time, zone named."""
    from scalpdesk.instruments.sessions import moment_text, to_ns

    return "never" if stamp is None else moment_text(to_ns(datetime.fromisoformat(stamp)))


def held_text(positions: Mapping[str, str]) -> str:
    """Return what is held in words; empty where nothing is."""
    return ", ".join(f"{quantity} {symbol}" for symbol, quantity in positions.items())


def shown(value: object) -> str:
    """Return a value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def around(rows: Sequence[Any], at: Callable[[Any], float], middle: float, each_side: int) -> Sequence[Any]:
    """Return the row nearest to ``middle`` and so many on each side; the rows are sorted."""
    nearest = min(range(len(rows)), key=lambda place: abs(at(rows[place]) - middle))
    return rows[max(nearest - each_side, 0) : nearest + each_side + 1]


def print_hidden(every: Sequence[Any], shown: Sequence[Any]) -> None:
    """Tell how many strikes are not in the table."""
    if len(every) > len(shown):
        click.echo(f"{len(every) - len(shown)} more strikes: --strikes {len(every)} or --json")


def print_notes(notes: Iterable[str]) -> None:
    """Write remarks, one a line."""
    for note in notes:
        click.echo(f"note: {note}")


def log_to_stderr(*, debug: bool) -> None:
    """Send log records to stderr: warnings, and with ``debug`` everything that the desk itself says.

    Other packages stay at warnings: a compiler at work would say a thousand lines.
    """
    form = "%(levelname)s %(name)s: %(message)s"
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, force=True, format=form)
    logging.getLogger("scalpdesk").setLevel(logging.DEBUG if debug else logging.NOTSET)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure of matplotlib into a file; the ending says in which format.

    Raises ArgumentError when the file cannot be written or the ending is not known.
    """
    try:
        figure.savefig(path)
    except (ValueError, OSError) as problem:
        raise ArgumentError(
            f"cannot write the plot: {problem}",
            where="--plot",
            value=str(path),
            fix="use a name such as x.png",
        ) from problem
