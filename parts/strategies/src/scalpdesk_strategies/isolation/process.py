"""A strategy folder in a process of its own: its exception, endless loop or hunger for memory ends one event.

Two limits of time: the process interrupts an event itself after ``time_limit_seconds`` (the folder keeps
its state), and the desk ends the whole process when that did not help (the state is lost, and the reply
says so).
"""

import logging
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha1
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic
from types import TracebackType
from typing import Annotated, Any, Self

import msgspec

import scalpdesk
from scalpdesk.core.errors import ConfigError, StopError
from scalpdesk.core.owner_only import state_dir
from scalpdesk_strategies.isolation.child import HEADER_BYTES, ChildSettings
from scalpdesk_strategies.isolation.confinement import Grants
from scalpdesk_strategies.isolation.folder import (
    MOST_MESSAGES,
    MOST_REPLY_BYTES,
    WINDOW,
    FolderReply,
    strategy_file,
)

_LOG = logging.getLogger(__name__)
_START_SECONDS = 30.0
_WROTE_TO_LINE = "its process wrote to the desk's line; it was ended and its state is lost"
_LONGEST_FRAME_BYTES = 2 * MOST_REPLY_BYTES
_INHERITED = frozenset(
    {
        "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "PYTHONHASHSEED", "PYTHONHOME",
        "PYTHONIOENCODING", "PYTHONPATH", "PYTHONUTF8", "TZ", "VIRTUAL_ENV",
        "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    }
)  # fmt: skip
"""Names of the environment that every folder's process inherits; more its files name."""
NAMES_FILE = "config.example.env"
_PRIVATE = ("TRADING_API_", "ST0CK", "APCA_", "SCALPDESK_", "PGPASS", "DATABASE_PASSWORD")
"""Beginnings of names that are not handed on, whatever a folder lists: it has no orders to send."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(
    tuple[
        Annotated[list[Any], msgspec.Meta(max_length=MOST_MESSAGES)],
        str | None,
        Annotated[int, msgspec.Meta(ge=0, le=10**12)],
        bool,
    ]
).decode


class FolderLimits(msgspec.Struct, frozen=True):
    """Resource limits of a folder's process."""

    time_limit_seconds: float = 1.0
    """For one event."""
    memory_limit_mb: int = 2_048
    """Address space of its process in MiB; 0 sets no limit."""
    kill_after_seconds: float = 1.0
    """Beyond the time limit, before the process is ended."""
    max_restarts: int = 20
    """New processes after which the folder is given up."""
    wrapper: tuple[str, ...] = ()
    """Command and its options that start the process, a sandbox for instance."""
    readable_paths: tuple[str, ...] = ()
    writable_paths: tuple[str, ...] = ()
    """``readable_paths``, ``writable_paths``: Files and folders that it may use beside its own folder."""
    connect_ports: tuple[int, ...] = ()
    """TCP ports that it may connect to; without one it has no network."""
    private_paths: tuple[str, ...] = ()
    """Files and folders of the desk that it must not reach, wherever they lie."""
    must_be_confined: bool = False
    """Refuse to start where the system cannot keep the process from the desk."""


class _Gone(Exception):  # noqa: N818 - a signal between two methods, not an error that anybody sees
    """The process ended, or does not answer."""


class FolderProcess:
    """Asks a folder in its own process.

    ``path`` is the folder, or its ``strategy.py``. From ``environ`` (the desk's own when None) it gets what
    the interpreter needs and the names that its own ``config.example.env`` lists or its own code has in
    quotes, never the keys of the desk's accounts. ``warns`` of what the system leaves open to it.

    Raises ConfigError when the folder cannot be loaded.
    """

    open_doors: tuple[str, ...]
    """Doors that the system cannot shut to the process, in words."""

    def __init__(
        self,
        path: Path,
        limits: FolderLimits | None = None,
        environ: Mapping[str, str] | None = None,
        *,
        warns: bool = True,
    ) -> None:
        self._path = strategy_file(path).resolve()
        self._limits = limits or FolderLimits()
        given = os.environ if environ is None else environ
        folder = self._path.parent
        wanted = _INHERITED | _listed_names(folder / NAMES_FILE) | _quoted_names(folder)
        self._grants = _grants(self._path, self._limits)
        self._scratch = _scratch_folder()
        self._environ = {
            key: value for key, value in given.items() if key in wanted and not key.startswith(_PRIVATE)
        } | dict.fromkeys(("HOME", "TMPDIR", "NUMBA_CACHE_DIR"), str(self._scratch))
        self.restarts = 0
        """Processes ended and begun again."""
        self._is_aborted = False
        self._in = bytearray()
        self._out = bytearray()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        for door in self.open_doors if warns else ():
            _LOG.warning("the strategy folder's process is not confined: %s", door)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, event: dict[str, Any]) -> FolderReply:
        """Return the folder's reply to one event.

        Raises StopError when it was begun again too often.
        """
        return next(self.ask_all((event,)))

    def ask_all(self, events: Iterable[dict[str, Any]], *, window: int = WINDOW) -> Iterator[FolderReply]:
        """Yield the reply to each event, in order; several are under way at once.

        An event during which the process ended has a failure; those behind it are asked again.

        At most ``window`` events are under way; 1 asks for the next event only after a reply.

        Raises StopError when the folder was begun again too often.
        """
        source = iter(events)
        waiting: deque[bytes] = deque()
        is_over = False
        while True:
            while not is_over and len(waiting) < window:
                event = next(source, None)
                if event is None:
                    is_over = True
                else:
                    waiting.append(_frame(event))
                    self._out += waiting[-1]
            if not waiting:
                return
            try:
                if self._process is None:
                    self._begin_again(waiting)
                reply = self._receive(self._limits.time_limit_seconds + self._limits.kill_after_seconds)
            except _Gone as gone:
                reply = FolderReply(failure=str(gone), state_lost=True)
            waiting.popleft()
            if reply.state_lost:
                self._end()
            yield reply

    def abort(self) -> None:
        """Cut short an answer under way in another thread: its process ends and is not replaced."""
        self._is_aborted = True
        process = self._process
        if process is not None:
            _kill(process)

    def close(self) -> None:
        """End the process and delete its scratch folder."""
        self._end()
        shutil.rmtree(self._scratch, ignore_errors=True)

    # the process ----------------------------------------------------------------------------------

    def _start(self) -> None:
        limits = self._limits
        settings = ChildSettings(
            str(self._path),
            limits.time_limit_seconds,
            limits.memory_limit_mb << 20,
            msgspec.structs.replace(self._grants, scratch=str(self._scratch)),
            limits.must_be_confined,
        )
        words = ["-P", "-m", "scalpdesk_strategies.isolation.child", _encode(settings).decode()]
        self._in.clear()
        with _messages() as stderr:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module; the folder is the user's
                [*limits.wrapper, sys.executable, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=self._environ,
                start_new_session=True,  # so that what the folder starts ends with it
            )
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        try:
            ready = self._receive(_START_SECONDS)
        except _Gone as gone:
            self._end()
            raise self._not_loaded(f"the strategy cannot be loaded: {gone}") from gone
        if ready.failure is not None:
            self._end()
            raise self._not_confined(ready.messages) if ready.messages else self._not_loaded(ready.failure)
        self.open_doors = tuple(ready.messages)

    def _not_confined(self, open_doors: list[str]) -> ConfigError:
        return ConfigError(
            "this system cannot keep a strategy folder from the desk",
            where="strategies.external.must_be_confined",
            value="; ".join(open_doors),
            fix="run it on Linux 5.13 or later with Landlock and seccomp, or leave the setting out",
        )

    def _not_loaded(self, why: str) -> ConfigError:
        return ConfigError(
            why,
            where=str(self._path),
            fix="run it by itself; one that needs more memory: --memory-limit-mb with harness,"
            " strategies.external.memory_limit_mb with backtest and run",
        )

    def _begin_again(self, waiting: Iterable[bytes]) -> None:
        if self._is_aborted:
            raise StopError("the strategy's process was ended by the desk", where=str(self._path))
        self.restarts += 1
        if self.restarts > self._limits.max_restarts:
            raise StopError(
                f"the strategy's process was ended {self._limits.max_restarts} times; it is given up",
                where=str(self._path),
                fix="correct the strategy, or raise its limits of time and memory",
            )
        self._out.clear()
        try:
            self._start()
        except ConfigError as error:
            raise _Gone(error.what) from error
        self._out += b"".join(waiting)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _kill(process)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # nothing is buffered that anybody waits for
                    continue

    # frames ---------------------------------------------------------------------------------------

    def _receive(self, seconds: float) -> FolderReply:
        """Return the next reply, sending what waits to be sent meanwhile."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        stdin, stdout = self._process.stdin.fileno(), self._process.stdout.fileno()
        deadline = monotonic() + seconds
        while True:
            frame = self._take_frame()
            if frame is not None:
                try:
                    messages, failure, took_us, is_full = _decode(frame)
                except msgspec.MsgspecError as error:
                    raise _Gone(_WROTE_TO_LINE) from error
                return FolderReply(messages, failure, took_us, is_full)
            left = deadline - monotonic()
            if left <= 0:
                raise _Gone(f"no answer within {seconds:g} s; its process was ended and its state is lost")
            readable, writable, _ = select.select([stdout], [stdin] if self._out else [], [], left)
            if writable:
                self._write(stdin)
            if readable:
                chunk = os.read(stdout, 1 << 18)
                if not chunk:
                    raise _Gone(self._last_words())
                self._in += chunk

    def _write(self, stdin: int) -> None:
        try:
            del self._out[: os.write(stdin, self._out)]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it is gone; the end of its stdout says so with the reason
            self._out.clear()

    def _take_frame(self) -> bytes | None:
        waiting = self._in
        if len(waiting) < HEADER_BYTES:
            return None
        length = int.from_bytes(waiting[:HEADER_BYTES], "big")
        if length > _LONGEST_FRAME_BYTES:
            raise _Gone(_WROTE_TO_LINE)
        if len(waiting) < HEADER_BYTES + length:
            return None
        frame = bytes(waiting[HEADER_BYTES : HEADER_BYTES + length])
        del waiting[: HEADER_BYTES + length]
        return frame

    def _last_words(self) -> str:
        assert self._process is not None
        code = self._process.wait()
        how = f"by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"with exit code {code}"
        return f"its process ended {how}; its state is lost"


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End a process with all that it started and that opened no session of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _messages() -> Iterator[int | None]:
    """Return where the process writes its messages: a terminal for writing alone, or the desk's own stderr.

    It could read what is typed into a terminal that it inherits.
    """
    terminal = -1
    with suppress(OSError):
        terminal = os.open(os.ttyname(2), os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        yield None if terminal < 0 else terminal
    finally:
        if terminal >= 0:
            os.close(terminal)


def _grants(strategy: Path, limits: FolderLimits) -> Grants:
    """Return the places that the process of a folder may use, but for its scratch folder.

    Raises ConfigError when a path that it is to use is not there, or reaches what is the desk's own.
    """
    private = [*limits.private_paths, str(Path.cwd() / ".env"), str(Path.cwd() / "scalpdesk.toml")]
    with suppress(ConfigError):  # no home is known: then nothing lies there
        private.append(str(state_dir(os.environ)))
    desks = {Path(name).resolve() for name in private}
    for setting in ("readable_paths", "writable_paths"):
        for name in getattr(limits, setting):
            path = Path(name).resolve()
            below = desks if setting == "writable_paths" else ()
            if not path.exists():
                what, fix = "there is no such path", "name a file or a folder that is there"
            elif desks & {path, *path.parents} or any(path in each.parents for each in below):
                what, fix = "a strategy folder must not reach what is the desk's own", "move it elsewhere"
            else:
                continue
            raise ConfigError(what, where=f"strategies.external.{setting}", value=name, fix=fix)
    return Grants(
        "",
        (str(strategy.parent), *limits.readable_paths),
        limits.writable_paths,
        limits.connect_ports,
        tuple(private),
    )


def _scratch_folder() -> Path:
    """Return a new folder that a strategy may write to, with a copy of the compiled pricing kernels."""
    scratch = Path(mkdtemp(prefix="scalpdesk-folder-"))
    kernels = Path(scalpdesk.__file__).parent / "pricing" / "kernels"
    # where numba looks below NUMBA_CACHE_DIR; recompiling would exceed an event's time limit
    own = f"{kernels.name}_{sha1(str(kernels).encode(), usedforsecurity=False).hexdigest()}"
    (scratch / own).mkdir(mode=0o700)  # the cache of kernels refuses what others can write
    of_user = os.environ.get("XDG_CACHE_HOME") or f"{os.environ.get('HOME', '')}/.cache"
    kept = [kernels.parent / "__pycache__", Path(of_user, "numba", own)]
    kept += [Path(chosen, own)] if (chosen := os.environ.get("NUMBA_CACHE_DIR")) else []
    for folder in kept:  # the one that is used is the last that is there
        for path in folder.glob("*.nb[ci]"):
            with suppress(PermissionError):
                shutil.copy(path, scratch / own)
    return scratch


def _listed_names(path: Path) -> frozenset[str]:
    """Return the names of a file of ``NAME=value`` lines, commented-out lines too; empty without the file."""
    if not path.is_file():
        return frozenset()
    text = path.read_text(encoding="utf-8", errors="replace")
    return frozenset(re.findall(r"(?m)^[#\s]*(?:export\s+)?([A-Z][A-Z0-9_]*)\s*=", text))


def _quoted_names(folder: Path) -> frozenset[str]:
    """Return the names in capitals that the code of a folder has in quotes, as it reads the environment."""
    found = set[str]()
    for path in sorted(folder.glob("*.py")):
        found.update(re.findall(r"""["']([A-Z][A-Z0-9_]+)["']""", path.read_text("utf-8", errors="replace")))
    return frozenset(found)


def _frame(event: dict[str, Any]) -> bytes:
    payload = _encode(event)
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload
