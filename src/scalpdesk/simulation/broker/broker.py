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
from scalpdesk.simulation.broker.books import NEVER_NS, Books
from scalpdesk.simulation.broker.hours import Hours
from scalpdesk.simulation.broker.last_hours import LastHours
from scalpdesk.simulation.broker.matching import Matcher
from scalpdesk.simulation.broker.orders import (
    ZERO,
    Changes,
    Kind,
    Lifetime,
    OrderRequest,
    PositionIntent,
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
        self._cutoff = cutoff

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
            order = self._open_legs(account, request)
        else:
            order = self._open_single(account, request)
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
        new = self._copy_for_replace(old, changes, total)
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
        order = self._new_order(
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

    def _goes_at_once(self, order: VenueOrder) -> bool:
        return self.is_open and order.lifetime is not Lifetime.OPG

    # opening of orders ------------------------------------------------------------------------------

    def _ground(self) -> checks.Ground:
        return checks.Ground(self.books.instruments, self.books.now_ns, self.is_open, self._cutoff)

    def _open_single(self, account: BrokerAccount, request: OrderRequest) -> VenueOrder:
        books = self.books
        if request.symbol not in books.instruments:
            raise Refused(Cause.UNKNOWN_ASSET, symbol=request.symbol)
        if request.side is None:
            raise Refused(Cause.MALFORMED, "side is required")
        number = books.instruments.id_of(request.symbol)
        instrument = books.instruments[number]
        checks.check_market(request, instrument, self._ground())
        quantity = request.quantity if request.quantity is not None else ZERO
        side = request.side
        closes = checks.check_available(account, number, request.symbol, side, quantity)
        limit = request.limit_price
        if request.structure is Structure.OCO:
            limit = limit or request.take_profit_limit
        if request.structure is Structure.SIMPLE:
            checks.check_wash(account, number, side, limit if request.kind is not Kind.MARKET else None)
        if not closes:
            self._check_means(account, request, number, side, quantity)
        kind = Kind.LIMIT if request.structure is Structure.OCO else request.kind
        intent = checks.intent_of(side, account.quantity(number), request.intent)
        order = self._new_order(account, request, number, side, quantity, kind, intent)
        order.limit_price = limit
        self._add_exits(account, order)
        if isinstance(instrument, OptionContract):
            self.last_hours.watch(number, instrument)
        return order

    def _check_means(
        self,
        account: BrokerAccount,
        request: OrderRequest,
        number: InstrumentId,
        side: Side,
        quantity: Decimal,
    ) -> None:
        books = self.books
        instrument = books.instruments[number]
        money = books.money(account)
        price = request.limit_price or request.stop_price or self._far_price(number, side)
        cost = request.notional if request.notional is not None else quantity * price * instrument.multiplier
        if isinstance(instrument, OptionContract):
            checks.check_option_opening(account, self._ground(), instrument, side, quantity, money)
            if side is Side.BUY:
                checks.check_cost(cost, money.options_buying_power)
            return
        if side is Side.SELL and (not account.shorting_enabled or quantity != int(quantity)):
            raise Refused(Cause.SHORTING, symbol=request.symbol)
        checks.check_cost(cost, money.buying_power)

    def _far_price(self, number: InstrumentId, side: Side) -> Decimal:
        quote = self.books.quotes.get(number)
        far = 0.0 if quote is None else (quote.ask if side is Side.BUY else quote.bid)
        return Decimal(f"{far:.4f}") if far > 0 else self.books.mark(number)

    def _open_legs(self, account: BrokerAccount, request: OrderRequest) -> VenueOrder:
        books = self.books
        assert request.quantity is not None
        found = []
        for leg in request.legs:
            if leg.symbol not in books.instruments:
                raise Refused(Cause.UNKNOWN_ASSET, symbol=leg.symbol)
            number = books.instruments.id_of(leg.symbol)
            contract = books.instruments[number]
            if not isinstance(contract, OptionContract):
                raise Refused(Cause.MALFORMED, "mleg orders are for option contracts only")
            checks.check_market(request, contract, self._ground())
            found.append((leg, number, contract, request.quantity * leg.ratio))
        quantity = request.quantity
        checks.check_legs_covered(
            account, [(contract, leg.side, q, account.quantity(n)) for leg, n, contract, q in found]
        )
        net = ZERO
        for leg, number, contract, _ in found:
            net += leg.side.sign * leg.ratio * self._far_price(number, leg.side) * contract.multiplier
        if request.limit_price is not None:
            net = request.limit_price * found[0][2].multiplier
        checks.check_cost(max(net, ZERO) * quantity, books.money(account).options_buying_power)
        side = request.side or Side.BUY
        intent = request.intent or PositionIntent.BUY_TO_OPEN
        parent = self._new_order(account, request, None, side, quantity, request.kind, intent)
        parent.limit_price = request.limit_price
        for leg, number, contract, leg_quantity in found:
            leg_intent = checks.intent_of(leg.side, account.quantity(number), leg.intent)
            child = self._new_order(
                account, request, number, leg.side, leg_quantity, request.kind, leg_intent, parent=parent
            )
            child.ratio = leg.ratio
            self.last_hours.watch(number, contract)
        return parent

    def _new_order(
        self,
        account: BrokerAccount,
        request: OrderRequest,
        number: InstrumentId | None,
        side: Side,
        quantity: Decimal,
        kind: Kind,
        intent: PositionIntent,
        *,
        parent: VenueOrder | None = None,
        client_order_id: str | None = None,
    ) -> VenueOrder:
        books = self.books
        now = books.now_ns
        mine = client_order_id or (request.client_order_id if parent is None else None)
        order = VenueOrder(
            order_id=books.new_id("order"),
            client_order_id=mine or books.new_id("client"),
            account=account.name,
            number=len(books.orders),
            request=request,
            instrument_id=number,
            side=side,
            quantity=quantity,
            kind=kind,
            lifetime=request.lifetime,
            status=Status.HELD if parent is not None else Status.PENDING_NEW,
            intent=intent,
            created_ns=now,
            updated_ns=now,
            limit_price=request.limit_price,
            stop_price=request.stop_price,
            trail_price=request.trail_price,
            trail_percent=request.trail_percent,
            expires_ns=NEVER_NS if request.lifetime is Lifetime.GTC else self.hours.next_close_ns(now),
            parent=None if parent is None else parent.order_id,
        )
        books.orders[order.order_id] = order
        account.orders[order.order_id] = order
        account.by_client_id[order.client_order_id] = order
        if parent is not None:
            parent.legs.append(order)
        return order

    def _add_exits(self, account: BrokerAccount, entry: VenueOrder) -> None:
        """Make the exits of a bracket, one-triggers-other or one-cancels-other order; they are held."""
        request = entry.request
        if request.structure is Structure.SIMPLE:
            return
        is_oco = request.structure is Structure.OCO
        side = entry.side if is_oco else (Side.SELL if entry.side is Side.BUY else Side.BUY)
        intent = PositionIntent.SELL_TO_CLOSE if side is Side.SELL else PositionIntent.BUY_TO_CLOSE
        made: list[tuple[Kind, Decimal | None, Decimal | None]] = []
        if request.take_profit_limit is not None and not is_oco:
            made.append((Kind.LIMIT, request.take_profit_limit, None))
        if request.stop_loss_stop is not None:
            kind = Kind.STOP if request.stop_loss_limit is None else Kind.STOP_LIMIT
            made.append((kind, request.stop_loss_limit, request.stop_loss_stop))
        for kind, limit, stop in made:
            leg = self._new_order(
                account, request, entry.instrument_id, side, entry.quantity, kind, intent, parent=entry
            )
            leg.limit_price, leg.stop_price = limit, stop
            leg.trail_price = leg.trail_percent = None

    def _copy_for_replace(self, old: VenueOrder, changes: Changes, total: Decimal) -> VenueOrder:
        account = self.books.accounts[old.account]
        new = self._new_order(
            account,
            old.request,
            old.instrument_id,
            old.side,
            total - old.filled,
            old.kind,
            old.intent,
            client_order_id=changes.client_order_id or self.books.new_id("client"),
        )
        new.lifetime = changes.lifetime or old.lifetime
        new.expires_ns = (
            NEVER_NS if new.lifetime is Lifetime.GTC else self.hours.next_close_ns(self.books.now_ns)
        )
        new.limit_price = changes.limit_price if changes.limit_price is not None else old.limit_price
        new.stop_price = changes.stop_price if changes.stop_price is not None else old.stop_price
        new.trail_price, new.trail_percent = old.trail_price, old.trail_percent
        if changes.trail is not None:
            if old.trail_percent is not None:
                new.trail_percent = changes.trail
            else:
                new.trail_price = changes.trail
        new.high_water, new.triggered = old.high_water, old.triggered
        new.replaces, new.parent = old.order_id, old.parent
        new.legs = list(old.legs)
        new.filled_before = old.filled
        return new
