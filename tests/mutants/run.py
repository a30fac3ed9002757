"""Change the source in small ways and see whether the tests of its package notice: ``make mutants``.

    python tests/mutants/run.py [--seed N] [--count 300] [--workers 2] [--packages orders ...] [--only ...]

A mutant changes one comparison, operator, constant, condition, return value or statement. The sample is
drawn by the seed. Each package's tests first run unchanged, under coverage, the programs that they start with
them: a mutant then meets the tests that execute its line, the quick tests first, and dies at the first fault
or at the time limit.

Each worker first asks a fork of a process that has collected all tests (``judge_in_forks.py``). What survives
there is judged once more by a process of its own in a changed copy of the source, against the tests whose
programs execute the line; what no fork can judge, a constant or what importing executes, meets all its tests
there. Nothing is ever written to the checkout.

Exit 1 when fewer than nine of ten die. The sample is drawn from ``--packages``; of it ``--only`` judges the
mutants of some, so that a run can be parted without another draw. What survived the last whole run, and why,
is in ``survivors.md``.

Why not mutmut: it puts the mutants of each function behind a switch in the running process and tests them
all; it draws no sample by seed and leaves constants of modules and classes out. Why not cosmic-ray: a session
has one test command and all mutants, changed in place; the choice of tests by line, the sample by seed and
the trees of the workers would all be written around it.
"""

import argparse
import ast
import copy
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from queue import SimpleQueue

from coverage import CoverageData
from coverage.exceptions import DataError

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("orders", "portfolio", "risk", "simulation", "venues", "live", "engine")
TESTS = {
    "orders": ("orders", "engine", "venues"),
    "portfolio": ("portfolio", "engine", "simulation", "backtesting", "web"),
    "risk": ("risk", "engine", "backtesting"),
    "simulation": ("simulation", "exchange", "venues", "backtesting", "parts/alpaca/tests"),
    "venues": ("venues", "exchange", "live", "parts/alpaca/tests", "parts/deribit/tests"),
    "live": ("live", "venues"),
    "engine": ("engine", "simulation", "backtesting", "live", "determinism"),
}
"""Folders of a package's tests below ``tests``, or of a part: its own, and those of what stands on it."""
SHARED_TESTS = ("conformance", "faults", "property")
"""Folders of tests that concern every package."""
FIRST_STAGE = "not slow and not pages and not second"
"""The tests that ``make test`` runs: what each push meets."""
LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", ".hypothesis", ".*_cache", ".coverage*", "runs", "dist")
MOST_TEST_SECONDS = 20.0
"""Longest time of the tests, run unchanged, that a mutant meets."""
DEAD = ("killed", "time limit")
MUST_DIE = 0.9
OUTPUT = "output.txt"
"""Output of the last run of pytest, in its tree."""

COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    package: str
    path: str
    line: int
    span: tuple[int, int]
    """First and last byte of what is replaced."""
    before: str
    after: str
    at_import: bool
    """Whether importing the module executes it: a constant, a default."""


@dataclass(frozen=True)
class Verdict:
    """End of a mutant: ``killed``, ``time limit``, ``survived`` or ``no test runs it``."""

    mutant: Mutant
    ending: str
    in_fork: bool = False
    """Whether a fork sufficed, without a process of its own."""


# mutants -------------------------------------------------------------------------------------------------


def mutants_of(package: str, path: Path) -> Iterator[Mutant]:
    """Yield every mutant of a file."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    tree = ast.parse(source)
    skipped = _skipped(tree)
    in_bodies = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for statement in node.body
        for line in range(statement.lineno, (statement.end_lineno or 0) + 1)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        for part, changed in _changes(node):
            assert part.end_lineno is not None
            assert part.end_col_offset is not None
            first = starts[part.lineno - 1] + part.col_offset
            last = starts[part.end_lineno - 1] + part.end_col_offset
            after = ast.unparse(changed)
            if isinstance(part, ast.expr) and not isinstance(part, ast.Constant):
                after = f"({after})"
            yield Mutant(
                package,
                str(path.relative_to(ROOT)),
                part.lineno,
                (first, last),
                ast.unparse(part),
                after,
                part.lineno not in in_bodies,
            )


def _skipped(tree: ast.Module) -> set[ast.AST]:
    """Return what is no behaviour: annotations, formatted text, ``__all__`` and ``TYPE_CHECKING``."""
    roots: list[ast.AST] = []
    for node in ast.walk(tree):
        match node:
            case ast.JoinedStr() | ast.If(test=ast.Name("TYPE_CHECKING")):
                roots.append(node)
            case ast.Assign(targets=[ast.Name("__all__")]):
                roots.append(node)
        roots += [found for name in ("annotation", "returns") if (found := getattr(node, name, None))]
    return {inner for root in roots for inner in ast.walk(root)}


def _changes(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, ast.AST]]:
    """Yield which part of a node may be changed, and to what."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARISONS:
            yield node, _with(node, ops=[COMPARISONS[type(op)]()])
        case ast.BoolOp(op=op):
            yield node, _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield node, operand
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATORS:
            yield node, _with(node, op=OPERATORS[type(op)]())
        case ast.Constant(value=bool(value)):
            yield node, ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield node, ast.Constant(value + 1)
        case (
            ast.If(test=ast.Name() | ast.Attribute() | ast.Call() as test)
            | ast.While(test=ast.Name() | ast.Attribute() | ast.Call() as test)
            | ast.IfExp(test=ast.Name() | ast.Attribute() | ast.Call() as test)
        ):
            yield test, ast.UnaryOp(ast.Not(), test)
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield node, ast.Return(ast.Constant(None))
        case ast.Break():
            yield node, ast.Continue()
        case ast.Continue():
            yield node, ast.Break()
        case ast.Raise() | ast.Expr(value=ast.Call() | ast.Await()):
            yield node, ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield node, ast.Pass()


