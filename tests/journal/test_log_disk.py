import errno
import os

import pytest

from scalpdesk.core.errors import StopError
from scalpdesk.journal.log import SegmentFile


def refuse_with(number):
    def refuse(*_args):
        raise OSError(number, os.strerror(number))

    return refuse


def test_room_is_set_aside_and_given_back(tmp_path):
    path = tmp_path / "a"
    file = SegmentFile.create(path, reserve_bytes=4096, is_durable=True)
    file.write(b"one")
    assert path.stat().st_size == 3 + 4096
    file.write(b"x" * 5000)
    file.sync()
    assert path.stat().st_size == 5003 + 4096
    file.close()
    file.close()
    assert path.read_bytes() == b"one" + b"x" * 5000


def test_a_file_system_without_reservation_is_written_all_the_same(tmp_path, monkeypatch):
    file = SegmentFile.create(tmp_path / "a", reserve_bytes=4096, is_durable=False)
    monkeypatch.setattr(os, "posix_fallocate", refuse_with(errno.EOPNOTSUPP))
    file.write(b"one")
    file.write(b"two")
    file.close()
    assert (tmp_path / "a").read_bytes() == b"onetwo"


def test_a_full_disk_is_met_before_the_record_is_written(tmp_path, monkeypatch):
    file = SegmentFile.create(tmp_path / "a", reserve_bytes=4096, is_durable=False)
    monkeypatch.setattr(os, "posix_fallocate", refuse_with(errno.ENOSPC))
    with pytest.raises(StopError) as refused:
        file.write(b"one")
    assert refused.value.value == errno.ENOSPC
    file.close()
    assert (tmp_path / "a").read_bytes() == b""


def test_reopening_cuts_what_lies_behind(tmp_path):
    (tmp_path / "a").write_bytes(b"0123456789")
    file = SegmentFile.reopen(tmp_path / "a", 4, reserve_bytes=0, is_durable=True)
    file.write(b"xy")
    file.close()
    assert (tmp_path / "a").read_bytes() == b"0123xy"


def test_a_file_that_is_there_or_is_not_there_is_named(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(StopError, match="open failed"):
        SegmentFile.create(tmp_path / "a", reserve_bytes=0, is_durable=False)
    with pytest.raises(StopError, match="reopen failed"):
        SegmentFile.reopen(tmp_path / "b", 0, reserve_bytes=0, is_durable=True)


def test_a_write_in_pieces_is_finished(tmp_path, monkeypatch):
    file = SegmentFile.create(tmp_path / "a", reserve_bytes=0, is_durable=False)
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:2]))
    file.write(b"0123456789")
    monkeypatch.undo()
    file.close()
    assert (tmp_path / "a").read_bytes() == b"0123456789"
