"""Machine code of the pricing kernels for the wheel: build with ``HATCH_BUILD_HOOK_ENABLE_CUSTOM=1``.

The kernels are compiled by the Python and the numba of the build, for x86-64 processors of level 3 (since
about 2013). An installation of the same versions on such a processor loads them; any other compiles its own,
as from a wheel without them.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import copytree, ignore_patterns, rmtree
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILE = """
from datetime import date

from scalpdesk.datasets.embedded.market import reconstruct
from scalpdesk.pricing import warm_up
from scalpdesk.pricing.kernels.compiling import SHIPPED, shipped_for

warm_up()
reconstruct(date(2018, 2, 5))
SHIPPED.write_text(shipped_for())
"""


class MachineCode(BuildHookInterface):  # type: ignore[type-arg]
    """Compile a copy of the source, and put what numba kept into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and name the files to hatch. They hold the copy's path, so it follows from the source."""
        if version == "editable":
            return
        code = Path(self.root, "src")
        sources = (path.read_bytes() for path in sorted(code.rglob("*.py")))
        digest = hashlib.sha256(b"".join(sources)).hexdigest()[:16]
        self._copy = Path(tempfile.gettempdir(), f"scalpdesk-{digest}")
        self._copy.mkdir(mode=0o700)
        copytree(code, self._copy, ignore=ignore_patterns("__pycache__"), dirs_exist_ok=True)
        env = os.environ | {
            "PYTHONPATH": str(self._copy),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
        }
        env |= {"PYTHONHASHSEED": "0", "NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": ""}
        subprocess.run([sys.executable, "-c", COMPILE], env=env, check=True)
        for path in sorted(self._copy.rglob("__pycache__/*")):
            build_data["force_include"][str(path)] = str(path.relative_to(self._copy))

    def finalize(self, *_built: Any) -> None:
        """Remove the copy."""
        rmtree(self._copy, ignore_errors=True)
