"""Dividends, corporate actions and funding: what changes holdings and resting orders without a trade."""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import DataError
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.units import ZERO, InstrumentId, number_text
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.corporate_actions import (
    LARGEST_ORDINARY_DIVIDEND,
    ActionKind,
    CorporateAction,
    adjusted_option,
    whole_units,
)
from scalpdesk.instruments.deribit import PLACES, funding_payment
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.marketdata.tape import CashDividend, FundingRate
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.ledger import Ledger
from scalpdesk.simulation.orders import Status


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
            if held.symbol == symbol or (held.is_option and held.underlying == symbol):
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
        adjusted: dict[InstrumentId, PositionChanged] = {}
        for account in ledger.accounts.values():
            self._cancel_orders(account, action.symbol)
            changes: list[PositionChanged] = []
            for number, contract in self._by_strike(account.holdings, action.symbol):
                changes += self._option(account, number, contract, action)
            adjusted |= {change.source: change for change in changes if change.source is not None}
            if account.quantity(share):
                changes += self._shares(share, account.quantity(share), action)
            if changes:
                parts = [msgspec.structs.replace(change, more_follow=True) for change in changes[:-1]]
                ledger.change(account, [*parts, changes[-1]])
        for number, _ in self._by_strike(adjusted, action.symbol):
            self._reprice_option(adjusted[number])
        self._reprice(share, action)

    def _by_strike(
        self, numbers: Iterable[InstrumentId], symbol: str
    ) -> list[tuple[InstrumentId, OptionContract]]:
        """Return the options on a share by strike: one falls to a strike that another has left."""
        instruments = self._ledger.instruments
        found = [
            (number, contract)
            for number in numbers
            if (contract := instruments[number]).is_option and contract.underlying == symbol
        ]
        return sorted(found, key=lambda option: option[1].strike)

    def _cancel_orders(self, account: BrokerAccount, symbol: str) -> None:
        ledger = self._ledger
        for order in account.open_orders():
            if order.is_combo_leg:
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
        whole, fraction = whole_units(held * action.ratio)
        split = self._change(share, whole + fraction - held, ZERO, ZERO, action, "units", source=share)
        return [split, *self._fraction(share, fraction, self._ledger.mark(share) / action.ratio, action)]

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

        Where a contract would deliver anything but its multiplier in shares, or the run has no instrument of
        the new terms, the run cannot carry it.
        """
        held, ledger = account.quantity(number), self._ledger
        after = adjusted_option(contract, action)
        known = after.contract.symbol in ledger.instruments
        if not after.is_standard:
            goods = f"{number_text(after.delivers)} {action.symbol}"
            raise self._cannot_carry(contract, action, f"it then delivers {goods}, and no model prices that")
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
        )

    def _reprice(self, share: InstrumentId, action: CorporateAction) -> None:
        """Adjust the last quote of the share to the action: it values accounts until the next quote."""
        quote = self._ledger.latest(share)
        if quote is None or action.kind is not ActionKind.SPLIT:
            return
        factor = float(1 / action.ratio)
        self._ledger.quotes[share] = msgspec.structs.replace(
            quote, bid=quote.bid * factor, ask=quote.ask * factor
        )

    def _reprice_option(self, change: PositionChanged) -> None:
        """Give an adjusted option the price and volatility of the one before, until its next quote."""
        ledger, old, new = self._ledger, change.source, change.instrument_id
        quote = None if old is None else ledger.latest(old)
        if old is None or quote is None:
            return
        before, after = ledger.instruments[old], ledger.instruments[new]
        units = change.quantity_change * after.multiplier
        factor = float(-change.source_change * before.multiplier / units)
        ledger.quotes[new] = msgspec.structs.replace(
            quote, instrument_id=new, bid=quote.bid * factor, ask=quote.ask * factor
        )
        if old in ledger.last_vols:
            ledger.last_vols[new] = ledger.last_vols[old]

    def pay_funding(self, rate: FundingRate) -> None:
        """Pay the funding of a perpetual on every account that holds it."""
        ledger = self._ledger
        number, now_ns = ledger.instruments.id_of(rate.symbol), ledger.now_ns
        instrument = ledger.instruments[number]
        size = instrument.contract_size if instrument.is_inverse_future else 0
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
