"""Copies of a journal that was still written to."""

import gzip
from pathlib import Path

import pytest

from scalpdesk.assembly import engine_from_header
from scalpdesk.backtesting.runs import replay
from scalpdesk.journal.frames import segment_path
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader

JOURNAL = Path(__file__).parents[1] / "journal/data/v0.1.0_exchange.sdj.gz"


@pytest.fixture
def written(tmp_path):
    """Return the folder of a run, and its journal without the room that was reserved behind it."""
    segment_path(tmp_path, 1).write_bytes(gzip.decompress(JOURNAL.read_bytes()))
    reader, run_dir = JournalReader(tmp_path), tmp_path / "now"
    engine = engine_from_header(reader.header)
    journal = JournalWriter.create(run_dir, reader.header)
    for events, _ in reader.steps():  # its events, decided on as today
        for event in events:
            journal.add_event(event)
            outputs = engine.handle(event)
            if outputs:
                journal.add_outputs(outputs)
    journal.flush()
    journal.abandon()
    found = segment_path(run_dir, 1).read_bytes().rstrip(b"\0")
    segment_path(run_dir, 1).write_bytes(found)
    return run_dir, found


def test_a_copy_that_ends_within_a_record_decides_as_the_journal_up_to_it(written):
    run_dir, found = written
    whole = replay(run_dir)
    copies = []
    for missing in range(1, 4_000, 333):
        segment_path(run_dir, 1).write_bytes(found[:-missing])
        copies.append(replay(run_dir))
    assert all(copy.identical and copy.recovered for copy in copies)
    assert whole.outputs > copies[-1].outputs
    assert whole.events > copies[-1].events > 100


@pytest.mark.parametrize("lost", [0, -1])
def test_outputs_may_be_missing_at_the_last_event_alone(written, tmp_path, lost):
    reader = JournalReader(written[0])
    steps = list(reader.steps())
    without = [number for number, (_, outputs) in enumerate(steps) if outputs][lost]
    journal = JournalWriter.create(tmp_path / "copy", reader.header)
    for number, (events, outputs) in enumerate(steps[: without + 1] if lost else steps):
        for event in events:
            journal.add_event(event)
        if number != without:
            journal.add_outputs(outputs)
    journal.flush()
    journal.abandon()
    assert replay(tmp_path / "copy").identical == bool(lost)
