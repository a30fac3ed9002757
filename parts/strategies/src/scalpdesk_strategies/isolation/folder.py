"""A strategy folder: ``strategy.py`` with ``on_market_event(event)``, and ``reset()`` where it has one."""

import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from hashlib import sha256
from pathlib import Path
from time import perf_counter_ns
from types import ModuleType
from typing import Any

import msgspec

from scalpdesk.core.errors import ConfigError, ScalpdeskError

_STRATEGY_FILE = "strategy.py"
_HANDLER = "on_market_event"
_MODULE_NAME = "strategy_folder"
MOST_MESSAGES = 1_000
"""Messages that one event may be answered with."""
MOST_REPLY_BYTES = 1 << 20
WINDOW = 256
"""Events under way at once: a pipe stays full, and a dead process has few to be asked again."""


class FolderReply(msgspec.Struct, frozen=True):
    """A folder's reply to one event."""

    messages: list[Any] = []
    """Answer of the folder as parsed JSON, not validated yet."""
    failure: str | None = None
    """Why there is no answer, in words; the messages are empty then."""
    took_us: int = 0
    """Time in the folder, microseconds."""
    state_lost: bool = False
    """The folder starts afresh with the next event: its process was ended."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Any]).decode


def strategy_file(path: Path) -> Path:
    """Return the file of a strategy folder; the file itself may be named too.

    Raises ConfigError when it is not there.
    """
    found = path / _STRATEGY_FILE if path.is_dir() else path
    if not found.is_file():
        raise ConfigError(
            f"there is no {_STRATEGY_FILE} here",
            where="--strategy",
            value=str(path),
            fix=f"name a folder that holds {_STRATEGY_FILE} with {_HANDLER}(event)",
        )
    return found


def folder_digest(path: Path) -> str:
    """Return the SHA-256 over a folder's Python files, hexadecimal: which code decided.

    Raises ConfigError when there is no ``strategy.py``.
    """
    found = strategy_file(path)
    hasher = sha256()
    for file in sorted(found.parent.rglob("*.py")):
        content = file.read_bytes()
        hasher.update(f"{file.relative_to(found.parent).as_posix()}\n{len(content)}\n".encode())
        hasher.update(content)
    return hasher.hexdigest()


class Folder:
    """A folder's module, loaded; what it raises and returns is taken as it comes.

    ``path`` is the folder, or its ``strategy.py``.

    Raises ConfigError when it cannot be loaded or has no handler.
    """

    def __init__(self, path: Path) -> None:
        found = strategy_file(path)
        module = _load(found)
        handler = getattr(module, _HANDLER, None)
        if not callable(handler):
            raise ConfigError(
                f"this strategy has no function {_HANDLER}",
                where=str(found),
                fix=f"write: def {_HANDLER}(event: dict) -> list[dict] | None",
            )
        self._handler: Callable[[dict[str, Any]], Any] = handler
        reset = getattr(module, "reset", None)
        if callable(reset):
            try:
                reset()
            except (Exception, SystemExit) as error:
                raise ConfigError(
                    f"its reset() failed: {failure_text(error)}", where=str(found), fix="run it by itself"
                ) from error

    def answer(self, event: dict[str, Any]) -> list[Any]:
        """Return the folder's messages for one event, as JSON carries them.

        Raises whatever the folder raises; ``TypeError`` and others when it returns what JSON
        cannot carry.
        """
        returned = self._handler(event)
        if returned is None:
            return []
        if isinstance(returned, dict):
            returned = [returned]
        if not isinstance(returned, list | tuple):
            raise TypeError(f"{_HANDLER} returned {type(returned).__name__}, not a list of messages")
        if not returned:
            return []
        if len(returned) > MOST_MESSAGES:
            raise ValueError(f"{len(returned)} messages for one event, at most {MOST_MESSAGES}")
        text = _encode(returned)
        if len(text) > MOST_REPLY_BYTES:
            raise ValueError(f"{len(text)} bytes for one event, at most {MOST_REPLY_BYTES}")
        return _decode(text)


def _load(found: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(_MODULE_NAME, found)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    beside = str(found.parent.resolve())
    sys.path.insert(0, beside)  # a folder may part its code over files of its own
    sys.modules[_MODULE_NAME] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"the strategy cannot be loaded: {failure_text(error)}", where=str(found), fix="run it by itself"
        ) from error
    finally:
        sys.path.remove(beside)
    return module


def failure_text(error: BaseException) -> str:
    """Return one line about what a folder raised, with its line number where there is one."""
    line = ""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(_STRATEGY_FILE):
            line = f" ({_STRATEGY_FILE}:{trace.tb_lineno})"
        trace = trace.tb_next
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the error is the folder's own class, and its text may raise in turn
        text = ""
    if isinstance(error, ScalpdeskError):  # its lines say where, the value and the fix
        text = "; ".join(map(str.strip, text.splitlines()))
    first = text.partition("\n")[0][:300]
    return f"{type(error).__name__}{': ' if first else ''}{first}{line}".encode(errors="replace").decode()


class FolderInProcess:
    """A folder in the desk's own process: fastest, and unguarded; its endless loop is the desk's."""

    def __init__(self, path: Path) -> None:
        with redirect_stdout(sys.stderr):  # stdout is for the answers
            self._folder = Folder(path)
        self.restarts = 0

    def ask(self, event: dict[str, Any]) -> FolderReply:
        """Return the folder's reply to one event."""
        began = perf_counter_ns()
        with redirect_stdout(sys.stderr):
            try:
                messages = self._folder.answer(event)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a folder raises stops its event only
                return FolderReply(failure=failure_text(error), took_us=(perf_counter_ns() - began) // 1000)
        return FolderReply(messages, took_us=(perf_counter_ns() - began) // 1000)

    def ask_all(self, events: Iterable[dict[str, Any]], *, window: int = WINDOW) -> Iterator[FolderReply]:
        """Yield the reply to each event, in order; one is under way at a time, whatever the window."""
        del window
        return map(self.ask, events)

    def abort(self) -> None:
        """Nothing can be cut short here."""

    def close(self) -> None:
        """Nothing to end."""
