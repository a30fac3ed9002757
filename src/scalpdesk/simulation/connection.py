"""A desk's connection to its account at a broker of its own: commands out, events back, after a latency.

The one way in which backtests and the in-process venues trade. The market reaches the broker at once; an
order sent at t arrives at t + latency and meets the quote of that moment; its answers travel as long.
"""

import heapq
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import msgspec

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import (
    CancelRejected,
    FillBusted,
    OrderAccepted,
    OrderCancelled,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    PositionChanged,
    QuoteEvent,
)
from scalpdesk.core.intents import (
    CancelOrder,
    MultiLegOrder,
    OrderType,
    Side,
    SubmitOrder,
    VenueCommand,
)
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.core.units import NEVER_NS
from scalpdesk.instruments.account_messages import cleared_ns
from scalpdesk.instruments.postings import Origin
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.broker import Broker
from scalpdesk.simulation.ledger import posting_of
from scalpdesk.simulation.order_entry import AT_ONCE
from scalpdesk.simulation.orders import (
    Booking,
    BrokerOrder,
    Execution,
    LegRequest,
    OrderClass,
    OrderRequest,
    OrderUpdate,
)

AccountEvent = OrderEvent | PositionChanged
GONE = "no such working order"
_FILLS = frozenset({"fill", "partial_fill"})
OVER = "the session is over"


