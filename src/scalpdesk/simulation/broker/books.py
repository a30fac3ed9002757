"""What the broker knows: quotes, accounts, working orders; and the few ways in which they change."""

import hashlib
import heapq
import math
from collections.abc import Callable
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import OrderType as PlainType
from scalpdesk.core.intents import Purpose, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId, exact
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.fees import NO_FEES, FeeSchedule
from scalpdesk.marketdata.quotes import mark_price
from scalpdesk.simulation.broker.accounts import BrokerAccount, Money, money_of
from scalpdesk.simulation.broker.orders import (
    ZERO,
    Activity,
    Execution,
    OrderUpdate,
    Status,
    VenueOrder,
)
from scalpdesk.simulation.faults import FaultPlan
from scalpdesk.simulation.fills.base import FillModel, Resting

NEVER_NS = 2**63 - 1

SettlementOf = Callable[[str, date], Decimal | None]
"""Official level of an underlying on a day, or None where the last mid serves."""

_ENDS: dict[Status, str] = {
    Status.CANCELED: "canceled_ns",
    Status.EXPIRED: "expired_ns",
    Status.REJECTED: "failed_ns",
    Status.REPLACED: "replaced_ns",
    Status.FILLED: "filled_ns",
}


class Books:
    """State of a broker and the changes that keep it whole.

    Parameters
    ----------
    instruments
        What is traded; may grow.
    option_fills, share_fills
        How orders meet quotes.
    fees
        Fee schedule.
    id_seed
        Of the ids; the same text gives the same ids.
    faults
        What goes wrong.
    """

    def __init__(
        self,
        instruments: Instruments,
        option_fills: FillModel,
        share_fills: FillModel,
        *,
        fees: FeeSchedule = NO_FEES,
        id_seed: str = "0",
        faults: FaultPlan | None = None,
    ) -> None:
        self.instruments = instruments
        self.faults = faults if faults is not None else FaultPlan()
        self.accounts: dict[str, BrokerAccount] = {}
        self.orders: dict[str, VenueOrder] = {}
        self.working: dict[InstrumentId, list[VenueOrder]] = {}
        self.combos: list[VenueOrder] = []
        self.quotes: dict[InstrumentId, QuoteEvent] = {}
        self.halted: set[InstrumentId] = set()
        self.now_ns = 0
        self.session_open_ns = 0
        """When the present session began: quotes from before it trade nothing any more."""
        self.updates: list[OrderUpdate] = []
        """What is to be told; whoever tells it empties the list."""
        self.settlement_of: SettlementOf = lambda _symbol, _day: None
        self._option_fills = option_fills
        self._share_fills = share_fills
        self._fees = fees
        self._seed = id_seed
        self._ids = 0
        self._update_count = 0
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._timer_count = 0

    # time and ids -----------------------------------------------------------------------------------

    @property
    def due_ns(self) -> int:
        """When the next timer is due, UTC nanoseconds."""
        return self._timers[0][0] if self._timers else NEVER_NS

    def at(self, due_ns: int, action: Callable[[], None]) -> None:
        """Do something at an instant (UTC nanoseconds)."""
        self._timer_count += 1
        heapq.heappush(self._timers, (due_ns, self._timer_count, action))

    def run_timers(self, now_ns: int) -> None:
        """Let everything happen that is due by ``now_ns``."""
        while self._timers and self._timers[0][0] <= now_ns:
            due_ns, _, action = heapq.heappop(self._timers)
            self.now_ns = max(self.now_ns, due_ns)
            action()
        self.now_ns = max(self.now_ns, now_ns)

    def new_id(self, kind: str) -> str:
        """Return the next id: a UUID that follows from the seed and a counter."""
        self._ids += 1
        digest = hashlib.sha256(f"{self._seed}|{kind}|{self._ids}".encode()).digest()
        return str(UUID(bytes=digest[:16], version=4))

    # values -----------------------------------------------------------------------------------------

    def mark(self, number: InstrumentId) -> Decimal:
        """Value of one unit at the mid, currency per unit; 0 before the first quote."""
        quote = self.quotes.get(number)
        if quote is None:
            return ZERO
        value = mark_price(quote)
        return exact(value) if math.isfinite(value) else ZERO

    def money(self, account: BrokerAccount) -> Money:
        """Value an account at the present quotes."""
        return money_of(account, self.instruments, self.mark)

    def model_of(self, number: InstrumentId) -> FillModel:
        """Fill model of an instrument."""
        is_option = isinstance(self.instruments[number], OptionContract)
        return self._option_fills if is_option else self._share_fills

    # changes ----------------------------------------------------------------------------------------

    def emit(
        self,
        order: VenueOrder,
        event: str,
        execution: Execution | None = None,
        position_quantity: Decimal | None = None,
    ) -> None:
        """Tell the holder of an order something."""
        order.updated_ns = self.now_ns
        self._update_count += 1
        self.updates.append(
            OrderUpdate(
                order.account,
                event,
                self.now_ns,
                self._update_count,
                order.as_seen_now(),
                execution,
                position_quantity,
            )
        )

    def join(self, order: VenueOrder) -> None:
        """Let an order take part in the matching."""
        if order.instrument_id is None:
            self.combos.append(order)
            return
        limit = order.working_limit
        command = SubmitOrder(
            order.order_id,
            order.instrument_id,
            order.side,
            order.leaves,
            PlainType.MARKET if limit is None else PlainType.LIMIT,
            limit,
            TimeInForce.DAY,
            Purpose.OPEN,
        )
        order.resting = Resting(command, self.now_ns)
        self.working.setdefault(order.instrument_id, []).append(order)

    def leave(self, order: VenueOrder) -> None:
        """Take an order out of the matching."""
        if order.instrument_id is None:
            self.combos = [one for one in self.combos if one is not order]
            return
        left = [one for one in self.working.get(order.instrument_id, []) if one is not order]
        if left:
            self.working[order.instrument_id] = left
        else:
            self.working.pop(order.instrument_id, None)

    def end(self, order: VenueOrder, status: Status, event: str | None = None) -> None:
        """Bring an order to its end and say so (the name of the status, unless another is given)."""
        order.status = status
        setattr(order, _ENDS[status], self.now_ns)
        self.leave(order)
        for leg in order.legs:
            if leg.instrument_id is not None and order.instrument_id is None and leg.is_open:
                leg.status = status
                setattr(leg, _ENDS[status], self.now_ns)
                leg.updated_ns = self.now_ns
        self.emit(order, event or status.value)

    def trade(self, order: VenueOrder, quantity: Decimal, price: Decimal) -> Execution:
        """Book one execution of a single order on its account; says nothing yet."""
        number = order.instrument_id
        assert number is not None
        account = self.accounts[order.account]
        instrument = self.instruments[number]
        fee = self._fees.fee(instrument, order.side, quantity, price)
        signed = quantity * order.side.sign
        cash = -(signed * price * instrument.multiplier)
        if quantity != int(quantity):
            cash = cash.quantize(Decimal("0.000001"), rounding=ROUND_HALF_UP)
        account.book(number, signed, price, cash - fee)
        execution = Execution(
            self.new_id("execution"),
            order.account,
            order.order_id,
            order.client_order_id,
            number,
            order.side,
            quantity,
            price,
            fee,
            self.now_ns,
            cumulative=order.filled + quantity,
            leaves=order.leaves - quantity,
        )
        account.executions.append(execution)
        self.note(account, "FILL", instrument.symbol, signed, price, cash, execution=execution)
        if fee:
            self.note(account, "FEE", instrument.symbol, ZERO, ZERO, -fee)
        order.filled += quantity
        order.value += quantity * price
        if order.resting is not None:
            order.resting.leaves = order.leaves
        return execution

    def note(
        self,
        account: BrokerAccount,
        kind: str,
        symbol: str,
        quantity: Decimal,
        price: Decimal,
        net_amount: Decimal,
        *,
        execution: Execution | None = None,
        text: str = "",
    ) -> None:
        """Write a line of the account's history."""
        activity_id = f"{self.now_ns // 1_000_000:017d}::{self.new_id('activity')}"
        account.activities.append(
            Activity(
                activity_id,
                account.name,
                kind,
                self.now_ns,
                symbol,
                quantity,
                price,
                net_amount,
                execution,
                text,
            )
        )
