import errno
import os

import pytest

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import ArgumentError, InvariantError, JournalError, StopError
from scalpdesk.core.events import OpenInterestEvent, TimerEvent
from scalpdesk.core.intents import Decision, SetTimer
from scalpdesk.journal import log
from scalpdesk.journal.codec import DecisionHash, TapeRows, encode_events, encode_outputs
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import JournalReader


def play(writer, script):
    for events, outputs in script:
        for event in events:
            writer.add_event(event)
        writer.add_outputs(outputs)


def as_bytes(steps):
    """All events and outputs in order; silent events may stand in one step or in several."""
    flat = []
    for events, outputs in steps:
        flat += [encode_events([event]) for event in events]
        flat += [encode_outputs([output]) for output in outputs]
    return flat


@pytest.mark.parametrize("durability", ["commands", "none"])
def test_what_was_written_is_read(tmp_path, header, script, durability):
    run_dir = tmp_path / "runs" / header.run_id
    with JournalWriter.create(run_dir, header, durability=durability) as writer:
        play(writer, script)
    reader = JournalReader(run_dir)
    assert reader.header == header
    assert reader.sealed
    assert reader.recovered is None
    assert (reader.totals.events, reader.totals.outputs, reader.totals.output_records) == (4, 3, 2)
    assert as_bytes(reader.steps()) == as_bytes(script)


def test_commands_are_on_disk_before_add_outputs_returns(tmp_path, header, script, monkeypatch):
    run_dir = tmp_path / "r"
    with JournalWriter.create(run_dir, header) as writer:
        synced = []

        def spy(descriptor):
            assert os.fstat(descriptor).st_ino == (run_dir / "journal-000001.sdj").stat().st_ino
            synced.append(as_bytes(JournalReader(run_dir).steps()))

        monkeypatch.setattr(os, "fdatasync", spy)
        play(writer, script[:1])
        assert synced == [as_bytes(script[:1])]
        assert not JournalReader(run_dir).sealed
        play(writer, script[1:])
        assert len(synced) == 1  # a timer is no command


@pytest.mark.parametrize(
    ("durability", "limit"), [("none", "BATCH_EVENTS"), ("commands", "DURABLE_BATCH_EVENTS")]
)
def test_a_long_silence_is_written_in_batches(tmp_path, header, quote, monkeypatch, durability, limit):
    monkeypatch.setattr(log, limit, 10)
    events = [quote(step) for step in range(25)]
    with JournalWriter.create(tmp_path / "r", header, durability=durability) as writer:
        for event in events:
            writer.add_event(event)
        assert writer.totals.events == 20  # a command would wait for five to be encoded
    steps = list(JournalReader(tmp_path / "r").steps())
    assert [len(step[0]) for step in steps] == [10, 10, 5]
    assert [event for step in steps for event in step[0]] == events
    assert all(step[1] == () for step in steps)


@pytest.mark.rows("before", [0, 9, 10, 31, 32, 33])
@pytest.mark.rows("durability", ["none", "commands"])
def test_the_last_event_can_be_replaced_wherever_a_batch_ends(tmp_path, header, quote, before, durability):
    events = [quote(step) for step in range(before + 1)]
    instead = TimerEvent(events[-1].ts_event_ns, events[-1].ts_recv_ns, "instead")
    with JournalWriter.create(tmp_path / "r", header, durability=durability) as writer:
        for event in events:
            writer.add_event(event)
        writer.replace_event(instead)
        writer.add_event(quote(before + 1))
    read = [event for step in JournalReader(tmp_path / "r").steps() for event in step[0]]
    assert read == [*events[:-1], instead, quote(before + 1)]


def test_outputs_that_cannot_be_encoded_leave_their_event_to_be_replaced(tmp_path, header, quote):
    decision = Decision(1, DecisionKind.HEDGE, False, ("why",), {"fact": object()})
    with JournalWriter.create(tmp_path / "r", header) as writer:
        writer.add_event(quote(0))
        with pytest.raises(InvariantError, match="cannot hold outputs"):
            writer.add_outputs((decision,))
        writer.replace_event(TimerEvent(2, 2, "instead"))
    ((events, outputs),) = JournalReader(tmp_path / "r").steps()
    assert (list(events), outputs) == ([TimerEvent(2, 2, "instead")], ())


