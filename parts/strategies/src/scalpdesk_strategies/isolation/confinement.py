"""Confinement of a process by Linux, without root: Landlock for files and ports, seccomp for system calls.

The process of a strategy folder has the user of its desk, so no file's mode and no other user's rights keep
it from the desk. Landlock lets it read the interpreter, its own folder and what is granted, and write its
scratch folder alone; it also keeps it from attaching to processes outside and, from Linux 6.12 on, from
sending them signals. seccomp refuses the calls that Landlock does not see: sockets of Unix (the control
socket of a desk is one), changes of modes and times, typing into a terminal, limits of other processes.

Sources: landlock(7), seccomp(2), the kernel's ``Documentation/userspace-api/landlock.rst``; numbers of calls:
``asm/unistd_64.h`` and ``asm-generic/unistd.h``.
"""

import ctypes
import errno
import os
import platform
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from scalpdesk.journal.frames import segment_path


class Grants(msgspec.Struct, frozen=True):
    """The places that a confined process may use beside the interpreter's own."""

    scratch: str
    """Folder that it may write."""
    reads: tuple[str, ...] = ()
    """Files and folders that it may read."""
    writes: tuple[str, ...] = ()
    """Files and folders that it may read and write."""
    ports: tuple[int, ...] = ()
    """TCP ports that it may connect to; without one it has no network."""
    private: tuple[str, ...] = ()
    """Files and folders that it must not reach, wherever they lie."""


# files ------------------------------------------------------------------------------------------

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = (1 << bit for bit in range(4))
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_CHANGE = sum(1 << bit for bit in (1, *range(4, 15)))
"""Write, truncate, make, remove and rename."""
OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15
"""Rights that a file has too; the others are a folder's."""
_RIGHTS_BY_ABI = (0, 13, 14, 15, 15, 16)
"""Rights on files that a version of Landlock's interface knows; the last number holds for later versions."""
_PORTS_ABI, _SIGNALS_ABI = 4, 6
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH, _NET_PORT = 1, 2
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPES = 3
"""Abstract Unix sockets and signals."""

_SYSTEM_FOLDERS = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/nix/store", "/gnu/store")
SYSTEM_FILES = (
    *("/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime", "/etc/timezone", "/etc/os-release"),
    *("/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/locale.alias", "/etc/mime.types"),
    *("/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm/overcommit_memory"),
    *("/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/kernel/mm/transparent_hugepage"),
    "/sys/fs/cgroup",  # its limit of memory: duckdb ends the process where it cannot read it
)
NETWORK_FILES = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/services"),
    *("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls", "/etc/pki/ca-trust", "/etc/ca-certificates"),
)


_OF_INTERPRETER = ("bin", "include", "lib", "lib64", "libexec", "pyvenv.cfg", "share", "ssl")
"""The interpreter's own in its folder: an environment may have been made in the folder of a desk."""


