"""Margin calls of accounts in dollars: the broker closes positions until the maintenance margin is met."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import Final

from scalpdesk.core.intents import OrderType, Side, TimeInForce
from scalpdesk.core.units import MINUTE_NS, ZERO, InstrumentId
from scalpdesk.margin.holdings import Filled, Holding
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.ledger import Ledger
from scalpdesk.simulation.orders import BrokerOrder, OrderRequest, PositionIntent, Status

_CHECK_NS: Final = MINUTE_NS
OPENING = PositionIntent.BUY_TO_OPEN, PositionIntent.SELL_TO_OPEN


class MarginCalls:
    """Looks each minute at accounts that have sold options, and closes what their own funds do not carry.

    Brokers may close at once and without notice (IBKR does); a broker that calls and waits is not simulated.
    Open orders that open go first. Sold options are bought back next, those first that free most; then bought
    options and shares are sold. No more is closed than the maintenance margin asks for.

    ``far_price``: Price at which a market order is expected to trade, currency per unit.
    ``force``: Sends an order of the broker's own for an account.
    ``is_open``: Whether a session is on.
    """

    def __init__(
        self,
        ledger: Ledger,
        far_price: Callable[[InstrumentId, Side], Decimal],
        force: Callable[[str, OrderRequest], None],
        is_open: Callable[[], bool],
    ) -> None:
        self._ledger, self._far_price = ledger, far_price
        self._force, self._is_open = force, is_open
        self._known: set[str] = set()
        """Accounts that ever sold an option."""
        self._due: set[str] = set()

    def note(self, account: BrokerAccount, order: BrokerOrder) -> None:
        """Watch an account from its first order on that sells options to open."""
        for part in order.legs if order.instrument_id is None else (order,):
            instrument = part.instrument
            if part.intent is PositionIntent.SELL_TO_OPEN and instrument is not None and instrument.is_option:
                self._watch(account)

    def open_account(self, account: BrokerAccount) -> None:
        """Watch an account that begins with a sold option."""
        if any(held.quantity < 0 and held.instrument.is_option for held in account.holdings.values()):
            self._watch(account)

    def open_session(self) -> None:
        """Go on with the accounts of the session before: what was assigned may be more than they carry."""
        for name in sorted(self._known):
            self._watch(self._ledger.accounts[name])

    def _watch(self, account: BrokerAccount) -> None:
        name = account.name
        if account.currency != "USD" or account.multiplier == 1:
            return
        self._known.add(name)
        if name not in self._due:
            self._due.add(name)
            self._ledger.at(self._ledger.now_ns + _CHECK_NS, partial(self.check, name))

    def check(self, name: str) -> None:
        """Look at an account now, and close what its own funds do not carry."""
        self._due.discard(name)
        account = self._ledger.accounts[name]
        if not self._is_open():
            return
        if self._ledger.figures(account).excess < 0:
            self._call(account)
        if any(self._sold(account)) or account.unended or self._ledger.figures(account).excess < 0:
            self._watch(account)

    def _call(self, account: BrokerAccount) -> None:
        """Close positions of an account until its own funds carry the rest."""
        ledger = self._ledger
        for order in account.open_orders():
            if order.parent is None and (order.instrument_id is None or order.intent in OPENING):
                ledger.end(order, Status.CANCELED)
        for number in self._in_order(account):
            if ledger.figures(account).excess >= 0:
                return
            if any(order.instrument_id == number and order.is_forced for order in account.open_orders()):
                continue  # the broker's own order of a minute ago still waits for a quote
            for order in account.open_orders():
                if order.instrument_id == number and order.parent is None:
                    ledger.end(order, Status.CANCELED)
            held = account.quantity(number)
            side, symbol = (Side.SELL if held > 0 else Side.BUY), ledger.instruments[number].symbol
            quantity = self._enough(account, number)
            request = OrderRequest(symbol, side, OrderType.MARKET, TimeInForce.DAY, quantity)
            self._force(account.name, request)

    @staticmethod
    def _sold(account: BrokerAccount) -> Iterator[InstrumentId]:
        for number, held in account.holdings.items():
            if held.quantity < 0 and held.instrument.is_option:
                yield number

    def _in_order(self, account: BrokerAccount) -> list[InstrumentId]:
        """Return what is held in the order in which it is closed."""

        def rank(number: InstrumentId) -> tuple[int, Decimal, InstrumentId]:
            held = account.holdings[number]
            kind = 2 if not held.instrument.is_option else 0 if held.quantity < 0 else 1
            return kind, -self._excess_without(account, number, abs(held.quantity)), number

        return sorted(account.holdings, key=rank)

    def _enough(self, account: BrokerAccount, number: InstrumentId) -> Decimal:
        """Return the fewest units whose closing meets the maintenance margin, or else all units."""
        step = account.holdings[number].instrument.step
        most = int(abs(account.quantity(number)) / step)
        if most < 1 or self._excess_without(account, number, most * step) < 0:
            return abs(account.quantity(number))
        low, high = 0, most
        while high - low > 1:
            middle = (low + high) // 2
            is_met = self._excess_without(account, number, middle * step) >= 0
            low, high = (low, middle) if is_met else (middle, high)
        return high * step

    def _excess_without(self, account: BrokerAccount, number: InstrumentId, quantity: Decimal) -> Decimal:
        """Return own funds above the maintenance margin once so many units of a holding are closed."""
        held = account.holdings[number]
        side = Side.SELL if held.quantity > 0 else Side.BUY
        closing = Holding(held.instrument, side.sign * quantity, self._far_price(number, side))
        return self._ledger.margin.figures(Filled(account, (closing,))).excess if closing.price else ZERO
