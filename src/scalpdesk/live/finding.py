"""Which desk a command means: the one finder of the command line, the pages, alerts and agents' tools.

A desk belongs to the folder in which it was started. Its mark says so while it lives, the record of the
folder's last starts says so afterwards; settings that cannot be read, or that changed since, hide neither.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scalpdesk.config.settings import DeskSection
from scalpdesk.core.owner_only import state_dir
from scalpdesk.live.arming import DeskHolder, here, marked_desks, place_of, starting_desks
from scalpdesk.live.starts import starts_in
from scalpdesk.live.status import running_desks
from scalpdesk.live.without_desk import LastRun, last_runs


@dataclass(frozen=True, slots=True)
class DeskFinder:
    """Desks that a command may mean which was typed in this process's folder."""

    runs_dir: Path | None
    """Folder of the runs, by a flag or the settings; None where the settings cannot be read."""
    is_named: bool = False
    """A flag names ``runs_dir``: desks elsewhere are not meant, wherever they were started."""
    problem: str = ""
    """Why the settings cannot be read."""
    state: Path = field(default_factory=lambda: state_dir(os.environ))
    """Machine-wide folder of locks, marks and modes."""
    cwd: Path = field(default_factory=lambda: here() or Path())

    @property
    def folder(self) -> Path:
        """Folder of the runs that messages name, and in which a run is looked for by name."""
        if self.runs_dir is not None:
            return self.runs_dir
        own = [self._runs_of(each) for each in (*self._own_marks(), *self.starting())]
        recorded = [Path(each.runs_dir) for each in reversed(starts_in(self.state, self.cwd))]
        return (own or recorded or [self._default()])[0]

    def _default(self) -> Path:
        return self.cwd / DeskSection().runs_dir

    def running(self, run_id: str | None = None) -> list[Path]:
        """Return the run folders of the desks that are meant, oldest last start first.

        ``run_id``: Beginning of the id; a desk elsewhere on this machine is meant by its whole id alone.
        """
        listening = running_desks(self.runs_dir or self._default())
        found = {path.resolve(): path for path in listening}
        if not self.is_named:
            for path in self._marked(self._own_marks()):
                found.setdefault(path.resolve(), path)
        meant = [path for path in found.values() if run_id is None or path.name.startswith(run_id)]
        if not meant and run_id is not None and not self.is_named:
            return [path for path in self.elsewhere() if path.name == run_id]
        return sorted(meant, key=lambda path: path.name)

    def starting(self) -> list[DeskHolder]:
        """Return the desks that are meant and have no run and no control socket yet."""
        folder = str((self.runs_dir or self._default()).resolve())
        return [
            each
            for each in starting_desks(self.state)
            if each.run_dir == folder or (not self.is_named and self._is_own(each))
        ]

    def elsewhere(self) -> list[Path]:
        """Return the run folders of the other desks of this machine under this state folder."""
        own = {path.resolve() for path in self.running()}
        every = self._marked(marked_desks(self.state))
        return [path for path in every if path.resolve() not in own]

    def last_runs(self, run_id: str | None = None) -> list[LastRun]:
        """Return the newest run of each account that desks of this folder traded, the newest last."""
        runs = last_runs(self.runs_dir or self._default())
        if not self.is_named:
            looked_at = {run.run_dir.resolve() for run in runs}
            for start in starts_in(self.state, self.cwd):
                there = [run for run in last_runs(Path(start.runs_dir)) if run.account_id == start.account]
                # what ended flat in another folder is over with, unless nothing else says where to look
                runs += [
                    run
                    for run in there
                    if run.run_dir.resolve() not in looked_at and (self.runs_dir is None or not run.is_over)
                ]
        newest: dict[tuple[str, str], LastRun] = {}
        for run in sorted(runs, key=lambda run: run.header.started_ns):
            newest[run.venue_at, run.account_id] = run
        return [run for run in newest.values() if run_id is None or run.run_dir.name.startswith(run_id)]

    def is_doubtful(self) -> bool:
        """Return whether a desk runs elsewhere of which nothing says where it was started.

        Without settings it may be this folder's own: then no account without a desk is commanded in its
        place.
        """
        return self.runs_dir is None and any(not each.started_in for each in marked_desks(self.state))

    def _own_marks(self) -> list[DeskHolder]:
        return [each for each in marked_desks(self.state) if self._is_own(each)]

    def _is_own(self, holder: DeskHolder) -> bool:
        """Return whether a desk was started in this folder, wherever that lay then.

        Another folder that took the place of the first one is another folder.
        """
        if holder.place:
            return holder.place == place_of(self.cwd)
        if holder.started_in:
            return Path(holder.started_in) == self.cwd
        # of an earlier version: its runs alone say whose it is, and settings that can be read say it better
        return self.runs_dir is None and Path(holder.run_dir).is_relative_to(self.cwd)

    def _runs_of(self, holder: DeskHolder) -> Path:
        """Return the folder of a desk's runs; it moved along where it lies in a folder that was moved."""
        runs_dir = Path(holder.run_dir)
        if holder.started_in and self._is_own(holder) and runs_dir.is_relative_to(holder.started_in):
            return self.cwd / runs_dir.relative_to(holder.started_in)
        return runs_dir

    def _marked(self, holders: list[DeskHolder]) -> Iterator[Path]:
        """Yield the run folders of marked desks: the run that each names, else those that listen there."""
        claimed = {(each.run_dir, each.run_id) for each in marked_desks(self.state) if each.run_id}
        for holder in holders:
            runs_dir = self._runs_of(holder)
            if holder.run_id:
                yield runs_dir / holder.run_id
                continue
            for path in running_desks(runs_dir):
                if (holder.run_dir, path.name) not in claimed:
                    yield path
