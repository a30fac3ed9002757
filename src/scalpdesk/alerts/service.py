"""Watches one desk and sends its alerts: follows the journal and asks for ``status``.

It runs in a process of its own, shares nothing with the desk but the run's folder and its control socket, and
outlives it: that a desk has gone is an alert, too.
"""

import secrets
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from scalpdesk.alerts.book import AlertBook, Message
from scalpdesk.alerts.channels import BotCommand, Channels, TelegramBot, call
from scalpdesk.alerts.rules import Alert, DeskRules, Level, status_text
from scalpdesk.config.schema import Secret
from scalpdesk.config.settings import AlertSettings, CredentialsSection, DeskConfig
from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import Notify, RetryError, ScalpdeskError
from scalpdesk.core.owner_only import own_file
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.live.status import ask, running_desks
from scalpdesk.monitor import documents, position_documents
from scalpdesk.monitor.alert_files import STATE_FILE, Topic
from scalpdesk.monitor.follower import RunFollower

_STATUS_SECONDS = 2.0
_BOT_SECONDS = 2.0
_STATE_SECONDS = 10.0
_CODE_SECONDS = 60.0
_RETRY_SECONDS = (5.0, 15.0, 60.0, 300.0)
_ALERT_KEYS = ("alert_urls", "alert_escalation_urls", "alert_heartbeat_url", "telegram_bot_key")
_MOST_UNSENT = 100
_SLICE_RECORDS = 256
HELP = "/status shows the desk, /halt stops its orders, /flatten closes all, /ack acknowledges the alarms."


class AlertOutbox:
    """Sends messages; tries what an address did not take again."""

    def __init__(self, notify: Notify) -> None:
        self._notify = notify
        self.waiting: deque[tuple[Channels, int, Message]] = deque(maxlen=_MOST_UNSENT)
        """Channel, place of the address in it, and what it has not taken."""
        self._failures = 0
        self._next_ns: int | None = None

    def send(self, channels: Channels, message: Message) -> None:
        """Send to every address of a channel."""
        for place, was_taken in enumerate(channels.send(message)):
            if not was_taken:
                self._notify("warning", f"not taken by {channels.names[place]}: {message.title}")
                self.waiting.append((channels, place, message))

    def send_again(self, now_ns: int) -> None:
        """Send again what no channel took: after 5 s, 15 s, a minute, then every five minutes.

        An address that refuses is left until the next time: each try of one that hangs takes seconds, in
        which nothing is judged and no heartbeat is sent. What it refused goes last, so that it holds up
        nothing that the address would take.
        """
        if not self.waiting:
            self._failures, self._next_ns = 0, None
            return
        is_first = self._next_ns is None
        if self._next_ns is not None and now_ns < self._next_ns:
            return
        pause = _RETRY_SECONDS[min(self._failures, len(_RETRY_SECONDS) - 1)]
        self._next_ns = now_ns + int(pause * NANOS_PER_SECOND)
        if is_first:
            return
        waiting = list(self.waiting)
        self.waiting.clear()
        refused: dict[tuple[int, int], tuple[Channels, int, Message]] = {}
        for item in waiting:
            channels, place, message = item
            if (id(channels), place) in refused:
                self.waiting.append(item)
            elif not channels.send_to(place, message):
                refused[id(channels), place] = item
        self.waiting.extend(refused.values())
        self._failures += 1