def _interpreter_places() -> set[Path]:
    """Return the folders of this interpreter, and those of ``LD_LIBRARY_PATH``."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix}
    found = {f"{prefix}/{name}" for prefix in prefixes for name in _OF_INTERPRETER}
    found |= {str(Path(sys.executable).resolve().parent), *os.environ.get("LD_LIBRARY_PATH", "").split(":")}
    return {Path(name).resolve() for name in found if name}


def _private_below(folder: Path) -> Iterator[Path]:
    """Yield the folders of runs below a folder, and its hidden files and folders (``.env``, ``.git``)."""
    for name, folders, files in os.walk(folder):
        place = Path(name)
        yield from (place / each for each in (*folders, *files) if each.startswith("."))
        if segment_path(place, 1).exists() and place == folder:
            yield place
        runs = [each for each in folders if segment_path(place / each, 1).exists()]
        if runs and place != folder:
            yield place
            folders.clear()
        yield from (place / each for each in runs)
        folders[:] = [each for each in folders if not each.startswith(".") and each not in runs]


def parts(path: Path, private: Iterable[Path]) -> Iterator[tuple[Path, bool]]:
    """Yield what may be granted of a place, and whether whole, so that nothing private lies in it.

    A folder that is not granted whole is granted to be listed alone. Links are not followed.
    """
    inside = [each for each in private if path in each.parents]
    if not inside:
        yield path, True
        return
    yield path, False
    for each in path.iterdir():
        if each not in inside and not each.is_symlink():
            yield from parts(each, inside)


class Landlock:
    """A set of rules under way.

    ``abi``: Version of Landlock's interface.
    Raises OSError when the kernel refuses.
    """

    def __init__(self, abi: int) -> None:
        self.rights = (1 << _RIGHTS_BY_ABI[min(abi, len(_RIGHTS_BY_ABI) - 1)]) - 1
        net = _BIND_TCP | _CONNECT_TCP if abi >= _PORTS_ABI else 0
        attributes = struct.pack("QQQ", self.rights, net, _SCOPES if abi >= _SIGNALS_ABI else 0)
        known = 8 if abi < _PORTS_ABI else 16 if abi < _SIGNALS_ABI else 24
        self._rules = _call(_CREATE_RULESET, attributes, known, 0)

    def grant(self, path: Path, rights: int) -> None:
        """Grant rights on a file, or on a folder and all below it; nothing where there is no such place."""
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                given = rights & self.rights & (-1 if path.is_dir() else OF_FILES)
                _call(_ADD_RULE, self._rules, _PATH_BENEATH, struct.pack("=Qi", given, place), 0)
            finally:
                os.close(place)

    def grant_port(self, port: int) -> None:
        """Grant connections to a TCP port."""
        _call(_ADD_RULE, self._rules, _NET_PORT, struct.pack("=QQ", _CONNECT_TCP, port), 0)

    def enforce(self) -> None:
        """Restrict this thread and what it starts, for good."""
        _call(_RESTRICT_SELF, self._rules, 0)
        os.close(self._rules)


def landlock_abi() -> int:
    """Return the version of the kernel's interface of Landlock; 0 without Landlock."""
    if sys.platform != "linux":
        return 0
    try:
        return _call(_CREATE_RULESET, None, 0, 1)
    except OSError:
        return 0


def _restrict_files(grants: Grants, abi: int) -> None:
    rules = Landlock(abi)
    for name in (*_SYSTEM_FOLDERS, *SYSTEM_FILES, *(NETWORK_FILES if grants.ports else ())):
        rules.grant(Path(name), _READ)
    rules.grant(Path(os.devnull), _READ | _WRITE_FILE)
    given = dict.fromkeys(_interpreter_places(), _READ)
    read = {Path(name).resolve() for name in (*grants.reads, *sys.path) if name}
    read -= {path for path in read if any(above in given for above in (path, *path.parents))}
    private = {Path(name).resolve() for name in grants.private}
    private |= {each for place in read for each in _private_below(place)}
    given |= dict.fromkeys(read, _READ)
    given |= {Path(name).resolve(): _READ | _CHANGE for name in (*grants.writes, grants.scratch)}
    for place, rights in given.items():
        if place != Path(place.anchor) and place not in private:
            for part, is_whole in parts(place, private):
                rules.grant(part, rights if is_whole else _READ_DIR)
    if abi >= _PORTS_ABI:
        for port in grants.ports:
            rules.grant_port(port)
    rules.enforce()


# system calls -----------------------------------------------------------------------------------

CALLS = {
    # name: number on x86_64, number on aarch64 (None: it has no such call)
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "sendto": (44, 206),
    "sendmsg": (46, 211), "sendmmsg": (307, 269), "ioctl": (16, 29),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424),
    "prlimit64": (302, 261), "setpriority": (141, 140), "ioprio_set": (251, 30),
    "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "pidfd_getfd": (438, 438), "process_madvise": (440, 440),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "open_by_handle_at": (304, 265), "bpf": (321, 280), "setsid": (112, 157), "setpgid": (109, 154),
    "truncate": (76, 45), "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53),
    "fchmodat2": (452, 452), "chown": (92, None), "fchown": (93, 55), "lchown": (94, None),
    "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "setxattrat": (463, 463), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16), "removexattrat": (466, 466), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88),
}  # fmt: skip
_REFUSED = (
    # another process: its memory, its files
    *("ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "process_madvise"),
    # ways around this filter, to the user's keyrings, to files past their folders
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "add_key", "request_key", "keyctl", "bpf"),
    "open_by_handle_at",
    # Landlock does not see modes, owners, attributes and times of files that are not opened
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"),
    *("setxattr", "lsetxattr", "fsetxattr", "setxattrat"),
    *("removexattr", "lremovexattr", "fremovexattr", "removexattrat"),
    *("utime", "utimes", "futimesat", "utimensat"),
    # a session of its own would outlive the desk
    *("setsid", "setpgid"),
)
_OF_ITSELF = {
    "prlimit64": 0, "sched_setparam": 0, "sched_setscheduler": 0, "sched_setaffinity": 0, "sched_setattr": 0,
    "migrate_pages": 0, "move_pages": 0, "setpriority": 1, "ioprio_set": 1,
}  # fmt: skip
"""Calls that may name another process, with the argument that names it: 0 is the caller."""
SIGNALS = ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
_EVERY_PROCESS = 0xFFFF_FFFF
"""The number -1 of kill(2): every process of the user."""
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
"""Requests by which a process types into a terminal."""
_PAIRS = tuple(
    kind | flags
    for kind in (int(socket.SOCK_STREAM), int(socket.SOCK_SEQPACKET))
    for flags in (0, os.O_NONBLOCK, os.O_CLOEXEC, os.O_NONBLOCK | os.O_CLOEXEC)
)
"""Kinds of pairs of sockets; one for datagrams sends them to any socket that has a path."""
_AF_NETLINK = 16
"""Names are looked up with it."""
_MSG_FASTOPEN = 0x2000_0000
"""Connects with the first data: Landlock sees no connection."""
AUDIT_ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
_X32_BIT = 0x4000_0000
_LOAD, _EQUALS, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE = 0x7FFF_0000, 0x0005_0000
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2


