"""Check the words of names, docstrings, messages and pages, and count what the house rules limit.

python tests/rules/check.py            what ``make check`` runs; exit 1 on a finding or above a limit
python tests/rules/check.py FILE ...   the findings of these files
python tests/rules/check.py --figures  what stands behind each figure
"""

import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[2]
CODE = ("src", "testing", "benchmarks", "examples", "docs", "release")
PAGES = ("*.md", "docs/**/*.md", "examples/**/*.md")

BANNED_PARTS = {"said", "told", "farewell", "mend", "mends", "mended"}
"""Never part of a name."""
BANNED_NAMES = re.compile(r"one|that_\w+|\w*(lets_go|come_round|turns?_in_circles|word_of)\w*")
BANNED_TEXT = re.compile(
    r"\b(said|told|farewells?|mend(s|ed|ing)?|lets? go|(come|comes|coming|came) round"
    r"|turn(s|ed|ing)? in circles|words? of|a word)\b",
    re.IGNORECASE,
)
FOREIGN_SYNTAX = {
    "a sentence that begins with Of": r"(?:^|(?<=[.!?:]\s))Of\s(?=\w)",
    "a text that begins with What, Who or How": r"\A(?:What|Who|Whose|How)\s(?=\w)(?![^.]*\?)",
    "none as a noun": r"(?<![\"'/-])\bnone\b(?! (?:of|exists|is|was|has|found)\b)(?![\"'])",
    "ones as a noun": r"\bones\b",
    "a word that a colleague would not say aloud": r"\b(?:[Nn]obody|[Ww]hoever|anew)\b",
}
"""Syntax that a trader or an engineer would not use, and the pattern that finds it."""
FOREIGN_ON_PAGES = ("a sentence that begins with Of", "a word that a colleague would not say aloud")
"""Those that are foreign on a page too: "## How fast" is a heading, and "none" the cell of a table."""
KEPT = {"told"}
"""Names of the public interface: a key of ``selftest --seed N --json``."""


MOST_FOREIGN = 30
"""Sentences of foreign syntax that are left; it only falls."""
MOST_LINES = {"source lines": ("src", 141_000), "lines of tests": ("tests", 137_000)}
"""Budget of each folder. It only falls, but for a feature: a correction takes away at least what it adds."""


def findings_in(path: Path) -> list[str]:
    """Return every banned word of a file with its line."""
    text = path.read_text("utf-8")
    found = set(_in_text(text)) if path.suffix == ".md" else {*_in_names(text), *_in_strings(text)}
    return [f"{path.relative_to(ROOT)}:{line}: {what}" for line, what in sorted(found)]


def _in_text(text: str, first_line: int = 1) -> Iterator[tuple[int, str]]:
    for match in BANNED_TEXT.finditer(text):
        yield first_line + text.count("\n", 0, match.start()), f"the words {match.group()!r}"


def _in_names(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            name = node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            name = node.name
        else:
            continue
        parts = set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_"))
        if BANNED_NAMES.fullmatch(name) or parts & BANNED_PARTS:
            yield node.lineno, f"the name {name!r}"


def _in_strings(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT) and token.string.strip("\"'") not in KEPT:
            yield from _in_text(token.string, token.start[0])


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the paragraphs of a page, or the strings and comments of a module, with their lines; no code."""
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        blank = re.sub(r"```.*?```", lambda block: "\n" * block.group().count("\n"), text, flags=re.DOTALL)
        paragraphs = re.finditer(r"(?:.+\n?)+", blank)
        texts = [(blank.count("\n", 0, match.start()) + 1, match.group()) for match in paragraphs]
    else:
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        kinds = (tokenize.STRING, tokenize.COMMENT)
        texts = [(token.start[0], token.string) for token in tokens if token.type in kinds]
    for line, found in texts:
        plain = re.sub(r"`+[^`]*`+", "x", found.strip().lstrip("frbFRB#\"' "))
        if " " in plain:
            yield (
                line,
                re.sub(r"\n([ \t]*\n)+\s*", lambda gap: "\n" * (gap.group().count("\n") - 1) + ".\n", plain),
            )


def foreign_sentences(paths: Iterable[Path]) -> list[str]:
    """Return the places of sentences whose syntax is foreign to a reader."""
    return [
        f"{path.relative_to(ROOT)}:{line + plain.count(chr(10), 0, match.start())}: {what}"
        for path in paths
        if path.name != "CHANGELOG.md"  # history
        for line, plain in texts_of(path)
        for what, pattern in FOREIGN_SYNTAX.items()
        if path.suffix == ".py" or what in FOREIGN_ON_PAGES
        for match in re.finditer(pattern, plain)
    ]


def all_files() -> list[Path]:
    """Return the files whose words are checked."""
    code = [path for folder in CODE for path in (ROOT / folder).rglob("*.py")]
    pages = [path for pattern in PAGES for path in ROOT.glob(pattern)]
    return sorted({*code, *pages})


def check_words() -> int:
    """Print the findings of all files; return their number."""
    wrong = [line for path in all_files() for line in findings_in(path)]
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"words: {len(wrong)} findings")
    return len(wrong)


# figures --------------------------------------------------------------------------------------------


def classes_twice() -> list[str]:
    """Return class names that stand in several modules, but for one of each venue's protocol."""
    places: dict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "src").rglob("*.py"):
        module = re.sub(r"\b(alpaca|deribit|ibkr)\b", "*", str(path.relative_to(ROOT / "src")))
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].add(module)
    return [f"{name}: {', '.join(sorted(where))}" for name, where in sorted(places.items()) if len(where) > 1]


