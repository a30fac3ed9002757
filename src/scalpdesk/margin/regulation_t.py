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
from scalpdesk.instruments.classes import BROAD_INDICES
from scalpdesk.instruments.contract import FUTURE_INITIAL, FUTURE_MAINTENANCE, OptionContract
from scalpdesk.margin.holdings import (
    AccountFigures,
    Holding,
    MarginAccount,
    Requirement,
    by_underlying,
    merged,
)

HALF = Decimal("0.5")
LONG_RATE, SHORT_RATE = Decimal("0.25"), Decimal("0.30")
SHORT_FLOOR, LOW_PRICE, LOW_PRICE_FLOOR = Decimal(5), Decimal(5), Decimal("2.50")
OPTION_RATE, BROAD_RATE, OPTION_FLOOR = Decimal("0.20"), Decimal("0.15"), Decimal("0.10")

COVERED, LONG_OPTIONS, SPREADS, UNCOVERED = 1, 2, 3, 4
"""Options levels: covered calls and cash-secured puts; bought options; several legs; uncovered sales."""


# requirements -------------------------------------------------------------------------------------------


def share_requirement(quantity: Decimal, price: Decimal) -> Requirement:
    """Return the margin of shares; of a short sale beyond its proceeds. ``quantity`` is signed."""
    if quantity >= 0:
        return Requirement(quantity * price * HALF, quantity * price * LONG_RATE)
    floor = max(price, LOW_PRICE_FLOOR) if price < LOW_PRICE else max(price * SHORT_RATE, SHORT_FLOOR)
    return Requirement(-quantity * max(price * HALF, floor), -quantity * floor)


def future_requirement(holding: Holding) -> Requirement:
    """Return the margin of a position in a future, long or short: a part of its value."""
    size = abs(holding.value)
    return Requirement(size * FUTURE_INITIAL, size * FUTURE_MAINTENANCE)


def short_share_bound(price: Decimal) -> Decimal:
    """Return what a sold share asks for at most beyond its proceeds, currency."""
    return max(price * HALF, SHORT_FLOOR)


def uncovered_risk(contract: OptionContract, spot: Decimal) -> Decimal:
    """Return the margin of a sold option beside its premium, currency per unit (FINRA 4210(f)(2)(E))."""
    is_broad = contract.underlying in BROAD_INDICES or contract.is_on_future
    rate = BROAD_RATE if is_broad else OPTION_RATE
    floor = (spot if contract.is_call else contract.strike) * OPTION_FLOOR
    return max(spot * rate - out_of_the_money(contract, spot), floor)


def out_of_the_money(contract: OptionContract, spot: Decimal) -> Decimal:
    """Return how far the strike is out of the money, currency per unit, at least 0."""
    return max(contract.strike - spot if contract.is_call else spot - contract.strike, ZERO)


class Sold(NamedTuple):
    """Contracts of one sold option with what its cover leaves to be asked, currency per unit."""

    contract: OptionContract
    quantity: Decimal
    price: Decimal
    risk: Decimal


_Lot = tuple[Decimal, Decimal, Decimal]
"""Margin and risk of what nothing covers, currency per unit, and how many units."""


class Spread(NamedTuple):
    """A sold option and the bought one of its right that covers it."""

    sold: OptionContract
    bought: OptionContract
    quantity: Decimal
    """Contracts of each."""
    need: Decimal
    """Margin on its own, currency."""

    def value_at(self, price: Decimal) -> Decimal:
        """Return what both are worth when exercised at a price of the underlying, currency."""
        sign = 1 if self.sold.is_call else -1
        bought, sold = (max(sign * (price - each.strike), ZERO) for each in (self.bought, self.sold))
        return self.quantity * self.sold.multiplier * (bought - sold)


def spread_margin(spreads: Iterable[Spread]) -> Decimal:
    """Return the margin of spreads on one underlying, currency: their largest loss together, group by group.

    The loss is looked at where it can be largest, at every strike. In a group no sold option outlives a
    bought one. It never exceeds what the spreads need one by one.
    """
    groups: list[list[Spread]] = []
    for spread in sorted(spreads, key=lambda each: (each.sold.expiry, each.bought.expiry)):
        for group in groups:
            if spread.sold.expiry <= min(each.bought.expiry for each in group):
                group.append(spread)
                break
        else:
            groups.append([spread])
    total = ZERO
    for group in groups:
        strikes = {strike for each in group for strike in (each.sold.strike, each.bought.strike)}
        worst = min(sum((each.value_at(strike) for each in group), ZERO) for strike in strikes)
        total += min(max(-worst, ZERO), sum((each.need for each in group), ZERO))
    return total


