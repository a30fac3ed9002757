"""Admin endpoints of the simulated exchange: exact state of every account; control of time and faults."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from scalpdesk.core.bounds import BoundedSettings, at_least
from scalpdesk.core.errors import ArgumentError, ScalpdeskError, nearest_name
from scalpdesk.core.units import DAY_SECONDS, NEVER_NS, InstrumentId, number_text
from scalpdesk.exchange.documents import (
    account_id,
    activity_json,
    instant,
    leaders,
    order_json,
    price_text,
)
from scalpdesk.exchange.market import Pace, SimulatedMarket, read_speed
from scalpdesk.exchange.protocol import AdminCommand, ExchangeProtocol
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.faults import PLACES, Fault
from scalpdesk.simulation.orders import Execution

_Reply = tuple[int, Any]
_MOST_SECONDS = 366.0 * DAY_SECONDS
_MOST_EVENTS = 10_000_000
_MOST_CONTRACTS = 10**9
"""Largest figures that a request may name."""
Length = Annotated[float, at_least(0, _MOST_SECONDS, "seconds")]
Amount = Annotated[Decimal, at_least(-1e12, 1e12, "an amount of currency")]
_FIELD = re.compile(r"field `(\w+)`|`\$\.(\w+)")
"""The field that a refusal of msgspec names."""


class Nothing(BoundedSettings, frozen=True):
    """A command without fields."""


class Advance(BoundedSettings, frozen=True):
    """Move time by seconds, or to an instant (UTC nanoseconds)."""

    seconds: Length | None = None
    to_ns: Annotated[int, at_least(0, NEVER_NS, "UTC nanoseconds")] | None = None


class Step(BoundedSettings, frozen=True):
    """Advance by so many instants with events."""

    events: Annotated[int, at_least(0, _MOST_EVENTS, "events")] = 1


class Speed(BoundedSettings, frozen=True):
    """Market seconds a second, ``max``, or 0 to pause."""

    speed: float | str


class Symbol(BoundedSettings, frozen=True):
    """An instrument."""

    symbol: str


class Halt(Symbol, frozen=True):
    """Stop trading for so many seconds, or until it is resumed."""

    seconds: Length | None = None


class Bust(BoundedSettings, frozen=True):
    """An execution; the newest without its id."""

    execution_id: str = ""


class Correct(Bust, frozen=True, kw_only=True):
    """Another price for an execution."""

    price: Annotated[Decimal, at_least(0, 1e12, "a price")]


class Assign(Symbol, frozen=True):
    """Assign a short position early; the first account's, and all of it, unless named."""

    account: str = ""
    contracts: Annotated[int, at_least(1, _MOST_CONTRACTS, "contracts")] = _MOST_CONTRACTS


class Dividend(Symbol, frozen=True):
    """Currency a share, paid to every holder and charged to who is short."""

    amount: Amount


class Pay(BoundedSettings, frozen=True):
    """A credit (or charge) as an activity of a kind: ``FEE``, ``INT``, ``CSD``."""

    kind: str
    amount: Amount
    account: str = ""


class Change(BoundedSettings, frozen=True):
    """New values of an account's fields; those left out stay."""

    account: str
    cash: Amount | msgspec.UnsetType = msgspec.UNSET
    options_level: Annotated[int, at_least(0, 3, "a level")] | msgspec.UnsetType = msgspec.UNSET
    shorting_enabled: bool | msgspec.UnsetType = msgspec.UNSET
    trading_blocked: bool | msgspec.UnsetType = msgspec.UNSET


