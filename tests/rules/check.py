"""Check what the house rules say of the code and its tests, and fail above a limit.

python tests/rules/check.py            what ``make check`` runs; exit 1 above a limit
python tests/rules/check.py --figures  what stands behind each figure
"""

import ast
import re
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _sources() -> list[Path]:
    folders = (ROOT / "src", *sorted((ROOT / "parts").glob("*/src")))
    return [path for folder in folders for path in sorted(folder.rglob("*.py"))]


def classes_twice() -> list[str]:
    """Return class names in several modules, but for one of each venue; judges have names of their own."""
    places: dict[str, set[str]] = defaultdict(set)
    for path in _sources():
        if "scalpdesk_testing" in path.parts:
            continue
        module = re.sub(r"(alpaca|deribit|ibkr)(?=/)", "*", str(path.relative_to(ROOT)))
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].add(module)
    return [f"{name}: {', '.join(sorted(where))}" for name, where in sorted(places.items()) if len(where) > 1]


def orders_by_hand() -> list[str]:
    """Return the places where a strategy of ours makes an order, and the plan does not."""
    made = lines_with(r"\b(OrderIntent|SubmitOrder)\(")
    return [place for place in made if "strategies/" in place]


def lines_with(pattern: str) -> list[str]:
    """Return the lines of the source that match."""
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for path in _sources()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(pattern, line)
    ]


def kind_tests() -> list[str]:
    """Return the lines that ask for an instrument's class or contract size; some may."""
    kinds = "OptionContract|Equity|Index|Future|Perpetual|LinearPerpetual"
    pattern = rf"isinstance\(.*\b({kinds})\)|\bis (not )?({kinds})\b|\bcontract_usd\b"
    return [line for line in lines_with(pattern) if not re.search("/instruments/|/scalpdesk_testing/", line)]


def broad_excepts() -> list[str]:
    """Return handlers of any exception that neither raise it again nor say on their line why they do not."""
    found = []
    for path in _sources():
        text = path.read_text("utf-8")
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            is_broad = node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}
            raises = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            if is_broad and not raises and "BLE001 - " not in lines[node.lineno - 1]:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


SUBJECTS = {"conformance", "property", "golden", "determinism", "faults"}
"""Folders of tests that hold the whole product to a law."""
NO_MODULES = {"docs", "rules", "examples", "release"}
"""Folders of tests of what is no module of the product."""


def _test_files() -> list[Path]:
    return [path for folder, _ in _tested() for path in sorted(folder.rglob("test_*.py"))]


def _tested() -> list[tuple[Path, Path]]:
    """Return each folder of tests, with the package that it tests."""
    parts = [
        (part / "tests", part / "src" / f"scalpdesk_{part.name}")
        for part in sorted((ROOT / "parts").glob("*"))
    ]
    return [(ROOT / "tests", ROOT / "src" / "scalpdesk"), *parts]


def misplaced_tests() -> list[str]:
    """Return test files that no module explains.

    ``tests/<package>/test_<module>.py`` and ``test_<module>_<subject>.py`` test
    ``src/scalpdesk/<package>/<module>.py``; ``<module>`` may be a package. The same holds in each part.
    """
    found = []
    files = ((path, *of) for of in _tested() for path in sorted(of[0].rglob("test_*.py")))
    for path, tests, source in files:
        place = path.relative_to(tests)
        if place.parts[0] in SUBJECTS | NO_MODULES:
            continue
        package = source / place.parent
        parts = path.stem.removeprefix("test_").split("_")
        names = ("_".join(parts[:length]) for length in range(1, len(parts) + 1))
        if not any(
            (package / f"{name}.py").is_file() or (package / name / "__init__.py").is_file() for name in names
        ):
            found.append(str(path.relative_to(ROOT)))
    return found


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def private_names() -> list[str]:
    """Return the places where tests import a private name or read one of another object."""
    found = []
    for path in _test_files():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and _is_private(node.attr):
                owner = node.value
                names = [] if isinstance(owner, ast.Name) and owner.id in {"self", "cls"} else [node.attr]
            elif isinstance(node, ast.ImportFrom):
                names = [alias.name for alias in node.names if _is_private(alias.name)]
            else:
                continue
            found += [f"{path.relative_to(ROOT)}:{node.lineno}: {name}" for name in names]
    return found


def calls_in_tests(called: str) -> list[str]:
    """Return the places where test files call a function, by its dotted name or the end of it."""
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in _test_files()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and f".{ast.unparse(node.func)}".endswith(f".{called}")
    ]


def _module(path: Path) -> str:
    """Return the dotted name of a file of the source."""
    return ".".join(path.with_suffix("").parts).rpartition(".src.")[2].removesuffix(".__init__")


def _doors() -> dict[str, str]:
    """Return what each door promises, by its name: the text of the stub beside it."""
    folders = (ROOT / "src", ROOT / "parts")
    return {
        _module(path): path.read_text("utf-8") for folder in folders for path in sorted(folder.rglob("*.pyi"))
    }


