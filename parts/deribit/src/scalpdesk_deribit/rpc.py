"""One JSON-RPC connection over a websocket: requests, heartbeat, tokens, subscriptions, reconnection."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any

import aiohttp

from scalpdesk.venues.contract import Revealable
from scalpdesk.venues.network import CLOSE_TIMEOUT, Network, TcpNetwork
from scalpdesk.venues.reconnecting import HELLO_SECONDS, ReconnectingConnection
from scalpdesk_deribit.messages import Token
from scalpdesk_deribit.wire import (
    TOKEN_ENDED,
    ErrorMeaning,
    Heartbeat,
    Notification,
    Raw,
    RpcError,
    RpcReply,
    WireError,
    decode_frame,
    decode_ticker,
    encode_request,
    figure,
    read,
    refusal_of,
)

_STEADY_SECONDS = 10.0
_HEARTBEAT_SECONDS = 30
"""Between two signs of life that are asked of the venue; it takes no less than 10."""
_SILENT_BEATS = 2.5
"""Heartbeats without any frame after which a connection counts as dead."""
_REFRESH_SHARE = 0.8
"""Part of a token's life after which it is renewed."""
_MOST_CHANNELS = 400
"""In one request to subscribe; the venue takes 500."""
_LARGEST_MESSAGE_BYTES = 32 * 1024 * 1024


class Disconnected(Exception):  # noqa: N818 - never leaves the package
    """A request found no connection, or lost it before its answer: its outcome is not known."""

    def __init__(self, why: str, *, was_sent: bool) -> None:
        self.was_sent = was_sent
        super().__init__(why)


class KeysRefused(Exception):  # noqa: N818 - never leaves the package
    """The venue does not accept the keys: trying again cannot help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcTarget:
    """Where a connection goes to, and as whom."""

    name: str
    """For notices: ``orders`` or ``quotes``."""
    url: str
    """Whole address of the websocket."""
    key: Revealable | None = None
    secret: Revealable | None = None
    """``key``, ``secret``: credentials of the account; None for a connection that only reads the market."""
    timeout_seconds: float = 5.0
    """Longest time of one request."""
    heartbeat_seconds: int = _HEARTBEAT_SECONDS
    """Between two heartbeats, 10 or more."""
    cancels_on_disconnect: bool = False
    """Whether the venue cancels the account's orders of this connection when it breaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcEvents:
    """Callbacks of a connection, called synchronously."""

    on_notification: Callable[[Notification], None]
    """With what comes on a subscribed channel."""
    on_up: Callable[[], None]
    """When a connection stands: authenticated, with its heartbeat and subscriptions."""
    on_down: Callable[[str, str, bool], None]
    """With a name and a text when one is lost; ``is_final`` when there will be no other."""
    on_refused: Callable[[str, str], None]
    """With a name and a text for what cannot be read."""
    on_failed: Callable[[str, str], None] = lambda *_: None
    """With a name and a text when an attempt fails and another follows."""


