"""Admin endpoints of the simulated exchange: exact state of every account; control of time and faults."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from scalpdesk.core.errors import ArgumentError, ScalpdeskError, nearest_name
from scalpdesk.core.units import DAY_SECONDS, NEVER_NS, InstrumentId, number_text
from scalpdesk.exchange.alpaca.serializers import (
    account_id,
    activity_json,
    instant,
    leaders,
    order_json,
    price_text,
)
from scalpdesk.exchange.alpaca.streams import Hub
from scalpdesk.exchange.deribit.app import DeribitApi
from scalpdesk.exchange.market import Pace, SimulatedMarket, read_speed
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.faults import PLACES, Fault, check_in_coin
from scalpdesk.simulation.orders import Execution

Reply = tuple[int, Any]
MOST_MONEY = 1e12
MOST_SECONDS = 366.0 * DAY_SECONDS
MOST_EVENTS = 10_000_000
MOST_CONTRACTS = 10**9
"""Largest figures that a request may name."""
ACCOUNT_FIELDS = ("account", "cash", "options_level", "shorting_enabled", "trading_blocked")


class Admin:
    """Endpoints below ``/admin``."""

    def __init__(self, world: SimulatedMarket, pace: Pace, hub: Hub, rpc: DeribitApi | None = None) -> None:
        self._world = world
        self._hub = hub
        self._pace = pace
        self._reads: dict[str, Callable[[], Any]] = {
            "state": self.state,
            "clock": self.clock,
            "accounts": lambda: [self.account(account) for account in world.ledger.accounts.values()],
            "orders": self.orders,
            "fills": self.fills,
            "positions": self.positions,
            "activities": self.activities,
            "streams": lambda: {
                "open": hub.open_count,
                "ready": hub.ready_count + (0 if rpc is None else rpc.ready_count),
            },
            "faults": lambda: {"hits": dict(world.faults.hits), "known": PLACES},
        }
        self._writes: dict[str, Callable[[dict[str, Any]], Any]] = {
            "advance": self.advance,
            "step": self.step,
            "speed": self.speed,
            "faults": self.inject,
            "heal": self.heal,
            "halt": self.halt,
            "resume": self.resume,
            "bust": self.bust,
            "correct": self.correct,
            "account": self.change_account,
            "assign": self.assign,
            "dividend": self.dividend,
            "pay": self.pay,
            "disconnect": self.disconnect,
        }
        if rpc is not None:
            self._writes["maintenance"] = lambda body: rpc.lock(_yes_or_no(body, "locked"))

    def handle(self, method: str, name: str, body: bytes) -> Reply:
        """Answer a request to ``/admin/{name}``."""
        if method == "GET" and name in self._reads:
            return 200, self._reads[name]()
        if method == "POST" and name in self._writes:
            try:
                document = msgspec.json.decode(body) if body else {}
                if not isinstance(document, dict):
                    return 400, {"message": "the body must be an object"}
                return 200, self._writes[name](document)
            except ScalpdeskError as error:
                return 400, {"message": f"{type(error).__name__}: {error}", **error.as_dict()}
            except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
                return 400, {"message": f"{type(error).__name__}: {error}"}
        return 404, {"message": "not found", "get": sorted(self._reads), "post": sorted(self._writes)}

    # reading ----------------------------------------------------------------------------------------

    def clock(self) -> dict[str, Any]:
        """Return the time of the market."""
        world = self._world
        return {
            "now_ns": world.now_ns,
            "now": instant(world.now_ns),
            "next_ns": world.next_ns,
            "speed": str(self._pace.speed),
            "is_open": world.broker.is_open,
        }

    def account(self, account: BrokerAccount) -> dict[str, Any]:
        """Return cash, equity and buying power of an account, exact."""
        money = self._world.ledger.figures(account)
        return {
            "name": account.name,
            "id": account_id(account.name),
            "cash": number_text(account.cash),
            "equity": number_text(money.equity),
            "buying_power": number_text(money.buying_power),
        }

    def orders(self) -> list[dict[str, Any]]:
        """Return every order of every account."""
        world = self._world
        return [
            {
                "account": order.account,
                "parent": order.parent,
                "reject_reason": order.reject_reason,
                **order_json(world, order),
            }
            for order in world.ledger.orders.values()
        ]

    def fills(self) -> list[dict[str, Any]]:
        """Return every execution, without busted ones."""
        return [
            self._fill(execution)
            for account in self._world.ledger.accounts.values()
            for execution in account.executions
        ]

    def _fill(self, execution: Execution) -> dict[str, Any]:
        number = execution.instrument_id
        assert number is not None
        return {
            "account": execution.account,
            "execution_id": execution.execution_id,
            "order_id": execution.order_id,
            "client_order_id": execution.client_order_id,
            "symbol": self._world.ledger.instruments[number].symbol,
            "side": execution.side.value,
            "qty": number_text(execution.quantity),
            "price": price_text(execution.price),
            "fee": number_text(execution.fee),
            "ts_ns": execution.ts_ns,
        }

    def positions(self) -> list[dict[str, Any]]:
        """Return every holding."""
        instruments = self._world.ledger.instruments
        return [
            {
                "account": account.name,
                "symbol": instruments[number].symbol,
                "qty": number_text(held.quantity),
                "avg_entry_price": price_text(held.average_price),
            }
            for account in self._world.ledger.accounts.values()
            for number, held in account.holdings.items()
        ]

    def activities(self) -> list[dict[str, Any]]:
        """Return the history of every account."""
        return [
            {"account": account.name, **activity_json(account, activity, leader)}
            for account in self._world.ledger.accounts.values()
            for activity, leader in leaders(account)
        ]

    def state(self) -> dict[str, Any]:
        """Return the whole state at this instant."""
        return {
            "clock": self.clock(),
            "accounts": [self.account(account) for account in self._world.ledger.accounts.values()],
            "positions": self.positions(),
            "orders": self.orders(),
            "fills": self.fills(),
            "activities": self.activities(),
            "halted": [
                self._world.ledger.instruments[number].symbol for number in sorted(self._world.ledger.halted)
            ],
            "fault_hits": dict(self._world.faults.hits),
        }

    # moving -----------------------------------------------------------------------------------------

    def advance(self, body: dict[str, Any]) -> dict[str, Any]:
        """Advance by ``seconds``, or to ``to_ns``."""
        world = self._world
        if "to_ns" in body:
            target = int(_number(body, "to_ns", 0, NEVER_NS))
        else:
            target = world.now_ns + int(_number(body, "seconds", 0, MOST_SECONDS) * 10**9)
        world.advance_to(max(target, world.now_ns))
        self._pace.change(self._pace.speed, world.now_ns)
        return self.clock()

    def step(self, body: dict[str, Any]) -> dict[str, Any]:
        """Advance by ``events`` (1) instants with events."""
        for _ in range(_whole_number({"events": 1, **body}, "events", 0, MOST_EVENTS)):
            if not self._world.step():
                break
        self._pace.change(self._pace.speed, self._world.now_ns)
        return self.clock()

    def speed(self, body: dict[str, Any]) -> dict[str, Any]:
        """Set the ``speed``: market seconds a second, ``max``, or 0 to pause."""
        self._pace.change(read_speed(_field(body, "speed"), "speed"), self._world.now_ns)
        return self.clock()

    def inject(self, body: dict[str, Any]) -> dict[str, Any]:
        """Inject a fault at the next matching request; faults of the market apply at once."""
        fault = msgspec.convert(body, Fault)
        if self._world.options.venue == "deribit":
            check_in_coin(fault)
        if PLACES[fault.name] == "market":
            self._world.strike_market_fault(fault)
        else:
            self._world.faults.inject(fault)
        return {"injected": fault.name}

    def heal(self, _body: dict[str, Any]) -> dict[str, Any]:
        """Remove all faults."""
        self._world.faults.heal()
        return {"hits": dict(self._world.faults.hits)}

    def disconnect(self, _body: dict[str, Any]) -> dict[str, Any]:
        """End every stream, as a venue that restarts does."""
        count = self._hub.open_count
        self._hub.close_all()
        return {"closed": count}

    def _instrument_id(self, body: dict[str, Any]) -> InstrumentId:
        return self._world.ledger.instruments.id_of(str(_field(body, "symbol")))

    def halt(self, body: dict[str, Any]) -> dict[str, Any]:
        """Stop trading in ``symbol``, for ``seconds`` or until it is resumed."""
        has_end = body.get("seconds") is not None
        seconds = float(_number(body, "seconds", 0, MOST_SECONDS)) if has_end else None
        self._world.halt(self._instrument_id(body), seconds=seconds)
        return {"halted": body["symbol"]}

    def resume(self, body: dict[str, Any]) -> dict[str, Any]:
        """Resume trading in ``symbol``."""
        self._world.resume(self._instrument_id(body))
        self._world.flush()
        return {"resumed": body["symbol"]}

    def _execution(self, body: dict[str, Any]) -> Execution:
        """Return the execution ``execution_id`` (default: the newest)."""
        wanted = str(body.get("execution_id") or "")
        found = [
            execution
            for account in self._world.ledger.accounts.values()
            for execution in account.executions
            if wanted in ("", execution.execution_id)
        ]
        if not found:
            raise ArgumentError("no such execution", where="execution_id", value=wanted)
        return max(found, key=lambda execution: execution.ts_ns)

    def bust(self, body: dict[str, Any]) -> dict[str, Any]:
        """Bust the execution ``execution_id`` (default: the newest)."""
        execution = self._execution(body)
        self._world.broker.staged.bust(execution)
        self._world.flush()
        return {"busted": execution.execution_id}

    def correct(self, body: dict[str, Any]) -> dict[str, Any]:
        """Correct the price of the execution ``execution_id`` (default: the newest) to ``price``."""
        execution, price = self._execution(body), _number(body, "price", 0, MOST_MONEY)
        self._world.broker.staged.correct(execution, price)
        self._world.flush()
        return {"corrected": execution.execution_id}

    def _account(self, body: dict[str, Any]) -> BrokerAccount:
        """Return the account ``account`` (default: the first)."""
        accounts = self._world.ledger.accounts
        name = str(body.get("account") or next(iter(accounts)))
        if name not in accounts:
            raise ArgumentError(
                "no such account",
                where="account",
                value=name,
                nearest=nearest_name(name, accounts),
                fix="GET /admin/accounts lists them",
            )
        return accounts[name]

    def assign(self, body: dict[str, Any]) -> dict[str, Any]:
        """Assign ``contracts`` (default: all) of a short position in ``symbol`` early."""
        account = self._account(body)
        contracts = _whole_number({"contracts": MOST_CONTRACTS, **body}, "contracts", 1, MOST_CONTRACTS)
        done = self._world.broker.expiry.assign(account.name, self._instrument_id(body), Decimal(contracts))
        if not done:
            raise ArgumentError(
                "nothing sold of this contract, or it is exercised at its end alone",
                where="symbol",
                value=str(body["symbol"]),
            )
        return self.account(account)

    def dividend(self, body: dict[str, Any]) -> dict[str, Any]:
        """Pay ``amount`` a share of ``symbol`` to every holder; charge short positions."""
        amount = _number(body, "amount", -MOST_MONEY, MOST_MONEY)
        self._world.broker.actions.pay_dividend(self._instrument_id(body), amount)
        return {"paid": body["symbol"]}

    def pay(self, body: dict[str, Any]) -> dict[str, Any]:
        """Credit ``amount`` (or charge it) as an activity of ``kind``: ``FEE``, ``INT``, ``CSD``."""
        account, kind = self._account(body), str(_field(body, "kind"))
        amount = _number(body, "amount", -MOST_MONEY, MOST_MONEY)
        account.cash += amount
        self._world.ledger.note(account, kind, "", Decimal(0), Decimal(0), amount)
        return self.account(account)

    def change_account(self, body: dict[str, Any]) -> dict[str, Any]:
        """Change ``cash``, ``options_level``, ``shorting_enabled`` or ``trading_blocked`` of ``account``.

        A request with a wrong field changes nothing.
        """
        _field(body, "account")
        account = self._account(body)
        unknown = next((name for name in body if name not in ACCOUNT_FIELDS), None)
        if unknown is not None:
            raise ArgumentError(
                "an account has no such field to change",
                where=unknown,
                nearest=nearest_name(unknown, ACCOUNT_FIELDS),
                fix=f"use {', '.join(ACCOUNT_FIELDS[1:])}",
            )
        changes: dict[str, Any] = {}
        if "cash" in body:
            changes["cash"] = _number(body, "cash", -MOST_MONEY, MOST_MONEY)
        if "options_level" in body:
            changes["options_level"] = _whole_number(body, "options_level", 0, 3)
        for name in ("shorting_enabled", "trading_blocked"):
            if name in body:
                changes[name] = _yes_or_no(body, name)
        for name, value in changes.items():
            setattr(account, name, value)
        return self.account(account)


def _field(body: dict[str, Any], name: str) -> Any:
    """Return a field that a request needs.

    Raises
    ------
    ArgumentError
        When it is missing.
    """
    if name not in body:
        raise ArgumentError("a field is missing", where=name, fix=f'add "{name}" to the body')
    return body[name]


def _number(body: dict[str, Any], name: str, low: float, high: float) -> Decimal:
    """Return a number of a request, exact.

    Raises
    ------
    ArgumentError
        When it is missing, no number, or outside of ``low`` to ``high``.
    """
    value = _field(body, name)
    try:
        number = Decimal("NaN") if isinstance(value, bool) else Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or not low <= number <= high:
        raise ArgumentError(
            f"not a number from {low:g} to {high:g}", where=name, value=value, fix='write it as 5 or "5.25"'
        )
    return number


def _whole_number(body: dict[str, Any], name: str, low: int, high: int) -> int:
    """Return a whole number of a request.

    Raises
    ------
    ArgumentError
        When it is missing, no whole number, or outside of ``low`` to ``high``.
    """
    number = _number(body, name, low, high)
    if number != int(number):
        raise ArgumentError("not a whole number", where=name, value=body[name], fix=f"write {int(number)}")
    return int(number)


def _yes_or_no(body: dict[str, Any], name: str) -> bool:
    value = _field(body, name)
    if not isinstance(value, bool):
        raise ArgumentError("neither true nor false", where=name, value=value, fix="write true or false")
    return value
