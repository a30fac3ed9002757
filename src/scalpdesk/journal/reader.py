"""Reading a run's journal, which is validated completely first, and finding a run by id or prefix."""

import errno
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from scalpdesk.core.errors import DataError, JournalError, nearest_name
from scalpdesk.core.events import Event
from scalpdesk.core.intents import Output
from scalpdesk.journal.codec import (
    DecisionHash,
    JournalHeader,
    JournalTotals,
    TapeRows,
    decode_events,
    decode_header,
    decode_outputs,
    decode_rows,
    decode_seal,
)
from scalpdesk.journal.frames import (
    CAUSES,
    FRAME_BYTES,
    GENESIS,
    SEGMENT_BYTES,
    Record,
    RecordKind,
    TornWrite,
    check_segment_header,
    damage,
    kind_and_size,
    next_record,
    read_frames,
    segment_numbers,
    segment_path,
)

Step = tuple[Sequence[Event], tuple[Output, ...]]
RowsReader = Callable[[TapeRows], Iterable[Sequence[Event]]]
"""Returns rows of the run's tape as events, in order, in pieces of any length."""


def last_of_rows(rows: TapeRows) -> Iterable[Sequence[Event]]:
    """Return the last of the quotes alone: all that the journal itself holds."""
    return ((rows.quote,),)


class RecoveryNote(msgspec.Struct, frozen=True):
    """The incomplete last write that was truncated from a journal."""

    file: str
    position: int
    """First byte that is not part of the journal."""
    dropped_bytes: int
    reason: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.file} truncated by {self.dropped_bytes} bytes at byte {self.position}"


class JournalEnd(msgspec.Struct, frozen=True):
    """Position of the next record, and the chain before it."""

    segment: int
    position: int
    sequence: int
    digest: bytes
    last_kind: int