def _give_up(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


class RpcConnection(ReconnectingConnection):
    """Keeps one connection open until it is closed or its keys are refused.

    ``target``, ``events``: Where to, and what is called.
    ``network``: Where connections come from; None is TCP.
    """

    def __init__(self, target: RpcTarget, events: RpcEvents, network: Network | None = None) -> None:
        super().__init__(
            target.name,
            on_up=events.on_up,
            on_down=events.on_down,
            refusal=KeysRefused,
            steady_seconds=_STEADY_SECONDS,
            on_failed=events.on_failed,
        )
        self._target = target
        self._events = events
        self._network: Network = network or TcpNetwork()
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._channels: dict[str, None] = {}
        self._closed_with: int | None = None
        """Code with which the venue closed the last connection."""
        self._refresh_token = ""
        self._renew_at = 0.0
        self._helpers: set[asyncio.Task[Any]] = set()

    # what callers use -------------------------------------------------------------------------------

    async def request(self, method: str, params: Raw, timeout_seconds: float | None = None) -> Any:
        """Return the result of a request.

        Raises RpcError when the venue answers with an error. Raises Disconnected when there is no connection,
        or it was lost before the answer. Raises TimeoutError when no answer came in time.
        """
        if not self.is_up:
            raise Disconnected("not connected", was_sent=False)
        try:
            return await self._ask(method, params, timeout_seconds)
        except RpcError as error:
            if error.code != TOKEN_ENDED or self._target.key is None:
                raise
        # refused for its token, the request came to nothing: it goes out again under another one
        await self._authenticate(refresh=True)
        return await self._ask(method, params, timeout_seconds)

    async def subscribe(self, channels: Iterable[str]) -> list[str]:
        """Listen to exactly these channels, now and after each reconnection; return those accepted."""
        wanted = dict.fromkeys(channels)
        gone = [name for name in self._channels if name not in wanted]
        self._channels = wanted
        if gone:
            await self.request(self._scoped("unsubscribe"), {"channels": gone})
        return await self._subscribe() if wanted else []

    async def renew(self, channels: Iterable[str]) -> None:
        """End the subscriptions of some of its channels and subscribe again."""
        again = [name for name in channels if name in self._channels]
        if again:
            await self.request(self._scoped("unsubscribe"), {"channels": again})
            await self.request(self._scoped("subscribe"), {"channels": again})

    async def drop(self) -> None:
        """Break the connection; another one follows."""
        if self._socket is not None:
            await self._socket.close()

    async def close(self) -> None:
        """End the connection and make no other."""
        await super().close()
        for helper in tuple(self._helpers):
            helper.cancel()

    # one connection after the other -----------------------------------------------------------------

    async def _run(self) -> None:
        async with self._network.websockets(HELLO_SECONDS) as self._session:
            await super()._run()

    def _ended(self, cause: tuple[str, str, bool]) -> tuple[str, str, bool]:
        self._socket = None
        self._fail_waiting(cause[1])
        return cause

    async def _connection(self) -> tuple[str, str, bool]:
        session = self._session
        assert session is not None
        try:
            async with session.ws_connect(  # without pings: the venue's own heartbeat tells a dead connection
                self._target.url, timeout=CLOSE_TIMEOUT, max_msg_size=_LARGEST_MESSAGE_BYTES
            ) as socket:
                self._socket = socket
                self._last_at = asyncio.get_running_loop().time()
                reader = asyncio.get_running_loop().create_task(self._read(socket))
                try:
                    async with asyncio.timeout(HELLO_SECONDS):
                        await self._hello()
                    self._stand()
                    await self._watch(reader)
                finally:
                    try:
                        # read on: behind unread messages the venue's end of the connection is not seen
                        await socket.close()
                    finally:
                        reader.cancel()
                        await asyncio.gather(reader, return_exceptions=True)
        except RpcError as error:
            # a token may end behind its login; only refused keys end all attempts
            is_final = refusal_of(error) is ErrorMeaning.KEYS and error.code != TOKEN_ENDED
            return "refused", str(error), is_final
        except TimeoutError:
            return "half_open", "no frame in time", False
        except (OSError, aiohttp.ClientError, Disconnected) as error:
            return "connection_lost", f"{type(error).__name__}: {error}"[:200], False
        except Exception as error:  # noqa: BLE001 - a fault of our own: reported, and the connection comes back
            return "internal_fault", f"{type(error).__name__}: {error}"[:200], False
        code = "" if self._closed_with is None else f" with code {self._closed_with}"
        return "connection_lost", f"closed by the venue{code}", False

    async def _hello(self) -> None:
        if self._target.key is not None:
            await self._authenticate()
        await self._ask("public/set_heartbeat", {"interval": max(self._target.heartbeat_seconds, 10)})
        if self._target.cancels_on_disconnect:
            await self._ask("private/enable_cancel_on_disconnect", {"scope": "connection"})
        if self._channels:
            await self._subscribe()

    async def _watch(self, reader: asyncio.Task[None]) -> None:
        """Wait for the end; renew the token in time, and end a connection that has gone silent."""
        loop = asyncio.get_running_loop()
        longest = _SILENT_BEATS * self._target.heartbeat_seconds
        while not reader.done():
            await asyncio.wait({reader}, timeout=min(1.0, 0.25 * longest))
            if reader.done():
                break
            if loop.time() - self._last_at > longest:
                raise TimeoutError
            if self._renew_at and loop.time() >= self._renew_at:
                await self._authenticate(refresh=True)
        reader.result()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._closed_with = None
        async for message in socket:
            if message.type is aiohttp.WSMsgType.ERROR:
                raise aiohttp.ClientConnectionError(str(message.data))
            self._last_at = asyncio.get_running_loop().time()
            try:
                self._take(decode_ticker(message.data) or decode_frame(message.data))
            except WireError as problem:
                self._events.on_refused("malformed_frame", str(problem)[:200])
        self._closed_with = socket.close_code

    def _take(self, frame: RpcReply | Notification | Heartbeat) -> None:
        if isinstance(frame, Notification):
            self._events.on_notification(frame)
        elif isinstance(frame, Heartbeat):
            if frame.wants_test:
                self._spawn(self._ask("public/test", {}))
        else:
            waiting = self._waiting.pop(frame.request_id, None)
            if waiting is None or waiting.done():
                return  # its asker has given up
            if frame.error is not None:
                waiting.set_exception(frame.error)
            else:
                waiting.set_result(frame.result)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._helpers.add(task)

        def done(ended: asyncio.Task[Any]) -> None:
            self._helpers.discard(ended)
            if not ended.cancelled():
                ended.exception()  # a connection that cannot answer is found silent

        task.add_done_callback(done)

    # requests ---------------------------------------------------------------------------------------

    async def _ask(self, method: str, params: Raw, timeout_seconds: float | None = None) -> Any:
        socket = self._socket
        if socket is None:
            raise Disconnected("not connected", was_sent=False)
        request_id, loop = next(self._ids), asyncio.get_running_loop()
        answer = self._waiting[request_id] = loop.create_future()
        try:
            try:
                await socket.send_str(encode_request(request_id, method, params))
            except aiohttp.ClientError as lost:
                raise Disconnected(f"lost while sending: {lost}", was_sent=True) from None
            # asyncio.timeout before Python 3.11.3: in a task that is cleaning up after its own
            # cancellation a time-out is raised as another cancellation, and the clean-up ends there
            limit = loop.call_later(timeout_seconds or self._target.timeout_seconds, _give_up, answer)
            try:
                return await answer
            finally:
                limit.cancel()
        finally:
            self._waiting.pop(request_id, None)

    def _fail_waiting(self, why: str) -> None:
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(Disconnected(why, was_sent=True))

    async def _authenticate(self, *, refresh: bool = False) -> None:
        """Get a token, or renew it; a renewal that is refused begins again with the keys."""
        key, secret = self._target.key, self._target.secret
        assert key is not None
        assert secret is not None
        params: dict[str, str] = {
            "grant_type": "client_credentials",
            "client_id": key.reveal(),
            "client_secret": secret.reveal(),
        }
        if refresh and self._refresh_token:
            params = {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
        try:
            granted = await self._ask("public/auth", params)
        except RpcError as error:
            if not refresh or refusal_of(error) is not ErrorMeaning.KEYS:
                raise
            await self._authenticate()
            return
        token = read(granted, Token)
        self._refresh_token = token.refresh_token or ""
        life = figure(token.expires_in, "expires_in")
        life = life if life > 0.0 else 900.0
        self._renew_at = asyncio.get_running_loop().time() + _REFRESH_SHARE * life

    def _scoped(self, verb: str) -> str:
        return f"{'public' if self._target.key is None else 'private'}/{verb}"

    async def _subscribe(self) -> list[str]:
        wanted, accepted = list(self._channels), list[str]()
        for first in range(0, len(wanted), _MOST_CHANNELS):
            part = {"channels": wanted[first : first + _MOST_CHANNELS]}
            accepted += await self._ask(self._scoped("subscribe"), part)
        missing = [name for name in self._channels if name not in accepted]
        if missing:
            self._events.on_refused("channel_refused", ", ".join(missing)[:200])
        return accepted
