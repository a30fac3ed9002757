"""Alpaca's JSON forms of orders, accounts, positions, activities and contracts.

Money and quantities are strings, instants RFC 3339.
"""

import hashlib
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from uuid import UUID

from scalpdesk.core.units import DAY_NS, InstrumentId, number_text, to_cents
from scalpdesk.exchange import BrokerAccount, Execution, OrderUpdate, SimulatedMarket
from scalpdesk.exchange.documents import (
    JsonObject,
    account_id,
    asset_class,
    asset_id,
    instant,
    order_json,
    price_text,
    uuid_of,
)
from scalpdesk.instruments.contract import Instrument, OptionContract
from scalpdesk.instruments.sessions import next_session, to_new_york
from scalpdesk.instruments.ticks import NICKEL_DIME
from scalpdesk.margin.holdings import AccountFigures
from scalpdesk.portfolio.positions import Position
from scalpdesk_alpaca.messages import AccountMessage, AssetMessage, ContractMessage, PositionMessage, document

_LISTED_ON = {"SPY": "ARCA", "IWM": "ARCA", "DIA": "ARCA", "QQQ": "NASDAQ", "NVDA": "NASDAQ"}
_NO_ASSET = str(UUID(int=0))
"""In the stream, of an order over several contracts."""
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def _money_text(value: Decimal) -> str:
    """Return an amount in cents, without needless zeros.

    >>> _money_text(Decimal("-23140.204"))
    '-23140.2'
    """
    text = str(to_cents(value)).rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def new_york_instant(ts_ns: int) -> str:
    """Return an instant with New York's offset (clock endpoint)."""
    return to_new_york(ts_ns).isoformat()


