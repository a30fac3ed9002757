"""Compile modules with mypyc, and again by what a run of them did: a part of ``compile_modules.py``.

    python build_with_mypyc.py PLAN.json

The interpreter of the build tools runs it in the folder of the sources' copy. The plan has ``files`` and
``options`` for mypyc, ``lookups`` (a header for each module), the ``folder`` for what is compiled, and
``measured``: a folder for the same code with counters, and the command that runs it. Without a command, or
where it fails, the compiler does not know what is executed often.
"""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mypyc.build import mypycify
from setuptools import setup  # isort: split

from distutils.ccompiler import CCompiler  # that of setuptools, once it is imported

PLAN: dict[str, Any] = json.loads(Path(sys.argv[1]).read_bytes())


def compile_at_once(
    self: CCompiler,
    sources: list[str],
    output_dir: str | None = None,
    macros: list[Any] | None = None,
    include_dirs: list[str] | None = None,
    debug: bool = False,
    extra_preargs: list[str] | None = None,
    extra_postargs: list[str] | None = None,
    depends: list[str] | None = None,
) -> list[str]:
    """Compile the files of one extension on all processors: nearly all modules are in one."""
    macros, objects, extra, preprocessor, made_of = self._setup_compile(
        output_dir, macros, include_dirs, sources, depends, extra_postargs
    )
    arguments = self._get_cc_args(preprocessor, debug, extra_preargs)

    def compile_one(made: str) -> None:
        self._compile(made, *made_of[made], arguments, extra, preprocessor)

    with ThreadPoolExecutor(os.cpu_count() or 1) as processors:
        list(processors.map(compile_one, made_of))
    return objects


def generate() -> list[Any]:
    """Write the C code; each module's begins with the header of look-ups."""
    lookups = Path(PLAN["lookups"])
    # the runtime of mypyc and of each module apart: all processors compile them
    modules = mypycify(
        [*PLAN["options"], *PLAN["files"]],
        only_compile_paths=PLAN["files"],
        opt_level="2",
        debug_level="0",
        multi_file=True,
    )
    for source in Path("build").rglob("__native*.c"):
        text = source.read_text(encoding="utf-8")
        own = re.match(r"(#include .*\n)+", text)
        assert own is not None
        with_header = text.replace(own[0], f'{own[0]}#include "{lookups.name}"\n', 1)
        source.write_text(with_header, encoding="utf-8")
    for module in modules:
        module.include_dirs.append(str(lookups.parent))
    return modules


def build(modules: list[Any], folder: str, flags: str) -> None:
    """Compile the C code into a folder; counts of a run lie beside the objects that were made before."""
    os.environ["CFLAGS"] = flags
    command = ["build_ext", "--force", "--build-lib", folder, "--build-temp", "objects"]
    setup(name="scalpdesk-compiled", packages=[], ext_modules=modules, script_args=command)


def main() -> None:
    """Generate, and compile once or twice."""
    CCompiler.compile = compile_at_once
    modules = generate()
    flags = "-fvisibility=hidden -fno-plt"
    measured = PLAN["measured"]
    if measured["command"]:
        build(modules, measured["folder"], f"{flags} -fprofile-generate")
        if subprocess.run(measured["command"], stdout=subprocess.DEVNULL, check=False).returncode == 0:
            flags += " -fprofile-use -fprofile-correction -Wno-missing-profile"
        else:
            print("note: the measured run failed; orders take a tenth longer")
    build(modules, PLAN["folder"], flags)


main()
