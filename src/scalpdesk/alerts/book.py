"""Which alerts are sent, when and to whom: levels, quiet hours, groups, acknowledgement, escalation."""

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from scalpdesk.alerts.rules import RANK, Alert, Level
from scalpdesk.config.settings import AlertSettings, quiet_span
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.sessions import from_ns
from scalpdesk.monitor.alert_files import ACKNOWLEDGED_FILE, Topic
from scalpdesk.monitor.texts import span

_KEPT = 200
_MOST_ESCALATIONS = 8


class Message(msgspec.Struct, frozen=True):
    """One message: an alert or several of a moment."""

    title: str
    body: str
    """``title``, ``body``: Plain text."""
    level: Level
    """The highest of its alerts."""
    escalated: bool = False
    """Whether it also goes to the addresses for escalation."""


@dataclass(slots=True)
class _OpenAlert:
    """A condition that holds, or has just ended.

    ``sent_ns`` is 0 before it was sent.
    """

    alert: Alert
    since_ns: int
    last_ns: int
    sent_ns: int = 0
    acknowledged: str = ""
    escalations: int = 0


@dataclass(slots=True)
class AlertBook:
    """Open alerts, and what is to be sent of them."""

    settings: AlertSettings
    """Settings of the section ``[alerts]``."""
    title: str = "scalpdesk"
    """Begins each message: which desk it is."""
    open: dict[str, _OpenAlert] = field(default_factory=dict)
    sent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _waiting: list[tuple[int, Level, str, str]] = field(default_factory=list)
    """Texts to be sent: when each came, its level, and the key of what it says is over, else empty."""
    _last_sent_ns: dict[str, int] = field(default_factory=dict)
    _suppressed: dict[str, int] = field(default_factory=dict)
    _read_acknowledgements: int = 0

    def update(self, holding: Iterable[Alert], news: Iterable[Alert], now_ns: int) -> None:
        """Take in what holds now and what has happened since the last time."""
        keys = set()
        for alert in holding:
            keys.add(alert.key)
            known = self.open.get(alert.key)
            if known is None:
                # its end was not sent yet, in quiet hours for instance: beside it that would be wrong
                self._waiting = [each for each in self._waiting if each[3] != alert.key]
                self.open[alert.key] = opened = _OpenAlert(alert, now_ns, now_ns)
                if self._tell(alert, now_ns):
                    opened.sent_ns = now_ns
                continue
            known.alert, known.last_ns = alert, now_ns
            if not known.sent_ns and not self._repeats(alert, now_ns) and self._tell(alert, now_ns):
                known.sent_ns = now_ns
        for key in [key for key in self.open if key not in keys]:
            # a condition that flickers is one condition: it is over once it has been gone for a while
            if now_ns - self.open[key].last_ns >= self.settings.settle_seconds * NANOS_PER_SECOND:
                ended = self.open.pop(key)
                if ended.sent_ns:
                    held = span((ended.last_ns - ended.since_ns) / NANOS_PER_SECOND)
                    first = ended.alert.what.partition("\n")[0]
                    level = min(ended.alert.level, Level.WARNING, key=RANK.__getitem__)
                    self._wait(now_ns, level, f"OVER after {held}: {first}", key)
        for alert in news:
            self._tell(alert, now_ns)

    def _tell(self, alert: Alert, now_ns: int) -> bool:
        """Put an alert among what waits to be sent; false when its level is too low or it repeats itself."""
        if RANK[alert.level] < RANK[Level(self.settings.level)] and alert.topic is not Topic.SUMMARY:
            return False
        if self._repeats(alert, now_ns):
            self._suppressed[alert.key] = self._suppressed.get(alert.key, 0) + 1
            return False
        self._last_sent_ns[alert.key] = now_ns
        times = self._suppressed.pop(alert.key, 0)
        again = f" ({times} times more since the last message of it)" if times else ""
        self._wait(now_ns, alert.level, f"{alert.level.upper()}: {alert.text}{again}")
        return True

    def _repeats(self, alert: Alert, now_ns: int) -> bool:
        last_ns = self._last_sent_ns.get(alert.key)
        return last_ns is not None and now_ns - last_ns < self.settings.repeat_seconds * NANOS_PER_SECOND

    def _wait(self, now_ns: int, level: Level, text: str, over: str = "") -> None:
        self._waiting.append((now_ns, level, text, over))

    def acknowledge(self, key: str, who: str) -> list[str]:
        """Acknowledge the open alert of this key, else those whose key begins so; return their keys.

        An empty key means all.
        """
        named = [key] if key in self.open else [name for name in self.open if name.startswith(key)]
        found = [name for name in named if not self.open[name].acknowledged]
        for name in found:
            self.open[name].acknowledged = who
        return found

    def take_acknowledgements(self, run_dir: Path) -> None:
        """Take in what people have acknowledged in a run's folder since the last call."""
        try:
            lines = (run_dir / ACKNOWLEDGED_FILE).read_bytes().splitlines()
        except OSError:
            return
        for line in lines[self._read_acknowledgements :]:
            with suppress(msgspec.MsgspecError):
                key, who = msgspec.json.decode(line, type=tuple[str, str])
                self.acknowledge(key, who)
        self._read_acknowledgements = len(lines)

    def is_quiet(self, now_ns: int) -> bool:
        """Return whether only alarms are sent now."""
        quiet = quiet_span(self.settings.quiet_hours)
        if quiet is None:
            return False
        start, end = quiet
        local: datetime = from_ns(now_ns).astimezone(ZoneInfo(self.settings.timezone))
        at = local.time()
        return start <= at < end if start <= end else at >= start or at < end

    def due(self, now_ns: int, *, at_once: bool = False) -> list[Message]:
        """Return what is to be sent now, and count it as sent.

        An alarm goes at once and takes with it whatever waits; the rest waits ``group_seconds`` for more of
        its kind, in quiet hours until they end. ``at_once`` waits for nothing.
        """
        messages = []
        if self._waiting:
            has_alarm = any(each[1] is Level.ALARM for each in self._waiting)
            waited_ns = now_ns - self._waiting[0][0]
            is_ripe = waited_ns >= self.settings.group_seconds * NANOS_PER_SECOND
            if at_once or has_alarm or (is_ripe and not self.is_quiet(now_ns)):
                messages.append(self._message())
        messages += self._escalations(now_ns)
        for message in messages:
            self.sent.append(
                {"ts_ns": now_ns, "level": message.level.value, "title": message.title, "text": message.body}
            )
        return messages

    def _message(self) -> Message:
        ordered = sorted(self._waiting, key=lambda item: (-RANK[item[1]], item[0]))
        self._waiting.clear()
        level = ordered[0][1]
        counted = f", {len(ordered)} alerts" if len(ordered) > 1 else ""
        return Message(
            f"{self.title}: {level.upper()}{counted}", "\n\n".join(each[2] for each in ordered), level
        )

    def _escalations(self, now_ns: int) -> list[Message]:
        """Return the alarms that were not acknowledged in time; each waits twice as long as before."""
        found = []
        for each in self.open.values():
            if each.alert.level is not Level.ALARM or each.acknowledged or not each.sent_ns:
                continue
            wait = self.settings.escalate_seconds * 2.0**each.escalations
            if each.escalations >= _MOST_ESCALATIONS or now_ns - each.sent_ns < wait * NANOS_PER_SECOND:
                continue
            each.escalations += 1
            each.sent_ns = now_ns
            age = span((now_ns - each.since_ns) / NANOS_PER_SECOND)
            body = f"NOT ACKNOWLEDGED for {age}: {each.alert.text}\nStop this by: scalpdesk alerts ack"
            found.append(Message(f"{self.title}: ALARM, not acknowledged", body, Level.ALARM, escalated=True))
        return found

    def document(self) -> dict[str, Any]:
        """Return open alerts, the gravest first, and the latest messages.

        For the page and for ``scalpdesk alerts ls``.
        """
        gravest_first = sorted(self.open.items(), key=lambda item: -RANK[item[1].alert.level])
        return {
            "open": [
                {
                    "key": key,
                    "level": each.alert.level.value,
                    "topic": each.alert.topic.value,
                    "what": each.alert.what,
                    "did": each.alert.did,
                    "asked": each.alert.asked,
                    "since_ns": each.since_ns,
                    "acknowledged": each.acknowledged or None,
                }
                for key, each in gravest_first
            ],
            "sent": list(self.sent),
        }
