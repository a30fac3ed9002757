"""Which orders a broker takes: form first, then the market's rules, then the account's means."""

from dataclasses import dataclass
from decimal import Decimal

from scalpdesk.core.intents import Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instrument, Instruments, OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.simulation.broker.accounts import BrokerAccount, Money
from scalpdesk.simulation.broker.expiry import order_cutoff_ns
from scalpdesk.simulation.broker.orders import (
    ZERO,
    Kind,
    Lifetime,
    OrderRequest,
    PositionIntent,
    Structure,
    VenueOrder,
)
from scalpdesk.simulation.broker.refusals import Cause, Refused

MAX_CLIENT_ID = 128
PENNY_PRICE = Decimal(1)
LONG_ORDER_LEVEL = 2
SPREAD_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Ground:
    """What a check may look at."""

    instruments: Instruments
    now_ns: int
    is_open: bool
    cutoff_enabled: bool


def check_form(request: OrderRequest) -> None:
    """Refuse a request that no market could take."""
    _check_sizes(request)
    _check_prices(request)
    if request.client_order_id is not None and len(request.client_order_id) > MAX_CLIENT_ID:
        raise Refused(Cause.MALFORMED, f"client_order_id must be no more than {MAX_CLIENT_ID} characters")
    if request.extended_hours and not (request.kind is Kind.LIMIT and request.lifetime is Lifetime.DAY):
        raise Refused(Cause.EXTENDED_HOURS)
    if request.lifetime in (Lifetime.OPG, Lifetime.CLS, Lifetime.IOC, Lifetime.FOK) and request.kind not in (
        Kind.MARKET,
        Kind.LIMIT,
    ):
        raise Refused(Cause.MALFORMED, f"{request.lifetime.value} orders must be market or limit orders")
    if request.structure is Structure.MLEG:
        _check_legs(request)
    elif request.structure is not Structure.SIMPLE:
        _check_bracket(request)


def _check_sizes(request: OrderRequest) -> None:
    if (request.quantity is None) == (request.notional is None):
        raise Refused(Cause.MALFORMED, "qty or notional is required, but not both")
    if request.quantity is not None and request.quantity <= 0:
        raise Refused(Cause.MALFORMED, "qty must be > 0")
    if request.notional is None:
        return
    if request.notional <= 0:
        raise Refused(Cause.MALFORMED, "notional must be > 0")
    if request.kind is not Kind.MARKET or request.lifetime is not Lifetime.DAY:
        raise Refused(Cause.MALFORMED, "notional orders must be DAY market orders")


def _check_prices(request: OrderRequest) -> None:
    kind = request.kind
    if kind in (Kind.LIMIT, Kind.STOP_LIMIT) and request.limit_price is None:
        raise Refused(Cause.MALFORMED, f"{kind.value.replace('_', ' ')} orders require limit price")
    if kind in (Kind.STOP, Kind.STOP_LIMIT) and request.stop_price is None:
        raise Refused(Cause.MALFORMED, f"{kind.value.replace('_', ' ')} orders require stop price")
    if kind is Kind.MARKET and (request.limit_price is not None or request.stop_price is not None):
        raise Refused(Cause.MALFORMED, "market orders require no stop or limit price")
    if kind is Kind.TRAILING_STOP:
        if (request.trail_price is None) == (request.trail_percent is None):
            raise Refused(
                Cause.MALFORMED, "trailing stop orders must specify one of trail_price or trail_percent"
            )
        trail = request.trail_price if request.trail_price is not None else request.trail_percent
        if trail is not None and trail <= 0:
            raise Refused(Cause.MALFORMED, "trail must be > 0")
    for name in ("limit_price", "stop_price", "take_profit_limit", "stop_loss_stop", "stop_loss_limit"):
        price = getattr(request, name)
        if price is None:
            continue
        if price <= 0 and not (name == "limit_price" and request.structure is Structure.MLEG):
            raise Refused(Cause.MALFORMED, f"{name} must be > 0")
        check_increment(name, price)


def check_increment(name: str, price: Decimal) -> None:
    """Refuse more than two decimals from 1 on, more than four below."""
    decimals = 2 if abs(price) >= PENNY_PRICE else 4
    if price != round(price, decimals):
        raise Refused(Cause.SUB_PENNY, name=name, price=f"{price.normalize():f}")


