import shutil

import pytest

from scalpdesk.core.enums import OperatorAction, OperatorCause
from scalpdesk.core.errors import JournalError
from scalpdesk.core.events import OperatorEvent
from scalpdesk.journal import codec, frames, log
from scalpdesk.journal.codec import JournalSeal, JournalTotals, encode_events, encode_seal
from scalpdesk.journal.frames import FRAME_BYTES, GENESIS, SEGMENT_BYTES, RecordKind
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader, peek_header


@pytest.fixture
def run_dir(tmp_path, header, script):
    writer = JournalWriter.create(tmp_path / "r", header)
    for events, outputs in script:
        for event in events:
            writer.add_event(event)
        writer.add_outputs(outputs)
    writer.abandon()
    return tmp_path / "r"


def frames_of(run_dir):
    path = run_dir / "journal-000001.sdj"
    with path.open("rb") as file:
        file.seek(SEGMENT_BYTES)
        return list(frames.read_frames(path, file, 0, GENESIS, is_last_segment=True))


def write_by_hand(path, records):
    data, previous = frames.pack_segment_header(1, 0, GENESIS), GENESIS
    for sequence, (kind, payload, items) in enumerate(records):
        frame, previous = frames.pack_record(kind, payload, items, sequence, previous)
        data += frame + payload
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


def test_a_cut_at_every_byte_gives_the_longest_true_prefix(run_dir):
    path = run_dir / "journal-000001.sdj"
    whole = path.read_bytes()
    ends = [frame.end for frame in frames_of(run_dir)]
    header_end = ends[0]
    full_events = sum(len(step[0]) for step in JournalReader(run_dir).steps())
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        if cut < header_end:
            with pytest.raises(
                JournalError, match="nothing of this run was recorded: it ended while it started"
            ):
                JournalReader(run_dir)
            continue
        reader = JournalReader(run_dir)
        true_end = max(end for end in ends if end <= cut)
        assert reader.end.position == true_end
        assert (reader.recovered is None) == (true_end == cut)
        if reader.recovered is not None:
            assert reader.recovered.position == true_end
            assert reader.recovered.dropped_bytes == cut - true_end
            assert str(true_end) in str(reader.recovered)
        assert sum(len(step[0]) for step in reader.steps()) <= full_events


def test_a_flip_of_any_byte_is_refused_with_file_and_byte(run_dir):
    path = run_dir / "journal-000001.sdj"
    whole = path.read_bytes()
    starts = [0, *(frame.position for frame in frames_of(run_dir))]
    for position in range(len(whole)):
        spoiled = bytearray(whole)
        spoiled[position] ^= 0x40
        path.write_bytes(spoiled)
        with pytest.raises(JournalError) as refused:
            JournalReader(run_dir)
        record = max(start for start in starts if start <= position)
        assert f"journal-000001.sdj, byte {record}" in refused.value.where


def test_zeros_behind_the_last_record_are_unused_room(run_dir):
    path = run_dir / "journal-000001.sdj"
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(5000))
    reader = JournalReader(run_dir)
    assert reader.recovered is None
    assert reader.end.position == len(whole)
    assert sum(len(step[0]) for step in reader.steps()) == 4


def test_a_write_cut_inside_room_set_aside_is_a_torn_tail(run_dir):
    path = run_dir / "journal-000001.sdj"
    whole = path.read_bytes()
    last = frames_of(run_dir)[-1]
    for cut in range(last.position + 1, len(whole.rstrip(b"\0"))):
        path.write_bytes(whole[:cut].ljust(len(whole) + 4096, b"\0"))
        reader = JournalReader(run_dir)
        assert reader.end.position == last.position
        assert reader.recovered.position == last.position


@pytest.fixture
def whole_batches(monkeypatch):
    """Let a hundred quotes be one record, longer than a sector of the disk."""
    monkeypatch.setattr(log, "DURABLE_BATCH_EVENTS", 1_000)


