"""How kernels are compiled, and when their machine code on disk is stale.

numba looks at one file to tell whether cached machine code is stale: the one the cached function stands in.
A function calls functions of other modules and takes in their constants, so here the stamp is a digest of
every source of this package: an edit anywhere compiles anew whatever was cached.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from numba import njit
from numba.core import caching, config

P = ParamSpec("P")
R = TypeVar("R")


def digest_of(folder: Path) -> str:
    """SHA-256 over the names and contents of the Python sources in ``folder``."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        total.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


@cache
def source_digest() -> str:
    """Digest of this package as it stood when the first kernel was declared."""
    return digest_of(Path(__file__).parent)


class _StampedByPackage:
    """Replaces the stamp of one file by that of the package, and line numbers in file names by nothing.

    A file name that stays the same is overwritten when the stamp changes; one with a line number would be
    left behind at every edit.
    """

    def get_source_stamp(self) -> str:
        return source_digest()

    def get_disambiguator(self) -> str:
        return "kernel"


class ChosenFolder(_StampedByPackage, caching.UserProvidedCacheLocator):
    """The folder that ``NUMBA_CACHE_DIR`` names."""


class BesideSource(_StampedByPackage, caching.InTreeCacheLocator):
    """``__pycache__`` of the pricing package, where it can be written."""

    def __init__(self, py_func: Any, py_file: str) -> None:
        super().__init__(py_func, py_file)  # type: ignore[no-untyped-call]
        self._cache_path = str(Path(py_file).parents[1] / "__pycache__")


class UserFolder(_StampedByPackage, caching.UserWideCacheLocator):
    """The user's cache folder, for an installation that is read-only."""


LOCATORS = ",".join(f"{each.__module__}.{each.__name__}" for each in (ChosenFolder, BesideSource, UserFolder))


def inner(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function for other kernels: it goes into their machine code and is not kept by itself."""
    decorated: Callable[P, R] = njit(error_model="numpy")(function)
    return decorated


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that Python calls; its machine code is kept on disk."""
    settings: Any = config
    before = settings.CACHE_LOCATOR_CLASSES
    settings.CACHE_LOCATOR_CLASSES = LOCATORS
    try:
        decorated: Callable[P, R] = njit(cache=True, error_model="numpy")(function)
    finally:
        settings.CACHE_LOCATOR_CLASSES = before
    return decorated
