"""Many cells of the matrix of questions, in processes, and the table of what became of them."""

import hashlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import click

from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK, ConfigError, nearest_name
from scalpdesk.plugins import print_json
from scalpdesk_testing.question_cells import (
    QUESTIONS,
    VENUES,
    Cell,
    How,
    Road,
    Seen,
    Verdict,
    cell_named,
    cells,
    verdict,
)

_SOCKET_CELLS_AT_ONCE = 3


class Tried(NamedTuple):
    """A cell that was tried, and what became of it."""

    cell: Cell
    seen: Seen
    outcome: Verdict
    why: str


def run_questions(
    names: Sequence[str],
    asked: str | None,
    *,
    protocol: str | None,
    sample: int | None,
    is_over_sockets: bool,
    workers: int | None,
    as_json: bool,
) -> int:
    """Try cells, show what became of them, and return the exit code.

    ``names``, ``asked``: Cells by name, or a question, ``all`` for every one.
    ``protocol``: Of one venue; None for all.
    ``sample``: So many of these cells, drawn by their names.

    Raises ConfigError for a question or cell that there is not.
    """
    known = ["all", *(question.value for question in QUESTIONS)]
    if asked is not None and asked not in known:
        raise ConfigError(
            "there is no such question",
            where="--questions",
            value=asked,
            nearest=nearest_name(asked, known),
            fix=f"one of: {', '.join(known)}",
        )
    chosen = tuple(question for question in QUESTIONS if asked in ("all", question.value))
    todo = [_named(name) for name in names]
    todo += cells(VENUES if protocol is None else (protocol,), chosen)
    if sample is not None:
        todo = sorted(todo, key=_place)[:sample]
    began = time.perf_counter()
    with progress_bar(as_json=as_json) as report:
        run = over_sockets if is_over_sockets else in_virtual_time
        tried = run(todo, workers=workers, progress=lambda done, of: report(done, of, "cells"))
    wall = time.perf_counter() - began
    failed = [each for each in tried if each.outcome is Verdict.FAILED]
    outcomes = Counter(each.outcome.value for each in tried)
    if as_json:
        print_json(
            {
                "cells": len(tried),
                **{kind.value: outcomes[kind.value] for kind in Verdict},
                "wall_seconds": round(wall, 1),
                "table": _rows(tried),
                "failures": [{"cell": str(each.cell), "why": each.why} for each in failed],
            }
        )
    else:
        click.echo(table_of(tried))
        for each in failed:
            click.echo(f"FAILED {each.cell}: {each.why}")
        counts = ", ".join(f"{outcomes[kind.value]} {kind.value}" for kind in Verdict)
        click.echo(f"{len(tried)} cells: {counts}, in {wall:.0f} s")
    return EXIT_FAILED if failed else EXIT_OK


def _named(name: str) -> Cell:
    """Return a cell by its name. Raises ConfigError when there is no such cell."""
    try:
        return cell_named(name)
    except ValueError as problem:
        raise ConfigError(
            "there is no such cell",
            where="--cell",
            value=f"{name}: {problem}",
            fix=f"for example: {next(cells())}",
        ) from None


def _place(cell: Cell) -> str:
    """Return the place of a cell in a draw that its name alone decides."""
    return hashlib.sha256(str(cell).encode()).hexdigest()


Progress = Callable[[int, int], None]


def in_virtual_time(
    todo: Sequence[Cell], *, workers: int | None = None, progress: Progress | None = None
) -> list[Tried]:
    """Try cells in virtual time, over processes, with the control of each road."""
    from scalpdesk_testing.question_trial import SLACK_SECONDS  # noqa: PLC0415 - loads the live desk

    names = [str(cell) for cell in _with_controls(todo)]
    with ProcessPoolExecutor(workers) as pool:
        running = [pool.submit(_try_virtual, name) for name in names]
        return _judged(todo, _results(running, progress), SLACK_SECONDS)


def over_sockets(
    todo: Sequence[Cell], *, workers: int | None = None, progress: Progress | None = None
) -> list[Tried]:
    """Try cells with real commands, a few at a time, with the control of each road."""
    from scalpdesk_testing.question_sockets import SLACK_SECONDS  # noqa: PLC0415 - loads the live desk

    names = [str(cell) for cell in _with_controls(todo)]
    with (
        tempfile.TemporaryDirectory(prefix="scalpdesk-questions-") as folder,
        ThreadPoolExecutor(workers or _SOCKET_CELLS_AT_ONCE) as pool,
    ):
        running = [
            pool.submit(_try_over_sockets, name, Path(folder) / str(number))
            for number, name in enumerate(names)
        ]
        return _judged(todo, _results(running, progress), SLACK_SECONDS)


def _with_controls(todo: Iterable[Cell]) -> Iterator[Cell]:
    listed = list(todo)
    yield from dict.fromkeys(cell.control for cell in listed)
    yield from (cell for cell in listed if cell.how is not How.WELL)


def _results(running: Sequence[Any], progress: Progress | None) -> dict[str, Seen]:
    found: dict[str, Seen] = {}
    for done, future in enumerate(as_completed(running), 1):
        name, seen = future.result()
        found[name] = seen
        if progress is not None:
            progress(done, len(running))
    return found


def _judged(todo: Iterable[Cell], found: dict[str, Seen], slack_seconds: float) -> list[Tried]:
    return [
        Tried(cell, seen, *verdict(cell, seen, found[str(cell.control)], slack_seconds))
        for cell in todo
        for seen in (found[str(cell)],)
    ]


def _try_virtual(name: str) -> tuple[str, Seen]:
    from scalpdesk_testing.question_trial import try_cell  # noqa: PLC0415 - in the worker alone

    return name, try_cell(cell_named(name))


def _try_over_sockets(name: str, folder: Path) -> tuple[str, Seen]:
    from scalpdesk_testing.question_sockets import try_cell  # noqa: PLC0415 - in the worker alone

    return name, try_cell(cell_named(name), folder)


def _rows(tried: Iterable[Tried]) -> list[dict[str, Any]]:
    counts: dict[tuple[str, str], Counter[str]] = {}
    for each in tried:
        row = counts.setdefault((each.cell.venue, each.cell.question.value), Counter())
        kept = each.outcome is not Verdict.FAILED
        row["cells"] += 1
        row["held"] += kept
        row[f"{each.cell.road.value} cells"] += 1
        row[f"{each.cell.road.value} held"] += kept
    return [
        {"venue": venue, "question": question, **row} for (venue, question), row in sorted(counts.items())
    ]


def table_of(tried: Iterable[Tried]) -> str:
    """Return a table in Markdown: cells that held of those tried, by venue, question and road."""
    lines = [
        f"| venue | question | {' | '.join(road.value for road in Road)} | all |",
        f"|---|---|{'--:|' * (len(Road) + 1)}",
    ]
    for row in _rows(tried):
        parts = [
            f"{row.get(f'{road.value} held', 0)}/{row.get(f'{road.value} cells', 0)}"
            if row.get(f"{road.value} cells")
            else ""
            for road in Road
        ]
        lines.append(
            f"| {row['venue']} | {row['question']} | {' | '.join(parts)} | {row['held']}/{row['cells']} |"
        )
    return "\n".join(lines)
