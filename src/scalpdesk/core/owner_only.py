"""Folders and files that this user alone may write, files that are closed to others.

A user who can write the folder of locks, armings or compiled code decides for the desk. So such a folder is
used only where it, and every folder above it, belongs to this user or to the machine's owner.
"""

import ctypes
import grp
import os
import pwd
import secrets
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from scalpdesk.core.errors import ConfigError

_OWNER_ONLY_FOLDER = 0o700
_OWNER_ONLY_FILE = 0o600
_PR_SET_DUMPABLE = 4
"""Option of Linux's prctl(2)."""

Writer = tuple[str, int]
"""``user`` or ``group`` with its number, or ``everybody`` with 0."""


def state_dir(environ: Mapping[str, str]) -> Path:
    """Return the machine-wide folder of locks and armings: in ``XDG_STATE_HOME``, else in the home folder.

    Raises ConfigError when no home folder is known, or the folder named is not an absolute path: two commands
    would not see one another's locks.
    """
    named = environ.get("XDG_STATE_HOME", "")
    base = Path(named or _home(environ) / ".local" / "state")
    if not base.is_absolute():
        raise ConfigError(
            "the folder of locks and armings must not depend on where a command starts",
            where="XDG_STATE_HOME",
            value=named,
            fix="name an absolute path",
        )
    return base / "scalpdesk"


def _home(environ: Mapping[str, str]) -> Path:
    """Return the home folder: ``HOME``, or as the system knows it where that is unset."""
    home = environ.get("HOME", "")
    if home:
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        raise ConfigError(
            "no home folder is known for locks and armings",
            where="HOME",
            fix="set HOME, or XDG_STATE_HOME to a folder of this user",
        ) from None


def own_folder(path: Path, what: str, *, where: str | None = None) -> Path:
    """Return a folder of this user alone; made where it is not there.

    ``what``: The folder by its use, for a refusal.
    ``where``: The setting that names it, for a refusal; its path without one.

    Raises ConfigError when another user may write it, something in it or a folder above it. Raises OSError
    when it cannot be made.
    """
    make_folder(path)
    foreign = _first_foreign(path)
    if foreign is not None:
        place, why = foreign
        raise ConfigError(
            f"others can write {what}: {why}",
            where=where or str(path),
            value=str(place),
            fix=f"name a folder of your own, or take the others' rights away: chmod -R go-w {place}",
        )
    return path


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone; what exists stays as it is."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=_OWNER_ONLY_FOLDER, exist_ok=True)


def own_file(path: Path) -> None:
    """Close a file to others, made empty where it is not there; one of another user stays as it is."""
    path.touch(mode=_OWNER_ONLY_FILE)
    with suppress(PermissionError):
        path.chmod(_OWNER_ONLY_FILE)


def write_secret(path: Path) -> str:
    """Write a new secret into a file of this user alone, in the place of the one before; return it."""
    secret = secrets.token_urlsafe(24)
    unfinished = path.with_name(f"{path.name}.part")
    own_file(unfinished)
    unfinished.write_text(secret, encoding="ascii")
    unfinished.replace(path)
    return secret


def read_secret(path: Path) -> str:
    """Return the secret in a file; empty where it is not there or cannot be read."""
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="ascii")
    return ""


@contextmanager
def new_own_file(path: Path) -> Iterator[None]:
    """Close to others a file that is written meanwhile, where it is new; without a result none is left."""
    is_new = not path.exists()
    if is_new:
        path.touch(mode=_OWNER_ONLY_FILE)
    try:
        yield
    except BaseException:
        if is_new:
            path.unlink(missing_ok=True)
        raise


def _first_foreign(folder: Path) -> tuple[Path, str] | None:
    """Return the first place by which another user changes what a folder holds, and who; None without one.

    Other users reach no file in a folder that is closed to them, whatever the file's mode. In a folder
    with the sticky bit, as the shared temporary folder, others neither delete nor rename what is not theirs.
    """
    is_closed = not stat.S_IMODE(folder.stat().st_mode) & 0o077
    above = sorted({*folder.absolute().parents, *folder.resolve().parents})
    may = {folder: writers(folder)}
    may |= {path: owner(path) if is_closed else writers(path) for path in folder.iterdir()}
    may |= {path: owner(path) if path.stat().st_mode & stat.S_ISVTX else writers(path) for path in above}
    for path, found in may.items():
        for kind, number in sorted(found - own_writers()):
            who = {"user": f"it belongs to user {number}", "group": f"group {number} can write it"}
            return path, who.get(kind, "everybody can write it")
    return None


def owner(path: Path) -> set[Writer]:
    """Return whose file or folder it is; empty for a path that is not there."""
    with suppress(FileNotFoundError):
        return {("user", path.stat().st_uid)}
    return set()


def writers(path: Path) -> set[Writer]:
    """Return who may write a file, or change what lies in a folder; empty for a path that is not there."""
    found = owner(path)
    with suppress(FileNotFoundError):
        status = path.stat()
        found |= {("group", status.st_gid)} if status.st_mode & stat.S_IWGRP else set()
        found |= {("everybody", 0)} if status.st_mode & stat.S_IWOTH else set()
    return found


def own_writers() -> set[Writer]:
    """Return who writes as this user may: the user, root, the owner of ``/``, the group of this user alone.

    Most systems give each user a group of the user's name.
    """
    user = os.geteuid()
    found = {("user", user), ("user", 0), *owner(Path("/"))}
    with suppress(KeyError):
        own = pwd.getpwuid(user)
        group = grp.getgrgid(own.pw_gid)
        if group.gr_name == own.pw_name and not set(group.gr_mem) - {own.pw_name}:
            found.add(("group", own.pw_gid))
    return found


def hide_memory() -> None:
    """Keep other processes of this user from attaching to this one and reading its memory (Linux).

    Root still may; a crash leaves no core file.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
