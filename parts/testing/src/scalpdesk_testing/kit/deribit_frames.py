"""Parts of the capture that the gateway does not read: the venue's own Greeks, and changes of a book."""

import math
from typing import NamedTuple

from scalpdesk_deribit.wire import Message, WireError, float_field


def table(message: Message, name: str) -> Message:
    value = message.get(name)
    if not isinstance(value, dict):
        raise WireError(f"{name} is no object: {value!r}")
    return value


class VenueGreeks(NamedTuple):
    """The venue's own valuation of an option.

    Attributes
    ----------
    mark_price
        In coin.
    forward
        Of its expiry, US dollars.
    mark_vol, bid_vol, ask_vol
        Fractions a year; NaN where there is no such side.
    delta
        Of Black 1976, not premium-adjusted.
    gamma
        Per US dollar.
    vega, theta
        US dollars, per 1.00 of volatility and per year.
    """

    mark_price: float
    forward: float
    mark_vol: float
    bid_vol: float
    ask_vol: float
    delta: float
    gamma: float
    vega: float
    theta: float


def read_greeks(message: Message) -> VenueGreeks:
    """Read the Greeks of an option's ticker.

    Raises
    ------
    WireError
        When a field cannot be read.
    """
    greeks = table(message, "greeks")

    def vol(name: str) -> float:
        found = float_field(message, name) / 100.0
        return found if found > 0.0 else math.nan

    return VenueGreeks(
        float_field(message, "mark_price"),
        float_field(message, "underlying_price"),
        vol("mark_iv"),
        vol("bid_iv"),
        vol("ask_iv"),
        float_field(greeks, "delta"),
        float_field(greeks, "gamma"),
        100.0 * float_field(greeks, "vega"),
        365.0 * float_field(greeks, "theta"),
    )


class BookChange(NamedTuple):
    """A snapshot of a book or a change of it: levels as (action, price, amount)."""

    is_snapshot: bool
    change_id: int
    previous_id: int | None
    bids: tuple[tuple[str, float, float], ...]
    asks: tuple[tuple[str, float, float], ...]


def read_book(message: Message) -> BookChange:
    """Read a message of ``book.{instrument}.{interval}``.

    Raises
    ------
    WireError
        When a field cannot be read.
    """
    sides = []
    for name in ("bids", "asks"):
        levels = message.get(name)
        if not isinstance(levels, list):
            raise WireError(f"{name} is no list: {levels!r}")
        for level in levels:
            if (
                not isinstance(level, list)
                or len(level) != 3
                or level[0] not in ("new", "change", "delete")
                or not all(isinstance(number, int | float) for number in level[1:])
            ):
                raise WireError(f"a level of {name} cannot be read: {level!r}")
        sides.append(tuple((str(a), float(p), float(q)) for a, p, q in levels))
    previous = message.get("prev_change_id")
    if previous is not None and not isinstance(previous, int):
        raise WireError(f"prev_change_id is no whole number: {previous!r}")
    # earlier servers did not name the kind: the first one has no id before it
    kind = message.get("type") or ("change" if previous is not None else "snapshot")
    return BookChange(kind == "snapshot", message["change_id"], previous, sides[0], sides[1])
