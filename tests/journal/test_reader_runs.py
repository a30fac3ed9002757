import os
from pathlib import Path

import msgspec
import pytest

from scalpdesk.core.errors import DataError, JournalError
from scalpdesk.journal.log import JournalWriter
from scalpdesk.journal.reader import find_run_dir, pick_run_id, run_dirs, written_ns
from scalpdesk.records.projection import project_missing
from scalpdesk.records.store import open_store, store_url
from scalpdesk_testing.kit.closed_folder import close_folder


@pytest.fixture
def runs_dir(tmp_path, header):
    for started, name in ((3, "demo-a1"), (9, "backtest-b"), (5, "demo-a2")):
        own = msgspec.structs.replace(header, run_id=name, started_ns=started)
        JournalWriter.create(tmp_path / name, own, durability="none").close()
        os.utime(tmp_path / name / "journal-000001.sdj", ns=(10**18, 10**18))
    (tmp_path / "not-a-run").mkdir()
    return tmp_path


def test_a_run_is_found_by_id_beginning_path_and_last(runs_dir):
    assert [folder.name for folder in run_dirs(runs_dir)] == ["backtest-b", "demo-a1", "demo-a2"]
    assert find_run_dir(runs_dir, "demo-a1").name == "demo-a1"
    assert find_run_dir(runs_dir, "back").name == "backtest-b"
    assert find_run_dir(runs_dir, "last").name == "backtest-b"
    assert find_run_dir(runs_dir, str(runs_dir / "demo-a2")) == runs_dir / "demo-a2"


def test_last_is_what_was_written_last_whatever_the_time_in_its_market(runs_dir):
    assert written_ns(runs_dir / "not-a-run") == 0
    late = written_ns(runs_dir / "demo-a1") + 10**12
    os.utime(runs_dir / "demo-a1" / "journal-000001.sdj", ns=(late, late))
    assert written_ns(runs_dir / "demo-a1") == late
    assert find_run_dir(runs_dir, "last").name == "demo-a1"


def test_a_run_with_a_broken_header_is_never_the_last(runs_dir):
    (runs_dir / "backtest-b" / "journal-000001.sdj").write_bytes(b"x" * 100)
    assert find_run_dir(runs_dir, "last").name == "demo-a2"


def test_no_run_several_runs_and_a_slip_of_the_pen_are_named(runs_dir, tmp_path):
    with pytest.raises(DataError, match="2 runs begin with this: demo-a1, demo-a2"):
        find_run_dir(runs_dir, "demo")
    with pytest.raises(DataError) as refused:
        find_run_dir(runs_dir, "backtets-b")
    assert refused.value.nearest == "backtest-b"
    with pytest.raises(DataError, match="no run yet"):
        find_run_dir(tmp_path / "absent", "last")
    with pytest.raises(DataError, match=r"7 runs begin with this.*and more"):
        pick_run_id("r", [f"r{n}" for n in range(7)], where="store")


def test_a_folder_that_cannot_be_read_is_left_out_with_a_warning_and_hides_no_other(
    runs_dir, monkeypatch, caplog
):
    closed = runs_dir / "demo-a1"
    close_folder(monkeypatch, closed)
    assert [folder.name for folder in run_dirs(runs_dir)] == ["backtest-b", "demo-a2"]
    assert find_run_dir(runs_dir, "last").name == "backtest-b"
    assert caplog.text.count(f"{closed} is left out: the folder cannot be read: Permission denied") == 1
    with pytest.raises(JournalError, match="cannot be read: Permission denied") as refused:
        find_run_dir(runs_dir, "demo-a1")
    assert refused.value.fix == f"chmod u+rwx {closed}"
    with open_store(store_url(runs_dir)) as store:
        assert project_missing(runs_dir, store) == {"demo-a1": "the folder cannot be read: Permission denied"}


def test_the_time_of_a_folder_that_cannot_be_looked_into_is_none(runs_dir, monkeypatch):
    def deny(_self, **_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", deny)
    assert written_ns(runs_dir / "demo-a1") == 0
