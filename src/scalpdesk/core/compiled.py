"""Machine code of the order path: where it lies, when it may stand for its sources, and its import.

``tools/compile_modules.py`` compiles some modules with mypyc into a folder of the environment, and notes
there the size and the time of change of every source file of the product. The compiled modules are imported
only while all of these are as they were, so an edited file is never hidden by what it was before.
"""

import json
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

SWITCH = "PURE_PYTHON"
"""Environment variable, as other packages have it: what is neither empty nor 0 imports the sources."""
SOURCES = Path(__file__).resolve().parents[1]
MANIFEST = "manifest.json"


def compiled_folder() -> Path:
    """Return the folder of the compiled modules: it belongs to the environment, not to the sources."""
    return Path(sys.prefix) / "scalpdesk-compiled"


class CompiledModules(MetaPathFinder):
    """Finds the compiled modules of a folder, as long as they may stand for their sources.

    Parameters
    ----------
    folder
        Holds the modules and their manifest.
    sources
        The package that they were compiled from.
    switch
        Value of the environment variable ``PURE_PYTHON``.
    """

    def __init__(self, folder: Path, sources: Path = SOURCES, switch: str = "") -> None:
        self.files: dict[str, str] = {}
        """Files by the name of the module; empty where none may be used."""
        self.why_not = "" if switch in ("", "0") else "switched off"
        if not self.why_not:
            files, self.why_not = _usable(folder, sources)
            self.files = {name: str(folder / file) for name, file in files.items()}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a compiled module lies; None for every other module."""
        del path, target
        file = self.files.get(fullname)
        return None if file is None else spec_from_file_location(fullname, file)


def _usable(folder: Path, sources: Path) -> tuple[dict[str, str], str]:
    """Return the compiled modules of a folder, or none and why they cannot be used."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}, "none"
    if manifest["sources"] != str(sources) or manifest["suffix"] != EXTENSION_SUFFIXES[0]:
        return {}, "made for other sources or another Python"
    root = f"{sources}/"
    for name, stamp in manifest["stamps"].items():
        try:
            stat = os.stat(root + name)  # noqa: PTH116 - four hundred of them at every start: a Path costs twice as much
        except OSError:
            return {}, f"out of date: {name} is gone"
        if [stat.st_size, stat.st_mtime_ns] != stamp:
            return {}, f"out of date: {name} has changed"
    return manifest["modules"], ""


MODULES = CompiledModules(compiled_folder(), switch=os.environ.get(SWITCH, ""))
"""Of this process."""


def use_compiled_modules() -> None:
    """Import the compiled modules where they may stand for their sources."""
    if MODULES.files and MODULES not in sys.meta_path:
        sys.meta_path.insert(0, MODULES)