class AlertService:
    """Watches the desk of one run.

    ``config``: Sections ``[alerts]`` and ``[credentials]``.
    ``notify``: Takes what could not be sent.
    ``ask_desk``: Sends a request to the desk; for tests.
    """

    def __init__(
        self,
        run_dir: Path,
        config: DeskConfig,
        clock: Clock,
        notify: Notify,
        *,
        ask_desk: Callable[[Path, dict[str, Any]], dict[str, Any]] | None = None,
        is_running: Callable[[Path], bool] | None = None,
    ) -> None:
        keys, self._settings = config.credentials, config.alerts
        self.run_dir = run_dir
        self.follower = RunFollower(run_dir)
        self.book = AlertBook(self._settings)
        self._clock = clock
        self._notify = notify
        self._ask = ask_desk or (lambda folder, request: ask(folder, request, timeout_seconds=2.0))
        self._is_running = is_running or (lambda folder: folder in running_desks(folder.parent))
        self._channels = Channels(keys.alert_urls)
        self._escalation = Channels(keys.alert_escalation_urls, "alert_escalation_urls")
        self._heartbeat_url = keys.alert_heartbeat_url
        self._bot: TelegramBot | None = None
        if keys.telegram_bot_key is not None and self._settings.telegram_operators:
            self._bot = TelegramBot(
                keys.telegram_bot_key,
                self._settings.telegram_api,
                self._settings.telegram_operators,
                self._note_stranger,
            )
        self._rules: DeskRules | None = None
        self._news: list[Alert] = []
        self._outbox = AlertOutbox(notify)
        self._next: dict[str, int] = {}
        """When each thing that is done now and then is due."""
        self._status: dict[str, Any] | None = None
        self._listens = False
        self._codes: dict[int, tuple[str, int]] = {}
        self._written = b""

    def _is_due(self, what: str, now_ns: int, seconds: float) -> bool:
        if now_ns < self._next.get(what, 0):
            return False
        self._next[what] = now_ns + int(seconds * NANOS_PER_SECOND)
        return True

    def step(self) -> bool:
        """Look once: read on, judge, send; return whether more of the journal waits."""
        follower, now_ns = self.follower, self._clock.now_ns()
        if follower.advance(_SLICE_RECORDS) >= _SLICE_RECORDS // 2:
            return True  # of the past nothing is reported but what still holds
        if self._rules is None:
            if follower.engine is None and not follower.problem:
                return False
            self._rules = DeskRules(self._settings, follower)
            self.book.title = self._title()
        if self._is_due("status", now_ns, _STATUS_SECONDS):
            self._ask_status()
        self.book.take_acknowledgements(self.run_dir)
        news = [*self._rules.news(), *self._news]
        self._news.clear()
        if not self._settings.summary:
            news = [alert for alert in news if alert.topic is not Topic.SUMMARY]
        holding = self._rules.conditions(now_ns, self._status, is_running=self._listens)
        self.book.update(holding, news, now_ns)
        for message in self.book.due(now_ns):
            self._send(message)
        self._outbox.send_again(now_ns)
        self._beat(now_ns)
        self._hear(now_ns)
        self._write_state()
        return False

    def finish(self) -> None:
        """Send what waits, at the end."""
        for message in self.book.due(self._clock.now_ns(), at_once=True):
            self._send(message)
        self._write_state()
        self.follower.tail.close()

    def _title(self) -> str:
        head = documents.run_head(self.follower, is_running=True)
        return f"scalpdesk {head['account']['label']} {head['title']}"

    def _ask_status(self) -> None:
        self._listens, self._status = self._is_running(self.run_dir), None
        if self._listens:
            with suppress(ScalpdeskError):
                self._status = self._ask(self.run_dir, {"do": "status"})

    # out ----------------------------------------------------------------------------------------

    def _send(self, message: Message) -> None:
        everyone = (self._channels, self._escalation) if message.escalated else (self._channels,)
        for channels in everyone:
            self._outbox.send(channels, message)

    def _beat(self, now_ns: int) -> None:
        """Call the heartbeat's address while the desk answers and its journal can be followed."""
        if self._heartbeat_url is None or self._status is None or self.follower.problem:
            return
        if self._is_due("beat", now_ns, self._settings.heartbeat_seconds):
            try:
                call(self._heartbeat_url)
            except ScalpdeskError as error:
                self._notify("warning", f"heartbeat: {error.what} ({error.value})")

    def _write_state(self) -> None:
        """Leave open alerts and messages in the run's folder, when they have changed, and every ten seconds.

        A page believes an older file of a desk that runs to be of a watcher that is gone.
        """
        content = msgspec.json.encode(self.book.document())
        if self._is_due("state", self._clock.now_ns(), _STATE_SECONDS) or content != self._written:
            self._written = content
            path = self.run_dir / STATE_FILE
            beside = path.with_suffix(".tmp")
            with suppress(OSError):  # a reader sees the old file or the new one
                own_file(beside)
                beside.write_bytes(content)
                beside.replace(path)

    # back ---------------------------------------------------------------------------------------

    def _note_stranger(self, user: int) -> None:
        self._news.append(
            Alert(
                f"stranger {user}",
                Level.WARNING,
                f"Telegram user {user} sent a command to the desk's bot and is no operator.",
                "did nothing and did not answer.",
                "Is the bot's name known to others? alerts.telegram_operators lists who may.",
            )
        )

    def _hear(self, now_ns: int) -> None:
        if self._bot is None or not self._is_due("bot", now_ns, _BOT_SECONDS):
            return
        try:
            for command in self._bot.commands(now_ns / NANOS_PER_SECOND):
                text = self._carried_out(command, now_ns)
                try:
                    self._bot.answer(command, text)
                except RetryError as error:  # the commands behind it are not asked for again
                    self._notify("warning", f"Telegram: {error.what} ({error.value})")
        except RetryError as error:
            self._notify("warning", f"Telegram: {error.what} ({error.value})")

    def _carried_out(self, command: BotCommand, now_ns: int) -> str:
        name = command.words[0]
        if name == "status":
            return status_text(self.follower, is_running=self._listens)
        if name == "ack":
            found = self.book.acknowledge(" ".join(command.words[1:]), f"telegram {command.name}")
            return f"acknowledged: {', '.join(found) or 'nothing was open'}"
        if name == "halt":
            return self._operate("halt", command)
        if name == "flatten":
            code, until_ns = self._codes.pop(command.user, ("", 0))
            given = command.words[1] if len(command.words) > 1 else ""
            if code and now_ns < until_ns and secrets.compare_digest(code.encode(), given.encode()):
                return self._operate("flatten", command)
            code = f"{secrets.randbelow(10_000):04d}"
            self._codes[command.user] = (code, now_ns + int(_CODE_SECONDS * NANOS_PER_SECOND))
            plan = position_documents.flatten_plan(self.follower)
            cost = f" {plan['cost']}" if plan.get("cost") else ""
            return f"{plan['title']}. {plan['legs']}{cost}\nTo do it, within a minute: /flatten {code}"
        return HELP

    def _operate(self, action: str, command: BotCommand) -> str:
        reason = f"{action} from Telegram by {command.name} ({command.user})"
        try:
            answer = self._ask(self.run_dir, {"do": action, "reason": reason})
        except ScalpdeskError as error:
            return f"{action} was NOT carried out: {error.what}. {error.fix or ''}"
        whose = "".join(
            f", {word} {answer[name]}"
            for word, name in (("account", "account"), ("at", "venue"), ("started in", "folder"))
            if answer.get(name)
        )
        if "error" in answer:
            return f"{action} was NOT carried out: {answer['error']}{whose}"
        if "note" in answer:
            return f"{action}: {answer['note']}{whose}."
        return f"{action}: the desk was {answer.get('was')}, is {answer.get('mode')} now{whose}."


