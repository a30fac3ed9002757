"""Expiry, exercise, assignment and settlement of options."""

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import DataError
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.intents import OrderType, Side, TimeInForce
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.core.units import MINUTE_NS, ZERO, InstrumentId
from scalpdesk.instruments.account_messages import booking_ns, cleared_ns
from scalpdesk.instruments.classes import BROAD_FUNDS
from scalpdesk.instruments.contract import Instruments, OptionContract, Settlement, Style
from scalpdesk.instruments.deadlines import NoticeCutoff, notice_deadline_ns, takes_notices
from scalpdesk.instruments.futures import final_settlement_ns
from scalpdesk.instruments.sessions import (
    OLDEST_CLOSE_NS,
    effective_day,
    expiry_instant_ns,
    is_session,
    to_new_york,
)
from scalpdesk.instruments.settlement import delivery, lapse, settle_option
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.ledger import Ledger
from scalpdesk.simulation.orders import OrderRequest, PositionIntent, Status

_LIQUIDATION_MINUTES, _LIQUIDATION_MINUTES_FUNDS = 30, 15

_SettlementOf = Callable[[str, date], Decimal | None]
"""Official level of an underlying on a day, or None where the last mid serves."""


def liquidation_ns(contract: OptionContract) -> int:
    """Return from when on the broker closes expiring positions that it cannot let be exercised."""
    minutes = _LIQUIDATION_MINUTES
    if contract.underlying in BROAD_FUNDS:
        minutes = _LIQUIDATION_MINUTES_FUNDS
    return expiry_instant_ns(contract) - minutes * MINUTE_NS


def can_take_delivery(
    account: BrokerAccount, contract: OptionContract, instruments: Instruments, power: Decimal
) -> bool:
    """Return whether the account could pay for (or deliver) the shares of its expiring holding."""
    held = account.quantity_of(contract.symbol)
    if not contract.delivers or contract.is_on_future or not held:
        return True
    shares = held * contract.multiplier * (1 if contract.is_call else -1)
    owned = account.quantity(instruments.id_of(contract.underlying))
    exposed = shares if owned * shares >= 0 else max(abs(shares) - abs(owned), ZERO)
    return abs(exposed) * contract.strike <= power


class Instruction(NamedTuple):
    """An owner's word on bought contracts, in place of what happens by itself."""

    exercises: bool
    contracts: Decimal | None
    """None: all that are held then."""


_CLOSING = PositionIntent.BUY_TO_CLOSE, PositionIntent.SELL_TO_CLOSE
_LET_GO = Instruction(exercises=False, contracts=None)


