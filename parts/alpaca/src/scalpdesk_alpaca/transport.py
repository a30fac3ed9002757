"""HTTP to Alpaca by aiohttp's client, the addresses of its environments, and a gateway's limits.

One client carries orders and queries, on the network and in a drill. What it adds to aiohttp's: whether a
request that failed can have reached the venue.
"""

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from yarl import URL

from scalpdesk.base import NO_FEES, ConfigError, FeeModel, RetryError
from scalpdesk.venues import LiveToken, Network, Revealable, TcpNetwork
from scalpdesk.venues.contract import LOOPBACK_HOSTS

LARGEST_BODY_BYTES = 64 * 1024 * 1024
REQUESTS_PER_MINUTE = 200


class NotSent(RetryError):  # noqa: N818 - says what is known, as a fact of the request
    """The request never left: no connection could be made."""


class NoAnswer(RetryError):  # noqa: N818 - the same
    """The request may have arrived; no readable answer came back."""


class _WrongAnswerError(Exception):
    """An answer that cannot be that to the request."""


_CLOSED = "the gateway is closed"


class RestRequest(msgspec.Struct, frozen=True):
    """One REST request: ``path`` carries its query; ``body`` is JSON or None.

    A successful answer holds the text ``about``, the id of an order. One that does not belongs to another
    request: an answer that came twice is taken for that of the next request on its connection.
    """

    method: str
    path: str
    body: bytes | None = None
    about: str = ""

    @classmethod
    def page(cls, path: str, query: Mapping[str, str], page_token: str | None = None) -> "RestRequest":
        """Return the question for a page of a list; without a token for the first."""
        query = query if page_token is None else {**query, "page_token": page_token}
        return cls("GET", f"{path}?{urlencode(query)}")


class Reply:
    """Status, body and headers (names in lower case) of an answer."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.status = status
        self.body = body
        self.headers = headers


class _Attempt:
    """Progress of one request."""

    connection: ResponseHandler | None = None
    """Carries it; set when its bytes may leave."""


_ATTEMPT: ContextVar[_Attempt] = ContextVar("attempt")
"""The request that the running task sends."""


class _Response(aiohttp.ClientResponse):
    """An answer that is due: aiohttp starts it when it has handed the request to the connection."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        _ATTEMPT.get().connection = connection.protocol
        try:
            return await super().start(connection)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            if self.method == "GET":  # aiohttp asks it again once; other requests leave once
                raise
            raise aiohttp.ClientConnectionError(type(error).__name__) from None


