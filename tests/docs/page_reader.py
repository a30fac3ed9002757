"""Follows a page as its reader does: each command in the page's order, in a folder and a home of its own.

Commands that end run in this process, those that run until they are interrupted in one of their own. A desk
at a venue, and whatever asks a venue for data, is pointed at a simulated exchange.
"""

import ast
import asyncio
import http.server
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import threading
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

from scalpdesk.cli.main import main
from scalpdesk_testing.kit.packages import install_points
from tests.docs.page_commands import ROOT, Step

READY_SECONDS = 300.0
"""A machine that is busy with other tests needs long to start a process."""
SERVICE = "/var/lib/scalpdesk"
ACCOUNTS = 12
EXCHANGES = {
    "alpaca": ("--data", "embedded", "--start", "2018-02-05", "--speed", "60"),
    "deribit": ("--data", "embedded-btc", "--speed", "60"),
    "ibkr": ("--data", "embedded", "--start", "2018-02-05", "--speed", "60", "--tws-port", "0"),
}
NOT_DONE = {
    "another machine or its owner": (
        r"podman|podman-compose|journalctl|openssl"
        r"|sudo (systemctl|useradd|chmod|mkdir|cp deploy|-u \w+ -i|-u postgres|\S*python3 -m venv)"
    ),
    "an environment for the wheel, which continuous integration makes and uses": (
        r"~/desk/bin/|mkdir -p build/copy|cp -r src|export HATCH|cd ~"
    ),
    "installs from a package index": (
        r'(sudo \S*/)?pip install (--upgrade )?(--find-links dist )?"|pip install \.(\s|$)|python3 -m venv'
    ),
    "files that the reader brings from elsewhere": (
        r"chmod 600 \.env|.*config/params\.yaml|scalpdesk research (hedges|basis) |.*--data lean --start 2021"
        r"|scalpdesk run .*underlying=SPX|scalpdesk .*\bown-chain\b"
        r"|scalpdesk reconcile "
    ),
    "asks a paper account that the reader has": r"scalpdesk certify ",
    "shows a page in a browser": r"jupyter",
    "history that only the vendor keeps": (
        r"scalpdesk data (download|process) |scalpdesk backtest .*--data deribit"
    ),
    "a target of the checkout, which continuous integration makes": r"make (?!run\b)",
}
"""Why a command is not carried out here, and the beginning of such commands."""
UNTIL_INTERRUPTED: dict[str, str] = {
    r"exchange": '{"urls"',
    r"dashboard(?!.*--show-token)": "Ctrl-C ends the page",
    r"data record": "Ctrl-C ends it",
    r"alerts watch": "Ctrl-C ends it",
    r"run (?!.*(--speed max|--sessions))": "scalpdesk status --watch shows it live",
}
"""Commands that run until Ctrl-C, and what they print once they are ready."""


def not_done(step: Step) -> str | None:
    """Return why a command is not carried out here, if so."""
    if step.is_python:
        return None
    found = (why for why, begin in NOT_DONE.items() if re.match(begin, step.text))
    return next(found, None)


