# ruff: noqa: INP001, T201 - a script's part beside the pages, not a package
"""The outputs shown in the pages, held against what the commands really print.

A ``console`` block holds lines that begin with ``$`` and below each what it prints, trimmed: left-out
lines are left out, a line that ends with ``…`` is cut. ``refresh_shown_outputs`` runs the commands of
each page in order and brings the figures up to date.
"""

import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from difflib import SequenceMatcher
from io import StringIO
from pathlib import Path

from scalpdesk.cli.main import main as scalpdesk

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md",
    "docs/start/tutorial.md",
    "docs/concepts/explain.md",
    "docs/reference/errors-and-exit-codes.md",
    "docs/concepts/gex.md",
)
RECORDED = ROOT.parent / "shared" / "data" / "raw_lean" / "Data"
LEAN = "~/Lean/Data"
CUT = "…"
_RUN_ID = re.compile(r"\d{8}-\d{6}-[a-z-]+-[0-9a-f]{6}(-\d+)?")
_HASH = re.compile(r"\b[0-9a-f]{32}\b")
_WALL = re.compile(r"in \d+\.\d s")
_NUMBER = re.compile(r"[+-]?\d[\d,]*(\.\d+)?")
_BAR = re.compile(r"[▁▂▃▄▅▆▇█]+")


@dataclass(frozen=True, slots=True)
class Shown:
    """One command of a page and the lines shown below it."""

    page: str
    first_line: int
    """Line number of the first output line, from 0."""
    words: tuple[str, ...]
    """The command without ``scalpdesk``."""
    lines: tuple[str, ...]

    @property
    def needs_recorded(self) -> bool:
        """Whether it is about the recorded data set."""
        return "lean" in self.words


def shown_commands(page: str) -> Iterator[Shown]:
    """Yield the commands of a page's ``console`` blocks, ``make run`` as the demo that it is."""
    lines = (ROOT / page).read_text("utf-8").splitlines()
    inside = False
    number = 0
    while number < len(lines):
        line = lines[number]
        if line.startswith("```"):
            inside = line == "```console"
        if not inside or not line.startswith("$ "):
            number += 1
            continue
        command = line[2:]
        while command.endswith("\\"):
            number += 1
            command = command[:-1] + lines[number]
        number += 1
        first = number
        while number < len(lines) and not lines[number].startswith(("$ ", "```")):
            number += 1
        words = tuple(shlex.split(command, comments=True))
        words = ("scalpdesk", "demo") if words == ("make", "run") else words
        if words[0] == "scalpdesk":
            yield Shown(page, first, words[1:], tuple(lines[first:number]))


def outputs(shown: Sequence[Shown]) -> Iterator[tuple[Shown, list[str]]]:
    """Run the commands in order in one empty folder; yield each with the lines that it printed.

    What shows no output is not run, except an import, which the commands after it need.
    """
    done: set[tuple[str, ...]] = set()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        for command in shown:
            is_import = command.words[:2] == ("data", "import")
            if command.words in done or not (is_import or any(line.strip() for line in command.lines)):
                continue
            if is_import:
                done.add(command.words)
            out = StringIO()
            words = [str(RECORDED) if word == LEAN else word for word in command.words]
            with redirect_stdout(out), redirect_stderr(out):
                scalpdesk(words)
            yield command, [line.rstrip() for line in out.getvalue().splitlines()]


def shape(line: str) -> str:
    """Return a line without what may differ from machine to machine: figures, ids, bars, spaces."""
    line = _BAR.sub("", _NUMBER.sub("#", _HASH.sub("HASH", _RUN_ID.sub("RUN", line))))
    return " ".join(line.split())


def missing(command: Shown, printed: Sequence[str]) -> list[str]:
    """Return the shown lines that are not, in this order, among the printed lines."""
    at = 0
    lost = []
    for line in command.lines:
        if line.strip() in ("", CUT):
            continue
        found = next((i for i in range(at, len(printed)) if _fits(line, printed[i])), None)
        if found is None:
            lost.append(line)
        else:
            at = found + 1
    return lost


def _fits(line: str, real: str) -> bool:
    if line.endswith(CUT):
        return shape(real).startswith(shape(line[: -len(CUT)]))
    return shape(line) == shape(real)


def stale(command: Shown, printed: Sequence[str]) -> list[str]:
    """Return the uncut shown lines whose figures are not printed; hashes differ between machines."""
    real = {_HASH.sub("", _steady(line)) for line in printed}
    whole = [line for line in command.lines if line.strip() and not line.endswith(CUT)]
    return [line for line in whole if _HASH.sub("", _steady(line)) not in real]


def refresh_shown_outputs() -> None:
    """Bring the figures of all pages up to date; say which lines nothing printed resembles."""
    commands = [
        command
        for page in PAGES
        for command in shown_commands(page)
        if RECORDED.is_dir() or not command.needs_recorded
    ]
    saved = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("SCALPDESK_")}
    for command, printed in outputs(commands):
        at = 0
        for offset, line in enumerate(command.lines):
            if line.strip() in ("", CUT):
                continue
            found = _nearest(line, printed, at)
            if found is None:
                print(
                    f"{command.page}:{command.first_line + offset + 1}: not printed: {line}", file=sys.stderr
                )
                continue
            at = found + 1
            _replace(command.page, command.first_line + offset, line, printed[found])
    os.environ.update(saved)


def _nearest(line: str, printed: Sequence[str], at: int) -> int | None:
    for i in range(at, len(printed)):
        if _fits(line, printed[i]):
            return i
    rated = [
        (SequenceMatcher(None, shape(line), shape(printed[i])).ratio(), -i) for i in range(at, len(printed))
    ]
    best = max(rated, default=(0.0, 0))
    return -best[1] if best[0] > 0.6 else None


def _replace(page: str, number: int, line: str, real: str) -> None:
    new = real
    if line.endswith(CUT):
        kept = len(line[: -len(CUT)].rstrip().split(" "))
        new = f"{' '.join(real.split(' ')[:kept])} {CUT}"
    if _steady(new) == _steady(line):
        return
    path = ROOT / page
    lines = path.read_text("utf-8").splitlines()
    lines[number] = new
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"refreshed: {page}:{number + 1}")


def _steady(line: str) -> str:
    """A line without what differs from run to run: when it ran and how long it took."""
    return _WALL.sub("", _RUN_ID.sub("", line))
