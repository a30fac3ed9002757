"""Keeps one run followed, and hands its newest state to every reader: encoded once, never queued.

A thread follows the journal; the event loop only passes bytes on. A client that is slow misses states and
gets the newest, and one that takes nothing is closed.
"""

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import DataError, ScalpdeskError
from scalpdesk.core.owner_only import own_file
from scalpdesk.core.units import NANOS_PER_MS, NANOS_PER_SECOND
from scalpdesk.journal.reader import LAST, find_run_dir, run_named
from scalpdesk.live.sessions import RunPhase
from scalpdesk.live.status import ask, running_desks
from scalpdesk.monitor import answers
from scalpdesk.monitor.alert_files import ACKNOWLEDGED_FILE, STATE_FILE, Topic
from scalpdesk.monitor.documents import cut_of, desk_page, run_head, run_state
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.monitor.texts import clock, day_of
from scalpdesk.report.figures import json_safe

_POLL_SECONDS = 0.05
_PUBLISH_SECONDS = 0.1
_HEARTBEAT_SECONDS = 1.0
_CHOOSE_SECONDS = 1.0
MOST_CLIENTS = 200
CLIENT_SECONDS = 30.0
"""A client that takes nothing for so long is closed."""
_SLICE_RECORDS = 8
_OTHER_SECONDS = 1.0
"""Longest that a request reads the journal of a run that is not followed."""
_OTHER_WAIT_SECONDS = 5.0
"""Longest that it waits for others to do so: several turns, as a page that was left may still be read for."""
_MOST_OTHERS = 2
"""Such runs that are kept."""
_KEPT_ANSWERS = 200
_WATCH_SECONDS = 2.0
WATCHER_SECONDS = 60.0
"""While a desk runs, an older one is that of a watcher which is gone: it is renewed every ten seconds."""


encoded = msgspec.json.Encoder(enc_hook=json_safe).encode
"""Returns a document as JSON: a figure that is not finite is null, and numbers of NumPy are numbers."""


class BusyError(Exception):
    """Too many requests wait for the journals of runs that are not followed."""


_AskDesk = Callable[..., dict[str, Any]]
"""Sends a request to a running desk: folder of the run, request, ``timeout_seconds``; returns the answer."""


class _SentCommand(NamedTuple):
    """The command that a key was first used for, and the answer, done once it has come."""

    what: tuple[str, ...]
    """Action, reason, the run that its sender saw and the run that was followed."""
    answer: Future[dict[str, Any]]


class Watch(Protocol):
    """Judges a run: what a person should know of."""

    def look(
        self, follower: RunFollower, status: Mapping[str, Any] | None, *, is_running: bool
    ) -> dict[str, Any]:
        """Return the alerts of a run: those ``open``, and the latest ``sent``."""


