"""The ways out and back: apprise addresses, the heartbeat of the dead-man switch, Telegram commands.

No address is shown or logged whole: each holds a token.
"""

import http.client
import logging
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from scalpdesk.alerts.book import Message
from scalpdesk.alerts.rules import Level
from scalpdesk.config.schema import Secret
from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.core.sockets import ALERT_CHANNELS

_TIMEOUT_SECONDS = 10.0
MOST_BYTES = 1 << 20
KINDS = {Level.INFO: "info", Level.WARNING: "warning", Level.ALARM: "failure"}
"""Our levels as apprise calls them."""


class Channel(Protocol):
    """An address that messages go to."""

    @property
    def name(self) -> str:
        """Service and host, for logs; never a token."""
        ...

    def send(self, message: Message) -> bool:
        """Send a message; return whether it was taken. One that was not is sent again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSpec:
    """A kind of addresses, by their scheme: ``NAME://…``."""

    name: str
    open: Callable[[str], Channel]
    """Makes the channel of an address; nothing is sent yet. ConfigError for a faulty address."""


class _AppriseChannel:
    """An address of apprise. Raises ConfigError when it is no address that apprise knows."""

    def __init__(self, url: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # apprise looks for modules that are to go
            import apprise  # noqa: PLC0415 - the extra "alerts"; nothing else of the desk needs it

            logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its messages show addresses
            self._target: Any = apprise.Apprise.instantiate(url, suppress_exceptions=True)
            if self._target is None:
                raise ConfigError(
                    "this is no address that apprise knows",
                    fix="the forms of addresses: https://github.com/caronc/apprise/wiki",
                )
            if self._target.overflow_mode is apprise.OverflowMode.UPSTREAM:
                # a longer one would be refused for ever: Telegram takes 4,096 characters, Discord 2,000
                self._target.overflow_mode = apprise.OverflowMode.SPLIT

    @property
    def name(self) -> str:
        """Service and host; the path is left out, since it may hold a token."""
        parts = urllib.parse.urlsplit(str(self._target.url(privacy=True)))
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def send(self, message: Message) -> bool:
        """Send a message; return whether it was taken."""
        # named as plain text: a service that reads HTML would refuse a bare "<", or run the lines together
        return bool(
            self._target.notify(
                body=message.body,
                title=message.title,
                notify_type=KINDS[message.level],
                body_format="text",
            )
        )


APPRISE = ChannelSpec(name="apprise", open=_AppriseChannel)


class Channels:
    """Addresses that messages go to, each tried by itself.

    ``urls`` are addresses with spaces between them, set by ``key`` of the section [credentials]. The scheme
    names an installed package's channel; any other address is apprise's. Raises ConfigError when one of them
    is no address, or a package's channel does not keep its contract.
    """

    def __init__(self, urls: Secret | None, key: str = "alert_urls") -> None:
        self._targets: list[Channel] = []
        installed = ALERT_CHANNELS.names() if urls is not None else ()
        for place, url in enumerate(() if urls is None else urls.reveal().split(), start=1):
            scheme = url.partition(":")[0].lower()
            spec = ALERT_CHANNELS.find_spec(ChannelSpec, scheme if scheme in installed else APPRISE.name)
            try:
                self._targets.append(spec.open(url))
            except ConfigError as refusal:  # not a part of it is shown: without a scheme, all may be token
                where = f"credentials.{key}"
                raise ConfigError(
                    refusal.what, where=where, value=f"address {place}", fix=refusal.fix
                ) from None

    def __len__(self) -> int:
        return len(self._targets)

    @property
    def names(self) -> list[str]:
        """Service and host of each address."""
        return [target.name for target in self._targets]

    def send(self, message: Message) -> list[bool]:
        """Send to every address; return for each whether it was taken."""
        return [self.send_to(place, message) for place in range(len(self._targets))]

    def send_to(self, place: int, message: Message) -> bool:
        """Send to one address; return whether it was taken."""
        try:
            return self._targets[place].send(message)
        except Exception:  # noqa: BLE001 - a package's fault is an address that did not take the message
            return False


def call(url: Secret, path: str = "", body: dict[str, Any] | None = None) -> bytes:
    """Return what an address answers; a body is sent as JSON.

    Raises RetryError when it cannot be reached or answers with an error; the address is not named, since it
    holds a token.
    """
    full = url.reveal() + path
    if not full.startswith(("http://", "https://")):
        raise ConfigError("only http and https addresses are called", where="[alerts]")
    request = urllib.request.Request(  # noqa: S310 - the scheme was looked at
        full,
        data=None if body is None else msgspec.json.encode(body),
        headers={} if body is None else {"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
            return bytes(answer.read(MOST_BYTES))
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else type(error).__name__
        raise RetryError("an address of [alerts] does not answer", value=why) from None


@dataclass(frozen=True, slots=True)
class BotCommand:
    """A command of an operator; ``words`` begin with its name without the stroke."""

    user: int
    name: str
    chat: int
    words: tuple[str, ...]


class TelegramBot:
    """Takes commands of allowed users from a Telegram bot, and answers them.

    Only commands of the user ids ``operators`` count; a group's other members are not heard, and the id of
    anybody else who sends one goes to ``on_stranger``.
    """

    MOST_AGE_SECONDS = 60.0
    """An older command is not carried out: what was wanted then may be wrong now."""

    def __init__(
        self, key: Secret, server: str, operators: Sequence[int], on_stranger: Callable[[int], None]
    ) -> None:
        self._url = Secret(f"{server.rstrip('/')}/bot{key.reveal()}/")
        self._operators = frozenset(operators)
        self._on_stranger = on_stranger
        self._next_update = 0

    def commands(self, now_seconds: float) -> list[BotCommand]:
        """Return the new commands of operators, the oldest first.

        Raises RetryError when Telegram does not answer, or not as specified.
        """
        asked = urllib.parse.urlencode(
            {"offset": self._next_update, "timeout": 0, "allowed_updates": '["message"]'}
        )
        try:
            answer = msgspec.json.decode(call(self._url, f"getUpdates?{asked}"), type=dict[str, Any])
            updates = list(answer.get("result") or ())
        except (msgspec.MsgspecError, TypeError, AttributeError) as error:
            raise RetryError("Telegram answered in another form", value=type(error).__name__) from None
        found = []
        for update in updates:
            # one that cannot be read takes no command with it: each was confirmed by being asked for
            with suppress(TypeError, ValueError, AttributeError, KeyError):
                command = self._command(update, now_seconds)
                if command is not None:
                    found.append(command)
        return found

    def _command(self, update: dict[str, Any], now_seconds: float) -> BotCommand | None:
        self._next_update = max(self._next_update, int(update["update_id"]) + 1)
        message = update.get("message") or {}
        sender, text = message.get("from") or {}, str(message.get("text") or "")
        if not text.startswith("/") or "id" not in sender:
            return None
        if int(sender["id"]) not in self._operators:
            self._on_stranger(int(sender["id"]))
            return None
        if now_seconds - float(message.get("date", 0)) > self.MOST_AGE_SECONDS:
            return None
        first, *rest = text[1:].split()[:5] or [""]
        name = str(sender.get("username") or sender["id"])[:40]
        return BotCommand(
            int(sender["id"]), name, int(message["chat"]["id"]), (first.partition("@")[0].lower(), *rest)
        )

    def answer(self, command: BotCommand, text: str) -> None:
        """Answer where the command came from. Raises RetryError when Telegram does not take it."""
        call(self._url, "sendMessage", {"chat_id": command.chat, "text": text[:4_000]})