class BrokerConnection:
    """Carries the commands of one desk to one account, and what happens there back.

    ``broker``, ``account``: The other side.
    ``out_ns``, ``back_ns``: Time that a message takes to the broker, and back; nanoseconds.
    ``delays``: Returns the time of a command in place of ``out_ns``.
    """

    takes_combos: ClassVar[bool] = True
    """Whether the broker takes several options as one order, in a backtest as on the simulated venue."""

    def __init__(
        self,
        broker: Broker,
        account: BrokerAccount,
        *,
        out_ns: int = 0,
        back_ns: int = 0,
        delays: Callable[[VenueCommand], int] | None = None,
    ) -> None:
        self.broker = broker
        self.account = account
        self.working = broker.working
        self.due_ns = broker.due_ns
        """When something arrives or happens next, here or at the desk."""
        self._ledger = broker.ledger
        self._timers = broker.ledger.timers
        self._out_ns, self._back_ns = out_ns, back_ns
        self._delays = delays
        self._arrived: list[AccountEvent] = []
        self._mail: list[tuple[int, int, VenueCommand | AccountEvent]] = []
        self._mail_count = 0

    # the desk's side --------------------------------------------------------------------------------

    def send(self, command: VenueCommand, now_ns: int) -> None:
        """Take a command from the desk; it arrives after the latency."""
        out_ns = self._out_ns if self._delays is None else self._delays(command)
        if out_ns:
            self._post(now_ns + out_ns, command)
            self.due_ns = min(self.due_ns, now_ns + out_ns)
        else:
            self._arrive(command, now_ns)

    def on_quote(self, quote: QuoteEvent) -> None:
        """Hand the market to the broker."""
        self.broker.on_quote(quote)
        self._collect(quote.ts_recv_ns)

    def take_due(self, now_ns: int) -> list[AccountEvent]:
        """Carry out everything due by ``now_ns``; return what reaches the desk, in order."""
        broker, mail, timers = self.broker, self._mail, self._timers
        arrived, self._arrived = self._arrived, []
        while True:
            mail_ns = mail[0][0] if mail else NEVER_NS
            timer_ns = timers[0][0] if timers else NEVER_NS
            at_ns = mail_ns if mail_ns <= timer_ns else timer_ns  # noqa: FURB136 - a call less
            if at_ns > now_ns:
                self.due_ns = at_ns
                return arrived
            if timer_ns <= mail_ns:
                broker.advance(timer_ns)
                self._collect(timer_ns)
            else:
                message = heapq.heappop(mail)[2]
                if isinstance(message, VenueCommand):
                    self._arrive(message, at_ns)
                else:
                    arrived.append(message)
            if self._arrived:
                arrived += self._arrived
                self._arrived.clear()

    def open_session(self, now_ns: int, closes_ns: int) -> None:
        """Begin a session."""
        self.broker.open_session(now_ns, closes_ns)
        self._collect(now_ns)

    def expire(self, now_ns: int) -> None:
        """Settle the contracts that end at this instant."""
        self.broker.advance(now_ns)
        self.broker.expiry.close_session(now_ns)
        self.broker.expiry.check_levels()
        self._collect(now_ns)

    def close_session(self, now_ns: int) -> None:
        """End a session: what is on its way is refused, what lived for the day ends, all is answered now."""
        travelling = sorted(self._mail)
        self._mail.clear()
        for _, _, message in travelling:
            if not isinstance(message, VenueCommand):
                self._arrived.append(msgspec.structs.replace(message, ts_recv_ns=now_ns))
            elif not isinstance(message, CancelOrder):
                self.refuse(message, OVER, now_ns, now_ns)
        self.broker.close_session(now_ns)
        self._collect(now_ns, at_once=True)

    def clear_night(self, close_ns: int, known_ns: int | None = None) -> int | None:
        """Book what a close has left to the night's clearing, where no other session follows.

        ``known_ns``: When, UTC nanoseconds; None: as the account would hear of it. Returns when; None where
        nothing was left to it.
        """
        if not self.broker.expiry.waits_for_clearing:
            return None
        known_ns = cleared_ns(close_ns) if known_ns is None else known_ns
        self.broker.expiry.clear(known_ns)
        self._collect(known_ns, at_once=True)
        return known_ns

    def _post(self, at_ns: int, message: VenueCommand | AccountEvent) -> None:
        self._mail_count += 1
        heapq.heappush(self._mail, (at_ns, self._mail_count, message))

    # the broker's side ------------------------------------------------------------------------------

    def _arrive(self, command: VenueCommand, now_ns: int) -> None:
        """Let a command reach the broker."""
        ledger = self._ledger
        if now_ns > ledger.now_ns:  # noqa: PLR1730 - a call less
            ledger.now_ns = now_ns
        try:
            if type(command) is SubmitOrder:
                self.broker.submit(self.account.name, self._request(command))
            elif isinstance(command, CancelOrder):
                self.broker.cancel(self.account.name, self._order_id(command.client_order_id))
            else:
                self.broker.submit(self.account.name, self._combo(command))
        except Refused as refused:
            self.refuse(command, _reason(refused), now_ns, now_ns + self._back_ns, refused.cause)
        self._collect(now_ns)

    def _request(self, command: SubmitOrder) -> OrderRequest:
        number = command.instrument_id
        return OrderRequest(
            self._ledger.instruments.by_id[number].symbol,
            command.side,
            command.order_type,
            command.time_in_force,
            command.quantity,
            None,
            command.client_order_id,
            command.limit_price,
            instrument_id=number,
        )

    def _combo(self, command: MultiLegOrder) -> OrderRequest:
        instruments = self.broker.ledger.instruments
        sets = command.sets
        return OrderRequest(
            "",
            Side.BUY,
            OrderType.MARKET if command.net_limit_price is None else OrderType.LIMIT,
            command.time_in_force,
            sets,
            client_order_id=command.client_order_id,
            limit_price=command.net_limit_price,
            structure=OrderClass.MLEG,
            legs=tuple(
                LegRequest(
                    instruments[leg.instrument_id].symbol,
                    leg.quantity / sets,
                    leg.side,
                    client_order_id=leg.client_order_id,
                )
                for leg in command.legs
            ),
        )

    def _order_id(self, client_order_id: str) -> str:
        order = self.account.by_client_id.get(client_order_id)
        if order is None:
            raise Refused(Cause.UNKNOWN_ORDER, order_id=client_order_id)
        return order.order_id if order.parent is None else order.parent

    def refuse(
        self, command: VenueCommand, reason: str, now_ns: int, recv_ns: int, cause: Cause | None = None
    ) -> None:
        """Answer a command that the broker did not take."""
        if isinstance(command, CancelOrder):
            self._reply(CancelRejected(command.client_order_id, now_ns, recv_ns, reason))
            return
        for order in command.legs if isinstance(command, MultiLegOrder) else (command,):
            name = order.client_order_id
            if cause is Cause.DUPLICATE_CLIENT_ID and name in self.account.by_client_id:
                # order name is order order: it is acknowledged again
                self._reply(OrderAccepted(name, now_ns, recv_ns, self._order_id(name)))
            else:
                self._reply(OrderRejected(name, now_ns, recv_ns, reason))

    def _reply(self, event: AccountEvent) -> None:
        if event.ts_recv_ns > event.ts_event_ns:
            self._post(event.ts_recv_ns, event)
        else:
            self._arrived.append(event)

    def _collect(self, now_ns: int, *, at_once: bool = False) -> None:
        """Turn what the broker reports into events; they arrive after the latency, or ``at_once``."""
        arrived, ledger = self._arrived, self._ledger
        updates, ledger.updates = ledger.updates, []
        back_ns = self._back_ns
        reply = self._reply if back_ns and not at_once else arrived.append
        for update in updates:
            if type(update) is Booking:
                arrived.append(update.change)
                continue
            ts_ns: Any = update.ts_ns  # one object, not one for each use
            recv_ns: Any = now_ns if at_once else (ts_ns + back_ns if back_ns else ts_ns)
            order, trade = update.order, update.execution
            if order.is_forced:
                if trade is not None and update.event in _FILLS:
                    arrived.append(_closed_by_broker(trade, order))
            elif trade is not None and update.event in _FILLS:
                for part in update.leg_executions or (trade,):
                    name, execution = part.client_order_id, part.execution_id
                    reply(OrderFilled(name, ts_ns, recv_ns, execution, part.quantity, part.price, part.fee))
            elif update.event == "new" and not order.legs and not order.was_queued:
                reply(OrderAccepted(order.client_order_id, ts_ns, recv_ns, order.order_id))
            else:
                for leg in (order,) if order.instrument_id is not None else order.legs:
                    for event in self._events(order, leg.client_order_id, update, recv_ns):
                        reply(event)
        mail, timers = self._mail, self._timers
        if arrived:
            self.due_ns = now_ns
        else:
            self.due_ns = min(mail[0][0] if mail else NEVER_NS, timers[0][0] if timers else NEVER_NS)

    def _events(
        self, order: BrokerOrder, name: str, update: OrderUpdate, recv_ns: int
    ) -> Iterable[AccountEvent]:
        """Return what an update without a new trade means for the order ``name`` of the desk."""
        ts_ns = update.ts_ns
        match update.event:
            case "accepted":
                return (OrderAccepted(name, ts_ns, recv_ns, order.order_id),)
            case "new":
                # an order that queued for the opening was acknowledged then
                return () if order.was_queued else (OrderAccepted(name, ts_ns, recv_ns, order.order_id),)
            case "canceled":
                reason = "not filled at once" if order.lifetime in AT_ONCE else "cancelled by the desk"
                return (OrderCancelled(name, ts_ns, recv_ns, reason),)
            case "expired":
                return (OrderExpired(name, ts_ns, recv_ns),)
            case "replaced":
                return (OrderCancelled(name, ts_ns, recv_ns, "replaced"),)
            case "order_cancel_rejected":
                return (CancelRejected(name, ts_ns, recv_ns, GONE),)
            case "rejected":
                return (OrderRejected(name, ts_ns, recv_ns, order.reject_reason or "rejected"),)
            case "trade_bust" | "trade_correct":
                return _bust(name, update, recv_ns)
            case _:
                return ()


