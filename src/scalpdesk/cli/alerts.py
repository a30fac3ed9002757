"""``scalpdesk alerts``: messages to people when a desk needs them, and their acknowledgement."""

import getpass
import json
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from scalpdesk.cli.command import DeskGroup, desk_command, settings_from, settings_options
from scalpdesk.cli.output import print_answer, print_json
from scalpdesk.core.errors import EXIT_FAILED, ConfigError, DataError, ScalpdeskError, nearest_name
from scalpdesk.core.flags import read_date
from scalpdesk.core.units import count_text
from scalpdesk.instruments.sessions import new_york_ns, to_new_york

PAUSE_SECONDS = 0.5
_AFTER_DESK_SECONDS = 120.0
"""The watcher of a desk that died goes on for so long: its watchdog may need it."""


@click.group("alerts", cls=DeskGroup)
def alerts() -> None:
    """Messages to people when a desk needs them: mail, chat, telephone."""


def _config(config_file: str | None, overrides: tuple[str, ...]) -> Any:
    return settings_from(config_file, overrides, simulated_account=False).config


def _run_dir(command: str, config_file: str | None, overrides: tuple[str, ...], run: str | None) -> Path:
    """Return the folder of a run: the one named, else that of the desk that runs here, else the last."""
    from scalpdesk.cli.operate import desk_finder, run_meant

    return run_meant(run, desk_finder(None, config_file, overrides), f"alerts {command}")


def _alerts_of(run_dir: Path) -> dict[str, Any]:
    """Return the alerts of a run as its watcher left them; refuse a run without a watcher."""
    from scalpdesk.web.feed import alerts_of

    found = alerts_of(run_dir)
    if found is None:
        raise DataError(
            "nobody was told of this run's alarms: no watcher follows it",
            where=run_dir.name,
            fix="scalpdesk alerts watch, and credentials.alert_urls",
        )
    return found


@desk_command("test", example=("scalpdesk alerts test", "scalpdesk alerts test --json"), group=alerts)
@settings_options
def test(*, as_json: bool, config_file: str | None, overrides: tuple[str, ...]) -> int | None:
    """Send a test message to every address of the configuration; exit 1 when one does not take it."""
    from scalpdesk.alerts.book import Message
    from scalpdesk.alerts.channels import Channels, call
    from scalpdesk.alerts.rules import Alert, Level

    keys = _config(config_file, overrides).credentials
    example = Alert(
        "test",
        Level.WARNING,
        "This is a test of the desk's alerts.",
        "goes on as before.",
        "Nothing; alerts look like this.",
    )
    message = Message("scalpdesk: TEST", example.text, Level.WARNING)
    rows: list[dict[str, Any]] = []
    for purpose, key in (("alerts", "alert_urls"), ("escalation", "alert_escalation_urls")):
        channels = Channels(getattr(keys, key), key)
        taken = channels.send(message)
        rows += [
            {"to": name, "for": purpose, "taken": was_taken}
            for name, was_taken in zip(channels.names, taken, strict=True)
        ]
    if keys.alert_heartbeat_url is not None:
        try:
            call(keys.alert_heartbeat_url)
            was_taken = True
        except ScalpdeskError:
            was_taken = False
        rows.append({"to": "heartbeat address", "for": "heartbeat", "taken": was_taken})
    if not rows:
        raise ConfigError(
            "there is no address to send alerts to",
            where="credentials.alert_urls",
            fix="SCALPDESK_CREDENTIALS__ALERT_URLS=tgram://… in .env",
        )
    lines = (f"{'taken' if row['taken'] else 'NOT TAKEN'}: {row['to']} ({row['for']})" for row in rows)
    print_answer({"sent": rows}, "\n".join(lines), as_json=as_json)
    return None if all(row["taken"] for row in rows) else EXIT_FAILED


