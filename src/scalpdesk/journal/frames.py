"""Byte format of the journal: segment headers, record frames, torn writes and damage.

A segment starts with 44 bytes: magic, schema, number of the segment, sequence number of its first
record, digest of the last record before it, CRC-32 of all that. Records follow, each a frame of 64
bytes and its payload::

    4  marker            to find the next record after a damaged one
    4  CRC-32            of the rest of the frame: a length is used only when this agrees
    4  payload bytes     4  items in the payload      8  sequence number
    4  records directly before this one that were not yet synced to disk when it was written
    2  payload schema    1  kind                      1  reserved, zero
    16 digest of the record before (the chain)
    16 BLAKE2b-128 of the frame's fields, the digest before and the payload

The digest is both the checksum and the link of the chain; the CRC covers the frame alone.
All numbers are little-endian.
"""

import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import msgspec

from scalpdesk.core.errors import JournalError
from scalpdesk.journal.codec import SCHEMA

_MAGIC = b"\x89SDJ\r\n\x1a\n"
MARKER = b"\xa7\x51rd"
_DIGEST_BYTES = 16
GENESIS = bytes(_DIGEST_BYTES)
"""Digest before the first record."""

_SEGMENT = struct.Struct("<8sHHIQ16s")
_SEGMENT_CRC = struct.Struct("<I")
SEGMENT_BYTES = _SEGMENT.size + _SEGMENT_CRC.size
_FIELDS = struct.Struct("<IIQIHBB16s")
_LEAD = struct.Struct("<4sI")
FRAME_BYTES = _LEAD.size + _FIELDS.size + _DIGEST_BYTES
_MOST_UNSYNCED = 2**32 - 1
_SECTOR = 512
"""Bytes that a disk writes atomically: a write cut by a power failure leaves whole sectors of zeros."""


class RecordKind(IntEnum):
    """Kind of a record's payload."""

    HEADER = 1
    EVENTS = 2
    OUTPUTS = 3
    SEAL = 4
    ROWS = 5


CAUSES = frozenset({RecordKind.EVENTS, RecordKind.ROWS})
"""Records of events; outputs follow the last event."""


class Record(msgspec.Struct, frozen=True):
    """A valid record that was read."""

    position: int
    """Byte position of the frame in its file."""
    payload: bytes
    items: int
    sequence: int
    kind: int
    digest: bytes

    @property
    def end(self) -> int:
        """Byte position after the payload."""
        return self.position + FRAME_BYTES + len(self.payload)


class TornWrite(msgspec.Struct, frozen=True):
    """An incomplete last write of a segment."""

    position: int
    dropped_bytes: int
    reason: str


def segment_path(run_dir: Path, number: int) -> Path:
    """Return the file of segment ``number`` (from 1)."""
    return run_dir / f"journal-{number:06d}.sdj"


def segment_numbers(run_dir: Path) -> list[int]:
    """Return the numbers of the segments in a run's folder, ascending."""
    found = run_dir.glob("journal-*.sdj")
    return sorted(int(path.stem[8:]) for path in found if path.stem[8:].isdigit())


def pack_segment_header(number: int, first_sequence: int, previous: bytes) -> bytes:
    """Return the first bytes of a segment."""
    head = _SEGMENT.pack(_MAGIC, SCHEMA, 0, number, first_sequence, previous)
    return head + _SEGMENT_CRC.pack(zlib.crc32(head))


def check_segment_header(path: Path, head: bytes, number: int, first_sequence: int, previous: bytes) -> None:
    """Check that a segment is a journal of a known schema and continues the previous segment.

    Raises JournalError, which names the file and the byte.
    """
    if head[: len(_MAGIC)] != _MAGIC:
        raise JournalError(
            "this file is not a scalpdesk diary", where=f"{path}, byte 0", value=head[: len(_MAGIC)]
        )
    (crc,) = _SEGMENT_CRC.unpack_from(head, _SEGMENT.size)
    if crc != zlib.crc32(head[: _SEGMENT.size]):
        raise damage(path, 0, "the segment's header does not match its checksum")
    _, schema, _, *position_in_chain = _SEGMENT.unpack_from(head)
    _check_schema("the journal", schema, f"{path}, byte {len(_MAGIC)}")
    if position_in_chain != [number, first_sequence, previous]:
        raise damage(path, 0, "the segment does not continue the one before it")