@pytest.mark.usefixtures("whole_batches")
def test_a_sector_that_never_reached_the_disk_is_a_torn_tail(tmp_path, header, quote):
    run_dir = tmp_path / "r"
    with JournalWriter.create(run_dir, header) as writer:
        for step in range(100):
            writer.add_event(quote(step))
        writer.flush()
        path = run_dir / "journal-000001.sdj"
        spoiled = bytearray(path.read_bytes())
    last = frames_of(run_dir)[-2]  # before the seal
    spoiled[last.position // 512 * 512 + 1024 : last.position // 512 * 512 + 1536] = bytes(512)
    path.write_bytes(spoiled)
    assert JournalReader(run_dir).recovered.position == last.position


@pytest.fixture
def two_records_in_one_write(whole_batches, tmp_path, header, quote, script):
    """A run whose last write held 100 quotes and an order; returns the folder and both frames."""
    writer = JournalWriter.create(tmp_path / "r", header)
    for step in range(100):
        writer.add_event(quote(step))
    writer.add_outputs(script[0][1])
    writer.abandon()
    return tmp_path / "r", frames_of(tmp_path / "r")


def lose_a_sector(run_dir, position):
    path = run_dir / "journal-000001.sdj"
    spoiled = bytearray(path.read_bytes())
    start = position // 512 * 512 + 1024
    spoiled[start : start + 512] = bytes(512)
    path.write_bytes(spoiled)


def test_a_sector_lost_before_a_record_of_the_same_write_is_a_torn_write(two_records_in_one_write):
    run_dir, (_, events, _) = two_records_in_one_write
    lose_a_sector(run_dir, events.position)
    reader = JournalReader(run_dir)
    assert reader.recovered.position == events.position
    assert list(reader.steps()) == []


def test_a_sector_lost_after_it_was_known_to_be_on_disk_is_damage(two_records_in_one_write, quote):
    run_dir, (_, events, outputs) = two_records_in_one_write
    with JournalWriter.reopen(run_dir, started_ns=1) as writer:
        writer.add_event(quote(1))
    lose_a_sector(run_dir, events.position)
    with pytest.raises(JournalError, match=f"a valid one follows at byte {outputs.position}") as refused:
        JournalReader(run_dir)
    assert f"byte {events.position}" in refused.value.where


def test_a_broken_record_before_another_segment_is_damage(tmp_path, header, script):
    run_dir = tmp_path / "r"
    with JournalWriter.create(run_dir, header, segment_limit_bytes=200) as writer:
        for events, outputs in script:
            for event in events:
                writer.add_event(event)
            writer.add_outputs(outputs)
    first = run_dir / "journal-000001.sdj"
    first.write_bytes(first.read_bytes()[:-3])
    with pytest.raises(JournalError, match=r"another segment follows[\s\S]*journal-000001"):
        JournalReader(run_dir)


def test_a_segment_of_another_run_is_refused(tmp_path, header, script, quote):
    for name, offset in (("a", 0), ("b", 1)):
        with JournalWriter.create(tmp_path / name, header, segment_limit_bytes=200) as writer:
            for step in range(offset, offset + 30):
                writer.add_event(quote(step))
                writer.add_outputs(script[1][1])
    shutil.copy(tmp_path / "b" / "journal-000003.sdj", tmp_path / "a" / "journal-000003.sdj")
    with pytest.raises(JournalError, match="does not continue"):
        JournalReader(tmp_path / "a")


def test_another_kind_of_file_is_named(run_dir):
    (run_dir / "journal-000001.sdj").write_bytes(b"PAR1" * 40)
    with pytest.raises(JournalError, match="not a scalpdesk diary"):
        JournalReader(run_dir)


def test_a_newer_schema_is_named(run_dir, monkeypatch, tmp_path, header):
    monkeypatch.setattr(frames, "SCHEMA", codec.SCHEMA + 1)
    JournalWriter.create(tmp_path / "newer", header).close()
    monkeypatch.undo()
    with pytest.raises(
        JournalError, match=f"schema {codec.SCHEMA + 1}, this program reads up to {codec.SCHEMA}"
    ):
        JournalReader(tmp_path / "newer")


def test_an_empty_or_absent_folder_is_named(tmp_path):
    with pytest.raises(JournalError, match="no journal"):
        JournalReader(tmp_path)
    with pytest.raises(JournalError, match="no journal"):
        JournalReader(tmp_path / "absent")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "journal-000001.sdj").mkdir()
    with pytest.raises(JournalError, match=r"cannot be read[\s\S]*journal-000001"):
        JournalReader(tmp_path)


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([(RecordKind.EVENTS, b"\x90", 0)], "header must be the first"),
        ([(RecordKind.HEADER, b"\x01", 1)], "another form"),
    ],
)
def test_true_records_in_the_wrong_place_are_refused(tmp_path, records, says):
    write_by_hand(tmp_path / "journal-000001.sdj", records)
    with pytest.raises(JournalError, match=says):
        JournalReader(tmp_path)


