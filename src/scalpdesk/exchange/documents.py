"""JSON documents of orders, executions and activities, as the admin and the REST interface show them."""

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from scalpdesk.core.intents import Trailing
from scalpdesk.core.units import NEVER_NS, number_text
from scalpdesk.exchange.generated import COINS
from scalpdesk.exchange.market import SimulatedMarket
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.sessions import rfc3339, to_new_york
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.orders import (
    Activity,
    BrokerOrder,
    Execution,
    OrderClass,
    PositionIntent,
)

JsonObject = dict[str, Any]


def price_text(value: Decimal | None) -> str | None:
    """Return a price of up to six decimals, or None."""
    return None if value is None else number_text(round(value, 6))


instant = lru_cache(maxsize=65_536)(rfc3339)
"""RFC 3339 text of UTC nanoseconds; an order's instants are shown many times."""


def _instant_or_none(ts_ns: int) -> str | None:
    """Return an instant, or None where it is unset."""
    return instant(ts_ns) if 0 < ts_ns < NEVER_NS else None


@lru_cache(maxsize=65_536)
def uuid_of(text: str) -> str:
    """Return a UUID derived from a text."""
    return str(UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4))


def asset_id(symbol: str) -> str:
    """Return the id of an asset: a UUID derived from its symbol."""
    return uuid_of(f"asset|{symbol}")


def account_id(name: str) -> str:
    """Return the id of an account: a UUID derived from its name."""
    return uuid_of(f"account|{name}")


def is_asset(instrument: Instrument) -> bool:
    """Return whether the venue trades and quotes an instrument: neither an index nor a coin."""
    return not instrument.is_index and instrument.symbol not in COINS


def asset_class(instrument: Instrument) -> str:
    """Return Alpaca's asset class."""
    return "us_option" if instrument.is_option else "us_equity"


def order_json(world: SimulatedMarket, order: BrokerOrder, *, with_legs: bool = True) -> JsonObject:
    """Return an order with all keys; absent values are null."""
    instrument = None if order.instrument_id is None else world.ledger.instruments[order.instrument_id]
    is_leg = order.request.structure is OrderClass.MLEG and instrument is not None
    shows_legs = order.legs and (with_legs or instrument is None)
    kind = "" if is_leg else order.kind.name_with(order.limit_price)
    trail = order.kind if isinstance(order.kind, Trailing) else None
    structure = order.request.structure.value
    document = {
        "id": order.order_id,
        "client_order_id": order.client_order_id,
        "created_at": instant(order.created_ns),
        "updated_at": instant(order.updated_ns),
        "submitted_at": instant(order.created_ns),
        "filled_at": _instant_or_none(order.filled_ns),
        "expired_at": _instant_or_none(order.expired_ns),
        "canceled_at": _instant_or_none(order.canceled_ns),
        "failed_at": _instant_or_none(order.failed_ns),
        "replaced_at": _instant_or_none(order.replaced_ns),
        "expires_at": _instant_or_none(order.expires_ns),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": "" if instrument is None else asset_id(instrument.symbol),
        "symbol": "" if instrument is None else instrument.symbol,
        "asset_class": "" if instrument is None else asset_class(instrument),
        "notional": None if order.request.notional is None else number_text(order.request.notional),
        "qty": None if order.request.notional is not None else number_text(order.quantity),
        "filled_qty": number_text(order.filled),
        "filled_avg_price": price_text(order.average),
        "order_class": structure if structure != "simple" else "",
        "order_type": kind,
        "type": kind,
        "side": "" if instrument is None else order.side.value,
        "time_in_force": order.lifetime.value,
        "limit_price": price_text(order.limit_price),
        "stop_price": price_text(order.stop_price),
        "trail_price": price_text(trail.distance if trail and not trail.is_percent else None),
        "trail_percent": price_text(trail.distance if trail and trail.is_percent else None),
        "hwm": price_text(order.high_water) if trail else None,
        "status": order.status.value,
        "extended_hours": order.request.extended_hours,
        "legs": [order_json(world, leg) for leg in order.legs] if shows_legs else None,
        "subtag": None,
        "source": None,
    }
    if instrument is not None:
        document["position_intent"] = order.intent.value
    if is_leg:
        document["ratio_qty"] = number_text(order.ratio)
    return document


_DESCRIPTIONS = {
    "OPASN": "Options Assignment",
    "OPCSH": "Options Cash",
    "OPEXC": "Options Exercise",
    "OPEXP": "Options Expiry",
    "OPTRD": "Option Trade",
}


def activity_id(activity: Activity) -> str:
    """Return an activity's id: New York time and an execution's id, or the day and an id of its own."""
    moment = to_new_york(activity.ts_ns)
    if activity.execution is not None:
        return f"{moment:%Y%m%d%H%M%S}{moment.microsecond // 1_000:03d}::{own_id(activity)}"
    return f"{moment:%Y%m%d}{0:09d}::{own_id(activity)}"


def own_id(activity: Activity) -> str:
    """Return the part of an activity's id that no other has."""
    if activity.execution is not None:
        return activity.execution.execution_id
    return activity.activity_id.rpartition("::")[2]


def leaders(account: BrokerAccount) -> Iterator[tuple[Activity, Activity]]:
    """Yield an account's activities, oldest first, each with the one that leads its group.

    A delivery belongs to the exercise or assignment that it follows; every other one leads its own.
    """
    leader = None
    for activity in account.activities:
        if leader is None or activity.kind != "OPTRD":
            leader = activity
        yield activity, leader


def activity_json(account: BrokerAccount, activity: Activity, leader: Activity) -> JsonObject:
    """Return an account activity; ``leader`` as in :func:`leaders`."""
    if activity.execution is not None:
        return _fill_json(account, activity, activity.execution)
    return _other_json(activity, uuid_of(f"group|{leader.activity_id}"))


def _fill_json(account: BrokerAccount, activity: Activity, execution: Execution) -> JsonObject:
    is_short = account.orders[execution.order_id].intent is PositionIntent.SELL_TO_OPEN
    return {
        "id": activity_id(activity),
        "activity_type": "FILL",
        "transaction_time": instant(activity.ts_ns),
        "type": "partial_fill" if execution.leaves else "fill",
        "price": price_text(execution.price),
        "qty": number_text(execution.quantity),
        "side": "sell_short" if is_short else execution.side.value,
        "symbol": activity.symbol,
        "order_id": execution.order_id,
        "leaves_qty": number_text(execution.leaves),
        "cum_qty": number_text(execution.cumulative),
        "order_status": "partially_filled" if execution.leaves else "filled",
    }


def _other_json(activity: Activity, group: str) -> JsonObject:
    document: JsonObject = {
        "id": activity_id(activity),
        "account_id": account_id(activity.account),
        "activity_type": activity.kind,
        "date": f"{to_new_york(activity.ts_ns):%Y-%m-%d}",
        "created_at": instant(activity.ts_ns),
        "net_amount": number_text(round(activity.net_amount, 4)),
        "description": activity.note or _DESCRIPTIONS.get(activity.kind, activity.kind),
        "status": "executed",
        "group_id": group,
        "currency": "USD",
    }
    if activity.symbol:
        document["symbol"] = activity.symbol
    if activity.quantity:
        document["qty"] = number_text(activity.quantity)
    if activity.kind == "DIV":
        document["per_share_amount"] = price_text(activity.price)
    elif activity.price:
        document["price"] = price_text(activity.price)
    return document