class PageWatch:
    """Open alerts of the run that a page follows, for a desk without a watcher."""

    def __init__(self, settings: AlertSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._follower: RunFollower | None = None

    def look(
        self, follower: RunFollower, status: Mapping[str, Any] | None, *, is_running: bool
    ) -> dict[str, Any]:
        """Judge a run once; return its alerts in the form of the file that a watcher leaves."""
        if follower is not self._follower:
            self._follower = follower
            self._rules, self._book = DeskRules(self._settings, follower), AlertBook(self._settings)
        now_ns = self._clock.now_ns()
        self._book.take_acknowledgements(follower.run_dir)
        holding = self._rules.conditions(now_ns, status, is_running=is_running)
        self._book.update(holding, self._rules.news(), now_ns)
        self._book.due(now_ns)  # not sent: among the latest on the page
        return self._book.document()


# beside a desk ------------------------------------------------------------------------------------


class WatchOrders(msgspec.Struct, frozen=True):
    """First line to a watcher: what it needs of the desk's configuration, keys as they are."""

    settings: AlertSettings
    keys: dict[str, str]

    @staticmethod
    def of(config: DeskConfig) -> "WatchOrders":
        """Return what a watcher needs."""
        held = {name: getattr(config.credentials, name) for name in _ALERT_KEYS}
        return WatchOrders(
            config.alerts, {name: key.reveal() for name, key in held.items() if key is not None}
        )

    def config(self) -> DeskConfig:
        """Return it as a configuration."""
        keys = {name: Secret(self.keys[name]) for name in _ALERT_KEYS if name in self.keys}
        return DeskConfig(alerts=self.settings, credentials=structs.replace(CredentialsSection(), **keys))


class WatcherProcess:
    """``scalpdesk alerts watch`` in a process of its own, beside a desk of this one.

    Its sections ``[alerts]`` and ``[credentials]`` pass through a pipe and nowhere else.
    """

    def __init__(self, config: DeskConfig) -> None:
        # a session of its own: an interrupt ends the desk first, and then this
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scalpdesk", "alerts", "watch", "--beside-desk"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._write(msgspec.json.encode(WatchOrders.of(config)))

    def begin(self, run_dir: Path) -> None:
        """Name the folder of the run that begins."""
        self._write(msgspec.json.encode({"run_dir": str(run_dir.resolve())}))

    def end(self) -> None:
        """Report the orderly end of the desk; the process sends what it has and ends."""
        self._write(b'{"end":true}')
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):  # it has ended: the desk goes on without
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
