"""Commands of the desk in forks of this process: everything is imported already, so each starts at once.

What a command finds is what it finds in a process of its own: its words, its folder, its environment, its
output; no handler, no warning filter of the test.
"""

import json
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Mapping
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from scalpdesk import pricing
from scalpdesk.cli.main import main
from scalpdesk.instruments.sessions import is_session

_NEEDED = (
    "aiohttp",
    "scalpdesk.assembly",
    "scalpdesk.cli.exchange",
    "scalpdesk.cli.operate",
    "scalpdesk.cli.run",
    "scalpdesk.exchange.launch",
    "scalpdesk.live.run",
    "scalpdesk.venues.alpaca.gateway",
    "scalpdesk.venues.deribit.gateway",
)


def warm_up() -> None:
    """Import and compile once what every command needs."""
    for module in _NEEDED:
        import_module(module)
    is_session(date(2018, 2, 5))
    pricing.warm_up()


class Command:
    """``scalpdesk`` with these words, in a fork."""

    def __init__(
        self,
        words: list[str],
        *,
        stdout: int,
        stderr: int,
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
        path: tuple[str, ...] = (),
    ) -> None:
        self.returncode: int | None = None
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, which stand still
            self.pid = os.fork()
        if not self.pid:
            _become(words, stdout, stderr, environ, folder, path)

    def poll(self) -> int | None:
        """Return the exit code, None while the command runs."""
        return self._ended(os.WNOHANG)

    def wait(self) -> int:
        """Return the exit code once the command has ended."""
        code = self._ended(0)
        assert code is not None
        return code

    def _ended(self, how: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, how)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal unless the command has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask the command to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the command."""
        self.send_signal(signal.SIGKILL)


def _become(
    words: list[str],
    stdout: int,
    stderr: int,
    environ: Mapping[str, str] | None,
    folder: Path | None,
    path: tuple[str, ...],
) -> None:
    """Run the command in this process, a child, and end it."""
    code = 1
    try:
        standing = os.open(os.devnull, os.O_RDONLY)
        for number, descriptor in enumerate((standing, stdout, stderr)):
            os.dup2(descriptor, number)
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, closefd=False, encoding="utf-8")  # noqa: SIM115 - the process's own
            for number, mode in enumerate("rww")
        )
        logging.root.handlers.clear()
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        if environ is not None:
            os.environ.clear()
            os.environ.update(environ)
        if folder is not None:
            os.chdir(folder)
        sys.path[:0] = path
        sys.argv = ["scalpdesk", *words]
        code = main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - the child's end, in its own stream
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class ExchangeCommand:
    """``scalpdesk exchange`` with these words, ready; its first line tells where it is."""

    def __init__(self, words: list[str]) -> None:
        warm_up()
        reading, writing = os.pipe()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        self.command = Command(["exchange", *words], stdout=writing, stderr=nowhere)
        os.close(writing)
        os.close(nowhere)
        self.stdout: IO[str] = os.fdopen(reading, encoding="utf-8")
        self.ready: dict[str, Any] = json.loads(self.stdout.readline())

    def close(self) -> None:
        """End it."""
        self.command.kill()
        self.command.wait()
        self.stdout.close()
