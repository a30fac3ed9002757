"""Structures: options traded together in signed ratios.

A structure is a value: its legs, and nothing of the market or of the account. Shapes, by which a chain lists
structures, are in :mod:`scalpdesk.entry.shapes`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple, TypeAlias

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import InstrumentId, number_text
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns as _end

FAR = 1e9
"""Price of the underlying, and its inverse, at which a worth without a bound is read."""

Legs: TypeAlias = Sequence[tuple[OptionContract, float]]
"""Options with their signed contracts."""
LaterWorth: TypeAlias = Callable[[OptionContract, float], float]
"""Returns a later option's worth per unit at a price of the underlying, when the first options end."""
_QuantityOf: TypeAlias = Callable[[InstrumentId], Decimal]
"""Signed contracts of an option: held, or held and ordered."""


class StructureLeg(NamedTuple):
    """An option of a structure."""

    option_id: InstrumentId
    contract: OptionContract
    ratio: int
    """Contracts of one set: positive when bought, negative when sold."""


@dataclass(frozen=True, slots=True)
class Structure:
    """Options in fixed signed ratios; one set of it has ``ratio`` contracts of each leg.

    Raises ArgumentError without legs, with an option twice, or with a ratio of 0.
    """

    legs: tuple[StructureLeg, ...]
    option_ids: tuple[InstrumentId, ...] = field(init=False, repr=False, compare=False)
    first_expiry: date = field(init=False, repr=False, compare=False)
    last_expiry: date = field(init=False, repr=False, compare=False)
    ratios: dict[InstrumentId, int] = field(init=False, repr=False, compare=False)
    """Signed contracts of one set by option."""
    by_expiry: tuple[tuple[StructureLeg, ...], ...] = field(init=False, repr=False, compare=False)
    """Legs of each expiry, the nearest first."""
    all_bought: bool = field(init=False, repr=False, compare=False)
    """Whether no leg is sold."""

    def __post_init__(self) -> None:
        """Check the legs, and keep what is asked for at every wake."""
        ids = tuple(leg.option_id for leg in self.legs)
        if not ids or len(set(ids)) < len(ids) or not all(leg.ratio for leg in self.legs):
            raise ArgumentError(
                "a structure has at least one leg, each option once and no ratio of 0",
                where="legs",
                value=str(self),
                fix="add up the ratios of an option, and leave out what comes to 0",
            )
        ordered = sorted(self.legs, key=_expiry_of)
        object.__setattr__(self, "option_ids", ids)
        object.__setattr__(self, "ratios", {leg.option_id: leg.ratio for leg in self.legs})
        object.__setattr__(self, "first_expiry", ordered[0].contract.expiry)
        object.__setattr__(self, "last_expiry", ordered[-1].contract.expiry)
        object.__setattr__(self, "by_expiry", tuple(tuple(each) for _, each in groupby(ordered, _expiry_of)))
        object.__setattr__(self, "all_bought", all(leg.ratio > 0 for leg in self.legs))

    def __str__(self) -> str:
        """Return ratio and symbol of each leg: the same text in every run and version."""
        return legs_text((Decimal(leg.ratio), leg.contract.symbol) for leg in self.legs)

    @property
    def lead(self) -> StructureLeg:
        """The first leg, by whose strike and expiry its shape places the others."""
        return self.legs[0]

    @property
    def is_straddle(self) -> bool:
        """Whether it is a call and a put of one strike and expiry, bought one each."""
        if len(self.legs) != 2:
            return False
        call, put = self.legs
        places = {(leg.contract.root, leg.contract.expiry, leg.contract.strike) for leg in self.legs}
        return (call.ratio, put.ratio) == (1, 1) and len(places) == 1 and call.contract.is_call

    @property
    def nearest(self) -> OptionContract:
        """Contract of a leg that expires first."""
        return self.by_expiry[0][0].contract

    @property
    def strikes(self) -> str:
        """Strikes as text, each once and in the order of the legs."""
        return "/".join(dict.fromkeys(number_text(leg.contract.strike) for leg in self.legs))

    @property
    def label(self) -> str:
        """Expiries and strikes as text."""
        return f"{'/'.join(dict.fromkeys(str(leg.contract.expiry) for leg in self.legs))} {self.strikes}"

    def total(self, figures: Iterable[float]) -> float:
        """Return a figure of one set, such as its delta, from the figures of its options."""
        return sum((leg.ratio * figure for leg, figure in zip(self.legs, figures, strict=True)), 0.0)

    def total_of_all(self, figures: Iterable[float]) -> float:
        """Return a figure that bought and sold options both add to, such as what their spreads cost."""
        return sum((abs(leg.ratio) * figure for leg, figure in zip(self.legs, figures, strict=True)), 0.0)

    def sets_held(self, quantity: _QuantityOf) -> int:
        """Return the whole sets that every leg has; negative where a leg is held the other way round."""
        return min(int(quantity(leg.option_id) / leg.ratio) for leg in self.legs)

    def is_whole(self, quantity: _QuantityOf) -> bool:
        """Return whether the quantities stand in the ratios of the legs; also true when flat."""
        return len({quantity(leg.option_id) / leg.ratio for leg in self.legs}) == 1

    def missing(self, sets: int, quantity: _QuantityOf) -> dict[InstrumentId, Decimal]:
        """Return what to trade in each leg to have ``sets`` sets: positive to buy, negative to sell."""
        return {leg.option_id: sets * leg.ratio - quantity(leg.option_id) for leg in self.legs}