def lines_with(pattern: str) -> list[str]:
    """Return the lines of the source that match."""
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("src", "testing")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(pattern, line)
    ]


def kind_tests() -> list[str]:
    """Return the lines outside ``instruments/`` that ask for an instrument's class or contract size."""
    kinds = "OptionContract|Equity|Index|Future|Perpetual|LinearPerpetual"
    pattern = rf"isinstance\(.*\b({kinds})\)|\bis (not )?({kinds})\b|\bcontract_usd\b"
    return [line for line in lines_with(pattern) if "/instruments/" not in line]


def broad_excepts() -> list[str]:
    """Return handlers of any exception that neither raise it again nor say on their line why they do not."""
    found = []
    for folder in ("src", "testing"):
        for path in sorted((ROOT / folder).rglob("*.py")):
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


def imported_by_one() -> list[str]:
    """Return modules that one other module alone imports; what is loaded by name is no import."""
    graph = grimp.build_graph("scalpdesk")
    found = []
    for module in sorted(graph.modules):
        importers = graph.find_modules_that_directly_import(module)
        if len(importers) == 1 and not graph.find_children(module):
            found.append(f"{module} <- {min(importers)}")
    return found


SUBJECTS = {"conformance", "property", "golden", "determinism", "faults"}
"""Folders of tests that hold the whole product to a law."""
NO_MODULES = {"docs", "rules", "examples", "oracle", "mutants", "fakes", "release", "testing"}
"""Folders of tests of what is no module of the product."""


def _test_files() -> list[Path]:
    return sorted((ROOT / "tests").rglob("test_*.py"))


def misplaced_tests() -> list[str]:
    """Return test files that no module explains.

    ``tests/<package>/test_<module>.py`` and ``test_<module>_<subject>.py`` test
    ``src/scalpdesk/<package>/<module>.py``; ``<module>`` may be a package.
    """
    found = []
    for path in _test_files():
        place = path.relative_to(ROOT / "tests")
        if place.parts[0] in SUBJECTS | NO_MODULES:
            continue
        package = ROOT / "src" / "scalpdesk" / place.parent
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


def lines_of(folder: str) -> int:
    """Return the lines of the Python files of a folder."""
    return sum(len(path.read_text("utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py"))


def print_figures(*, in_full: bool) -> list[str]:
    """Print what the house rules limit, each beside its limit; return the names of what exceeds it."""
    figures = {
        "class names that stand twice": (classes_twice(), 0),
        "tests of an instrument's kind outside instruments/": (kind_tests(), 0),
        "type: ignore": (lines_with(r"#\s*type: ignore"), 10),
        "broad excepts without a reason": (broad_excepts(), 0),
        "modules imported by one other": (imported_by_one(), 84),
        "sentences of foreign syntax": (
            foreign_sentences([*all_files(), *(ROOT / "tests").rglob("*.py")]),
            MOST_FOREIGN,
        ),
        "test files out of place": (misplaced_tests(), 0),
        "private names in tests": (private_names(), 274),
        "monkeypatch.setattr in tests": (calls_in_tests("monkeypatch.setattr"), 118),
        "SimpleNamespace in tests": (calls_in_tests("SimpleNamespace"), 22),
    }
    exceeded = []
    for name, (folder, most_lines) in MOST_LINES.items():
        lines = lines_of(folder)
        print(f"{name}: {lines} (at most {most_lines})")
        exceeded += [name] * (lines > most_lines)
    for name, (listed, most) in figures.items():
        print(f"{name}: {len(listed)} (at most {most})")
        if in_full:
            print(*(f"  {line}" for line in listed), sep="\n")
    exceeded += [name for name, (listed, most) in figures.items() if len(listed) > most]
    for name in exceeded:
        print(f"too many: {name} (--figures lists them)")
    return exceeded


def main(words: list[str]) -> int:
    """Check, and return the exit code."""
    files = [Path(word).resolve() for word in words if not word.startswith("--")]
    if files:
        found = [line for path in files for line in findings_in(path)]
        print(*found, sep="\n")
        return bool(found)
    wrong = check_words()
    exceeded = print_figures(in_full="--figures" in words)
    return bool(wrong or exceeded)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
