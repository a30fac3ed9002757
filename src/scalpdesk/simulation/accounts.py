"""The broker's accounts: balances by currency, positions with their cost, orders, history."""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Protocol

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.structs import FrozenStruct
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.postings import Posting, of_holding
from scalpdesk.margin.day_trading import DayRule, leverage_on
from scalpdesk.margin.holdings import Holding
from scalpdesk.margin.pairing import future_requirement
from scalpdesk.margin.regulation_t import SPREADS, short_share_bound
from scalpdesk.portfolio.positions import Account, Position, move_units
from scalpdesk.simulation.orders import BUST_NOTE, Activity, BrokerOrder, Execution, PositionIntent


class _MarkSource(Protocol):
    """Instruments and their present marks."""

    instruments: Instruments

    def mark(self, number: InstrumentId) -> Decimal:
        """Return the value of one unit, currency per unit; 0 before the first quote."""
        ...


class AccountTerms(FrozenStruct, frozen=True):
    """Terms on which an account is opened."""

    name: str = "account"
    """Key under which the broker keeps it."""
    cash: Decimal = ZERO
    """In the reporting currency, exact."""
    positions: dict[InstrumentId, tuple[Decimal, Decimal]] = {}  # noqa: RUF012 - msgspec copies it
    """Signed units and mean cost (currency per unit) by instrument."""
    options_level: int = SPREADS
    """0 no options, 1 covered, 2 long, 3 spreads, 4 uncovered."""
    multiplier: int = 4
    """Largest leverage in shares within the day: 1 cash account, 2 margin, 4 day trading."""
    day_rule: DayRule | None = None
    """Rule for trades within the day that the broker has adopted; None keeps ``multiplier`` whatever the day.
    """
    shorting_enabled: bool = True
    shortable: frozenset[str] | None = None
    """``shorting_enabled``, ``shortable``: Whether shares may be sold short, and which symbols; None for all.
    """
    trading_blocked: bool = False
    day_trades_blocked: bool = False
    """The broker's flag of the day-trade rule: nothing may be opened."""
    currency: str = "USD"
    """Currency of the figures."""
    exercises_nothing: bool = False
    """Whether the owner instructed the broker to exercise nothing at an expiry."""