class ExpiryProcessor:
    """Watches contracts to their end.

    ``force``: Sends an order of the broker's own for an account.
    ``liquidates``: Whether positions that an account cannot take delivery of are closed before the end.
    ``notices``: Until when owners may decide about exercise.
    ``turns``: Whether an order stays that would turn round what is left of its holding after an early
    exercise.
    """

    def __init__(
        self,
        ledger: Ledger,
        force: Callable[[str, OrderRequest], None],
        *,
        liquidates: bool,
        notices: Sequence[NoticeCutoff],
        turns: bool = False,
    ) -> None:
        self.settlement_of: _SettlementOf = lambda _symbol, _day: None
        self.last_level: Callable[[OptionContract, Decimal], Decimal] = lambda _option, level: level
        """Price by which the holders of what is delivered decide in the end, from the settlement level."""
        self._ledger = ledger
        self._force = force
        self._liquidates = liquidates
        self._notices = notices
        self._turns = turns
        self.instructions: dict[tuple[str, InstrumentId], Instruction] = {}
        """By account and contract."""
        self._uncleared: dict[InstrumentId, Callable[[], None]] = {}
        """What ends options whose level is known, once the night's clearing is done."""
        self.watched: set[InstrumentId] = set()
        self._deliveries = 0
        """Exercises and assignments before the end of their contract."""
        self._unsettled: dict[InstrumentId, list[InstrumentId]] = {}
        """By underlying: options that ended before a level to settle them at was known."""

    def watch(self, number: InstrumentId) -> None:
        """Set the timers of a contract once."""
        if number in self.watched:
            return
        self.watched.add(number)
        contract = self._ledger.instruments[number]
        if contract.is_future:
            self._ledger.at(final_settlement_ns(contract) + 1, partial(self.end_future, number))
        if not contract.is_option:
            return
        if self._liquidates:
            self._ledger.at(liquidation_ns(contract), partial(self.liquidate, number, contract))
        # the quotes of the last instant count: the end comes after them
        self._ledger.at(expiry_instant_ns(contract) + 1, partial(self.expire, number, contract))

    def liquidate(self, number: InstrumentId, contract: OptionContract) -> None:
        """Close the contract's positions that could not be paid for or delivered."""
        ledger = self._ledger
        for account in ledger.accounts.values():
            if (account.name, number) in self.instructions:
                continue  # its owner has decided
            if account.quantity(number) and not can_take_delivery(
                account, contract, ledger.instruments, ledger.figures(account).overnight_buying_power
            ):
                self.force_close(account, number)

    def force_close(self, account: BrokerAccount, number: InstrumentId) -> None:
        """Cancel the account's orders in an instrument and close its holding at the market."""
        ledger = self._ledger
        for order in account.open_orders():
            trades = order.instrument_id == number or any(leg.instrument_id == number for leg in order.legs)
            if trades and not order.is_combo_leg:
                ledger.end(order, Status.CANCELED)
        held = account.quantity(number)
        side = Side.SELL if held > 0 else Side.BUY
        symbol = ledger.instruments[number].symbol
        self._force(account.name, OrderRequest(symbol, side, OrderType.MARKET, TimeInForce.DAY, abs(held)))

    def close_session(self, now_ns: int) -> None:
        """Settle what ends with a session's last instant, and futures; orders end with the session."""
        self.settle_futures(now_ns)
        for number in sorted(self.watched):
            contract = self._ledger.instruments[number]
            if contract.is_option and expiry_instant_ns(contract) == now_ns:
                self.settle(number, contract)

    def expire(self, number: InstrumentId, contract: OptionContract) -> None:
        """End a contract: its orders expire, its holdings turn into shares, cash or nothing."""
        ledger = self._ledger
        for account in ledger.accounts.values():
            for order in account.open_orders():
                ends = order.instrument_id == number or any(leg.instrument_id == number for leg in order.legs)
                if ends and order.parent is None:
                    ledger.end(order, Status.EXPIRED)
        self.settle(number, contract)

    def settle_futures(self, now_ns: int) -> None:
        """Bring every position in a future to the day's settlement price: the variation is paid in cash.

        The official price of the day, else the last mid on the tick grid.
        """
        ledger, day = self._ledger, to_new_york(now_ns).date()
        for account in ledger.accounts.values():
            for number in list(account.holdings):
                future = ledger.instruments[number]
                if not future.is_future:
                    continue
                price = self.settlement_of(future.symbol, day)
                price = future.tick_rule.round(ledger.mark(number)) if price is None else price
                if price:
                    label = f"variation-{future.symbol}-{day}"
                    cause = ChangeCause.VARIATION
                    ledger.change(
                        account, [PositionChanged(number, now_ns, now_ns, cause, ZERO, price, ZERO, label)]
                    )

    def end_future(self, number: InstrumentId) -> None:
        """End a future at its final settlement price: the official one, else the latest mid."""
        ledger, now_ns = self._ledger, self._ledger.now_ns
        future = ledger.instruments[number]
        for account in ledger.accounts.values():
            for order in account.open_orders():
                if order.instrument_id == number and order.parent is None:
                    ledger.end(order, Status.EXPIRED)
            held = account.quantity(number)
            price = self.settlement_of(future.symbol, to_new_york(now_ns).date())
            price = ledger.mark(number) if price is None else price
            if held:
                cash, label = future.value(held, price), f"expiry-{future.symbol}"
                cause = ChangeCause.CASH_SETTLEMENT
                ledger.change(
                    account, [PositionChanged(number, now_ns, now_ns, cause, -held, price, cash, label)]
                )

    @property
    def waits_for_clearing(self) -> bool:
        """Whether held contracts that have ended are booked with the night's clearing."""
        return bool(self._uncleared)

    def clear(self, now_ns: int) -> None:
        """Book what waits for the night's clearing, as of ``now_ns``."""
        self._ledger.now_ns = max(self._ledger.now_ns, now_ns)
        for number in sorted(self._uncleared):
            self._clear(number)

    def _clear(self, number: InstrumentId) -> None:
        finish = self._uncleared.pop(number, None)
        if finish is not None:
            finish()

    def settle(self, number: InstrumentId, contract: OptionContract) -> None:
        """Turn holdings of a contract that has ended into shares, cash or nothing."""
        if number in self._uncleared:
            return
        ledger = self._ledger
        ends_ns = expiry_instant_ns(contract)
        underlying = None
        if contract.underlying in ledger.instruments:
            underlying = ledger.instruments.id_of(contract.underlying)
        level = None if underlying is None else self._level(contract, underlying, ends_ns)
        if level is not None and underlying is not None:
            finish, due_ns = partial(self._finish, number, contract, underlying, level), booking_ns(contract)
            if ledger.now_ns >= due_ns:
                finish()
            elif any(account.quantity(number) for account in ledger.accounts.values()):
                self._uncleared[number] = finish
                ledger.at(due_ns, partial(self._clear, number))
        elif underlying is not None and any(a.quantity(number) for a in ledger.accounts.values()):
            waiting = self._unsettled.setdefault(underlying, [])
            if number not in waiting:
                waiting.append(number)
            ledger.awaited.add(underlying)
            ledger.working.setdefault(underlying, [])

    def _finish(
        self, number: InstrumentId, contract: OptionContract, underlying: InstrumentId, level: Decimal
    ) -> None:
        """Settle every holding of a contract: by its owner's word, else by the level."""
        ledger, ends_ns = self._ledger, expiry_instant_ns(contract)
        for account in ledger.accounts.values():
            usual = _LET_GO if account.exercises_nothing and takes_notices(contract) else None
            held, instructed = account.quantity(number), self.instructions.pop((account.name, number), usual)
            if not held:
                continue
            known_ns, changes = max(ledger.now_ns, ends_ns), []
            if instructed is not None and held > 0:
                told = held if instructed.contracts is None else min(held, instructed.contracts)
                label = f"expiry-{contract.symbol}"
                if instructed.exercises:
                    label += "-noticed"
                    changes += delivery(contract, number, underlying, told, ends_ns, known_ns, label)
                else:
                    changes += lapse(contract, number, told, ends_ns, known_ns, f"{label}-not-exercised")
                held -= told
            decides = self.last_level(contract, level) if held < 0 and takes_notices(contract) else level
            if held:
                terms = held, decides, ends_ns, known_ns, ledger.fees
                changes += settle_option(contract, number, underlying, *terms)
            ledger.change(account, changes)

    def _level(self, contract: OptionContract, underlying: InstrumentId, ends_ns: int) -> Decimal | None:
        """Return the settlement level: the official one, else the last quote before the end.

        The quote is at most :data:`OLDEST_CLOSE_NS` old. What settles at an opening takes the first quote
        from then on, as does what found no level at its end.
        """
        ledger = self._ledger
        is_opening = contract.settlement is Settlement.CASH_AM
        if not is_opening:
            official = self.settlement_of(contract.underlying, to_new_york(ends_ns).date())
            if official is not None:
                return official
        quote = ledger.latest(underlying)
        if quote is None or quote.mid != quote.mid:
            return None
        is_late = is_opening or ledger.now_ns > ends_ns + 1
        oldest_ns = ends_ns if is_late else ends_ns - OLDEST_CLOSE_NS
        return ledger.mark(underlying) if quote.ts_recv_ns >= oldest_ns else None

    def check_levels(self) -> None:
        """Refuse to go on where a holding has ended at a close without a level of that close.

        Raises DataError, which names the contract, what is missing, and the last level known.
        """
        ledger = self._ledger
        for underlying, numbers in self._unsettled.items():
            for number in numbers:
                contract = ledger.instruments[number]
                assert contract.is_option
                if contract.settlement is Settlement.CASH_AM:
                    continue
                quote = ledger.latest(underlying)
                last = "none"
                if quote is not None:
                    last = f"{quote.mid:.2f} of {to_new_york(quote.ts_recv_ns):%Y-%m-%d %H:%M}"
                raise DataError(
                    f"{contract.symbol} is held to its expiry on {contract.expiry}, but no closing level of "
                    f"{contract.underlying} on that day is known, official or recorded",
                    where="settlement",
                    value=f"last known level: {last}",
                    fix=f"import {contract.underlying} of {contract.expiry}, or end the run before that day",
                )

    def on_quote(self, underlying: InstrumentId) -> None:
        """Settle what waited for a quote of its underlying."""
        ledger = self._ledger
        ledger.awaited.discard(underlying)
        if not ledger.working.get(underlying):
            ledger.working.pop(underlying, None)
        for number in self._unsettled.pop(underlying, ()):
            contract = ledger.instruments[number]
            assert contract.is_option
            self.settle(number, contract)

    def exercise(self, account_name: str, number: InstrumentId) -> None:
        """Exercise a bought contract now, whatever it is worth.

        Raises Refused when none is held long, or the option is European.
        """
        held = self._ledger.accounts[account_name].quantity(number)
        if held <= 0 or not self._deliver(account_name, number, held):
            raise Refused(Cause.UNKNOWN_POSITION)

    def notices_end_ns(self, day: date) -> int:
        """Return until when owners may decide about exercise on a day, UTC nanoseconds."""
        return notice_deadline_ns(day, self._notices)

    def instruct(
        self,
        account_name: str,
        number: InstrumentId,
        *,
        exercises: bool,
        contracts: Decimal | None = None,
    ) -> int:
        """Take an exercise notice or a contrary instruction; it replaces an earlier one.

        An exercise notice is final when the day's time for notices ends, and booked with the night's
        clearing; a contrary instruction holds until that of the expiry does.

        Returns until when it may be withdrawn, UTC nanoseconds. Raises Refused when so
        many are not held long, the option leaves no choice, or it is too late for today.
        """
        ledger = self._ledger
        option, held = ledger.instruments[number], ledger.accounts[account_name].quantity(number)
        if not option.is_option or not takes_notices(option) or held <= 0:
            raise Refused(Cause.UNKNOWN_POSITION)
        if contracts is not None and not 0 < contracts <= held:
            raise Refused(Cause.QUANTITY)
        day = to_new_york(ledger.now_ns).date() if exercises else option.expiry
        last_ns = self.notices_end_ns(day)
        if ledger.now_ns >= last_ns or (exercises and not is_session(day)):
            raise Refused(Cause.OUTSIDE_HOURS)
        instructed = self.instructions[account_name, number] = Instruction(exercises, contracts)
        if exercises and day != effective_day(option.expiry):
            ledger.at(last_ns, partial(self._carry_out, account_name, number, instructed, last_ns))
        return last_ns

    def _carry_out(
        self, account_name: str, number: InstrumentId, instructed: Instruction, last_ns: int
    ) -> None:
        """Hand a notice that was not withdrawn to the night's clearing."""
        if self.instructions.get((account_name, number)) is instructed:
            del self.instructions[account_name, number]
            terms = account_name, number, instructed.contracts, last_ns
            self._ledger.at(cleared_ns(last_ns), partial(self._exercise, *terms))

    def _exercise(
        self, account_name: str, number: InstrumentId, contracts: Decimal | None, at_ns: int
    ) -> None:
        """Exercise as many as are held of what a notice has named, as of an instant."""
        held = self._ledger.accounts[account_name].quantity(number)
        wanted = held if contracts is None else min(held, contracts)
        if wanted > 0:
            self._deliver(account_name, number, wanted, at_ns)

    def assign(
        self, account_name: str, number: InstrumentId, contracts: Decimal, at_ns: int | None = None
    ) -> bool:
        """Assign sold contracts before their end, as of an instant; return whether any were held."""
        held = self._ledger.accounts[account_name].quantity(number)
        return held < 0 and self._deliver(account_name, number, -min(contracts, -held), at_ns)

    def _deliver(
        self, account_name: str, number: InstrumentId, quantity: Decimal, at_ns: int | None = None
    ) -> bool:
        ledger = self._ledger
        contract = ledger.instruments[number]
        if not contract.is_option or contract.style is Style.EUROPEAN:
            return False  # a European option is exercised at its end alone
        share_id = ledger.instruments.id_of(contract.underlying)
        now_ns = ledger.now_ns
        at_ns = now_ns if at_ns is None else at_ns
        # one contract may be exercised in parts, on several evenings or on one
        self._deliveries += 1
        label = f"exercise-{contract.symbol}-{at_ns}-{self._deliveries}"
        changes = delivery(contract, number, share_id, quantity, at_ns, now_ns, label)
        account = ledger.accounts[account_name]
        ledger.change(account, changes)
        left = abs(account.quantity(number))
        for order in () if self._turns else account.open_orders():
            closes = order.instrument_id == number and order.intent in _CLOSING and order.parent is None
            if closes and order.leaves > left:  # it would open what it was sent to close
                ledger.end(order, Status.CANCELED)
        return True