def _check_schema(what: str, schema: int, where: str) -> None:
    if schema > SCHEMA:
        raise JournalError(
            f"{what} has schema {schema}, this program reads up to {SCHEMA}",
            where=where,
            value=schema,
            fix="read it with the version of scalpdesk that wrote it, or a newer one",
        )


def pack_record(
    kind: int, payload: bytes, items: int, sequence: int, previous: bytes, *, unsynced: int = 0
) -> tuple[bytes, bytes]:
    """Return a record's frame and its digest; the payload follows the frame in the file.

    ``unsynced`` is the number of records directly before this one that are not yet synced to disk.
    """
    unsynced = min(unsynced, _MOST_UNSYNCED)
    fields = _FIELDS.pack(len(payload), items, sequence, unsynced, SCHEMA, kind, 0, previous)
    hasher = blake2b(fields, digest_size=_DIGEST_BYTES)
    hasher.update(payload)
    digest = hasher.digest()
    crc = zlib.crc32(digest, zlib.crc32(fields))
    return _LEAD.pack(MARKER, crc) + fields + digest, digest


def damage(path: Path, position: int, reason: str) -> JournalError:
    """Return the error for a damaged file."""
    return JournalError(
        f"the journal is damaged: {reason}",
        where=f"{path}, byte {position}",
        fix="restore the run's folder from a copy; nothing after this byte can be trusted",
    )


class _FrameHead(msgspec.Struct, frozen=True):
    payload_bytes: int
    items: int
    sequence: int
    unsynced: int
    schema: int
    kind: int
    previous: bytes
    digest: bytes


def _unpack_frame(frame: bytes) -> _FrameHead | None:
    """Return the frame's fields, or None when marker or checksum do not match."""
    if len(frame) < FRAME_BYTES or frame[:4] != MARKER:
        return None
    (_, crc) = _LEAD.unpack_from(frame)
    fields = frame[_LEAD.size : _LEAD.size + _FIELDS.size]
    digest = frame[_LEAD.size + _FIELDS.size : FRAME_BYTES]
    if crc != zlib.crc32(digest, zlib.crc32(fields)):
        return None
    payload_bytes, items, sequence, unsynced, schema, kind, _, previous = _FIELDS.unpack(fields)
    return _FrameHead(payload_bytes, items, sequence, unsynced, schema, kind, previous, digest)


def kind_and_size(frame: bytes) -> tuple[int, int]:
    """Return kind and payload bytes of a frame that is known to be valid."""
    payload_bytes, _, _, _, _, kind, _, _ = _FIELDS.unpack_from(frame, _LEAD.size)
    return kind, payload_bytes


def _is_valid(frame: bytes, payload: bytes, head: _FrameHead) -> bool:
    hasher = blake2b(frame[_LEAD.size : _LEAD.size + _FIELDS.size], digest_size=_DIGEST_BYTES)
    hasher.update(payload)
    return hasher.digest() == head.digest


def next_record(path: Path, file: BinaryIO, sequence: int, previous: bytes) -> Record | None:
    """Return the record that begins where ``file`` stands, or None while it is not complete.

    For a journal that is being written: an incomplete record is left for later, whatever is missing. Raises
    JournalError when the record is complete and does not follow the one before it.
    """
    position = file.tell()
    frame = file.read(FRAME_BYTES)
    head = _unpack_frame(frame)
    payload = file.read(head.payload_bytes) if head is not None else b""
    if head is None or len(payload) < head.payload_bytes or not _is_valid(frame, payload, head):
        file.seek(position)
        return None
    if (head.sequence, head.previous) != (sequence, previous):
        raise damage(path, position, "the record is complete but does not follow the one before it")
    _check_schema("the record", head.schema, f"{path}, byte {position}")
    return Record(position, payload, head.items, sequence, head.kind, head.digest)