class Process:
    """A command that runs until it is interrupted, and the lines that it has printed."""

    def __init__(self, words: Sequence[str], env: dict[str, str], cwd: Path) -> None:
        self.words, self.lines = words, list[str]()
        self._changed, self._is_over = threading.Condition(), False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scalpdesk", *words],
            cwd=cwd,
            env=env,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.lines.append(line.rstrip())
                self._changed.notify_all()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def wait_for(self, text: str) -> str:
        """Return the first line with a text."""

        def found() -> str | None:
            return next((line for line in self.lines if text in line), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self._is_over, READY_SECONDS)
            line = found()
        assert line is not None, f"{' '.join(self.words)} did not become ready: {self.lines[-12:]}"
        return line

    def end(self) -> int:
        """Interrupt it as Ctrl-C does; return its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        code = self._process.wait(READY_SECONDS)
        self._reading.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


class _Mailbox(http.server.BaseHTTPRequestHandler):
    """Takes every message."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class Reader:
    """The reader of one page: his folder, his environment, what he has started."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.service = folder / "here", folder / "service"
        self.home, self.site = folder / "home", folder / "site"
        for each in (self.folder, self.service, self.home, self.site):
            each.mkdir()
        for name in ("examples", "notebooks", "parts", "deploy"):
            (self.folder / name).symlink_to(ROOT / name)
        (self.home / "scalpdesk").symlink_to(ROOT)
        self.env = {
            "HOME": str(self.home),
            "XDG_STATE_HOME": str(folder / "state"),
            "PYTHONPATH": str(self.site),
        }
        patch.syspath_prepend(str(self.site))
        patch.chdir(self.folder)
        self.names: dict[str, Any] = {"__name__": "page"}
        self._umask, self._desks = "022", 0
        self.running: list[Process] = []
        self._at_end = ExitStack()
        self.exchanges: dict[str, tuple[Process, list[dict[str, str]]]] = {}

    @contextmanager
    def followed(self) -> Iterator["Reader"]:
        """End in order, at the end, whatever runs on."""
        try:
            yield self
        finally:
            self._at_end.close()
            while self.running:
                self._end(self.running[-1])

    def follow(self, step: Step) -> tuple[int, list[str]]:
        """Carry out a step; return its exit code and what it printed."""
        if step.is_python:
            return self._python(step.text)
        words = [self._filled(word) for word in step.words]
        names = {name: self._filled(value) for name, value in step.assignments.items()}
        if words and words[0] == "sudo":
            words = _without_sudo(words)
        if words[0] == "export":
            self.env |= {
                name: self._filled(value) for name, _, value in (word.partition("=") for word in words[1:])
            }
            return 0, []
        if words[0] == "umask":
            self._umask = words[1]
            return 0, []
        program = Path(words[0]).name
        if words == ["make", "run"]:
            program, words = "scalpdesk", _recipe("run")
        if program == "scalpdesk":
            return self.scalpdesk(words[1:], names)
        if program == "pip":
            return self._install(words[-1])
        if program == "kill":
            os.kill(int(words[-1]), int(words[1]) * -1)
            desk = self.running.pop()
            return 0 if desk.end() == -signal.SIGKILL else 1, []
        return self._shell(step.text)

    def scalpdesk(self, words: list[str], names: dict[str, str]) -> tuple[int, list[str]]:
        """Carry out a command of the product."""
        line = " ".join(words)
        ready = next((text for begin, text in UNTIL_INTERRUPTED.items() if re.match(begin, line)), None)
        if words[0] == "run":
            self._end_desk()
            names = names | self._at_exchange(words)
        if words[:2] == ["data", "record"]:
            self._end_desk()
            words, names = self._from_exchange(words, names)
        if words == ["init"] or line.startswith("status --watch"):
            return self._in_terminal(words)
        if words[0] == "run" and (ready is None or "--live" in words):
            return self._shell(shlex.join(["scalpdesk", *words]), names)  # venues are looked for at its start
        if ready is None:
            return self._here(words, names)
        process = Process(words, self._environment(names), self.folder)
        self.running.append(process)
        found = process.wait_for(ready)
        if words[0] == "exchange":
            document = json.loads(found)
            spoken = next(name for name, keys in document["keys"].items() if keys)
            self.exchanges[{"tws": "ibkr"}.get(spoken, spoken)] = (process, document)
        return 0, [*process.lines]

    def _here(self, words: list[str], names: dict[str, str]) -> tuple[int, list[str]]:
        out = StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(out):
            patch.setattr("sys.stdin", TextIOWrapper(BytesIO()))
            for name, value in (self.env | names).items():
                patch.setenv(name, value)
            code = main(words)
        return code, [line.rstrip() for line in out.getvalue().splitlines()]

    def _environment(self, names: dict[str, str]) -> dict[str, str]:
        return os.environ | self.env | names

    def _shell(self, text: str, names: dict[str, str] | None = None) -> tuple[int, list[str]]:
        text = text.removeprefix("sudo ").replace(SERVICE, str(self.service))
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", f"umask {self._umask}; {self._filled(text)}"],
            cwd=self.folder,
            env=self._environment({"PATH": path} | (names or {})),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, (done.stdout + done.stderr).splitlines()

    def _in_terminal(self, words: list[str]) -> tuple[int, list[str]]:
        """Answer each question with Return; interrupt what goes on by itself."""
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "scalpdesk", *words],
            cwd=self.folder,
            env=self._environment({"TERM": "xterm"}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        limit = threading.Timer(READY_SECONDS, process.kill)
        limit.start()
        shown, is_interrupted = b"", False
        with suppress(OSError):  # the end of the process closes the terminal
            while more := os.read(master, 4096):
                shown += more
                if shown.rstrip(b" ").endswith((b":", b"]")) or b"Ctrl-C ends" in more:
                    os.write(master, b"\n")
                if b"Ctrl-C ends" in shown and not is_interrupted:
                    process.send_signal(signal.SIGINT)
                    is_interrupted = True
        os.close(master)
        limit.cancel()
        return process.wait(READY_SECONDS), shown.decode().splitlines()

    def _python(self, text: str) -> tuple[int, list[str]]:
        out = StringIO()
        code = compile(text, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of the libraries that a page imports
            for name, value in self.env.items():
                patch.setenv(name, value)
            found = eval(code, self.names)
            if asyncio.iscoroutine(found):
                asyncio.run(found)
        return 0, out.getvalue().splitlines()

    def _install(self, what: str) -> tuple[int, list[str]]:
        """Leave what pip does where Python looks for packages: entry points, and where the sources lie."""
        folder = (self.folder / Path(what.replace("~", str(self.home)))).resolve()
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
        if folder not in (ROOT, *(ROOT / "parts").iterdir()):  # those are installed
            for package in (folder / "src").iterdir():
                (self.site / package.name).symlink_to(package)
            install_points(self.site, project["name"], project["entry-points"])
        return 0, []

    def _filled(self, text: str) -> str:
        """Put what the page's earlier commands made in the place of a placeholder."""
        text = text.replace("/opt/scalpdesk/bin/", "").replace(SERVICE, str(self.service))
        text = re.sub(r"^~", str(self.home), text)
        if archives := [path.name for path in self.folder.glob("scalpdesk-*.tgz")]:
            text = re.sub(r"scalpdesk-\d{4}-\d\d-\d\d\.tgz", archives[0], text)
        if text.startswith("tgram://"):
            text = self._mailbox()
        if text == "PID":
            return str(self.running[-1].pid)
        for process, document in self.exchanges.values():
            if process in self.running:
                admin = document["urls"]["admin"].removesuffix("/admin")
                text = admin if text == "URL" else text.replace("http://127.0.0.1:PORT", admin)
        for process in self.running:
            if process.words[0] == "dashboard":
                page = process.wait_for("the desk's page").rpartition(" ")[2]
                text = text.replace("http://localhost:10000/", page)
        return text

    def _mailbox(self) -> str:
        """Return the address of a server on this machine that takes every message."""
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Mailbox)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._at_end.callback(server.server_close)
        self._at_end.callback(server.shutdown)
        return f"json://127.0.0.1:{server.server_port}"

    def _at_exchange(self, words: Sequence[str]) -> dict[str, str]:
        """Return the variables that point a desk at a simulated exchange, with keys of its own."""
        venue = words[words.index("--venue") + 1] if "--venue" in words else "simulated"
        venue = {"sandbox": "alpaca"}.get(venue, venue)
        if venue not in EXCHANGES or "--live" in words:
            return {}
        _, document = self._exchange(venue)
        account = document["accounts"][self._desks % len(document["accounts"])]
        self._desks += 1
        names = {"TRADING_API_KEY": account["key"], "TRADING_API_SECRET": account["secret"]}
        if "--url" not in words:
            spoken = {"ibkr": "tws"}.get(venue, venue)
            address = document["urls"]["admin"].removesuffix("/admin")
            names["SCALPDESK_VENUE__URL"] = document["urls"][spoken] if spoken == "tws" else address
            names["SCALPDESK_VENUE__EXCHANGE_TIME"] = "true"
        return names

    def _from_exchange(self, words: list[str], names: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        _, document = self._exchange(words[2])
        first = document["accounts"][0]
        keys = {"TRADING_API_KEY": first["key"], "TRADING_API_SECRET": first["secret"]}
        return [*words, "--url", document["urls"]["admin"].removesuffix("/admin")], names | keys

    def _exchange(self, venue: str) -> tuple[Process, dict[str, Any]]:
        if venue not in self.exchanges:
            words = ["exchange", *EXCHANGES[venue], "--accounts", str(ACCOUNTS)]
            process = Process(words, self._environment({}), self.folder)
            self.running.insert(0, process)  # it ends last
            self.exchanges[venue] = (process, json.loads(process.wait_for('{"urls"')))
        return self.exchanges[venue]

    def _end_desk(self) -> None:
        for process in [each for each in self.running if each.words[0] != "exchange"]:
            self._end(process)

    def _end(self, process: Process) -> None:
        self.running.remove(process)
        code = process.end()
        assert code in (0, 130), f"{' '.join(process.words)} ended with {code}: {process.lines[-12:]}"


def _without_sudo(words: list[str]) -> list[str]:
    rest = words[1:]
    while rest[0].startswith("-"):
        rest = rest[2 if rest[0] == "-u" else 1 :]
    return rest


def _recipe(target: str) -> list[str]:
    """Return the last command of a target of the Makefile."""
    text = (ROOT / "Makefile").read_text("utf-8")
    (recipe,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    return shlex.split(recipe.splitlines()[-1].replace("$(BIN)/", ""))
