"""A venue without a wire: it matches orders against quotes, keeps accounts and settles expiries.

Synchronous and deterministic. It knows the market a little earlier than the desk's orders reach it:
an order sent at t arrives at t + latency and meets the quote of that moment; its answers travel
back for as long again. The exchange keeps its own truth (cash, positions) apart from the desk's.
"""

import heapq
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from scalpdesk.core.enums import ChangeCause
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
from scalpdesk.core.intents import CancelOrder, Command, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId, exact
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.fees import NO_FEES, FeeSchedule
from scalpdesk.simulation.fills.base import FillModel, Resting
from scalpdesk.simulation.settlement import settle_option

ZERO = Decimal(0)
NO_FEE = Decimal("0.00")
BUY = Side.BUY
FOK = TimeInForce.FOK
NEVER_NS = 2**63 - 1


class SimulatedAccount:
    """The exchange's own books on one account."""

    def __init__(self, cash: Decimal, positions: Mapping[InstrumentId, Decimal] | None = None) -> None:
        self.cash = cash
        self.positions: dict[InstrumentId, Decimal] = dict(positions or {})

    def book(self, instrument_id: InstrumentId, signed_quantity: Decimal, cash_change: Decimal) -> None:
        """Move units and cash."""
        self.positions[instrument_id] = self.positions.get(instrument_id, ZERO) + signed_quantity
        self.cash += cash_change