def test_a_seal_that_counts_otherwise_and_records_behind_it_are_refused(tmp_path, header, quote):
    start = (RecordKind.HEADER, codec.encode_header(header), 1)
    events = (RecordKind.EVENTS, encode_events([quote(1)]), 1)
    right = (RecordKind.SEAL, encode_seal(JournalSeal(JournalTotals(1, 0, 0))), 1)
    wrong = (RecordKind.SEAL, encode_seal(JournalSeal(JournalTotals(2, 0, 0))), 1)
    path = tmp_path / "journal-000001.sdj"
    write_by_hand(path, [start, events, wrong])
    with pytest.raises(JournalError, match="the seal counts"):
        JournalReader(tmp_path)
    write_by_hand(path, [start, events, right, events])
    with pytest.raises(JournalError, match="follows the seal"):
        JournalReader(tmp_path)
    write_by_hand(path, [start, (9, b"", 0)])
    with pytest.raises(JournalError, match="unknown kind of record 9"):
        JournalReader(tmp_path)


def test_payloads_of_another_form_are_refused_when_read(tmp_path, header, quote):
    start = (RecordKind.HEADER, codec.encode_header(header), 1)
    path = tmp_path / "journal-000001.sdj"
    write_by_hand(path, [start, (RecordKind.EVENTS, b"\x91\x01", 1)])
    with pytest.raises(JournalError, match="another form"):
        list(JournalReader(tmp_path).steps())
    write_by_hand(path, [start, (RecordKind.EVENTS, b"\x90", 0)])
    with pytest.raises(JournalError, match="batch of events is empty"):
        list(JournalReader(tmp_path).steps())
    write_by_hand(path, [start, (RecordKind.OUTPUTS, b"\x90", 0)])
    with pytest.raises(JournalError, match="without an event"):
        list(JournalReader(tmp_path).steps())


def test_a_record_that_skips_a_number_is_refused(tmp_path, header, quote):
    path = tmp_path / "journal-000001.sdj"
    head, digest = frames.pack_record(RecordKind.HEADER, codec.encode_header(header), 1, 0, GENESIS)
    payload = encode_events([quote(1)])
    skipped, _ = frames.pack_record(RecordKind.EVENTS, payload, 1, 2, digest)
    start = frames.pack_segment_header(1, 0, GENESIS) + head + codec.encode_header(header)
    path.write_bytes(start + skipped + payload)
    with pytest.raises(JournalError, match="does not follow") as refused:
        JournalReader(tmp_path)
    assert f"byte {len(start)}" in refused.value.where
    assert len(head) == FRAME_BYTES


def test_the_header_alone_can_be_read_of_a_run_that_is_damaged_later(run_dir, header):
    path = run_dir / "journal-000001.sdj"
    spoiled = bytearray(path.read_bytes())
    spoiled[-1] ^= 1
    path.write_bytes(spoiled)
    assert peek_header(run_dir) == header
    spoiled[SEGMENT_BYTES + FRAME_BYTES] ^= 1
    path.write_bytes(spoiled)
    with pytest.raises(JournalError, match="damaged"):
        peek_header(run_dir)
    write_by_hand(path, [(RecordKind.HEADER, b"\x01", 1)])
    with pytest.raises(JournalError, match="another form"):
        peek_header(run_dir)
    path.write_bytes(spoiled[:SEGMENT_BYTES])
    with pytest.raises(JournalError, match="complete header"):
        peek_header(run_dir)
    with pytest.raises(JournalError, match="cannot be read"):
        peek_header(run_dir / "absent")


def test_a_record_of_a_newer_schema_in_a_file_of_ours_is_named(tmp_path, header, monkeypatch):
    path = tmp_path / "journal-000001.sdj"
    head = frames.pack_segment_header(1, 0, GENESIS)
    monkeypatch.setattr(frames, "SCHEMA", 7)
    payload = codec.encode_header(header)
    frame, _ = frames.pack_record(RecordKind.HEADER, payload, 1, 0, GENESIS)
    monkeypatch.undo()
    path.write_bytes(head + frame + payload)
    with pytest.raises(JournalError, match="the record has schema 7"):
        JournalReader(tmp_path)


def test_a_marker_inside_a_torn_record_is_no_later_record(tmp_path, header, quote):
    run_dir = tmp_path / "r"
    writer = JournalWriter.create(run_dir, header)
    writer.flush()
    kept = JournalReader(run_dir).end.position
    lookalike = (frames.MARKER * 40).decode("latin-1")
    writer.add_event(OperatorEvent(1, 1, OperatorAction.HALT, lookalike, lookalike, OperatorCause.PERSON))
    writer.abandon()
    path = run_dir / "journal-000001.sdj"
    whole = bytearray(path.read_bytes())
    position = kept + FRAME_BYTES + 20
    whole[position : position + 240] = frames.MARKER * 60
    path.write_bytes(whole[:-1])
    reader = JournalReader(run_dir)
    assert reader.end.position == kept
    assert reader.recovered.dropped_bytes == len(whole) - 1 - kept
