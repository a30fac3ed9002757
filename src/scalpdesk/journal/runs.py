"""Find a run by what a person types: its id, the beginning of its id, or ``last``."""

from collections.abc import Sequence
from pathlib import Path

from scalpdesk.core.errors import DataError, JournalError, nearest_name
from scalpdesk.journal.frames import segment_numbers, segment_path
from scalpdesk.journal.reader import peek_header

LAST = "last"


def pick_run_id(name: str, run_ids: Sequence[str], *, where: str) -> str:
    """Return the run that ``name`` means among ``run_ids`` (oldest first).

    Raises
    ------
    DataError
        When no run or more than one fits; names the nearest, or those that fit.
    """
    if not run_ids:
        raise DataError("there is no run yet", where=where, fix="scalpdesk demo makes one")
    if name == LAST:
        return run_ids[-1]
    if name in run_ids:
        return name
    fitting = [run_id for run_id in run_ids if name and run_id.startswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        shown = ", ".join(fitting[:5]) + (" and more" if len(fitting) > 5 else "")
        raise DataError(
            f"{len(fitting)} runs begin so: {shown}", where=where, value=name, fix="type more of it"
        )
    raise DataError(
        "no such run",
        where=where,
        value=name,
        nearest=nearest_name(name, run_ids),
        fix="scalpdesk runs lists them; `last` is the newest",
    )


def run_dirs(runs_dir: Path) -> list[Path]:
    """Return the folders under ``runs_dir`` that hold a journal, by name."""
    if not runs_dir.is_dir():
        return []
    return sorted(folder for folder in runs_dir.iterdir() if segment_path(folder, 1).is_file())


def find_run_dir(runs_dir: Path, name: str) -> Path:
    """Return the folder of the run that ``name`` means: a path, an id, its beginning, or ``last``.

    ``last`` is the run whose journal was written last, whatever the time in its market.

    Raises
    ------
    DataError
        When no run or more than one fits.
    """
    direct = Path(name)
    if segment_path(direct, 1).is_file():
        return direct
    folders = run_dirs(runs_dir)
    if name == LAST:
        folders = sorted(folders, key=_age)
    return runs_dir / pick_run_id(name, [folder.name for folder in folders], where=str(runs_dir))


def written_ns(folder: Path) -> int:
    """Return when a run's journal was written last, UTC nanoseconds.

    The start in its header will not do for "the last run": a desk in a market's own time begins in the past.
    """
    return max((segment_path(folder, one).stat().st_mtime_ns for one in segment_numbers(folder)), default=0)


def _age(folder: Path) -> tuple[bool, int, int, str]:
    try:
        started_ns = peek_header(folder).started_ns
    except JournalError:  # a run whose very header is broken is never the last one
        return False, 0, 0, folder.name
    return True, written_ns(folder), started_ns, folder.name
