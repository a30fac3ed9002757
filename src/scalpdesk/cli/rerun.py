"""``scalpdesk replay --under``: a run again under other fill models and on redrawn paths of its session."""

import os
import signal
import sys
import threading
from pathlib import Path

from msgspec.structs import asdict

from scalpdesk.cli.output import print_json, print_table, table_of
from scalpdesk.cli.waiting import progress_bar

_NICENESS = 10
"""Added to the priority of a process that the dashboard started: a desk on the machine goes first."""


def rerun(run_dir: Path, *, fill_models: bool, paths: int, beside_desk: bool, as_json: bool) -> None:
    """Make an ended run again under other fill models and on redrawn paths.

    The results are kept beside the runs, and shown on the Runs page and in the page's tear sheet.
    """
    from scalpdesk.core.clock import SystemClock
    from scalpdesk.research import reruns

    if beside_desk:
        os.nice(_NICENESS)
        threading.Thread(target=end_with_parent, name="parent", daemon=True).start()
    with progress_bar(as_json=as_json) as report:
        found = reruns.rerun(run_dir, SystemClock(), report, fill_models=fill_models, paths=paths)
    if as_json:
        made = {name: [asdict(each) for each in getattr(found, name)] for name in ("fill_models", "paths")}
        print_json({"run_id": found.run_id, **made})
        return
    columns = "made again={name}|P&L={pnl:+,f}|costs:+,f|hedges"
    print_table(table_of((*found.fill_models, *found.paths), columns))


def end_with_parent() -> None:
    """End this process once the one that started it has: its end of our standard input is closed then."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
