"""Where Alpaca is: its paper and live hosts, or a simulated exchange. A live host asks for a token."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from scalpdesk.core.errors import ConfigError
from scalpdesk.venues.base import LiveToken

PAPER_HOST = "paper-api.alpaca.markets"
LIVE_HOST = "api.alpaca.markets"
DATA_URL = "https://data.alpaca.markets"
STREAM_URL = "wss://stream.data.alpaca.markets"
PAPER_KEY, LIVE_KEY = "PK", "AK"
"""How the keys of the two environments begin."""
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses of one environment; build one with :meth:`paper`, :meth:`live` or :meth:`at`.

    Parameters
    ----------
    trading_url, data_url
        REST, without version and trailing slash.
    orders_url, stocks_url, options_url
        Streams, whole addresses.
    stock_feed, option_feed
        Names of the data feeds.
    live_token
        Proof of arming; without one the live host is refused.

    Raises
    ------
    ConfigError
        When an address leads to the live host and there is no token.
    """

    trading_url: str
    data_url: str
    orders_url: str
    stocks_url: str
    options_url: str
    stock_feed: str = "iex"
    option_feed: str = "indicative"
    live_token: LiveToken | None = None

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
        return urlsplit(self.trading_url).hostname == PAPER_HOST

    @classmethod
    def paper(cls, *, stock_feed: str = "iex", option_feed: str = "indicative") -> "Endpoints":
        """Return the paper environment."""
        return cls._at_host(PAPER_HOST, stock_feed, option_feed, None)

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
            data_url=DATA_URL,
            orders_url=f"wss://{host}/stream",
            stocks_url=f"{STREAM_URL}/v2/{stock_feed}",
            options_url=f"{STREAM_URL}/v1beta1/{option_feed}",
            stock_feed=stock_feed,
            option_feed=option_feed,
            live_token=token,
        )

    def check_key(self, key: str) -> None:
        """Refuse a key of the other environment before it is sent anywhere.

        Raises
        ------
        ConfigError
            Says which environment the key belongs to. The key itself is not shown.
        """
        if self.is_paper and key.startswith(LIVE_KEY):
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
