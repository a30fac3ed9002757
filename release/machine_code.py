"""Build hook: the commit in wheel and sdist, and machine code of the pricing kernels for the wheel.

Machine code is built with ``HATCH_BUILD_HOOK_ENABLE_CUSTOM=1``, by the Python and the numba of the build, for
x86-64 processors of level 3 (since about 2013). An installation of the same versions on such a processor
loads it; any other compiles its own, as from a wheel without it.
"""

import hashlib
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import copytree, ignore_patterns, rmtree
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

AT_FIXED_ADDRESSES = """
import ctypes, os, sys

if sys.platform == "linux":  # numba names array expressions by their addresses: ADDR_NO_RANDOMIZE
    ctypes.CDLL(None).personality(0x0040000)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""
COMPILE = """
from datetime import date

from scalpdesk.datasets.embedded.market import reconstruct
from scalpdesk.pricing import warm_up
from scalpdesk.pricing.kernels.compiling import SHIPPED, shipped_for

warm_up()
reconstruct(date(2018, 2, 5))
SHIPPED.write_text(shipped_for())
"""
COMPILES_WITH = ["msgspec", "numba", "numpy", "pyyaml", "scipy", "typing-extensions"]


class BuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Name the commit, and compile a copy of the source where that is asked for."""

    @property
    def _compiles(self) -> bool:
        wanted = os.environ.get("HATCH_BUILD_HOOK_ENABLE_CUSTOM") in ("1", "true")
        return wanted and self.target_name == "wheel"

    def dependencies(self) -> list[str]:
        """Return what the build needs beside hatchling."""
        return COMPILES_WITH if self._compiles else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files to hatch. They hold the copy's path, so that follows from the source."""
        self._copies: list[Path] = []
        if version == "editable":
            return
        holder = Path(tempfile.mkdtemp(prefix="scalpdesk-commit-"))
        self._copies.append(holder)
        code = Path(self.root, "src")
        names = runpy.run_path(str(code / "scalpdesk" / "core" / "version.py"))
        if commit := names["commit_of"](code / "scalpdesk"):
            file = holder / names["COMMIT_FILE"]
            file.write_text(f"{commit}\n", encoding="ascii")
            inside = "scalpdesk" if self.target_name == "wheel" else "src/scalpdesk"
            build_data["force_include"][str(file)] = f"{inside}/core/{file.name}"
        if self._compiles:
            self._compile(code, build_data)

    def _compile(self, code: Path, build_data: dict[str, Any]) -> None:
        sources = (path.read_bytes() for path in sorted(code.rglob("*.py")))
        digest = hashlib.sha256(b"".join(sources)).hexdigest()[:16]
        copy = Path(tempfile.gettempdir(), f"scalpdesk-{digest}")
        copy.mkdir(mode=0o700)
        self._copies.append(copy)
        copytree(code, copy, ignore=ignore_patterns("__pycache__"), dirs_exist_ok=True)
        env = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
        env |= {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "", "HOME": str(copy)}
        words = [sys.executable, "-c", AT_FIXED_ADDRESSES, COMPILE]
        subprocess.run(words, cwd=copy, env=env, check=True)
        for path in sorted(copy.rglob("__pycache__/*")):
            build_data["force_include"][str(path)] = str(path.relative_to(copy))

    def finalize(self, *_built: Any) -> None:
        """Remove the copies."""
        for folder in self._copies:
            rmtree(folder, ignore_errors=True)