class RestClient:
    """Kept-alive connections to one host.

    Connections are opened on demand and kept until the host closes them.

    ``base_url``: Scheme, host and port; no trailing slash.
    ``headers``: Sent with every request; they hold the keys and are shown nowhere.
    ``connections``: Most connections at a time.
    ``timeout_seconds``: From the start of a request to the end of its answer.
    ``network``: Where connections come from; None is TCP.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        *,
        connections: int,
        timeout_seconds: float,
        network: Network | None = None,
    ) -> None:
        self._base_url = base_url
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "scalpdesk",
            **headers,
        }
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._network: Network = network or TcpNetwork()
        self._session: aiohttp.ClientSession | None = None
        self._under_way: set[asyncio.Task[Reply]] = set()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"RestClient({self._base_url!r})"

    def start(self, request: RestRequest) -> asyncio.Future[Reply]:
        """Send a request on the loop's next turns; the future brings the answer, whatever its status.

        The future raises :class:`NotSent` when the request never left, :class:`NoAnswer` when it left
        and no readable answer came back in time.
        """
        task = asyncio.get_running_loop().create_task(self._ask(request))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def ask(self, request: RestRequest) -> Reply:
        """Send a request and return the answer, whatever its status; raises as :meth:`start` says."""
        return await self.start(request)

    async def warm(self, request: RestRequest) -> None:
        """Ask the same harmless question on all connections at once; what the host closed is opened again.

        Raises RetryError when the venue does not answer.
        """
        await asyncio.gather(*(self.start(request) for _ in range(self._connections)))

    async def close(self) -> None:
        """Close the connections; requests under way end as :class:`NoAnswer`, others as :class:`NotSent`."""
        self._is_closed = True
        await asyncio.sleep(0)  # a task cancelled before its first step could not say what became of it
        for task in self._under_way:
            task.cancel(_CLOSED)
        await asyncio.gather(*self._under_way, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        await asyncio.sleep(0)  # the loop closes aborted connections on its next turn

    async def _ask(self, request: RestRequest) -> Reply:
        where = f"{request.method} {self._base_url}{request.path.partition('?')[0]}"
        if self._is_closed:
            raise NotSent(_CLOSED, where=where)
        attempt = _Attempt()
        _ATTEMPT.set(attempt)
        try:
            return await self._reply(request, attempt)
        except asyncio.CancelledError as cancelled:
            if cancelled.args != (_CLOSED,):
                raise
            why = _CLOSED
        except TimeoutError:
            why = "no connection in time" if attempt.connection is None else "no answer in time"
        except _WrongAnswerError as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller must learn whether bytes left
            why = type(error).__name__  # an error's text may hold the request's headers
        if attempt.connection is None:
            raise NotSent("the venue cannot be reached", where=where, value=why)
        raise NoAnswer("the venue did not answer", where=where, value=why)

    async def _reply(self, request: RestRequest, attempt: _Attempt) -> Reply:
        body = bytearray()
        async with self._opened().request(
            request.method,
            URL(f"{self._base_url}{request.path}", encoded=True),
            data=request.body,
            headers=None if request.body is None else {"Content-Type": "application/json"},
            allow_redirects=False,
        ) as response:
            async for part in response.content.iter_any():
                body += part
                if len(body) > LARGEST_BODY_BYTES:
                    raise _WrongAnswerError("the answer is too large")
        if response.status == HTTPStatus.OK and request.about.encode() not in body:
            if attempt.connection is not None:
                attempt.connection.close()  # the true answer may come, and would be taken for the next one
            raise _WrongAnswerError("an answer without the order's id")
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status, bytes(body), headers)

    def _opened(self) -> aiohttp.ClientSession:
        """Return the session; it is made at the first request, inside the event loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._network.connector(self._connections),
                headers=self._headers,
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                response_class=_Response,
                auto_decompress=False,
            )
        return self._session


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """Key and secret of an account; they reveal themselves only where they are sent."""

    key: Revealable
    secret: Revealable

    def headers(self) -> dict[str, str]:
        """Return the headers that authenticate a request."""
        return {"APCA-API-KEY-ID": self.key.reveal(), "APCA-API-SECRET-KEY": self.secret.reveal()}