class _CallFilter:
    """A program of the classic packet filter that judges system calls.

    ``machine``: As ``platform.machine()`` names it.
    """

    def __init__(self, machine: str) -> None:
        self._column = tuple(AUDIT_ARCHITECTURES).index(machine)
        self._steps: list[tuple[int, int, int, int]] = [(_LOAD, 0, 0, 4)]
        self._steps += [(_EQUALS, 1, 0, AUDIT_ARCHITECTURES[machine]), self._refusal(errno.EPERM)]
        self._steps += [(_LOAD, 0, 0, 0), (_AT_LEAST, 0, 1, _X32_BIT), self._refusal(errno.EPERM)]

    @staticmethod
    def _refusal(number: int) -> tuple[int, int, int, int]:
        return _RETURN, 0, 0, _REFUSE | number

    def _add(self, name: str, steps: list[tuple[int, int, int, int]]) -> None:
        number = CALLS[name][self._column]
        if number is not None:
            self._steps += [(_EQUALS, 0, len(steps), number), *steps]

    def refuse(self, name: str, number: int = errno.EPERM) -> None:
        """Refuse a call, with an error number."""
        self._add(name, [self._refusal(number)])

    def allow_only(self, name: str, arguments: dict[int, tuple[int, ...]], number: int = errno.EPERM) -> None:
        """Refuse a call unless each of these arguments, the lower half of it, has one of its values."""
        steps: list[tuple[int, int, int, int]] = []
        for argument, values in arguments.items():
            steps.append((_LOAD, 0, 0, 16 + 8 * argument))
            steps += [(_EQUALS, len(values) - place, 0, value) for place, value in enumerate(values)]
            steps.append(self._refusal(number))
        self._add(name, [*steps, (_RETURN, 0, 0, _ALLOW)])

    def refuse_if(self, name: str, argument: int, values: tuple[int, ...]) -> None:
        """Refuse a call whose argument has one of the values."""
        steps = [(_LOAD, 0, 0, 16 + 8 * argument)]
        for value in values:
            steps += [(_EQUALS, 0, 1, value), self._refusal(errno.EPERM)]
        self._add(name, [*steps, (_RETURN, 0, 0, _ALLOW)])

    def refuse_bits(self, name: str, argument: int, bits: int) -> None:
        """Refuse a call whose argument has any of the bits."""
        steps = [(_LOAD, 0, 0, 16 + 8 * argument), (_HAS_BITS, 0, 1, bits), self._refusal(errno.EPERM)]
        self._add(name, [*steps, (_RETURN, 0, 0, _ALLOW)])

    def enforce(self) -> None:
        """Judge by it this thread's calls and those of what it starts, for good.

        Raises OSError when the kernel refuses.
        """
        packed = b"".join(struct.pack("=HBBI", *step) for step in (*self._steps, (_RETURN, 0, 0, _ALLOW)))
        program = ctypes.create_string_buffer(packed, len(packed))
        described = ctypes.create_string_buffer(
            struct.pack("HxxxxxxP", len(packed) // 8, ctypes.addressof(program))
        )
        _control(_PR_SET_SECCOMP, _FILTER, ctypes.addressof(described))


def _has_filter(machine: str | None = None) -> bool:
    """Return whether the kernel takes filters of system calls, and the processor's calls are known here."""
    is_known = (machine or platform.machine()) in AUDIT_ARCHITECTURES and sys.maxsize > 2**32
    if sys.platform != "linux" or not is_known:
        return False
    try:
        _control(_PR_SET_SECCOMP, _FILTER, 0)
    except OSError as error:  # it looked for the program, which is not there, or does not know filters
        return error.errno == errno.EFAULT
    return True


def _restrict_calls(ports: tuple[int, ...], abi: int) -> None:
    rules = _CallFilter(platform.machine())
    for name in _REFUSED:
        rules.refuse(name)
    for name, argument in _OF_ITSELF.items():
        rules.allow_only(name, {argument: (0,)})
    rules.refuse_if("ioctl", 1, (_TIOCSTI, _TIOCLINUX))
    rules.allow_only("socketpair", {1: _PAIRS}, errno.EACCES)
    if abi < _SIGNALS_ABI:
        for name in SIGNALS:
            rules.allow_only(name, {0: (os.getpid(), 0)})
        rules.refuse("tkill")
        rules.refuse("pidfd_send_signal")
    else:
        rules.refuse_if("kill", 0, (_EVERY_PROCESS,))
    if abi < 3:
        rules.refuse("truncate")
    if ports:
        families = (int(socket.AF_INET), int(socket.AF_INET6), _AF_NETLINK)
        protocols = (0, int(socket.IPPROTO_TCP), int(socket.IPPROTO_UDP))  # Landlock judges no others
        rules.allow_only("socket", {0: families, 2: protocols}, errno.EACCES)
        for name, flags in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
            rules.refuse_bits(name, flags, _MSG_FASTOPEN)
    else:
        rules.refuse("socket", errno.EACCES)
        rules.refuse("connect", errno.EACCES)
    rules.enforce()


# both -------------------------------------------------------------------------------------------

FILES_OPEN = "Landlock is missing: it reads and writes all files of this user"
CALLS_OPEN = "seccomp is missing: it reaches control sockets, the network and other processes of this user"
PORTS_OPEN = "Landlock before Linux 6.7 limits no ports: it reaches every address"


def lacking(
    ports: tuple[int, ...] = (), *, abi: int | None = None, machine: str | None = None
) -> tuple[str, ...]:
    """Return what a system cannot keep a confined process from, in words; empty where it can all.

    ``abi``, ``machine``: Version of Landlock's interface, and ``platform.machine()``; None is this system's.
    """
    abi = landlock_abi() if abi is None else abi
    found = [] if abi else [FILES_OPEN]
    found += [] if _has_filter(machine) else [CALLS_OPEN]
    found += [PORTS_OPEN] if ports and abi < _PORTS_ABI else []
    return tuple(found)


def confine(grants: Grants, *, abi: int | None = None) -> tuple[str, ...]:
    """Confine this process as far as the system can; return what it lacks (:func:`lacking`).

    To be called before any thread is started: one that runs would stay free.

    ``abi``: Version of Landlock's interface to use; None is the kernel's.
    Raises OSError when the kernel refuses what it says it has.
    """
    abi = landlock_abi() if abi is None else abi
    if sys.platform != "linux":
        return lacking(grants.ports, abi=0)
    _control(_PR_SET_NO_NEW_PRIVS, 1)
    if abi:
        _drop_capabilities()
        _restrict_files(grants, abi)
    if _has_filter():
        _restrict_calls(grants.ports, abi)
    return lacking(grants.ports, abi=abi)


_CAPABILITY_VERSION = 0x2008_0522
_DAC_OVERRIDE = 1 << 1
"""Root's right to a file of any owner and mode: Landlock goes before it."""


def _drop_capabilities() -> None:
    """Give up root's rights, except to files of any owner."""
    library, whose = ctypes.CDLL(None), struct.pack("Ii", _CAPABILITY_VERSION, 0)
    held = ctypes.create_string_buffer(24)
    with suppress(AttributeError):  # a C library without them
        library.capget(whose, held)
        kept = struct.unpack("6I", held.raw)[1] & _DAC_OVERRIDE
        library.capset(whose, struct.pack("6I", kept, kept, 0, 0, 0, 0))


def _call(number: int, *arguments: int | bytes | None) -> int:
    words = [each if each is None or isinstance(each, bytes) else ctypes.c_long(each) for each in arguments]
    return _checked(lambda library: library.syscall(ctypes.c_long(number), *words))


def _control(option: int, *arguments: int) -> int:
    words = [ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0, 0)[:4]]
    return _checked(lambda library: library.prctl(option, *words))


def _checked(call: Callable[[ctypes.CDLL], int]) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    result = call(library)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
