import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("check.py")


@pytest.fixture
def check(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("rules_check", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "src").mkdir()
    return module


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("one = 1", "the name 'one'"),
        ("for one in (): pass", "the name 'one'"),
        ("f = lambda one: 0", "the name 'one'"),
        ("class LastTold: pass", "the name 'LastTold'"),
        ("def that_pay(): pass", "the name 'that_pay'"),
        ("self.lets_go = 0", "the name 'lets_go'"),
        ('"""The venue\'s word of\nit."""', "the words 'word of'"),
        ("x = f'{x} was said'", "the words 'said'"),
        ("x = 1  # it comes round", "the words 'comes round'"),
    ],
)
def test_a_banned_word_is_found_where_it_stands(check, tmp_path, code, what):
    path = tmp_path / "src" / "a.py"
    path.write_text(f"x = self = 0\n{code}\n")
    assert check.findings_in(path) == [f"src/a.py:2: {what}"]


@pytest.mark.parametrize("code", ["once = nobody = 1", "x = 'told'", "def lone(): pass", "# one: amend"])
def test_other_words_are_free(check, tmp_path, code):
    path = tmp_path / "src" / "a.py"
    path.write_text(code)
    assert check.findings_in(path) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('"""Return it.\n\nOf a desk in coin it is coin."""', "a sentence that begins with Of"),
        ("x = 1\n# the price\n# Of the peak.", "a sentence that begins with Of"),
        ('x = 0\n\n"""What it reads."""', "a text that begins with What, Who or How"),
        ('x = 0\n\n"""Limit; 0 for none."""', "none as a noun"),
        ('x = 0\n\n"""Nobody holds it."""', "a word that a colleague would not say aloud"),
    ],
)
def test_foreign_syntax_is_found_where_it_stands(check, tmp_path, text, what):
    path = tmp_path / "src" / "a.py"
    path.write_text(text)
    assert check.foreign_sentences([path]) == [f"src/a.py:3: {what}"]


@pytest.mark.parametrize(
    "text",
    ['"""Return the price of it, none of the rest."""', "# What is it?", 'x = "none"', '"""Use `none`."""'],
)
def test_plain_syntax_is_free(check, tmp_path, text):
    path = tmp_path / "src" / "a.py"
    path.write_text(text)
    assert check.foreign_sentences([path]) == []


def test_every_file_is_checked(check, tmp_path, capsys):
    for name, code in (("a", "one = 1"), ("b", "two = 2")):
        (tmp_path / "src" / f"{name}.py").write_text(code)
    assert check.check_words() == 1
    assert "src/a.py:1: the name 'one'" in capsys.readouterr().out


def test_a_class_name_stands_once_but_for_protocols(check, tmp_path):
    for name in ("venues/alpaca/gateway", "venues/ibkr/gateway", "risk/gate", "live/gate"):
        path = tmp_path / "src" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("class Gateway: pass" if "gateway" in name else "class Gate: pass")
    assert check.classes_twice() == ["Gate: live/gate.py, risk/gate.py"]


@pytest.mark.parametrize(
    ("handler", "found"),
    [
        ("except Exception:\n    pass", ["src/a.py:3"]),
        ("except BaseException as error:\n    close()", ["src/a.py:3"]),
        ("except:\n    raise RetryError from None", ["src/a.py:3"]),
        ("except BaseException:\n    close()\n    raise", []),
        ("except Exception:  # noqa: BLE001 - the next round tries again\n    pass", []),
        ("except OSError:\n    pass", []),
    ],
)
def test_a_broad_except_raises_again_or_has_a_reason(check, tmp_path, handler, found):
    (tmp_path / "src" / "a.py").write_text(f"try:\n    work()\n{handler}\n")
    assert check.broad_excepts() == found


def test_a_kind_is_asked_for_in_instruments_alone(check, tmp_path):
    for name in ("instruments", "risk"):
        (tmp_path / "src" / name).mkdir()
        (tmp_path / "src" / name / "a.py").write_text("isinstance(found, OptionContract)\nfound.is_option\n")
    assert check.kind_tests() == ["src/risk/a.py:1"]


@pytest.mark.parametrize(
    ("figure", "most"),
    [
        ("classes_twice", 0),
        ("kind_tests", 0),
        ("lines_with", 10),
        ("broad_excepts", 0),
        ("imported_by_one", 84),
    ],
)
def test_a_figure_above_its_limit_fails_the_check(check, monkeypatch, figure, most):
    monkeypatch.setattr(check, "imported_by_one", list)
    monkeypatch.setattr(check, "kind_tests", list)
    for count, code in ((most, 0), (most + 1, 1)):
        monkeypatch.setattr(check, figure, lambda *_, found=count: ["x"] * found)
        assert check.main([]) == code


@pytest.mark.parametrize(
    ("place", "misplaced"),
    [
        ("risk/test_gate.py", False),
        ("risk/test_gate_bounds.py", False),
        ("risk/test_bands_fixed.py", False),
        ("property/test_anything.py", False),
        ("docs/test_pages.py", False),
        ("risk/test_gates.py", True),
        ("risk/test_bounds_gate.py", True),
        ("regime/test_gate.py", True),
        ("test_gate.py", True),
    ],
)
def test_a_test_file_is_named_after_a_module_of_its_package(check, tmp_path, place, misplaced):
    for name in ("src/scalpdesk/risk/gate.py", "src/scalpdesk/risk/bands/__init__.py", f"tests/{place}"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert check.misplaced_tests() == [f"tests/{place}"] * misplaced


def test_scaffolding_in_tests_is_counted_by_line(check, tmp_path):
    path = tmp_path / "tests" / "test_a.py"
    path.parent.mkdir()
    path.write_text(
        "from gate import _Gate, Open\n"
        "gate._shut, self._own, gate.open, gate.__class__\n"
        "monkeypatch.setattr(gate, 'open', 1)\n"
        "types.SimpleNamespace(a=1), SimpleNamespace()\n"
    )
    assert check.private_names() == ["tests/test_a.py:1: _Gate", "tests/test_a.py:2: _shut"]
    assert check.calls_in_tests("monkeypatch.setattr") == ["tests/test_a.py:3"]
    assert check.calls_in_tests("SimpleNamespace") == ["tests/test_a.py:4"] * 2