def _check_legs(request: OrderRequest) -> None:
    if request.quantity is None:
        raise Refused(Cause.MALFORMED, "qty is required for mleg orders")
    if request.kind not in (Kind.MARKET, Kind.LIMIT):
        raise Refused(Cause.MALFORMED, "mleg orders must be market or limit orders")
    if not 2 <= len(request.legs) <= 4:
        raise Refused(Cause.MALFORMED, "mleg orders must have between 2 and 4 legs")
    if len({leg.symbol for leg in request.legs}) != len(request.legs):
        raise Refused(Cause.MALFORMED, "mleg orders must have unique symbols")
    if any(leg.ratio <= 0 or leg.ratio != int(leg.ratio) for leg in request.legs):
        raise Refused(Cause.MALFORMED, "ratio_qty must be a whole number > 0")


def _check_bracket(request: OrderRequest) -> None:
    exits = (request.take_profit_limit is not None, request.stop_loss_stop is not None)
    if request.structure in (Structure.BRACKET, Structure.OCO) and not all(exits):
        raise Refused(
            Cause.MALFORMED,
            f"{request.structure.value} orders require take_profit.limit_price and stop_loss.stop_price",
        )
    if request.structure is Structure.OTO and sum(exits) != 1:
        raise Refused(Cause.MALFORMED, "oto orders require either take_profit or stop_loss")
    if request.lifetime not in (Lifetime.DAY, Lifetime.GTC):
        raise Refused(Cause.MALFORMED, f"{request.structure.value} orders must be DAY or GTC")
    if all(exits) and request.side is not None:
        profit, loss = request.take_profit_limit, request.stop_loss_stop
        assert profit is not None
        assert loss is not None
        entry_sign = request.side.sign if request.structure is not Structure.OCO else -request.side.sign
        if (profit - loss) * entry_sign <= 0:
            raise Refused(
                Cause.MALFORMED,
                "take_profit.limit_price must be on the profit side of stop_loss.stop_price",
            )


def check_market(request: OrderRequest, instrument: Instrument, ground: Ground) -> None:
    """Refuse what the instrument's own rules forbid at this instant."""
    if not isinstance(instrument, OptionContract):
        quantity = request.quantity
        if quantity is not None and quantity != int(quantity):
            if request.lifetime is not Lifetime.DAY or request.structure is not Structure.SIMPLE:
                raise Refused(Cause.MALFORMED, "fractional orders must be DAY orders")
            if quantity != round(quantity, 9):
                raise Refused(Cause.MALFORMED, "qty must have no more than 9 decimals")
        return
    if request.notional is not None:
        raise Refused(Cause.MALFORMED, "notional is not supported for options orders")
    assert request.quantity is not None
    if request.quantity != int(request.quantity):
        raise Refused(Cause.MALFORMED, "qty must be an integer for options orders")
    if request.extended_hours:
        raise Refused(Cause.EXTENDED_HOURS)
    if request.structure not in (Structure.SIMPLE, Structure.MLEG):
        raise Refused(Cause.MALFORMED, "complex orders are not supported for options trading")
    if request.kind is Kind.TRAILING_STOP:
        raise Refused(Cause.MALFORMED, "invalid order type for options trading")
    allowed = request.lifetime is Lifetime.DAY or (
        request.lifetime is Lifetime.GTC and request.kind is not Kind.MARKET
    )
    if not allowed:
        raise Refused(Cause.MALFORMED, "order_time_in_force provided not supported for options trading")
    if ground.now_ns >= expiry_instant_ns(instrument):
        raise Refused(Cause.INACTIVE_ASSET, symbol=instrument.symbol)
    if ground.cutoff_enabled and ground.now_ns >= order_cutoff_ns(instrument):
        raise Refused(Cause.EXPIRING_CONTRACT, symbol=instrument.symbol)
    if request.kind is Kind.MARKET and not ground.is_open:
        raise Refused(Cause.OUTSIDE_HOURS)


def intent_of(side: Side, held: Decimal, asked: PositionIntent | None) -> PositionIntent:
    """Return what an order does to a holding, as asked or inferred."""
    if asked is not None:
        return asked
    if side is Side.BUY:
        return PositionIntent.BUY_TO_CLOSE if held < 0 else PositionIntent.BUY_TO_OPEN
    return PositionIntent.SELL_TO_CLOSE if held > 0 else PositionIntent.SELL_TO_OPEN