def event_id(ts_ns: int, number: int) -> str:
    """Return a ULID: 48 bits of milliseconds, then a counter; sorts in order of events."""
    value = ((ts_ns // 1_000_000) & ((1 << 48) - 1)) << 80 | (number & ((1 << 80) - 1))
    return "".join(_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))


def asset_json(instrument: Instrument) -> JsonObject:
    """Return an asset."""
    is_share = instrument.is_share
    read_by_desks = AssetMessage(
        symbol=instrument.symbol,
        status="active",
        tradable=True,
        shortable=is_share,
        easy_to_borrow=is_share,
        fractionable=is_share,
    )
    return {
        "id": asset_id(instrument.symbol),
        "class": asset_class(instrument),
        "exchange": _LISTED_ON.get(instrument.symbol, "NYSE") if is_share else "",
        "name": f"{instrument.symbol} (simulated)",
        "marginable": is_share,
        "maintenance_margin_requirement": 30 if is_share else 100,
        "margin_requirement_long": "30" if is_share else "100",
        "margin_requirement_short": "30" if is_share else "100",
        "attributes": ["has_options", "options_enabled"] if is_share else [],
    } | document(read_by_desks)


def update_json(world: SimulatedMarket, update: OrderUpdate) -> JsonObject:
    """Return the ``data`` of a trade update: its order as the stream shows it, and its executions."""
    order = order_json(world, update.order) | {"cancel_requested_at": None}
    if update.order.instrument_id is None:
        order |= {"asset_id": _NO_ASSET, "side": update.order.side.value}
    data: JsonObject = {
        "event": update.event,
        "event_id": event_id(update.ts_ns, update.number),
        "timestamp": instant(update.ts_ns),
        "at": instant(update.ts_ns),
        "order": order,
    }
    execution = update.execution
    if execution is None:
        if update.event == "new":
            data["execution_id"] = uuid_of(f"new|{update.order.order_id}")
        return data
    data |= {
        "price": price_text(execution.price),
        "qty": number_text(execution.quantity),
        "swap_rate": "1",
        "settle_date": _settles_on(to_new_york(update.ts_ns).date()),
    }
    if update.leg_executions:
        return data | _leg_executions(world, update.leg_executions)
    data["execution_id"] = execution.execution_id
    if execution.corrects is not None:
        data["previous_execution_id"] = execution.corrects
    if update.position_quantity is not None:
        data["position_qty"] = number_text(update.position_quantity)
    return data


@lru_cache(maxsize=64)
def _settles_on(day: date) -> str:
    return next_session(day).day.isoformat()


def _leg_executions(world: SimulatedMarket, executions: Sequence[Execution]) -> JsonObject:
    """Return the executions of a combo's legs, and what is held after them."""
    legs, held = [], {}
    for execution in executions:
        number = execution.instrument_id
        assert number is not None
        symbol = world.ledger.instruments[number].symbol
        held[symbol] = number_text(world.ledger.accounts[execution.account].quantity(number))
        legs.append(
            {
                "execution_id": execution.execution_id,
                "qty": number_text(execution.quantity),
                "price": price_text(execution.price),
                "order_id": execution.order_id,
                "symbol": symbol,
                "timestamp": instant(execution.ts_ns),
            }
        )
    return {"legs": legs, "position_qtys": held}


def account_json(account: BrokerAccount, money: AccountFigures, now_ns: int) -> JsonObject:
    """Return an account."""
    read_by_desks = AccountMessage(
        id=account_id(account.name),
        status="ACTIVE",
        cash=Decimal(_money_text(money.cash)),
        equity=Decimal(_money_text(money.equity)),
        maintenance_margin=Decimal(_money_text(money.maintenance_margin)),
        buying_power=Decimal(_money_text(money.buying_power)),
        options_buying_power=Decimal(_money_text(money.options_buying_power)),
        options_trading_level=account.options_level,
        options_approved_level=account.options_level,
        trading_blocked=account.trading_blocked,
        shorting_enabled=account.shorting_enabled,
    )
    return {
        "account_number": account_number(account.name),
        "crypto_status": "INACTIVE",
        "crypto_tier": 0,
        "admin_configurations": {},
        "user_configurations": None,
        "balance_asof": (to_new_york(now_ns).date() - timedelta(days=1)).isoformat(),
        "created_at": instant(account.created_ns),
        "last_equity": _money_text(account.last_equity),
        "portfolio_value": _money_text(money.equity),
        "long_market_value": _money_text(money.long_value),
        "short_market_value": _money_text(money.short_value),
        "position_market_value": _money_text(money.long_value + money.short_value),
        "initial_margin": _money_text(money.initial_margin),
        "last_maintenance_margin": "0",
        "sma": "0",
        "accrued_fees": "0",
        "pending_reg_taf_fees": "0",
        "intraday_adjustments": "0",
        "bod_dtbp": "0",
        "effective_buying_power": _money_text(money.buying_power),
        "daytrading_buying_power": _money_text(money.buying_power),
        "regt_buying_power": _money_text(money.overnight_buying_power),
        "non_marginable_buying_power": _money_text(money.options_buying_power),
        "multiplier": str(account.multiplier),
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "transfers_blocked": False,
        "pattern_day_trader": account.multiplier == 4,
        "daytrade_count": 0,
    } | document(read_by_desks)


def account_number(name: str) -> str:
    """Return the account number shown to users, in the form of paper accounts."""
    return "PA" + hashlib.sha256(f"number|{name}".encode()).hexdigest()[:10].upper()


def position_json(
    world: SimulatedMarket, account: BrokerAccount, number: InstrumentId, held: Position
) -> JsonObject:
    """Return a position; option values include the multiplier, their prices do not."""
    books = world.ledger
    instrument = books.instruments[number]
    mark = books.mark(number)
    before = world.closes.get(number, mark)
    units = held.quantity * instrument.multiplier
    value, cost = units * mark, units * held.average_price
    gain = value - cost
    share = gain / abs(cost) if cost else Decimal(0)
    free = abs(held.quantity) - account.held_for_orders(number)
    sign = 1 if held.quantity > 0 else -1
    read_by_desks = PositionMessage(
        symbol=instrument.symbol,
        qty=Decimal(number_text(held.quantity)),
        avg_entry_price=Decimal(price_text(held.average_price) or 0),
        side="long" if held.quantity > 0 else "short",
        asset_class=asset_class(instrument),
    )
    return {
        "asset_id": asset_id(instrument.symbol),
        "exchange": _LISTED_ON.get(instrument.symbol, "NYSE") if instrument.is_share else "",
        "asset_marginable": True,
        "qty_available": number_text(sign * max(free, Decimal(0))),
        "market_value": number_text(round(value, 4)),
        "cost_basis": number_text(round(cost, 4)),
        "unrealized_pl": number_text(round(gain, 4)),
        "unrealized_plpc": number_text(round(share, 10)),
        "unrealized_intraday_pl": number_text(round(gain, 4)),
        "unrealized_intraday_plpc": number_text(round(share, 10)),
        "current_price": price_text(mark),
        "lastday_price": price_text(before),
        "change_today": number_text(round(mark / before - 1, 10)) if before else "0",
    } | document(read_by_desks)


def is_penny(contract: OptionContract) -> bool:
    """Return whether a contract is in the penny programme: cents, at least below 3 USD."""
    return contract.tick_rule.below < NICKEL_DIME.below


def contract_json(world: SimulatedMarket, contract: OptionContract, status: str) -> JsonObject:
    """Return an option contract."""
    number = world.ledger.instruments.id_of(contract.symbol)
    interest = world.open_interest.get(contract.symbol)
    close = world.closes.get(number)
    yesterday = f"{to_new_york(world.now_ns - DAY_NS):%Y-%m-%d}"
    strike = number_text(contract.strike)
    kind = "call" if contract.is_call else "put"
    read_by_desks = ContractMessage(
        symbol=contract.symbol,
        expiration_date=contract.expiry.isoformat(),
        strike_price=Decimal(strike),
        underlying_symbol=contract.underlying,
        tradable=status == "active",
        status=status,
        multiplier=Decimal(str(contract.multiplier)),
        open_interest=None if interest is None else Decimal(str(interest)),
        ppind=is_penny(contract),
    )
    return {
        "id": asset_id(contract.symbol),
        "name": f"{contract.underlying} {contract.expiry:%b %d %Y} {strike} {kind.title()}",
        "root_symbol": contract.root,
        "underlying_asset_id": asset_id(contract.underlying),
        "type": kind,
        "style": contract.style.value,
        "size": str(contract.multiplier),
        "open_interest_date": None if interest is None else yesterday,
        "close_price": None if close is None else price_text(close),
        "close_price_date": None if close is None else yesterday,
    } | document(read_by_desks)
