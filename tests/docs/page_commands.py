"""Steps of a reader who follows a page: its commands and Python blocks in order, with the output shown.

A block is one of commands where its lines begin with a program of :data:`PROGRAMS`, after ``$ `` where the
block shows output as well. A line of another program fails the reading: nothing is passed over in silence.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from scalpdesk.cli.main import root

ROOT = Path(__file__).resolve().parents[2]
NOT_INSTRUCTIONS = (
    "docs/reference/",
    "docs/evidence/",
    "docs/developing/decisions/",
    "docs/start/what-works.md",
)
PROGRAMS = frozenset(
    {
        *("scalpdesk", "make", "pip", "python", "python3", "curl", "kill", "umask", "chmod", "mkdir", "cp"),
        *("cd", "printf", "export", "openssl", "sudo", "podman", "podman-compose", "journalctl", "jupyter"),
    }
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`[\w/.-]+\.(py|toml)`\n\n\Z")
_INLINE = re.compile(r"`(scalpdesk [^`\n]+)`")
_WITH_OPTIONS = re.compile(r" --\w| last\b")
_SYNOPSIS = re.compile(r"…|[|\[\]{}]|\b(?!(?:SPY|QQQ|GOOG|BTC|ETH|ES|SPX|SPXW)\b)[A-Z]+\b")
"""A placeholder in a sentence's code: the form of a command."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command or Python block of a page."""

    page: str
    line: int
    text: str
    lines: tuple[str, ...] = ()
    """Output shown below it."""
    is_python: bool = False

    @property
    def assignments(self) -> dict[str, str]:
        """Variables that the command line sets for its command, or for the rest of the page."""
        names = {}
        for word in self._words():
            name, equals, value = word.partition("=")
            if not equals or not re.fullmatch(r"[A-Z_]+", name):
                break
            names[name] = value
        return names

    @property
    def words(self) -> list[str]:
        """The command without its assignments."""
        return self._words()[len(self.assignments) :]

    def _words(self) -> list[str]:
        return shlex.split(self.text, comments=True)

    @property
    def is_refused(self) -> bool:
        """Whether the page shows that the command is refused."""
        return any(line.startswith("error: ") for line in self.lines)


def pages() -> list[Path]:
    """Return the pages of instructions."""
    found = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(found)]
    return [path for path in paths if not str(path.relative_to(ROOT)).startswith(NOT_INSTRUCTIONS)]


def steps_of(page: Path) -> list[Step]:
    """Return what a page has its reader do, in order: its blocks, then whole commands in its sentences."""
    text, name = page.read_text("utf-8"), str(page.relative_to(ROOT))
    steps: list[Step] = []
    for block in _BLOCK.finditer(text):
        language, body = block.groups()
        first = text.count("\n", 0, block.start()) + 2
        if language == "python":
            if not _FILE.search(text[: block.start()]):
                steps.append(Step(name, first, body, is_python=True))
        elif language in ("", "bash", "sh", "console", "text"):
            steps += _commands(name, first, body.splitlines())
    done = {step.text.partition("  #")[0].strip() for step in steps}
    sentences = _BLOCK.sub(lambda block: "\n" * block.group().count("\n"), text)
    for code in _INLINE.finditer(sentences):
        command = code[1]
        if command not in done and _is_whole(command):
            done.add(command)
            steps.append(Step(name, sentences.count("\n", 0, code.start()) + 1, command))
    return steps


def _commands(page: str, first: int, lines: list[str]) -> Iterator[Step]:
    with_output = any(line.startswith("$ ") for line in lines)
    if not with_output and not any(Path(line.partition(" ")[0]).name in PROGRAMS for line in lines):
        return  # output, or a drawing
    number = 0
    while number < len(lines):
        at, line = number, lines[number]
        number += 1
        if not line.strip():
            continue
        while line.endswith("\\"):
            line = line[:-1] + lines[number]
            number += 1
        shown: list[str] = []
        if with_output:
            assert line.startswith("$ "), f"{page}:{first + at}: output without a command"
            line = line[2:]
            while number < len(lines) and not lines[number].startswith("$ "):
                shown.append(lines[number])
                number += 1
        step = Step(page, first + at, line.strip(), tuple(shown))
        if step.words:
            assert Path(step.words[0]).name in PROGRAMS, (
                f"{page}:{step.line}: no program that the check knows: {line}"
            )
        yield step


def complaint(line: str) -> str | None:
    """Return the part of a command line that is unknown, without running it; None when all is known."""
    try:
        command, _, left = _parsed(line)
    except click.UsageError as problem:
        return problem.format_message()
    if command is None:
        return f"no command {left[0]}"
    return f"too many words: {left}" if left else None


def _parsed(line: str) -> tuple[click.Command | None, dict[str, object], list[str]]:
    """Return the command of a line, what is given to it, and the words that are left."""
    words = shlex.split(line.replace("…", "X"), comments=True)[1:]
    command: click.Command = root
    ctx = click.Context(root, info_name="scalpdesk", **root.context_settings)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        found = command.get_command(ctx, name) if name in command.list_commands(ctx) else None
        if found is None:
            return None, {}, [name]
        command, ctx = found, click.Context(found, info_name=name, parent=ctx)
    given, left, _ = command.make_parser(ctx).parse_args(words)
    return command, given, left


def _is_whole(line: str) -> bool:
    """Whether code in a sentence is a command with its options, not the name or the form of one."""
    if not _WITH_OPTIONS.search(line) or _SYNOPSIS.search(line):
        return False
    command, given, _ = _parsed(line)
    return command is not None and all(
        given.get(each.name or "") is not None for each in command.params if each.required
    )
