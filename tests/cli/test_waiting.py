"""What a terminal shows while a command works, and what Ctrl-C leaves."""

import os
import pty
import re
import shlex
import signal
import sys
import threading
from contextlib import redirect_stderr, redirect_stdout

import pytest

from scalpdesk.cli.waiting import Interrupts, Progress, StartLine, progress_bar

pytestmark = pytest.mark.second

ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def interrupted(cwd, *words):
    """Return exit code and text of a command that a terminal interrupts once it has shown something."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(cwd)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a suite in the background ignores it
        os.execv(sys.executable, [sys.executable, "-m", "scalpdesk", *words])
    shown = os.read(terminal, 65_536)
    os.write(terminal, b"\x03")
    while True:
        try:
            more = os.read(terminal, 65_536)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        shown += more
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    os.close(terminal)
    return code, ESCAPES.sub(b"", shown).decode()


@pytest.mark.parametrize(
    "command",
    [
        "lookahead gamma-scalper --start 2018-02-05",
        "backtest gamma-scalper --data embedded --start 2018-02-05 --end 2018-02-09",
        "selftest --seeds 0:500",
        "vol SPY --evaluate",
    ],
)
def test_ctrl_c_ends_a_command_with_what_to_do_next_and_no_traceback(command, tmp_path):
    code, shown = interrupted(tmp_path, *shlex.split(command))
    assert code == 130, shown
    assert "Traceback" not in shown
    assert shown.rstrip().endswith(f"scalpdesk {command}")


class Terminal:
    """A stream that is a terminal, and what was written to it."""

    def __init__(self):
        self.text = ""
        self.has_some = threading.Event()

    def write(self, text):
        self.text += text
        self.has_some.set()
        return len(text)

    def flush(self):
        """Keep nothing back."""

    def isatty(self):
        return True


def test_a_silent_command_counts_its_seconds_until_its_first_word():
    out, err = Terminal(), Terminal()
    with redirect_stdout(out), redirect_stderr(err), StartLine("scalpdesk vol"):
        assert err.has_some.wait(30.0)
        assert "scalpdesk vol: " in err.text
        sys.stdout.write("SPY\n")
        assert (sys.stdout, sys.stderr) == (out, err)
    assert out.text == "SPY\n"
    assert err.text.endswith("\r\x1b[2K")  # the line is gone


def test_a_bar_comes_before_the_first_report_and_the_newest_replaces_it():
    err = Terminal()
    with redirect_stderr(err), progress_bar(as_json=False), progress_bar(as_json=False) as report:
        while "preparing" not in err.text:
            assert err.has_some.wait(30.0)
            err.has_some.clear()
        report(1, 2, "backtests")
        while "backtests" not in err.text:
            assert err.has_some.wait(30.0)
            err.has_some.clear()
        assert Progress.last == "backtests, 50%"


def test_an_interrupt_that_a_callback_swallowed_is_raised_at_the_next_report():
    class Unraisable:
        exc_type = KeyboardInterrupt

    Interrupts.keep(Unraisable)
    with progress_bar(as_json=False) as report:
        with pytest.raises(KeyboardInterrupt):
            report(1, 2, "sessions")
        report(2, 2, "sessions")
