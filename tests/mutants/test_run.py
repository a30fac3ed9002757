import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def mutants():
    spec = importlib.util.spec_from_file_location("mutants_run", Path(__file__).with_name("run.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SOURCE = '''\
LIMIT: int = 5  # größer

def f(self, a: int = -1) -> int:
    """Doc."""
    if a < LIMIT and self.open:
        raise ValueError(f"{a + 1}")
    while self.open:
        break
    self.last = a
    print(a)
    return a * 2
'''
CHANGED = {
    "LIMIT: int = 6",
    "a: int = (1)",
    "a: int = -2",
    "(a <= LIMIT)",
    "(a < LIMIT or self.open)",
    "        pass\n    while",
    "while (not self.open)",
    "continue",
    "    pass\n    print",
    "    pass\n    return",
    "return None",
    "(a / 2)",
    "a * 3",
}


def test_each_small_change_stands_alone_in_a_source_that_still_compiles(mutants, tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    path = tmp_path / "a.py"
    path.write_text(SOURCE, "utf-8")
    found = set()
    for mutant in mutants.mutants_of("risk", path):
        changed = mutants.apply(mutant, path.read_bytes()).decode()
        compile(changed, "a.py", "exec")
        found |= {text for text in CHANGED if text in changed and text not in SOURCE}
        assert changed != SOURCE
    assert found == CHANGED
    assert len(list(mutants.mutants_of("risk", path))) == len(CHANGED)


MODULE = """\
LIMIT = 1


def sign(x):
    return 1 if x > LIMIT else 0
"""
TESTS = """\
from rules import sign


def test_a_positive_number_has_the_sign_1():
    assert sign(2) == 1


def test_fails_without_a_mutant_too():
    assert sign(2) == 2
"""
FREEZES = """\
import gc

def pytest_collection_finish(session):
    gc.freeze()
"""
"""As the conftest of the project's own tests."""


def test_a_fork_kills_what_its_tests_see_and_leaves_constants_to_a_process_of_their_own(
    mutants, tmp_path, monkeypatch
):
    checkout, scratch = tmp_path / "checkout", tmp_path / "scratch"
    files = {
        "src/rules.py": MODULE,
        "tests/test_rules.py": TESTS,
        "tests/conftest.py": FREEZES,
        "pytest.ini": "[pytest]",
    }
    for name, text in files.items():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(text, "utf-8")
    monkeypatch.setattr(mutants, "ROOT", checkout)
    good, bad = (
        f"tests/test_rules.py::{name}"
        for name in ("test_a_positive_number_has_the_sign_1", "test_fails_without_a_mutant_too")
    )
    lines = {("src/rules.py", 5): {good, bad}, ("src/rules.py", 1): {""}}
    tests = mutants.TestsOfPackage([mutants.Measured(lines, {}, {good: 0.0, bad: 0.1})])
    worker = mutants.Worker(scratch)
    try:
        worker.collect(["test_rules.py"])
        verdicts = [
            mutants.judge(mutant, tests, worker)
            for mutant in mutants.mutants_of("risk", checkout / "src" / "rules.py")
        ]
    finally:
        worker.close()
    assert {(one.mutant.line, one.mutant.after, one.ending, one.in_fork) for one in verdicts} == {
        (1, "2", "killed", False),
        (5, "return None", "killed", True),
        (5, "2", "killed", True),
        (5, "(x >= LIMIT)", "survived", True),
        (5, "1", "survived", True),
    }
