"""Margin and buying power of cash and margin accounts: Regulation T and FINRA rule 4210.

Sources: 12 CFR 220 (initial: shares 50 %), FINRA rule 4210(c) and (f)(2) (maintenance, options, spreads,
straddles), Cboe Margin Manual (2000).

Where brokers and tables differ from the rule's text:

- A covered call: the rule values the shares at no more than the strike, many tables do not. Here the
  account's figures withhold the call's intrinsic value.
- A bought option of more than nine months may be lent 25 % of its value; no loan is given here.
- A spread is asked for its largest loss. The rule lets that never exceed what the sold option needs alone.
  Spreads of calls and puts on one underlying are one spread where every sold option ends no later than every
  bought one (FINRA Regulatory Notice 12-44, of 2012-10-26): an iron condor loses on one side only, a bought
  butterfly no more than was paid.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from scalpdesk.core.intents import Side
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.core.units import ZERO, number_text
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.margin.holdings import (
    AccountFigures,
    Holding,
    MarginAccount,
    Requirement,
    by_underlying,
    merged,
)
from scalpdesk.margin.pairing import HALF, LONG_RATE, SHORT_FLOOR, Pairing, future_requirement

COVERED, LONG_OPTIONS, SPREADS, UNCOVERED = 1, 2, 3, 4
"""Options levels: covered calls and cash-secured puts; bought options; several legs; uncovered sales."""


def short_share_bound(price: Decimal) -> Decimal:
    """Return what a sold share asks for at most beyond its proceeds, currency."""
    return max(price * HALF, SHORT_FLOOR)


def cash_requirement(holdings: Iterable[Holding]) -> Decimal | None:
    """Return the cash that a cash account's holdings take, currency; None where it may not hold them.

    Bought units are paid in full. A sold call stands on shares, a sold put on its strike in cash.
    """
    need = ZERO
    for group in by_underlying(holdings).values():
        units = sum(
            (holding.quantity for holding in group if not holding.instrument.is_option),
            ZERO,
        )
        for holding in group:
            if holding.quantity >= 0:
                need += holding.value
            elif not holding.instrument.is_option:
                return None
            elif holding.instrument.is_call:
                units += holding.quantity * holding.instrument.multiplier
            else:
                need -= holding.quantity * holding.instrument.strike * holding.instrument.multiplier
        if units < 0:
            return None
    return need


class BuyingPower(NamedTuple):
    """Buying power in currency: for shares, and for options, which are paid in full."""

    shares: Decimal
    options: Decimal


def buying_power(
    equity: Decimal,
    initial: Decimal,
    maintenance: Decimal,
    *,
    multiplier: int = 2,
    settled_cash: Decimal = ZERO,
) -> BuyingPower:
    """Return what an account may still buy.

    ``equity``, ``initial``, ``maintenance``: Equity and margins of the account, currency; a cash account has
    no margin.
    ``multiplier``: 1 cash account, 2 margin overnight, 4 within the day (FINRA 4210(f)(8): four times the
    excess over the maintenance margin).
    ``settled_cash``: Of a cash account.
    """
    if multiplier == 1:
        return BuyingPower(max(settled_cash, ZERO), max(settled_cash, ZERO))
    free = max(equity - initial, ZERO)
    within_day = max(equity - maintenance, ZERO)
    return BuyingPower(multiplier * (within_day if multiplier > 2 else free), free)


def least_options_level(
    legs: Sequence[tuple[Side, OptionContract, Decimal]],
    shares: Decimal = ZERO,
    *,
    as_one_order: bool = False,
) -> int:
    """Return the lowest level that allows to open these legs; :data:`UNCOVERED` where only that one does.

    ``legs``: Side, contract, contracts (unsigned).
    ``shares``: Free shares of the underlying.
    ``as_one_order``: Sent together: bought legs then cover sold legs of their right.
    """
    level = 0
    for is_call in (True, False):
        mine = [leg for leg in legs if leg[1].is_call is is_call]
        bought = sum((quantity for side, _, quantity in mine if side is Side.BUY), ZERO)
        sold = [leg for leg in mine if leg[0] is Side.SELL]
        if bought:
            level = max(level, LONG_OPTIONS)
        if as_one_order:
            level = max(level, SPREADS)
            uncovered = sum((leg[2] for leg in sold), ZERO) - bought
            if uncovered > 0:
                return UNCOVERED
        elif is_call and sum((leg[2] * leg[1].multiplier for leg in sold), ZERO) > shares:
            return UNCOVERED
        elif sold:
            level = max(level, COVERED)
    return level


# the model ----------------------------------------------------------------------------------------------


class _Room(NamedTuple):
    """Free own funds of an account, overnight and within the day, and its margin."""

    night: Decimal
    day: Decimal
    margin: Requirement


class RegulationT:
    """Cash and margin accounts of US brokers, options by level.

    Below :data:`UNCOVERED` a sold put is secured by its strike in cash and a sold call by shares or a bought
    leg. A day trader's account (multiplier 4) may buy shares for four times what it holds above its
    maintenance margin; options are judged as kept overnight in every account.
    """

    def figures(self, account: MarginAccount) -> AccountFigures:
        """Return what the account is worth and may still use, open orders counted at their worst."""
        held = list(account.valued())
        room = self._room(account, held, account.cash)
        values = [holding.value for holding in held if not holding.instrument.is_future]
        variation = sum((holding.value for holding in held if holding.instrument.is_future), ZERO)
        cash = account.cash + variation  # what a future is worth beyond its cost is paid every day
        long_value = sum((value for value in values if value > 0), ZERO)
        short_value = sum((value for value in values if value < 0), ZERO)
        power = partial(buying_power, room.night, ZERO, room.night - room.day, settled_cash=room.night)
        overnight = power(multiplier=min(account.multiplier, 2))
        return AccountFigures(
            cash,
            cash + long_value + short_value,
            long_value,
            short_value,
            room.margin.initial,
            room.margin.maintenance,
            power(multiplier=account.multiplier).shares,
            overnight.shares,
            overnight.options,
            room.night,
            room.day,
        )

    def fits(self, account: MarginAccount, order: Holding) -> bool:
        """Return whether the account's cash alone pays an order, whatever else it holds is worth.

        A lower bound that values no option: True means that :meth:`refusal` gives None.
        """
        if account.day_trades_blocked or account.multiplier == 1:
            return False
        need = order.value
        if order.instrument.is_future:
            need = future_requirement(order).initial
        elif order.instrument.is_option:
            if need <= 0 or account.options_level < LONG_OPTIONS:
                return False
        elif need > 0:
            need *= HALF
        elif account.may_short(order.instrument.symbol):
            need = -order.quantity * short_share_bound(order.price)
        else:
            return False
        free = account.free_bound()
        return free is not None and (need <= free or need <= free + HALF * account.long_shares())

    def permission(self, account: MarginAccount, order: Sequence[Holding]) -> Refused | None:
        """Return why the account is not allowed to open these legs, whatever it is worth; None if it is."""
        if account.day_trades_blocked:
            return Refused(Cause.DAY_TRADES)
        first = order[0]
        if first.instrument.is_option:
            return self._level_refusal(account, order)
        if (
            not first.instrument.is_future
            and first.quantity < 0
            and (account.multiplier == 1 or not account.may_short(first.instrument.symbol))
        ):
            return Refused(Cause.SHORTING, symbol=first.instrument.symbol)
        return None

    def refusal(self, account: MarginAccount, order: Sequence[Holding]) -> Refused | None:
        """Return why the account may not open these legs, together, at these prices; None if it may."""
        refused = self.permission(account, order)
        if refused is not None:
            return refused
        first = order[0]
        is_option = first.instrument.is_option
        before, after = self._rooms(account, order)
        is_day = account.multiplier > 2 and not is_option and not first.instrument.is_future
        left, was = (after.day, before.day) if is_day else (after.night, before.night)
        if left >= 0 or left >= was:
            return None
        figures = self.figures(account)
        power = figures.options_buying_power if is_option else figures.buying_power
        asked = was - left if is_option else abs(first.value)
        return Refused(Cause.BUYING_POWER, buying_power=f"{power:.2f}", cost_basis=f"{asked:.2f}")

    def uncovers(self, account: MarginAccount, order: Holding) -> Refused | None:
        """Return why the account may not sell what covers an option it has sold; None if it may."""
        if account.options_level >= UNCOVERED:
            return None
        held = list(account.valued())
        if uncovered_calls(merged(held, (order,))) > uncovered_calls(held):
            return Refused(Cause.UNCOVERED_OPTION)
        before, after = self._rooms(account, (order,))
        if after.night >= 0 or after.night >= before.night:
            return None
        power = self.figures(account).options_buying_power
        asked = before.night - after.night
        return Refused(Cause.BUYING_POWER, buying_power=f"{power:.2f}", cost_basis=f"{asked:.2f}")

    def need(self, account: MarginAccount, order: Sequence[Holding]) -> Decimal:
        """Return the own funds that legs tie up beside their proceeds, currency."""
        before, after = self._rooms(account, order)
        return max(before.night - after.night, ZERO)

    def _rooms(self, account: MarginAccount, order: Sequence[Holding]) -> tuple[_Room, _Room]:
        held = list(account.valued())
        cost = sum((holding.value for holding in order), ZERO)
        after = self._room(account, merged(held, order), account.cash - cost)
        return self._room(account, held, account.cash), after

    def _room(self, account: MarginAccount, holdings: Sequence[Holding], cash: Decimal) -> _Room:
        shares, options = account.reserved()
        if account.multiplier == 1:
            free = cash - account.unsettled - shares - options
            paid = cash_requirement(holdings) or ZERO
            longs = sum((holding.value for holding in holdings if holding.quantity > 0), ZERO)
            return _Room(free - (paid - longs), free - (paid - longs), Requirement(paid, paid))
        night = day = cash - options
        initial, maintenance, is_secured = ZERO, ZERO, account.options_level < UNCOVERED
        for symbol, group in by_underlying(holdings).items():
            values = [holding.value for holding in group if not holding.instrument.is_option]
            value, spot = sum(values, ZERO), account.spot(symbol)
            by_day = by_night = Pairing(group, spot, is_secured=is_secured)
            if values:  # without them both are least by the same pairs
                by_night = Pairing(group, spot, is_overnight=True, is_secured=is_secured)
            initial += by_night.initial
            maintenance += by_day.maintenance
            night += value + by_night.premium - by_night.initial - by_night.withheld
            day += value - by_day.maintenance - by_day.withheld
        return _Room(night - shares * HALF, day - shares * LONG_RATE, Requirement(initial, maintenance))

    def _level_refusal(self, account: MarginAccount, order: Sequence[Holding]) -> Refused | None:
        """Return why the options level forbids to open these legs, or None."""
        if account.options_level <= 0:
            return Refused(Cause.OPTIONS_LEVEL, "account not authorized to trade options")
        together = len(order) > 1
        legs = []
        for holding in order:
            assert holding.instrument.is_option
            side = Side.BUY if holding.quantity > 0 else Side.SELL
            held = account.quantity_of(holding.instrument.symbol) if together else ZERO
            closes = ZERO if side is Side.BUY else max(held, ZERO)
            legs.append((side, holding.instrument, max(abs(holding.quantity) - closes, ZERO)))
        contract = legs[0][1]
        shares = account.free_shares(contract.underlying)
        level = least_options_level(legs, shares, as_one_order=together)
        if level <= account.options_level:
            return None
        if account.pairs_with_held and account.options_level >= SPREADS:
            lines = list(account.valued())
            if uncovered_calls(merged(lines, order)) <= uncovered_calls(lines):
                return None
        if together:
            if account.options_level < SPREADS:
                return Refused(Cause.OPTIONS_LEVEL, "account not eligible to trade multi-leg option orders")
            return Refused(Cause.UNCOVERED_OPTION)
        if level == LONG_OPTIONS:
            return Refused(Cause.OPTIONS_LEVEL, "account not eligible to trade long option contracts")
        return Refused(
            Cause.UNCOVERED_CALL,
            symbol=contract.symbol,
            required_qty=number_text(legs[0][2] * contract.multiplier),
            available_qty=number_text(max(shares, ZERO)),
            underlying=contract.underlying,
        )


def uncovered_calls(holdings: Iterable[Holding]) -> Decimal:
    """Return the sold calls that neither shares nor bought calls cover, contracts."""
    return sum(
        (
            quantity
            for group in by_underlying(holdings).values()
            for contract, quantity in Pairing(group, ZERO, is_secured=True).uncovered
            if contract.is_call
        ),
        ZERO,
    )
