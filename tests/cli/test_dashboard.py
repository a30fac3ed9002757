"""The page beside a desk: it starts, says where it is, and ends with the desk however that ends."""

import os
import select
import signal
import socket
import subprocess
import sys

import pytest

from scalpdesk.cli.dashboard import PageProcess
from scalpdesk.core.owner_only import state_dir
from scalpdesk.web.access import load_tokens

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


@pytest.mark.slow
def test_no_token_goes_where_no_terminal_is(tmp_path):
    """The address with the operator's token stood in logs of services and in files."""
    token = load_tokens(state_dir(os.environ)).operator
    words = [sys.executable, "-m", "scalpdesk", "dashboard"]
    for options in (["--show-token"], ["--show-token", "--json"]):
        told = subprocess.run([*words, *options], capture_output=True, text=True, env=os.environ, check=False)
        assert told.returncode == 2
        assert token not in told.stdout + told.stderr
        assert "terminal" in told.stdout + told.stderr
    for options in ([], ["--json"]):
        page = subprocess.Popen(
            [*words, "--port", "0", "--runs-dir", str(tmp_path), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ,
        )
        said = ""
        while "http://localhost:" not in said:
            said += (line := page.stdout.readline())
            assert line
        page.send_signal(signal.SIGINT)
        said += page.communicate(timeout=60)[0]
        assert token not in said


@pytest.mark.slow
def test_a_terminal_shows_the_token_and_the_parent_of_a_page_knows_it(tmp_path):
    token = load_tokens(state_dir(os.environ)).operator
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "scalpdesk", "dashboard", "--show-token"]
    assert subprocess.run(words, stdout=theirs, env=os.environ, check=False).returncode == 0
    os.close(theirs)
    assert token in os.read(ours, 4096).decode()
    os.close(ours)
    page = PageProcess(tmp_path, 0)
    assert token not in page.where()
    assert page.where(with_token=True).endswith(f"#token={token}")
    page.end()