class Admin:
    """Endpoints below ``/admin``."""

    def __init__(self, world: SimulatedMarket, pace: Pace, protocol: ExchangeProtocol) -> None:
        self._world = world
        self._protocol = protocol
        self._pace = pace
        self._reads: dict[str, Callable[[], Any]] = {
            "state": self.state,
            "clock": self.clock,
            "accounts": lambda: [self.account(account) for account in world.ledger.accounts.values()],
            "orders": self.orders,
            "fills": self.fills,
            "positions": self.positions,
            "activities": self.activities,
            "streams": lambda: {"open": protocol.open_count, "ready": protocol.ready_count},
            "faults": lambda: {"hits": dict(world.faults.hits), "known": PLACES},
        }
        self._writes: dict[str, AdminCommand] = {
            "advance": (Advance, self.advance),
            "step": (Step, self.step),
            "speed": (Speed, self.speed),
            "faults": (Fault, self.inject),
            "heal": (Nothing, self.heal),
            "halt": (Halt, self.halt),
            "resume": (Symbol, self.resume),
            "bust": (Bust, self.bust),
            "correct": (Correct, self.correct),
            "account": (Change, self.change_account),
            "assign": (Assign, self.assign),
            "dividend": (Dividend, self.dividend),
            "pay": (Pay, self.pay),
            "disconnect": (Nothing, self.disconnect),
            **protocol.commands,
        }
        """Fields and effect of each command."""

    def handle(self, method: str, name: str, body: bytes) -> _Reply:
        """Answer a request to ``/admin/{name}``."""
        if method == "GET" and name in self._reads:
            return 200, self._reads[name]()
        if method == "POST" and name in self._writes:
            fields, carry_out = self._writes[name]
            try:
                return 200, carry_out(_read(body or b"{}", fields))
            except ScalpdeskError as error:
                return 400, {"message": f"{type(error).__name__}: {error}", **error.as_dict()}
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
        """Return every execution that was not busted."""
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

    def advance(self, command: Advance) -> dict[str, Any]:
        """Advance by ``seconds``, or to ``to_ns``."""
        world, target = self._world, command.to_ns
        if target is None:
            if command.seconds is None:
                raise ArgumentError("a field is missing", where="seconds", fix='add "seconds" or "to_ns"')
            target = world.now_ns + int(command.seconds * 10**9)
        world.advance_to(max(target, world.now_ns))
        self._pace.change(self._pace.speed, world.now_ns)
        return self.clock()

    def step(self, command: Step) -> dict[str, Any]:
        """Advance by ``events`` (1) instants with events."""
        for _ in range(command.events):
            if not self._world.step():
                break
        self._pace.change(self._pace.speed, self._world.now_ns)
        return self.clock()

    def speed(self, command: Speed) -> dict[str, Any]:
        """Set the ``speed``: market seconds a second, ``max``, or 0 to pause."""
        self._pace.change(read_speed(command.speed, "speed"), self._world.now_ns)
        return self.clock()

    def inject(self, fault: Fault) -> dict[str, Any]:
        """Inject a fault at the next matching request; faults of the market apply at once."""
        self._protocol.check_fault(fault)
        if PLACES[fault.name] == "market":
            self._world.strike_market_fault(fault)
        else:
            self._world.faults.inject(fault)
        return {"injected": fault.name}

    def heal(self, _command: Nothing) -> dict[str, Any]:
        """Remove all faults."""
        self._world.faults.heal()
        return {"hits": dict(self._world.faults.hits)}

    def disconnect(self, _command: Nothing) -> dict[str, Any]:
        """End every stream, as a venue that restarts does."""
        count = self._protocol.open_count
        self._protocol.close_all()
        return {"closed": count}

    def _instrument_id(self, command: Symbol) -> InstrumentId:
        return self._world.ledger.instruments.id_of(command.symbol)

    def halt(self, command: Halt) -> dict[str, Any]:
        """Stop trading in ``symbol``, for ``seconds`` or until it is resumed."""
        self._world.halt(self._instrument_id(command), seconds=command.seconds)
        return {"halted": command.symbol}

    def resume(self, command: Symbol) -> dict[str, Any]:
        """Resume trading in ``symbol``."""
        self._world.resume(self._instrument_id(command))
        self._world.flush()
        return {"resumed": command.symbol}

    def _execution(self, command: Bust) -> Execution:
        """Return the execution ``execution_id`` (default: the newest)."""
        wanted = command.execution_id
        found = [
            execution
            for account in self._world.ledger.accounts.values()
            for execution in account.executions
            if wanted in ("", execution.execution_id)
        ]
        if not found:
            raise ArgumentError("no such execution", where="execution_id", value=wanted)
        return max(found, key=lambda execution: execution.ts_ns)

    def bust(self, command: Bust) -> dict[str, Any]:
        """Bust the execution ``execution_id`` (default: the newest)."""
        execution = self._execution(command)
        self._world.broker.staged.bust(execution)
        self._world.flush()
        return {"busted": execution.execution_id}

    def correct(self, command: Correct) -> dict[str, Any]:
        """Correct the price of the execution ``execution_id`` (default: the newest) to ``price``."""
        execution = self._execution(command)
        self._world.broker.staged.correct(execution, command.price)
        self._world.flush()
        return {"corrected": execution.execution_id}

    def _account(self, name: str) -> BrokerAccount:
        """Return an account; the first without a name."""
        accounts = self._world.ledger.accounts
        name = name or next(iter(accounts))
        if name not in accounts:
            raise ArgumentError(
                "no such account",
                where="account",
                value=name,
                nearest=nearest_name(name, accounts),
                fix="GET /admin/accounts lists them",
            )
        return accounts[name]

    def assign(self, command: Assign) -> dict[str, Any]:
        """Assign ``contracts`` (default: all) of a short position in ``symbol`` early."""
        account, number = self._account(command.account), self._instrument_id(command)
        if not self._world.broker.expiry.assign(account.name, number, Decimal(command.contracts)):
            raise ArgumentError(
                "nothing sold of this contract, or it is exercised at its end alone",
                where="symbol",
                value=command.symbol,
            )
        return self.account(account)

    def dividend(self, command: Dividend) -> dict[str, Any]:
        """Pay ``amount`` a share of ``symbol`` to every holder; charge short positions."""
        self._world.broker.actions.pay_dividend(self._instrument_id(command), command.amount)
        return {"paid": command.symbol}

    def pay(self, command: Pay) -> dict[str, Any]:
        """Credit ``amount`` (or charge it) as an activity of ``kind``: ``FEE``, ``INT``, ``CSD``."""
        account = self._account(command.account)
        account.cash += command.amount
        self._world.ledger.note(account, command.kind, "", Decimal(0), Decimal(0), command.amount)
        return self.account(account)

    def change_account(self, command: Change) -> dict[str, Any]:
        """Change ``cash``, ``options_level``, ``shorting_enabled`` or ``trading_blocked`` of ``account``."""
        account = self._account(command.account)
        for name, value in msgspec.structs.asdict(command).items():
            if name != "account" and value is not msgspec.UNSET:
                setattr(account, name, value)
        return self.account(account)


def _read(body: bytes, fields: type[msgspec.Struct]) -> msgspec.Struct:
    """Return a command; numbers may be text.

    Raises ArgumentError, which names the field that is missing, unknown or of another type.
    """
    try:
        return msgspec.json.decode(body, type=fields, strict=False)
    except msgspec.DecodeError as error:
        found = _FIELD.search(str(error))
        where = (found[1] or found[2]) if found else "body"
        raise ArgumentError(str(error), where=where, fix="see docs/venues/exchange-faults.md") from None
