"""State of the broker: quotes, accounts, working orders, timers; and the few ways in which it changes."""

import hashlib
import heapq
import math
from collections.abc import Callable
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID

from msgspec.structs import replace

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import PositionChanged, QuoteEvent
from scalpdesk.core.intents import Purpose, Side
from scalpdesk.core.units import NANOS_PER_MS, ZERO, InstrumentId
from scalpdesk.instruments.contract import Instrument, Instruments, OptionContract
from scalpdesk.instruments.fees import NO_FEES, DayFees, FeeModel, FeesSoFar, trade_date
from scalpdesk.instruments.postings import Posting, of_change, of_fill
from scalpdesk.margin.holdings import AccountFigures, MarginModel
from scalpdesk.margin.regulation_t import RegulationT
from scalpdesk.marketdata.quotes import mark_price
from scalpdesk.portfolio.positions import exact_price
from scalpdesk.pricing.kernels.triggers import is_tradable
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.faults import FaultPlan
from scalpdesk.simulation.fills.base import FillModel
from scalpdesk.simulation.option_values import least_value, quoted_vol, value_without_quote
from scalpdesk.simulation.orders import (
    Activity,
    Booking,
    BrokerEvent,
    BrokerOrder,
    Execution,
    OrderUpdate,
    PositionIntent,
    Status,
)

_NO_FEE = Decimal("0.00")
ONE = Decimal(1)  # beside a Decimal it costs half of what an int does
_MICRO = Decimal("0.000001")
BUY = Side.BUY
OPENING = PositionIntent.BUY_TO_OPEN, PositionIntent.SELL_TO_OPEN


class Ids(NamedTuple):
    """Gives the next id of each kind."""

    order: Callable[[], str]
    client: Callable[[], str]
    execution: Callable[[], str]
    activity: Callable[[], str]


_ACTIVITY_OF = {
    ChangeCause.EXPIRED_WORTHLESS: "OPEXP",
    ChangeCause.CASH_SETTLEMENT: "OPCSH",
    ChangeCause.EXERCISE: "OPEXC",
    ChangeCause.ASSIGNMENT: "OPASN",
    ChangeCause.DELIVERY: "OPTRD",
    ChangeCause.VARIATION: "VM",
    ChangeCause.DIVIDEND: "DIV",
    ChangeCause.FUNDING: "INT",
    ChangeCause.FEE: "FEE",
    ChangeCause.CORPORATE_ACTION: "SPLIT",
}
"""Kind of the line in the account's history for each cause of a change."""
_PRICED = frozenset({ChangeCause.DELIVERY, ChangeCause.CASH_SETTLEMENT})
"""Causes whose line names a price: the strike, or what a contract pays."""

_ENDS: dict[Status, str] = {
    Status.CANCELED: "canceled_ns",
    Status.EXPIRED: "expired_ns",
    Status.REJECTED: "failed_ns",
    Status.REPLACED: "replaced_ns",
    Status.FILLED: "filled_ns",
}


class _Counted:
    """Ids of one kind, counted from 1."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._count = 0

    def next(self) -> str:
        """Return the next one."""
        self._count += 1
        return self._kind + str(self._count)


def posting_of(execution: Execution, order: BrokerOrder) -> Posting:
    """Return what an execution of an order moves; dollars of a part of a share to a millionth."""
    number, instrument, quantity = execution.instrument_id, order.instrument, execution.quantity
    assert number is not None
    assert instrument is not None
    units, fee = quantity if execution.side is BUY else -quantity, execution.fee
    cause = Purpose.OPEN if order.intent in OPENING else Purpose.CLOSE
    terms = units, execution.price, fee, cause, execution.execution_id, execution.ts_ns
    posting = of_fill(instrument, number, *terms)
    if quantity % ONE and instrument.is_share:
        cash = (posting.cash + fee).quantize(_MICRO, rounding=ROUND_HALF_UP) - fee
        posting = replace(posting, cash=cash)
    return posting


def counted_ids() -> Ids:
    """Return ids from counters: ``sim-1``, ``x1`` ..."""
    return Ids(*(_Counted(kind).next for kind in ("sim-", "client-", "x", "a")))


def uuid_ids(seed: str) -> Ids:
    """Return UUIDs that follow from a seed and a counter, as a venue's API gives them."""
    counter = count(1)

    def next_id(kind: str) -> str:
        digest = hashlib.sha256(f"{seed}|{kind}|{next(counter)}".encode()).digest()
        return str(UUID(bytes=digest[:16], version=4))

    return Ids(*(partial(next_id, kind) for kind in Ids._fields))