def _closed_by_broker(trade: Execution, order: BrokerOrder) -> PositionChanged:
    """Return what an execution of the broker's own order moves: no order of the desk stands behind it."""
    posting, ts_ns = posting_of(trade, order), trade.ts_ns
    terms = ChangeCause.AUTO_LIQUIDATION, posting.units, trade.price, posting.cash
    return PositionChanged(
        posting.instrument_id, ts_ns, ts_ns, *terms, Origin.FOREIGN_FILL + trade.execution_id
    )


def _reason(refused: Refused) -> str:
    """Return a refusal in the words that the desk's log shows."""
    if refused.cause in (Cause.CLOSED_ORDER, Cause.UNKNOWN_ORDER):
        return GONE
    if refused.cause is Cause.QUANTITY and refused.facts.get("held_for_orders") == "0":
        return "order would cross zero: close the holding first"
    return refused.reason


def _bust(name: str, update: OrderUpdate, recv_ns: int) -> Iterable[AccountEvent]:
    trade, ts_ns = update.execution, update.ts_ns
    assert trade is not None
    if trade.corrects is None:
        return (FillBusted(name, ts_ns, recv_ns, trade.execution_id, "trade bust"),)
    return (
        FillBusted(name, ts_ns, recv_ns, trade.corrects, "trade correct", is_corrected=True),
        OrderFilled(name, ts_ns, recv_ns, trade.execution_id, trade.quantity, trade.price, trade.fee),
    )
