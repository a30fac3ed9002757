"""``scalpdesk harness``: recorded events through a strategy folder, its order intents out."""

import json
import os
import sys
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from scalpdesk.cli.command import NumberRange
from scalpdesk.core.errors import ConfigError, DataError
from scalpdesk.plugins import desk_command

if TYPE_CHECKING:
    from scalpdesk.protocol.values import FreshnessGuard
    from scalpdesk_strategies.isolation.harness import FolderBackend

_STDIN = "-"


@desk_command(
    "harness",
    example=(
        "scalpdesk harness --strategy examples/hello --events examples/hello/events.ndjson",
        "scalpdesk harness --strategy examples/hello --events - --ndjson --fresh",
    ),
)
@click.option("--strategy", required=True, metavar="DIR", help="Folder with strategy.py.")
@click.option("--events", required=True, metavar="FILE", help="Market events, one JSON a line; - is stdin.")
@click.option("--ndjson", is_flag=True, help="One intent a line, as they come, instead of one array.")
@click.option(
    "--isolate/--no-isolate", default=True, help="Run the folder in its own process.", show_default=True
)
@click.option(
    "--time-limit", type=NumberRange(0.001), default=1.0, show_default=True, help="Seconds an event."
)
@click.option(
    "--memory-limit-mb", type=click.IntRange(0), default=2048, show_default=True, help="0: no limit."
)
@click.option(
    "--fresh", is_flag=True, help="Refuse events that are old or from the future; for live sources."
)
def harness(
    *,
    as_json: bool,
    strategy: str,
    events: str,
    ndjson: bool,
    isolate: bool,
    time_limit: float,
    memory_limit_mb: int,
    fresh: bool,
) -> None:
    """Hand market events to a strategy folder and print its order intents.

    Prints one JSON array; with --ndjson each intent as it comes. What the folder prints, its exceptions
    and refused intents go to stderr.
    """
    from scalpdesk.config.sources import take_keys
    from scalpdesk.protocol.values import freshness_from
    from scalpdesk_strategies.isolation.folder import WINDOW, FolderInProcess
    from scalpdesk_strategies.isolation.harness import outcomes
    from scalpdesk_strategies.isolation.process import FolderLimits, FolderProcess

    if ndjson and as_json:
        raise ConfigError("one document or one line an intent", where="--json, --ndjson", fix="leave one out")
    guard = freshness_from(os.environ) if fresh else None
    take_keys(os.environ)  # the folder's process could read them there
    backend: FolderBackend
    intents: list[dict[str, Any]] = []
    window = 1 if events == _STDIN else WINDOW  # from a live source the next event may be long in coming
    with _open(events) as source, ExitStack() as stack:
        if isolate:
            backend = FolderProcess(Path(strategy), FolderLimits(time_limit, memory_limit_mb))
        else:
            backend = FolderInProcess(Path(strategy))
        stack.callback(backend.close)
        for outcome in outcomes(backend, _events(source, events, guard), window=window):
            for record in outcome.logs:
                click.echo(json.dumps(record, sort_keys=True), err=True)
            for intent in outcome.intents:
                if ndjson:
                    click.echo(json.dumps(intent, sort_keys=True))
                else:
                    intents.append(intent)
    if not ndjson:
        click.echo(json.dumps(intents, indent=2, sort_keys=True))


def _open(events: str) -> BinaryIO:
    if events == _STDIN:
        return sys.stdin.buffer
    try:
        return Path(events).open("rb")
    except OSError as error:
        raise DataError(
            f"the events cannot be read: {error.strerror}", where="--events", value=events, fix="name a file"
        ) from error


def _events(source: BinaryIO, name: str, guard: "FreshnessGuard | None") -> Iterator[dict[str, Any]]:
    """Yield the events up to a shutdown or the end; a bad line is a refusal that names it."""
    from scalpdesk.core.clock import SystemClock
    from scalpdesk.protocol import log_message
    from scalpdesk.protocol.messages import LONGEST_LINE_BYTES, read_event

    clock = SystemClock()
    number = 0
    while line := source.readline(LONGEST_LINE_BYTES + 2):
        number += 1
        if number == 1:
            line = line.removeprefix(BOM_UTF8)  # editors on Windows begin a file with it
        if line.isspace():
            continue
        try:
            event = read_event(line)
        except DataError as error:
            raise _at_line(error, name, number) from error
        if event is None:
            return
        if guard is not None:
            verdict = guard.verdict(event["ts"], clock.now_ns())
            if verdict != "ok":
                record = log_message(event["ts"], "warn", f"event {event['event_id']} refused: {verdict}")
                click.echo(json.dumps(record, sort_keys=True), err=True)
                continue
        yield event


def _at_line(error: DataError, name: str, number: int) -> DataError:
    what = f"line {number} is no market event: {error.what}"
    where = f"{name}:{number}" + (f", {error.where}" if error.where and error.where != "message" else "")
    fix = "correct or delete the line"
    if error.has_value:
        return DataError(what, where=where, value=error.value, fix=fix)
    return DataError(what, where=where, fix=fix)
