"""Rights of a strategy folder's process, asked from inside it."""

import os
import select
import sys

import pytest

from scalpdesk_strategies.isolation.process import FolderLimits, FolderProcess
from scalpdesk_testing.kit.folders import event, folder

TRY = """
    try:
        return {"got": repr(eval(event["payload"]["what"]))[:200]}
    except BaseException as error:
        return {"refused": type(error).__name__}
"""
REFUSED = {
    "a thousand open files": ("[open(os.devnull) for _ in range(1_000)]", "OSError"),
    "a file of 32 MiB": ("open(os.environ['TMPDIR'] + '/large', 'wb').write(bytes(32 << 20))", "OSError"),
    "more memory": ("bytearray(3 << 30)", "MemoryError"),
}
ALLOWED = {
    "scratch": "open(os.environ['TMPDIR'] + '/mine', 'w').write('x')",
    "its folder": "open(os.path.dirname(__file__) + '/strategy.py').read(1)",
    "a thread": "(lambda t: (t.start(), t.join()))(threading.Thread(target=print))",
    "a pair of sockets": "[line.close() for line in socket.socketpair()]",
    "numpy": "__import__('numpy').ones(3).sum()",
    "the kernels": "__import__('scalpdesk.pricing.scalar').pricing",
}


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Evaluate an expression within a folder's process."""
    made = folder(tmp_path_factory.mktemp("child"), TRY, before="import os, socket, threading")
    with FolderProcess(made, FolderLimits(time_limit_seconds=20.0)) as process:
        yield lambda what: process.ask(event(what=what)).messages[0]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
@pytest.mark.parametrize("what", REFUSED)
def test_more_than_its_limits_is_refused(ask, what):
    expression, error = REFUSED[what]
    assert ask(expression) == {"refused": error}


@pytest.mark.parametrize("what", ALLOWED)
def test_what_deciding_needs_is_allowed(ask, what):
    assert "got" in ask(ALLOWED[what])


def test_a_wrapper_starts_the_process(tmp_path):
    made = folder(tmp_path, "return {'kept': os.environ['KEPT']}", before="import os")
    limits = FolderLimits(wrapper=("env", "KEPT=by the wrapper"))
    with FolderProcess(made, limits) as process:
        assert process.ask(event()).messages == [{"kept": "by the wrapper"}]


@pytest.mark.skipif(sys.platform != "linux", reason="process groups")
def test_what_it_started_ends_with_it(tmp_path):
    body = "return {'pid': subprocess.Popen(['sleep', '600']).pid}"
    with FolderProcess(folder(tmp_path, body, before="import subprocess")) as process:
        handle = os.pidfd_open(process.ask(event()).messages[0]["pid"])
    ended, _, _ = select.select([handle], [], [], 60.0)
    os.close(handle)
    assert ended
