"""Writing a run's journal: appended, hash-chained, and on disk before a command is sent.

The contract with the runner: add each event before the engine handles it and its outputs after, and send
nothing to a venue before :meth:`JournalWriter.add_outputs` has returned. A folder has one writer, by a
file lock that ends with its process.
"""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from scalpdesk.core.errors import ArgumentError, InvariantError, JournalError, StopError, nearest_name
from scalpdesk.core.events import Event
from scalpdesk.core.intents import COMMANDS, Output
from scalpdesk.core.owner_only import make_folder
from scalpdesk.journal.codec import (
    DecisionHash,
    JournalHeader,
    JournalSeal,
    JournalTotals,
    TapeRows,
    encode_event,
    encode_header,
    encode_outputs,
    encode_rows,
    encode_seal,
    joined,
)
from scalpdesk.journal.frames import (
    CAUSES,
    GENESIS,
    RecordKind,
    pack_record,
    pack_segment_header,
    segment_numbers,
    segment_path,
)
from scalpdesk.journal.reader import JournalReader, RecoveryNote


def _disk_refused(call: str, path: Path, error: OSError) -> StopError:
    """Return the error for a failed system call on the journal; the value is the error number."""
    return StopError(
        f"the journal cannot be written: {call} failed: {error.strerror}",
        where=str(path),
        value=error.errno,
        fix="free disk space or correct the path; the journal is complete up to this point",
    )


def _sync_folder(folder: Path) -> None:
    """Sync a folder to disk, so that the names of new files survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_private(run_dir: Path) -> None:
    """Close a run's folder and the files in it to everybody but their owner.

    Raises StopError when the disk refuses.
    """
    try:
        run_dir.chmod(0o700)
        for path in run_dir.iterdir():
            if path.is_file() and not path.is_symlink():
                path.chmod(0o600)
    except OSError as error:
        raise _disk_refused("close to others", run_dir, error) from error


class SegmentFile:
    """Segment open for appending, with space preallocated ahead of the writes.

    Preallocation keeps the file's length out of each sync, and a full disk is found before the record that
    would not fit. Unused space is released on :meth:`close`; after a crash it stays as zeros, which the
    reader ignores. Every method raises :class:`StopError` when the disk refuses.

    ``path``, ``descriptor``, ``position``: The open file and the position of the next byte.
    ``reserve_bytes``: Bytes to preallocate at a time; 0: no preallocation.
    """

    def __init__(self, path: Path, descriptor: int, position: int, reserve_bytes: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._position = position
        self._reserved = position
        self._reserve_bytes = reserve_bytes

    @classmethod
    def create(cls, path: Path, *, reserve_bytes: int, is_durable: bool) -> Self:
        """Create a new segment; an existing file is refused."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            if is_durable:
                _sync_folder(path.parent)
        except OSError as error:
            raise _disk_refused("open", path, error) from error
        return cls(path, descriptor, 0, reserve_bytes)

    @classmethod
    def reopen(cls, path: Path, position: int, *, reserve_bytes: int, is_durable: bool) -> Self:
        """Open a segment, truncated at ``position``."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            os.ftruncate(descriptor, position)
            os.lseek(descriptor, position, os.SEEK_SET)
            if is_durable:
                os.fsync(descriptor)
                _sync_folder(path.parent)
        except OSError as error:
            raise _disk_refused("reopen", path, error) from error
        return cls(path, descriptor, position, reserve_bytes)

    def write(self, data: bytes | bytearray) -> None:
        """Write all of ``data`` to the file; after a refusal a part may have been written."""
        end = self._position + len(data)
        if self._reserve_bytes and end > self._reserved:
            self._reserve(end + self._reserve_bytes)
        waiting = memoryview(data)
        try:
            while waiting:
                waiting = waiting[os.write(self._descriptor, waiting) :]
        except OSError as error:
            raise _disk_refused("write", self.path, error) from error
        self._position = end

    def sync(self) -> None:
        """Wait until everything written is on disk; after a refusal, unsynced writes may be lost."""
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise _disk_refused("fdatasync", self.path, error) from error

    def close(self) -> None:
        """Release the unused space and close; a second call does nothing."""
        if self._descriptor < 0:
            return
        if self._reserved > self._position:
            with suppress(OSError):  # zeros at the end are harmless, a file left open is not
                os.ftruncate(self._descriptor, self._position)
        os.close(self._descriptor)
        self._descriptor = -1

    def _reserve(self, end: int) -> None:
        try:
            os.posix_fallocate(self._descriptor, self._reserved, end - self._reserved)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise _disk_refused("fallocate", self.path, error) from error
            self._reserve_bytes = 0  # not supported by this file system: write without
            return
        self._reserved = end


LOCK_NAME = "journal.lock"


class RunLock:
    """Lock on ``journal.lock`` of an existing run folder, until :meth:`release` or the process ends.

    The file holds the process id and ``started_ns`` (UTC nanoseconds), for the message to a second writer.
    Raises JournalError when another writer holds the folder; names it. Raises StopError when the lock file
    cannot be written.
    """

    def __init__(self, run_dir: Path, started_ns: int) -> None:
        path = run_dir / LOCK_NAME
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._acquire(run_dir)
            os.ftruncate(self._descriptor, 0)
            holder = msgspec.json.encode({"pid": os.getpid(), "started_ns": started_ns})
            os.pwrite(self._descriptor, holder, 0)
        except OSError as error:
            self._close()
            raise _disk_refused("lock", path, error) from error

    def release(self) -> None:
        """Release the lock; a second call does nothing. The file stays: deleting it would be a race."""
        if self._descriptor >= 0:
            with suppress(OSError):  # the text is for people; closing the file releases the lock
                os.ftruncate(self._descriptor, 0)
            self._close()

    def _acquire(self, run_dir: Path) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 4096, 0).decode("utf-8", "replace")
            self._close()
            raise JournalError(
                "another process writes this run's journal",
                where=str(run_dir),
                value=holder or "not named yet",
                fix="stop that process, or start with another run id",
            ) from error

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def holder_of(run_dir: Path) -> str:
    """Return the process that writes a run's journal, in words; "" if the lock names no process."""
    try:
        holder = msgspec.json.decode((run_dir / LOCK_NAME).read_bytes())
        return f"process {holder['pid']}"
    except (OSError, msgspec.MsgspecError, KeyError, TypeError):
        return ""


