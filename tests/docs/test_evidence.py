"""Each page of Evidence says which command made its figures, and when; the command exists."""

import re
import shlex
from datetime import date

import pytest

from tests.docs.page_commands import ROOT, complaint

PAGES = sorted((ROOT / "docs" / "evidence").glob("*.md"))
_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_ROW = re.compile(r"^\| \[[^\]]+\]\(#([\w-]+)\) \| `([^`]+)` \| (\d{4}-\d\d-\d\d) \|$", re.MULTILINE)
_FIGURE = re.compile(r"[-+−±]?\d")


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def sections(text: str) -> dict[str, tuple[str, list[str]]]:
    """Return each section by its anchor: its text, and the anchors of the headings that it stands below."""
    parts = re.split(r"^(#+) (.+)$", _FENCE.sub("", text), flags=re.MULTILINE)
    above: list[tuple[int, str]] = []
    found = {}
    for marks, heading, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        above = [each for each in above if each[0] < len(marks)]
        found[anchor(heading)] = body, [name for _, name in above]
        above.append((len(marks), anchor(heading)))
    return found


def has_figures(body: str) -> bool:
    """Whether more than a tenth of the cells in the tables of a section begin with a figure."""
    cells = [
        cell.strip() for row in re.findall(r"^\| (.+) \|$", body, re.MULTILINE) for cell in row.split("|")
    ]
    return sum(_FIGURE.match(cell) is not None for cell in cells) > len(cells) / 10


def problem(command: str) -> str | None:
    """Return what of a command does not exist."""
    words = shlex.split(command)
    if words[0] == "scalpdesk":
        return complaint(command)
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        return None if words[1] in targets else f"no target {words[1]}"
    paths = [word.partition("::") for word in words[1:] if re.match(r"(tests|parts|benchmarks|docs)/", word)]
    if not paths or words[0] not in ("python", "pytest"):
        return "no file of tests, benchmarks or docs"
    lost = [path for path, _, _ in paths if not (ROOT / path).exists()]
    if lost:
        return f"no file {lost}"
    for flag, pattern in (("-k", r"def \w*{}"), ("--case", "^{}$")):
        if flag in words:
            name = words[words.index(flag) + 1]
            files = [path for start, _, _ in paths for path in [ROOT / start, *(ROOT / start).rglob("*.py")]]
            texts = [path.read_text("utf-8") for path in files if path.is_file()]
            texts += [path.stem for path in (ROOT / "benchmarks" / "cases").glob("*.py")] * (flag == "--case")
            if not any(re.search(pattern.format(name), text, re.MULTILINE) for text in texts):
                return f"nothing is called {name}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_figure_has_a_command_and_a_date(page):
    text = page.read_text("utf-8")
    made_by, _ = sections(text).get("made-by", ("", []))
    rows = _ROW.findall(made_by)
    assert made_by.count("\n|") == len(rows) + 2 * bool(rows)
    assert {command: problem(command) for _, command, _ in rows if problem(command)} == {}
    assert all(date.fromisoformat(day) >= date(2026, 11, 20) for _, _, day in rows)
    found = sections(text.partition("## Made by")[0])
    named = {name for name, _, _ in rows}
    assert named <= set(found)
    assert [  # a row of a heading is one of all that stands below it
        name
        for name, (body, above) in found.items()
        if has_figures(body) and named.isdisjoint([name, *above])
    ] == []


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("scalpdesk backtest gamma-scalper --start 2018-02-05", None),
        ("python benchmarks/run.py --case sweep", None),
        ("make bench", None),
        ("make lunch", "no target lunch"),
        ("scalpdesk bactest x", "no command bactest"),
        ("python benchmarks/run.py --case lunch", "nothing is called lunch"),
        ("pytest tests/docs/test_lunch.py", "no file ['tests/docs/test_lunch.py']"),
        ("pytest tests/docs -k lunch_break_of_the_desk", "nothing is called lunch_break_of_the_desk"),
    ],
)
def test_the_check_of_commands_sees_a_wrong_one(command, why):
    assert problem(command) == why
