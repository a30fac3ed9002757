"""Print the test files nearest to what changed, the nearest first: ``make reached`` runs them.

python tests/rules/reach.py [BASE]

Without a base: since the branch left main, or since the commit before; what is not committed counts, too.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_FILES = 40
"""As many take about two minutes on two cores; the whole suite follows anyway."""
FOLDERS = (
    (r"src/scalpdesk/web/static/.*", "tests/web/"),
    (r"((?:parts/\w+/)?)src/\w+/((?:.*/)?)[^/]+", r"\1tests/\2"),
    (r"((?:parts/\w+/)?tests/(?:.*/)?)(?!conftest|test_)[^/]+", r"\1"),
    (r"docs/.*|[A-Z]+\.md", "tests/docs/"),
    (r"(?:examples|notebooks)/.*", "tests/examples/"),
)
"""Where the tests of a changed file lie, by the first row that matches; else no test is near."""


def _git(words: str) -> list[str]:
    command = ["git", "-c", "core.quotePath=false", *words.split()]
    try:
        return subprocess.check_output(command, cwd=ROOT, stderr=subprocess.DEVNULL, text=True).splitlines()
    except (OSError, subprocess.CalledProcessError):  # no git, no checkout, no such commit
        return []


def _base() -> str:
    bases = ("merge-base HEAD main", "merge-base HEAD origin/main", "rev-parse --verify HEAD~1")
    commits = (commit for words in bases for commit in _git(words) if [commit] != _git("rev-parse HEAD"))
    return next(commits, "HEAD")


def _home(path: str) -> str:
    matches = ((re.fullmatch(row, path), folder) for row, folder in FOLDERS)
    return next((match.expand(folder) for match, folder in matches if match), "nowhere/")


def _module(path: str) -> str:
    return re.sub(r"^(parts/\w+/)?src/|(/__init__)?\.py$", "", path).replace("/", ".")


def _imports(path: str) -> set[tuple[str, str]]:
    """Return (module, module and name) of each import."""
    nodes = list(ast.walk(ast.parse((ROOT / path).read_text("utf-8"))))
    plain = {(alias.name,) * 2 for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    sources = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return plain | {(f"{of.module}", f"{of.module}.{alias.name}") for of in sources for alias in of.names}


def _files(name: str) -> list[str]:
    folders = (ROOT / "src", ROOT / "tests", *sorted(ROOT.glob("parts/*")))
    return [path.relative_to(ROOT).as_posix() for folder in folders for path in folder.rglob(name)]


def _names(changed: set[str]) -> set[str]:
    """Return the changed modules, and the names under which packages pass on what lies in them."""
    modules = {_module(path) for path in changed if path.endswith(".py")}
    passed = {
        f"{_module(path)}.{name.rpartition('.')[2]}"
        for path in _files("__init__.py")
        for source, name in _imports(path)
        if not modules.isdisjoint((source, name))
    }
    return modules | passed


def reached(changed: set[str]) -> list[str]:
    """Return the tests that changed, are named as a changed module, import it, or lie beside such."""
    names, homes = _names(changed), {path: _home(path) for path in changed}
    stems = tuple(f"{home}test_{Path(path).stem}_" for path, home in homes.items() if path.endswith(".py"))
    found = []
    for test in _files("test_*.py"):
        is_beside = f"{Path(test).parent.as_posix()}/" in homes.values()
        imports = any(not names.isdisjoint(pair) for pair in _imports(test))
        near = (test in changed, f"{test[:-3]}_".startswith(stems), imports and is_beside, imports, is_beside)
        found += [(near.index(True), test)] if any(near) else []
    return [test for _, test in sorted(found)]


if __name__ == "__main__":
    since = sys.argv[1] if sys.argv[1:] else _base()
    listings = (f"diff --name-only --no-renames --relative {since}", "ls-files -o --exclude-standard")
    changed = {path for words in listings for path in _git(words)}
    tests = reached(changed)
    print(f"files known to have changed: {len(changed)}, test files near them: {len(tests)}", file=sys.stderr)
    print("\n".join(tests[:MOST_FILES]))
