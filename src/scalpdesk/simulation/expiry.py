"""What befalls holdings without an order: expiry, exercise, assignment, dividends, corporate actions."""

from collections.abc import Callable, Sequence
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from functools import partial

import msgspec

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import DataError
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.intents import OrderType, Side, TimeInForce
from scalpdesk.core.units import CENT, SATOSHI, InstrumentId
from scalpdesk.instruments.contract import Instruments, OptionContract, Settlement
from scalpdesk.instruments.corporate_actions import (
    LARGEST_ORDINARY_DIVIDEND,
    ActionKind,
    CorporateAction,
    adjusted_option,
    whole_units,
)
from scalpdesk.instruments.deribit import PLACES, funding_payment
from scalpdesk.instruments.fees import NO_FEES, FeeModel
from scalpdesk.instruments.sessions import OLDEST_CLOSE_NS, expiry_instant_ns, to_new_york
from scalpdesk.marketdata.tape import CashDividend, FundingRate
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.ledger import Ledger
from scalpdesk.simulation.order_entry import BROAD_FUNDS, MINUTE_NS
from scalpdesk.simulation.orders import ZERO, BrokerOrder, Cause, OrderRequest, Refused, Status

LIQUIDATION_MINUTES, LIQUIDATION_MINUTES_FUNDS = 30, 15

SettlementOf = Callable[[str, date], Decimal | None]
"""Official level of an underlying on a day, or None where the last mid serves."""


def liquidation_ns(contract: OptionContract) -> int:
    """Return from when on the broker closes expiring positions that it cannot let be exercised."""
    minutes = LIQUIDATION_MINUTES_FUNDS if contract.underlying in BROAD_FUNDS else LIQUIDATION_MINUTES
    return expiry_instant_ns(contract) - minutes * MINUTE_NS


def delivery(
    contract: OptionContract,
    option_id: InstrumentId,
    share_id: InstrumentId,
    held: Decimal,
    at_ns: int,
    known_ns: int,
) -> list[PositionChanged]:
    """Return the changes of an exercise (``held`` above 0) or assignment: contracts out, shares in."""
    shares = held * contract.multiplier * (1 if contract.is_call else -1)
    cause = ChangeCause.EXERCISE if held > 0 else ChangeCause.ASSIGNMENT
    label = f"expiry-{contract.symbol}"
    return [
        PositionChanged(option_id, at_ns, known_ns, cause, -held, ZERO, ZERO, label),
        PositionChanged(
            share_id,
            at_ns,
            known_ns,
            ChangeCause.DELIVERY,
            shares,
            contract.strike,
            -shares * contract.strike,
            f"{label}-delivery",
        ),
    ]


def settle_option(
    contract: OptionContract,
    option_id: InstrumentId,
    share_id: InstrumentId,
    held: Decimal,
    level: Decimal,
    at_ns: int,
    known_ns: int | None = None,
    fees: FeeModel = NO_FEES,
) -> list[PositionChanged]:
    """Return the changes that end a position of ``held`` contracts (signed) at ``level``.

    In the money by a cent or more is exercised by the clearing house (OCC rule 805, exercise by
    exception). Physical: shares change hands at the strike. Cash: the intrinsic value is paid. An inverse
    option pays it in coin at ``level``, however small, less the fee of its delivery.

    Parameters
    ----------
    contract
        The expiring option.
    option_id, share_id
        Numbers of the option and of its underlying.
    level
        Settlement level of the underlying, currency per unit.
    at_ns, known_ns
        The expiry instant, and when the level became known, UTC nanoseconds; None for the same.
    """
    known_ns = at_ns if known_ns is None else known_ns
    intrinsic = level - contract.strike if contract.is_call else contract.strike - level
    least = CENT
    if contract.settlement is Settlement.CASH_MEAN:
        least = SATOSHI
        intrinsic = intrinsic / level if contract.is_inverse else intrinsic
    label = f"expiry-{contract.symbol}"
    if intrinsic < least:
        return [
            PositionChanged(
                option_id, at_ns, known_ns, ChangeCause.EXPIRED_WORTHLESS, -held, ZERO, ZERO, label
            )
        ]
    if contract.settlement is not Settlement.PHYSICAL:
        cash = round(held * contract.multiplier * intrinsic, PLACES)
        paid = PositionChanged(
            option_id, at_ns, known_ns, ChangeCause.CASH_SETTLEMENT, -held, intrinsic, cash, label
        )
        fee = round(fees.delivery(contract, intrinsic) * abs(held) * contract.multiplier, PLACES)
        if not fee:
            return [paid]
        charged = PositionChanged(
            option_id, at_ns, known_ns, ChangeCause.FEE, ZERO, ZERO, -fee, f"{label}-fee"
        )
        return [paid, charged]
    return delivery(contract, option_id, share_id, held, at_ns, known_ns)