class DeskFeed:
    """The followed run, its published state, and the way commands go to the desk.

    ``run``: The run to show, as the command line names it: its id, the beginning of it, ``last``, or a path.
    None shows the desk that runs, else the run written last.
    ``watch``: Judges the run where no watcher sends its alerts.
    ``ask_desk``: Sends requests to the desk.
    ``records_url``: Database of the runs; None is the default store.
    """

    def __init__(
        self,
        runs_dir: Path,
        run: str | None,
        clock: Clock,
        watch: Watch | None = None,
        *,
        ask_desk: _AskDesk = ask,
        records_url: str | None = None,
    ) -> None:
        self._ask = ask_desk
        self.records_url = records_url
        self.runs_dir = runs_dir
        self.lock = threading.Lock()
        self.follower: RunFollower | None = None
        self._others: dict[Path, RunFollower] = {}
        """Runs beside it that pages of orders and decisions asked for, the one asked for last at the end."""
        self._others_lock = threading.Lock()
        self.is_running = False
        self._desks: list[str] = []
        """Desks that run in the folder."""
        self.version = 0
        self.encoded = b""
        self.clients = 0
        self.dropped = 0
        """States that slow clients never got."""
        self.lags: deque[float] = deque(maxlen=600)
        """Seconds that publishing a state took."""
        self._is_starting = False
        """The desk that runs does not follow its market yet."""
        self.problem = ""
        self._run = run
        self.clock = clock
        self._wakers: set[Callable[[], None]] = set()
        self._series_sent = (0, 0)
        self._chosen = -_CHOOSE_SECONDS
        self._published = 0.0
        self._answers: dict[str, _SentCommand] = {}
        """Commands by their key."""
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._watch = watch
        self._alerts: tuple[Path | None, dict[str, Any] | None] = (None, None)
        """Run that was judged last, and its alerts."""

    # following ------------------------------------------------------------------------------

    def start(self) -> None:
        """Follow in a thread of its own, and judge in another: a desk that hangs holds up its answer."""
        for act, pause in ((self.step, _POLL_SECONDS), (self.judge, _WATCH_SECONDS)):
            thread = threading.Thread(target=self._repeat, args=(act, pause), name=act.__name__, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop following, and close the journals."""
        self._stop.set()
        for thread in self._threads:
            thread.join(5.0)
        for follower in (*self._others.values(), *filter(None, (self.follower,))):
            follower.tail.close()

    def judge(self) -> bool:
        """Look for alerts of the followed run: those of its watcher, else by the rules."""
        follower = self.follower
        if follower is None:
            return False
        status = self.desk_status()
        self._is_starting = status is not None and status.get("run") == RunPhase.STARTING
        found = None if self._watcher_is_gone(follower.run_dir) else alerts_of(follower.run_dir)
        if found is not None:
            found["is_sent"] = True
        elif self._watch is not None and follower.is_reading:
            return False  # of the past nothing is reported
        elif self._watch is not None:
            with self.lock:
                found = self._watch.look(follower, status, is_running=self.is_running)
            found["is_sent"] = False
        self._alerts = follower.run_dir, found
        return False

    def _watcher_is_gone(self, run_dir: Path) -> bool:
        """Return whether the desk runs and no watcher renews its alerts; those of a run that ended stay."""
        if not self.is_running:
            return False
        try:
            written_ns = (run_dir / STATE_FILE).stat().st_mtime_ns
        except OSError:
            return True
        return self.clock.now_ns() - written_ns > WATCHER_SECONDS * NANOS_PER_SECOND

    def alerts(self) -> dict[str, Any] | None:
        """Return the alerts of the followed run with ``is_sent``; None before it was judged."""
        run_dir, found = self._alerts
        return found if self.follower is not None and self.follower.run_dir == run_dir else None

    def _alarm(self) -> answers.Alarm | None:
        """Return the first open alarm without an acknowledgement, and the number of these alarms.

        The desk's mode, and that it is gone, is left out: the page shows it in any case.
        """
        waiting = [
            each
            for each in (self.alerts() or {"open": ()})["open"]
            if each["level"] == "alarm" and not each["acknowledged"] and each.get("topic") != Topic.MODE
        ]
        return {"what": waiting[0]["what"], "number": len(waiting)} if waiting else None

    def _repeat(self, act: Callable[[], bool], pause_seconds: float) -> None:
        while not self._stop.is_set():
            try:
                has_more = act()
            except Exception as error:  # noqa: BLE001 - shown on the page; the server goes on
                self.problem = f"{type(error).__name__}: {error}"
                has_more = False
            self._stop.wait(0.0 if has_more else pause_seconds)

    def step(self) -> bool:
        """Choose the run, take in what is new, publish when due; return whether more is waiting."""
        now = time.monotonic()
        if now - self._chosen >= _CHOOSE_SECONDS:
            self._chosen = now
            self.choose()
        count = 0
        with self.lock:
            if self.follower is not None:
                count = self.follower.advance(_SLICE_RECORDS)
        due = _PUBLISH_SECONDS if count else _HEARTBEAT_SECONDS
        if now - self._published >= due:
            self.publish()
        return self.follower is not None and self.follower.is_reading

    def choose(self) -> None:
        """Follow the desk that runs, else the run written last."""
        running = running_desks(self.runs_dir)
        wanted: Path | None = None
        with suppress(DataError):  # there is no run yet
            if self._run is not None:
                wanted = find_run_dir(self.runs_dir, self._run)
            else:
                wanted = running[-1] if running else run_named(self.runs_dir, LAST)
        self.is_running = wanted is not None and wanted in running
        self._desks = [path.name for path in running]
        if wanted is None or (self.follower is not None and self.follower.run_dir == wanted):
            return
        with self.lock:
            if self.follower is not None:
                self.follower.tail.close()
            self.follower = RunFollower(wanted)
            self._series_sent = (-1, 0)

    # publishing -----------------------------------------------------------------------------

    def publish(self) -> None:
        """Encode the newest state, and wake the streams that wait for it."""
        began = time.monotonic()
        with self.lock:
            document = self._document()
        self.encoded = encoded(document)
        self.version += 1
        self._published = time.monotonic()
        self.lags.append(self._published - began)
        for wake in list(self._wakers):
            wake()

    def _document(self) -> dict[str, Any]:
        follower = self.follower
        state: dict[str, Any] = {"version": self.version + 1, "stamp_ms": self.clock.now_ns() // NANOS_PER_MS}
        if follower is None:
            return state | {"head": empty_head(), "desk": {"empty": "No run yet. Start one: scalpdesk demo"}}
        if follower.header is not None:
            self.is_running = self.is_running and not follower.tail.sealed
        generation, sent = self._series_sent
        series = follower.series
        start = sent if generation == series.generation and sent <= len(series) else 0
        self._series_sent = (series.generation, len(series))
        alarm, is_starting = self._alarm(), self._is_starting
        return state | _state_of(follower, start, alarm, is_running=self.is_running, is_starting=is_starting)

    def state_of_run(self, run: str) -> dict[str, Any] | None:
        """Return the newest state of the followed run or, by its name, of another: all of its charts.

        Raises DataError when no run or more than one goes by this name.
        """

        def state(follower: RunFollower) -> dict[str, Any]:
            is_running = self.runs(follower)
            alarm, is_starting = (self._alarm(), self._is_starting) if is_running else (None, False)
            now = {"version": self.version, "stamp_ms": self.clock.now_ns() // NANOS_PER_MS}
            return now | _state_of(follower, 0, alarm, is_running=is_running, is_starting=is_starting)

        found: dict[str, Any] | None = self.read(state, run)
        return found

    def runs(self, follower: RunFollower) -> bool:
        """Return whether the desk of a run runs; commands reach that of the followed run only."""
        return follower is self.follower and self.is_running

    async def states(self) -> AsyncIterator[bytes]:
        """Yield the newest state at once, and each newer state; a slow reader skips states."""
        loop = asyncio.get_running_loop()
        fresh = asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(fresh.set)

        self._wakers.add(wake)
        self.clients += 1
        seen = 0
        try:
            while True:
                if self.version > seen:
                    if seen:
                        self.dropped += self.version - seen - 1
                    seen = self.version
                    yield b"id: %d\nevent: state\ndata: %b\n\n" % (seen, self.encoded)
                fresh.clear()
                if self.version == seen:
                    await fresh.wait()
        finally:
            self._wakers.discard(wake)
            self.clients -= 1

    # reading --------------------------------------------------------------------------------

    def read(self, make: Callable[[RunFollower], Any], run: str = "") -> Any:
        """Return a document of the followed run or, by its name, of another; None while there is no run.

        The journal of another is read for a second a call, and the runs asked for last are kept.

        Raises DataError when no run or more than one goes by this name. Raises BusyError when other requests
        read the journals of other runs.
        """
        followed = self.follower
        run_dir = run_named(self.runs_dir, run) if run else None
        if run_dir is None or (followed is not None and followed.run_dir == run_dir):
            with self.lock:
                return None if self.follower is None else make(self.follower)
        if not self._others_lock.acquire(timeout=_OTHER_WAIT_SECONDS):
            raise BusyError
        try:
            other = self._others.pop(run_dir, None) or RunFollower(run_dir, most_decisions=None)
            self._others[run_dir] = other
            if len(self._others) > _MOST_OTHERS:
                self._others.pop(next(iter(self._others))).tail.close()
            until = time.monotonic() + _OTHER_SECONDS
            while other.advance(_SLICE_RECORDS) and time.monotonic() < until:
                pass
            return make(other)
        finally:
            self._others_lock.release()

    def read_run(self, run: str, make: Callable[[RunFollower], answers.OfRun]) -> Any:
        """Return a document as :meth:`read` does, with ``run`` and ``reading``.

        Until the end of another's journal was read, ``reading`` says up to which New York time.

        Raises DataError when no run or more than one goes by this name.
        """

        def named(follower: RunFollower) -> answers.OfRun:
            until = f"{day_of(follower.now_ns)} {clock(follower.now_ns)}" if follower.is_reading else None
            return {
                **make(follower),
                "run": follower.run_dir.name,
                "day": follower.session or None,
                "reading": until,
                "problem": follower.problem or None,
            }

        return self.read(named, run)

    # commands -------------------------------------------------------------------------------

    def command(self, action: str, key: str, reason: str, run: str = "") -> dict[str, Any]:
        """Send a command to the desk on its control socket; the same key is sent once.

        A second call with a key waits for the answer to the first one; where nothing was sent, or the desk
        did not answer or refused, a later call may try again. A key stands for one command to one run: with
        any other the answer has ``error``, and nothing is sent.

        ``run`` is the run that its sender saw. Where a second desk has started since, the feed may follow
        that one: the answer has ``error`` then, and nothing is sent.

        Raises ScalpdeskError when no desk runs, or it does not answer.
        """
        follower = self.follower
        if follower is None:
            raise DataError(
                "no desk runs here", where=str(self.runs_dir), fix="scalpdesk run STRATEGY starts one"
            )
        own = _SentCommand((action, reason, run, follower.run_dir.name), Future())
        first = self._answers.setdefault(key, own)
        if first.what != own.what:
            return {
                "error": f"nothing was sent: this key was used for {first.what[0]} of {first.what[-1]},"
                " or with another reason",
                "fix": "send a new key with each command",
            }
        if first is not own:
            return first.answer.result()
        try:
            answer, is_done = self._send(follower.run_dir, action, reason, run)
            own.answer.set_result(answer)
        except BaseException as error:
            own.answer.set_exception(error)
            is_done = False
            raise
        finally:
            if not is_done:
                del self._answers[key]
            elif len(self._answers) > _KEPT_ANSWERS:
                known = tuple(self._answers.items())
                del self._answers[next(name for name, each in known if each.answer.done())]
        return answer

    def _send(self, run_dir: Path, action: str, reason: str, run: str) -> tuple[dict[str, Any], bool]:
        """Return the answer to a command and whether it was carried out."""
        followed = run_dir.name
        if run and run != followed:
            return {
                "error": f"nothing was sent: the page showed {run}, and follows {followed} by now",
                "fix": f"scalpdesk {action} --run {run}",
            }, False
        if not run and self._run is None and len(self._desks) > 1:
            return {
                "error": f"nothing was sent: more than one desk runs here: {', '.join(self._desks)}",
                "fix": "name the desk as run",
            }, False
        if (refusal := self.refusal) is not None:
            return dict(refusal), False
        answer = self._ask(run_dir, {"do": action, "reason": reason}, timeout_seconds=2.0)
        return answer, "error" not in answer

    @property
    def refusal(self) -> answers.NoRun | None:
        """Why the followed run takes no commands: ``error`` and ``fix``; None while its desk runs."""
        follower = self.follower
        if follower is None or self.is_running:
            return None
        state = run_state(follower, is_running=False, is_cut=cut_of(follower) is not None)
        is_over = state in ("ended", "cut")
        what = f"{follower.run_dir.name} {'has ended' if is_over else 'does not run'}"
        return {
            "error": f"nothing was sent: {what} and takes no commands",
            "fix": f"scalpdesk run STRATEGY starts a desk{'' if is_over else '; --resume resumes this one'}",
        }

    def desk_status(self) -> dict[str, Any] | None:
        """Return the running desk's own answer to ``status``; None where no desk runs or answers."""
        follower = self.follower
        if follower is None or not self.is_running:
            return None
        try:
            return self._ask(follower.run_dir, {"do": "status"}, timeout_seconds=1.0)
        except ScalpdeskError:
            return None


def _state_of(
    follower: RunFollower, start: int, alarm: answers.Alarm | None, *, is_running: bool, is_starting: bool
) -> dict[str, Any]:
    """Return header, Desk page, executions and, from a position on, charts of a run."""
    return {
        "head": {**run_head(follower, is_running=is_running), "alarm": alarm, "starting": is_starting},
        "desk": desk_page(follower),
        "series": columns_since(follower, start),
        "fills": 0 if follower.engine is None else follower.fold.fill_count,
    }


def columns_since(follower: RunFollower, start: int) -> dict[str, Any]:
    """Return what was added to the charts of a run from a position on."""
    series = follower.series
    return {
        "run": follower.run_dir.name,
        "generation": series.generation,
        "from": start,
        "columns": series.since(start),
    }


def acknowledge(run_dir: Path, key: str, who: str) -> None:
    """Leave an acknowledgement for the process that watches the desk; an empty key means all."""
    path = run_dir / ACKNOWLEDGED_FILE
    own_file(path)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{msgspec.json.encode([key, who]).decode()}\n")


def alerts_of(run_dir: Path) -> dict[str, Any] | None:
    """Return the alerts of a run as its watcher wrote them last; None for a run without a watcher."""
    try:
        return msgspec.json.decode((run_dir / STATE_FILE).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError):
        return None


def empty_head() -> answers.Head:
    """Return the header of a page without a run: the account is not known."""
    return {
        "account": {"kind": "UNKNOWN", "label": "UNKNOWN ACCOUNT", "last4": ""},
        "state": "empty",
        "title": "scalpdesk",
        "subtitle": "no run yet",
        "problem": None,
    }


def resident_bytes() -> int:
    """Return the memory of this process; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
