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