def apply(mutant: Mutant, source: bytes) -> bytes:
    """Return the source with the mutant in it."""
    first, last = mutant.span
    return source[:first] + mutant.after.encode() + source[last:]


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


# tests ---------------------------------------------------------------------------------------------------


def make_tree(folder: Path) -> Path:
    """Copy the checkout, its compiled files with it, and put the data beside it where there are any."""
    tree = folder / ROOT.name
    shutil.copytree(ROOT, tree, ignore=LEFT_OUT, symlinks=True)
    shared = ROOT.parent / "shared"
    if shared.exists():
        (folder / "shared").symlink_to(shared.resolve())
    return tree


def start_pytest(
    tree: Path, arguments: list[str], pass_fds: Sequence[int] = (), **environ: str
) -> subprocess.Popen[bytes]:
    """Start pytest in a tree."""
    paths = [tree / "src", *sorted((tree / "parts").glob("*/src")), Path(__file__).parent]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), **environ}
    quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--hypothesis-seed=0", "-m", FIRST_STAGE]
    with (tree / OUTPUT).open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *quiet, *arguments],
            cwd=tree,
            env=environ,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it started, if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_pytest(tree: Path, arguments: list[str], seconds: float | None = None, **environ: str) -> int | None:
    """Run tests in a tree; return the exit code, or None at the time limit."""
    process = start_pytest(tree, arguments, **environ)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        end(process)


def path_of(folder: str) -> str:
    """Return where a folder of tests lies."""
    return folder if "/" in folder else f"tests/{folder}"


def folders_of(package: str) -> tuple[str, ...]:
    """Return the folders of a package's tests."""
    return (*TESTS.get(package, (package,)), *SHARED_TESTS)


@dataclass(frozen=True)
class Measured:
    """The tests of a folder: which lines of the packages each executes, and how long it takes."""

    tests: dict[tuple[str, int], set[str]]
    """By file and line; among them ``""`` where importing executes the line."""
    by_programs: dict[tuple[str, int], set[str]]
    """Those of them that start a program that executes the line."""
    seconds: dict[str, float]


def measure(folder: str, packages: Sequence[str], tree: Path) -> Measured:
    """Run a folder's tests unchanged; the programs that they start count too, where they are not killed."""
    name = folder.replace("/", "-")
    data_file, times_file = tree / f"coverage.{name}", tree / f"times.{name}.json"
    config, of_programs = tree / "coverage.ini", tree / "coverage.programs.ini"
    sources = [tree / "src" / "scalpdesk" / package for package in packages]
    config.write_text(f"[run]\ndata_file = {data_file}\n", "utf-8")
    of_programs.write_text(
        f"[run]\ndata_file = {data_file}.programs\nparallel = true\nsigterm = true\n"
        f"source = {','.join(map(str, sources))}\ncontext = ${{PYTEST_CURRENT_TEST}}\n",
        "utf-8",
    )
    coverage = [*(f"--cov={source}" for source in sources), "--cov-context=test", "--cov-report="]
    code = run_pytest(
        tree,
        [path_of(folder), *coverage, f"--cov-config={config}", "-p", "record_times"],
        PYTEST_MUTANTS_TIMES=str(times_file),
        PYTEST_MUTANTS_PROGRAMS=str(of_programs),
    )
    output = (tree / OUTPUT).read_text("utf-8")
    if code not in (0, 1):
        raise SystemExit(f"{output[-3_000:]}\nthe tests in {folder} do not run: pytest ended {code}")
    for line in re.findall("^FAILED .*", output, re.MULTILINE):  # they count calls, the coverage's too
        print(f"left out, fails under coverage: {line}", flush=True)
    seconds = json.loads(times_file.read_text("utf-8"))
    tests: dict[tuple[str, int], set[str]] = {}
    by_programs: dict[tuple[str, int], set[str]] = {}
    for written in (data_file, *tree.glob(f"{data_file.name}.programs.*")):
        data = CoverageData(str(written))
        try:
            data.read()
        except DataError:
            if written == data_file:
                raise
            continue  # a program was killed while it wrote
        for path in data.measured_files():
            name = str(Path(path).relative_to(tree))
            for line, contexts in data.contexts_by_lineno(path).items():
                for context in contexts:
                    # pytest-cov appends "|run" to a test's name, pytest itself, for programs, " (call)"
                    test = re.sub(r"(\|\w+| \(\w+\))$", "", context)
                    if not test or test in seconds:
                        tests.setdefault((name, line), set()).add(test)
                        if context.endswith(")"):
                            by_programs.setdefault((name, line), set()).add(test)
    return Measured(tests, by_programs, seconds)


