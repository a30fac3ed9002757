"""Orders, positions and the account over REST."""

from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import structs

from scalpdesk.core.intents import OrderType, Side, Stop, TimeInForce, Trailing
from scalpdesk.core.order_types import TRAITS
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId, floor_to
from scalpdesk.exchange.documents import activity_json, asset_id, is_asset, leaders, order_json, own_id
from scalpdesk.exchange.market import SimulatedMarket
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.orders import (
    BrokerKind,
    BrokerOrder,
    Changes,
    LegRequest,
    OrderClass,
    OrderRequest,
    PositionIntent,
    Status,
)
from scalpdesk_alpaca.served.requests import (
    FORBIDDEN,
    MALFORMED,
    NOT_FOUND,
    UNPROCESSABLE,
    ApiError,
    Request,
    from_refusal,
    query_us,
)
from scalpdesk_alpaca.served.serializers import account_json, position_json

Choice = TypeVar("Choice", Side, OrderType, TimeInForce, OrderClass, PositionIntent)
WORDS = {"type": "order type"}
"""Fields that an error message calls otherwise."""
_MAX_BODY = 65_536
MAX_ORDERS = 500
_DEFAULT_ORDERS = 50


def _body_object(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request's body."""
    if len(request.body) > _MAX_BODY:
        raise ApiError(413, MALFORMED, "request body is too large")
    try:
        document = msgspec.json.decode(request.body)
    except msgspec.DecodeError as error:
        raise ApiError(400, 40010000, "request body format is invalid") from error
    if not isinstance(document, dict):
        raise ApiError(400, 40010000, "request body format is invalid")
    return document


def _number(body: dict[str, Any], name: str) -> Decimal | None:
    value = body.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ApiError(422, MALFORMED, f"{name} is not a number")
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise ApiError(422, MALFORMED, f"{name} is not a number") from error
    if not number.is_finite() or abs(number) > Decimal(10**12):
        raise ApiError(422, MALFORMED, f"{name} is out of range")
    return number


def _choice(
    body: dict[str, Any], name: str, kind: type[Choice], default: Choice | None = None
) -> Choice | None:
    value = body.get(name)
    if value is None or value == "":
        return default
    try:
        return kind(str(value).lower())
    except ValueError as error:
        raise ApiError(422, MALFORMED, f"invalid {WORDS.get(name, name)}") from error


def _inner(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ApiError(422, MALFORMED, f"{name} must be an object")
    return value


def _legs(body: dict[str, Any]) -> tuple[LegRequest, ...]:
    value = body.get("legs") or []
    if not isinstance(value, list) or not all(isinstance(leg, dict) for leg in value):
        raise ApiError(422, MALFORMED, "legs must be a list of objects")
    legs = []
    for place, leg in enumerate(value):
        intent = _choice(leg, "position_intent", PositionIntent)
        if intent is None:
            raise ApiError(422, UNPROCESSABLE, f"leg.{place} position intent is required")
        if _choice(leg, "side", Side, intent.side) is not intent.side:
            raise ApiError(422, MALFORMED, "position_intent does not match side")
        ratio = _number(leg, "ratio_qty") or Decimal(1)
        legs.append(LegRequest(str(leg.get("symbol", "")), ratio, intent.side, intent))
    return tuple(legs)


def _kind(body: dict[str, Any]) -> BrokerKind:
    """Read the type of a new order, with the prices that belong to it."""
    name = str(body.get("type") or "").lower()
    limit, stop = _number(body, "limit_price"), _number(body, "stop_price")
    by_price, by_percent = _number(body, "trail_price"), _number(body, "trail_percent")
    needs = f"{name.replace('_', ' ')} orders require"
    if name == "trailing_stop":
        distance = by_percent if by_price is None else by_price
        if distance is None or None not in (by_price, by_percent):
            why = "trailing stop orders must specify one of trail_price or trail_percent"
            raise ApiError(422, MALFORMED, why)
        return Trailing(distance, is_percent=by_price is None)
    traits = TRAITS.get(name)
    if traits is not None and traits.needs_trigger:
        if traits.needs_limit and limit is None:
            raise ApiError(422, MALFORMED, f"{needs} limit price")
        if stop is None:
            raise ApiError(422, MALFORMED, f"{needs} stop price")
        if not traits.needs_limit and limit is not None:
            raise ApiError(422, MALFORMED, f"{needs} only stop price")
        return Stop(stop)
    kind = _choice(body, "type", OrderType)
    if kind is None:
        raise ApiError(422, MALFORMED, "type is required")
    if stop is not None:
        only = "no stop or limit price" if kind is OrderType.MARKET else "only limit price"
        raise ApiError(422, MALFORMED, f"{needs} {only}")
    return kind


def _read_order(body: dict[str, Any]) -> OrderRequest:
    """Read the body of a new order."""
    structure = _choice(body, "order_class", OrderClass, OrderClass.SIMPLE) or OrderClass.SIMPLE
    kind = _kind(body)
    lifetime = _choice(body, "time_in_force", TimeInForce)
    if lifetime is None:
        raise ApiError(422, MALFORMED, "time_in_force is required")
    symbol = str(body.get("symbol") or "")
    if bool(symbol) is (structure is OrderClass.MLEG):
        why = "symbol is not allowed for mleg order" if symbol else "symbol is required"
        raise ApiError(422, MALFORMED, why)
    profit, loss = _inner(body, "take_profit"), _inner(body, "stop_loss")
    client_id = body.get("client_order_id")
    side = _choice(body, "side", Side)
    intent = _choice(body, "position_intent", PositionIntent)
    if side is None and structure is not OrderClass.MLEG:
        raise ApiError(422, MALFORMED, "side is required")
    if side is not None and intent is not None and intent.side is not side:
        raise ApiError(422, MALFORMED, "position_intent does not match side")
    return OrderRequest(
        symbol=symbol,
        side=side,
        kind=kind,
        lifetime=lifetime,
        quantity=_number(body, "qty"),
        notional=_number(body, "notional"),
        client_order_id=None if not client_id else str(client_id),
        limit_price=_number(body, "limit_price"),
        extended_hours=body.get("extended_hours") is True,
        structure=structure,
        take_profit_limit=_number(profit, "limit_price"),
        stop_loss_stop=_number(loss, "stop_price"),
        stop_loss_limit=_number(loss, "limit_price"),
        legs=_legs(body),
        intent=intent,
    )


class OrderDesk:
    """Order and position endpoints of a simulated market."""

    def __init__(self, world: SimulatedMarket) -> None:
        self._world = world

    def submit(self, account: BrokerAccount, request: Request) -> dict[str, Any]:
        """``POST /v2/orders``."""
        wanted = _read_order(_body_object(request))
        world = self._world
        instruments = world.ledger.instruments
        known = [
            instruments.id_of(symbol)
            for symbol in (wanted.symbol, *(leg.symbol for leg in wanted.legs))
            if symbol in instruments
        ]
        for number in known:
            if not is_asset(instruments[number]):
                refused = Refused(Cause.UNKNOWN_ASSET, symbol=instruments[number].symbol)
                raise from_refusal(refused, account, wanted)
            world.quote(number)
        is_option = any(instruments[number].is_option for number in known)
        try:
            return order_json(world, world.broker.submit(account.name, wanted))
        except Refused as refused:
            raise from_refusal(refused, account, wanted, is_option=is_option) from None

    def orders(self, account: BrokerAccount, request: Request) -> list[dict[str, Any]]:
        """``GET /v2/orders``."""
        status = request.query.get("status") or "open"
        if status not in ("open", "closed", "all"):
            raise ApiError(422, MALFORMED, f"invalid status: {status}")
        limit = _whole(request, "limit", _DEFAULT_ORDERS)
        after, until = query_us(request, "after"), query_us(request, "until")
        ascending = request.query.get("direction", "desc").lower() == "asc"
        nested = request.flag("nested")
        symbols = set(request.listed("symbols"))
        side = request.query.get("side")
        found = []
        for order in account.open_orders() if status == "open" else account.orders.values():
            is_child = order.parent is not None and order.order_id not in _own(order)
            if is_child and (nested or order.request.structure is OrderClass.MLEG):
                continue
            if status != "all" and order.is_open is not (status == "open"):
                continue
            if not _lies_between(order.created_ns, after, until):
                continue
            if symbols and not symbols & self._symbols_of(order):
                continue
            if side and order.side.value != side:
                continue
            found.append(order)
        found.sort(key=lambda order: (order.created_ns, order.number), reverse=not ascending)
        return [order_json(self._world, order, with_legs=nested) for order in found[: min(limit, MAX_ORDERS)]]

    def _symbols_of(self, order: BrokerOrder) -> set[str]:
        numbers = [order.instrument_id, *(leg.instrument_id for leg in order.legs)]
        return {self._world.ledger.instruments[number].symbol for number in numbers if number is not None}

    def order(self, account: BrokerAccount, request: Request) -> dict[str, Any]:
        """``GET /v2/orders/{id}``."""
        found = self._world.broker.order(account.name, _checked_id(request.name))
        return order_json(self._world, found, with_legs=request.flag("nested"))

    def order_by_client_id(self, account: BrokerAccount, request: Request) -> dict[str, Any]:
        """``GET /v2/orders:by_client_order_id``."""
        client_id = request.query.get("client_order_id", "")
        found = account.by_client_id.get(client_id)
        if found is None:
            raise ApiError(404, NOT_FOUND, f"order not found for {client_id}")
        return order_json(self._world, found)

    def replace(self, account: BrokerAccount, request: Request) -> dict[str, Any]:
        """``PATCH /v2/orders/{id}``."""
        body = _body_object(request)
        client_id = body.get("client_order_id")
        changes = Changes(
            _number(body, "qty"),
            _choice(body, "time_in_force", TimeInForce),
            _number(body, "limit_price"),
            _number(body, "stop_price"),
            _number(body, "trail"),
            None if not client_id else str(client_id),
        )
        broker, order_id = self._world.broker, _checked_id(request.name)
        old = broker.order(account.name, order_id)
        if changes == Changes(client_order_id=changes.client_order_id):
            raise ApiError(422, UNPROCESSABLE, "order parameters are not changed")
        try:
            return order_json(self._world, broker.replace(account.name, order_id, changes))
        except Refused as refused:
            if refused.cause is Cause.CLOSED_ORDER:
                status = old.status.value
                message = f"cannot replace order in {status} status"
                if old.status is Status.REPLACED:
                    message = "order already replaced"
                raise ApiError(422, UNPROCESSABLE, message) from None
            wanted = structs.replace(old.request, client_order_id=changes.client_order_id)
            is_option = old.instrument is not None and old.instrument.is_option
            raise from_refusal(refused, account, wanted, is_option=is_option) from None

    def cancel(self, account: BrokerAccount, request: Request) -> None:
        """``DELETE /v2/orders/{id}``."""
        self._world.broker.cancel(account.name, _checked_id(request.name))

    def cancel_all(self, account: BrokerAccount, _request: Request) -> list[dict[str, Any]]:
        """``DELETE /v2/orders``."""
        return self._cancelled(account, "id")

    def _cancelled(self, account: BrokerAccount, name: str) -> list[dict[str, Any]]:
        """Cancel every open order; return what became of each, its id under ``name``."""
        answers = []
        for order in account.open_orders():
            if order.parent is not None and (
                order.status is Status.HELD or order.request.structure is OrderClass.MLEG
            ):
                continue
            status, body = 200, order_json(self._world, order)
            try:
                self._world.broker.cancel(account.name, order.order_id)
            except Refused as refused:
                problem = from_refusal(refused, account)
                status, body = problem.status, problem.document()
            answers.append({name: order.order_id, "status": status, "body": body})
        return answers

    # positions --------------------------------------------------------------------------------------

    def positions(self, account: BrokerAccount, _request: Request) -> list[dict[str, Any]]:
        """``GET /v2/positions``."""
        for number in account.holdings:
            self._world.quote(number)
        return [
            position_json(self._world, account, number, held) for number, held in account.holdings.items()
        ]

    def instrument_of(self, text: str) -> InstrumentId | None:
        """Return the instrument that a symbol or an asset id names."""
        instruments = self._world.ledger.instruments
        if text in instruments:
            return instruments.id_of(text)
        for number, instrument in enumerate(instruments):
            if asset_id(instrument.symbol) == text:
                return InstrumentId(number)
        return None

    def _held(self, account: BrokerAccount, text: str) -> InstrumentId:
        number = self.instrument_of(text)
        if number is None or not account.quantity(number):
            raise ApiError(404, NOT_FOUND, "position does not exist")
        self._world.quote(number)
        return number

    def position(self, account: BrokerAccount, request: Request) -> dict[str, Any]:
        """``GET /v2/positions/{symbol or asset_id}``."""
        number = self._held(account, request.name)
        return position_json(self._world, account, number, account.holdings[number])

    def close(self, account: BrokerAccount, request: Request) -> dict[str, Any]:
        """``DELETE /v2/positions/{symbol or asset_id}`` with ``qty`` or ``percentage``."""
        number = self._held(account, request.name)
        quantity = _number(dict(request.query), "qty")
        percentage = _number(dict(request.query), "percentage")
        if quantity is not None and percentage is not None:
            raise ApiError(422, MALFORMED, "only one of qty or percentage may be given")
        if percentage is not None:
            if not 0 < percentage <= 100:
                raise ApiError(422, MALFORMED, "percentage must be between 0 and 100")
            instrument = self._world.ledger.instruments[number]
            step = Decimal(1) if instrument.is_option else Decimal("0.000000001")
            quantity = floor_to(abs(account.quantity(number)) * percentage / 100, step)
        order = self._world.broker.close_position(account.name, number, quantity)
        return order_json(self._world, order)

    def close_all(self, account: BrokerAccount, request: Request) -> list[dict[str, Any]]:
        """``DELETE /v2/positions``."""
        answers: list[dict[str, Any]] = []
        if request.flag("cancel_orders"):
            answers += self._cancelled(account, "symbol")  # the vendor puts an order's id there
            self._world.settle()
        for number in list(account.holdings):
            symbol = self._world.ledger.instruments[number].symbol
            self._world.quote(number)
            try:
                order = self._world.broker.close_position(account.name, number)
            except Refused as refused:
                problem = from_refusal(refused, account)
                answers.append({"symbol": symbol, "status": problem.status, "body": problem.document()})
            else:
                answers.append({"symbol": symbol, "status": 200, "body": order_json(self._world, order)})
        return answers

    def exercise(self, account: BrokerAccount, request: Request) -> None:
        """``POST /v2/positions/{symbol or contract_id}/exercise``: at once."""
        self._world.broker.expiry.exercise(account.name, self._owned(account, request, "exercised"))

    def do_not_exercise(self, account: BrokerAccount, request: Request) -> dict[str, Any]:
        """``POST /v2/positions/{symbol or contract_id}/do-not-exercise``: the whole position, at its end."""
        number = self._owned(account, request, "marked as do not exercise")
        self._world.broker.expiry.instruct(account.name, number, exercises=False)
        return {}

    def _owned(self, account: BrokerAccount, request: Request, done: str) -> InstrumentId:
        """Return the option that a request about exercise names: held long, while the market is open."""
        number = self.instrument_of(request.name)
        contract = None if number is None else self._world.ledger.instruments[number]
        if number is None or contract is None or not contract.is_option:
            raise ApiError(422, UNPROCESSABLE, "invalid symbol")
        held = account.quantity(number)
        if not held:
            raise ApiError(403, FORBIDDEN, "no available position for the specified contract")
        if held < 0:
            raise ApiError(404, NOT_FOUND, f"long position not found: {contract.symbol}")
        self._world.quote(number)
        if not self._world.broker.is_open:
            raise ApiError(403, FORBIDDEN, f"options can be {done} during market hours only")
        return number


def _lies_between(ts_ns: int, after_us: int | None, until_us: int | None) -> bool:
    """Return whether an instant lies between two that clients know to the microsecond, both excluded."""
    return (after_us is None or ts_ns // 1_000 > after_us) and (until_us is None or ts_ns // 1_000 < until_us)


def _own(order: BrokerOrder) -> tuple[str, ...]:
    """Return the order's own id for a replaced exit leg: it has a parent but is listed by itself."""
    return (order.order_id,) if order.replaces is not None else ()


def _whole(request: Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if not text:
        return default
    if not text.isdigit() or int(text) < 1:
        raise ApiError(422, MALFORMED, f"invalid {name}")
    return int(text)


def _checked_id(text: str) -> str:
    """Return an order id in canonical form."""
    try:
        return str(UUID(text))
    except ValueError as error:
        raise ApiError(422, MALFORMED, "order_id is missing") from error


_MAX_PAGE = 100
ACTIVITIES = frozenset(
    {
        "FILL", "ACATC", "ACATS", "CFEE", "CIL", "CSD", "CSW", "DIV", "DIVCGL", "DIVCGS", "DIVNRA", "DIVROC",
        "DIVTXEX", "DIVWH", "EXTRD", "FEE", "FXTRD", "INT", "INTPNL", "JNLC", "JNLS", "MA", "MEM", "NC",
        "OCT", "OPASN", "OPCSH", "OPEXC", "OPEXP", "OPTRD", "PTC", "REORG", "SPIN", "SPLIT", "SWP", "VOF",
        "WH",
    }
)  # fmt: skip
"""Kinds of activities that may be asked for."""


class AccountDesk:
    """Endpoints on an account: its figures, settings, activities and history."""

    def __init__(self, world: SimulatedMarket) -> None:
        self._world = world
        self._settings: dict[str, dict[str, Any]] = {}

    def account(self, account: BrokerAccount, _request: Request) -> dict[str, Any]:
        """``GET /v2/account``."""
        return account_json(account, self._world.ledger.figures(account), self._world.now_ns)

    def configuration(self, account: BrokerAccount, _request: Request) -> dict[str, Any]:
        """``GET /v2/account/configurations``."""
        start: dict[str, Any] = {
            "disable_overnight_trading": False,
            "dtbp_check": "entry",
            "fractional_trading": True,
            "max_margin_multiplier": str(account.multiplier),
            "no_shorting": not account.shorting_enabled,
            "pdt_check": "entry",
            "ptp_no_exception_entry": False,
            "suspend_trade": account.trading_blocked,
            "trade_confirm_email": "none",
            "max_options_trading_level": account.options_level,
        }
        return start | self._settings.get(account.name, {})

    def configure(self, account: BrokerAccount, request: Request) -> dict[str, Any]:
        """``PATCH /v2/account/configurations``."""
        body = _body_object(request)
        known = self.configuration(account, request)
        changes = {name: value for name, value in body.items() if name in known and value is not None}
        if isinstance(changes.get("no_shorting"), bool):
            account.shorting_enabled = not changes["no_shorting"]
        if isinstance(changes.get("suspend_trade"), bool):
            account.trading_blocked = changes["suspend_trade"]
        if isinstance(changes.get("max_options_trading_level"), int):
            account.options_level = min(max(changes["max_options_trading_level"], 0), 3)
        self._settings.setdefault(account.name, {}).update(changes)
        return self.configuration(account, request)

    def activities(self, account: BrokerAccount, request: Request) -> list[dict[str, Any]]:
        """``GET /v2/account/activities[/{type}]``; the page token is the last id."""
        kinds = {request.name} if request.name else set(request.listed("activity_types"))
        unknown = kinds - ACTIVITIES
        if unknown:
            raise ApiError(422, MALFORMED, f"invalid activity type: {min(unknown)}")
        after, until = query_us(request, "after"), query_us(request, "until")
        found = [
            (activity, leader)
            for activity, leader in leaders(account)
            if (not kinds or activity.kind in kinds) and _lies_between(activity.ts_ns, after, until)
        ]
        if request.query.get("direction", "desc") != "asc":
            found.reverse()
        token = request.query.get("page_token")
        if token:
            ids = [own_id(activity) for activity, _ in found]
            last = token.rpartition("::")[2]
            if last not in ids:
                raise ApiError(422, MALFORMED, "invalid page_token")
            found = found[ids.index(last) + 1 :]
        size = request.query.get("page_size") or str(_MAX_PAGE)
        if not size.isdigit() or not 1 <= int(size) <= _MAX_PAGE:
            raise ApiError(422, MALFORMED, f"page_size must be between 1 and {_MAX_PAGE}")
        return [activity_json(account, *line) for line in found[: int(size)]]

    def portfolio_history(self, account: BrokerAccount, request: Request) -> dict[str, Any]:
        """``GET /v2/account/portfolio/history``: equity at the last close and now."""
        now = self._world.ledger.figures(account).equity
        before = account.last_equity
        gain = now - before
        return {
            "timestamp": [account.created_ns // NANOS_PER_SECOND, self._world.now_ns // NANOS_PER_SECOND],
            "equity": [float(before), float(now)],
            "profit_loss": [0.0, float(gain)],
            "profit_loss_pct": [0.0, float(gain / before) if before else 0.0],
            "base_value": float(before),
            "timeframe": request.query.get("timeframe") or "1D",
        }
