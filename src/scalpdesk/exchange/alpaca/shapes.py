"""The broker's values in Alpaca's JSON forms: money and quantities as strings, instants as RFC 3339."""

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId, to_cents
from scalpdesk.exchange.world import World
from scalpdesk.instruments.contract import Equity, Instrument, OptionContract
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.simulation.broker.accounts import BrokerAccount, Holding, Money
from scalpdesk.simulation.broker.books import NEVER_NS
from scalpdesk.simulation.broker.orders import Activity, Kind, OrderUpdate, Structure, VenueOrder

JsonObject = dict[str, Any]
LISTED_ON = {"SPY": "ARCA", "IWM": "ARCA", "DIA": "ARCA", "QQQ": "NASDAQ", "NVDA": "NASDAQ"}
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def number_text(value: Decimal) -> str:
    """Return an exact number without needless zeros: 2, not 2.0.

    >>> number_text(Decimal("2.00")), number_text(Decimal("1E+2"))
    ('2', '100')
    """
    text = f"{value.normalize():f}"
    return "0" if text == "-0" else text


def price_text(value: Decimal | None) -> str | None:
    """Return a price of up to six decimals, or None."""
    return None if value is None else number_text(round(value, 6))


def money_text(value: Decimal) -> str:
    """Return an amount in cents.

    >>> money_text(Decimal("100000"))
    '100000.00'
    """
    return str(to_cents(value))


@lru_cache(maxsize=65_536)
def instant(ts_ns: int) -> str:
    """Return UTC nanoseconds as RFC 3339 with nine decimals and Z.

    >>> instant(1_500_000_000)
    '1970-01-01T00:00:01.500000000Z'
    """
    seconds, nanos = divmod(ts_ns, NANOS_PER_SECOND)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


def instant_or_none(ts_ns: int) -> str | None:
    """Return an instant, or None where it has not happened."""
    return instant(ts_ns) if 0 < ts_ns < NEVER_NS else None


def new_york_instant(ts_ns: int) -> str:
    """Return an instant with New York's offset, as the clock endpoint writes it."""
    return to_new_york(ts_ns).isoformat()


@lru_cache(maxsize=65_536)
def asset_id(symbol: str) -> str:
    """Return the id of an asset: a UUID that follows from its symbol."""
    return str(UUID(bytes=hashlib.sha256(f"asset|{symbol}".encode()).digest()[:16], version=4))


def account_id(name: str) -> str:
    """Return the id of an account: a UUID that follows from its name."""
    return str(UUID(bytes=hashlib.sha256(f"account|{name}".encode()).digest()[:16], version=4))


