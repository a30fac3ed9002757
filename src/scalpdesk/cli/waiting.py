"""What a command shows while it works, and what it says when Ctrl-C ends it."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self, TextIO

import click

_START_LINE_AFTER_SECONDS = 1.0
SHOWN_AFTER_SECONDS = 2.0
_PLAIN_LINE_SECONDS = 30.0
LOOK_SECONDS = 0.5
TOLD = "told"
"""Argument of a KeyboardInterrupt whose command has said already what was done."""

Report = Callable[[int, int, str], None]


class Interrupts:
    """Ctrl-C that Python could not raise where it came, because a callback of compiled code ran."""

    is_lost = False

    @classmethod
    def keep(cls, unraisable: Any) -> None:
        """Note a lost interrupt without a traceback; the next progress of the work raises it."""
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            cls.is_lost = True
        else:
            sys.__unraisablehook__(unraisable)

    @classmethod
    def check(cls) -> None:
        """Raise an interrupt that was lost."""
        if cls.is_lost:
            cls.is_lost = False
            raise KeyboardInterrupt


def tell_interrupted(stop: KeyboardInterrupt, *lines: str) -> None:
    """Say what was done and how to go on; the end of the program adds nothing to it then."""
    for line in lines:
        click.echo(line, err=True)
    stop.args = (TOLD,)


class _Heard:
    """Passes text on to a stream, and reports the first of it."""

    def __init__(self, stream: TextIO, on_first: Callable[[], None]) -> None:
        self._stream = stream
        self._on_first = on_first

    def write(self, text: str) -> int:
        self._on_first()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class StartLine:
    """A line on the terminal that counts the seconds until a command writes something; then it is gone.

    Imports and the market of a command take some seconds on a slow machine.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = time.monotonic()
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._has_line = False
        self._streams = sys.stdout, sys.stderr

    def __enter__(self) -> Self:
        out, err = (_Heard(stream, self.end) for stream in self._streams)
        self._heard = out, err
        sys.stdout, sys.stderr = out, err
        threading.Thread(target=self._count, daemon=True).start()
        return self

    def __exit__(self, *_problem: object) -> None:
        self.end()

    def end(self) -> None:
        """Take the line away and give the streams back."""
        with self._lock:
            if self._is_over.is_set():
                return
            self._is_over.set()
            if self._has_line:
                self._streams[1].write("\r\x1b[2K")
                self._streams[1].flush()
            if sys.stdout is self._heard[0]:
                sys.stdout = self._streams[0]
            if sys.stderr is self._heard[1]:
                sys.stderr = self._streams[1]

    def _count(self) -> None:
        wait = _START_LINE_AFTER_SECONDS
        while not self._is_over.wait(wait):
            wait = LOOK_SECONDS
            with self._lock:
                if not self._is_over.is_set():
                    seconds = time.monotonic() - self._began
                    self._streams[1].write(f"\r\x1b[2K{self._what}: {seconds:.0f} s")
                    self._streams[1].flush()
                    self._has_line = True


class Progress:
    """How far a piece of work has come: a bar on the terminal, lines where stderr is none.

    The bar comes after two seconds, also before the first report; the terminal shows the newest one alone.
    """

    _lock = threading.RLock()
    _shown: "Progress | None" = None
    last = ""
    """Label and part done of the last report of any work, for the line of an interrupted command."""

    def __init__(self, *, is_silent: bool) -> None:
        self._draws = not is_silent and sys.stderr.isatty()
        self._writes = not is_silent and not self._draws
        self._began = time.monotonic()
        self._next_line = self._began + _PLAIN_LINE_SECONDS
        self._first: tuple[int, float] | None = None
        self._at: tuple[int, int | None, str] = (0, None, "preparing")
        self._bar: Any = None
        self._timer: threading.Timer | None = None

    def begin(self) -> None:
        """Draw the bar in two seconds, whatever is reported until then."""
        if self._draws:
            self._timer = threading.Timer(SHOWN_AFTER_SECONDS, self._draw_first)
            self._timer.daemon = True
            self._timer.start()

    def report(self, done: int, total: int, label: str) -> None:
        """Take in how much is done."""
        Interrupts.check()
        self._at = done, total, label
        Progress.last = f"{label}, {done / total:.0%}" if total else label
        now = time.monotonic()
        # earlier runs and the preparation say nothing of the speed
        self._first = self._first or (done, now)
        if self._writes:
            self._write(now)
        elif self._draws and now - self._began >= SHOWN_AFTER_SECONDS:
            self._draw()

    def end(self) -> None:
        """Take the bar away."""
        if self._timer is not None:
            self._timer.cancel()
        with Progress._lock:
            self._draws = False
            self.hide()

    def _write(self, now: float) -> None:
        assert self._first is not None
        (before, began), (done, total, label) = self._first, self._at
        if total and now >= self._next_line and done > before:
            self._next_line = now + _PLAIN_LINE_SECONDS
            seconds = (now - began) * (total - done) / (done - before)
            left = f"{seconds / 60.0:.0f} min" if seconds >= 90.0 else f"{seconds:.0f} s"
            sys.stderr.write(f"{label}  {done / total:.1%}, {left} left\n")

    def _draw_first(self) -> None:
        with Progress._lock:
            if Progress._shown is None:
                self._draw()

    def _draw(self) -> None:
        done, total, label = self._at
        with Progress._lock:
            if not self._draws:
                return
            if self._bar is None:
                self._open()
            self._bar[0].update(self._bar[1], completed=done, total=total, description=label)

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bar

        if Progress._shown is not None:
            Progress._shown.hide()
        bar = Bar(console=Console(stderr=True), transient=True)
        bar.start()
        self._bar = bar, bar.add_task("", total=None)
        Progress._shown = self

    def hide(self) -> None:
        """Take the bar off the terminal, until the next report."""
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None
            Progress._shown = None


@contextmanager
def progress_bar(*, as_json: bool) -> Iterator[Report]:
    """Yield a progress function; a bar with the time left appears on stderr after two seconds of work.

    Where stderr is no terminal a plain line appears every half minute.
    """
    progress = Progress(is_silent=as_json and not sys.stderr.isatty())
    progress.begin()
    try:
        yield progress.report
    finally:
        progress.end()
