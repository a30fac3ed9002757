"""Compile the modules where a session spends its time with mypyc: what ``make compiled`` runs.

    python tools/compile_modules.py

The product runs without: docs/decisions/0008-compiled-order-path.md. What cannot be done here (no C compiler,
no header of Python, no network for the tools) is reported and is no error. The tools stand in a folder of
their own beside the environment's packages, so that mypyc is no dependency of the desk.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements" / "compile.lock"
LOOKUPS = ROOT / "tools" / "cached_lookups.h"
"""How the compiled modules look up attributes of what is not compiled, and globals."""
BUILD = ROOT / "tools" / "build_with_mypyc.py"
"""Generates and compiles, with the build tools."""
RUN = ROOT / "tools" / "measured_run.py"
"""Shows the compiler which of the code is executed often."""
MODULES = [
    "backtesting.runner",
    "engine.admission",
    "engine.desk",
    "engine.timers",
    "engine.trading_engine",
    "hedging.delta_models",
    "margin.holdings",
    "margin.regulation_t",
    "marketdata.latest_quotes",
    "marketdata.quotes",
    "marketdata.state",
    "marketdata.triggers",
    "orders.order",
    "orders.order_manager",
    "portfolio.book",
    "portfolio.delta_engine",
    "portfolio.explain",
    "portfolio.greeks",
    "portfolio.leg_parts",
    "portfolio.option_pricer",
    "portfolio.positions",
    "portfolio.strike_vols",
    "pricing.scalar",
    "risk.caps",
    "risk.checks",
    "risk.counters",
    "risk.gate",
    "simulation.accounts",
    "simulation.broker",
    "simulation.connection",
    "simulation.fills.base",
    "simulation.fills.cross",
    "simulation.ledger",
    "simulation.matching",
    "simulation.order_entry",
    "simulation.orders",
    "strategies.gamma_scalper.edge",
    "strategies.gamma_scalper.states",
    "strategies.gamma_scalper.strategy",
    "strategies.gamma_scalper.trade",
    "strategies.toolkit.hedger",
]
"""Modules of the order path, and of the valuing, hedging and explaining of a straddle.