class JournalReader:
    """A run's journal, validated from the first byte to the last on construction.

    Attributes
    ----------
    totals
        Number of events, outputs and output records.
    sealed, summary
        Whether the run was closed cleanly, and the run summary in the seal.
    decisions
        Hash over all outputs (``decisions.hex()`` is the run's decision hash).
    recovered
        The incomplete last write that is ignored, or None.
    end
        Position of the next record.
    passed
        Events up to the end of the step that was read last.

    Raises
    ------
    JournalError
        When there is no journal, it is damaged other than by an incomplete last write, or it has a newer
        schema. Names the file and the byte.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.recovered: RecoveryNote | None = None
        self.sealed = False
        self.summary: dict[str, Any] = {}
        self.totals = JournalTotals()
        self.decisions = DecisionHash()
        self.passed = 0
        self._header: JournalHeader | None = None
        self.end = JournalEnd(1, 0, 0, GENESIS, 0)
        numbers = segment_numbers(run_dir)
        if not numbers:
            raise JournalError(
                "there is no journal in this folder",
                where=str(run_dir),
                fix="scalpdesk runs lists the runs that have one",
            )
        for expected, number in enumerate(numbers, start=1):
            if number != expected:
                raise JournalError("a segment of the journal is missing", where=str(self._path(expected)))
        for number in numbers:
            path, is_last = self._path(number), number == numbers[-1]
            try:
                with path.open("rb") as file:
                    self._check_segment(path, file, number, is_last=is_last)
            except OSError as error:
                raise _unreadable(path, error) from error
        _ = self.header

    @property
    def header(self) -> JournalHeader:
        """Description of the run."""
        if self._header is None:
            raise JournalError(
                "nothing of this run was recorded: it ended while it started, or it is starting just now",
                where=f"{self._path(1)}, byte {self.end.position}",
                fix="unless it is starting, remove the folder and start it again: it says what stops it",
            )
        return self._header

    def steps(self, read_rows: RowsReader = last_of_rows) -> Iterator[Step]:
        """Yield the engine's inputs and outputs in order.

        The outputs of a step belong to the last event in it; the other events caused no output. In a journal
        that is not sealed, outputs of the very last event may be missing (they were not acted on either).

        ``read_rows`` reads the quotes that a backtest's journal names by their place on its tape; usually the
        last of them stands for all.

        Raises
        ------
        JournalError
            When a payload does not match the kind of its record.
        """
        waiting: Sequence[Event] | None = None
        self.passed = 0
        for kind, payload, path, position in self._payloads():
            try:
                if kind == RecordKind.EVENTS:
                    if waiting is not None:
                        yield waiting, ()
                    waiting = decode_events(payload)
                    if not waiting:
                        raise damage(path, position, "a batch of events is empty")
                    self.passed += len(waiting)
                elif kind == RecordKind.ROWS:
                    if waiting is not None:
                        yield waiting, ()
                    rows = decode_rows(payload)
                    self.passed += rows.last - rows.first
                    *before, waiting = read_rows(rows)
                    yield from ((events, ()) for events in before)
                elif kind == RecordKind.OUTPUTS:
                    if waiting is None:
                        raise damage(path, position, "outputs without an event that caused them")
                    yield waiting, decode_outputs(payload)
                    waiting = None
            except msgspec.MsgspecError as error:
                raise damage(path, position, f"a payload has another form ({error})") from error
        if waiting is not None:
            yield waiting, ()

    def _path(self, number: int) -> Path:
        return segment_path(self.run_dir, number)

    def _check_segment(self, path: Path, file: BinaryIO, number: int, *, is_last: bool) -> None:
        head = file.read(SEGMENT_BYTES)
        if is_last and (len(head) < SEGMENT_BYTES or not head.strip(b"\0")):
            rest = len(head) + len(file.read())
            self.recovered = RecoveryNote(path.name, 0, rest, "the last segment has no complete header")
            return
        check_segment_header(path, head, number, self.end.sequence, self.end.digest)
        self.end = JournalEnd(number, SEGMENT_BYTES, self.end.sequence, self.end.digest, self.end.last_kind)
        for found in read_frames(path, file, self.end.sequence, self.end.digest, is_last_segment=is_last):
            if isinstance(found, TornWrite):
                self.recovered = RecoveryNote(path.name, found.position, found.dropped_bytes, found.reason)
                return
            self._add(path, found)

    def _add(self, path: Path, frame: Record) -> None:
        if self.sealed:
            raise damage(path, frame.position, "a record follows the seal")
        if (frame.kind == RecordKind.HEADER) != (frame.sequence == 0):
            raise damage(path, frame.position, "the header must be the first record and no other")
        try:
            if frame.kind in CAUSES:
                self.totals = self.totals.plus(events=frame.items)
            elif frame.kind == RecordKind.OUTPUTS:
                self.totals = self.totals.plus(outputs=frame.items)
                self.decisions.add_encoded(frame.payload)
            elif frame.kind == RecordKind.HEADER:
                self._header = decode_header(frame.payload)
            elif frame.kind == RecordKind.SEAL:
                self._add_seal(path, frame)
            else:
                raise damage(path, frame.position, f"unknown kind of record {frame.kind}")
        except msgspec.MsgspecError as error:
            raise damage(path, frame.position, f"a payload has another form ({error})") from error
        self.end = JournalEnd(self.end.segment, frame.end, frame.sequence + 1, frame.digest, frame.kind)

    def _add_seal(self, path: Path, frame: Record) -> None:
        seal = decode_seal(frame.payload)
        if seal.totals != self.totals:
            raise damage(
                path, frame.position, f"the seal counts {seal.totals}, the journal holds {self.totals}"
            )
        self.sealed = True
        self.summary = seal.summary

    def _payloads(self) -> Iterator[tuple[int, bytes, Path, int]]:
        """Yield kind, payload, file and position of the validated records, without hashing them again."""
        for number in range(1, self.end.segment + 1):
            path = self._path(number)
            with path.open("rb") as file:
                limit = self.end.position if number == self.end.segment else path.stat().st_size
                position = file.seek(SEGMENT_BYTES)
                while position < limit:
                    frame = file.read(FRAME_BYTES)
                    kind, payload_bytes = kind_and_size(frame)
                    yield kind, file.read(payload_bytes), path, position
                    position += FRAME_BYTES + payload_bytes


class JournalTail:
    """Follows the journal of a run while it is written; reads only, and never waits.

    ``header``: Description of the run; None until it is on disk.
    ``sealed``, ``summary``: Whether the run was closed cleanly, and the run summary in the seal.
    ``read_bytes``: Bytes of the journal read so far.
    ``at_end``: Whether the last call read all that was written.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.header: JournalHeader | None = None
        self.sealed = False
        self.at_end = False
        self.summary: dict[str, Any] = {}
        self.read_bytes = 0
        self._segment = 0
        self._file: BinaryIO | None = None
        self._sequence = 0
        self._previous = GENESIS

    def read(
        self, most_records: int = 10_000, read_rows: RowsReader = last_of_rows
    ) -> Iterator[list[Event] | tuple[Output, ...]]:
        """Yield what was written since the last call: batches of events, and outputs of the last event.

        ``read_rows`` as for :meth:`JournalReader.steps`. Raises JournalError when a complete record is not
        the one that must follow, or its payload has another form.
        """
        self.at_end = False
        for _ in range(most_records):
            record = self._next()
            if record is None:
                self.at_end = True
                return
            self._sequence, self._previous = record.sequence + 1, record.digest
            self.read_bytes += FRAME_BYTES + len(record.payload)
            try:
                if record.kind == RecordKind.EVENTS:
                    yield decode_events(record.payload)
                elif record.kind == RecordKind.ROWS:
                    yield from (list(events) for events in read_rows(decode_rows(record.payload)))
                elif record.kind == RecordKind.OUTPUTS:
                    yield decode_outputs(record.payload)
                elif record.kind == RecordKind.HEADER:
                    self.header = decode_header(record.payload)
                else:
                    self.sealed, self.summary = True, decode_seal(record.payload).summary
                    self.at_end = True
                    self.close()
                    return
            except msgspec.MsgspecError as error:
                path = segment_path(self.run_dir, self._segment)
                raise damage(path, record.position, f"a payload has another form ({error})") from error

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next(self) -> Record | None:
        if self.sealed or (self._file is None and not self._open_next()):
            return None
        record = self._read_record()
        if record is None and segment_path(self.run_dir, self._segment + 1).exists():
            # the segment was complete before the next began, so it is read to its end first
            record = self._read_record() or (self._read_record() if self._open_next() else None)
        return record

    def _read_record(self) -> Record | None:
        assert self._file is not None
        path = segment_path(self.run_dir, self._segment)
        return next_record(path, self._file, self._sequence, self._previous)

    def _open_next(self) -> bool:
        """Open the next segment; return whether its header is on disk."""
        path = segment_path(self.run_dir, self._segment + 1)
        try:
            # without a buffer: space set aside for records reads as zeros, and a buffer would keep those
            file = path.open("rb", buffering=0)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unreadable(path, error) from error
        head = file.read(SEGMENT_BYTES)
        if len(head) < SEGMENT_BYTES or not head.strip(b"\0"):
            file.close()
            return False
        try:
            check_segment_header(path, head, self._segment + 1, self._sequence, self._previous)
        except BaseException:
            file.close()
            raise
        self.close()
        self._file, self._segment = file, self._segment + 1
        return True


