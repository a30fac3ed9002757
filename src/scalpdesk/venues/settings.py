"""Settings of the venue of a live run; the options of ``scalpdesk run`` are laid over them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Requests = Annotated[int, Meta(ge=10)]


class VenueSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The venue of ``scalpdesk run``: address, feeds, limits and times."""

    url: str | None = None
    """Address of a simulated exchange that speaks the venue's protocol, instead of the venue (``--url``)."""
    exchange_time: bool = False
    """The desk's time is that of the exchange at ``url`` (``--exchange-time``)."""
    stock_feed: Literal["iex", "sip"] = "iex"
    """Stock quotes: ``iex`` is free, ``sip`` is every exchange's."""
    option_feed: Literal["indicative", "opra"] = "indicative"
    """Option quotes: ``indicative`` is free and not the exchanges' best, ``opra`` is."""
    contracts: Annotated[int, Meta(ge=2)] = 200
    """Most options that a run knows (``--contracts``); a basic data plan streams 200."""
    on_stop: Literal["leave", "hold", "flatten"] = "hold"
    """At the end: leave all as it is, hold positions without orders, or flatten (``--on-stop``)."""
    roll: bool = True
    """Begin the next day as a run of its own, with the contracts listed then, when the book is flat."""
    forecast: bool = True
    """Forecast volatility from the venue's own daily bars where ``data.daily_history`` names none."""
    watchdog: bool = True
    """Guard the desk by a second process (``--watchdog``)."""
    watchdog_flatten: bool = False
    """The watchdog also closes the positions (``--watchdog-flatten``)."""
    reconcile_seconds: Positive | None = None
    """Between two views of the account; None is 60, with ``exchange_time`` 5."""
    confirm_seconds: NonNegative = 1.0
    """Between the two views that must agree on a difference."""
    resolve_seconds: Positive = 1.0
    """Between the first two questions about an order in doubt."""
    absent_after_seconds: Positive | None = None
    """How long the venue may come to accept an order after its request ended; None is 10, at ``url`` 2."""
    silent_seconds: NonNegative = 60.0
    """A data stream without any message for so long in a session is connected anew; 0 never."""
    heartbeat_seconds: Positive = 10.0
    """Between pings of a stream; half of it without the pong ends the connection."""
    timeout_seconds: Positive = 5.0
    """Of one request of the order path; questions may take four times as long."""
    requests_per_minute: Requests = 200
    """Of the trading interface; the venue's own headers correct it."""
    data_requests_per_minute: Requests = 200
    """Of the data host (a paid plan allows 10,000); its headers correct it."""
    deadline_margin_seconds: NonNegative = 300.0
    """How long before the venue's cut-off expiring options begin to go."""
    flatten_seconds: Positive = 120.0
    """How long a stop with ``flatten`` waits for the venue to show a flat account."""
