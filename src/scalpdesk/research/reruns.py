"""A run again under other fill models, and on redrawn paths of its session; the run itself is only read.

The results stand beside the runs, in a file for each run that is renewed after every result.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import msgspec

from scalpdesk.assembly import journaled_market, load_market
from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.config.settings import LoadedSettings, changed_settings, load_settings
from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import ArgumentError, ScalpdeskError
from scalpdesk.core.owner_only import make_folder, own_file
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.journal.reader import JournalReader, peek_header
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.portfolio.gamma_verdict import COSTS

FILL_MODELS = ("cross", "mid", "queue", "adverse")
_RERUNS = "reruns"
"""Folder beside the runs."""
Progress = Callable[[int, int, str], None]


class OtherRun(msgspec.Struct, frozen=True):
    """Result of the same run under another fill model or on another redrawn path."""

    name: str
    pnl: Decimal
    costs: Decimal
    hedges: int


class _Rerun(NamedTuple):
    """A run that is to be made."""

    what: str
    make: Callable[[], OtherRun]


class RerunState(StrEnum):
    """How far the reruns of a run are."""

    RUNNING = "running"
    ENDED = "ended"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Reruns(msgspec.Struct, frozen=True, kw_only=True):
    """Reruns of a run: those that have ended, and how many there will be."""

    run_id: str
    state: RerunState = RerunState.RUNNING
    total: int = 0
    what: str = ""
    """The one that is being made."""
    fill_models: tuple[OtherRun, ...] = ()
    paths: tuple[OtherRun, ...] = ()
    problem: str = ""
    pid: int = 0
    """Process that makes them."""

    @property
    def done(self) -> int:
        """How many have ended."""
        return len(self.fill_models) + len(self.paths)

    def plus(self, made: OtherRun, *, is_model: bool) -> "Reruns":
        """Return these with a further result."""
        if is_model:
            return _with(self, fill_models=(*self.fill_models, made))
        return _with(self, paths=(*self.paths, made))


def _overrides_of(header: JournalHeader, given: Mapping[str, Any] | None = None) -> list[str]:
    """Return what of a run's settings is not the default, as ``--set`` takes it.

    ``given``: What a folder's file sets already, as :func:`changed_settings` names it: that is left out.
    """
    changed, given = changed_settings(header.strategy, header.config), given or {}
    return [
        f"{key}={_word(value)}" for key, value in changed.items() if key not in given or given[key] != value
    ]


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value)


def command_again(header: JournalHeader, given: Mapping[str, Any] | None = None) -> str:
    """Return the command line that makes a run again; of a demo it is the backtest that trades the same.

    ``given``: As of :func:`_overrides_of`.
    """
    more = "".join(f" --set {quote(word)}" for word in _overrides_of(header, given))
    if not header.is_backtest:
        live = " --live" if header.mode == "live" else ""
        url = header.data.get("url")
        at = f" --url {url} --exchange-time" if url else ""
        return f"scalpdesk run {header.strategy} --venue {header.venue}{live}{at}{more}"
    first, last = header.sessions[0].day, header.sessions[-1].day
    span = f" --start {first}" + (f" --end {last}" if last != first else "")
    seed = "" if header.seed is None else f" --seed {header.seed}"
    return f"scalpdesk backtest {header.strategy} --data {header.data.get('name')}{span}{seed}{more}"


def settings_again(header: JournalHeader, *more: str) -> LoadedSettings | None:
    """Return a run's settings from its journal, with ``more`` set; None when they cannot be had exactly."""
    nowhere = Path(os.devnull)
    try:
        words = _overrides_of(header)
        exact = load_settings(header.strategy, overrides=words, environ={}, cwd=nowhere)
        if exact.config_hash != header.config_hash:
            return None
        return load_settings(header.strategy, overrides=[*words, *more], environ={}, cwd=nowhere)
    except ScalpdeskError:
        return None


def fill_model_reruns(header: JournalHeader, clock: Clock) -> list[_Rerun]:
    """Return the run under each fill model but its own, to be made; empty where it cannot be run again."""
    if header.data.get("tape") is None or settings_again(header) is None:
        return []
    market = cache(lambda: journaled_market(header))

    def make(name: str) -> OtherRun:
        settings = settings_again(header, f"simulation.fill_model={name}")
        assert settings is not None
        return _made(name, header, settings, market(), clock, header.seed)

    own = header.config["simulation"]["fill_model"]
    return [_Rerun(f"fill model {name}", partial(make, name)) for name in FILL_MODELS if name != own]


def path_reruns(header: JournalHeader, clock: Clock, count: int) -> list[_Rerun]:
    """Return the run on other redrawn paths of its session, to be made; with its own there are ``count``.

    Empty where its market is not redrawn.
    """
    base = settings_again(header)
    if base is None or header.data.get("name") != "embedded" or len(header.sessions) != 1 or count < 2:
        return []
    day, underlying = header.sessions[0].day, str(header.data["underlying"])
    seeds = [seed for seed in range(1, count + 1) if seed != header.seed][: count - 1]

    def make(seed: int) -> OtherRun:
        tape = load_market(base, "embedded", underlying=underlying, start=day, end=day, seed=seed)
        return _made(f"seed {seed}", header, base, tape, clock, seed)

    return [_Rerun(f"path {seed}", partial(make, seed)) for seed in seeds]