class Pairing:
    """Margin of one underlying's shares and options, offsetting positions paired.

    Shares cover sold options first, then bought options of the same right that end no earlier: those are
    spreads, see :func:`spread_margin`. What is left of sold calls and puts forms straddles (one side's risk,
    both premiums). A bought option may protect shares; with a sold one that is a collar or a conversion.

    Parameters
    ----------
    holdings
        Shares and options of the underlying.
    spot
        Its price, currency per unit.
    """

    def __init__(self, holdings: Iterable[Holding], spot: Decimal) -> None:
        self.spot = spot
        self._shares: list[list[Decimal]] = []
        """Signed quantity and price."""
        self._bought: list[tuple[OptionContract, list[Decimal]]] = []
        """Contract; free quantity, price."""
        self._sold: list[Holding] = []
        self._covered: list[tuple[OptionContract, Decimal, Decimal]] = []
        """Sold option, signed shares that cover it, and their price."""
        self._spreads: list[Spread] = []
        self.uncovered: list[Sold] = []
        self.initial = self.maintenance = self.premium = self.intrinsic = ZERO
        """``premium`` of bought options; ``intrinsic``: what covered calls and puts are in the money."""
        for holding in holdings:
            if holding.instrument.is_future:
                asked = future_requirement(holding)
                self.initial += asked.initial
                self.maintenance += asked.maintenance
            elif not holding.instrument.is_option:
                self._shares.append([holding.quantity, holding.price])
            elif holding.quantity > 0:
                self._bought.append((holding.instrument, [holding.quantity, holding.price]))
                self.premium += holding.value
            elif holding.quantity < 0:
                self._sold.append(holding)
        self.initial += self.premium
        for quantity, price in self._shares:
            self.initial += share_requirement(quantity, price).initial
        for is_call in (True, False):
            self._cover(is_call)
        need = spread_margin(self._spreads)
        self.initial += need
        self.maintenance += need
        self._protect()
        self._straddles()

    def _cover(self, is_call: bool) -> None:
        """Set shares, then bought options, against the sold options of one right; dearest strikes first."""
        sign = 1 if is_call else -1
        bought = sorted(
            (holding for holding in self._bought if holding[0].is_call is is_call),
            key=lambda holding: sign * holding[0].strike,
        )
        sold = [
            holding
            for holding in self._sold
            if holding.instrument.is_option and holding.instrument.is_call is is_call
        ]
        sold.sort(key=lambda holding: sign * holding.instrument.strike)  # type: ignore[union-attr]  # options, see above
        for holding in sold:
            contract = holding.instrument
            assert contract.is_option
            left = -holding.quantity
            for shares in self._shares:
                covered = min(left, max(sign * shares[0], ZERO) // contract.multiplier)
                units = covered * contract.multiplier
                if covered:
                    self._covered.append((contract, sign * units, shares[1]))
                    self.intrinsic += units * max(sign * (self.spot - contract.strike), ZERO)
                    shares[0] -= sign * units
                    left -= covered
            risk = uncovered_risk(contract, self.spot)
            for cover, free in bought:
                covers = cover.expiry >= contract.expiry and cover.multiplier == contract.multiplier
                paired = min(left, free[0]) if covers else ZERO
                if paired > 0:
                    width = max(sign * (cover.strike - contract.strike), ZERO)
                    need = paired * contract.multiplier * min(width, holding.price + risk)
                    self._spreads.append(Spread(contract, cover, paired, need))
                    free[0] -= paired
                    left -= paired
            if left:
                self.uncovered.append(Sold(contract, left, holding.price, risk))

    def _protect(self) -> None:
        """Maintenance of shares: with a bought put or call at most 10 % of its strike."""
        for sold, units, price in self._covered:
            self.maintenance += self._three_legged(sold, units, price)
        for quantity, price in self._shares:
            left, sign = abs(quantity), 1 if quantity > 0 else -1
            for contract, free in self._bought:
                if contract.is_call is (sign > 0) or not free[0] or not left:
                    continue
                units = min(left, free[0] * contract.multiplier)
                plain = share_requirement(sign * units, price).maintenance
                strike_part = contract.strike * OPTION_FLOOR + out_of_the_money(contract, self.spot)
                self.maintenance += min(units * strike_part, plain)
                free[0] -= units / contract.multiplier
                left -= units
            self.maintenance += share_requirement(sign * left, price).maintenance

    def _three_legged(self, sold: OptionContract, shares: Decimal, price: Decimal) -> Decimal:
        """Return the maintenance of shares that cover a sold option, with an option bought on the other side.

        Both options have one expiry: at one strike (conversion, reverse conversion) 10 % of the strike, with
        a put below it (collar) 10 % of its strike and what it is out of the money, at most 25 % of the
        call's.
        """
        total, sign = ZERO, 1 if shares > 0 else -1
        left = abs(shares)
        for contract, free in self._bought:
            is_collar = sold.is_call and contract.strike < sold.strike
            fits = contract.expiry == sold.expiry and (contract.strike == sold.strike or is_collar)
            if contract.is_call is sold.is_call or not fits or not free[0] or not left:
                continue
            units = min(left, free[0] * contract.multiplier)
            asked = contract.strike * OPTION_FLOOR
            if is_collar:
                asked = min(asked + out_of_the_money(contract, self.spot), sold.strike * LONG_RATE)
            total += min(units * asked, share_requirement(sign * units, price).maintenance)
            free[0] -= units / contract.multiplier
            left -= units
        return total + share_requirement(sign * left, price).maintenance

    def _straddles(self) -> None:
        """Add the margin of what nothing covers; a sold call beside a sold put is asked for one side.

        Each such pair needs the greater side's margin and the other's premium, the dearest first. Where
        both need as much the rule names no side: the side with the greater risk is asked, which is more.
        """
        need, calls, puts = ZERO, list[_Lot](), list[_Lot]()
        for sold in self.uncovered:
            amount, units = sold.price + sold.risk, sold.quantity * sold.contract.multiplier
            need += amount * units
            (calls if sold.contract.is_call else puts).append((amount, sold.risk, units))
        calls.sort()
        puts.sort()
        while calls and puts:
            (call, call_risk, call_units), (put, put_risk, put_units) = calls.pop(), puts.pop()
            _, lesser_risk = min((call, call_risk), (put, put_risk))
            paired = min(call_units, put_units)
            need -= paired * lesser_risk
            if call_units > paired:
                calls.append((call, call_risk, call_units - paired))
            if put_units > paired:
                puts.append((put, put_risk, put_units - paired))
        self.initial += need
        self.maintenance += need


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

    Parameters
    ----------
    equity, initial, maintenance
        Equity and margins of the account, currency; a cash account has no margin.
    multiplier
        1 cash account, 2 margin overnight, 4 within the day (FINRA 4210(f)(8): four times the excess over
        the maintenance margin).
    settled_cash
        Of a cash account.
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

    Parameters
    ----------
    legs
        Side, contract, contracts (unsigned).
    shares
        Free shares of the underlying.
    as_one_order
        Sent together: bought legs then cover sold legs of their right.
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


class Room(NamedTuple):
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

    def _rooms(self, account: MarginAccount, order: Sequence[Holding]) -> tuple[Room, Room]:
        held = list(account.valued())
        cost = sum((holding.value for holding in order), ZERO)
        after = self._room(account, merged(held, order), account.cash - cost)
        return self._room(account, held, account.cash), after

    def _room(self, account: MarginAccount, holdings: Sequence[Holding], cash: Decimal) -> Room:
        shares, options = account.reserved()
        if account.multiplier == 1:
            free = cash - account.unsettled - shares - options
            paid = cash_requirement(holdings) or ZERO
            longs = sum((holding.value for holding in holdings if holding.quantity > 0), ZERO)
            return Room(free - (paid - longs), free - (paid - longs), Requirement(paid, paid))
        night = day = cash - options
        initial = maintenance = ZERO
        for symbol, group in by_underlying(holdings).items():
            pairs = Pairing(group, account.spot(symbol))
            initial += pairs.initial
            maintenance += pairs.maintenance
            withheld = pairs.intrinsic
            if account.options_level < UNCOVERED:
                for sold in pairs.uncovered:
                    if not sold.contract.is_call:
                        more = sold.contract.strike - sold.price - sold.risk
                        withheld += sold.quantity * sold.contract.multiplier * max(more, ZERO)
            value = sum(
                (holding.value for holding in group if not holding.instrument.is_option),
                ZERO,
            )
            night += value + pairs.premium - pairs.initial - withheld
            day += value - pairs.maintenance - withheld
        return Room(night - shares * HALF, day - shares * LONG_RATE, Requirement(initial, maintenance))

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
            sold.quantity
            for group in by_underlying(holdings).values()
            for sold in Pairing(group, ZERO).uncovered
            if sold.contract.is_call
        ),
        ZERO,
    )
