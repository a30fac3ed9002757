"""The broker's own books: cash, positions with their cost, executions, and what may still be bought.

Margin
- A share needs 50 % of its value overnight and 25 % within the day (Regulation T and FINRA 4210); buying
  power is four times what is left within the day.
- A bought option is paid in full. A sold one must be covered by shares (call), by cash (put) or by a bought
  leg of the same order; what a spread can lose at most is held back.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.simulation.broker.orders import Activity, Execution, VenueOrder

ZERO = Decimal(0)
DAY_MARGIN = Decimal("0.25")
OVERNIGHT_MARGIN = Decimal("0.50")

MarkOf = Callable[[InstrumentId], Decimal]
"""Value of one unit, currency per unit of the underlying."""


@dataclass(slots=True)
class Holding:
    """Signed units and their mean cost, currency per unit."""

    quantity: Decimal = ZERO
    average_price: Decimal = ZERO


@dataclass(slots=True)
class Money:
    """What an account is worth and may still use, in currency."""

    cash: Decimal
    equity: Decimal
    long_value: Decimal
    short_value: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    buying_power: Decimal
    overnight_buying_power: Decimal
    options_buying_power: Decimal


@dataclass(slots=True)
class BrokerAccount:
    """One account.

    Parameters
    ----------
    name
        Key under which the broker keeps it.
    cash
        In currency, exact.
    options_level
        0 none, 1 covered, 2 long, 3 spreads.
    multiplier
        Largest leverage in shares within the day; 1 is a cash account.
    """

    name: str
    cash: Decimal
    options_level: int = 3
    multiplier: int = 4
    shorting_enabled: bool = True
    trading_blocked: bool = False
    created_ns: int = 0
    last_equity: Decimal = ZERO
    holdings: dict[InstrumentId, Holding] = field(default_factory=dict)
    orders: dict[str, VenueOrder] = field(default_factory=dict)
    """By the broker's id, in the order of arrival, legs included."""
    by_client_id: dict[str, VenueOrder] = field(default_factory=dict)
    unended: dict[str, VenueOrder] = field(default_factory=dict)
    """Orders not known to be at their end; what has ended leaves when it is looked at."""
    executions: list[Execution] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)

    def quantity(self, instrument_id: InstrumentId) -> Decimal:
        """Signed units held."""
        held = self.holdings.get(instrument_id)
        return held.quantity if held is not None else ZERO

    def book(
        self, instrument_id: InstrumentId, signed: Decimal, price: Decimal, cash_change: Decimal
    ) -> Decimal:
        """Move units at a price (currency per unit) and cash; return the holding after it."""
        self.cash += cash_change
        held = self.holdings.setdefault(instrument_id, Holding())
        before, after = held.quantity, held.quantity + signed
        if before == 0 or (before > 0) == (signed > 0):
            total = abs(before) * held.average_price + abs(signed) * price
            held.average_price = total / abs(after) if after else ZERO
        elif after != 0 and (after > 0) != (before > 0):
            held.average_price = price
        held.quantity = after
        if after == 0:
            del self.holdings[instrument_id]
        return after

    def held_for_orders(self, instrument_id: InstrumentId) -> Decimal:
        """Unsigned units that open orders against the holding may still take."""
        quantity = self.quantity(instrument_id)
        if not quantity:
            return ZERO
        closing_sign = -1 if quantity > 0 else 1
        held = ZERO
        groups: set[str] = set()
        for order in self.open_orders():
            if order.instrument_id != instrument_id or order.side.sign != closing_sign:
                continue
            group = order.parent or order.order_id
            if group in groups:
                continue  # of two exits that cancel one another only one can trade
            groups.add(group)
            held += order.leaves
        return held

    def open_orders(self) -> list[VenueOrder]:
        """Orders that are not at their end, legs included."""
        ended = [order_id for order_id, order in self.unended.items() if not order.is_open]
        for order_id in ended:
            del self.unended[order_id]
        return list(self.unended.values())

    def file(self, order: VenueOrder) -> None:
        """Keep a new order under its two ids."""
        self.orders[order.order_id] = self.unended[order.order_id] = order
        self.by_client_id[order.client_order_id] = order


