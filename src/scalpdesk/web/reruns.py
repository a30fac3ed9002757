"""Reruns of runs for the Runs page: their results as it prints them, and the processes that make them."""

import subprocess
import sys
import threading
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np
from msgspec import structs

from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import RetryError, ScalpdeskError
from scalpdesk.journal.reader import JournalReader, peek_header
from scalpdesk.monitor import answers
from scalpdesk.monitor.texts import plain
from scalpdesk.research.reruns import (
    FILL_MODELS,
    OtherRun,
    Reruns,
    RerunState,
    begin_reruns,
    keep_reruns,
    kept_reruns,
    plan_reruns,
    result_of,
)

_END_SECONDS = 3.0


def model_block(model: str, own: OtherRun, others: Sequence[OtherRun]) -> answers.ModelBlock | None:
    """Return a run beside itself under other fill models, in the order of the models; None without any."""
    if not others:
        return None
    runs = {model: own, **{other.name: other for other in others}}
    ordered = [(name, runs[name]) for name in FILL_MODELS if name in runs]
    amounts = [run.pnl for _, run in ordered]
    spread = max(amounts) - min(amounts)
    share = f", or {abs(spread / own.pnl):.1%} of the result".replace("%", " %") if own.pnl else ""
    keeps = all(amount > 0 for amount in amounts) or all(amount < 0 for amount in amounts)
    same = [name.capitalize() for name, run in ordered if name != model and run.pnl == own.pnl]
    note = f"Range {plain(spread)}{share}. The sign {'does not change' if keeps else 'changes'}."
    if same:
        note += f" {' and '.join(same)} equals {model}: no order rested long enough to tell them apart."
    return {
        "note": note,
        "rows": [
            answers.ModelRow(
                name=name, own=name == model, pnl=f"{run.pnl:f}", costs=f"{run.costs:f}", hedges=run.hedges
            )
            for name, run in ordered
        ],
    }


def path_block(total: Decimal, paths: Sequence[OtherRun]) -> answers.PathBlock | None:
    """Return where a result stands among redrawn paths; None without any."""
    if not paths:
        return None
    every = [float(total), *(float(other.pnl) for other in paths)]
    return {"own": every[0], "others": every[1:], "median": float(np.median(every))}


class _Ended(NamedTuple):
    """What an ended run can be compared by; it does not change."""

    can: answers.CanRerun
    own: OtherRun
    fill_model: str


class RerunJobs:
    """Makes runs again in a process of its own, one at a time; ``scalpdesk replay --under`` does the work."""

    def __init__(self, runs_dir: Path, clock: Clock) -> None:
        self._runs_dir, self._clock = runs_dir, clock
        self._lock = threading.Lock()
        self._running: tuple[str, subprocess.Popen[bytes]] | None = None
        self._ended: dict[Path, _Ended] = {}

    def start(self, run_dir: Path, *, fill_models: bool, paths: int) -> None:
        """Start the reruns of a run.

        Raises ArgumentError when the run cannot be made again like this. Raises RetryError while another is
        made again.
        """
        plan_reruns(run_dir, self._clock, fill_models=fill_models, paths=paths)
        words = ["--fill-models" if fill_models else "--no-fill-models", "--paths", str(paths)]
        command = [sys.executable, "-m", "scalpdesk", "replay", "--under", str(run_dir), *words]
        with self._lock:
            if (busy := self.busy) is not None:
                raise RetryError(f"{busy} is being made again", where="rerun", fix="wait, or cancel it")
            keep_reruns(self._runs_dir, begin_reruns(run_dir, fill_models=fill_models, paths=paths))
            process = subprocess.Popen(  # noqa: S603 - our own program
                [*command, "--beside-desk"],
                stdin=subprocess.PIPE,  # its end is how the process learns that this one is gone
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._running = run_dir.name, process

    @property
    def busy(self) -> str | None:
        """Run that is being made again; None while none is."""
        if self._running is None or _ended_with(self._running[1]) is not None:
            return None
        return self._running[0]

    def kept(self, run_id: str) -> Reruns | None:
        """Return the reruns of a run, with the end that their process came to."""
        running = self._running
        code = _ended_with(running[1]) if running is not None and running[0] == run_id else None
        found = kept_reruns(self._runs_dir, run_id)  # after the look at the process: it writes before it ends
        if found is None or code is None or found.state is not RerunState.RUNNING:
            return found
        return _ended_early(found, code)

    def page(self, run_dir: Path) -> answers.RerunsPage:
        """Return the reruns of a run, or why there can be none."""
        found = self.kept(run_dir.name)
        page: answers.RerunsPage = {
            "run_id": run_dir.name,
            "state": "none" if found is None else found.state.value,
            "done": 0 if found is None else found.done,
            "total": 0 if found is None else found.total,
            "what": "" if found is None else found.what,
            "problem": (found.problem if found is not None else "") or None,
            "refusal": None,
            "can": {"fill_models": False, "paths": False},
            "command": f"scalpdesk replay {run_dir.name} --under",
            "models": None,
            "paths": None,
        }
        try:
            ended = self._ended.get(run_dir) or self._look(run_dir)
        except ScalpdeskError as error:
            return {**page, "refusal": error.what}
        page["can"] = ended.can
        if found is not None:
            page["models"] = model_block(ended.fill_model, ended.own, found.fill_models)
            page["paths"] = path_block(ended.own.pnl, found.paths)
        return page

    def _look(self, run_dir: Path) -> _Ended:
        models, redrawn = plan_reruns(run_dir, self._clock, fill_models=True, paths=len(FILL_MODELS))
        own = result_of("own", JournalReader(run_dir).summary)
        can = answers.CanRerun(fill_models=bool(models), paths=bool(redrawn))
        fill_model = str(peek_header(run_dir).config["simulation"]["fill_model"])
        self._ended[run_dir] = _Ended(can, own, fill_model)
        return self._ended[run_dir]

    def cancel(self, run_id: str) -> None:
        """End the process that makes a run again; what it has made stays."""
        with self._lock:
            if self._running is not None and self.busy == run_id:
                self._end(self._running[1])
                found = kept_reruns(self._runs_dir, run_id)
                if found is not None and found.state is not RerunState.ENDED:
                    keep_reruns(self._runs_dir, _ended_early(found, 0))

    def stop(self) -> None:
        """End the process of this server."""
        if (busy := self.busy) is not None:
            self.cancel(busy)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _ended_with(process)


def _ended_with(process: subprocess.Popen[bytes]) -> int | None:
    """Return the code that a process ended with, and close our end of its input; None while it runs."""
    code = process.poll()
    if code is not None and process.stdin is not None:
        process.stdin.close()
    return code


def _ended_early(found: Reruns, code: int) -> Reruns:
    state = RerunState.FAILED if code > 0 else RerunState.CANCELLED
    problem = f"its process ended with code {code}" if code > 0 else ""
    changed: Reruns = structs.replace(found, state=state, what="", problem=found.problem or problem)
    return changed
