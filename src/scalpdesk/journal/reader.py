"""Read a run's journal. All of it is checked before any of it is handed out.

Find a run by what a person types: its id, the beginning of its id, or ``last``.
"""

from collections.abc import Iterator, Sequence
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
    decode_events,
    decode_header,
    decode_outputs,
    decode_seal,
)
from scalpdesk.journal.frames import (
    FRAME_BYTES,
    GENESIS,
    SEGMENT_BYTES,
    Frame,
    RecordKind,
    Tear,
    check_segment_header,
    damage,
    kind_and_size,
    read_frames,
    segment_numbers,
    segment_path,
)

Step = tuple[list[Event], tuple[Output, ...]]


class RecoveryNote(msgspec.Struct, frozen=True):
    """What was cut off a journal whose last write did not finish."""

    file: str
    position: int
    """First byte that is not part of the journal."""
    dropped_bytes: int
    reason: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.dropped_bytes} bytes cut from {self.file} at byte {self.position}"


class JournalEnd(msgspec.Struct, frozen=True):
    """Where the next record goes."""

    segment: int
    position: int
    sequence: int
    digest: bytes
    last_kind: int


class JournalReader:
    """A run's journal, checked from the first byte to the last when this object is made.

    Parameters
    ----------
    run_dir
        Folder of the run.

    Attributes
    ----------
    header
        What the run is.
    totals
        What the journal holds: events, outputs, records of outputs.
    sealed
        Whether the run was closed cleanly.
    summary
        The run summary that the seal carries; empty when there is none.
    decisions
        Hash over all outputs (``decisions.hex()`` is the run's decision hash).
    recovered
        What was cut off, when the last write did not finish; None otherwise.
    end
        Where the next record goes.

    Raises
    ------
    JournalError
        When there is no journal, it is damaged anywhere but in an unfinished last write, or a newer
        program wrote it. Names the file and the byte.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.recovered: RecoveryNote | None = None
        self.sealed = False
        self.summary: dict[str, Any] = {}
        self.totals = JournalTotals()
        self.decisions = DecisionHash()
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
        self._check_all(numbers)

    @property
    def header(self) -> JournalHeader:
        """What the run is."""
        if self._header is None:
            raise JournalError(
                "the journal ends before its header is whole: nothing of this run was recorded",
                where=f"{self._path(1)}, byte {self.end.position}",
                fix="remove the folder and start the run again",
            )
        return self._header

    def steps(self) -> Iterator[Step]:
        """Yield what went into the engine and what came out, in order.

        The outputs of a step are those of the last event in it; the other events caused none. A
        step without outputs says that none of its events caused any. Only in a journal that is not
        sealed may the very last event have caused outputs which were not written any more (and so
        were not acted on).

        Raises
        ------
        JournalError
            When a payload is not what its kind says, or the seal's totals do not agree.
        """
        waiting: list[Event] | None = None
        for kind, payload, path, position in self._payloads():
            try:
                if kind == RecordKind.EVENTS:
                    if waiting is not None:
                        yield waiting, ()
                    waiting = decode_events(payload)
                    if not waiting:
                        raise damage(path, position, "a batch of events is empty")
                elif kind == RecordKind.OUTPUTS:
                    if waiting is None:
                        raise damage(path, position, "outputs without an event that caused them")
                    yield waiting, decode_outputs(payload)
                    waiting = None
            except msgspec.MsgspecError as error:
                raise damage(
                    path, position, f"a true record has a payload of another form ({error})"
                ) from error
        if waiting is not None:
            yield waiting, ()

    def _path(self, number: int) -> Path:
        return segment_path(self.run_dir, number)

    def _check_all(self, numbers: list[int]) -> None:
        for number in numbers:
            path = self._path(number)
            is_last = number == numbers[-1]
            try:
                with path.open("rb") as file:
                    self._check_segment(path, file, number, is_last=is_last)
            except OSError as error:
                raise JournalError(
                    f"the journal cannot be read: {error.strerror}", where=str(path), value=error.errno
                ) from error
        _ = self.header

    def _check_segment(self, path: Path, file: BinaryIO, number: int, *, is_last: bool) -> None:
        head = file.read(SEGMENT_BYTES)
        if is_last and (len(head) < SEGMENT_BYTES or not head.strip(b"\0")):
            rest = len(head) + len(file.read())
            self._note(Tear(0, rest, "the last segment has no whole header"), path)
            return
        check_segment_header(path, head, number, self.end.sequence, self.end.digest)
        self.end = JournalEnd(number, SEGMENT_BYTES, self.end.sequence, self.end.digest, self.end.last_kind)
        for found in read_frames(path, file, self.end.sequence, self.end.digest, is_last_segment=is_last):
            if isinstance(found, Tear):
                self._note(found, path)
                return
            self._take(path, found)

    def _take(self, path: Path, frame: Frame) -> None:
        if self.sealed:
            raise damage(path, frame.position, "a record follows the seal")
        if (frame.kind == RecordKind.HEADER) != (frame.sequence == 0):
            raise damage(path, frame.position, "the header must be the first record and no other")
        was = self.totals
        if frame.kind == RecordKind.EVENTS:
            self.totals = JournalTotals(was.events + frame.items, was.outputs, was.output_records)
        elif frame.kind == RecordKind.OUTPUTS:
            self.totals = JournalTotals(was.events, was.outputs + frame.items, was.output_records + 1)
            self.decisions.add_encoded(frame.payload)
        elif frame.kind in {RecordKind.HEADER, RecordKind.SEAL}:
            self._take_ends(path, frame)
        else:
            raise damage(path, frame.position, f"unknown kind of record {frame.kind}")
        self.end = JournalEnd(self.end.segment, frame.end, frame.sequence + 1, frame.digest, frame.kind)

    def _take_ends(self, path: Path, frame: Frame) -> None:
        try:
            if frame.kind == RecordKind.HEADER:
                self._header = decode_header(frame.payload)
                return
            seal = decode_seal(frame.payload)
        except msgspec.MsgspecError as error:
            raise damage(path, frame.position, f"a payload has another form ({error})") from error
        if seal.totals != self.totals:
            raise damage(
                path, frame.position, f"the seal counts {seal.totals}, the journal holds {self.totals}"
            )
        self.sealed = True
        self.summary = seal.summary

    def _note(self, tear: Tear, path: Path) -> None:
        self.recovered = RecoveryNote(path.name, tear.position, tear.dropped_bytes, tear.reason)

    def _payloads(self) -> Iterator[tuple[int, bytes, Path, int]]:
        """Walk the records again; what was checked is not hashed a second time."""
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


def peek_header(run_dir: Path) -> JournalHeader:
    """Return a run's header without checking what follows it: for listings.

    Raises
    ------
    JournalError
        When there is no journal, or it is damaged up to the header's end.
    """
    path = segment_path(run_dir, 1)
    try:
        with path.open("rb") as file:
            check_segment_header(path, file.read(SEGMENT_BYTES), 1, 0, GENESIS)
            first = next(read_frames(path, file, 0, GENESIS, is_last_segment=True), None)
    except OSError as error:
        raise JournalError(
            f"the journal cannot be read: {error.strerror}", where=str(path), value=error.errno
        ) from error
    if not isinstance(first, Frame) or first.kind != RecordKind.HEADER:
        raise damage(path, SEGMENT_BYTES, "it does not begin with a whole header")
    try:
        return decode_header(first.payload)
    except msgspec.MsgspecError as error:
        raise damage(path, SEGMENT_BYTES, f"a payload has another form ({error})") from error


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
