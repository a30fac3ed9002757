"""What a strategy folder tries against its desk, and what is left of it."""

import ctypes
import errno
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.folders import event, folder
from scalpdesk.isolation.process import FolderLimits, FolderProcess, _kill

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own means")
REFUSED = (errno.EPERM, errno.EACCES, errno.EMFILE, errno.EFBIG)
CANARY = "canary-of-the-desk"
TRY = """
    try:
        return {"got": repr(eval(event["payload"]["attack"]))[:200]}
    except BaseException as error:
        return {"refused": type(error).__name__, "errno": getattr(error, "errno", None)}
"""
BEFORE = """
import ctypes, mmap, multiprocessing, os, resource, signal, socket, subprocess, threading
desk = os.getppid()
libc = ctypes.CDLL(None, use_errno=True)
def call(*words):
    ctypes.set_errno(0)
    if libc.syscall(*words) < 0:
        raise OSError(ctypes.get_errno(), "refused")
def prctl(*words):
    if libc.prctl(*words) < 0:
        raise OSError(ctypes.get_errno(), "refused")
"""
ATTACKS = {
    "the desk's environment": "open(f'/proc/{desk}/environ').read()",
    "the desk's memory": "open(f'/proc/{desk}/mem', 'rb')",
    "the desk's command line": "open(f'/proc/{desk}/cmdline').read()",
    "keys in .env": "open(event['payload']['root'] + '/.env').read()",
    "a journal": "open(event['payload']['root'] + '/runs/one/journal-000000.sdj', 'rb').read()",
    "the names of the runs": "os.listdir(event['payload']['root'] + '/runs')",
    "a file of the user's": "open(os.path.expanduser('~root/.bashrc')).read()",
    "its own code": "open(__file__, 'a')",
    "a file beside the runs": "open(event['payload']['root'] + '/left', 'w')",
    "deleting a journal": "os.remove(event['payload']['root'] + '/runs/one/journal-000000.sdj')",
    "the desk's stderr by /dev": "open('/dev/tty', 'w')",
    "fork": "os.fork()",
    "two hundred forks": "[os.fork() for _ in range(200)]",
    "a program": "subprocess.Popen(['sleep', '600'])",
    "a shell": "os.execv('/bin/sh', ['sh', '-c', 'true'])",
    "multiprocessing": "multiprocessing.get_context('fork').Process(target=print).start()",
    "a session of its own": "os.setsid()",
    "ending the desk": "os.kill(desk, signal.SIGTERM)",
    "asking for the desk": "os.kill(desk, 0)",
    "ending everybody": "os.kill(-1, signal.SIGCONT)",
    "a handle of the desk": "os.pidfd_open(desk)",
    "a thread of the desk": "call(200, desk, 0)",
    "tracing the desk": "call(101, 16, desk, 0, 0)",
    "the control socket": "socket.socket(socket.AF_UNIX).connect(event['payload']['root'] + '/control.sock')",
    "the venue": "socket.create_connection(('127.0.0.1', 9))",
    "more memory": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "more files": "resource.prlimit(0, resource.RLIMIT_NOFILE, (10**6, 10**6))",
    "outliving the desk": "prctl(1, 0, 0, 0, 0)",
    "a thousand open files": "[open(os.devnull) for _ in range(1_000)]",
    "a file of 32 MiB": "open(os.environ['TMPDIR'] + '/large', 'wb').write(bytes(32 << 20))",
    "a program in its scratch": "os.execv(os.environ['TMPDIR'], ['x'])",
    "other namespaces": "call(272, 0x10000000)",
}
LAWFUL = {
    "scratch": "open(os.environ['TMPDIR'] + '/mine', 'w').write('x')",
    "its folder": "open(os.path.dirname(__file__) + '/strategy.py').read(1)",
    "a thread": "(lambda t: (t.start(), t.join()))(threading.Thread(target=print))",
    "numpy": "__import__('numpy').ones(3).sum()",
    "time zones": "__import__('zoneinfo').ZoneInfo('America/New_York')",
    "the kernels": "__import__('scalpdesk.pricing.scalar').pricing",
    "its own process": "os.kill(os.getpid(), 0)",
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder's process with a desk's files beside it; the desk is this process."""
    root = tmp_path_factory.mktemp("desk")
    (root / ".env").write_text(f"TRADING_API_KEY={CANARY}\n")
    (root / "runs" / "one").mkdir(parents=True)
    (root / "runs" / "one" / "journal-000000.sdj").write_text(CANARY)
    made = folder(root, TRY, before=BEFORE)
    environ = os.environ | {"TRADING_API_SECRET": CANARY, "AWS_SECRET_ACCESS_KEY": CANARY}
    with FolderProcess(made, FolderLimits(time_limit_seconds=20.0), environ) as process:
        if process.missing:
            pytest.skip(f"this kernel does not take away {process.missing}")
        yield lambda attack: process.ask(event(attack=attack, root=str(root))).messages[0]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_of_a_folder_is_refused(desk, attack):
    answer = desk(ATTACKS[attack])
    assert answer.get("refused") in ("PermissionError", "OSError", "ValueError"), answer
    assert answer["errno"] in (*REFUSED, None if "resource." in ATTACKS[attack] else 0), answer
    assert CANARY not in str(answer)


@pytest.mark.parametrize("act", LAWFUL)
def test_what_deciding_needs_is_left(desk, act):
    assert "got" in desk(LAWFUL[act])


def test_nothing_of_the_desks_keys_is_in_its_own_environment(desk):
    assert CANARY not in desk("open('/proc/self/environ').read() + repr(os.environ)")["got"]


def test_where_no_call_can_be_refused_all_that_it_started_ends_with_it():
    """Forks in sessions of their own, orphans among them: found as descendants, for it adopts orphans."""
    program = (
        "import ctypes, os, time\n"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"
        "root = os.getpid()\n"
        "for _ in range(20):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork(): os._exit(0)\n"
        "        while os.getppid() not in (root, 1): pass\n"
        "        os.write(1, b'x')\n"
        "        time.sleep(60)\n"
        "        os._exit(0)\n"  # or each would go on forking where the test itself was killed
        "time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.read(20) == b"x" * 20
    handles = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        state, parent = path.read_text().rpartition(") ")[2].split()[:2]
        if int(parent) == process.pid and state != "Z":
            handles.append(os.pidfd_open(int(path.parent.name)))
    assert len(handles) == 20
    _kill(process)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    for handle in handles:
        ended, _, _ = select.select([handle], [], [], 60.0)
        os.close(handle)
        assert ended


def test_a_library_that_is_missing_is_named(tmp_path, monkeypatch):
    """Without libseccomp the process says what it could not take; here where it would be confined."""
    from scalpdesk.isolation import child

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: (_ for _ in ()).throw(OSError))
    assert child._forbid_calls() is False


def test_what_no_signal_ends_is_not_killed_for_ever(monkeypatch):
    process = subprocess.Popen([sys.executable, "-c", "pass"], start_new_session=True)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it keeps its number
    looks = iter(range(100_000))

    def never_ends(root):
        next(looks)
        return [root]

    monkeypatch.setattr("scalpdesk.isolation.process._descendants", never_ends)
    _kill(process)
    process.wait()
    assert 1 < next(looks) < 1_000