class TestsOfPackage:
    """Which tests of a package execute which line, and how long each takes."""

    def __init__(self, folders: Sequence[Measured]) -> None:
        self._folders = folders
        self.seconds = {test: took for folder in folders for test, took in folder.seconds.items()}

    def on(self, mutant: Mutant, *, by_programs: bool = False) -> list[str]:
        """Return the tests that execute the line: for half of the time its package's own, quick tests first.

        What importing executes is met by the tests of its file.
        """
        chosen: list[str] = []
        left = 0.5 * MOST_TEST_SECONDS
        for folders in (self._folders[:1], self._folders):
            found = {
                test
                for folder in folders
                for (path, line), tests in (folder.by_programs if by_programs else folder.tests).items()
                if path == mutant.path and (mutant.at_import or line == mutant.line)
                for test in tests
                if test
            }
            for test in sorted(found.difference(chosen), key=lambda name: (self.seconds[name], name)):
                if chosen and left < self.seconds[test]:
                    break
                chosen.append(test)
                left -= self.seconds[test]
            left += 0.5 * MOST_TEST_SECONDS
        return chosen

    def is_imported(self, mutant: Mutant) -> bool:
        """Return whether importing executes the line, which a fork has done before it changes the code."""
        place = mutant.path, mutant.line
        return mutant.at_import or any("" in folder.tests.get(place, ()) for folder in self._folders)


class Worker:
    """A tree and the process that forks in it; one mutant at a time."""

    def __init__(self, folder: Path) -> None:
        self.tree = make_tree(folder)
        self._process: subprocess.Popen[bytes] | None = None

    def collect(self, folders: Sequence[str]) -> None:
        """Start the process that forks, with the tests of these folders."""
        self._forks, theirs = Pipe()
        plugin = ["-p", "judge_in_forks", f"--basetemp={self.tree.parent / 'tmp'}"]
        self._process = start_pytest(
            self.tree,
            [*plugin, *map(path_of, folders)],
            [theirs.fileno()],
            PYTEST_MUTANTS_CONNECTION=str(theirs.fileno()),
        )
        theirs.close()
        try:
            self._forks.recv()
        except EOFError:
            output = (self.tree / OUTPUT).read_text("utf-8")
            raise SystemExit(f"{output[-3_000:]}\nthe tests cannot be collected") from None

    def close(self) -> None:
        """End the process that forks."""
        if self._process is not None:
            end(self._process)
            self._forks.close()

    def in_fork(self, mutant: Mutant, tests: Sequence[str], limit: float) -> str:
        """Return how the mutant ended in a fork."""
        changed = apply(mutant, (ROOT / mutant.path).read_bytes())
        self._forks.send((mutant.path, mutant.line, changed, tests, limit))
        return str(self._forks.recv())

    def in_own_process(self, mutant: Mutant, tests: Sequence[str], limit: float) -> str:
        """Return how the mutant ended in a changed source; put the tree right again."""
        target, original = self.tree / mutant.path, ROOT / mutant.path
        target.write_bytes(apply(mutant, original.read_bytes()))
        listed = self.tree / "chosen.txt"
        listed.write_text("\n".join(tests), "utf-8")
        try:
            code = run_pytest(self.tree, ["-x", f"@{listed}"], limit, PYTHONDONTWRITEBYTECODE="1")
        finally:
            shutil.copy2(original, target)
        return "time limit" if code is None else "killed" if code else "survived"


