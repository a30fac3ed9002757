"""The process of a strategy folder: events in by stdin, replies out by stdout, one frame each.

A frame is its length (four bytes, most significant first) and that much JSON. An event is a JSON
object; a reply is ``[messages, failure, took_us, state_lost]``, written at once, so that the desk always
knows which event is under way. The first reply, before any event, has as its messages what the system could
not take from the process (:func:`confine`). Whatever the folder prints goes to stderr.
"""

import ctypes
import os
import signal
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from time import perf_counter_ns
from types import FrameType
from typing import Any, BinaryIO

import msgspec

from scalpdesk.core.errors import ConfigError
from scalpdesk.isolation.folder import Folder, failure_text

HEADER_BYTES = 4
_PR_SET_PDEATHSIG = 1
"""Of Linux's prctl(2)."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class TimeLimitReached(BaseException):
    """The event took too long; no ``except Exception`` of a folder swallows it."""


class Worker:
    """Answers events until its stdin ends.

    Parameters
    ----------
    folder
        The loaded folder.
    replies
        File descriptor that replies go to.
    time_limit_seconds, memory_limit_bytes
        For one event; for the process.
    """

    def __init__(
        self, folder: Folder, replies: int, time_limit_seconds: float, memory_limit_bytes: int
    ) -> None:
        self._folder = folder
        self._replies = replies
        self._limit = time_limit_seconds
        self._memory = memory_limit_bytes
        self._is_timed = False
        signal.signal(signal.SIGALRM, self._on_alarm)

    def serve(self, events: BinaryIO) -> None:
        """Answer all events."""
        while True:
            head = events.read(HEADER_BYTES)
            if len(head) < HEADER_BYTES:
                return
            frame = events.read(int.from_bytes(head, "big"))
            began = perf_counter_ns()
            try:
                messages, failure, is_full = self._answer(_decode(frame))
            except TimeLimitReached:  # it fell between the answer and the end of the timing
                messages, failure, is_full = [], self._too_long(), False
            took_us = (perf_counter_ns() - began) // 1000
            write_frame(self._replies, _encode([messages, failure, took_us, is_full]))
            if is_full:
                return

    def _answer(self, event: dict[str, Any]) -> tuple[list[Any], str | None, bool]:
        self._is_timed = True
        signal.setitimer(signal.ITIMER_REAL, self._limit)
        try:
            return self._folder.answer(event), None, False
        except TimeLimitReached:
            return [], self._too_long(), False
        except MemoryError as error:
            return [], failure_text(error), not self._has_room()
        except BaseException as error:  # noqa: BLE001 - whatever a folder raises stops its event only
            return [], failure_text(error), False
        finally:
            self._is_timed = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _too_long(self) -> str:
        return f"took longer than {self._limit:g} s; its state may be half changed"

    def _has_room(self) -> bool:
        """Whether an eighth of the memory is free: what is full stays full, and a new process helps."""
        try:
            bytearray(self._memory // 8)
        except MemoryError:
            return False
        return True

    def _on_alarm(self, _signal: int, _frame: FrameType | None) -> None:
        if self._is_timed:
            raise TimeLimitReached


def write_frame(descriptor: int, payload: bytes) -> None:
    """Write one frame, whole."""
    left = memoryview(len(payload).to_bytes(HEADER_BYTES, "big") + payload)
    while left:
        left = left[os.write(descriptor, left) :]


MOST_FILES = 256
LARGEST_FILE_BYTES = 16 << 20
MORE_TASKS = 64
"""Processes and threads that the user may have beyond those that run as the folder starts."""


def limit_resources(memory_bytes: int) -> None:
    """Bound memory (0: not), open files, the size of files, processes; no core files."""
    import resource  # noqa: PLC0415 - there on POSIX systems only

    limits = {
        resource.RLIMIT_NOFILE: MOST_FILES,
        resource.RLIMIT_FSIZE: LARGEST_FILE_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    if sys.platform == "linux":
        limits[resource.RLIMIT_NPROC] = _tasks_of_user() + MORE_TASKS  # root is exempt
    if memory_bytes:
        limits[resource.RLIMIT_AS] = memory_bytes
    for what, most in limits.items():
        resource.setrlimit(what, (most, most))


def _tasks_of_user() -> int:
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if process.stat().st_uid == os.getuid():
                count += sum(1 for _ in (process / "task").iterdir())
    return count


_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
"""System calls by number, the same on every architecture (Linux, userspace-api/landlock.rst)."""
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15}
_NO_TCP, _NO_SIGNALS_OR_SOCKETS = 0b11, 0b11
_SYSTEM_FILES = (
    "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/etc/passwd",
    "/dev/random", "/dev/urandom",
    "/dev/zero", "/sys/devices/system/cpu", "/proc/cpuinfo", "/proc/meminfo", "/proc/self",
)  # fmt: skip
_FORBIDDEN = (
    "fork", "vfork", "execve", "execveat", "setsid", "ptrace", "process_vm_readv", "process_vm_writev",
    "pidfd_open", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "tkill", "socket", "unshare",
    "setns", "mount", "bpf", "io_uring_setup", "setrlimit", "add_key", "request_key", "keyctl",
)  # fmt: skip
_ALLOW, _REFUSE, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050000, 1, 38
_NOT_EQUAL, _EQUAL, _MASKED_EQUAL = 1, 4, 7
_CLONE_THREAD = 0x10000
_PR_SET_NO_NEW_PRIVS, _PR_SET_CHILD_SUBREAPER = 38, 36


class _Comparison(ctypes.Structure):
    """``struct scmp_arg_cmp`` of libseccomp."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def confine(readable: Iterable[Path], scratch: Path) -> list[str]:
    """Take from this process what deciding needs not; return what the system could not take, in words.

    Files other than ``readable``, the interpreter's and the folder ``scratch``, by Landlock; new processes,
    connections of any kind, signals and the reading of other processes by seccomp, through libseccomp.
    """
    if sys.platform != "linux":
        return ["files, connections, processes and signals: only Linux takes them away"]
    libc = ctypes.CDLL(None, use_errno=True)
    # ends with the desk, even within a loop that listens to nothing; orphans become this process's children
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.geteuid() == 0:  # of root's powers only to read what others own
        libc.capset(struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", 4, 4, 0, 0, 0, 0))
    missing = []
    if not _forbid_files(libc, readable, scratch):
        missing.append("files: this kernel has no Landlock")
    if not _forbid_calls():
        missing.append("new processes, connections and signals: libseccomp is not installed, or refused")
    return missing


def _forbid_files(libc: ctypes.CDLL, readable: Iterable[Path], scratch: Path) -> bool:
    call = libc.syscall
    call.restype = ctypes.c_long
    abi = call(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    if abi < 1:
        return False
    rights = (1 << _RIGHTS_BY_ABI.get(abi, 16)) - 1
    whole = struct.pack("=3Q", rights, _NO_TCP, _NO_SIGNALS_OR_SOCKETS)
    attributes = whole[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = call(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    allowed = {str(path): _READ_FILE | _READ_DIR for path in (*map(Path, _SYSTEM_FILES), *readable)}
    allowed |= {os.devnull: _READ_FILE | _WRITE_FILE, str(scratch): rights & ~_EXECUTE}
    for path, may in allowed.items():
        with suppress(OSError):  # not on this machine
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rule = struct.pack("=Qi", may if Path(path).is_dir() else may & ~_READ_DIR, place)
            call(_LANDLOCK_ADD, ruleset, 1, rule, 0)
            os.close(place)
    return bool(call(_LANDLOCK_RESTRICT, ruleset, 0) == 0)


def _forbid_calls() -> bool:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return False
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ALLOW)))
    own = os.getpid()
    conditions: dict[str, tuple[int, ...]] = dict.fromkeys(_FORBIDDEN, ()) | {
        "clone": (0, _MASKED_EQUAL, _CLONE_THREAD, 0),  # threads are allowed
        "clone3": (),  # its flags cannot be seen: as if it did not exist, and threads are made by clone
        "kill": (0, _NOT_EQUAL, own, 0),
        "tgkill": (0, _NOT_EQUAL, own, 0),
        "prctl": (0, _EQUAL, _PR_SET_PDEATHSIG, 0),
        "prlimit64": (2, _NOT_EQUAL, 0, 0),
    }
    for name, condition in conditions.items():
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:  # not on this architecture
            continue
        action = _REFUSE | (_ENOSYS if name == "clone3" else _EPERM)
        if library.seccomp_rule_add_array(
            context, action, number, bool(condition), ctypes.byref(_Comparison(*condition))
        ):
            return False
    return bool(library.seccomp_load(context) == 0)


def main(folder: str, time_limit_seconds: float, memory_limit_bytes: int, scratch: str) -> int:
    """Load the folder, say whether that went well, and answer events."""
    events, replies = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr  # line by line: this process is ended without a last flush
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the desk, which ends this process in order
    limit_resources(memory_limit_bytes)
    found = Path(folder)
    places = [sys.prefix, sys.base_prefix, *filter(None, sys.path)]
    missing = confine([found if found.is_dir() else found.parent, *map(Path, places)], Path(scratch))
    try:
        worker = Worker(Folder(Path(folder)), replies, time_limit_seconds, memory_limit_bytes)
    except ConfigError as error:
        write_frame(replies, _encode([[], error.what, 0, False]))
        return 1
    write_frame(replies, _encode([missing, None, 0, False]))
    worker.serve(events)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