def can_take_delivery(
    account: BrokerAccount, contract: OptionContract, instruments: Instruments, power: Decimal
) -> bool:
    """Return whether the account could pay for (or deliver) the shares of its expiring holding."""
    held = account.quantity_of(contract.symbol)
    if contract.settlement is not Settlement.PHYSICAL or not held:
        return True
    shares = held * contract.multiplier * (1 if contract.is_call else -1)
    owned = account.quantity(instruments.id_of(contract.underlying))
    exposed = shares if owned * shares >= 0 else max(abs(shares) - abs(owned), ZERO)
    return abs(exposed) * contract.strike <= power


class ExpiryProcessor:
    """Watches contracts to their end.

    Parameters
    ----------
    ledger
        State of the broker.
    force
        Sends an order of the broker's own for an account.
    liquidates
        Whether positions that an account cannot take delivery of are closed before the end.
    """

    def __init__(
        self, ledger: Ledger, force: Callable[[str, OrderRequest], BrokerOrder], *, liquidates: bool
    ) -> None:
        self.settlement_of: SettlementOf = lambda _symbol, _day: None
        self._ledger = ledger
        self._force = force
        self._liquidates = liquidates
        self.watched: set[InstrumentId] = set()
        self._unsettled: dict[InstrumentId, list[InstrumentId]] = {}
        """By underlying: options that ended before a level to settle them at was known."""

    def watch(self, number: InstrumentId) -> None:
        """Set the timers of a contract once."""
        if number in self.watched:
            return
        self.watched.add(number)
        contract = self._ledger.instruments[number]
        if not isinstance(contract, OptionContract):
            return
        if self._liquidates:
            self._ledger.at(liquidation_ns(contract), partial(self.liquidate, number, contract))
        # the quotes of the last instant count: the end comes after them
        self._ledger.at(expiry_instant_ns(contract) + 1, partial(self.expire, number, contract))

    def liquidate(self, number: InstrumentId, contract: OptionContract) -> None:
        """Close the contract's positions that could not be paid for or delivered."""
        ledger = self._ledger
        for account in ledger.accounts.values():
            if account.quantity(number) and not can_take_delivery(
                account, contract, ledger.instruments, ledger.figures(account).overnight_buying_power
            ):
                self.force_close(account, number)

    def force_close(self, account: BrokerAccount, number: InstrumentId) -> None:
        """Cancel the account's orders in an instrument and close its holding at the market."""
        ledger = self._ledger
        for order in account.open_orders():
            if order.instrument_id == number and order.parent is None:
                ledger.end(order, Status.CANCELED)
        held = account.quantity(number)
        side = Side.SELL if held > 0 else Side.BUY
        symbol = ledger.instruments[number].symbol
        self._force(account.name, OrderRequest(symbol, side, OrderType.MARKET, TimeInForce.DAY, abs(held)))

    def close_session(self, now_ns: int) -> None:
        """Settle what ends with a session's last instant; its orders end with the session."""
        for number in sorted(self.watched):
            contract = self._ledger.instruments[number]
            if isinstance(contract, OptionContract) and expiry_instant_ns(contract) == now_ns:
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

    def settle(self, number: InstrumentId, contract: OptionContract) -> None:
        """Turn holdings of a contract that has ended into shares, cash or nothing."""
        ledger = self._ledger
        ends_ns = expiry_instant_ns(contract)
        underlying = None
        if contract.underlying in ledger.instruments:
            underlying = ledger.instruments.id_of(contract.underlying)
        level = None if underlying is None else self._level(contract, underlying, ends_ns)
        if level is not None and underlying is not None:
            for account in ledger.accounts.values():
                held = account.quantity(number)
                if held:
                    known_ns = max(ledger.now_ns, ends_ns)
                    changes = settle_option(
                        contract, number, underlying, held, level, ends_ns, known_ns, ledger.fees
                    )
                    ledger.change(account, changes)
        elif underlying is not None and any(a.quantity(number) for a in ledger.accounts.values()):
            waiting = self._unsettled.setdefault(underlying, [])
            if number not in waiting:
                waiting.append(number)
            ledger.awaited.add(underlying)
            ledger.working.setdefault(underlying, [])

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

        Raises
        ------
        DataError
            Names the contract, what is missing, and the last level known.
        """
        ledger = self._ledger
        for underlying, numbers in self._unsettled.items():
            for number in numbers:
                contract = ledger.instruments[number]
                assert isinstance(contract, OptionContract)
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
            assert isinstance(contract, OptionContract)
            self.settle(number, contract)

    def exercise(self, account_name: str, number: InstrumentId) -> None:
        """Exercise a bought contract now, whatever it is worth.

        Raises
        ------
        Refused
            When none is held long.
        """
        held = self._ledger.accounts[account_name].quantity(number)
        if held <= 0 or not self._deliver(account_name, number, held):
            raise Refused(Cause.UNKNOWN_POSITION)

    def assign(self, account_name: str, number: InstrumentId, contracts: Decimal) -> bool:
        """Assign sold contracts before their end; return whether any were held."""
        held = self._ledger.accounts[account_name].quantity(number)
        return held < 0 and self._deliver(account_name, number, -min(contracts, -held))

    def _deliver(self, account_name: str, number: InstrumentId, quantity: Decimal) -> bool:
        ledger = self._ledger
        contract = ledger.instruments[number]
        if not isinstance(contract, OptionContract):
            return False
        share_id = ledger.instruments.id_of(contract.underlying)
        changes = delivery(contract, number, share_id, quantity, ledger.now_ns, ledger.now_ns)
        ledger.change(ledger.accounts[account_name], changes)
        return True


class ActionProcessor:
    """Applies dividends and corporate actions to holdings and resting orders.

    Holdings change at the open of the ex-date, before anything trades. Orders that rest in a share or its
    options are cancelled by every action but an ordinary dividend, as exchanges do where terms change; a
    dividend leaves them as they are (do not reduce).
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.schedule: Sequence[CashDividend | CorporateAction] = ()
        """What is known to come, in any order."""
        self._day: date | None = None
        """The last session whose actions are applied."""

    def open_session(self, now_ns: int) -> None:
        """Apply what goes ex with the session that opens, or went ex since the one before.

        Raises
        ------
        DataError
            When a holding cannot be carried across an action; names both.
        """
        day = to_new_york(now_ns).date()
        last, self._day = self._day, day
        for action in self.schedule:
            is_due = action.ex_date == day if last is None else last < action.ex_date <= day
            if not is_due or action.symbol not in self._ledger.instruments:
                continue
            if isinstance(action, CashDividend):
                number = self._ledger.instruments.id_of(action.symbol)
                self._refuse_unnamed(action, number)
                self.pay_dividend(number, action.amount, action.ex_date.isoformat())
            else:
                self.apply(action)

    def _refuse_unnamed(self, dividend: CashDividend, number: InstrumentId) -> None:
        """Refuse what is too large for an ordinary dividend while somebody holds the share or its options."""
        price = self._ledger.mark(number)
        if not price or dividend.amount <= LARGEST_ORDINARY_DIVIDEND * price:
            return
        holders = [
            name
            for account in self._ledger.accounts.values()
            for name in self._held(account, dividend.symbol)
        ]
        if holders:
            raise DataError(
                f"{dividend.amount} a share, {dividend.amount / price:.1%} of its price, is no ordinary "
                f"dividend of {dividend.symbol}, and the data do not say whether it is a special dividend or "
                f"a spin-off: {', '.join(holders)} cannot be carried across {dividend.ex_date}",
                where=f"corporate actions of {dividend.symbol}",
                value=f"{dividend.ex_date}: dividend {dividend.amount}",
                fix="end the run before that day, or name the action in the data set (special_dividend)",
            )

    def _held(self, account: BrokerAccount, symbol: str) -> list[str]:
        """Return the symbols held in a share and its options."""
        instruments = self._ledger.instruments
        names = []
        for number in account.holdings:
            held = instruments[number]
            if held.symbol == symbol or (isinstance(held, OptionContract) and held.underlying == symbol):
                names.append(held.symbol)
        return names

    def apply(self, action: CorporateAction) -> None:
        """Apply one action now to every account: orders, options, then shares.

        Raises
        ------
        DataError
            When a holding cannot be carried across.
        """
        ledger = self._ledger
        share = ledger.instruments.id_of(action.symbol)
        for account in ledger.accounts.values():
            self._cancel_orders(account, action.symbol)
            changes: list[PositionChanged] = []
            for number in list(account.holdings):
                contract = ledger.instruments[number]
                if isinstance(contract, OptionContract) and contract.underlying == action.symbol:
                    changes += self._option(account, number, contract, action)
            held = account.quantity(share)
            if held:
                changes += self._shares(share, held, action)
            if changes:
                parts = [msgspec.structs.replace(change, more_follow=True) for change in changes[:-1]]
                ledger.change(account, [*parts, changes[-1]])
        self._reprice(share, action)

    def _cancel_orders(self, account: BrokerAccount, symbol: str) -> None:
        ledger = self._ledger
        for order in account.open_orders():
            if order.parent is not None:
                continue
            for part in (order, *order.legs):
                traded = part.instrument
                if traded is not None and symbol in (traded.symbol, getattr(traded, "underlying", "")):
                    ledger.end(order, Status.CANCELED)
                    break

    def _shares(self, share: InstrumentId, held: Decimal, action: CorporateAction) -> list[PositionChanged]:
        """Return what becomes of a holding of shares; fractions are paid at the last price."""
        if action.kind is ActionKind.SPECIAL_DIVIDEND:
            return [self._change(share, ZERO, ZERO, held * action.cash, action, "cash", ChangeCause.DIVIDEND)]
        price = self._ledger.mark(share)
        if action.kind is ActionKind.SPLIT:
            whole, fraction = whole_units(held * action.ratio)
            split = self._change(share, whole + fraction - held, ZERO, ZERO, action, "units", source=share)
            return [split, *self._fraction(share, fraction, price / action.ratio, action)]
        changes: list[PositionChanged] = []
        if action.ratio:
            new = self._number(action.into, action)
            whole, fraction = whole_units(held * action.ratio)
            closes = action.kind is ActionKind.MERGER and not action.cash
            changes.append(
                self._change(
                    new,
                    whole + fraction,
                    ZERO,
                    ZERO,
                    action,
                    "units",
                    source=share,
                    source_change=-held if closes else ZERO,
                    cost_fraction=Decimal(1) if closes else action.value_fraction,
                )
            )
            each = price * action.value_fraction / action.ratio
            changes += self._fraction(new, fraction, each, action)
        if action.kind is ActionKind.MERGER and action.cash:
            changes.append(self._change(share, -held, action.cash, held * action.cash, action, "cash"))
        return changes

    def _fraction(
        self, number: InstrumentId, fraction: Decimal, price: Decimal, action: CorporateAction
    ) -> list[PositionChanged]:
        if not fraction:
            return []
        if not price:
            raise DataError(
                f"a fraction of {action.symbol} is paid in cash, and no price of it is known",
                where=f"corporate actions of {action.symbol}",
                value=f"{action.ex_date}: {fraction} shares",
                fix="begin the run at least a session earlier",
            )
        paid = price.quantize(Decimal("0.0001"), rounding=ROUND_HALF_EVEN)
        return [self._change(number, -fraction, paid, fraction * paid, action, "fraction")]

    def _option(
        self, account: BrokerAccount, number: InstrumentId, contract: OptionContract, action: CorporateAction
    ) -> list[PositionChanged]:
        """Return what becomes of a holding of options.

        A merger for cash alone settles them at it. Where a contract would deliver anything but its multiplier
        in shares, or the run has no instrument of the new terms, the run cannot carry it.
        """
        held, ledger = account.quantity(number), self._ledger
        if action.kind is ActionKind.MERGER and not action.ratio:
            now_ns, share = ledger.now_ns, ledger.instruments.id_of(action.symbol)
            return settle_option(contract, number, share, held, action.cash, now_ns)
        after = adjusted_option(contract, action)
        known = after.contract.symbol in ledger.instruments
        if not after.is_standard:
            goods = " and ".join(f"{units.normalize():f} {name}" for name, units in after.delivers)
            raise self._cannot_carry(
                contract, action, f"it then delivers {goods or 'cash'}, and no model prices that"
            )
        if not known or ledger.instruments[ledger.instruments.id_of(after.contract.symbol)] != after.contract:
            raise self._cannot_carry(
                contract, action, f"the data have no {after.contract.symbol}, which it becomes"
            )
        new = ledger.instruments.id_of(after.contract.symbol)
        return [
            self._change(
                new,
                held * after.contracts,
                ZERO,
                ZERO,
                action,
                contract.symbol,
                source=number,
                source_change=-held,
            )
        ]

    def _cannot_carry(self, contract: OptionContract, action: CorporateAction, why: str) -> DataError:
        event = f"{action.kind.value.replace('_', ' ')} of {action.symbol} on {action.ex_date}"
        return DataError(
            f"{contract.symbol} cannot be carried across the {event}: {why}",
            where=f"corporate actions of {action.symbol}",
            value=f"ratio {action.ratio}, cash {action.cash}",
            fix="close the position or end the run before that day",
        )

    def _number(self, symbol: str, action: CorporateAction) -> InstrumentId:
        if symbol not in self._ledger.instruments:
            raise DataError(
                f"{action.symbol} gives {symbol} on {action.ex_date}, which the data do not have",
                where=f"corporate actions of {action.symbol}",
                value=symbol,
                fix="end the run before that day, or import the new share into the data set",
            )
        return self._ledger.instruments.id_of(symbol)

    def _change(
        self,
        number: InstrumentId,
        units: Decimal,
        price: Decimal,
        cash: Decimal,
        action: CorporateAction,
        part: str,
        cause: ChangeCause = ChangeCause.CORPORATE_ACTION,
        *,
        source: InstrumentId | None = None,
        source_change: Decimal = ZERO,
        cost_fraction: Decimal = Decimal(1),
    ) -> PositionChanged:
        now_ns = self._ledger.now_ns
        reference = f"{action.kind.value}-{action.symbol}-{action.ex_date}-{part}"
        return PositionChanged(
            number,
            now_ns,
            now_ns,
            cause,
            units,
            price,
            cash,
            reference,
            source=source,
            source_change=source_change,
            cost_fraction=cost_fraction,
        )

    def _reprice(self, share: InstrumentId, action: CorporateAction) -> None:
        """Adjust the last quote of the share to the action: it values accounts until the next quote."""
        quote = self._ledger.latest(share)
        if quote is None or action.kind not in (ActionKind.SPLIT, ActionKind.SPIN_OFF):
            return
        is_split = action.kind is ActionKind.SPLIT
        factor = float(1 / action.ratio if is_split else 1 - action.value_fraction)
        self._ledger.quotes[share] = msgspec.structs.replace(
            quote, bid=quote.bid * factor, ask=quote.ask * factor
        )

    def pay_funding(self, rate: FundingRate) -> None:
        """Pay the funding of a perpetual on every account that holds it."""
        ledger = self._ledger
        number, now_ns = ledger.instruments.id_of(rate.symbol), ledger.now_ns
        size = ledger.instruments[number].contract_usd
        for account in ledger.accounts.values():
            amount = account.quantity(number) * size
            if amount:
                cash = round(funding_payment(amount, rate.index, rate.rate, rate.hours), PLACES)
                if not cash:
                    continue
                reference = f"funding-{rate.symbol}-{rate.ts_ns}"
                change = PositionChanged(
                    number, now_ns, now_ns, ChangeCause.FUNDING, ZERO, ZERO, cash, reference
                )
                ledger.change(account, [change])

    def pay_dividend(self, number: InstrumentId, amount: Decimal, label: str = "") -> None:
        """Credit (or charge a short holding) ``amount`` a share on every account."""
        ledger = self._ledger
        now_ns = ledger.now_ns
        for account in ledger.accounts.values():
            cash = account.quantity(number) * amount
            if cash:
                reference = f"dividend-{number}-{label or now_ns}"
                change = PositionChanged(
                    number, now_ns, now_ns, ChangeCause.DIVIDEND, ZERO, ZERO, cash, reference
                )
                ledger.change(account, [change])
