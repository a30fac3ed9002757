"""What the broker does by itself as contracts end: liquidation, exercise, assignment; and dividends."""

from decimal import Decimal
from typing import Protocol

from scalpdesk.core.intents import Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns, to_new_york
from scalpdesk.simulation.broker.accounts import BrokerAccount
from scalpdesk.simulation.broker.books import Books
from scalpdesk.simulation.broker.expiry import can_take_delivery, delivery_of, liquidation_ns
from scalpdesk.simulation.broker.orders import ZERO, Kind, Lifetime, OrderRequest, Status, VenueOrder
from scalpdesk.simulation.broker.refusals import Cause, Refused


class Counter(Protocol):
    """What of the broker is needed here."""

    def force(self, account_name: str, request: OrderRequest) -> VenueOrder:
        """Send an order of the broker's own."""
        ...


class LastHours:
    """Watches contracts to their end.

    Parameters
    ----------
    books, broker
        State, and the counter through which closing orders go.
    enabled
        Whether positions that an account cannot take delivery of are closed before the end.
    """

    def __init__(self, books: Books, broker: Counter, *, enabled: bool) -> None:
        self._books = books
        self._broker = broker
        self._enabled = enabled
        self._watched: set[InstrumentId] = set()

    def watch(self, number: InstrumentId, contract: OptionContract) -> None:
        """Set the timers of a contract once."""
        if number in self._watched:
            return
        self._watched.add(number)
        if self._enabled:
            self._books.at(liquidation_ns(contract), lambda: self.liquidate(number, contract))
        self._books.at(expiry_instant_ns(contract), lambda: self.expire(number, contract))

    def liquidate(self, number: InstrumentId, contract: OptionContract) -> None:
        """Close the contract's positions that could not be paid for or delivered."""
        books = self._books
        for account in books.accounts.values():
            power = books.money(account).overnight_buying_power
            if account.quantity(number) and not can_take_delivery(
                account, contract, books.instruments, power
            ):
                self.force_close(account, number)

    def force_close(self, account: BrokerAccount, number: InstrumentId) -> None:
        """Cancel the account's orders in an instrument and close its holding at the market."""
        books = self._books
        for order in account.open_orders():
            if order.instrument_id == number and order.parent is None:
                books.end(order, Status.CANCELED)
        held = account.quantity(number)
        request = OrderRequest(
            books.instruments[number].symbol,
            Side.SELL if held > 0 else Side.BUY,
            Kind.MARKET,
            Lifetime.DAY,
            abs(held),
        )
        self._broker.force(account.name, request)

    def expire(self, number: InstrumentId, contract: OptionContract) -> None:
        """End a contract: its orders expire, its holdings turn into shares, cash or nothing."""
        books = self._books
        for order in list(books.orders.values()):
            legs_end = any(leg.instrument_id == number for leg in order.legs)
            if order.is_open and order.parent is None and (order.instrument_id == number or legs_end):
                books.end(order, Status.EXPIRED)
        day = to_new_york(expiry_instant_ns(contract)).date()
        level = books.settlement_of(contract.underlying, day)
        if level is None and contract.underlying in books.instruments:
            level = books.mark(books.instruments.id_of(contract.underlying))
        for account in books.accounts.values():
            held = account.quantity(number)
            if held and level is not None:
                self._settle(account, number, contract, held, level)

    def _settle(
        self,
        account: BrokerAccount,
        number: InstrumentId,
        contract: OptionContract,
        held: Decimal,
        level: Decimal,
    ) -> None:
        books = self._books
        made = delivery_of(contract, books.instruments, held, level)
        account.book(number, -held, ZERO, made.cash if made.share_id is None else ZERO)
        books.note(
            account, made.kind, contract.symbol, -held, ZERO, made.cash if made.share_id is None else ZERO
        )
        if made.share_id is not None:
            self._deliver(account, made.share_id, made.shares, contract.strike, made.cash)

    def _deliver(
        self, account: BrokerAccount, share_id: InstrumentId, shares: Decimal, strike: Decimal, cash: Decimal
    ) -> None:
        account.book(share_id, shares, strike, cash)
        symbol = self._books.instruments[share_id].symbol
        self._books.note(account, "OPTRD", symbol, shares, strike, cash)

    def exercise(self, account_name: str, number: InstrumentId) -> None:
        """Exercise a bought contract now, whatever it is worth.

        Raises
        ------
        Refused
            When none is held long.
        """
        books = self._books
        account = books.accounts[account_name]
        contract = books.instruments[number]
        held = account.quantity(number)
        if held <= 0 or not isinstance(contract, OptionContract):
            raise Refused(Cause.UNKNOWN_POSITION)
        self._turn_into_shares(account, number, contract, held, "OPEXC")

    def assign(self, account_name: str, number: InstrumentId, contracts: Decimal) -> bool:
        """Assign sold contracts before their end; return whether any were held."""
        account = self._books.accounts[account_name]
        contract = self._books.instruments[number]
        held = account.quantity(number)
        if held >= 0 or not isinstance(contract, OptionContract):
            return False
        self._turn_into_shares(account, number, contract, -min(contracts, -held), "OPASN")
        return True

    def _turn_into_shares(
        self,
        account: BrokerAccount,
        number: InstrumentId,
        contract: OptionContract,
        quantity: Decimal,
        kind: str,
    ) -> None:
        account.book(number, -quantity, ZERO, ZERO)
        self._books.note(account, kind, contract.symbol, -quantity, ZERO, ZERO)
        shares = quantity * contract.multiplier * (1 if contract.is_call else -1)
        share_id = self._books.instruments.id_of(contract.underlying)
        self._deliver(account, share_id, shares, contract.strike, -shares * contract.strike)

    def pay_dividend(self, number: InstrumentId, amount: Decimal) -> None:
        """Credit (or charge a short holding) ``amount`` a share on every account."""
        books = self._books
        for account in books.accounts.values():
            held = account.quantity(number)
            if held:
                account.cash += held * amount
                symbol = books.instruments[number].symbol
                books.note(account, "DIV", symbol, held, amount, held * amount)