class SimulatedExchange:
    """Matches the orders of one account.

    Parameters
    ----------
    instruments
        What is traded.
    account
        Cash and positions at the start.
    option_fills, hedge_fills
        Fill model of option orders and of all others.
    fees
        Fee schedule.
    latency_ns
        One way, desk to exchange and back, in nanoseconds.
    """

    def __init__(
        self,
        instruments: Instruments,
        account: SimulatedAccount,
        option_fills: FillModel,
        hedge_fills: FillModel,
        *,
        fees: FeeSchedule = NO_FEES,
        latency_ns: int = 0,
    ) -> None:
        self.instruments = instruments
        self.account = account
        self.quotes: list[QuoteEvent | None] = [None] * len(instruments)
        self.working: dict[InstrumentId, list[Resting]] = {}
        """Orders at the exchange by instrument; an instrument without orders is not in it."""
        self.due_ns = NEVER_NS
        """When the next message arrives, here or at the desk."""
        self._models = [
            option_fills if isinstance(one, OptionContract) else hedge_fills for one in instruments
        ]
        self._fees = fees
        self._is_free = fees == NO_FEES
        self._latency_ns = latency_ns
        self._mail: list[tuple[int, int, Command | OrderEvent]] = []
        self._mail_count = 0
        self._executions = 0
        self._order_count = 0

    def send(self, command: Command, now_ns: int) -> None:
        """Take a command from the desk; it arrives after the latency."""
        self._post(now_ns + self._latency_ns, command)

    def _post(self, at_ns: int, message: Command | OrderEvent) -> None:
        self._mail_count += 1
        heapq.heappush(self._mail, (at_ns, self._mail_count, message))
        self.due_ns = self._mail[0][0]

    def take_due(self, now_ns: int) -> list[OrderEvent]:
        """Let everything happen that is due by ``now_ns``; return what reaches the desk, in order."""
        arrived: list[OrderEvent] = []
        mail = self._mail
        while mail and mail[0][0] <= now_ns:
            at_ns, _, message = heapq.heappop(mail)
            if type(message) is SubmitOrder:
                self._arrive(message, at_ns)
            elif type(message) is CancelOrder:
                self._cancel(message, at_ns)
            else:
                arrived.append(message)
        self.due_ns = mail[0][0] if mail else NEVER_NS
        return arrived

    def on_quote(self, quote: QuoteEvent) -> None:
        """Take the market in and match what rests on this instrument.

        A runner that has nothing resting may store the quote itself: ``quotes[id] = quote``.
        """
        number = quote.instrument_id
        self.quotes[number] = quote
        resting = self.working.get(number)
        if resting:
            for one in tuple(resting):
                self._match(one, quote, quote.ts_recv_ns)

    def _arrive(self, command: SubmitOrder, at_ns: int) -> None:
        refusal = self._refusal(command)
        if refusal is not None:
            self._reply(OrderRejected(command.client_order_id, at_ns, at_ns + self._latency_ns, refusal))
            return
        self._order_count += 1
        self._reply(
            OrderAccepted(
                command.client_order_id, at_ns, at_ns + self._latency_ns, f"sim-{self._order_count}"
            )
        )
        resting = Resting(command, at_ns)
        self.working.setdefault(command.instrument_id, []).append(resting)
        quote = self.quotes[command.instrument_id]
        if quote is not None:
            self._match(resting, quote, at_ns)
        if resting.leaves and command.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
            self._remove(resting)
            self._reply(
                OrderCancelled(command.client_order_id, at_ns, at_ns + self._latency_ns, "not filled at once")
            )

    def _refusal(self, command: SubmitOrder) -> str | None:
        """Say why a venue would not take the order, or None."""
        if command.quantity <= 0:
            return "quantity must be above zero"
        instrument = self.instruments[command.instrument_id]
        if isinstance(instrument, OptionContract):
            return None
        held = self.account.positions.get(command.instrument_id, ZERO)
        after = held + command.quantity if command.side is BUY else held - command.quantity
        if held and after and (held > 0) != (after > 0):
            # Brokers do not mix the closing of a long holding with a new short sale.
            return "order would cross zero: close the holding first"
        return None

    def _match(self, resting: Resting, quote: QuoteEvent, at_ns: int) -> None:
        command = resting.command
        number = command.instrument_id
        instrument = self.instruments[number]
        execution = self._models[number].match(resting, quote, instrument)
        resting.tries += 1
        if execution is None or execution.quantity <= 0:
            return
        if command.time_in_force is FOK and execution.quantity < resting.leaves:
            return
        quantity, price = execution
        fee = NO_FEE if self._is_free else self._fees.fee(instrument, command.side, quantity, price)
        signed = quantity if command.side is BUY else -quantity
        self.account.book(number, signed, -signed * price * instrument.multiplier - fee)
        resting.leaves -= quantity
        self._executions += 1
        if resting.leaves == 0:
            self._remove(resting)
        self._reply(
            OrderFilled(
                command.client_order_id,
                at_ns,
                at_ns + self._latency_ns,
                f"x{self._executions}",
                quantity,
                price,
                fee,
            )
        )

    def _remove(self, resting: Resting) -> None:
        number = resting.command.instrument_id
        left = [one for one in self.working[number] if one is not resting]
        if left:
            self.working[number] = left
        else:
            del self.working[number]

    def _cancel(self, command: CancelOrder, at_ns: int) -> None:
        for resting_here in self.working.values():
            for resting in resting_here:
                if resting.command.client_order_id == command.client_order_id:
                    self._remove(resting)
                    reply = OrderCancelled(
                        command.client_order_id, at_ns, at_ns + self._latency_ns, "cancelled by the desk"
                    )
                    self._reply(reply)
                    return
        self._reply(
            CancelRejected(command.client_order_id, at_ns, at_ns + self._latency_ns, "no such working order")
        )

    def _reply(self, event: OrderEvent) -> None:
        self._post(event.ts_recv_ns, event)

    def end_session(self, now_ns: int) -> None:
        """End what rests and what is still on its way, so that nothing reaches into the next session.

        Orders that have not arrived are rejected, those at the exchange cancelled; every answer,
        those already travelling included, reaches the desk at ``now_ns``.
        """
        travelling = sorted(self._mail)
        self._mail.clear()
        for _, _, message in travelling:
            if isinstance(message, SubmitOrder):
                rejected = OrderRejected(message.client_order_id, now_ns, now_ns, "the session is over")
                self._reply(rejected)
            elif not isinstance(message, CancelOrder):
                self._reply(msgspec.structs.replace(message, ts_recv_ns=now_ns))
        for resting_here in list(self.working.values()):
            for resting in resting_here:
                self._remove(resting)
                self._reply(
                    OrderCancelled(resting.command.client_order_id, now_ns, now_ns, "end of the session")
                )
        if not self._mail:
            self.due_ns = NEVER_NS

    def settle_expired(self, now_ns: int, expired: Mapping[InstrumentId, float]) -> list[PositionChanged]:
        """Exercise, settle or let lapse the expired options that the account holds.

        ``expired`` gives the settlement level of the underlying by option number.
        """
        changes: list[PositionChanged] = []
        for number, level in expired.items():
            held = self.account.positions.get(number, ZERO)
            contract = self.instruments[number]
            if not held or not isinstance(contract, OptionContract):
                continue
            share_id = self.instruments.id_of(contract.underlying)
            changes.extend(settle_option(contract, number, share_id, held, exact(level), now_ns))
        for change in changes:
            self.account.book(change.instrument_id, change.quantity_change, change.cash_change)
        return changes

    def pay_dividend(
        self, number: InstrumentId, amount: Decimal, now_ns: int, label: str
    ) -> list[PositionChanged]:
        """Credit (or charge a short holding) a cash dividend of ``amount`` a share at the ex-date."""
        held = self.account.positions.get(number, ZERO)
        if not held:
            return []
        cash = held * amount
        self.account.cash += cash
        change = PositionChanged(
            number, now_ns, now_ns, ChangeCause.DIVIDEND, ZERO, ZERO, cash, f"dividend-{number}-{label}"
        )
        return [change]