class Ledger:
    """State of a broker and the changes that keep it whole.

    ``instruments``: What is traded; may grow.
    ``option_fills``, ``share_fills``: How orders meet quotes.
    ``margin``: What accounts may use.
    ``fees``: Fee schedule.
    ``faults``: What goes wrong.
    ``ids``: Source of ids.
    ``keeps_history``: Whether updates carry a copy of their order and accounts keep their activities: for a
    venue whose clients read later what happened earlier.
    """

    def __init__(
        self,
        instruments: Instruments,
        option_fills: FillModel,
        share_fills: FillModel,
        *,
        margin: MarginModel | None = None,
        fees: FeeModel = NO_FEES,
        faults: FaultPlan | None = None,
        ids: Ids | None = None,
        keeps_history: bool = False,
    ) -> None:
        self.instruments = instruments
        self.margin = RegulationT() if margin is None else margin
        self.faults = faults if faults is not None else FaultPlan()
        self.ids = counted_ids() if ids is None else ids
        self.accounts: dict[str, BrokerAccount] = {}
        self.orders: dict[str, BrokerOrder] = {}
        self.working: dict[InstrumentId, list[BrokerOrder]] = {}
        """Orders at the exchange by instrument, a combo under each leg; others are not in it."""
        self.awaited: set[InstrumentId] = set()
        """Underlyings whose next quote settles an option; they stand in ``working`` meanwhile."""
        self.quotes: dict[InstrumentId, QuoteEvent] = {}
        """As they were handed over; ``latest`` reads them, and ``keep`` sets one."""
        self.latest: Callable[[InstrumentId], QuoteEvent | None] = self.quotes.get
        """The latest quote of an instrument; a backtest reads its rows here."""
        self.keep: Callable[[InstrumentId, QuoteEvent], None] = self.quotes.__setitem__
        self._sound: dict[InstrumentId, QuoteEvent] = {}
        self.sound: Callable[[InstrumentId], QuoteEvent | None] = self._sound.get
        """The latest two-sided quote of what is no option; read as ``latest`` is."""
        self.halted: set[InstrumentId] = set()
        self.now_ns = 0
        self.session_open_ns = 0
        """When the present session began: quotes from before it trade nothing any more."""
        self.last_vols: dict[InstrumentId, float] = {}
        """Volatilities of the options held when the session before ended, fractions a year."""
        self.updates: list[BrokerEvent] = []
        """Events to report; the reader empties the list."""
        self._option_fills = option_fills
        self._share_fills = share_fills
        self.models: dict[InstrumentId, FillModel] = {}
        self.fees = fees
        self._is_free = fees == NO_FEES
        self._fee_day: date | None = None
        self._day_fees: DayFees = NO_FEES
        self._so_far: dict[str, FeesSoFar] = {}
        """Fees of each account on ``_fee_day``."""
        self.keeps_history = keeps_history
        self.keeps_filled = True
        """Whether orders that were filled whole stay, and executions, for later questions."""
        self._update_count = 0
        self.order_count = 0
        """Orders that were ever made."""
        self.timers: list[tuple[int, int, Callable[[], None]]] = []
        self._timer_count = 0

    # time -------------------------------------------------------------------------------------------

    def at(self, due_ns: int, action: Callable[[], None]) -> None:
        """Schedule an action at an instant (UTC nanoseconds)."""
        self._timer_count += 1
        heapq.heappush(self.timers, (due_ns, self._timer_count, action))

    def run_timers(self, now_ns: int) -> None:
        """Run every action that is due by ``now_ns``."""
        while self.timers and self.timers[0][0] <= now_ns:
            due_ns, _, action = heapq.heappop(self.timers)
            self.now_ns = max(self.now_ns, due_ns)
            action()
        self.now_ns = max(self.now_ns, now_ns)

    # values -----------------------------------------------------------------------------------------

    def mark(self, number: InstrumentId) -> Decimal:
        """Value of one unit at the mid, currency per unit; 0 before the first quote.

        What is no option is worth its last two-sided mid, whatever was quoted since.
        An option that was not quoted in this session is worth its last volatility at the present spot; it
        is never worth less than its payoff where its quote is.
        """
        instrument = self.instruments.by_id[number]
        quote = self.latest(number) if instrument.is_option else self._two_sided(number)
        if quote is None:
            return ZERO
        value = mark_price(quote)
        spot = self.spot_of(instrument) if instrument.is_option else None
        if spot is not None and instrument.is_option:
            if quote.ts_recv_ns < self.session_open_ns <= spot.ts_recv_ns:
                vol = self.last_vols.get(number)
                value = round(value_without_quote(instrument, spot, vol, self.now_ns), 8)
            elif quote.ask < (least := least_value(instrument, spot)):
                value = least
        return exact_price(value) if math.isfinite(value) else ZERO

    def take(self, quote: QuoteEvent) -> None:
        """Let a quote be the latest of its instrument."""
        self.keep(quote.instrument_id, quote)
        if is_tradable(quote.bid, quote.ask):
            self._sound[quote.instrument_id] = quote

    def _two_sided(self, number: InstrumentId) -> QuoteEvent | None:
        latest = self.latest(number)
        return latest if latest is None or is_tradable(latest.bid, latest.ask) else self.sound(number)

    def is_halted(self, number: InstrumentId) -> bool:
        """Return whether trading is halted in an instrument, or in the underlying of an option."""
        if number in self.halted:
            return True
        contract = self.instruments[number]
        return (
            contract.is_option
            and contract.underlying in self.instruments
            and self.instruments.id_of(contract.underlying) in self.halted
        )

    def spot_of(self, contract: OptionContract) -> QuoteEvent | None:
        """Return the latest quote of an option's underlying; None before the first."""
        if contract.underlying not in self.instruments:
            return None
        return self._two_sided(self.instruments.id_of(contract.underlying))

    def keep_vols(self) -> None:
        """Keep the volatility of every held option's last quote, before a new session begins."""
        for account in self.accounts.values():
            for number in account.holdings:
                contract, quote = self.instruments[number], self.latest(number)
                if not contract.is_option or quote is None:
                    continue
                spot = self.spot_of(contract)
                if spot is None or quote.ts_recv_ns < self.session_open_ns:
                    continue
                vol = quoted_vol(contract, quote, spot)
                if vol is not None:
                    self.last_vols[number] = vol

    def figures(self, account: BrokerAccount) -> AccountFigures:
        """Return what an account is worth and may still use at the present quotes."""
        return self.margin.figures(account)

    def model_of(self, number: InstrumentId) -> FillModel:
        """Fill model of an instrument."""
        model = self.models.get(number)
        if model is None:
            is_option = self.instruments[number].is_option
            model = self.models[number] = self._option_fills if is_option else self._share_fills
        return model

    # changes ----------------------------------------------------------------------------------------

    def emit(
        self,
        order: BrokerOrder,
        event: str,
        execution: Execution | None = None,
        position_quantity: Decimal | None = None,
        leg_executions: tuple[Execution, ...] = (),
    ) -> None:
        """Report something to the holder of an order."""
        now_ns: Any = self.now_ns  # one object, not one for each use
        order.updated_ns = now_ns
        self._update_count += 1
        self.updates.append(
            OrderUpdate(
                order.account,
                event,
                now_ns,
                self._update_count,
                order.snapshot() if self.keeps_history else order,
                execution,
                position_quantity,
                leg_executions,
            )
        )

    def join(self, order: BrokerOrder) -> None:
        """Register an order for the quotes of its instrument."""
        for part in order.legs if order.instrument_id is None else (order,):
            number = part.instrument_id
            assert number is not None
            resting = self.working.get(number)
            if resting is None:
                self.working[number] = [order]
            else:
                resting.append(order)

    def leave(self, order: BrokerOrder) -> None:
        """Take an order out of the matching."""
        for part in order.legs if order.instrument_id is None else (order,):
            number = part.instrument_id
            assert number is not None
            working = self.working.get(number)
            if working is None:
                continue
            left = [other for other in working if other is not order]
            if left or number in self.awaited:
                self.working[number] = left
            else:
                self.working.pop(number, None)

    def end(self, order: BrokerOrder, status: Status) -> None:
        """Bring an order to its end and report it."""
        order.status = status
        setattr(order, _ENDS[status], self.now_ns)
        self.accounts[order.account].unended.pop(order.order_id, None)
        self.leave(order)
        if order.instrument_id is None:
            for leg in order.legs:
                if leg.is_open:
                    leg.status = status
                    setattr(leg, _ENDS[status], self.now_ns)
                    leg.updated_ns = self.now_ns
        self.emit(order, status.value)

    def forget(self, before_ns: int) -> None:
        """Forget the orders that were over before an instant (UTC nanoseconds), with all of their family.

        The executions of before it go too. For a run that asks its broker nothing about earlier sessions.
        """
        for account in self.accounts.values():
            over = [order for order in account.orders.values() if self._is_over(order, before_ns)]
            stays = account.orders.keys() - {order.order_id for order in over}
            # an exit that took another's place is no leg of its parent, and asks for it all the same
            asked_for = {account.orders[order_id].parent for order_id in stays}
            for order in over:
                if order.order_id not in asked_for:
                    self.drop(order)
            account.executions[:] = [each for each in account.executions if each.ts_ns >= before_ns]

    def drop(self, order: BrokerOrder) -> None:
        """Forget one order."""
        account = self.accounts[order.account]
        del self.orders[order.order_id], account.orders[order.order_id]
        del account.by_client_id[order.client_order_id]

    def _is_over(self, order: BrokerOrder, before_ns: int) -> bool:
        """Return whether an order, its parent and all its legs were over before an instant."""
        parent = order if order.parent is None else self.orders[order.parent]
        family = (order, parent, *parent.legs)
        return all(not each.is_open and each.updated_ns < before_ns for each in family)

    def trade(self, order: BrokerOrder, quantity: Decimal, price: Decimal, *, pays: bool = True) -> Execution:
        """Book one execution of a single order on its account; reports nothing yet.

        ``pays`` is false for the leg of a combo that the venue charges no fee for.
        """
        number, instrument, side = order.instrument_id, order.instrument, order.side
        assert number is not None
        assert instrument is not None
        account = self.accounts[order.account]
        resting = order.resting
        is_maker = resting is not None and resting.tries > 1 and order.limit_price is not None
        fee = _NO_FEE
        if pays and not self._is_free:
            fee = self._fee(order, instrument, quantity, price, is_maker=is_maker)
        value = quantity * price
        if order.filled is ZERO:  # most orders are filled whole, and at once
            filled = order.filled = quantity
            order.value = value
        else:
            filled = order.filled = order.filled + quantity
            order.value += value
        left = ZERO if filled is order.quantity else order.quantity - filled
        if order.busted:
            left -= order.busted
        if not left:
            account.unended.pop(order.order_id, None)
        execution = Execution(
            self.ids.execution(),
            order.account,
            order.order_id,
            order.client_order_id,
            number,
            side,
            quantity,
            price,
            fee,
            self.now_ns,
            filled,
            left,
            is_maker=is_maker,
        )
        posting = posting_of(execution, order)
        account.apply(posting)
        if self.keeps_filled:
            account.executions.append(execution)
        if resting is not None:
            resting.leaves = left
        if self.keeps_history:
            cash = posting.cash + fee
            self.note(account, "FILL", instrument.symbol, posting.units, price, cash, execution=execution)
            if fee:
                self.note(account, "FEE", instrument.symbol, ZERO, ZERO, -fee)
        return execution

    def _fees_of_today(self) -> DayFees:
        """Return the schedule of the present day; a new one begins with no fees so far."""
        day = trade_date(self.now_ns)
        if day != self._fee_day:
            self._fee_day, self._day_fees = day, self.fees.on(day)
            self._so_far.clear()
        return self._day_fees

    def _fee(
        self,
        order: BrokerOrder,
        instrument: Instrument,
        quantity: Decimal,
        price: Decimal,
        *,
        is_maker: bool,
    ) -> Decimal:
        """Return the fee of an execution after those of the account's day."""
        schedule, so_far = self._fees_of_today(), self._so_far.setdefault(order.account, FeesSoFar())
        whole = order.parent if order.is_combo_leg and order.parent is not None else order.order_id
        terms = instrument, order.side, quantity, price
        return schedule.fee(*terms, order=whole, so_far=so_far, is_maker=is_maker)

    def free_side(self, combo: BrokerOrder, units: Decimal, prices: list[Decimal]) -> Side | None:
        """Return the side of a combo whose legs pay no fee."""
        legs = [
            (leg.instrument, leg.side, units * leg.ratio, price)
            for leg, price in zip(combo.legs, prices, strict=True)
            if leg.instrument is not None
        ]
        return None if self._is_free else self._fees_of_today().free_side(legs)

    def change(self, account: BrokerAccount, changes: list[PositionChanged]) -> None:
        """Book and report what happens to an account without an order."""
        for change in changes:
            held = account.quantity(change.instrument_id)
            moved = change.cash_change
            if change.cause is ChangeCause.VARIATION:
                moved = account.holdings[change.instrument_id].variation(change.price)
            account.apply(of_change(self.instruments[change.instrument_id], change))
            self.updates.append(Booking(account.name, change))
            if self.keeps_history:
                quantity, price = (
                    change.quantity_change,
                    change.price if change.cause in _PRICED else ZERO,
                )
                if change.cause is ChangeCause.DIVIDEND:
                    quantity, price = held, change.cash_change / held
                symbol = self.instruments[change.instrument_id].symbol
                self.note(account, _ACTIVITY_OF[change.cause], symbol, quantity, price, moved)

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
        account.activities.append(
            Activity(
                f"{self.now_ns // NANOS_PER_MS:017d}::{self.ids.activity()}",
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