BATCH_EVENTS = 4096
"""Greatest number of events without outputs in one record; fewer than 65,536."""
DURABLE_BATCH_EVENTS = 32
"""The same with ``durability="commands"``: what is left to hash, a command waits for."""
_SEGMENT_LIMIT_BYTES = 64 * 1024 * 1024
RESERVE_BYTES = 8 * 1024 * 1024
"""Bytes that a durable journal preallocates at a time."""
_BUFFER_BYTES = 1 << 20
_DURABILITIES = ("commands", "none")


class JournalWriter:
    """Writer of one run's journal, made by :meth:`create` or :meth:`reopen`.

    ``durability="commands"``: outputs are written at once, with the events before them, and synced to disk
    (``fdatasync``) before :meth:`add_outputs` returns when a command is among them. Events without outputs
    wait for the next outputs, a full batch or :meth:`flush`.
    ``durability="none"``: for backtests; bytes are written 1 MiB at a time and at the end.

    After a failed write or sync every later call raises :class:`StopError`: nothing continues unjournaled.

    Attributes
    ----------
    decisions
        Hash over all outputs so far (``decisions.hex()`` is the run's decision hash).
    recovered
        The incomplete last write that :meth:`reopen` truncated, or None.
    """

    def __init__(self, run_dir: Path, lock: RunLock, durability: str, segment_limit_bytes: int) -> None:
        self.run_dir = run_dir
        self.recovered: RecoveryNote | None = None
        self.decisions = DecisionHash()
        self._lock = lock
        self._is_durable = durability == "commands"
        self._batch_events = DURABLE_BATCH_EVENTS if self._is_durable else BATCH_EVENTS
        self._segment_limit = segment_limit_bytes
        self._pending: list[bytes] = []
        """Events that wait to be written, encoded."""
        self._buffer = bytearray()
        self._file = SegmentFile(segment_path(run_dir, 0), -1, 0, 0)  # closed until one is opened
        self._reserve_bytes = RESERVE_BYTES if self._is_durable else 0
        self._segment = 0
        self._segment_bytes = 0
        self._sequence = 0
        self._on_disk = 0
        """Number of records synced to disk."""
        self._previous = GENESIS
        self._events = self._outputs = self._output_records = 0
        self._last_kind = 0
        self._failure: StopError | None = None
        self._is_closed = False

    @classmethod
    def create(
        cls,
        run_dir: Path,
        header: JournalHeader,
        *,
        durability: str = "commands",
        segment_limit_bytes: int = _SEGMENT_LIMIT_BYTES,
    ) -> Self:
        """Start the journal of a new run; a missing folder is created.

        Raises ArgumentError when ``durability`` is unknown. Raises JournalError when the folder already holds
        a journal or another process writes it. Raises StopError when the disk refuses; names the file and the
        error number.
        """
        _check_durability(durability)
        payload = encode_header(header)
        try:
            make_folder(run_dir)
            run_dir.chmod(0o700)
        except OSError as error:
            raise _disk_refused("create", run_dir, error) from error
        writer = cls(run_dir, RunLock(run_dir, header.started_ns), durability, segment_limit_bytes)
        try:
            writer._start(payload)
        except BaseException:
            writer._release()
            raise
        return writer

    @classmethod
    def reopen(
        cls,
        run_dir: Path,
        *,
        started_ns: int,
        durability: str = "commands",
    ) -> Self:
        """Continue a run that did not end cleanly; an incomplete last write is truncated (``recovered``).

        ``started_ns`` is now, in UTC nanoseconds, for the message to a second writer. When the outputs of
        the last event were never written (and so never acted on), a replay gives them again: pass them to
        :meth:`add_outputs` first.

        Raises ArgumentError when ``durability`` is unknown. Raises JournalError when the journal is damaged,
        sealed, absent, or another process writes it. Raises StopError when the disk refuses.
        """
        _check_durability(durability)
        if not run_dir.is_dir():
            raise JournalError("there is no such run", where=str(run_dir))
        writer = cls(run_dir, RunLock(run_dir, started_ns), durability, _SEGMENT_LIMIT_BYTES)
        try:
            _make_private(run_dir)
            writer._continue_after(JournalReader(run_dir))
        except BaseException:
            writer._release()
            raise
        return writer

    @property
    def totals(self) -> JournalTotals:
        """Totals so far, without pending events."""
        return JournalTotals(self._events, self._outputs, self._output_records)

    def add_event(self, event: Event) -> None:
        """Add one event, before the engine handles it; it is written with the next one, or later.

        Raises InvariantError when no journal can hold it: nothing was added.
        """
        payload = encode_event(event)
        if len(self._pending) >= self._batch_events:
            self._write_batch()
        self._pending.append(payload)

    def replace_event(self, event: Event) -> None:
        """Put another event in place of the one added last, before anything else was added or written."""
        self._pending[-1] = encode_event(event)

    def add_rows(self, rows: TapeRows) -> None:
        """Add quotes that the engine has or can see, by their place on the tape."""
        self._write_batch()
        self._add_record(RecordKind.ROWS, encode_rows(rows), rows.last - rows.first)

    def add_outputs(self, outputs: tuple[Output, ...]) -> None:
        """Add the engine's outputs for the last event; after the return their commands may be sent.

        Raises InvariantError when no event was added since the outputs before, or they cannot be encoded.
        Raises StopError when the disk refuses: ``outputs`` must not be sent.
        """
        if not outputs:
            return
        payload = encode_outputs(outputs)  # refused before their event is written, which may yet be replaced
        self._write_batch()
        if self._last_kind not in CAUSES:
            raise InvariantError("outputs need an event that caused them", where=str(self.run_dir))
        self.decisions.add_encoded(payload)
        self._add_record(RecordKind.OUTPUTS, payload, len(outputs))
        if self._is_durable:
            self._write_out(is_synced=not COMMANDS.isdisjoint(map(type, outputs)))

    def flush(self) -> None:
        """Write everything pending; with ``durability="commands"`` it is on disk after the return."""
        self._write_batch()
        self._write_out(is_synced=self._is_durable)

    def close(self, summary: dict[str, Any] | None = None) -> None:
        """Seal the journal with the run's summary (JSON types) and release the folder, even on an error.

        A second call does nothing.
        """
        if self._is_closed:
            return
        try:
            self._write_batch()
            self._add_record(RecordKind.SEAL, encode_seal(JournalSeal(self.totals, summary or {})), 1)
            self.flush()
        finally:
            self._release()

    def abandon(self) -> None:
        """Write everything pending and release the folder without a seal, after a failed run."""
        if self._is_closed:
            return
        try:
            if self._failure is None:
                self.flush()
        finally:
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def _write_batch(self) -> None:
        pending = self._pending
        if not pending:
            return
        self._add_record(RecordKind.EVENTS, joined(pending), len(pending))
        pending.clear()

    def _add_record(self, kind: RecordKind, payload: bytes, items: int) -> None:
        if self._failure is not None:
            raise self._failure
        if self._is_closed:
            raise StopError("the journal is closed", where=str(self.run_dir))
        if self._segment_bytes >= self._segment_limit:
            self._roll()
        frame, digest = pack_record(
            kind, payload, items, self._sequence, self._previous, unsynced=self._sequence - self._on_disk
        )
        self._buffer += frame
        self._buffer += payload
        self._segment_bytes += len(frame) + len(payload)
        self._sequence += 1
        self._previous = digest
        self._last_kind = kind
        if kind in CAUSES:
            self._events += items
        elif kind is RecordKind.OUTPUTS:
            self._outputs += items
            self._output_records += 1
        if len(self._buffer) >= _BUFFER_BYTES:
            self._write_out(is_synced=False)

    def _roll(self) -> None:
        self._write_out(is_synced=self._is_durable)
        self._file.close()
        try:
            self._open_segment()
        except StopError as refused:
            self._failure = refused
            raise

    def _open_segment(self) -> None:
        self._segment += 1
        path = segment_path(self.run_dir, self._segment)
        self._file = SegmentFile.create(path, reserve_bytes=self._reserve_bytes, is_durable=self._is_durable)
        head = pack_segment_header(self._segment, self._sequence, self._previous)
        self._buffer += head
        self._segment_bytes = len(head)

    def _start(self, header: bytes) -> None:
        if segment_numbers(self.run_dir):
            raise JournalError(
                "this folder already holds a journal",
                where=str(self.run_dir),
                fix="start with another run id, or resume this run",
            )
        self._open_segment()
        self._add_record(RecordKind.HEADER, header, 1)
        self.flush()

    def _continue_after(self, reader: JournalReader) -> None:
        if reader.sealed:
            raise JournalError(
                "this run ended and its journal is sealed", where=str(self.run_dir), fix="start a new run"
            )
        self.recovered = reader.recovered
        end = reader.end
        self._segment = end.segment
        self._sequence = end.sequence
        self._on_disk = end.sequence if self._is_durable else 0
        self._previous = end.digest
        self._segment_bytes = end.position
        self._last_kind = end.last_kind
        totals = reader.totals
        self._events, self._outputs = totals.events, totals.outputs
        self._output_records = totals.output_records
        self.decisions = reader.decisions
        for number in segment_numbers(self.run_dir):
            if number > end.segment:  # created, but without a complete header
                segment_path(self.run_dir, number).unlink()
        self._file = SegmentFile.reopen(
            segment_path(self.run_dir, end.segment),
            end.position,
            reserve_bytes=self._reserve_bytes,
            is_durable=self._is_durable,
        )

    def _write_out(self, *, is_synced: bool) -> None:
        """Write the buffer to the file; after a failure nothing is ever written again."""
        if self._failure is not None:
            raise self._failure
        data, self._buffer = self._buffer, bytearray()
        try:
            self._file.write(data)
            if is_synced:
                self._file.sync()
                self._on_disk = self._sequence
        except StopError as refused:
            self._failure = refused
            raise

    def _release(self) -> None:
        self._is_closed = True
        self._file.close()
        self._lock.release()


def _check_durability(durability: str) -> None:
    if durability not in _DURABILITIES:
        raise ArgumentError(
            "unknown durability of a journal",
            where="durability",
            value=durability,
            nearest=nearest_name(durability, _DURABILITIES),
            fix="use commands or none",
        )