class BrokerAccount(Account):
    """One account."""

    def __init__(self, terms: AccountTerms, valuation: _MarkSource, now_ns: int) -> None:
        super().__init__(terms.cash, terms.currency)
        self.name = terms.name
        self.options_level = terms.options_level
        self.pairs_with_held = False
        self.multiplier = terms.multiplier
        self._terms = terms
        self.shorting_enabled = terms.shorting_enabled
        self.shortable = terms.shortable
        self.trading_blocked = terms.trading_blocked
        self.day_trades_blocked = terms.day_trades_blocked
        self.exercises_nothing = terms.exercises_nothing
        self.unsettled = ZERO
        self.created_ns = now_ns
        self.last_equity = terms.cash
        self.holdings: dict[InstrumentId, Position] = {}
        self.orders: dict[str, BrokerOrder] = {}
        """By the broker's id, in the order of arrival, legs included."""
        self.by_client_id: dict[str, BrokerOrder] = {}
        self.unended: dict[str, BrokerOrder] = {}
        self.executions: list[Execution] = []
        self.activities: list[Activity] = []
        self._valuation = valuation
        for number, (quantity, price) in terms.positions.items():
            self.apply(of_holding(number, quantity, price, now_ns))

    def begin_day(self, day: date, equity: Decimal) -> None:
        """Set the leverage of a new session; ``equity`` is what the account is worth at its open."""
        terms = self._terms
        if terms.day_rule is not None:
            self.multiplier = leverage_on(day, terms.day_rule, terms.multiplier, equity)

    def quantity(self, instrument_id: InstrumentId) -> Decimal:
        """Signed units held."""
        held = self.holdings.get(instrument_id)
        return ZERO if held is None else held.quantity

    def apply(self, posting: Posting) -> None:
        """Book a posting: cash in its instrument's currency, units at their cost."""
        units, cash, is_bust = posting.units, posting.cash, posting.cause is ChangeCause.BUST
        self.add(self._valuation.instruments.by_id[posting.instrument_id].currency, cash)
        if posting.source is None:
            if posting.cause is ChangeCause.VARIATION and posting.instrument_id in self.holdings:
                self.holdings[posting.instrument_id].settle(posting.price)
            if not units:
                return
            if self.multiplier == 1:
                if is_bust and units > 0:  # proceeds that no longer come have not to settle
                    self.unsettled = max(self.unsettled + cash, ZERO)
                elif units < 0 < cash and not is_bust:
                    self.unsettled += cash
        target = self._holding(posting.instrument_id)
        source = None if posting.source is None else self._holding(posting.source)
        move_units(posting, target, source)
        for position in (target, source):
            if position is not None and not position.quantity:
                self.holdings.pop(position.instrument_id, None)

    def _holding(self, number: InstrumentId) -> Position:
        held = self.holdings.get(number)
        if held is None:
            held = self.holdings[number] = Position(number, self._valuation.instruments.by_id[number])
        return held

    def own_lines(self) -> Iterator[Activity]:
        """Yield the history without the fees of trades, which each execution names itself, oldest first.

        The fee of a busted trade is gone with its refund, which names it.
        """
        charged = Counter((each.symbol, each.execution.fee) for each in self.activities if each.execution)
        charged.update((each.symbol, each.net_amount) for each in self.activities if each.note == BUST_NOTE)
        for activity in self.activities:
            key = activity.symbol, -activity.net_amount
            if activity.kind != "FEE":
                yield activity
            elif activity.note == BUST_NOTE:
                continue
            elif charged[key]:
                charged[key] -= 1
            else:
                yield activity

    def open_orders(self) -> list[BrokerOrder]:
        """Orders that are not at their end, legs included."""
        ended = [order_id for order_id, order in self.unended.items() if not order.is_open]
        for order_id in ended:
            del self.unended[order_id]
        return list(self.unended.values())

    def held_for_orders(self, instrument_id: InstrumentId) -> Decimal:
        """Unsigned units that open orders against the holding may still take."""
        quantity = self.quantity(instrument_id)
        if not quantity or not self.unended:
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

    # what the margin model reads --------------------------------------------------------------------

    def valued(self) -> Iterator[Holding]:
        """Yield what is held, at the present marks."""
        valuation = self._valuation
        for number, held in self.holdings.items():
            yield Holding(valuation.instruments[number], held.quantity, valuation.mark(number))

    def may_short(self, symbol: str) -> bool:
        """Return whether a share may be sold short."""
        return self.shorting_enabled and (self.shortable is None or symbol in self.shortable)

    def spot(self, symbol: str) -> Decimal:
        """Return the mark of an underlying; 0 where it is not known."""
        instruments = self._valuation.instruments
        return self._valuation.mark(instruments.id_of(symbol)) if symbol in instruments else ZERO

    def quantity_of(self, symbol: str) -> Decimal:
        """Return the signed units held of an instrument."""
        instruments = self._valuation.instruments
        return self.quantity(instruments.id_of(symbol)) if symbol in instruments else ZERO

    def free_shares(self, symbol: str) -> Decimal:
        """Return the shares that neither open orders nor sold calls need."""
        instruments = self._valuation.instruments
        if symbol not in instruments:
            return ZERO
        share = instruments.id_of(symbol)
        free = max(self.quantity(share) - self.held_for_orders(share), ZERO)
        for number, held in self.holdings.items():
            option = instruments[number]
            if option.is_option and option.is_call and option.underlying == symbol:
                free -= max(-held.quantity, ZERO) * option.multiplier
        for order in self.open_orders():
            if order.intent is not PositionIntent.SELL_TO_OPEN or order.instrument_id is None:
                continue
            option = instruments[order.instrument_id]
            if option.is_option and option.is_call and option.underlying == symbol:
                free -= order.leaves * option.multiplier
        return free

    def free_bound(self) -> Decimal | None:
        """Return cash less what open orders and sold shares could take at most; None with sold options.

        Bought shares and options count nothing: no price has to be looked up for them.
        """
        instruments, free = self._valuation.instruments, self.cash
        for number, held in self.holdings.items():
            if held.instrument.is_future:
                now = Holding(held.instrument, held.quantity, self._valuation.mark(number))
                free += now.value - future_requirement(now).initial
            elif held.quantity < 0:
                if instruments[number].is_option:
                    return None
                price = self._valuation.mark(number)
                free += held.quantity * (price + short_share_bound(price))
        if self.unended:
            shares, options = self.reserved()
            free -= shares + options
        return free

    def long_shares(self) -> Decimal:
        """Return the value of the shares that are held long, currency."""
        valuation = self._valuation
        return sum(
            (
                held.quantity * valuation.mark(number)
                for number, held in self.holdings.items()
                if held.quantity > 0 and valuation.instruments[number].multiplier == 1
            ),
            ZERO,
        )

    def reserved(self) -> tuple[Decimal, Decimal]:
        """Return what open orders may still use: shares at full value, and cash for options."""
        shares = options = ZERO
        for order in self.open_orders():
            if order.parent is not None:
                continue
            if order.instrument_id is None:
                options += order.withholds * order.leaves
                continue
            held = self.quantity(order.instrument_id)
            opens = held * order.side.sign >= 0
            instrument = self._valuation.instruments[order.instrument_id]
            if instrument.is_option:
                options += order.withholds * order.leaves
            elif instrument.is_future:
                opening = order.leaves if opens else max(order.leaves - abs(held), ZERO)
                price = order.working_limit or order.stop_price or self._valuation.mark(order.instrument_id)
                options += future_requirement(Holding(instrument, opening, price)).initial
            else:
                opening = order.leaves if opens else max(order.leaves - abs(held), ZERO)
                price = order.working_limit or order.stop_price or self._valuation.mark(order.instrument_id)
                shares += opening * price
        return shares, options