def read_frames(
    path: Path, file: BinaryIO, first_sequence: int, previous: bytes, *, is_last_segment: bool
) -> Iterator[Record | TornWrite]:
    """Yield the valid records after a segment's header; at the end perhaps one :class:`TornWrite`.

    ``first_sequence`` is the number of the first record, ``previous`` the digest before it. Only the last
    segment may end in a torn write. Raises JournalError when a record is damaged and the damage is no torn
    write.
    """
    position = SEGMENT_BYTES
    sequence = first_sequence
    while frame := file.read(FRAME_BYTES):
        head = _unpack_frame(frame)
        payload = file.read(head.payload_bytes) if head is not None else b""
        if head is None or len(payload) < head.payload_bytes or not _is_valid(frame, payload, head):
            file.seek(position)
            torn = _torn_write(path, position, file.read(), sequence, is_last_segment=is_last_segment)
            if torn is not None:
                yield torn
            return
        if (head.sequence, head.previous) != (sequence, previous):
            raise damage(path, position, "the record is complete but does not follow the one before it")
        _check_schema("the record", head.schema, f"{path}, byte {position}")
        yield Record(position, payload, head.items, sequence, head.kind, head.digest)
        position += FRAME_BYTES + head.payload_bytes
        sequence += 1
        previous = head.digest


def _torn_write(
    path: Path, position: int, rest: bytes, sequence: int, *, is_last_segment: bool
) -> TornWrite | None:
    """Classify the bytes from an invalid record on: a torn write, None for unused space, else damage.

    A cut write leaves a prefix of its data, or zeros in preallocated space; a disk may also have stored a
    later sector of that write and not an earlier one. Everything else is damage: an invalid record that a
    later record proves synced, that lacks nothing, or that precedes another segment.
    """
    if not is_last_segment:
        raise damage(path, position, "a record is broken and another segment follows")
    written = len(rest.rstrip(b"\0"))
    if written == 0:
        return None
    head = _unpack_frame(rest[:FRAME_BYTES])
    end = FRAME_BYTES if head is None else FRAME_BYTES + head.payload_bytes
    later = list(_later_records(rest, sequence))
    lost_a_sector = _has_empty_sector(rest[: max(end, later[0][0] if later else written)], position)
    is_cut = not later and (len(rest) < end or written < end < len(rest))
    was_on_disk = any(each.sequence - each.unsynced > sequence for _, each in later)
    if is_cut or (lost_a_sector and not was_on_disk):
        return TornWrite(position, len(rest), "the last write did not reach the disk completely")
    if later:
        behind = position + later[0][0]
        raise damage(path, position, f"a record is broken and a valid one follows at byte {behind}")
    raise damage(path, position, "the last record does not match its checksum and was not cut short")


def _later_records(rest: bytes, sequence: int) -> Iterator[tuple[int, _FrameHead]]:
    """Yield offset and frame of each valid record after an invalid one."""
    offset = rest.find(MARKER, 1)
    while offset >= 0:
        frame = rest[offset : offset + FRAME_BYTES]
        head = _unpack_frame(frame)
        search_from = offset + 1
        if head is not None and head.sequence > sequence:
            end = offset + FRAME_BYTES + head.payload_bytes
            payload = rest[offset + FRAME_BYTES : end]
            if len(payload) == head.payload_bytes and _is_valid(frame, payload, head):
                yield offset, head
                search_from = end
        offset = rest.find(MARKER, search_from)


def _has_empty_sector(record: bytes, position: int) -> bool:
    """Return whether the record's part of some disk sector is all zeros.

    Parts of fewer than 16 bytes are ignored: a price of 0.0 is eight zeros.
    """
    cuts = [0, *range(-position % _SECTOR or _SECTOR, len(record), _SECTOR), len(record)]
    return any(stop - start >= 16 and not record[start:stop].strip(b"\0") for start, stop in pairwise(cuts))
