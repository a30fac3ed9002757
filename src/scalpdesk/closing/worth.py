"""What leaving a set brings at the quotes, beside the least that the set can be worth.

Bought and sold options together are never worth less than their payoffs allow: a vertical of three points
never costs more than 300. Quotes of deep options are wide, and each leg at its far side may come to more.
Such a set is not left at those quotes: it waits for better ones, and at its expiry the legs settle against
one another. What its first legs cost counts until the last has gone, so that each of those that are left has
a reserve price, and orders that would be at the market are limits where little is left of the bound.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec

from scalpdesk.closing.leg import Sight
from scalpdesk.core.intents import OrderIntent, OrderType, Side, sets_of_all
from scalpdesk.core.units import ZERO, InstrumentId, exact, money_text
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.structure import least_worth


class LegToClose(NamedTuple):
    """Contracts of an option that are to go."""

    owner: str
    instrument_id: InstrumentId
    quantity: Decimal
    """Signed, as held."""


class LegLeft(NamedTuple):
    """Contracts of an option that have gone since the closing began."""

    owner: str
    instrument_id: InstrumentId
    quantity: Decimal
    """Signed, as it was held."""
    brought: Decimal
    """In currency; below zero it was paid."""


class Excess(NamedTuple):
    """A set that would cost more to leave than it can be worth."""

    legs: frozenset[tuple[str, InstrumentId]]
    brings: Decimal
    """``brings``: So far, and at the prices of the orders and the quotes; below zero it is paid."""
    least: Decimal
    """That the set can be worth. Both in currency."""

    @property
    def amount(self) -> Decimal:
        """By how much leaving costs more, at least 0."""
        return max(self.least - self.brings, ZERO)

    def words(self, look: Callable[[InstrumentId], Sight], *, is_sent: bool) -> str:
        """Return in words what leaving costs beyond the worth, and what becomes of the set that waits."""
        contracts = [(_option(look(number)), number) for _, number in self.legs]
        currency = contracts[0][0].currency
        brings, least = (money_text(float(each), currency) for each in (self.brings, self.least))
        if is_sent:
            more = money_text(float(self.amount), currency)
            return (
                f"costs {more} more than the set can be worth: it brings {brings}, and {least} is the least"
            )
        text = f"not left at these quotes: they bring {brings}, and the set is never worth less than {least}"
        spot = look(contracts[0][1]).spot
        if spot and all(contract.payoff(spot) > 0.0 for contract, _ in contracts):
            text += "; all legs are in the money: bought ones are exercised at the end, sold ones assigned"
        return text


class _SetAtPrices(NamedTuple):
    """A set that closes, at the prices of its orders and the quotes."""

    legs: frozenset[tuple[str, InstrumentId]]
    """Those that are still to go."""
    brings: Decimal
    least: Decimal
    tick: Decimal
    """A tick of every set, in currency."""
    units: Decimal
    """Of the underlying, over all legs that are still to go."""
    widest: Decimal
    """Of their quotes, per unit."""

    @property
    def slack(self) -> Decimal:
        """What the orders may bring less, in currency, until no more than a tick of every set is left."""
        return self.brings - self.least - self.tick


def excesses(
    closing: Sequence[LegToClose],
    orders: Iterable[OrderIntent],
    look: Callable[[InstrumentId], Sight],
    left: Sequence[LegLeft] = (),
) -> list[Excess]:
    """Return the sets that would be left for less than they can be worth, by what is proposed.

    A tick must be left of every set, and half of the widest quote beside it while others fill later.

    ``orders``: What would be sent; a leg without an order counts at the other side's quote.
    ``left``: What has gone before of the same sets.
    """
    return [
        Excess(each.legs, each.brings, each.least)
        for each, sets in _at_prices(closing, orders, look, left)
        if each.slack < (sets * each.widest / 2 if len(each.legs) > 1 else ZERO)
    ]


def within_bounds(
    closing: Sequence[LegToClose],
    orders: Sequence[OrderIntent],
    look: Callable[[InstrumentId], Sight],
    left: Sequence[LegLeft] = (),
) -> list[OrderIntent]:
    """Return orders of which those at the market are limits where a worse fill would pass a set's bound.

    The slack of a set is shared by all of its units, so that it keeps its bound if each fills at its limit.
    One whose share is wider than its widest quote stays at the market. As for :func:`excesses`.
    """
    room = dict[tuple[str, InstrumentId], Decimal]()
    for each, _ in _at_prices(closing, orders, look, left):
        share = each.slack / each.units
        if share <= each.widest:
            room.update((leg, min(share, room.get(leg, share))) for leg in each.legs)
    return [_limited(order, look(order.instrument_id), room) for order in orders]


def _limited(
    order: OrderIntent, seen: Sight, room: Mapping[tuple[str, InstrumentId], Decimal]
) -> OrderIntent:
    share = room.get((order.owner, order.instrument_id))
    if share is None or order.order_type is not OrderType.MARKET or seen.quote is None:
        return order
    rule, is_sale = seen.instrument.tick_rule, order.side is Side.SELL
    near = seen.quote.bid if is_sale else seen.quote.ask
    if is_sale:
        limit = max(rule.round(exact(near) - share, "up"), rule.below) if near > 0.0 else rule.below
    else:
        limit = rule.round(exact(near) + share, "down")
    return msgspec.structs.replace(order, order_type=OrderType.LIMIT, limit_price=limit)


def _at_prices(
    closing: Sequence[LegToClose],
    orders: Iterable[OrderIntent],
    look: Callable[[InstrumentId], Sight],
    left: Sequence[LegLeft],
) -> Iterable[tuple[_SetAtPrices, Decimal]]:
    """Return each set that has a bound, and how many of it there are."""
    limits = {(order.owner, order.instrument_id): order.limit_price for order in orders}
    for legs, gone in _sets(closing, left, look):
        found = _priced(legs, gone, limits, look)
        if found is not None:
            yield found


def _sets(
    closing: Sequence[LegToClose], left: Sequence[LegLeft], look: Callable[[InstrumentId], Sight]
) -> Iterable[tuple[Sequence[LegToClose], Sequence[LegLeft]]]:
    """Return the legs of each owner and underlying, and those of each expiry where there are several.

    Each without those that have gone, and with them.
    """
    by_name = defaultdict[tuple[object, ...], list[LegToClose]](list)
    gone = defaultdict[tuple[object, ...], list[LegLeft]](list)
    for leg in closing:
        for name in _names(leg, look):
            by_name[name].append(leg)
    for before in left:
        for name in _names(before, look):
            gone[name].append(before)
    sets = [(legs, tuple[LegLeft, ...]()) for legs in by_name.values()]
    sets += [(legs, tuple(gone[name])) for name, legs in by_name.items() if name in gone]
    return {(frozenset(leg[:2] for leg in legs), gone): (legs, gone) for legs, gone in sets}.values()


def _names(leg: LegToClose | LegLeft, look: Callable[[InstrumentId], Sight]) -> Iterable[tuple[object, ...]]:
    contract = look(leg.instrument_id).instrument
    if not contract.is_option:
        return ()
    return (leg.owner, contract.underlying), (leg.owner, contract.underlying, contract.expiry)


def _priced(
    legs: Sequence[LegToClose],
    gone: Sequence[LegLeft],
    limits: Mapping[tuple[str, InstrumentId], Decimal | None],
    look: Callable[[InstrumentId], Sight],
) -> tuple[_SetAtPrices, Decimal] | None:
    whole = defaultdict[tuple[str, InstrumentId], Decimal](Decimal)
    for leg in legs:
        whole[leg[:2]] += leg.quantity
    for before in gone:
        whole[before[:2]] += before.quantity
    if len({quantity > 0 for quantity in whole.values()}) < 2:
        return None  # an option alone has a ladder of its own
    contracts = [(_option(look(number)), float(quantity)) for (_, number), quantity in whole.items()]
    least = least_worth(contracts)
    if least is None:
        return None
    brings, units, widest = sum((each.brought for each in gone), ZERO), ZERO, 0.0
    for leg in legs:
        seen = look(leg.instrument_id)
        quote, limit = seen.quote, limits.get(leg[:2])
        near = 0.0 if quote is None else quote.bid if leg.quantity > 0 else quote.ask
        if limit is None and not near > 0.0:
            if leg.quantity < 0:
                return None  # no price tells what it costs
            near = 0.0
        if quote is not None and quote.ask > quote.bid > 0.0:
            widest = max(widest, quote.ask - quote.bid)
        price = exact(near) if limit is None else limit
        brings += seen.instrument.value(leg.quantity, price)
        units += abs(leg.quantity) * seen.instrument.multiplier
    contract = contracts[0][0]
    sets = sets_of_all([abs(quantity) for quantity in whole.values()]) * contract.multiplier
    legs_to_go = frozenset(leg[:2] for leg in legs)
    tick = sets * contract.tick_rule.below
    return _SetAtPrices(legs_to_go, brings, exact(least, 8), tick, units, exact(widest, 8)), sets


def _option(seen: Sight) -> OptionContract:
    contract = seen.instrument
    assert contract.is_option
    return contract
