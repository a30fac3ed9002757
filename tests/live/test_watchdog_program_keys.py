"""The keys are taken out of the environment once read, and reach the watchdog through its pipe alone."""

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from scalpdesk.config.sources import is_key, take_keys
from scalpdesk.live.watchdog import HeartbeatChannel
from scalpdesk.live.watchdog_program import WatchdogSettings

KEYS = {
    "TRADING_API_KEY": "canary-1",
    "TRADING_API_SECRET": "canary=2",
    "ST0CKGSECRET": "canary-3",
    "SCALPDESK_CREDENTIALS__ST0CKA_KEY": "canary-4",
}
OTHERS = {"GEX_VALUE": "1", "FIREBASE_PROJECT_ID": "p", "GOOGLE_APPLICATION_CREDENTIALS": "/f", "KEY": "k"}


def test_exactly_the_keys_of_the_accounts_are_taken():
    environ = KEYS | OTHERS
    assert take_keys(environ) == KEYS
    assert environ == OTHERS
    assert take_keys(environ) == {}
    assert [name for name in OTHERS if is_key(name)] == []


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_the_kernel_shows_no_key_of_a_process_that_took_them():
    program = (
        "import os, sys\n"
        "from scalpdesk.config.sources import take_keys\n"
        "before = open('/proc/self/environ', 'rb').read()\n"
        "taken = take_keys(os.environ)\n"
        "after = open('/proc/self/environ', 'rb').read()\n"
        "child = os.popen('env').read()\n"
        "assert len(taken) == 4 and len(after) == len(before)\n"
        "counts = [shown.count(b'canary') for shown in (before, after, child.encode())]\n"
        "print(*counts, b'LAST=kept' in after)\n"
    )
    environ = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PATH": os.environ["PATH"]}
    environ |= KEYS | OTHERS | {"LAST": "kept"}
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, env=environ, capture_output=True, check=True)
    assert told.stdout.split() == [b"4", b"0", b"0", b"True"], told.stderr


def test_the_watchdog_gets_the_keys_in_its_first_line_and_nowhere_else(tmp_path):
    echo = "import sys; print(sys.stdin.readline(), end='', flush=True); sys.stdin.read()"
    settings = WatchdogSettings("s", "alpaca", live=False, desk_pid=1, keys=KEYS)
    channel = HeartbeatChannel(
        [sys.executable, "-c", echo], msgspec.to_builtins(settings), tmp_path / "w.log"
    )
    line = channel._first_line(time.monotonic() + 30.0)
    process = Path("/proc", str(channel._process.pid))
    shown = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    channel.kill()
    assert msgspec.json.decode(line, type=WatchdogSettings).keys == KEYS
    assert b"canary" not in shown + b"".join(path.read_bytes() for path in tmp_path.rglob("*"))