def test_rows_of_a_tape_stand_for_its_quotes(tmp_path, header, quote):
    timer = TimerEvent(5, 5, "mark")
    quotes = [quote(step) for step in range(7)]
    with JournalWriter.create(tmp_path / "r", header, durability="none") as writer:
        writer.add_rows(TapeRows("2018-02-05", 0, 3, "aa", quotes[2]))
        writer.add_event(timer)
        writer.add_rows(TapeRows("2018-02-05", 3, 7, "aa", quotes[6]))
        writer.add_outputs((SetTimer("mark", 1),))
        assert writer.totals.events == 8
    reader = JournalReader(tmp_path / "r")
    assert reader.totals.events == 8
    said = (SetTimer("mark", 1),)
    assert [(list(events), outputs) for events, outputs in reader.steps()] == [
        ([quotes[2]], ()),
        ([timer], ()),
        ([quotes[6]], said),
    ]
    assert reader.passed == 8

    def read_rows(rows):
        assert (rows.session, rows.digest) == ("2018-02-05", "aa")
        return (quotes[at : min(at + 2, rows.last)] for at in range(rows.first, rows.last, 2))

    assert list(reader.steps(read_rows)) == [
        (quotes[:2], ()),
        (quotes[2:3], ()),
        ([timer], ()),
        (quotes[3:5], ()),
        (quotes[5:7], said),
    ]


def test_segments_roll_and_read_as_one(tmp_path, header, script):
    run_dir = tmp_path / "r"
    with JournalWriter.create(run_dir, header, segment_limit_bytes=200) as writer:
        for _ in range(5):
            play(writer, script)
    assert len(list(run_dir.glob("journal-*.sdj"))) > 3
    reader = JournalReader(run_dir)
    assert reader.sealed
    assert as_bytes(reader.steps()) == as_bytes(script * 5)


def test_a_missing_segment_is_named(tmp_path, header, script):
    run_dir = tmp_path / "r"
    with JournalWriter.create(run_dir, header, segment_limit_bytes=200) as writer:
        play(writer, script)
    (run_dir / "journal-000002.sdj").unlink()
    with pytest.raises(JournalError, match=r"journal-000002\.sdj"):
        JournalReader(run_dir)


def test_outputs_without_an_event_are_refused(tmp_path, header, script):
    with JournalWriter.create(tmp_path / "r", header) as writer:
        writer.add_outputs(())
        with pytest.raises(InvariantError, match="need an event"):
            writer.add_outputs(script[0][1])


def test_a_second_writer_is_refused_and_told_who_holds(tmp_path, header):
    run_dir = tmp_path / "r"
    with JournalWriter.create(run_dir, header):
        with pytest.raises(JournalError) as refused:
            JournalWriter.create(run_dir, header)
        assert f'"pid":{os.getpid()}' in refused.value.value
        assert str(header.started_ns) in refused.value.value
        with pytest.raises(JournalError, match="another process writes"):
            JournalWriter.reopen(run_dir, started_ns=1)


def test_a_folder_with_a_journal_is_not_overwritten(tmp_path, header):
    JournalWriter.create(tmp_path / "r", header).close()
    before = (tmp_path / "r" / "journal-000001.sdj").read_bytes()
    for _ in range(2):  # a refusal lets go of the lock
        with pytest.raises(JournalError, match="already holds a journal"):
            JournalWriter.create(tmp_path / "r", header)
    assert (tmp_path / "r" / "journal-000001.sdj").read_bytes() == before


