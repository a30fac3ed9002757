"""The venue inside the process that paper trading trades at: an exchange fed with live quotes. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import isnan

from scalpdesk.core.events import (
    CancelRejected,
    OrderAccepted,
    OrderCancelled,
    OrderEvent,
    OrderFilled,
    OrderRejected,
    PositionChanged,
    QuoteEvent,
)
from scalpdesk.core.intents import CancelOrder, MultiLegOrder, ReplaceOrder, SubmitOrder, VenueCommand
from scalpdesk.core.units import InstrumentId, exact
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.fees import NO_FEES, FeeSchedule
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.portfolio.positions import PositionManager
from scalpdesk.simulation.exchange import NEVER_NS, SimulatedAccount, SimulatedExchange
from scalpdesk.simulation.fills import fill_model
from scalpdesk.venues.contract import VenueFill, VenueOrder, VenuePosition

ZERO = Decimal(0)
PaperEvent = OrderEvent | PositionChanged


@dataclass(frozen=True, slots=True)
class PaperTerms:
    """What the paper account starts with and how it is filled.

    Parameters
    ----------
    cash
        In the quote currency.
    positions
        Signed contracts or shares, and their average price per unit, by instrument.
    fill_model
        Of options and shares alike (``cross``, ``mid``, ``queue``, ``adverse``).
    fees
        Fee schedule.
    latency_ns
        One way.
    """

    cash: Decimal
    positions: Mapping[InstrumentId, tuple[Decimal, Decimal]]
    fill_model: str = "cross"
    fees: FeeSchedule = NO_FEES
    latency_ns: int = 0


class PaperVenue:
    """One account, its orders and its holdings.

    Parameters
    ----------
    book
        Instruments; all of them, it does not grow any more.
    terms
        The account and how it is filled.
    start_ns
        Held options that expired before it are settled at the first quote of their underlying; UTC
        nanoseconds.
    """

    def __init__(self, book: Instruments, terms: PaperTerms, start_ns: int) -> None:
        self._book = book
        self._holdings = PositionManager(book)
        held = {}
        for number, (quantity, price) in terms.positions.items():
            held[number] = quantity
            self._holdings.book(number, quantity, price, f"start-{number}")
        self.account = SimulatedAccount(terms.cash, held)
        self._exchange = SimulatedExchange(
            book,
            self.account,
            fill_model(terms.fill_model),
            fill_model(terms.fill_model),
            fees=terms.fees,
            latency_ns=terms.latency_ns,
        )
        self.submitted: dict[str, SubmitOrder] = {}
        self._venue_ids: dict[str, str] = {}
        self._filled: dict[str, Decimal] = {}
        self._replacing: dict[str, SubmitOrder] = {}
        self.fills: list[VenueFill] = []
        self._expiries = sorted(
            (expiry_instant_ns(one), number)
            for number, one in ((InstrumentId(index), one) for index, one in enumerate(book))
            if isinstance(one, OptionContract) and (number in held or expiry_instant_ns(one) > start_ns)
        )
        self._unsettled: list[tuple[int, InstrumentId]] = []
        """Expired, and no quote of the underlying has come yet to settle them at."""

    @property
    def due_ns(self) -> int:
        """When something happens next even if no quote comes."""
        return min(self._exchange.due_ns, self._expiries[0][0] if self._expiries else NEVER_NS)

    def quote(self, number: InstrumentId) -> QuoteEvent | None:
        """Return the latest quote of an instrument."""
        return self._exchange.quotes[number]

    def take_quote(self, quote: QuoteEvent) -> list[PaperEvent]:
        """Take the market in; return what reaches the desk by then, in order."""
        events = self.advance(quote.ts_recv_ns)
        self._exchange.on_quote(quote)
        if self._unsettled:
            waiting, self._unsettled = self._unsettled, []
            for _, number in waiting:
                events += self._settle(number, quote.ts_recv_ns)
        return events + self.advance(quote.ts_recv_ns)

    def advance(self, now_ns: int) -> list[PaperEvent]:
        """Let everything happen that is due."""
        events: list[PaperEvent] = []
        while True:
            arrived = self._exchange.take_due(now_ns)
            for event in arrived:
                events += self._noted(event, now_ns)
            if not arrived:
                break
        while self._expiries and self._expiries[0][0] <= now_ns:
            at_ns, number = self._expiries.pop(0)
            events += self._settle(number, at_ns)
        return events

    def end_day(self, now_ns: int) -> list[PaperEvent]:
        """End the session: what rests and what is on its way ends."""
        self._exchange.end_session(now_ns)
        return self.advance(now_ns)

    # commands -------------------------------------------------------------------------------------

    def take(self, command: VenueCommand, now_ns: int) -> list[PaperEvent]:
        """Take a command; return what the desk learns at once."""
        if isinstance(command, SubmitOrder):
            return self._submit(command, now_ns) + self.advance(now_ns)
        if isinstance(command, CancelOrder):
            self._exchange.send(command, now_ns)
            return self.advance(now_ns)
        if isinstance(command, ReplaceOrder):
            self._replacing[command.client_order_id] = command.replacement
            self._exchange.send(CancelOrder(command.client_order_id), now_ns)
            return self.advance(now_ns)
        return self._multi_leg(command, now_ns)

    def _submit(self, command: SubmitOrder, now_ns: int) -> list[PaperEvent]:
        name = command.client_order_id
        if name in self.submitted:
            return self.told_again(name, now_ns)
        self.submitted[name] = command
        self._exchange.send(command, now_ns)
        return []

    def told_again(self, client_order_id: str, now_ns: int) -> list[PaperEvent]:
        """An order of this name is here already: its acknowledgement again, and nothing new."""
        venue_id = self._venue_ids.get(client_order_id)
        return [] if venue_id is None else [OrderAccepted(client_order_id, now_ns, now_ns, venue_id)]

    def _multi_leg(self, command: MultiLegOrder, now_ns: int) -> list[PaperEvent]:
        """All legs at once at the far sides, when their net price is within the limit; else none."""
        refusal = self._refusal(command)
        events: list[PaperEvent] = []
        for leg in command.legs:
            if refusal is None:
                events += self._submit(leg, now_ns)
            else:
                events.append(OrderRejected(leg.client_order_id, now_ns, now_ns, refusal))
        return events + self.advance(now_ns)

    def _refusal(self, command: MultiLegOrder) -> str | None:
        sets = min(leg.quantity for leg in command.legs)
        net = ZERO
        for leg in command.legs:
            quote = self.quote(leg.instrument_id)
            price = float("nan") if quote is None else quote.ask if leg.side.sign > 0 else quote.bid
            if not price > 0:
                return f"no price for {self._book[leg.instrument_id].symbol}"
            net += exact(price) * leg.side.sign * leg.quantity / sets
        if command.net_limit_price is not None and net > command.net_limit_price:
            return f"the legs cost {net} a set, more than the limit; paper does not rest several legs"
        return None

    # what happens ---------------------------------------------------------------------------------

    def _noted(self, event: OrderEvent, now_ns: int) -> list[PaperEvent]:
        name = event.client_order_id
        if isinstance(event, OrderAccepted):
            self._venue_ids[name] = event.venue_order_id
        elif isinstance(event, OrderFilled):
            self._note_fill(event)
        elif isinstance(event, OrderCancelled | CancelRejected) and name in self._replacing:
            return self._replaced(event, self._replacing.pop(name), now_ns)
        return [event]

    def _replaced(
        self, event: OrderCancelled | CancelRejected, new: SubmitOrder, now_ns: int
    ) -> list[PaperEvent]:
        if isinstance(event, OrderCancelled):
            return [event, *self._submit(new, now_ns)]
        refused = OrderRejected(new.client_order_id, event.ts_event_ns, event.ts_recv_ns, event.reason)
        return [refused, event]

    def _note_fill(self, event: OrderFilled) -> None:
        name = event.client_order_id
        command = self.submitted[name]
        self._filled[name] = cumulative = self._filled.get(name, ZERO) + event.quantity
        number = command.instrument_id
        signed = event.quantity * command.side.sign
        self._holdings.book(number, signed, event.price, f"{name}/{event.execution_id}", fee=event.fee)
        self.fills.append(
            VenueFill(
                event.execution_id,
                self._venue_ids.get(name, ""),
                self._book[number].symbol,
                command.side,
                event.quantity,
                cumulative,
                event.price,
                event.ts_event_ns,
            )
        )

    def _settle(self, number: InstrumentId, at_ns: int) -> list[PaperEvent]:
        contract = self._book[number]
        assert isinstance(contract, OptionContract)
        if not self.account.positions.get(number):
            return []
        quote = self._exchange.quotes[self._book.id_of(contract.underlying)]
        if quote is None or isnan(quote.mid):
            self._unsettled.append((at_ns, number))
            return []
        changes = self._exchange.settle_expired(at_ns, {number: quote.mid})
        for change in changes:
            if change.quantity_change:
                self._holdings.book(
                    change.instrument_id, change.quantity_change, change.price, change.reference
                )
        return list(changes)

    # views ----------------------------------------------------------------------------------------

    def positions(self) -> tuple[VenuePosition, ...]:
        """Return what is held."""
        return tuple(
            VenuePosition(
                self._book[one.instrument_id].symbol, one.instrument_id, one.quantity, one.average_price
            )
            for one in self._holdings.held()
        )

    def equity(self) -> Decimal:
        """Return cash and the holdings at their mids, in the quote currency."""
        equity = self.account.cash
        for one in self._holdings.held():
            quote = self._exchange.quotes[one.instrument_id]
            mid = float("nan") if quote is None else quote.mid
            price = one.average_price if isnan(mid) else exact(mid)
            equity += one.quantity * price * self._book[one.instrument_id].multiplier
        return equity

    def open_orders(self) -> Iterable[VenueOrder]:
        """Yield the orders that rest."""
        for resting_here in self._exchange.working.values():
            for resting in resting_here:
                command = resting.command
                yield VenueOrder(
                    client_order_id=command.client_order_id,
                    venue_order_id=self._venue_ids.get(command.client_order_id, ""),
                    symbol=self._book[command.instrument_id].symbol,
                    instrument_id=command.instrument_id,
                    side=command.side,
                    quantity=command.quantity,
                    filled=command.quantity - resting.leaves,
                    average_price=None,
                    status="open",
                    is_open=True,
                    limit_price=command.limit_price,
                    submitted_ns=resting.arrived_ns,
                )