class SetBounds(NamedTuple):
    """What options can be worth to their holder when the first of them end, in currency; owed below zero."""

    least: float | None
    most: float | None
    """``least``, ``most``: None without a bound."""
    is_exact: bool
    """Whether all end together; a later option's worth is an estimate, or its payoff alone."""
    is_covered: bool
    """Whether every sold option stands against a bought one of its right: the bounds are differences of
    strikes.
    """


def ending_worth(legs: Legs, price: float, later: LaterWorth | None = None) -> float:
    """Return what options are worth when the first end, in currency.

    ``later``: As for :func:`bounds_of`.
    """
    first = _first_end(legs)
    return sum(
        units
        * contract.multiplier
        * (contract.payoff(price) if later is None or _end(contract) == first else later(contract, price))
        for contract, units in legs
    )


def ending_prices(legs: Legs, between: Iterable[float] = ()) -> list[float]:
    """Return the prices of the underlying between which a worth has no extreme, the lowest first.

    ``between``: More prices, where later options bend it.
    """
    strikes = {float(contract.strike) for contract, _ in legs}
    return [min(strikes) / FAR, *sorted(strikes | set(between)), max(strikes) * FAR]


def bounds_of(legs: Legs, later: LaterWorth | None = None, between: Iterable[float] = ()) -> SetBounds:
    """Return the least and the most that options can be worth when the first of them end.

    ``later``: Worth of options that end later, for an estimate; without it they are worth their payoff, which
    is a true bound on the side where more is never less: the least where all of them are bought.
    ``between``: Prices beside the strikes at which an estimate is read.

    >>> from scalpdesk_testing.kit.instruments import option
    >>> bounds_of([(option("C", 500), 1.0), (option("C", 503), -1.0)])[:2]
    (0.0, 300.0)
    """
    inverse = legs[0][0].is_inverse
    worths = [ending_worth(legs, price, later) for price in ending_prices(legs, between)]
    # linear calls are without a bound where the underlying rises, inverse puts where it falls
    open_units = sum(
        units * contract.multiplier * (float(contract.strike) if inverse else 1.0)
        for contract, units in legs
        if contract.is_call != inverse
    )
    if open_units:
        worths = worths[1:] if inverse else worths[:-1]
    calls, puts = (
        sum(units * contract.multiplier for contract, units in legs if contract.is_call is right)
        for right in (True, False)
    )
    return SetBounds(
        least=None if open_units < 0 else min(worths),
        most=None if open_units > 0 else max(worths),
        is_exact=len({_end(contract) for contract, _ in legs}) == 1,
        is_covered=min(calls, puts) >= 0,
    )


def least_worth(legs: Legs) -> float | None:
    """Return what options that are kept are never worth less than, in currency; None where that is not known.

    Below zero is the most that they can cost. A later option is never worth less than its payoff, and where
    it is sold nothing is known.
    """
    first = _first_end(legs)
    if any(units < 0 and _end(contract) > first for contract, units in legs):
        return None
    return bounds_of(legs).least


def _first_end(legs: Legs) -> int:
    return min(_end(contract) for contract, _ in legs)


def exchanged(old: Structure, new: Structure) -> tuple[tuple[StructureLeg, ...], tuple[StructureLeg, ...]]:
    """Return the legs that one structure has and another has not, each way: what is traded to change it."""
    return (
        tuple(leg for leg in old.legs if leg not in new.legs),
        tuple(leg for leg in new.legs if leg not in old.legs),
    )


def can_exchange(old: Structure, new: Structure) -> bool:
    """Return whether one structure can be traded into another leg by leg: no option changes its ratio."""
    return old != new and all(new.ratios.get(leg, ratio) == ratio for leg, ratio in old.ratios.items())


def _expiry_of(leg: StructureLeg) -> date:
    return leg.contract.expiry


def legs_text(legs: Iterable[tuple[Decimal, str]]) -> str:
    """Return signed quantities with their symbols as text."""
    return ", ".join(f"{quantity:+f} {symbol}" for quantity, symbol in legs)
