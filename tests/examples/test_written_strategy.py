"""docs/developing/write_a_strategy.md, done as it is written: installed, run, refused, replayed, tested."""

import importlib.util
import re
import sys

import pytest

from tests.docs.pages import DOCS, install_page

pytestmark = pytest.mark.second

_WHOLE = re.MULTILINE | re.DOTALL
PAGE = DOCS / "developing" / "write_a_strategy.md"


@pytest.fixture
def files(tmp_path, monkeypatch):
    found = install_page(PAGE, tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield found
    for module in [name for name in sys.modules if name.partition(".")[0] == "morning_straddle"]:
        del sys.modules[module]


def test_every_command_prints_what_the_page_shows(files, monkeypatch):
    spec = importlib.util.spec_from_file_location("shown_outputs", DOCS / "shown_outputs.py")
    shown_outputs = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "shown_outputs", shown_outputs)
    spec.loader.exec_module(shown_outputs)
    commands = list(shown_outputs.shown_commands("docs/developing/write_a_strategy.md"))
    assert len([command for command in commands if command.lines]) == 4
    done = list(shown_outputs.outputs(commands))
    lost = {" ".join(command.words): shown_outputs.missing(command, printed) for command, printed in done}
    assert {words: lines for words, lines in lost.items() if lines} == {}
    for command, printed in done:  # to the figure, unless a line is cut
        assert [line for line in command.lines if not line.endswith("…") and line not in printed] == []
        if command.words[0] == "backtest":
            (counts,) = re.findall(r"(\d+) orders, (\d+) fills", " ".join(printed))
            assert counts[0] == counts[1]  # no order refused: a hedge through zero goes in two
        if command.words[0] == "report":
            assert "it is 15:45" in printed[-1]


def test_the_test_of_the_page_passes(files):
    scope = {}
    exec(files["tests/test_strategy.py"], scope)
    tests = [run for name, run in scope.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


def test_the_settings_of_the_page_are_accepted(files, tmp_path):
    from scalpdesk.config.settings import load_settings

    (block,) = re.findall(
        r"^```toml\n(# scalpdesk.toml\n.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    (tmp_path / "scalpdesk.toml").write_text(block, encoding="utf-8")
    config = load_settings("morning-straddle", cwd=tmp_path).strategy_config
    assert (config.delta_shares, f"{config.buy_at:%H:%M}") == (10, "10:30")
