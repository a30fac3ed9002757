import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("reach.py")
GATE_TESTS = ["tests/risk/test_gate.py", "tests/risk/test_gate_halts.py"]
SETTINGS = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}
FILES = {
    "src/desk/__init__.py": "",
    "src/desk/risk/__init__.py": "from desk.risk.caps import Cap",
    "src/desk/risk/caps.py": "class Cap: ...",
    "src/desk/risk/gate.py": "class Gate: ...",
    "src/scalpdesk/web/static/desk.js": "",
    "parts/coin/src/desk_coin/wire.py": "",
    "parts/coin/tests/test_wire.py": "",
    "tests/engine/test_admission.py": "import desk.risk.gate",
    "tests/engine/test_desk.py": "from desk.risk import Cap, gate",
    "tests/engine/test_timers.py": "def test_late():\n    from desk.risk import Cap",
    "tests/risk/test_flow.py": "from desk.risk.gate import Gate",
    "tests/risk/test_gate.py": "",
    "tests/risk/test_gate_halts.py": "",
    "tests/risk/test_gates.py": "",
    "tests/live/clocks.py": "",
    "tests/property/test_time.py": "from tests.live.clocks import Clock",
    "tests/docs/test_pages.py": "",
    "tests/web/test_app.py": "",
    "docs/page.md": "",
    "conftest.py": "",
    "Makefile": "",
}


def git(folder, *words):
    command = ["git", *words]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=os.environ | SETTINGS)


def reached(folder, *base):
    command = [sys.executable, "tests/rules/reach.py", *base]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.split()


def change(folder, *names):
    for name in names:
        (folder / name).write_text((folder / name).read_text() + "\n")


@pytest.fixture
def unpacked(tmp_path):
    for name, text in FILES.items():
        (tmp_path / "desk" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "desk" / name).write_text(text)
    (tmp_path / "desk" / "tests" / "rules").mkdir()
    shutil.copy(SCRIPT, tmp_path / "desk" / "tests" / "rules")
    return tmp_path / "desk"


@pytest.fixture
def checkout(unpacked):
    git(unpacked, "init", "-b", "main")
    git(unpacked, "add", ".")
    git(unpacked, "commit", "-m", "Begin")
    return unpacked


@pytest.mark.rows(
    ("changed", "tests"),
    [
        (
            ["src/desk/risk/gate.py"],
            [
                *GATE_TESTS,
                "tests/risk/test_flow.py",
                "tests/engine/test_admission.py",
                "tests/engine/test_desk.py",
                "tests/risk/test_gates.py",
            ],
        ),
        (
            ["src/desk/risk/caps.py"],
            [
                "tests/engine/test_desk.py",
                "tests/engine/test_timers.py",
                "tests/risk/test_flow.py",
                *GATE_TESTS,
                "tests/risk/test_gates.py",
            ],
        ),
        (["parts/coin/src/desk_coin/wire.py"], ["parts/coin/tests/test_wire.py"]),
        (["tests/live/clocks.py"], ["tests/property/test_time.py"]),
        (
            ["tests/risk/test_gates.py", "docs/page.md"],
            ["tests/risk/test_gates.py", "tests/docs/test_pages.py"],
        ),
        (["src/scalpdesk/web/static/desk.js"], ["tests/web/test_app.py"]),
        (["Makefile", "conftest.py"], []),
        ([], []),
    ],
)
def test_the_tests_nearest_to_a_change_come_first(checkout, changed, tests):
    change(checkout, *changed)
    assert reached(checkout) == tests


def test_a_module_that_is_gone_reaches_those_that_import_it(checkout):
    (checkout / "parts/coin/src/desk_coin/wire.py").rename(checkout / "tests/live/wire.py")
    (checkout / "tests/live/clocks.py").unlink()
    assert reached(checkout) == ["parts/coin/tests/test_wire.py", "tests/property/test_time.py"]


def test_changes_count_since_the_branch_left_main_or_since_the_commit_before(checkout):
    git(checkout, "switch", "-c", "branch")
    for name in ("docs/page.md", "tests/live/clocks.py"):
        change(checkout, name)
        git(checkout, "commit", "-am", "Change it")
    both = ["tests/property/test_time.py", "tests/docs/test_pages.py"]
    assert reached(checkout) == both
    assert reached(checkout, "HEAD~1") == both[:1]
    git(checkout, "branch", "-f", "main")
    assert reached(checkout) == both[:1]


def test_where_no_earlier_commit_is_known_nothing_is_reached(checkout):
    change(checkout, "docs/page.md")
    git(checkout, "commit", "-am", "Change it")
    assert reached(checkout) == ["tests/docs/test_pages.py"]
    git(checkout.parent, "clone", "--depth", "1", checkout.as_uri(), "clone")
    assert reached(checkout.parent / "clone") == []


def test_a_folder_that_is_no_checkout_reaches_nothing(unpacked):
    assert reached(unpacked) == []
