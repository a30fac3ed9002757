"""Processes forked from one that has everything imported already, so that each starts at once.

They are not forks of the process of the tests: the threads that libraries began there would be missing in
them, and such a fork has ended with a segmentation fault.

What a command finds is what it finds in a process of its own: its words, its folder, its environment, its
output; no handler, no warning filter of the test.
"""

import faulthandler
import json
import logging
import multiprocessing
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd, ForkingPickler
from pathlib import Path
from typing import IO, Any

import pytest

from scalpdesk.cli.main import main
from scalpdesk.config.schema import Secret

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["scalpdesk_testing.kit.fork_server"])
ForkingPickler.register(Secret, lambda secret: (Secret, (secret.reveal(),)))  # through a pipe, to no file


def start(run: Callable[..., object], *given: object) -> ForkServerProcess:
    """Call a function in a new process, which ends with that of the tests at the latest."""
    process = _FORKS.Process(target=run, args=given, daemon=True)
    with pytest.MonkeyPatch.context() as patch:
        # read by the process that forks, which begins with the first; the same source as here
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        process.start()
    return process


class _Descriptor:
    """A file descriptor that a new process gets a duplicate of."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (DupFd(self.number),)


def _received(duplicate: Any) -> _Descriptor:
    return _Descriptor(duplicate.detach())


class Command:
    """``scalpdesk`` with these words."""

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
        surroundings = dict(os.environ if environ is None else environ)
        streams = (_Descriptor(stdout), _Descriptor(stderr))
        self._process = start(_become, words, streams, surroundings, str(folder or Path.cwd()), path)

    @property
    def returncode(self) -> int | None:
        """The exit code, None while the command runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code, None while the command runs."""
        return self._process.exitcode

    def wait(self) -> int:
        """Return the exit code once the command has ended."""
        self._process.join()
        code = self._process.exitcode
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal unless the command has ended."""
        if self.poll() is None:
            assert self._process.pid is not None
            os.kill(self._process.pid, number)

    def terminate(self) -> None:
        """Ask the command to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the command."""
        self.send_signal(signal.SIGKILL)


def _become(
    words: list[str],
    streams: tuple[_Descriptor, _Descriptor],
    environ: Mapping[str, str],
    folder: str,
    path: tuple[str, ...],
) -> None:
    """Run the command in this process, which is new, and end it."""
    code = 1
    try:
        standing = os.open(os.devnull, os.O_RDONLY)
        for number, descriptor in enumerate((standing, *(each.number for each in streams))):
            os.dup2(descriptor, number)
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, closefd=False, encoding="utf-8")  # noqa: SIM115 - the process's own
            for number, mode in enumerate("rww")
        )
        faulthandler.enable()
        logging.root.handlers.clear()
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        os.environ.clear()
        os.environ.update(environ)
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

    def __init__(self, words: list[str], environ: Mapping[str, str] | None = None) -> None:
        reading, writing = os.pipe()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        self.command = Command(["exchange", *words], stdout=writing, stderr=nowhere, environ=environ)
        os.close(writing)
        os.close(nowhere)
        self.stdout: IO[str] = os.fdopen(reading, encoding="utf-8")
        self.ready: dict[str, Any] = json.loads(self.stdout.readline())

    def close(self) -> None:
        """End it."""
        self.command.kill()
        self.command.wait()
        self.stdout.close()
