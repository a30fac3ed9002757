"""Dividends, corporate actions and funding: what changes holdings and resting orders without a trade."""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from operator import itemgetter

import msgspec

from scalpdesk.core.errors import DataError
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.corporate_actions import CorporateAction, adjust, dividend, price_scale
from scalpdesk.instruments.deribit import funding
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.marketdata.tape import CashDividend, FundingRate
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.ledger import Ledger
from scalpdesk.simulation.orders import Status

LARGEST_ORDINARY_DIVIDEND = Decimal("0.03")
"""Fraction of the price up to which a distribution of unnamed kind passes for an ordinary cash dividend."""


class ActionProcessor:
    """Applies dividends and corporate actions to holdings and resting orders.

    Holdings change at the open of the ex-date, before anything trades. Orders that rest in a share or its
    options are cancelled by every action but an ordinary dividend, as exchanges do where terms change; a
    dividend leaves them as they are (do not reduce).
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.schedule: Sequence[CashDividend | CorporateAction] = ()
        """Known actions ahead, in any order."""
        self._day: date | None = None
        """The last session whose actions are applied."""

    def open_session(self, now_ns: int) -> None:
        """Apply what goes ex with the session that opens, or went ex since the one before.

        Raises DataError when a holding cannot be carried across an action; names both.
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

    def _refuse_unnamed(self, paid: CashDividend, number: InstrumentId) -> None:
        """Refuse what is too large for an ordinary dividend while somebody holds the share or its options."""
        price = self._ledger.mark(number)
        if not price or paid.amount <= LARGEST_ORDINARY_DIVIDEND * price:
            return
        holders = [
            name for account in self._ledger.accounts.values() for name in self._held(account, paid.symbol)
        ]
        if holders:
            raise DataError(
                f"{paid.amount} a share, {paid.amount / price:.1%} of its price, is no ordinary "
                f"dividend of {paid.symbol}, and the data do not say whether it is a special dividend or "
                f"a spin-off: {', '.join(holders)} cannot be carried across {paid.ex_date}",
                where=f"corporate actions of {paid.symbol}",
                value=f"{paid.ex_date}: dividend {paid.amount}",
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

        Raises DataError when a holding cannot be carried across.
        """
        ledger = self._ledger
        share = ledger.instruments.id_of(action.symbol)
        adjusted: dict[InstrumentId, PositionChanged] = {}
        for account in ledger.accounts.values():
            self._cancel_orders(account, action.symbol)
            changes: list[PositionChanged] = []
            numbers = self._by_strike(account.holdings, action.symbol)
            for number in [*numbers, share] if account.quantity(share) else numbers:
                terms = account.quantity(number), action, ledger.mark(share), ledger.now_ns
                changes += adjust(ledger.instruments, number, *terms)
            adjusted |= {change.source: change for change in changes if change.source is not None}
            if changes:
                parts = [msgspec.structs.replace(change, more_follow=True) for change in changes[:-1]]
                ledger.change(account, [*parts, changes[-1]])
        for number in self._by_strike(adjusted, action.symbol):
            self._reprice_option(adjusted[number])
        self._reprice(share, action)

    def _by_strike(self, numbers: Iterable[InstrumentId], symbol: str) -> list[InstrumentId]:
        """Return the options on a share by strike: one falls to a strike that another has left."""
        instruments = self._ledger.instruments
        found = [
            (contract.strike, number)
            for number in numbers
            if (contract := instruments[number]).is_option and contract.underlying == symbol
        ]
        return [number for _, number in sorted(found, key=itemgetter(0))]

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

    def _reprice(self, share: InstrumentId, action: CorporateAction) -> None:
        """Adjust the last quote of the share to the action: it values accounts until the next quote."""
        quote, factor = self._ledger.latest(share), price_scale(action)[0]
        if quote is None or factor == 1.0:
            return
        changed = msgspec.structs.replace(quote, bid=quote.bid * factor, ask=quote.ask * factor)
        self._ledger.keep(share, changed)

    def _reprice_option(self, change: PositionChanged) -> None:
        """Give an adjusted option the price and volatility of the one before, until its next quote."""
        ledger, old, new = self._ledger, change.source, change.instrument_id
        quote = None if old is None else ledger.latest(old)
        if old is None or quote is None:
            return
        before, after = ledger.instruments[old], ledger.instruments[new]
        units = change.quantity_change * after.multiplier
        factor = float(-change.source_change * before.multiplier / units)
        bid, ask = quote.bid * factor, quote.ask * factor
        ledger.keep(new, msgspec.structs.replace(quote, instrument_id=new, bid=bid, ask=ask))
        if old in ledger.last_vols:
            ledger.last_vols[new] = ledger.last_vols[old]

    def pay_funding(self, rate: FundingRate) -> None:
        """Pay the funding of a perpetual on every account that holds it."""
        ledger = self._ledger
        number = ledger.instruments.id_of(rate.symbol)
        terms = rate.index, rate.rate, rate.hours, f"funding-{rate.symbol}-{rate.ts_ns}", ledger.now_ns
        for account in ledger.accounts.values():
            held = account.quantity(number)
            ledger.change(account, funding(ledger.instruments[number], number, held, *terms))

    def pay_dividend(self, number: InstrumentId, amount: Decimal, label: str = "") -> None:
        """Credit (or charge a short holding) ``amount`` a share on every account."""
        ledger = self._ledger
        reference = f"dividend-{number}-{label or ledger.now_ns}"
        for account in ledger.accounts.values():
            held = account.quantity(number)
            ledger.change(account, dividend(number, held, amount, reference, ledger.now_ns))