@desk_command("ls", example="scalpdesk alerts ls", group=alerts)
@click.option("--run", "run_id", metavar="RUN", help="The run [default: the desk that runs].")
@click.option("--since", metavar="DATE", help="Also the messages sent from the New York midnight of DATE on.")
@settings_options
def ls(
    *,
    as_json: bool,
    run_id: str | None,
    since: str | None,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """List the open alerts of a desk, as its watcher left them."""
    run_dir = _run_dir("ls", config_file, overrides, run_id)
    found = _alerts_of(run_dir)
    if since is not None:
        since_ns = new_york_ns(read_date(since, "--since"), datetime.min.time())
        found["sent"] = [each for each in found["sent"] if each["ts_ns"] >= since_ns]
    if as_json:
        print_json({"run_id": run_dir.name, **found})
        return
    for each in found["open"]:
        by = f" (acknowledged by {each['acknowledged']})" if each["acknowledged"] else ""
        click.echo(f"{each['level'].upper()} {each['key']}{by}: {each['what']}")
    for each in found["sent"] if since is not None else ():
        at = f"{to_new_york(each['ts_ns']):%Y-%m-%d %H:%M}"
        click.echo(f"sent {at} {each['level'].upper()} {each['title']}: {each['text']}")
    click.echo(f"{len(found['open'])} open, {count_text(len(found['sent']), 'message')} sent")


@desk_command("ack", example=("scalpdesk alerts ack", "scalpdesk alerts ack unhedged"), group=alerts)
@click.argument("key", default="")
@click.option("--run", "run_id", metavar="RUN", help="The run [default: the desk that runs].")
@settings_options
def ack(
    *, as_json: bool, key: str, run_id: str | None, config_file: str | None, overrides: tuple[str, ...]
) -> None:
    """Acknowledge open alerts, all or those whose key begins so: they are not sent again."""
    from scalpdesk.web.feed import acknowledge

    run_dir = _run_dir("ack", config_file, overrides, run_id)
    open_keys = [str(each["key"]) for each in _alerts_of(run_dir)["open"]]
    if key and not any(name.startswith(key) for name in open_keys):
        raise ConfigError(
            f"no open alert begins so; open: {', '.join(open_keys) or 'none'}",
            where="KEY",
            value=key,
            nearest=nearest_name(key, open_keys),
            fix=f"scalpdesk alerts ls --run {run_dir.name}",
        )
    who = getpass.getuser()
    acknowledge(run_dir, key, who)
    text = f"acknowledged {key or 'all open alerts'} of {run_dir.name}"
    print_answer({"run_id": run_dir.name, "key": key, "who": who}, text, as_json=as_json)


@desk_command("watch", example=("scalpdesk alerts watch", "scalpdesk alerts watch --run last"), group=alerts)
@click.option("--run", "run_id", metavar="RUN", help="Watch this run [default: the desk that runs].")
@click.option("--beside-desk", is_flag=True, hidden=True, help="Started by a desk, which names its runs.")
@settings_options
def watch(
    *,
    as_json: bool,
    run_id: str | None,
    beside_desk: bool,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Watch a desk and send its alerts until it ends; `scalpdesk run` starts this by itself.

    Needs addresses in credentials.alert_urls. The desk is not touched: its journal is read and its status is
    asked for.
    """
    from scalpdesk.alerts.service import AlertService, WatchOrders
    from scalpdesk.core.clock import SteadyClock

    desk, clock = _DeskLine(), SteadyClock()
    run_dir: Path | None
    if beside_desk:
        config = msgspec.json.decode(sys.stdin.readline(), type=WatchOrders).config()
        desk.start()
        run_dir = desk.next_run(None)
    else:
        config = _config(config_file, overrides)
        run_dir = _run_dir("watch", config_file, overrides, run_id)
        click.echo(f"watching {run_dir.name}; Ctrl-C ends it, the desk goes on", err=True)
    while run_dir is not None:
        service = AlertService(run_dir, config, clock, _say)
        try:
            while not (desk.is_done(run_dir) if beside_desk else service.follower.tail.sealed):
                if not service.step():
                    time.sleep(PAUSE_SECONDS)
            while service.step():  # to the journal's end
                pass
        finally:
            service.finish()
            if as_json:
                print_json({"run_id": run_dir.name, **service.book.document()})
        run_dir = desk.next_run(run_dir) if beside_desk else None


def _say(level: str, text: str) -> None:
    sys.stderr.write(f"alerts: {level}: {text}\n")


class _DeskLine:
    """Messages of the desk that started this process: each run that begins, its orderly end."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._runs: list[Path] = []
        self._ended_at: float | None = None
        self._is_orderly = False

    def start(self) -> None:
        """Read on in a thread."""
        threading.Thread(target=self._read, name="desk", daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            with self._changed:
                if "run_dir" in message:
                    self._runs.append(Path(message["run_dir"]))
                self._is_orderly = self._is_orderly or bool(message.get("end"))
                self._changed.notify_all()
        with self._changed:
            self._ended_at = time.monotonic()
            self._changed.notify_all()

    def next_run(self, after: Path | None) -> Path | None:
        """Return the run that began after another; wait for it, None when the desk has ended."""
        with self._changed:
            place = 0 if after is None else self._runs.index(after) + 1
            self._changed.wait_for(lambda: len(self._runs) > place or self._ended_at is not None)
            return self._runs[place] if len(self._runs) > place else None

    def is_done(self, run_dir: Path) -> bool:
        """Return whether a run needs no watching any more: another has begun, or the desk has ended.

        A desk that died is watched for a while longer: what its watchdog does is reported.
        """
        with self._changed:
            if self._runs[-1] != run_dir or (self._is_orderly and self._ended_at is not None):
                return True
            return self._ended_at is not None and time.monotonic() - self._ended_at > _AFTER_DESK_SECONDS
