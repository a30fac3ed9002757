"""What the desk says to Alpaca: commands and questions as requests. Pure: no I/O."""

from collections.abc import Sequence
from decimal import Decimal
from math import gcd
from urllib.parse import quote, urlencode

import msgspec

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.intents import MultiLegOrder, OrderType, Purpose, ReplaceOrder, SubmitOrder
from scalpdesk.instruments.contract import InstrumentBook, OptionContract

FEWEST_LEGS, MOST_LEGS = 2, 4


class Request(msgspec.Struct, frozen=True):
    """One REST request: ``path`` carries its query; ``body`` is JSON or None."""

    method: str
    path: str
    body: bytes | None = None


def submit_request(command: SubmitOrder, book: InstrumentBook) -> Request:
    """Return the request of an order.

    Raises
    ------
    ArgumentError
        When the venue cannot take such an order at all.
    """
    instrument = book[command.instrument_id]
    body: dict[str, object] = {
        "symbol": instrument.symbol,
        "qty": plain(_whole(command, is_option=isinstance(instrument, OptionContract))),
        "side": command.side.value,
        "type": command.order_type.value,
        "time_in_force": command.time_in_force.value,
        "client_order_id": command.client_order_id,
    }
    if command.order_type is OrderType.LIMIT:
        if command.limit_price is None:
            raise ArgumentError("a limit order needs a price", where=f"order {command.client_order_id}")
        body["limit_price"] = plain(command.limit_price)
    if isinstance(instrument, OptionContract):
        intent = position_intent(command)
        if intent is not None:
            body["position_intent"] = intent
    return Request("POST", "/v2/orders", msgspec.json.encode(body))


def multi_leg_request(command: MultiLegOrder, book: InstrumentBook) -> Request:
    """Return the request of an order in several legs.

    Raises
    ------
    ArgumentError
        When there are not 2 to 4 legs of different options in whole ratios.
    """
    legs = command.legs
    symbols = [book[leg.instrument_id].symbol for leg in legs]
    if not FEWEST_LEGS <= len(legs) <= MOST_LEGS or len(set(symbols)) < len(symbols):
        raise ArgumentError(
            "a multi-leg order has 2 to 4 legs in different contracts",
            where=f"order {command.client_order_id}",
            value=symbols,
        )
    quantities = [int(_whole(leg, is_option=True)) for leg in legs]
    sets = gcd(*quantities)
    body: dict[str, object] = {
        "order_class": "mleg",
        "qty": str(sets),
        "type": "market" if command.net_limit_price is None else "limit",
        "time_in_force": command.time_in_force.value,
        "client_order_id": command.client_order_id,
        "legs": [
            {
                "symbol": symbol,
                "ratio_qty": str(quantity // sets),
                "side": leg.side.value,
                "position_intent": position_intent(leg) or f"{leg.side.value}_to_open",
            }
            for symbol, quantity, leg in zip(symbols, quantities, legs, strict=True)
        ],
    }
    if command.net_limit_price is not None:
        body["limit_price"] = plain(command.net_limit_price)
    return Request("POST", "/v2/orders", msgspec.json.encode(body))


def replace_request(command: ReplaceOrder, venue_order_id: str, already_filled: Decimal) -> Request:
    """Return the request that replaces a working order.

    The venue counts the new quantity from the order's beginning, so what is filled is added.
    """
    new = command.replacement
    body: dict[str, object] = {
        "qty": plain(new.quantity + already_filled),
        "time_in_force": new.time_in_force.value,
        "client_order_id": new.client_order_id,
    }
    if new.limit_price is not None:
        body["limit_price"] = plain(new.limit_price)
    return Request("PATCH", f"/v2/orders/{quote(venue_order_id, safe='')}", msgspec.json.encode(body))


def cancel_request(venue_order_id: str) -> Request:
    """Return the request that cancels an order by the venue's id."""
    return Request("DELETE", f"/v2/orders/{quote(venue_order_id, safe='')}")


def order_by_client_id_request(client_order_id: str) -> Request:
    """Return the request that asks for an order by the desk's id."""
    query = urlencode({"client_order_id": client_order_id, "nested": "true"})
    return Request("GET", f"/v2/orders:by_client_order_id?{query}")


def open_orders_request(after: str | None = None) -> Request:
    """Return the request for one page of open orders, oldest first; ``after`` is a submission time."""
    query = {"status": "open", "limit": "500", "direction": "asc", "nested": "true"}
    if after is not None:
        query["after"] = after
    return Request("GET", f"/v2/orders?{urlencode(query)}")


def position_intent(command: SubmitOrder) -> str | None:
    """Return the venue's word for what an option order does to the position, None when open to it."""
    if command.purpose is Purpose.OPEN:
        return f"{command.side.value}_to_open"
    if command.purpose is Purpose.CLOSE:
        return f"{command.side.value}_to_close"
    return None


def plain(value: Decimal) -> str:
    """Return an amount without exponent and trailing zeros.

    >>> plain(Decimal("10.50")), plain(Decimal("1E+2")), plain(Decimal("0.00"))
    ('10.5', '100', '0')
    """
    shown = format(value, "f")
    if "." in shown:
        shown = shown.rstrip("0").rstrip(".")
    return shown


def _whole(command: SubmitOrder, *, is_option: bool) -> Decimal:
    quantity = command.quantity
    if not quantity.is_finite() or quantity <= 0 or (is_option and quantity != int(quantity)):
        raise ArgumentError(
            "a quantity is above zero, and of options whole",
            where=f"order {command.client_order_id}",
            value=str(quantity),
        )
    return quantity


# the stream -------------------------------------------------------------------------------------


def stream_auth(key: str, secret: str) -> bytes:
    """Return the authentication message of ``/stream``."""
    return msgspec.json.encode({"action": "authenticate", "data": {"key_id": key, "secret_key": secret}})


def stream_listen(streams: Sequence[str]) -> bytes:
    """Return the message that sets what ``/stream`` sends."""
    return msgspec.json.encode({"action": "listen", "data": {"streams": list(streams)}})
