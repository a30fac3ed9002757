"""The one simulated broker: accounts, orders and matching over one market.

Synchronous and deterministic: its driver moves its time, hands it the market and collects what it
reports. Four drivers do: backtests and the in-process venues over :mod:`scalpdesk.simulation.connection`,
the served exchange over its protocols.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import partial

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import OrderType, Side, TimeInForce
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.core.units import NEVER_NS, ZERO, InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.fees import NO_FEES, FeeModel
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.margin.holdings import MarginModel
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.simulation.accounts import AccountTerms, BrokerAccount
from scalpdesk.simulation.assignment import AssignmentProcessor, AssignmentTerms
from scalpdesk.simulation.corporate_actions import ActionProcessor
from scalpdesk.simulation.expiry import ExpiryProcessor
from scalpdesk.simulation.faults import FaultPlan
from scalpdesk.simulation.fills.base import FillModel
from scalpdesk.simulation.hours import Hours
from scalpdesk.simulation.ledger import Ids, Ledger
from scalpdesk.simulation.margin_calls import MarginCalls
from scalpdesk.simulation.matching import Matcher
from scalpdesk.simulation.order_entry import (
    AT_ONCE,
    OrderEntry,
    VenueRules,
    check_replaceable,
    position_intent,
)
from scalpdesk.simulation.orders import BrokerEvent, BrokerOrder, Changes, OrderClass, OrderRequest, Status
from scalpdesk.simulation.staged_faults import StagedFaults
from scalpdesk.simulation.tape_reader import published_on, settlement_level

# looking up an enum's member costs as much as a call
BUY = Side.BUY
MARKET, OPG = OrderType.MARKET, TimeInForce.OPG
OCO, MLEG = OrderClass.OCO, OrderClass.MLEG
_PENDING_NEW, _ACCEPTED, NEW = Status.PENDING_NEW, Status.ACCEPTED, Status.NEW


class Broker:
    """Accounts, orders and matching over one market.

    ``instruments``: What is traded; may grow.
    ``hours``: When the market is open.
    ``option_fills``, ``share_fills``: How orders meet quotes.
    ``margin``: What accounts may use; Regulation T unless another is given.
    ``fees``: Fee schedule.
    ``rules``: Of the venue.
    ``assignment``: What the holders of sold options do; nothing before the expiry unless it is given.
    ``effect_latency_ns``: From a request to its effect, nanoseconds: a request is then answered first and
    takes effect by a timer. None: at once.
    ``faults``: What goes wrong.
    ``ids``: Source of ids; counters unless another is given.
    ``keeps_history``: Whether updates carry a copy of their order and accounts keep their activities.
    """

    def __init__(
        self,
        instruments: Instruments,
        hours: Hours,
        option_fills: FillModel,
        share_fills: FillModel,
        *,
        margin: MarginModel | None = None,
        fees: FeeModel = NO_FEES,
        rules: VenueRules | None = None,
        assignment: AssignmentTerms | None = None,
        effect_latency_ns: int | None = None,
        faults: FaultPlan | None = None,
        ids: Ids | None = None,
        keeps_history: bool = False,
    ) -> None:
        self.ledger = Ledger(
            instruments,
            option_fills,
            share_fills,
            margin=margin,
            fees=fees,
            faults=faults,
            ids=ids,
            keeps_history=keeps_history,
        )
        rules = rules or VenueRules()
        self.working = self.ledger.working
        self.matcher = Matcher(self.ledger)
        self.entry = OrderEntry(self.ledger, hours, rules)
        self._pairs_with_held = rules.pairs_with_held
        self.expiry = ExpiryProcessor(
            self.ledger,
            self.force,
            liquidates=rules.liquidation,
            notices=rules.notices,
            turns=rules.turns,
        )
        self.calls = MarginCalls(self.ledger, self.entry.far_price, self.force, lambda: self.entry.is_open)
        self.actions = ActionProcessor(self.ledger)
        terms = AssignmentTerms("off") if assignment is None else assignment
        self.assignment = AssignmentProcessor(self.ledger, self.expiry, self.actions, terms)
        self.staged = StagedFaults(self.ledger, self.matcher)
        self._effect_latency_ns = effect_latency_ns

    @property
    def due_ns(self) -> int:
        """Instant of the broker's next own event, UTC nanoseconds."""
        timers = self.ledger.timers
        return timers[0][0] if timers else NEVER_NS

    @property
    def is_open(self) -> bool:
        """Whether a session is on."""
        return self.entry.is_open

    def open_account(self, terms: AccountTerms) -> BrokerAccount:
        """Open an account."""
        account = BrokerAccount(terms, self.ledger, self.ledger.now_ns)
        account.pairs_with_held = self._pairs_with_held
        self.ledger.accounts[terms.name] = account
        for number in account.holdings:
            self.expiry.watch(number)
        self.calls.open_account(account)
        return account

    def play(self, tape: MarketTape) -> None:
        """Take settlement levels, dividends, corporate actions and funding from a tape."""
        self.expiry.settlement_of = partial(settlement_level, tape)
        self.assignment.published = partial(published_on, tape)
        self.actions.schedule = (*tape.dividends, *tape.actions)
        for rate in tape.funding:
            self.ledger.at(rate.ts_ns, partial(self.actions.pay_funding, rate))

    # the market -------------------------------------------------------------------------------------

    def on_quote(self, quote: QuoteEvent) -> None:
        """Apply a quote: working orders trade against it.

        A driver that does not find the instrument in ``working`` may store the quote itself:
        ``ledger.quotes[id] = quote``.
        """
        ledger = self.ledger
        ledger.now_ns = max(ledger.now_ns, quote.ts_recv_ns)
        self.matcher.on_quote(quote)
        if quote.instrument_id in ledger.awaited:
            self.expiry.on_quote(quote.instrument_id)
        for order in tuple(ledger.working.get(quote.instrument_id, ())):
            if order.lifetime is TimeInForce.OPG:
                ledger.end(order, Status.CANCELED)  # what the opening did not fill

    def advance(self, now_ns: int) -> None:
        """Carry out everything due by ``now_ns``, each at its own instant."""
        self.ledger.run_timers(now_ns)

    def drain(self) -> Sequence[BrokerEvent]:
        """Return what has been reported since the last time, in order."""
        updates = self.ledger.updates
        if updates:
            self.ledger.updates = []
        return updates

    def halt(self, number: InstrumentId) -> None:
        """Stop trading in an instrument and in the options on it."""
        self.ledger.halted.add(number)

    def resume(self, number: InstrumentId) -> None:
        """Resume trading in an instrument and in the options on it: what waited is matched as it came."""
        ledger = self.ledger
        ledger.halted.discard(number)
        symbol = ledger.instruments[number].symbol
        waiting: set[BrokerOrder] = set()  # a combo works in each of its legs
        for held, orders in ledger.working.items():
            instrument = ledger.instruments[held]
            if held == number or (instrument.is_option and instrument.underlying == symbol):
                waiting.update(orders)
        for order in sorted(waiting, key=lambda order: order.number):
            self.matcher.match(order)

    def open_session(self, now_ns: int, closes_ns: int) -> None:
        """Begin a session: dividends and corporate actions, then the orders that waited for it.

        Raises DataError when a holding cannot be carried across a corporate action.
        """
        ledger = self.ledger
        ledger.run_timers(now_ns - 1)  # the night's clearing: what it exercised has no claim to what goes ex
        ledger.now_ns = max(ledger.now_ns, now_ns)
        ledger.keep_vols()
        ledger.session_open_ns = now_ns
        self.entry.is_open, self.entry.closes_ns = True, closes_ns
        for account in ledger.accounts.values():
            account.unsettled = ZERO
        self.actions.open_session(now_ns)
        for account in ledger.accounts.values():
            account.begin_day(to_new_york(now_ns).date(), ledger.figures(account).equity)
            for number in account.holdings:  # an adjusted option ends as its new contract
                self.expiry.watch(number)
        for order in self._open_orders():
            if order.status is Status.ACCEPTED:
                self.activate(order)
        self.calls.open_session()

    def close_session(self, now_ns: int) -> None:
        """Trade the closing, end contracts and orders that lived for the day, keep the day's equity."""
        ledger = self.ledger
        ledger.now_ns = max(ledger.now_ns, now_ns)
        self.expiry.close_session(now_ns)
        orders = self._open_orders()
        for order in orders:
            if order.lifetime is TimeInForce.CLS and order.status in (Status.NEW, Status.PARTIALLY_FILLED):
                self.matcher.match(order, closing=True)
                if order.is_open:
                    ledger.end(order, Status.CANCELED)
        for order in orders:
            if order.is_open and order.expires_ns <= now_ns and not order.is_combo_leg:
                ledger.end(order, Status.EXPIRED)
        self.assignment.close_session(now_ns)
        for account in ledger.accounts.values():
            account.last_equity = ledger.figures(account).equity
        self.entry.is_open = False

    def _open_orders(self) -> list[BrokerOrder]:
        """Return the orders of all accounts that are not at their end, in the order of arrival."""
        orders = [order for account in self.ledger.accounts.values() for order in account.open_orders()]
        return sorted(orders, key=lambda order: order.number)

    # requests ---------------------------------------------------------------------------------------

    def submit(self, account_name: str, request: OrderRequest) -> BrokerOrder:
        """Take an order; return it as it stands now.

        Raises Refused when a rule forbids it; the order then does not exist.
        """
        ledger, entry = self.ledger, self.entry
        account = ledger.accounts[account_name]
        if account.trading_blocked:
            raise Refused(Cause.ACCOUNT_BLOCKED)
        if request.client_order_id in account.by_client_id:
            raise Refused(Cause.DUPLICATE_CLIENT_ID)
        fault = None if ledger.faults.is_quiet else ledger.faults.take("submit", request.symbol)
        if fault is not None and fault.name == "reject":
            raise self.staged.refusal(fault)
        if request.instrument_id is None or request.kind is not MARKET:
            entry.check_form(request)  # who knows the instrument sends no prices with a market order
        if request.structure is MLEG:
            order = entry.legs(account, request)
            for leg in order.legs:
                assert leg.instrument_id is not None
                self.expiry.watch(leg.instrument_id)
        else:
            order = entry.single(account, request)
            if order.instrument_id not in self.expiry.watched:
                assert order.instrument_id is not None
                self.expiry.watch(order.instrument_id)
        if order.instrument is None or (order.instrument.is_option and request.side is not BUY):
            self.calls.note(account, order)
        if not entry.is_open or order.lifetime is OPG:
            order.status, order.was_queued = _ACCEPTED, True
            ledger.emit(order, order.status.value)
        elif fault is None and self._effect_latency_ns is None:
            self.activate(order)
        else:
            if self._effect_latency_ns is not None:
                ledger.emit(order, order.status.value)
            self._later(lambda: self.staged.activate(order, fault, self.activate))
        return order

    def cancel(self, account_name: str, order_id: str) -> None:
        """Accept a cancel; whether it comes in time is another matter.

        Raises Refused when there is no such order or it is at its end.
        """
        order = self.order(account_name, order_id)
        if not order.is_open:
            raise Refused(Cause.CLOSED_ORDER, status=order.status.value)
        fault = self.ledger.faults.take("cancel", order.request.symbol)
        if self._effect_latency_ns is not None and order.status in (Status.NEW, Status.PARTIALLY_FILLED):
            order.status = Status.PENDING_CANCEL
            self.ledger.emit(order, "pending_cancel")
        self._later(lambda: self.staged.cancel(order, fault, self.take_off))

    def replace(self, account_name: str, order_id: str, changes: Changes) -> BrokerOrder:
        """Accept a replacement; return the new order as it stands now.

        The new order asks for what the old one has not filled yet.

        Raises Refused when the old order cannot be replaced or the new one is not allowed.
        """
        ledger = self.ledger
        account = ledger.accounts[account_name]
        old = self.order(account_name, order_id)
        check_replaceable(old)
        new_id = changes.client_order_id
        if new_id is not None and new_id in account.by_client_id:
            raise Refused(Cause.DUPLICATE_CLIENT_ID)
        total = changes.quantity if changes.quantity is not None else old.quantity
        if total <= old.filled:
            raise Refused(Cause.UNPROCESSABLE, "qty must be > filled_qty")
        withholds = self.entry.check_replacement(old, changes, total)
        fault = ledger.faults.take("replace", old.request.symbol)
        new = self.entry.replacement(old, changes, total, withholds)
        old.status = Status.PENDING_REPLACE
        if self._effect_latency_ns is not None:
            ledger.emit(old, "pending_replace")
        self._later(lambda: self.staged.replace(old, new, fault, self._swap))
        return new

    def order(self, account_name: str, order_id: str) -> BrokerOrder:
        """Return an order of an account.

        Raises Refused when there is none of this id.
        """
        found = self.ledger.accounts[account_name].orders.get(order_id)
        if found is None:
            raise Refused(Cause.UNKNOWN_ORDER, order_id=order_id)
        return found

    def close_position(
        self, account_name: str, number: InstrumentId, quantity: Decimal | None = None
    ) -> BrokerOrder:
        """Send a market order that closes a holding, or ``quantity`` (unsigned) of it.

        Raises Refused when nothing is held, or open orders hold it.
        """
        held = self.ledger.accounts[account_name].quantity(number)
        if not held:
            raise Refused(Cause.UNKNOWN_POSITION)
        request = OrderRequest(
            self.ledger.instruments[number].symbol,
            Side.SELL if held > 0 else Side.BUY,
            OrderType.MARKET,
            quantity=abs(held) if quantity is None else quantity,
        )
        return self.submit(account_name, request)

    def force(self, account_name: str, request: OrderRequest) -> None:
        """Send an order of the broker's own: none of the account's rules applies."""
        ledger = self.ledger
        number = ledger.instruments.id_of(request.symbol)
        assert request.side is not None
        assert request.quantity is not None
        account = ledger.accounts[account_name]
        intent = position_intent(request.side, account.quantity(number))
        order = self.entry.new_order(
            account, request, number, request.side, request.quantity, request.kind, intent
        )
        order.is_forced = True
        ledger.emit(order, "pending_new")
        self.activate(order)

    # effects ----------------------------------------------------------------------------------------

    def activate(self, order: BrokerOrder) -> None:
        """Deliver an order to the exchange: acknowledge it and match it with the present quote."""
        ledger = self.ledger
        if order.status is not _PENDING_NEW and order.status is not _ACCEPTED:
            return
        order.status = NEW
        if order.instrument_id is None:
            for leg in order.legs:
                leg.status = NEW
        self.matcher.enter(order)
        if order.request.structure is OCO:
            for leg in order.legs:
                if order.is_open:
                    self.matcher.release(leg)
        if order.lifetime in AT_ONCE and order.is_open:
            ledger.end(order, Status.CANCELED)

    def take_off(self, order: BrokerOrder) -> None:
        """Cancel an order at the exchange, with what hangs on it."""
        ledger = self.ledger
        if not order.is_open:
            ledger.emit(order, "order_cancel_rejected")
            return
        ledger.end(order, Status.CANCELED)
        together: Iterable[BrokerOrder] = self.matcher.siblings(order)
        if order.parent is None and order.request.structure in (OrderClass.BRACKET, OrderClass.OTO):
            together = order.legs
        for other in together:
            if other.is_open and order.instrument_id is not None:
                ledger.end(other, Status.CANCELED)

    def _swap(self, old: BrokerOrder, new: BrokerOrder) -> None:
        ledger = self.ledger
        if not old.is_open:
            new.reject_reason = "the order was at its end before the replacement reached it"
            ledger.end(new, Status.REJECTED)
            return
        new.quantity -= old.filled - new.filled_before
        if new.quantity <= 0:
            old.status = Status.PARTIALLY_FILLED
            new.reject_reason = "qty must be greater than filled qty"
            ledger.end(new, Status.REJECTED)
            return
        old.replaced_by = new.order_id
        ledger.end(old, Status.REPLACED)
        if new.instrument_id is None:
            for leg in new.legs:  # they go on under the new order
                leg.quantity = leg.filled + new.quantity * leg.ratio
        self.activate(new)

    def _later(self, effect: Callable[[], None]) -> None:
        if self._effect_latency_ns is None:
            effect()
        else:
            self.ledger.at(self.ledger.now_ns + self._effect_latency_ns, effect)