def judge(mutant: Mutant, tests: TestsOfPackage, worker: Worker) -> Verdict:
    """Judge a mutant in a fork, and by a process of its own where that does not decide."""
    chosen = tests.on(mutant)
    if not chosen:
        return Verdict(mutant, "no test runs it")
    if not tests.is_imported(mutant):
        ending = worker.in_fork(mutant, chosen, 10.0 + 4.0 * sum(tests.seconds[test] for test in chosen))
        if ending == "survived":
            chosen = tests.on(mutant, by_programs=True)
        if ending in DEAD or not chosen:
            return Verdict(mutant, ending, in_fork=True)
    limit = 30.0 + 4.0 * sum(tests.seconds[test] for test in chosen)
    return Verdict(mutant, worker.in_own_process(mutant, chosen, limit))


def main() -> int:
    """Draw the mutants, judge them and print what survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    every_package = sorted(path.parent.name for path in ROOT.glob("src/scalpdesk/*/__init__.py"))
    parser.add_argument("--packages", nargs="+", choices=every_package, default=list(PACKAGES))
    parser.add_argument("--only", nargs="+", choices=every_package, default=every_package)
    options = parser.parse_args()
    began = time.monotonic()
    every = [
        mutant
        for package in options.packages
        for path in sorted((ROOT / "src" / "scalpdesk" / package).rglob("*.py"))
        for mutant in mutants_of(package, path)
    ]
    drawn = random.Random(options.seed).sample(every, min(options.count, len(every)))
    print(f"seed {options.seed}: {len(drawn)} of {len(every)} mutants", flush=True)
    drawn = [mutant for mutant in drawn if mutant.package in options.only]
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        workers = [Worker(Path(scratch) / str(number)) for number in range(options.workers)]
        idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in workers:
            idle.put(worker)

        packages = sorted({mutant.package for mutant in drawn})
        folders = sorted({folder for package in packages for folder in folders_of(package)})

        def measured(folder: str) -> Measured:
            worker = idle.get()
            try:
                return measure(folder, packages, worker.tree)
            finally:
                idle.put(worker)

        def judged(mutant: Mutant) -> Verdict:
            worker = idle.get()
            try:
                return judge(mutant, tests[mutant.package], worker)
            finally:
                idle.put(worker)

        with ThreadPoolExecutor(options.workers) as pool, ExitStack() as at_end:
            by_folder = dict(zip(folders, pool.map(measured, folders), strict=True))
            tests = {
                package: TestsOfPackage([by_folder[folder] for folder in folders_of(package)])
                for package in packages
            }
            print(f"tests without a mutant: {time.monotonic() - began:.0f} s", flush=True)
            for worker in workers:
                at_end.callback(worker.close)
            for _ in pool.map(lambda worker: worker.collect(folders), workers):
                pass
            verdicts = []
            judging = time.monotonic()
            for judgement in as_completed([pool.submit(judged, mutant) for mutant in drawn]):
                verdict = judgement.result()
                verdicts.append(verdict)
                if verdict.ending != "killed":  # a time limit may be the machine's: to be looked at
                    mutant = verdict.mutant
                    print(f"{mutant.path}:{mutant.line}: {verdict.ending}: {_shown(mutant)}", flush=True)
                if len(verdicts) % 20 == 0:
                    left = (time.monotonic() - judging) * (len(drawn) / len(verdicts) - 1)
                    print(f"{len(verdicts)} of {len(drawn)}; {left / 60:.0f} minutes left", flush=True)
    return report(verdicts, time.monotonic() - began)


def _shown(mutant: Mutant) -> str:
    before, after = (" ".join(text.split()) for text in (mutant.before, mutant.after))
    return f"{before}  ->  {after}"


def report(verdicts: list[Verdict], seconds: float) -> int:
    """Print the table by package; return the exit code."""
    print(f"{'package':<12}{'mutants':>8}{'killed':>8}{'time limit':>12}{'survived':>10}{'not run':>9}")
    endings = {package: Counter[str]() for package in sorted({one.mutant.package for one in verdicts})}
    for verdict in verdicts:
        endings[verdict.mutant.package][verdict.ending] += 1
    for package, count in [*endings.items(), ("all", sum(endings.values(), Counter[str]()))]:
        if count:
            ended = f"{count['killed']:>8}{count['time limit']:>12}"
            left = f"{count['survived']:>10}{count['no test runs it']:>9}"
            print(f"{package:<12}{count.total():>8}{ended}{left}")
    died = sum(verdict.ending in DEAD for verdict in verdicts)
    forked = sum(verdict.in_fork for verdict in verdicts)
    only_alone = sum(verdict.ending in DEAD and not verdict.in_fork for verdict in verdicts)
    print(f"{forked} judged in a fork; {only_alone} of the dead died in a process of their own")
    print(f"{died / max(len(verdicts), 1):.1%} died, in {seconds / 60:.0f} minutes")
    return died < MUST_DIE * len(verdicts)


if __name__ == "__main__":
    sys.exit(main())
