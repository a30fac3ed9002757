"""Following a journal that is being written: nothing twice, nothing lost, nothing half."""

import shutil

import pytest

from scalpdesk.core.errors import JournalError
from scalpdesk.journal.frames import FRAME_BYTES, SEGMENT_BYTES, segment_path
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader, JournalTail


def steps_of(items):
    """Pair events and outputs as the reader does."""
    steps, waiting = [], None
    for item in items:
        if isinstance(item, list):
            if waiting is not None:
                steps.append((waiting, ()))
            waiting = item
        else:
            steps.append((waiting, item))
            waiting = None
    return steps if waiting is None else [*steps, (waiting, ())]


def write(writer, script):
    for events, outputs in script:
        for event in events:
            writer.add_event(event)
        writer.add_outputs(outputs)


@pytest.mark.parametrize("durability", ["commands", "none"])
def test_tail_gives_what_the_reader_gives_over_several_segments(tmp_path, header, script, durability):
    run = tmp_path / "run"
    tail = JournalTail(run)
    assert list(tail.read()) == []  # nothing is there yet
    assert tail.header is None
    seen = []
    with JournalWriter.create(run, header, durability=durability, segment_limit_bytes=600) as writer:
        for _ in range(20):
            write(writer, script)
            writer.flush()
            seen += tail.read()
        assert not tail.sealed
    seen += tail.read()
    reader = JournalReader(run)
    assert len(list(run.glob("journal-*.sdj"))) > 3
    assert steps_of(seen) == list(reader.steps())
    assert tail.sealed
    assert tail.header == reader.header
    assert list(tail.read()) == []


def test_record_that_is_not_complete_waits_until_it_is(tmp_path, header, script):
    whole, part = tmp_path / "whole", tmp_path / "part"
    with JournalWriter.create(whole, header, durability="none") as writer:
        write(writer, script)
    content = segment_path(whole, 1).read_bytes()
    part.mkdir()
    path, tail, seen = segment_path(part, 1), JournalTail(part), []
    for size in range(0, len(content) + 1, 7):
        path.write_bytes(content[:size])
        seen += tail.read()
    path.write_bytes(content)
    seen += tail.read()
    assert steps_of(seen) == list(JournalReader(whole).steps())
    assert tail.sealed
    assert tail.summary == {}


def test_zeros_of_preallocated_space_are_no_record(tmp_path, header, script):
    run = tmp_path / "run"
    with JournalWriter.create(run, header, durability="none") as writer:
        write(writer, script)
    path = segment_path(run, 1)
    path.write_bytes(path.read_bytes() + bytes(4096))
    tail = JournalTail(run)
    assert steps_of(tail.read()) == list(JournalReader(run).steps())


def test_record_that_does_not_follow_the_one_before_it_is_named(tmp_path, header, script):
    run, other = tmp_path / "run", tmp_path / "other"
    with JournalWriter.create(run, header, durability="none") as writer:
        write(writer, script)
    shutil.copytree(run, other)
    content = segment_path(run, 1).read_bytes()
    first = (
        SEGMENT_BYTES
        + FRAME_BYTES
        + int.from_bytes(content[SEGMENT_BYTES + 8 : SEGMENT_BYTES + 12], "little")
    )
    segment_path(other, 1).write_bytes(content[:first] + content[SEGMENT_BYTES:])  # the header comes twice
    tail = JournalTail(other)
    with pytest.raises(JournalError, match=f"does not follow.*\n.*byte {first}"):
        list(tail.read())
    tail.close()


def test_at_most_so_many_records_are_read_at_a_time(tmp_path, header, script):
    run = tmp_path / "run"
    with JournalWriter.create(run, header, durability="none") as writer:
        write(writer, script)
    tail, seen = JournalTail(run), []
    for _ in range(10):
        found = list(tail.read(1))
        assert len(found) <= 1
        seen += found
    assert steps_of(seen) == list(JournalReader(run).steps())


def test_space_set_aside_for_records_is_not_taken_for_their_content_later(tmp_path, header, script):
    whole, part = tmp_path / "whole", tmp_path / "part"
    with JournalWriter.create(whole, header, durability="none") as writer:
        write(writer, script)
    content = segment_path(whole, 1).read_bytes()
    part.mkdir()
    path, tail = segment_path(part, 1), JournalTail(part)
    path.write_bytes(content[: SEGMENT_BYTES + 200] + bytes(len(content)))
    assert list(tail.read()) == []  # the header is not whole yet; what follows reads as zeros
    with path.open("r+b") as file:
        file.write(content)
        file.truncate(len(content))
    assert steps_of(tail.read()) == list(JournalReader(whole).steps())
    assert tail.sealed
