"""Files and memory of commands: a careless mask opens no file of an account, no process attaches."""

import os
import stat
import subprocess
import sys

import pytest

from scalpdesk.cli.main import main
from scalpdesk.records.store import open_store, store_url


@pytest.fixture
def open_mask():
    before = os.umask(0)
    yield
    os.umask(before)


def written_of_a_run(folder, monkeypatch):
    """Write all that commands write of a run; return the mode of each file and folder."""
    folder.mkdir(mode=0o755)
    monkeypatch.chdir(folder)
    assert main(["demo", "--start", "2017-07-03", "--no-dashboard"]) == 0
    assert main(["runs"]) == 0
    for form in ("csv", "parquet"):
        assert main(["report", "last", f"--{form}", f"tables-{form}"]) == 0
    assert main(["report", "last", "--html", "sheet.html", "--paths", "0", "--no-fill-models"]) == 0
    assert main(["report", "last", "--plot", "run.svg"]) == 0
    return {path.relative_to(folder): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


@pytest.mark.second
def test_whatever_is_written_of_a_run_is_its_owners_alone(tmp_path, monkeypatch, capsys, request):
    written_of_a_run(tmp_path / "before", monkeypatch)  # what is compiled is kept with the usual mask
    request.getfixturevalue("open_mask")
    written = written_of_a_run(tmp_path / "open", monkeypatch)
    capsys.readouterr()
    assert {path.name for path in written} > {"desk.sqlite", "runs", "sheet.html", "run.svg", "marks.parquet"}
    assert [str(path) for path, mode in written.items() if mode & 0o077] == []


def test_a_store_of_an_earlier_version_is_closed_when_it_is_opened(tmp_path, open_mask):
    open_store(store_url(tmp_path)).close()
    file = tmp_path / "desk.sqlite"
    file.chmod(0o644)
    open_store(store_url(tmp_path)).close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform != "linux", reason="an attribute of Linux's processes")
def test_no_process_of_the_user_attaches_to_a_command():
    program = """
import ctypes, sys
from scalpdesk.cli.main import main
sys.argv = ["scalpdesk", "--version"]
main()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"  # PR_GET_DUMPABLE
