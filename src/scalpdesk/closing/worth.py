"""What leaving a set brings at the quotes, beside the least that the set can be worth.

Bought and sold options together are never worth less than their payoffs allow: a vertical of three points
never costs more than 300. Quotes of deep options are wide, and each leg at its far side may come to more.
Such a set is not left at those quotes: it waits for better ones, and at its expiry the legs settle against
one another.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.closing.leg import Sight
from scalpdesk.core.intents import OrderIntent, sets_of_all
from scalpdesk.core.units import ZERO, InstrumentId, exact, money_text
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.structure import least_worth


class LegToClose(NamedTuple):
    """Contracts of an option that are to go."""

    owner: str
    instrument_id: InstrumentId
    quantity: Decimal
    """Signed, as held."""


class Excess(NamedTuple):
    """A set that would cost more to leave than it can be worth."""

    legs: frozenset[tuple[str, InstrumentId]]
    brings: Decimal
    """``brings``: At the prices of the orders and the quotes; below zero it is paid."""
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


def excesses(
    closing: Sequence[LegToClose],
    orders: Iterable[OrderIntent],
    look: Callable[[InstrumentId], Sight],
) -> list[Excess]:
    """Return the sets that would be left for less than they can be worth, by what is proposed.

    A tick must be left of every set, and half of the widest quote beside it: other legs fill later.

    ``orders``: What would be sent; a leg without an order counts at the other side's quote.
    """
    limits = {(order.owner, order.instrument_id): order.limit_price for order in orders}
    return [found for legs in _sets(closing, look) if (found := _excess(legs, limits, look)) is not None]


def _sets(
    closing: Sequence[LegToClose], look: Callable[[InstrumentId], Sight]
) -> Iterable[Sequence[LegToClose]]:
    """Return the legs of each owner and underlying, and those of each expiry where there are several."""
    by_name = defaultdict[tuple[object, ...], list[LegToClose]](list)
    for leg in closing:
        contract = look(leg.instrument_id).instrument
        if contract.is_option:
            by_name[leg.owner, contract.underlying].append(leg)
            by_name[leg.owner, contract.underlying, contract.expiry].append(leg)
    return {frozenset(leg[:2] for leg in legs): legs for legs in by_name.values()}.values()


def _excess(
    legs: Sequence[LegToClose],
    limits: Mapping[tuple[str, InstrumentId], Decimal | None],
    look: Callable[[InstrumentId], Sight],
) -> Excess | None:
    if len({leg.quantity > 0 for leg in legs}) < 2:
        return None  # an option alone has a ladder of its own
    seen = {leg: look(leg.instrument_id) for leg in legs}
    contracts = [(_option(each), float(leg.quantity)) for leg, each in seen.items()]
    least = least_worth(contracts)
    if least is None:
        return None
    brings, widest = ZERO, 0.0
    for leg, each in seen.items():
        quote, limit = each.quote, limits.get(leg[:2])
        near = 0.0 if quote is None else quote.bid if leg.quantity > 0 else quote.ask
        if limit is None and not near > 0.0:
            if leg.quantity < 0:
                return None  # no price tells what it costs
            near = 0.0
        if quote is not None and quote.ask > quote.bid > 0.0:
            widest = max(widest, quote.ask - quote.bid)
        price = exact(near) if limit is None else limit
        brings += each.instrument.value(leg.quantity, price)
    contract = contracts[0][0]
    sets = sets_of_all([abs(leg.quantity) for leg in legs]) * contract.multiplier
    spare = contract.tick_rule.below + exact(0.5 * widest, 8)
    found = Excess(frozenset(leg[:2] for leg in legs), brings, exact(least, 8))
    return found if brings < found.least + sets * spare else None


def _option(seen: Sight) -> OptionContract:
    contract = seen.instrument
    assert contract.is_option
    return contract