@pytest.mark.parametrize(("call", "number"), [("write", errno.ENOSPC), ("fdatasync", errno.EIO)])
def test_a_disk_that_refuses_stops_everything(tmp_path, header, script, monkeypatch, call, number):
    writer = JournalWriter.create(tmp_path / "r", header)

    def refuse(*_args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(StopError) as refused:
        play(writer, script[:1])
    assert refused.value.value == number
    assert "journal-000001.sdj" in refused.value.where
    monkeypatch.undo()
    with pytest.raises(StopError, match=call):
        play(writer, script[1:])
    with pytest.raises(StopError):
        writer.close()
    assert not JournalReader(tmp_path / "r").sealed
    JournalWriter.reopen(tmp_path / "r", started_ns=1).close()  # the folder was let go


@pytest.mark.parametrize("durability", ["commands", "none"])
def test_a_disk_that_refuses_the_next_segment_stops_everything(
    tmp_path, header, script, monkeypatch, durability
):
    run_dir = tmp_path / "r"
    writer = JournalWriter.create(run_dir, header, durability=durability, segment_limit_bytes=200)

    def refuse(*_args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(os, "open", refuse)
        with pytest.raises(StopError, match="open failed") as refused:
            play(writer, script)
    assert refused.value.value == errno.ENOSPC
    for later in (lambda: play(writer, script), writer.flush):  # though there is room again
        with pytest.raises(StopError, match="open failed"):
            later()
    writer.abandon()
    assert [path.name for path in run_dir.glob("journal-*.sdj")] == ["journal-000001.sdj"]
    reader = JournalReader(run_dir)
    assert not reader.sealed
    JournalWriter.reopen(run_dir, started_ns=1).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path, header):
    (tmp_path / "file").write_text("")
    with pytest.raises(StopError, match="file/r"):
        JournalWriter.create(tmp_path / "file" / "r", header)


def test_unknown_durability_is_named(tmp_path, header):
    with pytest.raises(ArgumentError, match="commands"):
        JournalWriter.create(tmp_path / "r", header, durability="command")


def test_an_error_in_the_run_leaves_the_journal_unsealed(tmp_path, header, script):
    def run():
        with JournalWriter.create(tmp_path / "r", header, durability="none") as writer:
            play(writer, script)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run()
    reader = JournalReader(tmp_path / "r")
    assert not reader.sealed
    assert as_bytes(reader.steps()) == as_bytes(script)


def test_a_closed_journal_takes_nothing_more(tmp_path, header, script):
    writer = JournalWriter.create(tmp_path / "r", header)
    writer.close()
    writer.close()
    with pytest.raises(StopError, match="closed"):
        play(writer, script)


def test_reopen_cuts_the_torn_tail_and_goes_on(tmp_path, header, script):
    run_dir = tmp_path / "r"
    writer = JournalWriter.create(run_dir, header)
    play(writer, script)
    writer.abandon()
    path = run_dir / "journal-000001.sdj"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with JournalWriter.reopen(run_dir, started_ns=5) as again:
        assert again.recovered.dropped_bytes > 0
        assert again.recovered.file == path.name
        assert again.totals.events == 3
        play(again, script)
    reader = JournalReader(run_dir)
    assert reader.sealed
    assert as_bytes(reader.steps()) == as_bytes(script[:2] + script)


def test_reopen_takes_the_outputs_that_were_not_written(tmp_path, header, script):
    run_dir = tmp_path / "r"
    writer = JournalWriter.create(run_dir, header)
    for event in script[0][0]:
        writer.add_event(event)
    writer.abandon()
    with JournalWriter.reopen(run_dir, started_ns=5) as again:
        again.add_outputs(script[0][1])
    assert as_bytes(JournalReader(run_dir).steps()) == as_bytes(script[:1])


def test_reopen_refuses_what_ended_and_what_is_not_there(tmp_path, header):
    JournalWriter.create(tmp_path / "r", header).close()
    with pytest.raises(JournalError, match="sealed"):
        JournalWriter.reopen(tmp_path / "r", started_ns=1)
    with pytest.raises(JournalError, match="no such run"):
        JournalWriter.reopen(tmp_path / "other", started_ns=1)


def test_reopen_drops_a_segment_that_was_only_begun(tmp_path, header, script):
    run_dir = tmp_path / "r"
    writer = JournalWriter.create(run_dir, header, segment_limit_bytes=200)
    play(writer, script)
    writer.abandon()
    last = max(run_dir.glob("journal-*.sdj"))
    begun = run_dir / f"journal-{int(last.stem[8:]) + 1:06d}.sdj"
    begun.write_bytes(b"\x89SDJ")
    assert JournalReader(run_dir).recovered.file == begun.name
    with JournalWriter.reopen(run_dir, started_ns=1) as again:
        play(again, script)
    reader = JournalReader(run_dir)
    assert reader.sealed
    assert as_bytes(reader.steps()) == as_bytes(script * 2)


def test_the_seal_keeps_the_summary_and_the_decision_hash_is_one(tmp_path, header, script):
    writer = JournalWriter.create(tmp_path / "r", header, durability="none")
    play(writer, script[:1])
    writer.abandon()
    writer = JournalWriter.reopen(tmp_path / "r", started_ns=1)
    play(writer, script[1:])
    alone = DecisionHash()
    for _, outputs in script:
        alone.add(outputs)
    assert writer.decisions.hex() == alone.hex()
    writer.close({"nav_change": "1.25"})
    reader = JournalReader(tmp_path / "r")
    assert reader.decisions.hex() == alone.hex()
    assert reader.summary == {"nav_change": "1.25"}


def test_a_crash_leaves_room_set_aside_that_reopening_removes(tmp_path, header, script):
    run_dir = tmp_path / "r"
    writer = JournalWriter.create(run_dir, header)
    play(writer, script[:1])
    path = run_dir / "journal-000001.sdj"
    as_it_lay = path.read_bytes()
    writer.abandon()
    path.write_bytes(as_it_lay)  # what a crash leaves: nothing was given back
    assert len(as_it_lay) > log.RESERVE_BYTES
    assert JournalReader(run_dir).recovered is None
    with JournalWriter.reopen(run_dir, started_ns=1) as again:
        play(again, script[1:])
    assert path.stat().st_size < 5000
    assert as_bytes(JournalReader(run_dir).steps()) == as_bytes(script)


def test_a_full_buffer_goes_out_by_itself(tmp_path, header, quote, monkeypatch):
    monkeypatch.setattr(log, "_BUFFER_BYTES", 300)
    monkeypatch.setattr(log, "BATCH_EVENTS", 10)
    writer = JournalWriter.create(tmp_path / "r", header, durability="none")
    for step in range(11):
        writer.add_event(quote(step))
    assert JournalReader(tmp_path / "r").totals.events == 10
    assert writer.totals.events == 10
    writer.abandon()
    writer.abandon()


def test_a_lock_that_cannot_be_made_is_named(tmp_path, header):
    (tmp_path / "r" / "journal.lock").mkdir(parents=True)
    with pytest.raises(StopError, match=r"journal\.lock"):
        JournalWriter.create(tmp_path / "r", header)


def test_an_event_that_cannot_be_encoded_is_refused_as_it_is_added_and_leaves_the_rest(
    tmp_path, header, quote
):
    with JournalWriter.create(tmp_path / "r", header) as writer:
        writer.add_event(quote(1))
        odd = (OpenInterestEvent(0, 1, 1, 10**30), TimerEvent(2**64, 1, "x"), TimerEvent(1, 1, "\ud800"))
        for absurd in odd:
            with pytest.raises(InvariantError, match="cannot hold events"):
                writer.add_event(absurd)
        writer.add_event(quote(2))
    read = [event for step in JournalReader(tmp_path / "r").steps() for event in step[0]]
    assert read == [quote(1), quote(2)]


def test_a_refusal_from_the_engine_ends_the_run_without_a_seal(tmp_path, header):
    def run():
        with JournalWriter.create(tmp_path / "r", header) as writer:
            writer.add_event(object())
            writer.flush()

    with pytest.raises(InvariantError, match="cannot hold events"):
        run()
    assert not JournalReader(tmp_path / "r").sealed


def test_after_a_failed_sync_nothing_is_written_again(tmp_path, header, script, monkeypatch):
    writer = JournalWriter.create(tmp_path / "r", header)

    def refuse(_descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", refuse)
    with pytest.raises(StopError):
        play(writer, script[:1])
    monkeypatch.undo()
    before = JournalReader(tmp_path / "r").end
    with pytest.raises(StopError, match="fdatasync"):
        writer.flush()
    writer.abandon()
    assert JournalReader(tmp_path / "r").end == before
    with JournalWriter.reopen(tmp_path / "r", started_ns=1):
        writer._lock.release()  # a second release lets go of nothing that another holds
        with pytest.raises(JournalError, match="another process writes"):
            JournalWriter.reopen(tmp_path / "r", started_ns=2)


@pytest.mark.rows("mask", [0o000, 0o022, 0o077])
def test_nobody_but_the_owner_reads_a_run_also_one_that_was_open_to_others(tmp_path, header, mask):
    run_dir, before = tmp_path / "runs" / "one", os.umask(mask)
    try:
        JournalWriter.create(run_dir, header).abandon()
        modes = [oct(path.stat().st_mode & 0o777) for path in sorted(run_dir.iterdir())]
        assert (oct(run_dir.stat().st_mode & 0o777), set(modes)) == ("0o700", {"0o600"})
        run_dir.chmod(0o755)
        for path in run_dir.iterdir():
            path.chmod(0o644)
        JournalWriter.reopen(run_dir, started_ns=2).abandon()
    finally:
        os.umask(before)
    assert run_dir.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in run_dir.iterdir())