def imports_past_doors() -> list[str]:
    """Return what pages and examples import that no door promises, and what the desk imports from a door."""
    doors = _doors()
    template = ROOT / "src" / "scalpdesk" / "cli" / "starter.py"
    patterns = ("README.md", "docs/**/*.md", "examples/**/*.md", "examples/**/*.py", "notebooks/*.ipynb")
    pages = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in [*pages, *filter(Path.is_file, [template])]
        for home, names in _IMPORT.findall(path.read_text("utf-8"))
        for name in re.findall(r"\w+", names) or [home]
        if f" as {name}" not in doors.get(home, "") and not (name == home and home in doors)
    ]
    return found + [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.module}"
        for path in _sources()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in doors and path != template
        if _module(path).partition(".")[0] == node.module.partition(".")[0]
        if any(f" as {alias.name}" in doors[node.module] for alias in node.names)
    ]


def doors_upstairs() -> list[str]:
    """Return what the door of a package hands on from a floor above it; a linter reads no stub."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    floors = next(each["layers"] for each in contracts if each["type"] == "layers")
    floor = {name: number for number, names in enumerate(floors) for name in names.split(" | ")}
    return [
        f"{module}: {home}"
        for module, stub in _doors().items()
        for home in re.findall(r"^from (scalpdesk\.\w+)", stub, re.MULTILINE)
        if floor.get(home, len(floors)) < floor.get(module, 0)
    ]


_IMPORT = re.compile(
    r'^[ ">]*(?:from|import) (scalpdesk[\w.]*)(?: import (\([^)]*\)|[^#\n\\]*))?', re.MULTILINE
)
"""An import on a page, in a file or in a notebook's cell."""


def _package(module: str) -> str:
    """Return the package that a module is of: of ``scalpdesk`` the one below it, else a part."""
    return ".".join(module.split(".")[: 2 if module.startswith("scalpdesk.") else 1])


def crossing_names() -> list[str]:
    """Return the names that a package of the source imports from another one past its door, each once."""
    found: set[str] = set()
    doors = _doors()
    for path in _sources():
        own = _package(_module(path))
        found |= {
            f"{node.module}.{alias.name}"
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scalpdesk")
            if node.module not in doors
            for alias in node.names
            if _package(f"{node.module}.{alias.name}") != own
        }
    return sorted(found)


LIMITS = {
    "classes_twice": 0,
    "kind_tests": 0,
    "lines_with": 10,
    "broad_excepts": 0,
    "crossing_names": 1_685,
}
"""Most that the list of each of these functions may have."""


def closure() -> dict[str, int]:
    """Return the modules that the gamma scalper in a backtest and live at Alpaca loads, with their lines.

    Imports within functions count, those for the type checker alone do not; a door's name counts as its home.
    """
    texts = {_module(path): path.read_text("utf-8") for path in _sources()}
    homes = {
        f"{door}.{alias.asname or alias.name}": f"{node.module}"
        for door, stub in _doors().items()
        for node in ast.parse(stub).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    begins = ("scalpdesk.strategies.gamma_scalper", "scalpdesk.backtesting.runs", "scalpdesk.live.run")
    waiting, found = [name for name in texts if name.startswith((*begins, "scalpdesk_alpaca"))], {}
    while waiting:
        name = waiting.pop()
        while name and name not in texts:
            name = name.rpartition(".")[0]
        if not name or name in found:
            continue
        found[name] = len(texts[name].splitlines())
        nodes = [ast.parse(texts[name])]
        for node in nodes:
            nodes += [] if _is_for_types(node) else ast.iter_child_nodes(node)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scalpdesk"):
                whole = (f"{node.module}.{alias.name}" for alias in node.names)
                waiting += [node.module, *(homes.get(each, each) for each in whole)]
    return found


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def print_figures(*, in_full: bool) -> list[str]:
    """Print what the house rules limit, each beside its limit; return the names of what exceeds it."""
    figures = {
        "class names that stand twice": (classes_twice(), LIMITS["classes_twice"]),
        "tests of an instrument's kind outside instruments/": (kind_tests(), LIMITS["kind_tests"]),
        "type: ignore": (lines_with(r"#\s*type: ignore"), LIMITS["lines_with"]),
        "broad excepts without a reason": (broad_excepts(), LIMITS["broad_excepts"]),
        "orders that strategies make past the plan": (orders_by_hand(), 1),  # one measures a risk
        "imports past a door": (imports_past_doors(), 0),
        "names at a door from a floor above": (doors_upstairs(), 0),
        "names that packages import from one another": (crossing_names(), LIMITS["crossing_names"]),
        "test files out of place": (misplaced_tests(), 0),
        "private names in tests": (private_names(), 217),
        "monkeypatch.setattr in tests": (calls_in_tests("monkeypatch.setattr"), 120),
        "SimpleNamespace in tests": (calls_in_tests("SimpleNamespace"), 19),
    }
    for name, (listed, most) in figures.items():
        print(f"{name}: {len(listed)} (at most {most})")
        if in_full:
            print(*(f"  {line}" for line in listed), sep="\n")
    exceeded = [name for name, (listed, most) in figures.items() if len(listed) > most]
    loaded, name = closure(), "lines that the gamma scalper, its backtest and its desk at Alpaca load"
    print(f"{name}: {sum(loaded.values())}")
    for name in exceeded:
        print(f"too many: {name} (--figures lists them)")
    return exceeded


def main(words: list[str]) -> int:
    """Check, and return the exit code."""
    return bool(print_figures(in_full="--figures" in words))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
