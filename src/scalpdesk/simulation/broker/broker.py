"""The broker's counter: takes orders, cancels and replacements, opens and closes the session.

Synchronous and deterministic: whoever drives it moves the time, hands it quotes and collects
``books.updates``. A request is answered at once; it takes effect after the latency, by a timer.
"""

from collections.abc import Callable
from decimal import Decimal

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.simulation.broker import checks
from scalpdesk.simulation.broker.accounts import BrokerAccount
from scalpdesk.simulation.broker.books import Books
from scalpdesk.simulation.broker.hours import Hours
from scalpdesk.simulation.broker.last_hours import LastHours
from scalpdesk.simulation.broker.matching import Matcher
from scalpdesk.simulation.broker.opening import OrderOpener
from scalpdesk.simulation.broker.orders import (
    Changes,
    Kind,
    Lifetime,
    OrderRequest,
    Status,
    Structure,
    VenueOrder,
)
from scalpdesk.simulation.broker.refusals import Cause, Refused
from scalpdesk.simulation.broker.staged_faults import StagedFaults

AT_ONCE = (Lifetime.IOC, Lifetime.FOK)


class Broker:
    """Accounts, orders and matching over one market.

    Parameters
    ----------
    books
        Its state.
    hours
        When the market is open.
    latency_ns
        From a request to its effect at the exchange, nanoseconds.
    cutoff
        Whether orders in expiring contracts are refused in their last minutes.
    liquidation
        Whether expiring positions that an account cannot take delivery of are closed before the end.
    """

    def __init__(
        self,
        books: Books,
        hours: Hours,
        *,
        latency_ns: int = 0,
        cutoff: bool = True,
        liquidation: bool = True,
    ) -> None:
        self.books = books
        self.hours = hours
        self.matcher = Matcher(books)
        self.last_hours = LastHours(books, self, enabled=liquidation)
        self.staged = StagedFaults(books, self.matcher)
        self._latency_ns = latency_ns
        self.opener = OrderOpener(books, hours, cutoff=cutoff)

    def add_account(self, account: BrokerAccount) -> BrokerAccount:
        """Open an account."""
        account.last_equity = account.last_equity or account.cash
        self.books.accounts[account.name] = account
        return account

    @property
    def is_open(self) -> bool:
        """Whether a session is on."""
        return self.hours.session_at(self.books.now_ns) is not None

    def on_quote(self, quote: QuoteEvent) -> None:
        """Take the market in."""
        self.matcher.on_quote(quote)
        opening = [o for o in self.books.working.get(quote.instrument_id, ()) if o.lifetime is Lifetime.OPG]
        for order in opening:
            self.books.end(order, Status.CANCELED)  # what the opening did not fill

    # requests ---------------------------------------------------------------------------------------

    def submit(self, account_name: str, request: OrderRequest) -> VenueOrder:
        """Take an order; return it as it stands now.

        Raises
        ------
        Refused
            When a rule forbids it; the order then does not exist.
        """
        books = self.books
        account = books.accounts[account_name]
        if account.trading_blocked:
            raise Refused(Cause.ACCOUNT_BLOCKED)
        if request.client_order_id is not None and request.client_order_id in account.by_client_id:
            raise Refused(Cause.DUPLICATE_CLIENT_ID)
        fault = books.faults.take("submit", request.symbol)
        if fault is not None and fault.name == "reject":
            raise self.staged.refusal(fault)
        checks.check_form(request)
        if request.structure is Structure.MLEG:
            order = self.opener.legs(account, request)
        else:
            order = self.opener.single(account, request)
        self._watch_contracts(order)
        order.status = Status.PENDING_NEW if self._goes_at_once(order) else Status.ACCEPTED
        books.emit(order, order.status.value)
        if order.status is Status.PENDING_NEW:
            self._later(lambda: self.staged.activate(order, fault, self.activate))
        return order.as_seen_now()

    def cancel(self, account_name: str, order_id: str) -> None:
        """Accept a cancel; whether it comes in time is another matter.

        Raises
        ------
        Refused
            When there is no such order or it is at its end.
        """
        order = self.order(account_name, order_id)
        if not order.is_open:
            raise Refused(Cause.CLOSED_ORDER, status=order.status.value)
        fault = self.books.faults.take("cancel", order.request.symbol)
        if order.status in (Status.NEW, Status.PARTIALLY_FILLED):
            order.status = Status.PENDING_CANCEL
            self.books.emit(order, "pending_cancel")
        self._later(lambda: self.staged.cancel(order, fault, self.take_off))

    def replace(self, account_name: str, order_id: str, changes: Changes) -> VenueOrder:
        """Accept a replacement; return the new order as it stands now.

        The new order asks for what the old one has not filled yet.

        Raises
        ------
        Refused
            When the old order cannot be replaced or the new one is not allowed.
        """
        books = self.books
        account = books.accounts[account_name]
        old = self.order(account_name, order_id)
        checks.check_replaceable(old)
        new_id = changes.client_order_id
        if new_id is not None and new_id in account.by_client_id:
            raise Refused(Cause.DUPLICATE_CLIENT_ID)
        total = changes.quantity if changes.quantity is not None else old.quantity
        if total <= old.filled:
            raise Refused(Cause.MALFORMED, "qty must be greater than filled qty")
        for name in ("limit_price", "stop_price"):
            price = getattr(changes, name)
            if price is not None:
                checks.check_increment(name, price)
        extra = total - old.quantity
        if extra > 0 and old.instrument_id is not None:
            symbol = books.instruments[old.instrument_id].symbol
            checks.check_available(account, old.instrument_id, symbol, old.side, extra)
        fault = books.faults.take("replace", old.request.symbol)
        new = self.opener.replacement(old, changes, total)
        before = old.status
        old.status = Status.PENDING_REPLACE
        books.emit(old, "pending_replace")
        self._later(lambda: self.staged.replace(old, new, before, fault, self._swap))
        return new.as_seen_now()

    def order(self, account_name: str, order_id: str) -> VenueOrder:
        """Return an order of an account.

        Raises
        ------
        Refused
            When there is none of this id.
        """
        found = self.books.accounts[account_name].orders.get(order_id)
        if found is None:
            raise Refused(Cause.UNKNOWN_ORDER, order_id=order_id)
        return found

    def close_position(
        self, account_name: str, number: InstrumentId, quantity: Decimal | None = None
    ) -> VenueOrder:
        """Send a market order that closes a holding, or ``quantity`` (unsigned) of it.

        Raises
        ------
        Refused
            When nothing is held, or open orders hold it.
        """
        account = self.books.accounts[account_name]
        held = account.quantity(number)
        if not held:
            raise Refused(Cause.UNKNOWN_POSITION)
        request = OrderRequest(
            self.books.instruments[number].symbol,
            Side.SELL if held > 0 else Side.BUY,
            Kind.MARKET,
            quantity=abs(held) if quantity is None else quantity,
        )
        return self.submit(account_name, request)

    def force(self, account_name: str, request: OrderRequest) -> VenueOrder:
        """Send an order of the broker's own: none of the account's rules applies."""
        books = self.books
        number = books.instruments.id_of(request.symbol)
        assert request.side is not None
        assert request.quantity is not None
        account = books.accounts[account_name]
        intent = checks.intent_of(request.side, account.quantity(number), None)
        order = self.opener.new_order(
            account, request, number, request.side, request.quantity, request.kind, intent
        )
        books.emit(order, "pending_new")
        self.activate(order)
        return order

    # effects ----------------------------------------------------------------------------------------

    def activate(self, order: VenueOrder) -> None:
        """Let an order reach the exchange: it is acknowledged and meets the present quote."""
        books = self.books
        if order.status not in (Status.PENDING_NEW, Status.ACCEPTED):
            return
        order.status = Status.NEW
        for leg in order.legs:
            if order.instrument_id is None:
                leg.status = Status.NEW
        books.join(order)
        books.emit(order, "new")
        self.matcher.match(order)
        if order.request.structure is Structure.OCO:
            for leg in order.legs:
                if order.is_open:
                    self.matcher.release(leg)
        if order.lifetime in AT_ONCE and order.is_open:
            books.end(order, Status.CANCELED)

    def take_off(self, order: VenueOrder) -> None:
        """Cancel an order at the exchange, with what hangs on it."""
        books = self.books
        if not order.is_open:
            books.emit(order, "order_cancel_rejected")
            return
        books.end(order, Status.CANCELED)
        together = self.matcher.siblings(order)
        if order.parent is None and order.request.structure in (Structure.BRACKET, Structure.OTO):
            together = order.legs
        for other in together:
            if other.is_open and order.instrument_id is not None:
                books.end(other, Status.CANCELED)

    def _swap(self, old: VenueOrder, new: VenueOrder, before: Status) -> None:
        books = self.books
        if not old.is_open:
            new.reject_reason = "the order was at its end before the replacement reached it"
            books.end(new, Status.REJECTED)
            return
        new.quantity -= old.filled - new.filled_before
        if new.quantity <= 0:
            old.status = before
            new.reject_reason = "qty must be greater than filled qty"
            books.end(new, Status.REJECTED)
            return
        old.replaced_by = new.order_id
        books.end(old, Status.REPLACED)
        self.activate(new)

    def open_session(self) -> None:
        """Let orders that waited for the opening reach the exchange."""
        self.books.session_open_ns = self.books.now_ns
        for order in list(self.books.orders.values()):
            if order.status is Status.ACCEPTED:
                self.activate(order)

    def close_session(self) -> None:
        """Trade the closing, end what lived for the day, keep the day's equity."""
        books = self.books
        for order in list(books.orders.values()):
            if order.lifetime is Lifetime.CLS and order.status in (Status.NEW, Status.PARTIALLY_FILLED):
                self.matcher.match(order, closing=True)
                if order.is_open:
                    books.end(order, Status.CANCELED)
        for order in list(books.orders.values()):
            is_leg_of_combo = order.parent is not None and order.request.structure is Structure.MLEG
            if order.is_open and order.expires_ns <= books.now_ns and not is_leg_of_combo:
                books.end(order, Status.EXPIRED)
        for account in books.accounts.values():
            account.last_equity = books.money(account).equity

    def _later(self, action: Callable[[], None]) -> None:
        self.books.at(self.books.now_ns + self._latency_ns, action)

    def _watch_contracts(self, order: VenueOrder) -> None:
        """Set the timers of the contracts that an order may bring into the account."""
        for one in (order, *order.legs):
            if one.instrument_id is None:
                continue
            contract = self.books.instruments[one.instrument_id]
            if isinstance(contract, OptionContract):
                self.last_hours.watch(one.instrument_id, contract)

    def _goes_at_once(self, order: VenueOrder) -> bool:
        return self.is_open and order.lifetime is not Lifetime.OPG
