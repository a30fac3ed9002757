"""``scalpdesk rerun``: a run again under other fill models and on redrawn paths of its session."""

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import click

from scalpdesk.cli.command import desk_command, settings_options
from scalpdesk.cli.history import find_run
from scalpdesk.cli.output import console, new_table, print_json, print_table
from scalpdesk.cli.waiting import progress_bar

if TYPE_CHECKING:
    from scalpdesk.research.reruns import OtherRun

NICENESS = 10
"""Added to the priority of a process that the dashboard started: a desk on the machine goes first."""


@desk_command(
    "rerun",
    example=(
        "scalpdesk rerun last",
        "scalpdesk rerun last --no-fill-models --paths 100",
        "scalpdesk rerun last --paths 0 --json",
    ),
)
@click.argument("run")
@click.option(
    "--fill-models/--no-fill-models",
    default=True,
    help="Again under the other fill models.",
)
@click.option(
    "--paths",
    type=click.IntRange(0, 1_000),
    default=20,
    show_default=True,
    help="Redrawn paths of an embedded session, its own among them; 0 for none.",
)
@click.option("--beside-desk", is_flag=True, hidden=True, help="End with the process that started it.")
@settings_options
def rerun(
    *,
    as_json: bool,
    run: str,
    fill_models: bool,
    paths: int,
    beside_desk: bool,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Make an ended run again under other fill models and on redrawn paths. RUN as for report.

    The run is only read. The results are kept beside the runs, and shown on the Runs page and in the page's
    tear sheet.
    """
    from scalpdesk.core.clock import SystemClock
    from scalpdesk.research import reruns

    run_dir = find_run(config_file, overrides, run)
    if beside_desk:
        os.nice(NICENESS)
        threading.Thread(target=end_with_parent, name="parent", daemon=True).start()
    with progress_bar(as_json=as_json) as report:
        found = reruns.rerun(run_dir, SystemClock(), report, fill_models=fill_models, paths=paths)
    if as_json:
        print_json(
            {
                "run_id": found.run_id,
                "fill_models": [_row(each) for each in found.fill_models],
                "paths": [_row(each) for each in found.paths],
            }
        )
        return
    table = new_table("made again", "P&L", "costs", "hedges")
    for each in (*found.fill_models, *found.paths):
        table.add_row(each.name, f"{each.pnl:+,f}", f"{each.costs:+,f}", str(each.hedges))
    print_table(table, console())


def _row(each: "OtherRun") -> dict[str, str | int]:
    return {"name": each.name, "pnl": str(each.pnl), "costs": str(each.costs), "hedges": each.hedges}


def end_with_parent() -> None:
    """End this process once the one that started it has: its end of our standard input is closed then."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