def money_of(account: BrokerAccount, instruments: Instruments, mark_of: MarkOf) -> Money:
    """Value an account and say what it may still use, open orders counted at their worst."""
    long_value = short_value = share_value = option_cost = short_need = ZERO
    for number, held in account.holdings.items():
        instrument = instruments[number]
        value = held.quantity * mark_of(number) * instrument.multiplier
        if value >= 0:
            long_value += value
        else:
            short_value += value
        if isinstance(instrument, OptionContract):
            option_cost += max(value, ZERO)
            if held.quantity < 0:
                short_need += -held.quantity * _short_option_need(account, instruments, number, mark_of)
        else:
            share_value += abs(value)
    equity = account.cash + long_value + short_value
    reserved_shares, reserved_options = _reserved(account, instruments, mark_of)
    free = equity - option_cost - max(short_need, ZERO) - reserved_options
    overnight = OVERNIGHT_MARGIN if account.multiplier > 1 else Decimal(1)
    within_day = Decimal(1) / account.multiplier
    day_free = max(free - within_day * share_value - within_day * reserved_shares, ZERO)
    night_free = max(free - overnight * (share_value + reserved_shares), ZERO)
    return Money(
        cash=account.cash,
        equity=equity,
        long_value=long_value,
        short_value=short_value,
        initial_margin=overnight * share_value + option_cost + short_need,
        maintenance_margin=DAY_MARGIN * share_value + option_cost + short_need,
        buying_power=day_free * account.multiplier,
        overnight_buying_power=night_free / overnight,
        options_buying_power=night_free,
    )


def _short_option_need(
    account: BrokerAccount, instruments: Instruments, number: InstrumentId, mark_of: MarkOf
) -> Decimal:
    """Cash held for one sold contract: nothing when shares or a bought contract cover it."""
    contract = instruments[number]
    assert isinstance(contract, OptionContract)
    per_contract = mark_of(number) * contract.multiplier
    if contract.underlying in instruments:
        shares = account.quantity(instruments.id_of(contract.underlying))
        if contract.is_call and shares >= -account.quantity(number) * contract.multiplier:
            return per_contract
    widths = []
    for other, held in account.holdings.items():
        cover = instruments[other]
        if (
            isinstance(cover, OptionContract)
            and held.quantity > 0
            and (cover.underlying, cover.right) == (contract.underlying, contract.right)
            and cover.expiry >= contract.expiry
        ):
            gap = cover.strike - contract.strike
            widths.append(max(gap if contract.is_call else -gap, ZERO) * contract.multiplier)
    if widths:
        return min(widths) + per_contract
    if contract.is_call:
        return per_contract
    return contract.strike * contract.multiplier


def _reserved(account: BrokerAccount, instruments: Instruments, mark_of: MarkOf) -> tuple[Decimal, Decimal]:
    """Currency that open orders may still use: in shares (at full value) and in options."""
    shares = options = ZERO
    for order in account.open_orders():
        if order.parent is not None:
            continue
        if order.instrument_id is None:
            price = order.limit_price if order.limit_price is not None else ZERO
            options += max(price, ZERO) * order.leaves * 100
            continue
        instrument = instruments[order.instrument_id]
        held = account.quantity(order.instrument_id)
        opening = order.leaves if held * order.side.sign >= 0 else max(order.leaves - abs(held), ZERO)
        price = order.working_limit or order.stop_price or mark_of(order.instrument_id)
        if isinstance(instrument, OptionContract):
            if order.side.sign > 0:
                options += opening * price * instrument.multiplier
            elif not instrument.is_call:
                options += opening * instrument.strike * instrument.multiplier
        else:
            shares += opening * price
    return shares, options
