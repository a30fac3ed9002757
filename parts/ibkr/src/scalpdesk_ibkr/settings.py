"""Settings of Interactive Brokers: the section ``[venues.ibkr]``."""

from typing import Annotated, Literal

import msgspec

DATA_TYPES = {"live": 1, "frozen": 2, "delayed": 3, "delayed_frozen": 4}
"""Types of market data by name, as TWS numbers them."""


class IbkrSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Address of TWS or its gateway, which is logged in to the account."""

    host: str = "127.0.0.1"
    """Machine on which TWS or its gateway runs."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 4002
    """Port of its API: by default the paper account's at the gateway (TWS: 7497)."""
    client_id: Annotated[int, msgspec.Meta(ge=0, le=999_999)] = 1
    """Id of the desk among the programs at this TWS; its orders belong to it."""
    watchdog_client_id: Annotated[int, msgspec.Meta(ge=0, le=999_999)] = 2
    """Id under which the watchdog waits; it takes the desk's once the desk is dead."""
    account: str = ""
    """Code of the account, as DU1234567; empty where the login has one account."""
    lines: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    """Market data lines of the account: quotes that it streams at a time."""
    turn_seconds: Annotated[float, msgspec.Meta(gt=0, le=3_600)] = 5.0
    """Time for which an instrument of the chain keeps a line while others wait for one."""
    data: Literal["live", "frozen", "delayed", "delayed_frozen"] = "live"
    """Type of market data that TWS may send where there are no live data."""
