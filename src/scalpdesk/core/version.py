"""The version of this program and its commit; journals, refusals and ``--version`` name both."""

from contextlib import suppress
from pathlib import Path

VERSION = "0.2.0"
"""Version of the package."""
COMMIT_FILE = "commit.txt"
"""Beside this module in a wheel; in a checkout there is none, and the commit is read from its repository."""


def commit_of(package: Path) -> str:
    """Return the commit of an installed package or of the checkout around it; empty without either."""
    with suppress(OSError, ValueError):
        return (package / "core" / COMMIT_FILE).read_text(encoding="ascii").strip()
    with suppress(OSError, ValueError, IndexError):
        return _head(package.parents[1])
    return ""


def _head(root: Path) -> str:
    """Read the commit that a checkout stands at from its files: no git is called, and none need be there."""
    folder = root / ".git"
    if folder.is_file():  # a worktree's
        folder = root / folder.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    head = (folder / "HEAD").read_text(encoding="ascii").strip()
    if not head.startswith("ref:"):
        return head
    name = head.removeprefix("ref:").strip()
    shared = folder
    with suppress(OSError):
        shared = folder / (folder / "commondir").read_text(encoding="utf-8").strip()
    for place in (folder, shared):
        with suppress(OSError):
            return (place / name).read_text(encoding="ascii").strip()
    lines = (shared / "packed-refs").read_text(encoding="utf-8").splitlines()
    return next((line.split(" ")[0] for line in lines if line.endswith(f" {name}")), "")


def build_of(package: Path) -> str:
    """Return version and commit as one word, ``0.2.0+g1a2b3c4d``; without a commit the version."""
    commit = commit_of(package)[:8]
    return f"{VERSION}+g{commit}" if commit else VERSION


BUILD = build_of(Path(__file__).resolve().parents[1])
"""This program, read once."""
