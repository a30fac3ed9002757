"""A killed sweep goes on to the same table; Ray gives the same table, though a worker is killed."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

from scalpdesk.cli.main import main
from scalpdesk.research.sweep import ROWS_FILE
from scalpdesk_testing.kit.folders import BUY_ONE, folder

pytestmark = pytest.mark.second

TARGETS = "0.01,0.02,0.03,0.04,0.05,0.06,0.07,0.08,0.09,0.10,0.11,0.12"
SWEEP = ("sweep", "st0cka", "--start", "2017-07-03", "--param", f"profit_target={TARGETS}")
TIMES = ("seconds", "cpu_seconds")
INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
from scalpdesk.cli.main import main
sys.exit(main())
"""


def table(capsys, *words):
    """Return the rows of a sweep's JSON document, without their times."""
    assert main([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def test_a_sweep_killed_in_the_middle_goes_on_to_the_same_table(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "scalpdesk", *SWEEP, "--workers", "2", "--lines", "--out", "killed"]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ, start_new_session=True)
    first = json.loads(killed.stdout.readline())
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    kept = (tmp_path / "killed" / ROWS_FILE).read_bytes()
    assert 1 <= kept.count(b"\n") < TARGETS.count(",") + 1
    again = table(capsys, *SWEEP, "--workers", "1", "--out", "killed")
    assert (tmp_path / "killed" / ROWS_FILE).read_bytes().startswith(kept.rpartition(b"\n")[0])
    assert again == table(capsys, *SWEEP, "--workers", "1", "--out", "whole")
    assert first["decision_hash"] in {row["decision_hash"] for row in again}
    assert len(again) == TARGETS.count(",") + 1


def processes_of(group):
    """Return the processes of a group that are no zombies."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,stat=", "-g", str(group)], capture_output=True, text=True, check=False
    )
    return [line.split()[0] for line in listed.stdout.splitlines() if "Z" not in line.split()[1]]


@pytest.mark.parametrize(("signal_number", "who"), [(signal.SIGINT, "group"), (signal.SIGKILL, "parent")])
def test_a_stopped_sweep_leaves_no_process_and_says_how_to_go_on(tmp_path, monkeypatch, signal_number, who):
    monkeypatch.chdir(tmp_path)
    long = [*SWEEP, "--end", "2017-07-14", "--workers", "2", "--lines", "--out", "kept"]
    command = [sys.executable, "-c", INTERRUPTIBLE, *long]
    with (tmp_path / "stderr").open("w+") as said:
        sweep = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, env=os.environ, start_new_session=True
        )
        while len(processes_of(sweep.pid)) < 4 and sweep.poll() is None:  # itself, a tracker, two workers
            time.sleep(0.1)
        (os.killpg if who == "group" else os.kill)(sweep.pid, signal_number)
        sweep.communicate(timeout=60)
        said.seek(0)
        text = said.read()
    for _ in range(600):
        if not processes_of(sweep.pid):
            break
        time.sleep(0.1)
    assert processes_of(sweep.pid) == []
    if who == "group":
        assert "Traceback" not in text
        assert sweep.returncode == 130
        rows = tmp_path / "kept" / ROWS_FILE
        kept = rows.read_bytes().count(b"\n") if rows.exists() else 0
        assert f"{kept} backtest" in text
        assert shlex.split(text.rpartition("scalpdesk ")[2])[:2] == ["sweep", "st0cka"]


KILLS_ITS_PROCESS_ONCE = """
import os, signal
from pathlib import Path

mark = Path(__file__).with_name("kills")
if mark.exists():
    mark.unlink()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.ray
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install scalpdesk[ray]")
def test_ray_gives_the_same_table_though_a_worker_is_killed(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = folder(tmp_path, BUY_ONE, before=KILLS_ITS_PROCESS_ONCE)
    words = (
        *("sweep", "external", "--strategy", made.name, "--start", "2017-07-03", "--set", "isolate=false"),
        *("--set", "heartbeat_seconds=600", "--set", "price_change_usd=5", "--param", "max_age_seconds=5,9"),
    )
    here = table(capsys, *words, "--workers", "1", "--out", "local")
    (made / "kills").touch()
    command = [sys.executable, "-m", "scalpdesk", *words, "--engine", "ray", "--workers", "1", "--out", "ray"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (made / "kills").exists()
    rows = json.loads(done.stdout)["rows"]
    assert [{key: value for key, value in row.items() if key not in TIMES} for row in rows] == here


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_the_extra_is_named(document_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "scalpdesk[ray]" in document_of(*SWEEP, "--engine", "ray", code=2)["error"]["fix"]
