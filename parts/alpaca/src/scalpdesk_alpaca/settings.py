"""Settings of Alpaca: the section ``[venues.alpaca]``."""

from typing import Annotated, Literal

import msgspec


class AlpacaSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Data feeds of the account's plan, and the limit of the data host."""

    stock_feed: Literal["iex", "sip"] = "iex"
    """Stock quotes: ``iex`` is free, ``sip`` is every exchange's."""
    option_feed: Literal["indicative", "opra"] = "indicative"
    """Option quotes: ``indicative`` is free and not the exchanges' best, ``opra`` is."""
    data_requests_per_minute: Annotated[int, msgspec.Meta(ge=10)] = 200
    """Limit of the data host (a paid plan allows 10,000); its headers correct it."""