None has a struct that is read from settings or messages: mypyc does not keep the types of fields.
"""

STRUCT_BASES = "struct_bases"
"""Module beside the compiled ones: structs with options, which a compiled struct inherits."""
INHERITED = {"eq", "frozen", "gc", "cache_hash"}
"""Options that a struct has from its base (msgspec 0.22)."""


def main() -> None:
    """Compile where the modules are not up to date."""
    os.environ["PURE_PYTHON"] = ""
    from scalpdesk.core import compiled

    parts = (Path(__file__), LOCK, LOOKUPS, BUILD, RUN)
    recipe = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()
    folder = compiled.compiled_folder()
    if compiled.MODULES.files and (folder / ".recipe").read_text(encoding="ascii") == recipe:
        print(f"{len(compiled.MODULES.files)} compiled modules are up to date")
        return
    missing = _missing()
    if missing:
        print(f"no compiled modules: {missing}; the desk runs without")
        return
    print(f"compiling {len(MODULES)} modules: two to four minutes", flush=True)
    began = time.monotonic()
    stamps = _stamps(compiled.SOURCES)
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        try:
            notes = _build(made)
        except subprocess.CalledProcessError as error:
            tail = "\n".join((error.stdout + error.stderr).splitlines()[-10:])
            print(f"no compiled modules, the desk runs without: {tail}")
            return
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made / "out", folder)
    modules = modules_in(folder)
    manifest = {
        "sources": str(compiled.SOURCES),
        "suffix": EXTENSION_SUFFIXES[0],
        "stamps": stamps,
        "modules": modules,
    }
    (folder / ".recipe").write_text(recipe, encoding="ascii")
    (folder / compiled.MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    for note in notes:
        print(note)
    print(f"{len(modules)} compiled modules in {time.monotonic() - began:.0f} s")


def modules_in(folder: Path) -> dict[str, str]:
    """Return the files of what was compiled, relative to its folder, by the name of the module."""
    suffix = EXTENSION_SUFFIXES[0]
    files = [path.relative_to(folder).as_posix() for path in folder.rglob(f"*{suffix}")]
    modules = {file.removesuffix(suffix).replace("/", "."): file for file in files}
    return modules | {f"scalpdesk.{STRUCT_BASES}": f"scalpdesk/{STRUCT_BASES}.py"}


def _stamps(sources: Path) -> dict[str, list[int]]:
    """Return size in bytes and time of change in nanoseconds of every source file, by relative path."""
    files = {path.relative_to(sources).as_posix(): path.stat() for path in sorted(sources.rglob("*.py"))}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in files.items()}


def _missing() -> str:
    """Return what of a C compiler is not here."""
    compiler = _compiler()
    if shutil.which(compiler) is None:
        return f"{compiler} is not installed"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    return "" if header.exists() else f"{header} is absent"


def _compiler() -> str:
    """Return the name of the C compiler that Python was made with."""
    compiler: str = sysconfig.get_config_var("CC") or "cc"
    return compiler.split(maxsplit=1)[0]


def _build(scratch: Path) -> list[str]:
    """Compile a copy of the sources into the folder ``out``; return what is to be said of it."""
    shutil.copytree(
        ROOT / "src" / "scalpdesk", scratch / "scalpdesk", ignore=shutil.ignore_patterns("__pycache__")
    )
    files = [f"scalpdesk/{name.replace('.', '/')}.py" for name in MODULES]
    bases: dict[str, str] = {}
    for file in files:
        source = scratch / file
        text = _keep_struct_options(source.read_text(encoding="utf-8"), bases)
        source.write_text(_open_to_python(text), encoding="utf-8")
    made = "".join(f"class {name}(msgspec.Struct, {options}): ...\n" for options, name in bases.items())
    for package in (scratch, scratch / "measured", scratch / "out"):
        (package / "scalpdesk").mkdir(parents=True, exist_ok=True)
        file = package / "scalpdesk" / f"{STRUCT_BASES}.py"
        file.write_text(f"import msgspec\n\n{made}", encoding="utf-8")
    options = [
        f"--config-file={ROOT / 'pyproject.toml'}",
        f"--python-executable={sys.executable}",
        # stubs and packages of the checks and the extras need not be here
        "--ignore-missing-imports",
        "--no-warn-unused-ignores",
    ]
    plan = {
        "files": files,
        "options": options,
        "lookups": str(LOOKUPS),
        "folder": "out",
        "measured": {
            "folder": "measured",
            "command": [sys.executable, str(RUN), "measured"] if _compiler_learns() else [],
        },
    }
    (scratch / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    environment = {**os.environ, "MYPYPATH": str(scratch)}
    command = [_tools(), BUILD, "plan.json"]
    done = subprocess.run(command, cwd=scratch, env=environment, check=True, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if line.startswith("note: ")]


def _compiler_learns() -> bool:
    """Tell whether the compiler is gcc, whose flags for a measured run these are."""
    done = subprocess.run([_compiler(), "--version"], capture_output=True, text=True, check=False)
    return "Free Software Foundation" in done.stdout


def _keep_struct_options(source: str, bases: dict[str, str]) -> str:
    """Let structs inherit the options (``frozen=True``) that mypyc drops from a class statement.

    ``bases`` collects the names of the base structs by their options. A struct is compared, hashed and
    written by its own class and fields, whatever its base.

    Raises
    ------
    ValueError
        When a struct has an option that is not inherited.
    """
    used: set[str] = set()

    def inherits(found: re.Match[str]) -> str:
        options = found["options"]
        if not INHERITED.issuperset(re.findall(r"(\w+)=", options)):
            raise ValueError(f"{found[0]} has options that a struct does not inherit: leave its module out")
        base = bases.setdefault(options, f"Struct{len(bases)}")
        used.add(base)
        return f"{found['start']}{base}, {options}):"

    struct = r"^(?P<start>class \w+\()msgspec\.Struct, (?P<options>[^)]+)\):"
    changed, count = re.subn(struct, inherits, source, flags=re.MULTILINE)
    imported = f"import msgspec; from scalpdesk.{STRUCT_BASES} import {', '.join(sorted(used))}\n"
    return changed.replace("import msgspec\n", imported, 1) if count else source


def _open_to_python(source: str) -> str:
    """Declare to mypyc that classes may be inherited from in Python, as ``strategies.several`` does.

    The declaration stands in lines that were empty, so that the lines of tracebacks stay right. It is for
    the type checker alone: nothing of mypyc is needed when the desk runs.
    """
    declared = (
        "if TYPE_CHECKING: from mypy_extensions import mypyc_attr\n"
        "@mypyc_attr(allow_interpreted_subclasses=True)\n"
    )
    classes = r"^\n\n(?=class \w+:)"
    changed, count = re.subn(classes, lambda _: declared, source, flags=re.MULTILINE)
    of_checker = "\nfrom typing import TYPE_CHECKING\n"
    return changed.replace('"""\n\n', f'"""{of_checker}', 1) if count else source


def _tools() -> str:
    """Return the interpreter of the build tools; they are installed when the lock has changed."""
    folder = Path(sys.prefix) / "compile-tools"
    python, stamp = folder / "bin" / "python", folder / ".lock-sha256"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not (stamp.exists() and stamp.read_text(encoding="ascii") == wanted):

        def run(*command: object) -> None:
            subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)

        run(sys.executable, "-m", "venv", "--clear", folder)
        run(
            python,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "--no-compile",
            "--only-binary",
            ":all:",
            "--require-hashes",
            "-r",
            LOCK,
        )
        stamp.write_text(wanted, encoding="ascii")
    return str(python)


if __name__ == "__main__":
    main()