_PAPER_HOST = "paper-api.alpaca.markets"
LIVE_HOST = "api.alpaca.markets"
_DATA_URL = "https://data.alpaca.markets"
_STREAM_URL = "wss://stream.data.alpaca.markets"
PAPER_KEY, _LIVE_KEY = "PK", "AK"
"""First letters of the keys of the two environments."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses of one environment; build one with :meth:`paper`, :meth:`live` or :meth:`at`.

    Raises ConfigError when an address leads to the live host and there is no token.
    """

    trading_url: str
    data_url: str
    """``trading_url``, ``data_url``: REST, without version and trailing slash."""
    orders_url: str
    stocks_url: str
    options_url: str
    """``orders_url``, ``stocks_url``, ``options_url``: Streams, whole addresses."""
    stock_feed: str = "iex"
    option_feed: str = "indicative"
    """``stock_feed``, ``option_feed``: Names of the data feeds."""
    live_token: LiveToken | None = None
    """Proof of arming; without one the live host is refused."""

    def __post_init__(self) -> None:
        for url in (self.trading_url, self.orders_url):
            parts = urlsplit(url)
            host = (parts.hostname or "").rstrip(".").lower()
            if parts.scheme in ("http", "ws") and host not in LOOPBACK_HOSTS:
                raise ConfigError(
                    "keys are sent over an open line only on this machine",
                    where="venue address",
                    value=url,
                    fix="use https and wss",
                )
            if host == LIVE_HOST and self.live_token is None:
                raise ConfigError(
                    "the live host is only for an armed desk",
                    where="venue address",
                    value=url,
                    fix="arm it (scalpdesk arm), or use the paper host",
                )

    @property
    def is_live(self) -> bool:
        """True when orders cost real money."""
        return urlsplit(self.trading_url).hostname == LIVE_HOST

    @property
    def is_paper(self) -> bool:
        """True at the venue's own paper host (a simulated exchange is neither)."""
        return urlsplit(self.trading_url).hostname == _PAPER_HOST

    @classmethod
    def paper(cls, *, stock_feed: str = "iex", option_feed: str = "indicative") -> "Endpoints":
        """Return the paper environment."""
        return cls._at_host(_PAPER_HOST, stock_feed, option_feed, None)

    @classmethod
    def live(
        cls, token: LiveToken, *, stock_feed: str = "iex", option_feed: str = "indicative"
    ) -> "Endpoints":
        """Return the live environment, for the account that the token was armed for."""
        return cls._at_host(LIVE_HOST, stock_feed, option_feed, token)

    @classmethod
    def at(cls, base_url: str, *, stock_feed: str = "iex", option_feed: str = "indicative") -> "Endpoints":
        """Return everything at one address: a simulated exchange."""
        base = base_url.rstrip("/")
        streams = base.replace("http", "ws", 1)
        return cls(
            trading_url=base,
            data_url=base,
            orders_url=f"{streams}/stream",
            stocks_url=f"{streams}/v2/{stock_feed}",
            options_url=f"{streams}/v1beta1/{option_feed}",
            stock_feed=stock_feed,
            option_feed=option_feed,
        )

    @classmethod
    def _at_host(cls, host: str, stock_feed: str, option_feed: str, token: LiveToken | None) -> "Endpoints":
        return cls(
            trading_url=f"https://{host}",
            data_url=_DATA_URL,
            orders_url=f"wss://{host}/stream",
            stocks_url=f"{_STREAM_URL}/v2/{stock_feed}",
            options_url=f"{_STREAM_URL}/v1beta1/{option_feed}",
            stock_feed=stock_feed,
            option_feed=option_feed,
            live_token=token,
        )

    def check_key(self, key: str) -> None:
        """Refuse a key of the other environment before it is sent anywhere.

        Raises ConfigError, which says which environment the key belongs to. The key itself is not shown.
        """
        if self.is_paper and key.startswith(_LIVE_KEY):
            raise ConfigError(
                "a live key with paper settings; nothing was sent",
                where="credentials.trading_api_key",
                fix="put in the paper account's key (it begins with PK), or run with --live once armed",
            )
        if self.is_live and key.startswith(PAPER_KEY):
            raise ConfigError(
                "a paper key with --live; nothing was sent",
                where="credentials.trading_api_key",
                fix="put in the live account's key (it begins with AK), or run without --live",
            )


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """Limits and times of a gateway to Alpaca."""

    options_level: int = 0
    """Level that the account must have for the strategy (2 buys options, 3 spreads)."""
    timeout_seconds: float = 5.0
    """Longest time of one request."""
    absent_after_seconds: float = 10.0
    """The venue may accept an order for so long after its request ended."""
    most_clock_skew_seconds: float = 2.0
    """Largest difference between this machine's clock and the venue's."""
    requests_per_minute: int = REQUESTS_PER_MINUTE
    """Limit of the trading interface; the venue's own headers correct it."""
    data_requests_per_minute: int = 200
    """Limit of the market data interface (200 on the free plan); its own headers correct it."""
    order_connections: int = 3
    """Connections kept open for orders alone."""
    heartbeat_seconds: float = 10.0
    """Between pings of a stream; half of it without the pong ends the connection."""
    data_only: bool = False
    """Only the market is asked for: no order stream, and every order is refused here."""
    fees: FeeModel = NO_FEES
    """Booked on each fill; the venue charges at the end of the day, and a paper account never."""
