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


def test_a_class_name_stands_once_but_for_protocols(check, tmp_path):
    for name in ("parts/alpaca/src/gateway", "parts/ibkr/src/gateway", "src/risk/gate", "src/live/gate"):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("class Gateway: pass" if "gateway" in name else "class Gate: pass")
    assert check.classes_twice() == ["Gate: src/live/gate.py, src/risk/gate.py"]


@pytest.mark.rows(
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


def test_a_name_crosses_where_another_package_imports_it(check, tmp_path):
    (tmp_path / "src" / "scalpdesk" / "risk").mkdir(parents=True)
    text = (
        "from scalpdesk.core.units import ZERO\nfrom scalpdesk.risk.caps import cap\nfrom math import inf\n"
    )
    for name in ("gate", "checks"):
        (tmp_path / "src" / "scalpdesk" / "risk" / f"{name}.py").write_text(text)
    assert check.crossing_names() == ["scalpdesk.core.units.ZERO"]


def test_pages_import_from_doors_alone_and_the_house_from_none(check, tmp_path):
    files = {
        "src/scalpdesk/base.pyi": "from scalpdesk.core.units import ZERO as ZERO\n",
        "src/scalpdesk/risk.py": "from scalpdesk.base import ZERO\nfrom scalpdesk.core.units import ZERO\n",
        "parts/ibkr/src/scalpdesk_ibkr/orders.py": "from scalpdesk.base import ZERO\n",
        "docs/venue.md": "```\nfrom scalpdesk.base import ZERO, ONE\nimport scalpdesk.core\n```\n",
        "notebooks/day.ipynb": '[\n"from scalpdesk.base import ZERO\\n",\n"import scalpdesk.risk"]',
        "examples/own.py": "from scalpdesk.core.units import (\n    ZERO,\n)\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert check.imports_past_doors() == [
        *("docs/venue.md: ONE", "docs/venue.md: scalpdesk.core", "examples/own.py: ZERO"),
        "notebooks/day.ipynb: scalpdesk.risk",
        "src/scalpdesk/risk.py:1: scalpdesk.base",
    ]
    assert check.crossing_names() == ["scalpdesk.core.units.ZERO"]


def test_a_kind_is_asked_for_in_instruments_alone(check, tmp_path):
    for name in ("instruments", "risk"):
        (tmp_path / "src" / name).mkdir()
        (tmp_path / "src" / name / "a.py").write_text("isinstance(found, OptionContract)\nfound.is_option\n")
    assert check.kind_tests() == ["src/risk/a.py:1"]


@pytest.mark.rows("figure", ["classes_twice", "kind_tests", "lines_with", "broad_excepts", "crossing_names"])
def test_a_figure_above_its_limit_fails_the_check(check, monkeypatch, figure):
    most = check.LIMITS[figure]
    monkeypatch.setattr(check, "kind_tests", list)
    for count, code in ((most, 0), (most + 1, 1)):
        monkeypatch.setattr(check, figure, lambda *_, found=count: ["x"] * found)
        assert check.main([]) == code


@pytest.mark.rows(
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


def test_the_closure_counts_what_is_loaded_through_doors_and_within_functions(check, tmp_path):
    files = {
        "src/scalpdesk/base.py": "",
        "src/scalpdesk/base.pyi": "from scalpdesk.core.units import ZERO as ZERO\n",
        "src/scalpdesk/core/units.py": "ZERO = 0\n\n",
        "src/scalpdesk/live/run.py": "def run():\n    from scalpdesk.risk.gate import judge\n",
        "src/scalpdesk/risk/gate.py": "if TYPE_CHECKING:\n    from scalpdesk.web.app import App\n",
        "src/scalpdesk/web/app.py": "",
        "parts/alpaca/src/scalpdesk_alpaca/orders.py": "from scalpdesk.base import ZERO\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert check.closure() == {
        "scalpdesk.base": 0,
        "scalpdesk.core.units": 2,
        "scalpdesk.live.run": 2,
        "scalpdesk.risk.gate": 2,
        "scalpdesk_alpaca.orders": 1,
    }
