"""Alpaca's account activities: executions, and everything else that moves cash or units. Pure: no I/O."""

from decimal import Decimal
from urllib.parse import urlencode

import msgspec

from scalpdesk.core.intents import Side
from scalpdesk.venues.activity import VenueActivity
from scalpdesk.venues.alpaca.fields import (
    Malformed,
    amount,
    day_of,
    decode,
    not_negative,
    ns_of_text,
    positive,
    text,
)
from scalpdesk.venues.alpaca.wire_requests import Request
from scalpdesk.venues.base import VenueFill

ACTIVITIES_PER_PAGE = 100
ZERO = Decimal(0)
MOVES = {
    "OPASN": "assignment",
    "OPEXC": "exercise",
    "OPEXP": "expired_worthless",
    "OPCSH": "cash_settlement",
    "OPTRD": "delivery",
    "ACATS": "transfer",
    "JNLS": "transfer",
    "MA": "corporate_action",
    "NC": "corporate_action",
    "REORG": "corporate_action",
    "SPIN": "corporate_action",
    "SPLIT": "corporate_action",
}
"""Kinds that move units, and cash with them."""
PAYMENTS = {
    "CIL": "dividend",
    "DIV": "dividend",
    "DIVCGL": "dividend",
    "DIVCGS": "dividend",
    "DIVNRA": "dividend",
    "DIVROC": "dividend",
    "DIVTXEX": "dividend",
    "DIVWH": "dividend",
    "WH": "dividend",
    "INT": "interest",
    "INTPNL": "interest",
    "SWP": "interest",
    "CFEE": "fee",
    "FEE": "fee",
    "PTC": "fee",
    "ACATC": "transfer",
    "CSD": "transfer",
    "CSW": "transfer",
    "JNLC": "transfer",
}
"""Kinds that move cash alone; the quantity they name is what the payment was made on."""


class _Fill(msgspec.Struct):
    id: str
    order_id: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    transaction_time: str
    cum_qty: Decimal | None = None


class _Other(msgspec.Struct):
    id: str
    activity_type: str
    date: str
    net_amount: Decimal = ZERO
    symbol: str | None = None
    qty: Decimal | None = None
    price: Decimal | None = None
    status: str | None = None
    created_at: str | None = None


_LIST = msgspec.json.Decoder(list[msgspec.Raw]).decode
_FILL = msgspec.json.Decoder(_Fill).decode
_OTHER = msgspec.json.Decoder(_Other).decode


def fills_request(after: str, page_token: str | None = None) -> Request:
    """Return the request for one page of executions from ``after`` (RFC 3339) on, oldest first."""
    return _request("/FILL", {"after": after}, page_token)


def activities_request(after: str, page_token: str | None = None) -> Request:
    """Return the request for one page of all other activities from ``after`` on, oldest first."""
    return _request("", {"activity_types": ",".join([*MOVES, *PAYMENTS]), "after": after}, page_token)


def _request(kind: str, query: dict[str, str], page_token: str | None) -> Request:
    query |= {"direction": "asc", "page_size": str(ACTIVITIES_PER_PAGE)}
    if page_token:
        query["page_token"] = page_token
    return Request("GET", f"/v2/account/activities{kind}?{urlencode(query)}")


def read_fills(raw: bytes) -> list[VenueFill]:
    """Return the executions of a page; one that cannot be read makes the page unusable.

    Raises
    ------
    Malformed
        When a line cannot be believed.
    """
    fills = []
    for part in decode(_LIST, raw, "malformed_activities"):
        one = decode(_FILL, bytes(part), "malformed_activity")
        if one.side not in ("buy", "sell", "sell_short"):
            raise Malformed("bad_side", repr(one.side))
        fills.append(
            VenueFill(
                execution_id=text(one.id, "activity_id", 80),
                venue_order_id=text(one.order_id, "order_id", 64),
                symbol=text(one.symbol, "symbol", 32),
                side=Side.BUY if one.side == "buy" else Side.SELL,
                quantity=positive(one.qty, "qty"),
                cumulative=None if one.cum_qty is None else positive(one.cum_qty, "cum_qty"),
                price=not_negative(one.price, "price"),
                ts_event_ns=ns_of_text(one.transaction_time),
            )
        )
    return fills


def read_activities(raw: bytes) -> tuple[list[VenueActivity], str | None]:
    """Return the activities of a page that happened, and the token of the next page (None: the last).

    Kinds that this desk does not know are passed over: what they moved stays unexplained, and so comes
    before a person.

    Raises
    ------
    Malformed
        When a line cannot be believed.
    """
    found = []
    last = ""
    parts = decode(_LIST, raw, "malformed_activities")
    for part in parts:
        one = decode(_OTHER, bytes(part), "malformed_activity")
        last = text(one.id, "activity_id", 80)
        cause = MOVES.get(one.activity_type, PAYMENTS.get(one.activity_type))
        if cause is not None and one.status not in ("canceled", "rejected"):
            found.append(_activity(one, cause))
    return found, last if len(parts) == ACTIVITIES_PER_PAGE else None


def _activity(one: _Other, cause: str) -> VenueActivity:
    moves = one.activity_type in MOVES
    quantity = amount(one.qty or ZERO, "qty") if moves else ZERO
    if one.activity_type == "OPASN":  # whatever the sign it is written with: a sold contract is gone
        quantity = abs(quantity)
    elif one.activity_type == "OPEXC":
        quantity = -abs(quantity)
    day_of(one.date, "date")
    return VenueActivity(
        activity_id=one.id,
        kind=one.activity_type,
        cause=cause,
        symbol=text(one.symbol, "symbol", 32) if one.symbol else "",
        quantity_change=quantity,
        price=not_negative(one.price, "price") if moves and one.price is not None else ZERO,
        cash_change=amount(one.net_amount, "net_amount"),
        ts_event_ns=ns_of_text(one.created_at or f"{one.date}T00:00:00Z"),
    )
