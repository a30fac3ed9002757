"""docs/developing/test_a_strategy.md: its tests pass on the strategy of write_a_strategy.md."""

import sys

import pytest

from tests.docs.pages import DOCS, install_page

PAGES = [DOCS / "developing" / name for name in ("write_a_strategy.md", "test_a_strategy.md")]


@pytest.fixture
def tests(tmp_path, monkeypatch):
    files = install_page(PAGES[0], tmp_path, PAGES[1])
    monkeypatch.syspath_prepend(str(tmp_path))
    scope = {}
    exec(files["tests/test_by_hand.py"], scope)
    yield {name: run for name, run in scope.items() if name.startswith("test_")}
    for module in [name for name in sys.modules if name.partition(".")[0] == "morning_straddle"]:
        del sys.modules[module]


def test_the_tests_of_the_page_pass(tests):
    assert len(tests) == 4
    for run in tests.values():
        run()