def check_available(
    account: BrokerAccount, number: InstrumentId, symbol: str, side: Side, quantity: Decimal
) -> bool:
    """Return whether the order closes a holding; refuse more than is free of it.

    A holding is never turned round in one order: what exceeds it is refused.
    """
    held = account.quantity(number)
    if held * side.sign >= 0:
        return False
    reserved = account.held_for_orders(number)
    available = abs(held) - reserved
    if quantity > available:
        raise Refused(
            Cause.QUANTITY,
            symbol=symbol,
            requested=_plain(quantity),
            available=_plain(max(available, ZERO)),
            existing_qty=_plain(abs(held)),
            held_for_orders=_plain(reserved),
        )
    return True


def check_closing_intent(asked: PositionIntent, side: Side) -> None:
    """Refuse an order that means to close where it would open: there is nothing to close."""
    if asked in (PositionIntent.BUY_TO_CLOSE, PositionIntent.SELL_TO_CLOSE):
        raise Refused(Cause.INTENT, inferred=f"{side.value}_to_open", specified=asked.value)


def check_wash(account: BrokerAccount, number: InstrumentId, side: Side, limit: Decimal | None) -> None:
    """Refuse an order that could trade with an opposite one of the same account."""
    for other in account.open_orders():
        if other.instrument_id != number or other.side is side or other.parent is not None:
            continue
        theirs = other.working_limit if not other.waits_for_stop else other.stop_price
        crosses = limit is None or theirs is None or (limit - theirs) * side.sign >= 0
        if crosses:
            raise Refused(
                Cause.WASH_TRADE,
                existing_order_id=other.order_id,
                reject_reason=f"opposite side {'limit' if theirs is not None else 'market'} order exists",
            )


def check_option_opening(
    account: BrokerAccount,
    ground: Ground,
    contract: OptionContract,
    side: Side,
    quantity: Decimal,
    money: Money,
) -> None:
    """Refuse to open what the account's options level or its cover does not allow."""
    if account.options_level <= 0:
        raise Refused(Cause.OPTIONS_LEVEL, "account not eligible to trade options contracts")
    if side is Side.BUY:
        if account.options_level < LONG_ORDER_LEVEL:
            raise Refused(Cause.OPTIONS_LEVEL, "account not eligible to trade long option contracts")
        return
    if not contract.is_call:
        need = contract.strike * contract.multiplier * quantity
        if need > money.options_buying_power:
            raise _too_dear(money.options_buying_power, need)
        return
    required = quantity * contract.multiplier
    share = (
        ground.instruments.id_of(contract.underlying) if contract.underlying in ground.instruments else None
    )
    free = ZERO
    if share is not None:
        free = max(account.quantity(share) - account.held_for_orders(share), ZERO)
        for number, option in ground.instruments.options(contract.underlying):
            if option.is_call:
                free -= max(-account.quantity(number), ZERO) * option.multiplier
    if free < required:
        raise Refused(
            Cause.UNCOVERED_CALL,
            symbol=contract.symbol,
            required_qty=_plain(required),
            available_qty=_plain(max(free, ZERO)),
            underlying=contract.underlying,
        )


def check_legs_covered(
    account: BrokerAccount, legs: list[tuple[OptionContract, Side, Decimal, Decimal]]
) -> None:
    """Refuse sold legs that neither a holding nor a bought leg covers.

    ``legs`` are (contract, side, quantity, signed holding before the order).
    """
    if account.options_level < SPREAD_LEVEL:
        raise Refused(Cause.OPTIONS_LEVEL, "account not eligible to trade multi-leg option orders")
    for right in (True, False):
        mine = [leg for leg in legs if leg[0].is_call is right]
        bought = sum((q for _, side, q, _ in mine if side is Side.BUY), ZERO)
        sold = sum((max(q - max(held, ZERO), ZERO) for _, side, q, held in mine if side is Side.SELL), ZERO)
        if sold > bought:
            raise Refused(Cause.UNCOVERED_OPTION)


def check_cost(cost: Decimal, power: Decimal) -> None:
    """Refuse what the account cannot pay."""
    if cost > power:
        raise _too_dear(power, cost)


def _too_dear(power: Decimal, cost: Decimal) -> Refused:
    return Refused(Cause.BUYING_POWER, buying_power=f"{power:.2f}", cost_basis=f"{cost:.2f}")


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def check_replaceable(order: VenueOrder) -> None:
    """Refuse to change an order that is at its end or not at the exchange yet."""
    if not order.is_open:
        raise Refused(Cause.CLOSED_ORDER, status=order.status.value)
    if order.status.value in ("pending_new", "accepted", "held"):
        raise Refused(Cause.NOT_SENT_YET)