def carry_out(reruns: Sequence[_Rerun], report: Progress) -> list[OtherRun]:
    """Make runs one after the other; ``report`` hears how many are done before each."""
    found = []
    for number, each in enumerate(reruns):
        report(number, len(reruns), each.what)
        found.append(each.make())
    return found


def _made(
    name: str,
    header: JournalHeader,
    settings: LoadedSettings,
    tape: MarketTape,
    clock: Clock,
    seed: int | None,
) -> OtherRun:
    return result_of(name, run_backtest(settings, tape, clock, mode=header.mode, seed=seed).summary)


def result_of(name: str, summary: Mapping[str, Any]) -> OtherRun:
    """Return what of a run summary is compared."""
    pnl = {part: Decimal(amount) for part, amount in summary["pnl"].items()}
    costs = sum((pnl[part] for part in COSTS), Decimal(0))
    return OtherRun(name, pnl["total"], costs, int(summary["hedges"]))


# kept beside the runs ---------------------------------------------------------------------------------


def plan_reruns(
    run_dir: Path, clock: Clock, *, fill_models: bool, paths: int
) -> tuple[list[_Rerun], list[_Rerun]]:
    """Return the reruns under other fill models and on redrawn paths, to be made.

    Raises ArgumentError when the run has not ended, or can be repeated in none of these ways.
    """
    header = peek_header(run_dir)
    if not JournalReader(run_dir).sealed:
        raise ArgumentError(
            "only a run that has ended is made again", where="RUN", value=run_dir.name, fix="let it end first"
        )
    models = fill_model_reruns(header, clock) if fill_models else []
    redrawn = path_reruns(header, clock, paths)
    if not models and not redrawn:
        raise ArgumentError(
            "this run cannot be made again like this: other fill models take the market of a backtest or demo"
            " and its exact settings, redrawn paths one session of the embedded market, two of them or more",
            where="RUN",
            value=run_dir.name,
            fix="name a backtest or demo of this version: scalpdesk runs",
        )
    return models, redrawn


def rerun(run_dir: Path, clock: Clock, report: Progress, *, fill_models: bool, paths: int) -> Reruns:
    """Make a run again under other fill models and on redrawn paths, and keep each result as it ends.

    Raises ArgumentError as :func:`plan_reruns` does.
    """
    models, redrawn = plan_reruns(run_dir, clock, fill_models=fill_models, paths=paths)
    found = begin_reruns(run_dir, fill_models=bool(models), paths=len(redrawn))
    found = _with(found, total=found.done + len(models) + len(redrawn))
    try:
        for is_model, each in [(True, each) for each in models] + [(False, each) for each in redrawn]:
            found = _with(found, what=each.what)
            keep_reruns(run_dir.parent, found)
            report(found.done, found.total, each.what)
            found = found.plus(each.make(), is_model=is_model)
    except ScalpdeskError as error:
        keep_reruns(run_dir.parent, _with(found, state=RerunState.FAILED, problem=error.what))
        raise
    found = _with(found, state=RerunState.ENDED, what="")
    keep_reruns(run_dir.parent, found)
    return found


def _with(found: Reruns, **changes: Any) -> Reruns:
    changed: Reruns = msgspec.structs.replace(found, **changes)
    return changed


def begin_reruns(run_dir: Path, *, fill_models: bool, paths: int) -> Reruns:
    """Return the reruns of a run as this process begins them: earlier ones of the other kind stay."""
    earlier = kept_reruns(run_dir.parent, run_dir.name)
    kept = Reruns(run_id=run_dir.name) if earlier is None else earlier
    return Reruns(
        run_id=run_dir.name,
        what="its market",
        fill_models=() if fill_models else kept.fill_models,
        paths=() if paths else kept.paths,
        pid=os.getpid(),
    )


def keep_reruns(runs_dir: Path, found: Reruns) -> None:
    """Write the reruns of a run in the place of those before."""
    folder = runs_dir / _RERUNS
    make_folder(folder)
    file = folder / f"{found.run_id}.json"
    unfinished = file.with_suffix(f".{os.getpid()}.part")
    own_file(unfinished)
    unfinished.write_bytes(msgspec.json.encode(found))
    unfinished.replace(file)


def kept_reruns(runs_dir: Path, run_id: str) -> Reruns | None:
    """Return the reruns of a run, cancelled where their process is gone; None where there are none."""
    try:
        found = msgspec.json.decode((runs_dir / _RERUNS / f"{run_id}.json").read_bytes(), type=Reruns)
    except (OSError, msgspec.MsgspecError):
        return None
    if found.state is RerunState.RUNNING and not _is_alive(found.pid):
        return _with(found, state=RerunState.CANCELLED, what="")
    return found


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
