"""Compilation of kernels, and invalidation of their machine code on disk.

numba invalidates cached machine code by the one source file of the cached function. A kernel also depends on
functions and constants of other modules, so here the stamp is a digest of every source of its package and of
this one: any edit there recompiles everything.

Machine code is kept as pickles, and reading a pickle runs code: a folder that another user can write is not
used.
"""

import errno
import hashlib
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numba
from numba import njit, types
from numba.core import caching, config, event
from numba.extending import register_jitable

from scalpdesk.core.owner_only import own_folder, own_writers, writers

SHIPPED = Path(__file__).parents[1] / "__pycache__" / "x86-64-v3"
"""Names the versions that machine code in a wheel was made by; absent where the wheel has none."""
OF_LEVEL_3 = ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")


def shipped_for() -> str:
    """Return the versions that read machine code of a wheel."""
    return f"{sys.implementation.cache_tag} {sys.platform} numba {numba.__version__}"


def _take_shipped() -> None:
    """Compile for the processor that the wheel's machine code is for, where it suits: else none is found."""
    if SHIPPED.is_file() and SHIPPED.read_text("utf-8") == shipped_for():
        has = import_module("llvmlite.binding").get_host_cpu_features()
        if all(has.get(feature) for feature in OF_LEVEL_3):
            settings: Any = config
            settings.CPU_NAME, settings.CPU_FEATURES = "x86-64-v3", ""


_take_shipped()

P = ParamSpec("P")
R = TypeVar("R")


def digest_of(folder: Path) -> str:
    """SHA-256 over the names and contents of the Python sources in ``folder``."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        total.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


@cache
def source_digest(package: Path) -> str:
    """Digest of a folder at the declaration of its first kernel."""
    return digest_of(package)


class _StampedByPackage:
    """Stamps cache files by the package and this one, and leaves line numbers out of their names.

    A file of the same name is overwritten when the stamp changes; one with a line number would be left behind
    at every edit.
    """

    _py_file: str
    _cache_path: str

    def ensure_cache_path(self) -> None:
        """Make the folder; one that another user can write is refused."""
        self._refuse_foreign()
        super().ensure_cache_path()  # type: ignore[misc]

    def _refuse_foreign(self) -> None:
        raise NotImplementedError

    def get_source_stamp(self) -> str:
        return source_digest(Path(self._py_file).parent) + source_digest(Path(__file__).parent)

    def get_disambiguator(self) -> str:
        return "kernel"


CODE = "the folder of compiled code"


class ChosenFolder(_StampedByPackage, caching.UserProvidedCacheLocator):
    """The folder in ``NUMBA_CACHE_DIR``."""

    def _refuse_foreign(self) -> None:
        _own_cache(self._cache_path, "NUMBA_CACHE_DIR")


class BesideSource(_StampedByPackage, caching.InTreeCacheLocator):
    """``__pycache__`` above the package of the kernels, where it is writable.

    It is passed over where it has more writers than the package: they could not change the source.
    """

    def __init__(self, py_func: Any, py_file: str) -> None:
        super().__init__(py_func, py_file)  # type: ignore[no-untyped-call]
        self._cache_path = str(Path(py_file).parents[1] / "__pycache__")

    def _refuse_foreign(self) -> None:
        _refuse_more_writers(Path(self._cache_path))


class UserFolder(_StampedByPackage, caching.UserWideCacheLocator):
    """The user's cache folder, for a read-only installation."""

    def _refuse_foreign(self) -> None:
        _own_cache(self._cache_path, "XDG_CACHE_HOME")


@cache
def _own_cache(path: str, setting: str) -> None:
    own_folder(Path(path), CODE, where=setting)


@cache
def _refuse_more_writers(folder: Path) -> None:
    trusted = {*own_writers(), *writers(folder.parent)}
    for path in (folder, *folder.glob("*.nb[ci]")):
        if others := writers(path) - trusted:
            raise PermissionError(errno.EACCES, f"{CODE} can be written by {others}", str(path))


LOCATORS = ",".join(f"{each.__module__}.{each.__name__}" for each in (ChosenFolder, BesideSource, UserFolder))


def _compiled_once(dispatcher: Any) -> Any:
    """Let a constant argument share the machine code of a variable one: numba would compile it again."""
    template = dispatcher.get_call_template

    def of_any_value(args: Any, keywords: Any) -> Any:
        plain: Callable[[Any], Any] = types.unliteral
        return template(tuple(map(plain, args)), {name: plain(kind) for name, kind in keywords.items()})

    dispatcher.get_call_template = of_any_value
    return dispatcher


def inner(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function for use in other kernels; its machine code is not cached by itself."""
    decorated: Callable[P, R] = njit(error_model="numpy")(function)
    return decorated


def rule(function: Callable[P, R]) -> Callable[P, R]:
    """Let kernels compile a function that stays Python where Python calls it: a rule on one row."""
    decorated: Callable[P, R] = register_jitable(error_model="numpy")(function)
    return decorated


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function to be called from Python; its machine code is cached on disk."""
    settings: Any = config
    before = settings.CACHE_LOCATOR_CLASSES
    settings.CACHE_LOCATOR_CLASSES = LOCATORS
    try:
        decorated: Callable[P, R] = _compiled_once(njit(cache=True, error_model="numpy")(function))
    finally:
        settings.CACHE_LOCATOR_CLASSES = before
    return decorated


def tell_of_compiling(begins: Callable[[], object], ends: Callable[[], object]) -> None:
    """Call ``begins`` and ``ends`` once: about the next function that is compiled, with those within it."""
    events: Any = event

    class Told(event.Listener):
        depth = 0

        def on_start(self, _: object) -> None:
            self.depth += 1
            if self.depth == 1:
                begins()

        def on_end(self, _: object) -> None:
            self.depth -= 1
            if self.depth == 0:
                ends()
                events.unregister("numba:compile", self)

    events.register("numba:compile", Told())
