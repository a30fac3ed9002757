"""From a request to an order: the checks in their order, then the order with its legs or exits."""

from decimal import Decimal

from scalpdesk.core.intents import Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.simulation.broker import checks
from scalpdesk.simulation.broker.accounts import BrokerAccount
from scalpdesk.simulation.broker.books import NEVER_NS, Books
from scalpdesk.simulation.broker.hours import Hours
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


class OrderOpener:
    """Makes orders of requests, or refuses them.

    Parameters
    ----------
    books
        State of the broker.
    hours
        When the market is open.
    cutoff
        Whether orders in expiring contracts are refused in their last minutes.
    """

    def __init__(self, books: Books, hours: Hours, *, cutoff: bool) -> None:
        self.books = books
        self.hours = hours
        self._cutoff = cutoff

    def _ground(self) -> checks.Ground:
        return checks.Ground(
            self.books.instruments,
            self.books.now_ns,
            self.hours.session_at(self.books.now_ns) is not None,
            self._cutoff,
        )

    def single(self, account: BrokerAccount, request: OrderRequest) -> VenueOrder:
        """Make an order in one instrument, with its exits.

        Raises
        ------
        Refused
            When a rule forbids it.
        """
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
        if request.intent is not None and not closes:
            checks.check_closing_intent(request.intent, side)
        limit = request.limit_price
        if request.structure is Structure.OCO:
            limit = limit or request.take_profit_limit
        if request.structure is Structure.SIMPLE:
            checks.check_wash(account, number, side, limit if request.kind is not Kind.MARKET else None)
        if not closes:
            self._check_means(account, request, number, side, quantity)
        kind = Kind.LIMIT if request.structure is Structure.OCO else request.kind
        intent = checks.intent_of(side, account.quantity(number), request.intent)
        order = self.new_order(account, request, number, side, quantity, kind, intent)
        order.limit_price = limit
        self._add_exits(account, order)
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

    def legs(self, account: BrokerAccount, request: OrderRequest) -> VenueOrder:
        """Make an order over several contracts: a parent and its legs.

        Raises
        ------
        Refused
            When a rule forbids it.
        """
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
        parent = self.new_order(account, request, None, side, quantity, request.kind, intent)
        parent.limit_price = request.limit_price
        for leg, number, _contract, leg_quantity in found:
            leg_intent = checks.intent_of(leg.side, account.quantity(number), leg.intent)
            child = self.new_order(
                account, request, number, leg.side, leg_quantity, request.kind, leg_intent, parent=parent
            )
            child.ratio = leg.ratio
        return parent

    def new_order(
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
        """Make one order and file it; nothing is checked here."""
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
            expires_ns=self._end_of(request.lifetime),
            parent=None if parent is None else parent.order_id,
        )
        books.orders[order.order_id] = order
        account.file(order)
        if parent is not None:
            parent.legs.append(order)
        return order

    def _end_of(self, lifetime: Lifetime) -> int:
        """When an order sent now ends by itself, UTC nanoseconds; one for the opening after the next."""
        now_ns = self.books.now_ns
        if lifetime is Lifetime.GTC:
            return NEVER_NS
        return self.hours.next_close_ns(
            self.hours.next_open_ns(now_ns) if lifetime is Lifetime.OPG else now_ns
        )

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
            leg = self.new_order(
                account, request, entry.instrument_id, side, entry.quantity, kind, intent, parent=entry
            )
            leg.limit_price, leg.stop_price = limit, stop
            leg.trail_price = leg.trail_percent = None

    def replacement(self, old: VenueOrder, changes: Changes, total: Decimal) -> VenueOrder:
        """Make the order that takes the place of ``old`` and asks for ``total`` less what is filled."""
        account = self.books.accounts[old.account]
        new = self.new_order(
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
        new.expires_ns = self._end_of(new.lifetime)
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