def _unreadable(path: Path, error: OSError) -> JournalError:
    return JournalError(f"the journal cannot be read: {error.strerror}", where=str(path), value=error.errno)


def peek_header(run_dir: Path) -> JournalHeader:
    """Read a run's header alone, for listings.

    Raises JournalError when there is no journal, or it is damaged up to the header's end.
    """
    path = segment_path(run_dir, 1)
    try:
        with path.open("rb") as file:
            check_segment_header(path, file.read(SEGMENT_BYTES), 1, 0, GENESIS)
            first = next(read_frames(path, file, 0, GENESIS, is_last_segment=True), None)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not isinstance(first, Record) or first.kind != RecordKind.HEADER:
        raise damage(path, SEGMENT_BYTES, "it does not begin with a complete header")
    try:
        return decode_header(first.payload)
    except msgspec.MsgspecError as error:
        raise damage(path, SEGMENT_BYTES, f"a payload has another form ({error})") from error


LAST = "last"


def pick_run_id(name: str, run_ids: Sequence[str], *, where: str) -> str:
    """Return the run id for ``name``: an id, a unique prefix, or ``last``. ``run_ids`` are oldest first.

    Raises DataError when no run or more than one matches; names the nearest, or the matches.
    """
    if not run_ids:
        raise DataError("there is no run yet", where=where, fix="scalpdesk demo makes one")
    if name == LAST:
        return run_ids[-1]
    if name in run_ids:
        return name
    matches = [run_id for run_id in run_ids if name and run_id.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        shown = ", ".join(matches[:5]) + (" and more" if len(matches) > 5 else "")
        what = f"{len(matches)} runs begin with this: {shown}"
        raise DataError(what, where=where, value=name, fix="give more of the id")
    raise DataError(
        "no such run",
        where=where,
        value=name,
        nearest=nearest_name(name, run_ids),
        fix="scalpdesk runs lists them; `last` is the newest",
    )


def sorted_dirs(runs_dir: Path) -> tuple[list[Path], dict[Path, str]]:
    """Return the folders under ``runs_dir`` that hold a journal, by name, and those that cannot be read."""
    found: list[Path] = []
    unreadable: dict[Path, str] = {}
    for folder in sorted(runs_dir.iterdir()) if runs_dir.is_dir() else ():
        try:
            if segment_path(folder, 1).is_file():
                found.append(folder)
        except OSError as error:
            unreadable[folder] = f"the folder cannot be read: {error.strerror}"
    return found, unreadable


def run_dirs(runs_dir: Path) -> list[Path]:
    """Return the folders under ``runs_dir`` that hold a journal, by name.

    An unreadable journal is left out with a warning; the other runs are listed.
    """
    found, unreadable = sorted_dirs(runs_dir)
    for folder, why in unreadable.items():
        _warn_once(folder, why)
    return found


@cache
def _warn_once(folder: Path, why: str) -> None:
    logging.getLogger(__name__).warning("%s is left out: %s; fix: chmod u+rwx %s", folder, why, folder)


def find_run_dir(runs_dir: Path, name: str) -> Path:
    """Return the folder of a run that a person names on the command line: by path, or as :func:`run_named`.

    Raises DataError when no run or more than one matches. Raises JournalError when the folder of this name
    cannot be read.
    """
    direct = Path(name)
    try:
        if segment_path(direct, 1).is_file():
            return direct
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
    return run_named(runs_dir, name)


def run_named(runs_dir: Path, name: str) -> Path:
    """Return the folder of a run in ``runs_dir`` by id, prefix of the id, or ``last``; never by a path.

    ``last`` is the run whose journal was written last, whatever the time in its market. Raises DataError when
    no run or more than one matches. Raises JournalError when the folder of this name cannot be read.
    """
    folders, unreadable = run_dirs(runs_dir), sorted_dirs(runs_dir)[1]
    for folder, why in unreadable.items():
        if folder.name == name:
            raise JournalError(why, where=str(folder), fix=f"chmod u+rwx {folder}")
    if name == LAST:
        folders = sorted(folders, key=_age)
    return runs_dir / pick_run_id(name, [folder.name for folder in folders], where=str(runs_dir))


def written_ns(folder: Path) -> int:
    """Return when a run's journal was written last, UTC nanoseconds.

    The start in the header does not tell the last run: a backtest starts in the past of its market.
    """
    try:
        numbers = segment_numbers(folder)
        return max((segment_path(folder, number).stat().st_mtime_ns for number in numbers), default=0)
    except OSError:  # a folder that cannot be read is never the last one
        return 0


def _age(folder: Path) -> tuple[bool, int, int, str]:
    try:
        started_ns = peek_header(folder).started_ns
    except JournalError:  # a run with a damaged header is never the last one
        return False, 0, 0, folder.name
    return True, written_ns(folder), started_ns, folder.name