def event_id(ts_ns: int, number: int) -> str:
    """Return a ULID: 48 bits of milliseconds, then a counter; sorts as the events came."""
    value = ((ts_ns // 1_000_000) & ((1 << 48) - 1)) << 80 | (number & ((1 << 80) - 1))
    return "".join(_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))


def asset_class(instrument: Instrument) -> str:
    """Return Alpaca's name of the kind."""
    return "us_option" if isinstance(instrument, OptionContract) else "us_equity"


def asset_json(instrument: Instrument) -> JsonObject:
    """Return an asset."""
    is_share = isinstance(instrument, Equity)
    return {
        "id": asset_id(instrument.symbol),
        "class": asset_class(instrument),
        "exchange": LISTED_ON.get(instrument.symbol, "NYSE") if is_share else "",
        "symbol": instrument.symbol,
        "name": f"{instrument.symbol} (simulated)",
        "status": "active",
        "tradable": True,
        "marginable": is_share,
        "maintenance_margin_requirement": 30 if is_share else 100,
        "margin_requirement_long": "30" if is_share else "100",
        "margin_requirement_short": "30" if is_share else "100",
        "shortable": is_share,
        "easy_to_borrow": is_share,
        "fractionable": is_share,
        "attributes": ["has_options", "options_enabled"] if is_share else [],
    }


def order_json(world: World, order: VenueOrder, *, with_legs: bool = True) -> JsonObject:
    """Return an order with all its keys; null where there is nothing."""
    instrument = None if order.instrument_id is None else world.books.instruments[order.instrument_id]
    is_combo = order.request.structure is Structure.MLEG
    shows_legs = order.legs and (with_legs or instrument is None)
    average = order.average
    kind = order.kind.value
    structure = order.request.structure.value
    return {
        "id": order.order_id,
        "client_order_id": order.client_order_id,
        "created_at": instant(order.created_ns),
        "updated_at": instant(order.updated_ns),
        "submitted_at": instant(order.created_ns),
        "filled_at": instant_or_none(order.filled_ns),
        "expired_at": instant_or_none(order.expired_ns),
        "canceled_at": instant_or_none(order.canceled_ns),
        "failed_at": instant_or_none(order.failed_ns),
        "replaced_at": instant_or_none(order.replaced_ns),
        "expires_at": instant_or_none(order.expires_ns),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": "" if instrument is None else asset_id(instrument.symbol),
        "symbol": "" if instrument is None else instrument.symbol,
        "asset_class": "us_option" if instrument is None else asset_class(instrument),
        "notional": None if order.request.notional is None else number_text(order.request.notional),
        "qty": None if order.request.notional is not None else number_text(order.quantity),
        "filled_qty": number_text(order.filled),
        "filled_avg_price": price_text(average),
        "order_class": structure if structure != "simple" else "",
        "order_type": kind,
        "type": kind,
        "side": None if is_combo and instrument is None else order.side.value,
        "position_intent": None if is_combo and instrument is None else order.intent.value,
        "time_in_force": order.lifetime.value,
        "limit_price": price_text(order.limit_price),
        "stop_price": price_text(order.stop_price),
        "trail_price": price_text(order.trail_price),
        "trail_percent": price_text(order.trail_percent),
        "hwm": price_text(order.high_water) if order.kind is Kind.TRAILING_STOP else None,
        "status": order.status.value,
        "extended_hours": order.request.extended_hours,
        "legs": [order_json(world, leg) for leg in order.legs] if shows_legs else None,
        "ratio_qty": number_text(order.ratio) if is_combo and instrument is not None else None,
        "reject_reason": order.reject_reason,
    }


def update_json(world: World, update: OrderUpdate) -> JsonObject:
    """Return the ``data`` of a trade update."""
    data: JsonObject = {
        "event": update.event,
        "event_id": event_id(update.ts_ns, update.number),
        "timestamp": instant(update.ts_ns),
        "at": instant(update.ts_ns),
        "order": order_json(world, update.order),
    }
    if update.execution is not None:
        data["execution_id"] = update.execution.execution_id
        data["price"] = price_text(update.execution.price)
        data["qty"] = number_text(update.execution.quantity)
        if update.execution.corrects is not None:
            data["previous_execution_id"] = update.execution.corrects
        if update.position_quantity is not None:
            data["position_qty"] = number_text(update.position_quantity)
    return data


def account_json(account: BrokerAccount, money: Money) -> JsonObject:
    """Return an account."""
    blocked = account.trading_blocked
    return {
        "id": account_id(account.name),
        "account_number": account_number(account.name),
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "created_at": instant(account.created_ns),
        "cash": money_text(money.cash),
        "equity": money_text(money.equity),
        "last_equity": money_text(account.last_equity),
        "portfolio_value": money_text(money.equity),
        "long_market_value": money_text(money.long_value),
        "short_market_value": money_text(money.short_value),
        "initial_margin": money_text(money.initial_margin),
        "maintenance_margin": money_text(money.maintenance_margin),
        "last_maintenance_margin": "0",
        "sma": "0",
        "accrued_fees": "0",
        "buying_power": money_text(money.buying_power),
        "daytrading_buying_power": money_text(money.buying_power),
        "regt_buying_power": money_text(money.overnight_buying_power),
        "non_marginable_buying_power": money_text(money.options_buying_power),
        "options_buying_power": money_text(money.options_buying_power),
        "multiplier": str(account.multiplier),
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "trading_blocked": blocked,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": False,
        "shorting_enabled": account.shorting_enabled,
        "pattern_day_trader": account.multiplier == 4,
        "daytrade_count": 0,
        "options_approved_level": account.options_level,
        "options_trading_level": account.options_level,
    }


def account_number(name: str) -> str:
    """Return the number that people see, as paper accounts have it."""
    return "PA" + hashlib.sha256(f"number|{name}".encode()).hexdigest()[:10].upper()


def position_json(world: World, account: BrokerAccount, number: InstrumentId, held: Holding) -> JsonObject:
    """Return a position; option values include the multiplier, their prices do not."""
    books = world.books
    instrument = books.instruments[number]
    mark = books.mark(number)
    before = world.closes.get(number, mark)
    units = held.quantity * instrument.multiplier
    value, cost = units * mark, units * held.average_price
    gain = value - cost
    share = gain / abs(cost) if cost else Decimal(0)
    free = abs(held.quantity) - account.held_for_orders(number)
    sign = 1 if held.quantity > 0 else -1
    return {
        "asset_id": asset_id(instrument.symbol),
        "symbol": instrument.symbol,
        "exchange": LISTED_ON.get(instrument.symbol, "NYSE") if isinstance(instrument, Equity) else "",
        "asset_class": asset_class(instrument),
        "asset_marginable": isinstance(instrument, Equity),
        "qty": number_text(held.quantity),
        "qty_available": number_text(sign * max(free, Decimal(0))),
        "side": "long" if held.quantity > 0 else "short",
        "avg_entry_price": price_text(held.average_price),
        "market_value": number_text(round(value, 4)),
        "cost_basis": number_text(round(cost, 4)),
        "unrealized_pl": number_text(round(gain, 4)),
        "unrealized_plpc": number_text(round(share, 10)),
        "unrealized_intraday_pl": number_text(round(gain, 4)),
        "unrealized_intraday_plpc": number_text(round(share, 10)),
        "current_price": price_text(mark),
        "lastday_price": price_text(before),
        "change_today": number_text(round(mark / before - 1, 10)) if before else "0",
    }


def activity_json(activity: Activity) -> JsonObject:
    """Return a line of the account's history."""
    execution = activity.execution
    if execution is not None:
        return {
            "id": activity.activity_id,
            "activity_type": "FILL",
            "transaction_time": instant(activity.ts_ns),
            "type": "fill",
            "price": price_text(execution.price),
            "qty": number_text(execution.quantity),
            "side": execution.side.value,
            "symbol": activity.symbol,
            "order_id": execution.order_id,
            "execution_id": execution.execution_id,
            "leaves_qty": number_text(execution.leaves),
            "cum_qty": number_text(execution.cumulative),
        }
    return {
        "id": activity.activity_id,
        "activity_type": activity.kind,
        "date": f"{to_new_york(activity.ts_ns):%Y-%m-%d}",
        "created_at": instant(activity.ts_ns),
        "net_amount": number_text(round(activity.net_amount, 4)),
        "symbol": activity.symbol,
        "qty": number_text(activity.quantity),
        "price": price_text(activity.price),
        "status": "executed",
        "description": activity.note,
        "per_share_amount": price_text(activity.price) if activity.kind == "DIV" else None,
    }


def contract_json(world: World, contract: OptionContract, status: str) -> JsonObject:
    """Return an option contract."""
    number = world.books.instruments.id_of(contract.symbol)
    interest = world.source.open_interest.get(contract.symbol)
    close = world.closes.get(number)
    yesterday = f"{to_new_york(world.now_ns - 86_400 * NANOS_PER_SECOND):%Y-%m-%d}"
    strike = number_text(contract.strike)
    kind = "call" if contract.is_call else "put"
    return {
        "id": asset_id(contract.symbol),
        "symbol": contract.symbol,
        "name": f"{contract.underlying} {contract.expiry:%b %d %Y} {strike} {kind.title()}",
        "status": status,
        "tradable": status == "active",
        "expiration_date": contract.expiry.isoformat(),
        "root_symbol": contract.root,
        "underlying_symbol": contract.underlying,
        "underlying_asset_id": asset_id(contract.underlying),
        "type": kind,
        "style": contract.style.value,
        "strike_price": strike,
        "multiplier": str(contract.multiplier),
        "size": str(contract.multiplier),
        "open_interest": None if interest is None else str(interest),
        "open_interest_date": None if interest is None else yesterday,
        "close_price": None if close is None else price_text(close),
        "close_price_date": None if close is None else yesterday,
    }
