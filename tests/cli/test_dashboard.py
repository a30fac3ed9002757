"""The page beside a desk: it starts, says where it is, and ends with the desk however that ends."""

import os
import select
import signal
import socket
import subprocess
import sys

import pytest

from scalpdesk.cli.dashboard import PageProcess

pytestmark = pytest.mark.enable_socket


@pytest.mark.slow
def test_the_page_ends_with_a_desk_that_is_killed(tmp_path):
    program = (
        "import sys; from pathlib import Path; from scalpdesk.cli.dashboard import PageProcess;"
        f"page = PageProcess(Path({str(tmp_path)!r}), 0); print(page.where(), flush=True);"
        "print(page._process.pid, flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", program]
    desk = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert desk.stdout.readline().startswith("the desk's page: http://localhost:")
    while not (line := desk.stdout.readline()).strip().isdigit():
        assert line  # the operator's address stands alone on its line
    page = os.pidfd_open(int(line))
    desk.send_signal(signal.SIGKILL)
    desk.wait(60)
    ended, _, _ = select.select([page], [], [], 60.0)
    assert ended
    os.close(page)
    desk.stdin.close()
    desk.stdout.close()


@pytest.mark.slow
def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        page = PageProcess(tmp_path, taken.getsockname()[1])
        line = page.where()
        page.end()
    assert line.startswith("no page: the dashboard cannot listen here")
    assert "--port chooses another port" in line
    assert not page.is_up
